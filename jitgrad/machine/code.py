"""Machine code by its key: from the cache folder, or compiled now and kept there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jitgrad.machine import cache, native

Compile = Callable[[], tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Code:
    """The addresses of functions by their names, and whether their code was on disk."""

    addresses: dict[str, int]
    from_disk: bool


def key_of(*parts: str) -> str:
    """Return the key of code that depends on these texts, and on what compiles it for which machine."""
    described = "\0".join((cache.fingerprint(), *parts))
    return hashlib.blake2b(described.encode(), digest_size=20).hexdigest()


def load(key: str, names: Sequence[str], kind: str, compile_now: Compile) -> Code:
    """Return the functions `names` of the code stored under `key`, or of what `compile_now` makes.

    That is the source to keep beside the code, and the object code.
    """
    return load_stored(key, names) or load_compiled(key, names, kind, compile_now)


def load_compiled(key: str, names: Sequence[str], kind: str, compile_now: Compile) -> Code:
    """Return the functions `names` of what `compile_now` makes, and store that under `key`."""
    source, object_code = compile_now()
    addresses = native.load_object(object_code, names)
    cache.store(key, source, object_code, {"kind": kind})
    return Code(addresses, from_disk=False)


def load_stored(key: str, names: Sequence[str]) -> Code | None:
    """Return the functions `names` of the code stored under `key`, or None."""
    entry = cache.load(key)
    if entry is None:
        return None
    try:
        return Code(native.load_object(entry.object_code, names), from_disk=True)
    except native.ObjectCodeError:
        return None  # written by a broken disk or another machine
