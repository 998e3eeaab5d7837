"""jitgrad.vmath: accuracy, special values, types, vectorisation, and equal bits in lanes and tails."""

from __future__ import annotations

import inspect
import platform
import re
import runpy
from functools import cache
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from numba import njit, types
from numba.core.errors import TypingError

from jitgrad import vmath
from jitgrad.vmath import coefficients

INF, NAN = np.inf, np.nan
DTYPES = [np.float32, np.float64]
X86 = platform.machine().lower() in ("x86_64", "amd64")


def softplus(x):
    return mp.log1p(mp.exp(x))


def log_abs_gamma(x):
    return mp.loggamma(x).real


# name: (reference, bound in ulp, intervals beside the random bit patterns and powers of two)
UNARY = {
    "exp": (mp.exp, 1, [(-110, 90), (-750, 711), (-1, 1)]),
    "exp2": (lambda x: mp.mpf(2) ** x, 1, [(-155, 130), (-1080, 1026), (-1, 1)]),
    "expm1": (mp.expm1, 1, [(-40, 90), (0, 711), (-1, 1)]),
    "log": (mp.log, 1, [(0.5, 2), (0.9, 1.1)]),
    "log2": (lambda x: mp.log(x) / mp.log(2), 1, [(0.5, 2), (0.9, 1.1)]),
    "log10": (mp.log10, 1, [(0.5, 2), (0.9, 1.1)]),
    "log1p": (mp.log1p, 1, [(-1, 2), (-0.3, 0.5)]),
    "sin": (mp.sin, 1, [(-4, 4), (-1e3, 1e3)]),
    "cos": (mp.cos, 1, [(-4, 4), (-1e3, 1e3)]),
    "tan": (mp.tan, 2, [(-4, 4), (-1e3, 1e3)]),
    "arcsin": (mp.asin, 2, [(-1, 1), (0.4, 0.6)]),
    "arccos": (mp.acos, 2, [(-1, 1), (0.4, 0.6)]),
    "arctan": (mp.atan, 2, [(-3, 3), (0.8, 1.2)]),
    "sinh": (mp.sinh, 2, [(-90, 90), (-711, 711), (-2, 2)]),
    "cosh": (mp.cosh, 2, [(-90, 90), (-711, 711), (-2, 2)]),
    "tanh": (mp.tanh, 1, [(-25, 25), (-1, 1)]),
    "arcsinh": (mp.asinh, 2, [(-3, 3), (-1e5, 1e5)]),
    "arccosh": (mp.acosh, 2, [(1, 3), (1, 1.1), (1, 1e5)]),
    "arctanh": (mp.atanh, 2, [(-1, 1), (-0.2, 0.2)]),
    "cbrt": (lambda x: mp.sign(x) * mp.cbrt(abs(x)), 1, [(-8, 8)]),
    "sqrt": (mp.sqrt, 0.5, [(0, 8)]),
    "erf": (mp.erf, 1, [(-6, 6), (-1, 1)]),
    "erfc": (mp.erfc, 2, [(-6, 27), (-1, 1), (5, 11)]),
    "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), 1, [(-110, 90), (-750, 711), (-5, 5)]),
    "softplus": (softplus, 2, [(-110, 90), (-750, 711), (-5, 5)]),
    "lgamma": (log_abs_gamma, 2, [(0.5, 3), (0, 30)]),
    "digamma": (mp.digamma, 2, [(0.5, 3), (0, 30)]),
}
BINARY = {"power": (mp.power, 1), "hypot": (mp.hypot, 1), "arctan2": (mp.atan2, 2)}
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


def ulp(value, dtype):
    """Return the distance between neighbouring floats at `value`, an mpmath number."""
    digits, lowest = (24, -149) if dtype is np.float32 else (53, -1074)
    return mp.ldexp(1, max(mp.frexp(value)[1] - digits, lowest) if value else lowest)


