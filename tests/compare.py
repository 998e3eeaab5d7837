"""What tests of whole programs share: memory layouts, and results compared bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import jitgrad
from jitgrad.eager.dispatch import apply_op
from jitgrad.eager.tensor import Tensor, wrap
from jitgrad.ir import CAPTURE, LITERAL, Graph, Node, interpret, literal_value
from jitgrad.program import Program
from jitgrad.rewrite import simplify
from jitgrad.runtime.execute import Compiled, compile_graph

Array = np.ndarray[Any, Any]
Strides = list[tuple[int, ...] | None]


def strided(x: Array) -> Array:
    """The same values, every second element of twice as wide rows."""
    return np.repeat(x, 2, -1)[..., ::2]


def backwards(x: Array) -> Array:
    """The same values with negative strides along every axis."""
    return np.flip(np.flip(x).copy())


LAYOUTS: tuple[Callable[[Array], Array], ...] = (
    np.ascontiguousarray,
    np.asfortranarray,
    strided,
    backwards,
)


def laid_out(arrays: Sequence[Array], choice: int) -> list[Array]:
    """The arrays in another memory layout, which `choice` selects; 0-d arrays as they are."""
    return [LAYOUTS[(choice + i) % len(LAYOUTS)](a) if a.ndim else a for i, a in enumerate(arrays)]


def strides_of(arrays: Sequence[Array]) -> Strides:
    return [None if a.flags.c_contiguous else a.strides for a in arrays]


def compiled_for(graph: Graph, arrays: Sequence[Array]) -> Compiled:
    """The graph simplified and compiled for the layouts of these arrays."""
    return compile_graph(simplify(graph), strides_of(arrays))


def values_of(nodes: Sequence[Node], program: Program, arrays: Sequence[Array]) -> dict[Node, Array]:
    """What kernels read: arguments and captured arrays as they lie in memory, others computed."""
    inputs = program.inputs
    computed = (np.asarray(x, order="C") for x in interpret(Graph(inputs, tuple(nodes)), *arrays))
    found = dict(zip(nodes, computed, strict=True))
    found |= dict(zip(inputs, arrays, strict=True))
    return found | {n: n.param("value").array for n in nodes if n.op is CAPTURE}


def drawn(array: Any, rng: np.random.Generator) -> Array:
    """Values for an argument of which only shape, dtype and layout count."""
    filled = np.asarray(array)
    values = rng.normal(size=filled.shape) * 3
    filled = filled.copy(order="K") if filled.flags.forc else np.repeat(filled, 3, -1)[..., ::3]
    filled[...] = np.abs(values) if filled.dtype.kind in "iu" else values
    return filled


def assert_same_bits(got: Sequence[Array], expected: Sequence[Array], label: str) -> None:
    """Equal shapes, dtypes and bits, except that every NaN equals every other."""
    for place, (x, y) in enumerate(zip(got, expected, strict=True)):
        name = f"{label}, output {place}"
        np.testing.assert_array_equal(x, y, name, strict=True)
        if y.dtype.kind == "f":
            numbers = ~np.isnan(y)
            np.testing.assert_array_equal(np.signbit(x)[numbers], np.signbit(y)[numbers], f"{name}: signs")


def check_modes(graph: Graph, arrays: Sequence[Array], label: str) -> None:
    """Fused kernels give the interpreter's bits and leave the arrays alone."""
    before = [a.copy() for a in arrays]
    got = compiled_for(graph, arrays)(arrays)
    assert_same_bits(got, interpret(graph, *arrays), label)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy, f"{label}: an input changed", strict=True)


def on_tensors(graph: Graph, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The outputs of the graph, each node applied to tensors by itself and recorded, as it was made."""
    values: dict[Node, Any] = dict(zip(graph.inputs, tensors, strict=True))
    for node in sorted(graph.nodes(), key=lambda node: node.number):
        if node.op is LITERAL:
            values[node] = literal_value(node)
        elif node.op is CAPTURE:
            values[node] = wrap(node.param("value").array)
        elif node not in values:
            operands = [values[a] for a in node.args]
            values[node] = apply_op(node.op, operands, dict(node.params), "Backward0")
    return [jitgrad.as_tensor(values[node]) for node in graph.outputs]


def as_tensors(arrays: Sequence[Array], requires_grad: bool = False) -> list[Tensor]:
    """Leaves on the arrays' own memory in its own layout, even one with negative strides."""
    return [wrap(a).requires_grad_(requires_grad) for a in arrays]


def as_arrays(tensors: Sequence[Tensor]) -> list[Array]:
    return [t.detach().numpy() for t in tensors]
