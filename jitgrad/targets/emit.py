"""A kernel to the text of a Python function in the dialect that numba compiles: the part that all targets
share."""

from __future__ import annotations

from jitgrad.program import Kernel
from jitgrad.targets import lanes, rows
from jitgrad.targets.source import Source


def emit(kernel: Kernel) -> Source:
    """The kernel's text and parameters; rows of up to `lanes.LONGEST` elements take the form of `lanes`."""
    printer = lanes.LanePrinter(kernel) if lanes.suits(kernel) else rows.RowPrinter(kernel)
    return printer.source()
