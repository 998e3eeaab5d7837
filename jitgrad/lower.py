"""A node seen from inside a kernel: graph nodes plus index maps to a body of scalar nodes over one domain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from jitgrad.ir import CAPTURE, INPUT, LITERAL, Node, literal, literal_value
from jitgrad.ops.table import OPS
from jitgrad.program import INDEX, INSIDE, LOAD, STRIDED, guards, scalar

FUSIBLE_DTYPES = frozenset(map(np.dtype, ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")))


class Blocked(Exception):
    """These nodes cannot be computed inside the kernel; they must be in memory before it starts."""

    def __init__(self, *nodes: Node) -> None:
        super().__init__(nodes)
        self.nodes = nodes


@dataclass(frozen=True, slots=True)
class Index:
    """The position along one axis of a node: start + sum(step * loop index) + sum(step * value).

    It lies inside the axis only where all guards, scalar bools, hold.
    """

    start: int = 0
    terms: tuple[tuple[int, int], ...] = ()
    dynamic: tuple[tuple[Node, int], ...] = ()
    guards: tuple[Node, ...] = ()

    def scaled(self, start: int, step: int) -> Index:
        return Index(
            start + step * self.start,
            tuple((axis, step * s) for axis, s in self.terms),
            tuple((node, step * s) for node, s in self.dynamic),
            self.guards,
        )

    def guarded(self, guard: Node) -> Index:
        return replace(self, guards=(*self.guards, guard))


Map = tuple[Index, ...]
Shape = tuple[int, ...]
Way = tuple[Node, int, bool]  # what runs along an axis of the loops first, which, and whether backwards
Snapshot = tuple[dict[Node, None], dict[tuple[Node, Map], Node], Way | None]
BOOL = np.dtype(bool)


def identity(ndim: int) -> Map:
    return tuple(Index(0, ((axis, 1),)) for axis in range(ndim))


def first_elements(node: Node) -> Map:
    """The map of a node of one axis in a longer loop: its own elements, then nothing."""
    params = (("offset", 0), ("strides", (1,)), ("size", node.aval.size))
    return (Index(0, ((0, 1),)).guarded(scalar(INSIDE, (), params, BOOL)),)


def fuses(node: Node) -> bool:
    """Whether the node's op can be printed into a kernel in its dtypes."""
    return (
        node.op.kind == "map"
        and node.op.scalar is not None
        and all(
            n.dtype in FUSIBLE_DTYPES and n.dtype.kind in node.op.scalar_kinds for n in (node, *node.args)
        )
    )


def joins(node: Node) -> bool:
    """Whether a kernel can choose between the node's parts element by element: no strides to divide by."""
    return node.op.kind == "join" and all(abs(s) == 1 for s in dict(node.params).get("step", ()))


def stacks(node: Node) -> bool:
    """Whether the node's parts lie side by side, one element of each."""
    return (
        joins(node)
        and dict(node.params).get("axis") == node.ndim - 1 > 0
        and node.shape[-1] == len(node.args) > 1
        and all(part.shape[-1] == 1 for part in node.args)
    )


def is_row_reduction(node: Node) -> bool:
    """Reduces the last axis of at least two: its result can be used again in the same row."""
    return (
        node.op.kind == "reduce"
        and node.ndim > 0
        and node.param("axes") == (node.ndim,)
        and node.args[0].ndim == node.ndim + 1
        and node.dtype in FUSIBLE_DTYPES
    )


def scans(node: Node) -> bool:
    """Whether a kernel can run along the node: in dtypes of numbers."""
    return (
        node.op.kind == "scan"
        and all(n.dtype in FUSIBLE_DTYPES and n.dtype != BOOL for n in (node, *node.args))
        and node.aval.size > 0
    )


def row_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Element strides of a C-contiguous array."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


