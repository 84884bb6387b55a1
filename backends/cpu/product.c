/* product.c - one matrix product on one thread: cut into the sizes that oneDNN's primitives are kept for, the rest done by
 * our own loops, which sum in the same order. */
#include "gemm.h"

enum { LEAST = 32 }; /* rows from which oneDNN is faster than our own loops */

static int64_t part_size(int64_t left)
{
    /* 2^i and 3/4 of it: few sizes, little left over */
    int64_t size = LEAST;
    while (size * 2 <= left)
        size *= 2;
    return size / 2 * 3 <= left ? size / 2 * 3 : size;
}

static size_t own_scratch(int64_t n)
{
    return cpu_round(NR * OWN_DEPTH * 4) + cpu_round(OWN_ROWS * OWN_DEPTH * 4) +
           cpu_round((size_t)(OWN_ROWS * round_panels(n)) * 4);
}

static size_t low_scratch(const product *x)
{
    return x->low_k ? cpu_round((size_t)(LOW_ROWS * round_panels(x->p.n)) * 4) : 0;
}

/* How k is cut into runs. */
static int64_t depth_step(int64_t k)
{
    int64_t runs = (k + OWN_DEPTH - 1) / OWN_DEPTH;
    int64_t step = runs ? ((k + runs - 1) / runs + 1) / 2 * 2 : OWN_DEPTH;
    return runs == 1 ? k : step;
}

static sail_code get(sail_device *d, product *x, cpu_product q, bool sum, int64_t k, cpu_prim **out, sail_err *err)
{
    q.k = k;
    q.sum = sum;
    SAIL_TRY(cpu_dnnl_get(d, &q, out, err));
    size_t need = cpu_round(cpu_prim_scratch(*out)) + (x->through_tile ? cpu_round((size_t)(PRODUCT_ROWS * q.ldc) * 4) : 0);
    x->scratch = x->scratch > low_scratch(x) + need ? x->scratch : low_scratch(x) + need;
    return SAIL_OK;
}

/* The primitives of part i, which has `size` rows (or, with trans_a, `size` of k). */
static sail_code get_part(sail_device *d, product *x, int i, int64_t start, int64_t size, sail_err *err)
{
    const cpu_product *p = &x->p;
    cpu_product q = *p;
    q.bf16 = x->a_bf16;
    if (p->trans_a)
        return get(d, x, q, p->sum || start > 0, size, &x->part[i].first, err);
    q.m = size;
    if (!x->through_tile && x->depth >= p->k)
        return get(d, x, q, p->sum, p->k, &x->part[i].first, err);
    if (x->through_tile) {
        q.ldc = round_panels(p->n);
        q.bias = q.bf16_out = false;
        q.scale = 1;
    }
    int64_t last = p->k % x->depth ? p->k % x->depth : x->depth;
    if (x->depth >= p->k)
        return get(d, x, q, false, p->k, &x->part[i].first, err);
    SAIL_TRY(get(d, x, q, false, x->depth, &x->part[i].first, err));
    SAIL_TRY(get(d, x, q, true, x->depth, &x->part[i].more, err));
    return get(d, x, q, true, last, &x->part[i].last, err);
}

