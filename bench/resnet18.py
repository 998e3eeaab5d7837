"""ResNet-18 beside PyTorch: `python bench/resnet18.py [--threads N] [--rounds N] [--json FILE]`.

Scores, cross-entropy and gradients of all parameters for two images of 3 x 224 x 224, in training mode: the
steps of both libraries in turn, the shortest and the median of many, and CPU time of all threads. Memory is
the largest that a process of its own took for some steps, less what it had before them.

On a busy machine set OMP_WAIT_POLICY=passive, or PyTorch's threads wait for each other in a loop.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl
import torch
from rich import box
from rich.console import Console
from rich.table import Table

import jitgrad
from jitgrad.machine import threads

EXAMPLE = Path(__file__).parents[1] / "examples" / "resnet18.py"
LIBRARIES = {"jitgrad": jitgrad, "PyTorch": torch}
IMAGES = 2, 3, 224, 224
PAUSE = 0.05  # seconds between steps, so that threads that wait for work go to sleep
STEPS = 4  # of a process whose memory is measured


def network(library: Any) -> Any:
    """Return the example's network, made of the parts of a library."""
    text = EXAMPLE.read_text().replace("import jitgrad as torch", f"import {library.__name__} as torch")
    scope: dict[str, Any] = {"__name__": "example"}
    exec(compile(text, str(EXAMPLE), "exec"), scope)
    return scope["ResNet18"]()


def step_of(library: Any) -> Callable[[], None]:
    """Return a call that computes the loss and all gradients."""
    rng = np.random.default_rng(0)
    model = network(library)
    images = library.tensor(rng.standard_normal(IMAGES).astype(np.float32))
    labels = library.tensor(rng.integers(0, 1000, IMAGES[0]))

    def step() -> None:
        model.zero_grad()
        library.nn.functional.cross_entropy(model(images), labels).backward()

    return step


def resident(field: str) -> float:
    """Return megabytes of this process: VmRSS now, VmHWM at most so far, without those of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


def memory_here(name: str) -> dict[str, float]:
    """Return the megabytes that steps took in this process, and its largest size."""
    step = step_of(LIBRARIES[name])
    gc.collect()
    before = resident("VmRSS")
    for _ in range(STEPS):
        step()
    peak = resident("VmHWM")
    return {"step MB": peak - before, "process MB": peak}


def memory_apart(name: str, count: int) -> dict[str, float]:
    """Return what `memory_here` does in a process of its own."""
    command = [sys.executable, __file__, "--memory", name, "--threads", str(count)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # type: ignore[no-any-return]


def times(rounds: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds of a step in each library."""
    steps = {name: step_of(library) for name, library in LIBRARIES.items()}
    walls: dict[str, list[float]] = {name: [] for name in steps}
    cpus: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            time.sleep(PAUSE)
            cpu, wall = time.process_time(), time.perf_counter()
            step()
            walls[name].append((time.perf_counter() - wall) * 1e3)
            cpus[name].append((time.process_time() - cpu) * 1e3)
    return {
        name: {
            "shortest ms": min(walls[name]),
            "median ms": statistics.median(walls[name]),
            "CPU ms": statistics.median(cpus[name]),
        }
        for name in steps
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    with threadpoolctl.threadpool_limits(options.threads):
        if options.memory:
            print(json.dumps(memory_here(options.memory)))
            return
        found = times(options.rounds)
    for name, row in found.items():
        row.update(memory_apart(name, options.threads))
    ours, theirs = found.values()
    found["ratio"] = {title: ours[title] / theirs[title] for title in ours}
    if options.json:
        options.json.write_text(json.dumps({"threads": options.threads, **found}, indent=2))
    table = Table(title=f"a step of ResNet-18 on {options.threads} threads", box=box.MARKDOWN)
    table.add_column("")
    for title in ours:
        table.add_column(title, justify="right")
    for name, row in found.items():
        table.add_row(
            name, *(f"{value:.2f}" if name == "ratio" else f"{value:.0f}" for value in row.values())
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
