"""What the functions that make tensors share: their arguments for size, dtype, device and memory layout."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.device import checked
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.operands import scalar_type
from jitgrad.eager.modes import state
from jitgrad.eager.tensor import Tensor, version_of, wrap

Shape = tuple[int, ...]
NumpyDtype = np.dtype[Any]

__all__ = [
    "channels_last",
    "channels_last_3d",
    "contiguous_format",
    "layout",
    "memory_format",
    "preserve_format",
    "sparse_coo",
    "strided",
]


class memory_format:
    """An order of a tensor's elements in memory."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class layout(memory_format):
    """A way to store a tensor; there are strided ones only."""

    __slots__ = ()


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
strided = layout("strided")
sparse_coo = layout("sparse_coo")


# Arguments ------------------------------------------------------------------------------------------------


def dtype_argument(given: Any, function: str) -> NumpyDtype | None:
    """The NumPy dtype for a `dtype=` argument; TypeError for what is none."""
    if given is None:
        return None
    if isinstance(given, dtypes.dtype):
        return given.numpy
    if given in _PYTHON:
        return _PYTHON[given]
    raise TypeError(f"{function}(): argument 'dtype' must be torch.dtype, not {type(given).__name__}")


_PYTHON: dict[Any, NumpyDtype] = {t: np.dtype(t) for t in (bool, int, float, complex)}


def shape_argument(size: Sequence[Any], function: str) -> Shape:
    """The shape from sizes given one by one or as one sequence."""
    first = size[0] if size else ()
    one_by_one = not isinstance(first, (tuple, list))
    if not one_by_one:
        if len(size) > 1:
            raise TypeError(f"{function}() takes 1 positional argument but {len(size)} were given")
        size = first
    shape = tuple(
        [n if n.__class__ is int else _extent(n, i, function, one_by_one) for i, n in enumerate(size, 1)]
    )
    if shape and min(shape) < 0:
        if function == "zeros":
            raise RuntimeError("zeros: Dimension size must be non-negative.")
        raise negative_dimension(shape)
    return shape


def negative_dimension(shape: Shape) -> RuntimeError:
    lowest = next(n for n in shape if n < 0)
    return RuntimeError(f"Trying to create tensor with negative dimension {lowest}: {list(shape)}")


def _extent(n: Any, position: int, function: str, one_by_one: bool) -> int:
    if not isinstance(n, (bool, float)):
        try:
            return operator.index(n)
        except TypeError:
            pass
    kind = type(n).__name__
    if one_by_one and position == 1:
        raise TypeError(f"{function}(): argument 'size' (position 1) must be tuple of ints, not {kind}")
    raise TypeError(
        f"{function}(): argument 'size' failed to unpack the object at pos {position} with error \"type must "
        f'be tuple of ints,but got {kind}"'
    )


def number_argument(value: Any, function: str, argument: str, position: int) -> Any:
    """A Python number from a number, a NumPy scalar or a 0-d tensor; TypeError for anything else."""
    if isinstance(value, Tensor) and value._array.ndim == 0:
        return value._array.item()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dtypes.Number):
        return value
    kind = type(value).__name__
    raise TypeError(f"{function}(): argument '{argument}' (position {position}) must be Number, not {kind}")


