"""Saves tensors and what holds them to files, and loads them, in PyTorch's own format.

A file is a zip archive: a pickle of the objects, in which memory is referred to by number, and the bytes of
each memory. Classes go by PyTorch's names, so that either library reads the other's files. Loading calls
nothing but the functions and classes listed here, unless `weights_only=False` asks for it.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import IO, Any, ClassVar

import numpy as np

from jitgrad.eager import dtypes
from jitgrad.eager.device import checked, device
from jitgrad.eager.dtypes import dtype
from jitgrad.eager.functions.copying import add_attributes, attributes_of, place_of, rebuilt
from jitgrad.eager.functions.factory import layout, strided
from jitgrad.eager.functions.memory import UntypedStorage, storage_of
from jitgrad.eager.size import Size
from jitgrad.eager.tensor import Tensor

__all__ = ["load", "save"]

_STORAGES = {
    **{"FloatStorage": dtypes.float32, "DoubleStorage": dtypes.float64, "HalfStorage": dtypes.float16},
    **{"LongStorage": dtypes.int64, "IntStorage": dtypes.int32, "ShortStorage": dtypes.int16},
    **{"CharStorage": dtypes.int8, "ByteStorage": dtypes.uint8, "BoolStorage": dtypes.bool_},
    **{"ComplexFloatStorage": dtypes.complex64, "ComplexDoubleStorage": dtypes.complex128},
}
_STORAGE_OF = {d: name for name, d in _STORAGES.items()}


@dataclass(frozen=True, slots=True)
class _Name:
    """A class or function of PyTorch, written to files by its name."""

    module: str
    name: str

    def __call__(self, *_: Any) -> Any:
        raise TypeError(f"{self.module}.{self.name} is only a name")


_name = cache(_Name)


@dataclass(frozen=True, slots=True)
class _Memory:
    """A reference, in the pickle, to a memory in the archive."""

    kind: _Name
    key: str
    count: int


_PARAMETERS: list[type[Tensor]] = []


def saved_as_parameter(kind: type[Tensor]) -> type[Tensor]:
    """Declare the class that is `torch.nn.Parameter` in files, called as kind(data, requires_grad)."""
    _PARAMETERS[:] = [kind]
    return kind


# Saving ---------------------------------------------------------------------------------------------------


def _no_hooks() -> Any:
    return collections.OrderedDict()


class _Saver(pickle._Pickler):
    """Pickles objects; the memory of tensors is kept aside, in the order of its keys."""

    def __init__(self, file: IO[bytes], protocol: int) -> None:
        super().__init__(file, protocol)
        self.storages: dict[UntypedStorage, str] = {}

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, UntypedStorage):
            obj = self._memory(obj, None)
        return ("storage", obj.kind, obj.key, "cpu", obj.count) if isinstance(obj, _Memory) else None

    def _memory(self, storage: UntypedStorage, kind: dtype | None) -> _Memory:
        key = self.storages.setdefault(storage, str(len(self.storages)))
        if kind is None:
            return _Memory(_name("torch.storage", "UntypedStorage"), key, storage.nbytes())
        count = storage.nbytes() // kind.itemsize
        return _Memory(_name("torch", _STORAGE_OF[kind]), key, count)

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor):
            return self._reduced(obj)
        if isinstance(obj, (_Name, dtype)):
            return obj.name
        if isinstance(obj, layout):
            return _name("torch.serialization", "_get_layout"), (repr(obj),)
        if isinstance(obj, Size):
            return _name("torch", "Size"), (tuple(obj),)
        if isinstance(obj, device):
            return _name("torch", "device"), obj.__reduce__()[1]
        return NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if isinstance(obj, (_Name, dtype)):
            module = obj.module if isinstance(obj, _Name) else "torch"
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())  # type: ignore[attr-defined]
            self.memoize(obj)  # type: ignore[attr-defined]
        else:
            super().save_global(obj, name)  # type: ignore[misc]

    def _reduced(self, t: Tensor) -> tuple[Any, ...]:
        """The call that makes a tensor again."""
        kind = type(t)
        if kind in _PARAMETERS:
            plain = t.detach()
            return _name("torch._utils", "_rebuild_parameter"), (plain, t.requires_grad, _no_hooks())
        made = self._rebuilding(t)
        added = attributes_of(t)
        if kind is Tensor and not added:
            return made
        named_kind = _name("torch", "Tensor") if kind is Tensor else kind
        return _name("torch._tensor", "_rebuild_from_type_v2"), (made[0], named_kind, made[1], added)

    def _rebuilding(self, t: Tensor) -> tuple[Any, ...]:
        storage, (offset, shape, strides) = storage_of(t._array), place_of(t)
        start = offset // t._array.dtype.itemsize
        place = (start, shape, strides, t.requires_grad, _no_hooks())
        if t.dtype in _STORAGE_OF:
            memory = self._memory(storage, t.dtype)
            return _name("torch._utils", "_rebuild_tensor_v2"), (memory, *place)
        return _name("torch._utils", "_rebuild_tensor_v3"), (self._memory(storage, None), *place, t.dtype)


def save(
    obj: Any,
    f: str | os.PathLike[str] | IO[bytes],
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Save an object, such as a tensor or a dict of them, to a file, given by its path or opened for writing.

    The file is as PyTorch writes it. Tensors that share memory will share it when they are loaded.

    >>> import io, jitgrad
    >>> file = io.BytesIO()
    >>> jitgrad.save({"weight": jitgrad.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> jitgrad.load(file)
    {'weight': tensor([1., 1.])}
    """
    if not hasattr(f, "write") and not isinstance(f, (str, os.PathLike)):
        raise AttributeError("expected 'f' to be a path or a file-like object with a 'write' attribute")
    pickled = io.BytesIO()
    saver = _Saver(pickled, pickle_protocol)
    saver.dump(obj)
    members = {"data.pkl": pickled.getvalue(), "byteorder": sys.byteorder.encode()}
    members |= {f"data/{key}": s.bytes.tobytes() for s, key in saver.storages.items()}
    members["version"] = b"3\n"
    with zipfile.ZipFile(f, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)


