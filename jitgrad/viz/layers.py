"""Runs a module, and lists the calls of its parts as layers that know where their inputs come from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jitgrad.eager.backward import gradient_edge
from jitgrad.eager.engine import records_below
from jitgrad.eager.modes import enable_grad
from jitgrad.eager.tape import Edge, operation
from jitgrad.eager.tensor import Tensor
from jitgrad.nn.modules.module import Module
from jitgrad.pytree import flatten, unflatten
from jitgrad.viz.names import argument_names

# What layers are, by the module of the library that has them.
KINDS = {
    "activation": "pointwise",
    "convolution": "convolution",
    "dropout": "pointwise",
    "embedding": "linear",
    "linear": "linear",
    "normalisation": "pointwise",
    "pooling": "pooling",
    "recurrent": "linear",
    "shape": "operation",
}

# Options that shapes do not tell, and what goes without saying.
OPTIONS = {
    "kernel_size": None,
    "stride": 1,
    "dilation": 1,
    "groups": 1,
    "p": None,
    "negative_slope": None,
    "num_layers": 1,
}


@dataclass(frozen=True, slots=True)
class Layer:
    """A call of a module that has no others inside, an operation between such calls, an input or a result.

    `titles` are more than one where layers have been joined, `count` is above 1 where equal ones have been
    folded, `place` is the module's name in the model, `sources` the keys of the layers before.
    """

    key: str
    titles: tuple[str, ...]
    shape: str
    role: str
    place: str = ""
    sources: tuple[str, ...] = ()
    count: int = 1


def layers_of(module: Module, inputs: tuple[Any, ...]) -> list[Layer]:
    """Return the layers of a module in the order of their calls, from its inputs to its results.

    The module runs once, in evaluation mode, and is left as it was.

    >>> import jitgrad
    >>> net = jitgrad.nn.Sequential(jitgrad.nn.Linear(2, 3), jitgrad.nn.ReLU())
    >>> [(layer.titles, layer.shape) for layer in layers_of(net, (jitgrad.zeros(1, 2),))][1:3]
    [(('Linear',), '1×3'), (('ReLU',), '1×3')]
    """
    run = _Run()
    leaves, tree = flatten(inputs)
    names = argument_names(module.forward, inputs)
    given = [run.given(leaf, name) for leaf, name in zip(leaves, names, strict=True)]
    with _evaluating(module), run.watching(module), enable_grad():
        run.returned(module(*unflatten(tree, given)))
    return list(run.layers.values())


@contextmanager
def _evaluating(module: Module) -> Iterator[None]:
    """Put a module into evaluation mode, so that neither statistics nor random numbers move."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


