"""The op table on plain arrays: derivative rules give the graph's bits from what they read, reductions keep
their order, views are cheap and safe.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import op_cases
import pytest
from compare import LAYOUTS, assert_same_bits

from jitgrad import ops
from jitgrad.adjoint import cotangents
from jitgrad.ir import Aval, Graph, Node, Op, input_node, interpret, toposort
from jitgrad.ops import reductions
from jitgrad.ops.table import times, zeros_like

Array = np.ndarray[Any, Any]
Mask = tuple[bool, ...]


# Derivative rules -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """One application of an op with a floating result: its node, and the values of its arguments."""

    name: str
    node: Node
    arrays: list[Array]

    @property
    def floating(self) -> Mask:
        """Which arguments can need a gradient."""
        return tuple(a.dtype.kind == "f" for a in self.node.args)

    def fresh(self) -> tuple[list[Node], Node]:
        """The same call on inputs of its own."""
        inputs = [input_node(Aval(a.shape, a.dtype)) for a in self.node.args]
        return inputs, Node(self.node.op, tuple(inputs), self.node.params, self.node.aval)

    def reads(self, needed: Mask) -> Mask:
        """Which of the arguments and (last) the result the rule reads for the cotangents needed."""
        inputs, _ = self.fresh()
        g, out = input_node(self.node.aval), input_node(self.node.aval)
        found = self.node.op.vjp(g, out, *inputs, **dict(self.node.params))
        reached = set(toposort([f for f, need in zip(found, needed, strict=True) if need and f is not None]))
        return tuple(v in reached for v in (*inputs, out))

    def known(self, out: Array, read: Mask) -> list[Any]:
        """Arguments and result; of those that are not read, what a rule may know of them."""
        unread = (lambda _: None) if self.node.op.partials else (lambda a: Aval(a.shape, a.dtype))
        return [a if r else unread(a) for a, r in zip((*self.arrays, out), read, strict=True)]


def _calls(name: str) -> Iterator[Call]:
    op = ops.OPS[name]
    for case in CASES[name]:
        graph = case.graph()
        for node in graph.nodes():
            if node.op is op and node.dtype.kind == "f":
                values = interpret(Graph(graph.inputs, node.args), *case.arrays)
                yield Call(case.name, node, list(values))


CASES: dict[str, list[op_cases.Case]] = defaultdict(list)
for _case in op_cases.cases("float64", "float32"):
    if isinstance(_case.op, Op) and _case.op.vjp is not None:
        CASES[_case.op.name].append(_case)

each_op = pytest.mark.parametrize("name", CASES)


def _subsets(floating: Mask) -> Iterator[Mask]:
    for chosen in itertools.product(*((False, True) if f else (False,) for f in floating)):
        if any(chosen):
            yield chosen


@each_op
def test_a_rule_on_arrays_gives_the_bits_of_the_graph_from_what_it_reads(name: str) -> None:
    checked = 0
    for call in _calls(name):
        if not any(call.floating):
            continue
        inputs, node = call.fresh()
        seed = input_node(node.aval)
        wanted = [n for n, f in zip(inputs, call.floating, strict=True) if f]
        (g,) = op_cases.drawn_like([node], call.name)
        grads = cotangents((node,), (seed,), wanted)
        expected = interpret(Graph((*inputs, seed), grads), *call.arrays, g)
        with np.errstate(all="ignore"):
            out = np.asarray(node.op.numpy(*call.arrays, **dict(node.params)), node.dtype)
            *args, out = call.known(out, call.reads(call.floating))
            found = node.op.vjp(g, out, *args, **dict(node.params))
        got = [f for f, need in zip(found, call.floating, strict=True) if need]
        _assert_gradients(got, expected, call.name)
        checked += 1
    assert checked or not any(any(c.floating) for c in _calls(name)), name


def _assert_gradients(got: list[Any], expected: tuple[Array, ...], label: str) -> None:
    for gradient in got:
        assert gradient is None or isinstance(gradient, (np.ndarray, np.generic)), label
    filled = [np.zeros_like(e) if f is None else np.asarray(f) for f, e in zip(got, expected, strict=True)]
    assert_same_bits(filled, expected, label)


@each_op
def test_one_partial_needs_only_what_it_reads_itself(name: str) -> None:
    op = ops.OPS[name]
    for call in _calls(name) if op.partials else ():
        (g,) = op_cases.drawn_like([call.node], call.name)
        params = dict(call.node.params)
        with np.errstate(all="ignore"):
            out = np.asarray(op.numpy(*call.arrays, **params), call.node.dtype)
            every = op.vjp(g, out, *call.arrays, **params)
            for i, partial in enumerate(op.partials):
                alone = tuple(i == j for j in range(len(op.partials)))
                if call.floating[i] and partial is not None:
                    *args, known = call.known(out, call.reads(alone))
                    got = np.asarray(times(g, partial(known, *args, **params)))
                    assert_same_bits([got], [np.asarray(every[i])], call.name)


@each_op
def test_what_a_rule_reads_depends_on_the_needed_arguments_alone(name: str) -> None:
    found: dict[Mask, dict[Mask, str]] = defaultdict(dict)
    for call in _calls(name):
        for needed in _subsets(call.floating):
            found[needed].setdefault(call.reads(needed), call.name)
    for needed, reads in found.items():
        assert len(reads) == 1, f"{name} with {needed}: {reads}"


def test_a_partial_of_one_costs_nothing() -> None:
    g = np.ones(3)
    assert all(d is g for d in ops.OPS["add"].vjp(g, None, None, None))
    left, right = ops.OPS["subtract"].vjp(g, None, None, None)
    assert left is g
    np.testing.assert_array_equal(right, -g)
    assert ops.OPS["cast"].vjp(g, None, g, dtype=g.dtype)[0] is g


def test_zeros_are_of_the_kind_of_the_value() -> None:
    known = Aval((2, 3), np.dtype("float32"))
    for like in (known, np.ones((2, 3), "float32")):
        np.testing.assert_array_equal(zeros_like(like), np.zeros((2, 3), "float32"), strict=True)
    assert zeros_like(input_node(known)).aval == known


# The order of reductions, written down once more, slowly ----------------------------------------------------

Combine = Callable[[Any, Any], Any]


def _larger(x: Any, y: Any) -> Any:
    return np.where((x == y) & (x == 0), x + y, np.maximum(x, y))


def _smaller(x: Any, y: Any) -> Any:
    return (
        np.where((x == y) & (x == 0), -(-x + -y), np.minimum(x, y))
        if x.dtype.kind == "f"
        else np.minimum(x, y)
    )


COMBINE: dict[str, Combine] = {"sum": np.add, "prod": np.multiply, "max": _larger, "min": _smaller}


def _blocks(x: Array, size: int, fill: Any) -> Array:
    """The first axis filled up to whole blocks, as two axes."""
    missing = np.full((-len(x) % size, *x.shape[1:]), fill, x.dtype)
    return np.concatenate([x, missing]).reshape((-1, size, *x.shape[1:]))


def _chain(combine: Combine, parts: Any) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = combine(total, part)
    return total


def _rows_in_order(combine: Combine, fill: Any, x: Array) -> Array:
    """Reduce the first axis as trailing axes are reduced."""
    while True:
        totals = []
        for block in _blocks(x, 1024, fill):
            lanes = _chain(combine, _blocks(block, 64, fill))
            while len(lanes) > 1:
                lanes = combine(lanes[: len(lanes) // 2], lanes[len(lanes) // 2 :])
            totals.append(lanes[0])
        if len(x) <= 1024:
            return _chain(combine, totals)
        x = np.stack(totals)


def _columns_in_order(combine: Combine, fill: Any, x: Array) -> Array:
    while len(x) > 1:
        x = np.stack([_chain(combine, block) for block in _blocks(x, 32, fill)])
    return x[0]


def _reduced_in_order(name: str, x: Array, axes: tuple[int, ...]) -> Array:
    first, last = axes[0], axes[-1] + 1
    flat = np.moveaxis(x.reshape((*x.shape[:first], -1, *x.shape[last:])), first, 0)
    few = math.prod(x.shape[last:]) <= reductions.FEW
    rule = _rows_in_order if few else _columns_in_order
    return np.asarray(rule(COMBINE[name], reductions.identity(name, x.dtype), flat))


SIZES = (
    1,
    2,
    3,
    5,
    7,
    8,
    9,
    16,
    31,
    32,
    33,
    63,
    64,
    65,
    100,
    127,
    128,
    129,
    300,
    1023,
    1024,
    1025,
    1500,
    2049,
)


def _drawn_shape(rng: np.random.Generator) -> tuple[int, ...]:
    while True:
        longer = rng.random(rng.integers(1, 5)) < 0.4
        shape = tuple(int(rng.choice(SIZES) if is_long else rng.integers(1, 6)) for is_long in longer)
        if np.prod(shape) < 30_000:
            return shape


def _numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Values whose sums depend on the order; some arrays are full of signed zeros, some hold NaN and inf."""
    if dtype == "int32":
        return rng.integers(-9, 9, shape, np.int32)
    x = rng.normal(size=shape) * 10.0 ** rng.uniform(-3, 3, shape)
    kind = rng.integers(0, 5)
    if kind == 0:
        x = np.where(rng.random(shape) < 0.8, rng.choice([0.0, -0.0], shape), rng.choice([-1, 1]) * abs(x))
    if kind == 1:
        x = np.full(shape, -0.0)
    if kind == 2:
        x = np.where(rng.random(shape) < 0.01, rng.choice([np.inf, -np.inf, np.nan], shape), x)
    return np.asarray(x, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int32"])
@pytest.mark.parametrize("name", COMBINE)
def test_reductions_keep_the_order_that_is_written_down(name: str, dtype: str) -> None:
    rng = np.random.default_rng(len(name))
    layouts = (*LAYOUTS, lambda x: np.broadcast_to(x[:1], x.shape), lambda x: x.T.copy().T)
    for _ in range(200):
        shape = _drawn_shape(rng)
        first = int(rng.integers(0, len(shape)))
        axes = tuple(range(first, int(rng.integers(first, len(shape))) + 1))
        x = layouts[rng.integers(0, len(layouts))](_numbers(rng, shape, dtype))
        with np.errstate(all="ignore"):
            got = np.asarray(ops.OPS[name].numpy(x, axes=axes))
            expected = _reduced_in_order(name, x, axes)
        assert_same_bits([got], [expected], f"{name} of {shape} over {axes}, strides {x.strides}")


@pytest.mark.parametrize("shape", [(70_001,), (5000, 33), (3001, 70), (40_001, 1), (3, 20_000), (1100, 8, 9)])
@pytest.mark.parametrize("name", ["sum", "prod", "max"])
def test_long_reductions_keep_the_order_too(name: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).uniform(0.5, 2, shape).astype(np.float32)
    for axis in range(len(shape)):
        with np.errstate(all="ignore"):
            got, expected = ops.OPS[name].numpy(x, axes=(axis,)), _reduced_in_order(name, x, (axis,))
        assert_same_bits([np.asarray(got)], [expected], f"{name} of {shape} over {axis}")


@pytest.mark.parametrize("name", COMBINE)
def test_the_reduction_of_single_elements_is_a_copy(name: str) -> None:
    for shape, axis in (((1,), 0), ((3000, 1), 1), ((1, 3000), 0), ((2, 1, 3), 1)):
        x = np.ones(shape)
        got = np.asarray(ops.OPS[name].numpy(x, axes=(axis,)))
        assert not np.shares_memory(got, x), shape


# Views, and sums at an index --------------------------------------------------------------------------------

FORMS = (
    ((2, 3), (3, 2), (1, 0)),
    ((3,), (1, 3, 1), (None, 0, None)),
    ((1, 3), (3,), (1,)),
    ((), (2, 3), (None, None)),
    ((3,), (2, 3), (None, 0)),
    ((3,), (3, 2), (0, None)),
    ((2, 1, 3), (3, 4, 2), (2, None, 0)),
    ((2, 3, 4), (4, 5, 2, 1, 3), (2, None, 0, None, 1)),
    ((0, 3), (2, 3, 0), (None, 1, 0)),
)


@pytest.mark.parametrize("form", FORMS)
def test_rearranging_is_a_view_and_read_only_where_elements_repeat(form: Any) -> None:
    old, shape, source = form
    plain = np.random.default_rng(0).normal(size=old)
    for layout in LAYOUTS if plain.ndim else ():
        x = layout(plain)
        got = ops.OPS["rearrange"].numpy(x, shape=shape, source=source)
        dropped = tuple(i for i in range(x.ndim) if i not in source)
        kept = [s for s in source if s is not None]
        narrow = np.transpose(x, (*kept, *dropped)).reshape([old[s] for s in kept])
        wide = narrow.reshape([1 if s is None else old[s] for s in source])
        np.testing.assert_array_equal(got, np.broadcast_to(wide, shape), strict=True)
        repeats = got.size > x.size
        assert got.size == 0 or np.shares_memory(got, x)
        assert got.flags.writeable == (x.flags.writeable and not repeats) or got.size == 0


def test_a_scalar_repeats_read_only() -> None:
    for x in (np.float32(2), np.array(2, np.float32)):
        got = ops.OPS["rearrange"].numpy(x, shape=(2, 3), source=(None, None))
        np.testing.assert_array_equal(got, np.full((2, 3), 2, np.float32), strict=True)
        assert not got.flags.writeable


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sums_at_an_index_are_added_in_its_order(axis: int, dtype: str) -> None:
    rng = np.random.default_rng(axis)
    for form in ((50,), (5, 10)):
        index = rng.integers(-7, 7, form)
        whole = [3, 4]
        whole[axis:axis] = form
        x = (rng.normal(size=whole) * 10.0 ** rng.uniform(-4, 4, whole)).astype(dtype)
        expected = np.zeros((*x.shape[:axis], 7, *x.shape[axis + len(form) :]), dtype)
        for place in np.ndindex(form):
            before = (slice(None),) * axis
            expected[(*before, index[place])] += x[(*before, *place)]
        got = ops.OPS["scatter_add"].numpy(x, index, axis=axis, size=7)
        np.testing.assert_array_equal(got, expected, strict=True)
    flat = x.ravel()[:50]
    expected = np.zeros(7, dtype)
    for i, value in zip(index.ravel(), flat, strict=True):
        expected[i] += value
    got = ops.OPS["scatter_add"].numpy(flat, index.ravel(), axis=0, size=7)
    np.testing.assert_array_equal(got, expected, strict=True)


def test_sums_at_an_index_out_of_bounds_are_refused() -> None:
    for x in (np.ones(1), np.ones((1, 2))):
        for index in (-8, 7):
            with pytest.raises(IndexError, match="out of bounds"):
                ops.OPS["scatter_add"].numpy(x, np.array([index]), axis=0, size=7)
