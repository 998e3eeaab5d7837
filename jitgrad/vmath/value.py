"""Python operators on values under construction, each of which appends one LLVM instruction.

An elementary function is a Python function over `Value`s: running it once writes its code, for one element or
for a vector of them. So bodies read like mathematics, Python's own loops and conditions happen while
compiling, every number takes the type of its partner, and integer arithmetic keeps its width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llvmlite import ir

from jitgrad.machine import native

Number = int | float


@dataclass(frozen=True, slots=True)
class Kind:
    """A type: `family` is "float", "int", "uint" or "bool"; a vector has more than one lane."""

    family: str
    bits: int
    lanes: int = 1

    @property
    def element(self) -> ir.Type:
        if self.family == "float":
            return ir.FloatType() if self.bits == 32 else ir.DoubleType()
        return ir.IntType(self.bits)

    @property
    def llvm(self) -> ir.Type:
        return self.element if self.lanes == 1 else ir.VectorType(self.element, self.lanes)

    @property
    def floating(self) -> bool:
        return self.family == "float"

    @property
    def suffix(self) -> str:
        """What LLVM's intrinsics call this type."""
        letter = "f" if self.floating else "i"
        return f"{letter}{self.bits}" if self.lanes == 1 else f"v{self.lanes}{letter}{self.bits}"


FLOAT32, FLOAT64 = Kind("float", 32), Kind("float", 64)

_OPERATIONS = {"+": "add", "-": "sub", "*": "mul", "&": "and_", "|": "or_", "^": "xor", "<<": "shl"}


class Splat(ir.Constant):  # type: ignore[misc]
    """A vector constant whose lanes are equal."""

    def __init__(self, kind: ir.VectorType, element: ir.Constant) -> None:
        super().__init__(kind, ir.Undefined)
        self.text = f"splat ({element})"

    def get_reference(self) -> str:
        return self.text


