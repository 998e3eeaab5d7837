"""The functions whose errors are measured: their definitions, bounds, domains and delicate places.

Bounds are in units in the last place (ulp). Below zero, lgamma and digamma have rows of their own: next to
their zeros the relative error is large, so there the unit is that of the largest of 1, the result and the
function of 1 - x, which the reflection formula subtracts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Interval = tuple[float, float]


def anywhere(*arguments: Array) -> Array:
    """Tell all."""
    return np.ones_like(arguments[0], bool)


@dataclass(frozen=True, slots=True)
class Function:
    """A routine of jitgrad.vmath, what it should compute, and where that is difficult.

    `reference` and `inverse` take an mpmath context and its numbers. `domain` tells the arguments with a
    finite real result. Sampled are `intervals`, the neighbourhoods of `places`, and those of the arguments
    where the result leaves the range of the dtype or stops to change, which `inverse` finds. The errors of
    results smaller than `term` of the arguments count in ulp of that.
    """

    routine: str
    bound: float
    reference: Callable[..., Any]
    intervals: tuple[Interval, ...]
    domain: Callable[..., Array] = anywhere
    places: tuple[float, ...] = (0.0,)
    inverse: Callable[..., Any] | None = None
    term: Callable[..., Array] | None = None

    @property
    def arity(self) -> int:
        """The number of arguments."""
        return 2 if self.routine in ("arctan2", "hypot", "power") else 1


def named(name: str) -> Callable[..., Any]:
    """Return the reference that mpmath has under `name`."""
    return lambda mp, *x: getattr(mp, name)(*x)


def positive(x: Array) -> Array:
    """Tell x > 0."""
    return np.asarray(x > 0)


def at_most_one(x: Array) -> Array:
    """Tell -1 <= x <= 1."""
    return np.asarray(np.abs(x) <= 1)


def between_poles(x: Array) -> Array:
    """Tell the negative numbers that are no integers."""
    return np.asarray((x < 0) & (x != np.floor(x)))


def nonzero_both(x: Array, y: Array) -> Array:
    """Tell where neither is 0, whose sign mpmath does not know."""
    return np.asarray((x != 0) & (y != 0))


def real_power(x: Array, y: Array) -> Array:
    """Tell where x**y is finite and real."""
    return np.asarray((x > 0) | ((x < 0) & (y == np.floor(y))))


def erfc(mp: Any, x: Any) -> Any:
    """Return erfc(x), or 0 where it is far below any float and too small for mpmath."""
    return mp.erfc(x) if x < 10_000 else mp.zero


def softplus(mp: Any, x: Any) -> Any:
    """Return log(1 + exp(x))."""
    return max(x, mp.zero) + mp.log1p(mp.exp(-abs(x)))


def loggamma(mp: Any, x: Any) -> Any:
    """Return log|gamma(x)|."""
    return mp.loggamma(x).real


def lgamma_term(x: Array) -> Array:
    """Return lgamma(1 - x) to a tenth, by Stirling's formula, but at least 1."""
    a = 1 - x.astype(np.float64)
    return np.asarray(np.maximum((a - 0.5) * np.log(a) - a + 0.92, 1))


def digamma_term(x: Array) -> Array:
    """Return about digamma(1 - x), but at least 1."""
    return np.asarray(np.maximum(np.log(1 - x.astype(np.float64)), 1))


LOGARITHM = ((0.5, 2.0), (0.9, 1.1), (0.0, 10.0))
CIRCLE = ((-4.0, 4.0), (-1e3, 1e3), (-1e6, 1e6))
HYPERBOLA = ((-90.0, 90.0), (-711.0, 711.0), (-2.0, 2.0))
GAMMA = ((0.0, 3.0), (0.9, 2.1), (0.0, 30.0), (0.0, 200.0))
REFLECTED = ((-3.0, 0.0), (-20.0, 0.0), (-200.0, 0.0))
# The first zeros of lgamma and of digamma below 0, with the poles between them.
LGAMMA_ZEROS = (
    -0.0,
    -1.0,
    -2.0,
    -2.4570247382208,
    -2.7476826467274,
    -3.0,
    -3.1435808883500,
    -3.9552942848586,
)
DIGAMMA_ZEROS = (-0.0, -0.5040830082644554, -1.0, -1.5734984731623905, -2.0, -2.6107208684441447, -3.0)
DIGAMMA_ROOT = 1.4616321449683623
# lgamma overflows behind these, in float32 and in float64.
LGAMMA_ENDS = (4.0850034e36, 2.556348e305)

