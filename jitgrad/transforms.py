"""Derivatives of functions of traced values, in the trace under way: what public transforms do when they run.

A transform is called with a function, its positional and its keyword arguments, whose numbers are all traced.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.adjoint import cotangents
from jitgrad.errors import NotDifferentiable, TraceError
from jitgrad.ir import Node, literal
from jitgrad.location import user_line
from jitgrad.ops.structure import alias
from jitgrad.ops.table import is_differentiable
from jitgrad.pytree import LEAF, Tree, describe, flatten, flatten_like, paths, unflatten
from jitgrad.signature import argument_name
from jitgrad.traced import Trace, Traced, active

Function = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]

_serial = itertools.count()


def name_of(function: Function) -> str:
    """Return what to call a function in a message."""
    return getattr(function, "__name__", None) or type(function).__name__


def _trace() -> Trace:
    assert active.trace is not None, "transforms run in a trace"
    return active.trace


def _variable(value: Traced) -> Traced:
    """The value as a variable of its own: what else was computed from it is constant to the new variable."""
    trace = _trace()
    node = alias(value.node, serial=next(_serial))
    return Traced(node, trace, user_line(), scalar=value._scalar)


def _constant(value: Traced) -> Traced:
    """The value in a box of its own, so that assignments stay inside the function."""
    return Traced(value.node, _trace(), user_line(), scalar=value._scalar)


def _results(nodes: Sequence[Node]) -> list[Traced]:
    trace, where = _trace(), user_line()
    return [Traced(node, trace, where) for node in nodes]


# jit --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """The function as it is."""

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        return function(*args, **kwargs)


# grad, value_and_grad ---------------------------------------------------------------------------------


def _positions(function: Function, argnums: int | tuple[int, ...], n: int) -> list[int]:
    """The argument numbers counted from the front."""
    given = argnums if isinstance(argnums, tuple) else (argnums,)
    for i in given:
        if not -n <= i < n:
            raise ValueError(
                f"argnums={argnums} at {user_line()}: {name_of(function)} was called with {n} positional "
                f"argument{'s' * (n != 1)}, so argnums go from {-n} to {n - 1}"
            )
    positions = [i % n for i in given]
    if len(set(positions)) < len(positions):
        raise ValueError(f"argnums={argnums} at {user_line()} names an argument of {name_of(function)} twice")
    return positions


def _positional(
    function: Function, argnums: int | tuple[int, ...], args: Args, kwargs: Kwargs
) -> tuple[Args, Kwargs]:
    """The arguments with those keywords made positional that come next in the function's signature."""
    if not kwargs or all(
        -len(args) <= i < len(args) for i in (argnums if isinstance(argnums, tuple) else (argnums,))
    ):
        return args, kwargs
    rest = dict(kwargs)
    for parameter in list(inspect.signature(function).parameters.values())[len(args) :]:
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or parameter.name not in rest:
            break
        args = (*args, rest.pop(parameter.name))
    return args, rest


def _variables(function: Function, i: int, value: Any) -> tuple[list[Traced], Any]:
    """The leaves of an argument as variables, and the argument made of them."""
    leaves, tree = flatten(value)
    for leaf, path in zip(leaves, paths(tree), strict=True):
        if not isinstance(leaf, Traced):
            name = argument_name(function, i)
            raise NotDifferentiable(f"{name}{path} at {user_line()} is not an array or a number: {leaf!r}")
        if not is_differentiable(leaf.dtype):
            name = argument_name(function, i)
            raise NotDifferentiable(
                f"{name}{path} at {user_line()} has dtype {leaf.dtype}: only floating-point numbers have "
                "derivatives. Convert it (x.astype(float), 1.0 for 1), or choose others with argnums"
            )
    variables = [_variable(leaf) for leaf in leaves]
    return variables, unflatten(tree, variables)


def _scalar_output(function: Function, value: Any) -> Traced:
    if isinstance(value, (float, np.floating)):
        value = _trace().wrap(value)
    if not isinstance(value, Traced):
        tree = flatten(value)[1]
        raise TypeError(_not_one_number(function, repr(value) if tree is LEAF else describe(tree)))
    if value.shape or not is_differentiable(value.dtype):
        remedy = "Sum it, or use jitgrad.vjp" if value.shape else "Convert it to float"
        raise TypeError(f"{_not_one_number(function, str(value.node.aval))}. {remedy}")
    return value


def _not_one_number(function: Function, got: str) -> str:
    needed = f"the gradient of {name_of(function)} at {user_line()} needs one floating-point number as output"
    return f"{needed}, got {got}"


