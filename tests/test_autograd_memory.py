"""The tape is freed by reference counting alone, however deep it is, and its saved values after a pass."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import jitgrad


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaf(*values: float) -> Any:
    return jitgrad.tensor(values, requires_grad=True)


def test_a_deep_chain_runs_backward_and_is_freed() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    first = weakref.ref(y.grad_fn)
    y.backward()
    assert x.grad.tolist() == [1.0]
    del y
    assert first() is None


def test_a_deep_chain_that_never_runs_is_freed() -> None:
    y = leaf(1.0)
    for _ in range(100_000):
        y = y.exp()
    node = weakref.ref(y.grad_fn)
    del y
    assert node() is None


def test_a_deep_chain_of_views_is_freed() -> None:
    y = leaf(1.0, 2.0) * 1
    for _ in range(30_000):
        y = y[:]
    y.sum().backward()
    node = weakref.ref(y.grad_fn)
    del y
    assert node() is None


def test_a_graph_goes_with_its_result() -> None:
    x = leaf(1.0, 2.0)
    hidden = x.exp()
    y = (hidden * hidden + hidden[0]).tanh().sum()
    nodes = [weakref.ref(t) for t in (y, y.grad_fn, hidden, hidden.grad_fn)]
    sink = weakref.ref(hidden.grad_fn.next_functions[0][0])
    y.backward(retain_graph=True)
    del y, hidden
    assert [node() for node in (*nodes, sink)] == [None] * 5


def test_a_graph_written_to_in_place_goes_too() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    view = y[:1]
    view.mul_(3)
    y.exp_()
    nodes = [weakref.ref(t) for t in (y, y.grad_fn, view, view.grad_fn)]
    y.sum().backward()
    del y, view
    assert [node() for node in nodes] == [None] * 4


def test_the_graph_of_a_gradient_goes_with_it() -> None:
    x = leaf(1.0, 2.0)
    y = x.exp().sum()
    (g,) = jitgrad.autograd.grad(y, x, create_graph=True)
    nodes = [weakref.ref(t.grad_fn) for t in (g, y)]
    del g, y
    assert [node() for node in nodes] == [None] * 2


def test_hooks_do_not_keep_a_graph() -> None:
    x = leaf(1.0, 2.0)
    y = x.exp()
    y.register_hook(lambda g: g * 2)
    y.retain_grad()
    x.register_hook(lambda g: g)
    y.grad_fn.register_hook(lambda inputs, outputs: None)
    nodes = [weakref.ref(y), weakref.ref(y.grad_fn)]
    y.sum().backward()
    del y
    assert [node() for node in nodes] == [None] * 2


def test_packed_values_do_not_keep_a_graph() -> None:
    with jitgrad.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        y = leaf(1.0).exp()
    node = weakref.ref(y.grad_fn)
    del y
    assert node() is None


def saved_arrays(node: Any) -> list[Any]:
    return [weakref.ref(v[0]) for v in node._values if isinstance(v, tuple) and isinstance(v[0], np.ndarray)]


def test_saved_values_are_freed_by_the_pass() -> None:
    x = leaf(1.0, 2.0)
    y = (x * 1).exp() * 2
    arrays = saved_arrays(y.grad_fn.next_functions[0][0])
    assert arrays and all(a() is not None for a in arrays)
    y.sum().backward()
    assert all(a() is None for a in arrays)


def test_retained_values_are_not() -> None:
    x = leaf(1.0, 2.0)
    y = (x * 1).exp() * 2
    arrays = saved_arrays(y.grad_fn.next_functions[0][0])
    y.sum().backward(retain_graph=True)
    assert arrays and all(a() is not None for a in arrays)
    del y
    assert all(a() is None for a in arrays)


def test_gradients_of_intermediates_do_not_stay() -> None:
    seen: list[Any] = []
    x = leaf(1.0, 2.0)
    y = x * 2
    y.register_hook(lambda g: seen.append(weakref.ref(g)))
    (y * 3).sum().backward()
    assert seen[0]() is None
