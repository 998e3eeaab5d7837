"""The old name of tensors: `Variable(tensor, requires_grad)` is a tensor on the same memory."""

from __future__ import annotations

from abc import ABC
from typing import Any

from jitgrad.eager.tensor import Tensor

__all__ = ["Variable"]


class Variable(ABC):  # noqa: B024  (tensors are registered as its instances)
    """Make a tensor on the memory of another, without its history; every tensor is an instance.

    >>> import jitgrad
    >>> jitgrad.autograd.Variable(jitgrad.ones(2), requires_grad=True)
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Tensor, requires_grad: bool = False) -> Any:
        return data.detach().requires_grad_(requires_grad)


Variable.register(Tensor)
