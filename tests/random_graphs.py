"""Random graphs over every structure that fusion knows, with random inputs in random memory layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.adjoint import cotangents
from jitgrad.ir import Aval, Graph, Node, capture, input_node, literal
from jitgrad.ops import OPS
from jitgrad.ops.structure import rearrange, reduce_axes, reshape, slice_

UNARY = ("negative", "exp", "tanh", "absolute", "sqrt", "log1p", "sin", "sigmoid", "floor", "sign", "erf")
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "hypot")
COMPARE = ("less", "greater_equal", "equal")
REDUCTIONS = ("sum", "sum", "sum", "max", "min", "prod")
SIZES = (1, 2, 3, 7, 33, 64, 130)


class RandomGraph:
    """Draws ops one after another on a growing pool of nodes."""

    def __init__(self, seed: int, dtype: str, nodes: int = 14, sizes: tuple[int, ...] = SIZES) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.sizes = sizes
        extents = [int(self.rng.choice(sizes)) for _ in range(3)]
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
        kinds = (
            "unary",
            "binary",
            "binary",
            "scalar",
            "reduce",
            "back",
            "move",
            "slice",
            "reshape",
            "where",
            "matmul",
        )
        kinds += ("join", "update", "pick_")
        draw: Callable[[], Node | None] = getattr(self, f"_{self.rng.choice(kinds)}")
        return draw()

    def _floating(self) -> Node | None:
        return self._pick(lambda n: n.dtype == self.dtype)

    def _unary(self) -> Any:
        x = self._floating()
        return None if x is None else OPS[str(self.rng.choice(UNARY))](x)

    def _partner(self, x: Node) -> Node | None:
        return self._pick(lambda n: n.dtype == self.dtype and _broadcasts(n.shape, x.shape))

    def _binary(self) -> Any:
        x = self._floating()
        y = None if x is None else self._partner(x)
        return None if y is None else OPS[str(self.rng.choice(BINARY))](x, y)

    def _scalar(self) -> Any:
        x = self._floating()
        value = literal(float(self.rng.choice([0.5, 2.0, -1.0, 1.0, 0.0, 1.7])), self.dtype, weak=True)
        return None if x is None else OPS[str(self.rng.choice(BINARY[:4]))](x, value)

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
        y = reduce_axes(OPS[str(self.rng.choice(REDUCTIONS))], x, axes)
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
        return OPS["pick"](x, OPS["bounded"](index, size=x.shape[-1]))

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

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        return [self._array(n.shape) for n in self.inputs]

    def _array(self, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
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
