"""Indexing as PyTorch has it, for reading and writing: numbers, slices, None, ellipsis, tensors, masks."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Number
from jitgrad.eager.functions.operands import as_element, require_same_dtype
from jitgrad.eager.inplace import guard, overwrite, write
from jitgrad.eager.modes import state
from jitgrad.eager.tensor import Tensor, version_of, wrap
from jitgrad.eager.views import Steps, step, view
from jitgrad.ir import Node
from jitgrad.ops import indexing
from jitgrad.ops.structure import rearrange, slice_

_BASIC = (int, slice, type(None), type(Ellipsis))


def _is_basic(entry: Any) -> bool:
    return isinstance(entry, _BASIC) and not isinstance(entry, bool)


def _entries(index: Any) -> tuple[Any, ...]:
    """An index as a tuple of what NumPy understands; masks become positions."""
    given = index if isinstance(index, tuple) else (index,)
    if isinstance(index, list) and any(
        isinstance(e, (slice, list, tuple, Tensor, type(None))) for e in index
    ):
        nested = any(isinstance(e, (slice, type(None), Tensor)) for e in index)
        given = tuple(index) if nested else (index,)
    entries: list[Any] = []
    for entry in given:
        if _is_basic(entry):
            entries.append(_positive_step(entry))
            continue
        array = _as_index(entry)
        if array.dtype.kind == "b":
            entries.extend(np.nonzero(array) if array.ndim else [array])
        elif array.ndim == 0 and not isinstance(entry, Tensor):
            entries.append(int(array))
        else:
            entries.append(array)
    return tuple(entries)


def _positive_step(entry: Any) -> Any:
    if not isinstance(entry, slice):
        return entry
    parts = [None if p is None else _bound(p) for p in (entry.start, entry.stop, entry.step)]
    if parts[2] is not None and parts[2] <= 0:
        raise ValueError("step must be greater than zero")
    return slice(*parts)


def _bound(value: Any) -> int:
    if isinstance(value, Tensor):
        return int(value._array)
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError("slice indices must be integers or None or have an __index__ method") from None


def _as_index(entry: Any) -> np.ndarray[Any, Any]:
    if isinstance(entry, Tensor):
        array = entry._array
    elif isinstance(entry, (bool, np.bool_, list, tuple, np.ndarray, np.integer, range)):
        array = np.asarray(_plain(entry))
        if not array.size:
            array = array.astype(np.int64)
    else:
        raise TypeError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
            f"indices (got {type(entry).__name__})"
        )
    if array.dtype.kind not in "iub":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if array.dtype == np.uint8:
        array = array.astype(np.bool_)
    return array


def _plain(entry: Any) -> Any:
    if isinstance(entry, Tensor):
        return entry._array
    return [_plain(e) for e in entry] if isinstance(entry, (list, tuple)) else entry


def _masked(x: Tensor, entry: Any, mask: np.ndarray[Any, Any], axis: int) -> None:
    own = x._array.shape
    for i, n in enumerate(mask.shape):
        if axis + i >= len(own) or own[axis + i] != n:
            raise IndexError(
                f"The shape of the mask {list(mask.shape)} at index {i} does not match the shape of the "
                f"indexed tensor {list(own)} at index {axis + i}"
            )


def _check_masks(x: Tensor, index: Any) -> None:
    axis = 0
    for entry in index if isinstance(index, tuple) else (index,):
        if entry is None or entry is True or entry is False:
            continue
        if entry is Ellipsis:
            return
        if isinstance(entry, (Tensor, np.ndarray)):
            array = entry._array if isinstance(entry, Tensor) else entry
            if array.dtype.kind == "b" or array.dtype == np.uint8:
                _masked(x, entry, array, axis)
                axis += array.ndim
                continue
        axis += 1


def _too_many(x: Tensor, index: tuple[Any, ...]) -> None:
    count = sum(1 for e in index if e is not None and e is not Ellipsis)
    if count > x._array.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x._array.ndim}")


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index]: a view for numbers, slices, None and ellipsis; a copy where tensors or lists index."""
    kind = index.__class__
    if kind is int or kind is slice or (kind is tuple and all(map(_is_basic, index))) or _is_basic(index):
        return _basic(x, index)
    _check_masks(x, index)
    entries = _entries(index)
    if all(map(_is_basic, entries)):
        return _basic(x, entries)
    return _advanced(x, entries)


