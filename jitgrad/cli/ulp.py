"""`python -m jitgrad ulp`: the errors of jitgrad's functions in the last place, beside other libraries'."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jitgrad import vmath
from jitgrad.accuracy import (
    CHUNKS,
    FUNCTIONS,
    Evaluate,
    Exact,
    errors,
    exact,
    library_function,
    points,
    sweep,
)
from jitgrad.cli.terminal import new_console, new_progress, require_extra
from jitgrad.machine import threads

if TYPE_CHECKING:
    from rich.progress import Progress

Array = NDArray[Any]
# How many values a process computes at a time.
CHUNK = 4096
ROUTINES = tuple(dict.fromkeys(function.routine for function in FUNCTIONS.values()))
UNARY = tuple(dict.fromkeys(function.routine for function in FUNCTIONS.values() if function.arity == 1))
TITLES = {"jitgrad": "jitgrad", "numpy": "NumPy/SciPy", "torch": "PyTorch", "jax": "JAX"}


@dataclass(frozen=True, slots=True)
class Errors:
    """The errors of one implementation over the points of one function."""

    largest: float
    mean: float
    where: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """The errors of all implementations of one function in one dtype, jitgrad's first."""

    name: str
    dtype: str
    count: int
    found: dict[str, Errors]

    @property
    def bound(self) -> float:
        """What jitgrad promises."""
        return FUNCTIONS[self.name].bound

    @property
    def kept(self) -> bool:
        """Whether jitgrad keeps its promise."""
        return self.found["jitgrad"].largest <= self.bound


def routine(name: str) -> str:
    """Check the name of a routine.

    >>> routine("tan")
    'tan'
    """
    if name not in ROUTINES:
        raise argparse.ArgumentTypeError(f"unknown function {name!r}; there are {', '.join(ROUTINES)}")
    return name


def run(
    routines: Sequence[str],
    dtypes: Sequence[str],
    count: int,
    seed: int,
    libraries: Sequence[str],
    markdown: bool,
) -> int:
    """Measure routines, print the table and return 1 if one exceeds its bound, else 0; none means all."""
    require_extra("accuracy", ["mpmath", "rich"])
    names = [name for name, function in FUNCTIONS.items() if function.routine in (routines or ROUTINES)]
    return show(measure(list(product(names, dtypes)), count, seed, libraries), markdown)


def run_exhaustive(routines: Sequence[str], markdown: bool) -> int:
    """Measure routines of one argument at every float32 of their domains, as `run` does."""
    require_extra("accuracy", ["mpmath", "rich", "scipy"])
    names = [name for name, function in FUNCTIONS.items() if function.routine in (routines or UNARY)]
    with new_progress() as progress:
        rows = [sweep_one(name, progress) for name in names]
    return show(rows, markdown)


