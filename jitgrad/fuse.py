"""Fusion: a graph to a Program of few kernels and library calls.

Every node is either materialised (it has a buffer: outputs, what library calls read and write,
reductions over all rows) or recomputed inside each kernel that needs it. A kernel collects the
materialised nodes that loop over one domain and can be computed before, with or after each other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from jitgrad.components import spelled_out
from jitgrad.gathers import with_gathers
from jitgrad.ir import CAPTURE, INPUT, LITERAL, Graph, Node, rebuild, toposort, with_args
from jitgrad.lower import (
    FUSIBLE_DTYPES,
    Blocked,
    Body,
    Index,
    Map,
    first_elements,
    fuses,
    identity,
    is_row_reduction,
    joins,
    scans,
    stacks,
)
from jitgrad.ops.reductions import FEW
from jitgrad.ops.structure import reshape
from jitgrad.ops.table import OPS
from jitgrad.positions import several_positions
from jitgrad.program import LOAD, RESULT, Call, Kernel, Level, Program, Store, scalar
from jitgrad.recompute import Stage, worth_storing
from jitgrad.tidy import tidied
from jitgrad.views import viewed

_PICK, _GATHER = OPS["pick"], OPS["gather"]

MAX_PARTS = 4  # each element of a fused concatenation evaluates all its parts
MAX_REPEATED = 10  # cost of what is computed again rather than stored when several positions need it
MAX_CHEAP = 2  # cost of what is computed again at each position, rather than stored in its stead
SHORT_LOOP = 1024  # elements up to which kernels that share nothing are one: a launch costs as much
LONGER = 1.1  # times its own elements, a total may take part in a loop
MAX_NODES = 400  # in one kernel; LLVM's time grows faster than this
MAX_DEPTH = 120  # nodes that one kernel recomputes in a chain before the value is stored


def fuse(graph: Graph, strides: dict[Node, tuple[int, ...]] | None = None) -> Program:
    """Group the nodes into kernels and calls; `strides` are those of inputs that are not C-contiguous."""
    strides = strides or {}
    graph = Graph(graph.inputs, tuple(map(_copied, graph.outputs)))
    graph = spelled_out(with_gathers(graph))
    graph = Graph(graph.inputs, rebuild(graph.outputs, _flattened))
    required, repeated = _required(graph, strides)
    while True:
        schedule = _Schedule(graph, required, repeated, strides)
        missing = schedule.blocked or worth_storing(schedule.stages(), required) - required
        if not missing:
            return Program(graph.inputs, graph.outputs, schedule.finished(), strides)
        assert not missing <= required, "fusion makes no progress"
        required |= missing


def _copied(output: Node) -> Node:
    """An array that comes in and goes out is copied by a kernel, which may read it anyway."""
    if not in_memory(output) or not output.shape or output.dtype not in FUSIBLE_DTYPES:
        return output
    params = (("shape", output.shape), ("source", tuple(range(output.ndim))))
    return Node(OPS["rearrange"], (output,), params, output.aval)


def _flattened(node: Node, args: tuple[Node, ...]) -> Node:
    """Reductions over several trailing axes as reductions over one axis of a reshape."""
    node = with_args(node, args)
    if node.op.kind != "reduce":
        return node
    (x,), axes = node.args, node.param("axes")
    first, last = axes[0], axes[-1] + 1
    if len(axes) == 1 or last < x.ndim or not (first or inner_axis(x) is None):
        return node
    flat: Node = reshape(x, shape=(*x.shape[:first], math.prod(x.shape[first:])))
    result: Node = node.op(flat, axes=(first,))
    return result


def inner_axes(roots: tuple[Node, ...]) -> dict[Node, int | None]:
    """`inner_axis` of all nodes at once."""
    found: dict[Node, int | None] = {}
    for node in toposort(roots):
        found[node] = _inner_of(node, found)
    return found


def inner_axis(root: Node) -> int | None:
    """The length of the rows that a kernel loops over inside `root`'s own domain: of the row reductions it is
    made of."""
    return inner_axes((root,))[root]


def _inner_of(node: Node, found: dict[Node, int | None]) -> int | None:
    if is_row_reduction(node):
        return node.args[0].shape[-1]
    if fuses(node):
        return next((found[a] for a in node.args if found[a] is not None), None)
    if node.op.kind != "view":
        return None
    params = dict(node.params)
    if "source" in params:
        read = [s for s in params["source"] if s is not None]
        repeats = any(s is None and n != 1 for s, n in zip(params["source"], node.shape, strict=True))
        return None if repeats or read != sorted(read) else found[node.args[0]]
    if "step" in params:
        return found[node.args[0]]
    return node.args[0].shape[-1] if node.op is _PICK else None


def in_memory(node: Node) -> bool:
    return node.op is INPUT or node.op is CAPTURE


def is_call(node: Node) -> bool:
    """Whether the node is left to a library: its op is a call, or no kernel can be printed for it."""
    if node.op.kind == "reduce":
        (x,) = node.args
        return x.aval.size == 0 or x.dtype not in FUSIBLE_DTYPES
    if node.op.kind == "join":
        return (
            not joins(node) or not node.ndim or len(node.args) > MAX_PARTS or node.dtype not in FUSIBLE_DTYPES
        )
    if node.op.kind == "scan":
        return not scans(node)
    if node.op.kind == "view":
        return len(node.args) == 2 and node.dtype not in FUSIBLE_DTYPES
    return node.op.kind == "call" or (node.op.kind == "map" and not fuses(node))


def _required(graph: Graph, strides: dict[Node, tuple[int, ...]]) -> tuple[set[Node], set[Node]]:
    """The nodes that need a buffer whatever the grouping; of them, those read at several positions."""
    required = {o for o in graph.outputs if not in_memory(o) and o.op is not LITERAL}
    repeated: set[Node] = set()
    depth: dict[Node, int] = {}
    cost: dict[Node, int] = {}
    several = several_positions(graph)
    for node in graph.nodes():
        if is_call(node):
            required.add(node)
            buffers = [viewed(arg, strides) for arg in node.args]
            required.update(b for b in buffers if b.op is not LITERAL and not in_memory(b))
        elif node.op.kind == "reduce" and not is_row_reduction(node):
            required.add(node)
        elif node.op is _GATHER and cost[node.args[0]] and node.aval.size > node.args[0].aval.size:
            required.add(viewed(node.args[0], strides))
        inline = [a for a in node.args if a not in required]
        depth[node] = 1 + max((depth[a] for a in inline), default=0)
        own = node.op.cost if node.op.kind in ("map", "join", "scan") else 0
        cost[node] = 0 if node.op.kind == "reduce" else own + sum(cost[a] for a in inline)
        if depth[node] > MAX_DEPTH:
            required.add(node)
        again = several.get(node, 1) - 1
        if cost[node] * again > MAX_REPEATED:
            kept = _before_cheap_ops(node, required)
            repeated.add(kept)
            required.add(kept)
            cost[node] -= cost[kept]
        if again:
            below = toposort((node,), stop=lambda n: n in required or in_memory(n))
            repeated.update(n for n in below if n in required and cost[n] * again > MAX_REPEATED)
    return required, repeated


def _before_cheap_ops(node: Node, required: set[Node]) -> Node:
    """The value to store so that the node costs little: what others need, too, rather than its multiple."""
    budget = MAX_CHEAP
    while node.op.kind == "map" and node.op.cost <= budget:
        budget -= node.op.cost
        inline = [a for a in node.args if a.op is not LITERAL and not in_memory(a) and a not in required]
        if len(inline) != 1 or inline[0].shape != node.shape or inline[0].op.kind != "map":
            break
        node = inline[0]
    return node


def _in_good_order(graph: Graph, required: set[Node]) -> Iterator[tuple[Node, frozenset[Node]]]:
    """The required nodes, each with and after what it needs, library calls as early as can be.

    A kernel that begins after a call can compute what needs the call together with what does not.
    """
    needs: dict[Node, frozenset[Node]] = {}
    waiting: dict[Node, int] = {}
    users: dict[Node, list[Node]] = {}
    ready: list[tuple[bool, int, Node]] = []
    reach: dict[Node, frozenset[Node]] = {}
    places = {node: place for place, node in enumerate(graph.nodes())}
    for node, place in places.items():
        below: frozenset[Node] = frozenset().union(*(reach[a] for a in node.args))
        if node not in required:
            reach[node] = below
            continue
        reach[node] = frozenset((node,))
        needs[node] = below
        waiting[node] = len(below)
        for other in below:
            users.setdefault(other, []).append(node)
        if not below:
            heappush(ready, (not is_call(node), place, node))
    while ready:
        _, _, node = heappop(ready)
        yield node, needs[node]
        for user in users.get(node, ()):
            waiting[user] -= 1
            if not waiting[user]:
                heappush(ready, (not is_call(user), places[user], user))


def _longer_loops(graph: Graph, required: set[Node]) -> dict[Node, tuple[int, ...]]:
    """The flat totals that are better taken in a slightly longer loop, which computes from the same arrays.

    A sum of differences x[1:] - x[:-1] is one, beside its gradient.
    """
    reads: dict[int, dict[Node, set[Node]]] = {}
    for node in graph.nodes():
        (loops,) = node.args if node.op.kind == "reduce" else (node,)
        if node in required and loops.ndim == 1 and fuses(loops):
            reads.setdefault(loops.aval.size, {})[node] = _arrays(loops, required)
    longer: dict[Node, tuple[int, ...]] = {}
    for n, size in itertools.product(reads, sorted(reads)):
        if n < size <= n * LONGER:
            others = set().union(*reads[size].values())
            totals = [node for node, mine in reads[n].items() if not node.shape and mine & others]
            longer.update(dict.fromkeys(totals, (size,)))
    return longer


def _arrays(node: Node, required: set[Node]) -> set[Node]:
    """What a node is computed from: arrays in memory and, further up, required nodes."""
    order = toposort((node,), lambda n: n in required and n is not node)
    return {n for n in order if in_memory(n) or (n in required and n is not node)}


@dataclass(slots=True)
class _Group:
    """A kernel in the making, at its place in the schedule."""

    position: int
    domain: tuple[int, ...]
    body: Body
    stores: list[Store] = field(default_factory=list)
    epilogue: list[Store] = field(default_factory=list)
    run: tuple[int, int] = (0, 0)

    @property
    def all_run(self) -> tuple[int, int]:
        """The axes that stores to columns reduce or scans run down."""
        return self.run if any(self.run) else self.body.run


def _run(node: Node) -> tuple[int, int]:
    """The axes that a reduction into columns reduces, of its operand's; (0, 0) for all other nodes."""
    if node.op.kind != "reduce" or not node.shape or is_row_reduction(node):
        return 0, 0
    axes = node.param("axes")
    return axes[0], axes[-1] + 1


