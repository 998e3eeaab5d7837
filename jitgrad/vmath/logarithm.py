"""log and what is built on it.

Method: x = 2**k (1 + f) with 1 + f around 1. In float32, a polynomial in f. In float64, s = f / (2 + f) and
log(1 + f) = 2 atanh(s) = f - (f*f/2 - s (f*f/2 + R(s*s))) (fdlibm's e_log.c and s_log1p.c), summed with the
rounding errors of its large terms.
"""

from __future__ import annotations

from jitgrad.vmath.coefficients import INVERSE_LN2, INVERSE_LN10, LN2, LOG, LOG10_2, LOG_PLAIN
from jitgrad.vmath.exact import fma, select
from jitgrad.vmath.pieces import (
    EXPONENT_BIAS,
    INFINITY,
    MANTISSA,
    NAN,
    Pair,
    polynomial,
    product_of,
    sum_of,
    sum_of_ordered,
)
from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import Value

SMALLEST_NORMAL = {32: 2.0**-126, 64: 2.0**-1022}
# The least m: 2/3 suits the plain polynomial, sqrt(1/2) the one in s.
LOWEST_BITS = {32: 0x3F2AAAAB, 64: 0x3FE6A09E667F3BCD}
ONE_BITS = {32: 0x3F800000, 64: 0x3FF0000000000000}


def split(x: Value) -> tuple[Value, Value, Value]:
    """Return k, m from LOWEST up to its double and 2**-k, with x = 2**k m, for normal positive x.

    The highest 2**-k is 0.
    """
    mantissa, bias = MANTISSA[x.bits], EXPONENT_BIAS[x.bits]
    half = LOWEST_BITS[x.bits]
    shifted = x.bitcast("uint") + (ONE_BITS[x.bits] - half)
    biased = shifted >> mantissa
    # A small whole number below the mantissa of 2**mantissa is that number as a float.
    k = (biased | ((mantissa + bias) << mantissa)).bitcast("float") - (2.0**mantissa + bias)
    m = ((shifted & ((1 << mantissa) - 1)) + half).bitcast("float")
    inverse = select(biased < 2 * bias, 2 * bias - biased, biased.constant(0)) << mantissa
    return k, m, inverse.bitcast("float")


def split_any(x: Value) -> tuple[Value, Value]:
    """Return k and m as `split` does, for subnormal x too."""
    small = x < SMALLEST_NORMAL[x.bits]
    lift = MANTISSA[x.bits] + 2
    k, m, _ = split(select(small, x * 2.0**lift, x))
    return select(small, k - lift, k), m


def log1p_terms(f: Value) -> Pair:
    """Return f*f/2 and a second term, whose difference is f - log(1 + f)."""
    if f.bits == 32:
        square = f * f
        return 0.5 * square, square * f * polynomial(f, LOG_PLAIN[32])
    s = f / (2 + f)
    z = s * s
    half_square = 0.5 * f * f
    return half_square, s * fma(z, polynomial(z, LOG[f.bits]), half_square)


def finish(x: Value, y: Value) -> Value:
    """Return y, or the logarithm's value where x is not a positive finite number."""
    y = select(x < INFINITY, y, x)
    return select(x > 0, y, select(x == 0, x.constant(-INFINITY), x.constant(NAN)))


def log(x: Value) -> Value:
    """Return the natural logarithm."""
    k, m = split_any(x)
    f = m - 1
    half_square, product = log1p_terms(f)
    high, low = LN2[x.bits]
    first, rest = sum_of_ordered(k * high, f)
    return finish(x, first + (rest + fma(k, k.constant(low), product - half_square)))


def log1p(x: Value) -> Value:
    """Return log(1 + x)."""
    return finish(1 + x, log1p_of_pair(x, None))


def log1p_of_pair(x: Value, c: Value | None) -> Value:
    """Return log(1 + x + c) for finite x > -1 and c small beside x."""
    total, error = sum_of(x.constant(1), x)
    if c is not None:
        error = error + c
    k, m, inverse = split(total)
    f, rest = sum_of(m - 1, error * inverse)
    half_square, product = log1p_terms(f)
    # d log(1 + f) = df / (1 + f), of which three terms are enough for a rest below the last bit
    rest = rest * fma(f, f - 1, f.constant(1))
    high, low = LN2[x.bits]
    first, second = sum_of_ordered(k * high, f)
    total = first + (second + (fma(k, k.constant(low), product - half_square) + rest))
    return select(x == 0, x, total)


def log1p_of_mantissa(m: Value) -> Pair:
    """Return log(m) in two parts for m in [sqrt(1/2), sqrt(2))."""
    f = m - 1
    half_square, product = log1p_terms(f)
    first, rest = sum_of_ordered(f, -half_square)
    return first, rest + product


def log2(x: Value) -> Value:
    """Return the logarithm to base 2."""
    k, m = split_any(x)
    first, rest = log1p_of_mantissa(m)
    high, low = INVERSE_LN2[x.bits]
    product, error = product_of(first, x.constant(high))
    error = error + fma(first, x.constant(low), rest * high)
    total, carry = sum_of_ordered(k, product)
    return finish(x, total + (carry + error))


def log10(x: Value) -> Value:
    """Return the logarithm to base 10."""
    k, m = split_any(x)
    first, rest = log1p_of_mantissa(m)
    high, low = INVERSE_LN10[x.bits]
    product, error = product_of(first, x.constant(high))
    error = error + fma(first, x.constant(low), rest * high)
    two, two_low = LOG10_2[x.bits]
    total, carry = sum_of_ordered(k * two, product)
    return finish(x, total + (carry + (error + k * two_low)))


for _body in (log, log1p, log2, log10):
    routine(_body)
