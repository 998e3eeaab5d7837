"""Linear layers and tables of vectors: linear, bilinear, embedding, one_hot."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import TYPE_NAMES, Array
from jitgrad.eager.inplace import guard
from jitgrad.eager.modes import state
from jitgrad.eager.tensor import Tensor, require_tensor, version_of, wrap
from jitgrad.ir import Node
from jitgrad.ops.algebra import matmul
from jitgrad.ops.einsum import einsum
from jitgrad.ops.elementwise import equal, stop_gradient, where
from jitgrad.ops.gather import take
from jitgrad.ops.linear import swap_last
from jitgrad.ops.shape import shaped

__all__ = ["bilinear", "embedding", "linear", "one_hot"]

_C_NAMES = {"float32": "float", "float64": "double", "float16": "c10::Half", "int64": "long int"}
_C_NAMES |= {"int32": "int", "bool": "bool"}


# Linear ---------------------------------------------------------------------------------------------------


def _linear(x: Node, weight: Node, *bias: Node) -> Any:
    y = matmul(x, swap_last(weight) if len(weight.shape) > 1 else weight)
    return y + bias[0] if bias else y


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """Return input @ weight.T + bias.

    >>> import jitgrad
    >>> x, w = jitgrad.tensor([1.0, 2.0]), jitgrad.tensor([[3.0, 4.0]])
    >>> jitgrad.nn.functional.linear(x, w, jitgrad.tensor([0.5]))
    tensor([11.5000])
    """
    x, w = require_tensor(input, "linear"), require_tensor(weight, "linear", 2, "weight")
    if not x.ndim or not w.ndim:
        raise RuntimeError(
            f"both arguments to linear need to be at least 1D, but they are {x.ndim}D and {w.ndim}D"
        )
    if w.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {w.ndim}D")
    _multiplicable(x, w)
    result = (*x._array.shape[:-1], *w._array.shape[:-1])
    operands = (x, w) if bias is None else (x, w, require_tensor(bias, "linear", 3, "bias"))
    if bias is not None:
        _fits(bias, result)
    return apply_function(_linear, operands, {}, _recorded(x, w, bias))  # type: ignore[no-any-return]


def _multiplicable(x: Tensor, w: Tensor) -> None:
    (*lead, k), shape = x._array.shape, w._array.shape
    if k != shape[-1]:
        rows, columns = int(np.prod(lead)), shape[0] if w.ndim > 1 else 1
        if w.ndim == 1 and x.ndim <= 2:
            raise RuntimeError(f"size mismatch, got input ({rows}), mat ({rows}x{k}), vec ({shape[0]})")
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{k} and {shape[-1]}x{columns})"
        )
    if x._array.dtype != w._array.dtype:
        names = [_C_NAMES.get(t._array.dtype.name, t._array.dtype.name) for t in (x, w)]
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {names[0]} != {names[1]}")


def _fits(bias: Tensor, shape: tuple[int, ...]) -> None:
    given = bias._array.shape
    for back in range(1, len(given) + 1):
        if back > len(shape) or given[-back] not in (1, shape[-back]):
            wanted = shape[-back] if back <= len(shape) else 0
            raise RuntimeError(
                f"The expanded size of the tensor ({wanted}) must match the existing size ({given[-back]}) "
                f"at non-singleton dimension {len(shape) - back}.  Target sizes: {list(shape)}.  Tensor "
                f"sizes: {list(given)}"
            )


def _recorded(x: Tensor, w: Tensor, bias: Any) -> str:
    if w.ndim == 1:
        plain = {1: "DotBackward0", 2: "MvBackward0"}.get(x.ndim, "UnsafeViewBackward0")
        return plain if bias is None else "AddBackward0"
    if bias is None:
        return {1: "SqueezeBackward4", 2: "MmBackward0"}.get(x.ndim, "UnsafeViewBackward0")
    if x.ndim == 2:
        return "AddmmBackward0"
    return "ViewBackward0" if x.ndim == 1 or x.is_contiguous() else "AddBackward0"


def _bilinear(x: Node, y: Node, weight: Node, *bias: Node) -> Any:
    z = einsum("...i,oij,...j->...o", x, weight, y)
    return z + bias[0] if bias else z


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Tensor:
    """Return input1 @ weight[i] @ input2 + bias[i] for every i, as the last dimension."""
    x, y, w = (require_tensor(t, "bilinear", i) for i, t in enumerate((input1, input2, weight), 1))
    if x.ndim != y.ndim:
        raise RuntimeError(f"bilinear(): input dimensions do not match: got {x.ndim} and {y.ndim}")
    shape, other, of_weight = x._array.shape, y._array.shape, w._array.shape
    for i, (n, m) in enumerate(zip(shape[:-1], other[:-1], strict=True)):
        if n != m:
            raise RuntimeError(f"bilinear(): input batch dimensions do not match at dim {i}: got {n} and {m}")
    for place, (n, m) in enumerate(((shape[-1], of_weight[1]), (other[-1], of_weight[2])), 1):
        if n != m:
            raise RuntimeError(
                f"bilinear(): input{place} size does not match weight size: got {n} but expected {m}"
            )
    if bias is not None and bias._array.size != of_weight[0]:
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {bias._array.size} but expected "
            f"{of_weight[0]}"
        )
    operands = (x, y, w) if bias is None else (x, y, w, bias)
    name = "ViewBackward0" if bias is None else "AddBackward0"
    return apply_function(_bilinear, operands, {}, name)  # type: ignore[no-any-return]


# Tables of vectors ----------------------------------------------------------------------------------------


def _rows(weight: Node, index: Node, *shares: Node, padding: int | None) -> Any:
    """The rows at the index; that of the padding is constant, and `shares` scale the derivatives."""
    rows = take(weight, index, axis=0)
    if shares:
        fixed = stop_gradient(rows)
        rows = fixed + (rows - fixed) * shaped(shares[0], (*index.shape, 1))
    if padding is None:
        return rows
    return where(shaped(equal(index, padding), (*index.shape, 1)), stop_gradient(rows), rows)


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return the rows of a weight at an index of any shape; IndexError out of range.

    The row `padding_idx` has no gradient; rows longer than `max_norm` are shortened in the weight itself;
    `scale_grad_by_freq` divides a row's gradient by how often it is asked for.
    """
    x, w = require_tensor(input, "embedding", 2, "indices"), require_tensor(weight, "embedding", 1, "weight")
    if w.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    index, count = x._array, w._array.shape[0]
    if index.dtype not in (np.int64, np.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; "
            f"but got torch.{TYPE_NAMES[x.dtype]} instead (while checking arguments for embedding)"
        )
    if padding_idx is not None:
        assert -count <= padding_idx < count, "Padding_idx must be within num_embeddings"
        padding_idx %= count
    if ((index < 0) | (index >= count)).any():
        raise IndexError("index out of range in self")
    if max_norm is not None:
        _shorten(w, index, float(max_norm), float(norm_type))
    shares: tuple[Any, ...] = ()
    if scale_grad_by_freq and index.size:
        shares = ((1 / np.bincount(index.ravel(), minlength=count)[index]).astype(w._array.dtype),)
    operands = (w, index, *shares)
    return apply_function(_rows, operands, {"padding": padding_idx}, "EmbeddingBackward0")  # type: ignore[no-any-return]


def _shorten(weight: Tensor, index: Array, largest: float, p: float) -> None:
    """Scale rows of the weight that are asked for to a norm of at most `largest`, without a gradient."""
    before, state.grad = state.grad, False
    try:
        guard(weight)
        rows = np.unique(index)
        sizes = np.linalg.norm(weight._array[rows], p, -1)
        scales = np.where(sizes > largest, largest / (sizes + 1e-7), 1)
        weight._array[rows] *= scales[:, None].astype(weight._array.dtype)
        version_of(weight)[0] += 1
    finally:
        state.grad = before


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """Return rows of integers with a 1 at each index and 0 elsewhere."""
    x = require_tensor(tensor, "one_hot", argument="tensor")
    index = x._array
    if index.dtype != np.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if not index.size and num_classes <= 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    if index.size and index.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        num_classes = int(index.max()) + 1
    elif index.size and index.max() >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    return wrap((index[..., None] == np.arange(num_classes)).astype(np.int64))