class _NotYet(Exception):
    """The kernel runs before a value that the node needs is complete."""


class _Schedule:
    """Places every required node, in evaluation order, into the first kernel that can take it."""

    def __init__(
        self, graph: Graph, required: set[Node], repeated: set[Node], strides: dict[Node, tuple[int, ...]]
    ) -> None:
        self.steps: list[_Group | Call] = []
        self.home: dict[Node, int] = {}
        self.final: set[Node] = set()  # totals and columns: complete only when their kernel ends
        self.blocked: set[Node] = set()
        self.in_the_way: tuple[Node, ...] = ()
        self.repeated = repeated
        self.strides = strides
        self.inner = inner_axes(graph.outputs)
        self.longer = _longer_loops(graph, required)
        for node, below in _in_good_order(graph, required):
            self._place(node, max((self.home[n] for n in below), default=0))

    def stages(self) -> list[Stage]:
        return [(step.body, step.stores) for step in self.steps if isinstance(step, _Group)]

    def finished(self) -> tuple[Kernel | Call, ...]:
        return tuple(
            step
            if isinstance(step, Call)
            else tidied(Kernel(step.domain, tuple(step.stores), tuple(step.epilogue), step.all_run))
            for step in self.steps
        )

    def _place(self, node: Node, first: int) -> None:
        """Compute the node in a step from `first` on, where what it needs is in memory or being computed."""
        if is_call(node) or self._must_copy(node):
            self.home[node] = len(self.steps)
            self.steps.append(Call(node, tuple(viewed(arg, self.strides) for arg in node.args)))
            return
        if node.shape == () and node.op.kind != "reduce" and self._append_epilogue(node):
            return
        domains = self._domains(node)
        for step in self.steps[first:]:
            if isinstance(step, _Group) and step.domain in domains and self._join(step, node):
                return
        for domain in domains:
            group = self._new_group(domain)
            if self._join(group, node):
                return
            self.steps.pop()
        self.steps.append(group)  # the schedule fails, but others may still ask where the node is
        self.home[node] = group.position
        self.blocked.update(self.in_the_way)

    def _must_copy(self, node: Node) -> bool:
        """A view that no kernel copies: complex numbers, or a reshape of an input that is not contiguous."""
        if node.op.kind != "view" or len(node.args) != 1:
            return False
        if node.dtype not in FUSIBLE_DTYPES:
            return True
        return not {"source", "step"} & dict(node.params).keys() and node.args[0] in self.strides

    def _new_group(self, domain: tuple[int, ...]) -> _Group:
        position = len(self.steps)

        def loads(node: Node, index: Map) -> bool:
            home = self.home.get(node)
            if home is None:
                return False
            elsewhere = node in self.repeated and index != identity(node.ndim)
            if home > position or (home == position and (node in self.final or elsewhere)):
                raise _NotYet
            return home < position

        group = _Group(position, domain, Body(domain, loads, self.strides))
        self.steps.append(group)
        return group

    def _join(self, group: _Group, node: Node) -> bool:
        """Try to compute the node in the kernel; a long one takes only what shares data with it."""
        run, alone = _run(node), not group.stores
        if not alone and (group.body.size > MAX_NODES or (any(group.run) and any(run) and group.run != run)):
            return False
        before = group.body.snapshot()
        try:
            stores = self._stores(group.body, node)
        except _NotYet:
            group.body.restore(before)
            return False
        except Blocked as blocked:
            group.body.restore(before)
            self.in_the_way = blocked.nodes
            return False
        short = math.prod(group.domain) <= SHORT_LOOP
        if not (alone or short or any(self._shares(store, before[0], group) for store in stores)):
            group.body.restore(before)
            return False
        group.stores += stores
        group.run = run if any(run) else group.run
        self.home[node] = group.position
        if stores[0].level in ("total", "columns"):
            self.final.add(node)
        return True

    def _shares(self, store: Store, buffers: dict[Node, None], group: _Group) -> bool:
        mine = set(toposort((store.value,)))
        if any(s.value in mine for s in group.stores):
            return True
        return any(n.param("buffer") in buffers for n in mine if n.op is LOAD)

    def _stores(self, body: Body, node: Node) -> list[Store]:
        if node.op.kind == "reduce" and not is_row_reduction(node):
            return [self._reduction(body, node)]
        outer = node.ndim - 1 if stacks(node) and body.domain != node.shape else max(node.ndim, 1)
        level: Level = "element" if len(body.domain) == outer else "row"
        if level == "row":
            self._by_rows(body, node)
        if outer == max(node.ndim, 1):
            return [Store(level, body.lower(node, identity(node.ndim)), node)]
        count, index = len(node.args), (*identity(outer), Index())
        return [
            Store(level, body.lower(part, index), node, part=(place, count))
            for place, part in enumerate(node.args)
        ]

    def _reduction(self, body: Body, node: Node) -> Store:
        """A reduction over all rows; one of what runs down them goes along, if its order is the same."""
        (x,) = node.args
        if x.ndim == len(body.domain) == 1 and x.shape < body.domain:
            return Store("total", body.lower(x, first_elements(x)), node, node.op, count=x.aval.size)
        if not node.shape and is_row_reduction(x) and x.op is node.op and len(body.domain) == x.ndim + 1:
            element = body.lower(x.args[0], identity(x.ndim + 1))
            if any(body.run):
                return Store("total", element, node, node.op)
        element, run = body.lower(x, identity(x.ndim)), _run(node)
        if not body.runs_forwards(run) or math.prod(body.domain[run[1] :]) <= FEW:
            self._by_rows(body, node)
        return Store("columns" if node.shape else "total", element, node, node.op)

    def _by_rows(self, body: Body, node: Node) -> None:
        if len(body.domain) > 1:
            body.keep_to(node, len(body.domain) - 1)

    def _append_epilogue(self, node: Node) -> bool:
        """Put a scalar into the epilogue of the kernel that completes the last total it needs."""
        order = toposort((node,), stop=lambda n: n in self.home or in_memory(n))
        leaves = [n for n in order if n in self.home]
        inside = set(order) - set(leaves)
        if not leaves or not all(
            n.shape == () and (in_memory(n) or n.op is LITERAL or fuses(n)) for n in inside
        ):
            return False
        position = max(self.home[n] for n in leaves)
        group = self.steps[position]
        if not isinstance(group, _Group) or any(n.shape for n in leaves):
            return False
        here = [n for n in leaves if self.home[n] == position]
        if not all(n in self.final for n in here):
            return False
        made: dict[Node, Node] = {}
        loader = Body((), lambda n, index: True, self.strides)
        for n in order:
            if n in here:
                made[n] = scalar(RESULT, (), (("target", n),), n.dtype)
            elif n in leaves or in_memory(n):
                made[n] = loader.lower(n, ())
            else:
                made[n] = (
                    n if n.op is LITERAL else scalar(n.op, tuple(made[a] for a in n.args), n.params, n.dtype)
                )
        group.epilogue.append(Store("total", made[node], node))
        self.home[node] = position
        self.final.add(node)
        return True

    def _domains(self, node: Node) -> list[tuple[int, ...]]:
        """What a kernel may loop over to compute the node: its elements, and rows of which it is made."""
        if node.op.kind == "reduce" and node.shape:
            return [node.args[0].shape]
        total = node.op.kind == "reduce"
        loops = node.args[0] if total else node
        if node in self.longer:
            return [self.longer[node], loops.shape]
        inner = self.inner[loops]
        domain = loops.shape or (1,)
        if stacks(node):
            rows = next((self.inner[part] for part in node.args if self.inner[part] is not None), None)
            outer = node.shape[:-1]
            return [outer, domain] if rows is None else [outer, (*outer, rows), domain]
        if inner is None:
            return [domain]
        # A total over several axes is one over rows, in the order of which it is reduced.
        return [(*domain, inner)] if total and len(domain) > 1 else [domain, (*domain, inner)]
