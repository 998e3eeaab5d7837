"""Checks of what functions are given, with errors worded as PyTorch words them."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.functions.arithmetic import shape_error
from jitgrad.eager.tensor import Tensor, require_tensor

_SCALAR_TYPES = {d.numpy: name.removesuffix("Tensor") for d, name in dtypes.TYPE_NAMES.items()} | {
    np.dtype(np.complex64): "ComplexFloat",
    np.dtype(np.complex128): "ComplexDouble",
    np.dtype(np.uint16): "UInt16",
    np.dtype(np.uint32): "UInt32",
    np.dtype(np.uint64): "UInt64",
}


def scalar_type(dtype: np.dtype[Any]) -> str:
    """The name that messages give a dtype: "Float", "Long", "Bool"."""
    return _SCALAR_TYPES[dtype]


def only_kinds(kernel: str, kinds: str, dtype: np.dtype[Any], *shapes: tuple[int, ...]) -> None:
    """Refuse dtypes of other kinds than these, but first shapes that do not broadcast."""
    if dtype.kind not in kinds:
        if len(shapes) > 1:
            must_broadcast(*shapes)
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_type(dtype)}'")


def must_broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that shapes broadcast to; RuntimeError if they do not."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise shape_error(list(shapes)) from None


def require_tensors(name: str, *given: Any, arguments: tuple[str, ...] = ("input", "other")) -> None:
    """Refuse arguments that are no tensors."""
    for place, (value, argument) in enumerate(zip(given, arguments, strict=True), 1):
        if not isinstance(value, Tensor):
            require_tensor(value, name, place, argument)


def wrong_combination(name: str, given: tuple[Any, ...], *signatures: str) -> TypeError:
    """What to raise where no overload takes the arguments."""
    types = ", ".join("Tensor" if isinstance(x, Tensor) else type(x).__name__ for x in given)
    listed = "".join(f" * ({s})\n" for s in signatures)
    return TypeError(
        f"{name}() received an invalid combination of arguments - got ({types}), but expected "
        f"one of:\n{listed}"
    )


def require_tensor_and_operand(name: str, input: Any, other: Any) -> None:
    """Refuse everything but a tensor and a second tensor or number."""
    if not isinstance(input, Tensor) or not isinstance(other, (Tensor, *Number, np.generic)):
        raise wrong_combination(
            name,
            (input, other),
            "Tensor input, Tensor other, *, Tensor out = None",
            "Tensor input, Number other, *, Tensor out = None",
        )


def as_scalar(value: Any, dtype: np.dtype[Any]) -> Array:
    """A Python number as a 0-d array of a dtype; RuntimeError where the dtype cannot hold it."""
    try:
        if dtype.kind == "b":
            return np.asarray(bool(value))
        if isinstance(value, complex) and dtype.kind != "c":
            raise OverflowError
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            if not -int(limits.max) - 1 <= int(value) <= int(limits.max):
                raise OverflowError
        return np.asarray(value).astype(dtype)
    except (OverflowError, ValueError):
        raise RuntimeError(
            f"value cannot be converted to type {_C_TYPES.get(dtype.name, dtype.name)} without overflow"
        ) from None


_C_TYPES = {"float32": "float", "float64": "double", "float16": "at::Half"} | {
    name: f"{name}_t" for name in ("uint8", "int8", "int16", "int64")
}
_C_TYPES["int32"] = "int"
