/* backward.c - reverse-mode derivatives: walks the nodes backwards, hands each one's output gradient to its rule in
 * derivative.c, and recomputes blocks. */
#include <string.h>

#include "backward.h"

/* Values of a block that others read are kept anyway; the rest is computed again when the block's turn comes. */
static void mark_kept(back *b)
{
    sail_graph *g = b->g;
    for (int i = 0; i < b->forward; i++)
        for (int j = 0; j < g->nodes[i].n_in; j++) {
            const sail_value v = g->nodes[i].in[j];
            if (v == SAIL_NONE || sail__op_shape_only(g->nodes[i].op, j))
                continue;
            const sail_value base = sail__back_value(b, v)->base;
            const int maker = sail__back_value(b, base)->node;
            if (maker < 0 || g->nodes[maker].block < 0 || g->nodes[maker].block != g->nodes[i].block)
                sail__back_entry(b, base)->kept = true;
        }
    for (size_t v = 0; v < g->n_values; v++)
        if (sail__back_value(b, (sail_value)v)->is_output)
            sail__back_entry(b, sail__back_value(b, (sail_value)v)->base)->kept = true;
}

static void recompute(back *b, int block)
{
    sail_graph *g = b->g;
    for (int i = 0; i < b->forward && g->err.code == SAIL_OK; i++) {
        const sail_node_entry n = g->nodes[i];
        sail_value in[SAIL_MAX_INPUTS];
        bool whole = n.block == block && sail__op_in_place(n.op) < 0; /* what changes memory is not done twice */
        for (int j = 0; j < n.n_out; j++)
            whole = whole && (n.out[j] == SAIL_NONE || sail__back_value(b, n.out[j])->node == i);
        if (!whole)
            continue;
        for (int j = 0; j < n.n_in; j++)
            in[j] = sail__back_read(b, n.in[j]);
        const int made = sail__back_emit(b, n.op, &n.attr, in, n.n_in, NULL);
        for (int j = 0; j < n.n_out && made >= 0; j++)
            if (n.out[j] != SAIL_NONE && !sail__back_entry(b, n.out[j])->kept)
                sail__back_entry(b, n.out[j])->again = g->nodes[made].out[j];
    }
}

/* Drop appended nodes that nothing reads: parts of recomputed blocks. */
static void drop_dead(back *b)
{
    sail_graph *g = b->g;
    size_t kept = g->n_nodes;
    bool *used = sail__calloc(g->n_values ? g->n_values : 1, 1);
    bool *live = sail__calloc(g->n_nodes ? g->n_nodes : 1, 1);
    if (!used || !live) {
        sail__graph_fail(g, SAIL_E_NOMEM, "derivative: no memory");
    } else {
        for (size_t i = g->n_nodes; i-- > (size_t)b->forward;) {
            const sail_node_entry *n = &g->nodes[i];
            for (int j = 0; j < n->n_out; j++)
                if (n->out[j] != SAIL_NONE) {
                    const sail_value base = sail__back_value(b, n->out[j])->base;
                    live[i] = live[i] || used[base] || sail__back_value(b, base)->source != SAIL_FROM_NODE;
                }
            for (int j = 0; j < n->n_in && live[i]; j++)
                if (n->in[j] != SAIL_NONE)
                    used[sail__back_value(b, n->in[j])->base] = true;
        }
        kept = (size_t)b->forward;
        for (size_t i = kept; i < g->n_nodes; i++) {
            if (!live[i])
                continue;
            for (int j = 0; j < g->nodes[i].n_out; j++)
                if (g->nodes[i].out[j] != SAIL_NONE && g->values[g->nodes[i].out[j]].node == (int32_t)i)
                    g->values[g->nodes[i].out[j]].node = (int32_t)kept;
            g->nodes[kept++] = g->nodes[i];
        }
    }
    g->n_nodes = kept;
    sail__free(used);
    sail__free(live);
}

/* ---- the walk ---- */

