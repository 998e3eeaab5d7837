"""Hold the parallel launcher as LLVM IR, compile it once per machine, give its Python callables.

`jitgrad.runtime.threads` says what a launch does. The calls that Python makes are built-ins written in the
same IR: one costs 0.02 us holding the GIL and 0.06 us releasing it, where ctypes takes 0.09 to 0.21 us.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.runtime import cache, native

# Turns of some 10 to 40 ns. A pool thread that lingers is still awake for the next kernel of the same
# program; spinning for longer would take the core from a busy neighbour.
WORKER_SPIN = 400
CALLER_SPIN = 400

# The pool's state, in words, apart by who writes them: 0 busy; 8 next unit; 16 room for threads in the job,
# 17 threads in it, 18 slots given out, 19 its block, 20 threads of the pool, 21 stop; 24 mutex, 40 and 56
# conditions, of which the largest known takes 64 of its 128 bytes.
STATE_WORDS, WORKERS, STOP, MUTEX, WORK, DONE = 72, 20, 21, 24, 40, 56

_POOL_IR = """
@state = global [72 x i64] zeroinitializer, align 64

declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)

; Take chunks until none is left, in the scratch of one slot.
define internal void @run_chunks(ptr %block, i64 %slot) {
  %kernel = load ptr, ptr %block
  %units.at = getelementptr i64, ptr %block, i64 2
  %units = load i64, ptr %units.at
  %grain.at = getelementptr i64, ptr %block, i64 3
  %grain.given = load i64, ptr %grain.at
  %grain = call i64 @llvm.smax.i64(i64 %grain.given, i64 1)
  %scratch.at = getelementptr i64, ptr %block, i64 4
  %scratch.base = load ptr, ptr %scratch.at
  %bytes.at = getelementptr i64, ptr %block, i64 5
  %bytes = load i64, ptr %bytes.at
  %offset = mul i64 %slot, %bytes
  %scratch = getelementptr i8, ptr %scratch.base, i64 %offset
  %args = getelementptr i64, ptr %block, i64 6
  %next = getelementptr i64, ptr @state, i64 8
  br label %take
take:
  %lo = atomicrmw add ptr %next, i64 %grain monotonic
  %left = icmp slt i64 %lo, %units
  br i1 %left, label %run, label %none
run:
  %end = add i64 %lo, %grain
  %hi = call i64 @llvm.smin.i64(i64 %end, i64 %units)
  call void %kernel(ptr %args, i64 %lo, i64 %hi, ptr %scratch)
  br label %take
none:
  ret void
}

; The life of a pool thread: sleep until there is room in a job, join it, leave it, sleep again.
define ptr @jitgrad_pool_thread(ptr %unused) {
  %mutex = getelementptr i64, ptr @state, i64 24
  %work = getelementptr i64, ptr @state, i64 40
  %done = getelementptr i64, ptr @state, i64 56
  %room.at = getelementptr i64, ptr @state, i64 16
  %active.at = getelementptr i64, ptr @state, i64 17
  %joined.at = getelementptr i64, ptr @state, i64 18
  %job.at = getelementptr i64, ptr @state, i64 19
  %stop.at = getelementptr i64, ptr @state, i64 21
  br label %enter
enter:
  call i32 @pthread_mutex_lock(ptr %mutex)
  br label %look
look:
  %room = load i64, ptr %room.at
  %wanted = icmp sgt i64 %room, 0
  br i1 %wanted, label %join, label %idle
idle:
  %stop = load i64, ptr %stop.at
  %stopping = icmp ne i64 %stop, 0
  br i1 %stopping, label %leave, label %sleep
sleep:
  call i32 @pthread_cond_wait(ptr %work, ptr %mutex)
  br label %look
join:
  %room.left = sub i64 %room, 1
  store atomic i64 %room.left, ptr %room.at monotonic, align 8
  %joined = load i64, ptr %joined.at
  %slot = add i64 %joined, 1
  store i64 %slot, ptr %joined.at
  %active.before = load i64, ptr %active.at
  %active.more = add i64 %active.before, 1
  store atomic i64 %active.more, ptr %active.at monotonic, align 8
  %job = load ptr, ptr %job.at
  call i32 @pthread_mutex_unlock(ptr %mutex)
  call void @run_chunks(ptr %job, i64 %slot)
  call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 0, ptr %room.at monotonic, align 8
  %active.now = load i64, ptr %active.at
  %active.less = sub i64 %active.now, 1
  store atomic i64 %active.less, ptr %active.at release, align 8
  %last = icmp eq i64 %active.less, 0
  br i1 %last, label %tell, label %linger
tell:
  call i32 @pthread_cond_signal(ptr %done)
  br label %linger
linger:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %spin
spin:
  %turn = phi i64 [ 0, %linger ], [ %turn.next, %again ]
  %room.seen = load atomic i64, ptr %room.at monotonic, align 8
  %room.open = icmp sgt i64 %room.seen, 0
  br i1 %room.open, label %enter, label %again
again:
  call void asm sideeffect "PAUSE", ""()
  %turn.next = add i64 %turn, 1
  %spent = icmp sge i64 %turn.next, WORKER_SPIN
  br i1 %spent, label %enter, label %spin
leave:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  ret ptr null
}

