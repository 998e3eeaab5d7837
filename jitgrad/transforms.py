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
from jitgrad.forward import tangents
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
Argnums = int | tuple[int, ...]

FLOAT0 = np.dtype([("float0", np.void, 0)])  # JAX's dtype of tangents of integers

_serial = itertools.count()


def name_of(function: Function) -> str:
    """Return what to call a function in a message."""
    return getattr(function, "__name__", None) or type(function).__name__


def under_way() -> Trace:
    """Return the trace in which transforms run."""
    assert active.trace is not None, "transforms run in a trace"
    return active.trace


def _variable(value: Traced) -> Traced:
    """The value as a variable of its own: what else was computed from it is constant to the new variable."""
    trace = under_way()
    node = alias(value.node, serial=next(_serial))
    return Traced(node, trace, user_line(), scalar=value._scalar)


def constant(value: Traced) -> Traced:
    """Return the value in a box of its own, so that assignments stay inside the function."""
    return Traced(value.node, under_way(), user_line(), scalar=value._scalar)


def traced_all(nodes: Sequence[Node]) -> list[Traced]:
    """Return nodes as values of the trace under way."""
    trace, where = under_way(), user_line()
    return [Traced(node, trace, where) for node in nodes]


# jit --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """The function as it is."""

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        return function(*args, **kwargs)


# grad, value_and_grad ---------------------------------------------------------------------------------


def _positions(function: Function, argnums: Argnums, n: int) -> list[int]:
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


