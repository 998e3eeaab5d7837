"""Joins tensors into one: end to end, along a new axis, on a diagonal, in all combinations."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define, with_out
from jitgrad.eager.dispatch import apply_function, apply_op
from jitgrad.eager.functions.factory import integer_argument
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops.gather import take
from jitgrad.ops.structure import concatenate as concatenate_op
from jitgrad.ops.structure import place
from jitgrad.ops.table import OPS
from jitgrad.ops.values import stacked

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block_diag",
    "cartesian_prod",
    "cat",
    "column_stack",
    "combinations",
    "concat",
    "concatenate",
    "dstack",
    "hstack",
    "meshgrid",
    "row_stack",
    "stack",
    "vstack",
]

Tensors = Sequence[Tensor]


# Arguments ------------------------------------------------------------------------------------------------


def tensor_list(given: Any, name: str, argument: str = "tensors") -> list[Tensor]:
    """The tensors of an argument that is a tuple or a list; TypeError for anything else."""
    if not isinstance(given, (tuple, list)):
        raise TypeError(
            f"{name}(): argument '{argument}' (position 1) must be tuple of Tensors, not "
            f"{type(given).__name__}"
        )
    for i, part in enumerate(given):
        if not isinstance(part, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(part).__name__}")
    return list(given)


def _several(name: str, given: Any) -> list[Tensor]:
    parts = tensor_list(given, name)
    if not parts:
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    return parts


def one_or_many(given: tuple[Any, ...]) -> list[Tensor]:
    """Tensors given one by one or as one sequence."""
    listed = given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given
    return tensor_list(listed, "tensors")


# End to end -----------------------------------------------------------------------------------------------


def _same_off_axis(shapes: list[tuple[int, ...]], axis: int, counted: list[int]) -> None:
    first = shapes[0]
    for number, shape in zip(counted, shapes, strict=True):
        if len(shape) != len(first):
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {len(first)} and {len(shape)}"
            )
        for i, (n, m) in enumerate(zip(first, shape, strict=True)):
            if n != m and i != axis:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {axis}. Expected size {n} but got size "
                    f"{m} for tensor number {number} in the list."
                )


def _joined(*parts: Node, axis: int, kept: tuple[int, ...]) -> Any:
    return concatenate_op(*(parts[i] for i in kept), axis=axis)


def _cat(parts: list[Tensor], dim: Any) -> Tensor:
    for i, part in enumerate(parts):
        if not part._array.ndim:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    arrays = [part._array for part in parts]
    kept = [i for i, a in enumerate(arrays) if a.shape != (0,)] or [0]
    axis = dimension(dim, arrays[kept[0]].ndim)
    _same_off_axis([arrays[i].shape for i in kept], axis, kept)
    if len(kept) == len(parts) and len({a.dtype for a in arrays}) == 1:
        return apply_op(concatenate_op, parts, {"axis": axis}, "CatBackward0")
    wanted = dtypes.common(arrays)
    params = {"axis": axis, "kept": tuple(kept)}
    cast = [a.astype(wanted, copy=False) for a in arrays]
    return apply_function(_joined, parts, params, "CatBackward0", cast)  # type: ignore[no-any-return]


def _end_to_end(name: str) -> Callable[..., Tensor]:
    def join(tensors: Any, dim: Any = 0, *, axis: Any = None) -> Tensor:
        """Return the tensors one after the other along an axis, in their common dtype.

        Tensors of shape (0,) may stand among others. Raises RuntimeError where sizes differ off the axis.

        >>> import jitgrad
        >>> jitgrad.cat([jitgrad.tensor([1, 2]), jitgrad.tensor([3.5])])
        tensor([1.0000, 2.0000, 3.5000])
        """
        parts = tensor_list(tensors, name)
        if not parts:
            raise ValueError("torch.cat(): expected a non-empty list of Tensors")
        return _cat(parts, dim if axis is None else axis)

    join.__name__ = join.__qualname__ = name
    return with_out(join)


cat, concat, concatenate = _end_to_end("cat"), _end_to_end("concat"), _end_to_end("concatenate")


# Along another axis ---------------------------------------------------------------------------------------


def _stacked(*parts: Node, axis: int) -> Any:
    return stacked(parts, axis)


@define(method=False, out=True)
def stack(tensors: Any, dim: Any = 0, *, axis: Any = None) -> Tensor:
    """Return tensors of one shape along a new axis, in their common dtype.

    >>> import jitgrad
    >>> jitgrad.stack([jitgrad.tensor([1, 2]), jitgrad.tensor([3, 4])], dim=1)
    tensor([[1, 3],
            [2, 4]])
    """
    parts = _several("stack", tensors)
    arrays = [part._array for part in parts]
    place = dimension(dim if axis is None else axis, arrays[0].ndim + 1)
    for i, a in enumerate(arrays):
        if a.shape != arrays[0].shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(arrays[0].shape)} at entry 0 and "
                f"{list(a.shape)} at entry {i}"
            )
    wanted = dtypes.common(arrays)
    cast = [a.astype(wanted, copy=False) for a in arrays]
    return apply_function(_stacked, parts, {"axis": place}, "StackBackward0", cast)  # type: ignore[no-any-return]


@define(method=False, out=True)
def hstack(tensors: Any) -> Tensor:
    """Return the tensors side by side: along the second axis, vectors along their only one."""
    parts = [_at_least_1d(x) for x in _several("hstack", tensors)]
    return _cat(parts, 0 if parts[0].ndim == 1 else 1)


@define(method=False, out=True)
def vstack(tensors: Any) -> Tensor:
    """Return the tensors one above the other; vectors are rows."""
    return _cat([_at_least_2d(x) for x in _several("vstack", tensors)], 0)


@define(method=False, out=True)
def row_stack(tensors: Any) -> Tensor:
    """Return the tensors one above the other; vectors are rows."""
    return _cat([_at_least_2d(x) for x in _several("row_stack", tensors)], 0)


@define(method=False, out=True)
def dstack(tensors: Any) -> Tensor:
    """Return the tensors one behind the other, along the third axis."""
    return _cat([_at_least_3d(x) for x in _several("dstack", tensors)], 2)


@define(method=False, out=True)
def column_stack(tensors: Any) -> Tensor:
    """Return the tensors side by side; vectors are columns."""
    parts = _several("column_stack", tensors)
    return _cat([x.reshape((x._array.size, 1)) if x.ndim < 2 else x for x in parts], 1)


# At least so many axes ------------------------------------------------------------------------------------


def _at_least_1d(x: Tensor) -> Tensor:
    return x if x._array.ndim else x.reshape((1,))


def _at_least_2d(x: Tensor) -> Tensor:
    ndim = x._array.ndim
    return x.reshape((1, 1)) if not ndim else x.unsqueeze(0) if ndim == 1 else x


def _at_least_3d(x: Tensor) -> Tensor:
    ndim = x._array.ndim
    if ndim == 1:
        return x.unsqueeze(0).unsqueeze(-1)  # type: ignore[no-any-return]
    return x.reshape((1, 1, 1)) if not ndim else x.unsqueeze(-1) if ndim == 2 else x


def _widening(name: str, widen: Callable[[Tensor], Tensor], axes: str) -> Callable[..., Any]:
    def function(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], Tensor):
            return widen(tensors[0])
        return tuple(widen(x) for x in one_or_many(tensors))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Return a view with at least {axes} of a tensor, or of each of several."
    return function


atleast_1d = _widening("atleast_1d", _at_least_1d, "one axis")
atleast_2d = _widening("atleast_2d", _at_least_2d, "two axes")
atleast_3d = _widening("atleast_3d", _at_least_3d, "three axes")


# On a diagonal --------------------------------------------------------------------------------------------


def _diagonal_blocks(*parts: Node) -> Any:
    blocks = [_as_block(x) for x in parts]
    width = sum(b.shape[1] for b in blocks)
    rows, left = [], 0
    for b in blocks:
        n, m = b.shape
        rows.append(place(b, shape=(n, width), start=(0, left), step=(1, 1)))
        left += m
    return concatenate_op(*rows, axis=0)


def _as_block(x: Node) -> Any:
    shape = (1, 1)[len(x.shape) :] + x.shape
    return OPS["reshape"](x, shape=shape)


def block_diag(*tensors: Any) -> Tensor:
    """Return a matrix with the given ones along its diagonal and zeros elsewhere; vectors are rows.

    >>> import jitgrad
    >>> jitgrad.block_diag(jitgrad.tensor([1, 2]), jitgrad.tensor(3))
    tensor([[1, 2, 0],
            [0, 0, 3]])
    """
    parts = one_or_many(tensors)
    if not parts:
        return wrap(np.empty((1, 0), dtypes.DEFAULT.floating.numpy))
    for i, x in enumerate(parts):
        if x.ndim > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {x.ndim} "
                "dimensions"
            )
    wanted = parts[0]._array.dtype
    for x in parts[1:]:
        wanted = dtypes.promote(wanted, x._array.dtype)
    cast = [x._array.astype(wanted, copy=False) for x in parts]
    return apply_function(_diagonal_blocks, parts, {}, "BlockDiagBackward0", cast)  # type: ignore[no-any-return]


# All combinations -----------------------------------------------------------------------------------------

_UNSAID = "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument."


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Return the coordinates of a grid, as views of the given vectors.

    The i-th vector lies along axis i; with `indexing="xy"` the first lies along axis 1, the second along 0.

    >>> import jitgrad
    >>> jitgrad.meshgrid(jitgrad.arange(2), jitgrad.arange(2), indexing="ij")[0]
    tensor([[0, 0],
            [1, 1]])
    """
    parts = one_or_many(tensors)
    if indexing is None:
        warnings.warn(_UNSAID, UserWarning, stacklevel=2)
    _check_grid(parts, indexing)
    order = list(range(len(parts)))
    if indexing == "xy" and len(parts) > 1:
        order[:2] = 1, 0
    shape = [0] * len(parts)
    for x, axis in zip(parts, order, strict=True):
        shape[axis] = x._array.size
    return tuple(_along(x, axis, shape) for x, axis in zip(parts, order, strict=True))


