"""Functions that neural networks apply to each number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.arithmetic import sigmoid as sigmoid
from jitgrad.eager.functions.arithmetic import tanh as tanh
from jitgrad.eager.functions.arithmetic import title
from jitgrad.eager.functions.operands import only_kinds, scalar_type
from jitgrad.eager.functions.pointwise import mapped
from jitgrad.eager.functions.pointwise import relu as _relu
from jitgrad.eager.functions.random import default_generator
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.inplace import guard, write
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node
from jitgrad.ops import activation
from jitgrad.ops.elementwise import absolute, expm1, stop_gradient, where
from jitgrad.ops.shape import shaped, window
from jitgrad.ops.table import OPS

__all__ = [
    *("celu", "celu_", "elu", "elu_", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh"),
    *("hardtanh_", "leaky_relu", "leaky_relu_", "logsigmoid", "mish", "prelu", "relu", "relu6", "relu_"),
    *("rrelu", "rrelu_", "selu", "selu_", "sigmoid", "silu", "softplus", "softshrink", "softsign", "tanh"),
    *("tanhshrink", "threshold", "threshold_"),
]

_softplus_of_1, _sigmoid, _tanh = OPS["softplus"], OPS["sigmoid"], OPS["tanh"]


# Functions of nodes ---------------------------------------------------------------------------------------


def _leaky_relu(x: Node, slope: float) -> Any:
    return where(x > 0, x, x * slope)


def _elu(x: Node, alpha: float, scale: float, inner: float) -> Any:
    """scale * x above 0, and alpha * expm1(inner * x) below, which does not overflow above."""
    below = alpha * expm1(where(x <= 0, x, 0) * inner)
    return where(x <= 0, below, x if scale == 1 else x * scale)


def _gelu(x: Node) -> Any:
    return activation.gelu(x)


def _gelu_tanh(x: Node) -> Any:
    return 0.5 * x * (1 + _tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def _silu(x: Node) -> Any:
    return activation.silu(x)


def _mish(x: Node) -> Any:
    return x * _tanh(_softplus_of_1(x))


def _log_sigmoid(x: Node) -> Any:
    return -_softplus_of_1(-x)


def _tanhshrink(x: Node) -> Any:
    return x - _tanh(x)


def _softsign(x: Node) -> Any:
    return x / (1 + absolute(x))


def _softplus(x: Node, beta: float, threshold: float) -> Any:
    return where(x * beta > threshold, x, _softplus_of_1(x * beta) / beta)


def _hardtanh(x: Node, low: Any, high: Any) -> Any:
    return where(x <= low, low, where(x >= high, high, x))


def _hardsigmoid(x: Node) -> Any:
    """The derivative is PyTorch's, for which 1 / 6 is rounded to float32."""
    fixed = stop_gradient(x)
    inside = (fixed > -3) & (fixed < 3)
    return _hardtanh(fixed + 3, 0, 6) / 6 + where(inside, (x - fixed) * float(np.float32(1 / 6)), 0)


def _hardswish(x: Node) -> Any:
    inside = (x > -3) & (x < 3)
    y = where(inside, x, 0)
    return where(inside, y * (y + 3) / 6, where(x <= -3, 0, x))


def _hardshrink(x: Node, limit: float) -> Any:
    return where((x >= -limit) & (x <= limit), 0, x)


def _softshrink(x: Node, limit: float) -> Any:
    return where(x > limit, x - limit, where(x < -limit, x + limit, x * 0))


def _threshold(x: Node, limit: Any, value: Any) -> Any:
    return where(x <= limit, value, x)


def _prelu(x: Node, weight: Node) -> Any:
    count = math.prod(weight.shape)
    weight = shaped(weight, () if count == 1 else (count, *(1,) * (len(x.shape) - 2)))
    return where(x > 0, x, weight * x)


def _rrelu(x: Node, slopes: Node) -> Any:
    return where(x > 0, x, x * slopes)


def _glu(x: Node, axis: int) -> Any:
    half = x.shape[axis] // 2
    return window(x, axis, 0, half) * _sigmoid(window(x, axis, half, half))


# Element by element ---------------------------------------------------------------------------------------


def _applied(
    name: str, function: Callable[..., Any], input: Any, kernel: str, inplace: bool, **params: Any
) -> Tensor:
    """The function of a floating tensor, written into the tensor itself if `inplace`."""
    x = require_tensor(input, name)
    only_kinds(kernel, "f", x._array.dtype)
    recorded = title(name, int(inplace and name in _RECORDED_APART))
    return _placed(x, lambda: mapped(function, recorded, (x,), [x._array], **params), inplace)


_RECORDED_APART = ("celu", "elu", "leaky_relu")  # whose steps in place PyTorch gives a number of their own


