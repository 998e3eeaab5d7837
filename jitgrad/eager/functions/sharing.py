"""Makes tensors on memory that others hold: NumPy arrays, buffers, and what speaks DLPack."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.device import checked
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.conversion import converted, copy_of
from jitgrad.eager.functions.factory import NumpyDtype, dtype_argument, made
from jitgrad.eager.functions.nested import array_from, supported
from jitgrad.eager.functions.operands import scalar_type
from jitgrad.eager.tensor import Tensor, wrap

__all__ = ["as_tensor", "asarray", "from_dlpack", "from_numpy", "frombuffer"]

READ_ONLY = (
    "The given {0} is not writable, and PyTorch does not support non-writable tensors. This means {1}. You "
    "may want to copy the {2} to protect its data or make it writable before converting it to a tensor. This "
    "type of warning will be suppressed for the rest of this program."
)
READ_ONLY_ARRAY = READ_ONLY.format(
    "NumPy array", "writing to this tensor will result in undefined behavior", "array"
)
READ_ONLY_BUFFER = READ_ONLY.format(
    "buffer",
    "you can write to the underlying (supposedly non-writable) buffer using the tensor",
    "buffer",
)


def from_numpy(ndarray: Any) -> Tensor:
    """Make a tensor on the memory of a NumPy array.

    Raises TypeError for dtypes that tensors do not have, ValueError for negative strides.

    >>> import numpy as np, jitgrad
    >>> a = np.zeros(2)
    >>> jitgrad.from_numpy(a)[0] = 1
    >>> a
    array([1., 0.])
    """
    if not isinstance(ndarray, np.ndarray):
        kind = type(ndarray)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        raise TypeError(f"expected np.ndarray (got {module}{kind.__name__})")
    return wrap(as_root(ndarray))


def as_root(ndarray: Array) -> Array:
    """An array object of its own on the same memory, which does not show what memory lies around."""
    array = supported(ndarray)
    if not array.flags.writeable:
        warnings.warn(READ_ONLY_ARRAY, UserWarning, stacklevel=3)
        return array.view(np.ndarray)
    return array.view(np.ndarray) if array.base is None else np.asarray(memoryview(array))  # type: ignore[arg-type]


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return a tensor as it is, a NumPy array's memory as a tensor, and anything else as `tensor` does.

    A dtype other than that of the data makes a copy, recorded if it is of a tensor.
    """
    if device is not None:
        checked(device)
    wanted = dtype_argument(dtype, "as_tensor")
    if isinstance(data, Tensor):
        return data if wanted is None else converted(data, wanted)
    if isinstance(data, np.ndarray):
        given = wrap(as_root(data))
        return given if wanted is None else converted(given, wanted)
    return made(array_from(data, wanted))


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: Any = None
) -> Tensor:
    """Return an array, buffer or DLPack object as a tensor on the same memory, a sequence as a new one.

    `copy` asks for a copy (True) or refuses one (False, ValueError where one is needed).
    """
    if device is not None:
        checked(device)
    wanted = dtype_argument(dtype, "asarray")
    shared = _shared(obj, wanted)
    if shared is None:
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        return made(array_from(obj, wanted), bool(requires_grad))
    recorded = shared.requires_grad
    if requires_grad is None and recorded:
        warnings.warn(
            "torch.asarray: unspecified requires_grad now defaults to obj.requires_grad instead of False. "
            "Pass requires_grad=False explicitly to get the old behavior and silence this warning.",
            UserWarning,
            stacklevel=2,
        )
    out = _as_asked(shared, wanted, copy)
    if recorded and requires_grad is False:
        return out.detach()
    if requires_grad and not out.requires_grad:
        return made(out._array, True)
    return out


def _shared(obj: Any, wanted: NumpyDtype | None) -> Tensor | None:
    """The object's memory as a tensor; None if it has none to share."""
    if isinstance(obj, Tensor):
        return obj
    if isinstance(obj, np.ndarray):
        return wrap(as_root(obj))
    if isinstance(obj, np.generic):
        return wrap(np.array(obj))
    if hasattr(obj, "__dlpack__"):
        return from_dlpack(obj)
    try:
        memoryview(obj)
    except TypeError:
        return None
    return wrap(_of_buffer(obj, wanted or dtypes.DEFAULT.floating.numpy, -1, 0))


def _as_asked(t: Tensor, wanted: NumpyDtype | None, copy: bool | None) -> Tensor:
    given = t._array.dtype
    if wanted is None or wanted == given:
        return copy_of(t, "CloneBackward0") if copy else t
    if copy is False:
        raise ValueError(
            f"can't alias tensor with dtype '{scalar_type(given)}' into dtype '{scalar_type(wanted)}'."
        )
    return converted(t, wanted)


def frombuffer(
    buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """Make a tensor of one axis on the memory of an object such as a bytearray.

    Raises ValueError if it holds fewer elements, or no whole number of them.
    """
    wanted = dtype_argument(dtype, "frombuffer")
    if wanted is None:
        raise TypeError("frombuffer(): argument 'dtype' must be torch.dtype, not NoneType")
    return made(_of_buffer(buffer, wanted, count, offset), requires_grad)


def _of_buffer(buffer: Any, dtype: NumpyDtype, count: int, offset: int) -> Array:
    try:
        memory = memoryview(buffer)
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    length, size = memory.nbytes, dtype.itemsize
    if not length or not count:
        raise ValueError(f"both buffer length ({length}) and count ({count}) must not be 0")
    if not 0 <= offset < length:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({length} "
            "bytes) minus 1"
        )
    if count > 0 and count * size > length - offset:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be "
            f"greater than actual buffer length ({length} bytes)"
        )
    if count < 0 and (length - offset) % size:
        raise ValueError(
            f"buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a multiple of "
            f"element size ({size})"
        )
    if memory.readonly:
        warnings.warn(READ_ONLY_BUFFER, UserWarning, stacklevel=3)
    return np.frombuffer(memory, dtype, count, offset)


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """Make a tensor on the memory of another library's array, given by the DLPack protocol.

    Raises RuntimeError for an object that does not speak it.

    >>> import numpy as np, jitgrad
    >>> jitgrad.from_dlpack(np.arange(3))
    tensor([0, 1, 2])
    """
    if device is not None:
        checked(device)
    if not hasattr(ext_tensor, "__dlpack__"):
        raise RuntimeError(
            f"from_dlpack received an object without __dlpack__, of type {type(ext_tensor).__name__}"
        )
    return wrap(supported(np.from_dlpack(ext_tensor, copy=copy)))
