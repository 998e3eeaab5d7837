"""Writes, adds or fills values at places of tensors that an index or a mask names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.operands import as_scalar, require_same_dtype, scalar_type
from jitgrad.eager.functions.places import along, flattened, from_start, long_index, outside
from jitgrad.eager.functions.selection import masked_places
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.inplace import guard, write
from jitgrad.eager.modes import state
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops.elementwise import isfinite, stop_gradient, where
from jitgrad.ops.indexing import scatter as put_op
from jitgrad.ops.scatter import add_at
from jitgrad.ops.structure import reshape, slice_
from jitgrad.ops.values import broadcast, size_of

__all__ = [
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "masked_scatter",
    "put",
]

Shape = tuple[int, ...]


# Writing at places of the flattened tensor ----------------------------------------------------------------


def fitted(values: Node, places: Node) -> tuple[Any, Any]:
    """The values that belong to places, the first ones along each axis, and the places, both flattened."""
    if not values.shape:
        return broadcast(flattened(values), (size_of(places),)), flattened(places)
    if values.shape != places.shape:
        blank, one = (0,) * len(values.shape), (1,) * len(values.shape)
        values = slice_(values, start=blank, step=one, size=places.shape)
    return flattened(values), flattened(places)


def replaced(x: Node, values: Node, places: Node) -> Any:
    values, places = fitted(values, places)
    return reshape(put_op(flattened(x), places, values, axis=0), shape=x.shape)


def replaced_repeatedly(x: Node, values: Node, places: Node, last: Node) -> Any:
    """Like replaced where places are named again: all values written there get the gradient."""
    values, places = fitted(values, places)
    ghosts = where(isfinite(values), values - stop_gradient(values), 0)
    blank = put_op(flattened(x), places, values * 0, axis=0)
    return reshape(add_at(blank, places, where(last, values, ghosts), axis=0), shape=x.shape)


def added(x: Node, values: Node, places: Node) -> Any:
    values, places = fitted(values, places)
    return reshape(add_at(flattened(x), places, values, axis=0), shape=x.shape)


def cast_like(x: Tensor, values: Any) -> Any:
    return values._array.astype(x._array.dtype, copy=False)


def _last(places: Array, size: int) -> Array | None:
    """Where a place is named for the last time; None if none is named again."""
    flat = places.ravel()
    final = np.full(size, -1)
    final[flat] = np.arange(flat.size)
    last = final[flat] == np.arange(flat.size)
    return None if last.all() else last


def overwritten(x: Tensor, values: Tensor, places: Array, name: str) -> Tensor:
    operands, arrays = [x, values, wrap(places)], [x._array, cast_like(x, values), places]
    function: Callable[..., Any] = replaced
    if state.grad and values.requires_grad and values._array.ndim:
        last = _last(places, x._array.size)
        if last is not None:
            function = replaced_repeatedly
            operands.append(wrap(last))
            arrays.append(last)
    return apply_function(function, operands, {}, name, arrays)  # type: ignore[no-any-return]


def accumulated(x: Tensor, values: Tensor, places: Array, name: str) -> Tensor:
    arrays = [x._array, cast_like(x, values), places]
    return apply_function(added, (x, values, wrap(places)), {}, name, arrays)  # type: ignore[no-any-return]


# Along one axis -------------------------------------------------------------------------------------------


def vector_of(index: Tensor) -> Array:
    return index._array.reshape(-1).astype(np.int64, copy=False)


def row_places(x: Tensor, axis: int, index: Array) -> Array:
    """The places of the slices that a vector names along an axis."""
    if not x.ndim:
        return np.zeros((), np.int64)
    shape = x._array.shape
    wide = index.reshape((-1,) + (1,) * (len(shape) - axis - 1))
    return along(np.broadcast_to(wide, (*shape[:axis], index.size, *shape[axis + 1 :])), shape, axis)


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def check_rows(x: Tensor, axis: int, index: Tensor, source: Tensor, name: str) -> None:
    found, own, given = index._array, x._array.shape, source._array.shape
    if found.ndim > 1:
        raise IndexError(
            f"{name}_(): Index is supposed to be a vector, but got dim: {found.ndim} with type: "
            f"{scalar_type(found.dtype)} and size: {list(found.shape)}"
        )
    if found.dtype not in (np.int32, np.int64):
        raise RuntimeError(
            f"{name}_(): Expected dtype int32/int64 for index but got: {scalar_type(found.dtype)}"
        )
    if x._array.dtype != source._array.dtype:
        first, second = scalar_type(x._array.dtype), scalar_type(source._array.dtype)
        raise RuntimeError(f"{name}_(): self ({first}) and source ({second}) must have the same scalar type")
    if len(own) != len(given) or _without(own, axis) != _without(given, axis):
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. Got "
            f"self.shape = {list(own)} source.shape = {list(given)}"
        )
    if found.size != (given[axis] if given else 1):
        raise RuntimeError(
            f"{name}_(): Number of indices ({found.size}) should be equal to source.size(dim): "
            f"({given[axis] if given else 1}), for dim: {axis}"
        )
    n = own[axis] if own else 1
    wrong = outside(found, n)
    if wrong is not None:
        raise RuntimeError(f"index {wrong} is out of bounds for dimension {axis} with size {n}")


@define(in_place=True, out=True)
def index_add(input: Any, dim: Any, index: Any, source: Any, *, alpha: Any = 1) -> Tensor:
    """Return the tensor with alpha * source added to the slices that an index names, one after the other.

    >>> import jitgrad
    >>> jitgrad.zeros(3).index_add(0, jitgrad.tensor([0, 2, 2]), jitgrad.ones(3))
    tensor([1., 0., 2.])
    """
    x, chosen = require_tensor(input, "index_add"), require_tensor(index, "index_add", 3, "index")
    values = require_tensor(source, "index_add", 4, "source")
    axis = dimension(dim, x.ndim)
    check_rows(x, axis, chosen, values, "index_add")
    if alpha != 1:
        values = values * wrap(as_scalar(alpha, x._array.dtype))
    return accumulated(x, values, row_places(x, axis, vector_of(chosen)), "IndexAddBackward0")


def _check_copied(x: Tensor, axis: int, index: Tensor, source: Tensor) -> None:
    found, own, given = index._array, x._array.shape, source._array.shape
    if found.ndim > 1:
        raise IndexError(f"index_copy_(): Index should have dimension 1 or 0 (got {found.ndim})")
    if not given and found.size != 1:
        raise IndexError(
            f"index_copy_(): When source is scalar, index should have one element (got {found.size})"
        )
    if own and given and len(own) != len(given):
        raise IndexError(
            "index_copy_(): When source and destination are not scalars, their dimensionality must match. "
            f"Source dimensionality ({len(given)}), destination dimensionality ({len(own)})"
        )
    long_index(index, "index_copy_(): Expected a long tensor for index, but got {}")
    if x._array.dtype != source._array.dtype:
        first, second = scalar_type(x._array.dtype), scalar_type(source._array.dtype)
        raise RuntimeError(
            f"index_copy_(): self and source expected to have the same dtype, but got (self) {first} and "
            f"(source) {second}"
        )
    mine, theirs = _without(own, axis), _without(given, axis)
    if mine != theirs and given:
        raise RuntimeError(
            "index_copy_(): Source/destination tensor must have same slice shapes. Destination slice shape: "
            f"{' '.join(map(str, mine))} at dimension {axis} and source slice shape: "
            f"{' '.join(map(str, theirs))} at dimension {axis}."
        )
    if given and found.size != given[axis]:
        raise IndexError(
            f"index_copy_(): Number of indices ({found.size}) should be equal to source.size(dim) "
            f"({given[axis]})"
        )
    n = own[axis] if own else 1
    wrong = outside(found, n)
    if wrong is not None:
        raise IndexError(f"index_copy_(): index {wrong} is out of bounds for dimension {axis} with size {n}")


@define(in_place=True, out=True)
def index_copy(input: Any, dim: Any, index: Any, source: Any) -> Tensor:
    """Return the tensor with the slices that an index names replaced by those of source."""
    x, chosen = require_tensor(input, "index_copy"), require_tensor(index, "index_copy", 3, "index")
    values = require_tensor(source, "index_copy", 4, "source")
    axis = dimension(dim, x.ndim)
    _check_copied(x, axis, chosen, values)
    places = row_places(x, axis, vector_of(chosen))
    if not x.ndim:
        values = values.reshape(())
    return overwritten(x, values, places, "IndexCopyBackward0")


@define(in_place=True, out=True)
def index_fill(input: Any, dim: Any, index: Any, value: Any) -> Tensor:
    """Return the tensor with the slices that an index names filled with one value."""
    x, chosen = require_tensor(input, "index_fill"), require_tensor(index, "index_fill", 3, "index")
    axis, found = dimension(dim, x.ndim), chosen._array
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(
            "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value.ndim} dimension(s)."
        )
    if found.dtype != np.int64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if found.ndim > 1:
        raise RuntimeError("Index has to be a vector/scalar")
    if isinstance(value, complex) and x._array.dtype.kind != "c":
        raise RuntimeError("index_fill_(): Converting complex Scalar to non-complex type is not supported")
    n = x._array.shape[axis] if x.ndim else 1
    wrong = outside(found, n, from_end=True)
    if wrong is not None:
        raise IndexError(f"index {wrong} is out of bounds for dimension {axis} with size {n}")
    places = row_places(x, axis, from_start(vector_of(chosen), n))
    filling = value if isinstance(value, Tensor) else wrap(as_scalar(value, x._array.dtype))
    return overwritten(x, filling, places, f"IndexFillBackward{int(isinstance(value, Tensor))}")


# At places that tensors name together ---------------------------------------------------------------------


def _positions(given: Sequence[Tensor]) -> list[Array]:
    """Index tensors as arrays of numbers; masks become the positions where they hold."""
    found: list[Array] = []
    for entry in given:
        array = entry._array
        if array.dtype.kind not in "iub":
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        found.extend(np.nonzero(array) if array.dtype in (np.bool_, np.uint8) else [array])
    return found


def _named_together(x: Tensor, indices: Sequence[Tensor]) -> Array:
    entries, shape = _positions(indices), x._array.shape
    if len(entries) > len(shape):
        raise IndexError(f"too many indices for tensor of dimension {len(shape)} (got {len(entries)})")
    for axis, entry in enumerate(entries):
        wrong = outside(entry, shape[axis], from_end=True)
        if wrong is not None:
            raise IndexError(f"index {wrong} is out of bounds for dimension {axis} with size {shape[axis]}")
    try:
        return np.asarray(np.arange(x._array.size).reshape(shape)[tuple(entries)])
    except IndexError:
        shapes = ", ".join(str(list(e.shape)) for e in entries)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None


@define(in_place=True)
def index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Tensor:
    """Return the tensor with values written (or added) where index tensors, one for each axis, lead.

    >>> import jitgrad
    >>> jitgrad.zeros(3).index_put((jitgrad.tensor([0, 0]),), jitgrad.tensor(1.0), accumulate=True)
    tensor([2., 0., 0.])
    """
    x, given = require_tensor(input, "index_put"), require_tensor(values, "index_put", 3, "values")
    if not isinstance(indices, (tuple, list)):
        raise TypeError(
            "index_put(): argument 'indices' (position 1) must be tuple of Tensors, not "
            f"{type(indices).__name__}"
        )
    for i, entry in enumerate(indices):
        if not isinstance(entry, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(entry).__name__}")
    places = _named_together(x, indices)
    require_same_dtype(x, given)
    try:
        wide = given.expand(places.shape) if given.ndim <= places.ndim else given.reshape(places.shape)
    except RuntimeError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(given.shape)} cannot be broadcast to indexing "
            "result "
            f"of shape {list(places.shape)}"
        ) from None
    return (accumulated if accumulate else overwritten)(x, wide, places, "IndexPutBackward0")


@define(in_place=True)
def put(input: Any, index: Any, source: Any, accumulate: bool = False) -> Tensor:
    """Return the tensor with the elements of source written (or added) at places of the flattened tensor."""
    x, chosen = require_tensor(input, "put"), require_tensor(index, "put", 2, "index")
    values = require_tensor(source, "put", 3, "source")
    long_index(chosen, "put_(): Expected a long tensor for index, but got {}")
    if x._array.dtype != values._array.dtype:
        first, second = scalar_type(x._array.dtype), scalar_type(values._array.dtype)
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = {first} and "
            f"source.dtype = {second}"
        )
    count, n = chosen._array.size, x._array.size
    if values._array.size != count:
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{values._array.size}, index.numel() = {count}"
        )
    if count and not n:
        raise IndexError("put_(): tried to put elements into an empty tensor")
    wrong = outside(chosen._array, n, from_end=True)
    if wrong is not None:
        raise IndexError(f"out of range: tried to access index {wrong} on a tensor of {n} elements.")
    flat = from_start(chosen._array, n).reshape(-1)
    return (accumulated if accumulate else overwritten)(x, values.reshape((-1,)), flat, "PutBackward0")


@define(in_place=True, out=False)
def masked_scatter(input: Any, mask: Any, source: Any) -> Tensor:
    """Return the tensor with the elements of source, in order, where a mask holds.

    >>> import jitgrad
    >>> mask = jitgrad.tensor([True, False, True])
    >>> jitgrad.zeros(3).masked_scatter(mask, jitgrad.tensor([5.0, 6.0]))
    tensor([5., 0., 6.])
    """
    x, chosen = require_tensor(input, "masked_scatter"), require_tensor(mask, "masked_scatter", 2, "mask")
    values = require_tensor(source, "masked_scatter", 3, "source")
    if chosen._array.dtype.kind != "b":
        raise RuntimeError(
            f"masked_scatter_ only supports boolean masks, but got mask with dtype "
            f"{scalar_type(chosen._array.dtype)}"
        )
    if x._array.dtype != values._array.dtype:
        first, second = scalar_type(x._array.dtype), scalar_type(values._array.dtype)
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got{first} and {second}"
        )
    shape, places = masked_places(chosen._array, x._array.shape)
    if places.size > values._array.size:
        raise RuntimeError("Number of elements of source < number of ones in mask")
    wide = x if shape == x._array.shape else x.expand(shape)
    return overwritten(wide, values.reshape((-1,)), places, "MaskedScatterBackward0")


# The main diagonal ----------------------------------------------------------------------------------------


@define("fill_diagonal_")
def _fill_diagonal(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Set the elements of the main diagonal; with `wrap` a tall matrix starts another one below it."""
    shape = self._array.shape
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    guard(self)
    marked = np.zeros(shape, np.bool_)
    np.fill_diagonal(marked, True, wrap)
    filling = _wrap(as_scalar(fill_value, self._array.dtype))
    return write(self, overwritten(self, filling, np.flatnonzero(marked), "CopySlices"))


_wrap = wrap
