"""Scans in kernels: running sums, products and recurrences have the interpreter's bits everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compare import Array, assert_same_bits, check_modes

from jitgrad.adjoint import cotangents
from jitgrad.fuse import fuse
from jitgrad.ir import Aval, Graph, Node, input_node, interpret, literal
from jitgrad.ops import OPS
from jitgrad.ops.arrange import flip
from jitgrad.ops.elementwise import exp, tanh
from jitgrad.ops.scans import shifted
from jitgrad.ops.sequences import cumprod, cumsum
from jitgrad.ops.statistics import max_, mean, sum_
from jitgrad.program import Call, Kernel
from jitgrad.rewrite import simplify
from jitgrad.targets.cpu import module_text
from jitgrad.targets.dialect import Span
from jitgrad.targets.emit import emit

SHAPES = ((1,), (2,), (33,), (1000,), (1024,), (1025,), (70_000,))
SHAPES += ((3, 1), (40, 7), (5, 32), (70, 33), (3, 1000), (2, 3, 50), (1, 3000), (4, 2500))
PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda x, y: cumsum(x, -1),
    "product": lambda x, y: cumprod(x, -1),
    "recurrence": lambda x, y: _recurrence(x, y),
    "between": lambda x, y: tanh(cumsum(x * y, -1)) * y,
    "backwards": lambda x, y: flip(cumsum(flip(x * y, -1), -1), -1) + x,
    "read backwards": lambda x, y: flip(cumsum(x, -1), -1) * y,
    "both ways": lambda x, y: cumsum(x, -1) * flip(cumsum(flip(y, -1), -1), -1),
    "of a scan": lambda x, y: cumsum(tanh(cumsum(x, -1)) * y, -1),
    "of a scan backwards": lambda x, y: flip(cumsum(flip(tanh(cumsum(x, -1)), -1), -1), -1),
    "after a reduction": lambda x, y: cumsum(exp(x - max_(x, -1, keepdims=True)), -1) * y,
    "before a reduction": lambda x, y: x - mean(tanh(cumsum(x, -1)), -1, keepdims=True),
    "before and after": lambda x, y: _cumulative_softmax(x) + y,
    "shifted": lambda x, y: cumsum(x, -1) + shifted(cumsum(x, -1), len(x.shape) - 1, 1) * y,
    "of the same": lambda x, y: cumsum(sum_(x, -1, keepdims=True) + y * 0, -1),
    "several": lambda x, y: cumsum(x, -1) * cumprod(y, -1) + _recurrence(y, x),
}


def _recurrence(a: Any, b: Any) -> Any:
    return OPS["recurrence"](a, b, axis=len(b.shape) - 1)


def _cumulative_softmax(x: Any) -> Any:
    weights = exp(x - max_(x, -1, keepdims=True))
    return cumsum(weights / sum_(weights, -1, keepdims=True), -1)


def _inputs(shape: tuple[int, ...], dtype: str) -> tuple[Node, Node]:
    return input_node(Aval(shape, np.dtype(dtype))), input_node(Aval(shape, np.dtype(dtype)))


def values_of(program: Callable[[Any, Any], Any], shape: tuple[int, ...], dtype: str) -> Graph:
    x, y = _inputs(shape, dtype)
    return Graph((x, y), (program(x, y),))


def gradients_of(program: Callable[[Any, Any], Any], shape: tuple[int, ...], dtype: str) -> Graph:
    """The sum of the program's result times a weight, and both gradients."""
    x, y = _inputs(shape, dtype)
    loss = sum_(program(x, y) * (x + 1))
    return Graph((x, y), (loss, *cotangents((loss,), (literal(1, loss.dtype),), (x, y))))


def arrays(shape: tuple[int, ...], dtype: str) -> list[Array]:
    rng = np.random.default_rng(shape)
    if np.dtype(dtype).kind in "iu":
        return [rng.integers(0, 100, shape).astype(dtype) for _ in range(2)]
    return [rng.uniform(-1.1, 1.1, shape).astype(dtype) for _ in range(2)]


