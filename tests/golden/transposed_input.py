"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import exp, offset, sum_of


def kernel(lo, hi, x0, y0, y1, p0, t0, w0, n, s0, rows):
    for r in range(lo, hi):
        x0_r = offset(x0, r)
        y0_r = offset(y0, r * n)
        for i in range(n):
            v0 = x0_r[i * s0]
            v1 = exp(v0)
            v2 = v1 * v0
            v3 = v0 * v1
            v4 = v1 + v3
            t0[i] = v2
            y0_r[i] = v4
        v5 = sum_of(t0, n, w0)
        p0[r] = v5


def finish(lo, hi, x0, y0, y1, p0, t0, w0, n, s0, rows):
    v0 = sum_of(p0, rows, p0)
    y1[0] = v0
