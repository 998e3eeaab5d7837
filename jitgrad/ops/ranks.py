"""Order statistics: medians, quantiles, modes, the k-th and the largest elements, ranks of values."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from jitgrad.ir import Aval
from jitgrad.ops.arrange import flip
from jitgrad.ops.elementwise import ceil, equal, floor, isnan, maximum, not_equal, rint, stop_gradient, where
from jitgrad.ops.indexing import take_along_axis
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.sequences import argsort
from jitgrad.ops.shape import moveaxis, permuted, shaped, window
from jitgrad.ops.statistics import sum_
from jitgrad.ops.table import composite, primitive
from jitgrad.ops.values import (
    as_array,
    as_dtype,
    axes_of,
    axis_of,
    broadcast,
    insert_axes,
    no_out,
    size_of,
)

Array = np.ndarray[Any, Any]

# Elements by rank -------------------------------------------------------------------------------------


def _with_index(x: Any, index: Any, axis: int, keepdims: bool) -> tuple[Any, Any]:
    """The elements that an index of size 1 along the axis names, and the index."""
    values = take_along_axis(x, index, axis)
    if keepdims:
        return values, index
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return shaped(values, shape), shaped(index, shape)


def _sort_samples(d: Draw) -> list[Sample]:
    forms = [case(d(5)), case(d(2, 3), axis=0, descending=True), case(d(2, 4), descending=True)]
    ties = np.array([1, 0, 1, 0], d.dtype)
    return forms if d.dtype.kind == "f" else [*forms, case(ties, descending=True), case(ties)]


def _sort_reference(x: Any, axis: int = -1, descending: bool = False) -> tuple[Any, Any]:
    keys = -x.astype(np.float64) if descending else x
    index = np.argsort(keys, axis, kind="stable")
    return np.take_along_axis(x, index, axis), index


@composite(name="sort_with_index", samples=_sort_samples, reference=_sort_reference)
def sort_with_index(x: Any, axis: int = -1, descending: bool = False) -> tuple[Any, Any]:
    """The elements in order along an axis, and their positions; equal ones keep theirs, NaN is largest."""
    x = as_array(x)
    axis = axis_of(axis, len(x.shape))
    index = argsort(x, axis)
    if descending:
        index = x.shape[axis] - 1 - flip(argsort(flip(x, axis), axis), axis)
    return take_along_axis(x, index, axis), index


def _top_reference(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Any, Any]:
    values, index = _sort_reference(x, axis, largest)
    return np.take(values, range(k), axis), np.take(index, range(k), axis)


@composite(
    name="topk",
    samples=lambda d: [case(d(5), 2), case(d(4, 3), 3, axis=0, largest=False), case(d(3), 0)],
    reference=_top_reference,
)
def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Any, Any]:
    """The k largest (or smallest) elements along an axis in order, and their positions."""
    x = as_array(x)
    axis = axis_of(axis, len(x.shape))
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"topk: k = {k} is not within 0 and the axis size {x.shape[axis]}")
    index = window(sort_with_index(x, axis, largest)[1], axis, 0, k)
    return take_along_axis(x, index, axis), index


@composite(
    name="kthvalue",
    samples=lambda d: [case(d(5), 2), case(d(4, 3), 4, axis=0), case(d(2, 3), 1, keepdims=True)],
    reference=lambda x, k, axis=-1, keepdims=False: tuple(
        (np.expand_dims if keepdims else lambda y, _: y)(np.take(y, k - 1, axis), axis)
        for y in _sort_reference(x, axis)
    ),
)
def kthvalue(x: Any, k: int, axis: int = -1, keepdims: bool = False) -> tuple[Any, Any]:
    """The k-th smallest element along an axis, k from 1 on, and its position."""
    x = as_array(x)
    axis = axis_of(axis, len(x.shape))
    if not 1 <= k <= x.shape[axis]:
        raise ValueError(f"kthvalue: k = {k} is not within 1 and the axis size {x.shape[axis]}")
    return _with_index(x, window(argsort(x, axis), axis, k - 1, 1), axis, keepdims)


def _mode_index(x: Any, *, axis: int) -> Array:
    x = np.asarray(x)
    order = np.argsort(x, axis, kind="stable")
    ranked = np.moveaxis(np.take_along_axis(x, order, axis), axis, -1)
    places = np.arange(ranked.shape[-1])
    begins = np.ones(ranked.shape, bool)
    begins[..., 1:] = ranked[..., 1:] != ranked[..., :-1]
    lengths = places - np.maximum.accumulate(np.where(begins, places, 0), -1)
    longest = np.argmax(lengths, -1)[..., None]
    return np.moveaxis(np.take_along_axis(np.moveaxis(order, axis, -1), longest, -1), -1, axis)


_most_frequent = primitive(
    "mode_index",
    "call",
    _mode_index,
    lambda x, *, axis: Aval((*x.shape[:axis], 1, *x.shape[axis + 1 :]), np.dtype(np.int64)),
    None,
    None,
    samples=lambda d: [case(d(9), axis=0), case(d(2, 7, 3), axis=1)],
)


def _mode_reference(x: Any, axis: int = -1, keepdims: bool = False) -> tuple[Any, Any]:
    def last_of_most_frequent(v: Any) -> int:
        numbers, counts = np.unique(v, return_counts=True)
        return int(np.nonzero(v == numbers[np.argmax(counts)])[0][-1])

    index = np.expand_dims(np.apply_along_axis(last_of_most_frequent, axis, x), axis)
    values = np.take_along_axis(x, index, axis)
    return (values, index) if keepdims else (np.squeeze(values, axis), np.squeeze(index, axis))


@composite(
    name="mode",
    samples=lambda d: [case(d(9)), case(d(7, 2), axis=0), case(d(2, 7), keepdims=True)],
    reference=_mode_reference,
)
def mode(x: Any, axis: int = -1, keepdims: bool = False) -> tuple[Any, Any]:
    """The smallest of the most frequent elements along an axis, and its last position."""
    x = as_array(x)
    axis = axis_of(axis, len(x.shape))
    return _with_index(x, _most_frequent(x, axis=axis), axis, keepdims)


# Medians and quantiles --------------------------------------------------------------------------------


def _ranked(x: Any, axis: Any) -> Any:
    """x in ascending order along one last axis that holds all the axes meant."""
    axes = axes_of(axis, len(x.shape))
    kept = [i for i in range(len(x.shape)) if i not in axes]
    rows = permuted(x, (*kept, *axes))
    rows = shaped(rows, (*(x.shape[i] for i in kept), math.prod(x.shape[i] for i in axes)))
    return take_along_axis(rows, argsort(rows, -1), -1)


_CHOICES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "lower": lambda low, high, share: low,
    "higher": lambda low, high, share: high,
    "midpoint": lambda low, high, share: (low + high) * 0.5,
    "nearest": lambda low, high, share: low,
    "linear": lambda low, high, share: where(
        share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share)
    ),
}


def _at_share(ranked: Any, q: Any, last: Any, method: str) -> Any:
    """The elements at q of the way to the last rank, which each row may have its own of."""
    if method not in _CHOICES:
        raise ValueError(f"quantile: method {method!r} is not one of {', '.join(_CHOICES)}")
    rank = maximum(q * last, 0)
    rank = rint(rank) if method == "nearest" else rank
    below, above = floor(rank), ceil(rank)
    lead = ranked.shape[:-1]
    places = [broadcast(as_dtype(r, np.int64), (*lead, r.shape[-1])) for r in (below, above)]
    low, high = (take_along_axis(ranked, p, -1) for p in places)
    return _CHOICES[method](low, high, rank - below)


def _quantiles(a: Any, q: Any, axis: Any, method: str, keepdims: bool, skip_nan: bool) -> Any:
    """q goes first in the result's shape; NaN counts as the largest number, and one spoils its row."""
    x = as_array(a)
    x = x if x.dtype.kind == "f" else as_dtype(x, np.float64)
    axes = axes_of(axis, len(x.shape))
    q = as_dtype(as_array(q), x.dtype) if isinstance(q, (int, float)) else as_array(q)
    dtype = np.result_type(x.dtype, q.dtype)
    ranked = _ranked(x, axes)
    if not ranked.shape[-1]:
        raise ValueError(f"quantile: no element to choose, shape {x.shape} has an axis of size 0")
    last: Any = dtype.type(ranked.shape[-1] - 1)
    if skip_nan:
        last = last - as_dtype(sum_(not_equal(ranked, ranked), -1, keepdims=True), dtype)
    out = _at_share(ranked, as_dtype(shaped(q, (size_of(q),)), dtype), last, method)
    if not skip_nan:
        top = window(ranked, len(ranked.shape) - 1, ranked.shape[-1] - 1, 1)
        out = where(isnan(top), top, out)
    out = shaped(moveaxis(out, -1, 0), (*q.shape, *ranked.shape[:-1]))
    return insert_axes(out, tuple(len(q.shape) + i for i in axes)) if keepdims else out


