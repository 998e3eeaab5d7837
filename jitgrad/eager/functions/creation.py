"""Makes tensors from values, of one value, and by rule."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define
from jitgrad.eager.device import checked
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.factory import (
    NumpyDtype,
    Shape,
    blank,
    blank_like,
    blank_strided,
    dtype_argument,
    factory,
    integer_argument,
    made,
    number_argument,
    shape_argument,
)
from jitgrad.eager.functions.nested import array_from
from jitgrad.eager.functions.operands import as_scalar, only_kinds, wrong_combination
from jitgrad.eager.modes import state
from jitgrad.eager.tensor import Tensor, require_tensor

__all__ = [
    "arange",
    "empty",
    "empty_like",
    "empty_strided",
    "eye",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "ones",
    "ones_like",
    "range",
    "scalar_tensor",
    "tensor",
    "zeros",
    "zeros_like",
]

# From values ----------------------------------------------------------------------------------------------

USE_CLONE = (
    "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
    "sourceTensor.detach().clone().requires_grad_(True), rather than {0}(sourceTensor)."
)


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """Make a tensor with a copy of the data: a number, nested sequences of numbers, an array.

    Floats get the default dtype, integers int64; arrays, and tensors, keep theirs. Raises ValueError for
    sequences of different lengths, RuntimeError or TypeError for what is no number or does not fit the dtype.

    >>> import jitgrad
    >>> jitgrad.tensor([[1, 2.5], [3, 4]], requires_grad=True)
    tensor([[1.0000, 2.5000],
            [3.0000, 4.0000]], requires_grad=True)
    """
    if isinstance(data, Tensor):
        warnings.warn(USE_CLONE.format("torch.tensor"), UserWarning, stacklevel=2)
    if device is not None:
        checked(device)
    return made(array_from(data, dtype_argument(dtype, "tensor")), requires_grad)


# One value ------------------------------------------------------------------------------------------------


def _floating(dtype: NumpyDtype | None) -> NumpyDtype:
    return dtype or dtypes.DEFAULT.floating.numpy


@factory
def empty(*size: Any, dtype: NumpyDtype | None, memory_format: Any = None, **named: Any) -> Array:
    """Make a tensor of a size with elements not set."""
    return blank(_shape(size, named, "empty"), _floating(dtype), memory_format)


def _shape(size: tuple[Any, ...], named: dict[str, Any], function: str) -> Shape:
    """The shape from positional sizes, or from `size=` among the named arguments."""
    if "size" in named and not size:
        size = (named.pop("size"),)
    elif not size:
        raise TypeError(f'{function}() missing 1 required positional arguments: "size"')
    if named:
        raise TypeError(f"{function}() got an unexpected keyword argument '{next(iter(named))}'")
    return shape_argument(size, function)


@factory
def zeros(*size: Any, dtype: NumpyDtype | None, **named: Any) -> Array:
    """Make a tensor of zeros, of sizes given one by one or as one sequence.

    >>> import jitgrad
    >>> jitgrad.zeros(2), jitgrad.zeros((1, 2), dtype=jitgrad.int64)
    (tensor([0., 0.]), tensor([[0, 0]]))
    """
    return np.zeros(_shape(size, named, "zeros"), _floating(dtype))


@factory
def ones(*size: Any, dtype: NumpyDtype | None, **named: Any) -> Array:
    """Make a tensor of ones, of sizes given one by one or as one sequence."""
    return np.ones(_shape(size, named, "ones"), _floating(dtype))


@factory
def full(size: Any, fill_value: Any, *, dtype: NumpyDtype | None) -> Array:
    """Make a tensor of a size with all elements equal; the value decides on the dtype."""
    if not isinstance(size, (tuple, list)):
        raise TypeError(
            f"full(): argument 'size' (position 1) must be tuple of ints, not {type(size).__name__}"
        )
    value = number_argument(fill_value, "full", "fill_value", 2)
    wanted = dtype or dtypes.default_of(value)
    return filled(np.empty(shape_argument((size,), "full"), wanted), value)


def filled(array: Array, value: Any) -> Array:
    """The array with all elements set to a number; RuntimeError where the dtype cannot hold it."""
    array[...] = as_scalar(value, array.dtype)
    return array


@factory
def scalar_tensor(s: Any, *, dtype: NumpyDtype | None) -> Array:
    """Make a tensor without axes, of the default dtype, from a number."""
    return filled(np.empty((), _floating(dtype)), number_argument(s, "scalar_tensor", "s", 1))


@factory
def empty_strided(size: Any, stride: Any, *, dtype: NumpyDtype | None) -> Array:
    """Make a tensor with these strides, counted in elements; the elements are not set."""
    shape = shape_argument((size,), "empty_strided")
    return blank_strided(shape, tuple(stride), _floating(dtype))


# Like another tensor --------------------------------------------------------------------------------------


@factory
def empty_like(input: Tensor, *, dtype: NumpyDtype | None, memory_format: Any = None) -> Array:
    """Make a tensor of the size, dtype and order in memory of another with elements not set."""
    return blank_like(require_tensor(input, "empty_like")._array, dtype, memory_format)


@factory
def zeros_like(input: Tensor, *, dtype: NumpyDtype | None, memory_format: Any = None) -> Array:
    """Make a tensor of zeros of the size, dtype and order in memory of another."""
    return filled(blank_like(require_tensor(input, "zeros_like")._array, dtype, memory_format), 0)


@factory
def ones_like(input: Tensor, *, dtype: NumpyDtype | None, memory_format: Any = None) -> Array:
    """Make a tensor of ones of the size, dtype and order in memory of another."""
    return filled(blank_like(require_tensor(input, "ones_like")._array, dtype, memory_format), 1)


@factory
def full_like(
    input: Tensor, fill_value: Any, *, dtype: NumpyDtype | None, memory_format: Any = None
) -> Array:
    """Make a tensor with all elements equal, of the size, dtype and order in memory of another."""
    value = number_argument(fill_value, "full_like", "fill_value", 2)
    return filled(blank_like(require_tensor(input, "full_like")._array, dtype, memory_format), value)


@define("new_empty")
@factory
def _new_empty(self: Tensor, *size: Any, dtype: NumpyDtype | None, **named: Any) -> Array:
    return np.empty(_shape(size, named, "new_empty"), dtype or self._array.dtype)


@define("new_zeros")
@factory
def _new_zeros(self: Tensor, *size: Any, dtype: NumpyDtype | None, **named: Any) -> Array:
    return np.zeros(_shape(size, named, "new_zeros"), dtype or self._array.dtype)


@define("new_ones")
@factory
def _new_ones(self: Tensor, *size: Any, dtype: NumpyDtype | None, **named: Any) -> Array:
    return np.ones(_shape(size, named, "new_ones"), dtype or self._array.dtype)


@define("new_full")
@factory
def _new_full(self: Tensor, size: Any, fill_value: Any, *, dtype: NumpyDtype | None) -> Array:
    value = number_argument(fill_value, "new_full", "fill_value", 2)
    return filled(np.empty(shape_argument((size,), "new_full"), dtype or self._array.dtype), value)


@define("new_empty_strided")
@factory
def _new_empty_strided(self: Tensor, size: Any, stride: Any, *, dtype: NumpyDtype | None) -> Array:
    shape = shape_argument((size,), "new_empty_strided")
    return blank_strided(shape, tuple(stride), dtype or self._array.dtype)


@define("new_tensor")
@factory
def _new_tensor(self: Tensor, data: Any, *, dtype: NumpyDtype | None) -> Array:
    if isinstance(data, Tensor):
        warnings.warn(USE_CLONE.format("tensor.new_tensor"), UserWarning, stacklevel=3)
    return array_from(data, dtype or self._array.dtype)


# By rule --------------------------------------------------------------------------------------------------


@factory
def arange(*bounds: Any, dtype: NumpyDtype | None, **named: Any) -> Array:
    """Count from start (0) to before end by step (1): arange(end) or arange(start, end[, step]).

    The dtype is int64, or the default one if an argument is a float. Raises RuntimeError for a step of zero
    and for one that leads away from the end.

    >>> import jitgrad
    >>> jitgrad.arange(3), jitgrad.arange(1, 2, 0.5)
    (tensor([0, 1, 2]), tensor([1.0000, 1.5000]))
    """
    start, end, step = _range("arange", bounds, named)
    wanted = dtype or _range_dtype(start, end, step)
    only_kinds("arange_cpu", "if" if wanted.itemsize > 1 else "iuf", wanted)
    if wanted == np.int64:
        start, end, step = int(start), int(end), int(step)
        if not step:
            raise ValueError("step must be nonzero")
        return counted(start, step, -((start - end) // step), wanted)
    return counted(start, step, math.ceil((end - start) / step), wanted)


def counted(start: Any, step: Any, count: int, dtype: NumpyDtype) -> Array:
    """`count` values from a start by a step; integers by the whole part of the step."""
    if dtype.kind in "iu":
        return np.array(int(start) + int(step) * np.arange(count), dtype)
    return np.array(start + step * np.arange(count, dtype=np.float64), dtype)


_RANGE_FORMS = ("Number end", "Number start, Number end", "Number start, Number end, Number step")
_FORMS = {1: ("end",), 2: ("start", "end"), 3: ("start", "end", "step")}


def _range(function: str, bounds: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Start, end and step as Python numbers, checked."""
    names = _FORMS[2] if len(bounds) == 1 and "end" in named else _FORMS.get(len(bounds), ())
    given = {**dict(zip(names, bounds, strict=False)), **named}
    if "end" not in given or not given.keys() <= {*_FORMS[3]} or len(bounds) > 3:
        raise wrong_combination(function, bounds, *_RANGE_FORMS)
    place = {name: i for i, name in enumerate(names, 1)}
    start, end, step = (
        number_argument(given.get(name, default), function, name, place.get(name, 0))
        for name, default in (("start", 0), ("end", 0), ("step", 1))
    )
    if any(isinstance(x, complex) for x in (start, end, step)):
        raise RuntimeError("value cannot be converted to type double without overflow")
    if not step:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    return start, end, step


