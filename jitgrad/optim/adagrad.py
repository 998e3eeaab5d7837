"""Adagrad: steps of gradients over the root of the sum of all their squares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from jitgrad.eager.tensor import Tensor, wrap
from jitgrad.ops.elementwise import sqrt
from jitgrad.optim.optimizer import Group, Optimizer, check_rate, counted, hints, no_steps, not_negative
from jitgrad.optim.sgd import directed
from jitgrad.optim.updates import update


def _sum_up(
    total: Any, x: Any, g: Any, rate: Any, decay: Any, eps: Any, *, maximize: bool, decays: bool
) -> tuple[Any, Any]:
    g = directed(x, g, decay, maximize, decays)
    total = total + g * g
    return total, x - rate * g / (sqrt(total) + eps)


class Adagrad(Optimizer):
    """Make an optimiser that divides gradients by the root of the sum of their squares.

    The rate of step t is lr / (1 + (t - 1) lr_decay).
    Source: Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning, 2011.

    >>> import jitgrad
    >>> x = jitgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = jitgrad.optim.Adagrad([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([0.5000, 1.5000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        **implementation: Any,
    ) -> None:
        check_rate(lr)
        not_negative(lr_decay, "lr_decay value")
        not_negative(weight_decay, "weight_decay value")
        not_negative(initial_accumulator_value, "initial_accumulator_value value")
        not_negative(eps, "epsilon value")
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
            **hints(implementation | {"foreach": foreach}, "foreach", "differentiable", "fused"),
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                total = np.full_like(param._array, group["initial_accumulator_value"])
                self.state[param] = {"step": no_steps(), "sum": wrap(total)}

    def _advance(self, param: Tensor, group: Group) -> None:
        state = self.state[param]
        rate = float(group["lr"]) / (1 + (counted(state) - 1) * group["lr_decay"])
        decay = float(group["weight_decay"])
        options = {"maximize": group["maximize"], "decays": decay != 0}
        update(_sum_up, param, (state["sum"],), (rate, decay, group["eps"]), **options)
