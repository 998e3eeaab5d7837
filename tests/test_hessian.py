"""Jacobians and Hessians: built and shaped as in JAX, each one program, inside other transforms too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import jitgrad
from jitgrad import NotDifferentiable, grad, hessian, interpret, jacfwd, jacobian, jacrev, jit, jvp, vmap

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)
X = RNG.standard_normal(4)
M = RNG.standard_normal((2, 3))
DATA = RNG.standard_normal((30, 4))
LABELS = np.sign(RNG.standard_normal(30))


def close(got: Any, expected: Any) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert np.shape(a) == np.shape(b)
        assert np.asarray(a).dtype == b.dtype
        np.testing.assert_allclose(a, b, 1e-11, 1e-11)


Made = Callable[[Any], Callable[..., Any]]

FUNCTIONS: dict[str, tuple[Made, tuple[Any, ...]]] = {
    "elementwise": (lambda xp: lambda x: xp.sin(x) * x, (X,)),
    "neighbours": (lambda xp: lambda x: x[1:] * x[:-1] ** 2, (X,)),
    "a number": (lambda xp: lambda x: xp.sum(x**3), (X,)),
    "of a number": (lambda xp: lambda s: xp.stack([s, s**2, xp.exp(s)]), (1.5,)),
    "a number of a number": (lambda xp: lambda s: s**3, (1.5,)),
    "a matrix": (lambda xp: lambda m: xp.tanh(m @ m.T), (M,)),
    "a matrix of a vector": (lambda xp: lambda x: xp.outer(x, xp.cumsum(x)), (X,)),
    "a solution": (lambda xp: lambda x: xp.linalg.solve(xp.outer(x, x) + 9 * xp.eye(4), x), (X,)),
    "a sum over rows": (lambda xp: lambda m: xp.sum(m * m, 1), (M,)),
    "an order": (lambda xp: lambda x: xp.sort(x) * xp.arange(4.0), (X,)),
    "a constant": (lambda xp: lambda x: xp.ones((2, 3)), (X,)),
    "several results": (lambda xp: lambda x: {"a": x[:2] * x[2:], "b": [xp.max(x), x]}, (X,)),
    "a container": (lambda xp: lambda p: p["w"] @ p["b"] + p["s"], ({"b": X[:3], "s": 2.0, "w": M},)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("mode", ["jacrev", "jacfwd"])
def test_jacobians_are_those_of_jax(mode: str, name: str) -> None:
    made, args = FUNCTIONS[name]
    close(getattr(jitgrad, mode)(made(np))(*args), jax.jit(getattr(jax, mode)(made(jax.numpy)))(*args))


@pytest.mark.parametrize("argnums", [0, 1, -1, (0,), (1, 0)])
@pytest.mark.parametrize("mode", ["jacrev", "jacfwd", "hessian"])
def test_argument_numbers_choose_as_in_jax(mode: str, argnums: Any) -> None:
    def made(xp: Any) -> Callable[..., Any]:
        return lambda x, m, k: xp.sin(x[:3]) @ m.T + k * x[0] ** 2

    args = (X, M, 3.0)
    ours = getattr(jitgrad, mode)(made(np), argnums)(*args)
    close(ours, jax.jit(getattr(jax, mode)(made(jax.numpy), argnums))(*args))


def rosenbrock(xp: Any) -> Callable[[Any], Any]:
    return lambda x: xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def logistic(xp: Any) -> Callable[[Any], Any]:
    return lambda w: xp.sum(xp.log1p(xp.exp(-LABELS * (DATA @ w)))) + 0.5 * xp.sum(w * w)


def mixture(xp: Any) -> Callable[[Any], Any]:
    def loss(means: Any) -> Any:
        gaps = DATA[:, None, :2] - means.reshape(2, 2)[None]
        logs = -0.5 * xp.sum(gaps * gaps, -1)
        top = xp.max(logs, 1, keepdims=True)
        return -xp.sum(xp.log(xp.sum(xp.exp(logs - top), 1)) + top[:, 0])

    return loss


SECOND: dict[str, tuple[Made, tuple[Any, ...]]] = {
    "rosenbrock": (rosenbrock, (X,)),
    "logistic regression": (logistic, (X,)),
    "a gaussian mixture": (mixture, (X,)),
    "a matrix": (lambda xp: lambda m: xp.sum(xp.exp(m @ m.T)), (M,)),
    "a determinant": (lambda xp: lambda x: xp.linalg.det(xp.outer(x, x) + xp.diag(x)), (X,)),
    "a container": (
        lambda xp: lambda p: xp.sum(xp.tanh(p["w"] @ p["b"])) * p["s"],
        ({"b": X[:3], "s": 2.0, "w": M},),
    ),
    "several results": (lambda xp: lambda x: (x[:2] * x[2:] ** 2, xp.prod(x)), (X,)),
    "a number": (lambda xp: lambda s: xp.sin(s) ** 2, (0.5,)),
    "a linear function": (lambda xp: lambda x: xp.sum(x) * 3, (X,)),
}


@pytest.mark.parametrize("name", SECOND)
def test_hessians_are_those_of_jax(name: str) -> None:
    made, args = SECOND[name]
    close(hessian(made(np))(*args), jax.jit(jax.hessian(made(jax.numpy)))(*args))


@pytest.mark.parametrize("name", ["rosenbrock", "logistic regression", "a gaussian mixture"])
def test_all_ways_to_a_hessian_agree(name: str) -> None:
    function = SECOND[name][0](np)
    expected = hessian(function)(X)
    np.testing.assert_allclose(expected, expected.T, 1e-12)
    for other in (jacrev(grad(function)), jacrev(jacfwd(function)), jacfwd(jacfwd(function))):
        np.testing.assert_allclose(other(X), expected, 1e-10, 1e-10)
    columns = vmap(lambda v: jvp(grad(function), (X,), (v,))[1])(np.eye(4))
    np.testing.assert_allclose(columns, expected, 1e-12)


@pytest.mark.parametrize("name", SECOND)
def test_the_interpreter_gives_the_bits_of_the_compiled_program(name: str) -> None:
    made, args = SECOND[name]
    both = [jax.tree.leaves(f(*args)) for f in (hessian(made(np)), interpret(hessian(made(np))))]
    for compiled, interpreted in zip(*both, strict=True):
        np.testing.assert_array_equal(compiled, interpreted, strict=True)


def test_third_derivatives_are_those_of_jax() -> None:
    def cubic(xp: Any) -> Callable[[Any], Any]:
        return lambda x: xp.sum(x**3) + xp.prod(x)

    close(jacfwd(hessian(cubic(np)))(X), jax.jit(jax.jacfwd(jax.hessian(cubic(jax.numpy))))(X))


def test_float32_stays_float32() -> None:
    result = hessian(rosenbrock(np))(X.astype(np.float32))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, hessian(rosenbrock(np))(X), 1e-4)


def test_inside_other_transforms() -> None:
    rows = RNG.standard_normal((3, 4))
    close(vmap(hessian(rosenbrock(np)))(rows), jax.jit(jax.vmap(jax.hessian(rosenbrock(jax.numpy))))(rows))

    def newton(lib: Any, xp: Any) -> Callable[[Any], Any]:
        return lambda x: x - xp.linalg.solve(lib.hessian(logistic(xp))(x), lib.grad(logistic(xp))(x))

    close(jit(newton(jitgrad, np))(X), jax.jit(newton(jax, jax.numpy))(X))

    def trace(lib: Any, xp: Any) -> Callable[[Any], Any]:
        return lib.grad(lambda x: xp.sum(xp.diagonal(lib.hessian(mixture(xp))(x))))

    close(trace(jitgrad, np)(X), jax.jit(trace(jax, jax.numpy))(X))


def test_what_is_returned_beside_the_value_has_no_derivative() -> None:
    def function(x: Any) -> Any:
        return x[:2] * x[2:], {"twice": 2 * x}

    for mode in (jacrev, jacfwd, hessian):
        _, aux = mode(function, has_aux=True)(X)
        np.testing.assert_array_equal(aux["twice"], 2 * X)
    np.testing.assert_allclose(jacrev(function, has_aux=True)(X)[0], jacfwd(lambda x: function(x)[0])(X))


def test_as_a_decorator_with_static_arguments() -> None:
    @hessian(static_argnames="power")
    def bent(x: Any, power: int) -> Any:
        return np.sum(x**power) if power > 1 else np.sum(x)

    np.testing.assert_allclose(bent(X, 3), np.diag(6 * X), 1e-14)
    np.testing.assert_array_equal(bent(X, power=1), np.zeros((4, 4)))


def test_an_empty_argument_or_result_has_an_empty_jacobian() -> None:
    assert jacrev(lambda x: x[:0])(X).shape == (0, 4)
    assert jacfwd(lambda x: np.stack([np.sum(x), 1.0]))(X[:0]).shape == (2, 0)


@pytest.mark.parametrize("name", ["rosenbrock", "logistic regression"])
def test_the_number_of_steps_does_not_depend_on_the_number_of_directions(name: str) -> None:
    def steps(n: int) -> int:
        loss: Any = rosenbrock(np)
        if name == "logistic regression":
            rows = np.ones((40, n))
            loss = lambda w: np.sum(np.log1p(np.exp(rows @ w)))
        return len(hessian(loss).compiled(np.ones(n)).steps)

    assert steps(20) == steps(60) <= 6


def test_the_jacobian_of_a_product_is_the_matrix_without_a_product() -> None:
    weights = np.array([[1.0, np.inf, 2.0], [np.nan, 3.0, -0.0]])
    for mode in (jacfwd, jacrev):
        linear = mode(lambda x: weights @ x)
        assert not any("matmul" in str(node) for node in linear.graph(X[:3]).nodes())
        np.testing.assert_array_equal(linear(X[:3]), weights)


def test_the_hessian_of_logistic_regression_takes_two_products() -> None:
    """Data times weights, and its transpose times the scaled data."""
    names = [node.op.name for node in hessian(logistic(np)).graph(X).nodes()]
    assert names.count("matmul") == 2


def test_jacobian_is_that_of_reverse_mode() -> None:
    assert jacobian is jacrev


def test_results_must_be_floating() -> None:
    for mode in (jacrev, jacfwd):
        with pytest.raises(
            TypeError, match=r"the Jacobian of <lambda> at test_hessian.py:\d+ .*int64 at \['n'\]"
        ):
            mode(lambda x: {"n": np.argmax(x)})(X)


def test_arguments_must_be_floating() -> None:
    for mode in (jacrev, jacfwd, hessian):
        with pytest.raises(
            NotDifferentiable, match=r"argument 0 \(n\) at test_hessian.py:\d+ has dtype int64"
        ):
            mode(lambda n: n * 2.0)(np.arange(3))
        with pytest.raises(ValueError, match="argnums=1 at .* argnums go from -1 to 0"):
            mode(lambda x: x, argnums=1)(X)
