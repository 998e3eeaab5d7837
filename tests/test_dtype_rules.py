"""The table in docs/dtypes.md: every row run on both fronts, compared with what it says and with an oracle.

The oracle of the NumPy front is NumPy, and JAX for gradients; that of the PyTorch front is PyTorch. A remark
such as "NumPy: `OverflowError`" states what the oracle gives where jitgrad differs.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy
import numpy as np
import pytest
import torch

import jitgrad
import jitgrad.numpy

DOCUMENT = Path(__file__).parents[1] / "docs" / "dtypes.md"
FRONTS = ("NumPy", "PyTorch")
ABSENT = "–"

# The document --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """An operation, written once or once for each front, its outcome on each, and what oracles differ in."""

    programs: tuple[str, str]
    outcomes: tuple[str, str]
    remark: str

    def oracle(self, front: str) -> str | None:
        """What the remark says that the oracle of a front gives; None where it is the same."""
        names = ("NumPy", "JAX") if front == "NumPy" else ("PyTorch",)
        found = re.search(rf"\b(?:{'|'.join(names)}): `([^`]*)`", self.remark)
        return found and found[1]


def spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]*)`", cell.replace(r"\|", "|"))


def row_of(line: str) -> Row | None:
    """The row in a line of the table; None for headings."""
    operation, *outcomes, remark = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
    programs = spans(operation)
    if not programs:
        return None
    first, second = (ABSENT if cell == ABSENT else spans(cell)[0] for cell in outcomes)
    return Row((programs[0], programs[-1]), (first, second), remark.replace(r"\|", "|"))


def rows_of(document: str) -> list[Row]:
    lines = [line for line in document.splitlines() if line.startswith("|")]
    return [row for row in map(row_of, lines[2:]) if row is not None]


def inputs_of(document: str) -> dict[str, tuple[Any, str]]:
    """Values and dtype names of the operands."""
    code = re.search(r"```python\n(.*?)```", document, re.S)
    assert code is not None
    names: dict[str, Any] = {"array": lambda values, dtype: (values, dtype), "nan": np.nan, "inf": np.inf}
    given: dict[str, Any] = {}
    exec(code[1], names | {d: d for d in re.findall(r", (\w+)\)", code[1])}, given)
    return given


TEXT = DOCUMENT.read_text()
ROWS, INPUTS = rows_of(TEXT), inputs_of(TEXT)

# Outcomes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a program gave, as the document writes it; of errors the nearest built-in class is compared.

    Warnings are no part of it.
    """

    text: str
    kind: str


def number(value: Any) -> str:
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, complex):
        return f"{value:.5g}"
    return f"{value:.1f}" if value == round(value, 1) and abs(value) < 1e5 else f"{value:.5g}"


def listed(values: Any) -> str:
    return f"[{', '.join(map(listed, values))}]" if isinstance(values, list) else number(values)


def shown(result: Any) -> str:
    """An array or tensor as dtype and values."""
    if isinstance(result, tuple):
        return ", ".join(map(shown, result))
    if hasattr(result, "detach"):
        result = result.detach()
    if not hasattr(result, "tolist"):
        return f"Python {type(result).__name__} {number(result)}"
    return f"{str(result.dtype).removeprefix('torch.')} {listed(result.tolist())}"


def outcome(call: Callable[[], Any]) -> Outcome:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call()
    except Exception as error:
        builtin = next(c for c in type(error).__mro__ if c.__module__ == "builtins")
        return Outcome(type(error).__name__, builtin.__name__)
    text = shown(result)
    return Outcome(text, text)


def agrees(text: str, found: str) -> bool:
    """Whether an outcome is what a cell says, where a question mark stands for any values."""
    return found.startswith(text[:-1]) if text.endswith(" ?") else found == text


# Programs ------------------------------------------------------------------------------------------------


def compiled(program: str, names: dict[str, Any]) -> tuple[Callable[..., Any], list[str]]:
    """Statements separated by semicolons, of which the last gives the value, as a function of operands."""
    *before, last = (part.strip() for part in program.split(";"))
    operands = [n for n in INPUTS if re.search(rf"\b{n}\b", program)]
    body = "".join(f"    {statement}\n" for statement in (*before, f"return {last}"))
    scope = {"np": np, **names}
    exec(f"def f({', '.join(operands)}):\n{body}", scope)
    return scope["f"], operands


