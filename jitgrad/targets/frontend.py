"""The text of emitted functions to LLVM IR: each expression becomes a typed value, each loop a counted loop.

The dialect is Python: assignments, `for i in range(...)`, subscripts of spans, arithmetic, comparisons,
conditional expressions, and calls of dtypes, of elementary functions and of what `dialect` defines. A name
that a loop's body assigns belongs to one iteration.
"""

from __future__ import annotations

import ast
import operator
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from jitgrad.machine import native
from jitgrad.ops.scans import STEPS
from jitgrad.targets import reductions
from jitgrad.targets.memory import (
    BOOL,
    LINE,
    WORD,
    Scopes,
    Span,
    counted,
    kind_of,
    nearby,
    settle,
    stored,
    stream,
    word,
)
from jitgrad.targets.source import Parameter, Source
from jitgrad.vmath import library
from jitgrad.vmath.exact import minimum, select
from jitgrad.vmath.routine import ROUTINES
from jitgrad.vmath.value import FLOAT64, Kind, Value

PART = 256  # elements between two loads that wait for memory: few enough to overlap
# NaN and infinities stay what they are.
FAST = ("contract", "reassoc", "arcp", "nsz")
_RELAXED = {"fadd", "fsub", "fmul", "fdiv", "frem", "fcmp"}

ADDRESS = ir.PointerType()
# (argument block, first unit, unit after the last, scratch memory)
CONVENTION = ir.FunctionType(ir.VoidType(), [ADDRESS, WORD.llvm, WORD.llvm, ADDRESS])

Operand = Value | Span | int

# CPython 3.11 counts the depth of a syntax tree for all threads together, and fails when two parse at once;
# llvmlite fills its table of escaped characters on first use, which another thread can see half full.
_one_at_a_time = threading.Lock()

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_TRUTH = {ast.Add: operator.or_, ast.Mult: operator.and_}
_DTYPES = {
    "bool_": BOOL,
    **{
        name: kind_of(np.dtype(name))
        for name in (*(f"{k}{b}" for k in ("int", "uint") for b in (8, 16, 32, 64)), "float32", "float64")
    },
}


def llvm_ir(source: Source, symbol: str, filename: str) -> str:
    """Return LLVM IR of the source's functions, exported as `<symbol>_kernel` and `<symbol>_finish`."""
    with _one_at_a_time:
        module = ir.Module(symbol)
        scopes = _scopes(module, source.parameters)
        for definition in ast.parse(source.text, filename).body:
            assert isinstance(definition, ast.FunctionDef)
            function = _Function(module, f"{symbol}_{definition.name}", source, scopes, filename)
            function.write(definition)
        if source.fastmath:
            _relax(module)
        return str(module)


def _scopes(module: ir.Module, parameters: tuple[Parameter, ...]) -> dict[str, Scopes]:
    """What the arrays share: no two that the kernel writes overlap, nor one that it reads with one that it
    writes."""
    arrays = [p for p in parameters if p.kind not in ("size", "literal")]
    domain = module.add_metadata(["jitgrad"])
    own = {p.name: module.add_metadata([p.name, domain]) for p in arrays if p.kind != "input"}
    found = {}
    for p in arrays:
        mine = [own[p.name]] if p.name in own else []
        others = [scope for name, scope in own.items() if name != p.name]
        marks = (module.add_metadata(scopes) if scopes else None for scopes in (mine, others))
        found[p.name] = Scopes(*marks)
    return found


def _relax(module: ir.Module) -> None:
    """Let float arithmetic be contracted and reassociated."""
    for function in module.functions:
        for block in function.blocks:
            for instruction in block.instructions:
                if instruction.opname in _RELAXED:
                    instruction.flags.extend(FAST)


