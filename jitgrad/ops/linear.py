"""Matrix products: one primitive over matching batch axes, which a target hands to BLAS.

BLAS adds in an order that may depend on how its operands lie in memory, and on whether the second is the
first transposed. So products of matrices are laid out in a way that gives the same values the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops.samples import case, only
from jitgrad.ops.structure import rearrange
from jitgrad.ops.table import primitive

Array = np.ndarray[Any, Any]


def swap_last(x: Any) -> Any:
    """The matrix transpose of the last two axes."""
    *lead, rows, columns = x.shape
    n = len(lead)
    return rearrange(x, shape=(*lead, columns, rows), source=(*range(n), n + 1, n))


SMALL = 1_000_000
"""Multiplications up to which OpenBLAS may have a kernel for each layout; beyond, it packs its operands."""


def _by_rows(x: Array) -> bool:
    """Whether each matrix of x lies in memory row by row without gaps."""
    rows, columns = x.shape[-2:]
    return (columns == 1 or x.strides[-1] == x.itemsize) and (
        rows == 1 or x.strides[-2] == columns * x.itemsize
    )


def _product(x: Any, y: Any) -> Any:
    """NumPy's matmul of operands laid out so that the layouts they came in change no bit.

    Matrices go by rows if they are small, else by rows or by columns. A matrix that meets a vector stays by
    rows or by columns, as it is: to transpose it would take 15 times as long as the product.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype.kind not in "fc":
        return np.matmul(x, y)
    rows, columns = x.shape[-2], y.shape[-1]
    transposed = 1 in (rows, columns) or rows * x.shape[-1] * columns > SMALL
    x, y = _laid_out(x, transposed), _laid_out(y, transposed)
    if rows == columns > 1 and np.may_share_memory(x, y):
        y = y.copy("K")  # NumPy would call syrk for an array and its own transpose
    with np.errstate(invalid="ignore"):  # OpenBLAS's kernels raise the flag on lanes they do not store
        return np.matmul(x, y)


def _laid_out(x: Array, transposed: bool) -> Array:
    if _by_rows(x) or (transposed and _by_rows(x.mT)):
        return x
    return np.ascontiguousarray(x)


matmul: Op = primitive(
    "matmul",
    "call",
    _product,
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
