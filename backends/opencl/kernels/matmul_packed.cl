/* matmul_packed.cl - the product for processors: both operands are first copied into panels that are read in order, zeros where a
 * matrix ends; then an item makes whole blocks of MW x NW in registers, by vectors, without local memory or barriers.
 *
 * Options: LENGTH 4, 8 or 16, a vector's floats. Of pack: T the matrix's type, W lines of a panel. Of packed: TD, TY types as in
 * matmul.cl, which comes before; MW rows and NV vectors of a block. */
#define VEC CAT(float, LENGTH)
#define VLOAD CAT(vload, LENGTH)
#define VSTORE CAT(vstore, LENGTH)

#ifdef W
/* Term t of line i goes to to[(i / W * terms + t) * W + i % W]. An item has BLOCK terms of a panel; dimension 0 walks over the terms,
 * 1 over panels. ALONG: a line is a row of x; else a column. */
enum { BLOCK = 64 };
/* Four lines' values of a term from line i of the panel on; W is even, and the last may be two. */
static inline void put(global float *p, int i, float4 v)
{
    if (i + 4 <= W)
        vstore4(v, 0, p);
    else
        vstore2(v.lo, 0, p);
}

kernel void pack(IN(T, x), global float *to, const int lines, const int terms)
{
    const int panel = get_global_id(1), from = (int)get_global_id(0) * BLOCK, end = min(terms, from + BLOCK), first = panel * W;
    to += (size_t)panel * terms * W;
#ifdef ALONG
    for (int i = 0; i < W; i += 4) {
        const int most = lines - 1, at = first + i; /* a line beyond the last is read as the last and not used */
        const global T *const l0 = ROW(x, min(at, most)), *const l1 = ROW(x, min(at + 1, most)), *const l2 = ROW(x, min(at + 2, most)),
                       *const l3 = ROW(x, min(at + 3, most));
        const float4 real = (float4)(at <= most, at + 1 <= most, at + 2 <= most, at + 3 <= most);
        for (int t = from; t < end; t += 4) {
            const float4 none = 0, a = real.x != 0 ? TAKE4(T, l0, t, end) : none, b = real.y != 0 ? TAKE4(T, l1, t, end) : none,
                         c = real.z != 0 ? TAKE4(T, l2, t, end) : none, e = real.w != 0 ? TAKE4(T, l3, t, end) : none;
            global float *const p = to + (size_t)t * W + i;
            put(p, i, (float4)(a.x, b.x, c.x, e.x));
            if (t + 1 < end)
                put(p + W, i, (float4)(a.y, b.y, c.y, e.y));
            if (t + 2 < end)
                put(p + 2 * W, i, (float4)(a.z, b.z, c.z, e.z));
            if (t + 3 < end)
                put(p + 3 * W, i, (float4)(a.w, b.w, c.w, e.w));
        }
    }
#else
    for (int t = from; t < end; t++)
        for (int i = 0; i < W; i += 4)
            put(to + (size_t)t * W + i, i, TAKE4(T, ROW(x, t), first + i, lines));
#endif
}
#endif

#ifdef MW
#define NW (NV * LENGTH)
/* Four columns of vector v, for the end of a product. */
static inline float4 four(VEC v, int i)
{
    float all[LENGTH];
    VSTORE(v, 0, all);
    return vload4(0, all + 4 * i);
}

#if defined PLANT_WIDTH && PLANT_WIDTH == MW /* a fault, for the test that the tuner finds it */
#define LEAVE 1
#else
#define LEAVE 0
#endif

/* Item (j, g): columns of panel j, rows of the panels from g * each on. */
kernel __attribute__((reqd_work_group_size(1, 1, 1))) __attribute__((vec_type_hint(VEC))) void
packed(const global float *restrict a, const global float *restrict b, IN(TD, bias), IN(TY, residual), OUT(TY, y), const int m,
       const int n, const int k, const int each, const float scale, const int flags)
{
    const int j = get_global_id(0), g = get_global_id(1), panels = (m + MW - 1) / MW;
    const global float *const pb = b + (size_t)j * k * NW;
    for (int i = g * each; i < min(panels, g * each + each); i++) {
        const global float *const pa = a + (size_t)i * k * MW;
        VEC sum[MW][NV];
#pragma unroll
        for (int r = 0; r < MW; r++)
#pragma unroll
            for (int v = 0; v < NV; v++)
                sum[r][v] = 0;
#pragma unroll 1
        for (int t = 0; t < k - LEAVE; t++) {
            VEC z[NV];
#pragma unroll
            for (int v = 0; v < NV; v++)
                z[v] = VLOAD(v, pb + (size_t)t * NW);
#pragma unroll
            for (int r = 0; r < MW; r++)
#pragma unroll
                for (int v = 0; v < NV; v++)
                    sum[r][v] += pa[(size_t)t * MW + r] * z[v];
        }
#pragma unroll
        for (int r = 0; r < MW; r++)
#pragma unroll
            for (int v = 0; v < NV; v++)
                for (int c = 0; c < LENGTH / 4; c++) {
                    const int row = i * MW + r, col = j * NW + v * LENGTH + 4 * c;
                    if (row < m && col < n)
                        finish4(bias, bias_at, bias_ld, residual, residual_at, residual_ld, y, y_at, y_ld, n, scale, flags, row, col,
                                four(sum[r][v], c));
                }
    }
}
#endif
