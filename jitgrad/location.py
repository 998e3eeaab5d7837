"""Where in the user's program the present call comes from."""

from __future__ import annotations

import os
import sys
from types import FrameType

import numpy as np

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARIES = (_PACKAGE, os.path.dirname(os.path.abspath(np.__file__)) + os.sep, "<frozen")
_PROGRAMS = (_PACKAGE + "cli" + os.sep,)  # code of this package that uses it as users do
_names: dict[str, str] = {}


def user_name(file: str) -> str:
    """Return the short name of a source file; empty for files of this library and of NumPy."""
    name = _names.get(file)
    if name is None:
        ours = file.startswith(_LIBRARIES) and not file.startswith(_PROGRAMS)
        name = _names[file] = "" if ours else os.path.basename(file) or "?"
    return name


def is_ours(file: str) -> bool:
    """Return whether a source file is part of this library."""
    return file.startswith(_PACKAGE) and not user_name(file)


def user_frame() -> FrameType | None:
    """Return the innermost frame outside this library and NumPy."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not user_name(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def user_line() -> str:
    """Return the user's "file.py:12"."""
    frame = user_frame()
    return f"{user_name(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else "?"
