"""Gradients of sums of pointwise terms, each element visited once."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from bench.hand_written.compiled import inlined, loop, shared
from bench.hand_written.elementary import elementary, maximum, minimum, select
from jitgrad.cli.peers import Call
from jitgrad.cli.workloads import Array


def summed(kernel: Any, inputs: tuple[Array, ...], wrt: tuple[Array, ...], *numbers: Any) -> Call:
    """Return a call of kernel(*inputs, *gradients, *numbers) on parts, which returns a part of the sum."""
    gradients, size = tuple(map(np.empty_like, wrt)), wrt[0].size

    def run(part: int, lo: int, hi: int) -> Any:
        return kernel(*(a[lo:hi] for a in inputs), *(g[lo:hi] for g in gradients), *numbers)

    return lambda: (wrt[0].dtype.type(sum(shared(run, size, size))), gradients)


def gaussian(x: Array, w: Array, m: Array, s: Array) -> Call:
    """Two arrays in, two out, one exponential."""
    return summed(gaussian_kernel(x.dtype.type), (x, w), (x, w), m[()], s[()])


@cache
def gaussian_kernel(real: Any) -> Any:
    """Compile the loop for a dtype."""
    exp, half = elementary(real).exp, real(0.5)

    @loop
    def kernel(x: Any, w: Any, gx: Any, gw: Any, m: Any, s: Any) -> float:
        total = real(0)
        for i in range(x.size):
            z = (x[i] - m) * s
            e = exp(-half * z * z)
            gw[i] = e
            gx[i] = -(z * s) * (e * w[i])
            total += e * w[i]
        return total

    return kernel


def black_scholes(*options: Array) -> Call:
    """Five arrays in, five out: a logarithm, three exponentials, a root."""
    return summed(black_scholes_kernel(options[0].dtype.type), options, options)


@cache
def black_scholes_kernel(real: Any) -> Any:
    """Compile the loop for a dtype."""
    math_ = elementary(real)
    exp, log, cdf_and_pdf, half = math_.exp, math_.log, math_.cdf_and_pdf, real(0.5)

    @inlined
    def option(s: Any, k: Any, t: Any, r: Any, v: Any) -> Any:
        root = math.sqrt(t)
        spread = v * root
        d1 = (log(s / k) + (r + half * v * v) * t) / spread
        p1, density = cdf_and_pdf(d1)
        p2, _ = cdf_and_pdf(d1 - spread)
        discounted, slope = exp(-r * t) * p2, s * density * root
        owed = k * discounted
        return s * p1 - owed, p1, -discounted, slope * v * half / t + r * owed, t * owed, slope

    @loop
    def kernel(s: Any, k: Any, t: Any, r: Any, v: Any, gs: Any, gk: Any, gt: Any, gr: Any, gv: Any) -> float:
        total = real(0)
        for i in range(s.size):
            price, gs[i], gk[i], gt[i], gr[i], gv[i] = option(s[i], k[i], t[i], r[i], v[i])
            total += price
        return total

    return kernel


def rosenbrock(x: Array) -> Call:
    """One array in, one out: each difference is computed twice, for either neighbour."""
    real, gradient, inner = x.dtype.type, np.empty_like(x), x.size - 2
    kernel = rosenbrock_kernel(real)

    def call() -> Any:
        run = lambda part, lo, hi: kernel(x[lo : hi + 2], gradient[lo + 1 : hi + 1])
        t, u = x[1] - x[0] ** 2, 1 - x[0]
        gradient[0] = -400 * t * x[0] - 2 * u
        gradient[-1] = 200 * (x[-1] - x[-2] ** 2)
        return real(sum(shared(run, inner, inner)) + 100 * t * t + u * u), (gradient,)

    return call


@cache
def rosenbrock_kernel(real: Any) -> Any:
    """Compile the loop over the elements with two neighbours for a dtype."""
    one, two, hundred, two_hundred, four_hundred = map(real, (1, 2, 100, 200, 400))

    @loop
    def kernel(x: Any, g: Any) -> float:
        total = real(0)
        for i in range(g.size):
            here = x[i + 1]
            before, t, u = here - x[i] * x[i], x[i + 2] - here * here, one - here
            g[i] = two_hundred * before - four_hundred * t * here - two * u
            total += hundred * t * t + u * u
        return total

    return kernel


def chain(x: Array, y: Array) -> Call:
    """Two arrays in, two out: twelve exponentials, all between them in registers."""
    return summed(chain_kernel(x.dtype.type), (x, y), (x, y))


@cache
def chain_kernel(real: Any) -> Any:
    """Compile the loop for a dtype."""
    exp, tanh, one, two = elementary(real).exp, elementary(real).tanh, real(1), real(2)

    @inlined
    def forward(x: Any, y: Any) -> Any:
        h = tanh(x)
        t = h * y
        return h, exp(-(t * t))

    @inlined
    def backward(g: Any, gy: Any, y: Any, h: Any, e: Any) -> Any:
        gt = -two * (h * y) * e * g
        return gt * y * (one - h * h), gy + gt * h

    @inlined
    def element(x: Any, y: Any) -> Any:
        h1, e1 = forward(x, y)
        h2, e2 = forward(e1, y)
        h3, e3 = forward(e2, y)
        h4, e4 = forward(e3, y)
        h5, e5 = forward(e4, y)
        h6, e6 = forward(e5, y)
        g, gy = backward(one, real(0), y, h6, e6)
        g, gy = backward(g, gy, y, h5, e5)
        g, gy = backward(g, gy, y, h4, e4)
        g, gy = backward(g, gy, y, h3, e3)
        g, gy = backward(g, gy, y, h2, e2)
        g, gy = backward(g, gy, y, h1, e1)
        return e6, g, gy

    return pair_kernel(element, real)


def pair_kernel(element: Any, real: Any) -> Any:
    """Compile the loop over pairs for a function that returns a term and its two derivatives."""

    @loop
    def kernel(x: Any, y: Any, gx: Any, gy: Any) -> float:
        total = real(0)
        for i in range(x.size):
            term, gx[i], gy[i] = element(x[i], y[i])
            total += term
        return total

    return kernel


def clipped(x: Array, y: Array) -> Call:
    """Two arrays in, two out, all between them in registers."""
    return summed(clipped_kernel(x.dtype.type), (x, y), (x, y))


@cache
def clipped_kernel(real: Any) -> Any:
    """Compile the loop for a dtype."""
    zero, tenth, half, one, two = map(real, (0, 0.1, 0.5, 1, 2))

    @inlined
    def forward(x: Any, y: Any) -> Any:
        a = x + half * y
        x = minimum(maximum(a, -two), two)
        return a, x, select(x > y, maximum(y, tenth * y), x * y)

    @inlined
    def backward(a: Any, y: Any, g: Any, gy: Any) -> Any:
        x = minimum(maximum(a, -two), two)
        g += select(x > y, zero, gy * y)
        gy *= select(x > y, select(y > zero, one, tenth), x)
        g = select(abs(a) <= two, g, zero)
        return g, gy + half * g

    @inlined
    def element(x: Any, y0: Any) -> Any:
        a1, x, y1 = forward(x, y0)
        a2, x, y2 = forward(x, y1)
        a3, x, y3 = forward(x, y2)
        a4, x, y4 = forward(x, y3)
        a5, x, y5 = forward(x, y4)
        a6, x, y6 = forward(x, y5)
        a7, x, y7 = forward(x, y6)
        a8, x, y8 = forward(x, y7)
        g, gy = backward(a8, y7, y8, x)
        g, gy = backward(a7, y6, g, gy)
        g, gy = backward(a6, y5, g, gy)
        g, gy = backward(a5, y4, g, gy)
        g, gy = backward(a4, y3, g, gy)
        g, gy = backward(a3, y2, g, gy)
        g, gy = backward(a2, y1, g, gy)
        g, gy = backward(a1, y0, g, gy)
        return x * y8, g, gy

    return pair_kernel(element, real)


def tiny(x: Array, y: Array) -> Call:
    """A call, and a sine and cosine for each element."""

    @loop
    def kernel(x: Any, y: Any, gx: Any, gy: Any) -> Any:
        total = x[0] - x[0]
        for i in range(x.size):
            gy[i] = math.sin(x[i])
            gx[i] = math.cos(x[i]) * y[i]
            total += gy[i] * y[i]
        return total

    gradients, real = (np.empty_like(x), np.empty_like(y)), x.dtype.type
    return lambda: (real(kernel(x, y, *gradients)), gradients)
