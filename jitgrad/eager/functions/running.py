"""Running sums, products, logarithms of sums and extremes along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.operands import only_kinds
from jitgrad.eager.functions.reduction import accumulated
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.inplace import inplace
from jitgrad.eager.results import named_result
from jitgrad.eager.tensor import Tensor, require_tensor
from jitgrad.ir import Node
from jitgrad.ops import scans, sequences
from jitgrad.ops.structure import cast, reshape

__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "logcumsumexp",
]


def lifted(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of nodes with a 0-d argument seen as one axis of size 1."""

    def lifted(x: Node, **params: Any) -> Any:
        if x.shape:
            return function(x, **params)
        found = function(reshape(x, shape=(1,)), **params)
        if isinstance(found, tuple):
            return tuple(reshape(y, shape=()) for y in found)
        return reshape(found, shape=())

    return lifted


# Running values -------------------------------------------------------------------------------------------


@lifted
def _running_sum(x: Node, axis: int) -> Any:
    return sequences.cumsum(x, axis, x.dtype)


@lifted
def _running_product(x: Node, axis: int) -> Any:
    return sequences.cumprod(x, axis, x.dtype)


def _running(name: str, function: Any, doc: str) -> Any:
    recorded = f"{name.title()}Backward0"

    def running(input: Any, dim: Any, *, dtype: Any = None) -> Tensor:
        x = require_tensor(input, name)
        params = {"axis": dimension(dim, x.ndim)}
        return apply_function(function, (x,), params, recorded, [accumulated(x._array, dtype, name)])  # type: ignore[no-any-return]

    def in_place(self: Tensor, dim: Any, *, dtype: Any = None) -> Tensor:
        only_kinds(f"{name}_out_cpu", "iufc", self._array.dtype)
        return inplace(running)(self, dim, dtype=dtype)

    running.__name__ = running.__qualname__ = name
    running.__doc__ = doc
    define(f"{name}_")(in_place)
    return define(name, out=True)(running)


cumsum = _running(
    "cumsum", _running_sum, "Return the sum of all elements up to each along an axis; integers give int64."
)
cumprod = _running(
    "cumprod",
    _running_product,
    "Return the product of all elements up to each along an axis; integers give int64.",
)


@lifted
def _running_log_sum(x: Node, axis: int) -> Any:
    return scans.logcumsumexp(x, axis)


@define(out=True)
def logcumsumexp(input: Any, dim: Any) -> Tensor:
    """Return log(cumsum(exp(input))) along an axis, without overflow."""
    x = require_tensor(input, "logcumsumexp")
    axis = dimension(dim, x.ndim)
    only_kinds("logcumsumexp_out_cpu", "f", x._array.dtype)
    return apply_function(_running_log_sum, (x,), {"axis": axis}, "LogcumsumexpBackward0")  # type: ignore[no-any-return]


@lifted
def _running_largest(x: Node, axis: int) -> Any:
    return scans.cummax(x, axis)


@lifted
def _running_smallest(x: Node, axis: int) -> Any:
    return scans.cummin(x, axis)


def _extreme_so_far(name: str, function: Any, kind: str) -> Any:
    result = named_result(name, "values indices")

    def extreme(input: Any, dim: Any) -> Any:
        x = require_tensor(input, name)
        axis = dimension(dim, x.ndim)
        if x.ndim and x._array.size:
            only_kinds(f"{name}_cpu", "biuf", x._array.dtype)
        if x._array.dtype.kind == "b":
            values, places = apply_function(_of_bools, (x,), {"axis": axis, "function": function}, name)
            return result(values, places)
        return result(apply_function(function, (x,), {"axis": axis}, f"{name.title()}Backward0"))

    extreme.__name__ = name
    extreme.__doc__ = (
        f"Return the {kind} element so far along an axis, and where it is; of equal ones the last."
    )
    return define(name, out=True)(extreme)


def _of_bools(x: Node, axis: int, function: Any) -> Any:
    values, places = function(cast(x, dtype=np.dtype(np.uint8)), axis=axis)
    return cast(values, dtype=x.dtype), places


cummax = _extreme_so_far("cummax", _running_largest, "largest")
cummin = _extreme_so_far("cummin", _running_smallest, "smallest")
