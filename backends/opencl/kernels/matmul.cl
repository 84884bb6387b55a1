/* matmul.cl - y = scale * op(a) op(b) + bias + residual (+ y) by tiles through local memory, and the sum of split products.
 *
 * Options: TA, TB, TD, TY types of a, b, bias, y (and residual); TRANS_A, TRANS_B 0 or 1; a group makes TM x TN of y, TK terms at
 * a time; an item makes WM x WN of them, in pieces of 4 x 4 so that neighbours read neighbouring words of local memory.
 * What lies outside of a matrix counts as zero: every item of a group passes every barrier. */
enum { BIAS = 1, RESIDUAL = 2, ACCUMULATE = 4 };

static inline float4 load4_f32(const global float *p) { return vload4(0, p); }
static inline float4 load4_bf16(const global ushort *p) { return as_float4(convert_uint4(vload4(0, p)) << 16); }
static inline float4 load4_f16(const global ushort *p) { return vload_half4(0, (const global half *)p); }
static inline void store4_f32(global float *p, float4 v) { vstore4(v, 0, p); }
static inline void store4_bf16(global ushort *p, float4 v)
{
    vstore4((ushort4)(to_bf16(v.x), to_bf16(v.y), to_bf16(v.z), to_bf16(v.w)), 0, p);
}
static inline void store4_f16(global ushort *p, float4 v) { vstore_half4_rte(v, 0, (global half *)p); }

/* Up to four of the elements i, i + 1, … of a row of n; the others 0. */
#define TAKE4(T, p, i, n) CAT(take4_, T)(p, i, n)
#define TAKE4_OF(T)                                                                                                    \
    static inline float4 take4_##T(const global T *p, int i, int n)                                                    \
    {                                                                                                                  \
        float4 v = 0;                                                                                                  \
        if (i + 4 <= n)                                                                                                \
            return load4_##T(p + i);                                                                                   \
        if (i < n)                                                                                                     \
            v.x = load_##T(p, i);                                                                                      \
        if (i + 1 < n)                                                                                                 \
            v.y = load_##T(p, i + 1);                                                                                  \
        if (i + 2 < n)                                                                                                 \
            v.z = load_##T(p, i + 2);                                                                                  \
        return v;                                                                                                      \
    }                                                                                                                  \
    static inline void put4_##T(global T *p, int i, int n, float4 v)                                                   \
    {                                                                                                                  \
        if (i + 4 <= n) {                                                                                              \
            store4_##T(p + i, v);                                                                                      \
            return;                                                                                                    \
        }                                                                                                              \
        if (i < n)                                                                                                     \
            store_##T(p, i, v.x);                                                                                      \
        if (i + 1 < n)                                                                                                 \
            store_##T(p, i + 1, v.y);                                                                                  \
        if (i + 2 < n)                                                                                                 \
            store_##T(p, i + 2, v.z);                                                                                  \
    }
#define PUT4(T, p, i, n, v) CAT(put4_, T)(p, i, n, v)
TAKE4_OF(f32)
TAKE4_OF(bf16)
TAKE4_OF(f16)

/* The end of four products of row i from column j on. */
static inline void finish4(IN(TD, bias), IN(TY, residual), OUT(TY, y), const int n, const float scale, const int flags,
                           const int i, const int j, float4 v)
{
    global TY *to = ROW(y, i);
    v *= scale;
    if (flags & BIAS)
        v += TAKE4(TD, bias + bias_at, j, n);
    if (flags & RESIDUAL)
        v += TAKE4(TY, ROW(residual, i), j, n);
    if (flags & ACCUMULATE)
        v += TAKE4(TY, to, j, n);
    PUT4(TY, to, j, n, v);
}

#ifdef TM
enum { GX = TN / WN, GY = TM / WM, ITEMS = GX * GY, LA = TM + 4, LB = TN + 4, BAND = 8 };

/* The first row (x) and column (y) of the tile that group t makes of m x n. Neighbouring groups make BAND tiles of a column, then the next
 * column's: they share what they read. */
static inline int2 tile_of(int t, int m, int n)
{
    const int tiles_m = (m + TM - 1) / TM, tiles_n = (n + TN - 1) / TN;
    const int band = t / (BAND * tiles_n), height = min(tiles_m - band * BAND, (int)BAND), within = t % (BAND * tiles_n);
    return (int2)((band * BAND + within % height) * TM, within / height * TN);
}
#endif

#if defined TM && !defined DOT2

