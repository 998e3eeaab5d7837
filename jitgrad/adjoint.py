"""Reverse mode: outputs and their cotangents to the nodes that compute the cotangents of other nodes."""

from __future__ import annotations

from collections.abc import Sequence

from jitgrad.ir import Node, located, toposort
from jitgrad.ops.table import OPS, is_differentiable, vjp_of, zeros_like


def depends_on(order: Sequence[Node], wrt: Sequence[Node]) -> set[Node]:
    """The differentiable nodes through which `wrt` can reach the end of a topological order."""
    reached = {w for w in wrt if is_differentiable(w.dtype)}
    for node in order:
        if is_differentiable(node.dtype) and any(a in reached for a in node.args):
            reached.add(node)
    return reached


def cotangents(outputs: Sequence[Node], seeds: Sequence[Node], wrt: Sequence[Node]) -> tuple[Node, ...]:
    """The vector-Jacobian product: one cotangent for each node of `wrt`, given one seed for each output.

    Contributions to one node are added in the reverse order in which its users were made, as on a tape; an
    input that the outputs do not depend on gets zeros.
    """
    order = sorted(toposort(outputs), key=lambda node: node.number)
    reached = depends_on(order, wrt)
    grads: dict[Node, Node] = {}

    def accumulate(node: Node, g: Node) -> None:
        grads[node] = OPS["add"](grads[node], g) if node in grads else g

    for output, seed in zip(outputs, seeds, strict=True):
        if output in reached:
            accumulate(output, seed)
    for node in reversed(order):
        if node not in reached or node not in grads or not node.args:
            continue
        with located(node.where):
            for arg, g in zip(node.args, vjp_of(node, grads[node]), strict=True):
                if g is not None and arg in reached:
                    accumulate(arg, g)
    return tuple(grads[w] if w in grads else zeros_like(w) for w in wrt)
