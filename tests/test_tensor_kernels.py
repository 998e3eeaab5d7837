"""Large tensors: the compiled kernels that take over after a few calls change no bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.eager.plan import LARGE, PATIENCE
from jitgrad.runtime.kernels import counters

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sum of products": lambda x, y: (x * y).sum(),
    "chain": lambda x, y: ((x * 0.5 - y).sin() * x).sum(),
    "power": lambda x, y: (x**2 + (y.abs() + 1) ** 1.5).mean(),
    "rows": lambda x, y: (x.reshape(-1, 100).softmax(1) * y.reshape(-1, 100)).sum(),
    "columns": lambda x, y: (x.reshape(-1, 100).mean(0) * y[:100]).sum(),
    "spread": lambda x, y: x.reshape(-1, 100).var(1).sum() + y.std(),
    "transposed": lambda x, y: (x.reshape(-1, 100).t().exp() * y.reshape(100, -1)).sum(),
    "broadcast": lambda x, y: (x.reshape(-1, 100) * y[:100]).tanh().sum(),
    "ties": lambda x, y: jitgrad.maximum(x, y).sum() + x.max(),
    "division": lambda x, y: (x / (y * y + 1)).log1p().sum(),
    "loss": lambda x, y: jitgrad.nn.functional.gelu(x).sum() + jitgrad.nn.functional.mse_loss(x, y),
}


def value_and_gradients(function: Callable[..., Any], arrays: list[Any]) -> list[Any]:
    tensors = [jitgrad.from_numpy(a).requires_grad_() for a in arrays]
    value = function(*tensors)
    value.backward()
    return [value.detach().numpy(), *(t.grad.numpy() for t in tensors)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_kernels_give_the_bits_of_numpy(name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(-0.9, 2, LARGE + 64).astype(dtype) for _ in range(2)]
    arrays = [a[: a.size // 100 * 100].copy() for a in arrays]
    expected = value_and_gradients(FUNCTIONS[name], arrays)
    for _ in range(PATIENCE):
        value_and_gradients(FUNCTIONS[name], arrays)
    for result, wanted in zip(value_and_gradients(FUNCTIONS[name], arrays), expected, strict=True):
        np.testing.assert_array_equal(result, wanted)


def kernels_asked_for() -> int:
    return counters.compiled + counters.from_disk + counters.from_memory


def test_a_plan_is_compiled_only_when_it_has_run_often() -> None:
    x = jitgrad.from_numpy(np.ones(LARGE, np.float32))
    before = kernels_asked_for()
    for _ in range(PATIENCE):
        jitgrad.lerp(x, x, 0.25)
    assert kernels_asked_for() == before
    jitgrad.lerp(x, x, 0.25)
    assert kernels_asked_for() > before
