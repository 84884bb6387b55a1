/* thin.c - an adapter's products, where one side of the result is a few columns: loops that read the wide matrix once.
 *
 * narrow: y [m, few] = A op(B): a block of rows of A in units, one vector of columns; runs along k as in product.c, so that
 * the bits are those of our own loops there.
 * outer: C [few, n] or its transpose, f32 (+)= T^T W with T [k, few], W [k, n], k the rows of a batch: T is packed to units
 * first; of W two rows are woven into units as they are read. Sums go in order of k.
 * Only with the bfloat16 dot product; the other paths leave all to product.c. */
#include "gemm.h"
#include "kernels.h"

#if defined(__AVX512BF16__)

enum { FEW = 32, BLOCK = 16, LEAST_ROWS = 128, CHUNK = 64, WIDE = 2 * VL, RUN = 128 };

INLINE vf dot2(vf sum, uint32_t unit, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32((int)unit), (__m512bh)b);
}

/* Rows 2u and 2u+1 of bf16, VL columns under the mask, as units; a row that is not there is zero. */
INLINE __m512i weave(const uint16_t *first, const uint16_t *second, __mmask16 columns, bool both)
{
    __m512i a = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(columns, first));
    __m512i b = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(both ? columns : 0, second));
    return _mm512_or_si512(a, _mm512_slli_epi32(b, 16));
}

INLINE __mmask16 columns_from(int64_t first, int64_t end) { return first < end ? vtail(vcount(end - first)) : 0; }

/* ---- narrow ---- */

struct narrow {
    const sail_device *d;
    const sail_tensor *a, *y;
    const uint32_t *b; /* [groups of VL columns][units][VL] */
    int64_t units, run; /* of k; of one sum from zero */
    float scale;
};

INLINE void narrow_rows(const int rows, int64_t units, const uint32_t *a, int64_t lda, const uint32_t *b, vf *total)
{
    vf sum[BLOCK];
    UNROLL for (int r = 0; r < rows; r++) sum[r] = vzero();
    for (int64_t u = 0; u < units; u++) {
        __m512i v = _mm512_loadu_si512(b + u * VL);
        UNROLL for (int r = 0; r < rows; r++) sum[r] = dot2(sum[r], a[r * lda + u], v);
    }
    UNROLL for (int r = 0; r < rows; r++) total[r] = sum[r] + total[r];
}

static void narrow_chunk(const sail_device *d, const void *arg, const cpu_block *block, int thread)
{
    const struct narrow *x = arg;
    for (int64_t row = block->row; row < block->row + block->rows; row += BLOCK) {
        int64_t rows = block->row + block->rows - row < BLOCK ? block->row + block->rows - row : BLOCK;
        const uint32_t *a = cpu_row(x->a, row);
        int64_t lda = x->a->ld / 2;
        for (int64_t col = 0; col < x->y->cols; col += VL) {
            const uint32_t *b = x->b + col * x->units;
            vf total[BLOCK];
            for (int r = 0; r < BLOCK; r++)
                total[r] = vset(-0.0f); /* adds nothing, whatever the sign of what it is added to */
            for (int64_t u = 0; u < x->units; u += x->run) {
                int64_t n = x->units - u < x->run ? x->units - u : x->run;
                if (rows == BLOCK)
                    narrow_rows(BLOCK, n, a + u, lda, b + u * VL, total);
                else
                    for (int64_t r = 0; r < rows; r++)
                        narrow_rows(1, n, a + r * lda + u, lda, b + u * VL, total + r);
            }
            int n = vcount(x->y->cols - col);
            for (int64_t r = 0; r < rows; r++)
                vwrite(cpu_row(x->y, row + r), col, n, cpu_bf16(x->y), total[r] * vset(x->scale));
        }
    }
}

static sail_code narrow(sail_device *d, const sail_call *c, sail_err *err)
{
    const sail_tensor *b = &c->in[1];
    int64_t k = c->in[0].cols, units = k / 2, groups = (c->out[0].cols + VL - 1) / VL;
    SAIL_TRY(cpu_scratch(d, (size_t)(groups * units * VL) * 4, 0, err));
    uint32_t *to = (uint32_t *)(void *)d->shared;
    for (int64_t g = 0; g < groups; g++)
        for (int64_t u = 0; u < units;) {
            int64_t first = g * VL;
            __mmask16 columns = columns_from(first, c->out[0].cols);
            if (!c->attr.trans_b) {
                const uint16_t *row = cpu_row(b, 2 * u);
                _mm512_storeu_si512(to + (g * units + u) * VL, weave(row + first, row + b->ld + first, columns, true));
                u++;
                continue;
            }
            vf r[VL];
            int count = vcount(units - u);
            for (int j = 0; j < VL; j++)
                r[j] = vload_part((const float *)cpu_row(b, first + j < b->rows ? first + j : 0) + u, first + j < b->rows ? count : 0);
            vtranspose(r);
            for (int j = 0; j < count; j++, u++)
                memcpy(to + (g * units + u) * VL, &r[j], sizeof r[j]);
        }
    struct narrow x = {d, &c->in[0], &c->out[0], to, units, units, c->attr.scale};
    int64_t runs = (k + OWN_DEPTH - 1) / OWN_DEPTH;
    if (runs > 1) /* as product.c cuts */
        x.run = ((k + runs - 1) / runs + 1) / 2;
    cpu_blocks(d, c->out[0].rows, 1, CHUNK, true, narrow_chunk, &x);
    return SAIL_OK;
}

/* ---- outer ---- */

struct outer {
    const sail_tensor *wide, *c;
    const uint32_t *thin; /* [groups of VL columns][units][VL] */
    int64_t few, k, units;
    bool transposed, accumulate;
    float scale;
};

