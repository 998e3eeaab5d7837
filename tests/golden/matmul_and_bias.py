"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import minimum, offset, sum_columns, sum_lanes, sum_of, sum_rows, tanh


def kernel(lo, hi, x0, x1, y0, y1, y2, p0, p1, t0, t1, w0, s0, n, d0, rows, c0):
    for b in range(lo, hi):
        first = b * 32
        m = minimum(d0 - first, 32)
        row = first
        x0_b = offset(x0, first * n)
        y0_b = offset(y0, row * n)
        for i in range(n):
            for l in range(m):
                v0 = x0_b[l * n + i]
                v1 = x1[i]
                v2 = v0 + v1
                v3 = tanh(v2)
                v4 = v3 * v3
                v5 = c0 - v4
                t0[i * 32 + l] = v3
                t1[i * 32 + l] = v5
                y0_b[l * n + i] = v5
        sum_lanes(t0, n, w0, s0)
        p0_b = offset(p0, b * n)
        sum_rows(t1, n, m, p0_b)
        p1_b = offset(p1, row)
        for l in range(m):
            p1_b[l] = s0[l]


def finish(lo, hi, x0, x1, y0, y1, y2, p0, p1, t0, t1, w0, s0, n, d0, rows, c0):
    v0 = sum_of(p1, rows, p1)
    y1[0] = v0
    sum_columns(p0, (rows + 31) // 32, n, y2)
