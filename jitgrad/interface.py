"""The ndarray interface of values that are no ndarrays: operators, attributes, methods, NumPy's protocols.

Everything is looked up in the op table under the NumPy function that means the same.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from jitgrad.errors import TraceError
from jitgrad.ir import Operators
from jitgrad.location import user_frame, user_line
from jitgrad.ops.table import COMPOSITES, NUMPY, OPS

_STATIC = "make the argument static: static_argnames"
_LIST = "jitgrad.numpy lists what is available"


def implementation(function: Any) -> Callable[..., Any]:
    """The op or composite that computes a NumPy function.

    Raises TypeError for functions that the op table does not have.
    """
    found = NUMPY.get(function)
    if found is None:
        module = getattr(function, "__module__", None) or "numpy"
        name = getattr(function, "__name__", repr(function))
        raise TypeError(
            f"{module}.{name} at {user_line()} is not available on traced values. "
            f"Write it with other functions, or compute it before; {_LIST}"
        )
    return found


def _writable(out: Any, name: str) -> ArrayInterface:
    """The one array of an `out` argument."""
    target = out[0] if isinstance(out, tuple) and len(out) == 1 else out
    if not isinstance(target, ArrayInterface):
        raise TraceError(
            f"{name} at {user_line()} would write a traced value into an ndarray. "
            "Make that array with jitgrad.numpy.zeros (or x.copy()), or use a new one: x = x + y"
        )
    return target


# ufunc.reduce(x) is this function of x
_REDUCTIONS: dict[Any, Any] = {
    np.add: np.sum,
    np.multiply: np.prod,
    np.maximum: np.max,
    np.minimum: np.min,
    np.logical_and: np.all,
    np.logical_or: np.any,
}


def _reduce(ufunc: Any, x: Any, axis: Any = 0, **kwargs: Any) -> Any:
    return implementation(_REDUCTIONS[ufunc])(x, axis=axis, **kwargs)


def _outer(ufunc: Any, x: Any, y: Any) -> Any:
    x = implementation(np.reshape)(x, (*np.shape(x), *(1,) * np.ndim(y)))
    return implementation(ufunc)(x, y)


def _copyto(dst: Any, src: Any) -> None:
    _writable(dst, "copyto")[...] = src


# NumPy functions that need no op
_DIRECT: dict[Any, Callable[..., Any]] = {
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.result_type: lambda *given: np.result_type(
        *(g.dtype if isinstance(g, ArrayInterface) else g for g in given)
    ),
    np.iscomplexobj: lambda x: x.dtype.kind == "c",
    np.isrealobj: lambda x: x.dtype.kind != "c",
    np.copyto: _copyto,
}


def _stored_element() -> bool:
    """Whether the user's present instruction is `array[index] = value`."""
    frame = user_frame()
    return frame is not None and frame.f_code.co_code[frame.f_lasti] == dis.opmap["STORE_SUBSCR"]


