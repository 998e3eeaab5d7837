"""A kernel to the text of a Python function in a small dialect, which runs in Python and which a front end
lowers."""

from __future__ import annotations

from jitgrad.program import Kernel
from jitgrad.targets import lanes, rows
from jitgrad.targets.source import Source


def emit(kernel: Kernel) -> Source:
    """The kernel's text and parameters; short rows take the form of `lanes`."""
    printer = lanes.LanePrinter(kernel) if lanes.suits(kernel) else rows.RowPrinter(kernel)
    return printer.source()
