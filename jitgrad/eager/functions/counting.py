"""Counts the elements of tensors: the distinct ones, runs of equal ones, those in bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.eager.define import define, with_out
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.distances import not_half
from jitgrad.eager.functions.operands import only_kinds
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.functions.underivable import no_formula, no_rule, underived
from jitgrad.eager.modes import state
from jitgrad.eager.results import named_result
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ops.table import OPS

__all__ = ["bincount", "histc", "histogram", "histogramdd", "unique", "unique_consecutive"]


# Distinct elements ----------------------------------------------------------------------------------------


def _starts(rows: Array) -> Array:
    """Which rows differ from the one before."""
    starts = np.ones(len(rows), np.bool_)
    if len(rows) > 1:
        starts[1:] = (rows[1:] != rows[:-1]).any(1)
    return starts


def _distinct(rows: Array, sort: bool) -> tuple[Array, Array, Array]:
    """Where each distinct row is first, to which of them each row belongs, and how many belong to each."""
    order = np.lexsort(rows.T[::-1]) if sort and rows.size else np.arange(len(rows))
    starts = _starts(rows[order])
    inverse = np.empty(len(rows), np.int64)
    inverse[order] = np.cumsum(starts) - 1
    counts = np.diff(np.append(np.flatnonzero(starts), len(rows)))
    return order[starts], inverse, counts


def _chosen(
    x: Tensor, dim: Any, sort: bool, names: tuple[str, str], return_inverse: bool, return_counts: bool
) -> Any:
    array = x._array
    only_kinds("unique" if dim is None else "unique_dim", "biuf", array.dtype)
    if dim is None:
        first, inverse, counts = _distinct(array.reshape(-1, 1), sort)
        values, inverse = array.reshape(-1)[first], inverse.reshape(array.shape)
    else:
        if not x.ndim:
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        axis = dimension(dim, x.ndim)
        if any(n == 0 for i, n in enumerate(array.shape) if i != axis):
            raise RuntimeError(
                "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied"
            )
        first_axis = np.moveaxis(array, axis, 0)
        rows = first_axis.reshape(len(first_axis), math.prod(first_axis.shape[1:]))
        first, inverse, counts = _distinct(rows, sort)
        values = np.take(array, first, axis)
    recorded, formula = names
    found = underived(values, (x,), recorded, no_formula(formula))
    more = [wrap(a) for a, wanted in ((inverse, return_inverse), (counts, return_counts)) if wanted]
    return (found, *more) if more else found


@define()
def unique(
    input: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: Any = None,
) -> Any:
    """Return the distinct elements in ascending order, or the distinct slices along an axis.

    With `return_inverse` also to which of them each element belongs, with `return_counts` how many do.

    >>> import jitgrad
    >>> jitgrad.unique(jitgrad.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    x = require_tensor(input, "unique")
    whole = ("Unique2Backward0", "_unique2")
    names = whole if dim is None else ("UniqueDimBackward0", "unique_dim")
    return _chosen(x, dim, True, names, return_inverse, return_counts)


@define()
def unique_consecutive(
    input: Any, return_inverse: bool = False, return_counts: bool = False, dim: Any = None
) -> Any:
    """Return the first element of each run of equal ones, or the first slice along an axis.

    >>> import jitgrad
    >>> jitgrad.unique_consecutive(jitgrad.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    x = require_tensor(input, "unique_consecutive")
    names = ("UniqueConsecutiveBackward0", "unique_consecutive")
    return _chosen(x, dim, False, names, return_inverse, return_counts)


# Counts ---------------------------------------------------------------------------------------------------


@define()
def bincount(input: Any, weights: Any = None, minlength: Any = 0) -> Tensor:
    """Return how often each number from 0 on occurs in a vector, or the sum of its weights.

    >>> import jitgrad
    >>> jitgrad.bincount(jitgrad.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    x = require_tensor(input, "bincount")
    array = x._array
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if array.ndim == 1 and not array.size:
        return wrap(np.zeros(minlength, np.int64))
    only_kinds("bincount_cpu", "iu", array.dtype)
    if array.ndim != 1 or array.min() < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is None:
        return wrap(np.bincount(array.astype(np.int64), minlength=minlength))
    w = require_tensor(weights, "bincount", 2, "weights")._array
    if w.shape != array.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    dtype = w.dtype if w.dtype == np.float32 else np.dtype(np.float64)
    sums = np.bincount(array.astype(np.int64), w.astype(np.float64), minlength).astype(dtype)
    return underived(sums, (weights,), "NotImplemented", no_rule("bincount"))


def _positive_bins(bins: int, axis: int = 0) -> None:
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension {axis}")


@define(out=True)
def histc(input: Any, bins: Any = 100, min: Any = 0, max: Any = 0) -> Tensor:
    """Return how many elements lie in each of equally wide bins from min to max; others are left out.

    Where min equals max, they are the smallest and the largest element.

    >>> import jitgrad
    >>> jitgrad.histc(jitgrad.tensor([1.0, 2.0, 1.0]), bins=2)
    tensor([2., 1.])
    """
    array = require_tensor(input, "histc")._array
    only_kinds("histogram_cpu" if array.dtype.kind != "b" else "linspace_cpu", "f", array.dtype)
    _positive_bins(bins)
    low, high = min, max
    if low == high and array.size:
        low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"torch.histc: range of [{low:g}, {high:g}] is not finite")
    if low > high:
        raise RuntimeError("torch.histc: max must be larger than min")
    return wrap(OPS["histc"].numpy(array, bins=bins, low=low, high=high))


# Histograms -----------------------------------------------------------------------------------------------

_histogram_result = named_result("histogram", "hist bin_edges")
_histogramdd_result = named_result("histogramdd", "hist bin_edges")


def _edges(points: Array, bins: Any, limits: Any, axis: int) -> Array:
    """The borders of the bins along one coordinate."""
    if isinstance(bins, Tensor):
        return _given_edges(points, bins._array, axis)
    _positive_bins(bins, axis)
    column = points[:, axis]
    if limits is None:
        not_half("histogramdd", points.dtype)
        low, high = (float(column.min()), float(column.max())) if column.size else (0.0, 1.0)
    else:
        low, high = limits
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"torch.histogramdd: dimension {axis}'s range [{low:g}, {high:g}] is not finite")
    if low > high:
        raise RuntimeError(
            f"torch.histogramdd: min should not exceed max, but got min {low:g} max {high:g} for dimension "
            f"{axis}"
        )
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1).astype(points.dtype)


