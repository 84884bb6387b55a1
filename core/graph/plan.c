/* plan.c - which values share memory, and where each piece lies.
 *
 * A storage is one or more values that follow each other in place. It is in use from the first node that writes it to the
 * last that reads it; outputs stay to the end. Storages are placed largest first, each at the lowest place that is
 * free during its whole life. */
#include <stdlib.h>

#include "nodes.h"

static void touch(sail_layout *l, int32_t s, int node)
{
    sail_storage *e = &l->storages[s];
    if (e->first < 0 || node < e->first)
        e->first = node;
    if (node > e->last)
        e->last = node;
}

/* Last node that touches each base. */
static void last_uses(const sail_graph *g, int *last)
{
    for (size_t v = 0; v < g->n_values; v++)
        last[v] = -1;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const sail_node_entry *n = &g->nodes[i];
        for (int j = 0; j < n->n_in; j++)
            if (n->in[j] != SAIL_NONE && !sail__op_shape_only(n->op, j))
                last[g->values[n->in[j]].base] = (int)i;
        for (int j = 0; j < n->n_out; j++)
            if (n->out[j] != SAIL_NONE)
                last[g->values[n->out[j]].base] = (int)i;
    }
    for (size_t v = 0; v < g->n_values; v++)
        if (g->values[v].is_output)
            last[g->values[v].base] = (int)g->n_nodes;
}

/* The operand whose memory output j of node i can take over, SAIL_NONE if there is none: it is a whole value of the same
 * kind that nobody needs any more, and no other operand or output is a part of it. */
static sail_value takes_over(const sail_graph *g, const int *last, int i, int j)
{
    const sail_node_entry *n = &g->nodes[i];
    const sail_value_entry *o = &g->values[n->out[j]];
    if (o->base != n->out[j] || o->source != SAIL_FROM_NODE || o->node != i)
        return SAIL_NONE;
    for (int k = 0; k < n->n_in; k++) {
        if (!sail__op_elementwise(n->op, k) || n->in[k] == SAIL_NONE)
            continue;
        const sail_value x = n->in[k];
        const sail_value_entry *e = &g->values[x];
        bool free = e->base == x && e->source == SAIL_FROM_NODE && last[x] == i && e->shape.dtype == o->shape.dtype &&
                    e->shape.rows == o->shape.rows && e->shape.cols == o->shape.cols;
        for (int m = 0; m < n->n_in; m++)
            free = free && (n->in[m] == SAIL_NONE || n->in[m] == x || g->values[n->in[m]].base != x);
        for (int m = 0; m < n->n_out; m++)
            free = free && (n->out[m] == SAIL_NONE || g->values[n->out[m]].base != x);
        if (free)
            return x;
    }
    return SAIL_NONE;
}

sail_code sail__layout_make(const sail_graph *g, sail_arena *a, sail_layout *l, sail_err *err)
{
    int *last = sail__arena_array(a, g->n_values + 1, sizeof *last);
    l->of = sail__arena_array(a, g->n_values + 1, sizeof *l->of);
    l->storages = sail__arena_array(a, g->n_values + 1, sizeof *l->storages);
    l->n_storages = 0;
    if (!last || !l->of || !l->storages)
        return sail_fail(err, SAIL_E_NOMEM, "graph: no memory for a plan of %zu values", g->n_values);
    last_uses(g, last);
    for (size_t v = 0; v < g->n_values; v++)
        l->of[v] = -1;
    for (int i = 0; i < (int)g->n_nodes; i++) {
        const sail_node_entry *n = &g->nodes[i];
        int32_t taken = -1; /* one operand is taken over by one output */
        for (int j = 0; j < n->n_out; j++) {
            if (n->out[j] == SAIL_NONE)
                continue;
            const sail_value base = g->values[n->out[j]].base;
            const sail_value_entry *e = &g->values[base];
            if (e->source != SAIL_FROM_NODE || l->of[base] >= 0)
                continue;
            const sail_value from = takes_over(g, last, i, j);
            if (from != SAIL_NONE && l->of[from] >= 0 && l->of[from] != taken) {
                taken = l->of[base] = l->of[from];
                continue;
            }
            const uint64_t row = sail_dtype_bytes(e->shape.dtype, (uint64_t)e->shape.cols);
            l->storages[l->n_storages] = (sail_storage){-1, -1, e->shape.rows, (int64_t)row};
            l->of[base] = l->n_storages++;
        }
    }
    for (size_t v = 0; v < g->n_values; v++) {
        const sail_value base = g->values[v].base;
        if (l->of[base] >= 0 && last[base] >= 0)
            touch(l, l->of[base], last[base]);
        l->of[v] = l->of[base];
    }
    for (int i = 0; i < (int)g->n_nodes; i++)
        for (int j = 0; j < g->nodes[i].n_out; j++)
            if (g->nodes[i].out[j] != SAIL_NONE && l->of[g->nodes[i].out[j]] >= 0)
                touch(l, l->of[g->nodes[i].out[j]], i);
    return SAIL_OK;
}

