"""Sets of examples: of tensors, parts of others, several behind each other."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from jitgrad.eager.functions.random import Generator
from jitgrad.eager.functions.sampling import randperm
from jitgrad.eager.tensor import Tensor

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Base of sets of examples; a subclass gives `__getitem__`, and mostly `__len__`."""

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[T_co]) -> ConcatDataset[T_co]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """Base of examples that come one after the other; a subclass gives `__iter__`."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Make a set of the rows of tensors: example i has the i-th entry of each.

    >>> import jitgrad
    >>> rows = jitgrad.utils.data.TensorDataset(jitgrad.tensor([1.0, 2.0]), jitgrad.tensor([3, 4]))
    >>> len(rows), rows[1]
    (2, (tensor(2.), tensor(4)))
    """

    def __init__(self, *tensors: Tensor) -> None:
        if any(t._array.shape[0] != tensors[0]._array.shape[0] for t in tensors):
            raise AssertionError("Size mismatch between tensors")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0]._array.shape[0])


class Subset(Dataset[T_co]):
    """Make a set of the examples of another that have some indices."""

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: Sequence[int]) -> Sequence[T_co]:
        return examples(self.dataset, [self.indices[i] for i in indices])  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return len(self.indices)


def examples(dataset: Any, indices: Sequence[Any]) -> Any:
    """The examples with some indices, which a set may give together by `__getitems__`."""
    together = getattr(dataset, "__getitems__", None)
    return [dataset[i] for i in indices] if together is None else together(indices)


def has_rows(dataset: Any) -> bool:
    """Whether the set takes a list of indices, and gives the tensors of all these examples."""
    return type(dataset) is TensorDataset or (type(dataset) is Subset and has_rows(dataset.dataset))


class ConcatDataset(Dataset[T_co]):
    """Make one set of several, one after the other.

    >>> import jitgrad
    >>> both = jitgrad.utils.data.ConcatDataset(["ab", "cde"])
    >>> len(both), both[2], both[-1]
    (5, 'c', 'e')
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = list(itertools.accumulate(map(len, self.datasets)))

    def __getitem__(self, index: int) -> T_co:
        if index < -len(self):
            raise ValueError("absolute value of index should not exceed dataset length")
        place = index + len(self) if index < 0 else index
        number = bisect.bisect_right(self.cumulative_sizes, place)
        before = self.cumulative_sizes[number - 1] if number else 0
        return self.datasets[number][place - before]  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


def random_split(
    dataset: Dataset[T_co], lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset[T_co]]:
    """Split a set at random into parts of some lengths, or of some fractions that sum to 1.

    >>> import jitgrad
    >>> [len(part) for part in jitgrad.utils.data.random_split(range(10), [0.7, 0.25, 0.05])]
    [8, 2, 0]
    """
    size = len(dataset)  # type: ignore[arg-type]
    sizes = _counts(size, lengths) if math.isclose(sum(lengths), 1) and sum(lengths) <= 1 else list(lengths)
    if sum(sizes) != size:
        raise ValueError("Sum of input lengths does not equal the length of the input dataset!")
    order = randperm(size, generator=generator).tolist()
    ends = itertools.accumulate(map(int, sizes))
    return [Subset(dataset, order[end - int(n) : end]) for n, end in zip(sizes, ends, strict=True)]


def _counts(size: int, fractions: Sequence[float]) -> list[int]:
    """The fractions of a size, rounded down; the first parts get one more each until all is given away."""
    for place, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise ValueError(f"Fraction at index {place} is not between 0 and 1")
    counts = [math.floor(size * fraction) for fraction in fractions]
    for place in range(size - sum(counts)):
        counts[place % len(counts)] += 1
    return counts
