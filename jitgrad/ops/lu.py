"""LU factors, with row exchanges that count as constants, of matrices of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops.arrange import tril, triu
from jitgrad.ops.decompositions import matrices, product, solve_triangular, well_conditioned
from jitgrad.ops.elementwise import equal
from jitgrad.ops.indexing import take_along_axis
from jitgrad.ops.linear import swap_last
from jitgrad.ops.matrices import as_matrix
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.shape import window
from jitgrad.ops.table import composite, primitive
from jitgrad.ops.values import as_array, as_dtype, broadcast, concatenated, insert_axes

Array = np.ndarray[Any, Any]


def _eliminated(x: Any, exchange: bool) -> tuple[Array, Array]:
    """L below the diagonal and U from it on, and the row that each row was exchanged with."""
    x = np.asarray(x)
    *lead, m, n = x.shape
    a = np.array(x, order="C").reshape((-1, m, n))
    every, k = np.arange(a.shape[0]), min(m, n)
    pivots = np.tile(np.arange(k), (a.shape[0], 1))
    for j in range(k):
        if exchange:
            pivots[:, j] = j + np.argmax(np.abs(a[:, j:, j]), 1)
            upper, lower = a[every, j], a[every, pivots[:, j]]
            a[every, j], a[every, pivots[:, j]] = lower, upper
        pivot = a[:, j, j, None]
        a[:, j + 1 :, j] /= np.where(pivot == 0, 1, pivot)
        a[:, j + 1 :, j + 1 :] -= a[:, j + 1 :, j, None] * a[:, j, None, j + 1 :]
    return a.reshape(x.shape), pivots.reshape((*lead, k))


def _ordered(pivots: Any, *, rows: int, inverse: bool) -> Array:
    """The order in which exchanges one after the other leave the rows."""
    pivots = np.asarray(pivots)
    flat = pivots.reshape((-1, pivots.shape[-1]))
    order, every = np.tile(np.arange(rows), (flat.shape[0], 1)), np.arange(flat.shape[0])
    for j in range(flat.shape[1]):
        first, second = order[every, j], order[every, flat[:, j]]
        order[every, j], order[every, flat[:, j]] = second, first
    order = np.argsort(order, -1) if inverse else order
    return order.reshape((*pivots.shape[:-1], rows))


_pivots = primitive(
    "lu_pivots",
    "call",
    lambda x: _eliminated(x, exchange=True)[1],
    lambda x: Aval((*x.shape[:-2], min(x.shape[-2:])), np.dtype(np.int64)),
    None,
    None,
    cost=1000,
    samples=matrices((3, 3), (2, 4, 2), (2, 4)),
)
_order = primitive(
    "row_order",
    "call",
    _ordered,
    lambda pivots, *, rows, inverse: Aval((*pivots.shape[:-1], rows), np.dtype(np.int64)),
    None,
    None,
    samples=lambda d: [case(np.array([2, 1, 2]), rows=4, inverse=inverse) for inverse in (False, True)],
)


def _factors_vjp(g: Any, out: Any, x: Any) -> tuple[Any]:
    lower, upper = out, triu(out)
    unit = tril(out, -1) + np.eye(x.shape[-1], dtype=x.dtype)
    inner = tril(product(swap_last(unit), tril(g, -1)), -1) + triu(product(triu(g), swap_last(upper)))
    left = solve_triangular(swap_last(lower), inner, lower=False, unit=True)
    return (swap_last(solve_triangular(upper, swap_last(left), lower=False, unit=False)),)


def _factors_jvp(tangents: tuple[Any], out: Any, x: Any) -> Any:
    unit = tril(out, -1) + np.eye(x.shape[-1], dtype=x.dtype)
    left = solve_triangular(out, tangents[0], lower=True, unit=True)
    both = swap_last(solve_triangular(swap_last(out), swap_last(left), lower=True, unit=False))
    return product(unit, tril(both, -1)) + product(triu(both), triu(out))


def _square_reference(x: Any) -> Any:
    """L U = x, row by row of L and column by column of U."""
    n = x.shape[-1]
    out = np.zeros_like(x, np.float64)
    for i, j in np.ndindex(n, n):
        k = min(i, j)
        rest = x[..., i, j] - np.sum(out[..., i, :k] * out[..., :k, j], -1)
        out[..., i, j] = rest / out[..., j, j] if i > j else rest
    return out


_square_factors: Op = primitive(
    "lu_factors",
    "call",
    lambda x: _eliminated(x, exchange=False)[0],
    lambda x: Aval(x.shape, x.dtype),
    _factors_vjp,
    _factors_jvp,
    cost=1000,
    samples=matrices((3, 3), (2, 4, 4), (1, 1)),
    reference=_square_reference,
    undefined="without row exchanges; the derivative of singular factors raises LinAlgError",
)


def _shuffled(d: Draw, *shape: int) -> Any:
    """Matrices that need row exchanges."""
    return np.flip(well_conditioned(d, *shape), -2).copy()


def _factor_samples(d: Draw) -> list[Sample]:
    return [case(_shuffled(d, *s)) for s in ((3, 3), (2, 4, 2), (2, 4), (1, 1))]


def _factor_reference(a: Any) -> tuple[Any, Any]:
    compact, pivots = _eliminated(a.astype(np.float64), exchange=True)
    return compact, (pivots + 1).astype(np.int32)


@composite(name="lu_factor", samples=only("f", _factor_samples), reference=_factor_reference)
def lu_factor(a: Any) -> tuple[Any, Any]:
    """L below the diagonal and U from it on in one matrix, and LAPACK's row exchanges, counted from 1."""
    x = as_matrix("lu_factor", a)
    m, n = x.shape[-2:]
    k, rows, columns = min(m, n), len(x.shape) - 2, len(x.shape) - 1
    pivots = _pivots(x)
    order = _order(pivots, rows=m, inverse=False)
    x = take_along_axis(x, broadcast(insert_axes(order, (columns,)), x.shape), rows)
    compact = _square_factors(window(window(x, rows, 0, k), columns, 0, k))
    if m > n:
        turned = solve_triangular(
            swap_last(compact), swap_last(window(x, rows, k, m - k)), lower=True, unit=False
        )
        compact = concatenated([compact, swap_last(turned)], rows)
    if n > m:
        more = solve_triangular(compact, window(x, columns, k, n - k), lower=True, unit=True)
        compact = concatenated([compact, more], columns)
    return compact, as_dtype(pivots + 1, np.int32)


