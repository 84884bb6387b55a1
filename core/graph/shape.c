/* shape.c - the shape rule of every op: the one place where operands, attributes and outputs are checked. */
#include <stdio.h>

#include "ops.h"

/* A rule in progress; the first error sticks. */
typedef struct rule {
    sail_op op;
    const sail_attr *attr;
    const sail_shape *in;
    int n_in;
    sail_shape *out;
    sail_err *err;
    sail_code code;
} rule;

enum { ANY = SAIL_SHAPE_ANY };

static const char *number(int64_t n, char text[24])
{
    static const char *const symbols[] = {"tokens", "rows", "segments", "ranges", "tiles", "keys", "seqs", "history"};
    if (n == ANY)
        return "any";
    if (n < 0 && n >= SAIL_DIM_LEAST)
        return symbols[-n - 1];
    snprintf(text, 24, "%lld", (long long)n);
    return text;
}

static bool has(const rule *r, int i)
{
    return i < r->n_in && r->in[i].present;
}

/* Operand i must be [rows, cols] where these are not ANY. */
static void shape(rule *r, int i, int64_t rows, int64_t cols)
{
    const sail_shape *s = &r->in[i];
    char name[32], a[24], b[24], c[24], d[24];
    if (r->code != SAIL_OK || ((rows == ANY || s->rows == rows) && (cols == ANY || s->cols == cols)))
        return;
    r->code = sail_fail(r->err, SAIL_E_SHAPE, "%s: %s is [%s, %s], must be [%s, %s]", sail_op_name(r->op),
                        sail__op_operand(r->op, i, name), number(s->rows, a), number(s->cols, b), number(rows, c),
                        number(cols, d));
}

static void attribute(rule *r, bool good, const char *what)
{
    if (r->code == SAIL_OK && !good)
        r->code = sail_fail(r->err, SAIL_E_ARG, "%s: %s", sail_op_name(r->op), what);
}

static bool is_float(sail_dtype t)
{
    return t == SAIL_F32 || t == SAIL_BF16 || t == SAIL_F16;
}

static void wrong_dtype(rule *r, int i, const char *want)
{
    char name[32];
    if (r->code == SAIL_OK)
        r->code = sail_fail(r->err, SAIL_E_DTYPE, "%s: %s is %s, must be %s", sail_op_name(r->op),
                            sail__op_operand(r->op, i, name), sail_dtype_name(r->in[i].dtype), want);
}

static void exactly(rule *r, int i, sail_dtype t)
{
    if (r->in[i].dtype != t)
        wrong_dtype(r, i, sail_dtype_name(t));
}

static void floating(rule *r, int i)
{
    if (!is_float(r->in[i].dtype))
        wrong_dtype(r, i, "f32, bf16 or f16");
}

/* Operand i is t, f32 allowed too, or, where `frozen`, a block type. */
static void like(rule *r, int i, sail_dtype t, bool f32, bool frozen)
{
    const sail_dtype d = r->in[i].dtype;
    if (d == t || (f32 && d == SAIL_F32) || (frozen && sail_dtype_is_quantised(d)))
        return;
    wrong_dtype(r, i, frozen ? "the other operand's type or a block type" : sail_dtype_name(t));
}

static void ints(rule *r, int i, int64_t rows, int64_t cols)
{
    exactly(r, i, SAIL_I32);
    shape(r, i, rows, cols);
}

static void f32(rule *r, int i, int64_t rows, int64_t cols)
{
    exactly(r, i, SAIL_F32);
    shape(r, i, rows, cols);
}

static void give(rule *r, int i, sail_dtype t, int64_t rows, int64_t cols)
{
    r->out[i] = (sail_shape){true, t, rows, cols};
}

static void chosen_dtype(rule *r)
{
    if (r->code == SAIL_OK && !is_float(r->attr->dtype))
        r->code = sail_fail(r->err, SAIL_E_DTYPE, "%s: output dtype is %s, must be f32, bf16 or f16",
                            sail_op_name(r->op), sail_dtype_name(r->attr->dtype));
}

