"""The values of a tensor to the text that PyTorch prints for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """How tensors are printed; `sci_mode` None lets the values decide."""

    precision: int = 4
    threshold: float = 1000  # tensors of more elements show only their edges
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PROFILES = {
    "default": Options(),
    "short": Options(precision=2, edgeitems=2),
    "full": Options(threshold=math.inf),
}

# A column turns to scientific notation beyond these magnitudes; the smallest only counts among fractions.
LARGEST, SMALLEST, WIDEST_RATIO = 1e8, 1e-4, 1e3

# The complex dtype that needs no mention beside a default dtype.
COMPLEX_OF = {"float64": "complex128"}

_options = Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed, starting from a profile if one is named.

    The profiles are "default", "short" and "full"; what is not given stays, except `sci_mode`, which
    every call sets.

    >>> set_printoptions(precision=2)
    >>> tensor_text(np.array([1.5, 2]))
    'tensor([1.50, 2.00])'
    >>> set_printoptions(profile="default")
    >>> tensor_text(np.array([1.5, 2]))
    'tensor([1.5000, 2.0000])'
    """
    global _options
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _options = replace(PROFILES.get(profile or "", _options), sci_mode=sci_mode, **changes)


def suffixes(
    array: Array,
    dtype: str,
    default: str = "float32",
    device: str = "cpu",
    grad_fn: str | None = None,
    requires_grad: bool = False,
) -> list[str]:
    """Return what is to be said of a tensor after its values, given the names of its dtype and the default.

    >>> suffixes(np.ones(2), "float64", grad_fn="MulBackward0")
    ['dtype=torch.float64', 'grad_fn=<MulBackward0>']
    >>> suffixes(np.ones((0, 3), int), "int64")
    ['size=(0, 3)', 'dtype=torch.int64']
    """
    implied = {default}
    if array.size:
        implied |= {"int64", "bool", COMPLEX_OF.get(default, "complex64")}
    notes = {
        f"device='{device}'": device != "cpu",
        f"size={array.shape}": _options.edgeitems == 0 if array.size else array.ndim != 1,
        f"dtype=torch.{dtype}": dtype not in implied,
        f"grad_fn=<{grad_fn}>": grad_fn is not None,
        "requires_grad=True": requires_grad and grad_fn is None,
    }
    return [note for note, said in notes.items() if said]


def tensor_text(array: Array, suffixes: Iterable[str] = (), prefix: str = "tensor(") -> str:
    """Return an array's values between a prefix and the suffixes, wrapped at the line width.

    >>> print(tensor_text(np.array([[1, -2], [30, 4]], np.int32), ["dtype=torch.int32"]))
    tensor([[ 1, -2],
            [30,  4]], dtype=torch.int32)
    """
    indent = len(prefix)
    text = prefix + _values_text(array, indent)
    length = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if length + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            length = indent + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text + ")"


def _values_text(array: Array, indent: int) -> str:
    """Return the values in nested brackets, `indent` columns from the left."""
    if array.size == 0:
        return "[]"
    shown = array
    if array.ndim and array.size > _options.threshold:
        if _options.edgeitems == 0:
            return "[...]"
        shown = _edges(array)
    cells, width = _cells(shown)
    gaps = tuple(size != full for size, full in zip(shown.shape, array.shape, strict=True))
    return _nested(np.array(cells, object).reshape(shown.shape), gaps, width, indent)


def _edges(array: Array) -> Array:
    """Return the first and the last items along every axis that has more than both."""
    edge = _options.edgeitems
    kept = [
        [*range(edge), *range(size - edge, size)] if size > 2 * edge else range(size) for size in array.shape
    ]
    result: Array = array[np.ix_(*kept)]
    return result


def _nested(cells: Array, gaps: tuple[bool, ...], width: int, indent: int) -> str:
    """Return formatted cells in brackets; `gaps` tells the axes whose middle is left out."""
    if cells.ndim == 0:
        return str(cells.item())
    if cells.ndim == 1:
        row = cells.tolist()
        if gaps[0]:
            row.insert(len(row) // 2, " ...")
        fitting = max(1, (_options.linewidth - indent) // (width + 2))
        parts = [", ".join(row[start : start + fitting]) for start in range(0, len(row), fitting)]
    else:
        parts = [_nested(slab, gaps[1:], width, indent + 1) for slab in cells]
        if gaps[0]:
            parts.insert(len(parts) // 2, "...")
    newlines = "\n" * max(1, cells.ndim - 1)
    return "[" + f",{newlines}{' ' * (indent + 1)}".join(parts) + "]"


def _cells(array: Array) -> tuple[list[str], int]:
    """Return the text of every element, aligned, and the width that they are laid out in."""
    if np.iscomplexobj(array):
        real, real_width = _float_cells(array.real)
        imaginary, imaginary_width = _float_cells(array.imag)
        cells = [_complex_cell(x, y.lstrip()) for x, y in zip(real, imaginary, strict=True)]
        return cells, real_width + imaginary_width + 1
    if array.dtype.kind in "biu":
        cells = [str(value) for value in array.ravel().tolist()]
        width = max(map(len, cells))
        return [cell.rjust(width) for cell in cells], width
    return _float_cells(array)


def _complex_cell(real: str, imaginary: str) -> str:
    return f"{real}{imaginary}j" if imaginary.startswith("-") else f"{real}+{imaginary}j"


def _float_cells(array: Array) -> tuple[list[str], int]:
    """Return the texts of floats and their width, which zeros, infinities and NaNs do not count for."""
    values = array.astype(np.float64).ravel()
    counted = np.isfinite(values) & (values != 0)
    write = _notation(values[counted])
    cells = [write(value) for value in values.tolist()]
    width = max(
        (len(cell) for cell, counts in zip(cells, counted.tolist(), strict=True) if counts), default=1
    )
    return [cell.rjust(width) for cell in cells], width


def _notation(values: Array) -> Callable[[float], str]:
    """Return how to write a column with these finite nonzero values."""
    precision = _options.precision
    whole = bool((values == np.ceil(values)).all())
    if values.size and _is_scientific(np.abs(values), whole):
        return lambda value: f"{value:.{precision}e}"
    if whole:
        return lambda value: f"{value:.0f}." if math.isfinite(value) else str(value)
    return lambda value: f"{value:.{precision}f}"


def _is_scientific(magnitudes: Array, whole: bool) -> bool:
    if _options.sci_mode is not None:
        return _options.sci_mode
    low, high = float(magnitudes.min()), float(magnitudes.max())
    return high > LARGEST or high / low > WIDEST_RATIO or (not whole and low < SMALLEST)
