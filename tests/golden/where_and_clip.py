"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import minimum, offset, select, sum_block, sum_of


def kernel(lo, hi, x0, x1, y0, y1, y2, p0, t0, n, c0, c1, c2):
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
            v2 = v0 > v1
            v3 = v0 < c0
            v4 = select(v3, c0, v0)
            v5 = v4 > c1
            v6 = select(v5, c1, v4)
            v7 = v0 * v1
            v8 = select(v2, v6, v7)
            v9 = select(v2, c2, c1)
            v10 = v9 * v1
            v11 = select(v2, c1, c2)
            v12 = select(v5, c2, v11)
            v13 = select(v3, c2, v12)
            v14 = v10 + v13
            v15 = v9 * v0
            t0[i] = v8
            y0_b[i] = v14
            y1_b[i] = v15
        p0[b] = sum_block(t0, m)


def finish(lo, hi, x0, x1, y0, y1, y2, p0, t0, n, c0, c1, c2):
    v0 = sum_of(p0, (n + 1023) // 1024, p0)
    y2[0] = v0
