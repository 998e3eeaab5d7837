"""Runs the tape backwards: youngest record first, each once, without recursion."""

from __future__ import annotations

import heapq
import sys
import threading
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jitgrad.eager.dispatch import apply_function
from jitgrad.eager.dtypes import Array
from jitgrad.eager.hooks import call_after, call_before, call_on_outputs
from jitgrad.eager.modes import state
from jitgrad.eager.tape import AccumulateGrad, Edge, Meta, Record
from jitgrad.eager.tensor import Tensor, version_of, wrap
from jitgrad.ir import Node
from jitgrad.ops.structure import cast, reshape, sum_axes


class Backward:
    """One backward pass.

    Gradients are arrays, or tensors where `create_graph` asks that the pass is recorded itself. `wanted` are
    the edges whose gradients are to be returned; then only `useful` records run.
    """

    def __init__(self, retain_graph: bool | None, create_graph: bool) -> None:
        self.retain = create_graph if retain_graph is None else retain_graph
        self.recorded = create_graph
        self.anomaly = state.anomaly
        self.roots: list[Record] = []
        self.pending: dict[Record, list[Any]] = {}
        self.queue: list[tuple[float, Record]] = []
        self.wanted: dict[Edge, Any] = {}
        self.useful: set[Record] | None = None
        self.reached: set[Record] | None = None

    def run(self) -> None:
        before = state.grad, state.running
        state.grad, state.running = self.recorded, self
        pending, queue, recorded = self.pending, self.queue, self.recorded
        try:
            while queue:
                record = heapq.heappop(queue)[1]
                grads = pending.pop(record)
                if self.useful is not None and not self._collect(record, grads):
                    continue
                if record._hooks is not None:
                    call_before(record._hooks, grads, recorded)
                    if not record.takes_undefined and all(g is None for g in grads):
                        continue
                if record.__class__ is AccumulateGrad:
                    _accumulate(record, grads, recorded)
                else:
                    self._send(record, self._results(record, grads))
        finally:
            state.grad, state.running = before

    def _collect(self, record: Record, grads: list[Any]) -> bool:
        """Keep the wanted gradients; return whether the record runs.

        As in PyTorch, hooks on a tensor have changed its returned gradient only where the pass ends there.
        """
        assert self.useful is not None
        runs = record in self.useful
        if not runs and record._hooks is not None:
            call_on_outputs(record._hooks, grads, self.recorded)
        for number, g in enumerate(grads):
            if (record, number) in self.wanted:
                self.wanted[record, number] = g
        return runs

    def _results(self, record: Record, grads: list[Any]) -> Sequence[Any]:
        try:
            if self.anomaly:
                results = _watched(record, grads, self.recorded)
            elif self.recorded:
                results = record.backward_recorded(grads)
            else:
                results = record.backward(grads)
        except np.linalg.LinAlgError as error:
            raise RuntimeError(f"{record.name()}: {error}") from None
        if not self.retain and record._values.__class__ is list:
            record._values = None
        if record._hooks is not None and record._hooks.after:
            results = call_after(record, results, grads, self.recorded)
        return results

    def _send(self, sender: Record, results: Sequence[Any]) -> None:
        """Add a record's results to what its operands' gradients are so far."""
        recorded, useful = self.recorded, self.useful
        for edge, g in zip(sender._edges, results, strict=True):
            if edge is None or g is None:
                continue
            record, number = edge
            if useful is not None and record not in useful and edge not in self.wanted:
                continue
            meta = record._metas[number]
            array = g._array if recorded else g
            if array.shape != meta[0] or array.dtype is not meta[1]:
                if not _expandable(meta[0], array.shape):
                    raise _misfit(sender, edge, array, meta)
                g = fitted_tensor(g, meta) if recorded else state.compute(fitted, g, meta)
            self.add(record, number, g)

    def add(self, record: Record, number: int, g: Any) -> None:
        """Add a contribution to the gradient of one output of a record."""
        grads = self.pending.get(record)
        if grads is None:
            grads = self.pending[record] = [None] * len(record._metas)
            heapq.heappush(self.queue, (-record._sequence, record))
        before = grads[number]
        if before is None:
            grads[number] = g
        else:
            grads[number] = before + g if self.recorded else state.compute(np.add, before, g)

    def reaches(self, record: Record) -> bool:
        """Whether the pass comes to a record, as far as the graph tells."""
        if self.useful is not None:
            return record in self.useful or any(target is record for target, _ in self.wanted)
        if self.reached is None:
            self.reached = records_below(self.roots)
        return record in self.reached

    def aim(self, edges: Iterable[Edge]) -> set[Record]:
        """Let only what leads to these edges run, and collect their gradients; return what runs."""
        self.wanted = dict.fromkeys(edges)
        oldest = min(record._sequence for record, _ in self.wanted)
        useful = self.useful = set()
        for record in sorted(records_below(self.roots, oldest), key=lambda r: r._sequence):
            if any(e is not None and (e in self.wanted or e[0] in useful) for e in record._edges):
                useful.add(record)
        return useful


