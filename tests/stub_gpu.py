"""A machine with a GPU, without one: a driver that records, and CuPy's arrays in this machine's memory.

What the driver is asked to launch runs, on the argument blocks that it is given, by `emulated_gpu`.
"""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from emulated_gpu import MOST_THREADS, run_blocks, thread_function

from jitgrad.runtime.cuda import arrays, driver, execute, modules
from jitgrad.targets.cuda import grids

ATTRIBUTES = {driver.CAPABILITY_MAJOR: 9, driver.CAPABILITY_MINOR: 0, driver.MULTIPROCESSORS: 2}
ADDRESS = ctypes.c_void_p
LAUNCH = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    *[ctypes.c_uint] * 7,
    *[ctypes.c_void_p] * 2,
    ctypes.POINTER(ctypes.c_void_p),
)


class Pointer:
    """Where an array's memory is, as CuPy has it."""

    def __init__(self, owner: Any, ptr: int) -> None:
        self.owner, self.ptr = owner, ptr

    def __add__(self, offset: int) -> Pointer:
        return Pointer(self.owner, self.ptr + offset)


class DeviceArray(np.ndarray):  # type: ignore[type-arg]
    """An array that only the stub's functions should touch."""

    def __new__(
        cls, shape: Any, dtype: Any = float, memptr: Pointer | None = None, strides: Any = None
    ) -> Any:
        if memptr is None:
            return np.empty(shape, dtype).view(cls)
        size = np.dtype(dtype).itemsize
        steps = strides or np.empty(shape, dtype).strides
        spans = [max(n - 1, 0) * s for n, s in zip(shape, steps, strict=True)]
        below = sum(min(span, 0) for span in spans)
        memory = (ctypes.c_byte * (sum(map(abs, spans)) + size)).from_address(memptr.ptr + below)
        array = np.ndarray(shape, dtype, memory, -below, strides).view(cls)
        array.owner = memptr.owner
        return array

    @property
    def data(self) -> Pointer:  # type: ignore[override]
        return Pointer(self, self.ctypes.data)

    @property
    def device(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(id=0)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.__array_interface__, "version": 3}


class StubDevice:
    """The current device: there is one."""

    id = 0

    def __init__(self, number: int = 0) -> None:
        assert number == 0

    def __enter__(self) -> StubDevice:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


def on_device(array: Any, order: Any = None) -> DeviceArray:
    return np.array(array, order=order).view(DeviceArray)


def stub_cupy() -> ModuleType:
    """What the runtime uses of CuPy."""
    cupy = ModuleType("cupy")
    cupy.ndarray = DeviceArray
    cupy.empty = DeviceArray
    cupy.asarray = cupy.array = on_device
    cupy.asnumpy = lambda array: np.array(array).view(np.ndarray)
    cupy.ascontiguousarray = lambda array: np.ascontiguousarray(array).view(DeviceArray)
    cupy.matmul = lambda x, y: np.matmul(x.view(np.ndarray), y.view(np.ndarray)).view(DeviceArray)
    cupy.argsort = lambda array, kind: on_device(np.argsort(array, kind=kind))
    cupy.searchsorted = lambda array, wanted: on_device(np.searchsorted(array, wanted))
    cupy.arange = lambda count: on_device(np.arange(count))
    cupy.cuda = SimpleNamespace(Device=StubDevice, get_current_stream=lambda: SimpleNamespace(ptr=77))
    return cupy


def copied(params: Any) -> tuple[Any, ...]:
    """What a node of a graph says, and its argument block, which the driver reads at once."""
    extra = (ctypes.c_void_p * 5).from_address(params.extra)
    count = ctypes.c_size_t.from_address(extra[3]).value // 8
    words = list((ctypes.c_int64 * count).from_address(extra[1]))
    return params.function, tuple(params.grid), tuple(params.block), params.shared_bytes, words


