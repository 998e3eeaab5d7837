"""x[index] and x[index] = values by NumPy's rules, as slices, picks, takes and scatters."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.ir import Aval
from jitgrad.ops import elementwise
from jitgrad.ops.gather import bounded, pick, take
from jitgrad.ops.samples import Draw, Sample, Static, case
from jitgrad.ops.shape import permuted, shaped
from jitgrad.ops.structure import slice_, update
from jitgrad.ops.table import composite, primitive, zeros_like
from jitgrad.ops.values import (
    Shape,
    as_array,
    as_dtype,
    axis_of,
    broadcast,
    concrete,
    insert_axes,
    is_traced,
    no_out,
    positions,
    size_of,
)

# Parsing ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Position:
    """An element number along one axis."""

    number: int


def _is_array_index(entry: Any) -> bool:
    return is_traced(entry) or isinstance(entry, (np.ndarray, list, tuple, bool, np.bool_))


def _mask_positions(mask: Any) -> list[Any]:
    known = concrete(mask)
    if known is None:
        raise TypeError(
            "a boolean mask that depends on the inputs gives a result of unknown shape; "
            "use where(mask, x, 0), or a mask of plain arrays"
        )
    return list(np.nonzero(known))


def _entry(entry: Any) -> Any:
    if entry is None or entry is Ellipsis or isinstance(entry, slice):
        return entry
    if _is_array_index(entry):
        array = as_array(entry)
        if not size_of(array) and isinstance(entry, (list, tuple)):
            array = np.asarray(entry, np.int64)
        if array.dtype.kind not in "iub":
            raise IndexError(f"an index must be an integer, a slice or a boolean mask; got {array.dtype}")
        if array.dtype == np.bool_ and not array.shape:
            raise IndexError("a single bool is no index here; use where")
        return array
    try:
        return Position(operator.index(entry))
    except TypeError:
        raise IndexError(
            f"an index must be an integer, a slice, None, ... or an array; got {entry!r}"
        ) from None


def _width(entry: Any) -> int:
    """How many axes of the array an entry uses up."""
    if entry is None or entry is Ellipsis:
        return 0
    return len(entry.shape) if _is_array_index(entry) and entry.dtype == np.bool_ else 1


def _entries(index: Any, shape: Shape) -> list[Any]:
    """One entry for each axis, and None for each new one; masks already turned into positions."""
    entries = [_entry(e) for e in (index if isinstance(index, tuple) else (index,))]
    if sum(e is Ellipsis for e in entries) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    used = sum(map(_width, entries))
    if used > len(shape):
        raise IndexError(
            f"too many indices: the array of shape {shape} has {len(shape)} axes, but {used} were indexed"
        )
    if not any(e is Ellipsis for e in entries):
        entries.append(Ellipsis)
    filled: list[Any] = []
    for entry in entries:
        if entry is Ellipsis:
            filled += [slice(None)] * (len(shape) - used)
        elif _is_array_index(entry) and entry.dtype == np.bool_:
            axis = sum(e is not None for e in filled)
            if entry.shape != shape[axis : axis + len(entry.shape)]:
                expected = shape[axis : axis + len(entry.shape)]
                raise IndexError(
                    f"the boolean mask of shape {entry.shape} does not fit the axes of shape {expected}"
                )
            filled += _mask_positions(entry)
        else:
            filled.append(entry)
    return filled


def _checked(number: int, axis: int, size: int) -> int:
    if not -size <= number < size:
        raise IndexError(f"index {number} is out of bounds for axis {axis} with size {size}")
    return number % size


def _within(index: Any, axis: int, size: int) -> Any:
    """An index array without negative numbers; checked now if it is known, else at run time."""
    known = concrete(index)
    if known is None:
        return bounded(as_dtype(index, np.int64), size=size)
    if known.size and (known.min() < -size or known.max() >= size):
        wrong = known[(known < -size) | (known >= size)].flat[0]
        raise IndexError(f"index {wrong} is out of bounds for axis {axis} with size {size}")
    places = np.where(known < 0, known + size, known).astype(np.int64)
    places.setflags(write=False)
    return places


# The plan of an index ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """An index in two steps: a window of the array, then index arrays for some of the window's axes.

    `start`, `step` and `size` give the window, one number for each axis of the array. `wide` is its shape
    with new axes inserted and numbered ones left out; `arrays` indexes axes of that, which may be `adjacent`.
    """

    start: Shape
    step: Shape
    size: Shape
    wide: Shape
    arrays: dict[int, Any]
    adjacent: bool


def _plan(index: Any, shape: Shape) -> Plan:
    entries = _entries(index, shape)
    advanced = any(_is_array_index(e) for e in entries)
    start: list[int] = []
    step: list[int] = []
    size: list[int] = []
    wide: list[int] = []
    marks: list[bool] = []
    arrays: dict[int, Any] = {}
    axis = 0
    for entry in entries:
        if entry is None:
            wide.append(1)
            marks.append(False)
            continue
        n = shape[axis]
        if isinstance(entry, slice):
            first, stop, stride = entry.indices(n)
            window = (first, stride, len(range(first, stop, stride)))
        elif isinstance(entry, Position) and not advanced:
            window = (_checked(entry.number, axis, n), 1, 1)
        else:
            window = (0, 1, n)
            numbers = np.asarray(_checked(entry.number, axis, n)) if isinstance(entry, Position) else entry
            arrays[len(wide)] = _within(numbers, axis, n)
        for part, value in zip((start, step, size), window, strict=True):
            part.append(value)
        if not isinstance(entry, Position) or advanced:
            wide.append(window[2])
            marks.append(not isinstance(entry, slice))
        axis += 1
    places = [i for i, m in enumerate(marks) if m]
    adjacent = not places or places == list(range(places[0], places[-1] + 1))
    return Plan(tuple(start), tuple(step), tuple(size), tuple(wide), arrays, adjacent)


def _region(x: Any, plan: Plan) -> Any:
    """The window of x that a plan names, with the axes that its index arrays refer to."""
    empty = 0 in plan.size
    start = tuple(0 for _ in plan.size) if empty else plan.start
    step = tuple(1 for _ in plan.size) if empty else plan.step
    return shaped(slice_(x, start=start, step=step, size=plan.size), plan.wide)


def _common(arrays: Sequence[Any]) -> Shape:
    try:
        return np.broadcast_shapes(*(a.shape for a in arrays))
    except ValueError:
        raise IndexError(
            f"the index arrays of shapes {', '.join(str(a.shape) for a in arrays)} do not broadcast"
        ) from None


def _flat_index(arrays: dict[int, Any], shape: Shape) -> Any:
    """One index into the indexed axes taken together, row-major."""
    common = _common(list(arrays.values()))
    flat: Any = None
    for axis, index in arrays.items():
        flat = index if flat is None else flat * shape[axis] + index
    return broadcast(as_array(flat), common)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the axes of a region are grouped for one flat index: those before it, the indexed, those after."""

    order: Shape
    lead: Shape
    tail: Shape
    extent: int


