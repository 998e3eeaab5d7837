"""NumPy's functions that move elements or repeat them: flip, roll, pad, tile, diagonals, triangles."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from jitgrad.ops import structure
from jitgrad.ops.elementwise import where
from jitgrad.ops.samples import Draw, Sample, Static, case, unary
from jitgrad.ops.shape import permuted, ravel, shaped, swapaxes, window
from jitgrad.ops.statistics import sum_
from jitgrad.ops.table import composite
from jitgrad.ops.values import (
    Shape,
    as_array,
    axes_of,
    axis_of,
    broadcast,
    concatenated,
    concrete,
    insert_axes,
    positions,
    shape_of,
    size_of,
)


def _runs(index: Any) -> Iterator[tuple[int, int, int]]:
    """A known index as (start, step, size) pieces with steps of 1, 0 or -1."""
    numbers = [int(i) for i in index]
    begin = 0
    while begin < len(numbers):
        end = begin + 1
        step = numbers[end] - numbers[begin] if end < len(numbers) else 1
        if step in (-1, 0, 1):
            while end < len(numbers) and numbers[end] - numbers[end - 1] == step:
                end += 1
        else:
            step = 1
        yield numbers[begin], step, end - begin
        begin = end


def selected(x: Any, axis: int, index: Any) -> Any:
    """x at a known index along one axis, as few slices one after the other."""
    pieces = []
    for start, step, size in _runs(index):
        piece = window(x, axis, start, size if step else 1, step or 1)
        wide = tuple(size if i == axis else n for i, n in enumerate(x.shape))
        pieces.append(piece if step else broadcast(piece, wide))
    if not pieces:
        return window(x, axis, 0, 0)
    return concatenated(pieces, axis) if len(pieces) > 1 else pieces[0]


# Flip, roll, rotate -----------------------------------------------------------------------------------


@composite(np.flip, samples=lambda d: [*unary()(d), case(d(2, 3), axis=1), case(d(2, 3, 2), axis=(0, -1))])
def flip(m: Any, axis: Any = None) -> Any:
    x = as_array(m)
    axes = axes_of(axis, len(x.shape))
    start = tuple(n - 1 if i in axes else 0 for i, n in enumerate(x.shape))
    step = tuple(-1 if i in axes else 1 for i in range(len(x.shape)))
    return structure.slice_(x, start=start, step=step, size=x.shape) if size_of(x) else x


@composite(np.fliplr, samples=lambda d: [case(d(2, 3))])
def fliplr(m: Any) -> Any:
    return flip(m, 1)


@composite(np.flipud, samples=lambda d: [case(d(2, 3)), case(d(3))])
def flipud(m: Any) -> Any:
    return flip(m, 0)


def _roll_samples(d: Draw) -> list[Sample]:
    forms = [case(d(5), 2), case(d(5), -7), case(d(2, 3), 1), case(d(2, 3), 1, axis=1), case(d(0), 1)]
    return [*forms, case(d(2, 3), (1, 2), axis=(0, 1)), case(d(2, 3), 1, axis=(0, 1)), case(d(3), 0)]


def _rolled(x: Any, shift: int, axis: int) -> Any:
    n = x.shape[axis]
    first = -shift % n if n else 0
    if not first:
        return x
    return concatenated([window(x, axis, first, n - first), window(x, axis, 0, first)], axis)


@composite(np.roll, samples=_roll_samples)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved along axes; what leaves at one end enters at the other. The shift is a known int."""
    x = as_array(a)
    if axis is None:
        return shaped(_rolled(ravel(x), operator.index(shift), 0), x.shape)
    axes = [axis_of(i, len(x.shape)) for i in np.atleast_1d(axis)]
    shifts = np.broadcast_to(shift, (len(axes),)) if np.ndim(shift) == 0 else shift
    for i, s in zip(axes, shifts, strict=True):
        x = _rolled(x, int(s), i)
    return x


@composite(
    np.rot90, samples=lambda d: [case(d(2, 3), k=k) for k in (0, 1, 2, 3)] + [case(d(2, 3, 4), axes=(1, 2))]
)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    x = as_array(m)
    first, second = (axis_of(i, len(x.shape)) for i in axes)
    if k % 4 == 0:
        return x
    if k % 4 == 2:
        return flip(x, (first, second))
    return (
        swapaxes(flip(x, second), first, second) if k % 4 == 1 else flip(swapaxes(x, first, second), second)
    )