@dataclass(frozen=True, slots=True)
class Gradient:
    """The derivatives of a scalar function, with its value if asked for."""

    argnums: int | tuple[int, ...]
    has_aux: bool
    with_value: bool

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        args, kwargs = _positional(function, self.argnums, args, kwargs)
        positions = _positions(function, self.argnums, len(args))
        variables: list[Traced] = []
        given = list(args)
        trees: list[tuple[Tree, int]] = []
        for i in positions:
            own, given[i] = _variables(function, i, args[i])
            variables += own
            trees.append((flatten(args[i])[1], len(own)))
        nodes = [v.node for v in variables]
        output = function(*given, **kwargs)
        value, aux = _split_aux(function, output) if self.has_aux else (output, None)
        value = _scalar_output(function, value)
        grads = iter(_results(cotangents([value.node], [literal(1, value.dtype)], nodes)))
        parts = tuple(unflatten(tree, [next(grads) for _ in range(n)]) for tree, n in trees)
        gradient = parts if isinstance(self.argnums, tuple) else parts[0]
        if not self.with_value:
            return (gradient, aux) if self.has_aux else gradient
        return ((value, aux), gradient) if self.has_aux else (value, gradient)


def _split_aux(function: Function, output: Any) -> tuple[Any, Any]:
    if not isinstance(output, tuple) or len(output) != 2:
        raise TypeError(
            f"has_aux=True at {user_line()}: {name_of(function)} must return (value, aux), "
            f"got {type(output).__name__}"
        )
    return output


# vjp --------------------------------------------------------------------------------------------------


def is_float(leaf: Any) -> bool:
    """Return whether an output has a cotangent."""
    dtype = getattr(leaf, "dtype", None)
    return isinstance(leaf, float) if dtype is None else is_differentiable(dtype)


def checked_cotangents(outputs: Sequence[Any], tree: Tree, cotangent: Any) -> list[Any]:
    """Return one cotangent for each floating-point output.

    Raises ValueError or TypeError where the cotangent's structure, shapes or dtypes differ from the output's.
    """
    try:
        parts = flatten_like(tree, cotangent)
    except ValueError as error:
        raise ValueError(f"the cotangent at {user_line()} must be built like the output: {error}") from None
    found = []
    for out, part, path in zip(outputs, parts, paths(tree), strict=True):
        if not is_float(out):
            continue
        place = f"the cotangent{' ' + path if path else ''} at {user_line()}"
        if isinstance(part, (int, float)) and not isinstance(part, (bool, np.generic)):
            part = np.asarray(part, getattr(out, "dtype", float))
        if not hasattr(part, "dtype") or not hasattr(part, "shape"):
            raise TypeError(f"{place} must be an array, got {type(part).__name__}")
        if part.shape != np.shape(out):
            raise ValueError(f"{place} must have the output's shape {np.shape(out)}, got {part.shape}")
        if part.dtype != getattr(out, "dtype", np.float64):
            raise TypeError(
                f"{place} must have the output's dtype {getattr(out, 'dtype', float)}, got {part.dtype}"
            )
        found.append(part)
    return found


class Pullback:
    """The outputs of a function in the trace under way, and the way back from their cotangents."""

    def __init__(self, function: Function, args: Args, has_aux: bool) -> None:
        self.trace = _trace()
        self._leaves, self._tree = flatten(args)
        boxes = [self._box(leaf) for leaf in self._leaves]
        self._nodes = [box.node if is_float(box) else None for box in boxes]
        output = function(*unflatten(self._tree, boxes))
        self.aux: Any = None
        self.value = output
        if has_aux:
            self.value, self.aux = _split_aux(function, output)
        self.outputs, self._out_tree = flatten(self.value)
        # Their nodes now: the boxes may be assigned to before the cotangent arrives.
        self._out_nodes = [self.trace.wrap(leaf).node for leaf in self.outputs if is_float(leaf)]

    @staticmethod
    def _box(leaf: Any) -> Any:
        if not isinstance(leaf, Traced):
            return leaf
        return _variable(leaf) if is_float(leaf) else _constant(leaf)

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        """Return one cotangent for each argument, None for what has no derivative."""
        if not self.trace.active:
            raise TraceError(f"the pullback called at {user_line()} was made in a trace that has ended")
        return self.pull(checked_cotangents(self.outputs, self._out_tree, cotangent))

    def pull(self, seeds: Sequence[Any]) -> tuple[Any, ...]:
        """Return the arguments' cotangents, given one for each floating-point output."""
        wrt = [node for node in self._nodes if node is not None]
        seed_nodes = [self.trace.wrap(seed).node for seed in seeds]
        grads = iter(_results(cotangents(self._out_nodes, seed_nodes, wrt)))
        leaves = [None if node is None else next(grads) for node in self._nodes]
        parts: tuple[Any, ...] = unflatten(self._tree, leaves)
        return parts


@dataclass(frozen=True, slots=True)
class Backward:
    """From (arguments, cotangents of the floating-point outputs) to the cotangents of the arguments."""

    has_aux: bool

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        inputs, seeds = args
        return Pullback(function, inputs, self.has_aux).pull(seeds)
