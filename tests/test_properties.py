"""Every pass on random graphs: well-formed results, the same bits, derivatives that agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from compare import Array, assert_same_bits, check_modes
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_graphs import DTYPES, EVERYTHING, SMOOTH, RandomGraph, Vocabulary, check_tensors

from jitgrad.forward import tangents
from jitgrad.ir import LITERAL, Graph, Node, check, input_node, interpret
from jitgrad.rewrite import simplify

SEEDS = st.integers(0, 2**32 - 1)
STEP = 1e-4  # of differences of fourth order
LARGEST = 30.0  # above it, differences lose their digits

quick = settings(max_examples=30, derandomize=True, deadline=None, database=None)
thorough = settings(quick, max_examples=200)


def drawn(
    seed: int, dtype: str, vocabulary: Vocabulary = EVERYTHING
) -> tuple[Graph, list[Array], RandomGraph]:
    made = RandomGraph(seed, dtype, vocabulary)
    return made.graph(), made.arrays(), made


def all_values(graph: Graph, arrays: list[Array]) -> list[Array]:
    """The values of all floating-point nodes."""
    nodes = [n for n in graph.nodes() if n.dtype.kind == "f"]
    return list(interpret(Graph(graph.inputs, tuple(nodes)), *arrays))


def computed(graph: Graph) -> int:
    """How many nodes there are but literals: folding -1.0 where 1.0 is used too makes one literal more."""
    return sum(n.op is not LITERAL for n in graph.nodes())


@thorough
@given(SEEDS, st.sampled_from(DTYPES))
def test_simplifying_keeps_every_bit(seed: int, dtype: str) -> None:
    graph, arrays, _ = drawn(seed, dtype)
    check(graph)
    small = simplify(graph)
    check(small)
    assert computed(small) <= computed(graph)
    assert_same_bits(interpret(small, *arrays), interpret(graph, *arrays), f"seed {seed}")


@thorough
@given(SEEDS)
def test_simplifying_twice_changes_nothing_more(seed: int) -> None:
    small = simplify(drawn(seed, "float64")[0])
    assert simplify(small).outputs == small.outputs


@quick
@given(SEEDS, st.sampled_from(DTYPES))
def test_fusing_keeps_every_bit(seed: int, dtype: str) -> None:
    graph, arrays, _ = drawn(seed, dtype)
    check_modes(graph, arrays, f"seed {seed}")


@thorough
@given(SEEDS, st.sampled_from(DTYPES))
def test_tensors_keep_every_bit(seed: int, dtype: str) -> None:
    graph, arrays, made = drawn(seed, dtype)
    check_tensors(made, arrays, interpret(graph, *arrays), f"seed {seed} in {dtype}")


def direction(seed: int, nodes: tuple[Node, ...]) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=n.shape)) for n in nodes]


def inner(left: Any, right: Any) -> float:
    return float(sum(np.vdot(a, b) for a, b in zip(left, right, strict=True)))


@thorough
@given(SEEDS)
def test_gradients_are_those_of_finite_differences(seed: int) -> None:
    graph, arrays, _ = drawn(seed, "float64", SMOOTH)
    assume(all(np.max(np.abs(v), initial=0.0) < LARGEST for v in all_values(graph, arrays)))
    loss = Graph(graph.inputs, graph.outputs[:1])
    moves = direction(seed, graph.inputs)

    def along(step: float) -> float:
        moved = (a + step * move for a, move in zip(arrays, moves, strict=True))
        return float(interpret(loss, *moved)[0])

    measured = 8 * (along(STEP) - along(-STEP)) - (along(2 * STEP) - along(-2 * STEP))
    gradient = interpret(graph, *arrays)[1 : 1 + len(arrays)]
    scale = inner(map(np.abs, gradient), map(np.abs, moves))
    np.testing.assert_allclose(inner(gradient, moves), measured / (12 * STEP), 1e-6, 1e-6 * scale + 1e-8)


@thorough
@given(SEEDS)
def test_forward_mode_agrees_with_reverse_mode(seed: int) -> None:
    graph, arrays, _ = drawn(seed, "float64")
    directions = [input_node(n.aval) for n in graph.inputs]
    (tangent,) = tangents(graph.outputs[:1], graph.inputs, directions)
    onward = Graph((*graph.inputs, *directions), (tangent,))
    check(onward)
    moves = direction(seed, graph.inputs)
    gradient = interpret(graph, *arrays)[1 : 1 + len(arrays)]
    pushed = interpret(onward, *arrays, *moves)[0]
    assume(np.isfinite(pushed) and all(np.isfinite(g).all() for g in gradient))
    scale = inner(map(np.abs, gradient), map(np.abs, moves))
    np.testing.assert_allclose(inner(gradient, moves), pushed, 1e-9, 1e-9 * (1 + scale))
