"""`python -m jitgrad bench`: one table of engines and workloads, measured side by side."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jitgrad.cli.info import facts
from jitgrad.cli.measure import Contender, copies, exact_results, interleave, prepare, start_up
from jitgrad.cli.peers import ENGINES, Engine, register
from jitgrad.cli.summary import Medians, summary, summary_data
from jitgrad.cli.terminal import new_console, new_progress, require_extra, seconds, three_digits
from jitgrad.cli.workloads import Case, argument_bytes
from jitgrad.machine import threads

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

BASELINE = "jax"
BUSY = 0.5  # a load average above this disturbs the measurement


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """The contenders of one case, the copies last, and the bytes that a perfect engine moves."""

    case: Case
    count: int
    engines: list[Contender]
    copies: list[Contender]

    @property
    def copy_seconds(self) -> float:
        """The time of the faster copy of as many bytes."""
        return min(copy.median for copy in self.copies)

    def ratio(self, contender: Contender) -> float:
        """The time of a contender in units of the baseline's."""
        baseline = next((c.median for c in self.engines if c.name == BASELINE), math.nan)
        return contender.median / baseline


def run(
    cases: Sequence[Case], engines: Sequence[str], also: Sequence[str], rounds: int, output: Path | None
) -> int:
    """Measure, print the tables and write the figures to `output` if given; return the exit status."""
    require_extra("bench", ["rich"])
    load = load_average()
    engines = [*engines, *register(also)]
    used = [ENGINES[name] for name in engines if ENGINES[name].available]
    with cold_caches(), new_progress() as progress:
        for engine in progress.track(used, description="starting the engines"):
            start_up(engine)
        task = progress.add_task("", total=len(cases))
        measured = []
        for case in cases:
            progress.update(task, description=case.title)
            measured.append(measure(case, used, rounds, progress))
            progress.advance(task)
    console = new_console()
    console.print(table(measured))
    console.print(*summary(medians(measured)), sep="\n")
    console.print(", ".join(f"{name} {value}" for name, value in facts().items()), style="dim")
    if load > BUSY:
        console.print(f"The machine was busy at the start: load average {load:.1f}.", style="yellow")
    if missing := [name for name in engines if not ENGINES[name].available]:
        console.print(f"not installed: {', '.join(missing)}", style="dim")
    if output is not None:
        output.write_text(json.dumps(as_data(measured, load), indent=1, allow_nan=False))
    return 0


@contextlib.contextmanager
def cold_caches() -> Iterator[None]:
    """Give jitgrad and torch.compile an empty folder for their kernels, so that first calls compile."""
    names = "JITGRAD_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"
    before = {name: os.environ.get(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="jitgrad-bench-", ignore_cleanup_errors=True) as folder:
        for name in names:
            os.environ[name] = os.path.join(folder, name.lower())
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def measure(case: Case, engines: Sequence[Engine], rounds: int, progress: Progress) -> Measured:
    """Prepare all engines and copies of one case, then time them interleaved."""
    arrays = case.workload.arrays(case.size, case.dtype)
    count = argument_bytes(arrays, case.workload.argnums)
    task = progress.add_task("  first calls", total=len(engines))
    expected = exact_results(case.workload, arrays)
    contenders = []
    for engine in engines:
        progress.update(task, description=f"  first call: {engine.name}")
        contenders.append(prepare(engine, case.workload, arrays, expected))
        progress.advance(task)
    copied = copies(count, threads.get_num_threads())
    everyone = [*contenders, *copied]
    progress.update(task, description="  rounds", total=rounds * len(everyone), completed=0)
    for _ in interleave(everyone, rounds):
        progress.advance(task)
    progress.remove_task(task)
    for contender in everyone:
        contender.call = None  # lets go of the arrays
    return Measured(case, count, contenders, copied)


def table(measured: Sequence[Measured]) -> Table:
    """Lay out all cases, one section each."""
    from rich.table import Table

    result = Table(title="Value and gradients: medians, interleaved")
    for name in ("engine", "first call", "median", f"x {BASELINE}", "GB/s", "of copy"):
        result.add_column(name, justify="left" if name == "engine" else "right", no_wrap=True)
    result.add_column("result")
    for one in measured:
        result.add_section()
        result.add_row(f"[bold]{one.case.title}")
        for contender in one.engines:
            result.add_row(*engine_cells(one, contender))
        for contender in one.copies:
            result.add_row(*copy_cells(one, contender), style="dim")
    return result


def engine_cells(one: Measured, contender: Contender) -> list[str]:
    """Write one engine's row; one that failed says why."""
    if not contender.rounds:
        return [contender.name, *[""] * 5, f"[red]{contender.problem}"]
    return [
        contender.name,
        seconds(contender.first),
        seconds(contender.median),
        number(one.ratio(contender)),
        number(one.count / contender.median / 1e9),
        number(one.copy_seconds / contender.median),
        f"[red]{contender.problem}" if contender.problem else "agrees",
    ]


def copy_cells(one: Measured, contender: Contender) -> list[str]:
    """Write the row of a copy of as many bytes."""
    rate, fraction = one.count / contender.median / 1e9, one.copy_seconds / contender.median
    return [contender.name, "", seconds(contender.median), "", number(rate), number(fraction), ""]


def medians(measured: Sequence[Measured]) -> Medians:
    """Collect the times of those whose results are right."""
    return {one.case: {c.name: c.median for c in one.engines if not c.problem} for one in measured}


def number(value: float) -> str:
    """Write a positive number, or nothing where there is none."""
    return "" if math.isnan(value) else three_digits(value)


def load_average() -> float:
    """Return how many processes have been running lately, or 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def as_data(measured: Sequence[Measured], load: float) -> dict[str, Any]:
    """Turn the measurements into what JSON can hold."""
    rows = [
        {
            "workload": one.case.workload.name,
            "size": one.case.size,
            "dtype": one.case.dtype,
            "bytes": one.count,
            "engine": contender.name,
            "first_call_s": finite(contender.first),
            "median_s": finite(contender.median),
            "rounds_s": contender.rounds,
            "ratio": finite(one.ratio(contender)),
            "of_copy": finite(one.copy_seconds / contender.median),
            "problem": contender.problem,
        }
        for one in measured
        for contender in (*one.engines, *one.copies)
    ]
    return {
        "environment": facts(),
        "load_average": load,
        "baseline": BASELINE,
        "rows": rows,
        "summary": summary_data(medians(measured)),
    }


def finite(value: float) -> float | None:
    """Replace not-a-number, which JSON cannot hold."""
    return None if math.isnan(value) else value
