"""Losses of numbers: how far predictions are from their targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager.functions.arithmetic import in_common_dtype, title
from jitgrad.eager.functions.operands import only_kinds
from jitgrad.eager.functions.pointwise import mapped
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node
from jitgrad.nn.reductions import recorded_as, reduced, reduction_of, total, warn_of_sizes
from jitgrad.ops.elementwise import absolute, exp, log, stop_gradient, where

__all__ = [
    *("gaussian_nll_loss", "huber_loss", "l1_loss", "mse_loss", "poisson_nll_loss", "smooth_l1_loss"),
]


def _both(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    return require_tensor(input, name), require_tensor(target, name, 2, "target")


# Differences ----------------------------------------------------------------------------------------------


def _squared(x: Node, y: Node) -> Any:
    return (x - y) * (x - y)


def _absolute(x: Node, y: Node) -> Any:
    return absolute(x - y)


def _smooth(x: Node, y: Node, beta: float) -> Any:
    z = absolute(x - y)
    return where(z < beta, 0.5 * z * z / beta, z - 0.5 * beta)


def _huber(x: Node, y: Node, delta: float) -> Any:
    z = absolute(x - y)
    return where(z <= delta, 0.5 * z * z, delta * (z - 0.5 * delta))


def _loss(
    x: Node, y: Node, *weights: Node, measure: Callable[..., Any], reduction: str, divide: bool, **params: Any
) -> Any:
    """A measure of each difference, weighted and reduced; `divide` makes a mean one over the weights."""
    losses = measure(x, y, **params)
    if not weights:
        return reduced(losses, reduction)
    weighted = losses * weights[0]
    if reduction == "mean" and divide:
        return total(weighted) / total(weights[0])
    return reduced(weighted, reduction)


def _measured(
    name: str,
    kernel: str,
    measure: Callable[..., Any],
    given: tuple[Any, Any, Any],
    legacy: tuple[bool | None, bool | None, str],
    recorded: tuple[str, str] = ("", ""),
    *,
    divide: bool = True,
    kinds: str = "f",
    **params: Any,
) -> Tensor:
    """A loss of two tensors, and weights or None.

    `recorded` names the step without and with weights where PyTorch records the reduction apart.
    """
    x, y = _both(name, *given[:2])
    warn_of_sizes(x, y)
    reduction, weight = reduction_of(*legacy), given[2]
    operands = (x, y) if weight is None else (x, y, weight)
    arrays = in_common_dtype(name, *operands)
    only_kinds(kernel, kinds, arrays[0].dtype)
    if weight is not None and weight._array.shape != np.broadcast_shapes(*(a.shape for a in arrays[:2])):
        raise ValueError("Input, target and weight must have the same size.")
    params |= {"measure": measure, "reduction": reduction, "divide": divide}
    step = recorded[weight is not None]
    return mapped(_loss, recorded_as(step, reduction) if step else title(name), operands, arrays, **params)


def mse_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """Return the squares of the differences, as a mean, a sum or (reduction="none") one by one.

    >>> import jitgrad
    >>> jitgrad.nn.functional.mse_loss(jitgrad.tensor([1.0, 2.0]), jitgrad.tensor([1.0, 4.0]))
    tensor(2.)
    """
    legacy = (size_average, reduce, reduction)
    return _measured("mse_loss", "mse_cpu", _squared, (input, target, weight), legacy, ("", "MulBackward0"))


def l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    """Return the sizes of the differences, as a mean, a sum or one by one."""
    legacy = (size_average, reduce, reduction)
    names = ("AbsBackward0", "MulBackward0")
    return _measured("l1_loss", "abs_cpu", _absolute, (input, target, weight), legacy, names, kinds="iuf")


def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Return the sizes of the differences, less beta / 2; below beta squares, over 2 * beta."""
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    given, legacy = (input, target, None), (size_average, reduce, reduction)
    return _measured("smooth_l1_loss", "smooth_l1_cpu", _smooth, given, legacy, beta=float(beta))


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Tensor:
    """Return half the squares of the differences, continued as straight lines beyond delta."""
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    given, names = (input, target, weight), ("", "MulBackward0")
    legacy = (None, None, reduction)
    return _measured(
        "huber_loss", "huber_cpu", _huber, given, legacy, names, divide=False, delta=float(delta)
    )


# Distributions --------------------------------------------------------------------------------------------


def _poisson(x: Node, y: Node, reduction: str, log_input: bool, full: bool, eps: float) -> Any:
    losses = exp(x) - y * x if log_input else x - y * log(x + eps)
    if full:
        large = y > 1
        z = where(large, y, 2)
        stirling = z * log(z) - z + 0.5 * log(2 * math.pi * z)
        losses = losses + where(large, stirling, 0)
    return reduced(losses, reduction)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative logarithm of how likely counts are, given (the logarithms of) their rates.

    `full` adds Stirling's approximation of the term that depends on the target alone.
    """
    x, y = _both("poisson_nll_loss", input, target)
    reduction = reduction_of(size_average, reduce, reduction)
    arrays = in_common_dtype("poisson_nll_loss", x, y, floating=True)
    params = {"reduction": reduction, "log_input": log_input, "full": full, "eps": float(eps)}
    step = recorded_as("AddBackward0" if full else "SubBackward0", reduction)
    return mapped(_poisson, step, (x, y), arrays, **params)


def _gaussian(x: Node, y: Node, variance: Node, reduction: str, full: bool, eps: float) -> Any:
    fixed = stop_gradient(variance)
    safe = where(fixed < eps, eps + (variance - fixed), variance)
    losses = 0.5 * (log(safe) + (x - y) * (x - y) / safe)
    return reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def _variance(x: Tensor, var: Any) -> Any:
    """The variance with axes as the input has."""
    if not isinstance(var, Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        return np.full(x._array.shape, var, x._array.dtype)
    if (var._array < 0).any():
        raise ValueError("var has negative entry/entries")
    shape, wanted = var._array.shape, x._array.shape
    if shape == wanted:
        return var
    if shape == wanted[:-1]:
        return var.unsqueeze(-1)
    mismatches = sum(n != m for n, m in zip(shape, wanted, strict=False))
    if len(shape) == len(wanted) and mismatches == 1 and 1 in shape and shape[-1] == 1:
        return var
    if len(shape) == len(wanted) and all(n in (1, m) for n, m in zip(shape, wanted, strict=True)):
        return var
    raise ValueError("var is of incorrect size")


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Return the negative logarithm of how likely numbers are under normal distributions.

    The variance, a number or a tensor, counts as at least eps; ValueError if negative.
    """
    x, y = _both("gaussian_nll_loss", input, target)
    variance = _variance(x, var)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    arrays = in_common_dtype("gaussian_nll_loss", x, y, variance)
    params = {"reduction": reduction, "full": full, "eps": float(eps)}
    name = recorded_as("AddBackward0" if full else "MulBackward0", reduction)
    return mapped(_gaussian, name, (x, y, variance), arrays, **params)
