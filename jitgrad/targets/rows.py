"""A kernel over long rows, or over one flat range, to text: one row after another, loops along the row."""

from __future__ import annotations

from jitgrad.ir import LITERAL, Node, toposort
from jitgrad.lower import varies
from jitgrad.ops.reductions import BLOCK, COLUMN_BLOCK, FEW, identity
from jitgrad.program import INDEX, INSIDE, LOAD, Kernel, Store, guards, runs_down
from jitgrad.targets.interior import Interior, interior, simplified
from jitgrad.targets.printer import Printer
from jitgrad.targets.source import Source, combined, expression

WIDTH = 256  # columns that scans run down together, without totals to reduce block by block


LONGEST = 192  # bytes of a short row, whose loops would spend their time before and after whole vectors
DEAR = 12  # the cost of operations that are worth vectors that are not full


def row_bytes(kernel: Kernel) -> int:
    """What a row takes where all elements are as wide as the widest of them."""
    inner = varies(kernel.body, len(kernel.domain) - 1)
    sizes = [n.dtype.itemsize for n in inner if n.op is not INDEX]
    return kernel.domain[-1] * max(sizes, default=kernel.targets[0].dtype.itemsize)


class RowPrinter(Printer):
    """Prints loops along a row; what does not vary along it is computed between the loops."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.bases: dict[tuple[str, str], str] = {}

    # Frame --------------------------------------------------------------------------------------------

    def source(self) -> Source:
        domain = self.kernel.domain
        n = self.names.size("n", domain[-1], "n")
        if self.plan.down:
            units = self._down(n)
        elif self.plan.columns:
            units = self._runs(n)
        elif self.plan.rows:
            units = self.kernel.rows
            self._each_row(1, "lo", "hi", n)
        else:
            units = self._flat(n)
        return self.finished(units, n)

    def _flat(self, n: str) -> int:
        """Blocks of elements, all of them one unit where a running value passes from each to the next."""
        scans = [node for node in self.plan.body if node.op.kind == "scan"]
        units = self.blocks()
        if scans:
            blocks = self.names.size("blocks", units, "d")
            units = 1
            self._write(1, f"for u in range(lo, hi * {blocks}):")
            self._write(2, f"b = {blocks} - 1 - u" if scans[0].param("reverse") else "b = u")
        else:
            self._write(1, "for b in range(lo, hi):")
        self._write(2, f"start = b * {BLOCK}")
        self._write(2, f"m = minimum({n} - start, {BLOCK})")
        self._row(2, "m")
        return units

    def _each_row(self, depth: int, low: str, high: str, n: str) -> None:
        """A loop over rows, or two: along the last of several outer axes no index has to be divided."""
        last = len(self.kernel.domain) - 2
        if last == 0:
            self._write(depth, f"for r in range({low}, {high}):")
            self._row(depth + 1, n)
            return
        size = self.names.size(("extent", last), self.kernel.domain[last], "d")
        self._write(depth, f"for q{last} in range({low} // {size}, ({high} + {size} - 1) // {size}):")
        self._write(depth + 1, f"begin = q{last} * {size}")
        self._decode(depth + 1, f"q{last}", last)
        ends = f"maximum({low} - begin, 0), minimum({high} - begin, {size})"
        self._write(depth + 1, f"for r{last} in range({ends}):")
        self._write(depth + 2, f"r = begin + r{last}")
        self._row(depth + 2, n)

    def _row(self, depth: int, n: str) -> None:
        """Everything that happens to one row (or to one block of a flat kernel)."""
        for loop in range(len(self.plan.loops)):
            roots = self.plan.loop_roots(loop)
            if not all(self._in_place(r) for r in roots) or self.plan.element_stores(loop):
                self._loop(depth, n, loop, roots)
            self._after_loop(depth, n, loop)
        for store in self.kernel.stores:
            if store.level == "row":
                place = self.side_by_side("r", store)
                self._write(depth, f"{self._output(store)}[{place}] = {self._value(depth, store.value)}")
            elif store.level == "total" and not self.plan.in_blocks:
                work = self.names.parameter(("work", store), "p", "work", store.value.dtype, self.kernel.rows)
                self._write(depth, f"{work}[r] = {self._value(depth, store.value)}")

    def _decode(self, depth: int, number: str, count: int) -> None:
        """The indices of the first outer loops from the number of what they hold."""
        for axis in reversed(range(1, count)):
            size = self.names.size(("extent", axis), self.kernel.domain[axis], "d")
            self._write(depth, f"r{axis} = {number} % {size}")
            self._write(depth, f"q{axis} = {number} // {size}")
            number = f"q{axis}"
        self._write(depth, f"r0 = {number}")

    # One loop over the row ----------------------------------------------------------------------------

    def _loop(self, depth: int, n: str, loop: int, roots: list[Node]) -> None:
        for node in self.plan.loops[loop]:
            for part in (node, *node.args):
                if part not in self.plan.inner:
                    self._value(depth, part)
            if node.op is LOAD:
                self._base(depth, node)
        for root in roots:
            if root not in self.plan.inner:
                self._value(depth, root)
        outputs = {store: self._output_row(depth, store) for store in self.plan.element_stores(loop)}
        inside = interior(self.plan.loops[loop], self.kernel.domain)
        if inside is None:
            self._write(depth, f"for i in {self._range(loop)}({n}):")
            self._elements(depth + 1, loop, outputs, {})
        else:
            self._around(depth, n, loop, outputs, inside)

    def _range(self, loop: int) -> str:
        """What a loop along the row runs over: a few elements are vectors that are not full.

        Not where little happens to them before they are read again: that waits for half a vector's writing.
        """
        columns = any(s.level == "columns" for s in self.plan.element_stores(loop))
        waits = columns or self.plan.reductions(loop)
        light = waits and sum(node.op.cost for node in self.plan.loops[loop]) < DEAR
        short = not self.plan.in_blocks and row_bytes(self.kernel) <= LONGEST
        return "few" if short and not light else "range"

    def _around(self, depth: int, n: str, loop: int, outputs: dict[Store, str], inside: Interior) -> None:
        """The parts of the interior, each without its guards, and the elements that lie outside."""
        ends = dict.fromkeys(end for part in inside.parts for end in (part.start, part.stop))
        texts = {end: self._end(depth, n, (loop, place), end) for place, end in enumerate(ends)}
        first, last = texts[inside.parts[0].start], texts[inside.parts[-1].stop]
        if inside.usual:
            self._write(depth, f"z{loop} = {last} if {self._is_usual(depth, inside)} else {first}")
            last = f"z{loop}"
        if not inside.covers:
            self._write(depth, "for edge in range(2):")
            self._write(depth + 1, f"for i in range(edge * {last}, {first} + edge * ({n} - {first})):")
            self._elements(depth + 2, loop, outputs, {})
        elif inside.usual:
            self._write(depth, f"for i in range({last}, {n}):")
            self._elements(depth + 1, loop, outputs, {})
        for part in inside.parts:
            stop = texts[part.stop]
            if inside.usual:
                stop = last if len(inside.parts) == 1 else f"minimum({stop}, {last})"
            self._write(depth, f"for i in range({texts[part.start]}, {stop}):")
            self._elements(depth + 1, loop, outputs, part.truths)

    def _end(self, depth: int, n: str, key: tuple[int, int], end: int) -> str:
        """Where a part begins or ends in this row (or block), as text."""
        size = self.names.size(("end", key), end, "e")
        if not self.plan.in_blocks:
            return size
        name = f"m{key[0]}_{key[1]}"
        self._write(depth, f"{name} = minimum(maximum({size} - start, 0), {n})")
        return name

    def _is_usual(self, depth: int, inside: Interior) -> str:
        tests = [
            self._value(depth, guard) if held else f"({self._value(depth, guard)} == False)"
            for guard, held in inside.usual.items()
        ]
        return " & ".join(tests)

    def _elements(self, depth: int, loop: int, outputs: dict[Store, str], truths: dict[Node, bool]) -> None:
        """The body of a loop along the row, with what is known of its guards."""
        read = self.plan.read[loop]

        def stop(node: Node) -> bool:
            return node not in self.plan.inner or node in read

        roots = list(dict.fromkeys([*self.plan.loop_roots(loop), *self.plan.writes(loop)]))
        known = simplified(roots, truths, stop) if truths else {}
        targets = [known.get(root, root) for root in roots]
        wanted = toposort(targets, lambda n: n in read or n in self.text_of) if truths else []
        fresh = [n for n in wanted if n.op is not LITERAL and n not in self.text_of]
        nodes = fresh if truths else self.plan.loops[loop]
        inside: dict[Node, str] = {}
        for node in nodes:
            inside[node] = self._element(depth, node, loop, inside)

        def text(node: Node) -> str:
            node = known.get(node, node)
            return inside.get(node) or self._value(depth, node)

        for node in self.plan.writes(loop):
            if not self._in_place(node):
                self._write(depth, f"{self._temp(node)}[i] = {text(node)}")
        for store, output in outputs.items():
            self._store_element(depth, store, output, text(store.value))

    def _in_place(self, node: Node) -> bool:
        """Whether the value stands in memory already, contiguous along the row."""
        return node.op is LOAD and not node.args and node.param("strides")[-1] == 1

    def _temp(self, node: Node) -> str:
        count = BLOCK if self.plan.in_blocks else self.kernel.domain[-1]
        return self.names.parameter(("temp", node), "t", "temp", node.dtype, count)

    def _element(self, depth: int, node: Node, loop: int, inside: dict[Node, str]) -> str:
        if node in self.plan.read[loop] and not self._in_place(node):
            text = f"{self._temp(node)}[i]"
        elif node.op is LOAD:
            text = self._load_element(depth, node, inside)
        elif node.op is INDEX or node.op is INSIDE:
            text = self._index(node)
        else:
            args = [inside.get(a) or self._value(depth, a) for a in node.args]
            text = self._passed_on(depth, node, args) if runs_down(node) else expression(node, args)
        return self._assign(depth, text)

    def _after_loop(self, depth: int, n: str, loop: int) -> None:
        for node in self.plan.scans(loop):
            self._scan(depth, node, n)
        for node in self.plan.reductions(loop):
            self.text_of[node] = self._assign(depth, self._reduced(depth, node.op.name, node.args[0], n))
        if self.plan.in_blocks:
            for store in self.kernel.stores:
                if store.level == "total" and self.plan.stage[store.value] == loop:
                    assert store.op is not None
                    count = self.blocks() * (self.kernel.rows if self.plan.down else 1)
                    work = self.names.parameter(("work", store), "p", "work", store.value.dtype, count)
                    place = f"r * {self.block_count()} + start // {BLOCK}" if self.plan.down else "b"
                    counted = self._counted(depth, store, n)
                    total = self._reduced(depth, store.op.name, store.value, counted)
                    self._write(depth, f"{work}[{place}] = {total}")

    def _counted(self, depth: int, store: Store, m: str) -> str:
        """How many elements of a block a total takes in."""
        if store.count is None:
            return m
        return self._assign(depth, f"minimum(maximum({self.total_count(store, m)} - start, 0), {m})")

    def _scan(self, depth: int, node: Node, n: str) -> None:
        """One running value along the row, or on from the block before."""
        form = "back" if node.param("reverse") else "scan"
        last = self.names.parameter(("last", node), "k", "temp", node.dtype, 1)
        begun = "0" if self.plan.rows else "minimum(u, 1)"
        operands = ", ".join(self._operand(depth, a) for a in node.args)
        self._write(depth, f"{node.op.name}_{form}({operands}, {self._temp(node)}, {n}, {begun}, {last})")

    def _operand(self, depth: int, node: Node) -> str:
        """Where a row's or block's values stand, as text."""
        return self._base(depth, node) if self._in_place(node) else self._temp(node)

    def _reduced(self, depth: int, op: str, operand: Node, n: str) -> str:
        values = self._operand(depth, operand)
        if self.plan.in_blocks:
            return f"{op}_block({values}, {n})"
        work = self.names.parameter(("tree", operand.dtype), "w", "temp", operand.dtype, self.blocks())
        return f"{op}_of({values}, {n}, {work})"

    # Values -------------------------------------------------------------------------------------------

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
                terms.append(f"{row} * {self.names.size(('stride', node.params, axis), stride)}")
        return terms

    def _position(self, node: Node, skip_dynamic: bool = False) -> str:
        """Where a row's elements begin in a buffer, as text; empty for the beginning."""
        terms = []
        if node.param("offset"):
            terms.append(self._offset(node))
        if self.plan.rows:
            terms += self._outer_terms(node)
        if self.plan.in_blocks and node.param("strides")[-1]:
            terms.append(self._scaled("start", node))
        if node.op is LOAD and not skip_dynamic:
            terms += self._dynamic_terms(node, {})
        return " + ".join(terms)

    def _dynamic_terms(self, node: Node, inside: dict[Node, str]) -> list[str]:
        terms = []
        scales = node.param("dynamic")
        for place, (index, scale) in enumerate(zip(node.args[: len(scales)], scales, strict=True)):
            text = inside.get(index) or self._value(0, index)
            terms.append(
                text if scale == 1 else f"{text} * {self.names.size(('dynamic', node.params, place), scale)}"
            )
        return terms

    def _offset(self, node: Node) -> str:
        """A number where elements lie side by side with those of other loads: LLVM loads them together."""
        offset = node.param("offset")
        if 0 < offset < node.param("strides")[-1] <= FEW:
            return str(offset)
        return self.names.size(("offset", node.params), offset, "o")

    def _scaled(self, position: str, node: Node) -> str:
        stride = node.param("strides")[-1]
        if 1 <= stride <= FEW:
            return position if stride == 1 else f"{position} * {stride}"
        return f"{position} * {self.names.size(('stride', node.params, -1), stride)}"

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
            self.bases[key] = f"{name}_{'r' if self.plan.rows else 'b'}{used or ''}"
            self._write(depth, f"{self.bases[key]} = offset({name}, {position})")
        return self.bases[key]

    def _load_element(self, depth: int, node: Node, inside: dict[Node, str]) -> str:
        terms = [self._scaled("i", node)] if node.param("strides")[-1] else []
        terms += self._dynamic_terms(node, inside)
        return self._guarded(depth, node, f"{self._base(depth, node)}[{' + '.join(terms) or '0'}]", inside)

    def _guarded(self, depth: int, node: Node, text: str, inside: dict[Node, str]) -> str:
        conditions = [inside.get(g) or self._value(depth, g) for g in guards(node)]
        return self.guarded(text, conditions, node.dtype)

    def _index(self, node: Node) -> str:
        position = self._position(node)
        terms = [position] if position else []
        if node in self.plan.inner:
            terms.append(self._scaled("i", node))
        text = " + ".join(terms) or "0"
        if node.op is INSIDE:
            return f"inside({text}, {self.names.size(('size', node.params), node.param('size'))})"
        return f"int64({text})"

    def _output_row(self, depth: int, store: Store) -> str:
        if store.level == "columns":
            part = self._columns_row(store)
            if self.plan.down:
                where = f"part * {self.names.size('n', 0, 'n')} + start"
                return self._pointer(depth, part.removesuffix("_b"), where)
            if not self.after_run:
                return part
            last = len(self.kernel.domain) - 2
            after = f"r{last}" if self.kernel.run[1] == last else f"r % {self.rows_after_run()}"
            return self._pointer(depth, part, f"{after} * {self.names.size('n', 0, 'n')}")
        if store.level == "total":
            return ""
        name = self._output(store)
        terms = [f"r * {self.names.size('n', 0, 'n')}"] if self.plan.rows else []
        terms += ["start"] if self.plan.in_blocks else []
        if store.part is not None:
            terms = [f"{term} * {store.part[1]}" for term in terms]
        return self._pointer(depth, name, " + ".join(terms))

    def _store_element(self, depth: int, store: Store, output: str, value: str) -> None:
        if store.level == "element":
            self._write(depth, f"{output}[{self.side_by_side('i', store)}] = {value}")
        elif store.level == "columns":
            assert store.op is not None
            text = combined(store.op.name, store.value.dtype, f"{output}[i]", value)
            if self.plan.down:
                text = f"select(within, {text}, {value})"
            self._write(depth, f"{output}[i] = {text}")

    # Scans down the rows ------------------------------------------------------------------------------

    def _down(self, n: str) -> int:
        """Blocks of columns, each from its first row along the run to the last, or backwards."""
        before, _, after = self.kernel.around_run
        totals = any(store.level == "total" for store in self.kernel.stores)
        width = BLOCK if totals else WIDTH
        blocks = -(-self.kernel.domain[-1] // width)
        count, length = self.names.size(("parts", width), blocks, "d"), self.run_length()
        backwards = any(node.param("reverse") for node in self.plan.body if runs_down(node))
        self._write(1, "for b in range(lo, hi):")
        self._write(2, f"start = b % {count} * {width}")
        self._write(2, f"m = minimum({n} - start, {width})")
        self._write(2, f"for u in range({length}):")
        self._write(3, "begun = u > 0")
        self._write(3, f"r = {self._row_at(f'({length} - 1 - u)' if backwards else 'u', length, count)}")
        if self.plan.columns:
            parts = f"(({length} + {COLUMN_BLOCK - 1}) // {COLUMN_BLOCK})"
            self._write(3, f"within = u % {COLUMN_BLOCK} > 0")
            self._write(3, f"part = {self._row_at(f'u // {COLUMN_BLOCK}', parts, count)}")
        if len(self.kernel.domain) > 2:
            self._decode(3, "r", len(self.kernel.domain) - 1)
        self._row(3, "m")
        return before * after * blocks

    def _row_at(self, place: str, length: str, count: str) -> str:
        """The number of the row at a place along a run of this length, in unit b, as text."""
        if self.after_run:
            after = self.rows_after_run()
            place = f"{place} * {after} + b // {count} % {after}"
            length, count = f"{length} * {after}", f"({count} * {after})"
        return f"{place} + b // {count} * ({length})" if self.kernel.run[0] else place

    def _passed_on(self, depth: int, node: Node, args: list[str]) -> str:
        """The total of a column with this row's element, in the place of that of the row before."""
        key, count = ("carry", node.param("carry")), min(BLOCK, self.kernel.domain[-1])
        total = f"{self.names.parameter(key, 'k', 'temp', node.dtype, count)}[i]"
        step = f"{node.op.name}_step({', '.join([total, *args])})"
        text = self._assign(depth, f"select(begun, {step}, {args[-1]})")
        self._write(depth, f"{total} = {text}")
        return text

    # Columns and what remains when all rows are done --------------------------------------------------

    def _runs(self, n: str) -> int:
        """Blocks of rows along the run, each into a part of its own."""
        _, run, _ = self.kernel.around_run
        count = -(-run // COLUMN_BLOCK)
        self._write(1, "for b in range(lo, hi):")
        self._columns_start(n)
        length = self.run_length()
        block, begin = "b", ""
        if self.kernel.run[0]:
            blocks = self.names.size("blocks", count, "d")
            self._write(2, f"block = b % {blocks}")
            self._write(2, f"before = b // {blocks} * {length}")
            block, begin = "block", "before + "
        low = f"{begin}{block} * {COLUMN_BLOCK}"
        high = f"{begin}minimum({block} * {COLUMN_BLOCK} + {COLUMN_BLOCK}, {length})"
        if self.after_run:
            low, high = (f"({end}) * {self.rows_after_run()}" for end in (low, high))
        if len(self.kernel.domain) > 2:
            self._write(2, f"low = {low}")
            self._write(2, f"high = {high}")
            low, high = "low", "high"
        self._each_row(2, low, high, n)
        return self.kernel.around_run[0] * count

    def _columns_row(self, store: Store) -> str:
        before, run, after = self.kernel.around_run
        size = before * -(-run // COLUMN_BLOCK) * after * self.kernel.domain[-1]
        work = self.names.parameter(("work", store), "p", "work", store.value.dtype, size)
        return f"{work}_b"

    def _columns_start(self, n: str) -> None:
        stores = [s for s in self.kernel.stores if s.level == "columns"]
        width = self.columns_width(n)
        for store in stores:
            row = self._columns_row(store)
            self._write(2, f"{row} = offset({row.removesuffix('_b')}, b * {width})")
        self._write(2, f"for i in range({width}):")
        for store in stores:
            assert store.op is not None
            key = ("identity", store.op.name, store.value.dtype)
            start = self.names.parameter(
                key, "c", "literal", store.value.dtype, identity(store.op.name, store.value.dtype)
            )
            self._write(3, f"{self._columns_row(store)}[i] = {start}")
