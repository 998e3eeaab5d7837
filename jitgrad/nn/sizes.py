"""Options of layers that are one number for all axes or one for each."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any


def repeated(value: Any, count: int) -> Any:
    """The option as a tuple of one value for each axis; what is iterable stays what it is."""
    return tuple(value) if isinstance(value, Iterable) else (value,) * count


def as_numbers(value: Any, count: int, name: str) -> tuple[int, ...]:
    """The option as integers, one for each axis; RuntimeError for another number of them."""
    numbers = tuple(operator.index(n) for n in (value if isinstance(value, Iterable) else (value,)))
    if len(numbers) == 1:
        return numbers * count
    if len(numbers) != count:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {count} values to match the "
            f"convolution dimensions, but got {name}={list(numbers)}"
        )
    return numbers
