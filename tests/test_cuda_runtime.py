"""Programs for GPUs from arrays to arrays, on a stub of the driver that emulates what it launches."""

from __future__ import annotations

import numpy as np
import pytest
from compare import assert_same_bits, drawn
from golden_graphs import GOLDEN
from stub_gpu import StubDriver, on_device, stub_gpu  # noqa: F401

import jitgrad
from jitgrad.runtime.cuda import execute
from jitgrad.runtime.execute import compile_graph


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_programs(name: str, stub_gpu: StubDriver) -> None:  # noqa: F811
    golden = GOLDEN[name]
    arrays = [np.array(drawn(a, np.random.default_rng(3)), order="C") for a in golden.args]
    graph = jitgrad.interpret(golden.function).graph(*arrays)
    program = execute.compile_graph(graph)
    expected = compile_graph(graph)(arrays)
    for _ in range(2):
        got = program([on_device(a) for a in arrays])
        if name == "matmul_and_bias":
            for x, y in zip(got, expected, strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)
        else:
            assert_same_bits([x.view(np.ndarray) for x in got], expected, name)
    assert stub_gpu.launches
