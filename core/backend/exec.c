/* exec.c - graphs on a device: a memory plan that grows with the sizes met, operands resolved for each run. */
#include <stdio.h>
#include <string.h>

#include "../graph/nodes.h"
#include "exec.h"
#include "fallback.h"

enum { MOST_ARENAS = 64 };

struct sail_exec {
    sail_runtime *rt;
    const sail_graph *g;
    sail_arena *arena;
    sail_layout layout;
    sail_place *places;
    sail_call *calls;
    bool *lacking; /* nodes for the fallback */
    sail_dims planned, ran; /* sizes that the plan serves; sizes of the last forward part */
    bool is_planned, has_run;
    sail_buffer *buffers[MOST_ARENAS];
    uint64_t bytes[MOST_ARENAS];
    bool uses[1 - SAIL_DIM_LEAST]; /* symbols that the plan depends on */
};

static int64_t bucket(int64_t n)
{
    if (n > 64)
        return (n + 63) / 64 * 64;
    int64_t b = 1;
    while (b < n)
        b *= 2;
    return b;
}

sail_code sail__exec_new(sail_runtime *rt, const sail_graph *g, sail_exec **out, sail_err *err)
{
    SAIL_TRY(sail_graph_status(g, err));
    sail_exec *x = sail__calloc(1, sizeof *x);
    if (!x || !(x->arena = sail__arena_new())) {
        sail__free(x);
        return sail_fail(err, SAIL_E_NOMEM, "no memory to compile a graph");
    }
    x->rt = rt;
    x->g = g;
    sail_code code = sail__layout_make(g, x->arena, &x->layout, err);
    if (code == SAIL_OK) {
        x->places = sail__arena_array(x->arena, (size_t)x->layout.n_storages + 1, sizeof *x->places);
        x->calls = sail__arena_array(x->arena, g->n_nodes + 1, sizeof *x->calls);
        x->lacking = sail__arena_array(x->arena, g->n_nodes + 1, sizeof *x->lacking);
        if (!x->places || !x->calls || !x->lacking)
            code = sail_fail(err, SAIL_E_NOMEM, "no memory to compile a graph of %zu nodes", g->n_nodes);
    }
    if (code != SAIL_OK) {
        sail__exec_free(x);
        return code;
    }
    for (int i = 0; i < x->layout.n_storages; i++) {
        const int64_t rows = x->layout.storages[i].rows;
        if (rows < 0)
            x->uses[-rows] = true;
    }
    *out = x;
    return SAIL_OK;
}

void sail__exec_free(sail_exec *x)
{
    if (!x)
        return;
    for (int i = 0; i < MOST_ARENAS; i++)
        if (x->buffers[i])
            x->rt->backend->free(x->rt->device, x->buffers[i]);
    sail__arena_free(x->arena);
    sail__free(x);
}

static sail_code plan(sail_exec *x, const sail_dims *dims, sail_place *places, uint64_t *bytes, int *n, sail_err *err)
{
    const uint64_t alignment = x->rt->info.alignment > 64 ? x->rt->info.alignment : 64;
    return sail__plan_make(&x->layout, dims, alignment, x->rt->info.largest_allocation, places, bytes, MOST_ARENAS, n,
                           err);
}

static void round_up(const sail_exec *x, const sail_dims *dims, sail_dims *to)
{
    memset(to, 0, sizeof *to);
    for (int i = 1; i <= -SAIL_DIM_LEAST; i++)
        if (x->uses[i])
            to->n[i] = bucket(dims->n[i]);
}

sail_code sail__exec_measure(sail_exec *x, const sail_dims *dims, uint64_t *bytes, sail_err *err)
{
    uint64_t each[MOST_ARENAS];
    sail_dims rounded;
    int n = 0;
    sail_place *places = sail__calloc((size_t)x->layout.n_storages + 1, sizeof *places);
    if (!places)
        return sail_fail(err, SAIL_E_NOMEM, "no memory to plan a graph");
    round_up(x, dims, &rounded);
    const sail_code code = plan(x, &rounded, places, each, &n, err);
    sail__free(places);
    *bytes = 0;
    for (int i = 0; i < n && code == SAIL_OK; i++)
        *bytes += each[i];
    return code;
}

