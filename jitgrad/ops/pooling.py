"""Pooling: the largest element, or the mean, of each window of images.

Along each axis a window is a row of an index: the positions that it has. A window that has fewer than others
repeats its last one, which changes no maximum, and has weight 0 in a mean.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops.elementwise import where
from jitgrad.ops.gather import gather, take
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.shape import shaped, window
from jitgrad.ops.structure import place, sum_axes
from jitgrad.ops.table import composite, primitive
from jitgrad.ops.values import as_array, insert_axes, positions

Array = np.ndarray[Any, Any]
Ints = tuple[int, ...]


def window_index(size: int, count: int, kernel: int, stride: int, before: int, dilation: int) -> Array:
    """The positions of `count` windows along an axis that begins with a border, without those in borders."""
    start = np.arange(count)[:, None] * stride - before
    first = np.maximum(0, -(start // dilation))
    last = np.minimum(kernel - 1, (size - 1 - start) // dilation)
    return np.asarray(start + np.minimum(first + np.arange(kernel), last) * dilation)


def adaptive_index(size: int, count: int) -> tuple[Array, Array]:
    """The positions of `count` windows that cover an axis evenly, and how many each window has."""
    start = np.arange(count) * size // max(count, 1)
    stop = -(-np.arange(1, count + 1) * size // max(count, 1))
    lengths = stop - start
    longest = int(lengths.max(initial=1))
    return np.minimum(start[:, None] + np.arange(longest), stop[:, None] - 1), lengths


# The largest ------------------------------------------------------------------------------------------


@functools.cache
def _code() -> Any:
    from jitgrad.machine import windows

    return windows


def _peaks(x: Any, *index: Any) -> Array:
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float32 if x.dtype.kind == "f" else np.int64)
    index = tuple(np.asarray(i, np.int64) for i in index)
    rows, columns = index if len(index) == 2 else (np.zeros((1, 1), np.int64), *index)
    lead, size = x.shape[: -len(index)], x.shape[-2:] if len(index) == 2 else (1, x.shape[-1])
    images = x.reshape(math.prod(lead), *size)
    return np.asarray(_code().peaks(images, rows, columns).reshape(*lead, *map(len, index)))


def _peaks_reference(x: Any, *index: Any) -> Any:
    size, lead = x.shape[-len(index) :], x.shape[: -len(index)]
    out = np.zeros((*lead, *(len(i) for i in index)), np.int64)
    for at in np.ndindex(*(len(i) for i in index)):
        grid = np.ix_(*(rows[i] for rows, i in zip(index, at, strict=True)))
        flat = np.ravel_multi_index(np.broadcast_arrays(*grid), size).ravel()
        seen = x.reshape(*lead, -1)[..., flat]
        out[(..., *at)] = flat[np.argmax(seen, -1)]
    return out


def _peaks_samples(d: Draw) -> list[Sample]:
    rows, columns = window_index(5, 3, 2, 2, 1, 1), window_index(6, 2, 3, 2, 0, 2)
    return [
        case(d(2, 3, 7), window_index(7, 3, 3, 2, 0, 1)),
        case(d(2, 5, 6), rows, columns),
        case(d(2, 2, 5, 7), adaptive_index(5, 2)[0], adaptive_index(7, 3)[0]),
    ]


peaks: Op = primitive(
    "peaks",
    "call",
    _peaks,
    lambda x, *index: Aval((*x.shape[: -len(index)], *(i.shape[0] for i in index)), np.dtype(np.int64)),
    None,
    None,
    cost=1000,
    samples=only("fi", _peaks_samples),
    undefined="of equal elements the first counts; of several NaNs the last",
    reference=_peaks_reference,
)
"""Where the largest element of each window lies in the image, counted row by row."""


def _max_reference(x: Any, *index: Any) -> Any:
    at = _peaks_reference(x, *index)
    flat = x.reshape(*x.shape[: -len(index)], -1)
    return np.take_along_axis(flat, at.reshape(*flat.shape[:-1], -1), -1).reshape(at.shape), at


@composite(name="window_maxima", samples=only("fi", _peaks_samples), reference=_max_reference)
def window_maxima(x: Any, *index: Any) -> tuple[Any, Any]:
    """The largest elements of windows over the last axes, and where they lie."""
    x = as_array(x)
    at = peaks(x, *index)
    lead = x.shape[: -len(index)]
    images, size = math.prod(lead), math.prod(x.shape[len(lead) :])
    first = shaped(positions(at, images) * size, (*lead, *(1,) * len(index)))
    return gather(shaped(x, (images * size,)), at + first, axis=0), at


# Means ------------------------------------------------------------------------------------------------

Windows = tuple[tuple[int, int, int, int], ...]
"""Of each axis: how many windows, their length, stride, and the border before the image."""


def _average_reference(x: Any, windows: Windows, inclusive: bool, divisor: int | None, after: Ints) -> Any:
    lead = len(x.shape) - len(windows)
    out = np.zeros((*x.shape[:lead], *(w[0] for w in windows)), x.dtype)
    for at in np.ndindex(*out.shape[lead:]):
        begin = [i * s - b for i, (_, _, s, b) in zip(at, windows, strict=True)]
        end = [
            min(i + k, n + a)
            for i, (_, k, _, _), n, a in zip(begin, windows, x.shape[lead:], after, strict=True)
        ]
        sides = [(max(i, 0), min(j, n)) for i, j, n in zip(begin, end, x.shape[lead:], strict=True)]
        full = math.prod(j - i for i, j in zip(begin, end, strict=True))
        counted = full if inclusive else math.prod(j - i for i, j in sides)
        part = x[(..., *(slice(i, j) for i, j in sides))]
        total = np.sum(part, tuple(range(lead, x.ndim))) / (divisor or counted)
        out[(..., *at)] = np.trunc(total) if x.dtype.kind == "i" else total
    return out


def _counts(windows: Windows, size: Ints, inclusive: bool, after: Ints) -> Array:
    """How many elements each window counts."""
    total = np.ones(())
    for (count, kernel, stride, before), n, behind in zip(windows, size, after, strict=True):
        begin = np.arange(count) * stride - before
        end = np.minimum(begin + kernel, n + behind)
        if not inclusive:
            begin, end = np.maximum(begin, 0), np.minimum(end, n)
        total = np.multiply.outer(total, end - begin)
    return total


def _window_sums(x: Any, axis: int, count: int, kernel: int, stride: int, before: int) -> Any:
    if before or (count - 1) * stride + kernel > x.shape[axis]:
        ndim = len(x.shape)
        size = max((count - 1) * stride + kernel, before + x.shape[axis])
        shape = tuple(size if i == axis else n for i, n in enumerate(x.shape))
        start = tuple(before if i == axis else 0 for i in range(ndim))
        x = place(x, shape=shape, start=start, step=(1,) * ndim)
    total = window(x, axis, 0, count, stride)
    for shift in range(1, kernel):
        total = total + window(x, axis, shift, count, stride)
    return total


def _average_samples(d: Draw) -> list[Sample]:
    padded = ((3, 2, 2, 1), (2, 3, 3, 1))
    return [
        case(d(2, 3, 7), ((3, 3, 2, 0),), True, None, (0,)),
        case(d(2, 5, 4), padded, True, None, (1, 1)),
        case(d(2, 5, 4), padded, False, None, (1, 1)),
        case(d(2, 5, 4), padded, True, 5, (1, 1)),
        case(d(2, 6, 4), ((2, 3, 3, 0), (1, 4, 4, 0)), True, None, (0, 0)),
    ]


@composite(name="window_means", samples=only("fi", _average_samples), reference=_average_reference)
def window_means(x: Any, windows: Windows, inclusive: bool, divisor: int | None, after: Ints) -> Any:
    """The means of windows over the last axes, which reach into borders before and `after`.

    A window counts the elements that it has in borders too if `inclusive`; `divisor` replaces that number.
    """
    x = as_array(x)
    lead = len(x.shape) - len(windows)
    size = x.shape[lead:]
    for axis, (count, kernel, stride, before) in enumerate(windows, lead):
        if kernel == stride and not before and count * kernel == x.shape[axis]:
            parts = shaped(x, (*x.shape[:axis], count, kernel, *x.shape[axis + 1 :]))
            x = sum_axes(parts, (axis + 1,))
        else:
            x = _window_sums(x, axis, count, kernel, stride, before)
    if divisor is not None:
        return _divided(x, divisor)
    counts = _counts(windows, size, inclusive, after)
    if counts.size and counts.min() == counts.max():
        return _divided(x, int(counts.flat[0]))
    return _divided(x, counts.astype(x.dtype))


def _divided(x: Any, by: Any) -> Any:
    """Sums over a number or numbers; of integers rounded towards 0."""
    if x.dtype.kind == "f":
        return x / by
    if isinstance(by, int) and by < 0:
        return -_divided(x, -by)
    return where(x < 0, -(-x // by), x // by)


def _adaptive_reference(x: Any, counts: Ints) -> Any:
    lead = len(x.shape) - len(counts)
    out = np.zeros((*x.shape[:lead], *counts), x.dtype)
    for at in np.ndindex(*counts):
        sides = [
            slice(i * n // c, -(-(i + 1) * n // c))
            for i, n, c in zip(at, x.shape[lead:], counts, strict=True)
        ]
        out[(..., *at)] = np.mean(x[(..., *sides)], tuple(range(lead, x.ndim)))
    return out


@composite(
    name="even_window_means",
    samples=only("f", lambda d: [case(d(2, 3, 7), (3,)), case(d(2, 5, 6), (2, 9)), case(d(2, 4, 6), (2, 1))]),
    reference=_adaptive_reference,
)
def even_window_means(x: Any, counts: Ints) -> Any:
    """The means of so many windows as `counts` says, which cover the last axes evenly."""
    x = as_array(x)
    lead = len(x.shape) - len(counts)
    size = x.shape[lead:]
    if all(c and n % c == 0 for n, c in zip(size, counts, strict=True)):
        windows = tuple((c, n // c, n // c, 0) for n, c in zip(size, counts, strict=True))
        return window_means(x, windows, True, None, (0,) * len(counts))
    for axis, count in enumerate(counts, lead):
        index, lengths = adaptive_index(x.shape[axis], count)
        weights = (np.arange(index.shape[1]) < lengths[:, None]) / lengths[:, None]
        parts = take(x, index, axis=axis)
        x = sum_axes(parts * _beside(weights.astype(x.dtype), len(parts.shape) - axis - 2), (axis + 1,))
    return x


def _beside(weights: Any, more: int) -> Any:
    """Weights of two axes, with more axes behind them."""
    return insert_axes(weights, tuple(range(2, 2 + more)))


# As NumPy would have it -------------------------------------------------------------------------------


def _steps(size: Ints, kernel: Any, stride: Any, padding: Any) -> Windows:
    """Of each axis: how many windows lie inside the image and its border, their length, stride and border."""
    kernel = kernel if isinstance(kernel, tuple) else (kernel,)
    given = (kernel if stride is None else stride, padding)
    strides, borders = (v if isinstance(v, tuple) else (v,) * len(kernel) for v in given)
    sizes = size[len(size) - len(kernel) :]
    axes = zip(sizes, kernel, strides, borders, strict=True)
    found = tuple(((n + 2 * b - k) // s + 1, k, s, b) for n, k, s, b in axes)
    if any(count < 1 or 2 * b > k for count, k, _, b in found):
        raise ValueError(
            f"pooling: windows {kernel} with borders {borders} do not fit images of size {sizes}"
        )
    return found


def _pool_samples(d: Draw) -> list[Sample]:
    return [case(d(2, 5, 7), (2, 3)), case(d(7), 3, stride=2, padding=1), case(d(4, 5), (2, 2), (1, 2))]


def _max_pool_reference(x: Any, kernel: Any, stride: Any = None, padding: Any = 0) -> Any:
    windows = _steps(x.shape, kernel, stride, padding)
    sizes = x.shape[x.ndim - len(windows) :]
    return _max_reference(x, *(window_index(n, *w, 1) for n, w in zip(sizes, windows, strict=True)))[0]


@composite(name="max_pool", samples=only("fi", _pool_samples), reference=_max_pool_reference)
def max_pool(x: Any, kernel: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The largest elements of windows over the last axes, one for each number in `kernel`.

    The stride is that of windows side by side if not given; a border changes no maximum.
    """
    x = as_array(x)
    windows = _steps(x.shape, kernel, stride, padding)
    sizes = x.shape[len(x.shape) - len(windows) :]
    return window_maxima(x, *(window_index(n, *w, 1) for n, w in zip(sizes, windows, strict=True)))[0]


def _mean_pool_reference(x: Any, kernel: Any, stride: Any = None, padding: Any = 0) -> Any:
    windows = _steps(x.shape, kernel, stride, padding)
    return _average_reference(x, windows, True, None, tuple(b for _, _, _, b in windows))


@composite(name="mean_pool", samples=only("fi", _pool_samples), reference=_mean_pool_reference)
def mean_pool(x: Any, kernel: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The means of windows over the last axes, one for each number in `kernel`; a border counts as zeros."""
    x = as_array(x)
    windows = _steps(x.shape, kernel, stride, padding)
    return window_means(x, windows, True, None, tuple(b for _, _, _, b in windows))
