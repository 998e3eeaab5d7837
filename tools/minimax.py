"""Prints jitgrad/vmath/coefficients.py, or the coefficients of the given names only.

Each is a minimax fit by Remez's exchange in 60-digit arithmetic. The coefficients are rounded one at a time
from the constant term up, the remaining ones being fitted again to what the rounded ones leave.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np

mp.mp.dps = 60
Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Fit:
    """A function on [low, high], the weight of its error, and the terms for each width in bits."""

    function: Function
    weight: Function
    low: Any
    high: Any
    terms: dict[int, int]


def horner(coefficients: list[Any], x: Any) -> Any:
    """The polynomial with the given coefficients, lowest power first, at x."""
    value = mp.mpf(0)
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value


def remez(values: list[Any], weights: list[Any], points: list[Any], terms: int) -> list[Any]:
    """Return `terms` coefficients, the constant first, with the least largest weighted error on `points`."""
    count = terms + 1
    size = len(points)
    chosen = [round((i + 1) * (size - 1) / count) for i in range(count)]
    reach = max(map(abs, points))
    table = [[(point / reach) ** power for power in range(terms)] for point in points]
    for _ in range(40):
        rows = [[*(t * weights[k] for t in table[k]), (-1) ** i] for i, k in enumerate(chosen)]
        solution = mp.lu_solve(mp.matrix(rows), mp.matrix([values[k] * weights[k] for k in chosen]))
        coefficients, level = list(solution)[:-1], abs(solution[count - 1])
        error = [
            (mp.fdot(coefficients, row) - v) * w for row, v, w in zip(table, values, weights, strict=True)
        ]
        extrema: list[int] = []
        for k in range(size):
            if extrema and (error[k] > 0) == (error[extrema[-1]] > 0):
                if abs(error[k]) > abs(error[extrema[-1]]):
                    extrema[-1] = k
            else:
                extrema.append(k)
        while len(extrema) > count:
            extrema.pop(0 if abs(error[extrema[0]]) < abs(error[extrema[-1]]) else -1)
        worst = max(map(abs, error))
        if len(extrema) < count or worst <= level * (1 + mp.mpf("1e-3")):
            break
        chosen = extrema
    return [c / reach**power for power, c in enumerate(coefficients)]


def fit(spec: Fit, bits: int) -> tuple[list[float], float]:
    """Return the rounded coefficients, the constant term first, and the weighted error's base-2 logarithm."""
    terms = spec.terms[bits]
    size = 24 * terms + 60
    middle, half = (spec.low + mp.mpf(spec.high)) / 2, (mp.mpf(spec.high) - spec.low) / 2
    points = [middle - half * mp.cos(mp.pi * (i + mp.mpf(1) / 2) / size) for i in range(size)]
    values, weights = [spec.function(p) for p in points], [spec.weight(p) for p in points]
    coefficients = remez(values, weights, points, terms)
    # Higher powers take up, by least squares, what rounding a coefficient loses.
    reach = max(map(abs, points))
    column = np.array([float(w) for w in weights])
    table = np.array([float(p / reach) for p in points])[:, None] ** np.arange(terms) * column[:, None]
    for power in range(terms):
        exact = coefficients[power]
        coefficients[power] = float(exact) if bits == 64 else float(np.float32(float(exact)))
        lost = float((exact - coefficients[power]) * reach**power)
        if power + 1 < terms:
            shift = np.linalg.lstsq(table[:, power + 1 :], table[:, power], rcond=None)[0] * lost
            for k, change in enumerate(shift, power + 1):
                coefficients[k] += mp.mpf(float(change)) / reach**k
    worst = max(abs(horner(coefficients, p) - v) * w for p, v, w in zip(points, values, weights, strict=True))
    return coefficients, float(mp.log(worst, 2))


def tail(function: Function, *leading: Any) -> Function:
    """Return what is left of `function` after its `leading` Taylor coefficients, over the next power."""

    def rest(x: Any) -> Any:
        with mp.workdps(120):
            total = function(x) - sum(c * x**k for k, c in enumerate(leading))
            return total / x ** len(leading)

    return rest


def of_square(function: Function) -> Function:
    """Return g with g(x * x) = function(x) / x."""
    return lambda z: function(mp.sqrt(z)) / mp.sqrt(z)


def scaled_erfc(k: int) -> Function:
    """Return t -> ((1 + 2x) exp(x*x) erfc(x) - 1)/s with s = x/(x + k), t = 2s - 1."""

    def scaled(t: Any) -> Any:
        x = k * (1 + t) / (1 - t)
        return 2 * ((1 + 2 * x) * mp.exp(x * x) * mp.erfc(x) - 1) / (1 + t)

    return scaled


def stirling_rest(w: Any) -> Any:
    """Return what Stirling's formula leaves of log(gamma(z)), times z, with w = 1/z/z."""
    z = 1 / mp.sqrt(w)
    return (mp.loggamma(z) - ((z - 0.5) * mp.log(z) - z + mp.log(2 * mp.pi) / 2)) * z


