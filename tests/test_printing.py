"""Tensors and their sizes print character for character as PyTorch prints them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import jitgrad
from jitgrad.eager import printing
from jitgrad.eager.size import Size

DTYPES = (
    "float16 float32 float64 complex64 complex128 bool int8 int16 int32 int64 uint8 uint16 uint32 uint64"
).split()


@pytest.fixture(autouse=True)
def default_options() -> Iterator[None]:
    yield
    set_options()
    set_default("float32")


def set_default(dtype: str) -> None:
    for module in (torch, jitgrad):
        module.set_default_dtype(getattr(module, dtype))


def set_options(**options: Any) -> None:
    for module in (torch, jitgrad):
        module.set_printoptions(profile="default")
        module.set_printoptions(**options)


def ours(source: str, **values: Any) -> str:
    """What we print for an expression of torch."""
    return repr(eval(source, {"torch": jitgrad, **values}))


def theirs(source: str, **values: Any) -> str:
    return repr(eval(source, {"torch": torch, **values}))


TENSORS = """
tensor(1.)
tensor(1)
tensor(-7)
tensor(True)
tensor(1 + 2j)
tensor(0.1)
tensor(1e10)
tensor(1e-10)
tensor(123456789.)
tensor(1.5e8)
tensor(float("nan"))
tensor(-float("inf"))
tensor(0.)
tensor(-0.)
tensor(2**63 - 1)
tensor(-(2**63))
tensor(3, dtype=torch.int32)
tensor(1.5, dtype=torch.float64)
tensor(1.5, dtype=torch.float16)
tensor(1.5, requires_grad=True)
tensor([])
tensor([[]])
tensor([], dtype=torch.int64)
tensor([], dtype=torch.bool)
tensor([], dtype=torch.float64)
tensor([], dtype=torch.complex64)
tensor([], dtype=torch.complex128)
zeros(0, 3)
zeros(2, 0, 3, dtype=torch.bool)
zeros(0, 3, requires_grad=True)
zeros(0, 3, dtype=torch.float64, requires_grad=True) * 2
tensor([1., 2.])
tensor([1.5, 2.])
tensor([-1.5, 2.])
tensor([0.])
tensor([0., -0.])
tensor([0., -1.])
tensor([0., 0.00001])
tensor([1e-4])
tensor([1e-4], dtype=torch.float64)
tensor([1e-5, 1.])
tensor([1e8])
tensor([1e8 - 8])
tensor([1e8 + 8])
tensor([1e8 + 0.5], dtype=torch.float64)
tensor([1e9])
tensor([1e10, 1.])
tensor([1000., 1.])
tensor([1001., 1.])
tensor([1000.5, 1.])
tensor([1001., 1.5])
tensor([1e5, 0.5])
tensor([1e5, 100.5])
tensor([0.1, 100.])
tensor([0.3, 300.])
tensor([0.7, 700.])
tensor([0.1, 100.], dtype=torch.float64)
tensor([0.7, 700.], dtype=torch.float64)
tensor([9.99999, -100.5])
tensor([1e-45])
tensor([1e300], dtype=torch.float64)
tensor([1e300, 1e-300], dtype=torch.float64)
tensor([1e-300, 0.], dtype=torch.float64)
tensor([float("nan")])
tensor([float("nan"), 0., -0.])
tensor([float("nan"), 1.])
tensor([float("inf"), -float("inf"), 1.])
tensor([float("inf"), -float("inf"), 1.5])
tensor([float("inf"), -float("inf")])
tensor([float("inf"), 1e-8, -1.])
tensor([1.5, 65504.], dtype=torch.float16)
tensor([6e-8, 60000.], dtype=torch.float16)
tensor([1e-4, 2e-4], dtype=torch.float16)
tensor([0, 255], dtype=torch.uint8)
tensor([-128, 127], dtype=torch.int8)
tensor([-1, 100])
tensor([-(2**63), 2**63 - 1])
tensor([2**64 - 1], dtype=torch.uint64)
tensor([True, False])
tensor([[True], [False]])
tensor([True] * 40)
tensor([1 + 2j, 3.5 - 4j])
tensor([1 + 2j, 3 - 4j])
tensor([-1.5 - 2j, 100.25 + 1j])
tensor([1 + 1e10j, 3 - 4j])
tensor([complex(0., -0.)])
tensor([complex("nan"), complex(float("inf"), -float("inf")), 1j])
tensor([1 + 2.5j] * 20)
tensor([1 + 2j], dtype=torch.complex128)
tensor([1., 2.], dtype=torch.float64, requires_grad=True)
tensor([1., 2.], requires_grad=True) * 2
arange(50)
arange(50.)
arange(50.).reshape(2, 5, 5)
arange(24).reshape(1, 2, 3, 4) - 12
arange(24.).reshape(2, 1, 3, 4) / 7
arange(1000)
arange(1001)
arange(1001.)
arange(1001.) * 1.5
arange(2000.).reshape(2, 1000)
arange(2000).reshape(20, 10, 10)
arange(2000).reshape(2, 2, 2, 250)
arange(2000) * 2**50
arange(2000) * (1 + 0.5j)
ones(1001, dtype=torch.bool)
zeros(1, 1, 1, 1)
zeros(1, 2000)
zeros(2000, 1)
zeros(7, 2, 100)
arange(14., requires_grad=True) * 1.5
arange(20., requires_grad=True) * 1.5
arange(30., requires_grad=True)
arange(30., requires_grad=True).reshape(5, 6).sum()
arange(12.).reshape(3, 4).T
arange(100.)[::7]
""".strip().splitlines()

OPTION_SETS: list[dict[str, Any]] = [
    {"precision": 0},
    {"precision": 2},
    {"precision": 10},
    {"sci_mode": True},
    {"sci_mode": False},
    {"sci_mode": True, "precision": 1},
    {"linewidth": 1},
    {"linewidth": 20},
    {"linewidth": 41},
    {"linewidth": 200},
    {"threshold": 5},
    {"threshold": 5, "edgeitems": 1},
    {"threshold": 5, "edgeitems": 5, "linewidth": 50},
    {"threshold": 0, "edgeitems": 0},
    {"threshold": -1, "edgeitems": 2},
    {"edgeitems": 0},
    {"profile": "short"},
    {"profile": "full"},
    {"profile": "full", "precision": 3, "sci_mode": True},
    {"profile": "unknown"},
]

OPTION_TENSORS = """
tensor(1.5)
tensor([])
zeros(0, 3, dtype=torch.float64, requires_grad=True) * 2
tensor([0., float("nan")])
tensor([-1.5e10, 2., 0., float("nan")])
tensor([1e-10, 2. + 0j])
arange(30.)
arange(30., requires_grad=True) * 1.5
arange(1200.).reshape(2, 200, 3) / 7
arange(60).reshape(3, 4, 5)
arange(1100) * (1 + 0.5j)
tensor([[True, False, True], [False, False, False]])
""".strip().splitlines()


@pytest.mark.parametrize("source", TENSORS)
def test_a_tensor_prints_as_in_torch(source: str) -> None:
    assert ours(f"torch.{source}") == theirs(f"torch.{source}")


@pytest.mark.parametrize("options", OPTION_SETS, ids=str)
@pytest.mark.parametrize("source", OPTION_TENSORS)
def test_print_options_act_as_in_torch(source: str, options: dict[str, Any]) -> None:
    set_options(**options)
    assert ours(f"torch.{source}") == theirs(f"torch.{source}")


@pytest.mark.parametrize("default", ["float16", "float32", "float64"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 2])
def test_the_default_dtype_needs_no_mention(default: str, dtype: str, size: int) -> None:
    set_default(default)
    source = f"torch.ones({size}, dtype=torch.{dtype})"
    assert ours(source) == theirs(source)


@pytest.mark.parametrize("seed", range(40))
def test_random_tensors_print_as_in_torch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(15):
        array = random_array(rng)
        recorded = array.dtype.kind == "f" and rng.random() < 0.3
        source = "torch.from_numpy(array)" + ".requires_grad_() * 1" * recorded
        set_options(**random_options(rng))
        assert ours(source, array=array) == theirs(source, array=array)


def random_array(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    shape = tuple(int(size) for size in rng.choice([0, 1, 1, 2, 3, 4, 7, 12, 40], size=rng.integers(4)))
    dtype = np.dtype(str(rng.choice(DTYPES)))
    if dtype.kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.kind in "iu":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        reach = min(int(high), 10 ** int(rng.integers(1, 19)))
        return np.asarray(rng.integers(max(int(low), -reach), reach, shape, dtype, endpoint=True))
    array = np.empty(shape, np.complex128)
    array.real, array.imag = random_reals(rng, shape), random_reals(rng, shape)
    with np.errstate(over="ignore"):
        return np.asarray(array if dtype.kind == "c" else array.real).astype(dtype)


def random_reals(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Values of one magnitude or of many, whole or not, at the thresholds of notation, some not finite."""
    spread = 10.0 ** rng.integers(-6, 9, shape if rng.random() < 0.2 else ())
    normal = rng.normal(size=shape) * spread
    edges = rng.choice([0.1, 0.3, 0.7, 100, 300, 700, 1e-4, 1e8, 1, 1000, 9.99995, 0.00005], shape)
    reals = [normal, np.rint(normal), np.rint(normal * 4) / 4, edges][rng.integers(4)]
    special = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], shape)
    return np.where(rng.random(shape) < rng.choice([0, 0, 0.1, 0.9]), special, reals)


