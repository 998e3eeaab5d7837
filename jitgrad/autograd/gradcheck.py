"""Compares gradients with finite differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jitgrad.eager.backward import grad
from jitgrad.eager.dtypes import Array
from jitgrad.eager.tensor import Tensor, wrap

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """Raised where gradients are not what they should be."""


class _Settings(NamedTuple):
    eps: float
    atol: float
    rtol: float
    nondet_tol: float
    check_undefined_grad: bool
    check_grad_dtypes: bool


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Return True if the gradients of func agree with central differences of step `eps`.

    Looks at every input that requires grad, which should be float64, and at every floating output. Also
    checks that the backward gives the same result twice (up to `nondet_tol`), is linear, and takes undefined
    gradients. Raises GradcheckError, or returns False without `raise_exception`. Whole Jacobians are
    compared also in `fast_mode`, and batched gradients are made one by one, so there is nothing to check.

    >>> import jitgrad
    >>> x = jitgrad.ones(2, dtype=jitgrad.float64, requires_grad=True)
    >>> jitgrad.autograd.gradcheck(lambda x: x * x, x)
    True
    """
    if check_forward_ad or check_batched_forward_grad:
        raise NotImplementedError("there is no forward mode to check: leave check_forward_ad out")
    given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    _check_inputs(given)
    settings = _Settings(eps, atol, rtol, nondet_tol, check_undefined_grad, check_grad_dtypes)
    try:
        if check_backward_ad:
            _check(func, given, settings)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Return True if the second derivatives of func agree with differences of its gradients.

    `grad_outputs` are random numbers where they are not given. The rest is as in `gradcheck`.

    >>> import jitgrad
    >>> x = jitgrad.ones(2, dtype=jitgrad.float64, requires_grad=True)
    >>> jitgrad.autograd.gradgradcheck(lambda x: x * x, x)
    True
    """
    if check_fwd_over_rev:
        raise NotImplementedError("there is no forward mode to check: leave check_fwd_over_rev out")
    given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    if grad_outputs is None:
        outputs = _differentiable(func(*given))
        generator = np.random.default_rng(0)
        seeds = tuple([_random_like(y, generator, gen_non_contig_grad_outputs) for y in outputs])
    else:
        seeds = tuple(grad_outputs) if isinstance(grad_outputs, (tuple, list)) else (grad_outputs,)

    def gradients(*args: Any) -> tuple[Any, ...]:
        arguments, vectors = args[: len(given)], args[len(given) :]
        sources = [x for x in arguments if isinstance(x, Tensor) and x.requires_grad]
        outputs = _differentiable(func(*arguments))
        found = grad(outputs, sources, vectors, create_graph=True, allow_unused=True)
        return tuple([g for g in found if g is not None])

    return gradcheck(
        gradients,
        (*given, *seeds),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_backward_ad=check_rev_over_rev,
    )


def _random_like(y: Tensor, generator: np.random.Generator, spread: bool) -> Tensor:
    """A random gradient; `spread` puts its elements apart in memory."""
    values = generator.standard_normal((*y.shape, 2) if spread else y.shape)
    array = np.asarray(values[..., 0] if spread else values).astype(y._array.dtype, copy=False)
    return wrap(array).requires_grad_()


# Inputs and outputs ---------------------------------------------------------------------------------------


def _check_inputs(inputs: Sequence[Any]) -> None:
    sources = [(i, x) for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not sources:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have "
            "requires_grad=True."
        )
    for i, x in sources:
        if x._array.dtype != np.float64:
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This "
                "check will likely fail if all the inputs are not of double precision floating point or "
                "complex. ",
                stacklevel=3,
            )
        if any(n > 1 and stride == 0 for n, stride in zip(x._array.shape, x._array.strides, strict=True)):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                "non-overlapping to be able to compute the numerical gradients correctly. You should call "
                ".contiguous on the input before passing it to gradcheck."
            )
        x.retain_grad()


def _listed(outputs: Any) -> tuple[Any, ...]:
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


def _differentiable(outputs: Any) -> list[Tensor]:
    return [y for y in _listed(outputs) if y.requires_grad]


# The checks -----------------------------------------------------------------------------------------------


def _check(func: Callable[..., Any], inputs: Sequence[Any], settings: _Settings) -> None:
    sources = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    outputs = _listed(func(*inputs))
    if not any(y.requires_grad for y in outputs):
        _check_constant(func, inputs, sources, settings.eps)
        return
    for number, y in enumerate(outputs):
        if y.requires_grad:
            numerical = [_numerical(func, inputs, x, number, settings.eps) for x in sources]
            _check_output(number, y, sources, numerical, settings)
    _check_linear([y for y in outputs if y.requires_grad], sources)
    if settings.check_undefined_grad:
        _check_undefined(func, inputs, sources)


def _check_constant(
    func: Callable[..., Any], inputs: Sequence[Any], sources: Sequence[Tensor], eps: float
) -> None:
    for number, y in enumerate(_listed(func(*inputs))):
        floating = y._array.dtype.kind == "f"
        if floating and any(_numerical(func, inputs, x, number, eps).any() for x in sources):
            raise GradcheckError("Numerical gradient for function expected to be zero")


def _numerical(func: Callable[..., Any], inputs: Sequence[Any], x: Tensor, number: int, eps: float) -> Array:
    """The Jacobian of one output by central differences: a row for each element of x, moved in place."""
    array = x._array
    rows = []
    for index in np.ndindex(array.shape):
        before = array[index]
        sides = []
        for moved in (before + eps, before - eps):
            array[index] = moved
            sides.append(_listed(func(*inputs))[number]._array.astype(np.float64))
        array[index] = before
        rows.append(((sides[0] - sides[1]) / (2 * eps)).ravel())
    count = _listed(func(*inputs))[number]._array.size
    return np.array(rows).reshape(array.size, count)


def _analytical(y: Tensor, sources: Sequence[Tensor]) -> list[Array]:
    """The Jacobians of one output by backward passes, laid out as those of `_numerical`."""
    columns: list[list[Array]] = [[] for _ in sources]
    for i in range(y._array.size):
        one = np.zeros(y._array.shape, y._array.dtype)
        one.reshape(-1)[i] = 1
        found = grad(y, sources, wrap(one), retain_graph=True, allow_unused=True)
        for column, x, g in zip(columns, sources, found, strict=True):
            column.append(np.zeros(x._array.size) if g is None else g._array.astype(np.float64).ravel())
    return [
        np.array(c).reshape(y._array.size, x._array.size).T for c, x in zip(columns, sources, strict=True)
    ]


def _check_output(
    number: int, y: Tensor, sources: Sequence[Tensor], numerical: Sequence[Array], settings: _Settings
) -> None:
    first, again = _analytical(y, sources), _analytical(y, sources)
    for i, (a, n) in enumerate(zip(first, numerical, strict=True)):
        if not np.allclose(a, n, rtol=settings.rtol, atol=settings.atol):
            raise GradcheckError(
                f"Jacobian mismatch for output {number} with respect to input {i},\n"
                f"numerical:{_as_shown(n, sources[i])}\nanalytical:{_as_shown(a, sources[i])}\n"
            )
    for a, b in zip(first, again, strict=True):
        if (np.abs(a - b) > settings.nondet_tol).any():
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output multiple "
                "times gives different values, although analytical gradient matches numerical gradient. "
                f"The tolerance for nondeterminism was {settings.nondet_tol}."
            )
    if settings.check_grad_dtypes:
        _check_dtypes(y, sources)


def _as_shown(jacobian: Array, x: Tensor) -> Tensor:
    return wrap(jacobian.astype(x._array.dtype))


def _check_dtypes(y: Tensor, sources: Sequence[Tensor]) -> None:
    seed = wrap(np.ones(y._array.shape, y._array.dtype))
    for x, g in zip(sources, grad(y, sources, seed, retain_graph=True, allow_unused=True), strict=True):
        if g is not None and g.dtype != x.dtype:
            raise GradcheckError(f"grad has dtype {g.dtype}, its input {x.dtype}")


def _check_linear(outputs: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    zeros = [wrap(np.zeros(y._array.shape, y._array.dtype)) for y in outputs]
    for g in grad(outputs, sources, zeros, retain_graph=True, allow_unused=True):
        if g is not None and g._array.any():
            raise GradcheckError("backward not multiplied by grad_output")


def _check_undefined(func: Callable[..., Any], inputs: Sequence[Any], sources: Sequence[Tensor]) -> None:
    """Whether undefined gradients of some or all outputs, as they come to the backward, give no gradients."""
    outputs = [y for y in _differentiable(func(*inputs)) if not y.is_leaf]
    records = {y.grad_fn for y in outputs if y.grad_fn}
    handles = [r.register_prehook(lambda grads: (None,) * len(grads)) for r in records]
    try:
        seeds = [wrap(np.ones(y._array.shape, y._array.dtype)) for y in outputs]
        found = grad(outputs, sources, seeds, allow_unused=True) if outputs else ()
    finally:
        for handle in handles:
            handle.remove()
    if any(g is not None and g._array.any() for g in found):
        warnings.warn(
            "Backwards compatibility: New undefined gradient support checking feature is enabled by default, "
            "but it may break existing callers of this function. If this is true for you, you can call this "
            'function with "check_undefined_grad=False" to disable the feature',
            stacklevel=4,
        )
        raise GradcheckError(
            "Expected all input grads to be undefined or zero when all output grads are undefined or zero."
        )
