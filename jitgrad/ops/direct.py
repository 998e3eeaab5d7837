"""Elementwise ops that no kernel computes: NumPy calls them on whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.ir import Op
from jitgrad.ops.elementwise import exp, exp2, not_equal
from jitgrad.ops.samples import Domain, Draw, Kink, Sample, case, only
from jitgrad.ops.table import Partial, map_op


def _direct(
    name: str,
    function: Callable[..., Any],
    like: np.ufunc,
    *partials: Partial,
    domain: Domain = (-2.0, 2.0),
    kinks: tuple[Kink, ...] = (),
    undefined: str = "",
) -> Op:
    return map_op(
        name,
        function,
        "",
        *partials,
        like=like,
        scalar_kinds="",
        domain=domain,
        kinks=kinks,
        undefined=undefined,
        cost=12,
    )


rsqrt: Op = _direct(
    "rsqrt",
    lambda x: np.reciprocal(np.sqrt(x)),
    np.sqrt,
    lambda out, x: -0.5 * (out * out * out),
    domain=(0.2, 3),
    undefined="rsqrt'(0) = -inf",
    kinks=((([0.0, 4.0],), ([-np.inf, -1 / 16],)),),
)
step_towards: Op = _direct(
    "step_towards",
    lambda x, y: np.nextafter(x, y),
    np.nextafter,
    lambda out, x, y: not_equal(x, y),
    None,
    undefined="a step is a constant as far as derivatives go; where there is none, the derivative is 0",
    kinks=((([1.0, 2.0, 3.0], [3.0, -1.0, 3.0]), ([1.0, 1.0, 0.0], [0.0, 0.0, 0.0])),),
)
log_add_exp: Op = _direct(
    "log_add_exp",
    lambda x, y: np.logaddexp(x, y),
    np.logaddexp,
    lambda out, x, y: 1 / (1 + exp(y - x)),
    lambda out, x, y: 1 / (1 + exp(x - y)),
    undefined="NaN where both are the same infinity",
    kinks=((([1.0, 0.0, np.inf], [1.0, -np.inf, np.inf]), ([0.5, 1.0, np.nan], [0.5, 0.0, np.nan])),),
)
log_add_exp2: Op = _direct(
    "log_add_exp2",
    lambda x, y: np.logaddexp2(x, y),
    np.logaddexp2,
    lambda out, x, y: 1 / (1 + exp2(y - x)),
    lambda out, x, y: 1 / (1 + exp2(x - y)),
    undefined="NaN where both are the same infinity",
    kinks=((([1.0, 0.0, np.inf], [1.0, -np.inf, np.inf]), ([0.5, 1.0, np.nan], [0.5, 0.0, np.nan])),),
)


def _scaled_samples(d: Draw) -> list[Sample]:
    exponents = np.array([1, -2, 3])
    return [
        case(d(3), exponents),
        case(d(2, 1), exponents),
        case(d(), np.array(4)),
        case(d(0), exponents[:1]),
    ]


def _scaled_typing(x: Any, exponent: Any) -> tuple[np.dtype[Any], ...]:
    return np.dtype(x), np.dtype(exponent), np.dtype(x)


scale: Op = map_op(
    "scale",
    lambda x, exponent: np.ldexp(x, exponent),
    "",
    typing=_scaled_typing,
    vjp=lambda g, out, x, exponent: (scale(g, exponent), None),
    jvp=lambda tangents, out, x, exponent: None if tangents[0] is None else scale(tangents[0], exponent),
    scalar_kinds="",
    cost=4,
    samples=only("f", _scaled_samples),
    undefined="x * 2**exponent; the exponent is an integer and has no derivative",
)
