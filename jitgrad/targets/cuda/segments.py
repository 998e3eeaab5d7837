"""Sums of rows into those that an index names, as a grid: each thread goes through the rows of one segment in
the order of the index, so that every run has the same bits.

What it takes besides the rows is the index sorted: `order` has the places of the rows segment by segment, and
`ends` where each segment begins, and at last where the last one ends.
"""

from __future__ import annotations

import ast

import numpy as np

from jitgrad.machine.scatter import Sums
from jitgrad.targets.cuda.frontend import Form
from jitgrad.targets.cuda.grids import USUAL_BLOCK, Grid, Work, grid_of, threads_for
from jitgrad.targets.source import Parameter

TEXT = """
def kernel(lo, hi, x0, x1, x2, y0, n, rows, size, every, c0):
    for b in range(lo, hi):
        segment = b % size
        begin = x2[segment]
        rows_b = offset(x0, b // size * rows * n)
        count = x2[segment + 1] - begin
        sum_named(rows_b, offset(x1, begin), count, every, n, c0, offset(y0, b * n))
"""


def segment_grid(sums: Sums, rows: object, out: object, order: Work, ends: Work) -> Grid:
    """Return the grid of these sums, which reads the buffers `rows`, `order` and `ends` and writes `out`."""
    sizes = {"n": sums.width, "rows": sums.count // sums.every, "size": sums.size, "every": sums.every}
    parameters = [
        Parameter("x0", "input", sums.dtype, rows),
        Parameter("x1", "work", order.dtype, order),
        Parameter("x2", "work", ends.dtype, ends),
        Parameter("y0", "output", sums.dtype, out),
        *(Parameter(name, "size", np.dtype(np.int64), value) for name, value in sizes.items()),
        Parameter("c0", "literal", sums.dtype, 0),
    ]
    (entry,) = ast.parse(TEXT).body
    assert isinstance(entry, ast.FunctionDef)
    threads = min(USUAL_BLOCK, threads_for(sums.width))
    form = Form(threads, max(threads, USUAL_BLOCK) if threads == 32 else threads)
    return grid_of(entry, {p.name: p for p in parameters}, sums.arrays * sums.size, form, sums.width)