def _range_dtype(*numbers: Any) -> NumpyDtype:
    floating = any(isinstance(x, float) for x in numbers)
    return dtypes.DEFAULT.floating.numpy if floating else dtypes.int64.numpy


@factory
def _range_to_end(*bounds: Any, dtype: NumpyDtype | None, **named: Any) -> Array:
    """Count from start to end, both included: the deprecated `range`, which `arange` replaces."""
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is "
        "inconsistent with Python's range builtin. Instead, use torch.arange, which produces values in "
        "[start, end).",
        UserWarning,
        stacklevel=3,
    )
    start, end, step = _range("range", bounds, named)
    return counted(start, step, math.floor((end - start) / step) + 1, _floating(dtype))


range = _range_to_end


@factory
def linspace(start: Any, end: Any, steps: Any, *, dtype: NumpyDtype | None) -> Array:
    """Make a tensor of evenly spaced values from start to end, both included.

    >>> import jitgrad
    >>> jitgrad.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    first, last = (_end(x, "linspace", n) for x, n in ((start, "start"), (end, "end")))
    wanted = dtype or _spaced_dtype(first, last)
    values: Array = state.compute(spaced, first, last, _steps(steps, "linspace"), wanted)
    return values.astype(wanted)


def _end(value: Any, function: str, argument: str) -> Any:
    if isinstance(value, Tensor) and value._array.ndim:
        raise RuntimeError(
            f"{function} only supports 0-dimensional start and end tensors, but got {argument} with "
            f"{value._array.ndim} dimension(s)."
        )
    return number_argument(value, function, argument, 1 if argument == "start" else 2)


def _steps(steps: Any, function: str) -> int:
    count = integer_argument(steps, function, "steps", 3)
    if count < 0:
        raise RuntimeError("number of steps must be non-negative")
    return count


def _spaced_dtype(*ends: Any) -> NumpyDtype:
    default = dtypes.DEFAULT.floating
    return (default.to_complex() if any(isinstance(x, complex) for x in ends) else default).numpy


# Products and sums are rounded once, as by PyTorch's fused instructions, except in float16.
_WIDER: dict[str, Any] = {
    **{"float16": np.float16, "float32": np.float64, "float64": np.longdouble},
    **{"complex64": np.complex128, "complex128": np.clongdouble},
}


def spaced(start: Any, end: Any, steps: int, dtype: NumpyDtype) -> Array:
    """Evenly spaced values, counted from the nearer end, with the step rounded to the dtype."""
    only_kinds("linspace_cpu", "ifc" if dtype.itemsize > 1 else "iufc", dtype)
    if dtype.kind in "iu":
        start, end = (int(filled(np.empty((), dtype), x)) for x in (start, end))
        dtype = np.dtype(np.float64)
    first, last = dtype.type(start), dtype.type(end)
    if steps < 2:
        return np.full(steps, first)
    wide = _WIDER[dtype.name]
    step = wide((last - first) / dtype.type(steps - 1))
    i = np.arange(steps)
    near = wide(first) + step * i.astype(wide)
    far = wide(last) - step * (steps - 1 - i).astype(wide)
    return np.asarray(np.where(i < steps // 2, near, far), dtype)


@factory
def logspace(start: Any, end: Any, steps: Any, base: float = 10.0, *, dtype: NumpyDtype | None) -> Array:
    """Make a tensor of powers of a base whose exponents are evenly spaced from start to end."""
    first, last = (_end(x, "logspace", n) for x, n in ((start, "start"), (end, "end")))
    wanted = dtype or _spaced_dtype(first, last)
    if wanted.kind in "iu":
        first, last = int(first), int(last)
    precision = np.dtype(np.float64) if wanted.kind in "iuf" else wanted
    exponents = spaced(first, last, _steps(steps, "logspace"), precision)
    powers: Array = state.compute(np.power, base, exponents)
    return state.compute(powers.astype, wanted)


@factory
def eye(n: Any, m: Any = None, *, dtype: NumpyDtype | None) -> Array:
    """Make a matrix of n rows and m (or n) columns with ones on the diagonal and zeros elsewhere."""
    rows = integer_argument(n, "eye", "n", 1)
    columns = rows if m is None else integer_argument(m, "eye", "m", 2)
    for name, count in (("n", rows), ("m", columns)):
        if count < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {count}")
    return np.eye(rows, columns, dtype=_floating(dtype))
