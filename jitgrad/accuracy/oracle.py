"""Computes exact results with mpmath, and how far floats are from them in units in the last place.

The error of a float is |float - exact| divided by the distance between neighbouring floats in the binade of
the exact value, which is the smallest subnormal below the normal range. An infinity is right if and only if
the exact value rounds to it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.accuracy.functions import FUNCTIONS, Array

# What mpmath computes with, beyond which it extends its own precision where it has to, as for sin(1e300). The
# tests compare with four times as many bits.
BITS = 128
# Exponents beyond these are those of no float: the difference is one of zero or infinity only.
LOWEST, HIGHEST = -1100, 1100


@dataclass(frozen=True, slots=True)
class Exact:
    """Real numbers (high + low) * 2**exponent, where |high| is in [1/2, 1) or 0 and |low| < 2**-53.

    Errors count in units of the last place of floats in [2**(binade - 1), 2**binade).
    """

    high: Array
    low: Array
    exponent: Array
    binade: Array


@functools.cache
def context(bits: int) -> Any:
    """Return an mpmath context of its own with a fixed precision."""
    import mpmath

    mp = mpmath.MPContext()
    mp.prec = bits
    return mp


def exact(name: str, *arguments: Array, bits: int = BITS) -> Exact:
    """Return the exact values of a function of FUNCTIONS at equally long vectors of floats in its domain.

    >>> import numpy as np
    >>> value = exact("exp", np.array([1.0]))
    >>> float(value.high[0] * 2.0 ** value.exponent[0])
    2.718281828459045
    """
    mp, reference = context(bits), FUNCTIONS[name].reference
    rows = zip(*(argument.astype(np.float64).tolist() for argument in arguments), strict=True)
    parts = np.array([split(reference(mp, *map(mp.mpf, row))) for row in rows]).reshape(-1, 3)
    high, low, exponent = parts[:, 0], parts[:, 1], parts[:, 2].astype(np.int32)
    return Exact(high, low, exponent, binade(name, exponent, arguments))


def binade(name: str, exponent: Array, arguments: tuple[Array, ...]) -> Array:
    """Return the exponents of the values, or of the function's terms where those are larger."""
    term = FUNCTIONS[name].term
    return exponent if term is None else np.maximum(exponent, np.frexp(term(*arguments))[1])


def split(value: Any) -> tuple[float, float, int]:
    """Return a finite mpmath number as high, low and exponent."""
    mantissa, exponent = value.man_exp
    if not mantissa:
        assert not value, f"{value} is not finite"
        return 0.0, 0.0, LOWEST
    sign, mantissa = math.copysign(1.0, value), abs(int(mantissa))
    count = mantissa.bit_length()
    shift = max(count - 53, 0)
    first = mantissa >> shift
    rest = mantissa - (first << shift)
    exponent = min(max(int(exponent) + count, LOWEST), HIGHEST)
    return sign * math.ldexp(first, shift - count), sign * math.ldexp(rest, -count), exponent


def errors(got: Array, value: Exact) -> Array:
    """Return the errors of floats in ulp of their dtype.

    Infinity stands for a NaN, and for an infinity where the exact value does not round to one.

    >>> import numpy as np
    >>> got = np.array([2.718281828459045, np.inf, np.nan])
    >>> errors(got, exact("exp", np.array([1.0, 710.0, 2.0]))).round(2)
    array([0.33, 0.  ,  inf])
    """
    info = np.finfo(got.dtype)
    digits, smallest = info.nmant + 1, info.minexp - info.nmant
    unit = np.maximum(value.binade - digits, smallest)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.ldexp(got.astype(np.float64), -value.exponent)
        distance = np.abs(scaled - value.high - value.low)
        error = np.ldexp(distance, value.exponent - unit)
    below_two = 1 - np.abs(value.high) - np.abs(value.low)
    overflows = (value.exponent > info.maxexp) | (
        (value.exponent == info.maxexp) & (below_two <= 2.0 ** -(digits + 1))
    )
    right = overflows & (np.signbit(got) == np.signbit(value.high))
    return np.where(np.isinf(got), np.where(right, 0.0, np.inf), np.where(np.isnan(got), np.inf, error))
