"""Pooling of signals and images: the largest number or the mean of each window."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.operands import only_kinds, scalar_type
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node
from jitgrad.ops import pooling

__all__ = [
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d"),
    *("adaptive_max_pool1d_with_indices", "adaptive_max_pool2d_with_indices", "avg_pool1d", "avg_pool2d"),
    *("max_pool1d", "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices"),
]

Ints = tuple[int, ...]


# Windows --------------------------------------------------------------------------------------------------


def _numbers(name: str, what: str, value: Any, spatial: int) -> Ints:
    """One number for each axis; RuntimeError for another number of them."""
    numbers = tuple(operator.index(n) for n in (value if isinstance(value, Iterable) else (value,)))
    if len(numbers) == 1:
        return numbers * spatial
    if len(numbers) != spatial:
        word = {1: "one int", 2: "two ints"}[spatial]
        raise RuntimeError(f"{name}: {what} must either be a single int, or a tuple of {word}")
    return numbers


def _count(n: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    """How many windows an axis has; the last one begins in the image or in the border before it."""
    room = n + 2 * padding - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil else 0)) // stride + 1
    return count - 1 if ceil and (count - 1) * stride >= n + padding else count


def _windows(
    name: str, x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, spatial: int
) -> list[tuple[int, int, int, int, int]]:
    """Of each axis: how many windows, their length, stride, border and dilation; RuntimeError as PyTorch."""
    sizes = _numbers(name, "kernel_size", kernel, spatial)
    empty = stride is None or (isinstance(stride, Iterable) and not stride)
    strides = sizes if empty else _numbers(name, "stride", stride, spatial)
    paddings = _numbers(name, "padding", padding, spatial)
    dilations = _numbers(name, "dilation", dilation, spatial)
    if name == "max_pool1d":
        _must_be_positive(name, sizes[0], strides[0], dilations[0], paddings[0])
    if 0 in strides:
        raise RuntimeError("stride should not be zero")
    if min(sizes) <= 0 or min(strides) <= 0:
        raise RuntimeError("kernel size and stride should be greater than zero")
    if min(dilations) <= 0:
        shown = " ".join(f"dilation{axis}: {d}" for axis, d in zip("HW"[-spatial:], dilations, strict=True))
        raise RuntimeError(f"dilation should be greater than zero, but got {shown}")
    counts = []
    for n, k, s, p, d in zip(x._array.shape[-spatial:], sizes, strides, paddings, dilations, strict=True):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                f"dilation={d}"
            )
        counts.append(_count(n, k, s, p, d, ceil))
    if any(p > k // 2 for p, k in zip(paddings, sizes, strict=True)):
        (pad_h, pad_w), (high, wide) = (0, *paddings)[-2:], (1, *sizes)[-2:]
        raise RuntimeError(
            f"pad should be smaller than or equal to half of kernel size, but got padW = {pad_w}, "
            f"padH = {pad_h}, kW = {wide}, kH = {high}"
        )
    if min(counts) <= 0:
        _too_small(name, x, counts)
    return list(zip(counts, sizes, strides, paddings, dilations, strict=True))


def _must_be_positive(name: str, kernel: int, stride: int, dilation: int, padding: int) -> None:
    for what, number in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        if number <= 0:
            raise RuntimeError(f"{name}() {what} must be greater than zero, but got {number}")
    if not 0 <= padding <= kernel // 2:
        raise RuntimeError(
            f"{name}() padding should be at most half of kernel size, but got padding={padding} and "
            f"kernel_size={kernel}"
        )


def _too_small(name: str, x: Tensor, counts: list[int]) -> None:
    if name == "max_pool1d":
        raise RuntimeError(f"max_pool1d() Invalid computed output size: {counts[0]}")
    one = (1,) * (2 - len(counts))
    channels, size = x._array.shape[-len(counts) - 1], x._array.shape[-len(counts) :]
    given, made = ("x".join(map(str, (channels, *one, *n))) for n in (size, counts))
    raise RuntimeError(
        f"Given input size: ({given}). Calculated output size: ({made}). Output size is too small"
    )


def _images(name: str, value: Any, spatial: int) -> Tensor:
    """The input if it has channels and spatial axes, with or without a batch."""
    x = require_tensor(value, name)
    shape = x._array.shape
    if x.ndim in (spatial + 1, spatial + 2) and all(shape[1:] if x.ndim == spatial + 2 else shape):
        return x
    if name.startswith("max_pool2d") and x.ndim not in (3, 4):
        raise RuntimeError("non-empty 3D or 4D (batch mode) tensor expected for input")
    if name in ("avg_pool1d", "adaptive_avg_pool1d", "adaptive_max_pool1d") and x.ndim not in (2, 3):
        raise RuntimeError(
            f"Expected 2 to 3 dimensions, but got {x.ndim}-dimensional tensor for argument #1 'self' (while "
            f"checking arguments for {name})"
        )
    if x.ndim < spatial + 1 and name in ("avg_pool2d", "adaptive_avg_pool2d"):
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-x.ndim}, {x.ndim - 1}], but got "
            f"{-x.ndim - 1})"
        )
    shown = f"{name}: " if spatial == 1 else ""
    raise RuntimeError(
        f"{shown}Expected {spatial + 1}D or {spatial + 2}D (batch mode) tensor with optional 0 dim batch "
        f"size for input, but got:{list(shape)}"
    )


# The largest ----------------------------------------------------------------------------------------------


def _largest(x: Node, *index: Node) -> Any:
    return pooling.window_maxima(x, *index)


def _max_pooled(name: str, value: Any, spatial: int, options: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    x = _images(name, value, spatial)
    kernel, stride, padding, dilation, ceil = options
    windows = _windows(name, x, kernel, stride, padding, dilation, ceil, spatial)
    only_kinds("max_pool2d" if spatial == 2 else "max_pool1d_impl", "fiu", x._array.dtype)
    size = x._array.shape[-spatial:]
    index = [pooling.window_index(n, *window) for n, window in zip(size, windows, strict=True)]
    recorded = "MaxPool2DWithIndicesBackward0" if spatial == 2 else "SqueezeBackward1"
    values, places = apply_function(_largest, (x, *index), {}, recorded)
    return values, places


def _of_maxima(name: str, spatial: int) -> Any:
    def with_indices(
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return the largest numbers of windows, and where in their channel they lie, row by row."""
        return _max_pooled(name, input, spatial, (kernel_size, stride, padding, dilation, ceil_mode))

    with_indices.__name__ = with_indices.__qualname__ = name
    return with_indices


