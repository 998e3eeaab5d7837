"""jitgrad.vmath: exact functions, types, vectorisation, and equal bits in lanes and tails."""

from __future__ import annotations

import inspect
import platform
import re
import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numba import njit, types
from numba.core.errors import TypingError

from jitgrad import vmath
from jitgrad.accuracy import FUNCTIONS
from jitgrad.vmath import coefficients

INF, NAN = np.inf, np.nan
DTYPES = [np.float32, np.float64]
X86 = platform.machine().lower() in ("x86_64", "amd64")


ROUNDED = list(dict.fromkeys(function.routine for function in FUNCTIONS.values()))
UNARY = [name for name in ROUNDED if name not in ("arctan2", "hypot", "power")]
EXACT_UNARY = ["fabs", "rint", "floor", "ceil", "trunc", "sign"]
EXACT_BINARY = ["maximum", "minimum", "copysign", "floor_divide", "remainder", "fmod"]
NOT_VECTORISED = ["floor_divide", "remainder", "fmod"]  # in float64, which calls the C library's fmod


@cache
def loop(name, dtype):
    """Compile the loop out[i] = name(x[i], ...) over arrays of `dtype`."""
    routine = getattr(vmath, name)
    array = types.Array(types.float32 if dtype is np.float32 else types.float64, 1, "C")

    def unary(x, out):
        for i in range(x.shape[0]):
            out[i] = routine(x[i])

    def binary(x, y, out):
        for i in range(x.shape[0]):
            out[i] = routine(x[i], y[i])

    arity = len(inspect.signature(routine).parameters)
    signature = types.void(*[array] * (arity + 1))
    return njit(signature, error_model="numpy")(unary if arity == 1 else binary)


def evaluate(name, *arguments):
    """Return the routine's values on equal-length arrays."""
    out = np.empty_like(arguments[0])
    loop(name, arguments[0].dtype.type)(*arguments, out)
    return out


def one(name, dtype, *arguments):
    """Return the routine's value on numbers."""
    return evaluate(name, *(np.array([a], dtype) for a in arguments))[0]


def any_floats(dtype, size, rng):
    """Return random finite bit patterns, and powers of two times random signs."""
    bits = rng.integers(0, 2 ** (8 * dtype().itemsize), size, dtype=np.dtype(f"u{dtype().itemsize}"))
    near = np.exp2(rng.uniform(-12, 12, size)) * rng.choice([-1, 1], size)
    x = np.concatenate([bits.view(dtype), near.astype(dtype)])
    return x[np.isfinite(x)]


EDGES = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    3.0,
    -3.0,
    2.5,
    -7.25,
    1e-40,
    -1e-40,
    1e30,
    INF,
    -INF,
    NAN,
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT_BINARY)
def test_every_pair_of_edge_values_agrees_with_numpy(name, dtype):
    x, y = (np.ascontiguousarray(a.ravel(), dtype) for a in np.meshgrid(EDGES, EDGES))
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y)
    got = evaluate(name, x, y)
    np.testing.assert_array_equal(got, expected)
    known = ~np.isnan(expected)
    if name in ("maximum", "minimum"):  # NumPy may return either zero
        known &= expected != 0
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(expected[known]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT_UNARY)
def test_rounding_and_sign_agree_with_numpy_on_any_bits(name, dtype):
    x = np.concatenate([any_floats(dtype, 300, np.random.default_rng(3)), np.array(EDGES, dtype)])
    np.testing.assert_array_equal(evaluate(name, x), getattr(np, name)(x))


