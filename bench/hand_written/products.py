"""Gradients of losses around matrix products, which are NumPy's; what lies between them is fused."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from bench.hand_written.compiled import loop, shared
from bench.hand_written.elementary import elementary, maximum, select
from bench.hand_written.rows import cross_entropy
from jitgrad.cli.peers import Call
from jitgrad.cli.workloads import Array
from jitgrad.machine import threads

BLOCK = 1024  # samples of a mixture that are handled together


def mlp(x: Array, labels: Array, *parameters: Array) -> Call:
    """A product for each layer on the way in, two on the way back."""
    real, n = x.dtype.type, len(x)
    weights, biases = parameters[::2], parameters[1::2]
    rectify, mask = layer_kernels(real)
    gradients = tuple(map(np.empty_like, parameters))
    values = [x, *(np.empty((n, len(b)), real) for b in biases)]
    slopes = [np.empty_like(v) for v in values[:-1]]
    loss = cross_entropy(values[-1], labels)

    def call() -> Any:
        for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
            out, floor = np.matmul(values[layer], w, out=values[layer + 1]), 0.0 if layer < 2 else -math.inf
            shared(
                lambda _, lo, hi, out=out, b=b, floor=floor: rectify(lo, hi, out, b, real(floor)), n, out.size
            )
        value, (g,) = loss()
        for layer in reversed(range(len(weights))):
            np.matmul(values[layer].T, g, out=gradients[2 * layer])
            np.sum(g, axis=0, out=gradients[2 * layer + 1])
            if layer:
                g, h = np.matmul(g, weights[layer].T, out=slopes[layer]), values[layer]
                shared(lambda _, lo, hi, g=g, h=h: mask(lo, hi, g, h), n, g.size)
        return value, gradients

    return call


@cache
def layer_kernels(real: Any) -> tuple[Any, Any]:
    """Compile the bias with its rectifier, and the rectifier's slope, for a dtype."""
    zero = real(0)

    @loop
    def rectify(lo: Any, hi: Any, x: Any, b: Any, floor: Any) -> None:
        for i in range(lo, hi):
            for j in range(x.shape[1]):
                x[i, j] = maximum(x[i, j] + b[j], floor)

    @loop
    def mask(lo: Any, hi: Any, g: Any, h: Any) -> None:
        for i in range(lo, hi):
            for j in range(g.shape[1]):
                g[i, j] = select(h[i, j] > zero, g[i, j], zero)

    return rectify, mask


def lstm(x: Array, w: Array, u: Array, b: Array) -> Call:
    """One product for all inputs, one each step, and on the way back two more for all steps."""
    real, (steps, n, inner), size = x.dtype.type, x.shape, len(u)
    forward, backward = gate_kernels(real)
    gates = np.empty((steps, n, 4 * size), real)
    cells, hidden = np.zeros((2, steps + 1, n, size), real)
    product, gh, gc = np.empty((n, 4 * size), real), np.empty((n, size), real), np.empty((n, size), real)
    gw, gu, gb = np.empty_like(w), np.empty_like(u), np.empty_like(b)
    flat = gates.reshape(-1, 4 * size)

    def call() -> Any:
        np.matmul(x.reshape(-1, inner), w, out=flat)
        product[:] = 0.0
        for t in range(steps):
            if t:
                np.matmul(hidden[t], u, out=product)
            parts = product, b, gates[t], cells[t], cells[t + 1], hidden[t + 1]
            shared(lambda _, lo, hi, parts=parts: forward(lo, hi, *parts), n, 4 * n * size)
        last = hidden[steps]
        np.multiply(last, real(2 / last.size), out=gh)
        gc[:] = 0.0
        for t in reversed(range(steps)):
            parts = gates[t], cells[t], cells[t + 1], gh, gc
            shared(lambda _, lo, hi, parts=parts: backward(lo, hi, *parts), n, 4 * n * size)
            if t:
                np.matmul(gates[t], u.T, out=gh)
        np.matmul(x.reshape(-1, inner).T, flat, out=gw)
        np.matmul(hidden[1:steps].reshape(-1, size).T, flat[n:], out=gu)
        np.sum(flat, axis=0, out=gb)
        return np.mean(last * last), (gw, gu, gb)

    return call


