/* flat.c - the flat space of trained parameters, and its update. */
#include "flat.h"

#include <math.h>
#include <string.h>

enum { ALIGN = 64 }; /* elements between entries */

static int64_t padded(int64_t n) { return (n + ALIGN - 1) / ALIGN * ALIGN; }

static sail_code view_of(sail_runtime *rt, sail_tensor *t, sail_dtype type, int64_t n, sail_err *err)
{
    SAIL_TRY(sail__tensor_alloc(rt, type, 1, n, t, err));
    sail_call zero = {.op = SAIL_OP_FILL, .n_out = 1, .attr = {.dtype = type}, .out = {*t}};
    return sail__run_op(rt, &zero, err);
}

/* Give every entry its place: first the decayed ones, then the others, each group cut at the allocation limit. */
static sail_code place(sail__flat *f, sail_err *err)
{
    uint64_t limit = f->rt->info.largest_allocation / sizeof(float);
    int cap = 2 * f->n_entries + 2;
    f->segments = sail__calloc((size_t)cap, sizeof *f->segments);
    if (!f->segments)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int decay = 1; decay >= 0; decay--) {
        bool open = false;
        for (int i = 0; i < f->n_entries; i++) {
            sail__flat_entry *e = &f->entries[i];
            if (e->decay != (decay == 1))
                continue;
            int64_t n = padded(e->rows * e->cols);
            if (limit && (uint64_t)n > limit)
                return sail_fail(err, SAIL_E_NOMEM, "parameter %s has %lld elements; the device allocates at most %llu at once",
                                 e->name, (long long)n, (unsigned long long)limit);
            if (!open || (limit && (uint64_t)(f->segments[f->n_segments - 1].n + n) > limit)) {
                f->segments[f->n_segments++].decay = decay;
                open = true;
            }
            sail__flat_segment *s = &f->segments[f->n_segments - 1];
            e->segment = f->n_segments - 1;
            e->offset = s->n;
            s->n += n;
        }
    }
    return SAIL_OK;
}

static sail_code allocate(sail__flat *f, sail_err *err)
{
    for (int i = 0; i < f->n_segments; i++) {
        sail__flat_segment *s = &f->segments[i];
        SAIL_TRY(view_of(f->rt, &s->weight, SAIL_F32, s->n, err));
        SAIL_TRY(view_of(f->rt, &s->gradient, SAIL_F32, s->n, err));
        if (f->shadows)
            SAIL_TRY(view_of(f->rt, &s->shadow, SAIL_BF16, s->n, err));
        for (int k = 0; k < f->plan.states; k++)
            SAIL_TRY(view_of(f->rt, &s->state[k], SAIL_F32, s->n, err));
    }
    SAIL_TRY(view_of(f->rt, &f->control, SAIL_F32, SAIL_CONTROL_SIZE, err));
    return view_of(f->rt, &f->total, SAIL_F32, 1, err);
}

