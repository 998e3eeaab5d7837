"""What a compiled function does, for people: its steps, the lines they come from, their work and time."""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jitgrad.apart import why_apart
from jitgrad.ir import CAPTURE, INPUT, LITERAL, Graph, Node, toposort
from jitgrad.machine import cache, products
from jitgrad.ops.linear import matmul
from jitgrad.ops.scans import SCAN_COST
from jitgrad.program import Call, Kernel, runs_down
from jitgrad.runtime.binding import bound
from jitgrad.runtime.execute import Compiled, KernelStep
from jitgrad.runtime.plan import Launch, Product, Step
from jitgrad.targets.plan import Plan, has_stage

COLUMNS = 110
LEAST_ROUNDS, MOST_ROUNDS, ENOUGH_SECONDS = 5, 101, 0.2

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class StepReport:
    """One kernel, or one call of a library or of the matrix product.

    Bytes are those of the distinct arrays that it reads and writes. An operation counts as much as its cost
    in the op table, about the number of additions that take as long; `per_element` are those of the innermost
    loop. `expected` are the seconds that the cost model gives for one thread, `measured` those that it took;
    `reason` says why the step is not part of the kernel before it.
    """

    name: str
    over: str
    lines: tuple[str, ...]
    bytes_read: int
    bytes_written: int
    arrays_read: int
    arrays_written: int
    operations: int | None
    per_element: int | None
    expected: float | None
    measured: float | None
    reason: str
    source_path: Path | None

    @property
    def is_kernel(self) -> bool:
        """Whether it is a fused kernel."""
        return self.per_element is not None

    def __str__(self) -> str:
        title = (
            f"{self.name}: {self.over}, reads {_arrays(self.arrays_read)} ({size(self.bytes_read)}), "
            f"writes {_arrays(self.arrays_written)} ({size(self.bytes_written)})"
        )
        effort = "; ".join(part for part in (self._work(), self._time()) if part)
        origin = f"from {_by_file(self.lines) or 'no user line'}"
        if self.source_path is not None:
            origin += f"; source {self.source_path.name}"
        reason = f"separate: {self.reason}" if self.reason else ""
        details = [_wrapped(text, "    ") for text in (effort, origin, reason) if text]
        return "\n".join([_wrapped(title, ""), *details])

    def _work(self) -> str:
        if self.operations is None:
            return ""
        each = "" if self.per_element is None else f", {self.per_element} for each element"
        return f"{self.operations:,} operations{each}"

    def _time(self) -> str:
        times = [f"expected {duration(self.expected)} on one thread"] if self.expected is not None else []
        times += [f"measured {duration(self.measured)}"] if self.measured is not None else []
        return ", ".join(times)


@dataclass(frozen=True, slots=True)
class Report:
    """All steps of a compiled function, in the order in which they run."""

    steps: tuple[StepReport, ...]
    bytes_unfused: int

    @property
    def kernels(self) -> tuple[StepReport, ...]:
        """The fused kernels."""
        return tuple(step for step in self.steps if step.is_kernel)

    @property
    def calls(self) -> tuple[StepReport, ...]:
        """Matrix products and library calls."""
        return tuple(step for step in self.steps if not step.is_kernel)

    @property
    def bytes_moved(self) -> int:
        """The bytes that all steps read and write."""
        return sum(step.bytes_read + step.bytes_written for step in self.steps)

    def __str__(self) -> str:
        saved = self.bytes_unfused - self.bytes_moved
        steps = [_count(len(self.kernels), "kernel")]
        steps += [_count(len(self.calls), "call")] if self.calls else []
        single = len(self.steps) == 1
        total = (
            f"{' and '.join(steps)} {'moves' if single else 'move'} {size(self.bytes_moved)}; "
            f"one op at a time would move {size(self.bytes_unfused)}, so fusion saves {size(saved)}"
        )
        folders = dict.fromkeys(k.source_path.parent for k in self.kernels if k.source_path is not None)
        return "\n".join([*map(str, self.steps), total, *(f"sources in {folder}" for folder in folders)])


# Text -------------------------------------------------------------------------------------------------


def size(count: int) -> str:
    """Bytes for people: 1536 is "1.54 kB", in powers of 1000."""
    return _scaled(float(count), ("B", "kB", "MB", "GB"))


def duration(seconds: float) -> str:
    """A time for people: 0.0025 is "2.5 ms"."""
    return _scaled(seconds * 1e9, ("ns", "µs", "ms", "s"))


def _scaled(value: float, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if abs(value) < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.4g} {units[-1]}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _arrays(number: int) -> str:
    return _count(number, "array") if number else "numbers"


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, COLUMNS, initial_indent=indent, subsequent_indent=indent + "    ")


def _by_file(lines: Sequence[str]) -> str:
    """Lines in order, the name of a file once: "model.py:3, 4, 9; train.py:12"."""
    numbers: dict[str, list[int]] = {}
    for line in lines:
        file, _, number = line.rpartition(":")
        numbers.setdefault(file, []).append(int(number))
    return "; ".join(f"{file}:{', '.join(map(str, sorted(found)))}" for file, found in numbers.items())


# Reports ----------------------------------------------------------------------------------------------


