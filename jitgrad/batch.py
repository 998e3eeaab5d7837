"""Batching: nodes that compute one example to nodes that compute all of them, along a new first axis.

One rule for each kind of op moves the axes that its parameters name. Ops of the kind `call` work over leading
axes, if they are in `LEADING`, or have a rule of their own in `RULES`, as indices and products do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.ir import LITERAL, Aval, Node, Op, located, toposort
from jitgrad.ops.elementwise import equal
from jitgrad.ops.gather import bounded
from jitgrad.ops.linear import matmul
from jitgrad.ops.shape import moveaxis, permuted, shaped
from jitgrad.ops.structure import alias, cast, iota, rearrange
from jitgrad.ops.table import OPS
from jitgrad.ops.values import Shape, broadcast, insert_axes

# Of a node, its arguments (those that are batched with the examples first), which are batched, how many
# examples there are: the node for all of them
Rule = Callable[[Node, Sequence[Node], Sequence[bool], int], Any]

LEADING = {
    OPS[name]
    for name in (
        "argmax argmin argsort cholesky cofactors cumulative_index det eigh eigh_upper indexing inv "
        "logcumsumexp lu_factors lu_pivots matrix_exp mode_index pinv qr row_order slogdet solve "
        "solve_triangular svd svd_full"
    ).split()
}


def batched(outputs: Sequence[Node], examples: dict[Node, Node], size: int) -> tuple[Node | None, ...]:
    """The nodes that compute outputs for all examples, None where an output is the same for each.

    `examples` has the nodes that stand for one example, and what holds all of them along its first axis.
    Raises NotImplementedError for ops without a rule.
    """
    found = dict(examples)
    for node in toposort(outputs):
        if node in found or not any(a in found for a in node.args):
            continue
        args, given = [found.get(a, a) for a in node.args], [a in found for a in node.args]
        with located(node.where):
            found[node] = _rule(node)(node, args, given, size)
    return tuple(found.get(o) for o in outputs)


def _rule(node: Node) -> Rule:
    rule = RULES.get(node.op)
    if rule is not None:
        return rule
    if node.op.kind == "map":
        return _elementwise
    if node.op.kind == "call" and node.op not in LEADING:
        where = f" at {node.where}" if node.where else ""
        raise NotImplementedError(f"vmap: {node.op.name}{where} has no batching rule. Loop over the examples")
    return _aligned


def repeated(node: Node, size: int) -> Any:
    """The node along a new first axis."""
    return broadcast(node, (size, *node.shape))


# Rules by kind ----------------------------------------------------------------------------------------


def _elementwise(node: Node, args: Sequence[Node], given: Sequence[bool], size: int) -> Any:
    shape = (size, *node.shape)
    wide = [_spread(a, own, shape) for a, own in zip(args, given, strict=True)]
    return Node(node.op, tuple(wide), node.params, Aval(shape, node.dtype, node.aval.weak))


def _spread(arg: Node, own: bool, shape: Shape) -> Any:
    """An argument of an elementwise op in the op's shape; literals may stay scalars."""
    if arg.op is LITERAL or arg.shape == shape:
        return arg
    axes: tuple[int | None, ...] = tuple(range(own, arg.ndim))
    axes = (0 if own else None, *(axes or (None,) * (len(shape) - 1)))
    return rearrange(arg, shape=shape, source=axes)


# What a parameter becomes when a first axis comes before those that it names
_PARAMS: dict[str, Callable[[Any, int], Any]] = {
    "axis": lambda axis, size: axis + 1,
    "axes": lambda axes, size: tuple(axis + 1 for axis in axes),
    "source": lambda source, size: (0, *(None if s is None else s + 1 for s in source)),
    "shape": lambda shape, size: (size, *shape),
    "start": lambda start, size: (0, *start),
    "step": lambda step, size: (1, *step),
    "size": lambda extent, size: (size, *extent) if isinstance(extent, tuple) else extent,
}


