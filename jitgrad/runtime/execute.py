"""A graph to a function of arrays: fuse it, load its kernels, write down its plan, bind that."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jitgrad.fuse import fuse
from jitgrad.ir import CAPTURE, INPUT, LITERAL, Graph, Node, literal_value
from jitgrad.machine import products, threads
from jitgrad.machine.processor import last_level_bytes
from jitgrad.program import LOAD, Call, Kernel, Program
from jitgrad.runtime import kernels
from jitgrad.runtime.binding import Run, bound
from jitgrad.runtime.layouts import product_layout, segment_layout
from jitgrad.runtime.plan import (
    Buffer,
    Launch,
    LibraryCall,
    Operand,
    Plan,
    Product,
    Result,
    SegmentSum,
    Step,
)
from jitgrad.runtime.reuse import may_overwrite
from jitgrad.targets.cpu import words
from jitgrad.targets.emit import emit
from jitgrad.targets.source import ALIGNMENT, Source, padded_bytes
from jitgrad.views import views_from

SECONDS_PER_COST = 5e-12  # for each byte of an element and each unit of an op's cost, vectorised
SECONDS_PER_BYTE = 15e-12
PARALLEL_SECONDS = 25e-6  # below this, waking a second thread (6 to 8 us) brings little
CHUNK_SECONDS = 10e-6
HOLD_GIL_SECONDS = 4e-6
HIDDEN_MOVES = 1.5  # operations that take so much longer than the moves leave nothing to gain
CACHE_BYTES = max(last_level_bytes(), 16 << 20)


@dataclass(frozen=True, slots=True)
class Emitted:
    """A kernel, its text, and a rough time of its run on one thread."""

    kernel: Kernel
    source: Source
    seconds: float


@dataclass(frozen=True, slots=True)
class KernelStep:
    """A loaded kernel with everything about its launch that does not change between calls."""

    kernel: Kernel
    source: Source
    loaded: kernels.Loaded
    seconds: float


class Compiled:
    """A graph made ready for one set of shapes, dtypes and strides.

    Call it with one ndarray for each input of the graph; it returns a list of fresh ndarrays, one for each
    output. Arrays that the graph captured are read when it is called.
    """

    def __init__(
        self,
        graph: Graph,
        strides: Sequence[tuple[int, ...] | None],
        donated: Collection[int],
        fastmath: bool,
    ) -> None:
        self.graph = graph
        self.program = fuse(graph, element_strides(graph, strides))
        emitted = _emitted(self.program.steps, fastmath)
        planner = _Planner(self.program, emitted, donated)
        self.plan = planner.plan()
        self.steps = _loaded(emitted, planner.sources, self.plan)
        self._run: Run | None = None

    def __call__(self, arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        if self._run is None:
            self._run = bound(self.plan, self.loaded)
        results: list[np.ndarray[Any, Any]] = self._run(arrays)
        return results

    @property
    def loaded(self) -> list[kernels.Loaded]:
        return [step.loaded for step in self.kernels]

    @property
    def kernels(self) -> list[KernelStep]:
        return [step for step in self.steps if isinstance(step, KernelStep)]


def compile_graph(
    graph: Graph, strides: Sequence[tuple[int, ...] | None] | None = None, donated: Collection[int] = ()
) -> Compiled:
    """Compile a graph; `strides` are the bytes of inputs that are not C-contiguous, None for the others.

    Results may be written into the inputs at the places `donated`.
    """
    return Compiled(graph, strides or [None] * len(graph.inputs), donated, fastmath=False)


def compile_fast(
    graph: Graph, strides: Sequence[tuple[int, ...] | None], donated: Collection[int] = ()
) -> Compiled:
    """Compile a graph whose arithmetic may be contracted and reassociated."""
    return Compiled(graph, strides, donated, fastmath=True)


def element_strides(graph: Graph, strides: Sequence[tuple[int, ...] | None]) -> dict[Node, tuple[int, ...]]:
    """Return the strides, in elements, of the inputs and captured arrays that are not C-contiguous."""
    found = {}
    for node, given in zip(graph.inputs, strides, strict=True):
        if given is not None:
            found[node] = tuple(s // node.dtype.itemsize for s in given)
    for node in graph.nodes():
        if node.op is CAPTURE:
            array = node.param("value").array
            if not array.flags.c_contiguous:
                found[node] = tuple(s // array.itemsize for s in array.strides)
    return found


def _emitted(steps: Sequence[Kernel | Call], fastmath: bool) -> list[Emitted | Call]:
    return [
        Emitted(step, replace(emit(step), fastmath=fastmath), estimated_seconds(step))
        if isinstance(step, Kernel)
        else step
        for step in steps
    ]


def _loaded(
    steps: Sequence[Emitted | Call], sources: Sequence[Source], plan: Plan
) -> list[KernelStep | Call]:
    """The steps with their kernels loaded from `sources`.

    Where need be these are compiled side by side, with the code of matrix products and the launcher's.
    """
    multiply = products.loaders(step.layout for step in plan.steps if isinstance(step, Product))
    ready = zip(sources, kernels.load_all(sources, [*multiply, threads.launcher]), strict=True)
    return [
        KernelStep(step.kernel, *next(ready), step.seconds) if isinstance(step, Emitted) else step
        for step in steps
    ]


def estimated_seconds(kernel: Kernel) -> float:
    """A rough time on one thread, which decides between one thread and many."""
    return sum(_operations_and_moves(kernel))


def _operations_and_moves(kernel: Kernel) -> tuple[float, float]:
    """The seconds that a kernel's operations take, and those that its elements take on their way."""
    elements = kernel.rows * kernel.domain[-1]
    body = kernel.body
    cost = sum(node.op.cost * node.dtype.itemsize for node in body)
    moved = sum(node.dtype.itemsize for node in body if node.op is LOAD)
    moved += sum(s.target.dtype.itemsize for s in kernel.stores if s.level == "element")
    return elements * cost * SECONDS_PER_COST, elements * moved * SECONDS_PER_BYTE