def error_in_ulp(got, exact, dtype):
    """Return the error; 0 for an infinity that stands for an overflow."""
    largest = mp.mpf(float(np.finfo(dtype).max))
    if np.isinf(got):
        overflows = abs(exact) > largest and (exact > 0) == (got > 0)
        return 0.0 if overflows else INF
    return float(abs(mp.mpf(float(got)) - exact) / ulp(exact, dtype)) if np.isfinite(got) else INF


def worst(reference, got, dtype, *arguments):
    """Return the largest error in ulp with its arguments; real results only."""
    found = (0.0, None)
    for *point, y in zip(*arguments, got, strict=True):
        with mp.workprec(1300 if reference in (mp.sin, mp.cos, mp.tan) else 400):
            exact = reference(*(mp.mpf(float(p)) for p in point))
        if isinstance(exact, mp.mpf) and mp.isfinite(exact):
            found = max(found, (error_in_ulp(y, exact, dtype), point), key=lambda pair: pair[0])
    return found


def domain(name, x):
    """Keep the arguments for which mpmath gives the real function."""
    if name in ("log", "log2", "log10", "sqrt", "lgamma", "digamma"):
        x = x[x > 0]
    if name == "erfc":
        x = x[x < 100]
    if name in ("sinh", "cosh", "exp", "exp2", "expm1", "sigmoid", "softplus", "tanh"):
        x = x[np.abs(x) < 1e4]
    if name == "lgamma":
        x = x[x < 1e30]
    bounds = {
        "arcsin": (-1, 1),
        "arccos": (-1, 1),
        "arctanh": (-1, 1),
        "arccosh": (1, INF),
        "log1p": (-1, INF),
    }
    low, high = bounds.get(name, (-INF, INF))
    return x[(x >= low) & (x <= high) & ~((name in ("log1p", "arctanh")) & (np.abs(x) == 1))]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary_error_is_within_its_bound(name, dtype):
    reference, bound, intervals = UNARY[name]
    rng = np.random.default_rng(7)
    subnormals = rng.integers(-9, 9, 20).astype(dtype) * np.finfo(dtype).smallest_subnormal
    samples = [any_floats(dtype, 60, rng), subnormals]
    samples += [rng.uniform(*ends, 120).astype(dtype) for ends in intervals]
    if name in ("sin", "cos", "tan"):
        turns = np.concatenate([np.arange(1, 40), rng.integers(1, 2**40, 40)])
        samples.append((turns * (np.pi / 2)).astype(dtype))
        highest = np.finfo(dtype).maxexp
        exponents = rng.integers(highest - 200, highest, 60)
        samples.append(np.ldexp(rng.uniform(0.5, 1, 60), exponents).astype(dtype))
        if dtype is np.float64:  # the double nearest to a multiple of pi/2
            samples.append(np.array([6381956970095103 * 2.0**797]))
    x = np.concatenate(samples)
    x = domain(name, x[np.isfinite(x)])
    assert x.dtype == dtype
    error, where = worst(reference, evaluate(name, x), dtype, x)
    assert error <= bound, f"{name}{where}: {error} ulp"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_binary_error_is_within_its_bound(name, dtype):
    reference, bound = BINARY[name]
    rng = np.random.default_rng(8)
    x = any_floats(dtype, 250, rng)
    y = (x * np.exp2(rng.uniform(-3, 3, x.size))).astype(dtype)
    if name == "power":
        x = np.abs(x[x != 0])
        reach = 100 if dtype is np.float32 else 740
        with np.errstate(divide="ignore"):
            y = np.clip(rng.uniform(-reach, reach, x.size) / np.log(x.astype(np.float64)), -1e6, 1e6).astype(
                dtype
            )
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    error, where = worst(reference, evaluate(name, x, y), dtype, x, y)
    assert error <= bound, f"{name}{where}: {error} ulp"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_reflection_is_accurate_against_its_terms(name, dtype):
    x = np.random.default_rng(9).uniform(-20, 0, 200).astype(dtype)
    for point, got in zip(x, evaluate(name, x), strict=True):
        exact = UNARY[name][0](mp.mpf(float(point)))
        assert abs(mp.mpf(float(got)) - exact) <= 4 * ulp(max(abs(exact), 4), dtype), point


