"""vmap in the trace under way: a function of one example, run once, becomes nodes for all examples."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jitgrad.batch import batched, repeated
from jitgrad.ir import Aval, Node, input_node
from jitgrad.location import user_line
from jitgrad.ops.shape import moveaxis
from jitgrad.pytree import describe, flatten, parts_of, paths, unflatten
from jitgrad.signature import is_input, place_of
from jitgrad.traced import Traced
from jitgrad.transforms import Args, Function, Kwargs, constant, traced_all, under_way


@dataclass(frozen=True, slots=True)
class Axes:
    """Which axis of each array holds the examples: an int or None, or containers of these like a value's."""

    value: Any = field(compare=False, repr=False)
    text: str

    @classmethod
    def of(cls, value: Any) -> Axes:
        """Return the axes, which are compared by how they are written."""
        return cls(value, repr(value))

    def leaves(self, name: str, value: Any) -> list[int | None]:
        """Return one axis for each leaf of a value.

        Raises ValueError where the axes are not built like the value, TypeError for what is no axis.
        """
        return _axes(name, self.value, value)


def _axes(name: str, axes: Any, value: Any) -> list[int | None]:
    if axes is None or (hasattr(axes, "__index__") and not isinstance(axes, bool)):
        axis = None if axes is None else operator.index(axes)
        return [axis] * len(flatten(value)[0])
    given, parts = parts_of(axes), parts_of(value)
    if given is None:
        raise TypeError(f"{name} at {user_line()} must consist of ints and None, got {axes!r}")
    if parts is None or (*given[:2], len(given[2])) != (*parts[:2], len(parts[2])):
        tree = flatten(value)[1]
        raise ValueError(f"{name} at {user_line()}: {axes!r} does not fit {describe(tree)}")
    return [axis for a, part in zip(given[2], parts[2], strict=True) for axis in _axes(name, a, part)]


def _axis(axis: int, ndim: int, place: str) -> int:
    if not -ndim <= axis < ndim:
        raise ValueError(f"vmap at {user_line()}: {place} of {ndim} axes has no axis {axis} for the examples")
    return axis % ndim


@dataclass(frozen=True, slots=True)
class Mapped:
    """The function for each example, its results side by side."""

    in_axes: Axes
    out_axes: Axes

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        leaves, tree = flatten((args, kwargs))
        keywords = flatten(kwargs)[0]
        axes = [*self.in_axes.leaves("in_axes", args), *(0 for _ in keywords)]
        places = [place_of(function, path) for path in paths(tree)]
        stacks = [_stack(*each) for each in zip(leaves, axes, places, strict=True)]
        size = _size(stacks, places)
        examples = [None if s is None else input_node(Aval(s.shape[1:], s.dtype)) for s in stacks]
        boxes = [_box(leaf, e) for leaf, e in zip(leaves, examples, strict=True)]
        given, named = unflatten(tree, boxes)
        output = function(*given, **named)
        known = {e: s for e, s in zip(examples, stacks, strict=True) if e is not None and s is not None}
        return self._results(output, known, size)

    def _results(self, output: Any, known: dict[Node, Node], size: int) -> Any:
        leaves, tree = flatten(output)
        axes = self.out_axes.leaves("out_axes", output)
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Traced) or is_input(leaf)]
        nodes = [under_way().wrap(leaves[i]).node for i in places]
        moved = [
            _with_examples_at(axes[i], node, found, size)
            for i, node, found in zip(places, nodes, batched(nodes, known, size), strict=True)
        ]
        for i, value in zip(places, traced_all(moved), strict=True):
            leaves[i] = value
        return unflatten(tree, leaves)


def _stack(leaf: Any, axis: int | None, place: str) -> Node | None:
    """All examples of an argument along the first axis, None for what is the same for each."""
    if axis is None or not isinstance(leaf, Traced):
        return None
    node: Node = moveaxis(leaf.node, _axis(axis, leaf.ndim, place), 0)
    return node


def _size(stacks: Sequence[Node | None], places: Sequence[str]) -> int:
    sizes = {place: s.shape[0] for s, place in zip(stacks, places, strict=True) if s is not None}
    if not sizes:
        raise ValueError(f"vmap at {user_line()} needs an axis to map over: in_axes has none")
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{size} of {place}" for place, size in sizes.items())
        raise ValueError(f"vmap at {user_line()}: the numbers of examples differ, {listed}")
    return next(iter(sizes.values()))


def _box(leaf: Any, example: Node | None) -> Any:
    if not isinstance(leaf, Traced):
        return leaf
    if example is None:
        return constant(leaf)
    return Traced(example, under_way(), user_line(), scalar=not example.shape)


def _with_examples_at(axis: int | None, node: Node, found: Node | None, size: int) -> Node:
    if axis is None:
        if found is not None:
            raise ValueError(
                f"vmap at {user_line()}: out_axes has None for a result that differs between the examples"
            )
        return node
    stack: Node = repeated(node, size) if found is None else found
    moved: Node = moveaxis(stack, 0, _axis(axis, stack.ndim, "a result"))
    return moved
