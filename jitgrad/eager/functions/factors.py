"""Determinants, and matrices as products of factors: Cholesky, eigenvectors, singular vectors, QR, LU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager.define import define, with_out
from jitgrad.eager.dispatch import apply_function, edges_of
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.matrices import (
    LinAlgError,
    batch_element,
    matrix,
    without_derivative,
    zero_pivots,
)
from jitgrad.eager.functions.operands import only_kinds
from jitgrad.eager.results import named_result
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops import decompositions, matrices
from jitgrad.ops import lu as lu_ops
from jitgrad.ops.elementwise import equal, where
from jitgrad.ops.linear import swap_last
from jitgrad.ops.shape import window

__all__ = ["cholesky", "det", "logdet", "lu", "lu_solve", "qr", "slogdet", "svd"]


# Determinants ---------------------------------------------------------------------------------------------


def _determinant(x: Node) -> Any:
    return matrices.det(x)


@with_out
def linalg_det(A: Any) -> Tensor:
    """Return the determinant of square matrices.

    >>> import jitgrad
    >>> jitgrad.linalg.det(jitgrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(8.)
    """
    x = matrix("linalg.det", A, square=True)
    return apply_function(_determinant, (x,), {}, "LinalgDetBackward0")  # type: ignore[no-any-return]


@define("det")
def det(input: Any) -> Tensor:
    """Return the determinant of square matrices."""
    return linalg_det(input)


slogdet_result = named_result("slogdet", "sign logabsdet")
linalg_slogdet_result = named_result("linalg_slogdet", "sign logabsdet")


def _signed_logarithm(x: Node) -> Any:
    return matrices.slogdet(x)


@with_out
def linalg_slogdet(A: Any) -> Any:
    """Return the sign of the determinant and the logarithm of its size."""
    x = matrix("linalg.slogdet", A, square=True)
    return linalg_slogdet_result(apply_function(_signed_logarithm, (x,), {}, "LinalgSlogdetBackward0"))


@define("slogdet")
def slogdet(input: Any) -> Any:
    """Return the sign of the determinant and the logarithm of its size."""
    return slogdet_result(*linalg_slogdet(input))


def _logarithm(x: Node) -> Any:
    sign, size = matrices.slogdet(x)
    return where(equal(sign, -1), np.nan, size)


@define("logdet")
def logdet(input: Any) -> Tensor:
    """Return the logarithm of the determinant, NaN where that is negative."""
    x = matrix("logdet", input, square=True)
    return apply_function(_logarithm, (x,), {}, "WhereBackward0")  # type: ignore[no-any-return]


# Cholesky -------------------------------------------------------------------------------------------------


def _factor(x: Node, upper: bool) -> Any:
    lower = decompositions.cholesky(matrices.as_symmetric(x, upper))
    return swap_last(lower) if upper else lower


def _failing_minors(a: Array, upper: bool) -> Array:
    """The order of the first leading minor that is not positive definite, 0 if all are."""
    infos = np.zeros(a.shape[:-2], np.int32)
    for place in np.ndindex(infos.shape):
        whole = a[place].T if upper else a[place]
        for n in range(1, a.shape[-1] + 1):
            try:
                np.linalg.cholesky(whole[:n, :n])
            except np.linalg.LinAlgError:
                infos[place] = n
                break
    return infos


def _not_definite(name: str, infos: Array) -> LinAlgError:
    where, number = batch_element(infos)
    return LinAlgError(
        f"{name}:{where} The factorization could not be completed because the input is not positive-definite "
        f"(the leading minor of order {number} is not positive-definite)."
    )


def _cholesky(name: str, value: Any, upper: bool, label: str, recorded: str) -> Tensor:
    x = matrix(name, value, label, square=True)
    try:
        return apply_function(_factor, (x,), {"upper": upper}, recorded)  # type: ignore[no-any-return]
    except np.linalg.LinAlgError:
        raise _not_definite(name, _failing_minors(x._array, upper)) from None


@with_out
def linalg_cholesky(A: Any, *, upper: bool = False) -> Tensor:
    """Return the triangular factor of positive definite matrices, of which only that triangle is read."""
    return _cholesky("linalg.cholesky", A, upper, "A", "LinalgCholeskyExBackward0")


@define("cholesky", out=True)
def cholesky(input: Any, upper: bool = False) -> Tensor:
    """Return the triangular factor of positive definite matrices."""
    return _cholesky("cholesky", input, upper, "A", "CholeskyBackward0")


cholesky_ex_result = named_result("linalg_cholesky_ex", "L info")


@with_out
def cholesky_ex(A: Any, *, upper: bool = False, check_errors: bool = False) -> Any:
    """Return the triangular factor and 0, or NaN and the order of the leading minor that is not definite."""
    x = matrix("linalg.cholesky_ex", A, square=True)
    try:
        found = apply_function(_factor, (x,), {"upper": upper}, "LinalgCholeskyExBackward0")
        infos = np.zeros(x._array.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        infos = _failing_minors(x._array, upper)
        if check_errors:
            raise _not_definite("linalg.cholesky_ex", infos) from None
        found = wrap(np.full(x._array.shape, np.nan, x._array.dtype))
    return cholesky_ex_result(found, wrap(infos))


# Eigenvectors ---------------------------------------------------------------------------------------------

eigh_result = named_result("linalg_eigh", "eigenvalues eigenvectors")


def _converged(name: str, function: Callable[..., Any], x: Tensor, params: Any, recorded: str) -> Any:
    try:
        return apply_function(function, (x,), params, recorded)
    except np.linalg.LinAlgError:
        raise LinAlgError(
            f"{name}: The algorithm failed to converge because the input matrix contained non-finite values."
        ) from None


def _eigenvectors(x: Node, upper: bool) -> Any:
    return (decompositions.eigh_upper if upper else decompositions.eigh)(matrices.as_symmetric(x, upper))


def _eigenvalues(x: Node, upper: bool) -> Any:
    return _eigenvectors(x, upper)[0]


def _triangle(UPLO: str) -> dict[str, bool]:
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return {"upper": UPLO.upper() == "U"}


def _symmetric(name: str, A: Any, UPLO: str) -> tuple[Tensor, dict[str, bool]]:
    x = require_tensor(A, f"linalg_{name}", argument="A")
    if x.ndim >= 2 and x._array.shape[-1] == x._array.shape[-2]:
        only_kinds("linalg_eigh_cpu", "fc", x._array.dtype)
    return matrix(f"linalg.{name}", x, square=True), _triangle(UPLO)


@with_out
def eigh(A: Any, UPLO: str = "L") -> Any:
    """Return the eigenvalues, ascending, and eigenvectors of symmetric matrices.

    One triangle is read, "L" or "U".
    """
    x, params = _symmetric("eigh", A, UPLO)
    return eigh_result(_converged("linalg.eigh", _eigenvectors, x, params, "LinalgEighBackward0"))


@with_out
def eigvalsh(A: Any, UPLO: str = "L") -> Tensor:
    """Return the eigenvalues, ascending, of symmetric matrices, of which one triangle is read."""
    x, params = _symmetric("eigvalsh", A, UPLO)
    if not np.isfinite(x._array).all():
        return wrap(np.full(x._array.shape[:-1], np.nan, x._array.dtype))
    return _converged("linalg.eigh", _eigenvalues, x, params, "LinalgEighBackward0")  # type: ignore[no-any-return]


# Singular vectors -----------------------------------------------------------------------------------------

linalg_svd_result = named_result("linalg_svd", "U S Vh")
svd_result = named_result("svd", "U S V")


def _singular(x: Node, full: bool) -> Any:
    return matrices.svd(x, full)


def _singular_values(x: Node) -> Any:
    return matrices.svdvals(x)


def _on_cpu(name: str, driver: Any) -> None:
    if driver is not None:
        raise RuntimeError(
            f"torch.{name}: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER "
            "backend."
        )


@with_out
def linalg_svd(A: Any, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """Return U, S and Vh with A = U @ diag(S) @ Vh, the singular values S descending."""
    x = matrix("linalg.svd", A)
    _on_cpu("linalg.svd", driver)
    found = _converged("linalg.svd", _singular, x, {"full": full_matrices}, "LinalgSvdBackward0")
    return linalg_svd_result(found)


@with_out
def svdvals(A: Any, *, driver: str | None = None) -> Tensor:
    """Return the singular values, descending."""
    x = matrix("linalg.svdvals", A)
    _on_cpu("linalg.svdvals", driver)
    return _converged("linalg.svd", _singular_values, x, {}, "LinalgSvdBackward0")  # type: ignore[no-any-return]


@define("svd", out=True)
def svd(input: Any, some: bool = True, compute_uv: bool = True) -> Any:
    """Return U, S and V with input = U @ diag(S) @ V.T, in full size unless `some`."""
    x = matrix("linalg.svd", input)
    if not compute_uv:
        (*lead, m, n), dtype = x._array.shape, x._array.dtype
        values = _converged("linalg.svd", _singular_values, x, {}, "LinalgSvdBackward0")
        return svd_result(wrap(np.zeros((*lead, m, m), dtype)), values, wrap(np.zeros((*lead, n, n), dtype)))
    u, s, vh = _converged("linalg.svd", _singular, x, {"full": not some}, "LinalgSvdBackward0")
    return svd_result(u, s, vh.transpose(-2, -1))


# QR -------------------------------------------------------------------------------------------------------

linalg_qr_result, qr_result = named_result("linalg_qr", "Q R"), named_result("qr", "Q R")


def _orthogonal(x: Node) -> Any:
    if 0 not in x.shape:
        return matrices.qr(x)
    last, k = len(x.shape) - 1, min(x.shape[-2:])
    return window(x, last, 0, k), window(x, last - 1, 0, k)


def _triangular_alone(x: Tensor) -> tuple[Tensor, Tensor]:
    r = wrap(np.asarray(np.linalg.qr(x._array, "r")))
    q = wrap(np.zeros(0, x._array.dtype))
    reason = (
        "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
        "linalg.qr(A, mode='reduced') if you are going to require gradients."
    )
    without_derivative("LinalgQrBackward0", reason, (q, r), edges_of((x,)))
    return q, r


def _square_factor(x: Tensor) -> tuple[Tensor, Tensor]:
    q, r = (wrap(np.asarray(part)) for part in np.linalg.qr(x._array, "complete"))
    reason = "The QR decomposition is not differentiable when mode='complete' and nrows > ncols."
    without_derivative("LinalgQrBackward0", reason, (q, r), edges_of((x,)))
    return q, r


def _decomposed(x: Tensor, mode: str) -> Any:
    if mode not in ("reduced", "r", "complete"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or "
            "'complete'"
        )
    if mode == "r":
        return _triangular_alone(x)
    m, n = x._array.shape[-2:]
    if mode == "complete" and m > n:
        return _square_factor(x)
    try:
        return apply_function(_orthogonal, (x,), {}, "LinalgQrBackward0")
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"linalg.qr: {error}") from None


@with_out
def linalg_qr(A: Any, mode: str = "reduced") -> Any:
    """Return Q with orthogonal columns and upper triangular R with A = Q @ R.

    "complete" makes Q square, "r" computes R alone; a derivative asks for "reduced".
    """
    return linalg_qr_result(_decomposed(matrix("linalg.qr", A), mode))


@define("qr", out=True)
def qr(input: Any, some: bool = True) -> Any:
    """Return Q with orthogonal columns, all of them unless `some`, and upper triangular R."""
    return qr_result(_decomposed(matrix("linalg.qr", input), "reduced" if some else "complete"))


# LU -------------------------------------------------------------------------------------------------------

lu_result = named_result("linalg_lu", "P L U")
lu_with_info = named_result("_lu_with_info", "LU pivots info")
lu_factor_result = named_result("linalg_lu_factor", "LU pivots")
lu_factor_ex_result = named_result("linalg_lu_factor_ex", "LU pivots info")


def _compact(x: Node) -> Any:
    return lu_ops.lu_factor(x)


def _three_factors(x: Node) -> Any:
    return lu_ops.lu(x)


def _pivoted(pivot: bool, name: str) -> None:
    if not pivot:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented on the CPU")


@with_out
def linalg_lu(A: Any, *, pivot: bool = True) -> Any:
    """Return a permutation, a unit lower and an upper triangular matrix whose product is A."""
    x = matrix("linalg.lu", A)
    _pivoted(pivot, "linalg.lu")
    order, lower, upper = apply_function(_three_factors, (x,), {}, "LinalgLuBackward0")
    return lu_result(order.detach(), lower, upper)


def _factored(A: Any, pivot: bool) -> tuple[Tensor, Tensor, Array]:
    x = require_tensor(A, "linalg_lu_factor", argument="A")
    if x.ndim < 2:
        raise RuntimeError(
            "torch.lu_factor: Expected tensor with 2 or more dimensions. Got size: "
            f"{list(x._array.shape)} instead"
        )
    _pivoted(pivot, "linalg.lu_factor")
    compact, pivots = apply_function(
        _compact, (matrix("linalg.lu_factor", x),), {}, "LinalgLuFactorExBackward0"
    )
    zeros = np.diagonal(compact._array, axis1=-2, axis2=-1) == 0
    infos = zero_pivots(compact._array) if zeros.any() else np.zeros(zeros.shape[:-1], np.int32)
    return compact, pivots, infos


@with_out
def lu_factor(A: Any, *, pivot: bool = True) -> Any:
    """Return L and U in one matrix, and the row exchanges, counted from 1, that LAPACK makes."""
    compact, pivots, infos = _factored(A, pivot)
    if infos.any():
        where, number = batch_element(infos)
        raise RuntimeError(
            f"torch.linalg.lu_factor:{where} U[{number},{number}] is zero and using it on lu_solve would "
            "result in a division by zero. If you still want to perform the factorization, consider calling "
            "linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
        )
    return lu_factor_result(compact, pivots)


@with_out
def lu_factor_ex(A: Any, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """Return what lu_factor does, and the number of the first pivot that is 0, or 0."""
    if check_errors:
        return lu_factor_ex_result(*lu_factor(A, pivot=pivot), _factored(A, pivot)[2])
    compact, pivots, infos = _factored(A, pivot)
    return lu_factor_ex_result(compact, pivots, wrap(infos))


def lu(A: Any, pivot: bool = True, get_infos: bool = False) -> Any:
    """Return the factors in one matrix, the row exchanges, and, if asked for, which pivot is 0."""
    compact, pivots, infos = _factored(A, pivot)
    return lu_with_info(compact, pivots, wrap(infos)) if get_infos else (compact, pivots)


@define("lu")
def _lu_of(self: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    return tuple(lu(self, pivot, get_infos))


def _by_compact(factors: Node, pivots: Node, b: Node, left: bool, adjoint: bool) -> Any:
    if 0 in b.shape:
        return b * 1
    if left:
        return lu_ops.lu_solve(factors, pivots, b, adjoint)
    return swap_last(lu_ops.lu_solve(factors, pivots, swap_last(b), not adjoint))


@with_out
def linalg_lu_solve(LU: Any, pivots: Any, B: Any, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """Return the x with A @ x = B (or x @ A = B), given what lu_factor made of A; `adjoint` transposes A."""
    factors, b = matrix("linalg.lu_solve", LU, "LU", square=True), matrix("linalg.lu_solve", B, "B")
    exchanges = require_tensor(pivots, "linalg_lu_solve", 2, "pivots")
    if exchanges._array.dtype != np.int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    lead = np.broadcast_shapes(factors._array.shape[:-2], b._array.shape[:-2])
    wide = tuple(t.expand(*lead, *t._array.shape[-2:]) for t in (factors, b))
    every = exchanges.expand(*lead, exchanges._array.shape[-1])
    params = {"left": left, "adjoint": adjoint}
    return apply_function(_by_compact, (wide[0], every, wide[1]), params, "LinalgLuSolveBackward0")  # type: ignore[no-any-return]


@define("lu_solve", out=True)
def lu_solve(b: Any, LU_data: Any, LU_pivots: Any) -> Tensor:
    """Return the x with A @ x = b, given what lu_factor made of A."""
    return linalg_lu_solve(LU_data, LU_pivots, b)
