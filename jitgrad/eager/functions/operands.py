"""Checks of what functions are given, with errors worded as PyTorch words them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.functions.arithmetic import shape_error
from jitgrad.eager.tensor import Tensor, require_tensor

scalar_type = dtypes.scalar_type


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


def require_same_dtype(x: Tensor, values: Tensor) -> None:
    """Refuse values of another dtype than that of the tensor that they are written into by index."""
    own, given = x._array.dtype, values._array.dtype
    if own != given:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {scalar_type(own)} for the "
            f"destination and {scalar_type(given)} for the source."
        )


def as_scalar(value: Any, dtype: np.dtype[Any]) -> Array:
    """A Python number as a 0-d array of a dtype; RuntimeError where the dtype cannot hold it."""
    if value.__class__ is float and dtype.kind == "f" and -65504 <= value <= 65504:  # all of them hold it
        return np.asarray(value, dtype)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise OverflowError("int too big to convert")
    if isinstance(value, (complex, np.complexfloating)) and dtype.kind != "c" and not value.imag:
        value = value.real
    if not _holds(dtype, value):
        name = _C_TYPES.get(dtype.name, f"{dtype.name}_t")
        raise RuntimeError(f"value cannot be converted to type {name} without overflow")
    return np.asarray(int(value) if dtype.kind in "iu" else value).astype(dtype)


def as_element(value: Any, dtype: np.dtype[Any]) -> Array:
    """Like as_scalar, but in half precision numbers that are too large are infinite."""
    if dtype != np.float16:
        return as_scalar(value, dtype)
    with np.errstate(over="ignore"):
        return np.asarray(as_scalar(value, np.dtype(np.float64)).astype(dtype))


def _holds(dtype: np.dtype[Any], value: Any) -> bool:
    """Whether a number has a value in the dtype; negative integers wrap around in unsigned ones."""
    if dtype.kind == "b":
        return True
    if dtype.kind == "c":
        return all(_holds(_REAL[dtype.name], part) for part in (value.real, value.imag))
    if isinstance(value, (complex, np.complexfloating)):
        return False
    if dtype.kind == "f":
        return not math.isfinite(value) or abs(value) <= np.finfo(dtype).max
    limits = np.iinfo(dtype)
    wraps = dtype.kind == "u" and isinstance(value, (int, np.integer))
    return bool((-int(limits.max) if wraps else limits.min) <= value <= limits.max)


_REAL: dict[str, np.dtype[Any]] = {"complex64": np.dtype(np.float32), "complex128": np.dtype(np.float64)}
_C_TYPES = {"float32": "float", "float64": "double", "float16": "c10::Half", "int32": "int"}
_C_TYPES |= {"complex64": "c10::complex<float>", "complex128": "c10::complex<double>"}
