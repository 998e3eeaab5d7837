"""Arrays on devices: CuPy's, and what other libraries' share with it."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from jitgrad.runtime.cuda.driver import CudaError, driver

DLPACK_CUDA = 2  # the kind of a device in DLPack
DeviceArray = Any  # a cupy.ndarray; CuPy is imported when a program needs it


@functools.cache
def cupy() -> Any:
    """Return CuPy. Raise CudaError where it cannot be imported, saying what to install."""
    try:
        import cupy
    except ImportError as error:
        raise CudaError(
            f'arrays on GPUs are CuPy\'s, which cannot be imported ({error}): pip install "jitgrad[cuda]"'
        ) from None
    driver()
    return cupy


def is_device_array(value: Any) -> bool:
    """Return whether a value lies on a device: CuPy's, PyTorch's or any library's with the same interface."""
    try:
        return hasattr(value, "__cuda_array_interface__") or value.__dlpack_device__()[0] == DLPACK_CUDA
    except Exception:  # a property may refuse by whatever it likes
        return False


def as_device_array(value: Any) -> DeviceArray:
    """Return a device array as CuPy's without a copy, and a copy of a NumPy array on the current device."""
    xp = cupy()
    if isinstance(value, xp.ndarray):
        return value
    if isinstance(value, np.ndarray):
        return xp.asarray(np.asarray(value, order="C"))
    return xp.asarray(value) if hasattr(value, "__cuda_array_interface__") else xp.from_dlpack(value)


def device_of(array: DeviceArray) -> int:
    """Return the number of the device on which an array lies."""
    number: int = array.device.id
    return number


def on(device: int) -> AbstractContextManager[Any]:
    """Make a device the current one for a while."""
    context: AbstractContextManager[Any] = cupy().cuda.Device(device)
    return context


def view(array: DeviceArray, shape: tuple[int, ...], strides: tuple[int, ...], start: int) -> DeviceArray:
    """Return other strides over an array's memory, from `start` bytes after its first element."""
    return cupy().ndarray(shape, array.dtype, array.data + start, strides)


def on_host(array: DeviceArray) -> np.ndarray[Any, Any]:
    """Return a copy as a NumPy array, when all work on the current stream is done."""
    host: np.ndarray[Any, Any] = cupy().asnumpy(array)
    return host


def current_stream() -> int:
    """Return the address of the stream on which this thread works."""
    address: int = cupy().cuda.get_current_stream().ptr
    return address
