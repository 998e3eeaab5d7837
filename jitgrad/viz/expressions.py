"""Nodes of a graph as text, in the notation of a formula: v₁ * v₂ + sin(v₃)."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.ir import LITERAL, Node, literal_value

Name = Callable[[Node], str | None]

DOT, BAR = "\u0307", "\u0304"  # over the letter before them
_SUBSCRIPTS = str.maketrans("-0123456789", "₋₀₁₂₃₄₅₆₇₈₉")
_INFIX = {
    "add": ("+", 1),
    "subtract": ("-", 1),
    "multiply": ("*", 2),
    "divide": ("/", 2),
    "matmul": ("@", 2),
    "power": ("**", 4),
    "equal": ("==", 0),
    "not_equal": ("!=", 0),
    "less": ("<", 0),
    "less_equal": ("<=", 0),
    "greater": (">", 0),
    "greater_equal": (">=", 0),
}
_NOT_ASSOCIATIVE = {"subtract", "divide", "power"}
_SIGN, _ATOM = 3, 5  # how tightly a sign and a call hold together


def subscripted(number: int, mark: str = "") -> str:
    """Return the name of a variable: v₋₁, or v̇₋₁ with a mark.

    >>> print(subscripted(12))
    v₁₂
    """
    return f"v{mark}{str(number).translate(_SUBSCRIPTS)}"


def expression(node: Node, name: Name) -> str:
    """Return what a node computes; arguments that `name` has a name for stand for themselves.

    >>> from jitgrad.ir import Aval, input_node
    >>> x, y = (input_node(Aval((), np.dtype(float))) for _ in "xy")
    >>> expression(x * (x - y), {x: "x", y: "y"}.get)
    'x * (x - y)'
    """
    return _written(node, name)[0]


def _operands(node: Node) -> tuple[str, tuple[Node, ...]]:
    """The operation and its arguments; a product with 1 / y, as derivative rules have it, is a quotient."""
    if node.op.name == "multiply" and node.args[1].op.name == "divide":
        one, y = node.args[1].args
        if one.op is LITERAL and literal_value(one) == 1:
            return "divide", (node.args[0], y)
    return node.op.name, node.args


def _part(node: Node, name: Name) -> tuple[str, int]:
    known = name(node)
    return (known, _ATOM) if known is not None else _written(node, name)


def _written(node: Node, name: Name) -> tuple[str, int]:
    """The text of a node, and how tightly it holds together."""
    if node.op is LITERAL:
        text = number(literal_value(node))
        return text, _SIGN if text.startswith("-") else _ATOM
    title, args = _operands(node)
    parts = [_part(a, name) for a in args]
    if title == "negative":
        return f"-{_enclosed(*parts[0], _SIGN)}", _SIGN
    if title in _INFIX:
        sign, strength = _INFIX[title]
        left = _enclosed(*parts[0], strength + (title == "power"))
        right = _enclosed(*parts[1], strength + (title in _NOT_ASSOCIATIVE))
        return f"{left} {sign} {right}", strength
    title, params = _call(node)
    return f"{title}({', '.join([*(text for text, _ in parts), *params])})", _ATOM


def _enclosed(text: str, strength: int, needed: int) -> str:
    return text if strength >= needed else f"({text})"


def _call(node: Node) -> tuple[str, list[str]]:
    """The name of a function, and its arguments beside arrays."""
    if node.op.name == "rearrange":
        source = node.param("source")
        if None not in source and len(source) == node.args[0].ndim:
            return "transpose", [str(source)]
        return "reshape" if node.aval.size == node.args[0].aval.size else "broadcast_to", [str(node.shape)]
    whole = node.op.kind == "reduce" and not node.shape
    return node.op.name, [f"{k}={v}" for k, v in node.params if not (whole and k == "axes") and k != "serial"]


def number(value: Any) -> str:
    """Return a number with six digits, an array in one line, shortened where it is long.

    >>> number(np.float64(0.1) + 0.2)
    '0.3'
    >>> number(np.array([1.0, 2.5]))
    '[1.  2.5]'
    """
    array = np.asarray(value)
    if not array.shape:
        return f"{array.item():.6g}" if array.dtype.kind == "f" else str(array.item())
    text = np.array2string(array, precision=4, threshold=8, edgeitems=2, max_line_width=10**6)
    return " ".join(text.split("\n")).replace("]  [", "] [")


def width(text: str) -> int:
    """Return how many columns a text takes: marks over letters take none.

    >>> width("v" + DOT)
    1
    """
    return sum(not unicodedata.combining(c) for c in text)
