"""Loops with any elementary function are packed instructions, on this machine's kind of CPU and on others.

LLVM writes code for x86-64 and AArch64 wherever it runs, so both are looked at everywhere.
"""

from __future__ import annotations

import ctypes
import platform
import re
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from compare import assert_same_bits
from golden_graphs import Golden

import jitgrad
import jitgrad.numpy as jnp
from jitgrad import vmath
from jitgrad.machine import native
from jitgrad.ops import OPS
from jitgrad.targets import cpu
from jitgrad.targets.emit import emit
from jitgrad.vmath import library, ufuncs
from jitgrad.vmath.routine import ROUTINES
from jitgrad.vmath.value import FLOAT32, FLOAT64, Kind

NAMES = sorted(name for name, routine in ROUTINES.items() if routine.arity <= 2)
KINDS = pytest.mark.parametrize("kind", [FLOAT32, FLOAT64], ids=["float32", "float64"])


@dataclass(frozen=True)
class Cpu:
    """A CPU to compile for; `packed` finds its instructions on vectors of a dtype, `call` its calls."""

    triple: str
    name: str
    vector_bits: int
    packed: dict[int, str]
    call: str

    def machine(self, codemodel: str = "small") -> Any:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        target = llvm.Target.from_triple(self.triple)
        features = "-prefer-256-bit" if self.vector_bits == 512 else ""
        return target.create_target_machine(cpu=self.name, features=features, opt=3, codemodel=codemodel)


X86 = dict.fromkeys((32, 64), r"\bv\w+(?:p[sd]|[dq])\b.*%[xyz]mm")
CPUS = {
    "AVX-512": Cpu("x86_64-unknown-linux-gnu", "skylake-avx512", 512, X86, r"\bcallq?\s+(\S+)"),
    "AVX2": Cpu("x86_64-unknown-linux-gnu", "haswell", 256, X86, r"\bcallq?\s+(\S+)"),
    "AArch64": Cpu(
        "aarch64-unknown-linux-gnu",
        "neoverse-n1",
        128,
        {32: r"\bv\d+\.4s", 64: r"\bv\d+\.2d"},
        r"\bbl\s+(\S+)",
    ),
}


@pytest.fixture(params=CPUS)
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cpu:
    chosen = CPUS[request.param]
    monkeypatch.setattr(native, "vector_bits", lambda: chosen.vector_bits)
    library.definition.cache_clear()
    return chosen


@dataclass(frozen=True)
class Code:
    """A function's LLVM IR, its assembly, and the assembly of the vector functions that it calls."""

    ir: str
    loop: str
    called: dict[str, str]


def function_of(text: str, name: str, target: Cpu) -> Code:
    """Compile LLVM IR and return the function that has the loop."""
    machine = target.machine()
    module = native.optimised(text, library, machine)
    assembly = machine.emit_assembly(module)

    def body(function: str) -> str:
        begin = re.search(rf'^"?{re.escape(function)}"?:', assembly, re.MULTILINE)
        assert begin, f"no function {function}"
        following: str = assembly[begin.end() :]
        return following[: following.index(".Lfunc_end")]

    loop = body(name)
    calls = {call.strip('"') for call in re.findall(target.call, loop)}
    called = {call: body(call) if re.search(r"\.x\d+$", call) else "" for call in calls}
    return Code(str(module.get_function(name)), loop, called)


def assert_packed(code: Code, kind: Kind, target: Cpu) -> None:
    """Assert that the loop loads and stores vectors, computes on them, and calls nothing but the library."""
    lanes = f"({target.vector_bits // kind.bits}|{2 * target.vector_bits // kind.bits})"
    assert re.search(rf"store <{lanes} x {kind.element}>", code.ir), "it stores one element at a time"
    assert re.search(rf"load <{lanes} x {kind.element}>", code.ir), "it loads one element at a time"
    assert re.search(target.packed[kind.bits], code.loop + "".join(code.called.values()))
    assert not {name for name in code.called if not name.startswith("jitgrad.")}


@KINDS
@pytest.mark.parametrize("name", NAMES)
def test_the_loop_of_a_ufunc_is_packed_instructions(name: str, kind: Kind, target: Cpu) -> None:
    text = ufuncs.loop_text(ROUTINES[name], kind, "loop")
    assert_packed(function_of(text, f"dense.{kind.element}", target), kind, target)


def kernel_text(function: Any, *arrays: Any) -> str:
    """LLVM IR of the one kernel of a function."""
    (kernel,) = Golden(function, arrays).kernels()
    return cpu.compile_kernel(emit(kernel), "test", "<test>")


