"""Functions of one and two tensors, element by element, straight from the op table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define, operators
from jitgrad.eager.dispatch import OpRecord, apply_function, edges_of, record_op
from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.modes import state
from jitgrad.eager.plan import LARGE
from jitgrad.eager.tape import named
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node, Op
from jitgrad.ops.elementwise import SHORT_POWERS, isnan, where
from jitgrad.ops.table import COMPOSITES, OPS

__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "add",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "div",
    "divide",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "fix",
    "floor",
    "floor_divide",
    "log",
    "log10",
    "log1p",
    "log2",
    "mul",
    "multiply",
    "neg",
    "negative",
    "pow",
    "reciprocal",
    "remainder",
    "rsub",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "sub",
    "subtract",
    "tan",
    "tanh",
    "true_divide",
    "trunc",
]

Check = Callable[[Any, Any, list[Array]], None]

_ndarray = np.ndarray


# Operands -----------------------------------------------------------------------------------------------


def number_or_array(value: Any, name: str) -> Any:
    """An operand as an array or a Python number; TypeError for anything else."""
    if isinstance(value, Tensor):
        return value._array
    if isinstance(value, Number):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value
    raise TypeError(f"{name}(): argument 'other' (position 2) must be Tensor, not {type(value).__name__}")


def cast(value: Any, wanted: np.dtype[Any]) -> Array:
    """An array or Python number as an array of a dtype; integers wrap around as in PyTorch."""
    if value.__class__ is _ndarray:
        return value if value.dtype is wanted else value.astype(wanted)
    return np.asarray(value).astype(wanted)


def in_common_dtype(name: str, *values: Any, floating: bool = False) -> list[Array]:
    """Operands as arrays of the dtype in which PyTorch combines them; `floating` makes integers floats."""
    given = [number_or_array(v, name) for v in values]
    wanted = dtypes.common(given)
    if floating and wanted.kind in "iub":
        wanted = dtypes.DEFAULT.floating.numpy
    return [cast(v, wanted) for v in given]


def shape_error(shapes: list[tuple[int, ...]]) -> RuntimeError:
    """What to raise for operands whose shapes do not broadcast."""
    first, second = (shapes[0], shapes[1])
    for axis in range(1, min(len(first), len(second)) + 1):
        n, m = first[-axis], second[-axis]
        if n != m and 1 not in (n, m):
            place = max(len(first), len(second)) - axis
            return RuntimeError(
                f"The size of tensor a ({n}) must match the size of tensor b ({m}) at non-singleton "
                f"dimension {place}"
            )
    return RuntimeError(f"shapes {', '.join(map(str, shapes))} do not broadcast")


# Declaring functions ------------------------------------------------------------------------------------


def title(name: str, number: int = 0) -> str:
    """The name on the tape: "log_softmax" is LogSoftmaxBackward0, "log1p" is Log1PBackward0."""
    return f"{name.title().replace('_', '')}Backward{number}"


def computed(op: Op, kind: Any, operands: tuple[Any, ...], arrays: list[Any]) -> Tensor:
    """An elementwise op on arrays (or Python numbers) that stand for operands; `kind` is its record class."""
    try:
        for a in arrays:
            if a.__class__ is _ndarray and a.size >= LARGE:
                return _in_kernel(op, kind.__name__, operands, arrays)
        result = state.compute(op.numpy, *arrays)
    except ValueError:
        raise shape_error([np.shape(a) for a in arrays]) from None
    out = wrap(result if result.__class__ is _ndarray else np.asarray(result))
    if state.grad:
        edges = edges_of(operands)
        if edges is not None and out._array.dtype.kind == "f":
            record_op(op, operands, arrays, _NO_PARAMS, kind, out, edges)
    return out


_NO_PARAMS: dict[str, Any] = {}


def _in_kernel(op: Op, name: str, operands: tuple[Any, ...], arrays: list[Any]) -> Tensor:
    dtype = next(a.dtype for a in arrays if isinstance(a, np.ndarray))
    strong = [a if isinstance(a, np.ndarray) else np.asarray(a, dtype) for a in arrays]
    return apply_function(op, operands, _NO_PARAMS, name, strong)  # type: ignore[no-any-return]


def unary(name: str, op: Op, *, floating: bool = True, also: str = "") -> Callable[[Any], Tensor]:
    """A function of one tensor, which has a second name `also`; `floating` computes integers as floats."""
    recorded = named(OpRecord, title(name))

    def function(input: Any) -> Tensor:
        if not isinstance(input, Tensor):
            require_tensor(input, name)
        a = input._array
        if a.dtype.kind != "f":
            a = _floating(a) if floating else _roundable(a, name)
        return computed(op, recorded, (input,), [a])

    function.__name__ = function.__qualname__ = name
    return define(name, *also.split(), in_place=True, out=True)(function)


def _floating(a: Array) -> Array:
    return a if a.dtype.kind == "c" else a.astype(dtypes.DEFAULT.floating.numpy)


def _roundable(a: Array, name: str) -> Array:
    if a.dtype.kind == "c":
        raise NotImplementedError(f"{name} is not supported for complex inputs")
    _not_of("b", f"{name}_vml_cpu", a)
    return a


def binary(
    name: str, op: Op, *, floating: bool = False, check: Check | None = None, recorded: str = ""
) -> Callable[..., Tensor]:
    """A function of two tensors or numbers; `floating` computes integers in the default dtype.

    `check` may refuse operands, which it gets as they are and as arrays of their common dtype.
    """
    kind = named(OpRecord, recorded or title(name))
    as_is = "f" if floating or check else "fiu"

    def function(input: Any, other: Any) -> Tensor:
        given = other.__class__
        if input.__class__ is Tensor:
            a = input._array
            if given is Tensor:
                b = other._array
                if a.dtype is b.dtype and a.dtype.kind in as_is:
                    return computed(op, kind, (input, other), [a, b])
            elif a.dtype.kind == "f" and (given is float or given is int):
                return computed(op, kind, (input, other), [a, other])
        arrays = in_common_dtype(name, input, other, floating=floating)
        if check is not None:
            check(input, other, arrays)
        return computed(op, kind, (input, other), arrays)

    function.__name__ = function.__qualname__ = name
    return function


# Arithmetic ---------------------------------------------------------------------------------------------


def _no_bool(input: Any, other: Any, arrays: list[Array]) -> None:
    """Refuse bool operands of a subtraction."""
    flags = [_is_bool(x) for x in (input, other)]
    if all(flags):
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )
    if any(flags):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert "
            "a mask, use the `~` or `logical_not()` operator instead."
        )


def _is_bool(x: Any) -> bool:
    return isinstance(x, bool) or (isinstance(x, (Tensor, np.ndarray)) and x.dtype.kind == "b")


def _not_of(kinds: str, kernel: str, array: Array) -> None:
    if array.dtype.kind in kinds:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{dtypes.scalar_type(array.dtype)}'")


def _dividing(kernel: str) -> Check:
    """The check of a division that gives integers for integers."""

    def check(input: Any, other: Any, arrays: list[Array]) -> None:
        _not_of("bc", kernel, arrays[1])
        if arrays[1].dtype.kind in "iu" and not arrays[1].all():
            raise RuntimeError("ZeroDivisionError")

    return check


def _power_of_tensors(input: Any, other: Any, arrays: list[Array]) -> None:
    """Let tensors be negative powers of integers, which are 0 unless the integer is 1 or -1."""
    base, exponent = arrays
    _not_of("b", "pow", base)
    if exponent.dtype.kind == "i" and exponent.size and exponent.min() < 0:
        sign = np.where(exponent % 2 == 0, np.abs(base), base)
        arrays[0] = np.where(exponent < 0, np.where(np.abs(base) == 1, sign, 0), base)
        arrays[1] = np.where(exponent < 0, 1, exponent)


def _integer_power(input: Any, other: Any, arrays: list[Array]) -> None:
    if arrays[1].dtype.kind == "i" and arrays[1].size and arrays[1].min() < 0:
        raise RuntimeError("Integers to negative integer powers are not allowed.")


_add = binary("add", OPS["add"])
_sub = binary("sub", OPS["subtract"], check=_no_bool)
_mul = binary("mul", OPS["multiply"])
_div = binary("div", OPS["divide"], floating=True)
_floor_divide = binary("floor_divide", OPS["floor_divide"], check=_dividing("div_floor_cpu"))
_remainder = binary("remainder", OPS["remainder"], check=_dividing("remainder_cpu"))
_power = binary("pow", OPS["power"], check=_power_of_tensors, recorded="PowBackward1")


def invalid_arguments(name: str, *args: Any) -> TypeError:
    kinds = ", ".join(type(a).__name__ for a in args)
    return TypeError(f"{name}() received an invalid combination of arguments - got ({kinds})")


def _one_tensor(name: str, input: Any, other: Any) -> None:
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        raise invalid_arguments(name, input, other)


def _scaled(x: Any, alpha: Any, name: str) -> Any:
    if isinstance(alpha, bool) and x._array.dtype.kind != "b":
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and x._array.dtype.kind in "iub":
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    return _mul(x, alpha)


def _other_tensor(value: Any, name: str) -> Any:
    if isinstance(value, (Tensor, *Number)):
        return value
    raise TypeError(f"{name}(): argument 'other' (position 2) must be Tensor, not {type(value).__name__}")


@define(in_place=True, ufunc=np.add, out=True)
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return input + alpha * other, broadcast.

    >>> import jitgrad
    >>> jitgrad.add(jitgrad.tensor([1.0, 2.0]), 1, alpha=2)
    tensor([3., 4.])
    """
    other = _other_tensor(other, "add")
    if alpha == 1:
        return _add(input, other)
    return _add(input, other * alpha if isinstance(other, Number) else _scaled(other, alpha, "add"))