def digamma_rest(w: Any) -> Any:
    """Return (log z - 1/(2z) - digamma(z)) z*z, with w = 1/z/z."""
    z = 1 / mp.sqrt(w)
    return (mp.log(z) - 1 / (2 * z) - mp.digamma(z)) * z * z


HALF = mp.mpf(1) / 2
NEAR = mp.mpf("0.03314")  # the most that is left of a number times its reciprocal in power's table
LN2 = mp.log(2)
TWO_OVER_ROOT_PI = 2 / mp.sqrt(mp.pi)
DIGAMMA_ROOT = mp.findroot(mp.digamma, mp.mpf("1.4616"))
FITS = {
    # exp(r) = 1 + r + r*r*P(r), with the error relative to r for expm1's sake
    "EXP": Fit(tail(mp.exp, 1, 1), lambda r: abs(r), -LN2 / 2 * 1.001, LN2 / 2 * 1.001, {32: 6, 64: 12}),
    # exp(r) = 1 + r*P(r) and 2**r = 1 + r*P(r)
    "EXP_PLAIN": Fit(tail(mp.exp, 1), lambda r: abs(r), -LN2 / 2 * 1.001, LN2 / 2 * 1.001, {32: 6, 64: 11}),
    "EXP2": Fit(tail(lambda r: mp.power(2, r), 1), lambda r: abs(r), -HALF, HALF, {32: 6, 64: 11}),
    # as EXP, from log(3/4) to log(3/2)
    "EXPM1": Fit(
        tail(mp.exp, 1, 1), lambda r: abs(r), mp.log(0.75) * 1.001, mp.log(1.5) * 1.001, {32: 6, 64: 11}
    ),
    # sinh(r) = r + r*z*P(z) and cosh(r) = 1 + z*P(z), z = r*r
    "SINH": Fit(tail(of_square(mp.sinh), 1), lambda z: z, 0, (LN2 / 2 * 1.001) ** 2, {32: 2, 64: 5}),
    "COSH": Fit(
        tail(lambda z: mp.cosh(mp.sqrt(z)), 1), lambda z: z, 0, (LN2 / 2 * 1.001) ** 2, {32: 3, 64: 5}
    ),
    # log((1+s)/(1-s)) = 2*s + s*z*P(z), z = s*s
    "LOG": Fit(
        tail(of_square(lambda s: 2 * mp.atanh(s)), 2), lambda z: z / 2, 0, mp.mpf("0.0405"), {32: 3, 64: 8}
    ),
    # sin(r) = r + r*z*P(z) and cos(r) = 1 - z/2 + z*z*P(z), z = r*r
    "SIN": Fit(tail(of_square(mp.sin), 1), lambda z: z, 0, (mp.pi / 4) ** 2 * 1.0001, {32: 4, 64: 7}),
    "COS": Fit(
        tail(lambda z: mp.cos(mp.sqrt(z)), 1, -0.5),
        lambda z: z * z,
        0,
        (mp.pi / 4) ** 2 * 1.0001,
        {32: 3, 64: 6},
    ),
    # tan(r) = r + r*z*P(z), z = r*r
    "TAN": Fit(
        tail(of_square(mp.tan), 1),
        lambda z: z / of_square(mp.tan)(z),
        mp.mpf("1e-20"),
        (mp.pi / 4) ** 2 * 1.0001,
        {32: 7, 64: 15},
    ),
    # atan(x) = x + x*z*P(z), |x| <= 1, and asin(x) = x + x*z*P(z), |x| <= 1/2; z = x*x
    "ATAN": Fit(tail(of_square(mp.atan), 1), lambda z: z / of_square(mp.atan)(z), 0, 1, {32: 9, 64: 20}),
    "ASIN": Fit(tail(of_square(mp.asin), 1), lambda z: z, 0, mp.mpf("0.25"), {32: 6, 64: 12}),
    # log(1+f) = f + f*f P(f) for f in a cell
    "LOG_CELL": Fit(tail(mp.log1p, 0, 1), lambda f: abs(f), mp.mpf("-0.0313"), mp.mpf("0.0626"), {32: 4}),
    # log(1+f) = f - f*f/2 + f*f*f P(f) next to 0
    "LOG_NEAR": Fit(tail(mp.log1p, 0, 1, -HALF), lambda f: f * f, -NEAR, NEAR * 1.0001, {32: 4, 64: 9}),
    # as EXP, with the error relative to exp(r)
    "EXP_SHORT": Fit(tail(mp.exp, 1, 1), lambda r: r * r, -LN2 / 2 * 1.001, LN2 / 2 * 1.001, {32: 5, 64: 10}),
    # erf(x) = 1 - exp(-(2/sqrt(pi) x + x*x P(x)))
    "ERF": Fit(
        tail(lambda x: -mp.log(mp.erfc(x)), 0, TWO_OVER_ROOT_PI),
        lambda x: x * x * mp.erfc(x) / mp.erf(x),
        mp.mpf("1e-9"),
        6,
        {64: 25},
    ),
    # erfc(x) = exp(-x*x) / (1 + 2x) (1 + s P(2s - 1)), s = x/(x + k), k = 2 or 4
    "ERFC": Fit(scaled_erfc(2), lambda t: (1 + t) / 2, -1 + mp.mpf("1e-20"), mp.mpf("0.68"), {32: 11}),
    "ERFC_LONG": Fit(scaled_erfc(4), lambda t: (1 + t) / 2, -1 + mp.mpf("1e-20"), mp.mpf("0.75"), {64: 23}),
    # Stirling: what is left of lgamma(z) is 1/z P(1/z/z) for z >= 8
    "STIRLING": Fit(stirling_rest, lambda w: 1, mp.mpf("1e-12"), mp.mpf(1) / 64, {32: 2, 64: 7}),
    # digamma(z) = log z - 1/(2z) - 1/z/z P(1/z/z) for z >= 8
    "DIGAMMA_REST": Fit(digamma_rest, lambda w: w, mp.mpf("1e-12"), mp.mpf(1) / 64, {32: 2, 64: 6}),
    # (1-e)**(-2/3) = 1 + e P(e), for the error e of the guess that cbrt takes
    "CBRT": Fit(
        lambda e: ((1 - e) ** (-mp.mpf(2) / 3) - 1) / e,
        abs,
        mp.mpf("-0.103"),
        mp.mpf("0.10301"),
        {32: 6, 64: 13},
    ),
}


