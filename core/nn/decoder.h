/* decoder.h - a decoder of any family as a graph.
 *
 * Floor: nn. A graph is built once for a role; the numbers of tokens, rows and segments are inputs of a run. */
#ifndef SAIL_DECODER_H
#define SAIL_DECODER_H

#include "family.h"

/* Inputs of every decoder graph, by slot. */
typedef enum sail__slot_in {
    SAIL__IN_IDS,       /* i32 [tokens, 1] */
    SAIL__IN_POSITIONS, /* i32 [tokens, 1] */
    SAIL__IN_SEGMENTS,  /* i32 [segments, 8] */
    SAIL__IN_RANGES,    /* i32 [ranges, 4] */
    SAIL__IN_TILES,     /* i32 [tiles, 4] */
    SAIL__IN_ROWS,      /* i32 [rows, 1] */
    SAIL__IN_TARGETS,   /* i32 [rows, 1] */
    SAIL__IN_DROPOUT,   /* i32 [tokens, 2] */
    SAIL__IN_ROW_DROPOUT, /* i32 [rows, 2] */
    SAIL__IN_SLOTS,     /* i32 [tokens, 1]: cache rows */
    SAIL__IN_G_LOGP,    /* f32 [rows, 1]: d loss / d logp … */
    SAIL__IN_G_ENTROPY,
    SAIL__IN_G_LSS,
    SAIL__IN_G_SCORES,      /* f32 [rows, labels]: d loss / d head's output */
    SAIL__IN_SAMPLE_PARAMS, /* f32 [rows, 8] */
    SAIL__IN_SAMPLE_KEYS,   /* i32 [rows, 6] */
    SAIL__IN_HISTORY,       /* i32 [rows, history]: ids that a repetition penalty punishes, or -1 */
    SAIL__IN_COUNT
} sail__slot_in;

typedef enum sail__slot_out {
    SAIL__OUT_LOGP, /* f32 [rows, 1]; also of what was sampled, under the model */
    SAIL__OUT_ENTROPY,
    SAIL__OUT_LSS,
    SAIL__OUT_SAMPLED, /* f32 [rows, 1]: log-probability under the distribution that was drawn from */
    SAIL__OUT_IDS,     /* i32 [rows, 1]: sampled */
    SAIL__OUT_LOGITS,  /* f32 [rows, vocab] */
    SAIL__OUT_SCORES,  /* f32 [rows, labels] */
    SAIL__OUT_HIDDEN,  /* of the activations' type [rows, width]: after the last norm */
    SAIL__OUT_COUNT
} sail__slot_out;

typedef enum sail__head_kind {
    SAIL__HEAD_LOGPROB,
    SAIL__HEAD_SCORE,
    SAIL__HEAD_SAMPLE,
    SAIL__HEAD_LOGITS,
    SAIL__HEAD_HIDDEN,   /* hidden states alone */
    SAIL__HEAD_CONTRAST, /* hidden states and logits */
} sail__head_kind;

/* A low-rank update of one linear layer: y += scale * (dropout(x) A^T) B^T. */
typedef struct sail__lora_layer {
    const char *module; /* "model.layers.0.self_attn.q_proj"; the parameter is MODULE.weight */
    int64_t rank, in, out;
    double scale;
    int param_a, param_b; /* indices among the graph's parameters */
} sail__lora_layer;

/* What a graph's parameter indices mean: base parameters first, then adapters, rope tables, caches, gradients. The model
 * that owns the memory hands them out. */
typedef struct sail__decoder_spec {
    const sail__model_config *config;
    const sail__param *params; /* in canonical order; parameter i of the graph is params[i] */
    size_t n_params;
    const sail_dtype *param_dtype; /* [n_params]; vectors F32 */
    const bool *trainable;         /* [n_params]; NULL: none */
    const int *replaced;           /* [n_params]: index of the parameter that stands in for it (a saved module), or -1; NULL */
    sail_dtype dtype;              /* of activations and adapters: F32 or BF16 */
    const sail__lora_layer *lora;  /* in any order; NULL: none */
    size_t n_lora;
    bool lora_trainable;
    double lora_dropout;
    uint64_t seed;       /* of dropout */
    int rope_param[2];   /* indices of the tables f32 [positions, rotary] */
    int64_t positions;   /* rows of the tables */
    bool cached;         /* keys and values live in caches (decoding); else in the batch itself */
    int first_cache;     /* index of layer 0's key cache; then its value cache, layer 1's key cache, … */
    sail_dtype cache_dtype;
    sail__head_kind head;
    int64_t history;     /* of a sampling head: columns of SAIL__IN_HISTORY; 0: no repetition penalty */
    int want;            /* SAIL_WANT_ENTROPY | SAIL_WANT_LSS of a log-probability head: values wanted */
    int grad_want;       /* … and those that carry a derivative back; a part of want */
    int (*gradient_of)(void *user, int param); /* index of the gradient of a trainable parameter; NULL: forward only */
    void *user;
    bool recompute;
} sail__decoder_spec;

/* Build, with its derivative where gradient_of is given. The error names the parameter or feature that is not supported. */
sail_code sail__decoder_build(const sail__decoder_spec *spec, sail_graph **out, sail_err *err);

#endif
