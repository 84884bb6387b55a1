/* gemm.c - packing, and the innermost loops of matrix products. */
#include "gemm.h"

#if defined(__AVX512F__)
enum { MR = 12 };
#elif defined(__AVX2__)
enum { MR = 6 };
#else
enum { MR = 4 };
#endif

INLINE vf step(vf sum, const uint32_t *a, vf b, const bool pairs)
{
#if defined(__AVX512BF16__)
    if (pairs)
        return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32((int)*a), (__m512bh)_mm512_castps_si512(b));
#endif
    float x;
    memcpy(&x, a, sizeof x);
    return vfma(vset(x), b, sum);
}

INLINE vf load_units(const uint32_t *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void micro(const int rows, const bool pairs, int64_t units, const uint32_t *a, int64_t lda, const uint32_t *b,
                  float *c, int64_t ldc, bool accumulate)
{
    vf sum[MR][2];
    UNROLL for (int r = 0; r < rows; r++) {
        sum[r][0] = vzero();
        sum[r][1] = vzero();
    }
    for (int64_t k = 0; k < units; k++, b += NR) {
        vf b0 = load_units(b), b1 = load_units(b + VL);
        UNROLL for (int r = 0; r < rows; r++) {
            sum[r][0] = step(sum[r][0], a + r * lda + k, b0, pairs);
            sum[r][1] = step(sum[r][1], a + r * lda + k, b1, pairs);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        if (accumulate) {
            sum[r][0] += vload(c + r * ldc);
            sum[r][1] += vload(c + r * ldc + VL);
        }
        vstore(c + r * ldc, sum[r][0]);
        vstore(c + r * ldc + VL, sum[r][1]);
    }
}

typedef void micro_fn(int64_t units, const uint32_t *a, int64_t lda, const uint32_t *b, float *c, int64_t ldc, bool acc);
#define MICRO(rows)                                                                                                    \
    static void micro_f32_##rows(int64_t u, const uint32_t *a, int64_t lda, const uint32_t *b, float *c, int64_t ldc,  \
                                 bool acc)                                                                             \
    {                                                                                                                  \
        micro(rows, false, u, a, lda, b, c, ldc, acc);                                                                 \
    }                                                                                                                  \
    static void micro_pair_##rows(int64_t u, const uint32_t *a, int64_t lda, const uint32_t *b, float *c, int64_t ldc, \
                                  bool acc)                                                                            \
    {                                                                                                                  \
        micro(rows, HAVE_PAIRS, u, a, lda, b, c, ldc, acc);                                                            \
    }
MICRO(1) MICRO(2) MICRO(3) MICRO(4)
#if defined(__AVX2__)
MICRO(5) MICRO(6)
#endif
#if defined(__AVX512F__)
MICRO(7) MICRO(8) MICRO(9) MICRO(10) MICRO(11) MICRO(12)
#endif
static micro_fn *const micros[2][MR] = {
#if defined(__AVX512F__)
    {micro_f32_1, micro_f32_2, micro_f32_3, micro_f32_4, micro_f32_5, micro_f32_6, micro_f32_7, micro_f32_8, micro_f32_9,
     micro_f32_10, micro_f32_11, micro_f32_12},
    {micro_pair_1, micro_pair_2, micro_pair_3, micro_pair_4, micro_pair_5, micro_pair_6, micro_pair_7, micro_pair_8,
     micro_pair_9, micro_pair_10, micro_pair_11, micro_pair_12},
#elif defined(__AVX2__)
    {micro_f32_1, micro_f32_2, micro_f32_3, micro_f32_4, micro_f32_5, micro_f32_6},
    {micro_pair_1, micro_pair_2, micro_pair_3, micro_pair_4, micro_pair_5, micro_pair_6},
#else
    {micro_f32_1, micro_f32_2, micro_f32_3, micro_f32_4},
    {micro_pair_1, micro_pair_2, micro_pair_3, micro_pair_4},
#endif
};

void K(gemm)(int64_t m, int64_t n_panels, int64_t units, const void *a, int64_t lda, const uint32_t *b, float *c,
             int64_t ldc, bool accumulate, bool pairs)
{
    /* even blocks of rows: 13 rows go as 7 and 6, not as 12 and 1 */
    int64_t blocks = (m + MR - 1) / MR;
    for (int64_t p = 0; p < n_panels; p++)
        for (int64_t i = 0, row = 0; i < blocks; i++) {
            int64_t end = (i + 1) * m / blocks, rows = end - row;
            micros[pairs][rows - 1](units, (const uint32_t *)a + row * lda, lda, b + p * units * NR,
                                    c + row * ldc + p * NR, ldc, accumulate);
            row = end;
        }
}

/* VL units at unit i of a row of k elements. */
INLINE vf row_units(const void *b, int64_t i, int n, int64_t k, bool b_bf16, bool pairs)
{
    if (!pairs)
        return vread(b, i, n, b_bf16);
    const uint16_t *h = (const uint16_t *)b + 2 * i;
    if (n == VL && 2 * (i + VL) <= k)
        return load_units((const void *)h);
    uint16_t t[2 * VL] = {0};
    int64_t left = k - 2 * i;
    memcpy(t, h, (size_t)(left < 2 * n ? left : 2 * n) * sizeof t[0]);
    return load_units((const void *)t);
}

