"""Distances between points, whose derivative at distance 0 is 0, as PyTorch has it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.ops.algebra import norm
from jitgrad.ops.elementwise import absolute, equal, maximum, not_equal, power, where
from jitgrad.ops.gather import take
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.statistics import max_, sum_
from jitgrad.ops.table import composite
from jitgrad.ops.values import as_dtype, broadcast, insert_axes, promoted

_ORDERS = (0, 0.5, 1, 2, 3, math.inf)


def _length(x: Any, p: float, keepdims: bool = False) -> Any:
    """The p-norm along the last axis."""
    if p == 2:
        return norm(x, axis=-1, keepdims=keepdims)
    size = absolute(x)
    if p == 0:
        return sum_(as_dtype(not_equal(x, 0), x.dtype), -1, keepdims=keepdims)
    if p == 1:
        return sum_(size, -1, keepdims=keepdims)
    if p == math.inf:
        return max_(size, -1, keepdims=keepdims)
    zero = equal(size, 0)
    total = sum_(where(zero, 0, power(where(zero, 1, size), p)), -1, keepdims=keepdims)
    none = equal(total, 0)
    return where(none, 0, power(where(none, 1, total), 1 / p))


def _norm(x: Any, p: float, axis: int) -> Any:
    return np.linalg.norm(x, p, axis)


def _pair_reference(x: Any, y: Any, p: float = 2.0) -> Any:
    return _reference(x[..., :, None, :] - y[..., None, :, :], p)


def _reference(difference: Any, p: float) -> Any:
    size = np.abs(difference.astype(np.float64))
    if p == 0:
        return np.sum(size != 0, -1)
    return np.max(size, -1) if p == math.inf else np.sum(size**p, -1) ** (1 / p)


def _cdist_samples(d: Draw) -> list[Sample]:
    forms = [case(d(3, 2), d(4, 2), p) for p in _ORDERS]
    return [*forms, case(d(2, 3, 2), d(1, 4, 2)), case(d(3, 2), d(5, 3, 2), 1), case(d(0, 2), d(3, 2))]


_TOUCHING = (np.zeros((1, 2)), np.array([[0.0, 0.0], [3.0, 4.0]]))


@composite(
    name="cdist",
    samples=only("f", _cdist_samples),
    reference=_pair_reference,
    kinks=((_TOUCHING, (np.array([[-0.6, -0.8]]), np.array([[0.0, 0.0], [0.6, 0.8]]))),),
)
def cdist(x: Any, y: Any, p: float = 2.0) -> Any:
    """The distance of every point of x to every point of y, by the p-norm; leading axes broadcast."""
    x, y = promoted(x, y, floating=True)
    if len(x.shape) < 2 or len(y.shape) < 2 or x.shape[-1] != y.shape[-1]:
        raise ValueError(f"cdist: needs points of one dimension in rows, got shapes {x.shape} and {y.shape}")
    rows = insert_axes(x, (len(x.shape) - 1,))
    columns = insert_axes(y, (len(y.shape) - 2,))
    shape = np.broadcast_shapes(rows.shape, columns.shape)
    return _length(broadcast(rows, shape) - broadcast(columns, shape), p)


@composite(
    name="pdist",
    samples=only("f", lambda d: [case(d(4, 2), p) for p in _ORDERS] + [case(d(1, 3))]),
    reference=lambda x, p=2.0: _pair_reference(x, x, p)[np.triu_indices(len(x), 1)],
    kinks=(((np.array([[1.0], [1.0], [3.0]]),), (np.array([[-1.0], [-1.0], [2.0]]),)),),
)
def pdist(x: Any, p: float = 2.0) -> Any:
    """The distances between all pairs of points, in the order of the upper triangle."""
    (x,) = promoted(x, floating=True)
    first, second = np.triu_indices(x.shape[0], 1)
    return _length(take(x, first, axis=0) - take(x, second, axis=0), p)


def _paired_samples(d: Draw) -> list[Sample]:
    return [case(d(3, 2), d(3, 2), p) for p in _ORDERS[1:]] + [case(d(2, 3), d(3), keepdims=True)]


@composite(
    name="pairwise_distance",
    samples=only("f", _paired_samples),
    reference=lambda x, y, p=2.0, eps=1e-6, keepdims=False: (
        _reference(x - y + eps, p)[..., None] if keepdims else _reference(x - y + eps, p)
    ),
)
def pairwise_distance(x: Any, y: Any, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False) -> Any:
    """The distance of each point of x to the point of y in its place; eps is added to every difference."""
    x, y = promoted(x, y, floating=True)
    return _length(x - y + eps, p, keepdims)


@composite(
    name="cosine_similarity",
    samples=only("f", lambda d: [case(d(3, 2), d(3, 2)), case(d(2, 3), d(3), axis=0)]),
    reference=lambda x, y, axis=-1, eps=1e-8: (
        np.sum(x * y, axis) / (_norm(x, 2, axis) * _norm(np.broadcast_to(y, x.shape), 2, axis))
    ),
)
def cosine_similarity(x: Any, y: Any, axis: int = -1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between vectors along an axis, their lengths at least eps."""
    x, y = promoted(x, y, floating=True)
    shape = np.broadcast_shapes(x.shape, y.shape)
    x, y = broadcast(x, shape), broadcast(y, shape)
    lengths = [maximum(norm(v, axis=axis, keepdims=True), eps) for v in (x, y)]
    return sum_((x / lengths[0]) * (y / lengths[1]), axis)
