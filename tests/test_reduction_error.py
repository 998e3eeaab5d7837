"""The one order of sums against exact sums: the error grows with the logarithm of the length.

`python tests/test_reduction_error.py` prints the errors beside those of NumPy and of sums from left to right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
import pytest

from jitgrad.ops import COMPOSITES, OPS
from jitgrad.ops.reductions import BLOCK, COLUMN_BLOCK, LANES

Array = np.ndarray[Any, Any]
Plus = Callable[[Any, Any], Any]

DTYPES = ("float32", "float64")
LENGTHS = (1 << 10, 1 << 13, (1 << 16) + 1, 1 << 20)
LONGEST = 1 << 24


# What docs/numerics.md says, word for word ------------------------------------------------------------------


def sum_of_row(x: Sequence[Any], plus: Plus) -> Any:
    """Blocks of 1024; lanes of a block in order, then folded in halves; the blocks' results the same way."""
    if len(x) > BLOCK:
        blocks = [x[i : i + BLOCK] for i in range(0, len(x), BLOCK)]
        return sum_of_row([sum_of_row(b, plus) for b in blocks], plus)
    lanes = [in_order(x[k::LANES], plus) for k in range(min(LANES, len(x)))]
    half = LANES
    while half := half // 2:
        lanes = [
            plus(lanes[k], lanes[k + half]) if k + half < len(lanes) else lanes[k]
            for k in range(min(half, len(lanes)))
        ]
    return lanes[0]


def sum_of_column(x: Sequence[Any], plus: Plus) -> Any:
    """Blocks of 32 in order, and the blocks' results the same way."""
    if len(x) <= COLUMN_BLOCK:
        return in_order(x, plus)
    blocks = [x[i : i + COLUMN_BLOCK] for i in range(0, len(x), COLUMN_BLOCK)]
    return sum_of_column([in_order(b, plus) for b in blocks], plus)


def in_order(x: Sequence[Any], plus: Plus) -> Any:
    total = x[0]
    for value in x[1:]:
        total = plus(total, value)
    return total


def depth(sum_of: Callable[[Sequence[Any], Plus], Any], length: int) -> int:
    """Through how many additions an element goes at most."""
    return int(sum_of([0] * length, lambda a, b: max(a, b) + 1))


