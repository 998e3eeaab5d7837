"""Reductions over one run of neighbouring axes, in one written-down order that every mode follows.

Trailing axes, flattened to n elements: blocks of 1024; in a block, element i goes to lane i % 64, a lane is
reduced in order, and lanes are folded in halves (64 to 32, ... to 1); the results of the blocks are reduced
the same way again.
Other axes, flattened: blocks of 32 in order, the results of the blocks reduced the same way again.
The order depends on nothing else: not on threads, vector width or memory layout.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops.elementwise import equal, not_equal, where
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.structure import cast, rearrange
from jitgrad.ops.table import primitive

BLOCK, LANES, COLUMN_BLOCK = 1024, 64, 32


def identity(name: str, dtype: np.dtype[Any]) -> Any:
    """The value e with combine(e, x) == x to the bit: -0.0 for a float sum, so that signed zeros survive."""
    if name in ("sum", "prod"):
        return dtype.type(1 if name == "prod" else -0.0 if dtype.kind in "fc" else 0)
    if name in ("any", "all"):
        return dtype.type(name == "all")
    low, high = (
        (-np.inf, np.inf)
        if dtype.kind == "f"
        else (False, True)
        if dtype.kind == "b"
        else _integer_range(dtype)
    )
    return dtype.type(low if name == "max" else high)


def _integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _padded(x: Any, axis: int, multiple: int, fill: Any) -> Any:
    short = -x.shape[axis] % multiple
    if not short:
        return x
    shape = list(x.shape)
    shape[axis] = short
    return np.concatenate([x, np.full(shape, fill, x.dtype)], axis)


def _in_order(combine: Callable[..., Any], x: Any, axis: int) -> Any:
    moved = np.moveaxis(x, axis, 0)
    total = moved[0]
    for part in moved[1:]:
        total = combine(total, part)
    return total


def reduce_lanes(combine: Callable[..., Any], fill: Any, x: Any) -> Any:
    """Reduce the last axis in the order for trailing axes."""
    while True:
        n = x.shape[-1]
        x = _padded(x, -1, BLOCK if n > BLOCK else LANES, fill)
        x = x.reshape((*x.shape[:-1], -(-n // BLOCK), -1, LANES))
        x = _in_order(combine, x, -2)
        width = LANES
        while width > 1:
            width //= 2
            x = combine(x[..., :width], x[..., width:])
        x = x[..., 0]
        if x.shape[-1] == 1:
            return x[..., 0]


def reduce_columns(combine: Callable[..., Any], fill: Any, x: Any) -> Any:
    """Reduce the first axis in the order for other axes."""
    while True:
        x = _padded(x, 0, COLUMN_BLOCK, fill)
        x = _in_order(combine, x.reshape((-1, COLUMN_BLOCK, *x.shape[1:])), 1)
        if x.shape[0] == 1:
            return x[0]


def _reduced(name: str, combine: Callable[..., Any], empty: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
    x = np.asarray(x)
    first, last = axes[0], axes[-1] + 1
    n = int(np.prod(x.shape[first:last]))
    kept = (*x.shape[:first], *x.shape[last:])
    if 0 in kept:
        return np.empty(kept, x.dtype)
    if n == 0:
        if empty is None:
            raise ValueError(f"{name}: an axis of size 0 has no {name}; give it at least one element")
        return np.full(kept, empty, x.dtype)
    fill = identity(name, x.dtype)
    if last == x.ndim:
        return reduce_lanes(combine, fill, x.reshape((*x.shape[:first], n)))[()]
    x = np.moveaxis(x.reshape((*x.shape[:first], n, *x.shape[last:])), first, 0)
    return reduce_columns(combine, fill, x)


def _infer(x: Aval, *, axes: tuple[int, ...]) -> Aval:
    return Aval((*x.shape[: axes[0]], *x.shape[axes[-1] + 1 :]), x.dtype)


def spread(y: Any, like: Any, axes: tuple[int, ...]) -> Any:
    """Repeat a reduction's result (or cotangent) along the reduced axes of `like`."""
    kept = iter(range(len(y.shape)))
    source = tuple(None if i in axes else next(kept) for i in range(len(like.shape)))
    return rearrange(y, shape=like.shape, source=source)


