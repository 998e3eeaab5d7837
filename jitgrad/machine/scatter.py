"""Sums of rows of float32 and float64 into the rows that an index names, in the order of the index.

Threads share out arrays and columns, never rows: each element is summed by one thread, in one order.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jitgrad.machine import code, native, threads

Array = np.ndarray[Any, Any]

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
SECONDS_PER_BYTE = 0.25e-9  # of rows that are read, and summed in a cache
CHUNK_SECONDS = 25e-6
COLUMN_BYTES = 256  # of a row for one thread: threads that write into one line of a cache wait for each other


@dataclass(frozen=True)
class Sums:
    """Sums of `count` rows of `width` elements into `size` rows, for each of several arrays.

    They are added to what is there, or, if ``blank``, to 0. Each row in memory stands for `every` rows, one
    after another.
    """

    dtype: np.dtype[Any]
    arrays: int
    size: int
    count: int
    width: int
    blank: bool
    every: int = 1

    @functools.cached_property
    def make_block(self) -> Callable[[], ctypes.Array[ctypes.c_int64]]:
        """Make a block of the launcher that lacks the addresses of the result, the index and the rows."""
        step = min(self.width, COLUMN_BYTES // self.dtype.itemsize)
        parts = -(-self.width // step)
        units = self.arrays * parts
        seconds = self.arrays * (self.size + self.count) * self.width * self.dtype.itemsize * SECONDS_PER_BYTE
        grain = max(1, int(units * CHUNK_SECONDS / seconds))
        sizes = (self.size, self.count, self.width, parts, step, int(self.blank), self.every)
        words = (_function(self.dtype), 0, units, grain, 0, 0, 0, 0, 0, *sizes)
        kind = ctypes.c_int64 * len(words)
        return functools.partial(kind.from_buffer_copy, bytes(kind(*words)))


def add_rows(out: Array, index: Array, rows: Array) -> None:
    """Add rows[:, i] to out[:, index[i]] for each i in turn.

    ``rows`` has shape (arrays, count, width) and ``out`` so many elements as (arrays, size, width); both are
    C-contiguous, of one of `DTYPES`, and do not overlap. ``index`` has ``count`` int64 numbers from 0 to
    size - 1, which nothing checks.

    >>> out = np.zeros((1, 3, 2))
    >>> add_rows(out, np.array([2, 0, 2]), np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]))
    >>> out[0]
    array([[3., 4.],
           [0., 0.],
           [6., 8.]])
    """
    if not rows.size:
        return
    arrays, count, width = rows.shape
    block = Sums(rows.dtype, arrays, out.size // (arrays * width), count, width, blank=False).make_block()
    launcher = threads.launcher()
    launcher.bind(block, threads.ARGS, out, index, rows)
    launcher.launch(block)


@functools.cache
def _function(dtype: np.dtype[Any]) -> int:
    name = f"jitgrad_add_rows_{dtype.name}"
    text = Path(__file__).with_name("scatter.ll").read_text(encoding="utf-8")
    text = text.replace("NAME", name).replace("BYTES", str(dtype.itemsize))
    text = text.replace("SCALAR", "float" if dtype.itemsize == 4 else "double")

    def compile_now() -> tuple[str, bytes]:
        return f'"""LLVM IR of sums of rows."""\n\nIR = r"""{text}"""\n', native.compile_ir(text)

    return code.load(code.key_of(text), [name], "scatter", compile_now).addresses[name]
