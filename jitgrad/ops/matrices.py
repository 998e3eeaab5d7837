"""NumPy's and PyTorch's functions of matrices, on top of the decompositions."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops import decompositions
from jitgrad.ops.algebra import matmul, norm
from jitgrad.ops.arrange import tril, triu
from jitgrad.ops.decompositions import matrices, product, symmetric, well_conditioned
from jitgrad.ops.elementwise import greater, stop_gradient
from jitgrad.ops.linear import swap_last
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.shape import moveaxis, shaped, window
from jitgrad.ops.statistics import count_nonzero, max_, min_, sum_
from jitgrad.ops.structure import place
from jitgrad.ops.table import composite, primitive
from jitgrad.ops.values import as_array, as_dtype, broadcast, concatenated, insert_axes

Array = np.ndarray[Any, Any]


class SlogdetResult(NamedTuple):
    """What np.linalg.slogdet returns."""

    sign: Any
    logabsdet: Any


class EighResult(NamedTuple):
    """What np.linalg.eigh returns."""

    eigenvalues: Any
    eigenvectors: Any


class SVDResult(NamedTuple):
    """What np.linalg.svd returns."""

    U: Any
    S: Any
    Vh: Any


class QRResult(NamedTuple):
    """What np.linalg.qr returns."""

    Q: Any
    R: Any


def as_matrix(name: str, x: Any, square: bool = False) -> Any:
    """x in a floating dtype, with the axes of a matrix."""
    x = as_array(x)
    if len(x.shape) < 2 or (square and x.shape[-1] != x.shape[-2]):
        kind = "square matrices" if square else "matrices"
        raise np.linalg.LinAlgError(f"{name}: needs {kind} in the last two axes, got shape {x.shape}")
    if x.dtype.kind == "c":
        raise NotImplementedError(f"{name}: complex matrices are not supported")
    return x if x.dtype.kind == "f" else as_dtype(x, np.float64)


def _transposed_if(x: Any, condition: bool) -> Any:
    return swap_last(x) if condition else x


# Inverses and solutions -------------------------------------------------------------------------------

_SQUARE = matrices(*decompositions.SQUARE)


@composite(np.linalg.inv, samples=_SQUARE)
def inv(a: Any) -> Any:
    """The inverse; LinAlgError for a singular matrix."""
    return decompositions.inv(as_matrix("inv", a, square=True))


@composite(np.linalg.det, samples=_SQUARE)
def det(a: Any) -> Any:
    """The determinant, whose first derivative holds for singular matrices too."""
    return decompositions.det(as_matrix("det", a, square=True))


@composite(np.linalg.slogdet, samples=_SQUARE)
def slogdet(a: Any) -> SlogdetResult:
    """The sign of the determinant and the logarithm of its size."""
    return SlogdetResult(*decompositions.slogdet(as_matrix("slogdet", a, square=True)))


def _solve_samples(d: Draw) -> list[Sample]:
    a = well_conditioned(d, 3, 3)
    many = well_conditioned(d, 2, 3, 3)
    return [case(a, d(3)), case(a, d(3, 2)), case(many, d(3, 2)), case(a, d(2, 3, 2)), case(many, d(3))]


def _paired(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """A square matrix and right-hand sides in one dtype, over one batch."""
    a = as_matrix(name, a, square=True)
    b = as_matrix(name, b)
    dtype = np.result_type(a.dtype, b.dtype)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"{name}: the matrix {a.shape} needs as many columns as {b.shape} has rows")
    wide = (broadcast(x, (*lead, *x.shape[-2:])) for x in (a, b))
    return tuple(as_dtype(x, dtype) for x in wide)


@composite(np.linalg.solve, samples=only("f", _solve_samples))
def solve(a: Any, b: Any) -> Any:
    """The x with a @ x = b; b counts as a vector only if it has one axis."""
    b = as_array(b)
    if len(b.shape) == 1:
        x = solve(a, insert_axes(b, (1,)))
        return shaped(x, x.shape[:-1])
    return decompositions.solve(*_paired("solve", a, b))


def _triangular_samples(d: Draw) -> list[Sample]:
    a = well_conditioned(d, 3, 3)
    forms = [case(a, d(3, 2), upper=True), case(a, d(3, 2), upper=False, unitriangular=True)]
    return [*forms, case(a, d(2, 3), upper=False, left=False), case(a, d(2, 3, 1), upper=True)]


def _triangular_reference(
    a: Any, b: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Any:
    a = np.triu(a, +unitriangular) if upper else np.tril(a, -unitriangular)
    a = a + unitriangular * np.eye(a.shape[-1], dtype=a.dtype)
    return np.linalg.solve(a, b) if left else b @ np.linalg.inv(a)


@composite(name="solve_triangular", samples=only("f", _triangular_samples), reference=_triangular_reference)
def solve_triangular(a: Any, b: Any, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    """The x with a @ x = b (or x @ a = b) for triangular a, of which only that triangle is read."""
    if not left:
        turned = solve_triangular(
            swap_last(as_array(a)), swap_last(as_array(b)), upper=not upper, unitriangular=unitriangular
        )
        return swap_last(turned)
    a, b = _paired("solve_triangular", a, b)
    return decompositions.solve_triangular(a, b, lower=not upper, unit=unitriangular)


def _pinv_vjp(g: Any, out: Any, x: Any, *, rcond: float) -> tuple[Any]:
    outer, inner = product(out, swap_last(out)), product(swap_last(out), out)
    gt = swap_last(g)
    first = gt - product(x, product(out, gt))
    last = gt - product(gt, product(out, x))
    both = product(swap_last(out), g, swap_last(out))
    return (product(first, outer) + product(inner, last) - both,)


def _pinv_jvp(tangents: tuple[Any], out: Any, x: Any, *, rcond: float) -> Any:
    (dx,) = tangents
    dxt, turned = swap_last(dx), swap_last(out)
    first = product(out, turned, dxt - product(dxt, x, out))
    last = product(dxt - product(out, x, dxt), turned, out)
    return first + last - product(out, dx, out)


_pinv: Op = primitive(
    "pinv",
    "call",
    lambda x, *, rcond: np.linalg.pinv(x, rcond),
    lambda x, *, rcond: Aval((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype),
    _pinv_vjp,
    _pinv_jvp,
    cost=3000,
    samples=matrices((3, 3), (4, 2), (2, 2, 4), rcond=1e-9),
    undefined="the derivative takes the rank as constant",
)


@composite(np.linalg.pinv, samples=matrices((3, 3), (4, 2), (2, 2, 4)))
def pinv(a: Any, rcond: float = 1e-15) -> Any:
    """The pseudo-inverse; singular values up to rcond times the largest count as 0."""
    return _pinv(as_matrix("pinv", a), rcond=float(rcond))


def _lstsq_samples(d: Draw) -> list[Sample]:
    a = well_conditioned(d, 4, 2)
    return [case(a, d(4)), case(a, d(4, 3)), case(well_conditioned(d, 2, 4), d(2, 1))]


@composite(
    name="lstsq",
    samples=only("f", _lstsq_samples),
    reference=lambda a, b: np.linalg.lstsq(a, b)[0],
)
def lstsq(a: Any, b: Any, rcond: float | None = None) -> Any:
    """The x of least norm that minimises the norm of a @ x - b, by the pseudo-inverse."""
    a = as_matrix("lstsq", a)
    if rcond is None:
        rcond = float(np.finfo(a.dtype).eps) * max(a.shape[-2:])
    return matmul(pinv(a, rcond), b)


# Factors ----------------------------------------------------------------------------------------------


def mirrored(x: Any, upper: bool = False) -> Any:
    """The symmetric matrix of which only one triangle is read."""
    return triu(x) + swap_last(triu(x, 1)) if upper else tril(x) + swap_last(tril(x, -1))


def _symmetric_samples(d: Draw) -> list[Sample]:
    return [case(well_conditioned(d, *s)) for s in ((3, 3), (1, 1), (2, 4, 4))]


def _mirror_samples(d: Draw) -> list[Sample]:
    """Finite differences see one triangle alone, so the derivative is stated."""
    return [Sample((d(3, 3), upper), {}, (np.ones((3, 3)),)) for upper in (False, True)]


@composite(
    name="as_symmetric",
    samples=only("f", _mirror_samples),
    reference=lambda x, upper: np.where(np.tri(3, dtype=bool) ^ upper | np.eye(3, dtype=bool), x, x.T),
)
def as_symmetric(x: Any, upper: bool = False) -> Any:
    """The symmetric matrix whose one triangle is that of x, with the derivative of (x + x.T) / 2.

    So PyTorch's functions of symmetric matrices read one triangle and give a symmetric gradient.
    """
    x = as_matrix("as_symmetric", x, square=True)
    mean = symmetric(x)
    return stop_gradient(mirrored(x, upper)) + (mean - stop_gradient(mean))


@composite(
    np.linalg.cholesky,
    samples=only("f", lambda d: [*_symmetric_samples(d), case(well_conditioned(d, 3, 3), upper=True)]),
)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The triangular factor of a positive definite matrix, of which only that triangle is read."""
    x = mirrored(as_matrix("cholesky", a, square=True), upper)
    return _transposed_if(decompositions.cholesky(x), upper)


