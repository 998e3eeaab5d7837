"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import exp, minimum, offset, sum_block, sum_of


def kernel(lo, hi, x0, x1, x2, x3, y0, y1, y2, p0, t0, n, c0):
    for b in range(lo, hi):
        start = b * 1024
        m = minimum(n - start, 1024)
        x0_b = offset(x0, start)
        v0 = x1[0]
        v1 = x2[0]
        x3_b = offset(x3, start)
        y0_b = offset(y0, start)
        y1_b = offset(y1, start)
        for i in range(m):
            v2 = x0_b[i]
            v3 = v2 - v0
            v4 = v3 * v1
            v5 = v4 * v4
            v6 = c0 * v5
            v7 = exp(v6)
            v8 = x3_b[i]
            v9 = v7 * v8
            v10 = v8 * v7
            v11 = v10 * c0
            v12 = v11 * v4
            v13 = v12 + v12
            v14 = v13 * v1
            t0[i] = v9
            y0_b[i] = v7
            y1_b[i] = v14
        p0[b] = sum_block(t0, m)


def finish(lo, hi, x0, x1, x2, x3, y0, y1, y2, p0, t0, n, c0):
    v0 = sum_of(p0, (n + 1023) // 1024, p0)
    y2[0] = v0
