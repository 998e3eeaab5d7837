"""Linear algebra: the namespace `torch.linalg`."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from jitgrad.eager.define import define, with_out
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.arithmetic import in_common_dtype
from jitgrad.eager.functions.diagonals import diagonal as _diagonal
from jitgrad.eager.functions.factors import cholesky_ex as cholesky_ex
from jitgrad.eager.functions.factors import eigh as eigh
from jitgrad.eager.functions.factors import eigvalsh as eigvalsh
from jitgrad.eager.functions.factors import linalg_cholesky as cholesky
from jitgrad.eager.functions.factors import linalg_det as det
from jitgrad.eager.functions.factors import linalg_lu as lu
from jitgrad.eager.functions.factors import linalg_lu_solve as lu_solve
from jitgrad.eager.functions.factors import linalg_qr as qr
from jitgrad.eager.functions.factors import linalg_slogdet as slogdet
from jitgrad.eager.functions.factors import linalg_svd as svd
from jitgrad.eager.functions.factors import lu_factor as lu_factor
from jitgrad.eager.functions.factors import lu_factor_ex as lu_factor_ex
from jitgrad.eager.functions.factors import svdvals as svdvals
from jitgrad.eager.functions.matrices import LinAlgError as LinAlgError
from jitgrad.eager.functions.matrices import invertible, matrix, singular
from jitgrad.eager.functions.norms import linalg_norm as norm
from jitgrad.eager.functions.norms import matrix_norm as matrix_norm
from jitgrad.eager.functions.norms import vector_norm as vector_norm
from jitgrad.eager.functions.pointwise import mapped
from jitgrad.eager.functions.products import matmul as matmul
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.functions.solving import inv as inv
from jitgrad.eager.functions.solving import inv_ex as inv_ex
from jitgrad.eager.functions.solving import lstsq as lstsq
from jitgrad.eager.functions.solving import not_finite, tolerances
from jitgrad.eager.functions.solving import pinv as pinv
from jitgrad.eager.functions.solving import solve as solve
from jitgrad.eager.functions.solving import solve_ex as solve_ex
from jitgrad.eager.functions.solving import solve_triangular as solve_triangular
from jitgrad.eager.functions.solving import tensorinv as tensorinv
from jitgrad.eager.functions.solving import tensorsolve as tensorsolve
from jitgrad.eager.functions.vectors import cross_along
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops import matrices
from jitgrad.ops.algebra import matmul as matmul_op
from jitgrad.ops.structure import reduce_axes, sum_axes
from jitgrad.ops.table import OPS
from jitgrad.ops.values import concatenated, insert_axes

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_ex",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "inv_ex",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_ex",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]

# Products -------------------------------------------------------------------------------------------------


def _power(x: Node, n: int) -> Any:
    return matrices.matrix_power(x, n) * 1 if n in (0, 1) else matrices.matrix_power(x, n)


@with_out
def matrix_power(A: Any, n: int) -> Tensor:
    """Return square matrices times themselves, n times; a negative n inverts them first.

    >>> import jitgrad
    >>> jitgrad.linalg.matrix_power(jitgrad.tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    if not isinstance(n, int):
        raise TypeError(
            f"linalg_matrix_power(): argument 'n' (position 2) must be int, not {type(n).__name__}"
        )
    x = require_tensor(A, "linalg_matrix_power", argument="A")
    if x._array.dtype.kind != "i" or x.ndim < 2 or x._array.shape[-1] != x._array.shape[-2]:
        x = matrix("linalg.matrix_power", x, square=True)
    product = "MmBackward0" if x.ndim == 2 else "UnsafeViewBackward0"
    name = {0: "CopyBackwards", 1: "CloneBackward0", -1: "LinalgInvExBackward0"}.get(n, product)
    return invertible(_power, (x,), {"n": n}, name, singular("linalg.inv"))  # type: ignore[no-any-return]


define("matrix_power")(matrix_power)


def _exponential(x: Node) -> Any:
    return OPS["matrix_exp"](x)


@define("matrix_exp")
def matrix_exp(A: Any) -> Tensor:
    """Return the exponential of square matrices, the sum of A**n / n!."""
    x = matrix("linalg.matrix_exp", A, square=True)
    return apply_function(_exponential, (x,), {}, "LinalgMatrixExpBackward0")  # type: ignore[no-any-return]


def _chain(*factors: Node) -> Any:
    return reduce(matmul_op, factors)


@with_out
def multi_dot(tensors: Any) -> Tensor:
    """Return the product of several matrices; the first and the last may be vectors."""
    given = [require_tensor(t, "linalg_multi_dot", argument="tensors") for t in tensors]
    if len(given) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(given)}")
    for place, t in enumerate(given):
        end = {0: "first", len(given) - 1: "last"}.get(place)
        if end and t.ndim not in (1, 2):
            raise RuntimeError(f"multi_dot(): the {end} tensor must be 1D or 2D but got {t.ndim}D")
        if not end and t.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {place} must be 2D but got {t.ndim}D")
        if t._array.dtype != given[0]._array.dtype:
            raise RuntimeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {given[0].dtype} and "
                f"tensor {place} {t.dtype}"
            )
    for place, (x, y) in enumerate(zip(given[:-1], given[1:], strict=True)):
        if x._array.shape[-1] != y._array.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {place} and {place + 1} with shapes {list(x._array.shape)} and "
                f"{list(y._array.shape)} cannot be multiplied"
            )
    return apply_function(_chain, given, {}, "ViewBackward0")  # type: ignore[no-any-return]