@cache
def gate_kernels(real: Any) -> tuple[Any, Any]:
    """Compile a step forwards, and a step backwards that turns the gates into their slopes."""
    sigmoid, tanh, one = elementary(real).sigmoid, elementary(real).tanh, real(1)

    @loop
    def forward(lo: Any, hi: Any, product: Any, b: Any, gates: Any, before: Any, after: Any, h: Any) -> None:
        n = before.shape[1]
        for r in range(lo, hi):
            for j in range(n):
                i = sigmoid(gates[r, j] + product[r, j] + b[j])
                f = sigmoid(gates[r, n + j] + product[r, n + j] + b[n + j])
                o = sigmoid(gates[r, 2 * n + j] + product[r, 2 * n + j] + b[2 * n + j])
                g = tanh(gates[r, 3 * n + j] + product[r, 3 * n + j] + b[3 * n + j])
                c = f * before[r, j] + i * g
                gates[r, j], gates[r, n + j], gates[r, 2 * n + j], gates[r, 3 * n + j] = i, f, o, g
                after[r, j] = c
                h[r, j] = o * tanh(c)

    @loop
    def backward(lo: Any, hi: Any, gates: Any, before: Any, after: Any, gh: Any, gc: Any) -> None:
        n = before.shape[1]
        for r in range(lo, hi):
            for j in range(n):
                i, f, o, g = gates[r, j], gates[r, n + j], gates[r, 2 * n + j], gates[r, 3 * n + j]
                t = tanh(after[r, j])
                slope = gc[r, j] + gh[r, j] * o * (one - t * t)
                gates[r, j] = slope * g * i * (one - i)
                gates[r, n + j] = slope * before[r, j] * f * (one - f)
                gates[r, 2 * n + j] = gh[r, j] * t * o * (one - o)
                gates[r, 3 * n + j] = slope * i * (one - g * g)
                gc[r, j] = slope * f

    return forward, backward


def attention(q: Array, k: Array, v: Array) -> Call:
    """Seven products for each head, the probabilities in one matrix, their slopes in another."""
    real, (_, n, d) = q.dtype.type, q.shape
    softmax, slopes = attention_kernels(real)
    powers, g = np.empty((2, n, n), real)
    out, gout = np.empty((2, n, d), real)
    gradients = gq, gk, gv = tuple(map(np.empty_like, (q, k, v)))
    scale, share = real(1 / math.sqrt(d)), real(2 / q.size)

    def head(q: Array, k: Array, v: Array, gq: Array, gk: Array, gv: Array) -> Any:
        np.matmul(q, k.T, out=powers)
        shared(lambda _, lo, hi: softmax(lo, hi, powers, scale), n, powers.size)
        np.matmul(powers, v, out=out)
        np.multiply(out, share, out=gout)
        np.matmul(powers.T, gout, out=gv)
        np.matmul(gout, v.T, out=g)
        shared(lambda _, lo, hi: slopes(lo, hi, powers, out, gout, scale, g), n, g.size)
        np.matmul(g, k, out=gq)
        np.matmul(g.T, q, out=gk)
        return np.vdot(out, out)

    return lambda: (real(sum(map(head, q, k, v, gq, gk, gv)) / q.size), gradients)


@cache
def attention_kernels(real: Any) -> tuple[Any, Any]:
    """Compile the softmax of rows, and its slopes, for a dtype."""
    exp, one = elementary(real).exp, real(1)

    @loop
    def softmax(lo: Any, hi: Any, x: Any, scale: Any) -> None:
        n = x.shape[1]
        for i in range(lo, hi):
            largest = x[i, 0]
            for j in range(n):
                largest = maximum(largest, x[i, j])
            s = real(0)
            for j in range(n):
                e = exp((x[i, j] - largest) * scale)
                x[i, j] = e
                s += e
            s = one / s
            for j in range(n):
                x[i, j] *= s

    @loop
    def slopes(lo: Any, hi: Any, p: Any, out: Any, gout: Any, scale: Any, g: Any) -> None:
        for i in range(lo, hi):
            mean = real(0)
            for j in range(out.shape[1]):
                mean += out[i, j] * gout[i, j]
            for j in range(p.shape[1]):
                g[i, j] = scale * p[i, j] * (g[i, j] - mean)

    return softmax, slopes


