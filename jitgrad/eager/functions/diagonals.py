"""Takes diagonals of tensors, builds tensors from them, and writes to diagonals and other parts of copies."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.factory import integer_argument
from jitgrad.eager.functions.operands import only_kinds
from jitgrad.eager.functions.shape import dimension, window
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.eager.views import Steps, read, step, view, written
from jitgrad.ir import Node
from jitgrad.ops import arrange
from jitgrad.ops.structure import place, rearrange, reshape, slice_

__all__ = [
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal",
    "diagonal_scatter",
    "narrow_copy",
    "select_scatter",
    "slice_scatter",
    "trace",
]

Shape = tuple[int, ...]


# Diagonals ------------------------------------------------------------------------------------------------


def _plane(ndim: int, dim1: Any, dim2: Any) -> tuple[int, int]:
    first, second = dimension(dim1, ndim), dimension(dim2, ndim)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return first, second


def _diagonal_steps(shape: Shape, offset: int, first: int, second: int) -> Steps:
    """A diagonal as a square, its elements in one axis, and every (size + 1)-th of them."""
    rows, columns = max(-offset, 0), max(offset, 0)
    n = max(min(shape[first] - rows, shape[second] - columns), 0)
    start = [0] * len(shape)
    start[first], start[second] = (rows, columns) if n else (0, 0)
    square = tuple(n if i in (first, second) else m for i, m in enumerate(shape))
    order = (*(i for i in range(len(shape)) if i not in (first, second)), first, second)
    lead = tuple(square[i] for i in order[:-2])
    return (
        step(slice_, start=tuple(start), step=(1,) * len(shape), size=square),
        step(rearrange, shape=(*lead, n, n), source=order),
        step(reshape, shape=(*lead, n * n)),
        step(slice_, start=(0,) * len(lead) + (0,), step=(1,) * len(lead) + (n + 1,), size=(*lead, n)),
    )


def _diagonal(x: Tensor, offset: int, first: int, second: int, name: str) -> Tensor:
    array = np.diagonal(x._array, offset, first, second)
    array.flags.writeable = x._array.flags.writeable
    return view(x, array, _diagonal_steps(x._array.shape, offset, first, second), name)


@define()
def diagonal(input: Any, offset: Any = 0, dim1: Any = 0, dim2: Any = 1) -> Tensor:
    """Return the view of a diagonal of the plane of two axes, as the last axis.

    >>> import jitgrad
    >>> jitgrad.diagonal(jitgrad.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    x = require_tensor(input, "diagonal")
    first, second = _plane(x.ndim, dim1, dim2)
    return _diagonal(x, integer_argument(offset, "diagonal", "offset", 2), first, second, "DiagonalBackward0")


def _embedded(x: Node, offset: int, first: int, second: int) -> Any:
    """Zeros with x on a diagonal of the plane of two axes."""
    *lead, n = x.shape
    m = n + abs(offset)
    ndim = len(lead) + 2
    start = (0,) * len(lead) + (offset if offset >= 0 else -offset * m,)
    flat = place(
        x, shape=(*lead, m * m), start=start if n else (0,) * (ndim - 1), step=(1,) * len(lead) + (m + 1,)
    )
    square = reshape(flat, shape=(*lead, m, m))
    rest = iter(range(ndim - 2))
    source = tuple(ndim - 2 if i == first else ndim - 1 if i == second else next(rest) for i in range(ndim))
    return rearrange(square, shape=tuple(square.shape[i] for i in source), source=source)


def _embed(x: Tensor, offset: Any, dim1: Any, dim2: Any, name: str) -> Tensor:
    if not x.ndim:
        dimension(dim1, 0), dimension(dim2, 0)
    first, second = _plane(x.ndim + 1, dim1, dim2)
    params = {"offset": integer_argument(offset, name, "offset", 2), "first": first, "second": second}
    return apply_function(_embedded, (x,), params, "DiagEmbedBackward0")  # type: ignore[no-any-return]


@define()
def diag_embed(input: Any, offset: Any = 0, dim1: Any = -2, dim2: Any = -1) -> Tensor:
    """Return matrices in the plane of two axes with the last axis on a diagonal, zeros elsewhere."""
    return _embed(require_tensor(input, "diag_embed"), offset, dim1, dim2, "diag_embed")


@define()
def diagflat(input: Any, offset: Any = 0) -> Tensor:
    """Return the matrix with all elements on a diagonal, zeros elsewhere."""
    return _embed(require_tensor(input, "diagflat").reshape((-1,)), offset, 0, 1, "diagflat")


@define(out=True)
def diag(input: Any, diagonal: Any = 0) -> Tensor:
    """Return the matrix with a vector on a diagonal, or a copy of a diagonal of a matrix.

    >>> import jitgrad
    >>> jitgrad.diag(jitgrad.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    x = require_tensor(input, "diag")
    if x.ndim not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {x.ndim}D")
    if x.ndim == 1:
        return _embed(x, diagonal, 0, 1, "diag")
    params = {"offset": integer_argument(diagonal, "diag", "diagonal", 2)}
    return apply_function(_copied_diagonal, (x,), params, "DiagonalBackward0_copy")  # type: ignore[no-any-return]


def _copied_diagonal(x: Node, offset: int) -> Any:
    return arrange.diagonal(x, offset)


@define()
def trace(input: Any) -> Tensor:
    """Return the sum of the diagonal of a matrix; integers add up as int64."""
    x = require_tensor(input, "trace")
    if x.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {x.ndim}")
    only_kinds("trace", "iufc", x._array.dtype)
    array = x._array.astype(np.int64, copy=False) if x._array.dtype.kind in "iu" else x._array
    return apply_function(_traced, (x,), {}, "TraceBackward0", [array])  # type: ignore[no-any-return]


def _traced(x: Node) -> Any:
    return arrange.trace(x)


# Views written to copies ----------------------------------------------------------------------------------

UNFIT = "expected src to have a size equal to the slice of self. src size = {}, slice size = {}"


def _replaced(x: Tensor, src: Any, part: Tensor, steps: Steps, name: str) -> Tensor:
    """A copy of x with other values in a part."""
    values = require_tensor(src, name, 2, "src")
    if values._array.shape != part._array.shape:
        raise RuntimeError(UNFIT.format(list(values.shape), list(part.shape)))
    recorded = f"{name.title().replace('_', '')}Backward0"
    arrays = [x._array, values._array.astype(x._array.dtype, copy=False)]
    return apply_function(written, (x, values), {"steps": steps}, recorded, arrays)  # type: ignore[no-any-return]


def _steps_of(part: Tensor) -> Steps:
    """The steps by which a view was just made of a tensor."""
    assert part._view is not None
    return part._view.way[-1].steps  # type: ignore[no-any-return]


@define(out=True)
def select_scatter(input: Any, src: Any, dim: Any, index: Any) -> Tensor:
    """Return a copy with other values at one place of an axis."""
    x = require_tensor(input, "select_scatter")
    part = x.select(dim, index)
    return _replaced(x, src, part, _steps_of(part), "select_scatter")


@define(out=True)
def slice_scatter(
    input: Any, src: Any, dim: Any = 0, start: Any = None, end: Any = None, step: Any = 1
) -> Tensor:
    """Return a copy with other values in a slice of an axis."""
    x = require_tensor(input, "slice_scatter")
    axis = dimension(dim, x.ndim)
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    first, stop, by = slice(start, end, step).indices(x._array.shape[axis])
    array, way = window(x, axis, first, len(range(first, stop, by)), by)
    return _replaced(x, src, wrap(array), (way,), "slice_scatter")


@define(out=True)
def diagonal_scatter(input: Any, src: Any, offset: Any = 0, dim1: Any = 0, dim2: Any = 1) -> Tensor:
    """Return a copy with other values on a diagonal of the plane of two axes."""
    x = require_tensor(input, "diagonal_scatter")
    part = diagonal(x, offset, dim1, dim2)
    return _replaced(x, src, part, _steps_of(part), "diagonal_scatter")


@define(out=True)
def narrow_copy(input: Any, dim: Any, start: Any, length: Any) -> Tensor:
    """Return a copy of `length` places along one axis."""
    x = require_tensor(input, "narrow_copy")
    if not dim < max(x.ndim, 1):
        raise RuntimeError(
            "Expected dim < static_cast<int64_t>(self_sizes.size()) to be true, but got false."
        )
    part = x.detach().narrow(dim, start, length)
    return apply_function(read, (x,), {"steps": _steps_of(part)}, "NarrowCopyBackward0")  # type: ignore[no-any-return]
