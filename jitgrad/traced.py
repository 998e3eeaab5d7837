"""The value that a function sees while it is traced: an ndarray's interface around a node that can be replaced.

Assignment in place replaces the node. A view (a slice, a transpose, a reshape) knows how to read its node from that
of its base, and how to write it back, so both follow each other's changes as NumPy's arrays do.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import EllipsisType, FrameType
from typing import Any, ClassVar, NoReturn

import numpy as np

from jitgrad import ops
from jitgrad.capture import Captures
from jitgrad.errors import TraceError
from jitgrad.ir import Aval, Node, Op, Operators, as_node, located
from jitgrad.ops.structure import cast, rearrange, reshape, slice_, update
from jitgrad.ops.table import Composite
from jitgrad.ops.values import as_array

# The user's line --------------------------------------------------------------------------------------------------

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARIES = (_PACKAGE, os.path.dirname(os.path.abspath(np.__file__)) + os.sep, "<frozen")
_PROGRAMS = (_PACKAGE + "cli" + os.sep,)  # code of this package that uses it as users do
_names: dict[str, str] = {}


def user_name(file: str) -> str:
    """The short name of a source file; empty for files of this library and of NumPy."""
    name = _names.get(file)
    if name is None:
        ours = file.startswith(_LIBRARIES) and not file.startswith(_PROGRAMS)
        name = _names[file] = "" if ours else os.path.basename(file) or "?"
    return name


def user_frame() -> FrameType | None:
    """The innermost frame outside this library and NumPy."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not user_name(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def user_line() -> str:
    """The user's "file.py:12"."""
    frame = user_frame()
    return f"{user_name(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else "?"


# The trace ----------------------------------------------------------------------------------------------------------


class Trace:
    """One run of a function on traced values, which are good for nothing once it has ended."""

    __slots__ = ("active", "captures")

    def __init__(self) -> None:
        self.active = True
        self.captures = Captures()

    def node(self, value: Any, where: str) -> Node:
        """The node for any operand."""
        if isinstance(value, (list, tuple)):
            value = as_array(value)
        if isinstance(value, Traced):
            return value.node
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(f"masked array at {where}: its mask would be lost. Use .filled(value) and numpy.where")
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            return self.captures.node(np.asarray(value), where)
        return as_node(value)

    def wrap(self, value: Any) -> Traced:
        """A fresh traced value for any operand."""
        where = user_line()
        return Traced(self.node(value, where), self, where)


class _Active(threading.local):
    trace: Trace | None = None


active = _Active()  # the trace under way in this thread


# Views --------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class View:
    """Where a traced value lies in another one, its base."""

    base: Traced
    root: Traced  # the base of bases, whose version counts the changes
    read: Callable[[Node], Node]
    write: Callable[[Node, Node], Node]  # the base's node and new contents of the view to the base's new node
    place: Any  # equal for two views of the same elements of a base
    seen: int


def _unarranged(base: Node, values: Node, *, shape: Any, source: Any) -> Node:
    if any(s is None and n != 1 for s, n in zip(source, shape, strict=True)):
        raise ValueError(f"at {user_line()}: a broadcast view is read-only. Assign to a copy of it: x.copy()")
    back = tuple(source.index(i) if i in source else None for i in range(base.ndim))
    node: Node = rearrange(values, shape=base.shape, source=back)
    return node


_WRITE_BACK: dict[Op, Callable[..., Node]] = {
    rearrange: _unarranged,
    reshape: lambda base, values, *, shape: reshape(values, shape=base.shape),
    slice_: lambda base, values, *, start, step, size: update(base, values, start=start, step=step),
}


def _view(base: Traced, read: Any, write: Any, place: Any) -> View:
    root = base._view.root if base._view else base
    return View(base, root, read, write, place, root._version)


def _view_by_op(base: Traced, op: Op, params: dict[str, Any]) -> View | None:
    """The view that an op gives of its argument; None where NumPy would make a copy."""
    if op is reshape and base._view:
        try:
            np.reshape(base._layout(), params["shape"], copy=False)
        except ValueError:
            return None
    write = _WRITE_BACK[op]
    return _view(
        base,
        lambda node: op(node, **params),
        lambda node, values: write(node, values, **params),
        (op, tuple(sorted(params.items()))),
    )


# NumPy functions whose result is a view of an argument, where it can be one.
ALIASING: set[Any] = {
    getattr(np, name)
    for name in (
        "array_split atleast_1d atleast_2d atleast_3d broadcast_arrays broadcast_to diagonal dsplit expand_dims flip "
        "fliplr flipud hsplit matrix_transpose moveaxis permute_dims ravel real reshape rollaxis rot90 split squeeze "
        "swapaxes transpose unstack vsplit asarray asanyarray ascontiguousarray"
    ).split()
    if hasattr(np, name)
}

_Key = tuple[Any, ...]


def _is_basic(key: _Key) -> bool:
    """Whether an index selects by slices and numbers only, so that NumPy gives a view."""
    return all(
        i is None or (isinstance(i, (int, np.integer, slice, EllipsisType)) and not isinstance(i, bool)) for i in key
    )


