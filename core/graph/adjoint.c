/* adjoint.c - the gradients of values while they are being collected, for the rules in derivative.c.
 *
 * The gradient of a value has its dtype. Three kinds of values collect theirs differently:
 *  - a parameter's goes into the caller's gradient, by ops that accumulate, or else by ADD;
 *  - a view's goes into the same columns of one matrix for the base, written directly by the op that makes it;
 *  - any other's is a value; a second contribution is fused into the op that makes it (a residual operand) or added. */
#include <string.h>

#include "backward.h"

/* ---- tables that grow with the graph ---- */

back_value *sail__back_entry(back *b, sail_value v)
{
    if ((size_t)v >= b->n_values) {
        const size_t n = b->n_values;
        if (sail__grow(&b->values, &b->cap_values, b->g->n_values, sizeof *b->values, &b->g->err) != SAIL_OK)
            return &b->nothing;
        for (size_t i = n; i < b->cap_values; i++)
            b->values[i] = (back_value){SAIL_NONE, SAIL_NONE, SAIL_NONE, SAIL_NONE, SAIL_NONE, false, false};
        b->n_values = b->cap_values;
    }
    return &b->values[v];
}

const sail_value_entry *sail__back_value(const back *b, sail_value v)
{
    return &b->g->values[v];
}

bool sail__back_needs(back *b, sail_value v)
{
    return v != SAIL_NONE && b->g->err.code == SAIL_OK && sail__back_entry(b, sail__back_value(b, v)->base)->needed;
}

/* Add a node; into[i] as in sail__graph_node. Returns its index, -1 after an error. */
int sail__back_emit(back *b, sail_op op, const sail_attr *attr, const sail_value *in, int n, const sail_value *into)
{
    const sail_node_entry *node = sail__graph_node(b->g, op, attr, in, n, into);
    return node ? (int)b->g->n_nodes - 1 : -1;
}

static sail_value emit_one(back *b, sail_op op, const sail_attr *attr, const sail_value *in, int n, sail_value into)
{
    const sail_value places[SAIL_MAX_OUTPUTS] = {into, SAIL_NONE, SAIL_NONE, SAIL_NONE};
    const int i = sail__back_emit(b, op, attr, in, n, places);
    return i < 0 ? SAIL_NONE : b->g->nodes[i].out[0];
}

sail_value sail__back_cast(back *b, sail_value v, sail_dtype t)
{
    if (v == SAIL_NONE || b->g->err.code != SAIL_OK || sail__back_value(b, v)->shape.dtype == t)
        return v;
    const sail_value before = sail__back_entry(b, v)->cast;
    if (before != SAIL_NONE && sail__back_value(b, before)->shape.dtype == t)
        return before;
    const sail_attr attr = {.dtype = t};
    const sail_value c = emit_one(b, SAIL_OP_CAST, &attr, &v, 1, SAIL_NONE);
    if (c != SAIL_NONE)
        sail__back_entry(b, v)->cast = c;
    return c;
}

static sail_value add(back *b, sail_value x, sail_value y, sail_dtype t, sail_value into)
{
    const sail_value in[] = {x, y};
    const sail_attr attr = {.dtype = t};
    return emit_one(b, SAIL_OP_ADD, &attr, in, 2, into);
}

/* ---- where a contribution goes ---- */

/* The caller's gradient for the columns that v is of its parameter. */
static sail_value param_gradient(back *b, sail_value v)
{
    const sail_value_entry *e = sail__back_value(b, v);
    return sail_graph_columns(b->g, sail__back_entry(b, e->base)->target, e->first, e->shape.cols);
}

/* The columns of the base's gradient that belong to the view v; *fresh when nothing was written there yet. */
static sail_value view_gradient(back *b, sail_value v, bool *fresh)
{
    const sail_value_entry e = *sail__back_value(b, v);
    sail_value whole = sail__back_entry(b, e.base)->columns;
    if (whole == SAIL_NONE) {
        const sail_value_entry made = {.shape = sail__back_value(b, e.base)->shape, .source = SAIL_FROM_NODE, .node = -1,
                                       .base = SAIL_NONE};
        whole = sail__graph_value(b->g, &made);
        sail__back_entry(b, e.base)->columns = whole;
    }
    *fresh = !sail__back_entry(b, v)->written;
    if (!*fresh)
        return sail_graph_columns(b->g, whole, e.first, e.shape.cols);
    for (size_t i = 0; i < b->g->n_values && b->g->err.code == SAIL_OK; i++) {
        const sail_value_entry *o = sail__back_value(b, (sail_value)i);
        if (o->base == e.base && sail__back_entry(b, (sail_value)i)->written && o->first < e.first + e.shape.cols &&
            e.first < o->first + o->shape.cols)
            sail__graph_fail(b->g, SAIL_E_STATE, "derivative: column views %lld..%lld and %lld..%lld of one value overlap",
                             (long long)e.first, (long long)(e.first + e.shape.cols), (long long)o->first,
                             (long long)(o->first + o->shape.cols));
    }
    sail__back_entry(b, v)->written = true;
    return sail_graph_columns(b->g, whole, e.first, e.shape.cols);
}