def _factor_samples(d: Draw) -> list[Sample]:
    a = well_conditioned(d, 3, 3)
    return [case(d(3, 2), a), case(d(2, 3, 1), a, upper=True)]


def _from_factor(factor: Any, upper: bool) -> Any:
    half = np.triu(factor).swapaxes(-1, -2) if upper else np.tril(factor)
    return half @ half.swapaxes(-1, -2)


@composite(
    name="cholesky_solve",
    samples=only("f", _factor_samples),
    reference=lambda b, factor, upper=False: np.linalg.solve(_from_factor(factor, upper), b),
)
def cholesky_solve(b: Any, factor: Any, upper: bool = False) -> Any:
    """The x with a @ x = b, given the triangular factor of a."""
    lower = _transposed_if(as_array(factor), upper)
    half = solve_triangular(lower, b, upper=False)
    return solve_triangular(swap_last(lower), half, upper=True)


@composite(
    name="cholesky_inverse",
    samples=only("f", lambda d: [case(well_conditioned(d, 3, 3)), case(well_conditioned(d, 2, 2, 2), True)]),
    reference=lambda factor, upper=False: np.linalg.inv(_from_factor(factor, upper)),
)
def cholesky_inverse(factor: Any, upper: bool = False) -> Any:
    """The inverse of a, given its triangular factor."""
    factor = as_matrix("cholesky_inverse", factor, square=True)
    return cholesky_solve(np.eye(factor.shape[-1], dtype=factor.dtype), factor, upper)


