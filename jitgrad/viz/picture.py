"""A picture: boxes, arrows between them and frames around them, as text in Graphviz's language DOT."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from jitgrad.location import user_line
from jitgrad.viz import graphviz
from jitgrad.viz.themes import LIGHT, THEMES, Theme

MAX_NODES = 5000
MAX_WORK = 100_000
"""Boxes and crossings of layers by arrows that Graphviz lays out in some ten seconds."""

MUCH_WORK = 1500  # from here on the layout is found with less care, which is up to 100 times as fast
CARELESS = {"nslimit": "0.1", "nslimit1": "0.1", "mclimit": "0.1", "splines": "line"}

FONT = "Courier"
"""A font of one width, so that text fits its box whatever font is at hand where the picture is looked at."""


MARKS = ("#c92a2a", "#1864ab", "#2b8a3e", "#862e9c", "#d9480f", "#0b7285", "#a61e4d", "#5c940d")
"""The colours of highlighted paths; the first also marks what several have in common."""

DIRECTIONS = {"down": "", "right": "LR"}
"""Where arrows go, and what Graphviz calls it."""


@dataclass(frozen=True, slots=True)
class Box:
    """A node of the picture; `tip` is shown where the pointer rests."""

    key: str
    lines: tuple[str, ...]
    role: str
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """An edge of the picture; it has one line for each of `colours`. `style` is one of Graphviz's."""

    tail: str
    head: str
    label: str = ""
    colours: tuple[str, ...] = ()
    style: str = "solid"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame around the boxes with these keys."""

    title: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text above the picture."""

    text: str
    colour: str = LIGHT.ink


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph to be drawn: shown by notebooks, written to a file by `save`.

    `theme` is a name in THEMES; arrows go "down" or to the "right", at least `gap` inches from box to box.

    >>> picture = Picture((Box("x", ("x",), "leaf"), Box("y", ("exp",), "output")), (Arrow("x", "y"),))
    >>> picture.source.splitlines()[-2]
    '"x" -> "y" []'
    """

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    frames: tuple[Frame, ...] = ()
    caption: tuple[Line, ...] = ()
    theme: str = "light"
    direction: str = "down"
    gap: float = 0.35

    @property
    def source(self) -> str:
        """The picture in DOT."""
        return _dot(self)

    def svg(self) -> str:
        """Return the picture as the text of an SVG file.

        Raises ImportError where neither the extra `viz` nor Graphviz's `dot` is installed, and ValueError
        where the picture is too large to be laid out.
        """
        drawn = self if _work(self) <= MAX_WORK else with_own_leaves(self)
        if _work(drawn) > MAX_WORK:
            raise ValueError(
                f"the arrows of this picture of {len(self.boxes)} boxes, drawn at {user_line()}, are too "
                "long to be laid out. Draw the part next to the result: depth=20"
            )
        return graphviz.svg(drawn.source, [line.colour for line in drawn.caption])

    def png(self, zoom: float = 2.0) -> bytes:
        """Return the picture as the bytes of a PNG file, `zoom` times as large as the SVG one."""
        return graphviz.png(self.svg(), zoom)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file that ends in .svg, .png or .dot; ValueError for other names."""
        name = os.fspath(path)
        kind = os.path.splitext(name)[1].lower()
        if kind not in (".svg", ".png", ".dot"):
            raise ValueError(f"a picture saved at {user_line()} ends in .svg, .png or .dot, got {name!r}")
        made = self.png() if kind == ".png" else (self.svg() if kind == ".svg" else self.source).encode()
        with open(name, "wb") as file:
            file.write(made)

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_png_(self) -> bytes:
        return self.png()

    def __repr__(self) -> str:
        return f"<picture of {len(self.boxes)} boxes and {len(self.arrows)} arrows>"


# DOT --------------------------------------------------------------------------------------------------


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("&", "&amp;")
    return f'"{escaped}"'


def _attributes(**values: str) -> str:
    return f"[{' '.join(f'{name}={_quoted(value)}' for name, value in values.items() if value)}]"


def _dot(picture: Picture) -> str:
    theme = THEMES[picture.theme]
    care = CARELESS if _work(picture) > MUCH_WORK else {}
    whole = _attributes(
        label="".join(f"{line.text}\n" for line in picture.caption),
        labelloc="t",
        fontname=FONT,
        fontsize="12",
        fontcolor=theme.ink,
        bgcolor=theme.background,
        rankdir=DIRECTIONS[picture.direction],
        pad="0.2",
        ranksep=str(picture.gap),
        **care,
    )
    nodes = _attributes(fontname=FONT, fontsize="10", margin="0.12,0.06", height="0.3", width="0.3")
    edges = _attributes(fontname=FONT, fontsize="9", arrowsize="0.6", color=theme.faint, fontcolor=theme.ink)
    lines = ["digraph {", f"graph {whole}", f"node {nodes}", f"edge {edges}"]
    lines += [_box(box, theme) for box in picture.boxes]
    for number, frame in enumerate(picture.frames):
        look = _attributes(
            label=frame.title,
            labeljust="l",
            style="filled,rounded",
            fillcolor=theme.frame,
            color=theme.frame_line,
            fontsize="10",
        )
        inside = " ".join(map(_quoted, frame.keys))
        lines.append(f"subgraph cluster_{number} {{ graph {look} {inside} }}")
    lines += map(_arrow, picture.arrows)
    return "\n".join([*lines, "}"])


