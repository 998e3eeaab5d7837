"""The operations without rounding error beyond the last bit: IEEE arithmetic, rounding, sign and order."""

from __future__ import annotations

from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import Value


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


for _body in (fma, sqrt, copysign):
    routine(_body, inline=True)
for _body in (fabs, rint, floor, ceil, trunc, maximum, minimum, sign):
    routine(_body, integers=True, inline=True)
