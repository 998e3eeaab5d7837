"""Random indices of every kind, alone and mixed: reading and assignment give what NumPy gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jitgrad import ir, ops
from jitgrad.ir import Aval, Graph, input_node

ROUNDS = 150


def _bound(rng: np.random.Generator, size: int) -> int | None:
    return None if rng.random() < 0.3 else int(rng.integers(-size - 1, size + 2))


def _entry(rng: np.random.Generator, size: int) -> Any:
    kind = rng.integers(9)
    if kind == 0:
        return int(rng.integers(-size, size))
    if kind == 1:
        return None
    if kind == 2:
        return rng.random(size) < 0.6
    if kind <= 5:
        step = (None, 1, 2, -1, -2)[rng.integers(5)]
        return slice(_bound(rng, size), _bound(rng, size), step)
    return rng.integers(-size, size, ((2,), (3, 1), (3, 2))[kind - 6])


def _index(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
    index: list[Any] = []
    axis = 0
    while axis < len(shape):
        if rng.random() < 0.2:
            return (*index, ...)
        entry = _entry(rng, shape[axis])
        index.append(entry)
        axis += entry is not None
        if rng.random() < 0.2:
            break
    return tuple(index)


@pytest.mark.parametrize("seed", range(8))
def test_random_indices_read_and_assign_as_in_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(ROUNDS):
        x = rng.normal(size=rng.integers(1, 5, rng.integers(1, 5)))
        index = _index(rng, x.shape)
        try:
            expected = x[index]
        except IndexError:
            with pytest.raises(IndexError):
                ops.COMPOSITES["getitem"](input_node(Aval(x.shape, x.dtype)), index)
            continue
        _check(x, index, expected, rng.normal(size=expected.shape), traced=rng.random() < 0.5)


def _check(x: Any, index: tuple[Any, ...], expected: Any, values: Any, traced: bool) -> None:
    arrays = {input_node(Aval(a.shape, a.dtype)): a for a in (x, values)}
    node, value_node = arrays

    def entry(e: Any) -> Any:
        if not traced or not isinstance(e, np.ndarray) or e.dtype == np.bool_:
            return e
        made = input_node(Aval(e.shape, e.dtype))
        arrays[made] = e
        return made

    nodes = tuple(map(entry, index))
    read = ops.COMPOSITES["getitem"](node, nodes)
    written = ops.COMPOSITES["setitem"](node, nodes, value_node)
    graph = Graph(tuple(arrays), (read, written))
    ir.check(graph)
    got, changed = ir.interpret(graph, *arrays.values())
    wanted = x.copy()
    wanted[index] = values
    np.testing.assert_array_equal(got, expected, strict=True)
    np.testing.assert_array_equal(changed, wanted, strict=True)