sail_code sail__flat_new(sail_runtime *rt, const sail__flat_entry *entries, int n, const sail_optimizer_plan *plan, bool shadows,
                         sail__flat **out, sail_err *err)
{
    *out = NULL;
    sail__flat *f = sail__calloc(1, sizeof *f);
    if (f)
        f->entries = sail__calloc((size_t)n + 1, sizeof *f->entries);
    if (!f || !f->entries) {
        sail__free(f);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    f->rt = rt;
    f->n_entries = n;
    f->shadows = shadows;
    memcpy(f->entries, entries, (size_t)n * sizeof *entries);
    if (plan)
        f->plan = *plan;
    sail_code code = place(f, err);
    if (code == SAIL_OK)
        code = allocate(f, err);
    if (code != SAIL_OK) {
        sail__flat_free(f);
        return sail_fail_in(err, "memory for %d trained parameters", n);
    }
    *out = f;
    return SAIL_OK;
}

void sail__flat_free(sail__flat *f)
{
    if (!f)
        return;
    for (int i = 0; i < f->n_segments; i++) {
        sail__flat_segment *s = &f->segments[i];
        sail__tensor_free(f->rt, &s->weight);
        sail__tensor_free(f->rt, &s->gradient);
        sail__tensor_free(f->rt, &s->shadow);
        for (int k = 0; k < SAIL_MAX_OPTIMIZER_STATES; k++)
            sail__tensor_free(f->rt, &s->state[k]);
    }
    sail__tensor_free(f->rt, &f->control);
    sail__tensor_free(f->rt, &f->total);
    sail__free(f->segments);
    sail__free(f->entries);
    sail__free(f);
}

sail_tensor sail__flat_view(const sail__flat *f, int entry, enum sail__flat_part part, int state)
{
    const sail__flat_entry *e = &f->entries[entry];
    const sail__flat_segment *s = &f->segments[e->segment];
    sail_tensor t = part == SAIL__FLAT_WEIGHT     ? s->weight
                    : part == SAIL__FLAT_GRADIENT ? s->gradient
                    : part == SAIL__FLAT_SHADOW   ? s->shadow
                                                  : s->state[state];
    t.offset += (uint64_t)e->offset * sail_dtype_block_bytes(t.dtype);
    t.rows = e->rows;
    t.cols = t.ld = e->cols;
    return t;
}

sail_code sail__flat_put(sail__flat *f, int entry, const float *values, sail_err *err)
{
    sail_tensor w = sail__flat_view(f, entry, SAIL__FLAT_WEIGHT, 0);
    SAIL_TRY(sail__tensor_put(f->rt, &w, values, err));
    if (!f->shadows)
        return SAIL_OK;
    sail_tensor s = sail__flat_view(f, entry, SAIL__FLAT_SHADOW, 0);
    return sail__tensor_put_f32(f->rt, &s, values, err);
}

sail_code sail__flat_refresh(sail__flat *f, sail_err *err)
{
    for (int i = 0; f->shadows && i < f->n_segments; i++) {
        sail__flat_segment *s = &f->segments[i];
        sail_call cast = {.op = SAIL_OP_CAST, .n_in = 1, .n_out = 1, .attr = {.dtype = SAIL_BF16}, .in = {s->weight}, .out = {s->shadow}};
        SAIL_TRY(sail__run_op(f->rt, &cast, err));
    }
    return SAIL_OK;
}

sail_code sail__flat_zero_gradients(sail__flat *f, sail_err *err)
{
    for (int i = 0; i < f->n_segments; i++) {
        sail_call zero = {.op = SAIL_OP_FILL, .n_out = 1, .attr = {.dtype = SAIL_F32}, .out = {f->segments[i].gradient}};
        SAIL_TRY(sail__run_op(f->rt, &zero, err));
    }
    return SAIL_OK;
}

static sail_code update_segment(sail__flat *f, const sail__flat_segment *s, sail_err *err)
{
    const sail_optimizer_plan *p = &f->plan;
    sail_call c = {.op = p->op, .n_in = 3, .n_out = 1, .attr = p->attr};
    if (!s->decay)
        c.attr.weight_decay = 0;
    c.in[0] = s->gradient;
    c.in[1] = f->control;
    c.in[2] = s->weight;
    for (int k = 0; k < p->states; k++) {
        c.in[p->state_input[k]] = s->state[k];
        if (c.n_in <= p->state_input[k])
            c.n_in = p->state_input[k] + 1;
    }
    if (f->shadows) {
        c.in[p->shadow_input] = s->shadow;
        c.n_in = p->shadow_input + 1;
    }
    c.out[0] = s->weight;
    return sail__run_op(f->rt, &c, err);
}

sail_code sail__flat_update(sail__flat *f, sail__update *u, sail_err *err)
{
    float control[SAIL_CONTROL_SIZE] = {0};
    control[SAIL_CONTROL_RATE] = (float)u->rate;
    control[SAIL_CONTROL_MAX_NORM] = (float)u->max_norm;
    control[SAIL_CONTROL_STEP] = (float)u->step;
    control[SAIL_CONTROL_HOST_SKIP] = u->skip;
    control[SAIL_CONTROL_MULTIPLIER] = (float)(u->multiplier != 0 ? u->multiplier : 1);
    control[SAIL_CONTROL_LOSS] = (float)u->loss;
    control[SAIL_CONTROL_CORRECTION1] = (float)-expm1((double)u->step * log((double)f->plan.attr.beta1));
    control[SAIL_CONTROL_CORRECTION2] = (float)-expm1((double)u->step * log((double)f->plan.attr.beta2));
    SAIL_TRY(sail__tensor_put(f->rt, &f->control, control, err));
    for (int i = 0; i < f->n_segments; i++) {
        sail_call sum = {.op = SAIL_OP_SUM_SQUARES, .n_in = 2, .n_out = 1, .attr = {.accumulate = i > 0}};
        sum.in[0] = f->segments[i].gradient;
        sum.in[1] = sum.out[0] = f->total;
        SAIL_TRY(sail__run_op(f->rt, &sum, err));
    }
    sail_call clip = {.op = SAIL_OP_CLIP, .n_in = 2, .n_out = 1, .in = {f->total, f->control}, .out = {f->control}};
    SAIL_TRY(sail__run_op(f->rt, &clip, err));
    for (int i = 0; i < f->n_segments; i++)
        SAIL_TRY(update_segment(f, &f->segments[i], err));
    SAIL_TRY(sail__tensor_get(f->rt, &f->control, control, err));
    u->norm = control[SAIL_CONTROL_NORM];
    u->clip = control[SAIL_CONTROL_CLIP];
    u->skipped = control[SAIL_CONTROL_SKIP] != 0;
    return SAIL_OK;
}

