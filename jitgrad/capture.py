"""Arrays that a traced function uses without being given them, as nodes that refer to the array itself.

A captured array is read at each call, so later changes of its contents are seen. Where the function itself
changes an array while it is traced (a scratch buffer), each use means the contents at that moment, as a copy.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.errors import TraceError
from jitgrad.ir import Node, capture, rebuild, with_args

Array = np.ndarray[Any, Any]

MAX_COPY = 1 << 28  # bytes; larger arrays are compared by checksum, and must not change


@dataclass(frozen=True, slots=True)
class _Use:
    """An array at the moment of its first use with certain contents."""

    array: Array
    node: Node
    contents: Array | int
    where: str

    def unchanged(self) -> bool:
        if isinstance(self.contents, int):
            return _checksum(self.array) == self.contents
        return _same_bits(self.array, self.contents)

    def copied(self) -> Array:
        if isinstance(self.contents, int):
            raise TraceError(
                f"the array used at {self.where} was changed while the function was traced. "
                f"Use a copy of it there: array.copy()"
            )
        return self.contents


def _checksum(array: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data.cast("B"))


def _same_bits(x: Array, y: Array) -> bool:
    if x.dtype.itemsize not in (1, 2, 4, 8):
        return x.tobytes() == y.tobytes()
    bits = f"u{x.dtype.itemsize}"
    return np.array_equal(x.view(bits), y.view(bits))


class Captures:
    """The arrays captured in one trace."""

    def __init__(self) -> None:
        self._first: dict[int, _Use] = {}
        self._latest: dict[int, _Use] = {}

    def node(self, array: Array, where: str) -> Node:
        """The node for an array with its present contents."""
        use = self._latest.get(id(array))
        if use is not None and use.unchanged():
            return use.node
        contents: Array | int = array.copy() if array.nbytes <= MAX_COPY else _checksum(array)
        if use is None:
            use = self._first[id(array)] = _Use(array, capture(array), contents, where)
        else:
            use.copied()
            use = _Use(array, capture(array.copy()), contents, where)
        self._latest[id(array)] = use
        return use.node

    def settled(self, outputs: Sequence[Node]) -> tuple[Node, ...]:
        """The outputs with copies in place of the arrays that have changed since their first use."""
        changed = {use.node: capture(use.copied()) for use in self._first.values() if not use.unchanged()}
        if not changed:
            return tuple(outputs)
        return rebuild(
            outputs, lambda node, args: changed[node] if node in changed else with_args(node, args)
        )
