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

os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the kernel cache where this process made it."""
    if _OWN_CACHE is not None:
        shutil.rmtree(_OWN_CACHE, ignore_errors=True)