def _lu_reference(a: Any) -> tuple[Any, Any, Any]:
    (compact, pivots), (m, n) = _eliminated(a.astype(np.float64), exchange=True), a.shape[-2:]
    k = min(m, n)
    order = _ordered(pivots, rows=m, inverse=False)
    permutation = (np.arange(m)[:, None] == order[..., None, :]).astype(a.dtype)
    return permutation, np.tril(compact[..., :k], -1) + np.eye(m, k), np.triu(compact[..., :k, :])


@composite(name="lu", samples=only("f", _factor_samples), reference=_lu_reference)
def lu(a: Any) -> tuple[Any, Any, Any]:
    """A permutation, a unit lower and an upper triangular matrix whose product is a."""
    compact, pivots = lu_factor(a)
    m, n = compact.shape[-2:]
    k, rows = min(m, n), len(compact.shape) - 2
    order = _order(as_dtype(pivots, np.int64) - 1, rows=m, inverse=False)
    permutation = as_dtype(equal(insert_axes(order, (rows,)), np.arange(m)[:, None]), compact.dtype)
    lower = tril(window(compact, rows + 1, 0, k), -1) + np.eye(m, k, dtype=compact.dtype)
    return permutation, lower, triu(window(compact, rows, 0, k))


def _solve_samples(d: Draw) -> list[Sample]:
    a, pivots = well_conditioned(d, 3, 3), np.array([2, 3, 3], np.int32)
    many = np.array([[3, 3, 3], [1, 2, 3]], np.int32)
    return [
        case(a, pivots, d(3, 2)),
        case(a, pivots, d(3, 2), adjoint=True),
        case(well_conditioned(d, 2, 3, 3), many, d(2, 3, 1)),
    ]


def _solve_reference(factors: Any, pivots: Any, b: Any, adjoint: bool = False) -> Any:
    order = _ordered(pivots - 1, rows=factors.shape[-1], inverse=True)
    a = (np.tril(factors, -1) + np.eye(factors.shape[-1])) @ np.triu(factors)
    a = np.take_along_axis(a, np.broadcast_to(order[..., None], a.shape), -2)
    return np.linalg.solve(np.swapaxes(a, -1, -2) if adjoint else a, b)


@composite(name="lu_solve", samples=only("f", _solve_samples), reference=_solve_reference)
def lu_solve(factors: Any, pivots: Any, b: Any, adjoint: bool = False) -> Any:
    """The x with a @ x = b (a.T @ x = b if adjoint), for the a of which lu_factor gave factors and pivots."""
    factors, b = as_matrix("lu_solve", factors, square=True), as_matrix("lu_solve", b)
    order = _order(as_dtype(as_array(pivots), np.int64) - 1, rows=b.shape[-2], inverse=adjoint)
    places, rows = broadcast(insert_axes(order, (len(b.shape) - 1,)), b.shape), len(b.shape) - 2
    if not adjoint:
        half = solve_triangular(factors, take_along_axis(b, places, rows), lower=True, unit=True)
        return solve_triangular(factors, half, lower=False, unit=False)
    turned = swap_last(factors)
    half = solve_triangular(turned, b, lower=True, unit=False)
    return take_along_axis(solve_triangular(turned, half, lower=False, unit=True), places, rows)
