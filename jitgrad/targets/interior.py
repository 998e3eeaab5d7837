"""The parts of a loop in which every guard is known: shifted slices, pads and joins need no test there.

A guard says whether a position lies inside an array. Along one axis it holds on an interval, so the axis
falls into a few segments between the ends of such intervals. If all are long, each is a part; else the
longest is. The text of a kernel depends on which guards hold in the parts, not on where they begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jitgrad.ir import LITERAL, Node, literal, literal_value, toposort, with_args
from jitgrad.program import INSIDE, LOAD, guards

MOST_PARTS, SHORTEST = 8, 16
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Part:
    """The elements of a row from `start` to `stop`, and what each guard is there."""

    start: int
    stop: int
    truths: dict[Node, bool]


@dataclass(frozen=True, slots=True)
class Interior:
    """The parts of a loop, which `covers` it or leave out its edges.

    `usual` are the guards of whole rows: a row has these parts if all of them are as they say.
    """

    parts: tuple[Part, ...]
    usual: dict[Node, bool]
    covers: bool


def interior(nodes: Iterable[Node], domain: tuple[int, ...]) -> Interior | None:
    """The interior of a loop that evaluates these nodes, or None if it has no guards of one axis."""
    found = dict.fromkeys(a for node in nodes for a in (node, *node.args) if a.op is INSIDE)
    by_axis: dict[int, list[Node]] = {}
    for guard in found:
        axes = [axis for axis, step in enumerate(guard.param("strides")) if step]
        if len(axes) == 1:
            by_axis.setdefault(axes[0], []).append(guard)
    if not by_axis:
        return None
    last = len(domain) - 1
    along = by_axis.pop(last, [])
    usual: dict[Node, bool] = {}
    for axis, group in by_axis.items():
        longest = max(_segments(group, axis, domain[axis]), key=_length)
        usual |= _held(group, axis, domain[axis], longest)
    segments = _segments(along, last, domain[last])
    covers = len(segments) <= MOST_PARTS and min(map(_length, segments)) >= SHORTEST
    chosen = segments if covers else [max(segments, key=_length)]
    parts = (Part(*s, usual | _held(along, last, domain[last], s)) for s in chosen)
    return Interior(tuple(parts), usual, covers)


def _length(segment: Span) -> int:
    return segment[1] - segment[0]


def _segments(group: list[Node], axis: int, size: int) -> list[Span]:
    """The runs of indices along which no guard changes."""
    ends = sorted({0, size, *(end for guard in group for end in _interval(guard, axis, size))})
    return list(zip(ends, ends[1:], strict=False)) or [(0, size)]


def _held(group: list[Node], axis: int, size: int, segment: Span) -> dict[Node, bool]:
    held = {}
    for guard in group:
        start, stop = _interval(guard, axis, size)
        held[guard] = start <= segment[0] < stop
    return held


def _interval(guard: Node, axis: int, size: int) -> Span:
    """The indices along the axis at which the guard holds."""
    offset, step, limit = guard.param("offset"), guard.param("strides")[axis], guard.param("size")
    if step < 0:
        offset, step = limit - 1 - offset, -step
    start, stop = -(offset // step), -((offset - limit) // step)
    return min(max(start, 0), size), min(max(stop, 0), size)


def simplified(roots: list[Node], truths: dict[Node, bool], stop: Callable[[Node], bool]) -> dict[Node, Node]:
    """The nodes above `stop` with the truth of guards put in, by the nodes that they replace."""
    made: dict[Node, Node] = {}
    for node in toposort(roots, stop):
        if node in truths:
            made[node] = literal(truths[node])
        elif stop(node):
            made[node] = node
        else:
            made[node] = _decided(node, tuple(made[a] for a in node.args))
    return made


def _decided(node: Node, args: tuple[Node, ...]) -> Node:
    if node.op.name == "bitwise_and" and LITERAL in (args[0].op, args[1].op):
        known, other = args if args[0].op is LITERAL else args[::-1]
        return other if literal_value(known) else known
    if node.op.name == "where" and args[0].op is LITERAL:
        return args[1] if literal_value(args[0]) else args[2]
    node = with_args(node, args)
    if node.op is not LOAD:
        return node
    tests = guards(node)
    if any(test.op is LITERAL and not literal_value(test) for test in tests):
        return literal(0, node.dtype)
    unknown = tuple(test for test in tests if test.op is not LITERAL)
    return with_args(node, (*node.args[: len(node.args) - len(tests)], *unknown))