def _layout(plan: Plan) -> _Layout:
    axes = sorted(plan.arrays)
    first = axes[0] if plan.adjacent else 0
    rest = [i for i in range(len(plan.wide)) if i not in plan.arrays]
    before, after = rest[:first], rest[first:]
    sizes = [tuple(plan.wide[i] for i in part) for part in (before, after, axes)]
    return _Layout((*before, *axes, *after), sizes[0], sizes[1], math.prod(sizes[2]))


def _is_arange(index: Any, axis: int, shape: Shape) -> bool:
    """Whether an index array counts 0, 1, ... along one axis of the common shape."""
    sizes = (1,) * (len(shape) - len(index.shape)) + index.shape
    if any(n != (m if i == axis else 1) for i, (n, m) in enumerate(zip(sizes, shape, strict=True))):
        return False
    known = concrete(index)
    return known is not None and bool((known.ravel() == np.arange(shape[axis])).all())


def _rows_picked(plan: Plan) -> bool:
    """Whether the index is x[arange, ..., column]: one element of each row of the last axis."""
    ndim = len(plan.wide)
    if ndim < 2 or len(plan.arrays) != ndim:
        return False
    common = _common(list(plan.arrays.values()))
    return common == plan.wide[:-1] and all(_is_arange(plan.arrays[i], i, common) for i in range(ndim - 1))


