"""NumPy's elementwise functions that are written with the elementwise ops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.ops import elementwise
from jitgrad.ops.elementwise import (
    absolute,
    equal,
    exp,
    exp2,
    isfinite,
    isnan,
    log1p,
    maximum,
    minimum,
    not_equal,
    power,
    rint,
    sin,
    trunc,
)
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.samples import elementwise as drawn
from jitgrad.ops.structure import cast
from jitgrad.ops.table import composite, map_op, require_fit
from jitgrad.ops.values import as_array, as_dtype, as_operand, promoted

_reals = only("fi", drawn(1, (-2, 2)))
_pairs = only("fi", drawn(2, (-2, 2)))


def _floating(x: Any) -> Any:
    x = as_array(x)
    return as_dtype(x, np.float64) if x.dtype.kind in "iub" else x


# Selection --------------------------------------------------------------------------------------------


def _where_samples(d: Draw) -> list[Sample]:
    return [case(d.mask(2, 3), d(2, 3), d(3)), case(d.mask(), d(2), d()), case(d(3), d(3), d(3))]


@composite(np.where, samples=_where_samples)
def where_(condition: Any, x: Any = None, y: Any = None) -> Any:
    """x where the condition holds, else y; the one not chosen has derivative 0.

    If the one not chosen is infinite or NaN, the derivative of what it is computed from may be NaN: choose
    its argument with a `where` too.
    """
    if x is None or y is None:
        raise TypeError("where: with the condition alone, the result has an unknown shape; pass x and y")
    return elementwise.where(as_operand(condition), as_operand(x), as_operand(y))


def _clip_samples(d: Draw) -> list[Sample]:
    forms = [
        case(d(2, 3), -1, 1),
        case(d(5), None, 1),
        case(d(5), -1, None),
        case(d(), 0, 1),
        case(d(0), 0, 1),
    ]
    return [*forms, case(d(2, 3), d(3, low=-2, high=-1), d(3, low=1, high=2)), case(d(5), min=-1, max=1)]


@composite(np.clip, samples=only("fi", _clip_samples))
def clip(
    a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None
) -> Any:
    """a within bounds; None leaves a side open. At a bound the derivative passes to a."""
    low, high = (min if a_min is None else a_min), (max if a_max is None else a_max)
    x = as_operand(a)
    low, high = _bound(x, low, -1), _bound(x, high, 1)
    if low is not None:
        low = as_operand(low)
        x = elementwise.where(x < low, low, x)
    if high is not None:
        high = as_operand(high)
        x = elementwise.where(x > high, high, x)
    return x


def _bound(x: Any, bound: Any, side: int) -> Any:
    """None for a Python integer that is beyond all that integers of x's dtype can be."""
    dtype = getattr(x, "dtype", None)
    if not isinstance(bound, int) or dtype is None or dtype.kind not in "iu":
        return bound
    limits = np.iinfo(dtype)
    beyond = bound > limits.max if side > 0 else bound < limits.min
    if not beyond:
        require_fit(bound, dtype)
    return None if beyond else bound


@composite(
    np.select, samples=lambda d: [case([d.mask(3), d.mask(3)], [d(3), d(3)], d()), case([d.mask(2)], [d(2)])]
)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    out = as_operand(default)
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        out = elementwise.where(as_operand(condition), as_operand(choice), out)
    return out


def _special(d: Draw) -> list[Sample]:
    return [
        case(np.array([np.nan, np.inf, -np.inf, 1.0], d.dtype), posinf=2.0, neginf=3.0),
        case(d(2, 3)),
        case(d()),
    ]


@composite(np.nan_to_num, samples=only("f", _special))
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """x with numbers in place of NaN and infinities; those have derivative 0."""
    x = as_array(x)
    if x.dtype.kind != "f":
        return x
    limits = np.finfo(x.dtype)
    x = elementwise.where(isnan(x), nan, x)
    x = elementwise.where(equal(x, math.inf), float(limits.max) if posinf is None else posinf, x)
    return elementwise.where(equal(x, -math.inf), float(limits.min) if neginf is None else neginf, x)


@composite(np.fmax, samples=_pairs)
def fmax(x1: Any, x2: Any) -> Any:
    """The larger one, or the one that is not NaN."""
    x, y = as_operand(x1), as_operand(x2)
    return elementwise.where(not_equal(x, x), y, elementwise.where(not_equal(y, y), x, maximum(x, y)))


@composite(np.fmin, samples=_pairs)
def fmin(x1: Any, x2: Any) -> Any:
    """The smaller one, or the one that is not NaN."""
    x, y = as_operand(x1), as_operand(x2)
    return elementwise.where(not_equal(x, x), y, elementwise.where(not_equal(y, y), x, minimum(x, y)))


@composite(np.heaviside, samples=_pairs)
def heaviside(x1: Any, x2: Any) -> Any:
    """0 below zero, 1 above, x2 at zero."""
    x, y = promoted(x1, x2, floating=True)
    step = elementwise.where(x < 0, 0, elementwise.where(x > 0, 1, x * 0 + y))
    return elementwise.where(isnan(x), x, step)


@composite(np.signbit, samples=only("f", drawn(1, (-2, 2))))
def signbit(x: Any) -> Any:
    x = _floating(x)
    return (x < 0) | (equal(x, 0) & (1 / x < 0))


@composite(np.copysign, samples=_pairs)
def copysign(x1: Any, x2: Any) -> Any:
    """The size of x1 with the sign of x2."""
    x, y = promoted(x1, x2, floating=True)
    size = absolute(x)
    return elementwise.where(signbit(y), -size, size)