static void matmul(rule *r)
{
    const sail_shape *a = &r->in[0], *b = &r->in[1];
    const int64_t m = r->attr->trans_a ? a->cols : a->rows, k = r->attr->trans_a ? a->rows : a->cols;
    const int64_t n = r->attr->trans_b ? b->rows : b->cols;
    floating(r, 0);
    like(r, 1, a->dtype, false, true);
    shape(r, 1, r->attr->trans_b ? ANY : k, r->attr->trans_b ? k : ANY);
    chosen_dtype(r);
    if (has(r, 2)) {
        like(r, 2, a->dtype, true, false);
        shape(r, 2, 1, n);
    }
    if (has(r, 3)) {
        like(r, 3, r->attr->dtype, false, false);
        shape(r, 3, m, n);
    }
    attribute(r, r->attr->scale != 0, "scale is 0; 1 leaves the product as it is");
    give(r, 0, r->attr->dtype, m, n);
}

static void heads(rule *r, int q, int k, int v)
{
    const sail_attr *a = r->attr;
    attribute(r, a->heads > 0 && a->kv_heads > 0 && a->head_dim > 0 && a->heads % a->kv_heads == 0,
              "heads must be a multiple of kv_heads, and head_dim positive");
    attribute(r, a->scale != 0, "scale is 0; usually it is 1/sqrt(head_dim)");
    attribute(r, a->window >= 0 && a->softcap >= 0, "window and softcap must not be negative");
    floating(r, q);
    shape(r, q, ANY, (int64_t)a->heads * a->head_dim);
    like(r, k, r->in[q].dtype, false, false);
    shape(r, k, ANY, (int64_t)a->kv_heads * a->head_dim);
    like(r, v, r->in[q].dtype, false, false);
    shape(r, v, r->in[k].rows, (int64_t)a->kv_heads * a->head_dim);
}

static void tables(rule *r, int first)
{
    ints(r, first, ANY, 8);
    ints(r, first + 1, ANY, 4);
    ints(r, first + 2, ANY, 4);
}

static void attention(rule *r)
{
    heads(r, 0, 1, 2);
    tables(r, 3);
    give(r, 0, r->in[0].dtype, r->in[0].rows, r->in[0].cols);
    give(r, 1, SAIL_F32, r->in[0].rows, r->attr->heads);
}

static void attention_back(rule *r)
{
    const sail_shape *q = &r->in[1], *k = &r->in[2];
    heads(r, 1, 2, 3);
    shape(r, 2, q->rows, ANY); /* derivatives are for training, where the keys are the rows */
    like(r, 0, q->dtype, false, false);
    shape(r, 0, q->rows, q->cols);
    like(r, 4, q->dtype, false, false);
    shape(r, 4, q->rows, q->cols);
    f32(r, 5, q->rows, r->attr->heads);
    tables(r, 6);
    give(r, 0, q->dtype, q->rows, q->cols);
    give(r, 1, q->dtype, k->rows, k->cols);
    give(r, 2, q->dtype, k->rows, k->cols);
}

/* x in operand i, its weights' width n: groups equal parts of the row. */
static void groups(rule *r, int i, int64_t n)
{
    attribute(r, r->attr->groups >= 1, "groups is 0; 1 normalises whole rows");
    attribute(r, n * r->attr->groups == r->in[i].cols, "the weights' width times groups must be the width of x");
}

static void rms_norm(rule *r)
{
    const sail_shape *x = &r->in[0];
    floating(r, 0);
    floating(r, 1);
    shape(r, 1, 1, ANY);
    groups(r, 0, r->in[1].cols);
    chosen_dtype(r);
    give(r, 0, r->attr->dtype, x->rows, x->cols);
    give(r, 1, SAIL_F32, x->rows, r->attr->groups);
}

