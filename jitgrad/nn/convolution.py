"""Convolutions of signals and images, and their transposes, with PyTorch's arguments and messages."""

from __future__ import annotations

from typing import Any

from jitgrad.eager import dtypes
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.operands import scalar_type
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node
from jitgrad.nn.sizes import as_numbers
from jitgrad.ops.convolution import Windows, convolution, convolution_of_input
from jitgrad.ops.shape import shaped

__all__ = ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"]

Ints = tuple[int, ...]


# Functions of nodes ---------------------------------------------------------------------------------------


def _with_bias(y: Node, bias: tuple[Node, ...], batched: bool) -> Any:
    if bias:
        y = y + shaped(bias[0], (y.shape[1], *(1,) * (len(y.shape) - 2)))
    return y if batched else shaped(y, y.shape[1:])


def _in_batch(x: Node, batched: bool) -> Any:
    return x if batched else shaped(x, (1, *x.shape))


def _forward(x: Node, weight: Node, *bias: Node, windows: Windows, groups: int, batched: bool) -> Any:
    y = convolution(_in_batch(x, batched), weight, windows=windows, groups=groups)
    return _with_bias(y, bias, batched)


def _transposed(
    x: Node, weight: Node, *bias: Node, size: Ints, windows: Windows, groups: int, batched: bool
) -> Any:
    y = convolution_of_input(_in_batch(x, batched), weight, size=size, windows=windows, groups=groups)
    return _with_bias(y, bias, batched)


# Checks ---------------------------------------------------------------------------------------------------


def _must_fit(name: str, spatial: int, x: Tensor, w: Tensor, groups: int, transposed: bool) -> None:
    shape = list(w._array.shape)
    if x.ndim not in (spatial + 1, spatial + 2):
        raise RuntimeError(
            f"Expected {spatial + 1}D (unbatched) or {spatial + 2}D (batched) input to {name}, but got input "
            f"of size: {list(x._array.shape)}"
        )
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if w.ndim != spatial + 2:
        raise RuntimeError(
            f"expected {spatial + 2}-dimensional weight for {name}, but got {w.ndim}-dimensional weight of "
            f"size {shape}"
        )
    if shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight "
            f"of size {shape} instead"
        )
    if shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got "
            f"weight of size [{shape}] instead"
        )
    channels, wanted = x._array.shape[-spatial - 1], shape[0] if transposed else shape[1] * groups
    if channels != wanted:
        given = list(x._array.shape) if x.ndim == spatial + 2 else [1, *x._array.shape]
        kind = "transposed=1" if transposed else f"groups={groups}"
        raise RuntimeError(
            f"Given {kind}, weight of size {shape}, expected input{given} to have {wanted} channels, but got "
            f"{channels} channels instead"
        )


def _must_fit_bias(w: Tensor, bias: Any, channels: int, transposed: bool) -> None:
    if bias is not None and bias._array.shape != (channels,):
        kind = "transposed=1, " if transposed else ""
        raise RuntimeError(
            f"Given {kind}weight of size {list(w._array.shape)}, expected bias to be 1-dimensional with "
            f"{channels} elements, but got bias of size {list(bias._array.shape)} instead"
        )


def _of_one_dtype(x: Tensor, w: Tensor, bias: Any) -> None:
    own = x._array.dtype
    if bias is not None and bias._array.dtype != own:
        given = [dtypes.C_NAMES.get(t.dtype, t.dtype.name) for t in (x, bias)]
        raise RuntimeError(f"Input type ({given[0]}) and bias type ({given[1]}) should be the same")
    if w._array.dtype != own:
        raise RuntimeError(f"expected scalar type {scalar_type(own)} but found {scalar_type(w._array.dtype)}")


def _steps(spatial: int, **given: Any) -> list[Ints]:
    """One number for each axis of stride, padding and dilation."""
    found = []
    for name, value in given.items():
        numbers = as_numbers(value, spatial, name)
        if name in ("padding", "output_padding"):
            if min(numbers, default=0) < 0:
                raise RuntimeError(f"negative {name} is not supported")
        elif min(numbers, default=1) <= 0:
            raise RuntimeError(f"non-positive {name} is not supported")
        found.append(numbers)
    return found


