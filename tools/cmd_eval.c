/* cmd_eval.c - sail eval: held-out preferences, divergence, lengths and win rates of a model, by the code of a run's evaluation. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "align/assess.h"
#include "align/compare.h"
#include "cli_model.h"
#include "io/checkpoint.h"
#include "io/hub.h"
#include "reward_model.h"
#include "recipe/recipe.h"

struct eval_options {
    const char *data, *reader, *reference, *judge, *output, *objective, *preference, *template_name, *system;
    const char *checkpoints;
    const sail_node *against;
    double beta, held_out, temperature, penalty_alpha;
    bool one_order;
    int pairing;
    int64_t pairs, generate, max_prompt, max_response, max_new, bootstrap, seed, top_k;
};
#define T struct eval_options
static const sail_opt options[] = {
    SAIL_OPT_STR(T, data, .flags = SAIL_OPT_REQUIRED | SAIL_OPT_PATH, .unit = "FILE", .help = "preference pairs, or prompts alone"),
    SAIL_OPT_STR(T, reader, .def_str = "preference", .unit = "NAME", .help = "how a record is read: preference, hh-rlhf, prompts, …"),
    SAIL_OPT_CHOICE(T, pairing, .choices = sail__data_pairings, .help = SAIL__DATA_PAIRING_HELP),
    SAIL_OPT_F64(T, held_out, .min = 0, .max = 0.9, .help = "use the share of FILE that a run with this data.held_out keeps from training; 0: all"),
    SAIL_OPT_STR(T, reference, .flags = SAIL_OPT_PATH, .unit = "MODEL", .help = "what rewards and divergence are measured from: a model, or an adapter on --model; unset: --model without --adapter"),
    SAIL_OPT_STR(T, judge, .unit = "JUDGE", .help = "who compares responses: NAME or {kind: NAME, …} as in recipes"),
    SAIL_OPT_NODE(T, against, .flags = SAIL_OPT_PATH, .unit = "MODEL", .help = "win rate against this model, or adapter on --model"),
    SAIL_OPT_STR(T, output, .flags = SAIL_OPT_PATH, .unit = "FILE", .help = "write the figures there as JSON"),
    SAIL_OPT_INT(T, pairs, .min = 0, .max = 1e9, .help = "pairs scored at most; 0: all"),
    SAIL_OPT_INT(T, generate, .def = 64, .min = 0, .max = 1e9, .help = "prompts answered at most; 0: none"),
    SAIL_OPT_F64(T, beta, .def = 0.1, .min = 1e-6, .max = 1e3, .help = "of the rewards"),
    SAIL_OPT_STR(T, objective, .def_str = "dpo", .unit = "NAME", .help = "whose loss is told"),
    SAIL_OPT_STR(T, preference, .def_str = "bradley_terry", .unit = "NAME", .help = "the preference model of the loss"),
    SAIL_OPT_INT(T, max_prompt, .def = 512, .min = 1, .max = 1e7, .help = "tokens; longer rows are left out and counted"),
    SAIL_OPT_INT(T, max_response, .def = 512, .min = 1, .max = 1e7, .help = "tokens; longer rows are left out and counted"),
    SAIL_OPT_INT(T, max_new, .def = 128, .min = 1, .max = 1e7, .help = "tokens of a response at most"),
    SAIL_OPT_F64(T, temperature, .def = 1, .min = 0, .max = 100, .help = "of the responses; 0: greedy"),
    SAIL_OPT_F64(T, penalty_alpha, .min = 0, .max = 1, .help = "contrastive search with this weight of the penalty writes the responses, such as 0.6; 0: they are drawn"),
    SAIL_OPT_INT(T, top_k, .def = 4, .min = 1, .max = 64, .help = "candidates of contrastive search"),
    SAIL_OPT_BOOL(T, one_order, .help = "tell win rates by the convention of SAIL's authors besides: one random order a prompt, ties are losses"),
    SAIL_OPT_STR(T, checkpoints, .flags = SAIL_OPT_PATH, .unit = "RUN", .help = "instead of --adapter: each checkpoint of this run that holds one, oldest first"),
    SAIL_OPT_INT(T, bootstrap, .def = 1000, .min = 10, .max = 1e6, .help = "resamples of the intervals"),
    SAIL_OPT_INT(T, seed, .min = 0, .max = 9007199254740992, .help = "of the draws"),
    {.name = "template", .type = SAIL_OPT_TYPE_STR, .offset = offsetof(T, template_name), .unit = "NAME", .help = "chat template; unset: the model's own"},
    SAIL_OPT_STR(T, system, .unit = "TEXT", .help = "system message; unset: the template's own"),
    {0},
};
#undef T

typedef struct job {
    sail__cli *c;
    const struct eval_options *o;
    sail__stage stage;
    sail__contender *others; /* the model first, then those of --against */
    size_t n_others;
    sail__metrics metrics;
    sail__assessed facts;
} job;

