"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import offset, sum_of


def kernel(lo, hi, x0, y0, t0, w0, n, s0):
    for r in range(lo, hi):
        x0_r = offset(x0, r * s0)
        for i in range(n):
            v0 = x0_r[i * 3]
            v1 = v0 * v0
            t0[i] = v1
        v2 = sum_of(t0, n, w0)
        v3 = v2 + v2
        y0_r = offset(y0, r * n)
        for i in range(n):
            v4 = x0_r[i * 3]
            v5 = v3 * v4
            v6 = v5 + v5
            y0_r[i] = v6