/* Add to an error about memory how many of the tokens would fit: what was asked for, scaled, planned again. */
static void tell_what_fits(sail_exec *x, const sail_dims *dims, uint64_t wanted, sail_err *err)
{
    const sail_device_info *info = &x->rt->info;
    const int64_t tokens = dims->n[-SAIL_DIM_TOKENS];
    sail_counters c = {0};
    x->rt->backend->counters(x->rt->device, &c);
    const uint64_t room = info->memory > c.bytes_now ? info->memory - c.bytes_now : 0;
    int64_t fits = 0;
    for (int64_t low = 0, high = tokens - 1; low < high;) {
        const int64_t middle = (low + high + 1) / 2;
        uint64_t bytes;
        sail_dims part = {{0}};
        sail_err ignored = {0};
        for (int i = 1; i <= -SAIL_DIM_LEAST; i++)
            part.n[i] = (dims->n[i] * middle + tokens - 1) / tokens;
        if (sail__exec_measure(x, &part, &bytes, &ignored) == SAIL_OK && bytes <= room)
            fits = low = middle;
        else
            high = middle - 1;
    }
    char all[64] = "";
    if (wanted)
        snprintf(all, sizeof all, ", %.1f MiB in all", (double)wanted / 0x1p20);
    sail_fail(err, SAIL_E_NOMEM, "%.400s (a batch of %lld tokens%s; %.1f of %.1f MiB are free on %.100s: %lld tokens at once would fit: set "
              "train.max_tokens, train.micro_batch or shorter lengths)", err->message, (long long)tokens, all, (double)room / 0x1p20,
              (double)info->memory / 0x1p20, info->name, (long long)fits);
}

/* Make the plan serve these sizes, if it does not. */
static sail_code provide(sail_exec *x, const sail_dims *dims, int parts, sail_err *err)
{
    bool fits = x->is_planned;
    for (int i = 1; i <= -SAIL_DIM_LEAST; i++) {
        if (dims->n[i] < 0)
            return sail_fail(err, SAIL_E_ARG, "graph: size %d is %lld", -i, (long long)dims->n[i]);
        fits = fits && (!x->uses[i] || dims->n[i] <= x->planned.n[i]);
    }
    if (!(parts & SAIL_RUN_FORWARD) && (!x->has_run || memcmp(dims, &x->ran, sizeof *dims) != 0))
        return sail_fail(err, SAIL_E_STATE, "graph: the derivative needs a forward part of the same sizes before it");
    if (fits)
        return SAIL_OK;
    uint64_t bytes[MOST_ARENAS];
    sail_dims rounded;
    int n = 0;
    round_up(x, dims, &rounded);
    for (int i = 1; i <= -SAIL_DIM_LEAST && x->is_planned; i++)
        rounded.n[i] = rounded.n[i] > x->planned.n[i] ? rounded.n[i] : x->planned.n[i];
    x->is_planned = false;
    x->has_run = false;
    sail_code code = plan(x, &rounded, x->places, bytes, &n, err);
    if (code == SAIL_E_NOMEM && err && x->uses[-SAIL_DIM_TOKENS])
        tell_what_fits(x, dims, 0, err);
    SAIL_TRY(code);
    if (n == 0) /* values without elements lie somewhere, too */
        bytes[n++] = x->rt->info.alignment > 64 ? x->rt->info.alignment : 64;
    for (int i = 0; i < MOST_ARENAS; i++)
        if (x->buffers[i] && (i >= n || bytes[i] > x->bytes[i])) {
            x->rt->backend->free(x->rt->device, x->buffers[i]);
            x->buffers[i] = NULL;
            x->bytes[i] = 0;
        }
    for (int i = 0; i < n && code == SAIL_OK; i++)
        if (!x->buffers[i] && (code = x->rt->backend->alloc(x->rt->device, bytes[i], &x->buffers[i], err)) == SAIL_OK)
            x->bytes[i] = bytes[i];
    if (code != SAIL_OK) {
        uint64_t wanted = 0;
        for (int i = 0; i < MOST_ARENAS; i++) { /* what is left of it serves nothing */
            wanted += i < n ? bytes[i] : 0;
            if (x->buffers[i])
                x->rt->backend->free(x->rt->device, x->buffers[i]);
            x->buffers[i] = NULL;
            x->bytes[i] = 0;
        }
        if (code == SAIL_E_NOMEM && err && x->uses[-SAIL_DIM_TOKENS])
            tell_what_fits(x, dims, wanted, err);
        return sail_fail_in(err, "activations of a graph");
    }
    x->planned = rounded;
    x->is_planned = true;
    return SAIL_OK;
}

