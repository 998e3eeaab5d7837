"""Compiled programs on disk, so that a second process neither traces nor fuses what it knows already.

A program is kept under the identity of its function (see `jitgrad.identity`), of the arguments' kinds and of
all that compiles it. Arrays that the function captured are found again in the second process, where they are
read at each call as in the first; a function that has no certain identity, changes something outside itself
while it is traced, or whose program holds what cannot be written down for certain, is traced in each process.
With the environment variable JITGRAD_PROGRAM_CACHE=0 every function is.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

from jitgrad.identity import Identity, Unknown, identify
from jitgrad.machine import cache, code
from jitgrad.runtime import kernels
from jitgrad.runtime.kernels import Loaded
from jitgrad.runtime.plan import Launch, LibraryCall, Outputs, Plan, Product, Step

MAX_CONSTANT_BYTES = 1 << 20

_OWN_MODULES = ("builtins", "collections", "jitgrad.pytree", "jitgrad.runtime.plan", "jitgrad.stored")
_PLAIN = (bool, int, float, complex, str, bytes, tuple, list, dict, slice, type(None), type(Ellipsis))


@dataclass(frozen=True, slots=True)
class Stored:
    """A program as it stands on disk.

    `copied` are the places of arguments that have to be copied first, `donated` of those that it overwrites.
    """

    plan: Plan
    outputs: Outputs
    copied: tuple[int, ...]
    donated: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A stored program with the code of its launches."""

    program: Stored
    loaded: tuple[Loaded, ...]


def is_enabled() -> bool:
    """Return whether programs are kept on disk."""
    return os.environ.get("JITGRAD_PROGRAM_CACHE", "1") != "0"


def identity_of(*parts: Any) -> Identity | None:
    """Return the identity of what a program depends on, or None where it has none."""
    if not is_enabled():
        return None
    try:
        return identify(*parts)
    except Exception:  # objects of the user's may do anything when they are looked at
        return None


def load(identity: Identity) -> Found | None:
    """Return the program of this identity with its code, or None if the disk does not have all of it."""
    entry = cache.load(_key(identity))
    if entry is None:
        return None
    try:
        stored = _Unpickler(io.BytesIO(entry.object_code), identity.objects).load()
    except Exception:  # whatever a file may hold, the function can be traced
        return None
    loaded = []
    for step in stored.plan.steps:
        if isinstance(step, Launch):
            kernel = kernels.load_stored(step.key, step.has_finish)
            if kernel is None:
                return None
            loaded.append(kernel)
    return Found(stored, tuple(loaded))


def store(before: Identity, after: Identity | None, stored: Stored, title: str) -> None:
    """Keep a program, unless it holds what cannot be written down for certain.

    `before` and `after` are the identities before and after tracing; a function that changed its surroundings
    meanwhile must be run again in the next process.
    """
    if after is None or not after.is_same(before):
        return
    identity, file = after, io.BytesIO()
    try:
        _Pickler(file, identity.objects).dump(stored)
    except Exception:  # constants may be of any kind
        return
    cache.store(
        _key(identity), _listing(stored.plan, title), file.getvalue(), {"kind": "program", "of": title}
    )


def _key(identity: Identity) -> str:
    return code.key_of("program", identity.digest)


def _listing(plan: Plan, title: str) -> str:
    return "\n".join([f'"""The program of {title}."""', "", *map(_line, plan.steps), ""])


def _line(step: Step) -> str:
    if isinstance(step, Launch):
        return f"# kernel {step.key}"
    if isinstance(step, LibraryCall):
        return f"# {step.op} at {step.where}"
    return "# matmul" if isinstance(step, Product) else "# segment_sum"


class _Pickler(pickle.Pickler):
    """Writes objects of the user's as their number among those that the identity names."""

    def __init__(self, file: io.BytesIO, objects: Sequence[Any]) -> None:
        super().__init__(file, protocol=4)
        self.places = {id(value): place for place, value in enumerate(objects)}
        self.arrays = [value for value in objects if isinstance(value, np.ndarray)]

    def persistent_id(self, value: Any) -> int | None:
        place = self.places.get(id(value))
        if place is None:
            self._check(value)
        return place

    def _check(self, value: Any) -> None:
        kind = type(value)
        if kind in _PLAIN:
            return
        named = value if isinstance(value, (type, FunctionType, BuiltinFunctionType)) else kind
        module = str(named.__module__)
        if module not in _OWN_MODULES and module.split(".")[0] != "numpy":
            raise Unknown(f"{named.__name__} is not known")
        if isinstance(value, np.ndarray):
            shared = any(np.may_share_memory(value, array) for array in self.arrays)
            if shared or value.nbytes > MAX_CONSTANT_BYTES or not value.flags.c_contiguous:
                raise Unknown("an array is large, or a view of one that may change")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, objects: Sequence[Any]) -> None:
        super().__init__(file)
        self.objects = objects

    def persistent_load(self, place: int) -> Any:
        return self.objects[place]