def depth_of_row(length: int) -> int:
    """The same by a formula, for long rows."""
    full = BLOCK // LANES - 1 + int(math.log2(LANES))
    return depth(sum_of_row, length) if length <= BLOCK else full + depth_of_row(-(-length // BLOCK))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_follow_the_order_that_is_written_down(dtype: str) -> None:
    rng = np.random.default_rng(0)
    for length in (1, 2, 5, 31, 32, 33, 63, 64, 65, 100, 127, 1000, 1023, 1024, 1025, 2049, 70_000):
        x = rng.normal(size=length).astype(dtype)
        assert OPS["sum"](x, axes=(0,)) == sum_of_row(list(x), lambda a, b: a + b), length
        for columns, sum_of in ((3, sum_of_row), (4, sum_of_row), (5, sum_of_column)):
            wanted = sum_of(list(x), lambda a, b: a + b)
            matrix = np.stack([x, -x, x, x, x][:columns], 1)
            assert OPS["sum"](matrix, axes=(0,)).tolist() == [wanted, -wanted, *[wanted] * (columns - 2)], (
                length
            )


def test_an_element_goes_through_a_logarithmic_number_of_additions() -> None:
    for length in (*range(1, 200, 7), 1024, 1025, 5000, 1 << 16):
        assert depth_of_row(length) == depth(sum_of_row, length) <= 21 * math.ceil(math.log2(length + 1) / 10)
        assert depth(sum_of_column, length) <= 31 * math.ceil(math.log2(length + 1) / 5)


# Sums that are hard -----------------------------------------------------------------------------------------


def cancelling(n: int, rng: np.random.Generator) -> Array:
    """Numbers of many magnitudes and their opposites, so that little but rounding errors is left."""
    half = rng.normal(size=n // 2) * 10.0 ** rng.integers(-6, 6, n // 2)
    return rng.permutation(np.concatenate((half, -half, np.full(n % 2, 1e-6))))


CASES: dict[str, Callable[[int, np.random.Generator], Array]] = {
    "0.1 everywhere": lambda n, rng: np.full(n, 0.1),
    "uniform": lambda n, rng: rng.uniform(size=n),
    "signs in turn": lambda n, rng: np.resize((1.0, -1.0), n) * rng.uniform(1, 2, n),
    "cancelling": cancelling,
    "growing": lambda n, rng: 2.0 ** (20 * np.arange(n) / n),
    "falling": lambda n, rng: 2.0 ** (-20 * np.arange(n) / n),
}


def values(case: str, length: int, dtype: str) -> Array:
    return CASES[case](length, np.random.default_rng(length)).astype(dtype)


def exact_sum(x: Array) -> Fraction:
    """The sum to about twice the digits of a float64."""
    if (x == x[0]).all():
        return Fraction(float(x[0])) * len(x)
    pieces = lambda: chain.from_iterable(part.tolist() for part in np.array_split(x, len(x) // BLOCK + 1))
    total = math.fsum(pieces())
    return Fraction(total) + Fraction(math.fsum(chain(pieces(), (-total,))))


def error(found: Any, x: Array) -> float:
    """The error of a sum, in units of eps * sum|x|."""
    return float(abs(Fraction(float(found)) - exact_sum(x)) / _unit(x))


def _unit(x: Array) -> Fraction:
    return Fraction(float(np.finfo(x.dtype).eps)) * Fraction(float(np.sum(np.abs(x), dtype=np.longdouble)))


def bound(additions: int, dtype: Any) -> float:
    """What so many roundings in a row can amount to, in the same units: a half each, and a little."""
    return additions / 2 / (1 - additions * float(np.finfo(dtype).eps) / 2)


def ours(x: Array) -> Any:
    return OPS["sum"](x, axes=(0,))


def from_left_to_right(x: Array) -> Any:
    return np.add.accumulate(x)[-1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_the_error_of_a_sum_stays_within_its_depth(case: str, dtype: str) -> None:
    for length in LENGTHS:
        x = values(case, length, dtype)
        assert error(ours(x), x) <= bound(depth_of_row(length), dtype), length
        columns = np.repeat(x[:, None], 2, 1)
        sums = OPS["sum"](columns, axes=(0,))
        levels = math.ceil(math.log(length, COLUMN_BLOCK) - 1e-9)
        assert error(sums[1], x) <= bound((COLUMN_BLOCK - 1) * levels, dtype), length


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_from_left_to_right_does_not(dtype: str) -> None:
    for length in (1 << 20, LONGEST):
        x = values("0.1 everywhere", length, dtype)
        assert error(ours(x), x) <= bound(depth_of_row(length), dtype) < error(from_left_to_right(x), x)


@pytest.mark.parametrize("length", LENGTHS)
def test_means_variances_and_inner_products_are_as_accurate(length: int) -> None:
    rng = np.random.default_rng(length)
    x, y = rng.normal(1000, 1, length).astype(np.float32), rng.normal(size=length).astype(np.float32)
    wide, other = x.astype(np.float64), y.astype(np.float64)  # whose products are exact
    additions, half = depth_of_row(length), float(np.finfo(np.float32).eps) / 2
    mean = math.fsum(wide) / length
    shift = (additions + 2) * half * mean
    assert abs(float(COMPOSITES["mean"](x)) - mean) <= shift
    variance = math.fsum((wide - mean) ** 2) / length
    assert abs(float(COMPOSITES["var"](x)) - variance) <= (additions + 6) * half * variance + 2 * shift**2
    inner, size = math.fsum(wide * other), math.fsum(np.abs(wide * other))
    assert abs(float(ours(x * y)) - inner) <= (additions + 2) * half * size


# The table --------------------------------------------------------------------------------------------------


def main() -> None:
    """Print the errors of sums in units of eps * sum|x|, and the bound of jitgrad's order."""
    print("| dtype | sum of | length | left to right | NumPy | jitgrad | bound |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for dtype in DTYPES:
        for case in CASES:
            for length in (1 << 10, LONGEST):
                x = values(case, length, dtype)
                found = (error(total, x) for total in (from_left_to_right(x), np.sum(x), ours(x)))
                errors = " | ".join(f"{e:.3g}" for e in found)
                print(
                    f"| {dtype} | {case} | {length:,} | {errors} | {bound(depth_of_row(length), dtype):.1f} |"
                )


if __name__ == "__main__":
    main()
