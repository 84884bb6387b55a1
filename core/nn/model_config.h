/* model_config.h - everything that tells one decoder from another, and where its parameters come from.
 *
 * Floor: nn. (Readers of config.json and GGUF, in io above, fill it in: see io/hf_config.h and io/weights.h.)
 * Ownership: strings and arrays belong to the arena that the config was made in. Constant once made. */
#ifndef SAIL_NN_MODEL_CONFIG_H
#define SAIL_NN_MODEL_CONFIG_H

#include "../base/base.h"
#include "../sail/graph.h"
#include "../sail/tensor.h"

typedef struct sail__family sail__family; /* family.h */

typedef enum sail__rope_kind {
    SAIL__ROPE_DEFAULT,
    SAIL__ROPE_LINEAR,   /* frequencies / factor */
    SAIL__ROPE_LLAMA3,   /* by wavelength: kept, blended, divided */
    SAIL__ROPE_LONGROPE, /* frequencies / short_factor, or / long_factor when the whole sequence is longer than
                            original_length (for all its positions) */
} sail__rope_kind;

typedef struct sail__rope {
    sail__rope_kind kind;
    int32_t rotary; /* entries of a head that turn, from its start; even */
    double theta;
    double factor;                     /* linear, llama3 */
    double low_freq, high_freq;        /* llama3 */
    int64_t original_length;           /* llama3, longrope; tokens */
    double attention_factor;           /* cosines and sines are multiplied by it; 1 unless longrope */
    const double *short_factor, *long_factor; /* longrope: rotary/2 each; else NULL */
    const double *divisors; /* rotary/2 divisors from a GGUF's rope_freqs.weight (kind is DEFAULT then); else NULL */
} sail__rope;

/* rotary/2 angles per position, in radians: position p turns entry i by p * out[i]. long_form: longrope's long
 * factors. */
void sail__rope_frequencies(const sail__rope *r, bool long_form, double *out);

typedef struct sail__layer_config {
    int32_t window; /* a query sees this many keys, itself included; 0: all */
    int32_t rope;   /* index into ropes */
} sail__layer_config;

enum { SAIL__MAX_END_IDS = 32 };

typedef struct sail__model_config {
    const sail__family *family; /* names of parameters */
    const char *model_type;     /* the family's name, e.g. "llama" */
    const char *architecture;   /* "LlamaForCausalLM" */

    int32_t width, layers, heads, kv_heads, head_dim, ff, vocab;
    int64_t max_positions; /* tokens */
    int32_t labels;        /* 0: a language model; else a score head of that many labels in its place */
    const char *score_module; /* the head's name in files; NULL: the family's ("score") */
    bool score_bias;
    const double *score_shift, *score_scale; /* [labels]: a score is (head's output - shift) * scale; NULL: 0, 1. The sign of a cost is
                                              * in the scale: higher is better */
    const char *prompt_form;  /* template that the authors of this kind of reward model feed it; NULL: the tokenizer's own */
    bool score_open;          /* … and without an end token behind the response */

    bool layer_norm;     /* false: RMS norm; true: mean taken off, with bias */
    double norm_eps;
    double norm_plus;    /* 1 where weights are stored as w - 1 (Gemma), else 0: SAIL_OP_RMS_NORM's weight_plus */
    bool post_norms;     /* Gemma 2, 3: also a norm after attention and after the MLP, before the residual is added */
    bool qk_norm;        /* RMS norm of each head of q and k before the rotation */

    bool qkv_bias, o_bias, mlp_bias, head_bias;
    bool fused_qkv;      /* one matrix; rows q, k, v */
    bool per_head_qkv;   /* in the family's files they lie per head: q, k, v of head 0, … (GPT-NeoX); see sail__param_file_row */
    bool fused_gate_up;  /* one matrix; rows gate, up */
    bool gated;          /* act(gate) * up; false: act(up) only */
    bool parallel;       /* x + attention(norm x) + mlp(norm x) */
    bool shared_norm;    /* parallel with one norm for both (Phi) */
    sail_activation activation;

    double embed_scale;       /* 1, or sqrt(width) for Gemma (the output layer is not scaled) */
    double attention_scale;   /* of q.k; usually 1/sqrt(head_dim) */
    double attention_softcap; /* 0: none */
    double final_softcap;     /* of the logits; 0: none */
    bool tied;                /* the output layer is the embedding */

    sail__rope ropes[2]; /* [1] only where window layers turn differently (Gemma 3) */
    int32_t n_ropes;
    const sail__layer_config *layer; /* [layers] */

    int32_t bos_id, pad_id;  /* -1: none */
    int32_t end_ids[SAIL__MAX_END_IDS]; /* generation stops on any; from config.json and generation_config.json */
    int32_t n_end_ids;

    sail_dtype dtype; /* as stored: F32, F16 or BF16 (of a GGUF: that of most of its matrices, or F16 if quantised) */
} sail__model_config;

/* Where parameters come from, by canonical name (as in the Hugging Face checkpoint of the family). A vector of n is one
 * row of n. io/weights.h gives one for a directory or GGUF file; tests and new models make their own. */
typedef struct sail__param_source {
    void *self;
    /* Stored dtype: F32, BF16, F16, F64 or a block type. */
    sail_code (*dtype)(void *self, const char *name, sail_dtype *out, sail_err *err);
    /* Rows [first, first + count) as float32, out[count * cols]. */
    sail_code (*read_f32)(void *self, const char *name, int64_t first, int64_t count, float *out, sail_err *err);
    /* The same as stored: out has count * sail_dtype_bytes(dtype, cols) bytes. */
    sail_code (*read_raw)(void *self, const char *name, int64_t first, int64_t count, void *out, sail_err *err);
} sail__param_source;

#endif
