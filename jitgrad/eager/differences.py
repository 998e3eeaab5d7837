"""Differences, slopes and areas of sampled functions; distances, lengths and correlations of vectors."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.conversion import copy_of
from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.joining import cat
from jitgrad.eager.operands import must_broadcast, only_kinds, scalar_type, wrong_combination
from jitgrad.eager.reduction import axes_of
from jitgrad.eager.shape import broadcast_shapes, dimension
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops import algebra, distances, estimates, sequences
from jitgrad.ops.elementwise import absolute, where
from jitgrad.ops.shape import moveaxis, window
from jitgrad.ops.statistics import min_, sum_
from jitgrad.ops.structure import concatenate, reshape
from jitgrad.ops.values import size_of

__all__ = [
    "cdist",
    "corrcoef",
    "cov",
    "cross",
    "cumulative_trapezoid",
    "diff",
    "dist",
    "gradient",
    "pdist",
    "renorm",
    "trapezoid",
    "trapz",
    "vander",
]


def floating(array: Array) -> Array:
    """The array, integers in the default dtype."""
    return array.astype(dtypes.DEFAULT.floating.numpy) if array.dtype.kind in "iub" else array


def _one_dtype(x: Tensor, y: Tensor) -> None:
    if x._array.dtype != y._array.dtype:
        first, second = scalar_type(x._array.dtype), scalar_type(y._array.dtype)
        raise RuntimeError(f"expected scalar type {first} but found {second}")


# Differences ----------------------------------------------------------------------------------------------


def _differences(x: Node, n: int, axis: int) -> Any:
    return sequences.diff(x, n, axis)


def _check_border(x: Tensor, border: Tensor, axis: int) -> None:
    if border.ndim != x.ndim:
        raise RuntimeError("diff expects prepend or append to be the same dimension as input")
    for i, (n, m) in enumerate(zip(x.shape, border.shape, strict=True)):
        if i != axis and n != m:
            raise RuntimeError(
                "diff expects the shape of tensor to prepend or append to match that of input except along "
                "the "
                f"differencing dimension; input.size({i}) = {n}, but got tensor.size({i}) = {m}"
            )


@define(out=True)
def diff(input: Any, n: Any = 1, dim: Any = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """Return the differences of neighbours along an axis, n times over; of bools whether they differ.

    >>> import jitgrad
    >>> jitgrad.diff(jitgrad.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    x = require_tensor(input, "diff")
    if not x.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    axis = dimension(dim, x.ndim)
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    parts = [part for part in (prepend, x, append) if part is not None]
    for part in parts:
        _check_border(x, part, axis)
    if n == 0:
        return copy_of(x, "CopyBackwards")
    joined = cat(parts, axis) if len(parts) > 1 else x
    if joined._array.dtype.kind == "b":
        return wrap(np.diff(joined._array, min(n, joined._array.shape[axis]), axis))
    params = {"n": min(n, joined._array.shape[axis]), "axis": axis}
    return apply_function(_differences, (joined,), params, "SubBackward0")  # type: ignore[no-any-return]


# Areas ----------------------------------------------------------------------------------------------------


def _heights(y: Node, axis: int) -> Any:
    n = y.shape[axis]
    return window(y, axis, min(1, n), max(n - 1, 0)) + window(y, axis, 0, max(n - 1, 0))


def _area(y: Node, *steps: Node, axis: int, dx: float) -> Any:
    if not steps:
        return sum_(_heights(y, axis), axis) * (dx / 2)
    return sum_(_heights(y, axis) * steps[0], axis) / 2


def _areas(y: Node, *steps: Node, axis: int, dx: float) -> Any:
    heights = _heights(y, axis) * (steps[0] if steps else dx)
    return sequences.cumsum(heights, axis) / 2


def _steps(name: str, y: Tensor, x: Tensor, axis: int) -> Tensor:
    """The widths between the places x, so that they broadcast to the heights."""
    if x._array.dtype.kind == "b":
        raise RuntimeError(f"{name}: received a bool input for `x` or `y`, but bool is not supported")
    if x.ndim == 1:
        if x._array.shape[0] != y._array.shape[axis]:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
        return diff(x).reshape((-1,) + (1,) * (y.ndim - axis - 1))  # type: ignore[no-any-return]
    if not x.ndim:
        raise RuntimeError(
            f"The size of tensor a ({y._array.shape[axis] - 1}) must match the size of tensor b (0) at "
            f"non-singleton dimension {axis}"
        )
    return diff(x, 1, axis - max(y.ndim - x.ndim, 0))


def _trapezoid(name: str, function: Callable[..., Any], recorded: tuple[str, str], doc: str) -> Any:
    def trapezoid(y: Any, x: Any = None, *, dx: Any = 1, dim: Any = -1) -> Tensor:
        heights = require_tensor(y, name, argument="y")
        if not heights.ndim:
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        if heights._array.dtype.kind == "b":
            raise RuntimeError(f"{name}: received a bool input for `y`, but bool is not supported")
        axis = dimension(dim, heights.ndim)
        params = {"axis": axis, "dx": float(dx)}
        if x is None:
            arrays = [floating(heights._array)]
            return apply_function(function, (heights,), params, recorded[0], arrays)  # type: ignore[no-any-return]
        steps = _steps(name, heights, require_tensor(x, name, 2, "x"), axis)
        common = dtypes.promote(floating(heights._array).dtype, floating(steps._array).dtype)
        arrays = [t._array.astype(common, copy=False) for t in (heights, steps)]
        n = heights._array.shape
        must_broadcast((*n[:axis], max(n[axis] - 1, 0), *n[axis + 1 :]), steps._array.shape)
        return apply_function(function, (heights, steps), params, recorded[1], arrays)  # type: ignore[no-any-return]

    trapezoid.__name__, trapezoid.__doc__ = name, doc
    return trapezoid


trapezoid = _trapezoid(
    "trapezoid",
    _area,
    ("MulBackward1", "DivBackward1"),
    "Return the area under straight lines from point to point along an axis.",
)
trapz = trapezoid
cumulative_trapezoid = _trapezoid(
    "cumulative_trapezoid",
    _areas,
    ("CumsumBackward0", "DivBackward1"),
    "Return the areas under straight lines from the first point to each of the others along an axis.",
)


# Slopes ---------------------------------------------------------------------------------------------------


def _slopes(f: Node, *places: Node, axes: tuple[int, ...], steps: tuple[float, ...], edge_order: int) -> Any:
    return estimates.gradient(f, *(places or steps), axis=axes, edge_order=edge_order)


def _spacings(spacing: Any, dim: Any, axes: tuple[int, ...], ndim: int) -> list[Any]:
    if spacing is None or isinstance(spacing, Number):
        return [1 if spacing is None else spacing] * len(axes)
    given = list(spacing)
    if given and isinstance(given[0], Tensor):
        for i, entry in enumerate(given):
            if not isinstance(entry, Tensor):
                raise TypeError(
                    f"expected Tensor as element {i} in argument 1, but got {type(entry).__name__}"
                )
            if entry.ndim != 1:
                raise RuntimeError(
                    "torch.gradient expected each element of spacing to have one dimension, but got an "
                    "element "
                    f"with {entry.ndim} dimensions!"
                )
    if len(given) != len(axes):
        if dim is None:
            raise RuntimeError(
                "torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to "
                f"'self.dim() = {ndim}', since dim argument was not given, but got a list of length "
                f"{len(given)}"
            )
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or it's spacing and dim arguments "
            "to "
            f"have the same length, but got a spacing argument of length {len(given)} and a dim argument of "
            f"length {len(axes)}."
        )
    return given


