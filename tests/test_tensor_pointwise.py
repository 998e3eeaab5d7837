"""Functions of tensors element by element do what PyTorch's do: values, gradients, names, errors."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import jitgrad

Array = np.ndarray[Any, Any]

DTYPES = ("float32", "float64", "int64", "bool")
TOLERANCE = {"float32": 2e-5, "float64": 1e-9}


@dataclass
class Outcome:
    """What a call gave: an error, a Python value, or a tensor with the gradients of its operands."""

    error: type[BaseException] | None = None
    message: str = ""
    value: Any = None
    dtype: str = ""
    recorded: str = ""
    grads: tuple[Any, ...] = ()


def _result(tensor: Any) -> Array:
    return np.array(tensor.detach().numpy(force=True))


def outcome(library: Any, text: str, arrays: dict[str, Array]) -> Outcome:
    """Evaluate a call, with the arrays as tensors that require gradients where they can."""
    tensors = {name: library.from_numpy(array.copy()) for name, array in arrays.items()}
    leaves = [t.requires_grad_() for t in tensors.values() if t.is_floating_point()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = eval(text, {"T": library, "op": operator, **tensors})
    except Exception as error:
        return Outcome(error=type(error), message=str(error).split("\n")[0])
    if not isinstance(result, library.Tensor):
        return Outcome(value=result)
    found = Outcome(value=_result(result), dtype=str(result.dtype))
    if result.grad_fn is None:
        return found
    found.recorded = type(result.grad_fn).__name__
    weights = np.random.default_rng(0).uniform(0.5, 1, tuple(result.shape)).astype(found.value.dtype)
    try:
        result.backward(library.from_numpy(np.asarray(weights)))
    except Exception as error:
        return Outcome(error=type(error), message=str(error).split("\n")[0], recorded=found.recorded)
    found.grads = tuple(None if t.grad is None else _result(t.grad) for t in leaves)
    return found


def assert_close(got: Any, expected: Any, tolerance: float, where: str) -> None:
    if not isinstance(expected, np.ndarray):
        assert type(got) is type(expected) and got == expected, where
        return
    assert got.dtype == expected.dtype and got.shape == expected.shape, where
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(got, expected, tolerance, tolerance, equal_nan=True, err_msg=where)
    else:
        np.testing.assert_array_equal(got, expected, where)


def assert_alike(text: str, arrays: dict[str, Array], where: str = "") -> None:
    where = f"{text} with {where} {arrays}"
    expected, got = outcome(torch, text, arrays), outcome(jitgrad, text, arrays)
    if "Autograd not support dtype" in expected.message:
        return
    if expected.error and expected.recorded not in ("", "NotImplemented"):
        return  # PyTorch fails in its own backward pass
    assert got.error is expected.error, f"{where}: {got.message or got.value}, not {expected.message}"
    assert got.recorded == expected.recorded, where
    if expected.error is not None:
        return
    assert got.dtype == expected.dtype, where
    tolerance = max(TOLERANCE.get(a.dtype.name, 0) for a in (*arrays.values(), np.asarray(expected.value)))
    assert_close(got.value, expected.value, tolerance, where)
    assert len(got.grads) == len(expected.grads), where
    for mine, theirs in zip(got.grads, expected.grads, strict=True):
        if theirs is None or mine is None:
            assert not np.any(mine if theirs is None else theirs), where
        else:
            assert_close(mine, theirs, tolerance, where)


# Operands -------------------------------------------------------------------------------------------------

SHAPES = {
    "equal shapes": ((2, 3), (2, 3)),
    "broadcast": ((2, 1), (3,)),
    "0-d second": ((4,), ()),
    "0-d first": ((), (4,)),
    "empty": ((2, 0), (1,)),
    "shapes that do not broadcast": ((3,), (2,)),
}
WIDE = np.array([-2.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 2.5])


def drawn(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, unit: bool) -> Array:
    """Numbers between 0.1 and 0.9, or few that tie often; integers and booleans likewise."""
    if dtype == "bool":
        return np.asarray(rng.integers(0, 2, shape), bool)
    if dtype.startswith("int"):
        return np.asarray(rng.integers(1, 4, shape) if unit else rng.choice([-3, -1, 1, 2, 3], shape), dtype)
    return np.asarray(rng.uniform(0.1, 0.9, shape) if unit else rng.choice(WIDE, shape), dtype)


def operands(text: str, unit: bool) -> Iterator[tuple[str, dict[str, Array]]]:
    """Every choice of shapes and dtypes for x and y; m is a mask of x's shape."""
    rng = np.random.default_rng(len(text))
    two = "y" in names_in(text)
    for label, (first, second) in SHAPES.items():
        for x in DTYPES:
            for y in DTYPES if two else DTYPES[:1]:
                made = {"x": drawn(rng, first, x, unit)}
                if two:
                    made["y"] = drawn(rng, second, y, unit)
                if "m" in names_in(text):
                    made["m"] = np.asarray(rng.integers(0, 2, first), bool)
                yield label, made


