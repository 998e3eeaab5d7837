"""PyTorch and a library that offers its names, seen alike: names looked up, arguments converted."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

torch.set_num_threads(1)  # the tests already run in several processes


class NotOffered(Exception):
    """The library has no such dtype, layout or name, so the call cannot be made."""


@dataclass(frozen=True)
class Library:
    """A module that offers PyTorch's names; `tensor` copies a torch.Tensor into it, strides included."""

    module: Any
    tensor: Callable[[Library, torch.Tensor], Any]

    @property
    def name(self) -> str:
        return str(self.module.__name__)

    def find(self, dotted: str) -> Any:
        """What the module offers under a dotted name, or None."""
        found = self.module
        for part in dotted.split("."):
            found = getattr(found, part, None)
        return found

    def need(self, dotted: str) -> Any:
        """What the module offers under a dotted name, or NotOffered."""
        found = self.find(dotted)
        if found is None:
            raise NotOffered(f"no {dotted}")
        return found

    def convert(self, value: Any) -> Any:
        """The argument as this library takes it; containers keep their type."""
        match value:
            case torch.Tensor():
                return self._tensor(value)
            case torch.Size():
                return self.need("Size")(value)
            case tuple() | list():
                return type(value)(map(self.convert, value))
            case dict():
                return {key: self.convert(item) for key, item in value.items()}
            case slice():
                return slice(*map(self.convert, (value.start, value.stop, value.step)))
            case torch.dtype() | torch.memory_format() | torch.layout():
                return self.need(str(value).removeprefix("torch."))
            case torch.device():
                return self.need("device")(str(value))
        return self._function(value)

    def _tensor(self, value: torch.Tensor) -> Any:
        if value.layout != torch.strided:
            raise NotOffered("sparse layouts")
        if value.device.type != "cpu":
            raise NotOffered(f"tensors on the {value.device.type} device")
        if value.ndim > 64:
            raise NotOffered("more than 64 dimensions in NumPy")
        self.need(str(value.dtype).removeprefix("torch."))
        return self.tensor(self, value.resolve_neg())

    def _function(self, value: Any) -> Any:
        """A plain Python function passes; one of torch's own is looked up; the rest is torch's alone."""
        module = getattr(value, "__module__", None) or ""
        if self.module is torch or not (callable(value) and module.split(".")[0] == "torch"):
            return value
        if isinstance(value, types.FunctionType) and "testing._internal" in module:
            return value
        raise NotOffered("functions and modules of torch as arguments")


def _span(value: torch.Tensor) -> int:
    """The number of elements from the first to the last one that the tensor reaches."""
    return 1 + sum((n - 1) * stride for n, stride in zip(value.shape, value.stride(), strict=True))


def _torch_copy(_: Library, value: torch.Tensor) -> torch.Tensor:
    flat = value.detach()
    if value.numel():
        copy = flat.as_strided((_span(value),), (1,)).clone().as_strided(value.shape, value.stride())
    else:
        copy = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype)
    return copy.requires_grad_(value.requires_grad)


def through_numpy(library: Library, value: torch.Tensor) -> Any:
    """A tensor of the library with equal values, dtype, strides and requires_grad, made by from_numpy."""
    if value.dtype == torch.bfloat16:
        raise NotOffered("bfloat16 in NumPy")
    array = value.detach().resolve_conj().numpy()
    if value.numel():
        flat = np.lib.stride_tricks.as_strided(array, (_span(value),), (array.itemsize,)).copy()
        array = np.lib.stride_tricks.as_strided(flat, array.shape, array.strides)
    tensor = library.module.from_numpy(array)
    return tensor.requires_grad_() if value.requires_grad else tensor


ORACLE = Library(torch, _torch_copy)


def subject(module: Any) -> Library:
    """A library to compare with PyTorch."""
    return Library(module, through_numpy)
