"""A kernel to the text of a Python function in the dialect that numba compiles: the part that all targets share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from jitgrad.ir import LITERAL, Node, literal, literal_value, toposort
from jitgrad.lower import varies
from jitgrad.mincut import NEVER, kept
from jitgrad.ops.reductions import BLOCK, COLUMN_BLOCK, identity
from jitgrad.program import INDEX, INSIDE, LOAD, RESULT, Kernel, Store, guards
from jitgrad.tidy import is_row_program

ParameterKind = Literal["size", "literal", "input", "output", "work", "temp"]
TEMP_COST = 1  # of writing or reading one element of a temporary that stays in the nearest cache
COMBINE = {"sum": "{0} + {1}", "prod": "{0} * {1}", "max": "maximum({0}, {1})", "min": "minimum({0}, {1})"}
COMBINE |= {"any": "{0} | {1}", "all": "{0} & {1}"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of an emitted function: a size or scalar by value, an array by address.

    `value` is the size, the scalar, the buffer's node, or how many elements the work space or temporary has.
    """

    name: str
    kind: ParameterKind
    dtype: np.dtype[Any]
    value: Any


@dataclass(frozen=True, slots=True)
class Source:
    """An emitted kernel: the text depends on the kernel's form only, the parameters' values on its sizes."""

    text: str
    parameters: tuple[Parameter, ...]
    units: int
    has_finish: bool


@dataclass(slots=True)
class Names:
    """Parameters in the order of their first use."""

    parameters: dict[Any, Parameter] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def parameter(self, key: Any, letter: str, kind: ParameterKind, dtype: Any, value: Any) -> str:
        if key not in self.parameters:
            number = self.counts[letter] = self.counts.get(letter, -1) + 1
            name = letter if letter in ("n", "rows") else f"{letter}{number}"
            self.parameters[key] = Parameter(name, kind, np.dtype(dtype), value)
        return self.parameters[key].name

    def in_order(self) -> tuple[Parameter, ...]:
        """Arrays first, so that their addresses stand together in an argument block; then by name."""
        kinds = ("input", "output", "work", "temp", "size", "literal")
        return tuple(sorted(self.parameters.values(), key=lambda p: kinds.index(p.kind)))

    def size(self, key: Any, value: int, letter: str = "s") -> str:
        return self.parameter(key, letter, "size", np.int64, value)

    def literal(self, node: Node) -> str:
        return self.parameter(node, "c", "literal", node.dtype, literal_value(node))


def type_name(dtype: np.dtype[Any]) -> str:
    return "bool_" if dtype.kind == "b" else dtype.name


def expression(node: Node, args: Sequence[str]) -> str:
    """One scalar op as text; integer arithmetic is brought back to its own width."""
    assert node.op.scalar is not None
    params = {k: type_name(v) if isinstance(v, np.dtype) else v for k, v in node.params}
    text = node.op.scalar.format(*args, **params)
    return f"{type_name(node.dtype)}({text})" if node.dtype.kind in "iu" else text


def combined(op_name: str, dtype: np.dtype[Any], left: str, right: str) -> str:
    text = COMBINE[op_name].format(left, right)
    return f"{type_name(dtype)}({text})" if dtype.kind in "iu" else text


