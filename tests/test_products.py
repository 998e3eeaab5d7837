"""Matrix products add in one stated order: no layout, thread count, vector width or mode changes a bit."""

from __future__ import annotations

import ctypes
import math
import os
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from compare import Array, assert_same_bits, backwards, compiled_for, strided

from jitgrad import ops
from jitgrad.eager.tensor import wrap
from jitgrad.ir import Aval, Graph, input_node, interpret
from jitgrad.machine import native, product_code, products, threads
from jitgrad.machine.product_arguments import BLOCK, LANES, Registers, names
from jitgrad.ops.linear import matmul, swap_last

FLOATS = ("float32", "float64")

# Rows, inner size, columns: single tiles and many, whole vectors and tails, blocks, rows and columns alone.
SHAPES = (
    *((1, 1, 1), (2, 3, 4), (4, 5, 32), (8, 16, 16), (12, 7, 33), (13, BLOCK, 17), (30, BLOCK + 1, 65)),
    *((64, 64, 64), (100, 2 * BLOCK + 5, 10), (300, 200, 300), (700, 40, 600), (5, 3000, 3)),
    *((50, 4, 4), (300, 3, 16), (400, 10, 10), (20, 600, 3), (20, 600, 2), (60, 5, 1), (33, 8, 1)),
    *((1, 33, 300), (1, 9000, 5), (200, 31, 1), (130, 9000, 1), (1, 20_000, 1), (1, 3, 1), (7, 1, 1)),
)


def drawn(dtype: str, *shape: int) -> Array:
    return np.random.default_rng(list(shape)).normal(size=shape).astype(dtype)


def by_columns(x: Array) -> Array:
    """The same values, each matrix column by column."""
    return np.ascontiguousarray(x.mT).mT


def in_wider_rows(x: Array) -> Array:
    """The same values inside a larger array of NaN."""
    wide = np.full((*x.shape[:-1], x.shape[-1] + 5), np.nan, x.dtype)
    wide[..., 2:-3] = x
    return wide[..., 2:-3]


LAYOUTS: tuple[Callable[[Array], Array], ...] = (
    np.ascontiguousarray,
    by_columns,
    strided,
    backwards,
    in_wider_rows,
)


@pytest.fixture(params=[1, 2])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield
    threads.set_num_threads(before)


# The stated order -------------------------------------------------------------------------------------------


def chain(terms: Iterator[tuple[float, float]]) -> float:
    """The sum of products of float64, each multiplied and added with one rounding."""
    total = 0.0
    for a, b in terms:
        exact = Fraction(a) * Fraction(b) + Fraction(total)
        total = float(exact)
    return total


