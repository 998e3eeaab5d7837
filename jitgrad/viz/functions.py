"""Draws what a function of arrays becomes: its graph, its adjoint, the fused program."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from string import ascii_lowercase
from typing import Any, Literal

import numpy as np

from jitgrad.explain import loops, size
from jitgrad.ir import CAPTURE, INPUT, LITERAL, Graph, Node, literal_value, toposort
from jitgrad.jit import Function, compile, interpret, interpreter
from jitgrad.location import user_line
from jitgrad.ops.table import is_differentiable
from jitgrad.program import INDEX, LOAD, RESULT, Call, Kernel, Program, Store
from jitgrad.pytree import flatten, paths
from jitgrad.transforms import Backward, name_of
from jitgrad.viz.picture import MAX_NODES, Arrow, Box, Frame, Line, Picture, narrowed

OURS = re.compile(r"[vtg]\d+|g|output\d*")  # what values are called here, whatever the arguments are
HIDDEN = {"shape", "serial", "dtype"}  # parameters that the result's type tells, or that tell nothing


def draw_graph(
    f: Callable[..., Any],
    *args: Any,
    which: Literal["graph", "adjoint", "program"] = "graph",
    depth: int | None = None,
    max_nodes: int = MAX_NODES,
) -> Picture:
    """Draw what a function, or a transform of one, becomes for such arguments.

    "graph" is the traced graph after rewriting. "adjoint" leads from the arguments and the cotangents g of
    the results to the cotangents of the arguments; what depends on g has a colour of its own. "program" has
    a frame around the operations of each fused kernel, library calls and the arrays in memory between them.
    Arrows tell the bytes of arrays: of all in graphs, of those in memory in programs. `depth` draws only that
    many steps before the results. Raises ValueError for another `which` and for more than `max_nodes` boxes,
    and TypeError for what cannot be traced.

    >>> import numpy as np
    >>> draw_graph(lambda x: np.sum(np.exp(x) * 2), np.ones(3), which="program").frames[0].title
    'kernel 0: 3 elements'
    """
    makers = {"graph": _graph, "adjoint": _adjoint, "program": _program}
    if which not in makers:
        raise ValueError(f"draw_graph at {user_line()} draws {', '.join(makers)}, got which={which!r}")
    if not callable(f):
        raise TypeError(f"draw_graph at {user_line()} draws a function, got {type(f).__name__}: use make_dot")
    picture, results = makers[which](f, args)
    return narrowed(picture, results, depth, max_nodes)


Drawn = tuple[Picture, Sequence[str]]


def _graph(f: Callable[..., Any], args: tuple[Any, ...]) -> Drawn:
    graph = interpret(f).graph(*args)
    names = _names(f, args, len(graph.inputs))
    return _of_graph(graph, names, _numbered("output", len(graph.outputs)), f"graph of {name_of(f)}")


def _adjoint(f: Callable[..., Any], args: tuple[Any, ...]) -> Drawn:
    outputs = [o for o in interpret(f).graph(*args).outputs if is_differentiable(o.dtype)]
    seeds = [np.zeros(o.shape, o.dtype) for o in outputs]
    graph = Function(f, Backward(has_aux=False), engine=interpreter).graph(args, seeds)
    given = graph.inputs[: len(graph.inputs) - len(seeds)]
    names = _names(f, args, len(given))
    of = [f"cotangent of {name}" for name, n in zip(names, given, strict=True) if is_differentiable(n.dtype)]
    names += _numbered("g", len(seeds))
    return _of_graph(graph, names, of, f"adjoint of {name_of(f)}", graph.inputs[len(given) :])


def _names(f: Callable[..., Any], args: tuple[Any, ...], count: int) -> list[str]:
    """The names of a function's inputs, as its signature has them if all positional ones are inputs."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = []
    for i, argument in enumerate(args):
        name = positional[i] if i < len(positional) else f"argument {i}"
        name += "_" * bool(OURS.fullmatch(name))
        names += [name + path for path in paths(flatten(argument)[1])]
    return names if len(names) == count else _numbered("x", count)


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}{i}" for i in range(count)]


# Graphs -----------------------------------------------------------------------------------------------


