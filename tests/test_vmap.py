"""vmap: every op over a batch gives what a loop over the examples gives; axes and nesting as in JAX."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import op_cases
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_graphs import DTYPES, EVERYTHING, RandomGraph

import jitgrad
from jitgrad import NotDifferentiable, TraceError, grad, interpret, ir, jit, ops, value_and_grad, vmap
from jitgrad.batch import batched, repeated
from jitgrad.ir import Aval, Graph, input_node

jax.config.update("jax_enable_x64", True)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 4))
W = RNG.standard_normal((4, 3))
Array = np.ndarray[Any, Any]
quick = settings(max_examples=60, derandomize=True, deadline=None, database=None)

# Every op ---------------------------------------------------------------------------------------------

EXAMPLES = 3
WITHOUT_RULE = {"histc", "op.histc"}
WITH_WINDOWS = {"op.peaks", "window_maxima"}
# With a shared operand many products with vectors are one of matrices, which has another order of summation.
SUMMED_IN_ANOTHER_ORDER = {"matmul", "dot", "tensordot", "einsum", "convolve", "lstsq"}

CASES: dict[str, list[op_cases.Case]] = defaultdict(list)
for _case in op_cases.cases("float64", "int64", "bool"):
    CASES[_case.name.rsplit("-", 2)[0]].append(_case)


def example(x: Array, i: int) -> Array:
    """The i-th example like x: floats scaled, so that their order stays; others turned round."""
    if x.dtype.kind == "f":
        return np.asarray(x * (1 + 0.125 * i))
    return np.flip(x) if i == 1 else x


def assert_batch_is_loop(graph: Graph, arrays: list[Array], own: tuple[bool, ...], label: str) -> None:
    """Compare a batched graph with its examples one by one, bit for bit."""
    stacks = [
        np.stack([example(a, i) for i in range(EXAMPLES)]) if w else a
        for a, w in zip(arrays, own, strict=True)
    ]
    loop = [
        ir.interpret(graph, *(s[i] if w else s for s, w in zip(stacks, own, strict=True)))
        for i in range(EXAMPLES)
    ]
    inputs = [
        input_node(Aval((EXAMPLES, *n.shape), n.dtype)) if w else n
        for n, w in zip(graph.inputs, own, strict=True)
    ]
    known = {n: stack for n, stack, w in zip(graph.inputs, inputs, own, strict=True) if w}
    found = batched(graph.outputs, known, EXAMPLES)
    outputs = [repeated(o, EXAMPLES) if f is None else f for o, f in zip(graph.outputs, found, strict=True)]
    whole = Graph(tuple(inputs), tuple(outputs))
    ir.check(whole)
    for got, *expected in zip(ir.interpret(whole, *stacks), *loop, strict=True):
        if label.split("-")[0] in SUMMED_IN_ANOTHER_ORDER and not all(own):
            np.testing.assert_allclose(got, np.stack(expected), 1e-13, 1e-13, err_msg=label)
        else:
            np.testing.assert_array_equal(got, np.stack(expected), label, strict=True)


def variants(graph: Graph, name: str) -> list[tuple[bool, ...]]:
    """Which inputs are batched: all of them, and each alone; where windows are inputs, only the image."""
    n = len(graph.inputs)
    if name in WITH_WINDOWS:
        return [tuple(i == 0 for i in range(n))]
    return list(dict.fromkeys([(True,) * n, *(tuple(i == j for i in range(n)) for j in range(n))]))


@pytest.mark.parametrize("name", [n for n in CASES if n not in WITHOUT_RULE])
def test_an_op_over_a_batch_is_a_loop_bit_for_bit(name: str) -> None:
    for case in CASES[name]:
        graph = case.graph()
        for own in variants(graph, name) if graph.inputs else []:
            assert_batch_is_loop(graph, case.arrays, own, case.name)


@pytest.mark.parametrize("name", [n for n in CASES if n not in WITHOUT_RULE])
def test_the_gradients_of_an_op_over_a_batch_are_a_loop_bit_for_bit(name: str) -> None:
    for case in CASES[name]:
        if case.sample.gradients is None and op_cases.is_differentiable(case):
            graph, arrays = op_cases.gradient_graph(case)
            for own in variants(graph, name):
                assert_batch_is_loop(graph, arrays, own, case.name)


def test_every_op_has_samples_here() -> None:
    assert {f"op.{name}" for name in ops.OPS} | set(ops.COMPOSITES) <= set(CASES) | WITHOUT_RULE


@quick
@given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES))
def test_a_random_graph_over_a_batch_is_a_loop_bit_for_bit(seed: int, dtype: str) -> None:
    made = RandomGraph(seed, dtype, EVERYTHING)
    graph = made.graph()
    assume(all(node.op.name != "matmul" for node in graph.nodes()))
    own = np.random.default_rng(seed).integers(0, 2, len(graph.inputs)).astype(bool)
    assert_batch_is_loop(graph, made.arrays(), (True, *own[1:].tolist()), f"seed {seed}")


# Axes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    x: Any
    y: Any


def close(got: Any, expected: Any) -> None:
    ours, theirs = jax.tree.leaves(got), jax.tree.leaves(expected)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, 1e-12, 1e-12)
        assert np.shape(a) == np.shape(b)


FORMS: dict[str, tuple[Callable[[Any], Callable[..., Any]], tuple[Any, ...], Any, Any]] = {
    "one argument": (lambda xp: lambda x: xp.sum(x * x), (X,), 0, 0),
    "the last axis": (lambda xp: lambda x: x[::-1], (X,), -1, -1),
    "an axis in the middle": (lambda xp: lambda x: xp.cumsum(x, 0), (RNG.random((2, 3, 4)),), 1, 1),
    "one argument is shared": (lambda xp: lambda x, w: xp.tanh(x @ w), (X, W), (0, None), 0),
    "different axes": (lambda xp: lambda x, y: xp.outer(x, y), (X, X.T), (0, 1), 2),
    "containers": (
        lambda xp: lambda p, q: {"sum": p["a"] + q[0], "parts": [p["b"], q[1]]},
        ({"a": X, "b": X.T}, [X, np.arange(4.0)]),
        ({"a": 0, "b": 1}, [0, None]),
        {"sum": 1, "parts": [0, 0]},
    ),
    "an axis for a whole container": (lambda xp: lambda p: p["a"] * p["b"], ({"a": X, "b": X},), (0,), 0),
    "a list of axes": (lambda xp: lambda x, w: x @ w, (X, W), [0, None], 0),
    "a shared result": (lambda xp: lambda x, w: (x * 2, w * 2), (X, W), (0, None), (0, None)),
    "a number for each example": (lambda xp: lambda x, s: x * s, (X, np.arange(5.0)), 0, 0),
    "a constant": (lambda xp: lambda x: (xp.ones(2), 3.0), (X,), 0, 0),
    "integers": (lambda xp: lambda i, x: xp.take(x, i), (np.array([3, 0, -1]), X[0]), (0, None), 0),
    "indices of each example": (lambda xp: lambda x, i: x[i], (X, np.array([3, 0, 1, 1, 2])), 0, 0),
    "a label of each example": (
        lambda xp: lambda x, i: xp.log(xp.sum(xp.exp(x))) - x[i],
        (X, np.array([3, 0, 1, 1, 2])),
        0,
        0,
    ),
    "a sort": (lambda xp: lambda x: (xp.sort(x), xp.argmax(x)), (X,), 0, 0),
    "a solution": (lambda xp: lambda a, b: xp.linalg.solve(a, b), (RNG.random((5, 4, 4)), X), 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_axes_mean_what_they_mean_in_jax(name: str) -> None:
    function, args, in_axes, out_axes = FORMS[name]
    ours = vmap(function(np), in_axes, out_axes)
    close(ours(*args), jax.jit(jax.vmap(function(jax.numpy), in_axes, out_axes))(*args))
    for compiled, interpreted in zip(
        jax.tree.leaves(ours(*args)), jax.tree.leaves(interpret(ours)(*args)), strict=True
    ):
        np.testing.assert_array_equal(compiled, interpreted, strict=True)


def test_keywords_have_the_examples_first() -> None:
    np.testing.assert_array_equal(vmap(lambda x, *, y: x + y)(X, y=2 * X), X + 2 * X)


def test_a_dataclass_has_axes_for_its_fields() -> None:
    result = vmap(lambda p: Point(p.x + p.y, p.x), (Point(0, None),), Point(1, 0))(Point(X, np.ones(4)))
    np.testing.assert_array_equal(result.x, X.T + 1)
    np.testing.assert_array_equal(result.y, X)


def test_a_static_argument_is_not_mapped() -> None:
    power = vmap(lambda x, n: x**n if n > 1 else x, (0, None), static_argnames="n")
    np.testing.assert_array_equal(power(X, 1), X)
    np.testing.assert_allclose(power(X, 3), X**3, 1e-15)


def test_an_empty_batch_has_empty_results() -> None:
    assert vmap(lambda x: (np.sum(x), x * 2))(X[:0])[1].shape == (0, 4)


def test_as_a_decorator_with_options() -> None:
    @vmap(in_axes=1)
    def total(x: Any) -> Any:
        return np.sum(x)

    np.testing.assert_allclose(total(X), X.sum(0), 1e-15)


def test_assignments_stay_in_the_example() -> None:
    def running(x: Any) -> Any:
        x[1:] += x[:-1]
        x[0] = 0.0
        return x

    given = X.copy()
    expected = np.concatenate([0 * X[:, :1], X[:, 1:] + X[:, :-1]], 1)
    np.testing.assert_array_equal(vmap(running)(given), expected)
    np.testing.assert_array_equal(given, X)


def test_one_example_alone_has_the_bits_of_the_batch() -> None:
    def loss(x: Any) -> Any:
        return np.sum(np.exp(x)) * np.mean(x) + x[0] ** 3

    together = vmap(loss)(RNG.standard_normal((6, 3000)))
    assert together.shape == (6,)
    alone = jit(loss)
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((6, 3000))
    np.testing.assert_array_equal(vmap(loss)(rows), [alone(row) for row in rows])


def test_a_batch_of_elementwise_functions_is_one_kernel() -> None:
    assert len(vmap(lambda x, s: np.sin(x) * np.exp(-x) + s, (0, None)).compiled(X, 1.0).steps) == 1


def test_a_shared_matrix_gives_one_product() -> None:
    compiled = vmap(lambda x, w: x @ w, (0, None)).compiled(X, W)
    assert (len(compiled.steps), len(compiled.kernels)) == (1, 0)


# Nesting ----------------------------------------------------------------------------------------------


def model(xp: Any) -> Callable[..., Any]:
    def loss(w: Any, x: Any, label: Any) -> Any:
        scores = xp.tanh(x @ w)
        return xp.log(xp.sum(xp.exp(scores))) - scores[label]

    return loss


LABELS = np.array([2, 0, 1, 1, 0])
NESTED: dict[str, Callable[[Any, Any], Any]] = {
    "gradients of examples": lambda lib, xp: lib.vmap(lib.grad(model(xp)), (None, 0, 0))(W, X, LABELS),
    "values and gradients of examples": lambda lib, xp: lib.vmap(
        lib.value_and_grad(model(xp), argnums=(0, 1)), (None, 0, 0)
    )(W, X, LABELS),
    "the gradient of a sum over examples": lambda lib, xp: lib.grad(
        lambda w: xp.sum(lib.vmap(model(xp), (None, 0, 0))(w, X, LABELS))
    )(W),
    "what the function closes over": lambda lib, xp: lib.grad(
        lambda w: xp.sum(lib.vmap(lambda x: xp.sin(x @ w))(xp.asarray(X)) ** 2)
    )(W),
    "two levels": lambda lib, xp: lib.vmap(lib.vmap(lambda x, y: x * y, (None, 0)), (0, None))(X[0], X[1]),
    "two levels of one array": lambda lib, xp: lib.vmap(lib.vmap(lambda x: xp.cumsum(x) * x[0]), 1)(RNG_CUBE),
    "three levels with indices": lambda lib, xp: lib.vmap(
        lambda table: lib.vmap(lambda i: lib.vmap(lambda j: table[i, j])(xp.arange(2)))(xp.arange(3))
    )(RNG_CUBE),
    "second derivatives of examples": lambda lib, xp: lib.vmap(
        lib.grad(lambda s: lib.grad(lambda t: xp.sin(t) ** 3)(s))
    )(X[0]),
    "pullbacks of examples": lambda lib, xp: lib.vmap(lambda x, g: lib.vjp(xp.cumprod, x)[1](g)[0])(X, X**2),
    "a function under jit": lambda lib, xp: lib.vmap(lib.jit(lambda x: xp.max(x) * x))(X),
}
RNG_CUBE = np.random.default_rng(3).standard_normal((3, 3, 2))


@pytest.mark.parametrize("name", NESTED)
def test_nested_transforms_give_what_they_give_in_jax(name: str) -> None:
    close(NESTED[name](jitgrad, np), NESTED[name](jax, jax.numpy))


@pytest.mark.parametrize("name", [n for n in NESTED if n != "a function under jit"])
def test_nested_transforms_inside_one_trace_give_the_same(name: str) -> None:
    close(jit(lambda: NESTED[name](jitgrad, np))(), NESTED[name](jax, jax.numpy))


# Errors -----------------------------------------------------------------------------------------------


def test_an_op_without_a_rule_is_named_with_the_line() -> None:
    with pytest.raises(NotImplementedError, match=r"vmap: histc at test_vmap.py:\d+ has no batching rule"):
        vmap(lambda x: ops.COMPOSITES["histc"](x, 4))(np.arange(12).reshape(3, 4))


def test_numbers_of_examples_must_agree() -> None:
    with pytest.raises(
        ValueError, match=r"the numbers of examples differ, 5 of argument 0 \(x\), 4 of argument 1 \(y\)"
    ):
        vmap(lambda x, y: x @ y)(X, W)


def test_some_argument_must_have_examples() -> None:
    with pytest.raises(ValueError, match=r"vmap at test_vmap.py:\d+ needs an axis to map over"):
        vmap(lambda x: x, in_axes=None)(X)


def test_an_array_must_have_the_axis() -> None:
    with pytest.raises(ValueError, match=r"argument 1 \(s\) of 0 axes has no axis 0 for the examples"):
        vmap(lambda x, s: x * s)(X, 2.0)
    with pytest.raises(ValueError, match="a result of 1 axes has no axis 1 for the examples"):
        vmap(lambda x: np.sum(x), out_axes=1)(X)


def test_axes_must_be_built_like_the_arguments() -> None:
    with pytest.raises(ValueError, match=r"in_axes at test_vmap.py:\d+: \(0,\) does not fit a tuple of 2"):
        vmap(lambda x, y: x, in_axes=(0,))(X, X)
    with pytest.raises(TypeError, match="in_axes at .* must consist of ints and None, got '0'"):
        vmap(lambda x: x, in_axes="0")(X)
    with pytest.raises(TypeError, match="must consist of ints and None, got True"):
        vmap(lambda x: x, in_axes=(True,))(X)
    with pytest.raises(ValueError, match=r"out_axes at .*: \[0, 0\] does not fit an array"):
        vmap(lambda x: x, out_axes=[0, 0])(X)


def test_a_result_that_differs_needs_an_axis() -> None:
    with pytest.raises(ValueError, match="out_axes has None for a result that differs between the examples"):
        vmap(lambda x: x, out_axes=None)(X)


def test_an_example_has_no_value() -> None:
    with pytest.raises(TraceError, match="need a value"):
        vmap(lambda x: x if x > 0 else -x)(X[0])
    with pytest.raises(NotDifferentiable, match="dtype int64"):
        vmap(grad(lambda n: n * 2.0))(np.arange(3))


def test_an_example_kept_beyond_its_function_is_an_error() -> None:
    kept: list[Any] = []

    def leak(x: Any) -> Any:
        kept.append(x * 2)
        return x

    with pytest.raises(TraceError, match="an example of a vmap that has ended"):
        jit(lambda x: (vmap(leak)(x), kept[0]))(X)


def test_the_value_beside_gradients_of_examples_is_traced_once() -> None:
    runs: list[int] = []

    def loss(w: Any, x: Any) -> Any:
        runs.append(1)
        return np.sum((x @ w) ** 2)

    batch = vmap(value_and_grad(loss), in_axes=(None, 0))
    batch(W, X)
    batch(2 * W, X)
    assert len(runs) == 1
