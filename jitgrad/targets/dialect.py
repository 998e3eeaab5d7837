"""What emitted kernels are written in, besides Python's scalars: spans of memory and reductions in their
fixed order.

A span is a typed pointer. `x[i]` and `y[i] = v` load and store without bounds or wraparound, so that
loops vectorise; each output has a number of its own, from which LLVM learns that no two of them, and no
input, share memory.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.datamodel.registry import register_default
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, type_callable

from jitgrad.ops.reductions import BLOCK, COLUMN_BLOCK, LANES, identity

OUTPUTS = 64  # spans with a higher number share the last one's alias scope


class Span(types.Type):
    """Memory of one dtype; `output` numbers what the kernel writes, None is what it only reads."""

    def __init__(self, dtype: types.Type, output: int | None) -> None:
        self.dtype = dtype
        self.output = output
        super().__init__(f"span({dtype}, {output})")

    @property
    def key(self) -> tuple[types.Type, int | None]:
        return self.dtype, self.output


@register_default(Span)
class SpanModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Span) -> None:
        element = manager.lookup(kind.dtype).get_data_type()
        super().__init__(manager, kind, element.as_pointer())


@infer_global(operator.getitem)
class SpanGet(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: tuple[types.Type, ...], keywords: Any) -> Any:
        span, index = args
        if isinstance(span, Span) and isinstance(index, types.Integer):
            return signature(span.dtype, span, types.intp)
        return None


@infer_global(operator.setitem)
class SpanSet(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: tuple[types.Type, ...], keywords: Any) -> Any:
        span, index, _ = args
        if isinstance(span, Span) and isinstance(index, types.Integer):
            return signature(types.none, span, types.intp, span.dtype)
        return None


def _aliasing(builder: ir.IRBuilder, span: Span, instruction: ir.Instruction) -> None:
    """Tell LLVM that this access touches no output but the span's own."""
    module = builder.module
    domain = module.add_metadata(["jitgrad"])
    scopes = [module.add_metadata([f"output {k}", domain]) for k in range(OUTPUTS)]
    mine = None if span.output is None else min(span.output, OUTPUTS - 1)
    others = [scope for k, scope in enumerate(scopes) if k != mine]
    instruction.set_metadata("noalias", module.add_metadata(others))
    if mine is not None and mine < OUTPUTS - 1:
        instruction.set_metadata("alias.scope", module.add_metadata([scopes[mine]]))


@lower_builtin(operator.getitem, Span, types.Integer)
def lower_get(context: Any, builder: ir.IRBuilder, call: Any, args: Any) -> Any:
    span = call.args[0]
    loaded = builder.load(builder.gep(args[0], [args[1]]))
    _aliasing(builder, span, loaded)
    return context.data_model_manager[span.dtype].from_data(builder, loaded)


@lower_builtin(operator.setitem, Span, types.Integer, types.Any)
def lower_set(context: Any, builder: ir.IRBuilder, call: Any, args: Any) -> Any:
    span = call.args[0]
    value = context.data_model_manager[span.dtype].as_data(builder, args[2])
    _aliasing(builder, span, builder.store(value, builder.gep(args[0], [args[1]])))
    return context.get_dummy_value()


def offset(span: Any, elements: int) -> Any:
    """The span that begins `elements` further on."""
    return span[elements:]


@type_callable(offset)
def _type_offset(context: Any) -> Callable[..., Any]:
    def typer(span: types.Type, elements: types.Type) -> Any:
        return signature(span, span, types.intp) if isinstance(span, Span) else None

    return typer


@lower_builtin(offset, Span, types.Integer)
def _lower_offset(context: Any, builder: ir.IRBuilder, call: Any, args: Any) -> Any:
    return builder.gep(args[0], [args[1]])


def inside(position: int, size: int) -> bool:
    """Whether 0 <= position < size, in one comparison."""
    return 0 <= position < size


