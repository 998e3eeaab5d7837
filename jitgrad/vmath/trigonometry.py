"""sin, cos, tan, exact in their reduction for every finite argument.

Methods: |x| up to LIMIT by Cody and Waite (1980) with the parts of pi/2 that fma makes exact; sin and cos
share one minimax polynomial, whose coefficients each lane chooses, and tan(pi/2 + r) is -1/tan(r). Beyond, x
* 2/pi mod 4 by Payne and Hanek (1983) in floating point: those bits of 2/pi that give multiples of four are
left out, which ones depends on the exponent of x only, so the rest comes from a small table, in parts whose
products with x are exact.
"""

from __future__ import annotations

import math
from fractions import Fraction

from jitgrad.vmath.coefficients import COS, HALF_PI, HALF_PI_LONG, PI, SIN, TAN, TWO_OVER_PI
from jitgrad.vmath.exact import fabs, fma, rint, select
from jitgrad.vmath.pieces import (
    EXPONENT_BIAS,
    MANTISSA,
    SHIFT,
    flip,
    horner,
    nearest,
    product_of,
    signs,
    sum_of,
    sum_of_ordered,
)
from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import Value, rarely

Reduced = tuple[Value, Value, Value]
"""Quarter turns n as integer bits, the nearest r, and a small `low`: x = n pi/2 + (r - low)."""

# Within these, n times the second part of pi/2 is exact.
LIMIT = {32: 3216.0, 64: 6.5e6}
# Up to here, three parts of pi/2 are enough in float32.
MIDDLE = 2.0e5

TWO_OVER_PI_BITS = 1280
# Per width: log2 of the exponents that share a table row, and the bits of each part of 2/pi in a row.
ROW_BITS = {32: 0, 64: 5}
PARTS = {width: 4 * (MANTISSA[width] + 1,) for width in (32, 64)}
# Rows from 1 on are scaled so that no part is subnormal, and x is scaled back.
ROW_1, ROW_SCALE = {width: 2.0 ** (MANTISSA[width] + 2) for width in (32, 64)}, {32: 2**60, 64: 2**200}


def lowest_exponent(width: int) -> int:
    """Return the biased exponent that stands for all below it; the next ones leave bits out."""
    return EXPONENT_BIAS[width] + MANTISSA[width] + 2 - (1 << ROW_BITS[width])


def reduction_table(width: int) -> list[list[float]]:
    """Return the parts of 2/pi by row; in row 0, |x| below 2**(MANTISSA + 2), no bit may be left out."""
    parts: list[list[float]] = [[] for _ in PARTS[width]]
    for row in range(((2 * EXPONENT_BIAS[width] + 1 - lowest_exponent(width)) >> ROW_BITS[width]) + 1):
        # x = m * 2**(e - MANTISSA): the bit 2**-j of 2/pi gives multiples of four if e - MANTISSA - j >= 2.
        left_out = max(row - 1, 0) << ROW_BITS[width]
        rest = TWO_OVER_PI & ((1 << (TWO_OVER_PI_BITS - left_out)) - 1)
        for part, bits in zip(parts, PARTS[width], strict=True):
            drop = max(rest.bit_length() - bits, 0)
            head = rest >> drop << drop
            part.append(float(Fraction(head * (ROW_SCALE[width] if row else 1), 1 << TWO_OVER_PI_BITS)))
            rest -= head
    return parts


TABLES = {width: reduction_table(width) for width in (32, 64)}


def table_row(x: Value) -> list[Value]:
    """Return the parts of 2/pi for the exponent of x."""
    exponent = (x.bitcast("uint") >> MANTISSA[x.bits]) & (2 * EXPONENT_BIAS[x.bits] + 1)
    lowest = exponent.constant(lowest_exponent(x.bits))
    row = (select(exponent > lowest, exponent, lowest) - lowest) >> ROW_BITS[x.bits]
    name = f"two_over_pi_{x.bits}_"
    return [row.lookup(f"{name}{k}", part, x.kind) for k, part in enumerate(TABLES[x.bits])]


def reduced_far(x: Value) -> Reduced:
    """Reduce any finite x."""
    scaled = select(fabs(x) < ROW_1[x.bits], x, x * (1 / ROW_SCALE[x.bits]))
    products = [product_of(scaled, part) for part in table_row(x)]
    (first, first_low), (second, second_low), (third, third_low), (fourth, _) = products
    turns, error = sum_of(fma(rint(first * 0.25), x.constant(-4), first), first_low)
    turns, other = sum_of(turns, second)
    n, bits = nearest(turns)
    rest, carry = sum_of(turns - n, second_low)
    rest, carry_2 = sum_of(rest, third)
    # Beside a multiple of pi/2 these two cancel the rest, so they lose no bit either.
    rest, carry_3 = sum_of(rest, error)
    rest, carry_4 = sum_of(rest, other)
    carries = (carry + carry_2) + (carry_3 + carry_4)
    high, low = sum_of_ordered(rest, carries + (third_low + fourth))
    half_pi, half_pi_low = (part / 2 for part in PI[x.bits])
    r, r_low = product_of(high, x.constant(half_pi))
    r_low = r_low + fma(high, x.constant(half_pi_low), low * half_pi)
    r, r_low = sum_of_ordered(r, r_low)
    return bits, r, -r_low


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


def reduced_middle(x: Value) -> Reduced:
    """Reduce float32 x for |x| <= MIDDLE, where n times the second part of pi/2 has an error of its own."""
    first, second, third = (x.constant(part) for part in HALF_PI_LONG[32])
    n, bits = nearest(x, 2 / math.pi)
    rest = fma(-n, first, x)
    product, error = product_of(n, second)
    r = rest - product
    # Exact, for `rest` is a multiple of the last bit of the product.
    low = (r - rest) + product
    return bits, r, low + fma(n, third, error)


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


def beyond(x: Value, limit: float) -> Value:
    """Tell where |x| is above the limit, or NaN."""
    return ~(fabs(x) <= limit)


def sin(x: Value) -> Value:
    """Return the sine."""
    quarters = signs(x).constant(0)
    return rarely(beyond(x, LIMIT[x.bits]), wave(reduced(x, 0)), far_wave, x, quarters)


def cos(x: Value) -> Value:
    """Return the cosine."""
    quarters = signs(x).constant(1)
    return rarely(beyond(x, LIMIT[x.bits]), wave(reduced(x, 1)), far_wave, x, quarters)


def far_wave(x: Value, quarters: Value) -> Value:
    """Return the sine of x + quarters * pi/2 beyond LIMIT."""
    if x.bits == 64:
        return farthest_wave(x, quarters)
    n, r, low = reduced_middle(x)
    return rarely(beyond(x, MIDDLE), wave((n + quarters, r, low)), farthest_wave, x, quarters)


def farthest_wave(x: Value, quarters: Value) -> Value:
    """Return the sine of any finite x + quarters * pi/2."""
    n, r, low = reduced_far(x)
    return wave((n + quarters, r, low))


def tan(x: Value) -> Value:
    """Return the tangent."""
    return rarely(beyond(x, LIMIT[x.bits]), tangent(reduced(x, 0)), far_tan, x)


def far_tan(x: Value) -> Value:
    """Return the tangent of any finite x."""
    return tangent(reduced_far(x))


for _body in (sin, cos, tan):
    routine(_body)