/* ---- the stage: what a recipe would say ---- */

/* NAME, or a map as YAML writes it. */
static sail_code slot_value(sail__cli *c, sail_node *section, const char *key, const char *text, sail_err *err)
{
    sail_node *value = NULL;
    if (!text)
        return SAIL_OK;
    SAIL_TRY(sail__yaml_parse(c->arena, text, strlen(text), "command line", &value, err));
    sail__cli_put(c, section, key, value);
    return SAIL_OK;
}

static sail_code section(sail__cli *c, sail_node *root, const char *name, sail_node **out, sail_err *err)
{
    *out = sail__cli_map(c);
    sail__cli_put(c, root, name, *out);
    return *out ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static sail_code make_stage(job *j, sail_err *err)
{
    sail__cli *c = j->c;
    const struct eval_options *o = j->o;
    sail_problems problems = {.arena = c->arena};
    sail_node *root = sail__cli_map(c), *data, *method, *eval, *rollout;
    if (!root)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(section(c, root, "data", &data, err));
    SAIL_TRY(section(c, root, "method", &method, err));
    SAIL_TRY(section(c, root, "eval", &eval, err));
    SAIL_TRY(section(c, root, "rollout", &rollout, err));
    sail__cli_put_int(c, root, "seed", o->seed);
    sail__cli_put_string(c, data, o->held_out > 0 ? "train" : "eval", o->data);
    sail__cli_put_number(c, data, "held_out", o->held_out);
    sail__cli_put_string(c, data, "pairing", sail__data_pairings[o->pairing]);
    sail__cli_put_int(c, data, "max_prompt", o->max_prompt);
    sail__cli_put_int(c, data, "max_response", o->max_response);
    sail__cli_put_number(c, method, "beta", o->beta);
    sail__cli_put_int(c, eval, "pairs", o->pairs ? o->pairs : 1000000000);
    sail__cli_put_int(c, eval, "generate", o->generate);
    sail__cli_put_int(c, eval, "bootstrap", o->bootstrap);
    sail__cli_put_number(c, eval, "temperature", o->temperature);
    sail__cli_put_number(c, eval, "penalty_alpha", o->penalty_alpha);
    sail__cli_put_int(c, eval, "top_k", o->top_k);
    sail__cli_put_bool(c, eval, "one_order", o->one_order);
    sail__cli_put_int(c, rollout, "max_new", o->max_new);
    SAIL_TRY(slot_value(c, data, "reader", o->reader, err));
    SAIL_TRY(slot_value(c, method, "objective", o->objective, err));
    SAIL_TRY(slot_value(c, method, "preference", o->preference, err));
    SAIL_TRY(slot_value(c, eval, "judge", o->judge, err));
    if (!sail__stage_parse(c->ctx, c->arena, SAIL__ALIGN, root, 0, NULL, NULL, &j->stage, &problems))
        return problems.n == 0 ? sail_fail(err, SAIL_E_NOMEM, "out of memory")
                               : sail_fail(err, SAIL_E_USAGE, "%s: %s", problems.items[0].path, problems.items[0].message);
    sail__stage *s = &j->stage;
    s->model = (sail__model_section){.path = c->model.model, .adapter_path = c->model.adapter, .device = c->model.device,
                                     .dtype = c->model.dtype, .template_name = o->template_name, .system = o->system};
    return sail__cli_backend(c, &s->backend, err);
}

/* ---- win rates against other models ---- */

static bool is_adapter(sail__cli *c, const char *path)
{
    return sail__file_exists(sail__path_join(c->arena, path, "adapter_config.json"));
}

/* A name for the figures: the last part of the path (of RUN/STAGE/output the stage, of a model of the cache its name there), numbered
 * where another has it already. */
static const char *name_of(job *j, const char *path)
{
    char *clean = sail__arena_strdup(j->c->arena, path);
    for (size_t n = clean ? strlen(clean) : 0; n > 1 && clean[n - 1] == '/'; n--)
        clean[n - 1] = 0;
    const char *base = clean ? sail__path_base(clean) : "other", *parent = clean ? sail__path_dir(j->c->arena, clean) : NULL;
    const char *repo = clean && sail__is_dir(clean) ? sail__hub_repo_of(j->c->arena, clean) : NULL;
    if (repo)
        base = sail__path_base(repo);
    else if (parent && !strcmp(base, "output"))
        base = sail__path_base(parent);
    const char *name = base;
    for (int k = 2;; k++) {
        bool taken = false;
        for (size_t i = 0; i < j->n_others; i++)
            taken = taken || !strcmp(j->others[i].name, name);
        if (!taken)
            return name;
        name = sail__arena_printf(j->c->arena, "%s-%d", base, k);
        if (!name)
            return base;
    }
}

static sail_code add(job *j, const char *name, const char *path, const char *adapter, bool baseline, sail_err *err)
{
    sail__model_section *m = sail__arena_alloc(j->c->arena, sizeof *m);
    if (!m)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    *m = j->stage.model;
    m->path = path;
    m->adapter_path = adapter;
    j->others[j->n_others++] = (sail__contender){.name = name, .models = m, .n = 1, .baseline = baseline};
    return SAIL_OK;
}

static sail_code compare(job *j, sail_err *err)
{
    sail__cli *c = j->c;
    const sail_node *list = j->o->against;
    size_t n = list ? list->list.n : 0;
    if (n == 0)
        return SAIL_OK;
    j->others = sail__arena_array(c->arena, n + 1, sizeof *j->others);
    if (!j->others)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(add(j, "model", c->model.model, c->model.adapter, false, err));
    for (size_t i = 0; i < n; i++) {
        const char *path;
        SAIL_TRY(sail__node_as_string(list->list.items[i], "--against", &path, err));
        bool adapter = is_adapter(c, path);
        SAIL_TRY(add(j, name_of(j, path), adapter ? c->model.model : path, adapter ? path : NULL, true, err));
    }
    return sail__compare_models(c->ctx, &j->stage, j->others, j->n_others, NULL, &j->metrics, err);
}

/* ---- results ---- */

static sail_node *as_json(job *j)
{
    sail__cli *c = j->c;
    sail_node *root = sail__cli_map(c), *metrics = sail__cli_map(c), *against = sail__cli_list(c);
    sail__cli_put_string(c, root, "model", c->model.model);
    sail__cli_put_string(c, root, "adapter", c->model.adapter);
    sail__cli_put_string(c, root, "reference", j->o->reference ? j->o->reference : j->facts.reference ? c->model.model : NULL);
    sail__cli_put_string(c, root, "data", j->o->data);
    sail__cli_put_string(c, root, "judge", j->o->judge);
    for (size_t i = 1; i < j->n_others && against; i++)
        sail__node_append(c->arena, against, sail__node_string(c->arena, j->others[i].name, "sail"));
    sail__cli_put(c, root, "against", against);
    sail__cli_put_int(c, root, "rows", (int64_t)j->facts.rows);
    sail__cli_put_int(c, root, "records", (int64_t)j->facts.records);
    for (size_t i = 0; i < j->metrics.n; i++)
        sail__cli_put_number(c, metrics, j->metrics.items[i].name, sail__metric_value(&j->metrics.items[i]));
    sail__cli_put(c, root, "metrics", metrics);
    return root;
}

static void line(job *j, const char *name, const char *label, const char *format)
{
    double v = sail__metrics_get(&j->metrics, name);
    char value[64], bounds[2][160], interval[64] = "";
    if (isnan(v))
        return;
    snprintf(value, sizeof value, format, v);
    for (int i = 0; i < 2; i++)
        snprintf(bounds[i], sizeof bounds[i], "%s/%s", name, i ? "high" : "low");
    double low = sail__metrics_get(&j->metrics, bounds[0]), high = sail__metrics_get(&j->metrics, bounds[1]);
    if (!isnan(low))
        snprintf(interval, sizeof interval, "  [%.3f, %.3f]", low, high);
    sail__cli_line(j->c, "%-34s %10s%s", label, value, interval);
}

static void table(job *j)
{
    sail__cli_line(j->c, "%zu rows of %s", j->facts.rows, j->o->data);
    line(j, "eval_rewards/accuracies", "preference accuracy", "%.3f");
    line(j, "eval_rewards/margins", "reward margin", "%.4f");
    line(j, "eval_loss", "loss", "%.4f");
    line(j, "eval_logps/chosen", "log-probability of the chosen", "%.2f");
    line(j, "eval_logps/rejected", "log-probability of the rejected", "%.2f");
    line(j, "eval_objective/kl", "KL to the reference", "%.3f");
    line(j, "eval_completions/mean_length", "response length, tokens", "%.1f");
    line(j, "eval_win_rate", "win rate against the reference", "%.3f");
    line(j, "eval_win_rate/length_controlled", "  at equal lengths", "%.3f");
    line(j, "eval_win_rate/one_order", "  one order, ties lost", "%.3f");
    for (size_t i = 1; i < j->n_others; i++) {
        const char *name = j->others[i].name;
        line(j, sail__arena_printf(j->c->arena, "win_rate/model_vs_%s", name), sail__arena_printf(j->c->arena, "win rate against %s", name), "%.3f");
        line(j, sail__arena_printf(j->c->arena, "win_rate/model_vs_%s/length_controlled", name), "  at equal lengths", "%.3f");
        line(j, sail__arena_printf(j->c->arena, "win_rate/model_vs_%s/one_order", name), "  one order, ties lost", "%.3f");
        line(j, sail__arena_printf(j->c->arena, "completions/mean_length/%s", name), sail__arena_printf(j->c->arena, "response length of %s", name), "%.1f");
    }
}

/* To --output, and with --json to standard output. */
static sail_code write_results(sail__cli *c, const sail_node *root, sail_err *err)
{
    const struct eval_options *o = c->options;
    if (o->output)
        SAIL_TRY(sail__cli_write_json(c, o->output, root, err));
    return c->json ? sail__cli_print_json(c, root, err) : SAIL_OK;
}

static sail_code results(job *j, sail_err *err)
{
    sail__cli_clear(j->c);
    SAIL_TRY(write_results(j->c, as_json(j), err));
    if (!j->c->json)
        table(j);
    return SAIL_OK;
}

/* ---- checkpoints ---- */

typedef struct sweep { /* a run's checkpoints, oldest first */
    struct swept {
        const char *stage, *adapter;
        int64_t step;
    } *items;
    size_t n, cap;
} sweep;

static sail_code add_checkpoints(sail__cli *c, const char *stage, sweep *out, sail_err *err)
{
    sail__checkpoint *list;
    size_t n;
    const char *dir = sail__path_join(c->arena, sail__path_join(c->arena, ((const struct eval_options *)c->options)->checkpoints, stage), "checkpoints");
    SAIL_TRY(sail__checkpoint_list(c->arena, dir, &list, &n, err));
    for (size_t i = 0; i < n; i++) {
        const char *adapter = sail__path_join(c->arena, list[i].path, "adapter");
        if (!is_adapter(c, adapter))
            continue;
        SAIL_TRY(sail__checkpoint_verify(list[i].path, err));
        SAIL_TRY(sail__grow(&out->items, &out->cap, out->n + 1, sizeof *out->items, err));
        out->items[out->n++] = (struct swept){stage, adapter, list[i].step};
    }
    return SAIL_OK;
}

static sail_code find_checkpoints(sail__cli *c, const char *run, sweep *out, sail_err *err)
{
    char **names;
    size_t n;
    if (!sail__file_exists(sail__path_join(c->arena, run, "run.db")))
        return sail_fail(err, SAIL_E_NOTFOUND, "%s is no run: it has no run.db", run);
    SAIL_TRY(sail__list_dir(c->arena, run, &names, &n, err));
    for (size_t i = 0; i < n; i++)
        if (sail__is_dir(sail__path_join(c->arena, sail__path_join(c->arena, run, names[i]), "checkpoints")))
            SAIL_TRY(add_checkpoints(c, names[i], out, err));
    return out->n ? SAIL_OK : sail_fail(err, SAIL_E_NOTFOUND, "%s has no checkpoint with an adapter: a run with LoRA keeps checkpoint.keep of them, one every checkpoint.every steps", run);
}

static void sweep_row(sail__cli *c, const char *stage, int64_t step, const sail__metrics *m)
{
    static const struct {
        const char *name, *label;
    } columns[] = {{"eval_rewards/accuracies", "accuracy"}, {"eval_rewards/margins", "margin"}, {"eval_loss", "loss"}, {"eval_objective/kl", "kl"},
                   {"eval_completions/mean_length", "length"}, {"eval_win_rate", "win rate"}};
    sail_buf b = {0};
    sail__buf_printf(&b, "%s step %lld:", stage, (long long)step);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        double v = sail__metrics_get(m, columns[i].name);
        if (!isnan(v))
            sail__buf_printf(&b, "%s %s %.4f", i ? " ·" : "", columns[i].label, v);
    }
    sail__cli_line(c, "%s", b.data ? b.data : "");
    sail__buf_free(&b);
}

