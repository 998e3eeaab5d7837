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

from jitgrad.targets.dialect import inside, maximum, minimum, offset


def kernel(lo, hi, x0, y0, n, o0, s0, e0, e1, o1, s1, o2, s2, s3, o3, s4, s5, c0):
    for b in range(lo, hi):
        start = b * 1024
        m = minimum(n - start, 1024)
        x0_b = offset(x0, o0 + start * s0)
        y0_b = offset(y0, start)
        a0 = minimum(maximum(e0 - start, 0), m)
        z0 = minimum(maximum(e1 - start, 0), m)
        for edge in range(2):
            for i in range(edge * z0, a0 + edge * (m - a0)):
                v0 = inside(o1 + start + i, s1)
                v1 = x0_b[i * s0] if v0 else c0
                v2 = inside(o2 + start * s2 + i * s2, s3)
                v3 = inside(o3 + start * s4 + i * s4, s5)
                v4 = x0_b[i * s0] if v2 & v3 else c0
                v5 = v1 + v4
                y0_b[i] = v5
        for i in range(a0, z0):
            v6 = x0_b[i * s0]
            v7 = v6 + v6
            y0_b[i] = v7
