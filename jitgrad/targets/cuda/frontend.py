"""The text for groups of threads to LLVM IR for a GPU: each thread runs the function, groups take units."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir

from jitgrad.ops.reductions import identity
from jitgrad.targets.cuda import vectors
from jitgrad.targets.cuda.device import WARP
from jitgrad.targets.lowering import Lowering, Operand, array_scopes, one_at_a_time, relax
from jitgrad.targets.memory import BOOL, BYTE, WORD, Scopes, Span, kind_of, stored, word
from jitgrad.targets.source import COMBINE, Parameter
from jitgrad.vmath.value import Kind, Value

NARROW = Kind("int", 32)
VECTOR_BYTES = 16  # of the widest load of one thread
MULTIPLE = 4  # elements: the most that one load brings, and of what aligned rows are multiples
LONGEST_BODY = 48  # statements of a loop that is written once for each element of a vector
LONG_BODY = 24  # beyond these, half as many elements: each holds registers
# Threads of a block for which there are registers however many a thread takes. Where ptxas is told of a limit
# that does not bind, it takes a fifth more registers, and fewer threads run at once.
ANY_BLOCK = 256
SHARED, GLOBAL = 3, 1  # address spaces
GENERIC = ir.PointerType()
ONE_UNIT = "range(lo, hi)"


@dataclass(frozen=True, slots=True)
class Form:
    """What a kernel is compiled for, besides its text.

    A group has `threads` threads; several groups of one warp, or one of several warps, make a block of
    `block` threads. Where it is `spread`, the blocks of a column of the grid are one group together.
    Temporaries lie in `shared` memory, or else in global scratch memory. Where it is `aligned`, all arrays
    and rows begin at multiples of 16 bytes. Where an output is `aliased`, it lies in the memory of an input.
    With `fastmath` arithmetic may be contracted and reassociated.
    """

    threads: int = WARP
    block: int = 8 * WARP
    spread: bool = False
    shared: bool = True
    aligned: bool = False
    aliased: bool = False
    fastmath: bool = False


def llvm_ir(text: str, parameters: Sequence[Parameter], form: Form, symbol: str, filename: str) -> str:
    """Return LLVM IR of a module whose first function is exported as `symbol`.

    It takes words: how many units there are, the bytes of temporaries of a group, the address of global
    scratch memory, then its parameters.
    """
    with one_at_a_time:
        module = ir.Module(symbol)
        scopes = _scopes(module, parameters, form)
        entry, *others = ast.parse(text, filename).body
        assert isinstance(entry, ast.FunctionDef)
        functions = {part.name: part for part in others if isinstance(part, ast.FunctionDef)}
        writer = _Function(module, symbol, parameters, form, scopes, filename)
        writer.write(entry, functions)
        if form.block > ANY_BLOCK:
            limit = [writer.function, "maxntidx", NARROW.llvm(form.block)]
            module.add_named_metadata("nvvm.annotations", limit)
        if form.fastmath:
            relax(module)
        return str(module)


def _scopes(module: ir.Module, parameters: Sequence[Parameter], form: Form) -> dict[str, Scopes]:
    """What arrays share; a load of an input that nothing writes may go through the cache of constants."""
    found = array_scopes(module, tuple(parameters))
    if not form.aliased:
        fixed = module.add_metadata([])
        found |= {p.name: replace(found[p.name], fixed=fixed) for p in parameters if p.kind == "input"}
    return found


class _Function(Lowering):
    """A function that all threads of a grid enter."""

    def __init__(
        self,
        module: ir.Module,
        symbol: str,
        parameters: Sequence[Parameter],
        form: Form,
        scopes: dict[str, Scopes],
        filename: str,
    ) -> None:
        kinds = [GENERIC if p.kind in ("input", "output", "work") else WORD.llvm for p in parameters]
        signature = ir.FunctionType(ir.VoidType(), [WORD.llvm, WORD.llvm, GENERIC, *kinds])
        super().__init__(ir.Function(module, signature, symbol), filename)
        self.function.calling_convention = "ptx_kernel"
        self.function.attributes.add("nounwind")
        self.module, self.parameters, self.form, self.scopes = module, parameters, form, scopes
        self.functions: dict[str, ast.FunctionDef] = {}
        self.slots: dict[str, Span] = {}
        self.varying: set[str] = set()
        self.returned: Operand | None = None
        self.wide = True

    def write(self, entry: ast.FunctionDef, functions: dict[str, ast.FunctionDef]) -> None:
        self.functions = functions
        self._unpack(entry)
        self._statements(entry.body)
        self.builder.ret_void()

    # Parameters -----------------------------------------------------------------------------------------

    def _unpack(self, function: ast.FunctionDef) -> None:
        units, size, scratch, *given = self.function.args
        self.names["units"] = Value(self.builder, units, WORD)
        stepped = sizes_of_steps(function) if self.form.aligned else set()
        base = self._temporaries(Value(self.builder, size, WORD), scratch)
        for parameter, raw in zip(self.parameters, given, strict=True):
            kind = kind_of(parameter.dtype)
            if parameter.kind in ("size", "literal"):
                number = self._number_of(raw, kind)
                aligned = parameter.name in stepped
                self.names[parameter.name] = number & -MULTIPLE if aligned else number
            elif parameter.kind == "temp":
                address = self.builder.gep(base, [raw], source_etype=BYTE.llvm)
                self.names[parameter.name] = Span(self.builder, address, kind, self.scopes[parameter.name])
            else:
                raw.attributes.align = VECTOR_BYTES if self.form.aligned else parameter.dtype.itemsize
                address = self._generic(raw, GLOBAL)
                self.names[parameter.name] = Span(self.builder, address, kind, self.scopes[parameter.name])

    def _number_of(self, raw: ir.Value, kind: Kind) -> Value:
        """The number of which a word holds the bits."""
        value = Value(self.builder, raw, WORD)
        if kind == BOOL:
            return value.astype(BYTE) != 0
        if kind.bits < WORD.bits:
            value = value.astype(Kind("int", kind.bits))
        return value.bitcast(kind.family)

    def _generic(self, raw: ir.Value, space: int) -> ir.Value:
        """A generic pointer of which LLVM knows where it points."""
        narrow = self.builder.addrspacecast(raw, ir.PointerType(space))
        return self.builder.addrspacecast(narrow, GENERIC)

    def _temporaries(self, size: Value, scratch: ir.Value) -> ir.Value:
        """Where the group's temporaries begin."""
        if self.form.shared:
            kind = ir.ArrayType(BYTE.llvm, 0)
            if "jitgrad_shared" not in self.module.globals:
                variable = ir.GlobalVariable(self.module, kind, "jitgrad_shared", addrspace=SHARED)
                variable.align = VECTOR_BYTES
            memory = self.builder.addrspacecast(self.module.globals["jitgrad_shared"], GENERIC)
            place = self._group_in_block()
        else:
            memory, place = self._generic(scratch, GLOBAL), self._group()
        return self.builder.gep(memory, [(place * size).raw], source_etype=BYTE.llvm)

    # Threads --------------------------------------------------------------------------------------------

    def _special(self, register: str) -> Value:
        signature = ir.FunctionType(NARROW.llvm, [])
        name = f"llvm.nvvm.read.ptx.sreg.{register}"
        function = self.module.globals.get(name) or ir.Function(self.module, signature, name)
        return Value(self.builder, self.builder.call(function, []), Kind("uint", 32))

    def _wide(self, narrow: Value) -> Value:
        return narrow.astype(Kind("uint", 64)).bitcast("int")

    @property
    def _groups_in_block(self) -> int:
        return self.form.block // self.form.threads

    def _thread(self) -> Value:
        number = self._special("tid.x")
        if self._groups_in_block > 1:
            number = number & (self.form.threads - 1)
        if self.form.spread:
            number = number + self._special("ctaid.y") * self.form.threads
        return self._wide(number)

    def _threads(self) -> Value:
        """How many threads share a loop."""
        if self.form.spread:
            return self._wide(self._special("nctaid.y") * self.form.threads)
        return word(self.builder, self.form.threads)

    def _group_in_block(self) -> Value:
        if self._groups_in_block == 1:
            return Value(self.builder, WORD.llvm(0), WORD)
        return self._wide(self._special("tid.x") >> _log2(self.form.threads))

    def _group(self) -> Value:
        return self._wide(self._special("ctaid.x")) * self._groups_in_block + self._group_in_block()

    def _groups(self) -> Value:
        return self._wide(self._special("nctaid.x")) * self._groups_in_block

    def _sync(self) -> None:
        if self.form.threads == WARP:
            self._intrinsic("llvm.nvvm.bar.warp.sync", ir.VoidType(), [NARROW.llvm(-1)])
        else:
            self._intrinsic("llvm.nvvm.barrier0", ir.VoidType(), [])

    def _intrinsic(self, name: str, returns: ir.Type, operands: list[ir.Value]) -> ir.Instruction:
        signature = ir.FunctionType(returns, [operand.type for operand in operands])
        function = self.module.globals.get(name) or ir.Function(self.module, signature, name)
        function.attributes.add("convergent")
        return self.builder.call(function, operands)

    def _shuffle(self, value: Value, lane: Value) -> Value:
        """The value that another lane of the warp has."""
        bits = value.bitcast("uint") if value.kind != BOOL else value.astype(Kind("uint", 32))
        if value.bits == 64:
            low, high = (self._shuffled(part.astype(NARROW), lane) for part in (bits, bits >> 32))
            wide = Kind("uint", 64)
            joined = low.astype(wide) | (high.astype(wide) << 32)
            return joined.bitcast(value.kind.family)
        moved = self._shuffled(bits.astype(Kind("uint", 32)), lane)
        if value.kind == BOOL:
            return moved != 0
        return moved.astype(Kind("uint", value.bits)).bitcast(value.kind.family)

    def _shuffled(self, word: Value, lane: Value) -> Value:
        place = lane.astype(NARROW)
        operands = [NARROW.llvm(-1), word.raw, place.raw, NARROW.llvm(WARP - 1)]
        raw = self._intrinsic("llvm.nvvm.shfl.sync.idx.i32", NARROW.llvm, operands)
        return Value(self.builder, raw, Kind("uint", 32))

    # Statements -----------------------------------------------------------------------------------------

    def _statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.If(test=test, body=body, orelse=[]):
                names = self.names
                with self.builder.if_then(self._value(test).raw):
                    self.names = dict(names)
                    self._statements(body)
                self.names = names
            case ast.Return(value=ast.expr() as value):
                self.returned = self._operand(value)
            case ast.Pass():
                pass
            case _:
                super()._statement(statement)

    def _assign(self, name: str, operand: Operand, statement: ast.stmt) -> None:
        if name not in self.varying:
            super()._assign(name, operand, statement)
            return
        assert not isinstance(operand, Span)
        value = word(self.builder, operand)
        if name not in self.slots:
            with self.builder.goto_entry_block():
                place = self.builder.alloca(stored(value.kind).llvm)
            self.slots[name] = Span(self.builder, place, value.kind)
        self.slots[name][0] = value

    def _operand(self, node: ast.expr) -> Operand:
        if isinstance(node, ast.Name) and node.id in self.slots:
            return self.slots[node.id][0]
        return super()._operand(node)

    # Loops ----------------------------------------------------------------------------------------------

    def _loop(self, name: str, bounds: ast.expr, body: list[ast.stmt]) -> None:
        assert isinstance(bounds, ast.Call) and isinstance(bounds.func, ast.Name)
        given = [self._word(argument) for argument in bounds.args]
        low, high = given[:2] if len(given) > 1 else (word(self.builder, 0), given[0])
        if bounds.func.id != "each":
            step = given[2] if len(given) > 2 else word(self.builder, 1)
            if ast.unparse(bounds) == ONE_UNIT:
                self._turn(name, low, body)
            else:
                with self._turns(low, high, step) as index:
                    self._turn(name, index, body)
            return
        thread, threads = self._thread(), self._threads()
        width = self._width(name, body) if len(given) == 1 else 1
        if width > 1:
            low = high & -width
            with self._turns(thread * width, low, threads * width) as index:
                self._vector(name, index, body, width)
        with self._turns(low + thread, high, threads) as index:
            self._turn(name, index, body)

    @contextmanager
    def _turns(self, low: Value, high: Value, step: Value) -> Iterator[Value]:
        """A loop over low, low + step, ... below high."""
        builder, before = self.builder, self.builder.basic_block
        body, end = (builder.append_basic_block(name) for name in ("loop", "end"))
        builder.cbranch((low < high).raw, body, end)
        builder.position_at_end(body)
        index = builder.phi(WORD.llvm, "i")
        index.add_incoming(low.raw, before)
        yield self._afresh(Value(builder, index, WORD))
        following = builder.add(index, step.raw, flags=("nuw", "nsw"))
        index.add_incoming(following, builder.basic_block)
        builder.cbranch((Value(builder, following, WORD) < high).raw, body, end)
        builder.position_at_end(end)

    def _afresh(self, index: Value) -> Value:
        """The same number, of which LLVM knows nothing, so that each turn computes its addresses from it.

        Else LLVM carries an address of 64 bits for each array from turn to turn, in two registers, where the
        assembler adds the index to what it reads from constant memory.
        """
        signature = ir.FunctionType(WORD.llvm, [WORD.llvm])
        raw = self.builder.asm(signature, "mov.b64 $0, $1;", "=l,l", [index.raw], False)
        return Value(self.builder, raw, WORD)

    def _turn(self, name: str, index: Value, body: list[ast.stmt]) -> None:
        names, outer = self.names, self.outer
        self.names, self.outer = {**names, name: index}, set(names)
        self._statements(body)
        self.names, self.outer = names, outer

    def _vector(self, name: str, index: Value, body: list[ast.stmt], width: int) -> None:
        """Several neighbouring turns: one load before them for each array, one store for each after them."""
        names = self.names
        reads, writes = vectors.read_and_written(name, body)
        spans = {text: self._span_named(text) for text in (*reads, *writes)}
        loaded = {text: vectors.load(spans[text], index, width) for text in reads}
        written: dict[str, list[Value]] = {text: [] for text in writes}
        for number in range(width):
            elements = {
                text: vectors.Element.of(span, number, loaded.get(text), written.get(text))
                for text, span in spans.items()
            }
            self.names = {**names, **elements}
            self._turn(name, index + number, body)
        self.names = names
        for text, values in written.items():
            vectors.store(spans[text], index, values)

    def _span_named(self, text: str) -> Span:
        span = self.names[text]
        assert isinstance(span, Span)
        return span

    def _width(self, name: str, body: list[ast.stmt]) -> int:
        """How many neighbouring elements a thread takes at once: as many as one load can bring, or half."""
        nodes = [node for statement in body for node in ast.walk(statement)]
        if not (self.form.aligned and self.wide) or len(body) > LONGEST_BODY:
            return 1
        if any(isinstance(node, ast.For) for node in nodes):
            return 1
        bits = [8]
        for node in nodes:
            if isinstance(node, ast.Subscript):
                place = ast.unparse(node.slice)
                if place == name:
                    bits.append(stored(self._span(node.value).kind).bits)
                elif re.search(rf"\b{name}\b", place):
                    return 1
        most = min(MULTIPLE, VECTOR_BYTES * 8 // max(bits))
        if len(bits) == 1:
            return 1
        return max(1, most // 2) if len(body) > LONG_BODY else most

    # Calls ----------------------------------------------------------------------------------------------

    def _function(self, name: str) -> Callable[[list[Any]], Operand | None] | None:
        found: dict[str, Callable[..., Operand | None]] = {
            "thread": self._thread,
            "group": self._group,
            "groups": self._groups,
            "warp": lambda: self._thread() >> _log2(WARP),
            "warps": lambda: word(self.builder, self.form.threads // WARP),
            "sync": self._sync,
            "shuffle": lambda value, lane: self._shuffle(value, word(self.builder, lane)),
        }
        if name in found:
            return lambda arguments: found[name](*arguments)
        op, _, last = name.partition("_")
        if last == "identity" and op in COMBINE:
            return partial(self._identity, op)
        if name in self.functions:
            return partial(self._inline, self.functions[name])
        return None

    def _identity(self, op: str, arguments: list[Any]) -> Value:
        (values,) = arguments
        kind: Kind = values.kind
        number = identity(op, np.dtype(bool) if kind == BOOL else np.dtype(f"{kind.family}{kind.bits}"))
        return Value(self.builder, kind.llvm(number.item()), kind)

    def _inline(self, function: ast.FunctionDef, arguments: list[Any]) -> Operand | None:
        """Write a function in place of its call. What it assigns more than once keeps its value in loops."""
        outside = self.names, self.outer, self.slots, self.varying, self.wide
        self.names = {a.arg: given for a, given in zip(function.args.args, arguments, strict=True)}
        self.outer, self.slots, self.varying, self.wide = set(), {}, _assigned_again(function), False
        self.returned = None
        self._statements(function.body)
        self.names, self.outer, self.slots, self.varying, self.wide = outside
        return self.returned


def _log2(number: int) -> int:
    return number.bit_length() - 1


def _assigned_again(function: ast.FunctionDef) -> set[str]:
    names = [
        node.targets[0].id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    ]
    return {name for name in names if names.count(name) > 1}


def sizes_of_steps(function: ast.FunctionDef) -> set[str]:
    """Return the names in the distances between rows, which are multiples in aligned form."""
    return {
        name.id
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "offset"
        for name in ast.walk(node.args[1])
        if isinstance(name, ast.Name)
    }
