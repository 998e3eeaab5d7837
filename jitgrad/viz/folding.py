"""Makes a list of layers shorter: joins chains of layers, folds repeated blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jitgrad.viz.layers import Layer


@dataclass(frozen=True, slots=True)
class Block:
    """Layers that follow one another several times in the same way: the keys of the first of them."""

    place: str
    count: int
    keys: tuple[str, ...]


def joined(layers: Sequence[Layer]) -> list[Layer]:
    """Join normalisations, activations and dropout to the layer before, where nothing else uses that.

    >>> x = Layer("x", ("x",), "3", "leaf")
    >>> first = Layer("a", ("Linear",), "3", "linear", sources=("x",))
    >>> second = Layer("b", ("ReLU",), "3", "pointwise", sources=("a",))
    >>> [layer.titles for layer in joined([x, first, second])]
    [('x',), ('Linear', 'ReLU')]
    """
    users = Counter(source for layer in layers for source in layer.sources)
    made: dict[str, Layer] = {}
    now = {layer.key: layer.key for layer in layers}
    for layer in layers:
        sources = tuple(now[source] for source in layer.sources)
        before = made[sources[0]] if len(sources) == 1 else None
        if (
            layer.role == "pointwise"
            and before is not None
            and before.role != "leaf"
            and before.shape == layer.shape
            and users[layer.sources[0]] == 1
        ):
            made[before.key] = replace(before, titles=before.titles + layer.titles)
            now[layer.key] = before.key
        else:
            made[layer.key] = replace(layer, sources=sources)
    return list(made.values())


def folded(layers: Sequence[Layer]) -> tuple[list[Layer], list[Block]]:
    """Keep the first of equal blocks that follow one another, shorter blocks before longer ones.

    A block has one input and one result; a block of one layer becomes a layer with a count.

    >>> chain = [Layer(str(i), ("Linear",), "3", "linear", sources=(str(i - 1),)) for i in range(1, 4)]
    >>> layers, blocks = folded([Layer("0", ("x",), "3", "leaf"), *chain])
    >>> [(layer.key, layer.count) for layer in layers], blocks
    ([('0', 1), ('1', 3)], [])
    """
    kept, blocks = list(layers), list[Block]()
    length = 1
    while 2 * length <= len(kept):
        start = 0
        while start + 2 * length <= len(kept):
            count = _repetitions(kept, start, length, {key for block in blocks for key in block.keys})
            if count > 1:
                places = [layer.place for layer in kept[start : start + count * length]]
                kept = _once(kept, start, length, count)
                keys = tuple(layer.key for layer in kept[start : start + length])
                if length == 1:
                    kept[start] = replace(kept[start], count=kept[start].count * count)
                else:
                    blocks.append(Block(_common(places), count, keys))
            start += length if count > 1 else 1
        length += 1
    return kept, blocks


def _repetitions(layers: Sequence[Layer], start: int, length: int, taken: set[str]) -> int:
    """How many times the block that starts here follows in a row."""
    block = layers[start : start + length]
    if not _alike(block[0], layers[start + length]) or any(layer.key in taken for layer in block):
        return 1
    count = 1
    while start + (count + 1) * length <= len(layers) and _follows(layers, start, length, count):
        count += 1
    return count


def _alike(one: Layer, other: Layer) -> bool:
    looks = [(layer.titles, layer.shape, layer.role, layer.count) for layer in (one, other)]
    return looks[0] == looks[1]


def _follows(layers: Sequence[Layer], start: int, length: int, count: int) -> bool:
    """Whether the block that starts here is there again, `count` blocks later, after the one before that.

    It reads the result of the one before, its last layer, where the first block reads its input, and nothing
    later reads more than that result.
    """
    first = layers[start : start + length]
    again = layers[start + count * length : start + (count + 1) * length]
    before = layers[start + (count - 1) * length : start + count * length]
    within = {layer.key for layer in first}
    outside = {source for layer in first for source in layer.sources} - within
    if len(outside) != 1 or not all(map(_alike, first, again)):
        return False
    stands_for = {one.key: other.key for one, other in zip(first, again, strict=True)}
    stands_for[outside.pop()] = before[-1].key
    if any(
        not one.sources or tuple(stands_for[source] for source in one.sources) != other.sources
        for one, other in zip(first, again, strict=True)
    ):
        return False
    after = layers[start + (count + 1) * length :]
    inner = {layer.key for layer in (*before, *again[:-1])}
    return not any(source in inner for layer in after for source in layer.sources)


def _once(layers: Sequence[Layer], start: int, length: int, count: int) -> list[Layer]:
    """The layers with the first block only, whose result stands for that of the last."""
    first, last = layers[start + length - 1].key, layers[start + count * length - 1].key
    rest = [
        replace(layer, sources=tuple(first if source == last else source for source in layer.sources))
        for layer in layers[start + count * length :]
    ]
    return [*layers[: start + length], *rest]


def _common(places: Sequence[str]) -> str:
    """The module that has all of these inside: "layer1" for "layer1.0.conv1" and "layer1.1.conv1"."""
    parts = [place.split(".") for place in places if place]
    shared = []
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return ".".join(shared)
