"""Makes a function over `Scalar`s callable by its name from compiled kernels."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.core.typing import signature
from numba.extending import lower_builtin, type_callable

from jitgrad.vmath.scalar import Kind, Scalar

Body = Callable[..., Scalar]
# x86 with AVX-512 halves its vectors by default, for the sake of code with few vector operations.
FULL_WIDTH = '"prefer-vector-width"="512"'
FLOATS = (types.float32, types.float64)
ROUTINES: dict[str, Body] = {}


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


def lower(body: Body, builder: ir.IRBuilder, call: Any, raw: tuple[ir.Value, ...]) -> ir.Value:
    """Call `body`'s function for these types, written into the module once and always inlined."""
    module = builder.module
    name = f"jitgrad.{body.__name__}." + ".".join(str(argument) for argument in call.args)
    function = module.globals.get(name)
    if function is None:
        kinds = [kind_of(argument) for argument in call.args]
        returns = kind_of(call.return_type).llvm
        function = ir.Function(module, ir.FunctionType(returns, [kind.llvm for kind in kinds]), name)
        function.linkage = "internal"
        function.attributes.add("alwaysinline")
        inner = ir.IRBuilder(function.append_basic_block())
        values = [Scalar(inner, value, kind) for value, kind in zip(function.args, kinds, strict=True)]
        inner.ret(body(*values).raw)
    # llvmlite's set of known attributes lacks this one.
    set.add(builder.function.attributes, FULL_WIDTH)
    return builder.call(function, raw)


def register(body: Body, resolve: Callable[..., Any]) -> None:
    """Let kernels call `body` with the numba signature that `resolve(context, arguments)` returns."""

    @type_callable(body)
    def typing(context: Any) -> Callable[..., Any]:
        def typer(*arguments: types.Type) -> Any:
            return resolve(context, arguments)

        typer.pysig = inspect.signature(body)  # type: ignore[attr-defined]
        return typer

    @lower_builtin(body, *[types.Any] * arity(body))
    def lowering(context: Any, builder: ir.IRBuilder, call: Any, raw: tuple[ir.Value, ...]) -> ir.Value:
        return lower(body, builder, call, raw)


def arity(body: Body) -> int:
    """Return the number of arguments of `body`."""
    return len(inspect.signature(body).parameters)


def routine(body: Body, integers: bool = False) -> Body:
    """Let kernels call `body`; its arguments and its result have one type.

    Other bodies call it as the Python function that it stays, which writes its code in place.
    """

    def resolve(context: Any, arguments: tuple[types.Type, ...]) -> Any:
        kind = common_type(body.__name__, context, arguments, integers)
        return signature(kind, *[kind] * len(arguments))

    register(body, resolve)
    ROUTINES[body.__name__] = body
    return body


def conditional(body: Body) -> Body:
    """Let kernels call `body(condition, yes, no)`, where yes and no have one type."""

    def resolve(context: Any, arguments: tuple[types.Type, ...]) -> Any:
        kind = common_type(body.__name__, context, arguments[1:], integers=True)
        return signature(kind, types.boolean, kind, kind)

    register(body, resolve)
    return body
