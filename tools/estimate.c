/* estimate.c - see estimate.h. */
#include "estimate.h"

#include <math.h>
#include <string.h>

#include "calibrate.h"
#include "cost.h"
#include "io/weights.h"

/* What whole steps reach of the speed of large products: the goal of `tools/bench`. */
static const double REACHED = 0.7;

typedef struct estimate {
    sail__cli *c;
    const sail__recipe *recipe;
    sail_buf *out;
    const sail__stage *measured; /* whose device and dtype `can` is of; NULL: none yet */
    sail__calibration can;
    double memory; /* of that device, bytes */
} estimate;

/* Where a stage's weights come from in the end: what it names, or what the stage that it names began with. NULL: made by the run. */
static const char *base_of(const estimate *e, const sail__stage *s)
{
    for (size_t hops = 0; s && hops <= e->recipe->n_stages; hops++) {
        if (!s->model.path || s->model.path[0] != '@')
            return s->model.path;
        const char *name = s->model.path + 1;
        s = NULL;
        for (size_t i = 0; i < e->recipe->n_stages && !s; i++)
            if (strcmp(e->recipe->stages[i].name, name) == 0)
                s = &e->recipe->stages[i];
    }
    return NULL;
}

/* Of the pairs, those whose responses the policy writes. */
static double share_written(const sail__stage *s)
{
    double sum = 0;
    for (int i = 0; i < s->n_routes; i++)
        sum += s->routes[i].writer == SAIL_BY_POLICY ? s->routes[i].probability : 0;
    return sum;
}

/* Numbers of the adapter that the stage trains. */
static sail_code adapter_numbers(sail__cli *c, const sail__stage *s, const sail__model_config *m, const sail__param *p, size_t n, double *out,
                                 sail_err *err)
{
    const sail_node *t = s->adapter.targets;
    const size_t n_targets = t && t->kind == SAIL_NODE_LIST ? t->list.n : 0;
    const char **targets = sail__arena_array(c->arena, n_targets + 1, sizeof *targets), **modules;
    size_t n_modules;
    if (!targets)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n_targets; i++)
        SAIL_TRY(sail__node_as_string(t->list.items[i], "model.adapter.targets", &targets[i], err));
    SAIL_TRY(sail__linear_modules(c->arena, m, targets, n_targets, &modules, &n_modules, err));
    *out = 0;
    for (size_t i = 0; i < n_modules; i++) {
        const sail__param *w = sail__weight_of(p, n, modules[i]);
        *out += w ? (double)s->adapter.rank * (double)(w->rows + w->cols) : 0;
    }
    return SAIL_OK;
}

static bool same_device(const sail__model_section *a, const sail__model_section *b)
{
    const char *at = a->device ? a->device : "", *to = b->device ? b->device : "";
    const bool same_backend = a->backend == b->backend || (a->backend && b->backend && sail__node_equal(a->backend, b->backend));
    return same_backend && strcmp(at, to) == 0 && a->threads == b->threads && a->dtype == b->dtype;
}

static sail_code measure(estimate *e, const sail__stage *s, sail_err *err)
{
    sail_runtime *rt;
    if (e->measured && same_device(&e->measured->model, &s->model))
        return SAIL_OK;
    SAIL_TRY(sail__runtime_open(e->c->ctx, &s->backend, s->model.device, &rt, err));
    e->memory = (double)rt->info.memory;
    const sail_code code = sail__calibrate(rt, s->model.dtype == SAIL__BF16 ? SAIL_BF16 : SAIL_F32, &e->can, err);
    sail__runtime_close(rt);
    if (code == SAIL_OK)
        e->measured = s;
    return code;
}

static void duration(sail_buf *out, double seconds)
{
    if (seconds < 120)
        sail__buf_printf(out, "%.3g s", seconds);
    else if (seconds < 7200)
        sail__buf_printf(out, "%.0f min", seconds / 60);
    else
        sail__buf_printf(out, "%.1f h", seconds / 3600);
}

