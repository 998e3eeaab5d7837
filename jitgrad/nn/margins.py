"""Losses that vanish where a margin is kept: between classes, pairs, or sides of a boundary."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.arithmetic import in_common_dtype
from jitgrad.eager.functions.operands import only_kinds
from jitgrad.eager.functions.pointwise import mapped
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node
from jitgrad.nn.distances import distance, pairwise_distance
from jitgrad.nn.reductions import recorded_as, reduced, reduction_of
from jitgrad.ops.elementwise import equal, not_equal, sqrt, where
from jitgrad.ops.gather import pick
from jitgrad.ops.structure import sum_axes
from jitgrad.ops.table import OPS
from jitgrad.ops.values import broadcast, insert_axes

__all__ = [
    *("cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss", "multi_margin_loss"),
    *("multilabel_margin_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss"),
]


def _positive(x: Node) -> Any:
    """The part above 0, whose derivative at 0 is 1."""
    return OPS["clamp_min"](x, 0)


# Sides of a boundary --------------------------------------------------------------------------------------


def _hinge(x: Node, y: Node, margin: float, reduction: str) -> Any:
    losses = where(not_equal(y, 1), _positive(margin - x), 0) + where(not_equal(y, -1), x, 0)
    return reduced(losses, reduction)


def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return distances where the target is 1, and what they lack to the margin where it is -1."""
    name = "hinge_embedding_loss"
    x, y = require_tensor(input, name), require_tensor(target, name, 2, "target")
    reduction = reduction_of(size_average, reduce, reduction)
    arrays = in_common_dtype(name, x, y, floating=True)
    step = recorded_as("AddBackward0", reduction)
    return mapped(_hinge, step, (x, arrays[1]), arrays, margin=float(margin), reduction=reduction)


def _ranked(first: Node, second: Node, y: Node, margin: float, reduction: str) -> Any:
    return reduced(_positive(-y * (first - second) + margin), reduction)


def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return what input1 lacks to exceed input2 (target 1), or to stay below it (-1), by the margin."""
    name = "margin_ranking_loss"
    given = (input1, input2, target)
    tensors = [require_tensor(t, name, i, f"input{i}") for i, t in enumerate(given, 1)]
    reduction = reduction_of(size_average, reduce, reduction)
    if len({t.ndim for t in tensors}) > 1:
        sizes = [t.size() for t in tensors]
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
            f"{sizes[0]}, input2: {sizes[1]}, target: {sizes[2]} "
        )
    arrays = in_common_dtype(name, *tensors, floating=True)
    step = recorded_as("ClampMinBackward0", reduction)
    return mapped(_ranked, step, tensors, arrays, margin=float(margin), reduction=reduction)


# Pairs and triplets ---------------------------------------------------------------------------------------

_TINY = 1e-12


def _cosine(x: Node, z: Node, y: Node, margin: float, reduction: str) -> Any:
    last = (len(x.shape) - 1,)
    lengths = (sum_axes(x * x, last) + _TINY) * (sum_axes(z * z, last) + _TINY)
    cosine = sum_axes(x * z, last) / sqrt(lengths)
    losses = where(equal(y, 1), 1 - cosine, 0) + where(equal(y, -1), _positive(cosine - margin), 0)
    return reduced(losses, reduction)


def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return 1 - cosine of pairs with target 1, and by how much the cosine of others exceeds the margin."""
    x, z, y = (require_tensor(t, "cosine_embedding_loss") for t in (input1, input2, target))
    reduction = reduction_of(size_average, reduce, reduction)
    if y.ndim > 1:
        raise RuntimeError(
            f"0D or 1D target tensor expected, multi-target not supported, got target with {y.ndim} "
            "dimensions"
        )
    axes = y.ndim + 1
    if x.ndim != axes or z.ndim != axes:
        raise RuntimeError(
            f"{y.ndim}D target tensor expects {axes}D input tensors, but found inputs with sizes "
            f"{list(x._array.shape)} and {list(z._array.shape)}."
        )
    arrays = [*in_common_dtype("cosine_embedding_loss", x, z, floating=True), y._array]
    step = recorded_as("AddBackward0", reduction)
    return mapped(_cosine, step, (x, z, y._array), arrays, margin=float(margin), reduction=reduction)


