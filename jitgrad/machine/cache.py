"""Keep compiled kernels on disk, so that a second process starts warm.

For each key the folder holds ``<key>.py``, the readable source of the kernel, and ``<key>.o``, its object
code behind a header. The folder is trusted as code is: it must be this user's own, and nobody else's to
write. Whatever is missing, damaged or of another version counts as a miss and is written anew.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import stat
import struct
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from jitgrad.errors import JitgradWarning

LIMIT_BYTES = 256 << 20
FORMAT_VERSION = 1

_MAGIC = b"JITGRAD\0"
_HEADER = struct.Struct("<8sI32sI")  # magic, format version, digest of the rest, bytes of metadata
_KEY = re.compile(r"[0-9a-f]{8,128}")
_STORES_BETWEEN_PRUNES = 64
_TOUCH_SECONDS = 3600.0
_SETTLED_NANOSECONDS = 2_000_000_000  # a file system's clock may tick slowly: younger times do not tell


@dataclass(frozen=True, slots=True)
class Entry:
    """A kernel as it was stored."""

    object_code: bytes
    metadata: dict[str, Any]


@dataclass(slots=True)
class Stats:
    """What the cache did in this process."""

    hits: int = 0
    misses: int = 0
    stores: int = 0


stats = Stats()
_warned: set[str] = set()


def load(key: str) -> Entry | None:
    """Return the kernel stored under ``key``, or None."""
    path = _path(key, ".o")
    entry = None if path is None else _read(path)
    if entry is None:
        stats.misses += 1
    else:
        stats.hits += 1
    return entry


def store(key: str, source: str, object_code: bytes, metadata: Mapping[str, Any]) -> None:
    """Keep a kernel under ``key``; ``metadata`` is what JSON can hold.

    Where the folder cannot be used, warn once and keep nothing.
    """
    path = _path(key, ".o")
    if path is None:
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody may have removed it
        _replace(path.with_suffix(".py"), source.encode())
        _replace(path, _encode(key, metadata, object_code))
    except OSError as error:
        _warn(f"the kernel cache {path.parent} cannot be written ({error.strerror}); kernels are not kept")
        return
    if stats.stores % _STORES_BETWEEN_PRUNES == 0:
        prune(path.parent)
    stats.stores += 1


def source_path(key: str) -> Path | None:
    """Return where the source of ``key`` stands, whether or not it was stored; None without a folder."""
    return _path(key, ".py")


def folder() -> Path | None:
    """Return the folder in use, made if need be, or None where there is none that can be trusted."""
    return _usable(_chosen_folder())


def clear() -> int:
    """Remove every kernel and return how many there were."""
    where = folder()
    files = [] if where is None else list(_files(where))
    for path, _ in files:
        _remove(path)
    return sum(path.suffix == ".o" for path, _ in files)


def size() -> tuple[int, int]:
    """Return the number of kernels and the bytes that they take."""
    where = folder()
    files = [] if where is None else list(_files(where))
    return sum(path.suffix == ".o" for path, _ in files), sum(info.st_size for _, info in files)


@dataclass(frozen=True, slots=True)
class Item:
    """What the folder holds under one key; `title` says of what it is, where the writer said so."""

    key: str
    kind: str
    title: str
    bytes: int
    seconds_unused: float
    source: Path


def items() -> list[Item]:
    """Return what is on disk."""
    where = folder()
    found: dict[str, list[tuple[Path, os.stat_result]]] = {}
    for path, info in [] if where is None else _files(where):
        found.setdefault(path.stem, []).append((path, info))
    return [
        _item(key, files) for key, files in found.items() if any(path.suffix == ".o" for path, _ in files)
    ]


def _item(key: str, files: list[tuple[Path, os.stat_result]]) -> Item:
    path = files[0][0]
    entry = _read(path.with_suffix(".o"))
    metadata = {} if entry is None else entry.metadata
    unused = time.time() - max(info.st_mtime for _, info in files)
    taken = sum(info.st_size for _, info in files)
    kind, title = metadata.get("kind", "damaged"), metadata.get("of", "")
    return Item(key, kind, title, taken, max(unused, 0.0), path.with_suffix(".py"))


def prune(where: Path, limit: int = LIMIT_BYTES) -> None:
    """Remove what an interrupted writer left, then the longest unused kernels down to 80% of ``limit``."""
    kernels: dict[str, list[tuple[Path, os.stat_result]]] = {}
    for path, info in _files(where):
        if path.suffix == ".tmp":
            if info.st_mtime < time.time() - _TOUCH_SECONDS:
                _remove(path)
        else:
            kernels.setdefault(path.stem, []).append((path, info))
    total = sum(info.st_size for files in kernels.values() for _, info in files)
    if total <= limit:
        return
    for files in sorted(kernels.values(), key=lambda files: max(info.st_mtime for _, info in files)):
        if total <= limit * 0.8:
            return
        # The object code goes first: source without it is harmless, it without source is not.
        for path, info in sorted(files, key=lambda file: file[0].suffix != ".o"):
            _remove(path)
            total -= info.st_size


@functools.cache
def fingerprint() -> str:
    """Describe what compiled code depends on besides its source: versions, Python, CPU and its features."""
    return "; ".join(
        (
            f"jitgrad {_digest_of_sources(str(Path(__file__).parents[1]))}",
            f"llvmlite {llvmlite.__version__}",
            f"numpy {np.__version__}",
            f"python {'.'.join(map(str, sys.version_info))}",
            f"{llvm.get_process_triple()} {llvm.get_host_cpu_name()}",
            llvm.get_host_cpu_features().flatten(),
        )
    )


def _digest_of_sources(package: str) -> str:
    """Digest a package's source: a version number stays while a developer edits.

    Reading it all takes 16 ms, so its digest is kept under what the file system says of the files, where no
    change of content can hide: their sizes and times, that of the last change of any kind among them.
    """
    files = sorted(_sources(package))
    seen = hashlib.blake2b(repr(files).encode(), digest_size=16).hexdigest()
    memo = _path(seen, ".sum")
    known = None if memo is None else _read(memo)
    if known is not None:
        return known.object_code.decode()
    digest = hashlib.blake2b(digest_size=16)
    for path, *_ in files:
        digest.update(os.path.relpath(path, package).encode())
        digest.update(Path(path).read_bytes())
    settled = time.time_ns() - max(changed for *_, changed in files) > _SETTLED_NANOSECONDS
    if memo is not None and settled and sorted(_sources(package)) == files:
        with contextlib.suppress(OSError):
            _replace(memo, _encode(seen, {}, digest.hexdigest().encode()))
    return digest.hexdigest()


def _sources(where: str) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield each source file of a package with its inode, size, and times of modification and of change."""
    with os.scandir(where) as found:
        for item in found:
            if item.name.endswith((".py", ".ll")):
                info = item.stat()
                yield item.path, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns
            elif item.is_dir() and item.name != "__pycache__":
                yield from _sources(item.path)


