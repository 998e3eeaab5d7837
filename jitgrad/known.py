"""What of libraries always does the same: no files, clocks, random numbers."""

from __future__ import annotations

import builtins
import functools
import os
import sys
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from jitgrad import pytree
from jitgrad.ops.table import NUMPY

MODULES = (
    "cmath",
    "functools",
    "itertools",
    "jitgrad",
    "jitgrad.numpy",
    "math",
    "numpy",
    "numpy.fft",
    "numpy.linalg",
    "operator",
)
"""Modules whose functions may be looked up by name, as far as they are known."""

_BUILTINS = (
    "abs all any bool bytes complex dict divmod enumerate filter float frozenset int isinstance issubclass "
    "iter len list map max min next object pow property range repr reversed round slice sorted str sum super "
    "tuple type zip True False None Ellipsis NotImplemented ArithmeticError AssertionError "
    "AttributeError Exception FloatingPointError IndexError KeyError LookupError NotImplementedError "
    "OverflowError RuntimeError StopIteration TypeError ValueError ZeroDivisionError"
).split()

_NUMPY = (
    "arange array array_equal asarray ascontiguousarray atleast_1d bool_ broadcast_shapes broadcast_to "
    "can_cast complex64 complex128 copy diag diag_indices dtype empty empty_like errstate eye finfo "
    "float16 float32 float64 floating full full_like generic identity iinfo index_exp indices inexact int8 "
    "int16 int32 int64 "
    "integer intp isscalar issubdtype ix_ linspace meshgrid ndarray ndim ndindex number ones ones_like "
    "promote_types ravel_multi_index result_type s_ shape signedinteger size tri tril_indices triu_indices "
    "uint8 uint16 uint32 uint64 unravel_index unsignedinteger vander zeros zeros_like"
).split()

_TRANSFORMS = ("grad", "jit", "value_and_grad", "vjp")
_UNKNOWN_OPERATORS = ("attrgetter", "methodcaller")
_FUNCTOOLS = ("partial", "reduce")
_OWN_FILES = tuple(
    os.path.dirname(os.path.abspath(module.__file__ or "")) + os.sep
    for module in (np, sys.modules["jitgrad"])
)


def names() -> dict[int, tuple[str, Any]]:
    """Return everything that is known with its name, by its id."""
    return _names(tuple(name for name in (*MODULES, "jitgrad.jit") if name in sys.modules))


@functools.cache
def _names(loaded: tuple[str, ...]) -> dict[int, tuple[str, Any]]:
    found: dict[int, tuple[str, Any]] = {}
    for module, attributes in _listed(loaded):
        for attribute in attributes:
            value = getattr(module, attribute, None)
            if value is not None and _is_own(value):
                found.setdefault(id(value), (f"{module.__name__}.{attribute}", value))
    return found


def _listed(loaded: tuple[str, ...]) -> list[tuple[ModuleType, list[str]]]:
    public = {name: [n for n in vars(sys.modules[name]) if not n.startswith("_")] for name in loaded}
    public["functools"] = list(_FUNCTOOLS)
    public["operator"] = [name for name in public.get("operator", []) if name not in _UNKNOWN_OPERATORS]
    for name in ("numpy", "numpy.linalg", "numpy.fft"):
        public[name] = [n for n in public.get(name, []) if _computes(getattr(np, n, None)) or name != "numpy"]
    public["numpy"] += _NUMPY
    public["jitgrad"] = []
    public["jitgrad.jit"] = [name for name in _TRANSFORMS if "jitgrad.jit" in loaded]
    if "jitgrad.numpy" in loaded:
        public["jitgrad.numpy"] = list(sys.modules["jitgrad.numpy"].__all__)
    listed = [(sys.modules[name], attributes) for name, attributes in public.items() if name in sys.modules]
    containers = [name for name in vars(pytree) if name.startswith("_build_")]
    return [(builtins, list(_BUILTINS)), (pytree, containers), *listed]


def _computes(value: Any) -> bool:
    return isinstance(value, np.ufunc) or (callable(value) and value.__hash__ is not None and value in NUMPY)


def _is_own(value: Any) -> bool:
    """Whether a library's name still means what the library put there."""
    if isinstance(value, np.ufunc):
        return "vectorized" not in value.__name__
    return not isinstance(value, FunctionType) or value.__code__.co_filename.startswith(_OWN_FILES)
