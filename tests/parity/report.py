"""Prints a row for each op of PyTorch's op_db that jitgrad offers: `python tests/parity/report.py`."""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import multiprocessing
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import tensor_names
from checking import COLUMNS, Failure, Row, check, has_samples, is_offered, surprises
from known import KNOWN
from libraries import Library, subject
from op_samples import DTYPES, OPS, dtype_name
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

HEADINGS = ("op", *COLUMNS, "same text", "samples", "left out")
INTRODUCTION = (
    "Every op of PyTorch's own op_db that `import jitgrad as torch` offers, called with all of op_db's",
    "samples in both libraries, in each form that it has: as a function, a method, an operator and in place.",
    "",
    "`python tests/parity/report.py --markdown docs/parity.md` writes this page again.",
)
COLUMNS_EXPLAINED = (
    "A number says how many comparisons agreed, one after a slash how many did not: those are the known",
    "differences above. `errors` are calls that must raise the class of error that PyTorch raises; `same",
    "text` says how many errors have PyTorch's words too, `left out` how many comparisons were not made.",
)


def library_of(module: str) -> Library:
    return subject(importlib.import_module(module))


def _row(module: str, name: str) -> Row:
    return check(name, library_of(module))


def compared(module: str, names: list[str], processes: int) -> list[Row]:
    """The rows of these ops, in the order of their names."""
    rows: dict[str, Row] = {}
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(processes, mp_context=context) as pool,
        Progress(console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task("ops", total=len(names))
        waiting = {pool.submit(_row, module, name): name for name in names}
        for done in as_completed(waiting):
            rows[waiting[done]] = done.result()
            progress.advance(task)
    return [rows[name] for name in sorted(rows)]


def cells(row: Row) -> list[str]:
    """The row as text: how many comparisons agreed in each column, and after a slash how many did not."""
    counts = (
        f"{row.passed[what]} / {row.failed(what)}" if row.failed(what) else str(row.passed[what] or "")
        for what in COLUMNS
    )
    return [row.name, *counts, str(row.same_text), str(row.samples), str(row.left_out.total())]


def total(rows: list[Row]) -> Row:
    """All rows in one."""
    found = Row("total")
    for row in rows:
        found.passed += row.passed
        found.failures += row.failures
        found.left_out += row.left_out
        found.samples += row.samples
        found.rounded += row.rounded
        found.same_text += row.same_text
    return found


def notes(rows: list[Row], library: Library, names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """What stands below the table: headings with their lines."""
    whole = total(rows)
    checks = whole.passed.total() + len(whole.failures)
    agreeing = sum(not row.failures for row in rows)
    yield (
        "Totals",
        [
            f"{len(rows)} of {len(names)} ops of op_db offered, {agreeing} of them with no failure",
            f"{checks} comparisons, {whole.passed.total()} passed, {len(whole.failures)} failed",
            f"{whole.samples} samples of op_db, all that it has in {', '.join(map(dtype_name, DTYPES))}, and "
            "further shapes, layouts, special values and pairs of dtypes for elementwise ops and reductions",
            f"{whole.rounded} of the comparisons in float32 passed as no less exact than PyTorch, by its "
            "result in float64",
        ],
    )
    yield "Not compared", [f"{n}: {reason}" for reason, n in whole.left_out.most_common()]
    yield "Known differences", known_by_reason()
    yield (
        "Forms of offered ops that are missing",
        [f"{r.name}: {', '.join(r.missing)}" for r in rows if r.missing],
    )
    bare = [name for name in names if is_offered(name, library) and not has_samples(name)]
    yield "Offered, but without samples in these dtypes", [", ".join(bare)] if bare else []
    absent = [name for name in names if not is_offered(name, library)]
    yield f"PyTorch ops (op_db names) not offered ({len(absent)})", [", ".join(absent)]
    for group, members in tensor_names.GROUPS.items():
        here, lacking = tensor_names.offered(library, members), tensor_names.not_offered(library, members)
        title = f"{group.capitalize()} of torch.Tensor: {len(here)} of {len(members)} offered; not offered"
        yield title, [", ".join(lacking)]


def known_by_reason() -> list[str]:
    """One line for each reason, with the ops and what differs in them."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for (name, what, _), reason in KNOWN.items():
        found[reason][name].append(what)
    texts = {
        reason: ", ".join(f"{name} ({', '.join(whats)})" for name, whats in ops.items())
        for reason, ops in found.items()
    }
    return [f"{ops}: {reason}" for reason, ops in texts.items()]


def cause(failure: Failure) -> str:
    """The problem without its numbers and names, so that failures of one kind come together."""
    words = re.sub(r"\[[^]]*\]|\([^)]*\)|'[^']*'", "_", failure.problem)
    kind = re.sub(r"-?\b(nan|inf|[0-9][-+.0-9e]*)", "N", words)[:120]
    return f"{failure.what}: {kind}"


def failures_by_cause(rows: list[Row]) -> list[str]:
    """One line for each kind of failure, the most frequent first: how many, in which ops, an example."""
    found: dict[str, list[tuple[str, Failure]]] = defaultdict(list)
    for row in rows:
        for failure in row.failures:
            found[cause(failure)].append((row.name, failure))
    lines = []
    for kind, members in sorted(found.items(), key=lambda item: -len(item[1])):
        ops = ", ".join(dict.fromkeys(name for name, _ in members))
        lines.append(f"{len(members)} x {kind} [in {ops}] for example {members[0][1]}")
    return lines


def print_rich(rows: list[Row], sections: list[tuple[str, list[str]]]) -> None:
    console = Console()
    table = Table(*HEADINGS, title="passed / failed")
    for row in rows:
        table.add_row(*cells(row), style="red" if row.failures else None)
    table.add_section()
    table.add_row(*cells(total(rows)))
    console.print(table)
    for title, lines in sections:
        console.print(f"\n[bold]{title}[/bold]")
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def markdown(rows: list[Row], sections: list[tuple[str, list[str]]]) -> str:
    """The report as a Markdown page."""
    lines = ["# Parity with PyTorch", "", *INTRODUCTION]
    for title, inside in sections:
        if inside:
            lines += ["", f"## {title}", "", *(f"- {line}" for line in inside)]
    lines += ["", "## Ops", "", *COLUMNS_EXPLAINED, ""]
    lines += [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}"]
    lines += [f"| {' | '.join(cells(row))} |" for row in (*rows, total(rows))]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run the comparison that the command line asks for; 1 when one of the ops has a surprise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", default="jitgrad", help="the module to compare with torch")
    parser.add_argument("--ops", default="*", help="only ops whose name matches this pattern")
    parser.add_argument("--markdown", type=Path, help="write the report to this file")
    parser.add_argument("--texts", type=int, default=3, help="differing error texts shown for each op")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    library = library_of(options.library)
    names = sorted(fnmatch.filter(OPS, options.ops))
    offered = [n for n in names if is_offered(n, library) and has_samples(n)]
    rows = compared(options.library, offered, options.processes)
    texts = [f"{row.name} {line}" for row in rows for line in row.other_texts[: options.texts]]
    found = [f"{row.name} {line}" for row in rows for line in surprises(row, KNOWN)]
    sections = [*notes(rows, library, names), ("Surprises", found)]
    if options.markdown:
        options.markdown.write_text(markdown(rows, sections) + "\n")
    else:
        more = [("Errors with another text: got | PyTorch's", texts), ("Causes", failures_by_cause(rows))]
        print_rich(rows, [*sections, *more])
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
