"""The functions that the benchmark differentiates, each written once for every engine.

A workload is a scalar function of a namespace `xp` (jitgrad.numpy, jax.numpy, torch, autograd.numpy behind
one set of names, see peers) and of arrays. `inputs` makes the arrays from a random generator and the numbers
of a size, in float64; `arrays` casts floating ones to the dtype asked for. `wrt` names the arguments to
differentiate.
"""

from __future__ import annotations

import inspect
import itertools
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


@dataclass(frozen=True, slots=True, eq=False)
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


@dataclass(frozen=True, slots=True)
class Case:
    """One workload at one size and dtype."""

    workload: Workload
    size: str
    dtype: str

    @property
    def title(self) -> str:
        """The case in a few words."""
        extents = " x ".join(f"{n:,}" for n in self.workload.sizes[self.size])
        return f"{self.workload.name} {self.size} ({extents}, {self.dtype})"


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


def classified(rng: np.random.Generator, n: int, *widths: int) -> tuple[Any, ...]:
    """Draw samples, their labels, and a weight and a bias for each layer of a network."""
    samples, labels = rng.standard_normal((n, widths[0])), rng.integers(0, widths[-1], (n, 1))
    layers = [
        part
        for inner, outer in itertools.pairwise(widths)
        for part in (
            rng.standard_normal((inner, outer)) * math.sqrt(2 / inner),
            0.1 * rng.standard_normal(outer),
        )
    ]
    return samples, labels, *layers


@workload(
    classified,
    "w1 b1 w2 b2 w3 b3",
    S=(16, 32, 32, 16, 4),
    M=(128, 784, 256, 128, 10),
    L=(1024, 784, 512, 256, 10),
)
def mlp(xp: Any, x: Any, labels: Any, w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, b3: Any) -> Any:
    """The cross-entropy of a classifier of three layers, in all its parameters."""
    hidden = xp.maximum(xp.maximum(x @ w1 + b1, 0.0) @ w2 + b2, 0.0)
    return cross_entropy(xp, hidden @ w3 + b3, labels)


def particles(rng: np.random.Generator, n: int) -> tuple[Array, ...]:
    """Draw n points around a cubic lattice."""
    side = math.ceil(n ** (1 / 3))
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)[:n]
    return (1.1 * lattice + 0.05 * rng.standard_normal((n, 3)),)


@workload(particles, "x", S=32, M=512, L=2048)
def lennard_jones(xp: Any, x: Any) -> Any:
    """The Lennard-Jones energy of all pairs, and the forces: n x n x 3 differences."""
    d = x[:, None, :] - x[None, :, :]
    s6 = 1.0 / (xp.sum(d * d, axis=-1) + xp.eye(x.shape[0], dtype=x.dtype)) ** 3
    return 2.0 * xp.sum(s6 * s6 - s6)


def mixture(rng: np.random.Generator, n: int, d: int, k: int) -> tuple[Array, ...]:
    """Draw points, weights, means and inverse covariance factors, with where each entry of a factor is."""
    below = np.zeros((d, d), np.int64)
    rows, columns = np.tril_indices(d, -1)
    below[rows, columns] = 1 + np.arange(len(rows))
    factors = 0.1 * rng.standard_normal((k, d + len(rows)))
    return rng.standard_normal((n, d)), below, rng.standard_normal(k), rng.standard_normal((k, d)), factors


@workload(mixture, "alphas means factors", S=(100, 2, 5), M=(1_000, 10, 25), L=(10_000, 32, 25))
def gaussian_mixture(xp: Any, x: Any, below: Any, alphas: Any, means: Any, factors: Any) -> Any:
    """The log-likelihood of a Gaussian mixture with a Wishart prior, as in ADBench (Srajer et al., 2018)."""
    n, d = x.shape
    logs, scale = factors[:, :d], xp.exp(factors[:, :d])
    entries = xp.concatenate([0.0 * factors[:, :1], factors[:, d:]], axis=1)
    lower = entries[:, below]
    centred = x[None, :, :] - means[:, None, :]
    shaped = centred * scale[:, None, :] + centred @ xp.swapaxes(lower, 1, 2)
    inner = (alphas + xp.sum(logs, axis=1))[:, None] - 0.5 * xp.sum(shaped * shaped, axis=2)
    likelihood = xp.sum(xp.logsumexp(inner, axis=0)) - n * xp.logsumexp(alphas, axis=0)
    prior = 0.5 * (xp.sum(scale * scale) + xp.sum(factors[:, d:] ** 2))
    return likelihood + prior - 0.5 * n * d * math.log(2 * math.pi)


def sequence(rng: np.random.Generator, n: int, inner: int, hidden: int) -> tuple[Array, ...]:
    """Draw 16 batches of inputs, and the weights and bias of four gates."""
    return (
        rng.standard_normal((16, n, inner)),
        rng.standard_normal((inner, 4 * hidden)) / math.sqrt(inner),
        rng.standard_normal((hidden, 4 * hidden)) / math.sqrt(hidden),
        0.1 * rng.standard_normal(4 * hidden),
    )