def names_in(text: str) -> set[str]:
    return set(compile(text, "call", "eval").co_names)


# Calls ----------------------------------------------------------------------------------------------------

COMPARISONS = [
    *(f"T.{f}(x, y)" for f in ("eq", "ne", "lt", "le", "gt", "ge", "greater", "less_equal", "not_equal")),
    *(f"T.{f}(x, {n})" for f in ("eq", "lt", "ge") for n in ("1", "0.5", "True")),
    *(f"x {o} y" for o in ("==", "!=", "<", "<=", ">", ">=")),
    *(f"{n} {o} x" for o in ("==", "<", ">=") for n in ("1", "0.5")),
    *("x == None", "x != None", "x == 'a'", "x != []", "x < None", "x >= 'a'", "T.eq(x, None)", "T.lt(1, x)"),
    *("x.clone().eq_(y)", "x.clone().lt_(1)", "x.clone().greater_(y)"),
    *("T.equal(x, y)", "T.equal(x, x)", "x.equal(1)", "T.allclose(x, x)", "T.allclose(x, y, atol=5.0)"),
    *("T.isclose(x, y)", "T.isclose(x, x + 1, rtol=0.4)", "T.isclose(x, x, rtol=-1)", "T.isclose(x, 1)"),
    *("T.isin(x, y)", "T.isin(x, 1)", "T.isin(1, x)", "T.isin(x, y, invert=True)", "T.isin(1, 1)"),
]
LOGIC = [
    *(f"T.logical_{f}(x, y)" for f in ("and", "or", "xor")),
    *("T.logical_not(x)", "x.logical_and(1)", "x.clone().logical_or_(y)", "x.clone().logical_not_()"),
    *(f"T.bitwise_{f}(x, y)" for f in ("and", "or", "xor", "left_shift", "right_shift")),
    *(f"x {o} y" for o in ("&", "|", "^", "<<", ">>")),
    *(f"x {o} 2" for o in ("&", "|", "^", "<<", ">>")),
    *(f"2 {o} x" for o in ("&", "|", "^", "<<", ">>")),
    *(
        "x & True",
        "x & 1.5",
        "x | None",
        "~x",
        "T.bitwise_not(x)",
        "T.bitwise_and(1, 1)",
        "x << 70",
        "x >> 70",
    ),
    *("x.clone().bitwise_and_(y)", "x.clone().bitwise_xor_(3)", "x.clone().bitwise_not_()"),
    *(f"op.{f}(x.clone(), y)" for f in ("iand", "ior", "ixor", "ilshift", "irshift")),
    *(f"op.{f}(x.clone(), y)" for f in ("iadd", "imul", "itruediv")),
    *(
        "op.iadd(x.clone(), 1)",
        "op.imul(x.clone(), 0.5)",
        "op.ipow(x.clone(), 2)",
        "op.iadd(x.clone(), None)",
    ),
]
KINDS = [f"T.{f}(x)" for f in ("isnan", "isinf", "isfinite", "isposinf", "isneginf", "isreal", "signbit")]
CHOICES = [
    *("T.where(m, x, y)", "T.where(m, x, 0)", "T.where(m, 0.5, x)", "T.where(m, 1, 2)", "T.where(m, 1.0, 2)"),
    *(
        "T.where(m, True, False)",
        "T.where(x > 0, x, y)",
        "x.where(m, y)",
        "x.where(m, 0.5)",
        "T.where(x, x, x)",
    ),
    *("T.where(m, x)", "T.where(m, 'a', x)", "T.where(True, x, x)", "T.where(m, x, other=y)"),
    *("T.masked_fill(x, m, 2)", "x.masked_fill(m, 0.5)", "x.masked_fill(m, y)", "x.masked_fill(y, 2)"),
    *(
        "x.clone().masked_fill_(m, 2)",
        "x.clone().masked_fill_(m, y)",
        "x.masked_fill(m, None)",
        "x.masked_fill(1, 2)",
    ),
    *(
        "T.fill(x, 2)",
        "T.fill(x, 0.5)",
        "T.fill(x, y)",
        "x.clone().fill_(2)",
        "x.clone().fill_(y)",
        "T.fill(x, 'a')",
    ),
    *("x.clone().zero_()", "x.clone().copy_(y)", "x.clone().copy_(2)", "x.clone().fill_(None)"),
]
BOUNDS = [
    *("T.clamp(x, 0, 2)", "T.clamp(x, -1)", "T.clamp(x, max=1)", "T.clamp(x, 2, -1)", "x.clamp(0.5, 2)"),
    *("T.clip(x, min=0)", "T.clamp(x, float('nan'))", "T.clamp(x, y, y + 1)", "T.clamp(x, y, y - 1)"),
    *(
        "x.clamp(min=y)",
        "x.clamp(max=y)",
        "T.clamp(x)",
        "T.clamp(x, 0, y)",
        "T.clamp(x, 'a')",
        "T.clamp(1, 0, 2)",
    ),
    *("T.clamp(x, False, True)", "x.clone().clamp_(0, 1)", "x.clone().clamp_(y)", "x.clone().clip_(max=1)"),
    *(
        "T.clamp_min(x, 0)",
        "T.clamp_min(x, y)",
        "T.clamp_max(x, 1.5)",
        "T.clamp_max(x, max=y)",
        "T.clamp_min(1, x)",
    ),
    *("x.clone().clamp_min_(0)", "x.clone().clamp_max_(y)", "T.relu(x)", "x.relu()", "x.clone().relu_()"),
    *(f"T.{f}(x, y)" for f in ("maximum", "minimum", "fmax", "fmin")),
    *("T.maximum(x, 1)", "x.minimum(y)", "T.fmax(1, x)", "T.fmin(x, None)"),
]
STEPS = [
    *(f"T.{f}(x)" for f in ("frac", "round", "sgn", "square", "positive", "angle", "nan_to_num", "conj")),
    *("T.round(x, decimals=1)", "T.round(x, decimals=-1)", "x.clone().round_()", "+x", "x.clone().square_()"),
    *("x.clone().frac_()", "x.clone().sgn_()", "T.nan_to_num(x, 1.0, 2.0, 3.0)", "T.special.round(x)"),
    *("T.fmod(x, y)", "T.fmod(x, 2)", "T.fmod(x, 1.5)", "T.fmod(2, x)", "x.clone().fmod_(2)", "T.fmod(x, 0)"),
    *("T.copysign(x, y)", "T.copysign(x, -1)", "x.clone().copysign_(-1)", "T.copysign(1, x)"),
    *("T.heaviside(x, y)", "x.clone().heaviside_(y)", "T.heaviside(x, 1)", "T.nextafter(x, y)"),
    *("T.gcd(x, y)", "T.lcm(x, y)", "T.gcd(x, 2)", "x.clone().gcd_(y)", "T.ldexp(x, 2)"),
    *(
        "T.frexp(x)[0]",
        "T.frexp(x)[1]",
        "T.atan2(x, y)",
        "T.arctan2(x, y)",
        "T.atan2(x, 1)",
        "x.clone().atan2_(y)",
    ),
]
SMOOTH = [
    *(
        "T.lerp(x, y, 0.3)",
        "T.lerp(x, y, 0.8)",
        "T.lerp(x, y, x)",
        "T.lerp(x, 1.0, 0.5)",
        "x.clone().lerp_(y, 0.5)",
    ),
    *(
        "T.addcmul(x, y, x)",
        "T.addcmul(x, y, x, value=2)",
        "T.addcmul(x, y, y, value=0.5)",
        "T.addcmul(x, y, 2)",
    ),
    *(
        "T.addcdiv(x, y, x)",
        "T.addcdiv(x, y, y, value=2)",
        "x.clone().addcmul_(y, y)",
        "x.clone().addcdiv_(y, y)",
    ),
    *(f"T.{f}(x)" for f in ("rsqrt", "sinc", "deg2rad", "rad2deg", "logit", "erfc", "erfinv", "lgamma")),
    *(
        "T.logit(x, 0.2)",
        "T.logit(x, eps=-1)",
        "x.clone().rsqrt_()",
        "x.clone().sinc_()",
        "x.clone().erfinv_()",
    ),
    *("T.hypot(x, y)", "T.logaddexp(x, y)", "T.logaddexp2(x, y)", "T.hypot(x, 2)", "x.clone().hypot_(y)"),
    *("T.xlogy(x, y)", "T.xlogy(x, 2.0)", "T.xlogy(2.0, x)", "T.xlogy(1, 2)", "x.clone().xlogy_(y)"),
    *("T.float_power(x, 2)", "T.float_power(2, x)", "T.float_power(x, y)", "T.float_power(2, 3)"),
    *(
        "x.clone().float_power_(2)",
        "T.digamma(x)",
        "T.polygamma(0, x)",
        "x.mvlgamma(1)",
        "T.mvlgamma(x + 2, 2)",
    ),
    *("T.mvlgamma(x, 0)", "T.polygamma(-1, x)", "T.polygamma(1.5, x)", "T.mvlgamma(x, 1.5)", "T.i0(x)"),
    *(
        f"T.special.{f}(x)"
        for f in ("entr", "erfcx", "i0e", "i1", "i1e", "log_ndtr", "ndtr", "ndtri", "expit")
    ),
    *(
        f"T.special.{f}(x)"
        for f in ("erf", "erfc", "gammaln", "psi", "log1p", "expm1", "exp2", "sinc", "logit")
    ),
    *(
        "T.special.xlog1py(x, y)",
        "T.special.xlog1py(x, 2.0)",
        "T.special.xlogy(x, y)",
        "T.special.multigammaln(x + 1, 2)",
    ),
]