def _placed(x: Tensor, compute: Callable[[], Tensor], inplace: bool) -> Tensor:
    if not inplace:
        return compute()
    guard(x)
    return write(x, compute())


def relu(input: Any, inplace: bool = False) -> Tensor:
    """Return max(input, 0), whose derivative at 0 is 0."""
    return _placed(require_tensor(input, "relu"), lambda: _relu(input), inplace)


def relu_(input: Any) -> Tensor:
    """Write max(input, 0) into the tensor."""
    return relu(input, inplace=True)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Return the input held between two numbers, at which the derivative is 0."""
    x = require_tensor(input, "hardtanh")
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if x._array.dtype.kind == "b":
        raise RuntimeError("Bool inputs not supported for hardtanh")
    low, high = (float(v) if x._array.dtype.kind == "f" else int(v) for v in (min_val, max_val))
    return _placed(
        x, lambda: mapped(_hardtanh, "HardtanhBackward0", (x,), [x._array], low=low, high=high), inplace
    )


def hardtanh_(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Write the input held between two numbers into the tensor."""
    return hardtanh(input, min_val, max_val, inplace=True)


def relu6(input: Any, inplace: bool = False) -> Tensor:
    """Return min(max(input, 0), 6)."""
    return hardtanh(require_tensor(input, "relu6"), 0.0, 6.0, inplace)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return the input, times a slope where it is negative."""
    return _applied("leaky_relu", _leaky_relu, input, "leaky_relu_cpu", inplace, slope=float(negative_slope))


def leaky_relu_(input: Any, negative_slope: float = 0.01) -> Tensor:
    """Write the input, times a slope where it is negative, into the tensor."""
    return leaky_relu(input, negative_slope, inplace=True)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return the input where it is positive, alpha * expm1(input) elsewhere."""
    return _applied("elu", _elu, input, "elu_cpu", inplace, alpha=float(alpha), scale=1.0, inner=1.0)


def elu_(input: Any, alpha: float = 1.0) -> Tensor:
    """Write elu(input) into the tensor."""
    return elu(input, alpha, inplace=True)


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def selu(input: Any, inplace: bool = False) -> Tensor:
    """Return the elu that keeps mean 0 and variance 1 from layer to layer (Klambauer et al., 2017)."""
    params = {"alpha": _SELU_ALPHA * _SELU_SCALE, "scale": _SELU_SCALE, "inner": 1.0}
    x = require_tensor(input, "selu")
    only_kinds("elu_cpu", "f", x._array.dtype)
    return _placed(x, lambda: mapped(_elu, title("elu", int(inplace)), (x,), [x._array], **params), inplace)


def selu_(input: Any) -> Tensor:
    """Write selu(input) into the tensor."""
    return selu(input, inplace=True)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return the input where it is positive, alpha * expm1(input / alpha) elsewhere."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    inner = 1.0 / float(alpha)
    return _applied("celu", _elu, input, "elu_cpu", inplace, alpha=float(alpha), scale=1.0, inner=inner)


def celu_(input: Any, alpha: float = 1.0) -> Tensor:
    """Write celu(input) into the tensor."""
    return celu(input, alpha, inplace=True)


def gelu(input: Any, *, approximate: str = "none") -> Tensor:
    """Return input * Phi(input), Phi the normal distribution; "tanh" approximates it.

    >>> import jitgrad
    >>> jitgrad.nn.functional.gelu(jitgrad.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    """
    if approximate not in ("none", "tanh"):
        require_tensor(input, "gelu")
        raise RuntimeError("approximate argument must be either none or tanh.")
    return _applied("gelu", _gelu if approximate == "none" else _gelu_tanh, input, "GeluKernelImpl", False)


def silu(input: Any, inplace: bool = False) -> Tensor:
    """Return input * sigmoid(input)."""
    return _applied("silu", _silu, input, "silu_cpu", inplace)


def mish(input: Any, inplace: bool = False) -> Tensor:
    """Return input * tanh(softplus(input))."""
    return _applied("mish", _mish, input, "mish_cpu", inplace)


def logsigmoid(input: Any) -> Tensor:
    """Return log(sigmoid(input)), without overflow."""
    return _applied("log_sigmoid", _log_sigmoid, input, "log_sigmoid_cpu", False)


def tanhshrink(input: Any) -> Tensor:
    """Return input - tanh(input)."""
    x = require_tensor(input, "tanhshrink")
    if x._array.dtype.kind == "b":
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert "
            "a mask, use the `~` or `logical_not()` operator instead."
        )
    return mapped(_tanhshrink, "SubBackward0", (x,), [_floating(x)])


def softsign(input: Any) -> Tensor:
    """Return input / (1 + abs(input))."""
    x = require_tensor(input, "softsign")
    only_kinds("abs_cpu", "iuf", x._array.dtype)
    return mapped(_softsign, "DivBackward0", (x,), [_floating(x)])


