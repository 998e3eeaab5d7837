"""Arrays made from nothing: nodes where the position tells the element, which take no memory, else arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.ir import Node, literal
from jitgrad.ops import structure
from jitgrad.ops.elementwise import equal
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.structure import cast, iota
from jitgrad.ops.table import OPS, composite, require_fit
from jitgrad.ops.values import (
    applied_as,
    as_array,
    as_dtype,
    broadcast,
    insert_axes,
    is_traced,
    positions,
    promoted,
    shape_of,
)

# Constants of a trace ---------------------------------------------------------------------------------


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    return full(shape, 1, dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> Any:
    """One value, which may be traced, everywhere."""
    shape, value = shape_of(shape), as_array(fill_value)
    dtype = np.dtype(value.dtype if dtype is None else dtype)
    require_fit(fill_value, dtype)
    if is_traced(value) or value.shape:
        return broadcast(as_dtype(value, dtype), shape)
    return structure.rearrange(literal(value, dtype), shape=shape, source=(None,) * len(shape))


def arange(*args: Any, dtype: Any = None, **kwargs: Any) -> Any:
    """NumPy's arange; whole numbers from 0 on in steps of 1 are a node."""
    if any(is_traced(a) for a in (*args, *kwargs.values())):
        raise TypeError("arange: a traced bound would decide the shape of the result; make it static")
    array = np.arange(*args, dtype=dtype, **kwargs)
    n = array.size
    counts = array.dtype == np.int64 and n > 0 and array[0] == 0 and array[-1] == n - 1
    return iota(n) if counts else array


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = float, order: str = "C") -> Node:
    """Ones on the k-th diagonal."""
    rows, columns = operator.index(N), operator.index(N if M is None else M)
    return _compared(rows, columns, lambda row, column: equal(column, row + k), dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = float) -> Node:
    """Ones on and below the k-th diagonal."""
    rows, columns = operator.index(N), operator.index(N if M is None else M)
    return _compared(rows, columns, lambda row, column: column <= row + k, dtype)


def _compared(rows: int, columns: int, compare: Callable[[Any, Any], Any], dtype: Any) -> Node:
    row, column = insert_axes(iota(rows), (1,)), insert_axes(iota(columns), (0,))
    chosen: Node = cast(compare(row, column), dtype=np.dtype(dtype))
    return chosen


# NumPy function -> the function that gives its result inside a trace
CREATION: dict[str, Callable[..., Any]] = {
    "zeros": zeros,
    "ones": ones,
    "empty": zeros,
    "full": full,
    "arange": arange,
    "eye": eye,
    "tri": tri,
    "identity": lambda n, dtype=float: eye(n, dtype=dtype),
}


# Arrays like others -----------------------------------------------------------------------------------


def _uniform(like: Any, value: Any, dtype: Any, shape: Any) -> Any:
    like = as_array(like)
    shape = like.shape if shape is None else shape_of(shape)
    dtype = np.dtype(like.dtype if dtype is None else dtype)
    require_fit(value, dtype)
    value = as_dtype(as_array(value), dtype)
    if value.shape or not is_traced(like):
        return broadcast(value, shape)
    return applied_as(like, OPS["rearrange"], value, shape=shape, source=(None,) * len(shape))


def _like_samples(d: Draw) -> list[Sample]:
    return [case(d(2, 3)), case(d()), case(d(0)), case(d(3), dtype=np.float32), case(d(3), shape=(2, 2))]


@composite(np.zeros_like, samples=_like_samples)
def zeros_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> Any:
    return _uniform(a, 0, dtype, shape)


@composite(np.ones_like, samples=_like_samples)
def ones_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> Any:
    return _uniform(a, 1, dtype, shape)


@composite(np.empty_like, samples=_like_samples, reference=np.zeros_like)
def empty_like(
    prototype: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None
) -> Any:
    """Zeros: what an empty array holds is not left to chance."""
    return _uniform(prototype, 0, dtype, shape)


@composite(
    np.full_like, samples=lambda d: [case(d(2, 3), 1), case(d(2, 3), d()), case(d(2, 3), d(3)), case(d(), 1)]
)
def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None
) -> Any:
    return _uniform(a, fill_value, dtype, shape)


@composite(np.copy, samples=lambda d: [case(d(2, 3)), case(d())])
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    x = as_array(a)
    return x if is_traced(x) else np.array(x)


def _linspace_samples(d: Draw) -> list[Sample]:
    ends = [
        case(d(), d(), 5),
        case(d(), d(), 4, endpoint=False),
        case(d(2), d(2), 3, axis=-1),
        case(d(), 3, 1),
    ]
    return [*ends, case(d(), d(), 0), case(d(2, 1), d(3), 2)]


@composite(np.linspace, samples=only("fi", _linspace_samples))
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Evenly spaced numbers between two values, which may be traced."""
    first, last = promoted(start, stop, 1.0, floating=True)[:2]
    shape = np.broadcast_shapes(first.shape, last.shape)
    first, last = broadcast(first, shape), broadcast(last, shape)
    intervals = num - 1 if endpoint else num
    step = (last - first) / intervals if intervals else (last - first) * np.nan
    owner = first if is_traced(first) else last
    count = as_dtype(positions(owner, num), first.dtype)
    count = insert_axes(count, tuple(range(1, len(shape) + 1)))
    lengths = count * step if intervals > 0 else count * (last - first)
    out = lengths + first
    if endpoint and num > 1:
        final = equal(insert_axes(positions(owner, num), tuple(range(1, len(shape) + 1))), num - 1)
        out = OPS["where"](final, last, out)
    if axis not in (0, -len(shape) - 1):
        order = list(range(1, len(shape) + 1))
        order.insert(axis % (len(shape) + 1), 0)
        out = structure.rearrange(out, shape=tuple(out.shape[i] for i in order), source=tuple(order))
    out = out if dtype is None else as_dtype(out, np.dtype(dtype))
    return (out, step) if retstep else out