class _Function:
    """Writes one function: `names` holds the value or span that each name stands for at this point."""

    def __init__(
        self,
        module: ir.Module,
        symbol: str,
        source: Source,
        scopes: dict[str, Scopes],
        filename: str,
    ) -> None:
        self.function = ir.Function(module, CONVENTION, symbol)
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.parameters, self.scopes, self.filename = source.parameters, scopes, filename
        self.streams = source.streams
        self.names: dict[str, Operand] = {}
        self.outer: set[str] = set()

    def write(self, definition: ast.FunctionDef) -> None:
        used = {node.id for node in ast.walk(definition) if isinstance(node, ast.Name)}
        self._unpack(used)
        self._statements(definition.body)
        if self.streams:
            settle(self.builder)
        self.builder.ret_void()

    def _unpack(self, used: set[str]) -> None:
        """Load the parameters from the argument block; temporaries lie in the scratch memory."""
        block, low, high, scratch = self.function.args
        self.names = {"lo": Value(self.builder, low, WORD), "hi": Value(self.builder, high, WORD)}
        scratch = self._aligned(scratch)
        for place, parameter in enumerate(self.parameters):
            if parameter.name not in used:
                continue
            slot = self.builder.gep(block, [WORD.llvm(place)], source_etype=WORD.llvm)
            kind = kind_of(parameter.dtype)
            if parameter.kind in ("size", "literal"):
                self.names[parameter.name] = Span(self.builder, slot, kind)[0]
                continue
            if parameter.kind == "temp":
                offset = self.builder.load(slot, typ=WORD.llvm)
                address = self.builder.gep(scratch, [offset], source_etype=ir.IntType(8))
            else:
                address = self.builder.load(slot, typ=ADDRESS)
            streams = self.streams and parameter.kind == "output"
            self.names[parameter.name] = Span(
                self.builder, address, kind, self.scopes[parameter.name], streams
            )

    def _aligned(self, pointer: ir.Value) -> ir.Value:
        """The next address on a cache line: vectors across two lines cost two accesses."""
        raised = self.builder.add(self.builder.ptrtoint(pointer, WORD.llvm), WORD.llvm(LINE - 1))
        return self.builder.inttoptr(self.builder.and_(raised, WORD.llvm(-LINE)), ADDRESS)

    # Statements -----------------------------------------------------------------------------------------

    def _statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._assign(name, self._operand(value), statement)
                case ast.Assign(targets=[ast.Subscript(value=span, slice=place)], value=value):
                    self._span(span)[self._word(place)] = self._value(value)
                case ast.For(target=ast.Name(id=name), iter=bounds, body=inner):
                    self._loop(name, bounds, inner)
                case ast.Expr(value=ast.Call() as call):
                    self._call(call)
                case _:
                    raise self._unknown(statement)

    def _assign(self, name: str, operand: Operand, statement: ast.stmt) -> None:
        if name in self.outer:
            raise self._unknown(statement, f"{name} would keep its value from one iteration to the next")
        if not isinstance(operand, int) and isinstance(operand.raw, ir.Instruction):
            operand.raw.name = name
        self.names[name] = operand

    def _loop(self, name: str, bounds: ast.expr, body: list[ast.stmt]) -> None:
        match bounds:
            case ast.Call(func=ast.Name(id="range" | "few" as form), args=[*first, last]) if len(first) < 2:
                low = self._word(first[0]) if first else word(self.builder, 0)
                high = self._word(last)
            case _:
                raise self._unknown(bounds)
        written = self._written(name, body) if self.streams else []
        if written and form == "range":
            self._streamed(name, low, high, body, written)
        else:
            # Narrow vectors have no masks.
            self._counted(name, low, high, body, form == "few" and native.vector_bits() > 128)

    def _counted(self, name: str, low: Value, high: Value, body: list[ast.stmt], short: bool = False) -> None:
        names, outer = self.names, self.outer
        with counted(self.builder, low, high, short) as index:
            self.names, self.outer = {**names, name: index}, set(names)
            self._statements(body)
        self.names, self.outer = names, outer

    def _written(self, index: str, body: list[ast.stmt]) -> list[str]:
        """The streaming spans of which an innermost loop writes the element at its index and nothing else."""
        nodes = [node for statement in body for node in ast.walk(statement)]
        if any(isinstance(node, ast.For) for node in nodes):
            return []
        streaming = {text for text, span in self.names.items() if isinstance(span, Span) and span.streams}
        mentioned = [node.id for node in nodes if isinstance(node, ast.Name)]
        found = []
        for statement in body:
            match statement:
                case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=span), slice=ast.Name(id=place))]):
                    if place == index and span in streaming and mentioned.count(span) == 1:
                        found.append(span)
        return found

    def _streamed(self, name: str, low: Value, high: Value, body: list[ast.stmt], written: list[str]) -> None:
        """Run a loop part by part: each is written to near memory, whence whole lines go past the caches.

        LLVM vectorises no loop that sends them there itself.
        """
        outputs = {
            text: span for text, span in self.names.items() if isinstance(span, Span) and text in written
        }
        parts = {text: nearby(self.builder, span.kind, PART) for text, span in outputs.items()}
        names, count = self.names, (high - low + (PART - 1)) / PART
        with counted(self.builder, 0, count) as number:
            first = low + number * PART
            last = minimum(first + PART, high)
            self.names = names | {text: part.offset(-first) for text, part in parts.items()}
            self._counted(name, first, last, body)
            for text, span in outputs.items():
                stream(span.offset(first), parts[text], last - first)
        self.names = names

    def _unknown(self, node: ast.AST, reason: str = "") -> SyntaxError:
        where = (self.filename, getattr(node, "lineno", 0), getattr(node, "col_offset", 0) + 1, None)
        return SyntaxError(f"no part of the kernels' dialect: {reason or ast.unparse(node)}", where)

    # Expressions ----------------------------------------------------------------------------------------

    def _operand(self, node: ast.expr) -> Operand:
        match node:
            case ast.Name(id=name) if name in self.names:
                return self.names[name]
            case ast.Constant(value=int(number)):
                return number
            case ast.Subscript(value=span, slice=place):
                return self._span(span)[self._word(place)]
            case ast.BinOp(left=left, op=symbol, right=right) if type(symbol) in _ARITHMETIC:
                return _arithmetic(type(symbol), self._number(left), self._number(right))
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -self._number(inner)
            case ast.UnaryOp(op=ast.Invert(), operand=inner):
                return ~self._number(inner)
            case ast.Compare(left=left, ops=[symbol], comparators=[right]) if type(symbol) in _COMPARISONS:
                result: Value = _COMPARISONS[type(symbol)](*_alike(self._number(left), self._number(right)))
                return result
            case ast.IfExp(test=test, body=yes, orelse=no):
                return self._conditional(self._value(test), yes, self._value(no))
            case ast.Call():
                found = self._call(node)
                if found is not None:
                    return found
        raise self._unknown(node)

    def _number(self, node: ast.expr) -> Value | int:
        operand = self._operand(node)
        assert not isinstance(operand, Span)
        return operand

    def _value(self, node: ast.expr) -> Value:
        return word(self.builder, self._number(node))

    def _word(self, node: ast.expr) -> Value:
        return cast(self._value(node), WORD)

    def _span(self, node: ast.expr) -> Span:
        operand = self._operand(node)
        assert isinstance(operand, Span)
        return operand

    def _conditional(self, test: Value, node: ast.expr, no: Value) -> Value:
        """Choose between values; what reads memory runs only where the condition holds."""
        if not any(isinstance(part, ast.Subscript) for part in ast.walk(node)):
            return test.choose(self._value(node), no)
        before = self.builder.basic_block
        with self.builder.if_then(test.raw):
            yes = self._value(node)
            inside = self.builder.basic_block
        result = self.builder.phi(no.kind.llvm)
        result.add_incoming(yes.raw, inside)
        result.add_incoming(no.raw, before)
        return Value(self.builder, result, no.kind)

    # Calls ----------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> Operand | None:
        assert isinstance(node.func, ast.Name)
        name, arguments = node.func.id, [self._operand(argument) for argument in node.args]
        match name, arguments:
            case "offset", [Span() as span, (Value() | int()) as elements]:
                return span.offset(elements)
            case "inside", [(Value() | int()) as position, (Value() | int()) as size]:
                return word(self.builder, position).bitcast("uint") < word(self.builder, size).bitcast("uint")
            case "select", [Value() as condition, yes, no]:
                return select(condition, *_alike(yes, no))
            case "abs", [Value() as x]:
                return self._routine("fabs", [x])
            case _, [(Value() | int()) as number] if name in _DTYPES:
                return cast(word(self.builder, number), _DTYPES[name])
        if name in reductions.FORMS:
            return self._reduction(name, arguments)
        if name.removesuffix("_step") in STEPS:
            stepped: Value = STEPS[name.removesuffix("_step")](*_alike(*arguments))
            return stepped
        if name in ROUTINES:
            return self._routine(name, arguments)
        raise self._unknown(node)

    def _routine(self, name: str, arguments: list[Any]) -> Value:
        """A small function in place, others as calls of the library."""
        routine, values = ROUTINES[name], _alike(*arguments)
        kind = values[0].kind
        if not (kind.floating or routine.integers):
            raise TypeError(f"vmath.{name} takes float32 or float64, got {kind.family}{kind.bits}")
        if routine.inline or not kind.floating:
            return routine.body(*values)
        function = library.declare(self.builder.module, name, kind)
        return Value(self.builder, self.builder.call(function, [value.raw for value in values]), kind)

    def _reduction(self, name: str, arguments: list[Any]) -> Value | None:
        span = arguments[0]
        function = reductions.declare(self.builder.module, name, span.kind)
        raw = [a.raw if isinstance(a, Span) else word(self.builder, a).raw for a in arguments]
        result = self.builder.call(function, raw)
        if isinstance(result.type, ir.VoidType):
            return None
        return cast(Value(self.builder, result, stored(span.kind)), span.kind)


