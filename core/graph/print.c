/* print.c - a graph as text, and its cost. */
#include <stdio.h>

#include "nodes.h"

static void print_shape(sail_buf *b, const sail_shape *s, const sail_dims *dims)
{
    static const char *const symbols[] = {"tokens", "rows", "segments", "ranges", "tiles", "keys", "seqs", "history"};
    if (s->rows < 0 && !dims)
        sail__buf_printf(b, "[%s, %lld] %s", symbols[-s->rows - 1], (long long)s->cols, sail_dtype_name(s->dtype));
    else
        sail__buf_printf(b, "[%lld, %lld] %s", (long long)(dims ? sail__resolve(s->rows, dims) : s->rows),
                         (long long)s->cols, sail_dtype_name(s->dtype));
}

static void print_value(sail_buf *b, const sail_graph *g, sail_value v)
{
    const sail_value_entry *e = &g->values[v];
    char label[64];
    sail__buf_str(b, sail__value_label(g, e->base, label));
    if (e->base != v)
        sail__buf_printf(b, "[:, %lld:%lld]", (long long)e->first, (long long)(e->first + e->shape.cols));
}

static void print_attributes(sail_buf *b, const sail_attr *a)
{
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"heads", a->heads},     {"kv_heads", a->kv_heads}, {"head_dim", a->head_dim},
        {"rotary", a->rotary},   {"groups", a->groups},     {"window", a->window},
        {"activation", a->activation}, {"want", a->want},   {"layer", a->layer},
        {"trans_a", a->trans_a}, {"trans_b", a->trans_b},   {"accumulate", a->accumulate},
        {"inverse", a->inverse}, {"eps", (double)a->eps},   {"softcap", (double)a->softcap},
        {"weight_plus", (double)a->weight_plus},            {"p", (double)a->p},
        {"scale", a->scale == 1 ? 0 : (double)a->scale},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].value != 0)
            sail__buf_printf(b, " %s=%.6g", numbers[i].name, numbers[i].value);
}

void sail_graph_print(const sail_graph *g, const sail_dims *dims, void (*line)(void *user, const char *text), void *user)
{
    sail_buf b = {0};
    for (size_t i = 0; i < g->n_nodes; i++) {
        const sail_node_entry *n = &g->nodes[i];
        b.len = 0;
        if ((int)i == g->forward)
            line(user, "-- derivative --");
        sail__buf_printf(&b, "%4zu ", i);
        for (int j = 0; j < n->n_out; j++) {
            if (n->out[j] == SAIL_NONE)
                continue;
            sail__buf_str(&b, j ? ", " : "");
            print_value(&b, g, n->out[j]);
            sail__buf_str(&b, " ");
            print_shape(&b, &g->values[n->out[j]].shape, dims);
        }
        sail__buf_printf(&b, " = %s(", sail_op_name(n->op));
        for (int j = 0; j < n->n_in; j++) {
            sail__buf_str(&b, j ? ", " : "");
            if (n->in[j] == SAIL_NONE)
                sail__buf_str(&b, "-");
            else
                print_value(&b, g, n->in[j]);
        }
        sail__buf_str(&b, ")");
        print_attributes(&b, &n->attr);
        if (n->block >= 0)
            sail__buf_printf(&b, " block=%d", n->block);
        line(user, b.oom ? "(out of memory)" : b.data);
    }
    sail__buf_free(&b);
}

double sail_forest_pairs(const sail_forest_tables *f, int64_t window)
{
    double pairs = 0;
    for (int64_t i = 0; i < f->n_segments; i++) {
        const int32_t *g = f->segments + 8 * i;
        for (int64_t p = g[2]; p < (int64_t)g[2] + g[1]; p++)
            for (int64_t a = g[5]; a < (int64_t)g[5] + g[6]; a++) {
                const int32_t *r = f->ranges + 4 * a;
                const int64_t from = window > 0 ? p - window + 1 - r[2] : 0, to = p + 1 - r[2];
                const int64_t n = (to < r[1] ? to : r[1]) - (from > 0 ? from : 0);
                pairs += n > 0 ? (double)n : 0;
            }
    }
    return pairs;
}

void sail_graph_count(const sail_graph *g, const sail_dims *dims, const sail_forest_tables *forest, int first, int last,
                      double *flops, double *bytes)
{
    *flops = *bytes = 0;
    for (int i = first < 0 ? 0 : first; i < last && i < (int)g->n_nodes; i++) {
        const sail_node_entry *n = &g->nodes[i];
        sail_shape in[SAIL_MAX_INPUTS] = {{0}}, out[SAIL_MAX_OUTPUTS] = {{0}};
        for (int j = 0; j < n->n_in + n->n_out; j++) {
            const sail_value v = j < n->n_in ? n->in[j] : n->out[j - n->n_in];
            sail_shape *s = j < n->n_in ? &in[j] : &out[j - n->n_in];
            if (v == SAIL_NONE)
                continue;
            *s = g->values[v].shape;
            s->rows = sail__resolve(s->rows, dims);
            if (j < n->n_in && sail__op_shape_only(n->op, j))
                continue;
            /* of a table only the rows that are looked up are read */
            const double rows = (double)(n->op == SAIL_OP_EMBED && j == 0 ? sail__resolve(g->values[n->in[1]].shape.rows,
                                                                                         dims)
                                                                         : s->rows);
            *bytes += rows * (double)s->cols * (double)sail_dtype_block_bytes(s->dtype) /
                      (double)sail_dtype_block_elements(s->dtype);
        }
        if (forest && (n->op == SAIL_OP_ATTENTION || n->op == SAIL_OP_ATTENTION_BACK))
            *flops += sail__attention_flops(n->op, sail_forest_pairs(forest, n->attr.window), in[n->op != SAIL_OP_ATTENTION].cols);
        else
            *flops += sail__op_flops(n->op, &n->attr, in, out);
    }
}
