/* run.c - which calls the OpenCL backend takes, and running them. */
#include "opencl.h"

static const ocl_op *const families[] = {ocl_attention_ops, ocl_elementwise_ops, ocl_head_ops, ocl_matmul_ops,
                                        ocl_norm_ops, ocl_optim_ops, ocl_rows_ops, ocl_sample_ops};

void ocl_ops_fill(sail_device *d)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        for (const ocl_op *o = families[i]; o->run; o++)
            d->ops[o->op] = o;
}

static bool plain(const sail_tensor *t)
{
    return !t->buffer || t->dtype == SAIL_F32 || t->dtype == SAIL_BF16 || t->dtype == SAIL_F16 || t->dtype == SAIL_I32;
}

static sail_code takes(const sail_device *d, const sail_call *c, sail_err *err)
{
    if ((unsigned)c->op >= SAIL_OP_COUNT || !d->ops[c->op])
        return sail_fail(err, SAIL_E_DEVICE, "opencl: %s has no kernel",
                         (unsigned)c->op < SAIL_OP_COUNT ? sail_op_name(c->op) : "an unknown op");
    SAIL_TRY(sail_call_check(c, err));
    if (d->ops[c->op]->supports)
        return d->ops[c->op]->supports(d, c) ? SAIL_OK
                                             : sail_fail(err, SAIL_E_DTYPE, "opencl: %s has no kernel for these dtypes and attributes",
                                                         sail_op_name(c->op));
    for (int i = 0; i < c->n_in; i++)
        if (!plain(&c->in[i]))
            return sail_fail(err, SAIL_E_DTYPE, "opencl: %s: operand %d is %s; f32, bf16 and f16 are what it takes",
                             sail_op_name(c->op), i, sail_dtype_name(c->in[i].dtype));
    for (int i = 0; i < c->n_out; i++)
        if (!plain(&c->out[i]))
            return sail_fail(err, SAIL_E_DTYPE, "opencl: %s: result %d is %s; f32, bf16 and f16 are what it makes",
                             sail_op_name(c->op), i, sail_dtype_name(c->out[i].dtype));
    return SAIL_OK;
}

bool ocl_supports(sail_device *d, const sail_call *call)
{
    sail_err err = {0};
    return takes(d, call, &err) == SAIL_OK;
}

static sail_code inside(const sail_call *c, const char *side, int i, const sail_tensor *t, sail_err *err)
{
    if (!t->buffer || t->rows <= 0 || t->cols <= 0)
        return SAIL_OK;
    const uint64_t elements = (uint64_t)(t->rows - 1) * (uint64_t)t->ld + (uint64_t)t->cols;
    const uint64_t bytes = sail_dtype_bytes(t->dtype, elements);
    if (t->ld < t->cols || bytes > t->buffer->bytes || t->offset > t->buffer->bytes - bytes)
        return sail_fail(err, SAIL_E_SHAPE, "%s: %s %d, %llu bytes at %llu, is not within its buffer of %llu", sail_op_name(c->op), side,
                         i, (unsigned long long)bytes, (unsigned long long)t->offset, (unsigned long long)t->buffer->bytes);
    return SAIL_OK;
}

sail_code ocl_run(sail_device *d, const sail_call *calls, size_t n, sail_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const sail_call *c = &calls[i];
        SAIL_TRY(takes(d, c, err));
        for (int k = 0; k < c->n_in; k++)
            SAIL_TRY(inside(c, "operand", k, &c->in[k], err));
        for (int k = 0; k < c->n_out; k++)
            SAIL_TRY(inside(c, "result", k, &c->out[k], err));
        bool any = false;
        for (int k = 0; k < c->n_out; k++)
            any = any || (c->out[k].buffer && c->out[k].rows > 0 && c->out[k].cols > 0);
        if (any)
            SAIL_TRY(d->ops[c->op]->run(d, c, err));
        d->counters.calls++;
        d->calls[c->op]++;
    }
    return ocl_check(d->api.clFlush(d->queue), err, "giving %zu ops to %s", n, d->facts.name); /* the device begins */
}
