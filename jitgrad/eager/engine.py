"""Runs the tape backwards: youngest record first, each once, without recursion."""

from __future__ import annotations

import heapq
import sys
import warnings
from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array
from jitgrad.eager.modes import state
from jitgrad.eager.tape import AccumulateGrad, Edge, Meta, Record, sink
from jitgrad.eager.tensor import Tensor, version_of, wrap
from jitgrad.ir import Node
from jitgrad.ops.structure import cast, reshape, sum_axes


class Backward:
    """One backward pass.

    Gradients are arrays, or tensors where `create_graph` asks that the pass is recorded itself. `wanted` are
    the edges whose gradients are to be returned; then nothing is accumulated that is not in `accumulate`.
    """

    def __init__(self, retain_graph: bool, create_graph: bool) -> None:
        self.retain = retain_graph
        self.recorded = create_graph
        self.pending: dict[Record, list[Any]] = {}
        self.queue: list[tuple[int, Record]] = []
        self.wanted: dict[Edge, Any] = {}
        self.useful: set[Record] = set()

    def run(self) -> None:
        before, state.grad = state.grad, self.recorded
        pending, queue = self.pending, self.queue
        try:
            while queue:
                record = heapq.heappop(queue)[1]
                grads = pending.pop(record)
                if record.hooks is not None:
                    self._before(record, grads)
                if self.wanted:
                    self._collect(record, grads)
                    if record not in self.useful:
                        continue
                if record.__class__ is AccumulateGrad:
                    accumulate(record.variable, grads, self.recorded)
                    continue
                self._send(record.edges, self._results(record, grads))
        finally:
            state.grad = before

    def _results(self, record: Record, grads: list[Any]) -> Sequence[Any]:
        if self.recorded:
            results = record.backward_recorded(grads)
        elif record.trace is None:
            results = record.backward(grads)
        else:
            results = _watched(record, grads)
        if record.hooks is not None and record.hooks.after:
            results = self._after(record, results, grads)
        if not self.retain and record.values:
            record.values = None
        return results

    def _send(self, edges: Sequence[Edge | None], results: Sequence[Any]) -> None:
        """Add a record's results to what its operands' gradients are so far."""
        recorded = self.recorded
        for edge, g in zip(edges, results, strict=True):
            if edge is None or g is None:
                continue
            record, number = edge
            if self.wanted and record not in self.useful and edge not in self.wanted:
                continue
            meta = record.metas[number]
            array = g._array if recorded else g
            if array.shape != meta[0] or array.dtype is not meta[1]:
                g = fitted_tensor(g, meta) if recorded else state.compute(fitted, g, meta)
            self.add(record, number, g)

    def add(self, record: Record, number: int, g: Any) -> None:
        """Add a contribution to the gradient of one output of a record."""
        grads = self.pending.get(record)
        if grads is None:
            grads = self.pending[record] = [None] * len(record.metas)
            heapq.heappush(self.queue, (-record.sequence, record))
        before = grads[number]
        if before is None:
            grads[number] = g
        else:
            grads[number] = before + g if self.recorded else state.compute(np.add, before, g)

    def _collect(self, record: Record, grads: list[Any]) -> None:
        for number, g in enumerate(grads):
            if (record, number) in self.wanted:
                self.wanted[record, number] = g

    # Hooks see tensors

    def _before(self, record: Record, grads: list[Any]) -> None:
        hooks = record.hooks
        assert hooks is not None
        for number, hook in list(hooks.on_output.values()):
            if grads[number] is not None:
                self._replace(grads, number, hook(self._tensor(grads[number])), "tensor hook")
        for hook in list(hooks.before.values()):
            given = tuple(None if g is None else self._tensor(g) for g in grads)
            result = hook(given)
            if result is not None:
                for number, g in enumerate(result if isinstance(result, tuple) else (result,)):
                    self._replace(grads, number, g, "prehook")
        for number, reference in hooks.retained.items():
            kept = reference()
            if kept is not None and grads[number] is not None:
                add_to_grad(kept, [grads[number]], self.recorded)

    def _after(self, record: Record, results: Sequence[Any], grads: list[Any]) -> Sequence[Any]:
        results = list(results)
        outputs = tuple(None if g is None else self._tensor(g) for g in grads)
        assert record.hooks is not None
        for hook in list(record.hooks.after.values()):
            inputs = tuple(
                None if g is None or edge is None else self._tensor(g)
                for g, edge in zip(results, record.edges, strict=True)
            )
            answer = hook(inputs, outputs)
            if answer is not None:
                for number, g in enumerate(answer if isinstance(answer, tuple) else (answer,)):
                    self._replace(results, number, g, "hook")
        return results

    def _tensor(self, g: Any) -> Tensor:
        return g if self.recorded else wrap(np.asarray(g))

    def _replace(self, grads: list[Any], number: int, g: Any, kind: str) -> None:
        if g is None:
            return
        if not isinstance(g, Tensor):
            raise TypeError(f"a {kind} must return None or a Tensor, got {type(g).__name__}")
        before = grads[number]
        if before is not None and g._array.shape != before.shape:
            raise RuntimeError(
                f"hook has changed the size of value: expected {list(before.shape)}, got {list(g.shape)}"
            )
        grads[number] = g if self.recorded else g._array


