"""fmod, remainder and floor_divide, exact in their rest for every quotient.

Methods: below SHORT_QUOTIENT the whole part of the rounded quotient, whose rest fma gives exactly; above it,
long division with digits of STEP bits (as in Knuth, The Art of Computer Programming, 4.3.1). What NumPy
rounds is rounded as in its npy_divmod.
"""

from __future__ import annotations

from jitgrad.vmath.exact import copysign, fabs, floor, fma, rint, select, trunc
from jitgrad.vmath.pieces import EXPONENT_BIAS, INFINITY, MANTISSA, NAN, flip, signs
from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import Value, rarely

# Below these, NumPy's floor of a quotient is the exact one: its roundings stay within half a unit.
SHORT_QUOTIENT = {32: 2.0**21, 64: 2.0**50}
STEP = {32: 20, 64: 49}
# Below the first, numbers are multiplied by 2 to the second, so that they are normal.
SMALL, NORMALISING = {32: 2.0**-100, 64: 2.0**-1000}, {32: 32, 64: 64}


def short_division(x: Value, y: Value) -> tuple[Value, Value, Value]:
    """Divide |x| by |y|: whether that takes a long division, else a whole number and the rest.

    Rounding the quotient can reach the next whole number but not pass it. So the rest lies between -|y| and
    |y|; it is a multiple of the last bit of y, and exact.
    """
    divisor = fabs(y)
    quotient = fabs(x) / divisor
    whole = trunc(quotient)
    short = (quotient < SHORT_QUOTIENT[x.bits]) & (divisor < INFINITY)
    return ~short, whole, fma(-whole, divisor, fabs(x))


def mantissa_and_exponent(x: Value) -> tuple[Value, Value]:
    """Return m in [1, 2) and the integer e plus a bias, for x = m 2**e > 0."""
    mantissa, bias = MANTISSA[x.bits], EXPONENT_BIAS[x.bits]
    small, power = x < SMALL[x.bits], NORMALISING[x.bits]
    bits = select(small, x * 2.0**power, x).bitcast("int")
    exponent = (bits >> mantissa) - select(small, bits.constant(power), bits.constant(0))
    return ((bits & ((1 << mantissa) - 1)) | (bias << mantissa)).bitcast("float"), exponent


def long_rest(rest: Value, divisor: Value, inverse: Value, places: Value) -> Value:
    """Return rest * 2**places less a multiple of the divisor, no larger than it.

    The divisor lies in [1, 2), the rest is a multiple of its last bit less than 2.
    """
    step = select(places < STEP[rest.bits], places, places.constant(STEP[rest.bits]))
    shifted = rest * ((step + EXPONENT_BIAS[rest.bits]) << MANTISSA[rest.bits]).bitcast("float")
    rest = fma(-rint(shifted * inverse), divisor, shifted)
    places = places - step
    return rarely(places > 0, rest, long_rest, rest, divisor, inverse, places)


def long_fmod(x: Value, y: Value) -> Value:
    """Return fmod for a quotient of 1 or more, or a zero, infinity or NaN."""
    (dividend, high), (divisor, low) = mantissa_and_exponent(fabs(x)), mantissa_and_exponent(fabs(y))
    rest = long_rest(dividend, divisor, 1 / divisor, high - low)
    rest = select(rest < 0, rest + divisor, rest) * (fabs(y) / divisor)
    rest = select(fabs(y) == INFINITY, fabs(x), rest)
    defined = (fabs(x) < INFINITY) & (fabs(y) > 0)
    return select(defined, copysign(rest, x), x.constant(NAN))


def long_division(x: Value, y: Value) -> tuple[Value, Value]:
    """NumPy's npy_divmod: the remainder has the divisor's sign, and the floor agrees with it."""
    rest = long_fmod(x, y)
    quotient = (x - rest) / y
    other_sign = (rest != 0) & ((rest < 0) ^ (y < 0))
    rest = select(other_sign, rest + y, rest)
    quotient = select(other_sign, quotient - 1, quotient)
    rest = select(rest == 0, copysign(rest.constant(0), y), rest)
    floored = floor(quotient)
    floored = select(quotient - floored > 0.5, floored + 1, floored)
    floored = select(quotient == 0, copysign(x.constant(0), x / y), floored)
    return select(y == 0, x / y, floored), rest


def long_floor_divide(x: Value, y: Value) -> Value:
    """Return x // y where the quotient takes a long division."""
    return long_division(x, y)[0]


def long_remainder(x: Value, y: Value) -> Value:
    """Return x % y where the quotient takes a long division."""
    return long_division(x, y)[1]


def safe_divisor(x: Value, y: Value) -> tuple[Value, Value]:
    """Return an integer divisor that never traps, with whether it is y itself."""
    safe = y != 0
    if x.kind.family == "int":
        safe = safe & (y != -1)
    return select(safe, y, y.constant(1)), safe


def integer_division(x: Value, y: Value) -> tuple[Value, Value]:
    """Floor and remainder; x // 0 and x % 0 are 0, and the lowest integer over -1 wraps."""
    divisor, safe = safe_divisor(x, y)
    quotient, rest = x / divisor, x % divisor
    if x.kind.family == "int":
        lower = safe & (rest != 0) & ((rest ^ y) < 0)
        quotient = quotient - select(lower, x.constant(1), x.constant(0))
        rest = rest + select(lower, y, y.constant(0))
        unsafe = select(y == 0, x.constant(0), -x)
    else:
        unsafe = x.constant(0)
    return select(safe, quotient, unsafe), select(safe, rest, x.constant(0))


def fmod(x: Value, y: Value) -> Value:
    """Return the remainder with the sign of x; exact, and NaN for a zero divisor as in C99."""
    if not x.kind.floating:
        divisor, safe = safe_divisor(x, y)
        return select(safe, x % divisor, x.constant(0))
    long, _, rest = short_division(x, y)
    rest = select(rest < 0, rest + fabs(y), rest)
    return rarely(long, copysign(rest, x), long_fmod, x, y)


def remainder(x: Value, y: Value) -> Value:
    """Return NumPy's x % y."""
    if not x.kind.floating:
        return integer_division(x, y)[1]
    long, _, rest = short_division(x, y)
    rest = select(rest < 0, rest + fabs(y), rest)
    other_sign = signs(x) != signs(y)
    rest = select(other_sign & (rest > 0), fabs(y) - rest, rest)
    return rarely(long, copysign(rest, y), long_remainder, x, y)


def floor_divide(x: Value, y: Value) -> Value:
    """Return NumPy's x // y."""
    if not x.kind.floating:
        return integer_division(x, y)[0]
    long, whole, rest = short_division(x, y)
    up, down = select(rest > 0, whole + 1, whole), select(rest < 0, whole - 1, whole)
    sign = signs(x) ^ signs(y)
    return rarely(long, flip(select(sign != 0, up, down), sign), long_floor_divide, x, y)


for _body in (fmod, floor_divide, remainder):
    routine(_body, integers=True)