@type_callable(inside)
def _type_inside(context: Any) -> Callable[..., Any]:
    return lambda position, size: signature(types.boolean, types.intp, types.intp)


@lower_builtin(inside, types.Integer, types.Integer)
def _lower_inside(context: Any, builder: ir.IRBuilder, call: Any, args: Any) -> Any:
    return builder.icmp_unsigned("<", *args)


# Reductions -------------------------------------------------------------------------------------------

Combine = Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]


def _float_intrinsic(name: str) -> Combine:
    def combine(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        function = builder.module.declare_intrinsic(
            f"llvm.{name}.{_suffix(x.type)}", (), ir.FunctionType(x.type, [x.type, x.type])
        )
        return builder.call(function, [x, y])

    return combine


def _suffix(kind: ir.Type) -> str:
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{_suffix(kind.element)}"
    return {"float": "f32", "double": "f64"}[str(kind)]


def _compared(relation: str) -> Callable[[bool], Combine]:
    def of_sign(signed: bool) -> Combine:
        def combine(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
            compare = builder.icmp_signed if signed else builder.icmp_unsigned
            return builder.select(compare(relation, x, y), x, y)

        return combine

    return of_sign


def combiner(name: str, dtype: types.Type) -> Combine:
    """The LLVM instructions that combine two partial results, scalars or vectors alike."""
    floating = isinstance(dtype, types.Float)
    if name in ("max", "min"):
        if floating:
            return _float_intrinsic("maximum" if name == "max" else "minimum")
        signed = isinstance(dtype, types.Integer) and bool(getattr(dtype, "signed", False))
        return _compared(">" if name == "max" else "<")(signed)
    kind = {"sum": ("fadd", "add"), "prod": ("fmul", "mul"), "any": ("or_", "or_"), "all": ("and_", "and_")}[
        name
    ]
    method = kind[0] if floating else kind[1]
    return lambda builder, x, y: getattr(builder, method)(x, y)


def _start(name: str, dtype: types.Type, element: ir.Type) -> ir.Constant:
    value = identity(name, np.dtype(str(dtype)) if not isinstance(dtype, types.Boolean) else np.dtype(bool))
    return ir.Constant(element, float(value) if isinstance(dtype, types.Float) else int(value))


def _lane_loop(
    builder: ir.IRBuilder, pointer: ir.Value, count: ir.Value, start: ir.Value, combine: Combine
) -> ir.Value:
    """Combine elements i, i + LANES, ... of a block in lane i; lanes past the end keep the identity."""
    element = pointer.type.pointee if hasattr(pointer.type, "pointee") else start.type.element
    vector = start.type
    lanes_pointer = vector.as_pointer()
    size = _bytes(element)
    word = count.type
    full = builder.lshr(count, ir.Constant(word, LANES.bit_length() - 1))
    total = cgutils.alloca_once_value(builder, start)
    with cgutils.for_range(builder, full) as loop:
        at = builder.bitcast(
            builder.gep(pointer, [builder.mul(loop.index, ir.Constant(word, LANES))]), lanes_pointer
        )
        builder.store(combine(builder, builder.load(total), builder.load(at, align=size)), total)
    done = builder.mul(full, ir.Constant(word, LANES))
    rest = builder.sub(count, done)
    with builder.if_then(builder.icmp_signed("!=", rest, ir.Constant(word, 0))):
        narrow = ir.IntType(32)
        index = ir.Constant(ir.VectorType(narrow, LANES), [ir.Constant(narrow, k) for k in range(LANES)])
        limit = _splat(builder, builder.trunc(rest, narrow), LANES)
        mask = builder.icmp_unsigned("<", index, limit)
        at = builder.bitcast(builder.gep(pointer, [done]), lanes_pointer)
        name = f"llvm.masked.load.v{LANES}{_element_suffix(element)}.p0"
        kind = ir.FunctionType(vector, [lanes_pointer, narrow, mask.type, vector])
        masked_load = builder.module.declare_intrinsic(name, (), kind)
        last = builder.call(masked_load, [at, ir.Constant(narrow, size), mask, start])
        builder.store(combine(builder, builder.load(total), last), total)
    return builder.load(total)


def _element_suffix(element: ir.Type) -> str:
    return f"i{element.width}" if isinstance(element, ir.IntType) else _suffix(element)


def _splat(builder: ir.IRBuilder, value: ir.Value, count: int) -> ir.Value:
    vector = ir.VectorType(value.type, count)
    narrow = ir.IntType(32)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(narrow, 0))
    return builder.shuffle_vector(
        first,
        ir.Constant(vector, ir.Undefined),
        ir.Constant(ir.VectorType(narrow, count), [ir.Constant(narrow, 0)] * count),
    )


def _fold(builder: ir.IRBuilder, lanes: ir.Value, combine: Combine) -> ir.Value:
    """Combine the lower half of the lanes with the upper half until one is left."""
    narrow = ir.IntType(32)
    width = LANES
    while width > 1:
        width //= 2
        low, high = (
            builder.shuffle_vector(
                lanes,
                ir.Constant(lanes.type, ir.Undefined),
                ir.Constant(
                    ir.VectorType(narrow, width), [ir.Constant(narrow, first + k) for k in range(width)]
                ),
            )
            for first in (0, width)
        )
        lanes = combine(builder, low, high)
    return builder.extract_element(lanes, ir.Constant(narrow, 0))


Build = Callable[[Any, ir.Module, Any, tuple[ir.Type, ...]], ir.Function]


def _named(
    module: ir.Module, symbol: str, returns: ir.Type, arguments: tuple[ir.Type, ...]
) -> tuple[ir.Function, bool]:
    """A function of the module that is written once, and whether it is new."""
    known = module.globals.get(symbol)
    if known is not None:
        return known, False
    function = ir.Function(module, ir.FunctionType(returns, arguments), symbol)
    function.linkage = "internal"
    return function, True


def _block(name: str, context: Any, module: ir.Module, dtype: Any, kinds: tuple[ir.Type, ...]) -> ir.Function:
    """block(values, count): reduce at most BLOCK elements."""
    element = context.data_model_manager[dtype].get_data_type()
    function, new = _named(module, f"jitgrad.{name}_block.{dtype}", element, kinds)
    if new:
        builder = ir.IRBuilder(function.append_basic_block())
        combine = combiner(name, dtype)
        start = ir.Constant(ir.VectorType(element, LANES), [_start(name, dtype, element)] * LANES)
        values, count = function.args
        lanes = _lane_loop(builder, values, count, start, combine)
        builder.ret(_fold(builder, lanes, combine))
    return function


def _of(name: str, context: Any, module: ir.Module, dtype: Any, kinds: tuple[ir.Type, ...]) -> ir.Function:
    """of(values, count, work): reduce any number of elements, blocks first, then their results in `work`."""
    element = context.data_model_manager[dtype].get_data_type()
    function, new = _named(module, f"jitgrad.{name}_of.{dtype}", element, kinds)
    if new:
        builder = ir.IRBuilder(function.append_basic_block())
        values, count, work = function.args
        block = _block(name, context, module, dtype, kinds[:2])
        blocks = _blocks_of(builder, count, BLOCK)
        with cgutils.for_range(builder, blocks) as loop:
            first = builder.mul(loop.index, count.type(BLOCK))
            many = _smaller(builder, builder.sub(count, first), count.type(BLOCK))
            builder.store(
                builder.call(block, [builder.gep(values, [first]), many]), builder.gep(work, [loop.index])
            )
        with builder.if_then(builder.icmp_signed(">", blocks, count.type(1))):
            builder.ret(builder.call(function, [work, blocks, work]))
        builder.ret(builder.load(work))
    return function


def _columns(
    name: str, context: Any, module: ir.Module, dtype: Any, kinds: tuple[ir.Type, ...]
) -> ir.Function:
    """columns(parts, rows, n, out): reduce rows of n partial results, COLUMN_BLOCK at a time, in place."""
    function, new = _named(module, f"jitgrad.{name}_columns.{dtype}", ir.VoidType(), kinds)
    if not new:
        return function
    builder = ir.IRBuilder(function.append_basic_block())
    parts, rows, n, out = function.args
    word = rows.type
    combine = combiner(name, dtype)
    with builder.if_then(builder.icmp_signed(">", rows, word(1))):
        blocks = _blocks_of(builder, rows, COLUMN_BLOCK)
        with cgutils.for_range(builder, blocks) as loop:
            first = builder.mul(loop.index, word(COLUMN_BLOCK))
            many = _smaller(builder, builder.sub(rows, first), word(COLUMN_BLOCK))
            into = builder.gep(parts, [builder.mul(loop.index, n)])
            _copy(builder, builder.gep(parts, [builder.mul(first, n)]), into, n)
            with cgutils.for_range(builder, builder.sub(many, word(1))) as inner:
                row = builder.add(builder.add(first, inner.index), word(1))
                start = builder.gep(parts, [builder.mul(row, n)])
                with cgutils.for_range(builder, n) as column:
                    at = builder.gep(into, [column.index])
                    value = builder.load(builder.gep(start, [column.index]))
                    builder.store(combine(builder, builder.load(at), value), at)
        builder.call(function, [parts, blocks, n, out])
        builder.ret_void()
    _copy(builder, parts, out, n)
    builder.ret_void()
    return function


def _lanes(name: str, context: Any, module: ir.Module, dtype: Any, kinds: tuple[ir.Type, ...]) -> ir.Function:
    """lanes(values, n, work, out): reduce n vectors of COLUMN_BLOCK lanes, each lane as a row of n elements
    is."""
    function, new = _named(module, f"jitgrad.{name}_lanes.{dtype}", ir.VoidType(), kinds)
    if not new:
        return function
    builder = ir.IRBuilder(function.append_basic_block())
    values, n, work, out = function.args
    combine = combiner(name, dtype)
    vector = ir.VectorType(context.data_model_manager[dtype].get_data_type(), COLUMN_BLOCK)
    align = _bytes(vector.element)

    def at(pointer: ir.Value, index: ir.Value) -> ir.Value:
        begin = builder.gep(pointer, [builder.mul(index, n.type(COLUMN_BLOCK))])
        return builder.bitcast(begin, vector.as_pointer())

    with cgutils.for_range(builder, n) as loop:
        builder.store(builder.load(at(values, loop.index), align=align), at(work, loop.index), align=align)
    count, width = n, LANES // 2
    while width:
        paired = builder.sub(count, n.type(width))
        with cgutils.for_range(
            builder, builder.select(builder.icmp_signed(">", paired, n.type(0)), paired, n.type(0))
        ) as loop:
            low, high = at(work, loop.index), at(work, builder.add(loop.index, n.type(width)))
            builder.store(
                combine(builder, builder.load(low, align=align), builder.load(high, align=align)),
                low,
                align=align,
            )
        count, width = _smaller(builder, count, n.type(width)), width // 2
    builder.store(builder.load(at(work, n.type(0)), align=align), at(out, n.type(0)), align=align)
    builder.ret_void()
    return function


def _rows(name: str, context: Any, module: ir.Module, dtype: Any, kinds: tuple[ir.Type, ...]) -> ir.Function:
    """rows(values, n, m, out): reduce m lanes of n vectors, in order, each to an element of `out`."""
    function, new = _named(module, f"jitgrad.{name}_rows.{dtype}", ir.VoidType(), kinds)
    if not new:
        return function
    builder = ir.IRBuilder(function.append_basic_block())
    values, n, lanes, out = function.args
    word = n.type
    combine = combiner(name, dtype)

    def element(column: ir.Value, lane: ir.Value) -> ir.Value:
        return builder.load(builder.gep(values, [builder.add(builder.mul(column, word(COLUMN_BLOCK)), lane)]))

    with cgutils.for_range(builder, n) as column:
        builder.store(element(column.index, word(0)), builder.gep(out, [column.index]))
    with cgutils.for_range(builder, builder.sub(lanes, word(1))) as lane:
        with cgutils.for_range(builder, n) as column:
            at = builder.gep(out, [column.index])
            value = element(column.index, builder.add(lane.index, word(1)))
            builder.store(combine(builder, builder.load(at), value), at)
    builder.ret_void()
    return function


def _bytes(element: ir.Type) -> int:
    return (
        element.width // 8
        if isinstance(element, ir.IntType)
        else (8 if isinstance(element, ir.DoubleType) else 4)
    )


def _copy(builder: ir.IRBuilder, source: ir.Value, target: ir.Value, count: ir.Value) -> None:
    with cgutils.for_range(builder, count) as loop:
        builder.store(builder.load(builder.gep(source, [loop.index])), builder.gep(target, [loop.index]))


def _blocks_of(builder: ir.IRBuilder, count: ir.Value, size: int) -> ir.Value:
    word = count.type
    return builder.lshr(builder.add(count, word(size - 1)), word(size.bit_length() - 1))


def _smaller(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return builder.select(builder.icmp_signed("<", x, y), x, y)


def _callable(
    name: str, build: Callable[..., ir.Function], counts: tuple[type[types.Type], ...], value: bool
) -> Any:
    """A function that kernels call by `name` with a span first; `build` writes it into the module."""

    def placeholder(*arguments: Any) -> Any:
        raise TypeError(f"{name} exists in compiled kernels only")

    def typed(span: types.Type, *rest: types.Type) -> Any:
        if not isinstance(span, Span):
            return None
        wanted = [
            types.intp if kind is types.Integer else given for kind, given in zip(counts, rest, strict=True)
        ]
        return signature(span.dtype if value else types.none, span, *wanted)

    # numba folds a variadic typer's arguments into a tuple, so each number of arguments has its own
    typers: dict[int, Callable[..., Any]] = {
        1: lambda x, count: typed(x, count),
        2: lambda x, count, work: typed(x, count, work),
        3: lambda x, rows, n, out: typed(x, rows, n, out),
    }
    type_callable(placeholder)(lambda context: typers[len(counts)])

    @lower_builtin(placeholder, Span, *counts)
    def lowering(context: Any, builder: ir.IRBuilder, call: Any, args: Any) -> Any:
        dtype = call.args[0].dtype
        function = build(context, builder.module, dtype, tuple(a.type for a in args))
        raw = builder.call(function, args)
        return (
            context.data_model_manager[dtype].from_data(builder, raw) if value else context.get_dummy_value()
        )

    placeholder.__name__ = placeholder.__qualname__ = name
    return placeholder


REDUCTIONS = {}
for _name in ("sum", "prod", "max", "min", "any", "all"):
    REDUCTIONS[f"{_name}_block"] = _callable(f"{_name}_block", partial(_block, _name), (types.Integer,), True)
    REDUCTIONS[f"{_name}_of"] = _callable(f"{_name}_of", partial(_of, _name), (types.Integer, Span), True)
    REDUCTIONS[f"{_name}_columns"] = _callable(
        f"{_name}_columns", partial(_columns, _name), (types.Integer, types.Integer, Span), False
    )
    REDUCTIONS[f"{_name}_lanes"] = _callable(
        f"{_name}_lanes", partial(_lanes, _name), (types.Integer, Span, Span), False
    )
    REDUCTIONS[f"{_name}_rows"] = _callable(
        f"{_name}_rows", partial(_rows, _name), (types.Integer, types.Integer, Span), False
    )
globals().update(REDUCTIONS)
