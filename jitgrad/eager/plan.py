"""Turns a function written with ops into plans: what it computes on arrays, and what its adjoint reads.

A function is traced once for each signature (shapes, dtypes, parameters). Its adjoint comes from the same
reverse driver as that of compiled functions; of the function's arguments and results, the tape has to keep
only those that the adjoint's graph leads to. Large arrays run in compiled kernels, which give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from jitgrad.adjoint import cotangents
from jitgrad.eager.dtypes import Array
from jitgrad.ir import (
    CAPTURE,
    LITERAL,
    Aval,
    Graph,
    Node,
    as_node,
    input_node,
    literal_value,
    toposort,
    with_args,
)
from jitgrad.ops.table import is_differentiable
from jitgrad.rewrite import simplify

LARGE = 1 << 16
"""Elements from which a compiled kernel beats NumPy."""

PATIENCE = 8
"""How often a graph runs on large arrays before it is compiled: programs that run once should not wait."""

Mask = tuple[bool, ...]


class Evaluator:
    """A graph as a list of NumPy calls, or as kernels where its arrays are large.

    Kernels may write results into the inputs at the places `donated`.
    """

    __slots__ = (
        "_compiled",
        "_donated",
        "_graph",
        "_rest",
        "_results",
        "_runs",
        "_steps",
        "constants",
        "worth_compiling",
    )

    def __init__(self, graph: Graph, donated: Collection[int] = ()) -> None:
        self._graph = graph
        self._donated = donated
        nodes = [n for n in toposort((*graph.inputs, *graph.outputs)) if n not in set(graph.inputs)]
        places = {n: i for i, n in enumerate((*graph.inputs, *nodes))}
        self._rest: list[Any] = [literal_value(n) if n.op is LITERAL else None for n in nodes]
        self.constants: list[Array] = []
        for i, node in enumerate(nodes):
            if node.op is CAPTURE:
                self._rest[i] = node.param("value").array
                self.constants.append(self._rest[i])
        self._steps = [
            (node.op.numpy, tuple(places[a] for a in node.args), dict(node.params), places[node])
            for node in nodes
            if node.op.kind != "leaf"
        ]
        self._results = [(places[node], node.dtype, node.shape) for node in graph.outputs]
        computes = any(n.op.kind in ("map", "reduce") for n in nodes)
        self.worth_compiling = computes and max(n.aval.size for n in (*graph.inputs, *nodes)) >= LARGE
        self._compiled: dict[Any, Any] = {}
        self._runs = 0

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """The outputs; they may share memory with the inputs, or repeat elements, where NumPy's views do."""
        if self.worth_compiling:
            self._runs += 1
            if self._runs > PATIENCE:
                return self._in_kernels(arrays)
        values: list[Any] = [*arrays, *self._rest]
        for run, sources, params, target in self._steps:
            values[target] = run(*[values[s] for s in sources], **params)
        return [_as_result(values[place], dtype, shape) for place, dtype, shape in self._results]

    def _in_kernels(self, arrays: Sequence[Array]) -> list[Array]:
        from jitgrad.runtime.execute import compile_graph

        given = [np.asarray(a, n.dtype) for a, n in zip(arrays, self._graph.inputs, strict=True)]
        strides = tuple([None if a.flags.c_contiguous else a.strides for a in given])
        compiled = self._compiled.get(strides)
        if compiled is None:
            compiled = self._compiled[strides] = compile_graph(self._graph, strides, self._donated)
        results: list[Array] = compiled(given)
        return results


def _as_result(value: Any, dtype: Any, shape: tuple[int, ...]) -> Array:
    array = np.asarray(value, dtype)
    return array if array.shape == shape else np.broadcast_to(array, shape)


