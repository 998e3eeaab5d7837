"""The machine code of matrix products, as LLVM IR for the vectors of a CPU.

Every element of a product is the sum of its terms in one order, which nothing but the sizes decides: neither
memory layout, nor the place of the element, nor the number of threads, nor the width of vectors.

- A matrix times a matrix: blocks of `BLOCK` terms; a chain of fused multiply-adds makes the sum of a block,
  and the sums of blocks are added in order.
- A matrix times a vector: blocks of ``BLOCK * LANES`` terms, each in `LANES` chains, of which chain l takes
  every `LANES`-th term from term l on; chains are added in halves, l to ``l + LANES / 2`` first.

Two functions follow the launcher's convention, ``void f(i64 *args, i64 low, i64 high, i8 *scratch)``. For
matrices a unit is a tile of the result; operands that are read often, or lie badly, are copied into panels
that lie as the innermost loop reads them. For vectors a unit is some rows of the matrix, which has unit
strides along its rows or its columns, as the vector has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from jitgrad.machine.loops import POINTER, WORD, Function, word
from jitgrad.machine.product_arguments import BLOCK, LANES, POINTERS, ROW_BYTES, WORDS, Registers, names
from jitgrad.machine.product_writer import Writer, lane_numbers

ROWS = 8  # of few terms, whose sums are made together
COLUMNS = 4  # of one chain that are added to it together

_Given = dict[str, Any]  # the arguments
_Places = dict[tuple[int, int], Any]  # by row and vector


def text(registers: Registers, of_vector: bool) -> str:
    """LLVM IR of one of the functions."""
    made = _Code(registers)
    return made.vector_sums() if of_vector else made.matrices()


class _Code(Writer):
    """The module, function by function."""

    def __init__(self, registers: Registers) -> None:
        super().__init__(registers)
        self.put = self._put()

    def matrices(self) -> str:
        """The function for a matrix times a matrix."""
        self.pack = self._pack()
        self.inner = {(rows, n): self._inner(rows, n) for n in (1, 2) for rows in self.heights}
        self.inner_in_place = self._inner(self.heights[0], 1, in_place=True)
        self.tile = self._tile()
        self._exported(names(self.registers)[0], self._tile_of)
        return str(self.module)

    def vector_sums(self) -> str:
        """The function for a matrix times a vector."""
        self.row_sums, self.column_sums = self._row_sums(), self._column_sums()
        self.short_row_sums = {chains: self._short_row_sums(chains) for chains in (ROWS, LANES)}
        self._exported(names(self.registers)[1], self._rows_of)
        return str(self.module)

    # A matrix times a matrix ------------------------------------------------------------------------------

    def _pack(self) -> ir.Function:
        """Copy `count` rows of `inner` elements to columns of panels of some width.

        Element (j + i, l) goes to j * BLOCK + l * width + i, where j is a multiple of the width. What lies
        beyond the count in its last vector is undefined: it is computed with, but not stored.
        """
        f = Function(self.module, "pack", "pwwwwpw")
        source, row, step, count, inner, panel, width = f.args
        unit_inner, unit_row = (f.build.icmp_signed("==", s, word(1)) for s in (step, row))
        with f.build.if_else(unit_row) as (copy, other):
            with copy, f.loop(inner) as l:
                self._copy(f, self.at(f, source, l, step), self.at(f, panel, l, width), count, width)
            with other, self.vectors(f, count, width) as (j, i, left):
                number = f.build.add(j, i)
                here, there = self.at(f, source, number, row), self.at(f, panel, j, BLOCK, i, 1)
                with f.build.if_else(unit_inner) as (across, apart):
                    with across:
                        self._turn_all(f, here, there, row, width, left, inner)
                    with apart, f.loop(inner) as l, f.loop(left) as r:
                        value = self.load(f, self.at(f, here, l, step, r, row))
                        self.store(f, value, self.at(f, there, l, width, r, 1))
        return f.finish()

    @contextmanager
    def vectors(self, f: Function, count: Any, width: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Where panels begin, where vectors begin in them, and how many elements are left for each vector."""
        lanes = self.registers.lanes
        with self.panels(f, word(0), count, width) as (j, there), f.loop(there, lanes) as i:
            yield j, i, f.least(f.build.sub(there, i), lanes)

    def _copy(self, f: Function, source: Any, panel: Any, count: Any, width: Any) -> None:
        """Copy elements that lie one beside the other to a row of each panel."""
        lanes = self.registers.lanes
        with self.vectors(f, count, width) as (j, i, left):
            here, there = self.at(f, source, j, 1, i, 1), self.at(f, panel, j, BLOCK, i, 1)
            with f.build.if_else(f.build.icmp_signed("==", left, word(lanes))) as (whole, partial):
                with whole:
                    self.store(f, self.load(f, here, self.vector), there)
                with partial:
                    self.store(f, self.masked_load(f, here, self.mask(f, left, lanes), self.vector), there)

    def _turn_all(
        self, f: Function, source: Any, panel: Any, row: Any, width: Any, count: Any, inner: Any
    ) -> None:
        """Transpose as many rows as a vector has lanes, or fewer."""
        lanes, build = self.registers.lanes, f.build
        whole = build.and_(inner, word(-lanes))
        with f.loop(whole, lanes) as l:
            self._turn(f, self.at(f, source, l, 1), self.at(f, panel, l, width), row, width, count)
        with build.if_then(build.icmp_signed("<", whole, inner)):
            mask = self.mask(f, build.sub(inner, whole), lanes)
            places = self.at(f, source, whole, 1), self.at(f, panel, whole, width)
            self._turn(f, *places, row, width, count, mask)

    def _turn(
        self, f: Function, source: Any, panel: Any, row: Any, width: Any, count: Any, mask: Any = None
    ) -> None:
        """Transpose a square of a vector's size, of which the mask says which columns are there.

        Rows beyond the count repeat the last one.
        """
        lanes, build = self.registers.lanes, f.build
        last = build.sub(count, word(1))
        rows = [self.at(f, source, f.least(r, last), row) for r in range(lanes)]
        if mask is None:
            values = [self.load(f, place, self.vector) for place in rows]
        else:
            values = [self.masked_load(f, place, mask, self.vector) for place in rows]
        half = lanes // 2
        while half:
            for r in (r for r in range(lanes) if not r & half):
                upper = [lanes + (q ^ half) if q & half else q for q in range(lanes)]
                lower = [lanes + q if q & half else q | half for q in range(lanes)]
                pair = values[r], values[r | half]
                values[r], values[r | half] = (
                    build.shuffle_vector(*pair, ir.Constant(lane_numbers(lanes), chosen))
                    for chosen in (upper, lower)
                )
            half //= 2
        for r, value in enumerate(values):
            self.store(f, value, self.at(f, panel, r, width))

    def _inner(self, rows: int, vectors: int, in_place: bool = False) -> ir.Function:
        """The innermost loops: sums of `inner` products for panels of some rows, or for one of fewer, and for
        vectors, of which the last may be cut off after some columns; so are rows of y that are `in_place`."""
        name = f"inner_{rows}_{vectors}{'_in_place' if in_place else ''}"
        f = Function(self.module, name, "pwwpwwwpwwww")
        x, x_row, x_inner, y, y_inner, inner, height, out, *steps, columns, block = f.args
        lanes, build = self.registers.lanes, f.build
        panel = f.least(height, rows)
        xs, outs = (self._rows_at(f, step, rows, panel) for step in (x_row, steps[0]))
        chains = {(i, j): f.local(self.vector) for i in range(rows) for j in range(vectors)}
        mask = self.mask(f, columns, lanes)
        in_rows = build.icmp_signed("==", steps[1], word(1))
        simple = build.and_(in_rows, build.icmp_signed("==", block, word(0)))
        with f.loop(height, rows) as begin:
            here = self.at(f, x, begin, x_row)
            for chain in chains.values():
                build.store(ir.Constant(self.vector, None), chain)
            with f.loop(inner) as l:
                from_x, from_y = self.at(f, here, l, x_inner), self.at(f, y, l, y_inner)
                if in_place:
                    ys = [self.masked_load(f, from_y, mask, self.vector)]
                else:
                    ys = [self.load(f, self.at(f, from_y, j, lanes), self.vector) for j in range(vectors)]
                for i in range(rows):
                    factor = self.splat(f, self.load(f, self.at(f, from_x, xs[i], 1)), lanes)
                    for j in range(vectors):
                        chain = chains[i, j]
                        build.store(self.fma(f, factor, ys[j], build.load(chain, typ=self.vector)), chain)
            sums = {place: build.load(chain, typ=self.vector) for place, chain in chains.items()}
            there = self.at(f, out, begin, steps[0])
            with build.if_else(simple) as (store, add):
                with store:
                    addresses = {(i, j): self.at(f, there, outs[i], 1, j, lanes) for i, j in sums}
                    self._store_rows(f, sums, addresses, columns)
                with add:
                    memory = f.local(self.vector, 2 * rows)
                    for (i, j), value in sums.items():
                        self.store(f, value, self.at(f, memory, i, self.registers.columns, j, lanes))
                    build.call(self.put, [memory, there, *steps, panel, columns, block])
        return f.finish()

    def _rows_at(self, f: Function, step: Any, rows: int, height: Any) -> list[Any]:
        """How far rows lie from the first; those from `height` on repeat the last."""
        places = [word(0)]
        for i in range(1, rows):
            there = f.build.icmp_signed("<", word(i), height)
            places.append(f.build.add(places[-1], f.build.select(there, step, word(0))))
        return places

    def _store_rows(self, f: Function, sums: _Places, addresses: _Places, columns: Any) -> None:
        """Store rows of vectors, of which the last may be cut off after some columns."""
        vectors = 1 + max(j for _, j in sums)
        whole = f.build.icmp_signed("==", columns, word(vectors * self.registers.lanes))
        with f.build.if_else(whole) as (simple, partial):
            with simple:
                for place, value in sums.items():
                    self.store(f, value, addresses[place])
            with partial:
                left = [f.build.sub(columns, word(j * self.registers.lanes)) for j in range(vectors)]
                masks = [self.mask(f, count, self.registers.lanes) for count in left]
                for place, value in sums.items():
                    self.masked_store(f, value, addresses[place], masks[place[1]])

    def _put(self) -> ir.Function:
        """Store the sums of the first block, add those of later ones."""
        f = Function(self.module, "put", "ppwwwww")
        sums, out, out_row, out_column, rows, columns, block = f.args
        lanes, build = self.registers.lanes, f.build
        first = build.icmp_signed("==", block, word(0))
        in_rows = build.icmp_signed("==", out_column, word(1))
        with f.loop(build.select(in_rows, columns, word(0)), lanes) as j:
            mask = self.mask(f, build.sub(columns, j), lanes)
            known = build.and_(mask, self.splat(f, build.not_(first), lanes))
            with f.loop(rows) as i:
                place = self.at(f, out, i, out_row, j, 1)
                value = self.load(f, self.at(f, sums, i, self.registers.columns, j, 1), self.vector)
                before = self.masked_load(f, place, known, self.vector, -0.0)
                self.masked_store(f, build.fadd(before, value), place, mask)
        with f.loop(build.select(in_rows, word(0), rows)) as i:
            here, there = self.at(f, sums, i, self.registers.columns), self.at(f, out, i, out_row)
            with build.if_else(first) as (fresh, later):
                with fresh, f.loop(columns) as j:
                    self.store(f, self.load(f, self.at(f, here, j, 1)), self.at(f, there, j, out_column))
                with later, f.loop(columns) as j:
                    place = self.at(f, there, j, out_column)
                    total = build.fadd(self.load(f, place), self.load(f, self.at(f, here, j, 1)))
                    self.store(f, total, place)
        return f.finish()

    def _tile(self) -> ir.Function:
        """A tile of the result, over all terms."""
        f = Function(self.module, "tile", "pwwpwwpwwwwwpww")
        (
            x,
            x_row,
            x_inner,
            y,
            y_inner,
            y_column,
            out,
            out_row,
            out_column,
            rows,
            inner,
            columns,
            scratch,
            *packing,
        ) = f.args
        registers, build = self.registers, f.build
        pack_x, pack_y = (build.icmp_signed("!=", flag, word(0)) for flag in packing)
        panel = build.inttoptr(
            build.and_(build.add(build.ptrtoint(scratch, WORD), word(63)), word(-64)), POINTER
        )
        y_panels = self.at(f, panel, BLOCK, registers.panel)
        narrow = build.icmp_signed("<=", columns, word(registers.lanes))
        width = build.select(narrow, word(registers.lanes), word(registers.columns))
        whole = build.mul(build.sdiv(columns, width), width)
        packed_from = build.select(pack_y, word(0), whole)
        with f.loop(self._blocks(f, inner, BLOCK)) as block:
            begin = build.mul(block, word(BLOCK))
            size = f.least(build.sub(inner, begin), BLOCK)
            xs, ys = self.at(f, x, begin, x_inner), self.at(f, y, begin, y_inner)
            here, there = self.at(f, ys, packed_from, y_column), self.at(f, y_panels, packed_from, BLOCK)
            count = build.sub(columns, packed_from)
            build.call(self.pack, [here, y_column, y_inner, count, size, there, width])
            together = build.select(pack_x, word(registers.rows), self._whole(f, rows, registers.rows))
            with f.loop(rows, together) as i:
                height = f.least(build.sub(rows, i), together)
                here = self.at(f, xs, i, x_row)
                with build.if_then(pack_x):
                    build.call(self.pack, [here, x_row, x_inner, height, size, panel, word(registers.panel)])
                from_x = build.select(pack_x, panel, here)
                steps_x = [
                    build.select(pack_x, word(packed), given)
                    for packed, given in ((1, x_row), (registers.panel, x_inner))
                ]
                with self.panels(f, word(0), columns, width) as (j, count):
                    packed = build.icmp_signed(">=", j, packed_from)
                    from_y = build.select(packed, self.at(f, y_panels, j, BLOCK), self.at(f, ys, j, 1))
                    step_y = build.select(packed, width, y_inner)
                    place = self.at(f, out, i, out_row, j, out_column)
                    sizes = size, height, place, out_row, out_column, count, block
                    args = [from_x, *steps_x, from_y, step_y, *sizes]
                    self.dispatch(f, height, count, args)
        return f.finish()

    def _whole(self, f: Function, rows: Any, step: int) -> Any:
        """The rows that the innermost loop takes in one go: a multiple of the step, if there are so many."""
        whole = f.build.mul(f.build.udiv(rows, word(step)), word(step))
        return f.build.select(f.build.icmp_signed("==", whole, word(0)), word(step), whole)

    @property
    def heights(self) -> list[int]:
        """The numbers of rows for which there is an innermost loop."""
        rows = self.registers.rows
        return [rows // 3, 2 * rows // 3, rows]

    @contextmanager
    def panels(self, f: Function, start: Any, columns: Any, width: Any) -> Iterator[tuple[Any, Any]]:
        with f.loop(columns, width, start) as j:
            yield j, f.least(f.build.sub(columns, j), width)

    def dispatch(self, f: Function, height: Any, columns: Any, args: list[Any]) -> None:
        """Call the innermost loop for the fewest rows and vectors that suffice."""
        build = f.build
        end = f.function.append_basic_block("called")
        for vectors in (1, 2):
            fits = build.icmp_signed("<=", columns, word(vectors * self.registers.lanes))
            for rows in self.heights:
                taken, other = (f.function.append_basic_block(name) for name in ("call", "else"))
                enough = build.icmp_signed("<=", height, word(rows))
                chosen = fits if rows == self.registers.rows else build.and_(fits, enough)
                build.cbranch(chosen, taken, other)
                build.position_at_end(taken)
                build.call(self.inner[rows, vectors], args)
                build.branch(end)
                build.position_at_end(other)
        build.unreachable()
        build.position_at_end(end)

    # A matrix times a vector ------------------------------------------------------------------------------

    def _row_sums(self) -> ir.Function:
        """Rows without gaps: the chains are the lanes of a vector."""
        f = Function(self.module, "row_sums", "pwpwwpw")
        x, row, y, rows, inner, out, block = f.args
        build, kind = f.build, ir.VectorType(self.scalar, LANES)
        whole = build.and_(inner, word(-LANES))
        mask = self.mask(f, build.sub(inner, whole), LANES)
        chains = f.local(kind)
        with f.loop(rows) as i:
            here = self.at(f, x, i, row)
            build.store(ir.Constant(kind, None), chains)
            with f.loop(whole, LANES) as l:
                a, b = (self.load(f, self.at(f, base, l, 1), kind) for base in (here, y))
                build.store(self.fma(f, a, b, build.load(chains, typ=kind)), chains)
            a, b = (self.masked_load(f, self.at(f, base, whole, 1), mask, kind) for base in (here, y))
            before = build.load(chains, typ=kind)
            sums = self._sums_of_chains(f, [build.select(mask, self.fma(f, a, b, before), before)])
            total = build.extract_element(sums, ir.Constant(WORD, 0))
            place = self.at(f, out, i, 1)
            first = build.icmp_signed("==", block, word(0))
            with build.if_else(first) as (fresh, later):
                with fresh:
                    self.store(f, total, place)
                with later:
                    self.store(f, build.fadd(self.load(f, place), total), place)
        return f.finish()

    def _short_row_sums(self, chains: int) -> ir.Function:
        """Rows without gaps of so few terms that each is in a chain of its own; chains beyond have none."""
        f = Function(self.module, f"short_row_sums_{chains}", "pwpwwp")
        x, row, y, rows, inner, out = f.args
        build, kind = f.build, ir.VectorType(self.scalar, chains)
        nothing, mask = ir.Constant(kind, None), self.mask(f, inner, chains)
        factors = self.masked_load(f, y, mask, kind)
        with f.loop(rows, ROWS) as i:
            here = self.at(f, x, i, row)
            places = [self.at(f, here, there, 1) for there in self._rows_at(f, row, ROWS, build.sub(rows, i))]
            values = [
                self.fma(f, self.masked_load(f, place, mask, kind), factors, nothing) for place in places
            ]
            if chains < LANES:
                values = [build.fadd(value, nothing) for value in values]
            there = self.mask(f, build.sub(rows, i), ROWS)
            self.masked_store(f, self._sums_of_chains(f, values), self.at(f, out, i, 1), there)
        return f.finish()

    def _sums_of_chains(self, f: Function, values: list[Any]) -> Any:
        """Add the lanes of each vector in halves: the sums, as one vector."""
        part, size = values[0].type.count, values[0].type.count
        while part > 1:
            added = []
            for pair in (values[k : k + 2] for k in range(0, len(values), 2)):
                first = [k for k in range(len(pair) * size) if k % part < part // 2]
                halves = [
                    f.build.shuffle_vector(pair[0], pair[-1], ir.Constant(lane_numbers(len(first)), chosen))
                    for chosen in (first, [k + part // 2 for k in first])
                ]
                added.append(f.build.fadd(*halves))
            values, part, size = added, part // 2, added[0].type.count
        return values[0]

    def _column_sums(self) -> ir.Function:
        """Columns without gaps: each chain is a column of sums in memory."""
        f = Function(self.module, "column_sums", "pwpwwpw")
        x, column, y, rows, inner, out, block = f.args
        build, lanes, height = f.build, self.registers.lanes, ROW_BYTES // self.size
        chains = f.local(self.vector, LANES * height // lanes)
        with f.loop(LANES) as chain, f.loop(rows, lanes) as i:
            self.store(f, ir.Constant(self.vector, None), self.at(f, chains, chain, height, i, 1))
        together = build.and_(inner, word(-LANES * COLUMNS))
        with f.loop(together, LANES * COLUMNS) as l, f.loop(LANES) as chain:
            first = build.add(l, chain)
            self._add_columns(f, x, column, y, rows, first, COLUMNS, self.at(f, chains, chain, height))
        with f.loop(inner, start=together) as l:
            chain = build.and_(l, word(LANES - 1))
            self._add_columns(f, x, column, y, rows, l, 1, self.at(f, chains, chain, height))
        with f.loop(LANES.bit_length() - 1) as step:
            half = build.lshr(word(LANES // 2), step)
            with f.loop(half) as chain, f.loop(rows, lanes) as i:
                place = self.at(f, chains, chain, height, i, 1)
                other = self.load(f, self.at(f, place, half, height), self.vector)
                self.store(f, build.fadd(self.load(f, place, self.vector), other), place)
        build.call(self.put, [chains, out, word(0), word(1), word(1), rows, block])
        return f.finish()

    def _add_columns(
        self, f: Function, x: Any, column: Any, y: Any, rows: Any, first: Any, count: int, chain: Any
    ) -> None:
        """Add columns of one chain, `LANES` apart, to its sums."""
        build, lanes = f.build, self.registers.lanes
        numbers = [build.add(first, word(LANES * i)) for i in range(count)]
        factors = [self.splat(f, self.load(f, self.at(f, y, l, 1)), lanes) for l in numbers]

        def add(i: Any, values: list[Any]) -> None:
            place = self.at(f, chain, i, 1)
            total = self.load(f, place, self.vector)
            for factor, value in zip(factors, values, strict=True):
                total = self.fma(f, value, factor, total)
            self.store(f, total, place)

        whole = build.and_(rows, word(-lanes))
        with f.loop(whole, lanes) as i:
            add(i, [self.load(f, self.at(f, x, l, column, i, 1), self.vector) for l in numbers])
        with build.if_then(build.icmp_signed("<", whole, rows)):
            mask = self.mask(f, build.sub(rows, whole), lanes)
            places = [self.at(f, x, l, column, whole, 1) for l in numbers]
            add(whole, [self.masked_load(f, place, mask, self.vector) for place in places])

    # The exported functions -------------------------------------------------------------------------------

    def _exported(self, name: str, of_unit: Callable[..., None]) -> None:
        """Compute units: find the matrices of each, and let `of_unit` do its tile of them."""
        f = Function(self.module, name, "pwwp", exported=True)
        block, low, high, scratch = f.args
        build = f.build
        given = {}
        for i, argument in enumerate(WORDS):
            place = build.gep(block, [word(i)], source_etype=WORD)
            given[argument] = build.load(place, typ=POINTER if i < POINTERS else WORD)
        area = build.mul(given["rows"], given["columns"])
        counters = self._counters(f, [given["tiles_across"], given["tiles_down"], given["batch"]], low)
        with f.loop(high, start=low):
            across, down, batch, outer = (build.load(counter, typ=WORD) for counter, _ in counters)
            numbers = {"batch": batch, "outer": outer}
            x, y = (
                self.at(
                    f,
                    given[n],
                    1,
                    given[f"{n}_start"],
                    *(w for k, i in numbers.items() for w in (i, given[f"{n}_{k}"])),
                )
                for n in "xy"
            )
            out = self.at(f, given["out"], f.sum(batch, outer, given["batch"]), area)
            of_unit(f, given, down, across, x, y, out, scratch)
            self._advance(f, counters)
        f.finish()

    def _counters(self, f: Function, sizes: list[Any], number: Any) -> list[tuple[Any, Any]]:
        """Digits of a number, the lowest first, and their bases; the highest has none."""
        counters = []
        for size in (*sizes, None):
            digit = f.local(WORD)
            counters.append((digit, size))
            f.build.store(number if size is None else f.build.srem(number, size), digit)
            number = number if size is None else f.build.sdiv(number, size)
        return counters

    def _advance(self, f: Function, counters: list[tuple[Any, Any]]) -> None:
        """Add one to a number in digits."""
        (digit, size), *others = counters
        value = f.build.add(f.build.load(digit, typ=WORD), word(1))
        if size is None:
            f.build.store(value, digit)
            return
        full = f.build.icmp_signed("==", value, size)
        f.build.store(f.build.select(full, word(0), value), digit)
        with f.build.if_then(full):
            self._advance(f, others)

    def _tile_of(
        self, f: Function, given: _Given, down: Any, across: Any, x: Any, y: Any, out: Any, scratch: Any
    ) -> None:
        build, columns = f.build, given["columns"]
        i, j = build.mul(down, given["tile_rows"]), build.mul(across, given["tile_columns"])
        x, y = self.at(f, x, i, given["x_row"]), self.at(f, y, j, given["y_column"])
        height = f.least(build.sub(given["rows"], i), given["tile_rows"])
        width = f.least(build.sub(columns, j), given["tile_columns"])
        strides_x, strides_y = (given["x_row"], given["x_inner"]), (given["y_inner"], given["y_column"])
        strides = (given["out_row"], given["out_column"])
        out = self.at(f, out, i, strides[0], j, strides[1])
        sizes = (height, given["inner"], width)
        with build.if_else(build.icmp_signed("!=", given["in_place"], word(0))) as (in_place, copied):
            with in_place:
                self._in_place(f, x, *strides_x, y, strides_y[0], out, *strides, *sizes)
            with copied:
                packing = (scratch, given["pack_x"], given["pack_y"])
                build.call(self.tile, [x, *strides_x, y, *strides_y, out, *strides, *sizes, *packing])

    def _in_place(
        self, f: Function, x: Any, x_row: Any, x_inner: Any, y: Any, y_inner: Any, out: Any, *out_steps: Any
    ) -> None:
        """A tile of the result from operands that are not copied."""
        (out_row, out_column), (rows, inner, columns) = out_steps[:2], out_steps[2:]
        lanes, build = self.registers.lanes, f.build
        step = self._whole(f, rows, self.heights[0])
        with (
            f.loop(self._blocks(f, inner, BLOCK)) as block,
            f.loop(rows, step) as i,
            f.loop(columns, lanes) as j,
        ):
            begin, width = build.mul(block, word(BLOCK)), f.least(build.sub(columns, j), lanes)
            size, height = f.least(build.sub(inner, begin), BLOCK), f.least(build.sub(rows, i), step)
            from_x, from_y = self.at(f, x, i, x_row, begin, x_inner), self.at(f, y, begin, y_inner, j, 1)
            place = self.at(f, out, i, out_row, j, out_column)
            args = [from_x, x_row, x_inner, from_y, y_inner, size, height, place, out_row, out_column]
            build.call(self.inner_in_place, [*args, width, block])

    def _rows_of(
        self, f: Function, given: _Given, down: Any, across: Any, x: Any, y: Any, out: Any, scratch: Any
    ) -> None:
        build, inner = f.build, given["inner"]
        i = build.mul(down, given["tile_rows"])
        rows = f.least(build.sub(given["rows"], i), given["tile_rows"])
        x, out = self.at(f, x, i, given["x_row"]), self.at(f, out, i, 1)
        by_rows = build.icmp_signed("==", given["x_inner"], word(1))
        with f.loop(self._blocks(f, inner, BLOCK * LANES)) as block:
            begin = build.mul(block, word(BLOCK * LANES))
            size = f.least(build.sub(inner, begin), BLOCK * LANES)
            here, factors = self.at(f, x, begin, given["x_inner"]), self.at(f, y, begin, 1)
            with build.if_else(by_rows) as (across, down):
                with across:
                    self._across(f, here, given["x_row"], factors, rows, inner, size, out, block)
                with down:
                    build.call(self.column_sums, [here, given["x_inner"], factors, rows, size, out, block])

    def _across(self, f: Function, x: Any, row: Any, y: Any, rows: Any, inner: Any, *others: Any) -> None:
        """Call what sums rows of so many terms."""
        size, out, block = others
        build = f.build
        few, some = (build.icmp_signed("<=", inner, word(chains)) for chains in self.short_row_sums)
        with build.if_else(few) as (shortest, longer):
            with shortest:
                build.call(self.short_row_sums[ROWS], [x, row, y, rows, inner, out])
            with longer, build.if_else(some) as (short, long):
                with short:
                    build.call(self.short_row_sums[LANES], [x, row, y, rows, inner, out])
                with long:
                    build.call(self.row_sums, [x, row, y, rows, size, out, block])

    def _blocks(self, f: Function, inner: Any, size: int) -> Any:
        """How many blocks there are; one, of no terms, if there are no terms."""
        blocks = f.build.sdiv(f.build.add(inner, word(size - 1)), word(size))
        return f.build.select(f.build.icmp_signed("==", blocks, word(0)), word(1), blocks)
