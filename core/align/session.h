/* session.h - a model with everything around it, opened from what a recipe or a command line says.
 *
 * Floor: align. Threads: one. Ownership: a session owns all its members; close frees them in order. */
#ifndef SAIL_SESSION_H
#define SAIL_SESSION_H

#include "../io/data.h"
#include "../io/export.h"
#include "../io/peft.h"
#include "../io/weights.h"
#include "../backend/profile.h"
#include "../nn/generate.h"
#include "config.h"

typedef struct sail__session_spec {
    const sail__model_section *model;
    const sail_slot *backend;
    const sail__adapter_section *adapter; /* a new adapter to train; NULL: none */
    sail__train_kind train;
    const sail_optimizer_plan *optimizer; /* where anything is trained */
    bool decay_all;
    int grad_want;       /* SAIL_WANT_… that the objective takes derivatives of */
    bool reference;      /* the reference is needed */
    const char *reference_path; /* for TRAIN_NOTHING: a model of the same shape, or a PEFT adapter on the same model; NULL: the model
                                 * without its adapter */
    bool fresh_reference; /* … also for responses that no cache can know (rollouts, evaluation of them) */
    int32_t labels;      /* a score head of so many numbers in the place of the output layer; 0: what model and adapter have */
    bool need_tokenizer; /* an error without one; else it may be absent */
    uint64_t seed;
} sail__session_spec;

typedef struct sail__session {
    sail_ctx *ctx;
    sail_arena *arena;
    sail_runtime *rt;
    sail__weights *weights; /* NULL: a new model (model.init) */
    sail__weights *reference_weights; /* of another model as reference; NULL: none */
    const sail__model_config *config;
    sail__tokenizer *tokenizer; /* NULL: none found */
    sail__template *chat;
    sail__model *model;
    sail__peft trained;  /* names, ranks and scales of the policy's adapter, for export */
    bool has_adapter;
    bool new_head;            /* the score head is not one of the base's: it was drawn, or comes with the adapter */
    bool reference_is_policy; /* no reference was asked for, or nothing tells it from the policy */
    const char *path;         /* of the model, "" when new */
    char base_hash[33];       /* of the base weights; filled by sail__session_hash */
} sail__session;

sail_code sail__session_open(sail_ctx *ctx, const sail__session_spec *spec, sail__session **out, sail_err *err);
void sail__session_close(sail__session *s); /* NULL is fine */
sail_code sail__session_hash(sail__session *s, sail_err *err);

/* End tokens of responses: the model's and the template's. */
const int32_t *sail__session_ends(const sail__session *s, int *n);

/* Write what was trained: a PEFT adapter, or the whole model where there is no adapter. */
sail_code sail__session_save(sail__session *s, const char *dir, sail_err *err);
/* The whole model, adapter merged, as a Hugging Face directory (dtype F32 or BF16). */
sail_code sail__session_save_merged(sail__session *s, const char *dir, sail_dtype dtype, sail_err *err);
/* The same as a GGUF file (dtype F32, F16, BF16 or Q8_0); pre: the pre-tokenizer's name there, NULL: found by what it does. */
sail_code sail__session_save_gguf(sail__session *s, const char *path, sail_dtype dtype, const char *pre, sail_err *err);
/* The policy's adapter as a GGUF file (dtype F32, F16 or BF16). */
sail_code sail__session_save_gguf_lora(sail__session *s, const char *path, sail_dtype dtype, sail_err *err);

#endif