def _alike(*operands: Any) -> list[Value]:
    """Bring operands to one type: a bare number takes that of the others, integers are widened to int64."""
    first = next(operand for operand in operands if isinstance(operand, Value))
    values = [o if isinstance(o, Value) else first.constant(o) for o in operands]
    if all(value.kind == first.kind for value in values):
        return values
    if any(value.kind.floating for value in values):
        names = ", ".join(f"{value.kind.family}{value.kind.bits}" for value in values)
        raise TypeError(f"operands of one type are needed, got {names}")
    return [cast(value, WORD) for value in values]


def _arithmetic(symbol: type[ast.operator], x: Value | int, y: Value | int) -> Value | int:
    """Apply an operator of Python; sizes, the only integers that are divided, are not negative."""
    if isinstance(x, int) and isinstance(y, int):
        folded: int = _ARITHMETIC[symbol](x, y)
        return folded
    left, right = _alike(x, y)
    if left.kind == BOOL:
        combined: Value = _TRUTH.get(symbol, _ARITHMETIC[symbol])(left, right)
        return combined
    if left.kind.floating or symbol not in (ast.Div, ast.FloorDiv, ast.Mod):
        result: Value = _ARITHMETIC[symbol](left, right)
        return result
    if symbol is ast.Div:
        return cast(left, FLOAT64) / cast(right, FLOAT64)
    left, right = left.bitcast("uint"), right.bitcast("uint")
    return (left % right if symbol is ast.Mod else left / right).bitcast("int")


def cast(value: Value, kind: Kind) -> Value:
    """Convert a value as NumPy's astype does, except that a float beyond an integer's range is undefined."""
    if value.kind == kind:
        return value
    if kind == BOOL:
        return value != 0
    if value.kind.floating and not kind.floating:
        convert = value.builder.fptosi if kind.family == "int" else value.builder.fptoui
        return Value(value.builder, convert(value.raw, kind.llvm), kind)
    if value.bits == kind.bits and not value.kind.floating and not kind.floating:
        return value.bitcast(kind.family)
    return value.astype(kind)
