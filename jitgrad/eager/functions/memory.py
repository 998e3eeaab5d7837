"""The memory that a tensor shares with its views: where it lies in it, and the memory itself as bytes."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from jitgrad.eager.dtypes import Array

Shape = tuple[int, ...]


def root_of(array: Array) -> Array:
    """The array that holds the memory on which another lies."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def strides_of(array: Array) -> Shape:
    """The strides of an array, counted in elements; of an empty one, as if its elements lay in order."""
    if array.size == 0:
        strides = [1] * array.ndim
        for i in range(array.ndim - 2, -1, -1):
            strides[i] = strides[i + 1] * max(array.shape[i + 1], 1)
        return tuple(strides)
    size = array.dtype.itemsize
    return tuple([s // size for s in array.strides])


def offset_of(array: Array) -> int:
    """Where an array starts in the memory of its root, counted in bytes."""
    start: int = array.ctypes.data - root_of(array).ctypes.data
    return start if array.size else 0


class UntypedStorage:
    """The memory of a tensor, which its views share, as bytes.

    While it is referred to, all tensors on this memory give the same object.
    """

    bytes: Array

    def __init__(self, bytes: Array, root: Array | None = None) -> None:
        self.bytes = bytes
        self.root = bytes if root is None else root
        _ALIVE[id(self.root)] = self

    def array(self, dtype: Any, offset: int, shape: Shape, strides: Shape) -> Array:
        """An array on this memory: the offset counts bytes, the strides elements."""
        size = np.dtype(dtype).itemsize
        return np.ndarray(shape, dtype, self.bytes, offset, tuple([s * size for s in strides]))

    def data_ptr(self) -> int:
        return self.bytes.ctypes.data

    def nbytes(self) -> int:
        return self.bytes.size

    size = __len__ = nbytes

    def __getitem__(self, place: int) -> int:
        return int(self.bytes[place])

    def tolist(self) -> list[int]:
        return self.bytes.tolist()  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: Any) -> UntypedStorage:
        return UntypedStorage(self.bytes.copy())

    def __reduce__(self) -> tuple[Any, ...]:
        return UntypedStorage, (self.bytes,)


_ALIVE: WeakValueDictionary[int, UntypedStorage] = WeakValueDictionary()


def storage_of(array: Array) -> UntypedStorage:
    """The memory of an array's root."""
    root = root_of(array)
    return _ALIVE.get(id(root)) or UntypedStorage(_bytes(root), root)


def _bytes(root: Array) -> Array:
    """The memory from the first element to the last, gaps included."""
    if root.flags.c_contiguous:
        return root.reshape(-1).view(np.uint8)
    size = root.dtype.itemsize
    last = sum((n - 1) * s for n, s in zip(root.shape, root.strides, strict=True))
    count = last // size + 1 if root.size else 0
    return np.lib.stride_tricks.as_strided(root, (count,), (size,)).view(np.uint8)
