"""The first values of parameters: distributions and fixed patterns, written into tensors without a record."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from jitgrad.eager.functions.random import default_generator
from jitgrad.eager.modes import no_grad
from jitgrad.eager.tensor import Tensor, version_of

__all__ = [
    *("calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_"),
    *("ones_", "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_"),
    "zeros_",
]

_NO_ELEMENTS = "Initializing zero-element tensors is a no-op"


def _set(tensor: Tensor, values: Any) -> Tensor:
    """Write values into a tensor's memory."""
    tensor._array[...] = values
    version_of(tensor)[0] += 1
    return tensor


# Plain distributions and constants ------------------------------------------------------------------------


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fill a tensor with numbers that are uniform between a and b."""
    with no_grad():
        tensor.uniform_(a, b, generator=generator)
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fill a tensor with normally distributed numbers."""
    with no_grad():
        tensor.normal_(mean, std, generator=generator)
    return tensor


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Fill a tensor with normally distributed numbers, drawn again while they are outside of a to b."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
            "incorrect.",
            stacklevel=2,
        )
    draw = (generator or default_generator).draw
    values = np.asarray(draw.normal(mean, std, tensor._array.shape))
    while (outside := (values < a) | (values > b)).any():
        values[outside] = draw.normal(mean, std, np.count_nonzero(outside))
    return _set(tensor, np.clip(values, a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill a tensor with one number.

    >>> import jitgrad
    >>> jitgrad.nn.init.constant_(jitgrad.empty(2), 0.5)
    tensor([0.5000, 0.5000])
    """
    return _set(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill a tensor with ones."""
    return _set(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill a tensor with zeros."""
    return _set(tensor, 0)


def eye_(tensor: Tensor) -> Tensor:
    """Make a matrix the identity; ValueError unless it has two dimensions."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return _set(tensor, np.eye(*tensor._array.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Make the weight of a convolution one that hands on as many channels as it can, in each group."""
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    outputs, inputs, *sizes = tensor._array.shape
    if outputs % groups:
        raise ValueError("dim 0 must be divisible by groups")
    values = np.zeros(tensor._array.shape)
    for group in range(groups):
        for channel in range(min(outputs // groups, inputs)):
            values[(group * (outputs // groups) + channel, channel, *(n // 2 for n in sizes))] = 1
    return _set(tensor, values)


# By the sizes of layers -----------------------------------------------------------------------------------

_GAINS = {
    **dict.fromkeys(("linear", "sigmoid", "conv1d", "conv2d", "conv3d"), 1.0),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1.0),
    **{"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4},
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which a nonlinearity has numbers shrink; `param` is the slope of "leaky_relu".

    >>> import jitgrad
    >>> jitgrad.nn.init.calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "leaky_relu":
        if isinstance(param, bool) or not isinstance(param, (int, float, type(None))):
            raise ValueError(f"negative_slope {param} not a valid number")
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    gain = _GAINS[nonlinearity]
    return int(gain) if gain == 1 else gain


def _fans(tensor: Tensor) -> tuple[int, int]:
    """How many numbers each output is made of, and each input goes to."""
    if tensor.ndim < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    outputs, inputs, *sizes = tensor._array.shape
    return inputs * math.prod(sizes), outputs * math.prod(sizes)


def _fan(tensor: Tensor, mode: str) -> int:
    if mode.lower() not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode.lower()} not supported, please use one of ['fan_in', 'fan_out']")
    return _fans(tensor)[mode.lower() == "fan_out"]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill a weight uniformly so that variances stay, forward and backward (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill a weight normally so that variances stay, forward and backward (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Fill a weight uniformly so that variances stay through a nonlinearity (He et al., 2015)."""
    if not tensor._array.size:
        warnings.warn(_NO_ELEMENTS, stacklevel=2)
        return tensor
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Fill a weight normally so that variances stay through a nonlinearity (He et al., 2015)."""
    if not tensor._array.size:
        warnings.warn(_NO_ELEMENTS, stacklevel=2)
        return tensor
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Fill a weight, seen as a matrix, with orthogonal rows or columns (Saxe et al., 2013)."""
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if not tensor._array.size:
        return tensor
    rows = tensor._array.shape[0]
    drawn = (generator or default_generator).draw.normal(size=(rows, tensor._array.size // rows))
    tall = drawn.shape[0] >= drawn.shape[1]
    q, r = np.linalg.qr(drawn if tall else drawn.T)
    q = q * np.sign(np.diag(r))
    return _set(tensor, gain * (q if tall else q.T).reshape(tensor._array.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Fill a matrix normally, with so large a part of each column zero as `sparsity` says."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    draw = (generator or default_generator).draw
    rows, columns = tensor._array.shape
    values = draw.normal(0, std, (rows, columns))
    for column in range(columns):
        values[draw.permutation(rows)[: math.ceil(sparsity * rows)], column] = 0
    return _set(tensor, values)
