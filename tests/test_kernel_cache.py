"""The kernel cache: what was stored comes back, and nothing that is damaged or not ours is ever run."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from jitgrad.errors import JitgradWarning
from jitgrad.machine import cache

KEY, OTHER = "ab" * 20, "cd" * 20
CODE = bytes(range(256)) * 8

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    where = tmp_path / "cache"
    monkeypatch.setenv("JITGRAD_CACHE_DIR", str(where))
    monkeypatch.setattr(cache, "stats", cache.Stats())
    cache._usable.cache_clear()
    cache._warned.clear()
    yield where
    cache._usable.cache_clear()
    cache._warned.clear()


def store(key: str = KEY, code: bytes = CODE) -> None:
    cache.store(key, "x = 1\n", code, {"names": ["kernel"], "bytes": 7})


def test_a_stored_kernel_comes_back(folder: Path) -> None:
    assert cache.load(KEY) is None
    store()
    assert cache.load(KEY) == cache.Entry(CODE, {"names": ["kernel"], "bytes": 7})
    assert cache.source_path(KEY) == folder / f"{KEY}.py"
    assert (folder / f"{KEY}.py").read_text() == "x = 1\n"
    assert cache.stats == cache.Stats(hits=1, misses=1, stores=1)
    assert sorted(path.name for path in folder.iterdir()) == [f"{KEY}.o", f"{KEY}.py"]


def test_a_later_store_replaces_an_earlier_one() -> None:
    store()
    store(code=b"new")
    entry = cache.load(KEY)
    assert entry is not None and entry.object_code == b"new"


@pytest.mark.parametrize("key", ["", "short", "../../" + KEY, KEY.upper(), KEY + ".o", "a" * 200])
def test_a_key_is_a_hexadecimal_digest(key: str) -> None:
    with pytest.raises(ValueError, match="digest in hexadecimal"):
        cache.load(key)


def test_a_damaged_file_is_a_miss_and_is_written_anew(folder: Path) -> None:
    store()
    path = folder / f"{KEY}.o"
    whole = path.read_bytes()
    damaged = [whole[:n] for n in (0, 5, 44, 45, 60, len(whole) - 1)] + [whole + b"x", b"\0" * len(whole)]
    for at in (0, 9, 20, 45, 50, 90, len(whole) - 1):
        damaged.append(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for data in damaged:
        path.write_bytes(data)
        assert cache.load(KEY) is None
    store()
    assert cache.load(KEY) is not None


def test_a_file_under_another_key_is_a_miss(folder: Path) -> None:
    store()
    (folder / f"{KEY}.o").rename(folder / f"{OTHER}.o")
    assert cache.load(OTHER) is None


def test_another_format_version_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    store()
    monkeypatch.setattr(cache, "FORMAT_VERSION", cache.FORMAT_VERSION + 1)
    assert cache.load(KEY) is None


@posix
def test_the_folder_is_made_for_this_user_alone(folder: Path) -> None:
    store()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / f"{KEY}.o").stat().st_mode) == 0o600


def refused(match: str) -> None:
    with pytest.warns(JitgradWarning, match=match):
        assert cache.load(KEY) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns once
        store()
        assert cache.load(KEY) is None
        assert cache.source_path(KEY) is None


@posix
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_folder_that_others_may_write_is_refused(folder: Path, mode: int) -> None:
    store()
    folder.chmod(mode)
    cache._usable.cache_clear()
    refused("other users may write")


@posix
def test_a_folder_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    store()
    cache._usable.cache_clear()
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    refused("belongs to user")


@posix
def test_a_symbolic_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    refused("symbolic link")


@posix
def test_a_file_that_others_may_write_is_a_miss(folder: Path) -> None:
    store()
    (folder / f"{KEY}.o").chmod(0o666)
    assert cache.load(KEY) is None


def test_without_a_folder_it_warns_once_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JITGRAD_CACHE_DIR", str(tmp_path / "file" / "cache"))
    refused("cannot be made")


def test_a_full_disk_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(JitgradWarning, match="No space left"):
        store()
    store()
    assert cache.load(KEY) is None
    assert cache.size() == (0, 0)


def test_a_removed_folder_is_made_again(folder: Path) -> None:
    store()
    cache.clear()
    folder.rmdir()
    assert cache.load(KEY) is None
    store()
    assert cache.load(KEY) is not None


def age(folder: Path, key: str, seconds: float) -> None:
    for suffix in (".py", ".o"):
        os.utime(folder / (key + suffix), (time.time() - seconds,) * 2)


def test_pruning_removes_the_longest_unused_kernels(folder: Path) -> None:
    keys = [f"{i:040x}" for i in range(10)]
    for i, key in enumerate(keys):
        store(key)
        age(folder, key, 100_000 - 1000 * i)
    assert cache.load(keys[0]) is not None  # a use counts
    count, total = cache.size()
    assert count == 10
    cache.prune(folder, limit=total // 2)
    assert cache.size()[1] <= total // 2 * 0.8
    kept = [key for key in keys if (folder / f"{key}.o").exists()]
    assert kept == [keys[0], *keys[len(keys) - len(kept) + 1 :]] and len(kept) >= 3
    assert {path.stem for path in folder.iterdir()} == set(kept)


def test_storing_prunes_now_and_then(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []
    monkeypatch.setattr(cache, "prune", seen.append)
    for i in range(130):
        store(f"{i:040x}", b"")
    assert seen == [folder] * 3


def test_what_a_killed_writer_left_is_removed(folder: Path) -> None:
    store()
    left = folder / f"{KEY}-abcd.tmp"
    left.write_bytes(b"half")
    fresh = folder / f"{OTHER}-abcd.tmp"
    fresh.write_bytes(b"half")
    os.utime(left, (time.time() - 10_000,) * 2)
    cache.prune(folder)
    assert not left.exists() and fresh.exists()


def test_clear_removes_only_the_caches_own_files(folder: Path) -> None:
    store()
    store(OTHER)
    (folder / "notes.txt").write_text("mine")
    (folder / "script.py").write_text("mine")
    assert cache.clear() == 2
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "script.py"]


WRITER = """
import sys
from jitgrad.machine import cache
mine, key = sys.argv[1].encode() * 50_000, sys.argv[2]
for _ in range(150):
    cache.store(key, "x = 1", mine, {})
    entry = cache.load(key)
    assert entry is not None and entry.object_code in (b"a" * 50_000, b"b" * 50_000), "torn"
