"""Special functions: of the normal distribution, the gamma function, entropies, modified Bessel functions.

Undefined points follow PyTorch: x log(y) is 0 at x = 0 whatever y, and its derivative to x is 0 there if
log(y) is not finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.ir import Op
from jitgrad.ops import approximations, elementwise
from jitgrad.ops.elementwise import absolute, equal, exp, log, log1p, sign, softplus, vector_op, where
from jitgrad.ops.pointwise import clip
from jitgrad.ops.samples import Domain, Draw, Interval, Sample, case, only
from jitgrad.ops.samples import elementwise as drawn
from jitgrad.ops.table import Partial, composite, map_op, typed_like
from jitgrad.ops.values import as_array, as_dtype, promoted

_ROOT_TWO_PI = math.sqrt(2 * math.pi)


def _floating(x: Any) -> Any:
    x = as_array(x)
    return as_dtype(x, typed_like(np.exp)(x.dtype)[-1])


def _approximated(
    name: str, function: Callable[..., Any], partial: Partial, domain: Domain, **options: Any
) -> Op:
    """Declare an elementwise op that no kernel computes: NumPy calls its approximation on whole arrays."""
    return map_op(
        name, function, "", partial, like=np.exp, scalar_kinds="", domain=domain, cost=40, **options
    )


# The error function and the normal distribution -------------------------------------------------------

erfc = vector_op(
    "erfc",
    np.exp,
    lambda out, x: -2 / math.sqrt(math.pi) * exp(-(x * x)),
    reference=np.vectorize(math.erfc, otypes=[float]),
)
erfcx: Op = _approximated(
    "erfcx",
    approximations.erfcx,
    lambda out, x: 2 * x * out - 2 / math.sqrt(math.pi),
    (-2, 5),
    reference=lambda x: np.exp(np.square(1.0 * x)) * np.vectorize(math.erfc, otypes=[float])(x),
)
erfinv: Op = _approximated(
    "erfinv",
    approximations.erfinv,
    lambda out, x: 0.5 * math.sqrt(math.pi) * exp(out * out),
    (-0.9, 0.9),
    undefined="erfinv'(1) = erfinv'(-1) = inf, NaN beyond",
    kinks=((([0.0, 1.0, -1.0, 2.0],), ([math.sqrt(math.pi) / 2, np.inf, np.inf, np.nan],)),),
)
ndtri: Op = _approximated(
    "ndtri",
    approximations.ndtri,
    lambda out, x: _ROOT_TWO_PI * exp(0.5 * out * out),
    (0.1, 0.9),
    undefined="ndtri'(0) = ndtri'(1) = inf, NaN beyond",
    kinks=((([0.5, 0.0, 1.0, -1.0],), ([_ROOT_TWO_PI, np.inf, np.inf, np.nan],)),),
)
log_ndtr: Op = _approximated(
    "log_ndtr",
    approximations.log_ndtr,
    lambda out, x: math.sqrt(2 / math.pi) / erfcx(x * -math.sqrt(0.5)),
    (-5, 3),
    reference=lambda x: np.log(np.vectorize(math.erfc, otypes=[float])(x * -math.sqrt(0.5)) / 2),
)


@composite(
    name="ndtr",
    samples=only("fi", drawn(1, (-3, 3))),
    reference=lambda x: np.vectorize(math.erfc, otypes=[float])(x * -math.sqrt(0.5)) / 2,
)
def ndtr(x: Any) -> Any:
    """The standard normal distribution function; in the lower tail the rounding of x costs some x * x ulp."""
    return 0.5 * erfc(_floating(x) * -math.sqrt(0.5))


# The gamma function -----------------------------------------------------------------------------------


def _polygamma_samples(d: Draw) -> list[Sample]:
    forms = [case(d(2, 3, low=1, high=6), n=n) for n in (1, 2, 3, 4)]
    if d.dtype.kind != "f":
        return [*forms, case(d(low=1, high=6), n=1)]
    return [*forms, case(d(0), n=1), case(d(low=0.2, high=0.9), n=2), case(d(3, low=-1.7, high=-1.3), n=1)]


def _hurwitz(x: Any, *, n: int) -> Any:
    """polygamma as the sum of many terms and what Euler and Maclaurin's formula says of the rest."""
    x, terms = np.asarray(x, np.float64)[..., None], 20000
    a = x[..., 0] + terms
    total = np.sum(((x + np.arange(terms)) ** -(n + 1.0))[..., ::-1], -1)
    total = total + a**-n / n + 0.5 * a ** -(n + 1.0) + (n + 1) / 12 * a ** -(n + 2.0)
    return (-1) ** (n + 1) * math.factorial(n) * total


