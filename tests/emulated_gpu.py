"""The LLVM IR of grids run on this CPU: each GPU thread is a thread here, barriers and shuffles are real.

What a GPU would be given is compiled for this machine, after its few intrinsics are replaced. The blocks of a
grid run one after another.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from compare import Array

from jitgrad.machine import native
from jitgrad.targets.cpu import words
from jitgrad.targets.cuda.device import WARP
from jitgrad.targets.cuda.frontend import Form, llvm_ir
from jitgrad.targets.cuda.grids import Grid
from jitgrad.targets.source import Parameter
from jitgrad.vmath import library

MOST_THREADS = 64  # of a block
SHARED_BYTES = 1 << 17

# A context is one GPU thread: its numbers, the barriers of its block and its warp, and the words that the
# lanes of its warp exchange.
MACHINE = """
declare ptr @pthread_getspecific(i32)
declare i32 @pthread_setspecific(i32, ptr)
declare i32 @pthread_barrier_wait(ptr)

define internal i32 @number(i64 %place) {
  %context = call ptr @pthread_getspecific(i32 KEY)
  %address = getelementptr i32, ptr %context, i64 %place
  %value = load i32, ptr %address
  ret i32 %value
}
define internal ptr @pointer(i64 %place) {
  %context = call ptr @pthread_getspecific(i32 KEY)
  %address = getelementptr ptr, ptr %context, i64 %place
  %value = load ptr, ptr %address
  ret ptr %value
}
define internal i32 @gpu.tid.x() { %v = call i32 @number(i64 0) ret i32 %v }
define internal i32 @gpu.ctaid.x() { %v = call i32 @number(i64 1) ret i32 %v }
define internal i32 @gpu.ctaid.y() { %v = call i32 @number(i64 2) ret i32 %v }
define internal i32 @gpu.nctaid.x() { %v = call i32 @number(i64 3) ret i32 %v }
define internal i32 @gpu.nctaid.y() { %v = call i32 @number(i64 4) ret i32 %v }
define internal void @gpu.barrier0() {
  %barrier = call ptr @pointer(i64 3)
  call i32 @pthread_barrier_wait(ptr %barrier)
  ret void
}
define internal void @gpu.warp.sync(i32 %mask) {
  %barrier = call ptr @pointer(i64 4)
  call i32 @pthread_barrier_wait(ptr %barrier)
  ret void
}
define internal i32 @gpu.shuffle(i32 %mask, i32 %value, i32 %lane, i32 %clamp) {
  %words = call ptr @pointer(i64 5)
  %thread = call i32 @number(i64 0)
  %mine = and i32 %thread, 31
  %here = getelementptr i32, ptr %words, i32 %mine
  store i32 %value, ptr %here
  call void @gpu.warp.sync(i32 -1)
  %there = getelementptr i32, ptr %words, i32 %lane
  %other = load i32, ptr %there
  call void @gpu.warp.sync(i32 -1)
  ret i32 %other
}
"""
ENTRY = """
define void @SYMBOL.thread(ptr %context, ptr %arguments) {
  call i32 @pthread_setspecific(i32 KEY, ptr %context)
LOADS
  call void @SYMBOL(ARGUMENTS)
  ret void
}
"""
REPLACED = {
    "ptx_kernel ": "",
    '"mov.b64 $0, $1;", "=l,l"': '"", "=r,0"',
    "llvm.nvvm.read.ptx.sreg.": "gpu.",
    "llvm.nvvm.barrier0": "gpu.barrier0",
    "llvm.nvvm.bar.warp.sync": "gpu.warp.sync",
    "llvm.nvvm.shfl.sync.idx.i32": "gpu.shuffle",
}
_numbers = itertools.count()
_libc = ctypes.CDLL(None)
_pool = ThreadPoolExecutor(MOST_THREADS)
_one_grid = threading.Lock()


@functools.cache
def _key() -> int:
    key = ctypes.c_uint()
    assert _libc.pthread_key_create(ctypes.byref(key), None) == 0
    return key.value


class Context(ctypes.Structure):
    _fields_ = [
        ("numbers", ctypes.c_int32 * 6),
        ("block", ctypes.c_void_p),
        ("warp", ctypes.c_void_p),
        ("words", ctypes.c_void_p),
    ]


def reduced(grid: Grid) -> Grid:
    """The grid with blocks of few threads: two groups of one warp, or one of two."""
    threads = min(grid.form.threads, MOST_THREADS)
    shared = grid.form.shared and 2 * grid.temporary_bytes <= SHARED_BYTES
    return replace(grid, form=replace(grid.form, threads=threads, block=MOST_THREADS, shared=shared))


@functools.cache
def thread_function(text: str, parameters: tuple[Parameter, ...], form: Form) -> Any:
    """What runs one thread of a grid, given the addresses of its context and of the argument block."""
    symbol = f"grid{next(_numbers)}"
    ir = llvm_ir(text, parameters, form, symbol, "<grid>")
    for old, new in REPLACED.items():
        ir = ir.replace(old, new)
    ir = re.sub(r'^declare .*@"gpu\..*$', "", ir, flags=re.MULTILINE)
    ir = re.sub(
        r'(@"jitgrad_shared" = )external (addrspace\(3\) global) \[0 x i8\].*',
        rf"\1internal \2 [{SHARED_BYTES} x i8] zeroinitializer, align 64",
        ir,
    ).replace("[0 x i8] addrspace(3)*", "ptr addrspace(3)")
    kinds = ["i64", "i64", "ptr", *(["ptr" if _is_array(p) else "i64" for p in parameters])]
    loads, given = [], []
    for place, kind in enumerate(kinds):
        loads.append(f"  %a{place} = getelementptr i64, ptr %arguments, i64 {place}")
        loads.append(f"  %v{place} = load {kind}, ptr %a{place}")
        given.append(f"{kind} %v{place}")
    entry = ENTRY.replace("LOADS", "\n".join(loads)).replace("ARGUMENTS", ", ".join(given))
    machine = (MACHINE + entry).replace("KEY", str(_key())).replace("SYMBOL", symbol)
    name = f"{symbol}.thread"
    address = native.load_object(native.compile_ir(ir + machine, library), [name])[name]
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address)


def _is_array(parameter: Parameter) -> bool:
    return parameter.kind in ("input", "output", "work")


def run_grid(grid: Grid, arrays: Mapping[str, Array], blocks: int = 2, columns: int = 2) -> None:
    """Run a grid of so many blocks, in so many columns where it is spread, on `arrays` by name."""
    form = grid.form
    function = thread_function(grid.text, grid.parameters, form)
    blocks = max(1, min(blocks, -(-grid.units * form.threads // form.block)))
    groups = blocks * (form.block // form.threads)
    scratch = np.zeros(groups * grid.temporary_bytes + 64, np.uint8)
    offsets = grid.offsets()
    content = [grid.units, grid.temporary_bytes, -(-scratch.ctypes.data // 64) * 64]
    for p in grid.parameters:
        if _is_array(p):
            content.append(arrays[p.name].ctypes.data)
        else:
            content.append(offsets[p.name] if p.kind == "temp" else words(p))
    block = (ctypes.c_int64 * len(content))(*content)
    run_blocks(function, ctypes.addressof(block), form.block, blocks, columns if form.spread else 1)


def run_blocks(function: Any, arguments: int, threads: int, blocks: int, columns: int) -> None:
    """Run all blocks of a grid, one after another, on the argument block at an address."""
    with _one_grid:
        for x, y in itertools.product(range(blocks), range(columns)):
            _run_block(function, arguments, threads, (x, y, blocks, columns))


def _run_block(function: Any, arguments: int, threads: int, numbers: tuple[int, int, int, int]) -> None:
    barriers = [ctypes.create_string_buffer(64) for _ in range(1 + threads // WARP)]
    for barrier, count in zip(barriers, [threads, *[WARP] * (threads // WARP)], strict=True):
        assert _libc.pthread_barrier_init(barrier, None, count) == 0
    exchanged = [(ctypes.c_int32 * WARP)() for _ in range(threads // WARP)]
    contexts = [
        Context(
            (ctypes.c_int32 * 6)(thread, *numbers, 0),
            ctypes.addressof(barriers[0]),
            ctypes.addressof(barriers[1 + thread // WARP]),
            ctypes.addressof(exchanged[thread // WARP]),
        )
        for thread in range(threads)
    ]
    list(_pool.map(lambda context: function(ctypes.addressof(context), arguments), contexts))
