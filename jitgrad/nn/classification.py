"""Losses of classes: how likely predictions make the ones that are right."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.arithmetic import in_common_dtype
from jitgrad.eager.functions.operands import only_kinds, scalar_type
from jitgrad.eager.functions.pointwise import mapped
from jitgrad.eager.modes import state
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node
from jitgrad.nn.reductions import recorded_as, reduced, reduction_of, total
from jitgrad.nn.softmax import along
from jitgrad.ops import activation
from jitgrad.ops.elementwise import equal, exp, log, log1p, stop_gradient, where
from jitgrad.ops.gather import pick
from jitgrad.ops.shape import moveaxis
from jitgrad.ops.structure import sum_axes
from jitgrad.ops.table import OPS

__all__ = [
    *("binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "kl_div", "nll_loss"),
    *("multilabel_soft_margin_loss", "soft_margin_loss"),
]

_softplus = OPS["softplus"]


# One class of several -------------------------------------------------------------------------------------


def _classes_last(x: Node) -> Any:
    return moveaxis(x, 1, -1) if len(x.shape) > 2 else x


def _logarithms(x: Node, log: bool) -> Any:
    """The logarithms of the classes' probabilities, the classes last; `log` if yet to be computed."""
    rows = _classes_last(x)
    return along(rows, activation.log_softmax, len(rows.shape) - 1) if log else rows


def _divided(losses: Node, count: float) -> Any:
    return total(losses) / count if count else total(losses) * math.nan


def _reduced_over(losses: Node, scale: Any, reduction: str) -> Any:
    """Losses whose mean is one over their scales, where they have them."""
    if reduction == "mean" and scale is not None:
        return total(losses) / total(scale)
    return reduced(losses, reduction)


def _indexed(x: Node, index: Node, *given: Node, log: bool, reduction: str, smoothing: float) -> Any:
    """The negative logarithms at the indices.

    `given` are the scale of each, whether it counts at all, and the weight of each class, or nothing.
    """
    logs = _logarithms(x, log)
    scale, counts, weights = given or (None, None, None)
    right = -pick(logs, index)
    losses = right if scale is None else where(counts, right * scale, 0)
    value = _reduced_over(losses, scale, reduction)
    if not smoothing:
        return value
    spread_out = -sum_axes(logs if weights is None else logs * weights, (len(logs.shape) - 1,))
    spread_out = spread_out if counts is None else where(counts, spread_out, 0)
    every = _reduced_over(spread_out, scale, reduction)
    return (1 - smoothing) * value + every * (smoothing / logs.shape[-1])


def _batches(x: Tensor, target: Tensor) -> None:
    """Refuse a target whose shape does not fit the input."""
    given, wanted = target._array.shape, x._array.shape
    if not wanted:
        raise ValueError(f"Expected 1 or more dimensions (got {x.ndim})")
    if len(wanted) == 1:
        if target._array.size != 1 or len(given) > 1:
            size = given[0] if given else 0
            raise ValueError(f"For 1D input, 1D target must have size 1, but got target size: {size}")
        return
    if (given[0] if given else 0) != wanted[0]:
        raise ValueError(
            f"Expected input batch_size ({wanted[0]}) to match target batch_size "
            f"({given[0] if given else 0})."
        )
    if len(wanted) == 4 and len(given) != 3:
        raise RuntimeError(
            f"only batches of spatial targets supported (3D tensors) but got targets of "
            f"dimension: {len(given)}"
        )
    expected = [wanted[0], *wanted[2:]]
    if list(given) != expected:
        if len(wanted) == 4:
            raise RuntimeError(f"size mismatch (got input: {list(wanted)} , target: {list(given)}")
        raise RuntimeError(f"Expected target size {expected}, got {list(given)}")


