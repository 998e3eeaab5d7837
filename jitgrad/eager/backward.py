"""Runs the tape backwards for users: `backward` adds to the leaves' `.grad`, `grad` returns gradients."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array
from jitgrad.eager.engine import Backward, fitted_tensor
from jitgrad.eager.size import Size
from jitgrad.eager.tape import Edge, GradientEdge, Meta, sink
from jitgrad.eager.tensor import Tensor, wrap
from jitgrad.ir import Node
from jitgrad.ops.values import concatenated, insert_axes


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add the gradients of the tensors (summed, each times its grad_tensor) to the `.grad` of the leaves.

    With `inputs`, only these tensors get gradients. Raises RuntimeError where a tensor does not require grad,
    where it is no scalar and no gradient is given, and where the graph has been freed.

    >>> import jitgrad
    >>> x = jitgrad.tensor(3.0, requires_grad=True)
    >>> jitgrad.autograd.backward([x * x, 5 * x])
    >>> x.grad
    tensor(11.)
    """
    if grad_variables is not None:
        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, 2)
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. "
                "Please only use `grad_tensors`."
            )
        grad_tensors = grad_variables
    _into_leaves(tensors, grad_tensors, retain_graph, create_graph, inputs)


def _tensor_backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of this tensor, times `gradient`, to the `.grad` of the leaves.

    >>> import jitgrad
    >>> x = jitgrad.tensor(3.0, requires_grad=True)
    >>> (x * x).backward()
    >>> x.grad
    tensor(6.)
    """
    _into_leaves(self, gradient, retain_graph, create_graph, inputs)


_tensor_backward.__name__ = "backward"
_tensor_backward.__qualname__ = "Tensor.backward"
setattr(Tensor, "backward", _tensor_backward)  # noqa: B010  (mypy takes an assignment for a redefinition)


def _into_leaves(outputs: Any, grads: Any, retain: bool | None, create_graph: bool, inputs: Any) -> None:
    targets = None if inputs is None else _targets(inputs, "backward")
    if create_graph:
        warnings.warn(
            "Using backward() with create_graph=True will create a reference cycle between the parameter and "
            "its gradient which can cause a memory leak. We recommend using autograd.grad when creating the "
            "graph to avoid this. If you have to use this function, make sure to reset the .grad fields of "
            "your parameters to None after use to break the cycle and avoid the leak.",
            UserWarning,
            stacklevel=3,
        )
    run = _started(outputs, grads, retain, create_graph)
    if targets is not None:
        for t in targets:
            if isinstance(t, Tensor):
                t.retain_grad()
        edges = [_target_edge(t) for t in targets]
        run.aim(edges).update(record for record, _ in edges)
    run.run()


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """Return the gradients of the outputs (summed, each times its grad_output) with respect to the inputs.

    They come as a tuple, or as a dict where the inputs are one. With `is_grads_batched`, each grad_output has
    one more axis in front, and so has each result. Raises RuntimeError where an input does not require grad,
    and where it is not used (None for that with `allow_unused`, zeros with `materialize_grads`).

    >>> import jitgrad
    >>> x = jitgrad.tensor(3.0, requires_grad=True)
    >>> jitgrad.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate "
            "gradient for other parts of the graph, please use torch.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    targets = _targets(inputs, "grad")
    gather = _gathered_in_batches if is_grads_batched else _gathered
    found = gather(outputs, targets, grad_outputs, retain_graph, create_graph)
    if materialize_grads:
        found = [_zeros(t) if g is None else g for t, g in zip(targets, found, strict=True)]
    elif not allow_unused:
        for i, g in enumerate(found):
            if g is None:
                raise RuntimeError(
                    f"The differentiated Tensor at index {i} appears to not have been used in the graph. Set "
                    "allow_unused=True if this is the desired behavior."
                )
    return dict(zip(inputs, found, strict=True)) if isinstance(inputs, dict) else tuple(found)


def _zeros(target: Tensor | GradientEdge) -> Tensor:
    return wrap(np.zeros(*_meta(target)))


def _gathered(
    outputs: Any, targets: Sequence[Any], grads: Any, retain: bool | None, create_graph: bool
) -> list[Tensor | None]:
    edges = [_target_edge(t) for t in targets]
    run = _started(outputs, grads, retain, create_graph)
    run.aim(edges)
    run.run()
    found = [run.wanted[edge] for edge in edges]
    return found if create_graph else [None if g is None else wrap(np.asarray(g)) for g in found]


