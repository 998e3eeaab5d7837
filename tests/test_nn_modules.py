"""Layers of torch.nn give PyTorch's text, state, values, derivatives and errors; modules keep their tree."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from beside_torch import Array, assert_same, assert_same_error, outputs_of, projected, tensors, weights

import jitgrad

rng = np.random.default_rng(7)

Make = Callable[[Any], Any]  # from the namespace `nn` of a library to a module


def near(*shape: int, low: float = -3.0, high: float = 3.0) -> Array:
    return rng.uniform(low, high, shape)


def classes(*shape: int, count: int) -> Array:
    return rng.integers(0, count, shape)


def filled(library: Any, make: Make) -> Any:
    """The module in float64, its parameters set to fixed numbers."""
    module = make(library.nn).double()
    for p in module.parameters():
        p.data = library.tensor(weights(p.shape), dtype=library.float64).reshape(p.shape)
    return module


def applied(make: Make, *more: Any, training: bool = True) -> Any:
    """A call for `assert_same`: results, gradients of the parameters, and buffers after that."""

    def call(library: Any, *inputs: Any) -> Any:
        module = filled(library, make).train(training)
        outputs = outputs_of(module(*inputs, *more))
        parameters = list(module.parameters())
        grads = []
        if parameters:
            moving = [o for o in outputs if o.requires_grad]
            total = projected(library, moving)
            grads = list(library.autograd.grad(total, parameters, retain_graph=True))
        return (*outputs, *grads, *module.buffers())

    return call


LAYERS: list[tuple[Make, tuple[Array, ...]]] = [
    (lambda nn: nn.Identity(3, option=True), (near(2, 3),)),
    (lambda nn: nn.Linear(3, 4), (near(2, 3),)),
    (lambda nn: nn.Linear(3, 4, bias=False), (near(5, 2, 3),)),
    (lambda nn: nn.Bilinear(3, 2, 4), (near(5, 3), near(5, 2))),
    (lambda nn: nn.Bilinear(3, 2, 4, bias=False), (near(5, 3), near(5, 2))),
    (lambda nn: nn.Conv1d(4, 6, 3), (near(2, 4, 7),)),
    (lambda nn: nn.Conv1d(4, 6, 2, stride=2, padding=1, dilation=2, groups=2), (near(2, 4, 7),)),
    (lambda nn: nn.Conv1d(4, 2, 4, padding="same", bias=False), (near(4, 7),)),
    (lambda nn: nn.Conv1d(2, 2, 3, padding=2, padding_mode="circular"), (near(2, 2, 7),)),
    (lambda nn: nn.Conv2d(3, 4, 3), (near(2, 3, 6, 5),)),
    (lambda nn: nn.Conv2d(3, 4, (3, 2), (2, 1), (1, 0), bias=False), (near(2, 3, 6, 5),)),
    (lambda nn: nn.Conv2d(4, 4, 3, padding="same", dilation=2, groups=4), (near(2, 4, 6, 5),)),
    (lambda nn: nn.Conv2d(2, 3, 2, padding="valid"), (near(2, 6, 5),)),
    (lambda nn: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="reflect"), (near(2, 2, 6, 5),)),
    (lambda nn: nn.Conv2d(2, 3, 3, padding="same", padding_mode="replicate"), (near(2, 2, 6, 5),)),
    (lambda nn: nn.ConvTranspose1d(4, 2, 3, stride=2, output_padding=1), (near(2, 4, 5),)),
    (lambda nn: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, dilation=2), (near(2, 4, 3, 4),)),
    (lambda nn: nn.ConvTranspose2d(2, 3, (2, 3), bias=False), (near(2, 3, 4),)),
    (lambda nn: nn.BatchNorm1d(3), (near(4, 3),)),
    (lambda nn: nn.BatchNorm1d(3, momentum=None), (near(4, 3, 5),)),
    (lambda nn: nn.BatchNorm1d(3, affine=False, eps=0.1), (near(4, 3),)),
    (lambda nn: nn.BatchNorm1d(3, track_running_stats=False), (near(4, 3),)),
    (lambda nn: nn.BatchNorm1d(3, bias=False, momentum=0.5), (near(4, 3),)),
    (lambda nn: nn.BatchNorm2d(3), (near(4, 3, 2, 3),)),
    (lambda nn: nn.BatchNorm3d(2), (near(2, 2, 2, 3, 2),)),
    (lambda nn: nn.InstanceNorm1d(3), (near(2, 3, 4),)),
    (lambda nn: nn.InstanceNorm2d(3, affine=True), (near(2, 3, 4, 2),)),
    (lambda nn: nn.InstanceNorm2d(3, track_running_stats=True), (near(3, 4, 2),)),
    (lambda nn: nn.InstanceNorm3d(2, affine=True, track_running_stats=True), (near(2, 2, 2, 3, 2),)),
    (lambda nn: nn.LayerNorm(4), (near(2, 3, 4),)),
    (lambda nn: nn.LayerNorm((3, 4), eps=0.1, bias=False), (near(2, 3, 4),)),
    (lambda nn: nn.LayerNorm([4], elementwise_affine=False), (near(2, 3, 4),)),
    (lambda nn: nn.RMSNorm(4), (near(2, 3, 4),)),
    (lambda nn: nn.RMSNorm((3, 4), eps=0.1, elementwise_affine=False), (near(2, 3, 4),)),
    (lambda nn: nn.GroupNorm(2, 4), (near(3, 4, 2),)),
    (lambda nn: nn.GroupNorm(2, 4, affine=False, eps=0.1), (near(3, 4, 2),)),
    (lambda nn: nn.GroupNorm(4, 4, bias=False), (near(3, 4, 2),)),
    (lambda nn: nn.LocalResponseNorm(3, k=2.0), (near(2, 5, 3),)),
    (lambda nn: nn.MaxPool1d(2), (near(2, 3, 7),)),
    (lambda nn: nn.MaxPool1d(3, 2, 1, return_indices=True), (near(3, 7),)),
    (lambda nn: nn.MaxPool2d(2), (near(2, 3, 6, 5),)),
    (lambda nn: nn.MaxPool2d((3, 2), stride=1, dilation=2, ceil_mode=True), (near(2, 3, 6, 5),)),
    (lambda nn: nn.AvgPool1d(2), (near(2, 3, 7),)),
    (lambda nn: nn.AvgPool1d(3, 2, 1, ceil_mode=True, count_include_pad=False), (near(2, 3, 8),)),
    (lambda nn: nn.AvgPool2d(2), (near(2, 3, 6, 5),)),
    (lambda nn: nn.AvgPool2d((3, 2), 1, (1, 0), divisor_override=5), (near(2, 3, 6, 5),)),
    (lambda nn: nn.AdaptiveAvgPool1d(3), (near(2, 3, 7),)),
    (lambda nn: nn.AdaptiveAvgPool2d((None, 2)), (near(2, 3, 6, 5),)),
    (lambda nn: nn.AdaptiveAvgPool2d(1), (near(2, 3, 6, 5),)),
    (lambda nn: nn.AdaptiveMaxPool1d(3), (near(2, 3, 7),)),
    (lambda nn: nn.AdaptiveMaxPool2d((2, 3), return_indices=True), (near(2, 3, 6, 5),)),
    (lambda nn: nn.Flatten(), (near(2, 3, 4),)),
    (lambda nn: nn.Flatten(0, 1), (near(2, 3, 4),)),
    (lambda nn: nn.Unflatten(1, (2, 3)), (near(2, 6, 2),)),
    (lambda nn: nn.ZeroPad1d(2), (near(2, 3),)),
    (lambda nn: nn.ZeroPad2d((1, 0, 2, 1)), (near(2, 3, 4),)),
    (lambda nn: nn.ConstantPad1d(1, 2.5), (near(2, 3),)),
    (lambda nn: nn.ConstantPad2d(1, 2.5), (near(2, 3, 3),)),
    (lambda nn: nn.ReflectionPad1d((1, 2)), (near(2, 4),)),
    (lambda nn: nn.ReflectionPad2d(1), (near(2, 3, 4),)),
    (lambda nn: nn.ReplicationPad1d(3), (near(2, 4),)),
    (lambda nn: nn.ReplicationPad2d((0, 1, 2, 0)), (near(2, 3, 4),)),
    (lambda nn: nn.CircularPad1d(2), (near(2, 4),)),
    (lambda nn: nn.CircularPad2d(1), (near(2, 3, 4),)),
    (lambda nn: nn.PixelShuffle(2), (near(8, 2, 3),)),
    (lambda nn: nn.PixelUnshuffle(2), (near(2, 4, 6),)),
    (lambda nn: nn.ChannelShuffle(2), (near(1, 4, 2),)),
    (lambda nn: nn.Dropout(0.0), (near(2, 3),)),
    (lambda nn: nn.Dropout(1.0), (near(2, 3),)),
    (lambda nn: nn.Dropout1d(1.0), (near(2, 3, 2),)),
    (lambda nn: nn.Dropout2d(1.0), (near(2, 3, 2, 2),)),
    (lambda nn: nn.Dropout3d(1.0), (near(2, 3, 2, 2, 2),)),
    (lambda nn: nn.AlphaDropout(0.0), (near(2, 3),)),
    (lambda nn: nn.FeatureAlphaDropout(0.0, True), (near(2, 3),)),
    (lambda nn: nn.RNNCell(3, 4), (near(2, 3), near(2, 4))),
    (lambda nn: nn.RNNCell(3, 4, nonlinearity="relu", bias=False), (near(3),)),
    (lambda nn: nn.GRUCell(3, 4), (near(2, 3), near(2, 4))),
    (lambda nn: nn.GRUCell(3, 4, bias=False), (near(2, 3),)),
    (lambda nn: nn.LSTMCell(3, 4), (near(2, 3),)),
    (lambda nn: nn.CosineSimilarity(dim=0), (near(2, 3), near(2, 3))),
    (lambda nn: nn.PairwiseDistance(keepdim=True), (near(2, 3), near(2, 3))),
    (lambda nn: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), (near(2, 3),)),
    (lambda nn: nn.Sequential(OrderedDict(a=nn.Linear(3, 4), b=nn.Sequential())), (near(2, 3),)),
]
ACTIVATIONS: list[Make] = [
    lambda nn: nn.ReLU(),
    lambda nn: nn.ReLU6(),
    lambda nn: nn.LeakyReLU(),
    lambda nn: nn.LeakyReLU(0.3),
    lambda nn: nn.GELU(),
    lambda nn: nn.GELU("tanh"),
    lambda nn: nn.SiLU(),
    lambda nn: nn.ELU(2.0),
    lambda nn: nn.SELU(),
    lambda nn: nn.CELU(0.5),
    lambda nn: nn.Sigmoid(),
    lambda nn: nn.Tanh(),
    lambda nn: nn.Softplus(2.0, 1.0),
    lambda nn: nn.Softsign(),
    lambda nn: nn.Softshrink(),
    lambda nn: nn.Hardshrink(1.0),
    lambda nn: nn.Tanhshrink(),
    lambda nn: nn.Hardtanh(-0.5, 2.0),
    lambda nn: nn.Hardswish(),
    lambda nn: nn.Hardsigmoid(),
    lambda nn: nn.LogSigmoid(),
    lambda nn: nn.Mish(),
    lambda nn: nn.GLU(1),
    lambda nn: nn.Threshold(0.5, 7.0),
    lambda nn: nn.Softmax(1),
    lambda nn: nn.LogSoftmax(dim=0),
    lambda nn: nn.Softmin(-1),
    lambda nn: nn.Softmax2d(),
    lambda nn: nn.PReLU(),
    lambda nn: nn.PReLU(4, init=0.5),
]
IN_PLACE = ("ReLU", "ReLU6", "LeakyReLU", "SiLU", "ELU", "SELU", "CELU", "Hardtanh", "Mish", "RReLU")
POSITIVE = near(3, 4, low=0.1, high=0.9)
LOSSES: list[tuple[str, dict[str, Any], tuple[Array, ...]]] = [
    ("MSELoss", {}, (near(3, 4), near(3, 4))),
    ("L1Loss", {"reduction": "sum"}, (near(3, 4), near(3, 4))),
    ("SmoothL1Loss", {"beta": 0.5}, (near(3, 4), near(3, 4))),
    ("HuberLoss", {"delta": 0.5, "reduction": "none"}, (near(3, 4), near(3, 4))),
    ("CrossEntropyLoss", {}, (near(3, 4), classes(3, count=4))),
    ("CrossEntropyLoss", {"label_smoothing": 0.1, "ignore_index": 2}, (near(3, 4), np.array([0, 2, 3]))),
    ("NLLLoss", {"reduction": "sum"}, (near(3, 4), classes(3, count=4))),
    ("BCELoss", {}, (POSITIVE, near(3, 4, low=0, high=1))),
    ("BCEWithLogitsLoss", {}, (near(3, 4), near(3, 4, low=0, high=1))),
    ("KLDivLoss", {"reduction": "batchmean"}, (near(3, 4), POSITIVE)),
    ("KLDivLoss", {"log_target": True, "reduction": "sum"}, (near(3, 4), near(3, 4))),
    ("PoissonNLLLoss", {"full": True}, (near(3, 4), near(3, 4, low=0.5))),
    ("GaussianNLLLoss", {"full": True}, (near(3, 4), near(3, 4), near(3, 4, low=0.5))),
    ("SoftMarginLoss", {}, (near(3, 4), classes(3, 4, count=2) * 2 - 1)),
    ("MultiLabelSoftMarginLoss", {}, (near(3, 4), (near(3, 4) > 0) * 1.0)),
    ("MultiLabelMarginLoss", {}, (near(2, 4), np.array([[3, 0, -1, 1], [1, -1, -1, -1]]))),
    ("HingeEmbeddingLoss", {"margin": 1.5}, (near(3, 4), classes(3, 4, count=2) * 2 - 1)),
    ("MarginRankingLoss", {"margin": 0.5}, (near(4), near(4), np.sign(near(4)))),
    ("CosineEmbeddingLoss", {"margin": 0.1}, (near(3, 4), near(3, 4), classes(3, count=2) * 2 - 1)),
    ("TripletMarginLoss", {"swap": True, "p": 1.0}, (near(3, 4), near(3, 4), near(3, 4))),
    ("TripletMarginWithDistanceLoss", {"margin": 4.0}, (near(3, 4), near(3, 4), near(3, 4))),
    ("MultiMarginLoss", {"p": 2, "margin": 0.7}, (near(3, 4), classes(3, count=4))),
]
WEIGHTED = ("CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss")


def assert_alike(make: Make) -> None:
    """The text, and the names and shapes of the state."""
    theirs, ours = make(torch.nn), make(jitgrad.nn)
    assert repr(ours) == repr(theirs)
    described = [[(k, tuple(v.shape)) for k, v in module.state_dict().items()] for module in (theirs, ours)]
    assert described[1] == described[0]
    assert [k for k, _ in ours.named_parameters()] == [k for k, _ in theirs.named_parameters()]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("make, arrays", LAYERS)
def test_a_layer(make: Make, arrays: tuple[Array, ...], training: bool) -> None:
    assert_alike(make)
    plain = training and make(jitgrad.nn)._get_name() not in ("GRUCell", "LSTMCell", "BatchNorm3d")
    assert_same(applied(make, training=training), *arrays, again=False, named=plain)


@pytest.mark.parametrize("make", ACTIVATIONS)
def test_an_activation(make: Make) -> None:
    assert_alike(make)
    assert_same(applied(make), near(2, 4, 3, 2), again=False)


@pytest.mark.parametrize("name", IN_PLACE)
def test_an_activation_in_place(name: str) -> None:
    assert_alike(lambda nn: getattr(nn, name)(inplace=True))

    def call(library: Any, x: Any) -> Any:
        y = x * 1
        z = getattr(library.nn, name)(inplace=True).eval()(y)
        assert z is y
        return z

    assert_same(call, near(3, 4), again=False)


@pytest.mark.parametrize("name, options, arrays", LOSSES)
def test_a_loss(name: str, options: dict[str, Any], arrays: tuple[Array, ...]) -> None:
    assert_alike(lambda nn: getattr(nn, name)(**options))
    named = name not in ("CrossEntropyLoss", "TripletMarginWithDistanceLoss", "GaussianNLLLoss")
    assert_same(applied(lambda nn: getattr(nn, name)(**options)), *arrays, again=False, named=named)


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_loss_with_weights(name: str) -> None:
    arrays = next(arrays for known, _, arrays in LOSSES if known == name)

    def call(library: Any, x: Any, y: Any) -> Any:
        weight = library.tensor([1.0, 0.5, 2.0, 0.1], dtype=library.float64)
        loss = getattr(library.nn, name)(weight=weight)
        assert list(loss.state_dict()) == ["weight"]
        return loss(x, y), *loss.buffers()

    assert_same(call, *arrays, again=False, named=False)


def test_an_older_way_to_reduce() -> None:
    for library in (torch, jitgrad):
        with pytest.warns(UserWarning, match="size_average and reduce args will be deprecated"):
            assert library.nn.MSELoss(size_average=False).reduction == "sum"


@pytest.mark.parametrize("options", [{}, {"padding_idx": -1}, {"scale_grad_by_freq": True}])
def test_an_embedding(options: dict[str, Any]) -> None:
    make: Make = lambda nn: nn.Embedding(5, 3, **options)
    assert_alike(make)

    def call(library: Any, x: Any, index: Any) -> Any:
        table = filled(library, make)
        y = table(index)
        return y * x, *library.autograd.grad(projected(library, [y]), [table.weight])

    assert_same(call, near(2, 2, 3), np.array([[1, 4], [1, 0]]), again=False)
    row = jitgrad.nn.Embedding(5, 3, padding_idx=2).weight[2]
    assert row.tolist() == [0, 0, 0]


def test_an_embedding_of_given_vectors() -> None:
    given = jitgrad.ones(2, 3)
    table = jitgrad.nn.Embedding.from_pretrained(given)
    assert not table.weight.requires_grad
    assert repr(table) == repr(torch.nn.Embedding.from_pretrained(torch.ones(2, 3)))
    given[0, 0] = 5.0
    assert table(jitgrad.tensor(0)).tolist() == [5, 1, 1]


def test_an_lstm_cell_with_a_state() -> None:
    def call(library: Any, x: Any, h: Any, c: Any) -> Any:
        return filled(library, lambda nn: nn.LSTMCell(3, 4))(x, (h, c))

    assert_same(call, near(2, 3), near(2, 4), near(2, 4), named=False)


def test_transposed_convolution_to_a_size() -> None:
    def call(library: Any, x: Any) -> Any:
        layer = filled(library, lambda nn: nn.ConvTranspose2d(2, 3, 3, stride=3))
        return layer(x, output_size=[8, 10])

    assert_same(call, near(1, 2, 2, 3), again=False)


# Random layers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"])
def test_dropout_keeps_the_mean_and_is_off_in_evaluation(name: str) -> None:
    jitgrad.manual_seed(0)
    layer = getattr(jitgrad.nn, name)(0.3)
    x = jitgrad.ones(200, 50, 2, 2, 2)[(slice(None),) * (5 if name[-1:] != "d" else int(name[-2]) + 2)]
    x = x.flatten(int(name[-2]) + 1) if name in ("Dropout1d", "Dropout2d") else x
    y = layer(x)
    if name != "AlphaDropout":
        assert y.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
        assert abs(float(y.mean()) - 1) < 0.03
    assert layer.eval()(x) is x


# Errors ---------------------------------------------------------------------------------------------------

ONE = np.ones((2, 3))
ERRORS: list[tuple[Make, tuple[Array, ...]]] = [
    (lambda nn: nn.Conv2d(3, 4, 3, groups=0), ()),
    (lambda nn: nn.Conv2d(3, 4, 3, groups=2), ()),
    (lambda nn: nn.Conv2d(4, 3, 3, groups=2), ()),
    (lambda nn: nn.Conv2d(3, 4, 3, padding="same", stride=2), ()),
    (lambda nn: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"), ()),
    (lambda nn: nn.ConvTranspose1d(3, 4, 3, stride=2), (np.ones((2, 2, 2)),)),
    (lambda nn: nn.Linear(4, 2), (ONE,)),
    (lambda nn: nn.Bilinear(0, 1, 1), ()),
    (lambda nn: nn.GroupNorm(3, 4), ()),
    (lambda nn: nn.GroupNorm(0, 4), ()),
    (lambda nn: nn.Dropout(2), ()),
    (lambda nn: nn.Embedding(3, 2, padding_idx=4), ()),
    (lambda nn: nn.Embedding(3, 2, _weight=torch.ones(2, 2)), ()),
    (lambda nn: nn.Unflatten(1, 3), ()),
    (lambda nn: nn.Unflatten(1, [1.0]), ()),
    (lambda nn: nn.Hardtanh(1, -1), ()),
    (lambda nn: nn.BatchNorm1d(3), (np.ones((2, 3, 4, 5)),)),
    (lambda nn: nn.BatchNorm2d(3), (ONE,)),
    (lambda nn: nn.BatchNorm1d(4), (ONE,)),
    (lambda nn: nn.InstanceNorm1d(3), (np.ones((2, 3, 4, 5)),)),
    (lambda nn: nn.InstanceNorm1d(3, affine=True), (np.ones((2, 4, 4)),)),
    (lambda nn: nn.Softmax2d(), (ONE,)),
    (lambda nn: nn.RNNCell(3, 3), (np.ones((2, 2, 3)),)),
    (lambda nn: nn.RNNCell(2, 3), (ONE,)),
    (lambda nn: nn.RNNCell(3, 3), (ONE, np.ones((3, 3)))),
    (lambda nn: nn.RNNCell(3, 3), (ONE, np.ones((2, 4)))),
    (lambda nn: nn.RNNCell(3, 3, nonlinearity="x"), (ONE,)),
    (lambda nn: nn.MultiMarginLoss(p=3), ()),
    (lambda nn: nn.TripletMarginWithDistanceLoss(margin=0), ()),
    (lambda nn: nn.ModuleList([nn.Linear(1, 1)])[1], ()),
    (lambda nn: nn.ModuleList().extend(3), ()),
    (lambda nn: nn.Sequential(3), ()),
    (lambda nn: nn.Module()(1), ()),
    (lambda nn: nn.Module().missing, ()),
    (lambda nn: nn.Module().register_buffer("x.y", None), ()),
    (lambda nn: nn.Module().register_buffer("", None), ()),
    (lambda nn: nn.Module().register_buffer("train", None), ()),
    (lambda nn: nn.Module().register_buffer(3, None), ()),
    (lambda nn: nn.Module().register_buffer("x", 3), ()),
    (lambda nn: nn.Module().register_parameter("x", 3), ()),
    (lambda nn: nn.Module().register_parameter("x.y", None), ()),
    (lambda nn: nn.Module().add_module("x.y", None), ()),
    (lambda nn: nn.Module().add_module("", None), ()),
    (lambda nn: nn.Module().add_module("train", None), ()),
    (lambda nn: nn.Module().add_module("x", 3), ()),
    (lambda nn: setattr(nn.Linear(1, 1), "weight", 3), ()),
    (lambda nn: setattr(nn.Sequential(nn.ReLU()), "0", 3), ()),
    (lambda nn: setattr(nn.BatchNorm1d(2), "running_mean", 3), ()),
    (lambda nn: delattr(nn.Linear(1, 1), "missing"), ()),
    (lambda nn: nn.Module().train(3), ()),
    (lambda nn: nn.Module().load_state_dict(3), ()),
    (lambda nn: nn.Linear(1, 1).get_submodule("a.b"), ()),
    (lambda nn: nn.Linear(1, 1).get_submodule("weight"), ()),
    (lambda nn: nn.Linear(1, 1).get_parameter("x"), ()),
    (lambda nn: nn.BatchNorm1d(1).get_parameter("running_mean"), ()),
    (lambda nn: nn.BatchNorm1d(1).get_buffer("weight"), ()),
]


@pytest.mark.parametrize("make, arrays", ERRORS)
def test_an_error(make: Make, arrays: tuple[Array, ...]) -> None:
    def call(library: Any, *inputs: Any) -> Any:
        made = make(library.nn)
        return made.double()(*inputs)

    assert_same_error(call, *arrays)


# Modules --------------------------------------------------------------------------------------------------


def network(library: Any) -> Any:
    nn = library.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 3)
            self.norm = nn.BatchNorm1d(3)
            self.scale = nn.Parameter(library.ones(3))
            self.register_buffer("shift", library.zeros(3))
            self.register_buffer("scratch", library.ones(1), persistent=False)
            self.register_parameter("absent", None)

        def forward(self, x: Any) -> Any:
            return self.norm(self.first(x)) * self.scale + self.shift

    class Network(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Block(), Block()])
            self.heads = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(3, 1, bias=False)})
            self.shared = self.heads["a"]
            self.loose = nn.ParameterList([library.ones(2), nn.Parameter(library.zeros(1))])
            self.named = nn.ParameterDict({"alpha": nn.Parameter(library.ones(1))})
            self.nothing = None

        def forward(self, x: Any) -> Any:
            for block in self.blocks:
                x = block(x).relu()
            return self.heads["a"](x) * self.named["alpha"] + self.loose[0]

        def extra_repr(self) -> str:
            return "two\nlines"

    return Network()


def both() -> tuple[Any, Any]:
    return network(torch), network(jitgrad)


def test_the_text_of_a_tree() -> None:
    theirs, ours = both()
    assert repr(ours) == repr(theirs)
    for make in (
        lambda nn: nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1), nn.ReLU(), nn.Sequential(nn.Tanh())]),
        lambda nn: nn.ModuleList(),
        lambda nn: nn.ModuleDict({"a": nn.ReLU()}),
        lambda nn: nn.Sequential(),
    ):
        assert repr(make(jitgrad.nn)) == repr(make(torch.nn))


def test_the_names_in_a_tree() -> None:
    theirs, ours = both()
    for function in (
        lambda m: [n for n, _ in m.named_modules()],
        lambda m: [n for n, _ in m.named_modules(prefix="top", remove_duplicate=False)],
        lambda m: [n for n, _ in m.named_children()],
        lambda m: [n for n, _ in m.named_parameters()],
        lambda m: [n for n, _ in m.named_parameters(prefix="top", recurse=False)],
        lambda m: [n for n, _ in m.named_parameters(remove_duplicate=False)],
        lambda m: [n for n, _ in m.named_buffers()],
        lambda m: list(m.state_dict()),
        lambda m: list(m.state_dict(prefix="top.")),
        lambda m: dict(m.state_dict()._metadata),
        lambda m: [len(list(x())) for x in (m.parameters, m.buffers, m.modules, m.children)],
        lambda m: [type(x).__name__ for x in m.modules()],
        lambda m: type(m.get_submodule("blocks.0.first")).__name__,
        lambda m: tuple(m.get_parameter("blocks.0.first.weight").shape),
        lambda m: tuple(m.get_buffer("blocks.1.shift").shape),
        lambda m: [name for name in dir(m) if name in ("blocks", "nothing", "forward", "0")],
    ):
        assert function(ours) == function(theirs)


def as_lists(state: Any) -> dict[str, Any]:
    return {key: value.tolist() for key, value in state.items()}


def test_state_travels_between_modules() -> None:
    theirs, ours = both()
    given = {
        k: jitgrad.tensor(v.tolist(), dtype=getattr(jitgrad, str(v.dtype)[6:]))
        for k, v in theirs.state_dict().items()
    }
    assert repr(ours.load_state_dict(given)) == "<All keys matched successfully>"
    assert as_lists(ours.state_dict()) == as_lists(theirs.state_dict())
    x = near(5, 3).astype(np.float32)
    (x1,), (x2,) = tensors(torch, [x]), tensors(jitgrad, [x])
    np.testing.assert_allclose(ours(x2).tolist(), theirs(x1).tolist(), 1e-5, 1e-5)
    assert ours.blocks[0].norm.num_batches_tracked.item() == 1


def test_a_state_shares_memory_without_history() -> None:
    module = jitgrad.nn.Linear(2, 1)
    state = module.state_dict()
    assert not state["weight"].requires_grad and type(state["weight"]) is jitgrad.Tensor
    module.weight.data.fill_(7)
    assert state["weight"].tolist() == [[7, 7]]
    assert module.state_dict(keep_vars=True)["weight"] is module.weight


@pytest.mark.parametrize("strict", [True, False])
def test_a_state_that_does_not_fit(strict: bool) -> None:
    answers = []
    for library in (torch, jitgrad):
        module = library.nn.Sequential(library.nn.Linear(2, 3), library.nn.BatchNorm1d(3))
        state = {"0.weight": library.ones(3, 2), "1.weight": library.ones(3), "other.x": library.ones(1)}
        if strict:
            state |= {"0.bias": library.ones(2), "1.bias": library.ones(3), "1.y": library.ones(1)}
            with pytest.raises(RuntimeError) as caught:
                module.load_state_dict(state)
            answers.append(str(caught.value))
        else:
            answers.append(repr(module.load_state_dict(state, strict=False)))
        assert module[0].weight.tolist() == [[1, 1]] * 3
    assert answers[1] == answers[0]


def test_a_state_can_take_the_place_of_parameters() -> None:
    module = jitgrad.nn.Linear(2, 1)
    given = jitgrad.ones(1, 2, dtype=jitgrad.float64)
    module.load_state_dict({"weight": given, "bias": jitgrad.zeros(1)}, assign=True)
    assert isinstance(module.weight, jitgrad.nn.Parameter) and module.weight.dtype == jitgrad.float64
    given[0, 0] = 3.0
    assert module.weight.tolist() == [[3, 1]]


def test_attributes_go_where_they_belong() -> None:
    for library in (torch, jitgrad):
        nn = library.nn
        module = nn.Module()
        module.x = nn.Parameter(library.ones(1))
        assert list(module._parameters) == ["x"]
        with pytest.raises(
            TypeError, match="cannot assign 'torch.nn.modules.linear.Linear' as parameter 'x'"
        ):
            module.x = nn.Linear(1, 1)
        del module.x
        module.x = nn.Linear(1, 1)
        assert not module._parameters and list(module._modules) == ["x"]
        module.x = None
        assert module.x is None and list(module.named_children()) == []
        del module.x
        assert not hasattr(module, "x")
        module.register_buffer("y", library.ones(1), persistent=False)
        module.y = library.zeros(1)
        assert module._buffers["y"].tolist() == [0] and not module.state_dict()
        del module.y
        module.z = library.ones(1)
        assert module.z is vars(module)["z"]
        with pytest.raises(TypeError, match="cannot assign 'torch.FloatTensor' as parameter 'weight'"):
            nn.Linear(1, 1).weight = library.ones(1)

        class Early(nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self, value: Any) -> None:
                self.x = value

        for value, what in ((nn.Parameter(library.ones(1)), "parameters"), (nn.ReLU(), "module")):
            with pytest.raises(
                AttributeError, match=rf"cannot assign {what} before Module.__init__\(\) call"
            ):
                Early(value)


def test_what_was_computed_is_no_parameter() -> None:
    texts = []
    for library in (torch, jitgrad):
        p = library.nn.Parameter(library.ones(1), requires_grad=False)
        p.mul_(library.ones(1, requires_grad=True))
        with pytest.raises(ValueError, match="Cannot assign non-leaf Tensor to parameter 'x'") as caught:
            library.nn.Module().x = p
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_hooks_see_and_replace_arguments_and_results() -> None:
    seen: list[Any] = []
    for library in (torch, jitgrad):
        seen.clear()
        module = library.nn.Identity()
        handles = [
            module.register_forward_pre_hook(lambda m, args: seen.append("before") or (args[0] + 1,)),
            module.register_forward_pre_hook(lambda m, args: args[0] * 2, prepend=True),
            module.register_forward_hook(lambda m, args, y: seen.append(args[0].item()) or y * 10),
            module.register_forward_hook(
                lambda m, args, kwargs, y: seen.append(sorted(kwargs)), with_kwargs=True
            ),
            module.register_forward_pre_hook(
                lambda m, args, kwargs: (args, {**kwargs, "b": 1}), with_kwargs=True
            ),
        ]
        module.forward = lambda x, **kwargs: x
        assert module(library.tensor(3.0), a=0).item() == 70
        assert seen == ["before", 7.0, ["a", "b"]]
        for handle in handles:
            handle.remove()
        assert module(library.tensor(3.0)).item() == 3


def test_modes_reach_every_module() -> None:
    module = network(jitgrad)
    assert module.training and module.eval() is module
    assert not any(m.training for m in module.modules())
    assert all(m.training for m in module.train().modules())
    assert not any(p.requires_grad for p in module.requires_grad_(False).parameters())
    names: list[str] = []
    module.apply(lambda m: names.append(type(m).__name__))
    other: list[str] = []
    network(torch).apply(lambda m: other.append(type(m).__name__))
    assert names == other


def test_gradients_are_dropped_or_set_to_zero() -> None:
    module = jitgrad.nn.Linear(2, 1)
    module(jitgrad.ones(2)).sum().backward()
    module.zero_grad(set_to_none=False)
    assert module.weight.grad.tolist() == [[0, 0]]
    module.zero_grad()
    assert module.weight.grad is None


def test_types_of_parameters_gradients_and_buffers() -> None:
    module = jitgrad.nn.BatchNorm1d(2)
    module(jitgrad.randn(3, 2)).sum().backward()
    weight = module.weight
    assert module.double() is module and module.weight is weight
    assert weight.dtype == weight.grad.dtype == module.running_mean.dtype == jitgrad.float64
    assert module.num_batches_tracked.dtype == jitgrad.int64
    assert module.to(jitgrad.zeros(1)).weight.dtype == jitgrad.float32
    assert module.to("cpu", jitgrad.float64).weight.dtype == jitgrad.float64
    assert module.float().cpu().weight.dtype == jitgrad.float32
    with pytest.raises(TypeError, match="nn.Module.to only accepts floating point or complex dtypes"):
        module.to(jitgrad.int64)


def test_copies_of_modules() -> None:
    module = network(jitgrad)
    for other in (copy.deepcopy(module.blocks), pickle.loads(pickle.dumps(jitgrad.nn.Linear(2, 3)))):
        assert all(isinstance(p, jitgrad.nn.Parameter) for p in other.parameters())
    twin = copy.deepcopy(module)
    assert twin.shared is twin.heads["a"]
    assert as_lists(twin.state_dict()) == as_lists(module.state_dict())
    twin.blocks[0].scale.data.fill_(9)
    assert module.blocks[0].scale.tolist() == [1, 1, 1]


def test_a_batch_norm_state_of_the_first_version_loads() -> None:
    layer = jitgrad.nn.BatchNorm1d(2)
    state = dict(layer.state_dict())
    del state["num_batches_tracked"]
    assert not layer.load_state_dict(state).missing_keys


# Containers and parameters --------------------------------------------------------------------------------


def test_containers_are_sequences() -> None:
    for library in (torch, jitgrad):
        nn = library.nn
        a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
        for kind in (nn.ModuleList, nn.Sequential):
            row, more = (kind([a, b]), kind([b])) if kind is nn.ModuleList else (kind(a, b), kind(b))
            assert row[-1] is b and len(row) == 2 and list(row) == [a, b] and a in row
            row.append(c)
            assert list(row[1:]) == [b, c] and type(row[1:]) is type(row)
            row.insert(0, c)
            assert list(row) == [c, a, b, c]
            row[1] = b
            del row[0]
            assert list(row) == [b, b, c] and list(row._modules) == ["0", "1", "2"]
            assert row.pop(1) is b and list(row) == [b, c]
            row.extend([a])
            assert list(row + more) == [b, c, a, b]
        held = nn.ModuleDict([("a", a)])
        held.update({"b": b})
        held["c"] = c
        assert list(held) == list(held.keys()) == ["a", "b", "c"] and "a" in held and len(held) == 3
        assert held.pop("a") is a and list(held.values()) == [b, c] and dict(held.items())["b"] is b
        del held["b"]
        held.clear()
        assert not len(held)


def test_parameters_in_containers() -> None:
    for library in (torch, jitgrad):
        nn = library.nn
        row = nn.ParameterList([library.ones(1)])
        row += [nn.Parameter(library.zeros(2))]
        row[0] = library.zeros(3)
        assert [tuple(p.shape) for p in row] == [(3,), (2,)] and isinstance(row[0], nn.Parameter)
        assert list(row.state_dict()) == ["0", "1"] and len(row[:1]) == 1
        held = nn.ParameterDict({"a": library.ones(1)})
        held["b"] = nn.Parameter(library.ones(2))
        assert list(held) == ["a", "b"] and isinstance(held["a"], nn.Parameter) and "b" in held
        del held["a"]
        assert [k for k, _ in held.items()] == list(held.keys()) == ["b"] and len(held) == 1
    for make in (
        lambda library: library.nn.ParameterList([library.ones(2, 3), library.ones(1).double()]),
        lambda library: library.nn.ParameterList([library.ones(2)]),
        lambda library: library.nn.ParameterDict({"a": library.ones(2)}),
    ):
        assert repr(make(jitgrad)) == repr(make(torch))


def test_a_parameter_is_a_leaf_on_the_memory_of_its_tensor() -> None:
    data = jitgrad.zeros(2)
    p = jitgrad.nn.Parameter(data)
    data[0] = 5.0
    assert p.tolist() == [5, 0] and p.is_leaf and p.requires_grad and isinstance(p, jitgrad.Tensor)
    assert repr(p) == repr(torch.nn.Parameter(torch.tensor([5.0, 0.0])))
    assert not jitgrad.nn.Parameter(data, requires_grad=False).requires_grad
    assert tuple(jitgrad.nn.Parameter().shape) == (0,)
    assert type(p + 1) is jitgrad.Tensor
    with pytest.raises(RuntimeError, match="only Tensors of floating point"):
        jitgrad.nn.Parameter(jitgrad.tensor([1]))


# What is done to all parameters ---------------------------------------------------------------------------


@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_gradients_are_clipped_by_their_norm(norm_type: float, max_norm: float) -> None:
    found = []
    for library in (torch, jitgrad):
        module = filled(library, lambda nn: nn.Linear(3, 2))
        module(library.ones(3, dtype=library.float64)).pow(2).sum().backward()
        total = library.nn.utils.clip_grad_norm_(module.parameters(), max_norm, norm_type)
        found.append([total.item(), *(p.grad.tolist() for p in module.parameters())])
    for ours, theirs in zip(*reversed(found), strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-12)


def test_gradients_are_clipped_one_by_one() -> None:
    p = jitgrad.nn.Parameter(jitgrad.zeros(2))
    (p * jitgrad.tensor([3.0, -0.1])).sum().backward()
    jitgrad.nn.utils.clip_grad_value_([p], 1)
    np.testing.assert_allclose(p.grad.tolist(), [1, -0.1], 1e-6)
    assert jitgrad.nn.utils.clip_grad_norm_([], 1.0).item() == 0
    p.grad = jitgrad.tensor([float("inf"), 0.0])
    with pytest.raises(RuntimeError, match="The total norm of order 2.0 for gradients"):
        jitgrad.nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)


def test_parameters_as_a_vector_and_back() -> None:
    module = jitgrad.nn.Linear(2, 3)
    vector = jitgrad.nn.utils.parameters_to_vector(module.parameters())
    assert vector.tolist() == module.weight.flatten().tolist() + module.bias.tolist()
    jitgrad.nn.utils.vector_to_parameters(jitgrad.arange(9.0), module.parameters())
    assert module.weight.tolist() == [[0, 1], [2, 3], [4, 5]] and module.bias.tolist() == [6, 7, 8]
    assert module.weight.is_leaf and module.weight.requires_grad


def test_a_network_learns() -> None:
    jitgrad.manual_seed(0)
    nn = jitgrad.nn
    module = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    module.extend([nn.Flatten(), nn.Linear(16, 2)])
    x = jitgrad.randn(40, 1, 4, 4)
    y = (x.sum((1, 2, 3)) > 0).long()
    losses = []
    for _ in range(30):
        loss = nn.CrossEntropyLoss()(module(x), y)
        module.zero_grad()
        loss.backward()
        with jitgrad.no_grad():
            for p in module.parameters():
                p -= 0.2 * p.grad
        losses.append(loss.item())
    assert losses[-1] < 0.2 < 0.5 < losses[0]
