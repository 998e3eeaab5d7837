"""Reductions over one run of neighbouring axes, in one written-down order that every mode follows.

Trailing axes, flattened to n elements: blocks of 1024; in a block, element i goes to lane i % 64, a lane is
reduced in order, and lanes are folded in halves (64 to 32, ... to 1); the results of the blocks are reduced
the same way again.
Axes before at most 4 elements (the coordinates of a point) are reduced like trailing ones, once for each
element.
Other axes, flattened: blocks of 32 in order, the results of the blocks reduced the same way again.
The order depends on nothing else: not on threads, vector width or memory layout.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops.elementwise import equal, not_equal, where
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.structure import Source, cast, rearrange
from jitgrad.ops.table import primitive
from jitgrad.ops.values import Shape

BLOCK, LANES, COLUMN_BLOCK = 1024, 64, 32
FEW = 4  # elements after the reduced axes up to which each is reduced by itself
# The reductions whose rounding depends on the order: identity, and what is quicker on NumPy's scalars
_ORDERED: dict[Any, tuple[float, Any]] = {np.add: (-0.0, operator.add), np.multiply: (1.0, operator.mul)}
_MANY = 2048  # elements from which folding short rows is faster than NumPy's reduce
_LONG = 8192  # elements in a step from which a loop over the steps is faster than NumPy's reduce


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


def _in_order(combine: np.ufunc, x: Any) -> Any:
    """Reduce the last axis but one in order; the last one must be contiguous.

    NumPy reduces in order along any axis but the one that is innermost in memory, where it sums in pairs.
    """
    count, width = x.shape[-2:]
    if width == 1:
        return combine.accumulate(x, -2)[..., -1, :]
    if x.size < _LONG * count and count > 2:
        return combine.reduce(x, -2, initial=_ORDERED[combine][0])
    total = x[..., 0, :].copy()
    for i in range(1, count):
        combine(total, x[..., i, :], out=total)
    return total


def _folded(combine: np.ufunc, x: Any) -> Any:
    """Reduce the first axis, of at most 64 elements, in halves.

    What is missing to a power of two is left out: it would be the identity, which changes no bit.
    """
    n = len(x)
    if n == 1:
        return x[0].copy()
    half = 1 << (n - 1).bit_length() >> 1
    if n < 2 * half:
        low = x[:half].copy()
        combine(low[: n - half], x[half:], out=low[: n - half])
        x, half = low, half >> 1
    while half:
        if half == 4 and x.ndim == 1:
            return _folded_eight(_ORDERED[combine][1], *x)
        x = combine(x[:half], x[half:])
        half >>= 1
    return x[0]


def _folded_eight(plus: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    return plus(plus(plus(a, e), plus(c, g)), plus(plus(b, f), plus(d, h)))


def _block_of_row(combine: np.ufunc, x: Any) -> Any:
    """Reduce the last axis, of at most 1024 elements."""
    *lead, n = x.shape
    if n > LANES:
        rest = n % LANES
        lanes = _in_order(combine, x[..., : n - rest].reshape((*lead, n // LANES, LANES)))
        if rest:
            combine(lanes[..., :rest], x[..., n - rest :], out=lanes[..., :rest])
        x, n = lanes, LANES
    if not lead:
        return _folded(combine, x)
    return _folded(combine, np.ascontiguousarray(x.reshape((-1, n)).T)).reshape(lead)


def _in_blocks(reduce_block: Callable[[Any], Any], size: int, x: Any) -> Any:
    """Reduce axis 1: blocks of `size`, then the results of the blocks in the same way."""
    while (n := x.shape[1]) > size:
        rest = n % size
        blocks = reduce_block(x[:, : n - rest].reshape((len(x), n // size, size, *x.shape[2:])))
        x = np.concatenate((blocks, reduce_block(x[:, n - rest :])[:, None]), 1) if rest else blocks
    return reduce_block(x)


def _ordered(combine: np.ufunc, x: Any, axis: int) -> Any:
    """Reduce one axis in the written-down order."""
    lead, tail, n = x.shape[:axis], x.shape[axis + 1 :], x.shape[axis]
    if tail and math.prod(tail) <= FEW:
        return _ordered(combine, np.ascontiguousarray(np.moveaxis(x, axis, -1)), x.ndim - 1)
    if not tail:
        if n > LANES:
            x = _with_contiguous_rows(x)
        if n <= BLOCK:
            return _block_of_row(combine, x)
        return _in_blocks(partial(_block_of_row, combine), BLOCK, x.reshape((-1, n))).reshape(lead)[()]
    x = _with_contiguous_rows(x.reshape((math.prod(lead), n, math.prod(tail))))
    return _in_blocks(partial(_in_order, combine), COLUMN_BLOCK, x).reshape((*lead, *tail))


def _with_contiguous_rows(x: Any) -> Any:
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)


def _with_sign(combine: np.ufunc, extreme: Any, x: Any, axis: int) -> Any:
    """The largest or smallest elements with +0.0 above -0.0, which NumPy leaves to the machine."""
    if extreme.all() if extreme.ndim else extreme:
        return extreme
    other = -1 if combine is np.maximum else 1
    signs = combine.reduce(np.where(x == 0, np.copysign(1, x), other), axis)
    return np.where(extreme == 0, np.copysign(extreme, signs), extreme)[()]


def _of_nothing(name: str, empty: Any, x: Any, axis: int) -> Any:
    kept = (*x.shape[:axis], *x.shape[axis + 1 :])
    if empty is None and 0 not in kept:
        raise ValueError(f"{name}: an axis of size 0 has no {name}; give it at least one element")
    return np.full(kept, empty or 0, x.dtype)


def _reduced(name: str, combine: np.ufunc, empty: Any, x: Any, *, axes: Shape) -> Any:
    x = np.asarray(x)
    axis = axes[0]
    if len(axes) > 1:
        last = axes[-1] + 1
        x = x.reshape((*x.shape[:axis], math.prod(x.shape[axis:last]), *x.shape[last:]))
    if not x.size:
        return _of_nothing(name, empty, x, axis)
    floating = x.dtype.kind in "fc"
    if floating and combine in _ORDERED:
        return _ordered(combine, x, axis)
    if axis and axis == x.ndim - 1 and x.shape[-1] <= LANES and x.size >= _MANY:
        result = _block_of_row(combine, x)
    else:
        result = combine.reduce(x, axis, x.dtype)
    return _with_sign(combine, result, x, axis) if floating else result


def _infer(x: Aval, *, axes: Shape) -> Aval:
    return Aval((*x.shape[: axes[0]], *x.shape[axes[-1] + 1 :]), x.dtype)


def spread(y: Any, like: Any, axes: Shape) -> Any:
    """Repeat a reduction's result (or cotangent) along the reduced axes of `like`."""
    return rearrange(y, shape=like.shape, source=_spread_source(len(like.shape), axes))


