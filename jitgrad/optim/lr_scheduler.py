"""Schedules of learning rates: how they change from epoch to epoch."""

from __future__ import annotations

import math
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jitgrad.optim.optimizer import Optimizer

_TOO_EARLY = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in the opposite order: "
    "`optimizer.step()` before `lr_scheduler.step()`. Otherwise the first value of the learning rate "
    "schedule is skipped."
)


def _rates(optimizer: Optimizer) -> list[Any]:
    return [group["lr"] for group in optimizer.param_groups]


def _checked(optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
    return optimizer


class LRScheduler:
    """Base of the schedules that give each epoch a learning rate; a subclass gives `get_lr`.

    `last_epoch` other than -1 resumes a schedule whose optimiser's state has been loaded.
    """

    _resting = "optimizer", "_starting"  # what is not part of the state

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = _checked(optimizer)
        for place, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{place}] when resuming scheduler "
                    "with last_epoch >= 0. Load the optimizer's state first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._starting = True
        self._set()
        self._starting = False

    def _set(self) -> None:
        self._step_count += 1
        self.last_epoch += 1
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        self._last_lr = _rates(self.optimizer)

    def get_lr(self) -> list[Any]:
        """Return the rates of this epoch, from those of the last."""
        raise NotImplementedError

    def _scaled(self, factor: float) -> list[Any]:
        """The rates of the last epoch times a factor, which does not count at the start."""
        rates = _rates(self.optimizer)
        return rates if self._starting or factor == 1 else [rate * factor for rate in rates]

    def step(self) -> None:
        """Go on to the next epoch: set the optimiser's learning rates."""
        overridden = type(self.optimizer).step is not Optimizer.step
        if self._step_count == 1 and not self.optimizer._stepped and not overridden:
            warnings.warn(_TOO_EARLY, UserWarning, stacklevel=2)
        self._set()

    def get_last_lr(self) -> list[Any]:
        """Return the rates that were last set, one for each group."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimiser."""
        return {name: value for name, value in self.__dict__.items() if name not in self._resting}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, here or in PyTorch."""
        self.__dict__.update(state_dict)


class StepLR(LRScheduler):
    """Multiply the rates by `gamma` every `step_size` epochs.

    >>> import jitgrad
    >>> optimizer = jitgrad.optim.SGD([jitgrad.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = jitgrad.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for epoch in range(4):
    ...     optimizer.step()
    ...     schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        return self._scaled(1 if self.last_epoch % self.step_size else self.gamma)


class MultiStepLR(LRScheduler):
    """Multiply the rates by `gamma` at each of some epochs, the milestones."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        return self._scaled(self.gamma ** self.milestones[self.last_epoch])


class ExponentialLR(LRScheduler):
    """Multiply the rates by `gamma` every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        return self._scaled(self.gamma)


class CosineAnnealingLR(LRScheduler):
    """Let the rates fall to `eta_min` in `T_max` epochs along a cosine, and rise again in as many.

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        rates = _rates(self.optimizer)
        if self._starting:
            return rates
        now, before = (1 + math.cos(math.pi * e / self.T_max) for e in (self.last_epoch, self.last_epoch - 1))
        low = self.eta_min
        if (self.last_epoch - 1) % (2 * self.T_max) == self.T_max:  # the cosine was at its lowest
            return [r + (base - low) * now / 2 for r, base in zip(rates, self.base_lrs, strict=True)]
        return [now / before * (rate - low) + low for rate in rates]


Factor = Callable[[int], float]


class LambdaLR(LRScheduler):
    """Multiply the first rates by a function of the epoch, one for all groups or a list of one for each."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1
    ) -> None:
        count = len(_checked(optimizer).param_groups)
        given = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * count
        if len(given) != count:
            raise ValueError(f"Expected {count} lr_lambdas, but got {len(given)}")
        self.lr_lambdas: list[Any] = given
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [base * factor(self.last_epoch) for base, factor in pairs]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimiser and the functions; of callable objects their attributes."""
        kept = [None if isinstance(f, types.FunctionType) else f.__dict__.copy() for f in self.lr_lambdas]
        return super().state_dict() | {"lr_lambdas": kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, with the own functions."""
        for own, kept in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if kept is not None:
                own.__dict__.update(kept)
        super().load_state_dict(state_dict | {"lr_lambdas": self.lr_lambdas})


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rates by `factor` when a measure has not become better for more than `patience` epochs.

    Better is lower by `threshold`, relative or absolute, or higher with mode="max". After a reduction
    `cooldown` epochs do not count.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ValueError("Factor should be < 1.0.")
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown!")
        self.optimizer = _checked(optimizer)
        count = len(optimizer.param_groups)
        lowest = list(min_lr) if isinstance(min_lr, Sequence) else [min_lr] * count
        if len(lowest) != count:
            raise ValueError(f"expected {count} min_lrs, got {len(lowest)}")
        self.factor, self.patience, self.cooldown, self.eps = factor, patience, cooldown, eps
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode
        self.min_lrs = lowest
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = self.num_bad_epochs = 0
        self._last_lr = _rates(optimizer)

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Go on to the next epoch, given the measure of the last."""
        current = float(metrics)
        self.last_epoch += 1
        better = self._is_better(current)
        if better:
            self.best = current
        self.num_bad_epochs = 0 if better or self.cooldown_counter else self.num_bad_epochs + 1
        self.cooldown_counter = max(0, self.cooldown_counter - 1)
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = _rates(self.optimizer)

    def _is_better(self, value: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            return sign * value > sign * self.best * (1 + sign * self.threshold)
        return sign * value > sign * self.best + self.threshold

    def _reduce(self) -> None:
        for group, low in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            before = float(group["lr"])
            after = max(before * self.factor, low)
            if before - after > self.eps:
                group["lr"] = after
