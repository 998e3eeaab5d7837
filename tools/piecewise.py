"""Prints jitgrad/vmath/tables.py, or the tables of the given names only.

A piecewise polynomial has 16 or 32 pieces, each in x - centre. The centre is chosen among many so that the
value there is nearly a float, for then the value costs no second part.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
from minimax import DIGAMMA_ROOT, HALF, Fit, Function, fit, parts

PIECES = 16
# 1 / c for the 16 intervals of m that begin at LOWEST / 64 steps of the highest four bits of the mantissa:
# few enough bits for m / c - 1 to be exact, which is at most 0.0332.
RECIPROCALS = (88, 86, 82, 78, 76, 74, 70, 68, 66, 64, 60, 57, 54, 51, 49, 46)
# The bits after the point of the logarithms' first parts, which leave room for an exponent times log(2)
LOGARITHM_BITS = {32: 17, 64: 42}
ERF_STEP = mp.mpf(33) / 128
# tanh's intervals are eighths of octaves of x * TANH_FACTOR + TANH_OFFSET; float32 tanh(TANH_END) is 1.
TANH_FACTOR, TANH_OFFSET, TANH_END = mp.mpf(235) / 256, mp.mpf(577) / 1024, mp.mpf("9.0109")
CANDIDATES = 150
NEAR_ZERO = mp.mpf("1e-9")


@dataclass(frozen=True)
class Pieces:
    """A function with its intervals, and what is left of it for the polynomial after the columns before it.

    `interval` gives the ends of the k-th; `rest` maps the centre and u to the polynomial in u; the error's
    weight is `weight(x, u)`. The value at the centre is a column of its own where `valued` says so.
    """

    function: Function
    interval: Callable[[int], tuple[Any, Any]]
    rest: Callable[[Any, Any], Any]
    weight: Callable[[Any, Any], Any]
    terms: dict[int, int]
    valued: bool
    count: int = 16


def rounded(value: Any, bits: int) -> Any:
    """Return the float of this width next to `value`."""
    return mp.mpf(parts(value, bits, {32: 24, 64: 53}[bits])[0])


def centre(spec: Pieces, k: int, bits: int) -> Any:
    """Return 0 if the k-th interval begins there, or a point near its middle of nearly a float value."""
    low, high = spec.interval(k)
    if low == NEAR_ZERO:
        return mp.mpf(0)
    step = mp.mpf(2) ** (mp.floor(mp.log(high - low, 2)) - 14)
    middle = mp.nint((low + high) / 2 / step) * step

    def error(point: Any) -> Any:
        value = spec.function(point)
        return abs(value - rounded(value, bits)) / value

    with mp.workdps(30):
        return min((middle + n * step for n in range(-CANDIDATES, CANDIDATES)), key=error)


def columns(spec: Pieces, bits: int) -> list[tuple[float, ...]]:
    """Return the centres, the values there, and the coefficients, each for all pieces."""
    rows = []
    for k in range(spec.count):
        middle, (low, high) = centre(spec, k, bits), spec.interval(k)
        piece = Fit(
            lambda u, c=middle: spec.rest(c, u),
            lambda u, c=middle: spec.weight(c + u, u),
            low - middle,
            high - middle,
            spec.terms,
        )
        value = [float(rounded(spec.function(middle), bits))] if spec.valued else []
        rows.append((float(middle), *value, *fit(piece, bits)[0]))
    return list(zip(*rows, strict=True))


def quarter_octave(k: int) -> tuple[Any, Any]:
    """Return the quarter of an octave in [1/2, 8) whose exponent and leading bits end in those of k."""
    octave, quarter = divmod((k + 8) % PIECES, 4)
    start = mp.mpf(2) ** (octave - 1)
    return start * (1 + mp.mpf(quarter) / 4), start * (1 + mp.mpf(quarter + 1) / 4)


def erf_interval(k: int) -> tuple[Any, Any]:
    """Return the interval around k steps; the first begins next to 0."""
    return max((k - HALF) * ERF_STEP, NEAR_ZERO), (k + HALF) * ERF_STEP


def erf_rest(c: Any, u: Any) -> Any:
    """Return (erf(c + u) - erf(c)) / u - 1."""
    return (mp.erf(c + u) - mp.erf(c)) / u - 1


def tanh_interval(k: int) -> tuple[Any, Any]:
    """Return the interval whose leading bits, up to three of the mantissa, end in those of k."""

    def start(name: int) -> Any:
        return (mp.mpf(float(np.uint32(name << 20).view(np.float32))) - TANH_OFFSET) / TANH_FACTOR

    first = int(np.float32(float(TANH_OFFSET)).view(np.uint32)) >> 20
    name = first + (k - first) % 32
    return max(start(name), NEAR_ZERO), min(start(name + 1), TANH_END)


def tanh_rest(c: Any, u: Any) -> Any:
    """Return (tanh(c + u) - tanh(c)) / u - 1."""
    return (mp.tanh(c + u) - mp.tanh(c)) / u - 1


def lgamma_curve(x: Any) -> Any:
    """Return lgamma(x) without its zeros."""
    return mp.loggamma(x) / ((x - 1) * (x - 2))


def digamma_curve(x: Any) -> Any:
    """Return digamma(x) without its zero."""
    return mp.digamma(x) / (x - DIGAMMA_ROOT)


def gamma_pieces(curve: Function) -> Pieces:
    """Return the pieces of a curve over [1/2, 8)."""
    return Pieces(
        curve, quarter_octave, lambda c, u: curve(c + u), lambda x, u: 1 / curve(x), {32: 7, 64: 14}, False
    )


TABLES = {
    # erf(x) = value + u (1 + P(u)) in steps of 33/128 up to 4
    "ERF_PIECES": Pieces(mp.erf, erf_interval, erf_rest, lambda x, u: abs(u / mp.erf(x)), {32: 6}, True),
    # tanh(x) = value + u (1 + P(u)), the same, by eighths of octaves
    "TANH_PIECES": Pieces(
        mp.tanh, tanh_interval, tanh_rest, lambda x, u: abs(u / mp.tanh(x)), {32: 4}, True, count=32
    ),
    # lgamma(x) / (x - 1) / (x - 2) and digamma(x) / (x - root) by quarters of octaves
    "LGAMMA_PIECES": gamma_pieces(lgamma_curve),
    "DIGAMMA_PIECES": gamma_pieces(digamma_curve),
}


def logarithms(bits: int) -> list[tuple[float, ...]]:
    """Return -log of the reciprocals in two parts."""
    values = [-mp.log(mp.mpf(reciprocal) / 64) for reciprocal in RECIPROCALS]
    firsts = [mp.nint(value * 2 ** LOGARITHM_BITS[bits]) / 2 ** LOGARITHM_BITS[bits] for value in values]
    rest = [float(rounded(value - first, bits)) for value, first in zip(values, firsts, strict=True)]
    return [tuple(map(float, firsts)), tuple(rest)]


def show(name: str, table: dict[int, list[tuple[float, ...]]]) -> None:
    """Print a table."""
    print(f"{name} = {{")
    for bits, found in table.items():
        print(f"    {bits}: (")
        for column in found:
            numbers = ", ".join(map(repr, column))
            print(textwrap.fill(f"({numbers}),", 108, initial_indent=" " * 8, subsequent_indent=" " * 9))
        print("    ),")
    print("}", flush=True)


def main(names: list[str]) -> None:
    """Print the tables of the given names, or all."""
    if not names:
        print('"""Tables of 16 or 32 entries: piecewise polynomials and logarithms, by width in bits."""\n')
        print("# fmt: off\n\nfrom __future__ import annotations\n")
        print(f"RECIPROCALS = ({', '.join(repr(n / 64) for n in RECIPROCALS[:8])},")
        print(f"               {', '.join(repr(n / 64) for n in RECIPROCALS[8:])})")
        show("LOGARITHMS", {bits: logarithms(bits) for bits in LOGARITHM_BITS})
    for name in names or TABLES:
        show(name, {bits: columns(TABLES[name], bits) for bits in TABLES[name].terms})


if __name__ == "__main__":
    main(sys.argv[1:])
