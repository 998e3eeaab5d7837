"""What matrix products and segment sums of a program need to know to read their operands where they lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jitgrad.ir import LITERAL, Node
from jitgrad.lower import row_strides
from jitgrad.ops.gather import segment_sum
from jitgrad.ops.linear import DTYPES, matmul
from jitgrad.ops.table import OPS
from jitgrad.runtime.plan import Operand

Array = np.ndarray[Any, Any]
Layout = tuple[tuple[int, ...], int]  # strides of a view of a buffer and where it starts, in bytes


def product_layout(
    node: Node, buffers: Sequence[Node], operands: Sequence[Operand], strides: Mapping[Node, tuple[int, ...]]
) -> tuple[Any, ...] | None:
    """Return what `products.plan` takes for a node whose arguments are views of buffers.

    It is None where the product is left to NumPy. ``strides`` holds the element strides of buffers that are
    not C-contiguous.
    """
    if node.op is not matmul or any(x.dtype != node.dtype for x in node.args):
        return None
    if node.dtype not in DTYPES or any(buffer.op is LITERAL for buffer in buffers):
        return None
    x, y = (_layout(buffer, operand, strides) for buffer, operand in zip(buffers, operands, strict=True))
    if x is None or y is None:
        return None
    (x_strides, x_start), (y_strides, y_start) = x, y
    shapes = [arg.shape for arg in node.args]
    return shapes[0], x_strides, shapes[1], y_strides, node.dtype, x_start, y_start


def segment_layout(
    node: Node, buffers: Sequence[Node], operands: Sequence[Operand], strides: Mapping[Node, tuple[int, ...]]
) -> tuple[Any, ...] | None:
    """Return what `scatter.Sums` takes for a node whose arguments are views of buffers.

    It is None where the sum is left to NumPy: of other numbers, of views that are not contiguous but for
    rows that are repeated, of nothing.
    """
    if node.op is not segment_sum or node.dtype not in DTYPES or any(b.op is LITERAL for b in buffers):
        return None
    x, index = node.args
    if not x.aval.size or not index.aval.size:
        return None
    rows, places = (_layout(b, operand, strides) for b, operand in zip(buffers, operands, strict=True))
    axis, size = node.param("axis"), node.param("size")
    every = _repeats(x, axis, index.ndim, rows)
    if every is None or places != (_steps(index.shape, index.dtype), 0):
        return None
    arrays, width = math.prod(x.shape[:axis]), math.prod(x.shape[axis + index.ndim :])
    return node.dtype, arrays, size, index.aval.size, width, True, every


def _repeats(x: Node, axis: int, axes: int, layout: Layout | None) -> int | None:
    """How often each row in memory stands in x: along the last of some axes it may be the same row."""
    for last in range(axis + axes, axis - 1, -1):
        inside = _steps((*x.shape[:last], *x.shape[axis + axes :]), x.dtype)
        if layout == ((*inside[:last], *(0,) * (axis + axes - last), *inside[last:]), 0):
            return math.prod(x.shape[last : axis + axes])
    return None


def _steps(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """The strides in bytes of a C-contiguous array."""
    return tuple(step * dtype.itemsize for step in row_strides(shape))


def _layout(buffer: Node, operand: Operand, strides: Mapping[Node, tuple[int, ...]]) -> Layout | None:
    """The layout of a view of a buffer; None if it is no view but a copy."""
    array = _stand_in(buffer, strides.get(buffer))
    seen = array
    for name, params in operand.views:
        seen = OPS[name].numpy(seen, **dict(params))
    if not np.may_share_memory(seen, array) and seen.size:
        return None
    return seen.strides, _address(seen) - _address(array)


def _stand_in(buffer: Node, strides: tuple[int, ...] | None) -> Array:
    """An array of a buffer's layout, with any content."""
    if strides is None or 0 in buffer.shape:
        return np.empty(buffer.shape, buffer.dtype)
    reaches = [(n - 1) * s for n, s in zip(buffer.shape, strides, strict=True)]
    before = -sum(r for r in reaches if r < 0)
    memory = np.empty(before + sum(r for r in reaches if r > 0) + 1, buffer.dtype)
    in_bytes = [s * buffer.dtype.itemsize for s in strides]
    return np.lib.stride_tricks.as_strided(memory[before:], buffer.shape, in_bytes)


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
