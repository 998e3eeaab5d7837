"""What became of a grid's kernel: its machine code's registers, memory and occupancy, the PTX's accesses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from jitgrad.targets.cuda.assembler import Resources, assemble
from jitgrad.targets.cuda.device import WARP
from jitgrad.targets.cuda.frontend import llvm_ir
from jitgrad.targets.cuda.grids import Grid
from jitgrad.targets.cuda.ptx import compile_ptx

REGISTERS = 1 << 16  # of a multiprocessor
REGISTERS_TOGETHER, WARPS_TOGETHER = 256, 4  # units in which registers are given, and warps get them
MOST_REGISTERS = 255  # of a thread

SYMBOL = "kernel"
_ACCESS = r"\b{}\.global(?:\.\w+)*?(?:\.v(?P<lanes>\d))?\.[a-z](?P<bits>\d+)\b"
_WIDE = re.compile(r"\.f64\b")
_CALL = re.compile(r"\bcall\b")


@dataclass(frozen=True, slots=True)
class Multiprocessor:
    """How many warps and blocks a multiprocessor holds at once, and its bytes of shared memory.

    A block takes these in units of `unit` bytes, and `reserved` more than it asks for.
    """

    warps: int
    blocks: int
    shared: int
    unit: int = 128
    reserved: int = 1 << 10


# From the CUDA C++ programming guide, "Compute capabilities".
MULTIPROCESSORS = {
    (7, 0): Multiprocessor(64, 32, 96 << 10, 256, 0),
    (7, 5): Multiprocessor(32, 16, 64 << 10, 256, 0),
    (8, 0): Multiprocessor(64, 32, 164 << 10),
    (8, 6): Multiprocessor(48, 16, 100 << 10),
    (8, 7): Multiprocessor(48, 16, 164 << 10),
    (8, 9): Multiprocessor(48, 24, 100 << 10),
    (9, 0): Multiprocessor(64, 32, 228 << 10),
    (10, 0): Multiprocessor(64, 32, 228 << 10),
    (12, 0): Multiprocessor(48, 24, 100 << 10),
}


@dataclass(frozen=True, slots=True)
class Inspection:
    """The figures of one grid's kernel on one GPU.

    `occupancy` is the part of a multiprocessor's warps that it holds at once; `loads` and `stores` count the
    instructions on global memory in the PTX by their bytes; `wide` says whether float64 occurs in it, and
    `calls` how often it calls functions out of line. `shared` are the bytes that a launch asks for.
    """

    resources: Resources
    shared: int
    occupancy: float
    loads: Mapping[int, int]
    stores: Mapping[int, int]
    wide: bool
    calls: int
    ptx: str
    cubin: bytes


def inspected(grid: Grid, capability: tuple[int, int]) -> Inspection:
    """Compile a grid's kernel and return its figures. No GPU is needed, but the assembler is."""
    text = llvm_ir(grid.text, grid.parameters, grid.form, SYMBOL, "kernel")
    ptx = compile_ptx(text, SYMBOL, capability, grid.form.fastmath)
    assembled = assemble(ptx, capability)
    return Inspection(
        assembled.resources,
        grid.shared_bytes,
        occupancy(capability, assembled.resources.registers, grid.form.block, grid.shared_bytes),
        accesses(ptx, "ld"),
        accesses(ptx, "st"),
        bool(_WIDE.search(ptx)),
        len(_CALL.findall(ptx)),
        ptx,
        assembled.cubin,
    )


def accesses(ptx: str, instruction: str) -> Mapping[int, int]:
    """Count the loads or stores of global memory by their bytes.

    >>> accesses("ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd1]; ld.global.nc.b64 %rd2, [%rd3];", "ld")
    Counter({16: 1, 8: 1})
    """
    found = re.finditer(_ACCESS.format(instruction), ptx)
    return Counter(int(access["lanes"] or 1) * int(access["bits"]) // 8 for access in found)


def occupancy(capability: tuple[int, int], registers: int, threads: int, shared: int) -> float:
    """Return the part of a multiprocessor's warps that blocks of so many threads fill, 0 if none fits.

    `shared` are the bytes of shared memory that a block asks for. The rules are those of NVIDIA's occupancy
    calculator; a GPU that is newer than the table is taken for the newest one before it.

    >>> occupancy((9, 0), registers=32, threads=256, shared=0)
    1.0
    >>> occupancy((9, 0), registers=64, threads=1024, shared=0)
    0.5
    """
    limit = MULTIPROCESSORS[max(known for known in MULTIPROCESSORS if known <= capability)]
    warps = -(-threads // WARP)
    each = max(1, -(-registers * WARP // REGISTERS_TOGETHER)) * REGISTERS_TOGETHER
    by_registers = REGISTERS // each // WARPS_TOGETHER * WARPS_TOGETHER // warps
    taken = -(-(shared + limit.reserved) // limit.unit) * limit.unit
    by_shared = limit.shared // taken if taken else limit.blocks
    blocks = min(limit.blocks, limit.warps // warps, by_registers, by_shared)
    return blocks * warps / limit.warps


def most_registers(block: int) -> int:
    """Return how many registers a thread may have in blocks of so many threads.

    >>> most_registers(256), most_registers(1024)
    (255, 64)
    """
    return min(MOST_REGISTERS, REGISTERS // block)
