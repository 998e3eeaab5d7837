"""Nested containers to a flat list of leaves, with a hashable description from which to build them again.

Containers are dict, OrderedDict, list, tuple, namedtuple, dataclass and None (an empty container); everything
else is a leaf. Dataclass fields with metadata {"static": True} belong to the structure. A tree is LEAF or a
tuple (build, meta, children): `build(meta, values)` makes the container from its parts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

LEAF = None
Tree = tuple[Any, Any, tuple[Any, ...]] | None  # LEAF, or (build, meta, children)

# build ------------------------------------------------------------------------------------------------


def _build_none(meta: None, values: list[Any]) -> None:
    return None


def _build_list(meta: None, values: list[Any]) -> list[Any]:
    return values


def _build_tuple(meta: None, values: list[Any]) -> tuple[Any, ...]:
    return tuple(values)


def _build_namedtuple(kind: Any, values: list[Any]) -> Any:
    return kind._make(values)


def _build_dict(meta: tuple[Any, tuple[Any, ...]], values: list[Any]) -> Any:
    kind, keys = meta
    return kind(zip(keys, values, strict=True))


def _build_dataclass(
    meta: tuple[Any, tuple[str, ...], tuple[tuple[str, Any], ...]], values: list[Any]
) -> Any:
    """Set the fields as they are: __post_init__ may convert or check what a gradient need not fulfil."""
    kind, names, static = meta
    made = object.__new__(kind)
    for name, value in (*zip(names, values, strict=True), *static):
        object.__setattr__(made, name, value)
    return made


# take apart -------------------------------------------------------------------------------------------

Parts = tuple[Callable[..., Any], Any, Sequence[Any]]  # build, meta, the values to build from


def _dict_parts(value: dict[Any, Any]) -> Parts:
    return _build_dict, (type(value), tuple(value)), list(value.values())


def _dataclass_parts(value: Any) -> Parts:
    names, static = [], []
    for field in fields(value):
        if field.metadata.get("static"):
            static.append((field.name, getattr(value, field.name)))
        else:
            names.append(field.name)
    return _build_dataclass, (type(value), tuple(names), tuple(static)), [getattr(value, n) for n in names]


_PARTS: dict[type, Callable[[Any], Parts] | None] = {
    type(None): lambda value: (_build_none, None, ()),
    list: lambda value: (_build_list, None, value),
    tuple: lambda value: (_build_tuple, None, value),
    dict: _dict_parts,
    OrderedDict: _dict_parts,
}


def _parts_of(kind: type) -> Callable[[Any], Parts] | None:
    """How to take values of a type apart; None for a leaf. The answer is kept in _PARTS."""
    parts: Callable[[Any], Parts] | None = None
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        parts = lambda value: (_build_namedtuple, type(value), value)
    elif is_dataclass(kind):
        parts = _dataclass_parts
    _PARTS[kind] = parts
    return parts


def parts_of(value: Any) -> Parts | None:
    """Return how to build a container, and its parts; None for a leaf."""
    kind = type(value)
    parts = _PARTS[kind] if kind in _PARTS else _parts_of(kind)
    return None if parts is None else parts(value)


def _flatten_into(leaves: list[Any], value: Any) -> Tree:
    parts = parts_of(value)
    if parts is None:
        leaves.append(value)
        return LEAF
    build, meta, children = parts
    return build, meta, tuple([_flatten_into(leaves, child) for child in children])


def flatten(value: Any) -> tuple[list[Any], Tree]:
    """Return the leaves of a value and its tree.

    >>> leaves, tree = flatten({"w": 1.0, "b": [2.0, None]})
    >>> leaves
    [1.0, 2.0]
    >>> unflatten(tree, ["w", "b"])
    {'w': 'w', 'b': ['b', None]}
    """
    leaves: list[Any] = []
    return leaves, _flatten_into(leaves, value)


def unflatten(tree: Tree, leaves: Sequence[Any]) -> Any:
    """Build the value that has this tree and these leaves."""
    if tree is LEAF:
        return leaves[0]
    return _built(tree, iter(leaves))


def _built(tree: Tree, leaves: Iterator[Any]) -> Any:
    if tree is LEAF:
        return next(leaves)
    build, meta, children = tree
    return build(meta, [_built(child, leaves) for child in children])


def constructor(tree: Tree, leaves: Sequence[str], scope: dict[str, Any]) -> str:
    """Return the expression that builds the value with this tree from the leaves' expressions.

    Names that it needs are entered in `scope`.
    """
    return _expression(tree, iter(leaves), scope)


def _expression(tree: Tree, leaves: Iterator[str], scope: dict[str, Any]) -> str:
    if tree is LEAF:
        return next(leaves)
    build, meta, children = tree
    parts = [_expression(child, leaves, scope) for child in children]
    if build is _build_none:
        return "None"
    if build is _build_list:
        return f"[{', '.join(parts)}]"
    if build is _build_tuple:
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
    name, data = f"build{len(scope)}", f"meta{len(scope)}"
    scope[name], scope[data] = build, meta
    return f"{name}({data}, [{', '.join(parts)}])"


def flatten_like(tree: Tree, value: Any) -> list[Any]:
    """Return the parts of a value that stand where a tree has its leaves.

    Raises ValueError, naming the place, where the value's structure differs from the tree's.
    """
    leaves: list[Any] = []
    _follow(tree, value, "", leaves)
    return leaves


def _follow(tree: Tree, value: Any, place: str, leaves: list[Any]) -> None:
    if tree is LEAF:
        leaves.append(value)
        return
    build, meta, children = parts_of(value) or (None, None, ())
    if (build, meta, len(children)) != (tree[0], tree[1], len(tree[2])):
        raise ValueError(
            f"expected {describe(tree)}{' at ' + place if place else ''}, got {type(value).__name__}"
        )
    for step, child, part in zip(_steps(tree), tree[2], children, strict=True):
        _follow(child, part, place + step, leaves)


def describe(tree: Tree) -> str:
    """Name the outermost container: "a dict with keys 'w', 'b'"."""
    if tree is LEAF:
        return "an array"
    build, meta, children = tree
    if build is _build_none:
        return "None"
    if build is _build_dict:
        return f"a {meta[0].__name__} with keys {', '.join(map(repr, meta[1]))}"
    if build is _build_dataclass:
        return f"a {meta[0].__name__}"
    kind = meta.__name__ if build is _build_namedtuple else "tuple" if build is _build_tuple else "list"
    return f"a {kind} of {len(children)}"


def _steps(tree: tuple[Any, Any, tuple[Any, ...]]) -> list[str]:
    build, meta, children = tree
    if build is _build_dict:
        return [f"[{key!r}]" for key in meta[1]]
    if build is _build_dataclass:
        return [f".{name}" for name in meta[1]]
    if build is _build_namedtuple:
        return [f".{name}" for name in meta._fields]
    return [f"[{i}]" for i in range(len(children))]


def paths(tree: Tree) -> list[str]:
    """Return how to write each leaf, seen from the value: "['layers'][0].bias"."""
    if tree is LEAF:
        return [""]
    return [step + rest for step, child in zip(_steps(tree), tree[2], strict=True) for rest in paths(child)]
