"""The text for groups of threads and its LLVM IR, both run without a GPU, give the bits of the CPU's code."""

from __future__ import annotations

import numpy as np
import pytest
from compare import drawn
from golden_graphs import GOLDEN
from grids import RunKernel, assert_grids_agree, written_by_grids, written_by_ir
from random_graphs import RandomGraph

import jitgrad
from jitgrad.ir import Aval, Graph, input_node
from jitgrad.ops import OPS
from jitgrad.rewrite import simplify

FLOATS = ("float32", "float64")
LARGEST = 3000


WAYS = pytest.mark.parametrize("run_kernel", [written_by_grids, written_by_ir])


@WAYS
@pytest.mark.parametrize("name", GOLDEN)
def test_the_grids_of_golden_graphs(name: str, run_kernel: RunKernel) -> None:
    golden = GOLDEN[name]
    arrays = [drawn(a, np.random.default_rng(3)) for a in golden.args]
    graph = jitgrad.interpret(golden.function).graph(*arrays)
    assert assert_grids_agree(graph, arrays, name, run_kernel)


def is_small(seed: int) -> bool:
    return sum(node.aval.size for node in RandomGraph(seed, FLOATS[seed % 2]).inputs) <= LARGEST


@pytest.mark.parametrize("seed", [seed for seed in range(60) if is_small(seed)])
def test_the_grids_of_random_graphs(seed: int) -> None:
    graph = RandomGraph(seed, FLOATS[seed % 2])
    ways = (written_by_ir, written_by_grids)[: 2 if seed % 3 == 0 else 1]
    assert_grids_agree(simplify(graph.graph()), graph.arrays(), f"seed {seed}", *ways)


@pytest.mark.parametrize("shape", [(2050,), (40, 33)])
@pytest.mark.parametrize("op", ["cumsum", "cumprod"])
def test_scans_wait_before_they_write_over_their_temporaries(op: str, shape: tuple[int, ...]) -> None:
    x = input_node(Aval(shape, np.dtype("float64")))
    array = np.random.default_rng(0).normal(size=shape)
    graph = Graph((x,), (OPS[op](x, axis=len(shape) - 1),))
    assert assert_grids_agree(graph, [array], op, written_by_grids, written_by_ir) == 1
