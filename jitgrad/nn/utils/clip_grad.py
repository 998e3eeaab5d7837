"""Limits on the gradients of parameters, together or number by number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jitgrad.eager.functions.creation import tensor
from jitgrad.eager.functions.joining import stack
from jitgrad.eager.functions.linalg import vector_norm
from jitgrad.eager.modes import no_grad
from jitgrad.eager.tensor import Tensor

Parameters = Tensor | Iterable[Tensor]


def _gradients(parameters: Parameters) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in given if p.grad is not None]


def get_total_norm(
    tensors: Parameters, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: Any = None
) -> Tensor:
    """Return the norm of all numbers of tensors; RuntimeError if it is to be finite and is not."""
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not given:
        return tensor(0.0)
    p = float(norm_type)
    total: Tensor = vector_norm(stack([vector_norm(t, p) for t in given]), p)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {p} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def clip_grad_norm_(
    parameters: Parameters,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: Any = None,
) -> Tensor:
    """Scale the gradients of parameters so that their norm is at most `max_norm`; return what it was.

    >>> import jitgrad
    >>> p = jitgrad.ones(2, requires_grad=True)
    >>> (p * jitgrad.tensor([3.0, 4.0])).sum().backward()
    >>> jitgrad.nn.utils.clip_grad_norm_(p, 1.0), p.grad
    (tensor(5.), tensor([0.6000, 0.8000]))
    """
    grads = _gradients(parameters)
    with no_grad():
        total = get_total_norm(grads, norm_type, error_if_nonfinite)
        scale = ((total + 1e-6).reciprocal() * float(max_norm)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(scale)
    return total


def clip_grad_value_(parameters: Parameters, clip_value: float, foreach: Any = None) -> None:
    """Hold each number of the gradients of parameters between -clip_value and clip_value."""
    with no_grad():
        for grad in _gradients(parameters):
            grad.clamp_(-float(clip_value), float(clip_value))
