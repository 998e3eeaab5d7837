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
        self.driver, self.shapes = driver, tuple(shapes)
        self.words: Words = np.array([word for block in blocks for word in block], np.int64)
        lengths = np.array([len(block) for block in blocks], np.int64)
        self.begins: Words = np.cumsum(lengths) - lengths
        self._sizes = 8 * lengths
        self._extras = np.zeros((len(blocks), 5), np.int64)
        self._extras[:, 0], self._extras[:, 2] = BUFFER_POINTER, BUFFER_SIZE
        self._extras[:, 1] = self.words.ctypes.data + 8 * self.begins
        self._extras[:, 3] = self._sizes.ctypes.data + 8 * np.arange(len(blocks))
        rows = [
            (s.function, s.x, s.y, s.threads, s.shared_bytes, self.extra(i)) for i, s in enumerate(shapes)
        ]
        self._table = np.array(rows, np.int64)

    def __len__(self) -> int:
        return len(self.shapes)

    def extra(self, place: int) -> int:
        """The address of the driver's list that names an argument block and its size."""
        return self._extras.ctypes.data + self._extras.strides[0] * place

    def run(self, stream: int) -> None:
        """Launch all grids on a stream. Raise CudaError if the driver refuses one."""
        failed = _launch()(self.driver.launch_address, self._table.ctypes.data, len(self), stream)
        if failed:
            number, error = failed >> 32, failed & 0xFFFFFFFF
            raise CudaError(f"launch {number} of {len(self)}: {self.driver.words(error)}")


@functools.cache
def _launch() -> Callable[[int, int, int, int], int]:
    text = (Path(__file__).parent / "launch.ll").read_text()
    found = code.load(code.key_of(text), [_SYMBOL], "launcher", lambda: (text, native.compile_written(text)))
    kinds = (ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
    return ctypes.CFUNCTYPE(*kinds)(found.addresses[_SYMBOL])


class _KernelNode(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS of cuda.h, in its first version."""

    _fields_ = [
        ("function", ctypes.c_void_p),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("parameters", ctypes.c_void_p),
        ("extra", ctypes.c_void_p),
    ]


class Replay:
    """The same launches as a graph that the driver keeps: a run tells it only which blocks have changed."""

    def __init__(self, launches: Launches) -> None:
        self.launches, self.driver = launches, launches.driver
        self._last = launches.words.copy()
        graph, self._executable = ctypes.c_void_p(), ctypes.c_void_p()
        self.driver.check("cuGraphCreate", ctypes.byref(graph), 0)
        before: list[ctypes.c_void_p] = []
        self._nodes: list[ctypes.c_void_p] = []
        for place in range(len(launches)):
            node, earlier = ctypes.c_void_p(), (ctypes.c_void_p * 1)(*before)
            given = (earlier if before else None, ctypes.c_size_t(len(before)))
            params = ctypes.byref(self._params(place))
            self.driver.check("cuGraphAddKernelNode", ctypes.byref(node), graph, *given, params)
            self._nodes.append(node)
            before = [node]
        made = ctypes.byref(self._executable)
        self.driver.check("cuGraphInstantiateWithFlags", made, graph, ctypes.c_ulonglong(0))
        self.driver.check("cuGraphDestroy", graph)

    def run(self, stream: int) -> None:
        """Launch all grids on a stream, with the blocks as they are now."""
        changed = self.launches.begins.searchsorted(
            np.flatnonzero(self.launches.words != self._last), "right"
        )
        for place in dict.fromkeys((changed - 1).tolist()):
            params = ctypes.byref(self._params(place))
            self.driver.check("cuGraphExecKernelNodeSetParams", self._executable, self._nodes[place], params)
        np.copyto(self._last, self.launches.words)
        self.driver.check("cuGraphLaunch", self._executable, ctypes.c_void_p(stream))

    def _params(self, place: int) -> _KernelNode:
        shape, extra = self.launches.shapes[place], self.launches.extra(place)
        grid, block = (shape.x, shape.y, 1), (shape.threads, 1, 1)
        return _KernelNode(shape.function, grid, block, shape.shared_bytes, None, extra)
