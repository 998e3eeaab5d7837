"""RMSprop: steps of gradients over the root of their running mean square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jitgrad.eager.tensor import Tensor
from jitgrad.ops.elementwise import sqrt
from jitgrad.optim.optimizer import (
    Group,
    Optimizer,
    blank,
    check_rate,
    counted,
    hints,
    no_steps,
    not_negative,
)
from jitgrad.optim.sgd import directed
from jitgrad.optim.updates import update


def _scale(
    square: Any, *rest: Any, maximize: bool, decays: bool, centered: bool, moving: bool
) -> tuple[Any, ...]:
    """The rule; `rest` is the mean if centred, the velocity if moving, parameter, gradient, numbers."""
    states, (x, g, decay, alpha, new, rate, eps, momentum) = list(rest[:-8]), rest[-8:]
    g = directed(x, g, decay, maximize, decays)
    square = alpha * square + new * g * g
    means: tuple[Any, ...] = (states[0] + new * (g - states[0]),) if centered else ()
    quotient = g / (sqrt(square - means[0] * means[0] if centered else square) + eps)
    velocities: tuple[Any, ...] = (momentum * states[-1] + quotient,) if moving else ()
    return square, *means, *velocities, x - rate * (velocities[0] if moving else quotient)


class RMSprop(Optimizer):
    """Make an optimiser that divides gradients by the root of the running mean of their squares.

    `centered` takes the variance in place of the mean square; `momentum` sums the quotients.

    >>> import jitgrad
    >>> x = jitgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = jitgrad.optim.RMSprop([x], lr=0.05)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([0.5000, 1.5000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        not_negative(eps, "epsilon value")
        not_negative(momentum, "momentum value")
        not_negative(weight_decay, "weight_decay value")
        not_negative(alpha, "alpha value")
        chosen = {"capturable": capturable, "foreach": foreach, "differentiable": differentiable}
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
            **hints(chosen, *chosen),
        }
        super().__init__(params, defaults)

    def _advance(self, param: Tensor, group: Group) -> None:
        state, momentum, centered = self.state[param], float(group["momentum"]), group["centered"]
        names = ["square_avg", *["grad_avg"] * centered, *["momentum_buffer"] * (momentum > 0)]
        if not state:
            state |= {"step": no_steps(), **{name: blank(param) for name in names}}
        counted(state)
        decay, alpha = float(group["weight_decay"]), float(group["alpha"])
        numbers = decay, alpha, 1 - alpha, float(group["lr"]), group["eps"], momentum
        options = {"maximize": group["maximize"], "decays": decay != 0, "centered": centered}
        update(_scale, param, [state[name] for name in names], numbers, **options, moving=momentum > 0)