def _watched(record: Record, grads: list[Any]) -> Sequence[Any]:
    """A record's results in anomaly mode: an error or a NaN is reported with the line that made the record."""
    try:
        results = record.backward(grads)
    except Exception:
        _report(record)
        raise
    if state.check_nan:
        for i, g in enumerate(results):
            if g is not None and record.edges[i] is not None and np.isnan(g).any():
                _report(record)
                raise RuntimeError(f"Function '{record.name()}' returned nan values in its {i}th output.")
    return results


def _report(record: Record) -> None:
    trace = "".join(record.trace or ())
    warnings.warn(
        f"Error detected in {record.name()}. Traceback of forward call that caused the error:\n{trace}",
        UserWarning,
        stacklevel=2,
    )


# Fitting gradients to what they belong to -----------------------------------------------------------------


def fitted(g: Any, meta: Meta) -> Any:
    """A gradient in the shape and dtype of its tensor: summed where the tensor was broadcast."""
    shape, dtype = meta
    if g.shape != shape:
        lead = len(g.shape) - len(shape)
        wide = [i for i, n in enumerate(shape, lead) if n == 1 and g.shape[i] != 1]
        g = sum_axes(np.asarray(g), (*range(lead), *wide)).reshape(shape)
    return g if g.dtype == dtype else g.astype(dtype)


def fitted_tensor(g: Tensor, meta: Meta) -> Tensor:
    """The same on a tensor, recorded."""
    shape, dtype = meta
    result: Tensor = apply_function(_fitted_node, (g,), {"shape": shape, "dtype": dtype}, "SumBackward1")
    return result


def _fitted_node(g: Node, shape: tuple[int, ...], dtype: Any) -> Node:
    lead = len(g.shape) - len(shape)
    wide = [i for i, n in enumerate(shape, lead) if n == 1 and g.shape[i] != 1]
    total = reshape(sum_axes(g, (*range(lead), *wide)), shape=shape)
    return cast(total, dtype=dtype)  # type: ignore[no-any-return]


# The ends -------------------------------------------------------------------------------------------------


def accumulate(leaf: Tensor, grads: list[Any], recorded: bool) -> None:
    add_to_grad(leaf, grads, recorded)
    if leaf._post_hooks:
        for hook in list(leaf._post_hooks.values()):
            hook(leaf)


def add_to_grad(t: Tensor, grads: list[Any], recorded: bool) -> None:
    """Add the only element of `grads` to t.grad."""
    before = t._grad
    if before is None:
        t._grad = grads[0] if recorded else wrap(_owned(grads))
    elif recorded:
        t._grad = before + grads[0]
    else:
        state.compute(np.add, before._array, grads[0], before._array)
        version_of(before)[0] += 1


_REFERENCES = 3  # the list, the variable here, and getrefcount's argument


def _owned(grads: list[Any]) -> Array:
    """The gradient itself if nobody else holds it, else a copy."""
    g = grads[0]
    if (
        g.__class__ is np.ndarray
        and g.base is None
        and g.flags.writeable
        and g.flags.c_contiguous
        and sys.getrefcount(g) <= _REFERENCES
    ):
        return g  # type: ignore[no-any-return]
    return np.array(g)


# Entry ----------------------------------------------------------------------------------------------------


