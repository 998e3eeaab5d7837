"""Draw the demonstration: loss against time for each model, and the time of one evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jitgrad.cli.terminal import seconds

COLOURS = ("#0b6e99", "#e07b39", "#8d99a6")
INK = "#2b2d33"


@dataclass(frozen=True, slots=True)
class Curve:
    """The loss over time of one model, fitted in one way."""

    model: str
    way: str
    seconds: NDArray[np.float64]
    losses: NDArray[np.float64]
    call_seconds: float


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Write the picture as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(curve.model for curve in curves))
    ways = list(dict.fromkeys(curve.way for curve in curves))
    figure: Any = Figure(figsize=(4.8 * (len(models) + 1), 4.6), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06, h_pad=0.08, w_pad=0.08)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(models) + 1)
    for axis, model in zip(axes, models, strict=False):
        draw_losses(axis, [curve for curve in curves if curve.model == model])
    draw_calls(axes[-1], curves, models, ways)
    for axis in axes:
        finish(axis)
    figure.suptitle("Fitting handwritten digits by L-BFGS", color=INK, fontsize=14, weight="bold")
    figure.savefig(path, dpi=150, format="png")


def draw_losses(axis: Any, curves: Sequence[Curve]) -> None:
    """Draw how far one model's losses are above their final values, over the time spent in evaluations."""
    for curve, colour in zip(curves, COLOURS, strict=False):
        above = curve.losses > curve.losses[-1]
        milliseconds, excess = 1e3 * curve.seconds[above], curve.losses[above] - curve.losses[-1]
        axis.plot(milliseconds, excess, color=colour, linewidth=2, label=curve.way)
        axis.plot(milliseconds[-1:], excess[-1:], "o", color=colour, markersize=6)
    axis.set_yscale("log")
    axis.set_xlim(left=0)
    axis.set_title(curves[0].model)
    axis.set_xlabel("milliseconds spent in value and gradient")
    axis.set_ylabel("training loss above its final value")
    axis.legend(frameon=False, labelcolor=INK)


def draw_calls(axis: Any, curves: Sequence[Curve], models: Sequence[str], ways: Sequence[str]) -> None:
    """Draw the median time of one evaluation as bars, grouped by model."""
    width = 0.8 / len(ways)
    for k, (way, colour) in enumerate(zip(ways, COLOURS, strict=False)):
        times = [curve.call_seconds for curve in curves if curve.way == way]
        places = np.arange(len(models)) + (k - (len(ways) - 1) / 2) * width
        bars = axis.bar(places, [1e3 * t for t in times], 0.9 * width, color=colour, label=way)
        axis.bar_label(bars, [seconds(t) for t in times], padding=2, fontsize=8, color=INK)
    axis.set_xticks(range(len(models)), models)
    axis.margins(y=0.12)
    axis.set_title("one value and gradient")
    axis.set_ylabel("milliseconds (median)")


def finish(axis: Any) -> None:
    """Give all panels the same quiet look."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(INK)
    axis.tick_params(colors=INK, which="both")
    for text in (axis.title, axis.xaxis.label, axis.yaxis.label):
        text.set_color(INK)
    axis.grid(axis="y", color="#e3e5e8", linewidth=0.8)
    axis.set_axisbelow(True)
