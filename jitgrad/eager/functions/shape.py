"""Views that regroup, reorder, repeat or leave out axes: no element is copied."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.eager.define import define
from jitgrad.eager.functions.arithmetic import invalid_arguments
from jitgrad.eager.size import Size
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.eager.views import Step, by_steps, step, view
from jitgrad.ops.structure import rearrange, slice_
from jitgrad.ops.structure import reshape as reshape_op

__all__ = [
    "adjoint",
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
    "chunk",
    "dsplit",
    "flatten",
    "hsplit",
    "moveaxis",
    "movedim",
    "narrow",
    "permute",
    "ravel",
    "reshape",
    "select",
    "split",
    "split_with_sizes",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "tensor_split",
    "transpose",
    "unbind",
    "unflatten",
    "unsqueeze",
    "vsplit",
]

Shape = tuple[int, ...]


# Arguments ------------------------------------------------------------------------------------------------


def dimension(dim: Any, ndim: int) -> int:
    """A `dim` argument as a number from 0; IndexError out of range. A 0-d tensor counts as one axis."""
    n = max(ndim, 1)
    try:
        number = operator.index(dim)
    except TypeError:
        raise TypeError(f"dim must be int, not {type(dim).__name__}") from None
    if not -n <= number < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {number})"
        )
    return number % n


def sizes(given: Sequence[Any]) -> Shape:
    """Sizes given as ints or as one sequence."""
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = given[0]
    try:
        return tuple(operator.index(n) for n in given)
    except TypeError:
        wrong = next(n for n in given if not hasattr(n, "__index__"))
        raise TypeError(
            f"sizes must be a tuple of ints, but found element of type {type(wrong).__name__}"
        ) from None


def inferred(shape: Shape, count: int) -> Shape:
    """A shape whose one -1 is replaced by the size that makes `count` elements."""
    unknown = [i for i, n in enumerate(shape) if n == -1]
    if any(n < -1 for n in shape):
        raise RuntimeError(f"invalid shape dimension {min(shape)}")
    if len(unknown) > 1:
        raise RuntimeError("only one dimension can be inferred")
    known = math.prod(n for n in shape if n != -1)
    if unknown:
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified "
                "dimension size -1 can be any value and is ambiguous"
            )
        if count % known == 0:
            return tuple(count // known if n == -1 else n for n in shape)
    elif known == count:
        return shape
    raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {count}")


def _step(shape: Shape, source: Sequence[int | None]) -> tuple[Step]:
    return (step(rearrange, shape=tuple(shape), source=tuple(source)),)


# Reordering axes ------------------------------------------------------------------------------------------


def _permuted(x: Tensor, order: Sequence[int], name: str) -> Tensor:
    a = x._array.transpose(order)
    return view(x, a, _step(a.shape, order), name)


@define()
def permute(input: Tensor, *dims: Any) -> Tensor:
    """Return a view with its axes in another order."""
    x = require_tensor(input, "permute")
    given = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    if len(given) != x.ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the "
            f"desired ordering of dimensions i.e. input.dim() = {x.ndim} is not equal to len(dims) = "
            f"{len(given)}"
        )
    order = [dimension(d, x.ndim) for d in given]
    if len(set(order)) != len(order):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return _permuted(x, order, "PermuteBackward0")


def _swapped(x: Tensor, dim0: Any, dim1: Any, name: str) -> Tensor:
    first, second = dimension(dim0, x.ndim), dimension(dim1, x.ndim)
    order = list(range(x.ndim))
    if order:
        order[first], order[second] = second, first
    return _permuted(x, order, name)


@define("transpose", "swapaxes", "swapdims")
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return a view with two axes exchanged."""
    return _swapped(require_tensor(input, "transpose"), dim0, dim1, "TransposeBackward0")


swapaxes = swapdims = transpose


@define()
def t(input: Tensor) -> Tensor:
    """Return the transpose of a matrix; vectors and scalars stay as they are."""
    x = require_tensor(input, "t")
    if x.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {x.ndim}D")
    return _permuted(x, tuple(reversed(range(x.ndim))), "TBackward0")


