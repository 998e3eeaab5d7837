"""Local derivatives of the operations on a tape, and what each path from a tensor to a result contributes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jitgrad.eager.dtypes import Array
from jitgrad.eager.engine import fitted, records_below
from jitgrad.eager.modes import no_grad, state
from jitgrad.eager.tape import Edge, Record
from jitgrad.location import user_line

SMALL = 64  # numbers of a local derivative that is still worked out
SHOWN, SHOWN_OF_MATRIX = 6, 4  # numbers that are printed
MAX_PATHS = 8

Step = tuple[Record, int, int]
"""A record, the number of its output that a path comes from, and of the operand that it goes on to."""


def pulled(record: Record, number: int, g: Array) -> list[Array | None]:
    """The gradients of a record's operands, given that of one output; None where the tape goes no further.

    Raises RuntimeError where backward() has freed what they are computed from.
    """
    if record._values is None:
        raise RuntimeError(
            f"the partial derivatives of {record.name()} drawn at {user_line()} need values that backward() "
            "has freed. Draw before it, or call backward(retain_graph=True)"
        )
    grads: list[Array | None] = [None] * len(record._metas)
    grads[number] = g
    with no_grad():
        results = record.backward(grads)
    return [
        None if edge is None or r is None else state.compute(fitted, r, edge[0]._metas[edge[1]])
        for edge, r in zip(record._edges, results, strict=True)
    ]


def partials(record: Record, number: int) -> list[Array | None]:
    """The derivatives of one output by each operand, of the output's shape followed by the operand's.

    None where there is none, and where it has too many numbers.
    """
    shape, dtype = record._metas[number]
    size = math.prod(shape)
    sizes = [0 if edge is None else size * math.prod(edge[0]._metas[edge[1]][0]) for edge in record._edges]
    if not any(0 < n <= SMALL for n in sizes):
        return [None] * len(sizes)
    rows = [pulled(record, number, row.reshape(shape)) for row in np.eye(size, dtype=dtype)]
    found: list[Array | None] = []
    for n, column in zip(sizes, zip(*rows, strict=True), strict=True):
        known = 0 < n <= SMALL and all(g is not None for g in column)
        found.append(np.stack(column).reshape((*shape, *column[0].shape)) if known else None)
    return found


def partial_text(shape: tuple[int, ...], of: tuple[int, ...], derivative: Array | None) -> str:
    """A derivative of an output of one shape by an operand of another: its numbers if they are few."""
    if derivative is None or not derivative.size:
        return f"{shape} by {of}"
    square = derivative.reshape(math.prod(shape), -1)
    if shape == of and len(square) > 1 and np.array_equal(square, np.diag(np.diagonal(square))):
        return f"diagonal {numbers(np.diagonal(square))}"
    return numbers(derivative) if is_short(derivative) else f"{shape} by {of}"


def is_short(array: Array) -> bool:
    """Whether an array's numbers fit one line."""
    return array.size <= (SHOWN if array.ndim < 2 else SHOWN_OF_MATRIX)


def numbers(array: Array) -> str:
    """An array's numbers on one line if they are few, else its dtype and shape."""
    if not is_short(array):
        return f"{array.dtype}{list(array.shape)}"
    text = np.array2string(array, separator=" ", formatter={"float_kind": lambda v: f"{v:.4g}"})
    return " ".join(text.split())


# Paths ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Path:
    """A way down the tape from a result to a tensor, and what it adds to that tensor's gradient.

    `factors` are the local derivatives along it from the tensor on, where all of them are numbers.
    """

    steps: tuple[Step, ...]
    contribution: Array
    factors: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Paths:
    """The first paths from a result to a tensor, the number of all, and the gradient that they add up to."""

    shown: tuple[Path, ...]
    count: int
    total: Array


def paths_between(leaf: Edge, root: Edge) -> Paths:
    """Follow all paths from a result of one element down to a tensor; ValueError where there is none."""
    shape, dtype = root[0]._metas[root[1]]
    if math.prod(shape) != 1:
        raise ValueError(
            f"path= at {user_line()} must end in a tensor of one element, got shape {shape}. Sum it first"
        )
    counts = _counts(leaf, root)
    if leaf == root or not counts.get(root):
        raise ValueError(f"no path leads between the tensors of path= at {user_line()}")
    ways = [way for way, _ in zip(_ways(leaf, root, counts), range(MAX_PATHS), strict=False)]
    seed = np.ones(shape, dtype)
    return Paths(tuple(_path(way, seed) for way in ways), counts[root], _total(leaf, root, seed, counts))


def _counts(leaf: Edge, root: Edge) -> dict[Edge, int]:
    """How many paths lead from each place on the tape below the root to the leaf."""
    counts: dict[Edge, int] = {leaf: 1}
    for record in sorted(records_below([root[0]]), key=lambda r: r._sequence):
        count = sum(counts.get(edge, 0) for edge in record._edges if edge is not None)
        for number in range(len(record._metas)):
            if (record, number) != leaf:
                counts[record, number] = count
    return counts


def _ways(leaf: Edge, root: Edge, counts: dict[Edge, int]) -> Iterator[tuple[Step, ...]]:
    stack: list[tuple[Edge, tuple[Step, ...]]] = [(root, ())]
    while stack:
        (record, number), way = stack.pop()
        if (record, number) == leaf:
            yield way
            continue
        for place, edge in reversed(list(enumerate(record._edges))):
            if edge is not None and counts.get(edge):
                stack.append((edge, (*way, (record, number, place))))


def _path(way: Sequence[Step], g: Array) -> Path:
    factors = []
    for record, number, place in way:
        result = pulled(record, number, g)[place]
        edge = record._edges[place]
        assert edge is not None
        shapes = {record._metas[number][0], edge[0]._metas[edge[1]][0]}
        local = partials(record, number)[place] if shapes == {()} else None
        factors.append(None if local is None else float(local))
        g = np.zeros(*edge[0]._metas[edge[1]]) if result is None else result
    known = [f for f in factors if f is not None]
    return Path(tuple(way), g, tuple(reversed(known)) if len(known) == len(way) else None)


def _total(leaf: Edge, root: Edge, seed: Array, counts: dict[Edge, int]) -> Array:
    """The gradient, gathered as a backward pass does it: each record once, the youngest first."""
    gradients = {root: seed}
    for record in sorted(records_below([root[0]]), key=lambda r: -r._sequence):
        for number in range(len(record._metas)):
            g = gradients.get((record, number))
            if g is None or (record, number) == leaf or not counts.get((record, number)):
                continue
            for edge, result in zip(record._edges, pulled(record, number, g), strict=True):
                if edge is not None and result is not None and counts.get(edge):
                    gradients[edge] = gradients[edge] + result if edge in gradients else result
    return gradients[leaf]
