"""The op table as test cases: each sample call of each op as a graph of values and gradients."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad import ops
from jitgrad.adjoint import cotangents
from jitgrad.ir import Aval, Graph, Node, as_node, input_node
from jitgrad.ops.samples import Draw, Sample, Static

DTYPES = ("float64", "float32", "int64", "int32", "bool")


@dataclass(frozen=True)
class Case:
    """One sample call of one op in one dtype."""

    op: Any
    sample: Sample
    name: str

    @property
    def arrays(self) -> list[np.ndarray[Any, Any]]:
        found: list[Any] = []
        self._call(lambda x: found.append(x) or x)
        return found

    def _call(self, visit: Callable[[Any], Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with every array that is not static replaced by visit(array)."""

        def walk(value: Any) -> Any:
            if isinstance(value, Static):
                return value.value
            if isinstance(value, np.ndarray):
                return visit(value)
            return type(value)(map(walk, value)) if isinstance(value, (list, tuple)) else value

        return [walk(a) for a in self.sample.args], {k: walk(v) for k, v in self.sample.kwargs.items()}

    def run(self, function: Callable[..., Any], arrays: list[Any] | None = None) -> tuple[Any, ...]:
        """The results of function with `arrays` in place of the sample's own."""
        given = iter(self.arrays if arrays is None else arrays)
        args, kwargs = self._call(lambda _: next(given))
        out = function(*args, **kwargs)
        return tuple(out) if isinstance(out, (list, tuple)) else (out,)

    def graph(self, arrays: list[Any] | None = None) -> Graph:
        """The call as a graph, for arrays like the sample's or like those given."""
        inputs = [input_node(Aval(a.shape, a.dtype)) for a in arrays or self.arrays]
        return Graph(tuple(inputs), tuple(as_node(o) for o in self.run(self.op, inputs)))


def _dtype_cases(name: str, op: Any, dtype: str) -> Iterator[Case]:
    draw = Draw(np.random.default_rng(zlib.crc32(f"{name} {dtype}".encode())), np.dtype(dtype))
    for i, sample in enumerate(op.samples(draw)):
        yield Case(op, sample, f"{name}-{dtype}-{i}")


def table() -> dict[str, Any]:
    """Every op that has samples, by the name of its cases."""
    named = [(name, op) for name, op in ops.COMPOSITES.items()]
    named += [(f"op.{name}", op) for name, op in ops.OPS.items()]
    return {name: op for name, op in named if op.samples is not None}


def cases_of(name: str, *dtypes: str) -> Iterator[Case]:
    """Every sample of an op of `table` in these dtypes."""
    for dtype in dtypes or DTYPES:
        yield from _dtype_cases(name, table()[name], dtype)


def cases(*dtypes: str) -> Iterator[Case]:
    """Every sample of every op in these dtypes."""
    for name in table():
        yield from cases_of(name, *dtypes)


def float_outputs(graph: Graph) -> list[Node]:
    return [o for o in graph.outputs if o.dtype.kind == "f"]


def float_inputs(graph: Graph) -> list[Node]:
    return [i for i in graph.inputs if i.dtype.kind == "f"]


def is_differentiable(case: Case) -> bool:
    """Whether derivatives of the op exist: only integer and boolean results, and their inputs, have none."""
    graph = case.graph()
    return bool(float_outputs(graph) and float_inputs(graph))


def drawn_like(nodes: list[Node], name: str) -> list[np.ndarray[Any, Any]]:
    """Random arrays for nodes, the same for the same name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [np.asarray(rng.uniform(-1, 1, n.shape), n.dtype) for n in nodes]


def gradient_graph(case: Case) -> tuple[Graph, list[np.ndarray[Any, Any]]]:
    """The op's outputs and the cotangents of its float inputs, with one seed input for each float output."""
    graph = case.graph()
    outputs = float_outputs(graph)
    seeds = [input_node(o.aval) for o in outputs]
    grads = cotangents(outputs, seeds, float_inputs(graph))
    return Graph((*graph.inputs, *seeds), (*graph.outputs, *grads)), [
        *case.arrays,
        *drawn_like(outputs, case.name),
    ]


def sample_graph(case: Case) -> tuple[Graph, list[np.ndarray[Any, Any]]]:
    """The op's outputs, and its gradients if there are any."""
    return gradient_graph(case) if is_differentiable(case) else (case.graph(), case.arrays)


def op_graphs(*dtypes: str) -> Iterator[tuple[str, Graph, list[np.ndarray[Any, Any]]]]:
    """(name, graph, arrays) for every sample: values, and gradients where there are any."""
    for case in cases(*dtypes):
        yield case.name, *sample_graph(case)
