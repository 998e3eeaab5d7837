"""Wrong use: an error that says what happened, in which line of the user's program, and what to do."""

from __future__ import annotations

import copy
import datetime
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import NotDifferentiable, TraceError, grad, interpret, jit, value_and_grad, vjp

X = np.array([0.5, -1.5, 2.0])
LINE = r"test_bad_input.py:\d+"


def line_of(function: Callable[..., Any], offset: int) -> str:
    return f"test_bad_input.py:{function.__code__.co_firstlineno + offset}"


def run(function: Callable[..., Any], *args: Any) -> Any:
    return interpret(jit(function))(*args)


# What needs a value -----------------------------------------------------------------------------------


def branch(x: Any) -> Any:
    return x if x.sum() > 0 else -x


def loop(x: Any) -> Any:
    while x[0] < 3:
        x = x + 1
    return x


NEEDS_VALUE: dict[str, tuple[Callable[..., Any], str]] = {
    "if": (branch, r"numpy.where\(condition, a, b\)"),
    "while": (loop, "numpy.where"),
    "and": (lambda x: x[0] and x[1], "&"),
    "in": (lambda x: 2.0 in x, "numpy.where"),
    "assert": (lambda x: bool(x[0] > 0), "static_argnames"),
    "max of Python": (lambda x: max(x), "numpy.where"),
    "float": (lambda x: float(x[0]), "Keep it an array"),
    "math": (lambda x: math.exp(x[0]), "numpy.exp"),
    "int": (lambda x: int(x[0]), r"astype\(int\)"),
    "complex": (lambda x: complex(x[0]), "Keep it an array"),
    "range": (lambda x: range(x[0].astype(int)), "static_argnames"),
    "a slice": (lambda x: x[: x[0].astype(int)], "static_argnames"),
    "a list index": (lambda x: [1, 2][x[0].astype(int)], "static_argnames"),
    "item": (lambda x: x[0].item(), "result of the traced function"),
    "tolist": (lambda x: x.tolist(), "result of the traced function"),
    "a format": (lambda x: f"{x[0]:.3f}", "print it after the call"),
    "asarray": (lambda x: np.asarray(x), "jitgrad.numpy lists"),
    "array": (lambda x: np.array([x[0], x[1]]), "numpy.stack"),
    "float64": (lambda x: np.float64(x[0]), "jitgrad.numpy lists"),
    "a sum of a list": (lambda x: np.sum([x[0], x[1]]), "numpy.stack"),
}


@pytest.mark.parametrize(("function", "remedy"), NEEDS_VALUE.values(), ids=NEEDS_VALUE)
def test_what_needs_a_value_says_what_to_write_instead(function: Callable[..., Any], remedy: str) -> None:
    with pytest.raises(TraceError, match=f"{LINE}.*{remedy}") as caught:
        run(function, X)
    offset = int(function is loop or function is branch)
    assert line_of(function, offset) in str(caught.value)


def test_a_size_that_is_traced() -> None:
    with pytest.raises(TypeError, match=f"<traced int64.. made at {LINE}>"):
        run(lambda x: np.zeros(x[0].astype(int)), X)


def test_a_traced_value_can_be_printed() -> None:
    shown = []
    run(lambda x: shown.append(f"{x}{x!r}{[x]}") or x, X)
    assert re.match(rf"<traced float64\[3\] made at {LINE}>", shown[0])


def test_a_value_used_after_its_trace_names_where_it_was_made() -> None:
    kept: list[Any] = []
    run(lambda x: kept.append(x + 1), X)
    made = r"the value traced at test_bad_input.py:\d+ is used at " + LINE
    for use in (
        lambda y: y + 1,
        lambda y: np.exp(y),
        lambda y: np.sum(y),
        lambda y: y.copy(),
        lambda y: y[0],
        lambda y: y.__setitem__(0, 1),
        lambda y: run(lambda x: x + y, X),
        lambda y: run(lambda x: y, X),
        lambda y: run(lambda x: x, y),
        lambda y: grad(np.sum)(y),
        lambda y: vjp(np.sum, y),
    ):
        with pytest.raises(TraceError, match=made):
            use(kept[0])
    assert "made at" in repr(kept[0])


def test_a_pullback_used_after_its_trace_is_an_error() -> None:
    kept: list[Any] = []
    run(lambda x: kept.append(vjp(np.sum, x)[1]), X)
    with pytest.raises(TraceError, match=f"pullback called at {LINE} was made in a trace that has ended"):
        kept[0](1.0)


