"""Recompute or keep: the cheapest way to have again what earlier loops over a row computed, as a minimum cut.

The arcs are those of a network in which cutting `needed(n) -> again(n)` pays for keeping a value and
cutting `again(n) -> sink` pays for computing it again, which needs all its arguments; the smallest cut
is the best plan.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from jitgrad.ir import Node

NEVER = 1 << 40
SOURCE, SINK = "source", "sink"


class Network:
    """Capacities between vertices; `flow_out` leaves what remains of them."""

    def __init__(self) -> None:
        self.room: dict[Hashable, dict[Hashable, int]] = {}

    def arc(self, tail: Hashable, head: Hashable, capacity: int) -> None:
        onward = self.room.setdefault(tail, {})
        onward[head] = onward.get(head, 0) + capacity
        self.room.setdefault(head, {}).setdefault(tail, 0)

    def path(self) -> dict[Hashable, Hashable] | None:
        """The vertices before each other on a shortest path with room from source to sink (breadth first)."""
        before: dict[Hashable, Hashable] = {SOURCE: SOURCE}
        queue = deque([SOURCE])
        while queue:
            tail: Any = queue.popleft()
            for head, room in self.room.get(tail, {}).items():
                if room > 0 and head not in before:
                    before[head] = tail
                    if head == SINK:
                        return before
                    queue.append(head)  # type: ignore[arg-type]
        return None

    def saturate(self) -> None:
        """Send as much flow as fits (Edmonds and Karp, 1972)."""
        while (before := self.path()) is not None:
            steps = []
            head: Hashable = SINK
            while head != SOURCE:
                steps.append((before[head], head))
                head = before[head]
            most = min(self.room[tail][head] for tail, head in steps)
            for tail, head in steps:
                self.room[tail][head] -= most
                self.room[head][tail] += most

    def reachable(self) -> set[Hashable]:
        """The source's side of the minimum cut, once saturated."""
        found: set[Hashable] = {SOURCE}
        stack: list[Hashable] = [SOURCE]
        while stack:
            for head, room in self.room.get(stack.pop(), {}).items():
                if room > 0 and head not in found:
                    found.add(head)
                    stack.append(head)
        return found


def kept(
    order: Sequence[Node],
    roots: Sequence[Node],
    keep_cost: Callable[[Node], int],
    compute_cost: Callable[[Node], int],
) -> set[Node]:
    """The nodes of `order` (a topological order of what `roots` need) to read back rather than to compute
    again.

    `keep_cost` is what keeping and reading a value costs, NEVER for one that no earlier loop has computed.
    """
    network = Network()
    inside = set(order)
    for node in order:
        network.arc(("needed", node), ("again", node), keep_cost(node))
        network.arc(("again", node), SINK, compute_cost(node))
        for arg in node.args:
            if arg in inside:
                network.arc(("again", node), ("needed", arg), NEVER)
    for root in roots:
        if root in inside:
            network.arc(SOURCE, ("needed", root), NEVER)
    network.saturate()
    found = network.reachable()
    return {node for node in order if ("needed", node) in found and ("again", node) not in found}