# Repeat -----------------------------------------------------------------------------------------------


@composite(
    np.tile, samples=lambda d: [case(d(3), 2), case(d(2, 3), (2, 1)), case(d(2), (2, 2)), case(d(), 3)]
)
def tile(A: Any, reps: Any) -> Any:
    x = as_array(A)
    counts = shape_of(reps)
    ndim = max(len(counts), len(x.shape))
    counts = (1,) * (ndim - len(counts)) + counts
    x = shaped(x, (1,) * (ndim - len(x.shape)) + x.shape)
    apart = tuple(n for i in range(ndim) for n in (counts[i], x.shape[i]))
    wide = broadcast(insert_axes(x, tuple(range(0, 2 * ndim, 2))), apart)
    return shaped(wide, tuple(c * n for c, n in zip(counts, x.shape, strict=True)))


def _repeat_samples(d: Draw) -> list[Sample]:
    forms = [
        case(d(3), 2),
        case(d(2, 3), 2),
        case(d(2, 3), 2, axis=1),
        case(d(2, 3), 0, axis=0),
        case(d(), 3),
    ]
    return [*forms, case(d(2, 3), [1, 0, 2], axis=1), case(d(3), Static(np.array([2, 1, 3])))]


@composite(np.repeat, samples=_repeat_samples)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element several times; how often must be known while tracing."""
    x = as_array(a)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_of(axis, len(x.shape))
    counts = concrete(as_array(repeats))
    if counts is None:
        raise TypeError(
            "repeat: the counts decide the shape of the result and must be known; got a traced value"
        )
    if counts.size != 1:
        return selected(x, axis, np.repeat(np.arange(x.shape[axis]), counts))
    count = int(counts.reshape(()))
    wide = list(x.shape)
    wide.insert(axis + 1, count)
    repeated = broadcast(insert_axes(x, (axis + 1,)), tuple(wide))
    return shaped(repeated, tuple(n * count if i == axis else n for i, n in enumerate(x.shape)))


# Pad --------------------------------------------------------------------------------------------------


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        pairs = {axis_of(i, ndim): np.broadcast_to(w, (2,)) for i, w in pad_width.items()}
        return [tuple(map(int, pairs.get(i, (0, 0)))) for i in range(ndim)]  # type: ignore[misc]
    return [(int(b), int(a)) for b, a in np.broadcast_to(pad_width, (ndim, 2))]


def _constants(values: Any, ndim: int) -> list[tuple[Any, Any]]:
    if not isinstance(values, (list, tuple)):
        return [(values, values)] * ndim
    pairs = [tuple(v) if isinstance(v, (list, tuple)) else (v,) for v in values]
    if all(not isinstance(v, (list, tuple)) for v in values):
        pairs = [tuple(values)]
    pairs = [p * 2 if len(p) == 1 else p for p in pairs]
    return pairs * ndim if len(pairs) == 1 else pairs


def _padded_with(x: Any, widths: list[tuple[int, int]], values: list[tuple[Any, Any]]) -> Any:
    for axis, ((before, after), (low, high)) in enumerate(zip(widths, values, strict=True)):
        parts = []
        for count, value in ((before, low), (after, high)):
            shape = tuple(count if i == axis else n for i, n in enumerate(x.shape))
            parts.append(broadcast(structure.cast(as_array(value), dtype=x.dtype), shape) if count else None)
        x = concatenated([p for p in (parts[0], x, parts[1]) if p is not None], axis)
    return x


def _pad_samples(d: Draw) -> list[Sample]:
    forms = [case(d(3), 2), case(d(2, 3), (1, 2)), case(d(2, 3), ((0, 1), (2, 0))), case(d(0), 1)]
    valued = [case(d(2, 3), 1, constant_values=3), case(d(2), (1, 2), constant_values=(1, 2))]
    modes = [case(d(2, 3), ((1, 1), (0, 2)), mode=m) for m in ("edge", "reflect", "symmetric", "wrap")]
    return forms + valued + modes + [case(d(3), 7, mode="reflect")]


@composite(np.pad, samples=_pad_samples)
def pad(array: Any, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Any:
    """The array with a border, of constants or (edge, reflect, symmetric, wrap) of its own elements."""
    x = as_array(array)
    ndim = len(x.shape)
    widths = _widths(pad_width, ndim)
    if any(w < 0 for pair in widths for w in pair):
        raise ValueError(f"pad: widths must not be negative, got {pad_width}")
    if mode == "constant":
        if isinstance(constant_values, (int, float)) and constant_values == 0:
            shape = tuple(b + n + a for n, (b, a) in zip(x.shape, widths, strict=True))
            return structure.place(x, shape=shape, start=tuple(b for b, _ in widths), step=(1,) * ndim)
        return _padded_with(x, widths, _constants(constant_values, ndim))
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(
            f"pad: mode {mode!r} is not supported; constant, edge, reflect, symmetric and wrap are"
        )
    kind: Any = mode
    for axis, width in enumerate(widths):
        if any(width):
            x = selected(x, axis, np.pad(np.arange(x.shape[axis]), width, kind))
    return x


# Diagonals and triangles ------------------------------------------------------------------------------


def _diagonal_of_last(x: Any, offset: int) -> Any:
    *lead, rows, columns = x.shape
    first = offset if offset >= 0 else -offset * columns
    size = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    flat = shaped(x, (*lead, rows * columns))
    return window(flat, len(lead), first if size else 0, size, columns + 1)


def _diagonal_samples(d: Draw) -> list[Sample]:
    several = [case(d(3, 4), offset=k) for k in (0, 1, -1, 9)]
    return [*several, case(d(2, 3, 4)), case(d(2, 3, 4), 1, -1, 0)]


@composite(np.diagonal, samples=_diagonal_samples)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    x = as_array(a)
    ndim = len(x.shape)
    if ndim < 2:
        raise ValueError(f"diagonal: need at least two axes, got shape {x.shape}")
    first, second = axis_of(axis1, ndim), axis_of(axis2, ndim)
    return _diagonal_of_last(
        permuted(x, [*(i for i in range(ndim) if i not in (first, second)), first, second]), offset
    )


@composite(np.diag, samples=lambda d: [case(v, k=k) for v in (d(3, 4), d(3)) for k in (0, 2, -1)])
def diag(v: Any, k: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix of a diagonal."""
    x = as_array(v)
    if len(x.shape) == 2:
        return _diagonal_of_last(x, k)
    if len(x.shape) != 1:
        raise ValueError(f"diag: need a vector or a matrix, got shape {x.shape}")
    n = x.shape[0] + abs(k)
    start = k if k >= 0 else -k * n
    return shaped(structure.place(x, shape=(n * n,), start=(start,), step=(n + 1,)), (n, n))


