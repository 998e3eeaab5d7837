"""Comparisons, logic, bits and choices between two values, element by element."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define, operators
from jitgrad.eager.dispatch import OpRecord
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.functions.arithmetic import cast, computed, in_common_dtype, number_or_array, shape_error
from jitgrad.eager.functions.operands import (
    as_element,
    must_broadcast,
    only_kinds,
    require_tensor_and_operand,
    require_tensors,
    scalar_type,
    wrong_combination,
)
from jitgrad.eager.inplace import overwrite
from jitgrad.eager.modes import state
from jitgrad.eager.tape import named
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ops.table import OPS

__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "eq",
    "equal",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isin",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "not_equal",
    "where",
]

_ndarray = np.ndarray


def _plain(function: Callable[..., Any], *arrays: Any) -> Tensor:
    """The result of a NumPy function, which has no derivative."""
    try:
        result = state.compute(function, *arrays)
    except ValueError:
        raise shape_error([np.shape(a) for a in arrays]) from None
    return wrap(result if result.__class__ is _ndarray else np.asarray(result))


# Comparisons ----------------------------------------------------------------------------------------------


def _comparison(name: str, ufunc: np.ufunc, also: str = "", *, ordered: bool = True) -> Callable[..., Tensor]:
    """A comparison with a tensor or a number; `ordered` ones refuse complex numbers."""

    def function(input: Any, other: Any) -> Tensor:
        if input.__class__ is Tensor:
            a, kind = input._array, other.__class__
            if kind is Tensor:
                if a.dtype is other._array.dtype and a.dtype.kind != "c":
                    return _plain(ufunc, a, other._array)
            elif a.dtype.kind == "f" and (kind is float or kind is int):
                return _plain(ufunc, a, other)
        require_tensor_and_operand(name, input, other)
        arrays = in_common_dtype(name, input, other)
        if ordered:
            only_kinds(f"{name}_cpu", "biuf", arrays[0].dtype, *(a.shape for a in arrays))
        return _plain(ufunc, *arrays)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Return whether input {_SYMBOLS[name]} other, element by element, as bool."

    def in_place(self: Tensor, other: Any) -> Tensor:
        recorded = f"{name.title()}Backward{int(isinstance(other, Tensor))}"
        return overwrite(self, function(self, other), recorded)

    for title in (name, *also.split()):
        setattr(Tensor, f"{title}_", in_place)
    return define(name, *also.split(), out=True)(function)


_SYMBOLS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}

eq = _comparison("eq", np.equal, ordered=False)
ne = not_equal = _comparison("ne", np.not_equal, "not_equal", ordered=False)
lt = less = _comparison("lt", np.less, "less")
le = less_equal = _comparison("le", np.less_equal, "less_equal")
gt = greater = _comparison("gt", np.greater, "greater")
ge = greater_equal = _comparison("ge", np.greater_equal, "greater_equal")


@define()
def equal(input: Any, other: Any) -> bool:
    """Return whether two tensors have the same shape and elements.

    >>> import jitgrad
    >>> x = jitgrad.tensor([1.0, 2.0])
    >>> jitgrad.equal(x, x), jitgrad.equal(x, x + 1)
    (True, False)
    """
    require_tensors("equal", input, other)
    return bool(state.compute(np.array_equal, input._array, other._array))


def _near(a: Array, b: Array, rtol: float, atol: float, equal_nan: bool) -> Array:
    near: Array = a == b
    if equal_nan:
        near = near | ((a != a) & (b != b))
    if not rtol and not atol:
        return near
    if a.dtype.kind in "iub":
        a, b = a.astype(np.float64), b.astype(np.float64)
    distance = np.abs(a - b)
    near |= np.isfinite(distance) & (distance <= atol + np.abs(rtol * b))
    return near


@define()
def isclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Return whether abs(input - other) <= atol + rtol * abs(other), element by element."""
    require_tensors("isclose", input, other)
    a, b = input._array, other._array
    if a.dtype != b.dtype:
        raise RuntimeError(f"{scalar_type(a.dtype)} did not match {scalar_type(b.dtype)}")
    for name, bound in (("rtol", rtol), ("atol", atol)):
        if bound < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {bound}")
    return _plain(_near, a, b, rtol, atol, equal_nan)


