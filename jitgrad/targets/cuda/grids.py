"""A kernel to the grids of threads that compute it one after another: its units, column sums, totals."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jitgrad.ops.reductions import BLOCK, COLUMN_BLOCK
from jitgrad.program import Kernel
from jitgrad.targets import lanes
from jitgrad.targets.cuda.device import WARP, functions
from jitgrad.targets.cuda.frontend import MULTIPLE, Form, sizes_of_steps
from jitgrad.targets.cuda.threaded import spreads, threaded
from jitgrad.targets.emit import emit
from jitgrad.targets.source import Parameter, padded_bytes

MOST_THREADS = 1024
VECTOR = 4  # elements that a thread should have at least
USUAL_BLOCK = 256
SHARED_BYTES = 48 << 10  # what a block may have on every GPU without asking
BYTES_PER_THREAD = 64  # of temporaries: more leave a multiprocessor half empty
BUSY = 1 << 17  # threads that keep a large GPU busy


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Memory for partial results, which one grid writes and a later one reads."""

    count: int
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """One launch: a module's function `kernel`, or `finish`, over so many units.

    The values of `parameters` are as in `jitgrad.targets.source`, but for work arrays, which are `Work`s.
    A unit has `length` elements.
    """

    text: str
    parameters: tuple[Parameter, ...]
    units: int
    form: Form
    length: int = 1

    @property
    def temporary_bytes(self) -> int:
        """How much memory a group's temporaries take."""
        return sum(map(padded_bytes, self._temporaries()))

    @property
    def shared_bytes(self) -> int:
        """How much shared memory a launch asks for, for each block."""
        return self.temporary_bytes * self.form.block // self.form.threads if self.form.shared else 0

    @property
    def described(self) -> str:
        """How the grid is launched, in words."""
        form = self.form
        words = f"{self.units} units, {form.threads} threads to each, blocks of {form.block}"
        if form.spread:
            words += ", several to a unit where there are few"
        if not self.temporary_bytes:
            return words
        return f"{words}; {self.temporary_bytes} bytes of {'shared' if form.shared else 'global'} memory"

    def offsets(self) -> Mapping[str, int]:
        """Where each temporary begins in the memory of its group."""
        found, place = {}, 0
        for parameter in self._temporaries():
            found[parameter.name] = place
            place += padded_bytes(parameter)
        return found

    @property
    def rows_align(self) -> bool:
        """Whether all rows begin at multiples of 16 bytes if the arrays do."""
        entry = ast.parse(self.text).body[0]
        assert isinstance(entry, ast.FunctionDef)
        stepped = sizes_of_steps(entry)
        return all(p.value % MULTIPLE == 0 for p in self.parameters if p.kind == "size" and p.name in stepped)

    def as_aligned(self) -> Grid:
        """Return the grid for arrays that begin at multiples of 16 bytes, as far as its rows do."""
        return replace(self, form=replace(self.form, aligned=self.rows_align))

    def _temporaries(self) -> list[Parameter]:
        return [p for p in self.parameters if p.kind == "temp"]


def grids(kernel: Kernel, fastmath: bool = False) -> list[Grid]:
    """Return the grids that together do what `kernel` says, in order."""
    source = emit(kernel)
    works = {p.name: Work(p.value, p.dtype) for p in source.parameters if p.kind == "work"}
    parameters = {p.name: replace(p, value=works.get(p.name, p.value)) for p in source.parameters}
    entries = {part.name: part for part in ast.parse(source.text).body if isinstance(part, ast.FunctionDef)}
    made = [_main(kernel, entries["kernel"], parameters, source.units)]
    if "finish" in entries:
        sums = list(_taken_column_sums(entries["finish"]))
        for op, parts, output in sums:
            made += _levels(kernel, op, parameters[parts], parameters[output])
        for op, parts, loop in _few_columns(entries["finish"]):
            made.append(_blocks_apart(kernel, op, parts, loop, parameters))
        if entries["finish"].body:
            made.append(grid_of(entries["finish"], parameters, 1, Form(MOST_THREADS, MOST_THREADS)))
    return [replace(grid, form=replace(grid.form, fastmath=fastmath)) for grid in made]


def listing(kernel: Kernel) -> str:
    """Return the text of a kernel's grids, each with how it is launched."""
    return "\n\n".join(f"# {grid.described}\n{grid.text}" for grid in grids(kernel))


def grid_of(
    entry: ast.FunctionDef, parameters: Mapping[str, Parameter], units: int, form: Form, length: int = 1
) -> Grid:
    """Return the grid for a function in the form of emitted text, with the parameters that it uses."""
    used = {node.id for statement in entry.body for node in ast.walk(statement) if isinstance(node, ast.Name)}
    wanted = {name: parameter for name, parameter in parameters.items() if name in used}
    entry.args.args = [ast.arg(name) for name in ("lo", "hi", *wanted)]
    text = threaded(ast.unparse(ast.fix_missing_locations(entry)))
    called = functions(text)
    whole = f"{text}\n\n{called}" if called else text
    return Grid(whole, tuple(wanted.values()), units, replace(form, spread=spreads(text)), length)


# The main grid ----------------------------------------------------------------------------------------


