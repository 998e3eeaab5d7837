"""A kernel to the same kernel over the fewest loops: axes of size 1 dropped, axes that stride alike
merged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from jitgrad.ir import Node, rebuild
from jitgrad.lower import varies
from jitgrad.program import STRIDED, Kernel, runs_down

Strides = tuple[int, ...]


def tidied(kernel: Kernel) -> Kernel:
    kernel = _without_idle_rows(kernel)
    kernel = _without_unit_axes(kernel)
    axis = len(kernel.domain) - 1
    while axis > 0:
        if _mergeable(kernel, axis):
            kernel = _merged(kernel, axis)
        axis -= 1
    return kernel


def is_row_program(kernel: Kernel) -> bool:
    """Whether the kernel needs its rows: it stores per row or column, reduces rows or runs along them."""
    return any(
        s.level in ("row", "columns") or (s.level == "total" and len(kernel.domain) > 1)
        for s in kernel.stores
    ) or any(n.op.kind == "reduce" or (n.op.kind == "scan" and len(kernel.domain) > 1) for n in kernel.body)


def _restrided(
    kernel: Kernel,
    domain: tuple[int, ...],
    run: tuple[int, int],
    change: Callable[[Strides], Strides],
) -> Kernel:
    def replaced(node: Node, args: tuple[Node, ...]) -> Node:
        params: Any = node.params
        if node.op in STRIDED:
            params = tuple((k, change(v) if k == "strides" else v) for k, v in params)
        return Node(node.op, args, params, node.aval)

    values = rebuild([s.value for s in kernel.stores], replaced)
    stores = tuple(replace(s, value=v) for s, v in zip(kernel.stores, values, strict=True))
    return Kernel(domain, stores, kernel.epilogue, run)


def _without_idle_rows(kernel: Kernel) -> Kernel:
    """Drop the inner loop of a kernel whose row reductions all turned out to be in memory already."""
    body = kernel.body
    by_rows = all(s.level in ("row", "total") for s in kernel.stores) and len(kernel.domain) == 2
    if not by_rows or any(n.op.kind == "reduce" for n in body) or varies(body, len(kernel.domain) - 1):
        return kernel
    narrow = _restrided(kernel, kernel.domain[:-1], (0, 0), lambda strides: strides[:-1])
    stores = tuple(replace(s, level="element") if s.level == "row" else s for s in narrow.stores)
    return Kernel(narrow.domain, stores, kernel.epilogue)


def _without_unit_axes(kernel: Kernel) -> Kernel:
    last = len(kernel.domain) - 1
    below = math.prod(kernel.domain[kernel.run[1] :])
    rows = is_row_program(kernel) and not (below > 1 and _only_columns(kernel) and kernel.down)
    kept = [axis for axis, n in enumerate(kernel.domain) if n != 1 or (rows and axis == last)]
    if rows and len(kept) == 1:
        kept.insert(0, last - 1)
    if not kept:
        kept = [last]
    first, after = kernel.run
    run = (sum(axis < first for axis in kept), sum(axis < after for axis in kept))
    domain = tuple(kernel.domain[axis] for axis in kept)
    return _restrided(kernel, domain, run, lambda strides: tuple(strides[axis] for axis in kept))


def _mergeable(kernel: Kernel, axis: int) -> bool:
    """Whether loops axis - 1 and axis can be one: every access strides over both as over one."""
    if is_row_program(kernel) and axis == len(kernel.domain) - 1 and not _only_columns(kernel):
        return False
    if axis in kernel.run:
        return False
    n = kernel.domain[axis]
    return all(
        node.param("strides")[axis - 1] == n * node.param("strides")[axis]
        for node in kernel.body
        if node.op in STRIDED
    )


def _only_columns(kernel: Kernel) -> bool:
    """Whether the kernel's rows need no loops of their own but for the order of what goes down columns."""
    return all(s.level in ("element", "columns") for s in kernel.stores) and not any(
        n.op.kind == "reduce" or (n.op.kind == "scan" and not runs_down(n)) for n in kernel.body
    )


def _merged(kernel: Kernel, axis: int) -> Kernel:
    domain = (
        *kernel.domain[: axis - 1],
        kernel.domain[axis - 1] * kernel.domain[axis],
        *kernel.domain[axis + 1 :],
    )
    first, after = (end - (axis < end) for end in kernel.run)
    return _restrided(kernel, domain, (first, after), lambda strides: (*strides[: axis - 1], *strides[axis:]))
