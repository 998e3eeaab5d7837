"""Graphs run as programs on a device, or on a stub of one, beside the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from compare import Array, assert_same_bits, strides_of

from jitgrad.ir import Graph, interpret
from jitgrad.rewrite import simplify
from jitgrad.runtime.cuda import execute
from jitgrad.runtime.cuda.arrays import on_host

PRODUCTS = {"float64": 1e-11, "float32": 2e-4}  # matrix products add in the order of cuBLAS
Place = Callable[[Array], Any]


def check_on_device(graph: Graph, arrays: Sequence[Array], label: str, place: Place) -> None:
    """The program gives the interpreter's bits, twice, and leaves its inputs alone.

    What follows a matrix product is near instead. `place` copies an array to the device.
    """
    given = [place(a) for a in arrays]
    program = execute.compile_graph(simplify(graph), strides_of(given))
    first, second = ([host(x) for x in program(given)] for _ in range(2))
    assert_same_bits(first, second, f"{label}, again")
    check_results(graph, arrays, first, label)
    for array, taken in zip(arrays, given, strict=True):
        np.testing.assert_array_equal(array, host(taken), f"{label}: an input changed", strict=True)


def check_results(graph: Graph, arrays: Sequence[Array], got: Sequence[Array], label: str) -> None:
    """Results, as NumPy arrays, are the interpreter's."""
    expected = interpret(graph, *arrays)
    if not any(node.op.name == "matmul" for node in graph.nodes()):
        assert_same_bits(got, expected, label)
        return
    for x, y in zip(got, expected, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype), label
        near = PRODUCTS.get(y.dtype.name, 0)
        finite = np.abs(y[np.isfinite(y)]) if y.dtype.kind == "f" else np.zeros(0)
        np.testing.assert_allclose(x, y, near, near * max(1, finite.max(initial=0)), err_msg=label)


def host(array: Any) -> Array:
    """A copy of a device array as a plain NumPy array."""
    return np.asarray(on_host(array)).view(np.ndarray)
