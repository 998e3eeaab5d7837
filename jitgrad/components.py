"""A graph to the same graph with short axes spelled out: the coordinates of points as arrays of their own.

To reduce an axis of at most `FEW` elements is to combine a few arrays, in the order of ops.reductions; to
reduce other axes is to do so for each element of the short one. So a program over pairs of points loops over
pairs. What such a program returns for each coordinate of a point is computed for the point.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from jitgrad.ir import Aval, Graph, Node, located, toposort, with_args
from jitgrad.lower import fuses, stacks
from jitgrad.ops.reductions import FEW
from jitgrad.ops.table import OPS

Place = tuple[int, ...]  # the indices along the last axes at which a component stands
COMBINE = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}
COMBINE |= {"any": "bitwise_or", "all": "bitwise_and"}


def spelled_out(graph: Graph) -> Graph:
    """Replace the reductions whose operands have a short last axis that nothing stores as it is."""
    nodes = graph.nodes()
    if not any(n.op.kind == "reduce" and _is_short(n.args[0]) for n in nodes):
        return graph
    apart = _apart(graph, nodes)
    new: dict[Node, Node] = {}
    parts = _Parts(new)
    returned = set(graph.outputs)
    for node in nodes:
        with located(node.where):
            replaced = _replaced(node, apart, parts)
            if node in returned and _of_points(node):
                replaced = _stacked(node, parts)
            new[node] = with_args(node, tuple(new[a] for a in node.args)) if replaced is None else replaced
    return Graph(graph.inputs, tuple(new[o] for o in graph.outputs))


def _is_short(x: Node) -> bool:
    return x.ndim > 1 and x.shape[-1] <= FEW and x.aval.size > 0


def _axes(node: Node) -> tuple[int, int]:
    """The first reduced axis, and the first one after them."""
    axes = node.param("axes")
    return axes[0], axes[-1] + 1


def _folds(node: Node) -> bool:
    first, last = _axes(node)
    x = node.args[0]
    return last == x.ndim and first > 0 and math.prod(x.shape[first:]) <= FEW


def _kept(node: Node) -> int:
    """How many of the last axes to spell out so that the reduction's order stays the same; 0 for none."""
    _, last = _axes(node)
    tail = node.args[0].shape[last:]
    if not tail:
        return 0
    if math.prod(tail) <= FEW:
        return len(tail)
    return 1 if math.prod(tail[:-1]) > FEW else 0


def _apart(graph: Graph, nodes: list[Node]) -> set[Node]:
    """The elementwise nodes with a short last axis that only such reductions use, also through each other."""
    found = [n for n in nodes if fuses(n) and _is_short(n)]
    group = {n: n for n in found}

    def leader(node: Node) -> Node:
        while group[node] is not node:
            node = group[node] = group[group[node]]
        return node

    stored = set(graph.outputs)
    users = [(a, n) for n in nodes for a in n.args if a in group]
    for arg, user in users:
        if user in group and user.shape == arg.shape:
            group[leader(arg)] = leader(user)
    whole = {leader(n) for n in found if n in stored}
    for arg, user in users:
        inside = user in group and user.shape == arg.shape
        if not inside and not (user.op.kind == "reduce" and (_folds(user) or _kept(user))):
            whole.add(leader(arg))
    return {n for n in found if leader(n) not in whole}


def _replaced(node: Node, apart: set[Node], parts: _Parts) -> Node | None:
    if node.op.kind != "reduce" or not _is_short(node.args[0]):
        return None
    (x,) = node.args
    if x in apart and _folds(node):
        return _folded(node, parts)
    count = _kept(node)
    few = math.prod(x.shape[_axes(node)[1] :]) <= FEW
    if count and (x in apart or (few and not (x.ndim == 2 and fuses(x)))):
        return _each(node, count, parts)
    return None