@pytest.mark.parametrize("dtype", DTYPES)
def test_maximum_and_minimum_order_zeros(dtype):
    assert not np.signbit(one("maximum", dtype, -0.0, 0.0)) and not np.signbit(
        one("maximum", dtype, 0.0, -0.0)
    )
    assert np.signbit(one("minimum", dtype, -0.0, 0.0)) and np.signbit(one("minimum", dtype, 0.0, -0.0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
def test_float_division_agrees_with_numpy(name, dtype):
    rng = np.random.default_rng(4)
    x, y = any_floats(dtype, 3000, rng), any_floats(dtype, 3000, rng)
    x, y = x[: min(x.size, y.size)], y[: min(x.size, y.size)]
    y[::5] = (x[::5] / rng.integers(1, 50, x[::5].size)).astype(dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(evaluate(name, x, y), getattr(np, name)(x, y))


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod", "maximum", "minimum"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
def test_integer_operations_agree_with_numpy_and_never_trap(name, dtype):
    routine = getattr(vmath, name)

    @njit
    def run(x, y, out):
        for i in range(x.shape[0]):
            out[i] = routine(x[i], y[i])

    info = np.iinfo(dtype)
    edges = np.array([0, 1, 2, 3, 7, 100, info.max, info.min, info.max - 1, info.min + 1], dtype)
    edges = np.concatenate([edges, -edges]) if info.min < 0 else edges
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(edges, edges))
    out = np.empty_like(x)
    run(x, y, out)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(out, getattr(np, name)(x, y))


@pytest.mark.parametrize("kind", [types.float32, types.float64])
@pytest.mark.parametrize("name", [*ROUNDED, *EXACT_UNARY, *EXACT_BINARY])
def test_result_has_the_type_of_the_arguments(name, kind):
    from numba.core.registry import cpu_target

    routine = getattr(vmath, name)
    context = cpu_target.typing_context
    context.refresh()
    arity = len(inspect.signature(routine).parameters)
    assert context.resolve_value_type(routine).get_call_type(context, (kind,) * arity, {}).return_type == kind


def test_mixed_float_types_are_refused():
    @njit
    def mixed(x, y):
        return vmath.maximum(x, y)

    with pytest.raises(TypingError, match="arguments of one type"):
        mixed(np.float32(1), 2.0)


def test_select_computes_no_branch_and_fma_rounds_once():
    @njit
    def run(x):
        return vmath.select(x > np.float32(0), x, -x), vmath.fma(x, x, -x * x)

    kept, rounding = run(np.float32(-1.1))
    assert type(kept) is float and kept == float(np.float32(1.1))
    assert rounding == float(np.float32(np.float64(np.float32(1.1)) ** 2 - np.float64(np.float32(1.1) ** 2)))


@pytest.mark.skipif(not X86, reason="reads x86 assembly")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ROUNDED, *EXACT_UNARY, *EXACT_BINARY])
def test_loop_vectorises(name, dtype):
    if name in NOT_VECTORISED and dtype is np.float64:
        pytest.skip("calls the C library's fmod")
    compiled = loop(name, dtype)
    text = compiled.inspect_asm(compiled.signatures[0])
    packed_store = r"mov(?:up[sd]|dqu\w*|ap[sd])\s+%[xyz]mm\d+, -?\w*\(%\w+,%\w+"
    assert re.search(packed_store, text), f"{name} stores one element at a time"
    assert not re.search(r"\bcallq?\b", text.split("_ZN7cpython")[0]), f"{name} calls a function"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*UNARY, "power"])
def test_lanes_and_tails_give_the_same_bits(name, dtype):
    rng = np.random.default_rng(5)
    arguments = [rng.uniform(0.1, 3, 70).astype(dtype) for _ in range(2 if name == "power" else 1)]
    single = np.concatenate([evaluate(name, *(a[i : i + 1] for a in arguments)) for i in range(70)])
    for size in range(1, 71):
        got = evaluate(name, *(a[:size] for a in arguments))
        assert got.tobytes() == single[:size].tobytes(), size


@pytest.mark.parametrize("name", ["exp", "tanh", "power"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_ufunc_gives_the_bits_of_the_compiled_loop(name, dtype):
    ufunc = vmath.ufunc(name)
    assert isinstance(ufunc, np.ufunc) and vmath.ufunc(name) is ufunc
    rng = np.random.default_rng(6)
    arguments = [rng.uniform(0.1, 3, 131).astype(dtype) for _ in range(ufunc.nin)]
    got = ufunc(*arguments)
    assert got.dtype == dtype and got.tobytes() == evaluate(name, *arguments).tobytes()
    strided = [np.repeat(a, 3)[::3] for a in arguments]
    assert ufunc(*strided).tobytes() == got.tobytes()


def test_ufunc_of_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="no routine 'tanhh'"):
        vmath.ufunc("tanhh")


def test_fast_math_does_not_change_a_routine():
    def body(x, out):
        for i in range(x.shape[0]):
            out[i] = vmath.expm1(x[i])

    x = np.random.default_rng(2).uniform(-2, 2, 500)
    exact, fast = np.empty_like(x), np.empty_like(x)
    njit(error_model="numpy")(body)(x, exact)
    njit(error_model="numpy", fastmath=True)(body)(x, fast)
    assert exact.tobytes() == fast.tobytes()


@pytest.mark.parametrize("name", ["SIN", "LOG_PLAIN"])
def test_coefficients_come_from_the_tool(name):
    path = Path(__file__).parent.parent / "tools" / "minimax.py"
    tool = runpy.run_path(str(path))
    expected = getattr(coefficients, name)[32]
    assert tuple(tool["fit"](tool["FITS"][name], 32)[0]) == expected


def test_fingerprint_names_the_source():
    assert re.fullmatch("[0-9a-f]{16}", vmath.fingerprint())
