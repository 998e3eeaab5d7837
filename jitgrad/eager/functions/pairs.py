"""Functions of two numbers beyond arithmetic: remainders, angles, sums of logarithms, signs, exponents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.eager.define import define, operators
from jitgrad.eager.dispatch import OpRecord, apply_function, edges_of
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.functions.arithmetic import computed, in_common_dtype, shape_error, title
from jitgrad.eager.functions.operands import (
    only_kinds,
    require_tensor_and_operand,
    require_tensors,
    scalar_type,
    wrong_combination,
)
from jitgrad.eager.functions.pointwise import mapped, positive
from jitgrad.eager.inplace import guard, inplace, write
from jitgrad.eager.modes import state
from jitgrad.eager.results import named_result
from jitgrad.eager.tape import Record, named
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node, Op
from jitgrad.ops.elementwise import exp2
from jitgrad.ops.table import COMPOSITES, OPS

__all__ = [
    "arctan2",
    "atan2",
    "conj",
    "conj_physical",
    "copysign",
    "float_power",
    "fmod",
    "frexp",
    "gcd",
    "heaviside",
    "hypot",
    "is_conj",
    "is_neg",
    "lcm",
    "ldexp",
    "logaddexp",
    "logaddexp2",
    "nextafter",
    "resolve_conj",
    "resolve_neg",
    "xlogy",
]


# Both arguments are tensors -------------------------------------------------------------------------------


def _of_tensors(
    name: str, op: Op, kinds: str, *, also: str = "", in_place: bool = True, recorded: str = ""
) -> Callable[..., Tensor]:
    """A function of two tensors; integers become floats if `kinds` has them, else they are refused."""
    kind = named(OpRecord, recorded or title(name))

    def function(input: Any, other: Any) -> Tensor:
        require_tensors(name, input, other)
        a, b = input._array, other._array
        if a.dtype is not b.dtype or a.dtype.kind != "f":
            a, b = in_common_dtype(name, input, other, floating="i" in kinds)
            only_kinds(f"{name}_cpu", kinds, a.dtype, a.shape, b.shape)
        return computed(op, kind, (input, other), [a, b])

    function.__name__ = function.__qualname__ = name
    return define(name, *also.split(), in_place=in_place, out=True)(function)


atan2 = arctan2 = _of_tensors("atan2", OPS["arctan2"], "biuf", also="arctan2")
hypot = _of_tensors("hypot", OPS["hypot"], "f")
nextafter = _of_tensors("nextafter", OPS["step_towards"], "f")
logaddexp = _of_tensors("logaddexp", OPS["log_add_exp"], "f", in_place=False)
logaddexp2 = _of_tensors("logaddexp2", OPS["log_add_exp2"], "f", in_place=False)


def _of_integers(name: str, ufunc: np.ufunc) -> Callable[..., Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        require_tensors(name, input, other)
        a, b = in_common_dtype(name, input, other)
        only_kinds(f"{name}_cpu", "iu", a.dtype, a.shape, b.shape)
        return _unrecorded(ufunc, a, b)

    function.__name__ = function.__qualname__ = name
    return define(name, in_place=True, out=True)(function)


def _unrecorded(function: Callable[..., Any], *arrays: Array) -> Tensor:
    try:
        return wrap(np.asarray(state.compute(function, *arrays)))
    except ValueError:
        raise shape_error([a.shape for a in arrays]) from None


gcd = _of_integers("gcd", np.gcd)
lcm = _of_integers("lcm", np.lcm)


_LDEXP = named(OpRecord, "LdexpBackward0")


def _scaled(x: Any, exponent: Any) -> Any:
    return x * exp2(exponent)


@define(in_place=True, out=True)
def ldexp(input: Any, other: Any) -> Tensor:
    """Return input * 2**other."""
    require_tensors("ldexp", input, other)
    x, exponent = input._array, other._array
    arrays = in_common_dtype("ldexp", input, other, floating=True)
    if x.dtype.kind != "f" or exponent.dtype.kind == "f":
        return mapped(_scaled, "LdexpBackward0", (input, other), arrays)
    only_kinds("ldexp_cpu_exp", "iu", exponent.dtype, x.shape, exponent.shape)
    return computed(OPS["scale"], _LDEXP, (input, other), [arrays[0], exponent])


class _NotImplemented(Record):
    """A step whose derivative PyTorch does not have either."""

    function: str

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        raise RuntimeError(f"derivative for aten::{self.function} is not implemented")

    backward_recorded = backward


def undifferentiable(name: str, result: Tensor, *operands: Any) -> Tensor:
    """The result, recorded as one whose derivative is an error."""
    edges = edges_of(operands)
    if edges is not None:
        array = result._array
        record = named(_NotImplemented, "NotImplemented")(edges, ((array.shape, array.dtype),))
        record.function = name
        result._edge = (record, 0)
    return result


@define(in_place=True, out=True)
def heaviside(input: Any, values: Any) -> Tensor:
    """Return 0 below zero, 1 above, and `values` at zero; it has no derivative."""
    require_tensors("heaviside", input, values, arguments=("input", "values"))
    a, b = input._array, values._array
    if "c" in (a.dtype.kind, b.dtype.kind):
        raise RuntimeError("heaviside is not yet implemented for complex tensors.")
    if a.dtype != b.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return undifferentiable("heaviside", _unrecorded(_step, a, b), input, values)


def _step(a: Array, values: Array) -> Array:
    return np.where(a == 0, values, (a > 0).astype(a.dtype))


# Tensors and numbers --------------------------------------------------------------------------------------


_FMOD = [named(OpRecord, f"FmodBackward{i}") for i in (0, 1)]


@define(in_place=True, out=True)
def fmod(input: Any, other: Any) -> Tensor:
    """Return the remainder with the sign of the input, as C's fmod has it."""
    require_tensor_and_operand("fmod", input, other)
    a, b = in_common_dtype("fmod", input, other)
    only_kinds("fmod_cpu", "iuf", a.dtype, a.shape, b.shape)
    if a.dtype.kind == "f":
        return computed(OPS["fmod"], _FMOD[isinstance(other, Tensor)], (input, other), [a, b])
    if a.size and not b.all():
        raise RuntimeError("ZeroDivisionError")
    return _unrecorded(np.fmod, a, b)