def _gathered_in_batches(
    outputs: Any, targets: Sequence[Any], grads: Any, retain: bool | None, create_graph: bool
) -> list[Tensor | None]:
    batches = _listed(grads)
    for i, (out, g) in enumerate(zip(_listed(outputs), batches, strict=True)):
        if g.shape[1:] != _meta(out)[0]:
            raise RuntimeError(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the "
                "batch dimension. The sizes of the remaining dimensions are expected to match the shape of "
                f"corresponding output, but a mismatch was detected: grad_output[{i}] has a shape of "
                f"{Size(g.shape[1:])} and output[{i}] has a shape of {Size(_meta(out)[0])}."
            )
    count = len(batches[0]._array)
    each = [
        _gathered(outputs, targets, [g[i] for g in batches], i + 1 < count or retain, create_graph)
        for i in range(count)
    ]
    return [None if rows[0] is None else stacked(rows, "StackBackward0") for rows in zip(*each, strict=True)]


def stacked(rows: Sequence[Any], name: str) -> Tensor:
    """Tensors of equal shape along a new first axis."""
    result: Tensor = apply_function(_stacked, rows, {}, name)
    return result


def _stacked(*rows: Node) -> Any:
    return concatenated([insert_axes(row, (0,)) for row in rows], 0)


# Where a pass starts and ends -----------------------------------------------------------------------------


def gradient_edge(t: Tensor | GradientEdge) -> Edge | None:
    """Where the gradient of a tensor goes; None if it does not require one."""
    if isinstance(t, GradientEdge):
        return t.node, t.output_nr
    edge = t._gradient_edge()
    return sink(t) if edge is None and t._requires else edge


def _meta(t: Tensor | GradientEdge) -> Meta:
    if isinstance(t, GradientEdge):
        return t.node._metas[t.output_nr]
    return t._array.shape, t._array.dtype


def _listed(given: Any) -> list[Any]:
    return [given] if isinstance(given, (Tensor, GradientEdge)) else list(given)


def _started(outputs: Any, grads: Any, retain: bool | None, create_graph: bool) -> Backward:
    """A pass that has the gradients of the outputs, ones for scalars."""
    roots = _listed(outputs)
    for out in roots:
        if not isinstance(out, (Tensor, GradientEdge)):
            raise AssertionError("Expected output to be a torch.Tensor")
    run = Backward(retain, create_graph)
    edges = [gradient_edge(out) for out in roots]
    seeds = [
        _seed(i, out, given, create_graph, edge is not None)
        for i, (out, given, edge) in enumerate(zip(roots, _matching(roots, grads), edges, strict=True))
    ]
    for i, (edge, seed) in enumerate(zip(edges, seeds, strict=True)):
        if edge is None:
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        run.add(*edge, seed)
        run.roots.append(edge[0])
    return run


def _targets(inputs: Any, function: str) -> list[Any]:
    targets = list(inputs.values()) if isinstance(inputs, dict) else _listed(inputs)
    if not targets:
        raise RuntimeError(f"`inputs` argument to `{function}()` cannot be empty.")
    for t in targets:
        if not isinstance(t, (Tensor, GradientEdge)):
            raise RuntimeError(f"all inputs have to be Tensors or GradientEdges, but got {type(t).__name__}")
    return targets


def _target_edge(t: Tensor | GradientEdge) -> Edge:
    edge = gradient_edge(t)
    if edge is None:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    return edge


def _matching(outputs: Sequence[Any], grads: Any) -> list[Tensor | None]:
    if grads is None:
        return [None] * len(outputs)
    given = _listed(grads)
    if len(given) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(given)} gradients")
    for g in given:
        if g is not None and not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
    return given


@lru_cache
def _ones(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    ones = np.ones(shape, dtype)
    ones.flags.writeable = False
    return ones


def _seed(i: int, out: Tensor | GradientEdge, given: Tensor | None, recorded: bool, needed: bool) -> Any:
    shape, dtype = meta = _meta(out)
    if given is None:
        if needed and any(n != 1 for n in shape):
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        return wrap(np.ones(shape, dtype)) if recorded else _ones(shape, dtype)
    if given._array.shape != shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{i}] has a shape of {given.shape} and output[{i}] has a shape "
            f"of {Size(shape)}."
        )
    if given._array.dtype != dtype:
        given = fitted_tensor(given, meta)
    return given if recorded else given._array
