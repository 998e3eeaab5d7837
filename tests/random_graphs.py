"""Random graphs over every structure that fusion knows, with random inputs in random memory layouts.

`python tests/random_graphs.py 10000` compiles so many of them and compares their bits with the interpreter's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from compare import Array, assert_same_bits, check_modes

from jitgrad.adjoint import cotangents
from jitgrad.ir import Aval, Graph, Node, capture, check, input_node, interpret, literal
from jitgrad.ops import OPS
from jitgrad.ops.structure import rearrange, reduce_axes, reshape, slice_
from jitgrad.rewrite import simplify

COMPARE = ("less", "greater_equal", "equal")
SIZES = (1, 2, 3, 7, 33, 64, 130)
DTYPES = ("float64", "float32")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What random graphs are made of: names of ops, and of the methods of RandomGraph that draw a node."""

    unary: tuple[str, ...]
    binary: tuple[str, ...]
    reductions: tuple[str, ...]
    kinds: tuple[str, ...]


_MOVES = ("move", "slice", "reshape", "join", "update", "pick_", "matmul")
EVERYTHING = Vocabulary(
    ("negative", "exp", "tanh", "absolute", "sqrt", "log1p", "sin", "sigmoid", "floor", "sign", "erf"),
    ("add", "subtract", "multiply", "divide", "maximum", "minimum", "hypot"),
    ("sum", "sum", "sum", "max", "min", "prod"),
    ("unary", "binary", "binary", "scalar", "reduce", "back", "where", *_MOVES),
)
SMOOTH = Vocabulary(
    ("negative", "tanh", "sin", "sigmoid", "erf"),
    ("add", "subtract", "multiply"),
    ("sum",),
    ("unary", "unary", "binary", "binary", "scalar", "reduce", *_MOVES),
)


class RandomGraph:
    """Draws ops one after another on a growing pool of nodes."""

    def __init__(self, seed: int, dtype: str, vocabulary: Vocabulary = EVERYTHING, nodes: int = 14) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.vocabulary = vocabulary
        extents = [int(self.rng.choice(SIZES)) for _ in range(3)]
        count = int(self.rng.integers(1, 4))
        self.inputs = [input_node(Aval(self._shape(extents), self.dtype)) for _ in range(count)]
        self.pool = list(self.inputs)
        for _ in range(nodes):
            made = self._step()
            if made is not None:
                self.pool.append(made)

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

    def _unary(self) -> Any:
        x = self._floating()
        return None if x is None else OPS[str(self.rng.choice(self.vocabulary.unary))](x)

    def _partner(self, x: Node) -> Node | None:
        return self._pick(lambda n: n.dtype == self.dtype and _broadcasts(n.shape, x.shape))

    def _binary(self) -> Any:
        x = self._floating()
        y = None if x is None else self._partner(x)
        return None if y is None else OPS[str(self.rng.choice(self.vocabulary.binary))](x, y)

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
        x = self._pick(lambda n: n.ndim == 2 and n.dtype == self.dtype)
        if x is None:
            return None
        return OPS["matmul"](x, rearrange(x, shape=x.shape[::-1], source=(1, 0)))

    def graph(self) -> Graph:
        """The last nodes and the gradients of a scalar made of them."""
        last = self.pool[-1]
        loss = reduce_axes(OPS["sum"], last, tuple(range(last.ndim)))
        grads = cotangents((loss,), (literal(1, self.dtype),), tuple(self.inputs))
        extra = self.pool[len(self.inputs) :][-3:-1]
        return Graph(tuple(self.inputs), (loss, *grads, *extra))

    def arrays(self) -> list[Array]:
        return [self._array(n.shape) for n in self.inputs]

    def _array(self, shape: tuple[int, ...]) -> Array:
        layout = self.rng.choice(["C", "F", "strided", "reversed", "C"])
        if layout == "strided":
            wide = self.rng.normal(size=tuple(2 * n for n in shape)).astype(self.dtype)
            return np.asarray(wide[tuple(slice(None, None, 2) for _ in shape)])
        values = np.asarray(self.rng.normal(size=shape)).astype(self.dtype)
        if layout == "reversed":
            return np.asarray(values[tuple(slice(None, None, -1) for _ in shape)])
        return np.asarray(values, order=str(layout))


def _matches_but(x: tuple[int, ...], y: tuple[int, ...], axis: int) -> bool:
    return len(x) == len(y) and all(a == b for i, (a, b) in enumerate(zip(x, y, strict=True)) if i != axis)


def _broadcasts(x: tuple[int, ...], y: tuple[int, ...]) -> bool:
    return all(a == b or 1 in (a, b) for a, b in zip(reversed(x), reversed(y), strict=False))


def check_seed(seed: int, dtype: str) -> None:
    """The graph is well formed, and no pass changes a bit of its outputs."""
    drawn = RandomGraph(seed, dtype)
    graph, arrays = drawn.graph(), drawn.arrays()
    label = f"seed {seed} in {dtype}"
    check(graph)
    small = simplify(graph)
    check(small)
    assert_same_bits(interpret(small, *arrays), interpret(graph, *arrays), f"{label}, simplified")
    check_modes(graph, arrays, label)


def main() -> int:
    """Check many graphs, report progress, and return 1 if any differs."""
    parser = argparse.ArgumentParser(
        description="Compare fused kernels with the interpreter on random graphs."
    )
    parser.add_argument("count", type=int, nargs="?", default=1000, help="how many graphs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    start, wrong = time.perf_counter(), 0
    for done, seed in enumerate(range(options.first, options.first + options.count), 1):
        dtype = DTYPES[seed % len(DTYPES)]
        try:
            check_seed(seed, dtype)
        except Exception as error:
            wrong += 1
            print(f"\nseed {seed} in {dtype}: {type(error).__name__}: {error}")
        if done % max(1, options.count // 100) == 0 or done == options.count:
            seconds = time.perf_counter() - start
            print(
                f"\r{done} of {options.count} graphs, {wrong} mismatches, {seconds:.0f} s", end="", flush=True
            )
    print()
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
