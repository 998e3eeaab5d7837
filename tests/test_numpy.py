"""jitgrad.numpy: the namespace on plain arrays and inside traced functions, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad.numpy as jnp
from jitgrad import ir, ops
from jitgrad.ir import Aval, Graph, Node, as_node, input_node
from jitgrad.ops.creation import CREATION

FLOAT = np.dtype(np.float64)


def traced(function: Callable[..., Any], *arrays: Any) -> Graph:
    inputs = [input_node(Aval(a.shape, a.dtype)) for a in map(np.asarray, arrays)]
    return Graph(tuple(inputs), (as_node(function(*inputs)),))


def opnames(graph: Graph) -> set[str]:
    return {node.op.name for node in graph.nodes()}


CREATED: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("zeros", (3,), {}),
    ("zeros", ((2, 3),), {"dtype": np.float32}),
    ("ones", ((2, 0),), {}),
    ("empty", (0,), {}),
    ("full", ((2, 2), 7), {}),
    ("full", (3, 1.5), {"dtype": np.float32}),
    ("full", ((2, 3), np.arange(3.0)), {}),
    ("arange", (5,), {}),
    ("arange", (1, 9, 3), {}),
    ("arange", (0.0, 1.0, 0.25), {"dtype": np.float32}),
    ("arange", (0,), {}),
    ("eye", (3,), {}),
    ("eye", (2, 4), {"k": -1, "dtype": int}),
    ("identity", (3,), {}),
    ("tri", (3, 4, 1), {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), CREATED)
def test_arrays_made_inside_a_trace_equal_those_of_numpy(name: str, args: Any, kwargs: Any) -> None:
    made = as_node(CREATION[name](*args, **kwargs))
    expected = getattr(np, name)(*args, **kwargs)
    if name == "empty":
        expected = np.zeros_like(expected)
    np.testing.assert_array_equal(ir.interpret(Graph((), (made,)))[0], expected, strict=True)


def test_plain_arrays_give_plain_arrays() -> None:
    x = np.arange(6.0).reshape(2, 3)
    for result in (
        jnp.sum(x, axis=0),
        jnp.exp(x),
        jnp.zeros(3),
        jnp.softmax(x),
        jnp.array([1, 2]),
        jnp.pad(x, 1),
    ):
        assert type(result) is np.ndarray
    assert isinstance(jnp.sum(x), np.float64)


def test_every_name_of_the_namespace_is_there() -> None:
    for name in jnp.__all__:
        assert hasattr(jnp, name)


def test_a_missing_function_is_named() -> None:
    with pytest.raises(AttributeError, match=r"no fft; numpy\.fft takes plain arrays"):
        jnp.fft  # noqa: B018


def test_one_element_of_each_row_is_picked_however_it_is_written() -> None:
    x, labels = np.zeros((4, 3)), np.array([0, 2, 1, 1])
    rows = np.arange(4)
    forms: list[Callable[..., Any]] = [
        lambda x, i: ops.COMPOSITES["getitem"](x, (rows, i)),
        lambda x, i: ops.COMPOSITES["getitem"](x, (as_node(rows), i)),
        lambda x, i: ops.COMPOSITES["getitem"](x, (CREATION["arange"](4), i)),
        lambda x, i: jnp.take_along_axis(x, jnp.expand_dims(i, 1), -1),
        lambda x, i: jnp.take_along_axis(jnp.transpose(x), jnp.expand_dims(i, 0), 0),
    ]
    for form in forms:
        names = opnames(traced(form, x, labels))
        assert "pick" in names and not names & {"take", "scatter_add"}


def test_an_index_out_of_bounds_is_found_at_run_time() -> None:
    graph = traced(lambda x, i: ops.COMPOSITES["getitem"](x, i), np.zeros(3), np.zeros(2, int))
    with pytest.raises(IndexError, match="index 3 is out of bounds for an axis of size 3"):
        ir.interpret(graph, np.zeros(3), np.array([0, 3]))


def _node(*shape: int) -> Node:
    return input_node(Aval(shape, FLOAT))


def _mask(*shape: int) -> Node:
    return input_node(Aval(shape, np.dtype(bool)))


getitem, setitem = ops.COMPOSITES["getitem"], ops.COMPOSITES["setitem"]

REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: _node(2, 3) + _node(4), ValueError, "shapes (2, 3), (4,) do not broadcast"),
    (lambda: jnp.matmul(_node(8, 3), _node(4, 5)), ValueError, "got (8, 3) @ (4, 5)"),
    (lambda: jnp.matmul(_node(3), 2.0), ValueError, "use * for scalars"),
    (lambda: jnp.reshape(_node(2, 3), (4, -1)), ValueError, "6 elements of shape (2, 3) do not fit"),
    (lambda: jnp.reshape(_node(2, 3), 6, order="A"), ValueError, 'use "C" or "F"'),
    (lambda: jnp.concatenate([_node(2, 3), _node(3, 2)]), ValueError, "shapes (2, 3) and (3, 2) differ"),
    (lambda: jnp.stack([_node(2), _node(3)]), ValueError, "shapes (2,) and (3,) differ"),
    (lambda: jnp.broadcast_to(_node(3), (2, 2)), ValueError, "does not broadcast to (2, 2)"),
    (lambda: jnp.squeeze(_node(2, 1), 0), ValueError, "must have size 1"),
    (lambda: jnp.split(_node(5), 2), ValueError, "use array_split"),
    (lambda: jnp.pad(_node(5), 2, mode="mean"), ValueError, "constant, edge, reflect"),
    (lambda: jnp.sum(_node(3), axis=2), np.exceptions.AxisError, "axis 2 is out of bounds"),
    (lambda: jnp.sum(_node(3), out=np.zeros(())), TypeError, "out= is not supported"),
    (lambda: jnp.max(_node(0)), ValueError, "size 0"),
    (lambda: jnp.where(_mask(3)), TypeError, "pass x and y"),
    (lambda: CREATION["arange"](_node()), TypeError, "make it static"),
    (lambda: jnp.repeat(_node(3), _node(3)), TypeError, "must be known"),
    (lambda: jnp.einsum("ij,jk->ik", _node(2, 3), _node(2, 3)), ValueError, "label 'j'"),
    (lambda: jnp.einsum("ij->ik", _node(2, 3)), ValueError, "malformed"),
    (lambda: jnp.linalg.norm(_node(2, 3), "nuc"), ValueError, "not supported"),
    (lambda: getitem(_node(3), _mask(3)), TypeError, "use where"),
    (lambda: getitem(_node(3), 3), IndexError, "index 3 is out of bounds for axis 0 with size 3"),
    (lambda: getitem(_node(3), (0, 0)), IndexError, "2 were indexed"),
    (lambda: getitem(_node(3), 1.5), IndexError, "must be an integer"),
    (lambda: getitem(_node(3), np.array([0.5])), IndexError, "got float64"),
    (lambda: getitem(_node(3), np.array([True, False])), IndexError, "the boolean mask of shape (2,)"),
    (lambda: getitem(_node(3, 3), (np.array([0, 1]), np.array([0, 1, 2]))), IndexError, "do not broadcast"),
    (lambda: setitem(_node(3), slice(0, 2), _node(3)), ValueError, "shape (3,) do not fit"),
]


@pytest.mark.parametrize(("call", "error", "words"), REFUSED)
def test_what_cannot_be_is_refused_with_the_reason(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        call()
