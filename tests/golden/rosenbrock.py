"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import minimum, offset, sum_block, sum_of


def kernel(lo, hi, x0, y0, p0, t0, n, o0, c0, c1):
    for b in range(lo, hi):
        start = b * 1024
        m = minimum(n - start, 1024)
        x0_b = offset(x0, o0 + start)
        x0_b1 = offset(x0, start)
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
            t0[i] = v8
        p0[b] = sum_block(t0, m)


def finish(lo, hi, x0, y0, p0, t0, n, o0, c0, c1):
    v0 = sum_of(p0, (n + 1023) // 1024, p0)
    y0[0] = v0


"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import inside, maximum, minimum, offset, select


def kernel(lo, hi, x0, y0, n, o0, o1, e0, e1, s0, o2, s1, c0, c1, c2):
    for b in range(lo, hi):
        start = b * 1024
        m = minimum(n - start, 1024)
        x0_b = offset(x0, start)
        x0_b1 = offset(x0, o0 + start)
        x0_b2 = offset(x0, o1 + start)
        y0_b = offset(y0, start)
        m0_0 = minimum(maximum(e0 - start, 0), m)
        m0_1 = minimum(maximum(e1 - start, 0), m)
        for edge in range(2):
            for i in range(edge * m0_1, m0_0 + edge * (m - m0_0)):
                v0 = inside(start + i, s0)
                v1 = x0_b[i] if v0 else c2
                v2 = c0 - v1
                v3 = v2 + v2
                v4 = -v3
                v5 = x0_b1[i] if v0 else c2
                v6 = v1 * v1
                v7 = v5 - v6
                v8 = c1 * v7
                v9 = v8 + v8
                v10 = -v9
                v11 = v10 * v1
                v12 = v4 + v11
                v13 = v12 + v11
                v14 = select(v0, v13, c2)
                v15 = inside(o2 + start + i, s1)
                v16 = x0_b[i] if v15 else c2
                v17 = x0_b2[i] if v15 else c2
                v18 = v17 * v17
                v19 = v16 - v18
                v20 = c1 * v19
                v21 = v20 + v20
                v22 = select(v15, v21, c2)
                v23 = v14 + v22
                y0_b[i] = v23
        for i in range(m0_0, m0_1):
            v24 = x0_b[i]
            v25 = c0 - v24
            v26 = v25 + v25
            v27 = -v26
            v28 = x0_b1[i]
            v29 = v24 * v24
            v30 = v28 - v29
            v31 = c1 * v30
            v32 = v31 + v31
            v33 = -v32
            v34 = v33 * v24
            v35 = v27 + v34
            v36 = v35 + v34
            v37 = x0_b2[i]
            v38 = v37 * v37
            v39 = v24 - v38
            v40 = c1 * v39
            v41 = v40 + v40
            v42 = v36 + v41
            y0_b[i] = v42
