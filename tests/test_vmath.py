"""jitgrad.vmath: exact functions against NumPy, one result however many elements there are, ufuncs, types."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare import assert_same_bits

import jitgrad
import jitgrad.numpy as jnp
from jitgrad import vmath
from jitgrad.vmath import coefficients
from jitgrad.vmath.routine import ROUTINES

Array = np.ndarray[Any, Any]

INF, NAN = np.inf, np.nan
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
NAMES = sorted(name for name, routine in ROUTINES.items() if routine.arity <= 2)
EXACT_UNARY = ["fabs", "rint", "floor", "ceil", "trunc", "sign"]
EXACT_BINARY = ["maximum", "minimum", "copysign", "floor_divide", "remainder", "fmod"]
EDGES = [*(s * x for x in (0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 7.25, 1e-40, 1e30, INF) for s in (1, -1)), NAN]


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with np.errstate(all="ignore"):
        yield


def any_floats(dtype: str, size: int, rng: np.random.Generator) -> Array:
    """Random finite bit patterns, and powers of two times random signs."""
    bits = rng.integers(0, 2 ** (8 * np.dtype(dtype).itemsize), size, dtype=f"u{np.dtype(dtype).itemsize}")
    near = np.exp2(rng.uniform(-12, 12, size)) * rng.choice([-1, 1], size)
    x = np.concatenate([bits.view(dtype), near.astype(dtype)])
    return x[np.isfinite(x)]


# Functions without rounding errors of their own -----------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("name", EXACT_BINARY)
def test_every_pair_of_edge_values_agrees_with_numpy(name: str, dtype: str) -> None:
    x, y = (np.ascontiguousarray(a.ravel(), dtype) for a in np.meshgrid(EDGES, EDGES))
    got, expected = vmath.ufunc(name)(x, y), getattr(np, name)(x, y)
    np.testing.assert_array_equal(got, expected)
    known = ~np.isnan(expected)
    if name in ("maximum", "minimum"):  # NumPy may return either zero
        known &= expected != 0
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(expected[known]))


@DTYPES
@pytest.mark.parametrize("name", EXACT_UNARY)
def test_rounding_and_sign_agree_with_numpy_on_any_bits(name: str, dtype: str) -> None:
    x = np.concatenate([any_floats(dtype, 300, np.random.default_rng(3)), np.array(EDGES, dtype)])
    np.testing.assert_array_equal(vmath.ufunc(name)(x), getattr(np, name)(x))


@DTYPES
def test_maximum_and_minimum_order_zeros(dtype: str) -> None:
    zeros = np.array([-0.0, 0.0], dtype)
    assert not np.signbit(vmath.ufunc("maximum")(zeros, zeros[::-1])).any()
    assert np.signbit(vmath.ufunc("minimum")(zeros, zeros[::-1])).all()


@DTYPES
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
def test_float_division_agrees_with_numpy(name: str, dtype: str) -> None:
    rng = np.random.default_rng(4)
    x, y = any_floats(dtype, 30_000, rng), any_floats(dtype, 30_000, rng)
    size = min(x.size, y.size)
    x, y = x[:size], y[:size]
    y[::5] = (x[::5] / rng.integers(1, 50, x[::5].size)).astype(dtype)
    y[1::5] = x[1::5] * rng.uniform(0.001, 2, x[1::5].size).astype(dtype)
    got, expected = vmath.ufunc(name)(x, y), getattr(np, name)(x, y)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(expected))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod", "maximum", "minimum"])
def test_integer_operations_agree_with_numpy_and_never_trap(name: str, dtype: Any) -> None:
    info = np.iinfo(dtype)
    edges = np.array([0, 1, 2, 3, 7, 100, info.max, info.min, info.max - 1, info.min + 1], dtype)
    edges = np.concatenate([edges, -edges]) if info.min < 0 else edges
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(edges, edges))
    function = getattr(np, name)
    np.testing.assert_array_equal(jitgrad.jit(lambda x, y: function(x, y))(x, y), function(x, y))


# One result for an element, whatever stands beside it -----------------------------------------------------


def operands(name: str, dtype: str, size: int) -> list[Array]:
    """Ordinary arguments with special ones among them, so that some vectors hold both."""
    rng = np.random.default_rng(5)
    special = np.array([*EDGES, 1e5, -1e7, 88.8, -104, 710, -746, 1e300], dtype)
    arguments = []
    for _ in range(ROUTINES[name].arity):
        x = rng.uniform(0.1, 3, size) * rng.choice([1, 1, -1], size)
        odd = rng.random(size) < 0.15
        odd[size // 2 :] = False
        arguments.append(np.where(odd, rng.choice(special, size), x).astype(dtype))
    return arguments


@DTYPES
@pytest.mark.parametrize("name", NAMES)
def test_lanes_and_tails_and_strides_give_the_same_bits(name: str, dtype: str) -> None:
    ufunc = vmath.ufunc(name)
    arguments = operands(name, dtype, 150)
    single = np.concatenate([ufunc(*(a[i : i + 1] for a in arguments)) for i in range(150)])
    for size in range(1, 151):
        assert_same_bits([ufunc(*(a[:size] for a in arguments))], [single[:size]], f"{size} elements")
    for start in range(1, 18):
        assert_same_bits([ufunc(*(a[start:] for a in arguments))], [single[start:]], f"from {start} on")
    spread = [np.repeat(a, 3)[::3] for a in arguments]
    assert_same_bits([ufunc(*spread)], [single], "every third element")
    assert_same_bits([ufunc(*(a[::-1] for a in arguments))], [single[::-1]], "reversed")
    out = np.empty(450, dtype)[::3]
    assert ufunc(*arguments, out=out) is out
    assert_same_bits([out.copy()], [single], "strided result")


@DTYPES
@pytest.mark.parametrize("name", NAMES)
def test_overwriting_an_operand_changes_no_bit(name: str, dtype: str) -> None:
    arguments = operands(name, dtype, 700)
    expected = vmath.ufunc(name)(*arguments)
    vmath.ufunc(name)(*arguments, out=arguments[0])
    assert_same_bits(arguments[:1], [expected], name)


@DTYPES
@pytest.mark.parametrize("name", [name for name in NAMES if ROUTINES[name].arity == 2])
def test_one_number_beside_many(name: str, dtype: str) -> None:
    x, y = operands(name, dtype, 600)
    ufunc = vmath.ufunc(name)
    for number in (y[0], y[300], np.asarray(INF, dtype), np.asarray(0, dtype)):
        full = np.full_like(x, number)
        assert_same_bits([ufunc(x, number)], [ufunc(x, full)], "second operand")
        assert_same_bits([ufunc(number, x)], [ufunc(full, x)], "first operand")


@DTYPES
@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(jnp, name)])
def test_kernels_give_the_bits_of_the_ufunc(name: str, dtype: str) -> None:
    arguments = operands(name, dtype, 1003)
    function = getattr(jnp, name)
    got = jitgrad.jit(lambda *values: function(*values))(*arguments)
    assert_same_bits([got], [vmath.ufunc(name)(*arguments)], name)


# Ufuncs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_ufunc_is_made_once_and_keeps_the_dtype(name: str) -> None:
    ufunc = vmath.ufunc(name)
    assert isinstance(ufunc, np.ufunc) and vmath.ufunc(name) is ufunc and ufunc.__name__ == name
    assert ufunc.types == ["f" * ufunc.nin + "->f", "d" * ufunc.nin + "->d"]
    assert ufunc(*np.ones((ufunc.nin, 0), np.float32)).dtype == np.float32


@pytest.mark.parametrize("name", ["tanhh", "fma"])
def test_what_is_no_function_of_one_or_two_arguments_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"no routine '{name}'|{name} takes 3 arguments"):
        vmath.ufunc(name)


def test_a_new_process_loads_the_ufuncs_without_a_compiler(tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np; from jitgrad import vmath; from jitgrad.machine import native\n"
        "made = []; compile_ir = native.compile_ir\n"
        "native.compile_ir = lambda *given: made.append(given) or compile_ir(*given)\n"
        "vmath.ufunc('exp')(np.ones(3)); print(len(made), 'jitgrad.targets' in sys.modules)"
    )
    environment = os.environ | {"JITGRAD_CACHE_DIR": str(tmp_path)}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert outputs == ["1 False\n", "0 False\n"]


def test_damaged_code_on_disk_is_compiled_again(tmp_path: Path) -> None:
    program = "import numpy as np; from jitgrad import vmath; print(vmath.ufunc('exp')(np.zeros(2)))"
    environment = os.environ | {"JITGRAD_CACHE_DIR": str(tmp_path)}
    for _ in range(2):
        command = [sys.executable, "-c", program]
        assert subprocess.check_output(command, env=environment, text=True) == "[1. 1.]\n"
        (stored,) = tmp_path.glob("*.o")
        data = stored.read_bytes()
        stored.write_bytes(data[:-100] + bytes(100))


# Sources --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIN", "LOG_CELL", "EXP_PLAIN"])
def test_coefficients_come_from_the_tool(name: str) -> None:
    tool = runpy.run_path(str(Path(__file__).parent.parent / "tools" / "minimax.py"))
    expected = getattr(coefficients, name)[32]
    assert tuple(tool["fit"](tool["FITS"][name], 32)[0]) == expected
