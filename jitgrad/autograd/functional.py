"""Derivatives of functions of tensors: Jacobians, Hessians, and their products with vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.eager.backward import grad
from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.modes import state
from jitgrad.eager.tensor import Tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops.structure import reshape
from jitgrad.ops.values import concatenated

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = tuple[Tensor, ...]
Function = Callable[..., Any]

_OUTPUTS = "outputs of the user-provided function"
_UNUSED_INPUT = (
    "The output of the user-provided function is independent of input {}. This is not allowed in strict mode."
)
_UNUSED_ENTRY = (
    "The gradient with respect to the input is independent of entry {} in the grad_outputs when using the "
    "double backward trick to compute forward mode gradients. This is not allowed in strict mode."
)
_CONSTANT_JACOBIAN = (
    "The jacobian of the user-provided function is independent of input {}. This is not allowed in strict "
    "mode when create_graph=True."
)
_LINEAR = (
    "While computing the hessian, found that the jacobian of the user-provided function with respect to "
    "input {} is independent of the input. This is not allowed in strict mode. You should ensure that your "
    "function is twice differentiable and that the jacobian depends on the inputs (this would be violated by "
    "a linear function for example)."
)


def vjp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """Return func(*inputs) and the product of v with the Jacobian there: one tensor for each input.

    `v` has the shapes of the outputs; None stands for 1 where func returns one number. With `strict`, an
    output that does not depend on an input raises RuntimeError.

    >>> import jitgrad
    >>> x = jitgrad.tensor([1.0, 2.0])
    >>> jitgrad.autograd.functional.vjp(lambda x: x * x, x, jitgrad.ones(2))
    (tensor([1., 4.]), tensor([2., 4.]))
    """
    single, xs = _tensors(inputs, "inputs", "vjp")
    with _Recording():
        xs = _fresh(xs, create_graph)
        single_output, ys = _called(func, xs, "vjp", strict)
        if v is None and (len(ys) != 1 or ys[0]._array.size != 1):
            raise RuntimeError(
                "The vector v can only be None if the user-provided function returns a single Tensor with a "
                "single element."
            )
        vs = _vectors(v, ys, "vjp")
        grads = _gradients(ys, xs, vs, create_graph)
        if strict:
            _all_used(grads, create_graph)
        products = _filled(grads, xs)
    return _packed(ys, single_output, create_graph), _packed(products, single, create_graph)


def jvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """Return func(*inputs) and the product of the Jacobian there with v: one tensor for each output.

    `v` has the shapes of the inputs; None stands for 1 where the input is one number. With `strict`, an
    output that does not depend on an input raises RuntimeError.

    >>> import jitgrad
    >>> x = jitgrad.tensor([1.0, 2.0])
    >>> jitgrad.autograd.functional.jvp(lambda x: x.sum(), x, jitgrad.ones(2))
    (tensor(3.), tensor(2.))
    """
    _, xs = _tensors(inputs, "inputs", "jvp")
    vs = _directions(v, xs, "jvp")
    with _Recording():
        xs = _fresh(xs, create_graph)
        single, ys = _called(func, xs, "jvp", strict)
        # u -> u J is linear: its derivative, transposed, is J
        us = tuple([_zeros(y).requires_grad_() for y in ys])
        rows = _gradients(ys, xs, us, True)
        if strict:
            _all_used(rows)
        used = [(row, v) for row, v in zip(rows, vs, strict=True) if row is not None and row.requires_grad]
        products = _gradients([r for r, _ in used], us, [v for _, v in used], create_graph)
        if strict:
            _all_used(products, create_graph, _UNUSED_ENTRY)
        filled = _filled(products, us)
    return _packed(ys, single, create_graph), _packed(filled, single, create_graph)


def jacobian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """Return the Jacobian of func: for each output and input, a tensor of the output's and the input's shape.

    Several outputs give a tuple, several inputs a tuple within. `vectorize` and `strategy` change nothing in
    the result. With `strict`, an output that does not depend on an input raises RuntimeError.

    >>> import jitgrad
    >>> jitgrad.autograd.functional.jacobian(lambda x: x * x, jitgrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    _check_strategy(strategy, strict, vectorize)
    single, xs = _tensors(inputs, "inputs", "jacobian")
    with _Recording():
        xs = _fresh(xs, create_graph)
        single_output, ys = _called(func, xs, "jacobian", strict)
        rows = tuple([_jacobian_of(i, y, xs, create_graph, strict) for i, y in enumerate(ys)])
    each = tuple([_packed(row, single, create_graph) for row in rows])
    return each[0] if single_output else each


def _check_strategy(strategy: str, strict: bool, vectorize: bool) -> None:
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has '
            'more outputs than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use '
            '"reverse-mode".'
        )
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only implemented for "
            "`vectorize=True`."
        )
    if strict and vectorize:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported "
            "together. Please either set `strict=False` or `vectorize=False`."
        )


