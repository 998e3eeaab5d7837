"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import minimum, offset, sqrt, sum_columns, sum_of


def kernel(lo, hi, x0, x1, x2, y0, y1, y2, p0, p1, w0, t0, t1, t2, t3, t4, t5, n, rows, c0, c1, c2, c3, c4, c5):
    for b in range(lo, hi):
        p0_b = offset(p0, b * n)
        p1_b = offset(p1, b * n)
        for i in range(n):
            p0_b[i] = c0
            p1_b[i] = c0
        for r in range(b * 32, minimum(b * 32 + 32, rows)):
            x0_r = offset(x0, r * n)
            v0 = sum_of(x0_r, n, w0)
            v1 = v0 / c1
            for i in range(n):
                v2 = x0_r[i]
                v3 = v2 - v1
                v4 = v3 * v3
                t0[i] = v3
                t1[i] = v4
            v5 = sum_of(t1, n, w0)
            v6 = v5 / c1
            v7 = v6 + c2
            v8 = sqrt(v7)
            v9 = c3 / v8
            for i in range(n):
                v10 = t0[i]
                v11 = v10 / v8
                v12 = x1[i]
                v13 = v11 * v12
                v14 = x2[i]
                v15 = v13 + v14
                v16 = v15 + v15
                v17 = v16 * v12
                v18 = v11 * v9
                v19 = -v18
                v20 = v17 * v19
                v21 = v16 * v11
                t2[i] = v17
                t3[i] = v20
                p0_b[i] = p0_b[i] + v21
                p1_b[i] = p1_b[i] + v16
            v22 = sum_of(t3, n, w0)
            v23 = c4 / v8
            v24 = v22 * v23
            v25 = v24 * c5
            for i in range(n):
                v26 = t2[i]
                v27 = v26 * v9
                v28 = t0[i]
                v29 = v25 * v28
                v30 = v27 + v29
                v31 = v30 + v29
                v32 = -v31
                t4[i] = v31
                t5[i] = v32
            v33 = sum_of(t5, n, w0)
            v34 = v33 * c5
            y0_r = offset(y0, r * n)
            for i in range(n):
                v35 = t4[i]
                v36 = v35 + v34
                y0_r[i] = v36


def finish(lo, hi, x0, x1, x2, y0, y1, y2, p0, p1, w0, t0, t1, t2, t3, t4, t5, n, rows, c0, c1, c2, c3, c4, c5):
    sum_columns(p0, (rows + 31) // 32, n, y1)
    sum_columns(p1, (rows + 31) // 32, n, y2)
