"""Neighbouring elements that one thread loads and stores at once."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from llvmlite import ir

from jitgrad.targets.memory import BOOL, Span, stored
from jitgrad.vmath.value import Kind, Value

PLACE = Kind("int", 32)


@dataclass(frozen=True, slots=True)
class Element(Span):
    """One element of a span while several are worked on: reading takes it from what was loaded, what is
    written is collected."""

    number: int = 0
    loaded: Value | None = None
    written: list[Value] | None = None

    @staticmethod
    def of(span: Span, number: int, loaded: Value | None, written: list[Value] | None) -> Element:
        """Return element `number` of the vector at hand."""
        return Element(span.builder, span.raw, span.kind, span.scopes, span.streams, number, loaded, written)

    def __getitem__(self, place: Value | int) -> Value:
        assert self.loaded is not None
        raw = self.builder.extract_element(self.loaded.raw, PLACE.llvm(self.number))
        value = Value(self.builder, raw, stored(self.kind))
        return value != 0 if self.kind == BOOL else value

    def __setitem__(self, place: Value | int, value: Value) -> None:
        assert self.written is not None and value.kind == self.kind
        self.written.append(value.astype(stored(self.kind)))


def load(span: Span, place: Value, width: int) -> Value:
    """Load neighbouring elements, the first of which lies at a multiple of their width."""
    vectors = span.vectors(width)
    value = vectors[place]
    value.raw.align = width * vectors.kind.bits // 8
    return value


def store(span: Span, place: Value, elements: list[Value]) -> None:
    """Store neighbouring elements in the same way."""
    kind = replace(stored(span.kind), lanes=len(elements))
    raw = ir.Constant(kind.llvm, ir.Undefined)
    for number, element in enumerate(elements):
        raw = span.builder.insert_element(raw, element.raw, PLACE.llvm(number))
    access = span.vectors(kind.lanes).put(place, Value(span.builder, raw, kind))
    access.align = kind.lanes * kind.bits // 8


def read_and_written(index: str, body: list[ast.stmt]) -> tuple[list[str], list[str]]:
    """Return the names of the spans that each turn of a loop reads at its index, whatever its values, and of
    those that it writes there last of all."""
    reads: dict[str, int] = {}
    writes: dict[str, int] = {}
    other: set[str] = set()
    for place, statement in enumerate(body):
        sometimes = {
            id(part)
            for node in ast.walk(statement)
            if isinstance(node, ast.IfExp)
            for part in ast.walk(node.body)
        }
        for node in ast.walk(statement):
            match node:
                case ast.Subscript(value=ast.Name(id=name), slice=ast.Name(id=at)) if at == index:
                    if (
                        id(node) in sometimes
                        or place > writes.get(name, place)
                        or (isinstance(node.ctx, ast.Store) and name in writes)
                    ):
                        other.add(name)
                    (writes if isinstance(node.ctx, ast.Store) else reads)[name] = place
    return [name for name in reads if name not in other], [name for name in writes if name not in other]
