"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from jitgrad.eager.functions.joining import cat
from jitgrad.eager.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return the numbers of all parameters, one after the other.

    >>> import jitgrad
    >>> jitgrad.nn.utils.parameters_to_vector([jitgrad.ones(1, 2), jitgrad.zeros(1)])
    tensor([1., 1., 0.])
    """
    return cat([p.view(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Make the parts of a vector the values of parameters."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec)}")
    start = 0
    for p in parameters:
        size = p.numel()
        p.data = vec[start : start + size].view_as(p).data
        start += size