def _of_graph(
    graph: Graph, names: Sequence[str], outputs: Sequence[str], title: str, seeds: Iterable[Node] = ()
) -> Drawn:
    seen = dict(zip(graph.inputs, names, strict=True))
    after = set(seeds)
    boxes = [Box(name, (name, str(n.aval)), "adjoint" if n in after else "leaf") for n, name in seen.items()]
    arrows: list[Arrow] = []
    for node in graph.nodes():
        if node.op is LITERAL:
            seen[node] = str(literal_value(node))
        elif node.op is not INPUT:
            seen[node] = f"v{len(boxes) - len(graph.inputs)}"
            if after.intersection(node.args):
                after.add(node)
            role = "leaf" if node.op is CAPTURE else "adjoint" if node in after else "operation"
            boxes.append(Box(seen[node], _lines(node, seen, node.args), role, node.where or ""))
            arrows += [
                _bytes(seen[a], seen[node], a) for a in dict.fromkeys(node.args) if a.op is not LITERAL
            ]
    for output, name in zip(graph.outputs, outputs, strict=True):
        key = f"result {name}"
        value = (seen[output],) if output.op is LITERAL else ()
        boxes.append(Box(key, (name, *value, str(output.aval)), "output"))
        if not value:
            arrows.append(_bytes(seen[output], key, output))
    operations = sum(node.op.kind != "leaf" for node in graph.nodes())
    caption = (Line(f"{title}: {operations} operations"),)
    return Picture(tuple(boxes), tuple(arrows), caption=caption), [f"result {name}" for name in outputs]


def _lines(node: Node, names: dict[Node, str], args: Iterable[Node]) -> tuple[str, ...]:
    """A node as an assignment, with its parameters and its type below."""
    shown = ", ".join(f"{k}={v}" for k, v in node.params if k not in HIDDEN)
    if node.op is CAPTURE:
        return f"{names[node]} = captured", str(node.aval)
    call = f"{names[node]} = {node.op.name}({', '.join(names[a] for a in args)})"
    return (call, *([shown] if shown else []), str(node.aval))


def _bytes(tail: str, head: str, node: Node) -> Arrow:
    return Arrow(tail, head, size(node.aval.nbytes) if node.shape else "")


# Programs ---------------------------------------------------------------------------------------------


def _program(f: Callable[..., Any], args: tuple[Any, ...]) -> Drawn:
    program = compile(f).compiled(*args).program
    drawn = _Program(program, _names(f, args, len(program.inputs)))
    kernels = sum(isinstance(step, Kernel) for step in program.steps)
    calls = len(program.steps) - kernels
    caption = (Line(f"program of {name_of(f)}: kernels {kernels}, library calls {calls}"),)
    return Picture(tuple(drawn.boxes), tuple(drawn.arrows), tuple(drawn.frames), caption), drawn.results


