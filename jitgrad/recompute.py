"""Recompute or store, across kernels: the values that a later kernel had better read than compute again."""

from __future__ import annotations

from collections.abc import Sequence

from jitgrad.ir import LITERAL, Node, toposort
from jitgrad.lower import Body, is_row_reduction
from jitgrad.mincut import NEVER, kept
from jitgrad.program import Store

# Of one byte, or of one unit of an op's cost for each byte of its elements; the second is measured where the
# loop is vectorised, the first between the second-level cache and memory.
READ, WRITE, COMPUTE = 6, 12, 1

Stage = tuple[Body, Sequence[Store]]


def worth_storing(stages: Sequence[Stage], stored: set[Node]) -> set[Node]:
    """The nodes that one kernel computes and another reads at less cost than it computes them again.

    `stages` are the kernels in order, `stored` what has a buffer already.
    """
    found: set[Node] = set()
    before: set[Node] = set()
    for body, stores in stages:
        evaluated = body.evaluated()
        again = evaluated & before
        if again:
            found |= _cut(stores, evaluated, again, stored | found)
        before |= evaluated
    return found


def _cut(stores: Sequence[Store], evaluated: set[Node], again: set[Node], stored: set[Node]) -> set[Node]:
    def keep_cost(node: Node) -> int:
        if node not in again:
            return NEVER
        return (READ if node in stored else READ + WRITE) * node.aval.nbytes

    roots = [s.target.args[0] if s.op is not None else s.target for s in stores]
    order = toposort(roots, lambda n: n not in evaluated)
    if sum(map(_compute_cost, again)) <= min(map(keep_cost, again)):
        return set()
    return kept(order, roots, keep_cost, lambda n: _compute_cost(n) if n in evaluated else _read_cost(n))


def _compute_cost(node: Node) -> int:
    if is_row_reduction(node):
        return COMPUTE * node.args[0].aval.nbytes
    return COMPUTE * node.op.cost * node.aval.nbytes if node.op.kind in ("map", "scan") else 0


def _read_cost(node: Node) -> int:
    """Of what is in memory, or costs nothing: a view of it, which repeats what it reads, a number."""
    if node.op is LITERAL or node.op.kind == "index":
        return 0
    return READ * node.aval.nbytes
