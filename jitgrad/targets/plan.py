"""The loops of a kernel: which nodes each loop evaluates, which values it keeps for later ones."""

from __future__ import annotations

from functools import partial

from jitgrad.ir import Node, toposort
from jitgrad.lower import varies
from jitgrad.mincut import NEVER, kept
from jitgrad.program import LOAD, Kernel, Store, runs_down
from jitgrad.tidy import is_row_program

TEMP_COST = 1  # of writing or reading one element of a temporary that stays in the nearest cache


def _runs_along(node: Node) -> bool:
    return node.op.kind == "scan" and not runs_down(node)


def has_stage(node: Node) -> bool:
    """Whether the node needs a loop of its own before what reads its result."""
    return node.op.kind == "reduce" or _runs_along(node)


class Plan:
    """A kernel has a loop over its row (or block) before and after each stage of row reductions and scans.

    `inner` are the nodes that vary along the row, `loops` those that each loop evaluates, `kept` those
    that leave a temporary behind, `read[loop]` those that a loop reads back.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.rows = is_row_program(kernel) or len(kernel.domain) > 1
        self.columns = any(s.level == "columns" for s in kernel.stores)
        self.body = kernel.body
        self.down = kernel.down
        self.in_blocks = self.down or not self.rows  # loops go along a part of the row
        self.inner = varies(self.body, len(kernel.domain) - 1)
        self.stage = self._stages()
        self.loop_of: dict[Node, int] = {}
        self.kept: set[Node] = set()
        self.read: list[set[Node]] = []
        self.loops = self._plan()

    def _stages(self) -> dict[Node, int]:
        """The loop over the row in which each node can first be computed."""
        stage: dict[Node, int] = {}
        for node in self.body:
            after = 1 if has_stage(node) else 0
            stage[node] = after + max((stage[a] for a in node.args), default=0)
        return stage

    def _plan(self) -> list[list[Node]]:
        """The elementwise nodes that each loop evaluates; `kept` are those that leave a temporary behind."""
        self.kept = {a for n in self.body if has_stage(n) for a in n.args}
        self.kept |= set(filter(_runs_along, self.body))
        self.kept |= {s.value for s in self.kernel.stores if s.level == "total" and self.in_blocks}
        loops = []
        for loop in range(max((self.stage[s.value] for s in self.kernel.stores), default=0) + 1):
            roots = self.loop_roots(loop)
            order = [n for n in toposort(roots, self._is_leaf) if n in self.inner]
            earlier = {n for n in order if n in self.loop_of or _runs_along(n)}
            read = (
                kept(order, roots, partial(self._keep_cost, earlier), self._compute_cost)
                if earlier
                else set()
            )
            self.kept |= read
            needed = [n for n in toposort(roots, partial(self._ends, read)) if n in self.inner]
            for node in needed:
                self.loop_of.setdefault(node, loop)
            loops.append(needed)
            self.read.append(read)
        return loops

    def _is_leaf(self, node: Node) -> bool:
        return node not in self.inner or _runs_along(node)

    def _ends(self, read: set[Node], node: Node) -> bool:
        return node not in self.inner or node in read

    def _keep_cost(self, earlier: set[Node], node: Node) -> int:
        if node not in earlier:
            return NEVER
        return TEMP_COST if node in self.kept else 2 * TEMP_COST

    def _compute_cost(self, node: Node) -> int:
        if _runs_along(node):
            return NEVER
        return TEMP_COST if node.op is LOAD else node.op.cost

    def loop_roots(self, loop: int) -> list[Node]:
        """The elementwise values that a loop must end with: operands of its stage, elements to store."""
        roots = [a for n in (*self.reductions(loop), *self.scans(loop)) for a in n.args]
        roots += [s.value for s in self.element_stores(loop)]
        return list(dict.fromkeys(roots))

    def element_stores(self, loop: int) -> list[Store]:
        per_element = ("element", "columns", *(("total",) if self.in_blocks else ()))
        return [s for s in self.kernel.stores if s.level in per_element and self.stage[s.value] == loop]

    def reductions(self, loop: int) -> list[Node]:
        """The row reductions that can be done when a loop has run."""
        return [n for n in self.body if n.op.kind == "reduce" and self.stage[n] == loop + 1]

    def scans(self, loop: int) -> list[Node]:
        """The running values that can be made when a loop has run."""
        return [n for n in self.body if _runs_along(n) and self.stage[n] == loop + 1]

    def writes(self, loop: int) -> list[Node]:
        """The values that a loop computes and keeps."""
        roots = [r for r in self.loop_roots(loop) if r not in self.inner]
        return [
            n
            for n in self.loops[loop] + roots
            if n in self.kept and self.loop_of.get(n, loop) == loop and n not in self.read[loop]
        ]
