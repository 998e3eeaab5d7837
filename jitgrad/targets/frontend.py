"""The text of emitted functions to LLVM IR for this CPU: one thread runs a range of units."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir

from jitgrad.machine import native
from jitgrad.targets import reductions
from jitgrad.targets.lowering import Lowering, Operand, array_scopes, cast, one_at_a_time, relax
from jitgrad.targets.memory import (
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
from jitgrad.targets.source import Source
from jitgrad.vmath.exact import minimum
from jitgrad.vmath.value import Value

PART = 256  # elements between two loads that wait for memory: few enough to overlap

ADDRESS = ir.PointerType()
# (argument block, first unit, unit after the last, scratch memory)
CONVENTION = ir.FunctionType(ir.VoidType(), [ADDRESS, WORD.llvm, WORD.llvm, ADDRESS])


def llvm_ir(source: Source, symbol: str, filename: str) -> str:
    """Return LLVM IR of the source's functions, exported as `<symbol>_kernel` and `<symbol>_finish`."""
    with one_at_a_time:
        module = ir.Module(symbol)
        scopes = array_scopes(module, source.parameters)
        for definition in ast.parse(source.text, filename).body:
            assert isinstance(definition, ast.FunctionDef)
            function = ir.Function(module, CONVENTION, f"{symbol}_{definition.name}")
            _Function(function, source, scopes, filename).write(definition)
        if source.fastmath:
            relax(module)
        return str(module)


class _Function(Lowering):
    """A function that unpacks an argument block."""

    def __init__(
        self, function: ir.Function, source: Source, scopes: dict[str, Scopes], filename: str
    ) -> None:
        super().__init__(function, filename)
        self.parameters, self.scopes, self.streams = source.parameters, scopes, source.streams

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

    # Loops ----------------------------------------------------------------------------------------------

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

    # Calls ----------------------------------------------------------------------------------------------

    def _function(self, name: str) -> Callable[[list[Any]], Operand | None] | None:
        return partial(self._reduction, name) if name in reductions.FORMS else None

    def _reduction(self, name: str, arguments: list[Any]) -> Value | None:
        span = arguments[0]
        function = reductions.declare(self.builder.module, name, span.kind)
        raw = [a.raw if isinstance(a, Span) else word(self.builder, a).raw for a in arguments]
        result = self.builder.call(function, raw)
        if isinstance(result.type, ir.VoidType):
            return None
        return cast(Value(self.builder, result, stored(span.kind)), span.kind)