def parts(value: Any, bits: int, kept: int) -> tuple[float, float]:
    """Return `value` as a first part of `kept` bits and the rest, both of the given width."""
    mantissa, exponent = mp.frexp(value)
    first = mp.ldexp(mp.nint(mp.ldexp(mantissa, kept)), exponent - kept)
    rest = float(value - first)
    return float(first), rest if bits == 64 else float(np.float32(rest))


def leading_parts(value: Any, bits: int, kept: tuple[int, ...]) -> tuple[float, ...]:
    """Return `value` as parts of as many bits as `kept` says and the rest, none of them negative."""
    found = []
    for count in kept:
        mantissa, exponent = mp.frexp(value)
        found.append(float(mp.ldexp(mp.floor(mp.ldexp(mantissa, count)), exponent - count)))
        value -= found[-1]
    return *found, float(value) if bits == 64 else float(np.float32(float(value)))


# Constants in two parts: the first has room for an exact product with an exponent, or is the nearest float.
SHORT, NEAREST = {32: 15, 64: 41}, {32: 24, 64: 53}
CONSTANTS = {
    "LN2": (LN2, SHORT),
    "LN2_NEAREST": (LN2, NEAREST),
    "INVERSE_LN2": (1 / LN2, NEAREST),
    "INVERSE_LN10": (1 / mp.log(10), NEAREST),
    "PI": (mp.pi, NEAREST),
    "TWO_OVER_ROOT_PI": (TWO_OVER_ROOT_PI, NEAREST),
    "HALF_LOG_TWO_PI": (mp.log(2 * mp.pi) / 2, NEAREST),
    "DIGAMMA_ROOT": (DIGAMMA_ROOT, NEAREST),
}
# pi/2 in three parts; the second has room for an exact product with a whole number of 11 or 22 bits, or none.
HALF_PI = {
    "HALF_PI": {32: (24, 24 - 11), 64: (53, 53 - 22)},
    "HALF_PI_LONG": {32: (24, 24)},
}

TWO_OVER_PI_BITS = 1280
HEADER = "Polynomial coefficients, the constant term first, and constants in parts, by width in bits."


def two_over_pi() -> str:
    """Return the leading bits of 2/pi as a Python expression."""
    with mp.workprec(TWO_OVER_PI_BITS + 64):
        digits = f"{int(mp.floor(2 / mp.pi * mp.mpf(2) ** TWO_OVER_PI_BITS)):x}"
    lines = [f'    "{digits[i : i + 96]}"' for i in range(0, len(digits), 96)]
    return "int(\n" + "\n".join(lines) + ",\n    16,\n)"


def main(names: list[str]) -> None:
    """Print the fits of the given names, or all."""
    if not names:
        print(f'"""{HEADER}"""\n')
    for name, (value, kept) in CONSTANTS.items():
        if not names:
            print("\n".join([f"{name} = {{", *(f"    {b}: {parts(value, b, kept[b])}," for b in kept), "}"]))
    if not names:
        for name, kept in HALF_PI.items():
            lines = [f"    {bits}: {leading_parts(mp.pi / 2, bits, kept[bits])}," for bits in kept]
            print("\n".join([f"{name} = {{", *lines, "}"]))
        print(f"# floor(2/pi * 2**{TWO_OVER_PI_BITS})\nTWO_OVER_PI = {two_over_pi()}")
    for name in names or list(FITS):
        lines = [f"{name} = {{"]
        for bits in FITS[name].terms:
            coefficients, error = fit(FITS[name], bits)
            lines.append(f"    {bits}: (  # error 2**{error:.1f}")
            lines += [f"        {c!r}," for c in coefficients]
            lines.append("    ),")
        print("\n".join([*lines, "}"]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
