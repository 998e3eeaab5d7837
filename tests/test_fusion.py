"""What fusion promises: how many kernels, what they move, when they are compiled, how they share memory."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from compare import assert_same_bits

import jitgrad
import jitgrad.numpy as jnp
from jitgrad.explain import Report
from jitgrad.ir import Aval, Graph, input_node, interpret
from jitgrad.ops.table import OPS
from jitgrad.runtime import kernels
from jitgrad.runtime.execute import compile_graph

RNG = np.random.default_rng(0)
FLOAT32 = 4
ROUNDS = 600


def float32(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def gaussian(x: Any, w: Any, m: Any, s: Any) -> Any:
    return np.sum(np.exp(-0.5 * ((x - m) * s) ** 2) * w)


def cross_entropy(logits: Any, labels: Any) -> Any:
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_sums = np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return np.mean(log_sums - np.take_along_axis(shifted, labels, axis=1))


def layernorm_gelu(x: Any, scale: Any, shift: Any) -> Any:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    y = centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + 1e-5) * scale + shift
    return np.sum(jnp.gelu(y) ** 2)


def chain(x: Any, y: Any) -> Any:
    for _ in range(6):
        t = np.tanh(x) * y
        x = np.exp(-(t * t))
    return np.sum(x)


def column_sums(x: Any) -> Any:
    return np.sum(np.tanh(x), axis=0)


def logistic_loss(w: Any, b: Any, x: Any, y: Any) -> Any:
    return np.mean(np.logaddexp(0.0, -y * (x @ w + b)))


def pair_energy(x: Any) -> Any:
    d = x[:, None, :] - x[None, :, :]
    return np.sum(1.0 / (1.0 + np.sum(d * d, axis=-1)))


def squared_norms(x: Any) -> Any:
    return np.sum(np.tanh(np.sum(x * x, axis=-1)))


def softmax_norms(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return np.sum((e / np.sum(e, axis=-1, keepdims=True)) ** 2)


def scaled_columns(x: Any, axes: tuple[int, ...] = (1,)) -> Any:
    """Column sums of what is known of a row only when all of it has been read."""
    return np.sum(x * np.tanh(np.sum(x * x, axis=-1, keepdims=True)), axis=axes)


def diffusion(u: Any) -> Any:
    for _ in range(2):
        p = np.pad(u, 1)
        u = u + 0.2 * (p[2:, 1:-1] + p[:-2, 1:-1] + p[1:-1, 2:] + p[1:-1, :-2] - 4.0 * u)
    return np.sum(u * u)


def rosenbrock(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def joined(*parts: Any) -> Any:
    return np.sum(np.exp(np.concatenate(parts)))


def traffic(report: Report) -> list[tuple[int, int]]:
    """How many arrays each kernel reads and writes."""
    return [(k.arrays_read, k.arrays_written) for k in report.kernels]


# How many kernels -------------------------------------------------------------------------------------------


def test_a_gaussian_weighted_sum_with_both_gradients_is_one_kernel_of_two_reads_and_two_writes() -> None:
    both = jitgrad.value_and_grad(gaussian, argnums=(0, 1))
    report = both.explain(float32(1000), float32(1000), 0.3, 1.7)
    assert traffic(report) == [(2, 2)]
    assert not report.calls


@pytest.mark.parametrize("layout", ["function", "fused op"])
def test_softmax_cross_entropy_with_integer_labels_is_one_kernel(layout: str) -> None:
    def of_op(logits: Any, labels: Any) -> Any:
        return -np.mean(np.take_along_axis(jnp.log_softmax(logits, axis=1), labels, axis=1))

    both = jitgrad.value_and_grad(cross_entropy if layout == "function" else of_op)
    logits, labels = float32(64, 10), RNG.integers(0, 10, (64, 1))
    assert traffic(both.explain(logits, labels)) == [(2, 1)]
    value, gradient = both(logits, labels)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(value, -np.log(np.take_along_axis(probabilities, labels, 1)).mean(), 1e-5)
    np.testing.assert_allclose(
        gradient, (probabilities - (np.arange(10) == labels)) / 64, rtol=1e-4, atol=1e-7
    )


def test_layernorm_and_gelu_with_all_gradients_are_one_kernel() -> None:
    both = jitgrad.value_and_grad(layernorm_gelu, argnums=(0, 1, 2))
    assert traffic(both.explain(float32(32, 96), float32(96), float32(96))) == [(3, 3)]


def test_an_elementwise_chain_with_both_gradients_is_one_kernel() -> None:
    both = jitgrad.value_and_grad(chain, argnums=(0, 1))
    assert traffic(both.explain(float32(1000), float32(1000))) == [(2, 2)]


# When kernels are compiled ----------------------------------------------------------------------------------


def compiled_by(call: Callable[[], Any]) -> int:
    before = kernels.counters.compiled
    call()
    return kernels.counters.compiled - before


PROGRAMS: dict[str, tuple[Any, Callable[[int], tuple[Any, ...]]]] = {
    "flat": (
        jitgrad.value_and_grad(gaussian, argnums=(0, 1)),
        lambda n: (float32(40 * n), float32(40 * n), 0.1, 0.2),
    ),
    "rows": (
        jitgrad.value_and_grad(cross_entropy),
        lambda n: (float32(n, 37), RNG.integers(0, 37, (n, 1))),
    ),
    "row lengths": (
        jitgrad.value_and_grad(cross_entropy),
        lambda n: (float32(50, n + 60), RNG.integers(0, n, (50, 1))),
    ),
    "rows and columns": (
        jitgrad.value_and_grad(layernorm_gelu, argnums=(0, 1, 2)),
        lambda n: (float32(n, 80), float32(80), float32(80)),
    ),
    "columns": (jitgrad.jit(column_sums), lambda n: (float32(n, 24),)),
    "logistic regression": (
        jitgrad.value_and_grad(logistic_loss, argnums=(0, 1)),
        lambda n: (float32(20), np.float32(0.1), float32(n, 20), np.sign(float32(n))),
    ),
    "pairs of points": (jitgrad.value_and_grad(pair_energy), lambda n: (float32(n, 3),)),
    "coordinates": (jitgrad.value_and_grad(squared_norms), lambda n: (float32(n, 2),)),
    "short rows": (jitgrad.value_and_grad(squared_norms), lambda n: (float32(n, 5 + n % 20),)),
    "stencil": (jitgrad.value_and_grad(diffusion), lambda n: (float32(n, 2 * n),)),
    "neighbours": (jitgrad.value_and_grad(rosenbrock), lambda n: (float32(n),)),
    "joined": (jitgrad.value_and_grad(joined, argnums=(0, 1)), lambda n: (float32(n), float32(2 * n))),
    "transposed": (jitgrad.value_and_grad(squared_norms), lambda n: (float32(60, n + 2).T,)),
    "strided": (jitgrad.jit(lambda x: np.tanh(x) * x), lambda n: (float32(40 * n)[:: 5 + n % 7],)),
    "rows apart": (jitgrad.value_and_grad(squared_norms), lambda n: (float32(n, 99 + n)[:, : 60 + n % 9],)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_new_size_compiles_no_kernel(name: str) -> None:
    function, arguments = PROGRAMS[name]
    function(*arguments(64))
    for size in (50, 100, 257):
        given = arguments(size)
        assert compiled_by(lambda given=given: function(*given)) == 0
        got, expected = function(*given), jitgrad.interpret(function)(*given)
        flat = [np.asarray(leaf) for leaf in jitgrad.pytree.flatten(got)[0]]
        assert_same_bits(flat, [np.asarray(e) for e in jitgrad.pytree.flatten(expected)[0]], name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2)])
@pytest.mark.parametrize(
    "shape", [(3, 70, 2, 9), (2, 9, 40, 12), (40, 2, 33, 7), (7, 9, 5, 16), (33, 8, 8, 24)]
)
def test_columns_of_short_rows_are_reduced_in_order(
    shape: tuple[int, ...], axes: tuple[int, ...], dtype: str
) -> None:
    """Whether rows run side by side depends on how many lie along the run, or at each place of it."""
    x = RNG.standard_normal(shape).astype(dtype)
    loss = jitgrad.value_and_grad(lambda x, y: np.sum((scaled_columns(x * y, axes) - 1) ** 2), (0, 1))
    given = (x, RNG.standard_normal((shape[0], 1, *shape[2:])).astype(dtype))
    (value, grads), (expected, expected_grads) = loss(*given), jitgrad.interpret(loss)(*given)
    assert_same_bits([value, *grads], [expected, *expected_grads], f"{shape} over {axes}")


def test_new_numbers_are_neither_traced_nor_compiled() -> None:
    runs = []

    @jitgrad.value_and_grad(argnums=(0, 1))
    def loss(x: Any, scale: Any, shift: Any) -> Any:
        runs.append(1)
        return np.sum((x * scale + shift) ** 2)

    x = float32(100)
    loss(x, 1.0, 2.0)
    fused = loss.explain(x, 1.0, 2.0)
    assert len(fused.kernels) == 1
    for scale, shift in ((3.0, 4.0), (-0.0, 1e30), (float("nan"), 2.5)):
        assert compiled_by(lambda scale=scale, shift=shift: loss(x, scale, shift)) == 0
    assert len(runs) == 1
    assert loss(x, 3.0, 0.5)[1][1] == pytest.approx(np.sum(2 * (3 * x + 0.5) * x), rel=1e-4)


def test_equal_kernels_of_different_functions_are_compiled_once() -> None:
    x = float32(500)
    jitgrad.grad(lambda x: np.sum(np.sin(x) * 0.7))(x)
    assert compiled_by(lambda: jitgrad.grad(lambda y: np.sum(np.sin(y) * 0.3))(x)) == 0


FORMS: dict[str, tuple[Any, tuple[Any, ...], tuple[Any, ...]]] = {
    "dtype": (squared_norms, (float32(60, 40),), (float32(60, 40).astype(float),)),
    "strided input": (squared_norms, (float32(60, 40),), (float32(60, 80)[:, ::2],)),
    "strides 2 and 3": (squared_norms, (float32(60, 100)[:, ::2],), (float32(60, 150)[:, ::3],)),
    "strides 4 and 5": (squared_norms, (float32(60, 200)[:, ::4],), (float32(60, 250)[:, ::5],)),
    "2 and 3 coordinates": (squared_norms, (float32(60, 2),), (float32(60, 3),)),
    "4 and 5 coordinates": (squared_norms, (float32(60, 4),), (float32(60, 5),)),
    "an axis of 1": (squared_norms, (float32(60, 40),), (float32(1, 40),)),
    "rows of 32 and 33": (squared_norms, (float32(60, 32),), (float32(60, 33),)),
    "rows of 15 and 16, with dear operations": (
        lambda x: np.sum(np.sum(np.tanh(x), axis=1) ** 2),
        (float32(60, 15),),
        (float32(60, 16),),
    ),
    "rows of 48 and 49": (softmax_norms, (float32(60, 48),), (float32(60, 49),)),
    "runs of 7 and 8 rows": (
        lambda x: np.sum(scaled_columns(x) ** 2),
        (float32(20, 8, 16),),
        (float32(20, 7, 16),),
    ),
    "2 and 3 parts": (joined, (float32(60), float32(60)), (float32(60), float32(60), float32(60))),
    "a slice of all": (
        lambda x, y: np.sum(np.exp(x[: y.size]) * y) + np.sum(x),
        (float32(80), float32(60)),
        (float32(60), float32(60)),
    ),
    "short part": (joined, (float32(60), float32(60)), (float32(15), float32(60))),
}


def kernel_keys(function: Any, arguments: tuple[Any, ...]) -> list[str]:
    return [loaded.key for loaded in function.compiled(*arguments).loaded]


@pytest.mark.parametrize("form", FORMS)
def test_what_a_kernel_is_compiled_for(form: str) -> None:
    loss, one, other = FORMS[form]
    function = jitgrad.value_and_grad(loss)
    assert kernel_keys(function, one) != kernel_keys(function, other)


def test_fast_mode_has_kernels_of_its_own() -> None:
    x = float32(60, 40)
    exact, fast = (jitgrad.grad(squared_norms, fastmath=mode) for mode in (False, True))
    assert kernel_keys(exact, (x,)) != kernel_keys(fast, (x,))


def test_numbers_that_become_equal_are_one_parameter() -> None:
    def scaled(x: Any, a: float, b: float) -> Any:
        return np.tanh(x * a) * b

    function = jitgrad.jit(scaled, static_argnames=("a", "b"))
    keys = [function.compiled(float32(60), a=a, b=0.5).loaded[0].key for a in (0.25, 0.75, 0.5)]
    assert keys[0] == keys[1] != keys[2]


# Very long programs -----------------------------------------------------------------------------------------


def long_chain(x: Any, rounds: int) -> Any:
    for _ in range(rounds):
        x = x * (1.0 - x) * 3.9
    return np.sum(x)


def test_a_long_loop_becomes_several_kernels_that_agree_with_the_interpreter() -> None:
    function = jitgrad.value_and_grad(long_chain, static_argnames="rounds")
    x = np.random.default_rng(0).uniform(0.1, 0.9, 300)
    assert len(function.explain(x, rounds=ROUNDS).kernels) > 3
    got, expected = function(x, rounds=ROUNDS), jitgrad.interpret(function)(x, rounds=ROUNDS)
    assert_same_bits([*map(np.asarray, got)], [*map(np.asarray, expected)], "long chain")


# Memory -----------------------------------------------------------------------------------------------------


def test_inputs_are_never_modified_and_results_share_no_memory_with_them() -> None:
    @jitgrad.jit
    def function(x: Any, y: Any) -> Any:
        first = x
        first += y
        part = first[1:]
        part[:] = 0.0
        return {"x": x, "same": y, "view": y[::-1], "sum": first, "transposed": y.reshape(2, -1).T}

    x, y = float32(8), float32(8)
    before = x.copy(), y.copy()
    results = function(x, y)
    for array, copy in zip((x, y), before, strict=True):
        np.testing.assert_array_equal(array, copy)
    leaves = list(results.values())
    for i, result in enumerate(leaves):
        assert result.flags.writeable and result.flags.c_contiguous
        others = [x, y, *leaves[:i]]
        assert not any(np.shares_memory(result, other) for other in others)
    np.testing.assert_array_equal(results["view"], y[::-1])
    np.testing.assert_array_equal(results["transposed"], y.reshape(2, 4).T)


def test_read_only_and_broadcast_inputs_are_accepted() -> None:
    x = np.broadcast_to(np.float32(2.0), (3, 5))
    value, gradient = jitgrad.value_and_grad(lambda x: np.sum(x**3))(x)
    assert value == 120.0
    np.testing.assert_array_equal(gradient, np.full((3, 5), 12.0, np.float32))


def test_a_result_is_not_overwritten_by_the_next_call() -> None:
    function = jitgrad.grad(lambda x: np.sum(x * x))
    for size in (10, 200_000):  # below and above what the buffer pool keeps
        first = function(np.ones(size))
        second = function(np.full(size, 3.0))
        np.testing.assert_array_equal(first, np.full(size, 2.0))
        np.testing.assert_array_equal(second, np.full(size, 6.0))


def memory_that_100_shapes_leave() -> int:
    function = jitgrad.value_and_grad(cross_entropy)
    process, rng = psutil.Process(), np.random.default_rng(1)

    def run(count: int) -> int:
        for n, k in zip(rng.integers(300, 600, count), rng.integers(50, 90, count), strict=True):
            function(rng.standard_normal((n, k)), rng.integers(0, k, (n, 1)))
        gc.collect()
        return int(process.memory_info().rss)

    run(300)  # more than the programs that a function keeps
    before = run(50)
    return run(100) - before


def test_100_shapes_in_a_row_leak_no_memory() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        left = alone.submit(memory_that_100_shapes_leave).result()
    assert left < 4e6, "100 pairs of arrays of 0.3 MB came and went"


def test_two_threads_may_call_one_function_at_once() -> None:
    function = jitgrad.value_and_grad(cross_entropy)
    labels = RNG.integers(0, 50, (400, 1))
    arrays = [RNG.standard_normal((400, 50)) for _ in range(4)]
    expected = [jitgrad.interpret(function)(a, labels) for a in arrays]
    barrier, wrong = threading.Barrier(4), []

    def call(place: int) -> None:
        barrier.wait()
        for _ in range(60):
            value, gradient = function(arrays[place], labels)
            if value != expected[place][0] or not np.array_equal(gradient, expected[place][1]):
                wrong.append(place)

    workers = [threading.Thread(target=call, args=(place,)) for place in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


# Explain ----------------------------------------------------------------------------------------------------


def test_explain_counts_the_bytes_of_distinct_arrays_and_names_the_users_lines() -> None:
    n = 1000

    def loss(x: Any, w: Any) -> Any:
        inner = np.exp(-x * x)
        return np.sum(inner * w)

    report = jitgrad.value_and_grad(loss, argnums=(0, 1)).explain(float32(n), float32(n))
    (kernel,) = report.kernels
    assert (kernel.bytes_read, kernel.bytes_written) == (2 * n * FLOAT32, (2 * n + 1) * FLOAT32)
    assert report.bytes_moved == kernel.bytes_read + kernel.bytes_written
    start = loss.__code__.co_firstlineno
    here = Path(__file__).name
    assert set(kernel.lines) == {f"{here}:{start + 1}", f"{here}:{start + 2}"}
    assert report.bytes_unfused >= 8 * n * FLOAT32
    assert kernel.source_path is not None and "def kernel(" in kernel.source_path.read_text()
    assert f"{here}:{start + 1}" in str(report) and "1 kernel moves" in str(report)


def test_explain_lists_library_calls_and_their_traffic() -> None:
    report = jitgrad.value_and_grad(logistic_loss, argnums=(0, 1)).explain(
        float32(20), np.float32(0.1), float32(50, 20), np.sign(float32(50))
    )
    assert [call.name for call in report.calls] == ["matmul", "matmul"]
    assert report.bytes_moved > 2 * 50 * 20 * FLOAT32


# Other processes --------------------------------------------------------------------------------------------

PROGRAM = """
import json, sys, warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import jitgrad
    from jitgrad.runtime import kernels
    x = np.linspace(0.0, 1.0, 3000).reshape(30, 100)
    softened = jitgrad.value_and_grad(lambda x: np.sum(np.log(np.sum(np.exp(x), axis=1))))
    weighted = jitgrad.value_and_grad(lambda x: np.sum(np.exp(x) * x))
    results = [np.asarray(a).tobytes().hex() for f in (softened, weighted) for a in f(x)]
