"""What the elementary functions are built from: polynomials, sums and products in two parts, powers of two."""

from __future__ import annotations

from collections.abc import Sequence

from jitgrad.vmath.exact import fma, rint, select
from jitgrad.vmath.scalar import FLOAT32, FLOAT64, Number, Scalar

Pair = tuple[Scalar, Scalar]  # an unevaluated sum, the second part small beside the first

MANTISSA = {32: 23, 64: 52}
EXPONENT_BIAS = {32: 127, 64: 1023}
INFINITY = float("inf")
NAN = float("nan")


def wide(x: Scalar) -> Scalar:
    """Return x as float64."""
    return x.astype(FLOAT64)


def narrow(x: Scalar) -> Scalar:
    """Return x rounded to float32."""
    return x.astype(FLOAT32)


def polynomial(x: Scalar, coefficients: Sequence[Number]) -> Scalar:
    """Return the sum of coefficients[k] * x**k, in halves of even and odd powers so that they overlap in time."""
    if len(coefficients) < 4:
        return horner(x, coefficients)
    square = x * x
    return fma(horner(square, coefficients[1::2]), x, horner(square, coefficients[0::2]))


def horner(x: Scalar, coefficients: Sequence[Number]) -> Scalar:
    """Return the sum of coefficients[k] * x**k from the highest power down."""
    total = x.constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = fma(total, x, x.constant(coefficient))
    return total


def sum_of_ordered(x: Scalar, y: Scalar) -> Pair:
    """Return x + y exactly where |x| >= |y| or x is zero (Dekker's fast two-sum)."""
    total = x + y
    return total, (x - total) + y


def sum_of(x: Scalar, y: Scalar) -> Pair:
    """Return x + y exactly (Knuth's two-sum)."""
    total = x + y
    other = total - x
    return total, (x - (total - other)) + (y - other)


def product_of(x: Scalar, y: Scalar) -> Pair:
    """Return x * y exactly."""
    total = x * y
    return total, fma(x, y, -total)


def quotient_of(numerator: Pair, denominator: Pair) -> Pair:
    """Return the quotient of two pairs to about twice the precision."""
    reciprocal = 1 / denominator[0]
    first = numerator[0] * reciprocal
    rest = fma(-first, denominator[0], numerator[0]) + fma(-first, denominator[1], numerator[1])
    return first, rest * reciprocal


def clamp(x: Scalar, low: Number, high: Number) -> Scalar:
    """Return x within [low, high]; NaN stays."""
    x = select(x < low, x.constant(low), x)
    return select(x > high, x.constant(high), x)


def integer_bits(n: Scalar, add: int = 0) -> Scalar:
    """Return the low bits of the small whole number n + add as an unsigned integer, garbage above."""
    return (n + (1.5 * 2.0 ** MANTISSA[n.bits] + add)).bitcast("uint")


def power_of_two(n: Scalar) -> Scalar:
    """Return 2**n for a whole number n within the normal exponents."""
    return (integer_bits(n, EXPONENT_BIAS[n.bits]) << MANTISSA[n.bits]).bitcast("float")


def scale(x: Scalar, n: Scalar) -> Scalar:
    """Return x * 2**n for any whole n up to twice the exponent range, rounding once."""
    first = rint(n * 0.5)
    return x * power_of_two(first) * power_of_two(n - first)


def signs(x: Scalar) -> Scalar:
    """Return the sign bit of x in place, as an unsigned integer."""
    return x.bitcast("uint") & (1 << (x.bits - 1))


def flip(x: Scalar, sign: Scalar) -> Scalar:
    """Return x with its sign flipped where the sign bit of `sign` is set."""
    return (x.bitcast("uint") ^ sign).bitcast("float")