def gaussian_mixture(x: Array, below: Array, alphas: Array, means: Array, factors: Array) -> Call:
    """Two products: samples with a one appended, by factors with the shifted means appended."""
    real, (n, d), k = x.dtype.type, x.shape, len(alphas)
    kernel, lower = mixture_kernel(real), below > 0
    entries = d - 1 + below[lower]
    samples, block = np.ones((n, d + 1), real), min(n, BLOCK)
    samples[:, :d] = x
    shaped, stacked = np.empty((block, k * d), real), np.empty((k, d + 1, d), real)
    partial = np.empty((threads.get_num_threads(), k))
    diagonal = np.arange(d)

    def stack() -> None:
        """Write the transposed factors, and minus their products with the means."""
        stacked[:] = 0.0
        stacked[:, :d].swapaxes(1, 2)[:, lower] = factors[:, entries]
        stacked[:, diagonal, diagonal] = np.exp(factors[:, :d])
        stacked[:, d] = -np.einsum("kj,kji->ki", means, stacked[:, :d])

    def call() -> Any:
        stack()
        wide = np.ascontiguousarray(stacked.swapaxes(0, 1)).reshape(d + 1, k * d)
        constants = alphas + factors[:, :d].sum(axis=1)
        value, weights, slopes = 0.0, np.zeros(k), np.zeros((d + 1, k * d), real)
        for start in range(0, n, block):
            part = samples[start : start + block]
            out = np.matmul(part, wide, out=shaped[: len(part)])
            run = lambda p, lo, hi, out=out: kernel(lo, hi, out.reshape(-1, k, d), constants, partial[p])
            values = shared(run, len(part), out.size)
            value, weights = value + sum(values), weights + partial[: len(values)].sum(axis=0)
            slopes += part.T @ out
        return finish(value, weights, slopes.reshape(d + 1, k, d).swapaxes(0, 1))

    def finish(value: float, weights: Array, slopes: Array) -> Any:
        """Add the prior, and carry the slopes of the stacked factors back to the parameters."""
        scale, rest = stacked[:, diagonal, diagonal], factors[:, d:]
        top = alphas.max()
        powers = np.exp(alphas - top)
        value -= n * (top + math.log(powers.sum()))
        value += 0.5 * (np.sum(scale * scale) + np.sum(rest * rest)) - 0.5 * n * d * math.log(2 * math.pi)
        galphas = (weights - n * (powers / powers.sum())).astype(real)
        gmeans = -np.einsum("ki,kji->kj", slopes[:, d], stacked[:, :d])
        full = slopes[:, :d] - means[:, :, None] * slopes[:, d][:, None, :]
        gfactors = factors.copy()
        gfactors[:, :d] = weights[:, None] + scale * (full[:, diagonal, diagonal] + scale)
        gfactors[:, entries] += full.swapaxes(1, 2)[:, lower]
        return real(value), (galphas, gmeans, gfactors)

    return call


@cache
def mixture_kernel(real: Any) -> Any:
    """Compile the loop over samples, which turns shaped distances into their slopes."""
    exp, half, one = elementary(real).exp, real(0.5), real(1)

    @loop
    def kernel(lo: Any, hi: Any, shaped: Any, constants: Any, weights: Any) -> float:
        total, k = 0.0, constants.size
        d = shaped.shape[2]
        inner = np.empty(k, shaped.dtype)
        weights[:] = 0.0
        for i in range(lo, hi):
            for c in range(k):
                s = real(0)
                for j in range(d):
                    s += shaped[i, c, j] * shaped[i, c, j]
                inner[c] = constants[c] - half * s
            largest = inner[0]
            for c in range(k):
                largest = maximum(largest, inner[c])
            s = real(0)
            for c in range(k):
                inner[c] = exp(inner[c] - largest)
                s += inner[c]
            total += largest + math.log(s)
            s = one / s
            for c in range(k):
                p = inner[c] * s
                weights[c] += p
                for j in range(d):
                    shaped[i, c, j] *= -p
        return total

    return kernel
