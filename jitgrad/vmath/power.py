"""power, cbrt and hypot.

Methods: x**y = exp(y log x) with the logarithm in two parts, from a table of 16 reciprocals whose products
with x, less 1, are exact (Tang, 1990); cbrt from the bits of x as a logarithm, with the exact error of that
guess in a polynomial (Kahan and Bindel, 2001); hypot with the rounding error of the squares.
"""

from __future__ import annotations

import math

from jitgrad.vmath.coefficients import CBRT, EXP_SHORT, LN2, LOG_NEAR
from jitgrad.vmath.exact import copysign, fabs, fma, rint, select, sqrt
from jitgrad.vmath.pieces import (
    EXPONENT_BIAS,
    INFINITY,
    MANTISSA,
    NAN,
    SHIFT,
    SHIFT_BITS,
    Pair,
    clamp,
    flip,
    horner,
    nearest,
    polynomial,
    product_of,
    scale,
    signs,
    sum_of_ordered,
)
from jitgrad.vmath.routine import routine
from jitgrad.vmath.tables import LOGARITHMS, RECIPROCALS
from jitgrad.vmath.value import FLOAT32, Value, pick, rarely

# The bits of the least m: the intervals from there on suit RECIPROCALS.
LOWEST_BITS = {32: 0x3F343000, 64: 0x3FE6860000000000}
# Up to here, exp is a normal number; beyond the second, it is 0 or inf.
PLAIN = {32: 87.0, 64: 707.0}
BEYOND = {32: 110.0, 64: 760.0}
# The significant bits of cbrt's guess, and the exponent that balances its error
GUESS_BITS = {32: 12, 64: 26}
GUESS_BALANCE = 139 / 2048

# Where the squares are normal numbers and so are their rounding errors, and what brings others there.
MODERATE = {32: (2.0**-40, 2.0**60), 64: (2.0**-450, 2.0**500)}
EXTREME_SCALE = {32: 2.0**90, 64: 2.0**600}


def is_normal(x: Value) -> Value:
    """Return whether x is positive and neither subnormal nor infinite."""
    least = 1 << MANTISSA[x.bits]
    return (x.bitcast("uint") - least) < (2 * EXPONENT_BIAS[x.bits] * least)


def lifted(x: Value) -> tuple[Value, Value]:
    """Return x made normal by a power of two, and that power's exponent."""
    small, lift = x < 2.0 ** (1 - EXPONENT_BIAS[x.bits]), MANTISSA[x.bits] + 2
    return select(small, x * 2.0**lift, x), select(small, x.constant(lift), x.constant(0))


def log_pair(x: Value, lift: Value | None = None) -> Pair:
    """Return log(x) - lift log(2) in two parts for normal x > 0, to 2**-33 or 2**-63.

    The second is up to 2**-10 beside the first.
    """
    mantissa, integers = MANTISSA[x.bits], x.bitcast("int")
    offset = integers - LOWEST_BITS[x.bits]
    exponent, index = offset >> mantissa, offset >> (mantissa - 4)
    if x.bits == 32:
        k = exponent.astype(FLOAT32)
    else:  # which few machines convert from integers
        k = (exponent + SHIFT_BITS[64]).bitcast("float") - SHIFT[64]
    if lift is not None:
        k = k - lift
    m = (integers - (exponent << mantissa)).bitcast("float")
    f = fma(m, pick(index, "reciprocals", RECIPROCALS, x.kind), x.constant(-1))
    first, second = (pick(index, f"logarithms{i}", LOGARITHMS[x.bits][i], x.kind) for i in range(2))
    half = 0.5 * f
    near = fma(-half, f, f)
    near_low = fma(-half, f, f - near)
    high, low = LN2[x.bits]
    total, error = sum_of_ordered(fma(k, x.constant(high), first), near)
    square = f * f
    rest = fma(square * f, polynomial(f, LOG_NEAR[x.bits]), near_low)
    return total, (fma(k, x.constant(low), second) + error) + rest


def exp_of_pair(t: Value, rest: Value) -> tuple[Value, Value]:
    """Return exp(t + rest) / 2**n and n as integer bits, for a rest that is small beside t."""
    high, low = LN2[t.bits]
    n, bits = nearest(t + rest, 1 / math.log(2))
    r = fma(n, t.constant(-high), t) + fma(n, t.constant(-low), rest)
    return horner(r, (1, 1, *EXP_SHORT[t.bits])), bits


def power(x: Value, y: Value) -> Value:
    """Return x**y with C99's special values."""
    first, second = log_pair(fabs(x))
    t, error = product_of(first, y)
    z, n = exp_of_pair(t, fma(second, y, error))
    usual = (z.bitcast("uint") + (n << MANTISSA[x.bits])).bitcast("float")
    return rarely(~is_normal(x) | ~(fabs(t) <= PLAIN[x.bits]), usual, power_of_any, usual, t, x, y)