def _borders(padding: Any, kernel: Ints, stride: Ints, dilation: Ints) -> list[tuple[int, int]]:
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    if isinstance(padding, str):
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    (numbers,) = _steps(len(kernel), padding=padding)
    return [(p, p) for p in numbers]


def _shown(size: Any) -> str:
    return f"({' x '.join(map(str, size))})"


def _convolution(
    name: str,
    spatial: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    x, w = require_tensor(input, name), require_tensor(weight, name, 2, "weight")
    strides, dilations = _steps(spatial, stride=stride, dilation=dilation)
    kernel, size = w._array.shape[2:], x._array.shape[-spatial:]
    _must_fit(name, spatial, x, w, groups, False)
    borders = _borders(padding, kernel, strides, dilations)
    _must_fit_bias(w, bias, w._array.shape[0], False)
    full = [n + sum(border) for n, border in zip(size, borders, strict=True)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    if any(k > n for k, n in zip(reach, full, strict=True)):
        raise RuntimeError(
            f"Calculated padded input size per channel: {_shown(full)}. Kernel size: {_shown(reach)}. Kernel "
            "size can't be greater than actual input size"
        )
    _of_one_dtype(x, w, bias)
    windows = tuple((s, *border, d) for s, border, d in zip(strides, borders, dilations, strict=True))
    params = {"windows": windows, "groups": groups, "batched": x.ndim == spatial + 2}
    return _applied(_forward, x, w, bias, params)


def _applied(function: Any, x: Tensor, w: Tensor, bias: Any, params: dict[str, Any]) -> Tensor:
    operands = (x, w) if bias is None else (x, w, bias)
    recorded = "ConvolutionBackward0" if params["batched"] else "SqueezeBackward1"
    return apply_function(function, operands, params, recorded)  # type: ignore[no-any-return]


def _transpose(
    name: str,
    spatial: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    x, w = require_tensor(input, name), require_tensor(weight, name, 2, "weight")
    strides, dilations = _steps(spatial, stride=stride, dilation=dilation)
    paddings, more = _steps(spatial, padding=padding, output_padding=output_padding)
    _must_fit(name, spatial, x, w, groups, True)
    _must_fit_bias(w, bias, w._array.shape[1] * groups, True)
    if any(m >= max(s, d) for m, s, d in zip(more, strides, dilations, strict=True)):
        raise RuntimeError("output padding must be smaller than either stride or dilation")
    axes = zip(x._array.shape[-spatial:], w._array.shape[2:], strides, paddings, dilations, more, strict=True)
    size = tuple((n - 1) * s - 2 * p + d * (k - 1) + m + 1 for n, k, s, p, d, m in axes)
    if min(size) <= 0:
        raise RuntimeError(
            f"Given input size per channel: {_shown(x._array.shape[-spatial:])}. Calculated output size per "
            f"channel: {_shown(size)}. Output size is too small"
        )
    _of_one_dtype(x, w, bias)
    windows = tuple((s, p, p - m, d) for s, p, m, d in zip(strides, paddings, more, dilations, strict=True))
    params = {"size": size, "windows": windows, "groups": groups, "batched": x.ndim == spatial + 2}
    return _applied(_transposed, x, w, bias, params)


# What users call ------------------------------------------------------------------------------------------


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Return sums of products of windows of signals with a weight, plus a bias.

    `input` is (batch, channels, length) or without a batch, `weight` (out, channels / groups, kernel). The
    padding is a width, "valid" for none or "same" for results as long as the input.

    >>> import jitgrad
    >>> x, w = jitgrad.tensor([[[1.0, 2.0, 3.0]]]), jitgrad.tensor([[[1.0, 10.0]]])
    >>> jitgrad.nn.functional.conv1d(x, w)
    tensor([[[21., 32.]]])
    """
    return _convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Return sums of products of windows of images with a weight, plus a bias.

    `input` is (batch, channels, height, width) or without a batch, `weight` (out, channels / groups, height,
    width). Stride and others are one number for both axes or one for each; the padding may be "valid" or
    "same".
    """
    return _convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Return the transpose of `conv1d`, which is its gradient by the input, plus a bias."""
    given = (input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _transpose("conv_transpose1d", 1, *given)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Return the transpose of `conv2d`, which is its gradient by the input, plus a bias."""
    given = (input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _transpose("conv_transpose2d", 2, *given)
