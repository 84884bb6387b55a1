/* cmd_bench.c - sail bench: figures on the user's own model and machine, each beside a limit that is calibrated in the same run.
 *
 * Operations are counted as the model needs them, with a prompt computed once and the output layer on responses only:
 *   N_b parameters of the layers' matrices, N_h of the output layer; L layers, H heads of size h; P prompt, R response tokens
 *   one pair, forward:  F = 2 N_b (P + 2R) + 4 N_h R + 2 L H h (P^2 + 4PR + 2R^2)
 *   a step:             3F all parameters, 2F an adapter; 1F more with a live reference. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "align/learner.h"
#include "calibrate.h"
#include "cost.h"
#include "cli_model.h"
#include "sail/rng.h"

enum { MOST = 1000 };

struct bench_options {
    int64_t prompt, response, batch, rank, repeat, micro_batch, max_tokens;
    bool lora, cached_reference, profile;
};
#define T struct bench_options
static const sail_opt options[] = {
    SAIL_OPT_INT(T, prompt, .def = 256, .min = 1, .max = 1 << 20, .help = "tokens of a prompt"),
    SAIL_OPT_INT(T, response, .def = 128, .min = 1, .max = 1 << 20, .help = "tokens of a response"),
    SAIL_OPT_INT(T, batch, .def = 4, .min = 1, .max = 4096, .help = "step: pairs; decode: sequences on one prompt; prefill: prompts; matmul: pairs"),
    SAIL_OPT_BOOL(T, lora, .help = "step: train an adapter on all linear layers instead of all parameters; matmul: its products, too"),
    SAIL_OPT_INT(T, rank, .def = 16, .min = 1, .max = 4096, .help = "of that adapter"),
    SAIL_OPT_BOOL(T, cached_reference, .help = "step: the reference's log-probabilities are known already"),
    SAIL_OPT_INT(T, micro_batch, .min = 0, .max = 4096, .help = "step: pairs in one forward pass at most; 0: by --max-tokens"),
    SAIL_OPT_INT(T, max_tokens, .def = 4096, .min = 1, .max = 1 << 24, .help = "step: tokens in one forward pass at most"),
    SAIL_OPT_BOOL(T, profile, .help = "say how long each kernel took, too, in all runs and the one before them; runs take longer"),
    SAIL_OPT_INT(T, repeat, .def = 5, .min = 1, .max = MOST, .help = "runs that count, after one that does not"),
    {0},
};
#undef T

typedef struct bench {
    sail__cli *c;
    const struct bench_options *o;
    const char *what;
    sail__session *s;
    sail__calibration can;
    sail__cost cost;
    double seconds[MOST];       /* of the runs, ascending at the end */
    int n;
    double tokens, flops;       /* of one run */
    double limit, figure;       /* in `unit` */
    const char *unit;
    double peak_mib;            /* before, between and after calibrations */
    sail__profile profile;      /* of all runs together, the first one too */
    sail_node *shapes;          /* of matmul */
} bench;

static sail_dtype dtype_of(const bench *b) { return b->c->model.dtype == SAIL__BF16 ? SAIL_BF16 : SAIL_F32; }
static double median(const bench *b) { return b->n % 2 ? b->seconds[b->n / 2] : (b->seconds[b->n / 2 - 1] + b->seconds[b->n / 2]) / 2; }

static int32_t *random_ids(bench *b, sail_arena *a, int64_t n, uint64_t which)
{
    int32_t *ids = sail__arena_array(a, (size_t)n + 1, sizeof *ids);
    for (int64_t i = 0; ids && i < n; i++)
        ids[i] = (int32_t)(sail_rng_uniform(2, SAIL_RNG_USER, which, (uint64_t)i, 0) * b->s->config->vocab);
    return ids;
}

/* The largest resident memory is to be the model's, not the calibration's: Linux can be told to begin anew. */
static void forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (f) {
        fputs("5", f);
        fclose(f);
    }
}

