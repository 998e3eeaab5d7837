"""Short last axes: points with coordinates, and values that are put side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compare import assert_same_bits

import jitgrad
from jitgrad.program import Kernel

RNG = np.random.default_rng(0)
COUNTS = (1, 2, 31, 32, 33, 1023, 1025, 3000)


def kernels(function: Any, *arguments: Any) -> list[Kernel]:
    return [step for step in function.compiled(*arguments).program.steps if isinstance(step, Kernel)]


def results(function: Any, *arguments: Any) -> list[Any]:
    found = function(*arguments)
    return list(found) if isinstance(found, tuple) else [found]


def lengths(x: Any) -> Any:
    return np.sum(np.tanh(np.sum(x * x, axis=-1)))


def directions(x: Any) -> Any:
    return np.sum((x / np.sqrt(np.sum(x * x, axis=-1, keepdims=True)))[..., 0])


def softmax(x: Any) -> Any:
    powers = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return np.sum((powers / np.sum(powers, axis=-1, keepdims=True)) ** 2)


def angles(x: Any) -> Any:
    return np.sum(np.arctan2(x[..., 1], x[..., 0]) * np.sqrt(np.sum(x**2, -1)))


@pytest.mark.parametrize("coordinates", [2, 3, 4])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("function", [lengths, directions, softmax, angles])
def test_gradients_of_points_are_those_of_the_interpreter(
    function: Callable[[Any], Any], count: int, coordinates: int
) -> None:
    compiled, x = jitgrad.value_and_grad(function), RNG.standard_normal((count, coordinates))
    assert_same_bits(compiled(x), jitgrad.interpret(compiled)(x), "points")


def test_what_the_coordinates_of_a_point_share_is_computed_once() -> None:
    compiled, x = jitgrad.value_and_grad(lengths), RNG.standard_normal((5000, 3))
    (kernel,) = kernels(compiled, x)
    assert kernel.domain == (5000,)
    assert [node.op.name for node in kernel.body].count("tanh") == 1


def stacked(x: Any, y: Any) -> Any:
    return np.stack([x * y, np.sin(x), y], axis=-1)


def stacked_sums(x: Any, y: Any) -> Any:
    return np.stack([np.sum(x, -1), np.max(x * y, -1)], axis=-1), np.sum(x * y)


def stacked_and_used(x: Any, y: Any) -> Any:
    both = np.stack([np.exp(x), y], axis=-1)
    return both, both[..., 0] * 2, np.sum(both**2, axis=-1), np.sum(both)


def one_beside_many(x: Any, y: Any) -> Any:
    return np.concatenate([x[..., None], np.stack([x, y], axis=-1)], axis=-1)


@pytest.mark.parametrize("shape", [(1,), (33,), (1025,), (3, 40), (40, 3), (5, 7, 33)], ids=str)
@pytest.mark.parametrize("function", [stacked, stacked_sums, stacked_and_used, one_beside_many])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_values_side_by_side_are_those_of_the_interpreter(
    function: Callable[[Any, Any], Any], shape: tuple[int, ...], dtype: str
) -> None:
    x, y = (RNG.standard_normal((2, *shape)) * 4).astype(dtype)
    compiled = jitgrad.jit(function)
    assert_same_bits(results(compiled, x, y), results(jitgrad.interpret(compiled), x, y), "side by side")


def test_values_side_by_side_are_written_by_the_kernel_that_computes_them() -> None:
    (kernel,) = kernels(jitgrad.jit(stacked), *RNG.standard_normal((2, 5000)))
    assert kernel.domain == (5000,) and not any(node.op.name == "where" for node in kernel.body)
    function, x = jitgrad.jit(stacked_sums), RNG.standard_normal((2, 300, 400))
    assert {kernel.domain for kernel in kernels(function, *x)} == {(300, 400)}


def test_reductions_of_rows_are_not_repeated_for_what_reads_them_across() -> None:
    def attention(query: Any, keys: Any) -> Any:
        scores = np.sum(query[:, None, :] * keys, axis=-1)
        powers = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
        return np.sum((powers / np.sum(powers, axis=-1, keepdims=True)) ** 2)

    compiled = jitgrad.value_and_grad(attention, (0, 1))
    query, keys = RNG.standard_normal((20, 16)), RNG.standard_normal((20, 16, 16))
    for kernel in kernels(compiled, query, keys):
        reductions = [node for node in kernel.body if node.op.kind == "reduce"]
        assert len(kernel.domain) == 2 or len(reductions) <= 1
    (value, gradients), (expected, others) = (f(query, keys) for f in (compiled, jitgrad.interpret(compiled)))
    assert_same_bits([value, *gradients], [expected, *others], "attention")
