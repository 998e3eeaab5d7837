"""How losses add up: not at all, as a sum or as a mean."""

from __future__ import annotations

import math
import warnings
from typing import Any

from jitgrad.eager.tensor import Tensor
from jitgrad.ir import Node
from jitgrad.ops.structure import sum_axes

RECORDED = {"none": "", "mean": "MeanBackward0", "sum": "SumBackward0"}


def reduction_of(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that a loss is asked for; ValueError for unknown ones.

    The first two arguments are an older way to say it.
    """
    if size_average is not None or reduce is not None:
        summed = "mean" if size_average is not False else "sum"
        reduction = "none" if reduce is False else summed
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.",
            stacklevel=3,
        )
    if reduction not in RECORDED:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def total(y: Node) -> Any:
    return sum_axes(y, tuple(range(len(y.shape))))


def average(y: Node) -> Any:
    count = math.prod(y.shape)
    return total(y) / count if count else total(y) * math.nan


def reduced(y: Node, reduction: str) -> Any:
    """The values themselves, their sum or their mean."""
    return y if reduction == "none" else total(y) if reduction == "sum" else average(y)


def recorded_as(name: str, reduction: str) -> str:
    """The name on the tape of a loss whose reduction PyTorch records as a step of its own."""
    return RECORDED[reduction] or name


def warn_of_sizes(input: Tensor, target: Tensor) -> None:
    """Warn where a target would be broadcast."""
    if input._array.shape != target._array.shape:
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). "
            "This will likely lead to incorrect results due to broadcasting. Please ensure they have "
            "the same size.",
            stacklevel=3,
        )