static void rms_norm_back(rule *r)
{
    const sail_shape *x = &r->in[1];
    floating(r, 0);
    shape(r, 0, x->rows, x->cols);
    floating(r, 1);
    floating(r, 2);
    shape(r, 2, 1, ANY);
    groups(r, 1, r->in[2].cols);
    f32(r, 3, x->rows, r->attr->groups);
    if (has(r, 4)) {
        like(r, 4, x->dtype, false, false);
        shape(r, 4, x->rows, x->cols);
    }
    give(r, 0, x->dtype, x->rows, x->cols);
}

static void rms_norm_wgrad(rule *r)
{
    const sail_shape *x = &r->in[1];
    floating(r, 0);
    floating(r, 1);
    shape(r, 0, x->rows, x->cols);
    attribute(r, r->attr->groups >= 1 && x->cols % (r->attr->groups ? r->attr->groups : 1) == 0,
              "groups must divide the width of x");
    f32(r, 2, x->rows, r->attr->groups);
    give(r, 0, SAIL_F32, 1, r->attr->groups ? x->cols / r->attr->groups : 0);
}

static void layer_norm(rule *r)
{
    const sail_shape *x = &r->in[0];
    floating(r, 0);
    for (int i = 1; i < 3; i++) {
        floating(r, i);
        shape(r, i, 1, x->cols);
    }
    chosen_dtype(r);
    give(r, 0, r->attr->dtype, x->rows, x->cols);
    give(r, 1, SAIL_F32, x->rows, 2);
}

static void layer_norm_back(rule *r)
{
    const sail_shape *x = &r->in[1];
    floating(r, 0);
    shape(r, 0, x->rows, x->cols);
    floating(r, 1);
    floating(r, 2);
    shape(r, 2, 1, x->cols);
    f32(r, 3, x->rows, 2);
    if (has(r, 4)) {
        like(r, 4, x->dtype, false, false);
        shape(r, 4, x->rows, x->cols);
    }
    give(r, 0, x->dtype, x->rows, x->cols);
}

static void layer_norm_wgrad(rule *r)
{
    const sail_shape *x = &r->in[1];
    floating(r, 0);
    floating(r, 1);
    shape(r, 0, x->rows, x->cols);
    f32(r, 2, x->rows, 2);
    give(r, 0, SAIL_F32, 1, x->cols);
}

static void rope(rule *r)
{
    const sail_attr *a = r->attr;
    const sail_shape *x = &r->in[0];
    floating(r, 0);
    attribute(r, a->head_dim > 0 && a->rotary >= 0 && a->rotary % 2 == 0 && a->rotary <= a->head_dim,
              "rotary must be even and at most head_dim");
    attribute(r, a->head_dim <= 0 || x->cols % a->head_dim == 0, "the width of x must be a multiple of head_dim");
    ints(r, 1, x->rows, 1);
    f32(r, 2, ANY, a->rotary);
    give(r, 0, x->dtype, x->rows, x->cols);
}

static void activation(rule *r)
{
    attribute(r, r->attr->activation >= SAIL_ACT_SILU && r->attr->activation <= SAIL_ACT_RELU, "unknown activation");
}

static void act(rule *r, bool back)
{
    const sail_shape *x = &r->in[back];
    floating(r, back);
    activation(r);
    if (back) {
        like(r, 0, x->dtype, false, false);
        shape(r, 0, x->rows, x->cols);
    }
    give(r, 0, x->dtype, x->rows, x->cols);
}

static void glu(rule *r, int gate, bool back)
{
    const sail_shape *s = &r->in[gate];
    floating(r, gate);
    activation(r);
    for (int i = 0; i < (back ? 3 : 2); i++) {
        like(r, i, s->dtype, false, false);
        shape(r, i, s->rows, s->cols);
    }
    give(r, 0, s->dtype, s->rows, s->cols);
    if (back)
        give(r, 1, s->dtype, s->rows, s->cols);
}

