/* rig.h - for tests of backends: opens a backend's plugin file directly and runs single calls on host data. */
#ifndef SAIL_TEST_RIG_H
#define SAIL_TEST_RIG_H

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sail/backend.h"
#include "sail/plugin.h"

typedef struct rig {
    const sail_backend *ops;
    sail_device *device;
    sail_ctx *ctx;
    sail_err err;
} rig;

typedef struct rig_cpu_options { /* as backends/cpu/cpu.h */
    int64_t threads;
    int isa;
} rig_cpu_options;

static const char *const rig_isa[] = {"auto", "plain", "avx2", "avx512", "avx512_f32"};

/* False where it cannot be opened; r->err says why. */
static inline bool rig_open(rig *r, const char *backend, const void *options)
{
    const char *build = getenv("SAIL_BUILD");
    char path[1024];
    memset(r, 0, sizeof *r);
    snprintf(path, sizeof path, "%s/backends/%s/%s.so", build ? build : "build", backend, backend);
    void *file = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    sail_plugin_query_fn *query = NULL;
    void *symbol = file ? dlsym(file, "sail_plugin_query") : NULL;
    if (!symbol) {
        sail_fail(&r->err, SAIL_E_PLUGIN, "%s: %s", path, dlerror());
        return false;
    }
    memcpy(&query, &symbol, sizeof query);
    const sail_plugin *p = query();
    void *zero = calloc(1, p->opts_size + 64);
    r->ops = p->ops;
    r->ctx = sail_ctx_new();
    bool ok = r->ctx && r->ops->open(r->ctx, options ? options : zero, 0, &r->device, &r->err) == SAIL_OK;
    free(zero);
    if (!ok)
        sail_ctx_free(r->ctx);
    return ok;
}

static inline void rig_close(rig *r)
{
    r->ops->close(r->device);
    sail_ctx_free(r->ctx);
}

/* One operand: what is in it before (float32, converted), or NULL. */
typedef struct operand {
    sail_dtype t;
    int64_t rows, cols, gap; /* gap: elements between rows */
    const float *values;     /* rows * cols; NULL: zeros, or absent where rows is 0 */
} operand;

typedef struct rig_case {
    sail_op op;
    sail_attr attr;
    int n_in, n_out;
    operand in[SAIL_MAX_INPUTS], out[SAIL_MAX_OUTPUTS];
    int in_place; /* operand whose view output 0 is, plus 1 */
} rig_case;

static inline uint64_t rig_bytes(const operand *o)
{
    return (uint64_t)sail_dtype_bytes(o->t, (uint64_t)(o->rows * (o->cols + o->gap)));
}

static inline bool rig_put(rig *r, const operand *o, sail_tensor *t)
{
    if (o->rows == 0) {
        *t = (sail_tensor){0};
        return true;
    }
    uint64_t bytes = rig_bytes(o);
    *t = (sail_tensor){.rows = o->rows, .cols = o->cols, .ld = o->cols + o->gap, .dtype = o->t};
    unsigned char *host = calloc(1, bytes);
    for (int64_t i = 0; o->values && i < o->rows; i++) {
        unsigned char *to = host + sail_dtype_bytes(o->t, (uint64_t)(i * t->ld));
        if (o->t == SAIL_I32)
            for (int64_t j = 0; j < o->cols; j++)
                ((int32_t *)(void *)to)[j] = (int32_t)o->values[i * o->cols + j];
        else if (sail_from_f32(o->t, o->values + i * o->cols, to, (size_t)o->cols, &r->err) != SAIL_OK)
            return false;
    }
    bool ok = r->ops->alloc(r->device, bytes, &t->buffer, &r->err) == SAIL_OK &&
              r->ops->upload(r->device, t->buffer, 0, host, bytes, &r->err) == SAIL_OK;
    free(host);
    return ok;
}

