"""Results of two libraries compared: structure, dtype, shape, requires_grad, values within a tolerance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from libraries import Library

Array = np.ndarray[Any, Any]
Agree = Callable[[Array, Array], Array]  # elementwise

# (relative, absolute), by the dtype of the result; what is not floating must be equal.
TOLERANCE = {
    "float16": (2e-3, 1e-4),
    "float32": (5e-6, 1e-5),
    "float64": (1e-10, 1e-12),
    "complex64": (5e-6, 1e-5),
    "complex128": (1e-10, 1e-12),
}


TIMES = 8  # how much further off the exact result than PyTorch's a result may be where rounding is amplified


@dataclass(frozen=True)
class Leaf:
    """A tensor of either library."""

    dtype: str
    shape: tuple[int, ...]
    requires_grad: bool
    array: Array


@dataclass(frozen=True)
class Fields:
    """A named tuple of either library."""

    names: tuple[str, ...]
    items: tuple[Any, ...]


def as_array(tensor: Any) -> Array:
    if isinstance(tensor, torch.Tensor):
        tensor = tensor.resolve_conj().resolve_neg()
        tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return np.array(tensor.detach().numpy())


def _field_names(value: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(getattr(type(value), "_fields", None) or getattr(type(value), "__match_args__", ()))


def seen(library: Library, value: Any) -> Any:
    """A result with its tensors, sizes and dtypes in a form that does not depend on the library."""
    if isinstance(value, library.module.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return Leaf(dtype, tuple(value.shape), bool(value.requires_grad), as_array(value))
    if isinstance(value, tuple) and (names := _field_names(value)):
        return Fields(names, tuple(seen(library, item) for item in value))
    if isinstance(value, tuple | list):
        inside = [seen(library, item) for item in value]
        return inside if isinstance(value, list) else tuple(inside)
    if type(value) is library.module.dtype:
        return f"dtype {str(value).removeprefix('torch.')}"
    return value


def _differing_leaf(expected: Leaf, got: Leaf, agree: Agree) -> str | None:
    if got.shape != expected.shape:
        return f"shape {got.shape}, expected {expected.shape}"
    if got.dtype != expected.dtype:
        return f"dtype {got.dtype}, expected {expected.dtype}"
    if got.requires_grad != expected.requires_grad:
        return f"requires_grad {got.requires_grad}, expected {expected.requires_grad}"
    if not agree(expected.array, got.array).all():
        return _where_differing(expected.array, got.array, agree)
    return None


def _where_differing(expected: Array, got: Array, agree: Agree) -> str:
    wrong = np.argwhere(~agree(expected, got))
    place = tuple(map(int, wrong[0]))
    return (
        f"{len(wrong)} of {expected.size} values differ, first at {list(place)}: "
        f"{got[place]}, expected {expected[place]}"
    )


def same_within(*dtypes: str, wider: float = 1) -> Agree:
    """Agreement within `wider` times the tolerance of the coarsest of these dtypes and the result's own.

    NaN equals NaN.
    """

    def agree(expected: Array, got: Array) -> Array:
        if expected.dtype.kind not in "fc":
            return np.asarray(expected == got)
        known = [TOLERANCE[d] for d in (str(expected.dtype), *dtypes) if d in TOLERANCE]
        rtol, atol = max(r for r, _ in known), max(a for _, a in known)
        with np.errstate(all="ignore"):
            return np.asarray(np.isclose(got, expected, wider * rtol, wider * atol, equal_nan=True))

    return agree


def exactly(expected: Array, got: Array) -> Array:
    """Whether values are equal; NaN equals NaN."""
    return np.asarray((expected == got) | ((expected != expected) & (got != got)))


def anything(expected: Array, got: Array) -> Array:
    """Every value agrees with every other: of what is random or uninitialised."""
    return np.ones(expected.shape, bool)


def differences(expected: Any, got: Any, agree: Agree) -> str | None:
    """How a result differs from what is expected, in words; None when it does not."""
    if isinstance(expected, Leaf) and isinstance(got, Leaf):
        return _differing_leaf(expected, got, agree)
    if type(expected) is not type(got):
        return f"a {type(got).__name__}, expected a {type(expected).__name__}"
    if isinstance(expected, Fields):
        if expected.names != got.names:
            return f"fields {got.names}, expected {expected.names}"
        return differences(expected.items, got.items, agree)
    if isinstance(expected, tuple | list):
        return _differing_items(expected, got, agree)
    if isinstance(expected, float | complex):
        return differences(*(Leaf("", (), False, np.asarray(x)) for x in (expected, got)), agree)
    return None if expected == got else f"{got!r}, expected {expected!r}"


def leaves(value: Any) -> Iterator[Leaf]:
    """The tensors of a result, in order; those of a named tuple too."""
    if isinstance(value, Leaf):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, Fields):
        yield from leaves(value.items)


def no_less_exact(expected: Any, got: Any, precise: Any) -> bool:
    """Whether a result is off a more precise one by at most TIMES what is expected is, tensor by tensor."""
    if differences(expected, got, anything) is not None:
        return False
    return all(map(_no_further_off, *map(leaves, (expected, got, precise))))


def _no_further_off(expected: Leaf, got: Leaf, precise: Leaf) -> bool:
    x, y, exact = expected.array, got.array, precise.array
    if x.dtype.kind != "f" or exact.shape != x.shape or not (np.isfinite(x) == np.isfinite(y)).all():
        return bool(exactly(x, y).all())
    with np.errstate(all="ignore"):
        off, allowed = (np.where(exactly(x, y), 0, np.abs(a.astype(np.float64) - exact)) for a in (y, x))
    return bool(off.max(initial=0) <= TIMES * allowed.max(initial=0))


def _differing_items(expected: Any, got: Any, agree: Agree) -> str | None:
    if len(expected) != len(got):
        return f"{len(got)} results, expected {len(expected)}"
    for i, (x, y) in enumerate(zip(expected, got, strict=True)):
        if problem := differences(x, y, agree):
            return f"[{i}]: {problem}"
    return None