@pytest.mark.parametrize("text", [*COMPARISONS, *LOGIC, *KINDS, *CHOICES, *BOUNDS, *STEPS])
def test_call_does_what_pytorch_does_with_numbers_that_tie(text: str) -> None:
    for label, arrays in operands(text, unit=False):
        assert_alike(text, arrays, label)


POLYNOMIALS = [
    *(
        f"T.special.{s}chebyshev_polynomial_{f}(x, {n})"
        for s in ("", "shifted_")
        for f in "tuvw"
        for n in (0, 1, 5)
    ),
    *(f"T.special.hermite_polynomial_{f}(x, y)" for f in ("h", "he")),
    *(
        f"T.special.{f}(x, {n})"
        for f in ("laguerre_polynomial_l", "legendre_polynomial_p")
        for n in (-1, 2, 5, 2.5)
    ),
    *("T.special.chebyshev_polynomial_t(x, y)", "T.special.legendre_polynomial_p(0.5, x)"),
    *(
        "T.special.hermite_polynomial_h(1, 2)",
        "T.special.laguerre_polynomial_l(x, None)",
        "T.special.logsumexp(x, -1)",
    ),
]


@pytest.mark.parametrize("text", [*SMOOTH, *BOUNDS, *STEPS, *POLYNOMIALS])
def test_call_does_what_pytorch_does_between_0_and_1(text: str) -> None:
    for label, arrays in operands(text, unit=True):
        assert_alike(text, arrays, label)


