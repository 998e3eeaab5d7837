"""A graph to a function of arrays: fuse it, load its kernels, run the steps in straight-line code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jitgrad.fuse import fuse
from jitgrad.ir import CAPTURE, INPUT, LITERAL, Graph, Node, literal_value, toposort
from jitgrad.program import LOAD, Call, Kernel, Program
from jitgrad.runtime import buffers, kernels, threads
from jitgrad.targets.cpu import words
from jitgrad.targets.emit import emit
from jitgrad.targets.source import Parameter, Source

ALIGNMENT = 64
SECONDS_PER_COST = 5e-12  # for each byte of an element and each unit of an op's cost, vectorised
SECONDS_PER_BYTE = 15e-12
PARALLEL_SECONDS = 25e-6  # below this, waking a second thread (6 to 8 us) brings little
CHUNK_SECONDS = 10e-6
HOLD_GIL_SECONDS = 4e-6


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

    def __init__(self, graph: Graph, strides: Sequence[tuple[int, ...] | None], fastmath: bool) -> None:
        self.graph = graph
        self.program = fuse(graph, _element_strides(graph, strides))
        self.steps: list[KernelStep | Call] = [
            _prepared(step, fastmath) if isinstance(step, Kernel) else step for step in self.program.steps
        ]
        self._run = _assembled(self)

    def __call__(self, arrays: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        return self._run(*arrays)

    @property
    def kernels(self) -> list[KernelStep]:
        return [step for step in self.steps if isinstance(step, KernelStep)]


def compile_graph(graph: Graph, strides: Sequence[tuple[int, ...] | None] | None = None) -> Compiled:
    """Compile a graph; `strides` are the bytes of inputs that are not C-contiguous, None for the others."""
    return Compiled(graph, strides or [None] * len(graph.inputs), fastmath=False)


def compile_fast(graph: Graph, strides: Sequence[tuple[int, ...] | None]) -> Compiled:
    """Compile a graph whose arithmetic may be contracted and reassociated."""
    return Compiled(graph, strides, fastmath=True)


def _element_strides(graph: Graph, strides: Sequence[tuple[int, ...] | None]) -> dict[Node, tuple[int, ...]]:
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


def _prepared(kernel: Kernel, fastmath: bool) -> KernelStep:
    source = replace(emit(kernel), fastmath=fastmath)
    return KernelStep(kernel, source, kernels.load(source), estimated_seconds(kernel))


def estimated_seconds(kernel: Kernel) -> float:
    """A rough time on one thread, which decides between one thread and many."""
    elements = kernel.rows * kernel.domain[-1]
    body = toposort(s.value for s in kernel.stores)
    cost = sum(node.op.cost * node.dtype.itemsize for node in body)
    moved = sum(node.dtype.itemsize for node in body if node.op is LOAD)
    moved += sum(s.target.dtype.itemsize for s in kernel.stores if s.level == "element")
    return elements * (cost * SECONDS_PER_COST + moved * SECONDS_PER_BYTE)


# Straight-line code -----------------------------------------------------------------------------------


class _Assembly:
    """The text of one Python function that runs all steps, and the objects that it names."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {}
        self.names: dict[Node, str] = {node: f"a{i}" for i, node in enumerate(program.inputs)}

    def bind(self, prefix: str, value: Any) -> str:
        name = f"{prefix}{len(self.scope)}"
        self.scope[name] = value
        return name

    def buffer(self, node: Node) -> str:
        """The variable that holds a node's array."""
        if node.op is CAPTURE and node not in self.names:
            self.names[node] = self.bind("captured", node.param("value").array)
        return self.names[node]

    def allocate(self, node: Node) -> None:
        self.names[node] = f"b{len(self.names)}"
        self.lines.append(f"{self.names[node]} = {self._empty(node.shape, node.dtype)}")

    def _empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
        large = int(np.prod(shape)) * dtype.itemsize >= buffers.SMALLEST_BYTES
        make = self.bind("empty", buffers.empty if large else np.empty)
        return f"{make}({shape}, {self.bind('dtype', dtype)})"

    def kernel(self, step: KernelStep) -> None:
        for target in step.kernel.targets:
            self.allocate(target)
        layout = _Layout.of(step)
        launcher = threads.launcher()
        if layout.scratch:
            self.lines.append(f"scratch = {self._empty((layout.scratch,), np.dtype(np.uint8))}")
        works: list[str] = []
        for parameter in step.source.parameters:
            if parameter.kind == "work":
                works.append(f"w{len(works)}")
                self.lines.append(f"{works[-1]} = {self._empty((parameter.value,), parameter.dtype)}")
        arrays = [self.buffer(p.value) for p in step.source.parameters if p.kind in ("input", "output")]
        make = self.bind("block", layout.block.from_buffer_copy)
        self.lines.append(f"block = {make}({self.bind('template', layout.template)})")
        bind = self.bind("bind", launcher.bind)
        if layout.scratch:
            self.lines.append(f"{bind}(block, 4, scratch)")
        self.lines.append(f"{bind}(block, {threads.ARGS}, {', '.join(arrays + works)})")
        short = step.seconds < HOLD_GIL_SECONDS
        launch = self.bind("launch", launcher.launch_holding_gil if short else launcher.launch)
        self.lines.append(f"{launch}(block)")

    def call(self, node: Node) -> None:
        operands: list[str] = []
        views: list[Callable[[Any], Any]] = []
        for arg in node.args:
            base, view = _view(arg)
            operands.append(
                self.bind("constant", literal_value(base)) if base.op is LITERAL else self.buffer(base)
            )
            views.append(view)
        run = self.bind("call", _library_call(node, views))
        self.names[node] = f"b{len(self.names)}"
        self.lines.append(f"{self.names[node]} = {run}({', '.join(operands)})")

    def release(self, last_use: dict[Node, int], step: int) -> None:
        """Drop the intermediates that no later step reads, so that the pool hands their memory out again."""
        for node, at in last_use.items():
            if at == step and node in self.names and node.op is not INPUT and node.op is not CAPTURE:
                self.lines.append(f"del {self.names[node]}")

    def result(self, node: Node, given: set[Node]) -> str:
        if node.op is LITERAL:
            return f"{self.bind('array', np.array)}({self.bind('constant', literal_value(node))})"
        name = self.buffer(node)
        if node in given or node.op is INPUT or node.op is CAPTURE:
            return f"{self.bind('array', np.array)}({name}, order='C')"
        given.add(node)
        return name


