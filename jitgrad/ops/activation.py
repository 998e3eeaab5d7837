"""Functions of machine learning that NumPy lacks: softmax and its kin, and activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.ops.elementwise import erf, exp, isfinite, log, reciprocal, sigmoid, stop_gradient, where
from jitgrad.ops.reductions import spread
from jitgrad.ops.samples import Draw, Sample, case, elementwise, only
from jitgrad.ops.structure import reduce_axes, sum_axes
from jitgrad.ops.table import OPS, composite
from jitgrad.ops.values import Shape, as_array, as_dtype, axes_of, insert_axes


def _float(x: Any) -> Any:
    x = as_array(x)
    if x.dtype.kind == "c":
        raise NotImplementedError("complex numbers are not supported here")
    return x if x.dtype.kind == "f" else as_dtype(x, np.float64)


def _largest(x: Any, axes: Shape) -> Any:
    """The maximum as a constant: it shifts exponents out of overflow, and its derivative cancels."""
    return stop_gradient(reduce_axes(OPS["max"], x, axes))


def _softmax_samples(d: Draw) -> list[Sample]:
    return [
        case(d(3, 5)),
        case(d(3, 5), axis=0),
        case(d(7)),
        case(d(2, 3, 4), axis=1),
        case(d(2, 3, 4), axis=(0, 2)),
        case(d(3, 5), axis=None),
        case(d(3, 70, low=-90, high=90)),
        case(d(0, 3)),
    ]


def _logsumexp_samples(d: Draw) -> list[Sample]:
    forms = [case(d(3, 5)), case(d(3, 5), axis=0, keepdims=True), case(d()), *_softmax_samples(d)]
    return [s for s in forms if not (s.args[0].size == 0 and "axis" not in s.kwargs)]


def _reference_softmax(x: Any, axis: Any = -1) -> Any:
    e = np.exp(x - np.max(x, axis, keepdims=True))
    return e / np.sum(e, axis, keepdims=True)


def _reference_logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    top = np.max(x, axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    total = np.log(np.sum(np.exp(x - top), axis, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axis)


@composite(name="softmax", samples=only("fi", _softmax_samples), reference=_reference_softmax)
def softmax(x: Any, axis: Any = -1) -> Any:
    """exp(x) over its sum along axes, without overflow; a row of -inf alone gives NaN."""
    x = _float(x)
    axes = axes_of(axis, len(x.shape))
    e = exp(x - spread(_largest(x, axes), x, axes))
    return e * spread(reciprocal(sum_axes(e, axes)), x, axes)


@composite(
    name="log_softmax",
    samples=only("fi", _softmax_samples),
    reference=lambda x, axis=-1: np.log(_reference_softmax(np.asarray(x, float), axis)),
)
def log_softmax(x: Any, axis: Any = -1) -> Any:
    """x - logsumexp(x) along axes, without overflow; a row of -inf alone gives NaN."""
    x = _float(x)
    axes = axes_of(axis, len(x.shape))
    centred = x - spread(_largest(x, axes), x, axes)
    return centred - spread(log(sum_axes(exp(centred), axes)), x, axes)


@composite(
    name="logsumexp",
    samples=only("fi", _logsumexp_samples),
    reference=_reference_logsumexp,
    kinks=((([-np.inf, -np.inf],), ([np.nan, np.nan],)), (([-np.inf, 0.0],), ([0.0, 1.0],))),
)
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) along axes, without overflow.

    Infinities count as numbers: -inf alone gives -inf (and the derivative NaN), inf gives inf.
    """
    x = _float(x)
    axes = axes_of(axis, len(x.shape))
    top = _largest(x, axes)
    top = where(isfinite(top), top, 0)
    total = log(sum_axes(exp(x - spread(top, x, axes)), axes)) + top
    return insert_axes(total, axes) if keepdims and axes else total


silu = composite(
    name="silu", samples=only("fi", elementwise(1, (-3, 3))), reference=lambda x: x / (1 + np.exp(-x))
)(lambda x: x * sigmoid(x))

gelu = composite(
    name="gelu",
    samples=only("fi", elementwise(1, (-3, 3))),
    reference=lambda x: 0.5 * x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))),
)(lambda x: 0.5 * x * (1 + erf(x * (1 / math.sqrt(2)))))
