"""Gradients of NumPy functions, compiled with their values into fused kernels.

>>> import numpy as np
>>> import jitgrad
>>> @jitgrad.value_and_grad
... def loss(w, x):
...     return np.sum(np.exp(-x * w))
>>> loss(np.array([0.0, 0.0]), np.array([1.0, 2.0]))
(np.float64(2.0), array([-1., -2.]))
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

# The eager side: loaded with the package.
from jitgrad import autograd as autograd
from jitgrad import nn as nn
from jitgrad.eager.api import *
from jitgrad.errors import JitgradWarning as JitgradWarning
from jitgrad.errors import NotDifferentiable as NotDifferentiable
from jitgrad.errors import TraceError as TraceError
from jitgrad.ir import Graph as Graph
from jitgrad.nn.toplevel import *

# Loaded when first used: the compiled side, and what few programs need.
_LATER = {
    "aval": "jitgrad.jit",
    "compile": "jitgrad.jit",
    "get_num_threads": "jitgrad.machine.threads",
    "grad": "jitgrad.derivatives",
    "hessian": "jitgrad.derivatives",
    "interpret": "jitgrad.jit",
    "jacfwd": "jitgrad.derivatives",
    "jacobian": "jitgrad.derivatives",
    "jacrev": "jitgrad.derivatives",
    "jit": "jitgrad.jit",
    "jvp": "jitgrad.derivatives",
    "load": "jitgrad.eager.functions.serialization",
    "optim": "jitgrad.optim",
    "safetensors": "jitgrad.safetensors",
    "save": "jitgrad.eager.functions.serialization",
    "serialization": "jitgrad.eager.functions.serialization",
    "set_num_threads": "jitgrad.machine.threads",
    "utils": "jitgrad.utils",
    "value_and_grad": "jitgrad.derivatives",
    "viz": "jitgrad.viz",
    "vjp": "jitgrad.derivatives",
    "vmap": "jitgrad.jit",
}

if TYPE_CHECKING:
    from jitgrad import optim as optim
    from jitgrad import safetensors as safetensors
    from jitgrad import utils as utils
    from jitgrad import viz as viz
    from jitgrad.derivatives import grad as grad
    from jitgrad.derivatives import hessian as hessian
    from jitgrad.derivatives import jacfwd as jacfwd
    from jitgrad.derivatives import jacobian as jacobian
    from jitgrad.derivatives import jacrev as jacrev
    from jitgrad.derivatives import jvp as jvp
    from jitgrad.derivatives import value_and_grad as value_and_grad
    from jitgrad.derivatives import vjp as vjp
    from jitgrad.eager.functions import serialization as serialization
    from jitgrad.eager.functions.serialization import load as load
    from jitgrad.eager.functions.serialization import save as save
    from jitgrad.jit import aval as aval
    from jitgrad.jit import compile as compile
    from jitgrad.jit import interpret as interpret
    from jitgrad.jit import jit as jit
    from jitgrad.jit import vmap as vmap
    from jitgrad.machine.threads import get_num_threads as get_num_threads
    from jitgrad.machine.threads import set_num_threads as set_num_threads
else:

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(_LATER[name])
        value = globals()[name] = getattr(module, name, module)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})


class _Package(ModuleType):
    """Keeps `jitgrad.jit` and `jitgrad.trace` functions when a module of that name is loaded."""

    def __setattr__(self, name: str, value: Any) -> None:
        offered = name in _LATER or callable(globals().get(name))
        if not (offered and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

__version__ = "0.1.0"
