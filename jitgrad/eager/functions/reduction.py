"""Sums, means, extremes and their kin along dimensions."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function, apply_op
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.arithmetic import invalid_arguments
from jitgrad.eager.functions.factory import dtype_argument
from jitgrad.eager.functions.operands import only_kinds
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.plan import LARGE
from jitgrad.eager.results import named_result
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops import activation
from jitgrad.ops.elementwise import equal, isnan, sqrt, where
from jitgrad.ops.scatter import gather_along
from jitgrad.ops.structure import cast, rearrange, reduce_axes, sum_axes
from jitgrad.ops.table import OPS
from jitgrad.ops.values import insert_axes

__all__ = [
    "all",
    "amax",
    "amin",
    "aminmax",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "logsumexp",
    "max",
    "mean",
    "min",
    "nanmean",
    "nansum",
    "prod",
    "std",
    "std_mean",
    "sum",
    "var",
    "var_mean",
]

Axes = tuple[int, ...]


# Arguments ------------------------------------------------------------------------------------------------


def axes_of(dim: Any, ndim: int) -> Axes:
    """A `dim` argument (an int, several, or None for all) as axes in ascending order, none of them twice."""
    if dim is None:
        return tuple(range(ndim))
    given = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if not given:
        return tuple(range(ndim))
    axes = [dimension(d, ndim) for d in given]
    for axis in axes:
        if axes.count(axis) > 1:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
    return tuple(sorted(axes)) if ndim else ()


def kept(y: Node, axes: Axes, keepdim: bool) -> Any:
    return insert_axes(y, axes) if keepdim and axes else y


def _flag(keepdim: Any, name: str) -> bool:
    if not isinstance(keepdim, (bool, np.bool_)):
        raise TypeError(f"{name}(): argument 'keepdim' must be bool, not {type(keepdim).__name__}")
    return bool(keepdim)


def _floating(x: Tensor, name: str, dtype: Any) -> Array:
    """The array in the floating dtype that a mean is taken in."""
    wanted = dtype_argument(dtype, name)
    if wanted is not None:
        if wanted.kind not in "fc":
            raise RuntimeError(
                f"{name}(): could not infer output dtype. Optional dtype must be either a floating point or "
                f"complex dtype. Got: {_TITLES.get(wanted.name, wanted.name)}"
            )
        return x._array.astype(wanted, copy=False)
    if x._array.dtype.kind not in "fc":
        raise RuntimeError(
            f"{name}(): could not infer output dtype. Input dtype must be either a floating point or complex "
            f"dtype. Got: {_TITLES.get(x._array.dtype.name, x._array.dtype.name)}"
        )
    return x._array


_TITLES = {"int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool"}
_TITLES |= {"float32": "Float", "float64": "Double", "float16": "Half"}


# Sums -----------------------------------------------------------------------------------------------------


def _summed(x: Node, axes: Axes, keepdim: bool) -> Any:
    return kept(sum_axes(x, axes), axes, keepdim)


def _total(
    x: Tensor, array: Array, function: Callable[..., Any], op: Any, dim: Any, keepdim: bool, name: str
) -> Tensor:
    if array.ndim == 1 and not keepdim and array.size < LARGE and (dim is None or dim in (0, -1)):
        return apply_op(op, (x if x._array is array else wrapped_as(x, array),), {"axes": (0,)}, name)
    params = {"axes": axes_of(dim, array.ndim), "keepdim": keepdim}
    return apply_function(function, (x,), params, name, [array])  # type: ignore[no-any-return]


def wrapped_as(x: Tensor, array: Array) -> Tensor:
    """A cast of x, on the tape."""
    return apply_function(_cast, (x,), {"dtype": array.dtype}, "ToCopyBackward0")  # type: ignore[no-any-return]


def _cast(x: Node, dtype: Any) -> Any:
    return cast(x, dtype=dtype)


def accumulated(array: Array, dtype: Any, name: str) -> Array:
    """The array in the dtype of its sum: integers and bools add up as int64."""
    wanted = dtype_argument(dtype, name)
    if wanted is None and array.dtype.kind in "iub":
        wanted = dtypes.int64.numpy
    return array if wanted is None else array.astype(wanted, copy=False)


_ALONG_VECTOR = {"axes": (0,)}


@define(out=True)
def sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the sum of all elements, or along dimensions; integers and bools add up as int64.

    >>> import jitgrad
    >>> jitgrad.sum(jitgrad.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
    tensor([4., 6.])
    """
    x = require_tensor(input, "sum")
    if dim is None and x._array.ndim == 1 and x._array.dtype.kind == "f" and dtype is None and not keepdim:
        return apply_op(OPS["sum"], (x,), _ALONG_VECTOR, "SumBackward0")
    name = "SumBackward0" if dim is None else "SumBackward1"
    return _total(
        x, accumulated(x._array, dtype, "sum"), _summed, OPS["sum"], dim, _flag(keepdim, "sum"), name
    )


