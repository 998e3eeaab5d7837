"""The LLVM IR of grids run on this CPU: the threads of a block take turns, each rests where it waits.

What a GPU would be given is compiled for this machine, after its few intrinsics are replaced. Each GPU thread
has a stack of its own, all on one thread of this machine. The blocks of a grid run one after another, every
second one from its last thread to its first.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from compare import Array

from jitgrad.machine import native
from jitgrad.targets.cpu import words
from jitgrad.targets.cuda.device import WARP
from jitgrad.targets.cuda.frontend import Form, llvm_ir
from jitgrad.targets.cuda.grids import Grid
from jitgrad.targets.source import Parameter
from jitgrad.vmath import library

MOST_THREADS = 64  # of a block of `reduced` grids
CAPACITY = 1024  # threads of any block
SHARED_BYTES = 1 << 17
STACK_BYTES = 1 << 18
CONTEXT_BYTES = 1 << 13  # more than a ucontext_t takes on any processor
CONTEXT_STACK = 2  # words of a ucontext_t before its stack's address, flags and size

# The words of a thread. Of a block, `left` threads have not ended, and `steps` of any were worth a turn.
TID, CTAID_X, CTAID_Y, NCTAID_X, NCTAID_Y, ENDED, BARRIER, WARP_BARRIER, EXCHANGE, NEXT, CONTEXT = range(11)
THREAD_WORDS = 11
RUNNING, LEFT, STEPS, ARGUMENTS = range(4)  # words that a block's threads share: which runs now, ...
COUNT, ARRIVED, RELEASED = range(3)  # words of a barrier

MACHINE = """
declare i32 @swapcontext(ptr, ptr)

