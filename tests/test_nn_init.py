"""The first values of parameters: PyTorch's patterns, distributions and errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from beside_torch import assert_same_error

import jitgrad

Fill = Callable[[Any], Any]  # of a library

PATTERNS: list[tuple[tuple[int, ...], Callable[[Any, Any], Any]]] = [
    ((2, 3), lambda init, t: init.constant_(t, 0.3)),
    ((2, 3), lambda init, t: init.ones_(t)),
    ((2, 3), lambda init, t: init.zeros_(t)),
    ((2, 3), lambda init, t: init.eye_(t)),
    ((4, 3, 3), lambda init, t: init.dirac_(t)),
    ((4, 2, 3, 4), lambda init, t: init.dirac_(t, 2)),
    ((2, 3, 1, 2, 3), lambda init, t: init.dirac_(t)),
]


@pytest.mark.parametrize("shape, fill", PATTERNS)
def test_a_pattern(shape: tuple[int, ...], fill: Callable[[Any, Any], Any]) -> None:
    found = []
    for library in (torch, jitgrad):
        t = library.full(shape, 7.0, requires_grad=True)
        assert fill(library.nn.init, t) is t
        assert t.is_leaf and t.requires_grad
        found.append(t.tolist())
    assert found[0] == found[1]


DISTRIBUTIONS: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("uniform_", (40, 50), {}),
    ("uniform_", (40, 50), {"a": -3.0, "b": 1.0}),
    ("normal_", (40, 50), {"mean": 2.0, "std": 0.5}),
    ("trunc_normal_", (40, 50), {}),
    ("trunc_normal_", (40, 50), {"mean": 1.0, "std": 2.0, "a": 0.0, "b": 1.5}),
    ("xavier_uniform_", (40, 50), {}),
    ("xavier_uniform_", (8, 10, 5, 5), {"gain": 2.0}),
    ("xavier_normal_", (40, 50), {"gain": 0.5}),
    ("kaiming_uniform_", (40, 50), {}),
    ("kaiming_uniform_", (8, 10, 5, 5), {"a": math.sqrt(5)}),
    ("kaiming_uniform_", (40, 50), {"mode": "fan_out", "nonlinearity": "relu"}),
    ("kaiming_normal_", (40, 50), {"nonlinearity": "tanh"}),
    ("kaiming_normal_", (8, 10, 5, 5), {"mode": "fan_out"}),
    ("sparse_", (40, 50), {"sparsity": 0.3}),
]


@pytest.mark.parametrize("name, shape, options", DISTRIBUTIONS)
def test_a_distribution(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    drawn = []
    for library in (torch, jitgrad):
        library.manual_seed(1)
        t = library.empty(*shape, requires_grad=True)
        assert getattr(library.nn.init, name)(t, **options) is t
        drawn.append(np.array(t.tolist()).ravel())
    assert scipy.stats.ks_2samp(*drawn).pvalue > 1e-3
    assert np.abs(drawn[1]).max() <= np.abs(drawn[0]).max() * (1.05 if "uniform" in name else 3)


LAYERS: list[Callable[[Any], Any]] = [
    lambda nn: nn.Linear(30, 40),
    lambda nn: nn.Bilinear(10, 20, 10),
    lambda nn: nn.Conv1d(20, 40, 5, groups=2),
    lambda nn: nn.Conv2d(8, 20, 3),
    lambda nn: nn.ConvTranspose2d(8, 40, 3),
    lambda nn: nn.Embedding(40, 30),
    lambda nn: nn.LSTMCell(20, 30),
    lambda nn: nn.GRUCell(20, 30),
    lambda nn: nn.RNNCell(20, 30),
]


@pytest.mark.parametrize("make", LAYERS)
def test_the_parameters_of_a_layer(make: Callable[[Any], Any]) -> None:
    torch.manual_seed(2)
    jitgrad.manual_seed(2)
    pairs = zip(make(torch.nn).named_parameters(), make(jitgrad.nn).named_parameters(), strict=True)
    for (name, theirs), (own_name, ours) in pairs:
        assert own_name == name
        first, second = (np.array(t.tolist()).ravel() for t in (theirs, ours))
        assert scipy.stats.ks_2samp(first, second).pvalue > 1e-3, name


def test_the_same_seed_gives_the_same_numbers() -> None:
    found = []
    for _ in range(2):
        t, generator = jitgrad.empty(3, 4), jitgrad.Generator().manual_seed(5)
        for name in ("uniform_", "trunc_normal_", "kaiming_normal_", "orthogonal_"):
            getattr(jitgrad.nn.init, name)(t, generator=generator)
            found.append(t.tolist())
    assert found[:4] == found[4:]


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (3, 2, 2)])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...]) -> None:
    w = jitgrad.nn.init.orthogonal_(jitgrad.empty(*shape), gain=2.0)
    matrix = np.array(w.tolist()).reshape(shape[0], -1)
    smaller = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(smaller, 4 * np.eye(len(smaller)), atol=1e-5)


@pytest.mark.parametrize(
    "name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu", "conv_transpose1d"]
)
def test_a_gain(name: str) -> None:
    ours, theirs = (library.nn.init.calculate_gain(name) for library in (jitgrad, torch))
    assert ours == theirs and type(ours) is type(theirs)
    assert jitgrad.nn.init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain(
        "leaky_relu", 0.3
    )


ERRORS: list[Fill] = [
    lambda library: library.nn.init.eye_(library.ones(2)),
    lambda library: library.nn.init.dirac_(library.ones(2, 2)),
    lambda library: library.nn.init.dirac_(library.ones(3, 2, 2), 2),
    lambda library: library.nn.init.xavier_uniform_(library.ones(3)),
    lambda library: library.nn.init.kaiming_normal_(library.ones(3)),
    lambda library: library.nn.init.kaiming_normal_(library.ones(3, 2), mode="fan"),
    lambda library: library.nn.init.kaiming_uniform_(library.ones(3, 2), nonlinearity="x"),
    lambda library: library.nn.init.calculate_gain("leaky_relu", "x"),
    lambda library: library.nn.init.orthogonal_(library.ones(3)),
    lambda library: library.nn.init.sparse_(library.ones(3), 0.5),
]


@pytest.mark.parametrize("fill", ERRORS)
def test_an_error(fill: Fill) -> None:
    assert_same_error(fill)


def test_nothing_to_fill_is_a_warning() -> None:
    for library in (torch, jitgrad):
        for name in ("kaiming_uniform_", "kaiming_normal_"):
            with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
                getattr(library.nn.init, name)(library.empty(0, 2))


def test_a_mean_far_from_the_bounds_is_a_warning() -> None:
    for library in (torch, jitgrad):
        with pytest.warns(UserWarning, match="mean is more than 2 std"):
            library.nn.init.trunc_normal_(library.empty(2), mean=-2.5, std=0.2, a=-2.0, b=2.0)


def test_a_write_is_noticed_by_the_tape() -> None:
    w = jitgrad.ones(2, 2, requires_grad=True)
    y = (w * w).sum()
    jitgrad.nn.init.zeros_(w)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