print(json.dumps({
    "results": results,
    "compiled": kernels.counters.compiled,
    "from_disk": kernels.counters.from_disk,
    "front_end": "jitgrad.targets.frontend" in sys.modules,
    "warnings": [str(w.message) for w in caught],
}))
"""


def start(cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "JITGRAD_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def finished(process: subprocess.Popen[str]) -> Any:
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(text)


def run(cache: Path) -> Any:
    return finished(start(cache))


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """A cache folder that a first process has filled, and what that process reported."""
    folder = tmp_path_factory.mktemp("warm") / "cache"
    first = run(folder)
    assert first["compiled"] >= 2 and first["front_end"] and not first["warnings"]
    yield folder, first


def test_a_second_process_compiles_nothing_and_never_imports_the_front_end(warm: tuple[Path, Any]) -> None:
    folder, first = warm
    second = run(folder)
    assert second["results"] == first["results"]
    assert second["compiled"] == 0 and second["from_disk"] == first["compiled"]
    assert not second["front_end"]
    assert not second["warnings"]


@pytest.mark.parametrize("damage", ["cut short", "one bit flipped", "empty"])
def test_damaged_kernels_on_disk_are_compiled_again(
    damage: str, warm: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, first = warm
    own = tmp_path / "cache"
    own.mkdir(mode=0o700)
    for path in folder.iterdir():
        data = path.read_bytes()
        if path.suffix == ".o":
            middle = len(data) // 2
            changed = data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]
            data = {"cut short": data[:middle], "one bit flipped": changed, "empty": b""}[damage]
        (own / path.name).write_bytes(data)
        (own / path.name).chmod(0o600)
    second = run(own)
    assert second["results"] == first["results"]
    assert second["compiled"] == first["compiled"]
    if damage == "cut short":
        assert run(own)["compiled"] == 0


def test_two_processes_may_compile_the_same_kernels_at_once(warm: tuple[Path, Any], tmp_path: Path) -> None:
    cold = tmp_path / "cache"
    both = [finished(process) for process in [start(cold), start(cold)]]
    for report in both:
        assert report["results"] == warm[1]["results"]
        assert not report["warnings"]
    assert run(cold)["compiled"] == 0


def test_without_a_usable_cache_folder_it_works_and_warns_once(
    warm: tuple[Path, Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    report = run(tmp_path / "file" / "cache")
    assert report["results"] == warm[1]["results"]
    (warning,) = report["warnings"]
    assert "cannot be made" in warning and "not kept" in warning


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_a_cache_folder_that_others_may_write_is_refused_with_one_warning(
    warm: tuple[Path, Any], tmp_path: Path
) -> None:
    shared = tmp_path / "cache"
    shared.mkdir()
    shared.chmod(0o777)
    for path in warm[0].iterdir():
        (shared / path.name).write_bytes(path.read_bytes())
    report = run(shared)
    assert report["results"] == warm[1]["results"]
    assert report["from_disk"] == 0 and report["compiled"] == warm[1]["compiled"]
    (warning,) = report["warnings"]
    assert "other users may write" in warning


def test_a_total_over_several_axes_of_stored_rows_counts_every_element() -> None:
    x = input_node(Aval((6, 5, 2), np.dtype(np.float32)))
    rows = OPS["min"](x, axes=(2,))
    total = OPS["sum"](OPS["multiply"](rows, rows), axes=(0, 1))
    count = OPS["sum"](OPS["cast"](OPS["less"](rows, total), dtype=np.dtype(np.float32)), axes=(0, 1))
    graph, values = Graph((x,), (rows, total, count)), float32(6, 5, 2)
    assert_same_bits(compile_graph(graph)([values]), interpret(graph, values), "rows and totals")


def test_what_is_known_in_one_part_of_a_loop_is_not_taken_for_known_in_another() -> None:
    def rows(a: Any, b: Any, x: Any) -> Any:
        first = np.concatenate([np.broadcast_to(part, (a.shape[0], 40)) for part in (a, b)], 1)
        total = np.sum(np.where(first < b, first * x, x), axis=1, keepdims=True)
        return np.where(a < b, total * x, x)

    arguments = float32(7, 1), float32(7, 1), float32(7, 80)
    function = jitgrad.jit(rows)
    assert_same_bits([function(*arguments)], [jitgrad.interpret(function)(*arguments)], "parts of a row")
