"""Every op of the table, and random graphs around sizes of warps and blocks, as grids of threads.

Each grid's LLVM IR, run by `emulated_gpu`, gives the bits of the CPU's kernel; a part of them also runs in
the interpreter, which finds races. Each op has one sample with its gradients, and one in another dtype;
`--exhaustive` takes all samples, and more graphs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from compare import Array
from grids import RunKernel, assert_grids_agree, written_by_grids, written_by_ir
from op_cases import DTYPES, Case, cases_of, sample_graph, table
from random_graphs import EVERYTHING, WITHOUT_ELEMENTS, RandomGraph
from test_exact_mode import MAPS, calls_of, draw

from jitgrad import ops
from jitgrad.rewrite import simplify

EXTENTS = (0, 1, 31, 32, 33, 1023, 1025)
EACH, EACH_EXHAUSTIVE = 15, 150  # random graphs of each size
FLOATS = ("float32", "float64")
INTERPRETED, LARGEST = 8, 3000  # one in so many is run by the interpreter too, if its inputs are small
NODES = 10
COMBINATIONS = 1200  # elements: more than there are pairs of special values


def chosen(name: str, exhaustive: bool) -> Iterator[Case]:
    """All samples of an op, or one in each of two dtypes."""
    found = {dtype: [*cases_of(name, dtype)] for dtype in DTYPES}
    lists = [found[dtype] for dtype in DTYPES if found[dtype]]
    number = zlib.crc32(name.encode())
    if exhaustive:
        for some in lists:
            yield from some
    else:
        first = found["float32"] or lists[0]
        others = [some for some in lists if some is not first]
        for some in [first, *others[number % max(len(others), 1) :][:1]]:
            yield some[number % len(some)]


def ways(number: int, arrays: Sequence[Array]) -> Sequence[RunKernel]:
    """How to run the grids of graph `number`."""
    interpreted = number % INTERPRETED == 0 and sum(array.size for array in arrays) <= LARGEST
    return (written_by_ir, written_by_grids) if interpreted else (written_by_ir,)


@pytest.mark.parametrize("name", table())
def test_the_grids_of_every_op(name: str, pytestconfig: pytest.Config) -> None:
    for number, case in enumerate(
        chosen(name, pytestconfig.getoption("exhaustive")), zlib.crc32(name.encode())
    ):
        graph, arrays = sample_graph(case)
        assert_grids_agree(simplify(graph), arrays, case.name, *ways(number, arrays))


@pytest.mark.parametrize("extent", EXTENTS)
def test_the_grids_of_random_graphs_of_every_size(extent: int, pytestconfig: pytest.Config) -> None:
    count = EACH_EXHAUSTIVE if pytestconfig.getoption("exhaustive") else EACH
    for seed in range(count):
        vocabulary = EVERYTHING if extent else WITHOUT_ELEMENTS
        drawn = RandomGraph(1000 * extent + seed, FLOATS[seed % 2], vocabulary, NODES, extent)
        arrays = drawn.arrays()
        label = f"seed {seed} of {extent}"
        assert_grids_agree(simplify(drawn.graph()), arrays, label, *ways(seed, arrays))


@pytest.mark.parametrize("name", MAPS)
def test_special_values_through_the_grids_of_elementwise_ops(name: str) -> None:
    """NaN, infinities, signed zeros, division by zero, shifts too far; in arrays that are aligned or not."""
    for call in calls_of(ops.OPS[name], exhaustive=False):
        for shift in (0, 1):
            arrays = [np.concatenate((a[:shift], a))[shift:] for a in draw(call.dtypes, COMBINATIONS)]
            assert_grids_agree(call.graph((COMBINATIONS,)), arrays, f"{call}, {shift}", written_by_ir)
