"""What a report says of a compiled function: its steps, their work and times, why they are not one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
import jitgrad.numpy as jnp
from jitgrad.cli.peers import loss_of
from jitgrad.cli.workloads import WORKLOADS
from jitgrad.explain import COLUMNS, Report, duration, size
from jitgrad.fuse import MAX_NODES
from jitgrad.machine import products
from jitgrad.ops.table import OPS

RNG = np.random.default_rng(0)


def float64(*shape: int) -> Any:
    return RNG.standard_normal(shape)


def steps(function: Callable[..., Any], *arrays: Any) -> list[tuple[str, str]]:
    """The name of each step with why it stands by itself."""
    return [(step.name, step.reason) for step in jitgrad.jit(function).explain(*arrays).steps]


def line(function: Callable[..., Any], number: int) -> str:
    """The line so far below the one where a function begins, as reports name it."""
    return f"test_explain.py:{function.__code__.co_firstlineno + number}"


# Why steps are not one --------------------------------------------------------------------------------------


def test_what_needs_a_total_waits_for_its_kernel() -> None:
    def scaled(x: Any) -> Any:
        total = np.sum(x)
        return x / total

    assert steps(scaled, float64(100)) == [
        ("kernel 0", ""),
        ("kernel 1", f"needs the total of kernel 0 at {line(scaled, 1)}, complete only when it ends"),
    ]


def test_what_needs_column_sums_waits_for_their_kernel() -> None:
    def centred(x: Any) -> Any:
        return x - np.sum(x, axis=0)

    assert steps(centred, float64(100, 40)) == [
        ("kernel 0", ""),
        ("kernel 1", f"needs the column sums of kernel 0 at {line(centred, 1)}, complete only when it ends"),
    ]


def test_loops_over_other_shapes_are_named_as_the_user_knows_them() -> None:
    def lengths(x: Any) -> Any:
        return np.exp(x[1:] * x[:-1]), np.exp(x)

    reasons = [reason for _, reason in steps(lengths, float64(100))]
    shapes = {"loops over (100,) where kernel 0 loops over (99,)"}
    shapes |= {"loops over (99,) where kernel 0 loops over (100,)"}
    assert reasons[0] == "" and reasons[1] in shapes
    grids = steps(lambda x, y: (np.exp(x), np.exp(y)), float64(20, 30), float64(600))
    assert grids[1][1] == "loops over (600,) where kernel 0 loops over (20, 30)"


def test_arrays_with_nothing_in_common_are_two_kernels() -> None:
    found = steps(lambda x, y: (np.exp(x), np.exp(y)), float64(5000), float64(5000))
    assert found == [("kernel 0", ""), ("kernel 1", "shares no data with kernel 0")]


def test_a_stencil_of_a_dear_value_reads_it_at_other_positions() -> None:
    def stencil(x: Any) -> Any:
        y = np.tanh(np.exp(x))
        return y, y * np.pad(y, 1)[2:]

    found = steps(stencil, float64(100))
    reason = "reads values of kernel 0 at other positions than they are computed at"
    assert found == [("kernel 0", ""), ("kernel 1", reason)]


def test_a_product_lies_between_kernels_and_stands_for_itself() -> None:
    def layers(x: Any, w: Any) -> Any:
        hidden = np.tanh(x)
        return np.tanh(hidden @ w)

    assert steps(layers, float64(20, 30), float64(30, 40)) == [
        ("kernel 0", ""),
        ("matmul", ""),
        ("kernel 1", f"needs the matmul at {line(layers, 2)}, which runs after kernel 0"),
    ]


def test_a_full_kernel_is_named_with_its_size() -> None:
    def long(x: Any) -> Any:
        for _ in range(MAX_NODES):
            x = x * (1.0 - x)
        return x

    reasons = [reason for _, reason in steps(long, RNG.uniform(size=100))]
    assert len(reasons) > 1 and reasons[0] == ""
    for place, reason in enumerate(reasons[1:]):
        before, _, rest = reason.partition(" has ")
        assert before == f"kernel {place}" and int(rest.split()[0]) > MAX_NODES


def test_reductions_over_other_axes_are_kernels_of_their_own() -> None:
    found = steps(lambda x: (np.sum(x, axis=0), np.sum(x, axis=1)), float64(20, 30, 40))
    assert found == [("kernel 0", ""), ("kernel 1", "reduces other axes than kernel 0")]


@pytest.mark.parametrize(
    ("function", "arrays", "name", "reason"),
    [
        (lambda x: x * 2, (float64(10) + 1j,), "multiply", "complex128 is left to NumPy"),
        (
            lambda *parts: np.concatenate(parts),
            tuple(float64(10) for _ in range(6)),
            "concatenate",
            "joins 6 arrays, and a kernel joins at most 4",
        ),
        (
            lambda x: x.reshape(-1),
            (float64(30, 20).T,),
            "reshape",
            "a copy, because what it rearranges is not contiguous in memory",
        ),
        (lambda x: np.i0(x), (float64(10),), "i0", "no kernel computes i0 in float64"),
        (lambda x: np.argsort(x), (float64(10),), "argsort", ""),
    ],
    ids=["complex", "many parts", "copy", "no code", "library"],
)
def test_what_is_left_to_a_library_says_why(function: Any, arrays: Any, name: str, reason: str) -> None:
    assert (name, reason) in steps(function, *arrays)


# Work and time ----------------------------------------------------------------------------------------------


def test_operations_count_as_much_as_their_cost() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.exp(x) * y + 1.0

    (kernel,) = jitgrad.jit(f).explain(float64(1000), float64(1000)).kernels
    cost = sum(OPS[name].cost for name in ("exp", "multiply", "add"))
    assert (kernel.per_element, kernel.operations) == (cost, 1000 * cost)


def test_a_value_of_a_row_counts_once_for_each_row_and_a_reduction_for_each_element() -> None:
    (kernel,) = jitgrad.jit(lambda x: np.exp(np.sum(x, axis=1))).explain(float64(50, 200)).kernels
    assert kernel.per_element == OPS["sum"].cost
    assert kernel.operations == 50 * 200 * OPS["sum"].cost + 50 * OPS["exp"].cost


def test_a_product_has_two_operations_for_each_term() -> None:
    x, w = float64(7, 50, 20), float64(7, 20, 30)
    (product,) = jitgrad.jit(np.matmul).explain(x, w).calls
    assert not product.is_kernel
    assert product.operations == 2 * 7 * 50 * 20 * 30
    assert product.over == "(7, 50, 20) @ (7, 20, 30) to float64 (7, 50, 30)"
    assert (product.bytes_read, product.bytes_written) == (x.nbytes + w.nbytes, 8 * 7 * 50 * 30)
    assert product.expected == products.plan(x.shape, x.strides, w.shape, w.strides, x.dtype).seconds


def test_the_expected_time_grows_with_the_elements() -> None:
    f = jitgrad.grad(lambda x: np.sum(np.exp(x)))
    small, large = (f.explain(float64(n)).kernels[0].expected for n in (1000, 3000))
    assert large == pytest.approx(3 * small)


def test_measuring_times_every_step_and_reports_the_rest_as_without() -> None:
    def loss(w: Any, x: Any) -> Any:
        return np.sum(np.tanh(x @ w))

    f = jitgrad.value_and_grad(loss)
    w, x = float64(20), float64(50, 20)
    plain, measured = f.explain(w, x), f.explain(w, x, measure=True)
    assert len(measured.steps) == len(plain.steps) > 2
    assert all(step.measured is None for step in plain.steps)
    assert all(step.measured is not None and step.measured > 0 for step in measured.steps)
    for one, other in zip(plain.steps, measured.steps, strict=True):
        assert (one.name, one.lines, one.operations, one.expected, one.reason) == (
            (other.name, other.lines, other.operations, other.expected, other.reason)
        )
    assert "measured" in str(measured) and "measured" not in str(plain)


def test_measuring_leaves_donated_and_odd_arrays_alone() -> None:
    step = jitgrad.jit(lambda x, y: x + y, donate_argnums=0)
    x, y = float64(100_000), float64(100_000)
    before = x.copy()
    assert step.explain(x, y, measure=True).steps[0].measured is not None
    np.testing.assert_array_equal(x, before)
    assert step.explain(x.astype(">f8"), y, measure=True).steps[0].measured is not None


def test_measuring_takes_keywords_static_arguments_and_numbers() -> None:
    @jitgrad.jit(static_argnames="power")
    def f(x: Any, scale: float, power: int) -> Any:
        return x**power * scale

    assert f.explain(float64(10), power=3, scale=2.0, measure=True).steps[0].measured is not None


# Text -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), [("mlp", "S"), ("gaussian-mixture", "S"), ("heat", "S")])
def test_reports_fit_a_terminal_and_name_lines_once(name: str, size: str) -> None:
    workload = WORKLOADS[name]
    function = jitgrad.value_and_grad(loss_of(workload, jnp), workload.argnums)
    report: Report = function.explain(*workload.arrays(size, "float32"))
    text = str(report).splitlines()
    assert max(map(len, text)) <= COLUMNS
    assert len(text) <= 6 * len(report.steps) + 2
    assert all(line.count("workloads.py:") <= 1 for line in text if "from " in line)


def test_sizes_and_durations_have_fitting_units() -> None:
    assert [size(n) for n in (0, 999, 1536, 2_500_000, 3e12)] == [
        "0 B",
        "999 B",
        "1.54 kB",
        "2.5 MB",
        "3000 GB",
    ]
    assert [duration(s) for s in (5e-9, 2.5e-3, 0.9999996, 75.0)] == ["5 ns", "2.5 ms", "1 s", "75 s"]
