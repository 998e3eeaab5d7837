"""Convolutions: sums of products of windows with a weight, each with both gradients as ops of its kind.

Three ops make a family. With columns(x) the windows of x as columns of a matrix, `convolution` is
weight @ columns(x), `convolution_of_weight` is g @ columns(x).T, and `convolution_of_input` adds
weight.T @ g back to where the windows lay. Each is linear in both arguments, and the gradients of each are
the other two; so there is nothing more to declare for derivatives of any order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from jitgrad.ir import Aval, Op
from jitgrad.ops.linear import product
from jitgrad.ops.samples import Draw, Sample, case, only
from jitgrad.ops.table import composite, primitive
from jitgrad.ops.values import as_array, as_dtype

Array = np.ndarray[Any, Any]
Index = tuple[Any, ...]
Ints = tuple[int, ...]

Windows = tuple[tuple[int, int, int, int], ...]
"""Of each spatial axis: the stride, the zeros before and after the image, and the dilation.

Fewer than no zeros after an image leave out windows that reach so far.
"""


def positions(size: Ints, kernel: Ints, windows: Windows) -> Ints:
    """How many windows there are along each axis of an image of this size."""
    return tuple(
        (n + before + after - d * (k - 1) - 1) // s + 1
        for n, k, (s, before, after, d) in zip(size, kernel, windows, strict=True)
    )


# Windows as columns -----------------------------------------------------------------------------------

COLUMN_BYTES = 1 << 22  # of the columns that lie in memory at a time, unless one image has more


def _parts(images: int, bytes_of_one: int) -> Iterator[slice]:
    """The images, so many at a time as their columns may take memory."""
    step = max(1, COLUMN_BYTES // max(1, bytes_of_one))
    return (slice(i, min(i + step, images)) for i in range(0, images, step))


@functools.cache
def _code() -> Any:
    from jitgrad.machine import windows

    return windows


def _workable(*arrays: Any) -> tuple[tuple[Array, ...], np.dtype[Any]]:
    """Arrays in a dtype that there is machine code for, and the dtype of the result."""
    given = [np.asarray(a) for a in arrays]
    own = np.result_type(*given)
    narrow = np.float32 if own.kind == "f" else np.int64
    wide = own if own in (np.float32, np.float64) else np.dtype(narrow)
    return tuple(a.astype(wide, copy=False) for a in given), own


def _as_images(size: Ints, kernel: Ints, counts: Ints, windows: Windows) -> tuple[Any, ...]:
    """What windows over signals are as windows over images of one row."""
    if len(size) == 2:
        return size, kernel, counts, windows
    return (1, *size), (1, *kernel), (1, *counts), ((1, 0, 0, 1), *windows)


def _channels_first(x: Array, groups: int) -> Array:
    """Images (images, channels, *size) as matrices (groups, channels / groups, images * size)."""
    return np.ascontiguousarray(x.swapaxes(0, 1)).reshape(groups, x.shape[1] // groups, -1)


def _columns(x: Array, kernel: Ints, counts: Ints, windows: Windows, groups: int) -> Array:
    """The windows of images as columns: (groups, channels / groups * kernel, images * windows)."""
    images, channels, *given = x.shape
    size, *places = _as_images(tuple(given), kernel, counts, windows)
    made = _code().columns(x.reshape(images, channels, *size), *places)
    return np.asarray(made.reshape(groups, -1, images * math.prod(counts)))


def _summed(columns: Array, size: Ints, kernel: Ints, counts: Ints, windows: Windows) -> Array:
    """Images (images, channels, *size) of the sums of what the columns have for each of their elements."""
    wide, kernel, counts, windows = _as_images(size, kernel, counts, windows)
    values = columns.reshape(-1, *kernel, columns.shape[-1] // math.prod(counts), *counts)
    made = _code().sums(values, wide, windows)
    return np.asarray(made.reshape(*made.shape[:2], *size))


# The ops ----------------------------------------------------------------------------------------------


def _convolved(x: Any, weight: Any, *, windows: Windows, groups: int) -> Array:
    (x, weight), own = _workable(x, weight)
    kernel, counts = weight.shape[2:], positions(x.shape[2:], weight.shape[2:], windows)
    out = np.empty((len(x), len(weight), *counts), x.dtype)
    factor = weight.reshape(groups, len(weight) // groups, -1)
    for part in _parts(len(x), x.shape[1] * math.prod((*kernel, *counts)) * x.itemsize):
        columns = _columns(x[part], kernel, counts, windows, groups)
        made = product(factor, columns).reshape(len(weight), -1, *counts)
        out[part] = made.swapaxes(0, 1)
    return out.astype(own, copy=False)


def _input_gradient(g: Any, weight: Any, *, size: Ints, windows: Windows, groups: int) -> Array:
    (g, weight), own = _workable(g, weight)
    kernel, counts, channels = weight.shape[2:], g.shape[2:], weight.shape[1] * groups
    out = np.empty((len(g), channels, *size), g.dtype)
    factor = weight.reshape(groups, len(weight) // groups, -1).swapaxes(1, 2)
    for part in _parts(len(g), channels * math.prod((*kernel, *counts)) * g.itemsize):
        columns = product(factor, _channels_first(g[part], groups))
        out[part] = _summed(columns.reshape(-1, columns.shape[-1]), size, kernel, counts, windows)
    return out.astype(own, copy=False)


def _weight_gradient(x: Any, g: Any, *, kernel: Ints, windows: Windows, groups: int) -> Array:
    (x, g), own = _workable(x, g)
    counts, shape = g.shape[2:], (g.shape[1], x.shape[1] // groups, *kernel)
    total: Any = None
    for part in _parts(len(x), x.shape[1] * math.prod((*kernel, *counts)) * x.itemsize):
        columns = _columns(x[part], kernel, counts, windows, groups)
        term = product(_channels_first(g[part], groups), columns.swapaxes(1, 2))
        total = term if total is None else np.add(total, term, out=total)
    return np.zeros(shape, own) if total is None else np.asarray(total).reshape(shape).astype(own, copy=False)


def _infer(x: Aval, weight: Aval, *, windows: Windows, groups: int) -> Aval:
    counts = positions(x.shape[2:], weight.shape[2:], windows)
    return Aval((x.shape[0], weight.shape[0], *counts), x.dtype)


def _both(op: Any, tangents: tuple[Any, ...], x: Any, y: Any, **params: Any) -> Any:
    """The tangent of an op that is linear in each of its two arguments."""
    dx, dy = tangents
    terms = ([] if dx is None else [op(dx, y, **params)]) + ([] if dy is None else [op(x, dy, **params)])
    return sum(terms[1:], terms[0])


def _convolution_vjp(g: Any, out: Any, x: Any, weight: Any, *, windows: Windows, groups: int) -> Any:
    where = {"windows": windows, "groups": groups}
    return (
        convolution_of_input(g, weight, size=x.shape[2:], **where),
        convolution_of_weight(x, g, kernel=weight.shape[2:], **where),
    )


def _of_input_vjp(h: Any, out: Any, g: Any, weight: Any, *, size: Ints, windows: Windows, groups: int) -> Any:
    where = {"windows": windows, "groups": groups}
    return (
        convolution(h, weight, **where),
        convolution_of_weight(h, g, kernel=weight.shape[2:], **where),
    )


def _of_weight_vjp(h: Any, out: Any, x: Any, g: Any, *, kernel: Ints, windows: Windows, groups: int) -> Any:
    where = {"windows": windows, "groups": groups}
    return convolution_of_input(g, h, size=x.shape[2:], **where), convolution(x, h, **where)


# Samples: image, weight, windows, groups.
_FORMS: list[tuple[Ints, Ints, Windows, int]] = [
    ((2, 3, 5), (4, 3, 3), ((1, 0, 0, 1),), 1),
    ((2, 4, 6), (2, 2, 2), ((2, 1, 0, 2),), 2),
    ((2, 2, 4, 5), (3, 2, 3, 2), ((1, 1, 1, 1), (1, 0, 1, 1)), 1),
    ((1, 2, 6, 5), (2, 1, 2, 2), ((2, 0, 0, 3), (3, 1, 1, 1)), 2),
    ((2, 3, 4, 4), (2, 3, 1, 1), ((1, 0, 0, 1), (1, 0, 0, 1)), 1),
    ((2, 3, 5, 4), (2, 3, 1, 1), ((2, 0, 0, 1), (1, 1, 0, 1)), 1),
    ((2, 2, 6), (3, 2, 2), ((2, 1, -2, 1),), 1),
    ((0, 2, 3), (2, 2, 2), ((1, 0, 0, 1),), 1),
]


def _result(image: Ints, weight: Ints, windows: Windows) -> Ints:
    return (image[0], weight[0], *positions(image[2:], weight[2:], windows))


def _samples(d: Draw) -> list[Sample]:
    return [case(d(*x), d(*w), windows=windows, groups=groups) for x, w, windows, groups in _FORMS]


def _of_input_samples(d: Draw) -> list[Sample]:
    return [
        case(d(*_result(x, w, windows)), d(*w), size=x[2:], windows=windows, groups=groups)
        for x, w, windows, groups in _FORMS
    ]


def _of_weight_samples(d: Draw) -> list[Sample]:
    return [
        case(d(*x), d(*_result(x, w, windows)), kernel=w[2:], windows=windows, groups=groups)
        for x, w, windows, groups in _FORMS
    ]


# References: element by element, as the definitions read.


def _terms(x: Ints, weight: Ints, windows: Windows, groups: int) -> Iterator[tuple[Index, Index, Index]]:
    """The places in image, weight and result of every product, but those with the border."""
    counts = positions(x[2:], weight[2:], windows)
    for w in np.ndindex(*weight):
        channel = w[0] // (weight[0] // groups) * weight[1] + w[1]
        for place in np.ndindex(*counts):
            at = tuple(
                i * s + k * d - before for i, k, (s, before, _, d) in zip(place, w[2:], windows, strict=True)
            )
            if all(0 <= i < n for i, n in zip(at, x[2:], strict=True)):
                yield (slice(None), channel, *at), w, (slice(None), w[0], *place)


def _reference(x: Any, weight: Any, windows: Windows, groups: int) -> Any:
    out = np.zeros(_result(x.shape, weight.shape, windows), x.dtype)
    for i, j, k in _terms(x.shape, weight.shape, windows, groups):
        out[k] += x[i] * weight[j]
    return out


def _of_input_reference(g: Any, weight: Any, size: Ints, windows: Windows, groups: int) -> Any:
    out = np.zeros((len(g), weight.shape[1] * groups, *size), g.dtype)
    for i, j, k in _terms(out.shape, weight.shape, windows, groups):
        out[i] += g[k] * weight[j]
    return out


def _of_weight_reference(x: Any, g: Any, kernel: Ints, windows: Windows, groups: int) -> Any:
    out = np.zeros((g.shape[1], x.shape[1] // groups, *kernel), x.dtype)
    for i, j, k in _terms(x.shape, out.shape, windows, groups):
        out[j] += np.sum(x[i] * g[k])
    return out


convolution: Op = primitive(
    "convolution",
    "call",
    _convolved,
    _infer,
    _convolution_vjp,
    lambda tangents, out, x, weight, **params: _both(convolution, tangents, x, weight, **params),
    cost=1000,
    samples=only("fi", _samples),
    reference=_reference,
)

convolution_of_input: Op = primitive(
    "convolution_of_input",
    "call",
    _input_gradient,
    lambda g, weight, *, size, windows, groups: Aval((g.shape[0], weight.shape[1] * groups, *size), g.dtype),
    _of_input_vjp,
    lambda tangents, out, g, weight, **params: _both(convolution_of_input, tangents, g, weight, **params),
    cost=1000,
    samples=only("fi", _of_input_samples),
    reference=_of_input_reference,
)

convolution_of_weight: Op = primitive(
    "convolution_of_weight",
    "call",
    _weight_gradient,
    lambda x, g, *, kernel, windows, groups: Aval((g.shape[1], x.shape[1] // groups, *kernel), x.dtype),
    _of_weight_vjp,
    lambda tangents, out, x, g, **params: _both(convolution_of_weight, tangents, x, g, **params),
    cost=1000,
    samples=only("fi", _of_weight_samples),
    reference=_of_weight_reference,
)


# As NumPy would have it -------------------------------------------------------------------------------


def _conv_samples(d: Draw) -> list[Sample]:
    forms = [case(d(2, 3, 5, 4), d(2, 3, 2, 2)), case(d(2, 4, 7), d(4, 2, 2), 2, 1, 2, 2)]
    return [*forms, case(d(1, 1, 4, 4), d(2, 1, 3, 2), stride=(1, 2), padding=(1, 0))]


def _conv_reference(
    x: Any, weight: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    return _reference(x, weight, _same_borders(weight, stride, padding, dilation), groups)


def _same_borders(weight: Any, stride: Any, padding: Any, dilation: Any) -> Windows:
    axes = len(weight.shape) - 2
    steps = (value if isinstance(value, tuple) else (value,) * axes for value in (stride, padding, dilation))
    return tuple((int(s), int(p), int(p), int(d)) for s, p, d in zip(*steps, strict=True))


@composite(name="conv", samples=only("fi", _conv_samples), reference=_conv_reference)
def conv(x: Any, weight: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """Sums of products of windows of images with a weight (out, channels / groups, *kernel).

    x is (images, channels, *size); stride, padding and dilation are one number or one for each axis.
    """
    x, weight = as_array(x), as_array(weight)
    if len(x.shape) != len(weight.shape) or x.shape[1] != weight.shape[1] * groups:
        raise ValueError(f"conv: channels differ, got images {x.shape} and weight {weight.shape}")
    windows = _same_borders(weight, stride, padding, dilation)
    if min(positions(x.shape[2:], weight.shape[2:], windows)) < 1:
        raise ValueError(f"conv: the kernel of weight {weight.shape} is larger than images {x.shape}")
    dtype = np.result_type(x.dtype, weight.dtype)
    return convolution(as_dtype(x, dtype), as_dtype(weight, dtype), windows=windows, groups=groups)
