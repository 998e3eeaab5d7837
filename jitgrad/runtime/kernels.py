"""A kernel to a function in this process: from memory, from the disk cache, or compiled now."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from jitgrad.machine import cache, code
from jitgrad.targets import cpu
from jitgrad.targets.source import Source

_loaded: dict[str, Loaded] = {}
_loading = threading.Lock()


@dataclass(slots=True)
class Counters:
    """What happened to kernels in this process; `compiled` is what a user waits for."""

    compiled: int = 0
    from_disk: int = 0
    from_memory: int = 0


counters = Counters()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A kernel's addresses and the key of its files in the cache folder."""

    key: str
    kernel: int
    finish: int


def kernel_key(source: Source) -> str:
    """The identity of compiled code: its text, its parameters' types, what compiles it, for which machine."""
    mode = "fastmath" if source.fastmath else "exact"
    return code.key_of(mode, source.text, cpu.signature_text(source.parameters))


def load(source: Source) -> Loaded:
    """The kernel's addresses; equal sources share one compiled kernel."""
    key = kernel_key(source)
    found = _loaded.get(key)
    if found is not None:
        counters.from_memory += 1
        return found
    with _loading:
        if key not in _loaded:
            _loaded[key] = _load(key, source)
        return _loaded[key]


def _load(key: str, source: Source) -> Loaded:
    symbol = f"jitgrad_{key}"
    names = [f"{symbol}_kernel", *([f"{symbol}_finish"] if source.has_finish else [])]

    def compile_now() -> tuple[str, bytes]:
        path = cache.source_path(key)
        filename = str(path) if path is not None else f"<jitgrad kernel {key}>"
        return cpu.module_text(source), cpu.object_code(source, symbol, filename)

    found = code.load(key, names, "kernel", compile_now)
    if found.from_disk:
        counters.from_disk += 1
    else:
        counters.compiled += 1
    finish = found.addresses[names[-1]] if source.has_finish else 0
    return Loaded(key, found.addresses[names[0]], finish)
