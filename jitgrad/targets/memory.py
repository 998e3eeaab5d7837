"""Spans of typed memory and counted loops, written as LLVM instructions."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from llvmlite import ir

from jitgrad.vmath.value import Kind, Value

WORD = Kind("int", 64)
LINE = 64  # bytes of a cache line
BOOL, BYTE = Kind("bool", 1), Kind("uint", 8)
_NOTHING = ir.FunctionType(ir.VoidType(), ())
_FAMILIES = {"f": "float", "i": "int", "u": "uint"}


def kind_of(dtype: np.dtype[Any]) -> Kind:
    """Return the kind of a dtype's values."""
    return BOOL if dtype.kind == "b" else Kind(_FAMILIES[dtype.kind], 8 * dtype.itemsize)


def stored(kind: Kind) -> Kind:
    """Return what memory holds for a value of this kind: a truth value takes a byte."""
    return BYTE if kind == BOOL else kind


def word(builder: ir.IRBuilder, number: Value | int) -> Value:
    """Return a size or position as a value."""
    return number if isinstance(number, Value) else Value(builder, WORD.llvm(number), WORD)


@dataclass(frozen=True, slots=True)
class Scopes:
    """What LLVM may assume of an access: it touches `own`, and nothing that the scopes of `others` cover.

    With `fixed`, the memory that it reads stays as it is while the kernel runs.
    """

    own: ir.MDValue | None
    others: ir.MDValue | None
    fixed: ir.MDValue | None = None

    def mark(self, access: ir.Instruction) -> None:
        marks = (("alias.scope", self.own), ("noalias", self.others), ("invariant.load", self.fixed))
        for name, mark in marks:
            if mark is not None:
                access.set_metadata(name, mark)


@dataclass(frozen=True, slots=True)
class Span:
    """Elements of one kind from an address on, read by `span[i]` and written by `span[i] = value`.

    Indices count elements also where the kind has several lanes, which is a vector of neighbours. What is
    written to a span that `streams` is to go to memory past the caches.
    """

    builder: ir.IRBuilder
    raw: ir.Value
    kind: Kind
    scopes: Scopes | None = None
    streams: bool = False

    def offset(self, elements: Value | int) -> Span:
        """Return the span that begins `elements` further on."""
        return replace(self, raw=self._address(elements))

    def vectors(self, lanes: int) -> Span:
        """Return the same memory, so many elements at a time."""
        return replace(self, kind=replace(stored(self.kind), lanes=lanes))

    def _address(self, place: Value | int) -> ir.Value:
        # Not inbounds: the first element of a row may lie outside where all loads are guarded.
        element = stored(self.kind).element
        return self.builder.gep(self.raw, [word(self.builder, place).raw], source_etype=element)

    def _mark(self, access: ir.Instruction, alignment: int = 0) -> None:
        access.align = alignment or self.kind.bits // 8 or 1
        if self.scopes is not None:
            self.scopes.mark(access)

    def stream(self, place: Value | int, value: Value) -> None:
        """Write whole lines past the caches, to where a line begins."""
        access = self.builder.store(value.raw, self._address(place))
        self._mark(access, LINE)
        access.set_metadata("nontemporal", self.builder.module.add_metadata([ir.IntType(32)(1)]))

    def __getitem__(self, place: Value | int) -> Value:
        kind = stored(self.kind)
        loaded = self.builder.load(self._address(place), typ=kind.llvm)
        self._mark(loaded)
        value = Value(self.builder, loaded, kind)
        return value != 0 if self.kind == BOOL else value

    def __setitem__(self, place: Value | int, value: Value) -> None:
        self.put(place, value)

    def put(self, place: Value | int, value: Value) -> ir.Instruction:
        """Write an element and return the instruction that does."""
        assert value.kind == self.kind, f"{value.kind} is stored where {self.kind} belongs"
        access = self.builder.store(value.astype(stored(self.kind)).raw, self._address(place))
        self._mark(access)
        return access


def settle(builder: ir.IRBuilder) -> None:
    """Wait for what was written past the caches: later writes, which tell other threads of it, do not."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        builder.call(builder.module.declare_intrinsic("llvm.x86.sse.sfence", (), _NOTHING), [])
    else:
        builder.fence("seq_cst")


def nearby(builder: ir.IRBuilder, kind: Kind, count: int) -> Span:
    """Return memory on the stack for so many elements, which lasts as long as the function."""
    with builder.goto_entry_block():
        memory = builder.alloca(stored(kind).element, count)
        memory.align = LINE
        return Span(builder, builder.bitcast(memory, ir.PointerType()), kind)


def stream(into: Span, values: Span, count: Value) -> None:
    """Copy elements past the caches if a line begins with the first, as far as they fill lines."""
    lanes = LINE * 8 // stored(into.kind).bits
    address = Value(into.builder, into.builder.ptrtoint(into.raw, WORD.llvm), WORD)
    lines = ((address & (LINE - 1)) == 0).choose(count & -lanes, count.constant(0))
    target, source = into.vectors(lanes), values.vectors(lanes)
    with counted(into.builder, 0, lines >> (lanes.bit_length() - 1)) as line:
        target.stream(line * lanes, source[line * lanes])
    with counted(into.builder, lines, count) as i:
        into[i] = values[i]


@contextmanager
def counted(
    builder: ir.IRBuilder, low: Value | int, high: Value | int, short: bool = False
) -> Iterator[Value]:
    """Write what follows as the body of a loop over low, low + 1, ... below high.

    The test stands at the end, as LLVM's loop passes want it, and once more before the loop. A `short` loop
    becomes vectors of which the last may be half full.
    """
    first, last = word(builder, low), word(builder, high)
    before = builder.basic_block
    body, end = (builder.append_basic_block(name) for name in ("loop", "end"))
    builder.cbranch((first < last).raw, body, end)
    builder.position_at_end(body)
    index = builder.phi(WORD.llvm, "i")
    index.add_incoming(first.raw, before)
    yield Value(builder, index, WORD)
    following = Value(builder, builder.add(index, WORD.llvm(1), flags=("nuw", "nsw")), WORD)
    index.add_incoming(following.raw, builder.basic_block)
    branch = builder.cbranch((following < last).raw, body, end)
    if isinstance(first.raw, ir.Constant) and isinstance(last.raw, ir.Constant):
        # LLVM would unroll a loop whose length is known before it vectorises loops.
        _advise(branch, ["llvm.loop.unroll.disable"])
    elif short:
        _advise(branch, ["llvm.loop.vectorize.predicate.enable", ir.IntType(1)(1)])
    builder.position_at_end(end)


def _advise(branch: ir.Instruction, hint: list[Any]) -> None:
    """Tell LLVM what to do with the loop that ends with this branch."""
    module: ir.Module = branch.module
    loop = module.add_metadata([f"loop {len(module.metadata)}"])
    loop.operands = (loop, module.add_metadata(hint))
    branch.set_metadata("llvm.loop", loop)


def folded(low: Value | int, high: Value | int, start: Value, step: Callable[[Value, Value], Value]) -> Value:
    """Write a loop that passes a value on, total = step(i, total), and return the last one."""
    builder, before = start.builder, start.builder.basic_block
    with counted(builder, low, high) as index:
        total = builder.phi(start.kind.llvm)
        following = step(index, Value(builder, total, start.kind))
        after = builder.basic_block
    result = builder.phi(start.kind.llvm)
    for phi in (total, result):
        phi.add_incoming(start.raw, before)
        phi.add_incoming(following.raw, after)
    return Value(builder, result, start.kind)
