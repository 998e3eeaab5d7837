"""exp and what is built on it.

Method: x = n ln2 + r with |r| <= ln2/2, exp(x) = 2**n exp(r) (Cody and Waite, 1980; fdlibm's e_exp.c). Where
more is done with the result, r is kept in two parts and exp(r) = 1 + (r + rest) stays unrounded. Arguments
whose result may overflow or be subnormal are exceptions. In float32, tanh is a polynomial about the centre of
one of 32 intervals (the centres as in Gal and Bachelis, 1991).
"""

from __future__ import annotations

from jitgrad.vmath.coefficients import EXP, EXP2, EXP_PLAIN, EXPM1, LN2
from jitgrad.vmath.exact import copysign, fabs, fma, select
from jitgrad.vmath.logarithm import log1p
from jitgrad.vmath.pieces import (
    MANTISSA,
    Pair,
    at_most,
    clamp,
    horner,
    nearest,
    polynomial,
    power_of_two,
    quotient_of,
    scale,
    sum_of,
    sum_of_ordered,
    times_power,
)
from jitgrad.vmath.routine import routine
from jitgrad.vmath.tables import TANH_PIECES
from jitgrad.vmath.value import Value, pick, rarely

LOG2E = 1.4426950408889634
# Beyond these, exp is 0 or inf, and 1 + exp(-x), expm1(-x) and tanh(x) are constant.
RANGE = {32: (-104.0, 89.0), 64: (-746.0, 710.0)}
TANH_RANGE = {32: 9.1875, 64: 20.0}
TANH_FACTOR, TANH_OFFSET = 235 / 256, 577 / 1024
# Within these, exp(x), 2**x, sinh(x) and cosh(x) are normal numbers.
NORMAL = {32: 87.0, 64: 708.0}
NORMAL_POWERS = {32: 126.0, 64: 1022.0}
# Within these, 2**n - 1 is exact in expm1.
MODERATE = {32: 17.0, 64: 36.0}
# Beyond this, 2**n may overflow before exp does, and the last bits of 2**-n times a part of exp are lost.
NEAR_OVERFLOW = {32: 80.0, 64: 700.0}
# log2(3/2) - 1/2: below log(3/2) and above log(3/4), expm1 has n = 0, so that it never cancels 2**n - 1.
EXPM1_BIAS = 0.0849625007211562


def reduced(x: Value) -> tuple[Value, Value, Value]:
    """Return n as integer bits, r and c with x = n ln2 + r + c."""
    high, low = LN2[x.bits]
    n, bits = nearest(x, LOG2E)
    first = fma(n, -x.constant(high), x)
    r = fma(n, -x.constant(low), first)
    return bits, r, fma(n, -x.constant(low), first - r)


def tail_of_exp(r: Value, c: Value) -> Value:
    """Return exp(r + c) - 1 - r."""
    # EXP begins with exactly 1/2, whose term is the largest: its rounding error is added again.
    half = 0.5 * r
    first = half * r
    second = fma(half, r, -first) + c
    return first + fma(first * r, polynomial(r, [2 * p for p in EXP[r.bits][1:]]), second)


def parts_of_rest(x: Value, n: Value) -> tuple[Value, Value, Value]:
    """Return x - n ln2 rounded, and in two parts, the first of which is exact."""
    high, low = LN2[x.bits]
    first = fma(n, -x.constant(high), x)
    return fma(n, -x.constant(low), first), first, n * -low


def exp_parts(x: Value) -> tuple[Value, Value]:
    """Return n as integer bits and exp(x) / 2**n."""
    n, bits = nearest(x, LOG2E)
    r, _, _ = parts_of_rest(x, n)
    return bits, horner(r, (1, *EXP_PLAIN[x.bits]))


def exp_of_any(x: Value) -> Value:
    """Return e**x, which may be subnormal or overflow."""
    n, y = exp_parts(clamp(x, *RANGE[x.bits]))
    return scale(y, n)


def exp(x: Value) -> Value:
    """Return e**x."""
    n, y = exp_parts(x)
    vanishes = x < RANGE[x.bits][0]  # no exception, for softmax has many
    y = select(vanishes, x.constant(0), times_power(y, n))
    return rarely(~((fabs(x) <= NORMAL[x.bits]) | vanishes), y, exp_of_any, x)


def exp2_parts(x: Value) -> tuple[Value, Value]:
    """Return n as integer bits and 2**(x - n)."""
    n, bits = nearest(x)
    return bits, horner(x - n, (1, *EXP2[x.bits]))


