"""Emitted kernels: each variable has the dtype of its node."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from golden_graphs import GOLDEN
from numba.core import types

from jitgrad.program import Kernel
from jitgrad.targets import cpu, lanes, numba_frontend, printer, rows
from jitgrad.targets.emit import emit
from jitgrad.targets.source import Source, expression

Typemap = dict[str, types.Type]
_ASSIGNMENT = re.compile(r"^ +(v\d+) = (.*)$", re.MULTILINE)
_ACCESS = re.compile(r"^([a-z]\d+)(?:_\w+)?\[")


def compiled(source: Source, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Typemap]]:
    """LLVM IR of a kernel, and the types of the variables of its functions."""
    found: dict[str, Typemap] = {}
    compile_extra = numba_frontend.compiler.compile_extra

    def recording(typing: Any, context: Any, function: Any, *rest: Any) -> Any:
        result = compile_extra(typing, context, function, *rest)
        found[function.__name__] = dict(result.type_annotation.typemap)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(numba_frontend.compiler, "compile_extra", recording)
        text = cpu.compile_kernel(source, "test", "<test>")
    return text, found


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
        _, typemaps = compiled(source, monkeypatch)
        for function, text in functions(source.text).items():
            for variable, value in _ASSIGNMENT.findall(text):
                access = _ACCESS.match(value)
                known = dtypes.get(access.group(1) if access else value)
                if known and len(known) == 1:
                    (dtype,) = known
                    expected = types.boolean if dtype.kind == "b" else getattr(types, dtype.name)
                    assert typemaps[function][variable] == expected, f"{variable} = {value}"
                    checked += 1
    assert checked > 0


@pytest.mark.parametrize("name", GOLDEN)
def test_a_float32_kernel_has_no_float64_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel in GOLDEN[name].kernels():
        _, typemaps = compiled(emit(kernel), monkeypatch)
        wide = [
            f"{function}: {variable}"
            for function, typemap in typemaps.items()
            for variable, kind in typemap.items()
            if kind == types.float64
        ]
        assert not wide