def steps(graph: Graph) -> tuple[Kernel | Call, ...]:
    return fuse(simplify(graph)).steps


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_gradients_have_the_interpreters_bits(name: str, dtype: str) -> None:
    for shape in SHAPES:
        check_modes(gradients_of(PROGRAMS[name], shape, dtype), arrays(shape, dtype), f"{name} of {shape}")
        check_modes(values_of(PROGRAMS[name], shape, dtype), arrays(shape, dtype), f"{name} of {shape}")


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0)])
def test_scans_of_nothing_are_empty(shape: tuple[int, ...]) -> None:
    check_modes(values_of(PROGRAMS["several"], shape, "float64"), arrays(shape, "float64"), f"{shape}")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integers_wrap_as_in_numpy(dtype: str) -> None:
    for shape in ((3000,), (3, 100), (40, 9)):
        for op, running in (("cumsum", np.cumsum), ("cumprod", np.cumprod)):
            graph = values_of(lambda x, y, op=op: OPS[op](x, axis=len(x.shape) - 1), shape, dtype)
            x, y = arrays(shape, dtype)
            expected = running(x, -1, dtype)
            assert_same_bits(interpret(graph, x, y), [expected], op)
            check_modes(graph, [x, y], f"{op} of {shape}")


@pytest.mark.parametrize("name", ["sum", "product", "recurrence", "backwards"])
def test_special_values_run_on(name: str) -> None:
    for first in (-0.0, 0.0, np.inf, np.nan, -np.inf):
        for shape in ((2100,), (3, 50), (40, 5)):
            x, y = arrays(shape, "float64")
            for a in (x, y):
                a[..., 0] = first
                a[..., -1] = -first
            check_modes(values_of(PROGRAMS[name], shape, "float64"), [x, y], f"{name} from {first}")


def test_zeros_keep_their_sign() -> None:
    zeros = np.full((3, 40), -0.0)
    check_modes(values_of(PROGRAMS["sum"], (3, 40), "float64"), [zeros, zeros], "rows")
    check_modes(values_of(PROGRAMS["recurrence"], (120,), "float64"), [zeros.ravel()] * 2, "flat")


def test_running_sums_and_their_neighbours_are_one_kernel_over_rows() -> None:
    for name in ("sum", "between", "backwards", "both ways", "of a scan backwards", "before and after"):
        (step,) = steps(values_of(PROGRAMS[name], (40, 1000), "float64"))
        assert isinstance(step, Kernel), name


def test_a_gradient_of_rows_runs_both_ways_in_one_kernel() -> None:
    graph = gradients_of(lambda x, y: tanh(cumsum(x * y, -1)), (40, 1000), "float64")
    assert all(isinstance(step, Kernel) for step in steps(graph))
    both = [k for k in steps(graph) if isinstance(k, Kernel) and {"cumsum_scan", "cumsum_back"} <= _called(k)]
    assert len(both) == 1


def _called(kernel: Kernel) -> set[str]:
    text = emit(kernel).text
    return {name for name in ("cumsum_scan", "cumsum_back", "recurrence_scan") if f"{name}(" in text}


def test_a_long_array_runs_block_by_block_and_once_in_each_direction() -> None:
    found = steps(gradients_of(lambda x, y: tanh(cumsum(x * y, -1)), (5000,), "float64"))
    kernels = [step for step in found if isinstance(step, Kernel)]
    assert len(kernels) == len(found)
    assert [_called(kernel) for kernel in kernels] == [{"cumsum_scan"}, {"cumsum_back"}]
    temporaries = [p.value for k in kernels for p in emit(k).parameters if p.kind == "temp"]
    assert max(temporaries) == 1024


def test_no_row_repeats_a_scan_that_serves_all_rows() -> None:
    x, y = input_node(Aval((50,), np.dtype(float))), input_node(Aval((40, 50), np.dtype(float)))
    graph = Graph((x, y), (tanh(cumsum(x, -1) + y),))
    assert all("_scan(" not in emit(k).text or k.rows == 1 for k in steps(graph) if isinstance(k, Kernel))
    check_modes(graph, [np.linspace(-1, 1, 50), np.ones((40, 50))], "a row added to rows")


