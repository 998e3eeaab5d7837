"""Matrix products: one primitive over matching batch axes, which a target hands to BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops.samples import case, only
from jitgrad.ops.structure import rearrange
from jitgrad.ops.table import primitive


def swap_last(x: Any) -> Any:
    """The matrix transpose of the last two axes."""
    *lead, rows, columns = x.shape
    n = len(lead)
    return rearrange(x, shape=(*lead, columns, rows), source=(*range(n), n + 1, n))


matmul: Op = primitive(
    "matmul",
    "call",
    np.matmul,
    lambda x, y: Aval((*x.shape[:-1], y.shape[-1]), np.result_type(x.dtype, y.dtype)),
    lambda g, out, x, y: (matmul(g, swap_last(y)), matmul(swap_last(x), g)),
    lambda tangents, out, x, y: _matmul_jvp(tangents, x, y),
    cost=100,
    samples=only(
        "fi", lambda d: [case(d(2, 3), d(3, 4)), case(d(5, 2, 3), d(5, 3, 1)), case(d(2, 0), d(0, 3))]
    ),
)


def _matmul_jvp(tangents: tuple[Any, ...], x: Any, y: Any) -> Any:
    dx, dy = tangents
    terms = ([] if dx is None else [matmul(dx, y)]) + ([] if dy is None else [matmul(x, dy)])
    return sum(terms[1:], terms[0])