define internal i64 @word(i64 %address, i64 %place) {
  %bytes = mul i64 %place, 8
  %at = add i64 %address, %bytes
  %pointer = inttoptr i64 %at to ptr
  %value = load volatile i64, ptr %pointer
  ret i64 %value
}
define internal i64 @increase(i64 %address, i64 %place, i64 %by) {
  %bytes = mul i64 %place, 8
  %at = add i64 %address, %bytes
  %pointer = inttoptr i64 %at to ptr
  %value = load volatile i64, ptr %pointer
  %more = add i64 %value, %by
  store volatile i64 %more, ptr %pointer
  ret i64 %more
}
define internal i64 @mine(i64 %place) {
  %thread = call i64 @word(i64 SHARED, i64 RUNNING)
  %value = call i64 @word(i64 %thread, i64 %place)
  ret i64 %value
}
define internal void @rest() {
  %thread = call i64 @word(i64 SHARED, i64 RUNNING)
  br label %search
search:
  %before = phi i64 [%thread, %0], [%next, %search]
  %next = call i64 @word(i64 %before, i64 NEXT)
  %ended = call i64 @word(i64 %next, i64 ENDED)
  %skip = icmp ne i64 %ended, 0
  br i1 %skip, label %search, label %found
found:
  store volatile i64 %next, ptr inttoptr (i64 SHARED to ptr)
  %from = call i64 @word(i64 %thread, i64 CONTEXT)
  %to = call i64 @word(i64 %next, i64 CONTEXT)
  %here = inttoptr i64 %from to ptr
  %there = inttoptr i64 %to to ptr
  call i32 @swapcontext(ptr %here, ptr %there)
  ret void
}
define internal void @wait(i64 %barrier) {
  %before = call i64 @word(i64 %barrier, i64 RELEASED)
  %arrived = call i64 @increase(i64 %barrier, i64 ARRIVED, i64 1)
  %count = call i64 @word(i64 %barrier, i64 COUNT)
  %last = icmp eq i64 %arrived, %count
  br i1 %last, label %release, label %turn
release:
  %none = sub i64 0, %count
  call i64 @increase(i64 %barrier, i64 ARRIVED, i64 %none)
  call i64 @increase(i64 %barrier, i64 RELEASED, i64 1)
  call i64 @increase(i64 SHARED, i64 STEPS, i64 1)
  ret void
turn:
  call void @rest()
  %now = call i64 @word(i64 %barrier, i64 RELEASED)
  %same = icmp eq i64 %now, %before
  br i1 %same, label %turn, label %go
go:
  ret void
}
define internal void @gpu.barrier0() {
  %barrier = call i64 @mine(i64 BARRIER)
  call void @wait(i64 %barrier)
  ret void
}
define internal void @gpu.warp.sync(i32 %mask) {
  %barrier = call i64 @mine(i64 WARP_BARRIER)
  call void @wait(i64 %barrier)
  ret void
}
define internal i32 @gpu.shuffle(i32 %mask, i32 %value, i32 %lane, i32 %clamp) {
  %address = call i64 @mine(i64 EXCHANGE)
  %words = inttoptr i64 %address to ptr
  %thread = call i64 @mine(i64 TID)
  %number = and i64 %thread, 31
  %here = getelementptr i32, ptr %words, i64 %number
  store volatile i32 %value, ptr %here
  call void @gpu.warp.sync(i32 -1)
  %there = getelementptr i32, ptr %words, i32 %lane
  %other = load volatile i32, ptr %there
  call void @gpu.warp.sync(i32 -1)
  ret i32 %other
}
define i64 @SYMBOL.block() {
  br label %turn
turn:
  %before = call i64 @word(i64 SHARED, i64 STEPS)
  call void @rest()
  %after = call i64 @word(i64 SHARED, i64 STEPS)
  %left = call i64 @word(i64 SHARED, i64 LEFT)
  %moved = icmp ne i64 %before, %after
  %some = icmp ne i64 %left, 0
  %again = and i1 %moved, %some
  br i1 %again, label %turn, label %done
done:
  ret i64 %left
}
define void @SYMBOL.thread() {
  %thread = call i64 @word(i64 SHARED, i64 RUNNING)
  %address = call i64 @word(i64 SHARED, i64 ARGUMENTS)
  %arguments = inttoptr i64 %address to ptr
LOADS
  call void @SYMBOL(VALUES)
  call i64 @increase(i64 SHARED, i64 LEFT, i64 -1)
  call i64 @increase(i64 SHARED, i64 STEPS, i64 1)
  call i64 @increase(i64 %thread, i64 ENDED, i64 1)
  call void @rest()
  ret void
}
"""
REGISTERS = {"tid.x": TID, "ctaid.x": CTAID_X, "ctaid.y": CTAID_Y, "nctaid.x": NCTAID_X, "nctaid.y": NCTAID_Y}
REGISTER = """
define internal i32 @gpu.NAME() {
  %value = call i64 @mine(i64 PLACE)
  %narrow = trunc i64 %value to i32
  ret i32 %narrow
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
_one_grid = threading.Lock()
_shared = np.zeros(4, np.int64)
_threads = np.zeros((CAPACITY + 1, THREAD_WORDS), np.int64)  # the last of them starts a block
_contexts = np.zeros((CAPACITY + 1, CONTEXT_BYTES // 8), np.int64)
_stacks = np.empty((CAPACITY, STACK_BYTES), np.uint8)
_exchanged = np.zeros((CAPACITY // WARP, WARP), np.int32)
_barriers = np.zeros((1 + CAPACITY // WARP, 3), np.int64)


@dataclass(frozen=True, slots=True)
class Code:
    """Machine code of a grid: what each thread runs, and what starts the threads of a block."""

    thread: int
    block: Any


def reduced(grid: Grid) -> Grid:
    """The grid with blocks of few threads: two groups of one warp, or one of two."""
    threads = min(grid.form.threads, MOST_THREADS)
    shared = grid.form.shared and 2 * grid.temporary_bytes <= SHARED_BYTES
    return replace(grid, form=replace(grid.form, threads=threads, block=MOST_THREADS, shared=shared))


def thread_function(text: str, parameters: tuple[Parameter, ...], form: Form) -> Code:
    """Compile a grid for this machine, or find it compiled for other sizes."""
    return _code(text, tuple(replace(p, value=None) for p in parameters), form)


@functools.cache
def _code(text: str, parameters: tuple[Parameter, ...], form: Form) -> Code:
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
    names = [f"{symbol}.thread", f"{symbol}.block"]
    addresses = native.load_object(_compiled(ir + _machine(symbol, parameters)), names)
    return Code(addresses[names[0]], ctypes.CFUNCTYPE(ctypes.c_int64)(addresses[names[1]]))


def _machine(symbol: str, parameters: tuple[Parameter, ...]) -> str:
    """The functions around a grid's own, which it calls or which call it."""
    kinds = ["i64", "i64", "ptr", *(["ptr" if _is_array(p) else "i64" for p in parameters])]
    loads = []
    for place, kind in enumerate(kinds):
        loads.append(f"  %a{place} = getelementptr i64, ptr %arguments, i64 {place}")
        loads.append(f"  %v{place} = load {kind}, ptr %a{place}")
    registers = [
        REGISTER.replace("NAME", name).replace("PLACE", str(place)) for name, place in REGISTERS.items()
    ]
    named = {name: str(value) for name, value in globals().items() if isinstance(value, int)}
    named |= {
        "SHARED": str(_shared.ctypes.data),
        "SYMBOL": symbol,
        "LOADS": "\n".join(loads),
        "VALUES": ", ".join(f"{kind} %v{place}" for place, kind in enumerate(kinds)),
    }
    return re.sub(r"\b[A-Z_]+\b", lambda found: named[found[0]], MACHINE) + "".join(registers)


def _compiled(text: str) -> bytes:
    """Object code for this machine as it is written: LLVM's passes would take 25 times as long."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=0,
        codemodel="jitdefault",
    )
    context = llvm.create_context()
    module = llvm.parse_assembly(text, context)
    for definition in library.definitions(native.declared(module)):
        module.link_in(llvm.parse_assembly(definition, context))
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    code: bytes = machine.emit_object(module)
    return code


def _is_array(parameter: Parameter) -> bool:
    return parameter.kind in ("input", "output", "work")


def run_grid(grid: Grid, arrays: Mapping[str, Array], blocks: int = 2, columns: int = 2) -> None:
    """Run a grid of at most so many blocks, in so many columns where it is spread, on `arrays` by name."""
    form = grid.form
    blocks = max(1, min(blocks, -(-grid.units * form.threads // form.block)))
    code = thread_function(grid.text, grid.parameters, form)
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
    run_blocks(code, ctypes.addressof(block), form.block, blocks, columns if form.spread else 1)


def run_blocks(code: Code, arguments: int, threads: int, blocks: int, columns: int) -> None:
    """Run all blocks of a grid, one after another, on the argument block at an address.

    Raise RuntimeError where some threads wait for others that have ended or wait for something else.
    """
    with _one_grid:
        for number, (x, y) in enumerate(itertools.product(range(blocks), range(columns))):
            _prepare(code, threads, (x, y, blocks, columns), backwards=number % 2 == 1)
            _shared[:] = [_address(_threads[-1]), threads, 0, arguments]
            left = code.block()
            if left:
                raise RuntimeError(f"{left} of {threads} threads wait for others that never come")


def _prepare(code: Code, threads: int, numbers: tuple[int, int, int, int], backwards: bool) -> None:
    """Make the threads of a block ready to begin."""
    _barriers[:] = [WARP, 0, 0]
    _barriers[0, COUNT] = threads
    _threads[:, ENDED] = 0
    order = [*range(threads)][:: -1 if backwards else 1] + [CAPACITY]
    for place, thread in enumerate(order):
        _threads[thread, NEXT] = _address(_threads[order[(place + 1) % len(order)]])
        _threads[thread, CONTEXT] = _address(_contexts[thread])
    for thread in range(threads):
        _threads[thread, :ENDED] = [thread, *numbers]
        _threads[thread, BARRIER] = _address(_barriers[0])
        _threads[thread, WARP_BARRIER] = _address(_barriers[1 + thread // WARP])
        _threads[thread, EXCHANGE] = _address(_exchanged[thread // WARP])
        context = ctypes.c_void_p(_address(_contexts[thread]))
        assert _libc.getcontext(context) == 0
        _contexts[thread, CONTEXT_STACK : CONTEXT_STACK + 3] = [_address(_stacks[thread]), 0, STACK_BYTES]
        _libc.makecontext(context, ctypes.c_void_p(code.thread), 0)


def _address(array: Array) -> int:
    return array.ctypes.data