# Loading --------------------------------------------------------------------------------------------------

MapLocation = Any  # a device, its name, a dict of such names, or a function of a storage and a name
_SAFE: dict[tuple[str, str], Any] = {}


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Let `load` make objects of these classes, and call these functions, also with `weights_only`."""
    for given in safe_globals:
        _SAFE[given.__module__, given.__qualname__] = given


def clear_safe_globals() -> None:
    """Take back what `add_safe_globals` has allowed."""
    _SAFE.clear()


def get_safe_globals() -> list[Any]:
    return list(_SAFE.values())


def _tensor_v2(
    memory: tuple[UntypedStorage, dtype | None], offset: int, shape: Any, strides: Any, *rest: Any
) -> Tensor:
    """What `torch._utils._rebuild_tensor_v2` names: requires_grad, hooks and metadata follow."""
    storage, kind = memory
    assert kind is not None
    return _tensor_v3(memory, offset, shape, strides, rest[0], None, kind)


def _tensor_v3(
    memory: Any, offset: int, shape: Any, strides: Any, requires_grad: bool, _: Any, kind: dtype, *rest: Any
) -> Tensor:
    place = offset * kind.itemsize, tuple(shape), tuple(strides)
    return rebuilt(Tensor, memory[0], kind.numpy, place, requires_grad)


def _parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Tensor:
    made: Tensor = data.requires_grad_(requires_grad)
    return _PARAMETERS[0](data, requires_grad) if _PARAMETERS else made


def _of_type(function: Callable[..., Tensor], kind: type[Tensor], arguments: Any, added: Any) -> Tensor:
    made = function(*arguments)
    out = made if kind is Tensor else made.as_subclass(kind).requires_grad_(made.requires_grad)
    add_attributes(out, added)
    return out


_FOUND: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
    ("torch.storage", "UntypedStorage"): None,
    ("torch", "Tensor"): Tensor,
    ("torch", "Size"): Size,
    ("torch", "device"): device,
    ("torch.serialization", "_get_layout"): lambda name: strided,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "Counter"): collections.Counter,
    ("__builtin__", "set"): set,
    ("__builtin__", "complex"): complex,
    ("__builtin__", "bytearray"): bytearray,
    ("_codecs", "encode"): lambda text, encoding: str(text).encode(encoding),
    **{("torch", name): kind for name, kind in _STORAGES.items()},
    **{("torch", kind.name): kind for kind in dtypes.DTYPES},
}
_FOUND |= {("builtins", name): kind for (module, name), kind in _FOUND.items() if module == "__builtin__"}

_UNSAFE = (
    "Weights only load failed: the file asks for {0}, which is not among what load() makes from a file. If "
    "you trust whoever made the file, allow it by torch.serialization.add_safe_globals, or load everything, "
    "which can run any code, by weights_only=False."
)


_DAMAGED = (
    *(AttributeError, EOFError, LookupError, MemoryError, NotImplementedError, OverflowError, TypeError),
    *(ValueError, struct.error, zipfile.BadZipFile, zlib.error),
)
"""What bytes raise that `save` cannot have written."""


class _Loader(pickle._Unpickler):
    """Makes the objects of a pickle; with `weights_only`, from nothing but what is listed."""

    def __init__(self, file: IO[bytes], archive: _Archive, weights_only: bool) -> None:
        super().__init__(file, encoding="utf-8")
        self.archive = archive
        self.weights_only = weights_only

    def find_class(self, module: str, name: str) -> Any:
        for listed in (_FOUND, _SAFE):
            if (module, name) in listed:
                return listed[module, name]
        if not self.weights_only:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(_UNSAFE.format(f"{module}.{name}"))

    def persistent_load(self, reference: Any) -> tuple[UntypedStorage, dtype | None]:
        _, kind, key, location, _ = reference
        return self.archive.storage(key, location), kind

    def load_build(self) -> None:
        """Set attributes, of which objects that all share must be safe."""
        target = self.stack[-2]  # type: ignore[attr-defined]
        plain = type(target) is collections.OrderedDict or type(target) in _SAFE.values()
        if self.weights_only and not plain:
            raise pickle.UnpicklingError(_UNSAFE.format(f"attributes of a {type(target).__name__}"))
        super().load_build()  # type: ignore[misc]

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}


class _Archive:
    """An archive opened for loading."""

    def __init__(self, file: zipfile.ZipFile, map_location: MapLocation) -> None:
        self.file = file
        self.map_location = map_location
        self.folder = next((n[:-8] for n in file.namelist() if n.endswith("data.pkl")), None)
        if self.folder is None:
            raise RuntimeError("PytorchStreamReader failed locating file data.pkl: file not found")
        self.storages: dict[str, UntypedStorage] = {}
        order = f"{self.folder}byteorder"
        self.swapped = order in file.namelist() and file.read(order).decode() != sys.byteorder

    def storage(self, key: str, location: str) -> UntypedStorage:
        found = self.storages.get(key)
        if found is None:
            if self.swapped:
                raise RuntimeError("the file was written on a machine with another byte order")
            content = bytearray(self.file.read(f"{self.folder}data/{key}"))
            found = self.storages[key] = UntypedStorage(np.frombuffer(content, np.uint8))
            _placed(found, location, self.map_location)
        return found


def _placed(storage: UntypedStorage, location: str, map_location: MapLocation) -> None:
    """Check that the memory is to lie on the CPU."""
    if callable(map_location):
        map_location(storage, location)
        return
    if isinstance(map_location, dict):
        location = map_location.get(location, location)
    elif map_location is not None:
        location = str(map_location)
    if location.startswith("cuda"):
        raise RuntimeError(
            "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If "
            "you are running on a CPU-only machine, please use torch.load with "
            "map_location=torch.device('cpu') to map your storages to the CPU."
        )
    checked(location)


def load(
    f: str | os.PathLike[str] | IO[bytes],
    map_location: MapLocation = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Load what `save`, here or in PyTorch, has written to a file, given by its path or opened for reading.

    Makes tensors, numbers, strings and containers of them; raises pickle.UnpicklingError for anything else,
    unless `weights_only=False`, which can run any code that the file names. `map_location="cpu"` loads what
    was saved from a GPU.
    """
    content = io.BytesIO(f.read()) if hasattr(f, "read") else f
    if isinstance(content, io.BytesIO) and not content.getbuffer().nbytes:
        raise EOFError("Ran out of input")
    try:
        with zipfile.ZipFile(content) as file:
            archive = _Archive(file, map_location)
            pickled = io.BytesIO(file.read(f"{archive.folder}data.pkl"))
            return _Loader(pickled, archive, weights_only is not False).load()
    except _DAMAGED as error:
        if weights_only is False and not isinstance(error, zipfile.BadZipFile):
            raise
        raise pickle.UnpicklingError(
            f"Weights only load failed: this is no archive that torch.save has written, or damaged: {error!r}"
        ) from error
