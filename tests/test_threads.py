"""Compiled functions on many threads, in forked and spawned processes, and at the end of a process."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import value_and_grad

RNG = np.random.default_rng(0)
LARGE = RNG.standard_normal(300_000)
ROWS = RNG.standard_normal((700, 300))
SMALL = RNG.standard_normal(50)
WEIGHTS = RNG.standard_normal((300, 20))


@value_and_grad
def chain(x: Any) -> Any:
    return np.sum(np.exp(-x * x) * np.sin(x))


@value_and_grad
def softmax(x: Any) -> Any:
    powers = np.exp(x - np.max(x, axis=1, keepdims=True))
    return np.sum((powers / np.sum(powers, axis=1, keepdims=True)) ** 2)


@value_and_grad
def columns(x: Any) -> Any:
    return np.sum(np.tanh(np.mean(x, axis=0)))


@value_and_grad
def product(w: Any) -> Any:
    return np.sum(np.tanh(ROWS @ w))


@value_and_grad
def short(x: Any) -> Any:
    return np.sum(x**3)


CASES = ((chain, LARGE), (softmax, ROWS), (columns, ROWS), (product, WEIGHTS), (short, SMALL))


def bits(result: Any) -> bytes:
    value, gradient = result
    return bytes(value.tobytes() + gradient.tobytes())


@pytest.fixture
def threads() -> Iterator[None]:
    before = jitgrad.get_num_threads()
    yield
    jitgrad.set_num_threads(before)


def test_the_number_of_threads_does_not_change_a_bit(threads: None) -> None:
    results = []
    for count in (1, 2, 4):
        jitgrad.set_num_threads(count)
        assert jitgrad.get_num_threads() == count
        results.append([bits(function(x)) for function, x in CASES])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_a_number_of_threads_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="between 1 and"):
        jitgrad.set_num_threads(count)


def test_eight_threads_get_what_one_gets(threads: None) -> None:
    jitgrad.set_num_threads(4)
    small = [(short, SMALL * k) for k in range(20)]
    cases = [*CASES, *small]
    expected = [bits(function(x)) for function, x in cases]
    started = threading.Barrier(8)

    def work(seed: int) -> int:
        rng = np.random.default_rng(seed)
        started.wait()
        wrong = 0
        for _ in range(1250):
            large = rng.random() < 0.1
            i = int(rng.integers(0, 5) if large else rng.integers(4, len(cases)))
            function, x = cases[i]
            wrong += bits(function(x)) != expected[i]
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [0] * 8


def _in_child(expected: bytes) -> bool:
    return all(bits(chain(LARGE)) == expected for _ in range(5))


@pytest.mark.parametrize(
    "method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()]
)
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_child_processes_compute_while_the_parent_does(method: str) -> None:
    expected = bits(chain(LARGE))
    stop = threading.Event()
    wrong: list[int] = []

    def busy() -> None:
        while not stop.is_set():
            if bits(chain(LARGE)) != expected:
                wrong.append(1)

    worker = threading.Thread(target=busy)
    worker.start()
    try:
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(_in_child, [expected] * 4) == [True] * 4
    finally:
        stop.set()
        worker.join()
    assert not wrong
    assert bits(chain(LARGE)) == expected


EXIT = """
import threading, time
import numpy as np, jitgrad
f = jitgrad.value_and_grad(lambda x: np.sum(np.exp(-x * x)))
x = np.ones(2_000_000)
def work():
    while True:
        f(x)
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
f(x)
time.sleep(0.2)
print("done")
"""


def test_a_process_ends_cleanly_while_kernels_run() -> None:
    for _ in range(3):
        command = [sys.executable, "-W", "error", "-c", EXIT]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
