"""Special functions, under the names of torch.special and where they are functions of tensors too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitgrad.eager.define import define
from jitgrad.eager.dispatch import OpRecord
from jitgrad.eager.functions.arithmetic import computed, erf, exp2, expm1, log1p, sigmoid, title
from jitgrad.eager.functions.operands import only_kinds
from jitgrad.eager.functions.pairs import weighted, xlogy
from jitgrad.eager.functions.pointwise import floating, logit, mapped, sinc
from jitgrad.eager.functions.polynomials import (
    chebyshev_polynomial_t,
    chebyshev_polynomial_u,
    chebyshev_polynomial_v,
    chebyshev_polynomial_w,
    hermite_polynomial_h,
    hermite_polynomial_he,
    laguerre_polynomial_l,
    legendre_polynomial_p,
    shifted_chebyshev_polynomial_t,
    shifted_chebyshev_polynomial_u,
    shifted_chebyshev_polynomial_v,
    shifted_chebyshev_polynomial_w,
)
from jitgrad.eager.functions.reduction import logsumexp
from jitgrad.eager.tape import named
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node
from jitgrad.ops.table import COMPOSITES, OPS

__all__ = [
    "chebyshev_polynomial_t",
    "chebyshev_polynomial_u",
    "chebyshev_polynomial_v",
    "chebyshev_polynomial_w",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "gammaln",
    "hermite_polynomial_h",
    "hermite_polynomial_he",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "laguerre_polynomial_l",
    "legendre_polynomial_p",
    "log1p",
    "log_ndtr",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "round",
    "shifted_chebyshev_polynomial_t",
    "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
    "sinc",
    "xlog1py",
    "xlogy",
]


def _function(name: str, kernel: str, recorded: str = "") -> Callable[[Any], Tensor]:
    """A function of one tensor that computes integers as floats and refuses complex numbers."""
    op, kind = OPS[name], named(OpRecord, recorded or title(name))

    def function(input: Any) -> Tensor:
        a = require_tensor(input, name)._array
        if a.dtype.kind != "f":
            only_kinds(kernel, "biuf", a.dtype)
            a = floating(a)
        return computed(op, kind, (input,), [a])

    function.__name__ = function.__qualname__ = name
    return function


def _method(name: str, kernel: str, *also: str) -> Callable[[Any], Tensor]:
    """Like _function, with methods."""
    return define(name, *also, in_place=True, out=True)(_function(name, kernel))


def _special(name: str) -> Callable[[Any], Tensor]:
    """Like _function, for one that has a place in torch.special alone."""
    return define(method=False, out=True)(_function(name, f"{name}_cpu", title(f"special_{name}")))


erfc = _method("erfc", "erfc_vml_cpu")
erfinv = _method("erfinv", "erfinv_vml_cpu")
lgamma = gammaln = _method("lgamma", "lgamma_vml_cpu")
digamma = psi = _method("digamma", "digamma")
i0 = _method("i0", "i0_vml_cpu")
entr = _special("entr")
erfcx = _special("erfcx")
i0e = _special("i0e")
i1 = _special("i1")
i1e = _special("i1e")
log_ndtr = _special("log_ndtr")
ndtri = _special("ndtri")
xlog1py = define("xlog1py", method=False, out=True)(
    weighted("special_xlog1py", OPS["xlog1py"], "special_xlog1py", "xlog1py_cpu")
)
expit = sigmoid


@define(method=False, out=True)
def round(input: Any, *, decimals: int = 0) -> Tensor:
    """Return the nearest decimal fractions, halves to even; NotImplementedError for integers."""
    x = require_tensor(input, "round")
    only_kinds("round_cpu" if decimals else "round_vml_cpu", "f", x._array.dtype)
    return mapped(COMPOSITES["round"].function, "RoundBackward1", (x,), [x._array], decimals=int(decimals))


@define(method=False, out=True)
def ndtr(input: Any) -> Tensor:
    """Return the distribution function of the standard normal distribution."""
    x = require_tensor(input, "ndtr")
    only_kinds("ndtr_cpu", "biuf", x._array.dtype)
    return mapped(COMPOSITES["ndtr"].function, "MulBackward1", (x,), [floating(x._array)])


def _whole(name: str, argument: str, position: int, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(
            f"{name}(): argument '{argument}' (position {position}) must be int, not {type(value).__name__}"
        )
    return value


def _derivative_of_digamma(x: Node, n: int) -> Any:
    return COMPOSITES["polygamma"](n, x)


@define(method=False, out=True)
def polygamma(n: int, input: Any) -> Tensor:
    """Return the n-th derivative of digamma."""
    order = _whole("polygamma", "n", 1, n)
    x = require_tensor(input, "polygamma", 2)
    if order < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    only_kinds("polygamma", "biuf", x._array.dtype)
    return mapped(_derivative_of_digamma, "PolygammaBackward0", (x,), [floating(x._array)], n=order)


@define("polygamma", in_place=True)
def _polygamma(self: Tensor, n: int) -> Tensor:
    """Return the n-th derivative of digamma."""
    return polygamma(n, self)


@define(in_place=True, out=True)
def mvlgamma(input: Any, p: int) -> Tensor:
    """Return the logarithm of the multivariate gamma function of dimension p."""
    x = require_tensor(input, "mvlgamma")
    dimension = _whole("mvlgamma", "p", 2, p)
    if dimension < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    if x._array.dtype.kind == "b":
        raise RuntimeError("The input tensor may not be a boolean tensor.")
    only_kinds("mvlgamma", "iuf", x._array.dtype)
    return mapped(
        COMPOSITES["mvlgamma"].function, "MvlgammaBackward0", (x,), [floating(x._array)], p=dimension
    )


multigammaln = mvlgamma