def power_of_any(usual: Value, t: Value, x: Value, y: Value) -> Value:
    """Return x**y, given |x|**y for normal x and results."""
    magnitude = fabs(x)
    strange = ~is_normal(magnitude) | ~(fabs(t) <= PLAIN[x.bits])
    result = rarely(strange, usual, power_at_edges, magnitude, y)
    whole, half = rint(y) == y, 0.5 * y
    negative = signs(x)
    odd = whole & (rint(half) != half)
    result = flip(result, select(odd, negative, negative ^ negative))
    result = select((x < 0) & ~whole & (magnitude < INFINITY), x.constant(NAN), result)
    result = select((x == -1) & (fabs(y) == INFINITY), x.constant(1), result)
    return select((x == 1) | (y == 0), x.constant(1), result)


def power_at_edges(x: Value, y: Value) -> Value:
    """Return x**y for x >= 0, whatever x, y and the result."""
    first, second = log_pair(*lifted(x))
    finite = (x > 0) & (x < INFINITY)
    first = select(finite, first, select(x == 0, x.constant(-INFINITY), x))
    high, low = product_of(first, y)
    t = clamp(high, -BEYOND[x.bits], BEYOND[x.bits])
    rest = select(finite & (t == high), fma(second, y, low), x.constant(0))
    return scale(*exp_of_pair(t, rest))


def cbrt(x: Value) -> Value:
    """Return the real cube root."""
    magnitude = fabs(x)
    return rarely(~is_normal(magnitude), copysign(cbrt_of_normal(magnitude), x), cbrt_of_any, x)


def cbrt_of_normal(x: Value) -> Value:
    """Return the cube root of normal x > 0."""
    mantissa, bias = MANTISSA[x.bits], EXPONENT_BIAS[x.bits]
    # The bits of x are nearly its logarithm, whose third gives x**(-1/3) to 1 in 28, short enough to square.
    drop = mantissa + 1 - GUESS_BITS[x.bits]
    whole = (x.bitcast("uint") >> drop) | ((mantissa + bias) << mantissa)
    middle = (4 / 3 * bias - GUESS_BALANCE) * 2.0 ** (mantissa - drop)
    third = fma(
        whole.bitcast("float"),
        x.constant(-1 / 3),
        x.constant(SHIFT[x.bits] + round(2**mantissa / 3 + middle)),
    )
    inverse = (third.bitcast("uint") << drop).bitcast("float")
    guess = x * (inverse * inverse)
    # With e = 1 - x inverse**3: cbrt(x) = guess (1 - e)**(-2/3).
    e = fma(-guess, inverse, x.constant(1))
    return fma(guess * e, polynomial(e, CBRT[x.bits]), guess)


def cbrt_of_any(x: Value) -> Value:
    """Return the cube root also of subnormal numbers, zero, infinity and NaN."""
    magnitude = fabs(x)
    small, lift = magnitude < 2.0 ** (1 - EXPONENT_BIAS[x.bits]), MANTISSA[x.bits] // 3 + 1
    y = cbrt_of_normal(select(small, magnitude * 2.0 ** (3 * lift), magnitude))
    y = select(small, y * 2.0**-lift, y)
    return copysign(select((magnitude > 0) & (magnitude < INFINITY), y, magnitude), x)


def hypot(x: Value, y: Value) -> Value:
    """Return sqrt(x*x + y*y) without overflow; infinite if either is infinite, even beside NaN."""
    x, y = fabs(x), fabs(y)
    large, little = select(x > y, x, y), select(x > y, y, x)
    square, other = product_of(large, large), product_of(little, little)
    total = root_of_sum(square, other)
    low, high = MODERATE[x.bits]
    return rarely(~((large >= low) & (large <= high)), total, hypot_of_any, x, y)


def hypot_of_any(x: Value, y: Value) -> Value:
    """Return sqrt(x*x + y*y) for x, y >= 0 whose squares may overflow or be subnormal."""
    large, little = select(x > y, x, y), select(x > y, y, x)
    low, high = MODERATE[x.bits]
    huge, tiny, one = large > high, large < low, large.constant(1)
    up, down = EXTREME_SCALE[x.bits], 1 / EXTREME_SCALE[x.bits]
    factor = select(huge, one.constant(down), select(tiny, one.constant(up), one))
    inverse = select(huge, one.constant(up), select(tiny, one.constant(down), one))
    a, b = large * factor, little * factor
    root = root_of_sum(product_of(a, a), product_of(b, b)) * inverse
    root = select(large + little == 0, large, root)
    return select((x == INFINITY) | (y == INFINITY), x.constant(INFINITY), root)


def root_of_sum(x: Pair, y: Pair) -> Value:
    """Return sqrt(x + y) for x >= y >= 0, neither tiny nor huge."""
    total, carry = sum_of_ordered(x[0], y[0])
    root = sqrt(total)
    rest = fma(-root, root, total) + (carry + (x[1] + y[1]))
    return root + rest * 0.5 / root


for _body in (power, cbrt, hypot):
    routine(_body)
