"""What a compiled program does at each call, as plain data: its buffers, launches, library calls and results.

A plan holds no node of a graph and no address, so it can be kept on disk. Arrays have numbers, their slots:
first those of the inputs, then those of the captured arrays, then those that the steps make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.pytree import Tree

Array = np.ndarray[Any, Any]
Params = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Buffer:
    """An array that a step makes; `instead` is the slot of an array like it which it takes over."""

    slot: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    instead: int | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel's run: `content` is its argument block with 0 for every address.

    The addresses of `arrays`, then those of the work arrays, go to the words from `threads.ARGS` on, those of
    the code and of the scratch memory to where `threads` says.
    """

    key: str
    has_finish: bool
    content: tuple[int, ...]
    holds_gil: bool
    scratch_bytes: int
    arrays: tuple[int, ...]
    works: tuple[tuple[int, np.dtype[Any]], ...]
    makes: tuple[Buffer, ...]
    releases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Operand:
    """An argument of a library call: an array or a constant, seen through a chain of free views."""

    slot: int | None
    constant: Any
    views: tuple[tuple[str, Params], ...]


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product of two arrays; `layout` is what `jitgrad.machine.products.plan` takes."""

    operands: tuple[Operand, Operand]
    layout: tuple[Any, ...]
    makes: Buffer
    releases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SegmentSum:
    """Sums of the rows in `rows`, which may stand for several each, by the numbers in `index`.

    `layout` is what `jitgrad.machine.scatter.Sums` takes.
    """

    rows: int
    index: int
    layout: tuple[Any, ...]
    makes: Buffer
    releases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LibraryCall:
    """An op of the table run by NumPy; `where` is the user's line."""

    op: str
    params: Params
    operands: tuple[Operand, ...]
    dtype: np.dtype[Any]
    where: str | None
    slot: int
    releases: tuple[int, ...]


Step = Launch | Product | SegmentSum | LibraryCall


@dataclass(frozen=True, slots=True)
class Result:
    """An output: an array of the program, a copy of one, or a constant."""

    slot: int | None
    constant: Any = None
    copies: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps in order; `captured` are the arrays of the user's that the program reads at each call."""

    inputs: int
    captured: tuple[Array, ...]
    steps: tuple[Step, ...]
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Outputs:
    """How the result of a call is built: its tree, and for each leaf what it is.

    That is "array", "number" (a 0-d array, of which the number is meant), or "constant" with the constant.
    """

    tree: Tree
    leaves: tuple[tuple[str, Any], ...]
