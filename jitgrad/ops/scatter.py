"""PyTorch's ways to gather, write and add along an axis, whose indices need not cover the whole array."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops.elementwise import equal, isfinite, maximum, stop_gradient, where
from jitgrad.ops.gather import bounded, summed_into, take
from jitgrad.ops.indexing import scatter
from jitgrad.ops.samples import Draw, Sample, Static, case, only
from jitgrad.ops.sequences import cumsum
from jitgrad.ops.shape import shaped
from jitgrad.ops.structure import slice_
from jitgrad.ops.table import composite, primitive, zeros_like
from jitgrad.ops.values import (
    Shape,
    as_array,
    as_dtype,
    axis_of,
    broadcast,
    concrete,
    size_of,
)

Array = np.ndarray[Any, Any]

# Adding -----------------------------------------------------------------------------------------------


def _added(x: Any, index: Any, values: Any, *, axis: int) -> Array:
    out = np.array(x, order="C")
    summed_into(out, index, values, axis)
    return out


def _add_at_jvp(tangents: tuple[Any, ...], out: Any, x: Any, index: Any, values: Any, *, axis: int) -> Any:
    dx, _, dv = tangents
    dx, dv = (zeros_like(y) if t is None else t for t, y in ((dx, x), (dv, values)))
    return add_at(dx, index, dv, axis=axis)


add_at: Op = primitive(
    "add_at",
    "call",
    _added,
    lambda x, index, values, *, axis: Aval(x.shape, x.dtype),
    lambda g, out, x, index, values, *, axis: (g, None, take(g, index, axis=axis)),
    _add_at_jvp,
    samples=lambda d: [
        case(d(5), np.array([1, 4, 1]), d(3), axis=0),
        case(d(2, 5, 3), np.array([0, 4, 0]), d(2, 3, 3), axis=1),
        case(d(3), np.zeros(0, int), d(0), axis=0),
    ],
)


def _located(name: str, x: Any, axis: int, index: Any) -> Any:
    """An index along one axis as int64 without negative numbers, checked."""
    index = as_array(index)
    if len(index.shape) != 1:
        raise IndexError(f"{name}: the index must have one axis, got shape {index.shape}")
    return bounded(as_dtype(index, np.int64), size=x.shape[axis])


def _rows(x: Any, axis: int, count: int, values: Any) -> Any:
    """Values for `count` places along the axis, in x's dtype."""
    shape = tuple(count if i == axis else n for i, n in enumerate(x.shape))
    return broadcast(as_dtype(as_array(values), x.dtype), shape)


def _with_rows(name: str, op: Op, x: Any, axis: int, index: Any, values: Any) -> Any:
    x = as_array(x)
    axis = axis_of(axis, len(x.shape))
    index = _located(name, x, axis, index)
    return op(x, index, _rows(x, axis, index.shape[0], values), axis=axis)


def _row_samples(d: Draw) -> list[Sample]:
    """Indices that name an element once, twice and counted from the end."""
    wide = d(2, 4, 3)
    return [
        case(d(4), 0, np.array([1, 3, 1]), d(3)),
        case(wide, 1, np.array([-1, 0]), d(2, 2, 3)),
        case(wide, -1, np.array([1]), d(2, 4, 1)),
    ]


def _row_reference(write: Callable[..., Any]) -> Callable[..., Any]:
    def reference(x: Any, axis: int, index: Any, values: Any) -> Any:
        out = np.array(x)
        write(np.moveaxis(out, axis, 0), index, np.moveaxis(np.asarray(values), axis, 0))
        return out

    return reference


@composite(name="index_add", samples=_row_samples, reference=_row_reference(np.add.at))
def index_add(x: Any, axis: int, index: Any, values: Any) -> Any:
    """x with values added at places along one axis, one after the other."""
    return _with_rows("index_add", add_at, x, axis, index, values)


@composite(
    name="index_copy",
    samples=_row_samples,
    reference=_row_reference(lambda out, index, values: out.__setitem__(index, values)),
)
def index_copy(x: Any, axis: int, index: Any, values: Any) -> Any:
    """x with values at places along one axis; where a place is named twice the last value stays."""
    return _with_rows("index_copy", scatter, x, axis, index, values)


def _filled(x: Any, axis: int, index: Any, value: Any) -> Any:
    out = np.array(x)
    np.moveaxis(out, axis, 0)[index] = value
    return out


@composite(
    name="index_fill",
    samples=lambda d: [case(d(4), 0, np.array([1, 3]), d()), case(d(2, 3), 1, np.array([-1]), d())],
    reference=_filled,
)
def index_fill(x: Any, axis: int, index: Any, value: Any) -> Any:
    """x with one value at places along one axis."""
    return _with_rows("index_fill", scatter, x, axis, index, value)


# An index for each element ----------------------------------------------------------------------------