static bool is_view(const back *b, sail_value v)
{
    return sail__back_value(b, v)->base != v;
}

static bool accumulates(sail_op op)
{
    return op == SAIL_OP_MATMUL || op == SAIL_OP_EMBED_GRAD || op == SAIL_OP_BIAS_GRAD || op == SAIL_OP_RMS_NORM_WGRAD ||
           op == SAIL_OP_LAYER_NORM_WGRAD;
}

void sail__back_pass(back *b, sail_value v, sail_value g)
{
    if (g == SAIL_NONE || !sail__back_needs(b, v))
        return;
    const sail_value_entry e = *sail__back_value(b, v);
    if (e.source == SAIL_FROM_PARAM) {
        const sail_value target = param_gradient(b, v);
        if (target != SAIL_NONE)
            add(b, target, g, sail__back_value(b, target)->shape.dtype, target);
        return;
    }
    if (is_view(b, v)) {
        bool fresh;
        const sail_value to = view_gradient(b, v, &fresh);
        const sail_attr attr = {.dtype = e.shape.dtype};
        if (fresh)
            emit_one(b, SAIL_OP_CAST, &attr, &g, 1, to);
        else if (to != SAIL_NONE)
            add(b, to, g, e.shape.dtype, to);
        return;
    }
    const sail_value before = sail__back_entry(b, v)->grad;
    const sail_value sum = before == SAIL_NONE ? sail__back_cast(b, g, e.shape.dtype)
                                               : add(b, before, g, e.shape.dtype, SAIL_NONE);
    sail__back_entry(b, v)->grad = sum;
}

void sail__back_op(back *b, sail_value v, sail_op op, const sail_attr *attr, const sail_value *in, int n, int fuse)
{
    sail_value operands[SAIL_MAX_INPUTS];
    sail_attr a = *attr;
    if (!sail__back_needs(b, v))
        return;
    const sail_value_entry e = *sail__back_value(b, v);
    for (int i = 0; i < SAIL_MAX_INPUTS; i++)
        operands[i] = i < n ? in[i] : SAIL_NONE;
    if (e.source == SAIL_FROM_PARAM && accumulates(op)) {
        const sail_value target = param_gradient(b, v);
        a.accumulate = true;
        a.dtype = target != SAIL_NONE ? sail__back_value(b, target)->shape.dtype : SAIL_F32;
        emit_one(b, op, &a, operands, SAIL_MAX_INPUTS, target);
        return;
    }
    a.dtype = e.shape.dtype;
    if (e.source != SAIL_FROM_PARAM && is_view(b, v)) {
        bool fresh;
        const sail_value to = view_gradient(b, v, &fresh);
        a.accumulate = !fresh && op == SAIL_OP_MATMUL;
        if (fresh || a.accumulate) {
            emit_one(b, op, &a, operands, SAIL_MAX_INPUTS, to);
            return;
        }
        const sail_value made = emit_one(b, op, &a, operands, SAIL_MAX_INPUTS, SAIL_NONE);
        if (made != SAIL_NONE)
            add(b, to, made, e.shape.dtype, to);
        return;
    }
    const sail_value before = e.source == SAIL_FROM_PARAM ? SAIL_NONE : sail__back_entry(b, v)->grad;
    if (before != SAIL_NONE && fuse >= 0 && operands[fuse] == SAIL_NONE) {
        operands[fuse] = before;
        const sail_value made = emit_one(b, op, &a, operands, SAIL_MAX_INPUTS, SAIL_NONE);
        sail__back_entry(b, v)->grad = made;
        return;
    }
    sail__back_pass(b, v, emit_one(b, op, &a, operands, SAIL_MAX_INPUTS, SAIL_NONE));
}

