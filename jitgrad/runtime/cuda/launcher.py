"""Launches of several grids by one native call, from argument blocks that stand ready."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jitgrad.machine import code, native
from jitgrad.runtime.cuda.driver import CudaError, Driver

ROW = 6
BUFFER_POINTER, BUFFER_SIZE = 1, 2  # keys of the driver's `extra` list, which 0 ends
_SYMBOL = "jitgrad_launch_grids"

Words = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a function is launched: blocks along x and y, threads of a block, bytes of shared memory."""

    function: int
    x: int
    y: int
    threads: int
    shared_bytes: int


class Launches:
    """Grids that run one after another; `words` are all their argument blocks, to be filled before `run`."""

    def __init__(self, driver: Driver, shapes: Sequence[Shape], blocks: Sequence[Sequence[int]]) -> None:
        self.driver = driver
        self.words: Words = np.array([word for block in blocks for word in block], np.int64)
        self._sizes = np.array([8 * len(block) for block in blocks], np.int64)
        self._extras = np.zeros((len(blocks), 5), np.int64)
        self._table = np.zeros((len(blocks), ROW), np.int64)
        begin, size = self.words.ctypes.data, self._sizes.ctypes.data
        for place, (shape, block) in enumerate(zip(shapes, blocks, strict=True)):
            self._extras[place] = [BUFFER_POINTER, begin, BUFFER_SIZE, size + 8 * place, 0]
            extra = self._extras.ctypes.data + self._extras.strides[0] * place
            row = [shape.function, shape.x, shape.y, shape.threads, shape.shared_bytes, extra]
            self._table[place] = row
            begin += 8 * len(block)

    def run(self, stream: int) -> None:
        """Launch all grids on a stream. Raise CudaError if the driver refuses one."""
        failed = _launch()(self.driver.launch_address, self._table.ctypes.data, len(self._table), stream)
        if failed:
            number, error = failed >> 32, failed & 0xFFFFFFFF
            raise CudaError(f"launch {number} of {len(self._table)}: {self.driver.words(error)}")


@functools.cache
def _launch() -> Callable[[int, int, int, int], int]:
    text = (Path(__file__).parent / "launch.ll").read_text()
    found = code.load(code.key_of(text), [_SYMBOL], "launcher", lambda: (text, native.compile_written(text)))
    kinds = (ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
    return ctypes.CFUNCTYPE(*kinds)(found.addresses[_SYMBOL])
