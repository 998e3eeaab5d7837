"""Functions of numbers beyond arithmetic: bounds, steps, mixtures, parts of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define
from jitgrad.eager.dispatch import OpRecord, apply_function, arrays_of
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.functions.arithmetic import computed, in_common_dtype, shape_error, title, unary
from jitgrad.eager.functions.operands import (
    as_scalar,
    only_kinds,
    require_tensor_and_operand,
    require_tensors,
    wrong_combination,
)
from jitgrad.eager.inplace import guard, inplace, must_fit, write
from jitgrad.eager.tape import named
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Op
from jitgrad.ops.elementwise import equal, log, log1p, sign, trunc, where
from jitgrad.ops.table import COMPOSITES, OPS

__all__ = [
    "addcdiv",
    "addcmul",
    "angle",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "deg2rad",
    "fmax",
    "fmin",
    "frac",
    "lerp",
    "logit",
    "maximum",
    "minimum",
    "nan_to_num",
    "positive",
    "rad2deg",
    "relu",
    "round",
    "rsqrt",
    "sgn",
    "signbit",
    "sinc",
    "square",
]

_NO_PARAMS: dict[str, Any] = {}


# Functions of nodes ---------------------------------------------------------------------------------------


def mapped(
    function: Callable[..., Any], name: str, operands: Sequence[Any], arrays: Sequence[Any], **params: Any
) -> Tensor:
    """A function of nodes, element by element, on arrays of one dtype that stand for the operands."""
    try:
        result: Tensor = apply_function(function, operands, params, name, arrays)
    except ValueError:
        raise shape_error([np.shape(a) for a in arrays]) from None
    return result


def floating(a: Array) -> Array:
    """The array, in the default dtype where it holds integers."""
    return a if a.dtype.kind in "fc" else a.astype(dtypes.DEFAULT.floating.numpy)


def unary_of_nodes(
    name: str, function: Callable[..., Any], kernel: str = "", *, also: str = "", recorded: str = ""
) -> Callable[[Any], Tensor]:
    """A function of one tensor that computes integers as floats and refuses complex numbers."""
    recorded, kernel = recorded or title(name), kernel or f"{name}_cpu"

    def declared(input: Any) -> Tensor:
        x = require_tensor(input, name)
        only_kinds(kernel, "biuf", x._array.dtype)
        return mapped(function, recorded, (x,), [floating(x._array)])

    declared.__name__ = declared.__qualname__ = name
    return define(name, *also.split(), in_place=True, out=True)(declared)


rsqrt = unary("rsqrt", OPS["rsqrt"])
sinc = unary_of_nodes("sinc", COMPOSITES["sinc"].function)


def _in_angles(name: str, function: Callable[..., Any]) -> Callable[[Any], Tensor]:
    recorded = f"{name[:3].title()}2{name[4:].title()}Backward0"

    def declared(input: Any) -> Tensor:
        x = require_tensor(input, name)
        if x._array.dtype.kind == "c":
            raise RuntimeError(f"{name} is not supported for complex tensors.")
        return mapped(function, recorded, (x,), [floating(x._array)])

    declared.__name__ = declared.__qualname__ = name
    return define(name, in_place=True, out=True)(declared)


deg2rad = _in_angles("deg2rad", COMPOSITES["deg2rad"].function)
rad2deg = _in_angles("rad2deg", COMPOSITES["rad2deg"].function)


# Bounds ---------------------------------------------------------------------------------------------------


_ZEROS = {d.numpy: d.numpy.type(0) for d in (dtypes.float32, dtypes.float64)}
_RELU = named(OpRecord, "ReluBackward0")


@define(in_place=True)
def relu(input: Any) -> Tensor:
    """Return max(input, 0); the derivative at 0 is 0.

    >>> import jitgrad
    >>> jitgrad.relu(jitgrad.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    x = input if input.__class__ is Tensor else require_tensor(input, "relu")
    a = x._array
    zero = _ZEROS.get(a.dtype)
    if zero is not None:
        return computed(OPS["rectify"], _RELU, (x, None), [a, zero])
    kind = a.dtype.kind
    if kind == "b":
        raise RuntimeError("Boolean inputs not supported for relu")
    if kind == "c":
        raise NotImplementedError("clamp is not supported for complex types")
    return computed(OPS["rectify"], _RELU, (x, None), [a, a.dtype.type(0)])


_NUMBERS: frozenset[Any] = frozenset((int, float))
_CLAMP_RECORDS = [named(OpRecord, f"ClampBackward{i}") for i in (0, 1)]
_CLAMP = (
    "Tensor input, Tensor min = None, Tensor max = None, *, Tensor out = None",
    "Tensor input, Number min = None, Number max = None, *, Tensor out = None",
)


def _clamped(op: Op, kind: Any, x: Tensor, bounds: tuple[Any, ...]) -> Tensor:
    """The elements held within one bound or two, all of them numbers or all of them tensors."""
    arrays = in_common_dtype("clamp", x, *bounds)
    dtype = arrays[0].dtype
    if dtype.kind == "c":
        raise NotImplementedError("clamp is not supported for complex types")
    if dtype.kind == "b" and not isinstance(bounds[0], Tensor):
        raise NotImplementedError(f"\"{op.name}_scalar_cpu\" not implemented for 'Bool'")
    if dtype.kind != "b":
        pairs = zip(bounds, arrays[1:], strict=True)
        arrays[1:] = [a if isinstance(b, Tensor) else as_scalar(b, dtype) for b, a in pairs]
    return computed(op, kind, (x, *bounds), arrays)


@define("clamp", "clip", in_place=True, out=True)
def clamp(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """Return the elements held between min and max, numbers or tensors; None leaves a side open.

    At a bound the derivative is that of the input. RuntimeError where both sides are open.

    >>> import jitgrad
    >>> jitgrad.clamp(jitgrad.tensor([-1.0, 0.5, 2.0]), 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if input.__class__ is Tensor and _is_small(min) and _is_small(max):
        a = input._array
        if a.dtype.kind == "f":
            number = a.dtype.type
            return computed(
                OPS["clamp"], _CLAMP_RECORDS[1], (input, None, None), [a, number(min), number(max)]
            )
    x = require_tensor(input, "clamp")
    given = tuple([b for b in (min, max) if b is not None])
    if not given:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if 0 < sum([isinstance(b, Tensor) for b in given]) < len(given):
        given = tuple([_as_number(b) for b in given])
    tensors = [isinstance(b, Tensor) for b in given]
    if (
        any(tensors)
        and not all(tensors)
        or not all(isinstance(b, (Tensor, *Number, np.generic)) for b in given)
    ):
        raise wrong_combination("clamp", (input, min, max), *_CLAMP)
    kind = _CLAMP_RECORDS[0 if tensors[0] else 1]
    if len(given) == 2:
        return _clamped(OPS["clamp"], kind, x, given)
    return _clamped(OPS["clamp_min" if max is None else "clamp_max"], kind, x, given)


def _is_small(bound: Any) -> bool:
    """Whether a bound is a number that every floating dtype holds."""
    return bound.__class__ in _NUMBERS and bool(-65504 <= bound <= 65504)


def _as_number(bound: Any) -> Any:
    """A 0-d tensor without gradient as the number that it stands for."""
    if isinstance(bound, Tensor) and not bound.ndim and not bound.requires_grad:
        return bound._array.item()
    return bound


clip = clamp


def _one_sided(name: str) -> Callable[..., Tensor]:
    kinds = [named(OpRecord, title(name, i)) for i in (0, 1)]

    def function(input: Any, bound: Any) -> Tensor:
        require_tensor_and_operand(name, input, bound)
        return _clamped(OPS[name], kinds[isinstance(bound, Tensor)], input, (bound,))

    argument = name[-3:]

    def declared(input: Any, *args: Any, **kwargs: Any) -> Tensor:
        return function(input, *args, *(kwargs.pop(k) for k in (argument,) if k in kwargs), **kwargs)

    declared.__name__ = declared.__qualname__ = name
    declared.__doc__ = f"Return the elements held within one bound, `{argument}`, a number or a tensor."
    return define(name, in_place=True, out=True)(declared)


clamp_min = _one_sided("clamp_min")
clamp_max = _one_sided("clamp_max")


# The larger and the smaller -------------------------------------------------------------------------------


def _extreme(name: str, compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of two tensors; `compute` is given them, and their arrays in one dtype."""

    def function(input: Any, other: Any) -> Tensor:
        if not (input.__class__ is other.__class__ is Tensor):
            require_tensors(name, input, other)
        a, b = input._array, other._array
        if a.dtype is not b.dtype:
            a, b = in_common_dtype(name, input, other)
        if a.dtype.kind == "c":
            raise RuntimeError(f"{name} not implemented for complex tensors.")
        return compute((input, other), [a, b])

    function.__name__ = function.__qualname__ = name
    return define(name, out=True)(function)


def _by_op(name: str) -> Callable[..., Tensor]:
    op, kind = OPS[name], named(OpRecord, title(name))
    return _extreme(name, lambda operands, arrays: computed(op, kind, operands, arrays))


def _by_function(name: str, function: Callable[..., Any]) -> Callable[..., Tensor]:
    return _extreme(name, lambda operands, arrays: mapped(function, title(name), operands, arrays))


def _larger_number(x: Any, y: Any) -> Any:
    return where((x >= y) | (~equal(y, y)), x, y)


def _smaller_number(x: Any, y: Any) -> Any:
    return where((x <= y) | (~equal(y, y)), x, y)


maximum = _by_op("maximum")
minimum = _by_op("minimum")
fmax = _by_function("fmax", _larger_number)
fmin = _by_function("fmin", _smaller_number)


# Rounding and signs ---------------------------------------------------------------------------------------


def _fraction(x: Any) -> Any:
    return x - trunc(x)


@define(in_place=True, out=True)
def frac(input: Any) -> Tensor:
    """Return what is left after trunc, with the sign of the input."""
    x = require_tensor(input, "frac")
    only_kinds("frac_cpu", "f", x._array.dtype)
    return mapped(_fraction, "FracBackward0", (x,), [x._array])


@define(in_place=True, out=True)
def round(input: Any, *, decimals: int = 0) -> Tensor:
    """Return the nearest integers, or decimal fractions, halves to even."""
    x = require_tensor(input, "round")
    dtype = x._array.dtype
    if decimals:
        only_kinds("round_cpu", "f", dtype)
        return mapped(_rounded, "RoundBackward1", (x,), [x._array], decimals=int(decimals))
    only_kinds("round_vml_cpu", "iuf", dtype)
    if dtype.kind != "f":
        return wrap(x._array.copy())
    return computed(OPS["rint"], named(OpRecord, "RoundBackward0"), (x,), [x._array])


def _rounded(x: Any, decimals: int) -> Any:
    return COMPOSITES["round"](x, decimals)


@define(in_place=True, out=True)
def sgn(input: Any) -> Tensor:
    """Return the sign: -1, 0 or 1, and z / abs(z) of complex numbers."""
    x = require_tensor(input, "sgn")
    if x._array.dtype.kind in "bc":
        return wrap(np.asarray(np.sign(x._array)) if x._array.dtype.kind == "c" else x._array.copy())
    return mapped(_sign, "SgnBackward0", (x,), [x._array])


def _sign(x: Any) -> Any:
    return where(equal(x, x), sign(x), 0)


@define(out=True)
def signbit(input: Any) -> Tensor:
    """Return whether the sign is negative, that of -0 too."""
    a = require_tensor(input, "signbit")._array
    if a.dtype.kind == "c":
        raise NotImplementedError("signbit is not implemented for complex tensors.")
    return wrap(np.asarray(np.signbit(a) if a.dtype.kind == "f" else a < 0))


@define()
def positive(input: Any) -> Tensor:
    """Return the input itself; RuntimeError for bool tensors."""
    x = require_tensor(input, "positive")
    if x._array.dtype.kind == "b":
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return x


@define(out=True)
def angle(input: Any) -> Tensor:
    """Return the angle in the complex plane: 0 or pi for real numbers."""
    x = require_tensor(input, "angle")
    if x._array.dtype.kind == "c":
        return wrap(np.asarray(np.angle(x._array)))
    return mapped(_half_turn, "AngleBackward0", (x,), [floating(x._array)])


def _half_turn(x: Any) -> Any:
    constant = OPS["stop_gradient"](x)
    return where(constant < 0, math.pi, sign(constant) * 0)


@define(in_place=True, out=True)
def square(input: Any) -> Tensor:
    """Return input * input."""
    x = require_tensor(input, "square")
    a = x._array.astype(np.int64) if x._array.dtype.kind == "b" else x._array
    return mapped(COMPOSITES["square"].function, "PowBackward0", (x,), [a])


@define(out=True)
def nan_to_num(input: Any, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Tensor:
    """Return the input with numbers in place of NaN and the infinities, whose derivative is 0."""
    x = require_tensor(input, "nan_to_num")
    if x._array.dtype.kind != "f":
        return wrap(np.nan_to_num(x._array, nan=nan or 0.0, posinf=posinf, neginf=neginf))
    given = {"nan": nan or 0.0, "posinf": posinf, "neginf": neginf}
    return mapped(COMPOSITES["nan_to_num"].function, "NanToNumBackward0", (x,), [x._array], **given)


@define("nan_to_num_")
def _nan_to_num_(self: Tensor, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Tensor:
    """Write numbers over NaN and the infinities; integers stay as they are."""
    return inplace(nan_to_num)(self, nan, posinf, neginf) if self._array.dtype.kind == "f" else self


@define(in_place=True, out=True)
def logit(input: Any, eps: Any = None) -> Tensor:
    """Return log(x / (1 - x)), of x held between eps and 1 - eps where eps is given."""
    x = require_tensor(input, "logit")
    only_kinds("logit_cpu", "biuf", x._array.dtype)
    eps = None if eps is None or eps < 0 else float(eps)
    return mapped(_logit, "LogitBackward0", (x,), [floating(x._array)], eps=eps)


def _logit(x: Any, eps: float | None) -> Any:
    if eps is None:
        return COMPOSITES["logit"](x)
    z = where(x < eps, eps, where(x > 1 - eps, 1 - eps, x))
    return log(z) - log1p(-z)


# Mixtures -------------------------------------------------------------------------------------------------


def _same_dtype(name: str, x: Tensor, **others: Tensor) -> None:
    for argument, other in others.items():
        if other._array.dtype != x._array.dtype:
            wanted, got = (_C_NAMES.get(t._array.dtype.name, t._array.dtype.name) for t in (x, other))
            raise RuntimeError(f"expected dtype {wanted} for `{argument}` but got dtype {got}")


_C_NAMES = {"float32": "float", "float64": "double", "int64": "long int", "int32": "int"}


@define(out=True)
def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """Return input + weight * (end - input), broadcast; the weight is a number or a tensor."""
    if (
        not isinstance(input, Tensor)
        or not isinstance(end, Tensor)
        or not isinstance(weight, (Tensor, *Number))
    ):
        signature = "Tensor input, Tensor end, {} weight, *, Tensor out = None"
        raise wrong_combination(
            "lerp", (input, end, weight), *(signature.format(t) for t in ("Tensor", "Number"))
        )
    _same_dtype("lerp", input, end=end)
    a, b = input._array, end._array
    if not isinstance(weight, Tensor):
        only_kinds("lerp_kernel_scalar", "fc", a.dtype, a.shape, b.shape)
        return mapped(_mixed_by_number, "LerpBackward0", (input, end), [a, b], weight=weight)
    w = weight._array
    if w.ndim or w.dtype.kind != "f":
        _same_dtype("lerp", input, weight=weight)
    only_kinds("lerp_kernel_tensor", "fc", a.dtype, a.shape, b.shape, w.shape)
    return mapped(_mixed, "LerpBackward1", (input, end, weight), [a, b, w.astype(a.dtype, copy=False)])


@define("lerp_")
def _lerp(self: Tensor, end: Any, weight: Any) -> Tensor:
    """Set the elements to self + weight * (end - self)."""
    guard(self)
    must_fit(self._array, arrays_of((self, end, weight)))
    return write(self, lerp(self, end, weight))


def _mixed_by_number(x: Any, y: Any, weight: Any) -> Any:
    return x + weight * (y - x) if abs(weight) < 0.5 else y - (y - x) * (1 - weight)


def _mixed(x: Any, y: Any, w: Any) -> Any:
    return where(OPS["absolute"](w) < 0.5, x + w * (y - x), y - (y - x) * (1 - w))


def _three(name: str, *given: Any) -> None:
    if not all(isinstance(x, Tensor) for x in given):
        raise wrong_combination(
            name,
            given,
            "Tensor input, Tensor tensor1, Tensor tensor2, *, Number value = 1, Tensor out = None",
        )


@define(in_place=True, out=True)
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """Return input + value * tensor1 * tensor2, broadcast."""
    _three("addcmul", input, tensor1, tensor2)
    arrays = in_common_dtype("addcmul", input, tensor1, tensor2)
    only_kinds("addcmul_cpu_out", "iufc", arrays[0].dtype, *(a.shape for a in arrays))
    value = int(value) if arrays[0].dtype.kind in "iu" else value
    return mapped(_plus_product, "AddcmulBackward0", (input, tensor1, tensor2), arrays, value=value)


def _plus_product(x: Any, y: Any, z: Any, value: Any) -> Any:
    return x + (y * z if value == 1 else value * y * z)


@define(in_place=True, out=True)
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """Return input + value * tensor1 / tensor2, broadcast; RuntimeError for quotients of integers."""
    _three("addcdiv", input, tensor1, tensor2)
    if all(t._array.dtype.kind in "biu" for t in (tensor1, tensor2)):
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will "
            "perform a true division of tensor1 and tensor2. The historic addcdiv behavior can be "
            "implemented as (input + value * torch.trunc(tensor1 / tensor2)).to(input.dtype) for integer "
            "inputs and as (input + value * tensor1 / tensor2) for float inputs. The future addcdiv behavior "
            "is just the latter implementation: (input + value * tensor1 / tensor2), for all dtypes."
        )
    arrays = in_common_dtype("addcdiv", input, tensor1, tensor2)
    return mapped(_plus_quotient, "AddcdivBackward0", (input, tensor1, tensor2), arrays, value=value)


def _plus_quotient(x: Any, y: Any, z: Any, value: Any) -> Any:
    return x + (y / z if value == 1 else value * y / z)