static void head(rule *r, bool back)
{
    const sail_shape *x = &r->in[0], *w = &r->in[1];
    const bool dw = r->attr->want & SAIL_WANT_DW, db = r->attr->want & SAIL_WANT_DB;
    const int bias = back ? 9 : 3;
    floating(r, 0);
    like(r, 1, x->dtype, false, !(back && dw));
    shape(r, 1, ANY, x->cols);
    ints(r, 2, x->rows, 1);
    if (has(r, bias))
        f32(r, bias, 1, w->rows);
    attribute(r, r->attr->scale != 0, "scale is 0; 1 leaves the logits as they are");
    if (!back) {
        for (int i = 0; i < 4; i++)
            give(r, i, SAIL_F32, x->rows, 1);
        return;
    }
    for (int i = 3; i < 9; i++)
        if (has(r, i))
            f32(r, i, x->rows, 1);
    attribute(r, has(r, 3), "lse is absent");
    attribute(r, !has(r, 7) || has(r, 4), "g_entropy needs entropy");
    attribute(r, !has(r, 8) || has(r, 5), "g_lss needs lss");
    give(r, 0, x->dtype, x->rows, x->cols);
    attribute(r, !db || has(r, bias), "SAIL_WANT_DB without a bias");
    if (dw)
        give(r, 1, SAIL_F32, w->rows, w->cols);
    if (db)
        give(r, 2, SAIL_F32, 1, w->rows);
}

static void sample(rule *r)
{
    const int64_t s = r->in[0].rows;
    f32(r, 0, ANY, ANY);
    f32(r, 1, s, 8);
    ints(r, 2, s, 6);
    if (has(r, 3))
        ints(r, 3, s, ANY);
    give(r, 0, SAIL_I32, s, 1);
    give(r, 1, SAIL_F32, s, 1);
    give(r, 2, SAIL_F32, s, 1);
}

static void optimiser(rule *r)
{
    const int64_t n = r->in[0].cols;
    const int last = r->op == SAIL_OP_SGD ? 4 : r->op == SAIL_OP_ADAMW ? 5 : 6; /* the shadow */
    f32(r, 0, 1, ANY);
    f32(r, 1, 1, 16);
    for (int i = 2; i < last; i++)
        if (has(r, i))
            f32(r, i, 1, n);
    if (has(r, last)) {
        exactly(r, last, SAIL_BF16);
        shape(r, last, 1, n);
    }
    if (r->op == SAIL_OP_RMSPROP) {
        attribute(r, r->attr->momentum == 0 || has(r, 4), "momentum needs buf");
        attribute(r, !r->attr->centered || has(r, 5), "centered needs avg");
    }
    if (r->op == SAIL_OP_SGD)
        attribute(r, r->attr->momentum == 0 || has(r, 3), "momentum needs buf");
    give(r, 0, SAIL_F32, 1, n);
}

/* One operand to an output of its shape. */
static void same(rule *r, sail_dtype t)
{
    floating(r, 0);
    give(r, 0, t, r->in[0].rows, r->in[0].cols);
}

