/* head_back.c - HEAD_BACK: logits are computed again by tiles and turned into dz, from which dx += dz w, dw += dz' x and db += dz at
 * once. A task is a slice of the vocabulary, the only one that touches its rows of dw and db; each slice sums its own dx, and the
 * slices' dx are added in order. Rows are taken in passes so that these partial sums stay small. */
#include "head.h"

enum { SLICES = 16, TILE_V = 3 * HEAD_COLUMNS, PARTIAL_BYTES = 64 << 20 };

struct job {
    head_shape h;
    const sail_call *c;
    const sail_tensor *dx, *dw;
    float *db; /* NULL: not wanted */
    product z[2][2], dx_plan[2][2], dw_plan[2][2]; /* [last rows][last tile] (z: last columns) */
    size_t room, dz_bytes;
    float *partial;       /* [SLICES][rows of a pass][d] */
    int64_t first, count; /* rows of this pass */
    int64_t slice;        /* vocabulary of a task */
    int64_t per_pass, last_rows, last_tile, last_columns;
    bool clear; /* dw and db begin at 0 */
    int failed;
};

static float given(const sail_tensor *t, int64_t row) { return t->buffer ? *(const float *)cpu_row(t, row) : 0; }

/* dz (by the product x.w) of one row's n logits at vocabulary entry v, from the products in z. */
static void derive(const struct job *j, const float *z, int64_t row, int64_t v, int64_t n, void *dz)
{
    const head_shape *h = &j->h;
    const sail_tensor *in = j->c->in;
    int32_t target = cpu_id(&in[2], row, 0);
    float g = target >= 0 ? given(&in[6], row) : 0, g_entropy = given(&in[7], row), g_lss = given(&in[8], row);
    float entropy = in[7].buffer ? given(&in[4], row) : 0, inverse = in[8].buffer ? expf(-given(&in[5], row)) : 0;
    vf lse = vset(given(&in[3], row)), two = vset(2.0f);
    for (int64_t i = 0; i < n; i += VL) {
        int k = vcount(n - i);
        vf slope, log_p = head_logit(h, vread(z, i, k, false), v + i, k, &slope) - lse, p = vexp(log_p);
        vf d = vset(-g) * p;
        if (g_entropy != 0)
            d = vnfma(vset(g_entropy) * p, vmax(vset(-200.0f), log_p) + vset(entropy), d);
        if (g_lss != 0)
            d = vfma(vset(g_lss) * two * p, vfma(p, vset(inverse), vset(-1.0f)), d);
        d = d * slope;
        if (target >= v + i && target < v + i + k) {
            float t[VL], s[VL];
            vstore(t, d);
            vstore(s, slope);
            t[target - v - i] += g * s[target - v - i];
            d = vload(t);
        }
        vwrite(dz, i, k, h->pairs, d);
        if (j->db)
            vwrite(j->db, v + i, k, false, vread(j->db, v + i, k, false) + d * vset(1 / h->scale));
    }
}

static bool tile(struct job *j, int64_t v, int64_t n, int64_t slice, int thread)
{
    const head_shape *h = &j->h;
    int64_t d = h->x->cols;
    size_t dz_size = h->pairs ? 2 : 4;
    unsigned char *scratch = cpu_each(h->d, thread), *dz = scratch + h->z_bytes, *work = dz + j->dz_bytes;
    const unsigned char *w = head_weights(h, v, n, work + j->room);
    size_t w_row = (size_t)h->ldb * (h->w_bf16 ? 2 : 4);
    float *z = (float *)(void *)scratch;
    bool ok = true;
    if (j->db && j->clear && j->first == 0)
        memset(j->db + v, 0, (size_t)n * 4);
    for (int64_t at = 0; at < j->count; at += HEAD_ROWS) {
        int64_t rows = j->count - at < HEAD_ROWS ? j->count - at : HEAD_ROWS, row = j->first + at;
        for (int64_t c = 0; c < n; c += HEAD_COLUMNS) {
            int64_t columns = n - c < HEAD_COLUMNS ? n - c : HEAD_COLUMNS;
            ok &= K(product_run)(&j->z[rows != HEAD_ROWS][columns != HEAD_COLUMNS], thread,
                                 &(product_operands){.a = cpu_row(h->x, row), .b = w + (size_t)c * w_row, .c = z}, work);
            for (int64_t r = 0; r < rows; r++)
                derive(j, z + r * HEAD_COLUMNS, row + r, v + c, columns, dz + (size_t)(r * TILE_V + c) * dz_size);
        }
        ok &= K(product_run)(&j->dx_plan[rows != HEAD_ROWS][n != TILE_V], thread,
                             &(product_operands){.a = dz, .b = w, .c = j->partial + (slice * j->per_pass + at) * d}, work);
        if (j->dw) {
            if (j->clear && at == 0 && j->first == 0)
                for (int64_t r = 0; r < n; r++)
                    memset(cpu_row(j->dw, v + r), 0, (size_t)d * 4);
            ok &= K(product_run)(&j->dw_plan[rows != HEAD_ROWS][n != TILE_V], thread,
                                 &(product_operands){.a = dz, .b = cpu_row(h->x, row), .c = cpu_row(j->dw, v)}, work);
        }
    }
    return ok;
}

static void run_slice(void *arg, size_t slice, int thread)
{
    struct job *j = arg;
    int64_t begin = (int64_t)slice * j->slice, end = begin + j->slice;
    end = end < j->h.vocabulary ? end : j->h.vocabulary;
    memset(j->partial + (int64_t)slice * j->per_pass * j->h.x->cols, 0, (size_t)(j->count * j->h.x->cols) * sizeof(float));
    for (int64_t v = begin; v < end; v += TILE_V)
        if (!tile(j, v, end - v < TILE_V ? end - v : TILE_V, (int64_t)slice, thread))
            __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
}

