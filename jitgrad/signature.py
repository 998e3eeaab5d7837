"""The arguments of a call to the key of the program that serves it, and to the arrays that it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from jitgrad.ir import Aval
from jitgrad.location import user_line
from jitgrad.pytree import flatten, parts_of, paths, unflatten
from jitgrad.runtime.cuda.arrays import as_device_array, device_of, is_device_array
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
    device: int | None = None  # the GPU on which the array lies


def key_of(value: Any, arrays: list[Any]) -> Any:
    """Return what one argument contributes to a program's key, and append its leaves to `arrays`."""
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
        return build, meta, *keys_of(children, arrays)
    if not is_input(value) and is_device_array(value):
        array = as_device_array(value)
        arrays.append(array)
        return "device", device_of(array), array.shape, array.strides, array.dtype
    arrays.append(np.asarray(value) if is_input(value) else value)
    return (kind, value.shape, value.strides, value.dtype) if isinstance(value, np.ndarray) else kind


def keys_of(values: Iterable[Any], arrays: list[Any]) -> list[Any]:
    """Return what several arguments contribute."""
    keys: list[Any] = []
    for value in values:
        if type(value) is np.ndarray:  # as key_of does; a call saved
            arrays.append(value)
            keys.append((value.shape, value.strides, value.dtype))
        else:
            keys.append(key_of(value, arrays))
    return keys


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
            raise OverflowError(
                f"the integer {leaf} at {user_line()} does not fit 64 bits. Pass a float"
            ) from None
    return np.asarray(leaf)


def described(leaf: Any, place: Callable[[], str]) -> Input:
    """Return what a program must know of a leaf; `place` says where it stands.

    Raises TypeError for what is no array of a supported dtype.
    """
    if isinstance(leaf, Traced):
        return Input(leaf.node.aval, leaf._scalar, None)
    if is_device_array(leaf):
        return _on_device(as_device_array(leaf), place)
    if not is_input(leaf):
        raise TypeError(
            f"{place()} at {user_line()} is of type {type(leaf).__name__}, not an array or a number. "
            + _remedy(leaf)
        )
    if type(leaf) in WEAK:
        return Input(Aval((), WEAK[type(leaf)], weak=True), True, None)
    array = np.asarray(leaf)
    dtype = array.dtype.newbyteorder("=")
    _check_dtype(dtype, place)
    odd = dtype != array.dtype or any(s % array.itemsize for s in array.strides)
    strides = None if odd or array.flags.c_contiguous else array.strides
    return Input(Aval(array.shape, dtype), not isinstance(leaf, np.ndarray), strides, odd)


def _on_device(array: Any, place: Callable[[], str]) -> Input:
    """What a program must know of an array on a GPU."""
    _check_dtype(array.dtype, place)
    strides = None if array.flags.c_contiguous else array.strides
    return Input(Aval(array.shape, array.dtype), False, strides, device=device_of(array))


def _check_dtype(dtype: np.dtype[Any], place: Callable[[], str]) -> None:
    if dtype not in SUPPORTED:
        raise TypeError(
            f"{place()} at {user_line()} has dtype {dtype}, which cannot be compiled. "
            "Convert it to a numeric dtype of at most 64 bits"
        )


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


def split(
    args: tuple[Any, ...], kwargs: dict[str, Any], positions: Collection[int], names: Collection[str]
) -> tuple[tuple[Any, ...], dict[str, Any], list[tuple[int | str, Any]]]:
    """Return the arguments with None for static ones, the other keywords in order, and the static ones."""
    traced = tuple([None if i in positions else a for i, a in enumerate(args)]) if positions else args
    static: list[tuple[int | str, Any]] = [(i, args[i]) for i in sorted(positions) if i < len(args)]
    static += [(k, kwargs[k]) for k in sorted(kwargs) if k in names]
    return traced, {k: kwargs[k] for k in sorted(kwargs) if k not in names}, static


def static_key(static: list[tuple[int | str, Any]]) -> Key:
    """Return what distinguishes static arguments: 1, 1.0 and True are equal but not the same."""
    for place, value in static:
        try:
            hash(value)
        except TypeError:
            raise TypeError(
                f"static argument {place!r} at {user_line()} must be hashable, got {type(value).__name__}"
            ) from None
    return tuple([(place, type(value), value) for place, value in static])


class Arguments:
    """The arguments of one call, taken apart into leaves and static values."""

    __slots__ = ("_static", "leaves", "tree")

    def __init__(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        positions: Collection[int] = (),
        names: Collection[str] = (),
    ) -> None:
        args, kwargs, self._static = split(args, kwargs, positions, names)
        self.leaves, self.tree = flatten((args, kwargs))
        for place, value in self._static:
            if isinstance(value, Traced):
                raise TypeError(
                    f"static argument {place!r} at {user_line()} must be known when tracing, got {value!r}"
                )

    def places(self, argnums: Collection[int]) -> tuple[int, ...]:
        """Return where the leaves of the positional arguments with these numbers stand among all leaves."""
        assert self.tree is not None
        counts = [len(paths(child)) if child is None or child[2] else 0 for child in self.tree[2][0][2]]
        starts = [sum(counts[:i]) for i in range(len(counts))]
        return tuple(starts[i] + k for i in sorted(argnums) if i < len(counts) for k in range(counts[i]))

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

    def inputs(self, function: Callable[..., Any]) -> list[Input]:
        """Return what a program must know of each leaf."""
        return [described(leaf, partial(self._place, i, function)) for i, leaf in enumerate(self.leaves)]

    def _place(self, i: int, function: Callable[..., Any]) -> str:
        return place_of(function, paths(self.tree)[i])

    def wrapped(self, trace: Trace, function: Callable[..., Any]) -> list[Traced]:
        """Return each leaf as a traced value of its own, inside a trace."""
        where = user_line()
        values = []
        for i, leaf in enumerate(self.leaves):
            if isinstance(leaf, Traced):
                values.append(Traced(leaf.node, trace, where, scalar=leaf._scalar))
            else:
                scalar = described(leaf, partial(self._place, i, function)).scalar
                values.append(Traced(trace.node(leaf, where), trace, where, scalar=scalar))
        return values


def argument_name(function: Callable[..., Any], i: int) -> str:
    """Return how to call a positional argument in messages: "argument 1 (w)"."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return f"argument {i} ({named[i]})" if i < len(named) else f"argument {i}"


def place_of(function: Callable[..., Any], path: str) -> str:
    """Return a leaf's place in the user's words: "argument 2 (p)['w']" for [0][2]['w'] in (args, kwargs)."""
    which, _, rest = path[1:].partition("]")
    name, _, rest = rest[1:].partition("]")
    return (argument_name(function, int(name)) if which == "0" else f"argument {name[1:-1]}") + rest