@define()
def allclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Return whether isclose holds for all elements."""
    require_tensors("allclose", input, other)
    return bool(isclose(input, other, rtol, atol, equal_nan)._array.all())


def _isin(elements: Any, test_elements: Any, unique: bool, invert: bool) -> Array:
    return np.asarray(np.isin(elements, test_elements, assume_unique=unique, invert=invert))


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Return whether each element is among the test elements; one of the two may be a number."""
    given = (elements, test_elements)
    if not any(isinstance(x, Tensor) for x in given) or not all(
        isinstance(x, (Tensor, *Number)) for x in given
    ):
        signatures = (
            "Tensor elements, Tensor test",
            "Number element, Tensor test",
            "Tensor elements, Number test",
        )
        raise wrong_combination(
            "isin",
            given,
            *(f"{s}_elements, *, bool assume_unique = False, bool invert = False" for s in signatures),
        )
    for x in given:
        if isinstance(x, Tensor) and x._array.dtype.kind in "bc":
            raise RuntimeError(
                f"Unsupported input type encountered for isin(): {scalar_type(x._array.dtype)}"
            )
    return _plain(_isin, *in_common_dtype("isin", *given), assume_unique, invert)


# Kinds of numbers -----------------------------------------------------------------------------------------


def _property(name: str, function: Callable[..., Any], real: bool = False) -> Callable[[Any], Tensor]:
    """A bool function of one tensor; `real` ones refuse complex numbers."""

    def declared(input: Any) -> Tensor:
        a = require_tensor(input, name)._array
        if real and a.dtype.kind == "c":
            raise RuntimeError(f"{name} does not support complex inputs.")
        return _plain(function, a)

    declared.__name__ = declared.__qualname__ = name
    return define(name, out=real)(declared)


def _is_infinity(sign: float) -> Callable[[Array], Array]:
    return lambda a: np.equal(a, sign * np.inf) if a.dtype.kind == "f" else np.zeros(a.shape, bool)


isnan = _property("isnan", np.isnan)
isinf = _property("isinf", np.isinf)
isfinite = _property("isfinite", np.isfinite)
isreal = _property("isreal", np.isreal)
isposinf = _property("isposinf", _is_infinity(1), real=True)
isneginf = _property("isneginf", _is_infinity(-1), real=True)


# Logic ----------------------------------------------------------------------------------------------------


