"""One program, two ways to run it: fused kernels give the interpreter's bits.

By default a selection of the op table's calls is compiled, so that a run takes less than a minute;
`--exhaustive` takes them all.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import op_cases
import pytest
from compare import assert_same_bits, check_modes, compiled_for, laid_out
from op_cases import Case

import jitgrad
from jitgrad import ops
from jitgrad.ir import Aval, Graph, input_node, interpret
from jitgrad.machine import threads
from jitgrad.ops.structure import reduce_axes
from jitgrad.runtime.execute import PARALLEL_SECONDS

CASES: dict[str, dict[str, list[Case]]] = defaultdict(lambda: defaultdict(list))
for _case in op_cases.cases():
    _name, _dtype, _ = _case.name.rsplit("-", 2)
    CASES[_name][_dtype].append(_case)


def _selected(name: str) -> Iterator[Case]:
    """One sample in float64, another in float32; for every third op one in an integer or boolean dtype."""
    number = zlib.crc32(name.encode())
    rotating = op_cases.DTYPES[2:][number // 3 % 3] if number % 3 == 0 else ""
    for place, dtype in enumerate(("float64", "float32", rotating)):
        found = CASES[name].get(dtype)
        if found:
            yield found[(number + 3 * place) % len(found)]


@pytest.mark.parametrize("name", CASES)
def test_fused_kernels_give_the_bits_of_the_interpreter(name: str, pytestconfig: pytest.Config) -> None:
    every = [case for found in CASES[name].values() for case in found]
    for case in every if pytestconfig.getoption("exhaustive") else _selected(name):
        differentiable = op_cases.is_differentiable(case)
        graph, arrays = op_cases.gradient_graph(case) if differentiable else (case.graph(), case.arrays)
        check_modes(graph, laid_out(arrays, zlib.crc32(case.name.encode())), case.name)


# Sizes around the blocks and lanes of the reduction order ---------------------------------------------------

SIZES = (1, 31, 32, 33, 63, 64, 65, 1023, 1024, 1025, 2049)
FORMS: dict[str, Callable[[int], tuple[tuple[int, ...], int]]] = {
    "flat": lambda n: ((n,), 0),
    "row": lambda n: ((3, n), 1),
    "column": lambda n: ((n, 3), 0),
    "middle": lambda n: ((2, n, 3), 1),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "int32"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["sum", "prod", "max"])
def test_reductions_of_every_size_have_one_order(name: str, form: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for size in SIZES if name == "max" else (0, *SIZES):
        shape, axis = FORMS[form](size)
        x = input_node(Aval(shape, np.dtype(dtype)))
        graph = Graph((x,), (reduce_axes(ops.OPS[name], x, (axis,)),))
        array = np.asarray(rng.uniform(-4, 4, shape) if name != "prod" else rng.uniform(0.5, 2, shape))
        check_modes(graph, [array.astype(dtype)], f"{name} of {form} {size}")


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_reductions_of_every_size_agree(form: str) -> None:
    def function(x: Any, axis: int) -> Any:
        return np.sum(np.exp(x - np.max(x, axis=axis, keepdims=True)).sum(axis) ** 2)

    both = jitgrad.value_and_grad(function, static_argnames="axis")
    for size in SIZES:
        shape, axis = FORMS[form](size)
        x = np.random.default_rng(size).normal(size=shape)
        got, expected = both(x, axis=axis), jitgrad.interpret(both)(x, axis=axis)
        assert_same_bits([np.asarray(a) for a in got], [np.asarray(a) for a in expected], f"{form} of {size}")


# Threads ----------------------------------------------------------------------------------------------------


@pytest.fixture
def _threads() -> Iterator[None]:
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def gaussian(x: Any, w: Any) -> Any:
    return np.sum(np.exp(-0.5 * ((x - 0.3) * 1.7) ** 2) * w)


def cross_entropy(x: Any, w: Any) -> Any:
    shifted = (x * w) - np.max(x * w, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(shifted), axis=1)) - shifted[:, 0])


def column_means(x: Any, w: Any) -> Any:
    return np.sum(np.mean(np.tanh(x * w), axis=0) ** 2)


def transposed(x: Any, w: Any) -> Any:
    return np.sum(np.max(np.tanh(x).T * w.T, axis=1))


LARGE: dict[str, tuple[Callable[[Any, Any], Any], tuple[int, ...]]] = {
    "flat": (gaussian, (300_001,)),
    "rows": (cross_entropy, (1501, 101)),
    "columns": (column_means, (3001, 101)),
    "columns across": (transposed, (2001, 101)),
}


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LARGE)
def test_the_number_of_threads_changes_no_bit(name: str, dtype: str) -> None:
    function, shape = LARGE[name]
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(dtype) for _ in range(2)]
    graph = jitgrad.interpret(jitgrad.value_and_grad(function, (0, 1))).graph(*arrays)
    compiled = compiled_for(graph, arrays)
    assert max(step.seconds for step in compiled.kernels) > PARALLEL_SECONDS
    expected = interpret(graph, *arrays)
    for count in (1, 2, 3):
        threads.set_num_threads(count)
        for _ in range(3):
            assert_same_bits(compiled(arrays), expected, f"{name} with {count} threads")
