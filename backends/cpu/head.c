/* head.c - HEAD: log-probabilities, entropies and log sums of squares from hidden rows and the vocabulary's weights. Tasks are
 * chunks of rows times slices of the vocabulary; a slice goes over it in tiles of logits that stay in the cache, keeping
 * running sums relative to the largest logit so far; the slices' sums are merged in order. */
#include "head.h"

struct job {
    head_shape h;
    const sail_call *c;
    product plan[2][2]; /* [last rows][last columns] */
    size_t room;
    head_sums *sums; /* [slices][R] */
    int failed;
};

/* Running sums of one row over n more logits, of the vocabulary's entries from v on; scaled and capped here. */
static void meet(const head_shape *h, float *z, int64_t v, int64_t n, bool more, head_sums *s)
{
    vf top = vset(-INFINITY);
    for (int64_t i = 0; i < n; i += VL) {
        int k = vcount(n - i);
        vf x = head_logit(h, vread(z, i, k, false), v + i, k, NULL);
        if (h->changes)
            vwrite(z, i, k, false, x);
        if (k < VL)
            x = vselect_less(vload(h->lanes), vset((float)k), x, vset(-INFINITY));
        top = vmax(top, x);
    }
    float most = vlargest(top);
    if (most > s->max) {
        if (s->sum != 0) { /* also NaN */
            double shift = (double)s->max - (double)most, f = exp(shift);
            s->weighted = f > 0 ? f * (s->weighted + shift * s->sum) : 0;
            s->sum *= f;
            s->squares *= f * f;
        }
        s->max = most;
    }
    vf sum = vzero(), weighted = vzero(), squares = vzero(), max = vset(s->max == -INFINITY ? 0 : s->max);
    for (int64_t i = 0; i < n; i += VL) {
        int k = vcount(n - i);
        vf x = vread(z, i, k, false) - max;
        if (k < VL)
            x = vselect_less(vload(h->lanes), vset((float)k), x, vset(-INFINITY));
        vf e = vexp(x);
        sum += e;
        if (more) {
            weighted = vfma(vmax(vset(-200.0f), x), e, weighted); /* e is 0 there; -inf times 0 would not be */
            squares = vfma(e, e, squares);
        }
    }
    s->sum += (double)vsum(sum);
    s->weighted += (double)vsum(weighted);
    s->squares += (double)vsum(squares);
}

static void run_slice(void *arg, size_t task, int thread)
{
    struct job *j = arg;
    const head_shape *h = &j->h;
    int64_t chunks = (h->rows + HEAD_ROWS - 1) / HEAD_ROWS, row = (int64_t)task % chunks * HEAD_ROWS;
    int64_t slice = (int64_t)task / chunks, rows = h->rows - row < HEAD_ROWS ? h->rows - row : HEAD_ROWS;
    int64_t end = (slice + 1) * HEAD_SLICE < h->vocabulary ? (slice + 1) * HEAD_SLICE : h->vocabulary;
    head_sums *sums = j->sums + slice * h->rows + row;
    unsigned char *scratch = cpu_each(h->d, thread);
    float *z = (float *)(void *)scratch;
    for (int64_t r = 0; r < rows; r++)
        sums[r] = (head_sums){.max = -INFINITY};
    for (int64_t v = slice * HEAD_SLICE; v < end; v += HEAD_COLUMNS) {
        int64_t n = end - v < HEAD_COLUMNS ? end - v : HEAD_COLUMNS;
        const product *p = &j->plan[rows != HEAD_ROWS][n != HEAD_COLUMNS];
        const void *w = head_weights(h, v, n, scratch + h->z_bytes + j->room);
        if (!K(product_run)(p, thread, &(product_operands){.a = cpu_row(h->x, row), .b = w, .c = z}, scratch + h->z_bytes))
            __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        for (int64_t r = 0; r < rows; r++) {
            int64_t target = cpu_id(&j->c->in[2], row + r, 0) - v;
            meet(h, z + r * HEAD_COLUMNS, v, n, j->c->attr.want & (SAIL_WANT_ENTROPY | SAIL_WANT_LSS), &sums[r]);
            if (target >= 0 && target < n)
                sums[r].target = (double)z[r * HEAD_COLUMNS + target];
        }
    }
}

