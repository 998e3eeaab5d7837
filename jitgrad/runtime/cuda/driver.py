"""The NVIDIA driver's own library, called as it is: modules, launches, what a device can do."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

NAMES = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so")
LOG_BYTES = 16384

# Numbers of the driver's interface (cuda.h).
CAPABILITY_MAJOR, CAPABILITY_MINOR, MULTIPROCESSORS = 75, 76, 16
JIT_ERROR_LOG, JIT_ERROR_LOG_BYTES = 5, 6
INPUT_PTX = 1

Pointer, Word, Int = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


class CudaError(RuntimeError):
    """What the driver refused, or why there is none."""


class Driver:
    """The functions of the driver that a program needs, each of which raises CudaError if it fails.

    `library` has the driver's functions by name, as `ctypes.CDLL` does.
    """

    def __init__(self, library: Any) -> None:
        self.library = library
        self.check("cuInit", 0)

    def check(self, name: str, *arguments: Any) -> None:
        """Call a function of the driver; raise CudaError with the driver's words if it fails."""
        code = getattr(self.library, name)(*arguments)
        if code:
            raise CudaError(f"{name}: {self.words(code)}")

    def words(self, code: int) -> str:
        """Return what the driver says of an error."""
        text = ctypes.c_char_p()
        self.library.cuGetErrorString(code, ctypes.byref(text))
        return text.value.decode() if text.value else f"error {code}"

    def device_count(self) -> int:
        """Return how many devices there are."""
        count = Int()
        self.check("cuDeviceGetCount", ctypes.byref(count))
        return count.value

    def attribute(self, device: int, attribute: int) -> int:
        value = Int()
        self.check("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        return value.value

    def load(self, image: bytes, symbol: str) -> int:
        """Return the address of a function of a module, given as PTX or cubin, on the current device."""
        log = ctypes.create_string_buffer(LOG_BYTES)
        options = (Int * 2)(JIT_ERROR_LOG, JIT_ERROR_LOG_BYTES)
        values = (Pointer * 2)(ctypes.addressof(log), LOG_BYTES)
        module, function = Pointer(), Pointer()
        try:
            self.check("cuModuleLoadDataEx", ctypes.byref(module), image, 2, options, values)
        except CudaError as error:
            raise CudaError(f"{error}\n{log.value.decode(errors='replace')}".rstrip()) from None
        self.check("cuModuleGetFunction", ctypes.byref(function), module, symbol.encode())
        assert function.value is not None
        return function.value

    def assembled(self, ptx: bytes) -> bytes:
        """Return PTX as machine code for the current device."""
        state, cubin, size = Pointer(), Pointer(), Word()
        self.check("cuLinkCreate_v2", 0, None, None, ctypes.byref(state))
        try:
            given = (ptx, Word(len(ptx)), b"kernel", 0, None, None)
            self.check("cuLinkAddData_v2", state, INPUT_PTX, *given)
            self.check("cuLinkComplete", state, ctypes.byref(cubin), ctypes.byref(size))
            assert cubin.value is not None
            return ctypes.string_at(cubin.value, size.value)
        finally:
            self.check("cuLinkDestroy", state)

    @property
    def launch_address(self) -> int:
        """The address of cuLaunchKernel, for native code."""
        address = ctypes.cast(self.library.cuLaunchKernel, Pointer).value
        assert address is not None
        return address


@functools.cache
def driver() -> Driver:
    """Return the driver of this machine. Raise CudaError where there is none, saying what to install."""
    for name in NAMES:
        try:
            return Driver(ctypes.CDLL(name))
        except OSError:
            continue
    raise CudaError(
        f"no NVIDIA driver: {NAMES[0]} was not found. Programs for GPUs need one of version 525 or newer "
        "(https://www.nvidia.com/drivers); without a GPU, pass NumPy arrays and leave target out"
    )


def is_available() -> bool:
    """Return whether there is a driver and a device."""
    try:
        return driver().device_count() > 0
    except CudaError:
        return False