def _aligned(node: Node, args: Sequence[Node], given: Sequence[bool], size: int) -> Any:
    """The op itself, one axis further on."""
    params = {name: _PARAMS[name](v, size) if name in _PARAMS else v for name, v in node.params}
    every = [a if own else repeated(a, size) for a, own in zip(args, given, strict=True)]
    return node.op.bind(node.op, *every, **params)


# Products ---------------------------------------------------------------------------------------------


def directions(shape: Shape, dtype: np.dtype[Any]) -> Any:
    """All directions of an array of this shape: along the first axis, arrays with a single 1."""
    n = math.prod(shape)
    count = iota(n)
    same = equal(broadcast(insert_axes(count, (1,)), (n, n)), broadcast(insert_axes(count, (0,)), (n, n)))
    return shaped(cast(same, dtype=dtype), (n, *shape))


def _product(node: Node, args: Sequence[Node], given: Sequence[bool], size: int) -> Any:
    """One product of larger matrices where one operand is the same for all examples."""
    x, y = args
    if node.ndim > 2 or all(given):
        return _aligned(node, args, given, size)
    rows, columns = node.shape
    if given[0]:
        tall = _times(shaped(x, (size * rows, x.shape[-1])), y)
        return shaped(tall, (size, rows, columns))
    wide = _times(x, shaped(permuted(y, (1, 0, 2)), (y.shape[1], size * columns)))
    return permuted(shaped(wide, (rows, size, columns)), (1, 0, 2))


def _times(x: Node, y: Node) -> Any:
    """The product of matrices; all directions of a vector pick the other matrix as it is."""
    return y if _is_identity(x) else x if _is_identity(y) else matmul(x, y)


def _is_identity(x: Node) -> bool:
    if x.op is rearrange and x.param("source") == (1, 0):
        x = x.args[0]
    return x.op is cast and x is directions(x.shape[:1], x.dtype)


# Indices ----------------------------------------------------------------------------------------------
# Where each example has an index of its own, the examples lie one after the other in one axis.


def _in_one_axis(index: Node, n: int, size: int) -> Any:
    """Indices into n elements of each example as indices into the elements of all."""
    starts = insert_axes(iota(size), tuple(range(1, index.ndim)))
    return _inside(index, n) + broadcast(starts, index.shape) * n


def _inside(index: Node, n: int) -> Any:
    """Indices into n elements, counted from the first one and checked."""
    checked = index.op is bounded and index.param("size") <= n
    return index if checked else bounded(index, size=n)


