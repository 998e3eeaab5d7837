"""The tape as users see it: nodes, edges, hooks on saved tensors and on several gradients at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jitgrad.eager.backward import gradient_edge
from jitgrad.eager.modes import state
from jitgrad.eager.tape import Edge, GradientEdge, Handle
from jitgrad.eager.tape import Record as Node
from jitgrad.eager.tensor import Tensor, version_of

__all__ = [
    "GradientEdge",
    "Node",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class saved_tensors_hooks:
    """Let `pack_hook` decide, inside a block, what is kept of a tensor that is saved for the backward pass.

    `unpack_hook` makes the tensor again from what `pack_hook` returned. The innermost block counts.

    >>> import jitgrad
    >>> x = jitgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> with jitgrad.autograd.graph.saved_tensors_hooks(lambda t: t.half(), lambda t: t.float()):
    ...     y = x.exp()
    >>> y.sum().backward()
    >>> x.grad
    tensor([2.7188, 7.3906])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        if not callable(pack_hook) or not callable(unpack_hook):
            raise TypeError("saved_tensors_hooks(): pack_hook and unpack_hook must be callable")
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if state.saved_hooks_refused is not None:
            raise RuntimeError(state.saved_hooks_refused)
        state.saved_hooks = [*state.saved_hooks, (self.pack_hook, self.unpack_hook)]

    def __exit__(self, *_: Any) -> None:
        state.saved_hooks = state.saved_hooks[:-1]


class save_on_cpu(saved_tensors_hooks):
    """Keep what is saved in the CPU's memory, which is where tensors live: nothing changes."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(_unchanged, _unchanged)


def _unchanged(t: Tensor) -> Tensor:
    return t


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Refuse hooks on saved tensors inside a block, with this message."""
    if state.saved_hooks:
        raise RuntimeError(error_message)
    before, state.saved_hooks_refused = state.saved_hooks_refused, error_message
    try:
        yield
    finally:
        state.saved_hooks_refused = before


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Return where the gradient of a tensor arrives; it stands for the tensor in `grad` and `backward`.

    Raises RuntimeError where the tensor does not require grad.
    """
    edge = gradient_edge(tensor)
    if edge is None:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require gradients"
        )
    return GradientEdge(*edge)


def increment_version(tensor: Any) -> None:
    """Tell autograd that the memory of a tensor, or of several, has been written to."""
    tensors = [tensor] if isinstance(tensor, Tensor) else tensor
    if not isinstance(tensors, Iterable):
        raise RuntimeError("increment_version expect a Iterable[Tensor] as input")
    for t in tensors:
        version_of(t)[0] += 1


# Hooks on several gradients -------------------------------------------------------------------------------


class _Handles:
    """The handles of the hooks that make up one."""

    def __init__(self, handles: Sequence[Handle]) -> None:
        self._handles = tuple(handles)

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> _Handles:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


class _Collector:
    """Calls a function once in each backward pass: with all gradients, when the last of them is known."""

    def __init__(self, edges: Sequence[Edge], function: Callable[..., Any]) -> None:
        self._edges = edges
        self._function = function
        self._pass: Any = None
        self._grads: list[Any] = []
        self._missing = 0

    def receive(self, number: int, g: Any) -> None:
        if self._pass is not state.running:
            self._pass = state.running
            self._grads = [None] * len(self._edges)
            self._missing = sum(state.running.reaches(record) for record, _ in self._edges)
        self._grads[number] = g
        self._missing -= 1
        if self._missing == 0:
            grads, self._pass, self._grads = self._grads, None, []
            self._function(grads)


class _First:
    """Calls a function with the first of several gradients in each backward pass."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._pass: Any = None

    def receive(self, number: int, g: Any) -> None:
        if self._pass is not state.running:
            self._pass = state.running
            self._function(g)


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., Any], *, mode: str = "all"
) -> _Handles:
    """Call fn in each backward pass that comes to some of the tensors.

    With mode "all", fn gets the list of their gradients (None where the pass does not come) once all are
    known; with "any", the first gradient. Returns a handle with `remove()`.

    >>> import jitgrad
    >>> a, b = jitgrad.ones(1, requires_grad=True), jitgrad.ones(1, requires_grad=True)
    >>> handle = jitgrad.autograd.graph.register_multi_grad_hook((a, b), print)
    >>> (2 * a + 3 * b).backward()
    [tensor([2.]), tensor([3.])]
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    edges = [gradient_edge(t) for t in tensors]
    found = [edge for edge in edges if edge is not None]
    if len(found) != len(edges):
        raise AssertionError("Expected gradient function to be set")
    target = _Collector(found, fn) if mode == "all" else _First(fn)
    return _Handles([t.register_hook(_receiver(target, i)) for i, t in enumerate(tensors)])


def _receiver(target: _Collector | _First, number: int) -> Callable[[Any], None]:
    return lambda g: target.receive(number, g)