@define(out=True)
def nansum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the sum with NaN counted as 0."""
    x = require_tensor(input, "nansum")
    array = accumulated(x._array, dtype, "nansum")
    params = {"axes": axes_of(dim, array.ndim), "keepdim": keepdim}
    return apply_function(_nan_summed, (x,), params, "NansumBackward0", [array])  # type: ignore[no-any-return]


def _nan_summed(x: Node, axes: Axes, keepdim: bool) -> Any:
    return _summed(where(isnan(x), 0, x), axes, keepdim)


def _averaged(x: Node, axes: Axes, keepdim: bool) -> Any:
    count = math.prod(x.shape[i] for i in axes)
    return _summed(x, axes, keepdim) / count if count else _summed(x, axes, keepdim) * math.nan


@define(out=True)
def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the mean of all elements, or along dimensions; RuntimeError for integers."""
    x = require_tensor(input, "mean")
    array = _floating(x, "mean", dtype)
    params = {"axes": axes_of(dim, array.ndim), "keepdim": _flag(keepdim, "mean")}
    return apply_function(_averaged, (x,), params, f"MeanBackward{int(dim is not None)}", [array])  # type: ignore[no-any-return]


@define(out=True)
def nanmean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the mean of the elements that are not NaN."""
    x = require_tensor(input, "nanmean")
    array = _floating(x, "nanmean", dtype)
    params = {"axes": axes_of(dim, array.ndim), "keepdim": keepdim}
    return apply_function(_nan_averaged, (x,), params, "DivBackward0", [array])  # type: ignore[no-any-return]


def _nan_averaged(x: Node, axes: Axes, keepdim: bool) -> Any:
    present = cast(equal(x, x), dtype=x.dtype)
    return _nan_summed(x, axes, keepdim) / _summed(present, axes, keepdim)


@define(out=True)
def prod(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the product of all elements, or along one dimension."""
    x = require_tensor(input, "prod")
    name = f"ProdBackward{int(dim is not None)}"
    return _total(x, accumulated(x._array, dtype, "prod"), _multiplied, OPS["prod"], dim, keepdim, name)


def _multiplied(x: Node, axes: Axes, keepdim: bool) -> Any:
    return kept(reduce_axes(OPS["prod"], x, axes), axes, keepdim)


# Variance -------------------------------------------------------------------------------------------------


def _variance(x: Node, axes: Axes, keepdim: bool, correction: float) -> Any:
    count = math.prod(x.shape[i] for i in axes)
    mean = kept(_averaged(x, axes, False), axes, True)
    centred = x - (rearrange_to(mean, x.shape) if axes else mean)
    if x.dtype.kind == "c":
        centred = OPS["absolute"](centred)
    degrees = builtins.max(count - correction, 0)
    total = _summed(centred * centred, axes, keepdim)
    return total / degrees if degrees else total * math.inf


def rearrange_to(x: Node, shape: tuple[int, ...]) -> Any:
    source = tuple(i if n == m else None for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)))
    return rearrange(x, shape=shape, source=source)


def _deviation(x: Node, axes: Axes, keepdim: bool, correction: float) -> Any:
    """The square root of the variance; where that is 0, its derivative is 0 as PyTorch has it."""
    variance = _variance(x, axes, keepdim, correction)
    safe = where(equal(variance, 0), 1, variance)
    return where(equal(variance, 0), 0, sqrt(safe))


def _with_mean(function: Callable[..., Any]) -> Callable[..., Any]:
    def both(x: Node, axes: Axes, keepdim: bool, correction: float) -> Any:
        return function(x, axes, keepdim, correction), _averaged(x, axes, keepdim)

    return both


_variance_and_mean, _deviation_and_mean = _with_mean(_variance), _with_mean(_deviation)


def _spread(name: str, function: Callable[..., Any], doc: str, recorded: str) -> Callable[..., Any]:
    def measure(
        input: Any,
        dim: Any = None,
        unbiased: bool | None = None,
        keepdim: bool = False,
        *,
        correction: Any = None,
    ) -> Any:
        x = require_tensor(input, name)
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        if x._array.dtype.kind not in "fc":
            title = "std and var" if name in ("std", "var") else name
            raise RuntimeError(f"{title} only support floating point and complex dtypes")
        degrees = correction if correction is not None else int(unbiased is not False)
        params = {"axes": axes_of(dim, x.ndim), "keepdim": keepdim, "correction": degrees}
        return apply_function(function, (x,), params, recorded)

    measure.__name__, measure.__doc__ = name, doc
    single = name in ("var", "std")
    return define(name, method=single, out=single)(measure)


