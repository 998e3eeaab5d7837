"""NumPy's namespace for arrays and traced values: every function of the op table under its NumPy name.

Functions of plain arrays compute at once, with the same ops that compiled functions use. Functions that make
arrays (zeros, arange, eye ...) give, inside a traced function, a traced value, which can be assigned to.

    >>> import numpy as np
    >>> import jitgrad.numpy as jnp
    >>> jnp.softmax(np.zeros(4))
    array([0.25, 0.25, 0.25, 0.25])
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Any

import numpy as np

from jitgrad.ops import COMPOSITES, NUMPY, OPS
from jitgrad.ops.creation import CREATION
from jitgrad.ops.values import as_array, is_traced
from jitgrad.traced import active

# Not in NumPy
_MORE = (
    "conv",
    "erf",
    "gelu",
    "log_softmax",
    "logsumexp",
    "max_pool",
    "mean_pool",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "stop_gradient",
)

# NumPy's own: constants, dtypes, and what looks at shapes and dtypes alone
_PLAIN = (
    "pi e inf nan newaxis euler_gamma ndarray dtype finfo iinfo errstate bool_ int8 int16 int32 int64 "
    "uint8 uint16 uint32 uint64 float16 float32 float64 integer floating number shape ndim size "
    "result_type promote_types broadcast_shapes can_cast issubdtype ix_"
).split()


def _constant(value: Any) -> Any:
    """A new array as a function being traced should see it: as a traced value."""
    return value if active.trace is None else active.trace.wrap(value)


def _like(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function.numpy)  # type: ignore[attr-defined]
    def create(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        return made if is_traced(made) else _constant(made)

    return create


def _created(numpy: Callable[..., Any], inside: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(numpy)
    def create(*args: Any, **kwargs: Any) -> Any:
        return numpy(*args, **kwargs) if active.trace is None else _constant(inside(*args, **kwargs))

    return create


def array(object: Any, dtype: Any = None, *, copy: bool = True, ndmin: int = 0) -> Any:
    """An array of numbers, arrays, traced values, or nested lists of them."""
    x = as_array(object)
    if not is_traced(x):
        return _constant(np.array(object, dtype, ndmin=ndmin))
    x = COMPOSITES["copy"](x) if dtype is None else COMPOSITES["astype"](x, dtype)
    missing = ndmin - len(x.shape)
    return COMPOSITES["expand_dims"](x, tuple(range(missing))) if missing > 0 else x


def asarray(a: Any, dtype: Any = None) -> Any:
    """The value itself where it is an array or traced, else a new array."""
    x = as_array(a)
    if is_traced(x):
        return x if dtype is None or x.dtype == dtype else COMPOSITES["astype"](x, dtype)
    return x if isinstance(a, np.ndarray) and dtype in (None, x.dtype) else array(a, dtype)


def _from_table(module: Any) -> dict[str, Any]:
    """The functions of a NumPy module that the op table has, under all their names."""
    functions = {
        name: getattr(module, name) for name in module.__all__ if callable(getattr(module, name, None))
    }
    return {n: NUMPY[f] for n, f in functions.items() if f.__hash__ is not None and f in NUMPY}


_table: dict[str, Any] = {
    **_from_table(np),
    **{name: COMPOSITES.get(name) or OPS[name] for name in _MORE},
    **{name: _created(getattr(np, name), inside) for name, inside in CREATION.items()},
    **{
        name: _like(COMPOSITES[name])
        for name in ("zeros_like", "ones_like", "empty_like", "full_like", "copy")
    },
    **{name: getattr(np, name) for name in _PLAIN},
}
globals().update(_table)

linalg = SimpleNamespace(**_from_table(np.linalg))

__all__ = ["array", "asarray", "linalg", *sorted(_table)]


def __getattr__(name: str) -> Any:
    hint = f"; numpy.{name} takes plain arrays" if hasattr(np, name) else ""
    raise AttributeError(f"jitgrad.numpy has no {name}{hint}", name=name)
