"""Applies ops and functions of ops to tensors: computes, and records where a gradient is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.eager.dtypes import Array
from jitgrad.eager.modes import state
from jitgrad.eager.plan import LARGE, Mask, Plan, plan, reads
from jitgrad.eager.tape import Edge, Meta, Packed, Record, named, sink, unpacked
from jitgrad.eager.tensor import Tensor, version_of, wrap
from jitgrad.ir import Aval, Op
from jitgrad.ops.table import times

Params = dict[str, Any]
_NO_PARAMS: Params = {}
_ndarray = np.ndarray


def apply(function: Callable[..., Any], operands: Sequence[Any], params: Params | None, name: str) -> Any:
    """The result of an op, a composite or any function of ops on tensors and NumPy scalars.

    It is recorded as one step with this name (as in "MeanBackward0"). Operands must have the dtypes that the
    function should compute in: it promotes as NumPy does. A function that returns a tuple gives a tuple.
    """
    if isinstance(function, Op):
        return apply_op(function, operands, params or _NO_PARAMS, name)
    return apply_function(function, operands, params or _NO_PARAMS, name)


def arrays_of(operands: Sequence[Any]) -> list[Any]:
    return [x._array if isinstance(x, Tensor) else x for x in operands]


def edges_of(operands: Sequence[Any]) -> tuple[Edge | None, ...] | None:
    """Where the gradient of each operand goes; None if nothing is to be recorded."""
    if not state.grad:
        return None
    needed = False
    edges = []
    for x in operands:
        edge = None
        if isinstance(x, Tensor):
            edge = x._edge if x._view is None else x.edge()
            if edge is None and x._requires:
                edge = sink(x)
            if edge is not None:
                needed = True
        edges.append(edge)
    return tuple(edges) if needed else None


def saved(array: Any, source: Any) -> Any:
    """What the tape keeps of an array that belongs to a tensor, or to none."""
    if state.saved_hooks:
        return _packed(array)
    if not isinstance(source, Tensor) or source._array is not array:
        return array
    if source._inference:
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. To work around you can make a clone to get a "
            "normal tensor and use it in autograd."
        )
    version = source._version_box
    if version is None:
        version = source._version_box = [0]
    return array, version, version[0]


def _packed(array: Any) -> Packed:
    pack, unpack = state.saved_hooks[-1]
    hooks, state.saved_hooks = state.saved_hooks, []
    before, state.grad = state.grad, False
    try:
        return Packed(pack(wrap(np.asarray(array))), unpack)
    finally:
        state.saved_hooks, state.grad = hooks, before


# Ops ------------------------------------------------------------------------------------------------------


class OpRecord(Record):
    """An op of the table: its derivative rule runs on arrays as it is.

    `values` are the op's arguments followed by its result; in place of those that the rule does not read
    there is what is known of them.
    """

    op: Op
    params: Params

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        *args, out = [v if v is None else unpacked(v, self.name()) for v in self.saved()]
        return state.compute(_cotangents, self.op, self.params, self.edges, grads[0], out, args)

    def backward_recorded(self, grads: list[Any]) -> Sequence[Any]:
        needed = tuple(edge is not None for edge in self.edges)
        avals = tuple(self._aval(i) for i in range(len(self.edges)))
        of_op = plan(self.op, tuple(sorted(self.params.items())), avals)
        return recorded_adjoint(self, of_op, needed, grads, self.saved())

    def _aval(self, i: int) -> Aval:
        value, edge = self.values[i], self.edges[i]
        if value.__class__ is tuple:
            return Aval(value[0].shape, value[0].dtype)
        if value is not None and not isinstance(value, Packed):
            return value if isinstance(value, Aval) else aval_of(value)
        shape, dtype = self.metas[0]
        return Aval(shape if edge is None else edge[0].metas[edge[1]][0], dtype)


def _cotangents(op: Op, params: Params, edges: Any, g: Any, out: Any, args: list[Any]) -> Sequence[Any]:
    if op.partials is None:
        return op.vjp(g, out, *args, **params)  # type: ignore[misc, no-any-return]
    return [
        None if edge is None else times(g, partial(out, *args))
        for edge, partial in zip(edges, op.partials, strict=True)
    ]


def aval_of(value: Any) -> Aval:
    if isinstance(value, (bool, int, float)):
        return Aval((), np.asarray(value).dtype, weak=True)
    return Aval(np.shape(value), value.dtype)


def apply_op(op: Op, operands: Sequence[Any], params: Params, name: str) -> Tensor:
    arrays = arrays_of(operands)
    if op.kind in ("map", "reduce") and any(a.size >= LARGE for a in arrays if a.__class__ is _ndarray):
        return apply_function(op, operands, params, name)  # type: ignore[no-any-return]
    result = state.compute(op.numpy, *arrays, **params)
    out = wrap(result if result.__class__ is _ndarray else np.asarray(result))
    edges = edges_of(operands)
    if edges is not None and out._array.dtype.kind == "f":
        record_op(op, operands, arrays, params, name, out, edges)
    return out


def record_op(
    op: Op, operands: Sequence[Any], arrays: list[Any], params: Params, name: str, out: Tensor, edges: Any
) -> None:
    """Put an op on the tape that has been computed."""
    needed = tuple([edge is not None for edge in edges])
    kept = _KEPT.get((op, needed))
    if kept is None:
        kept = _KEPT[op, needed] = _to_keep(op, params, arrays, needed)
    reads_arguments, reads_result, directly = kept
    if not directly:
        record_plan(plan_of(op, params, arrays), operands, arrays, name, (out,), edges)
        return
    array = out._array
    record = named(OpRecord, name)(edges, ((array.shape, array.dtype),))
    record.op = op
    record.params = params
    out._edge = (record, 0)
    known = op.kind != "map"
    values = [
        saved(a, x) if wanted else aval_of(a) if known else None
        for a, x, wanted in zip(arrays, operands, reads_arguments, strict=True)
    ]
    values.append(saved(array, out) if reads_result else aval_of(array) if known else None)
    record.values = values


_KEPT: dict[tuple[Op, Mask], tuple[Mask, bool, bool]] = {}


def _to_keep(op: Op, params: Params, arrays: list[Any], needed: Mask) -> tuple[Mask, bool, bool]:
    """Which arguments to save, whether to save the result, and whether the op's rule can run as it is.

    It cannot where it would also compute cotangents that are not needed from values that are not saved.
    """
    avals = [aval_of(a) for a in arrays]
    *arguments, result = reads(op, params, avals, needed)
    every = tuple([isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in arrays])
    directly = op.partials is not None or reads(op, params, avals, every) == (*arguments, result)
    return tuple(arguments), result, directly


# Functions of ops -----------------------------------------------------------------------------------------


class PlanRecord(Record):
    """A traced function: its derivative is the adjoint of its graph.

    `values` are the inputs and outputs that the adjoint reads.
    """

    plan: Plan
    needed: Mask

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        adjoint = self.plan.adjoint(self.needed)
        name = self.name()
        values = [unpacked(v, name) for v in self.saved()]
        results = state.compute(adjoint.evaluate, [*self._seeds(grads), *values])
        return spread_out(results, self.needed)

    def _seeds(self, grads: list[Any]) -> list[Any]:
        return [np.zeros(*meta) if g is None else g for g, meta in zip(grads, self.metas, strict=True)]

    def backward_recorded(self, grads: list[Any]) -> Sequence[Any]:
        adjoint, kept = self.plan.adjoint(self.needed), self.saved()
        values: list[Any] = [None] * (len(self.edges) + len(self.metas))
        for place, value in zip(adjoint.reads, kept, strict=True):
            values[place] = value
        return recorded_adjoint(self, self.plan, self.needed, grads, values)


def spread_out(results: Sequence[Any], needed: Mask) -> list[Any]:
    """One entry for each operand, None where no gradient is needed."""
    given = iter(results)
    return [next(given) if need else None for need in needed]


def recorded_adjoint(
    record: Record, of: Plan, needed: Mask, grads: Sequence[Any], values: Sequence[Any]
) -> Sequence[Any]:
    """Run an adjoint on tensors, as an operation that is recorded in turn."""
    adjoint = of.adjoint(needed)
    seeds = [wrap(np.zeros(*m)) if g is None else g for g, m in zip(grads, record.metas, strict=True)]
    operands = [*seeds, *(tensor_again(record, i, values[i]) for i in adjoint.reads)]
    name = f"{record.name().rstrip('0123456789')}Backward0"
    arrays = [np.asarray(a) for a in arrays_of(operands)]
    return spread_out(run_plan(adjoint.plan(), operands, arrays, name), needed)


def tensor_again(record: Record, place: int, value: Any) -> Any:
    """A saved value as the tensor that it was, with its place on the tape."""
    array = unpacked(value, record.name())
    count = len(record.edges)
    edge = (record, place - count) if place >= count else record.edges[place]
    if edge is not None and hasattr(edge[0], "variable"):
        return edge[0].variable
    out = wrap(np.asarray(array))
    out._edge = edge
    return out


def plan_of(function: Callable[..., Any], params: Params, arrays: Sequence[Any]) -> Plan:
    return plan(function, tuple(sorted(params.items())), tuple([Aval(a.shape, a.dtype) for a in arrays]))


def apply_function(
    function: Callable[..., Any],
    operands: Sequence[Any],
    params: Params,
    name: str,
    arrays: Sequence[Any] | None = None,
) -> Any:
    """Like apply, for a function; `arrays` stand for the operands where they have been cast."""
    arrays = [np.asarray(a) for a in (arrays_of(operands) if arrays is None else arrays)]
    made = plan_of(function, params, arrays)
    results = run_plan(made, operands, arrays, name)
    return results[0] if len(results) == 1 else results


def run_plan(made: Plan, operands: Sequence[Any], arrays: list[Array], name: str) -> tuple[Tensor, ...]:
    results = state.compute(made.evaluate, arrays)
    given = {id(a) for a in arrays}
    outputs = tuple(wrap(_own(r, given)) for r in results)
    edges = edges_of(operands)
    if edges is not None and any(o._array.dtype.kind == "f" for o in outputs):
        record_plan(made, operands, arrays, name, outputs, edges)
    return outputs


def _own(array: Array, given: set[int]) -> Array:
    """The array in memory of its own."""
    if id(array) in given or isinstance(array.base, np.ndarray) and id(array.base) in given:
        return array.copy()
    return array if array.flags.writeable else array.copy()


def record_plan(
    made: Plan,
    operands: Sequence[Any],
    arrays: list[Any],
    name: str,
    outputs: Sequence[Tensor],
    edges: tuple[Edge | None, ...],
) -> None:
    """Put a traced function on the tape that has been computed."""
    needed = tuple([edge is not None for edge in edges])
    metas: tuple[Meta, ...] = tuple([(o._array.shape, o._array.dtype) for o in outputs])
    record: Record = named(PlanRecord, name)(edges, metas)
    record.plan = made  # type: ignore[attr-defined]
    record.needed = needed  # type: ignore[attr-defined]
    for number, out in enumerate(outputs):
        if out._array.dtype.kind == "f":
            out._edge = (record, number)
    sources = (*operands, *outputs)
    values = [*arrays, *(o._array for o in outputs)]
    record.values = [saved(values[i], sources[i]) for i in made.adjoint(needed).reads]
