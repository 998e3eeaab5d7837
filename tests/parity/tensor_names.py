"""The public names of torch.Tensor, and which of them a library's Tensor offers."""

from __future__ import annotations

import torch
from libraries import Library

# What scripts use through syntax and built-in functions; those that every object has say nothing.
SPECIAL = tuple(
    name
    for name in dir(torch.Tensor)
    if name.startswith("__") and name.endswith("__") and not hasattr(object, name)
)
PUBLIC = tuple(name for name in dir(torch.Tensor) if not name.startswith("_"))
ATTRIBUTES = tuple(name for name in PUBLIC if not callable(getattr(torch.Tensor, name)))
METHODS = tuple(name for name in PUBLIC if name not in ATTRIBUTES)
GROUPS = {"methods": METHODS, "attributes": ATTRIBUTES, "special methods": SPECIAL}


def offered(library: Library, names: tuple[str, ...]) -> list[str]:
    """Those of the names that the library's Tensor has."""
    return [name for name in names if hasattr(library.module.Tensor, name)]


def not_offered(library: Library, names: tuple[str, ...]) -> list[str]:
    """Those of the names that the library's Tensor lacks."""
    return [name for name in names if not hasattr(library.module.Tensor, name)]
