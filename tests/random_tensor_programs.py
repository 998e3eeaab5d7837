"""Random programs of views, in-place writes and arithmetic, for any library with PyTorch's interface."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

VIEWS = {
    "row": lambda x, k: x[k % x.shape[0]] if x.dim() and x.shape[0] else x,
    "rows": lambda x, k: x[k % 2 :] if x.dim() else x,
    "every": lambda x, k: x[..., ::2] if x.dim() else x,
    "transpose": lambda x, k: x.transpose(0, -1) if x.dim() else x,
    "flat": lambda x, k: x.reshape(-1),
    "axis": lambda x, k: x.unsqueeze(k % (x.dim() + 1)),
    "narrow": lambda x, k: x.narrow(-1, 0, max(x.shape[-1] - 1, 1)) if x.dim() and x.shape[-1] else x,
    "detached": lambda x, k: x.detach(),
    "squeezed": lambda x, k: x.squeeze(),
    "wide": lambda x, k: x.expand(2, *x.shape),
}
WRITES = {
    "add_": lambda x, y: x.add_(y),
    "mul_": lambda x, y: x.mul_(y),
    "sub_scalar": lambda x, y: x.sub_(0.5),
    "sin_": lambda x, y: x.sin_(),
    "tanh_": lambda x, y: x.tanh_(),
    "zero_": lambda x, y: x.zero_(),
    "copy_": lambda x, y: x.copy_(y),
    "fill_": lambda x, y: x.fill_(0.25),
    "item": lambda x, y: x.__setitem__(0, y.sum()) if x.dim() and x.shape[0] else x.add_(1),
    "masked": lambda x, y: x.__setitem__(x > 0.3, 0.1),
    "gathered": lambda x, y: x.__setitem__([0], y.mean()) if x.dim() and x.shape[0] else x.add_(1),
    "transpose_": lambda x, y: x.transpose_(0, -1) if x.dim() else x,
    "squeeze_": lambda x, y: x.squeeze_(),
    "unsqueeze_": lambda x, y: x.unsqueeze_(-1),
}
VALUES = {
    "product": lambda x, y: x * y,
    "sum": lambda x, y: x + 2 * y,
    "sin": lambda x, y: x.sin(),
    "square": lambda x, y: x**2,
    "clone": lambda x, y: x.clone(),
    "tanh": lambda x, y: x.tanh(),
    "difference": lambda x, y: x - y.mean(),
}


@dataclass
class Program:
    """Steps, each a kind with a name and the numbers of its operands among the values so far."""

    seed: int
    steps: list[tuple[str, str, int, int, int]] = field(default_factory=list)

    @staticmethod
    def draw(seed: int, length: int = 9) -> Program:
        rng = random.Random(seed)
        program, count = Program(seed), 3
        for _ in range(length):
            kind = rng.choice(["view", "view", "write", "write", "value"])
            name = rng.choice(list({"view": VIEWS, "write": WRITES, "value": VALUES}[kind]))
            x, y = rng.randrange(count), rng.randrange(count)
            program.steps.append((kind, name, x, y, rng.randrange(4)))
            count += kind != "write"
        return program

    @property
    def is_smooth(self) -> bool:
        """Whether differences of values tell the gradients."""
        return not any(name in ("detached", "masked") for _, name, *_ in self.steps)

    def leaves(self, library: Any) -> list[Any]:
        rng = np.random.default_rng(self.seed)
        return [
            library.tensor(rng.uniform(-1, 1, (2, 3)).tolist(), dtype=library.float64, requires_grad=flag)
            for flag in (True, True, False)
        ]

    def values(self, leaves: list[Any]) -> list[Any]:
        """All tensors that the program makes."""
        values = [leaves[0] * 1, leaves[1] * 2, leaves[2]]
        for kind, name, x, y, k in self.steps:
            _step(values, kind, name, x, y, k)
        return values

    def run(self, library: Any) -> Result:
        leaves = self.leaves(library)
        try:
            values = self.values(leaves)
            shown = [v.detach().numpy().copy() for v in values]
            flags = [v.requires_grad for v in values]
            total(v for v in values if v.requires_grad).backward()
        except RuntimeError as error:
            return Result(error=str(error))
        return Result(shown, flags, [None if x.grad is None else x.grad.numpy() for x in leaves])


@dataclass
class Result:
    """What a user sees of a program: values, requires_grad, gradients of the leaves; or an error."""

    values: list[Any] = field(default_factory=list)
    flags: list[bool] = field(default_factory=list)
    gradients: list[Any] = field(default_factory=list)
    error: str = ""


def total(values: Any) -> Any:
    return sum((v * (i + 1)).sum() for i, v in enumerate(values))


def _step(values: list[Any], kind: str, name: str, x: int, y: int, k: int) -> None:
    if kind == "view":
        values.append(VIEWS[name](values[x], k))
        return
    operand = values[y] if values[y].shape == values[x].shape else values[y].sum()
    if kind == "value":
        values.append(VALUES[name](values[x], operand))
    else:
        WRITES[name](values[x], operand)
