"""Elements picked by integer arrays inside kernels, and the sums into them that are their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compare import assert_same_bits

import jitgrad
from jitgrad.gathers import with_gathers
from jitgrad.ir import Aval, Graph, Node, capture, input_node, literal
from jitgrad.ops.gather import scatter_add
from jitgrad.ops.scatter import add_at
from jitgrad.ops.structure import iota
from jitgrad.ops.table import OPS
from jitgrad.program import Call
from jitgrad.runtime.plan import SegmentSum

RNG = np.random.default_rng(0)
SURROUNDINGS = [((), ()), ((), (1,)), ((2, 3), (5,)), ((40,), ()), ((2,), (7, 300))]  # axes before and after
COLUMN, TABLE = (50,), (50, 3)


def floats(*shape: int, dtype: str = "float32") -> Any:
    return RNG.standard_normal(shape).astype(dtype)


def calls(function: Any, *arguments: Any) -> list[str]:
    steps = function.compiled(*arguments).program.steps
    return [step.node.op.name for step in steps if isinstance(step, Call)]


def rows(index: Any) -> Callable[[Any], Any]:
    return lambda x: np.sum(np.sin(x[index]) ** 2)


def of_values(index: Any) -> Callable[[Any], Any]:
    return lambda x: np.sum(np.exp(x - np.max(x))[index] * 2)


def second_axis(index: Any) -> Callable[[Any], Any]:
    return lambda x: np.sum(np.tanh(x[:, index]) * x[:, np.flip(index)]) if x.ndim > 1 else np.sum(x[index])


def inside_a_longer_array(index: Any) -> Callable[[Any], Any]:
    return lambda x: np.sum(np.concatenate([x[:2], x[index].reshape(-1, *x.shape[1:]), x[5:]], 0) ** 2)


@pytest.mark.parametrize("make", [rows, of_values, second_axis, inside_a_longer_array])
@pytest.mark.parametrize("shape", [COLUMN, TABLE, (60, 33)], ids=str)
@pytest.mark.parametrize("index_shape", [(7,), (3, 5), (2000,), ()], ids=str)
def test_gathers_in_kernels_give_the_interpreters_bits(
    make: Callable[[Any], Callable[[Any], Any]], shape: tuple[int, ...], index_shape: tuple[int, ...]
) -> None:
    size = shape[1 if make is second_axis and len(shape) > 1 else 0]
    index = RNG.integers(-size, size, index_shape)
    function = jitgrad.value_and_grad(make(index))
    x = floats(*shape)
    assert "take" not in calls(function, x)
    (value, gradient), expected = function(x), jitgrad.interpret(function)(x)
    assert_same_bits([value, gradient], expected, "gather")


def squares(x: Any, index: Any, y: Any) -> Any:
    return np.sum((x[index] - y) ** 2)


def products(x: Any, index: Any, y: Any) -> Any:
    return np.sum(np.log1p(np.exp(-np.sum(x[index] * y, axis=-1))))


def centred(x: Any, index: Any, y: Any) -> Any:
    rows = x[index]
    rows = rows - np.mean(rows, axis=-1, keepdims=True)
    return np.sum(rows / np.sqrt(np.mean(rows * rows, axis=-1, keepdims=True) + 1) * y)


def dear(x: Any, index: Any, y: Any) -> Any:
    return np.sum(np.sum(np.tanh(x[index] * y), axis=-1) ** 2)


def two_of_each(x: Any, index: Any, y: Any) -> Any:
    return np.sum(np.exp(np.sum(x[index] * x[-1 - index], axis=-1) - np.max(y * x[index], axis=-1)))


def running(x: Any, index: Any, y: Any) -> Any:
    return np.sum(np.cumsum(x[index], axis=-1) * y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [5, 8, 16, 24, 32, 40, 70])
@pytest.mark.parametrize("loss", [squares, products, centred, dear, two_of_each, running])
def test_rows_at_positions_give_the_interpreters_bits(loss: Any, width: int, dtype: str) -> None:
    function = jitgrad.value_and_grad(loss, (0, 2))
    x = floats(20, width, dtype=dtype)
    for shape in ((1,), (33,), (70,), (5, 9), (3, 2, 40)):
        given = (x, RNG.integers(-20, 20, shape), floats(*shape, width, dtype=dtype))
        value, gradients = function(*given)
        expected, expected_gradients = jitgrad.interpret(function)(*given)
        assert_same_bits([value, *gradients], [expected, *expected_gradients], f"{shape}")


@pytest.mark.parametrize(("loss", "form"), [(centred, "gather_in(x"), (dear, "_lanes("), (squares, "few(n)")])
def test_short_rows_at_positions_are_done_side_by_side(loss: Any, form: str) -> None:
    source = jitgrad.value_and_grad(loss).source(floats(20, 10), np.arange(9), floats(9, 10))
    assert form in source and "_lanes(" in source


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("repeated", ["rows", "tables", "all"])
@pytest.mark.parametrize("width", [1, 3, 16])
def test_sums_of_repeated_rows_are_made_without_copies_of_them(width: int, repeated: str, dtype: str) -> None:
    axes = {"rows": 1, "tables": (1, 2), "all": (0, 1, 2)}[repeated]
    index = RNG.integers(-20, 20, (7, 4, 3))
    function = jitgrad.grad(lambda x, index: np.sum(np.exp(np.mean(x[index], axis=axes))))
    x = floats(20, width, dtype=dtype)
    steps = function.compiled(x, index).plan.steps
    made = [step for step in steps if isinstance(step, SegmentSum)]
    assert len(made) == (repeated != "rows")
    assert_same_bits([function(x, index)], [jitgrad.interpret(function)(x, index)], "repeated rows")


def test_an_index_that_is_an_argument_is_checked_once_and_read_in_the_kernel() -> None:
    function = jitgrad.value_and_grad(lambda x, index: np.sum(np.sin(x[index])))
    x, index = floats(100), RNG.integers(-100, 100, 1000)
    assert calls(function, x, index) == ["indexing", "segment_sum"]
    index[7] = 100
    with pytest.raises(IndexError, match="index 100 is out of bounds for an axis of size 100"):
        function(x, index)


def test_two_index_arrays_pick_single_elements() -> None:
    i, j = RNG.integers(-6, 6, (2, 50))
    function = jitgrad.value_and_grad(lambda x, i: np.sum(x[i, j] ** 3))
    x = floats(6, 6)
    assert "take" not in calls(function, x, i)
    assert_same_bits(function(x, i), jitgrad.interpret(function)(x, i), "two indices")


def test_an_index_from_outside_is_read_as_it_is_at_each_call() -> None:
    x, index = floats(4, 4), np.array([1, 2, 3])
    mask, rows, table = np.array([True, False, True, True]), np.arange(4), np.arange(8).reshape(2, 4) % 4
    functions = {
        "index": lambda x, c: x[index],
        "mask": lambda x, c: x[mask],
        "rows": lambda x, c: x[rows, c],
        "a view": lambda x, c: x[table[1]],
        "another view": lambda x, c: x[table.T],
        "repeats": lambda x, c: np.repeat(x, rows, axis=0),
    }
    compiled = {name: jitgrad.jit(function) for name, function in functions.items()}
    columns = np.array([3, 0, 1, 1])
    for _ in range(2):
        for name, function in functions.items():
            np.testing.assert_array_equal(compiled[name](x, columns), function(x, columns), name)
        index[0], mask[1], rows[2], table[1, 0] = 0, True, 0, 2


def test_an_index_that_the_function_makes_itself_costs_no_comparison() -> None:
    function = jitgrad.jit(lambda x: x[np.array([1, 2])] + x[[0, 1]] + x[np.arange(2)] + x[np.arange(4)[2:]])
    function(floats(5))
    (entry,) = function._entries.values()
    assert entry.watch is None or not entry.watch.arrays


def apply(name: str, *args: Any, **params: Any) -> Any:
    """An op on nodes and whole numbers."""
    return OPS[name](*(literal(a, np.dtype(np.int64)) if isinstance(a, int) else a for a in args), **params)


def bounded(index: Any, size: int) -> Any:
    return apply("indexing", index, size=size)


def scaled(index: Any, by: int, plus: Any) -> Any:
    return apply("add", apply("multiply", index, by), plus)


def fixed(*numbers: int) -> Node:
    array = np.array(numbers)
    array.setflags(write=False)
    return capture(array)


SAFE: dict[str, Callable[[Node], Any]] = {
    "bounded": lambda i: bounded(i, 10),
    "two bounded": lambda i: scaled(bounded(i, 3), 3, bounded(i, 4)),
    "counted": lambda i: iota(10),
    "numbers": lambda i: fixed(0, 9, 3),
    "remainder": lambda i: apply("remainder", i, 10),
    "clipped": lambda i: apply("minimum", apply("maximum", i, 0), 9),
    "either": lambda i: apply(
        "where", apply("greater", i, 3), bounded(i, 10), apply("subtract", 9, bounded(i, 10))
    ),
    "a view": lambda i: apply("slice", bounded(i, 10), start=(3,), step=(-1,), size=(2,)),
    "joined": lambda i: apply("concatenate", bounded(i, 10), fixed(3), axis=0),
}
UNSAFE: dict[str, Callable[[Node], Any]] = {
    "anything": lambda i: i,
    "bounded by more": lambda i: bounded(i, 11),
    "below zero": lambda i: apply("subtract", bounded(i, 10), 1),
    "too far": lambda i: scaled(bounded(i, 3), 4, bounded(i, 4)),
    "numbers": lambda i: fixed(0, 10),
    "negative numbers": lambda i: fixed(0, -1),
    "numbers that may change": lambda i: capture(np.array([0, 1])),
    "a negative divisor": lambda i: apply("remainder", i, -10),
    "an unknown divisor": lambda i: apply("remainder", i, i),
    "clipped above": lambda i: apply("minimum", i, 9),
    "clipped below": lambda i: apply("maximum", i, 0),
    "one of two": lambda i: apply("where", apply("greater", i, 3), bounded(i, 10), i),
    "wrapped around": lambda i: apply("minimum", scaled(bounded(i, 2**40), 2**40, 0), 9),
    "joined": lambda i: apply("concatenate", bounded(i, 10), i, axis=0),
}


def becomes(make: Callable[[Node], Any]) -> str:
    """What a take from 10 elements becomes."""
    x, given = input_node(Aval((10,), np.dtype(float))), input_node(Aval((4,), np.dtype(np.int64)))
    graph = Graph((x, given), (OPS["take"](x, make(given), axis=0),))
    return with_gathers(graph).outputs[0].op.name


@pytest.mark.parametrize("name", SAFE)
def test_an_index_that_lies_inside_for_certain_is_read_without_a_check(name: str) -> None:
    assert becomes(SAFE[name]) == "gather"


@pytest.mark.parametrize("name", UNSAFE)
def test_an_index_that_may_lie_outside_is_left_to_the_library(name: str) -> None:
    assert becomes(UNSAFE[name]) == "take"


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "complex128"])
@pytest.mark.parametrize(
    "shape", [((), ()), ((), (1,)), ((2, 3), (5,)), ((40,), ()), ((2,), (7, 300))], ids=str
)
@pytest.mark.parametrize("count", [0, 1, 2000])
def test_sums_go_in_the_order_of_the_index(
    dtype: str, shape: tuple[tuple[int, ...], tuple[int, ...]], count: int
) -> None:
    lead, tail = shape
    values = (RNG.standard_normal((*lead, count, *tail)) * 10).astype(dtype)
    index = RNG.integers(-6, 6, count)
    expected = np.zeros((*lead, 6, *tail), dtype)
    for place, number in enumerate(index):
        expected[(slice(None),) * len(lead) + (number,)] += np.take(values, place, len(lead))
    axis = len(lead)
    assert_same_bits([scatter_add.numpy(values, index, axis=axis, size=6)], [expected], "sums")
    blank = np.zeros_like(expected)
    assert_same_bits([add_at.numpy(blank, index, values, axis=axis)], [expected], "sums")
    assert not blank.any()


@pytest.mark.parametrize("wrong", [6, -7])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_sums_to_a_place_outside_are_refused(wrong: int, dtype: Any) -> None:
    with pytest.raises(IndexError, match=f"index {wrong} is out of bounds for an axis of size 6"):
        scatter_add.numpy(np.ones((2, 3), dtype), np.array([0, wrong]), axis=0, size=6)
