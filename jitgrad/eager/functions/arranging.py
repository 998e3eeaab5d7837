"""Repeats, turns and pads tensors, and keeps triangles of them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.factory import factory, integer_argument
from jitgrad.eager.functions.operands import only_kinds, wrong_combination
from jitgrad.eager.functions.shape import dimension, sizes
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops import arrange
from jitgrad.ops.gather import take
from jitgrad.ops.structure import slice_

__all__ = [
    "constant_pad_nd",
    "flip",
    "fliplr",
    "flipud",
    "repeat_interleave",
    "roll",
    "rot90",
    "tile",
    "tril",
    "tril_indices",
    "triu",
    "triu_indices",
]

Shape = tuple[int, ...]


# Repeating ------------------------------------------------------------------------------------------------


def _tiled(x: Node, repeats: Shape) -> Any:
    return arrange.tile(x, repeats)


def _repeated_whole(x: Tensor, repeats: Shape) -> Tensor:
    shape = (1,) * (len(repeats) - x.ndim) + x._array.shape
    total = [n * count for n, count in zip(shape, repeats, strict=True)]
    for n in total:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {total}")
    if any(count < 0 for count in repeats):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(repeats)}: {list(repeats)}")
    return apply_function(_tiled, (x,), {"repeats": repeats}, "RepeatBackward0")  # type: ignore[no-any-return]


@define("repeat")
def _repeat(self: Tensor, *repeats: Any) -> Tensor:
    """Return the tensor several times over along each axis, the last number being that of the last axis."""
    given = sizes(repeats)
    if len(given) < self.ndim:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor"
        )
    return _repeated_whole(self, given)


@define()
def tile(input: Any, *dims: Any) -> Tensor:
    """Return the tensor several times over along each axis; axes that no number is given for stay.

    >>> import jitgrad
    >>> jitgrad.tile(jitgrad.tensor([1, 2]), (2,))
    tensor([1, 2, 1, 2])
    """
    x = require_tensor(input, "tile")
    given = sizes(dims)
    return _repeated_whole(x, (1,) * (x.ndim - len(given)) + given)


def _each_repeated(x: Node, count: int, axis: int) -> Any:
    return arrange.repeat(x, count, axis)


def _taken(x: Node, places: Node, axis: int) -> Any:
    return take(x, places, axis=axis)


def _counts(repeats: Tensor) -> Array:
    counts = repeats._array
    if counts.ndim != 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    only_kinds("repeat_interleave_cpu", "i", counts.dtype)
    if counts.size and counts.min() < 0:
        raise RuntimeError("repeats can not be negative")
    return counts


def _total(output_size: Any, counts: Array) -> None:
    if output_size is not None and int(output_size) != counts.sum():
        raise RuntimeError("allocated size does not match required size")


@define()
def repeat_interleave(
    input: Any, repeats: Any = None, dim: Any = None, *, output_size: int | None = None
) -> Tensor:
    """Return each element several times, along an axis or of the flattened tensor.

    Called with counts alone, return how often each position is to occur.

    >>> import jitgrad
    >>> jitgrad.repeat_interleave(jitgrad.tensor([5, 7]), jitgrad.tensor([1, 2]))
    tensor([5, 7, 7])
    """
    x = require_tensor(input, "repeat_interleave")
    if repeats is None:
        counts = _counts(x)
        _total(output_size, counts)
        return wrap(np.repeat(np.arange(counts.size).astype(counts.dtype), counts))
    if not isinstance(repeats, (int, Tensor)) or isinstance(repeats, bool):
        forms = (f"{kind} repeats, int dim = None, *, int output_size = None" for kind in ("Tensor", "int"))
        given = (repeats,) if dim is None else (repeats, dim)
        raise wrong_combination("repeat_interleave", given, *forms)
    if dim is None:
        x = x.flatten()
    axis = dimension(0 if dim is None else dim, x.ndim)
    if isinstance(repeats, int):
        return _repeated_equally(x.reshape((1,)) if not x.ndim else x, repeats, axis, output_size)
    return _repeated_by(x.reshape((1,)) if not x.ndim else x, repeats, axis, output_size)


def _repeated_equally(x: Tensor, count: int, axis: int, output_size: Any) -> Tensor:
    if count < 0:
        raise RuntimeError("Repeats must be non-negative")
    _total(output_size, np.full(x._array.shape[axis], count))
    params = {"count": count, "axis": axis}
    return apply_function(_each_repeated, (x,), params, "ViewBackward0")  # type: ignore[no-any-return]


def _repeated_by(x: Tensor, repeats: Tensor, axis: int, output_size: Any) -> Tensor:
    n = x._array.shape[axis]
    if repeats._array.ndim > 1:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
    if repeats._array.size == 1 or not repeats._array.ndim:
        repeats = wrap(np.repeat(repeats._array, n))
    if repeats._array.size != n:
        raise RuntimeError(
            "repeats must have the same size as input along dim, but got repeats.size(0) = "
            f"{repeats._array.size} and input.size({axis}) = {n}"
        )
    counts = _counts(repeats)
    _total(output_size, counts)
    places = wrap(np.repeat(np.arange(n), counts))
    return apply_function(_taken, (x, places), {"axis": axis}, "IndexSelectBackward0")  # type: ignore[no-any-return]


# Turning --------------------------------------------------------------------------------------------------


def _flipped(x: Node, axes: Shape) -> Any:
    return arrange.flip(x, axes) if axes else x


def _flip(x: Tensor, dims: Sequence[Any]) -> Tensor:
    axes = tuple(dimension(d, x.ndim) for d in dims)
    for axis in axes:
        if axes.count(axis) > 1:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
    return apply_function(_flipped, (x,), {"axes": axes if x.ndim else ()}, "FlipBackward0")  # type: ignore[no-any-return]


def flip(input: Any, dims: Any) -> Tensor:
    """Return the elements in reverse order along axes.

    >>> import jitgrad
    >>> jitgrad.flip(jitgrad.tensor([1, 2, 3]), (0,))
    tensor([3, 2, 1])
    """
    x = require_tensor(input, "flip")
    if not isinstance(dims, (tuple, list)):
        raise TypeError(
            f"flip(): argument 'dims' (position 2) must be tuple of ints, not {type(dims).__name__}"
        )
    return _flip(x, dims)


@define("flip")
def _flip_method(self: Tensor, *args: Any, dims: Any = None) -> Tensor:
    if dims is None and not args:
        raise TypeError('flip() missing 1 required positional arguments: "dims"')
    return _flip(self, sizes(args) if dims is None else sizes((dims,)))


@define()
def fliplr(input: Any) -> Tensor:
    """Return the elements in reverse order along the second axis."""
    x = require_tensor(input, "fliplr")
    if x.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return _flip(x, (1,))


@define()
def flipud(input: Any) -> Tensor:
    """Return the elements in reverse order along the first axis."""
    x = require_tensor(input, "flipud")
    if x.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return _flip(x, (0,))


def _rolled(x: Node, shifts: Shape, axes: Shape | None) -> Any:
    return arrange.roll(x, shifts[0]) if axes is None else arrange.roll(x, shifts, axes)


def _ints(given: Any) -> Shape:
    return tuple(map(operator.index, given)) if isinstance(given, (tuple, list)) else (operator.index(given),)


@define()
def roll(input: Any, shifts: Any, dims: Any = ()) -> Tensor:
    """Return the elements moved along axes (or, flattened, through all); those that leave enter again.

    >>> import jitgrad
    >>> jitgrad.roll(jitgrad.tensor([1, 2, 3]), 1)
    tensor([3, 1, 2])
    """
    x = require_tensor(input, "roll")
    steps, given = _ints(shifts), () if dims is None else _ints(dims)
    if not steps:
        raise RuntimeError("`shifts` required")
    if len(steps) != len(given) and (given or len(steps) > 1):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(steps)}, dims:{len(given)}")
    if given and not x.ndim:
        raise IndexError(f"Dimension specified as {given[0]} but tensor has no dimensions")
    axes = tuple(dimension(d, x.ndim) for d in given)
    params = {"shifts": steps, "axes": axes if given else None}
    return apply_function(_rolled, (x,), params, "RollBackward0")  # type: ignore[no-any-return]


def _turned(x: Node, k: int, axes: Shape) -> Any:
    return arrange.rot90(x, k, axes)


@define()
def rot90(input: Any, k: Any = 1, dims: Any = (0, 1)) -> Tensor:
    """Return the tensor turned k times by a right angle, from the first of two axes to the second.

    >>> import jitgrad
    >>> jitgrad.rot90(jitgrad.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    x = require_tensor(input, "rot90")
    given = tuple(dims)
    if len(given) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(given)}")
    if x.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {x.ndim}")
    if abs(given[0] - given[1]) in (0, x.ndim):
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {given[0]} and dim1 = {given[1]}"
        )
    params = {"k": int(k) % 4, "axes": tuple(dimension(d, x.ndim) for d in given)}
    return apply_function(_turned, (x,), params, "Rot90Backward0")  # type: ignore[no-any-return]