def _positions(x: Tensor, target: Tensor, ignored: int) -> tuple[Array, Array]:
    """The target as positions among the classes, 0 where it is ignored, and whether it is not."""
    t = target._array
    if t.dtype not in (np.int64, np.uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {scalar_type(t.dtype)}")
    _batches(x, target)
    t = t.astype(np.int64).reshape(()) if x.ndim == 1 else t.astype(np.int64)
    counts = t != ignored
    outside = counts & ((t < 0) | (t >= x._array.shape[0 if x.ndim == 1 else 1]))
    if outside.any():
        raise IndexError(f"Target {t[outside].flat[0]} is out of bounds.")
    return np.where(counts, t, 0), counts


def _class_weights(name: str, x: Tensor, weight: Any) -> Array:
    classes = x._array.shape[0 if x.ndim == 1 else 1]
    w = require_tensor(weight, name, 3, "weight")
    if w._array.shape != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got weight "
            f"tensor of shape: {list(w._array.shape)}"
        )
    if w._array.dtype != x._array.dtype:
        names = [scalar_type(t._array.dtype) for t in (x, w)]
        raise RuntimeError(f"expected scalar type {names[0]} but found {names[1]}")
    if w.requires_grad and state.grad:
        raise RuntimeError(
            "The function 'nll_loss_forward' is not differentiable with respect to argument 'weight'. This "
            "input cannot have requires_grad True."
        )
    return w._array


def _of_positions(
    name: str, x: Tensor, target: Tensor, weight: Any, ignored: int, reduction: str, **params: Any
) -> Tensor:
    dtype = x._array.dtype
    only_kinds("nll_loss_out_frame", "f", dtype)
    index, counts = _positions(x, target, ignored)
    operands: tuple[Any, ...] = (x, index)
    if weight is not None or not counts.all():
        classes = x._array.shape[0 if x.ndim == 1 else 1]
        weights = np.ones(classes, dtype) if weight is None else _class_weights(name, x, weight)
        scale = np.where(counts, weights[index] if classes else 0, 0).astype(dtype)
        operands = (x, index, scale, counts, weights)
    if params["smoothing"]:
        recorded = "AddBackward0"
    elif x.ndim < 3:
        recorded = "NllLossBackward0"
    else:
        recorded = "ViewBackward0" if x.ndim != 4 and reduction == "none" else "NllLoss2DBackward0"
    return apply_function(_indexed, operands, params | {"reduction": reduction}, recorded)  # type: ignore[no-any-return]


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative of the logarithms of probabilities at the target classes.

    The classes lie along the second dimension, or the only one. A mean is one over the classes' weights.
    IndexError for targets out of range, unless they are `ignore_index`.
    """
    x, t = require_tensor(input, "nll_loss"), require_tensor(target, "nll_loss", 2, "target")
    reduction = reduction_of(size_average, reduce, reduction)
    return _of_positions("nll_loss", x, t, weight, ignore_index, reduction, log=False, smoothing=0.0)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross entropy of softmax(input) with target classes, or with probabilities of classes.

    >>> import jitgrad
    >>> jitgrad.nn.functional.cross_entropy(jitgrad.tensor([[0.0, 0.0]]), jitgrad.tensor([1]))
    tensor(0.6931)
    """
    x, t = (
        require_tensor(input, "cross_entropy_loss"),
        require_tensor(target, "cross_entropy_loss", 2, "target"),
    )
    reduction = reduction_of(size_average, reduce, reduction)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    smoothing = float(label_smoothing)
    if x._array.shape == t._array.shape:
        return _of_probabilities(x, t, weight, ignore_index, reduction, smoothing)
    only_kinds("log_softmax_lastdim_kernel_impl", "f", x._array.dtype)
    return _of_positions("nll_loss", x, t, weight, ignore_index, reduction, log=True, smoothing=smoothing)