@define("sub", "subtract", in_place=True, ufunc=np.subtract, out=True)
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return input - alpha * other, broadcast."""
    other = _other_tensor(other, "sub")
    if alpha == 1:
        return _sub(input, other)
    return _sub(input, other * alpha if isinstance(other, Number) else _scaled(other, alpha, "sub"))


subtract = sub


@define("mul", "multiply", in_place=True, ufunc=np.multiply, out=True)
def mul(input: Any, other: Any) -> Tensor:
    """Return input * other, broadcast."""
    return _mul(input, _other_tensor(other, "mul"))


multiply = mul


_ROUNDED = {how: _dividing(f"div_{how}_cpu") for how in ("floor", "trunc")}


@define("div", "divide", in_place=True, ufunc=np.divide, out=True)
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Return input / other, broadcast; integers give floats unless `rounding_mode` is "floor" or "trunc"."""
    other = _other_tensor(other, "div")
    if rounding_mode is None:
        return _div(input, other)
    if rounding_mode not in _ROUNDED:
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    arrays = in_common_dtype("div", input, other)
    if arrays[0].dtype.kind != "f":
        _ROUNDED[rounding_mode](input, other, arrays)
        if rounding_mode == "floor":
            return wrap(np.asarray(np.floor_divide(*arrays)))
        quotient = np.abs(arrays[0]) // np.abs(arrays[1])
        return wrap(np.asarray(np.where((arrays[0] < 0) != (arrays[1] < 0), -quotient, quotient)))
    if rounding_mode == "floor":
        return apply_function(_floor_quotient, (input, other), _NO_PARAMS, "DivBackward2", arrays)  # type: ignore[no-any-return]
    return apply_function(_truncated, (input, other), _NO_PARAMS, "DivBackward2", arrays)  # type: ignore[no-any-return]


