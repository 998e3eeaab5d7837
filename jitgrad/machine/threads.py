"""Run a kernel's units on the calling thread, or on it and a pool of native threads together.

One launcher serves every kernel. It reads a block of 64-bit words:

[0] address of ``kernel(args, lo, hi, scratch)``     [3] grain: units per chunk
    [1] address of ``finish``, or 0                      [4] address of the scratch memory
    [2] units                                            [5] scratch bytes per slot
    [6:] the words that the kernel receives as ``args``

With grain >= units, or without a pool, it calls ``kernel(args, 0, units, scratch)``. Otherwise the
caller and the pool's threads take chunks of ``grain`` units from one counter until none is left; each
works in the scratch of its own slot, and slots stay below ``min(MAX_THREADS, ceil(units / grain))``.
The caller waits only for chunks that somebody has begun, so a thread that does not wake delays nothing.
At last ``finish(args, 0, 1, scratch)`` runs on the calling thread. A caller that finds the pool taken
by another thread runs alone.

The pool's threads start with the first launch that can use them. They are plain native threads, which
never hold the GIL and never see a Python object: the interpreter can end or fork whatever they do.
Without POSIX threads (Windows) everything runs serially.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator

from jitgrad.errors import JitgradWarning
from jitgrad.machine import launcher as _launcher
from jitgrad.machine.launcher import DONE, MUTEX, STATE_WORDS, STOP, WORK, WORKERS, Launcher, Pool

MAX_THREADS = 128
"""The most threads of a launch, the caller included; scratch for so many slots is always enough."""

ARGS = 6
"""The first word of the kernel's own arguments in a block."""

_HAS_POSIX_THREADS = sys.platform != "win32"
_UNBLOCKED = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")

_lock = threading.Lock()
_chosen: int | None = None
_handles: list[ctypes.c_void_p] = []


def get_num_threads() -> int:
    """Return how many threads a launch may use, the caller included.

    Without `set_num_threads` it is ``JITGRAD_NUM_THREADS``, or else the number of CPUs of this process.
    """
    return _default_threads() if _chosen is None else _chosen


def set_num_threads(count: int) -> None:
    """Let later launches use up to ``count`` threads, the caller included; 1 makes them serial."""
    global _chosen
    _chosen = _checked(count, "the number of threads")
    if launcher.cache_info().currsize and launcher().pool is not None:
        launcher().missing.value = 1


@functools.cache
def launcher() -> Launcher:
    """Return the launcher's callables: ``launch``, ``launch_holding_gil``, ``address`` and ``bind``.

    Fetch it once when a program is built and keep the callables: they are built-ins.
    """
    made = _launcher.build(ensure_pool, _HAS_POSIX_THREADS)
    made.missing.value = int(_HAS_POSIX_THREADS)
    return made


def ensure_pool() -> None:
    """Give the pool the threads that `get_num_threads` asks for, unless it is at work just now.

    Launches call it when they need to; calling it early only moves the cost of starting.
    """
    made = launcher()
    if made.pool is None or not made.missing.value:
        return
    with _lock:
        if not made.pool.claim():
            return
        try:
            wanted = get_num_threads() - 1
            if wanted != len(_handles):
                _stop(made.pool)
                _start(made.pool, wanted)
            made.missing.value = 0
        finally:
            made.pool.release()


def _start(pool: Pool, wanted: int) -> None:
    library = _library()
    base = ctypes.addressof(pool.state)
    library.pthread_mutex_init(ctypes.c_void_p(base + 8 * MUTEX), None)
    for condition in (WORK, DONE):
        library.pthread_cond_init(ctypes.c_void_p(base + 8 * condition), None)
    pool.state[STOP] = 0
    with _signals_blocked():
        for _ in range(wanted):
            handle = ctypes.c_void_p()
            failed = library.pthread_create(ctypes.byref(handle), None, ctypes.c_void_p(pool.thread), None)
            if failed:
                message = (
                    f"only {len(_handles) + 1} of {wanted + 1} threads could start: {os.strerror(failed)}"
                )
                warnings.warn(message, JitgradWarning, stacklevel=3)
                break
            _handles.append(handle)
    pool.state[WORKERS] = len(_handles)


def _stop(pool: Pool) -> None:
    """End the pool's threads, which are idle because the pool is claimed."""
    pool.state[WORKERS] = 0
    if _handles:
        pool.stop()
    while _handles:
        _library().pthread_join(_handles.pop(), None)


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Let threads made meanwhile leave all signals but their own faults to the threads of Python."""
    faults = {getattr(signal, name) for name in _UNBLOCKED if hasattr(signal, name)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@functools.cache
def _default_threads() -> int:
    given = os.environ.get("JITGRAD_NUM_THREADS", "").strip()
    if given:
        if not given.isdecimal():
            raise ValueError(f"JITGRAD_NUM_THREADS must be a whole number, got {given!r}")
        return _checked(int(given), "JITGRAD_NUM_THREADS")
    if hasattr(os, "process_cpu_count"):
        count = os.process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count()
    return min(count or 1, MAX_THREADS)


def _checked(count: int, what: str) -> int:
    if not 1 <= count <= MAX_THREADS:
        raise ValueError(f"{what} must be between 1 and {MAX_THREADS}, got {count}")
    return count


def _before_fork() -> None:
    """End the pool if it is idle: a process forks safely, and without Python's warning, when alone."""
    _lock.acquire()
    if launcher.cache_info().currsize:
        made = launcher()
        if made.pool is not None and made.pool.claim():
            if _handles:
                _stop(made.pool)
                made.missing.value = 1
            made.pool.release()


def _after_fork_in_parent() -> None:
    _lock.release()


def _after_fork_in_child() -> None:
    """Forget threads that the fork left behind; the next launch starts new ones."""
    global _lock
    _lock = threading.Lock()
    if launcher.cache_info().currsize:
        made = launcher()
        if made.pool is not None:
            _handles.clear()
            made.pool.state[:] = [0] * STATE_WORDS
            made.missing.value = 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
