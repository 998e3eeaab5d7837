"""Gradients of losses over the rows of a matrix, each row in the first cache while it is needed."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from bench.hand_written.compiled import loop, shared
from bench.hand_written.elementary import elementary, maximum
from jitgrad.cli.peers import Call
from jitgrad.cli.workloads import Array
from jitgrad.machine import threads

GROUP = 64  # rows whose sums are added up before they join the total


def logistic_regression(x: Array, y: Array, w: Array, b: Array) -> Call:
    """The matrix is read once: a group of rows meets the weights, then its slopes."""
    real, (n, k) = x.dtype.type, x.shape
    kernel = logistic_kernel(real)
    partial, gradient = np.empty((threads.get_num_threads(), k + 1), real), np.empty_like(w)

    def call() -> Any:
        run = lambda part, lo, hi: kernel(lo, hi, x, y, w, b[()], partial[part])
        values = shared(run, n, n * k)
        sums = partial[: len(values)].sum(axis=0)
        np.multiply(sums[:k], real(1 / n), out=gradient)
        return real(sum(values) / n), (gradient, sums[k] * real(1 / n))

    return call


@cache
def logistic_kernel(real: Any) -> Any:
    """Compile the loops for a dtype."""
    sigmoid, softplus = elementary(real).sigmoid, elementary(real).softplus

    @loop
    def products(start: Any, stop: Any, x: Any, w: Any, z: Any) -> None:
        for i in range(start, stop, 4):
            s0, s1, s2, s3 = real(0), real(0), real(0), real(0)
            for j in range(x.shape[1]):
                s0 += x[i, j] * w[j]
                s1 += x[i + 1, j] * w[j]
                s2 += x[i + 2, j] * w[j]
                s3 += x[i + 3, j] * w[j]
            z[i - start], z[i - start + 1], z[i - start + 2], z[i - start + 3] = s0, s1, s2, s3

    @loop
    def accumulate(start: Any, stop: Any, x: Any, g: Any, gw: Any) -> None:
        for i in range(start, stop, 4):
            g0, g1, g2, g3 = g[i - start], g[i - start + 1], g[i - start + 2], g[i - start + 3]
            for j in range(x.shape[1]):
                gw[j] += g0 * x[i, j] + g1 * x[i + 1, j] + g2 * x[i + 2, j] + g3 * x[i + 3, j]

    @loop
    def kernel(lo: Any, hi: Any, x: Any, y: Any, w: Any, b: Any, out: Any) -> float:
        total, k = 0.0, x.shape[1]
        out[:] = real(0)
        z = np.empty(GROUP, x.dtype)
        for start in range(lo, hi, GROUP):
            stop = min(start + GROUP, hi)
            fours = start + (stop - start) // 4 * 4
            products(start, fours, x, w, z)
            for i in range(fours, stop):
                s = real(0)
                for j in range(k):
                    s += x[i, j] * w[j]
                z[i - start] = s
            loss, slope = real(0), real(0)
            for i in range(stop - start):
                margin = -y[start + i] * (z[i] + b)
                loss += softplus(margin)
                z[i] = -y[start + i] * sigmoid(margin)
                slope += z[i]
            total += loss
            out[k] += slope
            accumulate(start, fours, x, z, out)
            for i in range(fours, stop):
                for j in range(k):
                    out[j] += z[i - start] * x[i, j]
        return total

    return kernel


def cross_entropy(logits: Array, labels: Array) -> Call:
    """The exponentials lie in the gradient until their sum is known."""
    gradient, real, n = np.empty_like(logits), logits.dtype.type, len(logits)
    kernel = cross_entropy_kernel(real)
    run = lambda part, lo, hi: kernel(lo, hi, logits, labels, gradient)
    return lambda: (real(sum(shared(run, n, logits.size)) / n), (gradient,))


@cache
def cross_entropy_kernel(real: Any) -> Any:
    """Compile the loop over rows for a dtype."""
    exp, one = elementary(real).exp, real(1)

    @loop
    def kernel(lo: Any, hi: Any, logits: Any, labels: Any, g: Any) -> float:
        total, (n, k) = 0.0, logits.shape
        for i in range(lo, hi):
            largest = logits[i, 0]
            for j in range(k):
                largest = maximum(largest, logits[i, j])
            s = real(0)
            for j in range(k):
                e = exp(logits[i, j] - largest)
                g[i, j] = e
                s += e
            scale = one / (s * real(n))
            for j in range(k):
                g[i, j] *= scale
            label = labels[i, 0]
            g[i, label] -= one / real(n)
            total += math.log(s) + largest - logits[i, label]
        return total

    return kernel


def layernorm_gelu(x: Array, scale: Array, shift: Array) -> Call:
    """Each row is read from memory once and its gradient written once."""
    real, (n, k) = x.dtype.type, x.shape
    kernel, gradient = layernorm_kernel(real), np.empty_like(x)
    partial, small = np.empty((threads.get_num_threads(), 2, k), real), np.empty((2, k), real)

    def call() -> Any:
        run = lambda part, lo, hi: kernel(lo, hi, x, scale, shift, gradient, *partial[part])
        values = shared(run, n, x.size)
        np.sum(partial[: len(values)], axis=0, out=small)
        return real(0.5 * sum(values) / x.size), (gradient, *small)

    return call


@cache
def layernorm_kernel(real: Any) -> Any:
    """Compile the loop over rows for a dtype."""
    cdf_and_pdf, one, epsilon = elementary(real).cdf_and_pdf, real(1), real(1e-5)

    @loop
    def normalise(x: Any, y: Any) -> Any:
        """Write the row with mean 0 and variance 1, and return the scale."""
        k = x.size
        s = real(0)
        for j in range(k):
            s += x[j]
        mean, s = s / real(k), real(0)
        for j in range(k):
            s += (x[j] - mean) * (x[j] - mean)
        inverse = one / math.sqrt(s / real(k) + epsilon)
        for j in range(k):
            y[j] = (x[j] - mean) * inverse
        return inverse

    @loop
    def kernel(lo: Any, hi: Any, x: Any, scale: Any, shift: Any, gx: Any, gscale: Any, gshift: Any) -> float:
        total, (n, k) = 0.0, x.shape
        share = one / real(n * k)
        gscale[:] = real(0)
        gshift[:] = real(0)
        h = np.empty(k, x.dtype)
        for i in range(lo, hi):
            inverse = normalise(x[i], h)
            g = gx[i]
            squares, s, t = real(0), real(0), real(0)
            for j in range(k):
                y = h[j] * scale[j] + shift[j]
                cdf, pdf = cdf_and_pdf(y)
                gelu = y * cdf
                gy = gelu * share * (cdf + y * pdf)
                gscale[j] += gy * h[j]
                gshift[j] += gy
                g[j] = gy * scale[j]
                squares += gelu * gelu
                s += g[j]
                t += g[j] * h[j]
            s /= real(k)
            t /= real(k)
            for j in range(k):
                g[j] = inverse * (g[j] - s - h[j] * t)
            total += squares
        return total

    return kernel


def batch_norm(x: Array, scale: Array, shift: Array) -> Call:
    """Three passes over the matrix: moments, the loss with its slopes' moments, the gradient."""
    real, (n, k) = x.dtype.type, x.shape
    moments, slopes, write = batch_norm_kernels(real)
    gradient, partial = np.empty_like(x), np.empty((threads.get_num_threads(), 2, k))
    origin = x[0].copy()

    def sums(kernel: Any, *arguments: Any) -> tuple[list[Any], Array]:
        run = lambda part, lo, hi: kernel(lo, hi, *arguments, *partial[part])
        values = shared(run, n, x.size)
        return values, partial[: len(values)].sum(axis=0)

    def call() -> Any:
        _, (first, second) = sums(moments, x, origin)
        mean = first / n
        inverse = 1.0 / np.sqrt(second / n - mean * mean + 1e-5)
        columns = (origin + mean).astype(real), inverse.astype(real)
        values, (gshift, gscale) = sums(slopes, x, *columns, scale, shift, gradient)
        factors = scale * columns[1], gshift.astype(real) / real(n), gscale.astype(real) / real(n)
        shared(lambda part, lo, hi: write(lo, hi, x, *columns, *factors, gradient), n, x.size)
        return real(sum(values) / x.size), (gradient, gscale.astype(real), gshift.astype(real))

    return call


