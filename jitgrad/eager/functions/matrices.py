"""What functions of matrices share: checks of their arguments, errors where there is no result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.operands import scalar_type
from jitgrad.eager.tape import Record, named
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ops.lu import lu_factor


class LinAlgError(RuntimeError):
    """What is raised for matrices that have no inverse, factor or other result."""


def matrix(name: str, value: Any, label: str = "A", square: bool = False, function: str = "") -> Tensor:
    """A tensor whose last two axes are a floating matrix, and a square one if `square`."""
    x = require_tensor(value, function or name.replace(".", "_"), argument=label)
    if x.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {label} must have at least 2 dimensions.")
    m, n = x._array.shape[-2:]
    if square and m != n:
        raise RuntimeError(
            f"{name}: {label} must be batches of square matrices, but they are {m} by {n} matrices"
        )
    if x._array.dtype.kind not in "fc":
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {scalar_type(x._array.dtype)}"
        )
    return x


def same_dtype(name: str, x: Tensor, y: Tensor) -> None:
    if x._array.dtype != y._array.dtype:
        given = [scalar_type(t._array.dtype) for t in (x, y)]
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type {given[0]} and B of type "
            f"{given[1]} instead"
        )


def batch_element(infos: Array) -> tuple[str, int]:
    """Which matrix of a batch is the first that failed, as messages say it, and how."""
    place = int(np.flatnonzero(infos)[0]) if infos.any() else 0
    return (f" (Batch element {place}):" if infos.ndim else ""), int(infos.flat[place])


def zero_pivots(a: Array) -> Array:
    """The number, counted from 1, of the first pivot of each matrix that is 0; 0 if there is none."""
    if not a.size:
        return np.zeros(a.shape[:-2], np.int32)
    compact = np.asarray(lu_factor(a)[0])
    zeros = np.diagonal(compact, axis1=-2, axis2=-1) == 0
    return np.where(zeros.any(-1), np.argmax(zeros, -1) + 1, 0).astype(np.int32)


def invertible(
    function: Callable[..., Any],
    operands: Sequence[Any],
    params: dict[str, Any],
    recorded: str,
    refused: Callable[[Array], str],
) -> Any:
    """A function of matrices, the first of which must have an inverse; `refused` words why one has none."""
    try:
        return apply_function(function, operands, params, recorded)
    except np.linalg.LinAlgError:
        a = operands[0]._array
        if a.shape[-1] != a.shape[-2]:
            a = a.reshape((math.isqrt(a.size), -1))
        raise LinAlgError(refused(zero_pivots(a))) from None


def singular(name: str) -> Callable[[Array], str]:
    """The message for a matrix without an inverse."""

    def message(infos: Array) -> str:
        where, number = batch_element(infos)
        return (
            f"{name}:{where} The diagonal element {number} is zero, the inversion could not be completed "
            "because the input matrix is singular."
        )

    return message


class NoDerivative(Record):
    """A step whose derivative is an error."""

    reason: str

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        raise RuntimeError(self.reason)

    backward_recorded = backward


def without_derivative(name: str, reason: str, results: Sequence[Tensor], edges: Any) -> None:
    """Put results on the tape as those of a step whose derivative is an error."""
    if edges is None:
        return
    metas = tuple((r._array.shape, r._array.dtype) for r in results)
    record = named(NoDerivative, name)(edges, metas)
    record.reason = reason
    for number, result in enumerate(results):
        result._edge = (record, number)
