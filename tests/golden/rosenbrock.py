"""A kernel made by jitgrad."""

from jitgrad.targets.dialect import inside, maximum, minimum, offset, select, sum_block, sum_of


def kernel(lo, hi, x0, y0, y1, p0, t0, n, o0, o1, e0, e1, s0, o2, s1, d0, c0, c1, c2):
    for b in range(lo, hi):
        start = b * 1024
        m = minimum(n - start, 1024)
        x0_b = offset(x0, o0 + start)
        x0_b1 = offset(x0, start)
        x0_b2 = offset(x0, o1 + start)
        y0_b = offset(y0, start)
        m0_0 = minimum(maximum(e0 - start, 0), m)
        m0_1 = minimum(maximum(e1 - start, 0), m)
        for edge in range(2):
            for i in range(edge * m0_1, m0_0 + edge * (m - m0_0)):
                v0 = inside(start + i, s0)
                v1 = x0_b[i] if v0 else c2
                v2 = x0_b1[i] if v0 else c2
                v3 = v2 * v2
                v4 = v1 - v3
                v5 = v4 * v4
                v6 = c0 * v5
                v7 = c1 - v2
                v8 = v7 * v7
                v9 = v6 + v8
                v10 = v7 + v7
                v11 = -v10
                v12 = c0 * v4
                v13 = v12 + v12
                v14 = -v13
                v15 = v14 * v2
                v16 = v11 + v15
                v17 = v16 + v15
                v18 = select(v0, v17, c2)
                v19 = inside(o2 + start + i, s1)
                v20 = x0_b1[i] if v19 else c2
                v21 = x0_b2[i] if v19 else c2
                v22 = v21 * v21
                v23 = v20 - v22
                v24 = c0 * v23
                v25 = v24 + v24
                v26 = select(v19, v25, c2)
                v27 = v18 + v26
                t0[i] = v9
                y0_b[i] = v27
        for i in range(m0_0, m0_1):
            v28 = x0_b[i]
            v29 = x0_b1[i]
            v30 = v29 * v29
            v31 = v28 - v30
            v32 = v31 * v31
            v33 = c0 * v32
            v34 = c1 - v29
            v35 = v34 * v34
            v36 = v33 + v35
            v37 = v34 + v34
            v38 = -v37
            v39 = c0 * v31
            v40 = v39 + v39
            v41 = -v40
            v42 = v41 * v29
            v43 = v38 + v42
            v44 = v43 + v42
            v45 = x0_b2[i]
            v46 = v45 * v45
            v47 = v29 - v46
            v48 = c0 * v47
            v49 = v48 + v48
            v50 = v44 + v49
            t0[i] = v36
            y0_b[i] = v50
        v51 = minimum(maximum(d0 - start, 0), m)
        p0[b] = sum_block(t0, v51)


def finish(lo, hi, x0, y0, y1, p0, t0, n, o0, o1, e0, e1, s0, o2, s1, d0, c0, c1, c2):
    v0 = sum_of(p0, (d0 + 1023) // 1024, p0)
    y1[0] = v0
