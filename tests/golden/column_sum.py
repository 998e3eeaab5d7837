"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import minimum, offset, sum_columns


def kernel(lo, hi, x0, y0, p0, n, rows, c0):
    for b in range(lo, hi):
        p0_b = offset(p0, b * n)
        for i in range(n):
            p0_b[i] = c0
        for r in range(b * 32, minimum(b * 32 + 32, rows)):
            x0_r = offset(x0, r * n)
            for i in range(n):
                v0 = x0_r[i]
                v1 = v0 * v0
                p0_b[i] = p0_b[i] + v1


def finish(lo, hi, x0, y0, p0, n, rows, c0):
    sum_columns(p0, (rows + 31) // 32, n, y0)
