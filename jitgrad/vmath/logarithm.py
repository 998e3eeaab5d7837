"""log and what is built on it.

Methods: x = 2**k m with m around 1. In float32, log m = -log r + log(1 + f) with f = m r - 1, for 16 numbers
r whose logarithms are nearly short enough to be added to k exactly (Tang, 1990; Gal, 1986). In float64, and
in log1p, log(1 + f) = f - s (f - R(s*s)) with s = f / (2 + f) (fdlibm's e_log.c and s_log1p.c), where the sum
of f and k keeps its rounding error.
"""

from __future__ import annotations

import math

from jitgrad.vmath.coefficients import INVERSE_LN2, INVERSE_LN10, LN2, LN2_NEAREST, LOG, LOG_CELL
from jitgrad.vmath.exact import fma, select
from jitgrad.vmath.log_table import TABLES
from jitgrad.vmath.pieces import INFINITY, MANTISSA, NAN, Pair, horner, outside, pattern, polynomial
from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import FLOAT32, Body, Value, pick, rarely

Constant = tuple[float, float]  # a number in two parts

# The second part is positive, which keeps the sign of a zero.
LN2_PARTS = {32: LN2[32], 64: LN2_NEAREST[64]}
SMALLEST_NORMAL = {32: 2.0**-126, 64: 2.0**-1022}
# Below this, 1 + x has a normal reciprocal.
LARGE_SUM = {32: 2.0**126, 64: 2.0**1022}
# The least m: the first keeps f small on both sides, with the second f of log1p is exact.
LEAST, LEAST_OF_SUM = 0.69, 3 / 4
# The least m of the tables; of the bits that m has beyond it, the four highest say which r.
FIRST_CELL = 0.6875
# From here on, logarithms take the short way, which in float32 has k and the cell from x - LOWEST in bits.
LOWEST_EXPONENT = 125
LOWEST = {32: FIRST_CELL * 2.0**-LOWEST_EXPONENT, 64: SMALLEST_NORMAL[64]}


def negative_exponent(bits: Value, least: float) -> Value:
    """Return -k * 2**MANTISSA as an integer, given the bits of x, with m from `least` up to its double."""
    step = 1 << MANTISSA[bits.bits]
    return (pattern(least, bits.bits) + step - 1 - bits) & -step


def log_of_product(n: Value, f: Value, rest: Value | None = None) -> Pair:
    """Return k log 2 + log(1 + f + rest) for n = -k * 2**MANTISSA and a rest below the last bit of 1 + f."""
    high, low = (part * 2.0 ** -MANTISSA[f.bits] for part in LN2_PARTS[f.bits])
    n = n.bitcast("int").astype(f.kind)
    total = fma(n, n.constant(-high), f)
    error = f - fma(n, n.constant(high), total)
    error = fma(n, n.constant(-low), error)
    if rest is not None:
        error = error + rest
    s = f / (f + 2)
    z = s * s
    g = fma(-z, horner(z, LOG[f.bits]), f)
    if f.bits == 64:  # s is too large by about half of this, which the other bases would show.
        excess = fma(s, f, 2 * s - f)
        error = fma(excess, 0.5 * g, error)
    return total, fma(-s, g, error)


def place_of(x: Value) -> Value:
    """Return how many floats there are from LOWEST to x; more than to infinity where x is not positive."""
    return x.bitcast("uint") - pattern(LOWEST[x.bits], x.bits)


def log_float64(place: Value) -> Pair:
    """Return log(x), given the place of x."""
    bits = place + pattern(LOWEST[64], 64)
    n = negative_exponent(bits, LEAST)
    return log_of_product(n, (bits + n).bitcast("float") - 1)


def to_base(logarithm: Pair, slope: Constant) -> Value:
    """Return the logarithm to a base, given the natural one; `slope` is the logarithm of e."""
    first, second = logarithm
    low = fma(second, second.constant(slope[0]), first * slope[1])
    return fma(first, first.constant(slope[0]), low)


def cell(place: Value, name: str) -> Pair:
    """Return f and t with log x = log(1 + f) + t times the table's factor, given the place of float32 x.

    t is exact.
    """
    (unit, _), *numbers = TABLES[name]
    reciprocals, logarithms = zip(*numbers, strict=True)
    rest = place & 0x7FFFFF
    m = (rest + pattern(FIRST_CELL, 32)).bitcast("float")
    which = rest >> 19
    f = fma(m, pick(which, f"{name}.r", reciprocals, FLOAT32), m.constant(-1))
    k = (place - rest).bitcast("int").astype(f.kind)  # counted from LOWEST, and times 2**23
    offset = [t - LOWEST_EXPONENT * unit for t in logarithms]
    return f, fma(k, k.constant(unit * 2.0**-23), pick(which, f"{name}.log", offset, FLOAT32))


