"""Records of operations that have no derivative: they show on the tape, and refuse to be passed backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitgrad.eager.dispatch import edges_of
from jitgrad.eager.dtypes import Array
from jitgrad.eager.tape import Record, named
from jitgrad.eager.tensor import Tensor, wrap


class Underivable(Record):
    """An operation whose gradient is not known."""

    _error: Exception

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        raise self._error

    def backward_recorded(self, grads: list[Any]) -> Sequence[Any]:
        raise self._error


def underived(array: Array, operands: Sequence[Any], name: str, error: Exception) -> Tensor:
    """A tensor on an array that was computed from operands; a backward pass to them raises the error."""
    out = wrap(array)
    edges = edges_of(operands)
    if edges is not None and array.dtype.kind == "f":
        record: Any = named(Underivable, name)(edges, ((array.shape, array.dtype),))
        record._error = error
        out._edge = (record, 0)
    return out


def no_rule(name: str) -> RuntimeError:
    """What PyTorch raises where a function has no derivative at all."""
    return RuntimeError(f"derivative for aten::{name} is not implemented")


def no_formula(name: str) -> NotImplementedError:
    """What PyTorch raises where a function's derivative has not been written."""
    return NotImplementedError(f"the derivative for '{name}' is not implemented.")
