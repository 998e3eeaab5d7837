"""Buffers that library calls read through views which cost no copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jitgrad.ir import Node, Params
from jitgrad.lower import FUSIBLE_DTYPES, row_strides
from jitgrad.ops.structure import reshape

Strides = Mapping[Node, tuple[int, ...]]
Views = tuple[tuple[str, Params], ...]


def viewed(node: Node, strides: Strides) -> Node:
    """The node to have in memory for a library call that reads `node`.

    That is the buffer under a chain of views, or the operand of a reshape that NumPy would have to copy: a
    kernel copies it as well, along with what makes it. `strides` are those of buffers that are not
    C-contiguous, in elements.
    """
    chain = [node]
    while _is_view(chain[-1]):
        chain.append(chain[-1].args[0])
    buffer = chain.pop()
    if not chain or buffer.dtype not in FUSIBLE_DTYPES or not buffer.aval.size:
        return buffer
    array = _stand_in(buffer.shape, strides.get(buffer))
    for view in reversed(chain):
        if view.op is not reshape:
            array = view.op.numpy(array, **dict(view.params))
            continue
        try:
            array = array.reshape(view.shape, copy=False)
        except ValueError:
            (buffer,) = view.args
            array = _stand_in(view.shape, None)
    return buffer


def _stand_in(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> np.ndarray[Any, Any]:
    """An array of this layout, which must not be read."""
    return np.lib.stride_tricks.as_strided(np.empty(1, np.int8), shape, strides or row_strides(shape))


def views_from(buffer: Node, node: Node) -> Views:
    """The views that lead from a buffer to a node."""
    chain: list[tuple[str, Params]] = []
    while node is not buffer:
        chain.append((node.op.name, node.params))
        (node,) = node.args
    return tuple(reversed(chain))


def _is_view(node: Node) -> bool:
    return node.op.kind == "view" and len(node.args) == 1
