"""Matrix products of float32 and float64 by code of our own, on the pool's threads.

No bit of a result depends on the memory layout of the operands, on the number of threads or on this CPU:
`jitgrad.machine.product_code` says in which order terms are added. So how a product is cut into units, and
whether an operand is copied first, is only a matter of time.
"""

from __future__ import annotations

import ctypes
import functools
import math
import platform
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jitgrad.machine import code, native, threads
from jitgrad.machine.product_arguments import ROW_BYTES, WORDS, Registers, names

Array = np.ndarray[Any, Any]
Ints = tuple[int, ...]

SECONDS_PER_TERM_BYTE = (
    5e-12  # of a matrix times a matrix, for each byte of an element: 100 GFLOP/s in float32
)
SECONDS_PER_BYTE = 15e-12  # of a matrix times a vector
SECONDS_PER_ELEMENT_BYTE = 30e-12  # of operands and result
SECONDS_PER_MATRIX = 15e-9
PARALLEL_SECONDS = 25e-6  # below this, waking a second thread (6 to 8 us) brings little
CHUNK_SECONDS = 10e-6
HOLD_GIL_SECONDS = 4e-6

# The most rows and columns of a tile, the largest first. Large tiles copy operands less often; small ones
# give threads more to share out.
TILES = ((144, 256), (96, 128), (48, 64))
UNITS = 16  # tiles that are enough to be shared out

# A copy of an operand pays once so many columns or rows of the other one meet it.
COLUMNS_FOR_COPY = 64
ROWS_FOR_COPY = 48
ROWS_IN_PLACE = 16  # so few, of so few columns that one vector holds them, that nothing is copied
FEW = 4  # columns fill a vector so badly that rows had better lie along it
CLOSE_BYTES = 16384  # within which an operand stays in the fastest cache as it lies
ALIASING_BYTES = 4096  # rows that lie so far apart evict one another from the fastest cache


@dataclass(frozen=True)
class Product:
    """How to multiply operands of two memory layouts.

    ``make_block`` makes a block of the launcher that lacks only addresses: of scratch memory, if there are
    ``scratch_bytes``; from word `threads.ARGS` on those of the operands, the second one first if ``swapped``,
    and of the result. ``copied`` says which operands have to be made contiguous before that. ``seconds`` is
    about the time on one thread.
    """

    shape: Ints
    dtype: np.dtype[Any]
    make_block: Callable[[], ctypes.Array[ctypes.c_int64]]
    scratch_bytes: int
    seconds: float
    swapped: bool
    copied: tuple[bool, bool]

    @functools.cached_property
    def launch(self) -> Callable[[ctypes.Array[ctypes.c_int64]], None]:
        """The built-in that runs the block, which keeps the GIL if that takes a few microseconds only."""
        launcher = threads.launcher()
        return launcher.launch_holding_gil if self.seconds < HOLD_GIL_SECONDS else launcher.launch

    @functools.cached_property
    def run(self) -> Callable[[Array, Array], Array]:
        """The product as a function of two arrays of these layouts."""
        make_block, bind, launch = self.make_block, threads.launcher().bind, self.launch
        shape, dtype, scratch_bytes, swapped = self.shape, self.dtype, self.scratch_bytes, self.swapped
        copy_x, copy_y = self.copied

        def run(x: Array, y: Array) -> Array:
            if copy_x:
                x = x.copy("C")
            if copy_y:
                y = y.copy("C")
            out = np.empty(shape, dtype)
            block = make_block()
            if scratch_bytes:
                bind(block, 4, _scratch_of(scratch_bytes))
            if swapped:
                bind(block, threads.ARGS, y, x, out)
            else:
                bind(block, threads.ARGS, x, y, out)
            launch(block)
            return out

        return run


def multiply(x: Array, y: Array) -> Array:
    """Return the products of the matrices in the last two axes of x and y, whose other axes agree.

    Both are float32 or both float64.

    >>> multiply(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0], [10.0]]))
    array([[21.],
           [43.]])
    """
    return plan(x.shape, x.strides, y.shape, y.strides, x.dtype).run(x, y)


class _Scratch(threading.local):
    """Each thread's own memory; what no thread of the pool touches takes none."""

    memory: Array = np.empty(0, np.uint8)


_scratch = _Scratch()


def _scratch_of(size: int) -> Array:
    if _scratch.memory.size < size:
        _scratch.memory = np.empty(size, np.uint8)
    return _scratch.memory