static inline float *rig_get(rig *r, const sail_tensor *t)
{
    uint64_t bytes = (uint64_t)sail_dtype_bytes(t->dtype, (uint64_t)(t->rows * t->ld));
    unsigned char *host = malloc(bytes);
    float *values = malloc((size_t)(t->rows * t->cols) * sizeof *values);
    if (r->ops->download(r->device, t->buffer, 0, host, bytes, &r->err) != SAIL_OK)
        abort();
    for (int64_t i = 0; i < t->rows; i++) {
        const unsigned char *from = host + sail_dtype_bytes(t->dtype, (uint64_t)(i * t->ld));
        if (t->dtype == SAIL_I32)
            for (int64_t j = 0; j < t->cols; j++)
                values[i * t->cols + j] = (float)((const int32_t *)(const void *)from)[j];
        else
            sail_to_f32(t->dtype, from, values + i * t->cols, (size_t)t->cols, NULL);
    }
    free(host);
    return values;
}

/* Puts the operands, runs the call `times` times, gets outputs and then all in-place operands; false: r->err. */
static inline bool rig_make(rig *r, const rig_case *c, sail_call *call)
{
    memset(call, 0, sizeof *call);
    call->op = c->op;
    call->attr = c->attr;
    call->n_in = c->n_in;
    call->n_out = c->n_out;
    for (int i = 0; i < c->n_in; i++)
        if (!rig_put(r, &c->in[i], &call->in[i]))
            return false;
    for (int i = 0; i < c->n_out; i++) {
        if (i == 0 && c->in_place)
            call->out[0] = call->in[c->in_place - 1];
        else if (!rig_put(r, &c->out[i], &call->out[i]))
            return false;
    }
    return true;
}

static inline void rig_drop(rig *r, const rig_case *c, sail_call *call)
{
    for (int i = 0; i < call->n_in; i++)
        if (call->in[i].buffer)
            r->ops->free(r->device, call->in[i].buffer);
    for (int i = 0; i < call->n_out; i++)
        if (call->out[i].buffer && !(i == 0 && c->in_place))
            r->ops->free(r->device, call->out[i].buffer);
}

/* Runs a case; out[i] are the outputs, then, for in-place ops, changed[i] the inputs as they are afterwards. */
static inline bool rig_run(rig *r, const rig_case *c, float *out[SAIL_MAX_OUTPUTS], float *changed[SAIL_MAX_INPUTS])
{
    sail_call call;
    if (!rig_make(r, c, &call))
        return false;
    bool ok = r->ops->run(r->device, &call, 1, &r->err) == SAIL_OK && r->ops->sync(r->device, &r->err) == SAIL_OK;
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++)
        out[i] = ok && i < c->n_out && call.out[i].buffer ? rig_get(r, &call.out[i]) : NULL;
    for (int i = 0; changed && i < SAIL_MAX_INPUTS; i++)
        changed[i] = ok && c->in_place && i < c->n_in && call.in[i].buffer ? rig_get(r, &call.in[i]) : NULL;
    rig_drop(r, c, &call);
    return ok;
}

/* Roughly normal numbers, a function of seed and index. */
static inline float *rig_random(int64_t n, uint64_t seed, float size)
{
    float *v = malloc((size_t)(n ? n : 1) * sizeof *v);
    uint64_t s = seed * 0x9e3779b97f4a7c15u + 1;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < 4; k++) {
            s = s * 6364136223846793005u + 1442695040888963407u;
            sum += (double)(s >> 40) / 16777216.0 - 0.5;
        }
        v[i] = (float)(sum * 1.7) * size;
    }
    return v;
}

static inline float *rig_ids(int64_t n, uint64_t seed, int64_t below)
{
    float *v = malloc((size_t)(n ? n : 1) * sizeof *v);
    uint64_t s = seed * 0x9e3779b97f4a7c15u + 7;
    for (int64_t i = 0; i < n; i++) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        v[i] = (float)((s >> 33) % (uint64_t)below);
    }
    return v;
}

static inline float *rig_same(int64_t n, float value)
{
    float *v = malloc((size_t)(n ? n : 1) * sizeof *v);
    for (int64_t i = 0; i < n; i++)
        v[i] = value;
    return v;
}

#endif