def arrays(operands: list[str]) -> list[Any]:
    return [np.array(*INPUTS[name]) for name in operands]


def on_arrays(program: str, xp: Any, transform: Callable[..., Any]) -> Outcome:
    function, operands = compiled(program, {"xp": xp})
    return outcome(lambda: transform(function)(*arrays(operands)))


def with_gradients(program: str, xp: Any, library: Any) -> Outcome:
    names = {n: lambda f, x, n=n: getattr(library, n)(f)(x) for n in ("grad", "value_and_grad")}
    function, operands = compiled(program, {"xp": xp, **names})
    return outcome(lambda: function(*arrays(operands)))


def fused(program: str) -> Outcome:
    """What compiled kernels give; the interpreter and jitgrad's own namespace have to give the same."""
    if "grad(" in program:
        return with_gradients(program, np, jitgrad)
    result = on_arrays(program, np, jitgrad.jit)
    assert on_arrays(program, np, jitgrad.interpret) == result
    assert on_arrays(program, jitgrad.numpy, jitgrad.jit) == result
    return result


def plain(program: str) -> Outcome:
    if "grad(" in program:
        return with_gradients(program, jax.numpy, jax)
    return on_arrays(program, np, lambda function: function)


def on_tensors(library: Any, program: str) -> Outcome:
    def grad(f: Callable[[Any], Any], x: Any) -> Any:
        x = x.detach().clone().requires_grad_()
        return library.autograd.grad(f(x), x)[0]

    function, operands = compiled(program, {"xp": library, "grad": grad})
    tensors = [library.tensor(v, dtype=getattr(library, d)) for v, d in (INPUTS[n] for n in operands)]
    return outcome(lambda: function(*tensors))


RUN = {
    "NumPy": (fused, plain),
    "PyTorch": (partial(on_tensors, jitgrad), partial(on_tensors, torch)),
}


def check(row: Row, front: str) -> None:
    """What the row says is what jitgrad gives, and what the oracle gives unless the remark says otherwise."""
    place = FRONTS.index(front)
    program, said, theirs = row.programs[place], row.outcomes[place], row.oracle(front)
    ours, oracle = (run(program) for run in RUN[front])
    assert agrees(said, ours.text), f"{program} gives {ours.text}"
    if theirs is None:
        assert agrees(said, oracle.text) or ours.kind == oracle.kind, f"the oracle gives {oracle.text}"
    else:
        assert agrees(theirs, oracle.text), f"the oracle gives {oracle.text}"
        assert ours.kind != oracle.kind, "the remark states a difference that there is not"


# Tests ---------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def default_dtype() -> Iterator[None]:
    yield
    for library in (jitgrad, torch):
        library.set_default_dtype(library.float32)


CASES = [
    pytest.param(row, front, id=f"{front}: {row.programs[i]}")
    for row in ROWS
    for i, front in enumerate(FRONTS)
    if row.outcomes[i] != ABSENT
]


@pytest.mark.parametrize(("row", "front"), CASES)
def test_a_row_says_what_happens(row: Row, front: str) -> None:
    check(row, front)


