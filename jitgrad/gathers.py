"""A graph to the same graph with `gather` for each `take`, and `segment_sum` for each `scatter_add`, whose
index provably lies inside the array.

A kernel reads and writes without a check, so what cannot be proved stays a library call, which checks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jitgrad.ir import CAPTURE, LITERAL, Graph, Node, literal_value, rebuild, toposort, with_args
from jitgrad.ops.gather import gather, scatter_add, segment_sum, take

Range = tuple[int, int]
Rule = Callable[..., Range | None]
Ranges = dict[Node, Range | None]

INT64 = np.iinfo(np.int64)


def with_gathers(graph: Graph) -> Graph:
    ranges: Ranges = {}

    def replaced(node: Node, args: tuple[Node, ...]) -> Node:
        node = with_args(node, args)
        if node.op is take and _inside(args[1], args[0].shape[node.param("axis")], ranges):
            return Node(gather, args, node.params, node.aval)
        if node.op is scatter_add and _inside(args[1], node.param("size"), ranges):
            return Node(segment_sum, args, node.params, node.aval)
        return node

    return Graph(graph.inputs, rebuild(graph.outputs, replaced))


def _inside(index: Node, size: int, ranges: Ranges) -> bool:
    if index.dtype != np.int64:
        return False
    found = _range(index, ranges)
    return found is not None and 0 <= found[0] and found[1] < size


def _range(root: Node, ranges: Ranges) -> Range | None:
    """The least and the greatest number that the elements of a node can be, or None."""
    for node in toposort((root,), lambda n: n in ranges):
        if node not in ranges:
            ranges[node] = _of(node, [ranges[arg] for arg in node.args])
    return ranges[root]


def _of(node: Node, args: list[Range | None]) -> Range | None:
    if node.dtype.kind not in "iu":
        return None
    if node.op is LITERAL:
        value = int(literal_value(node))
        return value, value
    if node.op is CAPTURE:
        array = node.param("value").array
        fixed = array.size and array.base is None and not array.flags.writeable
        return (int(array.min()), int(array.max())) if fixed else None
    rule = _RULES.get(node.op.name)
    found = None if rule is None else rule(*args, **dict(node.params))
    return found if found is not None and INT64.min <= found[0] and found[1] <= INT64.max else None


def _same(x: Range | None, *_: Range | None, **__: object) -> Range | None:
    return x


def _either(*parts: Range | None, **_: object) -> Range | None:
    known = [part for part in parts if part is not None]
    return (
        (min(low for low, _ in known), max(high for _, high in known)) if len(known) == len(parts) else None
    )


def _corners(combine: Callable[[int, int], int]) -> Rule:
    """The rule of an op that is monotonic in each argument: its extremes are those of the corners."""

    def rule(x: Range | None, y: Range | None) -> Range | None:
        if x is None or y is None:
            return None
        values = [combine(a, b) for a in x for b in y]
        return min(values), max(values)

    return rule


def _remainder(x: Range | None, y: Range | None) -> Range | None:
    return (0, y[1] - 1) if y is not None and y[0] > 0 else None


def _clipped_above(x: Range | None, y: Range | None) -> Range | None:
    """The smaller of two, of which one may be anything: no more than the other."""
    known = [part for part in (x, y) if part is not None]
    low = min(part[0] for part in known) if len(known) == 2 else INT64.min
    return (low, min(part[1] for part in known)) if known else None


def _clipped_below(x: Range | None, y: Range | None) -> Range | None:
    known = [part for part in (x, y) if part is not None]
    high = max(part[1] for part in known) if len(known) == 2 else INT64.max
    return (max(part[0] for part in known), high) if known else None


_RULES: dict[str, Rule] = {
    "indexing": lambda x, *, size: (0, size - 1),
    "iota": lambda *, size: (0, size - 1),
    "rearrange": _same,
    "reshape": _same,
    "slice": _same,
    "take": _same,
    "gather": _same,
    "concatenate": _either,
    "update": _either,
    "where": lambda condition, x, y: _either(x, y),
    "add": _corners(lambda a, b: a + b),
    "subtract": _corners(lambda a, b: a - b),
    "multiply": _corners(lambda a, b: a * b),
    "remainder": _remainder,
    "minimum": _clipped_above,
    "maximum": _clipped_below,
    "cast": lambda x, *, dtype: x if dtype == np.int64 else None,
}
