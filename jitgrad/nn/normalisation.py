"""Normalisation of layers, batches, instances and groups of channels to mean 0 and variance 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.arithmetic import in_common_dtype
from jitgrad.eager.functions.operands import only_kinds, scalar_type
from jitgrad.eager.inplace import overwrite
from jitgrad.eager.modes import state
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops.elementwise import reciprocal, sqrt
from jitgrad.ops.reductions import spread
from jitgrad.ops.shape import shaped, window
from jitgrad.ops.structure import cast, place, sum_axes
from jitgrad.ops.table import OPS

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]

Shape = tuple[int, ...]


# Functions of nodes ---------------------------------------------------------------------------------------


def _mean(x: Node, axes: Shape) -> Any:
    count = math.prod(x.shape[i] for i in axes)
    return sum_axes(x, axes) / count if count else sum_axes(x, axes) * math.nan


def _standard(x: Node, axes: Shape, eps: float) -> Any:
    """x with mean 0 and variance 1 along axes."""
    centred = x - spread(_mean(x, axes), x, axes)
    return centred * spread(reciprocal(sqrt(_mean(centred * centred, axes) + eps)), x, axes)


def _scaled(x: Node, parts: Sequence[Node], weighted: bool, shape: Shape) -> Any:
    """x times the weight, plus the bias: those of the two that are given, in this shape."""
    given = list(parts)
    if weighted:
        x = x * shaped(given.pop(0), shape)
    return x + shaped(given[0], shape) if given else x


def _of_layer(x: Node, *parts: Node, axes: Shape, eps: float, weighted: bool) -> Any:
    return _scaled(_standard(x, axes, eps), parts, weighted, tuple(x.shape[i] for i in axes))


def _by_root(x: Node, *weight: Node, axes: Shape, eps: float) -> Any:
    y = x * spread(reciprocal(sqrt(_mean(x * x, axes) + eps)), x, axes)
    return y * weight[0] if weight else y


def _of_groups(x: Node, *parts: Node, groups: int, eps: float, weighted: bool) -> Any:
    n, channels, *rest = x.shape
    rows = shaped(x, (n, groups, channels // groups * math.prod(rest)))
    y = shaped(_standard(rows, (2,), eps), x.shape)
    return _scaled(y, parts, weighted, (channels, *(1,) * len(rest)))


def _of_channels(x: Node, *parts: Node, axes: Shape, eps: float, weighted: bool) -> Any:
    """Standardised over the axes, which leave out that of the channels."""
    return _scaled(_standard(x, axes, eps), parts, weighted, _along_channels(x))


def _along_channels(x: Node) -> Shape:
    return (x.shape[1], *(1,) * (len(x.shape) - 2))


def _by_statistics(x: Node, mean: Node, variance: Node, *parts: Node, eps: float, weighted: bool) -> Any:
    shape = _along_channels(x)
    y = (x - shaped(mean, shape)) * shaped(reciprocal(sqrt(variance + eps)), shape)
    return _scaled(y, parts, weighted, shape)


# Layers ---------------------------------------------------------------------------------------------------


def _normalized(
    name: str, x: Tensor, given: Any, weight: Any, bias: Any, separator: str
) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """The axes that a normalized shape means, and the weight and bias that are given."""
    if not isinstance(given, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'normalized_shape' (position 2) must be tuple of ints, not "
            f"{type(given).__name__}"
        )
    shape = tuple(given)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, "
            "but got normalized_shape = []"
        )
    for role, part in (("weight", weight), ("bias", bias)):
        if part is not None and part._array.shape != shape:
            raise RuntimeError(
                f"Expected {role} to be of same shape as normalized_shape, but got {role} of shape "
                f"{list(part._array.shape)} and normalized_shape = {list(shape)}"
            )
    if x._array.shape[-len(shape) :] != shape:
        listed = "".join(f"{separator}{n}" for n in shape)
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*{listed}], but got input of "
            f"size{list(x._array.shape)}"
        )
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    return axes, tuple(p for p in (weight, bias) if p is not None)


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Return the input with mean 0 and variance 1 over its last dimensions, times a weight, plus a bias.

    >>> import jitgrad
    >>> jitgrad.nn.functional.layer_norm(jitgrad.tensor([1.0, 3.0]), (2,), eps=0.0)
    tensor([-1.,  1.])
    """
    x = require_tensor(input, "layer_norm")
    axes, parts = _normalized("layer_norm", x, normalized_shape, weight, bias, ", ")
    only_kinds("LayerNormKernelImpl", "f", x._array.dtype)
    params = {"axes": axes, "eps": float(eps), "weighted": weight is not None}
    return apply_function(_of_layer, (x, *parts), params, "NativeLayerNormBackward0")  # type: ignore[no-any-return]


