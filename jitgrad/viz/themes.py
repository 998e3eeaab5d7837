"""The looks of pictures: shapes and colours by what a box stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Role:
    """How boxes of one kind look."""

    shape: str
    fill: str
    line: str
    style: str = "filled"


@dataclass(frozen=True, slots=True)
class Theme:
    """The looks of boxes by role, and the colours of text, arrows, frames and the background, if any."""

    roles: dict[str, Role]
    ink: str
    faint: str
    frame: str
    frame_line: str
    background: str = ""


LIGHT = Theme(
    roles={
        "leaf": Role("box", "#cfe2f7", "#1f5fa8"),
        "operation": Role("box", "#f1f3f5", "#868e96", "filled,rounded"),
        "output": Role("box", "#cdeecb", "#23783c", "filled,bold"),
        "saved": Role("note", "#fdebc3", "#a86f14"),
        "adjoint": Role("box", "#fbdcd3", "#b5482a", "filled,rounded"),
        "array": Role("cylinder", "#fdf3cf", "#94781f"),
        "call": Role("component", "#e7dcf8", "#6b46c1"),
        "more": Role("plain", "#ffffff", "#868e96", ""),
        "convolution": Role("box", "#d3f2ee", "#0b7285", "filled,rounded"),
        "linear": Role("box", "#e7dcf8", "#6b46c1", "filled,rounded"),
        "pooling": Role("box", "#fdf3cf", "#94781f", "filled,rounded"),
        "pointwise": Role("box", "#fbdcd3", "#b5482a", "filled,rounded"),
        "layer": Role("box", "#fce3ee", "#a61e4d", "filled,rounded"),
    },
    ink="#2b2d33",
    faint="#7b848e",
    frame="#f8f9fb",
    frame_line="#adb5bd",
)

_DARK_FILLS = {
    "leaf": ("#163a5f", "#74b3f0"),
    "operation": ("#343a40", "#adb5bd"),
    "output": ("#1d4a29", "#7fd18b"),
    "saved": ("#4d3a12", "#e3b65c"),
    "adjoint": ("#562a1d", "#f0937a"),
    "array": ("#4a4115", "#dcc660"),
    "call": ("#3b2a66", "#b79cf0"),
    "more": ("#1f2227", "#adb5bd"),
    "convolution": ("#123f45", "#5cc3ce"),
    "linear": ("#3b2a66", "#b79cf0"),
    "pooling": ("#4a4115", "#dcc660"),
    "pointwise": ("#562a1d", "#f0937a"),
    "layer": ("#4d1f36", "#e78ab3"),
}

DARK = Theme(
    roles={
        name: replace(LIGHT.roles[name], fill=fill, line=line) for name, (fill, line) in _DARK_FILLS.items()
    },
    ink="#eef0f3",
    faint="#9aa3ad",
    frame="#2a2e35",
    frame_line="#5c636b",
    background="#1f2227",
)

THEMES = {"light": LIGHT, "dark": DARK}