class Emitter:
    """Prints one kernel. A row program has one loop over its row for each stage of row reductions."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.rows = is_row_program(kernel) or len(kernel.domain) > 1
        self.columns = any(s.level == "columns" for s in kernel.stores)
        self.names = Names()
        self.lines: list[str] = []
        self.body = toposort(s.value for s in kernel.stores)
        self.inner = varies(self.body, len(kernel.domain) - 1)
        self.stage = self._stages()
        self.text_of: dict[Node, str] = {}
        self.bases: dict[tuple[str, str], str] = {}
        self.count = 0
        self.loop_of: dict[Node, int] = {}
        self.kept: set[Node] = set()
        self.read: list[set[Node]] = []
        self.loops = self._plan()

    # Planning ---------------------------------------------------------------------------------------------------------

    def _stages(self) -> dict[Node, int]:
        """The loop over the row in which each node can first be computed."""
        stage: dict[Node, int] = {}
        for node in self.body:
            after = 1 if node.op.kind == "reduce" else 0
            stage[node] = after + max((stage[a] for a in node.args), default=0)
        return stage

    def _plan(self) -> list[list[Node]]:
        """The elementwise nodes that each loop evaluates; `kept` are those that leave a temporary behind."""
        self.kept = {n.args[0] for n in self.body if n.op.kind == "reduce"}
        self.kept |= {s.value for s in self.kernel.stores if s.level == "total" and not self.rows}
        loops = []
        for loop in range(max((self.stage[s.value] for s in self.kernel.stores), default=0) + 1):
            roots = self._loop_roots(loop)
            order = [n for n in toposort(roots, lambda n: n not in self.inner) if n in self.inner]
            earlier = {n for n in order if n in self.loop_of}
            read = kept(order, roots, partial(self._keep_cost, earlier), self._compute_cost) if earlier else set()
            self.kept |= read
            needed = [n for n in toposort(roots, lambda n, read=read: n not in self.inner or n in read) if n in self.inner]  # type: ignore[misc]
            for node in needed:
                self.loop_of.setdefault(node, loop)
            loops.append(needed)
            self.read.append(read)
        return loops

    def _keep_cost(self, earlier: set[Node], node: Node) -> int:
        if node not in earlier:
            return NEVER
        return TEMP_COST if node in self.kept else 2 * TEMP_COST

    def _compute_cost(self, node: Node) -> int:
        return TEMP_COST if node.op is LOAD else node.op.cost

    def _loop_roots(self, loop: int) -> list[Node]:
        """The elementwise values that a loop must end with: operands of reductions, elements to store."""
        roots = [n.args[0] for n in self.body if n.op.kind == "reduce" and self.stage[n.args[0]] == loop]
        roots += [s.value for s in self._element_stores(loop)]
        return list(dict.fromkeys(roots))

    def _element_stores(self, loop: int) -> list[Store]:
        per_element = ("element", "columns", *(() if self.rows else ("total",)))
        return [s for s in self.kernel.stores if s.level in per_element and self.stage[s.value] == loop]

    # Frame ------------------------------------------------------------------------------------------------------------

    def source(self) -> Source:
        domain = self.kernel.domain
        n = self.names.size("n", domain[-1], "n")
        if self.columns:
            units = -(-self.kernel.rows // COLUMN_BLOCK)
            rows = self.names.size("rows", self.kernel.rows, "rows")
            self._write(1, "for b in range(lo, hi):")
            self._columns_start(n)
            self._write(2, f"for r in range(b * {COLUMN_BLOCK}, minimum(b * {COLUMN_BLOCK} + {COLUMN_BLOCK}, {rows})):")
            self._row(3, n)
        elif self.rows:
            units = self.kernel.rows
            self._write(1, "for r in range(lo, hi):")
            self._row(2, n)
        else:
            units = -(-domain[-1] // BLOCK)
            self._write(1, "for b in range(lo, hi):")
            self._write(2, f"start = b * {BLOCK}")
            self._write(2, f"m = minimum({n} - start, {BLOCK})")
            self._row(2, "m")
        finish = self._finish(n)
        parameters = self.names.in_order()
        header = f"lo, hi, {', '.join(p.name for p in parameters)}"
        text = f"def kernel({header}):\n" + "\n".join(self.lines) + "\n"
        if finish:
            text += f"\n\ndef finish({header}):\n" + "\n".join(finish) + "\n"
        return Source(text, parameters, units, bool(finish))

    def _write(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def _row(self, depth: int, n: str) -> None:
        """Everything that happens to one row (or to one block of a flat kernel)."""
        self._decode_row(depth)
        for loop in range(len(self.loops)):
            roots = self._loop_roots(loop)
            if not all(self._in_place(r) for r in roots) or self._element_stores(loop):
                self._loop(depth, n, loop, roots)
            self._after_loop(depth, n, loop)
        for store in self.kernel.stores:
            if store.level == "row":
                self._write(depth, f"{self._output(store)}[r] = {self._value(depth, store.value)}")
            elif store.level == "total" and self.rows:
                work = self.names.parameter(("work", store), "p", "work", store.value.dtype, self.kernel.rows)
                self._write(depth, f"{work}[r] = {self._value(depth, store.value)}")

    def _decode_row(self, depth: int) -> None:
        """The indices of several outer loops from the row's number."""
        outer = len(self.kernel.domain) - 1
        if outer < 2:
            return
        rest = "r"
        for axis in reversed(range(outer)):
            if axis:
                size = self.names.size(("extent", axis), self.kernel.domain[axis], "d")
                self._write(depth, f"r{axis} = {rest} % {size}")
                self._write(depth, f"q{axis} = {rest} // {size}")
                rest = f"q{axis}"
            else:
                self._write(depth, f"r0 = {rest}")

    # One loop over the row --------------------------------------------------------------------------------------------

    def _loop(self, depth: int, n: str, loop: int, roots: list[Node]) -> None:
        for node in self.loops[loop]:
            for part in (node, *node.args):
                if part not in self.inner:
                    self._value(depth, part)
            if node.op is LOAD:
                self._base(depth, node)
        for root in roots:
            if root not in self.inner:
                self._value(depth, root)
        outputs = {store: self._output_row(depth, store) for store in self._element_stores(loop)}
        self._write(depth, f"for i in range({n}):")
        inside: dict[Node, str] = {}
        for node in self.loops[loop]:
            inside[node] = self._element(depth + 1, node, loop, inside)
        for node in self.loops[loop] + [r for r in roots if r not in self.inner]:
            fresh = self.loop_of.get(node, loop) == loop and node not in self.read[loop]
            if node in self.kept and fresh and not self._in_place(node):
                self._write(depth + 1, f"{self._temp(node)}[i] = {inside.get(node) or self._value(depth, node)}")
        for store, output in outputs.items():
            self._store_element(depth + 1, store, output, inside.get(store.value) or self._value(depth, store.value))

    def _in_place(self, node: Node) -> bool:
        """Whether the value stands in memory already, contiguous along the row."""
        return node.op is LOAD and not node.args and node.param("strides")[-1] == 1

    def _temp(self, node: Node) -> str:
        count = self.kernel.domain[-1] if self.rows else BLOCK
        return self.names.parameter(("temp", node), "t", "temp", node.dtype, count)

    def _element(self, depth: int, node: Node, loop: int, inside: dict[Node, str]) -> str:
        if node in self.read[loop] and not self._in_place(node):
            text = f"{self._temp(node)}[i]"
        elif node.op is LOAD:
            text = self._load_element(depth, node, inside)
        elif node.op is INDEX or node.op is INSIDE:
            text = self._index(node)
        else:
            text = expression(node, [inside.get(a) or self._value(depth, a) for a in node.args])
        return self._assign(depth, text)

    def _assign(self, depth: int, text: str) -> str:
        name = f"v{self.count}"
        self.count += 1
        self._write(depth, f"{name} = {text}")
        return name

    def _after_loop(self, depth: int, n: str, loop: int) -> None:
        for node in self.body:
            if node.op.kind == "reduce" and self.stage[node.args[0]] == loop:
                self.text_of[node] = self._assign(depth, self._reduced(depth, node.op.name, node.args[0], n))
        if not self.rows:
            for store in self.kernel.stores:
                if store.level == "total" and self.stage[store.value] == loop:
                    assert store.op is not None
                    work = self.names.parameter(("work", store), "p", "work", store.value.dtype, self._blocks())
                    self._write(depth, f"{work}[b] = {self._reduced(depth, store.op.name, store.value, n)}")

    def _blocks(self) -> int:
        return -(-self.kernel.domain[-1] // BLOCK)

    def _reduced(self, depth: int, op: str, operand: Node, n: str) -> str:
        values = self._base(depth, operand) if self._in_place(operand) else self._temp(operand)
        if not self.rows:
            return f"{op}_block({values}, {n})"
        blocks = -(-self.kernel.domain[-1] // BLOCK)
        work = self.names.parameter(("tree", operand.dtype), "w", "temp", operand.dtype, blocks)
        return f"{op}_of({values}, {n}, {work})"

    # Values -----------------------------------------------------------------------------------------------------------

    def _value(self, depth: int, node: Node) -> str:
        """A value that does not vary along the row, printed before the loop that needs it."""
        if node.op is LITERAL:
            return self.names.literal(node)
        for part in toposort((node,), lambda n: n in self.text_of):
            if part.op is LITERAL or part in self.text_of:
                continue
            if part.op is LOAD:
                text = self._guarded(depth, part, f"{self._input(part)}[{self._position(part) or '0'}]", {})
            elif part.op is INDEX or part.op is INSIDE:
                text = self._index(part)
            else:
                assert part.op.kind != "reduce", "a row reduction is used before its loop"
                text = expression(part, [self._value(depth, a) for a in part.args])
            self.text_of[part] = self._assign(depth, text)
        return self.text_of[node]

    def _input(self, node: Node) -> str:
        buffer = node.param("buffer")
        return self.names.parameter(buffer, "x", "input", buffer.dtype, buffer)

    def _output(self, store: Store) -> str:
        return self.names.parameter(("output", store.target), "y", "output", store.target.dtype, store.target)

    def _outer_terms(self, node: Node) -> list[str]:
        strides = node.param("strides")
        outer, inner = strides[:-1], strides[-1]
        if len(outer) == 1:
            if outer[0] == 1:
                return ["r"]
            if outer[0] == self.kernel.domain[-1] and inner:
                return [f"r * {self.names.size('n', 0, 'n')}"]
        terms = []
        for axis, stride in enumerate(outer):
            if stride:
                row = f"r{axis}" if len(outer) > 1 else "r"
                terms.append(f"{row} * {self.names.size(('stride', node, axis), stride)}")
        return terms

    def _position(self, node: Node, skip_dynamic: bool = False) -> str:
        """Where a row's elements begin in a buffer, as text; empty for the beginning."""
        terms = []
        if node.param("offset"):
            terms.append(self.names.size(("offset", node), node.param("offset"), "o"))
        if self.rows:
            terms += self._outer_terms(node)
        elif node.param("strides")[-1]:
            terms.append(self._scaled("start", node))
        if node.op is LOAD and not skip_dynamic:
            terms += self._dynamic_terms(node, {})
        return " + ".join(terms)

    def _dynamic_terms(self, node: Node, inside: dict[Node, str]) -> list[str]:
        terms = []
        scales = node.param("dynamic")
        for place, (index, scale) in enumerate(zip(node.args[: len(scales)], scales, strict=True)):
            text = inside.get(index) or self._value(0, index)
            terms.append(text if scale == 1 else f"{text} * {self.names.size(('dynamic', node, place), scale)}")
        return terms

    def _scaled(self, position: str, node: Node) -> str:
        stride = node.param("strides")[-1]
        return position if stride == 1 else f"{position} * {self.names.size(('stride', node, -1), stride)}"

    def _base(self, depth: int, node: Node) -> str:
        """The pointer to a row's first element, made once per row."""
        position = self._position(node, skip_dynamic=True)
        name = self._input(node)
        if not position:
            return name
        return self._pointer(depth, name, position)

    def _pointer(self, depth: int, name: str, position: str) -> str:
        key = (name, position)
        if key not in self.bases:
            used = sum(1 for other, _ in self.bases if other == name)
            self.bases[key] = f"{name}_{'r' if self.rows else 'b'}{used or ''}"
            self._write(depth, f"{self.bases[key]} = offset({name}, {position})")
        return self.bases[key]

    def _load_element(self, depth: int, node: Node, inside: dict[Node, str]) -> str:
        terms = [self._scaled("i", node)] if node.param("strides")[-1] else []
        terms += self._dynamic_terms(node, inside)
        return self._guarded(depth, node, f"{self._base(depth, node)}[{' + '.join(terms) or '0'}]", inside)

    def _guarded(self, depth: int, node: Node, text: str, inside: dict[Node, str]) -> str:
        conditions = [inside.get(g) or self._value(depth, g) for g in guards(node)]
        if not conditions:
            return text
        return f"{text} if {' & '.join(conditions)} else {self.names.literal(literal(0, node.dtype))}"

    def _index(self, node: Node) -> str:
        position = self._position(node)
        terms = [position] if position else []
        if node in self.inner:
            terms.append(self._scaled("i", node))
        text = " + ".join(terms) or "0"
        if node.op is INSIDE:
            return f"inside({text}, {self.names.size(('size', node), node.param('size'))})"
        return f"int64({text})"

    def _output_row(self, depth: int, store: Store) -> str:
        if store.level == "columns":
            return self._columns_row(store)
        if store.level == "total":
            return ""
        name = self._output(store)
        begin = f"r * {self.names.size('n', 0, 'n')}" if self.rows else "start"
        return self._pointer(depth, name, begin)

    def _store_element(self, depth: int, store: Store, output: str, value: str) -> None:
        if store.level == "element":
            self._write(depth, f"{output}[i] = {value}")
        elif store.level == "columns":
            assert store.op is not None
            text = combined(store.op.name, store.value.dtype, f"{output}[i]", value)
            self._write(depth, f"{output}[i] = {text}")

    # Columns and what remains when all rows are done --------------------------------------------------------------------

    def _columns_row(self, store: Store) -> str:
        work = self.names.parameter(
            ("work", store), "p", "work", store.value.dtype, self.kernel.domain[-1] * -(-self.kernel.rows // COLUMN_BLOCK)
        )
        return f"{work}_b"

    def _columns_start(self, n: str) -> None:
        stores = [s for s in self.kernel.stores if s.level == "columns"]
        for store in stores:
            row = self._columns_row(store)
            self._write(2, f"{row} = offset({row.removesuffix('_b')}, b * {n})")
        self._write(2, f"for i in range({n}):")
        for store in stores:
            assert store.op is not None
            key = ("identity", store.op.name, store.value.dtype)
            start = self.names.parameter(
                key, "c", "literal", store.value.dtype, identity(store.op.name, store.value.dtype)
            )
            self._write(3, f"{self._columns_row(store)}[i] = {start}")

    def _finish(self, n: str) -> list[str]:
        before, self.lines = self.lines, []
        self.text_of, self.count = {}, 0
        results: dict[Node, str] = {}
        for store in self.kernel.stores:
            if store.level == "total":
                assert store.op is not None
                work = self.names.parameters[("work", store)].name
                count = self.names.size("rows", self.kernel.rows, "rows") if self.rows else f"({n} + {BLOCK - 1}) // {BLOCK}"
                results[store.target] = self._assign(1, f"{store.op.name}_of({work}, {count}, {work})")
                self._write(1, f"{self._output(store)}[0] = {results[store.target]}")
            elif store.level == "columns":
                assert store.op is not None
                work = self.names.parameters[("work", store)].name
                rows = self.names.size("rows", self.kernel.rows, "rows")
                blocks = f"({rows} + {COLUMN_BLOCK - 1}) // {COLUMN_BLOCK}"
                self._write(1, f"{store.op.name}_columns({work}, {blocks}, {n}, {self._output(store)})")
        for store in self.kernel.epilogue:
            results[store.target] = self._epilogue_value(store.value, results)
            self._write(1, f"{self._output(store)}[0] = {results[store.target]}")
        finish, self.lines = self.lines, before
        return finish

    def _epilogue_value(self, value: Node, results: dict[Node, str]) -> str:
        for node in toposort((value,), lambda n: n in self.text_of):
            if node in self.text_of:
                continue
            if node.op is RESULT:
                self.text_of[node] = results[node.param("target")]
            elif node.op is LITERAL:
                self.text_of[node] = self.names.literal(node)
            elif node.op is LOAD:
                offset = node.param("offset")
                place = self.names.size(("offset", node), offset, "o") if offset else "0"
                self.text_of[node] = self._assign(1, f"{self._input(node)}[{place}]")
            else:
                self.text_of[node] = self._assign(1, expression(node, [self.text_of[a] for a in node.args]))
        return self.text_of[value]


def emit(kernel: Kernel) -> Source:
    """The kernel's text and parameters."""
    return Emitter(kernel).source()


def names_used(text: str, available: Iterable[str]) -> list[str]:
    """Which of the available names a text calls, for its import lines."""
    return [name for name in available if f"{name}(" in text]
