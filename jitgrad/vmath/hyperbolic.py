"""sinh, cosh and the inverse hyperbolic functions.

Methods: sinh and cosh of n ln2 + r by the addition theorems, from the minimax polynomials of both on
[-ln2/2, ln2/2]; the inverses from log1p of an argument in two parts (fdlibm's s_asinh.c, e_acosh.c,
e_atanh.c).
"""

from __future__ import annotations

import math

from jitgrad.vmath.coefficients import COSH, LN2_NEAREST, LOG, SINH
from jitgrad.vmath.exact import copysign, fabs, fma, select, sqrt
from jitgrad.vmath.exponential import LOG2E, NORMAL, RANGE, exp_parts, parts_of_rest
from jitgrad.vmath.logarithm import log, log_of_sum
from jitgrad.vmath.pieces import (
    MANTISSA,
    NAN,
    at_most,
    horner,
    nearest,
    outside,
    pattern,
    power_of_two,
    scale,
    sum_of_ordered,
)
from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import Value, rarely

# From here on, log(2x) is arcsinh(x) and arccosh(x); below, x*x does not overflow.
LARGE = {32: 2.0**60, 64: 2.0**500}
# From here on, the logarithm of (1 + a) / (1 - a) is large enough for arctanh.
NEAR_ONE = {32: 1 - 2.0**-20, 64: 1 - 2.0**-48}


def exponential_halves(x: Value) -> tuple[Value, Value, Value, Value, Value]:
    """Return exp(n ln2)/2, exp(-n ln2)/2, cosh(r) - 1 and sinh(r) in two parts, where x = n ln2 + r."""
    n, bits = nearest(x, LOG2E)
    r, first, second = parts_of_rest(x, n)
    z = r * r
    even = z * horner(z, COSH[x.bits])
    odd = fma(r * z, horner(z, SINH[x.bits]), second)
    return power_of_two(bits - 1), power_of_two(-1 - bits), even, first, odd


def sinh_of_any(x: Value) -> Value:
    """Return the hyperbolic sine as exp(|x|) / 2."""
    n, y = exp_parts(at_most(fabs(x), RANGE[x.bits][1] + 1))
    return copysign(scale(y, n - 1), x)


def sinh(x: Value) -> Value:
    """Return the hyperbolic sine by its addition theorem."""
    up, down, even, first, odd = exponential_halves(x)
    total, difference = up + down, up - down
    y = difference + fma(total, first, fma(total, odd, difference * even))
    return rarely(~(fabs(x) <= NORMAL[x.bits]), copysign(y, x), sinh_of_any, x)


def cosh_of_any(x: Value) -> Value:
    """Return the hyperbolic cosine as exp(|x|) / 2."""
    return fabs(sinh_of_any(x))


def cosh(x: Value) -> Value:
    """Return the hyperbolic cosine by its addition theorem."""
    a = fabs(x)
    up, down, even, first, odd = exponential_halves(a)
    odd = first + odd
    y = up + fma(up, even + odd, fma(down, even - odd, down))
    return rarely(~(a <= NORMAL[x.bits]), y, cosh_of_any, x)


def arcsinh(x: Value) -> Value:
    """Return the inverse hyperbolic sine as log1p(a + a*a / (1 + sqrt(1 + a*a))), a = |x|."""
    a = fabs(x)
    square = a * a
    y = log_of_sum(a + square / (1 + sqrt(1 + square)))
    return rarely(~(a < LARGE[x.bits]), copysign(y, x), arcsinh_of_large, x)


def arcsinh_of_large(x: Value) -> Value:
    """Return the inverse hyperbolic sine as log(2a)."""
    return copysign(log(fabs(x)) + math.log(2), x)


def arccosh(x: Value) -> Value:
    """Return the inverse hyperbolic cosine as log1p(t + sqrt(t*t + 2t)), t = x - 1."""
    t = x - 1
    y = log_of_sum(*sum_of_ordered(sqrt(fma(t, t, 2 * t)), t))
    return rarely(outside(x, 1.0, LARGE[x.bits]), y, arccosh_of_large, x)


def arccosh_of_large(x: Value) -> Value:
    """Return the inverse hyperbolic cosine as log(2x), and NaN below 1."""
    return select(x < 1, x.constant(NAN), log(x) + math.log(2))


def arctanh(x: Value) -> Value:
    """Return the inverse hyperbolic tangent as log(q) / 2, q = (1 + a) / (1 - a), a = |x|.

    For q = 2**k (1 + s) / (1 - s), s comes from a and 2**k by one division.
    """
    a = fabs(x)
    step = 1 << MANTISSA[x.bits]
    # The distance of the bits of two numbers is roughly that of their logarithms to base 2.
    distance = (1 + a).bitcast("uint") - (1 - a).bitcast("uint")
    n = (distance + step // 2) & -step
    power = (n + pattern(1, x.bits)).bitcast("float")
    s = fma(a, 1 + power, 1 - power) / fma(a, 1 - power, 1 + power)
    z = s * s
    k = n.bitcast("int").astype(x.kind)
    high, low = (part / 2 / step for part in LN2_NEAREST[x.bits])
    y = s + fma(s * z, horner(z, [c / 2 for c in LOG[x.bits]]), k * low)
    y = fma(k, k.constant(high), y)
    return rarely(~(a < NEAR_ONE[x.bits]), copysign(y, x), arctanh_near_one, x)


def arctanh_near_one(x: Value) -> Value:
    """Return the inverse hyperbolic tangent where it is far from 0."""
    a = fabs(x)
    return copysign(0.5 * log((1 + a) / (1 - a)), x)


for _body in (sinh, cosh, arcsinh, arccosh, arctanh):
    routine(_body)
