"""Products of vectors, matrices and batches of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.define import define, operators
from jitgrad.eager.dispatch import apply_function, apply_op
from jitgrad.eager.functions.arithmetic import shape_error
from jitgrad.eager.tensor import Tensor, require_tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops import algebra
from jitgrad.ops.einsum import einsum as einsum_op
from jitgrad.ops.linear import matmul as matmul_op

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "chain_matmul",
    "dot",
    "einsum",
    "ger",
    "inner",
    "kron",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "vdot",
]


def _same_dtype(*tensors: Tensor) -> None:
    first, second = (t.dtype for t in tensors[:2])
    if first is not second:
        names = [dtypes.C_NAMES.get(d, d.name) for d in (first, second)]
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {names[0]} != {names[1]}")


def _matrix(x: Any, name: str, argument: str) -> Tensor:
    t = require_tensor(x, name)
    if t.ndim != 2:
        raise RuntimeError(f"{argument} must be a matrix, got {t.ndim}-D tensor")
    return t


def _multiplicable(x: Tensor, y: Tensor) -> None:
    (n, k), (m, p) = x._array.shape[-2:], y._array.shape[-2:]
    if k != m:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({n}x{k} and {m}x{p})")


@define(out=True)
def mm(input: Any, mat2: Any) -> Tensor:
    """Return the product of two matrices; RuntimeError for other shapes and for mixed dtypes."""
    x, y = _matrix(input, "mm", "self"), _matrix(mat2, "mm", "mat2")
    _multiplicable(x, y)
    _same_dtype(x, y)
    return apply_op(matmul_op, (x, y), {}, "MmBackward0")


@define(out=True)
def bmm(input: Any, mat2: Any) -> Tensor:
    """Return the products of two batches of matrices."""
    x, y = require_tensor(input, "bmm"), require_tensor(mat2, "bmm")
    for t, argument in ((x, "batch1"), (y, "batch2")):
        if t.ndim != 3:
            raise RuntimeError(f"{argument} must be a 3D tensor")
    (b, _, k), (c, m) = x._array.shape, y._array.shape[:2]
    if b != c or k != m:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{b}, {k}] but got: [{c}, {m}]."
        )
    _same_dtype(x, y)
    return apply_op(matmul_op, (x, y), {}, "BmmBackward0")


@define(out=True)
def mv(input: Any, vec: Any) -> Tensor:
    """Return the product of a matrix and a vector."""
    x, y = require_tensor(input, "mv"), require_tensor(vec, "mv")
    if x.ndim != 2 or y.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {y.ndim}, {x.ndim}, {y.ndim}")
    (n, k), (m,) = x._array.shape, y._array.shape
    if k != m:
        raise RuntimeError(f"size mismatch, got input ({n}), mat ({n}x{k}), vec ({m})")
    _same_dtype(x, y)
    return apply_function(algebra.matmul, (x, y), {}, "MvBackward0")  # type: ignore[no-any-return]


def _vectors(x: Tensor, y: Tensor, name: str) -> None:
    if x.ndim != 1 or y.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {x.ndim}D and {y.ndim}D tensors")
    if x._array.dtype != y._array.dtype:
        names = [dtypes.TYPE_NAMES.get(t.dtype, t.dtype.name).removesuffix("Tensor") for t in (x, y)]
        raise RuntimeError(
            f"{name} : expected both vectors to have same dtype, but found {names[0]} and {names[1]}"
        )
    n, m = x._array.size, y._array.size
    if n != m:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{n}] and src [{m}] to have the same number of "
            f"elements, but got {n} and {m} elements respectively"
        )
    if x._array.dtype.kind == "b":
        raise NotImplementedError(f"\"{name}\" not implemented for 'Bool'")


@define(out=True)
def dot(input: Any, tensor: Any) -> Tensor:
    """Return the sum of the products of two vectors."""
    x, y = require_tensor(input, "dot"), require_tensor(tensor, "dot")
    _vectors(x, y, "dot")
    return apply_function(algebra.matmul, (x, y), {}, "DotBackward0")  # type: ignore[no-any-return]


@define(out=True)
def vdot(input: Any, other: Any) -> Tensor:
    """Return the sum of the products of two vectors."""
    x, y = require_tensor(input, "vdot"), require_tensor(other, "vdot")
    _vectors(x, y, "vdot")
    if x._array.dtype.kind == "c":
        return wrap(np.asarray(np.vdot(x._array, y._array)))
    return apply_function(algebra.matmul, (x, y), {}, "VdotBackward0")  # type: ignore[no-any-return]


@define(out=True)
def matmul(input: Any, other: Any) -> Tensor:
    """Return the matrix product; a vector is a row on the left, a column on the right; batches broadcast."""
    x, y = require_tensor(input, "matmul"), require_tensor(other, "matmul", 2, "other")
    if not x.ndim or not y.ndim:
        raise RuntimeError(
            f"both arguments to matmul need to be at least 1D, but they are {x.ndim}D and {y.ndim}D"
        )
    if x.ndim == 2 and y.ndim == 2:
        return mm(x, y)
    if x.ndim == 1 and y.ndim == 1:
        return dot(x, y)
    if x.ndim == 2 and y.ndim == 1:
        return mv(x, y)
    _same_dtype(x, y)
    inner = y._array.shape[-2] if y.ndim > 1 else y._array.shape[0]
    if x._array.shape[-1] != inner:
        n = x._array.shape[-2] if x.ndim > 1 else 1
        p = y._array.shape[-1] if y.ndim > 1 else 1
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({n}x{x._array.shape[-1]} and {inner}x{p})"
        )
    lead, other_lead = x._array.shape[:-2], y._array.shape[:-2]
    _broadcastable(lead, other_lead)
    name = "SqueezeBackward4" if x.ndim == 1 or y.ndim == 1 else "UnsafeViewBackward0"
    return apply_function(algebra.matmul, (x, y), {}, name)  # type: ignore[no-any-return]


def _broadcastable(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    try:
        np.broadcast_shapes(first, second)
    except ValueError:
        raise shape_error([first, second]) from None


@define("outer", "ger", out=True)
def outer(input: Any, vec2: Any) -> Tensor:
    """Return the products of all pairs of elements of two vectors."""
    x, y = require_tensor(input, "outer"), require_tensor(vec2, "outer")
    for t, argument in ((x, "self"), (y, "vec2")):
        if t.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {argument}, but got {t.ndim}-D")
    result: Tensor = x.unsqueeze(1) * y
    return result


ger = outer


@define()
def inner(input: Any, other: Any) -> Tensor:
    """Return the sum of products over the last dimensions."""
    x, y = require_tensor(input, "inner"), require_tensor(other, "inner")
    if not x.ndim or not y.ndim:
        return x * y
    if x._array.shape[-1] != y._array.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(x._array.shape)} and {list(y._array.shape)}"
        )
    _same_dtype(x, y)
    return apply_function(algebra.inner, (x, y), {}, "ViewBackward0")  # type: ignore[no-any-return]


def tensordot(a: Any, b: Any, dims: Any = 2, *, out: Any = None) -> Tensor:
    """Return the sum of products over the last `dims` dimensions of a and the first of b, or over pairs."""
    x, y = require_tensor(a, "tensordot"), require_tensor(b, "tensordot")
    given = dims.tolist() if isinstance(dims, Tensor) else dims
    if isinstance(given, int):
        if given < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={given}")
        axes: Any = (tuple(range(x.ndim - given, x.ndim)), tuple(range(given)))
    else:
        axes = tuple(tuple([d] if isinstance(d, int) else d) for d in given)
    for i, j in zip(*axes, strict=True):
        n, m = x._array.shape[i], y._array.shape[j]
        if n != m and 1 not in (n, m):
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {n} in dim {i} and second has size "
                f"{m} in dim {j}"
            )
    _same_dtype(x, y)
    for i, j in zip(*axes, strict=True):
        n, m = x._array.shape[i], y._array.shape[j]
        if n != m:
            x, y = (x.sum(i, keepdim=True), y) if m == 1 else (x, y.sum(j, keepdim=True))
    return apply_function(algebra.tensordot, (x, y), {"axes": axes}, "ViewBackward0")  # type: ignore[no-any-return]


@define(out=True)
def kron(input: Any, other: Any) -> Tensor:
    """Return the Kronecker product."""
    x, y = require_tensor(input, "kron"), require_tensor(other, "kron")
    ndim = max(x.ndim, y.ndim)
    lifted = [t.reshape((1,) * (ndim - t.ndim) + tuple(t.shape)) for t in (x, y)]
    shape = tuple(n * m for n, m in zip(lifted[0].shape, lifted[1].shape, strict=True))
    left = lifted[0].reshape(
        tuple(n for pair in zip(lifted[0].shape, (1,) * ndim, strict=True) for n in pair)
    )
    right = lifted[1].reshape(
        tuple(n for pair in zip((1,) * ndim, lifted[1].shape, strict=True) for n in pair)
    )
    result: Tensor = (left * right).reshape(shape)
    return result


# Sums of products and another tensor ----------------------------------------------------------------------


def _combined(base: Node, x: Node, y: Node, beta: Any, alpha: Any, product: Any) -> Any:
    result = product(x, y)
    result = result if alpha == 1 else result * alpha
    if beta == 0:
        return result
    return (base if beta == 1 else base * beta) + result


def _plain(x: Node, y: Node) -> Any:
    return algebra.matmul(x, y)


def _outer(x: Node, y: Node) -> Any:
    return algebra.outer(x, y)


def _over_batch(x: Node, y: Node) -> Any:
    return einsum_op("bij,bjk->ik", x, y)


def _add_product(
    name: str, product: Any, ndims: tuple[int, int], arguments: tuple[str, str], doc: str
) -> Any:
    def function(input: Any, first: Any, second: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        base, x, y = (require_tensor(t, name) for t in (input, first, second))
        for t, ndim, argument in zip((x, y), ndims, arguments, strict=True):
            if t.ndim != ndim:
                raise RuntimeError(f"{argument} must be a {ndim}-D tensor, got {t.ndim}-D")
        if product is not _outer:
            _multiplied_shapes(name, x, y)
        _same_dtype(x, y)
        _fits(name, base, x, y, product)
        if x._array.dtype.kind in "iub":
            beta, alpha = (_integer(name, n, v, x) for n, v in (("beta", beta), ("alpha", alpha)))
        params = {"beta": beta, "alpha": alpha, "product": product}
        return apply_function(_combined, (base, x, y), params, f"{name.title()}Backward0")  # type: ignore[no-any-return]

    function.__name__, function.__doc__ = name, doc
    return define(name, in_place=True, out=True)(_renamed(function, arguments))


def _integer(name: str, argument: str, value: Any, x: Tensor) -> Any:
    """A factor of integers or of bools; addr refuses floats, where the others cut them."""
    if name == "addr" and isinstance(value, float):
        raise RuntimeError(
            f"For integral input tensors, argument {argument} must not be a floating point number."
        )
    return bool(value) if x._array.dtype.kind == "b" else int(value)


def _renamed(function: Any, arguments: tuple[str, str]) -> Any:
    """The function with its second and third parameter also known by their own names."""

    def named(input: Any, *given: Any, **kwargs: Any) -> Any:
        spelled = [kwargs.pop(a) for a in arguments if a in kwargs]
        return function(input, *given, *spelled, **kwargs)

    named.__name__, named.__doc__ = function.__name__, function.__doc__
    return named


def _multiplied_shapes(name: str, x: Tensor, y: Tensor) -> None:
    if y.ndim == 1:
        (n, k), (m,) = x._array.shape, y._array.shape
        if k != m:
            raise RuntimeError(f"size mismatch, got input ({n}), mat ({n}x{k}), vec ({m})")
        return
    if x.ndim == 3 and x._array.shape[0] != y._array.shape[0]:
        raise RuntimeError(f"{name}: batch1 and batch2 must have same number of batches")
    _multiplicable(x, y)


def _fits(name: str, base: Tensor, x: Tensor, y: Tensor, product: Any) -> None:
    n, p = x._array.shape, y._array.shape
    if product is _outer:
        wanted: tuple[int, ...] = (n[0], p[0])
    elif product is _over_batch:
        wanted = (n[-2], p[-1])
    else:
        wanted = (*n[:-1], p[-1]) if len(p) > 1 else n[:-1]
    try:
        np.broadcast_to(base._array, wanted)
    except ValueError:
        raise RuntimeError(
            f"The expanded size of the tensor ({list(wanted)}) must match the existing size "
            f"({list(base._array.shape)}): {name} cannot add its input to the product"
        ) from None


addmm = _add_product("addmm", _plain, (2, 2), ("mat1", "mat2"), "Return beta * input + alpha * mat1 @ mat2.")
addmv = _add_product("addmv", _plain, (2, 1), ("mat", "vec"), "Return beta * input + alpha * mat @ vec.")
addr = _add_product(
    "addr", _outer, (1, 1), ("vec1", "vec2"), "Return beta * input + alpha * outer(vec1, vec2)."
)
baddbmm = _add_product(
    "baddbmm", _plain, (3, 3), ("batch1", "batch2"), "Return beta * input + alpha * bmm(batch1, batch2)."
)
addbmm = _add_product(
    "addbmm", _over_batch, (3, 3), ("batch1", "batch2"), "Return beta * input + alpha * the sum of products."
)


# Any contraction ------------------------------------------------------------------------------------------


def _contracted(*operands: Node, equation: str) -> Any:
    return einsum_op(equation, *operands)


def einsum(*args: Any) -> Tensor:
    """Return the sum of products that an equation names, as in einsum("ij,jk->ik", x, y)."""
    if not args or not isinstance(args[0], str):
        raise ValueError("einsum(): the equation must be a string such as 'ij,jk->ik'")
    equation, operands = args[0], args[1:]
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    if not operands:
        raise ValueError("einsum(): must specify at least one operand")
    tensors = [require_tensor(t, "einsum", i + 2, "operands") for i, t in enumerate(operands)]
    if len(tensors) > 1:
        for t in tensors[1:]:
            _same_dtype(tensors[0], t)
    try:
        return apply_function(_contracted, tensors, {"equation": equation}, "ViewBackward0")  # type: ignore[no-any-return]
    except ValueError as error:
        raise RuntimeError(f"einsum(): {error}") from None


def chain_matmul(*matrices: Any) -> Tensor:
    """Return the product of several matrices."""
    given: Sequence[Tensor] = (
        matrices[0] if len(matrices) == 1 and isinstance(matrices[0], (tuple, list)) else matrices
    )
    product = given[0]
    for m in given[1:]:
        product = mm(product, m)
    return product


operators({"matmul": matmul, "rmatmul": lambda x, y: matmul(y, x)})