# Scans down rows ----------------------------------------------------------------------------------------

DOWN_SHAPES = ((5, 1), (1, 5), (7, 3), (40, 33), (6, 1030), (3, 40, 1), (2, 33, 1100), (4, 2, 3, 30))
DOWN: dict[str, Callable[[Any, Any, int], Any]] = {
    "sum": lambda x, y, axis: cumsum(x * y, axis) ** 2 * y,
    "several": lambda x, y, axis: cumsum(x, axis) * cumprod(y, axis) + OPS["recurrence"](y, x, axis=axis),
    "both ways": lambda x, y, axis: cumsum(x, axis) * _back(y, axis),
    "backwards of a scan": lambda x, y, axis: _back(tanh(cumsum(x, axis)), axis) * y,
    "columns turned": lambda x, y, axis: flip(cumsum(x, axis), len(x.shape) - 1) * cumsum(x, axis) + y,
    "down and along": lambda x, y, axis: cumsum(cumsum(x, axis), -1) * y,
    "before a mean": lambda x, y, axis: x - mean(tanh(cumsum(x, axis)), axis, keepdims=True) * y,
    "before a maximum": lambda x, y, axis: max_(cumsum(x * y, axis), axis, keepdims=True) * y + x,
    "before rows": lambda x, y, axis: tanh(cumsum(x, axis)) - max_(cumsum(x, axis), -1, keepdims=True) * y,
    "after rows": lambda x, y, axis: cumsum(exp(x - max_(x, -1, keepdims=True)), axis) * y,
    "shifted": lambda x, y, axis: cumsum(x, axis) + shifted(cumsum(x, axis), axis, 1) * y,
    "of parts": lambda x, y, axis: cumsum(shifted(x, axis, 1) * y + shifted(y, len(x.shape) - 1, -1), axis),
}


def _back(x: Any, axis: int) -> Any:
    return flip(cumsum(flip(x, axis), axis), axis)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", DOWN)
def test_scans_down_rows_have_the_interpreters_bits(name: str, dtype: str) -> None:
    for shape in DOWN_SHAPES:
        for axis in range(len(shape) - 1):

            def program(x: Any, y: Any, axis: int = axis) -> Any:
                return DOWN[name](x, y, axis)

            where = f"{name} down axis {axis} of {shape}"
            check_modes(gradients_of(program, shape, dtype), arrays(shape, dtype), where)
            check_modes(values_of(program, shape, dtype), arrays(shape, dtype), where)


def test_infinities_and_signs_of_zero_run_down() -> None:
    for first in (-0.0, np.inf, np.nan):
        x, y = arrays((50, 40), "float64")
        x[0, :20] = y[0, 10:30] = first
        graph = values_of(lambda x, y: DOWN["several"](x, y, 0), (50, 40), "float64")
        check_modes(graph, [x, y], f"down from {first}")
    zeros = np.full((40, 3), -0.0)
    check_modes(values_of(lambda x, y: cumsum(x, 0), (40, 3), "float64"), [zeros, zeros], "zeros")


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "uint64"])
def test_integers_wrap_down_rows(dtype: str) -> None:
    x, y = arrays((90, 40), dtype)
    for op, running in (("cumsum", np.cumsum), ("cumprod", np.cumprod)):
        graph = values_of(lambda x, y, op=op: OPS[op](x, axis=0), (90, 40), dtype)
        assert_same_bits(interpret(graph, x, y), [running(x, 0, dtype)], op)
        check_modes(graph, [x, y], op)


