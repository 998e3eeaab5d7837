"""Values that are read at several positions: neighbours, differences, steps of a simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compare import assert_same_bits

import jitgrad
from jitgrad.program import Kernel

RNG = np.random.default_rng(0)
AROUND_BLOCKS = (2, 4, 31, 32, 33, 1023, 1024, 1025, 1026, 2047, 2048, 2049, 2050, 30_000)


def kernels(function: Any, *arguments: Any) -> list[Kernel]:
    return [step for step in function.compiled(*arguments).program.steps if isinstance(step, Kernel)]


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def second_differences(x: Any) -> Any:
    return np.sum((x[2:] - 2 * x[1:-1] + x[:-2]) ** 2) + np.sum(np.exp(-x))


def extremes(x: Any) -> Any:
    return np.max(x[1:] * x[:-1]) * np.min(x[:-1]) + np.prod(1 + x[1:] / 64)


def conditions(x: Any) -> Any:
    return np.where(np.all(x[1:] > x[:-1] - 9), 2.0, 3.0) * np.sum(x) + np.any(x[1:] > 2)


@pytest.mark.parametrize("size", AROUND_BLOCKS)
@pytest.mark.parametrize("function", [rosenbrock, second_differences, extremes, conditions])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_totals_of_slices_are_those_of_the_interpreter(
    function: Callable[[Any], Any], size: int, dtype: str
) -> None:
    compiled, x = jitgrad.value_and_grad(function), RNG.standard_normal(size).astype(dtype)
    for case in (x, np.where(np.arange(size) == size - 1, np.inf, x), np.zeros(size, dtype) * -1):
        with np.errstate(all="ignore"):
            case = case.astype(dtype)
            assert_same_bits(compiled(case), jitgrad.interpret(compiled)(case), "totals of slices")


def differences(x: Any) -> Any:
    return np.mean((x[1:] - x[:-1]) ** 2) + np.sum(np.exp(-x))


@pytest.mark.parametrize("function", [rosenbrock, differences])
def test_a_total_of_differences_and_its_gradient_are_one_kernel(function: Callable[[Any], Any]) -> None:
    compiled, x = jitgrad.value_and_grad(function), RNG.standard_normal(5000)
    (kernel,) = kernels(compiled, x)
    assert kernel.domain == (5000,)


def test_totals_of_unlike_sizes_have_loops_of_their_own() -> None:
    compiled, x = jitgrad.value_and_grad(lambda x: np.sum(x[::2] * x[1::2])), RNG.standard_normal(5000)
    assert {kernel.domain for kernel in kernels(compiled, x)} == {(2500,), (5000,)}


def waves(u: Any, v: Any) -> Any:
    for _ in range(6):
        neighbours = sum(np.roll(u, shift, axis) for shift in (1, -1) for axis in (0, 1))
        v = v + 0.1 * (neighbours - 4 * u)
        u = u + 0.1 * v
    return np.sum(u * u)


def test_steps_that_read_neighbours_are_not_computed_again_at_each_of_them() -> None:
    """A step has 4 neighbours and itself, one kernel computes at most two steps."""
    compiled = jitgrad.value_and_grad(waves, (0, 1))
    arguments = RNG.standard_normal((2, 40, 50))
    assert max(len(kernel.body) for kernel in kernels(compiled, *arguments)) < 120
    assert_same_bits(
        [compiled(*arguments)[0], *compiled(*arguments)[1]],
        [jitgrad.interpret(compiled)(*arguments)[0], *jitgrad.interpret(compiled)(*arguments)[1]],
        "waves",
    )