class StubDriver:
    """The driver's functions by name; `launches` are the shapes of all launches."""

    def __init__(self) -> None:
        self.sources: list[Any] = []
        self.launches: list[tuple[int, ...]] = []
        self.refuse = 0
        self.images: dict[int, Any] = {}
        self.linked = b""
        self.nodes: list[Any] = []
        self.updates = 0
        self.cuLaunchKernel = LAUNCH(self._launch)

    def cuInit(self, flags: int) -> int:
        return 0

    def cuGetErrorString(self, code: int, text: Any) -> int:
        text._obj.value = b"the stub refuses"
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = 1
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: int) -> int:
        value._obj.value = ATTRIBUTES[attribute]
        return 0

    def cuLinkCreate_v2(self, *arguments: Any) -> int:
        return 0

    def cuLinkAddData_v2(self, state: Any, kind: int, ptx: bytes, size: Any, *rest: Any) -> int:
        assert kind == driver.INPUT_PTX and len(ptx) == size.value and b".entry" in ptx
        self.linked = ptx
        return 0

    def cuLinkComplete(self, state: Any, cubin: Any, size: Any) -> int:
        self.buffer = ctypes.create_string_buffer(self.linked)
        cubin._obj.value, size._obj.value = ctypes.addressof(self.buffer), len(self.linked)
        return 0

    def cuLinkDestroy(self, state: Any) -> int:
        return 0

    def cuModuleLoadDataEx(self, module: Any, image: bytes, *options: Any) -> int:
        module._obj.value = len(self.images) + 1
        self.images[len(self.images) + 1] = self.sources[int(image.rsplit(b"// source ", 1)[1])]
        return 0

    def cuModuleGetFunction(self, function: Any, module: Any, name: bytes) -> int:
        assert name == modules.SYMBOL.encode()
        function._obj.value = module.value
        return 0

    def cuGraphCreate(self, graph: Any, flags: int) -> int:
        graph._obj.value = 5
        return 0

    def cuGraphAddKernelNode(self, node: Any, graph: Any, before: Any, count: Any, params: Any) -> int:
        assert count.value == len(before or ()) == min(len(self.nodes), 1)
        assert not before or before[0] == len(self.nodes)
        self.nodes.append(copied(params._obj))
        node._obj.value = len(self.nodes)
        return 0

    def cuGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: Any) -> int:
        executable._obj.value = 6
        return 0

    def cuGraphDestroy(self, graph: Any) -> int:
        return 0

    def cuGraphExecKernelNodeSetParams(self, executable: Any, node: Any, params: Any) -> int:
        self.nodes[node.value - 1] = copied(params._obj)
        self.updates += 1
        return 0

    def cuGraphLaunch(self, executable: Any, stream: Any) -> int:
        for function, grid, block, shared, words in self.nodes:
            size = ctypes.c_size_t(8 * len(words))
            given = (ctypes.c_int64 * len(words))(*words)
            entries = (1, ctypes.addressof(given), 2, ctypes.addressof(size), None)
            extra = ctypes.cast((ADDRESS * 5)(*entries), ctypes.POINTER(ADDRESS))
            failed = self._launch(function, *grid, *block, shared, stream.value, None, extra)
            if failed:
                return failed
        return 0

    def _launch(self, function: int, *arguments: Any) -> int:
        x, y, z, threads, _, _, shared, stream, _, extra = arguments
        self.launches.append((x, y, threads, shared))
        assert (z, stream) == (1, 77) and [extra[i] for i in (0, 2, 4)] == [1, 2, None]
        if self.refuse:
            return self.refuse
        text, parameters, form = self.images[function]
        size = ctypes.c_size_t.from_address(extra[3]).value
        assert size == 8 * (execute.HEAD + len(parameters))
        run_blocks(thread_function(text, parameters, form), extra[1], threads, x, y)
        return 0


@pytest.fixture
def stub_gpu(monkeypatch: pytest.MonkeyPatch) -> StubDriver:
    """Let programs find a GPU of few threads, on which everything is emulated."""
    stub = StubDriver()
    llvm_ir, compile_ptx = modules.frontend.llvm_ir, modules.ptx.compile_ptx

    def recording(text: str, parameters: Any, form: Any, *rest: Any) -> str:
        stub.sources.append((text, parameters, form))
        return llvm_ir(text, parameters, form, *rest)

    def marked(*arguments: Any) -> str:
        return f"{compile_ptx(*arguments)}// source {len(stub.sources) - 1}"

    monkeypatch.setattr(modules, "frontend", SimpleNamespace(llvm_ir=recording))
    monkeypatch.setattr(modules, "ptx", SimpleNamespace(compile_ptx=marked))
    monkeypatch.setattr(modules, "_functions", {})
    monkeypatch.setattr(modules.cache, "load", lambda key: None)
    monkeypatch.setattr(modules.cache, "store", lambda *arguments: None)
    for name, value in {"MOST_THREADS": MOST_THREADS, "USUAL_BLOCK": MOST_THREADS}.items():
        monkeypatch.setattr(grids, name, value)
    monkeypatch.setattr(execute, "BLOCKS_PER_MULTIPROCESSOR", 2)
    monkeypatch.setattr(execute, "BUSY", 256)
    monkeypatch.setitem(sys.modules, "cupy", stub_cupy())
    found = driver.Driver(stub)
    for module in (driver, arrays, execute):
        monkeypatch.setattr(module, "driver", lambda: found)
    arrays.cupy.cache_clear()
    yield stub
    arrays.cupy.cache_clear()
