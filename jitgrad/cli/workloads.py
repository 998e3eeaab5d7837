"""The functions that the benchmark differentiates, each written once for every engine.

A workload is a scalar function of a namespace `xp` (jitgrad.numpy, jax.numpy, torch, autograd.numpy behind
one set of names, see peers) and of arrays. `inputs` makes the arrays from a random generator and the numbers
of a size, in float64; `arrays` casts floating ones to the dtype asked for. `wrt` names the arguments to
differentiate.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Inputs = Callable[..., tuple[Any, ...]]

SIZES = ("S", "M", "L")
DTYPES = ("float32", "float64")


@dataclass(frozen=True, slots=True)
class Workload:
    """A scalar function of arrays, with inputs of several sizes."""

    name: str
    loss: Callable[..., Any]
    argnums: tuple[int, ...]
    inputs: Inputs
    sizes: dict[str, tuple[int, ...]]

    def arrays(self, size: str, dtype: str, seed: int = 0) -> list[Array]:
        """Make the arguments of `loss` after the namespace, the same for the same size, dtype and seed."""
        values = map(np.asarray, self.inputs(np.random.default_rng(seed), *self.sizes[size]))
        return [v.astype(dtype) if v.dtype.kind == "f" else v for v in values]


WORKLOADS: dict[str, Workload] = {}


def workload(inputs: Inputs, wrt: str, **sizes: int | tuple[int, ...]) -> Callable[..., Callable[..., Any]]:
    """Enter the decorated loss in WORKLOADS, under its name."""

    def enter(loss: Callable[..., Any]) -> Callable[..., Any]:
        names = list(inspect.signature(loss).parameters)[1:]
        argnums = tuple(names.index(name) for name in wrt.split())
        each = {size: n if isinstance(n, tuple) else (n,) for size, n in sizes.items()}
        name = loss.__name__.replace("_", "-")
        WORKLOADS[name] = Workload(name, loss, argnums, inputs, each)
        return loss

    return enter


def vectors(count: int) -> Inputs:
    """Return inputs that draw as many normal vectors."""
    return lambda rng, n: tuple(rng.standard_normal((count, n)))


def weighted(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    """Draw points and weights, with a centre and an inverse width."""
    return rng.standard_normal(n), rng.standard_normal(n), 0.3, 1.7


@workload(weighted, "x w", S=100_000, M=4_000_000, L=16_000_000)
def gaussian(xp: Any, x: Any, w: Any, m: Any, s: Any) -> Any:
    """A weighted sum of Gaussian kernels: two arrays read, two written."""
    return xp.sum(xp.exp(-0.5 * ((x - m) * s) ** 2) * w)


def options(rng: np.random.Generator, n: int) -> tuple[Array, ...]:
    """Draw spot, strike, time to expiry, rate and volatility."""
    bounds = ((80.0, 120.0), (80.0, 120.0), (0.2, 2.0), (0.01, 0.05), (0.1, 0.4))
    return tuple(rng.uniform(low, high, n) for low, high in bounds)


@workload(options, "spot strike time rate vol", S=10_000, M=1_000_000, L=4_000_000)
def black_scholes(xp: Any, spot: Any, strike: Any, time: Any, rate: Any, vol: Any) -> Any:
    """The summed price of European calls, and their Greeks."""
    spread = vol * xp.sqrt(time)
    d1 = (xp.log(spot / strike) + (rate + 0.5 * vol * vol) * time) / spread
    return xp.sum(spot * cdf(xp, d1) - strike * xp.exp(-rate * time) * cdf(xp, d1 - spread))


def cdf(xp: Any, x: Any) -> Any:
    """Return the normal distribution function."""
    return 0.5 * (1.0 + xp.erf(x * math.sqrt(0.5)))


def labelled(rng: np.random.Generator, n: int, k: int) -> tuple[Any, ...]:
    """Draw points, labels of -1 and 1, and the weights and bias of a linear model."""
    x = rng.standard_normal((n, k))
    return x, np.where(x @ rng.standard_normal(k) > 0, 1.0, -1.0), 0.1 * rng.standard_normal(k), 0.1


@workload(labelled, "w b", S=(1_000, 20), M=(10_000, 100), L=(100_000, 200))
def logistic_regression(xp: Any, x: Any, y: Any, w: Any, b: Any) -> Any:
    """The mean negative log-likelihood of a binary classifier."""
    return xp.mean(xp.softplus(-y * (x @ w + b)))


def scores(rng: np.random.Generator, n: int, k: int) -> tuple[Array, ...]:
    """Draw a row of scores and a label for each of n samples."""
    return rng.standard_normal((n, k)), rng.integers(0, k, (n, 1))


@workload(scores, "logits", S=(128, 10), M=(4096, 1000), L=(16384, 1000))
def cross_entropy(xp: Any, logits: Any, labels: Any) -> Any:
    """The mean softmax cross-entropy with integer labels."""
    return xp.mean(xp.logsumexp(logits, axis=1)) - xp.mean(xp.take_along_axis(logits, labels, axis=1))


def rows(rng: np.random.Generator, n: int, k: int) -> tuple[Array, ...]:
    """Draw rows to normalise, and a scale and a shift for their columns."""
    return rng.standard_normal((n, k)), 1.0 + 0.1 * rng.standard_normal(k), rng.standard_normal(k)


@workload(rows, "x scale shift", S=(64, 256), M=(1024, 768), L=(8192, 1024))
def layernorm_gelu(xp: Any, x: Any, scale: Any, shift: Any) -> Any:
    """A layer norm over the last axis and an exact GELU, as in a transformer block."""
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    variance = xp.mean(centred * centred, axis=-1, keepdims=True)
    y = centred / xp.sqrt(variance + 1e-5) * scale + shift
    gelu = y * cdf(xp, y)
    return 0.5 * xp.mean(gelu * gelu)


@workload(vectors(1), "x", S=1_000, M=1_000_000, L=8_000_000)
def rosenbrock(xp: Any, x: Any) -> Any:
    """The chained Rosenbrock function: overlapping slices of one vector."""
    return xp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


@workload(vectors(2), "x y", S=10_000, M=1_000_000, L=8_000_000)
def chain(xp: Any, x: Any, y: Any) -> Any:
    """Thirty elementwise operations in a row, six rounds of five."""
    for _ in range(6):
        t = xp.tanh(x) * y
        x = xp.exp(-(t * t))
    return xp.sum(x)


@workload(vectors(2), "x y", M=8)
def tiny(xp: Any, x: Any, y: Any) -> Any:
    """Three operations on eight numbers: what a call costs."""
    return xp.sum(xp.sin(x) * y)


def argument_bytes(arrays: Sequence[Array], argnums: Sequence[int]) -> int:
    """Count the bytes that a perfect engine moves: each input read once, each gradient written once."""
    return sum(a.nbytes for a in arrays) + sum(arrays[i].nbytes for i in argnums)
