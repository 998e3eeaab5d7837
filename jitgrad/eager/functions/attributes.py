"""What a tensor tells of itself: its size, place in memory, device and kind."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define
from jitgrad.eager.device import CPU
from jitgrad.eager.functions.constructors import TYPE_OF, TYPES, tensortype
from jitgrad.eager.functions.conversion import converted
from jitgrad.eager.functions.factory import in_format, strided
from jitgrad.eager.functions.memory import UntypedStorage, offset_of, root_of, storage_of, strides_of
from jitgrad.eager.functions.operands import wrong_combination
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.tensor import Tensor, require_tensor, wrap

__all__ = [
    "imag",
    "is_complex",
    "is_floating_point",
    "is_nonzero",
    "is_same_size",
    "is_signed",
    "is_storage",
    "is_tensor",
    "numel",
    "real",
    "result_type",
]


def attribute(name: str, value: Callable[[Tensor], Any]) -> None:
    """Give tensors a read-only attribute."""
    setattr(Tensor, name, property(value))


# Size -----------------------------------------------------------------------------------------------------


@define("size")
def _size(self: Tensor, dim: Any = None) -> Any:
    """Return the extents of all axes, or of one."""
    if dim is None:
        return self.shape
    axis = _existing(dim, self._array.ndim)
    return self._array.shape[axis]


def _existing(dim: Any, ndim: int) -> int:
    if not ndim:
        raise IndexError(f"Dimension specified as {operator.index(dim)} but tensor has no dimensions")
    return dimension(dim, ndim)


@define("stride")
def _stride(self: Tensor, dim: Any = None) -> Any:
    """Return how many elements apart neighbours lie in memory, along all axes or one."""
    strides = strides_of(self._array)
    return strides if dim is None else strides[_existing(dim, len(strides))]


@define()
def numel(input: Tensor) -> int:
    """Return the number of elements."""
    return require_tensor(input, "numel")._array.size


define("nelement")(lambda self: self._array.size)
define("dim")(lambda self: self._array.ndim)
define("ndimension")(lambda self: self._array.ndim)
define("element_size")(lambda self: self._array.dtype.itemsize)
attribute("itemsize", lambda self: self._array.dtype.itemsize)
attribute("nbytes", lambda self: self._array.size * self._array.dtype.itemsize)


# Memory ---------------------------------------------------------------------------------------------------


define("storage_offset")(lambda self: offset_of(self._array) // self._array.dtype.itemsize)
define("data_ptr")(lambda self: self._array.ctypes.data if self._array.size else 0)
define("untyped_storage")(lambda self: storage_of(self._array))


@define("is_contiguous")
def _is_contiguous(self: Tensor, memory_format: Any = None) -> bool:
    """Whether the elements lie in memory in order."""
    return in_format(self._array, memory_format)


define("is_set_to")(
    lambda self, tensor: (
        root_of(self._array) is root_of(tensor._array)
        and self._array.shape == tensor._array.shape
        and strides_of(self._array) == strides_of(tensor._array)
        and offset_of(self._array) == offset_of(tensor._array)
    )
)


# Device and layout ----------------------------------------------------------------------------------------

attribute("device", lambda self: CPU)
attribute("layout", lambda self: strided)
attribute("is_cpu", lambda self: True)
for _name in (
    *("cuda", "sparse", "sparse_csr", "quantized", "mps", "meta", "mkldnn", "xla", "xpu", "ipu", "maia"),
    *("nested", "vulkan", "mtia"),
):
    attribute(f"is_{_name}", lambda self: False)

define("get_device")(lambda self: -1)
define("_is_view")(lambda self: self._view is not None)
define("is_pinned")(lambda self, device=None: False)
define("is_shared")(lambda self: False)
define("is_conj")(lambda self: False)
define("is_neg")(lambda self: False)


# Kind -----------------------------------------------------------------------------------------------------


def is_tensor(obj: Any) -> bool:
    """Return whether this is a tensor."""
    return isinstance(obj, Tensor)


def is_storage(obj: Any) -> bool:
    """Return whether this is a tensor's memory."""
    return isinstance(obj, UntypedStorage)


@define()
def is_floating_point(input: Tensor) -> bool:
    """Return whether the elements are floats."""
    return bool(require_tensor(input, "is_floating_point")._array.dtype.kind == "f")


@define()
def is_complex(input: Tensor) -> bool:
    """Return whether the elements are complex."""
    return bool(require_tensor(input, "is_complex")._array.dtype.kind == "c")


@define()
def is_signed(input: Tensor) -> bool:
    """Return whether the elements can be negative."""
    return require_tensor(input, "is_signed")._array.dtype.kind in "ifc"


def result_type(tensor: Any, other: Any) -> dtypes.dtype:
    """Return the dtype that an operation on two tensors or numbers has.

    >>> import jitgrad
    >>> jitgrad.result_type(jitgrad.tensor([1, 2]), 1.5)
    torch.float32
    """
    operands = [x._array if isinstance(x, Tensor) else x for x in (tensor, other)]
    if not all(isinstance(x, (np.ndarray, *dtypes.Number)) for x in operands):
        raise wrong_combination("result_type", (tensor, other), "Tensor tensor, Tensor other")
    return dtypes.of(dtypes.common(operands))


@define()
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have the same shape."""
    return bool(require_tensor(input, "is_same_size")._array.shape == other._array.shape)


@define()
def is_nonzero(input: Tensor) -> bool:
    """Return whether the only element is not zero; RuntimeError if there are more or none."""
    array = require_tensor(input, "is_nonzero")._array
    if array.size != 1:
        amount = "more than one value" if array.size else "no values"
        raise RuntimeError(f"Boolean value of Tensor with {amount} is ambiguous")
    return bool(array.item())


@define("type")
def _type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Return the name of the tensor's type; with a dtype, a constructor or its name, the tensor as that."""
    if dtype is None:
        return f"torch.{TYPE_OF[self.dtype].__name__}"
    if isinstance(dtype, dtypes.dtype):
        return converted(self, dtype.numpy)
    kind = TYPES.get(dtype) if isinstance(dtype, str) else dtype
    if not isinstance(kind, tensortype):
        raise ValueError(f"invalid type: '{getattr(dtype, '__name__', dtype)}'")
    return converted(self, kind.dtype.numpy)


# Parts of complex numbers ---------------------------------------------------------------------------------


@define(method=False)
def real(input: Tensor) -> Tensor:
    """Return the real parts: of a real tensor, itself."""
    array = require_tensor(input, "real")._array
    return wrap(array.real) if array.dtype.kind == "c" else input


@define(method=False)
def imag(input: Tensor) -> Tensor:
    """Return the imaginary parts; RuntimeError for a real tensor, which has none."""
    array = require_tensor(input, "imag")._array
    if array.dtype.kind != "c":
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return wrap(array.imag)


attribute("real", real)
attribute("imag", imag)
