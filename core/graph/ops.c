/* ops.c - facts about ops that are not shape rules. */
#include <stdio.h>
#include <string.h>

#include "ops.h"

const char *sail_op_name(sail_op op)
{
    static const char *const names[] = {
#define OP(NAME, name, least, most, outputs) name,
#include "../sail/ops.def"
#undef OP
    };
    return (unsigned)op < SAIL_OP_COUNT ? names[op] : "unknown op";
}

const char *sail__op_operand(sail_op op, int i, char buffer[32])
{
    static const char *const names[SAIL_OP_COUNT] = {
        [SAIL_OP_EMBED] = "table ids",
        [SAIL_OP_EMBED_GRAD] = "dy ids",
        [SAIL_OP_MATMUL] = "a b bias residual",
        [SAIL_OP_BIAS_GRAD] = "dy",
        [SAIL_OP_ADD] = "a b",
        [SAIL_OP_SCALE] = "x",
        [SAIL_OP_CAST] = "x",
        [SAIL_OP_RMS_NORM] = "x w",
        [SAIL_OP_RMS_NORM_BACK] = "dy x w rstd residual",
        [SAIL_OP_RMS_NORM_WGRAD] = "dy x rstd",
        [SAIL_OP_ROPE] = "x positions table",
        [SAIL_OP_ATTENTION] = "q k v segments ranges tiles",
        [SAIL_OP_ATTENTION_BACK] = "do q k v o lse segments ranges tiles",
        [SAIL_OP_GLU] = "gate up",
        [SAIL_OP_GLU_BACK] = "dy gate up",
        [SAIL_OP_GATHER_ROWS] = "x index",
        [SAIL_OP_SCATTER_ROWS] = "dy index like",
        [SAIL_OP_HEAD] = "x w targets bias",
        [SAIL_OP_HEAD_BACK] = "x w targets lse entropy lss g_logp g_entropy g_lss bias",
        [SAIL_OP_DROPOUT] = "x keys",
        [SAIL_OP_COPY_ROWS] = "x index cache",
        [SAIL_OP_SAMPLE] = "logits params keys history",
        [SAIL_OP_SUM_SQUARES] = "x total",
        [SAIL_OP_CLIP] = "total control",
        [SAIL_OP_ADAMW] = "g control w m v shadow",
        [SAIL_OP_RMSPROP] = "g control w v buf avg shadow",
        [SAIL_OP_SGD] = "g control w buf shadow",
        [SAIL_OP_LAYER_NORM] = "x w b",
        [SAIL_OP_LAYER_NORM_BACK] = "dy x w stats residual",
        [SAIL_OP_LAYER_NORM_WGRAD] = "dy x stats",
        [SAIL_OP_ACT] = "x",
        [SAIL_OP_ACT_BACK] = "dy x",
    };
    const char *s = (unsigned)op < SAIL_OP_COUNT && names[op] ? names[op] : "";
    for (; i > 0 && *s; i--) {
        s += strcspn(s, " ");
        s += *s == ' ';
    }
    snprintf(buffer, 32, "%.*s", *s ? (int)strcspn(s, " ") : 7, *s ? s : "operand");
    return buffer;
}

int sail__op_in_place(sail_op op)
{
    switch (op) {
    case SAIL_OP_SUM_SQUARES:
    case SAIL_OP_CLIP: return 1;
    case SAIL_OP_COPY_ROWS:
    case SAIL_OP_ADAMW:
    case SAIL_OP_RMSPROP:
    case SAIL_OP_SGD: return 2;
    default: return -1;
    }
}

unsigned sail__op_changes(sail_op op)
{
    switch (op) {
    case SAIL_OP_SUM_SQUARES:
    case SAIL_OP_CLIP: return 1u << 1;
    case SAIL_OP_COPY_ROWS: return 1u << 2;
    case SAIL_OP_ADAMW: return 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5;
    case SAIL_OP_RMSPROP: return 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6;
    case SAIL_OP_SGD: return 1u << 2 | 1u << 3 | 1u << 4;
    default: return 0;
    }
}

bool sail__op_elementwise(sail_op op, int i)
{
    switch (op) {
    case SAIL_OP_MATMUL: return i == 3;
    case SAIL_OP_ADD:
    case SAIL_OP_ACT_BACK:
    case SAIL_OP_GLU: return i < 2;
    case SAIL_OP_GLU_BACK: return i < 3;
    case SAIL_OP_SCALE:
    case SAIL_OP_CAST:
    case SAIL_OP_ROPE:
    case SAIL_OP_ACT:
    case SAIL_OP_DROPOUT: return i == 0;
    default: return false;
    }
}

bool sail__op_shape_only(sail_op op, int i)
{
    return op == SAIL_OP_SCATTER_ROWS && i == 2;
}

double sail__attention_flops(sail_op op, double pairs, int64_t cols)
{
    return (op == SAIL_OP_ATTENTION ? 4 : 10) * pairs * (double)cols;
}

double sail__op_flops(sail_op op, const sail_attr *attr, const sail_shape *in, const sail_shape *out)
{
    const double size = (double)out[0].rows * (double)out[0].cols;
    switch (op) {
    case SAIL_OP_MATMUL: return 2 * size * (double)(attr->trans_a ? in[0].rows : in[0].cols);
    case SAIL_OP_HEAD: return 2 * (double)in[0].rows * (double)in[0].cols * (double)in[1].rows;
    case SAIL_OP_HEAD_BACK:
        return (attr->want & SAIL_WANT_DW ? 6 : 4) * (double)in[0].rows * (double)in[0].cols * (double)in[1].rows;
    case SAIL_OP_ATTENTION:
    case SAIL_OP_ATTENTION_BACK: {
        const sail_shape *q = &in[op == SAIL_OP_ATTENTION ? 0 : 1], *k = q + 1;
        const double pairs = q->rows == k->rows ? 0.5 * (double)q->rows * (double)(q->rows + 1)
                                                : (double)q->rows * (double)k->rows;
        return sail__attention_flops(op, pairs, q->cols);
    }
    case SAIL_OP_EMBED:
    case SAIL_OP_GATHER_ROWS:
    case SAIL_OP_COPY_ROWS:
    case SAIL_OP_CAST:
    case SAIL_OP_FILL: return 0;
    case SAIL_OP_EMBED_GRAD:
    case SAIL_OP_BIAS_GRAD:
    case SAIL_OP_SCATTER_ROWS: return (double)in[0].rows * (double)in[0].cols;
    case SAIL_OP_SUM_SQUARES: return 2 * (double)in[0].cols;
    case SAIL_OP_RMS_NORM_WGRAD:
    case SAIL_OP_LAYER_NORM_WGRAD: return 3 * (double)in[0].rows * (double)in[0].cols;
    case SAIL_OP_RMS_NORM: return 4 * size;
    case SAIL_OP_RMS_NORM_BACK: return 8 * size;
    case SAIL_OP_LAYER_NORM: return 7 * size;
    case SAIL_OP_LAYER_NORM_BACK: return 11 * size;
    case SAIL_OP_ACT: return 5 * size;
    case SAIL_OP_ACT_BACK: return 8 * size;
    case SAIL_OP_GLU: return 6 * size;
    case SAIL_OP_GLU_BACK: return 10 * size;
    case SAIL_OP_ROPE: return 3 * size;
    case SAIL_OP_ADAMW: return 14 * size;
    case SAIL_OP_RMSPROP: return 10 * size;
    case SAIL_OP_SGD: return 6 * size;
    case SAIL_OP_SAMPLE: return 4 * (double)in[0].rows * (double)in[0].cols;
    default: return size;
    }
}
