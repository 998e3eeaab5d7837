"""One program run with PyTorch and with jitgrad: results, errors and warnings have to agree."""

from __future__ import annotations

import collections
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import jitgrad
import jitgrad.autograd

Program = Callable[[Any], Any]

TOLERANCE = {"torch.float16": 1e-3, "torch.float32": 2e-6, "torch.float64": 1e-12}

# What PyTorch says of itself, or once in a process.
NOT_COMPARED = ("torch.jit", "create_graph=True will create a reference cycle")


def same(program: Program | None = None, *, words: str = "") -> Any:
    """A test that runs the program with either library as its argument.

    What it returns must agree in structure, dtypes, shapes, values and grad_fns. If it raises, classes and
    messages must agree, or contain `words` if those are given. Warnings must agree in class and beginning.
    """
    if program is None:
        return lambda given: same(given, words=words)

    def test() -> None:
        expected, got = outcome(program, torch), outcome(program, jitgrad)
        assert expected["result"] is not None or "error" in expected, "the program shows nothing"
        if words:
            assert words in expected.get("error", ("", ""))[1], expected
            assert words in got.get("error", ("", ""))[1], got
            expected["error"], got["error"] = expected["error"][0], got["error"][0]
        must_agree(expected, got)

    test.__name__ = test.__qualname__ = program.__name__
    test.__doc__ = program.__doc__
    test.__module__ = program.__module__
    return test


def outcome(program: Program, library: Any) -> dict[str, Any]:
    """What a program does: its result or its error, and the warnings."""
    seen: dict[str, Any] = {"result": None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            seen["result"] = plain(program(library), library)
        except Exception as error:
            seen["error"] = type(error).__name__, str(error)
    seen["warnings"] = [
        (w.category.__name__, str(w.message)[:60])
        for w in caught
        if not any(text in str(w.message) for text in NOT_COMPARED)
    ]
    return seen


def plain(value: Any, library: Any) -> Any:
    """A value without the library's types; tensors become dicts."""
    if isinstance(value, library.Tensor):
        detached = value.detach()
        return {
            "dtype": repr(value.dtype),
            "shape": tuple(value.shape),
            "requires_grad": value.requires_grad,
            "leaf": value.is_leaf,
            "values": np.array(detached.tolist(), np.float64),
        }
    if isinstance(value, dict):
        return {key: plain(item, library) for key, item in value.items()}
    if isinstance(value, (list, tuple, collections.deque)):
        return type(value).__name__, [plain(item, library) for item in value]
    if isinstance(value, library.autograd.graph.Node):
        return "node", value.name()
    if isinstance(value, library.dtype):
        return repr(value)
    assert value is None or isinstance(value, (bool, int, float, str)), f"{value!r} cannot be compared"
    return value


def must_agree(expected: Any, got: Any, where: str = "") -> None:
    if isinstance(expected, dict):
        assert expected.keys() == got.keys(), f"{where}: {got}, expected {expected}"
        tolerance = TOLERANCE.get(str(expected.get("dtype")), 0)
        for key in expected:
            if key == "values":
                np.testing.assert_allclose(got[key], expected[key], rtol=tolerance, atol=tolerance)
            else:
                must_agree(expected[key], got[key], f"{where}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert type(got) is type(expected) and len(got) == len(expected), (
            f"{where}: {got}, expected {expected}"
        )
        for i, (e, g) in enumerate(zip(expected, got, strict=True)):
            must_agree(e, g, f"{where}[{i}]")
    else:
        assert type(got) is type(expected) and got == expected, f"{where}: {got!r}, expected {expected!r}"
