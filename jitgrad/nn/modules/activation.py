"""Layers that apply a function to each number, or that turn numbers into probabilities."""

from __future__ import annotations

from typing import Any

from jitgrad.eager.functions.creation import full
from jitgrad.eager.tensor import Tensor
from jitgrad.nn import activations as functional
from jitgrad.nn import softmax
from jitgrad.nn.modules.module import Module
from jitgrad.nn.parameter import Parameter

__all__ = [
    *("CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU"),
    *("LogSigmoid", "LogSoftmax", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid"),
    *("Softmax", "Softmax2d", "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink"),
    "Threshold",
]


def _listed(module: Any, *names: str) -> str:
    """The options of a module as its text has them; `inplace` only where it is set."""
    shown = [f"{name}={getattr(module, name)}" for name in names if name != "inplace" or module.inplace]
    return ", ".join(shown)


# Without options ------------------------------------------------------------------------------------------


class Sigmoid(Module):
    """Return 1 / (1 + exp(-input))."""

    def forward(self, input: Any) -> Tensor:
        return functional.sigmoid(input)


class Tanh(Module):
    """Return the hyperbolic tangent."""

    def forward(self, input: Any) -> Tensor:
        return functional.tanh(input)


class Softsign(Module):
    """Return input / (1 + abs(input))."""

    def forward(self, input: Any) -> Tensor:
        return functional.softsign(input)


class Tanhshrink(Module):
    """Return input - tanh(input)."""

    def forward(self, input: Any) -> Tensor:
        return functional.tanhshrink(input)


class LogSigmoid(Module):
    """Return log(sigmoid(input)), without overflow."""

    def forward(self, input: Any) -> Tensor:
        return functional.logsigmoid(input)


# In place or not ------------------------------------------------------------------------------------------


class _InPlace(Module):
    """A module that may write its result into its input."""

    inplace: bool

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return _listed(self, "inplace")


class ReLU(_InPlace):
    """Return max(input, 0).

    >>> import jitgrad
    >>> jitgrad.nn.ReLU()(jitgrad.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Any) -> Tensor:
        return functional.relu(input, self.inplace)


class ReLU6(_InPlace):
    """Return min(max(input, 0), 6)."""

    def forward(self, input: Any) -> Tensor:
        return functional.relu6(input, self.inplace)


class SiLU(_InPlace):
    """Return input * sigmoid(input)."""

    def forward(self, input: Any) -> Tensor:
        return functional.silu(input, self.inplace)


class SELU(_InPlace):
    """Return the elu that keeps mean 0 and variance 1 from layer to layer."""

    def forward(self, input: Any) -> Tensor:
        return functional.selu(input, self.inplace)


class Mish(_InPlace):
    """Return input * tanh(softplus(input))."""

    def forward(self, input: Any) -> Tensor:
        return functional.mish(input, self.inplace)


class Hardswish(_InPlace):
    """Return input * hardsigmoid(input)."""

    def forward(self, input: Any) -> Tensor:
        return functional.hardswish(input, self.inplace)

    def extra_repr(self) -> str:
        return ""


class Hardsigmoid(_InPlace):
    """Return (input + 3) / 6 held between 0 and 1."""

    def forward(self, input: Any) -> Tensor:
        return functional.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        return ""


# With options ---------------------------------------------------------------------------------------------


class LeakyReLU(Module):
    """Return the input, times a slope where it is negative."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        return functional.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return _listed(self, "negative_slope", "inplace")


class ELU(Module):
    """Return the input where it is positive, alpha * expm1(input) elsewhere."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        return functional.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return _listed(self, "alpha", "inplace")


class CELU(Module):
    """Return the input where it is positive, alpha * expm1(input / alpha) elsewhere."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        return functional.celu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return _listed(self, "alpha", "inplace")


class Softplus(Module):
    """Return log(1 + exp(beta * input)) / beta; the input itself above the threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Any) -> Tensor:
        return functional.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return _listed(self, "beta", "threshold")


class Softshrink(Module):
    """Return the input moved by lambd towards 0."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Tensor:
        return functional.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Hardshrink(Module):
    """Return the input, 0 where it is at most lambd in size."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Tensor:
        return functional.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class GLU(Module):
    """Return the first half along a dimension times the sigmoid of the second."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        return functional.glu(input, self.dim)

    def extra_repr(self) -> str:
        return _listed(self, "dim")


class Threshold(Module):
    """Return the input, and `value` where it is not above the threshold."""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        return functional.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return _listed(self, "threshold", "value", "inplace")


class GELU(Module):
    """Return input * Phi(input), Phi the normal distribution; "tanh" approximates it."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Any) -> Tensor:
        return functional.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Hardtanh(Module):
    """Return the input held between two numbers."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace
        if max_val <= min_val:
            raise AssertionError(f"max_val ({max_val}) must be greater than min_val ({min_val})")

    def forward(self, input: Any) -> Tensor:
        return functional.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return _listed(self, "min_val", "max_val", "inplace")


class RReLU(Module):
    """Return the input, times a random slope where it is negative; their mean in evaluation."""

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        return functional.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return _listed(self, "lower", "upper", "inplace")


class PReLU(Module):
    """Return the input, times a learnt slope where it is negative: one for all, or one for each channel."""

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(full((num_parameters,), float(init), device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set the slopes to their first value again."""
        self.weight.data.fill_(self.init)

    def forward(self, input: Any) -> Tensor:
        return functional.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return _listed(self, "num_parameters")


# Probabilities --------------------------------------------------------------------------------------------


class _Along(Module):
    """A module that works along one dimension."""

    dim: int | None

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        return _listed(self, "dim")


class Softmax(_Along):
    """Return exp(input) over its sum along a dimension."""

    def forward(self, input: Any) -> Tensor:
        return softmax.softmax(input, self.dim, _stacklevel=5)


class LogSoftmax(_Along):
    """Return the logarithm of softmax along a dimension."""

    def forward(self, input: Any) -> Tensor:
        return softmax.log_softmax(input, self.dim, _stacklevel=5)


class Softmin(_Along):
    """Return softmax(-input) along a dimension."""

    def forward(self, input: Any) -> Tensor:
        return softmax.softmin(input, self.dim, _stacklevel=5)


class Softmax2d(Module):
    """Return softmax over the channels at each place of images."""

    def forward(self, input: Any) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return softmax.softmax(input, -3)
