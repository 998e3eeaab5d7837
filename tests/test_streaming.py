"""Kernels that write past the caches: which do, with what instructions, and that every bit stays the same."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare import Array, assert_same_bits

import jitgrad
import jitgrad.numpy as jnp
from jitgrad.machine import native
from jitgrad.machine.processor import last_level_bytes
from jitgrad.runtime import execute
from jitgrad.targets import cpu, library

X86 = platform.machine().lower() in ("x86_64", "amd64")


def product(x: Any, y: Any) -> Any:
    """One flat kernel with a total and two outputs."""
    return jnp.sum(x * y + x), x * y, x - y


def chained(x: Any, _: Any) -> Any:
    """Its gradient has an interior, and edges that are computed with guards."""
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def masks(x: Any, y: Any) -> Any:
    """Truth values and integers."""
    return x < y, (x * 4.0).astype(np.int8)


def rows(x: Any, y: Any) -> Any:
    """Rows of 96 elements, with a sum of each."""
    x, y = (v[: v.size // 96 * 96].reshape(-1, 96) for v in (x, y))
    return x * jnp.sum(y, axis=1, keepdims=True)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "product": product,
    "chained": jitgrad.value_and_grad(chained),
    "masks": masks,
    "rows": rows,
}


def compiled(function: Any, arrays: list[Array], monkeypatch: pytest.MonkeyPatch, streams: bool) -> Any:
    """The program for a cache that holds all, or nothing."""
    graph = jitgrad.interpret(function).graph(*arrays)
    monkeypatch.setattr(execute, "CACHE_BYTES", 0 if streams else 1 << 60)
    monkeypatch.setattr(execute, "HIDDEN_MOVES", 1e9)
    return execute.compile_graph(graph)


def vectors(size: int, dtype: str, shift: int) -> list[Array]:
    """Two arrays that begin `shift` elements after a cache line."""
    rng, memory = np.random.default_rng(3), np.empty((2, size + 64), dtype)
    found = [row[(-row.ctypes.data % 64) // row.itemsize + shift :][:size] for row in memory]
    for array in found:
        array[:] = rng.standard_normal(size)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_bit_is_the_same_as_without(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for size, shift in ((96, 0), (1023, 1), (1024, 0), (4099, 3), (300_001, 5)):
        arrays = vectors(size, dtype, shift)
        plain, streaming = (compiled(FUNCTIONS[name], arrays, monkeypatch, s) for s in (False, True))
        assert not any(k.source.streams for k in plain.kernels)
        assert all(k.source.streams for k in streaming.kernels)
        assert_same_bits(streaming(arrays), plain(arrays), f"{name} of {size}")


def assembly(program: Any) -> str:
    (kernel,) = program.kernels
    machine = native.target_machine()
    module = native.optimised(cpu.compile_kernel(kernel.source, "test", "<test>"), library, machine)
    return str(machine.emit_assembly(module))


@pytest.mark.skipif(not X86, reason="names x86 instructions")
@pytest.mark.parametrize("name", ["product", "masks", "rows"])
def test_whole_vectors_go_past_the_caches_and_are_waited_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = vectors(9600, "float32", 0)
    plain, streaming = (assembly(compiled(FUNCTIONS[name], arrays, monkeypatch, s)) for s in (False, True))
    stream = r"\bv?movnt(ps|pd|dq)\s.*%[xyz]mm"
    assert re.search(stream, streaming) and "sfence" in streaming
    assert not re.search(stream, plain) and "sfence" not in plain


def test_arrays_that_fit_into_the_cache_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.ones(1000, np.float32)
    graph = jitgrad.interpret(lambda x: x + 1).graph(x)
    for cache, streams in ((x.nbytes, True), (2 * x.nbytes, False)):
        monkeypatch.setattr(execute, "CACHE_BYTES", cache)
        (kernel,) = execute.compile_graph(graph).kernels
        assert kernel.source.streams is streams


def test_a_result_in_place_of_an_argument_is_not_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines are in the nearest cache already."""
    x = np.ones(1000, np.float32)
    monkeypatch.setattr(execute, "CACHE_BYTES", 0)
    graph = jitgrad.interpret(lambda x: x + 1).graph(x)
    (kernel,) = execute.compile_graph(graph, donated=[0]).kernels
    assert not kernel.source.streams


def test_a_kernel_that_computes_for_long_is_not_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.ones(1000, np.float32)
    monkeypatch.setattr(execute, "CACHE_BYTES", 0)
    graph = jitgrad.interpret(lambda x: np.tanh(np.sin(np.exp(x)))).graph(x)
    (kernel,) = execute.compile_graph(graph).kernels
    assert not kernel.source.streams


def test_the_size_of_the_last_cache_is_read_from_the_system(tmp_path: Path) -> None:
    for number, (level, size) in enumerate((("1", "32K"), ("2", "1024K"), ("3", "48M"), ("1", "64K"))):
        index = tmp_path / f"index{number}"
        index.mkdir()
        (index / "level").write_text(f"{level}\n")
        (index / "size").write_text(f"{size}\n")
    assert last_level_bytes(tmp_path) == 48 << 20
    assert last_level_bytes(tmp_path / "nowhere") == 32 << 20
