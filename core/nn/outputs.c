/* outputs.c - gathering results on the device, so that one download brings them. */
#include "outputs.h"

#include <string.h>

void sail__outputs_init(sail__outputs *o, sail_runtime *rt)
{
    memset(o, 0, sizeof *o);
    o->rt = rt;
}

void sail__outputs_free(sail__outputs *o)
{
    if (o->block)
        o->rt->backend->free(o->rt->device, o->block);
    sail__free(o->staging);
    sail__free(o->items);
    memset(o, 0, sizeof *o);
}

sail_code sail__outputs_begin(sail__outputs *o, uint64_t room, size_t items, sail_err *err)
{
    o->n = 0;
    o->size = 0;
    SAIL_TRY(sail__grow(&o->items, &o->cap, items, sizeof *o->items, err));
    if (room <= o->capacity)
        return SAIL_OK;
    const uint64_t size = room + room / 2;
    char *p = sail__realloc(o->staging, (size_t)size);
    if (!p)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for the results of a batch (%llu bytes)", (unsigned long long)size);
    o->staging = p;
    if (o->block)
        o->rt->backend->free(o->rt->device, o->block);
    o->block = NULL;
    o->capacity = 0;
    SAIL_TRY(o->rt->backend->alloc(o->rt->device, size, &o->block, err));
    o->capacity = size;
    return SAIL_OK;
}

uint64_t sail__outputs_room(const sail__outputs *o, sail_dtype t, int64_t rows, int64_t cols)
{
    const uint64_t align = o->rt->info.alignment > 64 ? o->rt->info.alignment : 64;
    return (sail_dtype_bytes(t, (uint64_t)(rows * cols)) + align - 1) / align * align;
}

sail_code sail__outputs_take(sail__outputs *o, const sail_tensor *t, void *to, sail_err *err)
{
    const uint64_t room = sail__outputs_room(o, t->dtype, t->rows, t->cols);
    if (!t->buffer || (t->ld != t->cols && t->rows > 1) || o->n == o->cap || room > o->capacity - o->size)
        return sail_fail(err, SAIL_E_BUG, "outputs: a matrix [%lld, %lld] that no room was made for", (long long)t->rows, (long long)t->cols);
    sail__output *x = &o->items[o->n++];
    *x = (sail__output){to, o->size, sail_dtype_bytes(t->dtype, (uint64_t)(t->rows * t->cols))};
    o->size += room;
    return o->rt->backend->copy(o->rt->device, o->block, x->offset, t->buffer, t->offset, x->bytes, err);
}

sail_code sail__outputs_copy(sail__outputs *o, size_t i, sail_buffer *to, uint64_t offset, sail_err *err)
{
    if (i >= o->n)
        return sail_fail(err, SAIL_E_BUG, "outputs: %zu matrices were taken, not %zu", o->n, i + 1);
    return o->rt->backend->copy(o->rt->device, to, offset, o->block, o->items[i].offset, o->items[i].bytes, err);
}

sail_code sail__outputs_get(sail__outputs *o, sail_err *err)
{
    if (o->n == 0)
        return SAIL_OK;
    const sail__output *last = &o->items[o->n - 1];
    SAIL_TRY(o->rt->backend->download(o->rt->device, o->block, 0, o->staging, last->offset + last->bytes, err));
    for (size_t i = 0; i < o->n; i++)
        memcpy(o->items[i].to, o->staging + o->items[i].offset, (size_t)o->items[i].bytes);
    o->n = 0;
    o->size = 0;
    return SAIL_OK;
}
