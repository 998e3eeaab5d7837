"""Draws the tape of tensors: leaves, the operations recorded on them, and results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jitgrad.eager.backward import gradient_edge
from jitgrad.eager.dispatch import OpRecord, PlanRecord
from jitgrad.eager.engine import records_below
from jitgrad.eager.tape import AccumulateGrad, Edge, Record, operation, unpacked
from jitgrad.eager.tensor import Tensor
from jitgrad.location import user_line
from jitgrad.viz.partials import Path, Paths, is_short, numbers, partial_text, partials, paths_between
from jitgrad.viz.picture import MARKS, MAX_NODES, Arrow, Box, Line, Picture, narrowed

Names = Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]
NOT_RECORDED = "not recorded: nothing that it comes from required a gradient, or grad mode was off"


def make_dot(
    y: Tensor | Sequence[Tensor],
    params: Names | None = None,
    show_values: bool = False,
    show_partials: bool = False,
    path: tuple[Tensor, Tensor] | None = None,
    *,
    depth: int | None = None,
    max_nodes: int = MAX_NODES,
) -> Picture:
    """Draw how one tensor or several were computed, as far as the tape knows.

    `params` name tensors; `show_values` adds what the tape has saved, and the values of leaves and results;
    `show_partials` writes the local derivative on each arrow. With path=(leaf, root), each path from the leaf
    to the root of one element is highlighted and listed with its product; their sum is the leaf's gradient.
    `depth` draws only that many operations before the results. Raises TypeError for what is no tensor,
    ValueError for a graph of more than `max_nodes` boxes and where no path leads from leaf to root, and
    RuntimeError where values that are needed have been freed.

    >>> import jitgrad
    >>> x = jitgrad.tensor(3.0, requires_grad=True)
    >>> y = x * x + x
    >>> print(make_dot(y, {"x": x, "y": y}, path=(x, y)).caption[-1].text)
    sum of the 3 paths: dy/dx = 7
    """
    results = _checked(y)
    named = dict(params or ())
    _must_be_tensors(named.values(), "params")
    drawn = _Tape(results, named, show_values, show_partials)
    if path is not None:
        drawn.highlight(path)
    return narrowed(drawn.picture(), drawn.results, depth, max_nodes)


def _checked(y: Any) -> list[Tensor]:
    tensors = list(y) if isinstance(y, (tuple, list)) else [y]
    _must_be_tensors(tensors, "the first argument")
    if not tensors:
        raise TypeError(f"make_dot at {user_line()} got an empty {type(y).__name__}. Pass a tensor")
    return tensors


def _must_be_tensors(values: Iterable[Any], place: str) -> None:
    for value in values:
        if not isinstance(value, Tensor):
            raise TypeError(
                f"make_dot at {user_line()} draws tensors, got {type(value).__name__} in {place}. For a "
                "function of arrays, use draw_graph"
            )


class _Tape:
    """The picture of a tape as it grows."""

    def __init__(
        self, results: Sequence[Tensor], named: dict[str, Tensor], values: bool, local: bool
    ) -> None:
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []
        self.caption: tuple[Line, ...] = ()
        self.results: list[str] = []
        self.with_values = values
        self.marks: dict[tuple[Record, int], list[str]] = {}
        self.labels: dict[tuple[Record, int], str] = {}
        self.names = {edge: name for name, t in named.items() if (edge := gradient_edge(t)) is not None}
        self.given = {id(t): name for name, t in named.items()}
        self.arrays = {id(t._array): name for name, t in named.items()}
        self.roots = [gradient_edge(t) for t in results]
        below = records_below([edge[0] for edge in self.roots if edge is not None])
        self.records = sorted(below, key=lambda r: -r._sequence)
        self.keys = {record: f"n{i}" for i, record in enumerate(self.records)}
        for number, (tensor, root) in enumerate(zip(results, self.roots, strict=True)):
            self.result(tensor, root, f"output {number}" if len(results) > 1 else "output")
        for record in self.records:
            self.record(record)
            if local:
                self.derivatives(record)

    def result(self, tensor: Tensor, root: Edge | None, otherwise: str) -> None:
        if root is not None and isinstance(root[0], AccumulateGrad):
            self.results.append(self.keys[root[0]])  # a leaf, which has a box of its own
            return
        name = self.given.get(id(tensor)) or (root and self.names.get(root)) or otherwise
        key = f"result {len(self.results)}"
        lines = [name, *self.described(tensor)]
        self.results.append(key)
        if root is None:
            self.boxes.append(Box(key, (*lines, "not recorded"), "output", NOT_RECORDED))
            return
        self.boxes.append(Box(key, tuple(lines), "output"))
        self.arrows.append(Arrow(self.keys[root[0]], key))

    def described(self, tensor: Tensor) -> list[str]:
        array = tensor._array
        return [str(array.shape), *([numbers(array)] if self.with_values and is_short(array) else [])]

    def record(self, record: Record) -> None:
        key = self.keys[record]
        shown = [edge for edge in _places(record) if edge in self.names and edge not in self.roots]
        name = [self.names[edge] for edge in shown]
        if isinstance(record, AccumulateGrad):
            lines = [self.names.get((record, 0), "leaf"), *self.described(record.variable)]
            self.boxes.append(Box(key, tuple(lines), "leaf", "a leaf: its gradient goes to .grad"))
            return
        shapes = " ".join(str(meta[0]) for meta in record._metas if meta)
        self.boxes.append(Box(key, (*name, record.name().rpartition("::")[2], shapes), "operation"))
        if self.with_values:
            self.saved(record)

    def saved(self, record: Record) -> None:
        """Boxes for what the tape keeps for the record's derivative."""
        for number, (title, value) in enumerate(_saved(record)):
            text = (
                value if isinstance(value, str) else self.arrays.get(id(value)) or numbers(np.asarray(value))
            )
            key = f"{self.keys[record]} saved {number}"
            self.boxes.append(Box(key, (title, text), "saved"))
            self.arrows.append(Arrow(key, self.keys[record], style="dotted"))

    def derivatives(self, record: Record) -> None:
        """Labels for the arrows to a record: its local derivatives."""
        if not any(record._edges) or len(record._metas) != 1:
            return
        shape = record._metas[0][0]
        for place, (edge, found) in enumerate(zip(record._edges, partials(record, 0), strict=True)):
            if edge is not None:
                self.labels[record, place] = partial_text(shape, edge[0]._metas[edge[1]][0], found)

    # Paths

    def highlight(self, path: tuple[Tensor, Tensor]) -> None:
        """Colour the paths from a leaf to a root, and list them."""
        _must_be_tensors(path, "path")
        leaf, root = (gradient_edge(t) for t in path)
        if leaf is None or root is None or root[0] not in self.keys:
            raise ValueError(
                f"path= at {user_line()} must hold a tensor that requires a gradient and one that is drawn"
            )
        found = paths_between(leaf, root)
        of, by = self.called(root, "root"), self.called(leaf, "leaf")
        for colour, each in zip(MARKS, found.shown, strict=False):
            for record, _, place in each.steps:
                self.marks.setdefault((record, place), []).append(colour)
                if (record, place) not in self.labels:
                    self.derivatives(record)
        self.listed(found, of, by)

    def listed(self, found: Paths, of: str, by: str) -> None:
        """Let the lines above the picture tell the paths and their sum."""
        lines = [Line(f"paths from {by} to {of}")]
        for colour, each in zip(MARKS, found.shown, strict=False):
            lines.append(Line(f"{' → '.join([by, *self.way(each), of])}: {_product(each)}", colour))
        if found.count > len(found.shown):
            lines.append(Line(f"and {found.count - len(found.shown):,} more paths"))
        many = f"sum of the {found.count:,} paths" if found.count > 1 else "one path"
        self.caption = (*lines, Line(f"{many}: d{of}/d{by} = {numbers(found.total)}"))

    def way(self, path: Path) -> list[str]:
        """The operations on a path, from the leaf on; of many, those next to its ends."""
        names = [operation(record) for record, _, _ in reversed(path.steps)]
        return names if len(names) <= 8 else [*names[:3], "...", *names[-3:]]

    def called(self, edge: Edge, otherwise: str) -> str:
        return self.names.get(edge, otherwise)

    # The whole

    def picture(self) -> Picture:
        arrows = [
            Arrow(
                self.keys[edge[0]],
                self.keys[record],
                self.labels.get((record, place), ""),
                tuple(self.marks.get((record, place), ())),
            )
            for record in self.records
            for place, edge in enumerate(record._edges)
            if edge is not None
        ]
        return Picture(tuple(self.boxes), (*self.arrows, *arrows), caption=self.caption)


