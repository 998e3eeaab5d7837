"""Saves dicts of tensors to safetensors files and loads them, as the namespace `safetensors.torch` does.

Such a file holds names, dtypes, shapes and bytes and nothing that could run, so any library reads it safely.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.device import checked
from jitgrad.eager.dtypes import Array
from jitgrad.eager.tensor import Tensor, wrap

Path = str | os.PathLike[str]
Texts = dict[str, str] | None


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError("safetensors files need a library: pip install safetensors") from None
    return safetensors


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """The values, each in memory of its own order."""
    if not isinstance(tensors, Mapping):
        raise ValueError(f"expected a dict of str to Tensor but received {type(tensors)}")
    for name, value in tensors.items():
        if not isinstance(name, str):
            raise ValueError(f"names of tensors must be str, not {type(name).__name__}: {name!r}")
        if not isinstance(value, Tensor):
            raise ValueError(f"Key `{name}` is invalid, expected Tensor but received {type(value)}")
        if value._array.dtype == np.complex128:
            raise ValueError(f"Key `{name}` is invalid: safetensors files have no complex128")
    arrays = {name: value._array for name, value in tensors.items()}
    return {name: a if a.flags.c_contiguous else a.copy(order="C") for name, a in arrays.items()}


def _tensors(read: Callable[[], dict[str, Any]], what: str) -> dict[str, Tensor]:
    """The tensors that a function of the library reads; ValueError for what it cannot."""
    try:
        arrays = {name: np.array(array) for name, array in read().items()}
        if unknown := {array.dtype for array in arrays.values()} - _DTYPES:
            raise TypeError(unknown.pop())
    except (_library().SafetensorError, ValueError) as error:
        raise ValueError(f"cannot read {what} as safetensors: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{what} hold tensors of a dtype that does not exist here: {error}") from None
    return {name: wrap(array) for name, array in arrays.items()}


_DTYPES = {kind.numpy for kind in dtypes.DTYPES}


def save_file(tensors: Mapping[str, Tensor], filename: Path, metadata: Texts = None) -> None:
    """Save a dict of tensors, such as a `state_dict`, to a file; `metadata` are texts beside them.

    Tensors that share memory are saved each on its own. ValueError for anything but tensors by name,
    ImportError if the library `safetensors` is not installed.
    """
    arrays = _arrays(tensors)
    _library().numpy.save_file(arrays, filename, metadata)


def save(tensors: Mapping[str, Tensor], metadata: Texts = None) -> bytes:
    """Return the bytes of the file that `save_file` writes."""
    arrays = _arrays(tensors)
    return bytes(_library().numpy.save(arrays, metadata))


def load_file(filename: Path, device: Any = "cpu") -> dict[str, Tensor]:
    """Load the tensors of a safetensors file, by name, whichever library wrote it.

    ValueError for a file that is damaged, or none of these, or has dtypes that tensors do not have;
    ImportError if the library `safetensors` is not installed.
    """
    checked(device)
    library = _library()
    with open(filename, "rb"):  # raises in Python's words what the library words in its own
        return _tensors(lambda: library.numpy.load_file(filename), f"the tensors of {os.fspath(filename)!r}")


def load(data: bytes) -> dict[str, Tensor]:
    """Load the tensors in the bytes of a safetensors file, as `load_file` does."""
    library = _library()
    return _tensors(lambda: library.numpy.load(data), f"the tensors of {len(data)} bytes")
