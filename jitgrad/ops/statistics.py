"""Sums, means, extremes and their kin, with NumPy's signatures: reductions with arithmetic around them."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.ir import Op
from jitgrad.ops import elementwise, reductions
from jitgrad.ops.elementwise import absolute, maximum, minimum, not_equal, sqrt
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.structure import reduce_axes
from jitgrad.ops.table import OPS, composite
from jitgrad.ops.values import (
    Shape,
    as_array,
    as_dtype,
    axes_of,
    axis_of,
    broadcast,
    insert_axes,
    no_out,
    size_of,
)


def reduced(op: Op, x: Any, axis: Any, keepdims: bool) -> Any:
    """Apply a reduction along the axes that `axis` means."""
    axes = axes_of(axis, len(x.shape))
    y = reduce_axes(op, x, axes)
    return insert_axes(y, axes) if keepdims and axes else y


def _extreme(op: Op, x: Any, axis: Any, keepdims: bool, where: Any) -> Any:
    x = as_array(x)
    out = reduced(op, _masked(op, x, where), axis, keepdims)
    if size_of(out) and not size_of(x):
        raise ValueError(
            f"{op.name}: no element to choose, shape {x.shape} has an axis of size 0; test .size first"
        )
    return out


def _masked(op: Op, x: Any, where: Any) -> Any:
    if where is None or where is True:
        return x
    return elementwise.where(as_array(where), x, reductions.identity(op.name, x.dtype))


def _count(x: Any, axis: Any) -> int:
    count = 1
    for i in axes_of(axis, len(x.shape)):
        count *= x.shape[i]
    return count


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """NumPy's dtype for sums and products: integers are widened to the platform's."""
    wide = {"b": np.int64, "i": np.int64, "u": np.uint64}.get(dtype.kind)
    return np.result_type(dtype, wide) if wide else dtype


_FORMS: tuple[tuple[Shape, dict[str, Any]], ...] = (
    ((2, 3), {}),
    ((), {}),
    ((7,), {}),
    ((2, 3), {"axis": 0}),
    ((2, 3), {"axis": -1}),
    ((2, 3), {"axis": 1, "keepdims": True}),
    ((2, 3), {"axis": None, "keepdims": True}),
    ((2, 3, 4), {"axis": (0, 2)}),
    ((2, 3, 4), {"axis": (-1, 1)}),
    ((2, 3, 4), {"axis": 1}),
    ((2, 3), {"axis": ()}),
    ((3, 70), {"axis": 1}),
    ((70, 3), {"axis": 0}),
)
_EMPTY: tuple[tuple[Shape, dict[str, Any]], ...] = (((0, 3), {"axis": 0}), ((0,), {}))
_NONE_KEPT: tuple[tuple[Shape, dict[str, Any]], ...] = (((0, 3), {"axis": 1}),)


def _extreme_samples(d: Draw) -> list[Sample]:
    return [case(d(*shape), **kwargs) for shape, kwargs in _FORMS + _NONE_KEPT]


def _sum_samples(d: Draw) -> list[Sample]:
    masked = case(d(2, 3), axis=0, where=np.array([True, False, True]))
    return [*_extreme_samples(d), *(case(d(*s), **k) for s, k in _EMPTY), masked, case(d(2, 3), initial=3)]


def _truth_samples(d: Draw) -> list[Sample]:
    return [*_extreme_samples(d), *(case(d(*s), **k) for s, k in _EMPTY)]


def _mean_samples(d: Draw) -> list[Sample]:
    forms = [(s, k) for s, k in _FORMS if k.get("axis") != ()]
    return [case(d(*shape), **kwargs) for shape, kwargs in forms]


def _variance_samples(d: Draw) -> list[Sample]:
    several = [(s, k) for s, k in _FORMS if s and k.get("axis") != ()]
    return [*(case(d(*s), **k) for s, k in several), case(d(5), ddof=1), case(d(2, 3), axis=0, ddof=1)]


def _total(op: Op, x: Any, axis: Any, dtype: Any, keepdims: bool, initial: Any, where: Any) -> Any:
    x = as_array(x)
    x = as_dtype(x, accumulator(x.dtype) if dtype is None else dtype)
    return reduced(op, _masked(op, x, where), axis, keepdims)


@composite(np.sum, samples=_sum_samples)
def sum_(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """Sum along axes; the order of additions is the one that `reductions` states."""
    no_out("sum", out)
    total = _total(OPS["sum"], a, axis, dtype, keepdims, initial, where)
    return total if initial is None else total + initial


def _prod_samples(d: Draw) -> list[Sample]:
    with_zeros = np.array([[2, 0, 3, 1], [0, 2, 0, 3], [0, 0, 0, 2]], d.dtype)
    return [*_sum_samples(d), case(with_zeros, axis=1), case(with_zeros.T.copy(), axis=0)]


@composite(np.prod, samples=_prod_samples)
def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """Multiply along axes; first and second derivatives are right at zeros too."""
    no_out("prod", out)
    total = _total(OPS["prod"], a, axis, dtype, keepdims, initial, where)
    return total if initial is None else total * initial


_NAN_WINS = (([1.0, np.nan, 3.0],), ([0.0, 1.0, 0.0],))
_TIED = ((([1.0, 3.0, 3.0],), ([0.0, 0.5, 0.5],)), _NAN_WINS)


@composite(np.max, also=(np.amax,), samples=_extreme_samples, kinks=_TIED)
def max_(
    a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Any:
    """The largest element along axes, NaN if one is NaN; equal winners share the derivative."""
    no_out("max", out)
    top = _extreme(OPS["max"], a, axis, keepdims, where)
    return top if initial is None else maximum(top, initial)


@composite(
    np.min,
    also=(np.amin,),
    samples=_extreme_samples,
    kinks=((([3.0, 1.0, 1.0],), ([0.0, 0.5, 0.5],)), _NAN_WINS),
)
def min_(
    a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Any:
    """The smallest element along axes, NaN if one is NaN; equal winners share the derivative."""
    no_out("min", out)
    low = _extreme(OPS["min"], a, axis, keepdims, where)
    return low if initial is None else minimum(low, initial)


def _truth(op: Op, a: Any, axis: Any, keepdims: bool, where: Any) -> Any:
    a = as_array(a)
    return reduced(op, _masked(op, a if a.dtype == np.bool_ else not_equal(a, 0), where), axis, keepdims)


@composite(np.any, samples=_truth_samples)
def any_(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, where: Any = None) -> Any:
    no_out("any", out)
    return _truth(OPS["any"], a, axis, keepdims, where)


@composite(np.all, samples=_truth_samples)
def all_(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, where: Any = None) -> Any:
    no_out("all", out)
    return _truth(OPS["all"], a, axis, keepdims, where)


def _averageable(a: Any, dtype: Any) -> Any:
    a = as_array(a)
    return as_dtype(a, dtype or (np.float64 if a.dtype.kind in "iub" else a.dtype))


@composite(np.mean, samples=_mean_samples)
def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """The sum divided by the number of elements, in float64 for integers."""
    no_out("mean", out)
    a = _averageable(a, dtype)
    return reduced(OPS["sum"], a, axis, keepdims) / _count(a, axis)


@composite(np.var, samples=_variance_samples)
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """The mean square of the centred values, over n - ddof."""
    no_out("var", out)
    a = _averageable(a, dtype)
    centred = a - reductions.spread(mean(a, axis), a, axes_of(axis, len(a.shape)))
    if a.dtype.kind == "c":
        centred = absolute(centred)
    free = max(_count(a, axis) - (ddof if correction is None else correction), 0)
    return reduced(OPS["sum"], centred * centred, axis, keepdims) / free


@composite(np.std, samples=_variance_samples)
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """The square root of the variance; its derivative is NaN where the variance is 0."""
    return sqrt(var(a, axis, dtype, out, ddof, keepdims, correction=correction))


def _position(op: Op, a: Any, axis: Any, keepdims: bool) -> Any:
    a = as_array(a)
    ndim = len(a.shape)
    if axis is None:
        flat = op(OPS["reshape"](a, shape=(size_of(a),)), axis=0)
        return insert_axes(flat, tuple(range(ndim))) if keepdims and ndim else flat
    axis = axis_of(axis, ndim)
    found = op(a, axis=axis)
    return insert_axes(found, (axis,)) if keepdims else found


def _position_samples(d: Draw) -> list[Sample]:
    forms: list[dict[str, Any]] = [{}, {"axis": 0}, {"axis": -1}, {"axis": 1, "keepdims": True}]
    return [case(d(2, 3), **k) for k in forms] + [case(d(5)), case(d()), case(d(2, 3, 4), axis=1)]


@composite(np.argmax, samples=_position_samples)
def argmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Any:
    """The position of the first largest element (or first NaN)."""
    no_out("argmax", out)
    return _position(OPS["argmax"], a, axis, keepdims)


@composite(np.argmin, samples=_position_samples)
def argmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Any:
    """The position of the first smallest element (or first NaN)."""
    no_out("argmin", out)
    return _position(OPS["argmin"], a, axis, keepdims)


@composite(np.ptp, samples=only("fi", _extreme_samples))
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """Largest minus smallest."""
    no_out("ptp", out)
    return max_(a, axis, keepdims=keepdims) - min_(a, axis, keepdims=keepdims)


@composite(np.count_nonzero, samples=_truth_samples)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    a = as_array(a)
    return sum_(not_equal(a, 0), axis, keepdims=keepdims)


def _average_samples(d: Draw) -> list[Sample]:
    positive = d(3, low=1, high=2)
    weighted = [case(d(2, 3), axis=1, weights=positive), case(d(3), weights=positive)]
    return [case(d(2, 3)), case(d(2, 3), axis=0), *weighted, case(d(2, 3), weights=d(2, 3, low=1, high=2))]


@composite(np.average, samples=only("fi", _average_samples))
def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False
) -> Any:
    """The mean, weighted where weights are given."""
    a = as_array(a)
    if weights is None:
        weights = np.ones((), np.float64 if a.dtype.kind in "iub" else a.dtype)
    weights = as_array(weights)
    if axis is not None and weights.shape and weights.shape != a.shape:
        place = axis_of(axis, len(a.shape))
        weights = insert_axes(weights, tuple(i for i in range(len(a.shape)) if i != place))
    weights = broadcast(weights, a.shape)
    scale = sum_(weights, axis, keepdims=keepdims)
    result = sum_(a * weights, axis, keepdims=keepdims) / scale
    return (result, scale) if returned else result
