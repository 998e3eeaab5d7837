"""exp and what is built on it.

Method: x = n ln2 + r with |r| <= ln2/2, exp(x) = 2**n exp(r) (Cody and Waite, 1980; fdlibm's e_exp.c). r is kept in two
parts and exp(r) = 1 + (r + rest), so that expm1, tanh and sigmoid can go on from an unrounded result.
"""

from __future__ import annotations

from jitgrad.vmath.coefficients import EXP, LN2, LN2_NEAREST
from jitgrad.vmath.exact import copysign, fabs, fma, rint, select
from jitgrad.vmath.logarithm import log1p
from jitgrad.vmath.pieces import (
    Pair,
    clamp,
    polynomial,
    power_of_two,
    quotient_of,
    scale,
    sum_of_ordered,
)
from jitgrad.vmath.routine import routine
from jitgrad.vmath.scalar import Scalar

LOG2E = 1.4426950408889634
# Beyond these, exp is 0 or inf, and 1 + exp(-x), expm1(-x) and tanh(x) are constant.
RANGE = {32: (-104.0, 89.0), 64: (-746.0, 710.0)}
TANH_RANGE = {32: 10.0, 64: 20.0}
LARGEST_EXPONENT = {32: 127, 64: 1023}


def reduced(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Return n, r and c with x = n ln2 + r + c."""
    high, low = LN2[x.bits]
    n = rint(x * LOG2E)
    first = fma(n, -x.constant(high), x)
    r = fma(n, -x.constant(low), first)
    return n, r, fma(n, -x.constant(low), first - r)


def tail_of_exp(r: Scalar, c: Scalar) -> Scalar:
    """Return exp(r + c) - 1 - r."""
    return fma(r * r, polynomial(r, EXP[r.bits]), c)


def exp(x: Scalar) -> Scalar:
    """Return e**x."""
    n, r, c = reduced(clamp(x, *RANGE[x.bits]))
    return scale(1 + (r + tail_of_exp(r, c)), n)


def exp2(x: Scalar) -> Scalar:
    """Return 2**x."""
    limit = 2.0 * RANGE[x.bits][0]
    x = clamp(x, limit, -limit)
    n = rint(x)
    high, low = LN2_NEAREST[x.bits]
    part = x - n
    r = part * high
    c = fma(part, x.constant(high), -r) + part * low
    return scale(1 + (r + tail_of_exp(r, c)), n)


def expm1_pair(x: Scalar, rest: Scalar | None = None) -> Pair:
    """Return expm1(x + rest) in two parts, for x below the overflow of 2**n and rest small beside it."""
    n, r, c = reduced(x)
    c = c if rest is None else c + rest
    power = power_of_two(n)
    high, low = sum_of_ordered(power - 1, power * r)
    return sum_of_ordered(high, fma(power, tail_of_exp(r, c), low))


def expm1(x: Scalar) -> Scalar:
    """Return e**x - 1."""
    low, high = RANGE[x.bits]
    clamped = clamp(x, low * 0.25, high)
    n, r, c = reduced(clamped)
    excess = n > LARGEST_EXPONENT[x.bits]
    power = power_of_two(select(excess, n - 1, n))
    first, second = sum_of_ordered(power - 1, power * r)
    total = first + fma(power, tail_of_exp(r, c), second)
    return copysign(select(excess, total * 2, total), x)


def tanh(x: Scalar) -> Scalar:
    """Return the hyperbolic tangent as expm1(2x) / (expm1(2x) + 2)."""
    limit = TANH_RANGE[x.bits]
    high, low = expm1_pair(2 * clamp(fabs(x), 0, limit))
    total, rest = sum_of_ordered(high.constant(2), high)
    total, rest = select(high > 2, high + 2, total), select(high > 2, (high - (high + 2)) + 2, rest)
    first, second = quotient_of((high, low), (total, rest + low))
    return copysign(first + second, x)


def sigmoid(x: Scalar) -> Scalar:
    """Return 1 / (1 + exp(-x))."""
    low, _ = RANGE[x.bits]
    n, r, c = reduced(clamp(-fabs(x), low, 0))
    tail = tail_of_exp(r, c)
    high, rest = sum_of_ordered(r.constant(1), r)
    high, rest = sum_of_ordered(high, rest + tail)
    high, rest = scale(high, n), scale(rest, n)
    total, error = sum_of_ordered(x.constant(1), high)
    positive = x >= 0
    numerator = select(positive, x.constant(1), high), select(positive, x.constant(0), rest)
    first, second = quotient_of(numerator, (total, error + rest))
    return first + second


def softplus(x: Scalar) -> Scalar:
    """Return log(1 + exp(x))."""
    return select(x > 0, x, x * 0) + log1p(exp(-fabs(x)))


for _body in (exp, exp2, expm1, tanh, sigmoid, softplus):
    routine(_body)