_polygamma: Op = map_op(
    "polygamma",
    approximations.polygamma,
    "",
    vjp=lambda g, out, x, *, n: (g * _polygamma(x, n=n + 1),),
    jvp=lambda tangents, out, x, *, n: tangents[0] * _polygamma(x, n=n + 1),
    like=np.exp,
    scalar_kinds="",
    cost=60,
    samples=only("fi", _polygamma_samples),
    reference=_hurwitz,
    undefined="at 0, -1, -2 ... the value is (-1)**(n + 1) * inf, and so is the derivative",
)
digamma: Op = vector_op(
    "digamma",
    np.exp,
    lambda out, x: _polygamma(x, n=1),
    domain=(0.3, 6),
    undefined="digamma'(0) = inf",
    kinks=((([0.0, 1.0],), ([np.inf, math.pi**2 / 6],)),),
    reference=lambda x: _digamma_reference(x),
)
lgamma = vector_op(
    "lgamma",
    np.exp,
    lambda out, x: digamma(x),
    domain=(0.3, 6),
    undefined="lgamma'(0) = -inf, and NaN at negative integers",
    kinks=((([0.0, -1.0, 1.0],), ([-np.inf, np.nan, -np.euler_gamma],)),),
    reference=np.vectorize(lambda x: math.inf if x <= 0 else math.lgamma(x), otypes=[float]),
)


def _digamma_reference(x: Any) -> Any:
    """The asymptotic series at x + 30, brought back by the recurrence; minus infinity at 0."""
    x = np.asarray(x, np.float64)
    a = x + 30
    series = np.log(a) - 1 / (2 * a) - 1 / (12 * a**2) + 1 / (120 * a**4) - 1 / (252 * a**6)
    return series - sum(1 / (x + k) for k in range(30))


def _orders(d: Draw) -> list[Sample]:
    return [case(n, d(2, 3, low=1, high=6)) for n in (1, 2)]


@composite(name="polygamma", samples=only("fi", _orders), reference=lambda n, x: _hurwitz(x, n=n))
def polygamma(n: int, x: Any) -> Any:
    """The n-th derivative of digamma; n is a known integer, 0 gives digamma itself."""
    if n < 0:
        raise ValueError(f"polygamma: the order must not be negative, got {n}")
    return _polygamma(as_array(x), n=n) if n else digamma(as_array(x))


@composite(
    name="mvlgamma",
    samples=only("fi", lambda d: [case(d(2, 3, low=2, high=6), p) for p in (1, 2, 3)]),
    reference=lambda x, p: (
        p * (p - 1) / 4 * math.log(math.pi)
        + sum(np.vectorize(math.lgamma, otypes=[float])(x - j / 2) for j in range(p))
    ),
)
def mvlgamma(x: Any, p: int) -> Any:
    """The logarithm of the multivariate gamma function of dimension p."""
    x = _floating(x)
    total = lgamma(x)
    for j in range(1, p):
        total = total + lgamma(x - 0.5 * j)
    return total + 0.25 * p * (p - 1) * math.log(math.pi)


# Logarithms times numbers -----------------------------------------------------------------------------


def _weighted(
    name: str, logarithm: Op, scalar: str, inner: Callable[[Any], Any], domain: Interval, kinks: Any
) -> Op:
    """Declare x * logarithm(y), which is 0 for x = 0; `inner` is what the logarithm is taken of."""

    def compute(x: Any, y: Any) -> Any:
        x, y = promoted(x, y, floating=True)
        with np.errstate(all="ignore"):
            return np.where((x == 0) & (y == y), np.abs(x), x * logarithm(y))[()]

    def slope(out: Any, x: Any, y: Any) -> Any:
        blocked = equal(x, 0) & (inner(y) <= 0)
        return where(blocked, 0, logarithm(where(blocked, 1, y)))

    return map_op(
        name,
        compute,
        f"select(({{0}} == -{{0}}) & ({{1}} == {{1}}), abs({{0}}), {{0}} * {scalar})",
        slope,
        lambda out, x, y: x / inner(y),
        like=np.divide,
        scalar_kinds="f",
        cost=14,
        domain=((-2.0, 2.0), domain),
        reference=lambda x, y: np.where(np.equal(x, 0) & (y == y), 0, x * np.log(inner(1.0 * y))),
        undefined=f"0 at x = 0; the derivative to x is 0 there where {name}'s logarithm does not exist",
        kinks=kinks,
    )


