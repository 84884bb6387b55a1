/* peft.h - LoRA adapters as the peft library keeps them: adapter_config.json and adapter_model.safetensors.
 *
 * Floor: io. Threads: any. Ownership: all of a sail__peft lives in the arena it was read into, or belongs to the caller
 * who fills one for writing. Whatever peft can do and sail cannot (DoRA, biases, fan_in_fan_out, regular expressions
 * …) is refused by name. */
#ifndef SAIL_IO_PEFT_H
#define SAIL_IO_PEFT_H

#include "../base/node.h"
#include "../nn/family.h"
#include "../sail/tensor.h"

typedef struct sail__lora_module { /* W' = W + scale * B A */
    const char *module; /* "model.layers.0.self_attn.q_proj" */
    int64_t rank, in, out;
    double alpha, scale;  /* scale = alpha / rank, or alpha / sqrt(rank) with rslora */
    const float *a, *b;   /* [rank, in], [out, rank] */
} sail__lora_module;

typedef struct sail__saved_module { /* a whole parameter that replaces the base's */
    const char *name; /* "lm_head.weight" */
    int64_t rows, cols;
    bool vector;
    const float *data;
} sail__saved_module;

typedef struct sail__peft_pattern { /* a key matches a module whose dotted name ends with it; the first match counts */
    const char *key;
    double value;
} sail__peft_pattern;

typedef struct sail__peft {
    int64_t rank;
    double alpha, dropout;
    bool rslora;
    const char *base;      /* base_model_name_or_path; may be NULL */
    const char *task_type; /* "CAUSAL_LM"; NULL: that */
    bool all_linear;       /* target_modules was "all-linear" */
    const char *const *targets; /* suffixes or whole names, as in target_modules */
    size_t n_targets;
    const sail__peft_pattern *rank_pattern, *alpha_pattern;
    size_t n_rank_pattern, n_alpha_pattern;
    const char *const *save_names; /* modules_to_save, as in the file */
    size_t n_save_names;
    const sail__lora_module *modules;
    size_t n_modules;
    const sail__saved_module *saved;
    size_t n_saved;
} sail__peft;

sail_code sail__peft_read(sail_arena *a, const char *dir, sail__peft *out, sail_err *err);

/* 32 hex digits of the hash over all that it does to a model: modules, scales, matrices, saved parameters. */
void sail__peft_hash(const sail__peft *p, char out[33]);

/* That every module and saved parameter is one of the model's, with its shape. */
sail_code sail__peft_fits(const sail__peft *p, const sail__param *params, size_t n_params, const char *dir,
                          sail_err *err);

/* The rows of lora_B and of saved parameters from the order of the family's files into the model's (sail__param_file_row), or with
 * to_file the other way round. What changes is copied into the arena. */
sail_code sail__peft_reorder(sail_arena *a, sail__peft *p, const sail__model_config *c, const sail__param *params, size_t n_params,
                             bool to_file, sail_err *err);

/* Rank, alpha and scale that the config gives to a module; false when no target names it. */
bool sail__peft_settings(const sail__peft *p, const char *module, int64_t *rank, double *alpha, double *scale);

/* Write dir/adapter_config.json and dir/adapter_model.safetensors (dtype F32 or BF16) so that peft loads them without a
 * warning. The directory is made. Where targets is empty the modules' own names are written; where a module's rank or
 * alpha is not the common one and no pattern says so, a pattern with its whole name is added. */
sail_code sail__peft_write(const char *dir, const sail__peft *p, sail_dtype dtype, sail_err *err);

#endif
