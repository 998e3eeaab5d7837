"""Applies ops and functions of ops to tensors: computes, and records where a gradient is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from jitgrad.eager.dtypes import Array, Number
from jitgrad.eager.modes import state
from jitgrad.eager.plan import LARGE, Mask, Plan, plan, reads
from jitgrad.eager.tape import FREED_TWICE, AccumulateGrad, Edge, Meta, Packed, Record, named, sink, unpacked
from jitgrad.eager.tensor import Tensor, version_of, wrap
from jitgrad.ir import Aval, Op
from jitgrad.ops.table import times

Params = dict[str, Any]
_ndarray = np.ndarray


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
            edge = x._edge if x._view is None else x._gradient_edge()
            if edge is None and x._requires:
                edge = sink(x)
            if edge is not None:
                needed = True
        edges.append(edge)
    return tuple(edges) if needed else None


def saved(array: Any, source: Any) -> Any:
    """What the tape keeps of an array that belongs to a tensor, or to none."""
    if state.saved_hooks and isinstance(array, np.ndarray):
        return _packed(array, source)
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


def _packed(array: Any, source: Any) -> Packed:
    """What the innermost hooks make of a value; they see the tensor with its place on the tape."""
    pack, unpack = state.saved_hooks[-1]
    own = isinstance(source, Tensor) and source._array is array
    shown = source if own and source.is_leaf else wrap(np.asarray(array))
    if own:
        shown._version_box = version_of(source)
        shown._edge = source._gradient_edge()
    version = shown._version
    hooks, state.saved_hooks = state.saved_hooks, []
    before, state.grad = state.grad, False
    try:
        content = pack(shown)
    finally:
        state.saved_hooks, state.grad = hooks, before
    if shown._version != version:
        raise RuntimeError(
            "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack "
            "hook cannot be modified by in-place operations as this can lead to unexpected side-effects."
        )
    if content is shown and shown._edge is not None:
        content = shown.detach()  # a record must not keep itself alive through its result
    return Packed(content, unpack)


# Ops ------------------------------------------------------------------------------------------------------


class OpRecord(Record):
    """An op of the table: its derivative rule runs on arrays as it is.

    `_values` has the op's arguments and its result as far as the rule reads them, None in place of others;
    `signature` the shapes and dtypes of all, which rules other than partial derivatives may need.
    """

    op: Op
    params: Params
    signature: tuple[Meta, ...] | None = None

    def kept(self, place: int) -> Any:
        values = self.saved()
        return values[place] if values else None

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        saved = self._values
        if saved is None:
            raise RuntimeError(FREED_TWICE)
        values = [
            v[0] if v.__class__ is tuple and v[1][0] == v[2] else v if v is None else self._read(v)
            for v in saved or (None,) * (len(self._edges) + 1)
        ]
        if self.signature is not None:
            values = [Aval(*m) if v is None else v for v, m in zip(values, self.signature, strict=True)]
        return state.compute(_cotangents, self.op, self.params, self._edges, grads[0], values)

    def _read(self, value: Any) -> Any:
        """A saved value; a Python number, which refuses to be divided by 0, in the dtype of the result."""
        if isinstance(value, Number):
            return self._metas[0][1].type(value)
        return unpacked(value, self.name())

    def backward_recorded(self, grads: list[Any]) -> Sequence[Any]:
        needed = tuple(edge is not None for edge in self._edges)
        values = self.saved() or (None,) * (len(self._edges) + 1)
        signature = tuple([self._meta(i, values[i]) for i in range(len(self._edges))])
        of_op = plan(self.op, tuple(self.params.items()), signature)
        return recorded_adjoint(self, of_op, needed, grads, values)

    def _meta(self, i: int, value: Any) -> Meta:
        """The shape and dtype that an operand was computed with."""
        if self.signature is not None:
            return self.signature[i]
        array, edge = value[0] if value.__class__ is tuple else value, self._edges[i]
        if isinstance(array, (np.ndarray, np.generic)):
            return array.shape, array.dtype
        shape, dtype = self._metas[0]
        if edge is not None:
            return edge[0]._metas[edge[1]][0], dtype
        return (() if isinstance(array, Number) else shape), dtype


def _cotangents(op: Op, params: Params, edges: Any, g: Any, values: list[Any]) -> Sequence[Any]:
    *args, out = values
    if op.partials is None:
        return op.vjp(g, out, *args, **params)  # type: ignore[misc]
    return [
        None
        if edge is None
        else np.zeros_like(g)
        if partial is None
        else times(g, partial(out, *args, **params))
        for edge, partial in zip(edges, op.partials, strict=True)
    ]


def aval_of(value: Any) -> Aval:
    if isinstance(value, (bool, int, float)):
        return Aval((), np.asarray(value).dtype, weak=True)
    return Aval(np.shape(value), value.dtype)


def apply_op(op: Op, operands: Sequence[Any], params: Params, name: str) -> Tensor:
    arrays = arrays_of(operands)
    if op.kind in ("map", "reduce"):
        for a in arrays:
            if a.__class__ is _ndarray and a.size >= LARGE:
                return apply_function(op, operands, params, name)  # type: ignore[no-any-return]
    result = state.compute(op.numpy, *arrays, **params)
    out = wrap(result if result.__class__ is _ndarray else np.asarray(result))
    edges = edges_of(operands)
    if edges is not None and out._array.dtype.kind == "f":
        record_op(op, operands, arrays, params, named(OpRecord, name), out, edges)
    return out


def record_op(
    op: Op, operands: Sequence[Any], arrays: list[Any], params: Params, kind: Any, out: Tensor, edges: Any
) -> None:
    """Put an op that has been computed on the tape, as a record of this kind."""
    needed = tuple([edge is not None for edge in edges])
    if (op, needed) not in _KEEP:
        _KEEP[op, needed] = _to_keep(op, params, arrays, needed)
    keep = _KEEP[op, needed]
    if keep is None:
        record_plan(plan_of(op, params, arrays), operands, arrays, kind.__name__, (out,), edges)
        return
    array = out._array
    record = kind(edges, ((array.shape, array.dtype),))
    record.op = op
    record.params = params
    out._edge = (record, 0)
    if op.partials is None:
        record.signature = tuple([(a.shape, a.dtype) for a in (*arrays, array)])
    if keep:
        count = len(arrays)
        values: list[Any] = [None] * (count + 1)
        for i in keep:
            values[i] = saved(arrays[i], operands[i]) if i < count else saved(array, out)
        record._values = values


_KEEP: dict[tuple[Op, Mask], tuple[int, ...] | None] = {}


def _to_keep(op: Op, params: Params, arrays: list[Any], needed: Mask) -> tuple[int, ...] | None:
    """Which of an op's arguments and (last) its result to save; None if its rule cannot run as it is.

    It cannot where it would also compute cotangents that are not needed, from values that are not saved.
    """
    avals = [aval_of(a) for a in arrays]
    found = reads(op, params, avals, needed)
    every = tuple([isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in arrays])
    if op.partials is None and reads(op, params, avals, every) != found:
        return None
    return found


# Functions of ops -----------------------------------------------------------------------------------------


class PlanRecord(Record):
    """A traced function: its derivative is the adjoint of its graph.

    `_values` are the inputs and outputs that the adjoint reads.
    """

    plan: Plan
    needed: Mask

    def kept(self, place: int) -> Any:
        return dict(zip(self.plan.adjoint(self.needed).reads, self.saved(), strict=True)).get(place)

    def backward(self, grads: list[Array | None]) -> Sequence[Any]:
        adjoint = self.plan.adjoint(self.needed)
        name = self.name()
        values = [unpacked(v, name) for v in self.saved()]
        results = state.compute(adjoint.evaluate, [*self._seeds(grads), *values])
        return spread_out(results, self.needed)

    def _seeds(self, grads: list[Any]) -> list[Any]:
        return [np.zeros(*meta) if g is None else g for g, meta in zip(grads, self._metas, strict=True)]

    def backward_recorded(self, grads: list[Any]) -> Sequence[Any]:
        adjoint, kept = self.plan.adjoint(self.needed), self.saved()
        values: list[Any] = [None] * (len(self._edges) + len(self._metas))
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
    operands = [wrap(np.zeros(*m)) if g is None else g for g, m in zip(grads, record._metas, strict=True)]
    for node, place in zip(adjoint.graph.inputs[len(operands) :], adjoint.reads, strict=True):
        operands.append(tensor_again(record, place, values[place], node.dtype))
    name = f"{record.name().rstrip('0123456789')}Backward0"
    return spread_out(run_plan(adjoint.plan(), operands, [t._array for t in operands], name), needed)


def tensor_again(record: Record, place: int, value: Any, dtype: np.dtype[Any]) -> Tensor:
    """A saved value as the tensor that it was, with its place on the tape."""
    array = unpacked(value, record.name())
    count = len(record._edges)
    edge = (record, place - count) if place >= count else record._edges[place]
    if edge is not None and isinstance(edge[0], AccumulateGrad) and array is edge[0].variable._array:
        return edge[0].variable  # type: ignore[no-any-return]
    out = wrap(np.asarray(array, dtype))
    out._edge = edge
    return out


# What records show of it, under PyTorch's names.

_PLACES = {"_saved_self": 0, "_saved_other": 1, "_saved_exponent": 1, "_saved_mat2": 1, "_saved_result": -1}


def _saved_at(record: Any, place: int) -> Tensor | None:
    """What a record keeps of an operand or (last) its result; None if nothing."""
    place %= len(record._edges) + len(record._metas)
    value = record.kept(place)
    if value is None:
        return None
    array = np.asarray(unpacked(value, record.name()))
    return tensor_again(record, place, value, array.dtype)


for _kind in (OpRecord, PlanRecord):
    for _name, _place in _PLACES.items():
        setattr(_kind, _name, property(partial(_saved_at, place=_place)))


def plan_of(function: Callable[..., Any], params: Params, arrays: Sequence[Any]) -> Plan:
    return plan(function, tuple(params.items()), tuple([(a.shape, a.dtype) for a in arrays]))


def apply_function(
    function: Callable[..., Any],
    operands: Sequence[Any],
    params: Params,
    name: str,
    arrays: Sequence[Any] | None = None,
) -> Any:
    """The result of a composite, or of any function of ops, on tensors and NumPy scalars.

    It is recorded as one step with this name (as in "MeanBackward0"). `arrays` stand for the operands where
    they have been cast: the function promotes as NumPy does. A function that returns a tuple gives a tuple.
    """
    given = [a if a.__class__ is _ndarray else np.asarray(a) for a in arrays or arrays_of(operands)]
    results = run_plan(plan_of(function, params, given), operands, given, name)
    return results[0] if len(results) == 1 else results


def run_plan(made: Plan, operands: Sequence[Any], arrays: list[Array], name: str) -> Sequence[Tensor]:
    outputs = [wrap(a) for a in state.compute(made.run, arrays)]
    edges = edges_of(operands)
    if edges is not None and any(o._array.dtype.kind == "f" for o in outputs):
        record_plan(made, operands, arrays, name, outputs, edges)
    return outputs if len(outputs) == 1 else tuple(outputs)


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
    record._values = [saved(values[i], sources[i]) for i in made.adjoint(needed).reads] or ()
