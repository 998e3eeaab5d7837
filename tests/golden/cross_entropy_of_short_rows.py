"""A kernel made by jitgrad."""

from numpy import int64
from jitgrad.targets.dialect import exp, log, max_lanes, minimum, offset, select, sum_lanes, sum_of


def kernel(lo, hi, x0, x1, y0, y1, y2, p0, s0, s1, t0, t1, t2, w0, s2, s3, s4, t3, s5, s6, s7, n, d0, rows, c0, c1, c2, c3):
    for b in range(lo, hi):
        first = b * 32
        m = minimum(d0 - first, 32)
        row = first
        x0_b = offset(x0, first)
        x1_b = offset(x1, first * n)
        for l in range(m):
            v0 = x0_b[l]
            s0[l] = v0
            v1 = x1_b[l * n + v0]
            s1[l] = v1
        for i in range(n):
            for l in range(m):
                v2 = x1_b[l * n + i]
                v3 = int64(i)
                v4 = v3 == s0[l]
                v5 = select(v4, c0, c1)
                v6 = -v5
                t0[i * 32 + l] = v2
                t1[i * 32 + l] = v5
                t2[i * 32 + l] = v6
        max_lanes(t0, n, w0, s2)
        sum_lanes(t2, n, w0, s3)
        for l in range(m):
            v7 = s1[l] - s2[l]
            s4[l] = v7
        for i in range(n):
            for l in range(m):
                v8 = t0[i * 32 + l]
                v9 = v8 - s2[l]
                v10 = exp(v9)
                t3[i * 32 + l] = v10
        sum_lanes(t3, n, w0, s5)
        for l in range(m):
            v11 = log(s5[l])
            v12 = s4[l] - v11
            s6[l] = v12
            v13 = c2 / s5[l]
            v14 = s3[l] * v13
            s7[l] = v14
        y0_b = offset(y0, row * n)
        for i in range(n):
            for l in range(m):
                v15 = t1[i * 32 + l]
                v16 = t3[i * 32 + l]
                v17 = s7[l] * v16
                v18 = v15 + v17
                y0_b[l * n + i] = v18
        p0_b = offset(p0, row)
        for l in range(m):
            p0_b[l] = s6[l]


def finish(lo, hi, x0, x1, y0, y1, y2, p0, s0, s1, t0, t1, t2, w0, s2, s3, s4, t3, s5, s6, s7, n, d0, rows, c0, c1, c2, c3):
    v0 = sum_of(p0, rows, p0)
    y1[0] = v0
    v1 = v0 / c3
    v2 = -v1
    y2[0] = v2
