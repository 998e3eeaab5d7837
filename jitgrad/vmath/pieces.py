"""What elementary functions are built from: polynomials, sums and products in two parts, powers of two."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from jitgrad.vmath.exact import fma, select
from jitgrad.vmath.value import FLOAT32, FLOAT64, Number, Value

Pair = tuple[Value, Value]  # an unevaluated sum, the second part small beside the first

MANTISSA = {32: 23, 64: 52}
EXPONENT_BIAS = {32: 127, 64: 1023}
SHIFT = {width: 1.5 * 2.0**mantissa for width, mantissa in MANTISSA.items()}
SHIFT_BITS = {32: 0x4B400000, 64: 0x4338000000000000}
INFINITY = float("inf")
NAN = float("nan")


def wide(x: Value) -> Value:
    """Return x as float64."""
    return x.astype(FLOAT64)


def narrow(x: Value) -> Value:
    """Return x rounded to float32."""
    return x.astype(FLOAT32)


def polynomial(x: Value, coefficients: Sequence[Number]) -> Value:
    """Return the sum of coefficients[k] * x**k, even and odd powers apart so that they overlap in time."""
    if len(coefficients) < 4:
        return horner(x, coefficients)
    square = x * x
    return fma(horner(square, coefficients[1::2]), x, horner(square, coefficients[0::2]))


def horner(x: Value, coefficients: Sequence[Number | Value]) -> Value:
    """Return the sum of coefficients[k] * x**k from the highest power down."""
    total = x.partner(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = fma(total, x, x.partner(coefficient))
    return total


def sum_of_ordered(x: Value, y: Value) -> Pair:
    """Return x + y exactly where |x| >= |y| or x is zero (Dekker's fast two-sum)."""
    total = x + y
    return total, (x - total) + y


def sum_of(x: Value, y: Value) -> Pair:
    """Return x + y exactly (Knuth's two-sum)."""
    total = x + y
    other = total - x
    return total, (x - (total - other)) + (y - other)


def product_of(x: Value, y: Value) -> Pair:
    """Return x * y exactly."""
    total = x * y
    return total, fma(x, y, -total)


def quotient_of(numerator: Pair, denominator: Pair) -> Pair:
    """Return the quotient of two pairs to about twice the precision."""
    reciprocal = 1 / denominator[0]
    first = numerator[0] * reciprocal
    rest = fma(-first, denominator[0], numerator[0]) + fma(-first, denominator[1], numerator[1])
    return first, rest * reciprocal


def pattern(number: float, bits: int) -> int:
    """Return the bits of the float of this width that is nearest to `number`."""
    return int.from_bytes(struct.pack("<f" if bits == 32 else "<d", number), "little")


def outside(x: Value, low: float, high: float) -> Value:
    """Return whether x is NaN or not in [low, high), for 0 < low < high, by one comparison."""
    first, last = pattern(low, x.bits), pattern(high, x.bits)
    return x.bitcast("uint") - first >= last - first


def clamp(x: Value, low: Number, high: Number) -> Value:
    """Return x within [low, high]; NaN stays."""
    x = select(x < low, x.constant(low), x)
    return select(x > high, x.constant(high), x)


def at_most(x: Value, high: Number) -> Value:
    """Return the smaller of x and `high`; NaN stays."""
    return select(x > high, x.constant(high), x)


def nearest(x: Value, factor: Number = 1) -> tuple[Value, Value]:
    """Return the whole number n nearest to x * factor, and n as unsigned integer with garbage in high bits.

    Adding 1.5 * 2**MANTISSA leaves n in the low bits; |n| must be less than a quarter of that.
    """
    shift = x.constant(SHIFT[x.bits])
    shifted = x + shift if factor == 1 else fma(x, x.constant(factor), shift)
    return shifted - shift, shifted.bitcast("uint")


def power_of_two(bits: Value) -> Value:
    """Return 2**n within the normal exponents, for the integer bits of n."""
    return ((bits + EXPONENT_BIAS[bits.bits]) << MANTISSA[bits.bits]).bitcast("float")


def times_power(x: Value, bits: Value) -> Value:
    """Return x * 2**n where both are normal numbers, for the integer bits of n."""
    return (x.bitcast("uint") + (bits << MANTISSA[x.bits])).bitcast("float")


def scale(x: Value, bits: Value) -> Value:
    """Return x * 2**n for n up to twice the exponent range, rounding once, for the integer bits of n."""
    mantissa = MANTISSA[x.bits]
    # n = first + second with both biased exponents positive
    total = bits - (SHIFT_BITS[x.bits] - 2 * EXPONENT_BIAS[x.bits])
    first = total >> 1
    second = total - first
    return x * (first << mantissa).bitcast("float") * (second << mantissa).bitcast("float")


def signs(x: Value) -> Value:
    """Return the sign bit of x in place, as an unsigned integer."""
    return x.bitcast("uint") & (1 << (x.bits - 1))


def flip(x: Value, sign: Value) -> Value:
    """Return x with its sign flipped where the sign bit of `sign` is set."""
    return (x.bitcast("uint") ^ sign).bitcast("float")
