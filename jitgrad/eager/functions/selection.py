"""Picks elements of tensors by index or by mask, and finds where elements are or belong."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define, with_out
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.functions.operands import only_kinds, scalar_type
from jitgrad.eager.functions.places import along, from_start, long_index, outside, taken, taken_along
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops.values import broadcast

__all__ = [
    "argwhere",
    "bucketize",
    "gather",
    "index_select",
    "masked_select",
    "nonzero",
    "nonzero_static",
    "searchsorted",
    "take",
    "take_along_dim",
    "unravel_index",
]

Shape = tuple[int, ...]


# By index -------------------------------------------------------------------------------------------------


def _gathered(x: Tensor, places: Array) -> Tensor:
    return apply_function(taken, (x, wrap(places)), {}, "GatherBackward0")  # type: ignore[no-any-return]


def _gatherable(x: Tensor, axis: int, index: Array) -> None:
    if index.dtype not in (np.int32, np.int64):
        raise RuntimeError("gather(): Expected dtype int32/int64 for index")
    own = x._array.shape or (1,)
    shape = index.shape or (1,)
    if len(shape) != len(own):
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for i, (n, m) in enumerate(zip(shape, own, strict=True)):
        if i != axis and n > m:
            raise RuntimeError(
                f"Size does not match at dimension {i} expected index {list(index.shape)} to be no larger "
                f"than self {list(own)} apart from dimension {axis}"
            )
    wrong = outside(index, own[axis])
    if wrong is not None:
        raise RuntimeError(f"index {wrong} is out of bounds for dimension {axis} with size {own[axis]}")


_C_TYPES = {
    "float32": "float",
    "float64": "double",
    "int64": "long int",
    "int32": "int",
    "int16": "short int",
}


def _of_one_dtype(function: Any) -> Any:
    """The function with an `out=` tensor that must have the first argument's dtype."""
    public = with_out(function)

    @functools.wraps(function)
    def written(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if isinstance(out, Tensor) and isinstance(args[0], Tensor) and out.dtype != args[0].dtype:
            wanted, given = (_C_TYPES.get(t.dtype.name, t.dtype.name) for t in (args[0], out))
            raise RuntimeError(f"Expected out tensor to have dtype {wanted}, but got {given} instead")
        return public(*args, out=out, **kwargs)

    return written


@_of_one_dtype
@define()
def gather(input: Any, dim: Any, index: Any, *, sparse_grad: bool = False) -> Tensor:
    """Return the elements that an index names along an axis; off it the index may be smaller than the tensor.

    >>> import jitgrad
    >>> jitgrad.gather(jitgrad.tensor([[1, 2], [3, 4]]), 1, jitgrad.tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """
    x, chosen = require_tensor(input, "gather"), require_tensor(index, "gather", 3, "index")
    axis = dimension(dim, x.ndim)
    places = chosen._array
    if places.size:
        _gatherable(x, axis, places)
    return _gathered(x, along(places, x._array.shape, axis))


@define(out=True)
def take(input: Any, index: Any) -> Tensor:
    """Return the elements at places of the flattened tensor, in the shape of the index.

    >>> import jitgrad
    >>> jitgrad.take(jitgrad.tensor([[1, 2], [3, 4]]), jitgrad.tensor([0, -1]))
    tensor([1, 4])
    """
    x, chosen = require_tensor(input, "take"), require_tensor(index, "take", 2, "index")
    long_index(chosen, "take(): Expected a long tensor for index, but got {}")
    places, n = chosen._array, x._array.size
    if places.size and not n:
        raise IndexError("take(): tried to take from an empty tensor")
    wrong = outside(places, n, from_end=True)
    if wrong is not None:
        raise IndexError(f"out of range: tried to access index {wrong} on a tensor of {n} elements.")
    return apply_function(taken, (x, wrap(from_start(places, n))), {}, "TakeBackward0")  # type: ignore[no-any-return]


@define(out=True)
def take_along_dim(input: Any, indices: Any, dim: Any = None) -> Tensor:
    """Return the elements that an index names along an axis, broadcast, or in the flattened tensor."""
    x, index = (
        require_tensor(input, "take_along_dim"),
        require_tensor(indices, "take_along_dim", 2, "indices"),
    )
    found = index._array
    if found.dtype != np.int64:
        name = scalar_type(found.dtype)
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {name}")
    if dim is None:
        n = x._array.size
        return _gathered(x, np.mod(found.ravel(), n))
    if found.ndim != x.ndim:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{x.ndim} dimensions for input, and {found.ndim} dimensions for indices"
        )
    axis = dimension(dim, x.ndim)
    own, given = list(x._array.shape), list(found.shape)
    lead = _broadcast_shape(
        [n for i, n in enumerate(own) if i != axis], [n for i, n in enumerate(given) if i != axis]
    )
    wide, full = [*lead[:axis], own[axis], *lead[axis:]], [*lead[:axis], given[axis], *lead[axis:]]
    wanted = np.mod(np.broadcast_to(found, full), own[axis])
    return _gathered(x.expand(tuple(wide)), along(wanted, tuple(wide), axis))