@composite(
    np.linalg.eigh,
    samples=only("f", lambda d: [*_symmetric_samples(d), case(well_conditioned(d, 3, 3), UPLO="U")]),
)
def eigh(a: Any, UPLO: str = "L") -> EighResult:
    """The eigenvalues, ascending, and eigenvectors of a symmetric matrix, of which one triangle is read."""
    upper = UPLO.upper() == "U"
    factors = decompositions.eigh_upper if upper else decompositions.eigh
    return EighResult(*factors(mirrored(as_matrix("eigh", a, square=True), upper)))


@composite(np.linalg.eigvalsh, samples=only("f", _symmetric_samples))
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """The eigenvalues, ascending, of a symmetric matrix, of which one triangle is read."""
    return eigh(a, UPLO).eigenvalues


def _svd_samples(d: Draw) -> list[Sample]:
    thin = [case(well_conditioned(d, *s), full_matrices=False) for s in ((4, 2), (2, 4))]
    values = [case(well_conditioned(d, *s), compute_uv=False) for s in ((4, 2), (2, 2, 3))]
    return [*thin, *values, case(well_conditioned(d, 3, 3))]


@composite(np.linalg.svd, samples=only("f", _svd_samples))
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Singular vectors and values, descending; vectors without a singular value count as constants."""
    x = as_matrix("svd", a)
    wide = full_matrices and compute_uv and x.shape[-1] != x.shape[-2]
    parts = SVDResult(*(decompositions.svd_full if wide else decompositions.svd)(x))
    return parts if compute_uv else parts.S


@composite(np.linalg.svdvals, samples=matrices((3, 3), (4, 2), (2, 2, 3)))
def svdvals(x: Any, /) -> Any:
    """The singular values, descending."""
    return svd(x, compute_uv=False)


def _qr_samples(d: Draw) -> list[Sample]:
    forms = [case(well_conditioned(d, *s)) for s in ((3, 3), (4, 2), (2, 4), (2, 3, 2))]
    return [*forms, case(well_conditioned(d, 3, 2), mode="r")]


@composite(np.linalg.qr, samples=only("f", _qr_samples))
def qr(a: Any, mode: str = "reduced") -> Any:
    """An orthogonal and an upper triangular factor; "r" gives the latter, "complete" needs m <= n."""
    x = as_matrix("qr", a)
    m, n = x.shape[-2:]
    if mode not in ("reduced", "r") and not (mode == "complete" and m <= n):
        raise ValueError(f'qr: mode {mode!r} of shape {x.shape} is not supported; "reduced" and "r" are')
    last = len(x.shape) - 1
    k = min(m, n)
    q, r = decompositions.qr(window(x, last, 0, k))
    if n > m:
        r = concatenated([r, product(swap_last(q), window(x, last, m, n - m))], last)
    return r if mode == "r" else QRResult(q, r)


# Powers and exponentials ------------------------------------------------------------------------------


def _power_samples(d: Draw) -> list[Sample]:
    a = well_conditioned(d, 3, 3)
    return [case(a, n) for n in (0, 1, 2, 3, 5, -1, -2)] + [case(well_conditioned(d, 2, 2, 2), 3)]


@composite(np.linalg.matrix_power, samples=only("f", _power_samples))
def matrix_power(a: Any, n: int) -> Any:
    """A matrix times itself, n times; n is a known integer, negative for the inverse."""
    x = as_array(a)
    if n < 0:
        return matrix_power(inv(x), -n)
    total: Any = None
    while n:
        if n % 2:
            total = x if total is None else matmul(total, x)
        n //= 2
        x = matmul(x, x) if n else x
    return broadcast(np.eye(x.shape[-1], dtype=x.dtype), x.shape) if total is None else total


_PADE = tuple(
    math.factorial(26 - j)
    * math.factorial(13)
    / (math.factorial(26) * math.factorial(j) * math.factorial(13 - j))
    for j in range(14)
)
_PADE_REACH = 5.37  # the norm up to which that quotient has float64's accuracy (Higham, 2005)


def _exponential(x: Any) -> Array:
    """The quotient of degree 13 at x / 2**s, squared s times, in float64 or complex128."""
    x = np.asarray(x)
    a = x.astype(np.result_type(x, np.float64), order="C")
    size = np.max(np.sum(np.abs(a), -2, initial=0), -1, initial=0)
    with np.errstate(divide="ignore"):
        halvings = np.maximum(np.ceil(np.log2(np.where(np.isfinite(size), size, 0) / _PADE_REACH)), 0)
    a = a / 2.0 ** halvings[..., None, None]
    square = a @ a
    odd, even, power = np.zeros_like(a), np.zeros_like(a), np.broadcast_to(np.eye(a.shape[-1]), a.shape)
    for j in range(0, 14, 2):
        even, odd, power = even + _PADE[j] * power, odd + _PADE[j + 1] * power, power @ square
    odd = a @ odd
    total = np.linalg.solve(even - odd, even + odd)
    for i in range(int(np.max(halvings, initial=0))):
        total = np.where((i < halvings)[..., None, None], total @ total, total)
    return total.astype(x.dtype)


def _along(x: Any, direction: Any) -> Any:
    """The derivative of the exponential at x along a direction: a block of a larger exponential."""
    *lead, n, _ = x.shape
    ndim = len(x.shape)
    shape, step = (*lead, 2 * n, 2 * n), (1,) * ndim
    start = (0,) * (ndim - 2)
    blocks = place(x, shape=shape, start=(*start, 0, 0), step=step)
    blocks = blocks + place(x, shape=shape, start=(*start, n, n), step=step)
    blocks = blocks + place(direction, shape=shape, start=(*start, 0, n), step=step)
    return window(window(matrix_exp(blocks), ndim - 2, 0, n), ndim - 1, n, n)


def _exponential_reference(x: Any) -> Any:
    total = term = np.broadcast_to(np.eye(x.shape[-1]), x.shape)
    for k in range(1, 120):
        term = term @ x.astype(float) / k
        total = total + term
    return total


matrix_exp: Op = primitive(
    "matrix_exp",
    "call",
    _exponential,
    lambda x: Aval(x.shape, x.dtype),
    lambda g, out, x: (_along(swap_last(x), g),),
    lambda tangents, out, x: _along(x, tangents[0]),
    cost=5000,
    samples=only(
        "f", lambda d: [case(d(3, 3)), case(d(2, 2, 2)), case(d(1, 1)), case(3 * d(3, 3)), case(d(0, 0))]
    ),
    reference=_exponential_reference,
)

# Norms ------------------------------------------------------------------------------------------------


def _norm_samples(d: Draw) -> list[Sample]:
    a = well_conditioned(d, 3, 2)
    forms = [case(a, ord=p) for p in ("fro", "nuc", 2, -2, 1, math.inf)]
    return [*forms, case(well_conditioned(d, 2, 2, 3), ord=2, keepdims=True)]


@composite(np.linalg.matrix_norm, samples=only("f", _norm_samples))
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of the last two axes: "fro", "nuc", 1, -1, 2, -2, inf or -inf."""
    x = as_matrix("matrix_norm", x)
    if ord not in (2, -2, "nuc"):
        return norm(x, ord, (-2, -1), keepdims)
    values = svdvals(x)
    total = sum_(values, -1) if ord == "nuc" else (max_ if ord > 0 else min_)(values, -1)
    return insert_axes(total, (len(x.shape) - 2, len(x.shape) - 1)) if keepdims else total


