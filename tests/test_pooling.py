"""Pooling on tensors and in compiled functions, beside PyTorch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from beside_torch import Array, assert_same, assert_same_error

import jitgrad
import jitgrad.numpy

rng = np.random.default_rng(5)


def near(*shape: int) -> Array:
    return rng.uniform(-2, 2, shape)


def call(library: Any, x: Any, *args: Any, name: str, **kwargs: Any) -> Any:
    return getattr(library.nn.functional, name)(x, *args, **kwargs)


def case(name: str, shape: tuple[int, ...], *args: Any, **kwargs: Any) -> Any:
    def function(library: Any, x: Any) -> Any:
        return call(library, x, *args, name=name, **kwargs)

    options = "-".join((*map(str, args), *(f"{k}={v}" for k, v in kwargs.items())))
    return pytest.param(function, near(*shape), id=f"{name}-{'x'.join(map(str, shape))}-{options}")


FORMS = [
    case("max_pool1d", (2, 3, 7), 2),
    case("max_pool1d", (3, 7), 3, 2, 1),
    case("max_pool1d", (2, 3, 8), 3, stride=2, ceil_mode=True),
    case("max_pool1d", (2, 3, 9), 3, 1, 1, 2, return_indices=True),
    case("max_pool2d", (2, 3, 6, 7), 2),
    case("max_pool2d", (3, 6, 7), (3, 2), (2, 1), (1, 0)),
    case("max_pool2d", (2, 3, 6, 7), 3, 2, 1, 2, True, True),
    case("max_pool2d", (1, 1, 5, 5), 5, stride=[], return_indices=True),
    case("max_pool2d", (2, 2, 4, 4), 2, stride=3, padding=1, ceil_mode=True),
    case("max_pool2d_with_indices", (2, 3, 6, 7), 2, 1),
    case("avg_pool1d", (2, 3, 7), 2),
    case("avg_pool1d", (3, 8), 3, 2, 1),
    case("avg_pool1d", (2, 3, 8), 3, 2, 1, True, False),
    case("avg_pool1d", (2, 3, 8), 3, 2, 1, ceil_mode=True),
    case("avg_pool2d", (2, 3, 6, 7), 2),
    case("avg_pool2d", (3, 6, 6), 3),
    case("avg_pool2d", (2, 3, 6, 7), (3, 2), (2, 1), (1, 0), count_include_pad=False),
    case("avg_pool2d", (2, 3, 6, 8), 3, 2, 1, ceil_mode=True, divisor_override=7),
    case("avg_pool2d", (2, 3, 6, 8), 3, 2, 1, ceil_mode=True),
    case("avg_pool2d", (2, 3, 4, 4), 2, 3, 1, ceil_mode=True, count_include_pad=False),
    case("adaptive_avg_pool1d", (2, 3, 7), 3),
    case("adaptive_avg_pool1d", (3, 8), [4]),
    case("adaptive_avg_pool2d", (2, 3, 6, 7), 1),
    case("adaptive_avg_pool2d", (2, 3, 6, 8), (3, 2)),
    case("adaptive_avg_pool2d", (3, 6, 7), (4, 9)),
    case("adaptive_avg_pool2d", (2, 3, 6, 7), (None, 3)),
    case("adaptive_max_pool1d", (2, 3, 7), 3),
    case("adaptive_max_pool1d", (3, 7), 9, return_indices=True),
    case("adaptive_max_pool2d", (2, 3, 6, 7), (4, 3), return_indices=True),
    case("adaptive_max_pool2d", (3, 6, 7), 2),
    case("adaptive_max_pool2d_with_indices", (3, 6, 7), (None, 2)),
]


@pytest.mark.parametrize("function, x", FORMS)
def test_pooling_and_its_derivatives_to_second_order(function: Any, x: Array) -> None:
    assert_same(function, x)


def drawn(seed: int) -> tuple[Array, str, dict[str, Any]]:
    """Pooling of random sizes and options that PyTorch takes."""
    draw = np.random.default_rng(seed)
    axes, largest = int(draw.integers(1, 3)), seed % 2 == 0
    kernel, stride = draw.integers(1, 5, axes), draw.integers(1, 5, axes)
    dilation = draw.integers(1, 3, axes) if largest else np.ones(axes, int)
    padding = np.minimum(draw.integers(0, 3, axes), kernel // 2)
    size = dilation * (kernel - 1) + 1 + draw.integers(0, 8, axes)
    steps = {"kernel_size": kernel, "stride": stride, "padding": padding}
    options: dict[str, Any] = {name: tuple(map(int, value)) for name, value in steps.items()}
    options["ceil_mode"] = bool(draw.integers(0, 2))
    if largest:
        options |= {"dilation": tuple(map(int, dilation)), "return_indices": bool(draw.integers(0, 2))}
    else:
        options["count_include_pad"] = bool(draw.integers(0, 2))
    return draw.normal(size=(2, 3, *size)), f"{'max' if largest else 'avg'}_pool{axes}d", options


@pytest.mark.parametrize("seed", range(60))
def test_pooling_of_random_sizes_and_options(seed: int) -> None:
    x, name, options = drawn(seed)
    assert_same(functools.partial(call, name=name, **options), x, again=seed % 4 == 0)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 12])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_windows_that_cover_evenly(n: int, count: int) -> None:
    x = near(2, 2, n)
    for name in ("adaptive_avg_pool1d", "adaptive_max_pool1d"):
        assert_same(functools.partial(call, name=name, output_size=count), x, again=False)


def test_equal_and_infinite_numbers_and_nans_have_pytorchs_places() -> None:
    ties = np.array([[1.0, 1.0, 0.0, 1.0], [2.0, 0.0, 2.0, 2.0], [-np.inf] * 4, [-np.inf] * 4])
    nans = np.array([[1.0, np.nan, 0.0, 1.0], [np.nan, 0.0, np.inf, 2.0], [5.0, 1.0, np.nan, np.nan]] * 2)
    for x in (ties, nans):
        for padding in (0, 1):
            options = {"stride": 1, "padding": padding, "return_indices": True}
            for kernel in (2, 3):
                found = [
                    library.nn.functional.max_pool2d(
                        library.tensor(x.tolist(), dtype=library.float64).reshape(1, 1, *x.shape),
                        kernel,
                        **options,
                    )
                    for library in (torch, jitgrad)
                ]
                for theirs, ours in zip(*found, strict=True):
                    np.testing.assert_array_equal(ours.tolist(), theirs.tolist())


@pytest.mark.parametrize("dtype", ["float32", "int64", "int32", "uint8"])
def test_other_dtypes(dtype: str) -> None:
    x = rng.integers(0, 9, (2, 6, 6))
    answers = []
    for library in (torch, jitgrad):
        y = library.nn.functional.max_pool2d(
            library.tensor(x.tolist(), dtype=getattr(library, dtype)), 3, 2, 1
        )
        answers.append((str(y.dtype), y.tolist()))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("divisor", [None, 3, -2])
def test_means_of_integers_are_rounded_towards_zero(divisor: int | None) -> None:
    x = rng.integers(-9, 9, (2, 5, 6))
    found = [
        library.nn.functional.avg_pool2d(
            library.tensor(x.tolist()), 3, 2, 1, count_include_pad=False, divisor_override=divisor
        )
        for library in (torch, jitgrad)
    ]
    assert found[0].tolist() == found[1].tolist() and str(found[1].dtype) == "torch.int64"


def test_empty_batches() -> None:
    for name, size in (("max_pool2d", 2), ("avg_pool2d", 2), ("adaptive_avg_pool2d", 2)):
        shapes = [
            tuple(call(library, library.ones(0, 3, 4, 4), size, name=name).shape)
            for library in (torch, jitgrad)
        ]
        assert shapes[0] == shapes[1] == (0, 3, 2, 2)


ERRORS = [
    case("max_pool2d", (2, 3), 2),
    case("max_pool2d", (2, 3, 4, 4), 2, padding=2),
    case("max_pool2d", (2, 3, 4, 4), 5),
    case("max_pool2d", (2, 3, 4, 4), 2, stride=0),
    case("max_pool2d", (2, 3, 4, 4), 0),
    case("max_pool2d", (2, 3, 4, 4), 2, dilation=0),
    case("max_pool2d", (2, 3, 4, 4), (2, 2, 2)),
    case("max_pool2d", (2, 3, 4, 4), 2, padding=-1),
    case("max_pool2d", (2, 0, 4, 4), 2),
    case("max_pool2d", (2, 3, 0, 4), 2),
    case("max_pool1d", (4,), 2),
    case("max_pool1d", (2, 3, 4), 2, padding=2),
    case("max_pool1d", (2, 3, 4), 5),
    case("max_pool1d", (2, 3, 4), 2, stride=0),
    case("max_pool1d", (2, 3, 4), 0),
    case("max_pool1d", (2, 3, 4), 2, dilation=0),
    case("avg_pool2d", (2, 3), 2),
    case("avg_pool2d", (2, 3, 4, 4), 2, padding=2),
    case("avg_pool2d", (2, 3, 4, 4), 5),
    case("avg_pool2d", (2, 3, 4, 4), 2, divisor_override=0),
    case("avg_pool2d", (2, 3, 4, 4), 2, stride=0),
    case("avg_pool1d", (3,), 2),
    case("avg_pool1d", (2, 3, 4), 5),
    case("avg_pool1d", (2, 3, 4), 2, padding=2),
    case("adaptive_avg_pool2d", (3,), 1),
    case("adaptive_avg_pool2d", (2, 2), (2, 2)),
    case("adaptive_max_pool2d", (2, 2), (2, 2)),
    case("max_pool1d", (2, 3, 9), 3, dilation=2, padding=2),
    case("max_pool1d", (2, 3, 9), 3, padding=2, return_indices=True),
    case("max_pool1d", (2, 3, 9), 3, padding=2, dilation=2, return_indices=True),
    case("max_pool2d", (2, 3, 9, 9), 3, padding=2, dilation=2),
    case("adaptive_avg_pool1d", (3,), 1),
    case("adaptive_avg_pool2d", (2, 3, 4, 4), -1),
    case("adaptive_avg_pool2d", (2, 3, 4, 4), (1, 2, 3)),
    case("adaptive_avg_pool1d", (2, 3, 4), (1, 2)),
    case("adaptive_avg_pool1d", (2, 3, 4), -1),
    case("adaptive_max_pool2d", (3,), 1),
    case("adaptive_max_pool2d", (2, 3, 4, 4), -1),
    case("adaptive_max_pool1d", (3,), 1),
    case("adaptive_max_pool1d", (2, 3, 4), -1),
]


@pytest.mark.parametrize("function, x", ERRORS)
def test_an_error(function: Any, x: Array) -> None:
    assert_same_error(function, x)


@pytest.mark.parametrize("name", ["max_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"])
def test_a_dtype_that_cannot_be_pooled(name: str) -> None:
    def function(library: Any, x: Any) -> Any:
        return call(library, x > 0 if name == "max_pool2d" else x.long(), 2, name=name)

    assert_same_error(function, near(2, 3, 4, 4))


def test_the_names_that_torch_has_too() -> None:
    def function(library: Any, x: Any) -> Any:
        largest = library.adaptive_max_pool1d(x[0], 2)
        means = library.avg_pool1d(x[0], 2), library.adaptive_avg_pool1d(x[0], 3)
        return library.max_pool2d(x, 2), library.max_pool1d(x[0], 2), *largest, *means

    assert_same(function, near(2, 2, 4, 4), again=False)


def test_a_compiled_function_pools() -> None:
    def loss(x: Any) -> Any:
        largest = jitgrad.numpy.max_pool(x, (3, 2), padding=(1, 0))
        means = jitgrad.numpy.mean_pool(x, (2, 3), stride=2)
        return jitgrad.numpy.sum(largest**2) + jitgrad.numpy.sum(means**3)

    x = near(2, 3, 6, 7)
    value, gradient = jitgrad.value_and_grad(loss)(x)
    t = torch.tensor(x.tolist(), dtype=torch.float64, requires_grad=True)
    f = torch.nn.functional
    expected = f.max_pool2d(t, (3, 2), padding=(1, 0)).pow(2).sum() + f.avg_pool2d(t, (2, 3), 2).pow(3).sum()
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), 1e-12)
    np.testing.assert_allclose(gradient, t.grad.tolist(), 1e-10, 1e-12)
    with pytest.raises(ValueError, match="do not fit images of size"):
        jitgrad.numpy.max_pool(x, (9, 9))
