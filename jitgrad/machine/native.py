"""Turn object code into callable addresses in this process.

All kernels live in one engine, so the names that they export must differ: the compile side names every
symbol by the hash of its kernel. Names that the object keeps to itself may repeat.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import llvmlite.binding as llvm
import numpy as np

VARIANTS = "jitgrad.variants"
"""The global variable that keeps a library's vector functions declared while loops are vectorised."""

METH_ONE_ARGUMENT = 0x0008
METH_FASTCALL = 0x0080

HEADER_BYTES = object.__basicsize__
"""Where the data pointer of an ndarray and of a ctypes array stands inside the Python object."""

# LLVM's versions that are known to have the option -disable-lsr; an unknown option would end the process.
HAVE_LSR = range(20, 23)

_ELF_MACHINES = {"x86_64": 62, "amd64": 62, "aarch64": 183, "arm64": 183, "ppc64le": 21, "riscv64": 243}
_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_ELF_SECTION = struct.Struct("<IIQQQQIIQQ")
_ELF_SYMBOL = struct.Struct("<IBBHQQ")
_SYMBOL_TABLE, _NO_BITS = 2, 8

_lock = threading.Lock()
_addresses: dict[str, int] = {}
_emitting = 0  # compilations that are writing code just now


class ObjectCodeError(ValueError):
    """Say that object code is damaged, foreign, or refers to what this process does not have."""


def load_object(data: bytes, names: Sequence[str]) -> dict[str, int]:
    """Load object code and return the addresses of the functions ``names`` that it exports.

    Names that were loaded before keep their first address: equal names mean equal code.
    Raise `ObjectCodeError` for code that cannot be loaded; LLVM itself would end the process.
    """
    with _lock:
        if not all(name in _addresses for name in names):
            _addresses.update(_load(data, names))
        return {name: _addresses[name] for name in names}


class Library(Protocol):
    """Functions that LLVM IR may call without defining them."""

    def variants(self, names: Iterable[str]) -> str:
        """Return LLVM IR that declares the vector functions of those of `names` that it knows."""

    def definitions(self, names: Iterable[str]) -> list[str]:
        """Return LLVM IR of those of `names` that it knows, one function in each text."""


def compile_ir(text: str, library: Library | None = None) -> bytes:
    """Compile LLVM IR text for this CPU into object code.

    What it calls of `library` is linked into it after loops are vectorised.
    """
    _initialise()
    machine = target_machine()
    return _emitted(optimised(text, library, machine), machine)