def _of_points(node: Node) -> bool:
    """Whether the elements along the short last axis share values that are computed."""
    if not (fuses(node) and _is_short(node) and node.shape[-1] > 1):
        return False
    order = toposort((node,), lambda n: not fuses(n) or n.shape != node.shape)
    return any(_repeats(n) and n.args[0].op.kind not in ("leaf", "call") for n in order)


def _repeats(node: Node) -> bool:
    """Whether a view repeats one value along its last axis."""
    return node.op.name == "rearrange" and node.param("source")[-1] is None and node.args[0].ndim > 0


def _stacked(node: Node, parts: _Parts) -> Node:
    """The components side by side."""
    return _side_by_side([parts.of(node, place) for place in _places(node.shape[-1:])])


def _side_by_side(components: list[Node]) -> Node:
    columns = []
    for x in components:
        source = (*range(x.ndim), None)
        columns.append(OPS["rearrange"](x, shape=(*x.shape, 1), source=source))
    joined: Node = OPS["concatenate"](*columns, axis=columns[0].ndim - 1)
    return joined


def _places(shape: tuple[int, ...]) -> Iterator[Place]:
    return itertools.product(*map(range, shape))


def _folded(node: Node, parts: _Parts) -> Node:
    """Combine the components in halves, as a row's lanes are."""
    (x,) = node.args
    terms = [parts.of(x, place) for place in _places(x.shape[node.ndim :])]
    combine = OPS[COMBINE[node.op.name]]
    while (count := len(terms)) > 1:
        half = 1 << (count - 1).bit_length() >> 1
        terms = [combine(terms[k], terms[k + half]) if k + half < count else terms[k] for k in range(half)]
    return terms[0]


def _each(node: Node, count: int, parts: _Parts) -> Node:
    """Reduce each component by itself and put the results side by side."""
    (x,) = node.args
    axes = node.param("axes")
    places = _places(x.shape[x.ndim - count :])
    joined = _side_by_side([node.op(parts.of(x, place), axes=axes) for place in places])
    shaped: Node = OPS["reshape"](joined, shape=node.shape)
    return shaped


class _Parts:
    """Components of nodes of the old graph, made of nodes of the new one."""

    def __init__(self, new: dict[Node, Node]) -> None:
        self._new = new
        self._made: dict[tuple[Node, Place], Node] = {}

    def of(self, root: Node, place: Place) -> Node:
        """The component of `root` at this place of its last axes."""
        count = len(place)

        def known(node: Node) -> bool:
            return (node, place) in self._made or not fuses(node) or node.shape != root.shape

        for node in toposort((root,), known):
            if (node, place) in self._made:
                continue
            if known(node):
                self._made[node, place] = self._view(node, place)
            else:
                args = tuple(self._made[a, place] for a in node.args)
                shape = node.shape[: node.ndim - count]
                with located(node.where):
                    self._made[node, place] = Node(node.op, args, node.params, Aval(shape, node.dtype))
        return self._made[root, place]

    def _view(self, node: Node, place: Place) -> Node:
        new = self._new[node]
        if not new.shape:
            return new
        count = len(place)
        kept = new.shape[: new.ndim - count]
        if new.op.name == "rearrange" and all(s is None for s in new.param("source")[-count:]):
            source = new.param("source")[:-count]
            if sorted(s for s in source if s is not None) == list(range(new.args[0].ndim)):
                same = source == tuple(range(new.args[0].ndim)) and kept == new.args[0].shape
                rearranged: Node = OPS["rearrange"](new.args[0], shape=kept, source=source)
                return new.args[0] if same else rearranged
        if stacks(new):
            new, place = new.args[place[-1]], (*place[:-1], 0)
        start = (*(0 for _ in kept), *place)
        size = (*kept, *(1 for _ in place))
        window: Node = OPS["slice"](new, start=start, step=(1,) * new.ndim, size=size)
        narrow: Node = OPS["rearrange"](window, shape=kept, source=tuple(range(len(kept))))
        return narrow