def _flat_index(name: str, x: Any, index: Any, axis: int) -> Any:
    """Where the elements that an index names along an axis lie in x, flattened."""
    if len(index.shape) != len(x.shape):
        raise IndexError(f"{name}: x {x.shape} and the index {index.shape} need equally many axes")
    for i, (n, m) in enumerate(zip(index.shape, x.shape, strict=True)):
        if i != axis and n > m:
            raise IndexError(f"{name}: the index {index.shape} is larger than x {x.shape} in axis {i}")
    strides = [math.prod(x.shape[i + 1 :]) for i in range(len(x.shape))]
    base = np.zeros(index.shape, np.int64)
    for i, (n, stride) in enumerate(zip(index.shape, strides, strict=True)):
        if i != axis:
            base += (np.arange(n) * stride).reshape((-1,) + (1,) * (len(index.shape) - i - 1))
    along = bounded(as_dtype(index, np.int64), size=x.shape[axis])
    return shaped(along * strides[axis] + base, (size_of(index),))


def _fitted(values: Any, index: Any, dtype: Any) -> Any:
    """The values that belong to an index: a number repeated, or the first ones along each axis."""
    values = as_dtype(as_array(values), dtype)
    if not values.shape:
        values = broadcast(values, index.shape)
    if len(values.shape) != len(index.shape) or any(
        n < m for n, m in zip(values.shape, index.shape, strict=True)
    ):
        raise IndexError(f"values of shape {values.shape} are fewer than the index of shape {index.shape}")
    none, step = (0,) * len(index.shape), (1,) * len(index.shape)
    return shaped(slice_(values, start=none, step=step, size=index.shape), (size_of(index),))


def _prepared(name: str, x: Any, index: Any, axis: int) -> tuple[Any, Any, Any, Shape]:
    """x flattened, the index with axes as x has, where that lies in x, and x's shape."""
    x, index = as_array(x), as_array(index)
    shape = x.shape
    if not shape:
        x, index = shaped(x, (1,)), shaped(index, (size_of(index),))
    axis = axis_of(axis, len(x.shape))
    return shaped(x, (size_of(x),)), index, _flat_index(name, x, index, axis), shape


def _along_samples(d: Draw) -> list[Sample]:
    """Smaller indices than x, places named twice, more values than indices."""
    return [
        case(d(3, 4), np.array([[1, 3], [0, 0]]), d(2, 2), axis=1),
        case(d(3, 4), np.array([[2, 0, 2, 1], [2, 0, 0, -1]]), d(3, 4), axis=0),
        case(d(2, 3, 2), np.array([[[2, 1]], [[0, 1]]]), d(2, 1, 2), axis=1),
        case(d(5), np.array([4, 1, 4]), d(3), axis=0),
        case(d(5), np.array([4, 1]), d(), axis=0),
        case(d(), np.array([0]), d(1), axis=0),
        case(d(2, 3), np.zeros((0, 3), int), d(2, 3), axis=0),
    ]