def _joined(x: Node, axis: int) -> Any:
    """All examples with their axis of this number, counted without the examples, joined into the first."""
    x = moveaxis(x, axis + 1, 1)
    return shaped(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def _apart(x: Node, size: int, axis: int) -> Any:
    """What `_joined` has joined, as it was."""
    return moveaxis(shaped(x, (size, x.shape[0] // size, *x.shape[1:])), 1, axis + 1)


def _taken(node: Node, args: Sequence[Node], given: Sequence[bool], size: int) -> Any:
    x, index = args
    axis = node.param("axis")
    if not given[1]:
        return node.op(x, index, axis=axis + 1)
    if not given[0]:
        return moveaxis(node.op(x, index, axis=axis), axis, 0)
    n = x.shape[axis + 1]
    if index.ndim == 1:
        return _one_of_each(x, index, axis)
    rows = node.op(_joined(x, axis), _in_one_axis(index, n, size), axis=0)
    chosen = tuple(range(1, index.ndim))
    return moveaxis(rows, chosen, tuple(i + axis for i in chosen))


def _one_of_each(x: Node, index: Node, axis: int) -> Any:
    """One element of each example along an axis."""
    x = moveaxis(x, axis + 1, -1)
    inside = _inside(index, x.shape[-1])
    rest = tuple(range(1, x.ndim - 1))
    return OPS["pick"](x, broadcast(insert_axes(inside, rest), x.shape[:-1]))


def _summed(node: Node, args: Sequence[Node], given: Sequence[bool], size: int) -> Any:
    """Sums into zeros."""
    x, index = args
    axis, n = node.param("axis"), node.param("size")
    if not given[1]:
        return node.op(x, index, axis=axis + 1, size=n)
    x = x if given[0] else repeated(x, size)
    chosen = tuple(range(1, index.ndim))
    x = moveaxis(x, tuple(i + axis for i in chosen), chosen)
    total = node.op(x, _in_one_axis(index, n, size), axis=0, size=size * n)
    return _apart(total, size, axis)


def _written(node: Node, args: Sequence[Node], given: Sequence[bool], size: int) -> Any:
    """Values that go into an array, or are added to it."""
    params = dict(node.params)
    axis = params.get("axis", 0)
    x, index, values = args
    x, values = x if given[0] else repeated(x, size), values if given[2] else repeated(values, size)
    if "axis" in params:
        if not given[1]:
            return node.op(x, index, values, axis=axis + 1)
        params["axis"] = 0
    index = index if given[1] else repeated(index, size)
    places = shaped(_in_one_axis(index, x.shape[axis + 1], size), (math.prod(index.shape),))
    return _apart(node.op(_joined(x, axis), places, _joined(values, axis), **params), size, axis)


def _searched(node: Node, args: Sequence[Node], given: Sequence[bool], size: int) -> Any:
    """Where values belong in a sorted vector, or in sorted rows."""
    rows, values = args
    if not given[0] and rows.ndim == 1:
        return node.op(rows, values, **dict(node.params))
    rows, values = (a if own else repeated(a, size) for a, own in zip(args, given, strict=True))
    flat = shaped(values, (*rows.shape[:-1], math.prod(values.shape[rows.ndim - 1 :])))
    return shaped(node.op(rows, flat, **dict(node.params)), values.shape)


# Windows ----------------------------------------------------------------------------------------------


def _convolved(node: Node, args: Sequence[Node], given: Sequence[bool], size: int) -> Any:
    """More images where the weight is the same for all examples, else more groups of channels."""
    x, weight = args
    params = dict(node.params)
    if given[0] and not given[1]:
        images = node.op(shaped(x, (size * x.shape[1], *x.shape[2:])), weight, **params)
        return shaped(images, (size, *node.shape))
    x, weight = (a if own else repeated(a, size) for a, own in zip(args, given, strict=True))
    stacked = shaped(weight, (size * weight.shape[1], *weight.shape[2:]))
    params["groups"] *= size
    return _unstacked(node.op(_channels(x), stacked, **params), size)


def _weighted(node: Node, args: Sequence[Node], given: Sequence[bool], size: int) -> Any:
    """The gradient of a weight: each example has channels of its own."""
    x, g = (_channels(a if own else repeated(a, size)) for a, own in zip(args, given, strict=True))
    params = dict(node.params)
    params["groups"] *= size
    return shaped(node.op(x, g, **params), (size, *node.shape))


def _channels(x: Node) -> Any:
    """The channels of all examples side by side, in the images that the examples share."""
    x = moveaxis(x, 0, 1)
    return shaped(x, (x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:]))


def _unstacked(x: Node, size: int) -> Any:
    """What `_channels` has put together, as it was."""
    return moveaxis(shaped(x, (x.shape[0], size, x.shape[1] // size, *x.shape[2:])), 1, 0)


def _peaks(node: Node, args: Sequence[Node], given: Sequence[bool], size: int) -> Any:
    if any(given[1:]):
        raise NotImplementedError("vmap: peaks has no batching rule for windows that differ. Loop over them")
    return node.op(*args, **dict(node.params))


RULES: dict[Op, Rule] = {
    alias: lambda node, args, given, size: args[0],  # all derivatives by it have been taken
    matmul: _product,
    OPS["take"]: _taken,
    OPS["gather"]: _taken,
    OPS["scatter_add"]: _summed,
    OPS["segment_sum"]: _summed,
    OPS["scatter"]: _written,
    OPS["add_at"]: _written,
    OPS["extreme_at"]: _written,
    OPS["searchsorted"]: _searched,
    OPS["convolution"]: _convolved,
    OPS["convolution_of_input"]: _convolved,
    OPS["convolution_of_weight"]: _weighted,
    OPS["peaks"]: _peaks,
}
