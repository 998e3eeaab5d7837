"""Positions in a flattened tensor: where an index leads, and reading there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.operands import scalar_type
from jitgrad.eager.tensor import Tensor
from jitgrad.ir import Node
from jitgrad.ops.gather import take
from jitgrad.ops.structure import reshape
from jitgrad.ops.values import size_of

Shape = tuple[int, ...]


def flattened(x: Any) -> Any:
    return reshape(x, shape=(size_of(x),))


def taken(x: Node, places: Node) -> Any:
    """The elements at places of the flattened x, in the shape of the places."""
    return take(flattened(x), places, axis=0)


def taken_along(x: Node, index: Node, axis: int) -> Any:
    """The slices that an index of one axis names along an axis of x."""
    return take(x, index, axis=axis)


def along(index: Array, shape: Shape, axis: int) -> Array:
    """The places of the elements that an index names along an axis of an array of this shape."""
    if not shape or not index.size:
        return np.zeros(index.shape, np.int64)
    if not index.ndim:
        return index.astype(np.int64)
    places = index.astype(np.int64) * math.prod(shape[axis + 1 :])
    for i, n in enumerate(index.shape):
        if i != axis:
            stride = math.prod(shape[i + 1 :])
            places = places + (np.arange(n) * stride).reshape((-1,) + (1,) * (index.ndim - i - 1))
    return places


def outside(index: Array, n: int, *, from_end: bool = False) -> int | None:
    """The first number that is not within an axis of this size; `from_end` allows negative ones."""
    low = -n if from_end else 0
    if not index.size or (index.min() >= low and index.max() < n):
        return None
    return int(index[(index < low) | (index >= n)].flat[0])


def from_start(index: Array, n: int) -> Array:
    """An index with its negative numbers counted from the end."""
    return np.where(index < 0, index + n, index)


def long_index(index: Tensor, message: str) -> None:
    """Refuse an index that is not int64."""
    if index._array.dtype != np.int64:
        raise RuntimeError(message.format(scalar_type(index._array.dtype)))