@KINDS
@pytest.mark.parametrize("name", [name for name in NAMES if name in OPS])
def test_the_loop_of_a_fused_kernel_is_packed_instructions(name: str, kind: Kind, target: Cpu) -> None:
    """The function between two products, so that it is fused with something."""
    op = OPS[name]
    arity = ROUTINES[name].arity
    x = np.zeros(5000, f"float{kind.bits}")

    def around(*values: Any) -> Any:
        return op(*(v * values[0] for v in values)) * values[0]

    code = function_of(kernel_text(around, *[x] * arity), "test_kernel", target)
    assert_packed(code, kind, target)


@KINDS
def test_the_gradient_of_many_functions_in_one_kernel_is_packed_instructions(kind: Kind, target: Cpu) -> None:
    def loss(x: Any) -> Any:
        return np.sum(np.tanh(np.sin(x) * np.exp(-x * x)) + jnp.erf(x) * np.log1p(x * x) + np.arctan(x) ** 2)

    text = kernel_text(jitgrad.value_and_grad(loss), np.zeros(5000, f"float{kind.bits}"))
    assert_packed(function_of(text, "test_kernel", target), kind, target)


def test_two_functions_of_one_argument_share_their_common_part() -> None:
    """A kernel with sin(x) and cos(x) is shorter than two kernels."""
    target = CPUS["AVX2"]
    x = np.zeros(5000, np.float32)

    def length(function: Any) -> int:
        return function_of(kernel_text(function, x), "test_kernel", target).loop.count("\n")

    both = length(lambda x: np.sin(x) * np.cos(x))
    assert both < 0.9 * (length(lambda x: np.sin(x) * x) + length(lambda x: np.cos(x) * x))


@KINDS
@pytest.mark.parametrize("name", sorted(ROUTINES))
def test_a_function_of_one_element_is_ptx_that_calls_no_library(name: str, kind: Kind) -> None:
    """What a CUDA kernel would take in: no libdevice, no instruction that contracts a product and a sum."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("nvptx64-nvidia-cuda").create_target_machine(cpu="sm_90", opt=3)
    module = llvm.parse_assembly(library.definition(name, kind))
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    text = machine.emit_assembly(module)
    own = {function.name for function in module.functions if not function.is_declaration}
    assert set(re.findall(r"call\S*[^;]*?\b(jitgrad\w+|[a-z]+f?)\s*,", text)) <= {
        n.replace(".", "_") for n in own
    }
    assert not re.search(r"\b(mul|add|sub)\.(ftz\.)?f(32|64)", text), "rounding is left to the assembler"


RUNNABLE = {
    "AVX2": Cpu("x86_64-unknown-linux-gnu", "haswell", 256, X86, ""),
    "SSE2, without a fused multiply-add": Cpu("x86_64-unknown-linux-gnu", "x86-64", 128, X86, ""),
}


def numbers(kind: Kind, size: int) -> np.ndarray[Any, Any]:
    """Ordinary numbers and any bit patterns."""
    rng = np.random.default_rng(11)
    bits = rng.integers(0, 2**kind.bits, size, dtype=f"u{kind.bits // 8}").view(f"float{kind.bits}")
    return np.where(rng.random(size) < 0.5, bits, rng.uniform(-9, 9, size).astype(bits.dtype))


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not llvm.get_host_cpu_features().get("avx2"), reason="needs AVX2"
)
@KINDS
@pytest.mark.parametrize("lesser", RUNNABLE)
def test_lesser_cpus_give_the_same_bits(lesser: str, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = RUNNABLE[lesser]
    monkeypatch.setattr(native, "vector_bits", lambda: chosen.vector_bits)
    library.definition.cache_clear()
    machine = chosen.machine("jitdefault")
    x = numbers(kind, 5000)
    for name in NAMES:
        symbol = f"test_{name}_{chosen.vector_bits}_{kind.bits}"
        module = native.optimised(ufuncs.loop_text(ROUTINES[name], kind, symbol), library, machine)
        code = machine.emit_object(module)
        loop = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(native.load_object(code, [symbol])[symbol])
        places = ROUTINES[name].arity + 1
        arrays = [x, x[::-1].copy(), np.empty_like(x)][:: 1 if places == 3 else 2]
        addresses = (ctypes.c_void_p * places)(*(a.ctypes.data for a in arrays))
        strides, count = (ctypes.c_int64 * places)(*[x.itemsize] * places), ctypes.c_int64(x.size)
        loop(ctypes.addressof(addresses), ctypes.addressof(count), ctypes.addressof(strides), None)
        with np.errstate(all="ignore"):
            assert_same_bits(arrays[-1:], [vmath.ufunc(name)(*arrays[:-1])], name)
    library.definition.cache_clear()
