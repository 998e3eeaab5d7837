"""Emitted kernels: each variable has the dtype of its node."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from golden_graphs import GOLDEN

from jitgrad.program import Kernel
from jitgrad.targets import cpu, lanes, lowering, printer, rows
from jitgrad.targets.emit import emit
from jitgrad.targets.memory import kind_of
from jitgrad.targets.source import Source, expression
from jitgrad.vmath.value import FLOAT64, Kind, Value

Kinds = dict[str, Kind]
_ASSIGNMENT = re.compile(r"^ +(v\d+) = (.*)$", re.MULTILINE)
_ACCESS = re.compile(r"^([a-z]\d+)(?:_\w+)?\[")


def kinds_of(source: Source, monkeypatch: pytest.MonkeyPatch) -> dict[str, Kinds]:
    """The kinds of the variables of a kernel's functions."""
    found: dict[str, Kinds] = defaultdict(dict)
    assign = lowering.Lowering._assign

    def recording(self: Any, name: str, operand: Any, statement: Any) -> None:
        if isinstance(operand, Value):
            found[self.function.name.removeprefix("test_")][name] = operand.kind
        assign(self, name, operand, statement)

    with monkeypatch.context() as patch:
        patch.setattr(lowering.Lowering, "_assign", recording)
        cpu.compile_kernel(source, "test", "<test>")
    return found


def emitted(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> tuple[Source, dict[str, set[np.dtype[Any]]]]:
    """A kernel's source, and the dtypes of the nodes that were printed as each expression."""
    dtypes: dict[str, set[np.dtype[Any]]] = defaultdict(set)

    def recording(node: Any, args: Any) -> str:
        text = expression(node, args)
        dtypes[text].add(node.dtype)
        return text

    with monkeypatch.context() as patch:
        for module in (rows, lanes, printer):
            patch.setattr(module, "expression", recording)
        source = emit(kernel)
    for parameter in source.parameters:
        dtypes[parameter.name].add(parameter.dtype)
    return source, dtypes


def functions(text: str) -> dict[str, str]:
    return {part.split("(")[0]: part for part in text.split("def ")[1:]}


@pytest.mark.parametrize("name", GOLDEN)
def test_every_variable_has_the_dtype_of_its_node(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = 0
    for kernel in GOLDEN[name].kernels():
        source, dtypes = emitted(kernel, monkeypatch)
        kinds = kinds_of(source, monkeypatch)
        for function, text in functions(source.text).items():
            for variable, value in _ASSIGNMENT.findall(text):
                access = _ACCESS.match(value)
                known = dtypes.get(access.group(1) if access else value)
                if known and len(known) == 1:
                    (dtype,) = known
                    assert kinds[function][variable] == kind_of(dtype), f"{variable} = {value}"
                    checked += 1
    assert checked > 0


@pytest.mark.parametrize("name", GOLDEN)
def test_a_float32_kernel_has_no_float64_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel in GOLDEN[name].kernels():
        kinds = kinds_of(emit(kernel), monkeypatch)
        assert kinds["kernel"]
        assert not [v for known in kinds.values() for v, kind in known.items() if kind == FLOAT64]