def log_float32(place: Value, name: str, slope: Constant) -> Value:
    """Return the logarithm of x of that name, given the place of x; `slope` is the logarithm of e."""
    f, t = cell(place, name)
    curve = [c * slope[0] for c in LOG_CELL[32]]
    y = fma(f, f.constant(slope[0]), f * horner(f, [slope[1], *curve]))
    return fma(t, t.constant(TABLES[name][0][1]), y)


def log_at(place: Value) -> Value:
    """Return log(x), given the place of x."""
    if place.bits == 64:
        first, second = log_float64(place)
        return first + second
    f, t = cell(place, "log")
    return fma(t, t.constant(TABLES["log"][0][1]), fma(f * f, polynomial(f, LOG_CELL[32]), f))


def log2_at(place: Value) -> Value:
    """Return log2(x), given the place of x."""
    if place.bits == 64:
        return to_base(log_float64(place), INVERSE_LN2[64])
    return log_float32(place, "log2", INVERSE_LN2[32])


def log10_at(place: Value) -> Value:
    """Return log10(x), given the place of x."""
    if place.bits == 64:
        return to_base(log_float64(place), INVERSE_LN10[64])
    return log_float32(place, "log10", INVERSE_LN10[32])


def elsewhere(x: Value, at: Body, unit: float) -> Value:
    """Return a logarithm of x below LOWEST, infinite or NaN; `unit` is the logarithm of 2."""
    lift = MANTISSA[x.bits] + 2
    y = at(place_of(x * 2.0**lift)) - lift * unit
    y = select((x > 0) & (x < INFINITY), y, select(x == 0, x.constant(-INFINITY), x))
    return select(x < 0, x.constant(NAN), y)


def log_elsewhere(x: Value) -> Value:
    """Return log(x) below LOWEST, at infinity and NaN."""
    return elsewhere(x, log_at, math.log(2))


def log2_elsewhere(x: Value) -> Value:
    """Return log2(x) below LOWEST, at infinity and NaN."""
    return elsewhere(x, log2_at, 1.0)


def log10_elsewhere(x: Value) -> Value:
    """Return log10(x) below LOWEST, at infinity and NaN."""
    return elsewhere(x, log10_at, math.log10(2))


def in_two_ways(x: Value, at: Body, exception: Body) -> Value:
    """Return a logarithm of x: from its place, as a rule."""
    place = place_of(x)
    end = pattern(INFINITY, x.bits) - pattern(LOWEST[x.bits], x.bits)
    return rarely(place >= end, at(place), exception, x)


def log(x: Value) -> Value:
    """Return the natural logarithm."""
    return in_two_ways(x, log_at, log_elsewhere)


def log2(x: Value) -> Value:
    """Return the logarithm to base 2."""
    return in_two_ways(x, log2_at, log2_elsewhere)


def log10(x: Value) -> Value:
    """Return the logarithm to base 10."""
    return in_two_ways(x, log10_at, log10_elsewhere)


def log_of_sum(x: Value, rest: Value | None = None) -> Value:
    """Return log(1 + x + rest) for -1 < x < LARGE_SUM and a rest below the last bit of x."""
    n = negative_exponent((1 + x).bitcast("uint"), LEAST_OF_SUM)
    power = (n + pattern(1, n.bits)).bitcast("float")
    # -(1 - power) is -0 for k = 0, where f must have the sign of x.
    f = fma(x, power, -(1 - power))
    first, second = log_of_product(n, f, None if rest is None else rest * power)
    return first + second


def log_of_large_sum(x: Value) -> Value:
    """Return log(1 + x) for x <= -1, large x and NaN."""
    return log(1 + x)


def log1p(x: Value) -> Value:
    """Return log(1 + x)."""
    special = outside(1 + x, SMALLEST_NORMAL[x.bits], LARGE_SUM[x.bits])
    return rarely(special, log_of_sum(x), log_of_large_sum, x)


for _body in (log, log1p, log2, log10):
    routine(_body)