void sail__back_many(back *b, const sail_value *to, int n_to, sail_op op, const sail_attr *attr, const sail_value *in,
                     int n)
{
    sail_value into[SAIL_MAX_OUTPUTS] = {SAIL_NONE, SAIL_NONE, SAIL_NONE, SAIL_NONE};
    bool direct[SAIL_MAX_OUTPUTS] = {false};
    for (int i = 0; i < n_to; i++) {
        if (!sail__back_needs(b, to[i]) || sail__back_value(b, to[i])->source == SAIL_FROM_PARAM || !is_view(b, to[i]) ||
            sail__back_entry(b, to[i])->written)
            continue;
        into[i] = view_gradient(b, to[i], &direct[i]);
    }
    const int node = sail__back_emit(b, op, attr, in, n, into);
    for (int i = 0; i < n_to && node >= 0; i++)
        if (!direct[i])
            sail__back_pass(b, to[i], b->g->nodes[node].out[i]);
}

/* The gradient of one of the head's parameters, which must be one to be trained. */
static sail_value head_gradient(back *b, sail_value v)
{
    if (!sail__back_needs(b, v))
        return SAIL_NONE;
    if (sail__back_value(b, v)->source == SAIL_FROM_PARAM)
        return param_gradient(b, v);
    sail__graph_fail(b->g, SAIL_E_STATE, "derivative: the head's weights must be a parameter to be trained");
    return SAIL_NONE;
}

void sail__back_head(back *b, sail_value x, sail_value w, sail_value bias, const sail_attr *attr, const sail_value *in, int n)
{
    sail_attr a = *attr;
    sail_value into[SAIL_MAX_OUTPUTS] = {SAIL_NONE, SAIL_NONE, SAIL_NONE, SAIL_NONE};
    into[1] = head_gradient(b, w);
    into[2] = head_gradient(b, bias);
    a.want = (into[1] != SAIL_NONE ? SAIL_WANT_DW : 0) | (into[2] != SAIL_NONE ? SAIL_WANT_DB : 0);
    a.accumulate = a.want != 0;
    const int node = sail__back_emit(b, SAIL_OP_HEAD_BACK, &a, in, n, into);
    if (node >= 0)
        sail__back_pass(b, x, b->g->nodes[node].out[0]);
}

/* ---- the gradient of a node's output ---- */

/* Columns of the collected gradient that nothing was written to are 0. */
static void fill_gaps(back *b, sail_value v, sail_value columns)
{
    const int64_t cols = sail__back_value(b, v)->shape.cols;
    const sail_attr zero = {0};
    for (int64_t at = 0; at < cols && b->g->err.code == SAIL_OK;) {
        int64_t next = cols, end = at;
        for (size_t i = 0; i < b->n_values && i < b->g->n_values; i++) {
            const sail_value_entry *o = sail__back_value(b, (sail_value)i);
            if (o->base != v || !b->values[i].written)
                continue;
            if (o->first <= at && o->first + o->shape.cols > at)
                end = o->first + o->shape.cols;
            else if (o->first > at && o->first < next)
                next = o->first;
        }
        if (end == at) {
            emit_one(b, SAIL_OP_FILL, &zero, NULL, 0, sail_graph_columns(b->g, columns, at, next - at));
            end = next;
        }
        at = end;
    }
}

sail_value sail__back_gradient(back *b, sail_value v)
{
    if (v == SAIL_NONE || b->g->err.code != SAIL_OK)
        return SAIL_NONE;
    const sail_value columns = sail__back_entry(b, v)->columns, direct = sail__back_entry(b, v)->grad;
    if (columns == SAIL_NONE)
        return direct;
    fill_gaps(b, v, columns);
    const sail_value sum = direct == SAIL_NONE ? columns
                                               : add(b, direct, columns, sail__back_value(b, v)->shape.dtype, SAIL_NONE);
    sail__back_entry(b, v)->columns = SAIL_NONE;
    sail__back_entry(b, v)->grad = sum;
    return sum;
}

/* ---- recomputation ---- */

/* The value that the backward pass reads for the forward value v: itself, or what its block computed again. */
sail_value sail__back_read(back *b, sail_value v)
{
    if (v == SAIL_NONE || b->g->err.code != SAIL_OK)
        return v;
    const sail_value_entry e = *sail__back_value(b, v);
    const sail_value again = sail__back_entry(b, e.base)->again;
    return again == SAIL_NONE ? v : sail_graph_columns(b->g, again, e.first, e.shape.cols);
}