static void merge(const struct job *j, int64_t row)
{
    const sail_call *c = j->c;
    int64_t slices = (j->h.vocabulary + HEAD_SLICE - 1) / HEAD_SLICE;
    double max = -INFINITY, sum = 0, weighted = 0, squares = 0, target = 0;
    for (int64_t s = 0; s < slices; s++)
        max = (double)j->sums[s * j->h.rows + row].max > max ? (double)j->sums[s * j->h.rows + row].max : max;
    for (int64_t s = 0; s < slices; s++) {
        const head_sums *p = &j->sums[s * j->h.rows + row];
        double shift = (p->max == -INFINITY ? 0 : (double)p->max) - (max == -INFINITY ? 0 : max), f = exp(shift);
        sum += f * p->sum;
        weighted += f > 0 ? f * (p->weighted + shift * p->sum) : 0;
        squares += f * f * p->squares;
        target += p->target; /* 0 in all slices but its own */
    }
    double log_sum = log(sum), lse = max + log_sum;
    int32_t id = cpu_id(&c->in[2], row, 0);
    float values[4] = {id >= 0 ? (float)(target - lse) : 0,
                       c->attr.want & SAIL_WANT_ENTROPY ? (float)(log_sum - weighted / sum) : 0,
                       c->attr.want & SAIL_WANT_LSS ? (float)(log(squares) - 2 * log_sum) : 0, (float)lse};
    for (int i = 0; i < 4; i++)
        if (c->out[i].buffer)
            *(float *)cpu_row(&c->out[i], row) = values[i];
}

static void merge_rows(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    for (int64_t r = b->row; r < b->row + b->rows; r++)
        merge(arg, r);
}

sail_code K(head)(sail_device *d, const sail_call *c, sail_err *err)
{
    struct job j = {.h = head_shape_of(d, c, 3), .c = c};
    const head_shape *h = &j.h;
    int64_t slices = (h->vocabulary + HEAD_SLICE - 1) / HEAD_SLICE, chunks = (h->rows + HEAD_ROWS - 1) / HEAD_ROWS;
    SAIL_TRY(cpu_check_ids(c, 2, -1, h->vocabulary, err));
    if (h->rows == 0)
        return SAIL_OK;
    if (d->dnnl)
        cpu_dnnl_begin(d->dnnl);
    for (int r = 0; r < 2; r++)
        for (int w = 0; w < 2; w++) {
            int64_t rows = r ? h->rows % HEAD_ROWS : HEAD_ROWS, n = w ? h->vocabulary % HEAD_SLICE % HEAD_COLUMNS : HEAD_COLUMNS;
            if (rows == 0 || rows > h->rows || n == 0 || n > h->vocabulary)
                continue;
            j.plan[r][w].p = (cpu_product){.m = rows, .n = n, .k = h->x->cols, .lda = h->x->ld, .ldb = h->ldb,
                                           .ldc = HEAD_COLUMNS, .trans_b = true, .scale = 1};
            j.plan[r][w].a_bf16 = cpu_bf16(h->x);
            j.plan[r][w].b_bf16 = h->w_bf16;
            SAIL_TRY(K(product_make)(d, &j.plan[r][w], err));
            j.room = j.room > j.plan[r][w].scratch ? j.room : j.plan[r][w].scratch;
        }
    SAIL_TRY(cpu_scratch(d, (size_t)(slices * h->rows) * sizeof *j.sums,
                         h->z_bytes + j.room + head_weights_room(h, HEAD_COLUMNS), err));
    j.sums = (head_sums *)(void *)d->shared;
    sail_pool_run(d->pool, (size_t)(slices * chunks), run_slice, &j);
    cpu_blocks(d, h->rows, 1, 64, true, merge_rows, &j);
    if (j.failed)
        return sail_fail(err, SAIL_E_DEVICE, "cpu: head: oneDNN failed");
    return SAIL_OK;
}