def _along_reference(write: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Element by element."""

    def reference(x: Any, index: Any, values: Any, axis: int) -> Any:
        out = np.array(x).reshape(np.shape(x) or (1,))
        for place in np.ndindex(index.shape):
            target = tuple(index[place] if i == axis else j for i, j in enumerate(place))
            out[target] = write(out[target], values[place] if np.ndim(values) else values)
        return out.reshape(np.shape(x))

    return reference


def _gather_samples(d: Draw) -> list[Sample]:
    forms = [((3, 4), [[1, 3], [0, 0]], 1), ((3, 4), [[2, 0, -1]], 0), ((2, 3, 2), [[[2, 1]]], 1)]
    return [case(d(*s), np.array(i), axis=axis) for s, i, axis in forms] + [case(d(), np.array([0]), axis=0)]


@composite(
    name="gather_along",
    samples=_gather_samples,
    reference=lambda x, index, axis: (
        np.take_along_axis(
            x[tuple(slice(None if i == axis else n) for i, n in enumerate(index.shape))], index, axis
        )
        if np.ndim(x)
        else np.full(index.shape, x)
    ),
)
def gather_along(x: Any, index: Any, axis: int) -> Any:
    """The elements that an index names along an axis; off it the index may be smaller than x."""
    flat, index, places, _ = _prepared("gather_along", x, index, axis)
    return shaped(take(flat, places, axis=0), index.shape)


@composite(
    name="put_along",
    samples=_along_samples,
    reference=_along_reference(lambda old, new: new),
)
def put_along(x: Any, index: Any, values: Any, axis: int) -> Any:
    """x with values where an index names elements along an axis; off it the index may be smaller than x.

    Where an element is named twice the last value stays, and only it has a derivative.
    """
    flat, index, places, shape = _prepared("put_along", x, index, axis)
    return shaped(scatter(flat, places, _fitted(values, index, flat.dtype), axis=0), shape)


@composite(
    name="add_along",
    samples=only("fi", _along_samples),
    reference=_along_reference(lambda old, new: old + new),
)
def add_along(x: Any, index: Any, values: Any, axis: int) -> Any:
    """x with values added where an index names elements along an axis, one after the other."""
    flat, index, places, shape = _prepared("add_along", x, index, axis)
    return shaped(add_at(flat, places, _fitted(values, index, flat.dtype), axis=0), shape)


# Extremes of what an index brings together ------------------------------------------------------------


def _extremes(x: Any, index: Any, values: Any, *, largest: bool) -> Array:
    out = np.array(x, order="C")
    (np.maximum if largest else np.minimum).at(out, np.asarray(index), np.asarray(values))
    return out


_extreme_at = primitive(
    "extreme_at",
    "call",
    _extremes,
    lambda x, index, values, *, largest: Aval(x.shape, x.dtype),
    None,
    None,
    samples=only(
        "i",
        lambda d: [case(d(5), np.array([1, 4, 1]), d(3), largest=largest) for largest in (True, False)],
    ),
)


def _shared(best: Any, x: Any, places: Any, values: Any) -> Any:
    """`best`, with a derivative that all elements equal to it share, unless it is infinite."""
    chosen = take(best, places, axis=0)
    mine, theirs = equal(x, best) & isfinite(best), equal(values, chosen) & isfinite(chosen)
    count = add_at(as_dtype(mine, x.dtype), places, as_dtype(theirs, x.dtype), axis=0)
    moved = add_at(where(mine, x - best, 0), places, where(theirs, values - chosen, 0), axis=0)
    return best + moved / maximum(count, 1)


def _extreme_along(name: str, x: Any, index: Any, values: Any, axis: int, largest: bool) -> Any:
    flat, index, places, shape = _prepared(name, x, index, axis)
    values = _fitted(values, index, flat.dtype)
    best = stop_gradient(_extreme_at(stop_gradient(flat), places, stop_gradient(values), largest=largest))
    return shaped(_shared(best, flat, places, values), shape)


@composite(
    name="max_along", samples=only("f", _along_samples), reference=_along_reference(lambda a, b: max(a, b))
)
def max_along(x: Any, index: Any, values: Any, axis: int) -> Any:
    """As add_along, but the largest of an element and its values; equal ones share the derivative."""
    return _extreme_along("max_along", x, index, values, axis, True)


@composite(
    name="min_along", samples=only("f", _along_samples), reference=_along_reference(lambda a, b: min(a, b))
)
def min_along(x: Any, index: Any, values: Any, axis: int) -> Any:
    """As add_along, but the smallest of an element and its values; equal ones share the derivative."""
    return _extreme_along("min_along", x, index, values, axis, False)


# Masks and counts -------------------------------------------------------------------------------------


def _masked_reference(x: Any, mask: Any, source: Any) -> Any:
    out, mask = np.array(x), np.broadcast_to(mask, x.shape)
    out[mask] = np.ravel(source)[: int(mask.sum())]
    return out


@composite(
    name="masked_scatter",
    samples=lambda d: [case(d(2, 3), d.mask(2, 3), d(6)), case(d(2, 3), d.mask(3), d(2, 4))],
    reference=_masked_reference,
)
def masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    """x with the elements of source, in order, where the mask holds; source needs enough of them."""
    x, source = as_array(x), as_array(source)
    mask = shaped(broadcast(as_array(mask), x.shape), (size_of(x),))
    order = maximum(cumsum(as_dtype(mask, np.int64)) - 1, 0)
    values = take(shaped(as_dtype(source, x.dtype), (size_of(source),)), order, axis=0)
    return shaped(where(mask, values, shaped(x, (size_of(x),))), x.shape)


def _count_samples(d: Draw) -> list[Sample]:
    known = Static(np.array([1, 0, 3, 1]))
    return [case(known), case(known, d(4)), case(known, minlength=6), case(np.array([1, 1]), d(2), length=3)]


@composite(
    np.bincount,
    samples=_count_samples,
    reference=lambda x, weights=None, minlength=0, length=None: np.bincount(x, weights, length or minlength),
)
def bincount(x: Any, /, weights: Any = None, minlength: int = 0, *, length: int | None = None) -> Any:
    """How often each number from 0 on occurs, or the sum of its weights.

    `length` is the size of the result, needed where x is not known while tracing.
    """
    x = as_array(x)
    if length is None:
        known = concrete(x)
        if known is None:
            raise TypeError("bincount: x decides the shape of the result; pass length= for a traced x")
        length = max(minlength, int(np.max(known, initial=-1)) + 1)
    dtype = np.dtype(np.int64 if weights is None else np.float64)
    values = np.ones(x.shape, dtype) if weights is None else as_dtype(as_array(weights), dtype)
    return add_at(np.zeros(length, dtype), bounded(as_dtype(x, np.int64), size=length), values, axis=0)