# Triangles ------------------------------------------------------------------------------------------------


def _lower(x: Node, k: int) -> Any:
    return arrange.tril(x, k)


def _upper(x: Node, k: int) -> Any:
    return arrange.triu(x, k)


def _triangle(name: str, function: Any, doc: str) -> Any:
    def triangle(input: Any, diagonal: Any = 0) -> Tensor:
        x = require_tensor(input, name)
        if x.ndim < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        params = {"k": integer_argument(diagonal, name, "diagonal", 2)}
        return apply_function(function, (x,), params, f"{name.title()}Backward0")  # type: ignore[no-any-return]

    triangle.__name__, triangle.__doc__ = name, doc
    return define(name, in_place=True, out=True)(triangle)


tril = _triangle("tril", _lower, "Return the elements on and below a diagonal of matrices, zeros above.")
triu = _triangle("triu", _upper, "Return the elements on and above a diagonal of matrices, zeros below.")


def _positions(name: str, find: Any, row: Any, col: Any, offset: Any, dtype: Any) -> Array:
    rows, columns = integer_argument(row, name, "row", 1), integer_argument(col, name, "col", 2)
    for argument, count in (("row", rows), ("col", columns)):
        if count < 0:
            raise RuntimeError(f"{argument} must be non-negative, got{count}")
    wanted = np.dtype(np.int64) if dtype is None else dtype
    only_kinds(name, "iu", wanted)
    return np.stack(find(rows, int(offset), columns)).astype(wanted)