def exp2_of_any(x: Value) -> Value:
    """Return 2**x, which may be subnormal or overflow."""
    limit = 2.0 * RANGE[x.bits][0]
    n, y = exp2_parts(clamp(x, limit, -limit))
    return scale(y, n)


def exp2(x: Value) -> Value:
    """Return 2**x."""
    n, y = exp2_parts(x)
    return rarely(~(fabs(x) <= NORMAL_POWERS[x.bits]), times_power(y, n), exp2_of_any, x)


def expm1_pair(x: Value, rest: Value | None = None) -> Pair:
    """Return expm1(x + rest) in two parts, for x <= 0 above the underflow of 2**n and a small rest."""
    n, r, c = reduced(x)
    if rest is not None:
        c = c + rest
        c = fma(c, r, c)
    power = power_of_two(n)
    whole, error = sum_of_ordered(x.constant(-1), power)
    high, low = sum_of_ordered(whole, power * r)
    return sum_of_ordered(high, fma(power, tail_of_exp(r, c), low + error))


def expm1_of_any(x: Value) -> Value:
    """Return e**x - 1, where 2**n - 1 may be inexact or overflow."""
    low, high = RANGE[x.bits]
    clamped = clamp(x, low * 0.25, high)
    n, r, c = reduced(clamped)
    excess = x > NEAR_OVERFLOW[x.bits]
    power = power_of_two(select(excess, n - 1, n))
    whole = power - 1
    error = (power - whole) - 1
    first, second = sum_of_ordered(whole, power * r)
    total = first + fma(power, tail_of_exp(r, c), second + error)
    return copysign(select(excess, total * 2, total), x)


def expm1(x: Value) -> Value:
    """Return e**x - 1."""
    n, bits = nearest(fma(x, x.constant(LOG2E), x.constant(-EXPM1_BIAS)))
    r, first, second = parts_of_rest(x, n)
    power = power_of_two(bits)
    y = fma(power, first + fma(r * r, horner(r, EXPM1[x.bits]), second), power - 1)
    return rarely(~(fabs(x) <= MODERATE[x.bits]), copysign(y, x), expm1_of_any, x)


def tanh_by_quotient(x: Value) -> Value:
    """Return tanh(x) as -t / (2 + t) with t = expm1(-2x), for x from 0 to the range's end."""
    high, low = expm1_pair(-2 * x)
    total, rest = sum_of_ordered(high.constant(2), high)
    first, second = quotient_of((high, low), (total, rest + low))
    return -(first + second)


def tanh_by_table(x: Value) -> Value:
    """Return tanh(x) in float32 for x from 0 to the range's end."""
    index = fma(x, x.constant(TANH_FACTOR), x.constant(TANH_OFFSET)).bitcast("uint") >> (MANTISSA[32] - 3)
    centre, value, *terms = (
        pick(index, f"tanh{k}", column, x.kind) for k, column in enumerate(TANH_PIECES[32])
    )
    u = x - centre
    return value + fma(horner(u, terms), u, u)


def tanh(x: Value) -> Value:
    """Return the hyperbolic tangent."""
    return copysign(
        (tanh_by_table if x.bits == 32 else tanh_by_quotient)(at_most(fabs(x), TANH_RANGE[x.bits])), x
    )


def sigmoid(x: Value) -> Value:
    """Return 1 / (1 + exp(-x)), which is exp(x) where that is tiny."""
    limit = NEAR_OVERFLOW[x.bits]
    opposite = -at_most(x, limit)
    n, bits = nearest(opposite, LOG2E)
    r, _, _ = parts_of_rest(opposite, n)
    slope = horner(r, EXP_PLAIN[x.bits])
    one, power = x.constant(1), power_of_two(bits)
    y = fma(r, slope, one)
    total, error = sum_of(y * power, one)
    error = fma(fma(r, slope, 1 - y), power, error)
    quotient = 1 / total
    rest = fma(-quotient, error, fma(-quotient, total, one))
    return rarely(x < -limit, fma(quotient, rest, quotient), exp_of_any, x)


def softplus(x: Value) -> Value:
    """Return log(1 + exp(x))."""
    return select(x > 0, x, x.constant(0)) + log1p(exp(-fabs(x)))


for _body in (exp, exp2, expm1, tanh, sigmoid, softplus):
    routine(_body)