def compile_written(text: str) -> bytes:
    """Compile LLVM IR text whose loops are to stay as they are written, in a third of the time."""
    _initialise()
    machine = target_machine()
    module = _parsed(text, machine, llvm.create_context())
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_loop_strength_reduce_pass()
    _run(passes, module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    return _emitted(module, machine)


def optimised(text: str, library: Library | None, machine: Any) -> Any:
    """Return LLVM IR as an optimised module for the target `machine`, with what it calls of `library`."""
    context = llvm.create_context()
    module = _parsed(text, machine, context)
    if library is not None:
        module.link_in(llvm.parse_assembly(library.variants(declared(module)), context))
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    _run(builder.getModulePassManager(), module, builder)
    if library is not None:
        _link(module, library, builder, context)
    return module


def _parsed(text: str, machine: Any, context: Any) -> Any:
    module = llvm.parse_assembly(text, context)
    module.verify()
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    return module


def _run(passes: Any, module: Any, builder: Any) -> None:
    _unlocked("LLVMPY_RunNewModulePassManager")(passes, module, builder)


def _emitted(module: Any, machine: Any) -> bytes:
    """Return the object code of a module, which is most of the work."""
    with llvm.ffi.OutputString() as error:
        with _loops_as_they_are():
            buffer = _unlocked("LLVMPY_TargetMachineEmitToMemory")(machine, module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    try:
        size = llvm.ffi.lib.LLVMPY_GetBufferSize(buffer)
        return ctypes.string_at(llvm.ffi.lib.LLVMPY_GetBufferStart(buffer), size)
    finally:
        llvm.ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


@contextlib.contextmanager
def _loops_as_they_are() -> Iterator[None]:
    """Let LLVM emit code without its search for other loop variables, which x86 needs least.

    That search takes up to 40% of a compilation, and kernels with what it finds are no faster. The option is
    one of the whole process: other users of LLVM get it back.
    """
    global _emitting
    if platform.machine().lower() not in ("x86_64", "amd64") or llvm.llvm_version_info[0] not in HAVE_LSR:
        yield
        return
    with _lock:
        _emitting += 1
        if _emitting == 1:
            llvm.set_option("jitgrad", "-disable-lsr")
    try:
        yield
    finally:
        with _lock:
            _emitting -= 1
            if not _emitting:
                llvm.set_option("jitgrad", "-disable-lsr=false")


@functools.cache
def _unlocked(name: str) -> Callable[..., Any]:
    """Return a function of LLVM that llvmlite lets one thread call at a time.

    LLVM itself asks only that no two threads work in one context, and each compilation has its own.
    """
    locked = getattr(llvm.ffi.lib, name)
    function = getattr(ctypes.CDLL(llvm.ffi.lib._name), name)
    function.argtypes, function.restype = locked.argtypes, locked.restype
    return function  # type: ignore[no-any-return]


def declared(module: Any) -> list[str]:
    """Return the names of the functions that a module calls without defining them."""
    return [function.name for function in module.functions if function.is_declaration]


def _link(module: Any, library: Library, builder: Any, context: Any) -> None:
    """Define the library's functions that `module` calls, the small ones of vectors at their call."""
    for variable in module.global_variables:
        if variable.name == VARIANTS:
            variable.linkage = llvm.Linkage.internal
    unused = llvm.create_new_module_pass_manager()
    unused.add_global_dead_code_eliminate_pass()
    _run(unused, module, builder)
    for text in library.definitions(declared(module)):
        definition = llvm.parse_assembly(text, context)
        names = [function.name for function in definition.functions if not function.is_declaration]
        module.link_in(definition)
        for name in names:
            module.get_function(name).linkage = llvm.Linkage.internal
    inlining = llvm.create_new_module_pass_manager()
    inlining.add_always_inliner_pass()
    inlining.add_instruction_combine_pass()
    inlining.add_simplify_cfg_pass()
    inlining.add_aggressive_dce_pass()
    inlining.add_global_dead_code_eliminate_pass()
    _run(inlining, module, builder)


def vector_bits() -> int:
    """Return how wide this CPU's vector registers are, of those widths that every kernel can use."""
    features = llvm.get_host_cpu_features()
    return 512 if features.get("avx512f") else 256 if features.get("avx") else 128


def define_symbol(name: str, address: int) -> None:
    """Let object code loaded from now on refer to ``address`` by ``name``."""
    with _lock:
        llvm.add_symbol(name, address)


class _MethodDefinition(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


def builtin(name: str, address: int, flags: int, doc: str) -> Callable[..., Any]:
    """Make a Python built-in from a native function that follows CPython's calling convention.

    A call takes 10 to 20 ns, where one through ctypes takes 85 to 210 ns.
    """
    definition = _MethodDefinition(name.encode(), address, flags, doc.encode())
    immortal(definition)
    create = ctypes.pythonapi.PyCFunction_NewEx
    create.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    create.restype = ctypes.py_object
    function: Callable[..., Any] = create(ctypes.addressof(definition), None, None)
    return function


def immortal(thing: object) -> None:
    """Keep ``thing`` until the process ends, also while the interpreter takes its modules down."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _address_by_layout(array: np.ndarray[Any, Any]) -> int:
    return _word_at(id(array) + HEADER_BYTES).value


def _address_by_attribute(array: np.ndarray[Any, Any]) -> int:
    return array.ctypes.data


def layout_holds() -> bool:
    """Tell whether ndarrays and ctypes arrays keep their data pointer right after the object header."""
    array, block = np.empty(3), (ctypes.c_int64 * 3)()
    found = (_address_by_layout(array), _word_at(id(block) + HEADER_BYTES).value)
    return found == (array.ctypes.data, ctypes.addressof(block))


_word_at = ctypes.c_size_t.from_address

# 0.11 us against 0.89 us for array.ctypes.data; checked once because no interface promises the layout.
address: Callable[[np.ndarray[Any, Any]], int] = (
    _address_by_layout if layout_holds() else _address_by_attribute
)


@functools.cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmparser()
    llvm.initialize_native_asmprinter()


@functools.cache
def _engine() -> Any:
    _initialise()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    # Disposing of the engine would unmap code that pool threads may still be running at exit.
    immortal(engine)
    return engine


def target_machine() -> Any:
    """Return LLVM's description of this machine, for the compiler."""
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=_features(),
        opt=3,
        codemodel="jitdefault",
    )


def _features() -> str:
    """The host's features, with vectors as wide as it has: LLVM's own choice of 256 bits takes 1.5 times as
    long."""
    features: str = llvm.get_host_cpu_features().flatten()
    return f"{features},-prefer-256-bit" if "+avx512f" in features else features


def _load(data: bytes, names: Sequence[str]) -> dict[str, int]:
    engine = _engine()
    check_object(data, names)
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    found = {name: engine.get_function_address(name) for name in names}
    missing = [name for name, where in found.items() if not where]
    if missing:
        raise ObjectCodeError(f"object code does not export {', '.join(missing)}")
    return found


def check_object(data: bytes, names: Sequence[str]) -> None:
    """Raise `ObjectCodeError` unless ``data`` is whole, exports ``names``, and needs nothing unknown."""
    if not data.startswith(b"\x7fELF"):
        if llvm.get_object_format() == "ELF" or len(data) < 64:
            raise ObjectCodeError("not object code of this platform")
        return  # Mach-O, COFF: the checksum of the kernel cache is the guard
    try:
        symbols = dict(_elf_symbols(data))
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise ObjectCodeError(f"damaged object code: {error}") from error
    missing = [name for name in names if not symbols.get(name)]
    if missing:
        raise ObjectCodeError(f"object code does not export {', '.join(missing)}")
    unknown = [name for name, defined in symbols.items() if not defined and not _resolves(name)]
    if unknown:
        raise ObjectCodeError(f"object code needs {', '.join(unknown)}, which this process does not have")


def _resolves(name: str) -> bool:
    return name == "_GLOBAL_OFFSET_TABLE_" or name in _addresses or llvm.address_of_symbol(name) is not None


def _elf_symbols(data: bytes) -> Iterator[tuple[str, bool]]:
    """Yield the name of each global symbol with whether the object defines it, checking all extents."""
    sections = list(_elf_sections(data))
    for kind, offset, size, link in sections:
        if kind != _SYMBOL_TABLE:
            continue
        _, text_offset, text_size, _ = sections[link]
        text = data[text_offset : text_offset + text_size]
        for name_at, info, _, section, _, _ in _ELF_SYMBOL.iter_unpack(data[offset : offset + size]):
            if info >> 4:  # not local to the object
                end = text.index(b"\0", name_at)
                yield text[name_at:end].decode(), section != 0


def _elf_sections(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    header = _ELF_HEADER.unpack_from(data)
    ident, kind, machine, table, entry_size, count = (*header[:3], header[6], header[11], header[12])
    expected = _ELF_MACHINES.get(platform.machine().lower(), machine)
    if ident[4:7] != b"\x02\x01\x01" or (kind, machine, entry_size) != (1, expected, _ELF_SECTION.size):
        raise ValueError("not a relocatable file for this machine")
    for index in range(count):
        _, kind, _, _, offset, size, link, _, _, _ = _ELF_SECTION.unpack_from(
            data, table + index * entry_size
        )
        if kind != _NO_BITS and offset + size > len(data):
            raise ValueError("a section ends after the file")
        yield kind, offset, size, link


def _renew_lock() -> None:
    """Forget the threads that a fork left behind, with what they held and did."""
    global _lock, _emitting
    _lock, _emitting = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
