"""Programs run by PyTorch and by jitgrad, and what each gives, raises and warns of."""

from __future__ import annotations

import collections
import copy
import io
import pickle
import re
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import jitgrad

Array = np.ndarray[Any, Any]
GIVEN = {m.__name__: m for m in (collections, copy, io, pickle)} | {"np": np}

# Where PyTorch lists signatures or says how it was built, only the class of the error is compared.
OWN_WORDS = re.compile(
    "invalid combination|CUDA|missing 1 required|supported types are|unexpected keyword|positional argument|"
    "accelerator|mps|TensorOptions|keywords were incorrect|internal|weights_only|No module named|"
    "capsule|Could this error message be improved|ByteTensor|C long|negative int|too big|buffer protocol"
)


@dataclass(frozen=True)
class Outcome:
    """What a program gave: a description to be equal, values to be close, an error, warnings."""

    description: Any = None
    values: list[Array] = field(default_factory=list)
    error: str = ""
    message: str = ""
    warned: tuple[str, ...] = ()


def run(program: str, library: Any) -> Outcome:
    """Run statements separated by semicolons, of which the last gives the value, with `torch` the library."""
    names = {**GIVEN, "torch": library}
    *before, last = (part.strip() for part in program.split(";"))
    values: list[Array] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            exec("\n".join(before), names)
            result = described(eval(last, names), library, values)
        except Exception as error:
            return Outcome(error=type(error).__name__, message=str(error))
    texts = {str(w.message).split(" (Triggered")[0] for w in caught if w.category is UserWarning}
    return Outcome(result, values, warned=tuple(sorted(texts)))


def described(value: Any, library: Any, values: list[Array]) -> Any:
    """What has to be equal of a result; the values of its tensors and arrays are put aside."""
    if isinstance(value, library.Tensor):
        values.append(value.detach().numpy())
        recorded = value.grad_fn and value.grad_fn.name()
        return str(value.dtype), tuple(value.shape), value.stride(), value.requires_grad, recorded
    if isinstance(value, np.ndarray):
        values.append(value)
        return "array", str(value.dtype), value.shape, value.strides, value.flags.writeable
    if isinstance(value, dict):
        return type(value).__name__, {k: described(v, library, values) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [described(v, library, values) for v in value]
    return f"{type(value).__name__} {value!r}"


def assert_alike(program: str) -> None:
    """Both libraries give the same values, dtypes, shapes and strides, or raise and warn alike."""
    warns_always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        expected, result = run(program, torch), run(program, jitgrad)
    finally:
        torch.set_warn_always(warns_always)
    assert result.error == expected.error, (result, expected)
    if not OWN_WORDS.search(expected.message):
        assert result.message == expected.message
    assert result.description == expected.description
    assert result.warned == expected.warned
    for ours, theirs in zip(result.values, expected.values, strict=True):
        np.testing.assert_array_equal(ours, theirs)