def ours(routine: str) -> Evaluate:
    """Return jitgrad's function on arrays."""
    function = vmath.ufunc(routine)

    def evaluate(*arguments: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(function(*arguments))

    return evaluate


def measure(cases: Sequence[tuple[str, str]], count: int, seed: int, libraries: Sequence[str]) -> list[Row]:
    """Measure functions and dtypes, with the exact values from other processes."""
    processes = threads.get_num_threads()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool, new_progress() as progress:
        arguments = [points(name, dtype, count, seed) for name, dtype in cases]
        values = [submit(pool, name, a) for (name, _), a in zip(cases, arguments, strict=True)]
        task = progress.add_task("", total=sum(map(len, values)))
        rows = []
        for (name, dtype), a, parts in zip(cases, arguments, values, strict=True):
            progress.update(task, description=f"{name} {dtype}")
            rows.append(row(name, dtype, a, gather(parts, progress, task), libraries))
    return rows


def submit(pool: ProcessPoolExecutor, name: str, arguments: tuple[Array, ...]) -> list[Future[Exact]]:
    """Let other processes compute the exact values, some at a time."""
    starts = range(0, arguments[0].size, CHUNK)
    return [pool.submit(exact, name, *(a[start : start + CHUNK] for a in arguments)) for start in starts]


def gather(parts: Sequence[Future[Exact]], progress: Progress, task: Any) -> Exact:
    """Wait for exact values and join them."""
    found = []
    for part in parts:
        found.append(part.result())
        progress.advance(task)
    fields = zip(*((value.high, value.low, value.exponent, value.binade) for value in found), strict=True)
    return Exact(*map(np.concatenate, fields))


def row(name: str, dtype: str, arguments: tuple[Array, ...], value: Exact, libraries: Sequence[str]) -> Row:
    """Compare jitgrad and the libraries with the exact values."""
    function = FUNCTIONS[name]
    found = {"jitgrad": ours(function.routine)}
    for library in libraries:
        evaluate = library_function(library, function.routine)
        if evaluate is not None:
            found[library] = evaluate
    measured = {
        library: summary(errors(evaluate(*arguments), value), arguments)
        for library, evaluate in found.items()
    }
    return Row(name, dtype, arguments[0].size, measured)


def summary(found: Array, arguments: tuple[Array, ...]) -> Errors:
    """Return the largest error, the mean of the finite ones, and where the largest is."""
    worst = int(np.argmax(found))
    mean = float(found[np.isfinite(found)].mean())
    return Errors(float(found[worst]), mean, tuple(str(a[worst]) for a in arguments))


def sweep_one(name: str, progress: Progress) -> Row:
    """Measure one function at every float32, showing the largest error so far."""
    routine = FUNCTIONS[name].routine
    reference = library_function("numpy", routine)
    assert reference is not None, f"neither NumPy nor SciPy has {routine}"
    task = progress.add_task(name, total=CHUNKS)
    for found in sweep(name, ours(routine), reference, threads.get_num_threads(), range(CHUNKS)):
        progress.update(task, advance=1, description=f"{name} {found.largest:.4f}")
    progress.remove_task(task)
    errors_found = Errors(found.largest, found.mean, (str(np.float32(found.where)),))
    return Row(name, "float32", found.count, {"jitgrad": errors_found})


def show(rows: Sequence[Row], markdown: bool) -> int:
    """Print the table and return the exit status."""
    libraries = [library for library in TITLES if any(library in row.found for row in rows)]
    header = ["function", "dtype", "bound", *(TITLES[library] for library in libraries), "at"]
    cells = [list(row_cells(row, libraries)) for row in rows]
    (print_markdown if markdown else print_table)(header, cells)
    print(f"{sum(row.count for row in rows):,} points", file=sys.stderr)
    above = [f"{row.name} {row.dtype}" for row in rows if not row.kept]
    if above:
        print(f"above the bound: {'; '.join(above)}", file=sys.stderr)
    return 1 if above else 0


def row_cells(row: Row, libraries: Sequence[str]) -> Iterator[str]:
    """Write the cells of one row; a ! marks an error above the bound."""
    yield from (row.name, row.dtype, f"{row.bound:g}")
    for library in libraries:
        found = row.found.get(library)
        mark = "" if row.kept or library != "jitgrad" else "!"
        yield f"{ulp(found.largest)} ({ulp(found.mean)}){mark}" if found else ""
    yield ", ".join(row.found["jitgrad"].where)


def ulp(value: float) -> str:
    """Write an error with two or three digits.

    >>> ulp(0.5), ulp(4099.0), ulp(float("inf"))
    ('0.500', '4.1e+03', 'inf')
    """
    return f"{value:.3f}" if value < 100 else "inf" if math.isinf(value) else f"{value:.1e}"


def print_table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print to the terminal; rows above their bound are red."""
    from rich.table import Table

    table = Table(title="Largest (mean) error in units in the last place, against mpmath")
    for name in header:
        table.add_column(name, justify="left" if name in ("function", "dtype", "at") else "right")
    for row in cells:
        table.add_row(*row, style="red" if row[3].endswith("!") else None)
    new_console().print(table)


def print_markdown(header: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print a table for the documentation, without the arguments."""
    for row in (header, ["---"] * len(header), *cells):
        print(f"| {' | '.join(row[:-1])} |")
