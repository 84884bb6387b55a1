/* matmul_pairs.cl - the product of 16-bit matrices by tiles that keep them 16 bits wide: a word of local memory has two terms of a line,
 * and dot2 adds both products to a float32 sum. Half the local memory and half its traffic; the bound is that of matmul.cl's tiles.
 *
 * Options: as matmul.cl, which comes before, and dot2.cl; TA and TB are the same 16-bit type. */
/* Up to four of the elements i, i + 1, … of a row of n, as they are; the others 0. */
static inline ushort4 raw4(const global ushort *p, int i, int n)
{
    ushort4 v = 0;
    if (i + 4 <= n)
        return vload4(0, p + i);
    if (i < n)
        v.x = p[i];
    if (i + 1 < n)
        v.y = p[i + 1];
    if (i + 2 < n)
        v.z = p[i + 2];
    return v;
}

/* A tile of x into to[TK / 2][width + 4], pairs of terms. */
#define FILL_ALONG(from, to, width, first, count, k, k_end) /* terms are a row's elements */                           \
    for (int v = get_local_id(0); v < width * (TK / 4); v += ITEMS) {                                                  \
        const int r = v / (TK / 4), c = v % (TK / 4) * 4;                                                              \
        const ushort4 e = first + r < count ? raw4(ROW(from, first + r), k + c, k_end) : (ushort4)0;                   \
        to[(c / 2 + 0) * (width + 4) + r] = as_uint(e.lo);                                                             \
        to[(c / 2 + 1) * (width + 4) + r] = as_uint(e.hi);                                                             \
    }
#define FILL_ACROSS(from, to, width, first, count, k, k_end) /* a term is a row */                                     \
    for (int v = get_local_id(0); v < TK / 2 * (width / 4); v += ITEMS) {                                              \
        const int r = v / (width / 4) * 2, c = v % (width / 4) * 4;                                                    \
        const ushort4 e = k + r < k_end ? raw4(ROW(from, k + r), first + c, count) : (ushort4)0;                       \
        const ushort4 f = k + r + 1 < k_end ? raw4(ROW(from, k + r + 1), first + c, count) : (ushort4)0;               \
        vstore4(convert_uint4(e) | convert_uint4(f) << 16, 0, to + r / 2 * (width + 4) + c);                           \
    }

/* Groups as in tiled(). */
kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
paired(IN(TA, a), IN(TB, b), IN(TD, bias), IN(TY, residual), OUT(TY, y), const int m, const int n, const int k, const int chunk,
       const ulong plane, const float scale, const int flags)
{
    local uint4 room_a[TK / 2 * LA / 4], room_b[TK / 2 * LB / 4];
    local uint *const la = (local uint *)room_a, *const lb = (local uint *)room_b;
    const int tx = get_local_id(0) % GX, ty = get_local_id(0) / GX;
    const int2 place = tile_of(get_group_id(0), m, n);
    const int row = place.x, col = place.y;
    const int k_begin = (int)get_group_id(1) * chunk, k_end = min(k, k_begin + chunk);
    float sum[WM][WN];
#pragma unroll
    for (int i = 0; i < WM; i++)
#pragma unroll
        for (int j = 0; j < WN; j++)
            sum[i][j] = 0;
    for (int at = k_begin; at < k_end; at += TK) {
#if TRANS_A
        FILL_ACROSS(a, la, TM, row, m, at, k_end)
#else
        FILL_ALONG(a, la, TM, row, m, at, k_end)
#endif
#if TRANS_B
        FILL_ALONG(b, lb, TN, col, n, at, k_end)
#else
        FILL_ACROSS(b, lb, TN, col, n, at, k_end)
#endif
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int p = 0; p < TK / 2; p++) {
            uint4 x[WM / 4], z[WN / 4];
#pragma unroll
            for (int i = 0; i < WM / 4; i++)
                x[i] = room_a[p * (LA / 4) + i * GY + ty];
#pragma unroll
            for (int j = 0; j < WN / 4; j++)
                z[j] = room_b[p * (LB / 4) + j * GX + tx];
#define ROW_OF(i, c)                                                                                                   \
    sum[4 * i + c][4 * j + 0] = dot2(x[i].s##c, z[j].x, sum[4 * i + c][4 * j + 0]);                                    \
    sum[4 * i + c][4 * j + 1] = dot2(x[i].s##c, z[j].y, sum[4 * i + c][4 * j + 1]);                                    \
    sum[4 * i + c][4 * j + 2] = dot2(x[i].s##c, z[j].z, sum[4 * i + c][4 * j + 2]);                                    \
    sum[4 * i + c][4 * j + 3] = dot2(x[i].s##c, z[j].w, sum[4 * i + c][4 * j + 3]);
#pragma unroll
            for (int i = 0; i < WM / 4; i++)
#pragma unroll
                for (int j = 0; j < WN / 4; j++) {
                    ROW_OF(i, 0)
                    ROW_OF(i, 1)
                    ROW_OF(i, 2)
                    ROW_OF(i, 3)
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
                        (float4)(sum[i][4 * j], sum[i][4 * j + 1], sum[i][4 * j + 2], sum[i][4 * j + 3]));
        }
    }
}
