"""Differences, slopes and areas of sampled functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.functions.conversion import copy_of
from jitgrad.eager.functions.joining import cat
from jitgrad.eager.functions.operands import must_broadcast, wrong_combination
from jitgrad.eager.functions.reduction import axes_of
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops import estimates, sequences
from jitgrad.ops.shape import window
from jitgrad.ops.statistics import sum_
from jitgrad.ops.values import as_dtype

__all__ = [
    "cumulative_trapezoid",
    "diff",
    "gradient",
    "trapezoid",
    "trapz",
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


def _area(y: Node, *steps: Node, axis: int, dx: float, dtype: Any) -> Any:
    heights = as_dtype(_heights(y, axis) * steps[0] if steps else _heights(y, axis), dtype)
    return sum_(heights, axis) / 2 if steps else sum_(heights, axis) * (dx / 2)


def _areas(y: Node, *steps: Node, axis: int, dx: float, dtype: Any) -> Any:
    heights = as_dtype(_heights(y, axis) * steps[0] if steps else _heights(y, axis), dtype)
    return sequences.cumsum(heights if steps else heights * dx, axis) / 2


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
        params = {"axis": axis, "dx": float(dx), "dtype": floating(heights._array).dtype}
        if x is None:
            return apply_function(function, (heights,), params, recorded[0])  # type: ignore[no-any-return]
        steps = _steps(name, heights, require_tensor(x, name, 2, "x"), axis)
        n = heights._array.shape
        must_broadcast((*n[:axis], max(n[axis] - 1, 0), *n[axis + 1 :]), steps._array.shape)
        common = dtypes.common((heights._array, steps._array))
        arrays = [t._array.astype(common, copy=False) for t in (heights, steps)]
        params["dtype"] = floating(arrays[0]).dtype
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
