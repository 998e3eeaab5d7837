"""A kernel over short rows to text: 32 rows side by side, so that loops run across rows and vectorise."""

from __future__ import annotations

from jitgrad.ir import LITERAL, Node
from jitgrad.lower import varies
from jitgrad.ops.reductions import COLUMN_BLOCK, FEW, LANES, identity
from jitgrad.program import INDEX, INSIDE, LOAD, STRIDED, Kernel, Store, guards
from jitgrad.targets.memory import LINE
from jitgrad.targets.printer import Printer
from jitgrad.targets.rows import DEAR, LONGEST, row_bytes
from jitgrad.targets.source import Source, combined, expression
from jitgrad.targets.turns import rounded

Strides = tuple[int, ...]

WIDTH = COLUMN_BLOCK
FEWEST = 8  # rows side by side that are worth it
LONGEST_REDUCED_ONCE = 128
WHOLE = 1 << 16  # for quotients below WIDTH


def suits(kernel: Kernel) -> bool:
    """Whether to run across rows: they are short, and have work to do as rows.

    Where columns are reduced, enough rows must lie side by side.
    """
    if len(kernel.domain) == 1 or kernel.down:
        return False
    if kernel.domain[-1] > LANES or row_bytes(kernel) > _longest(kernel):
        return False
    if any(s.part is not None and s.level == "element" for s in kernel.stores):
        return False
    if not any(s.level == "columns" for s in kernel.stores):
        return _work_on_rows(kernel) >= DEAR
    if _few(kernel):
        return len(kernel.domain) == 2
    _, run, after = kernel.around_run
    beside = run if kernel.run[1] == len(kernel.domain) - 1 else after
    return beside >= FEWEST and _work_on_rows(kernel) >= DEAR


def _longest(kernel: Kernel) -> int:
    """The bytes up to which rows are short: one reduction alone waits for memory more than for its order."""
    if sum(n.op.kind in ("reduce", "scan") for n in kernel.body) > 1:
        return LONGEST
    return LONGEST // 2 if any(s.level == "columns" for s in kernel.stores) else LONGEST_REDUCED_ONCE


def _work_on_rows(kernel: Kernel) -> int:
    """The cost of operations on whole rows, which one row after another would do without vectors."""
    body = kernel.body
    inner = varies(body, len(kernel.domain) - 1)
    return sum(
        DEAR if n.op.kind in ("reduce", "scan") else n.op.cost
        for n in body
        if n not in inner or n.op.kind == "scan"
    )


def _few(kernel: Kernel) -> bool:
    """Whether columns are so few that each is reduced as a row is."""
    return kernel.domain[-1] <= FEW and kernel.run[1] == len(kernel.domain) - 1


