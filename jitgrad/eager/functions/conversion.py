"""Tensors to other dtypes, copies, Python numbers, NumPy arrays and DLPack capsules."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define
from jitgrad.eager.device import NO_CUDA, checked, device
from jitgrad.eager.dispatch import OpRecord, edges_of, record_op
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.factory import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    copied,
    dtype_argument,
    in_format,
)
from jitgrad.eager.functions.operands import wrong_combination
from jitgrad.eager.modes import state
from jitgrad.eager.tape import Record, named
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ops.structure import cast

__all__ = ["clone"]

NumpyDtype = np.dtype[Any]


# Copies ---------------------------------------------------------------------------------------------------


class Copied(Record):
    """A copy on the tape: the gradient passes as it is."""

    __slots__ = ()

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        return grads

    def backward_recorded(self, grads: list[Any]) -> Sequence[Any]:
        return grads


def copy_of(t: Tensor, name: str, memory_format: Any = None) -> Tensor:
    """A copy in memory of its own, recorded under a name."""
    array = t._array
    out = wrap(copied(array, memory_format=memory_format))
    edges = edges_of((t,))
    if edges is not None:
        out._edge = named(Copied, name)(edges, ((array.shape, array.dtype),)), 0
    return out


@define()
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """Return a copy that gradients pass through.

    >>> import jitgrad
    >>> jitgrad.ones(2, requires_grad=True).clone()
    tensor([1., 1.], grad_fn=<CloneBackward0>)
    """
    return copy_of(require_tensor(input, "clone"), "CloneBackward0", memory_format)


@define("contiguous")
def _contiguous(self: Tensor, memory_format: Any = contiguous_format) -> Tensor:
    """Return the tensor itself if its elements lie in memory in order, else a copy in which they do."""
    return self if in_format(self._array, memory_format) else clone(self, memory_format=memory_format)


@define("as_subclass")
def _as_subclass(self: Tensor, cls: type[Tensor]) -> Tensor:
    """Return a tensor of a subclass on the same memory, which gradients pass through."""
    out: Tensor = object.__new__(cls)
    out.__dict__.update(self.detach().__dict__)
    edges = edges_of((self,))
    if edges is not None:
        out._edge = named(Copied, "AliasBackward0")(edges, ((self._array.shape, self._array.dtype),)), 0
    return out


# Other dtypes ---------------------------------------------------------------------------------------------


def converted(t: Tensor, wanted: NumpyDtype, *, copy: bool = False, memory_format: Any = None) -> Tensor:
    """The tensor in another dtype: itself if nothing is to be done."""
    array = t._array
    if array.dtype == wanted:
        moved = memory_format in (channels_last, channels_last_3d) and not in_format(array, memory_format)
        return copy_of(t, "ToCopyBackward0", memory_format) if copy or moved else t
    if array.dtype.kind == "c" and wanted.kind not in "cb":
        warnings.warn("Casting complex values to real discards the imaginary part", UserWarning, stacklevel=3)
        array = array.real
    out = wrap(state.compute(copied, array, wanted, memory_format))
    edges = edges_of((t,)) if wanted.kind in "fc" else None
    if edges is not None:
        if wanted.kind == "c":
            raise NotImplementedError(
                "derivatives of conversions to complex numbers are not available; detach() the tensor before"
            )
        record_op(cast, (t,), [array], {"dtype": wanted}, named(OpRecord, "ToCopyBackward0"), out, edges)
    return out


_FLAGS = "bool non_blocking = False, bool copy = False, *, torch.memory_format memory_format = None"
_FORMS = (
    f"torch.device device = None, torch.dtype dtype = None, {_FLAGS}",
    f"torch.dtype dtype, {_FLAGS}",
    f"Tensor other, {_FLAGS}",
)


@define("to")
def _to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return the tensor in another dtype: to(dtype), to(device, dtype) or to(other tensor).

    Without `copy=True`, a tensor of this dtype is returned as it is. AssertionError for the device "cuda".
    """
    wanted, rest = _target(args, kwargs)
    unknown = rest.keys() - {"non_blocking", "copy", "memory_format"}
    if unknown or len(args) > 4:
        raise wrong_combination("to", (*args, *(kwargs[name] for name in unknown)), *_FORMS)
    return converted(
        self,
        wanted or self._array.dtype,
        copy=bool(rest.get("copy")),
        memory_format=rest.get("memory_format"),
    )


