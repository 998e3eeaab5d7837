"""sin, cos, tan, exact in their reduction for every finite argument.

Method: x * 2/pi mod 4 by Payne and Hanek (1983) in floating point: those bits of 2/pi that give multiples of
four are left out, which ones depends on the exponent of x only, so the rest comes from a small table, in
parts whose products with x are exact. sin and cos on [-pi/4, pi/4] are minimax polynomials (as in fdlibm's
k_sin.c and k_cos.c).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from jitgrad.vmath.coefficients import COS, COS_TURN, PI, SIN, SIN_TURN, TWO_OVER_PI
from jitgrad.vmath.exact import copysign, fabs, fma, rint, select
from jitgrad.vmath.pieces import (
    EXPONENT_BIAS,
    MANTISSA,
    Pair,
    flip,
    narrow,
    nearest,
    polynomial,
    product_of,
    sum_of,
    sum_of_ordered,
    wide,
)
from jitgrad.vmath.routine import routine
from jitgrad.vmath.scalar import FLOAT64, Scalar

TWO_OVER_PI_BITS = 1280
# Per width: log2 of the exponents that share a table row, and the bits of each part of 2/pi in a row.
ROW_BITS = {32: 0, 64: 5}
# In float64, rows from 1 on are scaled so that no part is subnormal, and x is scaled back.
ROW_1, ROW_SCALE = 2.0 ** (MANTISSA[64] + 2), 2**200
# Below this, sin(x) and tan(x) are x; the float64 reduction loses subnormal bits and the sign of zero.
TINY = 2.0**-28
PARTS = {32: (29, 53), 64: (53, 53, 53, 53)}


def row_of(exponent: Any, width: int) -> Any:
    """Return the table row of a biased exponent of at least MANTISSA + 2."""
    first = EXPONENT_BIAS[width] + MANTISSA[width] + 2
    return (exponent - (first - (1 << ROW_BITS[width]))) >> ROW_BITS[width]


def reduction_table(width: int) -> list[list[float]]:
    """Return the parts of 2/pi by row; in row 0, |x| below 2**(MANTISSA + 2), no bit may be left out."""
    parts: list[list[float]] = [[] for _ in PARTS[width]]
    for row in range(row_of(2 * EXPONENT_BIAS[width] + 1, width) + 1):
        # x = m * 2**(e - MANTISSA): the bit 2**-j of 2/pi gives multiples of four if e - MANTISSA - j >= 2.
        left_out = max(row - 1, 0) << ROW_BITS[width]
        rest = TWO_OVER_PI & ((1 << (TWO_OVER_PI_BITS - left_out)) - 1)
        for part, bits in zip(parts, PARTS[width], strict=True):
            drop = max(rest.bit_length() - bits, 0)
            head = rest >> drop << drop
            scale = ROW_SCALE if row and width == 64 else 1
            part.append(float(Fraction(head * scale, 1 << TWO_OVER_PI_BITS)))
            rest -= head
    return parts


TABLES = {width: reduction_table(width) for width in (32, 64)}


def table_row(x: Scalar) -> list[Scalar]:
    """Return the parts of 2/pi for the exponent of x."""
    lowest = EXPONENT_BIAS[x.bits] + MANTISSA[x.bits] + 2 - (1 << ROW_BITS[x.bits])
    exponent = (x.bitcast("uint") >> MANTISSA[x.bits]) & (2 * EXPONENT_BIAS[x.bits] + 1)
    row = row_of(select(exponent > lowest, exponent, exponent.constant(lowest)), x.bits)
    name = f"two_over_pi_{x.bits}_"
    return [row.lookup(f"{name}{k}", part, FLOAT64) for k, part in enumerate(TABLES[x.bits])]


def reduced_float32(x: Scalar) -> tuple[Scalar, Scalar]:
    """Return the quarter turns n, as integer bits, and the float64 u with x = (n + u) pi/2, for float32 x."""
    first, second = table_row(x)
    x = wide(x)
    product = x * first
    n, bits = nearest(product)
    return bits, fma(x, second, product - n)


def reduced_float64(x: Scalar) -> tuple[Scalar, Pair]:
    """Return the quarter turns n, as integer bits, and the pair r with x = n pi/2 + r, for float64 x."""
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
    return bits, sum_of_ordered(r, r_low)


def sin_and_cos(x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Return the quarter turns n as integer bits with sin and cos of the rest; float64 for float32 x."""
    if x.bits == 32:
        n, u = reduced_float32(x)
        z = u * u
        return n, u * polynomial(z, SIN_TURN[64]), polynomial(z, COS_TURN[64])
    n, (r, low) = reduced_float64(x)
    z = r * r
    half = 0.5 * z
    sine = r + fma(r * z, polynomial(z, SIN[64]), fma(-low, half, low))
    first = 1 - half
    cosine = first + (((1 - first) - half) + fma(z * z, polynomial(z, COS[64]), -(r * low)))
    return n, sine, cosine


def rounded_to(x: Scalar, y: Scalar) -> Scalar:
    """Return y in the type of x."""
    return narrow(y) if x.bits == 32 else y


def sin(x: Scalar) -> Scalar:
    """Return the sine."""
    n, sine, cosine = sin_and_cos(x)
    y = rounded_to(x, flip(select((n & 1) == 0, sine, cosine), (n >> 1) << (n.bits - 1)))
    return y if x.bits == 32 else select(fabs(x) < TINY, x, y)


def cos(x: Scalar) -> Scalar:
    """Return the cosine."""
    n, sine, cosine = sin_and_cos(x)
    return rounded_to(x, flip(select((n & 1) == 0, cosine, sine), ((n + 1) >> 1) << (n.bits - 1)))


def tan(x: Scalar) -> Scalar:
    """Return the tangent."""
    n, sine, cosine = sin_and_cos(x)
    even = (n & 1) == 0
    numerator, denominator = flip(select(even, sine, cosine), n << (n.bits - 1)), select(even, cosine, sine)
    if x.bits == 64:
        return select(fabs(x) < TINY, x, numerator / denominator)
    # A float32 reciprocal and one step of Newton's method, faster than the float64 division
    reciprocal = wide(1 / narrow(denominator))
    y = numerator * reciprocal
    return copysign(narrow(fma(fma(-y, denominator, numerator), reciprocal, y)), narrow(y))


for _body in (sin, cos, tan):
    routine(_body)