/* Each checkpoint's figures; in JSON a list beside what is common to all. */
static sail_code sweep_found(sail__cli *c, const sweep *s, sail_err *err)
{
    const struct eval_options *o = c->options;
    sail_node *root = sail__cli_map(c), *list = sail__cli_list(c);
    for (size_t i = 0; i < s->n; i++) {
        const struct swept *at = &s->items[i];
        job j = {.c = c, .o = o, .metrics = {.arena = c->arena}};
        c->model.adapter = at->adapter;
        sail_code code = make_stage(&j, err);
        if (code == SAIL_OK)
            code = sail__assess(c->ctx, &j.stage, o->reference, &j.metrics, &j.facts, err);
        if (code == SAIL_OK) {
            sail_node *one = as_json(&j);
            sail__cli_clear(c);
            sail__cli_put_string(c, one, "stage", at->stage);
            sail__cli_put_int(c, one, "step", at->step);
            if (list && one)
                sail__node_append(c->arena, list, one);
            if (!c->json)
                sweep_row(c, at->stage, at->step, &j.metrics);
        }
        sail__free(j.metrics.items);
        if (code != SAIL_OK)
            return sail_fail_in(err, "%s", at->adapter);
    }
    sail__cli_put_string(c, root, "run", o->checkpoints);
    sail__cli_put(c, root, "checkpoints", list);
    return write_results(c, root, err);
}

