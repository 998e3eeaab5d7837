"""`python -m jitgrad info`: what is installed, and on which machine."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator
from pathlib import Path

from llvmlite import binding as llvm

from jitgrad.cli.terminal import installed, size
from jitgrad.machine import cache, threads

REQUIRED = ("jitgrad", "numpy", "llvmlite")
OPTIONAL = ("numba", "scipy", "scikit-learn", "matplotlib", "rich", "jax", "torch", "autograd")


def run() -> int:
    """Print the facts that a report of a problem should name."""
    kernels, taken = cache.size()
    lines = {
        **facts(),
        "threads": str(threads.get_num_threads()),
        "cache": f"{cache.folder() or 'none'} ({kernels} kernels, {size(taken)})",
    }
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:<{width}}  {value}")
    return 0


def facts() -> dict[str, str]:
    """Return the versions of what is installed, the processor and the system."""
    machine = {
        "python": platform.python_version(),
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return dict(versions()) | machine


def versions() -> Iterator[tuple[str, str]]:
    """Name each library that matters here with its version, where it is installed."""
    for name in REQUIRED + OPTIONAL:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name in REQUIRED:
                yield name, "used from its source folder" if installed(name) else "missing"


def processor() -> str:
    """Return what the processor calls itself, and the name that LLVM compiles for."""
    name = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        models = [line for line in listing.read_text().splitlines() if line.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    return f"{name} ({llvm.get_host_cpu_name()})"