max_pool1d_with_indices = _of_maxima("max_pool1d_with_indices", 1)
max_pool2d_with_indices = _of_maxima("max_pool2d_with_indices", 2)


def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest numbers of windows of signals, and where they lie if `return_indices`.

    >>> import jitgrad
    >>> jitgrad.nn.functional.max_pool1d(jitgrad.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[3., 2.]])
    """
    name = "max_pool1d_with_indices" if return_indices else "max_pool1d"
    found = _max_pooled(name, input, 1, (kernel_size, stride, padding, dilation, ceil_mode))
    return found if return_indices else found[0]


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest numbers of windows of images, and where they lie if `return_indices`.

    The stride is the kernel's size if not given; `ceil_mode` adds windows that reach beyond the image.
    """
    found = _max_pooled("max_pool2d", input, 2, (kernel_size, stride, padding, dilation, ceil_mode))
    return found if return_indices else found[0]


# Means ----------------------------------------------------------------------------------------------------


def _mean(x: Node, windows: Any, inclusive: bool, divisor: int | None, after: Ints) -> Any:
    return pooling.window_means(x, windows, inclusive, divisor, after)


def _averaged(name: str, value: Any, spatial: int, options: tuple[Any, ...]) -> Tensor:
    x = _images(name, value, spatial)
    kernel, stride, padding, ceil, inclusive, divisor = options
    windows = _windows(name, x, kernel, stride, padding, 1, ceil, spatial)
    if divisor == 0:
        raise RuntimeError("divisor must be not zero")
    if x._array.dtype != np.int64:
        only_kinds("avg_pool2d", "f", x._array.dtype)
    params = {
        "windows": tuple(window[:4] for window in windows),
        "inclusive": bool(inclusive),
        "divisor": divisor,
        "after": tuple(window[3] for window in windows),
    }
    recorded = "AvgPool2DBackward0" if spatial == 2 else "SqueezeBackward1"
    return apply_function(_mean, (x,), params, recorded)  # type: ignore[no-any-return]


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the means of windows of signals; borders count unless `count_include_pad` is False.

    >>> import jitgrad
    >>> jitgrad.nn.functional.avg_pool1d(jitgrad.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[2., 1.]])
    """
    return _averaged(
        "avg_pool1d", input, 1, (kernel_size, stride, padding, ceil_mode, count_include_pad, None)
    )


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the means of windows of images, or their sums over `divisor_override`."""
    options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _averaged("avg_pool2d", input, 2, options)


