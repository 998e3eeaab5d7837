"""Python functions in the kernel dialect to LLVM IR, by numba's front end alone: no numba optimiser, no
wrappers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import compiler, cpu, types
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu_options import FastMathOptions
from numba.core.registry import cpu_target
from numba.np.numpy_support import from_dtype

from jitgrad.targets import routines
from jitgrad.targets.dialect import Span
from jitgrad.targets.source import Parameter, Source

ALIGNMENT = 64
# NaN and infinities stay what they are.
FAST = {"contract", "reassoc", "arcp", "nsz"}
CONVENTION = [ir.IntType(64).as_pointer(), ir.IntType(64), ir.IntType(64), ir.IntType(8).as_pointer()]


class TextLibrary(JITCodeLibrary):  # type: ignore[misc]
    """A library that only collects IR."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def finalize(self) -> None:
        self._finalized = True


class TextCodegen(JITCPUCodegen):  # type: ignore[misc]
    _library_class = TextLibrary


class KernelContext(cpu.CPUContext):  # type: ignore[misc]
    """numba's CPU target, writing IR into text libraries."""

    def init(self) -> None:
        super().init()
        self._internal_codegen = TextCodegen("jitgrad")


@cache
def _contexts() -> tuple[Any, Any]:
    routines.register_all()
    typing = cpu_target.typing_context
    context = KernelContext(typing, "cpu")
    typing.refresh()
    context.refresh()
    return typing, context


def _flags(fastmath: bool) -> Any:
    flags = compiler.Flags()
    flags.fastmath = FastMathOptions(FAST if fastmath else False)
    flags.no_compile = True
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.nrt = False
    flags.error_model = "numpy"
    flags.boundscheck = False
    flags.enable_pyobject = False
    return flags


def numba_type(parameter: Parameter, number: int) -> Any:
    """The numba type of a parameter; what kernels write is numbered."""
    dtype = from_dtype(parameter.dtype)
    if parameter.kind in ("size", "literal"):
        return dtype
    return Span(dtype, None if parameter.kind == "input" else number)


def llvm_ir(functions: dict[str, Callable[..., Any]], source: Source, symbol: str) -> str:
    """IR text of the functions, each behind a C wrapper `<symbol>_<name>` that unpacks the argument block."""
    parameters = source.parameters
    with global_compiler_lock:
        typing, context = _contexts()
        arguments = tuple(numba_type(p, k) for k, p in enumerate(parameters))
        module = None
        for name, function in functions.items():
            result = compiler.compile_extra(
                typing,
                context,
                function,
                (types.intp, types.intp, *arguments),
                types.none,
                _flags(source.fastmath),
                {},
            )
            part = result.library._final_module
            wrapper = llvm.parse_assembly(
                _wrapper(context, result.fndesc, parameters, arguments, f"{symbol}_{name}")
            )
            part.link_in(wrapper)
            for inner in part.functions:
                if not inner.is_declaration and inner.name != f"{symbol}_{name}":
                    inner.linkage = llvm.Linkage.internal
            if module is None:
                module = part
            else:
                module.link_in(part)
        return str(module)


def _aligned(builder: ir.IRBuilder, pointer: Any) -> Any:
    """The next address on a cache line: vectors across two lines cost two accesses."""
    word = ir.IntType(64)
    raised = builder.add(builder.ptrtoint(pointer, word), word(ALIGNMENT - 1))
    return builder.inttoptr(builder.and_(raised, word(-ALIGNMENT)), pointer.type)


def _wrapper(context: Any, description: Any, parameters: Any, arguments: Any, symbol: str) -> str:
    module = ir.Module(symbol)
    module.triple = llvm.get_process_triple()
    wrapper = ir.Function(module, ir.FunctionType(ir.VoidType(), CONVENTION), symbol)
    block, low, high, scratch = wrapper.args
    builder = ir.IRBuilder(wrapper.append_basic_block())
    scratch = _aligned(builder, scratch)
    values = [low, high]
    for place, (parameter, kind) in enumerate(zip(parameters, arguments, strict=True)):
        word = builder.gep(block, [ir.Constant(ir.IntType(64), place)])
        if parameter.kind == "temp":
            data = context.data_model_manager[kind].get_value_type()
            values.append(builder.bitcast(builder.gep(scratch, [builder.load(word)]), data))
        else:
            model = context.data_model_manager[kind]
            data = model.get_data_type()
            values.append(model.from_data(builder, builder.load(builder.bitcast(word, data.as_pointer()))))
    function = context.declare_function(module, description)
    context.call_conv.call_function(
        builder, function, types.none, (types.intp, types.intp, *arguments), values
    )
    builder.ret_void()
    return str(module)