def integer_argument(value: Any, function: str, argument: str, position: int) -> int:
    """A Python integer; TypeError for anything that is none."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{function}(): argument '{argument}' (position {position}) must be int, not "
            f"{type(value).__name__}"
        ) from None


# Making ---------------------------------------------------------------------------------------------------


def factory(function: Callable[..., Array]) -> Callable[..., Tensor]:
    """From a function that makes an array of a dtype (or of None, to choose) one that makes a tensor.

    It has the keywords out, dtype, layout, device, requires_grad and pin_memory besides its own.
    """
    name = function.__name__.strip("_")

    @functools.wraps(function)
    def make(
        *args: Any,
        out: Tensor | None = None,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        if device is not None:
            checked(device)
        if layout is not None and layout is not strided:
            raise RuntimeError(f"{name}(): only strided tensors are available, got layout={layout!r}")
        wanted = dtype_argument(dtype, name)
        if out is None:
            return made(function(*args, dtype=wanted, **kwargs), requires_grad)
        given = out._array.dtype
        if wanted is not None and wanted != given:
            names = scalar_type(wanted), scalar_type(given)
            raise RuntimeError("dtype {} does not match dtype of out parameter ({})".format(*names))
        return _written(out, function(*args, dtype=given, **kwargs))

    make.__name__ = make.__qualname__ = name
    return make


def made(array: Array, requires_grad: bool = False) -> Tensor:
    """A leaf on an array; RuntimeError if it is to require a gradient that it cannot have."""
    out = wrap(array)
    if requires_grad:
        if array.dtype.kind not in "fc":
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        out._requires = True
    return out


def _written(out: Tensor, array: Array) -> Tensor:
    if out._array.shape == array.shape:
        state.compute(np.copyto, out._array, array, "unsafe")
    else:
        out._array = state.compute(array.astype, out._array.dtype)
    version_of(out)[0] += 1
    return out


# Memory ---------------------------------------------------------------------------------------------------


def blank(shape: Shape, dtype: NumpyDtype, memory_format: Any = None) -> Array:
    """An array with elements not set, in a memory format."""
    if memory_format in (None, contiguous_format, preserve_format):
        return np.empty(shape, dtype)
    rank = 4 if memory_format is channels_last else 5
    if len(shape) != rank:
        raise RuntimeError(f"required rank {rank} tensor to use {memory_format.name} format")
    return np.moveaxis(np.empty((shape[0], *shape[2:], shape[1]), dtype), -1, 1)


def blank_like(array: Array, dtype: NumpyDtype | None = None, memory_format: Any = None) -> Array:
    """An array with elements not set, of another's shape and, unless told otherwise, order in memory."""
    if memory_format in (None, preserve_format):
        return np.empty_like(array, dtype, order_of(array))
    return blank(array.shape, dtype or array.dtype, memory_format)


def in_format(array: Array, memory_format: Any) -> bool:
    """Whether an array's elements lie as a memory format asks for, as far as its shape has such an order."""
    if memory_format in (channels_last, channels_last_3d):
        rank = 4 if memory_format is channels_last else 5
        return array.ndim == rank and bool(np.moveaxis(array, 1, -1).flags.c_contiguous)
    return bool(array.flags.c_contiguous)


def copied(array: Array, dtype: NumpyDtype | None = None, memory_format: Any = None) -> Array:
    """A copy of an array in a dtype and a memory format."""
    out = blank_like(array, dtype, memory_format)
    np.copyto(out, array, "unsafe")
    return out


def order_of(array: Array) -> Any:
    """The order, as NumPy names it, in which a copy of an array keeps its strides, if it is to do so."""
    return "C" if any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape, strict=True)) else "K"


def blank_strided(shape: Shape, strides: Shape, dtype: NumpyDtype) -> Array:
    """An array with elements not set, and strides counted in elements."""
    if len(shape) != len(strides):
        raise RuntimeError(
            f"dimensionality of sizes ({len(shape)}) must match dimensionality of strides ({len(strides)})"
        )
    if any(s < 0 for s in strides):
        raise RuntimeError(
            f"Storage size calculation overflowed with sizes={list(shape)} and strides={list(strides)}"
        )
    count = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if 0 not in shape else 0
    return on_memory(np.empty(count, dtype), shape, strides, 0)


def on_memory(flat: Array, shape: Shape, strides: Shape, offset: int) -> Array:
    """The array on the memory of a flat one, with strides and offset counted in elements."""
    size = flat.dtype.itemsize
    return np.ndarray(shape, flat.dtype, flat, offset * size, tuple(s * size for s in strides))
