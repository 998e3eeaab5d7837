"""Draws a module layer by layer."""

from __future__ import annotations

from typing import Any, Literal

from jitgrad.location import user_line
from jitgrad.nn.modules.module import Module
from jitgrad.viz.folding import folded, joined
from jitgrad.viz.layers import Layer, layers_of
from jitgrad.viz.picture import DIRECTIONS, MAX_NODES, Arrow, Box, Frame, Picture, narrowed
from jitgrad.viz.themes import THEMES

GAP = 0.2  # inches between layers, so that ResNet-18 fits a page


def draw_model(
    module: Module,
    *inputs: Any,
    fold: bool = True,
    theme: Literal["light", "dark"] = "light",
    direction: Literal["down", "right"] = "down",
    depth: int | None = None,
    max_nodes: int = MAX_NODES,
) -> Picture:
    """Draw the layers that a module calls on such inputs, and the operations between them, with their shapes.

    The module runs once, in evaluation mode, and is left as it was. Parameters and other constants are not
    drawn. With `fold`, normalisations, activations and dropout are joined to the layer before, and of equal
    blocks in a row the first is drawn, with their number; otherwise each call has a box of its own. `depth`
    draws only that many steps before the results. Raises TypeError for what is no module, ValueError for an
    unknown theme or direction and for more boxes than `max_nodes`.

    >>> import jitgrad
    >>> from jitgrad import nn
    >>> net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> [box.lines for box in draw_model(net, jitgrad.zeros(1, 4)).boxes]
    [('input', '1×4'), ('Linear · ReLU  ×2', '1×4'), ('Linear', '1×2'), ('output', '1×2')]
    """
    if not isinstance(module, Module):
        raise TypeError(
            f"draw_model at {user_line()} draws a module, got {type(module).__name__}. For tensors use "
            "make_dot, for a function of arrays draw_graph"
        )
    for name, value, known in (("theme", theme, THEMES), ("direction", direction, DIRECTIONS)):
        if value not in known:
            raise ValueError(f"draw_model at {user_line()}: {name} is {' or '.join(known)}, got {value!r}")
    layers = layers_of(module, inputs)
    layers, blocks = folded(joined(layers)) if fold else (layers, [])
    shapes = {layer.key: layer.shape for layer in layers}
    boxes = tuple(Box(layer.key, _lines(layer, shapes), layer.role, layer.place) for layer in layers)
    arrows = tuple(Arrow(source, layer.key) for layer in layers for source in layer.sources)
    frames = tuple(Frame(f"{block.place} ×{block.count}".strip(), block.keys) for block in blocks)
    picture = Picture(boxes, arrows, frames, theme=theme, direction=direction, gap=GAP)
    results = [layer.key for layer in layers if layer.role == "output"]
    return narrowed(picture, results, depth, max_nodes)


def _lines(layer: Layer, shapes: dict[str, str]) -> tuple[str, ...]:
    """What a box says: of operations such as sums, the shape only where it differs from what they read."""
    title = " · ".join(layer.titles) + (f"  ×{layer.count}" if layer.count > 1 else "")
    told = layer.role != "operation" or all(shapes[source] != layer.shape for source in layer.sources)
    return (title, layer.shape) if told else (title,)