def random_options(rng: np.random.Generator) -> dict[str, Any]:
    options = {
        "precision": int(rng.integers(9)),
        "threshold": int(rng.choice([-1, 0, 5, 20, 100])),
        "edgeitems": int(rng.integers(6)),
        "linewidth": int(rng.integers(160)),
        "sci_mode": bool(rng.integers(2)),
        "profile": str(rng.choice(["short", "full", "default"])),
    }
    return {name: value for name, value in options.items() if rng.random() < 0.3}


def test_options_that_are_not_given_stay_but_sci_mode_returns_to_automatic() -> None:
    source = "torch.tensor([1.5, -20.])"
    set_options(precision=2, sci_mode=True)
    assert ours(source) == theirs(source) == "tensor([ 1.50e+00, -2.00e+01])"
    for module in (torch, jitgrad):
        module.set_printoptions(linewidth=40)
    assert ours(source) == theirs(source) == "tensor([  1.50, -20.00])"


def test_only_the_items_that_are_shown_are_formatted() -> None:
    array = np.broadcast_to(np.float32(1.5), (40_000, 40_000))
    assert printing.tensor_text(array) == repr(torch.tensor(1.5).expand(40_000, 40_000))


def test_a_subclass_prints_its_own_name() -> None:
    class Sub(torch.Tensor):
        pass

    x = torch.arange(50.0).as_subclass(Sub)
    assert printing.tensor_text(x.numpy(), prefix="Sub(") == repr(x)


