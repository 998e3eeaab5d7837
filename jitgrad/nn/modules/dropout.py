"""Layers that set numbers to zero at random in training."""

from __future__ import annotations

from typing import Any

from jitgrad.eager.tensor import Tensor
from jitgrad.nn import dropout as functional
from jitgrad.nn.modules.module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


class _Dropout(Module):
    """The options of a dropout; ValueError unless p lies between 0 and 1."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Return the input with numbers set to zero with probability p, the others over 1 - p.

    >>> import jitgrad
    >>> jitgrad.nn.Dropout().eval()(jitgrad.ones(2))
    tensor([1., 1.])
    """

    def forward(self, input: Any) -> Tensor:
        return functional.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Return the input with whole channels of vectors set to zero."""

    def forward(self, input: Any) -> Tensor:
        return functional.dropout1d(input, self.p, self.training, self.inplace)  # type: ignore[no-any-return]


class Dropout2d(_Dropout):
    """Return the input with whole channels of images set to zero."""

    def forward(self, input: Any) -> Tensor:
        return functional.dropout2d(input, self.p, self.training, self.inplace)  # type: ignore[no-any-return]


class Dropout3d(_Dropout):
    """Return the input with whole channels of volumes set to zero."""

    def forward(self, input: Any) -> Tensor:
        return functional.dropout3d(input, self.p, self.training, self.inplace)  # type: ignore[no-any-return]


class AlphaDropout(_Dropout):
    """Return the input with numbers set to the lower end of selu, mean and variance kept."""

    def forward(self, input: Any) -> Tensor:
        return functional.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    """Return `AlphaDropout` of whole channels."""

    def forward(self, input: Any) -> Tensor:
        return functional.feature_alpha_dropout(input, self.p, self.training)