xlogy: Op = _weighted(
    "xlogy",
    log,
    "log({1})",
    lambda y: y,
    (0.2, 3),
    (
        (
            ([0.0, 0.0, 0.0, 1.0], [0.0, 2.0, -1.0, 0.0]),
            ([0, math.log(2), 0, -np.inf], [np.nan, 0, 0, np.inf]),
        ),
    ),
)
xlog1py: Op = _weighted(
    "xlog1py",
    log1p,
    "log1p({1})",
    lambda y: y + 1,
    (-0.7, 3),
    ((([0.0, 0.0, 0.0], [-1.0, 2.0, -2.0]), ([0.0, math.log(3), 0.0], [np.nan, 0.0, 0.0])),),
)


def _entropy(x: Any) -> Any:
    x = _floating(x)
    with np.errstate(all="ignore"):
        return np.where(x < 0, -np.inf, np.where(x == 0, 0, -x * elementwise.log(x))).astype(x.dtype)[()]


entr = map_op(
    "entr",
    _entropy,
    "select({0} < -{0}, select({0} == {0} + {0}, {0}, log({0} - {0})), "
    "select({0} == -{0}, {0} - {0}, -{0} * log({0})))",
    lambda out, x: -1 - log(x),
    like=np.exp,
    scalar_kinds="f",
    cost=14,
    domain=(0.2, 3),
    reference=lambda x: np.where(np.equal(x, 0), 0, -1.0 * x * np.log(x)),
    undefined="entr'(0) = inf, NaN below",
    kinks=((([0.0, 2.0],), ([np.inf, -1 - math.log(2)],)),),
)


def _logit_samples(d: Draw) -> list[Sample]:
    return [case(d(2, 3, low=0.05, high=0.95)), case(d(7, low=-0.5, high=1.5), eps=0.2), case(d(0))]


def _logit_reference(x: Any, eps: float | None = None) -> Any:
    x = np.asarray(x, np.float64) if eps is None else np.clip(x, eps, 1 - eps)
    return np.log(x) - np.log1p(-x)


@composite(
    name="logit",
    samples=only("f", _logit_samples),
    reference=_logit_reference,
    kinks=((([0.0, 1.0, 0.5, 2.0],), ([np.inf, np.inf, 4.0, np.nan],)),),
)
def logit(x: Any, eps: float | None = None) -> Any:
    """log(x / (1 - x)), NaN outside [0, 1] with its derivative; with eps, x is clipped to [eps, 1 - eps]."""
    x = _floating(x)
    if eps is not None:
        x = clip(x, eps, 1 - eps)
    x = x + where((x < 0) | (x > 1), x.dtype.type(math.nan), x.dtype.type(0))
    return log(x) - log1p(-x)


@composite(
    name="log_sigmoid",
    samples=only("fi", drawn(1, (-3, 3))),
    reference=lambda x: -np.logaddexp(0.0, -1.0 * x),
)
def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)) without overflow."""
    return -softplus(-_floating(x))


# Modified Bessel functions ----------------------------------------------------------------------------


def _divided(y: Any, x: Any) -> Any:
    """y / x, and 1/2 where x is 0: the limit for a Bessel function of order 1."""
    zero = equal(x, 0)
    return where(zero, 0.5, y / where(zero, 1, x))


i0: Op = _approximated(
    "i0", approximations.i0, lambda out, x: i1(x), (-3, 12), also=(np.i0,), reference=np.i0
)
i1: Op = _approximated(
    "i1",
    approximations.i1,
    lambda out, x: i0(x) - _divided(out, x),
    (-3, 12),
    reference=lambda x: _bessel_integral(x, 1),
    kinks=((([0.0],), ([0.5],)),),
)
i0e: Op = _approximated(
    "i0e",
    approximations.i0e,
    lambda out, x: i1e(x) - sign(x) * out,
    (-3, 12),
    reference=lambda x: _bessel_integral(x, 0) * np.exp(-absolute(1.0 * x)),
    undefined="i0e'(0) = 0",
    kinks=((([0.0],), ([0.0],)),),
)
i1e: Op = _approximated(
    "i1e",
    approximations.i1e,
    lambda out, x: i0e(x) - sign(x) * out - _divided(out, x),
    (-3, 12),
    reference=lambda x: _bessel_integral(x, 1) * np.exp(-absolute(1.0 * x)),
    kinks=((([0.0],), ([0.5],)),),
)


def _bessel_integral(x: Any, order: int) -> Any:
    """The mean of exp(x cos t) cos(order t) over 64 angles, which is exact for a periodic integrand."""
    angles = np.arange(64) * (2 * math.pi / 64)
    return np.mean(np.exp(np.asarray(x)[..., None] * np.cos(angles)) * np.cos(order * angles), -1)
