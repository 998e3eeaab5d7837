"""Why the steps of a program are steps of their own: what kept each out of the kernel before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jitgrad.fuse import MAX_NODES, MAX_PARTS, SHORT_LOOP
from jitgrad.ir import LITERAL, Node, toposort
from jitgrad.lower import FUSIBLE_DTYPES, joins, row_strides
from jitgrad.program import LOAD, Call, Kernel, Level, Program, Store
from jitgrad.views import viewed


def why_apart(program: Program, place: int) -> str:
    """Return why the step at this place is not part of a kernel before it.

    It is empty for the first kernel, and for calls, such as matrix products, that only a library can do.
    """
    step = program.steps[place]
    if isinstance(step, Call):
        return _why_library(step.node)
    earlier = [p for p in range(place) if isinstance(program.steps[p], Kernel)]
    if not earlier:
        return ""
    before = program.steps[earlier[-1]]
    assert isinstance(before, Kernel)
    calls = [other.node for other in program.steps[earlier[-1] : place] if isinstance(other, Call)]
    return _why_kernel(step, before, f"kernel {len(earlier) - 1}", calls)


def _why_library(node: Node) -> str:
    """Why no kernel computes the node although it is not a library's matter by itself."""
    if node.op.kind == "call":
        return ""
    odd = next((n.dtype for n in (node, *node.args) if n.dtype not in FUSIBLE_DTYPES), None)
    if odd is not None:
        return f"{odd} is left to NumPy"
    if node.op.kind == "view":
        return "a copy, because what it rearranges is not contiguous in memory"
    if node.op.kind == "join" and len(node.args) > MAX_PARTS:
        return f"joins {len(node.args)} arrays, and a kernel joins at most {MAX_PARTS}"
    if node.op.kind == "join" and not joins(node):
        return "places elements some way apart"
    if node.op.kind == "reduce":
        return "reduces an empty array"
    return f"no kernel computes {node.op.name} in {node.dtype}"


def _why_kernel(kernel: Kernel, before: Kernel, name: str, calls: list[Node]) -> str:
    """What keeps a kernel out of the one before it, the reason that weighs most."""
    loads = [node for node in kernel.body if node.op is LOAD]
    read = {load.param("buffer") for load in loads}
    complete = [s for s in (*before.stores, *before.epilogue) if s.level in ("total", "columns")]
    needed = next((s.target for s in complete if s.target in read), None)
    between = next((call for call in calls if call in read), None)
    mine, other = loops(kernel), loops(before)
    if between is not None:
        return f"needs the {between.op.name}{_at(between)}, which runs after {name}"
    if needed is not None:
        what = "column sums" if needed.shape else "total"
        return f"needs the {what} of {name}{_at(needed)}, complete only when it ends"
    if mine != other:
        return f"loops over {mine} where {name} loops over {other}"
    levels = {s.target: s.level for s in before.stores}
    if any(_elsewhere(load, levels[b], kernel) for load in loads if (b := load.param("buffer")) in levels):
        return f"reads values of {name} at other positions than they are computed at"
    if (size := _size(before)) > MAX_NODES:
        return f"{name} has {size} operations already, and a kernel takes no more beyond {MAX_NODES}"
    if any(kernel.run) and any(before.run) and kernel.run != before.run:
        return f"reduces other axes than {name}"
    if math.prod(before.domain) > SHORT_LOOP and not _share(kernel.stores[:1], before):
        begins = "" if not _share(kernel.stores, before) else "begins with a value that "
        return f"{begins}shares no data with {name}"
    return f"cannot be computed in the loops of {name}"


def _at(node: Node) -> str:
    return f" at {node.where}" if node.where else ""


def loops(kernel: Kernel) -> tuple[int, ...]:
    """Return the shape that a kernel loops over, before axes were merged."""
    stores = sorted(kernel.stores, key=lambda s: ("element", "columns", "row", "total").index(s.level))
    first = stores[0]
    shape = (first.target if first.op is None else first.target.args[0]).shape or (1,)
    return shape if math.prod(shape) == math.prod(kernel.domain) else (*shape, kernel.domain[-1])


def _elsewhere(load: Node, level: Level, kernel: Kernel) -> bool:
    """Whether a load reads another element, or row, than the one at which a kernel with these loops is."""
    *outer, _ = kernel.domain
    here = row_strides(kernel.domain) if level == "element" else (*row_strides(tuple(outer)), 0)
    return bool(load.param("offset") or load.args) or load.param("strides") != here


def _size(kernel: Kernel) -> int:
    """How many operations a kernel has, as fusion counts them: with views and constants."""
    targets = set(kernel.targets)
    read = {viewed(node.param("buffer"), {}) for node in kernel.body if node.op is LOAD} - targets
    return max(len(kernel.body), len(toposort(targets, stop=lambda node: node in read)))


def _share(stores: Sequence[Store], before: Kernel) -> bool:
    """Whether stores read an array that the kernel before theirs reads or writes, or need a value of it."""
    mine = set(toposort(store.value for store in stores))
    read = {node.param("buffer") for node in mine if node.op is LOAD}
    read_before = {node.param("buffer") for node in before.body if node.op is LOAD}
    made = {store.value for store in before.stores if store.value.op is not LITERAL}
    return bool(mine & made or read & (read_before | set(before.targets)))