/* The machine's own speed comes first, and again at the end: the better of the two is the limit. */
static sail_code calibrate(bench *b, sail_runtime *rt, sail_err *err)
{
    sail__calibration k;
    const bool last = b->profile.rt != NULL;
    if (last)
        SAIL_TRY(sail__profile_end(&b->profile, err));
    b->peak_mib = fmax(b->peak_mib, sail__rss_peak_mib());
    sail__cli_status(b->c, "calibrating");
    SAIL_TRY(sail__calibrate(rt, dtype_of(b), &k, err));
    b->can.flops = fmax(b->can.flops, k.flops);
    b->can.bandwidth = fmax(b->can.bandwidth, k.bandwidth);
    forget_peak();
    if (!b->o->profile || last)
        return SAIL_OK;
    SAIL_TRY(sail__profile_open(&b->profile, rt, err));
    return sail__profile_begin(&b->profile, err);
}

/* ---- step ---- */

static sail_code slot(bench *b, sail_kind kind, const char *name, sail_slot *out, sail_err *err)
{
    sail_problems problems = {.arena = b->c->arena};
    sail_node *n = sail__node_string(b->c->arena, name, "sail bench");
    if (!n || !sail__slot_parse(b->c->ctx, b->c->arena, kind, n, sail__kind_name(kind), NULL, NULL, out, &problems))
        return sail__problems_fail(&problems, SAIL_E_PLUGIN, err);
    return SAIL_OK;
}

static sail_code make_pairs(bench *b, sail__step *s, sail_err *err)
{
    sail__arena_reset(s->arena);
    s->n = b->o->batch;
    s->groups = sail__arena_array(s->arena, (size_t)s->n, sizeof *s->groups);
    if (!s->groups)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < s->n; i++) {
        sail__group *g = &s->groups[i];
        *g = (sail__group){.prompt = random_ids(b, s->arena, b->o->prompt, (uint64_t)(3 * i)), .n_prompt = b->o->prompt, .row = i, .prompt_id = i,
                           .k = 2, .route = "offline", .ref_known = b->o->cached_reference};
        for (int k = 0; k < 2; k++) {
            g->r[k] = (sail__response){.ids = random_ids(b, s->arena, b->o->response, (uint64_t)(3 * i + 1 + k)), .n = b->o->response,
                                       .id = 2 * i + k, .score = NAN};
            if (b->o->cached_reference)
                g->r[k].ref = sail__arena_array(s->arena, (size_t)b->o->response, sizeof *g->r[k].ref);
            if (!g->prompt || !g->r[k].ids || (b->o->cached_reference && !g->r[k].ref))
                return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        }
    }
    return SAIL_OK;
}

static sail_code one_step(bench *b, sail__learner *l, const sail__stage *stage, sail__step *s, sail_err *err)
{
    sail__metrics m = {.arena = s->arena};
    double loss;
    bool numeric;
    SAIL_TRY(make_pairs(b, s, err));
    double begin = sail__now();
    sail_code code = sail__learner_gradients(l, stage, s, &m, &loss, &numeric, err);
    sail__free(m.items);
    SAIL_TRY(code);
    sail__update u = {.rate = 1e-7, .max_norm = 1, .loss = loss, .multiplier = 1, .step = ++s->step};
    SAIL_TRY(sail__flat_update(sail__model_flat(b->s->model), &u, err));
    if (s->step > 1)
        b->seconds[b->n++] = sail__now() - begin;
    return SAIL_OK;
}

static sail_code steps(bench *b, const sail__stage *stage, sail_err *err)
{
    sail__learner l;
    sail__step s = {.arena = sail__arena_new()};
    sail_code code = s.arena ? sail__learner_init(&l, b->s->model, stage->objective.loaded->plugin.caps, err)
                             : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK) {
        for (int64_t i = 0; i <= b->o->repeat && code == SAIL_OK; i++) {
            code = sail_cancelled(b->c->ctx) ? sail_fail(err, SAIL_E_CANCEL, "stopped") : one_step(b, &l, stage, &s, err);
            sail_progress(b->c->ctx, "steps", (uint64_t)i + 1, (uint64_t)b->o->repeat + 1);
        }
        sail__learner_free(&l);
    }
    sail__arena_free(s.arena);
    return code;
}