def gradient(input: Any, *, spacing: Any = None, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """Return the slopes along axes, by differences of neighbours; parabolas at the ends for edge_order 2.

    `spacing` is a number, one for each axis, or the coordinates along each axis.

    >>> import jitgrad
    >>> jitgrad.gradient(jitgrad.tensor([1.0, 4.0, 9.0]))
    (tensor([3., 4., 5.]),)
    """
    x = require_tensor(input, "gradient")
    if isinstance(spacing, Tensor):
        raise wrong_combination("gradient", (input, spacing), "Tensor input, *, Number spacing")
    if dim is not None:
        axes_of(dim, x.ndim)
    given = range(x.ndim) if dim is None else dim if isinstance(dim, (tuple, list)) else (dim,)
    axes = tuple(dimension(d, x.ndim) for d in given)
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    if x._array.dtype.kind == "b":
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )
    if x._array.dtype == np.uint8:
        raise RuntimeError("torch.gradient does not support uint8 input.")
    if any(x._array.shape[i] < edge_order + 1 for i in axes):
        raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
    spacings = _spacings(spacing, dim, axes, x.ndim)
    if not axes:
        return ()
    places = [s for s in spacings if isinstance(s, Tensor)]
    steps = () if places else tuple(map(float, spacings))
    given = [floating(x._array), *(p._array for p in places)]
    wanted = functools.reduce(dtypes.promote, (a.dtype for a in given))
    arrays = [a.astype(wanted, copy=False) for a in given]
    params = {"axes": axes, "steps": steps, "edge_order": edge_order}
    try:
        found = apply_function(_slopes, (x, *places), params, "CatBackward0", arrays)
    except ValueError as error:
        raise RuntimeError(str(error)) from None
    return found if isinstance(found, tuple) else (found,)


