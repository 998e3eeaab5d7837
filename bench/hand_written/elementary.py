"""Elementary functions without branches, which LLVM inlines into loops and vectorises."""

from __future__ import annotations

import math
from functools import cache
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic
from numpy.polynomial import chebyshev

function = numba.njit(error_model="numpy", fastmath={"contract"}, forceinline=True)


@intrinsic
def select(_: Any, condition: Any, x: Any, y: Any) -> Any:
    """Return x where the condition holds, y elsewhere, without a branch."""
    return x(condition, x, x), lambda context, builder, signature, values: builder.select(*values)


@function
def maximum(x: Any, y: Any) -> Any:
    """Return the larger of two numbers of one type."""
    return select(x > y, x, y)


@function
def minimum(x: Any, y: Any) -> Any:
    """Return the smaller of two numbers of one type."""
    return select(x < y, x, y)


def same_bits(kind: Any) -> Any:
    """Return an intrinsic that reads the bits of a number as another type of the same width."""

    @intrinsic
    def read(_: Any, x: Any) -> Any:
        generate = lambda context, builder, signature, arguments: builder.bitcast(
            arguments[0], context.get_value_type(kind)
        )
        return kind(x), generate

    return read


def polynomial(coefficients: Any, real: Any) -> Any:
    """Return Horner's scheme for coefficients that start with the constant, as unrolled source."""
    names = {f"c{k}": real(c) for k, c in enumerate(coefficients)}
    body = f"c{len(coefficients) - 1}"
    for k in reversed(range(len(coefficients) - 1)):
        body = f"({body}) * x + c{k}"
    exec(f"def horner(x):\n    return {body}", names)
    return function(names["horner"])


def mills(a: Any) -> Any:
    """Return Phi(-a) exp(a^2 / 2) for a >= 0: directly near 0, by Laplace's continued fraction elsewhere."""
    rest = np.zeros_like(a)
    for k in range(300, 0, -1):
        rest = k / (np.maximum(a, 2.0) + rest)
    far = 1.0 / (np.maximum(a, 2.0) + rest) / math.sqrt(2 * math.pi)
    near = [0.5 * math.exp(x * x / 2) * math.erfc(x / math.sqrt(2)) for x in np.minimum(a, 2.0)]
    return np.where(a < 2.0, near, far)


def mills_polynomial(degree: int, middle: float) -> Any:
    """Fit a polynomial in (a - middle) / (a + middle) to the scaled tail of the normal distribution."""
    scaled = lambda t: mills(middle * (1.0 + t) / (1.0 - np.minimum(t, 1.0 - 1e-9)))
    return chebyshev.cheb2poly(chebyshev.chebinterpolate(scaled, degree))


@cache
def elementary(real: Any) -> SimpleNamespace:
    """Return exp, log, tanh, sigmoid, softplus, cdf and pdf for float32 or float64."""
    single = real is np.float32
    exp, expm1, log = exponentials(real, single)
    zero, one, two = real(0), real(1), real(2)
    tail = polynomial(mills_polynomial(10 if single else 20, 4.0), real)
    half, four, density = real(0.5), real(4), real(1 / math.sqrt(2 * math.pi))

    @function
    def tanh(x: Any) -> Any:
        e = expm1(-two * abs(x))
        return select(x < zero, e, -e) / (e + two)

    @function
    def sigmoid(x: Any) -> Any:
        return one / (one + exp(-x))

    @function
    def softplus(x: Any) -> Any:
        return maximum(x, zero) + log(one + exp(-abs(x)))

    @function
    def cdf_and_pdf(x: Any) -> Any:
        a, e = abs(x), exp(-half * x * x)
        below = e * tail((a - four) / (a + four))
        return select(x > zero, one - below, below), density * e

    return SimpleNamespace(
        exp=exp, log=log, tanh=tanh, sigmoid=sigmoid, softplus=softplus, cdf_and_pdf=cdf_and_pdf
    )


def exponentials(real: Any, single: bool) -> tuple[Any, Any, Any]:
    """Return exp, expm1 for arguments that do not overflow, and log of normal positive numbers.

    exp(x) = 2^k exp(r) with |r| <= log(2) / 2, by Taylor's series. log(2^k m) = k log(2) + log(m) with
    log(m) = 2 atanh(s), s = (m - 1) / (m + 1), by Taylor's series.
    """
    integer, kind = (np.int32, numba.float32) if single else (np.int64, numba.float64)
    as_real, as_integer = same_bits(kind), same_bits(numba.int32 if single else numba.int64)
    bits, bias, least = (23, 127, -87.3) if single else (52, 1023, -708.3)
    shift, offset = integer(bits), integer(bias)
    per_log2, log2_high = real(1 / math.log(2)), real(0.693145751953125)
    log2_low, low, high = real(math.log(2) - float(log2_high)), real(least), real(-least)
    powers = range(2, 8 if single else 14)
    series = polynomial([1 / math.factorial(k) for k in powers], real)
    odd = polynomial([2 / k for k in range(3, 11 if single else 21, 2)], real)
    root = integer(np.array(math.sqrt(0.5), real).view(integer))
    one, two = real(1), real(2)

    @function
    def reduced(x: Any) -> Any:
        x = minimum(maximum(x, low), high)
        k = np.rint(x * per_log2)
        r = (x - k * log2_high) - k * log2_low
        return r + r * r * series(r), as_real(integer((integer(k) + offset) << shift))

    @function
    def exp(x: Any) -> Any:
        e, power = reduced(x)
        return power * e + power

    @function
    def expm1(x: Any) -> Any:
        e, power = reduced(x)
        return power * e + (power - one)

    @function
    def log(x: Any) -> Any:
        k = integer(integer(as_integer(x) - root) >> shift)
        f = as_real(integer(as_integer(x) - (k << shift))) - one
        s = f / (two + f)
        return real(k) * log2_low + (s * (two + s * s * odd(s * s)) + real(k) * log2_high)

    return exp, expm1, log