sail_code K(product_make)(sail_device *d, product *x, sail_err *err)
{
    const cpu_product *p = &x->p;
    bool pairs = x->a_bf16 && x->b_bf16;
    bool dnnl = d->dnnl && !x->own && x->a_bf16 == x->b_bf16 && (!pairs || d->dnnl_bf16) && p->n > 0 && !(p->bias && p->scale != 1.0f);
    dnnl = dnnl && (p->trans_a ? pairs || !(p->bf16_out || p->bias_bf16) : d->dnnl_rows);
    bool whole_k = p->trans_a && (p->bf16_out || p->bias); /* a sum of parts would be rounded between them */
    x->parts = 0;
    x->scratch = low_scratch(x) + own_scratch(p->n);
    x->depth = depth_step(p->k);
    x->through_tile = !p->trans_a && (x->low_k > 0 || (p->k > x->depth && (p->sum || p->bias || p->bf16_out || p->scale != 1.0f)) ||
                                      (!pairs && (p->bf16_out || p->bias_bf16))); /* oneDNN does not mix f32 and bf16 */
    int64_t total = p->trans_a ? p->k : p->m, at = 0;
    while (at < total) {
        int64_t left = total - at, size = left;
        bool use = dnnl && (left >= LEAST || whole_k) && p->m > 0 && p->k > 0 && x->parts < PRODUCT_PARTS - 1;
        if (use && !whole_k)
            size = part_size(left);
        x->part[x->parts].start = at;
        x->part[x->parts].size = size;
        x->part[x->parts].first = NULL;
        if (use)
            SAIL_TRY(get_part(d, x, x->parts, at, size, err));
        x->parts++;
        at += size;
    }
    if (total == 0) { /* nothing to sum: what remains is the bias */
        x->part[0].start = x->part[0].size = 0;
        x->part[0].first = NULL;
        x->parts = p->m > 0;
    }
    return SAIL_OK;
}

struct own {
    const product *x;
    int64_t m, k; /* of this part */
    bool sum;
    const char *a, *b, *low_a;
    const void *bias;
    const char *residual; /* where `sum` reads; C itself where there is no residual */
    int64_t ld_residual;
    char *c;
    const uint32_t *low_b;
    float *low; /* [LOW_ROWS, round_panels(n)] */
};

/* n values of C: scale tile + bias + what was there or is to be added + low_scale low */
INLINE void finish_row(const product *x, void *to, const void *from, const void *bias, const float *tile, const float *low,
                       const bool bf16, const bool sum, const bool with_low)
{
    const cpu_product *p = &x->p;
    for (int64_t j = 0; j < p->n; j += VL) {
        int n = vcount(p->n - j);
        vf v = vload(tile + j) * vset(p->scale);
        if (bias)
            v += vread(bias, j, n, p->bias_bf16);
        if (sum)
            v += vread(from, j, n, bf16);
        if (with_low)
            v += vload(low + j) * vset(x->low_scale);
        vwrite(to, j, n, bf16, v);
    }
}

static void finish(const struct own *o, const float *tile, int64_t ld, int64_t row, int64_t rows)
{
    const product *x = o->x;
    const cpu_product *p = &x->p;
    size_t size = p->bf16_out ? 2 : 4;
    for (int64_t r = 0; r < rows; r++) {
        if (x->low_k && r % LOW_ROWS == 0)
            K(gemm)(rows - r < LOW_ROWS ? rows - r : LOW_ROWS, ld / NR, units_of(x->low_k, x->low_pairs),
                    o->low_a + (row + r) * x->low_lda * 4, x->low_lda, o->low_b, o->low, ld, false, x->low_pairs);
        char *to = o->c + (size_t)((row + r) * p->ldc) * size;
        const char *from = o->residual + (size_t)((row + r) * o->ld_residual) * size;
        const float *t = tile + r * ld, *low = o->low + r % LOW_ROWS * ld;
        switch (4 * p->bf16_out + 2 * o->sum + (x->low_k > 0)) {
        case 0: finish_row(x, to, from, o->bias, t, low, false, false, false); break;
        case 1: finish_row(x, to, from, o->bias, t, low, false, false, true); break;
        case 2: finish_row(x, to, from, o->bias, t, low, false, true, false); break;
        case 3: finish_row(x, to, from, o->bias, t, low, false, true, true); break;
        case 4: finish_row(x, to, from, o->bias, t, low, true, false, false); break;
        case 5: finish_row(x, to, from, o->bias, t, low, true, false, true); break;
        case 6: finish_row(x, to, from, o->bias, t, low, true, true, false); break;
        default: finish_row(x, to, from, o->bias, t, low, true, true, true); break;
        }
    }
}

static const char *element(const void *base, int64_t index, bool bf16)
{
    return (const char *)base + index * (bf16 ? 2 : 4);
}

