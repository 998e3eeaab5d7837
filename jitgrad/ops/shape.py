"""NumPy's functions that give the same elements another shape or order of axes, or join and split arrays."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from jitgrad.ops import structure
from jitgrad.ops.samples import Draw, Sample, case, unary
from jitgrad.ops.table import composite
from jitgrad.ops.values import (
    Shape,
    as_array,
    as_dtype,
    axes_of,
    axis_of,
    concatenated,
    insert_axes,
    no_out,
    shape_of,
    size_of,
    stacked,
)
from jitgrad.ops.values import broadcast as broadcast_value


def permuted(x: Any, order: Sequence[int]) -> Any:
    """The axes of x in another order."""
    return structure.rearrange(x, shape=tuple(x.shape[i] for i in order), source=tuple(order))


def shaped(x: Any, shape: Shape) -> Any:
    """The elements of x, in row-major order, in another shape of the same size."""
    return structure.reshape(x, shape=shape)


def window(x: Any, axis: int, start: int, size: int, step: int = 1) -> Any:
    """`size` elements along one axis, from `start` on."""
    ndim = len(x.shape)
    return structure.slice_(
        x,
        start=tuple(start if i == axis else 0 for i in range(ndim)),
        step=tuple(step if i == axis else 1 for i in range(ndim)),
        size=tuple(size if i == axis else n for i, n in enumerate(x.shape)),
    )


# Shape ------------------------------------------------------------------------------------------------


def _resolved(old: Shape, new: Shape) -> Shape:
    size = math.prod(old)
    known = math.prod(n for n in new if n != -1)
    if new.count(-1) == 1 and known and size % known == 0:
        new = tuple(size // known if n == -1 else n for n in new)
    if -1 in new or math.prod(new) != size:
        raise ValueError(f"reshape: {size} elements of shape {old} do not fit into shape {new}")
    return new


def _reshape_samples(d: Draw) -> list[Sample]:
    forms = [case(d(2, 6), (3, 4)), case(d(2, 6), -1), case(d(2, 6), (2, -1, 3)), case(d(6), (6, 1))]
    return [
        *forms,
        case(d(), (1, 1)),
        case(d(1), ()),
        case(d(0, 3), (3, 0)),
        case(d(2, 6), (3, 4), order="F"),
    ]


@composite(np.reshape, samples=_reshape_samples)
def reshape(a: Any, shape: Any, order: str = "C", *, copy: bool | None = None) -> Any:
    """The elements of a in another shape; one size of -1 follows from the others. Orders: C and F."""
    a, shape = as_array(a), shape_of(shape)
    if order not in ("C", "F"):
        raise ValueError(f'reshape: order {order!r} depends on memory layout; use "C" or "F"')
    shape = _resolved(a.shape, shape)
    if order == "C":
        return shaped(a, shape)
    return transpose(shaped(transpose(a), shape[::-1]))


@composite(np.ravel, samples=unary())
def ravel(a: Any, order: str = "C") -> Any:
    return reshape(a, -1, order)


def _transpose_samples(d: Draw) -> list[Sample]:
    return [*unary()(d), case(d(2, 3, 4), (1, 2, 0)), case(d(2, 3, 4), axes=(-1, 0, 1)), case(d(2, 3), None)]


@composite(np.transpose, also=(np.permute_dims,), samples=_transpose_samples)
def transpose(a: Any, axes: Any = None) -> Any:
    a = as_array(a)
    ndim = len(a.shape)
    order = tuple(reversed(range(ndim))) if axes is None else normalize_axis_tuple(axes, ndim)
    if len(order) != ndim:
        raise ValueError(f"transpose: axes {axes} must name each of {ndim} axes once")
    return permuted(a, order)


@composite(np.matrix_transpose, samples=lambda d: [case(d(2, 3)), case(d(4, 2, 3))])
def matrix_transpose(x: Any) -> Any:
    return swapaxes(x, -1, -2)


@composite(np.moveaxis, samples=lambda d: [case(d(2, 3, 4), 0, -1), case(d(2, 3, 4), (0, 1), (-1, 0))])
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    a = as_array(a)
    ndim = len(a.shape)
    origin, goal = normalize_axis_tuple(source, ndim), normalize_axis_tuple(destination, ndim)
    if len(origin) != len(goal):
        raise ValueError(f"moveaxis: got {len(origin)} sources but {len(goal)} destinations")
    order = [i for i in range(ndim) if i not in origin]
    for to, start in sorted(zip(goal, origin, strict=True)):
        order.insert(to, start)
    return permuted(a, order)


@composite(
    np.rollaxis, samples=lambda d: [case(d(2, 3, 4), 2), case(d(2, 3, 4), 0, 2), case(d(2, 3, 4), 1, 3)]
)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    a = as_array(a)
    axis = axis_of(axis, len(a.shape))
    start = start + len(a.shape) if start < 0 else start
    return moveaxis(a, axis, start - (axis < start))


@composite(np.swapaxes, samples=lambda d: [case(d(2, 3, 4), 0, 2), case(d(2, 3), -1, 0), case(d(3), 0, 0)])
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    a = as_array(a)
    order = list(range(len(a.shape)))
    i, j = axis_of(axis1, len(order)), axis_of(axis2, len(order))
    order[i], order[j] = j, i
    return permuted(a, order)


def _squeeze_samples(d: Draw) -> list[Sample]:
    return [
        case(d(1, 3, 1)),
        case(d(1, 3, 1), axis=0),
        case(d(1, 3, 1), axis=(0, -1)),
        case(d(1, 1)),
        case(d(2)),
    ]


@composite(np.squeeze, samples=_squeeze_samples)
def squeeze(a: Any, axis: Any = None) -> Any:
    a = as_array(a)
    axes = tuple(i for i, n in enumerate(a.shape) if n == 1) if axis is None else axes_of(axis, len(a.shape))
    if any(a.shape[i] != 1 for i in axes):
        raise ValueError(f"squeeze: axes {axes} of shape {a.shape} must have size 1")
    return shaped(a, tuple(n for i, n in enumerate(a.shape) if i not in axes))


@composite(np.expand_dims, samples=lambda d: [case(d(2, 3), 0), case(d(2, 3), (0, -1)), case(d(), 0)])
def expand_dims(a: Any, axis: Any) -> Any:
    a = as_array(a)
    axes = (axis,) if np.ndim(axis) == 0 else tuple(axis)
    return insert_axes(a, tuple(normalize_axis_tuple(axes, len(a.shape) + len(axes))))


def _broadcast_samples(d: Draw) -> list[Sample]:
    return [case(d(3), (2, 3)), case(d(2, 1), (4, 2, 3)), case(d(), (2, 2)), case(d(2), 2), case(d(1), (0,))]


@composite(np.broadcast_to, samples=_broadcast_samples)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    return broadcast_value(as_array(array), shape_of(shape))


@composite(np.broadcast_arrays, samples=lambda d: [case(d(3), d(2, 1)), case(d(), d(2))])
def broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    arrays = [as_array(a) for a in args]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    return tuple(broadcast_value(a, shape) for a in arrays)


def _at_least(ndim: int, arrays: tuple[Any, ...], widen: Any) -> Any:
    wide = [widen(a) if len(a.shape) < ndim else a for a in map(as_array, arrays)]
    return wide[0] if len(wide) == 1 else tuple(wide)


@composite(np.atleast_1d, samples=lambda d: [case(d()), case(d(2, 3)), case(d(), d(3))])
def atleast_1d(*arys: Any) -> Any:
    return _at_least(1, arys, lambda a: shaped(a, (1,)))


@composite(np.atleast_2d, samples=lambda d: [case(d()), case(d(3)), case(d(2, 3)), case(d(), d(3))])
def atleast_2d(*arys: Any) -> Any:
    return _at_least(2, arys, lambda a: shaped(a, (1, size_of(a))))


@composite(np.atleast_3d, samples=lambda d: [case(d()), case(d(3)), case(d(2, 3)), case(d(2, 3, 4))])
def atleast_3d(*arys: Any) -> Any:
    return _at_least(3, arys, lambda a: shaped(a, (1, 1, 1) if not a.shape else (*(1, *a.shape)[-2:], 1)))


@composite(
    np.meshgrid, samples=lambda d: [case(d(2), d(3)), case(d(2), d(3), d(4), indexing="ij"), case(d(2))]
)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    arrays = [ravel(x) for x in xi]
    n = len(arrays)
    first = {0: 1, 1: 0} if indexing == "xy" and n > 1 else {}
    places = [first.get(i, i) for i in range(n)]
    grids = [
        shaped(a, tuple(a.shape[0] if j == p else 1 for j in range(n)))
        for a, p in zip(arrays, places, strict=True)
    ]
    return tuple(grids) if sparse else broadcast_arrays(*grids)


@composite(np.astype, samples=structure.cast_samples, reference=lambda x, dtype: x.astype(dtype))
def astype(x: Any, dtype: Any, *, copy: bool = True) -> Any:
    """x in another dtype; derivatives pass between floating dtypes, and are zero through others."""
    return as_dtype(as_array(x), np.dtype(dtype))


# Joining and splitting --------------------------------------------------------------------------------


def _arrays(name: str, arrays: Any) -> list[Any]:
    parts = [as_array(a) for a in arrays]
    if not parts:
        raise ValueError(f"{name}: need at least one array")
    return parts


def _join(parts: list[Any], axis: int) -> Any:
    shape = parts[0].shape
    if not shape:
        raise ValueError("concatenate: 0-d arrays cannot be concatenated; use stack")
    axis = axis_of(axis, len(shape))
    for part in parts:
        if len(part.shape) != len(shape) or any(
            n != m for i, (n, m) in enumerate(zip(part.shape, shape, strict=True)) if i != axis
        ):
            raise ValueError(f"concatenate: shapes {shape} and {part.shape} differ off axis {axis}")
    return concatenated(parts, axis)


def _concatenate_samples(d: Draw) -> list[Sample]:
    forms = [case((d(2, 3), d(1, 3))), case([d(2, 3), d(2, 2)], axis=1), case((d(2, 3), d(4)), axis=None)]
    return [*forms, case((d(2),)), case((d(0), d(3), d(2)), axis=-1), case((d(2), d(2)), dtype=np.float64)]


@composite(np.concatenate, also=(np.concat,), samples=_concatenate_samples)
def concatenate(
    arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = None
) -> Any:
    no_out("concatenate", out)
    parts = _arrays("concatenate", arrays)
    if dtype is not None:
        parts = [as_dtype(p, dtype) for p in parts]
    return _join([ravel(p) for p in parts], 0) if axis is None else _join(parts, axis)


@composite(
    np.stack, samples=lambda d: [case([d(2, 3), d(2, 3)], axis=k) for k in (0, 1, -1)] + [case((d(), d()))]
)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Any:
    no_out("stack", out)
    parts = _arrays("stack", arrays)
    if dtype is not None:
        parts = [as_dtype(p, dtype) for p in parts]
    return stacked(parts, axis_of(axis, len(parts[0].shape) + 1))


@composite(np.hstack, samples=lambda d: [case((d(2), d(3))), case((d(2, 1), d(2, 3))), case((d(), d(2)))])
def hstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    parts = [atleast_1d(a) for a in tup]
    return concatenate(parts, 0 if len(parts[0].shape) == 1 else 1, dtype=dtype)


@composite(np.vstack, samples=lambda d: [case((d(3), d(3))), case((d(1, 3), d(2, 3))), case((d(), d()))])
def vstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    return concatenate([atleast_2d(a) for a in tup], 0, dtype=dtype)


@composite(np.dstack, samples=lambda d: [case((d(3), d(3))), case((d(2, 3), d(2, 3)))])
def dstack(tup: Any) -> Any:
    return concatenate([atleast_3d(a) for a in tup], 2)


@composite(np.column_stack, samples=lambda d: [case((d(3), d(3))), case((d(3), d(3, 2)))])
def column_stack(tup: Any) -> Any:
    parts = [as_array(a) for a in tup]
    return concatenate([shaped(p, (size_of(p), 1)) if len(p.shape) < 2 else p for p in parts], 1)


@composite(np.append, samples=lambda d: [case(d(2), d(3)), case(d(2, 2), d(1, 2), axis=0)])
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    return concatenate([as_array(arr), as_array(values)], axis)


def _pieces(x: Any, bounds: Sequence[int], axis: int) -> list[Any]:
    ends = [*bounds, x.shape[axis]]
    ends = [slice(begin, end).indices(x.shape[axis]) for begin, end in zip([0, *bounds], ends, strict=True)]
    return [window(x, axis, begin, max(end - begin, 0)) for begin, end, _ in ends]


def _split_samples(d: Draw) -> list[Sample]:
    return [case(d(6), 3), case(d(6), [1, 4]), case(d(2, 4), 2, axis=1), case(d(6), (2, 9))]


@composite(np.array_split, samples=lambda d: [*_split_samples(d), case(d(7), 3)])
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    x = as_array(ary)
    axis = axis_of(axis, len(x.shape))
    if np.iterable(indices_or_sections):
        return _pieces(x, [operator.index(i) for i in indices_or_sections], axis)
    sections = operator.index(indices_or_sections)
    if sections <= 0:
        raise ValueError("array_split: the number of sections must be positive")
    small, larger = divmod(x.shape[axis], sections)
    sizes = [small + 1] * larger + [small] * (sections - larger)
    return _pieces(x, list(accumulate(sizes))[:-1], axis)


@composite(np.split, samples=_split_samples)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    x = as_array(ary)
    if not np.iterable(indices_or_sections) and x.shape[axis] % indices_or_sections:
        raise ValueError(
            f"split: {x.shape[axis]} elements do not divide into {indices_or_sections} equal parts; "
            "use array_split"
        )
    return array_split(x, indices_or_sections, axis)


@composite(np.hsplit, samples=lambda d: [case(d(6), 3), case(d(2, 4), 2)])
def hsplit(ary: Any, indices_or_sections: Any) -> Any:
    x = as_array(ary)
    return split(x, indices_or_sections, 1 if len(x.shape) > 1 else 0)


@composite(np.vsplit, samples=lambda d: [case(d(4, 2), 2)])
def vsplit(ary: Any, indices_or_sections: Any) -> Any:
    return split(ary, indices_or_sections, 0)


@composite(np.dsplit, samples=lambda d: [case(d(2, 1, 4), 2)])
def dsplit(ary: Any, indices_or_sections: Any) -> Any:
    return split(ary, indices_or_sections, 2)


@composite(getattr(np, "unstack", None), name="unstack", samples=lambda d: [case(d(2, 3), axis=1)])
def unstack(x: Any, *, axis: int = 0) -> Any:
    x = as_array(x)
    axis = axis_of(axis, len(x.shape))
    return tuple(squeeze(piece, axis) for piece in _pieces(x, range(1, x.shape[axis]), axis))
