/* hf_config.h - config.json (of transformers 4 and 5) and GGUF metadata into a model config, and back.
 *
 * Floor: io. Threads: any. An unknown family or rope kind, a field with a value that is not supported, a wrong type or
 * a size that does not fit is an error that names file and field. */
#ifndef SAIL_IO_HF_CONFIG_H
#define SAIL_IO_HF_CONFIG_H

#include "../base/node.h"
#include "../nn/family.h"
#include "gguf.h"

/* From parsed files; generation (generation_config.json) may be NULL. */
sail_code sail__config_from_node(sail_arena *a, const sail_node *config, const sail_node *generation,
                                 sail__model_config *out, sail_err *err);
/* DIR/config.json and, where it is there, DIR/generation_config.json. *node (may be NULL): config.json as it stands. */
sail_code sail__config_read(sail_arena *a, const char *dir, sail__model_config *out, sail_node **node, sail_err *err);
/* From general.* and ARCH.* keys, tokenizer.ggml.*_token_id, rope_freqs.weight and the tensors present. */
sail_code sail__config_from_gguf(sail_arena *a, const sail__gguf *g, sail__model_config *out, sail_err *err);

/* What GGUF files say of a config, as keys; other programs take the rest from the architecture. What they would compute otherwise, or not
 * at all, is SAIL_E_FORMAT. */
sail_code sail__config_to_gguf(const sail__model_config *c, sail__gguf_keys *k, sail_err *err);
/* The scale of q.k that GGUF's readers use for the family; a config of another has it in q: sail__gguf_factor. */
double sail__gguf_attention_scale(const sail__model_config *c);
/* By which a GGUF file has a parameter multiplied (after sail__gguf_plus). */
double sail__gguf_factor(const sail__model_config *c, sail__role role);
/* Window of a layer where one window holds but for the last of every `period` layers (0: of all). */
int32_t sail__gguf_window(int32_t window, int64_t period, int32_t layer);
/* Divisors of rotary frequencies that a GGUF keeps as tensors, [rotary/2] float32 each; at most two. */
typedef struct sail__gguf_divisors {
    const char *name;
    const float *data;
    int64_t n;
} sail__gguf_divisors;
sail_code sail__config_divisors(sail_arena *a, const sail__model_config *c, sail__gguf_divisors out[2], size_t *n, sail_err *err);

/* A config.json that transformers loads (both spellings of the rope keys, so 4 and 5 do), and generation_config.json.
 * The divisors of a GGUF's rope_freqs are written as the llama3 scaling that gives them, and refused where there is none. */
sail_code sail__config_to_node(sail_arena *a, const sail__model_config *c, sail_node **out, sail_err *err);
/* Make a config.json of the same family say that the model has c's score head: architectures, id2label, label2id, pad_token_id. */
sail_code sail__config_score_node(sail_arena *a, const sail__model_config *c, sail_node *root, sail_err *err);
sail_code sail__config_generation_node(sail_arena *a, const sail__model_config *c, sail_node **out, sail_err *err);

/* Sizes and ratios in order (heads a multiple of kv_heads, an even rotary part, …); used by both readers. */
sail_code sail__config_check(const sail__model_config *c, const char *file, sail_err *err);

#endif