@lru_cache(maxsize=256)
def _spread_source(ndim: int, axes: Shape) -> Source:
    kept = iter(range(ndim))
    return tuple(None if i in axes else next(kept) for i in range(ndim))


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
    name: str, combine: np.ufunc, empty: Any, vjp: Any, jvp: Any, kinds: str = "fi", **options: Any
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


def _product_of_others(out: Any, x: Any, axes: Shape) -> Any:
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


def _share_of_ties(out: Any, x: Any, axes: Shape) -> Any:
    """1 over the number of winners where x wins (a NaN winner too), 0 elsewhere."""
    top = spread(out, x, axes)
    wins = cast(equal(x, top) | (not_equal(x, x) & not_equal(top, top)), dtype=x.dtype)
    return wins / spread(sum_(wins, axes=axes), x, axes)


def _extremum(name: str, combine: np.ufunc) -> Op:
    return _reduction(
        name,
        combine,
        None,
        lambda g, out, x, *, axes: (spread(g, x, axes) * _share_of_ties(out, x, axes),),
        lambda tangents, out, x, *, axes: sum_(tangents[0] * _share_of_ties(out, x, axes), axes=axes),
        undefined="ties share the cotangent equally",
    )


max_ = _extremum("max", np.maximum)
min_ = _extremum("min", np.minimum)
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
