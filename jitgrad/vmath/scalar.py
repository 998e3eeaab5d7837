"""Python operators on scalars under construction, each of which appends one LLVM instruction.

An elementary function is a Python function over `Scalar`s: running it once writes its code. So bodies read
like mathematics, Python's own loops and conditions happen while compiling, every number takes the type of its
partner, and integer arithmetic keeps its width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

Number = int | float


@dataclass(frozen=True, slots=True)
class Kind:
    """A scalar type: `family` is "float", "int", "uint" or "bool"."""

    family: str
    bits: int

    @property
    def llvm(self) -> ir.Type:
        if self.family == "float":
            return ir.FloatType() if self.bits == 32 else ir.DoubleType()
        return ir.IntType(self.bits)

    @property
    def floating(self) -> bool:
        return self.family == "float"


BOOL, FLOAT32, FLOAT64 = Kind("bool", 1), Kind("float", 32), Kind("float", 64)


class _Sealed(frozenset[str]):
    """Fast-math flags of a call that stay empty: numba's fast mode adds its flags to every call it finds."""

    def add(self, flag: str) -> None:
        """Ignore the flag: these bodies depend on each rounding."""


# numba's fast mode gives its flags to every instruction without any. These bodies depend on each rounding, so
# each instruction carries a flag that means nothing to it.
_OPERATIONS = {"+": "add", "-": "sub", "*": "mul", "&": "and_", "|": "or_", "^": "xor", "<<": "shl"}
_ROUNDED = {"+": "arcp", "-": "arcp", "*": "arcp", "/": "contract", "%": "contract"}