define ptr @jitgrad_pool_state() {
  ret ptr @state
}

define void @jitgrad_pool_stop() {
  %mutex = getelementptr i64, ptr @state, i64 24
  %work = getelementptr i64, ptr @state, i64 40
  %stop.at = getelementptr i64, ptr @state, i64 21
  call i32 @pthread_mutex_lock(ptr %mutex)
  store i64 1, ptr %stop.at
  call i32 @pthread_cond_broadcast(ptr %work)
  call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}

; Become the pool's only caller, without waiting.
define i64 @jitgrad_pool_claim() {
  %swap = cmpxchg ptr @state, i64 0, i64 1 acquire monotonic
  %claimed = extractvalue { i64, i1 } %swap, 1
  %answer = zext i1 %claimed to i64
  ret i64 %answer
}

define void @jitgrad_pool_release() {
  store atomic i64 0, ptr @state release, align 8
  ret void
}

; Run a block on the caller and the pool's threads, unless the pool is taken or empty.
define internal i1 @run_together(ptr %block, i64 %units, i64 %grain.given) {
  %workers.at = getelementptr i64, ptr @state, i64 20
  %workers.seen = load atomic i64, ptr %workers.at monotonic, align 8
  %empty = icmp eq i64 %workers.seen, 0
  br i1 %empty, label %refuse, label %claim
claim:
  %claimed = call i64 @jitgrad_pool_claim()
  %free = icmp ne i64 %claimed, 0
  br i1 %free, label %open, label %refuse
refuse:
  ret i1 false
open:
  %mutex = getelementptr i64, ptr @state, i64 24
  %work = getelementptr i64, ptr @state, i64 40
  %done = getelementptr i64, ptr @state, i64 56
  %next = getelementptr i64, ptr @state, i64 8
  %room.at = getelementptr i64, ptr @state, i64 16
  %active.at = getelementptr i64, ptr @state, i64 17
  %joined.at = getelementptr i64, ptr @state, i64 18
  %job.at = getelementptr i64, ptr @state, i64 19
  %grain = call i64 @llvm.smax.i64(i64 %grain.given, i64 1)
  %units.less = sub i64 %units, 1
  %others = sdiv i64 %units.less, %grain
  %workers = load atomic i64, ptr %workers.at monotonic, align 8
  %room = call i64 @llvm.smin.i64(i64 %others, i64 %workers)
  call i32 @pthread_mutex_lock(ptr %mutex)
  store i64 0, ptr %next
  store i64 0, ptr %joined.at
  store ptr %block, ptr %job.at
  store atomic i64 %room, ptr %room.at monotonic, align 8
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %wake
wake:
  %woken = phi i64 [ 0, %open ], [ %woken.next, %wake ]
  call i32 @pthread_cond_signal(ptr %work)
  %woken.next = add i64 %woken, 1
  %more = icmp slt i64 %woken.next, %room
  br i1 %more, label %wake, label %work.too
work.too:
  call void @run_chunks(ptr %block, i64 0)
  call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 0, ptr %room.at monotonic, align 8
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %spin
spin:
  %turn = phi i64 [ 0, %work.too ], [ %turn.next, %again ]
  %active.seen = load atomic i64, ptr %active.at acquire, align 8
  %quiet = icmp eq i64 %active.seen, 0
  br i1 %quiet, label %close, label %again
again:
  call void asm sideeffect "PAUSE", ""()
  %turn.next = add i64 %turn, 1
  %spent = icmp sge i64 %turn.next, CALLER_SPIN
  br i1 %spent, label %wait, label %spin
wait:
  call i32 @pthread_mutex_lock(ptr %mutex)
  br label %look
look:
  %active = load i64, ptr %active.at
  %over = icmp eq i64 %active, 0
  br i1 %over, label %waited, label %sleep
sleep:
  call i32 @pthread_cond_wait(ptr %done, ptr %mutex)
  br label %look
waited:
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %close
close:
  call void @jitgrad_pool_release()
  ret i1 true
}
"""

_NO_POOL_IR = """
define internal i1 @run_together(ptr %block, i64 %units, i64 %grain) {
  ret i1 false
}
"""

_PYTHON_FUNCTIONS = (
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "PyObject_CallNoArgs",
    "Py_DecRef",
    "Py_IncRef",
    "PyLong_FromVoidPtr",
    "PyLong_AsSsize_t",
)

_LAUNCH_IR = """
@missing = global i64 0, align 8  ; threads are wanted that the pool does not have yet
@starter = global ptr null        ; Python callable that starts them
@none = global ptr null           ; Python's None

declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyObject_CallNoArgs(ptr)
declare void @Py_DecRef(ptr)
declare void @Py_IncRef(ptr)
declare ptr @PyLong_FromVoidPtr(ptr)
declare i64 @PyLong_AsSsize_t(ptr)

define ptr @jitgrad_missing() {
  ret ptr @missing
}

define void @jitgrad_set_python(ptr %none, ptr %starter) {
  store ptr %none, ptr @none
  store ptr %starter, ptr @starter
  ret void
}

define void @jitgrad_launch(ptr %block) {
  %kernel = load ptr, ptr %block
  %finish.at = getelementptr i64, ptr %block, i64 1
  %finish = load ptr, ptr %finish.at
  %units.at = getelementptr i64, ptr %block, i64 2
  %units = load i64, ptr %units.at
  %grain.at = getelementptr i64, ptr %block, i64 3
  %grain = load i64, ptr %grain.at
  %scratch.at = getelementptr i64, ptr %block, i64 4
  %scratch = load ptr, ptr %scratch.at
  %args = getelementptr i64, ptr %block, i64 6
  %divisible = icmp slt i64 %grain, %units
  br i1 %divisible, label %together, label %alone
together:
  %shared = call i1 @run_together(ptr %block, i64 %units, i64 %grain)
  br i1 %shared, label %end, label %alone
alone:
  call void %kernel(ptr %args, i64 0, i64 %units, ptr %scratch)
  br label %end
end:
  %no.finish = icmp eq ptr %finish, null
  br i1 %no.finish, label %leave, label %finishing
finishing:
  call void %finish(ptr %args, i64 0, i64 1, ptr %scratch)
  br label %leave
leave:
  ret void
}

define internal ptr @data(ptr %object) {
  %at = getelementptr i8, ptr %object, i64 HEADER_BYTES
  %data = load ptr, ptr %at
  ret ptr %data
}

define internal ptr @return_none() {
  %none = load ptr, ptr @none
  call void @Py_IncRef(ptr %none)
  ret ptr %none
}

