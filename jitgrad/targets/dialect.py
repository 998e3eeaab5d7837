"""What the functions that emitted kernels call mean, in plain Python on NumPy arrays.

A kernel's module imports them from here, so that it runs and can be stepped through as it stands; `frontend`
and `reductions` compile the same meaning. Elementary functions stand here under the names of `jitgrad.vmath`.

>>> import numpy as np
>>> values = Span.of(np.arange(2000.0))
>>> sum_of(offset(values, 10), 3, Span.of(np.empty(1)))
np.float64(33.0)
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.lib.stride_tricks import as_strided

from jitgrad.ops.reductions import BLOCK, COLUMN_BLOCK, LANES, identity
from jitgrad.ops.scans import STEPS
from jitgrad.vmath.routine import ROUTINES
from jitgrad.vmath.ufuncs import ufunc

Array = np.ndarray[Any, Any]
Combine = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Span:
    """Memory from an element on: `span[0]` is that element. Reading or writing outside raises IndexError."""

    memory: Array
    start: int = 0

    @staticmethod
    def of(array: Array) -> Span:
        """Return all memory between the lowest and the highest element, from the array's first element on."""
        low, high = byte_bounds(array)
        size = array.itemsize
        forwards: tuple[Any, ...] = tuple(slice(None, None, -1 if step < 0 else 1) for step in array.strides)
        lowest = array[(*forwards, ...)]
        return Span(as_strided(lowest, ((high - low) // size,), (size,)), (array.ctypes.data - low) // size)

    def _place(self, index: int, count: int = 1) -> int:
        place = self.start + int(index)
        if not 0 <= place <= len(self.memory) - count:
            raise IndexError(f"element {index} of a span that holds {-self.start} to {len(self.memory)}")
        return place

    def __getitem__(self, index: int) -> Any:
        return self.memory[self._place(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        self.memory[self._place(index)] = value

    def array(self, first: int, count: int) -> Array:
        """Return `count` elements from the one at `first` on, as a view."""
        place = self._place(first, count)
        return self.memory[place : place + count]


def offset(span: Span, elements: int) -> Span:
    """Return the span that begins `elements` further on."""
    return Span(span.memory, span.start + int(elements))


few = range  # of a loop with so few turns that vectors which are not full pay


def inside(position: int, size: int) -> np.bool_:
    """Return whether 0 <= position < size."""
    return np.bool_(0 <= position < size)


def select(condition: Any, yes: Any, no: Any) -> Any:
    """Return `yes` where `condition` holds, else `no`; both are computed."""
    return yes if condition else no


# Elementary functions ---------------------------------------------------------------------------------

_ROUNDING = ("rint", "floor", "ceil", "trunc")


def _elementary(name: str) -> Callable[..., Any]:
    """Return the function `name` of jitgrad.vmath, for numbers."""

    def function(*values: Any) -> Any:
        if all(isinstance(value, np.floating) for value in values):
            return ufunc(name)(*values)
        return values[0] if name in _ROUNDING else getattr(np, name)(*values)

    function.__name__ = function.__qualname__ = name
    return function


# Reductions -------------------------------------------------------------------------------------------


def _block(op: str, combine: Combine, values: Span, count: int) -> Any:
    """Reduce at most BLOCK elements: element i in lane i % LANES, then the lanes in halves."""
    lanes = np.full(LANES, identity(op, values.memory.dtype))
    for first in range(0, count, LANES):
        row = values.array(first, min(LANES, count - first))
        lanes[: len(row)] = combine(lanes[: len(row)], row)
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = combine(lanes[:half], lanes[half:])
    return lanes[0]


def _of(op: str, combine: Combine, values: Span, count: int, work: Span) -> Any:
    """Reduce any number of elements: blocks first, then their results in `work`."""
    blocks = -(-count // BLOCK)
    for block in range(blocks):
        first = block * BLOCK
        work[block] = _block(op, combine, offset(values, first), min(BLOCK, count - first))
    return work[0] if blocks <= 1 else _of(op, combine, work, blocks, work)


def _columns(op: str, combine: Combine, parts: Span, rows: int, n: int, out: Span) -> None:
    """Reduce rows of n partial results in place, COLUMN_BLOCK at a time, then the results of these."""
    while rows > 1:
        blocks = -(-rows // COLUMN_BLOCK)
        for block in range(blocks):
            first = block * COLUMN_BLOCK
            total = parts.array(first * n, n).copy()
            for row in range(first + 1, min(first + COLUMN_BLOCK, rows)):
                total = combine(total, parts.array(row * n, n))
            parts.array(block * n, n)[:] = total
        rows = blocks
    out.array(0, n)[:] = parts.array(0, n)


def _lanes(op: str, combine: Combine, values: Span, n: int, work: Span, out: Span) -> None:
    """Reduce n vectors of COLUMN_BLOCK lanes, each lane as a row of n elements is."""
    vectors = values.array(0, n * COLUMN_BLOCK).reshape(n, COLUMN_BLOCK).copy()
    half = LANES // 2
    while half:
        paired = max(len(vectors) - half, 0)
        vectors[:paired] = combine(vectors[:paired], vectors[half:])
        vectors, half = vectors[:half], half // 2
    out.array(0, COLUMN_BLOCK)[:] = vectors[0]


def _rows(op: str, combine: Combine, values: Span, n: int, lanes: int, out: Span) -> None:
    """Reduce the first lanes of n vectors of COLUMN_BLOCK lanes, in order, each to an element of `out`."""
    vectors = values.array(0, n * COLUMN_BLOCK).reshape(n, COLUMN_BLOCK)
    total = vectors[:, 0]
    for lane in range(1, lanes):
        total = combine(total, vectors[:, lane])
    out.array(0, n)[:] = total


FORMS: dict[str, Callable[..., Any]] = {
    "block": _block,
    "of": _of,
    "columns": _columns,
    "lanes": _lanes,
    "rows": _rows,
}
COMBINE: dict[str, Combine] = {
    "sum": operator.add,
    "prod": operator.mul,
    "max": _elementary("maximum"),
    "min": _elementary("minimum"),
    "any": np.logical_or,
    "all": np.logical_and,
}


# Rows and lanes ---------------------------------------------------------------------------------------


def turn_in(rows: Span, starts: Span, n: int, out: Span) -> None:
    """Read the n elements of COLUMN_BLOCK rows, which begin at `starts`, into lanes."""
    for lane in range(COLUMN_BLOCK):
        out.array(lane, (n - 1) * COLUMN_BLOCK + 1)[::COLUMN_BLOCK] = rows.array(starts[lane], n)


gather_in = turn_in  # where the rows of the next block cannot be foreseen


def turn_out(values: Span, n: int, lanes: int, out: Span) -> None:
    """Write the first lanes as rows of n elements, one after another."""
    for lane in range(lanes):
        out.array(lane * n, n)[:] = values.array(lane, (n - 1) * COLUMN_BLOCK + 1)[::COLUMN_BLOCK]


# Scans ------------------------------------------------------------------------------------------------


def _along(backwards: bool, step: Combine, *arguments: Any) -> None:
    """Run along `count` elements, from the first or from the last, and leave the total in `last`."""
    *operands, out, count, begun, last = arguments
    for i in range(count)[:: -1 if backwards else 1]:
        values = [span[i] for span in operands]
        last[0] = out[i] = step(last[0], *values) if begun else values[-1]
        begun = True


def _across(backwards: bool, step: Combine, *arguments: Any) -> None:
    """Run along n vectors of COLUMN_BLOCK lanes, each lane a row."""
    *operands, out, n = arguments
    total = None
    for i in range(n)[:: -1 if backwards else 1]:
        values = [span.array(i * COLUMN_BLOCK, COLUMN_BLOCK) for span in operands]
        total = values[-1].copy() if total is None else step(total, *values)
        out.array(i * COLUMN_BLOCK, COLUMN_BLOCK)[:] = total


SCANS = {
    "scan": partial(_along, False),
    "back": partial(_along, True),
    "lanesscan": partial(_across, False),
    "lanesback": partial(_across, True),
}
globals().update(
    {
        f"{op}_{form}": partial(reduce, op, combine)
        for op, combine in COMBINE.items()
        for form, reduce in FORMS.items()
    }
    | {f"{op}_{form}": partial(run, step) for op, step in STEPS.items() for form, run in SCANS.items()}
    | {f"{op}_step": step for op, step in STEPS.items()}
)


def __getattr__(name: str) -> Callable[..., Any]:
    if name in ROUTINES:
        return _elementary(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
