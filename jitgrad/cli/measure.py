"""Interleaved timing of several engines on one workload."""

from __future__ import annotations

import math
import random
import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from jitgrad.cli.peers import ENGINES, Call, Engine, flat_results
from jitgrad.cli.workloads import Array, Workload

SHORTEST_RUN = 0.01  # seconds: a shorter call is repeated within a round
PAUSE = 0.002  # seconds between engines, so that spinning thread pools go to sleep
# Some fifty times what any engine is off by; sums of both signs cancel no more than that in these workloads.
TOLERANCE = {"float32": 1e-4, "float64": 1e-11}  # relative to the largest element of a result


@dataclass(slots=True)
class Contender:
    """One engine on one workload, and what was measured of it."""

    name: str
    call: Call | None = None
    first: float = math.nan
    rounds: list[float] = field(default_factory=list)
    repeats: int = 1
    problem: str = ""

    @property
    def median(self) -> float:
        """The median over the rounds, of seconds for one call."""
        return statistics.median(self.rounds) if self.rounds else math.nan

    def run_once(self) -> None:
        """Time one round, after a call that is not timed."""
        if self.call is None:
            return
        time.sleep(PAUSE)
        self.call()
        self.rounds.append(timed(self.call, self.repeats))


def timed(call: Call, repeats: int) -> float:
    """Return the mean seconds of one call in a row of calls."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def prepare(engine: Engine, workload: Workload, arrays: list[Array], expected: list[Array]) -> Contender:
    """Make the first call and check its result; the first engine that works sets what is expected."""
    contender = Contender(engine.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            call = engine.prepare(workload, [a.copy() for a in arrays])
            results = flat_results(call())
            contender.first = time.perf_counter() - start
    except Exception as error:  # a peer may fail in any way: its row says so, the others go on
        contender.problem = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:80]
        return contender
    contender.call = call
    if not expected:
        expected.extend(results)
    contender.problem = disagreement(results, expected)
    contender.repeats = repeats_for(call)
    return contender


def exact_results(workload: Workload, arrays: list[Array]) -> list[Array]:
    """Return what every engine should: the results of the interpreter in float64, rounded."""
    floats = [a.dtype for a in arrays if a.dtype.kind == "f"]
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    return [r.astype(floats[0]) for r in flat_results(ENGINES["interpreter"].prepare(workload, wide)())]


def disagreement(results: Sequence[Array], expected: Sequence[Array]) -> str:
    """Say how far results are from what is expected, or nothing where they agree.

    >>> disagreement([np.float64(1.0)], [np.float64(1.0)]), disagreement([np.float64(1.1)], [np.float64(1.0)])
    ('', 'result 0 is off by 1e-01')
    """
    for k, (result, wanted) in enumerate(zip(results, expected, strict=True)):
        if result.shape != wanted.shape or result.dtype != wanted.dtype:
            return f"result {k} is {result.dtype}{result.shape}, not {wanted.dtype}{wanted.shape}"
        largest = float(np.max(np.abs(wanted), initial=0.0))
        error = float(np.max(np.abs(result - wanted), initial=0.0))
        if not error <= TOLERANCE.get(str(wanted.dtype), 0.0) * largest:
            return f"result {k} is off by {error / largest:.0e}"
    return ""


def repeats_for(call: Call) -> int:
    """Choose how many calls last at least SHORTEST_RUN."""
    call()
    once = min(timed(call, 1) for _ in range(3))
    return min(10_000, math.ceil(SHORTEST_RUN / max(once, 1e-7)))


def copies(count: int, threads: int) -> list[Contender]:
    """Return copies that read and write `count` bytes together, by one thread and by all."""
    source = np.ones(max(1, count // 2), np.uint8)
    target = np.empty_like(source)
    pool = ThreadPoolExecutor(threads)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))

    def shared() -> None:
        list(pool.map(lambda part: np.copyto(*part), parts))

    made = [Contender("copy, 1 thread", lambda: np.copyto(target, source))]
    if threads > 1:
        made.append(Contender(f"copy, {threads} threads", shared))
    for contender in made:
        contender.repeats = repeats_for(contender.call or shared)
    return made


def interleave(contenders: Sequence[Contender], rounds: int, seed: int = 0) -> Iterator[None]:
    """Run every contender once a round, in random order; yield after each run."""
    order, shuffle = list(contenders), random.Random(seed).shuffle
    for _ in range(rounds):
        shuffle(order)
        for contender in order:
            contender.run_once()
            yield


def start_up(engine: Engine) -> None:
    """Differentiate a sum of squares, so that no first call includes the start of an engine."""
    workload = Workload("start", lambda xp, x: xp.sum(x * x), (0,), lambda rng: (), {})
    prepare(engine, workload, [np.ones(8, np.float32)], [])