# Left out: PyTorch's derivative of copysign at infinity is inf / inf, and it scales infinity to round it.
AT_SPECIAL = [t for t in (*KINDS, *BOUNDS, *STEPS, *COMPARISONS) if not ("copysign" in t or "decimals" in t)]
INF, NAN = np.inf, np.nan
SPECIAL = np.array([NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 0.5, 2.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", AT_SPECIAL)
def test_call_does_what_pytorch_does_with_nan_and_infinities(text: str, dtype: str) -> None:
    x, y = (a.ravel().astype(dtype) for a in np.meshgrid(SPECIAL, SPECIAL))
    used = names_in(text) & {"x", "y"}
    assert_alike(text, {name: array for name, array in (("x", x), ("y", y)) if name in used})


# Messages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("T.eq(x, None)", "x < None", "x & x", "x << 1", "~x", "i.isclose(x)", "T.isclose(x, x, atol=-1)"),
        *("T.where(x, x, x)", "T.where(b, x, x[:2])", "T.clamp(x)", "T.lerp(i, i, 0.5)", "T.lerp(x, d, 0.5)"),
        *("T.maximum(x, 2)", "T.relu(b)", "T.frac(i)", "T.round(b)", "T.positive(b)", "T.fmod(i, 0)"),
        *("T.gcd(x, x)", "T.hypot(i, i)", "T.heaviside(x, d)", "T.addcdiv(i, i, i)", "T.frexp(i)"),
        *(
            "T.polygamma(-1, x)",
            "T.mvlgamma(x, 0)",
            "T.isin(b, b)",
            "x.masked_fill(i, 1)",
            "x.masked_fill(b, x)",
        ),
        *(
            "x.clone().fill_(x)",
            "x.clone().copy_(x[:2])",
            "x.clone().float_power_(2)",
            "i.clone().copysign_(x)",
        ),
        *("x.clone().fill_(1j)", "x.relu_()", "x[None].expand(2, 3).detach().add_(1)"),
    ],
)
def test_error_says_what_pytorch_says(text: str) -> None:
    arrays = {"x": np.array([1.0, 2.0, 3.0], "f"), "d": np.array([1.0, 2.0, 3.0])}
    arrays |= {"i": np.array([1, 2, 3]), "b": np.array([True, False, True])}
    expected, got = outcome(torch, text, arrays), outcome(jitgrad, text, arrays)
    assert expected.error is not None
    assert (got.error, got.message) == (expected.error, expected.message)