class _Run:
    """The layers of a run as it goes on, and which of them each tensor comes from.

    What a layer returns is the start of a tape of its own, so that the tape of its inputs tells what happened
    between layers. Integers have no tape: they are known as long as they are passed on as they are.
    """

    def __init__(self) -> None:
        self.layers: dict[str, Layer] = {}
        self.origins: dict[Edge, str] = {}
        self.passed: dict[int, tuple[Tensor, str]] = {}
        self.open: list[tuple[str, ...]] = []

    def add(self, title: str, shape: str, role: str, place: str = "", sources: tuple[str, ...] = ()) -> str:
        key = f"n{len(self.layers)}"
        self.layers[key] = Layer(key, (title,), shape, role, place, sources)
        return key

    # Tensors

    def marked(self, value: Any, key: str) -> Any:
        """A tensor that is known to come from a layer."""
        if not isinstance(value, Tensor):
            return value
        if not value.is_floating_point():
            self.passed[id(value)] = (value, key)
            return value
        own = gradient_edge(value)
        if own is not None:
            self.origins.setdefault(own, key)  # of a tensor that was overwritten
        with enable_grad():
            start = value.detach().requires_grad_().clone()  # which may be overwritten, unlike a leaf
        edge = gradient_edge(start)
        assert edge is not None
        self.origins[edge] = key
        return start

    def origin(self, tensor: Tensor) -> str | None:
        """The layer that a tensor comes from, perhaps an operation that is found only now."""
        edge = gradient_edge(tensor)
        if edge is None:
            return self.passed.get(id(tensor), (None, None))[1]
        for record in sorted(records_below([edge[0]]), key=lambda record: record._sequence):
            outputs = [(record, number) for number in range(len(record._metas))]
            before = [self.origins[e] for e in record._edges if e in self.origins]
            if before and not any(output in self.origins for output in outputs):
                title = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", operation(record)).lower()
                shape = " ".join(_shape(meta[0]) for meta in record._metas if meta)
                key = self.add(title, shape, "operation", sources=tuple(dict.fromkeys(before)))
                self.origins.update(dict.fromkeys(outputs, key))
        return self.origins.get(edge)

    def sources(self, *values: Any) -> tuple[str, ...]:
        found = [self.origin(t) for t in flatten(values)[0] if isinstance(t, Tensor)]
        return tuple(dict.fromkeys(key for key in found if key is not None))

    # Events

    def given(self, value: Any, name: str) -> Any:
        if not isinstance(value, Tensor):
            return value
        return self.marked(value, self.add(name, _shape(value.shape), "leaf"))

    @contextmanager
    def watching(self, module: Module) -> Iterator[None]:
        """Record the calls of the modules that have no others inside."""
        handles = []
        for place, part in module.named_modules():
            if not any(True for _ in part.children()):
                handles += [
                    part.register_forward_pre_hook(self.called, with_kwargs=True),
                    part.register_forward_hook(_bound(self, place)),
                ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def called(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.open.append(self.sources(args, kwargs))

    def left(self, module: Module, place: str, result: Any) -> Any:
        leaves, tree = flatten(result)
        shape = " ".join(_shape(t.shape) for t in leaves if isinstance(t, Tensor))
        key = self.add(_title(module), shape, _role(module), place, self.open.pop())
        return unflatten(tree, [self.marked(leaf, key) for leaf in leaves])

    def returned(self, result: Any) -> None:
        tensors = [leaf for leaf in flatten(result)[0] if isinstance(leaf, Tensor)]
        for number, tensor in enumerate(tensors):
            name = f"output {number}" if len(tensors) > 1 else "output"
            self.add(name, _shape(tensor.shape), "output", sources=self.sources(tensor))


def _bound(run: _Run, place: str) -> Any:
    return lambda module, args, result: run.left(module, place, result)


# Text -------------------------------------------------------------------------------------------------


def _shape(sizes: Any) -> str:
    return "×".join(map(str, sizes)) or "scalar"


def _home(module: Module) -> str:
    """The file of the library that has the module's class, or the one that it is derived from."""
    homes = (kind.__module__.rpartition(".") for kind in type(module).__mro__)
    return next(last for package, _, last in homes if package == "jitgrad.nn.modules")


def _role(module: Module) -> str:
    return KINDS.get(_home(module), "layer")


def _title(module: Module) -> str:
    """What a module is, with the options that its shapes do not tell."""
    name = type(module).__name__
    if _home(module) not in KINDS:
        return f"{name} {module.extra_repr()}".strip()
    said = [_option(module, option, unsaid) for option, unsaid in OPTIONS.items()]
    return f"{name} {', '.join(filter(None, said))}".strip()


def _option(module: Module, name: str, unsaid: int | None) -> str:
    value = getattr(module, name, None)
    sizes = value if isinstance(value, tuple) else (value,)
    if value is None or set(sizes) == {unsaid}:
        return ""
    if name == "kernel_size":
        axes = re.search(r"(\d)d$", type(module).__name__)
        return "×".join(map(str, sizes * int(axes[1]) if axes and len(sizes) == 1 else sizes))
    shown = sizes[:1] if len(set(sizes)) == 1 else sizes
    return f"{name.removeprefix('num_')} {'×'.join(map(str, shown))}"