# Plans ------------------------------------------------------------------------------------------------


class _Planner:
    """Numbers the arrays of a program and writes its steps down; `sources` are those of its kernels."""

    def __init__(self, program: Program, steps: Sequence[Emitted | Call], donated: Collection[int]) -> None:
        self.program = program
        self.steps = steps
        self.sources: list[Source] = []
        captured = dict.fromkeys(
            node for step in steps for node in _reads(step) if node.op is CAPTURE
        ) | dict.fromkeys(node for node in program.outputs if node.op is CAPTURE)
        self.captured = tuple(node.param("value").array for node in captured)
        self.given = len(program.inputs) + len(captured)
        self.slots = {node: slot for slot, node in enumerate((*program.inputs, *captured))}
        self.writable = {program.inputs[place] for place in donated}

    def plan(self) -> Plan:
        dead = _releases(self.program, self.steps)
        steps = [self.step(step, released) for step, released in zip(self.steps, dead, strict=True)]
        taken: set[Node] = set()
        results = tuple(self.result(node, taken) for node in self.program.outputs)
        return Plan(len(self.program.inputs), self.captured, tuple(steps), results)

    def step(self, step: Emitted | Call, dead: Sequence[Node]) -> Step:
        return self.launch(step, dead) if isinstance(step, Emitted) else self.call(step, dead)

    def enter(self, node: Node) -> int:
        return self.slots.setdefault(node, len(self.slots))

    def released(self, dead: Sequence[Node]) -> tuple[int, ...]:
        return tuple(self.slots[node] for node in dead if self.slots[node] >= self.given)

    def launch(self, step: Emitted, dead: Sequence[Node]) -> Launch:
        makes = self.makes(step.kernel, dead)
        source = replace(step.source, streams=_streams(step.kernel, step.source, makes))
        self.sources.append(source)
        parameters = source.parameters
        content, scratch_bytes = _content(step)
        return Launch(
            kernels.kernel_key(source),
            source.has_finish,
            content,
            step.seconds < HOLD_GIL_SECONDS,
            scratch_bytes,
            tuple(self.slots[p.value] for p in parameters if p.kind in ("input", "output")),
            tuple((p.value, p.dtype) for p in parameters if p.kind == "work"),
            makes,
            self.released(dead),
        )

    def makes(self, kernel: Kernel, dead: Sequence[Node]) -> tuple[Buffer, ...]:
        """The arrays that a kernel writes, those that it may overwrite in place of new ones."""
        free = [node for node in dead if node in self.writable]
        buffers: list[Buffer] = []
        for node, store in {s.target: s for s in (*kernel.stores, *kernel.epilogue)}.items():
            over = next((old for old in free if may_overwrite(kernel, old, store)), None)
            if over is not None:
                free.remove(over)
            instead = None if over is None else self.slots[over]
            buffers.append(Buffer(self.enter(node), node.shape, node.dtype, instead))
            self.writable.add(node)
        return tuple(buffers)

    def call(self, call: Call, dead: Sequence[Node]) -> Product | SegmentSum | LibraryCall:
        node, buffers = call.node, call.buffers
        operands = tuple(map(self.operand, buffers, node.args))
        layout = product_layout(node, buffers, operands, self.program.strides)
        slot = self.enter(node)
        released = self.released(dead)
        if layout is not None:
            self.writable.add(node)
            x, y = operands
            return Product((x, y), layout, Buffer(slot, node.shape, node.dtype), released)
        sums = segment_layout(node, buffers, operands, self.program.strides)
        if sums is not None:
            self.writable.add(node)
            rows, index = (self.slots[buffer] for buffer in buffers)
            return SegmentSum(rows, index, sums, Buffer(slot, node.shape, node.dtype), released)
        return LibraryCall(node.op.name, node.params, operands, node.dtype, node.where, slot, released)

    def operand(self, buffer: Node, node: Node) -> Operand:
        views = views_from(buffer, node)
        if buffer.op is LITERAL:
            return Operand(None, literal_value(buffer), views)
        return Operand(self.slots[buffer], None, views)

    def result(self, node: Node, taken: set[Node]) -> Result:
        if node.op is LITERAL:
            return Result(None, literal_value(node))
        copies = node in taken or node.op in (INPUT, CAPTURE)
        taken.add(node)
        return Result(self.slots[node], copies=copies)