@pytest.mark.parametrize("shape, axis", [((30, 2000), 0), ((4, 30, 200), 1)])
def test_a_scan_down_rows_and_its_neighbours_are_one_kernel(shape: tuple[int, ...], axis: int) -> None:
    programs: list[Callable[[Any, Any], Any]] = [
        lambda x, y: tanh(cumsum(x * y, axis)) * y,
        lambda x, y: _back(x * y, axis) * y,
        lambda x, y: sum_(cumsum(cumsum(x, axis) * y, axis)),
        lambda x, y: sum_(cumsum(x, axis) * y, axis),
    ]
    for program in programs:
        (step,) = steps(values_of(program, shape, "float64"))
        assert isinstance(step, Kernel)
        assert "_step(" in emit(step).text


def test_a_gradient_of_a_scan_down_rows_is_one_kernel_each_way() -> None:
    found = steps(gradients_of(lambda x, y: cumsum(x * y, 0) ** 2, (30, 2000), "float64"))
    assert all(isinstance(step, Kernel) for step in found)
    assert len(found) == 2


def test_scans_down_rows_run_on_as_many_threads_as_columns_allow() -> None:
    (step,) = steps(values_of(lambda x, y: cumsum(x, 1), (3, 50, 1000), "float64"))
    assert isinstance(step, Kernel)
    source = emit(step)
    assert source.units == 12
    assert max(p.value for p in source.parameters if p.kind == "temp") <= 1024


def test_cumprod_is_numpys_and_its_derivatives_hold_at_zeros() -> None:
    x = np.array([2.0, 0.0, 3.0, 0.0, 5.0])
    node = input_node(Aval((5,), np.dtype(float)))
    graph = Graph((node,), cotangents((sum_(cumprod(node, 0)),), (literal(1, np.dtype(float)),), (node,)))
    expected = [sum(np.prod(np.delete(x[: i + 1], j)) for i in range(j, 5)) for j in range(5)]
    np.testing.assert_array_equal(interpret(graph, x)[0], expected)
    check_modes(graph, [x], "the gradient")
    wide = np.random.default_rng(0).uniform(0.5, 1.5, (3, 100))
    np.testing.assert_array_equal(np.asarray(cumprod(wide, 1)), np.cumprod(wide, 1))


@pytest.mark.parametrize("name", ["several", "backwards", "of a scan backwards"])
@pytest.mark.parametrize("shape", [(2100,), (5, 40), (40, 6)])
def test_emitted_modules_run_in_plain_python(name: str, shape: tuple[int, ...]) -> None:
    _check_in_python(values_of(PROGRAMS[name], shape, "float64"), arrays(shape, "float64"))


@pytest.mark.parametrize("name", ["several", "backwards of a scan", "before a mean"])
@pytest.mark.parametrize("shape", [(40, 6), (4, 35, 1100), (2, 5, 3, 6)])
def test_modules_of_scans_down_rows_run_in_plain_python(name: str, shape: tuple[int, ...]) -> None:
    axis = len(shape) // 2 - (len(shape) == 2)
    graph = values_of(lambda x, y: DOWN[name](x, y, axis), shape, "float64")
    _check_in_python(graph, arrays(shape, "float64"))


def _check_in_python(graph: Graph, given: list[Array]) -> None:
    graph = simplify(graph)
    buffers: dict[Node, Array] = dict(zip(graph.inputs, given, strict=True))
    for step in fuse(graph).steps:
        assert isinstance(step, Kernel)
        source = emit(step)
        arguments = [_argument(p.kind, p.value, p.dtype, buffers) for p in source.parameters]
        scope: dict[str, Any] = {}
        exec(module_text(source), scope)
        with np.errstate(all="ignore"):
            scope["kernel"](0, source.units, *arguments)
            if source.has_finish:
                scope["finish"](0, source.units, *arguments)
    assert_same_bits([buffers[graph.outputs[0]]], interpret(graph, *given), "in Python")


def _argument(kind: str, value: Any, dtype: np.dtype[Any], buffers: dict[Node, Array]) -> Any:
    if kind == "size":
        return value
    if kind == "literal":
        return dtype.type(value)
    if kind in ("work", "temp"):
        return Span.of(np.zeros(value, dtype))
    return Span.of(buffers.setdefault(value, np.empty(value.shape, dtype)))