/* A's rows [row, row + rows), k from `from`, as units; what can be read in place is. */
static const void *own_a(const struct own *o, int64_t row, int64_t rows, int64_t from, int64_t k, bool pairs,
                         uint32_t *copy, int64_t *lda)
{
    const cpu_product *p = &o->x->p;
    bool bf16 = o->x->a_bf16;
    if (!p->trans_a) {
        const char *a = element(o->a, row * p->lda + from, bf16);
        if (pairs ? p->lda % 2 == 0 && k % 2 == 0 && (uintptr_t)a % 4 == 0 : !bf16) {
            *lda = pairs ? p->lda / 2 : p->lda;
            return a;
        }
        *lda = units_of(k, pairs);
        K(pack_rows)(copy, a, p->lda, rows, k, bf16, pairs);
        return copy;
    }
    *lda = units_of(k, pairs);
    if (pairs && k % 2)
        for (int64_t r = 0; r < rows; r++)
            copy[r * *lda + *lda - 1] = 0;
    for (int64_t i = 0; i < k; i++) {
        const char *a = element(o->a, (from + i) * p->lda + row, bf16);
        for (int64_t r = 0; r < rows; r++) {
            if (pairs) {
                ((uint16_t *)copy)[r * *lda * 2 + i] = ((const uint16_t *)(const void *)a)[r];
            } else {
                float f = bf16 ? sail_bf16_to_f32(((const uint16_t *)(const void *)a)[r]) : ((const float *)(const void *)a)[r];
                memcpy(copy + r * *lda + i, &f, sizeof f);
            }
        }
    }
    return copy;
}

/* tile [rows, round_panels(n)] = the product of `rows` rows of A, packed or in place, and all of B, for one run along k */
static void own_tile(const struct own *o, int64_t rows, int64_t k, int64_t count, const void *a, int64_t lda,
                     int64_t col, int64_t cols, uint32_t *panel, float *tile, bool pairs, bool ahead)
{
    const cpu_product *p = &o->x->p;
    bool b_bf16 = o->x->b_bf16;
    int64_t ld = round_panels(p->n);
    for (int64_t j = col; j < col + cols; j += NR) {
        int n = (int)(p->n - j < NR ? p->n - j : NR);
        if (p->trans_b)
            K(pack_nk_panel)(panel, element(o->b, j * p->ldb + k, b_bf16), p->ldb, n, count, b_bf16, pairs,
                             ahead ? element(o->b, (j + 2 * NR) * p->ldb + k * NR, b_bf16) : NULL);
        else
            K(pack_kn_panel)(panel, element(o->b, k * p->ldb + j, b_bf16), p->ldb, n, count, b_bf16, pairs);
        K(gemm)(rows, 1, units_of(count, pairs), a, lda, panel, tile + j, ld, k > 0, pairs);
    }
}

static void own_run(const struct own *o, void *scratch)
{
    const cpu_product *p = &o->x->p;
    bool pairs = HAVE_PAIRS && o->x->a_bf16 && o->x->b_bf16;
    uint32_t *panel = scratch, *copy = panel + cpu_round(NR * OWN_DEPTH * 4) / 4;
    float *tile = (float *)(copy + cpu_round(OWN_ROWS * OWN_DEPTH * 4) / 4);
    int64_t step = depth_step(o->k), ld = round_panels(p->n), lda;
    if (o->m * units_of(o->k, pairs) <= OWN_ROWS * OWN_DEPTH && o->m <= OWN_ROWS && o->k > 0) {
        /* few rows: B is read once, panel after panel as it lies in memory */
        const char *a = own_a(o, 0, o->m, 0, o->k, pairs, copy, &lda);
        for (int64_t j = 0; j < p->n; j += NR)
            for (int64_t k = 0; k < o->k; k += step)
                own_tile(o, o->m, k, o->k - k < step ? o->k - k : step, a + units_of(k, pairs) * 4, lda, j, NR, panel, tile,
                         pairs, true);
        finish(o, tile, ld, 0, o->m);
        return;
    }
    for (int64_t row = 0; row < o->m; row += OWN_ROWS) {
        int64_t rows = o->m - row < OWN_ROWS ? o->m - row : OWN_ROWS;
        if (o->k == 0)
            memset(tile, 0, (size_t)(rows * ld) * sizeof *tile);
        for (int64_t k = 0; k < o->k; k += step) {
            int64_t count = o->k - k < step ? o->k - k : step;
            const void *a = own_a(o, row, rows, k, count, pairs, copy, &lda);
            own_tile(o, rows, k, count, a, lda, 0, p->n, panel, tile, pairs, false);
        }
        finish(o, tile, ld, row, rows);
    }
}

