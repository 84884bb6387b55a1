/* doctor_tune.c - sail doctor --tune: a device's ways of making the matrix products of training, timed; what wins is kept by the backend. */
#include "doctor_tune.h"

#include <string.h>

#include "cli_model.h"
#include "nn/family.h"

enum { MOST = 32 };

typedef struct layer {
    int64_t in, out;
} layer;

typedef struct tuning {
    sail__cli *c;
    sail_runtime *rt;
    sail_dtype dtype;
    layer layers[MOST];
    int n;
    sail_node *rows;
    char call[160];
    int tried, excluded, chosen;
} tuning;

static void add(tuning *t, int64_t in, int64_t out)
{
    for (int i = 0; i < t->n; i++)
        if (t->layers[i].in == in && t->layers[i].out == out)
            return;
    if (t->n < MOST)
        t->layers[t->n++] = (layer){in, out};
}

static void told(void *user, const sail_tried *row)
{
    tuning *t = user;
    sail__cli *c = t->c;
    if (c->json) {
        sail_node *n = sail__cli_map(c);
        sail__cli_put_string(c, n, "product", row->call);
        sail__cli_put_string(c, n, "way", row->way);
        if (!row->chosen)
            sail__cli_put_string(c, n, "problem", row->problem);
        if (row->seconds > 0)
            sail__cli_put_number(c, n, "seconds", row->seconds);
        sail__cli_put_bool(c, n, "chosen", row->chosen);
        if (n && t->rows)
            sail__node_append(c->arena, t->rows, n);
    } else {
        if (strcmp(t->call, row->call) != 0)
            sail__cli_line(c, "%s%s%s", sail__tone_code(c, SAIL__BOLD), row->call, sail__tone_code(c, SAIL__PLAIN));
        if (row->chosen)
            sail__cli_line(c, "  %s%-28s taken%s", sail__tone_code(c, SAIL__GREEN), row->way, sail__tone_code(c, SAIL__PLAIN));
        else if (row->problem)
            sail__cli_line(c, "  %-28s %sleft out:%s %s", row->way, sail__tone_code(c, SAIL__YELLOW), sail__tone_code(c, SAIL__PLAIN), row->problem);
        else if (row->seconds > 0)
            sail__cli_line(c, "  %-28s %9.3f ms %9.1f Gflop/s", row->way, 1e3 * row->seconds, 1e-9 * row->flops / row->seconds);
    }
    snprintf(t->call, sizeof t->call, "%s", row->call);
    t->chosen += row->chosen;
    t->tried += !row->chosen;
    t->excluded += row->problem != NULL;
}

static sail_code one(tuning *t, int64_t m, int64_t n, int64_t k, bool ta, bool tb, sail_dtype y, sail_err *err)
{
    sail_buffer *const any = (sail_buffer *)(uintptr_t)8; /* not read */
    const sail_call call = {.op = SAIL_OP_MATMUL, .n_in = 2, .n_out = 1, .attr = {.trans_a = ta, .trans_b = tb, .scale = 1, .dtype = y},
                            .in = {{any, 0, ta ? k : m, ta ? m : k, ta ? m : k, t->dtype}, {any, 0, tb ? n : k, tb ? k : n, tb ? k : n, t->dtype}},
                            .out = {{any, 0, m, n, n, y}}};
    if (sail_cancelled(t->c->ctx))
        return sail_fail(err, SAIL_E_CANCEL, "stopped; what was tuned so far is kept");
    return t->rt->backend->tune(t->rt->device, &call, told, t, err);
}

/* Forward; the derivatives of rows and weights; one and eight sequences decoded. */
static sail_code layers(tuning *t, int64_t tokens, sail_err *err)
{
    for (int i = 0; i < t->n; i++) {
        const layer *l = &t->layers[i];
        SAIL_TRY(one(t, tokens, l->out, l->in, false, true, t->dtype, err));
        SAIL_TRY(one(t, tokens, l->in, l->out, false, false, t->dtype, err));
        SAIL_TRY(one(t, l->out, l->in, tokens, true, false, SAIL_F32, err));
        SAIL_TRY(one(t, 1, l->out, l->in, false, true, t->dtype, err));
        SAIL_TRY(one(t, 8, l->out, l->in, false, true, t->dtype, err));
        sail_progress(t->c->ctx, "layers", (uint64_t)i + 1, (uint64_t)t->n);
    }
    return SAIL_OK;
}

static sail_code shapes_of(tuning *t, const sail__model_config *m, sail_err *err)
{
    sail__param *p;
    size_t n;
    SAIL_TRY(sail__model_params(t->c->arena, m, &p, &n, err));
    for (size_t i = 0; i < n; i++)
        if (!p[i].vector)
            add(t, p[i].cols, p[i].rows);
    return SAIL_OK;
}

static sail_code tune(tuning *t, int64_t tokens, sail_err *err)
{
    sail__cli *c = t->c;
    if (!t->rt->backend->tune)
        return sail_fail(err, SAIL_E_USAGE, "--tune: backend %s computes a product always in the same way: there is nothing to choose; name "
                         "another, such as --backend opencl", t->rt->name);
    SAIL_TRY(layers(t, tokens, err));
    sail__cli_clear(c);
    if (!c->json) {
        sail__cli_line(c, "%d ways of %d products tried on %s, %d left out; runs with `tune: cached` (the default) take what won", t->tried,
                       t->chosen, t->rt->info.name, t->excluded);
        return SAIL_OK;
    }
    sail_node *out = sail__cli_map(c);
    sail__cli_put_string(c, out, "device", t->rt->info.name);
    sail__cli_put(c, out, "ways", t->rows);
    return sail__cli_print_json(c, out, err);
}

sail_code sail__doctor_tune(sail__cli *c, int64_t tokens, sail_err *err)
{
    static const layer usual[] = {{576, 576}, {576, 1536}, {1536, 576}, {896, 896}, {896, 4864}, {4864, 896}, {2048, 2048}, {1536, 1536}};
    tuning t = {.c = c, .rows = sail__cli_list(c), .dtype = c->model.dtype == SAIL__BF16 ? SAIL_BF16 : SAIL_F32};
    if (c->model.model) {
        sail__session *s;
        SAIL_TRY(sail__cli_open_model(c, &(sail__cli_want){.dtype = -1}, &s, err));
        t.rt = s->rt;
        sail_code code = shapes_of(&t, s->config, err);
        if (code == SAIL_OK)
            code = tune(&t, tokens, err);
        sail__session_close(s);
        return code;
    }
    sail_slot backend;
    SAIL_TRY(sail__cli_backend(c, &backend, err));
    SAIL_TRY(sail__runtime_open(c->ctx, &backend, c->model.device, &t.rt, err));
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        add(&t, usual[i].in, usual[i].out);
    const sail_code code = tune(&t, tokens, err);
    sail__runtime_close(t.rt);
    return code;
}