/* A tile of x into to[TK][width + 4]: terms k … k + TK of rows (columns) first … first + width. */
#define FILL_ALONG(T, from, to, width, first, count, k, k_end) /* terms are a row's elements */                           \
    for (int v = get_local_id(0); v < width * (TK / 4); v += ITEMS) {                                                  \
        const int r = v / (TK / 4), c = v % (TK / 4) * 4;                                                              \
        float4 e = 0;                                                                                                  \
        if (first + r < count)                                                                                         \
            e = TAKE4(T, ROW(from, first + r), k + c, k_end);                                                             \
        to[(c + 0) * (width + 4) + r] = e.x;                                                                           \
        to[(c + 1) * (width + 4) + r] = e.y;                                                                           \
        to[(c + 2) * (width + 4) + r] = e.z;                                                                           \
        to[(c + 3) * (width + 4) + r] = e.w;                                                                           \
    }
#define FILL_ACROSS(T, from, to, width, first, count, k, k_end) /* a term is a row */                                     \
    for (int v = get_local_id(0); v < TK * (width / 4); v += ITEMS) {                                                  \
        const int r = v / (width / 4), c = v % (width / 4) * 4;                                                        \
        float4 e = 0;                                                                                                  \
        if (k + r < k_end)                                                                                             \
            e = TAKE4(T, ROW(from, k + r), first + c, count);                                                             \
        *(local float4 *)(to + r * (width + 4) + c) = e;                                                               \
    }

/* Group (t, s): tile t, terms of part s: `chunk` of them; part s goes to y + s * plane. */
kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
tiled(IN(TA, a), IN(TB, b), IN(TD, bias), IN(TY, residual), OUT(TY, y), const int m, const int n, const int k, const int chunk,
      const ulong plane, const float scale, const int flags)
{
    local float4 room_a[TK * LA / 4], room_b[TK * LB / 4];
    local float *const la = (local float *)room_a, *const lb = (local float *)room_b;
    const int tx = get_local_id(0) % GX, ty = get_local_id(0) / GX;
    const int2 place = tile_of(get_group_id(0), m, n);
    const int row = place.x, col = place.y;
    const int k_begin = (int)get_group_id(1) * chunk, k_end = min(k, k_begin + chunk);
    float4 sum[WM][WN / 4];
#pragma unroll
    for (int i = 0; i < WM; i++)
#pragma unroll
        for (int j = 0; j < WN / 4; j++)
            sum[i][j] = 0;
    for (int at = k_begin; at < k_end; at += TK) {
#if TRANS_A
        FILL_ACROSS(TA, a, la, TM, row, m, at, k_end)
#else
        FILL_ALONG(TA, a, la, TM, row, m, at, k_end)
#endif
#if TRANS_B
        FILL_ALONG(TB, b, lb, TN, col, n, at, k_end)
#else
        FILL_ACROSS(TB, b, lb, TN, col, n, at, k_end)
#endif
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int p = 0; p < TK; p++) {
            float4 x[WM / 4], z[WN / 4];
#pragma unroll
            for (int i = 0; i < WM / 4; i++)
                x[i] = room_a[p * (LA / 4) + i * GY + ty];
#pragma unroll
            for (int j = 0; j < WN / 4; j++)
                z[j] = room_b[p * (LB / 4) + j * GX + tx];
#pragma unroll
            for (int i = 0; i < WM / 4; i++)
#pragma unroll
                for (int j = 0; j < WN / 4; j++) {
                    sum[4 * i + 0][j] += x[i].x * z[j];
                    sum[4 * i + 1][j] += x[i].y * z[j];
                    sum[4 * i + 2][j] += x[i].z * z[j];
                    sum[4 * i + 3][j] += x[i].w * z[j];
                }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    y += plane * get_group_id(1);
#pragma unroll
    for (int i = 0; i < WM; i++) {
        const int r = row + (i / 4 * GY + ty) * 4 + i % 4;
#pragma unroll
        for (int j = 0; j < WN / 4; j++) {
            const int c = col + (j * GX + tx) * 4;
            if (r < m && c < n)
                finish4(bias, bias_at, bias_ld, residual, residual_at, residual_ld, y, y_at, y_ld, n, scale, flags, r, c,
                        sum[i][j]);
        }
    }
}
#endif

#ifdef MERGE
/* The parts, added in order, and the end of the product. Items walk over fours of columns (0) and rows (1). */
kernel void merge(const global float *parts, const int n_parts, const ulong plane, const int part_ld, IN(TD, bias),
                  IN(TY, residual), OUT(TY, y), const int m, const int n, const float scale, const int flags)
{
    for (int i = get_global_id(1); i < m; i += get_global_size(1))
        for (int j = get_global_id(0) * 4; j < n; j += get_global_size(0) * 4) {
            const global float *p = parts + (size_t)i * part_ld;
            float4 v = 0;
            for (int s = 0; s < n_parts; s++, p += plane)
                v += take4_f32(p, j, n);
            finish4(bias, bias_at, bias_ld, residual, residual_at, residual_ld, y, y_at, y_ld, n, scale, flags, i, j, v);
        }
}
#endif
