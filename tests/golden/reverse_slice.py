"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import minimum, offset, sum_block, sum_of


def kernel(lo, hi, x0, y0, p0, t0, n, o0, s0, o1):
    for b in range(lo, hi):
        start = b * 1024
        m = minimum(n - start, 1024)
        x0_b = offset(x0, o0 + start * s0)
        x0_b1 = offset(x0, o1 + start)
        for i in range(m):
            v0 = x0_b[i * s0]
            v1 = x0_b1[i]
            v2 = v0 * v1
            t0[i] = v2
        p0[b] = sum_block(t0, m)


def finish(lo, hi, x0, y0, p0, t0, n, o0, s0, o1):
    v0 = sum_of(p0, (n + 1023) // 1024, p0)
    y0[0] = v0


"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import maximum, minimum, offset


def kernel(lo, hi, x0, y0, n, o0, s0, e0, e1, e2, e3, e4, c0):
    for b in range(lo, hi):
        start = b * 1024
        m = minimum(n - start, 1024)
        x0_b = offset(x0, o0 + start * s0)
        y0_b = offset(y0, start)
        m0_0 = minimum(maximum(e0 - start, 0), m)
        m0_1 = minimum(maximum(e1 - start, 0), m)
        m0_2 = minimum(maximum(e2 - start, 0), m)
        m0_3 = minimum(maximum(e3 - start, 0), m)
        m0_4 = minimum(maximum(e4 - start, 0), m)
        for i in range(m0_0, m0_1):
            v0 = c0 + c0
            y0_b[i] = v0
        for i in range(m0_1, m0_2):
            v1 = x0_b[i * s0]
            v2 = v1 + c0
            y0_b[i] = v2
        for i in range(m0_2, m0_3):
            v3 = x0_b[i * s0]
            v4 = v3 + v3
            y0_b[i] = v4
        for i in range(m0_3, m0_4):
            v5 = x0_b[i * s0]
            v6 = c0 + v5
            y0_b[i] = v6