class LanePrinter(Printer):
    """Prints loops over lanes `l`, one lane a row; a value of a row is an array over the lanes.

    Rows that lie in memory one after another are read and written by whole blocks. Where they stay upright,
    elements are computed along each row, and only what is reduced becomes lanes. Lanes without a row
    do what the last row does, or compute something that nobody reads.
    """

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.positions: dict[tuple[str, str], str] = {}
        self.shared = self._shared()
        self.few = _few(kernel)
        self.steps = self.plan.columns and self.after_run
        self.depth = 3 if self.steps else 2
        turned = {n for n in self.plan.body if n in self.plan.inner and self._lies_in_rows(n)}
        self.upright = self._stays_upright(len(turned))
        self.turned = set() if self.upright else turned
        # Whether lane l stands l strides after the first one; else each lane knows where its row is.
        self.evenly = len(kernel.domain) == 2 and not any(
            n.op is LOAD and n.param("dynamic") for n in self.plan.body if n not in self.turned
        )
        self.ready: set[Node] = set()

    def _stays_upright(self, loads: int) -> bool:
        """Whether loops over elements run along the rows, and only what is reduced is turned into lanes.

        Not where more is reduced than is read and written, or dear operations would not fill their vectors.
        """
        if self.plan.columns or any(n.op.kind == "scan" for n in self.plan.body):
            return False
        dear = sum(n.op.cost for n in self.plan.inner) >= DEAR
        if dear and row_bytes(self.kernel) % LINE:
            return False
        reduced = {a for n in self.plan.body if n.op.kind == "reduce" for a in n.args}
        return len(reduced) < loads + sum(s.level == "element" for s in self.kernel.stores)

    def _lies_in_rows(self, node: Node) -> bool:
        """Whether it loads rows whose elements lie side by side, wherever each row begins."""
        if node.op is not LOAD or guards(node) or any(arg in self.plan.inner for arg in node.args):
            return False
        *outer, inner = node.param("strides")
        return inner == 1 and (any(outer) or bool(node.args))

    def _shared(self) -> set[Node]:
        """The values of rows that are read outside of the loop over lanes that computes them."""
        plan = self.plan
        shared = {s.value for s in self.kernel.stores if s.value not in plan.inner}
        shared |= {r for loop in range(len(plan.loops)) for r in plan.loop_roots(loop) if r not in plan.inner}
        for node in plan.body:
            for arg in node.args:
                later = node in plan.inner or node.op.kind == "reduce" or plan.stage[node] > plan.stage[arg]
                if later and arg not in plan.inner:
                    shared.add(arg)
        return {n for n in shared if n.op is not LITERAL and n.op.kind != "reduce"}

    # Blocks of rows -----------------------------------------------------------------------------------

    def source(self) -> Source:
        n = self.names.size("n", self.kernel.domain[-1], "n")
        self._write(1, "for b in range(lo, hi):")
        units = self._stepwise(n) if self.steps else self._blocks()
        self._places()
        for loop in range(len(self.plan.loops)):
            self._rows(loop)
            self._loop(n, loop)
            self._after_loop(n, loop)
        self._rows(len(self.plan.loops))
        self._row_stores()
        if self.steps:
            for store in self._columns():
                part = f"offset({self._part(store)}, (part * {self.rows_after_run()} + place) * {n})"
                self._write(2, f"turn_out({self._total(store)}, {n}, m, {part})")
        return self.finished(units, n)

    def _blocks(self) -> int:
        """Blocks of rows; where columns are reduced, of one run."""
        before, run = 1, self.kernel.rows
        if self.plan.columns:
            before, run, _ = self.kernel.around_run
        length = self.run_length() if self.plan.columns else self.row_count()
        blocks = -(-run // WIDTH)
        if self.plan.columns and self.kernel.run[0]:
            count = self.names.size("blocks", blocks, "d")
            self._write(2, f"begin = b % {count} * {WIDTH}")
            self._write(2, f"first = b // {count} * {length} + begin")
            self._write(2, f"m = minimum({length} - begin, {WIDTH})")
        else:
            self._write(2, f"first = b * {WIDTH}")
            self._write(2, f"m = minimum({length} - first, {WIDTH})")
        return before * blocks

    def _stepwise(self, n: str) -> int:
        """Rows that stand side by side at each place of the run, and a loop along a block of the run."""
        before, run, after = self.kernel.around_run
        length, beside = self.run_length(), self.rows_after_run()
        blocks, spans = -(-run // WIDTH), -(-after // WIDTH)
        count = self.names.size("spans", spans, "d")
        self._write(2, f"part = b // {count}")
        self._write(2, f"place = b % {count} * {WIDTH}")
        self._write(2, f"m = minimum({beside} - place, {WIDTH})")
        low, high = f"part * {WIDTH}", f"minimum(part * {WIDTH} + {WIDTH}, {length})"
        if self.kernel.run[0]:
            number = self.names.size("blocks", blocks, "d")
            self._write(2, f"block = part % {number} * {WIDTH}")
            self._write(2, f"before = part // {number} * {length}")
            low, high = "before + block", f"before + minimum(block + {WIDTH}, {length})"
        self._write(2, f"for i in range({n}):")
        self._write(3, f"for l in range({WIDTH}):")
        for store in self._columns():
            self._write(4, f"{self._total(store)}[i * {WIDTH} + l] = {self._identity(store)}")
        self._write(2, f"for step in range({low}, {high}):")
        self._write(3, f"first = step * {beside} + place")
        return before * blocks * spans

    def _total(self, store: Store) -> str:
        """The columns of a block of the run, so far."""
        return self.names.parameter(
            ("columns", store), "a", "temp", store.value.dtype, WIDTH * rounded(self.kernel.domain[-1])
        )

    def _identity(self, store: Store) -> str:
        assert store.op is not None
        name, dtype = store.op.name, store.value.dtype
        return self.names.parameter(("identity", name, dtype), "c", "literal", dtype, identity(name, dtype))

    def _part(self, store: Store) -> str:
        before, run, after = self.kernel.around_run
        size = before * -(-run // WIDTH) * after * self.kernel.domain[-1]
        return self.names.parameter(("work", store), "p", "work", store.value.dtype, size)

    # Where rows are -----------------------------------------------------------------------------------

    def _places(self) -> None:
        """One loop over the lanes for where their rows begin."""
        nodes = [n for n in self.plan.body if n in self.turned or (n.op in STRIDED and not self.evenly)]
        wanted = dict.fromkeys(n.param("strides")[:-1] for n in nodes)
        patterns = [outer for outer in wanted if any(outer)]
        if not patterns:
            return
        outer = range(len(self.kernel.domain) - 1)
        if len(outer) > 1:
            self._decode_first()
        self._write(self.depth, f"for l in range({WIDTH}):")
        self._write(self.depth + 1, "row = minimum(l, m - 1)" if self.evenly else "lane = minimum(l, m - 1)")
        if not self.evenly:
            self._decode_lane()
        for strides in patterns:
            terms = [
                self._times("row" if len(outer) == 1 else f"r{a}", strides, a) for a in outer if strides[a]
            ]
            self._write(self.depth + 1, f"{self._begins(strides)}[l] = {' + '.join(terms)}")

    def _decode_first(self) -> None:
        """The indices of the outer loops from the number of the first row."""
        rest = "first"
        for axis in reversed(range(1, len(self.kernel.domain) - 1)):
            size = self.names.size(("extent", axis), self.kernel.domain[axis], "d")
            self._write(self.depth, f"f{axis} = {rest} % {size}")
            self._write(self.depth, f"q{axis} = {rest} // {size}")
            rest = f"q{axis}"

    def _decode_lane(self) -> None:
        """The same for a lane: what goes beyond one axis is carried to the one before, without a division."""
        outer = len(self.kernel.domain) - 1
        if outer == 1:
            self._write(self.depth + 1, "row = first + lane")
            return
        beyond = "lane"
        for axis in reversed(range(1, outer)):
            size = self.names.size(("extent", axis), self.kernel.domain[axis], "d")
            rows = max(min(self.kernel.domain[axis], WIDTH), 1)
            inverse = self.names.size(("inverse", axis), WHOLE // rows + 1, "d")
            self._write(self.depth + 1, f"k{axis} = f{axis} + {beyond}")
            times = f"(k{axis} - {size}) * {inverse} // {WHOLE} + 1"
            self._write(self.depth + 1, f"e{axis} = select(k{axis} < {size}, 0, {times})")
            self._write(self.depth + 1, f"r{axis} = k{axis} - e{axis} * {size}")
            beyond = f"e{axis}"
        self._write(self.depth + 1, f"r0 = q1 + {beyond}")

    def _times(self, index: str, strides: Strides, axis: int) -> str:
        if strides[axis] == 1:
            return index
        if axis == len(strides) - 1 and strides[axis] == self.kernel.domain[-1]:
            return f"{index} * {self.names.size('n', strides[axis], 'n')}"
        return f"{index} * {self.names.size(('stride', strides, axis), strides[axis])}"

    def _begins(self, strides: Strides) -> str:
        return self.names.parameter(("begins", strides), "o", "temp", "int64", WIDTH)

    # Values of rows -----------------------------------------------------------------------------------

    def _rows(self, stage: int) -> None:
        """One loop over the lanes for the values of rows that a stage needs."""
        body = [n for n in self.plan.body if n not in self.plan.inner and self.plan.stage[n] == stage]
        nodes = [n for n in body if n.op is not LITERAL and n.op.kind != "reduce"]
        if not nodes:
            return
        self._prepare(nodes)
        self._write(self.depth, f"for l in range({self._lanes(nodes)}):")
        inside: dict[Node, str] = {}
        for node in nodes:
            inside[node] = self._assign(self.depth + 1, self._text(node, inside))
            if node in self.shared:
                self._write(self.depth + 1, f"{self._lane(node)}[l] = {inside[node]}")

    def _lanes(self, nodes: list[Node]) -> str | int:
        """How many lanes a loop has: all, unless those without a row would read what is not there."""
        reads = [n for n in nodes if n.op is LOAD and n not in self.turned and any(n.param("strides")[:-1])]
        return "m" if self.evenly and reads else WIDTH

    def _row_stores(self) -> None:
        stores = [s for s in self.kernel.stores if s.level in ("row", "total")]
        if not stores:
            return
        targets = {store: self._pointer(self._row_target(store), self._first(store)) for store in stores}
        self._write(self.depth, "for l in range(m):")
        for store in stores:
            place = self.side_by_side("l", store)
            self._write(self.depth + 1, f"{targets[store]}[{place}] = {self._arg(store.value, {})}")

    @staticmethod
    def _first(store: Store) -> str:
        return "first" if store.part is None else f"first * {store.part[1]}"

    def _row_target(self, store: Store) -> str:
        if store.level == "row":
            return self._output(store)
        return self.names.parameter(("work", store), "p", "work", store.value.dtype, self.kernel.rows)

    def _lane(self, node: Node) -> str:
        return self.names.parameter(("lane", node), "s", "temp", node.dtype, WIDTH)

    # Elements -----------------------------------------------------------------------------------------

    def _loop(self, n: str, loop: int) -> None:
        stores = self.plan.element_stores(loop)
        nodes = self.plan.loops[loop]
        if self.upright:
            self._along(n, loop, stores)
            return
        self._turn_in(n, nodes)
        direct = [s for s in stores if s.level == "columns" and (self.few or self.steps)]
        kept = [*self.plan.writes(loop), *(s.value for s in stores if s not in direct)]
        written = [node for node in dict.fromkeys(kept) if node not in self.ready]
        self.ready.update(written)
        if written or direct:
            self._elements(n, loop, written, direct)
        for store in stores:
            if store.level == "element":
                target = self._pointer(self._output(store), f"first * {n}")
                self._write(self.depth, f"turn_out({self._temp(store.value)}, {n}, m, {target})")

    def _turn_in(self, n: str, nodes: list[Node]) -> None:
        """Read rows that no loop has needed so far."""
        for node in nodes:
            if node in self.turned and node not in self.ready:
                self.ready.add(node)
                rows = self._pointer(self._input(node), self._start(node))
                turn, begins = "turn_in", self._begins(node.param("strides")[:-1])
                if node.args:
                    turn, begins = "gather_in", self._named(node)
                self._write(self.depth, f"{turn}({rows}, {begins}, {n}, {self._temp(node)})")

    def _named(self, node: Node) -> str:
        """Where the rows begin that a value of each row names; a lane without a row reads the last one's."""
        begins = self.names.parameter(("begins", node), "o", "temp", "int64", WIDTH)
        outer = node.param("strides")[:-1]
        terms = [f"{self._begins(outer)}[l]"] if any(outer) else []
        self._write(self.depth, f"for k in range({WIDTH}):")
        self._write(self.depth + 1, "l = minimum(k, m - 1)")
        self._write(self.depth + 1, f"{begins}[k] = {' + '.join(terms + self._dynamic(node, {}))}")
        return begins

    def _elements(self, n: str, loop: int, written: list[Node], direct: list[Store]) -> None:
        read = self.turned | self.plan.read[loop]
        nodes = self.plan.loops[loop]
        computed = [node for node in nodes if node not in read]
        self._prepare(computed)
        lanes = "m" if direct and self.few else self._lanes(computed)
        self._write(self.depth, f"for i in range({n}):")
        self._write(self.depth + 1, f"for l in range({lanes}):")
        inside: dict[Node, str] = {}
        for node in nodes:
            text = self._element(node) if node in read else self._text(node, inside)
            inside[node] = self._assign(self.depth + 2, text)
        for node in written:
            self._write(self.depth + 2, f"{self._element(node)} = {self._arg(node, inside)}")
        for store in direct:
            self._write(self.depth + 2, self._column(store, self._arg(store.value, inside)))

    def _along(self, n: str, loop: int, stores: list[Store]) -> None:
        """A loop along each row, one row after another."""
        written = [node for node in self.plan.writes(loop) if node not in self.ready]
        self.ready.update(written)
        if not written and not stores:
            return
        nodes, read = self.plan.loops[loop], self.plan.read[loop]
        self._prepare([node for node in nodes if node not in read])
        targets = {store: self._pointer(self._output(store), f"first * {n}") for store in stores}
        self._write(self.depth, "for l in range(m):")
        self._write(self.depth + 1, f"for i in few({n}):")
        inside: dict[Node, str] = {}
        for node in nodes:
            text = f"{self._temp(node)}[l * {n} + i]" if node in read else self._text(node, inside)
            inside[node] = self._assign(self.depth + 2, text)
        for node in written:
            self._write(self.depth + 2, f"{self._temp(node)}[l * {n} + i] = {self._arg(node, inside)}")
        for store, target in targets.items():
            self._write(self.depth + 2, f"{target}[l * {n} + i] = {self._arg(store.value, inside)}")

    def _in_lanes(self, node: Node, n: str) -> str:
        """The rows of a value as lanes."""
        if not self.upright:
            return self._temp(node)
        size = WIDTH * rounded(self.kernel.domain[-1])
        turned = self.names.parameter(("lanes", node.dtype), "t", "temp", node.dtype, size)
        begins = self.names.parameter("begins", "o", "temp", "int64", WIDTH)
        self._write(self.depth, f"for l in range({WIDTH}):")
        self._write(self.depth + 1, f"{begins}[l] = l * {n}")
        self._write(self.depth, f"gather_in({self._temp(node)}, {begins}, {n}, {turned})")
        return turned

    def _column(self, store: Store, value: str) -> str:
        """One element to the columns: to all rows of few columns, or to the total of a block."""
        if self.few:
            return f"{self._all_rows(store)}[i * {self.row_count()} + first + l] = {value}"
        assert store.op is not None
        total = f"{self._total(store)}[i * {WIDTH} + l]"
        return f"{total} = {combined(store.op.name, store.value.dtype, total, value)}"

    def _element(self, node: Node) -> str:
        return f"{self._temp(node)}[i * {WIDTH} + l]"

    def _temp(self, node: Node) -> str:
        size = WIDTH * rounded(self.kernel.domain[-1])
        return self.names.parameter(("temp", node), "t", "temp", node.dtype, size)

    def _after_loop(self, n: str, loop: int) -> None:
        for node in self.plan.scans(loop):
            form = "lanesback" if node.param("reverse") else "lanesscan"
            operands = ", ".join(self._temp(a) for a in node.args)
            self._write(self.depth, f"{node.op.name}_{form}({operands}, {self._temp(node)}, {n})")
        for node in self.plan.reductions(loop):
            (x,) = node.args
            size = WIDTH * self.kernel.domain[-1]
            work = self.names.parameter(("tree", x.dtype), "w", "temp", x.dtype, size)
            values = self._in_lanes(x, n)
            self._write(self.depth, f"{node.op.name}_lanes({values}, {n}, {work}, {self._lane(node)})")
        for store in [] if self.few or self.steps else self._columns():
            if self.plan.stage[store.value] == loop:
                assert store.op is not None
                part = self._pointer(self._part(store), f"b * {n}")
                values = self._temp(store.value)
                self._write(self.depth, f"{store.op.name}_rows({values}, {n}, m, {part})")

    def _columns(self) -> list[Store]:
        return [s for s in self.kernel.stores if s.level == "columns"]

    def _all_rows(self, store: Store) -> str:
        """All rows of few columns, column by column: each is reduced as a row is, when it is complete."""
        size = self.kernel.domain[-1] * self.kernel.rows
        return self.names.parameter(("work", store), "p", "work", store.value.dtype, size)

    # Text ---------------------------------------------------------------------------------------------

    def _arg(self, node: Node, inside: dict[Node, str]) -> str:
        if node.op is LITERAL:
            return self.names.literal(node)
        if node in inside:
            return inside[node]
        return self._element(node) if node in self.plan.inner else f"{self._lane(node)}[l]"

    def _text(self, node: Node, inside: dict[Node, str]) -> str:
        if node.op is LOAD:
            return self._load(node, inside)
        if node.op is INDEX:
            return f"int64({self._place(node)})"
        if node.op is INSIDE:
            return (
                f"inside({self._place(node)}, {self.names.size(('size', node.params), node.param('size'))})"
            )
        return expression(node, [self._arg(a, inside) for a in node.args])

    def _prepare(self, nodes: list[Node]) -> None:
        """The pointers and positions of the first lane, made once for all lanes."""
        for node in nodes:
            if node.op is LOAD:
                self._pointer(self._input(node), self._start(node))
            elif node.op is INDEX or node.op is INSIDE:
                self._position(node)

    def _load(self, node: Node, inside: dict[Node, str]) -> str:
        terms = self._steps(node) + self._dynamic(node, inside)
        text = f"{self._pointer(self._input(node), self._start(node))}[{' + '.join(terms) or '0'}]"
        conditions = [self._arg(g, inside) for g in guards(node)]
        return self.guarded(text, conditions, node.dtype)

    def _dynamic(self, node: Node, inside: dict[Node, str]) -> list[str]:
        """How far the values are from there that name a position."""
        terms = []
        for place, (index, scale) in enumerate(zip(node.args, node.param("dynamic"), strict=False)):
            factor = "" if scale == 1 else f" * {self.names.size(('dynamic', node.params, place), scale)}"
            terms.append(f"{self._arg(index, inside)}{factor}")
        return terms

    def _start(self, node: Node) -> str:
        """Where the first lane's row begins, or all rows of the array."""
        terms = []
        if node.param("offset"):
            terms.append(self.names.size(("offset", node.params), node.param("offset"), "o"))
        *outer, _ = node.param("strides")
        if self.evenly and outer[0]:
            terms.append(self._times("first", tuple(outer), 0))
        return " + ".join(terms)

    def _steps(self, node: Node) -> list[str]:
        """How far lane l and element i are from there."""
        *outer, inner = node.param("strides")
        steps = []
        if any(outer):
            steps = [self._times("l", tuple(outer), 0) if self.evenly else f"{self._begins(tuple(outer))}[l]"]
        if inner:
            steps.append("i" if inner == 1 else f"i * {self.names.size(('stride', node.params, -1), inner)}")
        return steps

    def _pointer(self, name: str, start: str) -> str:
        return self._once(name, start, f"offset({name}, {start})") if start else name

    def _position(self, node: Node) -> str:
        start = self._start(node)
        return self._once("i", start, start) if start else ""

    def _place(self, node: Node) -> str:
        start = self._position(node)
        return " + ".join([*([start] if start else []), *self._steps(node)]) or "0"

    def _once(self, name: str, start: str, text: str) -> str:
        key = (name, start)
        if key not in self.positions:
            used = sum(1 for other, _ in self.positions if other == name)
            self.positions[key] = f"{name}_b{used or ''}"
            self._write(self.depth, f"{self.positions[key]} = {text}")
        return self.positions[key]
