"""Finds the functions of NumPy, SciPy, PyTorch and JAX that compute what a routine of jitgrad.vmath does."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.accuracy.functions import Array

Evaluate = Callable[..., Array]

# A library's own name of a routine, with its module; all others have NumPy's name.
NAMES = {
    "numpy": {
        "digamma": "scipy.special.psi",
        "erf": "scipy.special.erf",
        "erfc": "scipy.special.erfc",
        "lgamma": "scipy.special.gammaln",
        "sigmoid": "scipy.special.expit",
    },
    "torch": {"power": "torch.pow", "softplus": "torch.nn.functional.softplus"},
    "jax": {
        "digamma": "jax.scipy.special.digamma",
        "erf": "jax.scipy.special.erf",
        "erfc": "jax.scipy.special.erfc",
        "lgamma": "jax.scipy.special.gammaln",
        "sigmoid": "jax.nn.sigmoid",
        "softplus": "jax.nn.softplus",
    },
}
HOMES = {"numpy": "numpy", "torch": "torch", "jax": "jax.numpy"}
LIBRARIES = tuple(HOMES)


def library_function(library: str, routine: str) -> Evaluate | None:
    """Return a library's function on NumPy arrays, or None where it has none or is not installed.

    NumPy's gaps are filled by SciPy.

    >>> import numpy as np
    >>> library_function("numpy", "exp")(np.array([0.0]))
    array([1.])
    >>> library_function("torch", "cbrt") is None
    True
    """
    if library == "numpy" and routine == "softplus":
        return lambda x: np.asarray(np.logaddexp(x, np.zeros_like(x)))
    module, _, name = NAMES[library].get(routine, f"{HOMES[library]}.{routine}").rpartition(".")
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        return None
    function = getattr(importlib.import_module(module), name, None)
    return None if function is None else WRAPPERS[library](function)


def on_numpy(function: Callable[..., Any]) -> Evaluate:
    """Silence NumPy's warnings."""

    def evaluate(*arguments: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(function(*arguments))

    return evaluate


def on_torch(function: Callable[..., Any]) -> Evaluate:
    """Turn arrays into tensors and back."""
    import torch

    return lambda *arguments: np.asarray(function(*map(torch.from_numpy, arguments)).numpy())


def on_jax(function: Callable[..., Any]) -> Evaluate:
    """Turn arrays into JAX's and back, with JAX's 64-bit types enabled."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return lambda *arguments: np.asarray(function(*map(jax.numpy.asarray, arguments)))


WRAPPERS: dict[str, Callable[[Callable[..., Any]], Evaluate]] = {
    "numpy": on_numpy,
    "torch": on_torch,
    "jax": on_jax,
}
