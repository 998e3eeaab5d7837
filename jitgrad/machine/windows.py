"""Windows over images by machine code: as columns of a matrix, their sums and their largest elements.

Threads share out rows of columns, or channels of images; each element is written by one of them, and its
terms are added in one order.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from jitgrad.machine import code, native, threads
from jitgrad.machine.window_arguments import COLUMN_WORDS, NAMES, PEAK_WORDS

Array = np.ndarray[Any, Any]
Ints = tuple[int, ...]
Windows = tuple[tuple[int, int, int, int], ...]

SECONDS_PER_BYTE = 0.15e-9  # of what is copied or added
SECONDS_PER_COMPARISON = 1.5e-9
CHUNK_SECONDS = 25e-6
KINDS = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64", np.dtype(np.int64): "i64"}
"""The dtypes that there is code for."""


def columns(x: Array, kernel: Ints, counts: Ints, windows: Windows) -> Array:
    """Return the elements of windows over images (images, channels, height, width).

    The result is (channels, *kernel, images, *counts). ``windows`` has stride, zeros before, zeros after and
    dilation of both axes.

    >>> columns(np.arange(3.0).reshape(1, 1, 1, 3), (1, 2), (1, 2), ((1, 0, 0, 1), (1, 0, 0, 1))).ravel()
    array([0., 1., 1., 2.])
    """
    if any(s % x.itemsize for s in x.strides):
        x = np.ascontiguousarray(x)
    images, channels, *size = x.shape
    out = np.empty((channels, *kernel, images, *counts), x.dtype)
    strides = [s // x.itemsize for s in x.strides]
    units = channels * kernel[0] * kernel[1]
    given = _arguments(x.shape, kernel, counts, windows, strides)
    _run(0, x.dtype, units, out.nbytes * SECONDS_PER_BYTE, COLUMN_WORDS[2:], given, out, x)
    return out


def sums(values: Array, size: Ints, windows: Windows) -> Array:
    """Return images (images, channels, *size) of the sums of what windows have for each element.

    ``values`` is as `columns` returns it.
    """
    values = np.ascontiguousarray(values)
    channels, images = values.shape[0], values.shape[3]
    out = np.empty((images, channels, *size), values.dtype)
    given = _arguments(out.shape, values.shape[1:3], values.shape[4:], windows, (0, 0, 0, 0))
    seconds = values.nbytes * SECONDS_PER_BYTE
    _run(1, out.dtype, images * channels, seconds, COLUMN_WORDS[2:], given, out, values)
    return out


def peaks(x: Array, rows: Array, columns: Array) -> Array:
    """Return where the largest elements of windows lie in images (images, height, width), row by row.

    ``rows`` and ``columns`` are int64 indices (windows, kernel) inside the image, which nothing checks. Of
    equal elements the first counts, of several NaNs the last.
    """
    x, rows, columns = (np.ascontiguousarray(a) for a in (x, rows, columns))
    out = np.empty((len(x), len(rows), len(columns)), np.int64)
    given = (*x.shape[1:], rows.shape[1], columns.shape[1], len(rows), len(columns))
    seconds = out.size * rows.shape[1] * columns.shape[1] * SECONDS_PER_COMPARISON
    _run(2, x.dtype, len(x), seconds, PEAK_WORDS[4:], given, out, x, rows, columns)
    return out


def _arguments(shape: Ints, kernel: Ints, counts: Ints, windows: Windows, strides: Any) -> Ints:
    stride, before, _, dilation = zip(*windows, strict=True)
    return (*shape, *kernel, *counts, *stride, *before, *dilation, *strides)


def _run(
    function: int, dtype: Any, units: int, seconds: float, words: Any, given: Ints, *arrays: Array
) -> None:
    assert len(words) == len(given)
    if not units or not arrays[0].size:
        return
    grain = max(1, int(units * CHUNK_SECONDS / seconds)) if seconds else units
    block = (_functions(dtype)[function], 0, units, grain, 0, 0, *(0,) * len(arrays), *given)
    launcher = threads.launcher()
    memory = (ctypes.c_int64 * len(block))(*block)
    launcher.bind(memory, threads.ARGS, *arrays)
    launcher.launch(memory)


@functools.cache
def _functions(dtype: np.dtype[Any]) -> tuple[int, ...]:
    """The addresses of the code for a dtype."""
    kind = KINDS[dtype]
    names = [f"{name}_{kind}" for name in NAMES]

    def compile_now() -> tuple[str, bytes]:
        from jitgrad.machine import window_code

        text = window_code.text(kind)
        return f'"""LLVM IR of windows of {dtype}."""\n\nIR = r"""{text}"""\n', native.compile_ir(text)

    addresses = code.load(code.key_of("windows", kind), names, "windows", compile_now).addresses
    return tuple(addresses[name] for name in names)
