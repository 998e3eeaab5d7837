"""sin, cos, tan, exact in their reduction for every finite argument.

Methods: |x| up to LIMIT by Cody and Waite (1980) with the parts of pi/2 that fma makes exact; sin and cos
share one minimax polynomial, whose coefficients each lane chooses, and tan(pi/2 + r) is -1/tan(r). Larger
float32 arguments go through float64, larger float64 ones by Payne and Hanek (1983) in floating point: those
bits of 2/pi that give multiples of four are left out, which ones depends on the exponent of x only, so the
rest comes from a small table, in parts whose products with x are exact.
"""

from __future__ import annotations

import math
from fractions import Fraction

from jitgrad.vmath.coefficients import COS, HALF_PI, PI, SIN, TAN, TWO_OVER_PI
from jitgrad.vmath.exact import fabs, fma, rint, select
from jitgrad.vmath.pieces import (
    EXPONENT_BIAS,
    MANTISSA,
    SHIFT,
    flip,
    horner,
    narrow,
    nearest,
    product_of,
    signs,
    sum_of,
    sum_of_ordered,
    wide,
)
from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import FLOAT64, Value, rarely

Reduced = tuple[Value, Value, Value]
"""Quarter turns n as integer bits, the nearest r, and a small `low`: x = n pi/2 + (r - low)."""

# Within these, n times the second part of pi/2 is exact.
LIMIT = {32: 3216.0, 64: 6.5e6}

TWO_OVER_PI_BITS = 1280
# Exponents that share a row of the table, as a shift, and the biased exponent of the first that drops bits
ROW_SHIFT = 5
FIRST_ROW = EXPONENT_BIAS[64] + MANTISSA[64] + 2 - (1 << ROW_SHIFT)
# Rows from 1 on are scaled so that no part is subnormal, and x is scaled back.
ROW_1, ROW_SCALE = 2.0 ** (MANTISSA[64] + 2), 2**200
PART_BITS, PARTS = 53, 4


def reduction_table() -> list[list[float]]:
    """Return the parts of 2/pi by row; in row 0, |x| below 2**(MANTISSA + 2), no bit may be left out."""
    parts: list[list[float]] = [[] for _ in range(PARTS)]
    for row in range(((2 * EXPONENT_BIAS[64] + 1 - FIRST_ROW) >> ROW_SHIFT) + 1):
        # x = m * 2**(e - MANTISSA): the bit 2**-j of 2/pi gives multiples of four if e - MANTISSA - j >= 2.
        left_out = max(row - 1, 0) << ROW_SHIFT
        rest = TWO_OVER_PI & ((1 << (TWO_OVER_PI_BITS - left_out)) - 1)
        for part in parts:
            drop = max(rest.bit_length() - PART_BITS, 0)
            head = rest >> drop << drop
            part.append(float(Fraction(head * (ROW_SCALE if row else 1), 1 << TWO_OVER_PI_BITS)))
            rest -= head
    return parts


TABLE = reduction_table()


def table_row(x: Value) -> list[Value]:
    """Return the parts of 2/pi for the exponent of x."""
    exponent = (x.bitcast("uint") >> MANTISSA[64]) & (2 * EXPONENT_BIAS[64] + 1)
    row = (select(exponent > FIRST_ROW, exponent, exponent.constant(FIRST_ROW)) - FIRST_ROW) >> ROW_SHIFT
    return [row.lookup(f"two_over_pi_{k}", part, FLOAT64) for k, part in enumerate(TABLE)]