@define(in_place=True, out=True)
def copysign(input: Any, other: Any) -> Tensor:
    """Return the size of the input with the sign of the other; its derivative at 0 is 0."""
    require_tensor_and_operand("copysign", input, other)
    arrays = in_common_dtype("copysign", input, other, floating=True)
    only_kinds("copysign_cpu", "f", arrays[0].dtype)
    name = title("copysign", int(not isinstance(other, Tensor)))
    return mapped(COMPOSITES["copysign"].function, name, (input, other), arrays)


def require_tensor_among_two(name: str, x: Any, y: Any, second: str = "other", first: str = "input") -> None:
    """Refuse two operands of which none is a tensor, or that are neither tensors nor numbers."""
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        if isinstance(x, (Tensor, *Number, np.generic)) and isinstance(y, (Tensor, *Number, np.generic)):
            return
    raise wrong_combination(
        name,
        (x, y),
        f"Tensor {first}, Tensor {second}, *, Tensor out = None",
        f"Number self, Tensor {second}, *, Tensor out = None",
        f"Tensor {first}, Number {second}, *, Tensor out = None",
    )


def weighted(name: str, op: Op, recorded: str, kernel: str) -> Callable[..., Tensor]:
    """A function of two tensors, or of a tensor and a number on either side, that computes floats."""
    kinds = [named(OpRecord, title(recorded, i)) for i in range(3)]

    def function(input: Any, other: Any) -> Tensor:
        require_tensor_among_two(name, input, other)
        arrays = in_common_dtype(name, input, other, floating=True)
        only_kinds(kernel, "f", arrays[0].dtype)
        number = (
            0 if isinstance(input, Tensor) and isinstance(other, Tensor) else 1 + isinstance(input, Tensor)
        )
        return computed(op, kinds[number], (input, other), arrays)

    function.__name__ = function.__qualname__ = name
    return function