def in_blocks(x: Array, y: Array, size: int, of_block: Callable[[Array, Array], float]) -> float:
    total, *others = [of_block(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
    for other in others:
        total += other
    return total


def by_lanes(x: Array, y: Array) -> float:
    sums = np.array([chain(zip(x[l::LANES], y[l::LANES], strict=True)) for l in range(LANES)])
    while len(sums) > 1:
        half = len(sums) // 2
        sums = sums[:half] + sums[half:]
    return float(sums[0])


@pytest.mark.parametrize("inner", [1, 5, BLOCK, 2 * BLOCK + 9])
def test_matrices_are_multiplied_in_chains_of_one_block_each(inner: int) -> None:
    x, y = drawn("float64", 3, inner), drawn("float64", inner, 2)

    def of_block(a: Array, b: Array) -> float:
        return chain(zip(a, b, strict=True))

    expected = [[in_blocks(row, column, BLOCK, of_block) for column in y.T] for row in x]
    assert_same_bits([products.multiply(x, y)], [np.array(expected)], f"{inner} terms")


@pytest.mark.parametrize("inner", [1, 31, 100, BLOCK * LANES + 70])
def test_vectors_are_multiplied_in_a_chain_for_each_lane(inner: int) -> None:
    x, y = drawn("float64", 2, inner), drawn("float64", inner, 1)
    expected = [[in_blocks(row, y[:, 0], BLOCK * LANES, by_lanes)] for row in x]
    assert_same_bits([products.multiply(x, y)], [np.array(expected)], f"{inner} terms")
    assert_same_bits([products.multiply(y.T, x.T)], [np.array(expected).T], f"{inner} terms, a row first")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows, inner, columns", SHAPES)
def test_products_are_close_to_exact_ones(rows: int, inner: int, columns: int, dtype: str) -> None:
    x, y = drawn(dtype, rows, inner), drawn(dtype, inner, columns)
    exact = np.matmul(x.astype(np.longdouble), y.astype(np.longdouble))
    scale = np.matmul(np.abs(x).astype(np.longdouble), np.abs(y).astype(np.longdouble))
    error = np.max(np.abs(products.multiply(x, y) - exact) / scale)
    assert error <= 4 * math.sqrt(min(inner, BLOCK)) * np.finfo(dtype).eps


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows, inner, columns", SHAPES)
def test_layouts_and_threads_change_no_bit(rows: int, inner: int, columns: int, dtype: str) -> None:
    x, y = drawn(dtype, rows, inner), drawn(dtype, inner, columns)
    graph_result = interpret(_graph(x, y), x, y)
    for left in LAYOUTS:
        for right in LAYOUTS:
            result = products.multiply(left(x), right(y))
            assert_same_bits([result], graph_result, f"{left.__name__} @ {right.__name__}")


def _graph(x: Array, y: Array) -> Graph:
    inputs = [input_node(Aval(a.shape, a.dtype)) for a in (x, y)]
    return Graph(tuple(inputs), (matmul(*inputs),))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows, inner, columns", [s for s in SHAPES if 1 not in s])
def test_an_element_does_not_depend_on_its_place(rows: int, inner: int, columns: int, dtype: str) -> None:
    x, y = drawn(dtype, rows, inner), drawn(dtype, inner, columns)
    whole = products.multiply(x, y)
    part = products.multiply(x[rows // 2 - 1 :], y[:, columns // 2 - 1 :])
    assert_same_bits([part], [whole[rows // 2 - 1 :, columns // 2 - 1 :]], "the last rows and columns")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("lanes, rows", [(2, 6), (4, 12), (8, 6), (16, 12)])
def test_the_width_of_vectors_changes_no_bit(lanes: int, rows: int, dtype: str) -> None:
    registers = Registers(np.dtype(dtype), lanes, rows)
    addresses = []
    for of_vector, name in enumerate(names(registers)):
        code = native.compile_written(product_code.text(registers, bool(of_vector)))
        addresses.append(native.load_object(code, [name])[name])
    for m, k, n in SHAPES:
        x, y = drawn(dtype, m, k), drawn(dtype, k, n)
        for left, right in ((x, y), (by_columns(x), by_columns(y))):
            expected = products.multiply(left, right)
            assert_same_bits([_run_by(addresses, registers, left, right)], [expected], f"{m} {k} {n}")


def _run_by(addresses: list[int], registers: Registers, x: Array, y: Array) -> Array:
    """The product by other code than this CPU's."""
    product = products.plan(x.shape, x.strides, y.shape, y.strides, x.dtype)
    block, out = product.make_block(), np.full(product.shape, np.nan, x.dtype)
    scratch = np.empty(registers.scratch_bytes(1024), np.uint8)
    operands = [a.copy() if copied else a for a, copied in zip((x, y), product.copied, strict=True)]
    arrays = [*operands[:: -1 if product.swapped else 1], out]
    block[threads.ARGS : threads.ARGS + 3] = [a.ctypes.data for a in arrays]
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    args = ctypes.addressof(block) + 8 * threads.ARGS
    function(addresses[min(product.shape[-2:]) == 1])(args, 0, block[2], scratch.ctypes.data)
    return out


# Operands of every kind -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (2, 0, 1)])
def test_batches_lie_in_memory_in_any_order(order: tuple[int, ...], dtype: str) -> None:
    x, y = drawn(dtype, 2, 3, 4, 6, 5), drawn(dtype, 2, 3, 4, 5, 7)
    moved = np.ascontiguousarray(x.transpose(*order, 3, 4)).transpose(*np.argsort(order), 3, 4)
    expected = np.stack(
        [products.multiply(a, b) for a, b in zip(x.reshape(-1, 6, 5), y.reshape(-1, 5, 7), strict=True)]
    )
    assert moved.shape == x.shape
    for left in (x, moved, moved[:, ::-1][:, ::-1]):
        assert_same_bits([products.multiply(left, y)], [expected.reshape(2, 3, 4, 6, 7)], f"order {order}")
    repeated = np.broadcast_to(y[:1, :1, :1], y.shape)
    assert_same_bits(
        [products.multiply(moved, repeated)], [products.multiply(x, repeated.copy())], "strides 0"
    )


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows, inner, columns", [(4, 4, 4), (3, 3, 1), (1, 5, 3), (17, 5, 20)])
def test_many_small_matrices_do_not_depend_on_their_place(
    rows: int, inner: int, columns: int, dtype: str
) -> None:
    x, y = drawn(dtype, 41, 53, rows, inner), drawn(dtype, 53, 41, inner, columns)
    result = products.multiply(x, y.swapaxes(0, 1))
    for i, j in ((0, 0), (0, 52), (20, 26), (40, 0), (40, 52)):
        assert_same_bits([result[i, j]], [products.multiply(x[i, j].copy(), y[j, i].copy())], f"{i} {j}")
    np.testing.assert_allclose(result, np.matmul(x, y.swapaxes(0, 1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows, inner, columns", [(0, 3, 2), (3, 0, 2), (3, 2, 0), (1, 0, 1), (3, 0, 1)])
def test_products_without_terms_are_zero(rows: int, inner: int, columns: int, dtype: str) -> None:
    for batch in ((), (2,), (0,)):
        x, y = drawn(dtype, *batch, rows, inner), drawn(dtype, *batch, inner, columns)
        assert_same_bits([products.multiply(x, y)], [np.zeros((*batch, rows, columns), dtype)], f"{batch}")


@pytest.mark.parametrize("dtype", FLOATS)
def test_infinities_and_nans_stay_in_their_rows_and_columns(dtype: str) -> None:
    for rows, inner, columns in ((13, 9, 18), (5, 40, 1), (1, 40, 5)):
        x, y = drawn(dtype, rows, inner), drawn(dtype, inner, columns)
        x[-1, -1], x[0, 2], y[3, 0] = np.inf, -np.inf, np.nan
        with np.errstate(all="ignore"):
            expected = np.sum(x[:, :, None] * y, 1)
        result = products.multiply(x, y)
        np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
        np.testing.assert_array_equal(result[np.isinf(expected)], expected[np.isinf(expected)])


def test_arrays_between_elements_are_read() -> None:
    raw = np.zeros(8 * 12 + 3, np.uint8)
    x = np.ndarray((3, 4), np.float64, raw.data, 3)
    x[...] = drawn("float64", 3, 4)
    record = np.zeros((3, 4), np.dtype([("a", np.uint8), ("b", np.float64)], align=False))
    record["b"] = x
    y = drawn("float64", 4, 5)
    expected = products.multiply(x.copy(), y)
    assert_same_bits([products.multiply(x, y)], [expected], "an odd address")
    assert_same_bits([products.multiply(record["b"], y)], [expected], "odd strides")


@pytest.mark.parametrize("first, second", [("float32", "float64"), ("int64", "float32"), ("int32", "int64")])
def test_operands_of_two_dtypes_are_promoted(first: str, second: str) -> None:
    x, y = (np.arange(12).reshape(3, 4) - 4).astype(first), np.arange(8).reshape(4, 2).astype(second)
    np.testing.assert_array_equal(ops.OPS["matmul"](x, y), np.matmul(x, y), strict=True)


def test_the_layout_of_complex_operands_changes_no_bit() -> None:
    x, y = (drawn("float64", 70, 70) + 1j * drawn("float64", 70, 70) for _ in range(2))
    expected = matmul(x, y)
    np.testing.assert_allclose(expected, np.matmul(x, y), rtol=1e-13, atol=1e-12)
    for layout in LAYOUTS[:4]:
        assert_same_bits([matmul(layout(x), layout(y)).real], [expected.real], layout.__name__)


def test_unused_lanes_raise_no_floating_point_warning() -> None:
    wide = np.full((9, 40), np.inf, np.float32)
    wide[:, :7] = 1
    with np.errstate(all="raise"):
        result = products.multiply(wide[:, :7], wide[:7, :5])
        assert np.sqrt(result).sum() > 0


# Modes, threads, processes ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("turns", range(4))
def test_programs_tensors_and_the_interpreter_agree(turns: int, dtype: str) -> None:
    for rows, inner, columns in SHAPES:
        x = drawn(dtype, *((inner, rows) if turns & 1 else (rows, inner)))
        y = drawn(dtype, *((columns, inner) if turns & 2 else (inner, columns)))
        inputs = [input_node(Aval(a.shape, a.dtype)) for a in (x, y)]
        operands = [swap_last(a) if turns >> i & 1 else a for i, a in enumerate(inputs)]
        graph = Graph(tuple(inputs), (matmul(*operands),))
        expected = interpret(graph, x, y)
        tensors = [wrap(a.T if turns >> i & 1 else a) for i, a in enumerate((x, y))]
        assert_same_bits([(tensors[0] @ tensors[1]).numpy()], expected, f"tensors {x.shape} {y.shape}")
        for given in ((x, y), (strided(x), backwards(y)), (np.asfortranarray(x), np.asfortranarray(y))):
            label = f"{x.shape} {x.strides} {y.shape} {y.strides}"
            assert_same_bits(compiled_for(graph, given)(given), expected, label)


def test_many_python_threads_multiply_at_once() -> None:
    x, y = drawn("float32", 200, 300), drawn("float32", 300, 100)
    expected, failures = products.multiply(x, y), []

    def multiply() -> None:
        for _ in range(30):
            if products.multiply(x, y).tobytes() != expected.tobytes():
                failures.append(1)

    workers = [threading.Thread(target=multiply) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_process_multiplies() -> None:
    x, y = drawn("float32", 400, 300), drawn("float32", 300, 200)
    expected = products.multiply(x, y).tobytes()
    child = os.fork()
    if child == 0:
        os._exit(0 if products.multiply(x, y).tobytes() == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert products.multiply(x, y).tobytes() == expected


def test_a_gradient_is_made_of_products_alone() -> None:
    """A product step runs without NumPy: neither the views of its operands nor its result are made by it."""
    x, y, g = (drawn("float32", *shape) for shape in ((6, 5), (5, 4), (6, 4)))
    inputs = [input_node(Aval(a.shape, a.dtype)) for a in (x, y, g)]
    graph = Graph(tuple(inputs), tuple(matmul.vjp(inputs[2], None, *inputs[:2])))  # type: ignore[misc]
    compiled = compiled_for(graph, (x, y, g))
    compiled((x, y, g))
    scope: dict[str, Any] = compiled._run.__globals__
    assert not [name for name in scope if name.startswith("call")]