def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    """Return the input over the root of the mean of its squares over its last dimensions, times a weight."""
    x = require_tensor(input, "rms_norm")
    axes, parts = _normalized("rms_norm", x, normalized_shape, weight, None, "")
    only_kinds("rms_norm", "f", x._array.dtype)
    eps = float(np.finfo(x._array.dtype).eps) if eps is None else float(eps)
    return apply_function(_by_root, (x, *parts), {"axes": axes, "eps": eps}, "MulBackward0")  # type: ignore[no-any-return]


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Return the input with mean 0 and variance 1 over each group of channels of each image."""
    x = require_tensor(input, "group_norm")
    if x.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {x.ndim}")
    shape = x._array.shape
    size = shape[0] * shape[1] // num_groups * math.prod(shape[2:]) if num_groups > 0 else 0
    if size == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {list(shape)}"
        )
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if shape[1] % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(shape)} and num_groups={num_groups}"
        )
    for role, part in (("weight", weight), ("bias", bias)):
        if part is not None and part._array.shape != (shape[1],):
            raise RuntimeError(
                f"Expected {role} to be a vector of size equal to the number of channels in input, but got "
                f"{role} of shape {list(part._array.shape)} and input of shape {list(shape)}"
            )
    only_kinds("GroupNormKernelImpl", "f", x._array.dtype)
    parts = tuple(p for p in (weight, bias) if p is not None)
    params = {"groups": int(num_groups), "eps": float(eps), "weighted": weight is not None}
    return apply_function(_of_groups, (x, *parts), params, "NativeGroupNormBackward0")  # type: ignore[no-any-return]


# Batches and instances ------------------------------------------------------------------------------------


def _channel_sizes(x: Tensor, **given: Any) -> None:
    for role, part in given.items():
        if part is not None and part._array.size != x._array.shape[1]:
            raise RuntimeError(f"{role} should contain {x._array.shape[1]} elements not {part._array.size}")
        if part is not None and x._array.dtype != part._array.dtype:
            raise RuntimeError(
                "mixed dtype (CPU): all inputs must share same datatype."
                if role.startswith("running")
                else f"Expected {role} of type {scalar_type(x._array.dtype)}"
            )


def _follow(running: Any, now: Any, momentum: float) -> None:
    """Move running statistics towards those of this batch."""
    if running is None:
        return
    before, state.grad = state.grad, False
    try:
        moved = running._array * (1 - momentum) + now * momentum
        overwrite(running, wrap(np.asarray(moved, running._array.dtype)), "CopyBackwards")
    finally:
        state.grad = before


def _moved(running_mean: Any, running_var: Any, x: Tensor, axes: Shape, momentum: float) -> None:
    """Let the running statistics follow the means over these axes, and over the batch."""
    if running_mean is None and running_var is None:
        return
    a = x._array
    count = math.prod(a.shape[i] for i in axes)
    rest = tuple(i for i in range(a.ndim - len(axes)) if i != (0 if len(axes) == a.ndim - 1 else 1))
    _follow(running_mean, state.compute(np.mean, np.mean(a, axes), rest), momentum)
    variance = state.compute(np.var, a, axes) * (count / (count - 1))
    _follow(running_var, np.mean(variance, rest), momentum)


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return each channel (of the second dimension) with mean 0 and variance 1, times a weight, plus a bias.

    In training the statistics are those of the batch, and the running ones, if given, follow them; otherwise
    they are the running ones.
    """
    x = require_tensor(input, "batch_norm")
    shape = x._array.shape
    if x.ndim < 2:
        return x * 1
    if training and shape[0] * math.prod(shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.size()}")
    if not training and (running_mean is None or running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise RuntimeError(f"{missing} must be defined in evaluation mode")
    _channel_sizes(x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    only_kinds("batch_norm", "f", x._array.dtype)
    parts = tuple(p for p in (weight, bias) if p is not None)
    params: dict[str, Any] = {"eps": float(eps), "weighted": weight is not None}
    if not training:
        operands = (x, running_mean, running_var, *parts)
        return apply_function(_by_statistics, operands, params, "NativeBatchNormBackward0")  # type: ignore[no-any-return]
    axes = (0, *range(2, x.ndim))
    _moved(running_mean, running_var, x, axes, momentum)
    return apply_function(_of_channels, (x, *parts), params | {"axes": axes}, "NativeBatchNormBackward0")  # type: ignore[no-any-return]


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return each channel of each image with mean 0 and variance 1, times a weight, plus a bias."""
    x = require_tensor(input, "instance_norm")
    if use_input_stats and math.prod(x._array.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {x.size()}")
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError(
            "Expected running_mean and running_var to be defined when use_input_stats is false"
        )
    _channel_sizes(x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    parts = tuple(p for p in (weight, bias) if p is not None)
    params: dict[str, Any] = {"eps": float(eps), "weighted": weight is not None}
    if not use_input_stats:
        return apply_function(_by_statistics, (x, running_mean, running_var, *parts), params, "ViewBackward0")  # type: ignore[no-any-return]
    axes = tuple(range(2, x.ndim))
    _moved(running_mean, running_var, x, axes, momentum)
    return apply_function(_of_channels, (x, *parts), params | {"axes": axes}, "ViewBackward0")  # type: ignore[no-any-return]


# Neighbouring channels ------------------------------------------------------------------------------------


def _by_neighbours(x: Node, size: int, alpha: float, beta: float, k: float, dtype: Any) -> Any:
    """x over a power of the mean square of `size` channels around each, of integers rounded down."""
    n, channels, *rest = x.shape
    before = size // 2
    zeros = (0,) * len(rest)
    padded = place(
        x * x, shape=(n, channels + size - 1, *rest), start=(0, before, *zeros), step=(1,) * len(x.shape)
    )
    total = window(padded, 1, 0, channels)
    for shift in range(1, size):
        total = total + window(padded, 1, shift, channels)
    mean = total / size if x.dtype.kind == "f" else cast(total // size, dtype=dtype)
    return cast(x, dtype=dtype) / OPS["power"](mean * alpha + k, beta)


def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Return the input over (k + alpha * the mean square of neighbouring channels) ** beta."""
    x = require_tensor(input, "local_response_norm")
    if x.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality                          input (got {x.ndim} dimensions)"
        )
    if not x._array.size:
        return x
    params = {"size": int(size), "alpha": float(alpha), "beta": float(beta), "k": float(k)}
    params["dtype"] = in_common_dtype("local_response_norm", x, floating=True)[0].dtype
    return apply_function(_by_neighbours, (x,), params, "DivBackward0")  # type: ignore[no-any-return]
