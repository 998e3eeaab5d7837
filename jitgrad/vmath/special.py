"""erf, erfc, lgamma and digamma.

Methods: erf(x) = -expm1(-g(x)) with the smooth g = -log erfc; erfc by a polynomial for (1 + 2x) exp(x*x)
erfc(x) in (x - k)/(x + k) (Shepherd and Laframboise, 1981); lgamma and digamma by recurrence to a polynomial
below 10, the asymptotic series above, and reflection for negative x (Abramowitz and Stegun, 6.1 and 6.3), in
float64 for both widths.
"""

from __future__ import annotations

import math

from jitgrad.vmath.coefficients import (
    COS,
    DIGAMMA,
    DIGAMMA_REST,
    DIGAMMA_ROOT,
    ERF,
    ERFC,
    ERFC_LONG,
    EULER,
    HALF_LOG_TWO_PI,
    LGAMMA_AT_1,
    LGAMMA_AT_2,
    ONE_LESS_EULER,
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
    NAN,
    Pair,
    at_most,
    horner,
    polynomial,
    polynomial_pair,
    product_of,
    product_of_pairs,
    quotient_of,
    scale,
    sum_of,
    sum_of_ordered,
    wide,
)
from jitgrad.vmath.power import log_pair
from jitgrad.vmath.routine import routine
from jitgrad.vmath.value import Value
from jitgrad.vmath.trigonometry import rounded_to

# Beyond these, erf is 1 and erfc is 0.
ERF_RANGE = {32: 4.0, 64: 6.0}
ERFC_RANGE = {32: 10.5, 64: 28.0}
ERFC_CENTRE = {32: 2.0, 64: 4.0}
LARGE_GAMMA = 10.0
GAMMA_OVERFLOW = 2.6e305


def erf(x: Value) -> Value:
    """Return the error function."""
    a = at_most(fabs(x), ERF_RANGE[x.bits])
    high, low = TWO_OVER_ROOT_PI[x.bits]
    linear, error = product_of(a, a.constant(high))
    rest = fma(a * a, polynomial(a, ERF[x.bits]), fma(a, a.constant(low), error))
    g, g_low = sum_of_ordered(linear, rest)
    # rest may pass linear for larger x, where the bits then lost do not matter to erf.
    first, second = expm1_pair(-g, -g_low)
    return copysign(first + second, x)


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


def constants(x: Value, numbers: tuple[float, float]) -> Pair:
    """Return two numbers in the kind of x."""
    return x.constant(numbers[0]), x.constant(numbers[1])


def choose(condition: Value, yes: Pair, no: Pair) -> Pair:
    """Select between pairs."""
    return select(condition, yes[0], no[0]), select(condition, yes[1], no[1])


def lgamma_positive(x: Value) -> Value:
    """Return lgamma for float64 x > 0."""
    large = x >= LARGE_GAMMA
    small = x < 0.5
    product, y = x.constant(1), select(small, x + 1, x)
    for _ in range(8):
        above = (y >= 2.5) & ~large
        y = select(above, y - 1, y)
        product = select(above, product * y, product)
    first, second = log_pair(select(large | small, x, product))
    second_zero = y >= 1.5
    d = select(second_zero, y - 2, y - 1)
    slope = choose(
        second_zero, constants(x, ONE_LESS_EULER[64]), constants(x, (-EULER[64][0], -EULER[64][1]))
    )
    curve = choose(second_zero, polynomial_pair(d, LGAMMA_AT_2[64]), polynomial_pair(d, LGAMMA_AT_1[64]))
    linear, linear_low = product_of_pairs((d, d * 0), slope)
    bend, bend_low = product_of_pairs(product_of(d, d), curve)
    total, carry = sum_of(linear, bend)
    total, carry_2 = sum_of(select(small, -first, first), total)
    near = total + ((carry + carry_2) + ((linear_low + bend_low) + select(small, -second, second)))
    inverse = 1 / x
    shifted = x - 0.5
    product, error = product_of(shifted, first - 1)
    series = fma(
        inverse, polynomial(inverse * inverse, STIRLING[64]), x.constant(HALF_LOG_TWO_PI[64][0] - 0.5)
    )
    far = product + (series + (error + shifted * second))
    return select(large, select(x > GAMMA_OVERFLOW, x.constant(INFINITY), far), near)


def lgamma(x: Value) -> Value:
    """Return log(|gamma(x)|).

    Below zero the error is some ulp of the larger of 1 and the reflection's terms, not of a result near 0.
    """
    value = wide(x)
    negative = value < 0
    result = lgamma_positive(select(negative, 1 - value, value))
    sine, _ = sin_and_cos_of_turn(value)
    reflected = log(math.pi / sine) - result
    result = select(negative, reflected, result)
    pole = (value == 0) | (value == -INFINITY) | (negative & (floor(value) == value))
    return rounded_to(x, select(pole, value.constant(INFINITY), result))


def digamma_positive(x: Value) -> Value:
    """Return digamma for float64 x > 0."""
    large = x >= LARGE_GAMMA
    small = x < 1
    # The sum of 1/(x-1), 1/(x-2), ... is numerator / denominator.
    numerator, denominator, y = x.constant(0), x.constant(1), select(small, x + 1, x)
    for _ in range(7):
        above = (y >= 3) & ~large
        y = select(above, y - 1, y)
        numerator = select(above, fma(numerator, y, denominator), numerator)
        denominator = select(above, denominator * y, denominator)
    numerator, denominator = select(small, x.constant(-1), numerator), select(small, x, denominator)
    first, second = quotient_of((numerator, x * 0), (denominator, x * 0))
    root, root_low = DIGAMMA_ROOT[64]
    product, product_low = product_of_pairs(
        sum_of_ordered(y - root, y.constant(-root_low)), polynomial_pair(y - 2, DIGAMMA[64])
    )
    near, error = sum_of(product, first)
    second = second + product_low
    inverse = 1 / x
    w = inverse * inverse
    far = log(x) - fma(w, polynomial(w, DIGAMMA_REST[64]), 0.5 * inverse)
    near = select(x < 2.0**-60, -inverse, near + (error + second))
    return select(large, far, near)


def digamma(x: Value) -> Value:
    """Return the derivative of lgamma; NaN at negative integers, -inf at +0 and inf at -0.

    Below zero the error is some ulp of the larger of 1 and the reflection's terms, not of a result near 0.
    """
    value = wide(x)
    negative = value < 0
    result = digamma_positive(select(negative, 1 - value, value))
    sine, cosine = sin_and_cos_of_turn(value)
    cotangent = math.pi * cosine / sine
    rising = value - rint(value) < 0
    reflected = result + select(rising, cotangent, -cotangent)
    result = select(negative, reflected, result)
    pole = negative & (floor(value) == value)
    result = select(pole | (value == -INFINITY), value.constant(NAN), result)
    return rounded_to(x, select(value == 0, -copysign(value.constant(INFINITY), value), result))


for _body in (erf, erfc, lgamma, digamma):
    routine(_body)
