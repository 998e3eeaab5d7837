"""power, cbrt and hypot.

Methods: x**y = exp(y log x) with the logarithm to 64 bits or more (fdlibm's e_pow.c); cbrt from a polynomial
for x**(-1/3) and a correction with the exact residual (fdlibm's s_cbrt.c); hypot with the rounding error of
the squares.
"""

from __future__ import annotations

import math

from jitgrad.vmath.coefficients import EXP_SHORT, INVERSE_CBRT, LN2, LOG_LONG, LOG_SHORT, TWO_THIRDS
from jitgrad.vmath.exact import copysign, fabs, fma, rint, select, sqrt
from jitgrad.vmath.exponential import LOG2E, RANGE, reduced, tail_of_exp
from jitgrad.vmath.logarithm import SMALLEST_NORMAL, split
from jitgrad.vmath.pieces import (
    INFINITY,
    MANTISSA,
    NAN,
    Pair,
    clamp,
    flip,
    integer_bits,
    narrow,
    nearest,
    polynomial,
    power_of_two,
    product_of,
    quotient_of,
    scale,
    signs,
    sum_of_ordered,
    wide,
)
from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import Value


def lifted(x: Value) -> tuple[Value, Value]:
    """Return x made normal by a power of two, and the exponent to add."""
    small, lift = x < SMALLEST_NORMAL[x.bits], MANTISSA[x.bits] + 2
    return select(small, x * 2.0**lift, x), select(small, x.constant(-lift), x.constant(0))


def log_pair(x: Value) -> Pair:
    """Return log(x) in two parts for finite x > 0, to about 2**-68."""
    normal, exponent = lifted(x)
    k, m, _ = split(normal)
    k = k + exponent
    f = m - 1
    s, s_low = quotient_of((f, f * 0), sum_of_ordered(x.constant(2), f))
    z, z_low = product_of(s, s)
    z_low = fma(2 * s, s_low, z_low)
    inner, inner_low = sum_of_ordered(x.constant(TWO_THIRDS[64][0]), z * polynomial(z, LOG_LONG[64]))
    cube, cube_low = product_of(s, z)
    cube_low = fma(s, z_low, fma(s_low, z, cube_low))
    rest, rest_low = product_of(cube, inner)
    rest_low = rest_low + fma(cube_low, inner, cube * (inner_low + TWO_THIRDS[64][1]))
    high, low = LN2[x.bits]
    total, error = sum_of_ordered(k * high, 2 * s)
    total, other = sum_of_ordered(total, rest)
    return sum_of_ordered(total, (error + other) + (fma(k, x.constant(low), 2 * s_low) + rest_low))


def power_float32(x: Value, y: Value) -> Value:
    """Return x**y for x > 0 in float64, good to float32."""
    k, m, _ = split(wide(x))
    f = m - 1
    logarithm = fma(k, k.constant(math.log(2)), fma(f * f, polynomial(f, LOG_SHORT[64]), f))
    logarithm = select(x == 0, k.constant(-INFINITY), select(x < INFINITY, logarithm, wide(x)))
    t = clamp(logarithm * wide(y), -150.0, 150.0)
    n, bits = nearest(t, LOG2E)
    r = fma(n, n.constant(-math.log(2)), t)
    return narrow((1 + fma(r * r, polynomial(r, EXP_SHORT[64]), r)) * power_of_two(bits))


def power_float64(x: Value, y: Value) -> Value:
    """Return x**y for x > 0."""
    first, second = log_pair(x)
    finite = (x > 0) & (x < INFINITY)
    edge = select(x == 0, x.constant(-INFINITY), x)
    first, second = select(finite, first, edge), select(finite, second, x.constant(0))
    high, low = product_of(first, y)
    t = clamp(high, *RANGE[64])
    low = select(t == high, fma(second, y, low), x.constant(0))
    n, r, c = reduced(t)
    r, c = sum_of_ordered(r, c + low)
    return scale(1 + (r + tail_of_exp(r, c)), n)


def power(x: Value, y: Value) -> Value:
    """Return x**y with C99's special values."""
    magnitude = fabs(x)
    result = (power_float32 if x.bits == 32 else power_float64)(magnitude, y)
    whole = rint(y) == y
    odd = whole & (rint(y * 0.5) != y * 0.5)
    negative = signs(x)
    result = flip(result, select(odd, negative, negative ^ negative))
    result = select((x < 0) & ~whole & (magnitude < INFINITY), x.constant(NAN), result)
    result = select((x == -1) & (fabs(y) == INFINITY), x.constant(1), result)
    return select((x == 1) | (y == 0), x.constant(1), result)


def cbrt(x: Value) -> Value:
    """Return the real cube root."""
    magnitude = fabs(x)
    small, lift = magnitude < SMALLEST_NORMAL[x.bits], 3 * ((MANTISSA[x.bits] + 4) // 3)
    k, m, _ = split(select(small, magnitude * 2.0**lift, magnitude))
    third, bits = nearest(k, 1 / 3)
    step = k - 3 * third
    a = m * power_of_two(integer_bits(step))
    root = select(step < 0, x.constant(2 ** (1 / 3)), x.constant(1))
    root = select(step > 0, x.constant(2 ** (-1 / 3)), root)
    inverse = polynomial(m, INVERSE_CBRT[x.bits]) * root
    square = inverse * inverse
    guess = a * square
    # With e = 1 - a inverse**3: cbrt(a) = guess (1 - e)**(-2/3).
    e = fma(-guess, inverse, x.constant(1))
    y = fma(guess * e, fma(e, x.constant(5 / 9), x.constant(2 / 3)), guess)
    high, low = product_of(y, y)
    residual = fma(high, y, -a) + low * y
    y = y - residual * (square * (1 / 3))
    y = y * power_of_two(select(small, bits - lift // 3, bits))
    return copysign(select((magnitude > 0) & (magnitude < INFINITY), y, magnitude), x)


def hypot(x: Value, y: Value) -> Value:
    """Return sqrt(x*x + y*y) without overflow; infinite if either is infinite, even beside NaN."""
    x, y = fabs(x), fabs(y)
    if x.bits == 32:
        result = narrow(sqrt(fma(wide(x), wide(x), wide(y) * wide(y))))
    else:
        result = hypot_float64(select(x > y, x, y), select(x > y, y, x))
    return select((x == INFINITY) | (y == INFINITY), x.constant(INFINITY), result)


def hypot_float64(large: Value, little: Value) -> Value:
    """Return sqrt(large**2 + little**2) for large >= little >= 0."""
    huge, tiny = large > 2.0**500, large < 2.0**-500
    one = large.constant(1)
    factor = select(huge, one.constant(2.0**-600), select(tiny, one.constant(2.0**600), one))
    inverse = select(huge, one.constant(2.0**600), select(tiny, one.constant(2.0**-600), one))
    a, b = large * factor, little * factor
    square, square_low = product_of(a, a)
    other, other_low = product_of(b, b)
    total, carry = sum_of_ordered(square, other)
    root = sqrt(total)
    rest = fma(-root, root, total) + (carry + (square_low + other_low))
    return select(total == 0, total, root + rest * 0.5 / root) * inverse


for _body in (power, cbrt, hypot):
    routine(_body)