def _target(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[NumpyDtype | None, dict[str, Any]]:
    """The dtype that `to` is asked for, and its other arguments by name."""
    if args and (isinstance(args[0], dtypes.dtype) or args[0] in (bool, int, float, complex)):
        return dtype_argument(args[0], "to"), _named(args[1:], kwargs)
    other = args[0] if args else kwargs.get("other")
    if isinstance(other, Tensor):
        return other._array.dtype, _named(args[1:], {k: v for k, v in kwargs.items() if k != "other"})
    place = args[0] if args else kwargs.get("device")
    if not isinstance(place, (str, device, int, type(None))):
        raise wrong_combination("to", args or tuple(kwargs.values()), *_FORMS)
    checked(place)
    chosen = args[1] if len(args) > 1 else kwargs.get("dtype")
    rest = {k: v for k, v in kwargs.items() if k not in ("device", "dtype")}
    return dtype_argument(chosen, "to"), _named(args[2:], rest)


def _named(flags: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    return {**dict(zip(("non_blocking", "copy"), flags, strict=False)), **kwargs}


def _caster(name: str, wanted: NumpyDtype) -> None:
    def function(self: Tensor, memory_format: Any = None) -> Tensor:
        return converted(self, wanted, memory_format=memory_format)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Return the tensor as {wanted.name}, itself if it is."
    define(name)(function)


for _name, _dtype in {
    "float": dtypes.float32,
    "double": dtypes.float64,
    "half": dtypes.float16,
    "int": dtypes.int32,
    "long": dtypes.int64,
    "short": dtypes.int16,
    "char": dtypes.int8,
    "byte": dtypes.uint8,
    "bool": dtypes.bool_,
    "cfloat": dtypes.complex64,
    "cdouble": dtypes.complex128,
}.items():
    _caster(_name, _dtype.numpy)


@define("type_as")
def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """Return the tensor in the dtype of another."""
    return converted(self, require_tensor(other, "type_as", 1, "other")._array.dtype)


@define("cpu")
def _cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """Return the tensor: it is on the CPU."""
    return self


@define("cuda")
def _cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """Raise AssertionError: there are no tensors on GPUs."""
    raise AssertionError(NO_CUDA)


# Python numbers -------------------------------------------------------------------------------------------


@define("item")
def _item(self: Tensor) -> Any:
    """Return the only element as a Python number; RuntimeError if there are more or none."""
    array = self._array
    if array.size != 1:
        raise RuntimeError(f"a Tensor with {array.size} elements cannot be converted to Scalar")
    return array.item()


@define("tolist")
def _tolist(self: Tensor) -> Any:
    """Return the elements as nested lists of Python numbers, or one number for a tensor without axes."""
    return self._array.tolist()


def _scalar(t: Tensor) -> Any:
    if t._array.size != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    if t.requires_grad:
        warnings.warn(
            "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\n"
            "Consider using tensor.detach() first.",
            UserWarning,
            stacklevel=3,
        )
    return t._array.item()


def _real(value: Any, kind: str) -> Any:
    if isinstance(value, complex):
        if value.imag:
            raise RuntimeError(f"value cannot be converted to type {kind} without overflow")
        return value.real
    return value


def _float(self: Tensor) -> float:
    return float(_real(_scalar(self), "double"))


def _int(self: Tensor) -> int:
    return int(_real(_scalar(self), "int64_t"))


def _complex(self: Tensor) -> complex:
    return complex(_scalar(self))


def _index(self: Tensor) -> int:
    if self._array.size != 1 or self._array.dtype.kind not in "iub":
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(self._array.item())


def _truth(self: Tensor) -> bool:
    if self._array.size == 1:
        return bool(self._array.item())
    amount = "more than one value" if self._array.size else "no values"
    raise RuntimeError(f"Boolean value of Tensor with {amount} is ambiguous")


def _len(self: Tensor) -> int:
    if not self._array.ndim:
        raise TypeError("len() of a 0-d tensor")
    size: int = self._array.shape[0]
    return size


def _iter(self: Tensor) -> Iterator[Tensor]:
    if not self._array.ndim:
        raise TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


def _reversed(self: Tensor) -> Any:
    return self.flip(0) if self._array.ndim else self


def _contains(self: Tensor, element: Any) -> bool:
    if isinstance(element, Tensor):
        element = element._array
    elif not isinstance(element, dtypes.Number):
        raise RuntimeError(
            f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}."
        )
    return bool((self._array == element).any())


def _format(self: Tensor, specification: str) -> str:
    if self._array.ndim == 0 and type(self) is Tensor:
        return str(self._array.item().__format__(specification))
    return object.__format__(self, specification)


def _hash(self: Tensor) -> int:
    return id(self)


_SPECIAL: dict[str, Callable[..., Any]] = {
    "__float__": _float,
    "__int__": _int,
    "__complex__": _complex,
    "__index__": _index,
    "__bool__": _truth,
    "__len__": _len,
    "__iter__": _iter,
    "__reversed__": _reversed,
    "__contains__": _contains,
    "__format__": _format,
    "__hash__": _hash,
}
for _name, _function in _SPECIAL.items():
    setattr(Tensor, _name, _function)


# NumPy ----------------------------------------------------------------------------------------------------


@define("numpy")
def _numpy(self: Tensor, *, force: bool = False) -> Array:
    """Return the tensor's memory as a NumPy array; RuntimeError if it requires grad, unless `force` detaches.

    >>> import jitgrad
    >>> jitgrad.ones(2).numpy()
    array([1., 1.], dtype=float32)
    """
    if not force and self.requires_grad:
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    return self._array.view()


def _array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Array:
    values = _numpy(self)
    return np.array(values, dtype, copy=copy)


def _array_wrap(self: Tensor, array: Any, context: Any = None, return_scalar: bool = False) -> Tensor:
    """The result of a NumPy function as a tensor; truth values are uint8 as in PyTorch."""
    values = np.asarray(array)
    return wrap(values.astype(np.uint8) if values.dtype.kind == "b" else values)


Tensor.__array__ = _array  # type: ignore[attr-defined]
Tensor.__array_wrap__ = _array_wrap  # type: ignore[attr-defined]


# DLPack ---------------------------------------------------------------------------------------------------


def _dlpack(
    self: Tensor,
    *,
    stream: Any = -1,
    max_version: tuple[int, int] | None = None,
    dl_device: Any = None,
    copy: bool | None = None,
) -> Any:
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if stream not in (None, -1):
        raise BufferError(f"a tensor on the CPU has no stream, got stream={stream!r}")
    return self._array.__dlpack__(max_version=max_version, dl_device=dl_device, copy=copy)


def _dlpack_device(self: Tensor) -> tuple[int, int]:
    return self._array.__dlpack_device__()


Tensor.__dlpack__ = _dlpack  # type: ignore[attr-defined]
Tensor.__dlpack_device__ = _dlpack_device  # type: ignore[attr-defined]
