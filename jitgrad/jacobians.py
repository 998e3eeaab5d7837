"""Jacobians in the trace under way: derivatives along all basis directions, by batching that of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jitgrad.adjoint import cotangents
from jitgrad.batch import batched, directions, repeated
from jitgrad.forward import tangents
from jitgrad.ir import Aval, Node, input_node, literal
from jitgrad.location import user_line
from jitgrad.ops.shape import moveaxis, shaped
from jitgrad.pytree import Tree, flatten, paths, unflatten
from jitgrad.transforms import (
    Argnums,
    Args,
    Chosen,
    Function,
    Kwargs,
    is_float,
    name_of,
    under_way,
)


def _along_basis(derivatives: Callable[[Node], Sequence[Node]], along: Node) -> list[Node]:
    """What linear `derivatives` make of each direction of a node, the directions along the first axis."""
    if not along.shape:
        return [shaped(node, (1, *node.shape)) for node in derivatives(literal(1, along.dtype))]
    seed, basis = input_node(Aval(along.shape, along.dtype)), directions(along.shape, along.dtype)
    nodes, size = derivatives(seed), basis.shape[0]
    found = batched(nodes, {seed: basis}, size)
    return [repeated(node, size) if f is None else f for node, f in zip(nodes, found, strict=True)]


def _float_outputs(function: Function, value: Any) -> tuple[list[Node], Tree]:
    """The nodes of a function's results, and their tree."""
    leaves, tree = flatten(value)
    for leaf, path in zip(leaves, paths(tree), strict=True):
        if not is_float(leaf):
            raise TypeError(
                f"the Jacobian of {name_of(function)} at {user_line()} needs floating-point results, got "
                f"{getattr(leaf, 'dtype', type(leaf).__name__)}{' at ' + path if path else ''}"
            )
    return [under_way().wrap(leaf).node for leaf in leaves], tree


@dataclass(frozen=True, slots=True)
class ReverseJacobian:
    """The derivatives of each element of the results, by reverse mode."""

    argnums: Argnums
    has_aux: bool

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        chosen = Chosen(function, self.argnums, args, kwargs)
        value, aux = chosen.run(self.has_aux)
        outputs, tree = _float_outputs(function, value)
        rows = [self._row(output, chosen.nodes) for output in outputs]
        jacobian = unflatten(tree, [chosen.built(row) for row in rows])
        return (jacobian, aux) if self.has_aux else jacobian

    @staticmethod
    def _row(output: Node, wrt: Sequence[Node]) -> list[Node]:
        found = _along_basis(lambda seed: cotangents([output], [seed], wrt), output)
        return [shaped(g, (*output.shape, *w.shape)) for g, w in zip(found, wrt, strict=True)]


@dataclass(frozen=True, slots=True)
class ForwardJacobian:
    """The derivatives by each element of the arguments, by forward mode."""

    argnums: Argnums
    has_aux: bool

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        chosen = Chosen(function, self.argnums, args, kwargs)
        value, aux = chosen.run(self.has_aux)
        outputs, tree = _float_outputs(function, value)
        columns = [self._column(outputs, variable) for variable in chosen.nodes]
        rows = zip(*columns, strict=True)
        jacobian = unflatten(tree, [chosen.built(row) for row in rows])
        return (jacobian, aux) if self.has_aux else jacobian

    @staticmethod
    def _column(outputs: Sequence[Node], variable: Node) -> list[Node]:
        found = _along_basis(lambda seed: tangents(outputs, [variable], [seed]), variable)
        moved = [moveaxis(dot, 0, -1) for dot in found]
        return [shaped(m, (*o.shape, *variable.shape)) for m, o in zip(moved, outputs, strict=True)]