# Shapes, dtypes, indices ------------------------------------------------------------------------------

WRONG: dict[str, tuple[Callable[..., Any], type[Exception], str]] = {
    "add": (lambda x: x + np.ones(4), ValueError, rf"add at {LINE}: shapes \(3,\), \(4,\) do not broadcast"),
    "matmul": (lambda x: np.ones((2, 4)) @ x, ValueError, rf"matmul at {LINE}: inner sizes differ"),
    "reshape": (lambda x: x.reshape(2, 2), ValueError, rf"reshape at {LINE}: 3 elements"),
    "concatenate": (
        lambda x: np.concatenate([x, np.ones((1, 1))]),
        ValueError,
        f"concatenate at {LINE}: shapes",
    ),
    "an axis": (lambda x: x.sum(axis=2), ValueError, f"at {LINE}: axis 2 is out of bounds"),
    "an index": (lambda x: x[3], IndexError, f"at {LINE}: index 3 is out of bounds"),
    "too many indices": (lambda x: x[0, 0], IndexError, f"at {LINE}: too many indices"),
    "a float index": (lambda x: x[1.0], IndexError, f"at {LINE}: an index must be an integer"),
    "a traced mask": (lambda x: x[x > 0], TypeError, f"at {LINE}: a boolean mask that depends on the inputs"),
    "assignment": (
        lambda x: x.__setitem__(slice(2), np.ones(3)),
        ValueError,
        f"at {LINE}: shape .* broadcast",
    ),
    "in place": (lambda x: x[0:1].__iadd__(x), ValueError, f"add at {LINE}: in place, .* x = x . y"),
    "in place dtype": (lambda x: x.astype(int).__iadd__(x), TypeError, f"add at {LINE}: in place, float64"),
    "a broadcast view": (lambda x: np.broadcast_to(x, (2, 3)).fill(0), ValueError, f"at {LINE}: .* x.copy"),
    "len of a number": (lambda x: len(x[0]), TypeError, f"len.. at {LINE} of a 0-d value"),
    "iteration over a number": (lambda x: list(x[0]), TypeError, f"iteration at {LINE} over a 0-d value"),
    "mT of a vector": (lambda x: x.mT, ValueError, f"mT at {LINE}: matrix transpose needs"),
    "a string operand": (lambda x: x + "1", TypeError, f"at {LINE}: arrays of dtype <U1"),
    "an object array operand": (
        lambda x: x + np.array([1, None, 2]),
        TypeError,
        f"at {LINE}: arrays of dtype object",
    ),
    "a huge integer": (lambda x: x + 10**30, OverflowError, f"at {LINE}: the integer .* write it as a float"),
    "astype of a string": (lambda x: x.astype(str), TypeError, f"astype at {LINE}: .* cannot be traced"),
    "a masked array": (
        lambda x: x + np.ma.masked_array(X, X > 0),
        TypeError,
        f"masked array at {LINE}: .*filled",
    ),
}


