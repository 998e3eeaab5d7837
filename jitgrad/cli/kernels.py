"""`python -m jitgrad kernels`: what becomes of kernels on a GPU, compiled and assembled without one."""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import jitgrad
from jitgrad import numpy as fused_numpy
from jitgrad import ops
from jitgrad.adjoint import cotangents
from jitgrad.cli.peers import loss_of
from jitgrad.cli.terminal import new_console, new_progress, require_extra
from jitgrad.cli.workloads import Case, cases
from jitgrad.fuse import fuse
from jitgrad.ir import Aval, Graph, Node, as_node, input_node
from jitgrad.ops.samples import Draw, Sample, Static
from jitgrad.program import Kernel
from jitgrad.targets.cuda.grids import Grid, grids
from jitgrad.targets.cuda.inspection import Inspection, inspected, most_registers

Capability = tuple[int, int]
OPS: dict[str, Any] = {**ops.COMPOSITES, **ops.OPS}


@dataclass(frozen=True, slots=True)
class Row:
    """One grid of a function, in one of its forms, and the figures of its kernel."""

    name: str
    grid: int
    threads: int
    block: int
    aligned: bool
    registers: int
    limit: int
    spilled: int
    stack: int
    shared: int
    occupancy: float
    loads: dict[int, int]
    stores: dict[int, int]
    wide: bool
    calls: int

    @property
    def sound(self) -> bool:
        """Whether nothing spills, and float64 occurs only where there is some."""
        return not self.spilled and self.registers <= self.limit and not self.wide


def capability(text: str) -> Capability:
    """Read a compute capability.

    >>> capability("9.0")
    (9, 0)
    """
    major, _, minor = text.partition(".")
    if not (major.isdigit() and minor.isdigit()):
        raise argparse.ArgumentTypeError(f"a compute capability looks like 9.0, not {text!r}")
    return int(major), int(minor)


def run(
    at: Capability, workloads: Sequence[str], names: Sequence[str], dtype: str, output: Path | None
) -> int:
    """Print the table; return 1 if a kernel spills or a float32 kernel computes in float64, else 0."""
    require_extra("test", ["rich"])
    graphs = [*workload_graphs(cases(workloads, ("S", "M", "L"), [dtype])), *op_graphs(names, dtype)]
    rows = measure(distinct(graphs), at)
    print_table(rows, at)
    if output is not None:
        output.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0 if all(row.sound for row in rows) else 1


# What is compiled --------------------------------------------------------------------------------------


def workload_graphs(chosen: Sequence[Case]) -> Iterator[tuple[str, Graph]]:
    """Yield the value and gradients of workloads, with their titles."""
    for case in chosen:
        arrays = case.workload.arrays(case.size, case.dtype)
        function = jitgrad.value_and_grad(loss_of(case.workload, fused_numpy), case.workload.argnums)
        yield f"{case.workload.name} {case.size}", jitgrad.interpret(function).graph(*arrays)


def op_graphs(names: Sequence[str], dtype: str) -> Iterator[tuple[str, Graph]]:
    """Yield the values and gradients of the sample calls of ops."""
    for name in names:
        draw = Draw(np.random.default_rng(zlib.crc32(name.encode())), np.dtype(dtype))
        op = OPS[name]
        for number, sample in enumerate(op.samples(draw) if op.samples else ()):
            yield f"{name} {number}", _with_gradients(op, sample)


