"""Programs on a real GPU: `pytest -m gpu`. The same checks run on a stub in `test_cuda_runtime.py`.

Everything but matrix products gives the bits of the CPU: the device runs the same elementary functions and
adds in the same order.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from compare import Array, assert_same_bits
from device_programs import check_on_device, check_results, host
from op_cases import cases_of, sample_graph, table
from random_graphs import DTYPES, EVERYTHING, WITHOUT_ELEMENTS, RandomGraph
from test_cuda_ops import EXTENTS
from test_exact_mode import MAPS, calls_of, draw

from jitgrad import ops
from jitgrad.ir import Aval, Graph, Node, input_node, interpret
from jitgrad.ops.structure import reduce_axes
from jitgrad.rewrite import simplify
from jitgrad.runtime.cuda import driver, execute

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not driver.is_available(), reason="there is no NVIDIA driver with a device"),
]

SAMPLES = 3  # of an op in a dtype
SEEDS = range(100)
FEW_SEEDS = range(15)  # of each extent
SPECIAL = 5_000  # elements: more than there are pairs of special values
MORE_THAN_2_GIB = 600_000_011  # float32 elements
LAUNCHES = 1000


@pytest.fixture
def xp() -> Any:
    return pytest.importorskip("cupy")


def tanh_and_sum(shape: tuple[int, ...], dtype: str = "float32") -> Graph:
    """An elementwise result, a total, and a reduction of each row."""
    x = input_node(Aval(shape, np.dtype(dtype)))
    y: Node = ops.OPS["tanh"](x) * x
    axes = tuple(range(len(shape)))
    return Graph((x,), (y, reduce_axes(ops.OPS["sum"], y, axes), reduce_axes(ops.OPS["sum"], y, axes[-1:])))


def normal(shape: tuple[int, ...], dtype: str = "float32") -> Array:
    return np.random.default_rng(7).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("name", table())
def test_every_op(name: str, xp: Any) -> None:
    for dtype in ("float32", "float64", "int64", "int32", "bool"):
        found = [*cases_of(name, dtype)]
        for number in range(min(SAMPLES, len(found))):
            case = found[(zlib.crc32(name.encode()) + number) % len(found)]
            check_on_device(*sample_graph(case), case.name, xp.asarray)


@pytest.mark.parametrize("name", MAPS)
def test_special_values(name: str, xp: Any) -> None:
    for call in calls_of(ops.OPS[name], exhaustive=True):
        check_on_device(call.graph((SPECIAL,)), draw(call.dtypes, SPECIAL), str(call), xp.asarray)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_graphs(seed: int, xp: Any) -> None:
    drawn = RandomGraph(seed, DTYPES[seed % len(DTYPES)])
    arrays = [np.array(a, order="C") for a in drawn.arrays()]
    check_on_device(drawn.graph(), arrays, f"seed {seed}", xp.asarray)


@pytest.mark.parametrize("extent", EXTENTS)
def test_random_graphs_of_every_size(extent: int, xp: Any) -> None:
    for seed in FEW_SEEDS:
        vocabulary = EVERYTHING if extent else WITHOUT_ELEMENTS
        drawn = RandomGraph(1000 * extent + seed, DTYPES[seed % 2], vocabulary, extent=extent)
        arrays = [np.array(a, order="C") for a in drawn.arrays()]
        check_on_device(drawn.graph(), arrays, f"seed {seed} of {extent}", xp.asarray)


LAYOUTS = {
    "strided": lambda x: x.repeat(2, -1)[..., ::2],
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "transposed": lambda x: x.T.copy().T,
    "one element after an aligned address": lambda x: _shifted(x),
}


def _shifted(x: Any) -> Any:
    return x.ravel().repeat(2)[1:][: x.size].reshape(x.shape)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_in_other_memory_layouts(layout: str, xp: Any) -> None:
    for shape in ((33, 1000), (257, 31)):
        placed = LAYOUTS[layout](xp.asarray(normal(shape)))
        check_on_device(tanh_and_sum(shape), [host(placed)], layout, lambda _: placed)  # noqa: B023


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_arrays_of_other_libraries_are_read_where_they_lie(library: str, xp: Any) -> None:
    module = pytest.importorskip(library)
    array = normal((130, 257))
    if library == "torch":
        if not module.cuda.is_available():
            pytest.skip("PyTorch has no CUDA here")
        theirs = module.from_numpy(array).cuda()
        address = theirs.data_ptr()
    else:
        if module.default_backend() != "gpu":
            pytest.skip("JAX has no GPU here")
        theirs = module.numpy.asarray(array)
        address = theirs.unsafe_buffer_pointer()
    assert xp.asarray(theirs).data.ptr == address
    got = execute.compile_graph(tanh_and_sum(array.shape))([theirs])
    check_results(tanh_and_sum(array.shape), [array], [host(x) for x in got], library)


def test_a_program_runs_on_the_current_stream(xp: Any) -> None:
    array = normal((512, 1024))
    graph = tanh_and_sum(array.shape)
    program = execute.compile_graph(graph)
    expected = interpret(graph, array)
    for _ in range(20):
        stream = xp.cuda.Stream(non_blocking=True)
        with stream:
            got = program([xp.asarray(array)])
            stream.synchronize()
            assert_same_bits([host(x) for x in got], expected, "on a stream")


def test_many_calls_at_once_do_not_share_memory(xp: Any) -> None:
    arrays = [normal((64, 1025)) + i for i in range(8)]
    program = execute.compile_graph(tanh_and_sum((64, 1025)))
    placed = [xp.asarray(a) for a in arrays]
    results = [program([x]) for x in placed for _ in range(4)]
    for number, got in enumerate(results):
        check_results(tanh_and_sum((64, 1025)), [arrays[number // 4]], [host(x) for x in got], "of many")


def test_arrays_beyond_2_gib(xp: Any) -> None:
    x = xp.arange(MORE_THAN_2_GIB, dtype=np.float32) % 1021
    graph = Graph((node := input_node(Aval(x.shape, np.dtype("float32"))),), _doubled_and_summed(node))
    doubled, total = execute.compile_graph(simplify(graph))([x])
    assert bool((doubled == x * 2).all())
    expected = interpret(Graph((node,), _doubled_and_summed(node)[1:]), host(x))
    assert_same_bits([host(total)], expected, "of more than 2 GiB")


def _doubled_and_summed(x: Node) -> Sequence[Node]:
    return x * 2, reduce_axes(ops.OPS["sum"], x, (0,))


def test_host_time_of_a_call_is_printed(xp: Any, capsys: pytest.CaptureFixture[str]) -> None:
    array = xp.asarray(normal((1000,)))
    program = execute.compile_graph(tanh_and_sum((1000,)))
    launches = sum(len(step) for step in program.steps if isinstance(step, list))
    for _ in range(10):
        program([array])
    xp.cuda.Device().synchronize()
    start = time.perf_counter()
    for _ in range(LAUNCHES):
        program([array])
    seconds = (time.perf_counter() - start) / LAUNCHES
    xp.cuda.Device().synchronize()
    with capsys.disabled():
        print(f"\nhost time of a call with {launches} launches: {seconds * 1e6:.1f} us")
    assert launches