def _check_grid(parts: list[Tensor], indexing: str | None) -> None:
    if not parts:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for x in parts:
        if x._array.dtype != parts[0]._array.dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
        if x.ndim > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x}")
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')


def _along(x: Tensor, axis: int, shape: list[int]) -> Tensor:
    lone = tuple(n if i == axis else 1 for i, n in enumerate(shape))
    wide: Tensor = x.reshape(lone).expand(tuple(shape))
    return wide


def _no_matrix(x: Tensor) -> None:
    if x.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(x.shape)}")


def cartesian_prod(*tensors: Any) -> Tensor:
    """Return all ways to take one element of each vector, one in each row.

    >>> import jitgrad
    >>> jitgrad.cartesian_prod(jitgrad.tensor([1, 2]), jitgrad.tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    parts = one_or_many(tensors)
    for x in parts:
        _no_matrix(x)
    if len(parts) == 1:
        return parts[0]
    return stack([grid.flatten() for grid in meshgrid(*parts, indexing="ij")], 1)


def _chosen(x: Node, places: Node) -> Any:
    return take(x, places, axis=0)


def combinations(input: Any, r: Any = 2, with_replacement: bool = False) -> Tensor:
    """Return all ways to take r elements of a vector in their order, one in each row.

    >>> import jitgrad
    >>> jitgrad.combinations(jitgrad.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    x = require_tensor(input, "combinations")
    _no_matrix(x)
    count = integer_argument(r, "combinations", "r", 2)
    if count < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {count}")
    if not count:
        return wrap(np.empty(0, x._array.dtype))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = np.array(list(choose(range(x._array.size), count)), np.int64).reshape(-1, count)
    return apply_function(_chosen, (x, wrap(places)), {}, "StackBackward0")  # type: ignore[no-any-return]