@composite(np.diagflat, samples=lambda d: [case(d(2, 2)), case(d(2), k=1)])
def diagflat(v: Any, k: int = 0) -> Any:
    return diag(ravel(v), k)


@composite(
    np.trace, samples=lambda d: [*_diagonal_samples(d)[:3], case(d(2, 3, 4)), case(d(2, 3, 4), 0, 1, 2)]
)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    return sum_(diagonal(a, offset, axis1, axis2), -1, dtype, out)


def _lower(x: Any, k: int) -> Any:
    """Where the last two axes are on or below the k-th diagonal."""
    ndim = len(x.shape)
    rows, columns = x.shape[-2:]
    lead: Shape = tuple(range(ndim - 2))
    row = insert_axes(positions(x, rows), (*lead, ndim - 1))
    column = insert_axes(positions(x, columns), (*lead, ndim - 2))
    return column <= row + k


def _triangle_samples(d: Draw) -> list[Sample]:
    return [case(d(3, 4), k=k) for k in (0, 1, -2)] + [case(d(2, 3, 3)), case(d(3))]


def _as_rows(m: Any) -> Any:
    x = as_array(m)
    return broadcast(x, (x.shape[0], x.shape[0])) if len(x.shape) == 1 else x


@composite(np.tril, samples=_triangle_samples)
def tril(m: Any, k: int = 0) -> Any:
    """The elements on and below the k-th diagonal, zeros above."""
    x = _as_rows(m)
    return where(_lower(x, k), x, x.dtype.type(0))


@composite(np.triu, samples=_triangle_samples)
def triu(m: Any, k: int = 0) -> Any:
    """The elements on and above the k-th diagonal, zeros below."""
    x = _as_rows(m)
    return where(_lower(x, k - 1), x.dtype.type(0), x)