@factory
def tril_indices(row: Any, col: Any, offset: Any = 0, *, dtype: Any) -> Array:
    """Return the positions on and below a diagonal of a matrix: rows, then columns."""
    return _positions("tril_indices", np.tril_indices, row, col, offset, dtype)


@factory
def triu_indices(row: Any, col: Any, offset: Any = 0, *, dtype: Any) -> Array:
    """Return the positions on and above a diagonal of a matrix: rows, then columns."""
    return _positions("triu_indices", np.triu_indices, row, col, offset, dtype)


# Padding --------------------------------------------------------------------------------------------------


def _padded(x: Node, widths: tuple[tuple[int, int], ...], value: Any) -> Any:
    start = tuple(max(-before, 0) for before, _ in widths)
    size = tuple(n + min(b, 0) + min(a, 0) for n, (b, a) in zip(x.shape, widths, strict=True))
    inner = slice_(x, start=start, step=(1,) * len(start), size=size)
    return arrange.pad(inner, [(max(b, 0), max(a, 0)) for b, a in widths], constant_values=value)


def constant_pad_nd(input: Any, pad: Any, value: Any = 0) -> Tensor:
    """Return the tensor with a border of one value; negative widths cut off.

    `pad` holds the widths before and after the last axis, then those of the axis before it, and so on.

    >>> import jitgrad
    >>> jitgrad.constant_pad_nd(jitgrad.tensor([1, 2]), (1, 2), 7)
    tensor([7, 1, 2, 7, 7])
    """
    x, given = require_tensor(input, "constant_pad_nd"), _ints(pad)
    if len(given) % 2:
        raise RuntimeError(f"Length of pad must be even but instead it equals {len(given)}")
    if len(given) > 2 * x.ndim:
        raise RuntimeError(
            "Length of pad should be no more than twice the number of dimensions of the input. Pad length is "
            f"{len(given)}while the input has {x.ndim}dimensions."
        )
    pairs = [*zip(given[::2], given[1::2], strict=True)]
    widths = ((0, 0),) * (x.ndim - len(pairs)) + tuple(reversed(pairs))
    for n, (before, after) in zip(x._array.shape, widths, strict=True):
        if n + min(before, 0) + min(after, 0) < 0:
            raise RuntimeError("narrow(): length must be non-negative.")
    params = {"widths": widths, "value": x._array.dtype.type(value).item()}
    return apply_function(_padded, (x,), params, "ConstantPadNdBackward0")  # type: ignore[no-any-return]
