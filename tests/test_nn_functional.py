"""The functions of torch.nn.functional give PyTorch's values, derivatives, names on the tape and errors."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from beside_torch import Array, assert_same, assert_same_error, tensors

import jitgrad
import jitgrad.autograd

rng = np.random.default_rng(11)


def near(*shape: int, low: float = -3.0, high: float = 3.0) -> Array:
    return rng.uniform(low, high, shape)


def classes(*shape: int, count: int) -> Array:
    return rng.integers(0, count, shape)


def call(library: Any, *inputs: Any, name: str, **kwargs: Any) -> Any:
    return getattr(library.nn.functional, name)(*inputs, **kwargs)


def of(name: str, **kwargs: Any) -> Any:
    return functools.partial(call, name=name, **kwargs)


def case(name: str, *arrays: Array, **kwargs: Any) -> Any:
    shapes = "-".join("x".join(map(str, a.shape)) or "0d" for a in arrays)
    shown = "-".join(f"{k}={v}" for k, v in kwargs.items())
    return pytest.param(of(name, **kwargs), arrays, id=f"{name}-{shapes}-{shown}")


PLAIN = (
    *(
        "celu",
        "elu",
        "gelu",
        "hardshrink",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "leaky_relu",
        "logsigmoid",
    ),
    *("mish", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus", "softshrink", "softsign"),
    *("tanh", "tanhshrink"),
)
ACTIVATIONS = [
    *(case(name, near(*shape)) for name in PLAIN for shape in ((3, 4), (), (2, 0))),
    case("celu", near(5), alpha=0.5),
    case("elu", near(5), alpha=2.0),
    case("gelu", near(5), approximate="tanh"),
    case("glu", near(3, 4)),
    case("glu", near(4, 3), dim=0),
    case("hardshrink", near(5), lambd=1.0),
    case("hardtanh", near(5), min_val=-0.5, max_val=2.0),
    case("leaky_relu", near(5), negative_slope=-0.3),
    case("prelu", near(2, 3, 4), near(3)),
    case("prelu", near(2, 3), near(1)),
    case("prelu", near(), near(1)),
    case("rrelu", near(5), lower=0.2, upper=0.6),
    case("softplus", near(5) * 10, beta=2.0, threshold=5.0),
    case("softshrink", near(5), lambd=1.0),
    case("threshold", near(5), threshold=0.5, value=7.0),
    *(
        case(name, near(*shape), dim=dim)
        for name in ("softmax", "log_softmax", "softmin")
        for shape, dim in (((3, 4), 0), ((3, 4), -1), ((2, 3, 4), 1), ((), 0), ((0, 3), 1))
    ),
]


@pytest.mark.parametrize("function, arrays", ACTIVATIONS)
def test_an_activation(function: Any, arrays: tuple[Array, ...]) -> None:
    again = function.keywords["name"] != "hardsigmoid"  # of which PyTorch has no second derivative
    assert_same(function, *arrays, again=again)


@pytest.mark.parametrize(
    "name", ["relu6", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "elu", "softshrink"]
)
def test_derivatives_at_the_kinks(name: str) -> None:
    assert_same(of(name), np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0]), again=False)


@pytest.mark.parametrize(
    "name", ["elu", "selu", "celu", "softplus", "silu", "mish", "logsigmoid", "hardswish"]
)
def test_large_numbers_have_finite_derivatives(name: str) -> None:
    assert_same(of(name), np.array([-1e4, -800.0, 800.0, 1e4]), again=False)


NORMS = [
    case("layer_norm", near(2, 3, 4), normalized_shape=(4,)),
    case("layer_norm", near(2, 3, 4), normalized_shape=(3, 4), eps=0.1),
    case("rms_norm", near(2, 3, 4), normalized_shape=(4,)),
    case("rms_norm", near(2, 4), normalized_shape=(4,), eps=0.1),
    case("group_norm", near(2, 4, 3), num_groups=2),
    case("instance_norm", near(2, 3, 4)),
    case("batch_norm", near(4, 3), running_mean=None, running_var=None, training=True),
    case("batch_norm", near(4, 3, 2), running_mean=None, running_var=None, training=True, eps=0.1),
    case("local_response_norm", near(2, 5, 3), size=3),
    case("normalize", near(3, 4)),
    case("normalize", near(3, 4), p=1.0, dim=0),
    case("normalize", near(3, 4), p=3.0),
]


@pytest.mark.parametrize("function, arrays", NORMS)
def test_a_normalisation(function: Any, arrays: tuple[Array, ...]) -> None:
    assert_same(function, *arrays)


@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "batch_norm"])
def test_a_normalisation_with_weight_and_bias(name: str) -> None:
    def function(library: Any, x: Any, weight: Any, bias: Any) -> Any:
        f = getattr(library.nn.functional, name)
        if name == "batch_norm":
            return f(x, None, None, weight, bias, training=True)
        return f(x, (4,), weight, bias) if name == "layer_norm" else f(x, 2, weight, bias)

    assert_same(function, near(3, 4), near(4), near(4))


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
@pytest.mark.parametrize("training", [True, False])
def test_running_statistics(name: str, training: bool) -> None:
    def function(library: Any, x: Any) -> Any:
        mean = library.zeros(3, dtype=library.float64)
        var = library.ones(3, dtype=library.float64)
        y = getattr(library.nn.functional, name)(x, mean, var, None, None, training, 0.3)
        return y, mean, var

    assert_same(function, near(4, 3, 5))


REDUCTIONS = ("none", "mean", "sum")
PROBABILITIES = near(3, 4, low=0.05, high=0.95)
LOSSES = [
    (name, arrays, kwargs)
    for name, arrays, kwargs in (
        ("mse_loss", (near(3, 4), near(3, 4)), {}),
        ("l1_loss", (near(3, 4), near(3, 4)), {}),
        ("smooth_l1_loss", (near(3, 4), near(3, 4)), {"beta": 0.7}),
        ("smooth_l1_loss", (near(3, 4), near(3, 4)), {"beta": 0}),
        ("huber_loss", (near(3, 4), near(3, 4)), {"delta": 1.5}),
        ("kl_div", (near(3, 4), PROBABILITIES), {}),
        ("kl_div", (near(3, 4), near(3, 4)), {"log_target": True}),
        ("poisson_nll_loss", (near(3, 4), near(3, 4, low=0.5)), {}),
        ("poisson_nll_loss", (PROBABILITIES, near(3, 4, low=0.5)), {"log_input": False, "full": True}),
        ("gaussian_nll_loss", (near(3, 4), near(3, 4), near(3, 4, low=0.5)), {"full": True}),
        ("gaussian_nll_loss", (near(3, 4), near(3, 4), near(3, 1, low=0.5)), {}),
        ("binary_cross_entropy", (PROBABILITIES, near(3, 4, low=0.1, high=0.9)), {}),
        ("binary_cross_entropy_with_logits", (near(3, 4), near(3, 4, low=0.1, high=0.9)), {}),
        ("soft_margin_loss", (near(3, 4), classes(3, 4, count=2) * 2 - 1), {}),
        ("multilabel_soft_margin_loss", (near(3, 4), (near(3, 4) > 0) * 1.0), {}),
        ("hinge_embedding_loss", (near(3, 4), classes(3, 4, count=2) * 2 - 1), {"margin": 1.5}),
        ("margin_ranking_loss", (near(4), near(4), np.sign(near(4))), {"margin": 0.5}),
        ("cosine_embedding_loss", (near(3, 4), near(3, 4), classes(3, count=2) * 2 - 1), {"margin": 0.1}),
        ("triplet_margin_loss", (near(3, 4), near(3, 4), near(3, 4)), {"swap": True}),
        ("triplet_margin_loss", (near(3, 4), near(3, 4), near(3, 4)), {"p": 1.0, "margin": 4.0}),
        ("triplet_margin_with_distance_loss", (near(3, 4), near(3, 4), near(3, 4)), {}),
        ("multi_margin_loss", (near(3, 4), classes(3, count=4)), {}),
        ("multi_margin_loss", (near(3, 4), classes(3, count=4)), {"p": 2, "margin": 0.7}),
        ("multilabel_margin_loss", (near(2, 4), np.array([[3, 0, -1, 1], [1, -1, -1, -1]])), {}),
        ("cross_entropy", (near(3, 4), classes(3, count=4)), {}),
        ("cross_entropy", (near(4), np.asarray(2)), {"label_smoothing": 0.2}),
        ("cross_entropy", (near(3, 4), np.array([1, 3, 0])), {"label_smoothing": 0.1, "ignore_index": 3}),
        ("cross_entropy", (near(2, 3, 2, 2), classes(2, 2, 2, count=3)), {}),
        ("cross_entropy", (near(2, 3, 2), classes(2, 2, count=3)), {"ignore_index": 1}),
        ("cross_entropy", (near(3, 4), PROBABILITIES), {"label_smoothing": 0.1}),
        ("cross_entropy", (near(2, 3, 2), near(2, 3, 2, low=0)), {}),
        ("nll_loss", (near(3, 4), classes(3, count=4)), {"ignore_index": 0}),
        ("nll_loss", (near(2, 3, 2, 2), classes(2, 2, 2, count=3)), {}),
        ("nll_loss", (near(2, 3, 2), classes(2, 2, count=3)), {}),
    )
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name, arrays, kwargs", LOSSES)
def test_a_loss(name: str, arrays: tuple[Array, ...], kwargs: dict[str, Any], reduction: str) -> None:
    one_step = name not in ("cross_entropy", "triplet_margin_with_distance_loss", "gaussian_nll_loss")
    again = "multi" not in name or "soft" in name  # PyTorch has no second derivative of the others
    assert_same(of(name, reduction=reduction, **kwargs), *arrays, named=one_step, again=again)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("target", [classes(3, count=4), PROBABILITIES], ids=["indices", "probabilities"])
def test_cross_entropy_with_weights(reduction: str, smoothing: float, target: Array) -> None:
    def function(library: Any, x: Any, y: Any) -> Any:
        weight = library.tensor([0.2, 1.0, 0.5, 3.0], dtype=library.float64)
        return library.nn.functional.cross_entropy(
            x, y, weight, ignore_index=-1, reduction=reduction, label_smoothing=smoothing
        )

    assert_same(function, near(3, 4), target, named=True)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["binary_cross_entropy_with_logits", "mse_loss", "l1_loss", "huber_loss"])
def test_losses_with_weights(reduction: str, name: str) -> None:
    def function(library: Any, x: Any, y: Any, weight: Any) -> Any:
        return getattr(library.nn.functional, name)(x, y, weight=weight.detach(), reduction=reduction)

    named = not (reduction == "mean" and name in ("mse_loss", "l1_loss"))
    assert_same(function, near(3, 4), near(3, 4), near(3, 4, low=0.1), named=named)


def test_binary_cross_entropy_where_it_is_certain() -> None:
    def function(library: Any, x: Any, y: Any) -> Any:
        return library.nn.functional.binary_cross_entropy(x, y.detach())

    assert_same(function, np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0]), again=False)


OTHERS = [
    case("linear", near(2, 3), near(4, 3)),
    case("linear", near(2, 3), near(4, 3), near(4)),
    case("linear", near(2, 5, 3), near(4, 3)),
    case("linear", near(3), near(4, 3)),
    case("bilinear", near(2, 3), near(2, 4), near(5, 3, 4)),
    case("bilinear", near(2, 3), near(2, 4), near(5, 3, 4), near(5)),
    case("embedding", np.array([[0, 2], [2, 1]]), near(4, 3)),
    case("embedding", np.array([0, 2, 2, 1]), near(4, 3), padding_idx=2),
    case("embedding", np.array([0, 2, 2, 1]), near(4, 3), scale_grad_by_freq=True),
    case("one_hot", np.array([[0, 2], [1, 1]])),
    case("one_hot", np.array([0, 2]), num_classes=5),
    case("cosine_similarity", near(3, 4), near(3, 4)),
    case("cosine_similarity", near(3, 1, 4), near(2, 4), dim=-1),
    case("pairwise_distance", near(3, 4), near(3, 4)),
    case("pairwise_distance", near(3, 4), near(4), p=1.0, keepdim=True),
    case("pairwise_distance", near(3, 4), near(3, 4), p=3.0),
    case("pixel_shuffle", near(2, 8, 2, 3), upscale_factor=2),
    case("pixel_unshuffle", near(2, 2, 4, 6), downscale_factor=2),
    case("channel_shuffle", near(2, 6, 3), groups=3),
    case("pad", near(2, 3), pad=(1, 2)),
    case("pad", near(2, 3), pad=(-1, 2, 1, 0), value=2.5),
    *(case("pad", near(2, 3, 4), pad=(2, 1), mode=mode) for mode in ("reflect", "replicate")),
    *(
        case("pad", near(2, 3, 4), pad=(2, 1, 1, 2), mode=mode)
        for mode in ("reflect", "replicate", "circular")
    ),
    case("pad", near(2, 3, 4), pad=(-1, 2), mode="circular"),
    case("dropout", near(3, 4), p=0.0),
    case("dropout", near(3, 4), p=1.0),
    case("dropout", near(3, 4), training=False),
]


@pytest.mark.parametrize("function, arrays", OTHERS)
def test_a_layer(function: Any, arrays: tuple[Array, ...]) -> None:
    circular = function.keywords.get("mode") == "circular"
    still = function.keywords.get("p") == 0.0 or function.keywords.get("training") is False
    assert_same(function, *arrays, named=not (circular or still))


def test_cosine_similarity_of_nothing() -> None:
    assert_same(of("cosine_similarity"), np.zeros((2, 3)), near(2, 3), again=False)


@pytest.mark.parametrize("shape", [(300, 400), (70000,)])
@pytest.mark.parametrize("name", ["gelu", "mish", "elu", "hardswish", "softplus", "logsigmoid"])
def test_large_arrays_give_the_same_in_kernels(name: str, shape: tuple[int, ...]) -> None:
    array = near(*shape)
    x = jitgrad.from_numpy(array).requires_grad_()
    other = torch.from_numpy(array.copy()).requires_grad_()
    for _ in range(10):
        y = getattr(jitgrad.nn.functional, name)(x)
        (grad,) = jitgrad.autograd.grad(y.sum(), x)
    expected = getattr(torch.nn.functional, name)(other)
    (wanted,) = torch.autograd.grad(expected.sum(), other)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), 1e-12, 1e-14)
    np.testing.assert_allclose(grad.numpy(), wanted.numpy(), 1e-12, 1e-14)


def test_pdist() -> None:
    assert_same(of("pdist", p=3.0), near(4, 3), again=False)


def test_embedding_shortens_rows_of_the_weight() -> None:
    def function(library: Any, index: Any, weight: Any) -> Any:
        table = weight.detach().clone()
        return library.nn.functional.embedding(index, table, max_norm=1.0), table

    assert_same(function, np.array([0, 2]), near(4, 3))


def test_dropout_keeps_the_mean() -> None:
    x = jitgrad.ones(200, 200, requires_grad=True)
    y = jitgrad.nn.functional.dropout(x, 0.25)
    kept = (y != 0).sum().item() / y.numel()
    assert abs(kept - 0.75) < 0.02
    assert set(y.detach().flatten().tolist()) == {0.0, float(np.float32(1 / 0.75))}
    (grad,) = jitgrad.autograd.grad(y.sum(), x)
    assert bool((grad == y.detach()).all())


def test_dropout2d_drops_whole_channels() -> None:
    y = jitgrad.nn.functional.dropout2d(jitgrad.ones(40, 5, 3, 3), 0.5)
    sums = set(y.sum((2, 3)).flatten().tolist())
    assert sums == {0.0, 18.0}


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    y = jitgrad.nn.functional.alpha_dropout(jitgrad.randn(300, 300), 0.3, True)
    assert abs(y.mean().item()) < 0.05
    assert abs(y.var().item() - 1) < 0.05


def test_rrelu_draws_slopes() -> None:
    y = jitgrad.nn.functional.rrelu(-jitgrad.ones(1000), 0.2, 0.4, True)
    assert -0.4 <= y.min().item() < -0.38 and -0.22 < y.max().item() <= -0.2


def test_gumbel_softmax_draws_by_the_logits() -> None:
    logits = jitgrad.tensor([[0.0, 1.0]]).expand(4000, 2)
    share = jitgrad.nn.functional.gumbel_softmax(logits, hard=True)[:, 1].mean().item()
    assert abs(share - np.e / (1 + np.e)) < 0.04


@pytest.mark.parametrize("name", ["relu", "elu", "leaky_relu", "selu", "celu", "hardtanh", "threshold"])
def test_writing_in_place(name: str) -> None:
    def function(library: Any, x: Any) -> Any:
        y = x * 1
        arguments = (0.5, 2.0) if name == "threshold" else ()
        result = getattr(library.nn.functional, f"{name}_")(y, *arguments)
        assert result is y
        return y

    assert_same(function, near(3, 4), again=False)


def test_the_names_that_torch_has_too() -> None:
    def function(library: Any, x: Any) -> Any:
        return (
            library.softmax(x, 1),
            library.log_softmax(x, 0, dtype=library.float64),
            x.softmax(0),
            x.log_softmax(-1),
            library.selu(x),
            library.celu(x, 0.5),
            library.prelu(x, library.tensor([0.5], dtype=library.float64)),
            library.dropout(x, 0.0, True) * 1,
            library.layer_norm(x, (4,)),
            library.group_norm(x, 2),
            x.hardshrink(),
        )

    assert_same(function, near(3, 4))


def test_softmax_of_many_rows_runs_in_one_step() -> None:
    x = jitgrad.rand(400, 300, dtype=jitgrad.float64, requires_grad=True)
    target = torch.tensor(x.tolist(), dtype=torch.float64, requires_grad=True)
    for _ in range(12):
        y = jitgrad.nn.functional.softmax(x, 1)
        (grad,) = jitgrad.autograd.grad((y * y).sum(), x)
    expected = torch.nn.functional.softmax(target, 1)
    (wanted,) = torch.autograd.grad((expected * expected).sum(), target)
    assert [type(f).__name__ for f, _ in y.grad_fn.next_functions] == ["AccumulateGrad"]
    np.testing.assert_allclose(grad.numpy(), wanted.numpy(), 1e-10, 1e-15)


ERRORS = [
    case("softmax", near(2), dim=3),
    case("softmax", classes(2, count=3), dim=0),
    case("gelu", near(2), approximate="x"),
    case("gelu", classes(2, count=3)),
    case("glu", near(3)),
    case("glu", near()),
    case("celu", near(2), alpha=0.0),
    case("hardtanh", near(2), min_val=2, max_val=1),
    case("softshrink", near(2), lambd=-1.0),
    case("rrelu", near(2), lower=0.5, upper=0.2),
    case("prelu", near(2, 3), near(2)),
    case("dropout", near(2), p=2.0),
    case("mse_loss", near(2), near(2), reduction="x"),
    case("mse_loss", near(2, 3), near(2)),
    case("smooth_l1_loss", near(2), near(2), beta=-1.0),
    case("huber_loss", near(2), near(2), delta=0.0),
    case("kl_div", classes(2, count=2), classes(2, count=2)),
    case("nll_loss", near(2, 3), np.array([0, 5])),
    case("nll_loss", near(2, 3), np.array([0, 1, 2])),
    case("nll_loss", near(2, 3), near(2)),
    case("nll_loss", near(), np.asarray(0)),
    case("nll_loss", near(2, 3, 4, 4), classes(2, 4, count=3)),
    case("nll_loss", near(2, 3, 4), classes(2, 5, count=3)),
    case("cross_entropy", near(2, 3), np.array([0, 7])),
    case("cross_entropy", near(2, 3), np.array([0, 1]), label_smoothing=2.0),
    case("binary_cross_entropy", near(2) * 9, near(2)),
    case("binary_cross_entropy", near(2, low=0.1, high=0.9), near(3)),
    case("binary_cross_entropy_with_logits", near(2), near(3)),
    case("gaussian_nll_loss", near(2), near(2), near(2, high=-1)),
    case("margin_ranking_loss", near(2), near(2, 1), near(2)),
    case("cosine_embedding_loss", near(2), near(2, 1), near(2)),
    case("triplet_margin_loss", near(2), near(2), near(2), margin=0),
    case("multi_margin_loss", near(2, 3), np.array([0, 4])),
    case("multi_margin_loss", near(2, 3), np.array([0, 1]), p=3),
    case("layer_norm", near(2, 3), normalized_shape=(2,)),
    case("layer_norm", near(2, 3), normalized_shape=3),
    case("rms_norm", near(2, 3), normalized_shape=(2,)),
    case("batch_norm", near(1, 3), running_mean=None, running_var=None, training=True),
    case("batch_norm", near(2, 3), running_mean=None, running_var=None),
    case("instance_norm", near(2, 3, 1)),
    case("group_norm", near(2, 3), num_groups=2),
    case("linear", near(2, 3), near(4, 2)),
    case("linear", near(2, 3), near(4, 3), near(5)),
    case("bilinear", near(2, 3), near(2, 3), near(2, 3, 4)),
    case("embedding", near(2), near(3, 2)),
    case("embedding", np.array([3]), near(3, 2)),
    case("one_hot", near(2)),
    case("one_hot", np.array([-1])),
    case("one_hot", np.array([3]), num_classes=2),
    case("pad", near(2, 3), pad=(1,)),
    case("pad", near(2, 3), pad=(-2, -2)),
    case("pad", near(2, 3), pad=(3, 3), mode="reflect"),
    case("pad", near(2), pad=(1, 1), mode="circular"),
    case("pad", near(2, 3), pad=(1, 1), mode="other"),
    case("pixel_shuffle", near(3, 2, 2), upscale_factor=2),
    case("pixel_unshuffle", near(4, 3, 2), downscale_factor=2),
    case("channel_shuffle", near(1, 4, 2), groups=3),
    case("local_response_norm", near(2, 3), size=2),
    case("cosine_similarity", near(2, 3), near(2, 4)),
    case("pdist", near(2)),
]


@pytest.mark.parametrize("function, arrays", ERRORS)
def test_an_error(function: Any, arrays: tuple[Array, ...]) -> None:
    assert_same_error(function, *arrays)


@pytest.mark.parametrize(
    "function",
    [
        of("softmax"),
        of("mse_loss", target=None),
        of("kl_div", target=None),
        of("mse_loss", target=None, size_average=False),
    ],
)
def test_a_warning(function: Any) -> None:
    texts = []
    for library in (torch, jitgrad):
        (x,) = tensors(library, [near(2, 3)])
        if "target" in function.keywords:
            y = library.ones(3 if function.keywords["name"] == "mse_loss" else (2, 3), dtype=library.float64)
            function = functools.partial(function, target=y)
        with pytest.warns(UserWarning) as caught:
            function(library, x)
        texts.append([str(w.message) for w in caught])
    assert texts[0] == texts[1]
