"""Emitted source to object code for this machine's CPU: `frontend` lowers it, LLVM vectorises it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from jitgrad.machine import native
from jitgrad.targets.source import Parameter, Source

HEADER = '"""A kernel made by jitgrad."""\n\n'
WORD_BYTES = 8


def module_text(source: Source) -> str:
    """The emitted functions with the imports that they need: a Python module that runs on `dialect.Span`s."""
    used = set(re.findall(r"\b([a-z_0-9]+)\(", source.text)) - {"kernel", "finish", "range", "abs"}
    dtypes = {name for name in used if re.fullmatch(r"bool_|u?int\d+|float\d+", name)}
    imports = {"numpy": dtypes, "jitgrad.targets.dialect": used - dtypes}
    lines = [f"from {module} import {', '.join(sorted(names))}" for module, names in imports.items() if names]
    return HEADER + "\n".join(lines) + "\n\n\n" + source.text


def signature_text(parameters: tuple[Parameter, ...]) -> str:
    """The parameters' types, which are part of a kernel's identity."""
    return ", ".join(f"{p.name}: {p.kind} {p.dtype}" for p in parameters)


def compile_kernel(source: Source, symbol: str, filename: str) -> str:
    """LLVM IR that exports `<symbol>_kernel` and, if the text has one, `<symbol>_finish`, each as void(int64
    *args, int64 lo, int64 hi, char *scratch)."""
    from jitgrad.targets import frontend

    return frontend.llvm_ir(source, symbol, filename)


def object_code(source: Source, symbol: str, filename: str) -> bytes:
    """Object code of what `compile_kernel` returns."""
    from jitgrad.targets import library

    return native.compile_ir(compile_kernel(source, symbol, filename), library)


def words(parameter: Parameter) -> int:
    """The 64 bits that a size or scalar takes in a kernel's argument block."""
    value = np.zeros(WORD_BYTES, np.uint8)
    scalar: Any = np.asarray(parameter.value, parameter.dtype)
    value[: scalar.dtype.itemsize] = np.frombuffer(scalar.tobytes(), np.uint8)
    return int(value.view(np.int64)[0])
