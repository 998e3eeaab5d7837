"""The arguments of a call to the key of the program that serves it, and to the arrays that the program takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.ir import Aval
from jitgrad.location import user_line
from jitgrad.pytree import flatten, paths, unflatten
from jitgrad.traced import Trace, Traced

Array = np.ndarray[Any, Any]
Key = tuple[Any, ...]

WEAK = {int: np.dtype(np.int64), float: np.dtype(np.float64), complex: np.dtype(np.complex128)}
SUPPORTED = {np.dtype(code) for code in "?bhilqBHILQfdFD"}


@dataclass(frozen=True, slots=True)
class Input:
    """What a program must know of one of its arguments; `strides` are None for C-contiguous arrays."""

    aval: Aval
    scalar: bool  # immutable in Python: a number, not an array
    strides: tuple[int, ...] | None
    contiguous: bool = False  # copy the array first, to native byte order and whole strides


def key_of(value: Any, arrays: list[Any]) -> Any:
    """Return what distinguishes programs as far as one argument matters, and append its leaves to `arrays`."""
    kind = type(value)
    if kind is np.ndarray:
        arrays.append(value)
        return value.shape, value.strides, value.dtype
    if kind in WEAK:
        arrays.append(as_input_array(value))
        return kind
    parts = parts_of(value)
    if parts is not None:
        build, meta, children = parts
        return build, meta, *[key_of(child, arrays) for child in children]
    arrays.append(value if kind is Traced else np.asarray(value))
    return (kind, value.shape, value.strides, value.dtype) if isinstance(value, np.ndarray) else kind


def is_input(leaf: Any) -> bool:
    """Return whether a leaf is an array or a number, of whatever dtype."""
    if isinstance(leaf, np.ndarray):
        return not isinstance(leaf, (np.ma.MaskedArray, np.matrix))
    return type(leaf) in WEAK or isinstance(leaf, (bool, np.generic))


def as_input_array(leaf: Any) -> Array:
    """Return a leaf as the array that a program takes."""
    if type(leaf) is int:
        try:
            return np.array(leaf, np.int64)
        except OverflowError:
            raise OverflowError(f"the integer {leaf} at {user_line()} does not fit 64 bits. Pass a float") from None
    return np.asarray(leaf)


def described(leaf: Any, place: str) -> Input:
    """Return what a program must know of a leaf.

    Raises TypeError for what is no array of a supported dtype.
    """
    where = f"{place} at {user_line()}"
    if not is_input(leaf):
        raise TypeError(f"{where} is of type {type(leaf).__name__}, not an array or a number. " + _remedy(leaf))
    if type(leaf) in WEAK:
        return Input(Aval((), WEAK[type(leaf)], weak=True), True, None)
    array = np.asarray(leaf)
    dtype = array.dtype.newbyteorder("=")
    if dtype not in SUPPORTED:
        raise TypeError(f"{where} has dtype {array.dtype}, which cannot be compiled. Convert it to a numeric dtype of 64 bits or less")
    odd = dtype != array.dtype or any(s % array.itemsize for s in array.strides)
    strides = None if odd or array.flags.c_contiguous else array.strides
    return Input(Aval(array.shape, dtype), not isinstance(leaf, np.ndarray), strides, odd)


def _remedy(leaf: Any) -> str:
    if isinstance(leaf, np.ma.MaskedArray):
        return "Its mask would be lost: use .filled(value)"
    if hasattr(leaf, "__array__"):
        return "Convert it with numpy.asarray"
    return "If it chooses what the function does, make it static: static_argnames"


def static_positions(function: Callable[..., Any], names: Collection[str]) -> frozenset[int]:
    """Return where arguments of these names stand when they are passed by position.

    Raises ValueError for a name that the function does not take.
    """
    if not names:
        return frozenset()
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in names:
        if name not in parameters and not takes_any:
            raise ValueError(f"static_argnames at {user_line()}: {name!r} is none of {', '.join(parameters)}")
    return frozenset(i for i, name in enumerate(parameters) if name in names)


class Arguments:
    """The arguments of one call, taken apart into leaves and static values."""

    __slots__ = ("_static", "leaves", "tree")

    def __init__(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], positions: Collection[int], names: Collection[str]
    ) -> None:
        traced = tuple([None if i in positions else a for i, a in enumerate(args)]) if positions else args
        self._static: list[tuple[int | str, Any]] = [(i, args[i]) for i in sorted(positions) if i < len(args)]
        self._static += [(k, kwargs[k]) for k in sorted(kwargs) if k in names]
        self.leaves, self.tree = flatten((traced, {k: kwargs[k] for k in sorted(kwargs) if k not in names}))
        for place, value in self._static:
            if isinstance(value, Traced):
                raise TypeError(f"static argument {place!r} at {user_line()} must be known when tracing, got {value!r}")

    def key(self) -> Key:
        """Return what distinguishes the programs of a function."""
        statics = tuple((place, type(value), value) for place, value in self._static)
        key = statics, *[]
        try:
            hash(key)
        except TypeError:
            raise TypeError(self._unhashable()) from None
        return key

    def _unhashable(self) -> str:
        for place, value in self._static:
            try:
                hash(value)
            except TypeError:
                return f"static argument {place!r} at {user_line()} must be hashable, got {type(value).__name__}"
        return f"the arguments at {user_line()} hold static fields that cannot be hashed"

    def rebuilt(self, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with other leaves."""
        args, kwargs = unflatten(self.tree, leaves)
        args = list(args)
        for place, value in self._static:
            if isinstance(place, int):
                args[place] = value
            else:
                kwargs[place] = value
        return tuple(args), kwargs

    def inputs(self, names: Sequence[str]) -> list[Input]:
        """Return what a program must know of each leaf; `names` say how to call the positional arguments."""
        places = (_place(path, names) for path in paths(self.tree))
        return [described(leaf, place) for leaf, place in zip(self.leaves, places, strict=True)]

    def wrapped(self, trace: Trace, names: Sequence[str]) -> list[Traced]:
        """Return each leaf as a traced value of its own, inside a trace."""
        where = user_line()
        values = []
        for leaf, path in zip(self.leaves, paths(self.tree), strict=True):
            if isinstance(leaf, Traced):
                values.append(Traced(leaf.node, trace, where, scalar=leaf._scalar))
            else:
                scalar = described(leaf, _place(path, names)).scalar
                values.append(Traced(trace.node(leaf, where), trace, where, scalar=scalar))
        return values


def _place(path: str, names: Sequence[str]) -> str:
    """A leaf's path in (args, kwargs) in the user's words: "[0][2]['w']" is "argument 2 (params)['w']"."""
    which, _, rest = path[1:].partition("]")
    number, _, rest = rest[1:].partition("]")
    return (names[int(number)] if which == "0" else f"argument {number}") + rest