/* Which values have a wanted parameter among what they are made of. */
static void mark_needed(back *b, sail_value (*grad_of)(void *user, sail_value param), void *user)
{
    sail_graph *g = b->g;
    for (sail_value v = 0; (size_t)v < b->count; v++) {
        const sail_value_entry e = g->values[v];
        if (e.source != SAIL_FROM_PARAM || e.base != v || !e.trainable || g->err.code != SAIL_OK)
            continue;
        const sail_value target = grad_of(user, v);
        char label[64];
        if (target == SAIL_NONE)
            continue;
        const sail_shape *t = target >= 0 && (size_t)target < g->n_values ? &g->values[target].shape : NULL;
        if (!t || t->dtype != SAIL_F32 || t->rows != e.shape.rows || t->cols != e.shape.cols ||
            g->values[target].source != SAIL_FROM_PARAM)
            sail__graph_fail(g, SAIL_E_SHAPE, "derivative: the gradient of %s must be an f32 param of its shape",
                             sail__value_label(g, v, label));
        sail__back_entry(b, v)->target = target;
        sail__back_entry(b, v)->needed = true;
    }
    for (int i = 0; i < b->forward; i++) {
        const sail_node_entry *n = &g->nodes[i];
        bool needed = false;
        for (int j = 0; j < n->n_in; j++)
            needed = needed || (sail__back_needs(b, n->in[j]) && !sail__op_shape_only(n->op, j));
        for (int j = 0; j < n->n_out && needed; j++)
            if (n->out[j] != SAIL_NONE)
                sail__back_entry(b, g->values[n->out[j]].base)->needed = true;
    }
}

sail_code sail_graph_backward(sail_graph *g, const sail_value *outputs, const sail_value *seeds, int n,
                              sail_value (*grad_of)(void *user, sail_value param), void *user, bool recompute_blocks,
                              sail_err *err)
{
    back b = {.g = g, .forward = (int)g->n_nodes, .count = g->n_values};
    int block = -1;
    if (g->err.code == SAIL_OK && g->forward >= 0)
        sail__graph_fail(g, SAIL_E_STATE, "derivative: the graph has one already");
    SAIL_TRY(sail_graph_status(g, err));
    g->forward = b.forward;
    g->block = -1;
    mark_needed(&b, grad_of, user);
    for (int i = 0; i < n && g->err.code == SAIL_OK; i++) {
        char label[64];
        if (outputs[i] < 0 || (size_t)outputs[i] >= b.count || seeds[i] < 0 || (size_t)seeds[i] >= g->n_values) {
            sail__graph_fail(g, SAIL_E_ARG, "derivative: output %d or its seed is no value of the graph", i);
            break;
        }
        const sail_shape *o = &g->values[outputs[i]].shape, *s = &g->values[seeds[i]].shape;
        if (o->rows != s->rows || o->cols != s->cols) {
            sail__graph_fail(g, SAIL_E_SHAPE, "derivative: the seed of %s is [%lld, %lld], must be [%lld, %lld]",
                             sail__value_label(g, outputs[i], label), (long long)s->rows, (long long)s->cols,
                             (long long)o->rows, (long long)o->cols);
            break;
        }
        sail__back_pass(&b, outputs[i], seeds[i]);
    }
    if (recompute_blocks)
        mark_kept(&b);
    for (int i = b.forward - 1; i >= 0 && g->err.code == SAIL_OK; i--) {
        const sail_node_entry node = g->nodes[i];
        bool reached = false;
        for (int j = 0; j < node.n_out; j++)
            reached = reached || (node.out[j] != SAIL_NONE && sail__back_value(&b, node.out[j])->node == i &&
                                  (sail__back_entry(&b, node.out[j])->grad != SAIL_NONE ||
                                   sail__back_entry(&b, node.out[j])->columns != SAIL_NONE));
        if (!reached)
            continue;
        if (recompute_blocks && node.block >= 0 && node.block != block) {
            block = node.block;
            recompute(&b, block);
        }
        sail__derivative(&b, &node);
    }
    if (g->err.code == SAIL_OK)
        drop_dead(&b);
    sail__free(b.values);
    return sail_graph_status(g, err);
}