def _streams(kernel: Kernel, source: Source, makes: Sequence[Buffer]) -> bool:
    """Whether a kernel waits for memory, and what it writes neither was in the caches nor stays there."""
    arrays = [p.value for p in source.parameters if p.kind in ("input", "output")]
    moved = sum(array.aval.size * array.dtype.itemsize for array in arrays)
    if moved <= CACHE_BYTES or any(buffer.instead is not None for buffer in makes):
        return False
    operations, moves = _operations_and_moves(kernel)
    return operations < HIDDEN_MOVES * moves


def _content(step: Emitted) -> tuple[tuple[int, ...], int]:
    """The words of a kernel's argument block but for addresses, and the scratch bytes of all slots."""
    parameters = step.source.parameters
    content = [0] * (threads.ARGS + len(parameters))
    grain, slots = _grain(step.source.units, step.seconds)
    bytes_per_slot = 0
    for place, parameter in enumerate(parameters, threads.ARGS):
        if parameter.kind in ("size", "literal"):
            content[place] = words(parameter)
        elif parameter.kind == "temp":
            content[place] = bytes_per_slot
            bytes_per_slot += padded_bytes(parameter)
    content[: threads.ARGS] = [0, 0, step.source.units, grain, 0, bytes_per_slot]
    return tuple(content), bytes_per_slot * slots + ALIGNMENT if bytes_per_slot else 0


def _grain(units: int, seconds: float) -> tuple[int, int]:
    """Units per chunk, and how many threads can be at work at once at most."""
    if seconds < PARALLEL_SECONDS or units < 2:
        return max(units, 1), 1
    chunks = max(2, min(int(seconds / CHUNK_SECONDS), 64 * threads.MAX_THREADS))
    grain = max(1, units // chunks)
    return grain, min(threads.MAX_THREADS, -(-units // grain))


def _reads(step: Emitted | Call) -> list[Node]:
    """The nodes whose arrays a step reads or makes."""
    if isinstance(step, Emitted):
        return [p.value for p in step.source.parameters if p.kind in ("input", "output")]
    return [node for node in (step.node, *step.buffers) if node.op is not LITERAL]


def _releases(program: Program, steps: Sequence[Emitted | Call]) -> list[list[Node]]:
    """For each step, the nodes that no later step and no result reads."""
    last = {node: place for place, step in enumerate(steps) for node in _reads(step)}
    dead: list[list[Node]] = [[] for _ in steps]
    for node in last.keys() - set(program.outputs):
        dead[last[node]].append(node)
    return [sorted(nodes, key=lambda node: node.number) for nodes in dead]
