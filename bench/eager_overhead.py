"""What one eager operation costs beside PyTorch's: `python bench/eager_overhead.py [rounds]`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import jitgrad
from jitgrad.cli.measure import Contender, interleave, repeats_for

SIZES = (8, 1_000_000)


def backward(library: Any, x: Any) -> None:
    x.grad = None
    (library.sin(x) * x).sum().backward()


OPERATIONS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "x + y": lambda library, x, y, w: x + y,
    "w + y, recorded": lambda library, x, y, w: w + y,
    "w * w, recorded": lambda library, x, y, w: w * w,
    "x * 2.0": lambda library, x, y, w: x * 2.0,
    "sin(x)": lambda library, x, y, w: library.sin(x),
    "x ** 2": lambda library, x, y, w: x**2,
    "x.sum()": lambda library, x, y, w: x.sum(),
    "x.mean()": lambda library, x, y, w: x.mean(),
    "x[1:]": lambda library, x, y, w: x[1:],
    "x.add_(y)": lambda library, x, y, w: x.add_(y),
    "(sin(w) * w).sum() and backward": lambda library, x, y, w: backward(library, w),
}


def contender(name: str, library: Any, operation: Any, size: int) -> Contender:
    """One operation on float32 vectors, in one library."""
    x, y, w = (
        library.from_numpy(np.random.default_rng(seed).standard_normal(size).astype(np.float32))
        for seed in range(3)
    )
    w.requires_grad_()
    call = lambda: operation(library, x, y, w)
    made = Contender(name, call)
    for _ in range(10):
        call()
    made.repeats = repeats_for(call)
    return made


def start_up_seconds(module: str) -> float:
    """The median time of a fresh process that imports a module, beyond that of one that imports nothing."""
    program = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    runs = [
        float(subprocess.check_output([sys.executable, "-c", program.format(module)], env=environment))
        for _ in range(7)
    ]
    return float(np.median(runs[1:]))


def main(rounds: int = 21) -> None:
    table = Table(title="Eager operations on float32 vectors, medians in microseconds")
    for heading in ("elements", "operation", "torch", "jitgrad", "jitgrad / torch"):
        table.add_column(heading, justify="left" if heading == "operation" else "right")
    for size in SIZES:
        for name, operation in OPERATIONS.items():
            pair = [contender(n, lib, operation, size) for n, lib in (("torch", torch), ("jitgrad", jitgrad))]
            for _ in interleave(pair, rounds):
                pass
            theirs, ours = (c.median * 1e6 for c in pair)
            table.add_row(f"{size:,}", name, f"{theirs:.2f}", f"{ours:.2f}", f"{ours / theirs:.2f}")
        table.add_section()
    console = Console()
    console.print(table)
    for module in ("numpy", "jitgrad", "torch"):
        console.print(f"import {module}: {start_up_seconds(module):.3f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
