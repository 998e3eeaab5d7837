"""Data sets, samplers, batches and loaders beside PyTorch's."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from both_libraries import assert_alike, described

import jitgrad
from jitgrad.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    random_split,
)

SIZE = 10


class Squares(Dataset[Any]):
    """Numbers with their squares."""

    def __getitem__(self, index: int) -> Any:
        if not -SIZE <= index < SIZE:
            raise IndexError(index)
        return {"n": index, "square": np.float32(index**2)}

    def __len__(self) -> int:
        return SIZE


class Stream(IterableDataset[int]):
    """Numbers one after the other."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(SIZE))


def rows() -> TensorDataset:
    return TensorDataset(jitgrad.arange(2 * SIZE).reshape(SIZE, 2), jitgrad.arange(SIZE))


def first_rows(loader: DataLoader) -> list[list[int]]:
    return [numbers.tolist() for _, numbers in loader]


# Programs that give the same in both libraries ------------------------------------------------------------

DATA = (
    "D = torch.utils.data; x = torch.arange(20.).reshape(10, 2); t = D.TensorDataset(x, torch.arange(10)); "
)
PROGRAMS = [
    "len(t), t[3], t[-1], t[2:4]",
    "D.TensorDataset(x, torch.ones(3))",
    "s = D.Subset(t, [5, 1, 7]); len(s), s[0], s[2], s[[0, 1]]",
    "s = D.Subset(t, [5, 1, 7]); s[3]",
    "c = D.ConcatDataset([t, D.Subset(t, [4])]); len(c), c[0], c[10], c[-1], c[-11], c.cumulative_sizes",
    "c = t + t + t; len(c), c[25]",
    "D.ConcatDataset([])",
    "D.ConcatDataset([t])[-11]",
    "[len(p) for p in D.random_split(t, [7, 3])]",
    "[len(p) for p in D.random_split(t, [0.33, 0.33, 0.34])]",
    "[len(p) for p in D.random_split(t, [0.5, 0.5])]",
    "D.random_split(t, [7, 4])",
    "D.random_split(t, [1.5, -0.5])",
    "sorted(i for p in D.random_split(t, [4, 6]) for i in p.indices)",
    "D.Dataset()[0]",
    "list(D.SequentialSampler(t))",
    "sorted(D.RandomSampler(t)), len(D.RandomSampler(t, num_samples=25))",
    "collections.Counter(D.RandomSampler(t, num_samples=30))",
    "len(list(D.RandomSampler(t, num_samples=13))), len(list(D.RandomSampler(t, True, 17)))",
    "D.RandomSampler(t, replacement=1)",
    "D.RandomSampler([])",
    "D.RandomSampler(t, num_samples=0)",
    "sorted(D.SubsetRandomSampler([3, 5, 9])), len(D.SubsetRandomSampler([3, 5, 9]))",
    "b = D.BatchSampler(range(10), 4, False); list(b), len(b)",
    "b = D.BatchSampler(range(10), 4, True); list(b), len(b)",
    "b = D.BatchSampler(range(8), 4, True); list(b), len(b)",
    "D.BatchSampler(range(10), 0, True)",
    "D.BatchSampler(range(10), True, True)",
    "D.BatchSampler(range(10), 2, 1)",
    "list(D.DataLoader(t)), len(D.DataLoader(t))",
    "l = D.DataLoader(t, 4); list(l), len(l)",
    "l = D.DataLoader(t, 4, drop_last=True); list(l), len(l)",
    "l = D.DataLoader(t, None); list(l), len(l)",
    "list(D.DataLoader(t, 3, sampler=[1, 2, 2, 9]))",
    "list(D.DataLoader(t, batch_sampler=[[1, 2], [3]]))",
    "list(D.DataLoader(t, 3, sampler=torch.arange(5)))",
    "list(D.DataLoader(D.Subset(t, [5, 1, 7]), 2))",
    "list(D.DataLoader(t, 4, collate_fn=lambda rows: [n.item() for _, n in rows]))",
    "list(D.DataLoader(D.ConcatDataset([t, t]), 8))[1]",
    "list(D.DataLoader([3, 4, 5], 2))",
    "list(D.DataLoader([1.5, 2.5], 2))",
    "list(D.DataLoader(['a', 'b', 'c'], 2))",
    "list(D.DataLoader(np.arange(6.).reshape(3, 2), 2))",
    "list(D.DataLoader([{'x': np.ones(2), 'y': [1, 2.0]}] * 3, 2))",
    "D.DataLoader(t, num_workers=-1)",
    "D.DataLoader(t, timeout=-1)",
    "D.DataLoader(t, shuffle=True, sampler=[1])",
    "D.DataLoader(t, 2, batch_sampler=[[1]])",
    "D.DataLoader(t, None, drop_last=True)",
    "list(D.DataLoader(t, 4, sampler=[11]))",
    "P = collections.namedtuple('P', 'a b'); D.default_collate([P(1, 2.0), P(3, 4.0)])._asdict()",
    "D.default_collate([(1, 'a'), (2, 'b')])",
    "D.default_collate([[1, 2], [3, 4]])",
    "D.default_collate([True, False])",
    "D.default_collate([b'ab', b'c'])",
    "D.default_collate([np.float32(1), np.float32(2)])",
    "D.default_collate([np.int16(1), np.int16(2)])",
    "D.default_collate([np.ones(2, 'f4'), np.zeros(2, 'f4')])",
    "D.default_collate([np.array(['a']), np.array(['b'])]) and 1",
    "D.default_collate([[1, 2], [3]])",
    "D.default_collate([torch.ones(2), torch.ones(3)])",
    "D.default_collate([collections.OrderedDict(b=1, a=2)] * 2)",
    "D.default_convert([np.ones(2), (1, 'a'), {'x': np.float64(2)}, np.array(['a'])])[:3]",
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_give_what_pytorch_gives(program: str) -> None:
    if "['b']" in program:  # the list of kinds in the message ends in other words
        for library in (torch, jitgrad):
            with pytest.raises(TypeError, match="default_collate: batch must contain"):
                library.utils.data.default_collate([np.array(["a"]), np.array(["b"])])
    else:
        assert_alike(DATA + program)


@pytest.mark.parametrize("batch_size", [None, 1, 4])
@pytest.mark.parametrize("drop_last", [False, True])
def test_streams_come_in_batches(batch_size: int | None, drop_last: bool) -> None:
    def run(library: Any) -> Any:
        class Numbers(library.utils.data.IterableDataset):  # type: ignore[misc, name-defined]
            def __iter__(self) -> Iterator[int]:
                return iter(range(SIZE))

        loader = library.utils.data.DataLoader(
            Numbers(), batch_size, drop_last=drop_last and batch_size is not None
        )
        return described(list(loader), library, [])

    assert run(jitgrad) == run(torch)


@pytest.mark.parametrize("option", [{"shuffle": True}, {"sampler": [1]}, {"batch_sampler": [[1]]}])
def test_a_stream_has_no_order(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"unspecified {next(iter(option))} option"):
        DataLoader(Stream(), **option)


# Random orders --------------------------------------------------------------------------------------------


def test_a_shuffled_loader_gives_each_example_once_and_another_order_each_time() -> None:
    loader = DataLoader(rows(), 3, shuffle=True, generator=jitgrad.Generator().manual_seed(1))
    orders = [sum(first_rows(loader), []) for _ in range(4)]
    assert all(sorted(order) == list(range(SIZE)) for order in orders)
    assert len(set(map(tuple, orders))) == 4


def test_a_generator_makes_orders_repeatable() -> None:
    def order() -> list[list[int]]:
        loader = DataLoader(rows(), 3, shuffle=True, generator=jitgrad.Generator().manual_seed(5))
        return first_rows(loader)

    assert order() == order()
    jitgrad.manual_seed(2)
    first = first_rows(DataLoader(rows(), 3, shuffle=True))
    jitgrad.manual_seed(2)
    assert first_rows(DataLoader(rows(), 3, shuffle=True)) == first


def test_a_split_is_repeatable() -> None:
    first, second = (
        [p.indices for p in random_split(range(9), [4, 5], jitgrad.Generator().manual_seed(3))]  # type: ignore[arg-type]
        for _ in range(2)
    )
    assert first == second


def test_every_order_is_as_likely() -> None:
    generator = jitgrad.Generator().manual_seed(11)
    orders = collections.Counter(tuple(RandomSampler(range(3), generator=generator)) for _ in range(6000))
    assert len(orders) == 6
    assert all(abs(count - 1000) < 6 * 1000**0.5 for count in orders.values())


def test_examples_are_drawn_with_replacement_independently() -> None:
    generator = jitgrad.Generator().manual_seed(4)
    counts = collections.Counter(RandomSampler(range(5), True, 5000, generator))
    assert sorted(counts) == list(range(5))
    assert all(abs(count - 1000) < 6 * 800**0.5 for count in counts.values())


# Batches --------------------------------------------------------------------------------------------------


def test_rows_that_are_taken_at_once_are_those_stacked_one_by_one() -> None:
    values = jitgrad.arange(2.0 * SIZE).reshape(SIZE, 2).requires_grad_()
    taken, stacked = (
        list(DataLoader(dataset, 4, sampler=[3, 3, -1, 0, 7]))
        for dataset in (TensorDataset(values), ConcatDataset([TensorDataset(values)]))
    )
    for (ours,), (theirs,) in zip(taken, stacked, strict=True):
        assert ours.tolist() == theirs.tolist() and ours.requires_grad and theirs.requires_grad


def test_a_batch_has_memory_of_its_own() -> None:
    dataset = rows()
    (_, numbers), *_ = DataLoader(dataset, 4)
    numbers.zero_()
    assert dataset.tensors[1].tolist() == list(range(SIZE))


def test_a_loader_of_ones_own_set() -> None:
    batches = list(DataLoader(Squares(), 4))
    assert [b["n"].tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batches[1]["square"].dtype == jitgrad.float32
    assert batches[1]["square"].tolist() == [16, 25, 36, 49]


def test_a_set_may_give_examples_together() -> None:
    class Together(Squares):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            return [-i for i in indices]

    assert [b.tolist() for b in DataLoader(Together(), 5)] == [[0, -1, -2, -3, -4], [-5, -6, -7, -8, -9]]
    assert [b.tolist() for b in DataLoader(Subset(Together(), [4, 2]), 5)] == [[-4, -2]]


def test_a_subclass_of_tensor_dataset_keeps_its_own_examples() -> None:
    class Negative(TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            return tuple(-t for t in super().__getitem__(index))

    ((numbers,),) = DataLoader(Negative(jitgrad.arange(3)), 3)
    assert numbers.tolist() == [0, -1, -2]


def test_an_unfit_example_is_refused() -> None:
    with pytest.raises(TypeError, match="found <class 'object'>"):
        list(DataLoader([object()]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_workers": 2}, "num_workers=2: batches are made by this process alone. Leave num_workers=0"),
        ({"prefetch_factor": 2}, "need num_workers > 0"),
        ({"persistent_workers": True}, "need num_workers > 0"),
    ],
)
def test_other_processes_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DataLoader(rows(), **options)


def test_lengths_of_orders() -> None:
    orders = SequentialSampler(rows()), RandomSampler(rows()), SubsetRandomSampler([1, 2])
    assert [len(o) for o in orders] == [SIZE, SIZE, 2]
    assert len(BatchSampler(orders[0], 3, False)) == 4
