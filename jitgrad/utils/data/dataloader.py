"""Loads a set's examples in batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jitgrad.eager.functions.random import Generator
from jitgrad.utils.data.collate import default_collate, default_convert
from jitgrad.utils.data.dataset import IterableDataset, examples, has_rows
from jitgrad.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler


class DataLoader:
    """Make an iterable over a set's batches, each time from the beginning.

    The order is that of the set, a random one with `shuffle`, or that of a `sampler` or `batch_sampler`;
    `generator` makes random orders repeatable. `collate_fn` makes a batch of a list of examples.
    `batch_size=None` gives the examples themselves. Batches are made by this process, where `pin_memory` and
    the options of workers do nothing: ValueError for num_workers other than 0, and for options that exclude
    each other.

    >>> import jitgrad
    >>> rows = jitgrad.utils.data.TensorDataset(jitgrad.arange(5))
    >>> for (x,) in jitgrad.utils.data.DataLoader(rows, batch_size=2):
    ...     print(x)
    tensor([0, 1])
    tensor([2, 3])
    tensor([4])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_process(num_workers, timeout, prefetch_factor, persistent_workers)
        if isinstance(dataset, IterableDataset):
            _check_iterable(shuffle, sampler, batch_sampler)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and "
                    "drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.generator = generator
        self.sampler = self._order(shuffle) if sampler is None else sampler
        if batch_size is not None:
            batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        self.batch_sampler = batch_sampler
        alone = default_convert if batch_sampler is None else default_collate
        self.collate_fn = alone if collate_fn is None else collate_fn

    def _order(self, shuffle: bool | None) -> Iterable[Any]:
        if isinstance(self.dataset, IterableDataset):
            return itertools.repeat(None)
        if shuffle:
            return RandomSampler(self.dataset, generator=self.generator)
        return SequentialSampler(self.dataset)

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.dataset, IterableDataset):
            return map(self.collate_fn, self._streamed())
        if self.batch_sampler is None:
            return (self.collate_fn(self.dataset[index]) for index in self.sampler)
        return map(self._batch, self.batch_sampler)

    def _batch(self, indices: list[Any]) -> Any:
        """One batch; rows of tensors are taken at once where stacking them would give the same."""
        if self.collate_fn is default_collate and has_rows(self.dataset):
            if all(type(i) is int for i in indices):
                return list(self.dataset[indices])
        return self.collate_fn(examples(self.dataset, indices))

    def _streamed(self) -> Iterator[Any]:
        """The examples of a set that is iterated over, alone or in lists."""
        examples = iter(self.dataset)
        if self.batch_size is None:
            yield from examples
            return
        while batch := list(itertools.islice(examples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        """The number of batches, or of examples where there are none."""
        if not isinstance(self.dataset, IterableDataset):
            return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]
        count = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return count
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


def _check_process(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    """Refuse other processes, and options that need them."""
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable multiprocessing."
        )
    if num_workers:
        raise ValueError(
            f"num_workers={num_workers}: batches are made by this process alone. Leave num_workers=0"
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if prefetch_factor is not None or persistent_workers:
        raise ValueError("prefetch_factor and persistent_workers need num_workers > 0: leave them out")


def _check_iterable(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
            )
