"""The machine code of matrix products, as LLVM IR for the vectors of a CPU.

Every element of a product is the sum of its terms in one order, which nothing but the sizes decides: neither
memory layout, nor the place of the element, nor the number of threads, nor the width of vectors.

- A matrix times a matrix: blocks of `BLOCK` terms; a chain of fused multiply-adds makes the sum of a block,
  and the sums of blocks are added in order.
- A matrix times a vector: blocks of ``BLOCK * LANES`` terms, each in `LANES` chains, of which chain l takes
  every `LANES`-th term from term l on; chains are added in halves, l to ``l + LANES / 2`` first.

Two functions follow the launcher's convention, ``void f(i64 *args, i64 low, i64 high, i8 *scratch)``. For
matrices a unit is a tile of the result; both operands are copied into panels that lie as the innermost loop
reads them. For vectors a unit is some rows of the matrix, which has unit strides along its rows or its
columns, as the vector has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

from llvmlite import ir

from jitgrad.machine.product_arguments import BLOCK, LANES, POINTERS, ROW_BYTES, WORDS, Registers, names

COLUMNS = 4  # of one chain that are added to it together

_WORD, _POINTER, _FLAG = ir.IntType(64), ir.PointerType(), ir.IntType(1)


def text(registers: Registers, of_vector: bool) -> str:
    """LLVM IR of one of the functions."""
    made = _Code(registers)
    return made.vector_sums() if of_vector else made.matrices()


class _Function:
    """A function under construction, with structured loops."""

    def __init__(self, module: ir.Module, name: str, parameters: str, exported: bool = False) -> None:
        """`parameters` has a p for each pointer, a w for each word."""
        kinds = [_POINTER if kind == "p" else _WORD for kind in parameters]
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
        slot = ir.IRBuilder(self.entry).alloca(kind, ir.Constant(_WORD, count))
        slot.align = 64
        return slot

    @contextmanager
    def loop(self, stop: Any, step: Any = 1, start: Any = 0) -> Iterator[Any]:
        build, before = self.build, self.build.block
        head, body, end = (self.function.append_basic_block(name) for name in ("head", "loop", "end"))
        build.branch(head)
        build.position_at_end(head)
        index = build.phi(_WORD)
        index.add_incoming(_word(start), before)
        build.cbranch(build.icmp_signed("<", index, _word(stop)), body, end)
        build.position_at_end(body)
        yield index
        index.add_incoming(build.add(index, _word(step)), build.block)
        build.branch(head)
        build.position_at_end(end)

    def least(self, x: Any, y: Any) -> Any:
        x, y = _word(x), _word(y)
        return self.build.select(self.build.icmp_signed("<", x, y), x, y)

    def sum(self, first: Any, *products: Any) -> Any:
        """first + a * b + c * d + ..., of words."""
        for a, b in zip(products[::2], products[1::2], strict=True):
            first = self.build.add(_word(first), self.build.mul(_word(a), _word(b)))
        return first


def _word(value: Any) -> Any:
    return ir.Constant(_WORD, value) if isinstance(value, int) else value


class _Code:
    """The module, function by function."""

    def __init__(self, registers: Registers) -> None:
        self.registers = registers
        self.size = registers.dtype.itemsize
        self.scalar = ir.FloatType() if self.size == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, registers.lanes)
        self.module = ir.Module()
        self.put = self._put()

    def matrices(self) -> str:
        """The function for a matrix times a matrix."""
        self.pack = self._pack()
        self.inner = {(rows, n): self._inner(rows, n) for n in (1, 2) for rows in self.heights}
        self.tile = self._tile()
        self._exported(names(self.registers)[0], self._tile_of)
        return str(self.module)

    def vector_sums(self) -> str:
        """The function for a matrix times a vector."""
        self.row_sums, self.column_sums = self._row_sums(), self._column_sums()
        self._exported(names(self.registers)[1], self._rows_of)
        return str(self.module)

    # Memory -----------------------------------------------------------------------------------------------

    def at(self, f: _Function, base: Any, *products: Any) -> Any:
        """The address of the element at base + a * b + c * d + ..."""
        return f.build.gep(base, [f.sum(0, *products)], source_etype=self.scalar)

    def load(self, f: _Function, address: Any, kind: ir.Type | None = None) -> Any:
        return f.build.load(address, typ=kind or self.scalar, align=self.size)

    def store(self, f: _Function, value: Any, address: Any) -> None:
        f.build.store(value, address, align=self.size)

    def mask(self, f: _Function, count: Any, lanes: int) -> Any:
        """Which of the lanes stand before `count`."""
        order = ir.Constant(ir.VectorType(_WORD, lanes), list(range(lanes)))
        return f.build.icmp_signed("<", order, self.splat(f, count, lanes))

    def splat(self, f: _Function, value: Any, lanes: int) -> Any:
        kind = ir.VectorType(value.type, lanes)
        single = f.build.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_WORD, 0))
        return f.build.shuffle_vector(single, single, ir.Constant(_lane_numbers(lanes), [0] * lanes))

    def masked_load(self, f: _Function, address: Any, mask: Any, kind: ir.VectorType) -> Any:
        name = f"llvm.masked.load.v{kind.count}f{8 * self.size}.p0"
        masks = ir.VectorType(_FLAG, kind.count)
        function = self.declared(name, kind, [_POINTER, ir.IntType(32), masks, kind])
        align = ir.Constant(ir.IntType(32), self.size)
        return f.build.call(function, [address, align, mask, ir.Constant(kind, None)])

    def masked_store(self, f: _Function, value: Any, address: Any, mask: Any) -> None:
        name = f"llvm.masked.store.v{value.type.count}f{8 * self.size}.p0"
        function = self.declared(name, ir.VoidType(), [value.type, _POINTER, ir.IntType(32), mask.type])
        align = ir.Constant(ir.IntType(32), self.size)
        f.build.call(function, [value, address, align, mask])

    def fma(self, f: _Function, x: Any, y: Any, z: Any) -> Any:
        count = f"v{x.type.count}" if isinstance(x.type, ir.VectorType) else ""
        function = self.declared(f"llvm.fma.{count}f{8 * self.size}", x.type, [x.type] * 3)
        return f.build.call(function, [x, y, z])

    def declared(self, name: str, result: ir.Type, args: list[ir.Type]) -> ir.Function:
        found = self.module.globals.get(name)
        return found or ir.Function(self.module, ir.FunctionType(result, args), name)

    # A matrix times a matrix ------------------------------------------------------------------------------

    def _pack(self) -> ir.Function:
        """Copy `count` rows of `inner` elements to columns of a panel: element (i, l) goes to l * width + i.

        What lies beyond the count in its last vector is undefined: it is computed with, but not stored.
        """
        f = _Function(self.module, "pack", "pwwwwpw")
        source, row, step, count, inner, panel, width = f.args
        lanes, build = self.registers.lanes, f.build
        unit_inner, unit_row = (build.icmp_signed("==", s, _word(1)) for s in (step, row))
        with f.loop(count, lanes) as i:
            here, there = self.at(f, source, i, row), self.at(f, panel, i, _word(1))
            left = f.least(build.sub(count, i), lanes)
            with build.if_else(unit_row) as (copy, other):
                with copy:
                    mask = self.mask(f, left, lanes)
                    with f.loop(inner) as l:
                        values = self.masked_load(f, self.at(f, here, l, step), mask, self.vector)
                        self.store(f, values, self.at(f, there, l, width))
                with other:
                    whole = build.and_(inner, _word(-lanes))
                    turned = build.select(unit_inner, whole, _word(0))
                    with f.loop(turned, lanes) as l:
                        self._turn(
                            f, self.at(f, here, l, step), row, left, self.at(f, there, l, width), width
                        )
                    with f.loop(inner, start=turned) as l, f.loop(left) as r:
                        value = self.load(f, self.at(f, here, l, step, r, row))
                        self.store(f, value, self.at(f, there, l, width, r, _word(1)))
        return f.finish()

    def _turn(self, f: _Function, source: Any, row: Any, count: Any, panel: Any, width: Any) -> None:
        """Transpose a square of a vector's size; rows beyond the count repeat the last one."""
        lanes, build = self.registers.lanes, f.build
        last = build.sub(count, _word(1))
        values = [self.load(f, self.at(f, source, f.least(r, last), row), self.vector) for r in range(lanes)]
        half = lanes // 2
        while half:
            for r in (r for r in range(lanes) if not r & half):
                upper = [lanes + (q ^ half) if q & half else q for q in range(lanes)]
                lower = [lanes + q if q & half else q | half for q in range(lanes)]
                pair = values[r], values[r | half]
                values[r], values[r | half] = (
                    build.shuffle_vector(*pair, ir.Constant(_lane_numbers(lanes), chosen))
                    for chosen in (upper, lower)
                )
            half //= 2
        for r, value in enumerate(values):
            self.store(f, value, self.at(f, panel, r, width))

    def _inner(self, rows: int, vectors: int) -> ir.Function:
        """The innermost loop: sums of `inner` products for some rows, of which the last may repeat, and
        vectors."""
        f = _Function(self.module, f"inner_{rows}_{vectors}", "pwwpwwwpw")
        x, x_row, x_inner, y, y_inner, inner, height, out, out_row = f.args
        lanes, build = self.registers.lanes, f.build
        places = [(i, j) for i in range(rows) for j in range(vectors)]
        last = build.sub(height, _word(1))
        xs = [self.at(f, x, f.least(i, last), x_row) for i in range(rows)]
        chains = {place: f.local(self.vector) for place in places}
        for chain in chains.values():
            build.store(ir.Constant(self.vector, None), chain)
        with f.loop(inner) as l:
            from_y = self.at(f, y, l, y_inner)
            ys = [self.load(f, self.at(f, from_y, j, lanes), self.vector) for j in range(vectors)]
            for i in range(rows):
                factor = self.splat(f, self.load(f, self.at(f, xs[i], l, x_inner)), lanes)
                for j in range(vectors):
                    chain = chains[i, j]
                    build.store(self.fma(f, factor, ys[j], build.load(chain, typ=self.vector)), chain)
        for i, j in places:
            value = build.load(chains[i, j], typ=self.vector)
            self.store(f, value, self.at(f, out, i, out_row, j, lanes))
        return f.finish()

    def _put(self) -> ir.Function:
        """Store the sums of the first block, add those of later ones."""
        f = _Function(self.module, "put", "ppwwww")
        sums, out, out_row, rows, columns, block = f.args
        lanes, build = self.registers.lanes, f.build
        first = build.icmp_signed("==", block, _word(0))
        with f.loop(columns, lanes) as j:
            mask = self.mask(f, build.sub(columns, j), lanes)
            with build.if_else(first) as (fresh, later):
                with fresh, f.loop(rows) as i:
                    value = self.load(f, self.at(f, sums, i, self.registers.columns, j, 1), self.vector)
                    self.masked_store(f, value, self.at(f, out, i, out_row, j, 1), mask)
                with later, f.loop(rows) as i:
                    place = self.at(f, out, i, out_row, j, 1)
                    value = self.load(f, self.at(f, sums, i, self.registers.columns, j, 1), self.vector)
                    total = build.fadd(self.masked_load(f, place, mask, self.vector), value)
                    self.masked_store(f, total, place, mask)
        return f.finish()

    def _tile(self) -> ir.Function:
        """A tile of the result, over all terms."""
        f = _Function(self.module, "tile", "pwwpwwpwwwwpww")
        x, x_row, x_inner, y, y_inner, y_column, out, out_row, rows, inner, columns, scratch, *packing = (
            f.args
        )
        registers, build = self.registers, f.build
        pack_x, pack_y = (build.icmp_signed("!=", flag, _word(0)) for flag in packing)
        panel = build.inttoptr(
            build.and_(build.add(build.ptrtoint(scratch, _WORD), _word(63)), _word(-64)), _POINTER
        )
        y_panels = self.at(f, panel, BLOCK, registers.panel)
        sums = f.local(self.vector, 2 * registers.rows)
        narrow = build.icmp_signed("<=", columns, _word(registers.lanes))
        width = build.select(narrow, _word(registers.lanes), _word(registers.columns))
        whole = build.mul(build.sdiv(columns, width), width)
        packed_from = build.select(pack_y, _word(0), whole)
        with f.loop(self._blocks(f, inner, BLOCK)) as block:
            begin = build.mul(block, _word(BLOCK))
            size = f.least(build.sub(inner, begin), BLOCK)
            xs, ys = self.at(f, x, begin, x_inner), self.at(f, y, begin, y_inner)
            with self.panels(f, packed_from, columns, width) as (j, count):
                here, there = self.at(f, ys, j, y_column), self.at(f, y_panels, j, BLOCK)
                build.call(self.pack, [here, y_column, y_inner, count, size, there, width])
            with f.loop(rows, registers.rows) as i:
                height = f.least(build.sub(rows, i), registers.rows)
                here = self.at(f, xs, i, x_row)
                with build.if_then(pack_x):
                    build.call(self.pack, [here, x_row, x_inner, height, size, panel, _word(registers.panel)])
                from_x = build.select(pack_x, panel, here)
                steps_x = [
                    build.select(pack_x, _word(packed), given)
                    for packed, given in ((1, x_row), (registers.panel, x_inner))
                ]
                with self.panels(f, _word(0), columns, width) as (j, count):
                    packed = build.icmp_signed(">=", j, packed_from)
                    from_y = build.select(packed, self.at(f, y_panels, j, BLOCK), self.at(f, ys, j, 1))
                    step_y = build.select(packed, width, y_inner)
                    place = self.at(f, out, i, out_row, j, 1)
                    apart = build.or_(
                        build.icmp_signed("!=", block, _word(0)),
                        build.or_(build.icmp_signed("!=", count, width), self.repeats(f, height)),
                    )
                    target = build.select(apart, sums, place)
                    target_row = build.select(apart, _word(registers.columns), out_row)
                    args = [from_x, *steps_x, from_y, step_y, size, height, target, target_row]
                    self.dispatch(f, height, count, args)
                    with build.if_then(apart):
                        build.call(self.put, [sums, place, out_row, height, count, block])
        return f.finish()

    @property
    def heights(self) -> list[int]:
        """The numbers of rows for which there is an innermost loop."""
        rows = self.registers.rows
        return [rows // 3, 2 * rows // 3, rows]

    def repeats(self, f: _Function, height: Any) -> Any:
        """Whether the innermost loop for so many rows computes more."""
        build = f.build
        exact = [build.icmp_signed("==", height, _word(rows)) for rows in self.heights]
        return build.not_(reduce(build.or_, exact))

    @contextmanager
    def panels(self, f: _Function, start: Any, columns: Any, width: Any) -> Iterator[tuple[Any, Any]]:
        with f.loop(columns, width, start) as j:
            yield j, f.least(f.build.sub(columns, j), width)

    def dispatch(self, f: _Function, height: Any, columns: Any, args: list[Any]) -> None:
        """Call the innermost loop for the fewest rows and vectors that suffice."""
        build = f.build
        end = f.function.append_basic_block("called")
        for vectors in (1, 2):
            fits = build.icmp_signed("<=", columns, _word(vectors * self.registers.lanes))
            for rows in self.heights:
                taken, other = (f.function.append_basic_block(name) for name in ("call", "else"))
                enough = build.icmp_signed("<=", height, _word(rows))
                build.cbranch(build.and_(fits, enough), taken, other)
                build.position_at_end(taken)
                build.call(self.inner[rows, vectors], args)
                build.branch(end)
                build.position_at_end(other)
        build.unreachable()
        build.position_at_end(end)

    # A matrix times a vector ------------------------------------------------------------------------------

    def _row_sums(self) -> ir.Function:
        """Rows without gaps: the chains are the lanes of a vector."""
        f = _Function(self.module, "row_sums", "pwpwwpw")
        x, row, y, rows, inner, out, block = f.args
        build, kind = f.build, ir.VectorType(self.scalar, LANES)
        whole = build.and_(inner, _word(-LANES))
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
            total = self._sum_of_chains(f, build.select(mask, self.fma(f, a, b, before), before))
            place = self.at(f, out, i, 1)
            first = build.icmp_signed("==", block, _word(0))
            with build.if_else(first) as (fresh, later):
                with fresh:
                    self.store(f, total, place)
                with later:
                    self.store(f, build.fadd(self.load(f, place), total), place)
        return f.finish()

    def _sum_of_chains(self, f: _Function, chains: Any) -> Any:
        """Add the lanes of a vector in halves."""
        half = LANES // 2
        while half:
            parts = [
                f.build.shuffle_vector(chains, chains, ir.Constant(_lane_numbers(half), list(lanes)))
                for lanes in (range(half), range(half, 2 * half))
            ]
            chains = f.build.fadd(*parts)
            half //= 2
        return f.build.extract_element(chains, ir.Constant(_WORD, 0))

    def _column_sums(self) -> ir.Function:
        """Columns without gaps: each chain is a column of sums in memory."""
        f = _Function(self.module, "column_sums", "pwpwwpw")
        x, column, y, rows, inner, out, block = f.args
        build, lanes, height = f.build, self.registers.lanes, ROW_BYTES // self.size
        chains = f.local(self.vector, LANES * height // lanes)
        with f.loop(LANES) as chain, f.loop(rows, lanes) as i:
            self.store(f, ir.Constant(self.vector, None), self.at(f, chains, chain, height, i, 1))
        together = build.and_(inner, _word(-LANES * COLUMNS))
        with f.loop(together, LANES * COLUMNS) as l, f.loop(LANES) as chain:
            first = build.add(l, chain)
            self._add_columns(f, x, column, y, rows, first, COLUMNS, self.at(f, chains, chain, height))
        with f.loop(inner, start=together) as l:
            chain = build.and_(l, _word(LANES - 1))
            self._add_columns(f, x, column, y, rows, l, 1, self.at(f, chains, chain, height))
        with f.loop(LANES.bit_length() - 1) as step:
            half = build.lshr(_word(LANES // 2), step)
            with f.loop(half) as chain, f.loop(rows, lanes) as i:
                place = self.at(f, chains, chain, height, i, 1)
                other = self.load(f, self.at(f, place, half, height), self.vector)
                self.store(f, build.fadd(self.load(f, place, self.vector), other), place)
        build.call(self.put, [chains, out, _word(0), _word(1), rows, block])
        return f.finish()

    def _add_columns(
        self, f: _Function, x: Any, column: Any, y: Any, rows: Any, first: Any, count: int, chain: Any
    ) -> None:
        """Add columns of one chain, `LANES` apart, to its sums."""
        build, lanes = f.build, self.registers.lanes
        numbers = [build.add(first, _word(LANES * i)) for i in range(count)]
        factors = [self.splat(f, self.load(f, self.at(f, y, l, 1)), lanes) for l in numbers]

        def add(i: Any, values: list[Any]) -> None:
            place = self.at(f, chain, i, 1)
            total = self.load(f, place, self.vector)
            for factor, value in zip(factors, values, strict=True):
                total = self.fma(f, value, factor, total)
            self.store(f, total, place)

        whole = build.and_(rows, _word(-lanes))
        with f.loop(whole, lanes) as i:
            add(i, [self.load(f, self.at(f, x, l, column, i, 1), self.vector) for l in numbers])
        with build.if_then(build.icmp_signed("<", whole, rows)):
            mask = self.mask(f, build.sub(rows, whole), lanes)
            places = [self.at(f, x, l, column, whole, 1) for l in numbers]
            add(whole, [self.masked_load(f, place, mask, self.vector) for place in places])

    # The exported functions -------------------------------------------------------------------------------

    def _exported(self, name: str, of_unit: Callable[..., None]) -> None:
        """Compute units: find the matrices of each, and let `of_unit` do its tile of them."""
        f = _Function(self.module, name, "pwwp", exported=True)
        block, low, high, scratch = f.args
        build = f.build
        given = {}
        for i, word in enumerate(WORDS):
            place = build.gep(block, [_word(i)], source_etype=_WORD)
            given[word] = build.load(place, typ=_POINTER if i < POINTERS else _WORD)
        area = build.mul(given["rows"], given["columns"])
        with f.loop(high, start=low) as unit:
            matrix, tile = (divide(unit, given["tiles"]) for divide in (build.sdiv, build.srem))
            outer, batch = (divide(matrix, given["batch"]) for divide in (build.sdiv, build.srem))
            x, y = (
                self.at(
                    f,
                    given[n],
                    1,
                    given[f"{n}_start"],
                    outer,
                    given[f"{n}_outer"],
                    batch,
                    given[f"{n}_batch"],
                )
                for n in "xy"
            )
            of_unit(f, given, tile, x, y, self.at(f, given["out"], matrix, area), scratch)
        f.finish()

    def _tile_of(
        self, f: _Function, given: dict[str, Any], tile: Any, x: Any, y: Any, out: Any, scratch: Any
    ) -> None:
        build, columns = f.build, given["columns"]
        i = build.mul(build.sdiv(tile, given["tiles_across"]), given["tile_rows"])
        j = build.mul(build.srem(tile, given["tiles_across"]), given["tile_columns"])
        x, y = self.at(f, x, i, given["x_row"]), self.at(f, y, j, given["y_column"])
        height = f.least(build.sub(given["rows"], i), given["tile_rows"])
        width = f.least(build.sub(columns, j), given["tile_columns"])
        strides_x, strides_y = (given["x_row"], given["x_inner"]), (given["y_inner"], given["y_column"])
        place = self.at(f, out, i, columns, j, 1)
        sizes = (height, given["inner"], width)
        build.call(
            self.tile,
            [x, *strides_x, y, *strides_y, place, columns, *sizes, scratch, given["pack_x"], given["pack_y"]],
        )

    def _rows_of(
        self, f: _Function, given: dict[str, Any], tile: Any, x: Any, y: Any, out: Any, scratch: Any
    ) -> None:
        build, inner = f.build, given["inner"]
        i = build.mul(tile, given["tile_rows"])
        rows = f.least(build.sub(given["rows"], i), given["tile_rows"])
        x, out = self.at(f, x, i, given["x_row"]), self.at(f, out, i, 1)
        by_rows = build.icmp_signed("==", given["x_inner"], _word(1))
        with f.loop(self._blocks(f, inner, BLOCK * LANES)) as block:
            begin = build.mul(block, _word(BLOCK * LANES))
            size = f.least(build.sub(inner, begin), BLOCK * LANES)
            here, factors = self.at(f, x, begin, given["x_inner"]), self.at(f, y, begin, 1)
            with build.if_else(by_rows) as (across, down):
                with across:
                    build.call(self.row_sums, [here, given["x_row"], factors, rows, size, out, block])
                with down:
                    build.call(self.column_sums, [here, given["x_inner"], factors, rows, size, out, block])

    def _blocks(self, f: _Function, inner: Any, size: int) -> Any:
        """How many blocks there are; one, of no terms, if there are no terms."""
        blocks = f.build.sdiv(f.build.add(inner, _word(size - 1)), _word(size))
        return f.build.select(f.build.icmp_signed("==", blocks, _word(0)), _word(1), blocks)


def _lane_numbers(count: int) -> ir.VectorType:
    return ir.VectorType(ir.IntType(32), count)
