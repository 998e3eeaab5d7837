"""Windows and other views by strides: tensors that see the same memory in another way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function, edges_of
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.diagonals import UNFIT
from jitgrad.eager.functions.factory import on_memory
from jitgrad.eager.functions.memory import offset_of, root_of
from jitgrad.eager.functions.places import flattened
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.functions.writing import overwritten
from jitgrad.eager.modes import state
from jitgrad.eager.tape import Record, named
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.eager.views import Steps, Way, tie
from jitgrad.ops.gather import scatter_add
from jitgrad.ops.structure import reshape, slice_

__all__ = [
    "as_strided",
    "as_strided_scatter",
]

Shape = tuple[int, ...]


# Windows --------------------------------------------------------------------------------------------------


def _first(array: Array) -> int:
    """Where an array starts in its memory, counted in elements."""
    first: int = offset_of(array) // array.dtype.itemsize
    return first


Layout = tuple[Shape, Shape, int]  # shape, strides and offset, counted in elements


def _layout(array: Array) -> Layout:
    return array.shape, tuple([s // array.dtype.itemsize for s in array.strides]), _first(array)


def _offsets(layout: Layout) -> Array:
    """Where each element lies in its memory, counted in elements."""
    shape, strides, first = layout
    found = np.asarray(first, np.int64)
    for n, stride in zip(shape, strides, strict=True):
        found = found[..., None] + np.arange(n) * stride
    return found


def _places(source: Layout, other: Layout) -> Array:
    """Which element of a source each element on its memory is; the source's size where none is."""
    known, wanted = _offsets(source), _offsets(other)
    among = np.full(int(max(known.max(initial=-1), wanted.max(initial=-1))) + 1, known.size)
    among[known.ravel()] = np.arange(known.size)
    return among[wanted]


def _gathered_back(g: Any, places: Any, shape: Shape) -> Any:
    """The cotangent of a source of this shape, from that of the elements at places of it."""
    n = math.prod(shape)
    total = scatter_add(flattened(g), flattened(places), axis=0, size=n + 1)
    return reshape(slice_(total, start=(0,), step=(1,), size=(n,)), shape=shape)


class StridedRecord(Record):
    """A view by strides on the tape; where it leads is worked out when its gradient is wanted."""

    _source: Layout
    _lay: Layout

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        places = _places(self._source, self._lay)
        return (state.compute(_gathered_back, grads[0], places, self._source[0]),)

    def backward_recorded(self, grads: list[Any]) -> Sequence[Any]:
        operands = (grads[0], wrap(_places(self._source, self._lay)))
        name = f"{self.name().rstrip('0123456789')}Backward0"
        return (apply_function(_gathered_back, operands, {"shape": self._source[0]}, name),)


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
            record: Any = named(StridedRecord, self.name)(edges, ((array.shape, array.dtype),))
            record._source, record._lay = _layout(source._array), (self.shape, self.strides, self.offset)
            out._edge = (record, 0)
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
        raise RuntimeError(UNFIT.format(list(values.shape), list(part.shape)))
    places = _places(_layout(copy._array), _layout(part._array))
    return overwritten(x, values, places, "AsStridedScatterBackward0")


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