@dataclass(frozen=True, slots=True)
class _Layout:
    """An argument block: its ctypes type, its content but for addresses, the scratch bytes of all slots."""

    block: Any
    template: bytes
    scratch: int

    @staticmethod
    def of(step: KernelStep) -> _Layout:
        source = step.source
        content = [0] * (threads.ARGS + len(source.parameters))
        grain, slots = _grain(source.units, step.seconds)
        bytes_per_slot = 0
        for place, parameter in enumerate(source.parameters, threads.ARGS):
            if parameter.kind in ("size", "literal"):
                content[place] = words(parameter)
            elif parameter.kind == "temp":
                content[place] = bytes_per_slot
                bytes_per_slot += _padded_bytes(parameter)
        content[:6] = [step.loaded.kernel, step.loaded.finish, source.units, grain, 0, bytes_per_slot]
        kind = ctypes.c_int64 * len(content)
        scratch = bytes_per_slot * slots + ALIGNMENT if bytes_per_slot else 0
        return _Layout(kind, bytes(kind(*content)), scratch)


def _padded_bytes(parameter: Parameter) -> int:
    size: int = parameter.value * parameter.dtype.itemsize
    return -(-size // ALIGNMENT) * ALIGNMENT


def _grain(units: int, seconds: float) -> tuple[int, int]:
    """Units per chunk, and how many threads can be at work at once at most."""
    if seconds < PARALLEL_SECONDS or units < 2:
        return max(units, 1), 1
    chunks = max(2, min(int(seconds / CHUNK_SECONDS), 64 * threads.MAX_THREADS))
    grain = max(1, units // chunks)
    return grain, min(threads.MAX_THREADS, -(-units // grain))


def _view(node: Node) -> tuple[Node, Callable[[Any], Any]]:
    """The buffer under a chain of free views, and the function that applies the chain to its array."""
    chain: list[Node] = []
    while node.op.kind == "view" and len(node.args) == 1:
        chain.append(node)
        node = node.args[0]
    if not chain:
        return node, lambda array: array

    def apply(array: Any) -> Any:
        for view in reversed(chain):
            array = view.op.numpy(array, **dict(view.params))
        return array

    return node, apply


def _library_call(node: Node, views: list[Callable[[Any], Any]]) -> Callable[..., Any]:
    params, dtype, function, where = dict(node.params), node.dtype, node.op.numpy, node.where

    def call(*operands: Any) -> Any:
        try:
            with np.errstate(all="ignore"):
                value = function(*(view(x) for view, x in zip(views, operands, strict=True)), **params)
        except (IndexError, ValueError) as error:
            raise type(error)(f"{node.op.name} at {where}: {error}" if where else str(error)) from None
        result = np.asarray(value, dtype, order="C")
        return result if result.base is None else result.copy()

    return call


def _last_uses(compiled: Compiled) -> dict[Node, int]:
    last: dict[Node, int] = {}
    for place, step in enumerate(compiled.steps):
        if isinstance(step, KernelStep):
            read = [p.value for p in step.source.parameters if p.kind in ("input", "output")]
        else:
            read = [step.node, *(_view(a)[0] for a in step.node.args)]
        last.update(dict.fromkeys(read, place))
    return {node: place for node, place in last.items() if node not in compiled.program.outputs}


def _assembled(compiled: Compiled) -> Callable[..., list[np.ndarray[Any, Any]]]:
    assembly = _Assembly(compiled.program)
    last_use = _last_uses(compiled)
    for place, step in enumerate(compiled.steps):
        if isinstance(step, KernelStep):
            assembly.kernel(step)
        else:
            assembly.call(step.node)
        assembly.release(last_use, place)
    given: set[Node] = set()
    results = ", ".join(assembly.result(node, given) for node in compiled.program.outputs)
    arguments = ", ".join(f"a{i}" for i in range(len(compiled.program.inputs)))
    body = "\n    ".join([*assembly.lines, f"return [{results}]"])
    exec(compile(f"def run({arguments}):\n    {body}\n", "<jitgrad program>", "exec"), assembly.scope)
    return assembly.scope["run"]  # type: ignore[no-any-return]
