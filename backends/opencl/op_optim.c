/* op_optim.c - the norm of the gradient, the guard, and the updates: one launch each over a flat vector. */
#include "opencl.h"
#include "sail/optimizer.h"

/* The control block's layout, as macros of the kernels. */
#define CONTROL                                                                                                        \
    "-D RATE=%d -D CLIP=%d -D SKIP=%d -D MAX_NORM=%d -D NORM=%d -D STEP=%d -D HOST_SKIP=%d -D MULTIPLIER=%d -D LOSS=%d "   \
    "-D CORRECTION1=%d -D CORRECTION2=%d"
#define CONTROL_VALUES                                                                                                 \
    SAIL_CONTROL_RATE, SAIL_CONTROL_CLIP, SAIL_CONTROL_SKIP, SAIL_CONTROL_MAX_NORM, SAIL_CONTROL_NORM, SAIL_CONTROL_STEP,  \
        SAIL_CONTROL_HOST_SKIP, SAIL_CONTROL_MULTIPLIER, SAIL_CONTROL_LOSS, SAIL_CONTROL_CORRECTION1, SAIL_CONTROL_CORRECTION2

static const sail_tensor none = {0};

static const sail_tensor *operand(const sail_call *c, int i)
{
    return i < c->n_in && c->in[i].buffer ? &c->in[i] : &none;
}

static sail_code sum_squares(sail_device *d, const sail_call *c, sail_err *err)
{
    enum { EACH = 65536 };
    const sail_tensor *x = &c->in[0];
    const int64_t blocks = (x->cols + EACH - 1) / EACH;
    cl_mem sums;
    ocl_launch l;
    SAIL_TRY(ocl_scratch(d, 0, (uint64_t)blocks * 2 * sizeof(float), &sums, err));
    if (blocks > 0) {
        ocl_begin(&l, d, c, err, "optim", "squares_blocks", "-D SQUARES");
        const size_t items = ocl_group_for(&l, EACH, 256);
        ocl_matrix(&l, x);
        ocl_memory(&l, sums);
        ocl_i64(&l, x->cols);
        ocl_i32(&l, EACH);
        ocl_local(&l, items * 2 * sizeof(float));
        l.flops = 2 * (double)x->cols;
        l.bytes = 4 * (double)x->cols;
        SAIL_TRY(ocl_start_groups(&l, blocks, items));
    }
    ocl_begin(&l, d, c, err, "optim", "squares_sum", "-D SQUARES");
    ocl_memory(&l, sums);
    ocl_matrix(&l, &c->out[0]);
    ocl_i64(&l, blocks);
    ocl_i32(&l, c->attr.accumulate);
    l.flops = 2 * (double)blocks;
    l.bytes = 8 * (double)blocks + 4;
    return ocl_start_groups(&l, 1, 1);
}

static sail_code clip(sail_device *d, const sail_call *c, sail_err *err)
{
    ocl_launch l;
    ocl_begin(&l, d, c, err, "optim", "clip_norm", "-D CLIP_NORM " CONTROL, CONTROL_VALUES);
    ocl_matrix(&l, &c->in[0]);
    ocl_matrix(&l, &c->out[0]);
    l.bytes = 8 * (double)c->in[0].cols;
    return ocl_start_groups(&l, 1, 1);
}

static sail_code update(ocl_launch *l, int64_t n, int vectors, int changed)
{
    l->flops = 12 * (double)n;
    l->bytes = 4.0 * (vectors + changed) * (double)n;
    return ocl_start_map(l, 1, n);
}

static sail_code adamw(sail_device *d, const sail_call *c, sail_err *err)
{
    const sail_attr *a = &c->attr;
    const sail_tensor *shadow = operand(c, 5);
    ocl_launch l;
    ocl_begin(&l, d, c, err, "optim", "adamw", "-D ADAMW%s " CONTROL, shadow->buffer ? " -D SHADOW" : "", CONTROL_VALUES);
    for (int i = 0; i < 5; i++)
        ocl_matrix(&l, &c->in[i]);
    ocl_matrix(&l, shadow);
    ocl_i64(&l, c->in[0].cols);
    ocl_f32(&l, a->beta1);
    ocl_f32(&l, a->beta2);
    ocl_f32(&l, (float)(1 - (double)a->beta1));
    ocl_f32(&l, (float)(1 - (double)a->beta2));
    ocl_f32(&l, a->adam_eps);
    ocl_f32(&l, a->weight_decay);
    return update(&l, c->in[0].cols, 4, 3);
}

static sail_code rmsprop(sail_device *d, const sail_call *c, sail_err *err)
{
    const sail_attr *a = &c->attr;
    const sail_tensor *shadow = operand(c, 6);
    ocl_launch l;
    ocl_begin(&l, d, c, err, "optim", "rmsprop", "-D RMSPROP%s%s%s " CONTROL, shadow->buffer ? " -D SHADOW" : "",
              a->centered ? " -D CENTERED" : "", a->momentum != 0 ? " -D MOMENTUM" : "", CONTROL_VALUES);
    for (int i = 0; i < 6; i++)
        ocl_matrix(&l, operand(c, i));
    ocl_matrix(&l, shadow);
    ocl_i64(&l, c->in[0].cols);
    ocl_f32(&l, a->beta1);
    ocl_f32(&l, (float)(1 - (double)a->beta1));
    ocl_f32(&l, a->adam_eps);
    ocl_f32(&l, a->weight_decay);
    ocl_f32(&l, a->momentum);
    return update(&l, c->in[0].cols, 3 + a->centered + (a->momentum != 0), 2 + a->centered + (a->momentum != 0));
}

static sail_code sgd(sail_device *d, const sail_call *c, sail_err *err)
{
    const sail_attr *a = &c->attr;
    const sail_tensor *shadow = operand(c, 4);
    ocl_launch l;
    ocl_begin(&l, d, c, err, "optim", "sgd", "-D SGD%s%s " CONTROL, shadow->buffer ? " -D SHADOW" : "",
              a->momentum != 0 ? " -D MOMENTUM" : "", CONTROL_VALUES);
    for (int i = 0; i < 4; i++)
        ocl_matrix(&l, operand(c, i));
    ocl_matrix(&l, shadow);
    ocl_i64(&l, c->in[0].cols);
    ocl_f32(&l, a->weight_decay);
    ocl_f32(&l, a->momentum);
    ocl_f32(&l, (float)(1 - (double)a->dampening));
    return update(&l, c->in[0].cols, 2 + (a->momentum != 0), 1 + (a->momentum != 0));
}

const ocl_op ocl_optim_ops[] = {
    {SAIL_OP_SUM_SQUARES, NULL, sum_squares},
    {SAIL_OP_CLIP, NULL, clip},
    {SAIL_OP_ADAMW, NULL, adamw},
    {SAIL_OP_RMSPROP, NULL, rmsprop},
    {SAIL_OP_SGD, NULL, sgd},
    {0},
};