def _truncated(x: Node, y: Node) -> Node:
    return OPS["trunc"](x / y)  # type: ignore[no-any-return]


def _floor_quotient(x: Node, y: Node) -> Node:
    return OPS["floor_divide"](x, y)  # type: ignore[no-any-return]


divide = div


@define("true_divide", in_place=True, out=True)
def true_divide(input: Any, other: Any) -> Tensor:
    """Return input / other, broadcast."""
    return _div(input, _other_tensor(other, "true_divide"))


@define(in_place=True, out=True)
def floor_divide(input: Any, other: Any) -> Tensor:
    """Return the quotient rounded towards minus infinity."""
    return _floor_divide(input, _other_tensor(other, "floor_divide"))


@define(in_place=True, out=True)
def remainder(input: Any, other: Any) -> Tensor:
    """Return the remainder with the sign of the divisor, as Python's % has it."""
    _one_tensor("remainder", input, other)
    return _remainder(input, _other_tensor(other, "remainder"))


def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return other - alpha * input."""
    if not isinstance(input, Tensor):
        raise invalid_arguments("rsub", input, other)
    scaled = input if alpha == 1 else _scaled(input, alpha, "rsub")
    return _sub(other, scaled) if isinstance(other, Tensor) else _reversed_sub(other, scaled)


_reversed_sub = binary("sub", OPS["subtract"], check=_no_bool, recorded="RsubBackward1")


# A number as exponent is part of the program, since 2, 0.5 and the like become products and roots.


def _raised(x: Node, exponent: Any) -> Node:
    return COMPOSITES["pow"](x, exponent)  # type: ignore[no-any-return]


@define(in_place=True, out=True)
def pow(input: Any, exponent: Any) -> Tensor:
    """Return input ** exponent, broadcast; RuntimeError for negative powers of integers."""
    _one_tensor("pow", input, exponent)
    if not isinstance(exponent, Number):
        if isinstance(exponent, Tensor) and not isinstance(input, Tensor):
            return _number_to_the(input, exponent)
        return _power(input, exponent)
    if input.__class__ is Tensor and input._array.dtype.kind == "f" and exponent.__class__ is not complex:
        if exponent in SHORT_POWERS:
            return apply_function(_raised, (input,), {"exponent": exponent}, "PowBackward0")  # type: ignore[no-any-return]
        return _to_the_number(input, exponent)
    arrays = in_common_dtype("pow", input, exponent)
    _integer_power(input, exponent, arrays)
    if arrays[0].dtype.kind == "f":
        return _to_the_number(input, exponent)
    return wrap(np.asarray(np.power(*arrays), arrays[0].dtype))


_to_the_number = binary("pow", OPS["power"], check=_integer_power, recorded="PowBackward0")


_number_to_the = binary("pow", OPS["power"], check=_power_of_tensors, recorded="PowBackward2")


def _reversed(function: Callable[..., Tensor]) -> Callable[[Any, Any], Tensor]:
    return lambda x, y: function(y, x)


@define(in_place=True, out=True)
def reciprocal(input: Any) -> Tensor:
    """Return 1 / input."""
    x = require_tensor(input, "reciprocal")
    a = x._array if x._array.dtype.kind == "f" else _floating(x._array)
    return apply_function(_reciprocal, (x,), _NO_PARAMS, "ReciprocalBackward0", [a])  # type: ignore[no-any-return]


def _reciprocal(x: Node) -> Node:
    return 1 / x  # type: ignore[no-any-return]


def _sign(x: Node) -> Any:
    return where(isnan(x), 0, OPS["sign"](x)) if x.dtype.kind == "f" else OPS["sign"](x)


@define(in_place=True, out=True)
def sign(input: Any) -> Tensor:
    """Return -1, 0 or 1; 0 for NaN."""
    x = require_tensor(input, "sign")
    if x._array.dtype.kind == "c":
        raise NotImplementedError(
            "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use torch.sgn "
            "instead."
        )
    if x._array.dtype.kind == "b":
        return wrap(x._array.copy())
    return apply_function(_sign, (x,), _NO_PARAMS, "SignBackward0")  # type: ignore[no-any-return]


_NEGATIVE, _ABSOLUTE = named(OpRecord, "NegBackward0"), named(OpRecord, "AbsBackward0")


@define("neg", "negative", in_place=True, out=True)
def neg(input: Any) -> Tensor:
    """Return -input; RuntimeError for bool tensors."""
    x = require_tensor(input, "neg")
    if x._array.dtype.kind == "b":
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a "
            "mask, use the `~` or `logical_not()` operator instead."
        )
    return computed(OPS["negative"], _NEGATIVE, (x,), [x._array])


@define("abs", "absolute", in_place=True, out=True)
def abs(input: Any) -> Tensor:
    """Return the absolute value; its derivative at 0 is 0."""
    x = require_tensor(input, "abs")
    _not_of("b", "abs_cpu", x._array)
    return computed(OPS["absolute"], _ABSOLUTE, (x,), [x._array])


negative, absolute = neg, abs


# Functions of one tensor ----------------------------------------------------------------------------------

exp = unary("exp", OPS["exp"])
exp2 = unary("exp2", OPS["exp2"])
expm1 = unary("expm1", OPS["expm1"])
log = unary("log", OPS["log"])
log2 = unary("log2", OPS["log2"])
log10 = unary("log10", OPS["log10"])
log1p = unary("log1p", OPS["log1p"])
sqrt = unary("sqrt", OPS["sqrt"])
sin = unary("sin", OPS["sin"])
cos = unary("cos", OPS["cos"])
tan = unary("tan", OPS["tan"])
asin = arcsin = unary("asin", OPS["arcsin"], also="arcsin")
acos = arccos = unary("acos", OPS["arccos"], also="arccos")
atan = arctan = unary("atan", OPS["arctan"], also="arctan")
sinh = unary("sinh", OPS["sinh"])
cosh = unary("cosh", OPS["cosh"])
tanh = unary("tanh", OPS["tanh"])
asinh = arcsinh = unary("asinh", OPS["arcsinh"], also="arcsinh")
acosh = arccosh = unary("acosh", OPS["arccosh"], also="arccosh")
atanh = arctanh = unary("atanh", OPS["arctanh"], also="arctanh")
erf = unary("erf", OPS["erf"])
sigmoid = unary("sigmoid", OPS["sigmoid"])
floor = unary("floor", OPS["floor"], floating=False)
ceil = unary("ceil", OPS["ceil"], floating=False)
trunc = fix = unary("trunc", OPS["trunc"], floating=False, also="fix")

operators(
    {
        "add": _add,
        "radd": _add,
        "sub": _sub,
        "rsub": _reversed(_reversed_sub),
        "mul": _mul,
        "rmul": _mul,
        "truediv": _div,
        "rtruediv": lambda x, y: _mul(reciprocal(x), y),
        "floordiv": _floor_divide,
        "rfloordiv": _reversed(_floor_divide),
        "mod": _remainder,
        "rmod": _reversed(_remainder),
        "pow": pow,
        "rpow": _reversed(_number_to_the),
        "neg": neg,
        "abs": abs,
    }
)
