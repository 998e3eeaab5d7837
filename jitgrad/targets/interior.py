"""The part of a loop in which every guard is known: shifted slices and pads need no test there.

A guard says whether a position lies inside an array. Along one axis it holds on an interval, so the axis
falls into a few segments between the ends of such intervals; the longest is the interior. The text of a
kernel depends on which guards hold there, not on where it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jitgrad.ir import LITERAL, Node, literal, literal_value, toposort, with_args
from jitgrad.program import INSIDE, LOAD, guards

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Interior:
    """What each guard is in the interior, whose elements in a row are those from `start` to `stop`.

    `usual` are the guards of whole rows: a row belongs to the interior if all of them are as they say.
    """

    truths: dict[Node, bool]
    usual: dict[Node, bool]
    start: int
    stop: int


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
    truths: dict[Node, bool] = {}
    usual: dict[Node, bool] = {}
    for axis, group in by_axis.items():
        start, stop = _longest(group, axis, domain[axis])
        held = {guard: _covers(_interval(guard, axis, domain[axis]), start) for guard in group}
        truths |= held
        usual |= held if axis != last else {}
    start, stop = _longest(by_axis.get(last, []), last, domain[last])
    return Interior(truths, usual, start, stop)


def _interval(guard: Node, axis: int, size: int) -> Span:
    """The indices along the axis at which the guard holds."""
    offset, step, limit = guard.param("offset"), guard.param("strides")[axis], guard.param("size")
    if step < 0:
        offset, step = limit - 1 - offset, -step
    start, stop = -(offset // step), -((offset - limit) // step)
    return min(max(start, 0), size), min(max(stop, 0), size)


def _covers(span: Span, index: int) -> bool:
    return span[0] <= index < span[1]


def _longest(group: list[Node], axis: int, size: int) -> Span:
    """The longest run of indices along which no guard changes."""
    ends = sorted({0, size, *(end for guard in group for end in _interval(guard, axis, size))})
    segments = list(zip(ends, ends[1:], strict=False)) or [(0, size)]
    return max(segments, key=lambda segment: segment[1] - segment[0])


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