def _of_probabilities(
    x: Tensor, target: Tensor, weight: Any, ignored: int, reduction: str, smoothing: float
) -> Tensor:
    if target._array.dtype.kind != "f":
        raise RuntimeError(
            "Expected floating point type for target with class probabilities, got "
            f"{scalar_type(target._array.dtype)}"
        )
    if ignored >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    classes = x._array.shape[0 if x.ndim == 1 else 1]
    if weight is not None and weight._array.shape != (classes,):
        raise RuntimeError(
            f"cross_entropy: weight tensor should be defined either for all {classes} classes or no classes "
            f"but got weight tensor of shape: {list(weight._array.shape)}"
        )
    operands = (x, target) if weight is None else (x, target, weight)
    arrays = in_common_dtype("cross_entropy", *operands)
    recorded = "DivBackward1" if reduction == "mean" else "NegBackward0"
    params = {"reduction": reduction, "smoothing": smoothing}
    return apply_function(_expected, operands, params, recorded, arrays)  # type: ignore[no-any-return]


def _expected(x: Node, target: Node, *weights: Node, reduction: str, smoothing: float) -> Any:
    """The cross entropy with probabilities, which `smoothing` mixes with equal ones."""
    logs, wanted = _logarithms(x, True), _classes_last(target)
    classes = logs.shape[-1]
    if smoothing:
        wanted = wanted * (1 - smoothing) + smoothing / classes
    products = logs * wanted * weights[0] if weights else logs * wanted
    losses = -sum_axes(products, (len(logs.shape) - 1,))
    return _divided(losses, math.prod(losses.shape)) if reduction == "mean" else reduced(losses, reduction)


# Yes or no ------------------------------------------------------------------------------------------------


_LEAST = float(np.float32(1e-12))


def _two_logarithms(x: Node, y: Node) -> Any:
    """-y log(x) - (1 - y) log(1 - x), each logarithm at least -100.

    Where x is 0 or 1 its derivative is PyTorch's, (x - y) / 1e-12.
    """
    sure = equal(x, 0) | equal(x, 1)
    inner = where(sure, 0.5, x)
    constant = stop_gradient(x)
    yes = where(equal(x, 0), -100, where(sure, 0, OPS["clamp_min"](log(inner), -100)))
    no = where(equal(x, 1), -100, where(sure, 0, OPS["clamp_min"](log1p(-inner), -100)))
    slope = where(sure, (x - constant) * ((constant - y) / _LEAST), 0)
    return (y - 1) * no - y * yes + slope


def _binary(x: Node, y: Node, *weights: Node, reduction: str) -> Any:
    losses = _two_logarithms(x, y)
    return reduced(losses * weights[0] if weights else losses, reduction)


def _within(values: Array, of: str) -> None:
    if ((values < 0) | (values > 1)).any():
        raise RuntimeError(f"all elements of {of} should be between 0 and 1")


