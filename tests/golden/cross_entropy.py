"""A kernel made by jitgrad."""

from numpy import int64
from jitgrad.targets.dialect import exp, log, max_of, offset, select, sum_of


def kernel(lo, hi, x0, x1, y0, y1, y2, p0, t0, t1, w0, t2, n, s0, rows, c0, c1, c2, c3):
    for r in range(lo, hi):
        x0_r = offset(x0, r * n)
        v0 = x1[r]
        for i in range(n):
            v1 = x0_r[i]
            v2 = int64(i)
            v3 = v2 == v0
            v4 = select(v3, c0, c1)
            v5 = -v4
            t0[i] = v4
            t1[i] = v5
        v6 = max_of(x0_r, n, w0)
        v7 = sum_of(t1, n, w0)
        for i in range(n):
            v8 = x0_r[i]
            v9 = v8 - v6
            v10 = exp(v9)
            t2[i] = v10
        v11 = sum_of(t2, n, w0)
        v12 = c2 / v11
        v13 = v7 * v12
        y0_r = offset(y0, r * n)
        for i in range(n):
            v14 = t0[i]
            v15 = t2[i]
            v16 = v13 * v15
            v17 = v14 + v16
            y0_r[i] = v17
        v18 = x0[r * s0 + v0]
        v19 = v18 - v6
        v20 = log(v11)
        v21 = v19 - v20
        p0[r] = v21


def finish(lo, hi, x0, x1, y0, y1, y2, p0, t0, t1, w0, t2, n, s0, rows, c0, c1, c2, c3):
    v0 = sum_of(p0, rows, p0)
    y1[0] = v0
    v1 = v0 / c3
    v2 = -v1
    y2[0] = v2
