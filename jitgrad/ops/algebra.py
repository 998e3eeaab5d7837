"""NumPy's products of vectors, matrices and tensors, and norms, on top of one matrix product."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.ir import Operators
from jitgrad.ops import linear
from jitgrad.ops.arrange import flip
from jitgrad.ops.elementwise import absolute, equal, mul, not_equal, power, sqrt, where
from jitgrad.ops.gather import take
from jitgrad.ops.pointwise import conjugate
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.shape import moveaxis, permuted, ravel, shaped, stack, unstack
from jitgrad.ops.statistics import max_, min_, sum_
from jitgrad.ops.structure import place
from jitgrad.ops.table import composite
from jitgrad.ops.values import (
    as_array,
    as_dtype,
    as_operand,
    axes_of,
    axis_of,
    broadcast,
    insert_axes,
    no_out,
)


def _inner_size(name: str, x: Any, y: Any, n: int, m: int) -> None:
    if n != m:
        raise ValueError(f"{name}: inner sizes differ, got {x.shape} @ {y.shape}; transpose one operand?")


def matrix_product(x: Any, y: Any) -> Any:
    """The product of the last two axes of operands with at least two; other axes broadcast."""
    dtype = np.result_type(x.dtype, y.dtype)
    x, y = as_dtype(x, dtype), as_dtype(y, dtype)
    if len(y.shape) == 2 and len(x.shape) > 2:  # one large product instead of many small ones
        rows = shaped(x, (math.prod(x.shape[:-1]), x.shape[-1]))
        return shaped(linear.matmul(rows, y), (*x.shape[:-1], y.shape[-1]))
    lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return linear.matmul(broadcast(x, (*lead, *x.shape[-2:])), broadcast(y, (*lead, *y.shape[-2:])))


_MATMUL_SHAPES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((2, 3), (3, 4)),
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 2, 3), (3, 4)),
    ((2, 3), (2, 3, 2)),
    ((2, 1, 2, 3), (3, 3, 2)),
    ((2, 2, 3), (3,)),
    ((3,), (2, 3, 2)),
    ((2, 0), (0, 3)),
    ((0, 2), (2, 3)),
)


@composite(np.matmul, samples=only("fi", lambda d: [case(d(*s), d(*t)) for s, t in _MATMUL_SHAPES]))
def matmul(x1: Any, x2: Any) -> Any:
    """x1 @ x2: vectors count as a row on the left, a column on the right; leading axes broadcast."""
    x, y = as_array(x1), as_array(x2)
    if not x.shape or not y.shape:
        raise ValueError("matmul: operands need at least one axis; use * for scalars")
    _inner_size("matmul", x, y, x.shape[-1], y.shape[-2] if len(y.shape) > 1 else y.shape[0])
    rows = insert_axes(x, (0,)) if len(x.shape) == 1 else x
    columns = insert_axes(y, (1,)) if len(y.shape) == 1 else y
    out = matrix_product(rows, columns)
    shape = (
        *out.shape[:-2],
        *(out.shape[-2:-1] if len(x.shape) > 1 else ()),
        *(out.shape[-1:] if len(y.shape) > 1 else ()),
    )
    return shaped(out, shape)


setattr(Operators, "__matmul__", lambda x, y: matmul(x, y))  # noqa: B010  (the table fills this class in)
setattr(Operators, "__rmatmul__", lambda x, y: matmul(y, x))  # noqa: B010


def _dot_samples(d: Draw) -> list[Sample]:
    shapes = [
        ((3,), (3,)),
        ((2, 3), (3, 4)),
        ((2, 3), (3,)),
        ((), (3,)),
        ((2, 3), (4, 3, 2)),
        ((3,), (2, 3, 2)),
    ]
    return [case(d(*s), d(*t)) for s, t in shapes]


@composite(np.dot, samples=only("fi", _dot_samples))
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """The sum over the last axis of a and the second to last (or only) axis of b."""
    no_out("dot", out)
    if not as_array(a).shape or not as_array(b).shape:
        return mul(as_operand(a), as_operand(b))
    x, y = as_array(a), as_array(b)
    if len(x.shape) <= 2 and len(y.shape) <= 2:
        return matmul(x, y)
    return tensordot(x, y, ((-1,), (max(len(y.shape) - 2, 0),)))


@composite(np.vdot, samples=only("fi", lambda d: [case(d(3), d(3)), case(d(2, 3), d(2, 3))]))
def vdot(a: Any, b: Any) -> Any:
    return dot(conjugate(ravel(a)), ravel(b))


@composite(
    np.inner, samples=only("fi", lambda d: [case(d(3), d(3)), case(d(2, 3), d(4, 3)), case(d(), d(2))])
)
def inner(a: Any, b: Any) -> Any:
    x, y = as_array(a), as_array(b)
    return tensordot(x, y, ((-1,), (-1,))) if x.shape and y.shape else x * y


@composite(np.outer, samples=lambda d: [case(d(3), d(2)), case(d(2, 2), d(3))])
def outer(a: Any, b: Any, out: Any = None) -> Any:
    no_out("outer", out)
    return insert_axes(ravel(a), (1,)) * insert_axes(ravel(b), (0,))


def _tensordot_samples(d: Draw) -> list[Sample]:
    swapped = case(d(2, 3, 4), d(4, 3, 2), axes=((1, 2), (1, 0)))
    forms = [case(d(2, 3), d(3, 2), axes=1), case(d(2), d(3), axes=0), case(d(2, 3), d(4, 2), axes=(0, 1))]
    return [case(d(2, 3, 4), d(3, 4, 5)), swapped, *forms]


def _pairs(axes: Any, ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if np.iterable(axes):
        left, right = axes
        return tuple(np.atleast_1d(left).tolist()), tuple(np.atleast_1d(right).tolist())
    return tuple(range(ndim - int(axes), ndim)), tuple(range(int(axes)))


@composite(np.tensordot, samples=only("fi", _tensordot_samples))
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """The sum of products over pairs of axes."""
    x, y = as_array(a), as_array(b)
    left, right = _pairs(axes, len(x.shape))
    left = tuple(axis_of(i, len(x.shape)) for i in left)
    right = tuple(axis_of(i, len(y.shape)) for i in right)
    if [x.shape[i] for i in left] != [y.shape[i] for i in right]:
        raise ValueError(f"tensordot: axes {left} of {x.shape} and {right} of {y.shape} differ in size")
    rows = [i for i in range(len(x.shape)) if i not in left]
    columns = [i for i in range(len(y.shape)) if i not in right]
    n = math.prod(x.shape[i] for i in left)
    shape = (*(x.shape[i] for i in rows), *(y.shape[i] for i in columns))
    first = shaped(permuted(x, (*rows, *left)), (math.prod(x.shape[i] for i in rows), n))
    second = shaped(permuted(y, (*right, *columns)), (n, math.prod(y.shape[i] for i in columns)))
    return shaped(matrix_product(first, second), shape)


@composite(np.kron, samples=lambda d: [case(d(2, 3), d(2, 2)), case(d(3), d(2)), case(d(2), d(2, 2))])
def kron(a: Any, b: Any) -> Any:
    x, y = as_array(a), as_array(b)
    ndim = max(len(x.shape), len(y.shape))
    x = shaped(x, (1,) * (ndim - len(x.shape)) + x.shape)
    y = shaped(y, (1,) * (ndim - len(y.shape)) + y.shape)
    product = insert_axes(x, tuple(range(1, 2 * ndim, 2))) * insert_axes(y, tuple(range(0, 2 * ndim, 2)))
    return shaped(product, tuple(n * m for n, m in zip(x.shape, y.shape, strict=True)))


def _cross_samples(d: Draw) -> list[Sample]:
    return [case(d(3), d(3)), case(d(4, 3), d(3)), case(d(3, 2), d(3, 2), axis=0)]


@composite(np.cross, samples=only("fi", _cross_samples))
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The cross product of vectors with three elements."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = as_array(a), as_array(b)
    x, y = moveaxis(x, axisa, -1), moveaxis(y, axisb, -1)
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        raise ValueError(f"cross: vectors need three elements, got shapes {x.shape} and {y.shape}")
    (x0, x1, x2), (y0, y1, y2) = (unstack(v, axis=-1) for v in (x, y))
    return moveaxis(stack([x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0], -1), -1, axisc)


# Norms ------------------------------------------------------------------------------------------------


def _euclidean(x: Any, axis: Any, keepdims: bool) -> Any:
    """The root of the sum of squares, whose derivative at 0 is 0."""
    squares = sum_(x * x, axis, keepdims=keepdims)
    zero = equal(squares, 0)
    return where(zero, squares, sqrt(where(zero, squares.dtype.type(1), squares)))


def _vector_norm(x: Any, order: Any, axis: Any, keepdims: bool) -> Any:
    if order in (None, 2):
        return _euclidean(x, axis, keepdims)
    if order == 0:
        return as_dtype(sum_(not_equal(x, 0), axis, keepdims=keepdims), x.dtype)
    size = absolute(x)
    if order == 1:
        return sum_(size, axis, keepdims=keepdims)
    if order in (math.inf, -math.inf):
        return (max_ if order > 0 else min_)(size, axis, keepdims=keepdims)
    if isinstance(order, str):
        raise ValueError(f"norm: {order!r} is no norm of vectors")
    return power(sum_(power(size, order), axis, keepdims=keepdims), 1 / order)


def _matrix_norm(x: Any, order: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if order == "fro":
        return _euclidean(x, axes, keepdims)
    if order not in (1, -1, math.inf, -math.inf):
        raise ValueError(
            f'norm: order {order!r} of matrices is not supported; "fro", 1, -1, inf and -inf are'
        )
    summed, compared = axes if abs(order) == 1 else axes[::-1]
    sums = sum_(absolute(x), summed, keepdims=True)
    out = (max_ if order > 0 else min_)(sums, compared, keepdims=True)
    return out if keepdims else shaped(out, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def _norm_samples(d: Draw) -> list[Sample]:
    vectors = [case(d(5), ord=p) for p in (None, 0, 1, 2, 3, math.inf, -math.inf)]
    matrices = [case(d(3, 4), ord=p) for p in (None, "fro", 1, -1, math.inf, -math.inf)]
    along = [
        case(d(3, 4), axis=0),
        case(d(3, 4), ord=1, axis=-1, keepdims=True),
        case(d(2, 3, 4), axis=(1, 2)),
    ]
    return [
        *vectors,
        *matrices,
        *along,
        case(d(2, 3, 4), ord=1, axis=(2, 0), keepdims=True),
        case(d(2, 3, 4)),
    ]


@composite(np.linalg.norm, samples=only("fi", _norm_samples), kinks=((([0.0, 0.0],), ([0.0, 0.0],)),))
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of vectors or matrices; at 0 the Euclidean norm has derivative 0."""
    x = as_array(x)
    x = absolute(x) if x.dtype.kind == "c" else x
    x = x if x.dtype.kind == "f" else as_dtype(x, np.float64)
    ndim = len(x.shape)
    if axis is None and ord is None:
        return _euclidean(x, None, keepdims)
    if axis is None and ndim not in (1, 2):
        raise ValueError(f"norm: order {ord!r} needs a vector, a matrix or an axis; got shape {x.shape}")
    axes = axes_of(None, ndim) if axis is None else tuple(axis_of(i, ndim) for i in np.atleast_1d(axis))
    if len(axes) == 1:
        return _vector_norm(x, ord, axes, keepdims)
    if len(axes) != 2:
        raise ValueError(f"norm: axis {axis} must name one axis or two")
    return _matrix_norm(x, "fro" if ord is None else ord, axes, keepdims)


