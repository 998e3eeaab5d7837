"""The special values of the elementary functions: Annex F.10 of C99, and limits where C has no such one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jitgrad import vmath

DTYPES = ("float32", "float64")

# Arguments -> result. "small" and "large" are the smallest and the largest positive number of the dtype,
# "odd" is its largest odd integer. Every function of one argument also takes NaN to NaN.
SPECIAL = {
    "arccos": "1 -> 0; 1.5 -> nan; -1.5 -> nan; inf -> nan; -inf -> nan; -1 -> pi; 0 -> pi/2; -0 -> pi/2",
    "arcsin": "0 -> 0; -0 -> -0; 1.5 -> nan; -1.5 -> nan; inf -> nan; -inf -> nan; 1 -> pi/2; -1 -> -pi/2",
    "arctan": "0 -> 0; -0 -> -0; inf -> pi/2; -inf -> -pi/2; large -> pi/2; -large -> -pi/2",
    "cos": "0 -> 1; -0 -> 1; inf -> nan; -inf -> nan",
    "sin": "0 -> 0; -0 -> -0; inf -> nan; -inf -> nan",
    "tan": "0 -> 0; -0 -> -0; inf -> nan; -inf -> nan",
    "arccosh": "1 -> 0; 0.5 -> nan; 0 -> nan; -1 -> nan; -inf -> nan; inf -> inf",
    "arcsinh": "0 -> 0; -0 -> -0; inf -> inf; -inf -> -inf",
    "arctanh": "0 -> 0; -0 -> -0; 1 -> inf; -1 -> -inf; 1.5 -> nan; -2 -> nan; inf -> nan; -inf -> nan",
    "cosh": "0 -> 1; -0 -> 1; inf -> inf; -inf -> inf; 1000 -> inf; -1000 -> inf; large -> inf",
    "sinh": "0 -> 0; -0 -> -0; inf -> inf; -inf -> -inf; 1000 -> inf; -1000 -> -inf; -large -> -inf",
    "tanh": "0 -> 0; -0 -> -0; inf -> 1; -inf -> -1; 1000 -> 1; -1000 -> -1; large -> 1",
    "exp": "0 -> 1; -0 -> 1; -inf -> 0; inf -> inf; 1000 -> inf; -1000 -> 0; large -> inf; -large -> 0",
    "exp2": "0 -> 1; -0 -> 1; -inf -> 0; inf -> inf; 5000 -> inf; -5000 -> 0; 10 -> 1024; -3 -> 0.125",
    "expm1": "0 -> 0; -0 -> -0; -inf -> -1; inf -> inf; 1000 -> inf; -1000 -> -1; -large -> -1",
    "log": "0 -> -inf; -0 -> -inf; 1 -> 0; -1 -> nan; -small -> nan; -inf -> nan; inf -> inf",
    "log2": "0 -> -inf; -0 -> -inf; 1 -> 0; -1 -> nan; -small -> nan; -inf -> nan; inf -> inf; 8 -> 3",
    "log10": "0 -> -inf; -0 -> -inf; 1 -> 0; -1 -> nan; -small -> nan; -inf -> nan; inf -> inf; 1000 -> 3",
    "log1p": "0 -> 0; -0 -> -0; -1 -> -inf; -2 -> nan; -inf -> nan; inf -> inf",
    "cbrt": "0 -> 0; -0 -> -0; inf -> inf; -inf -> -inf; 27 -> 3; -8 -> -2",
    "sqrt": "0 -> 0; -0 -> -0; inf -> inf; -1 -> nan; -small -> nan; -inf -> nan; 9 -> 3",
    "erf": "0 -> 0; -0 -> -0; inf -> 1; -inf -> -1; large -> 1; -large -> -1",
    "erfc": "-inf -> 2; inf -> 0; 0 -> 1; -0 -> 1; 1e30 -> 0; -1e30 -> 2; large -> 0; -large -> 2",
    "lgamma": """
        1 -> 0; 2 -> 0; 0 -> inf; -0 -> inf; -1 -> inf; -3 -> inf; -1e30 -> inf; -inf -> inf; inf -> inf;
        large -> inf""",
    "sigmoid": "inf -> 1; -inf -> 0; 0 -> 0.5; -0 -> 0.5; 1000 -> 1; -1000 -> 0; large -> 1; -large -> 0",
    "softplus": "inf -> inf; -inf -> 0; 1000 -> 1000; -1000 -> 0; large -> large; -large -> 0",
    "digamma": """
        0 -> -inf; -0 -> inf; small -> -inf; -small -> inf; inf -> inf; -1 -> nan; -3 -> nan; -1e30 -> nan;
        -inf -> nan""",
    "fabs": "0 -> 0; -0 -> 0; inf -> inf; -inf -> inf; -small -> small; -large -> large",
    "ceil": "0 -> 0; -0 -> -0; -0.5 -> -0; small -> 1; -small -> -0; inf -> inf; -inf -> -inf",
    "floor": "0 -> 0; -0 -> -0; 0.5 -> 0; small -> 0; -small -> -1; inf -> inf; -inf -> -inf",
    "trunc": "0 -> 0; -0 -> -0; -0.5 -> -0; small -> 0; -small -> -0; inf -> inf; -inf -> -inf; 2.5 -> 2",
    "rint": "0 -> 0; -0 -> -0; 0.5 -> 0; -0.5 -> -0; 1.5 -> 2; -small -> -0; inf -> inf; odd -> odd",
    "sign": "0 -> 0; -0 -> 0; -3 -> -1; inf -> 1; -inf -> -1; small -> 1; -small -> -1",
    "arctan2": """
        0 -0 -> pi; -0 -0 -> -pi; 0 0 -> 0; -0 0 -> -0; 0 -2 -> pi; -0 -2 -> -pi; 0 2 -> 0; -0 2 -> -0;
        0 -inf -> pi; -0 -inf -> -pi; 0 inf -> 0; -0 inf -> -0;
        -2 0 -> -pi/2; -2 -0 -> -pi/2; 2 0 -> pi/2; 2 -0 -> pi/2;
        2 -inf -> pi; -2 -inf -> -pi; 2 inf -> 0; -2 inf -> -0; small -inf -> pi; large -inf -> pi;
        inf 2 -> pi/2; -inf 2 -> -pi/2; inf -2 -> pi/2; -inf -2 -> -pi/2; inf 0 -> pi/2; -inf -0 -> -pi/2;
        inf -inf -> 3pi/4; -inf -inf -> -3pi/4; inf inf -> pi/4; -inf inf -> -pi/4;
        small large -> 0; -small large -> -0; large small -> pi/2; small -large -> pi; -small -large -> -pi;
        nan 1 -> nan; 1 nan -> nan; nan 0 -> nan; 0 nan -> nan; inf nan -> nan; nan -inf -> nan""",
    "hypot": """
        inf nan -> inf; -inf nan -> inf; nan inf -> inf; nan -inf -> inf; inf 2 -> inf; 2 -inf -> inf;
        3 0 -> 3; -3 0 -> 3; 3 -0 -> 3; 0 -3 -> 3; -0 -3 -> 3; 0 0 -> 0; -0 -0 -> 0; inf -inf -> inf;
        3 4 -> 5; 4 3 -> 5; -3 4 -> 5; 3 -4 -> 5; -4 -3 -> 5; large large -> inf; large 0 -> large;
        small 0 -> small; 0 -small -> small; small small -> small; large small -> large;
        nan 1 -> nan; 0 nan -> nan; nan nan -> nan""",
    "power": """
        0 -3 -> inf; -0 -3 -> -inf; 0 -1 -> inf; -0 -1 -> -inf; -0 -odd -> -inf;
        0 -2 -> inf; -0 -2 -> inf; 0 -0.5 -> inf; -0 -0.5 -> inf; -0 -1e30 -> inf; -0 -large -> inf;
        0 -inf -> inf; -0 -inf -> inf;
        0 3 -> 0; -0 3 -> -0; -0 1 -> -0; -0 odd -> -0;
        0 2 -> 0; -0 2 -> 0; 0 0.5 -> 0; -0 0.5 -> 0; -0 large -> 0; 0 inf -> 0; -0 inf -> 0;
        -1 inf -> 1; -1 -inf -> 1;
        1 nan -> 1; 1 inf -> 1; 1 -inf -> 1; 1 0 -> 1; 1 7.5 -> 1; 1 -large -> 1;
        nan 0 -> 1; nan -0 -> 1; 0 0 -> 1; -0 -0 -> 1; inf 0 -> 1; -inf -0 -> 1; -2 0 -> 1; small -0 -> 1;
        -8 0.25 -> nan; -2 0.5 -> nan; -2 -1.5 -> nan; -0.5 1e-30 -> nan; -large 0.5 -> nan; -1 0.5 -> nan;
        0.5 -inf -> inf; -0.5 -inf -> inf; 0 -inf -> inf; small -inf -> inf;
        2 -inf -> 0; -2 -inf -> 0; large -inf -> 0;
        0.5 inf -> 0; -0.5 inf -> 0; small inf -> 0;
        2 inf -> inf; -2 inf -> inf; large inf -> inf;
        -inf -3 -> -0; -inf -1 -> -0; -inf -odd -> -0;
        -inf -2 -> 0; -inf -2.5 -> 0; -inf -large -> 0; -inf -inf -> 0;
        -inf 3 -> -inf; -inf 1 -> -inf; -inf odd -> -inf;
        -inf 2 -> inf; -inf 2.5 -> inf; -inf large -> inf; -inf inf -> inf;
        inf -3 -> 0; inf -0.5 -> 0; inf -small -> 0; inf -inf -> 0;
        inf 3 -> inf; inf 0.5 -> inf; inf small -> inf; inf inf -> inf;
        nan 1 -> nan; nan inf -> nan; nan -inf -> nan; 2 nan -> nan; 0 nan -> nan; inf nan -> nan;
        -1 nan -> nan; nan nan -> nan;
        -1 odd -> -1; -1 large -> 1; -2 3 -> -8; -2 2 -> 4; -2 -1 -> -0.5; small 1 -> small; large 1 -> large;
        10 1000 -> inf; -10 1001 -> -inf; 10 -1000 -> 0; -10 -1001 -> -0; -10 -1000 -> 0;
        large 2 -> inf; -large 3 -> -inf; small 2 -> 0; -small 3 -> -0; small -1 -> inf; -small -1 -> -inf""",
}

# What becomes of a subnormal argument.
SAME = ("arcsin", "arcsinh", "arctan", "arctanh", "expm1", "log1p", "sin", "sinh", "tan", "tanh")
CONSTANT = {
    "arccos": math.pi / 2,
    "cos": 1.0,
    "cosh": 1.0,
    "erfc": 1.0,
    "exp": 1.0,
    "exp2": 1.0,
    "sigmoid": 0.5,
    "softplus": math.log(2),
}


def number(word: str, dtype: str) -> float:
    """Return the number of `dtype` that a word in SPECIAL names."""
    info = np.finfo(dtype)
    names = {
        "pi": math.pi,
        "pi/2": math.pi / 2,
        "pi/4": math.pi / 4,
        "3pi/4": 3 * math.pi / 4,
        "odd": 2.0 ** (info.nmant + 1) - 1,
        "small": float(info.smallest_subnormal),
        "large": float(info.max),
    }
    sign, plain = (-1.0, word[1:]) if word.startswith("-") else (1.0, word)
    return sign * (names[plain] if plain in names else float(plain))


def columns(name: str, dtype: str) -> list[np.ndarray]:
    """Return the arguments of all cases of a function, and the results last."""
    cases = [case.replace("->", "").split() for case in SPECIAL[name].split(";")]
    if len(cases[0]) == 2:
        cases.append(["nan", "nan"])
    return [np.array([number(word, dtype) for word in words], dtype) for words in zip(*cases, strict=True)]


def evaluate(name: str, *arguments: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return vmath.ufunc(name)(*arguments)


def subnormals(dtype: str) -> np.ndarray:
    """Return some subnormal numbers of either sign."""
    info = np.finfo(dtype)
    positive = np.array([1, 2, 3, 1000, 2.0 ** (info.nmant - 1), 2.0**info.nmant - 1])
    return np.concatenate([positive, -positive]).astype(dtype) * info.smallest_subnormal


def assert_same(got: np.ndarray, expected: np.ndarray, *arguments: np.ndarray) -> None:
    """Compare values and the signs of all but NaN."""
    wrong = ~(
        (got == expected) & (np.signbit(got) == np.signbit(expected)) | np.isnan(got) & np.isnan(expected)
    )
    cases = zip(*(a[wrong].tolist() for a in (*arguments, got, expected)), strict=True)
    assert not wrong.any(), "arguments, result, expected: " + "; ".join(map(str, cases))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str, dtype: str) -> None:
    *arguments, expected = columns(name, dtype)
    got = evaluate(name, *arguments)
    assert got.dtype == dtype
    assert_same(got, expected, *arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values_do_not_disturb_their_neighbours(name: str, dtype: str) -> None:
    *arguments, _ = columns(name, dtype)
    ordinary = [np.full_like(a, 0.75) for a in arguments]
    mixed = [np.stack([a, b], axis=1).ravel() for a, b in zip(arguments, ordinary, strict=True)]
    got = evaluate(name, *mixed)
    alone = np.array([evaluate(name, *(a[k : k + 1] for a in mixed))[0] for k in range(got.size)])
    assert_same(got, alone, *mixed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SAME)
def test_a_subnormal_argument_is_the_result(name: str, dtype: str) -> None:
    x = subnormals(dtype)
    assert_same(evaluate(name, x), x, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CONSTANT)
def test_a_subnormal_argument_counts_as_zero(name: str, dtype: str) -> None:
    x = subnormals(dtype)
    assert_same(evaluate(name, x), np.full_like(x, CONSTANT[name]), x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_subnormal_power_of_two_has_exact_roots_and_logarithm(dtype: str) -> None:
    info = np.finfo(dtype)
    exponents = np.arange(info.minexp - info.nmant, info.minexp, dtype=dtype)
    x = np.ldexp(np.ones_like(exponents), exponents.astype(np.int32))
    assert_same(evaluate("exp2", exponents), x, exponents)
    assert_same(evaluate("log2", x), exponents, x)
    squares, cubes = x[exponents % 2 == 0], x[exponents % 3 == 0]
    assert_same(evaluate("sqrt", squares), np.exp2(exponents[exponents % 2 == 0] / 2), squares)
    assert_same(evaluate("cbrt", -cubes), -np.exp2(exponents[exponents % 3 == 0] / 3), cubes)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_subnormal_side_of_a_triangle_and_power_of_one_are_kept(dtype: str) -> None:
    x = subnormals(dtype)
    one, zero = np.ones_like(x), np.zeros_like(x)
    assert_same(evaluate("hypot", x, zero), abs(x), x)
    assert_same(evaluate("arctan2", x, one), x, x)
    assert_same(evaluate("power", x, one), x, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["power", "hypot", "arctan2"])
def test_every_pair_of_edge_values_agrees_with_numpy(name: str, dtype: str) -> None:
    positive = [0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 7.25, 1e-40, 1e30, np.inf]
    edges = np.array([*positive, *(-x for x in positive), np.nan], dtype)
    x, y = (a.ravel() for a in np.meshgrid(edges, edges))
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y)
    got = evaluate(name, x, y)
    np.testing.assert_allclose(got, expected, rtol=2 * np.finfo(dtype).eps, atol=0)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(expected[known]))
