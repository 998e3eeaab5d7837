"""Tensors in safetensors files, exchanged with PyTorch; damaged files of all kinds."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import jitgrad

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
DTYPES += ("float16", "float32", "float64", "complex64")


def tensors(library: Any) -> dict[str, Any]:
    """One of each dtype, and of forms that are not plain memory."""
    made = {f"of.{name}": library.tensor([0, 1, 1]).to(getattr(library, name)) for name in DTYPES}
    table = library.arange(12.0).reshape(3, 4)
    return made | {
        "transposed": table.t(),
        "strided": table[::2, 1::2],
        "expanded": library.ones(1, 3).expand(2, 3),
        "scalar": library.tensor(2.5, dtype=library.float64),
        "empty": library.zeros(0, 3),
        "läyer.0.weight": library.tensor([1.0, float("nan"), float("inf"), -0.0]),
    }


def plain(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value.contiguous() for name, value in given.items()}


def assert_equal(got: dict[str, Any], expected: dict[str, Any]) -> None:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert str(got[name].dtype) == str(value.dtype)
        np.testing.assert_array_equal(got[name].numpy(), value.numpy(), name)


# Files of either library ----------------------------------------------------------------------------------


def test_a_file_that_pytorch_wrote_is_loaded(tmp_path: Path) -> None:
    safetensors.torch.save_file(plain(tensors(torch)), tmp_path / "x.safetensors")
    assert_equal(jitgrad.safetensors.load_file(tmp_path / "x.safetensors"), tensors(torch))


def test_pytorch_loads_what_is_saved(tmp_path: Path) -> None:
    jitgrad.safetensors.save_file(tensors(jitgrad), tmp_path / "x.safetensors", {"epoch": "3"})
    assert_equal(safetensors.torch.load_file(tmp_path / "x.safetensors"), tensors(torch))
    with safetensors.safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert file.metadata() == {"epoch": "3"}


def test_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    content = jitgrad.safetensors.save(tensors(jitgrad))
    jitgrad.safetensors.save_file(tensors(jitgrad), tmp_path / "x.safetensors")
    assert (tmp_path / "x.safetensors").read_bytes() == content
    assert_equal(jitgrad.safetensors.load(content), tensors(jitgrad))
    assert safetensors.torch.save(plain(tensors(torch))) == content


def test_a_model_of_pytorch_is_loaded_under_the_same_names(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    state = jitgrad.safetensors.load_file(tmp_path / "model.safetensors")
    assert sorted(state) == sorted(model.state_dict())
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    got = jitgrad.nn.functional.linear(jitgrad.tensor(x), state["0.weight"], state["0.bias"])
    np.testing.assert_allclose(got.numpy(), model[0](torch.tensor(x)).detach().numpy(), 1e-6)


def test_what_is_loaded_is_a_leaf_that_can_be_written_to() -> None:
    weight = jitgrad.ones(2, requires_grad=True)
    loaded = jitgrad.safetensors.load(jitgrad.safetensors.save({"w": weight}))["w"]
    assert not loaded.requires_grad and loaded.is_leaf
    loaded.add_(1)
    assert loaded.tolist() == [2.0, 2.0] and weight.tolist() == [1.0, 1.0]


# What cannot be saved or loaded ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([1], "expected a dict"),
        ({"a": 1}, "Key `a` is invalid, expected Tensor but received <class 'int'>"),
        ({1: jitgrad.ones(1)}, "names of tensors must be str, not int: 1"),
        ({"a": jitgrad.ones(1, dtype=jitgrad.complex128)}, "no complex128"),
    ],
)
def test_only_tensors_by_name_are_saved(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        jitgrad.safetensors.save(given)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn"])
def test_a_dtype_that_does_not_exist_here_is_named(name: str, tmp_path: Path) -> None:
    safetensors.torch.save_file({"w": torch.ones(2).to(getattr(torch, name))}, tmp_path / "x")
    with pytest.raises(ValueError, match="tensors of .*x' hold tensors of a dtype that does not exist here"):
        jitgrad.safetensors.load_file(tmp_path / "x")
    with pytest.raises(ValueError, match="hold tensors of a dtype that does not exist here"):
        jitgrad.safetensors.load((tmp_path / "x").read_bytes())


def test_a_missing_file_is_one() -> None:
    with pytest.raises(FileNotFoundError):
        jitgrad.safetensors.load_file("no such file")


def test_without_the_library_the_error_says_how_to_install_it() -> None:
    program = (
        "import sys; sys.modules['safetensors'] = None\n"
        "import jitgrad\n"
        "try: jitgrad.safetensors.save({'x': jitgrad.ones(1)})\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install safetensors" in done.stdout, done.stderr


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """The bytes cut off somewhere, or with a few others in their place."""
    if random.random() < 0.3:
        return content[: random.integers(len(content))]
    spoiled = bytearray(content)
    for place in random.integers(len(content), size=random.integers(1, 4)):
        spoiled[place] = random.integers(256)
    return bytes(spoiled)


def archive(random: np.random.Generator) -> bytes:
    """An archive of PyTorch's, sound as such, with a damaged member."""
    file = io.BytesIO()
    torch.save({"a": torch.ones(2), "names": ["x", None, 1.5]}, file)
    whole = zipfile.ZipFile(file)
    members = {name: whole.read(name) for name in whole.namelist()}
    chosen = next(n for n in members if n.endswith("data.pkl"))
    if random.random() < 0.3:
        chosen = str(random.choice([n for n in members if members[n]]))
    members[chosen] = damaged(members[chosen], random)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as out:
        for name, content in members.items():
            out.writestr(name, content)
    return made.getvalue()


def saved_by_pytorch() -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.ones(2)}, file)
    return file.getvalue()


SOURCES: dict[str, tuple[Callable[[np.random.Generator], bytes], Callable[[bytes], Any]]] = {
    "safetensors": (
        lambda random: damaged(jitgrad.safetensors.save(tensors(jitgrad)), random),
        jitgrad.safetensors.load,
    ),
    "zip": (
        lambda random: damaged(saved_by_pytorch(), random),
        lambda content: jitgrad.load(io.BytesIO(content)),
    ),
    "pickle": (archive, lambda content: jitgrad.load(io.BytesIO(content))),
}


@pytest.mark.parametrize("source", SOURCES)
def test_damaged_files_are_refused_or_loaded_but_nothing_else(source: str) -> None:
    make, load = SOURCES[source]
    random = np.random.default_rng(1)
    failures = 0
    for _ in range(600):
        content = make(random)
        try:
            load(content)
        except (ValueError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
            failures += 1
            assert len(str(error)) > 10
    assert failures > 200