@define("movedim", "moveaxis")
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Return a view with some axes at other places; the others keep their order."""
    x = require_tensor(input, "movedim")
    given, wanted = ([v] if isinstance(v, int) else list(v) for v in (source, destination))
    if len(given) != len(wanted):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source "
            f"({given} dims) should contain the same number of dims as destination ({wanted} dims)"
        )
    old, new = ([dimension(d, x.ndim) for d in v] for v in (given, wanted))
    for axes, listed, argument in ((old, given, "source"), (new, wanted, "destination")):
        if len(set(axes)) != len(axes):
            raise RuntimeError(f"movedim: repeated dim in `{argument}` ({listed})")
    order: list[int] = [i for i in range(x.ndim) if i not in old]
    for place, axis in sorted(zip(new, old, strict=True)):
        order.insert(place, axis)
    return _permuted(x, order, "PermuteBackward0")


moveaxis = movedim


# Axes of size 1 -------------------------------------------------------------------------------------------


@define()
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Return a view with a new axis of size 1."""
    x = require_tensor(input, "unsqueeze")
    place = dimension(dim, x.ndim + 1)
    a = np.expand_dims(x._array, place)
    source: list[int | None] = list(range(x.ndim))
    source.insert(place, None)
    return view(x, a, _step(a.shape, source), "UnsqueezeBackward0")


@define()
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Return a view without axes of size 1: all of them, or those of `dim` that have it."""
    x = require_tensor(input, "squeeze")
    if dim is None:
        axes, number = list(range(x.ndim)), 0
    else:
        given = dim if isinstance(dim, (tuple, list)) else (dim,)
        axes, number = [dimension(d, x.ndim) for d in given], 2 if isinstance(dim, (tuple, list)) else 1
        if len(set(axes)) != len(given):
            raise RuntimeError("dim appears multiple times in the list of dims")
    kept = [i for i, n in enumerate(x._array.shape) if n != 1 or i not in axes]
    shape = tuple(x._array.shape[i] for i in kept)
    return view(x, x._array.reshape(shape), _step(shape, kept), f"SqueezeBackward{number}")


# Repeating without copying --------------------------------------------------------------------------------


@define()
def expand(input: Tensor, *size: Any, implicit: bool = False) -> Tensor:
    """Return a view that repeats axes of size 1; -1 leaves a size as it is."""
    x = require_tensor(input, "expand")
    wanted, own = sizes(size), x._array.shape
    lead = len(wanted) - len(own)
    if lead < 0:
        raise RuntimeError(
            f"expand({_type(x)}{{{list(own)}}}, size={list(wanted)}): the number of sizes provided "
            f"({len(wanted)}) must be greater or equal to the number of dimensions in the tensor ({len(own)})"
        )
    shape = tuple(own[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(wanted))
    for i, n in enumerate(shape):
        if n < 0:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) isn't allowed in a leading, non-existing dimension "
                f"{i}"
            )
        if i >= lead and own[i - lead] not in (1, n):
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({own[i - lead]}) at "
                f"non-singleton dimension {i}.  Target sizes: {list(shape)}.  Tensor sizes: {list(own)}"
            )
    source = [None if i < lead or own[i - lead] != n else i - lead for i, n in enumerate(shape)]
    return by_steps(x, _step(shape, source), "ExpandBackward0")


def _type(x: Tensor) -> str:
    return f"torch.{x.dtype.name}"


@define()
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Return a view expanded to another tensor's shape."""
    return expand(input, tuple(other.shape))


@define()
def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """Return a view broadcast to a shape."""
    return expand(input, tuple(size))


# Regrouping -----------------------------------------------------------------------------------------------


def _reshaped(x: Tensor, shape: Shape, name: str) -> Tensor:
    return view(x, x._array.reshape(shape), (step(reshape_op, shape=shape),), name)


@define("view")
def _view(input: Tensor, *shape: Any) -> Tensor:
    """Return a view of another shape, or another dtype of the same bits; RuntimeError if it would copy."""
    if len(shape) == 1 and hasattr(shape[0], "numpy") and not isinstance(shape[0], Tensor):
        return _reinterpreted(input, shape[0].numpy)
    wanted = inferred(sizes(shape), input._array.size)
    reshaped = input._array.view()
    try:
        reshaped = np.reshape(input._array, wanted, copy=False)
    except ValueError:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans "
            "across two contiguous subspaces). Use .reshape(...) instead."
        ) from None
    return view(input, reshaped, (step(reshape_op, shape=wanted),), "ViewBackward0")


def _reinterpreted(x: Tensor, dtype: np.dtype[Any]) -> Tensor:
    out = x.detach()
    out._array = x._array.view(dtype)
    return out


@define()
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """Return a view of another tensor's shape."""
    return _view(input, tuple(other.shape))


@define()
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """Return the elements in another shape: a view where the memory allows it, else a copy."""
    x = require_tensor(input, "reshape")
    wanted = inferred(sizes(shape), x._array.size)
    out = _reshaped(x, wanted, "ViewBackward0")
    if out._view is None and out._edge is not None:
        return _reshaped(x, wanted, "UnsafeViewBackward0")
    return out