def _logical(name: str, ufunc: np.ufunc) -> Callable[..., Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        require_tensors(name, input, other)
        return _plain(ufunc, input._array, other._array)

    function.__name__ = function.__qualname__ = name
    return define(name, in_place=True, out=True)(function)


logical_and = _logical("logical_and", np.logical_and)
logical_or = _logical("logical_or", np.logical_or)
logical_xor = _logical("logical_xor", np.logical_xor)


@define(in_place=True, out=True)
def logical_not(input: Any) -> Tensor:
    """Return whether each element is zero."""
    return _plain(np.logical_not, require_tensor(input, "logical_not")._array)


# Bits -----------------------------------------------------------------------------------------------------


def _bits(
    name: str, ufunc: Callable[..., Any], kernel: str = "", kinds: str = "biu"
) -> Callable[..., Tensor]:
    """A function of the bits of two tensors, or of a tensor and a number on either side."""
    kernel = kernel or f"{name}_cpu"

    def function(input: Any, other: Any) -> Tensor:
        first, second = (input, other) if isinstance(input, Tensor) else (other, input)
        if not isinstance(first, Tensor) or not isinstance(second, (Tensor, *Number, np.generic)):
            raise wrong_combination(
                name,
                (input, other),
                "Tensor input, Tensor other, *, Tensor out = None",
                "Tensor input, Number other, *, Tensor out = None",
                "Number self, Tensor other, *, Tensor out = None",
            )
        a, b = in_common_dtype(name, input, other)
        only_kinds(kernel, kinds, a.dtype, a.shape, b.shape)
        return _plain(ufunc, a, b)

    function.__name__ = function.__qualname__ = name
    return define(name, in_place=True, out=True)(function)


def _shifted_left(a: Array, places: Array) -> Array:
    """a times 2**places; 0 where no bit is left."""
    outside = (places < 0) | (places >= a.dtype.itemsize * 8)
    shifted: Array = np.where(outside, 0, np.left_shift(a, np.where(outside, 0, places)))
    return shifted.astype(a.dtype)


def _shifted_right(a: Array, places: Array) -> Array:
    """a divided by 2**places; what is left of the sign where no other bit is."""
    most = a.dtype.itemsize * 8 - 1
    outside = (places < 0) | (places > most)
    if a.dtype.kind == "u":
        return np.where(outside, 0, np.right_shift(a, np.where(outside, 0, places))).astype(a.dtype)
    shifted: Array = np.right_shift(a, np.where(outside, most, places).astype(a.dtype))
    return shifted


bitwise_and = _bits("bitwise_and", np.bitwise_and)
bitwise_or = _bits("bitwise_or", np.bitwise_or)
bitwise_xor = _bits("bitwise_xor", np.bitwise_xor)
bitwise_left_shift = _bits("bitwise_left_shift", _shifted_left, "lshift_cpu", "iu")
bitwise_right_shift = _bits("bitwise_right_shift", _shifted_right, "rshift_cpu", "iu")


@define(in_place=True, out=True)
def bitwise_not(input: Any) -> Tensor:
    """Return the integers with all bits inverted, or the negated booleans."""
    a = require_tensor(input, "bitwise_not")._array
    only_kinds("bitwise_not_cpu", "biu", a.dtype)
    return _plain(np.invert, a)


def _inverted(x: Tensor) -> Tensor:
    if x._array.dtype.kind in "fc":
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return bitwise_not(x)


# Choices --------------------------------------------------------------------------------------------------


def _condition(given: Any) -> Array:
    a: Array = given._array
    if a.dtype.kind == "b":
        return a
    if a.dtype == np.uint8:
        warnings.warn(
            "where received a uint8 condition tensor. This behavior is deprecated and will be removed in a "
            "future version of PyTorch. Use a boolean condition instead.",
            UserWarning,
            stacklevel=4,
        )
        return a.astype(bool)
    raise RuntimeError(
        f"where expected condition to be a boolean tensor, but got a tensor with dtype {scalar_type(a.dtype)}"
    )


_WHERE_RECORD = named(OpRecord, "WhereBackward0")
_WHERE = (
    "Tensor condition",
    "Tensor condition, Tensor input, Tensor other, *, Tensor out = None",
    "Tensor condition, Number self, Tensor other",
    "Tensor condition, Tensor input, Number other",
    "Tensor condition, Number self, Number other",
)


@define(method=False, out=True)
def where(condition: Any, *given: Any, **named: Any) -> Any:
    """Return input where the condition holds, else other, broadcast; with the condition alone, the places
    where it holds, as one index tensor for each axis.

    >>> import jitgrad
    >>> x = jitgrad.tensor([1.0, -2.0, 3.0])
    >>> jitgrad.where(x > 0, x, 0.0)
    tensor([1., 0., 3.])
    """
    if (
        condition.__class__ is Tensor
        and len(given) == 2
        and given[0].__class__ is given[1].__class__ is Tensor
    ):
        return _chosen(condition, *given)
    operands = (*given, *(named[n] for n in ("input", "self", "other") if n in named))
    if isinstance(condition, Tensor) and not operands and not named:
        return tuple(wrap(i) for i in np.nonzero(np.atleast_1d(condition._array)))
    if not isinstance(condition, Tensor) or len(operands) != 2 or not all(map(_is_operand, operands)):
        raise wrong_combination("where", (condition, *operands), *_WHERE)
    return _chosen(condition, *operands)


def _is_operand(x: Any) -> bool:
    return isinstance(x, (Tensor, *Number, np.generic))


def _alike(x: Any, y: Any) -> list[Array]:
    """The operands as arrays of their common dtype."""
    if x.__class__ is y.__class__ is Tensor and x._array.dtype is y._array.dtype:
        return [x._array, y._array]
    given = [number_or_array(v, "where") for v in (x, y)]
    wanted = dtypes.common(given)
    return [as_element(v, wanted) if isinstance(v, Number) else cast(v, wanted) for v in given]


def _chosen(condition: Tensor, x: Any, y: Any) -> Tensor:
    mask = _condition(condition)
    arrays = _alike(x, y)
    try:
        return computed(OPS["where"], _WHERE_RECORD, (condition, x, y), [mask, *arrays])
    except RuntimeError:
        must_broadcast(mask.shape, must_broadcast(*(a.shape for a in arrays)))
        raise


@define("where")
def _where_method(self: Tensor, condition: Any, other: Any) -> Any:
    """Return this tensor where the condition holds, else other."""
    return where(condition, self, other)


# Operators ------------------------------------------------------------------------------------------------

_IN_PLACE = {
    "iadd": "add_",
    "isub": "sub_",
    "imul": "mul_",
    "itruediv": "div_",
    "idiv": "div_",
    "ifloordiv": "floor_divide_",
    "imod": "remainder_",
    "ipow": "pow_",
    "iand": "bitwise_and_",
    "ior": "bitwise_or_",
    "ixor": "bitwise_xor_",
    "ilshift": "bitwise_left_shift_",
    "irshift": "bitwise_right_shift_",
}


def _reversed(function: Callable[..., Tensor]) -> Callable[[Any, Any], Tensor]:
    return lambda x, y: function(y, x)


operators(
    {"eq": eq, "ne": ne, "lt": lt, "le": le, "gt": gt, "ge": ge, "invert": _inverted}
    | {"and": bitwise_and, "or": bitwise_or, "xor": bitwise_xor}
    | {"rand": bitwise_and, "ror": bitwise_or, "rxor": bitwise_xor}
    | {"lshift": bitwise_left_shift, "rshift": bitwise_right_shift}
    | {"rlshift": _reversed(bitwise_left_shift), "rrshift": _reversed(bitwise_right_shift)}
    | {operator: getattr(Tensor, method) for operator, method in _IN_PLACE.items()}
)