FUNCTIONS = {
    "exp": Function(
        "exp", 1, named("exp"), ((-110, 90), (-750, 711), (-1, 1)), inverse=lambda mp, y: mp.log(y)
    ),
    "exp2": Function(
        "exp2",
        1,
        lambda mp, x: mp.mpf(2) ** x,
        ((-155, 130), (-1080, 1026), (-1, 1)),
        inverse=lambda mp, y: mp.log(y, 2),
    ),
    "expm1": Function(
        "expm1", 1, named("expm1"), ((-40, 90), (-40, 711), (-1, 1)), inverse=lambda mp, y: mp.log1p(y)
    ),
    "log": Function("log", 1, named("log"), LOGARITHM, positive, (0, 1)),
    "log2": Function("log2", 1, lambda mp, x: mp.log(x) / mp.ln2, LOGARITHM, positive, (0, 1, 2)),
    "log10": Function("log10", 1, named("log10"), LOGARITHM, positive, (0, 1, 10)),
    "log1p": Function(
        "log1p", 1, named("log1p"), ((-1, 2), (-0.3, 0.5), (0, 1e3)), lambda x: x > -1, (0, -1)
    ),
    "sin": Function("sin", 1, named("sin"), CIRCLE),
    "cos": Function("cos", 1, named("cos"), CIRCLE),
    "tan": Function("tan", 2, named("tan"), CIRCLE),
    "arcsin": Function("arcsin", 2, named("asin"), ((-1, 1), (0.4, 0.6)), at_most_one, (0, 0.5, 1, -1)),
    "arccos": Function("arccos", 2, named("acos"), ((-1, 1), (0.4, 0.6)), at_most_one, (0, 0.5, 1, -1)),
    "arctan": Function("arctan", 2, named("atan"), ((-3, 3), (0.8, 1.2), (-100, 100)), places=(0, 1)),
    "arctan2": Function("arctan2", 2, named("atan2"), ((-4, 4),), nonzero_both),
    "sinh": Function("sinh", 2, named("sinh"), HYPERBOLA, inverse=lambda mp, y: mp.asinh(y)),
    "cosh": Function("cosh", 2, named("cosh"), HYPERBOLA, inverse=lambda mp, y: mp.acosh(y)),
    "tanh": Function("tanh", 1, named("tanh"), ((-25, 25), (-1, 1)), inverse=lambda mp, y: mp.atanh(y)),
    "arcsinh": Function("arcsinh", 2, named("asinh"), ((-3, 3), (-100, 100), (-1e5, 1e5))),
    "arccosh": Function(
        "arccosh", 2, named("acosh"), ((1, 3), (1, 1.1), (1, 1e5)), lambda x: x >= 1, places=(1,)
    ),
    "arctanh": Function(
        "arctanh", 2, named("atanh"), ((-1, 1), (-0.2, 0.2)), lambda x: np.abs(x) < 1, (0, 1, -1)
    ),
    "power": Function("power", 1, named("power"), ((-9, 9),), real_power),
    "cbrt": Function("cbrt", 1, lambda mp, x: mp.sign(x) * mp.cbrt(abs(x)), ((-8, 8), (-1e3, 1e3))),
    "hypot": Function("hypot", 1, named("hypot"), ((-4, 4),)),
    "sqrt": Function("sqrt", 0.5, named("sqrt"), ((0, 8), (0, 1e3)), lambda x: x >= 0),
    "erf": Function("erf", 1, named("erf"), ((-6, 6), (-1, 1)), inverse=lambda mp, y: mp.erfinv(min(y, 1))),
    "erfc": Function("erfc", 2, erfc, ((-6, 27), (-1, 1), (5, 11), (9, 10.1), (26, 27.3))),
    "sigmoid": Function(
        "sigmoid",
        1,
        lambda mp, x: 1 / (1 + mp.exp(-x)),
        ((-110, 90), (-750, 711), (-5, 5)),
        inverse=lambda mp, y: -mp.log(1 / y - 1),
    ),
    "softplus": Function(
        "softplus",
        2,
        softplus,
        ((-110, 90), (-750, 711), (-5, 5)),
        inverse=lambda mp, y: mp.log(mp.expm1(y)),
    ),
    "lgamma": Function("lgamma", 2, loggamma, GAMMA, positive, (0, 0.5, 1, 2, 2.5, 10, *LGAMMA_ENDS)),
    "lgamma, x<0": Function("lgamma", 6, loggamma, REFLECTED, between_poles, LGAMMA_ZEROS, term=lgamma_term),
    "digamma": Function("digamma", 2, named("digamma"), GAMMA, positive, (0, 1, DIGAMMA_ROOT, 2, 3, 10)),
    "digamma, x<0": Function(
        "digamma", 6, named("digamma"), REFLECTED, between_poles, DIGAMMA_ZEROS, term=digamma_term
    ),
}
