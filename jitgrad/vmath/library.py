"""The elementary functions as a library of LLVM functions, for one element and for vectors of this machine's
widths.

A kernel declares and calls the function for one element, `jitgrad.exp.f32`; LLVM's vectoriser finds the
vector functions by the attribute of that declaration. What a kernel calls is linked into it after its loops
are vectorised, so that each function's own code is written once and may branch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from llvmlite import ir

from jitgrad.machine import native
from jitgrad.vmath.routine import ROUTINES
from jitgrad.vmath.value import Kind, write

_SYMBOL = re.compile(r"jitgrad\.(?P<name>[a-z_0-9]+)\.f(?P<bits>32|64)(?:\.x(?P<lanes>\d+))?")
INLINED = 150
"""The most instructions of a function that is copied into the loops that call it."""

PURE = "nounwind willreturn nosync nofree nocallback speculatable memory(none)"


def symbol(name: str, kind: Kind) -> str:
    """Return the name of the function `name` for values of this kind."""
    lanes = "" if kind.lanes == 1 else f".x{kind.lanes}"
    return f"jitgrad.{name}.f{kind.bits}{lanes}"


def lanes_of(bits: int) -> tuple[int, ...]:
    """Return the lanes that vectors of such elements have: a full register, and as many as full 64-bit
    elements have."""
    width = native.vector_bits()
    return tuple(sorted({width // bits, width // 64}, reverse=True))


def attributes(name: str, kind: Kind) -> str:
    """Return the LLVM attributes of the function `name` for one element; they name its vector functions."""
    scalar, arity = symbol(name, kind), ROUTINES[name].arity
    variants = ",".join(
        f"_ZGV_LLVM_N{lanes}{'v' * arity}_{scalar}({scalar}.x{lanes})" for lanes in lanes_of(kind.bits)
    )
    return f'{PURE} "vector-function-abi-variant"="{variants}"'


def declare(module: ir.Module, name: str, kind: Kind) -> ir.Function:
    """Return the declaration of the function `name` for one element."""
    scalar = symbol(name, kind)
    if scalar in module.globals:
        return module.globals[scalar]
    signature = ir.FunctionType(kind.llvm, [kind.llvm] * ROUTINES[name].arity)
    function = ir.Function(module, signature, scalar)
    # llvmlite's set of known attributes lacks some of these.
    set.add(function.attributes, attributes(name, kind))
    return function


def _parsed(name: str) -> tuple[str, Kind] | None:
    found = _SYMBOL.fullmatch(name)
    if found is None or found["name"] not in ROUTINES:
        return None
    return found["name"], Kind("float", int(found["bits"]), int(found["lanes"] or 1))


def variants(names: Iterable[str]) -> str:
    """Return LLVM IR that declares the vector functions of those of `names` that are of one element."""
    module = ir.Module()
    for found in map(_parsed, names):
        if found is None or found[1].lanes > 1:
            continue
        name, kind = found
        for lanes in lanes_of(kind.bits):
            vector = replace(kind, lanes=lanes)
            signature = ir.FunctionType(vector.llvm, [vector.llvm] * ROUTINES[name].arity)
            function = ir.Function(module, signature, symbol(name, vector))
            set.add(function.attributes, PURE)
    kept = ir.ArrayType(ir.IntType(8).as_pointer(), len(module.globals))
    variable = ir.GlobalVariable(module, kept, native.VARIANTS)
    variable.initializer = ir.Constant(kept, list(module.functions))
    return str(module)


@cache
def definition(name: str, kind: Kind) -> str:
    """Return LLVM IR of the function `name` for values of this kind."""
    module = ir.Module()
    define(module, name, kind)
    return str(module)


def define(module: ir.Module, name: str, kind: Kind) -> None:
    """Write the function `name` for values of this kind into `module`; short ones of vectors go inline."""
    routine = ROUTINES[name]
    function = write(module, symbol(name, kind), routine.body, [kind] * routine.arity, kind)
    if kind.lanes > 1 and sum(len(block.instructions) for block in function.blocks) <= INLINED:
        function.attributes.add("alwaysinline")


def definitions(names: Iterable[str]) -> list[str]:
    """Return LLVM IR of those of `names` that are functions of this library."""
    return [definition(*found) for found in map(_parsed, names) if found is not None]
