"""Exact mode: tensors, the interpreter and fused kernels agree to the bit on elementwise ops and reductions.

An element of an elementwise result may depend on nothing but the operands' elements: not on how many there
are, where they lie in memory, in which vector lane or loop tail they come. So the op is computed once on a
long contiguous array, and everything else has to give slices of that. Reductions may depend on the shape too.

By default each op gets one of the memory layouts in kernels, each of which is a compilation, and all of them
elsewhere; `--exhaustive` compiles them all, and takes more integer dtypes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from compare import (
    LAYOUTS,
    Array,
    as_arrays,
    as_tensors,
    assert_same_bits,
    backwards,
    compiled_for,
    on_tensors,
    strided,
)

from jitgrad import ops
from jitgrad.eager import plan
from jitgrad.ir import Aval, Graph, Op, input_node, interpret
from jitgrad.machine import threads
from jitgrad.ops.reductions import BLOCK
from jitgrad.ops.samples import Draw
from jitgrad.runtime.execute import PARALLEL_SECONDS

Operands = tuple[Array, ...]

FLOATS = ("float64", "float32")
INTEGERS = ("int64", "int32", "bool")
LENGTHS = (*range(71), BLOCK - 1, BLOCK, BLOCK + 1)
OFFSETS = range(17)
COUNT = 5_000
PARALLEL = 400_003  # elements that are shared between threads, and that tensors give to kernels
THREADS = (1, 2)


# The values -------------------------------------------------------------------------------------------------


def specials(dtype: np.dtype[Any]) -> Array:
    """Both signs of zero, infinity, NaN, subnormal, huge and whole numbers; the limits of integers."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "i":
        info = np.iinfo(dtype)
        return np.array([0, 1, -1, 2, 3, 7, -5, 64, info.min + 1, info.max], dtype)
    info = np.finfo(dtype)
    positive = [0, 0.5, 1, 2, 3, np.pi, 20, 1e4, 1 / 3, info.tiny, info.tiny / 8, info.smallest_subnormal]
    values = np.array([*positive, info.eps, info.max, info.max / 3, np.inf, np.nan], dtype)
    return np.concatenate((values, -values))


