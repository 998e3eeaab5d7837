"""The traces of textbooks on automatic differentiation, as a table: values, and tangents or adjoints."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np

from jitgrad.adjoint import cotangents, depends_on
from jitgrad.forward import tangents as tangents_of
from jitgrad.ir import CAPTURE, Graph, Node, input_node, interpret
from jitgrad.location import user_line
from jitgrad.ops.table import is_differentiable
from jitgrad.pytree import Tree, flatten
from jitgrad.rewrite import simplify
from jitgrad.signature import Arguments, as_input_array
from jitgrad.trace import trace
from jitgrad.traced import Traced
from jitgrad.transforms import checked_cotangents, checked_tangents, name_of
from jitgrad.viz.expressions import BAR, DOT, expression, number, subscripted, width
from jitgrad.viz.names import Names, argument_names, assignments, captured_names

Mode = Literal["forward", "reverse"]
MAX_RULE = 60  # columns; a longer derivative rule is written as ∂v₂/∂v₁


@dataclass(frozen=True, slots=True)
class Row:
    """One variable: its name, the user's name for it, its expression and value, and those of its derivative.

    The derivative is the tangent v̇ or the adjoint v̄; both texts are empty where there is none.
    """

    name: str
    variable: str
    expression: str
    value: Any
    derivative_expression: str
    derivative: Any


@dataclass(frozen=True, slots=True)
class TraceTable:
    """The rows of a trace in the order of evaluation; adjoints are read from the bottom up."""

    title: str
    mode: Mode
    rows: tuple[Row, ...]

    @property
    def header(self) -> tuple[str, ...]:
        """The titles of the columns."""
        mark = "v" + (DOT if self.mode == "forward" else BAR)
        word, arrow = ("tangent", "↓") if self.mode == "forward" else ("adjoint", "↑")
        return "variable", "name", "expression", "value", f"{arrow} {word} {mark}", f"value of {mark}"

    def cells(self) -> list[tuple[str, ...]]:
        """Return the texts of the rows."""
        return [
            (
                row.name,
                row.variable,
                row.expression,
                number(row.value),
                row.derivative_expression,
                "" if row.derivative is None else number(row.derivative),
            )
            for row in self.rows
        ]

    def __str__(self) -> str:
        lines = [self.header, *self.cells()]
        widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
        texts = [
            "  ".join(cell + " " * (w - width(cell)) for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        rule = "  ".join("─" * w for w in widths)
        return "\n".join([self.title, "", texts[0], rule, *texts[1:]])

    def markdown(self) -> str:
        """Return the table in Markdown."""
        lines = [self.header, ("---",) * len(self.header), *self.cells()]
        table = [f"| {' | '.join(_marked_down(cell) for cell in line)} |" for line in lines]
        return "\n".join([f"**{self.title}**", "", *table])

    def html(self) -> str:
        """Return the table in HTML."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        body = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in self.cells()]
        caption = f"<caption>{escape(self.title)}</caption>"
        return "\n".join(["<table>", caption, f"<thead><tr>{head}</tr></thead>", *body, "</table>"])

    _repr_html_ = html


def _marked_down(cell: str) -> str:
    return "".join("\\" + c if c in "|*_\\<" else c for c in cell)


# Notation ---------------------------------------------------------------------------------------------


class _Notation:
    """How the nodes of a trace are written: variables by number, inputs up to 0, captured arrays as c1."""

    def __init__(self, graph: Graph) -> None:
        order = graph.nodes()
        made = sorted((n for n in order if n.op.kind != "leaf"), key=lambda node: node.number)
        self.constants = [n for n in order if n.op is CAPTURE]
        self.variables = [*graph.inputs, *made]
        first = 1 - len(graph.inputs)
        self.numbers = {node: first + i for i, node in enumerate(self.variables)}

    def name(self, node: Node) -> str | None:
        """The name of a variable or constant, None for what is written out."""
        if node in self.numbers:
            return subscripted(self.numbers[node])
        return f"c{self.constants.index(node) + 1}" if node.op is CAPTURE else None

    def marked(self, node: Node, mark: str) -> str:
        """The name of a variable's derivative."""
        return subscripted(self.numbers[node], mark)

    def expression(self, node: Node) -> str:
        """How a variable is computed; empty for what is given."""
        return "" if node.op.kind == "leaf" else expression(node, self.name)

    def rule(self, node: Node) -> _Rule:
        """The node with a stand-in for each variable, so that its derivative rules can be written down."""
        known: dict[Node, str] = {}

        def stand_in(text: str | None, like: Node) -> Node:
            if text is None:
                return like
            found = next((n for n, t in known.items() if t == text), None)
            found = input_node(like.aval) if found is None else found
            known[found] = text
            return found

        return _Rule(self, node, [stand_in(self.name(n), n) for n in (node, *node.args)], known)