class _Program:
    """The picture of a program as it grows.

    `arrays` and `loads` have the keys of the boxes of arrays in memory and of what kernels load from them.
    """

    def __init__(self, program: Program, names: Sequence[str]) -> None:
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []
        self.frames: list[Frame] = []
        self.results: list[str] = []
        self.arrays: dict[Node, str] = {}
        self.loads: dict[Node, str] = {}
        self.count = self.between = 0
        for node, name in zip(program.inputs, names, strict=True):
            self.array(node, name, "leaf")
        results = _numbered("output", len(program.outputs))
        outputs = dict(zip(program.outputs, results, strict=True))
        for step in program.steps:
            for target in step.targets:
                role = "output" if target in outputs else "array"
                self.array(target, outputs.get(target, f"t{self.between}"), role)
                self.between += target not in outputs
            if isinstance(step, Call):
                self.call(step)
            else:
                self.kernel(step)
        for node, name in zip(program.outputs, results, strict=True):
            if self.arrays.get(node) != name:
                self.rest(node, name)

    def array(self, node: Node, name: str, role: str) -> None:
        self.arrays[node] = name
        self.boxes.append(Box(name, (name, str(node.aval)), role, node.where or ""))
        if role == "output":
            self.results.append(name)

    def rest(self, node: Node, key: str) -> None:
        """A box for a result that no step computes, or that has a box under another name."""
        value = (str(literal_value(node)),) if node.op is LITERAL else ()
        self.boxes.append(Box(key, (key, *value, str(node.aval)), "output"))
        self.results.append(key)
        if not value:
            self.arrows.append(_bytes(self.source(node), key, node))

    def source(self, buffer: Node) -> str:
        """The box of an array that a step reads; those that the function captured get one here."""
        if buffer not in self.arrays:
            self.array(buffer, f"captured {sum(n.op is CAPTURE for n in self.arrays)}", "leaf")
        return self.arrays[buffer]

    def call(self, call: Call) -> None:
        key = f"call {self.arrays[call.node]}"
        buffers = [b for b in dict.fromkeys(call.buffers) if b.op is not LITERAL]
        read = ", ".join(str(literal_value(b)) if b.op is LITERAL else self.source(b) for b in call.buffers)
        self.boxes.append(
            Box(key, (f"{call.node.op.name}({read})", "library call"), "call", call.node.where or "")
        )
        self.arrows += [_bytes(self.source(b), key, b) for b in buffers]
        self.arrows.append(_bytes(key, self.arrays[call.node], call.node))

    def kernel(self, kernel: Kernel) -> None:
        """A frame around the operations of a kernel, with the totals that only it reads."""
        first = len(self.boxes)
        names: dict[Node, str] = {}
        loaded: dict[Node, str] = {}
        last = toposort(store.value for store in kernel.epilogue)
        for node in kernel.body:
            self.scalar(node, names, loaded)
        for store in kernel.stores:
            self.store(store, names)
        for node in last:
            if node not in names:
                self.scalar(node, names, loaded)
        for store in kernel.epilogue:
            self.store(store, names)
        arrays = set(self.arrays.values())
        keys = [box.key for box in self.boxes[first:] if box.key not in arrays]
        totals = [self.arrays[node.param("target")] for node in last if node.op is RESULT]
        keys += [key for key in dict.fromkeys(totals) if key not in self.results]
        self.frames.append(Frame(f"kernel {len(self.frames)}: {loops(kernel)}", tuple(keys)))

    def scalar(self, node: Node, names: dict[Node, str], loaded: dict[Node, str]) -> None:
        """A box for a node of a kernel's body; what it loads at fixed positions is written in its users'."""
        if node.op is LITERAL:
            names[node] = str(literal_value(node))
            return
        if node.op is RESULT:
            names[node] = self.arrays[node.param("target")]
            return
        if node.op is LOAD:
            source = self.load(node.param("buffer"), loaded)
            names[node] = f"{self.source(node.param('buffer'))}[{_position(node, names)}]"
            if not node.args:
                self.loads[node] = source
                return
        key = self.numbered()
        call = names.get(node) or f"{node.op.name}({', '.join(names[a] for a in node.args)})"
        call = _position(node, names) if node.op is INDEX else call
        names[node] = key
        self.boxes.append(Box(key, (f"{key} = {call}",), "operation", str(node.dtype)))
        if node.op is LOAD:
            self.arrows.append(Arrow(source, key))
        tails = dict.fromkeys(self.loads.get(a, names[a]) for a in node.args if a.op is not LITERAL)
        self.arrows += [Arrow(tail, key) for tail in tails]

    def load(self, buffer: Node, loaded: dict[Node, str]) -> str:
        """The box, one for each kernel, where an array comes in."""
        if buffer not in loaded:
            name = self.source(buffer)
            loaded[buffer] = f"load {self.count} {name}"
            self.count += 1
            self.boxes.append(Box(loaded[buffer], (f"load {name}",), "operation", str(buffer.aval)))
            self.arrows.append(_bytes(name, loaded[buffer], buffer))
        return loaded[buffer]

    def store(self, store: Store, names: dict[Node, str]) -> None:
        """An arrow from a value of a kernel to the array, with what is done to it on the way."""
        key = self.loads.get(store.value, names[store.value])
        if store.value.op is LITERAL:
            key = self.numbered()
            self.boxes.append(Box(key, (f"{key} = {names[store.value]}",), "operation"))
        words = [store.op.name] if store.op is not None else []
        words += [size(store.target.aval.nbytes)] if store.target.shape else []
        self.arrows.append(Arrow(key, self.arrays[store.target], ": ".join(words)))

    def numbered(self) -> str:
        self.count += 1
        return f"v{self.count - 1}"


def _position(node: Node, names: Mapping[Node, str]) -> str:
    """A position in terms of the loops' indices i, j, ...: "3i+j+2"."""
    dynamic = dict(node.params).get("dynamic", ())
    steps = [(letter, s) for letter, s in zip(ascii_lowercase[8:], node.param("strides"), strict=False)]
    steps += [(names[a], s) for a, s in zip(node.args[: len(dynamic)], dynamic, strict=True)]
    terms = [f"{'' if s == 1 else s}{name}" for name, s in steps if s]
    offset = node.param("offset")
    return "+".join([*terms, *([str(offset)] if offset or not terms else [])]).replace("+-", "-")
