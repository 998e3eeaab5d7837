"""The dialect of emitted functions to LLVM instructions: each expression becomes a typed value.

The dialect is Python: assignments, loops, subscripts of spans, arithmetic, comparisons, conditional
expressions, and calls of dtypes, of elementary functions and of what `dialect` defines. A name that a loop's
body assigns belongs to one iteration. What a function is given and how its loops run, each target says.
"""

from __future__ import annotations

import ast
import operator
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from jitgrad.ops.scans import STEPS
from jitgrad.targets.memory import BOOL, WORD, Scopes, Span, counted, kind_of, word
from jitgrad.targets.source import Parameter
from jitgrad.vmath import library
from jitgrad.vmath.exact import select
from jitgrad.vmath.routine import ROUTINES
from jitgrad.vmath.value import FLOAT64, Kind, Value

# NaN and infinities stay what they are.
FAST = ("contract", "reassoc", "arcp", "nsz")
_RELAXED = {"fadd", "fsub", "fmul", "fdiv", "frem", "fcmp"}

Operand = Value | Span | int

# CPython 3.11 counts the depth of a syntax tree for all threads together, and fails when two parse at once;
# llvmlite fills its table of escaped characters on first use, which another thread can see half full.
one_at_a_time = threading.Lock()

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
    ast.RShift: operator.rshift,
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


def array_scopes(module: ir.Module, parameters: tuple[Parameter, ...]) -> dict[str, Scopes]:
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


def relax(module: ir.Module) -> None:
    """Let float arithmetic be contracted and reassociated."""
    for function in module.functions:
        for block in function.blocks:
            for instruction in block.instructions:
                if instruction.opname in _RELAXED:
                    instruction.flags.extend(FAST)


class Lowering:
    """Writes one function: `names` holds the value or span that each name stands for at this point."""

    def __init__(self, function: ir.Function, filename: str) -> None:
        self.function = function
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.filename = filename
        self.names: dict[str, Operand] = {}
        self.outer: set[str] = set()

    # Statements -----------------------------------------------------------------------------------------

    def _statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, statement: ast.stmt) -> None:
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
        """Write a loop over `bounds`, as the target runs it."""
        raise NotImplementedError

    def _counted(self, name: str, low: Value, high: Value, body: list[ast.stmt], short: bool = False) -> None:
        names, outer = self.names, self.outer
        with counted(self.builder, low, high, short) as index:
            self.names, self.outer = {**names, name: index}, set(names)
            self._statements(body)
        self.names, self.outer = names, outer

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
                x, y = self._number(left), self._number(right)
                x = word(self.builder, x) if isinstance(y, int) else x
                result: Value = _COMPARISONS[type(symbol)](*alike(x, y))
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
                return select(condition, *alike(yes, no))
            case "abs", [Value() as x]:
                return self._routine("fabs", [x])
            case _, [(Value() | int()) as number] if name in _DTYPES:
                return cast(word(self.builder, number), _DTYPES[name])
        function = self._function(name)
        if function is not None:
            return function(arguments)
        if name.removesuffix("_step") in STEPS:
            stepped: Value = STEPS[name.removesuffix("_step")](*alike(*arguments))
            return stepped
        if name in ROUTINES:
            return self._routine(name, arguments)
        raise self._unknown(node)

    def _routine(self, name: str, arguments: list[Any]) -> Value:
        """A small function in place, others as calls of the library."""
        routine, values = ROUTINES[name], alike(*arguments)
        kind = values[0].kind
        if not (kind.floating or routine.integers):
            raise TypeError(f"vmath.{name} takes float32 or float64, got {kind.family}{kind.bits}")
        if routine.inline or not kind.floating:
            return routine.body(*values)
        function = library.declare(self.builder.module, name, kind)
        return Value(self.builder, self.builder.call(function, [value.raw for value in values]), kind)

    def _function(self, name: str) -> Callable[[list[Any]], Operand | None] | None:
        """What writes a call of one of the target's own functions; None for other names."""
        raise NotImplementedError


def alike(*operands: Any) -> list[Value]:
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
    left, right = alike(x, y)
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