static sail_code sweep_all(sail__cli *c, sail_err *err)
{
    const struct eval_options *o = c->options;
    sweep s = {0};
    if (c->model.adapter || o->against)
        return sail_fail(err, SAIL_E_USAGE, "--checkpoints takes the place of --adapter, and --against is for one model");
    sail_code code = find_checkpoints(c, o->checkpoints, &s, err);
    if (code == SAIL_OK)
        code = sweep_found(c, &s, err);
    sail__free(s.items);
    return code;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    job j = {.c = c, .o = c->options, .metrics = {.arena = c->arena}};
    if (j.o->against && !j.o->judge)
        return sail_fail(err, SAIL_E_USAGE, "--against needs --judge: who tells the better response, such as --judge '{kind: rule, rule: shorter}'");
    if ((j.o->against || j.o->judge) && j.o->generate == 0)
        return sail_fail(err, SAIL_E_USAGE, "--generate 0 leaves nothing to judge");
    SAIL_TRY(sail__cli_not_over(j.o->data, j.o->output, err));
    SAIL_TRY(sail__cli_not_of_model(c, "--output", j.o->reference, j.o->output, err));
    if (sail__cli_is_reward_model(c)) {
        const struct eval_options *o = j.o;
        if (o->judge || o->reference || o->against)
            return sail_fail(err, SAIL_E_USAGE, "%s is a reward model: it writes nothing to be judged, and is measured from nothing (--judge, --reference and "
                                                "--against are for language models)", c->model.model);
        sail__cli_reward_eval how = {o->data, o->reader, o->preference, o->output, o->template_name, o->system, o->held_out, o->pairs, o->pairing};
        return sail__cli_eval_rewards(c, &how, err);
    }
    if (j.o->checkpoints)
        return sweep_all(c, err);
    SAIL_TRY(make_stage(&j, err));
    sail_code code = sail__assess(c->ctx, &j.stage, j.o->reference, &j.metrics, &j.facts, err);
    if (code == SAIL_OK && !j.facts.reference)
        sail_log(
            c->ctx, SAIL_LOG_WARN,
            "no reference to measure from (--reference, or --adapter): rewards, loss and divergence are left out%s",
            j.o->judge && !j.o->against ? ", and --judge has nothing to compare (--against)" : "");
    if (code == SAIL_OK)
        code = compare(&j, err);
    if (code == SAIL_OK)
        code = results(&j, err);
    sail__free(j.metrics.items);
    return code;
}

