"""Methods that give a tensor itself another shape on the same memory, as squeeze_ and transpose_ do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitgrad.eager.define import define
from jitgrad.eager.functions.shape import squeeze, t, transpose, unsqueeze
from jitgrad.eager.functions.strides import as_strided
from jitgrad.eager.inplace import guard_tape
from jitgrad.eager.tape import Edge, named, operation
from jitgrad.eager.tensor import Tensor, version_of

__all__ = ["as_strided_"]


def _reformed(name: str, function: Callable[..., Tensor], forms: int = 1) -> Callable[..., Tensor]:
    """The method by which a tensor becomes the view of itself that a function of so many forms makes."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        guard_tape(self)
        before = _before(self)
        out = function(before, *args, **kwargs)
        viewed = self._view is not None or (self._version_box is not None and not self._requires)
        self._array, self._edge, self._sink = out._array, _renumbered(out._edge, forms), None
        self._view = out._view if viewed else None
        self._version_box = version_of(out)
        self._version_box[0] += 1
        if self._view is not None:
            self._view.seen = self._version_box[0]
        return self

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"Make the tensor the view of itself that `{name}` returns, and return it."
    define(f"{name}_")(method)
    return method


def _renumbered(edge: Edge | None, forms: int) -> Edge | None:
    """The edge to a record that shows as what comes `forms` later: TBackward1 for TBackward0."""
    if edge is not None:
        record = edge[0]
        name = f"{operation(record)}Backward{int(record.name()[-1]) + forms}"
        record.__class__ = named(type(record).__mro__[1], name)
    return edge


def _before(t: Tensor) -> Tensor:
    """The tensor as it was, for views that have been made of it."""
    out: Tensor = object.__new__(Tensor)
    out.__dict__.update(t.__dict__)
    return out


_reformed("squeeze", squeeze, 3)
_reformed("unsqueeze", unsqueeze)
_reformed("t", t)
for _name in ("transpose", "swapaxes", "swapdims"):
    _reformed(_name, transpose)
as_strided_ = _reformed("as_strided", as_strided)