@pytest.mark.parametrize(("function", "error", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_operation_names_the_users_line(
    function: Callable[..., Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        run(function, X)
    assert line_of(function, 0) in str(caught.value)


def test_the_users_own_errors_are_left_alone() -> None:
    def function(x: Any) -> Any:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="^mine$"):
        run(function, X)
    with pytest.raises(ValueError, match="^setting an array element"):
        run(lambda x: x + np.array([1, [2, 3]], dtype=float), X)


def test_the_innermost_line_is_named_once() -> None:
    def inner(x: Any) -> Any:
        return x + np.ones(7)

    with pytest.raises(ValueError, match="add at") as caught:
        run(lambda x: grad(lambda y: np.sum(jit(inner)(y)))(x), X)
    assert line_of(inner, 1) in str(caught.value)
    assert str(caught.value).count("test_bad_input.py") == 1


# Functions that are missing ---------------------------------------------------------------------------

MISSING: dict[str, tuple[Callable[..., Any], str]] = {
    "a function": (lambda x: np.linalg.eig(x), "numpy.linalg.eig"),
    "a ufunc": (lambda x: np.frexp(x), "frexp"),
    "a ufunc method": (lambda x: np.add.accumulate(x), "numpy.add.accumulate"),
    "a ufunc argument": (lambda x: np.add(x, 1, where=[True, False, True]), "where"),
}


@pytest.mark.parametrize(("function", "name"), MISSING.values(), ids=MISSING)
def test_an_unknown_function_is_named(function: Callable[..., Any], name: str) -> None:
    with pytest.raises(TypeError, match=f"(?s){name}.*{LINE}|{LINE}.*{name}") as caught:
        run(function, X)
    assert line_of(function, 0) in str(caught.value)


def test_an_unknown_attribute_is_named() -> None:
    with pytest.raises(AttributeError, match=f"no attribute 'sort' .at {LINE}"):
        run(lambda x: x.sort(), X)


def test_a_traced_value_cannot_go_into_an_ndarray() -> None:
    def element(x: Any) -> Any:
        buffer = np.zeros(3)
        buffer[0] = x[0]
        return buffer

    def block(x: Any) -> Any:
        buffer = np.zeros((2, 3))
        buffer[1] = x
        return buffer

    def augmented(x: Any) -> Any:
        total = np.zeros(3)
        total += x
        return total

    def out(x: Any) -> Any:
        return np.sum(x, axis=0, out=np.zeros(()))

    for function, offset in ((element, 2), (block, 2), (augmented, 2), (out, 1)):
        with pytest.raises(TraceError, match=r"jitgrad.numpy.zeros.*x.copy\(\)") as caught:
            run(function, X)
        assert line_of(function, offset) in str(caught.value)


# Arguments --------------------------------------------------------------------------------------------

ARGUMENTS: dict[str, tuple[Any, str]] = {
    "a string": ("adam", r"argument 1 \(y\) at LINE is of type str.*static_argnames"),
    "a string in a dict": (
        {"w": X, "mode": ["x"]},
        r"argument 1 \(y\)\['mode'\]\[0\] at LINE is of type str",
    ),
    "an object array": (np.array([None, 1]), r"argument 1 \(y\) at LINE has dtype object"),
    "a structured array": (np.zeros(2, "i4,f4"), "has dtype .*cannot be compiled"),
    "an array of strings": (np.array(["a"]), "has dtype <U1, which cannot be compiled"),
    "an array of dates": (np.array(["2020-01-01"], "M8[D]"), "has dtype datetime64"),
    "extended precision": (np.ones(2, np.longdouble), "has dtype (float128|longdouble)"),
    "a masked array": (np.ma.masked_array([1.0], [True]), "Its mask would be lost"),
    "a matrix": (np.ones((2, 2)).view(np.matrix), "of type matrix.*numpy.asarray"),
    "a date": (datetime.date(2020, 1, 1), "of type date"),
    "a set": ({1, 2}, "of type set"),
    "a function": (np.exp, "of type ufunc.*static_argnames"),
}
del ARGUMENTS["extended precision" if np.dtype(np.longdouble).itemsize == 8 else "a date"]


@pytest.mark.parametrize(("argument", "message"), ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize("nested", [False, True])
def test_an_argument_that_is_no_array_is_named(argument: Any, message: str, nested: bool) -> None:
    def function(x: Any, y: Any) -> Any:
        return x

    call = jit(function)
    with pytest.raises(TypeError, match=message.replace("LINE", LINE)):
        run(lambda x: call(x, argument), X) if nested else call(X, argument)


def test_an_integer_too_large_for_64_bits() -> None:
    with pytest.raises(OverflowError, match=f"{LINE} does not fit 64 bits. Pass a float"):
        jit(lambda n: n)(2**70)


def test_keyword_arguments_are_named() -> None:
    with pytest.raises(TypeError, match=r"argument mode\[0\] at .* static_argnames"):
        jit(lambda x, mode: x)(X, mode=["a"])


def test_a_static_argument_must_be_hashable_and_known() -> None:
    function = jit(lambda x, n: x, static_argnames="n")
    with pytest.raises(TypeError, match=f"static argument 'n' at {LINE} must be hashable, got list"):
        function(X, n=[1])
    with pytest.raises(TypeError, match=f"static argument 1 at {LINE} must be hashable, got ndarray"):
        function(X, X)
    with pytest.raises(
        TypeError, match=f"static argument 1 at {LINE} must be known when tracing, got <traced"
    ):
        run(lambda x: function(x, x[0]), X)
    with pytest.raises(ValueError, match=f"static_argnames at {LINE}: 'm' is none of x, n"):
        jit(lambda x, n: x, static_argnames=("n", "m"))


@pytest.mark.parametrize("transform", [jit, grad, value_and_grad, interpret])
def test_what_is_no_function(transform: Any) -> None:
    with pytest.raises(TypeError, match=f"expected a function at {LINE}, got 3"):
        transform(3)


# grad -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", [grad, value_and_grad])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: x * 2,
            r"needs one floating-point number as output, got float64\[3\]. Sum it, or use jitgrad.vjp",
        ),
        (lambda x: np.sum(x > 0), r"got int64\[\]. Convert it to float"),
        (lambda x: np.all(x > 0), r"got bool\[\]"),
        (lambda x: (np.sum(x), x), "got a tuple of 2"),
        (lambda x: None, "got None"),
        (lambda x: 3, "got 3"),
    ],
)
def test_grad_needs_one_number(transform: Any, function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"the gradient of <lambda> at {LINE}.*{message}"):
        interpret(transform(function))(X)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (3, r"argument 0 \(x\) at LINE has dtype int64"),
        (np.arange(3), r"argument 0 \(x\) at LINE has dtype int64.*x.astype\(float\)"),
        (X > 0, "has dtype bool"),
        (X + 1j, "has dtype complex128"),
        (1j, "has dtype complex128"),
        ({"w": X, "n": [3]}, r"argument 0 \(x\)\['n'\]\[0\] at LINE has dtype int64"),
    ],
)
def test_only_floating_point_arguments_are_differentiated(argument: Any, message: str) -> None:
    with pytest.raises(NotDifferentiable, match=message.replace("LINE", LINE)):
        grad(lambda x: np.sum(x))(argument)


