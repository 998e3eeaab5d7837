"""Linear algebra on the last two axes: inverses, determinants, factors of matrices, each with its derivative.

An op has one output, so a decomposition into several parts is one op that returns them one after the other
in its last axis. Where NumPy raises LinAlgError for a singular matrix, so do these.
Undefined points follow PyTorch: derivatives of singular or eigenvectors are infinite or NaN where two of the
values are equal, those of the values alone are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops.arrange import tril, triu
from jitgrad.ops.elementwise import equal, where
from jitgrad.ops.linear import matmul, swap_last
from jitgrad.ops.samples import Draw, Sample, Samples, case, only
from jitgrad.ops.shape import shaped, window
from jitgrad.ops.structure import sum_axes
from jitgrad.ops.table import primitive
from jitgrad.ops.values import Shape, as_array, as_dtype, broadcast, concatenated, insert_axes

Array = np.ndarray[Any, Any]
Parts = tuple[Any, ...]

# Small pieces of formulas -----------------------------------------------------------------------------


def product(*factors: Any) -> Any:
    """The product of matrices from left to right."""
    total = factors[0]
    for factor in factors[1:]:
        total = matmul(total, factor)
    return total


def symmetric(x: Any) -> Any:
    """The mean of a matrix and its transpose."""
    return (x + swap_last(x)) * 0.5


def antisymmetric(x: Any) -> Any:
    """A matrix minus its transpose."""
    return x - swap_last(x)


def on_diagonal(values: Any) -> Any:
    """The matrix with these values on its diagonal."""
    n = values.shape[-1]
    wide = broadcast(insert_axes(values, (len(values.shape) - 1,)), (*values.shape, n))
    return where(np.eye(n, dtype=bool), wide, 0)


def diagonal_of(x: Any) -> Any:
    """The diagonal of a square matrix."""
    *lead, n, _ = x.shape
    return window(shaped(x, (*lead, n * n)), len(lead), 0, n, n + 1)


def scaled_columns(x: Any, factors: Any) -> Any:
    return x * insert_axes(factors, (len(x.shape) - 2,))


def quotient(x: Any, y: Any) -> Any:
    """x / y, but 0 where both are 0: what does not matter divides nothing."""
    void = equal(x, 0) & equal(y, 0)
    return where(void, 0, x / where(void, 1, y))


def off_diagonal_quotient(x: Any, values: Any) -> Any:
    """x[i, j] / (values[j] - values[i]), 0 on the diagonal."""
    ndim = len(x.shape)
    gaps = insert_axes(values, (ndim - 2,)) - insert_axes(values, (ndim - 1,))
    return quotient(where(np.eye(x.shape[-1], dtype=bool), 0, x), gaps)


def lower_half(x: Any) -> Any:
    """The lower triangle with half the diagonal."""
    return tril(x) - on_diagonal(diagonal_of(x)) * 0.5


def full(g: Any, x: Any) -> Any:
    """A number for each matrix, repeated over the matrix."""
    return broadcast(insert_axes(g, (len(g.shape), len(g.shape) + 1)), x.shape)


# Samples ----------------------------------------------------------------------------------------------


def well_conditioned(d: Draw, *shape: int) -> Any:
    """Matrices with 1, 2, 3 ... on their diagonals and small numbers elsewhere."""
    *_, m, n = shape
    return d(*shape, low=-0.3, high=0.3) + np.eye(m, n, dtype=d.dtype) * np.arange(1, n + 1, dtype=d.dtype)


def matrices(*shapes: Shape, **params: Any) -> Samples:
    """Samples of well-conditioned matrices of these shapes."""
    return only("f", lambda d: [case(well_conditioned(d, *s), **params) for s in shapes])


SQUARE = ((3, 3), (1, 1), (2, 4, 4))

# Inverse and solve ------------------------------------------------------------------------------------

inv: Op = primitive(
    "inv",
    "call",
    np.linalg.inv,
    lambda x: Aval(x.shape, x.dtype),
    lambda g, out, x: (-product(swap_last(out), g, swap_last(out)),),
    lambda tangents, out, x: -product(out, tangents[0], out),
    cost=1000,
    samples=matrices(*SQUARE, (0, 0)),
)


def _sum_of_given(*terms: Any) -> Any:
    given = [t for t in terms if t is not None]
    return sum(given[1:], given[0])


def _solve_vjp(g: Any, out: Any, a: Any, b: Any) -> Parts:
    back = solve(swap_last(a), g)
    return -product(back, swap_last(out)), back


def _solve_jvp(tangents: Parts, out: Any, a: Any, b: Any) -> Any:
    da, db = tangents
    return solve(a, _sum_of_given(db, None if da is None else -product(da, out)))


def _solve_samples(d: Draw) -> list[Sample]:
    return [
        case(well_conditioned(d, 3, 3), d(3, 2)),
        case(well_conditioned(d, 2, 4, 4), d(2, 4, 1)),
        case(well_conditioned(d, 2, 2), d(2, 0)),
    ]


solve: Op = primitive(
    "solve",
    "call",
    np.linalg.solve,
    lambda a, b: Aval(b.shape, b.dtype),
    _solve_vjp,
    _solve_jvp,
    cost=1000,
    samples=only("f", _solve_samples),
)

_BLOCK = 32


def _substituted(a: Any, b: Any, *, lower: bool, unit: bool) -> Array:
    """Substitution in blocks of rows, the blocks on the diagonal by LAPACK."""
    a, b = np.ascontiguousarray(np.tril(a) if lower else np.triu(a)), np.ascontiguousarray(b)
    n = a.shape[-1]
    if unit:
        a[..., np.arange(n), np.arange(n)] = 1
    x = np.empty_like(b)
    starts = range(0, n, _BLOCK)
    for start in starts if lower else reversed(starts):
        end = min(start + _BLOCK, n)
        rows, known = slice(start, end), slice(0, start) if lower else slice(end, n)
        rest = b[..., rows, :] - np.matmul(a[..., rows, known], x[..., known, :])
        x[..., rows, :] = np.linalg.solve(a[..., rows, rows], rest)
    return np.asarray(x)


def _triangle(x: Any, lower: bool, unit: bool) -> Any:
    return tril(x, -unit) if lower else triu(x, +unit)


def _triangular_vjp(g: Any, out: Any, a: Any, b: Any, *, lower: bool, unit: bool) -> Parts:
    back = solve_triangular(swap_last(a), g, lower=not lower, unit=unit)
    return -_triangle(product(back, swap_last(out)), lower, unit), back


def _triangular_jvp(tangents: Parts, out: Any, a: Any, b: Any, *, lower: bool, unit: bool) -> Any:
    da, db = tangents
    moved = None if da is None else -product(_triangle(da, lower, unit), out)
    return solve_triangular(a, _sum_of_given(db, moved), lower=lower, unit=unit)


def _triangular_samples(d: Draw) -> list[Sample]:
    forms = [(lower, unit) for lower in (True, False) for unit in (True, False)]
    small = [case(well_conditioned(d, 3, 3), d(3, 2), lower=lo, unit=unit) for lo, unit in forms]
    large = well_conditioned(d, 40, 40) * 0.2
    return [
        *small,
        case(well_conditioned(d, 2, 3, 3), d(2, 3, 2), lower=True, unit=False),
        case(large, d(40, 1), lower=True, unit=False),
        case(large, d(40, 1), lower=False, unit=False),
    ]


def _triangular_reference(a: Any, b: Any, *, lower: bool, unit: bool) -> Any:
    a = np.tril(a, -unit) if lower else np.triu(a, +unit)
    return np.linalg.solve(a.astype(float) + unit * np.eye(a.shape[-1]), b.astype(float))


solve_triangular: Op = primitive(
    "solve_triangular",
    "call",
    _substituted,
    lambda a, b, *, lower, unit: Aval(b.shape, b.dtype),
    _triangular_vjp,
    _triangular_jvp,
    cost=1000,
    samples=only("f", _triangular_samples),
    reference=_triangular_reference,
)

# Determinant ------------------------------------------------------------------------------------------


def _cofactors(x: Any) -> Array:
    """det(x) times the transposed inverse, from singular values, so that a singular matrix has it too."""
    u, s, vh = np.linalg.svd(x)
    n = s.shape[-1]
    others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :])
    sign = np.rint(np.linalg.det(u) * np.linalg.det(vh))[..., None, None]
    found: Array = np.matmul(u * np.prod(others, -1)[..., None, :], vh) * sign
    return found.astype(s.dtype)


def _cofactors_vjp(g: Any, out: Any, x: Any) -> Parts:
    inverse = swap_last(inv(x))
    inner = sum_axes(g * out, (len(x.shape) - 2, len(x.shape) - 1))
    return (full(inner, x) * inverse - product(out, swap_last(g), inverse),)


def _cofactors_jvp(tangents: Parts, out: Any, x: Any) -> Any:
    (dx,) = tangents
    inverse = swap_last(inv(x))
    inner = sum_axes(dx * inverse, (len(x.shape) - 2, len(x.shape) - 1))
    return full(inner, x) * out - product(inverse, swap_last(dx), out)


cofactors: Op = primitive(
    "cofactors",
    "call",
    _cofactors,
    lambda x: Aval(x.shape, x.dtype),
    _cofactors_vjp,
    _cofactors_jvp,
    cost=3000,
    samples=matrices(*SQUARE),
    reference=lambda x: np.linalg.det(x)[..., None, None] * np.swapaxes(np.linalg.inv(x), -1, -2),
    undefined="the derivative, the second of det, raises LinAlgError for a singular matrix",
)


def _det_samples(d: Draw) -> list[Sample]:
    samples = [case(well_conditioned(d, *s)) for s in (*SQUARE, (0, 0))]
    cofactor = np.array([[4.0, -2.0], [-2.0, 1.0]])
    return [*samples, Sample((np.array([[1, 2], [2, 4]], d.dtype),), {}, (cofactor,))]


det: Op = primitive(
    "det",
    "call",
    np.linalg.det,
    lambda x: Aval(x.shape[:-2], x.dtype),
    lambda g, out, x: (full(g, x) * cofactors(x),),
    lambda tangents, out, x: sum_axes(tangents[0] * cofactors(x), (len(x.shape) - 2, len(x.shape) - 1)),
    cost=1000,
    samples=only("f", _det_samples),
)

# Several parts ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decomposition:
    """An op whose result holds several parts; called, it returns them apart.

    `shapes` gives the parts' shapes, batch axes left out, from those of the matrix.
    """

    op: Op
    shapes: Callable[[int, int], tuple[Shape, ...]]

    def __call__(self, x: Any) -> Parts:
        return split(self.op(x), self.shapes(*x.shape[-2:]))


def split(packed: Any, shapes: tuple[Shape, ...]) -> Parts:
    """The parts of these shapes that lie one after the other in the last axis."""
    lead, parts, start = packed.shape[:-1], [], 0
    for shape in shapes:
        size = math.prod(shape)
        parts.append(shaped(window(packed, len(lead), start, size), (*lead, *shape)))
        start += size
    return tuple(parts)


def join(parts: Parts, lead: Shape) -> Any:
    """The parts one after the other in one last axis."""
    flat = [shaped(p, (*lead, math.prod(p.shape[len(lead) :]))) for p in parts]
    return concatenated(flat, len(lead))


def decomposition(
    name: str,
    function: Callable[[Any], Parts],
    shapes: Callable[[int, int], tuple[Shape, ...]],
    vjp: Callable[[Parts, Parts, Any], Any],
    jvp: Callable[[Any, Parts, Any], Parts],
    samples: Samples,
    undefined: str = "",
) -> Decomposition:
    """Declare an op of several parts, apart for `vjp(cotangents, parts, x)` and `jvp(tangent, parts, x)`."""

    def packed(x: Any) -> Array:
        x = np.asarray(x)
        return np.asarray(join(function(x), x.shape[:-2]), x.dtype)

    def infer(x: Aval) -> Aval:
        size = sum(math.prod(s) for s in shapes(*x.shape[-2:]))
        return Aval((*x.shape[:-2], size), x.dtype)

    def parts_of(value: Any, x: Any) -> Parts:
        unread = isinstance(value, Aval)  # all that is known of a result that the rule does not read
        return () if unread else split(value, shapes(*x.shape[-2:]))

    op = primitive(
        name,
        "call",
        packed,
        infer,
        lambda g, out, x: (vjp(parts_of(g, x), parts_of(out, x), x),),
        lambda tangents, out, x: join(jvp(tangents[0], parts_of(out, x), x), x.shape[:-2]),
        cost=3000,
        samples=samples,
        undefined=undefined,
    )
    return Decomposition(op, shapes)


slogdet = decomposition(
    "slogdet",
    lambda x: tuple(np.linalg.slogdet(x)),
    lambda m, n: ((), ()),
    lambda g, out, x: full(g[1], x) * swap_last(inv(x)),
    lambda dx, out, x: (
        out[0] * 0,
        sum_axes(dx * swap_last(inv(x)), (len(x.shape) - 2, len(x.shape) - 1)),
    ),
    matrices(*SQUARE),
    undefined="the derivative raises LinAlgError for a singular matrix",
)

# Cholesky ---------------------------------------------------------------------------------------------


def _cholesky_vjp(g: Any, out: Any, x: Any) -> Parts:
    inner = lower_half(product(swap_last(out), g))
    left = solve_triangular(swap_last(out), inner, lower=False, unit=False)
    both = solve_triangular(swap_last(out), swap_last(left), lower=False, unit=False)
    return (symmetric(both),)


def _cholesky_jvp(tangents: Parts, out: Any, x: Any) -> Any:
    left = solve_triangular(out, symmetric(tangents[0]), lower=True, unit=False)
    both = solve_triangular(out, swap_last(left), lower=True, unit=False)
    return product(out, lower_half(both))


def _positive_samples(d: Draw) -> list[Sample]:
    return [case(symmetric(well_conditioned(d, *s))) for s in SQUARE]


cholesky: Op = primitive(
    "cholesky",
    "call",
    lambda x: np.linalg.cholesky(symmetric(np.asarray(x))),
    lambda x: Aval(x.shape, x.dtype),
    _cholesky_vjp,
    _cholesky_jvp,
    cost=1000,
    samples=only("f", _positive_samples),
)

# Eigenvalues of symmetric matrices --------------------------------------------------------------------


def _eigh_vjp(g: Parts, out: Parts, x: Any) -> Any:
    (g_values, g_vectors), (values, vectors) = g, out
    inner = off_diagonal_quotient(product(swap_last(vectors), g_vectors), values)
    return symmetric(product(vectors, inner + on_diagonal(g_values), swap_last(vectors)))


def _eigh_jvp(dx: Any, out: Parts, x: Any) -> Parts:
    values, vectors = out
    inner = product(swap_last(vectors), symmetric(dx), vectors)
    return diagonal_of(inner), product(vectors, off_diagonal_quotient(inner, values))


_EQUAL_VALUES = "the vectors' derivative is infinite or NaN at equal values, unless nothing depends on them"


def _declared_eigh(name: str, triangle: Any) -> Decomposition:
    return decomposition(
        name,
        lambda x: tuple(np.linalg.eigh(symmetric(x), triangle)),
        lambda m, n: ((n,), (n, n)),
        _eigh_vjp,
        _eigh_jvp,
        only("f", _positive_samples),
        undefined=_EQUAL_VALUES,
    )


eigh = _declared_eigh("eigh", "L")
eigh_upper = _declared_eigh("eigh_upper", "U")  # the same, but LAPACK may choose other signs

# Singular values --------------------------------------------------------------------------------------


def _thin_shapes(m: int, n: int) -> tuple[Shape, ...]:
    k = min(m, n)
    return (m, k), (k,), (k, n)


def _beside(u: Any, x: Any) -> Any:
    """What of the columns of x is orthogonal to those of u."""
    return x - product(u, product(swap_last(u), x))


def _over(x: Any, values: Any) -> Any:
    """The columns of x divided by values."""
    return quotient(x, broadcast(insert_axes(values, (len(x.shape) - 2,)), x.shape))


def _svd_vjp(g: Parts, out: Parts, x: Any) -> Any:
    (gu, gs, gvh), (u, s, vh), (m, n) = g, out, x.shape[-2:]
    v, gv, squares = swap_last(vh), swap_last(gvh), s * s
    left = off_diagonal_quotient(antisymmetric(product(swap_last(u), gu)), squares)
    right = off_diagonal_quotient(antisymmetric(product(vh, gv)), squares)
    rows = insert_axes(s, (len(x.shape) - 1,))
    inner = scaled_columns(left, s) + rows * right + on_diagonal(gs)
    total = product(u, inner, vh)
    if m > n:
        total = total + product(_over(_beside(u, gu), s), vh)
    if n > m:
        total = total + product(u, swap_last(_over(_beside(v, gv), s)))
    return total


def _svd_jvp(dx: Any, out: Parts, x: Any) -> Parts:
    (u, s, vh), (m, n) = out, x.shape[-2:]
    v, squares = swap_last(vh), s * s
    inner = product(swap_last(u), dx, v)
    back, rows = swap_last(inner), insert_axes(s, (len(x.shape) - 1,))
    du = product(u, off_diagonal_quotient(scaled_columns(inner, s) + rows * back, squares))
    dv = product(v, off_diagonal_quotient(rows * inner + scaled_columns(back, s), squares))
    if m > n:
        du = du + _over(_beside(u, product(dx, v)), s)
    if n > m:
        dv = dv + _over(_beside(v, product(swap_last(dx), u)), s)
    return du, diagonal_of(inner), swap_last(dv)


svd = decomposition(
    "svd",
    lambda x: tuple(np.linalg.svd(x, full_matrices=False)),
    _thin_shapes,
    _svd_vjp,
    _svd_jvp,
    matrices((3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1)),
    undefined=_EQUAL_VALUES,
)


def _thin(parts: Parts) -> Parts:
    """The parts of a full decomposition that belong to a singular value."""
    u, s, vh = parts
    k = s.shape[-1]
    return window(u, len(u.shape) - 1, 0, k), s, window(vh, len(vh.shape) - 2, 0, k)


def _full_svd_jvp(dx: Any, out: Parts, x: Any) -> Parts:
    du, ds, dvh = _svd_jvp(dx, _thin(out), x)
    (m, n), ndim = x.shape[-2:], len(x.shape)

    def widened(y: Any, axis: int, size: int) -> Any:
        rest = tuple(size - min(m, n) if i == axis else length for i, length in enumerate(y.shape))
        return concatenated([y, broadcast(as_dtype(as_array(0), x.dtype), rest)], axis)

    return widened(du, ndim - 1, m), ds, widened(dvh, ndim - 2, n)


svd_full = decomposition(
    "svd_full",
    lambda x: tuple(np.linalg.svd(x)),
    lambda m, n: ((m, m), (min(m, n),), (n, n)),
    lambda g, out, x: _svd_vjp(_thin(g), _thin(out), x),
    _full_svd_jvp,
    matrices((3, 3), (2, 2, 2)),
    undefined="as svd; vectors without a singular value, which are arbitrary, count as constants",
)

# QR ---------------------------------------------------------------------------------------------------


def _qr_vjp(g: Parts, out: Parts, x: Any) -> Any:
    (gq, gr), (q, r) = g, out
    inner = product(r, swap_last(gr)) - product(swap_last(gq), q)
    mirrored = tril(inner) + swap_last(tril(inner, -1))
    total = gq + product(q, mirrored)
    return swap_last(solve_triangular(r, swap_last(total), lower=False, unit=False))


def _qr_jvp(dx: Any, out: Parts, x: Any) -> Parts:
    q, r = out
    moved = swap_last(solve_triangular(swap_last(r), swap_last(dx), lower=True, unit=False))
    inner = product(swap_last(q), moved)
    turn = antisymmetric(tril(inner, -1))
    dq = product(q, turn) + moved - product(q, inner)
    return dq, triu(product(inner - turn, r))


qr = decomposition(
    "qr",
    lambda x: tuple(np.linalg.qr(x)),
    lambda m, n: ((m, n), (n, n)),
    _qr_vjp,
    _qr_jvp,
    matrices((3, 3), (4, 2), (2, 4, 3), (1, 1)),
    undefined="for at least as many rows as columns; linearly dependent columns raise LinAlgError",
)
