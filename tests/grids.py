"""Kernels run as grids of threads by the interpreter, beside the same graph on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from compare import Array, assert_same_bits, strides_of, values_of
from emulated_gpu import reduced, run_grid

from jitgrad.fuse import fuse
from jitgrad.ir import Graph, Node
from jitgrad.program import Kernel
from jitgrad.runtime.execute import element_strides
from jitgrad.targets.cuda.grids import Grid, Work, grids
from jitgrad.targets.cuda.interpreter import run
from jitgrad.targets.dialect import Span
from jitgrad.targets.emit import emit

Memory = dict[Node | Work, Array]
RunKernel = Callable[[Kernel, Mapping[Node, Array]], dict[Node, Array]]
FEW_THREADS, MORE_THREADS = 32, 64  # of the groups that the interpreter runs: one warp, and two


def written_by_grids(kernel: Kernel, read: Mapping[Node, Array]) -> dict[Node, Array]:
    """What a kernel writes, by its grids, one after another."""
    memory: dict[Node | Work, Array] = {
        target: np.zeros(target.shape, target.dtype) for target in kernel.targets
    }
    for grid in grids(kernel):
        threads = FEW_THREADS if grid.form.threads == FEW_THREADS else MORE_THREADS
        with np.errstate(all="ignore"):
            run(grid.text, arguments(grid, read, memory), grid.units, threads, min(grid.units, 2))
    return {target: memory[target] for target in kernel.targets}


def arguments(grid: Grid, read: Mapping[Node, Array], memory: Memory) -> dict[str, Any | Callable[[], Span]]:
    """A value for each parameter of a grid; work arrays are made when the first grid needs them."""
    found: dict[str, Any] = {}
    for parameter in grid.parameters:
        value, dtype = parameter.value, parameter.dtype
        match parameter.kind:
            case "size":
                found[parameter.name] = value
            case "literal":
                found[parameter.name] = dtype.type(value)
            case "temp":
                found[parameter.name] = partial(temporary, value, dtype)
            case _:
                if isinstance(value, Work):
                    memory.setdefault(value, np.zeros(value.count, dtype))
                array = read[value] if parameter.kind == "input" else memory[value]
                found[parameter.name] = Span.of(np.asarray(array))
    return found


def temporary(count: int, dtype: np.dtype[Any]) -> Span:
    return Span.of(np.zeros(count, dtype))


def written_by_ir(kernel: Kernel, read: Mapping[Node, Array]) -> dict[Node, Array]:
    """The same by the LLVM IR of the grids, in aligned form where arrays and rows lie as they must."""
    memory: Memory = {target: np.zeros(target.shape, target.dtype) for target in kernel.targets}
    for grid in map(reduced, grids(kernel)):
        given = arguments(grid, read, memory)
        spans = {p.name: given[p.name] for p in grid.parameters if p.kind in ("input", "output", "work")}
        arrays = {name: span.memory[span.start :] for name, span in spans.items()}
        if all(array.ctypes.data % 16 == 0 for array in arrays.values()):
            grid = grid.as_aligned()
        run_grid(grid, arrays)
    return {target: memory[target] for target in kernel.targets}


def assert_grids_agree(graph: Graph, arrays: Sequence[Array], label: str, *run_kernels: RunKernel) -> int:
    """Run every kernel of a graph in each way on the same arrays; return how many kernels there were.

    They give the bits of the interpreter, as the CPU's kernels do.
    """
    program = fuse(graph, element_strides(graph, strides_of(arrays)))
    kernels = [step for step in program.steps if isinstance(step, Kernel)]
    sources = [emit(kernel) for kernel in kernels]
    nodes = {p.value for source in sources for p in source.parameters if p.kind in ("input", "output")}
    values = values_of([*nodes], program, arrays)
    for kernel, source in zip(kernels, sources, strict=True):
        for run_kernel in run_kernels:
            got = run_kernel(kernel, values)
            assert_same_bits(
                [got[target].reshape(target.shape) for target in got],
                [values[target] for target in got],
                f"{label}, {run_kernel.__name__}: {source.text}",
            )
    return len(kernels)
