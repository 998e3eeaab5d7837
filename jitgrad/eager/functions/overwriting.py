"""Tensors whose values are replaced: filled with one value, copied over, or filled where a mask holds."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jitgrad.eager.define import define
from jitgrad.eager.dispatch import OpRecord
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.functions.arithmetic import computed
from jitgrad.eager.functions.operands import as_scalar, must_broadcast, wrong_combination
from jitgrad.eager.inplace import guard, overwrite, write
from jitgrad.eager.tape import named
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ops.table import OPS

__all__ = ["fill", "masked_fill"]

_NAMES = {
    "float32": "float",
    "float64": "double",
    "int64": "long int",
    "int32": "int",
    "uint8": "unsigned char",
}


# One value ------------------------------------------------------------------------------------------------


def _value(x: Tensor, value: Any, name: str) -> Any:
    """The operand that fills a tensor."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions."
            )
        return value
    if not isinstance(value, (*Number, np.generic)):
        raise wrong_combination(name, (value,), "Tensor value", "Number value")
    return wrap(as_scalar(value, x._array.dtype))


@define("fill_")
def _fill(self: Tensor, value: Any) -> Tensor:
    """Set all elements to a number or to the value of a 0-d tensor."""
    name = "FillBackward3" if isinstance(value, Tensor) else "FillBackward2"
    return overwrite(self, _value(self, value, "fill_"), name)


@define("zero_")
def _zero(self: Tensor) -> Tensor:
    """Set all elements to 0."""
    return overwrite(self, wrap(np.zeros((), self._array.dtype)), "ZeroBackward0")


@define(method=False)
def fill(input: Tensor, value: Any) -> Tensor:
    """Return a tensor of the same shape and dtype with all elements equal to a value."""
    x = require_tensor(input, "fill")
    everywhere = wrap(np.ones((), bool))
    name = "FillBackward1" if isinstance(value, Tensor) else "FillBackward0"
    return _masked(x, everywhere, _value(x, value, "fill"), name)


# Other tensors --------------------------------------------------------------------------------------------


@define("copy_")
def _copy(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Take over the elements of another tensor, broadcast and cast."""
    if isinstance(src, Number):
        src = wrap(as_scalar(src, self._array.dtype))
    values = require_tensor(src, "copy_", argument="other")
    if values._array.dtype.kind == "c" and self._array.dtype.kind != "c":
        warnings.warn("Casting complex values to real discards the imaginary part", UserWarning, stacklevel=2)
        values = wrap(values._array.real)
    return overwrite(self, values, "CopyBackwards")


# Masks ----------------------------------------------------------------------------------------------------


def _mask_and_value(x: Tensor, mask: Any, value: Any, name: str) -> tuple[Tensor, Tensor]:
    if not isinstance(mask, Tensor) or not isinstance(value, (Tensor, *Number, np.generic)):
        raise wrong_combination(
            name,
            (x, mask, value),
            "Tensor input, Tensor mask, Tensor value",
            "Tensor input, Tensor mask, Number value",
        )
    if mask._array.dtype.kind != "b":
        dtype = mask._array.dtype.name
        raise RuntimeError(
            f"masked_fill_ only supports boolean masks, but got mask with dtype {_NAMES.get(dtype, dtype)}"
        )
    if not isinstance(value, Tensor):
        return mask, wrap(as_scalar(value, x._array.dtype))
    if value.ndim:
        raise RuntimeError(
            "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value.ndim} dimension(s)."
        )
    return mask, value


def _as_dtype(value: Array, dtype: np.dtype[Any]) -> Array:
    if value.dtype == dtype:
        return value
    return as_scalar(value.item(), dtype) if value.dtype.kind == "c" else value.astype(dtype)


def _masked(x: Tensor, mask: Tensor, value: Tensor, name: str) -> Tensor:
    a: Array = x._array
    value_as = _as_dtype(value._array, a.dtype)
    try:
        return computed(OPS["where"], named(OpRecord, name), (mask, value, x), [mask._array, value_as, a])
    except RuntimeError:
        must_broadcast(a.shape, mask._array.shape)
        raise


def masked_fill(input: Tensor, mask: Any, value: Any) -> Tensor:
    """Return the tensor with a value in place of the elements where a mask holds.

    >>> import jitgrad
    >>> x = jitgrad.tensor([1.0, 2.0, 3.0])
    >>> jitgrad.masked_fill(x, x > 1, 0)
    tensor([1., 0., 0.])
    """
    x = require_tensor(input, "masked_fill")
    name = f"MaskedFillBackward{int(isinstance(value, Tensor))}"
    return _masked(x, *_mask_and_value(x, mask, value, "masked_fill"), name)


define()(masked_fill)


@define("masked_fill_")
def _masked_fill(self: Tensor, mask: Any, value: Any) -> Tensor:
    """Set the elements where a mask holds to a value."""
    guard(self)
    return write(self, masked_fill(self, mask, value))
