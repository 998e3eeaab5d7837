"""A grid to a function on a device: from memory, from the disk cache, or compiled now."""

from __future__ import annotations

import threading
from dataclasses import replace

from jitgrad.machine import cache, code
from jitgrad.runtime.cuda.driver import (
    CAPABILITY_MAJOR,
    CAPABILITY_MINOR,
    Driver,
)
from jitgrad.targets.cpu import signature_text
from jitgrad.targets.cuda import frontend, ptx
from jitgrad.targets.cuda.grids import Grid

Capability = tuple[int, int]
SYMBOL = "jitgrad_grid"

_functions: dict[tuple[str, int], int] = {}
_lock = threading.RLock()


def load(grid: Grid, driver: Driver, device: int) -> int:
    """Return the address of a grid's function on the current device; equal grids share one."""
    capability = capability_of(driver, device)
    key = key_of(grid, capability)
    with _lock:
        if (key, device) not in _functions:
            entry = cache.load(key)
            cubin = entry.object_code if entry is not None else _compiled(key, grid, driver, capability)
            _functions[key, device] = driver.load(cubin, SYMBOL)
        return _functions[key, device]


def capability_of(driver: Driver, device: int) -> Capability:
    """Return a device's compute capability, such as (9, 0)."""
    return driver.attribute(device, CAPABILITY_MAJOR), driver.attribute(device, CAPABILITY_MINOR)


def key_of(grid: Grid, capability: Capability) -> str:
    """Return the identity of compiled code: what it is made of and for which devices."""
    parameters = tuple(replace(p, value=None) for p in grid.parameters)
    return code.key_of("cuda", repr(capability), grid.text, signature_text(parameters), repr(grid.form))


def _compiled(key: str, grid: Grid, driver: Driver, capability: Capability) -> bytes:
    path = cache.source_path(key)
    filename = str(path) if path is not None else f"<jitgrad grid {key}>"
    ir = frontend.llvm_ir(grid.text, grid.parameters, grid.form, SYMBOL, filename)
    text = ptx.compile_ptx(ir, SYMBOL, capability, grid.form.fastmath)
    cubin = driver.assembled(text.encode())
    cache.store(key, grid.text, cubin, {"kind": "grid"})
    return cubin
