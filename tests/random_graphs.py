"""Random graphs over every structure that fusion knows, with random inputs in random memory layouts.

`python tests/random_graphs.py 10000 --processes 2` runs so many of them in the interpreter, in fused kernels
and op by op on tensors, and compares the bits of values and gradients.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from compare import Array, as_arrays, as_tensors, assert_same_bits, check_modes, on_tensors

from jitgrad import autograd
from jitgrad.adjoint import cotangents
from jitgrad.ir import Aval, Graph, Node, Op, capture, check, input_node, interpret, literal
from jitgrad.ops import OPS
from jitgrad.ops.arrange import flip
from jitgrad.ops.samples import Draw
from jitgrad.ops.structure import rearrange, reduce_axes, reshape, slice_
from jitgrad.rewrite import simplify

COMPARE = ("less", "greater_equal", "equal", "not_equal", "less_equal", "greater")
SIZES = (1, 2, 3, 7, 33, 64, 130)
LONG_SIZES = (1023, 1024, 1025, 2049)  # across the blocks of the reduction order
LARGEST_SIZE = 100_000
DTYPES = ("float64", "float32")
GRAPHS_PER_PROCESS = 500  # kernels are never unloaded
SPECIAL = (np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-310, 3e-39, 1e30, -1e30)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What random graphs are made of: names of ops, and of the methods of RandomGraph that draw a node."""

    unary: tuple[str, ...]
    binary: tuple[str, ...]
    reductions: tuple[str, ...]
    kinds: tuple[str, ...]


def _takes_floats(op: Op, arity: int) -> bool:
    """Whether an elementwise op maps so many floating-point arguments, without parameters, to a float."""
    if op.kind != "map" or op.vjp is None or op.samples is None:
        return False
    samples = op.samples(Draw(np.random.default_rng(0), np.dtype(float)))
    if not samples or len(samples[0].args) != arity or samples[0].kwargs:
        return False
    floats = all(np.asarray(a).dtype.kind == "f" for a in samples[0].args)
    return floats and op.infer(*[Aval((), np.dtype(float))] * arity).dtype.kind == "f"


def _elementwise(arity: int) -> tuple[str, ...]:
    return tuple(name for name, op in OPS.items() if _takes_floats(op, arity))


# What keeps the arguments of an op where it is a number and does not overflow
_GUARDS: dict[str, Callable[[Any], Any]] = {
    "positive": lambda x: OPS["absolute"](x) + 0.25,
    "beyond one": lambda x: OPS["absolute"](x) + 1.25,
    "small": lambda x: OPS["maximum"](OPS["minimum"](x, 3.0), -3.0),
    "inside": lambda x: OPS["maximum"](OPS["minimum"](x, 0.9), -0.9),
    "unit": lambda x: OPS["maximum"](OPS["minimum"](x, 0.9), 0.1),
}
_GUARDED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("log", "log2", "log10", "sqrt", "rsqrt", "entr", "digamma", "lgamma"), ("positive",)),
    **dict.fromkeys(("exp", "exp2", "expm1", "sinh", "cosh", "i0", "i1", "erfcx", "log_ndtr"), ("small",)),
    **dict.fromkeys(("arcsin", "arccos", "arctanh", "erfinv", "log1p"), ("inside",)),
    **dict.fromkeys(("divide", "floor_divide", "remainder", "fmod", "xlogy", "xlog1py"), ("", "positive")),
    "arccosh": ("beyond one",),
    "ndtri": ("unit",),
    "power": ("positive", "small"),
    "log_add_exp2": ("small", "small"),
}
_UNGUARDED = 0.1  # how often an op gets its arguments as they are, infinities and NaN and all

_MOVES = ("move", "slice", "reshape", "join", "update", "pick_", "gathered", "matmul")
_FIRST = ("add", "subtract", "multiply", "divide")
EVERYTHING = Vocabulary(
    _elementwise(1),
    (*_FIRST, *_FIRST, *_elementwise(2)),
    ("sum", "sum", "sum", "max", "min", "prod"),
    (
        *("unary", "unary", "unary", "binary", "binary", "binary", "scalar", "scalar", "clamp", "where"),
        *("reduce", "reduce", "back", "back", "test", "best", "running", *_MOVES),
    ),
)
WITHOUT_ELEMENTS = Vocabulary(  # what arrays without elements may be given to
    EVERYTHING.unary,
    EVERYTHING.binary,
    ("sum", "prod"),
    (
        "unary",
        "unary",
        "binary",
        "binary",
        "scalar",
        "clamp",
        "where",
        "reduce",
        "reduce",
        "test",
        "move",
        "join",
    ),
)
SMOOTH = Vocabulary(
    ("negative", "tanh", "sin", "sigmoid", "erf"),
    ("add", "subtract", "multiply"),
    ("sum",),
    ("unary", "unary", "binary", "binary", "scalar", "reduce", *_MOVES),
)


