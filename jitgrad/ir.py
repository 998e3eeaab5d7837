"""Typed, immutable, interned expression graph: the one language that every transform reads and writes."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from weakref import WeakValueDictionary

import numpy as np

Params = tuple[tuple[str, Any], ...]
Kind = Literal["leaf", "index", "map", "reduce", "scan", "view", "join", "call"]


_PLAIN = frozenset((np.ndarray, np.float32, np.float64, float, int))


@dataclass(frozen=True, slots=True)
class Aval:
    """What is known of a value before it exists; `weak` marks a Python scalar, whose dtype gives way."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    weak: bool = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, eq=False, slots=True)
class Op:
    """Everything the library knows about one primitive operation.

    `numpy` computes it on arrays; `infer` gives the aval from the arguments' avals and the params; `bind`
    turns arguments of any kind into a Node (broadcasting and casting included); `vjp(g, out, *args,
    **params)` returns one cotangent or None per argument, `jvp(tangents, out, *args, **params)` the
    tangent of the output; `scalar` is one element's expression in the dialect that every target
    accepts, for the dtype kinds `scalar_kinds`; `partials` are its partial derivatives where `vjp` and `jvp`
    follow from them. Tests draw their calls from `samples` and compare with
    `reference`.
    """

    name: str
    kind: Kind
    numpy: Callable[..., Any]
    infer: Callable[..., Aval]
    bind: Callable[..., Node]
    vjp: Callable[..., tuple[Any, ...]] | None = None
    jvp: Callable[..., Any] | None = None
    scalar: str | None = None
    scalar_kinds: str = "biuf"
    cost: int = 1
    samples: Callable[..., Any] | None = None
    undefined: str = ""
    reference: Callable[..., Any] | None = None
    partials: tuple[Callable[..., Any] | None, ...] | None = None

    def __call__(self, *args: Any, **params: Any) -> Any:
        owner: Any = None
        for argument in args:
            rank = 0 if type(argument) in _PLAIN else getattr(argument, "__rank__", 0)
            if rank and (owner is None or rank > owner.__rank__):
                owner = argument
        if owner is None:
            return self.numpy(*args, **params)
        return owner.__apply__(self, args, params)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


class Operators:
    """Python's operators; the op table fills them in."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __add__(self, other: Any) -> Any: ...
        def __radd__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __rsub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __rmul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __rtruediv__(self, other: Any) -> Any: ...
        def __floordiv__(self, other: Any) -> Any: ...
        def __rfloordiv__(self, other: Any) -> Any: ...
        def __mod__(self, other: Any) -> Any: ...
        def __rmod__(self, other: Any) -> Any: ...
        def __pow__(self, other: Any) -> Any: ...
        def __rpow__(self, other: Any) -> Any: ...
        def __and__(self, other: Any) -> Any: ...
        def __rand__(self, other: Any) -> Any: ...
        def __or__(self, other: Any) -> Any: ...
        def __ror__(self, other: Any) -> Any: ...
        def __xor__(self, other: Any) -> Any: ...
        def __rxor__(self, other: Any) -> Any: ...
        def __matmul__(self, other: Any) -> Any: ...
        def __rmatmul__(self, other: Any) -> Any: ...
        def __lt__(self, other: Any) -> Any: ...
        def __le__(self, other: Any) -> Any: ...
        def __gt__(self, other: Any) -> Any: ...
        def __ge__(self, other: Any) -> Any: ...
        def __neg__(self) -> Any: ...
        def __pos__(self) -> Any: ...
        def __abs__(self) -> Any: ...
        def __invert__(self) -> Any: ...


class _Location(threading.local):
    where: str | None = None


_location = _Location()


@contextmanager
def located(where: str | None) -> Iterator[None]:
    """Nodes made inside belong to this line of the user's program ("file.py:12")."""
    before = _location.where
    _location.where = where
    try:
        yield
    finally:
        _location.where = before


_interned: WeakValueDictionary[tuple[Any, ...], Node] = WeakValueDictionary()
_interning = threading.Lock()
_serial = itertools.count()


