"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jitgrad.eager.tensor import Tensor
from jitgrad.optim.optimizer import Group, Optimizer, blank, check_rate, hints, not_negative
from jitgrad.optim.updates import update


def _descend(x: Any, g: Any, rate: Any, decay: Any, *, maximize: bool, decays: bool) -> tuple[Any]:
    return (x - rate * directed(x, g, decay, maximize, decays),)


def directed(x: Any, g: Any, decay: Any, maximize: bool, decays: bool) -> Any:
    """The gradient of what is minimised, with that of the squared weights."""
    g = -g if maximize else g
    return g + decay * x if decays else g


def _descend_with_momentum(
    velocity: Any,
    x: Any,
    g: Any,
    rate: Any,
    decay: Any,
    momentum: Any,
    weight: Any,
    *,
    maximize: bool,
    decays: bool,
    nesterov: bool,
) -> tuple[Any, ...]:
    g = directed(x, g, decay, maximize, decays)
    velocity = momentum * velocity + weight * g
    return velocity, x - rate * (g + momentum * velocity if nesterov else velocity)


class SGD(Optimizer):
    """Make an optimiser that walks against the gradient, or against its running sum.

    v <- momentum v + (1 - dampening) g, of which the first g counts in full; x <- x - lr v. With `nesterov`
    x <- x - lr (g + momentum v).

    >>> import jitgrad
    >>> x = jitgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = jitgrad.optim.SGD([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([0., 0.], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **implementation: Any,
    ) -> None:
        check_rate(lr)
        not_negative(momentum, "momentum value")
        not_negative(weight_decay, "weight_decay value")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            **hints(implementation, "foreach", "differentiable", "fused"),
        }
        super().__init__(params, defaults)

    def _advance(self, param: Tensor, group: Group) -> None:
        decay, momentum = float(group["weight_decay"]), float(group["momentum"])
        numbers = float(group["lr"]), decay
        options = {"maximize": group["maximize"], "decays": decay != 0}
        if not momentum:
            update(_descend, param, (), numbers, **options)
            return
        state, weight = self.state[param], 1.0 - group["dampening"]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"], weight = blank(param), 1.0
        velocity = (state["momentum_buffer"],)
        options["nesterov"] = group["nesterov"]
        update(_descend_with_momentum, param, velocity, (*numbers, momentum, weight), **options)