# Convolution ------------------------------------------------------------------------------------------


def _convolve_samples(d: Draw) -> list[Sample]:
    return [case(d(5), d(3), mode=m) for m in ("full", "same", "valid")] + [
        case(d(2), d(4)),
        case(d(3), d(3)),
    ]


def _correlated(long: Any, short: Any) -> Any:
    """The products of `short` with each window of `long`."""
    n, m = long.shape[0], short.shape[0]
    index = np.arange(n - m + 1)[:, None] + np.arange(m)
    return matmul(take(long, index, axis=0), short)


@composite(np.convolve, samples=only("fi", _convolve_samples))
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """The sum over shifts of two vectors, one of them reversed."""
    long, short = as_array(a), as_array(v)
    if len(long.shape) != 1 or len(short.shape) != 1 or 0 in long.shape + short.shape:
        raise ValueError(
            f"convolve: need two vectors with elements, got shapes {long.shape} and {short.shape}"
        )
    if long.shape[0] < short.shape[0]:
        long, short = short, long
    n, m = long.shape[0], short.shape[0]
    dtype = np.result_type(long.dtype, short.dtype)
    before = {"full": m - 1, "same": m // 2, "valid": 0}
    if mode not in before:
        raise ValueError(f"convolve: mode {mode!r} is not one of {', '.join(before)}")
    begin = before[mode]
    after = m - 1 - begin if mode == "same" else begin
    padded = place(as_dtype(long, dtype), shape=(n + begin + after,), start=(begin,), step=(1,))
    return _correlated(padded, flip(as_dtype(short, dtype)))
