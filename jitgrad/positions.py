"""A graph to the nodes that a kernel would compute at several positions: shifted slices, repeated columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jitgrad.ir import Graph, Node
from jitgrad.lower import stacks

ENOUGH = 8  # positions, after which more make no difference

Shift = tuple[int, ...]
Position = tuple[Any, ...]  # views between a node and what is stored, neighbouring shifts added up


def several_positions(graph: Graph) -> dict[Node, int]:
    """The elementwise nodes and joins that are read at more positions than any of their readers: how many.

    Such a node begins anew: where its value is stored, it reads its own operands once.
    """
    positions: dict[Node, set[Position]] = {output: {()} for output in graph.outputs}
    widest: dict[Node, int] = {}  # the most positions of a node that reads it
    several: dict[Node, int] = {}
    for node in reversed(graph.nodes()):
        mine = positions.setdefault(node, {()})
        if node.op.kind in ("map", "join") and len(mine) > widest.get(node, 1):
            several[node] = len(mine)
        if (
            node in several
            or node.op.kind in ("reduce", "call")
            or (node.op.kind == "scan" and len(mine) > 1)
        ):
            mine = {()}
        for arg, views in _reads(node):
            known = positions.setdefault(arg, set())
            for view in views:
                known.update(_then(position, view) for position in mine)
            if len(known) > ENOUGH:
                positions[arg] = set(sorted(known, key=repr)[:ENOUGH])
            widest[arg] = max(widest.get(arg, 1), len(mine))
    return several


def _then(position: Position, view: Position) -> Position:
    """The position seen through one more view; shifts that meet add up, two reversals cancel."""
    if position and position[-1:] == view and _reverses(*view[0]):
        return position[:-1]
    meet = position and view and position[-1][0] == view[0][0] == "shift"
    if not meet or len(position[-1][1]) != len(view[0][1]):
        return (*position, *view)
    total = tuple(a + b for a, b in zip(position[-1][1], view[0][1], strict=True))
    return (*position[:-1], ("shift", total)) if any(total) else position[:-1]


def _reverses(kind: str, *steps: Any) -> bool:
    """Whether a view does nothing but to turn axes around."""
    if kind != "steps":
        return False
    start, step = steps
    return all(by == -1 or (by == 1 and not first) for first, by in zip(start, step, strict=True))


def _reads(node: Node) -> Iterator[tuple[Node, list[Position]]]:
    """Each argument with the views at which one element of the node reads it."""
    params = dict(node.params)
    if "source" in params:
        yield node.args[0], _rearranged(node, params["source"])
    elif node.op.kind == "view" and "step" in params:
        sizes = zip(params["start"], params["size"], strict=True)
        start = tuple(0 if size == 1 else first for first, size in sizes)  # one element of its own
        yield node.args[0], [_moved(start, params["step"], 1)]
    elif stacks(node):
        yield from ((part, [()]) for part in node.args)
    elif node.op.kind == "join" and "axis" in params:
        begin = 0
        for part in node.args:
            start = tuple(begin if axis == params["axis"] else 0 for axis in range(node.ndim))
            yield part, [_moved(start, (1,) * node.ndim, -1)]
            begin += part.shape[params["axis"]]
    elif node.op.kind == "join":
        *under, placed = node.args
        yield from ((arg, [()]) for arg in under)
        yield placed, [_moved(params["start"], params["step"], -1)]
    else:
        yield from ((arg, [()]) for arg in node.args)


def _moved(start: Shift, step: Shift, sign: int) -> Position:
    if any(s != 1 for s in step):
        return (("steps", start, step),)
    return (("shift", tuple(sign * s for s in start)),) if any(start) else ()


def _rearranged(node: Node, source: tuple[int | None, ...]) -> list[Position]:
    """A value of a row serves the whole row; a column is computed once for each row, which counts as many."""
    read = [s for s in source if s is not None]
    repeats = any(s is None and n != 1 for s, n in zip(source, node.shape, strict=True))
    if read == sorted(read) and not (repeats and source[-1] is not None):
        return [()]
    view = ("rearrange", source)
    return [(view,), (view, ("again",))] if repeats else [(view,)]