def _getitem_samples(d: Draw) -> list[Sample]:
    basic = [0, -1, slice(1, 3), slice(None, None, -2), (slice(None), 1), (..., 0), (None, 1), (slice(3, 1),)]
    arrays = [
        d.index(4, 3),
        (d.index(4, 2, 1), d.index(3, 2)),
        (slice(1, 3), d.index(3, 2)),
        (0, d.index(3, 2)),
    ]
    picks = [(np.arange(4), d.index(3, 4)), (Static(np.arange(4)), d.index(3, 4)), [0, 2, -1], np.asarray(1)]
    masks = [
        Static(np.array([True, False, True, True])),
        Static(d.mask(4, 3)),
        (slice(None), Static(d.mask(3))),
    ]
    cubes = [
        (d.index(2, 2), slice(None), d.index(4, 2)),
        (slice(None), d.index(3, 2), d.index(4, 2)),
        (0, None, ..., 1),
    ]
    cubes += [
        (slice(None), 1, d.index(4, 2)),
        (Static(np.arange(2)[:, None]), Static(np.arange(3)), d.index(4, 2, 3)),
    ]
    return (
        [case(d(4, 3), i) for i in basic + arrays + picks + masks]
        + [case(d(2, 3, 4), i) for i in cubes]
        + [
            case(d(), ()),
            case(d(), None),
            case(d(), ...),
        ]
    )


@composite(name="getitem", samples=_getitem_samples, reference=lambda x, index: x[index])
def getitem(x: Any, index: Any) -> Any:
    """x[index] by NumPy's rules; index arrays may be traced, boolean masks must be known."""
    x = as_array(x)
    plan = _plan(index, x.shape)
    region = _region(x, plan)
    if not plan.arrays:
        return region
    if _rows_picked(plan):
        return pick(region, broadcast(plan.arrays[len(plan.wide) - 1], plan.wide[:-1]))
    layout = _layout(plan)
    rows = shaped(permuted(region, layout.order), (*layout.lead, layout.extent, *layout.tail))
    return take(rows, _flat_index(plan.arrays, plan.wide), axis=len(layout.lead))


# Assignment -------------------------------------------------------------------------------------------


def _scattered(x: Any, index: Any, values: Any, *, axis: int) -> Any:
    out = np.array(x)
    np.moveaxis(out, axis, 0)[np.asarray(index).ravel()] = np.moveaxis(np.asarray(values), axis, 0)
    return out


def _last_writes(index: Any, size: int) -> Any:
    """Where an index is the last to name its element: of several values for one element the last stays."""
    n = index.shape[0]
    order = positions(index, n)
    blank = positions(index, size) * 0
    return elementwise.equal(take(scatter(blank, index, order, axis=0), index, axis=0), order)


def _scatter_vjp(g: Any, out: Any, x: Any, index: Any, values: Any, *, axis: int) -> tuple[Any, None, Any]:
    taken = take(g, index, axis=axis)
    rest = tuple(i for i in range(len(values.shape)) if i != axis)
    last = broadcast(insert_axes(_last_writes(index, x.shape[axis]), rest), values.shape)
    kept = scatter(g, index, zeros_like(values), axis=axis)
    return kept, None, elementwise.where(last, taken, 0)


