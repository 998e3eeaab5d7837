"""Time each workload, at size M in float32, with each engine: `pytest bench/ --benchmark-only`.

The engines run one after the other here. `python -m jitgrad bench` interleaves them, which is fairer on a
busy machine, and compares with the bandwidth of a copy.
"""

from __future__ import annotations

from typing import Any

import pytest

from jitgrad.cli.measure import prepare
from jitgrad.cli.peers import ENGINES
from jitgrad.cli.workloads import WORKLOADS


@pytest.mark.parametrize("engine", [name for name, engine in ENGINES.items() if engine.available])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_value_and_gradients(benchmark: Any, workload: str, engine: str) -> None:
    arrays = WORKLOADS[workload].arrays("M", "float32")
    contender = prepare(ENGINES[engine], WORKLOADS[workload], arrays, [])
    assert contender.call is not None, contender.problem
    benchmark(contender.call)