def records_below(roots: Iterable[Record], oldest: float = -1.0) -> set[Record]:
    """The roots and all that they point to, directly or not, as far as it is younger than `oldest`."""
    seen = {r for r in roots if r._sequence > oldest}
    stack = list(seen)
    while stack:
        for edge in stack.pop()._edges:
            if edge is not None and edge[0]._sequence > oldest and edge[0] not in seen:
                seen.add(edge[0])
                stack.append(edge[0])
    return seen


# Anomalies ------------------------------------------------------------------------------------------------


def _watched(record: Record, grads: list[Any], recorded: bool) -> Sequence[Any]:
    """A record's results; an error or a NaN is reported with the line that made the record."""
    before, state.evaluating = state.evaluating, record
    try:
        results = record.backward_recorded(grads) if recorded else record.backward(grads)
    except Exception:
        _report(record)
        raise
    finally:
        state.evaluating = before
    if state.check_nan:
        for i, (g, edge) in enumerate(zip(results, record._edges, strict=True)):
            if g is not None and edge is not None and np.isnan(g._array if recorded else g).any():
                _report(record)
                raise RuntimeError(
                    f"Function '{type(record).__name__}' returned nan values in its {i}th output."
                )
    return results


def _report(record: Record) -> None:
    if record._trace is None:
        _warn(
            f"Error detected in {type(record).__name__}. No forward pass information available. Enable "
            "detect anomaly during forward pass for more information."
        )
        return
    stack, parent = record._trace
    _warn(
        f"Error detected in {type(record).__name__}. Traceback of forward call that caused "
        f"the error:\n{stack}"
    )
    while parent is not None:
        stack, above = parent._trace or ("", None)
        _warn(
            f"\n\nPrevious calculation was induced by {type(parent).__name__}. Traceback of forward call "
            f"that induced the previous calculation:\n{stack}"
        )
        parent = above


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=2)


# Fitting gradients to what they belong to -----------------------------------------------------------------


def fitted(g: Any, meta: Meta) -> Any:
    """A gradient in the shape and dtype of its tensor: summed where the tensor was broadcast."""
    shape, dtype = meta
    if g.shape != shape:
        lead = len(g.shape) - len(shape)
        wide = [i for i, n in enumerate(shape, lead) if n == 1 and g.shape[i] != 1]
        g = sum_axes(np.asarray(g), (*range(lead), *wide)).reshape(shape)
    return g if g.dtype == dtype else g.astype(dtype)


def _expandable(shape: tuple[int, ...], wider: tuple[int, ...]) -> bool:
    lead = len(wider) - len(shape)
    return lead >= 0 and all(n in (1, m) for n, m in zip(shape, wider[lead:], strict=True))


def _misfit(sender: Record, edge: Edge, g: Array, meta: Meta) -> RuntimeError:
    return RuntimeError(
        f"Function {type(sender).__name__} returned an invalid gradient at index {sender._edges.index(edge)} "
        f"- got {list(g.shape)} but expected shape compatible with {list(meta[0])}"
    )


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

_accumulating = threading.Lock()  # passes in several threads may end at the same leaf


def _accumulate(record: AccumulateGrad, grads: list[Any], recorded: bool) -> None:
    leaf = record.variable
    if grads[0] is not None:
        _add_to_grad(leaf, grads, recorded)
    if leaf._post_hooks:
        for hook in list(leaf._post_hooks.values()):
            answer = hook(leaf)
            if answer is not None:
                raise TypeError(f"expected Variable, but hook returned '{type(answer).__name__}'")
    if record._hooks is not None and record._hooks.after:
        call_after(record, (), grads, recorded)


def _add_to_grad(leaf: Tensor, grads: list[Any], recorded: bool) -> None:
    """Add the only element of `grads` to leaf.grad: in place, unless the pass is recorded."""
    if recorded:
        before = leaf._grad
        copied = apply_function(_same, (grads[0],), {}, "CopyBackwards") if before is None else None
        leaf._grad = copied if before is None else before + grads[0]
        return
    with _accumulating:
        before = leaf._grad
        if before is None:
            leaf._grad = wrap(_owned(grads, leaf._array))
            return
        state.compute(np.add, before._array, grads[0], before._array)
        version_of(before)[0] += 1


def _same(x: Node) -> Node:
    return x


_REFERENCES = 3  # the list, the variable here, and getrefcount's argument


def _owned(grads: list[Any], leaf: Array) -> Array:
    """The gradient itself if nobody else holds it and it is laid out as the leaf, else a copy that is."""
    g = grads[0]
    if (
        g.__class__ is np.ndarray
        and g.base is None
        and g.flags.writeable
        and g.flags.c_contiguous
        and leaf.flags.c_contiguous
        and sys.getrefcount(g) <= _REFERENCES
    ):
        return g
    kept: Array = np.empty_like(leaf)
    np.copyto(kept, g)
    return kept