def _broadcast_shape(first: list[int], second: list[int]) -> list[int]:
    for i, (n, m) in enumerate(zip(first, second, strict=True)):
        if n != m and 1 not in (n, m):
            raise RuntimeError(
                f"The size of tensor a ({n}) must match the size of tensor b ({m}) at non-singleton "
                f"dimension {i}"
            )
    return [m if n == 1 else n for n, m in zip(first, second, strict=True)]


@define(out=True)
def index_select(input: Any, dim: Any, index: Any) -> Tensor:
    """Return the slices that a vector of numbers names along an axis.

    >>> import jitgrad
    >>> jitgrad.index_select(jitgrad.tensor([[1, 2], [3, 4]]), 1, jitgrad.tensor([1, 1]))
    tensor([[2, 2],
            [4, 4]])
    """
    x, chosen = require_tensor(input, "index_select"), require_tensor(index, "index_select", 3, "index")
    axis, found = dimension(dim, x.ndim), chosen._array
    if found.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if found.dtype not in (np.int32, np.int64):
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
    if not x.ndim and found.size != 1:
        raise RuntimeError(
            f"index_select(): Index to scalar can have only 1 value, got {found.size} value(s)"
        )
    if outside(found, x._array.shape[axis] if x.ndim else 1) is not None:
        raise IndexError("index out of range in self")
    if not x.ndim:
        return apply_function(taken, (x, wrap(found.reshape(()))), {}, "IndexSelectBackward0")  # type: ignore[no-any-return]
    operands = (x, wrap(found.reshape(-1).astype(np.int64)))
    return apply_function(taken_along, operands, {"axis": axis}, "IndexSelectBackward0")  # type: ignore[no-any-return]


# By mask --------------------------------------------------------------------------------------------------


def masked_places(mask: Array, shape: Shape) -> tuple[Shape, Array]:
    """The shape that a mask and a tensor broadcast to, and the places there where the mask holds."""
    try:
        full = np.broadcast_shapes(mask.shape, shape)
    except ValueError:
        axes = range(1, min(mask.ndim, len(shape)) + 1)
        axis = next(i for i in axes if mask.shape[-i] != shape[-i] and 1 not in (mask.shape[-i], shape[-i]))
        raise RuntimeError(
            f"The size of tensor a ({mask.shape[-axis]}) must match the size of tensor b ({shape[-axis]}) at "
            f"non-singleton dimension {max(mask.ndim, len(shape)) - axis}"
        ) from None
    return full, np.flatnonzero(np.broadcast_to(mask, full))


def _taken_wide(x: Node, places: Node, shape: Shape) -> Any:
    return taken(broadcast(x, shape), places)


@define(out=True)
def masked_select(input: Any, mask: Any) -> Tensor:
    """Return the elements where a mask holds, in one axis; tensor and mask are broadcast.

    >>> import jitgrad
    >>> x = jitgrad.tensor([1, 2, 3])
    >>> jitgrad.masked_select(x, x > 1)
    tensor([2, 3])
    """
    x, where = require_tensor(input, "masked_select"), require_tensor(mask, "masked_select", 2, "mask")
    if where._array.dtype.kind != "b":
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape, places = masked_places(where._array, x._array.shape)
    return apply_function(_taken_wide, (x, wrap(places)), {"shape": shape}, "MaskedSelectBackward0")  # type: ignore[no-any-return]


# Where elements are ---------------------------------------------------------------------------------------


@define(out=True)
def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """Return the positions of the elements that are not zero, one in each row, or as a tensor for each axis.

    >>> import jitgrad
    >>> jitgrad.nonzero(jitgrad.tensor([0, 5, 7]))
    tensor([[1],
            [2]])
    """
    array = require_tensor(input, "nonzero")._array
    if as_tuple:
        return wrap(np.argwhere(np.atleast_1d(array))).unbind(1)
    return wrap(np.argwhere(array))


@define(out=True)
def nonzero_static(input: Any, *, size: Any, fill_value: Any = -1) -> Tensor:
    """Return the first `size` rows of `nonzero`, rows of the fill value where there are fewer."""
    array, count = require_tensor(input, "nonzero_static")._array, operator.index(size)
    if count < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    found = np.full((count, array.ndim), int(fill_value), np.int64)
    rows = np.argwhere(array)[:count]
    found[: len(rows)] = rows
    return wrap(found)


@define()
def argwhere(input: Any) -> Tensor:
    """Return the positions of the elements that are not zero, one in each row."""
    return wrap(np.argwhere(require_tensor(input, "argwhere")._array))


