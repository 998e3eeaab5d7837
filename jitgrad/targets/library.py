"""What kernels call: the elementary functions and the reductions, as one library."""

from __future__ import annotations

from collections.abc import Iterable

from jitgrad.targets import reductions
from jitgrad.vmath import library
from jitgrad.vmath.library import variants

__all__ = ["definitions", "variants"]


def definitions(names: Iterable[str]) -> list[str]:
    """Return LLVM IR of those of `names` that kernels may call, one or more functions in each text."""
    asked = list(names)
    return [*library.definitions(asked), *reductions.definitions(asked)]
