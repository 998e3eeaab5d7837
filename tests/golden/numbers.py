"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import cos, minimum, offset, sin


def kernel(lo, hi, x0, x1, y0, y1, y2, n, c0):
    for b in range(lo, hi):
        start = b * 1024
        m = minimum(n - start, 1024)
        v0 = x0[0]
        v1 = sin(v0)
        v2 = x1[0]
        v3 = v1 * v2
        v4 = v0 / v2
        v5 = v3 + v4
        v6 = c0 / v2
        v7 = cos(v0)
        v8 = v2 * v7
        v9 = v6 + v8
        v10 = v4 * v6
        v11 = -v10
        v12 = v11 + v1
        y0_b = offset(y0, start)
        y1_b = offset(y1, start)
        y2_b = offset(y2, start)
        for i in range(m):
            y0_b[i] = v5
            y1_b[i] = v9
            y2_b[i] = v12