def _along(x: Node, y: Node, axis: int) -> Any:
    product = x * y
    return sum_axes(product, (axis,) if product.shape else ())


@with_out
def vecdot(x: Any, y: Any, *, dim: int = -1) -> Tensor:
    """Return the sums of products of vectors along a dimension, broadcast."""
    first, second = require_tensor(x, "linalg_vecdot", 1, "x"), require_tensor(y, "linalg_vecdot", 2, "y")
    arrays = in_common_dtype("linalg_vecdot", first, second)
    params = {"axis": dimension(dim, max(first.ndim, second.ndim))}
    if first.ndim == second.ndim == 1 and arrays[0].size != arrays[1].size:
        n, m = (a.size for a in arrays)
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{n}] and src [{m}] to have the same number of "
            f"elements, but got {n} and {m} elements respectively"
        )
    return mapped(_along, "SumBackward1", (first, second), arrays, **params)


@with_out
def cross(input: Any, other: Any, *, dim: int = -1) -> Tensor:
    """Return the vector products along a dimension of size 3, broadcast."""
    x, y = require_tensor(input, "linalg_cross"), require_tensor(other, "linalg_cross", 2, "other")
    return cross_along(x, y, dim)


def diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return the view of a diagonal of matrices, as the last dimension."""
    return _diagonal(A, offset, dim1, dim2)


def _powers(x: Node, count: int) -> Any:
    x = x if x.shape else insert_axes(x, (0,))
    column = insert_axes(x, (len(x.shape),))
    found = [column * 0 + 1]
    for _ in range(count - 1):
        found.append(found[-1] * column)
    return concatenated(found, len(x.shape))


def vander(x: Any, *, N: int | None = None) -> Tensor:
    """Return the matrices of powers 0 to N - 1 of vectors."""
    t = require_tensor(x, "linalg_vander", argument="x")
    if t._array.dtype.kind == "b":
        t = t.long()
    if not t.ndim and N is None:
        raise RuntimeError("N must be greater than 1.")
    count = t._array.shape[-1] if N is None else N
    if count <= 1:
        raise RuntimeError("N must be greater than 1.")
    return apply_function(_powers, (t,), {"count": count}, "CatBackward0")  # type: ignore[no-any-return]


# Ranks and condition numbers ------------------------------------------------------------------------------


@with_out
def matrix_rank(
    A: Any, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """Return how many singular values are above max(atol, rtol * the largest)."""
    x = require_tensor(A, "linalg_matrix_rank", argument="A")
    if x.ndim < 2:
        raise RuntimeError(
            "torch.linalg.matrix_rank: The input tensor input must have at least 2 dimensions."
        )
    x = matrix("torch.linalg.matrix_rank", x)
    a = x._array
    if not a.size:
        return wrap(np.zeros(a.shape[:-2], np.int64))
    try:
        values = np.abs(np.linalg.eigvalsh(a)) if hermitian else np.linalg.svd(a, compute_uv=False)
    except np.linalg.LinAlgError:
        raise not_finite("linalg.svd") from None
    if tol is not None:
        limits = tol._array if isinstance(tol, Tensor) else np.asarray(tol)
    else:
        limits = tolerances(a, atol, rtol, values.max(-1))
    return wrap(np.asarray((values > np.asarray(limits)[..., None]).sum(-1), np.int64))


def _ratio(x: Node, p: Any) -> Any:
    """The ratio of the extreme singular values, or the norms of a matrix and its inverse multiplied."""
    last = len(x.shape) - 2
    if p in (None, 2, -2):
        values = matrices.svdvals(x)
        largest, smallest = (reduce_axes(OPS[name], values, (last,)) for name in ("max", "min"))
        return smallest / largest if p == -2 else largest / smallest
    if p == "nuc":
        values = matrices.svdvals(x)
        return sum_axes(values, (last,)) * sum_axes(1 / values, (last,))
    return matrices.matrix_norm(x, ord=p) * matrices.matrix_norm(matrices.inv(x), ord=p)


_ORDERS = ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)


@with_out
def cond(A: Any, p: Any = None) -> Tensor:
    """Return the condition number of matrices by a norm, infinite where there is no inverse."""
    x = matrix("linalg.cond", A)
    if p is not None and p not in _ORDERS:
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if p not in (None, 2, -2):
        x = matrix(f"linalg.cond(ord={p})", A, square=True, function="linalg_cond")
    if not x._array.size and p not in (None, 2, -2):
        return wrap(np.zeros(x._array.shape[:-2], x._array.dtype))
    name = {None: "SqueezeBackward1", 2: "SqueezeBackward1", -2: "SqueezeBackward1", "nuc": "MulBackward0"}
    try:
        return apply_function(_ratio, (x,), {"p": p}, name.get(p, "NanToNumBackward0"))  # type: ignore[no-any-return]
    except np.linalg.LinAlgError:
        return wrap(_finite_or_not(x._array, p))


def _finite_or_not(a: Any, p: Any) -> Any:
    """The condition numbers of a batch of which some matrices have no inverse."""
    out = np.full(a.shape[:-2], np.inf, a.dtype)
    for place in np.ndindex(out.shape):
        try:
            out[place] = np.linalg.norm(a[place], p) * np.linalg.norm(np.linalg.inv(a[place]), p)
        except np.linalg.LinAlgError:
            continue
    return out
