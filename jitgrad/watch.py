"""Notice that a variable which a traced function read from outside has been given another value since.

Watched are the closure variables and globals that the function's code names, the attributes that it
reads of objects among them, and the same of functions of its module that it calls. The contents of
arrays are not, since those are read anew at each call, but where they decide what the program is: masks and
other arrays that index.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from jitgrad.pytree import flatten

Array = np.ndarray[Any, Any]

_MISSING = object()
_NUMBERS = (bool, int, float, complex, str)
_LIBRARIES = ("jitgrad", "numpy", "scipy")
_MAX_DEPTH = 3  # of attributes of attributes


@dataclass(slots=True)
class Watch:
    """What a function read from outside, as it was when the function was traced."""

    names: list[tuple[Mapping[str, Any], str, Any]] = field(default_factory=list)
    cells: list[tuple[CellType, str, Any]] = field(default_factory=list)
    containers: list[tuple[Any, str, list[Any]]] = field(default_factory=list)
    arrays: list[tuple[Array, Array]] = field(default_factory=list)

    def changed(self) -> str | None:
        """Return the name of a variable with another value than before; None if there is none."""
        for namespace, name, value in self.names:
            now = namespace.get(name, _MISSING)
            if now is not value and not _same(now, value):
                return name
        for cell, name, value in self.cells:
            now = _contents(cell)
            if now is not value and not _same(now, value):
                return name
        for container, name, leaves in self.containers:
            now = flatten(container)[0]
            if len(now) != len(leaves) or not all(map(_same, now, leaves)):
                return name
        for array, contents in self.arrays:
            if not np.array_equal(array, contents):
                return f"an index of shape {array.shape}"
        return None

    def settled(self) -> Watch | None:
        """Without what the function itself has changed since: counters, logs; None if nothing is left."""
        kept = Watch(
            [entry for entry in self.names if not Watch([entry]).changed()],
            [entry for entry in self.cells if not Watch(cells=[entry]).changed()],
            [entry for entry in self.containers if not Watch(containers=[entry]).changed()],
            self.arrays,
        )
        return kept if kept.names or kept.cells or kept.containers or kept.arrays else None


def held_elsewhere(arrays: Iterable[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
    """Return those pairs whose first array somebody else can change; a program makes its others anew."""
    kept = []
    for array, contents in arrays:
        own, of_base, fixed = _references(array)
        if not fixed and (own > _TEMPORARY[0] or of_base > _TEMPORARY[1]):
            kept.append((array, contents))
    return kept


def _references(array: Array) -> tuple[int, int, bool]:
    """How many references there are to an array and to what it is a view of, and whether both are fixed."""
    base = array.base if isinstance(array.base, np.ndarray) else None
    fixed = not (array if base is None else base).flags.writeable
    return sys.getrefcount(array), 0 if base is None else sys.getrefcount(base), fixed


def _same(x: Any, y: Any) -> bool:
    return x is y or (type(x) is type(y) and isinstance(x, _NUMBERS) and (x == y or x != x))


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def watch(function: Callable[..., Any]) -> Watch:
    """Return what to watch for a function that is about to be traced."""
    found = Watch()
    _Search(found).enter(function)
    return found


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


@lru_cache(maxsize=1024)
def _reads(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The names of globals and of attributes that code reads."""
    names: set[str] = set()
    attributes: set[str] = set()
    for part in _nested(code):
        for instruction in dis.get_instructions(part):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                names.add(instruction.argval)
            elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                attributes.add(instruction.argval)
    return frozenset(names), frozenset(attributes)


def _root(module: Any) -> str:
    return str(module).split(".")[0]


def _is_data(value: Any) -> bool:
    """Whether a class attribute is a value, and no method or descriptor."""
    return not callable(value) and not hasattr(value, "__get__")


class _Search:
    """Follows functions to what they read."""

    def __init__(self, found: Watch) -> None:
        self.found = found
        self.seen: set[int] = set()

    def _is_new(self, value: Any) -> bool:
        new = id(value) not in self.seen
        self.seen.add(id(value))
        return new

    def enter(self, function: Any) -> None:
        """Watch what a function reads."""
        while not isinstance(function, FunctionType):
            if isinstance(function, partial):
                function = function.func
            elif isinstance(function, MethodType):
                self._enter_object(function.__self__, function.__func__)
                function = function.__func__
            elif hasattr(function, "__wrapped__"):
                function = function.__wrapped__
            elif isinstance(call := vars(type(function)).get("__call__"), FunctionType):
                self._enter_object(function, call)
                function = call
            else:
                return
        if not self._is_new(function):
            return
        names, attributes = _reads(function.__code__)
        for name in names & function.__globals__.keys():
            value = function.__globals__[name]
            if self._enter_value(value, name, attributes, function):
                self.found.names.append((function.__globals__, name, value))
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            value = _contents(cell)
            if value is not _MISSING and self._enter_value(value, name, attributes, function):
                self.found.cells.append((cell, name, value))

    def _enter_object(self, instance: Any, function: Any) -> None:
        self._enter_attributes(instance, type(instance).__name__, _reads(function.__code__)[1], function, 0)

    def _enter_value(
        self, value: Any, name: str, attributes: frozenset[str], function: FunctionType, depth: int = 0
    ) -> bool:
        """Look inside a value; return whether the variable that holds it is to be watched."""
        if isinstance(value, (FunctionType, MethodType, partial)) or hasattr(value, "__wrapped__"):
            inner = getattr(value, "__wrapped__", value)
            if getattr(inner, "__module__", None) == function.__module__:
                self.enter(value)
            return False
        if isinstance(value, (type, BuiltinFunctionType)):
            return False
        if isinstance(value, ModuleType):
            if (
                _root(value.__name__) not in _LIBRARIES
                and _root(value.__name__) not in sys.stdlib_module_names
            ):
                self._enter_attributes(value, name, attributes, function, depth)
            return False
        if isinstance(value, (dict, list, tuple)):
            if value and self._is_new(value):
                self.found.containers.append((value, name, flatten(value)[0]))
        elif _root(type(value).__module__) not in _LIBRARIES:
            self._enter_attributes(value, name, attributes, function, depth)
        return True

    def _enter_attributes(
        self, value: Any, name: str, attributes: frozenset[str], function: FunctionType, depth: int
    ) -> None:
        held = getattr(value, "__dict__", None)
        if not isinstance(held, dict) or depth >= _MAX_DEPTH or not self._is_new(value):
            return
        for attribute in attributes & held.keys():
            path = f"{name}.{attribute}"
            if self._enter_value(held[attribute], path, attributes, function, depth + 1):
                self.found.names.append((held, attribute, held[attribute]))
        for kind in () if isinstance(value, ModuleType) else type(value).__mro__:
            for attribute in attributes & vars(kind).keys() - held.keys():
                if _is_data(vars(kind)[attribute]):
                    self.found.names.append((held, attribute, _MISSING))
                    self.found.names.append((vars(kind), attribute, vars(kind)[attribute]))


def _references_of_temporaries() -> tuple[int, int]:
    """References to an array that only a pair holds, and to one of which that array is a view."""
    for array, _ in [(np.empty(2)[:1], np.empty(1))]:
        own, of_base, _ = _references(array)
    return own, of_base


_TEMPORARY = _references_of_temporaries()
