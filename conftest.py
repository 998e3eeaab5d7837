"""Settings that every test of this repository shares, in place before jitgrad or JAX is imported."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

_OWN_CACHE: str | None = None

if "JITGRAD_CACHE_DIR" not in os.environ:
    # The pytest-xdist workers inherit the variable, so a run compiles each kernel once.
    _OWN_CACHE = os.environ["JITGRAD_CACHE_DIR"] = tempfile.mkdtemp(prefix="jitgrad-test-")

# Tests change what programs are made by; a program from the disk would not show it.
os.environ.setdefault("JITGRAD_PROGRAM_CACHE", "0")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")

collect_ignore = ["tests/golden"]  # kernels, not tests


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer what takes too long, or changes files, to do in every run."""
    group = parser.getgroup("jitgrad")
    group.addoption(
        "--exhaustive", action="store_true", help="compile every sample of the op table, not a selection"
    )
    group.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden from what is emitted now"
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the kernel cache where this process made it."""
    if _OWN_CACHE is not None:
        shutil.rmtree(_OWN_CACHE, ignore_errors=True)
