"""Views: tensors on the memory of others, and how a view's values and gradients lead back to its base.

A view is a chain of steps, each a view op of the table with its parameters: rearrange, reshape or slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function, edges_of
from jitgrad.eager.dtypes import Array
from jitgrad.eager.modes import state
from jitgrad.eager.tape import Record, named
from jitgrad.eager.tensor import Tensor, View, version_of, wrap
from jitgrad.ir import Aval
from jitgrad.ops.structure import rearrange, reshape, slice_, update

Shape = tuple[int, ...]
Step = tuple[Any, tuple[tuple[str, Any], ...]]  # a view op and its parameters
Steps = tuple[Step, ...]


def step(op: Any, **params: Any) -> Step:
    return op, tuple(params.items())


def read(x: Any, steps: Steps) -> Any:
    """The view's values, from those of its base."""
    for op, params in steps:
        x = op(x, **dict(params))
    return x


def read_transposed(g: Any, steps: Steps, shape: Shape) -> Any:
    """The cotangent of the base of this shape, from that of the view."""
    avals = [Aval(shape, g.dtype)]
    for op, params in steps:
        avals.append(op.infer(avals[-1], **dict(params)))
    for (op, params), aval in zip(reversed(steps), reversed(avals[:-1]), strict=True):
        (g,) = op.vjp(g, None, aval, **dict(params))
    return g


def written(base: Any, values: Any, steps: Steps) -> Any:
    """The base with other values where the view lies."""
    levels = [base]
    for op, params in steps[:-1]:
        levels.append(op(levels[-1], **dict(params)))
    for (op, params), level in zip(reversed(steps), reversed(levels), strict=True):
        values = _put_back(op, level, values, **dict(params))
    return values


def _put_back(op: Any, base: Any, values: Any, **params: Any) -> Any:
    if op is slice_:
        return update(base, values, start=params["start"], step=params["step"])
    if op is reshape:
        return reshape(values, shape=base.shape)
    source = params["source"]
    back = tuple(source.index(i) if i in source else None for i in range(len(base.shape)))
    return rearrange(values, shape=base.shape, source=back)


def read_blank(g: Any, steps: Steps) -> Any:
    """The base's cotangent where the view has been overwritten: zeros there."""
    view = read(g, steps)
    return written(g, view * 0 if not isinstance(g, np.ndarray) else np.zeros_like(view), steps)


# Making views -------------------------------------------------------------------------------------------


class Way:
    """How to get from one tensor to a view of it: steps, or a function that finds them when needed."""

    __slots__ = ("_steps", "name")

    def __init__(self, steps: Steps | Callable[[], Steps], name: str) -> None:
        self._steps = steps
        self.name = name

    @property
    def steps(self) -> Steps:
        if callable(self._steps):
            self._steps = self._steps()
        return self._steps

    def __call__(self, source: Tensor) -> Tensor:
        """The view of another tensor of the same shape."""
        return _view(source, state.compute(read, source._array, self.steps), self)


class ViewRecord(Record):
    """A view on the tape."""

    base_shape: Shape
    way: Way

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        return (state.compute(read_transposed, grads[0], self.way.steps, self.base_shape),)

    def backward_recorded(self, grads: list[Any]) -> Sequence[Any]:
        params = {"steps": self.way.steps, "shape": self.base_shape}
        name = f"{self.name().rstrip('0123456789')}Backward0"
        return (apply_function(read_transposed, (grads[0],), params, name),)


def view(source: Tensor, array: Array, steps: Steps | Callable[[], Steps], name: str) -> Tensor:
    """A tensor for `array`, which NumPy made of the source's array by these steps."""
    return _view(source, array, Way(steps, name))


def by_steps(source: Tensor, steps: Steps, name: str) -> Tensor:
    """The view of a tensor by these steps."""
    return _view(source, state.compute(read, source._array, steps), Way(steps, name))


def _view(source: Tensor, array: Array, way: Way) -> Tensor:
    out = wrap(array)
    edges = edges_of((source,))
    if edges is not None and array.dtype.kind == "f":
        record: Any = named(ViewRecord, way.name)(edges, ((array.shape, array.dtype),))
        record.way = way
        record.base_shape = source._array.shape
        out._edge = (record, 0)
    a = source._array
    if array is a or array.base is a or (array.base is not None and array.base is a.base):
        tie(out, source, way)
    return out


def tie(out: Tensor, source: Tensor, way: Way) -> None:
    """Make `out` follow what is written to the memory that it shares."""
    out._inference = source._inference
    version = version_of(source)
    out._version_box = version
    above = source._view
    if above is None:
        out._view = View(source, (way,), version[0])
    else:
        out._view = View(above.base, (*above.way, way), version[0])
        out._view.recorded = out._view.recorded and above.recorded
        out._view.multiple = above.multiple