# Lengths and distances ------------------------------------------------------------------------------------


def _shortened(x: Node, p: float, axis: int, limit: float) -> Any:
    """The slices along an axis, those longer than the limit made as long as that."""
    first = moveaxis(x, axis, 0)
    rows = reshape(first, shape=(first.shape[0], size_of(x) // max(first.shape[0], 1)))
    length = distances.pairwise_distance(rows, np.zeros((), x.dtype), p, 0.0, True)
    factor = where(length > limit, limit / (length + 1e-7), 1)
    return moveaxis(reshape(rows * factor, shape=first.shape), 0, axis)


@define(in_place=True, out=True)
def renorm(input: Any, p: Any, dim: Any, maxnorm: Any) -> Tensor:
    """Return the slices along an axis, those whose p-norm exceeds `maxnorm` scaled down to it."""
    x = require_tensor(input, "renorm")
    if not p > 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if not maxnorm >= 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm:g}")
    if x.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {x.ndim} dimensions")
    axis = dimension(dim, x.ndim)
    if x._array.dtype.kind not in "fc":
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{scalar_type(x._array.dtype)}"
        )
    params = {"p": float(p), "axis": axis, "limit": float(maxnorm)}
    return apply_function(_shortened, (x,), params, "RenormBackward0")  # type: ignore[no-any-return]


def _distance(x: Node, y: Node, p: float) -> Any:
    difference = x - y
    flat = reshape(difference, shape=(size_of(difference),))
    if p == -math.inf:
        return min_(absolute(flat))
    return distances.pairwise_distance(flat, np.zeros((), x.dtype), p, 0.0)


@define()
def dist(input: Any, other: Any, p: Any = 2) -> Tensor:
    """Return the p-norm of input - other.

    >>> import jitgrad
    >>> jitgrad.dist(jitgrad.tensor([0.0, 0.0]), jitgrad.tensor([3.0, 4.0]))
    tensor(5.)
    """
    x, y = require_tensor(input, "dist"), require_tensor(other, "dist", 2, "other")
    common = dtypes.common((x._array, y._array))
    if common.kind not in "fc":
        raise RuntimeError(
            f"norm(): input dtype should be either floating point or complex. Got {scalar_type(common)} "
            "instead."
        )
    arrays = [t._array.astype(common, copy=False) for t in (x, y)]
    must_broadcast(x._array.shape, y._array.shape)
    return apply_function(_distance, (x, y), {"p": float(p)}, "DistBackward0", arrays)  # type: ignore[no-any-return]


def _pair_distances(x: Node, y: Node, p: float) -> Any:
    return distances.cdist(x, y, p)


