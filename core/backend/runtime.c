/* runtime.c - an open device, and matrices in its memory. */
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec.h"

static bool fits(const char *pattern, const char *text)
{
    return fnmatch(pattern, text, FNM_CASEFOLD) == 0;
}

static sail_code find_device(sail_ctx *ctx, const sail_slot *slot, const char *which, int *index, sail_err *err)
{
    enum { MOST = 64 };
    const sail_backend *b = slot->loaded->ops;
    char *end, pattern[160];
    int n = 0;
    *index = 0;
    if (!which || !*which || !strcmp(which, "auto"))
        return SAIL_OK;
    const long number = strtol(which, &end, 10);
    if (!*end && number >= 0 && number < INT_MAX) {
        *index = (int)number;
        return SAIL_OK;
    }
    sail_device_info *info = sail__calloc(MOST, sizeof *info);
    if (!info)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for a list of devices");
    sail_code code = b->devices(ctx, slot->options, info, MOST, &n, err);
    n = n < MOST ? n : MOST;
    int found = -1;
    snprintf(pattern, sizeof pattern, "*%.150s*", which);
    for (int way = 0; way < 3 && code == SAIL_OK && found < 0; way++)
        for (int i = 0; i < n && found < 0; i++)
            found = fits(way ? pattern : which, way == 0 ? info[i].kind : way == 1 ? info[i].name : info[i].note) ? i : -1;
    if (code == SAIL_OK && found < 0) {
        char names[700] = "";
        for (int i = 0; i < n && strlen(names) < 500; i++)
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%d: %s (%s)", i ? ", " : "", i, info[i].name, info[i].kind);
        code = sail_fail(err, SAIL_E_NOTFOUND, "backend %s has no device \"%s\"; it has %s", slot->loaded->plugin.name, which,
                         n ? names : "none");
    }
    sail__free(info);
    *index = found;
    return code;
}

sail_code sail__runtime_open(sail_ctx *ctx, const sail_slot *slot, const char *which, sail_runtime **out, sail_err *err)
{
    int device;
    SAIL_TRY(find_device(ctx, slot, which, &device, err));
    sail_runtime *rt = sail__calloc(1, sizeof *rt);
    if (!rt)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for a runtime");
    rt->ctx = ctx;
    rt->backend = slot->loaded->ops;
    rt->name = slot->loaded->plugin.name;
    const sail_code code = rt->backend->open(ctx, slot->options, device, &rt->device, err);
    if (code != SAIL_OK) {
        sail__free(rt);
        return code;
    }
    rt->backend->info(rt->device, &rt->info);
    if (rt->info.alignment == 0)
        rt->info.alignment = 1;
    *out = rt;
    return SAIL_OK;
}

sail_code sail__runtime_fallback(sail_runtime *rt, const sail_slot *ref, sail_err *err)
{
    if (rt->fallback)
        return SAIL_OK;
    const sail_backend *b = ref->loaded->ops;
    SAIL_TRY(b->open(rt->ctx, ref->options, 0, &rt->fallback_device, err));
    rt->fallback = b;
    return SAIL_OK;
}

void sail__runtime_close(sail_runtime *rt)
{
    if (!rt)
        return;
    if (rt->fallback)
        rt->fallback->close(rt->fallback_device);
    rt->backend->close(rt->device);
    sail__free(rt);
}

sail_code sail__tensor_alloc(sail_runtime *rt, sail_dtype t, int64_t rows, int64_t cols, sail_tensor *out, sail_err *err)
{
    uint64_t elements;
    size_t bytes = SIZE_MAX;
    if (rows < 0 || cols < 0 || __builtin_mul_overflow((uint64_t)rows, (uint64_t)cols, &elements) ||
        cols % (int64_t)sail_dtype_block_elements(t) != 0 || (bytes = sail_dtype_bytes(t, elements)) == SIZE_MAX)
        return sail_fail(err, SAIL_E_SHAPE, "cannot allocate a matrix [%lld, %lld] of %s", (long long)rows,
                         (long long)cols, sail_dtype_name(t));
    if (bytes > rt->info.largest_allocation)
        return sail_fail(err, SAIL_E_NOMEM,
                         "a matrix [%lld, %lld] of %s has %zu bytes, the device (%s) allocates at most %llu at once",
                         (long long)rows, (long long)cols, sail_dtype_name(t), bytes, rt->info.name,
                         (unsigned long long)rt->info.largest_allocation);
    *out = (sail_tensor){.rows = rows, .cols = cols, .ld = cols, .dtype = t};
    return rt->backend->alloc(rt->device, bytes ? bytes : rt->info.alignment, &out->buffer, err);
}

