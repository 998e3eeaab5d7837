"""Dropout: numbers, or whole channels, set to zero at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.operands import scalar_type
from jitgrad.eager.functions.random import default_generator
from jitgrad.eager.inplace import guard, write
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]

_NEGATIVE = -1.7580993408473766  # -scale * alpha of selu: where its values end


def _masked(x: Node, mask: Node) -> Any:
    return x * mask


def _masked_affinely(x: Node, mask: Node, shift: Node) -> Any:
    return x * mask + shift


def _probability(p: Any) -> float:
    if p < 0 or p > 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return float(p)


def _kept(x: Tensor, p: float, channels: bool) -> Array:
    """Which elements stay, the same for all of a channel if `channels`."""
    shape = x._array.shape
    if channels:
        shape = (*shape[:2], *(1,) * (x.ndim - 2))
    return np.asarray(default_generator.draw.random(shape) >= p)


def _given(x: Tensor, y: Any, inplace: bool) -> Tensor:
    return write(x, y) if inplace else y


def dropped(x: Tensor, p: float, training: bool, inplace: bool = False, channels: bool = False) -> Tensor:
    """The tensor with numbers or channels set to zero, the others over 1 - p."""
    if not training or p == 0 or not x._array.size:
        return x
    if x._array.dtype.kind != "f":
        raise RuntimeError(
            f"result type Float can't be cast to the desired output type {scalar_type(x._array.dtype)}"
        )
    if inplace:
        guard(x)
    mask = (_kept(x, p, channels) * (1 / (1 - p) if p < 1 else 0)).astype(x._array.dtype)
    return _given(x, apply_function(_masked, (x, mask), {}, "MulBackward0"), inplace)


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Return the input with each number set to zero with probability p, the others over 1 - p.

    ValueError unless p lies between 0 and 1. Without training the input itself is returned.
    """
    p = _probability(p)
    return dropped(require_tensor(input, "dropout"), p, training, inplace)


def _of_channels(name: str, spatial: int, without_batch: bool, doc: str) -> Any:
    def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        p = _probability(p)
        x = require_tensor(input, name)
        if name == "dropout1d" and x.ndim not in (2, 3):
            raise RuntimeError(
                f"dropout1d: Expected 2D or 3D input, but received a {x.ndim}D input. Note that dropout1d "
                "exists to provide channel-wise dropout on inputs with 1 spatial dimension, a channel "
                "dimension, and an optional batch dimension (i.e. 2D or 3D inputs)."
            )
        if without_batch and x.ndim == spatial + 1:
            result = dropped(x.unsqueeze(0), p, training, False, True).squeeze(0)
            if inplace:
                guard(x)
            return _given(x, result, inplace)
        return dropped(x, p, training, inplace, True)

    dropout.__name__ = dropout.__qualname__ = name
    dropout.__doc__ = doc
    return dropout


dropout1d = _of_channels("dropout1d", 1, True, "Return the input with whole channels of vectors set to zero.")
dropout2d = _of_channels("dropout2d", 2, False, "Return the input with whole channels of images set to zero.")
dropout3d = _of_channels("dropout3d", 3, True, "Return the input with whole channels of volumes set to zero.")


def _alpha(input: Any, p: Any, training: bool, inplace: bool, channels: bool, name: str) -> Tensor:
    p = _probability(p)
    x = require_tensor(input, name)
    if not training or p == 0 or not x._array.size:
        return x
    if inplace:
        guard(x)
    stays = _kept(x, p, channels)
    scale = 0 if p == 1 else 1 / np.sqrt((1 - p) * (1 + p * _NEGATIVE**2))
    mask = (stays * scale).astype(x._array.dtype)
    shift = ((~stays * _NEGATIVE - p * _NEGATIVE) * scale).astype(x._array.dtype)
    return _given(x, apply_function(_masked_affinely, (x, mask, shift), {}, "AddBackward0"), inplace)


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Return the input with numbers set to the lower end of selu at random, mean and variance kept."""
    return _alpha(input, p, training, inplace, False, "alpha_dropout")


def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Return alpha_dropout of whole channels."""
    return _alpha(input, p, training, inplace, True, "feature_alpha_dropout")