class Adjoint:
    """The cotangents of some inputs of a graph, as a graph of the seeds and of the values that it reads.

    `reads` numbers those values among the inputs followed by the outputs.
    """

    __slots__ = ("_plan", "evaluate", "graph", "reads")

    def __init__(self, graph: Graph, needed: Mask) -> None:
        wrt = [n for n, need in zip(graph.inputs, needed, strict=True) if need]
        seeds = [input_node(o.aval) for o in graph.outputs]
        seeded = [(o, s) for o, s in zip(graph.outputs, seeds, strict=True) if is_differentiable(o.dtype)]
        grads = cotangents([o for o, _ in seeded], [s for _, s in seeded], wrt)
        known = {o: input_node(o.aval) for o in graph.outputs if o.op.kind != "leaf"}
        grads = simplify(Graph((), _cut(grads, known)), differentiable=True).outputs
        used = set(toposort(grads))
        values = [*graph.inputs, *(known.get(o, o) for o in graph.outputs)]
        reads = {v: i for i, v in reversed(list(enumerate(values))) if v in used and v.op is not LITERAL}
        self.reads = tuple(sorted(reads.values()))
        self.graph = Graph((*seeds, *(values[i] for i in self.reads)), grads)
        self.evaluate = Evaluator(simplify(self.graph))
        self._plan: Plan | None = None

    def plan(self) -> Plan:
        """The adjoint as a function to be differentiated again."""
        if self._plan is None:
            self._plan = Plan(self.graph)
        return self._plan


def _cut(outputs: Sequence[Node], known: dict[Node, Node]) -> tuple[Node, ...]:
    """The outputs with some nodes replaced by inputs."""
    new: dict[Node, Node] = {}
    for node in toposort(outputs, stop=known.__contains__):
        new[node] = known[node] if node in known else with_args(node, tuple(new[a] for a in node.args))
    return tuple(new[o] for o in outputs)


class Plan:
    """A traced function: its graph, how to run it, and its adjoints by which inputs need one."""

    __slots__ = ("_adjoints", "_borrowed", "_evaluate", "graph")

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        simple = simplify(graph)
        self._evaluate = Evaluator(simple)
        self._borrowed = [i for i, o in enumerate(simple.outputs) if o.op.kind in ("leaf", "view")]
        self._adjoints: dict[Mask, Adjoint] = {}

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The outputs, each in memory of its own."""
        results = self._evaluate(arrays)
        if self._borrowed:
            taken = {id(_owner(a)) for a in (*arrays, *self._evaluate.constants)}
            for i in sorted(range(len(results)), key=self._borrowed.__contains__):
                if i in self._borrowed and (
                    id(_owner(results[i])) in taken or not results[i].flags.writeable
                ):
                    results[i] = np.array(results[i])
                taken.add(id(_owner(results[i])))
        return results

    def adjoint(self, needed: Mask) -> Adjoint:
        found = self._adjoints.get(needed)
        if found is None:
            found = self._adjoints[needed] = Adjoint(self.graph, needed)
        return found


def _owner(array: Array) -> Array:
    """The array that an array's memory belongs to."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def trace(function: Callable[..., Any], avals: Sequence[Aval], params: dict[str, Any]) -> Graph:
    """The graph of a function of nodes, which returns one value or a tuple of them."""
    inputs = tuple(input_node(a) for a in avals)
    result = function(*inputs, **params)
    outputs = result if isinstance(result, (tuple, list)) else (result,)
    return Graph(inputs, tuple(as_node(o) for o in outputs))


Signature = tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]


@lru_cache(maxsize=2048)
def plan(function: Callable[..., Any], params: Hashable, signature: Signature) -> Plan:
    """The plan of a function for arguments of these shapes and dtypes; `params` are its keyword arguments."""
    avals = [Aval(shape, dtype) for shape, dtype in signature]
    return Plan(trace(function, avals, dict(params)))  # type: ignore[call-overload]


def reads(op: Any, params: dict[str, Any], avals: Sequence[Aval], needed: Mask) -> tuple[int, ...]:
    """Which of an op's arguments (and, numbered after them, its result) its derivative rule reads.

    The rules of the op table read the same values whatever the shapes.
    """
    return Adjoint(trace(op, avals, params), needed).reads
