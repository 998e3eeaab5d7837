"""Lets numba type and lower the elementary functions: small ones in place, others as calls of the library."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.core.typing import signature
from numba.extending import lower_builtin, type_callable

from jitgrad.vmath import library
from jitgrad.vmath.exact import select
from jitgrad.vmath.routine import ROUTINES, Routine
from jitgrad.vmath.value import Body, Kind, Value

FLOATS = (types.float32, types.float64)
Resolve = Callable[[Any, tuple[types.Type, ...]], Any]
Lower = Callable[[ir.IRBuilder, Any, tuple[ir.Value, ...]], ir.Value]


def kind_of(numba_type: types.Type) -> Kind:
    """Return the kind of a numba scalar type."""
    if isinstance(numba_type, types.Boolean):
        return Kind("bool", 1)
    if isinstance(numba_type, types.Integer):
        return Kind("int" if numba_type.signed else "uint", numba_type.bitwidth)
    return Kind("float", numba_type.bitwidth)


def common_type(name: str, context: Any, arguments: tuple[types.Type, ...], integers: bool) -> types.Type:
    """Return the one type of `arguments`; integers may differ in width, floats may not."""
    plain = [types.unliteral(argument) for argument in arguments]
    if all(kind == plain[0] for kind in plain) and plain[0] in FLOATS:
        return plain[0]
    whole = (types.Integer, types.Boolean)
    if integers and all(isinstance(kind, whole) for kind in plain):
        return context.unify_types(*plain)
    wanted = "float32 or float64" + (", or integers" if integers else "")
    raise TypingError(f"vmath.{name} takes arguments of one type, {wanted}; got {', '.join(map(str, plain))}")


def write_in_place(body: Body, builder: ir.IRBuilder, call: Any, raw: tuple[ir.Value, ...]) -> ir.Value:
    """Append the instructions of `body` for the types of `call`."""
    kinds = [kind_of(argument) for argument in call.args]
    return body(*(Value(builder, value, kind) for value, kind in zip(raw, kinds, strict=True))).raw


def register(body: Body, resolve: Resolve, lower: Lower) -> None:
    """Let kernels call `body` with the numba signature that `resolve(context, arguments)` returns."""

    @type_callable(body)
    def typing(context: Any) -> Callable[..., Any]:
        def typer(*arguments: types.Type) -> Any:
            return resolve(context, arguments)

        typer.pysig = inspect.signature(body)  # type: ignore[attr-defined]
        return typer

    @lower_builtin(body, *[types.Any] * len(inspect.signature(body).parameters))
    def lowering(context: Any, builder: ir.IRBuilder, call: Any, raw: tuple[ir.Value, ...]) -> ir.Value:
        return lower(builder, call, raw)


def register_routine(routine: Routine) -> None:
    """Let kernels call `routine`."""

    def resolve(context: Any, arguments: tuple[types.Type, ...]) -> Any:
        kind = common_type(routine.name, context, arguments, routine.integers)
        return signature(kind, *[kind] * len(arguments))

    def lower(builder: ir.IRBuilder, call: Any, raw: tuple[ir.Value, ...]) -> ir.Value:
        kind = kind_of(call.return_type)
        if routine.inline or not kind.floating:
            return write_in_place(routine.body, builder, call, raw)
        return builder.call(library.declare(builder.module, routine.name, kind), raw)

    register(routine.body, resolve, lower)


def register_select() -> None:
    """Let kernels call `select(condition, yes, no)`, where yes and no have one type."""

    def resolve(context: Any, arguments: tuple[types.Type, ...]) -> Any:
        kind = common_type("select", context, arguments[1:], integers=True)
        return signature(kind, types.boolean, kind, kind)

    register(select, resolve, lambda builder, call, raw: write_in_place(select, builder, call, raw))


def register_all() -> None:
    """Let kernels call every elementary function."""
    register_select()
    for routine in ROUTINES.values():
        register_routine(routine)