def explain(compiled: Compiled, seconds: Sequence[float] = ()) -> Report:
    """Report on a compiled function, of whose steps `measured` has found the seconds.

    >>> import numpy as np, jitgrad
    >>> f = jitgrad.value_and_grad(lambda x: np.sum(np.exp(x) * 2))
    >>> report = f.explain(np.ones(1000))
    >>> len(report.kernels), report.bytes_moved < report.bytes_unfused
    (1, True)
    """
    stored = {target for step in compiled.program.steps for target in step.targets}
    steps: list[StepReport] = []
    kernels = 0
    for place, (step, planned) in enumerate(zip(compiled.steps, compiled.plan.steps, strict=True)):
        reason = why_apart(compiled.program, place)
        measured = seconds[place] if seconds else None
        lines = tuple(_lines(step.kernel.targets if isinstance(step, KernelStep) else step.targets, stored))
        if isinstance(step, KernelStep):
            steps.append(_kernel_report(f"kernel {kernels}", step, lines, measured, reason))
            kernels += 1
        else:
            steps.append(_call_report(step, planned, lines, measured, reason))
    return Report(tuple(steps), unfused_bytes(compiled.graph))


def _kernel_report(
    name: str, step: KernelStep, lines: tuple[str, ...], measured: float | None, reason: str
) -> StepReport:
    read = [p.value for p in step.source.parameters if p.kind == "input"]
    targets = step.kernel.targets
    per_element, operations = work(step.kernel)
    return StepReport(
        name=name,
        over=loops(step.kernel),
        lines=lines,
        bytes_read=sum(node.aval.nbytes for node in read),
        bytes_written=sum(node.aval.nbytes for node in targets),
        arrays_read=sum(1 for node in read if node.shape),
        arrays_written=sum(1 for node in targets if node.shape),
        operations=operations,
        per_element=per_element,
        expected=step.seconds,
        measured=measured,
        reason=reason,
        source_path=cache.source_path(step.loaded.key),
    )


def _call_report(
    call: Call, planned: Step, lines: tuple[str, ...], measured: float | None, reason: str
) -> StepReport:
    node = call.node
    read = [a for a in dict.fromkeys(node.args) if a.op is not LITERAL]
    operands = (" @ " if node.op is matmul else ", ").join(str(a.shape) for a in read)
    return StepReport(
        name=node.op.name,
        over=f"{operands} to {node.dtype} {node.shape}",
        lines=lines,
        bytes_read=sum(a.aval.nbytes for a in read),
        bytes_written=node.aval.nbytes,
        arrays_read=sum(1 for a in read if a.shape),
        arrays_written=1,
        operations=2 * node.aval.size * node.args[0].shape[-1] if node.op is matmul else None,
        per_element=None,
        expected=products.plan(*planned.layout).seconds if isinstance(planned, Product) else None,
        measured=measured,
        reason=reason,
        source_path=None,
    )


def loops(kernel: Kernel) -> str:
    """The kernel's loops in words."""
    *outer, inner = kernel.domain
    rows = " x ".join(f"{n:,}" for n in outer)
    return f"{rows} rows of {inner:,}" if outer else f"{inner:,} elements"


def work(kernel: Kernel) -> tuple[int, int]:
    """The operations for each element of a kernel, and in all, each as much as its cost.

    What several loops over a row compute again counts again; a reduction is an operation for each element
    that it takes, and so is a scan; one that runs down the rows waits for none beside it.
    """
    plan = Plan(kernel)
    element = sum(
        _cost(node)
        for nodes, read in zip(plan.loops, plan.read, strict=True)
        for node in nodes
        if node not in read
    )
    element += sum(node.op.cost for node in plan.body if has_stage(node))
    row = sum(_cost(node) for node in plan.body if node not in plan.inner)
    for store in kernel.stores:
        if store.op is not None and store.level == "total" and not plan.in_blocks:
            row += store.op.cost
        elif store.op is not None:
            element += store.op.cost
    once = sum(_cost(node) for node in toposort(s.value for s in kernel.epilogue))
    return element, element * math.prod(kernel.domain) + row * kernel.rows + once


def _cost(node: Node) -> int:
    if runs_down(node):
        return node.op.cost // SCAN_COST
    return node.op.cost if node.op.kind == "map" else 0


def _lines(targets: tuple[Node, ...], stored: set[Node]) -> list[str]:
    """The user's lines from which the nodes that a step computes come, in evaluation order."""
    mine = set(targets)
    nodes = toposort(targets, stop=lambda n: n in stored and n not in mine)
    return list(dict.fromkeys(n.where for n in nodes if n.where and (n in mine or n not in stored)))


def _traffic(node: Node) -> int:
    return node.aval.nbytes + sum(a.aval.nbytes for a in node.args if a.op is not LITERAL)


def unfused_bytes(graph: Graph) -> int:
    """What running one op at a time would read and write; views and constants are free."""
    leaves = (INPUT, LITERAL, CAPTURE)
    return sum(_traffic(n) for n in graph.nodes() if n.op not in leaves and n.op.kind != "view")


# Time -------------------------------------------------------------------------------------------------


def measured(compiled: Compiled, arrays: Sequence[Array]) -> list[float]:
    """The median seconds of each step over several runs on as many threads as are allowed.

    They include the making of the arrays that a step writes. Donated arrays are copied, not overwritten.
    """
    plan = compiled.plan
    marks: list[float] = []
    run = bound(plan, compiled.loaded, after_step=lambda: marks.append(time.perf_counter()))
    taken = {b.instead for step in plan.steps if isinstance(step, Launch) for b in step.makes}
    rounds: list[Array] = []
    start = time.perf_counter()
    while len(rounds) <= LEAST_ROUNDS or (
        len(rounds) <= MOST_ROUNDS and time.perf_counter() - start < ENOUGH_SECONDS
    ):
        given = [array.copy() if place in taken else array for place, array in enumerate(arrays)]
        marks[:] = [time.perf_counter()]
        run(given)
        rounds.append(np.diff(marks))
    seconds: list[float] = np.median(rounds[1:], axis=0).tolist()
    return seconds