def _jacobian_of(number: int, y: Tensor, xs: Tensors, create_graph: bool, strict: bool) -> Tensors:
    """The Jacobian of one output, row by row."""
    rows = [_gradients([y], xs, [wrap(one)], create_graph) for one in _unit_arrays(y)]
    results = []
    for j, x in enumerate(xs):
        column = [row[j] for row in rows]
        if strict and column and column[0] is None:
            raise RuntimeError(
                f"Output {number} of the user-provided function is independent of input {j}. This is not "
                "allowed in strict mode."
            )
        if strict and create_graph and not all(g is None or g.requires_grad for g in column):
            raise RuntimeError(_CONSTANT_JACOBIAN.format(j))
        shape = (*y.shape, *x.shape)
        if not column or column[0] is None:
            results.append(wrap(np.zeros(shape, x._array.dtype)))
        else:
            results.append(apply_function(_joined, column, {"shape": shape}, "ViewBackward0"))
    return tuple(results)


def _unit_arrays(y: Tensor) -> Any:
    for i in range(y._array.size):
        one = np.zeros(y._array.shape, y._array.dtype)
        one.reshape(-1)[i] = 1
        yield one


def _joined(*rows: Node, shape: tuple[int, ...]) -> Any:
    flat = [reshape(row, shape=(row.aval.size,)) for row in rows]
    return reshape(concatenated(flat, 0), shape=shape)


