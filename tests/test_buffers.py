"""Result memory: reused when dropped, never while anything still sees it."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from jitgrad.runtime import buffers

FLOAT64 = np.dtype(np.float64)
LARGE = 1 << 16  # float64 elements: 512 KiB

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytest.fixture(autouse=True)
def fresh_pool() -> Iterator[None]:
    limit = buffers.pool.limit_bytes
    gc.collect()
    buffers.clear()
    yield
    buffers.pool.limit_bytes = limit
    buffers.clear()


def test_a_result_is_an_ordinary_array() -> None:
    array = buffers.empty((300, 400), FLOAT64)
    assert type(array) is np.ndarray
    assert array.shape == (300, 400) and array.dtype == FLOAT64
    assert array.flags.c_contiguous and array.flags.writeable and array.flags.aligned
    assert array.ctypes.data % 64 == 0
    array[...] = 3.0
    assert array.sum() == 360_000.0
    assert np.array_equal(pickle.loads(pickle.dumps(array)), array)


@pytest.mark.parametrize("shape", [(), (0,), (5, 0), (7,), (100, 100)])
@pytest.mark.parametrize("dtype", ["f4", "i8", "?", "c16"])
def test_small_arrays_own_their_memory(shape: tuple[int, ...], dtype: str) -> None:
    array = buffers.empty(shape, np.dtype(dtype))
    assert array.shape == shape and array.dtype == dtype and array.flags.owndata


def test_dropped_memory_serves_the_next_result() -> None:
    first = buffers.empty((LARGE,), FLOAT64)
    where = first.ctypes.data
    del first
    assert buffers.empty((LARGE // 2, 2), FLOAT64).ctypes.data == where
    assert buffers.empty((2 * LARGE,), np.dtype(np.float32)).ctypes.data == where


def test_sizes_that_round_alike_share_memory() -> None:
    first = buffers.empty((LARGE,), FLOAT64)
    where = first.ctypes.data
    del first
    assert buffers.empty((LARGE - 1,), FLOAT64).ctypes.data == where


def test_living_results_never_overlap() -> None:
    arrays = [buffers.empty((LARGE + i,), FLOAT64) for i in range(20)]
    for i, array in enumerate(arrays):
        array[...] = i
    del arrays[::2]
    more = [buffers.empty((LARGE + i,), FLOAT64) for i in range(20)]
    for array in more:
        array[...] = -1.0
    assert [float(array.min()) for array in arrays] == [float(i) for i in range(1, 20, 2)]


@pytest.mark.parametrize(
    "view_of",
    [
        lambda array: array[5:],
        lambda array: array[5:][3:][::-1],
        lambda array: array.reshape(-1, 4).T,
        lambda array: array.view(np.uint8),
        lambda array: array.view(np.matrix),
        lambda array: np.asarray(memoryview(array)),
        lambda array: np.frombuffer(array),
        lambda array: np.lib.stride_tricks.as_strided(array, (8,), (16,)),
        lambda array: array.base[64:],
        lambda array: array.base.view(np.ndarray),
        lambda array: np.from_dlpack(array),
    ],
)
def test_a_view_keeps_the_memory_of_a_dropped_result(view_of: Callable[[Any], Any]) -> None:
    array = buffers.empty((LARGE,), FLOAT64)
    array[...] = 7.0
    view = view_of(array)
    expected = view.copy()
    del array
    gc.collect()
    for _ in range(3):
        buffers.empty((LARGE,), FLOAT64)[...] = -1.0
    assert np.array_equal(view, expected)


def test_a_result_in_a_reference_cycle_comes_back_with_the_collector() -> None:
    cycle: list[object] = [buffers.empty((LARGE,), FLOAT64)]
    cycle.append(cycle)
    del cycle
    before = buffers.pool.idle_bytes
    gc.collect()
    assert buffers.pool.idle_bytes > before


def test_idle_memory_stays_within_the_limit() -> None:
    buffers.pool.limit_bytes = 4 << 20
    arrays = [buffers.empty((LARGE + 5000 * i,), FLOAT64) for i in range(30)]
    del arrays
    assert 0 < buffers.pool.idle_bytes <= 4 << 20
    held = sum(size * len(blocks) for size, blocks in buffers.pool._idle.items())
    assert held == buffers.pool.idle_bytes


def test_a_result_above_the_limit_is_not_kept() -> None:
    buffers.pool.limit_bytes = 1 << 20
    buffers.empty((4 * LARGE,), FLOAT64)
    assert buffers.pool.idle_bytes == 0


def test_the_sizes_in_use_stay_when_the_limit_is_reached() -> None:
    buffers.pool.limit_bytes = 4 << 20
    for i in range(12):
        buffers.empty((LARGE + 9000 * i,), FLOAT64)
    recent = buffers.empty((3 * LARGE,), FLOAT64)
    where = recent.ctypes.data
    del recent
    assert buffers.empty((3 * LARGE,), FLOAT64).ctypes.data == where


def test_clear_returns_the_memory() -> None:
    buffers.empty((LARGE,), FLOAT64)
    assert buffers.pool.idle_bytes > 0
    buffers.clear()
    assert buffers.pool.idle_bytes == 0


@pytest.mark.parametrize("size", [1 << 18, (1 << 18) + 1, 3_000_001, 160_000_000, (1 << 31) + 5])
def test_blocks_waste_little(size: int) -> None:
    assert size <= buffers.block_bytes(size) <= size * 1.14 + 4096
    assert buffers.block_bytes(buffers.block_bytes(size)) == buffers.block_bytes(size)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resident_memory_stays_flat_over_many_shapes() -> None:
    buffers.pool.limit_bytes = 16 << 20

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def run() -> None:
        random = np.random.default_rng(0)
        for _ in range(150):
            size = int(random.integers(1 << 15, 1 << 19))
            kept = buffers.empty((size,), FLOAT64)
            kept.fill(1.0)

    run()
    before = resident()
    run()
    assert resident() - before < 32 << 20


def test_threads_share_the_pool_without_sharing_memory() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for i in range(200):
            array = buffers.empty((LARGE + 1000 * (i % 3),), FLOAT64)
            array[::512] = number
            if not (array[::512] == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_results_may_outlive_the_modules() -> None:
    body = """
    import sys
    import numpy
    from jitgrad.runtime import buffers
    buffers.pool.limit_bytes = 1 << 20
    sys.kept = [buffers.empty((1 << 16,), numpy.dtype("f8")) for _ in range(5)]
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(body)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_child_writes_into_its_own_copy() -> None:
    buffers.empty((LARGE,), FLOAT64)
    array = buffers.empty((LARGE,), FLOAT64)
    array[...] = 1.0
    child = os.fork()
    if child == 0:
        array[...] = 2.0
        del array
        buffers.empty((LARGE,), FLOAT64)[...] = 3.0
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (array == 1.0).all()
