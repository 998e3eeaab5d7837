"""Lengths of vectors and how far apart they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.eager.define import with_out
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.arithmetic import in_common_dtype
from jitgrad.eager.functions.distances import pdist as pdist
from jitgrad.eager.functions.norms import length
from jitgrad.eager.functions.operands import scalar_type
from jitgrad.eager.functions.pointwise import mapped
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node
from jitgrad.ops.structure import sum_axes
from jitgrad.ops.table import OPS
from jitgrad.ops.values import broadcast

__all__ = ["cosine_similarity", "normalize", "pairwise_distance", "pdist"]

Axes = tuple[int, ...]


def _unit(x: Node, p: float, axes: Axes, eps: float) -> Any:
    return x / OPS["clamp_min"](length(x, p, axes, True), eps)


@with_out
def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """Return the input with vectors of length 1 along a dimension; lengths count as at least eps.

    >>> import jitgrad
    >>> jitgrad.nn.functional.normalize(jitgrad.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    x = require_tensor(input, "normalize")
    if x._array.dtype.kind not in "fc":
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{scalar_type(x._array.dtype)}"
        )
    given = dim if isinstance(dim, (tuple, list)) else (dim,)
    axes = sorted(dimension(d, x.ndim) for d in given)
    params = {"p": float(p), "axes": tuple(axes) if x.ndim else (), "eps": float(eps)}
    return apply_function(_unit, (x,), params, "DivBackward0")  # type: ignore[no-any-return]


def _cosine(x: Node, y: Node, axis: int, eps: float) -> Any:
    """The product of the vectors, each over its length, which counts as at least eps."""
    shape = np.broadcast_shapes(x.shape, y.shape)
    axes = (axis,) if shape else ()
    first, second = (
        v / _long_enough(length(v, 2, axes, True), eps) for v in (broadcast(x, shape), broadcast(y, shape))
    )
    return sum_axes(first * second, axes)


def _long_enough(size: Node, eps: float) -> Any:
    """The length, held above eps without change of its derivative."""
    return size + OPS["stop_gradient"](OPS["clamp_min"](size, eps) - size)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angles between vectors along a dimension, broadcast."""
    x, y = require_tensor(x1, "cosine_similarity"), require_tensor(x2, "cosine_similarity", 2, "x2")
    arrays = in_common_dtype("cosine_similarity", x, y)
    if arrays[0].dtype.kind != "f":
        raise RuntimeError(
            f"expected common dtype to be floating point, yet common dtype is {scalar_type(arrays[0].dtype)}"
        )
    axis = dimension(dim, max(x.ndim, y.ndim))
    params = {"axis": axis, "eps": float(eps)}
    return mapped(_cosine, "SumBackward1", (x, y), arrays, **params)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """Return the p-norm of x1 - x2 + eps along the last dimension."""
    x, y = require_tensor(x1, "pairwise_distance"), require_tensor(x2, "pairwise_distance", 2, "x2")
    params = {"p": float(p), "eps": float(eps), "keepdim": keepdim}
    arrays = in_common_dtype("pairwise_distance", x, y, floating=True)
    return mapped(distance, "NormBackward1", (x, y), arrays, **params)


def distance(x: Node, y: Node, p: float, eps: float, keepdim: bool = False) -> Any:
    """The p-norm of x - y + eps along the last axis."""
    difference = x - y + eps
    return length(difference, p, (len(difference.shape) - 1,) if difference.shape else (), keepdim)
