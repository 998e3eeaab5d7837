"""exp and what is built on it.

Method: x = n ln2 + r with |r| <= ln2/2, exp(x) = 2**n exp(r) (Cody and Waite, 1980; fdlibm's e_exp.c). r is
kept in two parts and exp(r) = 1 + (r + rest), so that expm1, tanh and sigmoid can go on from an unrounded
result.
"""

from __future__ import annotations

from jitgrad.vmath.coefficients import EXP, LN2, LN2_NEAREST
from jitgrad.vmath.exact import copysign, fabs, fma, select
from jitgrad.vmath.logarithm import log1p
from jitgrad.vmath.pieces import (
    Pair,
    at_most,
    clamp,
    nearest,
    polynomial,
    power_of_two,
    quotient_of,
    scale,
    sum_of_ordered,
)
from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import Value

LOG2E = 1.4426950408889634
# Beyond these, exp is 0 or inf, and 1 + exp(-x), expm1(-x) and tanh(x) are constant.
RANGE = {32: (-104.0, 89.0), 64: (-746.0, 710.0)}
TANH_RANGE = {32: 10.0, 64: 20.0}
# Above this, 2**n may overflow before exp does.
NEAR_OVERFLOW = {32: 80.0, 64: 700.0}


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


def exp_parts(x: Value) -> tuple[Value, Value]:
    """Return n as integer bits and exp(x) / 2**n."""
    high, low = LN2[x.bits]
    n, bits = nearest(x, LOG2E)
    first = fma(n, -x.constant(high), x)
    r = fma(n, -x.constant(low), first)
    # The polynomial may have the rounded r; the sum has its exact parts.
    return bits, 1 + (first + fma(n, -x.constant(low), r * r * polynomial(r, EXP[x.bits])))


def exp(x: Value) -> Value:
    """Return e**x."""
    n, y = exp_parts(clamp(x, *RANGE[x.bits]))
    return scale(y, n)


def exp2(x: Value) -> Value:
    """Return 2**x."""
    limit = 2.0 * RANGE[x.bits][0]
    x = clamp(x, limit, -limit)
    n, bits = nearest(x)
    factor = x.constant(LN2_NEAREST[x.bits][0])
    part = x - n
    r = part * factor
    return scale(1 + fma(part, factor, r * r * polynomial(r, EXP[x.bits])), bits)


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


def expm1(x: Value) -> Value:
    """Return e**x - 1."""
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


def tanh(x: Value) -> Value:
    """Return the hyperbolic tangent as -t / (2 + t) with t = expm1(-2|x|)."""
    high, low = expm1_pair(-2 * at_most(fabs(x), TANH_RANGE[x.bits]))
    total, rest = sum_of_ordered(high.constant(2), high)
    first, second = quotient_of((high, low), (total, rest + low))
    return copysign(first + second, x)


def sigmoid(x: Value) -> Value:
    """Return 1 / (1 + exp(-x))."""
    low, _ = RANGE[x.bits]
    n, r, c = reduced(-at_most(fabs(x), -low))
    tail = tail_of_exp(r, c)
    high, rest = sum_of_ordered(r.constant(1), r)
    high, rest = sum_of_ordered(high, rest + tail)
    high, rest = scale(high, n), scale(rest, n)
    total, error = sum_of_ordered(x.constant(1), high)
    positive = x >= 0
    numerator = select(positive, x.constant(1), high), select(positive, x.constant(0), rest)
    first, second = quotient_of(numerator, (total, error + rest))
    return first + second


def softplus(x: Value) -> Value:
    """Return log(1 + exp(x))."""
    return select(x > 0, x, x.constant(0)) + log1p(exp(-fabs(x)))


for _body in (exp, exp2, expm1, tanh, sigmoid, softplus):
    routine(_body)
