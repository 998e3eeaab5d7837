"""sinh, cosh and the inverse hyperbolic functions.

Methods: sinh and cosh from expm1 and exp with half the power of two, so that nothing overflows early; the
inverses from log1p of an argument in two parts (fdlibm's s_asinh.c, e_acosh.c, e_atanh.c).
"""

from __future__ import annotations

from jitgrad.vmath.coefficients import LN2_NEAREST
from jitgrad.vmath.exact import copysign, fabs, fma, select, sqrt
from jitgrad.vmath.exponential import NEAR_OVERFLOW, RANGE, exp_parts, reduced, tail_of_exp
from jitgrad.vmath.logarithm import log1p_of_pair
from jitgrad.vmath.pieces import INFINITY, NAN, at_most, power_of_two, quotient_of, sum_of_ordered
from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import Value

# Below this, sinh(x) is x.
TINY = {32: 2.0**-13, 64: 2.0**-28}
# Beyond this, log(2x) is arcsinh(x) and arccosh(x).
LARGE = {32: 2.0**30, 64: 2.0**60}


def sinh(x: Value) -> Value:
    """Return the hyperbolic sine as u + u / (2u + 1) with u = expm1(|x|) / 2."""
    a = fabs(x)
    n, r, c = reduced(at_most(a, RANGE[x.bits][1] + 0.5))
    excess = a > NEAR_OVERFLOW[x.bits]
    power = power_of_two(select(excess, n - 2, n - 1))
    first, second = sum_of_ordered(power - 0.5, power * r)
    u, rest = sum_of_ordered(first, fma(power, tail_of_exp(r, c), second))
    # The quotient is above 1/2 u where it counts and 1/2 where 2u + 1 overflows.
    quotient = select(u < 1e30, u / (2 * u + 1), x.constant(0.5))
    y = u + (quotient + rest)
    return copysign(select(a < TINY[x.bits], a, select(excess, 2 * y, y)), x)


def cosh(x: Value) -> Value:
    """Return the hyperbolic cosine as h + 1 / (4h) with h = exp(|x|) / 2."""
    n, y = exp_parts(at_most(fabs(x), RANGE[x.bits][1] + 0.5))
    half = y * power_of_two(n - 2) * 2
    return half + 0.25 / half


def arcsinh(x: Value) -> Value:
    """Return the inverse hyperbolic sine as log1p(a + a*a / (1 + sqrt(1 + a*a))), a = |x|."""
    a = fabs(x)
    large = a > LARGE[x.bits]
    square = a * a
    t, rest = sum_of_ordered(a, square / (1 + sqrt(1 + square)))
    y = log1p_of_pair(select(large, a, t), select(large, a.constant(0), rest))
    y = y + select(large, a.constant(LN2_NEAREST[x.bits][0]), a.constant(0))
    return copysign(select(a < INFINITY, y, a), x)


def arccosh(x: Value) -> Value:
    """Return the inverse hyperbolic cosine as log1p(t + sqrt(t*t + 2t)), t = x - 1."""
    large = x > LARGE[x.bits]
    t = x - 1
    root = sqrt(fma(t, t, 2 * t))
    total, rest = root + t, (root - (root + t)) + t
    total, rest = select(t > root, t + root, total), select(t > root, (t - (t + root)) + root, rest)
    y = log1p_of_pair(select(large, x, total), select(large, x.constant(0), rest))
    y = y + select(large, x.constant(LN2_NEAREST[x.bits][0]), x.constant(0))
    y = select(x < INFINITY, y, x)
    return select(x >= 1, y, select(x == x, x.constant(NAN), x))


def arctanh(x: Value) -> Value:
    """Return the inverse hyperbolic tangent as log1p(2a / (1 - a)) / 2, a = |x|."""
    a = fabs(x)
    q, rest = quotient_of((2 * a, a * 0), sum_of_ordered(a.constant(1), -a))
    y = 0.5 * log1p_of_pair(q, rest)
    y = select(a < 1, y, select(a == 1, x.constant(INFINITY), x.constant(NAN)))
    return copysign(y, x)


for _body in (sinh, cosh, arcsinh, arccosh, arctanh):
    routine(_body)
