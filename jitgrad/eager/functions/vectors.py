"""Covariances, vector products and powers: matrices and vectors made from vectors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.functions.distances import one_dtype
from jitgrad.eager.functions.operands import only_kinds, scalar_type
from jitgrad.eager.functions.shape import broadcast_shapes, dimension
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops import algebra
from jitgrad.ops.structure import concatenate, reshape

__all__ = [
    "corrcoef",
    "cov",
    "cross",
    "vander",
]


# Correlations ---------------------------------------------------------------------------------------------


def _weights(given: Any, argument: str, kinds: str, wanted: str, count: int) -> Tensor | None:
    if given is None:
        return None
    weights = require_tensor(given, "cov", 3, argument)
    array = weights._array
    if array.ndim > 1:
        raise RuntimeError(
            f"cov(): expected {argument} to have one or fewer dimensions but got {argument} with "
            f"{array.ndim} "
            "dimensions"
        )
    if array.dtype.kind not in kinds:
        raise RuntimeError(
            f"cov(): expected {argument} to have {wanted} dtype but got {argument} with "
            f"{scalar_type(array.dtype)} dtype"
        )
    if array.size != count:
        raise RuntimeError(
            f"cov(): expected {argument} to have the same numel as there are observations in the input but "
            "got "
            f"{array.size} != {count}"
        )
    if array.size and array.min() < 0:
        raise RuntimeError(f"cov(): {argument} cannot be negative")
    return weights


def _no_more_than_a_matrix(name: str, x: Tensor) -> None:
    if x.ndim > 2:
        raise RuntimeError(
            f"{name}(): expected input to have two or fewer dimensions but got an input with {x.ndim} "
            "dimensions"
        )


def _observations(x: Tensor) -> Tensor:
    """A matrix with one variable in each row."""
    rows = x if x.ndim == 2 else x.reshape((1, -1)) if x._array.size else x.reshape((1, 0))
    if x._array.dtype.kind in "iu":
        return rows.to(dtypes.DEFAULT.floating)  # type: ignore[no-any-return]
    return rows


def _freedom(total: Any, weights: Any, aweights: Any, correction: Any) -> Any:
    """By how much the observations exceed what is estimated from them, at least 0."""
    if aweights is None or correction == 0:
        free = total - correction
    else:
        free = total - correction * (weights * aweights).sum() / total
    if (free._array if isinstance(free, Tensor) else free) > 0:
        return free
    warnings.warn(
        "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of "
        "observations.",
        UserWarning,
        stacklevel=3,
    )
    return abs(free * 0)


@define()
def cov(input: Any, *, correction: Any = 1, fweights: Any = None, aweights: Any = None) -> Tensor:
    """Return the covariances of variables, one in each row; fweights count observations, aweights weigh them.

    >>> import jitgrad
    >>> jitgrad.cov(jitgrad.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    x = require_tensor(input, "cov")
    _no_more_than_a_matrix("cov", x)
    if x._array.dtype.kind == "b":
        raise RuntimeError("cov(): bool dtype is not supported for input")
    rows = _observations(x)
    count = rows._array.shape[1]
    frequencies = _weights(fweights, "fweights", "iu", "integral", count)
    importances = _weights(aweights, "aweights", "f", "floating point", count)
    given = [w.reshape((-1,)) for w in (frequencies, importances) if w is not None]
    if not given:
        centred = rows - rows.sum(1, True) / count if count else rows
        free = _freedom(count, None, None, correction)
        weighted, free = centred, wrap(np.asarray(free, rows._array.dtype))
    else:
        w = given[0] if len(given) == 1 else given[0] * given[1]
        total = w.sum()
        if not total._array:
            raise RuntimeError("cov(): weights sum to zero, can't be normalized")
        centred = rows - (rows * w).sum(1, True) / total
        weighted, free = centred * w, _freedom(total, w, importances, correction)
    found: Tensor = (centred @ weighted.t().conj() / free).squeeze()
    return found


@define()
def corrcoef(input: Any) -> Tensor:
    """Return the correlations of variables, one in each row.

    >>> import jitgrad
    >>> jitgrad.corrcoef(jitgrad.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    x = require_tensor(input, "corrcoef")
    _no_more_than_a_matrix("corrcoef", x)
    found = cov(x)
    if not found.ndim:
        return found / found
    deviation = found.diagonal().sqrt()
    scaled: Tensor = found / deviation.unsqueeze(1) / deviation.unsqueeze(0)
    return scaled.clamp(-1, 1)  # type: ignore[no-any-return]


# Products -------------------------------------------------------------------------------------------------


def _crossed(x: Node, y: Node, axis: int) -> Any:
    return algebra.cross(x, y, axis=axis)


def cross_along(x: Tensor, y: Tensor, dim: Any) -> Tensor:
    """The products of vectors that lie along an axis."""
    if x.ndim != y.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    axis = dimension(dim, x.ndim)
    n, m = x._array.shape[axis], y._array.shape[axis]
    if n != 3 or m != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {n} and {m}")
    one_dtype(x, y)
    only_kinds("cross", "iufc", x._array.dtype)
    shape = broadcast_shapes(x.shape, y.shape)
    operands = (x.expand(shape), y.expand(shape))
    return apply_function(_crossed, operands, {"axis": axis}, "LinalgCrossBackward0")  # type: ignore[no-any-return]


@define(out=True)
def cross(input: Any, other: Any, dim: Any = None) -> Tensor:
    """Return the vector products along an axis of size 3.

    >>> import jitgrad
    >>> jitgrad.cross(jitgrad.tensor([1, 0, 0]), jitgrad.tensor([0, 1, 0]), dim=0)
    tensor([0, 0, 1])
    """
    x, y = require_tensor(input, "cross"), require_tensor(other, "cross", 2, "other")
    if dim is not None:
        return cross_along(x, y, dim)
    warnings.warn(_UNSAID, UserWarning, stacklevel=3)
    if x.ndim != y.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    found = [i for i, n in enumerate(x._array.shape) if n == 3]
    if not found:
        raise RuntimeError("no dimension of size 3 in input")
    return cross_along(x, y, found[0])


_UNSAID = (
    "Using torch.cross without specifying the dim arg is deprecated.\nPlease either pass the dim explicitly "
    "or "
    "simply use torch.linalg.cross.\nThe default value of dim will change to agree with that of linalg.cross "
    "in a "
    "future release."
)


def _powers(x: Node, count: int, increasing: bool) -> Any:
    """Each element to the powers 0 to count - 1, by repeated multiplication."""
    column = reshape(x, shape=(x.shape[0], 1))
    found = [column * 0 + 1]
    for _ in range(count - 1):
        found.append(found[-1] * column)
    return concatenate(*(found if increasing else found[::-1]), axis=1)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """Return the matrix of powers of a vector's elements, highest first unless `increasing`.

    >>> import jitgrad
    >>> jitgrad.vander(jitgrad.tensor([1, 2, 3]))
    tensor([[1, 1, 1],
            [4, 2, 1],
            [9, 3, 1]])
    """
    given = require_tensor(x, "vander", argument="x")
    array = given._array
    if array.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = array.size if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    cast = array.astype(np.int64) if array.dtype.kind in "iub" else array
    if not count:
        return wrap(np.empty((array.size, 0), cast.dtype))
    params = {"count": count, "increasing": bool(increasing)}
    name = "CopySlices" if increasing else "FlipBackward0"
    return apply_function(_powers, (given,), params, name, [cast])  # type: ignore[no-any-return]
