"""What a traced function may do with its values: all that it may do with arrays, with the same result."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
import jitgrad.numpy as jnp
from jitgrad import ir
from jitgrad.adjoint import cotangents
from jitgrad.ir import Aval
from jitgrad.trace import trace

X = np.array([[1.5, -2.0, 0.25], [3.0, 0.5, -1.0]])
V = np.array([0.5, -1.5, 2.0, 4.0])
N = np.array([[3, -1, 2], [0, 5, -4]])


def assert_same(got: Any, expected: Any) -> None:
    if isinstance(expected, (tuple, list)):
        assert type(got) is type(expected)
        for g, e in zip(got, expected, strict=True):
            assert_same(g, e)
        return
    assert np.shape(got) == np.shape(expected)
    assert np.result_type(got) == np.result_type(expected)
    np.testing.assert_allclose(got, expected, rtol=1e-14)


def assert_like_numpy(function: Callable[..., Any], *args: Any) -> None:
    """The traced function gives what NumPy gives, and leaves its arguments alone."""
    before = copy.deepcopy(args)
    expected = function(*copy.deepcopy(args))
    assert_same(jitgrad.interpret(function)(*args), expected)
    for arg, old in zip(args, before, strict=True):
        np.testing.assert_array_equal(arg, old)


# Attributes and methods -------------------------------------------------------------------------------

EXPRESSIONS = """
x.T
x.mT
x.real
x.astype(np.float32)
x.astype(int)
x.sum()
x.sum(axis=0)
x.sum(1, keepdims=True)
x.mean(-1)
x.max()
x.min(axis=1)
x.prod()
x.var()
x.std(axis=0, ddof=1)
x.any()
(x > 0).all(axis=1)
x.argmax()
x.argmin(axis=0)
x.reshape(3, 2)
x.reshape((6,))
x.reshape(-1)
x.ravel()
x.flatten()
x.transpose()
x.transpose(1, 0)
x.transpose((1, 0))
x.swapaxes(0, 1)
x[:1].squeeze()
x.dot(x.T)
x.clip(-1, 1)
x.round(1)
x.copy()
x.view()
x.conj()
x.take([1, 0])
x.repeat(2, axis=0)
x @ x.T
np.ones(2) @ x
x @ [1.0, 2.0, 3.0]
x + [1.0, 2.0, 3.0]
[1.0, 2.0, 3.0] - x
np.float64(2) * x
np.float32(2) * x
2 * x
1 - x
1 / x
x // 2
x % 0.75
2 % x
divmod(x, 0.75)
x**2
x**3
x**0
x**-1
x**-2
abs(x) ** 0.5
abs(x) ** 1.7
2.0**x
x**x.astype(int)
-x
+x
abs(x)
round(x[0, 0], 1)
x == x.T.T
x != 0.5
(x < 0) | (x > 1)
(x < 0) & ~(x > 1)
(x < 0) ^ (x > 1)
x <= x[0]
x >= x[:, :1]
np.add(x, 1)
np.add.reduce(x)
np.add.reduce(x, axis=None)
np.multiply.reduce(x, axis=1)
np.maximum.reduce(x, axis=1)
np.minimum.reduce(x, axis=-1, keepdims=True)
np.logical_or.reduce(x > 2, axis=1)
np.logical_and.reduce(x > -3)
np.subtract.outer(x[0], x[1])
np.multiply.outer(x[0], np.ones((2, 2)))
np.where(x > 0, x, 0)
np.concatenate([x, np.zeros((1, 3))])
np.stack([x[0], np.ones(3)])
np.linalg.norm(x)
np.zeros_like(x) + 1
np.shape(x) + (np.ndim(x), np.size(x), np.size(x, 0))
np.result_type(x, np.float32).itemsize
np.iscomplexobj(x)
len(x)
x.size
x.nbytes
x.itemsize
[row.sum() for row in x]
tuple(x[0])
x[0]
x[-1, 0]
x[:, 1:]
x[::-1, ::2]
x[..., None]
x[None]
x[[1, 0, 1]]
x[np.array([1, 0]), np.array([2, 0])]
x[:, np.array([True, False, True])]
x[np.array([[True, False, True], [False, False, True]])]
x[np.int64(1)]
x[()]
x[...]
x[1:1]
"""


@pytest.mark.parametrize("expression", EXPRESSIONS.strip().splitlines())
def test_an_expression_means_what_it_means_in_numpy(expression: str) -> None:
    assert_like_numpy(eval(f"lambda x: {expression}", {"np": np}), X)


INTEGER_EXPRESSIONS = """
n + 1
n * 2.5
n / 2
n // 2
n % 3
n**2
n**3
abs(n) ** 0.5
-n
~n
n & 1
n | 4
n ^ 1
n == 2
n.sum()
n.mean()
n.max(axis=0)
n.astype(float)
n + np.float32(1)
n.astype(np.int32) * 2
n.astype(np.int8) + 1
"""


@pytest.mark.parametrize("expression", INTEGER_EXPRESSIONS.strip().splitlines())
def test_an_expression_of_integers_means_what_it_means_in_numpy(expression: str) -> None:
    assert_like_numpy(eval(f"lambda n: {expression}", {"np": np}), N)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("number", [2, 2.0, np.float32(2), np.float64(2), True])
def test_python_numbers_give_way_in_dtype_and_numpy_scalars_do_not(dtype: Any, number: Any) -> None:
    assert_like_numpy(lambda x, s: (x * s, s * x, x + s), np.ones(3, dtype), number)


@pytest.mark.parametrize(
    "expression", ["x * s", "s * x", "x + s", "x**s", "s**x", "np.maximum(x, s)", "x[0] / s"]
)
@pytest.mark.parametrize("number", [2, 2.0, np.float32(2), np.float64(2), np.int64(2), np.array(2.0)])
def test_constant_numbers_promote_as_in_numpy(expression: str, number: Any) -> None:
    if expression == "x**s" and np.lib.NumpyVersion(np.__version__) < "2.3.0":
        pytest.skip("older NumPy ignores the dtype of an exponent of 2")
    function = eval(f"lambda x: {expression}", {"np": np, "s": number})
    for dtype in (np.float32, np.float64, np.int32):
        assert_like_numpy(function, np.ones(3, dtype))


# Assignment -------------------------------------------------------------------------------------------

PROGRAMS = {
    "an element": "x[0, 1] = 7",
    "a row": "x[1] = [1, 2, 3]",
    "a broadcast column": "x[:, 1:2] = x[:, :1]",
    "leading ones": "x[0] = np.ones((1, 1, 3))",
    "everything": "x[...] = 4",
    "a cast": "x.astype(int)[0] = 2.7",
    "an integer array": "x[[0, 1], [2, 0]] = [5, 6]",
    "a repeated index, whose last value stays": "x[0, [1, 1]] = x[1, :2]",
    "a mask": "x[np.array([[True, False, True], [False, True, False]])] = -1",
    "augmented": "x += 1; x -= x[0]; x *= 2; x /= 3; x **= 2; x //= 0.5; x %= 5",
    "augmented through an index": "x[0] += x[1]; x[:, 0] *= 3; x[1, 1] -= 1",
    "augmented through an integer array": "x[[0, 0]] += 1",
    "a slice writes through": "v = x[1:]; v += 1",
    "a slice of a slice": "v = x[:, 1:][0]; v[:] = 9; v[1] = 8",
    "a slice sees its base": "v = x[1:]; x *= 2; x = v",
    "a view of a view sees the root": "v = x.T[1:]; w = v[::-1]; x[0] = 5; w += 1; x = (x, v, w)",
    "reversed": "v = x[::-1, ::2]; v[0] = [1, 2]",
    "a transpose writes through": "v = x.T; v[0] = -1",
    "T of T": "x.T.T[0] = 3",
    "a reshape writes through": "v = x.reshape(3, 2); v[1] = 0",
    "a ravel writes through": "v = x.ravel(); v[2:4] = 0",
    "a ravel of a transpose is a copy": "v = x.T.ravel(); v[:] = 0",
    "a reshape of a transpose is a copy": "v = x.T.reshape(-1); v[0] = 100; x = (x, v)",
    "a reshape that adds an axis to a transpose": "v = x.T.reshape(3, 1, 2); v[0] = 100",
    "a reshape of rows is a view": "v = x[1:].reshape(-1); v[0] = 100",
    "a reshape of columns is a copy": "v = x[:, 1:].reshape(-1); v[0] = 100; x = (x, v)",
    "a flattened copy": "v = x.flatten(); v[:] = 0",
    "a copy": "v = x.copy(); v[:] = 0; x = (x, v)",
    "a squeeze": "v = x[:1].squeeze(); v += 3",
    "a new axis": "v = x[:, None]; v[0] = 2",
    "expand_dims": "v = np.expand_dims(x, 0); v[0, 1] = 2",
    "swapaxes and moveaxis": "np.swapaxes(x, 0, 1)[1] = 3; np.moveaxis(x, 0, 1)[0] = 4",
    "flip": "v = np.flip(x, 1); v[:, 0] = 0",
    "split": "a, b = np.split(x, 2); a += b; b[:] = 0",
    "rows of an iteration": "for row in x:\n row += row.sum()",
    "elements of an iteration are numbers": "for row in x:\n for e in row:\n  e += 1",
    "atleast_2d": "v = np.atleast_2d(x[0]); v[0, 0] = 5",
    "a number is immutable": "y = x[0, 0]; z = y; z += 1; x = (x, y, z)",
    "a sum is immutable": "y = x.sum(); z = y; z += 1; x = (y, z)",
    "a 0-d view is mutable": "y = x[0, 0, ...]; y += 5",
    "the same array twice": "y = x; y += 1; x = (x, y)",
    "plus makes a copy": "y = +x; y += 1; x = (x, y)",
    "functions that may return their argument make copies": (
        "y = [np.positive(x), np.clip(x, None, 9), np.round(x, 20), np.tile(x, 1), np.repeat(x, 1, 0),"
        " np.roll(x, 0), np.pad(x, 0), np.concatenate([x]), np.sum(x, axis=()), np.take(x, [0, 1], 0),"
        " x.astype(float), np.copy(x), x[[0, 1]], np.broadcast_to(x, (2, 3)).copy(), np.where(True, x, x)]"
        "\nfor v in y:\n v += 100\nx = (x, y)"
    ),
    "out of a ufunc": "y = x.copy(); np.add(x, 1, out=y); x = (x, y)",
    "out of a ufunc into a view": "np.multiply(x[0], 2, out=x[1])",
    "out of a function": "y = x[0].copy(); np.sum(x, axis=0, out=y); x = y",
    "copyto": "np.copyto(x, 3)",
    "fill": "x[0].fill(3)",
    "a swap": "x[0], x[1] = x[1].copy(), x[0].copy()",
    "a swap of views, which loses one": "x[0], x[1] = x[1], x[0]",
    "a prefix sum in place": "for i in range(1, 3):\n x[:, i] += x[:, i - 1]",
    "a constant array in place": "b = np.zeros(3); b[1] = 2; x += b",
    "integers in place": "y = np.array([1, 2, 3]) + (x[0] > 0); y += 2; y[0] = 9.9; x = y",
}


@pytest.mark.parametrize("namespace", [np, jnp], ids=["numpy", "jitgrad.numpy"])
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_assignment_means_what_it_means_in_numpy(program: str, namespace: Any) -> None:
    body = "\n    ".join(line for part in program.split("; ") for line in part.split("\n"))
    scope: dict[str, Any] = {}
    exec(f"def function(x, np):\n    {body}\n    return x", scope)
    function = scope["function"]
    expected = function(X.copy(), np)
    if namespace is jnp and re.search("out=|copyto", program):
        pytest.skip("jitgrad.numpy has no functions that write")
    assert_same(jitgrad.interpret(lambda x: function(x, namespace))(X), expected)


def test_assignment_is_differentiated() -> None:
    def traced(x: Any) -> Any:
        y = x * 2
        y[1:] *= x[:-1]
        y[0] = y[1] + y[2]
        v = y[::2]
        v += x[:2]
        return np.sum(y * y)

    def pure(x: Any) -> Any:
        y = np.concatenate([x[:1] * 2, x[1:] * 2 * x[:-1]])
        y = np.concatenate([y[1:2] + y[2:3], y[1:]])
        return np.sum((y + np.stack([x[0], 0 * x[0], x[1], 0 * x[0]])) ** 2)

    value, gradient = jitgrad.interpret(jitgrad.value_and_grad(traced))(V)
    expected, pure_gradient = jitgrad.interpret(jitgrad.value_and_grad(pure))(V)
    assert_same(value, traced(V))
    assert_same(value, expected)
    np.testing.assert_allclose(gradient, pure_gradient, rtol=1e-13)


def test_rows_at_a_traced_position_are_views() -> None:
    def function(x: Any, i: Any) -> Any:
        row = x[i]
        row += 1
        row[0] = 7
        x[i, 1] *= 2
        return x

    assert_like_numpy(function, X, np.int64(1))


def test_an_assignment_through_an_index_writes_once() -> None:
    def function(x: Any) -> Any:
        x[1:] += 1
        return x

    names = [node.op.name for node in jitgrad.interpret(function).graph(V).nodes()]
    assert names.count("update") == 1


def test_arrays_made_by_jitgrad_numpy_can_be_assigned_to() -> None:
    def function(x: Any, module: Any = jnp) -> Any:
        y = module.zeros((2, 3))
        y[0] = x[0]
        y[:, 1] += x[:, 2]
        z = module.empty_like(x)
        z[...] = 0
        z += y
        return z

    assert_same(jitgrad.interpret(function)(X), function(X, np))


# Captured arrays --------------------------------------------------------------------------------------


def test_a_scratch_array_means_its_contents_at_each_use() -> None:
    def function(x: Any) -> Any:
        unit = np.zeros(4)
        parts = []
        for i in range(4):
            unit[:] = 0
            unit[i] = i + 1
            parts.append(x * unit)
        unit[:] = 100
        return parts, x + unit

    assert_like_numpy(function, V)


def test_a_scratch_array_that_ends_as_it_began() -> None:
    def function(x: Any) -> Any:
        mask = np.zeros(4)
        first = x * mask
        mask[1] = 1
        second = x * mask
        mask[1] = 0
        return first, second, x * mask

    assert_like_numpy(function, V)


def test_a_large_scratch_array_that_changes_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jitgrad.capture.MAX_COPY", 8)

    def function(x: Any) -> Any:
        scratch = np.zeros(4)
        y = x + scratch
        scratch[0] = 1
        return y

    with pytest.raises(jitgrad.TraceError, match=r"test_trace.py:\d+ was changed .* array.copy"):
        jitgrad.interpret(function)(V)


@pytest.mark.parametrize("wrap", [jitgrad.jit, jitgrad.interpret])
def test_contents_of_a_captured_array_are_read_at_each_call(wrap: Any) -> None:
    weights = np.ones(4)
    zero_d = np.array(2.0)
    function = wrap(lambda x: x * weights + zero_d)
    assert_same(function(V), V + 2)
    weights[:] = 3
    zero_d[()] = 1
    assert_same(function(V), V * 3 + 1)


def test_a_captured_array_is_not_copied_into_the_graph() -> None:
    weights = np.ones(4)
    graph = jitgrad.interpret(lambda x: x * weights).graph(V)
    captured = [node for node in graph.nodes() if node.op is ir.CAPTURE]
    assert [node.param("value").array is weights for node in captured] == [True]


# Results ----------------------------------------------------------------------------------------------


def test_results_that_are_not_traced_are_returned_as_they_are() -> None:
    def function(x: Any) -> Any:
        return {"x": x + 1, "none": None, "name": "loss", "n": 3, "array": np.arange(2), "list": [x, 2.5]}

    got = jitgrad.interpret(function)(V)
    assert (got["none"], got["name"], got["n"], got["list"][1]) == (None, "loss", 3, 2.5)
    assert_same(got["array"], np.arange(2))


@pytest.mark.parametrize("wrap", [jitgrad.jit, jitgrad.interpret])
def test_results_never_share_memory_with_arguments_or_each_other(wrap: Any) -> None:
    array = np.arange(4.0)
    results = wrap(lambda x: (x, x, x[1:], x.reshape(2, 2), +x, x[::-1].T))(array)
    for i, result in enumerate(results):
        assert not any(np.shares_memory(result, other) for other in (array, *results[:i]))


def test_a_constant_array_in_the_result_is_fresh_each_time() -> None:
    function = jitgrad.interpret(lambda x: (x, np.zeros(2)))
    function(V)[1][:] = 5
    assert_same(function(V)[1], np.zeros(2))


# Deep graphs ------------------------------------------------------------------------------------------


def test_a_loop_of_100000_operations_is_traced_differentiated_and_interpreted() -> None:
    def run(values: list[Any]) -> Any:
        (x,) = values
        for _ in range(100_000):
            x = x * 0.99999
        return x

    (x,), (y,), _ = trace(run, [Aval((), np.dtype(float))], [True])
    (gradient,) = cotangents([y], [ir.literal(1.0)], [x])
    got = ir.interpret(ir.Graph((x,), (gradient,)), np.float64(1.0))[0]
    np.testing.assert_allclose(got, 0.99999**100_000, rtol=1e-9)


def test_thousands_of_views_of_views_are_read_and_written() -> None:
    def run(values: list[Any]) -> Any:
        (x,) = values
        view = x
        for _ in range(5000):
            view = view[::-1]
        x += 1
        y = view * 2
        view += 1
        return x, y

    _, leaves, _ = trace(run, [Aval((3,), np.dtype(float))], [False])
    assert [leaf.shape for leaf in leaves] == [(3,), (3,)]


# Lines ------------------------------------------------------------------------------------------------


def test_nodes_know_the_users_line() -> None:
    def function(x: Any) -> Any:
        y = np.exp(x)
        return y.sum()

    first = function.__code__.co_firstlineno
    where = {node.op.name: node.where for node in jitgrad.interpret(function).graph(V).nodes()}
    assert where["exp"] == f"test_trace.py:{first + 1}"
    assert where["sum"] == f"test_trace.py:{first + 2}"
