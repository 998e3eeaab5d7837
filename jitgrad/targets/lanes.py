"""A kernel over short rows to text: 32 rows side by side, so that loops run across rows and vectorise."""

from __future__ import annotations

from jitgrad.ir import LITERAL, Node
from jitgrad.ops.reductions import COLUMN_BLOCK, FEW
from jitgrad.program import INDEX, INSIDE, LOAD, Kernel, Store, guards
from jitgrad.targets.printer import Printer
from jitgrad.targets.source import Source, expression

WIDTH = COLUMN_BLOCK
LONGEST = 32  # rows of more elements are worth loops of their own


def suits(kernel: Kernel) -> bool:
    """Whether the kernel's rows are short; sums over columns need all rows in one sequence of blocks."""
    columns = any(s.level == "columns" for s in kernel.stores)
    return (
        1 < len(kernel.domain) and kernel.domain[-1] <= LONGEST and not (columns and len(kernel.domain) > 2)
    )


class LanePrinter(Printer):
    """Prints loops over lanes `l`, one lane a row; a value of a row is an array over the lanes."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.positions: dict[tuple[str, str], str] = {}
        self.shared = self._shared()
        self.few = kernel.domain[-1] <= FEW

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

    def source(self) -> Source:
        *outer, row_axis, n_elements = self.kernel.domain
        n = self.names.size("n", n_elements, "n")
        lanes = self.names.size("lanes", row_axis, "d")
        blocks = -(-row_axis // WIDTH)
        units = blocks
        self._write(1, "for b in range(lo, hi):")
        block = "b"
        if outer:
            count = self.names.size("blocks", blocks, "d")
            self._write(2, f"block = b % {count}")
            self._write(2, f"q = b // {count}")
            block = "block"
            for axis in reversed(range(len(outer))):
                units *= outer[axis]
                size = self.names.size(("extent", axis), outer[axis], "d")
                self._write(2, f"r{axis} = q % {size}")
                self._write(2, f"q = q // {size}")
        self._write(2, f"first = {block} * {WIDTH}")
        self._write(2, f"m = minimum({lanes} - first, {WIDTH})")
        self._write(2, f"row = {self._row_number(outer, lanes)}")
        for loop in range(len(self.plan.loops)):
            self._rows(loop)
            self._loop(n, loop)
            self._after_loop(n, loop)
        self._rows(len(self.plan.loops))
        self._row_stores()
        return self.finished(units, n)

    def _row_number(self, outer: list[int], lanes: str) -> str:
        number = ""
        for axis in range(len(outer)):
            size = self.names.size(("extent", axis), outer[axis], "d")
            number = f"({number} * {size} + r{axis})" if number else f"r{axis}"
        return f"{number} * {lanes} + first" if number else "first"

    # Values of rows -----------------------------------------------------------------------------------

    def _rows(self, stage: int) -> None:
        """One loop over the lanes for the values of rows that a stage needs."""
        body = [n for n in self.plan.body if n not in self.plan.inner and self.plan.stage[n] == stage]
        nodes = [n for n in body if n.op is not LITERAL and n.op.kind != "reduce"]
        if not nodes:
            return
        self._prepare(nodes)
        self._write(2, "for l in range(m):")
        inside: dict[Node, str] = {}
        for node in nodes:
            inside[node] = self._assign(3, self._text(node, inside))
            if node in self.shared:
                self._write(3, f"{self._lane(node)}[l] = {inside[node]}")

    def _row_stores(self) -> None:
        stores = [s for s in self.kernel.stores if s.level in ("row", "total")]
        if not stores:
            return
        targets = {store: self._pointer(self._row_target(store), "row") for store in stores}
        self._write(2, "for l in range(m):")
        for store in stores:
            self._write(3, f"{targets[store]}[l] = {self._arg(store.value, {})}")

    def _row_target(self, store: Store) -> str:
        if store.level == "row":
            return self._output(store)
        return self.names.parameter(("work", store), "p", "work", store.value.dtype, self.kernel.rows)

    def _lane(self, node: Node) -> str:
        return self.names.parameter(("lane", node), "s", "temp", node.dtype, WIDTH)

    # Elements -----------------------------------------------------------------------------------------

    def _loop(self, n: str, loop: int) -> None:
        roots, stores = self.plan.loop_roots(loop), self.plan.element_stores(loop)
        if not roots:
            return
        nodes = self.plan.loops[loop]
        self._prepare([node for node in nodes if node not in self.plan.read[loop]])
        targets = {s: self._pointer(self._output(s), f"row * {n}") for s in stores if s.level == "element"}
        self._write(2, f"for i in range({n}):")
        self._write(3, "for l in range(m):")
        inside: dict[Node, str] = {}
        for node in nodes:
            read = node in self.plan.read[loop]
            inside[node] = self._assign(
                4, f"{self._temp(node)}[i * {WIDTH} + l]" if read else self._text(node, inside)
            )
        columns = [] if self.few else [s.value for s in self._columns(loop)]
        for node in dict.fromkeys([*self.plan.writes(loop), *columns]):
            self._write(4, f"{self._temp(node)}[i * {WIDTH} + l] = {self._arg(node, inside)}")
        for store, target in targets.items():
            self._write(4, f"{target}[l * {n} + i] = {self._arg(store.value, inside)}")
        if self.few:
            for store in self._columns(loop):
                at = f"i * {self.row_count()} + row + l"
                self._write(4, f"{self._all_rows(store)}[{at}] = {self._arg(store.value, inside)}")

    def _temp(self, node: Node) -> str:
        return self.names.parameter(("temp", node), "t", "temp", node.dtype, WIDTH * self.kernel.domain[-1])

    def _after_loop(self, n: str, loop: int) -> None:
        for node in self.plan.scans(loop):
            form = "lanesback" if node.param("reverse") else "lanesscan"
            operands = ", ".join(self._temp(a) for a in node.args)
            self._write(2, f"{node.op.name}_{form}({operands}, {self._temp(node)}, {n})")
        for node in self.plan.reductions(loop):
            (x,) = node.args
            size = WIDTH * self.kernel.domain[-1]
            work = self.names.parameter(("tree", x.dtype), "w", "temp", x.dtype, size)
            self._write(2, f"{node.op.name}_lanes({self._temp(x)}, {n}, {work}, {self._lane(node)})")
        for store in [] if self.few else self._columns(loop):
            assert store.op is not None
            size = self.kernel.domain[-1] * -(-self.kernel.rows // WIDTH)
            work = self.names.parameter(("work", store), "p", "work", store.value.dtype, size)
            part = self._pointer(work, f"b * {n}")
            self._write(2, f"{store.op.name}_rows({self._temp(store.value)}, {n}, m, {part})")

    def _columns(self, loop: int) -> list[Store]:
        return [s for s in self.plan.element_stores(loop) if s.level == "columns"]

    def _all_rows(self, store: Store) -> str:
        """All rows of few columns, column by column: each is reduced as a row is, when it is complete."""
        size = self.kernel.domain[-1] * self.kernel.rows
        return self.names.parameter(("work", store), "p", "work", store.value.dtype, size)

    # Text ---------------------------------------------------------------------------------------------

    def _arg(self, node: Node, inside: dict[Node, str]) -> str:
        if node.op is LITERAL:
            return self.names.literal(node)
        return inside.get(node) or f"{self._lane(node)}[l]"

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
        terms = self._steps(node)
        for place, (index, scale) in enumerate(zip(node.args, node.param("dynamic"), strict=False)):
            factor = "" if scale == 1 else f" * {self.names.size(('dynamic', node.params, place), scale)}"
            terms.append(f"{self._arg(index, inside)}{factor}")
        text = f"{self._pointer(self._input(node), self._start(node))}[{' + '.join(terms) or '0'}]"
        conditions = [self._arg(g, inside) for g in guards(node)]
        return self.guarded(text, conditions, node.dtype)

    def _start(self, node: Node) -> str:
        """Where the first lane's row begins."""
        terms = []
        if node.param("offset"):
            terms.append(self.names.size(("offset", node.params), node.param("offset"), "o"))
        *outer, row, _ = node.param("strides")
        for axis, stride in enumerate(outer):
            if stride:
                terms.append(f"r{axis} * {self.names.size(('stride', node.params, axis), stride)}")
        if row:
            terms.append(f"first * {self._row_stride(node)}" if row != 1 else "first")
        return " + ".join(terms)

    def _steps(self, node: Node) -> list[str]:
        """How far lane l and element i are from there."""
        *_, row, inner = node.param("strides")
        steps = [] if not row else ["l" if row == 1 else f"l * {self._row_stride(node)}"]
        if inner:
            steps.append("i" if inner == 1 else f"i * {self.names.size(('stride', node.params, -1), inner)}")
        return steps

    def _row_stride(self, node: Node) -> str:
        stride = node.param("strides")[-2]
        if stride == self.kernel.domain[-1]:
            return self.names.size("n", stride, "n")
        return self.names.size(("stride", node.params, -2), stride)

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
            self._write(2, f"{self.positions[key]} = {text}")
        return self.positions[key]