def _chosen_folder() -> Path:
    chosen = os.environ.get("JITGRAD_CACHE_DIR")
    if chosen:
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    home = Path(os.path.expanduser("~"))
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "jitgrad"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "jitgrad" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "jitgrad"


@functools.cache
def _usable(where: Path) -> Path | None:
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = os.lstat(where)
    except OSError as error:
        _warn(f"the kernel cache {where} cannot be made ({error.strerror}); kernels are not kept")
        return None
    reason = _distrust(info, directory=True)
    if reason:
        _warn(
            f"the kernel cache {where} is not used, because {reason}: it holds code that this process runs. "
            "Set JITGRAD_CACHE_DIR to a folder of your own with mode 0700"
        )
        return None
    return where


def _distrust(info: os.stat_result, directory: bool) -> str | None:
    if stat.S_ISLNK(info.st_mode):
        return "it is a symbolic link"
    if not (stat.S_ISDIR(info.st_mode) if directory else stat.S_ISREG(info.st_mode)):
        return "it is not a folder" if directory else "it is not a file"
    if sys.platform != "win32":
        if info.st_uid != os.geteuid():
            return f"it belongs to user {info.st_uid}"
        if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"other users may write to it (mode {stat.S_IMODE(info.st_mode):04o})"
    return None


def _path(key: str, suffix: str) -> Path | None:
    if not _KEY.fullmatch(key):
        raise ValueError(f"a cache key is a digest in hexadecimal, got {key!r}")
    where = folder()
    return None if where is None else where / (key + suffix)


def _read(path: Path) -> Entry | None:
    try:
        with open(path, "rb") as file:
            info = os.fstat(file.fileno())
            if _distrust(info, directory=False):
                return None
            data = file.read()
    except OSError:
        return None
    entry = _decode(path.stem, data)
    if entry is not None and info.st_mtime < time.time() - _TOUCH_SECONDS:
        with contextlib.suppress(OSError):
            os.utime(path)
    return entry


def _encode(key: str, metadata: Mapping[str, Any], object_code: bytes) -> bytes:
    described = json.dumps(dict(metadata), sort_keys=True).encode()
    digest = _digest(key, described, object_code)
    return _HEADER.pack(_MAGIC, FORMAT_VERSION, digest, len(described)) + described + object_code


def _decode(key: str, data: bytes) -> Entry | None:
    if len(data) < _HEADER.size:
        return None
    magic, version, digest, length = _HEADER.unpack_from(data)
    middle = _HEADER.size + length
    if (magic, version) != (_MAGIC, FORMAT_VERSION) or middle > len(data):
        return None
    described, object_code = data[_HEADER.size : middle], data[middle:]
    if _digest(key, described, object_code) != digest:
        return None
    return Entry(object_code, json.loads(described))


def _digest(key: str, described: bytes, object_code: bytes) -> bytes:
    digest = hashlib.blake2b(f"{key} {len(described)} {len(object_code)}\n".encode(), digest_size=32)
    digest.update(described)
    digest.update(object_code)
    return digest.digest()


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that other processes see the old content or the new, never a part."""
    temporary = path.with_name(f"{path.stem}-{os.urandom(8).hex()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except PermissionError:
        _remove(temporary)
        if sys.platform != "win32" or not path.exists():
            raise  # on Windows another process may be reading the same kernel, so it is there
    except BaseException:
        _remove(temporary)
        raise


def _files(where: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the cache's own files, and nothing else that somebody put into the folder."""
    with contextlib.suppress(OSError), os.scandir(where) as found:
        for item in found:
            path = Path(item.path)
            if path.suffix in (".py", ".o", ".sum", ".tmp") and _KEY.fullmatch(path.stem.split("-")[0]):
                with contextlib.suppress(OSError):
                    yield path, item.stat(follow_symlinks=False)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _warn(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        warnings.warn(message, JitgradWarning, stacklevel=2)
