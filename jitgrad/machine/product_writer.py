"""Functions in LLVM IR under construction: structured loops, and elements of one dtype in vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from jitgrad.machine.product_arguments import Registers

WORD, POINTER, FLAG = ir.IntType(64), ir.PointerType(), ir.IntType(1)


class Function:
    """A function under construction, with structured loops."""

    def __init__(self, module: ir.Module, name: str, parameters: str, exported: bool = False) -> None:
        """`parameters` has a p for each pointer, a w for each word."""
        kinds = [POINTER if kind == "p" else WORD for kind in parameters]
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
        self.function.linkage = "external" if exported else "internal"
        self.function.attributes.add("noinline")
        self.entry = self.function.append_basic_block("entry")
        self.build = ir.IRBuilder(self.function.append_basic_block("body"))
        self.args: Sequence[Any] = self.function.args

    def finish(self) -> ir.Function:
        self.build.ret_void()
        ir.IRBuilder(self.entry).branch(self.function.blocks[1])
        return self.function

    def local(self, kind: ir.Type, count: int = 1) -> Any:
        slot = ir.IRBuilder(self.entry).alloca(kind, ir.Constant(WORD, count))
        slot.align = 64
        return slot

    @contextmanager
    def loop(self, stop: Any, step: Any = 1, start: Any = 0) -> Iterator[Any]:
        build, before = self.build, self.build.block
        head, body, end = (self.function.append_basic_block(name) for name in ("head", "loop", "end"))
        build.branch(head)
        build.position_at_end(head)
        index = build.phi(WORD)
        index.add_incoming(word(start), before)
        build.cbranch(build.icmp_signed("<", index, word(stop)), body, end)
        build.position_at_end(body)
        yield index
        index.add_incoming(build.add(index, word(step)), build.block)
        build.branch(head)
        build.position_at_end(end)

    def least(self, x: Any, y: Any) -> Any:
        x, y = word(x), word(y)
        return self.build.select(self.build.icmp_signed("<", x, y), x, y)

    def sum(self, first: Any, *products: Any) -> Any:
        """first + a * b + c * d + ..., of words."""
        for a, b in zip(products[::2], products[1::2], strict=True):
            first = self.build.add(word(first), self.build.mul(word(a), word(b)))
        return first


def word(value: Any) -> Any:
    return ir.Constant(WORD, value) if isinstance(value, int) else value


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