# So many windows ------------------------------------------------------------------------------------------


def _adaptive_sizes(name: str, x: Tensor, given: Any, spatial: int) -> Ints:
    numbers = given if isinstance(given, Iterable) else (given,) * spatial
    listed = list(numbers)
    if spatial == 2 and isinstance(given, Iterable) and x.ndim <= len(listed):
        raise ValueError(f"Input dimension should be at least {len(listed) + 1}")
    if len(listed) != spatial:
        if spatial == 1:
            raise RuntimeError(f"{name}() argument 'output_size' should contain one int (got {len(listed)})")
        raise RuntimeError(f"{name}: output_size must be {spatial}")
    return tuple(
        n if c is None else operator.index(c)
        for n, c in zip((1, 1, *x._array.shape)[-spatial:], listed, strict=True)
    )


def _adaptive_mean(x: Node, counts: Ints) -> Any:
    return pooling.even_window_means(x, counts)


def _adaptively_averaged(name: str, value: Any, spatial: int, output_size: Any) -> Tensor:
    counts = _adaptive_sizes(name, require_tensor(value, name), output_size, spatial)
    x = _images(name, value, spatial)
    if min(counts) < 0:
        shown = ", ".join(map(str, (1,) * (2 - spatial) + counts))
        raise RuntimeError(
            "adaptive_avg_pool2d: elements of output_size must be greater than or equal to 0 but received "
            f"{{{shown}}}"
        )
    whole = set(counts) == {1}
    if whole and x._array.dtype.kind != "f":
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex "
            f"dtype. Got: {scalar_type(x._array.dtype)}"
        )
    only_kinds("adaptive_avg_pool2d", "f", x._array.dtype)
    recorded = "SqueezeBackward1" if spatial == 1 else "AdaptiveAvgPool2DBackward0"
    if whole and spatial == 2:
        recorded = "MeanBackward1"
    return apply_function(_adaptive_mean, (x,), {"counts": counts}, recorded)  # type: ignore[no-any-return]


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Tensor:
    """Return the means of so many windows that cover signals evenly."""
    return _adaptively_averaged("adaptive_avg_pool1d", input, 1, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """Return the means of so many windows that cover images evenly; None keeps the size of an axis.

    >>> import jitgrad
    >>> jitgrad.nn.functional.adaptive_avg_pool2d(jitgrad.tensor([[[1.0, 2.0], [3.0, 6.0]]]), 1)
    tensor([[[3.]]])
    """
    return _adaptively_averaged("adaptive_avg_pool2d", input, 2, output_size)


def _adaptively_largest(name: str, value: Any, spatial: int, output_size: Any) -> tuple[Tensor, Tensor]:
    x = require_tensor(value, name)
    counts = _adaptive_sizes(name, x, output_size, spatial)
    if spatial == 2 and x.ndim not in (3, 4):
        raise RuntimeError(f"{name}(): Expected 3D or 4D tensor, but got: {list(x._array.shape)}")
    x = _images(name, value, spatial)
    if min(counts) < 0:
        made = [*x._array.shape[:-spatial], *(1,) * (2 - spatial), *counts]
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(counts)}: {made}")
    only_kinds("adaptive_max_pool2d", "f", x._array.dtype)
    size = x._array.shape[-spatial:]
    index = [pooling.adaptive_index(n, c)[0] for n, c in zip(size, counts, strict=True)]
    recorded = "AdaptiveMaxPool2DBackward0" if spatial == 2 else "SqueezeBackward1"
    values, places = apply_function(_largest, (x, *index), {}, recorded)
    return values, places


def adaptive_max_pool1d_with_indices(
    input: Any, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the largest numbers of so many windows that cover signals evenly, and where they lie."""
    return _adaptively_largest("adaptive_max_pool1d", input, 1, output_size)


def adaptive_max_pool2d_with_indices(
    input: Any, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the largest numbers of so many windows that cover images evenly, and where they lie."""
    return _adaptively_largest("adaptive_max_pool2d", input, 2, output_size)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest numbers of so many windows that cover signals evenly."""
    found = adaptive_max_pool1d_with_indices(input, output_size)
    return found if return_indices else found[0]


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest numbers of so many windows that cover images evenly."""
    found = adaptive_max_pool2d_with_indices(input, output_size)
    return found if return_indices else found[0]