static sail_code bench_step(bench *b, sail_err *err)
{
    const struct bench_options *o = b->o;
    sail__stage stage = {.method = {.beta = 0.1}, .train = {.micro_batch = o->micro_batch, .max_tokens = o->max_tokens}};
    sail_slot adamw;
    sail_optimizer_plan plan = {0};
    sail__adapter_section adapter = {.rank = o->rank, .alpha = 2.0 * (double)o->rank};
    SAIL_TRY(slot(b, SAIL_KIND_OBJECTIVE, "dpo", &stage.objective, err));
    SAIL_TRY(slot(b, SAIL_KIND_PREFERENCE, "bradley_terry", &stage.preference, err));
    SAIL_TRY(slot(b, SAIL_KIND_OPTIMIZER, "adamw", &adamw, err));
    ((const sail_optimizer *)adamw.loaded->ops)->plan(adamw.options, &plan);
    bool live = !o->cached_reference;
    sail__cli_want want = {.train = o->lora ? SAIL__TRAIN_ADAPTER : SAIL__TRAIN_ALL, .optimizer = &plan, .adapter = o->lora ? &adapter : NULL,
                           .reference = live, .fresh_reference = live, .dtype = -1};
    SAIL_TRY(sail__cli_open_model(b->c, &want, &b->s, err));
    SAIL_TRY(sail__cost_of(b->c->arena, b->s->config, &b->cost, err));
    SAIL_TRY(calibrate(b, b->s->rt, err));
    SAIL_TRY(steps(b, &stage, err));
    SAIL_TRY(calibrate(b, b->s->rt, err));
    b->tokens = (double)o->batch * (double)(o->prompt + 2 * o->response);
    b->flops = (double)o->batch * sail__pair_flops(&b->cost, (double)o->prompt, (double)o->response) * ((o->lora ? 2 : 3) + live);
    b->unit = "tflops";
    return SAIL_OK;
}

/* ---- prefill and decode ---- */

static sail_code runs(bench *b, sail__generator *g, const sail__gen_request *requests, size_t n, bool prefill, sail_err *err)
{
    for (int64_t i = 0; i <= b->o->repeat; i++) {
        sail__gen_counters before, after;
        sail__gen_response *out;
        size_t n_out;
        sail_arena *a = sail__arena_new();
        if (!a)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        sail__generator_counters(g, &before);
        sail_code code = sail__generate(g, (uint64_t)i, requests, n, NULL, 0, NULL, NULL, a, &out, &n_out, err);
        sail__generator_counters(g, &after);
        sail__arena_free(a);
        SAIL_TRY(code);
        double all = after.seconds - before.seconds, first = after.prefill_seconds - before.prefill_seconds;
        if (i > 0)
            b->seconds[b->n++] = prefill ? first : all - first;
        sail_progress(b->c->ctx, "runs", (uint64_t)i + 1, (uint64_t)b->o->repeat + 1);
    }
    return SAIL_OK;
}

static sail_code generations(bench *b, bool prefill, sail_err *err)
{
    const struct bench_options *o = b->o;
    sail__generator *g;
    SAIL_TRY(sail__cli_open_model(b->c, &(sail__cli_want){.dtype = -1}, &b->s, err));
    SAIL_TRY(sail__cost_of(b->c->arena, b->s->config, &b->cost, err));
    SAIL_TRY(calibrate(b, b->s->rt, err));
    size_t n = prefill ? (size_t)o->batch : 1;
    sail__gen_request *q = sail__arena_array(b->c->arena, n, sizeof *q);
    if (!q)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        q[i] = (sail__gen_request){.prompt = random_ids(b, b->c->arena, o->prompt, i), .n_prompt = o->prompt, .children = prefill ? 1 : (int)o->batch,
                                   .max_new = prefill ? 1 : o->response, .key = i, .ignore_end = true,
                                   .sampling = {.temperature = 1, .top_p = 1, .typical = 1, .penalty = 1}};
    SAIL_TRY(sail__generator_new(b->s->model, SAIL__POLICY, (int)o->batch, &g, err));
    sail_code code = runs(b, g, q, n, prefill, err);
    sail__generator_free(g);
    return code == SAIL_OK ? calibrate(b, b->s->rt, err) : code;
}