@cache
def batch_norm_kernels(real: Any) -> tuple[Any, Any, Any]:
    """Compile the three passes for a dtype."""
    tanh, one = elementary(real).tanh, real(1)

    @loop
    def add(part: Any, total: Any) -> None:
        for j in range(part.size):
            total[j] += part[j]
            part[j] = real(0)

    @loop
    def moments(lo: Any, hi: Any, x: Any, origin: Any, first: Any, second: Any) -> None:
        k = x.shape[1]
        first[:] = 0.0
        second[:] = 0.0
        s, t = np.zeros(k, x.dtype), np.zeros(k, x.dtype)
        for start in range(lo, hi, GROUP):
            for i in range(start, min(start + GROUP, hi)):
                for j in range(k):
                    centred = x[i, j] - origin[j]
                    s[j] += centred
                    t[j] += centred * centred
            add(s, first)
            add(t, second)

    @loop
    def slopes(
        lo: Any,
        hi: Any,
        x: Any,
        mean: Any,
        inverse: Any,
        scale: Any,
        shift: Any,
        g: Any,
        first: Any,
        second: Any,
    ) -> float:
        total, (n, k) = 0.0, x.shape
        share = one / real(n * k)
        first[:] = 0.0
        second[:] = 0.0
        s, t = np.zeros(k, x.dtype), np.zeros(k, x.dtype)
        for start in range(lo, hi, GROUP):
            for i in range(start, min(start + GROUP, hi)):
                value = real(0)
                for j in range(k):
                    h = (x[i, j] - mean[j]) * inverse[j]
                    y = tanh(h * scale[j] + shift[j])
                    slope = (one - y * y) * share
                    g[i, j] = slope
                    value += y
                    s[j] += slope
                    t[j] += slope * h
                total += value
            add(s, first)
            add(t, second)
        return total

    @loop
    def write(
        lo: Any, hi: Any, x: Any, mean: Any, inverse: Any, factor: Any, first: Any, second: Any, g: Any
    ) -> None:
        for i in range(lo, hi):
            for j in range(x.shape[1]):
                h = (x[i, j] - mean[j]) * inverse[j]
                g[i, j] = factor[j] * (g[i, j] - first[j] - h * second[j])

    return moments, slopes, write
