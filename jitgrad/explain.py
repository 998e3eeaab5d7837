"""What a compiled function does, for people: its kernels, the lines they come from, the memory they move."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jitgrad.ir import CAPTURE, INPUT, LITERAL, Graph, Node, toposort
from jitgrad.machine import cache
from jitgrad.program import Call, Kernel
from jitgrad.runtime.execute import Compiled, KernelStep


@dataclass(frozen=True, slots=True)
class KernelReport:
    """One kernel: bytes are those of the distinct arrays that it reads and writes."""

    name: str
    lines: tuple[str, ...]
    bytes_read: int
    bytes_written: int
    arrays_read: int
    arrays_written: int
    loops: str
    source_path: Path | None

    def __str__(self) -> str:
        lines = ", ".join(self.lines) or "no user line"
        return (
            f"{self.name}: {self.loops}; reads {self.arrays_read} arrays ({size(self.bytes_read)}), "
            f"writes {self.arrays_written} ({size(self.bytes_written)})\n"
            f"    from {lines}\n    source {self.source_path}"
        )


@dataclass(frozen=True, slots=True)
class Report:
    """All kernels and library calls of a compiled function, in the order in which they run."""

    kernels: tuple[KernelReport, ...]
    calls: tuple[str, ...]
    bytes_moved: int
    bytes_unfused: int

    def __str__(self) -> str:
        saved = self.bytes_unfused - self.bytes_moved
        lines = [str(kernel) for kernel in self.kernels]
        lines += [f"calls: {', '.join(self.calls)}"] if self.calls else []
        lines.append(
            f"{len(self.kernels)} kernels move {size(self.bytes_moved)}; "
            f"one op at a time would move {size(self.bytes_unfused)}, so fusion saves {size(saved)}"
        )
        return "\n".join(lines)


def size(count: int) -> str:
    """Bytes for people: 1536 is "1.5 kB" in powers of 1000."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if abs(value) < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def explain(compiled: Compiled) -> Report:
    """Report on a compiled function.

    >>> import numpy as np, jitgrad
    >>> f = jitgrad.value_and_grad(lambda x: np.sum(np.exp(x) * 2))
    >>> report = f.explain(np.ones(1000))
    >>> len(report.kernels), report.bytes_moved < report.bytes_unfused
    (1, True)
    """
    stored = {target for step in compiled.program.steps for target in step.targets}
    kernels: list[KernelReport] = []
    calls: list[str] = []
    moved = 0
    for step in compiled.steps:
        if isinstance(step, Call):
            calls.append(step.node.op.name)
            moved += _traffic(step.node)
        else:
            report = _kernel_report(f"kernel {len(kernels)}", step, stored)
            kernels.append(report)
            moved += report.bytes_read + report.bytes_written
    return Report(tuple(kernels), tuple(calls), moved, unfused_bytes(compiled.graph))


def _kernel_report(name: str, step: KernelStep, stored: set[Node]) -> KernelReport:
    read = [p.value for p in step.source.parameters if p.kind == "input"]
    targets = step.kernel.targets
    return KernelReport(
        name,
        tuple(_lines(targets, stored)),
        sum(node.aval.nbytes for node in read),
        sum(node.aval.nbytes for node in targets),
        sum(1 for node in read if node.shape),
        sum(1 for node in targets if node.shape),
        loops(step.kernel),
        cache.source_path(step.loaded.key),
    )


def loops(kernel: Kernel) -> str:
    """The kernel's loops in words."""
    *outer, inner = kernel.domain
    return f"{' x '.join(map(str, outer))} rows of {inner}" if outer else f"{inner} elements"


def _lines(targets: tuple[Node, ...], stored: set[Node]) -> list[str]:
    """The user's lines from which the nodes that a kernel computes come, in evaluation order."""
    mine = set(targets)
    nodes = toposort(targets, stop=lambda n: n in stored and n not in mine)
    return list(dict.fromkeys(n.where for n in nodes if n.where and (n in mine or n not in stored)))


def _traffic(node: Node) -> int:
    return node.aval.nbytes + sum(a.aval.nbytes for a in node.args if a.op is not LITERAL)


def unfused_bytes(graph: Graph) -> int:
    """What running one op at a time would read and write; views and constants are free."""
    leaves = (INPUT, LITERAL, CAPTURE)
    return sum(_traffic(n) for n in graph.nodes() if n.op not in leaves and n.op.kind != "view")