void sail__tensor_free(sail_runtime *rt, sail_tensor *t)
{
    if (rt && t && t->buffer)
        rt->backend->free(rt->device, t->buffer);
    if (t)
        *t = (sail_tensor){0};
}

/* Calls step for each run of rows that is contiguous on both sides: all of them, or one at a time. */
typedef sail_code transfer(sail_runtime *rt, sail_buffer *b, uint64_t offset, void *host, uint64_t bytes, sail_err *err);

static sail_code move(sail_runtime *rt, const sail_tensor *t, void *host, transfer *step, sail_err *err)
{
    const uint64_t row = sail_dtype_bytes(t->dtype, (uint64_t)t->cols);
    const uint64_t apart = sail_dtype_bytes(t->dtype, (uint64_t)t->ld);
    if (!t->buffer)
        return sail_fail(err, SAIL_E_ARG, "a transfer with a matrix that is not there");
    if (t->rows == 0 || t->cols == 0)
        return SAIL_OK;
    if (t->rows == 1 || t->ld == t->cols)
        return step(rt, t->buffer, t->offset, host, row * (uint64_t)t->rows, err);
    for (int64_t i = 0; i < t->rows; i++)
        SAIL_TRY(step(rt, t->buffer, t->offset + apart * (uint64_t)i, (char *)host + row * (uint64_t)i, row, err));
    return SAIL_OK;
}

static sail_code up(sail_runtime *rt, sail_buffer *b, uint64_t offset, void *host, uint64_t bytes, sail_err *err)
{
    return rt->backend->upload(rt->device, b, offset, host, bytes, err);
}

static sail_code down(sail_runtime *rt, sail_buffer *b, uint64_t offset, void *host, uint64_t bytes, sail_err *err)
{
    return rt->backend->download(rt->device, b, offset, host, bytes, err);
}

sail_code sail__tensor_put(sail_runtime *rt, const sail_tensor *t, const void *src, sail_err *err)
{
    return move(rt, t, (void *)(uintptr_t)src, up, err);
}

sail_code sail__tensor_get(sail_runtime *rt, const sail_tensor *t, void *dst, sail_err *err)
{
    return move(rt, t, dst, down, err);
}

/* In pieces of rows, so that the converted copy stays small. */
static sail_code convert(sail_runtime *rt, const sail_tensor *t, float *host, bool put, sail_err *err)
{
    const int64_t most = t->cols > 0 ? ((1 << 20) + t->cols - 1) / t->cols : 1;
    sail_code code = SAIL_OK;
    if (t->dtype == SAIL_F32)
        return move(rt, t, host, put ? up : down, err);
    const int64_t piece = t->rows < most ? t->rows : most;
    void *bytes = sail__malloc(sail_dtype_bytes(t->dtype, (uint64_t)(piece * t->cols)) + 1);
    if (!bytes)
        return sail_fail(err, SAIL_E_NOMEM, "no memory to convert %lld values", (long long)(piece * t->cols));
    for (int64_t i = 0; i < t->rows && code == SAIL_OK; i += piece) {
        sail_tensor part = *t;
        part.rows = t->rows - i < piece ? t->rows - i : piece;
        part.offset += sail_dtype_bytes(t->dtype, (uint64_t)t->ld) * (uint64_t)i;
        const size_t n = (size_t)(part.rows * part.cols);
        if (put && (code = sail_from_f32(t->dtype, host + i * t->cols, bytes, n, err)) == SAIL_OK)
            code = move(rt, &part, bytes, up, err);
        if (!put && (code = move(rt, &part, bytes, down, err)) == SAIL_OK)
            code = sail_to_f32(t->dtype, bytes, host + i * t->cols, n, err);
    }
    sail__free(bytes);
    return code;
}

sail_code sail__tensor_put_f32(sail_runtime *rt, const sail_tensor *t, const float *src, sail_err *err)
{
    return convert(rt, t, (float *)(uintptr_t)src, true, err);
}

sail_code sail__tensor_get_f32(sail_runtime *rt, const sail_tensor *t, float *dst, sail_err *err)
{
    return convert(rt, t, dst, false, err);
}
