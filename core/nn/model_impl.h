/* model_impl.h - the inside of a model, for model.c (making it) and model_run.c (running it). Floor: nn. */
#ifndef SAIL_MODEL_IMPL_H
#define SAIL_MODEL_IMPL_H

#include "inputs.h"
#include "long_rope.h"
#include "outputs.h"
#include "model.h"

enum { SAIL__MAX_PROGRAMS = 12 };

typedef struct sail__program { /* a graph, compiled for one use */
    sail__role_kind role;
    sail__head_kind head;
    int want;
    bool training;
    sail_graph *graph;
    sail_exec *exec;
} sail__program;

struct sail__model {
    sail_runtime *rt;
    const sail__model_config *config;
    sail__model_spec spec;
    sail_arena *arena;
    sail__param *params;
    size_t n_params;
    sail_dtype *dtypes;
    bool *trainable;
    int64_t positions;
    sail_tensor *bind; /* the graphs' parameters by index */
    bool *owned;       /* bind[i] is freed with the model */
    int *gradient;     /* index of bind[i]'s gradient, or -1 */
    int *entry;        /* entry in the flat space behind bind[i], or -1 */
    int n_bind, cap_bind;
    int rope_param[2];
    int *replaced[2]; /* by role; NULL: none */
    sail__lora_layer *lora[2];
    size_t n_lora[2];
    sail__decoder_spec view[2];
    sail__flat *flat;
    sail__program programs[SAIL__MAX_PROGRAMS];
    int n_programs;
    sail__program *kept; /* whose forward waits for a backward */
    uint64_t kept_tables;
    sail__inputs inputs;
    sail__outputs outputs;
    sail__forest forms; /* of the last pass, where tokens turn by more than one form */
};

/* What a parameter that is not trained is held as where passes compute in `dtype`: as_stored, a block type where policy and reference both
 * have it as that. */
sail_code sail__frozen_dtype(const sail__model *m, const sail__param *p, sail_dtype dtype, bool as_stored, sail_dtype *out, sail_err *err);

/* model_memory.c: SAIL_E_NOMEM, with what is needed, what there is and what would fit, when weights and what training them takes exceed the
 * device's memory. Once params are known; nothing is allocated. */
sail_code sail__model_fits(const sail__model *m, sail_err *err);

#endif
