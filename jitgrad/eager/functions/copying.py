"""Copies of tensors by Python's `copy` and `pickle`: memory that tensors share stays shared."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from jitgrad.eager.functions.memory import UntypedStorage, offset_of, storage_of, strides_of
from jitgrad.eager.tensor import Tensor

_OWN = frozenset(Tensor.__annotations__)


def attributes_of(t: Tensor) -> dict[str, Any]:
    """What the user has added to a tensor."""
    return {name: value for name, value in t.__dict__.items() if name not in _OWN}


def add_attributes(t: Tensor, added: dict[str, Any]) -> None:
    """Add to a tensor what another had: never what the tensor itself consists of."""
    t.__dict__.update({name: value for name, value in added.items() if name not in _OWN})


def rebuilt(
    kind: type[Tensor],
    storage: UntypedStorage,
    dtype: np.dtype[Any],
    place: tuple[int, tuple[int, ...], tuple[int, ...]],
    requires_grad: bool,
) -> Tensor:
    """A leaf on a memory, at a place: offset in bytes, shape, and strides in elements."""
    out: Tensor = object.__new__(kind)
    out._array = storage.array(dtype, *place)
    if requires_grad:
        out._requires = True
    return out


def place_of(t: Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    array = t._array
    return offset_of(array), array.shape, strides_of(array)


def _reduced(self: Tensor, protocol: Any) -> tuple[Any, ...]:
    storage, dtype = storage_of(self._array), self._array.dtype
    made = rebuilt, (type(self), storage, dtype, place_of(self), self.requires_grad)
    added = attributes_of(self)
    return (*made, added) if added else made


def _deep_copy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if id(self) in memo:
        return memo[id(self)]  # type: ignore[no-any-return]
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
            "moment.  If you were attempting to deepcopy a module, this may be because of a "
            "torch.nn.utils.weight_norm usage, see https://github.com/pytorch/pytorch/pull/103001"
        )
    storage = copy.deepcopy(storage_of(self._array), memo)
    out = rebuilt(type(self), storage, self._array.dtype, place_of(self), self.requires_grad)
    memo[id(self)] = out
    if self._grad is not None:
        out._grad = copy.deepcopy(self._grad, memo)
    add_attributes(out, copy.deepcopy(attributes_of(self), memo))
    return out


Tensor.__deepcopy__ = _deep_copy  # type: ignore[attr-defined]
Tensor.__reduce_ex__ = _reduced  # type: ignore[assignment, method-assign]
