"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import minimum, offset, sum_block, sum_of


def kernel(lo, hi, x0, y0, y1, p0, t0, n, o0, c0, c1):
    for b in range(lo, hi):
        start = b * 1024
        m = minimum(n - start, 1024)
        x0_b = offset(x0, o0 + start)
        x0_b1 = offset(x0, start)
        y0_b = offset(y0, start)
        for i in range(m):
            v0 = x0_b[i]
            v1 = x0_b1[i]
            v2 = v1 * v1
            v3 = v0 - v2
            v4 = v3 * v3
            v5 = c0 * v4
            v6 = c1 - v1
            v7 = v6 * v6
            v8 = v5 + v7
            v9 = c0 * v3
            v10 = v9 + v9
            t0[i] = v8
            y0_b[i] = v10
        p0[b] = sum_block(t0, m)


def finish(lo, hi, x0, y0, y1, p0, t0, n, o0, c0, c1):
    v0 = sum_of(p0, (n + 1023) // 1024, p0)
    y1[0] = v0


"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import inside, maximum, minimum, offset, select


def kernel(lo, hi, x0, x1, y0, n, o0, e0, e1, s0, o1, s1, c0, c1):
    for b in range(lo, hi):
        start = b * 1024
        m = minimum(n - start, 1024)
        x0_b = offset(x0, start)
        x1_b = offset(x1, start)
        x1_b1 = offset(x1, o0 + start)
        y0_b = offset(y0, start)
        m0_0 = minimum(maximum(e0 - start, 0), m)
        m0_1 = minimum(maximum(e1 - start, 0), m)
        for edge in range(2):
            for i in range(edge * m0_1, m0_0 + edge * (m - m0_0)):
                v0 = inside(start + i, s0)
                v1 = x0_b[i] if v0 else c1
                v2 = c0 - v1
                v3 = v2 + v2
                v4 = -v3
                v5 = x1_b[i] if v0 else c1
                v6 = -v5
                v7 = v6 * v1
                v8 = v4 + v7
                v9 = v8 + v7
                v10 = select(v0, v9, c1)
                v11 = inside(o1 + start + i, s1)
                v12 = x1_b1[i] if v11 else c1
                v13 = v10 + v12
                y0_b[i] = v13
        for i in range(m0_0, m0_1):
            v14 = x0_b[i]
            v15 = c0 - v14
            v16 = v15 + v15
            v17 = -v16
            v18 = x1_b[i]
            v19 = -v18
            v20 = v19 * v14
            v21 = v17 + v20
            v22 = v21 + v20
            v23 = x1_b1[i]
            v24 = v22 + v23
            y0_b[i] = v24
