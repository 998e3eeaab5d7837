"""The reductions and scans of kernels as a library of LLVM functions, in the order that `ops` writes down.

A kernel declares and calls `jitgrad.sum_of.f32`; what it calls is linked into it once its own loops are
vectorised. They are written with vectors, so nothing is left to optimise. `dialect` says in Python what each
of them does.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from inspect import signature
from typing import Any

import numpy as np
from llvmlite import ir

from jitgrad.ops.reductions import BLOCK, COLUMN_BLOCK, LANES, identity
from jitgrad.ops.scans import STEPS
from jitgrad.targets import scans, turns
from jitgrad.targets.masks import NARROW, Mask
from jitgrad.targets.memory import WORD, Span, counted, folded, stored
from jitgrad.vmath.exact import maximum, minimum
from jitgrad.vmath.value import Kind, Value

COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "sum": operator.add,
    "prod": operator.mul,
    "max": maximum,
    "min": minimum,
    "any": operator.or_,
    "all": operator.and_,
}
SHIFT = {size: size.bit_length() - 1 for size in (BLOCK, LANES, COLUMN_BLOCK)}

_LETTERS = {"float": "f", "int": "i", "uint": "u"}
_FAMILIES = {letter: family for family, letter in _LETTERS.items()}
_SYMBOL = re.compile(r"jitgrad\.(?P<name>[a-z]+_[a-z]+)\.(?P<letter>[fiu])(?P<bits>\d+)")
_ATTRIBUTES = "nounwind willreturn nosync nofree nocallback memory(argmem: readwrite)"


@dataclass(frozen=True, slots=True)
class Reduction:
    """One of the six reductions for elements of one kind, written into a function."""

    op: str
    kind: Kind
    builder: ir.IRBuilder

    def combine(self, x: Value, y: Value) -> Value:
        result: Value = COMBINE[self.op](x, y)
        return result

    def start(self, lanes: int) -> Value:
        """Return the value that changes no other, in every lane."""
        kind = replace(self.kind, lanes=lanes)
        number = identity(self.op, np.dtype(f"{kind.family}{kind.bits}"))
        return Value(self.builder, ir.Constant(kind.llvm, ir.Undefined), kind).constant(number.item())

    def call(self, form: str, *arguments: Span | Value) -> ir.Instruction:
        function = declare(self.builder.module, f"{self.op}_{form}", self.kind)
        return self.builder.call(function, [argument.raw for argument in arguments])


def _block(to: Reduction, values: Span, count: Value) -> Value:
    """Reduce at most BLOCK elements: element i in lane i % LANES, then the lanes in halves."""
    rows, whole = values.vectors(LANES), count & -LANES
    lanes = folded(
        0, whole >> SHIFT[LANES], to.start(LANES), lambda i, total: to.combine(total, rows[i * LANES])
    )
    rest = count - whole

    def with_rest(_: Value, total: Value) -> Value:
        return to.combine(total, Mask.of(rest, LANES).load(values.offset(whole), to.start(LANES)))

    # Not where nothing is left: a load of no lane from a page that is not there takes 0.9 us.
    lanes = folded(0, _blocks(rest, LANES), lanes, with_rest)
    width = LANES
    while width > 1:
        width //= 2
        lanes = to.combine(_part(lanes, 0, width), _part(lanes, width, width))
    return lanes


def _part(vector: Value, first: int, lanes: int) -> Value:
    """Return neighbouring lanes of a vector; one alone is no vector."""
    kind, builder = replace(vector.kind, lanes=lanes), vector.builder
    if lanes == 1:
        return Value(builder, builder.extract_element(vector.raw, NARROW.llvm(first)), kind)
    places = ir.Constant(replace(NARROW, lanes=lanes).llvm, list(range(first, first + lanes)))
    return Value(builder, builder.shuffle_vector(vector.raw, vector.raw, places), kind)


def _of(to: Reduction, values: Span, count: Value, work: Span) -> Value:
    """Reduce any number of elements: blocks first, then their results in `work`."""
    blocks = _blocks(count, BLOCK)
    with counted(to.builder, 0, blocks) as block:
        first = block * BLOCK
        many = minimum(count - first, count.constant(BLOCK))
        work[block] = Value(to.builder, to.call("block", values.offset(first), many), to.kind)
    with to.builder.if_then((blocks > 1).raw):
        to.builder.ret(to.call("of", work, blocks, work))
    return work[0]


def _columns(to: Reduction, parts: Span, rows: Value, n: Value, out: Span) -> None:
    """Reduce rows of n partial results in place, COLUMN_BLOCK at a time, then the results of these."""
    blocks = _blocks(rows, COLUMN_BLOCK)
    into = replace(parts, raw=to.builder.select((blocks > 1).raw, parts.raw, out.raw))
    with counted(to.builder, 0, blocks) as block, counted(to.builder, 0, _blocks(n, LANES)) as chunk:
        first, begin = block * COLUMN_BLOCK, chunk * LANES
        here = Mask.of(n - begin, LANES)

        def row(number: Value) -> Value:
            return here.load(parts.offset(number * n + begin), to.start(LANES))

        last = minimum(first + COLUMN_BLOCK, rows)
        total = folded(first + 1, last, row(first), lambda r, total: to.combine(total, row(r)))
        here.store(into.offset(block * n + begin), total)
    with to.builder.if_then((blocks > 1).raw):
        to.call("columns", parts, blocks, n, out)


def _lanes(to: Reduction, values: Span, n: Value, work: Span, out: Span) -> None:
    """Reduce n vectors of COLUMN_BLOCK lanes, at most LANES of them, each lane as a row of n elements is."""
    source, target = values.vectors(COLUMN_BLOCK), work.vectors(COLUMN_BLOCK)
    with counted(to.builder, 0, n) as i:
        target[i * COLUMN_BLOCK] = source[i * COLUMN_BLOCK]
    with counted(to.builder, 1, SHIFT[LANES] + 1) as level:
        width = n.constant(LANES) >> level
        with counted(to.builder, width, minimum(n, width * 2)) as i:
            low, high = (i - width) * COLUMN_BLOCK, i * COLUMN_BLOCK
            target[low] = to.combine(target[low], target[high])
    out.vectors(COLUMN_BLOCK)[0] = target[0]


def _rows(to: Reduction, values: Span, n: Value, lanes: Value, out: Span) -> None:
    """Reduce the first lanes of n vectors of COLUMN_BLOCK lanes, in order, each to an element of `out`."""
    side = turns.side_of(values.kind)
    with counted(to.builder, 0, turns.squares(n, side)) as square:
        begin = square * side

        def with_group(group: Value, total: Value) -> Value:
            first = group * side
            for k, row in enumerate(turns.rows_of(values, first, begin)):
                total = (first + k < lanes).choose(to.combine(total, row), total)
            return total

        total = folded(0, turns.squares(lanes, side), to.start(side), with_group)
        Mask.of(n - begin, side).store(out.offset(begin), total)


def _blocks(count: Value, size: int) -> Value:
    return (count + (size - 1)) >> SHIFT[size]


@dataclass(frozen=True, slots=True)
class Form:
    """How a reduction or scan is called: its arguments, True for spans, and whether it returns an element."""

    body: Callable[..., Value | None]
    spans: tuple[bool, ...]
    returns: bool


REDUCTIONS = {
    "block": Form(_block, (True, False), returns=True),
    "of": Form(_of, (True, False, True), returns=True),
    "columns": Form(_columns, (True, False, False, True), returns=False),
    "lanes": Form(_lanes, (True, False, True, True), returns=False),
    "rows": Form(_rows, (True, False, False, True), returns=False),
}


def _scans(op: str) -> dict[str, Form]:
    """The forms of a scan: with the total so far, or in lanes; each forwards and backwards."""
    step = STEPS[op]
    spans = (True,) * (len(signature(step).parameters) - 1)

    def form(write: Callable[..., None], more: tuple[bool, ...], backwards: bool) -> Form:
        return Form(lambda to, *given: write(step, backwards, given), (*spans, *more), returns=False)

    total, lanes = (True, False, False, True), (True, False)
    return {
        f"{op}_scan": form(scans.along, total, False),
        f"{op}_back": form(scans.along, total, True),
        f"{op}_lanesscan": form(scans.across, lanes, False),
        f"{op}_lanesback": form(scans.across, lanes, True),
    }


def _turn(body: Callable[..., None]) -> Callable[..., None]:
    return lambda to, *given: body(*given)


FORMS = {f"{op}_{name}": form for op in COMBINE for name, form in REDUCTIONS.items()}
FORMS |= {name: form for op in STEPS for name, form in _scans(op).items()}
FORMS |= {name: Form(_turn(body), spans, returns=False) for name, (body, spans) in turns.FORMS.items()}


def declare(module: ir.Module, name: str, kind: Kind) -> ir.Function:
    """Return the declaration of a function, such as sum_block or cumsum_scan, of elements of this kind."""
    kind = stored(kind)
    symbol = f"jitgrad.{name}.{_LETTERS[kind.family]}{kind.bits}"
    if symbol not in module.globals:
        form = FORMS[name]
        arguments = [ir.PointerType() if span else WORD.llvm for span in form.spans]
        returns = kind.llvm if form.returns else ir.VoidType()
        function = ir.Function(module, ir.FunctionType(returns, arguments), symbol)
        # llvmlite's set of known attributes lacks some of these.
        set.add(function.attributes, _ATTRIBUTES)
    found: ir.Function = module.globals[symbol]
    return found


@cache
def definition(name: str, kind: Kind) -> str:
    """Return LLVM IR of a reduction or scan, which may call others."""
    module = ir.Module()
    function = declare(module, name, kind)
    builder = ir.IRBuilder(function.append_basic_block())
    op, _ = name.split("_")
    arguments = [
        Span(builder, raw, kind) if span else Value(builder, raw, WORD)
        for raw, span in zip(function.args, FORMS[name].spans, strict=True)
    ]
    result = FORMS[name].body(Reduction(op, kind, builder), *arguments)
    if result is None:
        builder.ret_void()
    else:
        builder.ret(result.raw)
    return str(module)


def definitions(names: Iterable[str]) -> list[str]:
    """Return LLVM IR of those of `names` that stand here, and of those that they call."""
    found: dict[str, str] = {}
    left = list(names)
    while left:
        symbol = left.pop()
        match = _SYMBOL.fullmatch(symbol)
        if match is not None and match["name"] in FORMS and symbol not in found:
            kind = Kind(_FAMILIES[match["letter"]], int(match["bits"]))
            found[symbol] = definition(match["name"], kind)
            left += re.findall(r'^declare .*@"(jitgrad\.[a-z_]+\.\w+)"\(', found[symbol], re.MULTILINE)
    return list(found.values())
