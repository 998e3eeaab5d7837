"""What `fastmath=True` gains over the exact mode, on one core: `python bench/fastmath.py`.

Value and gradient, both modes interleaved, medians; the error is that of the fast gradient against the exact
one, in units of the largest gradient's last place.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import jitgrad
from jitgrad.cli.measure import Contender, interleave, repeats_for

SIZES = (10_000, 1_000_000)
ROUNDS = 21


def polynomial(x: Any) -> Any:
    y = x
    for _ in range(12):
        y = y * x + 0.3
    return np.sum(y)


def gaussian(x: Any) -> Any:
    return np.sum(np.exp(-0.5 * ((x - 0.3) * 1.7) ** 2))


def total(x: Any) -> Any:
    return np.sum(x * x + 2 * x)


def quotient(x: Any) -> Any:
    return np.sum((1 + x) / (3 + x * x) + x / 1.7)


def softmax(x: Any) -> Any:
    rows = x.reshape(-1, 100)
    weights = np.exp(rows - np.max(rows, axis=1, keepdims=True))
    return np.sum(np.log(np.sum(weights, axis=1)))


def main() -> None:
    table = Table(title="value_and_grad on one core, medians in microseconds", box=box.MARKDOWN)
    for heading in ("program", "dtype", "elements", "exact", "fast", "exact / fast", "difference, ulp"):
        table.add_column(heading, justify="left" if heading in ("program", "dtype") else "right")
    for function in (polynomial, gaussian, total, quotient, softmax):
        for dtype in ("float32", "float64"):
            for size in SIZES:
                table.add_row(function.__name__, dtype, f"{size:,}", *compared(function, dtype, size))
    Console(width=110).print(table)


def compared(function: Callable[[Any], Any], dtype: str, size: int) -> list[str]:
    """Return the columns of one row."""
    x = np.random.default_rng(0).uniform(-1, 1, size).astype(dtype)
    modes = [jitgrad.value_and_grad(function, fastmath=fast) for fast in (False, True)]
    exact, fast = (mode(x)[1].astype(np.float64) for mode in modes)
    ulp = float(np.spacing(np.max(np.abs(exact)).astype(dtype)))
    pair = [Contender(name, lambda mode=mode: mode(x)) for name, mode in zip("ef", modes, strict=True)]
    for contender in pair:
        contender.repeats = repeats_for(contender.call)
    for _ in interleave(pair, ROUNDS):
        pass
    slow, quick = (c.median * 1e6 for c in pair)
    difference = float(np.max(np.abs(exact - fast))) / ulp
    return [f"{slow:.1f}", f"{quick:.1f}", f"{slow / quick:.2f}", f"{difference:.1f}"]


if __name__ == "__main__":
    main()
