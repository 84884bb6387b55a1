/* matmul_check.cl - the tuner's judge: products one by one, straight from their definition, and whether others agree with them.
 * Options: TA, TB, TY types; TRANS_A, TRANS_B 0 or 1. */

/* Item (j, i) walks over columns and rows: want = a b, room = what a sum of float products may be off, and y is spoilt. */
kernel void product(IN(TA, a), IN(TB, b), OUT(TY, y), OUT(f32, want), OUT(f32, room), const int m, const int n, const int k,
                    const float share)
{
    for (int i = get_global_id(1); i < m; i += get_global_size(1))
        for (int j = get_global_id(0); j < n; j += get_global_size(0)) {
            float sum = 0, lost = 0, size = 0;
            for (int t = 0; t < k; t++) {
#if TRANS_A
                const float x = LOAD(TA, ROW(a, t), i);
#else
                const float x = LOAD(TA, ROW(a, i), t);
#endif
#if TRANS_B
                const float z = LOAD(TB, ROW(b, j), t);
#else
                const float z = LOAD(TB, ROW(b, t), j);
#endif
                const float v = x * z - lost, next = sum + v;
                lost = (next - sum) - v;
                sum = next;
                size += fabs(x * z);
            }
            ROW(want, i)[j] = sum;
            ROW(room, i)[j] = share * size;
            STORE(TY, ROW(y, i), j, NAN);
        }
}

/* found: how many are off by more than their room and by y's own rounding (unit); the first of them; the largest fraction of room,
 * a float's bits. y is spoilt again. */
kernel void agree(OUT(TY, y), IN(f32, want), IN(f32, room), const int m, const int n, const float unit,
                  OUT(i32, found))
{
    found += found_at;
    for (int i = get_global_id(1); i < m; i += get_global_size(1))
        for (int j = get_global_id(0); j < n; j += get_global_size(0)) {
            const float expected = ROW(want, i)[j], off = fabs(LOAD(TY, ROW(y, i), j) - expected);
            const float most = ROW(room, i)[j] + 2 * unit * fabs(expected);
            if (!(off <= most)) { /* NaN, too */
                if (atomic_inc(found) == 0) {
                    found[1] = i;
                    found[2] = j;
                }
            } else if (most > 0)
                atomic_max(found + 3, as_int(off / most));
            STORE(TY, ROW(y, i), j, NAN);
        }
}
