"""Make arrays for results in memory that dropped results have left.

The system hands out fresh memory page by page, at 0.25 us per 4 KiB page, which costs a large
elementwise kernel more than its arithmetic. So large arrays live in blocks that come back here when the
last array or view on them has gone.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

SMALLEST_BYTES = 256 << 10
"""Arrays below this size come from NumPy, whose allocator reuses their memory by itself."""

_HUGE_PAGE_BYTES = 2 << 20
_REQUESTS_KNOWN = 4096
_BYTE = np.dtype(np.uint8)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return an uninitialised C-contiguous array, aligned to 64 bytes if it has `SMALLEST_BYTES` or more.

    Such an array does not own its memory by NumPy's flag; in all else it is an ordinary array.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < SMALLEST_BYTES or dtype.hasobject:
        return np.empty(shape, dtype)
    block = pool.take(size)
    owner = _Owner(size, _BYTE, block)
    owner.block = block
    return np.ndarray(shape, dtype, owner)


def clear() -> None:
    """Give the memory that no array uses back to the system."""
    pool.clear()


class _Block(np.ndarray[Any, Any]):
    """Bytes of a mapping of their own."""


class BufferPool:
    """Blocks of memory that wait to be used again, by size.

    There is no lock: the end of an array can interrupt these methods anywhere, even in the same thread. The
    blocks stand in deques, whose operations are atomic; the count of bytes may drift when threads meet, so
    it is counted anew before it decides and every `RECOUNT` returns.
    """

    RECOUNT = 1024  # an attribute, because modules are emptied before the last arrays go

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.idle_bytes = 0
        self.made = 0
        self._returns = 0
        self._idle: dict[int, deque[_Block]] = {}
        self._by_request: dict[int, deque[_Block]] = {}

    def take(self, size: int) -> _Block:
        """Return a block of at least ``size`` bytes that nothing else uses."""
        blocks = self._by_request.get(size)
        if blocks:
            try:
                block = blocks.pop()
            except IndexError:  # another thread was quicker
                return self._make(size)
            self.idle_bytes -= len(block)
            return block
        return self._make(size)

    def give_back(self, block: _Block) -> None:
        """Keep a block that no array uses any more, within the limit."""
        size = len(block)
        blocks = self._idle.get(size)
        if blocks is None or size > self.limit_bytes:
            return
        blocks.append(block)
        self.idle_bytes += size
        self._returns += 1
        if self.idle_bytes > self.limit_bytes or self._returns % self.RECOUNT == 0:
            self._trim(size)

    def clear(self) -> None:
        """Drop the idle blocks."""
        self._by_request, self._idle = {}, {}
        self.idle_bytes = 0

    def _make(self, size: int) -> _Block:
        """Make a block; blocks for sizes that round to the same wait together."""
        total = block_bytes(size)
        if len(self._by_request) >= _REQUESTS_KNOWN:
            self._by_request = {}
        blocks = self._by_request[size] = self._idle.setdefault(total, deque())
        try:
            block = blocks.pop()
        except IndexError:
            self.made += 1
            return _new_block(total)
        self.idle_bytes -= total
        return block

    def _trim(self, size: int) -> None:
        """Drop blocks, of other sizes than the one in use first, until the idle ones are within the limit."""
        idle = list(self._idle.items())
        idle.sort(key=lambda item: item[0] == size)
        self.idle_bytes = sum(size * len(blocks) for size, blocks in idle)
        for size, blocks in idle:
            while self.idle_bytes > self.limit_bytes and blocks:
                try:
                    blocks.popleft()
                except IndexError:  # another thread was quicker
                    break
                self.idle_bytes -= size


def block_bytes(size: int) -> int:
    """Return the size of the block for ``size`` bytes: up to an eighth more, eight sizes per doubling."""
    step = 1 << max(size.bit_length() - 4, 12)
    return -(-size // step) * step


def _new_block(size: int) -> _Block:
    if sys.platform == "win32":
        memory = mmap.mmap(-1, size)
    else:
        # Private, or a forked child would write into its parent's results.
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if size >= 2 * _HUGE_PAGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
    # Libraries that meet an mmap behind an array take it for a mapped file; a ctypes array hides it.
    return _Block(size, _BYTE, memoryview((ctypes.c_char * size).from_buffer(memory)))


def _default_limit() -> int:
    """Return an eighth of the machine's memory, within 256 MiB and 4 GiB."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = 4 << 30
    return min(max(memory // 8, 256 << 20), 4 << 30)


pool = BufferPool(_default_limit())


class _Owner(np.ndarray[Any, Any]):
    """The base of every array on one block; its end means that none is left.

    NumPy lets a view of a view refer to the innermost base, but stops where the type of the base changes,
    so an array refers to its owner, the owner to its block, and views of the array to the array.
    """

    block: _Block | None = None

    def __del__(self, give_back: Callable[[_Block], None] = pool.give_back) -> None:
        if self.block is not None:
            give_back(self.block)