def test_the_device_is_said_first() -> None:
    x = torch.ones(2, 0, device="meta", dtype=torch.float64)
    notes = printing.suffixes(np.ones((2, 0)), "float64", device="meta")
    assert repr(x) == f"tensor(..., {', '.join(notes)})"


SIZES = """
Size()
Size([2, 3, 4])
Size(iter([1, 2]))
Size(range(3))
Size((torch.tensor(3), np.int64(4), True))
str(size)
f"{size}"
size[0]
size[-1]
size[1:]
size[::2]
size[1:1]
size + (1,)
(1,) + size
size + size
() + size
size * 2
2 * size
size * 0
size * np.int64(2)
size.numel()
Size().numel()
size == (2, 3, 4)
hash(size) == hash((2, 3, 4))
size > (1,)
size.index(3)
size.count(2)
tuple(size)
list(size)
len(size)
isinstance(size, tuple)
""".strip().splitlines()

WRONG_SIZES = """
Size([1.5])
Size(["a"])
Size([1, None])
Size("12")
Size(5)
Size([1], [2])
Size([torch.tensor(3.)])
size + [1]
[1] + size
size + 5
size + ("a",)
(1.5,) + size
size * 1.5
size * "a"
size["a"]
""".strip().splitlines()


def sized(source: str, kind: Any) -> Any:
    return eval(source, {"Size": kind, "size": kind([2, 3, 4]), "np": np, "torch": torch})


@pytest.mark.parametrize("source", SIZES)
def test_a_size_does_as_in_torch(source: str) -> None:
    size, expected = sized(source, Size), sized(source, torch.Size)
    assert repr(size) == repr(expected)
    assert size == expected
    assert type(size).__name__ == type(expected).__name__


@pytest.mark.parametrize("source", WRONG_SIZES)
def test_a_size_refuses_with_type_error_as_in_torch(source: str) -> None:
    with pytest.raises(TypeError) as expected:
        sized(source, torch.Size)
    with pytest.raises(TypeError) as raised:
        sized(source, Size)
    if "torch.Size()" in str(expected.value):
        assert str(raised.value) == str(expected.value)


def test_a_size_survives_pickling_and_copying() -> None:
    size = Size([2, 3])
    for twin in (pickle.loads(pickle.dumps(size)), copy.copy(size), copy.deepcopy(size)):
        assert type(twin) is Size
        assert twin == size
