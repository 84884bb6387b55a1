/* ref.h - what the files of the ref backend share.
 *
 * Every op is a plain loop over views whose elements are read as double and rounded once when written. Ops run one at a
 * time on the caller's thread; they take working memory from the device, which keeps it from call to call. */
#ifndef REF_H
#define REF_H

#include <string.h>

#include <sail/backend.h>

/* Host address of a view; p is NULL for an absent operand. */
typedef struct view {
    unsigned char *p;
    int64_t rows, cols, ld;
    sail_dtype t;
} view;

enum { REF_SCRATCH = 8 };

/* One call with its operands resolved, and the device's working memory. */
typedef struct work {
    const sail_call *call;
    const sail_attr *attr;
    view in[SAIL_MAX_INPUTS], out[SAIL_MAX_OUTPUTS];
    void **scratch; /* REF_SCRATCH blocks … */
    size_t *room;   /* … and their sizes */
} work;

/* Working memory number `slot`, uninitialised; NULL when out of memory. Valid until the call ends. */
void *ref_scratch(work *w, int slot, size_t count, size_t size);
sail_code ref_no_memory(sail_err *err);

static inline double ref_get(const view *v, int64_t i, int64_t j)
{
    const size_t k = (size_t)(i * v->ld + j);
    switch (v->t) {
    case SAIL_F32: return ((const float *)(const void *)v->p)[k];
    case SAIL_BF16: return (double)sail_bf16_to_f32(((const uint16_t *)(const void *)v->p)[k]);
    case SAIL_I32: return ((const int32_t *)(const void *)v->p)[k];
    default: {
        float f = 0;
        sail_to_f32(v->t, v->p + k * sail_dtype_block_bytes(v->t), &f, 1, NULL);
        return f;
    }
    }
}

static inline void ref_set(const view *v, int64_t i, int64_t j, double x)
{
    const size_t k = (size_t)(i * v->ld + j);
    const float f = (float)x;
    switch (v->t) {
    case SAIL_F32: ((float *)(void *)v->p)[k] = f; break;
    case SAIL_BF16: ((uint16_t *)(void *)v->p)[k] = sail_f32_to_bf16(f); break;
    case SAIL_I32: ((int32_t *)(void *)v->p)[k] = (int32_t)x; break;
    default: sail_from_f32(v->t, &f, v->p + k * sail_dtype_block_bytes(v->t), 1, NULL);
    }
}

static inline int32_t ref_id(const view *v, int64_t i, int64_t j)
{
    return ((const int32_t *)(const void *)v->p)[i * v->ld + j];
}

/* Row i as floats, dequantised where it is made of blocks. */
static inline void ref_row(const view *v, int64_t i, float *dst)
{
    const size_t bytes = sail_dtype_bytes(v->t, (uint64_t)v->ld);
    sail_to_f32(v->t, v->p + (size_t)i * bytes, dst, (size_t)v->cols, NULL);
}

/* Index operand `op` must lie in [least, end); the error names where it does not. */
sail_code ref_check_ids(const work *w, int operand, int32_t least, int64_t end, sail_err *err);

typedef sail_code ref_op(work *w, sail_err *err);

ref_op ref_embed, ref_embed_grad, ref_matmul, ref_bias_grad;
ref_op ref_add, ref_scale, ref_cast, ref_rope, ref_glu, ref_glu_back, ref_act, ref_act_back, ref_dropout, ref_fill;
ref_op ref_gather_rows, ref_scatter_rows, ref_copy_rows;
ref_op ref_rms_norm, ref_rms_norm_back, ref_rms_norm_wgrad, ref_layer_norm, ref_layer_norm_back, ref_layer_norm_wgrad;
ref_op ref_attention, ref_attention_back;
ref_op ref_head, ref_head_back;
ref_op ref_sample;
ref_op ref_sum_squares, ref_clip, ref_adamw, ref_rmsprop, ref_sgd;

#endif
