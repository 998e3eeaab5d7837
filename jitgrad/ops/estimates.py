"""What samples tell: statistics that skip NaN, covariances, slopes between points, histograms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.ir import Aval
from jitgrad.ops.algebra import matmul
from jitgrad.ops.arrange import diagonal
from jitgrad.ops.elementwise import equal, isnan, sqrt, where
from jitgrad.ops.linear import swap_last
from jitgrad.ops.pointwise import clip, conjugate
from jitgrad.ops.reductions import spread
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.sequences import diff
from jitgrad.ops.shape import concatenate, shaped, window
from jitgrad.ops.statistics import max_, min_, prod, sum_
from jitgrad.ops.table import composite, primitive
from jitgrad.ops.values import as_array, as_dtype, axes_of, axis_of, insert_axes

Array = np.ndarray[Any, Any]

# Statistics that skip NaN -----------------------------------------------------------------------------


def _holed_samples(d: Draw) -> list[Sample]:
    """Whole arrays, and one with NaN, where differences and derivatives are 0."""
    forms = [
        case(d(5)),
        case(d(2, 3), axis=0),
        case(d(2, 3, 4), axis=(0, 2)),
        case(d(3, 4), axis=1, keepdims=True),
    ]
    holed = d(3, 4)
    if d.dtype.kind == "f":
        holed[[0, 2], [1, 3]] = np.nan
    return [*forms, case(holed, axis=0)]


def _deviation_samples(d: Draw) -> list[Sample]:
    return [*_holed_samples(d), case(d(3, 4), axis=0, ddof=1)]


def _filled(x: Any, value: Any) -> Any:
    """x with a number in place of NaN."""
    x = as_array(x)
    return where(isnan(x), x.dtype.type(value), x) if x.dtype.kind == "f" else x


def _numbers(x: Any, axis: Any, keepdims: bool) -> Any:
    """How many elements along axes are not NaN."""
    return sum_(equal(x, x), axis, keepdims=keepdims)


def _floating(x: Any, dtype: Any = None) -> Any:
    x = as_array(x)
    return as_dtype(x, dtype or (np.float64 if x.dtype.kind in "iub" else x.dtype))


@composite(np.nansum, samples=only("fi", _holed_samples))
def nansum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """Sum along axes, NaN counting as 0."""
    return sum_(_filled(a, 0), axis, dtype, out, keepdims)


@composite(np.nanprod, samples=only("fi", _holed_samples))
def nanprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """Multiply along axes, NaN counting as 1."""
    return prod(_filled(a, 1), axis, dtype, out, keepdims)


@composite(np.nanmean, samples=only("fi", _holed_samples))
def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """The mean of the elements that are not NaN."""
    x = _floating(a, dtype)
    return nansum(x, axis, None, out, keepdims) / as_dtype(_numbers(x, axis, keepdims), x.dtype)


@composite(np.nanvar, samples=only("fi", _deviation_samples))
def nanvar(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False
) -> Any:
    """The mean square of the centred elements that are not NaN, over their number less ddof."""
    x = _floating(a, dtype)
    centred = _filled(x - spread(nanmean(x, axis), x, axes_of(axis, len(x.shape))), 0)
    return sum_(centred * centred, axis, None, out, keepdims) / (
        as_dtype(_numbers(x, axis, keepdims), x.dtype) - ddof
    )


@composite(np.nanstd, samples=only("fi", _deviation_samples))
def nanstd(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False
) -> Any:
    """The square root of nanvar."""
    return sqrt(nanvar(a, axis, dtype, out, ddof, keepdims))


def _nan_extreme(a: Any, axis: Any, out: Any, keepdims: bool, largest: bool) -> Any:
    x = as_array(a)
    best = (max_ if largest else min_)(_filled(x, -math.inf if largest else math.inf), axis, out, keepdims)
    if x.dtype.kind != "f":
        return best
    return where(equal(_numbers(x, axis, keepdims), 0), x.dtype.type(math.nan), best)


@composite(np.nanmax, samples=only("fi", _holed_samples))
def nanmax(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """The largest element that is not NaN; equal winners share the derivative."""
    return _nan_extreme(a, axis, out, keepdims, largest=True)


@composite(np.nanmin, samples=only("fi", _holed_samples))
def nanmin(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    """The smallest element that is not NaN; equal winners share the derivative."""
    return _nan_extreme(a, axis, out, keepdims, largest=False)


# Covariance -------------------------------------------------------------------------------------------


def _covariance_samples(d: Draw) -> list[Sample]:
    forms = [case(d(3, 5)), case(d(5)), case(d(5, 3), rowvar=False), case(d(2, 5), d(1, 5))]
    weights = d(5, low=1, high=2)
    return [*forms, case(d(2, 5), bias=True), case(d(2, 5), aweights=weights), case(d(5), d(5), ddof=0)]


def _rows(m: Any, rowvar: bool) -> Any:
    """Observations as a matrix with one variable in each row."""
    x = _floating(m)
    if len(x.shape) > 2:
        raise ValueError(f"cov: needs at most two axes, got shape {x.shape}")
    if len(x.shape) < 2:
        return shaped(x, (1, math.prod(x.shape)))
    return x if rowvar or x.shape[0] == 1 else swap_last(x)


def _weights(x: Any, fweights: Any, aweights: Any) -> Any:
    given = [as_dtype(as_array(w), x.dtype) for w in (fweights, aweights) if w is not None]
    return math.prod(given[1:], start=given[0]) if given else None


@composite(np.cov, samples=only("fi", _covariance_samples))
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    """The covariances of variables, one in each row; fweights count observations, aweights weigh them."""
    x = _rows(m, rowvar)
    x = x if y is None else concatenate([x, _rows(y, rowvar)], 0)
    x = as_dtype(x, np.result_type(x.dtype, np.float64) if dtype is None else dtype)
    less = (0 if bias else 1) if ddof is None else ddof
    weights = _weights(x, fweights, aweights)
    if weights is None:
        total: Any = x.dtype.type(x.shape[1])
        centred = x - sum_(x, 1, keepdims=True) / total
        scaled, free = centred, total - x.dtype.type(less)
    else:
        total = sum_(weights)
        centred = x - sum_(x * weights, 1, keepdims=True) / total
        scaled = centred * weights
        share = 1 if aweights is None else sum_(weights * as_dtype(as_array(aweights), x.dtype)) / total
        free = total - less * share
    found = matmul(centred, conjugate(swap_last(scaled))) / free
    return shaped(found, ()) if found.shape == (1, 1) else found


def _correlation_samples(d: Draw) -> list[Sample]:
    return [case(d(3, 5)), case(d(5, 3), rowvar=False), case(d(2, 5), d(5))]


@composite(np.corrcoef, samples=only("f", _correlation_samples))
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """The correlations of variables, one in each row, clipped to [-1, 1]."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.shape:
        return c / c
    deviation = sqrt(diagonal(c))
    return clip(c / insert_axes(deviation, (1,)) / insert_axes(deviation, (0,)), -1, 1)


