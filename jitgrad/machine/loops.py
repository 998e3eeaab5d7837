"""Functions of LLVM IR under construction, with structured loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

WORD, POINTER = ir.IntType(64), ir.PointerType()


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