static void copy_residual(const struct own *o)
{
    const cpu_product *p = &o->x->p;
    size_t size = p->bf16_out ? 2 : 4;
    for (int64_t r = 0; r < o->m; r++)
        memcpy(o->c + (size_t)(r * p->ldc) * size, o->residual + (size_t)(r * o->ld_residual) * size, (size_t)p->n * size);
}

/* A part by oneDNN, run after run along k. */
static bool dnnl_run(const product *x, int part, int thread, const struct own *o, unsigned char *scratch)
{
    const cpu_product *p = &x->p;
    if (o->residual != o->c && !x->through_tile) /* oneDNN adds to what is there */
        copy_residual(o);
    if (p->trans_a || (!x->through_tile && x->depth >= p->k))
        return cpu_prim_run(x->part[part].first, thread, o->a, o->b, o->bias, o->c, scratch);
    float *tile = x->through_tile ? (float *)(void *)scratch : (float *)(void *)o->c;
    if (x->through_tile)
        scratch += cpu_round((size_t)(PRODUCT_ROWS * round_panels(p->n)) * 4);
    for (int64_t k = 0; k < p->k; k += x->depth) {
        const cpu_prim *prim = k == 0                  ? x->part[part].first
                               : k + x->depth < p->k ? x->part[part].more
                                                       : x->part[part].last;
        if (!cpu_prim_run(prim, thread, element(o->a, k, x->a_bf16), element(o->b, p->trans_b ? k : k * p->ldb, x->b_bf16),
                          NULL, tile, scratch))
            return false;
    }
    if (x->through_tile)
        finish(o, tile, round_panels(p->n), 0, o->m);
    return true;
}

bool K(product_run)(const product *x, int thread, const product_operands *with, void *scratch)
{
    const cpu_product *p = &x->p;
    size_t size = p->bf16_out ? 2 : 4;
    struct own whole = {.x = x, .m = p->m, .k = p->k, .sum = p->sum, .a = with->a, .b = with->b, .bias = with->bias, .c = with->c,
                        .residual = with->residual ? with->residual : with->c,
                        .ld_residual = with->residual ? with->ld_residual : p->ldc, .low_a = with->low_a, .low_b = with->low_b,
                        .low = scratch};
    scratch = (char *)scratch + low_scratch(x);
    if (p->trans_a && whole.residual != whole.c) { /* parts of k are added to it, one after the other */
        copy_residual(&whole);
        whole.residual = whole.c;
        whole.ld_residual = p->ldc;
    }
    for (int i = 0; i < x->parts; i++) {
        int64_t start = x->part[i].start;
        struct own o = whole;
        if (p->trans_a) {
            o.k = x->part[i].size;
            o.sum = p->sum || i > 0;
            o.a = element(whole.a, start * p->lda, x->a_bf16);
            o.b = element(whole.b, p->trans_b ? start : start * p->ldb, x->b_bf16);
        } else {
            o.m = x->part[i].size;
            o.a = element(whole.a, start * p->lda, x->a_bf16);
            o.low_a = x->low_k ? whole.low_a + start * x->low_lda * 4 : NULL;
            o.c = whole.c + (size_t)(start * p->ldc) * size;
            o.residual = whole.residual + (size_t)(start * whole.ld_residual) * size;
        }
        if (!x->part[i].first)
            own_run(&o, scratch);
        else if (!dnnl_run(x, i, thread, &o, scratch))
            return false;
    }
    return true;
}