def _given_edges(points: Array, edges: Array, axis: int) -> Array:
    where = f"in the bins tensor for dimension {axis}"
    if edges.ndim != 1:
        raise RuntimeError(
            f"torch.histogramdd: bins tensor should have one dimension, but got {edges.ndim} dimensions "
            f"{where}"
        )
    if not edges.size:
        raise RuntimeError(
            f"torch.histogramdd: bins tensor should have at least 1 element, but got 0 elements {where}"
        )
    _positive_bins(edges.size - 1, axis)
    if edges.dtype != points.dtype:
        names = {"float32": "float", "float64": "double"}
        raise RuntimeError(
            "torch.histogramdd: input tensor and bins tensors should have the same dtype, but got input with "
            f"dtype {names.get(points.dtype.name, points.dtype.name)} and bins for dimension {axis} with "
            "dtype "
            f"{names.get(edges.dtype.name, edges.dtype.name)}"
        )
    return edges


def _counted(points: Array, edges: Sequence[Array], weight: Any, density: bool) -> Array:
    """How much lies in each cell; the last bin of each coordinate includes its upper border."""
    shape = tuple(e.size - 1 for e in edges)
    inside = np.ones(len(points), np.bool_)
    places = np.zeros(len(points), np.int64)
    for column, borders, n in zip(points.T, edges, shape, strict=True):
        place = np.minimum(np.searchsorted(borders, column, "right") - 1, n - 1)
        inside &= (column >= borders[0]) & (column <= borders[-1])
        places = places * n + place
    total = int(np.prod(shape))
    held = None if weight is None else weight.reshape(-1)[inside]
    found = np.bincount(places[inside], held, total).astype(points.dtype).reshape(shape)
    return state.compute(_dense, found, edges) if density else found