def _positional(function: Function, argnums: Argnums, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
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


class Chosen:
    """A call with variables in place of those arguments by which derivatives are taken."""

    def __init__(self, function: Function, argnums: Argnums, args: Args, kwargs: Kwargs) -> None:
        args, self._kwargs = _positional(function, argnums, args, kwargs)
        self._function = function
        self._several = isinstance(argnums, tuple)
        self._args = list(args)
        self._trees: list[tuple[Tree, int]] = []
        self.nodes: list[Node] = []
        for i in _positions(function, argnums, len(args)):
            own, self._args[i] = _variables(function, i, args[i])
            self.nodes += [variable.node for variable in own]
            self._trees.append((flatten(args[i])[1], len(own)))

    def run(self, has_aux: bool) -> tuple[Any, Any]:
        """Call the function: its value, and what it returns beside it."""
        output = self._function(*self._args, **self._kwargs)
        return _split_aux(self._function, output) if has_aux else (output, None)

    def built(self, nodes: Sequence[Node]) -> Any:
        """What nodes, one for each variable, compute, built like the arguments."""
        results = iter(traced_all(nodes))
        parts = tuple(unflatten(tree, [next(results) for _ in range(n)]) for tree, n in self._trees)
        return parts if self._several else parts[0]


def _scalar_output(function: Function, value: Any) -> Traced:
    if isinstance(value, (float, np.floating)):
        value = under_way().wrap(value)
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

    argnums: Argnums
    has_aux: bool
    with_value: bool

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        chosen = Chosen(function, self.argnums, args, kwargs)
        value, aux = chosen.run(self.has_aux)
        value = _scalar_output(function, value)
        gradient = chosen.built(cotangents([value.node], [literal(1, value.dtype)], chosen.nodes))
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
    parts = _parts_like(tree, cotangent, "the cotangent", "the output")
    return [
        _fitting(part, out, "the cotangent", path, "the output's")
        for out, part, path in zip(outputs, parts, paths(tree), strict=True)
        if is_float(out)
    ]


def checked_tangents(primals: Sequence[Any], tree: Tree, tangents: Any) -> list[Any]:
    """Return one tangent for each floating-point primal; others have None, or JAX's float0.

    Raises ValueError or TypeError where structure, shapes or dtypes differ from the primals'.
    """
    found = []
    parts = _parts_like(tree, tangents, "the tangents", "the primals")
    for primal, part, path in zip(primals, parts, paths(tree), strict=True):
        if is_float(primal):
            found.append(_fitting(part, primal, "the tangent", path, "the primal's"))
        elif part is not None and getattr(part, "dtype", None) != FLOAT0:
            raise TypeError(
                f"the tangent {path} at {user_line()} must be None: the primal is "
                f"{getattr(primal, 'dtype', type(primal).__name__)}, and only floating-point numbers have "
                "derivatives. Convert the primal to float"
            )
    return found


def _parts_like(tree: Tree, value: Any, name: str, whole: str) -> list[Any]:
    try:
        return flatten_like(tree, value)
    except ValueError as error:
        raise ValueError(f"{name} at {user_line()} must be built like {whole}: {error}") from None


def _fitting(part: Any, like: Any, name: str, path: str, owner: str) -> Any:
    """A cotangent or tangent, which must have the shape and dtype of what it belongs to."""
    place = f"{name}{' ' + path if path else ''} at {user_line()}"
    dtype = getattr(like, "dtype", np.dtype(float))
    if isinstance(part, (int, float)) and not isinstance(part, (bool, np.generic)):
        part = np.asarray(part, dtype)
    if not hasattr(part, "dtype") or not hasattr(part, "shape"):
        raise TypeError(f"{place} must be an array, got {type(part).__name__}")
    if part.shape != np.shape(like):
        raise ValueError(f"{place} must have {owner} shape {np.shape(like)}, got {part.shape}")
    if part.dtype != dtype:
        raise TypeError(f"{place} must have {owner} dtype {dtype}, got {part.dtype}")
    return part


def _boxed(leaf: Any) -> Any:
    """An argument as a variable, or in a box of its own where it has no derivative."""
    if not isinstance(leaf, Traced):
        return leaf
    return _variable(leaf) if is_float(leaf) else constant(leaf)


class Pullback:
    """The outputs of a function in the trace under way, and the way back from their cotangents."""

    def __init__(self, function: Function, args: Args, has_aux: bool) -> None:
        self.trace = under_way()
        self._leaves, self._tree = flatten(args)
        boxes = [_boxed(leaf) for leaf in self._leaves]
        self._nodes = [box.node if is_float(box) else None for box in boxes]
        output = function(*unflatten(self._tree, boxes))
        self.aux: Any = None
        self.value = output
        if has_aux:
            self.value, self.aux = _split_aux(function, output)
        self.outputs, self._out_tree = flatten(self.value)
        # Their nodes now: the boxes may be assigned to before the cotangent arrives.
        self._out_nodes = [self.trace.wrap(leaf).node for leaf in self.outputs if is_float(leaf)]

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        """Return one cotangent for each argument, None for what has no derivative."""
        if not self.trace.active:
            raise TraceError(f"the pullback called at {user_line()} was made in a trace that has ended")
        return self.pull(checked_cotangents(self.outputs, self._out_tree, cotangent))

    def pull(self, seeds: Sequence[Any]) -> tuple[Any, ...]:
        """Return the arguments' cotangents, given one for each floating-point output."""
        wrt = [node for node in self._nodes if node is not None]
        seed_nodes = [self.trace.wrap(seed).node for seed in seeds]
        grads = iter(traced_all(cotangents(self._out_nodes, seed_nodes, wrt)))
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


# jvp --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Forward:
    """From primals, and a list of the tangents of the floating-point ones, to values and their tangents."""

    has_aux: bool

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        *primals, seeds = args
        leaves, tree = flatten(tuple(primals))
        boxes = [_boxed(leaf) for leaf in leaves]
        wrt = [box.node for box in boxes if is_float(box)]
        output = function(*unflatten(tree, boxes), **kwargs)
        value, aux = _split_aux(function, output) if self.has_aux else (output, None)
        outputs, out_tree = flatten(value)
        nodes = [under_way().wrap(leaf).node for leaf in outputs if is_float(leaf)]
        found = iter(traced_all(tangents(nodes, wrt, [under_way().wrap(seed).node for seed in seeds])))
        tangent = unflatten(out_tree, [next(found) if is_float(leaf) else None for leaf in outputs])
        return (value, tangent, aux) if self.has_aux else (value, tangent)