@functools.lru_cache(maxsize=4096)
def plan(
    x_shape: Ints,
    x_strides: Ints,
    y_shape: Ints,
    y_strides: Ints,
    dtype: np.dtype[Any],
    x_start: int = 0,
    y_start: int = 0,
) -> Product:
    """Return how to multiply operands of these layouts; strides and starts are in bytes."""
    of_vector = _of_vector(x_shape, y_shape)
    x = _Operand.of(x_shape, x_strides, x_start, dtype.itemsize, of_vector)
    y = _Operand.of(y_shape, y_strides, y_start, dtype.itemsize, of_vector)
    if len(_batch_axes(x, y)) > 2:
        x, y = (_Operand.copy(shape, dtype.itemsize) for shape in (x_shape, y_shape))
    swapped = _swapped(x_shape, y_shape, dtype)
    first, second = (y.transposed(), x.transposed()) if swapped else (x, y)
    words, seconds = _words(first, second, dtype, swapped)
    kind = ctypes.c_int64 * len(words)
    return Product(
        shape=(*x_shape[:-1], y_shape[-1]),
        dtype=dtype,
        make_block=functools.partial(kind.from_buffer_copy, bytes(kind(*words))),
        scratch_bytes=words[5] * min(threads.MAX_THREADS, -(-words[2] // words[3])),
        seconds=seconds,
        swapped=swapped,
        copied=(x.copied, y.copied),
    )


@dataclass(frozen=True, slots=True)
class _Operand:
    """Where the matrices of an operand lie, in elements."""

    shape: Ints
    strides: Ints
    start: int
    copied: bool

    @staticmethod
    def of(shape: Ints, strides: Ints, start: int, itemsize: int, of_vector: bool) -> _Operand:
        """The operand as it lies, or its copy if the code cannot read that."""
        gaps = all(s != itemsize for n, s in zip(shape[-2:], strides[-2:], strict=True) if n > 1)
        if any(s % itemsize for s in (*strides, start)) or (of_vector and gaps and max(shape[-2:]) > 1):
            return _Operand.copy(shape, itemsize)
        return _Operand(shape, tuple(s // itemsize for s in strides), start // itemsize, False)

    @staticmethod
    def copy(shape: Ints, itemsize: int) -> _Operand:
        strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
        return _Operand(shape, strides, 0, True)

    def transposed(self) -> _Operand:
        def turned(values: Ints) -> Ints:
            return (*values[:-2], values[-1], values[-2])

        return replace(self, shape=turned(self.shape), strides=turned(self.strides))


def _batch_axes(x: _Operand, y: _Operand) -> list[Ints]:
    """Size and both strides of the batch axes, of which those that follow one another are merged."""
    axes: list[Ints] = []
    for size, *strides in zip(x.shape[:-2], x.strides[:-2], y.strides[:-2], strict=True):
        if axes and all(outer == size * s for outer, s in zip(axes[-1][1:], strides, strict=True)):
            axes[-1] = (axes[-1][0] * size, *strides)
        elif size > 1:
            axes.append((size, *strides))
    return axes


def _swapped(x_shape: Ints, y_shape: Ints, dtype: np.dtype[Any]) -> bool:
    """Whether to multiply the transposes: rows then lie along vectors, which few columns would not fill."""
    (rows, inner), columns = x_shape[-2:], y_shape[-1]
    lanes = _registers(dtype).lanes
    return rows == 1 < columns or (1 < columns <= lanes // FEW and inner > rows >= lanes)


def _words(x: _Operand, y: _Operand, dtype: np.dtype[Any], swapped: bool) -> tuple[Ints, float]:
    """The launcher's block, and about how long it takes on one thread."""
    (rows, inner), columns = x.shape[-2:], y.shape[-1]
    (_, x_outer, y_outer), (batch, x_batch, y_batch) = [(1, 0, 0), (1, 0, 0), *_batch_axes(x, y)][-2:]
    count = math.prod(x.shape[:-2])
    of_vector, itemsize, registers = columns == 1, dtype.itemsize, _registers(dtype)
    seconds = count * _seconds(rows, inner, columns, itemsize)
    tile = (ROW_BYTES // itemsize, 1) if of_vector else _tile(count, rows, columns, dtype, seconds)
    down, across = -(-rows // tile[0]), -(-columns // tile[1])
    reach = inner * abs(y.strides[-2]) * itemsize
    in_place = y.strides[-1] == 1 and rows <= ROWS_IN_PLACE and columns <= registers.lanes > 16 // itemsize
    scratch = 0 if of_vector or in_place else registers.scratch_bytes(tile[1])
    arguments = {
        **{"x_start": x.start, "y_start": y.start, "rows": rows, "inner": inner, "columns": columns},
        **{"x_row": x.strides[-2], "x_inner": x.strides[-1]},
        **{"y_inner": y.strides[-2], "y_column": y.strides[-1]},
        **{"out_row": 1 if swapped else columns, "out_column": rows if swapped else 1},
        **{"x_batch": x_batch, "y_batch": y_batch, "x_outer": x_outer, "y_outer": y_outer, "batch": batch},
        **{"tile_rows": tile[0], "tile_columns": tile[1]},
        **{"tiles_across": max(1, across), "tiles_down": max(1, down)},
        "pack_x": int(_apart(x, tile[1], dtype)),
        "pack_y": int(y.strides[-1] != 1 or (tile[0] > ROWS_FOR_COPY and reach > CLOSE_BYTES)),
        "in_place": int(in_place),
    }
    units = count * down * across
    grain = max(1, units)
    if seconds >= PARALLEL_SECONDS:
        grain = max(1, int(units * CHUNK_SECONDS / seconds))
    kernel = _function(dtype, of_vector)
    words = (kernel, 0, units, grain, 0, scratch, *(arguments.get(name, 0) for name in WORDS))
    return words, seconds


def _seconds(rows: int, inner: int, columns: int, itemsize: int) -> float:
    """About how long one product takes on one thread."""
    terms = rows * inner * columns * (SECONDS_PER_BYTE if columns == 1 else SECONDS_PER_TERM_BYTE)
    elements = rows * inner + inner * columns + rows * columns
    return SECONDS_PER_MATRIX + (terms + elements * SECONDS_PER_ELEMENT_BYTE) * itemsize


def _apart(x: _Operand, columns: int, dtype: np.dtype[Any]) -> bool:
    """Whether rows of x are read so often, or so evict one another from the cache, that a copy pays."""
    apart = abs(x.strides[-2]) * dtype.itemsize
    return columns > COLUMNS_FOR_COPY or (apart >= ALIASING_BYTES and apart % ALIASING_BYTES < 64)


def _tile(count: int, rows: int, columns: int, dtype: np.dtype[Any], seconds: float) -> tuple[int, int]:
    """Rows and columns of the tiles: large ones, unless they are too few to be shared between threads."""
    registers, tile = _registers(dtype), (0, 0)
    for most_rows, most_columns in TILES:
        across = -(-columns // most_columns)
        width = _even(columns, across, registers.columns)
        down = -(-rows // (most_rows * max(1, most_columns // width)))
        if tile != (0, 0) and seconds < CHUNK_SECONDS * count * down * across:
            break
        tile = _even(rows, down, registers.rows), width
        if count * down * across >= UNITS:
            break
    return tile


def _even(size: int, parts: int, step: int) -> int:
    """The size of equal parts, in whole steps."""
    return -(-size // max(1, parts) // step) * step or step


def loaders(layouts: Iterable[tuple[Any, ...]]) -> list[Callable[[], int]]:
    """Return what loads the code of products of these layouts, the arguments of `plan`: a call for each."""
    kinds = dict.fromkeys((dtype, _of_vector(x, y)) for x, _, y, _, dtype, *_ in layouts)
    return [functools.partial(_function, *kind) for kind in kinds]


def _of_vector(x_shape: Ints, y_shape: Ints) -> bool:
    return x_shape[-2] == 1 or y_shape[-1] == 1


@functools.cache
def _registers(dtype: np.dtype[Any]) -> Registers:
    bits = native.vector_bits()
    many = bits == 512 or platform.machine().lower() in ("arm64", "aarch64")
    return Registers.of(dtype, bits, 32 if many else 16)


@functools.cache
def _function(dtype: np.dtype[Any], of_vector: bool) -> int:
    """The address of the code for two matrices, or for a matrix and a vector."""
    registers = _registers(dtype)
    name = names(registers)[of_vector]

    def compile_now() -> tuple[str, bytes]:
        from jitgrad.machine import product_code

        text = product_code.text(registers, of_vector)
        source = f'"""LLVM IR of matrix products of {dtype}."""\n\nIR = r"""{text}"""\n'
        return source, native.compile_written(text)

    return code.load(code.key_of(name), [name], "products", compile_now).addresses[name]
