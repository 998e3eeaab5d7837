"""Norms of vectors and matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jitgrad.eager.define import define, with_out
from jitgrad.eager.dispatch import apply_function, edges_of
from jitgrad.eager.dtypes import Array
from jitgrad.eager.functions.factory import dtype_argument
from jitgrad.eager.functions.operands import scalar_type
from jitgrad.eager.functions.reduction import axes_of, kept
from jitgrad.eager.functions.shape import dimension
from jitgrad.eager.tape import Record, named
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops.elementwise import absolute, equal, not_equal, power, sqrt, stop_gradient, where
from jitgrad.ops.matrices import svdvals
from jitgrad.ops.shape import moveaxis
from jitgrad.ops.structure import cast, reduce_axes, sum_axes
from jitgrad.ops.table import OPS

__all__ = ["norm"]

Axes = tuple[int, ...]


# Norms of nodes -------------------------------------------------------------------------------------------


def length(x: Node, p: float, axes: Axes, keepdim: bool = False) -> Any:
    """The p-norm along axes; its derivative is 0 for elements and vectors that are 0, as PyTorch has it."""
    return kept(_length(x, p, axes), axes, keepdim)


def _length(x: Node, p: float, axes: Axes) -> Any:
    if p == 2:
        return _root(sum_axes(x * x, axes))
    if p == 0:
        return sum_axes(cast(not_equal(x, 0), dtype=x.dtype), axes)
    size = absolute(x)
    if p == 1:
        return sum_axes(size, axes)
    if math.isinf(p):
        return reduce_axes(OPS["max" if p > 0 else "min"], size, axes)
    zero = equal(size, 0)
    total = sum_axes(where(zero, 0 if p > 0 else math.inf, power(where(zero, 1, size), p)), axes)
    at_end = equal(total, 0) | equal(total, math.inf)
    end = stop_gradient(total if p > 0 else 1 / total)
    return where(at_end, end, power(where(at_end, 1, total), 1 / p))


def _root(squares: Node) -> Any:
    zero = equal(squares, 0)
    return where(zero, 0, sqrt(where(zero, 1, squares)))


def _vector_norm(x: Node, p: float, axes: Axes, keepdim: bool, dtype: Any) -> Any:
    x = x if dtype is None else cast(x, dtype=dtype)
    x = absolute(x) if x.dtype.kind == "c" else x
    return length(x, p, axes, keepdim)


def _matrix_norm(x: Node, p: Any, axes: Axes, keepdim: bool, dtype: Any) -> Any:
    """The norm of the matrices in two axes, of singular values ("nuc", 2, -2) or of sums of sizes."""
    x = x if dtype is None else cast(x, dtype=dtype)
    x = moveaxis(x, axes, (-2, -1))
    last = len(x.shape) - 1
    if p in ("nuc", 2, -2):
        values = svdvals(x)
        total = sum_axes(values, (last - 1,)) if p == "nuc" else _extreme(p, values, last - 1)
    else:
        summed = last - 1 if abs(p) == 1 else last
        total = _extreme(p, sum_axes(absolute(x), (summed,)), last - 1)
    return kept(total, tuple(sorted(axes)), keepdim)


def _extreme(p: float, values: Node, axis: int) -> Any:
    return reduce_axes(OPS["max" if p > 0 else "min"], values, (axis,))


# torch.linalg ---------------------------------------------------------------------------------------------


def _floating(name: str, x: Tensor, dtype: Any) -> Any:
    """The dtype to compute in, or None for that of the input, which has to be floating."""
    given = x._array.dtype
    if given.kind not in "fc":
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {scalar_type(given)}"
        )
    wanted = dtype_argument(dtype, name.replace(".", "_"))
    if wanted is None:
        return None
    if wanted.kind not in "fc":
        raise RuntimeError(f"{name}: dtype should be floating point or complex. Got {scalar_type(wanted)}")
    if wanted.kind != given.kind:
        kinds = {"f": "real", "c": "complex"}
        raise RuntimeError(
            f"{name}: dtype should be {kinds[given.kind]} for {kinds[given.kind]} inputs. Got "
            f"{scalar_type(wanted)}"
        )
    if wanted.itemsize < given.itemsize:
        raise RuntimeError(
            f"{name}: the dtype of the input ({scalar_type(given)}) should be convertible without narrowing "
            f"to the specified dtype ({scalar_type(wanted)})"
        )
    return wanted


def _not_empty(name: str, x: Tensor, p: float, dim: Any, axes: Axes) -> None:
    """Refuse vectors without elements where the norm needs one."""
    if not (p < 0 or math.isinf(p)):
        return
    if dim is None and not x._array.size:
        raise RuntimeError(
            f"{name} cannot compute the {p:g} norm on an empty tensor because the operation does not have an "
            "identity"
        )
    for axis in axes:
        if x.ndim and x._array.shape[axis] == 0:
            raise RuntimeError(
                f"{name} cannot compute the {p:g} norm on the dimension {axis} because this dimension is "
                "empty and the operation does not have an identity"
            )


@with_out
def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the norm of all elements, or of the vectors along dimensions.

    >>> import jitgrad
    >>> jitgrad.linalg.vector_norm(jitgrad.tensor([3.0, 4.0]))
    tensor(5.)
    """
    t = require_tensor(x, "linalg_vector_norm", argument="x")
    return _of_vectors("linalg.vector_norm", t, ord, dim, keepdim, dtype)


