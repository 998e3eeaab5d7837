"""Measure one engine on one case in a fresh process: its import, its first call, or its calls' memory."""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

IN_NO_FILE = "PYTHONDONTWRITEBYTECODE"  # would charge every import with a compilation
CALLS_SECONDS = 0.5  # how long calls go on while their peak is watched
IMPORTS = """
import importlib, json, sys, time
start = time.perf_counter()
for module in sys.argv[1:]:
    importlib.import_module(module)
print(json.dumps({"import_s": time.perf_counter() - start}))
"""


def cache_environment(folder: Path) -> dict[str, str]:
    """Return the variables that make every engine keep what it compiles in a folder, however small."""
    return {
        "JITGRAD_CACHE_DIR": str(folder / "jitgrad"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def in_fresh_process(what: str, request: Sequence[str], also: Sequence[str], folder: Path) -> dict[str, Any]:
    """Measure `first_call` or `memory` of (engine, workload, size, dtype) with the caches of a folder.

    The answer holds the figures, or a `problem`.
    """
    return answer_of(["-m", "jitgrad.cli.isolated", what, *request, *also], folder)


def imports(modules: Sequence[str], folder: Path) -> dict[str, Any]:
    """Time the import of modules, with all that they import, in a fresh process."""
    return answer_of(["-c", IMPORTS, *modules], folder)


def answer_of(program: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run Python with the caches of a folder and return the JSON that it prints, or a `problem`."""
    environment = {k: v for k, v in os.environ.items() if k != IN_NO_FILE} | cache_environment(folder)
    command = [sys.executable, "-W", "ignore", *program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or ["no output"]
    if done.returncode:
        return {"problem": lines[-1][:80]}
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def first_call(engine: str, workload: str, size: str, dtype: str, also: Sequence[str]) -> dict[str, float]:
    """Time from just before the transform is applied to the end of the first call, on NumPy arrays.

    The engine's libraries are imported before. What it imports or starts only now belongs to the call.
    """
    chosen, case = load(engine, workload, also)
    for module in chosen.needs:
        importlib.import_module(module)
    arrays = case.arrays(size, dtype)
    start = time.perf_counter()
    chosen.prepare(case, arrays)()
    return {"first_call_s": time.perf_counter() - start}


def memory(engine: str, workload: str, size: str, dtype: str, also: Sequence[str]) -> dict[str, float]:
    """Measure the peak of resident memory during calls, above that of the started engine.

    The inputs and results count. Memory that compiling took for a while does not: the peak is reset after
    the first calls.
    """
    chosen, case = load(engine, workload, also)
    tiny = importlib.import_module("jitgrad.cli.workloads").WORKLOADS["tiny"]
    chosen.prepare(tiny, tiny.arrays("M", dtype))()
    settle()
    before = status("VmRSS")
    arrays = case.arrays(size, dtype)
    call = chosen.prepare(case, arrays)
    del arrays
    for _ in range(3):
        call()
    settle()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    stop = time.perf_counter() + CALLS_SECONDS
    while time.perf_counter() < stop:
        call()
    return {"peak_bytes": status("VmHWM") - before}


def load(engine: str, workload: str, also: Sequence[str]) -> tuple[Any, Any]:
    """Import the library and find the engine and the workload."""
    for module in also:
        importlib.import_module(module)
    peers, workloads = map(importlib.import_module, ("jitgrad.cli.peers", "jitgrad.cli.workloads"))
    return peers.ENGINES[engine], workloads.WORKLOADS[workload]


def settle() -> None:
    """Give freed memory back to the system, as far as the C library can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def status(name: str) -> int:
    """Read one of the sizes that Linux keeps of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name + ":"))


def main(what: str, engine: str, workload: str, size: str, dtype: str, *also: str) -> None:
    """Print the figures as JSON."""
    measures = {"first_call": first_call, "memory": memory}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(json.dumps(measures[what](engine, workload, size, dtype, also)))


if __name__ == "__main__":
    main(*sys.argv[1:])