def _triplet(
    x: Node, near: Node, far: Node, margin: float, p: float, eps: float, swap: bool, reduction: str
) -> Any:
    away = distance(x, far, p, eps)
    if swap:
        away = OPS["minimum"](away, distance(near, far, p, eps))
    return reduced(_positive(margin + distance(x, near, p, eps) - away), reduction)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return by how much the distance to the positive exceeds that to the negative less the margin.

    `swap` takes the nearer of the anchor and the positive for the latter distance.
    """
    tensors = [require_tensor(t, "triplet_margin_loss") for t in (anchor, positive, negative)]
    reduction = reduction_of(size_average, reduce, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if len({t.ndim for t in tensors}) > 1:
        first, second, third = (t.ndim for t in tensors)
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, "
            f"but got: anchor {first}D, positive {second}D, and negative {third}D inputs"
        )
    params = {"margin": float(margin), "p": float(p), "eps": float(eps), "swap": swap, "reduction": reduction}
    arrays = in_common_dtype("triplet_margin_loss", *tensors, floating=True)
    return mapped(_triplet, recorded_as("ClampMinBackward0", reduction), tensors, arrays, **params)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Any = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return triplet_margin_loss with a distance of one's own."""
    reduction_of(None, None, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    dimensions = [t.ndim for t in (anchor, positive, negative)]
    if len(set(dimensions)) > 1:
        first, second, third = dimensions
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, "
            f"but got: anchor {first}D, positive {second}D, and negative {third}D inputs"
        )
    between = distance_function or pairwise_distance
    near: Any = between(anchor, positive)
    far: Any = between(anchor, negative)
    if swap:
        far = far.minimum(between(positive, negative))
    losses: Any = (near - far + margin).clamp_min(0)
    return getattr(losses, reduction)() if reduction != "none" else losses  # type: ignore[no-any-return]


def _above_zero(x: Node) -> Any:
    """The part above 0, whose derivative at 0 is 0."""
    return where(x > 0, x, 0)


# Classes --------------------------------------------------------------------------------------------------


def _multi(x: Node, index: Node, *weights: Node, p: int, margin: float, reduction: str) -> Any:
    right = insert_axes(pick(x, index), (len(x.shape) - 1,))
    gap = _above_zero(margin - right + x)
    gap = gap if p == 1 else gap * gap
    gap = gap * insert_axes(weights[0], (len(x.shape) - 1,)) if weights else gap
    others = not_equal(np.arange(x.shape[-1]), insert_axes(index, (len(x.shape) - 1,)))
    losses = sum_axes(where(others, gap, 0), (len(x.shape) - 1,)) / x.shape[-1]
    return reduced(losses, reduction)


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the mean over the classes of what the target class lacks to exceed them by the margin."""
    x, t = (
        require_tensor(input, "multi_margin_loss"),
        require_tensor(target, "multi_margin_loss", 2, "target"),
    )
    reduction = reduction_of(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    x = x if x.ndim else x.reshape(1)
    shape, index = x._array.shape, t._array
    if x.ndim > 2 or not (shape or (1,))[-1]:
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(shape)}"
        )
    if index.size != (shape[0] if x.ndim == 2 else 1) or index.ndim > 1:
        count = shape[0] if x.ndim == 2 else 1
        raise RuntimeError(
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples "
            f"(batch size). Expected target size [{count}], but got {list(index.shape)}. Input has shape "
            f"{list(shape)}."
        )
    if ((index < 0) | (index >= shape[-1])).any():
        raise RuntimeError("target out of range")
    only_kinds("multi_margin_loss", "f", x._array.dtype)
    index = index.reshape(shape[:-1])
    extra = () if weight is None else (weight._array[index],)
    params = {"p": int(p), "margin": float(margin), "reduction": reduction}
    return apply_function(_multi, (x, index, *extra), params, "MultiMarginLossBackward0")  # type: ignore[no-any-return]


def _multilabel(x: Node, index: Node, listed: Node, free: Node, reduction: str) -> Any:
    """The sum over pairs of a listed class and a free one, all classes last."""
    last = len(x.shape) - 1
    rows = insert_axes(x, (last,))
    each = pick(broadcast(rows, (*index.shape, x.shape[last])), index)
    gap = _above_zero(1 - insert_axes(each, (last + 1,)) + rows)
    pairs = insert_axes(listed, (last + 1,)) & insert_axes(free, (last,))
    losses = sum_axes(where(pairs, gap, 0), (last, last + 1)) / x.shape[last]
    return reduced(losses, reduction)


def multilabel_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return what each target class lacks to exceed each other class by 1; targets end at the first -1."""
    name = "multilabel_margin_loss"
    x, t = require_tensor(input, name), require_tensor(target, name, 2, "target")
    reduction = reduction_of(size_average, reduce, reduction)
    if x.ndim > 2 or not x._array.size and x.ndim and not x._array.shape[-1]:
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(x._array.shape)}"
        )
    if x._array.shape != t._array.shape:
        raise RuntimeError(
            f"inconsistent target size: {list(t._array.shape)} for input of size: {list(x._array.shape)}"
        )
    only_kinds(name, "f", x._array.dtype)
    places = np.atleast_1d(t._array)
    classes = places.shape[-1]
    if ((places < -1) | (places >= classes)).any():
        raise RuntimeError("target out of range")
    listed = np.logical_and.accumulate(places >= 0, -1)
    index = np.where(listed, places, 0)
    free = ~((index[..., :, None] == np.arange(classes)) & listed[..., :, None]).any(-2)
    array = np.atleast_1d(x._array)
    operands, arrays = (x, index, listed, free), [array, index, listed, free]
    source = x if x.ndim else x.reshape(1)
    return apply_function(  # type: ignore[no-any-return]
        _multilabel,
        (source, *operands[1:]),
        {"reduction": reduction},
        "MultilabelMarginLossBackward0",
        arrays,
    )
