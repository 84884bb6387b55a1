/* model.h - a language model on a device: weights, adapters, and the graphs that run it.
 *
 * Floor: nn. Threads: one. Ownership: a model owns its device memory and graphs; the runtime, config and names are
 * borrowed and must outlive it.
 *
 * A model has a policy (what is trained or used) and a reference (frozen): the same weights without the adapter, with a
 * frozen adapter, or a second copy. */
#ifndef SAIL_MODEL_H
#define SAIL_MODEL_H

#include "decoder.h"
#include "flat.h"
#include "forest.h"

typedef enum sail__train_kind { SAIL__TRAIN_NOTHING, SAIL__TRAIN_ALL, SAIL__TRAIN_ADAPTER } sail__train_kind;
typedef enum sail__role_kind { SAIL__POLICY, SAIL__REFERENCE } sail__role_kind;

/* An adapter to put on. a, b NULL: new (A uniform within 1/sqrt(in), drawn from the seed; B zero). */
typedef struct sail__adapter_layer {
    const char *module; /* full dotted name */
    int64_t rank;
    double scale;
    const float *a, *b; /* [rank, in], [out, rank] */
} sail__adapter_layer;
typedef struct sail__adapter_saved { /* a whole parameter that replaces the base's */
    const char *name;
    const float *data;
} sail__adapter_saved;
typedef struct sail__adapter {
    const sail__adapter_layer *layers;
    size_t n_layers;
    const sail__adapter_saved *saved;
    size_t n_saved;
    double dropout;
} sail__adapter;

typedef struct sail__model_spec {
    const sail__model_config *config;
    const sail__param_source *source;
    sail_dtype dtype; /* F32 or BF16 */
    bool as_stored;   /* frozen matrices of block types stay what they are; a model of which every parameter is trained cannot */
    sail__train_kind train;
    const sail__adapter *adapter;           /* of the policy; NULL: none */
    const sail__adapter *reference_adapter; /* of the reference; NULL: none */
    bool reference_copy;                    /* keep a second copy of all weights as reference */
    const sail__param_source *reference_source; /* where that copy comes from; NULL: source */
    const sail_optimizer_plan *optimizer;   /* where anything is trained */
    bool decay_all;                         /* weight decay on vectors too */
    bool recompute;
    uint64_t seed;
    int grad_want;         /* SAIL_WANT_…: derivatives beside that of logp that backward takes */
    int64_t max_positions; /* 0: the config's, at most 32768 */
} sail__model_spec;

typedef struct sail__model sail__model;
sail_code sail__model_new(sail_runtime *rt, const sail__model_spec *spec, sail__model **out, sail_err *err);
void sail__model_free(sail__model *m);

/* Bytes of n trained numbers: masters, gradients, the optimiser's, and in bf16 the copies that passes use (masters serve in f32). */
double sail__trained_bytes(double n, int states, sail_dtype dtype);
int64_t sail__model_positions(const sail__model *m); /* longest sequence, tokens */
sail__flat *sail__model_flat(sail__model *m);        /* NULL where nothing is trained */
bool sail__model_has_dropout(const sail__model *m);     /* a training forward of the policy differs from another */

/* Scores at the forest's head rows, in nats; arrays of forest->n_rows, entropy and lss may be NULL. keep: a training
 * forward (with dropout where the adapter has it), after which sail__model_backward may follow (policy only). */
sail_code sail__model_logprobs(sail__model *m, sail__role_kind role, const sail__forest *f, bool keep, float *logp, float *entropy,
                               float *lss, sail_err *err);
/* Accumulate the gradient of the loss whose derivatives at the last kept forward's rows are given (NULL: zero). */
sail_code sail__model_backward(sail__model *m, const sail__forest *f, const float *g_logp, const float *g_entropy, const float *g_lss,
                               sail_err *err);
/* [n_rows, vocab]: for tests and small jobs. */
sail_code sail__model_logits(sail__model *m, sail__role_kind role, const sail__forest *f, float *logits, sail_err *err);
/* [n_rows, labels] of a model with a score head, at the forest's head rows; keep as above, for sail__model_scores_backward. */
sail_code sail__model_scores(sail__model *m, const sail__forest *f, bool keep, float *scores, sail_err *err);
/* Accumulate the gradient of the loss whose derivatives at the last kept scores are given, [n_rows, labels]. */
sail_code sail__model_scores_backward(sail__model *m, const sail__forest *f, const float *g_scores, sail_err *err);

/* A parameter as it is now, by canonical name, adapters merged or not. rows*cols floats, rows [first, first + count). */
sail_code sail__model_read(sail__model *m, sail__role_kind role, const char *name, bool merged, int64_t first, int64_t count,
                           float *out, sail_err *err);
/* The policy adapter's matrices as they are now, into arrays of rank*in and out*rank. */
size_t sail__model_adapter_layers(const sail__model *m);
const sail__lora_layer *sail__model_adapter_layer(const sail__model *m, size_t i);
sail_code sail__model_adapter_read(sail__model *m, size_t i, float *a, float *b, sail_err *err);

/* Modules that adapters can be put on: every linear layer but the output, in canonical order; filtered by `targets` (suffixes
 * such as q_proj; n_targets 0: all). *n may be 0. In the arena. */
sail_code sail__linear_modules(sail_arena *a, const sail__model_config *c, const char *const *targets, size_t n_targets,
                               const char ***out, size_t *n, sail_err *err);

/* Counted from the graph that sail__model_logprobs (sail__model_scores, of a model with a score head) runs for this role and `keep`: flops of a pass over the forest, with keep
 * that of the backward pass as well. 0 before the first run. */
double sail__model_flops(const sail__model *m, sail__role_kind role, const sail__forest *f, bool keep);

/* For generate.c. */
typedef struct sail__model_view {
    sail_runtime *rt;
    const sail__model_config *config;
    const sail__decoder_spec *spec; /* of the role, without head, cache and gradients */
    const sail_tensor *bind;
    int n_bind;
} sail__model_view;
void sail__model_view_of(const sail__model *m, sail__role_kind role, sail__model_view *out);

#endif