# Slopes -----------------------------------------------------------------------------------------------


def _gradient_samples(d: Draw) -> list[Sample]:
    places = np.array([0.0, 1.0, 1.5, 3.5, 4.0]).astype(d.dtype if d.dtype.kind == "f" else float)
    forms = [case(d(5)), case(d(5), 0.5), case(d(3, 4), axis=1), case(d(5), edge_order=2)]
    return [*forms, case(d(5), places), case(d(2, 5), places, axis=1, edge_order=2), case(d(3, 4), 2.0, 0.5)]


def _edge(f: Any, axis: int, h: Any, k: Any, places: tuple[int, ...]) -> Any:
    """The slope at an end, whose place comes first, from a line or a parabola through these places."""
    f0, f1, *more = (window(f, axis, place, 1) for place in places)
    if not more:
        return (f1 - f0) / h
    return f1 * ((h + k) / (h * k)) - f0 * ((2 * h + k) / (h * (h + k))) - more[0] * (h / (k * (h + k)))


def _slope(f: Any, axis: int, spacing: Any, order: int) -> Any:
    n, ndim = f.shape[axis], len(f.shape)
    if n <= order:
        raise ValueError(f"gradient: axis {axis} of size {n} needs at least {order + 1} elements")
    steps: Any = spacing
    if spacing.shape:
        if spacing.shape != (n,):
            raise ValueError(f"gradient: {spacing.shape} coordinates for an axis of size {n}")
        steps = insert_axes(diff(spacing), tuple(i for i in range(ndim) if i != axis))

    def step(place: int) -> Any:
        return window(steps, axis, place, 1) if steps.shape else steps

    first = _edge(f, axis, step(0), step(order - 1), tuple(range(order + 1)))
    last = _edge(f, axis, -step(n - 2), -step(n - 1 - order), tuple(range(n - 1, n - 2 - order, -1)))
    before, here, after = (window(f, axis, i, n - 2) for i in range(3))
    if steps.shape:
        h, k = window(steps, axis, 0, n - 2), window(steps, axis, 1, n - 2)
        inner = here * ((k - h) / (h * k)) - before * (k / (h * (h + k))) + after * (h / (k * (h + k)))
    else:
        inner = (after - before) / (2 * steps)
    return concatenate([first, inner, last], axis)


