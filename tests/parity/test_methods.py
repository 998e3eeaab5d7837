"""What jitgrad's Tensor offers under public names is what torch.Tensor offers under them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from comparing import differences, exactly, seen
from libraries import ORACLE, Library, subject
from tensor_names import ATTRIBUTES, GROUPS, PUBLIC, offered

import jitgrad

LIBRARY = subject(jitgrad)
OFFERED = [name for names in GROUPS.values() for name in offered(LIBRARY, names)]

# Public names that jitgrad's Tensor has and torch.Tensor has not.
OWN: set[str] = set()

TENSORS: dict[str, Callable[[Any], Any]] = {
    "leaf": lambda x: x,
    "result": lambda x: x * 2,
    "detached": lambda x: x.detach(),
    "row": lambda x: x[0].detach(),
}


def attribute(library: Library, kind: str, name: str) -> Any:
    """The attribute of one of the tensors; objects without a value of their own by their text."""
    matrix = torch.arange(6, dtype=torch.float64).reshape(2, 3).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of .T on a vector, of .grad on what is no leaf
        value = getattr(TENSORS[kind](library.convert(matrix)), name)
    if isinstance(value, (library.module.Tensor, bool, int, tuple)):
        return seen(library, value)
    return type(value).__name__ if name == "grad_fn" else str(value)


def outcome(library: Library, kind: str, name: str) -> tuple[type[BaseException] | None, Any]:
    try:
        return None, attribute(library, kind, name)
    except Exception as error:
        return type(error), None


@pytest.mark.parametrize("name", OFFERED)
def test_what_is_offered_is_a_method_where_pytorch_has_a_method(name: str) -> None:
    assert callable(getattr(jitgrad.Tensor, name)) == callable(getattr(torch.Tensor, name))


@pytest.mark.parametrize("kind", TENSORS)
@pytest.mark.parametrize("name", offered(LIBRARY, ATTRIBUTES))
def test_attribute_agrees_with_pytorch(name: str, kind: str) -> None:
    (error, expected), (own_error, got) = (outcome(of, kind, name) for of in (ORACLE, LIBRARY))
    assert own_error is error
    assert differences(expected, got, exactly) is None


def test_tensor_has_no_public_names_of_its_own() -> None:
    assert {n for n in dir(jitgrad.Tensor) if not n.startswith("_")} - set(PUBLIC) == OWN
