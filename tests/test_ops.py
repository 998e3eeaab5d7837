"""Every op of the table on every sample of its declaration: values, dtypes, derivatives to second order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import op_cases
import pytest
from op_cases import Case, float_inputs, float_outputs

from jitgrad import forward, ir, ops
from jitgrad.adjoint import cotangents
from jitgrad.ir import Graph, Node, input_node

# (relative, absolute) by dtype
VALUE = {"float64": (1e-12, 1e-12), "float32": (2e-5, 2e-6), "float16": (1e-2, 1e-2)}
GRADIENT = {"float64": (1e-11, 1e-11), "float32": (2e-4, 2e-5)}
DIFFERENCE = (1e-6, 1e-7)  # central differences of fourth order with this step:
STEP = 1e-5

CASES: dict[str, dict[str, list[Case]]] = defaultdict(lambda: defaultdict(list))
for _case in op_cases.cases():
    _name, _dtype, _ = _case.name.rsplit("-", 2)
    CASES[_name][_dtype].append(_case)

each_op = pytest.mark.parametrize("name", CASES)


def assert_near(got: Any, expected: Any, tolerance: tuple[float, float], label: str) -> None:
    relative, absolute = tolerance
    np.testing.assert_allclose(got, expected, relative, absolute, equal_nan=True, err_msg=label)


def is_smooth(case: Case) -> bool:
    """Whether finite differences tell the derivative at this sample."""
    return case.sample.gradients is None and op_cases.is_differentiable(case)


@pytest.mark.parametrize("name", [*ops.COMPOSITES, *(f"op.{n}" for n in ops.OPS)])
def test_every_op_has_samples(name: str) -> None:
    assert name in CASES, f"declare samples (or a domain) for {name}"


@each_op
def test_values_shapes_and_dtypes_are_those_of_the_reference(name: str) -> None:
    for case in (c for cases in CASES[name].values() for c in cases):
        graph = case.graph()
        ir.check(graph)
        outputs = ir.interpret(graph, *case.arrays)
        with np.errstate(all="ignore"):
            references = case.run(case.op.reference)
        for output, reference in zip(outputs, map(np.asarray, references), strict=True):
            assert output.shape == reference.shape, case.name
            if case.op.reference is case.op.numpy:
                assert output.dtype == reference.dtype, case.name
            assert_near(output, reference, VALUE.get(output.dtype.name, (0, 0)), case.name)


@each_op
def test_arrays_and_the_interpreter_give_the_same_bits(name: str) -> None:
    for case in (c for cases in CASES[name].values() for c in cases):
        with np.errstate(all="ignore"):
            eager = [np.asarray(o) for o in case.run(case.op)]
        for now, output in zip(eager, ir.interpret(case.graph(), *case.arrays), strict=True):
            assert now.dtype == output.dtype, case.name
            np.testing.assert_array_equal(now, output, case.name, strict=True)


def _strided(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    wide = np.repeat(x, 2, -1)
    return wide[..., ::2]


LAYOUTS = {
    "fortran": np.asfortranarray,
    "reversed": lambda x: np.flip(np.flip(x).copy()),
    "strided": _strided,
    "read-only": lambda x: np.broadcast_to(x, x.shape),
}


@each_op
def test_memory_layout_changes_no_bit_and_inputs_stay_as_they_are(name: str) -> None:
    for case in CASES[name]["float64"] or CASES[name]["bool"]:
        graph, arrays = op_cases.gradient_graph(case) if is_smooth(case) else (case.graph(), case.arrays)
        before = [a.copy() for a in arrays]
        expected = ir.interpret(graph, *arrays)
        uses_blas = any(node.op.name == "matmul" for node in graph.nodes())  # it sums by layout
        for arranged in LAYOUTS.values():
            outputs = ir.interpret(graph, *(arranged(a) if a.ndim else a for a in arrays))
            for output, same in zip(outputs, expected, strict=True):
                if uses_blas:
                    assert_near(output, same, VALUE["float64"], case.name)
                else:
                    np.testing.assert_array_equal(output, same, case.name, strict=True)
        for array, copy in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, copy, case.name)


# Derivatives ------------------------------------------------------------------------------------------

Arrays = Sequence[np.ndarray[Any, Any]]


def _inner(left: Arrays, right: Arrays) -> float:
    return float(sum(np.vdot(a, b) for a, b in zip(left, right, strict=True)))


def _differences(graph: Graph, arrays: Arrays, moves: dict[Node, Any]) -> list[np.ndarray[Any, Any]]:
    """The change of the outputs along a direction, to fourth order."""

    def at(step: float) -> tuple[Any, ...]:
        moved = [a + step * moves[n] if n in moves else a for n, a in zip(graph.inputs, arrays, strict=True)]
        return ir.interpret(graph, *(np.asarray(m, a.dtype) for m, a in zip(moved, arrays, strict=True)))

    near = zip(at(STEP), at(-STEP), at(2 * STEP), at(-2 * STEP), strict=True)
    return [(8 * (a - b) - (c - d)) / (12 * STEP) for a, b, c, d in near]


def _check_derivatives(graph: Graph, wrt: list[Node], arrays: Arrays, label: str) -> tuple[Graph, list[Any]]:
    """Compare reverse mode, forward mode and differences; return the cotangents as a graph and its arrays."""
    outputs = float_outputs(graph)
    seeds, moves = [input_node(o.aval) for o in outputs], [input_node(w.aval) for w in wrt]
    weights, direction = op_cases.drawn_like(outputs, label), op_cases.drawn_like(wrt, label + " direction")
    grads = cotangents(outputs, seeds, wrt)
    reverse = Graph((*graph.inputs, *seeds), grads)
    ir.check(reverse)
    assert [(g.shape, g.dtype) for g in grads] == [(w.shape, w.dtype) for w in wrt], label
    pulled = _inner(ir.interpret(reverse, *arrays, *weights), direction)

    onward = Graph((*graph.inputs, *moves), forward.tangents(outputs, wrt, moves))
    ir.check(onward)
    pushed = _inner(ir.interpret(onward, *arrays, *direction), weights)
    assert_near(pushed, pulled, GRADIENT["float64"], f"{label}: forward and reverse mode differ")

    plain = Graph(graph.inputs, tuple(outputs))
    measured = _inner(_differences(plain, arrays, dict(zip(wrt, direction, strict=True))), weights)
    assert_near(pulled, measured, DIFFERENCE, f"{label}: differs from finite differences")
    return reverse, [*arrays, *weights]


@each_op
def test_derivatives_of_first_and_second_order_are_those_of_finite_differences(name: str) -> None:
    for case in filter(is_smooth, CASES[name]["float64"]):
        graph = case.graph()
        reverse, arrays = _check_derivatives(graph, float_inputs(graph), case.arrays, case.name)
        _check_derivatives(reverse, float_inputs(reverse), arrays, f"{case.name} second order")


@each_op
def test_derivatives_in_float32_are_those_in_float64(name: str) -> None:
    for case in filter(is_smooth, CASES[name]["float32"]):
        graph, arrays = op_cases.gradient_graph(case)
        wide = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]
        plain = case.graph(wide[: len(case.arrays)])
        outputs = float_outputs(plain)
        seeds = [input_node(o.aval) for o in outputs]
        if [s.dtype for s in seeds] != [w.dtype for w in wide[len(case.arrays) :]]:
            continue  # the op itself sets its dtype
        exact = Graph(
            (*plain.inputs, *seeds), (*plain.outputs, *cotangents(outputs, seeds, float_inputs(plain)))
        )
        for narrow, full in zip(ir.interpret(graph, *arrays), ir.interpret(exact, *wide), strict=True):
            scale = (
                np.max(np.abs(full), initial=1.0, where=np.isfinite(full)) if full.dtype.kind == "f" else 1
            )
            assert_near(narrow / scale, full / scale, GRADIENT["float32"], case.name)


@each_op
def test_derivatives_at_undefined_points_are_the_stated_ones(name: str) -> None:
    for case in (c for d in ("float64", "float32") for c in CASES[name][d] if c.sample.gradients is not None):
        graph = case.graph()
        (output,) = float_outputs(graph)
        seed = input_node(output.aval)
        grads = cotangents([output], [seed], float_inputs(graph))
        ones = np.ones(output.shape, output.dtype)
        got = ir.interpret(Graph((*graph.inputs, seed), grads), *case.arrays, ones)
        for gradient, stated in zip(got, case.sample.gradients or (), strict=True):
            assert_near(gradient, stated, VALUE[gradient.dtype.name], case.name)


# JAX --------------------------------------------------------------------------------------------------

_ELSEWHERE = {
    "norm": jax.numpy.linalg.norm,
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "op.sigmoid": jax.nn.sigmoid,
    "op.softplus": jax.nn.softplus,
    "op.erf": jax.scipy.special.erf,
    "logsumexp": jax.scipy.special.logsumexp,
    "getitem": lambda x, index: jax.numpy.asarray(x)[index],
    "setitem": lambda x, index, values: jax.numpy.asarray(x).at[index].set(values),
}
# JAX takes other arguments, or means something else
_NOT_ALIKE = {
    "concatenate",
    "polyval",
    "average",
    "linspace",
    "reshape",
    "ptp",
    "copy",
    "empty_like",
    "round",
    "tile",
    "astype",
}
_PER_OP = 3


def _jax_function(name: str) -> Any:
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    primitive = name.startswith("op.")
    op = ops.OPS[name[3:]] if primitive else ops.COMPOSITES[name]
    if name in _NOT_ALIKE or (primitive and op.kind != "map"):
        return None
    return getattr(jax.numpy, name.removeprefix("op."), None)


JAX = {name: found for name in CASES if (found := _jax_function(name)) is not None}


@pytest.mark.parametrize("name", JAX)
def test_values_and_gradients_are_those_of_jax(name: str) -> None:
    for case in CASES[name]["float64"][:_PER_OP]:
        if case.sample.gradients is not None:
            continue
        outputs, pull = jax.vjp(lambda *arrays, case=case: case.run(JAX[name], list(arrays)), *case.arrays)
        for output, other in zip(ir.interpret(case.graph(), *case.arrays), outputs, strict=True):
            assert_near(output, other, VALUE["float64"], case.name)
        if not is_smooth(case):
            continue
        graph, arrays = op_cases.gradient_graph(case)
        seeds = iter(arrays[len(case.arrays) :])
        grads = pull(
            tuple(
                next(seeds) if o.dtype.kind == "f" else np.zeros(o.shape, jax.dtypes.float0) for o in outputs
            )
        )
        ours = ir.interpret(graph, *arrays)[len(case.graph().outputs) :]
        theirs = [g for g, a in zip(grads, case.arrays, strict=True) if a.dtype.kind == "f"]
        for gradient, other in zip(ours, theirs, strict=True):
            assert_near(gradient, other, GRADIENT["float64"], case.name)
