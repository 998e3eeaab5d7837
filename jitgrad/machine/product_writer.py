"""A module of LLVM IR whose functions work on elements of one dtype, alone and in vectors."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from jitgrad.machine.loops import POINTER, WORD, Function
from jitgrad.machine.product_arguments import Registers

FLAG = ir.IntType(1)


class Writer:
    """A module whose functions work on elements of one dtype."""

    def __init__(self, registers: Registers) -> None:
        self.registers = registers
        self.size = registers.dtype.itemsize
        self.scalar = ir.FloatType() if self.size == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, registers.lanes)
        self.module = ir.Module()

    def at(self, f: Function, base: Any, *products: Any) -> Any:
        """The address of the element at base + a * b + c * d + ..."""
        return f.build.gep(base, [f.sum(0, *products)], source_etype=self.scalar)

    def load(self, f: Function, address: Any, kind: ir.Type | None = None) -> Any:
        return f.build.load(address, typ=kind or self.scalar, align=self.size)

    def store(self, f: Function, value: Any, address: Any) -> None:
        f.build.store(value, address, align=self.size)

    def mask(self, f: Function, count: Any, lanes: int) -> Any:
        """Which of the lanes stand before `count`."""
        order = ir.Constant(ir.VectorType(WORD, lanes), list(range(lanes)))
        return f.build.icmp_signed("<", order, self.splat(f, count, lanes))

    def splat(self, f: Function, value: Any, lanes: int) -> Any:
        kind = ir.VectorType(value.type, lanes)
        single = f.build.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(WORD, 0))
        return f.build.shuffle_vector(single, single, ir.Constant(lane_numbers(lanes), [0] * lanes))

    def masked_load(
        self, f: Function, address: Any, mask: Any, kind: ir.VectorType, other: float = 0.0
    ) -> Any:
        """The elements chosen by the mask, and ``other`` in place of the rest."""
        name = f"llvm.masked.load.v{kind.count}f{8 * self.size}.p0"
        masks = ir.VectorType(FLAG, kind.count)
        function = self.declared(name, kind, [POINTER, ir.IntType(32), masks, kind])
        align = ir.Constant(ir.IntType(32), self.size)
        return f.build.call(function, [address, align, mask, ir.Constant(kind, [other] * kind.count)])

    def masked_store(self, f: Function, value: Any, address: Any, mask: Any) -> None:
        name = f"llvm.masked.store.v{value.type.count}f{8 * self.size}.p0"
        function = self.declared(name, ir.VoidType(), [value.type, POINTER, ir.IntType(32), mask.type])
        align = ir.Constant(ir.IntType(32), self.size)
        f.build.call(function, [value, address, align, mask])

    def fma(self, f: Function, x: Any, y: Any, z: Any) -> Any:
        count = f"v{x.type.count}" if isinstance(x.type, ir.VectorType) else ""
        function = self.declared(f"llvm.fma.{count}f{8 * self.size}", x.type, [x.type] * 3)
        return f.build.call(function, [x, y, z])

    def declared(self, name: str, result: ir.Type, args: list[ir.Type]) -> ir.Function:
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(result, args), name)


def lane_numbers(count: int) -> ir.VectorType:
    return ir.VectorType(ir.IntType(32), count)