_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str = _MODES[0]) -> Tensor:
    """Return the distance, by the p-norm, of every row of x1 to every row of x2; leading axes broadcast.

    >>> import jitgrad
    >>> jitgrad.cdist(jitgrad.tensor([[0.0, 0.0]]), jitgrad.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    x, y = require_tensor(x1, "cdist", 1, "x1"), require_tensor(x2, "cdist", 2, "x2")
    if compute_mode not in _MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    for t, name in ((x, "X1"), (y, "X2")):
        if t._array.dtype.kind not in "f":
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {name} got: {scalar_type(t._array.dtype)}"
            )
    for t, name in ((x, "X1"), (y, "X2")):
        if t.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {t.ndim}D")
    n, m = x._array.shape[-1], y._array.shape[-1]
    if n != m:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {n} X2: {m}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    _one_dtype(x, y)
    must_broadcast(x._array.shape[:-2], y._array.shape[:-2])
    return apply_function(_pair_distances, (x, y), {"p": float(p)}, "CdistBackward0")  # type: ignore[no-any-return]


def _all_distances(x: Node, p: float) -> Any:
    return distances.pdist(x, p)


def pdist(input: Any, p: float = 2) -> Tensor:
    """Return the distances, by the p-norm, between all pairs of rows, in the order of the upper triangle."""
    x = require_tensor(input, "pdist")
    if x.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {x.ndim}D")
    if x._array.dtype.kind != "f":
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    return apply_function(_all_distances, (x,), {"p": float(p)}, "PdistBackward0")  # type: ignore[no-any-return]


# Correlations ---------------------------------------------------------------------------------------------


def _weights(given: Any, argument: str, kinds: str, wanted: str, count: int) -> Tensor | None:
    if given is None:
        return None
    weights = require_tensor(given, "cov", 3, argument)
    array = weights._array
    if array.ndim > 1:
        raise RuntimeError(
            f"cov(): expected {argument} to have one or fewer dimensions but got {argument} with "
            f"{array.ndim} "
            "dimensions"
        )
    if array.dtype.kind not in kinds:
        raise RuntimeError(
            f"cov(): expected {argument} to have {wanted} dtype but got {argument} with "
            f"{scalar_type(array.dtype)} dtype"
        )
    if array.size != count:
        raise RuntimeError(
            f"cov(): expected {argument} to have the same numel as there are observations in the input but "
            "got "
            f"{array.size} != {count}"
        )
    if array.size and array.min() < 0:
        raise RuntimeError(f"cov(): {argument} cannot be negative")
    return weights


def _no_more_than_a_matrix(name: str, x: Tensor) -> None:
    if x.ndim > 2:
        raise RuntimeError(
            f"{name}(): expected input to have two or fewer dimensions but got an input with {x.ndim} "
            "dimensions"
        )


def _observations(x: Tensor) -> Tensor:
    """A matrix with one variable in each row."""
    rows = x if x.ndim == 2 else x.reshape((1, -1)) if x._array.size else x.reshape((1, 0))
    if x._array.dtype.kind in "iu":
        return rows.to(dtypes.DEFAULT.floating)  # type: ignore[no-any-return]
    return rows


def _freedom(total: Any, weights: Any, aweights: Any, correction: Any) -> Any:
    """By how much the observations exceed what is estimated from them, at least 0."""
    if aweights is None or correction == 0:
        free = total - correction
    else:
        free = total - correction * (weights * aweights).sum() / total
    if (free._array if isinstance(free, Tensor) else free) > 0:
        return free
    warnings.warn(
        "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of "
        "observations.",
        UserWarning,
        stacklevel=3,
    )
    return free * 0


@define()
def cov(input: Any, *, correction: Any = 1, fweights: Any = None, aweights: Any = None) -> Tensor:
    """Return the covariances of variables, one in each row; fweights count observations, aweights weigh them.

    >>> import jitgrad
    >>> jitgrad.cov(jitgrad.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    x = require_tensor(input, "cov")
    _no_more_than_a_matrix("cov", x)
    if x._array.dtype.kind == "b":
        raise RuntimeError("cov(): bool dtype is not supported for input")
    rows = _observations(x)
    count = rows._array.shape[1]
    frequencies = _weights(fweights, "fweights", "iu", "integral", count)
    importances = _weights(aweights, "aweights", "f", "floating point", count)
    given = [w.reshape((-1,)) for w in (frequencies, importances) if w is not None]
    if not given:
        centred = rows - rows.sum(1, True) / count if count else rows
        free = _freedom(count, None, None, correction)
        weighted, free = centred, wrap(np.asarray(free, rows._array.dtype))
    else:
        w = given[0] if len(given) == 1 else given[0] * given[1]
        total = w.sum()
        if not total._array:
            raise RuntimeError("cov(): weights sum to zero, can't be normalized")
        centred = rows - (rows * w).sum(1, True) / total
        weighted, free = centred * w, _freedom(total, w, importances, correction)
    found: Tensor = (centred @ weighted.t() / free).squeeze()
    return found


@define()
def corrcoef(input: Any) -> Tensor:
    """Return the correlations of variables, one in each row.

    >>> import jitgrad
    >>> jitgrad.corrcoef(jitgrad.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    x = require_tensor(input, "corrcoef")
    _no_more_than_a_matrix("corrcoef", x)
    found = cov(x)
    if not found.ndim:
        return found / found
    deviation = found.diagonal().sqrt()
    scaled: Tensor = found / deviation.unsqueeze(1) / deviation.unsqueeze(0)
    return scaled.clamp(-1, 1)  # type: ignore[no-any-return]


# Products -------------------------------------------------------------------------------------------------


def _crossed(x: Node, y: Node, axis: int) -> Any:
    return algebra.cross(x, y, axis=axis)


def cross_along(x: Tensor, y: Tensor, dim: Any) -> Tensor:
    """The products of vectors that lie along an axis."""
    if x.ndim != y.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    axis = dimension(dim, x.ndim)
    n, m = x._array.shape[axis], y._array.shape[axis]
    if n != 3 or m != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {n} and {m}")
    _one_dtype(x, y)
    only_kinds("cross", "iufc", x._array.dtype)
    shape = broadcast_shapes(x.shape, y.shape)
    operands = (x.expand(shape), y.expand(shape))
    return apply_function(_crossed, operands, {"axis": axis}, "LinalgCrossBackward0")  # type: ignore[no-any-return]


@define(out=True)
def cross(input: Any, other: Any, dim: Any = None) -> Tensor:
    """Return the vector products along an axis of size 3.

    >>> import jitgrad
    >>> jitgrad.cross(jitgrad.tensor([1, 0, 0]), jitgrad.tensor([0, 1, 0]), dim=0)
    tensor([0, 0, 1])
    """
    x, y = require_tensor(input, "cross"), require_tensor(other, "cross", 2, "other")
    if dim is not None:
        return cross_along(x, y, dim)
    warnings.warn(_UNSAID, UserWarning, stacklevel=3)
    if x.ndim != y.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    found = [i for i, n in enumerate(x._array.shape) if n == 3]
    if not found:
        raise RuntimeError("no dimension of size 3 in input")
    return cross_along(x, y, found[0])


_UNSAID = (
    "Using torch.cross without specifying the dim arg is deprecated.\nPlease either pass the dim explicitly "
    "or "
    "simply use torch.linalg.cross.\nThe default value of dim will change to agree with that of linalg.cross "
    "in a "
    "future release."
)


def _powers(x: Node, count: int, increasing: bool) -> Any:
    """Each element to the powers 0 to count - 1, by repeated multiplication."""
    column = reshape(x, shape=(x.shape[0], 1))
    found = [column * 0 + 1]
    for _ in range(count - 1):
        found.append(found[-1] * column)
    return concatenate(*(found if increasing else found[::-1]), axis=1)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """Return the matrix of powers of a vector's elements, highest first unless `increasing`.

    >>> import jitgrad
    >>> jitgrad.vander(jitgrad.tensor([1, 2, 3]))
    tensor([[1, 1, 1],
            [4, 2, 1],
            [9, 3, 1]])
    """
    given = require_tensor(x, "vander", argument="x")
    array = given._array
    if array.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = array.size if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    cast = array.astype(np.int64) if array.dtype.kind in "iub" else array
    if not count:
        return wrap(np.empty((array.size, 0), cast.dtype))
    params = {"count": count, "increasing": bool(increasing)}
    name = "CopySlices" if increasing else "FlipBackward0"
    return apply_function(_powers, (given,), params, name, [cast])  # type: ignore[no-any-return]
