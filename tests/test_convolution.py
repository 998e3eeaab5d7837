"""Convolutions on tensors and in compiled functions, beside PyTorch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from beside_torch import Array, assert_same, assert_same_error

import jitgrad
import jitgrad.numpy
from jitgrad.ops import convolution as ops

rng = np.random.default_rng(3)


def near(*shape: int) -> Array:
    return rng.uniform(-2, 2, shape)


def call(library: Any, *inputs: Any, name: str, **kwargs: Any) -> Any:
    return getattr(library.nn.functional, name)(*inputs, **kwargs)


def case(name: str, *shapes: tuple[int, ...], **kwargs: Any) -> Any:
    shown = "-".join("x".join(map(str, s)) for s in shapes)
    options = "-".join(f"{k}={v}" for k, v in kwargs.items())
    function = functools.partial(call, name=name, **kwargs)
    return pytest.param(function, [near(*s) for s in shapes], id=f"{name}-{shown}-{options}")


FORMS = [
    case("conv1d", (2, 3, 7), (4, 3, 3)),
    case("conv1d", (3, 7), (4, 3, 3), (4,)),
    case("conv1d", (2, 4, 8), (6, 2, 2), (6,), stride=2, padding=1, dilation=3, groups=2),
    case("conv1d", (2, 2, 6), (3, 2, 4), padding="same"),
    case("conv1d", (2, 2, 6), (3, 2, 3), (3,), padding="same", dilation=2),
    case("conv1d", (2, 2, 6), (3, 2, 3), padding="valid"),
    case("conv1d", (1, 1, 1), (1, 1, 1)),
    case("conv1d", (2, 4, 5), (4, 1, 3), groups=4),
    case("conv2d", (2, 3, 5, 6), (4, 3, 3, 2)),
    case("conv2d", (3, 5, 6), (4, 3, 3, 2), (4,)),
    case("conv2d", (2, 4, 7, 6), (6, 2, 2, 3), (6,), stride=(2, 1), padding=(1, 2), groups=2),
    case("conv2d", (2, 3, 6, 6), (2, 3, 1, 1), (2,)),
    case("conv2d", (2, 3, 7, 7), (2, 3, 1, 1), stride=2),
    case("conv2d", (2, 3, 7, 7), (2, 3, 3, 3), stride=3, padding=1, dilation=2),
    case("conv2d", (2, 3, 4, 5), (2, 3, 2, 3), padding="same"),
    case("conv2d", (1, 2, 3, 3), (2, 2, 3, 3), (2,)),
    case("conv2d", (2, 3, 9, 4), (3, 1, 3, 3), padding=[1], groups=3),
    case("conv_transpose1d", (2, 3, 5), (3, 4, 3)),
    case("conv_transpose1d", (3, 5), (3, 2, 3), (2,), stride=2, padding=1, dilation=2),
    case("conv_transpose1d", (2, 4, 5), (4, 3, 2), (6,), stride=3, output_padding=2, groups=2),
    case("conv_transpose2d", (2, 3, 4, 3), (3, 4, 2, 3), (4,)),
    case("conv_transpose2d", (2, 4, 3, 4), (4, 1, 3, 3), stride=2, padding=1, output_padding=1, groups=2),
    case("conv_transpose2d", (2, 2, 3, 2), (2, 3, 2, 2), stride=(3, 1), dilation=(1, 3), padding=1),
    case("conv_transpose1d", (2, 2, 4), (2, 3, 3), stride=1, dilation=3, output_padding=2),
]


@pytest.mark.parametrize("function, arrays", FORMS)
def test_a_convolution_and_its_derivatives_to_second_order(function: Any, arrays: list[Array]) -> None:
    assert_same(function, *arrays)


def drawn(seed: int) -> tuple[list[Array], dict[str, Any]]:
    """A convolution of random sizes and options that PyTorch takes."""
    draw = np.random.default_rng(seed)
    axes, groups = int(draw.integers(1, 3)), int(draw.integers(1, 4))
    size = draw.integers(3, 12, axes)
    kernel, dilation = draw.integers(1, 4, axes), draw.integers(1, 3, axes)
    padding, stride = draw.integers(0, 4, axes), draw.integers(1, 4, axes)
    size = np.maximum(size, dilation * (kernel - 1) + 1 - 2 * padding)
    inner, outer, batch = (int(n) for n in draw.integers(1, 4, 3))
    arrays = [
        draw.normal(size=(batch, inner * groups, *size)),
        draw.normal(size=(outer * groups, inner, *kernel)),
    ]
    arrays += [draw.normal(size=outer * groups)] * int(draw.integers(0, 2))
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    options = {name: tuple(map(int, value)) for name, value in steps.items()}
    return arrays, {"name": f"conv{axes}d", "groups": groups, **options}


@pytest.mark.parametrize("seed", range(40))
def test_convolutions_of_random_sizes_and_options(seed: int) -> None:
    arrays, options = drawn(seed)
    assert_same(functools.partial(call, **options), *arrays, again=seed % 4 == 0)


ERRORS = [
    case("conv2d", (2, 3), (4, 3, 3, 3)),
    case("conv1d", (2, 3, 4, 4), (4, 3, 3)),
    case("conv2d", (2, 2, 5, 5), (4, 3, 3, 3)),
    case("conv2d", (2, 5, 5), (4, 3, 3, 3)),
    case("conv2d", (2, 3, 2, 2), (4, 3, 3, 3)),
    case("conv1d", (2, 3, 2), (4, 3, 3)),
    case("conv2d", (2, 3, 5, 5), (4, 3, 3, 3), (3,)),
    case("conv2d", (2, 3, 5, 5), (4, 3, 3, 3), padding="same", stride=2),
    case("conv2d", (2, 3, 5, 5), (4, 3, 3, 3), padding="foo"),
    case("conv2d", (2, 3, 5, 5), (4, 3, 3, 3), padding=-1),
    case("conv2d", (2, 3, 5, 5), (4, 3, 3, 3), stride=0),
    case("conv2d", (2, 3, 5, 5), (4, 3, 3, 3), stride=(1, 2, 3)),
    case("conv2d", (2, 3, 5, 5), (4, 3, 3, 3), groups=0),
    case("conv2d", (2, 4, 5, 5), (3, 2, 3, 3), groups=2),
    case("conv2d", (2, 4, 5, 5), (1, 2, 3, 3), groups=2),
    case("conv_transpose2d", (2, 3, 5, 5), (4, 3, 3, 3)),
    case("conv_transpose2d", (2, 3, 5, 5), (3, 3, 3, 3), (2,)),
]


@pytest.mark.parametrize("function, arrays", ERRORS)
def test_an_error(function: Any, arrays: list[Array]) -> None:
    assert_same_error(function, *arrays)


def test_output_padding_beyond_the_step_is_an_error() -> None:
    function = functools.partial(call, name="conv_transpose2d", output_padding=1)
    words = "output padding must be smaller than either stride or dilation"
    assert_same_error(function, near(2, 3, 5, 5), near(3, 3, 3, 3), words=words)


def test_a_dilation_of_zero_is_an_error() -> None:
    function = functools.partial(call, name="conv2d", dilation=0)
    assert_same_error(function, near(2, 3, 5, 5), near(4, 3, 3, 3), words="dilation")


def test_operands_of_several_dtypes_are_an_error() -> None:
    x, w, b = near(1, 1, 3), near(1, 1, 2), near(1)
    for arrays in ((x, w.astype("f")), (x, w, b.astype("f"))):
        assert_same_error(functools.partial(call, name="conv1d"), *arrays)


def test_integers_and_empty_batches() -> None:
    whole = jitgrad.nn.functional.conv1d(jitgrad.tensor([[1, 2, 3]]), jitgrad.tensor([[[1, 10]]]))
    assert whole.tolist() == [[21, 32]] and whole.dtype == jitgrad.int64
    empty = jitgrad.nn.functional.conv2d(jitgrad.ones(0, 3, 5, 5), jitgrad.ones(4, 3, 3, 3))
    assert tuple(empty.shape) == (0, 4, 3, 3)


def test_the_names_that_torch_has_too() -> None:
    def function(library: Any, x: Any, w: Any) -> Any:
        y = library.conv_transpose1d(x[0, :, :2], w[0])
        return library.conv2d(x, w), library.conv1d(x[0, :, :2], w[0]), library.conv_transpose2d(x, w), y

    assert_same(function, near(2, 2, 4, 4), near(2, 2, 2, 2), again=False, named=False)


def test_single_precision_is_as_exact_as_pytorchs() -> None:
    x, w = near(2, 16, 20, 20).astype("f"), near(8, 16, 3, 3).astype("f")
    errors = []
    for library in (torch, jitgrad):
        a, b = (library.tensor(v.tolist(), dtype=library.float32, requires_grad=True) for v in (x, w))
        y = library.nn.functional.conv2d(a, b, padding=1)
        y.pow(2).sum().backward()
        wide = [torch.tensor(v.tolist(), dtype=torch.float64, requires_grad=True) for v in (x, w)]
        z = torch.nn.functional.conv2d(*wide, padding=1)
        z.pow(2).sum().backward()
        pairs = ((y, z), (a.grad, wide[0].grad), (b.grad, wide[1].grad))
        errors.append([np.abs(np.array(o.tolist()) - np.array(t.tolist())).max() for o, t in pairs])
    assert all(ours <= 4 * theirs for theirs, ours in zip(*errors, strict=True))


def test_results_do_not_depend_on_layout_or_on_how_many_images_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = near(5, 4, 6, 7).astype("f"), near(3, 4, 2, 3).astype("f")
    params: dict[str, Any] = {"windows": ((1, 1, 0, 1), (2, 1, 1, 1)), "groups": 1}
    y = ops.convolution(x, w, **params)
    g = near(*y.shape).astype("f")
    first = ops.convolution_of_input(g, w, size=(6, 7), **params)
    turned = np.asfortranarray(x)
    np.testing.assert_array_equal(ops.convolution(turned, np.asfortranarray(w), **params), y)
    weight = ops.convolution_of_weight(x, g, kernel=(2, 3), **params)
    monkeypatch.setattr(ops, "COLUMN_BYTES", 1)
    np.testing.assert_array_equal(ops.convolution(x, w, **params), y)
    np.testing.assert_array_equal(ops.convolution_of_input(g, w, size=(6, 7), **params), first)
    np.testing.assert_allclose(ops.convolution_of_weight(x, g, kernel=(2, 3), **params), weight, 1e-4, 1e-5)


def test_a_compiled_function_convolves() -> None:
    def loss(x: Any, w: Any) -> Any:
        y = jitgrad.numpy.conv(x, w, stride=2, padding=1)
        return jitgrad.numpy.sum(jitgrad.numpy.relu(y) ** 2)

    x, w = near(2, 3, 6, 7), near(4, 3, 3, 3)
    value, (gx, gw) = jitgrad.value_and_grad(loss, argnums=(0, 1))(x, w)
    a, b = (torch.tensor(v.tolist(), dtype=torch.float64, requires_grad=True) for v in (x, w))
    expected = torch.nn.functional.conv2d(a, b, stride=2, padding=1).relu().pow(2).sum()
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), 1e-12)
    np.testing.assert_allclose(gx, a.grad.tolist(), 1e-10, 1e-12)
    np.testing.assert_allclose(gw, b.grad.tolist(), 1e-10, 1e-12)
