"""Ops that move elements without changing them: each linear, each with its transpose as derivative."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from jitgrad.ir import LITERAL, Aval, Node, Op, literal, literal_value
from jitgrad.ops.samples import Draw, Sample, case
from jitgrad.ops.table import OPS, bind_plain, is_differentiable, linear_op, primitive, zeros_like
from jitgrad.ops.values import Shape, as_dtype

Source = tuple[int | None, ...]
_SIGNATURES = 4096  # of calls, whose shapes are worked out once


# cast: another dtype ----------------------------------------------------------------------------------


def _bind_cast(op: Op, x: Node, *, dtype: Any) -> Node:
    dtype = np.dtype(dtype)
    if x.op is LITERAL:
        return literal(literal_value(x), dtype)
    if x.dtype == dtype and not x.aval.weak:
        return x
    return Node(op, (x,), (("dtype", dtype),), Aval(x.shape, dtype))


def cast_samples(d: Draw) -> list[Sample]:
    """Finite differences cannot see through the rounding of float32, so its derivative is stated."""
    forms = [case(d(2, 3), dtype=np.dtype(t)) for t in ("f8", "i8", "?")] + [case(d(), dtype=d.dtype)]
    return [*forms, Sample((d(2, 3),), {"dtype": np.dtype("f4")}, (np.ones((2, 3)),))]


def _cast_vjp(g: Any, out: Any, x: Any, *, dtype: Any) -> tuple[Any]:
    return (as_dtype(g, x.dtype) if is_differentiable(x.dtype) else None,)


def _cast_jvp(tangents: tuple[Any], out: Any, x: Any, *, dtype: Any) -> Any:
    return as_dtype(tangents[0], dtype) if is_differentiable(np.dtype(dtype)) else None


cast = primitive(
    "cast",
    "map",
    lambda x, *, dtype: np.asarray(x).astype(dtype),
    lambda x, *, dtype: Aval(x.shape, np.dtype(dtype)),
    _cast_vjp,
    _cast_jvp,
    bind=_bind_cast,
    samples=cast_samples,
    scalar="{dtype}({0})",
)


# Summing over axes, as rearrange's transpose needs it -------------------------------------------------


@lru_cache(_SIGNATURES)
def axis_groups(ndim: int, axes: Shape) -> tuple[Shape, ...]:
    """The steps of a reduction in order: the last axis alone, then runs of neighbouring axes from the right.

    Each step reduces one run of axes; numbers refer to the array as it is when the step's turn comes.
    """
    left = sorted(axes)
    groups: list[Shape] = []
    if left and left[-1] == ndim - 1:
        groups.append((left.pop(),))
    while left:
        run = [left.pop()]
        while left and left[-1] == run[0] - 1:
            run.insert(0, left.pop())
        groups.append(tuple(run))
    return tuple(groups)


def reduce_axes(op: Op, x: Any, axes: tuple[int, ...]) -> Any:
    """Apply a reduction over any axes as the steps of `axis_groups`."""
    for group in axis_groups(len(x.shape), axes):
        x = op(x, axes=group)
    return x


def sum_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return reduce_axes(OPS["sum"], x, axes)


# rearrange: transpose, broadcast, expand_dims, squeeze ------------------------------------------------


@lru_cache(_SIGNATURES)
def _arrangement(
    old: Shape, itemsize: int, shape: Shape, source: Source
) -> tuple[Shape | None, Shape, Shape | None]:
    """How an array becomes another: its axes in order (None: as they are), its shape before elements repeat,
    and, if any do, the strides of a contiguous array's result."""
    kept = [s for s in source if s is not None]
    order = (*kept, *(i for i in range(len(old)) if i not in kept))
    moved = order if order != tuple(range(len(old))) else None
    single = tuple(1 if s is None else old[s] for s in source)
    if single == shape:
        return moved, single, None
    strides = [itemsize * math.prod(old[i + 1 :]) for i in range(len(old))]
    sizes = zip(source, single, shape, strict=True)
    return moved, single, tuple(0 if s is None or one != n else strides[s] for s, one, n in sizes)


def _rearranged(x: Any, *, shape: Shape, source: Source) -> Any:
    """Output axis j reads axis source[j] of x, or repeats where source[j] is None; others have size 1.

    A view; where elements repeat it is read-only.
    """
    x = np.asarray(x)
    order, single, strides = _arrangement(x.shape, x.itemsize, shape, source)
    if strides is not None and x.size and x.flags.c_contiguous:
        wide: Any = np.ndarray(shape, x.dtype, x, 0, strides)  # 10 times as quick as below
        wide.setflags(write=False)
        return wide
    x = (x if order is None else x.transpose(order)).reshape(single)
    return x if strides is None else np.broadcast_to(x, shape)


