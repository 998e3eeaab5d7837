"""Turns a function of tensors into what users call: a function, a method, an in-place method, an operator."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from jitgrad.eager.dtypes import C_NAMES, can_cast
from jitgrad.eager.inplace import guard, inplace
from jitgrad.eager.modes import state
from jitgrad.eager.tensor import Tensor, version_of

Function = TypeVar("Function", bound=Callable[..., Any])


def define(
    *names: str,
    method: bool = True,
    in_place: bool = False,
    ufunc: np.ufunc | None = None,
    out: bool = False,
    exact: bool = False,
) -> Callable[[Function], Function]:
    """Declare a function of tensors, and the method of the same names.

    Without names, the function's own is taken. `in_place` adds the method with a trailing underscore, which
    may use `ufunc`. `out` lets the function, though not the method, write its result into a tensor given as
    `out=`, which has to be of the result's own dtype if `exact`.
    """

    def declare(function: Function) -> Function:
        function = with_numpy_keywords(function)
        public = with_out(function, exact) if out else function
        for name in names or (function.__name__.strip("_"),):
            if method:
                setattr(Tensor, name, function)
            if in_place:
                written = inplace(function, ufunc)
                written.__name__ = f"{name}_"
                setattr(Tensor, f"{name}_", written)
        return public

    return declare


_NUMPY_KEYWORDS = (("axis", "dim"), ("keepdims", "keepdim"))


def with_numpy_keywords(function: Function) -> Function:
    """The function with NumPy's names for its keywords too, as PyTorch has them."""
    code = function.__code__
    own = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    renamed = {alias: name for alias, name in _NUMPY_KEYWORDS if name in own and alias not in own}
    if not renamed:
        return function

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = {renamed.get(name, name): value for name, value in kwargs.items()}
        return function(*args, **kwargs)

    return called  # type: ignore[return-value]


def operators(table: dict[str, Callable[..., Any]]) -> None:
    """Give tensors Python's operators; an operand of an unknown type gets its turn to answer."""
    for name, function in table.items():
        setattr(Tensor, f"__{name}__", _operator(function))


_OPERANDS = (Tensor, bool, int, float, complex, np.ndarray, np.generic)


def _operator(function: Callable[..., Any]) -> Callable[..., Any]:
    def operator(self: Tensor, *other: Any) -> Any:
        if other and not isinstance(other[0], _OPERANDS):
            return NotImplemented
        return function(self, *other)

    return operator


def with_out(function: Function, exact: bool = False) -> Function:
    """The function with an `out=` tensor (or a tuple of them) that the result is written to and returned."""

    @functools.wraps(function)
    def written(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return function(*args, **kwargs)
        targets = out if isinstance(out, (tuple, list)) else (out,)
        _no_gradients(function.__name__, args, targets)
        before, state.grad = state.grad, False
        try:
            results = function(*args, **kwargs)
            for target, result in zip(
                targets, results if isinstance(results, tuple) else (results,), strict=True
            ):
                if exact:
                    _must_be_of(target, result)
                _fill(target, result, function.__name__)
        finally:
            state.grad = before
        return out

    return written  # type: ignore[return-value]


def _no_gradients(name: str, args: Iterable[Any], targets: Iterable[Any]) -> None:
    for target in targets:
        if not isinstance(target, Tensor):
            raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(target).__name__}")
    if state.grad and any(isinstance(a, Tensor) and a.requires_grad for a in (*args, *targets)):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of "
            "the arguments requires grad."
        )


def _must_be_of(target: Tensor, result: Tensor) -> None:
    given, wanted = (C_NAMES.get(t.dtype, t.dtype.name) for t in (target, result))
    if given != wanted:
        raise RuntimeError(f"Expected out tensor to have dtype {wanted}, but got {given} instead")


def _fill(target: Tensor, result: Tensor, name: str) -> None:
    guard(target)
    given, wanted = result.dtype, target.dtype
    if not can_cast(given, wanted):
        raise RuntimeError(
            f"{name}: result type {given.name} can't be cast to the desired output type {wanted.name}"
        )
    if target._array.shape != result._array.shape:
        target._array = result._array.astype(target._array.dtype)
    else:
        np.copyto(target._array, result._array, "unsafe")
    version_of(target)[0] += 1
