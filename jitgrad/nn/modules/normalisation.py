"""Layers that bring numbers to mean 0 and variance 1: over batches, layers, images or groups of channels."""

from __future__ import annotations

from typing import Any

from jitgrad.eager.dtypes import int64
from jitgrad.eager.functions.creation import empty, ones, zeros
from jitgrad.eager.functions.creation import tensor as _tensor
from jitgrad.eager.tensor import Tensor
from jitgrad.nn import init
from jitgrad.nn import normalisation as functional
from jitgrad.nn.modules.module import Module
from jitgrad.nn.parameter import Parameter

__all__ = [
    *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d"),
    *("InstanceNorm3d", "LayerNorm", "LocalResponseNorm", "RMSNorm"),
]


class _Scaled(Module):
    """A layer that may have a learnt weight, and a bias."""

    weight: Tensor | None
    bias: Tensor | None

    def _add_parameters(self, shape: Any, weight: bool, bias: bool, named: dict[str, Any]) -> None:
        self.register_parameter("weight", Parameter(empty(shape, **named)) if weight else None)
        self.register_parameter("bias", Parameter(empty(shape, **named)) if bias else None)

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


# Channels -------------------------------------------------------------------------------------------------


class _OfChannels(_Scaled):
    """A layer that standardises channels, and may follow their statistics."""

    _version = 2
    _momentum: float | None = 0.1
    _affine = True
    _tracks = True
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        named = {"device": device, "dtype": dtype}
        self._add_parameters(num_features, affine, affine and bias, named)
        follows = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, **named) if follows else None)
        self.register_buffer("running_var", ones(num_features, **named) if follows else None)
        self.register_buffer("num_batches_tracked", _tensor(0, dtype=int64) if follows else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the statistics of batches."""
        if self.running_mean is not None and self.running_var is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
        if self.num_batches_tracked is not None:
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Forget the statistics of batches, set the weight to 1 and the bias to 0."""
        self.reset_running_stats()
        super().reset_parameters()

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load a state, which in its first version does not count batches."""
        key = f"{prefix}num_batches_tracked"
        if (local_metadata.get("version") or 1) < 2 and self.track_running_stats and key not in state_dict:
            state_dict[key] = self.num_batches_tracked
        found = (missing_keys, unexpected_keys, error_msgs)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *found)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_OfChannels):
    """Channels with mean 0 and variance 1 over a batch; inputs have so many dimensions as `_ranks` has."""

    _ranks: tuple[int, ...]

    def forward(self, input: Any) -> Tensor:
        if input.ndim not in self._ranks:
            listed = " or ".join(f"{n}D" for n in self._ranks)
            raise ValueError(f"expected {listed} input (got {input.ndim}D input)")
        momentum = self.momentum or 0.0
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        follows = not self.training or self.track_running_stats
        return functional.batch_norm(
            input,
            self.running_mean if follows else None,
            self.running_var if follows else None,
            self.weight,
            self.bias,
            self.training or (self.running_mean is None and self.running_var is None),
            momentum,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Return each channel of vectors or signals with mean 0 and variance 1 over the batch.

    In training running statistics follow those of the batches, by `momentum` or (None) as their mean; in
    evaluation they are used.
    """

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Return each channel of images with mean 0 and variance 1 over the batch.

    >>> import jitgrad
    >>> layer = jitgrad.nn.BatchNorm2d(3)
    >>> layer(jitgrad.randn(8, 3, 5, 5)).shape, layer.num_batches_tracked
    (torch.Size([8, 3, 5, 5]), tensor(1))
    """

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Return each channel of volumes with mean 0 and variance 1 over the batch."""

    _ranks = (5,)


class _InstanceNorm(_OfChannels):
    """Channels of each image with mean 0 and variance 1, over so many axes as `_axes` says."""

    _axes: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        options = (num_features, eps, momentum, affine, track_running_stats, device, dtype)
        super().__init__(*options, bias=bias)

    def forward(self, input: Any) -> Tensor:
        if input.ndim not in (self._axes + 1, self._axes + 2):
            raise ValueError(
                f"expected {self._axes + 1}D or {self._axes + 2}D input (got {input.ndim}D input)"
            )
        if self.affine and input.shape[-self._axes - 1] != self.num_features:
            raise ValueError(
                f"expected input's size at dim={input.ndim - self._axes - 1} to match num_features "
                f"({self.num_features}), but got: {input.shape[-self._axes - 1]}."
            )
        if input.ndim == self._axes + 1:
            return self._standardised(input.unsqueeze(0)).squeeze(0)  # type: ignore[no-any-return]
        return self._standardised(input)

    def _standardised(self, input: Any) -> Tensor:
        return functional.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )


class InstanceNorm1d(_InstanceNorm):
    """Return each channel of each signal with mean 0 and variance 1."""

    _axes = 1


class InstanceNorm2d(_InstanceNorm):
    """Return each channel of each image with mean 0 and variance 1."""

    _axes = 2


class InstanceNorm3d(_InstanceNorm):
    """Return each channel of each volume with mean 0 and variance 1."""

    _axes = 3


# Layers and groups ----------------------------------------------------------------------------------------


class LayerNorm(_Scaled):
    """Return the input with mean 0 and variance 1 over its last dimensions, times a weight, plus a bias.

    >>> import jitgrad
    >>> jitgrad.nn.LayerNorm(3)
    LayerNorm((3,), eps=1e-05, elementwise_affine=True, bias=True)
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        named = {"device": device, "dtype": dtype}
        self._add_parameters(self.normalized_shape, elementwise_affine, elementwise_affine and bias, named)
        self.reset_parameters()

    def forward(self, input: Any) -> Tensor:
        return functional.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


def _shape(given: Any) -> tuple[int, ...]:
    return (given,) if isinstance(given, int) else tuple(given)


class RMSNorm(_Scaled):
    """Return the input over the root of the mean of its squares over its last dimensions, times a weight."""

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        named = {"device": device, "dtype": dtype}
        weight = Parameter(ones(self.normalized_shape, **named)) if elementwise_affine else None
        self.register_parameter("weight", weight)

    def reset_parameters(self) -> None:
        """Set the weight to 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Any) -> Tensor:
        return functional.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Scaled):
    """Return the input with mean 0 and variance 1 over each group of channels of each image."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._add_parameters(num_channels, affine, affine and bias, {"device": device, "dtype": dtype})
        self.reset_parameters()

    def forward(self, input: Any) -> Tensor:
        return functional.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Return the input over (k + alpha * the mean square of neighbouring channels) ** beta."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Any) -> Tensor:
        return functional.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
