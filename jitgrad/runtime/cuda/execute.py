"""A graph to a function of arrays on a device: fuse it, load its grids, place its buffers, run its steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from jitgrad.fuse import fuse
from jitgrad.ir import CAPTURE, INPUT, LITERAL, Graph, Node, literal_value
from jitgrad.machine.scatter import Sums
from jitgrad.program import Call, Kernel
from jitgrad.runtime.binding import library_call
from jitgrad.runtime.cuda import arrays, modules
from jitgrad.runtime.cuda.arrays import DeviceArray
from jitgrad.runtime.cuda.driver import MULTIPROCESSORS, Driver, driver
from jitgrad.runtime.cuda.launcher import Launches, Replay, Shape
from jitgrad.runtime.execute import element_strides
from jitgrad.runtime.layouts import product_layout, segment_layout
from jitgrad.runtime.plan import LibraryCall, Operand
from jitgrad.targets.cpu import words
from jitgrad.targets.cuda.grids import BUSY, Grid, Work, grids
from jitgrad.targets.cuda.segments import segment_grid
from jitgrad.views import views_from

ALIGNMENT = 256  # bytes, of buffers in the arena
VECTOR_BYTES = 16
BLOCKS_PER_MULTIPROCESSOR = 32
SCRATCH_BLOCKS = 2  # of a multiprocessor, where temporaries lie in global memory
MOST_COLUMNS = 1024  # of blocks that share a unit
MOST_BLOCKS = 1 << 16
REPLAYED = 8  # launches from which a graph of the driver's is quicker
INDEX = np.dtype(np.int64)

Buffer = Node | Work
HEAD = 3  # words of an argument block before a grid's own parameters


@dataclass(frozen=True, slots=True)
class GridStep:
    """A grid with how it is launched."""

    grid: Grid
    x: int
    y: int

    def function(self, driver: Driver, device: int, aligned: bool) -> int:
        """The address of the grid's function for arrays that are aligned or not."""
        return modules.load(self.grid.as_aligned() if aligned else self.grid, driver, device)

    @property
    def scratch_bytes(self) -> int:
        """Global memory for temporaries that do not fit into shared memory."""
        form = self.grid.form
        return 0 if form.shared else self.x * (form.block // form.threads) * self.grid.temporary_bytes


class Compiled:
    """A graph made ready for one set of shapes, dtypes and strides on one device.

    Call it with one device array for each input; it returns fresh device arrays, one for each output, as
    soon as the work is on the current stream.
    """

    def __init__(self, graph: Graph, strides: Sequence[tuple[int, ...] | None], fastmath: bool) -> None:
        self.graph = graph
        self.program = fuse(graph, element_strides(graph, strides))
        self.driver, self.device = driver(), int(arrays.cupy().cuda.Device().id)
        count = self.driver.attribute(self.device, MULTIPROCESSORS)
        self.steps = [
            list(_grid_steps(step, count, fastmath)) if isinstance(step, Kernel) else step
            for step in self.program.steps
        ]
        self._runs: dict[bool, list[_Run]] = {True: [], False: []}

    def __call__(self, given: Sequence[Any]) -> list[DeviceArray]:
        with arrays.on(self.device):
            return self._called(given)

    def _called(self, given: Sequence[Any]) -> list[DeviceArray]:
        taken = [arrays.as_device_array(array) for array in given]
        aligned = all(array.data.ptr % VECTOR_BYTES == 0 for array in taken)
        idle = self._runs[aligned]  # what a call in another thread is filling just now is not among them
        run = idle.pop() if idle else _Run(self, aligned)
        try:
            return run(taken)
        finally:
            idle.append(run)


def compile_graph(
    graph: Graph, strides: Sequence[tuple[int, ...] | None] | None = None, donated: Collection[int] = ()
) -> Compiled:
    """Compile a graph for the current device; `strides` are as in `jitgrad.runtime.execute`.

    Raise CudaError where there is no driver or no CuPy.
    """
    return Compiled(graph, strides or [None] * len(graph.inputs), fastmath=False)


def compile_fast(
    graph: Graph, strides: Sequence[tuple[int, ...] | None], donated: Collection[int] = ()
) -> Compiled:
    """Compile a graph whose arithmetic may be contracted and reassociated."""
    return Compiled(graph, strides, fastmath=True)


# Launches ---------------------------------------------------------------------------------------------


def _grid_steps(kernel: Kernel, multiprocessors: int, fastmath: bool) -> Iterator[GridStep]:
    for grid in grids(kernel, fastmath):
        form = grid.form
        most = multiprocessors * (BLOCKS_PER_MULTIPROCESSOR if form.shared else SCRATCH_BLOCKS)
        x = max(1, min(-(-grid.units * form.threads // form.block), most))
        yield GridStep(grid, x, _columns(grid, x) if form.spread else 1)


def _columns(grid: Grid, x: int) -> int:
    """How many blocks share the elements of a unit: enough to keep a device busy, none without elements."""
    wanted = -(-BUSY // (x * grid.form.block))
    return max(1, min(wanted, -(-grid.length // grid.form.threads), MOST_COLUMNS))


# Memory -----------------------------------------------------------------------------------------------


class _Arena:
    """Where buffers lie in one piece of memory; those that are not needed at the same time share a place."""

    def __init__(self) -> None:
        self.bytes = 0
        self.offsets: dict[Buffer | GridStep, int] = {}
        self._taken: dict[Buffer | GridStep, tuple[int, int]] = {}

    def take(self, buffer: Buffer | GridStep, size: int) -> None:
        """Give a buffer the first place that is free."""
        size = max(-(-size // ALIGNMENT), 1) * ALIGNMENT
        place = 0
        for start, end in sorted(self._taken.values()):
            if place + size <= start:
                break
            place = max(place, end)
        self._taken[buffer] = (place, place + size)
        self.offsets[buffer] = place
        self.bytes = max(self.bytes, place + size)

    def release(self, buffer: Buffer | GridStep) -> None:
        """Let later buffers have the place of this one."""
        del self._taken[buffer]


def _bytes_of(buffer: Buffer) -> int:
    if isinstance(buffer, Work):
        return buffer.count * buffer.dtype.itemsize
    return buffer.aval.size * buffer.dtype.itemsize


def _arrays_of(step: list[GridStep] | Call) -> list[Buffer]:
    """The buffers that a step reads or writes."""
    if isinstance(step, Call):
        return [node for node in (step.node, *step.buffers) if node.op is not LITERAL]
    return [p.value for grid in step for p in grid.grid.parameters if p.kind in ("input", "output", "work")]


def _placed(compiled: Compiled) -> _Arena:
    """Places for all that kernels write and no result is."""
    arena = _Arena()
    kept = set(compiled.program.outputs)
    last = {b: place for place, step in enumerate(compiled.steps) for b in _arrays_of(step)}
    for place, step in enumerate(compiled.steps):
        if not isinstance(step, Call):
            written = [p.value for grid in step for p in grid.grid.parameters if p.kind in ("output", "work")]
            for buffer in dict.fromkeys(written):
                if buffer not in kept and buffer not in arena.offsets:
                    arena.take(buffer, _bytes_of(buffer))
            scratch = [grid for grid in step if grid.scratch_bytes]
            for grid in scratch:
                arena.take(grid, grid.scratch_bytes)
            for grid in scratch:
                arena.release(grid)
        for buffer in [b for b in last if last[b] == place and b in arena.offsets]:
            arena.release(buffer)
    return arena


# Runs -------------------------------------------------------------------------------------------------

Action = Callable[["_Run"], None]


class _Run:
    """What one call fills: the addresses of all buffers, and argument blocks for all launches.

    A launch has read its block when it returns, so that the next call may fill it again.
    """

    def __init__(self, compiled: Compiled, aligned: bool) -> None:
        self.program = program = compiled.program
        self.compiled, self.aligned = compiled, aligned
        self.arena = _placed(compiled)
        self.slots: dict[Buffer | GridStep, int] = {}
        self.results = [n for n in dict.fromkeys(program.outputs) if n.op not in (INPUT, CAPTURE, LITERAL)]
        self.made = {n for step in compiled.steps if isinstance(step, list) for n in _arrays_of(step)}
        read = (n for step in compiled.steps for n in _arrays_of(step))
        self.captured = {n for n in read if isinstance(n, Node) and n.op is CAPTURE}
        self.captured |= {n for n in program.outputs if n.op is CAPTURE}
        self.actions = list(self._actions())
        self.addresses = np.zeros(len(self.slots), np.int64)
        self.held: dict[Buffer, DeviceArray] = {}
        self.memory: DeviceArray = None

    def __call__(self, given: Sequence[DeviceArray]) -> list[DeviceArray]:
        xp = arrays.cupy()
        self.held = dict(zip(self.program.inputs, given, strict=True))
        self.held |= {n: arrays.as_device_array(n.param("value").array) for n in self.captured}
        self.held |= {n: xp.empty(n.shape, n.dtype) for n in self.results if n in self.made}
        self.memory = xp.empty(self.arena.bytes, np.uint8)
        for buffer, offset in self.arena.offsets.items():
            self.addresses[self._slot(buffer)] = self.memory.data.ptr + offset
        for buffer, array in self.held.items():
            if buffer in self.slots:
                self.addresses[self.slots[buffer]] = array.data.ptr
        for action in self.actions:
            action(self)
        outputs = [self._result(node, place) for place, node in enumerate(self.program.outputs)]
        self.held, self.memory = {}, None
        return outputs

    def _slot(self, buffer: Buffer | GridStep) -> int:
        return self.slots.setdefault(buffer, len(self.slots))

    def _result(self, node: Node, place: int) -> DeviceArray:
        xp = arrays.cupy()
        if node.op is LITERAL:
            return xp.asarray(literal_value(node))
        again = node in self.program.outputs[:place] or node.op in (INPUT, CAPTURE)
        return xp.array(self.held[node], order="C") if again else self.held[node]

    def array(self, buffer: Buffer) -> DeviceArray:
        """The array of a buffer, wherever it lies."""
        if buffer in self.held:
            return self.held[buffer]
        assert isinstance(buffer, Node)
        view: DeviceArray = arrays.cupy().ndarray(
            buffer.shape, buffer.dtype, self.memory.data + self.arena.offsets[buffer]
        )
        return view

    # Actions ------------------------------------------------------------------------------------------

    def _actions(self) -> Iterator[Action]:
        """Neighbouring grids become one action, each library call another."""
        for buffer in self.arena.offsets:
            self._slot(buffer)
        for together, steps in itertools.groupby(self.compiled.steps, lambda step: isinstance(step, list)):
            if together:
                yield self._launches([grid for step in steps for grid in step])  # type: ignore[union-attr]
            else:
                yield from map(self._call, steps)  # type: ignore[arg-type]

    def _launches(self, steps: Sequence[GridStep]) -> Action:
        blocks, places, slots, shapes = [], [], [], []
        begin = 0
        for step in steps:
            block, pointers = self._block(step)
            blocks.append(block)
            places += [begin + place for place, _ in pointers]
            slots += [slot for _, slot in pointers]
            function = step.function(self.compiled.driver, self.compiled.device, self.aligned)
            shapes.append(Shape(function, step.x, step.y, step.grid.form.block, step.grid.shared_bytes))
            begin += len(block)
        launches = Launches(self.compiled.driver, shapes, blocks)
        replay: Replay | None = None
        where, which = np.array(places, np.int64), np.array(slots, np.int64)

        def launch(run: _Run) -> None:
            nonlocal replay
            launches.words[where] = run.addresses[which]
            if len(launches) < REPLAYED:
                launches.run(arrays.current_stream())
                return
            replay = replay or Replay(launches)
            replay.run(arrays.current_stream())

        return launch

    def _block(self, step: GridStep) -> tuple[list[int], list[tuple[int, int]]]:
        """The words of an argument block, and the slot of each word that is an address."""
        grid, offsets = step.grid, step.grid.offsets()
        block = [grid.units, grid.temporary_bytes, 0]
        pointers = [(HEAD - 1, self._slot(step))] if step.scratch_bytes else []
        for place, parameter in enumerate(grid.parameters, HEAD):
            if parameter.kind in ("input", "output", "work"):
                pointers.append((place, self._slot(parameter.value)))
                block.append(0)
            else:
                block.append(offsets[parameter.name] if parameter.kind == "temp" else words(parameter))
        return block, pointers

    def _call(self, call: Call) -> Action:
        node = call.node
        operands = tuple(
            Operand(None, literal_value(buffer) if buffer.op is LITERAL else None, views_from(buffer, arg))
            for buffer, arg in zip(call.buffers, node.args, strict=True)
        )
        sums = segment_layout(node, call.buffers, operands, self.program.strides)
        if sums is not None:
            return self._segments(call, Sums(*sums))
        layout = product_layout(node, call.buffers, operands, self.program.strides)
        compute = partial(_product, layout) if layout is not None else _on_host(node, operands)

        def run_call(run: _Run) -> None:
            given = [
                operand.constant if buffer.op is LITERAL else run.array(buffer)
                for buffer, operand in zip(call.buffers, operands, strict=True)
            ]
            run.held[node] = result = compute(*given)
            if node in run.slots:
                run.addresses[run.slots[node]] = result.data.ptr

        return run_call

    def _segments(self, call: Call, sums: Sums) -> Action:
        """Sums of the rows that an index names: it is sorted, then a grid goes through it."""
        rows, index = call.buffers
        order, ends = Work(sums.count, INDEX), Work(sums.size + 1, INDEX)
        grid = segment_grid(sums, rows, call.node, order, ends)
        x = max(1, -(-grid.units * grid.form.threads // grid.form.block))
        launch = self._launches([GridStep(grid, min(x, MOST_BLOCKS), 1)])

        def run_sums(run: _Run) -> None:
            xp = arrays.cupy()
            named = run.array(index).ravel()
            places = xp.argsort(named, kind="stable")
            starts = xp.searchsorted(named[places], xp.arange(sums.size + 1))
            out = xp.empty(call.node.shape, call.node.dtype)
            run.held |= {order: places.astype(INDEX), ends: starts.astype(INDEX), call.node: out}
            for buffer in (rows, order, ends, call.node):
                run.addresses[run.slots[buffer]] = run.array(buffer).data.ptr
            launch(run)

        return run_sums


def _product(layout: Any, x: DeviceArray, y: DeviceArray) -> DeviceArray:
    """A matrix product by cuBLAS, of operands that are read where they lie."""
    shape, strides, other_shape, other_strides, _, start, other_start = layout
    left = arrays.view(x, shape, strides, start)
    right = arrays.view(y, other_shape, other_strides, other_start)
    xp = arrays.cupy()
    return xp.ascontiguousarray(xp.matmul(left, right))


def _on_host(node: Node, operands: tuple[Operand, ...]) -> Callable[..., DeviceArray]:
    """A library call by NumPy: its operands are copied from the device, its result is copied there."""
    function = library_call(
        LibraryCall(node.op.name, node.params, operands, node.dtype, node.where, slot=0, releases=())
    )

    def compute(*given: Any) -> DeviceArray:
        host = [arrays.on_host(x) if arrays.is_device_array(x) else x for x in given]
        return arrays.as_device_array(function(*host))

    return compute