def _main(kernel: Kernel, entry: ast.FunctionDef, parameters: Mapping[str, Parameter], units: int) -> Grid:
    grid = grid_of(entry, parameters, units, Form(), kernel.domain[-1])
    if lanes.suits(kernel):
        return _packed(grid, WARP)
    elements = min(kernel.domain[-1], BLOCK if len(kernel.domain) == 1 else kernel.domain[-1])
    threads = threads_for(grid.temporary_bytes // BYTES_PER_THREAD)
    while units * threads < BUSY and threads * VECTOR < elements:
        threads *= 2
    return _packed(grid, min(threads, MOST_THREADS))


def _packed(grid: Grid, threads: int) -> Grid:
    """Groups of so many threads in blocks, their temporaries in shared memory where they fit."""
    size = grid.temporary_bytes
    groups = 1 if threads > WARP else USUAL_BLOCK // WARP
    while groups > 1 and groups * size > SHARED_BYTES:
        groups //= 2
    shared = groups * size <= SHARED_BYTES
    return replace(grid, form=replace(grid.form, threads=threads, block=threads * groups, shared=shared))


def threads_for(elements: int) -> int:
    """Return the threads of a group that has so much to do: a power of two, at least a warp."""
    return 1 << (max(WARP, elements) - 1).bit_length()


# Column sums ------------------------------------------------------------------------------------------


def _taken_column_sums(finish: ast.FunctionDef) -> Iterator[tuple[str, str, str]]:
    """Take the column sums out of a text: the reduction, the array of parts and the output of each."""
    left = []
    for statement in finish.body:
        nodes = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
        calls = [node for node in nodes if ast.unparse(node.func).endswith("_columns")]
        for call in calls:
            parts, *_, output = map(_array, call.args)
            yield ast.unparse(call.func).removesuffix("_columns"), parts, output
        if not calls and not ast.unparse(statement).startswith("parts = "):
            left.append(statement)
    finish.body = left


def _few_columns(finish: ast.FunctionDef) -> Iterator[tuple[str, str, ast.For]]:
    """The loops over few columns, each of which is reduced as a row: the reduction and the array."""
    for loop in finish.body:
        match loop:
            case ast.For(
                body=[ast.Assign(value=ast.Call(func=ast.Name(name), args=[ast.Call() as column, *_]))]
            ):
                if name.endswith("_of") and ast.unparse(loop.iter) == "range(n)":
                    yield name.removesuffix("_of"), _array(column), loop


BLOCKS = """
def kernel(lo, hi, x0, y0, rows, blocks):
    for b in range(lo, hi):
        start = b % blocks * {block}
        values = offset(x0, b // blocks * rows + start)
        y0[b] = {op}_block(values, minimum(rows - start, {block}))
"""


def _blocks_apart(
    kernel: Kernel, op: str, parts: str, loop: ast.For, parameters: dict[str, Parameter]
) -> Grid:
    """A grid for the blocks of few long columns; `loop` is left with the results of these."""
    rows, count, columns = kernel.rows, -(-kernel.rows // BLOCK), kernel.domain[-1]
    source = parameters[parts]
    target = Parameter(f"p_{parts}", "work", source.dtype, Work(columns * count, source.dtype))
    length = Parameter(f"blocks_{parts}", "size", np.dtype(np.int64), count)
    parameters |= {target.name: target, length.name: length}
    renamed = {parts: target.name, "rows": length.name}
    for node in ast.walk(loop):
        if isinstance(node, ast.Name):
            node.id = renamed.get(node.id, node.id)
    sizes = {"rows": rows, "blocks": count}
    return _between(BLOCKS.format(op=op, block=BLOCK), source, target, sizes, columns * count, WARP)


def _array(argument: ast.expr) -> str:
    """The array of `p0` or `offset(p0, ...)`."""
    span = argument.args[0] if isinstance(argument, ast.Call) else argument
    return ast.unparse(span)


def _levels(kernel: Kernel, op: str, parts: Parameter, output: Parameter) -> Iterator[Grid]:
    """Grids that add the parts of columns, COLUMN_BLOCK at a time, until one is left."""
    before, run, after = kernel.around_run
    width, rows = after * kernel.domain[-1], _blocks(run)
    source = parts
    while True:
        blocks = _blocks(rows)
        target = (
            output
            if blocks == 1
            else Parameter("p1", "work", parts.dtype, Work(before * blocks * width, parts.dtype))
        )
        sizes = {"n": width, "rows": rows, "blocks": blocks}
        text, threads = LEVEL.format(op=op, block=COLUMN_BLOCK), min(USUAL_BLOCK, threads_for(width))
        yield _between(text, source, target, sizes, before * blocks, threads)
        if blocks == 1:
            return
        source, rows = target, blocks


LEVEL = """
def kernel(lo, hi, x0, y0, n, rows, blocks):
    for b in range(lo, hi):
        begin = b % blocks * {block}
        first = b // blocks * rows + begin
        {op}_down(offset(x0, first * n), minimum(rows - begin, {block}), n, offset(y0, b * n))
"""


def _between(
    text: str, source: Parameter, target: Parameter, sizes: Mapping[str, int], units: int, threads: int
) -> Grid:
    """A grid from partial results `x0` to fewer of them, `y0`."""
    parameters = {
        "x0": replace(source, name="x0"),
        "y0": replace(target, name="y0"),
        **{name: Parameter(name, "size", np.dtype(np.int64), value) for name, value in sizes.items()},
    }
    (entry,) = ast.parse(text).body
    assert isinstance(entry, ast.FunctionDef)
    return grid_of(entry, parameters, units, Form(threads, threads), sizes.get("n", 1))


def _blocks(rows: int) -> int:
    return -(-rows // COLUMN_BLOCK)