"""


def test_processes_that_store_the_same_key_never_see_a_part() -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, name, KEY]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "jitgrad"),
        ("win32", "LOCALAPPDATA", "jitgrad/cache"),
    ],
)
def test_the_default_folder_follows_the_platform(
    platform: str, variable: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JITGRAD_CACHE_DIR")
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    assert cache._chosen_folder() == tmp_path / expected
    monkeypatch.setenv("JITGRAD_CACHE_DIR", str(tmp_path / "own"))
    assert cache._chosen_folder() == tmp_path / "own"


def test_the_fingerprint_names_versions_and_cpu() -> None:
    text = cache.fingerprint()
    for part in ("jitgrad ", "llvmlite ", f"python {sys.version_info[0]}.{sys.version_info[1]}"):
        assert part in text
    assert text is cache.fingerprint()


def test_the_digest_of_the_sources_is_kept_until_a_file_changes_in_any_way(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    source = package / "inner" / "module.py"
    source.write_text("x = 1")
    monkeypatch.setattr(cache, "_SETTLED_NANOSECONDS", -1)
    first = cache._digest_of_sources(str(package))
    assert len(list(folder.glob("*.sum"))) == 1
    with monkeypatch.context() as patch:
        patch.delattr(Path, "read_bytes")
        assert cache._digest_of_sources(str(package)) == first
    before = source.stat()
    source.write_text("x = 2")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cache._digest_of_sources(str(package)) != first
    source.write_text("x = 1")
    assert cache._digest_of_sources(str(package)) == first
    (package / "other.py").write_text("")
    assert cache._digest_of_sources(str(package)) != first
    cache.clear()
    assert not list(folder.glob("*.sum"))


def test_items_say_what_is_kept() -> None:
    cache.store(KEY, "x = 1", CODE, {"kind": "program", "of": "loss in train.py"})
    store(OTHER)
    found = {item.key: item for item in cache.items()}
    assert (found[KEY].kind, found[KEY].title) == ("program", "loss in train.py")
    assert found[KEY].bytes > len(CODE) and found[KEY].seconds_unused < 60
    assert sum(item.bytes for item in found.values()) == cache.size()[1]