@define()
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """Return the elements in another tensor's shape."""
    return reshape(input, tuple(other.shape))


@define()
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return the elements with a run of axes made one."""
    x = require_tensor(input, "flatten")
    first, last = dimension(start_dim, x.ndim), dimension(end_dim, x.ndim)
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    own = x._array.shape
    if not own:
        return reshape(x, (1,))
    if first == last:
        return x
    return reshape(x, (*own[:first], math.prod(own[first : last + 1]), *own[last + 1 :]))


@define()
def ravel(input: Tensor) -> Tensor:
    """Return the elements in one axis."""
    x = require_tensor(input, "ravel")
    return reshape(x, (-1,)) if x._array.size else reshape(x, (0,))


@define()
def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """Return a view with one axis split into several."""
    x = require_tensor(input, "unflatten")
    axis = dimension(dim, x.ndim)
    own = x._array.shape
    try:
        split = inferred(tuple(sizes), own[axis])
    except RuntimeError:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {axis} "
            f"({own[axis]}) in the input tensor"
        ) from None
    return reshape(x, (*own[:axis], *split, *own[axis + 1 :]))


# Parts ----------------------------------------------------------------------------------------------------


def window(x: Tensor, axis: int, start: int, size: int, stride: int = 1) -> tuple[Any, Step]:
    """The array of a window along one axis, and the step that leads to it."""
    own = x._array.shape
    place = (slice(None),) * axis + (slice(start, start + size * stride, stride),)
    starts = tuple(start if i == axis else 0 for i in range(len(own)))
    strides = tuple(stride if i == axis else 1 for i in range(len(own)))
    array = x._array[place]
    return array, step(slice_, start=starts, step=strides, size=array.shape)


@define()
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """Return the view of `length` places along one axis."""
    x = require_tensor(input, "narrow")
    if not x.ndim:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    axis = dimension(dim, x.ndim)
    if isinstance(start, Tensor) and (start.ndim or start.dtype.kind not in "iu"):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    n, first = x._array.shape[axis], int(start)
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= first <= n:
        raise IndexError(f"start out of range (expected to be in range of [{-n}, {n}], but got {first})")
    first += n if first < 0 else 0
    if first + length > n:
        raise RuntimeError(f"start ({first}) + length ({length}) exceeds dimension size ({n}).")
    array, way = window(x, axis, first, length)
    return view(x, array, (way,), "SliceBackward0")


@define()
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Return the view at one place of an axis, without that axis."""
    x = require_tensor(input, "select")
    if not x.ndim:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    axis, own = dimension(dim, x.ndim), x._array.shape
    if not -own[axis] <= index < own[axis]:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(own)} at dimension {axis}"
        )
    return _selected(x, axis, int(index) % own[axis], "SelectBackward0")


def _selected(x: Tensor, axis: int, index: int, name: str) -> Tensor:
    array, way = window(x, axis, index, 1)
    kept = [i for i in range(x.ndim) if i != axis]
    (dropped,) = _step(tuple(array.shape[i] for i in kept), kept)
    return view(x, x._array[(slice(None),) * axis + (index, ...)], (way, dropped), name)


def several(parts: Sequence[Tensor], name: str) -> tuple[Tensor, ...]:
    """Views that one function made together, which may not be written to while recorded."""
    for part in parts:
        if part._view is not None and part._edge is not None:
            part._view.multiple = name
    return tuple(parts)


@define()
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Return the views along one axis, without that axis."""
    x = require_tensor(input, "unbind")
    if not x.ndim:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    axis = dimension(dim, x.ndim)
    name = "UnbindBackward0"
    return several([_selected(x, axis, i, name) for i in range(x._array.shape[axis])], name)


def pieces(x: Tensor, axis: int, lengths: Sequence[int], name: str) -> tuple[Tensor, ...]:
    """Neighbouring windows of these lengths along one axis."""
    found, start = [], 0
    for n in lengths:
        array, way = window(x, axis, start, n)
        found.append(view(x, array, (way,), name))
        start += n
    return several(found, name)


@define()
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of equal length (the last may be shorter), or of the given lengths, along one axis."""
    x = require_tensor(tensor, "split", argument="tensor")
    if not x.ndim:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    axis = dimension(dim, x.ndim)
    n = x._array.shape[axis]
    if isinstance(split_size_or_sections, int):
        return pieces(x, axis, _equal_lengths(n, split_size_or_sections), "SplitBackward0")
    lengths = [int(s) for s in split_size_or_sections]
    return split_with_sizes(x, lengths, axis)


