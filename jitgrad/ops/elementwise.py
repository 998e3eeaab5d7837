"""Elementwise ops: one line each, with one partial derivative per argument.

Undefined points follow PyTorch: abs'(0) = 0, sqrt'(0) = inf, ties of maximum and minimum share the cotangent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.ir import Op, Operators
from jitgrad.ops.samples import Draw, Sample, case, elementwise, only
from jitgrad.ops.table import OPS, Partial, composite, map_op, typed_like

_TRANSCENDENTAL = 12


class VectorMath:
    """An eager op that runs the same routine as kernels do: jitgrad.vmath in float32 and float64.

    Integers become what the ufunc `like` makes of them; where it leaves them integers, it computes them.
    """

    def __init__(self, name: str, like: np.ufunc) -> None:
        self.__name__ = name
        self._like = like
        self._typing = typed_like(like)
        self._routine: Callable[..., Any] = self._load

    def _load(self, *args: Any) -> Any:
        """Replace itself by the compiled routine, and call that."""
        from jitgrad import vmath

        self._routine = vmath.ufunc(self.__name__)
        return self._routine(*args)

    def __call__(self, *args: Any) -> Any:
        dtype = getattr(args[0], "dtype", None)
        if dtype is _FLOAT32 or dtype is _FLOAT64:  # nearly every call
            if len(args) == 1 or getattr(args[1], "dtype", None) is dtype:
                return self._routine(*args)
        given = [type(a) if type(a) in (int, float) else np.asarray(a).dtype for a in args]
        if all(isinstance(g, type) for g in given):
            given = [np.dtype(g) for g in given]
        *wanted, dtype = self._typing(*given)
        if dtype.kind != "f":
            if self._like.__name__ != self.__name__:
                raise NotImplementedError(f"{self.__name__}: complex numbers are not supported")
            return self._like(*args)
        if dtype.itemsize == 2:
            return np.asarray(self._routine(*(np.asarray(a, _FLOAT32) for a in args))).astype(dtype)[()]
        return self._routine(*(np.asarray(a, t) for a, t in zip(args, wanted, strict=True)))


_FLOAT32, _FLOAT64 = np.dtype("float32"), np.dtype("float64")


def vector_op(
    name: str, like: np.ufunc, *partials: Partial, cost: int = _TRANSCENDENTAL, **options: Any
) -> Op:
    """Declare an elementwise op whose scalar routine is `jitgrad.vmath.<name>`, typed as the ufunc `like`."""
    slots = ", ".join(f"{{{i}}}" for i in range(like.nin))
    also = (like, *options.pop("also", ())) if like.__name__ == name else options.pop("also", ())
    options.setdefault("reference", like)
    return map_op(
        name,
        VectorMath(name, like),
        f"{name}({slots})",
        *partials,
        like=like,
        cost=cost,
        also=also,
        **options,
    )


# Arithmetic
mul = map_op(
    "multiply",
    np.multiply,
    "{0} * {1}",
    lambda out, x, y: y,
    lambda out, x, y: x,
    kinks=((([0.0, 2.0], [np.inf, np.nan]), ([np.inf, np.nan], [0.0, 2.0])),),
)
add = map_op("add", np.add, "{0} + {1}", lambda out, x, y: 1, lambda out, x, y: 1)
sub = map_op("subtract", np.subtract, "{0} - {1}", lambda out, x, y: 1, lambda out, x, y: -1)
div = map_op(
    "divide",
    np.divide,
    "{0} / {1}",
    lambda out, x, y: 1 / y,
    lambda out, x, y: -(out * (1 / y)),  # shares the other partial's division
    cost=4,
    domain=((-2, 2), (0.5, 2)),
)
neg = map_op("negative", np.negative, "-{0}", lambda out, x: -1)
floor_divide = vector_op(
    "floor_divide",
    np.floor_divide,
    None,
    None,
    cost=8,
    domain=((-9, 9), (0.5, 2)),
    undefined="jumps have derivative 0",
)
remainder = vector_op(
    "remainder",
    np.remainder,
    lambda out, x, y: 1,
    lambda out, x, y: -floor_divide(x, y),
    cost=8,
    domain=((-9, 9), (0.5, 2)),
)
fmod = vector_op(
    "fmod",
    np.fmod,
    lambda out, x, y: 1,
    lambda out, x, y: -trunc(x / y),
    cost=8,
    domain=((-9, 9), (0.5, 2)),
)
absolute = map_op(
    "absolute",
    np.absolute,
    "abs({0})",
    lambda out, x: sign(x),
    undefined="abs'(0) = 0",
    kinks=((([0.0, -0.0, -2.0, np.nan],), ([0.0, 0.0, -1.0, np.nan],)),),
)
sign: Op = vector_op("sign", np.sign, None, cost=2)
stop_gradient = map_op(
    "stop_gradient",
    np.array,
    "{0}",
    None,
    typing=lambda given: (np.dtype(given),) * 2,
    samples=lambda d: [Sample((d(2, 3),), {}, (np.zeros((2, 3)),)), Sample((d(),), {}, (np.zeros(()),))],
    undefined="a constant as far as derivatives go",
)


def _number(x: Any) -> Any:
    """x, or int8 for bool, as NumPy has it where it multiplies one argument with itself."""
    return OPS["cast"](x, dtype=np.dtype(np.int8)) if getattr(x, "dtype", None) == np.bool_ else x


@composite(np.square, samples=elementwise(1, (-2, 2)))
def square(x: Any) -> Any:
    x = _number(x)
    return x * x


@composite(np.positive, samples=only("fi", elementwise(1, (-2, 2))))
def positive(x: Any) -> Any:
    if getattr(x, "dtype", None) == np.bool_:
        raise TypeError("positive: bool has no sign; use astype for a number")
    return x


def _typed_where(*given: Any) -> tuple[np.dtype[Any], ...]:
    x, y = (g(0) if isinstance(g, type) else g for g in given[1:])
    dtype = np.result_type(x, y)
    return np.dtype(bool), dtype, dtype, dtype


def _where_samples(d: Draw) -> list[Sample]:
    samples = [
        case(d.mask(2, 3), d(2, 3), d(2, 3)),
        case(d.mask(2, 1), d(3), d()),
        case(d.mask(3), d(2, 3), 0 if d.dtype.kind != "b" else d()),
        case(d.mask(), d(3), d(3)),
        case(d.mask(0), d(0), d()),
    ]
    if d.dtype.kind != "f":
        return samples
    blocked = np.array([np.nan, 1.0, np.inf], d.dtype), d(3)
    return [
        *samples,
        Sample((np.array([False, True, False]), *blocked), {}, ([0.0, 1.0, 0.0], [1.0, 0.0, 1.0])),
    ]


def _where_vjp(g: Any, out: Any, condition: Any, x: Any, y: Any) -> tuple[Any, ...]:
    return None, where(condition, g, 0), where(condition, 0, g)


def _where_jvp(tangents: tuple[Any, ...], out: Any, condition: Any, x: Any, y: Any) -> Any:
    _, dx, dy = tangents
    return where(condition, 0 if dx is None else dx, 0 if dy is None else dy)


where = map_op(
    "where",
    np.where,
    "select({0}, {1}, {2})",
    typing=_typed_where,
    vjp=_where_vjp,
    jvp=_where_jvp,
    samples=_where_samples,
    also=(np.where,),
    undefined="the argument not chosen has derivative 0, even where its own value is NaN",
)

# Exponentials and logarithms
exp = vector_op("exp", np.exp, lambda out, x: out)
exp2 = vector_op("exp2", np.exp2, lambda out, x: out * math.log(2))
expm1 = vector_op("expm1", np.expm1, lambda out, x: out + 1)
log = vector_op("log", np.log, lambda out, x: 1 / x, domain=(0.2, 3))
log2 = vector_op("log2", np.log2, lambda out, x: 1 / (x * math.log(2)), domain=(0.2, 3))
log10 = vector_op("log10", np.log10, lambda out, x: 1 / (x * math.log(10)), domain=(0.2, 3))
log1p = vector_op("log1p", np.log1p, lambda out, x: 1 / (1 + x), domain=(-0.7, 3))
sqrt = map_op(
    "sqrt",
    np.sqrt,
    "sqrt({0})",
    lambda out, x: 0.5 / out,
    cost=6,
    domain=(0.2, 3),
    undefined="sqrt'(0) = inf",
    kinks=((([0.0, 4.0, -1.0],), ([np.inf, 0.25, np.nan],)),),
)
cbrt = vector_op(
    "cbrt",
    np.cbrt,
    lambda out, x: 1 / (3 * out * out),
    domain=(0.2, 3),
    undefined="cbrt'(0) = inf",
    kinks=((([0.0, 8.0],), ([np.inf, 1 / 12],)),),
)


@composite(np.reciprocal, samples=only("fi", elementwise(1, (0.5, 2))))
def reciprocal(x: Any) -> Any:
    x = _number(x)
    return 1 / x if x.dtype.kind in "fc" else floor_divide(1, absolute(x)) * x


power: Op = vector_op(
    "power",
    np.power,
    lambda out, x, y: where(equal(y, 0), 0, y * power(x, y - 1)),
    lambda out, x, y: where(equal(x, 0) & (y >= 0), 0, out * log(x)),
    cost=2 * _TRANSCENDENTAL,
    scalar_kinds="f",
    domain=(0.3, 3),
    undefined="at x = 0 the derivative to y is 0; at y = 0 that to x is 0",
    kinks=(
        (([0.0, 0.0, 0.0], [0.0, 1.0, 2.0]), ([0.0, 1.0, 0.0], [0.0, 0.0, 0.0])),
        (([-2.0, -2.0], [2.0, 3.0]), ([-4.0, 12.0], [np.nan, np.nan])),
    ),
)


SHORT_POWERS: dict[float, Callable[[Any], Any]] = {
    1: lambda x: x,
    2: lambda x: x * x,
    3: lambda x: x * x * x,
    4: lambda x: square(x * x),
    -1: lambda x: 1 / x,
    -2: lambda x: 1 / (x * x),
    0.5: lambda x: sqrt(x),
    -0.5: lambda x: 1 / sqrt(x),
}


def _pow_samples(d: Draw) -> list[Sample]:
    exponents = [*SHORT_POWERS, 0, 2.5, 5] if d.dtype.kind == "f" else [1, 2, 3, 4, 0, 5]
    low = 0.3 if d.dtype.kind == "f" else -3
    powers = [case(d(2, 3, low=low, high=3), n) for n in exponents]
    return [*powers, case(d(2, 3, low=1, high=2), d(3, low=1, high=3)), case(2, d(3, low=0, high=3))]


@composite(np.power, name="pow", samples=only("fi", _pow_samples))
def pow_(x: Any, y: Any) -> Any:
    """x ** y; a Python number of -2, -1, -0.5, 0.5, 1, 2, 3 or 4 becomes products, quotients and roots."""
    dtype = getattr(x, "dtype", None)
    if dtype is None or type(y) not in (int, float) or y not in SHORT_POWERS:
        return power(x, y)
    if dtype.kind == "f" or (dtype.kind in "iu" and isinstance(y, int) and y > 0):
        return SHORT_POWERS[y](x)
    return power(x, y)


# Trigonometric and hyperbolic
sin = vector_op("sin", np.sin, lambda out, x: cos(x))
cos: Op = vector_op("cos", np.cos, lambda out, x: -sin(x))
tan = vector_op("tan", np.tan, lambda out, x: 1 + out * out, domain=(-1.2, 1.2))
arcsin = vector_op("arcsin", np.arcsin, lambda out, x: 1 / sqrt((1 - x) * (1 + x)), domain=(-0.9, 0.9))
arccos = vector_op("arccos", np.arccos, lambda out, x: -1 / sqrt((1 - x) * (1 + x)), domain=(-0.9, 0.9))
arctan = vector_op("arctan", np.arctan, lambda out, x: 1 / (1 + x * x))


def _or_zero(s: Any) -> Any:
    """1 / s, and 0 where s is 0."""
    return where(equal(s, 0), 0, 1 / s)


arctan2 = vector_op(
    "arctan2",
    np.arctan2,
    lambda out, y, x: x * _or_zero(x * x + y * y),
    lambda out, y, x: -y * _or_zero(x * x + y * y),
    undefined="at the origin both derivatives are 0",
    kinks=((([0.0, 0.0], [0.0, 2.0]), ([0.0, 0.5], [0.0, 0.0])),),
)
sinh = vector_op("sinh", np.sinh, lambda out, x: cosh(x))
cosh: Op = vector_op("cosh", np.cosh, lambda out, x: sinh(x))
tanh = vector_op("tanh", np.tanh, lambda out, x: 1 - out * out)
arcsinh = vector_op("arcsinh", np.arcsinh, lambda out, x: 1 / sqrt(x * x + 1))
arccosh = vector_op("arccosh", np.arccosh, lambda out, x: 1 / sqrt((x - 1) * (x + 1)), domain=(1.2, 3))
arctanh = vector_op("arctanh", np.arctanh, lambda out, x: 1 / ((1 - x) * (1 + x)), domain=(-0.9, 0.9))
hypot = vector_op("hypot", np.hypot, lambda out, x, y: x / out, lambda out, x, y: y / out)

# Special functions
erf = vector_op(
    "erf",
    np.exp,
    lambda out, x: 2 / math.sqrt(math.pi) * exp(-(x * x)),
    reference=np.vectorize(math.erf, otypes=[float]),
)
sigmoid = vector_op(
    "sigmoid", np.exp, lambda out, x: out * (1 - out), reference=lambda x: 1 / (1 + np.exp(-1.0 * x))
)
softplus = vector_op("softplus", np.exp, lambda out, x: sigmoid(x), reference=lambda x: np.logaddexp(0.0, x))
relu = composite(
    name="relu",
    samples=elementwise(1, (-2, 2)),
    reference=lambda x: np.maximum(x, 0),
    kinks=((([0.0, 2.0, -1.0],), ([0.0, 1.0, 0.0],)),),
)(lambda x: where(x <= 0, 0, x))


# Selection
def _shared_ties(loses: Callable[[Any, Any], Any]) -> Callable[..., tuple[Any, ...]]:
    def vjp(g: Any, out: Any, x: Any, y: Any) -> tuple[Any, ...]:
        tied = where(equal(x, y), g * 0.5, g)
        return where(loses(x, y), 0, tied), where(loses(y, x), 0, tied)

    return vjp


def _shared_ties_jvp(loses: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def jvp(tangents: tuple[Any, ...], out: Any, x: Any, y: Any) -> Any:
        dx, dy = (0 if t is None else t for t in tangents)
        return where(equal(x, y), (dx + dy) * 0.5, where(loses(x, y), dy, dx))

    return jvp


_TIES = "ties share the cotangent; beside a NaN both get it"
maximum = vector_op(
    "maximum",
    np.maximum,
    vjp=_shared_ties(lambda x, y: x < y),
    jvp=_shared_ties_jvp(lambda x, y: x < y),
    cost=2,
    undefined=_TIES,
    kinks=(
        (([1.0, 2.0, 0.0], [1.0, 0.0, 3.0]), ([0.5, 1.0, 0.0], [0.5, 0.0, 1.0])),
        (([np.nan, 1.0], [1.0, np.nan]), ([1.0, 1.0], [1.0, 1.0])),
    ),
)
minimum = vector_op(
    "minimum",
    np.minimum,
    vjp=_shared_ties(lambda x, y: x > y),
    jvp=_shared_ties_jvp(lambda x, y: x > y),
    cost=2,
    undefined=_TIES,
    kinks=(
        (([1.0, 2.0, 0.0], [1.0, 0.0, 3.0]), ([0.5, 0.0, 1.0], [0.5, 1.0, 0.0])),
        (([np.nan, 1.0], [1.0, np.nan]), ([1.0, 1.0], [1.0, 1.0])),
    ),
)

# Rounding
floor = map_op("floor", np.floor, "floor({0})", None)
ceil = map_op("ceil", np.ceil, "ceil({0})", None)
rint = map_op("rint", np.rint, "rint({0})", None)
trunc: Op = map_op("trunc", np.trunc, "trunc({0})", None, also=(np.fix,))

# Comparison and logic
equal: Op = map_op("equal", np.equal, "{0} == {1}", None, None)
not_equal = map_op("not_equal", np.not_equal, "{0} != {1}", None, None)
less = map_op("less", np.less, "{0} < {1}", None, None)
less_equal = map_op("less_equal", np.less_equal, "{0} <= {1}", None, None)
greater = map_op("greater", np.greater, "{0} > {1}", None, None)
greater_equal = map_op("greater_equal", np.greater_equal, "{0} >= {1}", None, None)
bitwise_and = map_op("bitwise_and", np.bitwise_and, "{0} & {1}", None, None)
bitwise_or = map_op("bitwise_or", np.bitwise_or, "{0} | {1}", None, None)
bitwise_xor = map_op("bitwise_xor", np.bitwise_xor, "{0} ^ {1}", None, None)
bitwise_not = map_op("bitwise_not", np.invert, "~{0}", None)
invert = composite(np.invert, samples=only("bi", elementwise(1, (-2, 2))))(
    lambda x: equal(x, 0) if x.dtype == np.bool_ else bitwise_not(x)
)


def _unusual(d: Draw) -> list[Sample]:
    if d.dtype.kind != "f":
        return elementwise(1, (-1, 1))(d)
    return [case(np.array([[0.0, -0.0, 1.0], [np.nan, np.inf, -np.inf]], d.dtype)), case(d()), case(d(0))]


def _as_bool(x: Any) -> Any:
    return x if getattr(x, "dtype", None) == np.bool_ else not_equal(x, 0)


logical_and = composite(np.logical_and, samples=elementwise(2, (-1, 1)))(
    lambda x, y: _as_bool(x) & _as_bool(y)
)
logical_or = composite(np.logical_or, samples=elementwise(2, (-1, 1)))(lambda x, y: _as_bool(x) | _as_bool(y))
logical_xor = composite(np.logical_xor, samples=elementwise(2, (-1, 1)))(
    lambda x, y: _as_bool(x) ^ _as_bool(y)
)
logical_not = composite(np.logical_not, samples=_unusual)(lambda x: equal(x, 0))
isnan = composite(np.isnan, samples=_unusual)(lambda x: not_equal(x, x))
isinf = composite(np.isinf, samples=_unusual)(lambda x: equal(absolute(x), math.inf))
isfinite = composite(np.isfinite, samples=_unusual)(lambda x: absolute(x) < math.inf)


# Python's operators, on every kind of traced value
for _symbol, _op in {
    "add": add,
    "sub": sub,
    "mul": mul,
    "truediv": div,
    "floordiv": floor_divide,
    "mod": remainder,
    "pow": pow_,
    "and": bitwise_and,
    "or": bitwise_or,
    "xor": bitwise_xor,
}.items():
    setattr(Operators, f"__{_symbol}__", lambda x, y, op=_op: op(x, y))
    setattr(Operators, f"__r{_symbol}__", lambda x, y, op=_op: op(y, x))
for _symbol, _op in {
    "lt": less,
    "le": less_equal,
    "gt": greater,
    "ge": greater_equal,
}.items():
    setattr(Operators, f"__{_symbol}__", lambda x, y, op=_op: op(x, y))
for _symbol, _unary in {"neg": neg, "abs": absolute, "invert": invert, "pos": positive}.items():
    setattr(Operators, f"__{_symbol}__", lambda x, op=_unary: op(x))