MORE = {
    "NumPy": (
        *(
            "u8 == 300",
            "300 != u8",
            "u8 >= -1",
            "-1 < u8",
            "u64 + 2 ** 63",
            "u64 == 2 ** 63",
            "i64 < 2 ** 63",
        ),
        *("u8 * -1", "300 - u8", "u8 // 300", "u8 ** 300", "np.maximum(u8, 300)", "np.where(b, u8, -1)"),
        *("np.clip(u8, -1, None)", "np.clip(u8, 300, None)", "np.clip(i32, -2 ** 40, 2 ** 40)"),
        *("xp.full(2, 300, dtype=xp.uint8)", "np.full_like(u8, -1)", "np.repeat(f32, 100)[u8]"),
        *("np.square(b)", "np.reciprocal(b)", "np.positive(b)", "np.diff(b, n=2)", "np.round(u8, -1)"),
        *("np.imag(c64)", "np.conj(c64)", "c64.real", "c64.imag", "np.vdot(c64, c64)", "np.std(c64)"),
        *("np.linalg.norm(c64)", "np.cov(c64)", "b[0] = 5; b", "i32[0] = 2 ** 40; i32"),
    ),
    "PyTorch": (
        *(
            "xp.floor(b)",
            "xp.trunc(c64)",
            "c64 % 2",
            "c64 // c64",
            "xp.sign(c64)",
            "c64.max(0)",
            "c64.amin()",
        ),
        *("c64.argmin()", "b.argmax(0)", "c64.aminmax()", "c64.vdot(c64)", "c64.norm(1)", "xp.cov(c64)"),
        *("i64 ** one", "i64 ** -one", "b ** i64", "True ** i64", "i64.pow_(-i64); i64", "one ** -1"),
        *(
            "u8.clamp(-1)",
            "u8.clamp(None, 300)",
            "u8.clamp(-256)",
            "u8.clamp(0.5, 300)",
            "f32.clamp(0, 1e300)",
        ),
        *("xp.where(b, i32, 2 ** 31)", "xp.where(b, f16, 1e6)", "xp.where(b, f32, 1e300)"),
        *(
            "u8[b] = -256; u8",
            "u8[0] = -255; u8",
            "u8[0] = 300.5; u8",
            "i8[0] = 128; i8",
            "f16[0] = 1e6; f16",
        ),
        *("u8.fill_(-256)", "f32.fill_(1e300)", "f32.fill_(1 + 0j)", "f32.masked_fill(b, 1e300)"),
        *("f32[b] = f64[b]; f32", "f32[b] = half; f32", "f32[b] = f64[:1]; f32", "f32[one] = half; f32"),
        *("f32[[0, 1]] = f64[:2]; f32", "f32[[True, False, True]] = half; f32", "f32[b] = f32[:2] * 2; f32"),
        "xp.zeros(2, dtype=xp.result_type(u8, one))",
        "xp.zeros(2, dtype=xp.result_type(1, 2.5))",
        "xp.tensor([xp.can_cast(xp.float32, xp.int32), xp.can_cast(xp.int64, xp.uint8)])",
    ),
}


@pytest.mark.parametrize(("front", "program"), [(f, p) for f, programs in MORE.items() for p in programs])
def test_dtypes_and_values_are_the_oracles(front: str, program: str) -> None:
    ours, oracle = (run(program) for run in RUN[front])
    assert ours.kind == oracle.kind


@pytest.mark.parametrize("program", ["xp.sigmoid(c64)", "xp.erf(c64)", "xp.logsumexp(c64, 0)"])
def test_functions_without_a_complex_routine_refuse_complex_tensors(program: str) -> None:
    assert on_tensors(jitgrad, program).text == "NotImplementedError"


def test_linear_algebra_refuses_complex_matrices() -> None:
    matrix = np.eye(2) * (1 + 1j)
    with pytest.raises(NotImplementedError, match="inv"):
        jitgrad.jit(np.linalg.inv)(matrix)
    with pytest.raises(NotImplementedError, match="det"):
        jitgrad.linalg.det(jitgrad.tensor(matrix.tolist()))


def test_the_document_has_one_table_of_distinct_operations() -> None:
    assert len(re.findall(r"^\|[-| :]+\|$", TEXT, re.M)) == 1
    assert len(ROWS) >= 60
    assert len({row.programs for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("| `i32 + 1` | `int64 [-6, 1, 8]` | `int32 [-6, 1, 8]` | |", "gives int32"),
        ("| `i32 + 1` | `int32 [-6, 1, 9]` | `int32 [-6, 1, 8]` | |", "gives int32"),
        ("| `i32 + 1` | `int32 [-6, 1, 8]` | `int32 [-6, 1, 8]` | NumPy: `int32 [-6, 1, 8]` |", "difference"),
        ("| `i32 + 1` | `int32 [-6, 1, 8]` | `int32 [-6, 1, 8]` | NumPy: `TypeError` |", "the oracle gives"),
        ("| `i32 + 1` | `TypeError` | `int32 [-6, 1, 8]` | |", "gives int32"),
        ("| `i32 + 1` | `int64 ?` | `int32 ?` | |", "gives int32"),
    ],
)
def test_a_wrong_row_is_noticed(line: str, complaint: str) -> None:
    row = row_of(line)
    assert row is not None
    with pytest.raises(AssertionError, match=complaint):
        check(row, "NumPy")