def _box(box: Box, theme: Theme) -> str:
    role = theme.roles[box.role]
    look = _attributes(
        label="\n".join(box.lines),
        shape=role.shape,
        style=role.style,
        fillcolor=role.fill,
        color=role.line,
        fontcolor=theme.ink,
        tooltip=box.tip or " ".join(box.lines),
    )
    return f"{_quoted(box.key)} {look}"


def _arrow(arrow: Arrow) -> str:
    marked = arrow.colours != ()
    look = _attributes(
        label=f" {arrow.label} " if arrow.label else "",
        style="" if arrow.style == "solid" else arrow.style,
        color=":".join(arrow.colours),
        fontcolor=arrow.colours[0] if len(arrow.colours) == 1 else "",
        penwidth="2" if marked else "",
    )
    return f"{_quoted(arrow.tail)} -> {_quoted(arrow.head)} {look}"


# Size -------------------------------------------------------------------------------------------------


def narrowed(picture: Picture, results: Iterable[str], depth: int | None, max_nodes: int) -> Picture:
    """The part of a picture that lies at most `depth` arrows before some of its boxes, all of it for None.

    Raises ValueError where that has more than `max_nodes` boxes.
    """
    if depth is not None:
        picture = _within(picture, results, depth)
    if len(picture.boxes) > max_nodes:
        raise ValueError(
            f"the graph drawn at {user_line()} has {len(picture.boxes)} boxes, more than "
            f"max_nodes={max_nodes}. Draw the part next to the result (depth=20), or raise max_nodes"
        )
    return picture


def _within(picture: Picture, results: Iterable[str], depth: int) -> Picture:
    kept = dict.fromkeys(results)
    before: dict[str, list[str]] = {}
    for arrow in picture.arrows:
        before.setdefault(arrow.head, []).append(arrow.tail)
    front: Iterable[str] = kept
    for _ in range(depth):
        front = {tail: None for head in front for tail in before.get(head, ()) if tail not in kept}
        kept.update(dict.fromkeys(front))
    cut = [key for key in kept if any(tail not in kept for tail in before.get(key, ()))]
    boxes = [box for box in picture.boxes if box.key in kept]
    boxes += [Box(f"before {key}", ("...",), "more", "more lies before") for key in cut]
    arrows = [a for a in picture.arrows if a.tail in kept and a.head in kept]
    arrows += [Arrow(f"before {key}", key, style="dashed") for key in cut]
    frames = [replace(f, keys=tuple(key for key in f.keys if key in kept)) for f in picture.frames]
    kept_frames = tuple(f for f in frames if f.keys)
    return replace(picture, boxes=tuple(boxes), arrows=tuple(arrows), frames=kept_frames)


def _work(picture: Picture) -> int:
    """The boxes that Graphviz places: those of the picture, and one for each layer that an arrow crosses."""
    layers = _layers([box.key for box in picture.boxes], picture.arrows)
    return len(layers) + sum(layers[a.head] - layers[a.tail] for a in picture.arrows)


def _layers(keys: Sequence[str], arrows: Sequence[Arrow]) -> dict[str, int]:
    """The length of the longest way to each box; boxes from which all start go next to their first user."""
    after: dict[str, list[str]] = {key: [] for key in keys}
    waits = dict.fromkeys(keys, 0)
    for arrow in arrows:
        after[arrow.tail].append(arrow.head)
        waits[arrow.head] += 1
    sources = [key for key in keys if not waits[key]]
    layers = dict.fromkeys(keys, 0)
    ready = list(sources)
    while ready:
        key = ready.pop()
        for head in after[key]:
            layers[head] = max(layers[head], layers[key] + 1)
            waits[head] -= 1
            if not waits[head]:
                ready.append(head)
    for key in sources:
        layers[key] = min((layers[head] - 1 for head in after[key]), default=0)
    return layers


def with_own_leaves(picture: Picture) -> Picture:
    """The picture with a leaf of its own for each arrow from a leaf, so that no arrow goes far."""
    leaves = {box.key: box for box in picture.boxes if box.role == "leaf"}
    boxes = [box for box in picture.boxes if box.key not in leaves]
    arrows = []
    for number, arrow in enumerate(picture.arrows):
        if arrow.tail in leaves:
            own = replace(leaves[arrow.tail], key=f"{arrow.tail} {number}")
            boxes.append(own)
            arrow = replace(arrow, tail=own.key)
        arrows.append(arrow)
    return replace(picture, boxes=tuple(boxes), arrows=tuple(arrows))