static void apply(rule *r)
{
    const sail_attr *a = r->attr;
    const sail_shape *in = r->in;
    switch (r->op) {
    case SAIL_OP_EMBED:
        if (!is_float(in[0].dtype) && !sail_dtype_is_quantised(in[0].dtype))
            wrong_dtype(r, 0, "f32, bf16, f16 or a block type");
        ints(r, 1, ANY, 1);
        chosen_dtype(r);
        attribute(r, a->scale != 0, "scale is 0; 1 leaves the rows as they are");
        give(r, 0, a->dtype, in[1].rows, in[0].cols);
        break;
    case SAIL_OP_EMBED_GRAD:
        floating(r, 0);
        ints(r, 1, in[0].rows, 1);
        attribute(r, a->scale != 0, "scale is 0; 1 leaves the rows as they are");
        give(r, 0, SAIL_F32, ANY, in[0].cols);
        break;
    case SAIL_OP_MATMUL: matmul(r); break;
    case SAIL_OP_BIAS_GRAD:
        floating(r, 0);
        give(r, 0, SAIL_F32, 1, in[0].cols);
        break;
    case SAIL_OP_ADD:
        floating(r, 1);
        shape(r, 1, in[0].rows, in[0].cols);
        chosen_dtype(r);
        same(r, a->dtype);
        break;
    case SAIL_OP_SCALE: same(r, in[0].dtype); break;
    case SAIL_OP_CAST:
        chosen_dtype(r);
        same(r, a->dtype);
        break;
    case SAIL_OP_RMS_NORM: rms_norm(r); break;
    case SAIL_OP_RMS_NORM_BACK: rms_norm_back(r); break;
    case SAIL_OP_RMS_NORM_WGRAD: rms_norm_wgrad(r); break;
    case SAIL_OP_LAYER_NORM: layer_norm(r); break;
    case SAIL_OP_LAYER_NORM_BACK: layer_norm_back(r); break;
    case SAIL_OP_LAYER_NORM_WGRAD: layer_norm_wgrad(r); break;
    case SAIL_OP_ROPE: rope(r); break;
    case SAIL_OP_ATTENTION: attention(r); break;
    case SAIL_OP_ATTENTION_BACK: attention_back(r); break;
    case SAIL_OP_GLU: glu(r, 0, false); break;
    case SAIL_OP_GLU_BACK: glu(r, 1, true); break;
    case SAIL_OP_ACT: act(r, false); break;
    case SAIL_OP_ACT_BACK: act(r, true); break;
    case SAIL_OP_GATHER_ROWS:
        floating(r, 0);
        ints(r, 1, ANY, 1);
        give(r, 0, in[0].dtype, in[1].rows, in[0].cols);
        break;
    case SAIL_OP_SCATTER_ROWS:
        floating(r, 0);
        ints(r, 1, in[0].rows, 1);
        shape(r, 2, ANY, in[0].cols);
        give(r, 0, in[0].dtype, in[2].rows, in[0].cols);
        break;
    case SAIL_OP_HEAD: head(r, false); break;
    case SAIL_OP_HEAD_BACK: head(r, true); break;
    case SAIL_OP_DROPOUT:
        attribute(r, a->p >= 0 && a->p < 1, "p must be at least 0 and below 1");
        ints(r, 1, in[0].rows, 2);
        same(r, in[0].dtype);
        break;
    case SAIL_OP_COPY_ROWS:
        floating(r, 0);
        ints(r, 1, in[0].rows, 1);
        like(r, 2, in[0].dtype, false, false);
        shape(r, 2, ANY, in[0].cols);
        give(r, 0, in[2].dtype, in[2].rows, in[2].cols);
        break;
    case SAIL_OP_SAMPLE: sample(r); break;
    case SAIL_OP_SUM_SQUARES:
        floating(r, 0);
        shape(r, 0, 1, ANY);
        f32(r, 1, 1, 1);
        give(r, 0, SAIL_F32, 1, 1);
        break;
    case SAIL_OP_CLIP:
        f32(r, 0, 1, 1);
        f32(r, 1, 1, 16);
        give(r, 0, SAIL_F32, 1, 16);
        break;
    case SAIL_OP_ADAMW:
    case SAIL_OP_RMSPROP:
    case SAIL_OP_SGD: optimiser(r); break;
    case SAIL_OP_FILL: give(r, 0, (sail_dtype)ANY, ANY, ANY); break;
    case SAIL_OP_COUNT: break;
    }
}

