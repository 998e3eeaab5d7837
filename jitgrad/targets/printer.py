"""What every printer of a kernel shares: numbered values, parameters for arrays, and the code after all
rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.ir import LITERAL, Node, literal, toposort
from jitgrad.ops.reductions import BLOCK, COLUMN_BLOCK, FEW
from jitgrad.program import LOAD, RESULT, Kernel, Store
from jitgrad.targets.plan import Plan
from jitgrad.targets.source import Names, Source, expression


class Printer:
    """Collects the lines of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.plan = Plan(kernel)
        self.names = Names()
        self.lines: list[str] = []
        self.text_of: dict[Node, str] = {}
        self.count = 0

    def finished(self, units: int, n: str) -> Source:
        """The text of both functions around the lines printed so far."""
        finish = self._finish(n)
        parameters = self.names.in_order()
        header = f"lo, hi, {', '.join(p.name for p in parameters)}"
        text = f"def kernel({header}):\n" + "\n".join(self.lines) + "\n"
        if finish:
            text += f"\n\ndef finish({header}):\n" + "\n".join(finish) + "\n"
        return Source(text, parameters, units, bool(finish))

    def guarded(self, load: str, conditions: list[str], dtype: np.dtype[Any]) -> str:
        """A load that touches memory only where all conditions hold, and is 0 elsewhere."""
        if not conditions:
            return load
        return f"{load} if {' & '.join(conditions)} else {self.names.literal(literal(0, dtype))}"

    def row_count(self) -> str:
        return self.names.size("rows", self.kernel.rows, "rows")

    def blocks(self) -> int:
        """How many blocks of the reduction order a row has."""
        return -(-self.kernel.domain[-1] // BLOCK)

    def block_count(self) -> str:
        return self.names.size(("parts", BLOCK), self.blocks(), "d")

    @property
    def after_run(self) -> bool:
        """Whether several rows lie side by side at each place of the run."""
        return self.kernel.run[1] < len(self.kernel.domain) - 1

    def total_count(self, store: Store, n: str) -> str:
        return n if store.count is None else self.names.size(("count", store.target), store.count, "d")

    def run_length(self) -> str:
        if self.kernel.run[0] or self.after_run:
            return self.names.size("run", self.kernel.around_run[1], "d")
        return self.row_count()

    def rows_after_run(self) -> str:
        return self.names.size("after", self.kernel.around_run[2], "d")

    def columns_width(self, n: str) -> str:
        """The number of columns: the elements after the run."""
        if not self.after_run:
            return n
        return self.names.size("width", self.kernel.around_run[2] * self.kernel.domain[-1], "d")

    def _write(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def _assign(self, depth: int, text: str) -> str:
        name = f"v{self.count}"
        self.count += 1
        self._write(depth, f"{name} = {text}")
        return name

    def _input(self, node: Node) -> str:
        buffer = node.param("buffer")
        return self.names.parameter(buffer, "x", "input", buffer.dtype, buffer)

    def side_by_side(self, position: str, store: Store) -> str:
        """Where a value goes in a target that may have several for each position."""
        if store.part is None:
            return position
        place, count = store.part
        return f"{position} * {count} + {place}" if place else f"{position} * {count}"

    def _output(self, store: Store) -> str:
        return self.names.parameter(("output", store.target), "y", "output", store.target.dtype, store.target)

    def _finish(self, n: str) -> list[str]:
        before, self.lines = self.lines, []
        self.text_of, self.count = {}, 0
        results: dict[Node, str] = {}
        for store in self.kernel.stores:
            if store.level == "total":
                assert store.op is not None
                work = self.names.parameters[("work", store)].name
                elements = f"({self.total_count(store, n)} + {BLOCK - 1}) // {BLOCK}"
                count = self.row_count() if self.plan.rows else elements
                if self.plan.down:
                    self._finish_rows(store, work)
                results[store.target] = self._assign(1, f"{store.op.name}_of({work}, {count}, {work})")
                self._write(1, f"{self._output(store)}[0] = {results[store.target]}")
            elif store.level == "columns":
                assert store.op is not None
                self._finish_columns(store, n)
        for store in self.kernel.epilogue:
            results[store.target] = self._epilogue_value(store.value, results)
            self._write(1, f"{self._output(store)}[0] = {results[store.target]}")
        finish, self.lines = self.lines, before
        return finish

    def _finish_rows(self, store: Store, work: str) -> None:
        """Reduce the blocks of each row, if there are several, to one number in the row's place."""
        assert store.op is not None
        blocks = self.block_count()
        self._write(1, f"for i in range({self.row_count()} * minimum({blocks} - 1, 1)):")
        row = f"offset({work}, i * {blocks})"
        self._write(2, f"{work}[i] = {store.op.name}_of({row}, {blocks}, {row})")

    def _finish_columns(self, store: Store, n: str) -> None:
        """Reduce the parts, one for each block of rows, or the few columns that stand there as rows."""
        assert store.op is not None
        work, output = self.names.parameters[("work", store)].name, self._output(store)
        if self.kernel.domain[-1] <= FEW and not self.after_run:
            rows = self.row_count()
            column = f"offset({work}, i * {rows})"
            self._write(1, f"for i in range({n}):")
            self._write(2, f"{output}[i] = {store.op.name}_of({column}, {rows}, {column})")
            return
        width = self.columns_width(n)
        blocks = f"({self.run_length()} + {COLUMN_BLOCK - 1}) // {COLUMN_BLOCK}"
        if not self.kernel.run[0]:
            self._write(1, f"{store.op.name}_columns({work}, {blocks}, {width}, {output})")
            return
        before = self.names.size("before", self.kernel.around_run[0], "d")
        self._write(1, f"parts = {blocks}")
        self._write(1, f"for i in range({before}):")
        arguments = f"offset({work}, i * parts * {width}), parts, {width}, offset({output}, i * {width})"
        self._write(2, f"{store.op.name}_columns({arguments})")

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
                place = self.names.size(("offset", node.params), offset, "o") if offset else "0"
                self.text_of[node] = self._assign(1, f"{self._input(node)}[{place}]")
            else:
                self.text_of[node] = self._assign(1, expression(node, [self.text_of[a] for a in node.args]))
        return self.text_of[value]
