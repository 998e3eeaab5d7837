"""`python -m jitgrad cache`: what is kept on disk between processes, how to remove it, how to fill it."""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jitgrad.cli.terminal import size
from jitgrad.machine import cache, products, threads
from jitgrad.vmath.routine import ROUTINES
from jitgrad.vmath.ufuncs import ufunc

AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def show() -> int:
    """Print a line for everything that is kept, the most recently used first, and the total."""
    for item in sorted(cache.items(), key=lambda item: item.seconds_unused):
        what = f"{item.kind} of {item.title}" if item.title else item.kind
        print(f"{age(item.seconds_unused):>8}  {size(item.bytes):>8}  {what:<24}  {item.source}")
    return show_size()


def age(seconds: float) -> str:
    """Write a time for people.

    >>> age(30.0), age(90.0), age(200_000.0)
    ('30 s', '2 min', '2 d')
    """
    for unit, name in AGES:
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def show_size() -> int:
    """Print how much there is on disk."""
    kernels, taken = cache.size()
    print(f"{kernels} kernels, {size(taken)}, in {cache.folder() or 'no folder'}")
    return 0


def clear() -> int:
    """Remove everything from the disk."""
    print(f"removed {cache.clear()} kernels from {cache.folder() or 'no folder'}")
    return 0


ACTIONS: dict[str, Callable[[], int]] = {"list": show, "size": show_size, "clear": clear}


def prewarm(programs: Sequence[str]) -> int:
    """Compile what every program may need, then run scripts or modules once, so that theirs is kept too.

    A program is run as `python program` and `python -m program` do, without arguments.
    """
    before, start = cache.size()[0], time.perf_counter()
    threads.launcher()
    for name, routine in ROUTINES.items():
        if routine.arity <= 2:
            ufunc(name)
    for dtype in (np.float32, np.float64):
        products.multiply(np.ones((1, 1), dtype), np.ones((1, 1), dtype))
    arguments = sys.argv
    try:
        for program in programs:
            sys.argv = [program]
            if Path(program).is_file():
                sys.path.insert(0, str(Path(program).resolve().parent))
                runpy.run_path(program, run_name="__main__")
            else:
                runpy.run_module(program, run_name="__main__", alter_sys=True)
    finally:
        sys.argv = arguments
    print(f"{cache.size()[0] - before} kernels more in {time.perf_counter() - start:.1f} s")
    return show_size()
