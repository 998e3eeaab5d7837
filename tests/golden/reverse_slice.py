"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import offset, sum_block, sum_of
from jitgrad.vmath import minimum


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

from jitgrad.targets.dialect import inside, offset
from jitgrad.vmath import minimum, select


def kernel(lo, hi, x0, y0, n, o0, s0, o1, s1, o2, s2, o3, s3, s4, o4, s5, s6, c0):
    for b in range(lo, hi):
        start = b * 1024
        m = minimum(n - start, 1024)
        x0_b = offset(x0, o0 + start * s0)
        x0_b1 = offset(x0, o1 + start * s1)
        y0_b = offset(y0, start)
        for i in range(m):
            v0 = inside(o2 + start + i, s2)
            v1 = x0_b[i * s0] if v0 else c0
            v2 = select(v0, v1, c0)
            v3 = inside(o3 + start * s3 + i * s3, s4)
            v4 = inside(o4 + start * s5 + i * s5, s6)
            v5 = x0_b1[i * s1] if v3 & v4 else c0
            v6 = select(v4, v5, c0)
            v7 = select(v3, v6, c0)
            v8 = v2 + v7
            y0_b[i] = v8