@composite(
    np.linalg.vector_norm,
    samples=only(
        "f", lambda d: [case(d(2, 3)), case(d(2, 3), ord=1, axis=1), case(d(5), ord=3, keepdims=True)]
    ),
)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm of vectors along an axis, or of all elements."""
    x = as_array(x)
    if axis is not None and np.ndim(axis) == 0:
        return norm(x, ord, axis, keepdims)
    if axis is not None:
        raise ValueError(f"vector_norm: axis must be one axis or None, got {axis}")
    total = norm(shaped(x, (math.prod(x.shape),)), ord, 0)
    return shaped(total, (1,) * len(x.shape)) if keepdims else total


@composite(
    np.linalg.cond, samples=only("f", lambda d: [case(well_conditioned(d, 3, 3), p) for p in (None, -2, 1)])
)
def cond(x: Any, p: Any = None) -> Any:
    """The condition number, by singular values or as the norms of the matrix and its inverse multiplied."""
    x = as_matrix("cond", x)
    if p in (None, 2, -2):
        values = svdvals(x)
        largest, smallest = max_(values, -1), min_(values, -1)
        return smallest / largest if p == -2 else largest / smallest
    return matrix_norm(x, ord=p) * matrix_norm(inv(x), ord=p)


@composite(np.linalg.matrix_rank, samples=matrices((3, 3), (4, 2), (2, 2, 3)))
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False) -> Any:
    """How many singular values are above tol, by default eps times the largest times the longer side."""
    x = as_matrix("matrix_rank", A)
    values = svdvals(x)
    if tol is None:
        tol = max_(values, -1) * (max(x.shape[-2:]) * float(np.finfo(x.dtype).eps))
        tol = insert_axes(tol, (len(tol.shape),))
    return count_nonzero(greater(values, tol), -1)


@composite(np.linalg.multi_dot, samples=only("f", lambda d: [case([d(2, 3), d(3, 4), d(4, 2)])]))
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """The product of several matrices, from left to right."""
    return reduce(matmul, arrays)


# Matrices from parts ----------------------------------------------------------------------------------


def _embedded_samples(d: Draw) -> list[Sample]:
    forms = [case(d(3)), case(d(2, 3), offset=1), case(d(2, 3), offset=-2)]
    return [*forms, case(d(2, 3), axis1=0, axis2=2), case(d(2, 3), axis1=-1, axis2=0)]


def _embedded_reference(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    n = x.shape[-1] + abs(offset)
    out = np.zeros((*x.shape[:-1], n, n), x.dtype)
    rows = np.arange(x.shape[-1]) - min(offset, 0)
    out[..., rows, rows + offset] = x
    return np.moveaxis(out, (-2, -1), (axis1, axis2))


@composite(name="diag_embed", samples=_embedded_samples, reference=_embedded_reference)
def diag_embed(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    """Matrices whose diagonals are the last axis of x, their two axes at these places of the result."""
    x = as_array(x)
    *lead, size = x.shape
    n = size + abs(offset)
    start = offset if offset >= 0 else -offset * n
    none, step = (0,) * len(lead), (1,) * len(lead)
    flat = place(x, shape=(*lead, n * n), start=(*none, start), step=(*step, n + 1))
    return moveaxis(shaped(flat, (*lead, n, n)), (-2, -1), (axis1, axis2))


def _blocks_reference(*parts: Any) -> Any:
    parts = tuple(map(np.atleast_2d, parts))
    out = np.zeros(np.sum([p.shape for p in parts], 0), np.result_type(*parts))
    row = column = 0
    for p in parts:
        out[row : row + p.shape[0], column : column + p.shape[1]] = p
        row, column = row + p.shape[0], column + p.shape[1]
    return out


@composite(
    name="block_diag",
    samples=only("fi", lambda d: [case(d(2, 3), d(1, 2)), case(d(3), d(), d(2, 2)), case(d(2, 2))]),
    reference=_blocks_reference,
)
def block_diag(*parts: Any) -> Any:
    """The matrix with these matrices along its diagonal; vectors count as rows."""
    blocks = [shaped(p, (1,) * (2 - len(p.shape)) + p.shape) for p in map(as_array, parts)]
    dtype = np.result_type(*(b.dtype for b in blocks))
    width, column, rows = sum(b.shape[1] for b in blocks), 0, []
    for block in blocks:
        shape = (block.shape[0], width)
        rows.append(place(as_dtype(block, dtype), shape=shape, start=(0, column), step=(1, 1)))
        column += block.shape[1]
    return concatenated(rows, 0)
