"""Orthogonal polynomials by their recurrences; PyTorch gives them no derivative, so they have none here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager.define import define
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.arithmetic import in_common_dtype
from jitgrad.eager.functions.operands import must_broadcast, only_kinds
from jitgrad.eager.functions.pairs import require_tensor_among_two
from jitgrad.eager.modes import state
from jitgrad.eager.tensor import Tensor, wrap

__all__ = [
    "chebyshev_polynomial_t",
    "chebyshev_polynomial_u",
    "chebyshev_polynomial_v",
    "chebyshev_polynomial_w",
    "hermite_polynomial_h",
    "hermite_polynomial_he",
    "laguerre_polynomial_l",
    "legendre_polynomial_p",
    "shifted_chebyshev_polynomial_t",
    "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
]

Step = Callable[[int, Array, Array, Array], Any]  # the next one, from (degree, x, this one, the one before)


def _evaluated(x: Array, n: Array, first: Callable[[Array], Array], step: Step) -> Array:
    """The polynomials of degrees n, truncated to integers, at x; 0 for negative degrees."""
    shape = must_broadcast(x.shape, n.shape)
    degrees = np.where(n == n, np.trunc(n), -1)
    out = np.zeros(shape, x.dtype)
    before, now = np.ones_like(x), first(x)
    for degree in range(int(degrees.max(initial=-1)) + 1):
        np.copyto(out, before, where=degrees == degree)
        before, now = now, step(degree + 1, x, now, before)
    return out


def _family(
    name: str, first: Callable[[Array], Array], step: Step, *, shifted: bool = False
) -> Callable[..., Tensor]:
    def function(x: Any, n: Any) -> Tensor:
        require_tensor_among_two(f"special_{name}", x, n, "n", "x")
        points, degrees = in_common_dtype(name, x, n, floating=True)
        only_kinds(f"{name}_cpu", "f", points.dtype, points.shape, degrees.shape)
        at = 2 * points - 1 if shifted else points
        return wrap(state.compute(_evaluated, at, degrees, first, step))

    function.__name__ = function.__qualname__ = f"shifted_{name}" if shifted else name
    return define(method=False, out=True)(function)


def _chebyshev(degree: int, x: Array, now: Array, before: Array) -> Any:
    return 2 * x * now - before


def _hermite(degree: int, x: Array, now: Array, before: Array) -> Any:
    return 2 * x * now - 2 * degree * before


def _hermite_of_probability(degree: int, x: Array, now: Array, before: Array) -> Any:
    return x * now - degree * before


def _laguerre(degree: int, x: Array, now: Array, before: Array) -> Any:
    return ((2 * degree + 1 - x) * now - degree * before) / (degree + 1)


def _legendre(degree: int, x: Array, now: Array, before: Array) -> Any:
    return ((2 * degree + 1) * x * now - degree * before) / (degree + 1)


def _same(x: Array) -> Array:
    return x


def _double(x: Array) -> Array:
    return 2 * x


def _double_less_one(x: Array) -> Array:
    return 2 * x - 1


def _double_and_one(x: Array) -> Array:
    return 2 * x + 1


def _one_less(x: Array) -> Array:
    return 1 - x


chebyshev_polynomial_t = _family("chebyshev_polynomial_t", _same, _chebyshev)
chebyshev_polynomial_u = _family("chebyshev_polynomial_u", _double, _chebyshev)
chebyshev_polynomial_v = _family("chebyshev_polynomial_v", _double_less_one, _chebyshev)
chebyshev_polynomial_w = _family("chebyshev_polynomial_w", _double_and_one, _chebyshev)
shifted_chebyshev_polynomial_t = _family("chebyshev_polynomial_t", _same, _chebyshev, shifted=True)
shifted_chebyshev_polynomial_u = _family("chebyshev_polynomial_u", _double, _chebyshev, shifted=True)
shifted_chebyshev_polynomial_v = _family("chebyshev_polynomial_v", _double_less_one, _chebyshev, shifted=True)
shifted_chebyshev_polynomial_w = _family("chebyshev_polynomial_w", _double_and_one, _chebyshev, shifted=True)
hermite_polynomial_h = _family("hermite_polynomial_h", _double, _hermite)
hermite_polynomial_he = _family("hermite_polynomial_he", _same, _hermite_of_probability)
laguerre_polynomial_l = _family("laguerre_polynomial_l", _one_less, _laguerre)
legendre_polynomial_p = _family("legendre_polynomial_p", _same, _legendre)
