"""`fastmath=True`: arithmetic may be contracted and reassociated, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compare import assert_same_bits

import jitgrad
import jitgrad.numpy as jnp
from jitgrad.targets import cpu

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def polynomial(x: Any) -> Any:
    y = x
    for _ in range(9):
        y = y * x + 0.3
    return np.sum(y)


def spread(x: Any) -> Any:
    return np.sum((x - np.mean(x)) ** 2)


def mixture(x: Any) -> Any:
    return np.sum(np.log(np.exp(-0.5 * (x - 0.3) ** 2) + 0.2 * np.exp(-0.1 * (x + 1.0) ** 2)))


def points(size: int, dtype: str) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).uniform(-1, 1, size).astype(dtype)


@DTYPES
@pytest.mark.parametrize("function", [polynomial, spread, mixture])
@pytest.mark.parametrize("size", [1, 7, 1000, 100_001])
def test_results_agree_to_rounding(function: Callable[[Any], Any], dtype: str, size: int) -> None:
    x = points(size, dtype)
    value, gradient = jitgrad.value_and_grad(function, fastmath=True)(x)
    exact_value, exact_gradient = jitgrad.value_and_grad(function)(x)
    tolerance = 200 * np.finfo(dtype).eps
    assert value.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(value, exact_value, tolerance, tolerance)
    np.testing.assert_allclose(gradient, exact_gradient, tolerance, tolerance)


@DTYPES
def test_a_product_and_a_sum_round_once(dtype: str) -> None:
    """x * x - 1 for x = 1 + eps: rounding the product first loses the square of eps."""
    eps = np.finfo(dtype).eps
    x, y = np.full(64, 1 + eps, dtype), np.ones(64, dtype)
    function = lambda x, y: x * x - y
    exact = 2 * float(eps) + float(eps) ** 2
    assert jitgrad.jit(function, fastmath=True)(x, y)[0] == np.asarray(exact, dtype)
    assert jitgrad.jit(function)(x, y)[0] == 2 * eps


def test_the_exact_mode_keeps_its_bits_beside_the_fast_one() -> None:
    """Both modes of one function are compiled apart, whichever comes first."""
    x = points(5000, "float32")
    fast = jitgrad.grad(polynomial, fastmath=True)
    exact = jitgrad.grad(polynomial)
    fast(x)
    assert_same_bits([exact(x)], [jitgrad.interpret(exact)(x)], "exact after fast")
    assert fast(x).tobytes() != exact(x).tobytes()


@DTYPES
@pytest.mark.parametrize("name", ["exp", "log1p", "tanh", "sin", "erf"])
def test_elementary_functions_stay_as_exact_as_they_are(name: str, dtype: str) -> None:
    x = points(1003, dtype)
    same = lambda x: getattr(jnp, name)(x)
    assert jitgrad.jit(same, fastmath=True)(x).tobytes() == jitgrad.jit(same)(x).tobytes()


@DTYPES
def test_nan_and_infinity_stay_what_they_are(dtype: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0], dtype)

    def function(x: Any) -> Any:
        return x - x, x * 0 + 1, np.where(np.isnan(x), -1.0, x), np.maximum(x, 0), 1 / x

    got, expected = (jitgrad.jit(function, fastmath=mode)(x) for mode in (True, False))
    assert_same_bits(got, expected, "special values")


def test_the_outermost_transform_decides() -> None:
    x = points(5000, "float32")
    fast = jitgrad.grad(polynomial, fastmath=True)
    exact_outside = jitgrad.jit(lambda x: fast(x))
    assert exact_outside(x).tobytes() == jitgrad.grad(polynomial)(x).tobytes()
    fast_outside = jitgrad.jit(lambda x: jitgrad.grad(polynomial)(x), fastmath=True)
    assert fast_outside(x).tobytes() == fast(x).tobytes()


def test_the_decorator_takes_the_option() -> None:
    @jitgrad.value_and_grad(fastmath=True)
    def function(x: Any) -> Any:
        return np.sum(x * x + x)

    @jitgrad.jit(fastmath=True)
    def double(x: Any) -> Any:
        return x * 2

    assert function(np.ones(3))[0] == 6.0 and double(np.ones(3))[0] == 2.0
    steps = function.compiled(np.ones(3)).kernels
    assert all(step.source.fastmath for step in steps)
    text = cpu.compile_kernel(steps[0].source, "test", "<test>")
    assert " contract " in text and " nnan " not in text and " ninf " not in text