@dataclass(frozen=True, slots=True)
class _Rule:
    """The derivative rules of one node, written with the names of its trace."""

    notation: _Notation
    node: Node
    stand_ins: list[Node]  # of the node itself, then of its arguments
    known: dict[Node, str]

    def derivative(self, of: Node, mark: str) -> Node:
        """A stand-in for the derivative of a variable."""
        found = input_node(of.aval)
        self.known[found] = self.notation.marked(of, mark)
        return found

    def written(self, built: Node, fallback: str) -> str:
        """What a rule has built, unless it is long."""
        (simple,) = simplify(Graph((), (built,))).outputs
        text = self.known.get(simple) or expression(simple, self.known.get)
        return text if width(text) <= MAX_RULE else fallback

    def partial(self, argument: Node) -> str:
        return f"∂{self.notation.name(self.node)}/∂{self.notation.name(argument)}"

    def tangent(self, moving: Container[Node]) -> str:
        """The node's tangent from those of its arguments."""
        out, *args = self.stand_ins
        given = [self.derivative(a, DOT) if a in moving else None for a in self.node.args]
        assert self.node.op.jvp is not None
        built = self.node.op.jvp(tuple(given), out, *args, **dict(self.node.params))
        terms = [
            f"{self.partial(a)} * {self.notation.marked(a, DOT)}"
            for a in dict.fromkeys(self.node.args)
            if a in moving
        ]
        return "0" if built is None else self.written(built, " + ".join(terms))

    def adjoints(self) -> list[str | None]:
        """What the node contributes to the adjoints of its arguments."""
        out, *args = self.stand_ins
        adjoint = self.derivative(self.node, BAR)
        assert self.node.op.vjp is not None
        built = self.node.op.vjp(adjoint, out, *args, **dict(self.node.params))
        return [
            None
            if g is None or a not in self.notation.numbers
            else self.written(g, f"{self.known[adjoint]} * {self.partial(a)}")
            for g, a in zip(built, self.node.args, strict=True)
        ]


# Traces -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A function that was run once: its graph, the arrays it took, and the user's names for nodes."""

    graph: Graph
    arrays: tuple[Any, ...]
    names: dict[Node, list[str]]
    notation: _Notation

    def values(self, nodes: Sequence[Node], extra: Sequence[tuple[Node, Any]] = ()) -> tuple[Any, ...]:
        """The values of nodes, which may depend on further inputs."""
        inputs = (*self.graph.inputs, *(node for node, _ in extra))
        return interpret(Graph(inputs, tuple(nodes)), *self.arrays, *(value for _, value in extra))

    def table(
        self, title: str, mode: Mode, texts: dict[Node, str], derivatives: dict[Node, Any]
    ) -> TraceTable:
        """Join names, expressions and values of all rows."""
        shown = [*self.notation.constants, *self.notation.variables]
        rows = [
            Row(
                self.notation.name(node) or "",
                " = ".join(self.names.get(node, ())),
                self.notation.expression(node),
                value,
                texts.get(node, ""),
                derivatives.get(node),
            )
            for node, value in zip(shown, self.values(shown), strict=True)
        ]
        return TraceTable(title, mode, tuple(rows))


