/* inputs.c - packing a pass's inputs. */
#include "inputs.h"

#include <string.h>

void sail__inputs_init(sail__inputs *in, sail_runtime *rt)
{
    memset(in, 0, sizeof *in);
    in->rt = rt;
}

void sail__inputs_free(sail__inputs *in)
{
    if (in->block)
        in->rt->backend->free(in->rt->device, in->block);
    sail__free(in->staging);
    memset(in, 0, sizeof *in);
}

void sail__inputs_begin(sail__inputs *in)
{
    in->size = 0;
    memset(in->tensors, 0, sizeof in->tensors);
    memset(in->data, 0, sizeof in->data);
}

void sail__inputs_put(sail__inputs *in, sail__slot_in slot, sail_dtype t, const void *data, int64_t rows, int64_t cols)
{
    uint64_t align = in->rt->info.alignment > 64 ? in->rt->info.alignment : 64;
    in->tensors[slot] = (sail_tensor){.offset = in->size, .rows = rows, .cols = cols, .ld = cols, .dtype = t};
    in->data[slot] = data;
    in->size += (sail_dtype_bytes(t, (uint64_t)(rows * cols)) + align - 1) / align * align;
}

void sail__inputs_forest(sail__inputs *in, const sail__forest *f)
{
    sail__inputs_put(in, SAIL__IN_IDS, SAIL_I32, f->ids, f->n_tokens, 1);
    sail__inputs_put(in, SAIL__IN_POSITIONS, SAIL_I32, f->positions, f->n_tokens, 1);
    sail__inputs_put(in, SAIL__IN_SLOTS, SAIL_I32, f->slots, f->n_tokens, 1);
    sail__inputs_put(in, SAIL__IN_SEGMENTS, SAIL_I32, f->segments, f->n_segments, SAIL__SEGMENT_FIELDS);
    sail__inputs_put(in, SAIL__IN_RANGES, SAIL_I32, f->ranges, f->n_ranges, SAIL__RANGE_FIELDS);
    sail__inputs_put(in, SAIL__IN_TILES, SAIL_I32, f->tiles, f->n_tiles, SAIL__TILE_FIELDS);
    sail__inputs_put(in, SAIL__IN_ROWS, SAIL_I32, f->rows, f->n_rows, 1);
    sail__inputs_put(in, SAIL__IN_TARGETS, SAIL_I32, f->targets, f->n_rows, 1);
    sail__inputs_put(in, SAIL__IN_DROPOUT, SAIL_I32, f->dropout_keys, f->n_tokens, 2);
    sail__inputs_put(in, SAIL__IN_ROW_DROPOUT, SAIL_I32, f->row_dropout_keys, f->n_rows, 2);
}

static sail_code room(sail__inputs *in, uint64_t bytes, sail_err *err)
{
    if (bytes <= in->capacity)
        return SAIL_OK;
    uint64_t size = bytes + bytes / 2;
    char *p = sail__realloc(in->staging, (size_t)size);
    if (!p)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for the inputs of a batch (%llu bytes)", (unsigned long long)size);
    in->staging = p;
    if (in->block)
        in->rt->backend->free(in->rt->device, in->block);
    in->block = NULL;
    in->capacity = 0;
    SAIL_TRY(in->rt->backend->alloc(in->rt->device, size, &in->block, err));
    in->capacity = size;
    return SAIL_OK;
}

sail_code sail__inputs_send(sail__inputs *in, uint64_t from, uint64_t reserve, sail_err *err)
{
    if (from == 0)
        SAIL_TRY(room(in, in->size + reserve, err));
    else if (in->size > in->capacity)
        return sail_fail(err, SAIL_E_BUG, "inputs: no room was reserved");
    memset(in->staging + from, 0, (size_t)(in->size - from));
    for (int i = 0; i < SAIL__IN_COUNT; i++) {
        sail_tensor *t = &in->tensors[i];
        t->buffer = in->block;
        if (in->data[i] && t->offset >= from)
            memcpy(in->staging + t->offset, in->data[i], sail_dtype_bytes(t->dtype, (uint64_t)(t->rows * t->cols)));
    }
    return in->rt->backend->upload(in->rt->device, in->block, from, in->staging + from, in->size - from, err);
}

sail_dims sail__forest_dims(const sail__forest *f)
{
    sail_dims d = {{0}};
    d.n[-SAIL_DIM_TOKENS] = f->n_tokens;
    d.n[-SAIL_DIM_ROWS] = f->n_rows;
    d.n[-SAIL_DIM_SEGMENTS] = f->n_segments;
    d.n[-SAIL_DIM_RANGES] = f->n_ranges;
    d.n[-SAIL_DIM_TILES] = f->n_tiles;
    d.n[-SAIL_DIM_KEYS] = f->n_keys;
    d.n[-SAIL_DIM_SEQS] = f->n_rows;
    return d;
}
