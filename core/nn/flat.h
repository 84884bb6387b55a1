/* flat.h - all trained parameters in one logical flat space, with their gradients and the optimiser's state.
 *
 * Floor: nn. The space is made of segments no larger than the device's largest allocation; a segment holds parameters that
 * are decayed or such that are not. One op updates a segment, one sums its squares.
 * Ownership: the space owns its device memory. Entries are views of it. */
#ifndef SAIL_FLAT_H
#define SAIL_FLAT_H

#include "../backend/exec.h"
#include "../sail/optimizer.h"

typedef struct sail__flat_entry {
    const char *name; /* borrowed: canonical name, or MODULE.lora_A.weight */
    int64_t rows, cols;
    bool vector, decay;
    int segment;
    int64_t offset; /* elements in the segment */
    int64_t group;  /* matrix parameters of bf16 models are used through their shadow */
} sail__flat_entry;

typedef struct sail__flat_segment {
    int64_t n; /* elements, padding included */
    bool decay;
    sail_tensor weight, gradient, shadow; /* f32, f32, bf16 (or absent) */
    sail_tensor state[SAIL_MAX_OPTIMIZER_STATES];
} sail__flat_segment;

typedef struct sail__flat {
    sail_runtime *rt;
    sail__flat_entry *entries;
    int n_entries;
    sail__flat_segment *segments;
    int n_segments;
    sail_optimizer_plan plan;
    bool shadows;
    sail_tensor control, total; /* f32 [1,16], [1,1] */
} sail__flat;

/* What the host tells an update, and what comes back. */
typedef struct sail__update {
    double rate, max_norm, loss, multiplier;
    bool skip;
    int64_t step; /* number of this update, from 1, skipped ones not counted */
    double norm, clip;  /* out */
    bool skipped;       /* out */
} sail__update;

/* entries: name, rows, cols, vector, decay filled in by the caller; copied. shadows: keep bf16 copies. */
sail_code sail__flat_new(sail_runtime *rt, const sail__flat_entry *entries, int n, const sail_optimizer_plan *plan, bool shadows,
                         sail__flat **out, sail_err *err);
void sail__flat_free(sail__flat *f);

enum sail__flat_part { SAIL__FLAT_WEIGHT, SAIL__FLAT_GRADIENT, SAIL__FLAT_SHADOW, SAIL__FLAT_STATE };
sail_tensor sail__flat_view(const sail__flat *f, int entry, enum sail__flat_part part, int state);

/* Set an entry's weight (and shadow) from rows*cols floats. */
sail_code sail__flat_put(sail__flat *f, int entry, const float *values, sail_err *err);
sail_code sail__flat_zero_gradients(sail__flat *f, sail_err *err);
sail_code sail__flat_update(sail__flat *f, sail__update *u, sail_err *err);
/* After weights were written directly (a checkpoint): bring the shadows up to date. */
sail_code sail__flat_refresh(sail__flat *f, sail_err *err);

#endif
