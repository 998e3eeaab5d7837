"""Runs update rules: functions of ops from a parameter, its state and its gradient to their next values.

A rule is called as rule(*states, param, grad, *numbers, **options) and returns the next (*states, param).
Small arrays are computed by NumPy; for large ones the rule becomes one kernel that reads and writes each
array once, in place: into the first that is free, so states come in the order in which the rule computes
them. Numbers that change between steps, such as learning rates, are arguments of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from jitgrad.eager.inplace import guard
from jitgrad.eager.modes import state
from jitgrad.eager.plan import Evaluator, Signature, trace
from jitgrad.eager.tensor import Tensor, version_of
from jitgrad.ir import Aval
from jitgrad.rewrite import simplify

Rule = Callable[..., tuple[Any, ...]]


@lru_cache(maxsize=2048)
def _evaluator(rule: Rule, options: Hashable, signature: Signature, written: int) -> Evaluator:
    avals = [Aval(shape, dtype) for shape, dtype in signature]
    graph = trace(rule, avals, dict(options))  # type: ignore[call-overload]
    return Evaluator(simplify(graph), donated=range(written))


def update(
    rule: Rule, param: Tensor, states: Sequence[Tensor], numbers: Sequence[float], **options: Hashable
) -> None:
    """Write the next values, by a rule, into a parameter that has a gradient and into its states."""
    guard(param)
    assert param._grad is not None
    written = [*states, param]
    own, grad = [t._array for t in written], param._grad._array
    scalars = [np.asarray(x, grad.dtype) for x in numbers]
    signature = tuple([(a.shape, a.dtype) for a in (*own, grad, *scalars)])
    evaluate = _evaluator(rule, tuple(options.items()), signature, len(own))
    if evaluate.worth_compiling and any(np.may_share_memory(grad, a) for a in own):
        grad = grad.copy()
    values = state.compute(evaluate, [*own, grad, *scalars])
    if any(value is other for value in values for other in own):
        values = [v if v is array else v.copy() for v, array in zip(values, own, strict=True)]
    for t, array, value in zip(written, own, values, strict=True):
        if value is not array:
            np.copyto(array, value)
        version_of(t)[0] += 1
