"""NumPy's functions of sequences: differences, running sums and products, sorting, polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops.arrange import flip
from jitgrad.ops.elementwise import not_equal
from jitgrad.ops.indexing import getitem, take_along_axis
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.scans import SCAN_COST, backwards, recurrence, shifted
from jitgrad.ops.shape import broadcast_to, ravel, window
from jitgrad.ops.statistics import accumulator, sum_
from jitgrad.ops.table import composite, linear_op, primitive
from jitgrad.ops.values import as_array, as_dtype, as_operand, axis_of, concatenated, insert_axes, no_out


def _diff_samples(d: Draw) -> list[Sample]:
    forms = [case(d(5)), case(d(5), 2), case(d(2, 4), axis=0), case(d(2, 4), n=0), case(d(2, 4), n=9)]
    return [*forms, case(d(2, 3), prepend=d(2, 1), append=d()), case(d(0, 2), axis=-1)]


@composite(np.diff, samples=_diff_samples)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Differences of neighbours along an axis, n times over."""
    x = as_array(a)
    axis = axis_of(axis, len(x.shape))
    parts = [_border(prepend, x, axis), x, _border(append, x, axis)]
    parts = [p for p in parts if p is not None]
    x = concatenated(parts, axis) if len(parts) > 1 else x
    for _ in range(n):
        size = max(x.shape[axis] - 1, 0)
        later, earlier = window(x, axis, min(1, x.shape[axis]), size), window(x, axis, 0, size)
        x = not_equal(later, earlier) if x.dtype == np.bool_ else later - earlier
    return x


def _border(value: Any, x: Any, axis: int) -> Any:
    if value is None:
        return None
    value = as_array(value)
    return (
        value if value.shape else broadcast_to(value, [1 if i == axis else n for i, n in enumerate(x.shape)])
    )


# Running sums and products ----------------------------------------------------------------------------


def _running_samples(d: Draw) -> list[Sample]:
    return [case(d(5)), case(d(2, 3)), case(d(2, 3), axis=0), case(d(2, 3, 4), axis=1), case(d(0)), case(d())]


def _scan_samples(d: Draw) -> list[Sample]:
    return [case(d(5), axis=0), case(d(2, 3), axis=1), case(d(2, 3, 4), axis=1), case(d(2, 0), axis=1)]


_running_sum: Op = linear_op(
    "cumsum",
    "scan",
    lambda x, *, axis: np.cumsum(x, axis, dtype=np.asarray(x).dtype),
    lambda x, *, axis: Aval(x.shape, x.dtype),
    lambda g, out, x, *, axis: (flip(_running_sum(flip(g, axis), axis=axis), axis),),
    cost=SCAN_COST,
    samples=_scan_samples,
)


def _product_vjp(g: Any, out: Any, x: Any, *, axis: int) -> tuple[Any]:
    return (backwards(x, g, axis) * shifted(out, axis, 1, first=1),)


def _product_jvp(tangents: tuple[Any], out: Any, x: Any, *, axis: int) -> Any:
    return recurrence(x, tangents[0] * shifted(out, axis, 1, first=1), axis=axis)


_running_product: Op = primitive(
    "cumprod",
    "scan",
    lambda x, *, axis: np.cumprod(x, axis, dtype=np.asarray(x).dtype),
    lambda x, *, axis: Aval(x.shape, x.dtype),
    _product_vjp,
    _product_jvp,
    cost=SCAN_COST,
    samples=_scan_samples,
)


def _sequence(a: Any, axis: int | None, dtype: Any) -> tuple[Any, int]:
    x = as_array(a)
    x = as_dtype(x, accumulator(x.dtype) if dtype is None else dtype)
    return (ravel(x), 0) if axis is None else (x, axis_of(axis, len(x.shape)))


@composite(np.cumsum, samples=_running_samples)
def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    """Sums of all elements up to each, added in order."""
    no_out("cumsum", out)
    x, axis = _sequence(a, axis, dtype)
    return _running_sum(x, axis=axis)


def _product_samples(d: Draw) -> list[Sample]:
    return [*_running_samples(d), case(np.array([[2, 0, 3, 1], [0, 2, 0, 3]], d.dtype), axis=1)]


@composite(np.cumprod, samples=_product_samples)
def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    """Products of all elements up to each, multiplied in order; derivatives hold at zeros."""
    no_out("cumprod", out)
    x, axis = _sequence(a, axis, dtype)
    return _running_product(x, axis=axis)


def _area_samples(d: Draw) -> list[Sample]:
    return [case(d(5)), case(d(2, 4), dx=0.5), case(d(4, 2), axis=0), case(d(2, 4), x=d(4)), case(d(4), d(4))]


@composite(np.trapezoid, samples=only("fi", _area_samples))
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The area under straight lines from point to point."""
    y = as_array(y)
    ndim = len(y.shape)
    axis = axis_of(axis, ndim)
    n = max(y.shape[axis] - 1, 0)
    steps: Any = as_operand(dx)
    if x is not None:
        x = as_array(x)
        steps = diff(x, axis=axis if len(x.shape) == ndim else 0)
        steps = insert_axes(steps, tuple(i for i in range(ndim) if i != axis)) if len(x.shape) == 1 else steps
    heights = window(y, axis, min(1, y.shape[axis]), n) + window(y, axis, 0, n)
    return sum_(steps * heights / 2.0, axis)


# Sorting ----------------------------------------------------------------------------------------------


_order = primitive(
    "argsort",
    "call",
    lambda x, *, axis: np.argsort(x, axis, kind="stable"),
    lambda x, *, axis: Aval(x.shape, np.dtype(np.int64)),
    None,
    None,
    samples=lambda d: [case(d(5), axis=0), case(d(2, 3), axis=0), case(d(0, 2), axis=1)],
)


def _sort_samples(d: Draw) -> list[Sample]:
    return [case(d(5)), case(d(2, 3)), case(d(3, 2), axis=0), case(d(2, 3), axis=None), case(d(0))]


@composite(np.argsort, samples=_sort_samples, reference=lambda a, axis=-1: np.argsort(a, axis, kind="stable"))
def argsort(
    a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None
) -> Any:
    """The positions that sort an axis; equal elements keep their order."""
    x = as_array(a)
    x, axis = (ravel(x), 0) if axis is None else (x, axis_of(axis, len(x.shape)))
    return _order(x, axis=axis)


@composite(np.sort, samples=_sort_samples)
def sort(
    a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None
) -> Any:
    """The elements in ascending order along an axis; derivatives follow the elements."""
    x = as_array(a)
    x, axis = (ravel(x), 0) if axis is None else (x, axis_of(axis, len(x.shape)))
    return take_along_axis(x, _order(x, axis=axis), axis)


# Polynomials ------------------------------------------------------------------------------------------


def _polynomial_samples(d: Draw) -> list[Sample]:
    return [case(d(4), d(2, 3)), case([1, 2, 3], d(5)), case(d(3), d()), case([2.0], d(2))]


@composite(np.polyval, samples=only("fi", _polynomial_samples))
def polyval(p: Any, x: Any) -> Any:
    """The polynomial with coefficients p, highest power first, by Horner's rule."""
    coefficients = as_array(p)
    x = as_array(x)
    y = x * 0
    for i in range(coefficients.shape[0]):
        y = y * x + getitem(coefficients, i)
    return y
