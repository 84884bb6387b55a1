/* derivative.c - the derivative of each op, in terms of other ops. */
#include "backward.h"

/* y = scale op(a) op(b) + bias + residual. With A = op(a), B = op(b): dA = scale dy B^T, dB = scale A^T dy. */
static void matmul(back *b, const sail_node_entry *n, sail_value dy)
{
    const sail_value left = n->in[0], right = n->in[1];
    const bool ta = n->attr.trans_a, tb = n->attr.trans_b;
    const sail_dtype t = b->g->values[left].shape.dtype;
    sail_attr attr = {.scale = n->attr.scale};
    if (n->attr.accumulate) {
        sail__graph_fail(b->g, SAIL_E_STATE, "derivative: a product that is accumulated has none");
        return;
    }
    if (n->n_in > 2)
        sail__back_op(b, n->in[2], SAIL_OP_BIAS_GRAD, &attr, &dy, 1, -1);
    if (n->n_in > 3)
        sail__back_pass(b, n->in[3], dy);
    if (!sail__back_needs(b, left) && !sail__back_needs(b, right))
        return;
    const sail_value g = sail__back_cast(b, dy, t);
    /* The input's first: where an adapter's product reads the same input, theirs follow each other, and a backend can do both at
     * once. */
    if (sail__back_needs(b, left)) {
        const sail_value w = sail__back_read(b, right);
        const sail_value in[] = {ta ? w : g, ta ? g : w, SAIL_NONE, SAIL_NONE};
        attr.trans_a = ta && tb;
        attr.trans_b = ta ? true : !tb;
        sail__back_op(b, left, SAIL_OP_MATMUL, &attr, in, 4, 3);
    }
    if (sail__back_needs(b, right)) {
        const sail_value x = sail__back_read(b, left);
        const sail_value in[] = {tb ? g : x, tb ? x : g, SAIL_NONE, SAIL_NONE};
        attr.trans_a = tb ? true : !ta;
        attr.trans_b = tb && ta;
        sail__back_op(b, right, SAIL_OP_MATMUL, &attr, in, 4, 3);
    }
}

static void rms_norm(back *b, const sail_node_entry *n, sail_value dy)
{
    const sail_value x = sail__back_read(b, n->in[0]), rstd = sail__back_read(b, n->out[1]);
    const sail_value for_w[] = {dy, x, rstd}, for_x[] = {dy, x, sail__back_read(b, n->in[1]), rstd, SAIL_NONE};
    sail__back_op(b, n->in[1], SAIL_OP_RMS_NORM_WGRAD, &n->attr, for_w, 3, -1);
    sail__back_op(b, n->in[0], SAIL_OP_RMS_NORM_BACK, &n->attr, for_x, 5, 4);
}

static void layer_norm(back *b, const sail_node_entry *n, sail_value dy)
{
    const sail_value x = sail__back_read(b, n->in[0]), stats = sail__back_read(b, n->out[1]);
    const sail_value for_w[] = {dy, x, stats}, for_x[] = {dy, x, sail__back_read(b, n->in[1]), stats, SAIL_NONE};
    sail__back_op(b, n->in[1], SAIL_OP_LAYER_NORM_WGRAD, &n->attr, for_w, 3, -1);
    sail__back_op(b, n->in[2], SAIL_OP_BIAS_GRAD, &n->attr, &dy, 1, -1);
    sail__back_op(b, n->in[0], SAIL_OP_LAYER_NORM_BACK, &n->attr, for_x, 5, 4);
}

static void attention(back *b, const sail_node_entry *n, sail_value dy)
{
    sail_value in[9] = {dy};
    for (int i = 0; i < 3; i++)
        in[1 + i] = sail__back_read(b, n->in[i]);
    in[4] = sail__back_read(b, n->out[0]);
    in[5] = sail__back_read(b, n->out[1]);
    for (int i = 0; i < 3; i++)
        in[6 + i] = n->in[3 + i];
    sail__back_many(b, n->in, 3, SAIL_OP_ATTENTION_BACK, &n->attr, in, 9);
}