@workload(sequence, "w u b", S=(4, 8, 16), M=(64, 128, 128), L=(128, 256, 512))
def lstm(xp: Any, x: Any, w: Any, u: Any, b: Any) -> Any:
    """The mean square of the last state of a long short-term memory, unrolled 16 steps."""
    size = u.shape[0]
    h = c = 0.0 * x[0, :, :1] + xp.zeros(size, dtype=x.dtype)
    for step in range(x.shape[0]):
        gates = x[step] @ w + h @ u + b
        i, f, o = (xp.sigmoid(gates[:, k * size : (k + 1) * size]) for k in range(3))
        c = f * c + i * xp.tanh(gates[:, 3 * size :])
        h = o * xp.tanh(c)
    return xp.mean(h * h)


def grids(rng: np.random.Generator, n: int) -> tuple[Array, ...]:
    """Draw two fields on a square grid."""
    return tuple(rng.standard_normal((2, n, n)))


@workload(grids, "u", S=32, M=512, L=1024)
def heat(xp: Any, u: Any, target: Any) -> Any:
    """The misfit of a field after 20 steps of the heat equation, with zeros around it."""
    for _ in range(20):
        p = xp.pad(u, 1)
        u = u + 0.2 * (p[2:, 1:-1] + p[:-2, 1:-1] + p[1:-1, 2:] + p[1:-1, :-2] - 4.0 * u)
    return xp.mean((u - target) ** 2)


def heads(rng: np.random.Generator, count: int, n: int, d: int) -> tuple[Array, ...]:
    """Draw queries, keys and values for several heads."""
    return tuple(rng.standard_normal((3, count, n, d)))


@workload(heads, "q k v", S=(2, 32, 16), M=(8, 256, 64), L=(8, 1024, 64))
def attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
    """The mean square of scaled dot-product attention."""
    scores = q @ xp.swapaxes(k, 1, 2) / math.sqrt(q.shape[2])
    powers = xp.exp(scores - xp.max(scores, axis=2, keepdims=True))
    out = (powers / xp.sum(powers, axis=2, keepdims=True)) @ v
    return xp.mean(out * out)


def columns(rng: np.random.Generator, n: int, k: int) -> tuple[Array, ...]:
    """Draw samples, and a weight and a shift for each of their columns."""
    return 2.0 + rng.standard_normal((n, k)), rng.standard_normal(k), rng.standard_normal(k)


@workload(columns, "x scale shift", S=(128, 16), M=(4_096, 256), L=(65_536, 256))
def batch_norm(xp: Any, x: Any, scale: Any, shift: Any) -> Any:
    """Columns brought to mean 0 and variance 1: reductions along axis 0, broadcast back."""
    centred = x - xp.mean(x, axis=0)
    y = centred / xp.sqrt(xp.mean(centred * centred, axis=0) + 1e-5) * scale + shift
    return xp.mean(xp.tanh(y))


def images(rng: np.random.Generator, n: int, size: int) -> tuple[Array, ...]:
    """Draw square images and a 3 x 3 kernel."""
    return rng.standard_normal((n, size, size)), rng.standard_normal((3, 3))


@workload(images, "x kernel", S=(1, 32), M=(16, 128), L=(64, 256))
def convolution(xp: Any, x: Any, kernel: Any) -> Any:
    """The mean square of images under a 3 x 3 kernel, summed from nine slices, where positive."""
    n = x.shape[1] - 2
    y = sum(kernel[i, j] * x[:, i : i + n, j : j + n] for i in range(3) for j in range(3))
    return xp.mean(xp.maximum(y, 0.0) ** 2)


@workload(vectors(2), "x y", S=10_000, M=1_000_000, L=8_000_000)
def clipped(xp: Any, x: Any, y: Any) -> Any:
    """Eight rounds of clips, choices and rectifiers."""
    for _ in range(8):
        x = xp.clip(x + 0.5 * y, -2.0, 2.0)
        y = xp.where(x > y, xp.maximum(y, 0.1 * y), x * y)
    return xp.sum(x * y)


@workload(vectors(2), "x y", M=8)
def tiny(xp: Any, x: Any, y: Any) -> Any:
    """Three operations on eight numbers: what a call costs."""
    return xp.sum(xp.sin(x) * y)


def cases(workloads: Sequence[str], sizes: Sequence[str], dtypes: Sequence[str]) -> list[Case]:
    """List the cases of workloads that have the sizes."""
    return [
        Case(WORKLOADS[name], size, dtype)
        for name in workloads
        for size in sizes
        if size in WORKLOADS[name].sizes
        for dtype in dtypes
    ]


def argument_bytes(arrays: Sequence[Array], argnums: Sequence[int]) -> int:
    """Count the bytes that a perfect engine moves: each input read once, each gradient written once."""
    return sum(a.nbytes for a in arrays) + sum(arrays[i].nbytes for i in argnums)