def _of_vectors(name: str, t: Tensor, p: Any, dim: Any, keepdim: bool, dtype: Any) -> Tensor:
    wanted = _floating(name, t, dtype)
    axes = axes_of(dim, t.ndim)
    _not_empty(name, t, float(p), dim, axes)
    params = {"p": float(p), "axes": axes, "keepdim": keepdim, "dtype": wanted}
    if p == 0:
        return _counted(t, params)
    return apply_function(_vector_norm, (t,), params, "LinalgVectorNormBackward0")  # type: ignore[no-any-return]


class Constant(Record):
    """A step through which no gradient comes."""

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        return (None,)

    backward_recorded = backward


def _counted(t: Tensor, params: dict[str, Any]) -> Tensor:
    """How many elements are not 0, as the norm of order 0."""
    found: Tensor = apply_function(_vector_norm, (wrap(t._array),), params, "LinalgVectorNormBackward0")
    edges = edges_of((t,))
    if edges is not None:
        metas = ((found._array.shape, found._array.dtype),)
        found._edge = (named(Constant, "LinalgVectorNormBackward0")(edges, metas), 0)
    return found


_NAMES = {"nuc": "SumBackward1", 2: "AmaxBackward0", -2: "AminBackward0", 1: "AmaxBackward0"}
_NAMES |= {-1: "AminBackward0", math.inf: "AmaxBackward0", -math.inf: "AminBackward0"}


@with_out
def matrix_norm(
    A: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Return the norm of the matrices in two dimensions: "fro", "nuc", 1, -1, 2, -2, inf or -inf."""
    return _of_matrices(
        "linalg.matrix_norm", require_tensor(A, "linalg_matrix_norm"), ord, dim, keepdim, dtype
    )


def _of_matrices(name: str, t: Tensor, p: Any, dim: Any, keepdim: bool, dtype: Any) -> Tensor:
    wanted = _floating(name, t, dtype)
    if t.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if len(dims) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {list(dims)}")
    axes = tuple(dimension(d, t.ndim) for d in dims)
    if axes[0] == axes[1]:
        raise RuntimeError(f"{name}: dims must be different. Got ({dims[0]}, {dims[1]})")
    if isinstance(p, str) and p not in ("fro", "nuc"):
        raise RuntimeError(f"{name}: Order {p} not supported.")
    if p == "fro":
        return _of_vectors("linalg.vector_norm", t, 2, axes, keepdim, dtype)
    if p not in _NAMES:
        raise RuntimeError(f"{name}: Order {p:g} not supported.")
    _no_identity(t, p, axes)
    params = {"p": p, "axes": axes, "keepdim": keepdim, "dtype": wanted}
    return apply_function(_matrix_norm, (t,), params, _NAMES[p])  # type: ignore[no-any-return]


def _no_identity(t: Tensor, p: Any, axes: Axes) -> None:
    """Refuse an extreme of nothing."""
    if p == "nuc":
        return
    m, n = (t._array.shape[i] for i in axes)
    if {2: min(m, n), 1: n}.get(abs(p), m) == 0:
        raise IndexError(
            f"{'amax' if p > 0 else 'amin'}(): Expected reduction dim {axes[-1]} to have non-zero size."
        )


@with_out
def linalg_norm(
    A: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Return the norm of vectors (one dimension) or matrices (two), of all elements if no order is given."""
    t = require_tensor(A, "linalg_norm")
    dims = None if dim is None else tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    if ord is not None and dims is None and t.ndim not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {t.ndim}D."
        )
    matrices = ord is not None and len(dims if dims is not None else t.shape) == 2
    if matrices or isinstance(ord, str):
        return _of_matrices("linalg.matrix_norm", t, ord, dims or (0, 1), keepdim, dtype)
    return _of_vectors("linalg.vector_norm", t, 2 if ord is None else ord, dims, keepdim, dtype)


# torch ----------------------------------------------------------------------------------------------------


@define(out=True)
def norm(input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """Return the p-norm of all elements or along dimensions; "nuc" takes matrices.

    >>> import jitgrad
    >>> jitgrad.tensor([3.0, 4.0]).norm()
    tensor(5.)
    """
    t = require_tensor(input, "norm")
    if p == "nuc":
        if dim is None and t.ndim != 2:
            raise RuntimeError(
                f"Expected a tensor with 2 dimensions, but got a tensor with {t.ndim} dimensions instead."
            )
        return _of_matrices("linalg.matrix_norm", t, p, dim or (0, 1), keepdim, dtype)
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"only valid string values are 'fro' and 'nuc', found: {p}")
    dims = dim if dim is None or isinstance(dim, (tuple, list)) else (dim,)
    return _of_vectors("linalg.vector_norm", t, 2 if p in ("fro", None) else p, dims, keepdim, dtype)
