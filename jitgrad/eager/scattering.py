"""Writes, adds or reduces values into tensors at places that an index or a mask names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.inplace import guard, write
from jitgrad.eager.modes import state
from jitgrad.eager.operands import as_scalar, scalar_type, wrong_combination
from jitgrad.eager.places import along, flattened, from_start, long_index, outside
from jitgrad.eager.selection import masked_places
from jitgrad.eager.shape import dimension
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.eager.underivable import no_rule, underived
from jitgrad.ir import Node
from jitgrad.ops.elementwise import isfinite, stop_gradient, where
from jitgrad.ops.indexing import scatter as put_op
from jitgrad.ops.scatter import add_at, max_along, min_along
from jitgrad.ops.structure import concatenate, reshape, slice_
from jitgrad.ops.structure import take as take_op
from jitgrad.ops.table import OPS
from jitgrad.ops.values import as_dtype, broadcast, size_of

__all__ = [
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_reduce",
    "masked_scatter",
    "put",
    "scatter",
    "scatter_add",
    "scatter_reduce",
]

Shape = tuple[int, ...]


# Writing at places of the flattened tensor ----------------------------------------------------------------


def _fitted(values: Node, places: Node) -> tuple[Any, Any]:
    """The values that belong to places, the first ones along each axis, and the places, both flattened."""
    if not values.shape:
        return broadcast(flattened(values), (size_of(places),)), flattened(places)
    if values.shape != places.shape:
        blank, one = (0,) * len(values.shape), (1,) * len(values.shape)
        values = slice_(values, start=blank, step=one, size=places.shape)
    return flattened(values), flattened(places)


def _put(x: Node, values: Node, places: Node) -> Any:
    values, places = _fitted(values, places)
    return reshape(put_op(flattened(x), places, values, axis=0), shape=x.shape)


def _put_repeatedly(x: Node, values: Node, places: Node, last: Node) -> Any:
    """Like _put where places are named again: all values written there get the gradient, as in PyTorch."""
    values, places = _fitted(values, places)
    ghosts = where(isfinite(values), values - stop_gradient(values), 0)
    blank = put_op(flattened(x), places, values * 0, axis=0)
    return reshape(add_at(blank, places, where(last, values, ghosts), axis=0), shape=x.shape)


def _add(x: Node, values: Node, places: Node) -> Any:
    values, places = _fitted(values, places)
    return reshape(add_at(flattened(x), places, values, axis=0), shape=x.shape)


def _as(x: Tensor, values: Any) -> Any:
    return values._array.astype(x._array.dtype, copy=False)


def _last(places: Array, size: int) -> Array | None:
    """Where a place is named for the last time; None if none is named again."""
    flat = places.ravel()
    final = np.full(size, -1)
    final[flat] = np.arange(flat.size)
    last = final[flat] == np.arange(flat.size)
    return None if last.all() else last


def _write(x: Tensor, values: Tensor, places: Array, name: str) -> Tensor:
    operands, arrays = [x, values, wrap(places)], [x._array, _as(x, values), places]
    function: Callable[..., Any] = _put
    if state.grad and values.requires_grad and values._array.ndim:
        last = _last(places, x._array.size)
        if last is not None:
            function = _put_repeatedly
            operands.append(wrap(last))
            arrays.append(last)
    return apply_function(function, operands, {}, name, arrays)  # type: ignore[no-any-return]


def _accumulate(x: Tensor, values: Tensor, places: Array, name: str) -> Tensor:
    arrays = [x._array, _as(x, values), places]
    return apply_function(_add, (x, values, wrap(places)), {}, name, arrays)  # type: ignore[no-any-return]


# Along one axis -------------------------------------------------------------------------------------------


def _vector(index: Tensor) -> Array:
    return index._array.reshape(-1).astype(np.int64, copy=False)


def _rows(x: Tensor, axis: int, index: Array) -> Array:
    """The places of the slices that a vector names along an axis."""
    if not x.ndim:
        return np.zeros((), np.int64)
    shape = x._array.shape
    wide = index.reshape((-1,) + (1,) * (len(shape) - axis - 1))
    return along(np.broadcast_to(wide, (*shape[:axis], index.size, *shape[axis + 1 :])), shape, axis)


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def _check_added(x: Tensor, axis: int, index: Tensor, source: Tensor, name: str) -> None:
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
    _check_added(x, axis, chosen, values, "index_add")
    if alpha != 1:
        values = values * wrap(as_scalar(alpha, x._array.dtype))
    return _accumulate(x, values, _rows(x, axis, _vector(chosen)), "IndexAddBackward0")


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
    places = _rows(x, axis, _vector(chosen))
    if not x.ndim:
        values = values.reshape(())
    return _write(x, values, places, "IndexCopyBackward0")


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
    places = _rows(x, axis, from_start(_vector(chosen), n))
    filling = value if isinstance(value, Tensor) else wrap(as_scalar(value, x._array.dtype))
    return _write(x, filling, places, f"IndexFillBackward{int(isinstance(value, Tensor))}")


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
    if x._array.dtype != given._array.dtype:
        first, second = scalar_type(x._array.dtype), scalar_type(given._array.dtype)
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {first} for the destination "
            "and "
            f"{second} for the source."
        )
    try:
        wide = given.expand(places.shape) if given.ndim <= places.ndim else given.reshape(places.shape)
    except RuntimeError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(given.shape)} cannot be broadcast to indexing "
            "result "
            f"of shape {list(places.shape)}"
        ) from None
    return (_accumulate if accumulate else _write)(x, wide, places, "IndexPutBackward0")


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
    return (_accumulate if accumulate else _write)(x, values.reshape((-1,)), flat, "PutBackward0")


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
    return _write(wide, values.reshape((-1,)), places, "MaskedScatterBackward0")


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
    return _write(x, _as_indexed(values, places), places, f"ScatterBackward{int(not is_tensor)}")


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
    return _accumulate(x, _as_indexed(values, places), places, "ScatterAddBackward0")


# Reducing what an index brings together -------------------------------------------------------------------


def _reduced_sum(x: Node, values: Node, places: Node, own: bool) -> Any:
    return _add(x if own else _put(x, values * 0, places), values, places)


def _reduced_mean(x: Node, values: Node, places: Node, counts: Node, own: bool) -> Any:
    total = _reduced_sum(x, values, places, own)
    return total / counts if x.dtype.kind in "fc" else OPS["floor_divide"](total, counts)


def _reduced_product(x: Node, values: Node, places: Node, touched: Node, groups: Node, own: bool) -> Any:
    """Each row of `groups` names the values for a touched place, filled up with one that is 1."""
    values, _ = _fitted(values, places)
    one = broadcast(as_dtype(_ONE, x.dtype), (1,))
    rows = take_op(concatenate(values, one, axis=0), groups, axis=0)
    product = as_dtype(OPS["prod"](rows, axes=(1,)), x.dtype)
    flat = flattened(x)
    if own:
        product = product * take_op(flat, touched, axis=0)
    return reshape(put_op(flat, touched, product, axis=0), shape=x.shape)


_ONE = np.asarray(1)


def _reduced_extreme(x: Node, values: Node, places: Node, largest: bool, own: bool) -> Any:
    values, places = _fitted(values, places)
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
    arrays = [x._array, _as(x, values), places, *more]
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
    _check_added(x, axis, chosen, values, "index_reduce")
    places = _rows(x, axis, _vector(chosen))
    return _reduced(x, values, places, reduce, bool(include_self), "IndexReduceBackward0")


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
    return write(self, _write(self, filling, np.flatnonzero(marked), "CopySlices"))


_wrap = wrap