var = _spread(
    "var", _variance, "Return the variance over n - correction elements (1 by default).", "VarBackward0"
)
std = _spread("std", _deviation, "Return the square root of the variance.", "StdBackward0")
var_mean = _spread("var_mean", _variance_and_mean, "Return the variance and the mean.", "VarMeanBackward0")
std_mean = _spread(
    "std_mean", _deviation_and_mean, "Return the standard deviation and the mean.", "StdMeanBackward0"
)


# Extremes -------------------------------------------------------------------------------------------------

max_result = named_result("max", "values indices")
min_result = named_result("min", "values indices")
aminmax_result = named_result("aminmax", "min max")


def not_empty(x: Tensor, name: str, axes: Axes) -> None:
    for axis in axes:
        if x.ndim and x._array.shape[axis] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {axis} to have non-zero size.")


def _only_ordered(kernel: str, x: Tensor) -> None:
    only_kinds(kernel, "biuf", x._array.dtype)


def _extreme(op: Any) -> Callable[..., Any]:
    def function(x: Node, axes: Axes, keepdim: bool) -> Any:
        if x.dtype.kind == "b":
            return kept(reduce_axes(OPS["any" if op is OPS["max"] else "all"], x, axes), axes, keepdim)
        return kept(reduce_axes(op, x, axes), axes, keepdim)

    return function


_largest, _smallest = _extreme(OPS["max"]), _extreme(OPS["min"])


def _chosen(x: Node, index: Node, axis: int, keepdim: bool) -> Any:
    """One element of each row, by its position there."""
    if not x.shape:
        return x
    picked = gather_along(x, insert_axes(index, (axis,)), axis)
    return picked if keepdim else squeezed(picked, axis)


def squeezed(x: Node, axis: int) -> Any:
    order = tuple(i for i in range(len(x.shape)) if i != axis)
    return rearrange(x, shape=tuple(x.shape[i] for i in order), source=order)


def along(
    x: Tensor, position: Callable[..., Any], dim: Any, keepdim: bool, name: str
) -> tuple[Tensor, Tensor]:
    """The elements at the positions that a NumPy function finds along one dimension, and the positions."""
    axis = dimension(dim, x.ndim)
    index = np.asarray(position(x._array, axis) if x.ndim else 0, np.int64)
    params = {"axis": axis, "keepdim": keepdim}
    values = apply_function(_chosen, (x, wrap(index)), params, name)
    places = np.expand_dims(index, axis) if keepdim and x.ndim else index
    return values, wrap(places)


def _extremes(name: str, function: Any, position: Any, elementwise: Any, result: Any, doc: str) -> Any:
    """A function of all elements, of one dimension, or of two tensors."""

    def extreme(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        if not isinstance(input, Tensor) or isinstance(dim, (bool, float)):
            raise invalid_arguments(name, input, dim)
        x = input
        if isinstance(dim, Tensor) or other is not None:
            return elementwise(x, dim if other is None else other)
        if dim is None:
            if not x._array.size:
                raise RuntimeError(
                    f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
                    "reduction dim with the 'dim' argument."
                )
            _only_ordered(f"{name}_all", x)
            params = {"axes": axes_of(None, x.ndim), "keepdim": False}
            return apply_function(function, (x,), params, f"{name.title()}Backward1")
        not_empty(x, name, (dimension(dim, x.ndim),))
        if x._array.dtype.kind == "c":
            raise RuntimeError(f"{name}(): does not support complex input")
        return result(along(x, position, dim, _flag(keepdim, name), f"{name.title()}Backward0"))

    extreme.__name__, extreme.__doc__ = name, doc
    return define(name, out=True)(extreme)


def _pairwise(name: str) -> Any:
    def function(input: Tensor, other: Tensor) -> Any:
        return getattr(input, f"{name}imum")(other)

    return function


max = _extremes(
    "max",
    _largest,
    np.argmax,
    _pairwise("max"),
    max_result,
    "Return the largest element; with `dim`, the largest along it and their positions; or of two tensors.",
)
min = _extremes(
    "min",
    _smallest,
    np.argmin,
    _pairwise("min"),
    min_result,
    "Return the smallest element; with `dim`, the smallest along it and their positions; or of two tensors.",
)


def _shared(name: str, function: Any, doc: str) -> Any:
    def extreme(input: Any, dim: Any = (), keepdim: bool = False) -> Tensor:
        x = require_tensor(input, name)
        axes = axes_of(dim, x.ndim)
        if dim == () and not x._array.size:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
                "reduction dim with the 'dim' argument."
            )
        not_empty(x, name, axes)
        _only_ordered(f"{name[1:]}_values_cpu", x)
        params = {"axes": axes, "keepdim": keepdim}
        return apply_function(function, (x,), params, f"{name.title()}Backward0")  # type: ignore[no-any-return]

    extreme.__name__, extreme.__doc__ = name, doc
    return define(name, out=True)(extreme)