def _is_traced_position(i: Any) -> bool:
    return isinstance(i, Traced) and not i.shape and i.dtype.kind in "iu"


# The value ----------------------------------------------------------------------------------------------------------


class Traced(Operators):
    """An array that is known only by its shape and dtype while a function is traced."""

    __slots__ = ("_node", "_scalar", "_trace", "_version", "_view", "_where")
    __rank__: ClassVar[int] = 2
    __array_priority__: ClassVar[float] = 1000.0

    def __init__(
        self, node: Node, trace: Trace, where: str, view: View | None = None, scalar: bool | None = None
    ) -> None:
        self._node = node
        self._trace = trace
        self._where = where
        self._view = view
        self._version = 0
        # A NumPy scalar is immutable: x += 1 makes a new one, where a 0-d array is changed.
        self._scalar = (view is None and not node.aval.shape) if scalar is None else scalar

    # Nodes

    @property
    def node(self) -> Node:
        """The node that computes the present value."""
        if not self._trace.active:
            raise TraceError(
                f"a value traced at {self._where} is used at {user_line()}, after its trace has ended. "
                "Return it from the traced function instead of keeping it"
            )
        view = self._view
        if view is not None and view.seen != view.root._version:
            self._refresh(view.root)
        return self._node

    def _refresh(self, root: Traced) -> None:
        stale = []
        box = self
        while box._view is not None and box._view.seen != root._version:
            stale.append(box)
            box = box._view.base
        for box in reversed(stale):
            assert box._view is not None
            with located(box._where):
                box._node = box._view.read(box._view.base._node)
            box._view.seen = root._version

    def _write(self, node: Node) -> None:
        """Replace the value, here and in everything that it is a view of."""
        with located(user_line()):
            box, views = self, []
            while (view := box._view) is not None:
                whole = view.write(view.base.node, node)
                box._node = node
                views.append(view)
                box, node = view.base, whole
        box._node = node
        box._version += 1
        for view in views:
            view.seen = box._version

    def _fill(self, value: Any) -> None:
        """Assign in place, cast and broadcast as NumPy's assignment does."""
        where = user_line()
        with located(where):
            node = cast(self._trace.node(value, where), dtype=self.dtype)
            extra = node.ndim - self.ndim
            if extra > 0 and set(node.shape[:extra]) == {1}:
                node = reshape(node, shape=node.shape[extra:])
            if node.shape != self.shape:
                lead = self.ndim - node.ndim
                sizes = (None,) * lead + node.shape
                if lead < 0 or any(n not in (None, 1, m) for n, m in zip(sizes, self.shape, strict=True)):
                    raise ValueError(f"assignment: shape {node.shape} does not broadcast into shape {self.shape}")
                source = tuple(
                    j - lead if n == m else None for j, (n, m) in enumerate(zip(sizes, self.shape, strict=True))
                )
                node = rearrange(node, shape=self.shape, source=source)
        self._write(node)

    def _store(self, result: Traced, name: str) -> Traced:
        """What `x += y` leaves in x: the result, written in place unless x is a scalar."""
        if self._scalar:
            return result
        if result.shape != self.shape:
            raise ValueError(
                f"{name}: in place, the result of shape {result.shape} must fit into shape {self.shape}. "
                "Write x = x + y for a new array"
            )
        if not np.can_cast(result.dtype, self.dtype, "same_kind"):
            raise TypeError(
                f"{name}: in place, {result.dtype} does not go into {self.dtype}. Write x = x + y for a new array"
            )
        self._write(cast(result.node, dtype=self.dtype))
        return self

    def _layout(self) -> np.ndarray[Any, Any]:
        """An array with the strides that this value would have in NumPy; its elements must not be read."""
        box: Traced = self
        reads = []
        while box._view is not None:
            reads.append(box._view.place)
            box = box._view.base
        strides = [1] * box.ndim
        for i in range(box.ndim - 1, 0, -1):
            strides[i - 1] = strides[i] * max(box.shape[i], 1)
        layout = np.lib.stride_tricks.as_strided(np.empty(1, np.int8), box.shape, strides)
        for place in reversed(reads):
            if isinstance(place, tuple):
                op, params = place
                layout = op.numpy(layout, **dict(params))
            else:
                layout = np.lib.stride_tricks.as_strided(layout, (0,), (0,))
        return layout

    def _place(self) -> tuple[Any, ...]:
        steps: list[Any] = []
        box = self
        while box._view is not None:
            steps.append(box._view.place)
            box = box._view.base
        return (id(box), *steps)

    def __apply__(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Traced:
        where = user_line()
        trace = self._trace
        nodes = [a.node if type(a) is Traced else trace.node(a, where) for a in args]
        with located(where):
            node = op.bind(op, *nodes, **params)
        view = _view_by_op(args[0], op, params) if op in _WRITE_BACK and type(args[0]) is Traced else None
        return Traced(node, trace, where, view)

    def __settle__(self, composite: Composite, args: tuple[Any, ...]) -> Traced:
        """The result of a function that returns this: a copy, unless NumPy would return a view."""
        if composite.numpy in ALIASING or (self._view is None and not any(a is self for a in args)):
            return self
        return Traced(self.node, self._trace, user_line())
