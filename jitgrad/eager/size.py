"""The shape of a tensor as the tuple that PyTorch gives."""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import index
from typing import Any, SupportsIndex, overload


class Size(tuple[int, ...]):
    """Hold the extents of a tensor's axes.

    Raises TypeError for an item that is not an integer.

    >>> size = Size([2, 3])
    >>> size + (4,), size.numel()
    (torch.Size([2, 3, 4]), 6)
    """

    __slots__ = ()

    def __new__(cls, sizes: Iterable[SupportsIndex] = (), /) -> Size:
        return super().__new__(cls, (_extent(position, item) for position, item in enumerate(sizes)))

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def numel(self) -> int:
        """Return the number of elements of a tensor of this size.

        >>> Size([2, 3]).numel()
        6
        """
        return math.prod(self)

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> Size: ...
    def __getitem__(self, key: SupportsIndex | slice) -> int | Size:
        items = super().__getitem__(key)
        return Size(items) if isinstance(items, tuple) else items

    def __add__(self, other: Any) -> Size:
        return Size((*self, *other)) if isinstance(other, tuple) else NotImplemented

    def __radd__(self, other: Any) -> Size:
        return Size((*other, *self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> Size:
        return Size(super().__mul__(times)) if isinstance(times, SupportsIndex) else NotImplemented

    __rmul__ = __mul__


def _extent(position: int, item: SupportsIndex) -> int:
    try:
        return index(item)
    except TypeError:
        kind = type(item).__name__
        raise TypeError(f"torch.Size() takes an iterable of 'int' (item {position} is '{kind}')") from None