@pytest.mark.parametrize(
    ("argnums", "message"),
    [
        (
            2,
            r"argnums=2 at LINE: <lambda> was called with 2 positional arguments, so argnums go from -2 to 1",
        ),
        (-3, "argnums=-3"),
        ((0, 5), r"argnums=\(0, 5\)"),
        ((0, -2), r"argnums=\(0, -2\) at LINE names an argument of <lambda> twice"),
    ],
)
def test_wrong_argnums(argnums: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("LINE", LINE)):
        grad(lambda x, y: np.sum(x * y), argnums)(X, X)


@pytest.mark.parametrize("argnums", ["x", 1.0, True, None, ()])
def test_argnums_that_are_no_numbers(argnums: Any) -> None:
    with pytest.raises(TypeError, match=f"argnums at {LINE} must be an int or several, got"):
        grad(lambda x: x, argnums)


def test_has_aux_needs_a_pair() -> None:
    with pytest.raises(
        TypeError, match=rf"has_aux=True at {LINE}: <lambda> must return \(value, aux\), got "
    ):
        grad(lambda x: np.sum(x), has_aux=True)(X)


# vjp --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cotangent", "error", "message"),
    [
        (
            np.ones(2),
            ValueError,
            "must be built like the output: expected a dict with keys 'a', 'b', got ndarray",
        ),
        ({"a": X}, ValueError, "expected a dict with keys 'a', 'b', got dict"),
        ({"a": X, "b": [X]}, ValueError, r"expected a tuple of 1 at \['b'\], got list"),
        (
            {"a": X[:2], "b": (1.0,)},
            ValueError,
            r"\['a'\] at LINE must have the output's shape \(3,\), got \(2,\)",
        ),
        (
            {"a": 1.0, "b": (1.0,)},
            ValueError,
            r"\['a'\] at LINE must have the output's shape \(3,\), got \(\)",
        ),
        ({"a": X.astype("f4"), "b": (1.0,)}, TypeError, "must have the output's dtype float64, got float32"),
        ({"a": X, "b": (None,)}, TypeError, r"\['b'\]\[0\] at LINE must be an array, got NoneType"),
        ({"a": X, "b": ("1",)}, TypeError, "must be an array, got str"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_cotangent_must_fit_the_output(
    cotangent: Any, error: type[Exception], message: str, nested: bool
) -> None:
    def function(x: Any) -> Any:
        return {"a": x * 2, "b": (np.sum(x),)}

    with pytest.raises(error, match=message.replace("LINE", LINE)):
        run(lambda x: vjp(function, x)[1](cotangent), X) if nested else vjp(function, X)[1](cotangent)


def test_nothing_is_changed_by_a_failed_call() -> None:
    def function(x: Any) -> Any:
        x[0] = 100
        x += np.ones(4)
        return x

    x = X.copy()
    with pytest.raises(ValueError, match="do not broadcast"):
        jit(function)(x)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(jit(lambda x: x + 1)(x), X + 1)
    assert copy.copy(jitgrad.grad(np.sum)(x)).tolist() == [1.0, 1.0, 1.0]
