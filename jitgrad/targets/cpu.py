"""Emitted source to object code for this machine's CPU: numba types and lowers it, LLVM vectorises it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from jitgrad.machine import native
from jitgrad.targets.source import Parameter, Source

HEADER = '"""A kernel made by jitgrad."""\n\n'
WORD_BYTES = 8


def module_text(source: Source) -> str:
    """The emitted functions with the imports that they need: a Python module."""
    used = set(re.findall(r"\b([a-z_0-9]+)\(", source.text))
    dtypes = sorted(
        used & {"bool_", *(f"{k}{b}" for k in ("int", "uint") for b in (8, 16, 32, 64)), "float32", "float64"}
    )
    spans = sorted(
        n
        for n in used
        if re.fullmatch(r"offset|inside|(sum|prod|max|min|any|all)_(of|block|columns|lanes|rows)", n)
    )
    python = {"kernel", "finish", "range", "abs", *dtypes, *spans}
    math = sorted(used - python)
    lines = [f"from numpy import {', '.join(dtypes)}"] if dtypes else []
    lines += [f"from jitgrad.targets.dialect import {', '.join(spans)}"] if spans else []
    lines += [f"from jitgrad.vmath import {', '.join(math)}"] if math else []
    return HEADER + "\n".join(lines) + "\n\n\n" + source.text


def signature_text(parameters: tuple[Parameter, ...]) -> str:
    """The parameters' types, which are part of a kernel's identity."""
    return ", ".join(f"{p.name}: {p.kind} {p.dtype}" for p in parameters)


def compile_kernel(source: Source, symbol: str, filename: str) -> str:
    """LLVM IR that exports `<symbol>_kernel` and, if the text has one, `<symbol>_finish`, each as void(int64
    *args, int64 lo, int64 hi, char *scratch)."""
    from jitgrad.targets import numba_frontend

    module = ModuleType(symbol)
    exec(compile(module_text(source), filename, "exec"), module.__dict__)
    names = [name for name in ("kernel", "finish") if name in module.__dict__]
    functions: dict[str, Callable[..., Any]] = {name: module.__dict__[name] for name in names}
    assert all(inspect.isfunction(f) for f in functions.values())
    return numba_frontend.llvm_ir(functions, source, symbol)


def object_code(source: Source, symbol: str, filename: str) -> bytes:
    """Object code of what `compile_kernel` returns."""
    from jitgrad.vmath import library

    return native.compile_ir(compile_kernel(source, symbol, filename), library)


def words(parameter: Parameter) -> int:
    """The 64 bits that a size or scalar takes in a kernel's argument block."""
    value = np.zeros(WORD_BYTES, np.uint8)
    scalar: Any = np.asarray(parameter.value, parameter.dtype)
    value[: scalar.dtype.itemsize] = np.frombuffer(scalar.tobytes(), np.uint8)
    return int(value.view(np.int64)[0])
