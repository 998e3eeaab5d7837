"""The operations without rounding error beyond the last bit: IEEE arithmetic, rounding, sign, order and
division.
"""

from __future__ import annotations

import math

from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import FLOAT32, FLOAT64, Value


def select(condition: Value, yes: Value, no: Value) -> Value:
    """Return `yes` where `condition` holds, else `no`; both are computed."""
    return condition.choose(yes, no)


def fma(x: Value, y: Value, z: Value) -> Value:
    """Return x * y + z, rounded once."""
    return x.intrinsic("fma", y, z)


def sqrt(x: Value) -> Value:
    """Return the correctly rounded square root."""
    return x.intrinsic("sqrt")


def fabs(x: Value) -> Value:
    """Return x without its sign."""
    return select(x < 0, -x, x) if not x.kind.floating else x.intrinsic("fabs")


def copysign(x: Value, y: Value) -> Value:
    """Return the magnitude of x with the sign of y."""
    return x.intrinsic("copysign", y)


def rint(x: Value) -> Value:
    """Round to the nearest integer, ties to even."""
    return x.intrinsic("rint") if x.kind.floating else x


def floor(x: Value) -> Value:
    """Round down to an integer of the same type."""
    return x.intrinsic("floor") if x.kind.floating else x


def ceil(x: Value) -> Value:
    """Round up to an integer of the same type."""
    return x.intrinsic("ceil") if x.kind.floating else x


def trunc(x: Value) -> Value:
    """Round towards zero to an integer of the same type."""
    return x.intrinsic("trunc") if x.kind.floating else x


def maximum(x: Value, y: Value) -> Value:
    """Return the larger value; NaN wins, and +0 is larger than -0."""
    return x.intrinsic("maximum", y) if x.kind.floating else select(x > y, x, y)


def minimum(x: Value, y: Value) -> Value:
    """Return the smaller value; NaN wins, and -0 is smaller than +0."""
    return x.intrinsic("minimum", y) if x.kind.floating else select(x < y, x, y)


def sign(x: Value) -> Value:
    """Return -1, 0 or 1, and NaN for NaN; the sign of zero gives 0, as in NumPy."""
    if x.kind.family in ("bool", "uint"):
        return select(x != 0, x.constant(1), x.constant(0))
    one = select(x > 0, x.constant(1), select(x < 0, x.constant(-1), x.constant(0)))
    return select(x != x, x, one) if x.kind.floating else one


def fmod(x: Value, y: Value) -> Value:
    """Return the remainder with the sign of x; exact, and NaN for a zero divisor as in C99."""
    if x.kind.floating:
        return _float_fmod(x, y)
    divisor, safe = _safe_divisor(x, y)
    return select(safe, x % divisor, x.constant(0))


def _float_fmod(x: Value, y: Value) -> Value:
    """Return fmod: by the C library in float64; in float32 by long division in float64, 48 bits at a time.

    Every step is exact, for its rest has few bits more than the divisor; a digit may be off by one.
    """
    if x.bits == 64:
        return x % y
    rest, divisor = fabs(x.astype(FLOAT64)), fabs(y.astype(FLOAT64))
    inverse = 1 / divisor
    for digit in range(5, -1, -1):
        step = 2.0 ** (48 * digit)
        rest = fma(-trunc(rest * (inverse * (1 / step))), divisor * step, rest)
    rest = select(rest < 0, rest + divisor, rest)
    rest = select(rest >= divisor, rest - divisor, rest)
    rest = copysign(rest.astype(FLOAT32), x)
    return select((fabs(y) == math.inf) & (fabs(x) < math.inf), x, rest)


def _safe_divisor(x: Value, y: Value) -> tuple[Value, Value]:
    """Return a divisor that never traps, with whether it is y itself."""
    safe = y != 0
    if x.kind.family == "int":
        safe = safe & (y != -1)
    return select(safe, y, y.constant(1)), safe


def _integer_division(x: Value, y: Value) -> tuple[Value, Value]:
    """Floor and remainder; x // 0 and x % 0 are 0, and the lowest integer over -1 wraps."""
    divisor, safe = _safe_divisor(x, y)
    quotient, rest = x / divisor, x % divisor
    if x.kind.family == "int":
        lower = safe & (rest != 0) & ((rest ^ y) < 0)
        quotient = quotient - select(lower, x.constant(1), x.constant(0))
        rest = rest + select(lower, y, y.constant(0))
        unsafe = select(y == 0, x.constant(0), -x)
    else:
        unsafe = x.constant(0)
    return select(safe, quotient, unsafe), select(safe, rest, x.constant(0))


def _float_division(x: Value, y: Value) -> tuple[Value, Value]:
    """NumPy's npy_divmod: the remainder has the divisor's sign, and the floor agrees with it."""
    rest = _float_fmod(x, y)
    quotient = (x - rest) / y
    other_sign = (rest != 0) & ((rest < 0) ^ (y < 0))
    rest = select(other_sign, rest + y, rest)
    quotient = select(other_sign, quotient - 1, quotient)
    rest = select(rest == 0, copysign(rest.constant(0), y), rest)
    floored = floor(quotient)
    floored = select(quotient - floored > 0.5, floored + 1, floored)
    floored = select(quotient == 0, copysign(x.constant(0), x / y), floored)
    return select(y == 0, x / y, floored), select(y == 0, x.constant(math.nan), rest)


def floor_divide(x: Value, y: Value) -> Value:
    """Return NumPy's x // y."""
    return _float_division(x, y)[0] if x.kind.floating else _integer_division(x, y)[0]


def remainder(x: Value, y: Value) -> Value:
    """Return NumPy's x % y."""
    return _float_division(x, y)[1] if x.kind.floating else _integer_division(x, y)[1]


for _body in (fma, sqrt, copysign):
    routine(_body, inline=True)
for _body in (fabs, rint, floor, ceil, trunc, maximum, minimum, sign):
    routine(_body, integers=True, inline=True)
for _body in (fmod, floor_divide, remainder):
    routine(_body, integers=True)