def _bind_rearrange(op: Op, x: Node, *, shape: Shape, source: Source) -> Node:
    if source == tuple(range(x.ndim)) and shape == x.shape:
        return x
    if x.op is op:
        inner = x.param("source")
        source = tuple(None if s is None else inner[s] for s in source)
        return _bind_rearrange(op, x.args[0], shape=shape, source=source)
    return Node(op, (x,), (("shape", shape), ("source", source)), Aval(shape, x.dtype, x.aval.weak))


@lru_cache(_SIGNATURES)
def _arranged_back(ndim: int, shape: Shape, source: Source) -> tuple[Shape, Source]:
    """The repeated axes of a rearranged array, and the source that undoes the rest."""
    repeated = tuple(j for j, s in enumerate(source) if s is None and shape[j] != 1)
    left = [s for j, s in enumerate(source) if j not in repeated]
    return repeated, tuple(left.index(i) if i in left else None for i in range(ndim))


def _rearrange_vjp(g: Any, out: Any, x: Any, *, shape: Shape, source: Source) -> tuple[Any]:
    repeated, back = _arranged_back(len(x.shape), shape, source)
    return (rearrange(sum_axes(g, repeated), shape=x.shape, source=back),)


def _rearrange_samples(d: Draw) -> list[Sample]:
    forms: list[tuple[Shape, Shape, Source]] = [
        ((2, 3), (3, 2), (1, 0)),
        ((3,), (2, 3), (None, 0)),
        ((3,), (3, 70), (0, None)),
        ((2, 1, 3), (3, 4, 2), (2, None, 0)),
        ((), (2, 2), (None, None)),
        ((1, 2), (2,), (1,)),
        ((2, 3, 4), (4, 2, 3), (2, 0, 1)),
        ((0, 2), (2, 3, 0), (1, None, 0)),
    ]
    return [case(d(*old), shape=shape, source=source) for old, shape, source in forms]


rearrange = linear_op(
    "rearrange",
    "view",
    _rearranged,
    lambda x, *, shape, source: Aval(shape, x.dtype, x.weak),
    _rearrange_vjp,
    bind=_bind_rearrange,
    samples=_rearrange_samples,
)


# reshape ----------------------------------------------------------------------------------------------


def _bind_reshape(op: Op, x: Node, *, shape: Shape) -> Node:
    if x.op is op:
        x = x.args[0]
    if x.shape == shape:
        return x
    ones = [n for n in shape if n != 1]
    if ones == [n for n in x.shape if n != 1]:  # only axes of size 1 come or go
        axes = iter(i for i, n in enumerate(x.shape) if n != 1)
        return rearrange(x, shape=shape, source=tuple(None if n == 1 else next(axes) for n in shape))  # type: ignore[no-any-return]
    return Node(op, (x,), (("shape", shape),), Aval(shape, x.dtype, x.aval.weak))


reshape: Op = linear_op(
    "reshape",
    "view",
    lambda x, *, shape: np.asarray(x).reshape(shape),
    lambda x, *, shape: Aval(shape, x.dtype, x.weak),
    lambda g, out, x, *, shape: (reshape(g, shape=x.shape),),
    bind=_bind_reshape,
    samples=lambda d: [
        case(d(*s), shape=t) for s, t in (((2, 6), (3, 4)), ((6,), (1, 6)), ((), (1,)), ((0, 2), (0,)))
    ],
)


# slice and its transpose, place -----------------------------------------------------------------------
# `start`, `step` (not 0, may be negative) and `size` per axis; element i of an axis is start + i * step.


@lru_cache(_SIGNATURES)
def _windows(start: Shape, step: Shape, size: Shape) -> tuple[slice, ...]:
    def window(first: int, stride: int, count: int) -> slice:
        stop = first + count * stride
        return slice(first, None if stop < 0 else stop, stride)

    return tuple(window(*w) for w in zip(start, step, size, strict=True))


def _bind_slice(op: Op, x: Node, *, start: Shape, step: Shape, size: Shape) -> Node:
    if size == x.shape and all(s == 1 for s in step):
        return x
    return bind_plain(op, x, start=start, step=step, size=size)


