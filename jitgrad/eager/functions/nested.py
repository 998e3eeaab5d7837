"""Python numbers, nested sequences and other libraries' arrays to NumPy arrays of a tensor's dtype."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.factory import order_of
from jitgrad.eager.modes import state
from jitgrad.eager.tensor import Tensor

NumpyDtype = np.dtype[Any]

SLOW = (
    "Creating a tensor from a list of numpy.ndarrays is extremely slow. Please consider converting the list "
    "to a single numpy.ndarray with numpy.array() before converting to a tensor."
)


def array_from(data: Any, dtype: NumpyDtype | None) -> Array:
    """The values of `data` in an array of its own, in the dtype given or inferred.

    Raises TypeError, ValueError or RuntimeError, as PyTorch does, where they are no numbers, where sequences
    have different lengths and where a number does not fit.
    """
    if isinstance(data, (Tensor, np.ndarray)):
        return copied(data, dtype)
    if isinstance(data, (bool, int, float, complex, np.generic)):
        return _filled([data], (), dtype)
    if hasattr(data, "__array__"):
        return copied(np.asarray(data), dtype)
    if isinstance(data, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    if not is_sequence(data):
        raise no_dtype(data)
    if _all_arrays(data):
        return _stacked(data, dtype)
    shape = shape_of(data)
    return _filled(_leaves(data, shape), shape, dtype)


def copied(data: Any, dtype: NumpyDtype | None) -> Array:
    """A copy of a tensor's or an array's values, with its strides if it is dense."""
    array = data._array if isinstance(data, Tensor) else supported(data)
    return state.compute(np.array, array, dtype or array.dtype, order=order_of(array))


def supported(array: Array) -> Array:
    """The array, if a tensor can share its memory.

    Raises TypeError for its dtype, ValueError for its byte order or negative strides.
    """
    found = dtypes.of(array.dtype)
    if not array.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion between byte "
            "orders is currently not supported."
        )
    if any(stride < 0 for stride in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides "
            "are not currently supported. (You can probably work around this by making a copy of your array "
            " with array.copy().) "
        )
    if any(stride % array.dtype.itemsize for stride in array.strides):
        raise ValueError(
            "given numpy array strides not a multiple of the element byte size. Copy the numpy array to "
            "reallocate the memory."
        )
    return array if array.dtype is found.numpy else array.view(found.numpy)


def is_sequence(data: Any) -> bool:
    kind = type(data)
    return hasattr(kind, "__getitem__") and hasattr(kind, "__len__") and not isinstance(data, (dict, Tensor))


def no_dtype(data: Any) -> RuntimeError:
    return RuntimeError(f"Could not infer dtype of {type(data).__name__}")


# Nested sequences -----------------------------------------------------------------------------------------


def _all_arrays(data: Any) -> bool:
    if not isinstance(data, (list, tuple)) or not data or not isinstance(data[0], np.ndarray):
        return False
    shape = data[0].shape
    return bool(shape) and all(isinstance(a, np.ndarray) and a.shape == shape for a in data)


def _stacked(arrays: Sequence[Array], dtype: NumpyDtype | None) -> Array:
    warnings.warn(SLOW, UserWarning, stacklevel=4)
    common = supported(arrays[0]).dtype
    for a in arrays[1:]:
        common = dtypes.promote(common, supported(a).dtype)
    stacked: Array = state.compute(np.stack, arrays)
    return state.compute(stacked.astype, dtype or common)


def shape_of(data: Any) -> tuple[int, ...]:
    """The shape of a nested sequence, read along its first items."""
    shape = []
    while is_sequence(data):
        if isinstance(data, (str, bytes)):
            raise ValueError(f"too many dimensions '{type(data).__name__}'")
        shape.append(len(data))
        if not shape[-1]:
            break
        data = data[0]
    return tuple(shape)


def _leaves(data: Any, shape: tuple[int, ...]) -> list[Any]:
    """The items of a nested sequence of a shape; ValueError where it is ragged."""
    level = list(data)
    for axis, n in enumerate(shape[1:], 1):
        if any(isinstance(item, np.ndarray) for item in level):
            warnings.warn(SLOW, UserWarning, stacklevel=4)
        for item in level:
            if not is_sequence(item):
                if not n:
                    continue
                raise TypeError("not a sequence")
            if len(item) != n and n:
                raise ValueError(f"expected sequence of length {n} at dim {axis} (got {len(item)})")
        level = list(chain.from_iterable(level)) if n else []
    return level


def _filled(leaves: list[Any], shape: tuple[int, ...], dtype: NumpyDtype | None) -> Array:
    kinds = set(map(type, leaves))
    if not kinds <= _PLAIN:
        if dtype is None:
            dtype = _inferred(leaves)
        leaves = [_number(leaf, dtype) for leaf in leaves]
        kinds = set(map(type, leaves))
    elif dtype is None:
        dtype = _dtype_of(kinds)
    if dtype.kind in "iu":
        array = _integers(leaves, kinds, dtype)
    elif dtype.kind == "f" and complex in kinds:
        raise TypeError("must be real number, not complex")
    else:
        array = state.compute(np.array, leaves, dtype)
    return array.reshape(shape)


_PLAIN = {bool, int, float, complex}


def _dtype_of(kinds: set[type]) -> NumpyDtype:
    if complex in kinds:
        return dtypes.DEFAULT.floating.to_complex().numpy
    if float in kinds or not kinds:
        return dtypes.DEFAULT.floating.numpy
    return dtypes.int64.numpy if int in kinds else dtypes.bool_.numpy


def _inferred(leaves: list[Any]) -> NumpyDtype:
    found: NumpyDtype | None = None
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            given = leaf._array.dtype
        elif isinstance(leaf, np.generic):
            given = dtypes.of(leaf.dtype).numpy
        elif isinstance(leaf, (bool, int, float, complex)):
            given = dtypes.default_of(leaf)
        elif isinstance(leaf, (str, bytes)):
            raise TypeError(f"new(): invalid data type '{type(leaf).__name__}'")
        elif is_sequence(leaf):
            given = _inferred(list(leaf))
        else:
            raise no_dtype(leaf)
        found = given if found is None else dtypes.promote(found, given)
    return found or dtypes.DEFAULT.floating.numpy


def _number(leaf: Any, dtype: NumpyDtype) -> Any:
    """A leaf as a Python number."""
    if isinstance(leaf, (bool, int, float, complex)):
        return leaf
    if isinstance(leaf, np.generic):
        return leaf.item()
    if isinstance(leaf, Tensor):
        if leaf._array.size != 1:
            if dtype.kind in "iu":
                raise TypeError("only integer tensors of a single element can be converted to an index")
            raise ValueError("only one element tensors can be converted to Python scalars")
        return leaf._array.item()
    name = type(leaf).__name__
    if dtype.kind in "biu":
        raise TypeError(
            "an integer is required"
            if dtype == np.uint64
            else f"'{name}' object cannot be interpreted as an integer"
        )
    raise TypeError(f"must be real number, not {name}")


def _integers(leaves: list[Any], kinds: set[type], dtype: NumpyDtype) -> Array:
    """Numbers in an integer dtype; RuntimeError for those it cannot hold, but unsigned ones wrap around."""
    if dtype == np.uint64 and not kinds <= {bool, int}:
        raise TypeError("an integer is required")
    if complex in kinds:
        raise TypeError("'complex' object cannot be interpreted as an integer")
    limits = np.iinfo(dtype)
    if float in kinds:
        if any(isinstance(x, float) and not limits.min <= x <= limits.max for x in leaves):
            raise overflow(dtype)
        leaves = [int(x) for x in leaves]
    if dtype == np.uint64:
        return np.array(leaves, dtype)
    try:
        wide = np.array(leaves, np.int64)
    except OverflowError:
        raise ValueError("Overflow when unpacking long long") from None
    lowest = limits.min if dtype.kind == "i" else -limits.max
    if wide.size and (wide.min() < lowest or wide.max() > limits.max):
        raise overflow(dtype)
    return wide.astype(dtype)


def overflow(dtype: NumpyDtype) -> RuntimeError:
    return RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
