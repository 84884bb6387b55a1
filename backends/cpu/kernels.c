/* kernels.c - the table of one instruction set's kernels. */
#include "kernels.h"


const cpu_kernels K(kernels) = {
    .name = CPU_NAME,
    .adds = K(matmul_adds),
    .sum = K(matmul_sum),
    .op = {
        [SAIL_OP_EMBED] = K(embed),
        [SAIL_OP_EMBED_GRAD] = K(embed_grad),
        [SAIL_OP_MATMUL] = K(matmul),
        [SAIL_OP_BIAS_GRAD] = K(bias_grad),
        [SAIL_OP_ADD] = K(add),
        [SAIL_OP_SCALE] = K(scale),
        [SAIL_OP_CAST] = K(cast),
        [SAIL_OP_RMS_NORM] = K(rms_norm),
        [SAIL_OP_RMS_NORM_BACK] = K(rms_norm_back),
        [SAIL_OP_RMS_NORM_WGRAD] = K(rms_norm_wgrad),
        [SAIL_OP_ROPE] = K(rope),
        [SAIL_OP_ATTENTION] = K(attention),
        [SAIL_OP_ATTENTION_BACK] = K(attention_back),
        [SAIL_OP_GLU] = K(glu),
        [SAIL_OP_GLU_BACK] = K(glu_back),
        [SAIL_OP_GATHER_ROWS] = K(gather_rows),
        [SAIL_OP_SCATTER_ROWS] = K(scatter_rows),
        [SAIL_OP_HEAD] = K(head),
        [SAIL_OP_HEAD_BACK] = K(head_back),
        [SAIL_OP_DROPOUT] = K(dropout),
        [SAIL_OP_COPY_ROWS] = K(copy_rows),
        [SAIL_OP_SAMPLE] = K(sample),
        [SAIL_OP_SUM_SQUARES] = K(sum_squares),
        [SAIL_OP_CLIP] = K(clip),
        [SAIL_OP_ADAMW] = K(adamw),
        [SAIL_OP_RMSPROP] = K(rmsprop),
        [SAIL_OP_SGD] = K(sgd),
        [SAIL_OP_FILL] = K(fill),
    },
};
