"""Turns a routine's name into a NumPy ufunc of the same code, stored on disk after its first use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import float32, float64, vectorize

from jitgrad.vmath.routine import ROUTINES, arity


@cache
def fingerprint() -> str:
    """Return a hash of this package's source, which names the stored code."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def kernel(routine: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls `routine`, under a name that no other routine or version shares."""

    def unary(x):
        return routine(x)

    def binary(x, y):
        return routine(x, y)

    count = arity(routine)
    if count > 2:
        raise ValueError(f"{routine.__name__} takes {count} arguments; a ufunc takes one or two")
    function = unary if count == 1 else binary
    function.__name__ = f"{routine.__name__}_{fingerprint()}"
    function.__qualname__ = function.__name__
    return function


@cache
def ufunc(name: str) -> np.ufunc:
    """Return the ufunc of the routine `name`, for float32 and float64.

    >>> import numpy as np
    >>> ufunc("exp")(np.array([0.0, 1.0], np.float32))
    array([1.       , 2.7182817], dtype=float32)
    """
    if name not in ROUTINES:
        raise ValueError(f"no routine {name!r} in jitgrad.vmath; there are {', '.join(sorted(ROUTINES))}")
    function = kernel(ROUTINES[name])
    count = arity(ROUTINES[name])
    built = vectorize([real(*[real] * count) for real in (float32, float64)], cache=True)(function)
    return getattr(built, "ufunc", built)