def unravel_index(indices: Any, shape: Any) -> tuple[Tensor, ...]:
    """Return the positions along each axis of elements given by their place in a flattened tensor of a shape.

    >>> import jitgrad
    >>> jitgrad.unravel_index(jitgrad.tensor(5), (2, 3))
    (tensor(1), tensor(2))
    """
    places = require_tensor(indices, "unravel_index", argument="indices")._array
    if places.dtype.kind not in "iu":
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    extents = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(n < 0 for n in extents):
        raise ValueError(f"'shape' cannot have negative values, but got {extents}")
    later = (math.prod(extents[i + 1 :]) for i in range(len(extents)))
    found = [places // step % n for n, step in zip(extents, later, strict=True)]
    return wrap(np.stack(found, -1)).unbind(-1) if found else ()


# Where values belong --------------------------------------------------------------------------------------


def _ranks(rows: Array, values: Array, right: bool) -> Array:
    """How many elements of each sorted row come before each value; NaN comes after everything."""
    low = np.zeros(values.shape, np.int64)
    high = np.full(values.shape, rows.shape[-1])
    while (searching := low < high).any():
        middle = (low + high) // 2
        guess = np.take_along_axis(rows, np.minimum(middle, rows.shape[-1] - 1), -1)
        before = ~(guess > values) if right else ~(guess >= values)
        low = np.where(searching & before, middle + 1, low)
        high = np.where(searching & ~before, middle, high)
    return low


def _searched(sequence: Array, values: Array, right: bool, out_int32: bool) -> Tensor:
    only_kinds("searchsorted_out_cpu", "iuf", dtypes.promote(sequence.dtype, values.dtype))
    rows = sequence.reshape(math.prod(sequence.shape[:-1]), sequence.shape[-1])
    count = values.size // len(rows) if len(rows) else 0
    found = _ranks(rows, values.reshape(len(rows), count), right).reshape(values.shape)
    return wrap(found.astype(np.int32 if out_int32 else np.int64, copy=False))


def _values(name: str, given: Any, position: int) -> Array:
    if isinstance(given, Number):
        return np.asarray(given)
    return require_tensor(given, name, position, "self" if position == 2 else "input")._array


@with_out
def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Return the number of the interval between sorted boundaries in which each value lies.

    A value equal to a boundary counts to the interval on its left, or with `right` to that on its right.

    >>> import jitgrad
    >>> jitgrad.bucketize(jitgrad.tensor([1, 4]), jitgrad.tensor([1, 3, 5]))
    tensor([0, 2])
    """
    edges = require_tensor(boundaries, "bucketize", 2, "boundaries")._array
    if edges.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({edges.ndim})")
    return _searched(edges, _values("bucketize", input, 1), right, out_int32)


def _searchable(sequence: Array, values: Array, sorter: Any, side: str | None, right: bool) -> None:
    name = "torch.searchsorted()"
    if side not in (None, "left", "right"):
        raise RuntimeError(f"{name}: side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(
            f"{name}: side and right can't be set to opposites, got side of left while right was True"
        )
    if not sequence.ndim:
        raise RuntimeError(f"{name}: boundaries tensor should have positive dimension, but got 0 dimension")
    if not values.ndim and sequence.ndim > 1:
        raise RuntimeError(
            f"{name}: input value can be a scalar only when boundaries tensor dimension is 1, but we got "
            f"boundaries tensor dim({sequence.ndim}) and input value's dim(0) numel(1)"
        )
    if sequence.ndim > 1 and sequence.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            f"{name}: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            "tensor "
            f"and input value tensor must match, but we got boundaries tensor {list(sequence.shape)} and "
            "input "
            f"value tensor {list(values.shape)}"
        )
    if sorter is not None:
        _sorter(name, sequence, require_tensor(sorter, "searchsorted", 3, "sorter")._array)


def _sorter(name: str, sequence: Array, order: Array) -> None:
    if order.shape != sequence.shape:
        raise RuntimeError(
            f"{name}: boundary and sorter must have the same size, but got boundary tensor "
            f"{list(sequence.shape)}and got sorter tensor {list(order.shape)}"
        )
    if order.dtype != np.int64:
        raise RuntimeError(
            f"{name}: sorter must be a tensor of long dtype but got dtype {scalar_type(order.dtype)}"
        )
    if outside(order, sequence.shape[-1]) is not None:
        raise RuntimeError(f"{name}: sorter index out of range")


@with_out
def searchsorted(
    sorted_sequence: Any,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Tensor:
    """Return where values belong in a sorted vector, or each row of them in its own sorted row.

    >>> import jitgrad
    >>> jitgrad.searchsorted(jitgrad.tensor([1, 3, 5]), jitgrad.tensor([3, 6]))
    tensor([1, 3])
    """
    sequence = require_tensor(sorted_sequence, "searchsorted", argument="sorted_sequence")._array
    values = _values("searchsorted", input, 2)
    _searchable(sequence, values, sorter, side, right)
    if sorter is not None:
        sequence = np.take_along_axis(sequence, sorter._array, -1)
    return _searched(sequence, values, right or side == "right", out_int32)
