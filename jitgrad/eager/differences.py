"""Differences, slopes and areas of sampled functions; distances, lengths and correlations of vectors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.joining import cat
from jitgrad.eager.operands import only_kinds, scalar_type, wrong_combination
from jitgrad.eager.products import same_dtype
from jitgrad.eager.reduction import axes_of
from jitgrad.eager.shape import dimension
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops import algebra, arrange, distances, estimates, sequences
from jitgrad.ops.elementwise import absolute, where
from jitgrad.ops.shape import moveaxis, window
from jitgrad.ops.statistics import min_, sum_
from jitgrad.ops.structure import cast, concatenate, reshape
from jitgrad.ops.values import broadcast, insert_axes, size_of

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


# Differences ----------------------------------------------------------------------------------------------


def _differences(x: Node, n: int, axis: int) -> Any:
    return sequences.diff(x, n, axis)


def _check_border(x: Tensor, border: Tensor, axis: int) -> None:
    if border.ndim != x.ndim:
        raise RuntimeError("diff expects prepend or append to be the same dimension as input")
    for i, (n, m) in enumerate(zip(x.shape, border.shape, strict=True)):
        if i != axis and n != m:
            raise RuntimeError(
                "diff expects the shape of tensor to prepend or append to match that of input except along the "
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
        return x.clone()
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
        return diff(x).reshape((-1,) + (1,) * (y.ndim - axis - 1))
    if not x.ndim:
        raise RuntimeError(
            f"The size of tensor a ({y._array.shape[axis] - 1}) must match the size of tensor b (0) at "
            f"non-singleton dimension {axis}"
        )
    along = axis - y.ndim + x.ndim
    return diff(x, 1, along if along >= 0 else axis)


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
        heights._array.shape, steps._array.shape
        common = dtypes.promote(floating(heights._array).dtype, floating(steps._array).dtype)
        arrays = [t._array.astype(common, copy=False) for t in (heights, steps)]
        try:
            return apply_function(function, (heights, steps), params, recorded[1], arrays)  # type: ignore[no-any-return]
        except ValueError as error:
            raise RuntimeError(str(error)) from None

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
                raise TypeError(f"expected Tensor as element {i} in argument 1, but got {type(entry).__name__}")
            if entry.ndim != 1:
                raise RuntimeError(
                    "torch.gradient expected each element of spacing to have one dimension, but got an element "
                    f"with {entry.ndim} dimensions!"
                )
    if len(given) != len(axes):
        if dim is None:
            raise RuntimeError(
                "torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to "
                f"'self.dim() = {ndim}', since dim argument was not given, but got a list of length {len(given)}"
            )
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or it's spacing and dim arguments to "
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
    if x._array.dtype == np.uint8:
        raise RuntimeError("torch.gradient does not support uint8 input.")
    if any(x._array.shape[i] < edge_order + 1 for i in axes):
        raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
    spacings = _spacings(spacing, dim, axes, x.ndim)
    if not axes:
        return ()
    places = [s for s in spacings if isinstance(s, Tensor)]
    steps = () if places else tuple(map(float, spacings))
    f = floating(x._array)
    arrays = [f, *(p._array.astype(f.dtype, copy=False) for p in places)]
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
            f"norm(): input dtype should be either floating point or complex. Got {scalar_type(common)} instead."
        )
    arrays = [t._array.astype(common, copy=False) for t in (x, y)]
    try:
        return apply_function(_distance, (x, y), {"p": float(p)}, "DistBackward0", arrays)  # type: ignore[no-any-return]
    except ValueError as error:
        raise RuntimeError(str(error)) from None


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
    same_dtype(x, y)
    try:
        return apply_function(_pair_distances, (x, y), {"p": float(p)}, "CdistBackward0")  # type: ignore[no-any-return]
    except ValueError as error:
        raise RuntimeError(str(error)) from None


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


def _covariances(x: Node, *weights: Node, free: float, counts: bool) -> Any:
    """Of variables in rows; `free` is by how much the observations exceed what was estimated from them."""
    if not weights:
        centred = x - sum_(x, 1, keepdims=True) / x.shape[1]
        found = algebra.matmul(centred, arrange.swapaxes(centred, 0, 1)) / np.asarray(free, x.dtype)
    else:
        w = weights[0]
        total = sum_(w)
        centred = x - sum_(x * w, 1, keepdims=True) / total
        found = algebra.matmul(centred, arrange.swapaxes(centred * w, 0, 1)) / weights[1]
    return reshape(found, shape=()) if found.shape == (1, 1) else found


def _weights(name: str, given: Any, argument: str, kinds: str, wanted: str, count: int) -> Array | None:
    if given is None:
        return None
    array = require_tensor(given, name, 3, argument)._array
    if array.ndim > 1:
        raise RuntimeError(
            f"{name}(): expected {argument} to have one or fewer dimensions but got {argument} with {array.ndim} "
            "dimensions"
        )
    if array.dtype.kind not in kinds:
        raise RuntimeError(
            f"{name}(): expected {argument} to have {wanted} dtype but got {argument} with "
            f"{scalar_type(array.dtype)} dtype"
        )
    if array.size != count:
        raise RuntimeError(
            f"{name}(): expected {argument} to have the same numel as there are observations in the input but got "
            f"{array.size} != {count}"
        )
    if array.size and array.min() < 0:
        raise RuntimeError(f"{name}(): {argument} cannot be negative")
    return array


def _vandermonde(x: Node, count: int) -> Any:
    ones = broadcast(insert_axes(x, (1,)) * 0 + 1, (x.shape[0], 1))
    if count < 2:
        return window(ones, 1, 0, count)
    wide = broadcast(insert_axes(x, (1,)), (x.shape[0], count - 1))
    return concatenate(ones, sequences.cumprod(wide, 1), axis=1)


_UNUSED = (cast, only_kinds, warnings, cross := None, estimates)
