"""The tape: one record for each recorded operation, with the values that its derivative reads."""

from __future__ import annotations

import itertools
import traceback
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from operator import length_hint
from typing import Any, NamedTuple

import numpy as np

from jitgrad.eager.dtypes import TYPE_NAMES, Array, of
from jitgrad.eager.modes import state
from jitgrad.location import is_ours

Edge = tuple["Record", int]
Meta = tuple[tuple[int, ...], np.dtype[Any]]
Version = list[int]  # one number that a tensor shares with its views: how often their memory was written

FREED_TWICE = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have "
    "already been freed). Saved intermediate values of the graph are freed when you call .backward() or "
    "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or "
    "if you need to access saved tensors after calling backward."
)

_ENDLESS = 1 << 62
_numbers = iter(range(_ENDLESS))  # tells what it gives next, which itertools.count does not

Saved = tuple[Array, Version, int]  # an array, the version of its memory, and which one was saved


def intact(entry: Saved, owner: str) -> Array:
    """The saved array; RuntimeError if it has been written to since."""
    array, version, at = entry
    if version[0] != at:
        kind = f"torch.{TYPE_NAMES.get(of(array.dtype), 'Tensor')} {list(array.shape)}"
        hint = (
            "the backtrace further above shows the operation that failed to compute its gradient. The "
            "variable in question was changed in there or anywhere later. Good luck!"
            if state.anomaly
            else "enable anomaly detection to find the operation that failed to compute its gradient, with "
            "torch.autograd.set_detect_anomaly(True, check_nan=False)."
        )
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"[{kind}], which is an operand or result of {owner}, is at version {version[0]}; expected "
            f"version {at} instead. Hint: {hint}"
        )
    return array


class Packed:
    """What the hooks for saved values made of an array."""

    __slots__ = ("content", "unpack")

    def __init__(self, content: Any, unpack: Callable[[Any], Any]) -> None:
        self.content = content
        self.unpack = unpack

    def get(self) -> Array:
        unpacked = self.unpack(self.content)
        if not hasattr(unpacked, "_array"):
            raise TypeError(
                "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                f"{type(unpacked).__name__}"
            )
        array: Array = unpacked._array
        return array


def unpacked(entry: Any, owner: str) -> Any:
    """What the tape kept of a value: the array itself where it was saved with its version or by hooks."""
    if entry.__class__ is tuple:
        return intact(entry, owner)
    return entry.get() if entry.__class__ is Packed else entry


class Hooks:
    """The functions to call around one record, in order of registration, by the number of their handle."""

    __slots__ = ("after", "before", "on_output", "retained")

    def __init__(self) -> None:
        self.before: dict[int, Callable[..., Any]] = {}
        self.after: dict[int, Callable[..., Any]] = {}
        self.on_output: dict[int, tuple[int, Callable[..., Any]]] = {}
        self.retained: dict[int, Any] = {}


class Handle:
    """What a registration returns: `remove()` takes the hook away, as does leaving a `with` block."""

    _numbers = itertools.count()

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self.id = next(Handle._numbers)
        hooks[self.id] = hook
        self._hooks = hooks

    def remove(self) -> None:
        self._hooks.pop(self.id, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


class Record:
    """One operation on the tape, PyTorch's `grad_fn`.

    `_edges` has one entry for each operand: the record (and output number) its gradient goes to, or None.
    `_metas` are the shape and dtype of each output. A record is younger than every record that it points to,
    so the engine needs no order other than `_sequence`.
    """

    _edges: tuple[Edge | None, ...]
    _metas: tuple[Meta, ...]
    _values: Any = ()  # a list where something is saved, None once that has been freed
    _hooks: Hooks | None = None
    _trace: Trace | None = None
    takes_undefined = False  # whether it has to run where hooks have taken all gradients away

    def __init__(self, edges: tuple[Edge | None, ...], metas: tuple[Meta, ...]) -> None:
        self._edges = edges
        self._metas = metas
        self._sequence: float = next(_numbers)
        if state.anomaly:
            self._trace = Trace(_user_stack(), state.evaluating)

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        """The gradients of the operands, given those of the outputs, as arrays."""
        raise NotImplementedError

    def backward_recorded(self, grads: list[Any]) -> Sequence[Any]:
        """The same on tensors, recorded, so that it can be differentiated again."""
        raise NotImplementedError

    def saved(self) -> Any:
        if self._values is None:
            raise RuntimeError(FREED_TWICE)
        return self._values

    def hooked(self) -> Hooks:
        if self._hooks is None:
            self._hooks = Hooks()
        return self._hooks

    # What users see

    def name(self) -> str:
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Record | None, int], ...]:
        return tuple((None, 0) if edge is None else edge for edge in self._edges)

    @property
    def metadata(self) -> dict[Any, Any]:
        return self.__dict__.setdefault("_metadata", {})  # type: ignore[no-any-return]

    def register_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(grad_inputs, grad_outputs) after the backward; its result replaces grad_inputs."""
        return Handle(self.hooked().after, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> Handle:
        """Call hook(grad_outputs) before this record's backward; its result replaces grad_outputs."""
        return Handle(self.hooked().before, hook)

    def _register_hook_dict(self, hooks: dict[int, Any]) -> None:
        self.hooked().after = hooks

    def _sequence_nr(self) -> int:
        return int(self._sequence)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self):#x}>"


def operation(record: Record) -> str:
    """What a record is the backward of: Exp for ExpBackward0."""
    return type(record).__name__.rstrip("0123456789").removesuffix("Backward")


class Trace(NamedTuple):
    """Where an operation was called; if a backward pass has recorded it, also for which record."""

    stack: str
    induced_by: Record | None


def _user_stack() -> str:
    frames = [frame for frame in traceback.extract_stack() if not is_ours(frame.filename)]
    return "".join(traceback.format_list(frames))


class GradientEdge(NamedTuple):
    """Where on the tape the gradient of a tensor arrives: what `grad` and `backward` take in its place."""

    node: Record
    output_nr: int
    ownership_token: Any = None


@cache
def named(kind: type[Record], name: str) -> Any:
    """The subclass of a kind of record that shows under a name, as in `<AddBackward0>`."""
    return type(name, (kind,), {"__module__": "torch.autograd"})


class AccumulateGrad(Record):
    """Where gradients of a leaf end: they are added to its `.grad`.

    It comes just before the operation that it is made for, and so has its turn in a backward pass right after
    that operation; of several made for the same operation, the first operand's goes first.
    """

    _made = itertools.count()

    def __init__(self, variable: Any) -> None:
        array = variable._array
        self._edges = ()
        self._metas = ((array.shape, array.dtype),)
        self.variable = variable
        self._hooks = variable._hooks
        self._sequence = _ENDLESS - length_hint(_numbers) - 0.5
        self.number = next(AccumulateGrad._made)

    def __lt__(self, other: AccumulateGrad) -> bool:
        return self.number < other.number

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    def hooked(self) -> Hooks:
        """The hooks, which stay with the leaf."""
        if self._hooks is None:
            self._hooks = self.variable._hooks = Hooks()
        return self._hooks


def sink(leaf: Any) -> Edge:
    """The edge to a leaf's AccumulateGrad, which lives as long as records point to it."""
    record = leaf._sink and leaf._sink()
    if record is None:
        if leaf._array.dtype.kind == "c":
            raise NotImplementedError(
                "derivatives of operations on complex tensors are not available; compute with real and "
                "imaginary parts, or under no_grad"
            )
        record = AccumulateGrad(leaf)
        leaf._sink = weakref.ref(record)
    return record, 0
