"""A call with PyTorch and with jitgrad: values, grad_fns, first and second derivatives, errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import jitgrad
import jitgrad.autograd

Array = np.ndarray[Any, Any]
Call = Callable[..., Any]  # of the library and its tensors


def tensors(library: Any, arrays: Sequence[Array]) -> list[Any]:
    made = [library.tensor(a.tolist(), dtype=getattr(library, a.dtype.name)) for a in arrays]
    return [t.reshape(a.shape).requires_grad_(a.dtype.kind == "f") for t, a in zip(made, arrays, strict=True)]


def outputs_of(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


def weights(shape: Sequence[int]) -> list[float]:
    """A fixed direction."""
    return np.cos(1 + np.arange(int(np.prod(shape)))).reshape(tuple(shape)).tolist()  # type: ignore[no-any-return]


def projected(library: Any, outputs: Sequence[Any]) -> Any:
    parts = [(o * library.tensor(weights(o.shape), dtype=o.dtype).reshape(o.shape)).sum() for o in outputs]
    return sum(parts[1:], parts[0])


def derivatives(library: Any, outputs: Sequence[Any], inputs: Sequence[Any], again: bool) -> list[Any]:
    """The first derivatives along a direction, and with `again` those of another projection of them."""
    grads = library.autograd.grad(projected(library, outputs), inputs, create_graph=again, allow_unused=True)
    found = list(grads)
    moving = [g for g in grads if g is not None and g.requires_grad]
    if again:
        second = (
            library.autograd.grad(projected(library, moving), inputs, allow_unused=True) if moving else ()
        )
        found += second or [None] * len(inputs)
    return found


def evaluated(library: Any, call: Call, arrays: Sequence[Array], again: bool) -> tuple[list[Any], list[str]]:
    """Values, derivatives in order, and the names of the steps that made the outputs."""
    inputs = tensors(library, arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = [o for o in outputs_of(call(library, *inputs)) if isinstance(o, library.Tensor)]
    names = [type(o.grad_fn).__name__ for o in outputs]
    found: list[Any] = list(outputs)
    moving, sources = [o for o in outputs if o.requires_grad], [i for i in inputs if i.requires_grad]
    if moving:
        found += derivatives(library, moving, sources, again)
    return found, names


def as_array(value: Any) -> Array:
    found = np.array(value.detach().clone().tolist(), str(value.dtype).removeprefix("torch."))
    return found.reshape(tuple(value.shape))


def _zeros_for_none(values: list[Any], others: list[Any]) -> list[Array]:
    """Arrays; where a derivative is absent in one library it must be zero in the other."""
    pairs = zip(values, others, strict=True)
    return [
        np.zeros(()) if v is None and o is None else as_array(o) * 0 if v is None else as_array(v)
        for v, o in pairs
    ]


def assert_same(
    call: Call, *arrays: Array, again: bool = True, named: bool = True, tolerance: float = 1e-9
) -> None:
    """Values, names and derivatives of a call must agree."""
    expected, names = evaluated(torch, call, arrays, again)
    got, own_names = evaluated(jitgrad, call, arrays, again)
    assert len(expected) == len(got)
    if named:
        assert own_names == names
    pairs = zip(_zeros_for_none(expected, got), _zeros_for_none(got, expected), strict=True)
    for place, (theirs, ours) in enumerate(pairs):
        assert theirs.shape == ours.shape and theirs.dtype == ours.dtype, place
        np.testing.assert_allclose(ours, theirs, tolerance, tolerance, err_msg=f"result {place}")


def error_of(library: Any, call: Call, arrays: Sequence[Array]) -> tuple[type, str]:
    try:
        call(library, *tensors(library, arrays))
    except Exception as error:
        return next(c for c in type(error).__mro__ if c.__module__ == "builtins"), str(error)
    raise AssertionError(f"{library.__name__} raises no error")


def assert_same_error(call: Call, *arrays: Array, words: str = "") -> None:
    """Both libraries must raise the same built-in class, with the same message (or one with these words)."""
    expected, text = error_of(torch, call, arrays)
    got, own_text = error_of(jitgrad, call, arrays)
    assert got is expected, (got, own_text, text)
    if words:
        assert words in text and words in own_text, (own_text, text)
    else:
        assert own_text.split("\n")[0] == text.split("\n")[0]
