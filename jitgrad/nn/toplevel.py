"""The functions of neural networks that `torch` itself has too, some of them with other signatures."""

from __future__ import annotations

from typing import Any

from jitgrad.eager.define import define
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.nn import activations
from jitgrad.nn.activations import celu as celu
from jitgrad.nn.activations import celu_ as celu_
from jitgrad.nn.activations import relu_ as relu_
from jitgrad.nn.activations import rrelu as rrelu
from jitgrad.nn.activations import rrelu_ as rrelu_
from jitgrad.nn.activations import selu as selu
from jitgrad.nn.activations import selu_ as selu_
from jitgrad.nn.activations import threshold as threshold
from jitgrad.nn.activations import threshold_ as threshold_
from jitgrad.nn.convolution import conv1d as conv1d
from jitgrad.nn.convolution import conv2d as conv2d
from jitgrad.nn.convolution import conv_transpose1d as conv_transpose1d
from jitgrad.nn.convolution import conv_transpose2d as conv_transpose2d
from jitgrad.nn.distances import cosine_similarity as cosine_similarity
from jitgrad.nn.distances import pairwise_distance as pairwise_distance
from jitgrad.nn.dropout import alpha_dropout as alpha_dropout
from jitgrad.nn.dropout import dropped
from jitgrad.nn.dropout import feature_alpha_dropout as feature_alpha_dropout
from jitgrad.nn.linear import bilinear as bilinear
from jitgrad.nn.normalisation import group_norm as _group_norm
from jitgrad.nn.normalisation import layer_norm as _layer_norm
from jitgrad.nn.normalisation import rms_norm as rms_norm
from jitgrad.nn.padding import channel_shuffle as channel_shuffle
from jitgrad.nn.padding import pixel_shuffle as pixel_shuffle
from jitgrad.nn.padding import pixel_unshuffle as pixel_unshuffle
from jitgrad.nn.pooling import adaptive_avg_pool1d as adaptive_avg_pool1d
from jitgrad.nn.pooling import adaptive_max_pool1d_with_indices
from jitgrad.nn.pooling import avg_pool1d as avg_pool1d
from jitgrad.nn.pooling import max_pool1d as max_pool1d
from jitgrad.nn.pooling import max_pool1d_with_indices as max_pool1d_with_indices
from jitgrad.nn.pooling import max_pool2d as max_pool2d
from jitgrad.nn.softmax import torch_softmax

__all__ = [
    *(
        "adaptive_avg_pool1d",
        "adaptive_max_pool1d",
        "alpha_dropout",
        "avg_pool1d",
        "bilinear",
        "celu",
        "celu_",
    ),
    *("channel_shuffle", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "max_pool1d"),
    *("max_pool1d_with_indices", "max_pool2d"),
    *("cosine_similarity", "dropout", "dropout_", "feature_alpha_dropout", "group_norm", "hardshrink"),
    *("layer_norm", "log_softmax", "pairwise_distance", "pixel_shuffle", "pixel_unshuffle", "prelu"),
    *("relu_", "rms_norm", "rrelu", "rrelu_", "selu", "selu_", "softmax", "threshold", "threshold_"),
]

adaptive_max_pool1d = adaptive_max_pool1d_with_indices
softmax = define("softmax")(torch_softmax("softmax"))
log_softmax = define("log_softmax")(torch_softmax("log_softmax"))
hardshrink = define("hardshrink", out=True)(activations.hardshrink)
prelu = define("prelu")(activations.prelu)


def dropout(input: Any, p: float, train: bool) -> Tensor:
    """Return the input with each number set to zero with probability p, the others over 1 - p."""
    return _dropped(input, p, train, False)


def dropout_(input: Any, p: float, train: bool) -> Tensor:
    """Set each number of the tensor to zero with probability p, and divide the others by 1 - p."""
    return _dropped(input, p, train, True)


def _dropped(input: Any, p: float, train: bool, inplace: bool) -> Tensor:
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p:g}")
    return dropped(require_tensor(input, "dropout"), float(p), train, inplace)


def layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Return the input with mean 0 and variance 1 over its last dimensions, times a weight, plus a bias."""
    return _layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(
    input: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Return the input with mean 0 and variance 1 over groups of channels, times a weight, plus a bias."""
    return _group_norm(input, num_groups, weight, bias, eps)
