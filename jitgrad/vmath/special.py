"""erf, erfc, lgamma and digamma.

Methods: erf piecewise in float32, erf(x) = -expm1(-g(x)) with the smooth g = -log erfc in float64; erfc by a
polynomial for (1 + 2x) exp(x*x) erfc(x) in (x - k)/(x + k) (Shepherd and Laframboise, 1981); lgamma and
digamma piecewise, without their zeros, from 1/2 to 8, by the asymptotic series above, and in float64 for both
widths by recurrence below and by reflection for negative x (Abramowitz and Stegun, 6.1 and 6.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from jitgrad.vmath.coefficients import (
    COS,
    DIGAMMA_REST,
    DIGAMMA_ROOT,
    ERF,
    ERFC,
    ERFC_LONG,
    HALF_LOG_TWO_PI,
    PI,
    SIN,
    STIRLING,
    TWO_OVER_ROOT_PI,
)
from jitgrad.vmath.exact import copysign, fabs, floor, fma, rint, select
from jitgrad.vmath.exponential import expm1_pair, reduced, tail_of_exp
from jitgrad.vmath.logarithm import log
from jitgrad.vmath.pieces import (
    INFINITY,
    MANTISSA,
    NAN,
    Pair,
    at_most,
    horner,
    narrow,
    nearest,
    polynomial,
    product_of,
    quotient_of,
    scale,
    sum_of,
    sum_of_ordered,
    wide,
)
from jitgrad.vmath.power import log_pair
from jitgrad.vmath.routine import routine
from jitgrad.vmath.tables import DIGAMMA_PIECES, ERF_PIECES, LGAMMA_PIECES
from jitgrad.vmath.value import Value, pick, rarely

# Beyond these, erf is 1 and erfc is 0.
ERF_RANGE = {32: 3.99, 64: 6.0}
ERF_STEP = 33 / 128
ERFC_RANGE = {32: 10.5, 64: 28.0}
ERFC_CENTRE = {32: 2.0, 64: 4.0}
# Where the asymptotic series begin
LARGE_GAMMA = 8.0
GAMMA_OVERFLOW = {32: 4.085e36, 64: 2.5599833278516387e305}


def erf(x: Value) -> Value:
    """Return the error function."""
    return copysign((erf_float32 if x.bits == 32 else erf_float64)(at_most(fabs(x), ERF_RANGE[x.bits])), x)


def erf_float32(x: Value) -> Value:
    """Return erf(x) for x from 0 to the range's end."""
    _, index = nearest(x, 1 / ERF_STEP)
    centre, value, *terms = (
        pick(index, f"erf{k}", column, x.kind) for k, column in enumerate(ERF_PIECES[32])
    )
    u = x - centre
    return value + fma(horner(u, terms), u, u)


def erf_float64(x: Value) -> Value:
    """Return erf(x) for x from 0 to the range's end."""
    high, low = TWO_OVER_ROOT_PI[64]
    linear, error = product_of(x, x.constant(high))
    rest = fma(x * x, polynomial(x, ERF[64]), fma(x, x.constant(low), error))
    g, g_low = sum_of_ordered(linear, rest)
    # rest may pass linear for larger x, where the bits then lost do not matter to erf.
    first, second = expm1_pair(-g, -g_low)
    return first + second


def erfc(x: Value) -> Value:
    """Return 1 - erf(x) without cancellation."""
    a = at_most(fabs(x), ERFC_RANGE[x.bits])
    centre = ERFC_CENTRE[x.bits]
    s = a / (a + centre)
    # Not in halves: their signs alternate, and they would cancel.
    series = s * horner(2 * s - 1, ERFC[32] if x.bits == 32 else ERFC_LONG[64])
    square, square_low = product_of(a, a)
    n, r, c = reduced(-square)
    r, c = sum_of_ordered(r, c - square_low)
    tail = tail_of_exp(r, c)
    numerator, denominator = sum_of_ordered(x.constant(1), series), sum_of(x.constant(1), 2 * a)
    first, second = quotient_of(numerator, denominator)
    y = scale(first + fma(first, r, fma(first, tail, second)), n)
    return select(x < 0, 2 - y, y)


def sin_and_cos_of_turn(x: Value) -> tuple[Value, Value]:
    """Return |sin(pi x)| and |cos(pi x)|."""
    u = fabs(x - rint(x))
    swapped = u > 0.25
    u = select(swapped, 0.5 - u, u)
    high, low = PI[64]
    t, t_low = product_of(u, u.constant(high))
    t_low = fma(u, u.constant(low), t_low)
    z = t * t
    sine = t + fma(t * z, polynomial(z, SIN[64]), t_low)
    half = 0.5 * z
    first = 1 - half
    cosine = first + (((1 - first) - half) + fma(z * z, polynomial(z, COS[64]), -(t * t_low)))
    return select(swapped, cosine, sine), select(swapped, sine, cosine)


