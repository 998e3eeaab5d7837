"""PTX to machine code for one GPU, with what the assembler says of it, by the library nvJitLink.

Neither a GPU nor a driver is needed.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import re
from collections.abc import Sequence
from dataclasses import dataclass

DISTRIBUTION = "nvidia-nvjitlink"
INSTALL = 'pip install "nvidia-nvjitlink==13.0.*"'
_LIBRARY = re.compile(r"(lib)?nvJitLink\w*(\.so\.\d+|\.dll)")
_PTX = 2  # the kind of input, as the library numbers it

_FIGURES = {
    "registers": r"Used (\d+) registers",
    "stack": r"(\d+) bytes stack frame",
    "spill_stores": r"(\d+) bytes spill stores",
    "spill_loads": r"(\d+) bytes spill loads",
    "shared": r"(\d+) bytes smem",
}


class AssemblerMissing(ImportError):
    """The library that assembles PTX is not installed."""


class AssemblyFailed(Exception):
    """The assembler refuses PTX."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What one thread of a kernel takes, and a block of shared memory besides what a launch asks for.

    All but `registers` are bytes; `stack` is the largest of the kernel and of what it calls, `constant` the
    sum of all banks. Spilled bytes are counted over the kernel and what it calls.
    """

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int
    constant: int


@dataclass(frozen=True, slots=True)
class Assembled:
    """Machine code that a driver loads, and what its kernel takes."""

    cubin: bytes
    resources: Resources


def assemble(ptx: str, capability: tuple[int, int]) -> Assembled:
    """Return the machine code of PTX with one kernel, for GPUs of one compute capability such as (9, 0).

    Raise AssemblerMissing where nvJitLink is not installed, AssemblyFailed where it refuses the text.
    """
    major, minor = capability
    with _Link([f"-arch=sm_{major}{minor}", "-Xptxas=-v", "-verbose"]) as link:
        link.add(ptx)
        cubin, log = link.complete()
    return Assembled(cubin, resources(log))


def resources(log: str) -> Resources:
    """Return what the assembler's verbose log says of the kernel in it.

    >>> resources("8 bytes stack frame, 4 bytes spill stores, 0 bytes spill loads\\n"
    ...           "Used 30 registers, used 1 barriers, 360 bytes cmem[0], 8 bytes cmem[2]")
    Resources(registers=30, stack=8, spill_stores=4, spill_loads=0, shared=0, constant=368)
    """
    found = {name: [int(number) for number in re.findall(text, log)] for name, text in _FIGURES.items()}
    constant = sum(map(int, re.findall(r"(\d+) bytes cmem", log)))
    spilled = {name: sum(found[name]) for name in ("spill_stores", "spill_loads")}
    largest = {name: max(found[name], default=0) for name in ("registers", "stack", "shared")}
    return Resources(**largest, **spilled, constant=constant)


class _Link:
    """One use of the library, whose calls return a status."""

    def __init__(self, options: Sequence[str]) -> None:
        self._library = _library()
        self._handle = ctypes.c_void_p()
        given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        self._call("Create", ctypes.byref(self._handle), ctypes.c_uint32(len(options)), given)

    def __enter__(self) -> _Link:
        return self

    def __exit__(self, *_: object) -> None:
        self._call("Destroy", ctypes.byref(self._handle))

    def add(self, ptx: str) -> None:
        """Add PTX to what is assembled."""
        data = ptx.encode() + b"\0"
        self._call("AddData", self._handle, _PTX, data, ctypes.c_size_t(len(data)), b"kernel.ptx")

    def complete(self) -> tuple[bytes, str]:
        """Assemble; return the machine code and the log."""
        self._call("Complete", self._handle)
        return self._bytes("LinkedCubin"), self._log("Info")

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, f"nvJitLink{name}")(*arguments)
        if status != 0:
            reason = "" if name in ("Create", "Destroy") else self._log("Error")
            raise AssemblyFailed(f"nvJitLink{name} returned {status}: {reason or 'no reason given'}")

    def _log(self, kind: str) -> str:
        return self._bytes(f"{kind}Log").rstrip(b"\0").decode()

    def _bytes(self, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"Get{what}Size", self._handle, ctypes.byref(size))
        data = ctypes.create_string_buffer(size.value)
        if size.value:
            self._call(f"Get{what}", self._handle, data)
        return data.raw


@functools.cache
def _library() -> ctypes.CDLL:
    """The library of the installed wheel."""
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise AssemblerMissing(f"machine code for a GPU needs nvJitLink: {INSTALL}") from None
    paths = [path for path in distribution.files or () if _LIBRARY.fullmatch(path.name)]
    if not paths:
        raise AssemblerMissing(f"{DISTRIBUTION} {distribution.version} holds no library: {INSTALL}")
    return ctypes.CDLL(str(paths[0].locate()))
