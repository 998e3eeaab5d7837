"""Gradients of NumPy functions, compiled with their values into fused kernels.

>>> import numpy as np
>>> import jitgrad
>>> @jitgrad.value_and_grad
... def loss(w, x):
...     return np.sum(np.exp(-x * w))
>>> loss(np.array([0.0, 0.0]), np.array([1.0, 2.0]))
(np.float64(2.0), array([-1., -2.]))
"""

from jitgrad.errors import JitgradWarning as JitgradWarning
from jitgrad.errors import NotDifferentiable as NotDifferentiable
from jitgrad.errors import TraceError as TraceError
from jitgrad.ir import Graph as Graph
from jitgrad.jit import grad as grad
from jitgrad.jit import interpret as interpret
from jitgrad.jit import jit as jit
from jitgrad.jit import value_and_grad as value_and_grad
from jitgrad.jit import vjp as vjp

__version__ = "0.1.0"