scatter = primitive(
    "scatter",
    "call",
    _scattered,
    lambda x, index, values, *, axis: Aval(x.shape, x.dtype),
    _scatter_vjp,
    lambda tangents, out, x, index, values, *, axis: _scatter_jvp(tangents, x, index, values, axis),
    samples=lambda d: [
        case(d(5), np.array([1, 4, 1]), d(3), axis=0),
        case(d(2, 5, 3), np.array([0, 4]), d(2, 2, 3), axis=1),
        case(d(3), np.zeros(0, int), d(0), axis=0),
    ],
)


def _scatter_jvp(tangents: tuple[Any, ...], x: Any, index: Any, values: Any, axis: int) -> Any:
    dx, _, dv = tangents
    dx, dv = (zeros_like(y) if t is None else t for t, y in ((dx, x), (dv, values)))
    return scatter(dx, index, dv, axis=axis)


def _masked_whole(x: Any, index: Any, values: Any) -> Any:
    """x[mask] = one value, for a mask over leading axes, known or not; None where this does not apply."""
    if isinstance(index, tuple) and len(index) == 1:
        index = index[0]
    mask = as_array(index) if isinstance(index, (np.ndarray, list)) or is_traced(index) else None
    if mask is None or mask.dtype != np.bool_ or not mask.shape or values.shape not in ((), (1,)):
        return None
    if mask.shape != x.shape[: len(mask.shape)]:
        return None
    wide = insert_axes(mask, tuple(range(len(mask.shape), len(x.shape))))
    return elementwise.where(wide, as_dtype(shaped(values, ()), x.dtype), x)


def _setitem_reference(x: Any, index: Any, values: Any) -> Any:
    out = np.array(x)
    out[index] = values
    return out


def _setitem_samples(d: Draw) -> list[Sample]:
    basic: list[Any] = [
        (0, d(3)),
        (slice(1, 3), d(2, 3)),
        (slice(None, None, -2), d(3)),
        ((slice(None), 1), d()),
        ((..., None, 0), d(1, 1)),
        ((1, 2), 2),
        (slice(2, 2), d()),
    ]
    arrays: list[Any] = [
        (np.array([2, 0, 2]), d(3, 3)),
        ((Static(np.array([0, 1, 0])), np.array([1, 2, 1])), d(3)),
        ((slice(1, 3), d.index(3, 1)), d(2, 1)),
        (Static(np.array([True, False, True, False])), d(2, 3)),
        (d.mask(4, 3), 1),
        (d.mask(4), d()),
    ]
    cube = (slice(None), np.array([0, 2]), np.array([3, 1]))
    return [case(d(4, 3), i, v) for i, v in basic + arrays] + [
        case(d(2, 3, 4), cube, d(2, 2)),
        case(d(), (), d()),
    ]


@composite(name="setitem", samples=_setitem_samples, reference=_setitem_reference)
def setitem(x: Any, index: Any, values: Any) -> Any:
    """x after x[index] = values, cast to x's dtype as NumPy does; x itself stays as it is.

    Where an index array names one element twice, the last value stays.
    """
    x, values = as_array(x), as_array(values)
    masked = _masked_whole(x, index, values)
    if masked is not None:
        return masked
    plan = _plan(index, x.shape)
    values = as_dtype(values, x.dtype)
    if 0 in plan.size:
        return x
    if not plan.arrays:
        region = shaped(_fitted(values, plan.wide), plan.size)
        return update(x, region, start=plan.start, step=plan.step)
    layout, common = _layout(plan), _common(list(plan.arrays.values()))
    index = _flat_index(plan.arrays, plan.wide)
    count = math.prod(common)
    values = shaped(
        _fitted(values, (*layout.lead, *common, *layout.tail)), (*layout.lead, count, *layout.tail)
    )
    region = _region(x, plan)
    grouped = permuted(region, layout.order)
    rows = shaped(grouped, (*layout.lead, layout.extent, *layout.tail))
    rows = scatter(rows, shaped(index, (count,)), values, axis=len(layout.lead))
    inverse = tuple(int(i) for i in np.argsort(layout.order))
    region = shaped(permuted(shaped(rows, grouped.shape), inverse), plan.size)
    return update(x, region, start=plan.start, step=plan.step)