static void add_slices(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const struct job *j = arg;
    int64_t width = j->h.x->cols;
    for (int64_t r = b->row; r < b->row + b->rows; r++)
        for (int64_t i = 0; i < width; i += VL) {
            vf sum = vzero();
            for (int64_t s = 0; s * j->slice < j->h.vocabulary; s++)
                sum += vread(j->partial + (s * j->per_pass + r) * width, i, vcount(width - i), false);
            vwrite(cpu_row(j->dx, j->first + r), i, vcount(width - i), cpu_bf16(j->dx), sum);
        }
}

static sail_code make(sail_device *d, struct job *j, product *p, bool a_bf16, bool b_bf16, sail_err *err)
{
    p->a_bf16 = a_bf16;
    p->b_bf16 = b_bf16;
    if (p->p.m == 0 || p->p.n == 0 || p->p.k == 0)
        return SAIL_OK;
    SAIL_TRY(K(product_make)(d, p, err));
    j->room = j->room > p->scratch ? j->room : p->scratch;
    return SAIL_OK;
}

static sail_code plans(sail_device *d, struct job *j, sail_err *err)
{
    const head_shape *h = &j->h;
    int64_t width = h->x->cols;
    bool x_bf16 = cpu_bf16(h->x);
    if (d->dnnl)
        cpu_dnnl_begin(d->dnnl);
    for (int r = 0; r < 2; r++)
        for (int w = 0; w < 2; w++) {
            int64_t rows = r ? j->last_rows : h->rows < HEAD_ROWS ? 0 : HEAD_ROWS;
            int64_t columns = w ? j->last_columns : HEAD_COLUMNS, n = w ? j->last_tile : TILE_V;
            j->z[r][w].p = (cpu_product){.m = rows, .n = columns, .k = width, .lda = h->x->ld, .ldb = h->ldb,
                                         .ldc = HEAD_COLUMNS, .trans_b = true, .scale = 1};
            SAIL_TRY(make(d, j, &j->z[r][w], x_bf16, h->w_bf16, err));
            j->dx_plan[r][w].p = (cpu_product){.m = rows, .n = width, .k = n, .lda = TILE_V, .ldb = h->ldb, .ldc = width,
                                               .sum = true, .scale = 1};
            SAIL_TRY(make(d, j, &j->dx_plan[r][w], h->pairs, h->w_bf16, err));
            if (!j->dw)
                continue;
            j->dw_plan[r][w].p = (cpu_product){.m = n, .n = width, .k = rows, .lda = TILE_V, .ldb = h->x->ld,
                                               .ldc = j->dw->ld, .trans_a = true, .sum = true, .scale = 1};
            SAIL_TRY(make(d, j, &j->dw_plan[r][w], h->pairs, x_bf16, err));
        }
    return SAIL_OK;
}

sail_code K(head_back)(sail_device *d, const sail_call *c, sail_err *err)
{
    struct job j = {.h = head_shape_of(d, c, 9), .c = c, .dx = &c->out[0], .clear = !c->attr.accumulate};
    const head_shape *h = &j.h;
    int64_t width = h->x->cols;
    SAIL_TRY(cpu_check_ids(c, 2, -1, h->vocabulary, err));
    if (c->n_out > 1 && c->out[1].buffer && (c->attr.want & SAIL_WANT_DW))
        j.dw = &c->out[1];
    if (c->n_out > 2 && c->out[2].buffer && (c->attr.want & SAIL_WANT_DB))
        j.db = cpu_data(&c->out[2]);
    int64_t tiles = (h->vocabulary + TILE_V - 1) / TILE_V;
    j.slice = (tiles + SLICES - 1) / SLICES * TILE_V;
    j.per_pass = PARTIAL_BYTES / (SLICES * 4 * width) / HEAD_ROWS * HEAD_ROWS;
    j.per_pass = j.per_pass > HEAD_ROWS ? j.per_pass : HEAD_ROWS;
    j.per_pass = j.per_pass < h->rows ? j.per_pass : h->rows;
    j.last_rows = h->rows % HEAD_ROWS;
    j.last_tile = h->vocabulary % TILE_V;
    j.last_columns = h->vocabulary % HEAD_COLUMNS;
    j.dz_bytes = cpu_round((size_t)(h->rows < HEAD_ROWS ? h->rows : HEAD_ROWS) * TILE_V * (h->pairs ? 2 : 4));
    if (h->rows == 0) {
        for (int64_t r = 0; j.dw && j.clear && r < h->vocabulary; r++)
            memset(cpu_row(j.dw, r), 0, (size_t)width * 4);
        if (j.db && j.clear)
            memset(j.db, 0, (size_t)h->vocabulary * 4);
        return SAIL_OK;
    }
    SAIL_TRY(plans(d, &j, err));
    SAIL_TRY(cpu_scratch(d, (size_t)(SLICES * j.per_pass * width) * 4,
                         h->z_bytes + j.dz_bytes + j.room + head_weights_room(h, TILE_V), err));
    j.partial = (float *)(void *)d->shared;
    for (j.first = 0; j.first < h->rows; j.first += j.per_pass) {
        j.count = h->rows - j.first < j.per_pass ? h->rows - j.first : j.per_pass;
        sail_pool_run(d->pool, (size_t)((h->vocabulary + j.slice - 1) / j.slice), run_slice, &j);
        cpu_blocks(d, j.count, width, 16384, true, add_slices, &j);
    }
    if (j.failed)
        return sail_fail(err, SAIL_E_DEVICE, "cpu: head_back: oneDNN failed");
    return SAIL_OK;
}
