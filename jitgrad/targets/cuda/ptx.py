"""LLVM IR of a GPU's kernels to PTX, by the NVPTX back end of the LLVM that llvmlite brings."""

from __future__ import annotations

import functools
import threading
from typing import Any

import llvmlite.binding as llvm

from jitgrad.machine import native
from jitgrad.vmath import library

TRIPLE = "nvptx64-nvidia-cuda"
# PTX 8.0, which drivers from CUDA 12.0 on read; it knows compute capabilities up to 9.0.
VERSION = "+ptx80"
NEWEST = (9, 0)
OLDEST = (7, 0)

_one_at_a_time = threading.Lock()  # the option of LLVM is one of the whole process


def compile_ptx(text: str, symbol: str, capability: tuple[int, int], contract: bool) -> str:
    """Return PTX of LLVM IR that exports `symbol`, for a compute capability such as (9, 0) and those above.

    What it calls of the elementary functions is compiled into it. With `contract` products and sums may
    become fused multiply-adds. No GPU and no driver is needed. Raise ValueError for a GPU before (7, 0),
    whose threads cannot wait for each other in loops.
    """
    if capability < OLDEST:
        raise ValueError(f"a GPU of compute capability 7.0 or newer is needed, not {_dotted(capability)}")
    _initialise()
    machine = _machine(min(capability, NEWEST))
    context = llvm.create_context()
    module = llvm.parse_assembly(text, context)
    module.triple, module.data_layout = TRIPLE, str(machine.target_data)
    for definition in library.definitions(native.declared(module)):
        module.link_in(llvm.parse_assembly(_inline(definition), context))
    _hide(module, symbol)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_unrolling = False  # but for loops that ask for it
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    with _one_at_a_time:
        llvm.set_option("jitgrad", f"-nvptx-fma-level={2 if contract else 0}")
        ptx: str = machine.emit_assembly(module)
    return ptx


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


@functools.cache
def _initialise() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def _machine(capability: tuple[int, int]) -> Any:
    major, minor = capability
    target = llvm.Target.from_triple(TRIPLE)
    return target.create_target_machine(cpu=f"sm_{major}{minor}", features=VERSION, opt=3)


def _inline(definition: str) -> str:
    """What is rarely needed stands in place of its calls too, which would need a stack."""
    return definition.replace("noinline", "")


def _hide(module: Any, symbol: str) -> None:
    """Write what the kernel calls in place of its calls."""
    for function in module.functions:
        if not function.is_declaration and function.name != symbol:
            function.linkage = llvm.Linkage.internal
            function.add_function_attribute("alwaysinline")
