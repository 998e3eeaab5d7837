"""Calls the functions that users registered around records, on the gradients that pass there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.eager.dtypes import TYPE_NAMES, of
from jitgrad.eager.tape import Hooks, Record
from jitgrad.eager.tensor import Tensor, wrap


def call_before(hooks: Hooks, grads: list[Any], recorded: bool) -> None:
    """Show a record's gradients to its outputs' hooks, then to its own; they may replace them."""
    call_on_outputs(hooks, grads, recorded)
    for hook in list(hooks.before.values()):
        answer = hook(_tensors(grads, recorded))
        if answer is not None:
            grads[:] = _replaced(grads, answer, hook, recorded)


def call_on_outputs(hooks: Hooks, grads: list[Any], recorded: bool) -> None:
    for number, hook in list(hooks.on_output.values()):
        answer = hook(_tensor(grads[number], recorded))
        if answer is not None:
            grads[number] = _checked(grads[number], answer, hook, recorded)
    for number, reference in hooks.retained.items():
        kept = reference()
        if kept is not None and grads[number] is not None:
            retain(kept, grads[number], recorded)


def retain(t: Tensor, g: Any, recorded: bool) -> None:
    """Add to the `.grad` of a tensor that is no leaf."""
    before = t._grad
    if recorded:
        t._grad = g if before is None else before + g
    else:
        t._grad = wrap(np.array(g) if before is None else np.asarray(before._array + g))


def call_after(record: Record, results: Sequence[Any], grads: list[Any], recorded: bool) -> Sequence[Any]:
    """Show a record's results to its hooks, with the gradients that they were made from."""
    results = [None if edge is None else g for edge, g in zip(record._edges, results, strict=True)]
    outputs = _tensors(grads, recorded)
    for hook in list(record._hooks.after.values() if record._hooks else ()):
        answer = hook(_tensors(results, recorded), outputs)
        if answer is not None:
            results = _replaced(results, answer, hook, recorded)
    return results


def _tensor(g: Any, recorded: bool) -> Any:
    return g if recorded or g is None else wrap(np.asarray(g))


def _tensors(grads: Sequence[Any], recorded: bool) -> tuple[Any, ...]:
    return tuple([_tensor(g, recorded) for g in grads])


def _replaced(grads: Sequence[Any], answer: Any, hook: Any, recorded: bool) -> list[Any]:
    if not isinstance(answer, tuple):
        raise TypeError(f"expected tuple, but hook returned '{type(answer).__name__}'")
    if len(answer) != len(grads):
        raise RuntimeError(
            f"hook '{_name(hook)}' has returned an incorrect number of values (got {len(answer)}, but "
            f"expected {len(grads)})"
        )
    return [_checked(before, g, hook, recorded) for before, g in zip(grads, answer, strict=True)]


def _checked(before: Any, g: Any, hook: Any, recorded: bool) -> Any:
    if g is None:
        return None
    if not isinstance(g, Tensor):
        raise TypeError(f"expected Variable, but hook returned '{type(g).__name__}'")
    if before is None:
        raise RuntimeError("can't replace a None gradient with a non-None value")
    given, expected = g._array, before._array if recorded else before
    if given.dtype != expected.dtype:
        was, got = (f"torch.{TYPE_NAMES.get(of(d), 'Tensor')}" for d in (expected.dtype, given.dtype))
        raise RuntimeError(f"hook '{_name(hook)}' has changed the type of value (was {was} got {got})")
    if given.shape != expected.shape:
        raise RuntimeError(f"hook '{_name(hook)}' has changed the size of value")
    return g if recorded else given


def _name(hook: Any) -> str:
    return getattr(hook, "__name__", type(hook).__name__)
