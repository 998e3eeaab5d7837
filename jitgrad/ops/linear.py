"""Matrix products: one primitive over matching batch axes, the same code in every mode."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops.samples import case, only
from jitgrad.ops.structure import rearrange
from jitgrad.ops.table import primitive

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
"""The dtypes whose products are computed by code of our own."""


def swap_last(x: Any) -> Any:
    """The matrix transpose of the last two axes."""
    *lead, rows, columns = x.shape
    n = len(lead)
    return rearrange(x, shape=(*lead, columns, rows), source=(*range(n), n + 1, n))


@functools.cache
def _multiply() -> Callable[[Any, Any], Any]:
    from jitgrad.machine.products import multiply

    return multiply


def product(x: Any, y: Any) -> Any:
    """The products of matrices, by code whose results do not depend on the layout of the operands.

    NumPy multiplies integers, and complex numbers once they lie row by row: BLAS adds in an order that
    depends on the layout, and on whether the second operand is the first transposed.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype != y.dtype:
        dtype = np.result_type(x, y)
        x, y = x.astype(dtype), y.astype(dtype)
    if x.dtype in DTYPES:
        return _multiply()(x, y)
    if x.dtype.kind != "c":
        return np.matmul(x, y)
    with np.errstate(invalid="ignore"):  # OpenBLAS's kernels raise the flag on lanes they do not store
        return np.matmul(np.ascontiguousarray(x), np.ascontiguousarray(y))


matmul: Op = primitive(
    "matmul",
    "call",
    product,
    lambda x, y: Aval((*x.shape[:-1], y.shape[-1]), np.result_type(x.dtype, y.dtype)),
    lambda g, out, x, y: (matmul(g, swap_last(y)), matmul(swap_last(x), g)),
    lambda tangents, out, x, y: _matmul_jvp(tangents, x, y),
    cost=100,
    samples=only(
        "fi", lambda d: [case(d(2, 3), d(3, 4)), case(d(5, 2, 3), d(5, 3, 1)), case(d(2, 0), d(0, 3))]
    ),
    reference=np.matmul,
)


def _matmul_jvp(tangents: tuple[Any, ...], x: Any, y: Any) -> Any:
    dx, dy = tangents
    terms = ([] if dx is None else [matmul(dx, y)]) + ([] if dy is None else [matmul(x, dy)])
    return sum(terms[1:], terms[0])
