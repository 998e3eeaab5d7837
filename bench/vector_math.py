"""Elementary functions beside other libraries', on one core: `python bench/vector_math.py [names]`.

One million elements in memory, all engines interleaved, medians in milliseconds. NumPy, jitgrad's ufuncs and
PyTorch write into an array that is there; JAX makes a new one at each call.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ.setdefault("JAX_ENABLE_X64", "1")

import jax
import numpy as np
import scipy.special
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from jitgrad import vmath
from jitgrad.cli.measure import Contender, interleave, repeats_for

SIZE = 1_000_000
ROUNDS = 31
PAIR = ("power", "arctan2", "hypot", "fmod", "remainder", "floor_divide")
# Where a function is not defined on (-10, 10), or interesting elsewhere.
RANGES = {
    "arcsin": (-1, 1),
    "arccos": (-1, 1),
    "arctanh": (-1, 1),
    "arccosh": (1, 10),
    "log1p": (-0.9, 10),
    **dict.fromkeys(("log", "log2", "log10", "sqrt", "power", "lgamma", "digamma"), (0.1, 10)),
}
NAMES = (
    "exp exp2 expm1 log log2 log10 log1p sqrt cbrt power hypot sin cos tan arcsin arccos arctan arctan2 sinh "
    "cosh tanh arcsinh arccosh arctanh erf erfc sigmoid softplus lgamma digamma fmod remainder floor_divide"
).split()
SCIPY = {
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "sigmoid": scipy.special.expit,
    "lgamma": scipy.special.gammaln,
    "digamma": scipy.special.digamma,
    "softplus": partial(np.logaddexp, 0),
}
TORCH = {
    "power": "pow",
    "softplus": "nn.functional.softplus",
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")},
}
JAX = {name: f"scipy.special.{name}" for name in ("erf", "erfc", "digamma")} | {
    "lgamma": "scipy.special.gammaln",
    "sigmoid": "nn.sigmoid",
    "softplus": "nn.softplus",
}


def found(library: Any, path: str) -> Any:
    """Look up a dotted name; None where there is none."""
    for part in path.split("."):
        library = getattr(library, part, None)
    return library


def engines(name: str, arrays: list[np.ndarray[Any, Any]]) -> dict[str, Callable[[], Any]]:
    """Return a call of the function in each library that has it."""
    out = np.empty_like(arrays[0])
    calls: dict[str, Callable[[], Any]] = {"jitgrad": partial(vmath.ufunc(name), *arrays, out=out)}
    ufunc = SCIPY.get(name) or getattr(np, name, None)
    if ufunc is not None:
        calls["NumPy"] = partial(ufunc, *arrays, out=np.empty_like(out))
    function = found(torch, TORCH.get(name, name))
    if function is not None:
        tensors = [torch.from_numpy(a) for a in arrays]
        extra = {} if name == "softplus" else {"out": torch.empty_like(tensors[0])}
        calls["PyTorch"] = partial(function, *tensors, **extra)
    function = found(jax.numpy, name) or found(jax, JAX.get(name, name))
    if function is not None:
        compiled, given = jax.jit(function), [jax.numpy.asarray(a) for a in arrays]
        calls["JAX"] = lambda: compiled(*given).block_until_ready()
    return calls


def operands(name: str, dtype: str) -> list[np.ndarray[Any, Any]]:
    """Return the arrays that a function is measured on."""
    rng = np.random.default_rng(0)
    x = rng.uniform(*RANGES.get(name, (-10, 10)), SIZE).astype(dtype)
    return [x, rng.uniform(-3, 3, SIZE).astype(dtype)] if name in PAIR else [x]


def medians(name: str, dtype: str) -> dict[str, float]:
    """Return milliseconds by library."""
    contenders = []
    for library, call in engines(name, operands(name, dtype)).items():
        call()
        contenders.append(Contender(library, call))
        contenders[-1].repeats = repeats_for(call)
    for _ in interleave(contenders, ROUNDS):
        pass
    return {c.name: c.median * 1e3 for c in contenders}


FIRST_CALL = """
import time, numpy as np
from jitgrad import vmath
from jitgrad.vmath.routine import ROUTINES
x = np.ones((ROUTINES["{0}"].arity, 3))
start = time.perf_counter()
vmath.ufunc("{0}")(*x)
print(time.perf_counter() - start)
"""


def first_calls(name: str) -> list[float]:
    """Return the seconds of the first call in a process, with no compiled code on disk and with it."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"JITGRAD_CACHE_DIR": folder}
        command = [sys.executable, "-W", "ignore", "-c", FIRST_CALL.format(name)]
        return [float(subprocess.check_output(command, env=environment)) for _ in range(2)]


def print_first_calls(names: list[str]) -> None:
    seconds = {name: first_calls(name) for name in names}
    for place, title in enumerate(("compiled now", "compiled before, by another process")):
        times = {name: both[place] * 1e3 for name, both in seconds.items()}
        slowest = max(times, key=lambda name: times[name])
        median = statistics.median(times.values())
        print(f"first call, {title}: median {median:.1f} ms, slowest {slowest} {times[slowest]:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--first", action="store_true", help="measure first calls in new processes instead")
    options = parser.parse_args()
    if options.first:
        print_first_calls(options.names)
        return
    libraries = ("NumPy", "PyTorch", "JAX")
    table = Table(
        title=f"{SIZE:,} elements on one core, medians in ms; × is how much faster jitgrad is",
        box=box.MARKDOWN,
    )
    table.add_column("function")
    table.add_column("dtype")
    for heading in ("jitgrad", *(f"{library}{end}" for library in libraries for end in ("", " ×"))):
        table.add_column(heading, justify="right")
    for dtype in ("float32", "float64"):
        for name in options.names:
            times = medians(name, dtype)
            row = [f"{times['jitgrad']:.3f}"]
            for library in libraries:
                known = library in times
                row += (
                    [f"{times[library]:.3f}", f"{times[library] / times['jitgrad']:.2f}"]
                    if known
                    else ["", ""]
                )
            table.add_row(name, dtype, *row)
        table.add_section()
    Console(width=110).print(table)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
