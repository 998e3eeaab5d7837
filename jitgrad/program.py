"""What fusion makes of a graph: a few kernels and library calls over buffers, one buffer per materialised
node."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jitgrad.ir import Aval, Node, Op, Params, toposort

Level = Literal["element", "row", "total", "columns"]


def _scalar_leaf(name: str) -> Op:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError(f"{name} exists in kernels only")

    return Op(name, "leaf", never, never, never)


# One element of a buffer, at offset + sum(strides * loop indices) + sum(dynamic * first args); where one
# of the other args is false it is 0, and the buffer is not touched.
LOAD = _scalar_leaf("load")
INDEX = _scalar_leaf("index")  # start + sum(steps * loop indices)
INSIDE = _scalar_leaf("inside")  # whether 0 <= offset + sum(strides * loop indices) < size
RESULT = _scalar_leaf("result")  # a total of the kernel, once it is complete


STRIDED = (LOAD, INDEX, INSIDE)


def guards(load: Node) -> tuple[Node, ...]:
    """The conditions under which a load reads memory."""
    return load.args[len(load.param("dynamic")) :]


def scalar(op: Op, args: tuple[Node, ...], params: Params, dtype: np.dtype[Any]) -> Node:
    """A node of a kernel's body: one element, so its shape is ()."""
    return Node(op, args, params, Aval((), dtype))


def runs_down(node: Node) -> bool:
    """Whether the node is a running value that goes on from row to row, for each column by itself."""
    return node.op.kind == "scan" and node.param("carry") is not None


@dataclass(frozen=True, slots=True)
class Store:
    """Where a value of the body goes: each element, each row, or reduced over all rows into a total, or over
    the kernel's run into columns.

    A flat kernel may loop over more elements than a total has: the first `count`. Where a target has several
    elements for each element or row of the loops, `part` is the place of this one and their number.
    """

    level: Level
    value: Node
    target: Node
    op: Op | None = None  # the reduction, for totals and columns
    count: int | None = None
    part: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Kernel:
    """A loop nest over `domain`: rows over the outer axes, elements over the last one.

    Row reductions (reduce nodes in a body) split the work on a row into several loops; `epilogue` holds
    the scalars that are computed from totals when all rows are done. Stores to columns reduce the axes from
    run[0] to run[1], which do not include the last one; scans may run down this one axis.
    """

    domain: tuple[int, ...]
    stores: tuple[Store, ...]
    epilogue: tuple[Store, ...] = ()
    run: tuple[int, int] = (0, 0)

    @property
    def targets(self) -> tuple[Node, ...]:
        return tuple(dict.fromkeys(s.target for s in (*self.stores, *self.epilogue)))

    @property
    def body(self) -> list[Node]:
        """The scalar nodes of all stores but those of the epilogue, arguments before users."""
        return toposort(store.value for store in self.stores)

    @property
    def down(self) -> bool:
        """Whether scans run down the kernel's run."""
        return any(map(runs_down, self.body))

    @property
    def rows(self) -> int:
        return math.prod(self.domain[:-1])

    @property
    def around_run(self) -> tuple[int, int, int]:
        """How many rows lie before, along and after the run."""
        first, last = self.run
        return (
            math.prod(self.domain[:first]),
            math.prod(self.domain[first:last]),
            math.prod(self.domain[last:-1]),
        )


@dataclass(frozen=True, slots=True)
class Call:
    """A library call: the node's op run by NumPy on `buffers`, one for each argument, through free views."""

    node: Node
    buffers: tuple[Node, ...]

    @property
    def targets(self) -> tuple[Node, ...]:
        return (self.node,)


@dataclass(frozen=True, slots=True)
class Program:
    """Steps in order; `strides` holds the element strides of the inputs that are not C-contiguous."""

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    steps: tuple[Kernel | Call, ...]
    strides: dict[Node, tuple[int, ...]]