INLINE void pack_nk_body(uint32_t *to, const void *b, int64_t ldb, int n, int64_t k, const bool b_bf16, const bool pairs,
                         const char *ahead)
{
    int64_t units = units_of(k, pairs);
    size_t size = b_bf16 ? 2 : 4;
    for (int half = 0; half < 2; half++)
        for (int64_t i = 0; i < units; i += VL) {
            int count = vcount(units - i);
            vf r[VL];
            if (n >= (half + 1) * VL && count == VL && (!pairs || 2 * (i + VL) <= k)) {
                UNROLL for (int j = 0; j < VL; j++) {
                    const char *row = (const char *)b + (size_t)((half * VL + j) * ldb) * size;
                    if (ahead) {
                        __builtin_prefetch(ahead, 0, 2);
                        ahead += 64;
                    }
                    r[j] = pairs ? load_units((const void *)(row + 4 * i)) : vread(row, i, VL, b_bf16);
                }
            } else
                for (int j = 0; j < VL; j++)
                    r[j] = half * VL + j < n ? row_units((const char *)b + (size_t)((half * VL + j) * ldb) * size, i, count,
                                                         k, b_bf16, pairs)
                                             : vzero();
            vtranspose(r);
            if (count == VL) {
                UNROLL for (int j = 0; j < VL; j++)
                    memcpy(to + (i + j) * NR + half * VL, &r[j], sizeof r[j]);
            } else
                for (int j = 0; j < count; j++)
                    memcpy(to + (i + j) * NR + half * VL, &r[j], sizeof r[j]);
        }
}

void K(pack_nk_panel)(uint32_t *to, const void *b, int64_t ldb, int n, int64_t k, bool b_bf16, bool pairs, const char *ahead)
{
    if (HAVE_PAIRS && pairs)
        pack_nk_body(to, b, ldb, n, k, true, true, ahead);
    else if (b_bf16)
        pack_nk_body(to, b, ldb, n, k, true, false, ahead);
    else
        pack_nk_body(to, b, ldb, n, k, false, false, ahead);
}

static void pack_kn_pairs(uint32_t *to, const uint16_t *b, int64_t ldb, int n, int64_t k)
{
    for (int64_t i = 0; i < k; i += 2, to += NR) {
        const uint16_t *first = b + i * ldb, *second = i + 1 < k ? first + ldb : NULL;
#if defined(__AVX512F__)
        if (n == NR && second) {
            vinterleave(first, second, to);
            continue;
        }
#endif
        for (int j = 0; j < NR; j++)
            to[j] = j < n ? (uint32_t)first[j] | (second ? (uint32_t)second[j] << 16 : 0) : 0;
    }
}

void K(pack_kn_panel)(uint32_t *to, const void *b, int64_t ldb, int n, int64_t k, bool b_bf16, bool pairs)
{
    if (HAVE_PAIRS && pairs) {
        pack_kn_pairs(to, b, ldb, n, k);
        return;
    }
    for (int64_t i = 0; i < k; i++, to += NR) {
        const char *row = (const char *)b + (size_t)(i * ldb) * (b_bf16 ? 2 : 4);
        for (int half = 0; half < 2; half++) {
            int count = vcount(n - half * VL);
            vf v = count > 0 ? vread(row, half * VL, count, b_bf16) : vzero();
            memcpy(to + half * VL, &v, sizeof v);
        }
    }
}

void K(pack_nk)(uint32_t *to, const void *b, int64_t ldb, int64_t n, int64_t k, bool b_bf16, bool pairs)
{
    for (int64_t j = 0; j < n; j += NR, to += units_of(k, pairs) * NR)
        K(pack_nk_panel)(to, (const char *)b + (size_t)(j * ldb) * (b_bf16 ? 2 : 4), ldb, (int)(n - j < NR ? n - j : NR), k,
                         b_bf16, pairs, NULL);
}

void K(pack_kn)(uint32_t *to, const void *b, int64_t ldb, int64_t n, int64_t k, bool b_bf16, bool pairs)
{
    for (int64_t j = 0; j < n; j += NR, to += units_of(k, pairs) * NR)
        K(pack_kn_panel)(to, (const char *)b + (size_t)j * (b_bf16 ? 2 : 4), ldb, (int)(n - j < NR ? n - j : NR), k, b_bf16,
                         pairs);
}

void K(pack_rows)(uint32_t *to, const void *a, int64_t lda, int64_t m, int64_t k, bool a_bf16, bool pairs)
{
    int64_t units = units_of(k, pairs);
    for (int64_t r = 0; r < m; r++, to += units) {
        const char *row = (const char *)a + (size_t)(r * lda) * (a_bf16 ? 2 : 4);
        if (pairs) {
            to[units - 1] = 0;
            memcpy(to, row, (size_t)k * 2);
        } else if (!a_bf16)
            memcpy(to, row, (size_t)k * 4);
        else
            for (int64_t i = 0; i < k; i += VL)
                vwrite(to, i, vcount(k - i), false, vread(row, i, vcount(k - i), true));
    }
}
