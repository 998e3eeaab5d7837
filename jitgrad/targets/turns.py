"""Rows of memory to lanes side by side, and back, as LLVM instructions: squares are transposed in registers.

Lanes are vectors of COLUMN_BLOCK elements, element i of all rows in vector i. They are read and written by
whole squares, so memory for n vectors is to be as large as `rounded(n)` of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llvmlite import ir

from jitgrad.ops.reductions import COLUMN_BLOCK
from jitgrad.targets.masks import NARROW, Mask
from jitgrad.targets.memory import WORD, Span, counted
from jitgrad.vmath.value import Kind, Value

LARGEST = 16  # vectors in a square


def rounded(n: int) -> int:
    """Return how many vectors n take in memory."""
    return -(-n // LARGEST) * LARGEST


def side_of(kind: Kind) -> int:
    """Return how many vectors of how many elements make a square: half of that for wide elements."""
    return LARGEST // 2 if kind.bits == 64 else LARGEST


def squares(count: Value, side: int) -> Value:
    """Return how many squares hold `count` vectors."""
    return (count + (side - 1)) >> (side.bit_length() - 1)


def transposed(vectors: list[Value]) -> list[Value]:
    """Return the columns of a square: in blocks, then in blocks of these, elements change sides."""
    distance = len(vectors) // 2
    while distance:
        pairs = [(k & ~distance, k | distance, k & distance) for k in range(len(vectors))]
        vectors = [_half(vectors[low], vectors[high], distance, upper) for low, high, upper in pairs]
        distance //= 2
    return vectors


def _half(low: Value, high: Value, distance: int, upper: int) -> Value:
    """Return blocks of `distance` lanes from two vectors in turn: their lower or their upper ones."""
    side = low.kind.lanes
    lanes = [(lane & ~distance) + upper + (side if lane & distance else 0) for lane in range(side)]
    places = ir.Constant(replace(NARROW, lanes=side).llvm, lanes)
    return Value(low.builder, low.builder.shuffle_vector(low.raw, high.raw, places), low.kind)


def rows_of(values: Span, first: Value, begin: Value) -> list[Value]:
    """Return a square of lanes as rows: those from lane `first` on, their elements from `begin` on."""
    side = side_of(values.kind)
    source = values.vectors(side)
    return transposed([source[(begin + k) * COLUMN_BLOCK + first] for k in range(side)])


def turn_in(rows: Span, starts: Span, n: Value, out: Span) -> None:
    """Read the n elements of COLUMN_BLOCK rows, which begin at `starts`, into lanes."""
    places = replace(starts, kind=WORD)
    _turn_in(rows, places, n, out, places[COLUMN_BLOCK - 1] - places[0] + places[1] - places[0])


def gather_in(rows: Span, starts: Span, n: Value, out: Span) -> None:
    """Do the same for rows of which nothing tells where those of the next block begin."""
    _turn_in(rows, replace(starts, kind=WORD), n, out, None)


def _turn_in(rows: Span, places: Span, n: Value, out: Span, ahead: Value | None) -> None:
    """Read rows into lanes, and ask for those that lie `ahead`."""
    side = side_of(rows.kind)
    target = out.vectors(side)
    with (
        counted(rows.builder, 0, COLUMN_BLOCK // side) as group,
        counted(rows.builder, 0, squares(n, side)) as square,
    ):
        first, begin = group * side, square * side
        here = Mask.of(n - begin, side)
        nothing = Value(rows.builder, ir.Constant(target.kind.llvm, None), target.kind)
        found = []
        for k in range(side):
            row = rows.offset(places[first + k] + begin)
            found.append(here.load(row, nothing))
            if ahead is not None:
                _prefetch(row.offset(ahead))
        for k, vector in enumerate(transposed(found)):
            target[(begin + k) * COLUMN_BLOCK + first] = vector


def _prefetch(row: Span) -> None:
    """Ask for the line at an address, if there is one."""
    number = ir.IntType(32)
    signature = ir.FunctionType(ir.VoidType(), [ir.PointerType(), number, number, number])
    function = row.builder.module.declare_intrinsic("llvm.prefetch.p0", (), signature)
    row.builder.call(function, [row.raw, number(0), number(2), number(1)])


def turn_out(values: Span, n: Value, lanes: Value, out: Span) -> None:
    """Write the first lanes as rows of n elements, one after another."""
    side = side_of(values.kind)
    with (
        counted(values.builder, 0, squares(lanes, side)) as group,
        counted(values.builder, 0, squares(n, side)) as square,
    ):
        first, begin = group * side, square * side
        here = Mask.of(n - begin, side)
        for k, vector in enumerate(rows_of(values, first, begin)):
            with values.builder.if_then((first + k < lanes).raw):
                here.store(out.offset((first + k) * n + begin), vector)


FORMS: dict[str, tuple[Any, tuple[bool, ...]]] = {
    "turn_in": (turn_in, (True, True, False, True)),
    "gather_in": (gather_in, (True, True, False, True)),
    "turn_out": (turn_out, (True, False, False, True)),
}
