"""Borders around tensors, and the exchange of channels for pixels."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.operands import as_scalar
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node
from jitgrad.ops.arrange import selected
from jitgrad.ops.elementwise import where
from jitgrad.ops.shape import permuted, shaped, window
from jitgrad.ops.structure import place

__all__ = ["channel_shuffle", "pad", "pixel_shuffle", "pixel_unshuffle"]

Widths = tuple[tuple[int, int], ...]  # before and after, of every axis


# Borders --------------------------------------------------------------------------------------------------


def _cropped(x: Node, widths: Widths) -> Any:
    """x without what negative widths take away."""
    for axis, (before, after) in enumerate(widths):
        first = max(-before, 0)
        x = window(x, axis, first, x.shape[axis] - first - max(-after, 0))
    return x


def _with_constant(x: Node, widths: Widths, value: Any) -> Any:
    x = _cropped(x, widths)
    wide = [(max(before, 0), max(after, 0)) for before, after in widths]
    shape = tuple(before + n + after for n, (before, after) in zip(x.shape, wide, strict=True))
    start, step = tuple(before for before, _ in wide), (1,) * len(shape)
    padded = place(x, shape=shape, start=start, step=step)
    if not value:
        return padded
    inside = np.zeros(shape, bool)
    inside[tuple(slice(b, b + n) for b, n in zip(start, x.shape, strict=True))] = True
    return where(inside, padded, x.dtype.type(value))


_OF_NUMPY: dict[str, Any] = {"reflect": "reflect", "replicate": "edge"}


def _inner(index: Array, before: int, after: int) -> Array:
    """The index without what negative widths take away."""
    return index[max(-before, 0) : len(index) - max(-after, 0)]


def _with_own(x: Node, widths: Widths, mode: str) -> Any:
    """x with a border of its own elements; what negative widths take away is not repeated in circles."""
    for axis, (before, after) in enumerate(widths):
        if before or after:
            wide, index = (max(before, 0), max(after, 0)), np.arange(x.shape[axis])
            if mode == "circular":
                index = np.pad(_inner(index, before, after), wide, "wrap")
            else:
                index = _inner(np.pad(index, wide, _OF_NUMPY[mode]), before, after)
            x = selected(x, axis, index)
    return x


def _widths(x: Tensor, given: Any) -> Widths:
    try:
        numbers = [operator.index(n) for n in given]
    except TypeError:
        wrong = [(i, n) for i, n in enumerate(given) if not hasattr(n, "__index__")]
        raise TypeError(
            "pad(): argument 'pad' (position 2) must be tuple of ints, but found element of type "
            f"{type(wrong[0][1]).__name__} at pos {wrong[0][0]}"
        ) from None
    if len(numbers) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(numbers) > 2 * x.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding "
            f"length {len(numbers)} and input of dimension {x.ndim}"
        )
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))[::-1]
    return (*((0, 0),) * (x.ndim - len(pairs)), *pairs)


def _supported(x: Tensor, count: int) -> None:
    if (count, x.ndim) not in {(2, 2), (2, 3), (4, 3), (4, 4), (6, 4), (6, 5)}:
        raise NotImplementedError(
            f"Padding size {count} is not supported for {x.ndim}D input tensor.\n"
            "Supported combinations for non-constant padding:\n"
            "  - 2D or 3D input: padding size = 2 (pads last dimension)\n"
            "  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n"
            "  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"
        )


def _within(x: Tensor, widths: Widths, mode: str) -> None:
    """Refuse borders that are wider than the elements that they repeat."""
    for axis, ((before, after), n) in enumerate(zip(widths, x._array.shape, strict=True)):
        if before == after == 0:
            continue
        if mode == "reflect" and max(before, after) >= n:
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, but got: "
                f"padding ({before}, {after}) at dimension {axis} of input {list(x._array.shape)}"
            )
        if mode == "circular" and max(before, after) > n:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        if mode == "replicate" and not n:
            raise RuntimeError(f"Expected non-zero dimensions for input, but got: {list(x._array.shape)}")
        if before + n + after < (0 if mode == "circular" else 1):
            raise RuntimeError(
                f"input (size {n}) is too small for padding ({before}, {after}) in dimension {axis}"
            )


def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """Return the input with a border; `pad` has the widths before and after, of the last dimension first.

    The border is of a constant, or of the input's own elements: "reflect", "replicate" or "circular".
    Negative widths take elements away.

    >>> import jitgrad
    >>> jitgrad.nn.functional.pad(jitgrad.tensor([1.0, 2.0]), (1, 2))
    tensor([0., 1., 2., 0., 0.])
    """
    x = require_tensor(input, "pad")
    widths = _widths(x, pad)
    if mode == "constant":
        number = as_scalar(value or 0, x._array.dtype).item()
        for (before, after), n in zip(widths, x._array.shape, strict=True):
            if n + min(before, 0) + min(after, 0) < 0 or before + n + after < 0:
                raise RuntimeError("narrow(): length must be non-negative.")
        return apply_function(  # type: ignore[no-any-return]
            _with_constant, (x,), {"widths": widths, "value": number}, "ConstantPadNdBackward0"
        )
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in (*_OF_NUMPY, "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    _supported(x, len(pad))
    _within(x, widths, mode)
    names = {"reflect": "ReflectionPad", "replicate": "ReplicationPad"}
    name = f"{names[mode]}{len(pad) // 2}DBackward0" if mode in names else "CopySlices"
    return apply_function(_with_own, (x,), {"widths": widths, "mode": mode}, name)  # type: ignore[no-any-return]


# Channels and pixels --------------------------------------------------------------------------------------


def _shuffled(x: Node, r: int) -> Any:
    *lead, c, h, w = x.shape
    n = len(lead)
    parts = permuted(shaped(x, (*lead, c // r**2, r, r, h, w)), [*range(n + 1), n + 3, n + 1, n + 4, n + 2])
    return shaped(parts, (*lead, c // r**2, h * r, w * r))


def _unshuffled(x: Node, r: int) -> Any:
    *lead, c, h, w = x.shape
    n = len(lead)
    parts = permuted(shaped(x, (*lead, c, h // r, r, w // r, r)), [*range(n + 1), n + 2, n + 4, n + 1, n + 3])
    return shaped(parts, (*lead, c * r**2, h // r, w // r))


def _image(name: str, x: Tensor, factor: str, r: int) -> None:
    if x.ndim < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {x.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"{name} expects a positive {factor}, but got {r}")


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """Return images with r times the height and width, from r * r times the channels."""
    x, r = require_tensor(input, "pixel_shuffle"), upscale_factor
    _image("pixel_shuffle", x, "upscale_factor", r)
    channels = x._array.shape[-3]
    if channels % r**2:
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
            f"upscale_factor, but input.size(-3)={channels} is not divisible by {r**2}"
        )
    return apply_function(_shuffled, (x,), {"r": r}, "PixelShuffleBackward0")  # type: ignore[no-any-return]


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """Return images with r * r times the channels, from r times the height and width."""
    x, r = require_tensor(input, "pixel_unshuffle"), downscale_factor
    _image("pixel_unshuffle", x, "downscale_factor", r)
    for side, axis in (("height", -2), ("width", -1)):
        size = x._array.shape[axis]
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {side} to be divisible by downscale_factor, but "
                f"input.size({axis})={size} is not divisible by {r}"
            )
    return apply_function(_unshuffled, (x,), {"r": r}, "PixelUnshuffleBackward0")  # type: ignore[no-any-return]


def _mixed(x: Node, groups: int) -> Any:
    n, channels, *rest = x.shape
    parts = shaped(x, (n, groups, channels // groups, *rest))
    return shaped(permuted(parts, [0, 2, 1, *range(3, len(parts.shape))]), x.shape)


def channel_shuffle(input: Any, groups: int) -> Tensor:
    """Return the input with its channels, in groups, reordered so that neighbours come from all groups."""
    x = require_tensor(input, "channel_shuffle")
    if x.ndim < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(x._array.shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    if x._array.shape[1] % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {x._array.shape[1]} channels and {groups} "
            "groups."
        )
    return apply_function(_mixed, (x,), {"groups": groups}, "ChannelShuffleBackward0")  # type: ignore[no-any-return]