; Start the pool's threads before the first block that can use them; false if Python raised.
define internal i1 @prepare(ptr %block) {
  %missing = load atomic i64, ptr @missing monotonic, align 8
  %complete = icmp eq i64 %missing, 0
  br i1 %complete, label %ready, label %check
check:
  %units.at = getelementptr i64, ptr %block, i64 2
  %units = load i64, ptr %units.at
  %grain.at = getelementptr i64, ptr %block, i64 3
  %grain = load i64, ptr %grain.at
  %divisible = icmp slt i64 %grain, %units
  br i1 %divisible, label %start, label %ready
start:
  %starter = load ptr, ptr @starter
  %answer = call ptr @PyObject_CallNoArgs(ptr %starter)
  %raised = icmp eq ptr %answer, null
  br i1 %raised, label %fail, label %started
started:
  call void @Py_DecRef(ptr %answer)
  br label %ready
ready:
  ret i1 true
fail:
  ret i1 false
}

define ptr @jitgrad_py_launch(ptr %self, ptr %object) {
  %block = call ptr @data(ptr %object)
  %ready = call i1 @prepare(ptr %block)
  br i1 %ready, label %run, label %raise
run:
  %thread = call ptr @PyEval_SaveThread()
  call void @jitgrad_launch(ptr %block)
  call void @PyEval_RestoreThread(ptr %thread)
  %result = call ptr @return_none()
  ret ptr %result
raise:
  ret ptr null
}

define ptr @jitgrad_py_launch_holding_gil(ptr %self, ptr %object) {
  %block = call ptr @data(ptr %object)
  %ready = call i1 @prepare(ptr %block)
  br i1 %ready, label %run, label %raise
run:
  call void @jitgrad_launch(ptr %block)
  %result = call ptr @return_none()
  ret ptr %result
raise:
  ret ptr null
}

define ptr @jitgrad_py_address(ptr %self, ptr %array) {
  %data = call ptr @data(ptr %array)
  %result = call ptr @PyLong_FromVoidPtr(ptr %data)
  ret ptr %result
}

define ptr @jitgrad_py_bind(ptr %self, ptr %given, i64 %count) {
  %object = load ptr, ptr %given
  %block = call ptr @data(ptr %object)
  %first.at = getelementptr ptr, ptr %given, i64 1
  %first.object = load ptr, ptr %first.at
  %first = call i64 @PyLong_AsSsize_t(ptr %first.object)
  br label %test
test:
  %i = phi i64 [ 2, %0 ], [ %i.next, %write ]
  %word = phi i64 [ %first, %0 ], [ %word.next, %write ]
  %left = icmp slt i64 %i, %count
  br i1 %left, label %write, label %end
write:
  %array.at = getelementptr ptr, ptr %given, i64 %i
  %array = load ptr, ptr %array.at
  %data = call ptr @data(ptr %array)
  %word.at = getelementptr i64, ptr %block, i64 %word
  store ptr %data, ptr %word.at
  %i.next = add i64 %i, 1
  %word.next = add i64 %word, 1
  br label %test
end:
  %result = call ptr @return_none()
  ret ptr %result
}
"""

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
    """What `jitgrad.runtime.threads` manages the native pool with."""

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
    found = native.load_object(_object_code(_text(with_threads)), names)
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
    text = (_POOL_IR if with_threads else _NO_POOL_IR) + _LAUNCH_IR
    values = {
        "PAUSE": _SPIN_HINTS.get(platform.machine().lower(), ""),
        "WORKER_SPIN": str(WORKER_SPIN),
        "CALLER_SPIN": str(CALLER_SPIN),
        "HEADER_BYTES": str(native.HEADER_BYTES),
    }
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _object_code(text: str) -> bytes:
    key = hashlib.blake2b((cache.fingerprint() + text).encode(), digest_size=20).hexdigest()
    entry = cache.load(key)
    if entry is not None:
        return entry.object_code
    code = native.compile_ir(text)
    source = f'"""LLVM IR of the parallel launcher."""\n\nIR = r"""{text}"""\n'
    cache.store(key, source, code, {"kind": "launcher"})
    return code