def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross entropy of probabilities with targets between 0 and 1."""
    name = "binary_cross_entropy"
    x, y = require_tensor(input, name), require_tensor(target, name, 2, "target")
    reduction = reduction_of(size_average, reduce, reduction)
    if x._array.shape != y._array.shape:
        raise ValueError(
            f"Using a target size ({y.size()}) that is different to the input size ({x.size()}) is "
            "deprecated. Please ensure they have the same size."
        )
    only_kinds(name, "f", x._array.dtype)
    if x._array.dtype != y._array.dtype:
        given, wanted = scalar_type(y._array.dtype), scalar_type(x._array.dtype)
        raise RuntimeError(f"Found dtype {given} but expected {wanted}")
    _within(x._array, "input")
    _within(y._array, "target")
    operands = (x, y) if weight is None else (x, y, weight)
    return mapped(
        _binary, "BinaryCrossEntropyBackward0", operands, [t._array for t in operands], reduction=reduction
    )


def _logits(x: Node, y: Node, *given: Node, weighted: bool, reduction: str) -> Any:
    """The cross entropy of sigmoid(x); `given` are the weights, if any, and the weight of a yes, if any."""
    positive = given[-1] if len(given) > weighted else None
    losses = (1 - y) * x
    below = _softplus(-x)
    losses = losses + (below if positive is None else ((positive - 1) * y + 1) * below)
    return reduced(losses * given[0] if weighted else losses, reduction)


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """Return the cross entropy of sigmoid(input) with targets, without overflow.

    `pos_weight` weighs the targets' part against that of what they lack to 1.
    """
    name = "binary_cross_entropy_with_logits"
    x, y = require_tensor(input, name), require_tensor(target, name, 2, "target")
    reduction = reduction_of(size_average, reduce, reduction)
    if x._array.shape != y._array.shape:
        raise ValueError(f"Target size ({y.size()}) must be the same as input size ({x.size()})")
    only_kinds("log_sigmoid_cpu", "f", x._array.dtype)
    operands = (x, y, *(w for w in (weight, pos_weight) if w is not None))
    arrays = in_common_dtype(name, *operands)
    params = {"weighted": weight is not None, "reduction": reduction}
    return mapped(_logits, "BinaryCrossEntropyWithLogitsBackward0", operands, arrays, **params)


def _soft_margin(x: Node, y: Node, reduction: str) -> Any:
    return reduced(_softplus(-y * x), reduction)


def soft_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return log(1 + exp(-target * input)) for targets 1 and -1."""
    x, y = require_tensor(input, "soft_margin_loss"), require_tensor(target, "soft_margin_loss", 2, "target")
    reduction = reduction_of(size_average, reduce, reduction)
    arrays = in_common_dtype("soft_margin_loss", x, y)
    only_kinds("log1p_cpu", "f", arrays[0].dtype)
    return mapped(_soft_margin, "SoftMarginLossBackward0", (x, y), arrays, reduction=reduction)


def _multilabel(x: Node, y: Node, *weights: Node, reduction: str) -> Any:
    losses = y * _softplus(-x) + (1 - y) * _softplus(x)
    losses = losses * weights[0] if weights else losses
    axis = len(losses.shape) - 1
    mean = sum_axes(losses, (axis,)) / losses.shape[axis]
    return reduced(mean, reduction)


def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross entropies of sigmoid(input) with targets 0 and 1, their mean over the classes."""
    name = "multilabel_soft_margin_loss"
    x, y = require_tensor(input, name), require_tensor(target, name, 2, "target")
    reduction = reduction_of(size_average, reduce, reduction)
    operands = (x, y) if weight is None else (x, y, weight)
    arrays = in_common_dtype(name, *operands)
    only_kinds("log_sigmoid_cpu", "f", arrays[0].dtype)
    step = recorded_as("DivBackward0", reduction)
    return mapped(_multilabel, step, operands, arrays, reduction=reduction)


# Distributions --------------------------------------------------------------------------------------------


def _divergence(x: Node, y: Node, log_target: bool, reduction: str) -> Any:
    losses = exp(y) * (y - x) if log_target else OPS["xlogy"](y, y) - y * x
    if reduction != "batchmean":
        return reduced(losses, reduction)
    return total(losses) / x.shape[0] if x.shape else losses


def kl_div(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Return the divergence of distributions from targets, the former as logarithms (with `log_target` both).

    "batchmean" divides the sum by the first extent alone.
    """
    x, y = require_tensor(input, "kl_div"), require_tensor(target, "kl_div", 2, "target")
    if reduction != "batchmean" or size_average is not None or reduce is not None:
        reduction = reduction_of(size_average, reduce, reduction)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support "
            "size.'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition.'mean' will be changed to behave the same as 'batchmean' in the next major release.",
            stacklevel=2,
        )
    if any(t._array.dtype.kind in "biu" for t in (x, y)):
        raise RuntimeError("kl_div: Integral inputs not supported.")
    arrays = in_common_dtype("kl_div", x, y)
    if reduction == "batchmean":
        step = "DivBackward0"
    else:
        step = recorded_as("MulBackward0" if log_target else "SubBackward0", reduction)
    return mapped(_divergence, step, (x, y), arrays, log_target=log_target, reduction=reduction)
