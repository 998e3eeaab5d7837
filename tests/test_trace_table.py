"""Trace tables: rows, values and derivatives as textbooks print them, with the user's own names."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from typing import Any

import jax
import numpy as np
import pytest

from jitgrad import NotDifferentiable, grad, jit, jvp, ops, viz

jax.config.update("jax_enable_x64", True)

DATA = np.arange(6.0).reshape(2, 3)
DOT, BAR = "\u0307", "\u0304"


def textbook(x1: Any, x2: Any) -> Any:
    return np.log(x1) + x1 * x2 - np.sin(x2)


def expected(text: str, mark: str) -> str:
    return text.replace("'", mark)


def test_the_forward_trace_of_the_textbook_function() -> None:
    table = viz.trace_table(textbook, 2.0, 5.0)
    rows = [
        ("v₋₁", "x1", "", 2.0, "1", 1.0),
        ("v₀", "x2", "", 5.0, "0", 0.0),
        ("v₁", "", "log(v₋₁)", np.log(2), "v'₋₁ / v₋₁", 0.5),
        ("v₂", "", "v₋₁ * v₀", 10.0, "v'₋₁ * v₀ + v'₀ * v₋₁", 5.0),
        ("v₃", "", "v₁ + v₂", np.log(2) + 10, "v'₁ + v'₂", 5.5),
        ("v₄", "", "sin(v₀)", np.sin(5), "v'₀ * cos(v₀)", 0.0),
        ("v₅", "y", "v₃ - v₄", np.log(2) + 10 - np.sin(5), "v'₃ - v'₄", 5.5),
    ]
    for row, (name, variable, text, value, rule, derivative) in zip(table.rows, rows, strict=True):
        assert (row.name, row.variable, row.expression) == (name, variable, text)
        assert row.derivative_expression == expected(rule, DOT)
        np.testing.assert_allclose([row.value, row.derivative], [value, derivative], 1e-15)


def test_the_reverse_trace_of_the_textbook_function() -> None:
    table = viz.trace_table(textbook, 2.0, 5.0, mode="reverse")
    rules = [
        "v'₂ * v₀ + v'₁ / v₋₁",
        "v'₄ * cos(v₀) + v'₂ * v₋₁",
        *("v'₃", "v'₃", "v'₅", "-v'₅", "1"),
    ]
    adjoints = [5.5, 2 - np.cos(5), 1, 1, 1, -1, 1]
    assert [row.derivative_expression for row in table.rows] == [expected(rule, BAR) for rule in rules]
    np.testing.assert_allclose([row.derivative for row in table.rows], adjoints, 1e-15)


def test_the_direction_and_the_start_can_be_chosen() -> None:
    table = viz.trace_table(textbook, 2.0, 5.0, tangents=(0.0, 1.0))
    np.testing.assert_allclose(table.rows[-1].derivative, 2 - np.cos(5))
    table = viz.trace_table(textbook, 2.0, 5.0, mode="reverse", cotangent=10.0)
    np.testing.assert_allclose([row.derivative for row in table.rows[:2]], [55, 20 - 10 * np.cos(5)])


def loss(p: Any, n: Any) -> Any:
    z = DATA @ p["w"] + p["b"]
    for _ in range(2):
        z = z * z
    best = np.max(z) / n
    return best, z


P = {"w": np.array([1.0, -1.0, 0.5]), "b": 0.5}


def test_names_are_those_of_arguments_variables_and_captured_arrays() -> None:
    rows = viz.trace_table(loss, P, 3).rows
    assert [row.variable for row in rows if row.variable] == [
        *("DATA", "p['w']", "p['b']", "n"),
        *("z", "z", "z = y2", "best = y1"),
    ]
    assert rows[0].name == "c1"
    assert any(row.expression.startswith("c1 @ ") for row in rows)
    assert viz.trace_table(jit(loss), P, 3).rows[-1].variable == "best = y1"


def test_a_result_is_called_y_unless_something_else_is() -> None:
    assert viz.trace_table(lambda x: x * x, 1.0).rows[-1].variable == "y"
    assert [row.variable for row in viz.trace_table(lambda x, y: x * y, 1.0, 2.0).rows] == ["x", "y", ""]


def test_assignments_in_place_keep_the_name() -> None:
    def shifted(x: Any) -> Any:
        total = x * 2
        total[0] = 5.0
        return total

    rows = viz.trace_table(shifted, np.ones(3)).rows
    assert [row.variable for row in rows if row.expression.startswith("update")] == ["total = y"]


def test_derivatives_are_those_of_the_transforms() -> None:
    direction = {"w": np.array([1.0, 2.0, 3.0]), "b": -1.0}
    rows = viz.trace_table(loss, P, 3, tangents=(direction, None)).rows
    _, (best, z) = jvp(loss, (P, 3), (direction, None))
    by_name = {row.variable: row for row in rows}
    np.testing.assert_array_equal(by_name["best = y1"].derivative, best)
    np.testing.assert_array_equal(by_name["z = y2"].derivative, z)
    assert by_name["n"].derivative is None
    start = (1.0, np.zeros(2))
    rows = viz.trace_table(loss, P, 3, mode="reverse", cotangent=start).rows
    gradient = grad(lambda p: loss(p, 3)[0])(P)
    by_name = {row.variable: row for row in rows}
    np.testing.assert_array_equal(by_name["p['w']"].derivative, gradient["w"])
    np.testing.assert_array_equal(by_name["p['b']"].derivative, gradient["b"])


def test_a_long_rule_is_written_as_a_partial_derivative() -> None:
    rows = {row.expression: row for row in viz.trace_table(loss, P, 3).rows}
    assert rows["max(v₇)"].derivative_expression == expected("∂v₈/∂v₇ * v'₇", DOT)
    x = np.array([3.0, 1.0])
    (first, _) = viz.trace_table(np.max, x, mode="reverse").rows
    assert first.derivative_expression == expected("v'₁ * ∂v₁/∂v₀", BAR)
    np.testing.assert_array_equal(first.derivative, [1.0, 0.0])


def test_what_does_not_matter_has_zero_derivatives() -> None:
    rows = viz.trace_table(lambda x, unused: x * 2, 1.0, 3.0, mode="reverse").rows
    assert (rows[1].derivative_expression, rows[1].derivative) == ("0", 0.0)
    forward = viz.trace_table(lambda x, n: x + np.sqrt(n), 1.0, 4)
    assert [r.derivative_expression for r in forward.rows if r.expression.startswith("sqrt")] == ["0"]


def test_text_columns_are_aligned_in_spite_of_marks_over_letters() -> None:
    lines = str(viz.trace_table(textbook, 2.0, 5.0)).splitlines()
    assert lines[0] == "Forward trace of textbook"
    plain = [line.replace(DOT, "") for line in lines[2:]]
    last = plain[0].rindex("value of v")
    assert all(line[last - 2 : last] == "  " and line[last] != " " for line in plain)


def test_markdown_has_the_same_cells() -> None:
    table = viz.trace_table(textbook, 2.0, 5.0, mode="reverse")
    lines = table.markdown().splitlines()
    assert lines[0] == "**Reverse trace of textbook**"
    assert len(lines) == 4 + len(table.rows)
    assert lines[4].replace(BAR, "'") == r"| v₋₁ | x1 |  | 2 | v'₂ \* v₀ + v'₁ / v₋₁ | 5.5 |"


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_html_has_the_same_cells(mode: Any) -> None:
    table = viz.trace_table(lambda x: np.where(x < 1, x, 2 * x), 3.0, mode=mode)
    parser = Cells()
    parser.feed(table._repr_html_())
    assert [tuple(row) for row in parser.rows] == [table.header, *table.cells()]


def test_a_debugger_stays_where_it_was() -> None:
    def watch(frame: Any, event: str, argument: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        viz.trace_table(textbook, 2.0, 5.0)
        after = sys.gettrace()
    finally:
        sys.settrace(before)
    assert after is watch


OPS = {n: op for n, op in ops.OPS.items() if op.kind == "map" and op.partials and "bitwise" not in n}


@pytest.mark.parametrize("name", OPS)
def test_every_elementwise_rule_can_be_written(name: str) -> None:
    """The written rule, where it is short, is evaluated with NumPy's functions and gives the value."""
    op = OPS[name]
    numbers = (1.5 if name == "arccosh" else 0.75, 0.5)[: len(op.partials or ())]
    (*_, row) = viz.trace_table(op, *numbers, tangents=(2.0, 3.0)[: len(numbers)]).rows
    with np.errstate(all="ignore"):
        value = op.numpy(*numbers)
    assert np.asarray(row.value) == np.asarray(value)
    if row.derivative is None or "∂" in row.derivative_expression:
        return
    first = 1 - len(numbers)
    scope = {f"v{i}": v for i, v in zip(range(first, 1), numbers, strict=True)} | {"v1": value}
    scope |= {f"d{i}": v for i, v in zip(range(first, 1), (2.0, 3.0), strict=False)}
    subscripts = str.maketrans("₋₀₁₂", "m012")
    text = row.derivative_expression.replace("v" + DOT, "d").translate(subscripts)
    names = {k.replace("-", "m"): v for k, v in scope.items()}
    functions = {"float64": np.float64} | {n: o.numpy for n, o in ops.OPS.items()}
    found = eval(text, {"__builtins__": {}}, {**functions, **names})
    np.testing.assert_allclose(float(found), row.derivative, 1e-5)


def test_an_op_without_a_derivative_is_named() -> None:
    def largest(x: Any) -> Any:
        return ops.OPS["extreme_at"](x, np.array([0]), x[:1], largest=True)

    for mode in ("forward", "reverse"):
        with pytest.raises(NotDifferentiable, match=r"extreme_at at test_trace_table.py:\d+ has no"):
            viz.trace_table(largest, np.ones(3), mode=mode)  # type: ignore[arg-type]


def test_errors_name_the_line() -> None:
    with pytest.raises(
        ValueError, match='trace_table at test_trace_table.py:.* mode is "forward" or "reverse"'
    ):
        viz.trace_table(textbook, 2.0, 5.0, mode="backward")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="returns no floating-point number"):
        viz.trace_table(lambda x: x > 0, 2.0, mode="reverse")
    with pytest.raises(ValueError, match="must be built like the primals"):
        viz.trace_table(textbook, 2.0, 5.0, tangents=(1.0,))
    with pytest.raises(TypeError, match=r"argument 0 \(x\) at .* is of type str"):
        viz.trace_table(lambda x: x, "a")
