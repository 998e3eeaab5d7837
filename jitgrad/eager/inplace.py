"""Writing into a tensor's memory, with its place on the tape and that of its views kept right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.dispatch import apply_function, arrays_of
from jitgrad.eager.dtypes import Array
from jitgrad.eager.modes import state
from jitgrad.eager.tape import Edge, Record, operation
from jitgrad.eager.tensor import Tensor, memory_of, version_of, why_fixed
from jitgrad.eager.views import Steps, read, read_blank
from jitgrad.ir import Node
from jitgrad.ops.structure import cast
from jitgrad.ops.values import broadcast


def _repeats(array: Array) -> bool:
    return any(stride == 0 and n > 1 for stride, n in zip(array.strides, array.shape, strict=True))


def guard(t: Tensor) -> None:
    """Refuse a write that would make gradients wrong."""
    array = t._array
    if t._inference and not state.inference:
        if state.grad and t.requires_grad:
            raise RuntimeError("Inplace update to inference tensor outside InferenceMode is not allowed.")
    if 0 in array.strides and array.size and _repeats(array):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location. Please clone() the tensor before performing the operation."
        )
    if not array.flags.writeable:
        raise RuntimeError("the tensor's memory is read-only; clone() it before writing to it")
    guard_tape(t)


def guard_tape(t: Tensor) -> None:
    """Refuse a change whose place on the tape could not be kept."""
    if not state.grad:
        return
    edge = t._gradient_edge()
    if edge is None and t._requires:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    view = t._view
    if view is None:
        return
    if view.base._requires and view.base._edge is None:
        raise RuntimeError(
            "a view of a leaf Variable that requires grad is being used in an in-place operation."
        )
    if edge is not None and view.multiple:
        raise RuntimeError(
            f"Output {edge[1]} of {operation(edge[0])} is a view and is being modified inplace. "
            f"{why_fixed(view)}"
        )
    if edge is not None and not view.recorded:
        raise RuntimeError(
            "A view was created in no_grad mode and is being modified inplace with grad mode enabled. "
            "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your "
            "code by moving both the view and the inplace either both inside the no_grad block (if you don't "
            "want the inplace to be tracked) or both outside (if you want the inplace to be tracked)."
        )


def write(t: Tensor, result: Tensor) -> Tensor:
    """Give t the values, and the place on the tape, of a result that was computed from it."""
    array, new = t._array, result._array
    _must_hold(array.dtype, new.dtype)
    if new.shape != array.shape:
        raise RuntimeError(
            f"output with shape {list(array.shape)} doesn't match the broadcast shape {list(new.shape)}"
        )
    before, edge = t._gradient_edge(), result._edge
    if edge is not None:
        _keep_own(edge[0], array)
    state.compute(np.copyto, array, new, "unsafe")
    version = version_of(t)
    version[0] += 1
    if edge is None:
        if before is not None and t._view is not None:
            t._view.seen = version[0]
        return t
    _adopt(edge, t, new)
    rebase(t, edge)
    return t


def rebase(t: Tensor, edge: Edge) -> None:
    """Give a tensor that has been written to its new place on the tape; its base follows."""
    retained = t.retains_grad
    if retained and t._edge is not None:
        del t._edge[0].hooked().retained[t._edge[1]]
    if t._view is not None:
        _write_base(t, edge)
        t._view.seen = version_of(t)[0]
    t._edge = edge
    if retained:
        t.retain_grad()


def _must_hold(own: np.dtype[Any], new: np.dtype[Any]) -> None:
    if new != own and not dtypes.can_cast(dtypes.of(new), dtypes.of(own)):
        raise RuntimeError(
            f"result type {dtypes.scalar_type(new)} can't be cast to the desired output type "
            f"{dtypes.scalar_type(own)}"
        )


def _keep_own(record: Record, array: Array) -> None:
    """Give a record a copy of the operand that its own result is about to overwrite."""
    if record._values.__class__ is list:
        record._values = [
            v[0].copy() if v.__class__ is tuple and v[0] is array else v for v in record._values
        ]


def _adopt(edge: Edge, t: Tensor, result: Array) -> None:
    """Let the record refer to the memory of t where it had saved or described the result."""
    record, number = edge
    if record._metas[number][1] != t._array.dtype:
        metas = list(record._metas)
        metas[number] = (t._array.shape, t._array.dtype)
        record._metas = tuple(metas)
    if record._values.__class__ is list:
        record._values = [
            (t._array, version_of(t), t._version) if v.__class__ is tuple and v[0] is result else v
            for v in record._values
        ]


class CopySlices(Record):
    """The base of a view that has been written to: its gradient, without and with that of the view."""

    steps: Steps

    def name(self) -> str:
        return "torch::autograd::CopySlices"

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        g = grads[0]
        return state.compute(read_blank, g, self.steps), state.compute(read, g, self.steps)

    def backward_recorded(self, grads: list[Any]) -> Sequence[Any]:
        params = {"steps": self.steps}
        blank = apply_function(read_blank, (grads[0],), params, "CopySlicesBackward0")
        return blank, apply_function(read, (grads[0],), params, "CopySlicesBackward0")


def _write_base(t: Tensor, edge: Edge) -> None:
    view = t._view
    assert view is not None
    base = memory_of(view.base)
    record: Any = CopySlices((base._edge, edge), ((base._array.shape, base._array.dtype),))
    record.steps = tuple(step for way in view.way for step in way.steps)
    base._edge = (record, 0)


# In-place functions ---------------------------------------------------------------------------------------


def inplace(function: Callable[..., Any], ufunc: np.ufunc | None = None) -> Callable[..., Tensor]:
    """The method that writes a function's result into its first argument.

    Where nothing is recorded or cast, `ufunc` computes the same in place, without the function's result.
    """

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if ufunc is not None and len(args) == 1 and not kwargs and _plainly_writable(self, args[0]):
            own, other = self._array, args[0]
            state.compute(ufunc, own, other._array if isinstance(other, Tensor) else other, own)
            version_of(self)[0] += 1
            return self
        try:
            result = function(self, *args, **kwargs)
        except (NotImplementedError, RuntimeError) as error:
            guard(self)
            if isinstance(error, NotImplementedError):
                _refuse(self._array, arrays_of((self, *args)))
            raise
        guard(self)
        return write(self, result)

    return method


def _plainly_writable(t: Tensor, other: Any) -> bool:
    """Whether NumPy may compute with another operand right in the memory of t."""
    own = t._array
    if own.dtype.kind != "f" or not own.flags.c_contiguous or not own.flags.writeable or t._inference:
        return False
    if t._view is not None or (state.grad and t.requires_grad):
        return False
    if isinstance(other, Tensor):
        array = other._array
        same = array.dtype is own.dtype and array.shape == own.shape
        return same and not (state.grad and other.requires_grad)
    return other.__class__ is float or other.__class__ is int


def _refuse(own: Array, operands: list[Any]) -> None:
    """Raise what comes before a complaint about dtypes."""
    _must_hold(own.dtype, dtypes.common(operands))
    must_fit(own, operands)


def must_fit(own: Array, operands: Sequence[Any]) -> None:
    """Refuse operands that broadcast to a larger shape than that of what is written to."""
    try:
        shape = np.broadcast_shapes(*map(np.shape, operands))
    except ValueError:
        return
    if shape != own.shape:
        raise RuntimeError(
            f"output with shape {list(own.shape)} doesn't match the broadcast shape {list(shape)}"
        )


def _overwritten(x: Node, values: Node) -> Node:
    """x with all its values replaced."""
    return broadcast(cast(values, dtype=x.dtype), x.shape)  # type: ignore[no-any-return]


def overwrite(t: Tensor, values: Tensor, name: str) -> Tensor:
    """t.copy_(values), under a name on the tape."""
    guard(t)
    array, new = t._array, values._array
    try:
        if state.grad and (t.requires_grad or values.requires_grad) and array.dtype.kind == "f":
            return write(t, apply_function(_overwritten, (t, values), {}, name))
        state.compute(np.copyto, array, new, "unsafe")
    except ValueError:
        raise _unfit(array.shape, new.shape) from None
    version_of(t)[0] += 1
    return t


def _unfit(shape: tuple[int, ...], given: tuple[int, ...]) -> RuntimeError:
    """What to raise for values that do not broadcast to what is written to."""
    for place, (n, m) in enumerate(zip(reversed(shape), reversed(given), strict=False), 1):
        if n != m and 1 not in (n, m):
            return RuntimeError(
                f"The size of tensor a ({n}) must match the size of tensor b ({m}) at non-singleton "
                f"dimension {max(len(shape), len(given)) - place}"
            )
    broadcast_shape = list(np.broadcast_shapes(shape, given))
    return RuntimeError(
        f"output with shape {list(shape)} doesn't match the broadcast shape {broadcast_shape}"
    )
