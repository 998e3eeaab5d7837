"""The user's own names for values of a traced function: its arguments, and what it assigns to variables."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from jitgrad.ir import Node
from jitgrad.pytree import flatten, paths
from jitgrad.traced import Traced

Names = dict[Node, list[str]]


def argument_names(function: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    """Return one name for each leaf of the arguments, with its place in them: "p['w']".

    >>> argument_names(lambda x, p: None, (1.0, {"w": 2.0}))
    ['x', "p['w']"]
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "x")
    names = []
    for i, argument in enumerate(args):
        name = named[i] if i < len(named) else f"{rest}[{i - len(named)}]"
        names += [name + path for path in paths(flatten(argument)[1])]
    return names


@contextmanager
def assignments(function: Callable[..., Any], names: Names) -> Iterator[None]:
    """Collect in `names` what the function's variables are called while it runs inside, by their nodes."""
    code = getattr(inspect.unwrap(function), "__code__", None)

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        for name, value in frame.f_locals.items():
            if isinstance(value, Traced) and value._trace.active:
                known = names.setdefault(value.node, [])
                if name not in known:
                    known.append(name)
        return look

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        return look if frame.f_code is code else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


def captured_names(function: Callable[..., Any], array: Any) -> list[str]:
    """Return the names under which a function refers to an array from outside."""
    try:
        outside = inspect.getclosurevars(inspect.unwrap(function))
    except TypeError:
        return []
    return [name for name, value in {**outside.globals, **outside.nonlocals}.items() if value is array]
