/* outputs.h - what passes give to the host, gathered in one block of device memory and read with one download.
 *
 * Floor: nn. Threads: one. Ownership: the block and its staging copy belong to the sail__outputs. */
#ifndef SAIL_OUTPUTS_H
#define SAIL_OUTPUTS_H

#include "../backend/exec.h"

typedef struct sail__output {
    void *to; /* host */
    uint64_t offset, bytes; /* in the block */
} sail__output;

typedef struct sail__outputs {
    sail_runtime *rt;
    sail_buffer *block; /* device */
    char *staging;      /* host */
    uint64_t capacity, size;
    sail__output *items;
    size_t n, cap;
} sail__outputs;

void sail__outputs_init(sail__outputs *o, sail_runtime *rt);
void sail__outputs_free(sail__outputs *o);
/* Begin anew: at most `room` bytes in `items` matrices are going to be taken. */
sail_code sail__outputs_begin(sail__outputs *o, uint64_t room, size_t items, sail_err *err);
/* Bytes that a matrix takes in the block. */
uint64_t sail__outputs_room(const sail__outputs *o, sail_dtype t, int64_t rows, int64_t cols);
/* Keep a matrix without gaps between its rows as it is now on the device; `to` gets it with the next get. */
sail_code sail__outputs_take(sail__outputs *o, const sail_tensor *t, void *to, sail_err *err);
/* Copy what was taken as number i (from 0) to other memory of the device. */
sail_code sail__outputs_copy(sail__outputs *o, size_t i, sail_buffer *to, uint64_t offset, sail_err *err);
/* One download; everything taken is where it was wanted. Nothing was taken: nothing is done. */
sail_code sail__outputs_get(sail__outputs *o, sail_err *err);

#endif
