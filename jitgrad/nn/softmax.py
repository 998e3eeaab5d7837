"""Softmax and its kin: numbers along a dimension turned into probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.factory import dtype_argument
from jitgrad.eager.functions.operands import only_kinds
from jitgrad.eager.functions.random import default_generator
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node
from jitgrad.ops import activation
from jitgrad.ops.elementwise import equal, stop_gradient
from jitgrad.ops.reductions import spread
from jitgrad.ops.shape import shaped
from jitgrad.ops.structure import cast, reduce_axes
from jitgrad.ops.table import OPS

__all__ = ["gumbel_softmax", "log_softmax", "softmax", "softmin"]


def along(x: Node, function: Callable[..., Any], axis: int, dtype: Any = None) -> Any:
    """Softmax or log_softmax of nodes; a number alone is a row of one, and no numbers stay none."""
    x = x if dtype is None else cast(x, dtype=dtype)
    if 0 in x.shape:
        return x * 1
    return function(x, axis) if x.shape else shaped(function(shaped(x, (1,)), 0), ())


def _softmax(x: Node, axis: int, dtype: Any) -> Any:
    return along(x, activation.softmax, axis, dtype)


def _log_softmax(x: Node, axis: int, dtype: Any) -> Any:
    return along(x, activation.log_softmax, axis, dtype)


def _softmin(x: Node, axis: int, dtype: Any) -> Any:
    return _softmax(-x, axis, dtype)


def _implicit(name: str, ndim: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an "
        "argument.",
        stacklevel=4,
    )
    return 0 if ndim in (0, 1, 3) else 1


def _declared(name: str, function: Callable[..., Any], recorded: str, doc: str) -> Callable[..., Tensor]:
    def softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
        x = require_tensor(input, name)
        dim = _implicit(name, x.ndim) if dim is None else dim
        return probabilities(x, function, recorded, name, dim, dtype)

    softmax.__name__ = softmax.__qualname__ = name
    softmax.__doc__ = doc
    return softmax


def probabilities(
    x: Tensor, function: Callable[..., Any], recorded: str, name: str, dim: Any, dtype: Any
) -> Tensor:
    axis = dimension(dim, x.ndim)
    wanted = dtype_argument(dtype, name)
    only_kinds(f"{name}_lastdim_kernel_impl", "f", wanted or x._array.dtype)
    return apply_function(function, (x,), {"axis": axis, "dtype": wanted}, recorded)  # type: ignore[no-any-return]


softmax = _declared(
    "softmax",
    _softmax,
    "SoftmaxBackward0",
    """Return exp(input) over its sum along a dimension, computed in `dtype` if given.

    >>> import jitgrad
    >>> jitgrad.nn.functional.softmax(jitgrad.tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """,
)
log_softmax = _declared(
    "log_softmax",
    _log_softmax,
    "LogSoftmaxBackward0",
    "Return log(softmax(input)) along a dimension, computed without overflow.",
)
softmin = _declared("softmin", _softmin, "SoftmaxBackward0", "Return softmax(-input) along a dimension.")


def torch_softmax(name: str) -> Callable[..., Tensor]:
    """`torch.softmax` or `torch.log_softmax`, whose dimension has to be given."""
    function, recorded = {
        "softmax": (_softmax, "SoftmaxBackward0"),
        "log_softmax": (_log_softmax, "LogSoftmaxBackward0"),
    }[name]

    def declared(input: Any, dim: int, dtype: Any = None) -> Tensor:
        return probabilities(require_tensor(input, name), function, recorded, name, dim, dtype)

    declared.__name__ = declared.__qualname__ = name
    declared.__doc__ = (softmax if name == "softmax" else log_softmax).__doc__
    return declared


# Samples --------------------------------------------------------------------------------------------------


def gumbel_softmax(
    logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Return a random softmax whose largest element is distributed by the logits (Jang et al., 2016).

    With `hard` it is one-hot, with the derivative of the soft sample.
    """
    x = require_tensor(logits, "gumbel_softmax", argument="logits")
    only_kinds("log_softmax", "f", x._array.dtype)
    noise = -np.log(default_generator.draw.exponential(size=x._array.shape)).astype(x._array.dtype)
    params = {"tau": tau, "hard": hard, "axis": dimension(dim, x.ndim)}
    name = "AddBackward0" if hard else "SoftmaxBackward0"
    return apply_function(_gumbel, (x, noise), params, name)  # type: ignore[no-any-return]


def _gumbel(x: Node, noise: Node, tau: float, hard: bool, axis: int) -> Any:
    soft = along((x + noise) / tau, activation.softmax, axis)
    if not hard:
        return soft
    largest = spread(reduce_axes(OPS["max"], soft, (axis,)), soft, (axis,))
    return stop_gradient(cast(equal(soft, largest), dtype=x.dtype) - soft) + soft