def _with_gradients(op: Callable[..., Any], sample: Sample) -> Graph:
    """The outputs of a call, and the cotangents of its float inputs given those of its outputs."""
    inputs: list[Node] = []

    def walk(value: Any) -> Any:
        if isinstance(value, Static):
            return value.value
        if isinstance(value, np.ndarray):
            inputs.append(input_node(Aval(value.shape, value.dtype)))
            return inputs[-1]
        return type(value)(map(walk, value)) if isinstance(value, list | tuple) else value

    args, kwargs = [walk(a) for a in sample.args], {name: walk(v) for name, v in sample.kwargs.items()}
    out = op(*args, **kwargs)
    outputs = [as_node(o) for o in (out if isinstance(out, list | tuple) else [out])]
    floats = [[node for node in nodes if node.dtype.kind == "f"] for nodes in (outputs, inputs)]
    seeds = [input_node(o.aval) for o in floats[0]] if all(floats) else []
    found = cotangents(floats[0], seeds, floats[1]) if seeds else []
    return Graph((*inputs, *seeds), (*outputs, *found))


def distinct(graphs: Sequence[tuple[str, Graph]]) -> list[tuple[str, int, Grid]]:
    """List the grids of graphs in both forms, those of equal text and form once, with name and number."""
    found: dict[Any, tuple[str, int, Grid]] = {}
    for name, graph in graphs:
        kernels = [step for step in fuse(graph, {}).steps if isinstance(step, Kernel)]
        for number, grid in enumerate(grid for kernel in kernels for grid in grids(kernel)):
            kinds = tuple((p.kind, p.dtype) for p in grid.parameters)
            for aligned in (False, True):
                form = replace(grid.form, aligned=aligned)
                found.setdefault((grid.text, kinds, form), (name, number, replace(grid, form=form)))
    return list(found.values())


# Figures -----------------------------------------------------------------------------------------------


def measure(chosen: Sequence[tuple[str, int, Grid]], at: Capability) -> list[Row]:
    """Compile grids, showing how far it got."""
    rows = []
    with new_progress() as progress:
        task = progress.add_task("", total=len(chosen))
        for name, number, grid in chosen:
            progress.update(task, description=name)
            rows.append(row(name, number, grid, inspected(grid, at)))
            progress.advance(task)
    return rows


def row(name: str, number: int, grid: Grid, found: Inspection) -> Row:
    """Choose the figures of the table."""
    form, resources = grid.form, found.resources
    return Row(
        name,
        number,
        form.threads,
        form.block,
        form.aligned,
        resources.registers,
        most_registers(form.block),
        resources.spill_stores,
        resources.stack,
        found.shared,
        found.occupancy,
        dict(found.loads),
        dict(found.stores),
        found.wide and not is_wide(grid),
        found.calls,
    )


def is_wide(grid: Grid) -> bool:
    """Return whether a grid's own numbers are of float64, or may become so."""
    kinds = {p.dtype for p in grid.parameters if p.kind != "size"}
    wide = np.dtype(np.float64) in kinds or "float64(" in grid.text
    return wide or np.dtype(np.float32) not in kinds


def print_table(rows: Sequence[Row], at: Capability) -> None:
    """Print to the terminal; kernels that break a rule are red."""
    from rich.table import Table

    title = f"Kernels for compute capability {'.'.join(map(str, at))}, with 16-byte accesses (v) or without"
    table = Table(title=title)
    for name in ("kernel", "grid", "", "block", "registers", "spilled", "stack", "shared", "occupancy"):
        table.add_column(name, justify="left" if name in ("kernel", "") else "right")
    for name in ("loads by bytes", "stores by bytes", "float64", "calls"):
        table.add_column(name)
    for r in rows:
        counts = (r.registers, r.spilled, r.stack, r.shared)
        table.add_row(
            *(r.name, str(r.grid), "v" if r.aligned else "", str(r.block)),
            *(*map(str, counts), f"{r.occupancy:.0%}", by_bytes(r.loads), by_bytes(r.stores)),
            *("yes" if r.wide else "", str(r.calls) if r.calls else ""),
            style=None if r.sound else "red",
        )
    new_console().print(table)


def by_bytes(counts: dict[int, int]) -> str:
    """Write how many accesses have each width.

    >>> by_bytes({4: 3, 16: 2})
    '2 x 16, 3 x 4'
    """
    return ", ".join(f"{counts[width]} x {width}" for width in sorted(counts, reverse=True))