static sail_code bench_prefill(bench *b, sail_err *err)
{
    double p = (double)b->o->prompt;
    SAIL_TRY(generations(b, true, err));
    b->tokens = (double)b->o->batch * p;
    b->flops = (double)b->o->batch * (2 * b->cost.blocks * p + 2 * b->cost.head + 2 * b->cost.heads * p * p);
    b->unit = "tflops";
    return SAIL_OK;
}

/* The step that holds the prompt samples each sequence's first token; the R - 1 others are decoded. Weights are read once a step,
 * the prompt's keys and values once (they are shared), the sequences' own each. */
static sail_code bench_decode(bench *b, sail_err *err)
{
    double p = (double)b->o->prompt, r = (double)b->o->response, n = (double)b->o->batch, size = (double)sail_dtype_bytes(dtype_of(b), 1);
    if (b->o->response < 2)
        return sail_fail(err, SAIL_E_USAGE, "bench decode needs --response 2 or more");
    SAIL_TRY(generations(b, false, err));
    double each = 2 * (b->cost.blocks + b->cost.head) + 4 * b->cost.heads * (p + r / 2);
    double bytes = size * (b->cost.blocks + b->cost.head) + 2 * size * b->cost.kv * (p + n * r / 2);
    b->tokens = n * (r - 1);
    b->flops = b->tokens * each;
    b->unit = "tokens_per_second";
    b->limit = fmin(n * b->can.bandwidth / bytes, b->can.flops / each);
    b->figure = b->tokens / median(b);
    return SAIL_OK;
}

/* ---- matmul: the products of a training step, one by one ---- */

typedef struct shape {
    int64_t in, out;
} shape;

