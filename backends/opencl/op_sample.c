/* op_sample.c - SAMPLE: a token drawn for each sequence on the device; only its id and log-probabilities are ever downloaded. */
#include "opencl.h"
#include "sail/rng.h"
#include "sail/sampler.h"

static bool fits(const sail_device *d, const sail_call *c)
{
    return c->in[0].dtype == SAIL_F32 && c->in[0].cols > 0 && c->in[0].cols < (1 << 24); /* counts are exact in float32 */
}

/* What the kernels share, one after the other. */
struct job {
    sail_device *d;
    const sail_call *c;
    sail_err *err;
    const sail_tensor *history;
    cl_mem states, z, e, far;
    size_t items, real;
};

enum { STATE_BYTES = 128 }; /* of the kernels' struct state, rounded up */

static void begin(struct job *j, ocl_launch *l, const char *entry, int by)
{
    ocl_begin(l, j->d, j->c, j->err, "philox sample", entry,
              "-D PURPOSE=%d -D TEMPERATURE=%d -D TOP_K=%d -D TOP_P=%d -D MIN_P=%d -D TYPICAL=%d -D PENALTY=%d -D BY=%d%s",
              (int)SAIL_RNG_TOKEN, SAIL_SAMPLE_TEMPERATURE, SAIL_SAMPLE_TOP_K, SAIL_SAMPLE_TOP_P, SAIL_SAMPLE_MIN_P, SAIL_SAMPLE_TYPICAL,
              SAIL_SAMPLE_PENALTY, by, j->history->buffer ? " -D HISTORY" : "");
    j->items = ocl_group_for(l, j->c->in[0].cols, 256);
    ocl_memory(l, j->states);
    ocl_memory(l, j->z);
    ocl_memory(l, j->e);
    ocl_memory(l, j->far);
    ocl_i32(l, (int32_t)j->c->in[0].cols);
}

static sail_code start(struct job *j, ocl_launch *l, int passes)
{
    const double all = (double)j->c->in[0].rows * (double)j->c->in[0].cols;
    l->flops = 4 * passes * all;
    l->bytes = 4 * passes * all;
    return ocl_start_groups(l, j->c->in[0].rows, j->items);
}

static void sums(struct job *j, ocl_launch *l) { ocl_local(l, j->items * 4 * j->real); }

static void tops(struct job *j, ocl_launch *l)
{
    ocl_local(l, j->items * sizeof(float));
    ocl_local(l, j->items * sizeof(uint32_t));
    ocl_faults(l);
}

static sail_code search(struct job *j, int by)
{
    ocl_launch l;
    begin(j, &l, "sample_search", by);
    sums(j, &l);
    return start(j, &l, 16);
}

/* A kernel that reads params and sums. */
static sail_code step(struct job *j, const char *entry)
{
    ocl_launch l;
    begin(j, &l, entry, 0);
    ocl_matrix(&l, &j->c->in[1]);
    sums(j, &l);
    return start(j, &l, 1);
}

static sail_code sample(sail_device *d, const sail_call *c, sail_err *err)
{
    static const sail_tensor none = {0};
    const uint64_t rows = (uint64_t)c->in[0].rows, all = rows * (uint64_t)c->in[0].cols;
    struct job j = {.d = d, .c = c, .err = err, .history = c->n_in > 3 && c->in[3].buffer ? &c->in[3] : &none,
                    .real = d->facts.fp64 ? 8 : 4};
    ocl_launch l;
    SAIL_TRY(ocl_scratch(d, 0, all * sizeof(float), &j.z, err));
    SAIL_TRY(ocl_scratch(d, 1, all * j.real, &j.e, err));
    SAIL_TRY(ocl_scratch(d, 2, all * sizeof(uint32_t), &j.far, err));
    SAIL_TRY(ocl_scratch(d, 3, rows * STATE_BYTES, &j.states, err));
    begin(&j, &l, "sample_read", 0);
    ocl_matrix(&l, &c->in[0]);
    ocl_matrix(&l, &c->in[1]);
    ocl_matrix(&l, j.history);
    ocl_i32(&l, (int32_t)j.history->cols);
    ocl_f32(&l, c->attr.softcap);
    sums(&j, &l);
    tops(&j, &l);
    SAIL_TRY(start(&j, &l, 2));
    begin(&j, &l, "sample_top", 0);
    ocl_matrix(&l, &c->in[1]);
    tops(&j, &l);
    SAIL_TRY(start(&j, &l, 1));
    SAIL_TRY(search(&j, 0));
    SAIL_TRY(step(&j, "sample_weigh"));
    SAIL_TRY(search(&j, 1));
    SAIL_TRY(step(&j, "sample_top_p"));
    SAIL_TRY(search(&j, 2));
    SAIL_TRY(step(&j, "sample_typical"));
    SAIL_TRY(search(&j, 3));
    begin(&j, &l, "sample_draw", 0);
    ocl_matrix(&l, &c->in[0]);
    ocl_matrix(&l, &c->in[1]);
    ocl_matrix(&l, &c->in[2]);
    for (int i = 0; i < 3; i++)
        ocl_matrix(&l, &c->out[i]);
    ocl_f32(&l, c->attr.softcap);
    sums(&j, &l);
    return start(&j, &l, 2);
}

const ocl_op ocl_sample_ops[] = {
    {SAIL_OP_SAMPLE, fits, sample},
    {0},
};
