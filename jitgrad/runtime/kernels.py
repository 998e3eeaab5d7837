"""A kernel to a function in this process: from memory, from the disk cache, or compiled now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from jitgrad.machine import cache, code, threads
from jitgrad.targets import cpu
from jitgrad.targets.source import Source

_loaded: dict[str, Loaded] = {}
_locks: dict[str, threading.Lock] = {}  # by key: a thread waits for what another is loading
_counting = threading.Lock()


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
    writes = "streams" if source.streams else "stores"
    return code.key_of(mode, writes, source.text, cpu.signature_text(source.parameters))


def load(source: Source) -> Loaded:
    """The kernel's addresses; equal sources share one compiled kernel."""
    return load_all([source])[0]


def load_all(sources: Sequence[Source], beside: Sequence[Callable[[], object]] = ()) -> list[Loaded]:
    """The addresses of several kernels; those that have to be compiled are compiled side by side.

    What the kernels run with is made `beside` them: each of these is called, the longest jobs first.
    """
    keys = [kernel_key(source) for source in sources]
    wanted = {key: source for key, source in zip(keys, sources, strict=True) if key not in _loaded}
    _count(from_memory=len(sources) - len(wanted))
    new = {key: source for key, source in wanted.items() if load_stored(key, source.has_finish) is None}
    longest_first = sorted(new.items(), key=lambda item: -len(item[1].text))
    jobs: list[Callable[[], object]] = [
        *beside,
        *(partial(_compile, key, source) for key, source in longest_first),
    ]
    count = min(len(jobs), threads.get_num_threads()) if new else 1
    if count > 1:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda job: job(), jobs))
    else:
        for job in jobs:
            job()
    return [_loaded[key] for key in keys]


def load_stored(key: str, has_finish: bool) -> Loaded | None:
    """The addresses of a kernel of which only the key is known; None where the disk no longer has it."""
    with _lock_of(key):
        if key not in _loaded:
            found = code.load_stored(key, _names(key, has_finish))
            if found is None:
                return None
            _loaded[key] = _entry(key, found)
            _count(from_disk=1)
        return _loaded[key]


def _compile(key: str, source: Source) -> None:
    def compile_now() -> tuple[str, bytes]:
        path = cache.source_path(key)
        filename = str(path) if path is not None else f"<jitgrad kernel {key}>"
        return cpu.module_text(source), cpu.object_code(source, f"jitgrad_{key}", filename)

    with _lock_of(key):
        if key not in _loaded:
            names = _names(key, source.has_finish)
            _loaded[key] = _entry(key, code.load_compiled(key, names, "kernel", compile_now))
            _count(compiled=1)


def _lock_of(key: str) -> threading.Lock:
    return _locks.setdefault(key, threading.Lock())


def _count(compiled: int = 0, from_disk: int = 0, from_memory: int = 0) -> None:
    with _counting:
        counters.compiled += compiled
        counters.from_disk += from_disk
        counters.from_memory += from_memory


def _entry(key: str, found: code.Code) -> Loaded:
    kernel, *finish = found.addresses.values()
    return Loaded(key, kernel, finish[0] if finish else 0)


def _names(key: str, has_finish: bool) -> list[str]:
    return [f"jitgrad_{key}_kernel", *([f"jitgrad_{key}_finish"] if has_finish else [])]