class Node(Operators):
    """One op applied to nodes; equal nodes are one object, so equality is identity."""

    __slots__ = ("__weakref__", "args", "aval", "number", "op", "params", "where")
    __rank__: ClassVar[int] = 1
    __array_ufunc__: ClassVar[None] = None

    op: Op
    args: tuple[Node, ...]
    params: Params
    aval: Aval
    where: str | None
    number: int
    """Counts nodes in the order in which they are made, hence arguments before users."""

    def __new__(cls, op: Op, args: tuple[Node, ...], params: Params, aval: Aval) -> Node:
        key = (op, args, params, aval)
        with _interning:
            node = _interned.get(key)
            if node is None:
                node = super().__new__(cls)
                node.op, node.args, node.params, node.aval = key
                node.where = _location.where
                node.number = next(_serial)
                _interned[key] = node
        return node

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        return len(self.aval.shape)

    def param(self, name: str) -> Any:
        return dict(self.params)[name]

    def __apply__(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Node:
        return op.bind(op, *(as_node(a) for a in args), **params)

    def __repr__(self) -> str:
        return f"<{self.op.name} {self.aval}>"

    def __bool__(self) -> bool:
        raise TypeError("a graph node has no truth value")


@dataclass(frozen=True, slots=True)
class Captured:
    """An array that the user's function closes over, compared by identity and passed to kernels as an
    argument."""

    array: np.ndarray[Any, Any] = field(compare=False)
    identity: int

    def __repr__(self) -> str:
        return f"captured {self.array.dtype}{list(self.array.shape)}"


def _leaf_only(*_: Any, **__: Any) -> Any:
    raise AssertionError("a leaf is never applied")


def _leaf(name: str) -> Op:
    return Op(name, "leaf", _leaf_only, _leaf_only, _leaf_only)


INPUT = _leaf("input")
LITERAL = _leaf("literal")
CAPTURE = _leaf("capture")


def input_node(aval: Aval) -> Node:
    """A fresh input, different from every other."""
    return Node(INPUT, (), (("serial", next(_serial)),), aval)


def literal(value: Any, dtype: Any = None, weak: bool = False) -> Node:
    """A scalar constant; bits are its identity, so that 0.0 and -0.0 differ and NaN equals itself."""
    scalar = np.asarray(value, dtype)
    if scalar.dtype.kind == "O":
        raise OverflowError(f"the integer {value} does not fit 64 bits; write it as a float")
    return Node(LITERAL, (), (("bits", scalar.tobytes()),), Aval((), scalar.dtype, weak))


def literal_value(node: Node) -> np.generic:
    """The NumPy scalar that a literal stands for."""
    return np.frombuffer(node.params[0][1], node.aval.dtype)[0]  # type: ignore[no-any-return]


def capture(array: np.ndarray[Any, Any]) -> Node:
    return Node(CAPTURE, (), (("value", Captured(array, id(array))),), Aval(array.shape, array.dtype))


def as_node(value: Any) -> Node:
    """A node for a node, a Python scalar (weakly typed), a NumPy scalar or an array."""
    if isinstance(value, Node):
        return value
    if isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic):
        return literal(value, weak=not isinstance(value, bool))
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise TypeError(
            f"arrays of dtype {array.dtype} cannot be differentiated or compiled; use a numeric dtype"
        )
    return capture(array) if array.shape else literal(array)


@dataclass(frozen=True, slots=True)
class Graph:
    """A function: outputs computed from inputs."""

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    def nodes(self) -> list[Node]:
        return toposort(self.outputs)

    def __str__(self) -> str:
        return print_graph(self)


def toposort(outputs: Iterable[Node], stop: Callable[[Node], bool] = lambda _: False) -> list[Node]:
    """Arguments before users, without recursion; where `stop` holds, a node's arguments are not entered."""
    done: dict[Node, None] = {}
    stack = [(node, False) for node in reversed(tuple(outputs))]
    while stack:
        node, ready = stack.pop()
        if node in done:
            continue
        if ready or not node.args or stop(node):
            done[node] = None
        else:
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args) if a not in done)
    return list(done)


def rebuild(outputs: Sequence[Node], replace: Callable[[Node, tuple[Node, ...]], Node]) -> tuple[Node, ...]:
    """Rebuild a graph bottom-up: `replace(node, new_args)` gives each node's successor."""
    new: dict[Node, Node] = {}
    for node in toposort(outputs):
        with located(node.where):
            new[node] = replace(node, tuple(new[a] for a in node.args))
    return tuple(new[o] for o in outputs)


def with_args(node: Node, args: tuple[Node, ...]) -> Node:
    return node if args == node.args else Node(node.op, args, node.params, node.aval)


def check(graph: Graph) -> None:
    """Assert that every node's aval is what its op infers, and that each leaf is known."""
    inputs = set(graph.inputs)
    assert len(inputs) == len(graph.inputs), "an input appears twice"
    for node in graph.nodes():
        if node.op is INPUT:
            assert node in inputs, f"{node} is an input of another graph"
        elif node.op.kind != "leaf":
            inferred = node.op.infer(*(a.aval for a in node.args), **dict(node.params))
            assert (inferred.shape, inferred.dtype) == (node.shape, node.dtype), (
                f"{node} should be {inferred}"
            )
            if node.op.kind == "map":
                assert all(a.shape in ((), node.shape) for a in node.args), f"{node} broadcasts"


def print_graph(graph: Graph) -> str:
    """The graph as text, one node a line, in evaluation order."""
    names: dict[Node, str] = {n: f"x{i}" for i, n in enumerate(graph.inputs)}
    lines = [f"inputs: {', '.join(f'{names[n]}: {n.aval}' for n in graph.inputs)}"]
    count = 0
    for node in graph.nodes():
        if node.op is LITERAL:
            names[node] = str(literal_value(node))
        elif node.op is not INPUT:
            names[node] = f"v{count}"
            count += 1
            words = [names[a] for a in node.args] + [f"{k}={v}" for k, v in node.params]
            where = f"    # {node.where}" if node.where else ""
            lines.append(f"{names[node]}: {node.aval} = {node.op.name}({', '.join(words)}){where}")
    lines.append(f"outputs: {', '.join(names[o] for o in graph.outputs)}")
    return "\n".join(lines)


def interpret(graph: Graph, *arrays: Any) -> tuple[Any, ...]:
    """Run the graph node by node on NumPy arrays: the reference that every pass and target is held to."""
    values: dict[Node, Any] = dict(zip(graph.inputs, arrays, strict=True))
    for node in graph.nodes():
        if node in values:
            continue
        if node.op is LITERAL:
            values[node] = literal_value(node)
        elif node.op is CAPTURE:
            values[node] = node.param("value").array
        else:
            with np.errstate(all="ignore"):
                result = node.op.numpy(*(values[a] for a in node.args), **dict(node.params))
            # BLAS's sums depend on the memory layout, so computed values have the layout that kernels store
            order = "K" if node.op.kind == "view" else "C"
            values[node] = np.asarray(result, node.dtype, order=order)  # type: ignore[call-overload]
    return tuple(_expanded(values[o], o.shape) for o in graph.outputs)


def _expanded(value: Any, shape: tuple[int, ...]) -> Any:
    return np.broadcast_to(value, shape).copy() if np.shape(value) != shape else np.array(value)
