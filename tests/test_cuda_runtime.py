"""Programs for GPUs from arrays to arrays, on a stub of the driver that emulates what it launches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compare import assert_same_bits, drawn
from device_programs import check_on_device
from golden_graphs import GOLDEN
from op_cases import cases_of, sample_graph, table
from random_graphs import DTYPES, RandomGraph
from stub_gpu import StubDriver, on_device, stub_gpu  # noqa: F401

import jitgrad
import jitgrad.signature
from jitgrad.ir import Aval, Graph, capture, input_node, literal
from jitgrad.ops import OPS
from jitgrad.ops.structure import reduce_axes
from jitgrad.runtime.cuda import driver, execute
from jitgrad.runtime.cuda.driver import CudaError
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


def assert_like_the_cpu(function: Any, *arrays: Any) -> None:
    """The same bits from device arrays as from NumPy's."""
    graph = jitgrad.interpret(function).graph(*arrays)
    expected = compile_graph(graph)(arrays)
    got = execute.compile_graph(graph)([on_device(a) for a in arrays])
    assert_same_bits([x.view(np.ndarray) for x in got], expected, "on the device")


@pytest.mark.parametrize("width", [1, 3, 40])
def test_the_gradient_of_rows_read_at_positions(width: int, stub_gpu: StubDriver) -> None:  # noqa: F811
    rng = np.random.default_rng(0)
    table = rng.normal(size=(11, width)).astype(np.float32)
    index = rng.integers(0, 11, 200)

    def loss(table: Any, index: Any) -> Any:
        return np.sum(np.tanh(table[index]) ** 2)

    assert_like_the_cpu(jitgrad.value_and_grad(loss), table, index)


def test_many_grids_are_a_graph_of_which_only_what_changed_is_told(
    stub_gpu: StubDriver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execute, "REPLAYED", 2)
    function = jitgrad.value_and_grad(lambda x: np.sum(np.exp(x - np.max(x)) ** 2))
    arrays = [np.random.default_rng(seed).normal(size=3000) for seed in range(3)]
    graph = jitgrad.interpret(function).graph(arrays[0])
    program = execute.compile_graph(graph)
    for array in arrays:
        got = [x.view(np.ndarray) for x in program([on_device(array)])]
        assert_same_bits(got, compile_graph(graph)([array]), "replayed")
    assert 0 < stub_gpu.updates < 3 * len(stub_gpu.nodes)


def test_a_refused_launch_says_so(stub_gpu: StubDriver) -> None:  # noqa: F811
    stub_gpu.refuse = 700
    graph = jitgrad.interpret(np.sin).graph(np.ones(5))
    with pytest.raises(CudaError, match="launch 0 of 1: the stub refuses"):
        execute.compile_graph(graph)([on_device(np.ones(5))])


def test_without_a_driver_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "NAMES", ("no_such_library.so",))
    driver.driver.cache_clear()
    with pytest.raises(CudaError, match="no NVIDIA driver.*525 or newer"):
        driver.driver()
    assert not driver.is_available()


@pytest.mark.parametrize("target", [None, "cuda"])
def test_a_function_runs_where_its_arguments_lie(target: str | None, stub_gpu: StubDriver) -> None:  # noqa: F811
    x = np.random.default_rng(0).normal(size=(40, 6))[:, ::2]
    loss = jitgrad.value_and_grad(lambda x, c: np.sum(np.exp(c * x)), target=target)
    given = on_device(x) if target is None else x
    value, gradient = loss(given, 2.0)
    expected = jitgrad.value_and_grad(lambda x, c: np.sum(np.exp(c * x)))(np.ascontiguousarray(x), 2.0)
    assert type(gradient) is type(on_device(x)) and stub_gpu.launches
    assert_same_bits([np.array(gradient).view(np.ndarray)], [expected[1]], "gradient")
    assert float(value) == expected[0]


def test_arrays_on_several_devices_are_refused(
    stub_gpu: StubDriver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jitgrad.signature, "device_of", lambda array: int(array[0]))
    with pytest.raises(ValueError, match="lie on devices 0, 1. Copy them"):
        jitgrad.jit(lambda x, y: x + y)(on_device(np.zeros(3)), on_device(np.ones(3)))


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 'cpu' or 'cuda', got 'tpu'"):
        jitgrad.grad(np.sin, target="tpu")


def test_the_text_for_a_gpu_needs_none() -> None:
    text = jitgrad.grad(lambda x: np.sum(np.tanh(x))).source(np.ones(5000), target="cuda")
    assert "for lo in range(group(), units, groups()):" in text and "for i in each(m):" in text


@pytest.mark.parametrize("name", list(table())[::10])
def test_programs_of_ops(name: str, stub_gpu: StubDriver) -> None:  # noqa: F811
    case = next(cases_of(name))
    check_on_device(*sample_graph(case), case.name, on_device)


@pytest.mark.parametrize("seed", [3, 17, 48, 61, 80])  # with products, library calls, scans of several blocks
def test_programs_of_random_graphs(seed: int, stub_gpu: StubDriver) -> None:  # noqa: F811
    drawn = RandomGraph(seed, DTYPES[seed % len(DTYPES)])
    arrays = [np.array(a, order="C") for a in drawn.arrays()]
    check_on_device(drawn.graph(), arrays, f"seed {seed}", on_device)


def test_outputs_that_no_kernel_writes(stub_gpu: StubDriver) -> None:  # noqa: F811
    x = input_node(Aval((2, 3), np.dtype("float64")))
    y = OPS["exp"](x)
    constant = capture(np.arange(4.0))
    graph = Graph((x,), (x, y, y, constant, literal(2.5, np.dtype("float64"))))
    check_on_device(graph, [np.arange(6.0).reshape(2, 3)], "as they are", on_device)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,)])
def test_arrays_without_axes_or_elements(shape: tuple[int, ...], stub_gpu: StubDriver) -> None:  # noqa: F811
    x = input_node(Aval(shape, np.dtype("float32")))
    y = OPS["tanh"](x) + 1
    graph = Graph(
        (x,),
        (y, reduce_axes(OPS["sum"], y, tuple(range(len(shape)))), y * capture(np.full((), 2, np.float32))),
    )
    check_on_device(graph, [np.full(shape, 0.5, np.float32)], f"{shape}", on_device)
