"""Parameters: tensors that a module lists as its own when they become its attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.functions.serialization import saved_as_parameter
from jitgrad.eager.tensor import Tensor, must_be_floating, version_of


class Parameter(Tensor):
    """Make a leaf on the memory of a tensor, which a module counts among its parameters.

    RuntimeError if it is to require gradients and is not of floating point.

    >>> import jitgrad
    >>> jitgrad.nn.Parameter(jitgrad.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Any:
        out = object.__new__(cls)
        if data is None:
            out._array = np.empty(0, dtypes.DEFAULT.floating.numpy)
        else:
            out._array = data._array
            out._version_box = version_of(data)
        if requires_grad:
            must_be_floating(out._array.dtype)
            out._requires = True
        return out

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Parameter containing:\n{super().__repr__()}"


saved_as_parameter(Parameter)
