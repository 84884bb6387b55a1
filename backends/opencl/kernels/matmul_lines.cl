/* matmul_lines.cl - the product for few rows of a: each element of b is read once, where it lies, and meets all rows of a.
 *
 * Options: TA, TB, TD, TY as in matmul.cl, which comes before; M rows of a at a time (1 to 8); V elements of b an item reads at once (4,
 * 16); NB lines, or vectors of columns, of an item; ITEMS share the terms of a line, a power of two; ALONG: a line of b is a row, as with
 * trans_b; else a column. A group has LANES such. SUBGROUPS: ITEMS is the size of a sub-group, which adds. */
#ifndef SUBGROUPS
#define SUBGROUP_SIZE
#endif
#define VECTOR CAT(float, V)
#define TAKE(T, p, i, n) CAT(CAT(CAT(take, V), _), T)(p, i, n)

#if V == 16
#define TAKE16_OF(T, load)                                                                                             \
    static inline float16 take16_##T(const global T *p, int i, int n)                                                  \
    {                                                                                                                  \
        if (i + 16 <= n)                                                                                               \
            return load;                                                                                               \
        return (float16)(take4_##T(p, i, n), take4_##T(p, i + 4, n), take4_##T(p, i + 8, n), take4_##T(p, i + 12, n)); \
    }
TAKE16_OF(f32, vload16(0, p + i))
TAKE16_OF(bf16, as_float16(convert_uint16(vload16(0, p + i)) << 16))
TAKE16_OF(f16, vload_half16(0, (const global half *)(p + i)))
static inline float4 fold(float16 v) { return v.lo.lo + v.lo.hi + (v.hi.lo + v.hi.hi); }
#else
static inline float4 fold(float4 v) { return v; }
#endif

static inline float total(VECTOR v)
{
    const float4 f = fold(v);
    return f.x + f.y + (f.z + f.w);
}

/* The end of one product. */
static inline void finish1(IN(TD, bias), IN(TY, residual), OUT(TY, y), const float scale, const int flags, const int i, const int j, float v)
{
    v *= scale;
    if (flags & BIAS)
        v += LOAD(TD, bias + bias_at, j);
    if (flags & RESIDUAL)
        v += LOAD(TY, ROW(residual, i), j);
    if (flags & ACCUMULATE)
        v += LOAD(TY, ROW(y, i), j);
    STORE(TY, ROW(y, i), j, v);
}

#ifdef ALONG
/* Group g: lines from g * each * NB * LINES on, LINES blocks of NB at once, each by ITEMS neighbours; rows from get_group_id(1) * M on. */
kernel SUBGROUP_SIZE __attribute__((reqd_work_group_size(ITEMS * LANES, 1, 1))) void
lines(IN(TA, a), IN(TB, b), IN(TD, bias), IN(TY, residual), OUT(TY, y), const int m, const int n, const int k, const int each,
      const float scale, const int flags)
{
#if ITEMS > 1 && !defined(SUBGROUPS)
    local float space[ITEMS * LANES];
#endif
    const int me = get_local_id(0) % ITEMS, lane = get_local_id(0) / ITEMS, first = get_group_id(1) * M;
    for (int e = 0; e < each; e++) {
        const int line = (((int)get_group_id(0) * each + e) * LANES + lane) * NB;
        VECTOR sum[NB][M];
#pragma unroll
        for (int q = 0; q < NB; q++)
#pragma unroll
            for (int r = 0; r < M; r++)
                sum[q][r] = 0;
        for (int t = me * V; t < k; t += ITEMS * V) {
            VECTOR z[NB];
#pragma unroll
            for (int q = 0; q < NB; q++) /* a line beyond the last is read as the last and not used */
                z[q] = TAKE(TB, ROW(b, min(line + q, n - 1)), t, k);
#pragma unroll
            for (int r = 0; r < M; r++) {
                const VECTOR x = TAKE(TA, ROW(a, min(first + r, m - 1)), t, k);
#pragma unroll
                for (int q = 0; q < NB; q++)
                    sum[q][r] += x * z[q];
            }
        }
#pragma unroll
        for (int q = 0; q < NB; q++)
#pragma unroll
            for (int r = 0; r < M; r++) {
                float v = total(sum[q][r]);
#if ITEMS > 1 && defined(SUBGROUPS)
                v = sub_group_reduce_add(v);
#elif ITEMS > 1
                barrier(CLK_LOCAL_MEM_FENCE); /* an earlier sum may still be read */
                space[get_local_id(0)] = v;
                barrier(CLK_LOCAL_MEM_FENCE);
                for (int half_ = ITEMS / 2; half_ > 0; half_ /= 2) {
                    if (me < half_)
                        space[get_local_id(0)] += space[get_local_id(0) + half_];
                    barrier(CLK_LOCAL_MEM_FENCE);
                }
                v = space[get_local_id(0)];
#endif
                if (me == 0 && line + q < n && first + r < m)
                    finish1(bias, bias_at, bias_ld, residual, residual_at, residual_ld, y, y_at, y_ld, scale, flags, first + r, line + q, v);
            }
    }
}
#else
/* Item (lane, me) of group g: NB vectors of columns, the me-th of every ITEMS terms; rows from get_group_id(1) * M on. */
kernel SUBGROUP_SIZE __attribute__((reqd_work_group_size(ITEMS * LANES, 1, 1))) void
lines(IN(TA, a), IN(TB, b), IN(TD, bias), IN(TY, residual), OUT(TY, y), const int m, const int n, const int k, const int each,
      const float scale, const int flags)
{
#if ITEMS > 1
    local float space[ITEMS * LANES * V];
#endif
    const int lane = get_local_id(0) % LANES, me = get_local_id(0) / LANES, first = get_group_id(1) * M;
    for (int e = 0; e < each; e++) {
        const int col = (((int)get_group_id(0) * each + e) * LANES + lane) * NB * V;
        VECTOR sum[NB][M];
#pragma unroll
        for (int q = 0; q < NB; q++)
#pragma unroll
            for (int r = 0; r < M; r++)
                sum[q][r] = 0;
        for (int t = me; t < k; t += ITEMS) {
            VECTOR z[NB];
#pragma unroll
            for (int q = 0; q < NB; q++)
                z[q] = col + q * V < n ? TAKE(TB, ROW(b, t), col + q * V, n) : (VECTOR)0;
#pragma unroll
            for (int r = 0; r < M; r++) {
                const float x = LOAD(TA, ROW(a, min(first + r, m - 1)), t);
#pragma unroll
                for (int q = 0; q < NB; q++)
                    sum[q][r] += x * z[q];
            }
        }
#pragma unroll
        for (int q = 0; q < NB; q++)
#pragma unroll
            for (int r = 0; r < M; r++) {
                VECTOR v = sum[q][r];
                float all[V];
#if ITEMS > 1
                local float *const mine = space + get_local_id(0) * V;
                barrier(CLK_LOCAL_MEM_FENCE);
                CAT(vstore, V)(v, 0, mine);
                barrier(CLK_LOCAL_MEM_FENCE);
                for (int half_ = ITEMS / 2; half_ > 0; half_ /= 2) {
                    if (me < half_)
                        CAT(vstore, V)(CAT(vload, V)(0, mine) + CAT(vload, V)(0, mine + half_ * LANES * V), 0, mine);
                    barrier(CLK_LOCAL_MEM_FENCE);
                }
                v = CAT(vload, V)(0, mine);
#endif
                CAT(vstore, V)(v, 0, all);
                if (me == 0 && first + r < m)
                    for (int c = 0; c < V; c += 4)
                        if (col + q * V + c < n)
                            finish4(bias, bias_at, bias_ld, residual, residual_at, residual_ld, y, y_at, y_ld, n, scale, flags, first + r,
                                    col + q * V + c, vload4(0, all + c));
            }
    }
}
#endif
