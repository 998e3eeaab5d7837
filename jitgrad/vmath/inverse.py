"""arcsin, arccos, arctan and arctan2.

Method: minimax polynomials in x*x after the reductions arctan(x) = pi/2 - arctan(1/x) and arcsin(x) = pi/2 -
2 arcsin(sqrt((1 - x)/2)) (Cody and Waite, 1980; fdlibm's e_asin.c and s_atan.c).
"""

from __future__ import annotations

import math

from jitgrad.vmath.coefficients import ASIN, ATAN, PI
from jitgrad.vmath.exact import copysign, fabs, fma, select, sqrt
from jitgrad.vmath.pieces import flip, polynomial, signs
from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import Value


def arctan_up_to_one(q: Value) -> Value:
    """Return arctan(q) - q for |q| <= 1."""
    z = q * q
    return q * z * polynomial(z, ATAN[q.bits])


def arctan(x: Value) -> Value:
    """Return the inverse tangent."""
    magnitude = fabs(x)
    large = magnitude > 1
    q = select(large, -1 / magnitude, magnitude)
    high, low = PI[x.bits]
    first, second = select(large, x.constant(high / 2), q), select(large, x.constant(low / 2), q * 0)
    return copysign(first + (select(large, q, second) + (arctan_up_to_one(q) + second)), x)


def arctan2(y: Value, x: Value) -> Value:
    """Return the angle of the point (x, y), with C99's values at zeros and infinities."""
    steep = fabs(y) > fabs(x)
    numerator, denominator = select(steep, fabs(x), fabs(y)), select(steep, fabs(y), fabs(x))
    diagonal = numerator == denominator
    ratio = numerator / denominator
    ratio = select(diagonal, select(denominator == 0, x.constant(0), x.constant(1)), ratio)
    left = signs(x) != 0
    # The angle is base + turn * arctan(ratio), with base 0, pi/2 or pi.
    turn = signs(x) ^ select(steep, signs(x.constant(-1.0)), signs(x.constant(0.0)))
    high, low = PI[x.bits]
    zero = x.constant(0)
    base = select(steep, x.constant(high / 2), select(left, x.constant(high), zero))
    base_low = select(steep, x.constant(low / 2), select(left, x.constant(low), zero))
    rest = select(ratio == 1, x.constant(math.pi / 4 - 1), arctan_up_to_one(ratio))
    total = base + (flip(ratio, turn) + (flip(rest, turn) + base_low))
    return copysign(select((x != x) | (y != y), x + y, total), y)


def arcsin_terms(x: Value) -> tuple[Value, Value, Value]:
    """Return whether |x| > 1/2, s = |x| or sqrt((1 - |x|)/2), and arcsin(s) - s."""
    magnitude = fabs(x)
    large = magnitude > 0.5
    half = fma(magnitude, x.constant(-0.5), x.constant(0.5))
    z = select(large, half, x * x)
    s = select(large, sqrt(half), magnitude)
    return large, s, s * z * polynomial(z, ASIN[x.bits])


def arcsin(x: Value) -> Value:
    """Return the inverse sine."""
    large, s, rest = arcsin_terms(x)
    high, low = PI[x.bits]
    turned = high / 2 - (2 * s + (2 * rest - low / 2))
    return copysign(select(large, turned, s + rest), x)


def arccos(x: Value) -> Value:
    """Return the inverse cosine."""
    large, s, rest = arcsin_terms(x)
    high, low = PI[x.bits]
    negative = signs(x)
    near = 2 * (s + rest)
    far = high - (near - low)
    middle = high / 2 - (flip(s, negative) + (flip(rest, negative) - low / 2))
    return select(large, select(x < 0, far, near), middle)


for _body in (arcsin, arccos, arctan, arctan2):
    routine(_body)