static void head(back *b, const sail_node_entry *n)
{
    const sail_value g[] = {sail__back_gradient(b, n->out[0]), sail__back_gradient(b, n->out[1]),
                            sail__back_gradient(b, n->out[2])};
    const sail_value in[] = {sail__back_read(b, n->in[0]), n->in[1], n->in[2], sail__back_read(b, n->out[3]),
                             g[1] == SAIL_NONE ? SAIL_NONE : sail__back_read(b, n->out[1]),
                             g[2] == SAIL_NONE ? SAIL_NONE : sail__back_read(b, n->out[2]), g[0], g[1], g[2],
                             n->n_in > 3 ? n->in[3] : SAIL_NONE};
    if (sail__back_gradient(b, n->out[3]) != SAIL_NONE || (g[1] != SAIL_NONE && !(n->attr.want & SAIL_WANT_ENTROPY)) ||
        (g[2] != SAIL_NONE && !(n->attr.want & SAIL_WANT_LSS)))
        sail__graph_fail(b->g, SAIL_E_STATE, "derivative: head: only of logp, and of what `want` asks for");
    sail__back_head(b, n->in[0], n->in[1], in[9], &n->attr, in, 10);
}

void sail__derivative(back *b, const sail_node_entry *n)
{
    bool wanted = false;
    sail_attr attr = n->attr;
    for (int i = 0; i < n->n_in; i++)
        wanted = wanted || sail__back_needs(b, n->in[i]);
    if (!wanted)
        return;
    if (n->op == SAIL_OP_HEAD) {
        head(b, n);
        return;
    }
    const sail_value dy = sail__back_gradient(b, n->out[0]);
    if (dy == SAIL_NONE)
        return;
    /* A second operand as the derivative reads it: positions, ids, keys are inputs, and never computed again. */
    sail_value in[] = {dy, n->n_in > 1 ? n->in[1] : SAIL_NONE, n->n_in > 2 ? n->in[2] : SAIL_NONE};
    switch (n->op) {
    case SAIL_OP_EMBED: sail__back_op(b, n->in[0], SAIL_OP_EMBED_GRAD, &attr, in, 2, -1); break;
    case SAIL_OP_MATMUL: matmul(b, n, dy); break;
    case SAIL_OP_ADD:
        sail__back_pass(b, n->in[0], dy);
        sail__back_pass(b, n->in[1], dy);
        break;
    case SAIL_OP_CAST: sail__back_pass(b, n->in[0], dy); break;
    case SAIL_OP_SCALE:
    case SAIL_OP_DROPOUT: sail__back_op(b, n->in[0], n->op, &attr, in, n->n_in, -1); break;
    case SAIL_OP_RMS_NORM: rms_norm(b, n, dy); break;
    case SAIL_OP_LAYER_NORM: layer_norm(b, n, dy); break;
    case SAIL_OP_ROPE:
        attr.inverse = !attr.inverse;
        sail__back_op(b, n->in[0], SAIL_OP_ROPE, &attr, in, 3, -1);
        break;
    case SAIL_OP_ATTENTION: attention(b, n, dy); break;
    case SAIL_OP_GLU: {
        const sail_value operands[] = {dy, sail__back_read(b, n->in[0]), sail__back_read(b, n->in[1])};
        sail__back_many(b, n->in, 2, SAIL_OP_GLU_BACK, &attr, operands, 3);
        break;
    }
    case SAIL_OP_ACT: {
        const sail_value operands[] = {dy, sail__back_read(b, n->in[0])};
        sail__back_op(b, n->in[0], SAIL_OP_ACT_BACK, &attr, operands, 2, -1);
        break;
    }
    case SAIL_OP_GATHER_ROWS:
        in[2] = n->in[0]; /* for its shape */
        sail__back_op(b, n->in[0], SAIL_OP_SCATTER_ROWS, &attr, in, 3, -1);
        break;
    case SAIL_OP_SCATTER_ROWS: sail__back_op(b, n->in[0], SAIL_OP_GATHER_ROWS, &attr, in, 2, -1); break;
    default:
        sail__graph_fail(b->g, SAIL_E_STATE, "derivative: %s has none, but a trained parameter is behind it",
                         sail_op_name(n->op));
    }
}