def _median_samples(d: Draw) -> list[Sample]:
    forms = [case(d(5)), case(d(4)), case(d(2, 3)), case(d(4, 3), axis=0), case(d(2, 3, 4), axis=(0, 2))]
    return [*forms, case(d(3, 4), axis=1, keepdims=True)]


_HOLED = ((([3.0, np.nan, 1.0, 2.0],), ([0.0, 0.0, 0.0, 1.0],)),)


@composite(
    np.median, samples=only("fi", _median_samples), kinks=((([3.0, np.nan, 1.0],), ([0.0, 1.0, 0.0],)),)
)
def median(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False
) -> Any:
    """The middle element along axes, or the mean of the two in the middle; NaN if one is NaN."""
    no_out("median", out)
    return _quantiles(a, 0.5, axis, "linear", keepdims, skip_nan=False)


@composite(np.nanmedian, samples=only("fi", _median_samples), kinks=_HOLED)
def nanmedian(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False
) -> Any:
    """The median of the elements that are not NaN."""
    no_out("nanmedian", out)
    return _quantiles(a, 0.5, axis, "linear", keepdims, skip_nan=True)


def _quantile_samples(d: Draw, scale: float = 1) -> list[Sample]:
    several = np.array([0.1, 0.5, 0.9]) * scale
    methods = [case(d(6), 0.3 * scale, method=m) for m in _CHOICES]
    return [
        *methods,
        case(d(5), 0.5 * scale),
        case(d(3, 4), several.tolist(), axis=1),
        case(d(3, 4), 0.75 * scale, axis=0, keepdims=True),
        case(d(5), 1.0 * scale),
    ]