xlogy = define(in_place=True, out=True)(weighted("xlogy", OPS["xlogy"], "xlogy", "xlogy_cpu"))


# Powers and exponents -------------------------------------------------------------------------------------


def _raised(x: Node, exponent: Any) -> Any:
    return COMPOSITES["pow"](x, exponent)


@define(out=True)
def float_power(input: Any, exponent: Any) -> Tensor:
    """Return input ** exponent, computed in float64 or complex128."""
    require_tensor_among_two("float_power", input, exponent, "exponent")
    arrays = in_common_dtype("float_power", input, exponent)
    wide = [a.astype(np.complex128 if a.dtype.kind == "c" else np.float64) for a in arrays]
    if wide[0].dtype.kind == "c":
        return _unrecorded(np.power, *wide)
    if isinstance(exponent, (int, float)):
        return mapped(_raised, "PowBackward0", (input,), [wide[0]], exponent=float(exponent))
    kind = named(OpRecord, "PowBackward1" if isinstance(input, Tensor) else "PowBackward2")
    return computed(OPS["power"], kind, (input, exponent), wide)


@define("float_power_")
def _float_power(self: Tensor, exponent: Any) -> Tensor:
    """Set the elements to their powers; RuntimeError unless they are of 64 bits."""
    guard(self)
    result = float_power(self, exponent)
    own, needed = self._array.dtype, result._array.dtype
    if own != needed:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {scalar_type(own)} but the operation's result "
            f"requires dtype {scalar_type(needed)}"
        )
    return write(self, result)


_frexp_result = named_result("frexp", "mantissa exponent")


def _mantissa(x: Node, exponent: Node) -> Any:
    return COMPOSITES["ldexp"](x, OPS["negative"](exponent))


@define()
def frexp(input: Any) -> Any:
    """Return mantissas, at least 0.5 and below 1 in size, and exponents of 2 as int32."""
    x = require_tensor(input, "frexp")
    if x._array.dtype.kind != "f":
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    mantissa, exponent = (np.asarray(a) for a in state.compute(np.frexp, x._array))
    out = wrap(mantissa)
    if edges_of((x,)) is not None:
        out = apply_function(_mantissa, (x, None), {}, "FrexpBackward0", [x._array, exponent])
        np.copyto(out._array, mantissa)
    return _frexp_result(out, wrap(exponent))


# Complex numbers ------------------------------------------------------------------------------------------


def _as_they_are(name: str) -> Callable[[Any], Tensor]:
    """A function of which NumPy's arrays have no need: it returns the tensor itself."""

    def function(input: Any) -> Tensor:
        return require_tensor(input, name)

    function.__name__ = function.__qualname__ = name
    return define(name)(function)


resolve_conj = _as_they_are("resolve_conj")
resolve_neg = _as_they_are("resolve_neg")


def _never(name: str) -> Callable[[Any], bool]:
    def function(input: Any) -> bool:
        require_tensor(input, name)
        return False

    function.__name__ = function.__qualname__ = name
    return define(name)(function)


is_conj = _never("is_conj")
is_neg = _never("is_neg")


@define()
def conj(input: Any) -> Tensor:
    """Return the complex conjugate: a real tensor itself."""
    x = require_tensor(input, "conj")
    return wrap(np.conj(x._array)) if x._array.dtype.kind == "c" else x


@define(out=True)
def conj_physical(input: Any) -> Tensor:
    """Return the complex conjugate: a real tensor itself."""
    return conj(require_tensor(input, "conj_physical"))


@define("conj_physical_")
def _conj_physical(self: Tensor) -> Tensor:
    """Set the elements to their complex conjugates."""
    return inplace(conj)(self) if self._array.dtype.kind == "c" else self


operators({"pos": positive})
