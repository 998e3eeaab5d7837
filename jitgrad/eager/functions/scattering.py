"""Scatters values along an axis into tensors, and reduces what comes together there."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.functions.operands import as_scalar, wrong_combination
from jitgrad.eager.functions.places import along, flattened, outside
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.functions.underivable import no_rule, underived
from jitgrad.eager.functions.writing import (
    accumulated,
    added,
    cast_like,
    check_rows,
    fitted,
    overwritten,
    replaced,
    row_places,
    vector_of,
)
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops.gather import take as take_op
from jitgrad.ops.indexing import scatter as put_op
from jitgrad.ops.scatter import max_along, min_along
from jitgrad.ops.structure import concatenate, reshape
from jitgrad.ops.table import OPS
from jitgrad.ops.values import as_dtype, broadcast

__all__ = [
    "index_reduce",
    "scatter",
    "scatter_add",
    "scatter_reduce",
]

Shape = tuple[int, ...]


# Along an axis, an index for each element -----------------------------------------------------------------


def _check_scattered(x: Tensor, axis: int, index: Tensor, src: Tensor | None) -> None:
    found = index._array
    if found.dtype not in (np.int32, np.int64):
        raise RuntimeError("scatter(): Expected dtype int32/int64 for index")
    if src is not None and src._array.dtype != x._array.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    if not found.size:
        return
    own, shape = x._array.shape or (1,), found.shape or (1,)
    if len(shape) != len(own):
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    theirs = shape if src is None else src._array.shape or (1,)
    if len(shape) != len(theirs):
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    large = any(i != axis and n > m for i, (n, m) in enumerate(zip(shape, own, strict=True)))
    if large or any(n > m for n, m in zip(shape, theirs, strict=True)):
        more = "" if src is None else f" and to be no larger size than src {list(src.shape)}"
        raise RuntimeError(
            f"Expected index {list(shape)} to be no larger than self {list(own)} apart from dimension "
            f"{axis}{more}"
        )
    wrong = outside(found, own[axis])
    if wrong is not None:
        raise RuntimeError(f"index {wrong} is out of bounds for dimension {axis} with size {own[axis]}")


_FORMS = (
    "int dim, Tensor index, Tensor src",
    "int dim, Tensor index, Tensor src, *, str reduce",
    "int dim, Tensor index, Number value",
    "int dim, Tensor index, Number value, *, str reduce",
)


@define(in_place=True, out=True)
def scatter(input: Any, dim: Any, index: Any, *given: Any, reduce: str | None = None, **named: Any) -> Tensor:
    """Return the tensor with elements of src, or one value, where an index leads along an axis.

    `reduce` may be "add" or "multiply" instead of writing.

    >>> import jitgrad
    >>> jitgrad.zeros(2, 2).scatter(1, jitgrad.tensor([[0], [1]]), 5.0)
    tensor([[5., 0.],
            [0., 5.]])
    """
    x, chosen = require_tensor(input, "scatter"), require_tensor(index, "scatter", 3, "index")
    src = given[0] if given else named.get("src", named.get("value"))
    fits = isinstance(src, (Tensor, *Number)) and len(given) + len(named) == 1
    if not fits or "src" in named and not isinstance(src, Tensor):
        raise wrong_combination("scatter", (dim, index, *given, *named.values()), *_FORMS)
    axis, is_tensor = dimension(dim, x.ndim), isinstance(src, Tensor)
    if reduce is not None:
        _check_old_reduce(reduce, is_tensor)
    _check_scattered(x, axis, chosen, src if is_tensor else None)
    values = src if isinstance(src, Tensor) else wrap(as_scalar(src, x._array.dtype))
    places = along(chosen._array, x._array.shape, axis)
    if reduce is not None:
        return _reduced_without_gradient(x, values, places, reduce)
    return overwritten(x, _as_indexed(values, places), places, f"ScatterBackward{int(not is_tensor)}")


def _as_indexed(values: Tensor, places: Array) -> Tensor:
    """Values that lie as an index does: in one axis where it has one and they have none."""
    return values.reshape((1,)) if places.ndim and not values.ndim and places.size == 1 else values


def _check_old_reduce(reduce: str, is_tensor: bool) -> None:
    if is_tensor:
        warnings.warn(
            "The reduce argument of torch.scatter with Tensor src is deprecated and will be removed in a "
            "future "
            "PyTorch release. Use torch.scatter_reduce instead for more reduction options.",
            UserWarning,
            stacklevel=4,
        )
    if reduce not in ("add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")


def _reduced_without_gradient(x: Tensor, values: Tensor, places: Array, reduce: str) -> Tensor:
    out = np.array(x._array, order="C")
    lying = values._array if not values.ndim else values._array[tuple(map(slice, places.shape))]
    (np.add if reduce == "add" else np.multiply).at(out.reshape(-1), places, lying)
    return underived(out, (x, values), "NotImplemented", no_rule("scatter"))


@define(in_place=True, out=True)
def scatter_add(input: Any, dim: Any, index: Any, src: Any) -> Tensor:
    """Return the tensor with elements of src added where an index leads along an axis, in order."""
    x, chosen = require_tensor(input, "scatter_add"), require_tensor(index, "scatter_add", 3, "index")
    values, axis = require_tensor(src, "scatter_add", 3, "src"), dimension(dim, x.ndim)
    _check_scattered(x, axis, chosen, values)
    places = along(chosen._array, x._array.shape, axis)
    return accumulated(x, _as_indexed(values, places), places, "ScatterAddBackward0")


# Reducing what an index brings together -------------------------------------------------------------------


def _reduced_sum(x: Node, values: Node, places: Node, own: bool) -> Any:
    return added(x if own else replaced(x, values * 0, places), values, places)


def _reduced_mean(x: Node, values: Node, places: Node, counts: Node, own: bool) -> Any:
    total = _reduced_sum(x, values, places, own)
    return total / counts if x.dtype.kind in "fc" else OPS["floor_divide"](total, counts)


def _reduced_product(x: Node, values: Node, places: Node, touched: Node, groups: Node, own: bool) -> Any:
    """Each row of `groups` names the values for a touched place, filled up with one that is 1."""
    values, _ = fitted(values, places)
    one = broadcast(as_dtype(_ONE, x.dtype), (1,))
    rows = take_op(concatenate(values, one, axis=0), groups, axis=0)
    product = as_dtype(OPS["prod"](rows, axes=(1,)), x.dtype)
    flat = flattened(x)
    if own:
        product = product * take_op(flat, touched, axis=0)
    return reshape(put_op(flat, touched, product, axis=0), shape=x.shape)


_ONE = np.asarray(1)


def _reduced_extreme(x: Node, values: Node, places: Node, largest: bool, own: bool) -> Any:
    values, places = fitted(values, places)
    flat = flattened(x)
    if not own:
        flat = put_op(flat, places, broadcast(_worst(x.dtype, largest), values.shape), axis=0)
    if x.dtype.kind == "f":
        found = (max_along if largest else min_along)(flat, places, values, 0)
    else:
        found = OPS["extreme_at"](flat, places, values, largest=largest)
    return reshape(found, shape=x.shape)


def _worst(dtype: np.dtype[Any], largest: bool) -> Any:
    if dtype.kind == "f":
        return np.asarray(-np.inf if largest else np.inf, dtype)
    if dtype.kind == "b":
        return np.asarray(not largest)
    return np.asarray(np.iinfo(dtype).min if largest else np.iinfo(dtype).max, dtype)


def _grouped(places: Array, size: int) -> tuple[Array, Array]:
    """The places that are named, and for each which values are its own, filled up with a number past all."""
    flat = places.ravel()
    order = np.argsort(flat, kind="stable")
    touched, starts, counts = np.unique(flat[order], return_index=True, return_counts=True)
    groups = np.full((touched.size, int(counts.max(initial=0))), flat.size)
    row = np.repeat(np.arange(touched.size), counts)
    groups[row, np.arange(flat.size) - starts[row]] = order
    return touched, groups


def _reduced(x: Tensor, values: Tensor, places: Array, how: str, own: bool, name: str) -> Tensor:
    more: list[Array] = []
    params: dict[str, Any] = {"own": own}
    function: Any = _reduced_sum
    if how == "mean":
        function = _reduced_mean
        counts = np.full(x._array.size, int(own))
        np.add.at(counts, places.ravel(), 1)
        if not own:
            counts = np.maximum(counts, 1)
        more = [counts.reshape(x._array.shape).astype(x._array.dtype)]
    elif how == "prod":
        function, more = _reduced_product, list(_grouped(places, x._array.size))
    elif how != "sum":
        function, params = _reduced_extreme, {"largest": how == "amax", "own": own}
    operands = (x, values, wrap(places), *map(wrap, more))
    arrays = [x._array, cast_like(x, values), places, *more]
    return apply_function(function, operands, params, name, arrays)  # type: ignore[no-any-return]


_WAYS = ("sum", "prod", "mean", "amax", "amin")


@define(in_place=True, out=True)
def scatter_reduce(
    input: Any, dim: Any, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Return the tensor with each element combined with those of src that an index leads to it.

    `reduce` is sum, prod, mean, amax or amin; without `include_self` the elements of src alone count there.

    >>> import jitgrad
    >>> index = jitgrad.tensor([0, 0, 1])
    >>> jitgrad.zeros(2).scatter_reduce(0, index, jitgrad.tensor([1.0, 2.0, 3.0]), "amax")
    tensor([2., 3.])
    """
    x, chosen = require_tensor(input, "scatter_reduce"), require_tensor(index, "scatter_reduce", 3, "index")
    values, axis = require_tensor(src, "scatter_reduce", 4, "src"), dimension(dim, x.ndim)
    if reduce not in _WAYS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    _check_scattered(x, axis, chosen, values)
    places = along(chosen._array, x._array.shape, axis)
    values = _as_indexed(values, places)
    return _reduced(x, values, places, reduce, bool(include_self), "ScatterReduceBackward0")


@define(in_place=True, out=True)
def index_reduce(
    input: Any, dim: Any, index: Any, source: Any, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Return the tensor with each slice combined with those of source that an index leads to it.

    `reduce` is prod, mean, amax or amin; without `include_self` the slices of source alone count there.
    """
    x, chosen = require_tensor(input, "index_reduce"), require_tensor(index, "index_reduce", 3, "index")
    warnings.warn("index_reduce() is in beta and the API may change at any time.", UserWarning, stacklevel=3)
    values, axis = require_tensor(source, "index_reduce", 4, "source"), dimension(dim, x.ndim)
    if reduce not in _WAYS[1:]:
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}."
        )
    check_rows(x, axis, chosen, values, "index_reduce")
    places = row_places(x, axis, vector_of(chosen))
    return _reduced(x, values, places, reduce, bool(include_self), "IndexReduceBackward0")