def _recorded(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[_Recorded, list[Any], Tree]:
    """The run of a function, and the leaves and tree of its result."""
    arguments = Arguments(args, {})
    inputs = arguments.inputs(function)
    names: Names = {}

    def run(values: list[Traced]) -> Any:
        given, _ = arguments.rebuilt(values)
        with assignments(function, names):
            return function(*given)

    nodes, leaves, tree = trace(run, [i.aval for i in inputs], [i.scalar for i in inputs])
    names.update({node: [name] for node, name in zip(nodes, argument_names(function, args), strict=True)})
    outputs = [leaf for leaf in leaves if isinstance(leaf, Node)]
    taken = {name for several in names.values() for name in several}
    for i, node in enumerate(outputs):
        name = f"y{i + 1}" if len(outputs) > 1 else "y"
        if name not in taken:
            names.setdefault(node, []).append(name)
    graph = Graph(nodes, tuple(outputs))
    notation = _Notation(graph)
    names.update({node: captured_names(function, node.param("value").array) for node in notation.constants})
    arrays = tuple(as_input_array(leaf) for leaf in arguments.leaves)
    return _Recorded(graph, arrays, names, notation), leaves, tree


def _forward(function: Callable[..., Any], args: tuple[Any, ...], tangents: Any) -> TraceTable:
    recorded, _, _ = _recorded(function, args)
    moved = [n for n in recorded.graph.inputs if is_differentiable(n.dtype)]
    if tangents is None:
        seeds = [np.full(n.shape, 1 if n is moved[0] else 0, n.dtype) for n in moved]
    else:
        seeds = checked_tangents(*flatten(args), tuple(tangents))
    variables = recorded.notation.variables
    wanted = [n for n in variables if is_differentiable(n.dtype)]
    directions = [input_node(n.aval) for n in moved]
    dots = recorded.values(tangents_of(wanted, moved, directions), list(zip(directions, seeds, strict=True)))
    moving = depends_on(variables, moved)
    texts = {n: recorded.notation.rule(n).tangent(moving) if n in moving else "0" for n in wanted if n.args}
    texts.update({n: number(seed) for n, seed in zip(moved, seeds, strict=True)})
    title = f"Forward trace of {name_of(function)}"
    return recorded.table(title, "forward", texts, dict(zip(wanted, dots, strict=True)))


def _reverse(function: Callable[..., Any], args: tuple[Any, ...], cotangent: Any) -> TraceTable:
    recorded, leaves, tree = _recorded(function, args)
    outputs = [n for n in recorded.graph.outputs if is_differentiable(n.dtype)]
    if not outputs:
        raise TypeError(
            f"{name_of(function)} at {user_line()} returns no floating-point number to start from"
        )
    if cotangent is None:
        seeds = [np.ones(n.shape, n.dtype) for n in outputs]
    else:
        like = [np.zeros(n.shape, n.dtype) if isinstance(n, Node) else n for n in leaves]
        seeds = [np.asarray(seed) for seed in checked_cotangents(like, tree, cotangent)]
    wanted = [n for n in recorded.notation.variables if is_differentiable(n.dtype)]
    starts = [input_node(n.aval) for n in outputs]
    bars = recorded.values(cotangents(outputs, starts, wanted), list(zip(starts, seeds, strict=True)))
    terms: dict[Node, list[str]] = {n: [] for n in wanted}
    for node, seed in zip(outputs, seeds, strict=True):
        terms[node].append(number(seed))
    for node in reversed(wanted):
        if terms[node] and node.args:
            for argument, text in zip(node.args, recorded.notation.rule(node).adjoints(), strict=True):
                if text is not None and argument in terms:
                    terms[argument].append(text)
    texts = {node: _sum(parts) for node, parts in terms.items()}
    title = f"Reverse trace of {name_of(function)}"
    return recorded.table(title, "reverse", texts, dict(zip(wanted, bars, strict=True)))


def _sum(terms: Sequence[str]) -> str:
    return " + ".join(terms).replace("+ -", "- ") or "0"


def trace_table(
    function: Callable[..., Any],
    *args: Any,
    mode: Mode = "forward",
    tangents: Sequence[Any] | None = None,
    cotangent: Any = None,
) -> TraceTable:
    """Return the evaluation trace of a function, beside it the trace of its forward or reverse mode.

    Forward mode starts from `tangents`, one for each argument (1 for the first and 0 for the others, unless
    given), reverse mode from the `cotangent` of the result (1 unless given). The table is read as text, by
    `markdown()` or as HTML by `html()`. Raises NotDifferentiable for an op that has no derivative.

    >>> import numpy as np
    >>> print(trace_table(lambda x1, x2: np.log(x1) + x1 * x2 - np.sin(x2), 2.0, 5.0))
    Forward trace of <lambda>
    <BLANKLINE>
    variable  name  expression  value      ↓ tangent v̇          value of v̇
    ────────  ────  ──────────  ─────────  ───────────────────  ──────────
    v₋₁       x1                2          1                    1
    v₀        x2                5          0                    0
    v₁              log(v₋₁)    0.693147   v̇₋₁ / v₋₁            0.5
    v₂              v₋₁ * v₀    10         v̇₋₁ * v₀ + v̇₀ * v₋₁  5
    v₃              v₁ + v₂     10.6931    v̇₁ + v̇₂              5.5
    v₄              sin(v₀)     -0.958924  v̇₀ * cos(v₀)         0
    v₅        y     v₃ - v₄     11.6521    v̇₃ - v̇₄              5.5
    """
    if mode not in ("forward", "reverse"):
        raise ValueError(f'trace_table at {user_line()}: mode is "forward" or "reverse", got {mode!r}')
    return _forward(function, args, tangents) if mode == "forward" else _reverse(function, args, cotangent)
