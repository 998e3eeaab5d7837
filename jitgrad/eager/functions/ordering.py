"""Sorts tensors, and finds elements by their rank."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.factory import integer_argument
from jitgrad.eager.functions.operands import only_kinds, wrong_combination
from jitgrad.eager.functions.reduction import not_empty
from jitgrad.eager.functions.running import lifted
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.modes import state
from jitgrad.eager.results import named_result
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops import ranks
from jitgrad.ops.statistics import sum_
from jitgrad.ops.structure import reshape
from jitgrad.ops.values import size_of

__all__ = [
    "argsort",
    "kthvalue",
    "median",
    "mode",
    "msort",
    "nanmedian",
    "nanquantile",
    "quantile",
    "sort",
    "topk",
]


# Sorting --------------------------------------------------------------------------------------------------

_sort_result = named_result("sort", "values indices")


@lifted
def _sorted(x: Node, axis: int, descending: bool) -> Any:
    return ranks.sort_with_index(x, axis, descending)


def _sort(x: Tensor, dim: Any, descending: Any, name: str) -> tuple[Tensor, Tensor]:
    params = {"axis": dimension(dim, x.ndim), "descending": bool(descending)}
    if x._array.dtype.kind == "c":
        raise RuntimeError(" Sort does not support complex dtypes on CPU")
    return apply_function(_sorted, (x,), params, name)  # type: ignore[no-any-return]


@define(out=True)
def sort(input: Any, dim: Any = -1, descending: bool = False, *, stable: bool | None = None) -> Any:
    """Return the elements in order along an axis, and where they were; equal ones keep their order.

    >>> import jitgrad
    >>> jitgrad.sort(jitgrad.tensor([3, 1, 2])).values
    tensor([1, 2, 3])
    """
    x = require_tensor(input, "sort")
    return _sort_result(_sort(x, dim, descending, f"SortBackward{int(stable is not None)}"))


@define()
def argsort(input: Any, dim: Any = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """Return the positions of the elements in order along an axis; equal ones keep theirs.

    >>> import jitgrad
    >>> jitgrad.argsort(jitgrad.tensor([3, 1, 2]))
    tensor([1, 2, 0])
    """
    x = require_tensor(input, "argsort").detach()
    return _sort(x, dim, descending, "SortBackward0")[1]


@define(out=True)
def msort(input: Any) -> Tensor:
    """Return the elements in order along the first axis."""
    return _sort(require_tensor(input, "msort"), 0, False, "SortBackward0")[0]


# Elements by rank -----------------------------------------------------------------------------------------


@lifted
def _largest(x: Node, k: int, axis: int, largest: bool) -> Any:
    return ranks.topk(x, k, axis, largest)


_topk_result = named_result("topk", "values indices")


@define(out=True)
def topk(input: Any, k: Any, dim: Any = -1, largest: bool = True, sorted: bool = True) -> Any:
    """Return the k largest (or smallest) elements along an axis in order, and where they are.

    >>> import jitgrad
    >>> jitgrad.topk(jitgrad.tensor([1, 3, 2]), 2).indices
    tensor([1, 2])
    """
    x, count = require_tensor(input, "topk"), integer_argument(k, "topk", "k", 1)
    axis = dimension(dim, x.ndim)
    if not 0 <= count <= (x._array.shape[axis] if x.ndim else 1):
        raise RuntimeError("selected index k out of range")
    if x._array.dtype.kind in "bc":
        kind = "bool" if x._array.dtype.kind == "b" else "complex"
        raise RuntimeError(f"topk does not support {kind} dtypes on CPU")
    params = {"k": count, "axis": axis, "largest": bool(largest)}
    if not x.ndim and not count:
        return _topk_result(wrap(x._array.reshape(1)[:0]), wrap(np.empty(0, np.int64)))
    return _topk_result(apply_function(_largest, (x,), params, "TopkBackward0"))


@lifted
def _kth(x: Node, k: int, axis: int, keepdims: bool) -> Any:
    return _kept(ranks.kthvalue(x, k, axis, True), axis, keepdims)


def _kept(found: tuple[Any, Any], axis: int, keepdims: bool) -> Any:
    if keepdims:
        return found
    shape = found[0].shape
    return tuple(reshape(y, shape=(*shape[:axis], *shape[axis + 1 :])) for y in found)


_kth_result = named_result("kthvalue", "values indices")


@define(out=True)
def kthvalue(input: Any, k: Any, dim: Any = -1, keepdim: bool = False) -> Any:
    """Return the k-th smallest element along an axis, k from 1 on, and where it is.

    >>> import jitgrad
    >>> jitgrad.kthvalue(jitgrad.tensor([5, 1, 3]), 2).values
    tensor(3)
    """
    x, rank = require_tensor(input, "kthvalue"), integer_argument(k, "kthvalue", "k", 1)
    axis = dimension(dim, x.ndim)
    not_empty(x, "kthvalue", (axis,))
    if not 1 <= rank <= (x._array.shape[axis] if x.ndim else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}")
    if x.ndim:
        only_kinds("kthvalue_cpu", "iuf", x._array.dtype)
    params = {"k": rank, "axis": axis, "keepdims": bool(keepdim) or not x.ndim}
    return _kth_result(apply_function(_kth, (x,), params, "KthvalueBackward0"))


@lifted
def _most_frequent(x: Node, axis: int, keepdims: bool) -> Any:
    return _kept(ranks.mode(x, axis, True), axis, keepdims)


_mode_result = named_result("mode", "values indices")


@define(out=True)
def mode(input: Any, dim: Any = -1, keepdim: bool = False) -> Any:
    """Return the smallest of the most frequent elements along an axis, and where it is last.

    >>> import jitgrad
    >>> jitgrad.mode(jitgrad.tensor([3, 1, 3])).values
    tensor(3)
    """
    x = require_tensor(input, "mode")
    axis = dimension(dim, x.ndim)
    not_empty(x, "mode", (axis,))
    if x.ndim:
        only_kinds("mode_cpu", "biuf", x._array.dtype)
    params = {"axis": axis, "keepdims": bool(keepdim) or not x.ndim}
    return _mode_result(apply_function(_most_frequent, (x,), params, "ModeBackward0"))


# Medians --------------------------------------------------------------------------------------------------


@lifted
def _middle(x: Node, axis: int, keepdims: bool, skip_nan: bool) -> Any:
    return _kept(ranks.lower_median(x, axis, True, skip_nan), axis, keepdims)


def _middle_of_all(x: Node, skip_nan: bool) -> Any:
    if not size_of(x):
        return sum_(x) * math.nan
    if x.dtype.kind != "f":
        return ranks.lower_median(reshape(x, shape=(size_of(x),)))[0]
    return ranks.median_of_all(x, skip_nan)


def _median(name: str, skip_nan: bool, doc: str) -> Any:
    result = named_result(name, "values indices")
    recorded = f"{name.title()}Backward"

    def median(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
        x = require_tensor(input, name)
        if dim is None and not x._array.size and x._array.dtype.kind != "f":
            return wrap(state.compute(np.asarray(np.nan).astype, x._array.dtype))
        only_kinds("median_cpu", "iuf", x._array.dtype)
        if dim is None:
            return apply_function(_middle_of_all, (x,), {"skip_nan": skip_nan}, f"{recorded}0")
        axis = dimension(dim, x.ndim)
        not_empty(x, name, (axis,))
        params = {"axis": axis, "keepdims": bool(keepdim) or not x.ndim, "skip_nan": skip_nan}
        return result(apply_function(_middle, (x,), params, f"{recorded}1"))

    median.__name__, median.__doc__ = name, doc
    return define(name, out=True)(median)


median = _median(
    "median",
    False,
    "Return the middle element, the lower one of two; with `dim`, along an axis, and where it is.",
)
nanmedian = _median(
    "nanmedian",
    True,
    "Return the middle one of the elements that are not NaN; with `dim`, along an axis, and where it is.",
)


# Quantiles ------------------------------------------------------------------------------------------------

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")
_FORMS = tuple(
    f'{kind} q, int dim = None, bool keepdim = False, *, str interpolation = "linear"'
    for kind in ("Tensor", "float")
)


def _at_shares(x: Node, q: Node, axis: int | None, method: str, keepdims: bool, skip_nan: bool) -> Any:
    chosen = ranks.nanquantile if skip_nan else ranks.quantile
    x = x if x.shape else reshape(x, shape=(1,))
    return chosen(x, q, axis, method=method, keepdims=keepdims)


def _shares(name: str, x: Tensor, q: Any, dim: Any, interpolation: str) -> Tensor:
    """The `q` argument as a tensor, checked along with the others."""
    if not isinstance(q, (float, int, Tensor)) or not isinstance(dim, (int, type(None))):
        raise wrong_combination(name, (q,) if dim is None else (q, dim), *_FORMS)
    dtype = x._array.dtype
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q:g}")
        q = wrap(np.asarray(q).astype(dtype if dtype.kind == "f" else np.float64))
    if not x._array.size:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if q.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if dtype not in (np.float32, np.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if q._array.dtype != dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got "
            f"{interpolation}"
        )
    if not ((q._array >= 0) & (q._array <= 1)).all():
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    return Tensor.detach(q) if interpolation == "midpoint" else q


def _quantile(name: str, skip_nan: bool, doc: str) -> Any:
    def quantile(
        input: Any, q: Any, dim: Any = None, keepdim: bool = False, *, interpolation: str = "linear"
    ) -> Tensor:
        x = require_tensor(input, name)
        shares = _shares(name, x, q, dim, interpolation)
        params = {
            "axis": None if dim is None else dimension(dim, x.ndim),
            "method": interpolation,
            "keepdims": bool(keepdim) and x.ndim > 0,
            "skip_nan": skip_nan,
        }
        return apply_function(_at_shares, (x, shares), params, "SqueezeBackward4")  # type: ignore[no-any-return]

    quantile.__name__, quantile.__doc__ = name, doc
    return define(name, out=True)(quantile)


quantile = _quantile(
    "quantile",
    False,
    "Return the element at a share q of the way through the sorted ones, of all or along an axis.",
)
nanquantile = _quantile(
    "nanquantile",
    True,
    "Return the element at a share q of the way through the sorted ones that are not NaN.",
)