static sail_code memory(estimate *e, const sail__stage *s, const sail__model_config *m, sail_err *err)
{
    sail__param *p;
    size_t n;
    double numbers = 0, trained = 0, weights = 0;
    sail_optimizer_plan plan = {0};
    const sail_dtype t = s->model.dtype == SAIL__BF16 ? SAIL_BF16 : SAIL_F32;
    const double size = t == SAIL_BF16 ? 2 : 4, pair = (double)(s->data.max_prompt + 2 * s->data.max_response);
    SAIL_TRY(sail__model_params(e->c->arena, m, &p, &n, err));
    for (size_t i = 0; i < n; i++) {
        numbers += (double)p[i].rows * (double)p[i].cols;
        weights += (double)p[i].rows * (double)p[i].cols * (p[i].vector ? 4 : size);
    }
    ((const sail_optimizer *)s->optimizer.loaded->ops)->plan(s->optimizer.options, &plan);
    if (s->has_adapter)
        SAIL_TRY(adapter_numbers(e->c, s, m, p, n, &trained, err));
    else
        trained = numbers;
    const double training = sail__trained_bytes(trained, plan.states, t);
    const double copy = !s->has_adapter && s->kind == SAIL__ALIGN && (s->model.reference == SAIL__REF_COPY || share_written(s) > 0) ? weights : 0;
    /* what a backward pass needs of each layer: in and out of its products, both halves of the gated unit, two residuals in float32 */
    const double tokens = fmin((double)s->train.max_tokens, (double)s->train.batch * pair);
    const double layer = size * (6.0 * m->width + 2.0 * m->kv_heads * m->head_dim + 3.0 * m->ff) + 8.0 * m->width;
    const double activations = tokens * (s->model.recompute ? layer + 4.0 * m->width * m->layers : layer * (m->layers + 1));
    const double kv = share_written(s) > 0 ? (double)s->rollout.batch * (double)(s->data.max_prompt + s->data.max_response) * 2 * size * m->layers * m->kv_heads * m->head_dim : 0;
    const double all = (s->has_adapter ? weights : 0) + training + copy + activations + kv;
    sail__buf_printf(e->out, "# %s: memory about %.4g MiB: ", s->name, all / 0x1p20);
    if (s->has_adapter)
        sail__buf_printf(e->out, "weights %.4g, ", weights / 0x1p20);
    sail__buf_printf(e->out, "what is trained %.4g, ", training / 0x1p20);
    if (copy > 0)
        sail__buf_printf(e->out, "a copy as reference %.4g, ", copy / 0x1p20);
    if (kv > 0)
        sail__buf_printf(e->out, "the cache of rollouts %.4g, ", kv / 0x1p20);
    sail__buf_printf(e->out, "activations of %.0f tokens %.4g; the device has %.0f\n", tokens, activations / 0x1p20, e->memory / 0x1p20);
    return SAIL_OK;
}

/* Passes over the longest rows at the speed of the device's products; a rollout reads the weights once a token. */
static sail_code seconds(estimate *e, const sail__stage *s, const sail__model_config *m, sail_err *err)
{
    sail__cost cost;
    SAIL_TRY(sail__cost_of(e->c->arena, m, &cost, err));
    const double batch = (double)s->train.batch, passes = (s->has_adapter ? 2 : 3) + (s->kind == SAIL__ALIGN), size = s->model.dtype == SAIL__BF16 ? 2 : 4;
    const double learning = batch * passes * sail__pair_flops(&cost, (double)s->data.max_prompt, (double)s->data.max_response) / (REACHED * e->can.flops);
    const double sequences = batch * share_written(s) * (double)s->rollout.responses;
    const double decodes = (double)(s->rollout.max_new ? s->rollout.max_new : s->data.max_response) * ceil(sequences / (double)s->rollout.batch);
    const double writing = decodes * fmax(size * (cost.blocks + cost.head) / e->can.bandwidth,
                                          fmin(sequences, (double)s->rollout.batch) * 2 * (cost.blocks + cost.head) / (REACHED * e->can.flops));
    sail__buf_printf(e->out, "# %s: time about ", s->name);
    duration(e->out, learning + writing);
    sail__buf_str(e->out, " a step with the longest rows that the recipe allows");
    if (writing > 0)
        sail__buf_printf(e->out, " (%.0f%% of it to write responses)", 100 * writing / (learning + writing));
    if (s->train.steps > 0) {
        sail__buf_str(e->out, ", ");
        duration(e->out, (learning + writing) * (double)s->train.steps);
        sail__buf_printf(e->out, " for %lld steps", (long long)s->train.steps);
    }
    sail__buf_printf(e->out, ", at %.2g of the %.3g Tflop/s measured now; evaluation comes on top\n", REACHED, e->can.flops * 1e-12);
    return SAIL_OK;
}

static sail_code one(estimate *e, const sail__stage *s, sail_err *err)
{
    const char *base = base_of(e, s);
    sail__weights *w = NULL;
    sail_err why = {0};
    if (!base || sail__weights_open(e->c->ctx, base, &w, &why) != SAIL_OK) {
        sail__buf_printf(e->out, "# %s: memory and time are not estimated: %s\n", s->name, base ? why.message : "the run itself makes its model");
        return SAIL_OK;
    }
    const sail__model_config *m = sail__weights_config(w);
    sail_code code = measure(e, s, err);
    if (code == SAIL_OK)
        code = memory(e, s, m, err);
    if (code == SAIL_OK)
        code = seconds(e, s, m, err);
    sail__weights_close(w);
    return code;
}

sail_code sail__estimate(sail__cli *c, const sail__recipe *r, sail_buf *out, sail_err *err)
{
    estimate e = {.c = c, .recipe = r, .out = out};
    for (size_t i = 0; i < r->n_stages; i++) {
        const sail__stage_kind kind = r->stages[i].kind;
        if (kind == SAIL__SFT || kind == SAIL__ALIGN || kind == SAIL__REWARD)
            SAIL_TRY(one(&e, &r->stages[i], err));
    }
    return SAIL_OK;
}
