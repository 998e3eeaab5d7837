"""`python -m jitgrad bench --starts` or `--memory`: tables of what fresh processes measure."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jitgrad.cli.info import facts
from jitgrad.cli.isolated import imports, in_fresh_process
from jitgrad.cli.peers import ENGINES, register
from jitgrad.cli.terminal import new_console, new_progress, require_extra, seconds, size, three_digits
from jitgrad.cli.workloads import Case, argument_bytes

Ask = Callable[[str], dict[str, Any]]
Measure = Callable[[Case, Ask], dict[str, Any]]


def run_starts(
    cases: Sequence[Case], engines: Sequence[str], also: Sequence[str], output: Path | None
) -> int:
    """Time each import, and each first call with empty caches and with those that it left.

    Return the exit status.
    """
    headings = {
        "import": lambda row: seconds(row["import_s"]),
        "first call": lambda row: seconds(row["first_call_s"]),
        "second process": lambda row: seconds(row["second_process_s"]),
    }
    return run("First calls in fresh processes", headings, starts, cases, engines, also, output)


def run_memory(
    cases: Sequence[Case], engines: Sequence[str], also: Sequence[str], output: Path | None
) -> int:
    """Measure the peak memory of each engine's calls; return the exit status."""
    if sys.platform != "linux":
        print("python -m jitgrad bench --memory reads /proc, which only Linux has", file=sys.stderr)
        return 1
    headings = {
        "peak": lambda row: size(max(0, row["peak_bytes"])),
        "inputs and gradients": lambda row: size(row["argument_bytes"]),
        "ratio": lambda row: three_digits(max(0.0, row["peak_bytes"] / row["argument_bytes"])),
    }
    return run("Peak memory of calls", headings, peak, cases, engines, also, output)


def starts(case: Case, ask: Ask) -> dict[str, Any]:
    """Make a first call in one process, then in another; import the libraries in a third."""
    first = ask("first_call")
    if "problem" in first:
        return first
    second = ask("first_call")
    if "problem" in second:
        return second
    return ask("imports") | first | {"second_process_s": second["first_call_s"]}


def peak(case: Case, ask: Ask) -> dict[str, Any]:
    """Fill the caches in one process and look at the memory of another."""
    filled = ask("first_call")
    if "problem" in filled:
        return filled
    arrays = case.workload.arrays(case.size, case.dtype)
    return ask("memory") | {"argument_bytes": argument_bytes(arrays, case.workload.argnums)}


def run(
    title: str,
    headings: dict[str, Callable[[dict[str, Any]], str]],
    measure: Measure,
    cases: Sequence[Case],
    engines: Sequence[str],
    also: Sequence[str],
    output: Path | None,
) -> int:
    """Measure every engine on every case, print the table and write the figures to `output` if given."""
    require_extra("bench", ["rich"])
    names = [name for name in (*engines, *register(also)) if ENGINES[name].available]
    rows = []
    with new_progress() as progress:
        task = progress.add_task("", total=len(cases) * len(names))
        for case in cases:
            for name in names:
                progress.update(task, description=f"{case.title}: {name}")
                rows.append(identity(case, name) | measured(measure, case, name, also))
                progress.advance(task)
    print_table(title, headings, rows)
    if output is not None:
        output.write_text(json.dumps({"environment": facts(), "rows": rows}, indent=1))
    return 0


def measured(measure: Measure, case: Case, engine: str, also: Sequence[str]) -> dict[str, Any]:
    """Measure one engine on one case, starting from empty caches."""
    request = engine, case.workload.name, case.size, case.dtype
    with tempfile.TemporaryDirectory(prefix="jitgrad-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)

        def ask(what: str) -> dict[str, Any]:
            if what == "imports":
                return imports(ENGINES[engine].needs, folder)
            return in_fresh_process(what, request, also, folder)

        return measure(case, ask)


def identity(case: Case, engine: str) -> dict[str, Any]:
    """Say which case and engine a row is about."""
    return {"workload": case.workload.name, "size": case.size, "dtype": case.dtype, "engine": engine}


def print_table(
    title: str, headings: dict[str, Callable[[dict[str, Any]], str]], rows: Sequence[dict[str, Any]]
) -> None:
    """Print one line for each row; one that failed says why."""
    from rich.table import Table

    table = Table(title=title)
    for name in ("workload", "size", "dtype", "engine", *headings, "problem"):
        table.add_column(name, justify="right" if name in headings else "left", no_wrap=True)
    for row in rows:
        problem = row.get("problem", "")
        cells = [""] * len(headings) if problem else [write(row) for write in headings.values()]
        table.add_row(
            row["workload"],
            row["size"],
            row["dtype"],
            row["engine"],
            *cells,
            f"[red]{problem}" * bool(problem),
        )
    console = new_console()
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in facts().items()), style="dim")