class RandomGraph:
    """Draws ops one after another on a growing pool of nodes."""

    def __init__(
        self,
        seed: int,
        dtype: str,
        vocabulary: Vocabulary = EVERYTHING,
        nodes: int = 14,
        extent: int | None = None,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.vocabulary = vocabulary
        extents = self._extents() if extent is None else self._around(extent)
        count = int(self.rng.integers(1, 4))
        self.inputs = [input_node(Aval(self._shape(extents), self.dtype)) for _ in range(count)]
        self.pool = list(self.inputs)
        for _ in range(nodes):
            made = self._step()
            if made is not None:
                self.pool.append(made)

    def _extents(self) -> list[int]:
        """Three sizes, now and then one of them long and the others small."""
        if self.rng.random() < 0.1:
            extents = [int(self.rng.choice(LONG_SIZES)), *map(int, self.rng.choice(SIZES[:4], 2))]
            return [extents[i] for i in self.rng.permutation(3)]
        extents = [int(self.rng.choice(SIZES)) for _ in range(3)]
        while math.prod(extents) > LARGEST_SIZE:
            extents[int(np.argmax(extents))] = int(self.rng.choice(SIZES[:5]))
        return extents

    def _around(self, extent: int) -> list[int]:
        """Three sizes, among them the given one."""
        extents = [extent, *map(int, self.rng.choice(SIZES[:4], 2))]
        return [extents[i] for i in self.rng.permutation(3)]

    def _shape(self, extents: list[int]) -> tuple[int, ...]:
        ndim = int(self.rng.choice([0, 1, 2, 2, 3]))
        start = int(self.rng.integers(0, 4 - ndim)) if ndim < 3 else 0
        return tuple(extents[start : start + ndim])

    def _pick(self, wanted: Callable[[Node], bool] = lambda n: True) -> Node | None:
        found = [n for n in self.pool if wanted(n)]
        if not found:
            return None
        weights = np.arange(1, len(found) + 1, dtype=float)
        return found[int(self.rng.choice(len(found), p=weights / weights.sum()))]

    def _step(self) -> Node | None:
        draw: Callable[[], Node | None] = getattr(self, f"_{self.rng.choice(self.vocabulary.kinds)}")
        return draw()

    def _floating(self) -> Node | None:
        return self._pick(lambda n: n.dtype == self.dtype)

    def _apply(self, name: str, *args: Node) -> Any:
        """The op on its arguments, which are mostly brought to where it is defined."""
        guards = _GUARDED.get(name, ())
        if guards and self.rng.random() > _UNGUARDED:
            args = tuple(_GUARDS[g](x) if g else x for g, x in zip(guards, args, strict=True))
        return OPS[name](*args)

    def _unary(self) -> Any:
        x = self._floating()
        return None if x is None else self._apply(str(self.rng.choice(self.vocabulary.unary)), x)

    def _partner(self, *others: Node) -> Node | None:
        """A node that broadcasts with others, which broadcast among themselves."""
        shape = np.broadcast_shapes(*(x.shape for x in others))

        def fits(node: Node) -> bool:
            if node.dtype != self.dtype or not _broadcasts(node.shape, shape):
                return False
            return math.prod(np.broadcast_shapes(node.shape, shape)) <= 2 * LARGEST_SIZE

        return self._pick(fits)

    def _binary(self) -> Any:
        x = self._floating()
        y = None if x is None else self._partner(x)
        return None if y is None else self._apply(str(self.rng.choice(self.vocabulary.binary)), x, y)

    def _scalar(self) -> Any:
        x = self._floating()
        value = literal(float(self.rng.choice([0.5, 2.0, -1.0, 1.0, 0.0, 1.7])), self.dtype, weak=True)
        return None if x is None else OPS[str(self.rng.choice(self.vocabulary.binary[:4]))](x, value)

    def _where(self) -> Any:
        x = self._floating()
        y = None if x is None else self._partner(x)
        if y is None:
            return None
        return OPS["where"](OPS[str(self.rng.choice(COMPARE))](x, y), x, y)

    def _clamp(self) -> Any:
        x = self._floating()
        low = None if x is None else self._partner(x)
        high = None if low is None else self._partner(x, low)
        return None if high is None else OPS["clamp"](x, low, high)

    def _test(self) -> Any:
        """Which rows have any element, or only elements, above those of another node."""
        x = self._pick(lambda n: n.ndim > 0 and n.dtype == self.dtype)
        y = None if x is None else self._partner(x)
        if y is None:
            return None
        holds = OPS[str(self.rng.choice(COMPARE))](x, y)
        axis = int(self.rng.integers(0, holds.ndim))
        return OPS["cast"](OPS[str(self.rng.choice(("any", "all")))](holds, axes=(axis,)), dtype=self.dtype)

    def _gathered(self) -> Any:
        """Elements along an axis at given places, which a kernel reads, or at places that it must check."""
        x = self._pick(lambda n: n.ndim > 0 and n.dtype == self.dtype and n.aval.size > 0)
        if x is None:
            return None
        axis = int(self.rng.integers(0, x.ndim))
        n = x.shape[axis]
        count = int(self.rng.choice((1, 3, n, 2 * n)))
        index = self.rng.integers(0, n, (count,) if self.rng.random() < 0.7 else (2, count))
        if x.ndim - 1 + index.ndim > 3 or x.aval.size // n * index.size > 2 * LARGEST_SIZE:
            return None
        index.setflags(write=self.rng.random() < 0.3)
        return OPS["take"](x, capture(index), axis=axis)

    def _best(self) -> Any:
        """The largest or smallest element of each row, found by its place."""
        x = self._pick(lambda n: n.ndim > 1 and n.dtype == self.dtype)
        if x is None:
            return None
        return OPS["pick"](x, OPS[str(self.rng.choice(("argmax", "argmin")))](x, axis=x.ndim - 1))

    def _running(self) -> Any:
        x = self._pick(lambda n: n.ndim > 0 and n.dtype == self.dtype)
        if x is None:
            return None
        axis = x.ndim - 1 if self.rng.random() < 0.4 else int(self.rng.integers(0, x.ndim))
        name = str(self.rng.choice(("cumsum", "cumsum", "cumprod", "recurrence", "logcumsumexp")))
        backwards = self.rng.random() < 0.3
        operands = [flip(x, axis) if backwards else x]
        if name == "recurrence":
            factors = self._pick(lambda n: n.shape == x.shape and n.dtype == self.dtype)
            operands.insert(0, OPS["tanh"](factors))
        y = OPS[name](*operands, axis=axis)
        return flip(y, axis) if backwards else y

    def _reduce(self) -> Any:
        x = self._pick(lambda n: n.ndim > 0 and n.dtype == self.dtype)
        if x is None:
            return None
        count = int(self.rng.integers(1, x.ndim + 1))
        axes = tuple(sorted(self.rng.choice(x.ndim, count, replace=False).tolist()))
        y = reduce_axes(OPS[str(self.rng.choice(self.vocabulary.reductions))], x, axes)
        if self.rng.random() < 0.6:
            kept = iter(range(y.ndim))
            y = rearrange(
                y, shape=x.shape, source=tuple(None if i in axes else next(kept) for i in range(x.ndim))
            )
        return y

    def _back(self) -> Any:
        """The usual use of a reduction: against what was reduced."""
        x, y = self._pick(lambda n: n.ndim > 1), None
        if x is not None:
            y = rearrange(
                OPS["max" if self.rng.random() < 0.5 else "sum"](x, axes=(x.ndim - 1,)),
                shape=x.shape,
                source=(*range(x.ndim - 1), None),
            )
        return None if y is None else OPS["subtract"](x, y)

    def _move(self) -> Any:
        x = self._pick(lambda n: n.ndim > 1)
        if x is None:
            return None
        order = tuple(self.rng.permutation(x.ndim).tolist())
        return rearrange(x, shape=tuple(x.shape[i] for i in order), source=order)

    def _slice(self) -> Any:
        x = self._pick(lambda n: n.ndim > 0)
        if x is None:
            return None
        start, step, size = [], [], []
        for n in x.shape:
            stride = int(self.rng.choice([1, 1, 2, -1]))
            first = int(self.rng.integers(0, n)) if self.rng.random() < 0.5 else (0 if stride > 0 else n - 1)
            room = (n - 1 - first) // stride + 1 if stride > 0 else first // -stride + 1
            start.append(first)
            step.append(stride)
            size.append(room)
        return slice_(x, start=tuple(start), step=tuple(step), size=tuple(size))

    def _reshape(self) -> Any:
        x = self._pick(lambda n: n.ndim > 0)
        if x is None:
            return None
        shape = (
            (x.aval.size,)
            if self.rng.random() < 0.5 or x.ndim < 2
            else (x.shape[0], x.aval.size // x.shape[0])
        )
        return reshape(x, shape=shape)

    def _join(self) -> Any:
        x = self._pick(lambda n: n.ndim > 0 and n.dtype == self.dtype)
        if x is None:
            return None
        axis = int(self.rng.integers(0, x.ndim))
        parts = [p for p in self.pool if p.dtype == x.dtype and _matches_but(p.shape, x.shape, axis)]
        return OPS["concatenate"](x, parts[int(self.rng.integers(0, len(parts)))], axis=axis)

    def _update(self) -> Any:
        x = self._pick(lambda n: n.ndim > 0 and n.dtype == self.dtype and n.aval.size > 0)
        if x is None:
            return None
        size = tuple(int(self.rng.integers(1, n + 1)) for n in x.shape)
        start = tuple(int(self.rng.integers(0, n - k + 1)) for n, k in zip(x.shape, size, strict=True))
        step = (1,) * x.ndim
        return OPS["update"](
            x, slice_(x, start=(0,) * x.ndim, step=step, size=size) * 2, start=start, step=step
        )

    def _pick_(self) -> Any:
        x = self._pick(lambda n: n.ndim > 1 and n.dtype == self.dtype)
        if x is None:
            return None
        index = capture(self.rng.integers(0, x.shape[-1], size=x.shape[:-1]))
        return OPS["pick"](x, OPS["indexing"](index, size=x.shape[-1]))

    def _matmul(self) -> Any:
        """The product with a matrix that fits: often the transpose of the matrix itself."""
        x = self._pick(lambda n: n.ndim == 2 and n.dtype == self.dtype)
        if x is None:
            return None
        turned = [rearrange(n, shape=n.shape[::-1], source=(1, 0)) for n in self.pool if n.ndim == 2]
        fitting = [
            n
            for n in (*self.pool, *turned)
            if n.ndim == 2 and n.dtype == self.dtype and n.shape[0] == x.shape[1]
        ]
        y = fitting[int(self.rng.integers(0, len(fitting)))]
        if x.shape[0] * y.shape[1] > LARGEST_SIZE:
            return None
        return OPS["matmul"](x, y)

    def values(self) -> Graph:
        """The sum of the last node, and two nodes before it."""
        last = self.pool[-1]
        loss = reduce_axes(OPS["sum"], last, tuple(range(last.ndim)))
        if loss.dtype != self.dtype:
            loss = OPS["cast"](loss, dtype=self.dtype)
        return Graph(tuple(self.inputs), (loss, *self.pool[len(self.inputs) :][-3:-1]))

    def graph(self) -> Graph:
        """The same with the gradients of the sum after it."""
        loss, *extra = self.values().outputs
        grads = cotangents((loss,), (literal(1, self.dtype),), tuple(self.inputs))
        return Graph(tuple(self.inputs), (loss, *grads, *extra))

    def arrays(self) -> list[Array]:
        return [self._array(n.shape) for n in self.inputs]

    def _array(self, shape: tuple[int, ...]) -> Array:
        layout = self.rng.choice(["C", "F", "strided", "reversed", "C"])
        if layout == "strided":
            wide = self.rng.normal(size=tuple(2 * n for n in shape)).astype(self.dtype)
            return np.asarray(wide[tuple(slice(None, None, 2) for _ in shape)])
        values = np.asarray(self.rng.normal(size=shape)).astype(self.dtype)
        if self.rng.random() < 0.05 and values.size:
            with np.errstate(over="ignore", under="ignore"):
                values.flat[int(self.rng.integers(0, values.size))] = self.rng.choice(SPECIAL)
        if layout == "reversed":
            return np.asarray(values[tuple(slice(None, None, -1) for _ in shape)])
        return np.asarray(values, order=str(layout))


def _matches_but(x: tuple[int, ...], y: tuple[int, ...], axis: int) -> bool:
    return len(x) == len(y) and all(a == b for i, (a, b) in enumerate(zip(x, y, strict=True)) if i != axis)


def _broadcasts(x: tuple[int, ...], y: tuple[int, ...]) -> bool:
    return all(a == b or 1 in (a, b) for a, b in zip(reversed(x), reversed(y), strict=False))


def check_seed(seed: int, dtype: str) -> None:
    """The graph is well formed, and neither a pass nor a mode changes a bit of its outputs."""
    drawn = RandomGraph(seed, dtype)
    graph, arrays = drawn.graph(), drawn.arrays()
    label = f"seed {seed} in {dtype}"
    check(graph)
    small = simplify(graph)
    check(small)
    expected = interpret(graph, *arrays)
    assert_same_bits(interpret(small, *arrays), expected, f"{label}, simplified")
    check_modes(graph, arrays, label)
    check_tensors(drawn, arrays, expected, f"{label}, on tensors")


def check_tensors(drawn: RandomGraph, arrays: Sequence[Array], expected: Sequence[Array], label: str) -> None:
    """Op by op on tensors, the graph has the same outputs, and the tape the gradients of the first."""
    leaves = as_tensors(arrays, requires_grad=True)
    loss, *extra = on_tensors(drawn.values(), leaves)
    if loss.requires_grad:
        grads = as_arrays(autograd.grad(loss, leaves, materialize_grads=True))
    else:
        grads = [np.zeros(a.shape, a.dtype) for a in arrays]
    count = len(arrays)
    assert_same_bits(as_arrays([loss, *extra]), [expected[0], *expected[count + 1 :]], label)
    check_gradients(drawn.values(), grads, expected[1 : count + 1], f"{label}, gradients")


def check_gradients(values: Graph, got: Sequence[Array], expected: Sequence[Array], label: str) -> None:
    """The tape gives the same bits, unless an op has derivative 0 everywhere.

    There the driver ends, but the tape goes on with zeros as PyTorch's does: -0.0 or 0 times inf may follow.
    """
    if any(n.dtype.kind == "f" and None in (n.op.partials or ()) for n in values.nodes()):
        for x, y in zip(got, expected, strict=True):
            numbers = ~np.isnan(x)
            np.testing.assert_array_equal(x[numbers], y[numbers], label, strict=True)
    else:
        assert_same_bits(got, expected, label)


def complaint_of(seed: int) -> str:
    """What is wrong with the graph of a seed; empty if nothing is."""
    dtype = DTYPES[seed % len(DTYPES)]
    try:
        check_seed(seed, dtype)
    except Exception as error:
        return f"seed {seed} in {dtype}: {type(error).__name__}: {error}"
    return ""


def check_many(first: int, count: int, processes: int) -> int:
    """Check the graphs of `count` seeds, show progress, and return how many are wrong."""
    start, wrong = time.perf_counter(), 0
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=GRAPHS_PER_PROCESS) as pool:
        for done, text in enumerate(pool.imap_unordered(complaint_of, range(first, first + count)), 1):
            if text:
                wrong += 1
                print(f"\n{text}")
            if done % max(1, count // 100) == 0 or done == count:
                seconds = time.perf_counter() - start
                print(f"\r{done} of {count} graphs, {wrong} mismatches, {seconds:.0f} s", end="", flush=True)
    print()
    return wrong


def main() -> int:
    """Check many graphs in a kernel cache of their own, and return 1 if any differs."""
    parser = argparse.ArgumentParser(
        description="Compare the interpreter, fused kernels and tensors on random graphs."
    )
    parser.add_argument("count", type=int, nargs="?", default=1000, help="how many graphs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=1, help="how many to check at the same time")
    options = parser.parse_args()
    folder = os.environ["JITGRAD_CACHE_DIR"] = tempfile.mkdtemp(prefix="jitgrad-random-graphs-")
    try:
        return min(check_many(options.first, options.count, options.processes), 1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
