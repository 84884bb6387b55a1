/* inputs.h - what a pass needs from the host, packed into one block and sent with one upload.
 *
 * Floor: nn. Threads: one. Ownership: the block and its staging copy belong to the sail__inputs. */
#ifndef SAIL_INPUTS_H
#define SAIL_INPUTS_H

#include "../backend/exec.h"
#include "decoder.h"
#include "forest.h"

typedef struct sail__inputs {
    sail_runtime *rt;
    sail_buffer *block; /* device */
    char *staging;      /* host */
    uint64_t capacity, size;
    sail_tensor tensors[SAIL__IN_COUNT];
    const void *data[SAIL__IN_COUNT];
} sail__inputs;

void sail__inputs_init(sail__inputs *in, sail_runtime *rt);
void sail__inputs_free(sail__inputs *in);
/* Begin a new block; then name what belongs into it (data is borrowed until send; NULL: zeros). */
void sail__inputs_begin(sail__inputs *in);
void sail__inputs_put(sail__inputs *in, sail__slot_in slot, sail_dtype t, const void *data, int64_t rows, int64_t cols);
void sail__inputs_forest(sail__inputs *in, const sail__forest *f);
/* Copy and upload what was put since offset `from` (0: all). The block grows as needed, only when from is 0. */
sail_code sail__inputs_send(sail__inputs *in, uint64_t from, uint64_t reserve, sail_err *err);
sail_dims sail__forest_dims(const sail__forest *f);

#endif
