"""jit, grad, value_and_grad and vjp: what they take, what they return, and when they trace again."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
import scipy.optimize

import jitgrad
from jitgrad import grad, interpret, jit, value_and_grad, vjp
from jitgrad.pytree import flatten
from jitgrad.runtime.kernels import counters

X = np.array([0.5, -1.5, 2.0, 4.0])
SCALE = 2.0
WEIGHTS = np.ones(4)


def check_gradient(function: Callable[..., Any], *args: Any) -> None:
    """Gradients agree with central differences along a random direction."""
    rng = np.random.default_rng(0)
    gradients = interpret(grad(function, tuple(range(len(args)))))(*args)
    directions = [rng.standard_normal(np.shape(a)) for a in args]
    step = 1e-6
    ahead, behind = (
        function(*(a + s * d for a, d in zip(args, directions, strict=True))) for s in (step, -step)
    )
    slope = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8)


def counted(function: Callable[..., Any]) -> Any:
    """The function with a list that grows each time it is run."""
    runs: list[int] = []

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        runs.append(1)
        return function(*args, **kwargs)

    return wrapper, runs


# Forms ------------------------------------------------------------------------------------------------


def test_decorators_work_with_and_without_arguments() -> None:
    @jit
    def double(x: Any) -> Any:
        """Twice x."""
        return 2 * x

    @jit(static_argnames="n")
    def power(x: Any, n: int) -> Any:
        return x**n

    @grad
    def slope(x: Any) -> Any:
        return x * x

    @grad(argnums=1)
    def second(x: Any, y: Any) -> Any:
        return x * y

    @value_and_grad
    def both(x: Any) -> Any:
        return x * x

    @value_and_grad(has_aux=True)
    def aux(x: Any) -> Any:
        return x * x, {"x": x + 1}

    assert double(2.0) == 4.0
    assert power(2.0, 3) == 8.0
    assert slope(3.0) == 6.0
    assert second(3.0, 4.0) == 3.0
    assert both(3.0) == (9.0, 6.0)
    assert aux(3.0) == ((9.0, {"x": 4.0}), 6.0)
    assert double.__name__ == "double"
    assert double.__doc__ == "Twice x."
    assert list(inspect.signature(power).parameters) == ["x", "n"]
    assert repr(second) == "<jitgrad gradient of second>"


def test_has_aux_of_grad_and_vjp() -> None:
    def function(x: Any) -> Any:
        return np.sum(x * x), (x + 1, "name", 3)

    gradient, aux = grad(function, has_aux=True)(X)
    np.testing.assert_array_equal(gradient, 2 * X)
    np.testing.assert_array_equal(aux[0], X + 1)
    assert aux[1:] == ("name", 3)
    value, pull, aux = vjp(function, X, has_aux=True)
    assert value == np.sum(X * X)
    assert aux[1:] == ("name", 3)
    np.testing.assert_array_equal(pull(2.0)[0], 4 * X)


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [
        (0, 12.0),
        (1, 8.0),
        (-1, 6.0),
        ((0, 2), (12.0, 6.0)),
        ([1], (8.0,)),
        ((-1, 0), (6.0, 12.0)),
        (np.int64(2), 6.0),
    ],
)
def test_argnums_choose_the_arguments(argnums: Any, expected: Any) -> None:
    assert interpret(grad(lambda x, y, z: x * y * z, argnums))(2.0, 3.0, 4.0) == expected


def test_keywords_are_traced_and_may_be_differentiated_in_order() -> None:
    def function(x: Any, y: Any = 3.0, *, scale: Any = 1.0) -> Any:
        return x * y * scale

    gradient = interpret(grad(function, argnums=(0, 1)))
    assert gradient(2.0, scale=5.0, y=4.0) == (20.0, 10.0)
    assert gradient(x=2.0, y=4.0) == (4.0, 2.0)
    assert interpret(grad(function))(2.0) == 3.0


def test_methods_are_compiled_for_each_object() -> None:
    class Model:
        def __init__(self, w: float) -> None:
            self.w = np.full(4, w)

        @jit
        def forward(self, x: Any) -> Any:
            return self.w * x

        @value_and_grad
        def loss(self, x: Any) -> Any:
            return np.sum(self.forward(x) ** 2)

        @staticmethod
        @jit
        def double(x: Any) -> Any:
            return x * 2

    one, two = Model(1.0), Model(2.0)
    np.testing.assert_array_equal(one.forward(X), X)
    np.testing.assert_array_equal(two.forward(X), 2 * X)
    np.testing.assert_array_equal(two.loss(X)[1], 8 * X)
    np.testing.assert_array_equal(Model.double(X), 2 * X)
    assert one.loss.graph(X).inputs[0].shape == (4,)
    one.w = np.full(4, 3.0)
    np.testing.assert_array_equal(one.forward(X), 3 * X)
    two.w *= 2
    np.testing.assert_array_equal(two.forward(X), 4 * X)


def test_nested_transforms_of_a_method_are_traced_once_for_each_object() -> None:
    runs = []

    class Model:
        @jit
        @grad
        def slope(self, x: Any) -> Any:
            runs.append(1)
            return np.sum(x * x)

    model = Model()
    for _ in range(3):
        np.testing.assert_array_equal(model.slope(X), 2 * X)
    assert len(runs) == 1


def test_callable_objects_and_partials_are_functions() -> None:
    class Square:
        factor = 1.0

        def __call__(self, x: Any) -> Any:
            return self.factor * np.sum(x * x)

    square = Square()
    gradient = interpret(grad(square))
    np.testing.assert_array_equal(gradient(X), 2 * X)
    square.factor = 3.0
    np.testing.assert_array_equal(gradient(X), 6 * X)
    power = interpret(grad(functools.partial(lambda n, x: np.sum(x**n), 2)))
    np.testing.assert_array_equal(power(X), 2 * X)


def test_static_arguments_by_position_keyword_and_default() -> None:
    @jit(static_argnames=("n", "mode"))
    def function(x: Any, n: int = 2, mode: str = "sum") -> Any:
        for _ in range(n):
            x = x * 2
        return x.sum() if mode == "sum" else x.max()

    assert function(X) == 4 * X.sum()
    assert function(X, 1) == 2 * X.sum()
    assert function(X, n=3) == 8 * X.sum()
    assert function(X, 1, "max") == 2 * X.max()
    assert function(X, mode="max", n=0) == X.max()
    assert grad(function)(X, n=3).tolist() == [8.0] * 4  # inherited


def test_static_arguments_that_are_equal_but_not_the_same_are_told_apart() -> None:
    function = interpret(jit(lambda x, n: x * n, static_argnames="n"))
    assert function(np.ones(1, np.int32), 1).dtype == np.int32
    assert function(np.ones(1, np.int32), 1.0).dtype == np.float64
    assert function(np.ones(1, np.int32), True).dtype == np.int32


# Values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [jit, interpret])
def test_results_are_what_numpy_functions_return(wrap: Any) -> None:
    function = wrap(lambda x: {"sum": x.sum(), "array": x * 2, "first": x[0], "flag": x.sum() > 0})
    for dtype in (np.float32, np.float64):
        got = function(X.astype(dtype))
        assert type(got["sum"]) is dtype
        assert type(got["first"]) is dtype
        assert type(got["flag"]) is np.bool_
        assert got["array"].dtype == dtype


def test_value_and_gradient_of_python_numbers_are_numpy_numbers() -> None:
    value, gradient = value_and_grad(lambda x: x * x)(3.0)
    assert type(value) is np.float64
    assert type(gradient) is np.float64


def test_python_numbers_are_run_time_values() -> None:
    function, runs = counted(lambda x, s, n: x * s + n)
    compiled = jit(function)
    for s, n in ((1.0, 1), (2.0, 2), (-3.5, -3)):
        np.testing.assert_array_equal(compiled(X, s, n), X * s + n)
    assert len(runs) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.int16, bool])
@pytest.mark.parametrize("number", [2, 2.5, True, np.float32(2), np.float64(2), np.int8(2), np.array(2.0)])
def test_promotion_is_that_of_numpy(dtype: Any, number: Any) -> None:
    x = np.ones(3, dtype)
    got = interpret(jit(lambda x, s: x * s))(x, number)
    assert got.dtype == (x * number).dtype
    np.testing.assert_array_equal(got, x * number)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda x: x,
    "Fortran": np.asfortranarray,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "big-endian": lambda x: x.astype(">f8"),
    "field": lambda x: np.rec.fromarrays([np.zeros(x.shape, "i4"), x], names="a,b")["b"],
    "read-only": lambda x: np.frombuffer(x.tobytes()).reshape(x.shape),
    "unaligned": lambda x: np.frombuffer(b"1" + x.tobytes(), np.uint8)[1:].view(float).reshape(x.shape),
    "memory map": lambda x: x.view(np.memmap),
    "one row": lambda x: x[:1],
    "empty": lambda x: x[:0],
}


@pytest.mark.parametrize("wrap", [jit, interpret])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_arguments_of_any_layout(layout: Any, wrap: Any) -> None:
    x = layout(np.arange(12.0).reshape(3, 4) - 5)
    value, gradient = wrap(value_and_grad(lambda x, w: np.sum(x * x * w)))(x, np.arange(4.0))
    np.testing.assert_allclose(value, np.sum(np.asarray(x) ** 2 * np.arange(4.0)))
    np.testing.assert_allclose(gradient, 2 * np.asarray(x) * np.arange(4.0))
    assert gradient.shape == x.shape


def test_arguments_are_not_modified() -> None:
    def function(x: Any, d: Any) -> Any:
        x += 1
        x[0] = 5
        d["w"] *= 2
        d["new"] = x
        return np.sum(x * d["w"])

    args = (X.copy(), {"w": X.copy()})
    before = copy.deepcopy(args)
    value_and_grad(function, argnums=(0, 1))(*args)
    vjp(function, *args)[1](1.0)
    interpret(jit(lambda x, d: jit(function)(x, d) + np.sum(x)))(*args)
    np.testing.assert_array_equal(args[0], before[0])
    np.testing.assert_array_equal(args[1]["w"], before[1]["w"])
    assert list(args[1]) == ["w"]


def test_gradients_agree_with_finite_differences() -> None:
    check_gradient(lambda x, y: np.sum(np.exp(-x * y[::-1]) * np.tanh(x)), X / 4, np.cos(X))
    check_gradient(lambda x, w: np.sum(np.maximum(w @ x, 0) ** 2), X, np.arange(12.0).reshape(3, 4) - 4)
    check_gradient(lambda x: np.linalg.norm(x[1:] - x[:-1]) * x.std(), X)


def test_gradients_agree_with_jax() -> None:
    def function(module: Any, params: Any, x: Any) -> Any:
        hidden = module.tanh(x @ params["w"] + params["b"])
        return module.mean(module.sum(hidden * hidden, axis=1) * params["s"])

    rng = np.random.default_rng(0)
    params = {"w": rng.standard_normal((4, 3)), "b": rng.standard_normal(3), "s": 1.5}
    x = rng.standard_normal((5, 4))
    value, gradient = value_and_grad(functools.partial(function, np))(params, x)
    expected, expected_gradient = jax.value_and_grad(functools.partial(function, jax.numpy))(params, x)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for name, part in gradient.items():
        np.testing.assert_allclose(part, expected_gradient[name], rtol=1e-12)


def test_an_argument_that_does_not_matter_has_gradient_zero() -> None:
    gradients = interpret(grad(lambda x, y, z: np.sum(x), (1, 2)))(X, X.astype(np.float32), 1.0)
    np.testing.assert_array_equal(gradients[0], np.zeros(4, np.float32))
    assert gradients[0].dtype == np.float32
    assert gradients[1] == 0.0


def test_a_constant_function_has_gradient_zero() -> None:
    value, gradient = interpret(value_and_grad(lambda x: 3.0))(X)
    assert value == 3.0
    np.testing.assert_array_equal(gradient, np.zeros(4))


def test_equal_gradients_do_not_share_memory() -> None:
    first, second = grad(lambda x, y: np.sum(x + y), (0, 1))(X, X)
    first *= 5
    np.testing.assert_array_equal(second, np.ones(4))


def test_scipy_minimizes_with_value_and_grad() -> None:
    @value_and_grad
    def rosenbrock(x: Any) -> Any:
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    found = scipy.optimize.minimize(rosenbrock, np.zeros(5), jac=True, method="L-BFGS-B")
    np.testing.assert_allclose(found.x, np.ones(5), atol=1e-3)


# Nesting ----------------------------------------------------------------------------------------------


def test_derivatives_of_any_order() -> None:
    function: Any = lambda x: x**4
    for expected in (32.0, 48.0, 48.0, 24.0, 0.0):
        function = grad(function)
        assert interpret(function)(2.0) == expected


def test_derivatives_of_derivatives_inside_a_function() -> None:
    def laplacian(x: Any) -> Any:
        f = lambda x: np.sum(np.exp(x) * x**2)
        return sum(grad(lambda x, i=i: grad(f)(x)[i])(x)[i] for i in range(4))

    x = X / 4
    expected = np.sum(np.exp(x) * (x**2 + 4 * x + 2))
    np.testing.assert_allclose(jit(laplacian)(x), expected, rtol=1e-13)


def test_perturbations_are_not_confused() -> None:
    # d/dx (x * d/dy (x + y)) at x = 1 is 1; a confused inner derivative would give 2
    assert interpret(grad(lambda x: x * grad(lambda y: x + y)(1.0)))(1.0) == 1.0
    # with the same value as argument of both
    assert interpret(grad(lambda x: x * grad(lambda y: x * y)(x)))(3.0) == 6.0
    assert interpret(grad(lambda x: grad(lambda y: x * y * y)(x)))(3.0) == 12.0


def test_inner_functions_close_over_traced_values() -> None:
    @jit
    def outer(x: Any) -> Any:
        inner = lambda w: np.sum(x * w)
        return grad(inner)(np.ones(4)) + jit(lambda: x * 2)()

    np.testing.assert_array_equal(outer(X), 3 * X)


def test_an_inner_function_that_assigns_to_an_outer_value() -> None:
    def outer(x: Any) -> Any:
        total = np.zeros_like(x)

        def inner(y: Any) -> Any:
            total[...] = y * 3
            return np.sum(y * y)

        slope = grad(inner)(x * 2)
        return np.sum(slope + total)

    value, gradient = interpret(value_and_grad(outer))(X)
    np.testing.assert_allclose(value, np.sum(4 * X + 6 * X))
    np.testing.assert_allclose(gradient, np.full(4, 10.0))


def test_transforms_compose() -> None:
    square = lambda x: np.sum(x * x)
    for function in (
        jit(grad(square)),
        grad(jit(square)),
        jit(jit(grad(jit(square)))),
        jit(lambda x: vjp(square, x)[1](1.0)[0]),
    ):
        np.testing.assert_array_equal(interpret(function)(X), 2 * X)
    hessian_product = grad(lambda x: np.sum(grad(square)(x) * X))
    np.testing.assert_array_equal(interpret(hessian_product)(X), 2 * X)


def test_vjp_inside_grad() -> None:
    def function(x: Any) -> Any:
        y, pull = vjp(lambda x: x**3, x)
        x += 100  # the pullback keeps the value that it had
        return np.sum(pull(y)[0]) + np.sum(pull(2 * y)[0])

    np.testing.assert_allclose(interpret(function)(X), np.sum(9 * X**5))
    np.testing.assert_allclose(interpret(grad(function))(X), 45 * X**4)


def test_a_recursive_function() -> None:
    @functools.partial(jit, static_argnames="n")
    def factorial(x: Any, n: int) -> Any:
        return x if n == 0 else n * factorial(x, n - 1)

    assert factorial(1.0, 5) == 120.0


# vjp --------------------------------------------------------------------------------------------------


def test_vjp_returns_a_cotangent_for_each_argument() -> None:
    def function(p: Any, n: Any, y: Any) -> Any:
        return {"a": p["x"] * y, "b": [np.sum(p["x"]), n + 1]}

    out, pull = vjp(function, {"x": X, "n": 3}, np.arange(4), 2.0)
    np.testing.assert_array_equal(out["a"], 2 * X)
    np.testing.assert_array_equal(out["b"][1], np.arange(4) + 1)
    first, second, third = pull({"a": np.ones(4), "b": [10.0, None]})
    np.testing.assert_array_equal(first["x"], np.full(4, 12.0))
    assert first["n"] is None
    assert second is None
    assert third == X.sum()


def test_a_pullback_can_be_called_again() -> None:
    _, pull = vjp(lambda x: np.sin(x), X)
    for g in (np.ones(4), X, X[::-1], np.broadcast_to(2.0, 4)):
        np.testing.assert_allclose(pull(g)[0], np.cos(X) * g)


def test_overwriting_between_vjp_and_pull_does_not_change_the_gradient() -> None:
    x, fortran, weights = X.copy(), np.asfortranarray(np.arange(8.0).reshape(4, 2)), X.copy()
    out, pull = vjp(lambda x, f: np.sum(x**2 * weights) + np.sum(f**2), x, fortran)
    x[:] = 0
    fortran[:] = 0
    weights[:] = 0
    gradients = pull(1.0)
    np.testing.assert_array_equal(gradients[0], 2 * X * X)
    np.testing.assert_array_equal(gradients[1], 2 * np.arange(8.0).reshape(4, 2))
    out, pull = vjp(lambda x: x * weights, X)
    out[:] = 7
    np.testing.assert_array_equal(pull(np.ones(4))[0], np.zeros(4))


def test_what_the_pullback_does_not_need_is_not_copied() -> None:
    x = X.copy()
    _, pull = vjp(lambda x: 2 * x, x)
    assert pull._arrays[0] is x


def test_a_pullback_made_outside_runs_inside_a_trace() -> None:
    _, pull = vjp(lambda x: np.sum(x * x), X)
    np.testing.assert_array_equal(interpret(jit(lambda g: pull(g)[0] * 2))(3.0), 12 * X)


# Tracing again ----------------------------------------------------------------------------------------


def test_a_function_is_traced_once_for_each_kind_of_arguments() -> None:
    function, runs = counted(lambda x, y: x * y)
    compiled = interpret(jit(function))
    kinds = [
        (X, X),
        (X, X[:1]),
        (X.astype(np.float32), X),
        (X, 2.0),
        (X, 2),
        (X, np.float64(2)),
        (X, np.array(2.0)),
        (X, True),
    ]
    for _ in range(2):
        for args in kinds:
            np.testing.assert_array_equal(compiled(*args), args[0] * args[1])
        compiled(X, y=X)
    assert len(runs) == len(kinds) + 1


def test_transforms_made_anew_share_their_programs() -> None:
    function, runs = counted(lambda x: np.sum(x * x))
    for _ in range(3):
        grad(function)(X)
    assert len(runs) == 1
    value_and_grad(function)(X)
    assert len(runs) == 2


def test_a_function_that_dies_takes_its_programs_along() -> None:
    def use() -> Any:
        weights = np.ones(4)

        def function(x: Any) -> Any:
            return np.sum(x * weights)

        interpret(grad(function))(X)
        vjp(function, X)[1](1.0)
        return weakref.ref(weights)

    alive = use()
    gc.collect()
    assert alive() is None


def test_another_global_value_is_noticed() -> None:
    global SCALE, WEIGHTS
    compiled = interpret(jit(lambda x: x * SCALE + WEIGHTS))
    np.testing.assert_array_equal(compiled(X), X * 2 + 1)
    try:
        SCALE = 3.0
        np.testing.assert_array_equal(compiled(X), X * 3 + 1)
        WEIGHTS = np.zeros(4)
        np.testing.assert_array_equal(compiled(X), X * 3)
    finally:
        SCALE, WEIGHTS = 2.0, np.ones(4)


def test_another_value_of_a_closure_variable_is_noticed() -> None:
    scale, mode, flag = 2.0, "times", None
    compiled = interpret(jit(lambda x: x * scale if mode == "times" and flag is None else x + scale))
    np.testing.assert_array_equal(compiled(X), X * 2)
    scale = 3.0
    np.testing.assert_array_equal(compiled(X), X * 3)
    mode = "plus"
    np.testing.assert_array_equal(compiled(X), X + 3)
    mode, flag = "times", True
    np.testing.assert_array_equal(compiled(X), X + 3)


def test_another_value_in_a_container_or_an_attribute_is_noticed() -> None:
    options = {"scale": 2.0, "list": [1.0]}

    class Model:
        def __init__(self) -> None:
            self.weights = np.ones(4)
            self.inner = SimpleNamespace(bias=1.0)

    own = Model()

    def helper(x: Any) -> Any:
        return x * own.weights + own.inner.bias

    compiled = interpret(jit(lambda x: helper(x) * options["scale"] + options["list"][0]))
    np.testing.assert_array_equal(compiled(X), (X + 1) * 2 + 1)
    options["scale"] = 3.0
    np.testing.assert_array_equal(compiled(X), (X + 1) * 3 + 1)
    options["list"].append(1.0)
    options["list"][0] = 5.0
    np.testing.assert_array_equal(compiled(X), (X + 1) * 3 + 5)
    own.weights = np.zeros(4)
    np.testing.assert_array_equal(compiled(X), np.ones(4) * 3 + 5)
    own.inner.bias = 0.0
    np.testing.assert_array_equal(compiled(X), np.zeros(4) + 5)


def test_a_function_that_counts_its_runs_is_not_traced_forever() -> None:
    runs = 0

    @jit
    def function(x: Any) -> Any:
        nonlocal runs
        runs += 1
        return x * 2

    for _ in range(5):
        function(X)
    assert runs == 1


def test_a_variable_that_changes_all_the_time_leads_to_a_warning() -> None:
    step = 0
    compiled = interpret(jit(lambda x: x * step))
    with pytest.warns(jitgrad.JitgradWarning, match="step, which it reads from outside"):
        for step in range(30):  # noqa: B007
            compiled(X)


def test_old_programs_make_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["jitgrad.jit"], "MAX_PROGRAMS", 3)
    compiled = interpret(jit(lambda x: x * 2))
    for n in range(8):
        np.testing.assert_array_equal(compiled(np.ones(n)), np.full(n, 2.0))
    assert len(compiled._entries) == 3


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_a_thousand_shapes_compile_nothing_and_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["jitgrad.jit"], "MAX_PROGRAMS", 16)

    def wave(x: Any) -> Any:
        return np.sum(np.sin(x) * x)

    def rows(x: Any) -> Any:
        powers = np.exp(x - np.max(x, axis=1, keepdims=True))
        return np.sum((powers / np.sum(powers, axis=1, keepdims=True)) ** 2)

    def points(x: Any) -> Any:
        return np.sum(np.sqrt(np.sum((x[:, None, :] - x[None, :, :]) ** 2, axis=2) + 1.0))

    makers = (lambda n: np.ones(n), lambda n: np.ones((n, n + 40)), lambda n: np.ones((n, 3)))
    functions = [value_and_grad(f) for f in (wave, rows, points)]

    def call(sizes: range) -> None:
        for n in sizes:
            for function, make in zip(functions, makers, strict=True):
                function(make(n))

    call(range(40, 100))
    gc.collect()
    compiled, resident = counters.compiled, resident_bytes()
    call(range(100, 434))
    gc.collect()
    assert counters.compiled == compiled
    assert resident_bytes() - resident < 32 << 20  # 1000 programs that stay would take more


def test_donated_arrays_hold_the_results() -> None:
    step = jit(lambda p, g: {k: p[k] - 0.5 * g[k] for k in p}, donate_argnums=0)
    p = {"w": np.arange(10.0), "b": np.ones((30, 20))}
    g = {k: np.full_like(v, 2.0) for k, v in p.items()}
    expected = {k: p[k] - 0.5 * g[k] for k in p}
    result = step(p, g)
    for k in p:
        assert np.shares_memory(result[k], p[k]) and not np.shares_memory(result[k], g[k])
        np.testing.assert_array_equal(result[k], expected[k])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.cumsum(x) + x,
        lambda x: x[::-1] * 2.0,
        lambda x: x - np.sum(x),
        lambda x: (np.exp(x), np.sin(x)),
        lambda x: (x, x + 1.0),
        lambda x: x + x[0],
        lambda x: x.astype(np.float32),
        lambda x: (x * 2.0)[1:] - (x * 2.0)[:-1],
        lambda x: np.exp(x - np.max(x)) / np.sum(np.exp(x - np.max(x))),
        lambda x: np.linalg.inv(x.reshape(20, 20) + np.eye(20) * 50) @ x.reshape(20, 20),
    ],
)
def test_donation_does_not_change_results(function: Callable[..., Any]) -> None:
    x = np.random.default_rng(0).standard_normal(400)
    expected = jit(function)(x)
    given = x.copy()
    result = jit(function, donate_argnums=0)(given)
    for a, b in zip(flatten(result)[0], flatten(expected)[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_donated_array_must_be_free_to_be_overwritten() -> None:
    step = jit(lambda x, y: x + y, donate_argnums=0)
    x = np.ones(4)
    with pytest.raises(ValueError, match=r"test_jit\.py:\d+ shares memory"):
        step(x, x)
    with pytest.raises(ValueError, match="C-contiguous and writable"):
        step(np.ones(8)[::2], x)
    frozen = np.ones(4)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="C-contiguous and writable"):
        step(frozen, x)
    with pytest.raises(TypeError, match="donate_argnums"):
        jit(lambda x: x, donate_argnums=-1)
    np.testing.assert_array_equal(jit(lambda x, k: x * k, donate_argnums=(0, 1))(x, 3.0), np.full(4, 3.0))


def test_warm_compiles_without_running() -> None:
    function, runs = counted(lambda p: np.sum(p["w"] ** 2) + p["b"])
    slope = jitgrad.compile(grad(function)).warm({"w": jitgrad.aval((5, 3), "float32"), "b": np.float32(1)})
    assert len(runs) == 1
    result = slope({"w": np.ones((5, 3), np.float32), "b": np.float32(2)})
    assert len(runs) == 1
    np.testing.assert_array_equal(result["w"], np.full((5, 3), 2.0))
    shaped = SimpleNamespace(shape=(7,), dtype=np.dtype(np.float64))
    total, runs = counted(lambda x, scale: np.sum(x) * scale)
    compiled = jitgrad.compile(total).warm(shaped, scale=2.0)
    assert compiled(np.ones(7), scale=3.0) == 21.0 and len(runs) == 1
    assert jitgrad.compile(compiled) is compiled


def test_threads_may_call_a_function_for_the_first_time_at_once() -> None:
    function, runs = counted(lambda x: np.sum(np.exp(x) * 2))
    compiled = value_and_grad(function)
    start = threading.Barrier(4)
    results: list[Any] = []

    def call() -> None:
        start.wait()
        results.append(compiled(X))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1
    for _, gradient in results:
        np.testing.assert_allclose(gradient, 2 * np.exp(X))


def test_an_error_while_tracing_leaves_nothing_behind() -> None:
    broken = True

    @jit
    def function(x: Any) -> Any:
        if broken:
            raise RuntimeError("mine")
        return x * 2

    with pytest.raises(RuntimeError, match="mine"):
        function(X)
    broken = False
    np.testing.assert_array_equal(function(X), 2 * X)


# Inspection -------------------------------------------------------------------------------------------


def test_graph_source_and_explanation() -> None:
    function = value_and_grad(lambda x: np.sum(np.exp(x)))
    graph = function.graph(X)
    assert isinstance(graph, jitgrad.Graph)
    assert len(graph.outputs) == 2
    assert "def kernel" in function.source(X)
    assert len(function.explain(X).kernels) == 1
    with pytest.raises(TypeError, match="interpreted, not compiled"):
        interpret(function).source(X)


def test_functions_can_be_copied() -> None:
    function = jit(lambda x: x * 2)
    assert copy.deepcopy({"f": function})["f"] is function
    assert copy.copy(function) is function


def test_importing_the_namespace_does_not_import_the_compiler() -> None:
    code = "import sys, jitgrad, jitgrad.numpy; assert 'llvmlite' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
