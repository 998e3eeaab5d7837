"""`python -m jitgrad demo`: fit two classifiers to handwritten digits with fused gradients, and draw it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import jitgrad
from jitgrad.cli.measure import Contender, interleave
from jitgrad.cli.models import MODELS, Model, Vector
from jitgrad.cli.picture import Curve, draw
from jitgrad.cli.terminal import new_console, new_progress, require_extra, seconds, size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

ITERATIONS = 100
HELD_OUT = 450
ROUNDS = 30
WAYS = "fused", "interpreter", "unfused NumPy"

Function = Callable[..., tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Digits:
    """Images scaled to [0, 1] with their labels; the first ones for fitting, the rest held out."""

    images: Vector
    labels: NDArray[np.int64]
    held_out_images: Vector
    held_out_labels: NDArray[np.int64]


@dataclass(slots=True)
class Fit:
    """One model, fitted with one way of computing values and gradients."""

    model: Model
    way: str
    function: Function
    losses: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    parameters: Vector = field(default_factory=lambda: np.zeros(0))
    first: float = 0.0
    median: float = 0.0

    def evaluate(self, parameters: Vector, images: Vector, labels: NDArray[np.int64]) -> tuple[float, Vector]:
        """Compute value and gradient as scipy wants them, and keep the value and the time taken."""
        start = time.perf_counter()
        value, gradient = self.function(parameters, images, labels)
        self.times.append(time.perf_counter() - start)
        self.losses.append(float(value))
        return float(value), np.asarray(gradient)

    def minimize(self, start: Vector, digits: Digits, iterations: int, tick: Callable[[], object]) -> None:
        """Fit the parameters by L-BFGS, after one call that compiles."""
        from scipy.optimize import minimize

        data = digits.images, digits.labels
        begin = time.perf_counter()
        self.function(start, *data)
        self.first = time.perf_counter() - begin
        result = minimize(
            self.evaluate,
            start,
            data,
            method="L-BFGS-B",
            jac=True,
            callback=lambda intermediate: tick(),
            options={"maxiter": iterations},
        )
        self.parameters = result.x

    def curve(self) -> Curve:
        """Return the best loss so far against the seconds spent in evaluations."""
        return Curve(
            self.model.name,
            self.way,
            np.cumsum(self.times),
            np.minimum.accumulate(self.losses),
            self.median,
        )


def run(output: Path, iterations: int = ITERATIONS) -> int:
    """Fit, print the tables and write the picture to `output`; return the exit status."""
    require_extra("demo", ["scipy", "sklearn", "matplotlib", "rich", "threadpoolctl"])
    digits = load()
    fits = [Fit(model, way, function_of(model, way)) for model in MODELS for way in WAYS]
    with one_blas_thread(), new_progress() as progress:
        for fit in fits:
            task = progress.add_task(f"{fit.model.name}, {fit.way}", total=iterations)
            start = fit.model.start(np.random.default_rng(0))
            fit.minimize(start, digits, iterations, functools.partial(progress.advance, task))
            progress.update(task, completed=iterations)
        task = progress.add_task("timing all side by side", total=ROUNDS * len(fits))
        time_calls(fits, digits, functools.partial(progress.advance, task))
    console = new_console()
    console.print(fits_table(fits, digits))
    report_kernels(console, fits, digits)
    draw([fit.curve() for fit in fits], output)
    console.print(f"Picture of convergence and timing: {output.resolve()}", soft_wrap=True)
    return 0


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep BLAS on one thread: for these small products its waiting threads cost far more than they bring."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


def time_calls(fits: Sequence[Fit], digits: Digits, tick: Callable[[], object]) -> None:
    """Time one evaluation of every fit, interleaved, so that a busy machine is as unkind to each."""
    contenders = [
        Contender(fit.way, functools.partial(fit.function, fit.parameters, digits.images, digits.labels))
        for fit in fits
    ]
    for _ in interleave(contenders, ROUNDS):
        tick()
    for fit, contender in zip(fits, contenders, strict=True):
        fit.median = contender.median


def load() -> Digits:
    """Load the handwritten digits that scikit-learn ships, shuffled."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order] / 16.0, labels[order]
    return Digits(images[:-HELD_OUT], labels[:-HELD_OUT], images[-HELD_OUT:], labels[-HELD_OUT:])


def function_of(model: Model, way: str) -> Function:
    """Return the value and gradient of a model's loss, computed in one of WAYS."""
    fused: Function = jitgrad.value_and_grad(model.loss)
    ways: dict[str, Function] = {
        "fused": fused,
        "interpreter": jitgrad.interpret(fused),
        "unfused NumPy": model.by_hand,
    }
    return ways[way]


def fits_table(fits: Sequence[Fit], digits: Digits) -> Table:
    """Lay out what each fit reached and how long it took."""
    from rich.table import Table

    result = Table(title="Handwritten digits, fitted by L-BFGS", caption="BLAS on one thread, for all")
    for name in ("model", "value and gradient by"):
        result.add_column(name)
    for name in ("loss", "held out", "first call", "a call", "calls", "in all"):
        result.add_column(name, justify="right")
    for fit in fits:
        if fit.way == WAYS[0]:
            result.add_section()
        accuracy = fit.model.accuracy(fit.parameters, digits.held_out_images, digits.held_out_labels)
        result.add_row(
            fit.model.name if fit.way == WAYS[0] else "",
            fit.way,
            f"{min(fit.losses):.6f}",
            f"{accuracy:.1%}",
            seconds(fit.first),
            seconds(fit.median),
            str(len(fit.times)),
            seconds(sum(fit.times)),
        )
    return result


def report_kernels(console: Console, fits: Sequence[Fit], digits: Digits) -> None:
    """Print the fused kernels of each model, the bytes saved and where the sources lie."""
    from rich.table import Table

    for fit in fits:
        if fit.way != "fused":
            continue
        report = fit.function.explain(fit.parameters, digits.images, digits.labels)  # type: ignore[attr-defined]
        result = Table(title=f"Kernels of the {fit.model.name}")
        for name in ("kernel", "your lines", "reads", "writes", "source"):
            result.add_column(name, overflow="fold")
        for kernel in report.kernels:
            lines = ", ".join(short(line) for line in kernel.lines)
            source = str(kernel.source_path or "not on disk")
            result.add_row(kernel.name, lines, size(kernel.bytes_read), size(kernel.bytes_written), source)
        console.print(result)
        saved = report.bytes_unfused - report.bytes_moved
        console.print(
            f"Fusion saves {size(saved)} of {size(report.bytes_unfused)} moved for one value and gradient; "
            f"library calls: {', '.join(call.name for call in report.calls) or 'none'}.\n"
        )


def short(line: str) -> str:
    """Drop the folders from file:line."""
    return line.replace("\\", "/").rpartition("/")[2]
