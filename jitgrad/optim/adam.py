"""Adam: steps of the gradients' running mean over the root of their running mean square."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from jitgrad.eager.tensor import Tensor
from jitgrad.ops.elementwise import maximum, sqrt
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


def _adapt(
    mean: Any, square: Any, *rest: Any, maximize: bool, decays: bool, decoupled: bool, amsgrad: bool
) -> tuple[Any, ...]:
    """The rule; `rest` is the largest mean square, with `amsgrad`, then parameter, gradient, numbers."""
    largest, (x, g, decay, new, kept, squared, rate, correction, eps) = rest[:-9], rest[-9:]
    if decoupled and decays:
        x = x * decay
    g = directed(x, g, decay, maximize, decays and not decoupled)
    mean = mean + new * (g - mean)
    square = kept * square + squared * g * g
    largest = tuple(maximum(before, square) for before in largest)
    width = sqrt(largest[0] if amsgrad else square) / correction + eps
    return mean, square, *largest, x - rate * mean / width


class Adam(Optimizer):
    """Make an optimiser that divides the running mean of gradients by the root of that of their squares.

    Both means start at zero, which is corrected for. `weight_decay` adds its product with the weights to the
    gradient, or takes it off the weights where it is decoupled; `amsgrad` divides by the largest mean so far.
    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015.

    >>> import jitgrad
    >>> x = jitgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = jitgrad.optim.Adam([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([0.5000, 1.5000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        **implementation: Any,
    ) -> None:
        check_rate(lr)
        not_negative(eps, "epsilon value")
        for place, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {place}: {beta}")
        not_negative(weight_decay, "weight_decay value")
        defaults = {
            "lr": lr,
            "betas": tuple(map(float, betas)),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            **hints(implementation, "foreach", "capturable", "differentiable", "fused"),
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _advance(self, param: Tensor, group: Group) -> None:
        state, amsgrad = self.state[param], group["amsgrad"]
        names = ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if amsgrad else ()))
        if not state:
            state |= {"step": no_steps(), **{name: blank(param) for name in names}}
        step, lr, decay = counted(state), float(group["lr"]), float(group["weight_decay"])
        beta, beta_of_squares = group["betas"]
        decoupled = group["decoupled_weight_decay"]
        numbers = (
            1 - lr * decay if decoupled else decay,
            1 - beta,
            beta_of_squares,
            1 - beta_of_squares,
            lr / (1 - beta**step),
            math.sqrt(1 - beta_of_squares**step),
            group["eps"],
        )
        options = {"maximize": group["maximize"], "decays": decay != 0, "decoupled": decoupled}
        update(_adapt, param, [state[name] for name in names], numbers, **options, amsgrad=amsgrad)


class AdamW(Adam):
    """Make an Adam that takes `weight_decay` off the weights instead of adding it to their gradients.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **implementation: Any,
    ) -> None:
        options = {"maximize": maximize, "decoupled_weight_decay": True, **implementation}
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **options)
