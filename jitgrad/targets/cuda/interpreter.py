"""The text for groups of threads run in Python, thread by thread, on any machine: for tests and for looking.

Each thread is a generator that stops wherever it waits for others. Threads share the turns of loops in
another way for every loop, since no kernel may depend on it. An access that another thread's access makes
uncertain, because no barrier stands between them, raises RaceError, as does one outside of its array.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from jitgrad.ops.reductions import identity
from jitgrad.targets import dialect
from jitgrad.targets.cuda.device import WARP
from jitgrad.targets.dialect import Span
from jitgrad.targets.source import COMBINE

Thread = Generator[tuple[str, Any, int], Any, Any]
WAITING = {"sync", "shuffle"}


class RaceError(RuntimeError):
    """Two threads touch one element, one of them writes it, and nothing says which comes first."""


class DivergenceError(RuntimeError):
    """Some threads wait for others that have ended, or that wait for something else."""


@dataclass(slots=True)
class _State:
    """The thread and group that run just now, and who touched which element since the last barrier."""

    threads: int
    groups: int
    thread: int = 0
    group: int = 0
    touched: dict[tuple[int, int], tuple[int, bool]] = field(default_factory=dict)
    taken: dict[tuple[int, int], tuple[int, bool]] = field(default_factory=dict)

    def touch(self, memory: int, place: int, writes: bool) -> None:
        key = memory, place
        _check(self.touched, key, self.thread, writes, "threads")
        _check(self.taken, key, self.group, writes, "groups")


def _check(seen: dict[Any, tuple[int, bool]], key: Any, who: int, writes: bool, what: str) -> None:
    other, wrote = seen.get(key, (who, False))
    if other != who and (writes or wrote):
        raise RaceError(f"{what} {other} and {who} touch element {key[1]} of one array without a barrier")
    seen[key] = (who, writes or wrote)


@dataclass(frozen=True, slots=True)
class _Watched(Span):
    """A span that reports what is read and written."""

    state: Any = None

    def __getitem__(self, index: int) -> Any:
        place = self._place(index)
        self.state.touch(id(self.memory), place, False)
        return self.memory[place]

    def __setitem__(self, index: int, value: Any) -> None:
        place = self._place(index)
        self.state.touch(id(self.memory), place, True)
        self.memory[place] = value


def run(text: str, arguments: Mapping[str, Any], units: int, threads: int = WARP, groups: int = 2) -> None:
    """Run the first function of `text` on a grid of `groups` groups of `threads` threads.

    `arguments` gives each parameter after `units` its value: a number, a `dialect.Span`, or, for a
    temporary, a function that makes the span of a group. Raise RaceError, DivergenceError or IndexError
    where threads would not do what the text says on every machine.
    """
    state = _State(threads, groups)
    module = ast.fix_missing_locations(_Generators(ast.parse(text)).visit(ast.parse(text)))
    namespace = _Namespace(_intrinsics(state))
    exec(compile(module, "<grid>", "exec"), namespace)
    entry = namespace[module.body[0].name]
    for group in range(groups):
        given = {name: _given(value, state) for name, value in arguments.items()}
        state.group = group
        _run_group(state, [entry(units=units, **given) for _ in range(threads)])


def _given(value: Any, state: _State) -> Any:
    span = value() if callable(value) else value
    return _Watched(span.memory, span.start, state) if isinstance(span, Span) else span


def _run_group(state: _State, running: list[Thread]) -> None:
    """Let each thread of a group run until it waits; when all that it waits for do, go on."""
    waiting = {number: _resumed(state, number, thread, None) for number, thread in enumerate(running)}
    while any(wish is not None for wish in waiting.values()):
        kinds = {wish[0] for wish in waiting.values() if wish is not None}
        if kinds == {"sync"} and None not in waiting.values():
            state.touched.clear()
            answers: dict[int, Any] = dict.fromkeys(waiting)
        else:
            answers = _shuffled(waiting)
        if not answers:
            raise DivergenceError(f"threads wait for others at different places: {sorted(kinds)}")
        for number, answer in answers.items():
            waiting[number] = _resumed(state, number, running[number], answer)
    state.touched.clear()


def _resumed(state: _State, number: int, thread: Thread, answer: Any) -> tuple[str, Any, int] | None:
    state.thread = number
    try:
        return thread.send(answer)
    except StopIteration:
        return None


def _shuffled(waiting: Mapping[int, tuple[str, Any, int] | None]) -> dict[int, Any]:
    """What the lanes of those warps get whose lanes all read others' values."""
    answers: dict[int, Any] = {}
    for first in range(0, len(waiting), WARP):
        wishes = [waiting[number] for number in range(first, first + WARP)]
        if all(wish is not None and wish[0] == "shuffle" for wish in wishes):
            values = [wish[1] for wish in wishes if wish is not None]
            for lane, wish in enumerate(wishes):
                assert wish is not None
                answers[first + lane] = values[int(wish[2])]
    return answers


class _Namespace(dict[str, Any]):
    """What a text may name: its own functions, the threads' intrinsics, the dialect, NumPy's dtypes."""

    def __missing__(self, name: str) -> Any:
        op, _, last = name.partition("_")
        if last == "identity" and op in COMBINE:
            return lambda values: identity(op, values.memory.dtype)
        if hasattr(np, name) and isinstance(getattr(np, name), type):
            return getattr(np, name)
        try:
            return getattr(dialect, name)
        except AttributeError:
            raise KeyError(name) from None


def _intrinsics(state: _State) -> dict[str, Callable[..., Any]]:
    return {
        "thread": lambda: state.thread,
        "warp": lambda: state.thread // WARP,
        "warps": lambda: state.threads // WARP,
        "group": lambda: state.group,
        "groups": lambda: state.groups,
        "each": partial(_each, state),
        "offset": _offset,
    }


def _offset(span: _Watched, elements: int) -> _Watched:
    return _Watched(span.memory, span.start + int(elements), span.state)


def _each(state: _State, loop: int, *bounds: int) -> Iterator[int]:
    """The turns of a thread: neighbours in twos for some loops, and another thread begins each loop."""
    width = 1 + loop % 2
    for place, index in enumerate(range(*map(int, bounds))):
        if (place // width + loop) % state.threads == state.thread:
            yield index


class _Generators(ast.NodeTransformer):
    """Makes generators of the functions that wait, and tells loops apart by their place in the text."""

    def __init__(self, module: ast.Module) -> None:
        calls = {
            part.name: {ast.unparse(n.func) for n in ast.walk(part) if isinstance(n, ast.Call)}
            for part in module.body
            if isinstance(part, ast.FunctionDef)
        }
        self.entry = next(iter(calls))
        self.waiting = set(WAITING)
        for _ in calls:
            self.waiting |= {name for name, called in calls.items() if called & self.waiting}
        self.loops = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        if node.name == self.entry:
            node.body += ast.parse("if False:\n    yield").body
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        assert isinstance(node.func, ast.Name)
        if node.func.id == "each":
            self.loops += 1
            node.args.insert(0, ast.Constant(self.loops))
        if node.func.id in WAITING:
            value, lane = node.args or (ast.Constant(None), ast.Constant(0))
            return ast.Yield(ast.Tuple([ast.Constant(node.func.id), value, lane], ast.Load()))
        return ast.YieldFrom(node) if node.func.id in self.waiting else node
