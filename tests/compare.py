"""What tests of whole programs share: memory layouts, and results compared bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.ir import Graph, interpret
from jitgrad.rewrite import simplify
from jitgrad.runtime.execute import Compiled, compile_graph

Array = np.ndarray[Any, Any]
Strides = list[tuple[int, ...] | None]


def strided(x: Array) -> Array:
    """The same values, every second element of twice as wide rows."""
    return np.repeat(x, 2, -1)[..., ::2]


def backwards(x: Array) -> Array:
    """The same values with negative strides along every axis."""
    return np.flip(np.flip(x).copy())


LAYOUTS: tuple[Callable[[Array], Array], ...] = (
    np.ascontiguousarray,
    np.asfortranarray,
    strided,
    backwards,
)


def laid_out(arrays: Sequence[Array], choice: int) -> list[Array]:
    """The arrays in another memory layout, which `choice` selects; 0-d arrays as they are."""
    return [LAYOUTS[(choice + i) % len(LAYOUTS)](a) if a.ndim else a for i, a in enumerate(arrays)]


def strides_of(arrays: Sequence[Array]) -> Strides:
    return [None if a.flags.c_contiguous else a.strides for a in arrays]


def compiled_for(graph: Graph, arrays: Sequence[Array]) -> Compiled:
    """The graph simplified and compiled for the layouts of these arrays."""
    return compile_graph(simplify(graph), strides_of(arrays))


def assert_same_bits(got: Sequence[Array], expected: Sequence[Array], label: str) -> None:
    """Equal shapes, dtypes and bits, except that every NaN equals every other."""
    for place, (x, y) in enumerate(zip(got, expected, strict=True)):
        name = f"{label}, output {place}"
        np.testing.assert_array_equal(x, y, name, strict=True)
        if y.dtype.kind == "f":
            numbers = ~np.isnan(y)
            np.testing.assert_array_equal(np.signbit(x)[numbers], np.signbit(y)[numbers], f"{name}: signs")


def check_modes(graph: Graph, arrays: Sequence[Array], label: str) -> None:
    """Fused kernels give the interpreter's bits and leave the arrays alone."""
    before = [a.copy() for a in arrays]
    got = compiled_for(graph, arrays)(arrays)
    assert_same_bits(got, interpret(graph, *arrays), label)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy, f"{label}: an input changed", strict=True)
