"""Elementwise ops that hold numbers within bounds, with PyTorch's derivatives at the bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.ir import Op
from jitgrad.ops.elementwise import where
from jitgrad.ops.samples import Draw, Sample, case, only, with_kinks
from jitgrad.ops.table import map_op

_ABOVE = "select({0} < {1}, {1}, select({1} == {1}, {0}, {1}))"  # {0}, or {1} if that is larger or NaN
_BELOW = "select({0} > {1}, {1}, select({1} == {1}, {0}, {1}))"
_BETWEEN = _BELOW.replace("{1}", "{2}").replace("{0}", _ABOVE)

Masks = Callable[..., tuple[Any, ...]]


def _typed(*given: Any) -> tuple[np.dtype[Any], ...]:
    dtype = np.result_type(*(g(0) if isinstance(g, type) else g for g in given))
    return (dtype,) * (len(given) + 1)


def _masked(masks: Masks) -> dict[str, Any]:
    """The derivative rules of an op whose result is the argument that one of the masks chooses."""

    def vjp(g: Any, out: Any, *args: Any) -> tuple[Any, ...]:
        return tuple(None if m is None else where(m, g, 0) for m in masks(out, *args))

    def jvp(tangents: tuple[Any, ...], out: Any, *args: Any) -> Any:
        chosen = zip(masks(out, *args), tangents, strict=True)
        terms = [where(m, t, 0) for m, t in chosen if m is not None and t is not None]
        return sum(terms[1:], terms[0]) if terms else None

    return {"vjp": vjp, "jvp": jvp}


def _is_number(x: Any) -> bool:
    return x.__class__ is int or isinstance(x, np.generic)


def _rectify_masks(out: Any, x: Any, bound: Any) -> tuple[Any, ...]:
    at_bound = out <= bound
    return ~at_bound, None if _is_number(bound) else at_bound


def _above_masks(out: Any, x: Any, low: Any) -> tuple[Any, ...]:
    return x >= low, None if _is_number(low) else x < low


def _below_masks(out: Any, x: Any, high: Any) -> tuple[Any, ...]:
    return x <= high, None if _is_number(high) else x > high


def _between_masks(out: Any, x: Any, low: Any, high: Any) -> tuple[Any, ...]:
    at_low = None if _is_number(low) else (x < low) & (low < high)
    at_high = None if _is_number(high) else (x > high) | (high < low)
    return (x >= low) & (x <= high), at_low, at_high


def _pairs(d: Draw) -> list[Sample]:
    return [case(d(2, 3), d(2, 3)), case(d(2, 1), d(3)), case(d(7), 0), case(d(), d()), case(d(0), d())]


def _triples(d: Draw) -> list[Sample]:
    low, high = d(3, low=-2, high=0), d(3, low=1, high=2)
    return [case(d(2, 3), low, high), case(d(7), 0, 1), case(d(), d(), d()), case(d(0), 0, 1)]


_NAN, _INF = np.nan, np.inf

rectify: Op = map_op(
    "rectify",
    lambda x, bound: np.maximum(bound, x),  # of equal operands NumPy takes the second, so -0 stays
    "select({0} <= {1}, select({0} == {1}, {0}, {1}), select({1} == {1}, {0}, {1}))",
    typing=_typed,
    **_masked(_rectify_masks),
    undefined="at the bound the derivative is that of the bound; that of a NaN is 1",
    samples=with_kinks(
        only("fi", _pairs),
        ((([0.0, 2.0, -1.0, _NAN], [0.0] * 4), ([0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0])),),
    ),
)
clamp_min: Op = map_op(
    "clamp_min",
    lambda x, low: np.maximum(low, x),
    _ABOVE,
    typing=_typed,
    **_masked(_above_masks),
    undefined="at the bound the derivative is that of x; that of a NaN is 0",
    samples=with_kinks(
        only("fi", _pairs),
        ((([0.0, 2.0, -1.0, _NAN], [0.0] * 4), ([1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0])),),
    ),
)
clamp_max: Op = map_op(
    "clamp_max",
    lambda x, high: np.minimum(high, x),
    _BELOW,
    typing=_typed,
    **_masked(_below_masks),
    undefined="at the bound the derivative is that of x; that of a NaN is 0",
    samples=with_kinks(
        only("fi", _pairs),
        ((([0.0, 2.0, -1.0, _NAN], [0.0] * 4), ([1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0])),),
    ),
)
clamp: Op = map_op(
    "clamp",
    lambda x, low, high: np.minimum(high, np.maximum(low, x)),
    _BETWEEN,
    typing=_typed,
    **_masked(_between_masks),
    cost=3,
    undefined="at a bound the derivative is that of x; a NaN has 0; of bounds out of order the upper counts",
    samples=with_kinks(
        only("fi", _triples),
        (
            (
                ([0.0, 2.0, 3.0, -_INF, _NAN], [0.0] * 5, [2.0] * 5),
                ([1.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]),
            ),
            (([0.0, 2.0], [3.0, 3.0], [1.0, 1.0]), ([0.0, 0.0], [0.0, 0.0], [1.0, 1.0])),
        ),
    ),
)