typedef struct piece {
    int32_t storage;
    uint64_t bytes;
} piece;

static int larger_first(const void *x, const void *y)
{
    const piece *a = x, *b = y;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return a->storage < b->storage ? -1 : a->storage > b->storage;
}

/* The lowest free place in an arena whose pieces, in order of offset, are placed[0..n). */
static uint64_t lowest(const sail_layout *l, const sail_place *places, const int32_t *placed, int n, int32_t s,
                       uint64_t bytes)
{
    uint64_t at = 0;
    for (int i = 0; i < n; i++) {
        const sail_storage *o = &l->storages[placed[i]], *e = &l->storages[s];
        if (o->last < e->first || e->last < o->first)
            continue;
        const sail_place *p = &places[placed[i]];
        if (p->offset >= at && p->offset - at >= bytes)
            break;
        if (p->offset + p->bytes > at)
            at = p->offset + p->bytes;
    }
    return at;
}

sail_code sail__plan_make(const sail_layout *l, const sail_dims *dims, uint64_t alignment, uint64_t largest,
                          sail_place *places, uint64_t *arena_bytes, int most, int *n_arenas, sail_err *err)
{
    const size_t n = (size_t)l->n_storages;
    piece *pieces = sail__calloc(n + 1, sizeof *pieces);
    int32_t *placed = sail__calloc((n + 1) * (size_t)most, sizeof *placed); /* a list for each arena */
    int *count = sail__calloc((size_t)most, sizeof *count);
    sail_code code = SAIL_OK;
    *n_arenas = 0;
    if (!pieces || !placed || !count)
        code = sail_fail(err, SAIL_E_NOMEM, "graph: no memory for a plan of %zu pieces", n);
    for (size_t i = 0; i < n && code == SAIL_OK; i++) {
        const uint64_t rows = (uint64_t)sail__resolve(l->storages[i].rows, dims);
        uint64_t bytes;
        if (__builtin_mul_overflow(rows, (uint64_t)l->storages[i].row_bytes, &bytes) || bytes > UINT64_MAX / 4)
            code = sail_fail(err, SAIL_E_NOMEM, "graph: a value of %llu rows is too large", (unsigned long long)rows);
        pieces[i] = (piece){(int32_t)i, (bytes + alignment - 1) / alignment * alignment};
    }
    if (code == SAIL_OK)
        qsort(pieces, n, sizeof *pieces, larger_first);
    for (size_t i = 0; i < n && code == SAIL_OK; i++) {
        const int32_t s = pieces[i].storage;
        const uint64_t bytes = pieces[i].bytes;
        int arena = 0;
        uint64_t at = 0;
        places[s] = (sail_place){0, 0, 0};
        if (bytes == 0 || l->storages[s].first < 0)
            continue;
        for (; arena < most; arena++) {
            at = lowest(l, places, placed + (size_t)arena * (n + 1), count[arena], s, bytes);
            if (at <= largest && bytes <= largest - at)
                break;
        }
        if (arena == most) {
            code = sail_fail(err, SAIL_E_NOMEM,
                             "graph: a value of %llu bytes does not fit: the device allocates at most %llu bytes at once, "
                             "in at most %d pieces",
                             (unsigned long long)bytes, (unsigned long long)largest, most);
            break;
        }
        places[s] = (sail_place){arena, at, bytes};
        int32_t *list = placed + (size_t)arena * (n + 1);
        int k = count[arena]++;
        for (; k > 0 && places[list[k - 1]].offset > at; k--)
            list[k] = list[k - 1];
        list[k] = s;
        if (arena >= *n_arenas) {
            *n_arenas = arena + 1;
            arena_bytes[arena] = 0;
        }
        if (at + bytes > arena_bytes[arena])
            arena_bytes[arena] = at + bytes;
    }
    sail__free(pieces);
    sail__free(placed);
    sail__free(count);
    return code;
}