def _basic(x: Tensor, index: Any) -> Tensor:
    a = x._array
    entries = index if isinstance(index, tuple) else (index,)
    for entry in entries:
        if entry.__class__ is slice:
            entries = tuple(map(_positive_step, entries))
            break
    try:
        array = a[(*entries, ...) if Ellipsis not in entries else entries]
    except IndexError as error:
        raise _index_error(x, entries, error) from None
    return view(x, array, _finder(a.shape, entries), _name(entries, a.ndim))


def _name(entries: tuple[Any, ...], ndim: int) -> str:
    last = entries[-1] if entries else None
    if isinstance(last, int):
        return "SelectBackward0"
    if any(isinstance(e, slice) and e != slice(None) for e in entries):
        return "SliceBackward0"
    if any(isinstance(e, int) for e in entries):
        return "SelectBackward0"
    return "UnsqueezeBackward0" if any(e is None for e in entries) else "AliasBackward0"


def _index_error(x: Tensor, entries: tuple[Any, ...], error: IndexError) -> IndexError:
    shape = x._array.shape
    if not shape and any(isinstance(e, int) for e in entries):
        return IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
            "convert a 0-dim tensor to a number"
        )
    if sum(1 for e in entries if e is not None and e is not Ellipsis) > len(shape):
        return IndexError(f"too many indices for tensor of dimension {len(shape)}")
    axis = 0
    for place, entry in enumerate(entries):
        if entry is Ellipsis:
            axis = len(shape) - sum(1 for e in entries[place + 1 :] if e is not None)
        elif entry is not None:
            if isinstance(entry, int) and not -shape[axis] <= entry < shape[axis]:
                return IndexError(
                    f"index {entry} is out of bounds for dimension {axis} with size {shape[axis]}"
                )
            axis += 1
    return error


def _finder(shape: tuple[int, ...], entries: tuple[Any, ...]) -> Callable[[], Steps]:
    return lambda: _steps(shape, entries)


def _steps(shape: tuple[int, ...], entries: tuple[Any, ...]) -> Steps:
    """A basic index as a window and a rearrangement of it."""
    counted = sum(1 for e in entries if e is not None and e is not Ellipsis)
    full = (slice(None),) * (len(shape) - counted)
    place = next((i for i, e in enumerate(entries) if e is Ellipsis), len(entries))
    spelled = (*entries[:place], *full, *entries[place + 1 :])
    start: list[int] = []
    stride: list[int] = []
    size: list[int] = []
    source: list[int | None] = []
    for entry in spelled:
        axis = len(start)
        if entry is None:
            source.append(None)
            continue
        if isinstance(entry, slice):
            first, stop, by = entry.indices(shape[axis])
            count = len(range(first, stop, by))
            source.append(axis)
        else:
            first, by, count = int(entry) % shape[axis], 1, 1
        start.append(first if count else 0)
        stride.append(by if count else 1)
        size.append(count)
    window = tuple(size)
    result = tuple(1 if s is None else window[s] for s in source)
    return (
        step(slice_, start=tuple(start), step=tuple(stride), size=window),
        step(rearrange, shape=result, source=tuple(source)),
    )


# Index tensors --------------------------------------------------------------------------------------------


def _layout(entries: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[np.ndarray[Any, Any]]]:
    """An index as a hashable pattern, and the arrays that take the places marked by "array"."""
    pattern: list[Any] = []
    arrays = []
    for entry in entries:
        if isinstance(entry, np.ndarray):
            pattern.append("array")
            arrays.append(entry)
        elif isinstance(entry, slice):
            pattern.append(("slice", entry.start, entry.stop, entry.step))
        else:
            pattern.append(entry)
    return tuple(pattern), arrays


def _index_of(pattern: tuple[Any, ...], arrays: Any) -> tuple[Any, ...]:
    given = iter(arrays)
    return tuple(
        next(given) if p == "array" else slice(*p[1:]) if isinstance(p, tuple) else p for p in pattern
    )


def _gathered(x: Node, *arrays: Node, pattern: tuple[Any, ...]) -> Node:
    return indexing.getitem(x, _index_of(pattern, arrays))  # type: ignore[no-any-return]


def _put(x: Node, values: Node, *arrays: Node, pattern: tuple[Any, ...]) -> Node:
    return indexing.setitem(x, _index_of(pattern, arrays), values)  # type: ignore[no-any-return]


