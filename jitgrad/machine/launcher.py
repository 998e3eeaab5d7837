"""Turn the parallel launcher, which stands beside this file as LLVM IR, into Python callables.

`jitgrad.machine.threads` says what a launch does. The calls that Python makes are built-ins written in the
same IR: one costs 0.02 us holding the GIL and 0.06 us releasing it, where ctypes takes 0.09 to 0.21 us.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jitgrad.machine import code, native

# Turns of some 10 to 40 ns. A pool thread that lingers is still awake for the next kernel of the same
# program, or of the next operation on tensors, which comes 15 to 25 us later; spinning for longer would take
# the core from a busy neighbour.
WORKER_SPIN = 2000
CALLER_SPIN = 400

# The pool's state is laid out in pool.ll.
STATE_WORDS, WORKERS, STOP, MUTEX, WORK, DONE = 72, 20, 21, 24, 40, 56

_PYTHON_FUNCTIONS = (
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "PyObject_CallNoArgs",
    "Py_DecRef",
    "Py_IncRef",
    "PyLong_FromVoidPtr",
    "PyLong_AsSsize_t",
)
_SPIN_HINTS = {"x86_64": "pause", "amd64": "pause", "aarch64": "yield", "arm64": "yield"}

_ONE, _MANY = native.METH_ONE_ARGUMENT, native.METH_FASTCALL
_BUILTINS = {
    "launch": (_ONE, "launch(block): run a block with the GIL released."),
    "launch_holding_gil": (_ONE, "launch_holding_gil(block): run a block of a few microseconds."),
    "address": (_ONE, "address(array): return the data pointer of an ndarray, which nothing checks."),
    "bind": (_MANY, "bind(block, first, *arrays): write data pointers into the words from first on."),
}
_POOL_FUNCTIONS = ("thread", "state", "stop", "claim", "release")


@dataclass(frozen=True, slots=True)
class Pool:
    """What `jitgrad.machine.threads` manages the native pool with."""

    thread: int
    state: ctypes.Array[ctypes.c_int64]
    stop: Callable[[], None]
    claim: Callable[[], int]
    release: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Launcher:
    """The callables of the launcher; a block is a ctypes array of int64, kept alive by its owner."""

    launch: Callable[[ctypes.Array[ctypes.c_int64]], None]
    launch_holding_gil: Callable[[ctypes.Array[ctypes.c_int64]], None]
    address: Callable[[np.ndarray[Any, Any]], int]
    bind: Callable[..., None]
    native_launch: int
    missing: ctypes.c_int64
    pool: Pool | None


def build(starter: Callable[[], object], with_threads: bool) -> Launcher:
    """Load the launcher; it calls ``starter`` before a block that wants threads while some are missing."""
    if not native.layout_holds():
        raise RuntimeError("this Python does not keep the data pointer of an array where CPython does")
    names = [f"jitgrad_py_{name}" for name in _BUILTINS] + ["jitgrad_launch", "jitgrad_missing"]
    names += ["jitgrad_set_python"] + [f"jitgrad_pool_{name}" for name in _POOL_FUNCTIONS if with_threads]
    for name in _PYTHON_FUNCTIONS:
        function = getattr(ctypes.pythonapi, name)
        native.define_symbol(name, ctypes.cast(function, ctypes.c_void_p).value or 0)
    text = _text(with_threads)
    source = f'"""LLVM IR of the parallel launcher."""\n\nIR = r"""{text}"""\n'
    stored = code.load(code.key_of(text), names, "launcher", lambda: (source, native.compile_written(text)))
    found = stored.addresses
    native.immortal(starter)
    set_python = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    set_python(found["jitgrad_set_python"])(id(None), id(starter))
    missing = ctypes.CFUNCTYPE(ctypes.c_void_p)(found["jitgrad_missing"])()
    calls = {
        name: native.builtin(name, found[f"jitgrad_py_{name}"], flags, doc)
        for name, (flags, doc) in _BUILTINS.items()
    }
    return Launcher(
        **calls,
        native_launch=found["jitgrad_launch"],
        missing=ctypes.c_int64.from_address(missing),
        pool=_pool(found) if with_threads else None,
    )


def _pool(found: dict[str, int]) -> Pool:
    where = {name: found[f"jitgrad_pool_{name}"] for name in _POOL_FUNCTIONS}
    state = ctypes.CFUNCTYPE(ctypes.c_void_p)(where["state"])()
    return Pool(
        thread=where["thread"],
        state=(ctypes.c_int64 * STATE_WORDS).from_address(state),
        stop=ctypes.CFUNCTYPE(None)(where["stop"]),
        claim=ctypes.CFUNCTYPE(ctypes.c_int64)(where["claim"]),
        release=ctypes.CFUNCTYPE(None)(where["release"]),
    )


def _text(with_threads: bool) -> str:
    names = ("pool.ll" if with_threads else "no_pool.ll", "launch.ll")
    text = "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names)
    values = {
        "PAUSE": _SPIN_HINTS.get(platform.machine().lower(), ""),
        "WORKER_SPIN": str(WORKER_SPIN),
        "CALLER_SPIN": str(CALLER_SPIN),
        "HEADER_BYTES": str(native.HEADER_BYTES),
    }
    for name, value in values.items():
        text = text.replace(name, value)
    return text