class Scalar:
    """One LLVM value with its kind."""

    __slots__ = ("builder", "kind", "raw")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: ir.IRBuilder, raw: ir.Value, kind: Kind) -> None:
        self.builder, self.raw, self.kind = builder, raw, kind

    @property
    def bits(self) -> int:
        return self.kind.bits

    def constant(self, number: Number) -> Scalar:
        """Return `number` in this value's kind."""
        number = float(number) if self.kind.floating else int(number)
        return Scalar(self.builder, ir.Constant(self.kind.llvm, number), self.kind)

    def partner(self, other: Any) -> Scalar:
        if not isinstance(other, Scalar):
            return self.constant(other)
        assert other.kind == self.kind, f"{self.kind} meets {other.kind}"
        return other

    def _combine(self, symbol: str, other: Any, swapped: bool = False) -> Scalar:
        left, right = self, self.partner(other)
        if swapped:
            left, right = right, left
        if self.kind.floating:
            name = {"/": "fdiv", "%": "frem"}.get(symbol) or "f" + _OPERATIONS[symbol]
            raw = getattr(self.builder, name)(left.raw, right.raw, flags=(_ROUNDED[symbol],))
        else:
            sign = "u" if self.kind.family == "uint" else "s"
            special = {"/": sign + "div", "%": sign + "rem", ">>": "lshr" if sign == "u" else "ashr"}
            name = special.get(symbol) or _OPERATIONS[symbol]
            raw = getattr(self.builder, name)(left.raw, right.raw)
        return Scalar(self.builder, raw, self.kind)

    def _compare(self, symbol: str, other: Any) -> Scalar:
        right = self.partner(other)
        if self.kind.floating:
            compare = self.builder.fcmp_unordered if symbol == "!=" else self.builder.fcmp_ordered
            raw = compare(symbol, self.raw, right.raw, flags=("arcp",))
        else:
            signed = self.kind.family == "int"
            compare = self.builder.icmp_signed if signed else self.builder.icmp_unsigned
            raw = compare(symbol, self.raw, right.raw)
        return Scalar(self.builder, raw, BOOL)

    def __add__(self, other: Any) -> Scalar:
        return self._combine("+", other)

    def __radd__(self, other: Any) -> Scalar:
        return self._combine("+", other, swapped=True)

    def __sub__(self, other: Any) -> Scalar:
        return self._combine("-", other)

    def __rsub__(self, other: Any) -> Scalar:
        return self._combine("-", other, swapped=True)

    def __mul__(self, other: Any) -> Scalar:
        return self._combine("*", other)

    def __rmul__(self, other: Any) -> Scalar:
        return self._combine("*", other, swapped=True)

    def __truediv__(self, other: Any) -> Scalar:
        return self._combine("/", other)

    def __rtruediv__(self, other: Any) -> Scalar:
        return self._combine("/", other, swapped=True)

    def __mod__(self, other: Any) -> Scalar:
        return self._combine("%", other)

    def __and__(self, other: Any) -> Scalar:
        return self._combine("&", other)

    def __or__(self, other: Any) -> Scalar:
        return self._combine("|", other)

    def __xor__(self, other: Any) -> Scalar:
        return self._combine("^", other)

    def __lshift__(self, other: Any) -> Scalar:
        return self._combine("<<", other)

    def __rshift__(self, other: Any) -> Scalar:
        return self._combine(">>", other)

    def __neg__(self) -> Scalar:
        if self.kind.floating:
            return Scalar(self.builder, self.builder.fneg(self.raw), self.kind)
        return 0 - self

    def __invert__(self) -> Scalar:
        return Scalar(self.builder, self.builder.not_(self.raw), self.kind)

    def __lt__(self, other: Any) -> Scalar:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Scalar:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Scalar:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Scalar:
        return self._compare(">=", other)

    def __eq__(self, other: Any) -> Scalar:  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other: Any) -> Scalar:  # type: ignore[override]
        return self._compare("!=", other)

    def bitcast(self, family: str) -> Scalar:
        """Return the same bits read as another family of equal width."""
        kind = Kind(family, self.bits)
        if kind.llvm == self.kind.llvm:
            return Scalar(self.builder, self.raw, kind)
        return Scalar(self.builder, self.builder.bitcast(self.raw, kind.llvm), kind)

    def astype(self, kind: Kind) -> Scalar:
        """Convert between the two float widths."""
        if kind == self.kind:
            return self
        convert = self.builder.fpext if kind.bits > self.bits else self.builder.fptrunc
        return Scalar(self.builder, convert(self.raw, kind.llvm), kind)

    def intrinsic(self, name: str, *others: Any) -> Scalar:
        """Call the LLVM intrinsic `name` on this value and others of its kind."""
        raw = [self.raw, *(self.partner(other).raw for other in others)]
        module = self.builder.module
        signature = ir.FunctionType(self.kind.llvm, [self.kind.llvm] * len(raw))
        function = module.declare_intrinsic(f"llvm.{name}", [self.kind.llvm], signature)
        call = self.builder.call(function, raw)
        call.fastmath = _Sealed()
        return Scalar(self.builder, call, self.kind)

    def choose(self, yes: Any, no: Any) -> Scalar:
        """Return `yes` where this truth value holds, else `no`, without a branch."""
        if not isinstance(yes, Scalar):
            yes = no.constant(yes)
        no = yes.partner(no)
        return Scalar(self.builder, self.builder.select(self.raw, yes.raw, no.raw), yes.kind)

    def lookup(self, name: str, table: Sequence[float], kind: Kind) -> Scalar:
        """Return `table[self]` from a constant array of the module; the index must be in range."""
        module = self.builder.module
        symbol = f"jitgrad.{name}.f{kind.bits}"
        array = ir.ArrayType(kind.llvm, len(table))
        if symbol not in module.globals:
            variable = ir.GlobalVariable(module, array, symbol)
            variable.initializer = ir.Constant(array, [float(value) for value in table])
            variable.global_constant, variable.linkage = True, "internal"
        zero = ir.Constant(self.kind.llvm, 0)
        address = self.builder.gep(module.globals[symbol], [zero, self.raw], inbounds=True)
        return Scalar(self.builder, self.builder.load(address), kind)