def _samples(d: Draw) -> list[Sample]:
    rows = [
        case(d(2, 3), axes=(1,)),
        case(d(7), axes=(0,)),
        case(d(2, 70, 20), axes=(1, 2)),
        case(d(2, 0), axes=(1,)),
    ]
    columns = [
        case(d(2, 3), axes=(0,)),
        case(d(70, 3), axes=(0,)),
        case(d(2, 3, 4), axes=(0, 1)),
        case(d(0, 2), axes=(0,)),
    ]
    between = [case(d(2, 3, 4), axes=(1,)), case(d(3, 1100), axes=(1,))]
    return rows + columns + between


def _reduction(
    name: str, combine: Callable[..., Any], empty: Any, vjp: Any, jvp: Any, kinds: str = "fi", **options: Any
) -> Op:
    reference = getattr(np, name)
    return primitive(
        name,
        "reduce",
        partial(_reduced, name, combine, empty),
        _infer,
        vjp,
        jvp,
        samples=only(kinds, _samples if empty is not None else _not_empty),
        reference=lambda x, *, axes: np.asarray(reference(x, axes), x.dtype),
        **options,
    )


def _not_empty(d: Draw) -> list[Sample]:
    return [s for s in _samples(d) if s.args[0].size]


sum_: Op = _reduction(
    "sum",
    np.add,
    0,
    lambda g, out, x, *, axes: (spread(g, x, axes),),
    lambda tangents, out, x, *, axes: sum_(tangents[0], axes=axes),
)


def _product_of_others(out: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """The product of all other elements, whose first derivative is right too where up to two are zero."""
    zero = equal(x, 0)
    zeros = spread(sum_(cast(zero, dtype=x.dtype), axes=axes), x, axes)
    safe = where(zero, 1, x)
    rest = spread(prod(safe, axes=axes), x, axes)
    naught = spread(sum_(where(zero, x, 0), axes=axes), x, axes)  # 0, but its derivative is not
    single = where(zero, rest, rest / safe * naught)
    double = where(zero, rest * (naught - x), 0)
    several = where(equal(zeros, 1), single, where(equal(zeros, 2), double, 0))
    return where(equal(zeros, 0), spread(out, x, axes) / safe, several)


prod = _reduction(
    "prod",
    np.multiply,
    1,
    lambda g, out, x, *, axes: (spread(g, x, axes) * _product_of_others(out, x, axes),),
    lambda tangents, out, x, *, axes: sum_(tangents[0] * _product_of_others(out, x, axes), axes=axes),
)


def _share_of_ties(out: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """1 over the number of winners where x wins (a NaN winner too), 0 elsewhere."""
    top = spread(out, x, axes)
    wins = cast(equal(x, top) | (not_equal(x, x) & not_equal(top, top)), dtype=x.dtype)
    return wins / spread(sum_(wins, axes=axes), x, axes)


def _extremum(name: str, combine: Callable[..., Any]) -> Op:
    return _reduction(
        name,
        combine,
        None,
        lambda g, out, x, *, axes: (spread(g, x, axes) * _share_of_ties(out, x, axes),),
        lambda tangents, out, x, *, axes: sum_(tangents[0] * _share_of_ties(out, x, axes), axes=axes),
        undefined="ties share the cotangent equally",
    )


def _larger(x: Any, y: Any) -> Any:
    """NumPy's maximum with +0.0 above -0.0, which NumPy leaves to the machine."""
    return np.where((x == y) & (x == 0), x + y, np.maximum(x, y))


def _smaller(x: Any, y: Any) -> Any:
    return (
        np.where((x == y) & (x == 0), -(-x + -y), np.minimum(x, y))
        if x.dtype.kind == "f"
        else np.minimum(x, y)
    )


max_ = _extremum("max", _larger)
min_ = _extremum("min", _smaller)
any_ = _reduction("any", np.logical_or, False, None, None, kinds="b")
all_ = _reduction("all", np.logical_and, True, None, None, kinds="b")


def _infer_position(x: Aval, *, axis: int) -> Aval:
    return Aval((*x.shape[:axis], *x.shape[axis + 1 :]), np.dtype(np.int64))


def _position(name: str, numpy: Callable[..., Any]) -> Op:
    def samples(d: Draw) -> list[Sample]:
        return [case(d(2, 3), axis=1), case(d(2, 3, 4), axis=1), case(d(5), axis=0)]

    return primitive(
        name, "call", lambda x, *, axis: numpy(x, axis), _infer_position, None, None, samples=samples
    )


argmax = _position("argmax", np.argmax)
argmin = _position("argmin", np.argmin)