class ArrayInterface(Operators):
    """What ndarray and its subclasses offer, for a class with `shape`, `dtype`, `_fill` and `_store`."""

    __slots__ = ()
    __array_priority__ = 1000.0

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def _fill(self, value: Any) -> None:
        raise NotImplementedError

    def _store(self, result: Any, name: str) -> Any:
        raise NotImplementedError

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        name = f"numpy.{ufunc.__name__}"
        target = None if out is None else _writable(out, name)
        if method == "reduce" and ufunc in _REDUCTIONS:
            result = _reduce(ufunc, *inputs, **kwargs)
        elif kwargs:
            raise TypeError(
                f"{name} at {user_line()}: arguments {', '.join(kwargs)} are not supported on traced values"
            )
        elif method == "__call__":
            result = implementation(ufunc)(*inputs)
        elif method == "outer":
            result = _outer(ufunc, *inputs)
        else:
            raise TypeError(f"{name}.{method} at {user_line()} is not available on traced values")
        return result if target is None else target._store(result, name)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        direct = _DIRECT.get(function)
        if direct is not None:
            return direct(*args, **kwargs)
        found = implementation(function)
        out = kwargs.get("out")
        if out is None:
            return found(*args, **kwargs)
        target = _writable(out, f"numpy.{function.__name__}")
        return target._store(
            found(*args, **{k: v for k, v in kwargs.items() if k != "out"}), function.__name__
        )

    # What Python or NumPy would need a value for

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        self._no_number(
            "a conversion to ndarray", "Use it as it is; numpy.stack makes an array of several; " + _LIST
        )

    def __bool__(self) -> NoReturn:
        raise TraceError(
            f"`if`, `while`, `and`, `or`, `not`, bool() at {user_line()} need a value, but {self!r} has none "
            f"while tracing. Use numpy.where(condition, a, b) and & | ~, or {_STATIC}"
        )

    def _no_number(self, kind: str, advice: str) -> NoReturn:
        where = user_line()
        if _stored_element():
            raise TraceError(
                f"assignment at {where}: an ndarray cannot hold a traced value. "
                "Make the array with jitgrad.numpy.zeros, or as x.copy() of a traced one"
            )
        raise TraceError(f"{kind} at {where} needs a value, but {self!r} has none while tracing. {advice}")

    def __float__(self) -> NoReturn:
        self._no_number("float()", "Keep it an array; instead of math.exp and the like use numpy.exp")

    def __int__(self) -> NoReturn:
        self._no_number("int()", f"Use .astype(int) for an array of integers, or {_STATIC}")

    def __complex__(self) -> NoReturn:
        self._no_number("complex()", "Keep it an array")

    def __index__(self) -> NoReturn:
        self._no_number("a size, a range or a slice", f"Sizes are fixed when tracing: {_STATIC}")

    def item(self, *_: Any) -> NoReturn:
        self._no_number("item()", "Keep it an array; the result of the traced function has values")

    def tolist(self) -> NoReturn:
        self._no_number("tolist()", "Keep it an array; the result of the traced function has values")

    def __format__(self, spec: str) -> str:
        if spec:
            self._no_number("a format", "Return it, and print it after the call")
        return repr(self)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"traced values have no attribute {name!r} (at {user_line()})", name=name, obj=self
        )

    # Attributes

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def T(self) -> Any:
        return implementation(np.transpose)(self)

    @property
    def mT(self) -> Any:
        if self.ndim < 2:
            raise ValueError(
                f"mT at {user_line()}: matrix transpose needs at least 2 axes, got shape {self.shape}"
            )
        return implementation(np.swapaxes)(self, -1, -2)

    @property
    def real(self) -> Any:
        return implementation(np.real)(self) if self.dtype.kind == "c" else self

    @property
    def imag(self) -> Any:
        return (
            implementation(np.imag)(self) if self.dtype.kind == "c" else implementation(np.zeros_like)(self)
        )

    # Methods whose arguments differ from the function's

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"len() at {user_line()} of a 0-d value")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError(f"iteration at {user_line()} over a 0-d value")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, key: Any) -> Any:
        raise NotImplementedError

    def __setitem__(self, key: Any, value: Any) -> None:
        raise NotImplementedError

    def astype(
        self, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: Any = True, copy: Any = True
    ) -> Any:
        dtype = np.dtype(dtype)
        if dtype.kind not in "biufc":
            raise TypeError(
                f"astype at {user_line()}: values of dtype {dtype} cannot be traced; use a numeric dtype"
            )
        return OPS["cast"](self, dtype=dtype)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
        return implementation(np.reshape)(self, shape[0] if len(shape) == 1 else shape, order=order)

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return implementation(np.transpose)(self, order)

    def flatten(self, order: str = "C") -> Any:
        return self.copy().ravel(order)

    def copy(self, order: str = "C") -> Any:
        raise NotImplementedError

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def view(self) -> Any:
        return self[...]

    def fill(self, value: Any) -> None:
        self[...] = value

    def conj(self) -> Any:
        return implementation(np.conjugate)(self) if self.dtype.kind == "c" else self

    conjugate = conj

    # Operators beyond those of every traced kind

    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> Any:
        return OPS["equal"](self, other)

    def __ne__(self, other: Any) -> Any:
        return OPS["not_equal"](self, other)

    def __pow__(self, other: Any) -> Any:
        return COMPOSITES["pow"](self, other)

    def __rpow__(self, other: Any) -> Any:
        return COMPOSITES["pow"](other, self)

    def __matmul__(self, other: Any) -> Any:
        return implementation(np.matmul)(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return implementation(np.matmul)(other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __round__(self, digits: int | None = None) -> Any:
        return implementation(np.round)(self, digits or 0)


_METHODS = (
    "sum prod mean var std max min any all argmax argmin ptp cumsum cumprod ravel squeeze swapaxes repeat "
    "take dot clip round trace diagonal argsort nonzero searchsorted compress choose"
)


def _method(function: Any) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: implementation(function)(self, *args, **kwargs)


for _name in _METHODS.split():
    setattr(ArrayInterface, _name, _method(getattr(np, _name)))

for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    setattr(
        ArrayInterface,
        f"__i{_name}__",
        lambda self, other, name=_name: self._store(getattr(self, f"__{name}__")(other), name),
    )