static const sail__example examples[] = {
    {"sail eval --model SmolLM2-135M-Instruct --adapter runs/dpp/align/output --data pairs.jsonl", "against the model without the adapter"},
    {"sail eval --model reward-model --data rewardbench.jsonl", "a reward model: accuracy, calibration, RewardBench's sections"},
    {"sail eval --model m --adapter a --data p.jsonl --against b --judge '{kind: rule, rule: shorter}' --json", "win rate of adapter a over adapter b"},
    {"sail eval --model SmolLM2-135M-Instruct --checkpoints runs/dpp --data pairs.jsonl --pairs 200 --generate 0", "which checkpoint is the best"},
    {0},
};
const sail__command sail__cmd_eval = {
    .name = "eval", .args = "", .summary = "how good a model is on held-out preferences, and against other models",
    .doc = "Pairs: accuracy, margin and loss of the implicit rewards, beta times the log-ratio to the reference. Prompts are answered, which "
           "gives lengths, the divergence from the reference, and with --judge the win rate against the reference's responses and those of "
           "each --against: every pair of responses is judged in both orders, a tie counts one half, and the interval is of 95% over "
           "prompts. The figures and their names are those of a run's evaluation (eval_rewards/accuracies, eval_loss, eval_win_rate, "
           "win_rate/model_vs_NAME …). Of a reward model: accuracy, margin, loss under --preference, a reliability table with the expected "
           "calibration error, and, where rows say their `subset` as RewardBench's do, the accuracy by subset and section.",
    .flags = SAIL__CLI_MODEL | SAIL__CLI_NEEDS_MODEL | SAIL__CLI_SIGNALS | SAIL__CLI_JSON, .options = options,
    .options_size = sizeof(struct eval_options), .examples = examples, .run = run,
};
