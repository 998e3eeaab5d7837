"""The value that a function sees while it is traced: a box around a node, with the interface of an ndarray.

Assignment in place replaces the node. A view (a slice, transpose or reshape) knows how to read its node from
that of its base, and how to write it back, so both follow each other's changes as NumPy's arrays do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import EllipsisType
from typing import Any, ClassVar

import numpy as np

from jitgrad.capture import Captures
from jitgrad.errors import TraceError
from jitgrad.interface import ArrayInterface
from jitgrad.ir import Node, Op, as_node, located
from jitgrad.location import user_line
from jitgrad.ops import indexing
from jitgrad.ops.structure import cast, rearrange, reshape, slice_, update
from jitgrad.ops.table import Composite, require_fit
from jitgrad.ops.values import as_array, broadcast

Layout = np.ndarray[Any, Any]


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
            raise TypeError(
                f"masked array at {where}: its mask would be lost. Use .filled(value) and numpy.where"
            )
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


# Views ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class View:
    """Where a traced value lies in another one, its base.

    `write` turns the base's node and the view's new node into the base's new node; `layout` applies the view
    to an array of the base's strides; places are equal for views of the same elements of the base.
    """

    base: Traced
    root: Traced  # the base of bases, whose version counts the changes
    read: Callable[[Node], Node]
    write: Callable[[Node, Node], Node]
    layout: Callable[[Layout], Layout]
    place: Any
    seen: int
    strided: Layout | None = None


def _view(base: Traced, read: Any, write: Any, layout: Any, place: Any) -> View:
    root = base._view.root if base._view else base
    return View(base, root, read, write, layout, place, root._version)


def _unarranged(base: Node, values: Node, *, shape: Any, source: Any) -> Node:
    if any(s is None and n != 1 for s, n in zip(source, shape, strict=True)):
        raise ValueError("assignment: a broadcast view is read-only. Assign to a copy of it: x.copy()")
    back = tuple(source.index(i) if i in source else None for i in range(base.ndim))
    node: Node = rearrange(values, shape=base.shape, source=back)
    return node


_WRITE_BACK: dict[Op, Callable[..., Any]] = {
    rearrange: _unarranged,
    reshape: lambda base, values, *, shape: reshape(values, shape=base.shape),
    slice_: lambda base, values, *, start, step, size: update(base, values, start=start, step=step),
}


def _view_by_op(base: Traced, op: Op, params: dict[str, Any]) -> View | None:
    """The view that an op gives of its argument; None where NumPy would make a copy."""
    if op is reshape and base._view:
        try:
            np.reshape(base._layout(), params["shape"], copy=False)
        except ValueError:
            return None
    place = op, tuple(sorted(params.items()))
    return _view(
        base, partial(op, **params), partial(_WRITE_BACK[op], **params), partial(op.numpy, **params), place
    )


def _contiguous(shape: tuple[int, ...]) -> Layout:
    strides = [1] * len(shape)
    for i in range(len(shape) - 1, 0, -1):
        strides[i - 1] = strides[i] * shape[i]
    return np.lib.stride_tricks.as_strided(np.empty(1, np.int8), shape, strides)


# The NumPy functions whose result may be a view of an argument.
_ALIASING = {
    getattr(np, name)
    for name in (
        "array_split atleast_1d atleast_2d atleast_3d broadcast_arrays broadcast_to diagonal dsplit "
        "expand_dims flip fliplr flipud hsplit matrix_transpose moveaxis permute_dims ravel real reshape "
        "rollaxis rot90 split squeeze swapaxes transpose unstack vsplit"
    ).split()
    if hasattr(np, name)
}


def _is_slicing(i: Any) -> bool:
    return i is None or (isinstance(i, (int, np.integer, slice, EllipsisType)) and not isinstance(i, bool))


def _is_traced_position(i: Any) -> bool:
    return isinstance(i, Traced) and not i.shape and i.dtype.kind in "iu"


# The value --------------------------------------------------------------------------------------------


class Traced(ArrayInterface):
    """An array that is known only by its shape and dtype while a function is traced."""

    __slots__ = ("_node", "_scalar", "_trace", "_version", "_view", "_where")
    __rank__: ClassVar[int] = 2

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

    def __repr__(self) -> str:
        return f"<traced {self._node.aval} made at {self._where}>"

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self._node.aval.shape

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        return self._node.aval.dtype

    @property
    def node(self) -> Node:
        """The node that computes the present value."""
        if not self._trace.active:
            raise TraceError(
                f"the value traced at {self._where} is used at {user_line()}, after its trace has ended. "
                "Return it from the traced function instead of keeping it"
            )
        view = self._view
        if view is not None and view.seen != view.root._version:
            self._refresh(view.root)
        return self._node

    def _refresh(self, root: Traced) -> None:
        stale: list[tuple[Traced, View]] = []
        box = self
        while box._view is not None and box._view.seen != root._version:
            stale.append((box, box._view))
            box = box._view.base
        for box, view in reversed(stale):
            with located(box._where):
                box._node = view.read(view.base._node)
            view.seen = root._version

    def _write(self, node: Node) -> None:
        """Replace the value, here and in everything that this is a view of."""
        box, changes = self, []
        while box._view is not None:
            changes.append((box, node))
            node = box._view.write(box._view.base.node, node)
            box = box._view.base
        changes.append((box, node))
        box._version += 1
        for changed, node in changes:
            changed._node = node
            if changed._view is not None:
                changed._view.seen = box._version

    def _fill(self, value: Any) -> None:
        """Assign in place, cast and broadcast as NumPy's assignment does."""
        where = user_line()
        with located(where):
            require_fit(value, self.dtype)
            node = cast(self._trace.node(value, where), dtype=self.dtype)
            extra = node.ndim - self.ndim
            if extra > 0 and set(node.shape[:extra]) == {1}:
                node = reshape(node, shape=node.shape[extra:])
            if node.shape != self.shape:
                node = broadcast(node, self.shape)
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
                f"{name}: in place, {result.dtype} does not go into {self.dtype}. "
                "Write x = x + y for a new array"
            )
        with located(user_line()):
            self._write(cast(result.node, dtype=self.dtype))
        return self

    def _layout(self) -> Layout:
        """An array with the strides that this value would have in NumPy; its elements must not be read."""
        views: list[View] = []
        box = self
        while box._view is not None and box._view.strided is None:
            views.append(box._view)
            box = box._view.base
        layout = _contiguous(box.shape) if box._view is None else box._view.strided
        assert layout is not None
        for view in reversed(views):
            layout = view.strided = view.layout(layout)
        return layout

    def _place(self) -> tuple[Any, ...]:
        places: list[Any] = []
        box = self
        while box._view is not None:
            places.append(box._view.place)
            box = box._view.base
        return id(box), *places

    def __apply__(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Traced:
        where = user_line()
        trace = self._trace
        nodes = [a.node if type(a) is Traced else trace.node(a, where) for a in args]
        with located(where):
            node = op.bind(op, *nodes, **params)
        if op not in _WRITE_BACK or type(args[0]) is not Traced:
            return Traced(node, trace, where)
        return args[0] if node is nodes[0] else Traced(node, trace, where, _view_by_op(args[0], op, params))

    def __settle__(self, composite: Composite, args: tuple[Any, ...]) -> Traced:
        """The result of a function that returns this: a copy, unless NumPy would return a view."""
        if composite is indexing.getitem or composite.numpy in _ALIASING:
            return self
        if self._view is None and not any(a is self for a in args):
            return self
        return self._detached()

    def _detached(self) -> Traced:
        return Traced(self.node, self._trace, user_line())

    def copy(self, order: str = "C") -> Traced:
        return Traced(self.node, self._trace, user_line(), scalar=self._scalar)

    # Indexing

    def __getitem__(self, key: Any) -> Any:
        items = key if isinstance(key, tuple) else (key,)
        part = indexing.getitem(self, key)
        if all(map(_is_slicing, items)):
            return part if part.shape or Ellipsis in items else part._detached()
        if part.shape and all(_is_slicing(i) or _is_traced_position(i) for i in items):
            return self._rows(items, part)
        return part._detached() if part is self or part._view is not None else part

    def _rows(self, items: tuple[Any, ...], part: Traced) -> Traced:
        """The view of the rows at a position that only the run knows."""
        key = tuple(i.node if isinstance(i, Traced) else i for i in items)
        like = tuple(0 if isinstance(i, Traced) else i for i in items)
        view = _view(
            self,
            lambda node: indexing.getitem(node, key),
            lambda node, values: indexing.setitem(node, key, values),
            lambda layout: layout[like],
            key,
        )
        return Traced(part.node, self._trace, part._where, view)

    def __setitem__(self, key: Any, value: Any) -> None:
        items = key if isinstance(key, tuple) else (key,)
        if all(map(_is_slicing, items)):
            part = indexing.getitem(self, key)
            if not (isinstance(value, Traced) and value._place() == part._place()):  # as x[i] += v ends
                part._fill(value)
            return
        with located(user_line()):
            changed = indexing.setitem(self, key, value)
            self._write(cast(changed.node, dtype=self.dtype))