def _floating(x: Tensor) -> Any:
    a = x._array
    return a if a.dtype.kind == "f" else a.astype(dtypes.DEFAULT.floating.numpy)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return log(1 + exp(beta * input)) / beta; the input itself where beta * input exceeds the threshold."""
    params = {"beta": float(beta), "threshold": float(threshold)}
    return _applied("softplus", _softplus, input, "softplus_cpu", False, **params)


def hardsigmoid(input: Any, inplace: bool = False) -> Tensor:
    """Return (input + 3) / 6 held between 0 and 1."""
    return _applied("hardsigmoid", _hardsigmoid, input, "hardsigmoid_cpu", inplace)


def hardswish(input: Any, inplace: bool = False) -> Tensor:
    """Return input * hardsigmoid(input)."""
    return _applied("hardswish", _hardswish, input, "hardswish_cpu", inplace)


def hardshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """Return the input, 0 where it is at most lambd in size."""
    return _applied("hardshrink", _hardshrink, input, "hardshrink_cpu", False, limit=float(lambd))


def softshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """Return the input moved by lambd towards 0, 0 where that would cross it; RuntimeError if lambd < 0."""
    x = require_tensor(input, "softshrink")
    only_kinds("softshrink_check", "f", x._array.dtype)
    if not 0 <= lambd:
        largest = np.finfo(x._array.dtype).max
        raise RuntimeError(
            f"lambda must be in range [0, {largest:g}] for input dtype {scalar_type(x._array.dtype)}, but "
            f"found {lambd:g}"
        )
    return _applied("softshrink", _softshrink, x, "softshrink_cpu", False, limit=float(lambd))


def threshold(input: Any, threshold: Any, value: Any, inplace: bool = False) -> Tensor:
    """Return the input, and `value` where it is not above the threshold."""
    x = require_tensor(input, "threshold")
    only_kinds("threshold_cpu", "iuf", x._array.dtype)
    number = float if x._array.dtype.kind == "f" else int
    params = {"limit": number(threshold), "value": number(value)}
    return _placed(
        x, lambda: mapped(_threshold, title("threshold", int(inplace)), (x,), [x._array], **params), inplace
    )


def threshold_(input: Any, threshold: Any, value: Any) -> Tensor:
    """Write `value` into the tensor where it is not above the threshold."""
    x = require_tensor(input, "threshold_")
    guard(x)
    number = float if x._array.dtype.kind == "f" else int
    params = {"limit": number(threshold), "value": number(value)}
    return write(x, mapped(_threshold, "ThresholdBackward1", (x,), [x._array], **params))


def prelu(input: Any, weight: Any) -> Tensor:
    """Return the input, times a learnt weight where it is negative: one for all, or one for each channel."""
    x, w = require_tensor(input, "prelu"), require_tensor(weight, "prelu", 2, "weight")
    if x._array.dtype != w._array.dtype:
        names = [scalar_type(t._array.dtype) for t in (x, w)]
        raise RuntimeError(f"prelu: Type promoting not supported. Got {names[0]} and {names[1]}")
    if w._array.size != 1:
        if not x.ndim:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = x._array.shape[1] if x.ndim > 1 else 1
        if channels != w._array.size:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{w._array.size} and channel size = {channels}."
            )
    if w.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {w.ndim}")
    only_kinds("prelu_cpu", "f", x._array.dtype)
    return apply_function(_prelu, (x, w), {}, "PreluKernelBackward0")  # type: ignore[no-any-return]


def rrelu(
    input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Return the input, times a random slope where it is negative; their mean when not training."""
    x = require_tensor(input, "rrelu")
    only_kinds("leaky_relu_cpu" if not training else "rrelu_with_noise_out_cpu", "f", x._array.dtype)
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if training:
        slopes: Any = default_generator.draw.uniform(lower, upper, x._array.shape)
    else:
        slopes = (lower + upper) / 2
    slopes = np.asarray(slopes, x._array.dtype)
    name = title("rrelu_with_noise", int(inplace))
    return _placed(x, lambda: mapped(_rrelu, name, (x, slopes), [x._array, slopes]), inplace)


def rrelu_(input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """Write rrelu(input) into the tensor."""
    return rrelu(input, lower, upper, training, inplace=True)


def glu(input: Any, dim: int = -1) -> Tensor:
    """Return the first half along a dimension times the sigmoid of the second."""
    x = require_tensor(input, "glu")
    if not x.ndim:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    axis = dimension(dim, x.ndim)
    if x._array.shape[axis] % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {axis} is size {x._array.shape[axis]}"
        )
    only_kinds("glu_cpu", "f", x._array.dtype)
    return apply_function(_glu, (x,), {"axis": axis}, "GluBackward0")  # type: ignore[no-any-return]
