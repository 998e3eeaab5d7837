"""How the loops are compiled, and shared among threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numba.core.compiler

from jitgrad.machine import threads

LEAST = 4096  # elements of work that are worth a thread


class Separate(numba.core.compiler.Compiler):
    """Compile in the knowledge that no two arguments overlap."""

    def define_pipelines(self) -> Any:
        """Set the flag, which no option does, and keep the passes."""
        self.state.flags.noalias = True
        return super().define_pipelines()


# A sum may be taken in any order and nothing is a NaN, but a quotient stays one.
OPTIONS = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz", "nnan"}}
loop = numba.njit(nogil=True, pipeline_class=Separate, **OPTIONS)
inlined = numba.njit(forceinline=True, **OPTIONS)


@cache
def pool(workers: int) -> ThreadPoolExecutor:
    """Return the threads that work beside the caller."""
    return ThreadPoolExecutor(workers)


def shared(run: Callable[..., Any], extent: int, work: int) -> list[Any]:
    """Call run(part, start, stop) for parts of range(extent), all at a time, and list what they return."""
    count = max(1, min(threads.get_num_threads(), extent, work // LEAST))
    if count == 1:
        return [run(0, 0, extent)]
    bounds = [extent * part // count for part in range(count + 1)]
    others = [
        pool(threads.get_num_threads() - 1).submit(run, k, bounds[k], bounds[k + 1]) for k in range(1, count)
    ]
    return [run(0, 0, bounds[1]), *(other.result() for other in others)]
