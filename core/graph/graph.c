/* graph.c - building: values, nodes, views; every node passes its op's shape rule. */
#include <stdio.h>
#include <string.h>

#include "nodes.h"

sail_graph *sail_graph_new(void)
{
    sail_graph *g = sail__calloc(1, sizeof *g);
    sail_arena *a = g ? sail__arena_new() : NULL;
    if (!a) {
        sail__free(g);
        return NULL;
    }
    g->arena = a;
    g->forward = -1;
    g->block = -1;
    return g;
}

void sail_graph_free(sail_graph *g)
{
    if (!g)
        return;
    sail__free(g->values);
    sail__free(g->nodes);
    sail__arena_free(g->arena);
    sail__free(g);
}

sail_code sail_graph_status(const sail_graph *g, sail_err *err)
{
    if (g->err.code != SAIL_OK && err)
        *err = g->err;
    return g->err.code;
}

void sail__graph_fail(sail_graph *g, sail_code code, const char *fmt, ...)
{
    va_list ap;
    if (g->err.code != SAIL_OK)
        return;
    char text[sizeof g->err.message];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sail_fail(&g->err, code, "%s", text);
}

static bool known(sail_graph *g, sail_value v, const char *what)
{
    if (g->err.code != SAIL_OK)
        return false;
    if (v < 0 || (size_t)v >= g->n_values) {
        sail__graph_fail(g, SAIL_E_ARG, "graph: %s: there is no value %d", what, (int)v);
        return false;
    }
    return true;
}

const char *sail__value_label(const sail_graph *g, sail_value v, char buffer[64])
{
    const sail_value_entry *e = &g->values[v];
    if (e->name)
        snprintf(buffer, 64, "%s", e->name);
    else if (g->values[e->base].name)
        snprintf(buffer, 64, "%s[:, %lld:%lld]", g->values[e->base].name, (long long)e->first,
                 (long long)(e->first + e->shape.cols));
    else
        snprintf(buffer, 64, "%%%d", (int)v);
    return buffer;
}

sail_value sail__graph_value(sail_graph *g, const sail_value_entry *v)
{
    if (g->err.code != SAIL_OK)
        return SAIL_NONE;
    if (sail__grow(&g->values, &g->cap_values, g->n_values + 1, sizeof *g->values, &g->err) != SAIL_OK)
        return SAIL_NONE;
    const sail_value id = (sail_value)g->n_values++;
    g->values[id] = *v;
    if (v->base == SAIL_NONE)
        g->values[id].base = id;
    return id;
}

static sail_value bound(sail_graph *g, const char *name, sail_source source, int slot, sail_dtype t, int64_t rows,
                        int64_t cols, bool trainable)
{
    if (g->err.code != SAIL_OK)
        return SAIL_NONE;
    if (slot < 0 || cols < 0 || (rows < 0 && rows < SAIL_DIM_LEAST) || (unsigned)t >= SAIL_DTYPE_COUNT) {
        sail__graph_fail(g, SAIL_E_ARG, "graph: %s: slot %d, [%lld, %lld]", name, slot, (long long)rows,
                         (long long)cols);
        return SAIL_NONE;
    }
    if (sail_dtype_is_quantised(t) && cols % (int64_t)sail_dtype_block_elements(t) != 0) {
        sail__graph_fail(g, SAIL_E_SHAPE, "graph: %s: rows of %lld %s values are not whole blocks of %zu", name,
                         (long long)cols, sail_dtype_name(t), sail_dtype_block_elements(t));
        return SAIL_NONE;
    }
    const sail_value_entry v = {.shape = {true, t, rows, cols}, .name = sail__arena_strdup(g->arena, name),
                                .source = source, .node = -1, .slot = slot, .trainable = trainable, .base = SAIL_NONE};
    if (!v.name)
        sail__graph_fail(g, SAIL_E_NOMEM, "graph: no memory for %s", name);
    return sail__graph_value(g, &v);
}

sail_value sail_graph_input(sail_graph *g, const char *name, int slot, sail_dtype t, int64_t rows, int64_t cols)
{
    return bound(g, name, SAIL_FROM_INPUT, slot, t, rows, cols, false);
}

sail_value sail_graph_param(sail_graph *g, const char *name, int index, sail_dtype t, int64_t rows, int64_t cols,
                            bool trainable)
{
    return bound(g, name, SAIL_FROM_PARAM, index, t, rows, cols, trainable);
}

sail_value sail_graph_columns(sail_graph *g, sail_value x, int64_t first, int64_t count)
{
    char label[64];
    if (!known(g, x, "columns"))
        return SAIL_NONE;
    sail_value_entry v = g->values[x];
    if (first < 0 || count < 0 || first + count > v.shape.cols || sail_dtype_is_quantised(v.shape.dtype)) {
        sail__graph_fail(g, SAIL_E_SHAPE, "columns %lld..%lld of %s, which has %lld (%s)", (long long)first,
                         (long long)(first + count), sail__value_label(g, x, label), (long long)v.shape.cols,
                         sail_dtype_name(v.shape.dtype));
        return SAIL_NONE;
    }
    if (first == 0 && count == v.shape.cols)
        return x;
    v.first += first;
    v.shape.cols = count;
    v.name = NULL;
    v.is_output = false;
    /* The same columns are the same value, so that a derivative of them is one. */
    for (sail_value i = v.base + 1; (size_t)i < g->n_values; i++)
        if (g->values[i].base == v.base && g->values[i].first == v.first && g->values[i].shape.cols == count)
            return i;
    return sail__graph_value(g, &v);
}