def _places(record: Record) -> list[Edge]:
    return [(record, number) for number in range(len(record._metas))]


def _product(path: Path) -> str:
    if path.factors is None:
        return numbers(path.contribution)
    factors = [f"{f:.4g}" if f >= 0 else f"({f:.4g})" for f in path.factors]
    return " · ".join(factors) + (f" = {numbers(path.contribution)}" if len(factors) > 1 else "")


# Saved values -----------------------------------------------------------------------------------------


def _saved(record: Record) -> list[tuple[str, Any]]:
    """What each saved value is, and the array, or a word on what has become of it."""
    if record._values is None:
        return [("saved", "freed by backward()")]
    if not isinstance(record._values, list):
        return []
    count = len(record._edges)
    places = record.plan.adjoint(record.needed).reads if isinstance(record, PlanRecord) else range(count + 1)
    known = isinstance(record, (OpRecord, PlanRecord))
    return [
        (_title(place, count) if known else f"saved {place}", _kept(value, record))
        for place, value in zip(places, record._values, strict=False)
        if value is not None
    ]


def _title(place: int, operands: int) -> str:
    if place >= operands:
        return "saved result"
    return "saved operand" if operands == 1 else f"saved operand {place}"


def _kept(value: Any, record: Record) -> Any:
    try:
        return unpacked(getattr(value, "entry", value), record.name())
    except RuntimeError:
        return "overwritten since"
