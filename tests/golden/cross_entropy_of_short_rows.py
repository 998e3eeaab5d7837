"""A kernel made by jitgrad."""

from numpy import int64
from jitgrad.targets.dialect import exp, log, max_lanes, minimum, offset, select, sum_lanes, sum_of, turn_in, turn_out


def kernel(lo, hi, x0, x1, y0, y1, y2, p0, o0, o1, s0, s1, t0, t1, t2, w0, s2, s3, s4, t3, s5, s6, s7, t4, n, rows, c0, c1, c2, c3):
    for b in range(lo, hi):
        first = b * 32
        m = minimum(rows - first, 32)
        for l in range(32):
            lane = minimum(l, m - 1)
            row = first + lane
            o0[l] = row
            o1[l] = row * n
        for l in range(32):
            v0 = x0[o0[l]]
            s0[l] = v0
            v1 = x1[o1[l] + v0]
            s1[l] = v1
        turn_in(x1, o1, n, t0)
        for i in range(n):
            for l in range(32):
                v2 = t0[i * 32 + l]
                v3 = int64(i)
                v4 = v3 == s0[l]
                v5 = select(v4, c0, c1)
                v6 = -v5
                t1[i * 32 + l] = v5
                t2[i * 32 + l] = v6
        max_lanes(t0, n, w0, s2)
        sum_lanes(t2, n, w0, s3)
        for l in range(32):
            v7 = s1[l] - s2[l]
            s4[l] = v7
        for i in range(n):
            for l in range(32):
                v8 = t0[i * 32 + l]
                v9 = v8 - s2[l]
                v10 = exp(v9)
                t3[i * 32 + l] = v10
        sum_lanes(t3, n, w0, s5)
        for l in range(32):
            v11 = log(s5[l])
            v12 = s4[l] - v11
            s6[l] = v12
            v13 = c2 / s5[l]
            v14 = s3[l] * v13
            s7[l] = v14
        for i in range(n):
            for l in range(32):
                v15 = t1[i * 32 + l]
                v16 = t3[i * 32 + l]
                v17 = s7[l] * v16
                v18 = v15 + v17
                t4[i * 32 + l] = v18
        y0_b = offset(y0, first * n)
        turn_out(t4, n, m, y0_b)
        p0_b = offset(p0, first)
        for l in range(m):
            p0_b[l] = s6[l]


def finish(lo, hi, x0, x1, y0, y1, y2, p0, o0, o1, s0, s1, t0, t1, t2, w0, s2, s3, s4, t3, s5, s6, s7, t4, n, rows, c0, c1, c2, c3):
    v0 = sum_of(p0, rows, p0)
    y1[0] = v0
    v1 = v0 / c3
    v2 = -v1
    y2[0] = v2