/* The matrix of a value in this run. */
static sail_code resolve(sail_exec *x, const sail_binding *b, sail_value v, sail_tensor *out, sail_err *err)
{
    const sail_graph *g = x->g;
    const sail_value_entry *e = &g->values[v], *base = &g->values[e->base];
    const int64_t rows = sail__resolve(e->shape.rows, &b->dims);
    if (base->source == SAIL_FROM_NODE) {
        const sail_place *p = &x->places[x->layout.of[e->base]];
        *out = (sail_tensor){x->buffers[p->arena], p->offset, rows, e->shape.cols, base->shape.cols, base->shape.dtype};
    } else {
        const bool is_param = base->source == SAIL_FROM_PARAM;
        const sail_tensor *bound = is_param ? b->params : b->inputs;
        const int n = is_param ? b->n_params : b->n_inputs;
        if (base->slot >= n || !bound || !bound[base->slot].buffer)
            return sail_fail(err, SAIL_E_ARG, "graph: %s %d (%s) is not bound", is_param ? "param" : "input",
                             base->slot, base->name);
        const sail_tensor *t = &bound[base->slot];
        if (t->dtype != base->shape.dtype || t->rows != sail__resolve(base->shape.rows, &b->dims) ||
            t->cols != base->shape.cols)
            return sail_fail(err, SAIL_E_SHAPE, "graph: %s is bound to [%lld, %lld] %s, must be [%lld, %lld] %s",
                             base->name, (long long)t->rows, (long long)t->cols, sail_dtype_name(t->dtype),
                             (long long)sail__resolve(base->shape.rows, &b->dims), (long long)base->shape.cols,
                             sail_dtype_name(base->shape.dtype));
        *out = *t;
        out->rows = rows;
        out->cols = e->shape.cols;
    }
    if (e->base != v)
        out->offset += (uint64_t)e->first * sail_dtype_block_bytes(base->shape.dtype);
    return SAIL_OK;
}

static sail_code make_call(sail_exec *x, const sail_binding *b, const sail_node_entry *n, sail_call *c, sail_err *err)
{
    memset(c, 0, sizeof *c);
    c->op = n->op;
    c->n_in = n->n_in;
    c->n_out = n->n_out;
    c->attr = n->attr;
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] != SAIL_NONE)
            SAIL_TRY(resolve(x, b, n->in[i], &c->in[i], err));
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i] != SAIL_NONE)
            SAIL_TRY(resolve(x, b, n->out[i], &c->out[i], err));
    return SAIL_OK;
}

/* Runs of calls that the backend has, and single ones that it lacks. */
static sail_code run_calls(sail_exec *x, int first, int last, sail_err *err)
{
    sail_runtime *rt = x->rt;
    for (int i = first; i < last;) {
        if (x->lacking[i]) {
            SAIL_TRY(sail__fallback_run(rt, &x->calls[i], err));
            i++;
            continue;
        }
        int end = i;
        while (end < last && !x->lacking[end])
            end++;
        SAIL_TRY(rt->backend->run(rt->device, x->calls + i, (size_t)(end - i), err));
        i = end;
    }
    return SAIL_OK;
}

sail_code sail__exec_run(sail_exec *x, const sail_binding *b, int parts, sail_err *err)
{
    const int forward = sail_graph_forward_nodes(x->g), all = sail_graph_nodes(x->g);
    const int first = parts & SAIL_RUN_FORWARD ? 0 : forward, last = parts & SAIL_RUN_BACKWARD ? all : forward;
    SAIL_TRY(provide(x, &b->dims, parts, err));
    for (int i = first; i < last; i++) {
        SAIL_TRY(make_call(x, b, &x->g->nodes[i], &x->calls[i], err));
        x->lacking[i] = x->calls[i].n_out > 0 && !x->rt->backend->supports(x->rt->device, &x->calls[i]);
        if (x->lacking[i] && !x->rt->fallback)
            return sail__fallback_run(x->rt, &x->calls[i], err); /* tells what is missing */
    }
    if (parts & SAIL_RUN_FORWARD)
        x->has_run = false;
    SAIL_TRY(run_calls(x, first, last, err));
    for (size_t v = 0; v < x->g->n_values; v++) {
        const sail_value_entry *e = &x->g->values[v];
        const int maker = e->base == (sail_value)v ? e->node : x->g->values[e->base].node;
        if (e->is_output && e->output_slot < b->n_outputs && b->outputs && (maker < 0 || maker < last))
            SAIL_TRY(resolve(x, b, (sail_value)v, &b->outputs[e->output_slot], err));
    }
    if (parts & SAIL_RUN_FORWARD) {
        x->ran = b->dims;
        x->has_run = true;
    }
    return SAIL_OK;
}

sail_code sail__run_op(sail_runtime *rt, const sail_call *call, sail_err *err)
{
    SAIL_TRY(sail_call_check(call, err));
    if (rt->backend->supports(rt->device, call))
        return rt->backend->run(rt->device, call, 1, err);
    return sail__fallback_run(rt, call, err);
}
