"""What a compiled function would do on a GPU, for people: each kernel's grids, their registers and memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jitgrad.explain import StepReport, duration, explain
from jitgrad.runtime.execute import Compiled, KernelStep
from jitgrad.targets.cuda.assembler import AssemblerMissing
from jitgrad.targets.cuda.grids import Grid, grids
from jitgrad.targets.cuda.inspection import inspected

CAPABILITY = (9, 0)
BANDWIDTH = 4.3e12  # bytes a second that a copy on an H200 moves


@dataclass(frozen=True, slots=True)
class GridReport:
    """One grid: how it is launched, and what the assembler says, None where there is no assembler."""

    launch: str
    registers: int | None
    spilled_bytes: int | None
    occupancy: float | None

    def __str__(self) -> str:
        if self.registers is None:
            return self.launch
        spills = f", {self.spilled_bytes} bytes spilled" if self.spilled_bytes else ", no spill"
        return f"{self.launch}; {self.registers} registers{spills}, occupancy {self.occupancy:.2f}"


@dataclass(frozen=True, slots=True)
class KernelReport:
    """A fused kernel: the report of its work, its grids, and the seconds that moving its bytes takes."""

    step: StepReport
    grids: tuple[GridReport, ...]
    expected: float

    def __str__(self) -> str:
        time = f"    expected {duration(self.expected)} at the bandwidth of a copy on an H200"
        return "\n".join([str(self.step), time, *(f"    grid: {grid}" for grid in self.grids)])


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """All kernels of a function, and the calls between them, as they would run on a GPU."""

    kernels: tuple[KernelReport, ...]
    calls: tuple[StepReport, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, (*self.kernels, *self.calls)))


def explain_on_device(compiled: Compiled, capability: tuple[int, int] = CAPABILITY) -> DeviceReport:
    """Report on a function for a GPU of a compute capability; no GPU is needed.

    Registers and occupancy need the assembler of the pip wheel nvidia-nvjitlink, and are left out without it.
    """
    report = explain(compiled)
    steps = [step for step in compiled.steps if isinstance(step, KernelStep)]
    kernels = [
        KernelReport(
            replace(told, expected=None, source_path=None),
            tuple(_grid_report(grid, capability) for grid in grids(step.kernel, step.source.fastmath)),
            (told.bytes_read + told.bytes_written) / BANDWIDTH,
        )
        for step, told in zip(steps, report.kernels, strict=True)
    ]
    return DeviceReport(tuple(kernels), report.calls)


def _grid_report(grid: Grid, capability: tuple[int, int]) -> GridReport:
    try:
        found = inspected(grid.as_aligned(), capability)
    except AssemblerMissing:
        return GridReport(grid.described, None, None, None)
    spilled = found.resources.spill_stores + found.resources.spill_loads
    return GridReport(grid.described, found.resources.registers, spilled, found.occupancy)
