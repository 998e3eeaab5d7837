"""A plan to a Python function of arrays: straight-line code over loaded kernels and bound objects."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

import numpy as np

from jitgrad.machine import products, threads
from jitgrad.machine.scatter import Sums
from jitgrad.ops.table import OPS
from jitgrad.pytree import constructor
from jitgrad.runtime import buffers
from jitgrad.runtime.kernels import Loaded
from jitgrad.runtime.plan import (
    Array,
    Buffer,
    Launch,
    LibraryCall,
    Operand,
    Outputs,
    Plan,
    Product,
    Result,
    SegmentSum,
)

Run = Callable[[Sequence[Array]], Any]

SCRATCH = 4  # the word of a block that holds the address of the scratch memory

_BYTE = np.dtype(np.uint8)


def bound(
    plan: Plan,
    loaded: Sequence[Loaded],
    outputs: Outputs | None = None,
    after_step: Callable[[], Any] | None = None,
) -> Run:
    """Return the function that runs a plan, given the code of its launches in order.

    It returns a list of arrays, or the result that `outputs` describes.
    It calls `after_step` after each step.
    """
    binding = _Binding(plan)
    code = iter(loaded)
    for step in plan.steps:
        if isinstance(step, Launch):
            binding.launch(step, next(code))
        elif isinstance(step, Product):
            binding.product(step)
        elif isinstance(step, SegmentSum):
            binding.segment_sum(step)
        else:
            binding.call(step)
        binding.lines += [f"del v{slot}" for slot in step.releases]
        if after_step is not None:
            binding.lines.append(f"{binding.bind('after', after_step)}()")
    results = [binding.result(result) for result in plan.results]
    built = f"[{', '.join(results)}]" if outputs is None else binding.built(outputs, results)
    taken = "".join(f"v{slot}, " for slot in range(plan.inputs))
    lines = [f"{taken}= arrays"] if taken else []
    body = "\n    ".join([*lines, *binding.lines, f"return {built}"])
    exec(_code(f"def run(arrays):\n    {body}\n"), binding.scope)
    run: Run = binding.scope["run"]
    return run


@functools.lru_cache(maxsize=256)
def _code(text: str) -> CodeType:
    """The code of a text; programs that differ only in sizes have the same."""
    return compile(text, "<jitgrad program>", "exec")


class _Binding:
    """The text of one Python function that runs all steps, and the objects that it names."""

    def __init__(self, plan: Plan) -> None:
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {
            f"v{slot}": array for slot, array in enumerate(plan.captured, plan.inputs)
        }
        self.names: dict[int, str] = {}

    def bind(self, prefix: str, value: Any) -> str:
        """Enter an object under a name of its own; the same object has one name."""
        name = self.names.get(id(value))
        if name is None:
            name = self.names[id(value)] = f"{prefix}{len(self.scope)}"
            self.scope[name] = value
        return name

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
        large = math.prod(shape) * dtype.itemsize >= buffers.SMALLEST_BYTES
        make = self.bind("empty", buffers.empty if large else np.empty)
        return f"{make}({self.bind('shape', shape)}, {self.bind('dtype', dtype)})"

    def make(self, buffer: Buffer) -> None:
        made = self.empty(buffer.shape, buffer.dtype) if buffer.instead is None else f"v{buffer.instead}"
        self.lines.append(f"v{buffer.slot} = {made}")

    def launch(self, step: Launch, loaded: Loaded) -> None:
        """One kernel: make its arrays, fill its argument block, run it."""
        for buffer in step.makes:
            self.make(buffer)
        content = list(step.content)
        content[:2] = [loaded.kernel, loaded.finish]
        kind = ctypes.c_int64 * len(content)
        launcher = threads.launcher()
        arrays = [f"v{slot}" for slot in step.arrays]
        for place, (count, dtype) in enumerate(step.works):
            arrays.append(f"w{place}")
            self.lines.append(f"w{place} = {self.empty((count,), dtype)}")
        make = self.bind("make", functools.partial(kind.from_buffer_copy, bytes(kind(*content))))
        idle = self.bind("idle", {})  # the block of a call that has ended; no two threads can take it
        self.lines.append(f"block = {idle}.pop(0, None) or {make}()")
        bind = self.bind("bind", launcher.bind)
        if step.scratch_bytes:
            self.lines.append(f"scratch = {self.empty((step.scratch_bytes,), _BYTE)}")
            self.lines.append(f"{bind}(block, {SCRATCH}, scratch)")
        self.lines.append(f"{bind}(block, {threads.ARGS}, {', '.join(arrays)})")
        launch = launcher.launch_holding_gil if step.holds_gil else launcher.launch
        self.lines += [f"{self.bind('launch', launch)}(block)", f"{idle}[0] = block"]
        used = arrays[len(step.arrays) :] + ["scratch"] * bool(step.scratch_bytes)
        self.lines += [f"del {name}" for name in used]

    def product(self, step: Product) -> None:
        """One matrix product, after copies of the operands that are better read in another layout."""
        product = products.plan(*step.layout)
        operands = [f"v{operand.slot}" for operand in step.operands]
        for place, copied in enumerate(product.copied):
            if copied:
                copy = self.bind("copy", _contiguous(_view(step.operands[place].views)))
                self.lines.append(f"c{place} = {copy}({operands[place]})")
                operands[place] = f"c{place}"
        self.make(step.makes)
        self.lines.append(f"block = {self.bind('block', product.make_block)}()")
        bind = self.bind("bind", threads.launcher().bind)
        if product.scratch_bytes:
            self.lines.append(f"scratch = {self.empty((product.scratch_bytes,), _BYTE)}")
            self.lines.append(f"{bind}(block, {SCRATCH}, scratch)")
        first, second = operands[:: -1 if product.swapped else 1]
        self.lines.append(f"{bind}(block, {threads.ARGS}, {first}, {second}, v{step.makes.slot})")
        self.lines.append(f"{self.bind('launch', product.launch)}(block)")
        used = [name for name in operands if name[0] == "c"] + ["scratch"] * bool(product.scratch_bytes)
        self.lines += [f"del {name}" for name in used]

    def segment_sum(self, step: SegmentSum) -> None:
        self.make(step.makes)
        launcher = threads.launcher()
        self.lines.append(f"block = {self.bind('block', Sums(*step.layout).make_block)}()")
        arrays = f"v{step.makes.slot}, v{step.index}, v{step.rows}"
        self.lines.append(f"{self.bind('bind', launcher.bind)}(block, {threads.ARGS}, {arrays})")
        self.lines.append(f"{self.bind('launch', launcher.launch)}(block)")

    def call(self, step: LibraryCall) -> None:
        operands = ", ".join(map(self.operand, step.operands))
        self.lines.append(f"v{step.slot} = {self.bind('call', library_call(step))}({operands})")

    def operand(self, operand: Operand) -> str:
        return self.bind("constant", operand.constant) if operand.slot is None else f"v{operand.slot}"

    def result(self, result: Result) -> str:
        array = self.bind("array", np.array)
        if result.slot is None:
            return f"{array}({self.bind('constant', result.constant)})"
        return f"{array}(v{result.slot}, order='C')" if result.copies else f"v{result.slot}"

    def built(self, outputs: Outputs, results: Sequence[str]) -> str:
        """The expression for the result of a call: numbers for 0-d arrays, constants in their places."""
        arrays = iter(results)
        leaves: list[str] = []
        for kind, value in outputs.leaves:
            if kind == "constant":
                name = self.bind("constant", value)
                leaves.append(f"{name}.copy()" if isinstance(value, np.ndarray) else name)
            else:
                leaves.append(next(arrays) + "[()]" * (kind == "number"))
        return constructor(outputs.tree, leaves, self.scope)


def _view(views: Sequence[tuple[str, Any]]) -> Callable[[Any], Any]:
    """The function that applies a chain of views to an array."""
    chain = [(OPS[name].numpy, dict(params)) for name, params in views]

    def apply(array: Any) -> Any:
        for view, params in chain:
            array = view(array, **params)
        return array

    return apply


def _contiguous(view: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda array: np.ascontiguousarray(view(array))


def library_call(step: LibraryCall) -> Callable[..., Any]:
    """Return the function of arrays that a library call is; its errors name the user's line."""
    params, dtype, function, where = dict(step.params), step.dtype, OPS[step.op].numpy, step.where
    views = [_view(operand.views) for operand in step.operands]

    def call(*operands: Any) -> Any:
        try:
            with np.errstate(all="ignore"):
                value = function(*(view(x) for view, x in zip(views, operands, strict=True)), **params)
        except (IndexError, ValueError) as error:
            raise type(error)(f"{step.op} at {where}: {error}" if where else str(error)) from None
        result = np.asarray(value, dtype, order="C")
        return result if result.base is None else result.copy()

    return call