def _fitted(values: Any, shape: Shape) -> Any:
    """Values broadcast to the shape that is assigned to; leading axes of size 1 may be too many."""
    while len(values.shape) > len(shape) and values.shape[0] == 1:
        values = shaped(values, values.shape[1:])
    try:
        return broadcast(values, shape)
    except ValueError:
        raise ValueError(
            f"values of shape {values.shape} do not fit into the indexed shape {shape}"
        ) from None


# Functions --------------------------------------------------------------------------------------------


_MODES = {
    "raise": lambda index, n: _within(index, 0, n),
    "wrap": lambda index, n: elementwise.remainder(index, n),
    "clip": lambda index, n: elementwise.minimum(elementwise.maximum(index, 0), n - 1),
}


def _take_samples(d: Draw) -> list[Sample]:
    forms = [
        case(d(5), d.index(5, 3)),
        case(d(2, 5), d.index(5, 2, 2), axis=1),
        case(d(2, 5), d.index(10, 3)),
    ]
    known = [case(d(4, 2), Static(np.array([0, -1, 0])), axis=0), case(d(5), 2), case(d(5), [0, 3])]
    return [
        *forms,
        *known,
        case(d(5), np.array([7, -9, 2]), mode="clip"),
        case(d(5), np.array([7, -9]), mode="wrap"),
    ]


@composite(np.take, samples=_take_samples)
def take_(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    """Elements along one axis, or of the flattened array."""
    no_out("take", out)
    x = as_array(a)
    if axis is None:
        x, axis = shaped(x, (size_of(x),)), 0
    axis = axis_of(axis, len(x.shape))
    if mode not in _MODES:
        raise ValueError(f"take: mode {mode!r} is not one of {', '.join(_MODES)}")
    index = as_dtype(as_array(indices), np.int64)
    return take(x, _MODES[mode](index, x.shape[axis]), axis=axis)


def _along_samples(d: Draw) -> list[Sample]:
    forms = [case(d(3, 4), d.index(4, 3, 1), axis=1), case(d(3, 4), d.index(3, 1, 4), axis=0)]
    wide = [case(d(3, 4), d.index(4, 3, 2), axis=-1), case(d(2, 3, 4), d.index(3, 2, 5, 4), axis=1)]
    return [*forms, *wide, case(d(5), d.index(5, 3), axis=0), case(d(2, 3), d.index(6, 4), axis=None)]


@composite(np.take_along_axis, samples=_along_samples)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """For each position off the axis, the elements that its own index names along the axis."""
    x, index = as_array(arr), as_array(indices)
    if axis is None:
        x, axis = shaped(x, (size_of(x),)), 0
    ndim = len(x.shape)
    if len(index.shape) != ndim:
        raise ValueError(f"take_along_axis: array {x.shape} and indices {index.shape} need equally many axes")
    axis = axis_of(axis, ndim)
    order = (*(i for i in range(ndim) if i != axis), axis)
    inverse = tuple(int(i) for i in np.argsort(order))
    rows, columns = permuted(x, order), permuted(index, order)
    lead = np.broadcast_shapes(rows.shape[:-1], columns.shape[:-1])
    n, m = rows.shape[-1], columns.shape[-1]
    rows = broadcast(rows, (*lead, n))
    columns = broadcast(_within(columns, axis, n), (*lead, m))
    if m == 1 and lead:
        return permuted(insert_axes(pick(rows, shaped(columns, lead)), (ndim - 1,)), inverse)
    base = shaped(positions(columns, math.prod(lead)), (*lead, 1)) * n
    return permuted(take(shaped(rows, (math.prod(lead) * n,)), columns + base, axis=0), inverse)