def _dense(found: Array, edges: Sequence[Array]) -> Array:
    """The shares of the total, for each unit of volume."""
    found = found / found.sum()
    for axis, borders in enumerate(edges):
        found = found / np.diff(borders).reshape((-1,) + (1,) * (found.ndim - axis - 1))
    return found


def _check_weight(points: Array, lead: tuple[int, ...], weight: Any) -> Array | None:
    if weight is None:
        return None
    array = require_tensor(weight, "histogram", 3, "weight")._array
    if array.shape != lead:
        raise RuntimeError(
            "torch.histogramdd: if weight tensor is provided it should have the same shape as the input "
            "tensor "
            f"excluding its innermost dimension, but got input with shape {list(points.shape)} and weight "
            "with "
            f"shape {list(array.shape)}"
        )
    if array.dtype != points.dtype:
        raise RuntimeError(
            "torch.histogramdd: if weight tensor is provided, input tensor and weight tensor should have the "
            "same "
            "dtype"
        )
    return array


def _histogram(
    points: Array, bins: Sequence[Any], limits: Sequence[Any], weight: Any, density: bool
) -> tuple[Array, list[Array]]:
    only_kinds("histogramdd", "f", points.dtype)
    edges = [_edges(points, b, r, i) for i, (b, r) in enumerate(zip(bins, limits, strict=True))]
    return _counted(points, edges, weight, density), edges


def _unrecorded(array: Array, x: Tensor, name: str) -> Tensor:
    return underived(array, (x,), "NotImplemented", no_rule(name))


@define(out=True)
def histogram(input: Any, bins: Any, *, range: Any = None, weight: Any = None, density: bool = False) -> Any:
    """Return how many elements (or how much weight) lie in each bin, and the borders of the bins.

    `bins` is their number, or their borders in ascending order.

    >>> import jitgrad
    >>> jitgrad.histogram(jitgrad.tensor([1.0, 2.0, 1.0]), bins=2).hist
    tensor([2., 1.])
    """
    x = require_tensor(input, "histogram")
    points = x._array.reshape(-1, 1)
    held = weight if weight is None else weight.reshape((-1,)) if weight.shape == x.shape else weight
    array = _check_weight(points, (len(points),), held)
    hist, (edges,) = _histogram(points, [bins], [range], array, density)
    return _histogram_result(*(_unrecorded(a, x, "histogram") for a in (hist, edges)))


@with_out
def histogramdd(
    input: Any, bins: Any, *, range: Any = None, weight: Any = None, density: bool = False
) -> Any:
    """Return how many points, given as the last axis, lie in each cell, and the borders on each axis."""
    x = require_tensor(input, "histogramdd")
    count = x._array.shape[-1]
    points = x._array.reshape(-1, count)
    each = [bins] * count if isinstance(bins, int) else list(bins)
    if len(each) != count:
        raise RuntimeError(
            "histogramdd: The size of bins must be equal to the innermost dimension of the input."
        )
    limits = [None] * count if range is None else [*zip(range[::2], range[1::2], strict=True)]
    array = _check_weight(x._array, x._array.shape[:-1], weight)
    hist, edges = _histogram(points, each, limits, array, density)
    if isinstance(each[0], Tensor):
        found = _unrecorded(hist, x, "_histogramdd_from_bin_tensors")
        return _histogramdd_result(found, tuple(each))
    borders = tuple([_unrecorded(e, x, "_histogramdd_bin_edges") for e in edges])
    return _histogramdd_result(_unrecorded(hist, x, "_histogramdd_from_bin_cts"), borders)
