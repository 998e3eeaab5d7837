"""Layers that add borders, or that give numbers other places."""

from __future__ import annotations

from typing import Any

from jitgrad.eager.size import Size
from jitgrad.eager.tensor import Tensor
from jitgrad.nn import padding as functional
from jitgrad.nn.modules.module import Module
from jitgrad.nn.sizes import repeated

__all__ = [
    *("ChannelShuffle", "CircularPad1d", "CircularPad2d", "ConstantPad1d", "ConstantPad2d", "Flatten"),
    *("PixelShuffle", "PixelUnshuffle", "ReflectionPad1d", "ReflectionPad2d", "ReplicationPad1d"),
    *("ReplicationPad2d", "Unflatten", "ZeroPad1d", "ZeroPad2d"),
]


# Borders --------------------------------------------------------------------------------------------------


class _Pad(Module):
    """A border on so many axes as `_axes` says, of the kind of `_mode`."""

    _axes: int
    _mode = "constant"
    value: float | None = None

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = repeated(padding, 2 * self._axes)

    def forward(self, input: Any) -> Tensor:
        return functional.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPad1d(_Pad):
    """Return signals with a border of zeros."""

    _axes = 1
    value = 0.0


class ZeroPad2d(_Pad):
    """Return images with a border of zeros."""

    _axes = 2
    value = 0.0


class ConstantPad1d(_ConstantPad):
    """Return signals with a border of one number."""

    _axes = 1


class ConstantPad2d(_ConstantPad):
    """Return images with a border of one number."""

    _axes = 2


class ReflectionPad1d(_Pad):
    """Return signals with a border of the input's own numbers, mirrored at its ends."""

    _axes = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """Return images with a border of the input's own numbers, mirrored at its ends."""

    _axes = 2
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """Return signals with a border of the input's outermost numbers."""

    _axes = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """Return images with a border of the input's outermost numbers."""

    _axes = 2
    _mode = "replicate"


class CircularPad1d(_Pad):
    """Return signals with a border of the numbers from the other end of the input."""

    _axes = 1
    _mode = "circular"


class CircularPad2d(_Pad):
    """Return images with a border of the numbers from the other end of the input."""

    _axes = 2
    _mode = "circular"


# Places ---------------------------------------------------------------------------------------------------


class Flatten(Module):
    """Return the input with the dimensions from `start_dim` to `end_dim` as one.

    >>> import jitgrad
    >>> jitgrad.nn.Flatten()(jitgrad.ones(2, 3, 4)).shape
    torch.Size([2, 12])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Return the input with one dimension as several."""

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        if not isinstance(unflattened_size, (tuple, list, Size)):
            kind = type(unflattened_size).__name__
            raise TypeError(f"unflattened_size must be a tuple of ints, but found type {kind}")
        for place, size in enumerate(unflattened_size):
            if not isinstance(size, int):
                kind = type(size).__name__
                raise TypeError(
                    f"unflattened_size must be tuple of ints, but found element of type {kind} at pos {place}"
                )
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Any) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class PixelShuffle(Module):
    """Return images with r times the height and width, from r * r times the channels."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Tensor:
        return functional.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Return images with r * r times the channels, from r times the height and width."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Tensor:
        return functional.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Return the input with its channels, in groups, reordered so that neighbours come from all groups."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Any) -> Tensor:
        return functional.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