@composite(np.fabs, samples=_reals)
def fabs(x: Any) -> Any:
    return absolute(_floating(x))


# Rounding ---------------------------------------------------------------------------------------------


def _round_samples(d: Draw) -> list[Sample]:
    return [case(d(2, 3)), case(d(2, 3), 2), case(d(3, low=-90, high=90), -1), case(d())]


@composite(np.round, also=(np.around,), samples=only("f", _round_samples))
def round_(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """Round to the nearest, halves to even, at a number of decimals."""
    x = as_array(a)
    if x.dtype.kind in "iu" and decimals >= 0:
        return x
    if decimals == 0:
        return rint(x)
    scale = 10.0 ** abs(decimals)
    rounded = rint(x * scale) / scale if decimals > 0 else rint(x / scale) * scale
    return as_dtype(rounded, x.dtype)


@composite(np.modf, samples=only("f", drawn(1, (-3, 3))))
def modf(x: Any) -> Any:
    """The fractional and the whole part."""
    x = _floating(x)
    return x - trunc(x), trunc(x)


# Exponentials and angles ------------------------------------------------------------------------------


def _apart(x: Any, y: Any) -> Any:
    """x - y, and 0 where both are the same, infinities too."""
    return elementwise.where(equal(x, y), 0, x - y)


_AT_TIE = ((([1.0, 0.0], [1.0, -np.inf]), ([0.5, 1.0], [0.5, 0.0])),)


@composite(np.logaddexp, samples=_pairs, kinks=_AT_TIE)
def logaddexp(x1: Any, x2: Any) -> Any:
    """log(exp(x1) + exp(x2)) without overflow; where both are equal, second derivatives are 0."""
    x, y = promoted(x1, x2, floating=True)
    return maximum(x, y) + log1p(exp(-absolute(_apart(x, y))))


@composite(np.logaddexp2, samples=_pairs, kinks=_AT_TIE)
def logaddexp2(x1: Any, x2: Any) -> Any:
    """log2(2**x1 + 2**x2) without overflow; where both are equal, second derivatives are 0."""
    x, y = promoted(x1, x2, floating=True)
    return maximum(x, y) + log1p(exp2(-absolute(_apart(x, y)))) * (1 / math.log(2))


@composite(np.sinc, samples=_reals, kinks=((([0.0],), ([0.0],)),))
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), by its series near 0."""
    t = _floating(x) * math.pi
    s = t * t
    near = s < 0.09
    safe = elementwise.where(near, 1, t)
    series = 1.0
    for k in (10, 8, 6, 4, 2):
        series = 1 - s * (1 / (k * (k + 1))) * series
    return elementwise.where(near, series, sin(safe) / safe)


@composite(np.deg2rad, also=(np.radians,), samples=_reals)
def deg2rad(x: Any) -> Any:
    return _floating(x) * (math.pi / 180)


@composite(np.rad2deg, also=(np.degrees,), samples=_reals)
def rad2deg(x: Any) -> Any:
    return _floating(x) * (180 / math.pi)


@composite(np.float_power, samples=only("fi", drawn(2, (1, 3))))
def float_power(x1: Any, x2: Any) -> Any:
    """x1 ** x2 in float64 at least."""
    return power(as_dtype(as_array(x1), np.float64), as_dtype(as_array(x2), np.float64))


@composite(np.ldexp, samples=only("f", lambda d: [case(d(3), np.array([1, -2, 3]))]))
def ldexp(x1: Any, x2: Any) -> Any:
    """x1 * 2**x2."""
    x = _floating(x1)
    return x * exp2(cast(as_array(x2), dtype=x.dtype))


# Comparison -------------------------------------------------------------------------------------------


@composite(np.isclose, samples=lambda d: [case(d(2, 3), d(3)), case(d(3), 1.0, atol=1.0), case(d(), d())])
def isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Any:
    x, y = as_operand(a), _floating(b)
    near = (absolute(x - y) <= atol + rtol * absolute(y)) & isfinite(y)
    near = near | equal(x, y)
    return near | (isnan(x) & isnan(y)) if equal_nan else near


_infinities = only("f", lambda d: [case(np.array([np.inf, -np.inf, np.nan, 1], d.dtype)), case(d())])


@composite(np.isposinf, samples=_infinities)
def isposinf(x: Any) -> Any:
    return equal(as_array(x), math.inf)


@composite(np.isneginf, samples=_infinities)
def isneginf(x: Any) -> Any:
    return equal(as_array(x), -math.inf)


# Parts of numbers -------------------------------------------------------------------------------------


def _typed_part(given: Any) -> tuple[np.dtype[Any], ...]:
    dtype = np.dtype(given)
    return dtype, np.empty(0, dtype).real.dtype


real_part = map_op(
    "real_part", lambda x: np.array(np.real(x)), "{0}", lambda out, x: 1, typing=_typed_part, scalar_kinds=""
)
imaginary_part = map_op(
    "imaginary_part", lambda x: np.array(np.imag(x)), "{0}", None, typing=_typed_part, scalar_kinds=""
)
conjugated = map_op("conjugated", np.conjugate, "{0}", lambda out, x: 1, scalar_kinds="")


@composite(np.real, samples=_reals)
def real(val: Any) -> Any:
    x = as_array(val)
    return real_part(x) if x.dtype.kind == "c" else x


@composite(np.imag, samples=_reals)
def imag(val: Any) -> Any:
    x = as_array(val)
    return imaginary_part(x) if x.dtype.kind == "c" else as_dtype(x * 0, x.dtype)


@composite(np.conjugate, samples=_reals)
def conjugate(x: Any) -> Any:
    x = as_array(x)
    return conjugated(x) if x.dtype.kind == "c" else x
