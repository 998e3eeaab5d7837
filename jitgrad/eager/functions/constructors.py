"""The constructors named after a dtype, such as `FloatTensor`, and that of `Tensor` itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define
from jitgrad.eager.device import checked
from jitgrad.eager.functions.factory import negative_dimension
from jitgrad.eager.functions.nested import array_from, is_sequence
from jitgrad.eager.size import Size
from jitgrad.eager.tensor import Tensor, must_be_floating, wrap

__all__ = [
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
    "set_default_tensor_type",
]


class tensortype:
    """A constructor for tensors of one dtype, and what `isinstance` asks for that dtype.

    >>> from jitgrad.eager.functions.constructors import FloatTensor
    >>> FloatTensor([1, 2]), isinstance(FloatTensor(3), FloatTensor)
    (tensor([1., 2.]), True)
    """

    is_cuda = False
    is_sparse = False

    def __init__(self, name: str, dtype: dtypes.dtype) -> None:
        self.__name__ = self.__qualname__ = name
        self.__module__ = "torch"
        self.dtype = dtype

    def __call__(self, *args: Any, device: Any = None) -> Tensor:
        if device is not None:
            checked(device)
        return _constructed(args, self.dtype, strict=True)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance._array.dtype == self.dtype.numpy

    def __reduce__(self) -> str:
        return self.__name__

    def __repr__(self) -> str:
        return f"<class 'torch.{self.__name__}'>"


TYPES = {
    f"torch.{name}": tensortype(name, dtype)
    for name, dtype in {
        **dtypes.CONSTRUCTORS,
        "ComplexFloatTensor": dtypes.complex64,
        "ComplexDoubleTensor": dtypes.complex128,
        "UInt16Tensor": dtypes.uint16,
        "UInt32Tensor": dtypes.uint32,
        "UInt64Tensor": dtypes.uint64,
    }.items()
}
(
    FloatTensor,
    DoubleTensor,
    HalfTensor,
    ByteTensor,
    CharTensor,
    ShortTensor,
    IntTensor,
    LongTensor,
    BoolTensor,
) = (TYPES[f"torch.{name}"] for name in dtypes.CONSTRUCTORS)
TYPE_OF = {kind.dtype: kind for kind in TYPES.values()}


def _constructed(args: tuple[Any, ...], dtype: dtypes.dtype, strict: bool) -> Tensor:
    """The tensor that old constructors make: of sizes, of data, or on the memory of a tensor."""
    first = args[0] if args else 0
    if isinstance(first, Size) or (isinstance(first, (int, np.integer)) and not isinstance(first, bool)):
        return wrap(_of_sizes(first if isinstance(first, Size) else args, dtype))
    if len(args) > 1:
        kinds = ", ".join(type(a).__name__ for a in args)
        raise TypeError(f"new() received an invalid combination of arguments - got ({kinds})")
    if isinstance(first, Tensor):
        if strict and first._array.dtype != dtype.numpy:
            raise TypeError(f"expected a tensor of dtype {dtype!r}, got one of {first.dtype!r}")
        return first.detach()
    if isinstance(first, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(first).__name__}'")
    if not isinstance(first, np.ndarray) and not is_sequence(first):
        raise TypeError(f"new(): data must be a sequence (got {type(first).__name__})")
    return wrap(array_from(first, dtype.numpy))


def _of_sizes(sizes: tuple[Any, ...], dtype: dtypes.dtype) -> Any:
    shape = tuple(int(n) for n in sizes)
    if shape and min(shape) < 0:
        raise negative_dimension(shape)
    return np.empty(shape or (0,), dtype.numpy)


def _new(cls: type[Tensor], *args: Any, device: Any = None, data: Any = None) -> Tensor:
    """Tensor(...): what the constructor of the default dtype makes, as an object of the class."""
    if device is not None:
        checked(device)
    source = _constructed(args if data is None else (data,), dtypes.DEFAULT.floating, strict=False)
    out: Tensor = object.__new__(cls)
    out.__dict__.update(source.__dict__)
    return out


Tensor.__new__ = _new  # type: ignore[method-assign]


@define("new")
def _new_of(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """Return a tensor of the same dtype: of sizes (elements not set), or of data."""
    return _constructed(args, self.dtype, strict=True)


def _make_subclass(cls: type[Tensor], data: Tensor, require_grad: bool = False) -> Tensor:
    out: Tensor = object.__new__(cls)
    out.__dict__.update(data.detach().__dict__)
    if require_grad:
        must_be_floating(out._array.dtype)
        out._requires = True
    return out


Tensor._make_subclass = staticmethod(_make_subclass)  # type: ignore[attr-defined]


def set_default_tensor_type(t: Any) -> None:
    """Set the default dtype by a constructor or its name; `set_default_dtype` replaces it."""
    warnings.warn(
        "torch.set_default_tensor_type() is deprecated as of PyTorch 2.1, please use "
        "torch.set_default_dtype() and torch.set_default_device() as alternatives.",
        UserWarning,
        stacklevel=2,
    )
    kind = TYPES.get(t, t)
    if not isinstance(kind, tensortype):
        raise TypeError(f"invalid type object: {t!r} is no tensor type")
    dtypes.set_default_dtype(kind.dtype)