/* Does `into` hold what the rule says of an output? */
static bool fits(sail_graph *g, sail_op op, sail_shape *s, sail_value into)
{
    const sail_shape *t = &g->values[into].shape;
    char label[64];
    if ((int)s->dtype == (int)SAIL_SHAPE_ANY)
        s->dtype = t->dtype;
    if (s->rows == SAIL_SHAPE_ANY)
        s->rows = t->rows;
    if (s->cols == SAIL_SHAPE_ANY)
        s->cols = t->cols;
    if (s->dtype == t->dtype && s->rows == t->rows && s->cols == t->cols)
        return true;
    sail__graph_fail(g, SAIL_E_SHAPE, "%s: the output is [%lld, %lld] %s and cannot go into %s, [%lld, %lld] %s",
                     sail_op_name(op), (long long)s->rows, (long long)s->cols, sail_dtype_name(s->dtype),
                     sail__value_label(g, into, label), (long long)t->rows, (long long)t->cols,
                     sail_dtype_name(t->dtype));
    return false;
}

sail_node_entry *sail__graph_node(sail_graph *g, sail_op op, const sail_attr *attr, const sail_value *in, int n_in,
                                  const sail_value *into)
{
    static const sail_attr none = {0};
    sail_shape shapes[SAIL_MAX_INPUTS] = {{0}}, out[SAIL_MAX_OUTPUTS];
    int n_out = 0;
    if (g->err.code != SAIL_OK)
        return NULL;
    if (n_in < 0 || n_in > SAIL_MAX_INPUTS) {
        sail__graph_fail(g, SAIL_E_ARG, "%s: %d operands", sail_op_name(op), n_in);
        return NULL;
    }
    while (n_in > 0 && in[n_in - 1] == SAIL_NONE)
        n_in--;
    sail_node_entry n = {.op = op, .n_in = n_in, .block = g->block, .attr = attr ? *attr : none};
    for (int i = 0; i < n_in; i++) {
        n.in[i] = in[i];
        if (in[i] == SAIL_NONE)
            continue;
        if (!known(g, in[i], sail_op_name(op)))
            return NULL;
        shapes[i] = g->values[in[i]].shape;
    }
    if (sail__op_shape(op, &n.attr, shapes, n_in, out, &n_out, &g->err) != SAIL_OK)
        return NULL;
    const int place = sail__op_in_place(op), index = (int)g->n_nodes;
    n.n_out = n_out;
    for (int i = 0; i < n_out; i++) {
        n.out[i] = SAIL_NONE;
        sail_value to = into ? into[i] : SAIL_NONE;
        if (i == 0 && place >= 0)
            to = n.in[place];
        if (!out[i].present)
            continue;
        if (to != SAIL_NONE) {
            if (!known(g, to, sail_op_name(op)) || !fits(g, op, &out[i], to))
                return NULL;
            n.out[i] = to;
            continue;
        }
        if ((int)out[i].dtype == (int)SAIL_SHAPE_ANY || out[i].rows == SAIL_SHAPE_ANY) {
            sail__graph_fail(g, SAIL_E_ARG, "%s: needs a value to write into", sail_op_name(op));
            return NULL;
        }
        const sail_value_entry v = {.shape = out[i], .source = SAIL_FROM_NODE, .node = index, .base = SAIL_NONE};
        n.out[i] = sail__graph_value(g, &v);
    }
    if (g->err.code != SAIL_OK ||
        sail__grow(&g->nodes, &g->cap_nodes, g->n_nodes + 1, sizeof *g->nodes, &g->err) != SAIL_OK)
        return NULL;
    g->nodes[g->n_nodes] = n;
    return &g->nodes[g->n_nodes++];
}

sail_value sail_graph_add(sail_graph *g, sail_op op, const sail_attr *attr, const sail_value *in, int n_in,
                          sail_value into)
{
    const sail_value places[SAIL_MAX_OUTPUTS] = {into, SAIL_NONE, SAIL_NONE, SAIL_NONE};
    if (g->err.code == SAIL_OK && g->forward >= 0)
        sail__graph_fail(g, SAIL_E_STATE, "%s: nothing can be added after the derivative", sail_op_name(op));
    for (int i = 0; i < n_in; i++)
        if (in[i] != SAIL_NONE && !known(g, in[i], sail_op_name(op)))
            return SAIL_NONE;
    const sail_node_entry *n = sail__graph_node(g, op, attr, in, n_in, places);
    return n ? n->out[0] : SAIL_NONE;
}

void sail_graph_block(sail_graph *g, int block)
{
    g->block = block < 0 ? -1 : block;
}

void sail_graph_output(sail_graph *g, sail_value v, int slot)
{
    if (!known(g, v, "output"))
        return;
    if (slot < 0)
        sail__graph_fail(g, SAIL_E_ARG, "graph: output slot %d", slot);
    g->values[v].is_output = true;
    g->values[v].output_slot = slot;
}

int sail_graph_nodes(const sail_graph *g)
{
    return (int)g->n_nodes;
}

int sail_graph_forward_nodes(const sail_graph *g)
{
    return g->forward >= 0 ? g->forward : (int)g->n_nodes;
}

void sail_graph_value_info(const sail_graph *g, sail_value v, sail_value_info *out)
{
    const sail_value_entry *e = &g->values[v];
    *out = (sail_value_info){.name = e->name ? e->name : "", .dtype = e->shape.dtype, .rows = e->shape.rows,
                             .cols = e->shape.cols, .is_param = e->source == SAIL_FROM_PARAM,
                             .is_input = e->source == SAIL_FROM_INPUT, .is_output = e->is_output,
                             .trainable = e->trainable, .slot = e->source == SAIL_FROM_NODE ? e->output_slot : e->slot};
}
