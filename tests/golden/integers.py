"""A kernel made by jitgrad."""

from numpy import int32, int64
from jitgrad.targets.dialect import floor_divide, max_block, max_of, minimum, offset, remainder, sum_block, sum_of


def kernel(lo, hi, x0, x1, y0, y1, y2, y3, p0, p1, t0, n, c0, c1, c2):
    for b in range(lo, hi):
        start = b * 1024
        m = minimum(n - start, 1024)
        x0_b = offset(x0, start)
        x1_b = offset(x1, start)
        y0_b = offset(y0, start)
        y1_b = offset(y1, start)
        for i in range(m):
            v0 = x0_b[i]
            v1 = x1_b[i]
            v2 = int32(v0 + v1)
            v3 = int32(floor_divide(v2, c0))
            v4 = int32(v0 * v1)
            v5 = int64(int64(v4))
            v6 = int32(remainder(v0, c1))
            v7 = v6 == c2
            t0[i] = v5
            y0_b[i] = v3
            y1_b[i] = v7
        p0[b] = sum_block(t0, m)
        p1[b] = max_block(x0_b, m)


def finish(lo, hi, x0, x1, y0, y1, y2, y3, p0, p1, t0, n, c0, c1, c2):
    v0 = sum_of(p0, (n + 1023) // 1024, p0)
    y2[0] = v0
    v1 = max_of(p1, (n + 1023) // 1024, p1)
    y3[0] = v1
