"""Kernels for GPUs, compiled and assembled without one: registers, spills, float64, widths of accesses."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace

import numpy as np
import pytest
from golden_graphs import GOLDEN

import jitgrad
import jitgrad.numpy as jnp
from jitgrad.cli.kernels import Row, distinct, is_wide, op_graphs, row, workload_graphs
from jitgrad.cli.main import main
from jitgrad.cli.workloads import WORKLOADS, cases
from jitgrad.ir import Graph
from jitgrad.targets.cuda import assembler
from jitgrad.targets.cuda.assembler import AssemblerMissing, AssemblyFailed, assemble
from jitgrad.targets.cuda.grids import Grid
from jitgrad.targets.cuda.inspection import inspected, occupancy

CAPABILITIES = ((7, 5), (8, 0), (9, 0))
# Their recurrence below 1/2 and their reflection below 0 take differences that float32 cannot hold.
IN_FLOAT64 = ("lgamma", "digamma")
ELEMENTARY = ("exp", "log", "sin", "tan", "tanh", "erf", "arcsin", "power", "sigmoid", "log1p", *IN_FLOAT64)


def graph_of(function: object, *arguments: object) -> Graph:
    graph: Graph = jitgrad.interpret(function).graph(*arguments)  # type: ignore[arg-type]
    return graph


def grids_of(*graphs: Graph) -> list[Grid]:
    return [grid for _, _, grid in distinct([("", graph) for graph in graphs])]


def breaches(name: str, grid: Grid, capability: tuple[int, int]) -> list[str]:
    """What a kernel does that none should."""
    found = row(name, 0, grid, inspected(grid, capability))
    reasons = {
        f"{found.spilled} bytes spilled": found.spilled > 0,
        f"{found.stack} bytes of stack": found.stack > 0,
        f"{found.registers} registers of {found.limit}": found.registers > found.limit,
        "float64": found.wide and not any(f"{function}(" in grid.text for function in IN_FLOAT64),
        "calls": found.calls > 0,
    }
    return [f"{name} {capability} {grid.form}: {reason}" for reason, true in reasons.items() if true]


def largest(name: str) -> str:
    return list(WORKLOADS[name].sizes)[-1]


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_kernel_of_a_workload_spills_or_computes_in_float64(name: str) -> None:
    graphs = list(workload_graphs(cases([name], [largest(name)], ["float32"])))
    aligned = [(title, grid) for title, _, grid in distinct(graphs) if grid.form.aligned]
    wrong = [b for title, grid in aligned for b in breaches(title, grid, (9, 0))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ELEMENTARY)
def test_no_elementary_function_spills_or_computes_in_float64(name: str) -> None:
    graphs = list(op_graphs([name], "float32"))[:1]
    wrong = [b for title, _, grid in distinct(graphs) for b in breaches(title, grid, (9, 0))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", ["cross_entropy", "column_sum", "strided_input", "integers"])
def test_kernels_of_every_capability(name: str, capability: tuple[int, int]) -> None:
    golden = GOLDEN[name]
    for grid in grids_of(graph_of(golden.function, *golden.args)):
        assert not breaches(name, grid, capability)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_aligned_elements_move_sixteen_bytes_at_a_time(dtype: str) -> None:
    x = np.zeros(5000, dtype)
    aligned, plain = sorted(
        grids_of(graph_of(jitgrad.jit(lambda x, y: x * jnp.exp(y)), x, x)), key=lambda g: not g.form.aligned
    )
    wide, narrow = inspected(aligned, (9, 0)), inspected(plain, (9, 0))
    assert wide.loads[16] == 2 and wide.stores[16] == 1
    assert 16 not in narrow.loads and 16 not in narrow.stores


def test_inputs_are_read_through_the_cache_of_constants_unless_an_output_lies_in_one() -> None:
    x = np.zeros(5000, np.float32)
    grid, *_ = grids_of(graph_of(jitgrad.jit(lambda x, y: x * y), x, x))
    aliased = replace(grid, form=replace(grid.form, aliased=True))
    assert inspected(grid, (9, 0)).ptx.count("ld.global.nc") == 2
    assert "ld.global.nc" not in inspected(aliased, (9, 0)).ptx


def test_large_blocks_get_the_registers_that_they_can_have() -> None:
    golden = GOLDEN["layernorm"]
    for grid in grids_of(graph_of(golden.function, *golden.args)):
        large = replace(grid, form=replace(grid.form, threads=1024, block=1024))
        assert inspected(large, (9, 0)).resources.registers <= 64


def test_float64_is_told_from_float32() -> None:
    x = np.zeros(100, np.float32)
    narrow, *_ = grids_of(graph_of(jitgrad.jit(lambda x: x + x), x))
    wide, *_ = grids_of(graph_of(jitgrad.jit(lambda x: x + x), x.astype(float)))
    assert not is_wide(narrow) and not inspected(narrow, (9, 0)).wide
    assert is_wide(wide) and inspected(wide, (9, 0)).wide


# Rows of NVIDIA's occupancy calculator: registers, threads, shared bytes, part of the warps.
@pytest.mark.parametrize(
    ("capability", "registers", "threads", "shared", "expected"),
    [
        ((7, 5), 32, 256, 0, 1.0),
        ((7, 5), 65, 256, 0, 0.75),
        ((8, 0), 32, 256, 0, 1.0),
        ((8, 0), 40, 256, 0, 0.75),
        ((8, 0), 32, 32, 0, 0.5),
        ((8, 6), 40, 256, 0, 1.0),
        ((9, 0), 255, 256, 0, 0.125),
        ((9, 0), 32, 256, 48 << 10, 0.5),
        ((9, 0), 128, 1024, 0, 0.0),
    ],
)
def test_occupancy(
    capability: tuple[int, int], registers: int, threads: int, shared: int, expected: float
) -> None:
    assert occupancy(capability, registers, threads, shared) == expected


def test_the_assembler_says_what_it_refuses() -> None:
    with pytest.raises(AssemblyFailed, match="syntax error"):
        assemble(".version 8.0\n.target sm_90\n.address_size 64\nnonsense", (9, 0))


def test_a_missing_assembler_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> object:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    assembler._library.cache_clear()
    with pytest.raises(AssemblerMissing, match=r'pip install "nvidia-nvjitlink==13\.0\.\*"'):
        assemble("", (9, 0))


def test_the_command_shows_a_table_and_fails_for_what_breaks_a_rule(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["kernels", "--workloads", "tiny", "--capability", "8.0"]) == 0
    assert "tiny M" in capsys.readouterr().out
    fields = {"registers": 32, "limit": 255, "spilled": 0, "wide": False}
    made = Row("", 0, 32, 256, False, stack=0, shared=0, occupancy=1, loads={}, stores={}, calls=0, **fields)  # type: ignore[arg-type]
    assert made.sound
    assert not any(
        replace(made, **broken).sound for broken in ({"spilled": 4}, {"registers": 256}, {"wide": True})
    )


def test_a_report_on_a_program_for_a_gpu() -> None:
    loss = jitgrad.value_and_grad(lambda x: np.sum(np.tanh(x) ** 2))
    report = loss.explain(np.ones(100_000, np.float32), target="cuda")
    (kernel,) = report.kernels
    main, finish = kernel.grids
    assert 0 < main.registers <= 255 and main.spilled_bytes == 0 and 0 < main.occupancy <= 1
    assert "98 units" in main.launch and "1 units, 1024 threads" in finish.launch
    assert kernel.expected == pytest.approx(800_004 / 4.3e12)
    assert f"{main.registers} registers, no spill" in str(report)
