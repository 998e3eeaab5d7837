"""PyTorch's dtypes over NumPy's, with PyTorch's promotion rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Number = (bool, int, float, complex)

_BOOL, _INTEGER, _FLOATING, _COMPLEX = range(4)
_CATEGORY = {"b": _BOOL, "i": _INTEGER, "u": _INTEGER, "f": _FLOATING, "c": _COMPLEX}


class dtype:
    """The type of a tensor's elements; `numpy` is the NumPy dtype of the same bits.

    >>> import numpy as np
    >>> from jitgrad.eager.dtypes import float32
    >>> float32, float32.is_floating_point, np.zeros(2, float32).dtype
    (torch.float32, True, dtype('float32'))
    """

    __slots__ = ("dtype", "name", "numpy")

    name: str
    numpy: np.dtype[Any]

    def __init__(self, name: str, numpy: Any) -> None:
        self.name = name
        self.numpy = np.dtype(numpy)
        self.dtype = self.numpy  # by this attribute NumPy takes the object for a dtype

    @property
    def kind(self) -> str:
        return self.numpy.kind

    @property
    def is_floating_point(self) -> bool:
        return self.numpy.kind == "f"

    @property
    def is_complex(self) -> bool:
        return self.numpy.kind == "c"

    @property
    def is_signed(self) -> bool:
        return self.numpy.kind in "ifc"

    @property
    def itemsize(self) -> int:
        return self.numpy.itemsize

    def to_real(self) -> dtype:
        return _REAL.get(self, self)

    def to_complex(self) -> dtype:
        return {float32: complex64, float64: complex128}.get(self, self)

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return of, (self.numpy,)

    def __copy__(self) -> dtype:
        return self

    def __deepcopy__(self, memo: Any) -> dtype:
        return self


bool_ = dtype("bool", np.bool_)
uint8 = dtype("uint8", np.uint8)
int8 = dtype("int8", np.int8)
int16 = short = dtype("int16", np.int16)
int32 = int_ = dtype("int32", np.int32)
int64 = long = dtype("int64", np.int64)
uint16 = dtype("uint16", np.uint16)
uint32 = dtype("uint32", np.uint32)
uint64 = dtype("uint64", np.uint64)
float16 = half = dtype("float16", np.float16)
float32 = float_ = dtype("float32", np.float32)
float64 = double = dtype("float64", np.float64)
complex64 = cfloat = dtype("complex64", np.complex64)
complex128 = cdouble = dtype("complex128", np.complex128)

DTYPES = (
    *(bool_, uint8, int8, int16, int32, int64, uint16, uint32, uint64),
    *(float16, float32, float64, complex64, complex128),
)
_OF_NUMPY = {d.numpy: d for d in DTYPES}
_REAL = {complex64: float32, complex128: float64}

CONSTRUCTORS = {
    "FloatTensor": float32,
    "DoubleTensor": float64,
    "HalfTensor": float16,
    "ByteTensor": uint8,
    "CharTensor": int8,
    "ShortTensor": int16,
    "IntTensor": int32,
    "LongTensor": int64,
    "BoolTensor": bool_,
}
C_NAMES = {
    float32: "float",
    float64: "double",
    float16: "c10::Half",
    int64: "long int",
    int32: "int",
    bool_: "bool",
    uint8: "unsigned char",
    int8: "signed char",
    int16: "short int",
}
TYPE_NAMES = {d: name for name, d in CONSTRUCTORS.items()}
_SCALAR_TYPES = {d.numpy: name.removesuffix("Tensor") for d, name in TYPE_NAMES.items()} | {
    np.dtype(np.complex64): "ComplexFloat",
    np.dtype(np.complex128): "ComplexDouble",
    np.dtype(np.uint16): "UInt16",
    np.dtype(np.uint32): "UInt32",
    np.dtype(np.uint64): "UInt64",
}


def scalar_type(dtype: np.dtype[Any]) -> str:
    """The name that messages give a dtype: "Float", "Long", "Bool"."""
    return _SCALAR_TYPES[dtype]


def of(numpy: Any) -> dtype:
    """Return the dtype of a NumPy dtype; TypeError for those that tensors do not have."""
    found = _OF_NUMPY.get(numpy) or _OF_NUMPY.get(np.dtype(numpy).newbyteorder("="))
    if found is None:
        raise TypeError(
            f"can't convert np.ndarray of type numpy.{np.dtype(numpy).type.__name__}. The only supported "
            f"types are: {', '.join(_KINDS)}, and bool."
        )
    return found


_KINDS = ["float64", "float32", "float16", "complex64", "complex128"]
_KINDS += [f"{kind}{bits}" for kind in ("int", "uint") for bits in (64, 32, 16, 8)]


# The default --------------------------------------------------------------------------------------------


class _Default:
    """The dtype of floating tensors made without one."""

    floating: dtype = float32


DEFAULT = _Default()


def get_default_dtype() -> dtype:
    return DEFAULT.floating


def set_default_dtype(d: dtype) -> None:
    """Set the dtype of floating tensors made without one; TypeError unless it is a floating dtype."""
    if not isinstance(d, dtype):
        raise TypeError("invalid dtype object: only floating-point types are supported as the default type")
    if not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    DEFAULT.floating = d


def default_of(value: Any) -> np.dtype[Any]:
    """The dtype that a Python number becomes on its own."""
    if isinstance(value, bool):
        return bool_.numpy
    if isinstance(value, int):
        return int64.numpy
    return DEFAULT.floating.numpy if isinstance(value, float) else DEFAULT.floating.to_complex().numpy


# Promotion ----------------------------------------------------------------------------------------------

_PROMOTED: dict[tuple[np.dtype[Any], np.dtype[Any]], np.dtype[Any]] = {}
for _a in DTYPES:
    for _b in DTYPES:
        _kinds = {_CATEGORY[_a.kind], _CATEGORY[_b.kind]}
        _floating = next((d for d in (_a, _b) if d.kind in "fc"), _a)
        if _FLOATING in _kinds and not _kinds - {_FLOATING, _INTEGER, _BOOL} and len(_kinds) == 2:
            _PROMOTED[_a.numpy, _b.numpy] = _floating.numpy
        elif _COMPLEX in _kinds and _kinds <= {_COMPLEX, _INTEGER, _BOOL} and len(_kinds) == 2:
            _PROMOTED[_a.numpy, _b.numpy] = next(d for d in (_a, _b) if d.is_complex).numpy
        else:
            _PROMOTED[_a.numpy, _b.numpy] = np.promote_types(_a.numpy, _b.numpy)


def promote(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that holds both; an integer beside a floating dtype gives the floating one."""
    return _PROMOTED[a, b]