def useful_records(roots: Sequence[Record], wanted: Container[Edge]) -> set[Record]:
    """The records from which a wanted edge can be reached."""
    reaching: set[Record] = set()
    seen: set[Record] = set()
    stack: list[tuple[Record, bool]] = [(r, False) for r in roots]
    while stack:
        record, done = stack.pop()
        if done:
            if any(e is not None and (e[0] in reaching or e in wanted) for e in record.edges):
                reaching.add(record)
        elif record not in seen:
            seen.add(record)
            stack.append((record, True))
            stack.extend((e[0], False) for e in record.edges if e is not None and e[0] not in seen)
    return reaching


def gradient_edge(t: Tensor) -> Edge | None:
    """Where the gradient of a tensor goes; None if it does not require one."""
    edge = t.edge()
    return sink(t) if edge is None and t._requires else edge


def _start(run: Backward, outputs: Sequence[Tensor], grads: Sequence[Tensor | None]) -> list[Record]:
    """Seed a pass with the gradients of the outputs, ones for scalars."""
    roots = []
    for i, (out, given) in enumerate(zip(outputs, grads, strict=True)):
        edge = gradient_edge(out)
        if edge is None:
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        run.add(*edge, _seed(i, out, given, run.recorded))
        roots.append(edge[0])
    return roots


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
    """
    outputs = _listed(tensors)
    grads = _matching(outputs, grad_tensors)
    run = Backward(create_graph if retain_graph is None else retain_graph, create_graph)
    roots = _start(run, outputs, grads)
    if inputs is None:
        run.run()
        return
    targets = _listed(inputs)
    if not targets:
        raise RuntimeError("'inputs' argument to backward cannot be empty.")
    for t, g in zip(targets, _gathered(run, roots, targets, "One of the inputs"), strict=True):
        if g is not None:
            accumulate(t, [g], create_graph)


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
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the outputs (summed, each times its grad_output) with respect to the inputs.

    Raises RuntimeError where an input does not require grad or is not used (None for that with
    `allow_unused`, zeros with `materialize_grads`).

    >>> import jitgrad
    >>> x = jitgrad.tensor(3.0, requires_grad=True)
    >>> jitgrad.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    if is_grads_batched:
        raise NotImplementedError("is_grads_batched is not available; call grad once for each grad_output")
    if materialize_grads and allow_unused is False:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True")
    listed, targets = _listed(outputs), _listed(inputs)
    run = Backward(create_graph if retain_graph is None else retain_graph, create_graph)
    roots = _start(run, listed, _matching(listed, grad_outputs))
    found = _gathered(run, roots, targets, "One of the differentiated Tensors")
    if materialize_grads:
        zeros = (np.zeros(t._array.shape, t._array.dtype) for t in targets)
        found = [
            (wrap(z) if create_graph else z) if g is None else g for g, z in zip(found, zeros, strict=True)
        ]
    elif not allow_unused and any(g is None for g in found):
        raise RuntimeError(
            "One of the differentiated Tensors appears to not have been used in the graph. Set "
            "allow_unused=True if this is the desired behavior."
        )
    return tuple(g if g is None or create_graph else wrap(np.asarray(g)) for g in found)


def _gathered(run: Backward, roots: list[Record], targets: Sequence[Tensor], what: str) -> list[Any]:
    edges = [gradient_edge(t) for t in targets]
    if any(e is None for e in edges):
        raise RuntimeError(f"{what} does not require grad")
    run.wanted = {edge: None for edge in edges if edge is not None}
    run.useful = useful_records(roots, run.wanted)
    run.run()
    return [run.wanted[edge] for edge in edges if edge is not None]


def _listed(tensors: Any) -> list[Tensor]:
    found = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for t in found:
        if not isinstance(t, Tensor):
            raise TypeError(f"expected a Tensor or a sequence of Tensors, got {type(t).__name__}")
    return found


def _matching(outputs: Sequence[Tensor], grads: Any) -> list[Tensor | None]:
    if grads is None:
        return [None] * len(outputs)
    given = [grads] if isinstance(grads, Tensor) else list(grads)
    if len(given) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(given)} gradients")
    for g in given:
        if g is not None and not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
    return given


def _seed(i: int, out: Tensor, given: Tensor | None, recorded: bool) -> Any:
    array = out._array
    if given is None:
        if array.size != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        ones = np.ones(array.shape, array.dtype)
        return wrap(ones) if recorded else ones
    if given._array.shape != array.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{i}] has a shape of {given.shape} and output[{i}] has a shape of "
            f"{out.shape}."
        )
    if given._array.dtype != array.dtype:
        given = fitted_tensor(given, (array.shape, array.dtype))
    return given if recorded else given._array