def pool(dtype: Any, rng: np.random.Generator, count: int) -> Array:
    """Random values of every magnitude."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, count).astype(bool)
    if dtype.kind == "i":
        return rng.integers(-50, 50, count).astype(dtype)
    near = rng.normal(size=count) * 10.0 ** rng.integers(-3, 3, count)
    far = np.ldexp(rng.normal(size=count), rng.integers(-40, 40, count))
    return np.where(rng.random(count) < 0.8, near, far).astype(dtype)


def draw(dtypes: tuple[Any, ...], count: int) -> Operands:
    """Operands of these dtypes; they begin with every combination of two special values."""
    rng = np.random.default_rng(0)
    made = []
    for place, dtype in enumerate(dtypes):
        values, marked = pool(dtype, rng, count), specials(np.dtype(dtype))
        turns = np.arange(len(marked) ** 2 if len(dtypes) > 1 else len(marked))
        values[: len(turns)] = marked[turns // len(marked) if place % 2 else turns % len(marked)]
        made.append(values)
    return tuple(made)


# The elementwise ops of the table ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """An op with parameters, for operands of these dtypes."""

    op: Op
    dtypes: tuple[str, ...]
    params: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{self.op.name} of {', '.join(self.dtypes)} {dict(self.params) or ''}"

    def graph(self, *shapes: tuple[int, ...]) -> Graph:
        """The call on operands of one shape, or of a shape each."""
        given = shapes if len(shapes) == len(self.dtypes) else shapes * len(self.dtypes)
        inputs = [input_node(Aval(s, np.dtype(t))) for s, t in zip(given, self.dtypes, strict=True)]
        return Graph(tuple(inputs), (self.op(*inputs, **dict(self.params)),))

    def operands(self, count: int = COUNT) -> Operands:
        """Values that the op takes: no negative exponents of integers, and floats that fit an integer."""
        values = draw(self.dtypes, count)
        if self.op.name == "power" and self.dtypes[0] not in FLOATS:
            return values[0], (np.abs(values[1].astype(float)) % 4).astype(values[1].dtype)
        if self.op.name == "cast" and np.dtype(dict(self.params)["dtype"]).kind == "i":
            return (np.nan_to_num(np.clip(values[0], -1e9, 1e9)).astype(values[0].dtype),)
        return values


def _calls(op: Op, dtype: str) -> Iterator[Call]:
    """The op as its samples call it in a dtype, once for each choice of parameters."""
    drawn = Draw(np.random.default_rng(0), np.dtype(dtype))
    seen = set()
    for sample in op.samples(drawn) if op.samples else ():
        dtypes = tuple(_dtype(a, dtype) for a in sample.args)
        call = Call(op, dtypes, tuple(sample.kwargs.items()))
        if call not in seen:
            seen.add(call)
            yield call


def _dtype(argument: Any, dtype: str) -> str:
    return str(argument.dtype) if isinstance(argument, np.ndarray) else dtype


def calls_of(op: Op, exhaustive: bool) -> list[Call]:
    """Both float dtypes, and those integers from which the op makes no float: those are a cast and the op."""
    floats = [call for dtype in FLOATS for call in _calls(op, dtype)]
    others = [call for dtype in INTEGERS for call in _calls(op, dtype)]
    if exhaustive:
        return floats + others
    whole = [call for call in others if call.graph((1,)).outputs[0].dtype.kind in "bi"]
    return floats + whole[:1]


MAPS = sorted(name for name, op in ops.OPS.items() if op.kind == "map")


def interpreted(call: Call, operands: Operands) -> Array:
    (result,) = interpret(call.graph(*(a.shape for a in operands)), *operands)
    return np.asarray(result)


@cache
def expected(call: Call) -> tuple[Operands, Array]:
    """Operands, and what the interpreter makes of them."""
    operands = call.operands()
    return operands, interpreted(call, operands)


def number_of(name: str) -> int:
    return zlib.crc32(name.encode())


def check(call: Call, operands: Operands, wanted: Array, label: str, compiled: bool = True) -> None:
    """All modes, or all but kernels, make the wanted result of these operands."""
    graph = call.graph(*(a.shape for a in operands))
    assert_same_bits(interpret(graph, *operands), [wanted], f"{call}, interpreted, {label}")
    tensors = on_tensors(graph, as_tensors(operands))
    assert_same_bits(as_arrays(tensors), [wanted], f"{call}, on tensors, {label}")
    if compiled:
        results = compiled_for(graph, operands)(operands)
        assert_same_bits(results, [wanted], f"{call}, in kernels, {label}")


@pytest.fixture
def exhaustive(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("exhaustive"))


@pytest.mark.parametrize("name", MAPS)
def test_results_do_not_depend_on_how_many_elements_there_are(name: str, exhaustive: bool) -> None:
    for call in calls_of(ops.OPS[name], exhaustive):
        operands, wanted = expected(call)
        start = 0
        for length in LENGTHS:
            part = slice(start, start + length)
            check(call, tuple(a[part].copy() for a in operands), wanted[part], f"{length} elements")
            start += length // 3 + 1


@pytest.mark.parametrize("name", MAPS)
def test_results_do_not_depend_on_where_operands_begin(name: str, exhaustive: bool) -> None:
    for call in calls_of(ops.OPS[name], exhaustive):
        operands, wanted = expected(call)
        for offset in OFFSETS:
            part = slice(offset, offset + 67)
            for place in range(len(operands)):
                chosen = tuple(a[part] if i == place else a[part].copy() for i, a in enumerate(operands))
                check(call, chosen, wanted[part], f"operand {place} from element {offset}")


def _transposed(x: Array) -> Array:
    return np.asfortranarray(x.reshape(-1, 5)) if x.size % 5 == 0 else x


ARRANGEMENTS: dict[str, Callable[[Array], Array]] = {
    "strided": strided,
    "reversed": backwards,
    "transposed": _transposed,
    "every third row": lambda x: np.repeat(x.reshape(-1, 5), 3, 0)[::3],
}


@pytest.mark.parametrize("name", MAPS)
def test_results_do_not_depend_on_memory_layout(name: str, exhaustive: bool) -> None:
    chosen = list(ARRANGEMENTS)[number_of(name) % len(ARRANGEMENTS)]
    for call in calls_of(ops.OPS[name], exhaustive):
        operands, wanted = expected(call)
        for layout, arrange in ARRANGEMENTS.items():
            moved = tuple(arrange(a[:1200]) for a in operands)
            check(call, moved, wanted[:1200].reshape(moved[0].shape), layout, exhaustive or layout == chosen)


@pytest.mark.parametrize("name", MAPS)
def test_results_do_not_depend_on_broadcasting(name: str) -> None:
    for call in calls_of(ops.OPS[name], False)[:2]:
        operands = call.operands()
        firsts = [a[3 * i : 3 * i + 3].reshape(3, 1) if i % 2 else a[40:80] for i, a in enumerate(operands)]
        wide = [np.ascontiguousarray(np.broadcast_to(a, (3, 40))) for a in firsts]
        wanted = interpreted(call, tuple(wide))
        views = tuple(np.broadcast_to(a, (3, 40)) for a in firsts)
        check(call, views, wanted, "repeated by strides of 0", False)
        if len(operands) > 1:
            check(call, tuple(firsts), wanted, "broadcast by the op")


@pytest.fixture
def _threads() -> Iterator[None]:
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("name", [name for name in MAPS if ops.OPS[name].scalar])
def test_results_do_not_depend_on_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PATIENCE", 0)  # tensors give large arrays to kernels at once
    for call in calls_of(ops.OPS[name], False)[:2]:
        operands = call.operands(PARALLEL)
        wanted, graph = [interpreted(call, operands)], call.graph((PARALLEL,))
        compiled = compiled_for(graph, operands)
        assert all(step.seconds > PARALLEL_SECONDS for step in compiled.kernels)
        for count in THREADS:
            threads.set_num_threads(count)
            label = f"{call} on {count} threads"
            assert_same_bits(compiled(operands), wanted, f"{label}, in kernels")
            assert_same_bits(as_arrays(on_tensors(graph, as_tensors(operands))), wanted, f"{label}, tensors")


# The reductions of the table --------------------------------------------------------------------------------

REDUCTIONS = sorted(name for name, op in ops.OPS.items() if op.kind == "reduce")
FORMS: dict[str, Callable[[int], tuple[tuple[int, ...], int]]] = {
    "flat": lambda n: ((n,), 0),
    "row": lambda n: ((3, n), 1),
    "column": lambda n: ((n, 3), 0),
    "middle": lambda n: ((2, n, 3), 1),
}


def dtypes_of(op: Op) -> list[str]:
    assert op.samples is not None
    return [t for t in (*FLOATS, *INTEGERS) if op.samples(Draw(np.random.default_rng(0), np.dtype(t)))]


def reduction(name: str, dtype: str, axis: int) -> Call:
    return Call(ops.OPS[name], (dtype,), (("axes", (axis,)),))


def to_reduce(name: str, dtype: str, shape: tuple[int, ...]) -> Array:
    """Random values near 1; one in four arrays has a special value somewhere, one in eight only -0.0 or 0."""
    rng = np.random.default_rng([zlib.crc32(f"{name} {dtype}".encode()), *shape])
    if dtype == "bool":
        return rng.random(shape) < (0.02 if name == "any" else 0.98)
    values = (
        rng.uniform(0.5, 1.5, shape) * rng.choice((-1, 1), shape) * (1 if dtype in FLOATS else 9)
    ).astype(dtype)
    if rng.random() < 1 / 8:
        values[...] = -0.0
    elif rng.random() < 1 / 4 and values.size:
        values.flat[rng.integers(values.size)] = rng.choice(specials(values.dtype))
    return values


def check_reduction(call: Call, x: Array, label: str, compiled: bool = True) -> None:
    """All modes give what the interpreter makes of a contiguous copy."""
    check(call, (x,), interpreted(call, (np.array(x, order="C"),)), label, compiled)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_of_every_length_agree(name: str, form: str, exhaustive: bool) -> None:
    dtypes = dtypes_of(ops.OPS[name])
    rotating = dtypes[number_of(name + form) % len(dtypes)]
    for dtype in dtypes if exhaustive else sorted({rotating, dtypes[-1] if "bool" in dtypes else "float32"}):
        for length in LENGTHS:
            shape, axis = FORMS[form](length)
            if length or name not in ("max", "min"):
                check_reduction(reduction(name, dtype, axis), to_reduce(name, dtype, shape), f"shape {shape}")


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_do_not_depend_on_where_the_operand_begins(name: str) -> None:
    for dtype in dtypes_of(ops.OPS[name]):
        values = to_reduce(name, dtype, (3000,))
        for offset in OFFSETS:
            check_reduction(reduction(name, dtype, 0), values[offset : offset + 2500], f"offset {offset}")
            rows = values[offset : offset + 2500].reshape(25, 100)
            check_reduction(reduction(name, dtype, 1), rows, f"rows, offset {offset}")


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_do_not_depend_on_memory_layout(name: str, axis: int, exhaustive: bool) -> None:
    chosen = list(ARRANGEMENTS)[number_of(name) % len(ARRANGEMENTS)]
    for dtype in dtypes_of(ops.OPS[name]):
        for shape in ((5, 1300), (70, 90)):
            x = to_reduce(name, dtype, shape)
            for layout, arrange in {**ARRANGEMENTS, "transposed": np.asfortranarray}.items():
                moved = arrange(x).reshape(-1, 5) if layout == "every third row" else arrange(x)
                check_reduction(
                    reduction(name, dtype, axis), moved, f"{layout} {shape}", exhaustive or layout == chosen
                )
        for view in (np.broadcast_to(x[:, :1], (70, 90)), np.broadcast_to(x[0], (70, 90))):
            check_reduction(reduction(name, dtype, axis), view, "repeated by strides of 0", False)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_do_not_depend_on_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PATIENCE", 0)
    for dtype in dtypes_of(ops.OPS[name]):
        for shape, axis in (((PARALLEL,), 0), ((401, 1201), 1), ((1201, 401), 0), ((3, 401, 211), 1)):
            x = to_reduce(name, dtype, shape)
            for count in THREADS:
                threads.set_num_threads(count)
                check_reduction(reduction(name, dtype, axis), x, f"{shape} on {count} threads")


# Products of matrices ---------------------------------------------------------------------------------------


def _in_wider_rows(x: Array) -> Array:
    return np.pad(x, ((0, 0), (0, 3)))[:, : x.shape[1]]


PRODUCTS = ((2, 3, 4), (8, 8, 8), (17, 33, 5), (64, 64, 64), (100, 101, 99), (130, 257, 64), (300, 200, 300))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows, inner, columns", PRODUCTS)
def test_products_do_not_depend_on_memory_layout(rows: int, inner: int, columns: int, dtype: str) -> None:
    rng, matmul = np.random.default_rng(0), ops.OPS["matmul"]
    x, y = rng.normal(size=(rows, inner)).astype(dtype), rng.normal(size=(inner, columns)).astype(dtype)
    wanted = matmul(x, y)
    for left in (*LAYOUTS, _in_wider_rows):
        for right in (*LAYOUTS, _in_wider_rows):
            assert_same_bits([matmul(left(x), right(y))], [wanted], f"{left.__name__} @ {right.__name__}")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(3, 2), (33, 7), (7, 33), (130, 257), (300, 300), (4, 20, 30)])
def test_products_do_not_depend_on_operands_being_one_array(shape: tuple[int, ...], dtype: str) -> None:
    x, matmul = np.random.default_rng(0).normal(size=shape).astype(dtype), ops.OPS["matmul"]
    assert_same_bits([matmul(x, x.mT)], [matmul(x, x.copy().mT)], "x @ x.T")
    assert_same_bits([matmul(x.mT, x)], [matmul(x.mT, x.copy())], "x.T @ x")


@pytest.mark.parametrize("dtype", FLOATS)
def test_products_with_vectors_do_not_depend_on_gaps(dtype: str) -> None:
    rng, matmul = np.random.default_rng(0), ops.OPS["matmul"]
    for rows, inner in ((1, 1), (1, 300), (3, 5), (70, 33), (300, 257)):
        x, v = rng.normal(size=(rows, inner)).astype(dtype), rng.normal(size=(inner, 1)).astype(dtype)
        wanted = matmul(x, v)
        for gaps in (strided, backwards, _in_wider_rows):
            assert_same_bits([matmul(gaps(x), gaps(v))], [wanted], f"{rows} rows, {gaps.__name__}")
            assert_same_bits([matmul(gaps(v.T), gaps(x.T.copy()))], [matmul(v.T, x.T.copy())], "transposed")
