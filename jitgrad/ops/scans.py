"""Running values along an axis: linear recurrences, largest and smallest so far, logarithms of sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops.arrange import flip
from jitgrad.ops.elementwise import exp
from jitgrad.ops.indexing import take_along_axis
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.shape import window
from jitgrad.ops.structure import place, update
from jitgrad.ops.table import composite, primitive, zeros_like
from jitgrad.ops.values import as_array, as_dtype, axis_of

Array = np.ndarray[Any, Any]

# Element i of a scan from the one before it and element i of each operand; the first is the last operand's.
STEPS: dict[str, Callable[..., Any]] = {
    "cumsum": lambda total, x: total + x,
    "cumprod": lambda total, x: total * x,
    "recurrence": lambda total, a, b: b + a * total,
}
SCAN_COST = 32  # of an element, which waits for the one before it

# Linear recurrences -----------------------------------------------------------------------------------


def _recurred(a: Any, b: Any, *, axis: int) -> Array:
    b = np.asarray(b)
    out = np.array(b, order="C")
    factors, totals = np.moveaxis(np.asarray(a), axis, 0), np.moveaxis(out, axis, 0)
    for i in range(1, b.shape[axis]):
        totals[i] += factors[i] * totals[i - 1]
    return out


def shifted(x: Any, axis: int, by: int, first: int = 0) -> Any:
    """x moved along an axis by one place, 1 or -1, with `first` where nothing comes from."""
    n = x.shape[axis]
    size = max(n - 1, 0)
    kept = window(x, axis, 0 if by > 0 else min(1, n), size)
    start = tuple(min(1, n) if i == axis and by > 0 else 0 for i in range(len(x.shape)))
    step = (1,) * len(x.shape)
    if not first:
        return place(kept, shape=x.shape, start=start, step=step)
    return update(zeros_like(x) + first, kept, start=start, step=step)


def backwards(a: Any, g: Any, axis: int) -> Any:
    """The sums s[i] = g[i] + a[i + 1] * s[i + 1]."""
    return flip(recurrence(flip(shifted(a, axis, -1), axis), flip(g, axis), axis=axis), axis)


def _recurrence_vjp(g: Any, out: Any, a: Any, b: Any, *, axis: int) -> tuple[Any, Any]:
    back = backwards(a, g, axis)
    return back * shifted(out, axis, 1), back


def _recurrence_jvp(tangents: tuple[Any, Any], out: Any, a: Any, b: Any, *, axis: int) -> Any:
    da, db = (zeros_like(y) if t is None else t for t, y in zip(tangents, (a, b), strict=True))
    return recurrence(a, db + da * shifted(out, axis, 1), axis=axis)


recurrence: Op = primitive(
    "recurrence",
    "scan",
    _recurred,
    lambda a, b, *, axis: Aval(b.shape, b.dtype),
    _recurrence_vjp,
    _recurrence_jvp,
    cost=2 * SCAN_COST,
    samples=only(
        "f",
        lambda d: [
            case(d(5), d(5), axis=0),
            case(d(2, 3), d(2, 3), axis=1),
            case(d(2, 3, 4), d(2, 3, 4), axis=1),
            case(d(1), d(1), axis=0),
            case(d(2, 0), d(2, 0), axis=1),
        ],
    ),
)

# Logarithms of running sums ---------------------------------------------------------------------------


def _carried(out: Any, axis: int) -> Any:
    """How much of each result the next one keeps, between 0 and 1."""
    return exp(shifted(out, axis, 1) - out)


def _logcumsumexp_vjp(g: Any, out: Any, x: Any, *, axis: int) -> tuple[Any]:
    return (exp(x - out) * backwards(_carried(out, axis), g, axis),)


def _logcumsumexp_jvp(tangents: tuple[Any], out: Any, x: Any, *, axis: int) -> Any:
    return recurrence(_carried(out, axis), exp(x - out) * tangents[0], axis=axis)


_logcumsumexp: Op = primitive(
    "logcumsumexp",
    "call",
    lambda x, *, axis: np.logaddexp.accumulate(x, axis),
    lambda x, *, axis: Aval(x.shape, x.dtype),
    _logcumsumexp_vjp,
    _logcumsumexp_jvp,
    cost=30,
    samples=only(
        "f", lambda d: [case(d(5), axis=0), case(d(2, 3, 4), axis=1), case(d(2, 3, low=-90, high=90), axis=1)]
    ),
    reference=lambda x, *, axis: _logcumsumexp_reference(x, axis),
    undefined="where the sum is 0 the derivative is NaN",
)


def _logcumsumexp_reference(x: Any, axis: int = -1) -> Any:
    return np.log(np.cumsum(np.exp(np.asarray(x, np.longdouble)), axis)).astype(np.float64)


def _running_samples(d: Draw) -> list[Sample]:
    return [case(d(5)), case(d(2, 3), axis=0), case(d(2, 3, 4), axis=1), case(d(2, 0))]


@composite(
    name="logcumsumexp",
    samples=only("fi", _running_samples),
    reference=_logcumsumexp_reference,
    kinks=((([-np.inf, 1.0],), ([np.nan, 1.0],)),),
)
def logcumsumexp(x: Any, axis: int = -1) -> Any:
    """log(cumsum(exp(x))) along an axis, without overflow."""
    x = as_array(x)
    x = x if x.dtype.kind == "f" else as_dtype(x, np.float64)
    return _logcumsumexp(x, axis=axis_of(axis, len(x.shape))) if x.shape else x


# Largest and smallest so far --------------------------------------------------------------------------


def _extreme_index(x: Any, *, axis: int, largest: bool) -> Array:
    x = np.asarray(x)
    extremes = (np.maximum if largest else np.minimum).accumulate(x, axis)
    places = np.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    return np.maximum.accumulate(np.where((x == extremes) | (x != x), places, 0), axis)


_cumulative_index = primitive(
    "cumulative_index",
    "call",
    _extreme_index,
    lambda x, *, axis, largest: Aval(x.shape, np.dtype(np.int64)),
    None,
    None,
    samples=lambda d: [
        case(d(9), axis=0, largest=True),
        case(d(2, 5, 2), axis=1, largest=False),
        case(d(2, 0), axis=1, largest=True),
    ],
)


def _cumulative(x: Any, axis: int, largest: bool) -> tuple[Any, Any]:
    x = as_array(x)
    if not x.shape:
        return x, as_dtype(as_array(0), np.int64)
    axis = axis_of(axis, len(x.shape))
    index = _cumulative_index(x, axis=axis, largest=largest)
    return take_along_axis(x, index, axis), index


def _reference(x: Any, axis: int, largest: bool) -> tuple[Any, Any]:
    """One vector at a time, one element at a time."""

    def scan(v: Any) -> Any:
        best, found = 0, []
        for i in range(len(v)):
            better = v[i] >= v[best] if largest else v[i] <= v[best]
            best = i if better or v[i] != v[i] else best
            found.append(best)
        return np.array(found, np.int64)

    index = np.apply_along_axis(scan, axis, x) if x.size else np.zeros(x.shape, np.int64)
    return np.take_along_axis(x, index, axis), index


def _cumulative_samples(d: Draw) -> list[Sample]:
    ties = np.array([1, 0, 1, 1, 0], d.dtype)
    return [*_running_samples(d), Sample((ties,), {})] if d.dtype.kind != "f" else _running_samples(d)


@composite(
    name="cummax",
    samples=_cumulative_samples,
    reference=lambda x, axis=-1: _reference(x, axis, True),
)
def cummax(x: Any, axis: int = -1) -> tuple[Any, Any]:
    """The largest element so far along an axis, and its position; of equal ones the last, NaN before all."""
    return _cumulative(x, axis, True)


@composite(
    name="cummin",
    samples=_cumulative_samples,
    reference=lambda x, axis=-1: _reference(x, axis, False),
)
def cummin(x: Any, axis: int = -1) -> tuple[Any, Any]:
    """The smallest element so far along an axis, and its position; of equal ones the last, NaN before all."""
    return _cumulative(x, axis, False)