class Value:
    """One LLVM value with its kind."""

    __slots__ = ("builder", "kind", "raw")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: ir.IRBuilder, raw: ir.Value, kind: Kind) -> None:
        self.builder, self.raw, self.kind = builder, raw, kind

    @property
    def bits(self) -> int:
        return self.kind.bits

    def constant(self, number: Number) -> Value:
        """Return `number` in this value's kind."""
        raw = ir.Constant(self.kind.element, float(number) if self.kind.floating else int(number))
        if self.kind.lanes > 1:
            raw = Splat(self.kind.llvm, raw)
        return Value(self.builder, raw, self.kind)

    def partner(self, other: Any) -> Value:
        if not isinstance(other, Value):
            return self.constant(other)
        assert other.kind == self.kind, f"{self.kind} meets {other.kind}"
        return other

    def _combine(self, symbol: str, other: Any, swapped: bool = False) -> Value:
        left, right = self, self.partner(other)
        if swapped:
            left, right = right, left
        if self.kind.floating:
            name = {"/": "fdiv", "%": "frem"}.get(symbol) or "f" + _OPERATIONS[symbol]
        else:
            sign = "u" if self.kind.family == "uint" else "s"
            special = {"/": sign + "div", "%": sign + "rem", ">>": "lshr" if sign == "u" else "ashr"}
            name = special.get(symbol) or _OPERATIONS[symbol]
        return Value(self.builder, getattr(self.builder, name)(left.raw, right.raw), self.kind)

    def _compare(self, symbol: str, other: Any) -> Value:
        right = self.partner(other)
        if self.kind.floating:
            compare = self.builder.fcmp_unordered if symbol == "!=" else self.builder.fcmp_ordered
        else:
            signed = self.kind.family == "int"
            compare = self.builder.icmp_signed if signed else self.builder.icmp_unsigned
        raw = compare(symbol, self.raw, right.raw)
        return Value(self.builder, raw, Kind("bool", 1, self.kind.lanes))

    def __add__(self, other: Any) -> Value:
        return self._combine("+", other)

    def __radd__(self, other: Any) -> Value:
        return self._combine("+", other, swapped=True)

    def __sub__(self, other: Any) -> Value:
        return self._combine("-", other)

    def __rsub__(self, other: Any) -> Value:
        return self._combine("-", other, swapped=True)

    def __mul__(self, other: Any) -> Value:
        return self._combine("*", other)

    def __rmul__(self, other: Any) -> Value:
        return self._combine("*", other, swapped=True)

    def __truediv__(self, other: Any) -> Value:
        return self._combine("/", other)

    def __rtruediv__(self, other: Any) -> Value:
        return self._combine("/", other, swapped=True)

    def __mod__(self, other: Any) -> Value:
        return self._combine("%", other)

    def __and__(self, other: Any) -> Value:
        return self._combine("&", other)

    def __or__(self, other: Any) -> Value:
        return self._combine("|", other)

    def __xor__(self, other: Any) -> Value:
        return self._combine("^", other)

    def __lshift__(self, other: Any) -> Value:
        return self._combine("<<", other)

    def __rshift__(self, other: Any) -> Value:
        return self._combine(">>", other)

    def __neg__(self) -> Value:
        if self.kind.floating:
            return Value(self.builder, self.builder.fneg(self.raw), self.kind)
        return 0 - self

    def __invert__(self) -> Value:
        return self ^ (1 if self.kind.family == "bool" else -1)

    def __lt__(self, other: Any) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Value:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Value:
        return self._compare(">=", other)

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare("!=", other)

    def bitcast(self, family: str) -> Value:
        """Return the same bits read as another family of equal width."""
        kind = replace(self.kind, family=family)
        if family in ("int", "uint") and self.kind.family in ("int", "uint"):
            return Value(self.builder, self.raw, kind)
        return Value(self.builder, self.builder.bitcast(self.raw, kind.llvm), kind)

    def astype(self, kind: Kind) -> Value:
        """Convert between the two float widths or the widths of an integer family, or integers to floats."""
        kind = replace(kind, lanes=self.kind.lanes)
        if kind == self.kind:
            return self
        if kind.floating and not self.kind.floating:
            convert = self.builder.sitofp if self.kind.family == "int" else self.builder.uitofp
        elif kind.floating:
            convert = self.builder.fpext if kind.bits > self.bits else self.builder.fptrunc
        elif kind.bits > self.bits:
            convert = self.builder.sext if self.kind.family == "int" else self.builder.zext
        else:
            convert = self.builder.trunc
        return Value(self.builder, convert(self.raw, kind.llvm), kind)

    def intrinsic(self, name: str, *others: Any) -> Value:
        """Call the LLVM intrinsic `name` on this value and others of its kind."""
        raw = [self.raw, *(self.partner(other).raw for other in others)]
        signature = ir.FunctionType(self.kind.llvm, [self.kind.llvm] * len(raw))
        function = self.builder.module.declare_intrinsic(f"llvm.{name}.{self.kind.suffix}", (), signature)
        return Value(self.builder, self.builder.call(function, raw), self.kind)

    def choose(self, yes: Any, no: Any) -> Value:
        """Return `yes` where this truth value holds, else `no`, without a branch."""
        if not isinstance(yes, Value):
            yes = no.constant(yes)
        no = yes.partner(no)
        return Value(self.builder, self.builder.select(self.raw, yes.raw, no.raw), yes.kind)

    def anywhere(self) -> ir.Value:
        """Return whether this truth value holds in any lane."""
        if self.kind.lanes == 1:
            return self.raw
        signature = ir.FunctionType(ir.IntType(1), [self.kind.llvm])
        name = f"llvm.vector.reduce.or.{self.kind.suffix}"
        return self.builder.call(self.builder.module.declare_intrinsic(name, (), signature), [self.raw])

    def lookup(self, name: str, table: Sequence[float], kind: Kind) -> Value:
        """Return `table[self]` from a constant array of the module; the index must be in range."""
        module = self.builder.module
        symbol = f"jitgrad.{name}.f{kind.bits}"
        array = ir.ArrayType(kind.element, len(table))
        if symbol not in module.globals:
            variable = ir.GlobalVariable(module, array, symbol)
            variable.initializer = ir.Constant(array, [float(value) for value in table])
            variable.global_constant, variable.linkage = True, "internal"
        base, kind = module.globals[symbol], replace(kind, lanes=self.kind.lanes)
        if kind.lanes > 1:
            return self._gathered(base, kind)
        address = self.builder.gep(base, [ir.Constant(self.kind.element, 0), self.raw], inbounds=True)
        return Value(self.builder, self.builder.load(address), kind)

    def _gathered(self, base: ir.Value, kind: Kind) -> Value:
        """Return the elements at these places after the address `base`."""
        builder, lanes, word = self.builder, kind.lanes, Kind("uint", 64, kind.lanes)
        anything = ir.Constant(word.llvm, ir.Undefined)
        narrow = ir.IntType(32)
        start = builder.insert_element(anything, builder.ptrtoint(base, word.element), narrow(0))
        start = builder.shuffle_vector(
            start, anything, ir.Constant(ir.VectorType(narrow, lanes), [0] * lanes)
        )
        places = self.bitcast("uint").astype(word) * (kind.bits // 8) + Value(builder, start, word)
        addresses = builder.inttoptr(places.raw, ir.VectorType(kind.element.as_pointer(), lanes))
        every = ir.Constant(ir.VectorType(ir.IntType(1), lanes), [1] * lanes)
        operands = [addresses, narrow(kind.bits // 8), every, ir.Constant(kind.llvm, ir.Undefined)]
        signature = ir.FunctionType(kind.llvm, [operand.type for operand in operands])
        name = f"llvm.masked.gather.{kind.suffix}.v{lanes}p0"
        function = builder.module.declare_intrinsic(name, (), signature)
        return Value(builder, builder.call(function, operands), kind)


Body = Callable[..., Value]


def write(module: ir.Module, name: str, body: Body, kinds: Sequence[Kind], returns: Kind) -> ir.Function:
    """Write `body` into `module` as the function `name`, or return the one that is there."""
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(returns.llvm, [kind.llvm for kind in kinds]), name)
    builder = ir.IRBuilder(function.append_basic_block())
    values = [Value(builder, raw, kind) for raw, kind in zip(function.args, kinds, strict=True)]
    builder.ret(body(*values).raw)
    return function


def rarely(condition: Value, usual: Value, exception: Body, *arguments: Value) -> Value:
    """Return `exception(*arguments)` where `condition` holds, else `usual`.

    The exception is a function of its own that runs only if some lane needs it, so a loop pays for one test.
    It returns what `usual` is.
    """
    builder, lanes = usual.builder, usual.kind.lanes
    kinds = [argument.kind for argument in arguments]
    name = ".".join(["jitgrad", "rare", exception.__name__, *(kind.suffix for kind in kinds)])
    function = write(builder.module, name, exception, kinds, usual.kind)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("cold")
    before = builder.basic_block
    with builder.if_then(condition.anywhere(), likely=False):
        raw = builder.call(function, [argument.raw for argument in arguments])
        if lanes > 1:
            raw = builder.select(condition.raw, raw, usual.raw)
        inside = builder.basic_block
    result = builder.phi(usual.kind.llvm)
    result.add_incoming(usual.raw, before)
    result.add_incoming(raw, inside)
    return Value(builder, result, usual.kind)


def pick(index: Value, name: str, table: Sequence[float], kind: Kind) -> Value:
    """Return `table[index]`, from registers where two of them hold the table.

    The length is a power of two, and higher bits of the index do not count. The index has the bits of `kind`.
    """
    lanes, size = index.kind.lanes, len(table)
    if lanes * kind.bits > native.vector_bits():
        low, high = (pick(part, name, table, kind) for part in _halves(index))
        joined = index.builder.shuffle_vector(low.raw, high.raw, _places(0, lanes))
        return Value(index.builder, joined, replace(kind, lanes=lanes))
    kind = replace(kind, lanes=lanes)
    place = index & (size - 1)
    if size == 2 * lanes and lanes * kind.bits == native.vector_bits() == 512:
        return _permuted_pair(index, table, kind)
    if lanes * 2 < size:
        return place.lookup(name, table, replace(kind, lanes=1))
    if lanes >= size:
        return _permuted(place, name, [*table] * (lanes // size), kind)
    low = index & (lanes - 1)
    first, second = (
        _permuted(low, f"{name}.{part}", table[part : part + lanes], kind) for part in (0, lanes)
    )
    return (place < lanes).choose(first, second)


def _places(first: int, last: int) -> ir.Constant:
    places = list(range(first, last))
    return ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)


def _halves(vector: Value) -> list[Value]:
    half = vector.kind.lanes // 2
    kind = replace(vector.kind, lanes=half)
    ends = ((0, half), (half, 2 * half))
    raws = [vector.builder.shuffle_vector(vector.raw, vector.raw, _places(*end)) for end in ends]
    return [Value(vector.builder, raw, kind) for raw in raws]


def _permuted_pair(index: Value, table: Sequence[float], kind: Kind) -> Value:
    """Return `table[index]` from two registers by AVX-512's one instruction, which LLVM does not find."""
    halves = table[: kind.lanes], table[kind.lanes :]
    first, second = (
        ir.Constant(kind.llvm, [kind.element(float(value)) for value in half]) for half in halves
    )
    operands = [first, index.raw, second]
    signature = ir.FunctionType(kind.llvm, [operand.type for operand in operands])
    name = {32: "llvm.x86.avx512.vpermi2var.ps.512", 64: "llvm.x86.avx512.vpermi2var.pd.512"}[kind.bits]
    function = index.builder.module.declare_intrinsic(name, (), signature)
    return Value(index.builder, index.builder.call(function, operands), kind)


def _permuted(index: Value, name: str, table: Sequence[float], kind: Kind) -> Value:
    """Return `table[index]` in a form that LLVM takes for a permutation of one register's lanes."""
    source = ir.Constant(kind.llvm, [kind.element(float(value)) for value in table])

    def permutation(index: Value) -> Value:
        raw = ir.Constant(kind.llvm, ir.Undefined)
        for lane in map(ir.IntType(32), range(kind.lanes)):
            found = index.builder.extract_element(source, index.builder.extract_element(index.raw, lane))
            raw = index.builder.insert_element(raw, found, lane)
        return Value(index.builder, raw, kind)

    builder = index.builder
    function = write(builder.module, f"jitgrad.pick.{name}.{kind.suffix}", permutation, [index.kind], kind)
    function.linkage = "internal"
    function.attributes.add("alwaysinline")
    return Value(builder, builder.call(function, [index.raw]), kind)