class Body:
    """The scalar nodes of one kernel, shared between all that it stores."""

    def __init__(
        self,
        domain: tuple[int, ...],
        in_memory: Callable[[Node, Map], bool],
        strides: dict[Node, tuple[int, ...]],
    ) -> None:
        self.domain = domain
        self.buffers: dict[Node, None] = {}
        self._in_memory = in_memory
        self._strides = strides
        self._made: dict[tuple[Node, Map], Node] = {}
        self._way: Way | None = None

    @property
    def size(self) -> int:
        return len(self._made)

    def evaluated(self) -> set[Node]:
        """The nodes that the kernel computes, each at its own place in the domain."""
        return {
            node
            for (node, index), made in self._made.items()
            if made.op is not LOAD and node.op is not LITERAL and index == identity(node.ndim)
        }

    def snapshot(self) -> Snapshot:
        return dict(self.buffers), dict(self._made), self._way

    def restore(self, snapshot: Snapshot) -> None:
        self.buffers, self._made, self._way = snapshot

    @property
    def run(self) -> tuple[int, int]:
        """The axis that scans run down, as a kernel's run."""
        _, axis, _ = self._way or (None, len(self.domain) - 1, False)
        return (axis, axis + 1) if axis < len(self.domain) - 1 else (0, 0)

    def runs_forwards(self, run: tuple[int, int]) -> bool:
        """Whether scans run down this run, from the first row to the last."""
        return any(run) and self.run == run and self._way is not None and not self._way[2]

    def keep_to(self, node: Node, axis: int, backwards: bool = False) -> None:
        """Have all that runs through the loops do so along one axis; what it passes on goes one way."""
        other, *way = self._way or (node, axis, backwards)
        if way != [axis, backwards]:
            raise Blocked(min(node, other, key=lambda n: n.number))
        self._way = other, axis, backwards

    def lower(self, node: Node, index: Map) -> Node:
        """The scalar node for `node` at `index`. Fusion bounds the depth of what one kernel recomputes."""
        key = (node, index)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._lowered(node, index)
        return made

    def _lowered(self, node: Node, index: Map) -> Node:
        if node.op is LITERAL:
            return node
        if node.op is INPUT or node.op is CAPTURE or self._in_memory(node, index):
            return self._load(node, index, self._strides.get(node) or row_strides(node.shape))
        if node.op.kind == "index":
            return scalar(INDEX, (), self._affine(node, index[0]), node.dtype)
        if fuses(node):
            args = tuple(self.lower(a, index if a.shape else ()) for a in node.args)
            return scalar(node.op, args, node.params, node.dtype)
        if node.op.kind == "view":
            return self._view(node, index)
        if joins(node):
            return self._join(node, index)
        if is_row_reduction(node):
            return self._row_reduction(node, index)
        if scans(node):
            return self._scan(node, index)
        raise Blocked(node)

    def _join(self, node: Node, index: Map) -> Node:
        """The part that covers the position, else what lies under it: another operand, or zero."""
        params = dict(node.params)
        if "axis" in params:
            return self._concatenated(node, index, params["axis"])
        under = literal(0, node.dtype) if len(node.args) == 1 else self.lower(node.args[0], index)
        return self._over(node, node.args[-1], index, params["start"], params["step"], under)

    def _concatenated(self, node: Node, index: Map, axis: int) -> Node:
        *parts, last = [part for part in node.args if part.shape[axis]] or node.args[:1]
        ends = [0]
        for part in parts:
            ends.append(ends[-1] + part.shape[axis])
        starts = [tuple(end if i == axis else 0 for i in range(node.ndim)) for end in ends]
        step = (1,) * node.ndim
        value = self._over(node, last, index, starts[-1], step, literal(0, node.dtype))
        for part, start in zip(reversed(parts), reversed(starts[:-1]), strict=True):
            value = self._over(node, part, index, start, step, value)
        return value

    def _over(self, node: Node, x: Node, index: Map, start: Shape, step: Shape, under: Node) -> Node:
        """x, placed at `start`, where it covers the position; `under` elsewhere."""
        read: list[Index] = []
        covered: list[Node] = []
        for position, first, direction, n, whole in zip(index, start, step, x.shape, node.shape, strict=True):
            moved = position.scaled(-first * direction, direction)
            if n < whole:
                guard = self._inside(node, moved, n)
                covered.append(guard)
                moved = moved.guarded(guard)
            read.append(moved)
        value = self.lower(x, tuple(read))
        if not covered:
            return value
        inside = covered[0]
        for guard in covered[1:]:
            inside = scalar(OPS["bitwise_and"], (inside, guard), (), BOOL)
        empty = under.op is LITERAL and not literal_value(under) and not np.signbit(literal_value(under))
        if empty and value.op is LOAD and set(covered) <= set(guards(value)):
            return value
        return scalar(OPS["where"], (inside, value, under), (), x.dtype)

    def _inside(self, node: Node, position: Index, size: int) -> Node:
        return scalar(INSIDE, (), (*self._affine(node, position), ("size", size)), BOOL)

    def _view(self, node: Node, index: Map) -> Node:
        x = node.args[0]
        params = dict(node.params)
        if "source" in params:
            read = [Index()] * x.ndim
            for position, axis in zip(index, params["source"], strict=True):
                if axis is not None:
                    read[axis] = position
            return self.lower(x, tuple(read))
        if "step" in params:
            windows = zip(index, params["start"], params["step"], strict=True)
            return self.lower(x, tuple(i.scaled(start, step) for i, start, step in windows))
        if len(node.args) == 2:
            return self._gathered(node, index, params.get("axis"))
        stored = x.op is INPUT or x.op is CAPTURE or self._in_memory(x, ())
        if x in self._strides or not stored:
            raise Blocked(node if x.op is INPUT or x.op is CAPTURE else x)
        return self._load(x, index, row_strides(node.shape))

    def _gathered(self, node: Node, index: Map, axis: int | None) -> Node:
        """The element that an array of positions names, along an axis or in each row."""
        x, chosen = node.args
        before, named, after = index, index, index[:0]
        if axis is not None:
            end = axis + chosen.ndim
            before, named, after = index[:axis], index[axis:end], index[end:]
        conditions = dict.fromkeys(guard for position in named for guard in position.guards)
        place = Index(0, (), ((self.lower(chosen, named), 1),), tuple(conditions))
        return self.lower(x, (*before, place, *after))

    def _row_reduction(self, node: Node, index: Map) -> Node:
        inner = len(self.domain) - 1
        (x,) = node.args
        busy = any(axis == inner for i in index for axis, _ in i.terms)
        busy = busy or any(i.dynamic or i.guards for i in index)
        rows = {axis for i in index for axis, _ in i.terms}
        again = any(n > 1 and axis not in rows for axis, n in enumerate(self.domain[:-1]))
        if busy or again or not inner or x.shape[-1] != self.domain[-1]:
            raise Blocked(node)
        self.keep_to(node, inner)
        element = self.lower(x, (*index, Index(0, ((inner, 1),))))
        return scalar(node.op, (element,), (), node.dtype)

    def _scan(self, node: Node, index: Map) -> Node:
        """A running value along the rows or down them, in the loops' own order or backwards."""
        axis, inner = node.param("axis"), len(self.domain) - 1
        n, along, others = node.shape[axis], index[axis], (*index[:axis], *index[axis + 1 :])
        if n == 1:
            return self.lower(node.args[-1], index)
        loop = along.terms[0][0] if along.terms else inner
        backwards = along == Index(n - 1, ((loop, -1),))
        whole = n == self.domain[loop] and (backwards or along == Index(0, ((loop, 1),)))
        moved = any(i.dynamic or i.guards or any(a == loop for a, _ in i.terms) for i in others)
        if not whole or moved or math.prod(self.domain) > node.aval.size:
            raise Blocked(node)
        # Rows run both ways, each by itself; what goes on from row to row, or from block to block, one way.
        by_itself = 0 < loop == inner
        self.keep_to(node, loop, backwards and not by_itself)
        args = tuple(self.lower(a, index) for a in node.args)
        carry = (node, index) if loop < inner else None
        return scalar(node.op, args, (("reverse", backwards), ("carry", carry)), node.dtype)

    def _affine(self, node: Node, index: Index) -> tuple[tuple[str, object], ...]:
        if index.dynamic:
            raise Blocked(node)
        steps = [0] * len(self.domain)
        for axis, step in index.terms:
            steps[axis] += step
        return (("offset", index.start), ("strides", tuple(steps)))

    def _load(self, buffer: Node, index: Map, strides: tuple[int, ...]) -> Node:
        self.buffers[buffer] = None
        offset, steps = 0, [0] * len(self.domain)
        dynamic: list[Node] = []
        scales: list[int] = []
        guards: dict[Node, None] = {}
        for position, stride in zip(index, strides, strict=True):
            offset += stride * position.start
            for axis, step in position.terms:
                steps[axis] += stride * step
            for node, step in position.dynamic:
                dynamic.append(node)
                scales.append(stride * step)
            guards.update(dict.fromkeys(position.guards))
        params = (
            ("buffer", buffer),
            ("offset", offset),
            ("strides", tuple(steps)),
            ("dynamic", tuple(scales)),
        )
        return scalar(LOAD, (*dynamic, *guards), params, buffer.dtype)


def varies(body: list[Node], axis: int) -> set[Node]:
    """The scalar nodes whose value changes along a loop axis: that of a scan does, of a row reduction not."""
    found: set[Node] = set()
    for node in body:
        if node.op in STRIDED:
            if node.param("strides")[axis] or any(a in found for a in node.args):
                found.add(node)
        elif node.op.kind == "scan" or node.op.kind != "reduce" and any(a in found for a in node.args):
            found.add(node)
    return found
