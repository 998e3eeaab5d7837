"""Turns a list of examples into one batch: tensors stacked, within the containers that hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.functions.creation import tensor
from jitgrad.eager.functions.joining import stack
from jitgrad.eager.functions.sharing import as_tensor
from jitgrad.eager.tensor import Tensor

_UNKNOWN = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}. Give the "
    "DataLoader a collate_fn"
)


def default_collate(batch: Sequence[Any]) -> Any:
    """Return the examples of a list as one batch.

    Tensors, arrays and numbers become one tensor with a new first dimension, floats one of float64; strings
    stay a list. Of tuples, lists and mappings each place is a batch of its own. TypeError for anything else.

    >>> from jitgrad.utils.data import default_collate
    >>> default_collate([{"x": 1, "name": "a"}, {"x": 2, "name": "b"}])
    {'x': tensor([1, 2]), 'name': ['a', 'b']}
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(list(batch), 0)
    if isinstance(first, np.ndarray):
        if first.dtype.kind in "SUO":
            raise TypeError(_UNKNOWN.format(first.dtype))
        return stack([as_tensor(x) for x in batch], 0)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, np.generic):
        return as_tensor(np.asarray(batch))
    if isinstance(first, (bool, int, float)):
        return tensor(batch, dtype=dtypes.float64 if isinstance(first, float) else None)
    if isinstance(first, Mapping):
        return _mapped(first, {key: default_collate([example[key] for example in batch]) for key in first})
    if isinstance(first, Sequence):
        if any(len(example) != len(first) for example in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        return _sequence(first, [default_collate(places) for places in zip(*batch, strict=True)])
    raise TypeError(_UNKNOWN.format(type(first)))


def default_convert(data: Any) -> Any:
    """Return an example with its arrays as tensors, within the containers that hold them."""
    if isinstance(data, (np.ndarray, np.generic)) and data.dtype.kind not in "SUO":
        return as_tensor(data)
    if isinstance(data, Mapping):
        return _mapped(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _sequence(data, [default_convert(value) for value in data])
    return data


def _mapped(like: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    return _made(type(like), values)


def _sequence(like: Sequence[Any], values: list[Any]) -> Any:
    """The values in the type of a sequence; a list for a plain tuple."""
    if hasattr(like, "_fields"):
        return type(like)(*values)
    return values if isinstance(like, tuple) else _made(type(like), values)


def _made(kind: Callable[[Any], Any], values: Any) -> Any:
    """The values in a container type, or as they are if it cannot be called on them."""
    try:
        return kind(values)
    except TypeError:
        return values
