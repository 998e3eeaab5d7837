"""Forward mode: outputs and the tangents of some nodes to nodes that compute the tangents of outputs."""

from __future__ import annotations

from collections.abc import Sequence

from jitgrad.errors import NotDifferentiable
from jitgrad.ir import Node, located, toposort
from jitgrad.ops.table import is_differentiable, zeros_like


def tangents(outputs: Sequence[Node], wrt: Sequence[Node], seeds: Sequence[Node]) -> tuple[Node, ...]:
    """The Jacobian-vector product: one tangent for each output, given one seed for each node of `wrt`.

    An output that does not depend on `wrt` gets zeros.
    """
    known = dict(zip(wrt, seeds, strict=True))
    for node in toposort(outputs):
        given = tuple(known.get(a) for a in node.args)
        if node in known or not is_differentiable(node.dtype) or all(t is None for t in given):
            continue
        if node.op.jvp is None:
            where = f" at {node.where}" if node.where else ""
            raise NotDifferentiable(f"{node.op.name}{where} has no forward derivative")
        with located(node.where):
            tangent = node.op.jvp(given, node, *node.args, **dict(node.params))
        if tangent is not None:
            known[node] = tangent
    return tuple(known[o] if o in known else zeros_like(o) for o in outputs)