def _declare_quantile(numpy: Any, scale: float, skip_nan: bool) -> Any:
    @composite(numpy, samples=only("f", partial(_quantile_samples, scale=scale)))
    def quantile(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: bool = False,
    ) -> Any:
        """The element at a share q of the way through the sorted elements, between two by `method`."""
        no_out(numpy.__name__, out)
        share = q if scale == 1 else (q if isinstance(q, (int, float)) else as_array(q)) / scale
        return _quantiles(a, share, axis, method, keepdims, skip_nan)

    return quantile


quantile = _declare_quantile(np.quantile, 1, skip_nan=False)
percentile = _declare_quantile(np.percentile, 100, skip_nan=False)
nanquantile = _declare_quantile(np.nanquantile, 1, skip_nan=True)
nanpercentile = _declare_quantile(np.nanpercentile, 100, skip_nan=True)


def _lower_reference(x: Any, axis: int = -1, keepdims: bool = False, skip_nan: bool = False) -> Any:
    def position(v: Any) -> int:
        order, holes = np.argsort(v, kind="stable"), int(np.isnan(v).sum())
        if holes and not skip_nan:
            return int(order[len(v) - holes])
        return int(order[max(len(v) - holes - 1, 0) // 2])

    index = np.expand_dims(np.apply_along_axis(position, axis, x), axis)
    values = np.take_along_axis(x, index, axis)
    return (values, index) if keepdims else (np.squeeze(values, axis), np.squeeze(index, axis))


def _lower_samples(d: Draw) -> list[Sample]:
    forms = [case(d(5)), case(d(4)), case(d(4, 3), axis=0), case(d(3, 4), keepdims=True)]
    return [*forms, case(d(2, 5), skip_nan=True)]


@composite(
    name="lower_median",
    samples=only("fi", _lower_samples),
    reference=_lower_reference,
)
def lower_median(x: Any, axis: int = -1, keepdims: bool = False, skip_nan: bool = False) -> tuple[Any, Any]:
    """The middle element along an axis, the lower one of two, and its position.

    The first NaN wins, unless NaN is skipped.
    """
    x = as_array(x)
    axis = axis_of(axis, len(x.shape))
    n = x.shape[axis]
    holes = sum_(not_equal(x, x), axis, keepdims=True)
    rank = maximum(n - 1 - holes, 0) // 2 if skip_nan else where(equal(holes, 0), (n - 1) // 2, n - holes)
    return _with_index(x, take_along_axis(argsort(x, axis), rank, axis), axis, keepdims)


@composite(
    name="median_of_all",
    samples=only("fi", lambda d: [case(d(5)), case(d(2, 3)), case(d())]),
    reference=lambda x, skip_nan=False: np.sort(x, None)[(np.size(x) - 1) // 2],
    kinks=((([1.0, 2.0, 2.0, 3.0],), ([0.0, 0.5, 0.5, 0.0],)),),
)
def median_of_all(x: Any, skip_nan: bool = False) -> Any:
    """The middle element of all, the lower one of two; equal ones share the derivative."""
    x = as_array(x)
    flat = shaped(x, (size_of(x),))
    best = stop_gradient(lower_median(flat, skip_nan=skip_nan)[0])
    same = equal(flat, best) | (not_equal(flat, flat) & not_equal(best, best))
    return best + sum_(where(same, flat - best, 0)) / sum_(as_dtype(same, x.dtype))


# Where a value belongs --------------------------------------------------------------------------------


def _searched(a: Any, v: Any, *, side: Any) -> Array:
    a, v = np.asarray(a), np.asarray(v)
    if a.ndim == 1:
        return np.asarray(np.searchsorted(a, v, side))
    rows = zip(a.reshape(-1, a.shape[-1]), v.reshape(-1, v.shape[-1]), strict=True)
    return np.array([np.searchsorted(x, y, side) for x, y in rows], np.int64).reshape(v.shape)


def _search_samples(d: Draw) -> list[Sample]:
    ranked = np.sort(d(6))
    rows = np.sort(d(2, 4), -1)
    return [
        case(ranked, d(2, 3)),
        case(ranked, d(5), side="right"),
        case(ranked, ranked.copy()),
        case(rows, d(2, 3)),
        case(ranked, d()),
    ]


_searchsorted = primitive(
    "searchsorted",
    "call",
    _searched,
    lambda a, v, *, side: Aval(v.shape, np.dtype(np.int64)),
    None,
    None,
    samples=lambda d: [
        case(np.sort(d(6)), d(2, 3), side="left"),
        case(np.sort(d(2, 4)), d(2, 3), side="right"),
    ],
)


@composite(
    np.searchsorted,
    samples=_search_samples,
    reference=lambda a, v, side="left": _searched(a, v, side=side),
)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """Where values belong in a sorted vector, or each row of them in its own sorted row."""
    a, v = as_array(a), as_array(v)
    a = a if sorter is None else take_along_axis(a, sorter, -1)
    if len(a.shape) > 1 and a.shape[:-1] != v.shape[:-1]:
        raise ValueError(f"searchsorted: rows {a.shape} and values {v.shape} differ in their leading axes")
    return _searchsorted(a, v, side=side)
