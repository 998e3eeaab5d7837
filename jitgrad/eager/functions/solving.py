"""Inverses of matrices and solutions of linear equations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.eager.define import define, with_out
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.matrices import (
    LinAlgError,
    batch_element,
    invertible,
    matrix,
    same_dtype,
    singular,
    zero_pivots,
)
from jitgrad.eager.functions.operands import scalar_type
from jitgrad.eager.modes import state
from jitgrad.eager.results import named_result
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node, as_node
from jitgrad.ops import matrices
from jitgrad.ops.algebra import matmul
from jitgrad.ops.arrange import tril, triu
from jitgrad.ops.elementwise import stop_gradient
from jitgrad.ops.linear import swap_last
from jitgrad.ops.shape import shaped, stack, unstack, window
from jitgrad.ops.structure import sum_axes
from jitgrad.ops.values import broadcast, insert_axes

__all__ = ["cholesky_inverse", "cholesky_solve", "inverse", "pinverse", "triangular_solve"]

Shape = tuple[int, ...]


# Inverses -------------------------------------------------------------------------------------------------


def _inverse(x: Node) -> Any:
    return matrices.inv(x)


@with_out
def inv(A: Any) -> Tensor:
    """Return the inverse of square matrices; LinAlgError if there is none.

    >>> import jitgrad
    >>> jitgrad.linalg.inv(jitgrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    x = matrix("linalg.inv", A, square=True)
    return invertible(_inverse, (x,), {}, "LinalgInvExBackward0", singular("linalg.inv"))  # type: ignore[no-any-return]


@define("inverse", out=True)
def inverse(input: Any) -> Tensor:
    """Return the inverse of square matrices; LinAlgError if there is none."""
    return inv(input)


inv_ex_result = named_result("linalg_inv_ex", "inverse info")
solve_ex_result = named_result("linalg_solve_ex", "result info")


@with_out
def inv_ex(A: Any, *, check_errors: bool = False) -> Any:
    """Return the inverse and 0, or NaN and the number of the pivot that is 0 where there is no inverse."""
    x = matrix("linalg.inv_ex", A, square=True, function="linalg_inv_ex")
    try:
        found = apply_function(_inverse, (x,), {}, "LinalgInvExBackward0")
        infos = np.zeros(x._array.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        infos = zero_pivots(x._array)
        if check_errors:
            raise LinAlgError(singular("linalg.inv_ex")(infos)) from None
        found = _where_possible(lambda a: np.linalg.inv(a), x._array, infos)
    return inv_ex_result(found, wrap(infos))


def _where_possible(function: Any, a: Array, infos: Array, *others: Array) -> Tensor:
    """A function of those matrices of a batch that have a result; NaN for the others."""
    shape = others[0].shape if others else a.shape
    out = np.full(shape, np.nan, a.dtype)
    for place in np.ndindex(infos.shape):
        if not infos[place]:
            out[place] = function(a[place], *(b[place] for b in others))
    return wrap(out)


@with_out
def tensorinv(A: Any, ind: int = 2) -> Tensor:
    """Return the inverse of a tensor as a map from its last axes to its first `ind`."""
    x = require_tensor(A, "linalg_tensorinv", argument="A")
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    first, rest = x._array.shape[:ind], x._array.shape[ind:]
    n, m = math.prod(rest), math.prod(first)
    if n != m:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but "
            f"got {n} != {m}"
        )
    params = {"size": n, "shape": (*rest, *first)}
    found: Tensor = invertible(_inverse_map, (x,), params, "ReshapeAliasBackward0", singular("inv"))
    return found


def _inverse_map(x: Node, size: int, shape: Shape) -> Any:
    return shaped(matrices.inv(shaped(x, (size, size))), shape)


# Pseudo-inverses ------------------------------------------------------------------------------------------


def _pseudo(x: Node, rcond: float, hermitian: bool) -> Any:
    """The pseudo-inverse; of symmetric matrices one triangle is read, but the derivative is that of all."""
    fixed = stop_gradient(x)
    return matrices.pinv(matrices.mirrored(fixed) + (x - fixed) if hermitian else x, rcond)


def tolerances(x: Array, atol: Any, rtol: Any, largest: Array) -> Array:
    """Below which singular values of each matrix count as 0, given the largest ones."""
    low, share = (t._array if isinstance(t, Tensor) else t for t in (atol, rtol))
    if share is None:
        given = low is not None and np.any(np.asarray(low) > 0)
        share = np.finfo(x.dtype).eps * max(x.shape[-2:])
        share = np.where(np.asarray(low) > 0, 0, share) if given else share
    return np.asarray(np.maximum(0 if low is None else low, share * largest))


def _size_of_largest(a: Array) -> Array:
    if not a.size:
        return np.zeros(a.shape[:-2], a.dtype)
    return np.asarray(np.linalg.svd(a, compute_uv=False).max(-1))


@with_out
def pinv(A: Any, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """Return the pseudo-inverse; singular values up to max(atol, rtol * the largest) count as 0."""
    x = require_tensor(A, "linalg_pinv", argument="A")
    if x.ndim < 2 or x._array.dtype.kind not in "fc":
        raise RuntimeError(
            f"linalg.pinv({scalar_type(x._array.dtype)}{{{list(x._array.shape)}}}): expected a tensor with 2 "
            "or more dimensions of float, double, cfloat or cdouble types"
        )
    rtol = rcond if rtol is None else rtol
    a = x._array
    try:
        largest = state.compute(_size_of_largest, a)
    except np.linalg.LinAlgError:
        raise not_finite("linalg.svd") from None
    limits = tolerances(a, atol, rtol, largest)
    shares = np.where(largest == 0, 0, limits / np.where(largest == 0, 1, largest))
    wide = np.broadcast_shapes(shares.shape, a.shape[:-2])
    shares = np.broadcast_to(shares, wide)
    if not shares.size or (shares == shares.flat[0]).all():
        share = float(shares.flat[0]) if shares.size else 0.0
        wider = x.expand(*wide, *a.shape[-2:]) if wide != a.shape[:-2] else x
        params = {"rcond": share, "hermitian": hermitian}
        return apply_function(_pseudo, (wider,), params, "LinalgPinvBackward0")  # type: ignore[no-any-return]
    every = x.expand(*wide, *a.shape[-2:])
    params_of = {"rconds": tuple(map(float, shares.ravel())), "hermitian": hermitian}
    return apply_function(_each_pseudo, (every,), params_of, "LinalgPinvBackward0")  # type: ignore[no-any-return]


def _each_pseudo(x: Node, rconds: tuple[float, ...], hermitian: bool) -> Any:
    """The pseudo-inverses of a batch whose matrices have tolerances of their own."""
    *lead, m, n = x.shape
    rows = unstack(shaped(x, (len(rconds), m, n)))
    return shaped(stack([_pseudo(r, c, hermitian) for r, c in zip(rows, rconds, strict=True)]), (*lead, n, m))


@define("pinverse")
def pinverse(input: Any, rcond: float = 1e-15) -> Tensor:
    """Return the pseudo-inverse; singular values up to rcond times the largest count as 0."""
    return pinv(input, rcond)


def not_finite(name: str) -> LinAlgError:
    return LinAlgError(
        f"{name}: The algorithm failed to converge because the input matrix contained non-finite values."
    )


# Solutions ------------------------------------------------------------------------------------------------


def is_vector(x: Tensor, b: Tensor) -> bool:
    """Whether right-hand sides are vectors, one for each matrix, or one for all."""
    return b.ndim == 1 or (x.ndim - 1 == b.ndim and b._array.shape == x._array.shape[:-1])


def _solution(x: Node, b: Node, left: bool, vector: bool) -> Any:
    if vector:
        wide = broadcast(b, (*np.broadcast_shapes(x.shape[:-2], b.shape[:-1]), b.shape[-1]))
        y = matrices.solve(x, insert_axes(wide, (len(wide.shape),)))
        return shaped(y, y.shape[:-1])
    return matrices.solve(x, b) if left else swap_last(matrices.solve(swap_last(x), swap_last(b)))


def _equation(name: str, A: Any, B: Any, left: bool, square: bool = True) -> tuple[Tensor, Tensor, bool]:
    """The matrix, the right-hand sides, and whether those are vectors."""
    x = matrix(name, A, square=square)
    b = require_tensor(B, name.replace(".", "_"), 2, "B")
    same_dtype(name, x, b)
    vector = is_vector(x, b)
    if not vector and b.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor B must have at least 2 dimensions.")
    shape = (*b._array.shape, 1) if vector else b._array.shape
    if x._array.shape[-2 if left else -1] != shape[-2 if left else -1]:
        equation = "AX = B" if left else "XA = B"
        (m, n), (k, c) = x._array.shape[-2:], shape[-2:]
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {equation} ({m}x{n} and {k}x{c})"
        )
    if vector and not left:
        raise RuntimeError(
            f"{name}: Vector broadcasting of the left hand side is not supported for left=False. In this "
            f"case {name} is equivalent to B / A.squeeze(-1)"
        )
    return x, b, vector


def _unsolvable(name: str) -> Any:
    def message(infos: Array) -> str:
        where, _ = batch_element(infos)
        return f"{name}:{where} The solver failed because the input matrix is singular."

    return message


@with_out
def solve(A: Any, B: Any, *, left: bool = True) -> Tensor:
    """Return the x with A @ x = B (or x @ A = B); LinAlgError if A has no inverse.

    B counts as vectors if it has one axis, or as many elements as A has rows.
    """
    x, b, vector = _equation("linalg.solve", A, B, left)
    params = {"left": left, "vector": vector}
    refused = _unsolvable("torch.linalg.solve")
    return invertible(_solution, (x, b), params, "LinalgSolveExBackward0", refused)  # type: ignore[no-any-return]


@with_out
def solve_ex(A: Any, B: Any, *, left: bool = True, check_errors: bool = False) -> Any:
    """Return the solution and 0, or NaN and the number of the pivot that is 0 where A has no inverse."""
    x, b, vector = _equation("linalg.solve", A, B, left)
    params = {"left": left, "vector": vector}
    try:
        found = apply_function(_solution, (x, b), params, "LinalgSolveExBackward0")
        infos = np.zeros(x._array.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        infos = zero_pivots(x._array)
        if check_errors:
            raise LinAlgError(_unsolvable("torch.linalg.solve_ex")(infos)) from None
        found = wrap(np.full(b._array.shape, np.nan, b._array.dtype))
    return solve_ex_result(found, wrap(infos))


def _triangular(x: Node, b: Node, upper: bool, left: bool, unitriangular: bool) -> Any:
    return matrices.solve_triangular(x, b, upper=upper, left=left, unitriangular=unitriangular)


@with_out
def solve_triangular(
    A: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """Return the x with A @ x = B (or x @ A = B) for triangular A, of which only that triangle is read."""
    name = "linalg.solve_triangular"
    x, b = matrix(name, A, square=True), matrix(name, B, "B")
    same_dtype(name, x, b)
    if x._array.shape[-1] != b._array.shape[-2 if left else -1]:
        (m, n), (k, c) = x._array.shape[-2:], b._array.shape[-2:]
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {equation} ({m}x{n} and {k}x{c})"
        )
    params = {"upper": upper, "left": left, "unitriangular": unitriangular}
    return invertible(  # type: ignore[no-any-return]
        _triangular, (x, b), params, "LinalgSolveTriangularBackward0", _unsolvable(name)
    )


triangular_result = named_result("triangular_solve", "solution cloned_coefficient")


def _triangular_both(b: Node, x: Node, upper: bool, transpose: bool, unitriangular: bool) -> Any:
    side = swap_last(x) if transpose else x
    y = matrices.solve_triangular(side, b, upper=upper ^ transpose, unitriangular=unitriangular)
    return y, broadcast(x, (*y.shape[:-2], *x.shape[-2:])) * 1


@define()
def triangular_solve(
    input: Any, A: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """Return the x with A @ x = input for triangular A, and a copy of A."""
    b, x = matrix("triangular_solve", input, "b"), matrix("triangular_solve", A, square=True)
    same_dtype("triangular_solve", x, b)
    if x._array.shape[-1] != b._array.shape[-2]:
        raise RuntimeError(
            "triangular_solve: Incompatible matrix sizes for triangular_solve: each A matrix is "
            f"{x._array.shape[-2]} by {x._array.shape[-1]} but each b matrix is {b._array.shape[-2]} by "
            f"{b._array.shape[-1]}"
        )
    params = {"upper": upper, "transpose": transpose, "unitriangular": unitriangular}
    return triangular_result(apply_function(_triangular_both, (b, x), params, "TriangularSolveBackward0"))


@with_out
def tensorsolve(A: Any, B: Any, dims: Any = None) -> Tensor:
    """Return the x with tensordot(A, x, x.ndim) = B."""
    x, b = require_tensor(A, "linalg_tensorsolve", 1, "A"), require_tensor(B, "linalg_tensorsolve", 2, "B")
    if dims is not None:
        x = x.movedim(tuple(dims), tuple(range(x.ndim - len(dims), x.ndim)))
    first, rest = x._array.shape[: b.ndim], x._array.shape[b.ndim :]
    n, m = math.prod(rest), math.prod(first)
    if n != m:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {n} != {m}"
        )
    params, refused = {"size": n, "shape": rest}, _unsolvable("torch.linalg.solve")
    found: Tensor = invertible(_solved_map, (x, b), params, "ViewBackward0", refused)
    return found


def _solved_map(x: Node, b: Node, size: int, shape: Shape) -> Any:
    return shaped(matrices.solve(shaped(x, (size, size)), shaped(b, (size,))), shape)


# Factors in place of the matrix ---------------------------------------------------------------------------


def _by_factor(b: Node, factor: Node, upper: bool) -> Any:
    """Solve with both factors; one triangle is read, but the derivative is that of the whole factor."""
    fixed = stop_gradient(factor)
    lower = (triu if upper else tril)(fixed) + (factor - fixed)
    lower = swap_last(lower) if upper else lower
    return matrices.solve(swap_last(lower), matrices.solve(lower, b))


@define(out=True)
def cholesky_solve(input: Any, L: Any, upper: bool = False) -> Tensor:
    """Return the x with A @ x = input, given the triangular factor of A."""
    b, factor = (require_tensor(t, "cholesky_solve", i) for i, t in enumerate((input, L), 1))
    if b.ndim < 2:
        raise RuntimeError(f"b should have at least 2 dimensions, but has {b.ndim} dimensions instead")
    if factor.ndim < 2:
        raise RuntimeError(f"u should have at least 2 dimensions, but has {factor.ndim} dimensions instead")
    factor = matrix("cholesky_solve", factor, square=True)
    same_dtype("cholesky_solve", factor, b)
    if factor._array.shape[-1] != b._array.shape[-2]:
        (m, n), (k, c) = factor._array.shape[-2:], b._array.shape[-2:]
        raise RuntimeError(
            f"Incompatible matrix sizes for cholesky_solve: each A matrix is {m} by {n} but each b matrix is "
            f"{k} by {c}"
        )
    return apply_function(_by_factor, (b, factor), {"upper": upper}, "CholeskySolveBackward0")  # type: ignore[no-any-return]


def _inverse_by_factor(factor: Node, upper: bool) -> Any:
    return _by_factor(as_node(np.eye(factor.shape[-1], dtype=factor.dtype)), factor, upper)


@define(out=True)
def cholesky_inverse(input: Any, upper: bool = False) -> Tensor:
    """Return the inverse of A, given its triangular factor."""
    factor = matrix("cholesky_inverse", input, square=True)
    return apply_function(_inverse_by_factor, (factor,), {"upper": upper}, "CholeskyInverseBackward0")  # type: ignore[no-any-return]


# Least squares --------------------------------------------------------------------------------------------

lstsq_result = named_result("linalg_lstsq", "solution residuals rank singular_values")
_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def _least(x: Node, b: Node, rcond: float, vector: bool, residuals: bool) -> Any:
    """The solution by the pseudo-inverse, and the sum of the squares that it leaves."""
    columns = insert_axes(b, (len(b.shape),)) if vector else b
    y = matmul(matrices.pinv(x, rcond), columns)
    solution = shaped(y, y.shape[:-1]) if vector else y
    if not residuals:
        return solution, window(shaped(y, (math.prod(y.shape),)), 0, 0, 0)
    rest = matmul(x, y) - columns
    return solution, sum_axes(rest * rest, (len(rest.shape) - 2,))


def lstsq(A: Any, B: Any, rcond: Any = None, *, driver: str | None = None) -> Any:
    """Return the x of least norm that minimises the norm of A @ x - B, and what is known of A.

    That is the residuals where A has full rank and more rows than columns, its rank, and (drivers "gelsd",
    "gelss") its singular values.
    """
    x, b = require_tensor(A, "linalg_lstsq", argument="input"), require_tensor(B, "linalg_lstsq", 2, "b")
    name = "torch.linalg.lstsq"
    if x.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if b.ndim < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    if x._array.dtype != b._array.dtype:
        raise RuntimeError(
            f"{name}: Expected input and other to have the same dtype, but got input's dtype "
            f"{scalar_type(x._array.dtype)} and other's dtype {scalar_type(b._array.dtype)}"
        )
    if driver is not None and driver not in _DRIVERS:
        raise RuntimeError(f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    vector = x.ndim - 1 == b.ndim and b._array.shape == x._array.shape[:-1]
    if b._array.shape[-1 if vector or b.ndim == 1 else -2] != x._array.shape[-2]:
        axis = -1 if vector or b.ndim == 1 else -2
        raise RuntimeError(f"{name}: input.size(-2) should match other.size({axis})")
    return _least_squares(x, b, rcond, driver or "gelsy", vector)


def _least_squares(x: Tensor, b: Tensor, rcond: Any, driver: str, vector: bool) -> Any:
    a = x._array
    m, n = a.shape[-2:]
    share = float(rcond) if rcond is not None else float(np.finfo(a.dtype).eps) * max(m, n)
    values = np.linalg.svd(a, compute_uv=False) if a.size else np.zeros((*a.shape[:-2], 0), a.dtype)
    largest = values.max(-1, initial=0)[..., None]
    ranks = (values > share * largest).sum(-1).astype(np.int64)
    residuals = m > n and driver != "gelsy" and bool((ranks == n).all())
    params = {"rcond": 0.0 if driver == "gels" else share, "vector": vector, "residuals": residuals}
    solution, rest = apply_function(_least, (x, b), params, "LinalgLstsqBackward0")
    rank = wrap(ranks if driver != "gels" else np.zeros(0, np.int64))
    kept = values if driver in ("gelsd", "gelss") else np.zeros(0, a.dtype)
    return lstsq_result(solution, rest, rank, wrap(kept))
