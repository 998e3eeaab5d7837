"""What composites ask of a value of any kind: an array, a Python scalar, a nested list, a traced value."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from jitgrad.ir import CAPTURE, INPUT, LITERAL, Graph, Node, Op, interpret, literal_value
from jitgrad.ops.table import OPS

Shape = tuple[int, ...]
_CONSTANT_NODES = 64


def is_traced(x: Any) -> bool:
    """Whether ops on x are recorded rather than computed."""
    return getattr(x, "__rank__", 0) > 0


def _holds_traced(x: Any) -> bool:
    return any(_holds_traced(e) for e in x) if isinstance(x, (list, tuple)) else is_traced(x)


def as_array(x: Any) -> Any:
    """x as something with a shape and a dtype; lists that hold traced values are stacked."""
    if is_traced(x) or isinstance(x, (np.ndarray, np.generic)):
        return x
    if isinstance(x, (list, tuple)) and _holds_traced(x):
        return stacked([as_array(e) for e in x])
    return np.asarray(x)


def as_operand(x: Any) -> Any:
    """Like as_array, but a Python number stays one, so that its dtype gives way."""
    return x if isinstance(x, (bool, int, float, complex)) else as_array(x)


def stacked(parts: Sequence[Any], axis: int = 0) -> Any:
    """Arrays of one shape along a new axis."""
    shape = parts[0].shape
    for part in parts:
        if part.shape != shape:
            raise ValueError(f"stack: shapes {shape} and {part.shape} differ; all parts must have one shape")
    return concatenated([insert_axes(p, (axis,)) for p in parts], axis)


def concatenated(parts: Sequence[Any], axis: int) -> Any:
    """Arrays one after the other along an axis, in their common dtype."""
    dtype = np.result_type(*(p.dtype for p in parts))
    return OPS["concatenate"](*(as_dtype(p, dtype) for p in parts), axis=axis)


def insert_axes(x: Any, axes: Shape) -> Any:
    """x with axes of size 1 at these positions of the result."""
    kept = iter(range(len(x.shape)))
    source = tuple(None if i in axes else next(kept) for i in range(len(x.shape) + len(axes)))
    return OPS["rearrange"](x, shape=tuple(1 if s is None else x.shape[s] for s in source), source=source)


def broadcast(x: Any, shape: Shape) -> Any:
    """x repeated to a larger shape, by NumPy's rule."""
    if x.shape == shape:
        return x
    lead = len(shape) - len(x.shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(x.shape, shape[lead:], strict=True)):
        raise ValueError(f"broadcast: shape {x.shape} does not broadcast to {shape}")
    sizes = (None,) * lead + x.shape
    source = tuple(j - lead if n == m else None for j, (n, m) in enumerate(zip(sizes, shape, strict=True)))
    return OPS["rearrange"](x, shape=shape, source=source)


def size_of(x: Any) -> int:
    return int(np.prod(x.shape, dtype=np.int64))


def as_dtype(x: Any, dtype: Any) -> Any:
    """x in another dtype; x itself if it has it."""
    return x if x.dtype == dtype and not is_traced(x) else OPS["cast"](x, dtype=np.dtype(dtype))


def applied_as(owner: Any, op: Op, *args: Any, **params: Any) -> Any:
    """The op's result as the kind of value that `owner` is, though owner is no argument."""
    return owner.__apply__(op, args, params) if is_traced(owner) else op(*args, **params)


def positions(owner: Any, size: int) -> Any:
    """0, 1, ... size - 1 as int64, as the kind of value that `owner` is."""
    return applied_as(owner, OPS["iota"], size=size)


def axis_of(axis: Any, ndim: int) -> int:
    return int(normalize_axis_index(int(axis), ndim))


def axes_of(axis: Any, ndim: int) -> Shape:
    """The axes that an `axis` argument means, in ascending order; None means all."""
    return tuple(range(ndim)) if axis is None else tuple(sorted(normalize_axis_tuple(axis, ndim)))


def _promotable(x: Any) -> Any:
    """What result_type should see: a dtype, or a Python number where the dtype gives way."""
    if isinstance(x, (bool, int, float, complex)):
        return x
    weak = is_traced(x) and getattr(x, "node", x).aval.weak
    return {"i": 0, "u": 0, "f": 0.0, "c": 0j}.get(x.dtype.kind, x.dtype) if weak else x.dtype


def promoted(*values: Any, floating: bool = False) -> tuple[Any, ...]:
    """The values as arrays in their common dtype; `floating` makes integers float64."""
    given = [as_operand(x) for x in values]
    dtype = np.result_type(*map(_promotable, given))
    if floating and dtype.kind in "iub":
        dtype = np.dtype(np.float64)
    return tuple(as_dtype(as_array(x), dtype) for x in given)


def shape_of(shape: Any) -> Shape:
    """A shape argument, an int or a sequence of ints, as a tuple."""
    return tuple(int(n) for n in shape) if np.iterable(shape) else (int(shape),)


def no_out(name: str, out: Any) -> None:
    """Refuse an `out` array: values are not written to."""
    if out is not None:
        raise TypeError(f"{name}: out= is not supported; use the returned value instead")


class _Decisive(threading.local):
    arrays: dict[int, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] | None = None


_decisive = _Decisive()


@contextmanager
def decisive_arrays() -> Iterator[dict[int, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]]:
    """Collect the arrays whose contents are asked for meanwhile, each with a copy, by their ids."""
    before, _decisive.arrays = _decisive.arrays, {}
    try:
        yield _decisive.arrays
    finally:
        _decisive.arrays = before


def _known(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if _decisive.arrays is not None and id(array) not in _decisive.arrays:
        _decisive.arrays[id(array)] = array, array.copy()
    return array


def concrete(x: Any) -> np.ndarray[Any, Any] | None:
    """The array that x is known to be while tracing, or None where it depends on an input."""
    if not is_traced(x):
        return _known(np.asarray(x))
    node = getattr(x, "node", x)
    if node.op is CAPTURE:
        return _known(node.param("value").array)
    if node.op is LITERAL:
        return np.asarray(literal_value(node))
    return interpret(Graph((), (node,)))[0] if _is_constant(node) else None


def _is_constant(node: Node) -> bool:
    """Whether a small graph leads to no input; a large one counts as not constant."""
    seen: set[Node] = set()
    stack = [node]
    while stack and len(seen) < _CONSTANT_NODES:
        node = stack.pop()
        if node.op is INPUT:
            return False
        seen.add(node)
        stack.extend(a for a in node.args if a not in seen)
    return not stack
