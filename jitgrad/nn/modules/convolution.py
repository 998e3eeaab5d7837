"""Layers of convolutions and of their transposes."""

from __future__ import annotations

import math
from typing import Any

from jitgrad.eager.functions.creation import empty
from jitgrad.eager.tensor import Tensor
from jitgrad.nn import convolution as functional
from jitgrad.nn import init
from jitgrad.nn.modules.module import Module
from jitgrad.nn.padding import pad
from jitgrad.nn.parameter import Parameter
from jitgrad.nn.sizes import repeated

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"]

_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """The options and parameters of a convolution over so many axes as `_axes` says."""

    _axes: int
    _transposed = False
    bias: Tensor | None
    output_padding: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = repeated(kernel_size, self._axes)
        self.stride = repeated(stride, self._axes)
        self.padding = padding if isinstance(padding, str) else repeated(padding, self._axes)
        self.dilation = repeated(dilation, self._axes)
        self.output_padding = (0,) * self._axes
        self.groups = groups
        self.padding_mode = padding_mode
        self._must_pad()
        channels = (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        shape = (channels[0], channels[1] // groups, *self.kernel_size)
        self.weight = Parameter(empty(*shape, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def _must_pad(self) -> None:
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string {self.padding!r}, should be one of {{'same', 'valid'}}"
                )
            if self.padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if self.padding_mode not in _MODES:
            raise ValueError(
                f"padding_mode must be one of {set(_MODES)}, but got padding_mode='{self.padding_mode}'"
            )

    def reset_parameters(self) -> None:
        """Draw the parameters anew, uniformly within 1 / sqrt(numbers that each result is made of)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            count = math.prod(self.weight.shape[1:])
            if count:
                init.uniform_(self.bias, -1 / math.sqrt(count), 1 / math.sqrt(count))

    def _widths(self) -> list[int]:
        """The borders before and after each axis, that of the last axis first."""
        sizes = zip(self.kernel_size, self.dilation, strict=True)
        if self.padding == "same":
            totals = [d * (k - 1) for k, d in sizes]
            pairs = [(total // 2, total - total // 2) for total in totals]
        else:
            pairs = [(0, 0) if self.padding == "valid" else (p, p) for p in repeated(self.padding, 1)]
        return [width for pair in reversed(pairs) for width in pair]

    def forward(self, input: Any) -> Tensor:
        convolve = functional.conv1d if self._axes == 1 else functional.conv2d
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = pad(input, self._widths(), mode=self.padding_mode), 0
        return convolve(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        none, one = (0,) * self._axes, (1,) * self._axes
        shown = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        )
        for name, default in (
            ("padding", none),
            ("dilation", one),
            ("output_padding", none),
            ("groups", 1),
        ):
            if getattr(self, name) != default:
                shown += f", {name}={getattr(self, name)}"
        shown += ", bias=False" if self.bias is None else ""
        return shown + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")


class Conv1d(_Convolution):
    """Return sums of products of windows of signals with a learnt weight, plus a bias."""

    _axes = 1


class Conv2d(_Convolution):
    """Return sums of products of windows of images with a learnt weight, plus a bias.

    >>> import jitgrad
    >>> layer = jitgrad.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    >>> layer
    Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    >>> layer(jitgrad.ones(4, 3, 10, 10)).shape
    torch.Size([4, 8, 5, 5])
    """

    _axes = 2


class _Transpose(_Convolution):
    """The options and parameters of the transpose of a convolution."""

    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            *(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias),
            device=device,
            dtype=dtype,
        )
        self.output_padding = repeated(output_padding, self._axes)

    def forward(self, input: Any, output_size: Any = None) -> Tensor:
        transpose = functional.conv_transpose1d if self._axes == 1 else functional.conv_transpose2d
        more = self.output_padding if output_size is None else self._missing(input, list(output_size))
        return transpose(
            input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation
        )

    def _missing(self, input: Any, wanted: list[int]) -> tuple[int, ...]:
        """What the result lacks to a size without output padding."""
        wanted = wanted[-self._axes :]
        given = input.shape[-self._axes :]
        axes = zip(given, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in axes]
        most = [n + s - 1 for n, s in zip(least, self.stride, strict=True)]
        if any(not low <= n <= high for n, low, high in zip(wanted, least, most, strict=True)):
            raise ValueError(
                f"requested an output size of {wanted}, but valid sizes range from {least} to {most} (for an "
                f"input of {input.shape[2:]})"
            )
        return tuple(n - low for n, low in zip(wanted, least, strict=True))


class ConvTranspose1d(_Transpose):
    """Return the transpose of `Conv1d`: windows of signals that a learnt weight makes of each number."""

    _axes = 1


class ConvTranspose2d(_Transpose):
    """Return the transpose of `Conv2d`: windows of images that a learnt weight makes of each number."""

    _axes = 2
