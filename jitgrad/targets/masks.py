"""Vectors of which memory holds the first lanes only, as LLVM instructions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llvmlite import ir

from jitgrad.targets.memory import Span
from jitgrad.vmath.exact import minimum
from jitgrad.vmath.value import Kind, Value

NARROW = Kind("int", 32)


@dataclass(frozen=True, slots=True)
class Mask:
    """The first lanes of a vector, those that have an element in memory."""

    builder: ir.IRBuilder
    raw: ir.Value
    lanes: int

    @staticmethod
    def of(count: Value, lanes: int) -> Mask:
        """Return the mask of the first `count` lanes, or of all if there are fewer."""
        builder, kind = count.builder, replace(NARROW, lanes=lanes)
        numbers = Value(builder, ir.Constant(kind.llvm, list(range(lanes))), kind)
        few = minimum(count, count.constant(lanes)).astype(NARROW)
        return Mask(builder, (numbers < _splat(few, lanes)).raw, lanes)

    def load(self, span: Span, others: Value) -> Value:
        """Load neighbouring elements; the other lanes are those of `others`."""
        operands = [span.raw, NARROW.llvm(span.kind.bits // 8), self.raw, others.raw]
        loaded = self._intrinsic(f"load.{others.kind.suffix}.p0", others.kind.llvm, operands)
        return Value(self.builder, loaded, others.kind)

    def store(self, span: Span, value: Value) -> None:
        """Store neighbouring elements."""
        operands = [value.raw, span.raw, NARROW.llvm(value.bits // 8), self.raw]
        self._intrinsic(f"store.{value.kind.suffix}.p0", ir.VoidType(), operands)

    def _intrinsic(self, name: str, returns: ir.Type, operands: list[ir.Value]) -> ir.Instruction:
        signature = ir.FunctionType(returns, [operand.type for operand in operands])
        function = self.builder.module.declare_intrinsic(f"llvm.masked.{name}", (), signature)
        return self.builder.call(function, operands)


def _splat(value: Value, lanes: int) -> Value:
    """Return a vector whose lanes are all `value`."""
    kind, builder = replace(value.kind, lanes=lanes), value.builder
    first = builder.insert_element(ir.Constant(kind.llvm, ir.Undefined), value.raw, NARROW.llvm(0))
    places = ir.Constant(replace(NARROW, lanes=lanes).llvm, [0] * lanes)
    return Value(builder, builder.shuffle_vector(first, first, places), kind)