SPECIAL = {
    "exp": [(INF, INF), (-INF, 0), (0, 1), (1000, INF), (-1000, 0)],
    "exp2": [(INF, INF), (-INF, 0), (0, 1), (-0.0, 1), (10, 1024), (-149, 2.0**-149), (5000, INF)],
    "expm1": [(INF, INF), (-INF, -1), (0, 0), (-0.0, -0.0), (1000, INF), (-1000, -1)],
    "log": [(0, -INF), (-0.0, -INF), (1, 0), (INF, INF), (-1, NAN), (-INF, NAN)],
    "log2": [(0, -INF), (1, 0), (8, 3), (2.0**-149, -149), (INF, INF), (-1, NAN)],
    "log10": [(0, -INF), (1, 0), (1000, 3), (INF, INF), (-1, NAN)],
    "log1p": [(-1, -INF), (0, 0), (-0.0, -0.0), (INF, INF), (-2, NAN), (-INF, NAN)],
    "sin": [(0, 0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "cos": [(0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN)],
    "tan": [(0, 0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "arcsin": [(0, 0), (-0.0, -0.0), (1.5, NAN), (-1.5, NAN), (INF, NAN)],
    "arccos": [(1, 0), (1.5, NAN), (-1.5, NAN), (INF, NAN)],
    "arctan": [(0, 0), (-0.0, -0.0), (INF, np.pi / 2), (-INF, -np.pi / 2)],
    "sinh": [(0, 0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (-1000, -INF)],
    "cosh": [(0, 1), (INF, INF), (-INF, INF), (1000, INF)],
    "tanh": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1)],
    "arcsinh": [(0, 0), (-0.0, -0.0), (INF, INF), (-INF, -INF)],
    "arccosh": [(1, 0), (INF, INF), (0.5, NAN), (-INF, NAN)],
    "arctanh": [(0, 0), (-0.0, -0.0), (1, INF), (-1, -INF), (1.5, NAN), (INF, NAN)],
    "cbrt": [(0, 0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (27, 3), (-8, -2)],
    "sqrt": [(0, 0), (-0.0, -0.0), (INF, INF), (-1, NAN)],
    "erf": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1)],
    "erfc": [(0, 1), (INF, 0), (-INF, 2), (1e30, 0)],
    "sigmoid": [(0, 0.5), (INF, 1), (-INF, 0), (-1000, 0), (1000, 1)],
    "softplus": [(INF, INF), (-INF, 0), (1000, 1000), (-1000, 0)],
    "lgamma": [(1, 0), (2, 0), (0, INF), (-0.0, INF), (-3, INF), (INF, INF), (-INF, INF)],
    "digamma": [(0, -INF), (-0.0, INF), (-3, NAN), (INF, INF), (-INF, NAN)],
    "sign": [(0, 0), (-0.0, 0), (-3, -1), (INF, 1)],
    "rint": [(0.5, 0), (1.5, 2), (-0.5, -0.0), (INF, INF)],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values_follow_c99_and_numpy(name, dtype):
    for x, expected in [*SPECIAL[name], (NAN, NAN)]:
        got = one(name, dtype, x)
        expected = dtype(expected)
        assert np.array_equal(got, expected, equal_nan=True), f"{name}({x}) = {got}"
        assert np.isnan(expected) or np.signbit(got) == np.signbit(expected), f"sign of {name}({x})"


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
@pytest.mark.parametrize("name", ["power", "hypot", "arctan2", *EXACT_BINARY])
def test_every_pair_of_edge_values_agrees_with_numpy(name, dtype):
    x, y = (np.ascontiguousarray(a.ravel(), dtype) for a in np.meshgrid(EDGES, EDGES))
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y)
    got = evaluate(name, x, y)
    tolerance = 0 if name in EXACT_BINARY else 2 * np.finfo(dtype).eps
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=0)
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
@pytest.mark.parametrize("name", [*UNARY, *BINARY, *EXACT_UNARY, *EXACT_BINARY])
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
@pytest.mark.parametrize("name", [*UNARY, *BINARY, *EXACT_UNARY, *EXACT_BINARY])
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
