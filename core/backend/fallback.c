/* fallback.c - one op on the ref backend for a device that lacks it. */
#include <stdio.h>
#include <string.h>

#include "../graph/ops.h"
#include "fallback.h"

enum { MOST = SAIL_MAX_INPUTS + SAIL_MAX_OUTPUTS };

/* A matrix of the device and its packed copy on the other. */
typedef struct pair {
    sail_tensor here, there;
} pair;

static sail_code missing(const sail_runtime *rt, const sail_call *call, sail_err *err)
{
    char text[512];
    size_t n = 0;
    for (int i = 0; i < call->n_in && n < sizeof text - 64; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s[%lld, %lld] %s", i ? ", " : "", (long long)call->in[i].rows,
                              (long long)call->in[i].cols,
                              call->in[i].buffer ? sail_dtype_name(call->in[i].dtype) : "absent");
    return sail_fail(err, SAIL_E_DTYPE, "backend %s has no kernel for %s(%s); let ref run it with `fallback: true`", rt->name,
                     sail_op_name(call->op), text);
}

static bool same(const sail_tensor *a, const sail_tensor *b)
{
    return a->buffer == b->buffer && a->offset == b->offset && a->rows == b->rows && a->cols == b->cols && a->ld == b->ld;
}

/* The copy of t, made and filled if there is none yet. */
static sail_code copy_of(sail_runtime *rt, pair *pairs, int *n, const sail_tensor *t, void *host, sail_tensor *out,
                         sail_err *err)
{
    for (int i = 0; i < *n; i++)
        if (same(&pairs[i].here, t)) {
            *out = pairs[i].there;
            return SAIL_OK;
        }
    const uint64_t bytes = sail_dtype_bytes(t->dtype, (uint64_t)(t->rows * t->cols));
    sail_tensor there = *t;
    there.offset = 0;
    there.ld = t->cols;
    SAIL_TRY(rt->fallback->alloc(rt->fallback_device, bytes ? bytes : 64, &there.buffer, err));
    pairs[(*n)++] = (pair){*t, there};
    *out = there;
    if (bytes == 0)
        return SAIL_OK;
    SAIL_TRY(sail__tensor_get(rt, t, host, err));
    return rt->fallback->upload(rt->fallback_device, there.buffer, 0, host, bytes, err);
}

static sail_code back(sail_runtime *rt, const sail_tensor *here, const sail_tensor *there, void *host, sail_err *err)
{
    const uint64_t bytes = sail_dtype_bytes(here->dtype, (uint64_t)(here->rows * here->cols));
    if (!here->buffer || bytes == 0)
        return SAIL_OK;
    SAIL_TRY(rt->fallback->download(rt->fallback_device, there->buffer, 0, host, bytes, err));
    return sail__tensor_put(rt, here, host, err);
}

static sail_code run(sail_runtime *rt, const sail_call *call, pair *pairs, int *n, void *host, sail_err *err)
{
    sail_call other = *call;
    for (int i = 0; i < call->n_in; i++)
        if (call->in[i].buffer)
            SAIL_TRY(copy_of(rt, pairs, n, &call->in[i], host, &other.in[i], err));
    for (int i = 0; i < call->n_out; i++)
        if (call->out[i].buffer)
            SAIL_TRY(copy_of(rt, pairs, n, &call->out[i], host, &other.out[i], err));
    SAIL_TRY(rt->fallback->run(rt->fallback_device, &other, 1, err));
    for (int i = 0; i < call->n_out; i++)
        SAIL_TRY(back(rt, &call->out[i], &other.out[i], host, err));
    for (int i = 0; i < call->n_in; i++)
        if (sail__op_changes(call->op) >> i & 1)
            SAIL_TRY(back(rt, &call->in[i], &other.in[i], host, err));
    return SAIL_OK;
}

sail_code sail__fallback_run(sail_runtime *rt, const sail_call *call, sail_err *err)
{
    pair pairs[MOST];
    int n = 0;
    size_t most = 1;
    if (!rt->fallback)
        return missing(rt, call, err);
    if (!rt->told[call->op]) {
        sail_log(rt->ctx, SAIL_LOG_WARN, "backend %s has no kernel for this %s: it runs on ref, slowly", rt->name,
                 sail_op_name(call->op));
        rt->told[call->op] = true;
    }
    for (int i = 0; i < call->n_in + call->n_out; i++) {
        const sail_tensor *t = i < call->n_in ? &call->in[i] : &call->out[i - call->n_in];
        const size_t bytes = t->buffer ? sail_dtype_bytes(t->dtype, (uint64_t)(t->rows * t->cols)) : 0;
        most = bytes > most ? bytes : most;
    }
    void *host = sail__malloc(most);
    if (!host)
        return sail_fail(err, SAIL_E_NOMEM, "%s on ref: no memory for %zu bytes", sail_op_name(call->op), most);
    const sail_code code = run(rt, call, pairs, &n, host, err);
    for (int i = 0; i < n; i++)
        rt->fallback->free(rt->fallback_device, pairs[i].there.buffer);
    sail__free(host);
    return code;
}