# The tape -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", [torch, jitgrad])
def test_relu_keeps_its_result_and_not_its_operand(library: Any) -> None:
    x = library.tensor([-1.0, 2.0], requires_grad=True)
    y = x * 1
    library.relu(y).sum().backward()
    z = x * 1
    out = library.relu(z)
    z.add_(1)
    out.sum().backward()
    np.testing.assert_array_equal(_result(x.grad), [0, 2])
    out = library.relu(x)
    out.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("library", [torch, jitgrad])
def test_where_keeps_its_condition(library: Any) -> None:
    x, mask = library.tensor([-1.0, 2.0], requires_grad=True), library.tensor([True, False])
    out = library.where(mask, x, 0.0)
    mask.logical_not_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize(
    "text", ["T.clamp(x, 0.3, 0.7)", "T.relu(x)", "T.logaddexp(x, x)", "T.atan2(x, x + 1)"]
)
def test_second_derivatives_are_those_of_pytorch(text: str) -> None:
    found = []
    for library in (torch, jitgrad):
        x = library.from_numpy(np.array([0.1, 0.3, 0.5, 0.7, 0.9], "f")).requires_grad_()
        y = eval(text, {"T": library, "x": x})
        (first,) = library.autograd.grad((y * x).sum(), x, create_graph=True)
        first.sum().backward()
        found.append((_result(first), _result(x.grad)))
    for expected, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, 1e-5, 1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "T.relu(x)",
        "T.clamp(x, -0.5, 0.5)",
        "T.maximum(x, y)",
        "T.where(x > y, x, y)",
        "x <= y",
        "T.lgamma(x)",
    ],
)
def test_large_arrays_give_what_small_ones_give(text: str) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.uniform(-1, 1, 1 << 17).astype("f") for _ in range(2))
    used = names_in(text)
    for _ in range(10):
        large = outcome(jitgrad, text, {n: a for n, a in (("x", x), ("y", y)) if n in used})
    small = outcome(jitgrad, text, {n: a[:100] for n, a in (("x", x), ("y", y)) if n in used})
    np.testing.assert_array_equal(large.value[:100], small.value)
    assert [g.dtype for g in large.grads] == [g.dtype for g in small.grads]


def test_in_place_functions_are_the_methods() -> None:
    x = jitgrad.tensor([-1.0, 2.0])
    assert jitgrad.relu_(x) is x
    np.testing.assert_array_equal(x.numpy(), [0, 2])
    assert all(
        hasattr(torch, name) for name in dir(jitgrad) if name.endswith("_") and not name.startswith("_")
    )
