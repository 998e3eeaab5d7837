"""Lengths of vectors, and distances between points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.operands import must_broadcast, scalar_type
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node
from jitgrad.ops import distances
from jitgrad.ops.elementwise import absolute, where
from jitgrad.ops.shape import moveaxis
from jitgrad.ops.statistics import min_
from jitgrad.ops.structure import reshape
from jitgrad.ops.values import size_of

__all__ = [
    "cdist",
    "dist",
    "pdist",
    "renorm",
]


def one_dtype(x: Tensor, y: Tensor) -> None:
    if x._array.dtype != y._array.dtype:
        first, second = scalar_type(x._array.dtype), scalar_type(y._array.dtype)
        raise RuntimeError(f"expected scalar type {first} but found {second}")


def not_half(kernel: str, dtype: np.dtype[Any]) -> None:
    """Refuse float16."""
    if dtype == np.float16:
        raise NotImplementedError(f"\"{kernel}\" not implemented for 'Half'")


# Lengths and distances ------------------------------------------------------------------------------------


def _shortened(x: Node, p: float, axis: int, limit: float) -> Any:
    """The slices along an axis, those longer than the limit made as long as that."""
    first = moveaxis(x, axis, 0)
    rows = reshape(first, shape=(first.shape[0], size_of(x) // max(first.shape[0], 1)))
    length = distances.pairwise_distance(rows, np.zeros((), x.dtype), p, 0.0, True)
    factor = where(length > limit, limit / (length + 1e-7), 1)
    return moveaxis(reshape(rows * factor, shape=first.shape), 0, axis)


@define(in_place=True, out=True)
def renorm(input: Any, p: Any, dim: Any, maxnorm: Any) -> Tensor:
    """Return the slices along an axis, those whose p-norm exceeds `maxnorm` scaled down to it."""
    x = require_tensor(input, "renorm")
    if not p > 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if not maxnorm >= 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm:g}")
    if x.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {x.ndim} dimensions")
    axis = dimension(dim, x.ndim)
    if x._array.dtype.kind not in "fc":
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{scalar_type(x._array.dtype)}"
        )
    params = {"p": float(p), "axis": axis, "limit": float(maxnorm)}
    return apply_function(_shortened, (x,), params, "RenormBackward0")  # type: ignore[no-any-return]


def _distance(x: Node, y: Node, p: float) -> Any:
    difference = x - y
    flat = reshape(difference, shape=(size_of(difference),))
    if p == -math.inf:
        return min_(absolute(flat))
    return distances.pairwise_distance(flat, np.zeros((), x.dtype), p, 0.0)


@define()
def dist(input: Any, other: Any, p: Any = 2) -> Tensor:
    """Return the p-norm of input - other.

    >>> import jitgrad
    >>> jitgrad.dist(jitgrad.tensor([0.0, 0.0]), jitgrad.tensor([3.0, 4.0]))
    tensor(5.)
    """
    x, y = require_tensor(input, "dist"), require_tensor(other, "dist", 2, "other")
    common = dtypes.common((x._array, y._array))
    if common.kind not in "fc":
        raise RuntimeError(
            f"norm(): input dtype should be either floating point or complex. Got {scalar_type(common)} "
            "instead."
        )
    arrays = [t._array.astype(common, copy=False) for t in (x, y)]
    must_broadcast(x._array.shape, y._array.shape)
    return apply_function(_distance, (x, y), {"p": float(p)}, "DistBackward0", arrays)  # type: ignore[no-any-return]


def _pair_distances(x: Node, y: Node, p: float) -> Any:
    return distances.cdist(x, y, p)


_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str = _MODES[0]) -> Tensor:
    """Return the distance, by the p-norm, of every row of x1 to every row of x2; leading axes broadcast.

    >>> import jitgrad
    >>> jitgrad.cdist(jitgrad.tensor([[0.0, 0.0]]), jitgrad.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    x, y = require_tensor(x1, "cdist", 1, "x1"), require_tensor(x2, "cdist", 2, "x2")
    if compute_mode not in _MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    for t, name in ((x, "X1"), (y, "X2")):
        if t._array.dtype.kind not in "f":
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {name} got: {scalar_type(t._array.dtype)}"
            )
    for t, name in ((x, "X1"), (y, "X2")):
        if t.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {t.ndim}D")
    n, m = x._array.shape[-1], y._array.shape[-1]
    if n != m:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {n} X2: {m}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    one_dtype(x, y)
    not_half("cdist", x._array.dtype)
    must_broadcast(x._array.shape[:-2], y._array.shape[:-2])
    return apply_function(_pair_distances, (x, y), {"p": float(p)}, "CdistBackward0")  # type: ignore[no-any-return]


def _all_distances(x: Node, p: float) -> Any:
    return distances.pdist(x, p)


def pdist(input: Any, p: float = 2) -> Tensor:
    """Return the distances, by the p-norm, between all pairs of rows, in the order of the upper triangle."""
    x = require_tensor(input, "pdist")
    if x.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {x.ndim}D")
    if x._array.dtype.kind != "f":
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    not_half("pdist", x._array.dtype)
    return apply_function(_all_distances, (x,), {"p": float(p)}, "PdistBackward0")  # type: ignore[no-any-return]
