"""Gradients of losses over neighbours: particles, grids, images."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from bench.hand_written.compiled import loop, shared
from bench.hand_written.elementary import maximum
from jitgrad.cli.peers import Call
from jitgrad.cli.workloads import Array
from jitgrad.machine import threads

STEPS = 20  # of the heat equation
BAND = 128  # rows of the grid that stay in the second cache through all steps


def lennard_jones(x: Array) -> Call:
    """Each pair is visited once; each thread adds up the forces on all particles."""
    real, n = x.dtype.type, len(x)
    kernel, gradient = lennard_jones_kernel(real), np.empty_like(x)
    partial = np.empty((threads.get_num_threads(), 3, n), real)

    def call() -> Any:
        points = np.ascontiguousarray(x.T)
        run = lambda part, lo, hi: kernel(lo, hi, *points, *partial[part])
        values = shared(run, n // 2, n * n)
        np.sum(partial[: len(values)].transpose(0, 2, 1), axis=0, out=gradient)
        return real(sum(values)), (gradient,)

    return call


@cache
def lennard_jones_kernel(real: Any) -> Any:
    """Compile the loop over pairs of rows, short and long, so that all pairs of rows are alike."""
    one, two, factor = real(1), real(2), real(-24)

    @loop
    def row(i: Any, x: Any, y: Any, z: Any, gx: Any, gy: Any, gz: Any) -> Any:
        energy, fx, fy, fz = real(0), real(0), real(0), real(0)
        for j in range(i):
            dx, dy, dz = x[i] - x[j], y[i] - y[j], z[i] - z[j]
            s = one / (dx * dx + dy * dy + dz * dz)
            s6 = s * s * s
            energy += s6 * s6 - s6
            force = factor * (two * s6 - one) * s6 * s
            fx += force * dx
            fy += force * dy
            fz += force * dz
            gx[j] -= force * dx
            gy[j] -= force * dy
            gz[j] -= force * dz
        gx[i] += fx
        gy[i] += fy
        gz[i] += fz
        return energy

    @loop
    def kernel(lo: Any, hi: Any, x: Any, y: Any, z: Any, gx: Any, gy: Any, gz: Any) -> float:
        gx[:] = real(0)
        gy[:] = real(0)
        gz[:] = real(0)
        total, n = 0.0, x.size
        for i in range(lo, hi):
            total += row(i, x, y, z, gx, gy, gz)
            total += row(n - 1 - i, x, y, z, gx, gy, gz)
        if hi == n // 2 and n % 2:
            total += row(n // 2, x, y, z, gx, gy, gz)
        return 4.0 * total

    return kernel


def heat(u: Array, target: Array) -> Call:
    """The steps are linear and symmetric, so the gradient takes them again, from the misfit.

    A band of rows with as many neighbours as there are steps goes through all steps at once.
    """
    real, n = u.dtype.type, len(u)
    evolve, misfit = heat_kernels(real)
    count = min(threads.get_num_threads(), -(-n // BAND))
    height = -(-n // (count * -(-n // (BAND * count))))
    bands = [(top, min(top + height, n)) for top in range(0, n, height)]
    buffers = np.empty((threads.get_num_threads(), height + 3 * STEPS, n), real)
    final, gradient = np.empty_like(u), np.empty_like(u)

    def steps(source: Array, out: Array, part: int, lo: int, hi: int, squares: bool) -> float:
        total = 0.0
        for top, bottom in bands[lo:hi]:
            evolve(source, out, top, bottom, buffers[part])
            if squares:
                total += misfit(out, target, top, bottom)
        return total

    def call() -> Any:
        forward = lambda part, lo, hi: steps(u, final, part, lo, hi, True)
        backward = lambda part, lo, hi: steps(final, gradient, part, lo, hi, False)
        value = sum(shared(forward, len(bands), u.size)) / u.size
        shared(backward, len(bands), u.size)
        return real(value), (gradient,)

    return call


@cache
def heat_kernels(real: Any) -> tuple[Any, Any]:
    """Compile the steps of a band, and its misfit, for a dtype."""
    keep, flow, two = real(1 - 4 * 0.2), real(0.2), real(2)

    @loop
    def step(above: Any, here: Any, below: Any, out: Any) -> None:
        last = here.size - 1
        out[0] = keep * here[0] + flow * (above[0] + below[0] + here[1])
        out[last] = keep * here[last] + flow * (above[last] + below[last] + here[last - 1])
        for j in range(last - 1):
            sides = here[j] + here[j + 2]
            out[j + 1] = keep * here[j + 1] + flow * (above[j + 1] + below[j + 1] + sides)

    @loop
    def evolve(source: Any, out: Any, top: Any, bottom: Any, buffer: Any) -> None:
        """Row r of a step lies one above row r of the step before, so that one buffer is enough."""
        n = source.shape[0]
        first, stop = max(top - STEPS, 0), min(bottom + STEPS, n)
        nothing = np.zeros(source.shape[1], source.dtype)
        offset = STEPS - first
        for r in range(first, stop):
            buffer[r + offset] = source[r]
        for k in range(1, STEPS + 1):
            lo, hi = max(top - STEPS + k, 0), min(bottom + STEPS - k, n)
            for r in range(lo, hi):
                place = r + offset - k
                above = buffer[place] if r > 0 else nothing
                below = buffer[place + 2] if r < n - 1 else nothing
                step(above, buffer[place + 1], below, out[r] if k == STEPS else buffer[place])

    @loop
    def misfit(u: Any, target: Any, top: Any, bottom: Any) -> float:
        total, share = 0.0, two / real(u.size)
        for i in range(top, bottom):
            part = real(0)
            for j in range(u.shape[1]):
                d = u[i, j] - target[i, j]
                part += d * d
                u[i, j] = share * d
            total += part
        return total

    return evolve, misfit


def convolution(x: Array, kernel: Array) -> Call:
    """The slopes of an image stay in the second cache until they have met the kernel again."""
    real, (count, n, _) = x.dtype.type, x.shape
    differentiate, gradient = convolution_kernel(real), np.empty_like(x)
    padded = np.zeros((threads.get_num_threads(), n + 2, n + 2), real)
    partial = np.empty((threads.get_num_threads(), 3, 3))
    size = count * (n - 2) ** 2

    def call() -> Any:
        run = lambda part, lo, hi: differentiate(
            lo, hi, x, kernel, size, gradient, padded[part], partial[part]
        )
        values = shared(run, count, x.size)
        return real(sum(values) / size), (gradient, partial[: len(values)].sum(axis=0).astype(real))

    return call


@cache
def convolution_kernel(real: Any) -> Any:
    """Compile the loop over images for a dtype."""
    zero, two = real(0), real(2)

    @loop
    def forward(a: Any, b: Any, c: Any, k: Any, share: Any, slopes: Any, gk: Any) -> Any:
        """Take three rows to one row of slopes; return the sum of squares."""
        total = real(0)
        s0, s1, s2, s3, s4, s5, s6, s7, s8 = zero, zero, zero, zero, zero, zero, zero, zero, zero
        for j in range(a.size - 2):
            y = k[0, 0] * a[j] + k[0, 1] * a[j + 1] + k[0, 2] * a[j + 2]
            y += k[1, 0] * b[j] + k[1, 1] * b[j + 1] + k[1, 2] * b[j + 2]
            y += k[2, 0] * c[j] + k[2, 1] * c[j + 1] + k[2, 2] * c[j + 2]
            y = maximum(y, zero)
            total += y * y
            g = share * y
            slopes[j + 2] = g
            s0 += g * a[j]
            s1 += g * a[j + 1]
            s2 += g * a[j + 2]
            s3 += g * b[j]
            s4 += g * b[j + 1]
            s5 += g * b[j + 2]
            s6 += g * c[j]
            s7 += g * c[j + 1]
            s8 += g * c[j + 2]
        for i, s in enumerate((s0, s1, s2, s3, s4, s5, s6, s7, s8)):
            gk[i // 3, i % 3] += s
        return total

    @loop
    def backward(a: Any, b: Any, c: Any, k: Any, out: Any) -> None:
        for j in range(out.size):
            g = k[0, 0] * c[j + 2] + k[0, 1] * c[j + 1] + k[0, 2] * c[j]
            g += k[1, 0] * b[j + 2] + k[1, 1] * b[j + 1] + k[1, 2] * b[j]
            out[j] = g + k[2, 0] * a[j + 2] + k[2, 1] * a[j + 1] + k[2, 2] * a[j]

    @loop
    def kernel(lo: Any, hi: Any, x: Any, k: Any, size: Any, gx: Any, padded: Any, gk: Any) -> float:
        total, n, share = 0.0, x.shape[1], two / real(size)
        gk[:] = 0.0
        for image in range(lo, hi):
            for i in range(n - 2):
                rows = x[image, i], x[image, i + 1], x[image, i + 2]
                total += forward(*rows, k, share, padded[i + 2], gk)
            for i in range(n):
                backward(padded[i], padded[i + 1], padded[i + 2], k, gx[image, i])
        return total

    return kernel