def _within(x: Tensor, entries: tuple[Any, ...]) -> tuple[Any, ...]:
    """The index with every position counted from 0; IndexError where one is out of bounds."""
    _too_many(x, tuple(e for e in entries if not (isinstance(e, np.ndarray) and e.dtype.kind == "b")))
    shape, axis, checked = x._array.shape, 0, []
    skipped = len(shape) - sum(1 for e in entries if e is not None and e is not Ellipsis)
    for entry in entries:
        if isinstance(entry, np.ndarray) and entry.dtype.kind != "b":
            n = shape[axis]
            if entry.size and (entry.min() < -n or entry.max() >= n):
                wrong = entry[(entry < -n) | (entry >= n)].flat[0]
                raise IndexError(f"index {wrong} is out of bounds for dimension {axis} with size {n}")
            entry = np.where(entry < 0, entry + n, entry).astype(np.int64)
        checked.append(entry)
        if entry is not None:
            axis += skipped if entry is Ellipsis else 1
    return tuple(checked)


def _with_flags(x: Tensor, entries: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
    """0-d masks as a new axis of size 1 and positions in it: 0 for True, none for False."""
    flags = [e for e in entries if isinstance(e, np.ndarray) and e.dtype.kind == "b"]
    if not flags:
        return x, entries
    kept = bool(all(flags))
    rest = tuple(e for e in entries if not (isinstance(e, np.ndarray) and e.dtype.kind == "b"))
    return _basic(x, None), (np.zeros(1 if kept else 0, np.int64), *rest)


def _advanced(x: Tensor, entries: tuple[Any, ...]) -> Tensor:
    x, entries = _with_flags(x, entries)
    pattern, arrays = _layout(_within(x, entries))
    if not (state.grad and x.requires_grad):
        return wrap(np.asarray(x._array[_index_of(pattern, arrays)]))
    params = {"pattern": pattern}
    return apply_function(_gathered, (x, *map(wrap, arrays)), params, "IndexBackward0")  # type: ignore[no-any-return]


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value, recorded."""
    values = value if isinstance(value, Tensor) else _value(x, value)
    if index is Ellipsis or (isinstance(index, slice) and index == slice(None)):
        overwrite(x, _without_lead(values, x._array.ndim), "CopyBackwards")
        return
    kind = index.__class__
    basic = kind is int or kind is slice or (kind is tuple and all(map(_is_basic, index))) or _is_basic(index)
    if not basic:
        _check_masks(x, index)
    entries = index if basic else _entries(index)
    if basic or all(map(_is_basic, entries)):
        guard(x)
        part = _basic(x, entries)
        overwrite(part, _without_lead(values, part._array.ndim), "CopyBackwards")
        return
    if not all(map(_is_position, entries)) and not (values._array.size == 1 and _has_mask(index)):
        require_same_dtype(x, values)
    _set_advanced(x, entries, values)


def _is_position(entry: Any) -> bool:
    return _is_basic(entry) or (entry.dtype.kind != "b" and not entry.ndim)


def _value(x: Tensor, value: Any) -> Tensor:
    if isinstance(value, (*Number, np.generic)):
        return wrap(as_element(value, x._array.dtype))
    if isinstance(value, np.ndarray):
        return wrap(value.astype(x._array.dtype))
    raise TypeError(f"can't assign a {type(value).__name__} to a torch.{x.dtype.name} tensor")


def _has_mask(index: Any) -> bool:
    entries = index if isinstance(index, tuple) else (index,)
    arrays = [_as_index(e) for e in entries if isinstance(e, (Tensor, np.ndarray)) or _is_flags(e)]
    return any(a.dtype.kind == "b" for a in arrays)


def _is_flags(entry: Any) -> bool:
    return isinstance(entry, list) and all(isinstance(e, bool) for e in entry)


def _without_lead(values: Tensor, ndim: int) -> Tensor:
    while values._array.ndim > ndim and values._array.shape[0] == 1:
        values = _basic(values, 0)
    return values


def _set_advanced(x: Tensor, entries: tuple[Any, ...], values: Tensor) -> None:
    guard(x)
    target, entries = _with_flags(x, entries)
    pattern, arrays = _layout(_within(target, entries))
    index = _index_of(pattern, arrays)
    recorded = state.grad and (x.requires_grad or values.requires_grad) and x._array.dtype.kind == "f"
    if recorded and target is x:
        operands = (x, values, *map(wrap, arrays))
        write(x, apply_function(_put, operands, {"pattern": pattern}, "IndexPutBackward0"))
        return
    try:
        target._array[index] = values._array
    except ValueError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(values._array.shape)} cannot be broadcast to "
            f"indexing result of shape {list(target._array[index].shape)}"
        ) from None
    version_of(x)[0] += 1


setattr(Tensor, "__getitem__", getitem)  # noqa: B010
setattr(Tensor, "__setitem__", setitem)  # noqa: B010
