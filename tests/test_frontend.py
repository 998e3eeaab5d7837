"""The front end against plain Python: an emitted module, run as it stands, gives the kernel's bits."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from compare import Array, assert_same_bits, drawn, strides_of, values_of
from golden_graphs import GOLDEN
from random_graphs import RandomGraph

import jitgrad
from jitgrad.ir import Graph, Node
from jitgrad.ops.reductions import BLOCK, COLUMN_BLOCK, LANES
from jitgrad.rewrite import simplify
from jitgrad.runtime import kernels
from jitgrad.runtime.execute import compile_graph
from jitgrad.targets import cpu, frontend, reductions
from jitgrad.targets.dialect import Span
from jitgrad.targets.emit import emit
from jitgrad.targets.memory import kind_of
from jitgrad.targets.source import Parameter, Source
from jitgrad.targets.turns import rounded
from jitgrad.vmath.routine import ROUTINES

Invoke = Callable[[Source, list[Any]], None]
FLOATS = ("float32", "float64")
LARGEST = 3000  # elements of a random graph's inputs


# Two ways to run a kernel ---------------------------------------------------------------------------------


def in_plain_python(source: Source, arguments: list[Any]) -> None:
    """Run the module of a kernel as it would stand in a file."""
    module = ModuleType("kernel")
    exec(compile(cpu.module_text(source), "<kernel>", "exec"), module.__dict__)
    spans = [Span.of(a) if isinstance(a, np.ndarray) else a for a in arguments]
    with np.errstate(all="ignore"):
        module.kernel(0, source.units, *spans)
        if source.has_finish:
            module.finish(0, source.units, *spans)


def compiled(source: Source, arguments: list[Any]) -> None:
    """Run a kernel's machine code."""
    loaded = kernels.load(source)
    scratch = np.empty(sum(a.nbytes + 64 for a in arguments if isinstance(a, np.ndarray)) + 64, np.uint8)
    block = (ctypes.c_int64 * len(arguments))()
    used = 0
    for place, (parameter, argument) in enumerate(zip(source.parameters, arguments, strict=True)):
        if parameter.kind == "temp":
            block[place], used = used, used + -(-argument.nbytes // 64) * 64
        elif isinstance(argument, np.ndarray):
            block[place] = argument.ctypes.data
        else:
            block[place] = cpu.words(parameter)
    convention = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    for address in (loaded.kernel, loaded.finish):
        if address:
            convention(address)(ctypes.addressof(block), 0, source.units, scratch.ctypes.data)


def written_by(invoke: Invoke, source: Source, read: dict[Node, Array]) -> list[Array]:
    """The arrays that a kernel writes, from those that it reads."""
    arguments: list[Any] = []
    for parameter in source.parameters:
        match parameter.kind:
            case "input":
                arguments.append(read[parameter.value])
            case "output":
                arguments.append(np.zeros(parameter.value.shape, parameter.dtype))
            case "work" | "temp":
                arguments.append(np.zeros(parameter.value, parameter.dtype))
            case "size":
                arguments.append(parameter.value)
            case "literal":
                arguments.append(parameter.dtype.type(parameter.value))
    invoke(source, arguments)
    return [a for a, p in zip(arguments, source.parameters, strict=True) if p.kind == "output"]


def assert_plain_python_agrees(graph: Graph, arrays: Sequence[Array], label: str) -> int:
    """Run every kernel of a graph both ways on the same arrays; return how many kernels there were."""
    program = compile_graph(graph, strides_of(arrays))
    for step in program.kernels:
        nodes = [p.value for p in step.source.parameters if p.kind == "input"]
        read = values_of(nodes, program.program, arrays)
        got, expected = (written_by(run, step.source, read) for run in (in_plain_python, compiled))
        assert_same_bits(got, expected, f"{label}: {step.source.text}")
    return len(program.kernels)


# What is run ----------------------------------------------------------------------------------------------


def is_small(seed: int) -> bool:
    """Whether plain Python runs a random graph in a second or so."""
    return sum(node.aval.size for node in RandomGraph(seed, FLOATS[seed % 2]).inputs) <= LARGEST


@pytest.mark.parametrize("name", GOLDEN)
def test_the_emitted_modules_of_golden_graphs_run_in_plain_python(name: str) -> None:
    golden = GOLDEN[name]
    arrays = [drawn(a, np.random.default_rng(3)) for a in golden.args]
    graph = jitgrad.interpret(golden.function).graph(*arrays)
    assert assert_plain_python_agrees(graph, arrays, name)


@pytest.mark.parametrize("seed", [seed for seed in range(30) if is_small(seed)])
def test_the_emitted_modules_of_random_graphs_run_in_plain_python(seed: int) -> None:
    graph = RandomGraph(seed, FLOATS[seed % 2])
    arrays = graph.arrays()
    assert_plain_python_agrees(simplify(graph.graph()), arrays, f"seed {seed}")


# Reductions -----------------------------------------------------------------------------------------------


def reduction_source(name: str, dtype: str, rows: int, n: int) -> Source:
    """A kernel that calls one reduction."""
    calls = {
        "block": "y0[0] = {}(x0, n)",
        "of": "y0[0] = {}(x0, n, t0)",
        "columns": "for i in range(rows * n):\n        t0[i] = x0[i]\n    {}(t0, rows, n, y0)",
        "lanes": "{}(x0, n, t0, y0)",
        "rows": "{}(x0, n, rows, y0)",
    }
    text = "def kernel(lo, hi, x0, y0, t0, n, rows):\n    " + calls[name.split("_")[1]].format(name) + "\n"
    kind = np.dtype(dtype)
    parameters = (
        Parameter("x0", "input", kind, "x"),
        Parameter("y0", "output", kind, np.zeros(max(n, COLUMN_BLOCK), dtype)),
        Parameter("t0", "temp", kind, max(rows, COLUMN_BLOCK) * n),
        Parameter("n", "size", np.dtype(np.int64), n),
        Parameter("rows", "size", np.dtype(np.int64), rows),
    )
    return Source(text, parameters, 1, has_finish=False)


SIZES = {
    "block": [(1, n) for n in (0, 1, 63, 64, 65, 1000, BLOCK)],
    "of": [(1, n) for n in (1, 1023, 1024, 1025, 5000)],
    "columns": [(rows, n) for rows in (1, 2, 32, 33, 100) for n in (1, 5, 40)],
    "lanes": [(1, n) for n in (1, 2, 31, 32, 33, LANES)],
    "rows": [(rows, n) for rows in (1, 7, 16, 17, 32) for n in (1, 5, 16, 17, 48)],
}
CASES = [
    (name, dtype)
    for name in sorted(f"{op}_{form}" for op in reductions.COMBINE for form in reductions.REDUCTIONS)
    for dtype in (["bool"] if name[:3] in ("any", "all") else ["float32", "float64", "int32", "uint8"])
]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_a_reduction_means_what_the_dialect_says(name: str, dtype: str) -> None:
    rng = np.random.default_rng(5)
    for rows, n in SIZES[name.split("_")[1]]:
        size = max(rows, COLUMN_BLOCK) * max(rounded(n), 1)
        x = (rng.normal(size=size) * 3 + 2).astype(np.int32).astype(dtype)
        if np.dtype(dtype).kind == "f":
            x += rng.normal(size=x.size).astype(dtype)
        source = reduction_source(name, dtype, rows, n)
        got, expected = (written_by(run, source, {"x": x}) for run in (in_plain_python, compiled))
        assert_same_bits(got, expected, f"{name} of {dtype}, {rows} by {n}")


# Rows and lanes -------------------------------------------------------------------------------------------

READING = ("turn_in", "gather_in")
TURNS = """def kernel(lo, hi, x0, y0, t0, t1, n, lanes, stride):
    for l in range(32):
        t1[l] = minimum(l, lanes - 1) * stride
    READ(x0, t1, n, t0)
    turn_out(t0, n, lanes, y0)
"""


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int16", "uint8", "bool"])
@pytest.mark.parametrize("n", [1, 4, 7, 8, 9, 16, 17, 31, 48])
@pytest.mark.parametrize("read", READING)
def test_rows_turn_to_lanes_and_back(read: str, n: int, dtype: str) -> None:
    """No element beside the rows is touched: the last one ends where the array does."""
    kind, whole = np.dtype(dtype), np.dtype(np.int64)
    for lanes, gap in itertools.product((1, 7, 8, 16, 17, 31, 32), (0, 3)):
        stride = n + gap
        values = np.random.default_rng(n).integers(0, 100, (lanes - 1) * stride + n)
        x = (values % 2).astype(bool) if dtype == "bool" else values.astype(dtype)
        expected = np.lib.stride_tricks.as_strided(x, (lanes, n), (stride * x.itemsize, x.itemsize))
        parameters = (
            Parameter("x0", "input", kind, "x"),
            Parameter("y0", "output", kind, np.zeros(lanes * n + 3)),
            Parameter("t0", "temp", kind, rounded(n) * COLUMN_BLOCK),
            Parameter("t1", "temp", whole, COLUMN_BLOCK),
            *(
                Parameter(name, "size", whole, size)
                for name, size in (("n", n), ("lanes", lanes), ("stride", stride))
            ),
        )
        source = Source(TURNS.replace("READ", read), parameters, 1, has_finish=False)
        for run in (in_plain_python, compiled):
            (got,) = written_by(run, source, {"x": x})
            assert_same_bits(
                [got], [np.concatenate([expected.ravel(), np.zeros(3, dtype)])], f"{lanes} by {n}"
            )


# The language ---------------------------------------------------------------------------------------------


def text_of(body: str, **dtypes: str) -> str:
    """LLVM IR of a kernel with this body on numbers and spans (x..., y...) of these dtypes."""
    kinds = {"x": "input", "y": "output"}
    parameters = tuple(
        Parameter(name, kinds.get(name[0], "literal"), np.dtype(dtype), 0) for name, dtype in dtypes.items()
    )
    text = f"def kernel(lo, hi, {', '.join(dtypes)}):\n    {body}\n"
    return frontend.llvm_ir(Source(text, parameters, 1, has_finish=False), "test", "<test>")


@pytest.mark.parametrize(
    "body",
    [
        "while lo < hi:\n        lo = hi",
        "y[0] = x[0].real",
        "y[0] = lambda: x",
        "y[0] = x[0] ** x[1]",
        "y[0] = later",
        "y[0] = nothing(x[0])",
        "y = 0.5",
    ],
)
def test_what_is_not_in_the_dialect_is_refused(body: str) -> None:
    with pytest.raises(SyntaxError, match="no part of the kernels' dialect") as caught:
        text_of(body, x="float32", y="float32")
    assert caught.value.filename == "<test>" and caught.value.lineno == 2


def test_a_value_that_would_pass_between_iterations_is_refused() -> None:
    body = "a = c\n    for i in range(lo, hi):\n        a = a + c\n    y[0] = a"
    with pytest.raises(SyntaxError, match="a would keep its value from one iteration to the next"):
        text_of(body, y="float32", c="float32")


@pytest.mark.parametrize("body", ["y[0] = maximum(a, b)", "y[0] = a + b", "y[0] = select(a < a, a, b)"])
def test_mixed_float_types_are_refused(body: str) -> None:
    with pytest.raises(TypeError, match="one type are needed, got float32, float64"):
        text_of(body, y="float32", a="float32", b="float64")


@pytest.mark.parametrize("name", ["exp", "copysign"])
def test_integers_are_refused_by_functions_of_floats(name: str) -> None:
    arguments = ", ".join(["a"] * ROUTINES[name].arity)
    with pytest.raises(TypeError, match=f"vmath.{name} takes float32 or float64, got int32"):
        text_of(f"y[0] = {name}({arguments})", y="int32", a="int32")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", sorted(ROUTINES))
def test_a_result_has_the_type_of_the_arguments(name: str, dtype: str) -> None:
    arguments = ", ".join(["x[0]"] * ROUTINES[name].arity)
    text = text_of(f"v = {name}({arguments})", x=dtype)
    assert re.search(rf'%"v" = .*{kind_of(np.dtype(dtype)).llvm}', text)


def test_a_guarded_load_reads_nothing_where_the_guard_fails() -> None:
    """The span ends where the guard does: one element further there is no memory."""
    body = "for i in range(hi):\n        v = inside(i, n)\n        y[i] = x[i * 1099511627776] if v else c"
    arrays = mmap.mmap(-1, 4096)
    parameters = (
        Parameter("x", "input", np.dtype(np.float32), "x"),
        Parameter("y", "output", np.dtype(np.float32), np.zeros(100)),
        Parameter("n", "size", np.dtype(np.int64), 1),
        Parameter("c", "literal", np.dtype(np.float32), 7.0),
    )
    text = f"def kernel(lo, hi, x, y, n, c):\n    {body}\n"
    source = Source(text, parameters, 100, has_finish=False)
    x = np.frombuffer(arrays, np.float32)
    (got,) = written_by(compiled, source, {"x": x})
    np.testing.assert_array_equal(got, [0.0] + [7.0] * 99)


# Compiling side by side ---------------------------------------------------------------------------------


def many_sources() -> list[Source]:
    return [emit(kernel) for golden in GOLDEN.values() for kernel in golden.kernels()]


def test_threads_compile_the_code_that_one_thread_compiles() -> None:
    sources = many_sources()
    expected = [cpu.object_code(source, "test", "<test>") for source in sources]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda source: cpu.object_code(source, "test", "<test>"), sources * 3))
    assert got == expected * 3


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> threading.Barrier:
    """A barrier for two, at which each compilation waits; nothing is compiled yet."""
    monkeypatch.setenv("JITGRAD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kernels.threads, "get_num_threads", lambda: 2)
    monkeypatch.setattr(kernels, "_loaded", {})
    both, compile_kernel = threading.Barrier(2, timeout=60), cpu.object_code

    def waiting(*given: Any) -> bytes:
        both.wait()
        return compile_kernel(*given)

    monkeypatch.setattr(cpu, "object_code", waiting)
    return both


@pytest.mark.usefixtures("both")
def test_the_kernels_of_a_program_compile_at_the_same_time() -> None:
    """Two compilations wait for each other, which would take for ever one after the other."""
    first, second, *_ = dict.fromkeys(source.text for source in many_sources())
    sources = {source.text: source for source in many_sources()}
    before = kernels.counters.compiled
    one, other, again = kernels.load_all([sources[first], sources[second], sources[first]])
    assert kernels.counters.compiled == before + 2 and one is again and one.kernel != other.kernel


def test_what_kernels_run_with_is_made_while_they_compile(both: threading.Barrier) -> None:
    """The compilation and the job beside it wait for each other."""
    kernels.load_all(many_sources()[:1], [both.wait])
    assert both.n_waiting == 0 and not both.broken


def test_threads_that_want_one_kernel_compile_it_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JITGRAD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kernels, "_loaded", {})
    source, before = many_sources()[0], kernels.counters.compiled
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: kernels.load(source), range(8)))
    assert kernels.counters.compiled == before + 1 and all(loaded is found[0] for loaded in found)