@composite(np.gradient, samples=only("fi", _gradient_samples))
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """The slopes of f along axes, by differences of neighbours; parabolas at the ends for edge_order 2.

    After f come the spacing, or one for each axis: a number or the coordinates.
    """
    f = _floating(f)
    axes = [axis_of(i, len(f.shape)) for i in (range(len(f.shape)) if axis is None else np.atleast_1d(axis))]
    given = varargs or (1,)
    if len(given) not in (1, len(axes)) or edge_order not in (1, 2):
        raise TypeError(f"gradient: {len(given)} spacings for {len(axes)} axes, edge_order {edge_order}")
    spacings = [_spacing(s, f.dtype) for s in (given * len(axes) if len(given) == 1 else given)]
    found = tuple(_slope(f, i, s, edge_order) for i, s in zip(axes, spacings, strict=True))
    return found[0] if len(found) == 1 else found


def _spacing(spacing: Any, dtype: np.dtype[Any]) -> Any:
    return as_dtype(as_array(spacing), dtype) if isinstance(spacing, (int, float)) else as_array(spacing)


# Histograms -------------------------------------------------------------------------------------------


def _histogram(x: Any, *, bins: int, low: float, high: float) -> Array:
    x = np.asarray(x).ravel()
    if low == high and x.size:
        low, high = x.min(), x.max()
    if low == high:
        low, high = low - 1, high + 1
    inside = x[(x >= low) & (x <= high)]
    place = np.minimum(((inside - low) * (bins / (high - low))).astype(np.int64), bins - 1)
    return np.bincount(place, minlength=bins).astype(x.dtype)


_histogram_counts = primitive(
    "histc",
    "call",
    _histogram,
    lambda x, *, bins, low, high: Aval((bins,), x.dtype),
    None,
    None,
    samples=only(
        "i", lambda d: [case(d(9), bins=4, low=-2.0, high=2.0), case(d(3, 2), bins=3, low=0.0, high=0.0)]
    ),
)


@composite(
    name="histc",
    samples=only("i", lambda d: [case(d(20), 5, -3, 3), case(d(20), 4)]),
    reference=lambda x, bins=100, low=0, high=0: np.histogram(
        x, bins, (low, high) if low != high else (x.min(), x.max())
    )[0],
)
def histc(x: Any, bins: int = 100, low: float = 0, high: float = 0) -> Any:
    """How many elements lie in each of equally wide bins, those outside and NaN left out; no derivative.

    Where low equals high, they are the smallest and the largest element.
    """
    return _histogram_counts(as_array(x), bins=bins, low=float(low), high=float(high))
