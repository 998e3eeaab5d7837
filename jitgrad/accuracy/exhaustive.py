"""Measures a float32 function at every float32 of its domain.

The reference is a float64 function of NumPy or SciPy, whose own error is far below one ulp of float32: some
2**-26 ulp, and next to the zeros of lgamma and digamma at most 2**-4 ulp. What could be the largest error is
computed again with mpmath, so that the figure reported is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from jitgrad.accuracy.functions import FUNCTIONS, Array
from jitgrad.accuracy.libraries import Evaluate
from jitgrad.accuracy.oracle import errors, exact

CHUNK = 2**20
CHUNKS = 2**32 // CHUNK
# So few at a time that what is computed from them stays in the processor's cache and in reused memory.
PIECE = 2**14
# mpmath looks at so many of the largest errors of a piece, where they may exceed the largest so far.
RECHECKED, DOUBT = 4, 2.0**-10
EXPONENT_BITS = np.uint64(0x7FF0_0000_0000_0000)
# What rounds to infinity in float32.
OVERFLOW = 2.0**128 - 2.0**103


@dataclass(slots=True)
class Sweep:
    """The errors found so far."""

    count: int = 0
    total: float = 0.0
    largest: float = 0.0
    where: float = math.nan

    @property
    def mean(self) -> float:
        """The mean error."""
        return self.total / max(self.count, 1)


def sweep(
    name: str, ours: Evaluate, reference: Evaluate, threads: int, chunks: Sequence[int]
) -> Iterator[Sweep]:
    """Yield the errors of `ours` so far after each chunk of bit patterns; there are CHUNKS in all."""
    found = Sweep()
    with ThreadPoolExecutor(threads) as pool:
        for count, total, doubtful in pool.map(partial(chunk, name, ours, reference, found), chunks):
            found.count, found.total = found.count + count, found.total + total
            for x, error in doubtful:
                recheck(name, ours, found, x, error)
            yield found


def chunk(
    name: str, ours: Evaluate, reference: Evaluate, found: Sweep, index: int
) -> tuple[int, float, list[tuple[Array, Array]]]:
    """Return how many floats of a chunk are in the domain, the sum of errors, and what may be the largest."""
    count, total, doubtful = 0, 0.0, []
    for start in range(index * CHUNK, (index + 1) * CHUNK, PIECE):
        x, error = estimate(name, ours, reference, start)
        count, total = count + x.size, total + float(error.sum())
        if x.size and error.max() > found.largest - DOUBT:
            worst = np.argsort(-error)[:RECHECKED]
            doubtful.append((x[worst], error[worst]))
    return count, total, doubtful


def estimate(name: str, ours: Evaluate, reference: Evaluate, start: int) -> tuple[Array, Array]:
    """Return the arguments of a piece that are in the domain, with the errors there."""
    function = FUNCTIONS[name]
    x = np.arange(start, start + PIECE, dtype=np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        x = x[np.isfinite(x) & function.domain(x)]
        value = reference(x.astype(np.float64))
        magnitude = np.abs(value) if function.term is None else np.maximum(np.abs(value), function.term(x))
        return x, float32_errors(ours(x), value, magnitude)


def float32_errors(got: Array, value: Array, magnitude: Array) -> Array:
    """Return the errors of float32 numbers against float64 values, in float32 ulp of `magnitude`.

    >>> value = np.array([1.0, 1e39, 1.0])
    >>> float32_errors(np.array([1 + 2.0**-23, np.inf, np.nan], np.float32), value, value)
    array([ 1.,  0., inf])
    """
    unit = (magnitude.view(np.uint64) & EXPONENT_BITS).view(np.float64) * 2.0**-23
    error = np.abs(got - value) / np.maximum(unit, 2.0**-149)
    right = np.isinf(got) & (np.abs(value) >= OVERFLOW) & (np.signbit(got) == np.signbit(value))
    return np.where(right, 0.0, np.where(np.isnan(error), np.inf, error))


def recheck(name: str, ours: Evaluate, found: Sweep, x: Array, error: Array) -> None:
    """Let mpmath decide whether one of these errors is larger than those so far."""
    candidates = x[error > found.largest - DOUBT]
    if not candidates.size:
        return
    exactly = errors(ours(candidates), exact(name, candidates))
    worst = int(np.argmax(exactly))
    if exactly[worst] > found.largest:
        found.largest, found.where = float(exactly[worst]), float(candidates[worst])
