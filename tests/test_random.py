"""Generators of random numbers across processes, copies and threads of state; moments of what they draw."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

COUNT = 40_000
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")

# A call, the mean and the variance of what it draws, the limits of it.
DRAWS: list[tuple[Callable[[Any], Any], float, float, float, float]] = [
    (lambda g: jitgrad.rand(COUNT, generator=g), 1 / 2, 1 / 12, 0, np.nextafter(1, 0)),
    (lambda g: jitgrad.rand(COUNT, generator=g, dtype=jitgrad.float64), 1 / 2, 1 / 12, 0, 1),
    (lambda g: jitgrad.randn(COUNT, generator=g), 0, 1, -7, 7),
    (lambda g: jitgrad.randint(-2, 3, (COUNT,), generator=g), 0, 2, -2, 2),
    (lambda g: jitgrad.bernoulli(jitgrad.full((COUNT,), 0.3), generator=g), 0.3, 0.21, 0, 1),
    (lambda g: jitgrad.normal(2.0, 3.0, (COUNT,), generator=g), 2, 9, -19, 23),
    (lambda g: jitgrad.poisson(jitgrad.full((COUNT,), 4.0), generator=g), 4, 4, 0, 40),
    (lambda g: jitgrad.zeros(COUNT).uniform_(-1, 3, generator=g), 1, 4 / 3, -1, 3),
    (lambda g: jitgrad.zeros(COUNT).exponential_(2.0, generator=g), 0.5, 0.25, 0, 12),
    (lambda g: jitgrad.zeros(COUNT).geometric_(0.25, generator=g), 4, 12, 1, 90),
    (lambda g: jitgrad.multinomial(jitgrad.tensor([1.0, 0, 1]), COUNT, True, generator=g), 1, 1, 0, 2),
]
each_draw = pytest.mark.parametrize(("draw", "mean", "variance", "low", "high"), DRAWS)


@each_draw
def test_moments_and_limits(draw: Any, mean: float, variance: float, low: float, high: float) -> None:
    drawn = draw(jitgrad.Generator().manual_seed(17)).double().numpy()
    assert drawn.shape == (COUNT,)
    assert abs(drawn.mean() - mean) < 6 * (variance / COUNT) ** 0.5
    assert abs(drawn.var() / variance - 1) < 0.15
    assert low <= drawn.min() and drawn.max() <= high


@each_draw
def test_a_seed_repeats_draws(draw: Any, mean: float, variance: float, low: float, high: float) -> None:
    first, again, other = (draw(jitgrad.Generator().manual_seed(seed)).tolist() for seed in (8, 8, 9))
    assert first == again != other


def test_a_permutation_has_each_number_once() -> None:
    drawn = jitgrad.randperm(100)
    assert sorted(drawn.tolist()) == list(range(100)) and drawn.tolist() != list(range(100))


def test_multinomial_without_replacement_takes_each_once() -> None:
    drawn = jitgrad.multinomial(jitgrad.ones(50, 8), 8)
    assert all(sorted(row) == list(range(8)) for row in drawn.tolist())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
def test_a_copy_of_a_generator_goes_on_alike(copied: Any) -> None:
    generator = jitgrad.Generator().manual_seed(1)
    jitgrad.rand(3, generator=generator)
    twin = copied(generator)
    assert jitgrad.rand(3, generator=twin).tolist() == jitgrad.rand(3, generator=generator).tolist()
    assert twin.initial_seed() == 1


def test_a_state_is_kept_between_halves_of_a_word() -> None:
    """Numbers of 32 bits are halves of one of 64: the half that is left belongs to the state."""
    generator = jitgrad.Generator().manual_seed(3)
    jitgrad.rand(1, generator=generator)
    state = generator.get_state()
    first = jitgrad.rand(3, generator=generator).tolist()
    generator.set_state(state)
    assert jitgrad.rand(3, generator=generator).tolist() == first


def test_processes_that_are_not_seeded_draw_different_numbers() -> None:
    program = "import jitgrad; print(jitgrad.rand(3).tolist())"
    runs = [subprocess.check_output([sys.executable, "-c", program]) for _ in range(2)]
    assert runs[0] != runs[1]


@needs_fork
def test_a_forked_process_continues_though_a_lost_thread_was_drawing() -> None:
    program = (
        "import jitgrad, os, signal, threading\n"
        "jitgrad.manual_seed(4); jitgrad.rand(1)\n"
        "lock = jitgrad.default_generator.draw.bit_generator.lock\n"
        "taken, done = threading.Event(), threading.Event()\n"
        "def draw():\n"
        "    with lock: taken.set(); done.wait()\n"
        "thread = threading.Thread(target=draw); thread.start(); taken.wait()\n"
        "if not os.fork():\n"
        "    signal.alarm(20)\n"
        "    print(jitgrad.rand(2).tolist(), flush=True)\n"
        "    os._exit(0)\n"
        "os.wait(); done.set(); thread.join()\n"
        "print(jitgrad.rand(2).tolist())\n"
    )
    child, parent = subprocess.check_output([sys.executable, "-c", program], text=True).splitlines()
    assert child == parent