static sail_code one_shape(bench *b, sail_runtime *rt, const shape *s, const char *name, double *share, int *n, sail_err *err)
{
    static const char *const forms[] = {"forward", "input", "weight"};
    int64_t rows = b->o->batch * (b->o->prompt + 2 * b->o->response);
    double seconds[MOST], flops = 2.0 * (double)rows * (double)s->in * (double)s->out;
    for (int form = 0; form < 3; form++) {
        sail_dtype out = form == SAIL__PRODUCT_WEIGHT ? SAIL_F32 : dtype_of(b); /* gradients of weights are float32 */
        if (sail_cancelled(b->c->ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped");
        SAIL_TRY(sail__time_product(rt, (enum sail__product)form, dtype_of(b), out, rows, s->in, s->out, (int)b->o->repeat, seconds, err));
        double t = seconds[b->o->repeat / 2];
        sail_node *row = sail__cli_map(b->c);
        sail__cli_put_string(b->c, row, "module", name);
        sail__cli_put_string(b->c, row, "product", forms[form]);
        sail__cli_put_int(b->c, row, "rows", rows);
        sail__cli_put_int(b->c, row, "in", s->in);
        sail__cli_put_int(b->c, row, "out", s->out);
        sail__cli_put_number(b->c, row, "seconds", t);
        sail__cli_put_number(b->c, row, "tflops", flops / t * 1e-12);
        if (row)
            sail__node_append(b->c->arena, b->shapes, row);
        for (int64_t i = 0; i < b->o->repeat; i++)
            b->seconds[i] += seconds[i];
        b->flops += flops;
        *share += log(flops / t);
        ++*n;
    }
    return SAIL_OK;
}

static sail_code bench_matmul(bench *b, sail_err *err)
{
    sail__param *p;
    size_t n;
    shape seen[64];
    int n_seen = 0, products = 0;
    double logs = 0;
    SAIL_TRY(sail__cli_open_model(b->c, &(sail__cli_want){.dtype = -1}, &b->s, err));
    SAIL_TRY(calibrate(b, b->s->rt, err));
    SAIL_TRY(sail__model_params(b->c->arena, b->s->config, &p, &n, err));
    b->shapes = sail__cli_list(b->c);
    b->n = (int)b->o->repeat;
    for (size_t i = 0; i < n; i++) {
        shape s = {p[i].cols, p[i].rows};
        bool known = p[i].vector || p[i].layer < 0;
        for (int k = 0; k < n_seen && !known; k++)
            known = seen[k].in == s.in && seen[k].out == s.out;
        if (known || n_seen == 64)
            continue;
        seen[n_seen++] = s;
        shape down = {s.in, b->o->rank}, up = {b->o->rank, s.out};
        SAIL_TRY(one_shape(b, b->s->rt, &s, p[i].name, &logs, &products, err));
        if (b->o->lora) {
            SAIL_TRY(one_shape(b, b->s->rt, &down, "lora_A", &logs, &products, err));
            SAIL_TRY(one_shape(b, b->s->rt, &up, "lora_B", &logs, &products, err));
        }
    }
    SAIL_TRY(calibrate(b, b->s->rt, err));
    b->tokens = (double)b->o->batch * (double)(b->o->prompt + 2 * b->o->response);
    b->unit = "tflops";
    b->figure = products ? exp(logs / products) * 1e-12 : 0; /* the geometric mean */
    b->limit = b->can.flops * 1e-12;
    return SAIL_OK;
}

/* ---- the report ---- */

static sail_code print_json(bench *b, double seconds, double tflops, sail_err *err)
{
    sail__cli *c = b->c;
    sail_node *n = sail__cli_map(c);
    sail__cli_put_string(c, n, "bench", b->what);
    sail__cli_put_string(c, n, "model", c->model.model);
    sail__cli_put_string(c, n, "backend", c->model.backend);
    sail__cli_put_string(c, n, "device", b->s->rt->info.name);
    sail__cli_put_string(c, n, "dtype", sail_dtype_name(dtype_of(b)));
    sail__cli_put_int(c, n, "prompt", b->o->prompt);
    sail__cli_put_int(c, n, "response", b->o->response);
    sail__cli_put_int(c, n, "batch", b->o->batch);
    if (!strcmp(b->what, "step")) {
        sail__cli_put_bool(c, n, "lora", b->o->lora);
        sail__cli_put_bool(c, n, "cached_reference", b->o->cached_reference);
    }
    sail__cli_put_int(c, n, "runs", b->n);
    sail__cli_put_number(c, n, "seconds", seconds);
    sail__cli_put_number(c, n, "spread", b->seconds[b->n - 1] - b->seconds[0]);
    sail__cli_put_number(c, n, "seconds_min", b->seconds[0]);
    sail__cli_put_number(c, n, "seconds_max", b->seconds[b->n - 1]);
    sail__cli_put_number(c, n, "tokens_per_second", b->tokens / seconds);
    sail__cli_put_number(c, n, "tflops", tflops);
    sail__cli_put_string(c, n, "limit_of", b->unit);
    sail__cli_put_number(c, n, "limit", b->limit);
    sail__cli_put_number(c, n, "fraction", b->figure / b->limit);
    sail__cli_put_number(c, n, "matmul_tflops", b->can.flops * 1e-12);
    sail__cli_put_number(c, n, "memory_gb_per_second", b->can.bandwidth * 1e-9);
    sail__cli_put_number(c, n, "peak_rss_mib", b->peak_mib);
    sail__cli_put(c, n, "shapes", b->shapes);
    sail__cli_put(c, n, "profile", b->profile.rt ? sail__profile_node(&b->profile, c->arena) : NULL);
    return sail__cli_print_json(c, n, err);
}

static void print_text(bench *b, double seconds, double tflops)
{
    sail__cli *c = b->c;
    bool rate = !strcmp(b->unit, "tokens_per_second");
    for (size_t i = 0; b->shapes && i < b->shapes->list.n; i++) {
        const sail_node *r = b->shapes->list.items[i];
        double t = sail__node_get(r, "tflops")->number;
        sail__cli_line(c, "%-8s %6lld x %6lld x %6lld  %9.3f ms   %.3f Tflop/s   %.2f", sail__node_get(r, "product")->string.data,
                       (long long)sail__node_get(r, "rows")->integer, (long long)sail__node_get(r, "in")->integer,
                       (long long)sail__node_get(r, "out")->integer, 1e3 * sail__node_get(r, "seconds")->number, t, t / b->limit);
    }
    if (b->profile.rt)
        sail__cli_profile(c, &b->profile);
    sail__cli_line(c, "%s: %.4f s (median of %d; %.4f to %.4f), %.1f tokens/s, %.3f Tflop/s", b->what, seconds, b->n, b->seconds[0],
                   b->seconds[b->n - 1], b->tokens / seconds, tflops);
    sail__cli_line(c, "limit: %.4g %s, %.2f of it reached; calibrated: %.3f Tflop/s %s, %.1f GB/s", b->limit, rate ? "tokens/s" : "Tflop/s",
                   b->figure / b->limit, b->can.flops * 1e-12, sail_dtype_name(dtype_of(b)), b->can.bandwidth * 1e-9);
    sail__cli_line(c, "peak resident memory: %.0f MiB", b->peak_mib);
}

static sail_code run(sail__cli *c, sail_err *err)
{
    static const struct {
        const char *name;
        sail_code (*run)(bench *b, sail_err *err);
    } all[] = {{"step", bench_step}, {"decode", bench_decode}, {"prefill", bench_prefill}, {"matmul", bench_matmul}};
    bench *b = sail__arena_alloc(c->arena, sizeof *b);
    if (!b)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    b->c = c;
    b->o = c->options;
    b->what = c->args[0];
    sail_code code = SAIL_OK;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, b->what))
            code = all[i].run(b, err);
    sail__cli_clear(c);
    if (code == SAIL_OK) {
        sail__sort_times(b->seconds, b->n);
        double seconds = median(b), tflops = b->flops / seconds * 1e-12;
        if (b->limit == 0) {
            b->limit = b->can.flops * 1e-12;
            b->figure = tflops;
        }
        if (c->json)
            code = print_json(b, seconds, tflops, err);
        else
            print_text(b, seconds, tflops);
    }
    sail__profile_close(&b->profile);
    sail__session_close(b->s);
    return code;
}

