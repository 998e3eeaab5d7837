"""jvp: values and directional derivatives in one program, compared with JAX and with differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import op_cases
import pytest

import jitgrad
from jitgrad import grad, interpret, ir, jit, jvp, vjp, vmap
from jitgrad.derivatives import Function
from jitgrad.forward import tangents
from jitgrad.ir import Graph, input_node
from jitgrad.runtime.execute import compile_graph
from jitgrad.runtime.kernels import counters
from jitgrad.transforms import Forward

jax.config.update("jax_enable_x64", True)

X = np.array([0.5, -1.5, 2.0, 4.0])
V = np.array([1.0, 0.25, -2.0, 3.0])
W = np.linspace(-0.5, 0.5, 12).reshape(4, 3)


class Layer(NamedTuple):
    weights: Any
    bias: Any


def network(xp: Any) -> Callable[..., Any]:
    def apply(layer: Layer, x: Any) -> Any:
        hidden = xp.tanh(x @ layer.weights + layer.bias)
        return {"out": xp.exp(-hidden) / (1 + hidden**2), "size": xp.sum(hidden)}

    return apply


def close(got: Any, expected: Any) -> None:
    ours, theirs = jax.tree.leaves(got), jax.tree.leaves(expected)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert np.shape(a) == np.shape(b)
        assert np.asarray(a).dtype == b.dtype
        np.testing.assert_allclose(a, b, 1e-12, 1e-12)


FUNCTIONS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "elementwise": lambda xp: lambda x: xp.sin(x) * xp.exp(-x * x),
    "a sum": lambda xp: lambda x: xp.sum(x**3),
    "several results": lambda xp: lambda x: (xp.cumsum(x), [xp.max(x), x[::-1]]),
    "slices": lambda xp: lambda x: xp.concatenate([x[1:] - x[:-1], x[:1] * 2]),
    "a product": lambda xp: lambda x: xp.outer(x, x) @ x,
    "a solution": lambda xp: lambda x: xp.linalg.solve(xp.outer(x, x) + 9 * xp.eye(4), x),
    "indices": lambda xp: lambda x: x[xp.array([3, 0, 0])] * x[:3],
    "a sort": lambda xp: lambda x: xp.sort(x) * xp.arange(4.0),
    "a constant": lambda xp: lambda x: xp.ones(3),
    "a choice": lambda xp: lambda x: xp.where(x > 0, xp.log(xp.abs(x)), x * x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_tangents_are_those_of_jax(name: str) -> None:
    close(
        jvp(FUNCTIONS[name](np), (X,), (V,)),
        jax.jit(lambda x, v: jax.jvp(FUNCTIONS[name](jax.numpy), (x,), (v,)))(X, V),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_containers_and_dtypes_are_kept(dtype: str) -> None:
    layer = Layer(W.astype(dtype), np.ones(3, dtype))
    direction = Layer(np.ones((4, 3), dtype), -np.ones(3, dtype))
    x, v = X.astype(dtype), V.astype(dtype)
    value, tangent = jvp(network(np), (layer, x), (direction, v))
    _, expected = jax.jvp(network(jax.numpy), (layer, x), (direction, v))
    assert set(tangent) == {"out", "size"}
    for key in value:
        assert tangent[key].dtype == value[key].dtype == dtype
        np.testing.assert_allclose(tangent[key], expected[key], 1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("none", [None, np.zeros((), jax.dtypes.float0)])
def test_integers_have_no_tangent(none: Any) -> None:
    value, tangent = jvp(lambda x, n: (x**n, n + 1), (X, np.asarray(3)), (V, none))
    np.testing.assert_allclose(tangent[0], 3 * X**2 * V, 1e-14)
    assert value[1] == 4
    assert tangent[1] is None


def test_numbers_are_primals_and_tangents() -> None:
    assert jvp(lambda x: x * x, (3.0,), (2.0,)) == (9.0, 12.0)
    assert jvp(lambda x: x * x, [3.0], [2]) == (9.0, 12.0)


def test_what_is_returned_beside_the_value_has_no_tangent() -> None:
    value, tangent, aux = jvp(lambda x: (np.sum(x), {"twice": 2 * x}), (X,), (V,), has_aux=True)
    assert (value, tangent) == (X.sum(), V.sum())
    np.testing.assert_array_equal(aux["twice"], 2 * X)


def test_value_and_tangent_are_one_kernel() -> None:
    def wave(x: Any) -> Any:
        return np.sin(x) * np.exp(x)

    assert len(Function(wave, Forward(False)).compiled(X, [V]).steps) == 1


def test_a_function_is_traced_once() -> None:
    runs: list[int] = []

    def cube(x: Any) -> Any:
        runs.append(1)
        return x**3

    jvp(cube, (X,), (V,))
    before = counters.compiled
    np.testing.assert_allclose(jvp(cube, (2 * X,), (V,))[1], 12 * X**2 * V)
    assert (len(runs), counters.compiled) == (1, before)


# Nesting ----------------------------------------------------------------------------------------------


def energy(xp: Any) -> Callable[[Any], Any]:
    return lambda x: xp.sum(xp.sin(x) * xp.cumsum(x**2)) + xp.prod(x)


NESTED: dict[str, Callable[[Any, Any], Callable[[Any], Any]]] = {
    "forward over reverse": lambda lib, xp: lambda x: lib.jvp(lib.grad(energy(xp)), (x,), (V,)),
    "reverse over forward": lambda lib, xp: lib.grad(lambda x: lib.jvp(energy(xp), (x,), (V,))[1]),
    "forward over forward": lambda lib, xp: (
        lambda x: lib.jvp(lambda y: lib.jvp(energy(xp), (y,), (V,))[1], (x,), (X,))
    ),
    "forward over a pullback": lambda lib, xp: (
        lambda x: lib.jvp(lambda y: lib.vjp(xp.cumprod, y)[1](V)[0], (x,), (V,))
    ),
    "a tangent that depends on the primal": lambda lib, xp: (
        lambda x: lib.jvp(lambda y: y * lib.jvp(lambda z: z * y, (y,), (y * y,))[1], (x,), (V,))
    ),
    "along each of several directions": lambda lib, xp: (
        lambda x: lib.vmap(lambda v: lib.jvp(energy(xp), (x,), (v,))[1])(xp.eye(4))
    ),
}


@pytest.mark.parametrize("name", NESTED)
def test_nested_derivatives_are_those_of_jax(name: str) -> None:
    ours, theirs = NESTED[name](jitgrad, np), jax.jit(NESTED[name](jax, jax.numpy))
    close(ours(X), theirs(X))
    close(jit(ours)(X), theirs(X))


def test_the_inner_tangent_is_constant_to_the_outer_derivative() -> None:
    """x * d(x * y)/dy = x * x, whose derivative is 2 x."""
    slope = jvp(lambda x: x * jvp(lambda y: x * y, (1.0,), (1.0,))[1], (3.0,), (1.0,))
    assert slope == (9.0, 6.0)


def test_forward_and_reverse_mode_agree_on_a_direction() -> None:
    _, tangent = jvp(energy(np), (X,), (V,))
    np.testing.assert_allclose(tangent, np.sum(grad(energy(np))(X) * V), 1e-13)
    out, pull = vjp(np.cumsum, X)
    np.testing.assert_allclose(np.sum(pull(V)[0] * X), np.sum(jvp(np.cumsum, (X,), (X,))[1] * V), 1e-13)
    assert out.shape == X.shape


# Every op ---------------------------------------------------------------------------------------------


def test_tangents_of_every_op_are_the_same_bits_compiled_and_interpreted() -> None:
    """Derivatives themselves are compared with differences in test_ops.py, in both modes."""
    inputs, outputs, names, arrays = [], [], [], []
    for case in (c for c in op_cases.cases("float64") if c.name.endswith("-0")):
        graph = case.graph()
        wrt = op_cases.float_inputs(graph)
        if not (case.name.startswith("op.") and case.op.jvp and wrt) or case.op.kind == "call":
            continue
        moves = [input_node(w.aval) for w in wrt]
        found = tangents(op_cases.float_outputs(graph), wrt, moves)
        inputs += [*graph.inputs, *moves]
        arrays += [*case.arrays, *op_cases.drawn_like(wrt, case.name)]
        outputs += found
        names += [case.name] * len(found)
    whole = Graph(tuple(inputs), tuple(outputs))
    results = compile_graph(whole, [None] * len(inputs))(arrays)
    for name, got, expected in zip(names, results, ir.interpret(whole, *arrays), strict=True):
        np.testing.assert_array_equal(got, expected, name)
    assert len(names) > 80


def test_the_interpreter_gives_the_bits_of_the_compiled_program() -> None:
    def function(x: Any, v: Any) -> Any:
        return jvp(energy(np), (x,), (v,))

    for ours, other in zip(jit(function)(X, V), interpret(function)(X, V), strict=True):
        np.testing.assert_array_equal(ours, other, strict=True)


# Errors -----------------------------------------------------------------------------------------------


def test_tangents_must_be_built_like_the_primals() -> None:
    with pytest.raises(ValueError, match=r"the tangents at test_jvp.py:\d+ must be built like the primals"):
        jvp(lambda x: x, (X,), (V, V))
    with pytest.raises(ValueError, match="expected a dict with keys 'a' at .0., got list"):
        jvp(lambda p: p["a"], ({"a": X},), ([V],))
    with pytest.raises(
        TypeError, match=r"the tangents of jvp at test_jvp.py:\d+ must be a tuple, got ndarray"
    ):
        jvp(lambda x: x, (X,), V)


def test_a_tangent_must_have_the_shape_and_dtype_of_its_primal() -> None:
    with pytest.raises(ValueError, match=r"the tangent \[0\] at .* must have the primal's shape \(4,\), got"):
        jvp(lambda x: x, (X,), (V[:2],))
    with pytest.raises(TypeError, match="must have the primal's dtype float64, got float32"):
        jvp(lambda x: x, (X,), (V.astype("f4"),))
    with pytest.raises(TypeError, match="must be an array, got NoneType"):
        jvp(lambda x: x, (X,), (None,))


def test_an_integer_cannot_have_a_tangent() -> None:
    with pytest.raises(TypeError, match=r"the tangent \[1\] at .* must be None: the primal is int64"):
        jvp(lambda x, n: x**n, (X, np.arange(4)), (V, np.ones(4)))
    with pytest.raises(TypeError, match=r"the tangent \[0\] at .* must be None: the primal is int"):
        jvp(lambda n: n * 1.5, (2,), (1.0,))


def test_an_argument_that_is_no_array_is_named() -> None:
    with pytest.raises(TypeError, match=r"argument 1 \(mode\) at test_jvp.py:\d+ is of type str"):
        jvp(lambda x, mode: x, (X, "fast"), (V, None))


def test_a_batch_of_directions_is_a_matrix_product() -> None:
    product = vmap(lambda v: jvp(lambda x: x @ W, (X,), (v,))[1])
    np.testing.assert_allclose(product(np.eye(4)), W, 1e-15)