@define()
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of the given lengths along one axis."""
    axis = dimension(dim, input.ndim)
    n = input._array.shape[axis]
    if any(s < 0 for s in split_sizes) or sum(split_sizes) != n:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension "
            f"{axis}), but got split_sizes={list(split_sizes)}"
        )
    return pieces(input, axis, split_sizes, "SplitWithSizesBackward0")


def _equal_lengths(n: int, size: int) -> list[int]:
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    if size == 0:
        if n == 0:
            return [0]
        raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
    return [min(size, n - start) for start in range(0, n, size)] or [0]


@define()
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Return at most `chunks` views of equal length (the last may be shorter) along one axis."""
    x = require_tensor(input, "chunk")
    if not x.ndim:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    axis = dimension(dim, x.ndim)
    n = x._array.shape[axis]
    if n == 0:
        return pieces(x, axis, [0] * chunks, "SplitWithSizesBackward0")
    return pieces(x, axis, _equal_lengths(n, -(-n // chunks)), "SplitBackward0")


@define()
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of nearly equal length, or between the given places, along one axis."""
    x = require_tensor(input, "tensor_split")
    if not x.ndim:
        raise RuntimeError("tensor_split expected at least one dimension, but got a tensor with 0 dims")
    axis = dimension(dim, x.ndim)
    n = x._array.shape[axis]
    given = indices_or_sections
    if isinstance(given, Tensor):
        given = given._array.tolist()
    if isinstance(given, int):
        if given <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {given}")
        bounds = [n * i // given if n % given == 0 else _uneven(n, given, i) for i in range(given + 1)]
    else:
        bounds = [0, *(slice(None, int(i)).indices(n)[1] for i in given), n]
    found = []
    for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
        array, way = window(x, axis, start, max(stop - start, 0))
        found.append(view(x, array, (way,), "SliceBackward0"))
    return tuple(found)


def _uneven(n: int, sections: int, i: int) -> int:
    return i * (n // sections) + min(i, n % sections)


def _split_along(name: str, axis_of: Any, least: int) -> Any:
    def function(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
        x = require_tensor(input, name)
        if isinstance(indices_or_sections, str):
            raise invalid_arguments(name, input, indices_or_sections)
        if x.ndim < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with "
                f"{x.ndim} dimensions!"
            )
        axis = axis_of(x.ndim)
        if isinstance(indices_or_sections, int) and (
            indices_or_sections <= 0 or x._array.shape[axis] % indices_or_sections
        ):
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {axis}, but the size of the dimension "
                f"{x._array.shape[axis]} is not divisible by the split_size {indices_or_sections}!"
            )
        result: tuple[Tensor, ...] = tensor_split(x, indices_or_sections, axis)
        return result

    function.__name__ = name
    return define(name)(function)


hsplit = _split_along("hsplit", lambda ndim: 0 if ndim == 1 else 1, 1)
vsplit = _split_along("vsplit", lambda ndim: 0, 2)
dsplit = _split_along("dsplit", lambda ndim: 2, 3)


# Attributes -----------------------------------------------------------------------------------------------


def _reversed(x: Tensor) -> Tensor:
    return _permuted(x, tuple(reversed(range(x.ndim))), "PermuteBackward0")


def _transposed_matrices(x: Tensor, name: str) -> Tensor:
    if x.ndim == 0 and name in ("H", "adjoint()"):
        return x
    if x.ndim < 2:
        raise RuntimeError(
            f"tensor.{name} is only supported on matrices or batches of matrices. Got {x.ndim}-D tensor."
        )
    out = _swapped(x, -2, -1, "TransposeBackward0")
    return out.conj() if x._array.dtype.kind == "c" and name != "mT" else out


@define()
def adjoint(input: Tensor) -> Tensor:
    """Return the conjugate transposes of matrices: for real ones a view with the last two axes exchanged."""
    return _transposed_matrices(require_tensor(input, "adjoint"), "adjoint()")


setattr(Tensor, "T", property(_reversed))  # noqa: B010
for _name in ("mT", "mH", "H"):
    setattr(Tensor, _name, property(functools.partial(_transposed_matrices, name=_name)))


def broadcast_shapes(*shapes: Any) -> Size:
    """Return the shape that shapes broadcast to; RuntimeError if they do not."""
    given = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    try:
        return Size(np.broadcast_shapes(*given))
    except ValueError:
        raise RuntimeError(
            f"Shape mismatch: objects cannot be broadcast to a single shape: {', '.join(map(str, given))}"
        ) from None


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Return views of the tensors, all expanded to one shape."""
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    shape = broadcast_shapes(*(x.shape for x in given))
    return tuple(expand(x, tuple(shape)) for x in given)
