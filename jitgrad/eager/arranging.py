"""Repeats, turns and pads tensors, and takes or puts diagonals, triangles and windows of them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function, edges_of, plan_of, record_plan
from jitgrad.eager.dtypes import Array
from jitgrad.eager.factory import factory, integer_argument, on_memory
from jitgrad.eager.memory import offset_of, root_of
from jitgrad.eager.operands import only_kinds, wrong_combination
from jitgrad.eager.shape import dimension, sizes, window
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.eager.views import Steps, Way, read, step, tie, view, written
from jitgrad.ir import Node
from jitgrad.ops import arrange
from jitgrad.ops.indexing import scatter as put
from jitgrad.ops.structure import concatenate, place, rearrange, reshape, slice_, take
from jitgrad.ops.values import size_of

__all__ = [
    "as_strided",
    "as_strided_scatter",
    "constant_pad_nd",
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal",
    "diagonal_scatter",
    "flip",
    "fliplr",
    "flipud",
    "narrow_copy",
    "repeat_interleave",
    "roll",
    "rot90",
    "select_scatter",
    "slice_scatter",
    "tile",
    "trace",
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


# Diagonals ------------------------------------------------------------------------------------------------


def _plane(ndim: int, dim1: Any, dim2: Any) -> tuple[int, int]:
    first, second = dimension(dim1, ndim), dimension(dim2, ndim)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return first, second


def _diagonal_steps(shape: Shape, offset: int, first: int, second: int) -> Steps:
    """A diagonal as a square, its elements in one axis, and every (size + 1)-th of them."""
    rows, columns = max(-offset, 0), max(offset, 0)
    n = max(min(shape[first] - rows, shape[second] - columns), 0)
    start = [0] * len(shape)
    start[first], start[second] = (rows, columns) if n else (0, 0)
    square = tuple(n if i in (first, second) else m for i, m in enumerate(shape))
    order = (*(i for i in range(len(shape)) if i not in (first, second)), first, second)
    lead = tuple(square[i] for i in order[:-2])
    return (
        step(slice_, start=tuple(start), step=(1,) * len(shape), size=square),
        step(rearrange, shape=(*lead, n, n), source=order),
        step(reshape, shape=(*lead, n * n)),
        step(slice_, start=(0,) * len(lead) + (0,), step=(1,) * len(lead) + (n + 1,), size=(*lead, n)),
    )


def _diagonal(x: Tensor, offset: int, first: int, second: int, name: str) -> Tensor:
    array = np.diagonal(x._array, offset, first, second)
    array.flags.writeable = x._array.flags.writeable
    return view(x, array, _diagonal_steps(x._array.shape, offset, first, second), name)


@define()
def diagonal(input: Any, offset: Any = 0, dim1: Any = 0, dim2: Any = 1) -> Tensor:
    """Return the view of a diagonal of the plane of two axes, as the last axis.

    >>> import jitgrad
    >>> jitgrad.diagonal(jitgrad.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    x = require_tensor(input, "diagonal")
    first, second = _plane(x.ndim, dim1, dim2)
    return _diagonal(x, integer_argument(offset, "diagonal", "offset", 2), first, second, "DiagonalBackward0")


def _embedded(x: Node, offset: int, first: int, second: int) -> Any:
    """Zeros with x on a diagonal of the plane of two axes."""
    *lead, n = x.shape
    m = n + abs(offset)
    ndim = len(lead) + 2
    start = (0,) * len(lead) + (offset if offset >= 0 else -offset * m,)
    flat = place(
        x, shape=(*lead, m * m), start=start if n else (0,) * (ndim - 1), step=(1,) * len(lead) + (m + 1,)
    )
    square = reshape(flat, shape=(*lead, m, m))
    rest = iter(range(ndim - 2))
    source = tuple(ndim - 2 if i == first else ndim - 1 if i == second else next(rest) for i in range(ndim))
    return rearrange(square, shape=tuple(square.shape[i] for i in source), source=source)


def _embed(x: Tensor, offset: Any, dim1: Any, dim2: Any, name: str) -> Tensor:
    if not x.ndim:
        dimension(dim1, 0), dimension(dim2, 0)
    first, second = _plane(x.ndim + 1, dim1, dim2)
    params = {"offset": integer_argument(offset, name, "offset", 2), "first": first, "second": second}
    return apply_function(_embedded, (x,), params, "DiagEmbedBackward0")  # type: ignore[no-any-return]


@define()
def diag_embed(input: Any, offset: Any = 0, dim1: Any = -2, dim2: Any = -1) -> Tensor:
    """Return matrices in the plane of two axes with the last axis on a diagonal, zeros elsewhere."""
    return _embed(require_tensor(input, "diag_embed"), offset, dim1, dim2, "diag_embed")


@define()
def diagflat(input: Any, offset: Any = 0) -> Tensor:
    """Return the matrix with all elements on a diagonal, zeros elsewhere."""
    return _embed(require_tensor(input, "diagflat").reshape((-1,)), offset, 0, 1, "diagflat")


@define(out=True)
def diag(input: Any, diagonal: Any = 0) -> Tensor:
    """Return the matrix with a vector on a diagonal, or a copy of a diagonal of a matrix.

    >>> import jitgrad
    >>> jitgrad.diag(jitgrad.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    x = require_tensor(input, "diag")
    if x.ndim not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {x.ndim}D")
    if x.ndim == 1:
        return _embed(x, diagonal, 0, 1, "diag")
    params = {"offset": integer_argument(diagonal, "diag", "diagonal", 2)}
    return apply_function(_copied_diagonal, (x,), params, "DiagonalBackward0_copy")  # type: ignore[no-any-return]


def _copied_diagonal(x: Node, offset: int) -> Any:
    return arrange.diagonal(x, offset)


@define()
def trace(input: Any) -> Tensor:
    """Return the sum of the diagonal of a matrix; integers add up as int64."""
    x = require_tensor(input, "trace")
    if x.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {x.ndim}")
    only_kinds("trace", "iufc", x._array.dtype)
    array = x._array.astype(np.int64, copy=False) if x._array.dtype.kind in "iu" else x._array
    return apply_function(_traced, (x,), {}, "TraceBackward0", [array])  # type: ignore[no-any-return]


def _traced(x: Node) -> Any:
    return arrange.trace(x)


# Windows --------------------------------------------------------------------------------------------------


def _first(array: Array) -> int:
    """Where an array starts in its memory, counted in elements."""
    first: int = offset_of(array) // array.dtype.itemsize
    return first


def _offsets(array: Array) -> Array:
    """Where each element lies in its memory, counted in elements."""
    found = np.asarray(_first(array), np.int64)
    for n, stride in zip(array.shape, array.strides, strict=True):
        found = found[..., None] + np.arange(n) * (stride // array.dtype.itemsize)
    return found


def _places(source: Array, array: Array) -> Array:
    """Which element of the source each element of an array on its memory is; its size where none is."""
    known, wanted = _offsets(source), _offsets(array)
    among = np.full(int(max(known.max(initial=-1), wanted.max(initial=-1))) + 1, source.size)
    among[known.ravel()] = np.arange(source.size)
    return among[wanted]


def _found(x: Node, places: Node) -> Any:
    flat = reshape(x, shape=(size_of(x),))
    blank = place(slice_(flat, start=(0,), step=(1,), size=(0,)), shape=(1,), start=(0,), step=(1,))
    return take(concatenate(flat, blank, axis=0), places, axis=0)


def _no_way_back() -> Steps:
    raise RuntimeError(
        "a view by as_strided or unfold cannot be written to while gradients are recorded; clone() it first"
    )


class _Lay(Way):
    """The way from a tensor to one on its memory with other strides."""

    __slots__ = ("offset", "shape", "strides")

    def __init__(self, shape: Shape, strides: Shape, offset: int, name: str) -> None:
        super().__init__(_no_way_back, name)
        self.shape, self.strides, self.offset = shape, strides, offset

    def __call__(self, source: Tensor) -> Tensor:
        root = root_of(source._array)
        flat = root if root.flags.c_contiguous else root.T
        array = on_memory(flat, self.shape, self.strides, self.offset)
        out = wrap(array)
        edges = edges_of((source,))
        if edges is not None and array.dtype.kind == "f":
            operands = (source, wrap(_places(source._array, array)))
            arrays = [t._array for t in operands]
            made = plan_of(_found, {}, arrays)
            record_plan(made, operands, arrays, self.name, (out,), (*edges, None))
        tie(out, source, self)
        return out


def _strided(x: Tensor, shape: Shape, strides: Shape, offset: Any, function: str) -> _Lay:
    if len(shape) != len(strides):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in strides):
        raise RuntimeError(
            f"as_strided: Negative strides are not supported at the moment, got strides: {list(strides)}"
        )
    if any(n < 0 for n in shape):
        raise RuntimeError(
            f"Storage size calculation overflowed with sizes={list(shape)} and strides={list(strides)}"
        )
    first = _first(x._array) if offset is None else int(offset)
    size, held = x._array.dtype.itemsize, root_of(x._array).size
    if first < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {first}")
    last = first + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    if 0 not in shape and last > held:
        raise RuntimeError(
            f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {first}, and itemsize "
            f"{size} requiring a storage size of {last * size} are out of bounds for storage of size "
            f"{held * size}"
        )
    return _Lay(shape, strides, first, function)


@define()
def as_strided(input: Any, size: Any, stride: Any, storage_offset: Any = None) -> Tensor:
    """Return a tensor on the same memory with these strides and offset, counted in elements.

    >>> import jitgrad
    >>> jitgrad.as_strided(jitgrad.arange(4), (3, 2), (1, 1))
    tensor([[0, 1],
            [1, 2],
            [2, 3]])
    """
    x = require_tensor(input, "as_strided")
    return _strided(x, tuple(size), tuple(stride), storage_offset, "AsStridedBackward0")(x)


@define(out=True)
def as_strided_scatter(input: Any, src: Any, size: Any, stride: Any, storage_offset: Any = None) -> Tensor:
    """Return a copy with other values where `as_strided` would look."""
    x, values = (
        require_tensor(input, "as_strided_scatter"),
        require_tensor(src, "as_strided_scatter", 2, "src"),
    )
    copy = wrap(np.array(x._array, order="C"))
    part = _strided(copy, tuple(size), tuple(stride), storage_offset, "")(copy)
    if part._array.shape != values._array.shape:
        raise RuntimeError(_UNFIT.format(list(values.shape), list(part.shape)))
    places = wrap(_places(copy._array, part._array))
    return _put(x, values, places)


def _put(x: Tensor, values: Tensor, places: Tensor) -> Tensor:
    arrays = [x._array, values._array.astype(x._array.dtype, copy=False), places._array]
    return apply_function(_written_at, (x, values, places), {}, "AsStridedScatterBackward0", arrays)  # type: ignore[no-any-return]


def _written_at(x: Node, values: Node, places: Node) -> Any:
    flat = reshape(x, shape=(size_of(x),))
    count = (size_of(values),)
    return reshape(
        put(flat, reshape(places, shape=count), reshape(values, shape=count), axis=0), shape=x.shape
    )


@define("unfold")
def _unfold(self: Tensor, dimension: Any, size: Any, step: Any) -> Tensor:
    """Return the view of all windows of a size along one axis, `step` apart, each along a new last axis."""
    axis, array = _axis(dimension, self.ndim), self._array
    n = array.shape[axis] if array.ndim else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {axis} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    shape, strides = list(array.shape), [s // array.dtype.itemsize for s in array.strides]
    along = strides[axis] if array.ndim else 1
    if array.ndim:
        shape[axis], strides[axis] = (n - size) // step + 1, along * step
    lay = _Lay((*shape, size), (*strides, along), _first(array), "UnfoldBackward0")
    return lay(self)


_axis = dimension


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


# Views written to copies ----------------------------------------------------------------------------------

_UNFIT = "expected src to have a size equal to the slice of self. src size = {}, slice size = {}"


def _replaced(x: Tensor, src: Any, part: Tensor, steps: Steps, name: str) -> Tensor:
    """A copy of x with other values in a part."""
    values = require_tensor(src, name, 2, "src")
    if values._array.shape != part._array.shape:
        raise RuntimeError(_UNFIT.format(list(values.shape), list(part.shape)))
    recorded = f"{name.title().replace('_', '')}Backward0"
    arrays = [x._array, values._array.astype(x._array.dtype, copy=False)]
    return apply_function(written, (x, values), {"steps": steps}, recorded, arrays)  # type: ignore[no-any-return]


def _steps_of(part: Tensor) -> Steps:
    """The steps by which a view was just made of a tensor."""
    assert part._view is not None
    return part._view.way[-1].steps  # type: ignore[no-any-return]


@define(out=True)
def select_scatter(input: Any, src: Any, dim: Any, index: Any) -> Tensor:
    """Return a copy with other values at one place of an axis."""
    x = require_tensor(input, "select_scatter")
    part = x.select(dim, index)
    return _replaced(x, src, part, _steps_of(part), "select_scatter")


@define(out=True)
def slice_scatter(
    input: Any, src: Any, dim: Any = 0, start: Any = None, end: Any = None, step: Any = 1
) -> Tensor:
    """Return a copy with other values in a slice of an axis."""
    x = require_tensor(input, "slice_scatter")
    axis = dimension(dim, x.ndim)
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    first, stop, by = slice(start, end, step).indices(x._array.shape[axis])
    array, way = window(x, axis, first, len(range(first, stop, by)), by)
    return _replaced(x, src, wrap(array), (way,), "slice_scatter")


@define(out=True)
def diagonal_scatter(input: Any, src: Any, offset: Any = 0, dim1: Any = 0, dim2: Any = 1) -> Tensor:
    """Return a copy with other values on a diagonal of the plane of two axes."""
    x = require_tensor(input, "diagonal_scatter")
    part = diagonal(x, offset, dim1, dim2)
    return _replaced(x, src, part, _steps_of(part), "diagonal_scatter")


@define(out=True)
def narrow_copy(input: Any, dim: Any, start: Any, length: Any) -> Tensor:
    """Return a copy of `length` places along one axis."""
    x = require_tensor(input, "narrow_copy")
    if not dim < max(x.ndim, 1):
        raise RuntimeError(
            "Expected dim < static_cast<int64_t>(self_sizes.size()) to be true, but got false."
        )
    part = x.detach().narrow(dim, start, length)
    return apply_function(read, (x,), {"steps": _steps_of(part)}, "NarrowCopyBackward0")  # type: ignore[no-any-return]