def common(operands: Iterable[Any]) -> np.dtype[Any]:
    """The dtype of an operation on arrays and Python numbers.

    Arrays with axes decide; a 0-d array counts only where its category (bool, integer, floating, complex) is
    higher than theirs, and a Python number only where its category is higher than that of all arrays.
    """
    ranked: list[np.dtype[Any] | None] = [None, None, None]
    for x in operands:
        level = 2 if isinstance(x, Number) else 0 if x.ndim else 1
        given = default_of(x) if level == 2 else x.dtype
        before = ranked[level]
        ranked[level] = given if before is None else promote(before, given)
    result: np.dtype[Any] | None = None
    for given_dtype in ranked:
        if given_dtype is None:
            continue
        if result is None:
            result = given_dtype
        elif _CATEGORY[given_dtype.kind] > _CATEGORY[result.kind]:
            result = promote(result, given_dtype)
    assert result is not None
    return result


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether a result of one dtype may be written into another: never to a lower category."""
    low, high = _CATEGORY[from_.kind], _CATEGORY[to.kind]
    return low <= high if to.kind != "b" else low == _BOOL


def promote_types(type1: dtype, type2: dtype) -> dtype:
    return of(promote(type1.numpy, type2.numpy))


# Limits -------------------------------------------------------------------------------------------------


class finfo:
    """The limits of a floating dtype, as Python numbers.

    >>> from jitgrad.eager.dtypes import finfo, float32
    >>> finfo(float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, type: dtype | None = None) -> None:
        chosen = DEFAULT.floating if type is None else _dtype_given(type, "finfo")
        if chosen.kind not in "fc":
            raise TypeError(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle 'torch.finfo'"
            )
        real = chosen.to_real()
        limits = np.finfo(real.numpy)
        self.bits = real.itemsize * 8
        self.eps, self.max, self.min = float(limits.eps), float(limits.max), float(limits.min)
        self.tiny = self.smallest_normal = float(limits.tiny)
        self.resolution = 10.0**-limits.precision
        self.dtype = real.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash((finfo, self.dtype))

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return f"finfo({', '.join(f'{n}={getattr(self, n):g}' for n in names)}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype."""

    def __init__(self, type: dtype) -> None:
        chosen = _dtype_given(type, "iinfo")
        if chosen is bool_:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        if chosen.kind not in "iu":
            raise TypeError(
                "torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.iinfo'"
            )
        limits = np.iinfo(chosen.numpy)
        self.bits, self.min, self.max = chosen.itemsize * 8, int(limits.min), int(limits.max)
        self.dtype = chosen.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash((iinfo, self.dtype))

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"


def _dtype_given(given: Any, function: str) -> dtype:
    if isinstance(given, dtype):
        return given
    if given in Number:
        return of(given)
    raise TypeError(
        f"{function}(): argument 'type' (position 1) must be torch.dtype, not {type(given).__name__}"
    )