def hessian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """Return the second derivatives of a function that returns one number.

    Several inputs give a tuple of tuples. With `strict`, a derivative that does not depend on an input raises
    RuntimeError.

    >>> import jitgrad
    >>> jitgrad.autograd.functional.hessian(lambda x: (x * x * x).sum(), jitgrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    single, xs = _tensors(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def number(*xs: Tensor) -> Tensor:
        return _number(*_called(func, xs, "hessian", strict), "hessian")

    def slopes(*xs: Tensor) -> Tensors:
        rows: Tensors = jacobian(number, xs, create_graph=True)
        for i, row in enumerate(rows):
            if strict and not row.requires_grad:
                raise RuntimeError(_LINEAR.format(i))
        return rows

    found = jacobian(slopes, xs, create_graph, strict, vectorize, outer_jacobian_strategy)
    return found[0][0] if single else found


def vhp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """Return the number func(*inputs) and the product of v with the Hessian there, without making that.

    >>> import jitgrad
    >>> x = jitgrad.tensor([1.0, 2.0])
    >>> jitgrad.autograd.functional.vhp(lambda x: (x * x * x).sum(), x, jitgrad.ones(2))
    (tensor(9.), tensor([ 6., 12.]))
    """
    return _hessian_product("vhp", func, inputs, v, create_graph, strict)


def hvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """Return the number func(*inputs) and the product of the Hessian there with v: by symmetry, as `vhp`."""
    return _hessian_product("hvp", func, inputs, v, create_graph, strict)


def _hessian_product(name: str, func: Function, inputs: Any, v: Any, create_graph: bool, strict: bool) -> Any:
    single, xs = _tensors(inputs, "inputs", name)
    vs = _directions(v, xs, name)
    with _Recording():
        xs = _fresh(xs, create_graph)
        single_output, ys = _called(func, xs, name, strict)
        y = _number(single_output, ys, name)
        slopes = _gradients([y], xs, None, True)
        if strict:
            _all_used(slopes)
        used = [(g, v) for g, v in zip(slopes, vs, strict=True) if g is not None and g.requires_grad]
        products = _gradients([g for g, _ in used], xs, [v for _, v in used], create_graph)
        for i, product in enumerate(products):
            if strict and product is None:
                raise RuntimeError(_LINEAR.format(i))
        filled = _filled(products, xs)
    return _packed((y,), True, create_graph), _packed(filled, single, create_graph)


# Arguments ------------------------------------------------------------------------------------------------


def _tensors(given: Any, what: str, function: str) -> tuple[bool, Tensors]:
    """Whether it is one tensor, and the tuple of tensors; TypeError for anything else."""
    if isinstance(given, Tensor):
        return True, (given,)
    tells = f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but the"
    if not isinstance(given, tuple):
        raise TypeError(f"{tells} given {what} has type {type(given)}.")
    for i, t in enumerate(given):
        if not isinstance(t, Tensor):
            raise TypeError(f"{tells} value at index {i} has type {type(t)}.")
    return False, given


def _vectors(v: Any, like: Sequence[Tensor], function: str) -> Tensors:
    if v is None:
        return tuple([wrap(np.ones(t._array.shape, t._array.dtype)) for t in like])
    _, vs = _tensors(v, "v", function)
    if len(vs) != len(like):
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(vs)}.")
    for t, expected in zip(vs, like, strict=True):
        if t.shape != expected.shape:
            raise RuntimeError(f"v has invalid size: should be {expected.shape} but got {t.shape}.")
    return vs


def _directions(v: Any, xs: Tensors, function: str) -> Tensors:
    if v is None and (len(xs) != 1 or xs[0]._array.size != 1):
        raise RuntimeError(
            "The vector v can only be None if the input to the user-provided function is a single Tensor "
            "with a single element."
        )
    return _vectors(v, xs, function)


def _fresh(xs: Tensors, create_graph: bool) -> Tensors:
    """Inputs that require grad: with `create_graph` linked to the given ones, else cut off from them."""
    return tuple(
        [x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in xs]
    )


def _called(func: Function, xs: Tensors, name: str, strict: bool) -> tuple[bool, Tensors]:
    single, ys = _tensors(func(*xs), _OUTPUTS, name)
    for i, y in enumerate(ys):
        if strict and not y.requires_grad:
            raise RuntimeError(
                f"Output {i} of the user-provided function does not require gradients. The outputs must be "
                "computed in a differentiable manner from the input when running in strict mode."
            )
    return single, ys


def _number(single: bool, ys: Tensors, function: str) -> Tensor:
    if not single:
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if ys[0]._array.size != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {function} should contain a single element"
        )
    y = ys[0]
    return y.reshape(()) if y.shape else y


# Gradients and results ------------------------------------------------------------------------------------


class _Recording:
    """Records inside, whatever the mode outside."""

    def __enter__(self) -> None:
        self._before, state.grad = state.grad, True

    def __exit__(self, *_: Any) -> None:
        state.grad = self._before


def _gradients(ys: Sequence[Tensor], xs: Tensors, vs: Sequence[Tensor] | None, recorded: bool) -> Any:
    """The gradients of those outputs that have one, None for unused inputs."""
    pairs = [
        (y, v) for y, v in zip(ys, vs if vs is not None else [None] * len(ys), strict=True) if y.requires_grad
    ]
    if not pairs:
        return (None,) * len(xs)
    return grad(
        [y for y, _ in pairs],
        xs,
        [v for _, v in pairs],
        retain_graph=True,
        create_graph=recorded,
        allow_unused=True,
    )


def _all_used(
    grads: Sequence[Tensor | None], create_graph: bool = False, unused: str = _UNUSED_INPUT
) -> None:
    for i, g in enumerate(grads):
        if g is None:
            raise RuntimeError(unused.format(i))
        if create_graph and not g.requires_grad:
            raise RuntimeError(_CONSTANT_JACOBIAN.format(i))


def _zeros(t: Tensor) -> Tensor:
    return wrap(np.zeros(t._array.shape, t._array.dtype))


def _filled(grads: Sequence[Tensor | None], like: Tensors) -> Tensors:
    return tuple([_zeros(t) if g is None else g for g, t in zip(grads, like, strict=True)])


def _packed(results: Sequence[Tensor], single: bool, create_graph: bool) -> Any:
    kept = tuple(results) if create_graph else tuple([r.detach() for r in results])
    return kept[0] if single else kept
