"""What makes a graph run: the choice between this machine's CPU and a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from jitgrad.location import user_line
from jitgrad.runtime import execute as cpu
from jitgrad.runtime.cuda.arrays import on
from jitgrad.signature import Input

Engine = Callable[..., Any]  # of a graph, the strides of its inputs, and the places of donated ones

TARGETS = ("cpu", "cuda")
DEVICE_ENGINES = "jitgrad.runtime.cuda.execute"


def engine_for(fastmath: bool, target: str | None = None) -> Engine:
    """Return what compiles a graph for a target, "cpu" or "cuda"; None means where the arguments lie.

    Raises ValueError for another target.
    """
    if target is not None and target not in TARGETS:
        raise ValueError(f"target at {user_line()} must be 'cpu' or 'cuda', got {target!r}")
    engine = cpu.compile_fast if fastmath else cpu.compile_graph
    return on_device(engine) if target == "cuda" else engine


def on_device(engine: Engine) -> Engine:
    """Return the engine that does on a GPU what this one does on the CPU; others stay as they are."""
    from jitgrad.runtime.cuda import execute as cuda

    return {cpu.compile_fast: cuda.compile_fast, cpu.compile_graph: cuda.compile_graph}.get(engine, engine)


def is_on_cpu(engine: Engine) -> bool:
    """Return whether an engine compiles for the CPU, so that its programs can be kept on disk."""
    return engine in (cpu.compile_graph, cpu.compile_fast)


def chosen(engine: Engine, inputs: Sequence[Input]) -> Engine:
    """Return the engine for these arguments: arrays on a GPU take the program there.

    Raises ValueError for arrays on several devices.
    """
    devices = sorted({i.device for i in inputs if i.device is not None})
    if len(devices) > 1:
        raise ValueError(
            f"the arguments at {user_line()} lie on devices {', '.join(map(str, devices))}. "
            "Copy them to one of these first"
        )
    return on_device(engine) if devices else engine


def at_home(inputs: Sequence[Input]) -> AbstractContextManager[Any]:
    """Make the device on which arguments lie, if they lie on one, the current one while a program is made."""
    devices = [i.device for i in inputs if i.device is not None]
    return on(devices[0]) if devices else nullcontext()


def strides_for(engine: Engine, inputs: Sequence[Input]) -> list[tuple[int, ...] | None]:
    """Return the strides with which arrays reach a program: copies of NumPy's on a GPU are contiguous."""
    if engine.__module__ != DEVICE_ENGINES:
        return [i.strides for i in inputs]
    return [None if i.device is None else i.strides for i in inputs]