amax = _shared(
    "amax", _largest, "Return the largest element along dimensions; equal ones share the gradient."
)
amin = _shared(
    "amin", _smallest, "Return the smallest element along dimensions; equal ones share the gradient."
)


@define(out=True, exact=True)
def aminmax(input: Any, *, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the smallest and the largest element, of all or along one dimension."""
    x = require_tensor(input, "aminmax")
    axes = axes_of(dim, x.ndim)
    if dim is None and not x._array.size:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
        )
    not_empty(x, "aminmax", axes)
    _only_ordered("aminmax_cpu", x)
    params = {"axes": axes, "keepdim": keepdim}
    return aminmax_result(apply_function(_both_extremes, (x,), params, "AminmaxBackward0"))


def _both_extremes(x: Node, axes: Axes, keepdim: bool) -> Any:
    return _smallest(x, axes, keepdim), _largest(x, axes, keepdim)


def _position(name: str, numpy: Any) -> Any:
    def position(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
        x = require_tensor(input, name)
        a = x._array
        if a.dtype.kind in "bc":
            kind = "bool" if a.dtype.kind == "b" else "complex"
            raise RuntimeError(f"{name}(): does not support {kind} input")
        if not a.size and dim is None:
            raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
        if dim is None:
            found = np.asarray(numpy(a), np.int64)
            return wrap(found.reshape((1,) * a.ndim) if keepdim else found)
        chosen = dimension(dim, a.ndim)
        not_empty(x, name, (chosen,))
        if not a.ndim:
            return wrap(np.asarray(0))
        return wrap(np.asarray(numpy(a, chosen, keepdims=bool(keepdim)), np.int64))

    position.__name__ = name
    position.__doc__ = (
        f"Return the position of the first {'largest' if 'max' in name else 'smallest'} element."
    )
    return define(name, out=True)(position)


argmax, argmin = _position("argmax", np.argmax), _position("argmin", np.argmin)


# Truth ----------------------------------------------------------------------------------------------------


def _truth(name: str, numpy: Any) -> Any:
    def truth(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
        x = require_tensor(input, name)
        axes = axes_of(dim, x.ndim)
        found = np.asarray(numpy(x._array, axes, keepdims=bool(keepdim)))
        return wrap(found.astype(np.uint8) if x._array.dtype == np.uint8 else found.astype(np.bool_))

    truth.__name__ = name
    truth.__doc__ = f"Return whether {name} elements, of all or along dimensions, are not zero."
    return define(name, out=True)(truth)


all, any = _truth("all", np.all), _truth("any", np.any)


@define()
def count_nonzero(input: Any, dim: Any = None) -> Tensor:
    """Return how many elements are not zero, of all or along dimensions."""
    x = require_tensor(input, "count_nonzero")
    return wrap(np.asarray(np.count_nonzero(x._array, axes_of(dim, x.ndim)), np.int64))


# Logarithms -----------------------------------------------------------------------------------------------


@define(out=True)
def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Tensor:
    """Return log(sum(exp(input))) along dimensions, without overflow."""
    x = require_tensor(input, "logsumexp")
    if x._array.dtype.kind == "c":
        raise NotImplementedError("logsumexp: complex tensors are not supported")
    array = x._array if x._array.dtype.kind == "f" else x._array.astype(dtypes.DEFAULT.floating.numpy)
    params = {"axes": axes_of(dim, x.ndim), "keepdim": keepdim}
    return apply_function(_log_sum_exp, (x,), params, "LogsumexpBackward0", [array])  # type: ignore[no-any-return]


def _log_sum_exp(x: Node, axes: Axes, keepdim: bool) -> Any:
    if 0 in x.shape:
        return _summed(x, axes, keepdim) - math.inf
    return activation.logsumexp(x, axes, keepdim) if axes else x * 1