struct pack {
    const sail_tensor *t;
    uint32_t *to;
    int64_t units;
};

static void pack_thin(const sail_device *d, const void *arg, const cpu_block *block, int thread)
{
    const struct pack *p = arg;
    for (int64_t u = block->row; u < block->row + block->rows; u++)
        for (int64_t col = 0; col < p->t->cols; col += VL) {
            const uint16_t *row = cpu_row(p->t, 2 * u);
            bool both = 2 * u + 1 < p->t->rows;
            _mm512_storeu_si512(p->to + (col * p->units + u * VL),
                                weave(row + col, both ? row + p->t->ld + col : row + col, columns_from(col, p->t->cols), both));
        }
}

/* sum [VL thin][VL wide] += a run of k */
INLINE void outer_run(vf *sum, int64_t units, bool odd, const uint32_t *thin, const uint16_t *wide, int64_t ld, __mmask16 columns)
{
    vf s[VL];
    UNROLL for (int i = 0; i < VL; i++) s[i] = sum[i];
    for (int64_t u = 0; u < units - odd; u++, thin += VL, wide += 2 * ld) {
        __builtin_prefetch(wide + RUN * ld, 0, 2);
        __builtin_prefetch(wide + RUN * ld + ld, 0, 2);
        __m512i v = weave(wide, wide + ld, columns, true);
        UNROLL for (int i = 0; i < VL; i++) s[i] = dot2(s[i], thin[i], v);
    }
    if (odd) {
        __m512i v = weave(wide, wide, columns, false);
        UNROLL for (int i = 0; i < VL; i++) s[i] = dot2(s[i], thin[i], v);
    }
    UNROLL for (int i = 0; i < VL; i++) sum[i] = s[i];
}

static void put(const struct outer *x, int64_t thin, int64_t wide, vf *sum)
{
    if (x->transposed)
        vtranspose(sum);
    int64_t row = x->transposed ? wide : thin, col = x->transposed ? thin : wide;
    int n = vcount(x->c->cols - col);
    for (int i = 0; i < VL && row + i < x->c->rows; i++) {
        vf v = sum[i] * vset(x->scale);
        float *to = cpu_row(x->c, row + i);
        if (x->accumulate)
            v += vread(to, col, n, false);
        vwrite(to, col, n, false, v);
    }
}

static void outer_columns(const sail_device *d, const void *arg, const cpu_block *block, int thread)
{
    const struct outer *x = arg;
    for (int64_t g = 0; g < x->few; g += VL) {
        vf sum[2][VL];
        for (int i = 0; i < VL; i++)
            sum[0][i] = sum[1][i] = vzero();
        for (int64_t k = 0; k < x->k; k += RUN)
            for (int half = 0; half < 2 && half * VL < block->cols; half++) {
                int64_t rows = x->k - k < RUN ? x->k - k : RUN, col = block->col + half * VL;
                outer_run(sum[half], units_of(rows, true), rows % 2, x->thin + g * x->units + k / 2 * VL,
                          (const uint16_t *)cpu_row(x->wide, k) + col, x->wide->ld, columns_from(col, x->wide->cols));
            }
        for (int half = 0; half < 2 && half * VL < block->cols; half++)
            put(x, g, block->col + half * VL, sum[half]);
    }
}

static sail_code outer(sail_device *d, const sail_call *c, sail_err *err)
{
    bool transposed = c->out[0].rows > c->out[0].cols; /* the few are C's columns */
    const sail_tensor *thin = &c->in[transposed ? 1 : 0], *wide = &c->in[transposed ? 0 : 1];
    int64_t units = units_of(thin->rows, true), groups = (thin->cols + VL - 1) / VL;
    SAIL_TRY(cpu_scratch(d, (size_t)(groups * units * VL) * 4, 0, err));
    struct pack p = {thin, (uint32_t *)(void *)d->shared, units};
    cpu_blocks(d, units, 1, 512, true, pack_thin, &p);
    struct outer x = {wide, &c->out[0], p.to, thin->cols, thin->rows, units, transposed, c->attr.accumulate, c->attr.scale};
    cpu_columns(d, wide->cols, WIDE, outer_columns, &x);
    return SAIL_OK;
}

sail_code K(thin)(sail_device *d, const sail_call *c, bool *done, sail_err *err)
{
    const sail_tensor *a = &c->in[0], *b = &c->in[1], *y = &c->out[0];
    *done = false;
    if (!cpu_bf16(a) || !cpu_bf16(b) || (c->n_in > 2 && c->in[2].buffer) || (c->n_in > 3 && c->in[3].buffer))
        return SAIL_OK;
    if (c->attr.trans_a) {
        int64_t few = y->rows < y->cols ? y->rows : y->cols;
        *done = !c->attr.trans_b && !cpu_bf16(y) && few > 0 && few <= FEW && a->rows >= LEAST_ROWS;
        return *done ? outer(d, c, err) : SAIL_OK;
    }
    bool in_place = a->cols % 2 == 0 && a->ld % 2 == 0 && (uintptr_t)cpu_data(a) % 4 == 0;
    bool whole_b = !c->attr.trans_b || (b->ld % 2 == 0 && (uintptr_t)cpu_data(b) % 4 == 0);
    *done = in_place && whole_b && !c->attr.accumulate && y->cols > 0 && y->cols <= FEW && y->rows >= LEAST_ROWS && a->cols >= 2 * VL;
    return *done ? narrow(d, c, err) : SAIL_OK;
}

#else

sail_code K(thin)(sail_device *d, const sail_call *c, bool *done, sail_err *err)
{
    *done = false;
    return SAIL_OK;
}

#endif
