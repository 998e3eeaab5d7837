"""Containers are taken apart and built again as they were."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.pytree import LEAF, constructor, describe, flatten, flatten_like, paths, unflatten

Pair = namedtuple("Pair", "first second")


@dataclass
class Layer:
    weight: Any
    bias: Any
    name: str = field(default="layer", metadata={"static": True})

    def __post_init__(self) -> None:
        assert self.weight is not None


@dataclass(frozen=True, slots=True)
class Frozen:
    values: Any


VALUES = [
    1.0,
    None,
    (),
    [],
    {},
    [1, (2, 3), [4]],
    {"b": 1, "a": {"c": [2, None]}},
    {1: "x", (2, 3): "y"},
    OrderedDict(z=1, y=2),
    Pair(1, Pair(2, [3])),
    Layer(1, [2, 3], "first"),
    Frozen((1, Layer(2, None))),
    [[[[[[1]]]]]],
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_unflatten_undoes_flatten(value: Any) -> None:
    leaves, tree = flatten(value)
    built = unflatten(tree, leaves)
    assert built == value
    assert type(built) is type(value)
    scope: dict[str, Any] = {"leaves": leaves}
    text = constructor(tree, [f"leaves[{i}]" for i in range(len(leaves))], scope)
    assert eval(text, scope) == value
    assert flatten_like(tree, value) == leaves
    assert len(paths(tree)) == len(leaves)


def test_leaves_come_depth_first_in_insertion_order() -> None:
    assert flatten({"b": 1, "a": [2, (3, None)]})[0] == [1, 2, 3]


def test_equal_structures_have_equal_trees_with_equal_hashes() -> None:
    trees = [flatten(value)[1] for value in ({"a": 1, "b": [2]}, {"a": 3.0, "b": ["x"]}, {"b": 1, "a": [2]})]
    assert trees[0] == trees[1]
    assert hash(trees[0]) == hash(trees[1])
    assert trees[0] != trees[2]
    assert flatten([1])[1] != flatten((1,))[1]
    assert flatten(Layer(1, 2, "a"))[1] != flatten(Layer(1, 2, "b"))[1]
    assert flatten(3)[1] is LEAF


def test_paths_say_how_to_write_each_leaf() -> None:
    value = {"layers": [Layer(1, Pair(2, 3))], 4: (5,)}
    assert paths(flatten(value)[1]) == [
        "['layers'][0].weight",
        "['layers'][0].bias.first",
        "['layers'][0].bias.second",
        "[4][0]",
    ]


@pytest.mark.parametrize(
    ("like", "value", "message"),
    [
        ([1, 2], [1], "expected a list of 2, got list"),
        ({"a": [1]}, {"a": (1,)}, r"expected a list of 1 at \['a'\], got tuple"),
        ({"a": 1}, {"b": 1}, "expected a dict with keys 'a', got dict"),
        (Layer(1, 2), 3, "expected a Layer, got int"),
        (Pair(1, 2), (1, 2), "expected a Pair of 2, got tuple"),
        (None, 1, "expected None, got int"),
    ],
)
def test_another_structure_is_an_error_that_names_the_place(like: Any, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flatten_like(flatten(like)[1], value)


def test_describe_names_a_leaf() -> None:
    assert describe(LEAF) == "an array"


def test_gradients_have_the_structure_of_their_argument() -> None:
    x = np.array([1.0, 2.0])
    params = {
        "list": [x, x],
        "tuple": (x,),
        "pair": Pair(x, 3.0),
        "layer": Layer(x, None),
        "frozen": Frozen(x),
        "float32": np.ones(2, np.float32),
    }

    def loss(p: Any) -> Any:
        return np.sum(
            p["list"][0] * 2
            + p["tuple"][0] * 3
            + p["pair"].first * p["pair"].second
            + p["layer"].weight * 5
            + p["frozen"].values * 6
            + p["float32"] * 7
        )

    gradient = jitgrad.interpret(jitgrad.grad(loss))(params)
    assert list(gradient) == list(params)
    np.testing.assert_array_equal(gradient["list"], [[2, 2], [0, 0]])
    np.testing.assert_array_equal(gradient["tuple"], [[3, 3]])
    assert type(gradient["pair"]) is Pair
    np.testing.assert_array_equal(gradient["pair"].first, [3, 3])
    assert type(gradient["pair"].second) is np.float64
    assert gradient["pair"].second == 3.0
    assert gradient["layer"].name == "layer"
    assert gradient["layer"].bias is None
    np.testing.assert_array_equal(gradient["layer"].weight, [5, 5])
    np.testing.assert_array_equal(gradient["frozen"].values, [6, 6])
    assert gradient["float32"].dtype == np.float32
