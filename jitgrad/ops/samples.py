"""Sample calls of ops: what a declaration gives so that all its tests follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Interval = tuple[float, float]
Domain = Interval | tuple[Interval, ...]
Samples = Callable[["Draw"], list["Sample"]]
Kink = tuple[tuple[Any, ...], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Static:
    """An array that a sample passes as it is, where others become inputs of the graph."""

    value: Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One call: its arrays become inputs, everything else is passed as it is.

    `gradients` states the derivative of the sum of the output with respect to each float array, in order, at
    a point where finite differences cannot tell it.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    gradients: tuple[Any, ...] | None = None


def case(*args: Any, **kwargs: Any) -> Sample:
    return Sample(args, kwargs)


@dataclass(frozen=True, slots=True)
class Draw:
    """Seeded random values of one dtype."""

    rng: np.random.Generator
    dtype: np.dtype[Any]

    def __call__(self, *shape: int, low: float = -2.0, high: float = 2.0) -> Any:
        """An array within [low, high], shape `shape`."""
        if self.dtype.kind == "f":
            return np.asarray(self.rng.uniform(low, high, shape), self.dtype)
        if self.dtype.kind == "b":
            return np.asarray(self.rng.integers(0, 2, shape), bool)
        first = int(np.ceil(low))
        return np.asarray(self.rng.integers(first, max(first, int(np.floor(high))) + 1, shape), self.dtype)

    def index(self, size: int, *shape: int) -> Any:
        """Valid indices, negative ones too, for an axis of `size` elements."""
        return np.asarray(self.rng.integers(-size, size, shape))

    def mask(self, *shape: int) -> Any:
        return np.asarray(self.rng.integers(0, 2, shape), bool)

    def scalar(self, low: float = -2.0, high: float = 2.0) -> Any:
        return self(low=low, high=high).item()


def unary(**static: Any) -> Samples:
    """Samples for a function of one array, with these keyword arguments."""

    def samples(d: Draw) -> list[Sample]:
        return [case(x, **static) for x in (d(2, 3), d(), d(7), d(2, 1, 3), d(0), d(3, 0, 2))]

    return samples


_PAIRS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((), (3,)),
    ((), ()),
    ((0,), (1,)),
)


def elementwise(arity: int, domain: Domain) -> Samples:
    """Samples for an elementwise op of one or two arguments, each within its interval of `domain`."""
    first = domain[0]
    intervals: Any = domain if isinstance(first, tuple) else (domain,) * arity

    def samples(d: Draw) -> list[Sample]:
        if arity == 0:
            return [case()]
        (low, high), (low_y, high_y) = intervals[0], intervals[-1]
        if arity == 1:
            return [case(d(*s, low=low, high=high)) for s in ((2, 3), (), (7,), (2, 1, 3), (0,), (3, 0, 2))]
        pairs = [case(d(*s, low=low, high=high), d(*t, low=low_y, high=high_y)) for s, t in _PAIRS]
        with_scalars = [
            case(d(4, low=low, high=high), d.scalar(low_y, high_y)),
            case(d.scalar(low, high), d(4, low=low_y, high=high_y)),
        ]
        return pairs + (with_scalars if d.dtype.kind != "b" else [])

    return samples


def with_kinks(samples: Samples, kinks: Sequence[Kink]) -> Samples:
    """The samples and, for float dtypes, the points at which `kinks` states the derivatives."""
    if not kinks:
        return samples

    def both(d: Draw) -> list[Sample]:
        if d.dtype.kind != "f":
            return samples(d)
        stated = [
            Sample(tuple(np.asarray(a, d.dtype) for a in args), {}, gradients) for args, gradients in kinks
        ]
        return samples(d) + stated

    return both


def only(kinds: str, samples: Samples) -> Samples:
    """The samples for dtypes of these kinds, none for others."""
    return lambda d: samples(d) if d.dtype.kind in kinds else []