def piecewise(x: Value, name: str, pieces: Sequence[Sequence[float]]) -> Pair:
    """Return the polynomial in x - centre for the quarter of an octave from 1/2 to 8 where x lies."""
    index = x.bitcast("uint") >> (MANTISSA[x.bits] - 2)
    centre, value, *terms = (pick(index, f"{name}{k}", column, x.kind) for k, column in enumerate(pieces))
    u = x - centre
    return sum_of_ordered(value, u * horner(u, terms))


def rounded_to(x: Value, y: Value) -> Value:
    """Return y in the type of x."""
    return narrow(y) if x.bits == 32 else y


def is_plain(x: Value) -> Value:
    """Return whether lgamma and digamma of x need neither recurrence nor reflection and do not overflow."""
    return (x >= 0.5) & (x < GAMMA_OVERFLOW[x.bits])


def lgamma_plain(x: Value) -> Value:
    """Return lgamma from 1/2 up to the overflow."""
    curve, curve_low = piecewise(x, "lgamma", LGAMMA_PIECES[x.bits])
    beyond = x - 1
    factor = fma(beyond, beyond, -beyond)
    near = fma(factor, curve, factor * curve_low)
    first, second = log_pair(x)
    inverse = 1 / x
    rest = polynomial(inverse * inverse, STIRLING[x.bits])
    series = fma(inverse, rest, x.constant(HALF_LOG_TWO_PI[64][0] - 0.5))
    shifted = x - 0.5
    product, error = product_of(shifted, first - 1)
    return select(x < LARGE_GAMMA, near, product + (series + (error + shifted * second)))


def lgamma(x: Value) -> Value:
    """Return log(|gamma(x)|).

    Below zero the error is some ulp of the larger of 1 and the reflection's terms, not of a result near 0.
    """
    return rarely(~is_plain(x), lgamma_plain(x), lgamma_of_any, x)


def lgamma_of_any(x: Value) -> Value:
    """Return lgamma, in float64, also by recurrence below 1/2 and by reflection below 0."""
    value = wide(x)
    negative, small = value < 0, value < 0.5
    above = lgamma_plain(select(negative, 1 - value, select(small, 1 + value, value)))
    sine, _ = sin_and_cos_of_turn(value)
    logarithm = log(select(negative, sine * (1 / math.pi), value))
    result = select(small, select(negative, -above, above) - logarithm, above)
    pole = (value == 0) | (value == -INFINITY) | (negative & (floor(value) == value))
    pole = pole | (value >= GAMMA_OVERFLOW[64])
    return rounded_to(x, select(pole, value.constant(INFINITY), result))


def digamma_plain(x: Value) -> Value:
    """Return digamma for finite x from 1/2 on."""
    root, root_low = DIGAMMA_ROOT[x.bits]
    curve, curve_low = piecewise(x, "digamma", DIGAMMA_PIECES[x.bits])
    beyond = (x - root) - root_low
    near = fma(beyond, curve, beyond * curve_low)
    first, second = log_pair(x)
    inverse = 1 / x
    w = inverse * inverse
    far = first - (fma(w, polynomial(w, DIGAMMA_REST[x.bits]), 0.5 * inverse) - second)
    return select(x < LARGE_GAMMA, near, far)


def digamma(x: Value) -> Value:
    """Return the derivative of lgamma; NaN at negative integers, -inf at +0 and inf at -0.

    Below zero the error is some ulp of the larger of 1 and the reflection's terms, not of a result near 0.
    """
    return rarely(~is_plain(x), digamma_plain(x), digamma_of_any, x)


def digamma_of_any(x: Value) -> Value:
    """Return digamma, in float64, also by recurrence below 1/2 and by reflection below 0."""
    value = wide(x)
    negative, small = value < 0, value < 0.5
    above = digamma_plain(select(negative, 1 - value, select(small, 1 + value, value)))
    sine, cosine = sin_and_cos_of_turn(value)
    rising = value - rint(value) < 0
    cotangent = math.pi * cosine / sine
    cotangent = select(rising, -cotangent, cotangent)
    result = select(small, above - select(negative, cotangent, 1 / value), above)
    pole = negative & (floor(value) == value)
    result = select(pole | (value == -INFINITY), value.constant(NAN), result)
    result = select(value == INFINITY, value, result)
    return rounded_to(x, select(value == 0, -copysign(value.constant(INFINITY), value), result))


for _body in (erf, erfc, lgamma, digamma):
    routine(_body)
