"""Running values along a row as LLVM instructions: one element after another, in one row or in many lanes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitgrad.ops.reductions import COLUMN_BLOCK
from jitgrad.targets.memory import Span, folded
from jitgrad.vmath.exact import select
from jitgrad.vmath.value import Value

Step = Callable[..., Any]


def along(step: Step, backwards: bool, arguments: tuple[Any, ...]) -> None:
    """Run along `count` elements, from the first or from the last, and leave the total in `last`.

    The arguments are the operands, the result, `count`, whether another part came before, and `last`.
    """
    *operands, out, count, begun, last = arguments
    place = _places(count, backwards)
    start = place(count.constant(0))
    *_, first = (x[start] for x in operands)
    carried = step(last[0], *(x[start] for x in operands))
    last[0] = _run(step, operands, out, count, place, select(begun != 0, carried, first))


def across(step: Step, backwards: bool, arguments: tuple[Any, ...]) -> None:
    """Run along n vectors of COLUMN_BLOCK lanes, each lane a row. The arguments: operands, result, n."""
    *spans, n = arguments
    place = _places(n, backwards)
    *operands, out = [_Lanes(span) for span in spans]
    first = operands[-1][place(n.constant(0))]
    _run(step, operands, out, n, place, first)


class _Lanes:
    """A span read and written one vector of COLUMN_BLOCK lanes at a time."""

    def __init__(self, span: Span) -> None:
        self.vectors = span.vectors(COLUMN_BLOCK)

    def __getitem__(self, place: Value) -> Value:
        return self.vectors[place * COLUMN_BLOCK]

    def __setitem__(self, place: Value, value: Value) -> None:
        self.vectors[place * COLUMN_BLOCK] = value


def _places(count: Value, backwards: bool) -> Callable[[Value], Value]:
    last = count - 1
    return (lambda i: last - i) if backwards else (lambda i: i)


def _run(
    step: Step, operands: list[Any], out: Any, count: Value, place: Callable[[Value], Value], first: Value
) -> Value:
    """Write the first total and those after it; return the last."""

    def following(i: Value, total: Value) -> Value:
        here = place(i)
        result: Value = step(total, *(x[here] for x in operands))
        out[here] = result
        return result

    out[place(count.constant(0))] = first
    return folded(1, count, first, following)