def _slice_samples(d: Draw) -> list[Sample]:
    return [
        case(d(5), start=(1,), step=(2,), size=(2,)),
        case(d(5), start=(4,), step=(-2,), size=(3,)),
        case(d(3, 4), start=(1, 3), step=(1, -1), size=(2, 4)),
        case(d(3), start=(0,), step=(1,), size=(0,)),
        case(d(), start=(), step=(), size=()),
    ]


slice_ = linear_op(
    "slice",
    "view",
    lambda x, *, start, step, size: np.asarray(x)[_windows(start, step, size)],
    lambda x, *, start, step, size: Aval(size, x.dtype, x.weak),
    lambda g, out, x, *, start, step, size: (place(g, shape=x.shape, start=start, step=step),),
    bind=_bind_slice,
    samples=_slice_samples,
)


def _placed(x: Any, *, shape: Shape, start: Shape, step: Shape) -> Any:
    x = np.asarray(x)
    out = np.zeros(shape, x.dtype)
    out[_windows(start, step, x.shape)] = x
    return out


place: Op = linear_op(
    "place",
    "join",
    _placed,
    lambda x, *, shape, start, step: Aval(shape, x.dtype),
    lambda g, out, x, *, shape, start, step: (slice_(g, start=start, step=step, size=x.shape),),
    samples=lambda d: [
        case(d(2), shape=(5,), start=(1,), step=(2,)),
        case(d(3), shape=(5,), start=(4,), step=(-2,)),
        case(d(2, 3), shape=(4, 5), start=(1, 0), step=(1, 2)),
        case(d(0), shape=(3,), start=(0,), step=(1,)),
    ],
)


def _updated(x: Any, values: Any, *, start: Shape, step: Shape) -> Any:
    out = np.array(x)
    out[_windows(start, step, np.shape(values))] = values
    return out


def _update_vjp(g: Any, out: Any, x: Any, values: Any, *, start: Shape, step: Shape) -> tuple[Any, Any]:
    return (
        update(g, zeros_like(values), start=start, step=step),
        slice_(g, start=start, step=step, size=values.shape),
    )


update = linear_op(
    "update",
    "join",
    _updated,
    lambda x, values, *, start, step: Aval(x.shape, x.dtype),
    _update_vjp,
    samples=lambda d: [
        case(d(5), d(2), start=(1,), step=(2,)),
        case(d(5), d(3), start=(4,), step=(-2,)),
        case(d(4, 5), d(2, 3), start=(1, 0), step=(1, 2)),
        case(d(3), d(0), start=(0,), step=(1,)),
        case(d(), d(), start=(), step=()),
    ],
)


# concatenate ------------------------------------------------------------------------------------------


def _infer_concatenate(*parts: Aval, axis: int) -> Aval:
    first = parts[0].shape
    total = sum(p.shape[axis] for p in parts)
    return Aval((*first[:axis], total, *first[axis + 1 :]), parts[0].dtype)


def _concatenate_vjp(g: Any, out: Any, *parts: Any, axis: int) -> tuple[Any, ...]:
    step = (1,) * len(g.shape)
    pieces, begin = [], 0
    for part in parts:
        start = tuple(begin if i == axis else 0 for i in range(len(g.shape)))
        pieces.append(slice_(g, start=start, step=step, size=part.shape))
        begin += part.shape[axis]
    return tuple(pieces)


concatenate = linear_op(
    "concatenate",
    "join",
    lambda *parts, axis: np.concatenate(parts, axis),
    _infer_concatenate,
    _concatenate_vjp,
    samples=lambda d: [case(d(2), d(3), axis=0), case(d(2, 1), d(2, 3), d(2, 0), axis=1), case(d(0), axis=0)],
)


# iota ---------------------------------------------------------------------------------------------------

_IOTA = primitive(
    "iota",
    "index",
    lambda *, size: np.arange(size, dtype=np.int64),
    lambda *, size: Aval((size,), np.dtype(np.int64)),
    None,
    None,
    samples=lambda d: [case(size=5), case(size=0)],
)


def iota(size: int) -> Node:
    """0, 1, ... size - 1 as int64, shape (size,)."""
    return bind_plain(_IOTA, size=size)


# alias: one node as another, so that each derivative has variables of its own -------------------------

alias = linear_op(
    "alias",
    "view",
    lambda x, *, serial: x,
    lambda x, *, serial: Aval(x.shape, x.dtype, x.weak),
    lambda g, out, x, *, serial: (g,),
    samples=lambda d: [case(d(2, 3), serial=0)],
)