static const char *const kinds[] = {"step", "decode", "prefill", "matmul", NULL};
static const sail__example examples[] = {
    {"sail bench step --model SmolLM2-135M-Instruct --dtype bf16 --prompt 256 --response 128 --batch 4", "an optimiser step of DPO"},
    {"sail bench decode --model m.gguf --dtype bf16 --batch 32 --json", "32 responses to one prompt"},
    {0},
};
const sail__command sail__cmd_bench = {
    .name = "bench", .args = "step|decode|prefill|matmul", .summary = "how fast this model runs here, and how fast it could",
    .doc = "Every figure stands beside a limit calibrated in the same run: the device's best matrix product of the dtype, its best reading of "
           "memory. seconds is the median over runs, spread the slowest less the fastest; a step counts the P + 2R tokens of a pair, decode "
           "the new ones, prefill the prompts'; tflops counts what the shared prompt needs (3 forward passes for all parameters, 2 for an "
           "adapter, 1 more for a live reference); fraction is the share of the limit that was reached.",
    .min_args = 1, .max_args = 1, .flags = SAIL__CLI_MODEL | SAIL__CLI_NEEDS_MODEL | SAIL__CLI_JSON | SAIL__CLI_SIGNALS | SAIL__CLI_SUB,
    .options = options, .options_size = sizeof(struct bench_options), .subcommands = kinds, .examples = examples, .run = run,
};