def reduced_far(x: Value, quarters: int) -> Reduced:
    """Reduce x + quarters * pi/2 for any finite float64 x."""
    scaled = select(fabs(x) < ROW_1, x, x * (1 / ROW_SCALE))
    products = [product_of(scaled, part) for part in table_row(x)]
    (first, first_low), (second, second_low), (third, third_low), (fourth, _) = products
    turns, error = sum_of(fma(rint(first * 0.25), x.constant(-4), first), first_low)
    turns, other = sum_of(turns, second)
    n, bits = nearest(turns)
    rest, carry = sum_of(turns - n, second_low)
    rest, carry_2 = sum_of(rest, third)
    high, low = sum_of_ordered(rest, ((carry + carry_2) + (error + other)) + (third_low + fourth))
    half_pi, half_pi_low = PI[64][0] / 2, PI[64][1] / 2
    r, r_low = product_of(high, x.constant(half_pi))
    r_low = r_low + fma(high, x.constant(half_pi_low), low * half_pi)
    r, r_low = sum_of_ordered(r, r_low)
    return bits + quarters, r, -r_low


def reduced(x: Value, quarters: int) -> Reduced:
    """Reduce x + quarters * pi/2 for |x| <= LIMIT.

    No part of pi/2 is negative and `low` is subtracted, so that -0 stays -0.
    """
    first, second, third = (x.constant(part) for part in HALF_PI[x.bits])
    shift = x.constant(SHIFT[x.bits] + quarters)
    shifted = fma(x, x.constant(2 / math.pi), shift)
    n = shifted - shift
    rest = fma(-n, first, x)
    r = fma(-n, second, rest)
    return shifted.bitcast("uint"), r, fma(n, third, fma(n, second, r - rest))


def wave(reduced: Reduced) -> Value:
    """Return the sine, by a polynomial for sin(r) = r + r*z P(z) or cos(r) = 1 + z P(z), z = (r - low)**2."""
    n, r, low = reduced
    even = (n & 1) == 0
    # 2*|r|*low matters to the cosine of r > 1/2 only, where float32 can do with half its value
    z = fma(r, r, -(flip(low, signs(r)) if r.bits == 32 else low * (r + r)))
    pairs = zip(SIN[r.bits], (-0.5, *COS[r.bits]), strict=True)
    p = horner(z, [select(even, r.constant(-sine), r.constant(cosine)) for sine, cosine in pairs])
    q = fma(select(even, r * z, z), p, select(even, low, r.constant(1)))
    return flip(select(even, r - q, q), (n << (r.bits - 2)) & (1 << (r.bits - 1)))


def tangent(reduced: Reduced) -> Value:
    """Return the tangent, by a polynomial for tan(r) = r + r*z P(z)."""
    n, r, low = reduced
    z = r * r
    y = r - fma(-(r * z), horner(z, TAN[r.bits]), low)
    return select((n & 1) == 0, y, -1 / y)


def sin(x: Value) -> Value:
    """Return the sine."""
    return rarely(~(fabs(x) <= LIMIT[x.bits]), wave(reduced(x, 0)), far_sin, x)


def far_sin(x: Value) -> Value:
    """Return the sine beyond LIMIT."""
    return narrow(sin(wide(x))) if x.bits == 32 else wave(reduced_far(x, 0))


def cos(x: Value) -> Value:
    """Return the cosine."""
    return rarely(~(fabs(x) <= LIMIT[x.bits]), wave(reduced(x, 1)), far_cos, x)


def far_cos(x: Value) -> Value:
    """Return the cosine beyond LIMIT."""
    return narrow(cos(wide(x))) if x.bits == 32 else wave(reduced_far(x, 1))


def tan(x: Value) -> Value:
    """Return the tangent."""
    return rarely(~(fabs(x) <= LIMIT[x.bits]), tangent(reduced(x, 0)), far_tan, x)


def far_tan(x: Value) -> Value:
    """Return the tangent beyond LIMIT."""
    return narrow(tan(wide(x))) if x.bits == 32 else tangent(reduced_far(x, 0))


def rounded_to(x: Value, y: Value) -> Value:
    """Return y in the type of x."""
    return narrow(y) if x.bits == 32 else y


for _body in (sin, cos, tan):
    routine(_body)
