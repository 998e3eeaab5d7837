"""Elements picked by integer arrays, and sums into them: each with its transpose as derivative."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.ir import Aval, Kind, Op
from jitgrad.ops.elementwise import equal, where
from jitgrad.ops.samples import case
from jitgrad.ops.structure import rearrange
from jitgrad.ops.table import primitive
from jitgrad.ops.values import Shape, positions


def _infer_take(x: Aval, index: Aval, *, axis: int) -> Aval:
    return Aval((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype)


def _bounded(index: Any, *, size: int) -> Any:
    index = np.asarray(index)
    found = index.astype(np.int64)
    if not found.size or found.view(np.uint64).max() < size:  # a negative number is a large unsigned one
        return found
    if index.min() < -size or index.max() >= size:
        wrong = index[(index < -size) | (index >= size)].flat[0]
        raise IndexError(f"index {wrong} is out of bounds for an axis of size {size}")
    return np.where(found < 0, found + size, found)


@functools.cache
def _add_rows() -> Callable[[Any, Any, Any], None]:
    from jitgrad.machine.scatter import add_rows

    return add_rows


def summed_into(out: Any, index: Any, values: Any, axis: int) -> None:
    """Add to the elements of a C-contiguous array that a flat index names along an axis, in its order."""
    places = _bounded(np.ravel(index), size=out.shape[axis])
    arrays, width = math.prod(out.shape[:axis]), math.prod(out.shape[axis + 1 :])
    if out.dtype in (np.float32, np.float64):
        rows = np.ascontiguousarray(values, out.dtype).reshape(arrays, places.size, width)
        _add_rows()(out, np.ascontiguousarray(places), rows)
    else:
        rows = np.reshape(values, (*out.shape[:axis], places.size, *out.shape[axis + 1 :]))
        np.add.at(np.moveaxis(out, axis, 0), places, np.moveaxis(rows, axis, 0))


def _scattered(x: Any, index: Any, *, axis: int, size: int) -> Any:
    x, index = np.asarray(x), np.asarray(index)
    out = np.zeros((*x.shape[:axis], size, *x.shape[axis + index.ndim :]), x.dtype)
    summed_into(out, index, x, axis)
    return out


def _taking(name: str, kind: Kind, *samples: tuple[Shape, Any, int]) -> Op:
    def onward(tangents: tuple[Any, ...], out: Any, x: Any, index: Any, *, axis: int) -> Any:
        return op(tangents[0], index, axis=axis)

    op: Op = primitive(
        name,
        kind,
        lambda x, index, *, axis: np.asarray(x).take(index, axis),
        _infer_take,
        lambda g, out, x, index, *, axis: (scatter_add(g, index, axis=axis, size=x.shape[axis]), None),
        onward,
        samples=lambda d: [case(d(*shape), index, axis=axis) for shape, index, axis in samples],
    )
    return op


_TAKEN: list[tuple[Shape, Any, int]] = [
    ((5,), np.array([4, 0, 4]), 0),
    ((2, 5, 3), np.array([[1, 1], [0, 4]]), 1),
    ((3,), np.asarray(2), 0),
]

take = _taking("take", "call", *_TAKEN, ((2, 3), np.zeros((0, 2), int), 1))

gather = _taking("gather", "view", *_TAKEN)
"""`take` where the index is known to lie inside the array, so that a kernel may read without a check."""


def _infer_scatter(x: Aval, index: Aval, *, axis: int, size: int) -> Aval:
    return Aval((*x.shape[:axis], size, *x.shape[axis + index.ndim :]), x.dtype)


def _summing(name: str, *samples: tuple[Shape, Any, int, int]) -> Op:
    def onward(tangents: tuple[Any, ...], out: Any, x: Any, index: Any, *, axis: int, size: int) -> Any:
        return op(tangents[0], index, axis=axis, size=size)

    op: Op = primitive(
        name,
        "call",
        _scattered,
        _infer_scatter,
        lambda g, out, x, index, *, axis, size: (take(g, index, axis=axis), None),
        onward,
        samples=lambda d: [
            case(d(*shape), index, axis=axis, size=size) for shape, index, axis, size in samples
        ],
    )
    return op


_SUMMED: list[tuple[Shape, Any, int, int]] = [
    ((3,), np.array([4, 0, 4]), 0, 5),
    ((2, 2, 2, 3), np.array([[1, 1], [0, 4]]), 1, 5),
]

scatter_add = _summing("scatter_add", *_SUMMED, ((0, 3), np.zeros(0, int), 0, 2), ((), np.asarray(2), 0, 3))

segment_sum = _summing("segment_sum", *_SUMMED, ((1500, 70), np.arange(1500) % 7, 0, 7))
"""`scatter_add` where the index is known to lie inside the result."""


# pick: one element of each row ------------------------------------------------------------------------


def _pick_vjp(g: Any, out: Any, x: Any, index: Any) -> tuple[Any, None]:
    *lead, n = x.shape
    rows = tuple(range(len(lead)))
    columns = rearrange(positions(g, n), shape=x.shape, source=(*(None for _ in lead), 0))
    chosen = equal(columns, rearrange(index, shape=x.shape, source=(*rows, None)))
    return where(chosen, rearrange(g, shape=x.shape, source=(*rows, None)), 0), None


def _picked(x: Any, index: Any) -> Any:
    return np.take_along_axis(np.asarray(x), np.asarray(index)[..., None], -1)[..., 0]


bounded = primitive(
    "indexing",
    "call",
    _bounded,
    lambda index, *, size: Aval(index.shape, np.dtype(np.int64)),
    None,
    None,
    samples=lambda d: [
        case(np.array([-4, 3, 0]), size=4),
        case(np.asarray(-1), size=2),
        case(np.zeros(0, int), size=0),
    ],
)

pick: Op = primitive(
    "pick",
    "view",
    _picked,
    lambda x, index: Aval(x.shape[:-1], x.dtype),
    _pick_vjp,
    lambda tangents, out, x, index: pick(tangents[0], index),
    samples=lambda d: [
        case(d(3, 4), np.array([3, 0, 3])),
        case(d(2, 2, 70), np.array([[1, 69], [0, 1]])),
        case(d(0, 3), np.zeros(0, int)),
    ],
)
