"""Simplification: a graph to a smaller graph with the same values to the bit.

Each rule is data, (pattern, replacement). In a pattern a tuple is an op applied to patterns, a number is a
literal of that value (the sign of zero counts) and a string stands for any node. Only what is exact in IEEE
arithmetic is here: x + 0 is not x when x is -0.0, x * 0 is not 0 when x is infinite.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.ir import LITERAL, Graph, Node, literal, literal_value, rebuild, with_args
from jitgrad.ops.table import OPS

Pattern = Any

RULES: tuple[tuple[Pattern, Pattern], ...] = (
    (("multiply", "x", 1), "x"),
    (("multiply", 1, "x"), "x"),
    (("multiply", "x", -1), ("negative", "x")),
    (("multiply", -1, "x"), ("negative", "x")),
    (("multiply", ("negative", "x"), ("negative", "y")), ("multiply", "x", "y")),
    (("divide", "x", 1), "x"),
    (("divide", "x", -1), ("negative", "x")),
    (("subtract", "x", 0), "x"),
    (("add", "x", -0.0), "x"),
    (("add", -0.0, "x"), "x"),
    (("add", "x", ("negative", "y")), ("subtract", "x", "y")),
    (("subtract", "x", ("negative", "y")), ("add", "x", "y")),
    (("negative", ("negative", "x")), "x"),
    (("where", True, "x", "y"), "x"),
    (("where", False, "x", "y"), "y"),
    (("where", "c", "x", "x"), "x"),
    (("alias", "x"), "x"),
    (("stop_gradient", "x"), "x"),
)
MAX_FOLD_COST = 6  # dearer ops run their compiled routine, which folding must not load

_BY_OP: dict[str, list[tuple[Pattern, Pattern]]] = {}
for _rule in RULES:
    _BY_OP.setdefault(_rule[0][0], []).append(_rule)


def simplify(graph: Graph, *, differentiable: bool = False) -> Graph:
    """The graph with every rule applied bottom-up, literals folded and dead nodes gone.

    `differentiable` keeps what only a derivative that is still to be taken can tell from its argument.
    """
    return Graph(graph.inputs, rebuild(graph.outputs, _simplified_part if differentiable else _simplified))


def _simplified_part(node: Node, args: tuple[Node, ...]) -> Node:
    return with_args(node, args) if node.op.name == "stop_gradient" else _simplified(node, args)


def _simplified(node: Node, args: tuple[Node, ...]) -> Node:
    if node.op is LITERAL:
        return literal(literal_value(node), node.dtype)  # dtypes are settled: weakness has done its work
    if not node.args:
        return node
    if node.op.kind == "map":
        args = tuple(_scalar(a) for a in args)
    node = with_args(node, args)
    if node.op.kind == "reduce" and all(node.args[0].shape[axis] == 1 for axis in node.param("axes")):
        return _squeezed(node)
    for pattern, replacement in _BY_OP.get(node.op.name, ()):
        found: dict[str, Node] = {}
        if _matches(pattern, node, found):
            return _shaped(_again(_built(replacement, found)), node)
    if node.op.kind == "map" and all(a.op is LITERAL for a in args) and node.op.cost <= MAX_FOLD_COST:
        with np.errstate(all="ignore"):
            value = node.op.numpy(*(literal_value(a) for a in args), **dict(node.params))
        return _shaped(literal(value, node.dtype), node)
    return node


def _squeezed(node: Node) -> Node:
    """The reduction of one element is that element."""
    (x,) = node.args
    kept = tuple(axis for axis in range(x.ndim) if axis not in node.param("axes"))
    narrow: Node = OPS["rearrange"](x, shape=node.shape, source=kept)
    return narrow


def _again(node: Node) -> Node:
    """What a rule built may match another rule."""
    return _simplified(node, node.args)


def _scalar(node: Node) -> Node:
    """A repeated literal is the literal: elementwise ops take it as it is."""
    return node.args[0] if node.op.name == "rearrange" and node.args[0].op is LITERAL else node


def _shaped(node: Node, like: Node) -> Node:
    if node.shape == like.shape:
        return node
    wide: Node = OPS["rearrange"](node, shape=like.shape, source=(None,) * like.ndim)
    return wide


def _matches(pattern: Pattern, node: Node, found: dict[str, Node]) -> bool:
    if isinstance(pattern, str):
        return found.setdefault(pattern, node) is node
    if isinstance(pattern, tuple):
        return (
            node.op.name == pattern[0]
            and len(node.args) == len(pattern) - 1
            and all(_matches(p, a, found) for p, a in zip(pattern[1:], node.args, strict=True))
        )
    if node.op is not LITERAL:
        return False
    value = literal_value(node)
    return bool(value == pattern) and (
        pattern != 0 or math.copysign(1, value.item()) == math.copysign(1, pattern)
    )


def _built(pattern: Pattern, found: dict[str, Node]) -> Node:
    if isinstance(pattern, str):
        return found[pattern]
    node: Node = OPS[pattern[0]](*(_built(p, found) for p in pattern[1:]))
    return node