sail_code sail__op_shape(sail_op op, const sail_attr *attr, const sail_shape *in, int n_in, sail_shape *out, int *n_out,
                         sail_err *err)
{
    static const struct {
        int8_t least, most, outputs;
    } arity[] = {
#define OP(NAME, name, least, most, outputs) {least, most, outputs},
#include "../sail/ops.def"
#undef OP
    };
    rule r = {op, attr, in, n_in, out, err, SAIL_OK};
    char name[32];
    if ((unsigned)op >= SAIL_OP_COUNT)
        return sail_fail(err, SAIL_E_ARG, "there is no op %d", (int)op);
    if (n_in < (op == SAIL_OP_HEAD_BACK ? 4 : arity[op].least) || n_in > arity[op].most)
        return sail_fail(err, SAIL_E_ARG, "%s: %d operands, must be %d to %d", sail_op_name(op), n_in, arity[op].least,
                         arity[op].most);
    for (int i = 0; i < (op == SAIL_OP_HEAD_BACK ? 4 : arity[op].least); i++)
        if (!in[i].present)
            return sail_fail(err, SAIL_E_ARG, "%s: %s is absent", sail_op_name(op), sail__op_operand(op, i, name));
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++)
        out[i] = (sail_shape){0};
    *n_out = arity[op].outputs;
    apply(&r);
    return r.code;
}

static sail_shape shape_of(const sail_tensor *t)
{
    return (sail_shape){t->buffer != NULL, t->dtype, t->rows, t->cols};
}

static sail_code check_layout(const sail_call *call, const char *what, const sail_tensor *t, sail_err *err)
{
    if (t->buffer && (t->rows < 0 || t->cols < 0 || (t->rows > 1 && t->ld < t->cols) ||
                      (sail_dtype_is_quantised(t->dtype) && t->ld != t->cols)))
        return sail_fail(err, SAIL_E_SHAPE, "%s: %s is [%lld, %lld] %s with rows %lld apart", sail_op_name(call->op),
                         what, (long long)t->rows, (long long)t->cols, sail_dtype_name(t->dtype), (long long)t->ld);
    return SAIL_OK;
}

sail_code sail_call_check(const sail_call *call, sail_err *err)
{
    sail_shape in[SAIL_MAX_INPUTS], out[SAIL_MAX_OUTPUTS];
    char name[32];
    int n = 0;
    if (call->n_in < 0 || call->n_in > SAIL_MAX_INPUTS || call->n_out < 0 || call->n_out > SAIL_MAX_OUTPUTS)
        return sail_fail(err, SAIL_E_ARG, "%s: %d operands and %d outputs", sail_op_name(call->op), call->n_in,
                         call->n_out);
    for (int i = 0; i < call->n_in; i++) {
        in[i] = shape_of(&call->in[i]);
        SAIL_TRY(check_layout(call, sail__op_operand(call->op, i, name), &call->in[i], err));
    }
    SAIL_TRY(sail__op_shape(call->op, &call->attr, in, call->n_in, out, &n, err));
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++) {
        const sail_tensor *t = i < call->n_out ? &call->out[i] : NULL;
        const bool given = t && t->buffer;
        if (out[i].present != given)
            return sail_fail(err, SAIL_E_ARG, "%s: output %d is %s", sail_op_name(call->op), i,
                             given ? "not one that it has" : "absent");
        if (!given)
            continue;
        snprintf(name, sizeof name, "output %d", i);
        SAIL_TRY(check_layout(call, name, t, err));
        if (((int)out[i].dtype != (int)ANY && t->dtype != out[i].dtype) || (out[i].rows != ANY && t->rows != out[i].rows) ||
            (out[i].cols != ANY && t->cols != out[i].cols))
            return sail_fail(err, SAIL_E_SHAPE, "%s: output %d is [%lld, %lld] %s, must be [%lld, %lld] %s",
                             sail_op_name(call->op), i, (long long)t->rows, (long long)t->cols,
                             sail_dtype_name(t->dtype), (long long)out[i].rows, (long long)out[i].cols,
                             (int)out[i].dtype == (int)ANY ? "of any type" : sail_dtype_name(out[i].dtype));
    }
    const int place = sail__op_in_place(call->op);
    if (place >= 0 && (call->in[place].buffer != call->out[0].buffer || call->in[place].offset != call->out[0].offset))
        return sail_fail(err, SAIL_E_ARG, "%s: the output must be the operand %s", sail_op_name(call->op),
                         sail__op_operand(call->op, place, name));
    return SAIL_OK;
}
