/* config.c - the option tables of a stage: the one place where a recipe's keys are defined. */
#include "config.h"

#include <math.h>
#include <string.h>

#include "../io/data.h"
#include "modifiers.h"
#include "schedule.h"

#define T sail__model_section
static const char *const dtypes[] = {"f32", "bf16", NULL};
static const char *const kept[] = {"converted", "as_stored", NULL};
static const char *const references[] = {"auto", "adapter_off", "frozen_adapter", "cached", "copy", NULL};
const sail_opt sail__model_table[] = {
    SAIL_OPT_STR(T, path, .flags = SAIL_OPT_PATH, .help = "Hugging Face directory or GGUF file, or hf:OWNER/NAME[@REVISION][/FILE] of the Hugging Face cache (sail help hub)"),
    SAIL_OPT_STR(T, adapter_path, .flags = SAIL_OPT_PATH, .help = "PEFT adapter to start from; frozen, it is the reference"),
    SAIL_OPT_NODE(T, adapter, .help = "{kind: lora, rank, alpha, …}; absent: every parameter is trained"),
    SAIL_OPT_NODE(T, backend, .flags = SAIL_OPT_SLOT, .unit = "backend", .def_str = "cpu", .help = "where it runs: cpu, opencl, ref, or auto: opencl where it has a GPU, else cpu"),
    SAIL_OPT_STR(T, device, .flags = SAIL_OPT_WORD, .help = "of the backend: index, kind (gpu, cpu), or part or pattern of its name; unset: the best"),
    SAIL_OPT_CHOICE(T, dtype, .def = SAIL__BF16, .choices = dtypes, .help = "of weights and matmul inputs; sums are float32"),
    SAIL_OPT_CHOICE(T, weights, .choices = kept, .help = "as_stored: a frozen base that is quantised (GGUF) stays so in memory; converted: to dtype"),
    SAIL_OPT_INT(T, threads, .min = 0, .max = 1024, .help = "of the backend, where it has the option; 0: one a core"),
    SAIL_OPT_BOOL(T, recompute, .help = "compute activations again in the backward pass: less memory, a third more work"),
    SAIL_OPT_CHOICE(T, reference, .def = SAIL__REF_AUTO, .choices = references, .help = "how the reference is held"),
    {.name = "template", .type = SAIL_OPT_TYPE_STR, .offset = offsetof(T, template_name), .help = "chat template: a name, or a file that ends in .jinja; unset: the model's own"},
    SAIL_OPT_STR(T, tokenizer, .flags = SAIL_OPT_PATH, .help = "tokenizer.json or its directory; unset: the model's own"),
    SAIL_OPT_STR(T, system, .help = "system message; unset: the template's own"),
    SAIL_OPT_NODE(T, init, .help = "a new model from nothing: {layers, width, heads, kv_heads, ff, positions}"),
    {0},
};
#undef T
#define T sail__adapter_section
const sail_opt sail__adapter_table[] = {
    SAIL_OPT_INT(T, rank, .def = 16, .min = 1, .max = 4096, .help = "of the update"),
    SAIL_OPT_F64(T, alpha, .def = 32, .min = 0, .max = 1e6, .help = "scale is alpha / rank"),
    SAIL_OPT_F64(T, dropout, .min = 0, .max = 0.99, .help = "on the adapter's input"),
    SAIL_OPT_NODE(T, targets, .help = "all-linear, or a list of module names (q_proj, v_proj, …)"),
    SAIL_OPT_BOOL(T, rslora, .help = "scale is alpha / sqrt(rank)"),
    {0},
};
#undef T
#define T sail__init_section
static const sail_opt init_table[] = {
    SAIL_OPT_INT(T, layers, .def = 2, .min = 1, .max = 1000, .help = "decoder layers"),
    SAIL_OPT_INT(T, width, .def = 128, .min = 8, .max = 100000, .help = "of the residual stream"),
    SAIL_OPT_INT(T, heads, .def = 4, .min = 1, .max = 1000, .help = "query heads"),
    SAIL_OPT_INT(T, kv_heads, .min = 0, .max = 1000, .help = "key and value heads; 0: as many as heads"),
    SAIL_OPT_INT(T, ff, .min = 0, .max = 1000000, .help = "of the MLP; 0: 8/3 of the width, a multiple of 32"),
    SAIL_OPT_INT(T, positions, .def = 512, .min = 8, .max = 1000000, .unit = "tokens", .help = "longest sequence"),
    SAIL_OPT_F64(T, deviation, .def = 0.02, .min = 0, .max = 10, .help = "of the normal distribution that weights are drawn from"),
    {0},
};
#undef T
#define T sail__data_section
static const char *const truncates[] = {"drop", "start", "end", NULL};
static const char *const bad_rows[] = {"error", "skip", NULL};
const sail_opt sail__data_table[] = {
    SAIL_OPT_NODE(T, train, .flags = SAIL_OPT_PATH, .help = "file, pattern (*.jsonl.gz), {path, weight}, or a list of them"),
    SAIL_OPT_NODE(T, eval, .flags = SAIL_OPT_PATH, .help = "the same; unset: held out of train"),
    SAIL_OPT_NODE(T, reader, .flags = SAIL_OPT_SLOT, .unit = "dataset", .def_str = "preference", .help = "how a record is read; stage sft: sft"),
    SAIL_OPT_F64(T, held_out, .def = 0.05, .min = 0, .max = 0.9, .help = "share of prompts, by hash, kept for evaluation"),
    SAIL_OPT_NODE(T, share, .help = "[from, to]: of the prompts that are not held out the part, by hash, that is trained on; unset: all"),
    SAIL_OPT_INT(T, max_rows, .min = 0, .max = 1e15, .help = "read at most so many rows; 0: all"),
    SAIL_OPT_INT(T, max_prompt, .def = 512, .min = 1, .max = 1e7, .unit = "tokens", .help = "longest prompt"),
    SAIL_OPT_INT(T, max_response, .def = 512, .min = 1, .max = 1e7, .unit = "tokens", .help = "longest response"),
    SAIL_OPT_CHOICE(T, truncate, .choices = truncates, .help = "what is too long: dropped and counted, or cut at start or end"),
    SAIL_OPT_CHOICE(T, on_bad_row, .choices = bad_rows, .help = "a malformed row is an error, or skipped and counted"),
    SAIL_OPT_BOOL(T, shuffle, .def = 1, .help = "a new order every pass, by the seed"),
    SAIL_OPT_NODE(T, stop, .help = "strings that end a response, beside the end tokens"),
    SAIL_OPT_CHOICE(T, pairing, .choices = sail__data_pairings, .help = SAIL__DATA_PAIRING_HELP ", for preference models such as plackett_luce"),
    SAIL_OPT_NODE(T, fields, .help = "{what the reader calls a field: what the file calls it, a.b inside another, or a list of names to join}"),
    {0},
};
#undef T
#define T sail__rollout_section
static const char *const rivals[] = {"policy", "reference", "mixture", NULL};
static const char *const pairings[] = {"ranking", "all", "best_worst", NULL};
const sail_opt sail__rollout_table[] = {
    SAIL_OPT_F64(T, temperature, .def = 1, .min = 0, .max = 100, .flags = SAIL_OPT_SCHEDULABLE, .help = "0: greedy"),
    SAIL_OPT_F64(T, top_p, .def = 1, .min = 0, .max = 1, .help = "1: off"),
    SAIL_OPT_F64(T, min_p, .min = 0, .max = 1, .help = "0: off"),
    SAIL_OPT_INT(T, top_k, .min = 0, .max = 1e9, .help = "0: off"),
    SAIL_OPT_INT(T, max_new, .min = 0, .max = 1e7, .unit = "tokens", .help = "of a response, as far as the model's positions go; 0: data.max_response"),
    SAIL_OPT_INT(T, batch, .def = 32, .min = 1, .max = 4096, .help = "sequences decoded together"),
    SAIL_OPT_INT(T, responses, .def = 2, .min = 2, .max = SAIL_MAX_RESPONSES, .help = "to each prompt; at least 2, since preferences compare them"),
    SAIL_OPT_CHOICE(T, pairing, .choices = pairings,
                    .help = "of more than two responses: one ranking (plackett_luce), all pairs, or the best against the worst"),
    SAIL_OPT_CHOICE(T, rival, .choices = rivals, .help = "who writes the last of them: the policy, the reference, or the geometric mixture of both"),
    SAIL_OPT_F64(T, mixture, .def = 0.125, .min = 0, .max = 1, .flags = SAIL_OPT_SCHEDULABLE, .help = "weight of the reference in the mixture: pi^(1-w) ref^w, token by token"),
    {0},
};
#undef T
#define F_ALPHA_USUAL 0.5
#define T sail__method_section
const sail_opt sail__method_table[] = {
    SAIL_OPT_NODE(T, objective, .flags = SAIL_OPT_SLOT, .unit = "objective", .def_str = "sail", .help = "the loss, or a list of them; stages sft and reward: theirs"),
    SAIL_OPT_NODE(T, loss_weights, .help = "of several objectives, a list as long as theirs; unset: 1 each"),
    SAIL_OPT_CHOICE(T, f_divergence_type, .choices = sail__divergences, .help = "divergence from the reference behind the implicit reward"),
    SAIL_OPT_F64(T, f_alpha_divergence_coef, .def = F_ALPHA_USUAL, .min = -10, .max = 10, .flags = SAIL_OPT_SCHEDULABLE, .help = "alpha of alpha_divergence; 1: reverse_kl"),
    SAIL_OPT_F64(T, ld_alpha, .def = 1, .min = 0, .max = 1, .flags = SAIL_OPT_SCHEDULABLE, .help = "what tokens beyond the length of the group's shortest response count"),
    SAIL_OPT_BOOL(T, use_weighting, .help = "weigh each pair by how likely the policy is to write it (WPO)"),
    SAIL_OPT_NODE(T, preference, .flags = SAIL_OPT_SLOT, .unit = "preference", .def_str = "bradley_terry", .help = "the preference model"),
    SAIL_OPT_NODE(T, strategy, .flags = SAIL_OPT_SLOT, .unit = "strategy", .help = "which prompts and responses are learned from, and by which routes; unset: all, by method.routes"),
    SAIL_OPT_NODE(T, judge, .flags = SAIL_OPT_SLOT, .unit = "judge", .help = "who labels judge routes (dpr)"),
    SAIL_OPT_NODE(T, routes, .help = "{ddp: {weight, coef}, dpp: {…}, dpr: {…}, ROUTE: {writer, labeller, weight, coef}}; what is left is offline"),
    SAIL_OPT_F64(T, beta, .def = 0.1, .min = 1e-6, .max = 1e3, .unit = "1/nat", .flags = SAIL_OPT_SCHEDULABLE, .help = "strength of the pull to the reference"),
    SAIL_OPT_F64(T, max_margin, .min = 0, .max = 1e9, .unit = "nats", .help = "bound on the margin in the extra terms; 0: none"),
    {0},
};
#undef T
#define T route_section
typedef struct route_section {
    int writer, labeller; /* SAIL_BY_… */
    double weight, coef;
} route_section;
static const char *const writers[] = {"data", "policy", NULL}, *const labellers[] = {"data", "policy", "judge", NULL};
const sail_opt sail__route_table[] = {
    SAIL_OPT_CHOICE(T, writer, .flags = SAIL_OPT_REQUIRED, .choices = writers, .help = "who writes the responses; ddp, dpp and dpr know theirs"),
    SAIL_OPT_CHOICE(T, labeller, .flags = SAIL_OPT_REQUIRED, .choices = labellers, .help = "who says which is better; ddp, dpp and dpr know theirs"),
    SAIL_OPT_F64(T, weight, .min = 0, .max = 1, .flags = SAIL_OPT_SCHEDULABLE, .help = "share of the prompts"),
    SAIL_OPT_F64(T, coef, .min = 0, .max = 1e9, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "of the extra terms: T1 where the policy writes, T3 where it labels; ddp and dpp 0.2, dpr 0.3"),
    {0},
};
#undef T
#define T sail__train_section
static const char *const decays[] = {"weights", "all", NULL};
const sail_opt sail__train_table[] = {
    SAIL_OPT_INT(T, steps, .min = 0, .max = 1e12, .help = "optimiser steps"),
    SAIL_OPT_F64(T, epochs, .min = 0, .max = 1e6, .help = "passes over the prompts, where steps is 0"),
    SAIL_OPT_INT(T, batch, .def = 8, .min = 1, .max = 1e6, .unit = "pairs", .help = "pairs a step"),
    SAIL_OPT_INT(T, micro_batch, .min = 0, .max = 1e6, .unit = "pairs", .help = "pairs in one forward pass; 0: by max_tokens"),
    SAIL_OPT_INT(T, max_tokens, .def = 4096, .min = 1, .max = 1e9, .unit = "tokens", .help = "token budget of one forward pass"),
    SAIL_OPT_NODE(T, optimizer, .flags = SAIL_OPT_SLOT, .unit = "optimizer", .def_str = "adamw", .help = "the update"),
    SAIL_OPT_NODE(T, schedule, .help = "of the learning rate: NAME or {kind: constant | linear | cosine | cosine_with_restarts (cycles) | polynomial (power) | "
                  "inverse_sqrt (timescale), warmup: share or steps, floor: share at the end}"),
    SAIL_OPT_F64(T, lr, .def = 1e-5, .min = 0, .max = 1e3, .flags = SAIL_OPT_SCHEDULABLE, .help = "largest learning rate"),
    SAIL_OPT_F64(T, max_grad_norm, .def = 1, .min = 0, .max = 1e9, .help = "clip to this norm; 0: never"),
    SAIL_OPT_CHOICE(T, decay, .choices = decays, .help = "weight decay on matrices only, or on everything"),
    SAIL_OPT_INT(T, log_every, .def = 1, .min = 1, .max = 1e9, .unit = "steps", .help = "between lines on a plain terminal"),
    SAIL_OPT_INT(T, diagnostics, .min = 0, .max = 1e9, .unit = "steps",
                 .help = "between looks at the terms' gradients, their angles and variance, which cost several backward passes; 0: none"),
    {0},
};
#undef T
#define T sail__eval_section
const sail_opt sail__eval_table[] = {
    SAIL_OPT_INT(T, every, .min = 0, .max = 1e12, .unit = "steps", .help = "0: only before and after"),
    SAIL_OPT_INT(T, pairs, .def = 64, .min = 0, .max = 1e9, .help = "held-out pairs scored"),
    SAIL_OPT_INT(T, generate, .min = 0, .max = 1e9, .help = "held-out prompts answered"),
    SAIL_OPT_BOOL(T, before, .def = 1, .help = "evaluate before the first step too"),
    SAIL_OPT_NODE(T, judge, .flags = SAIL_OPT_SLOT, .unit = "judge", .help = "for the win rate against the reference"),
    SAIL_OPT_INT(T, bootstrap, .def = 1000, .min = 10, .max = 1e6, .help = "resamples of the interval"),
    SAIL_OPT_F64(T, temperature, .def = 1, .min = 0, .max = 100, .help = "of the responses; 0: greedy"),
    SAIL_OPT_F64(T, penalty_alpha, .min = 0, .max = 1, .help = "of contrastive search, which then writes the responses; 0: they are drawn"),
    SAIL_OPT_INT(T, top_k, .def = 4, .min = 1, .max = 64, .help = "candidates of contrastive search"),
    SAIL_OPT_BOOL(T, one_order, .help = "tell the win rate by the convention of SAIL's authors besides: one random order a prompt, ties are losses"),
    SAIL_OPT_NODE(T, models, .flags = SAIL_OPT_PATH, .help = "stage eval: {NAME: model, …}; a list of models under one name: seeds of one method; null: model.path"),
    SAIL_OPT_NODE(T, against, .help = "stage eval: NAME or list of names that the others are compared with"),
    {0},
};
#undef T
#define T sail__generate_section
const sail_opt sail__generate_table[] = {
    SAIL_OPT_NODE(T, prompts, .flags = SAIL_OPT_PATH, .help = "file or list of files, read by data.reader; unset: data.eval, or held out of data.train"),
    SAIL_OPT_INT(T, num, .def = 1, .min = 1, .max = 1024, .help = "responses to each prompt"),
    SAIL_OPT_INT(T, limit, .min = 0, .max = 1e15, .help = "answer at most so many prompts; 0: all"),
    {0},
};
#undef T
#define T sail__tables_section
const sail_opt sail__tables_table[] = {
    SAIL_OPT_NODE(T, make, .help = "stage tables, in Lua: a function, or a list of them, from the run to tables (`sail help lua`)"),
    {0},
};
#undef T
#define T sail__checkpoint_section
const sail_opt sail__checkpoint_table[] = {
    SAIL_OPT_INT(T, every, .min = 0, .max = 1e12, .unit = "steps", .help = "0: only at the end and when stopped"),
    SAIL_OPT_INT(T, keep, .def = 2, .min = 1, .max = 1e6, .help = "newest ones kept; while a run goes on, two healthy ones besides at most, to go back to (guard.rollbacks)"),
    SAIL_OPT_BOOL(T, best, .help = "keep the one with the best evaluation besides"),
    {0},
};
#undef T
#define T sail__guard_section
const sail_opt sail__guard_table[] = {
    SAIL_OPT_F64(T, max_weight, .def = 0.3, .min = 0, .max = 1, .help = "warn when a route's weight is larger"),
    SAIL_OPT_F64(T, max_coef, .def = 0.4, .min = 0, .max = 1e9, .help = "warn when a route's coefficient is larger"),
    SAIL_OPT_BOOL(T, strict, .help = "refuse instead of warning"),
    SAIL_OPT_F64(T, spike, .def = 50, .min = 0, .max = 1e9, .help = "skip a step whose loss lies so many deviations off its running mean; 0: never"),
    SAIL_OPT_F64(T, max_kl, .def = 3, .min = 0, .max = 1e9, .unit = "nats a token",
                 .help = "how far from the reference what the policy writes may be: a step beyond is a bad one, like those that are skipped, and an "
                         "evaluation beyond takes the run back at once; 0: no bound"),
    SAIL_OPT_INT(T, halve, .def = 3, .min = 0, .max = 1e9, .unit = "steps", .help = "halve the routes' coefficients after so many bad ones; 0: never"),
    SAIL_OPT_INT(T, recover, .def = 20, .min = 1, .max = 1e9, .unit = "steps",
                 .help = "good ones in a row after which bad ones are forgotten, and halved coefficients double"),
    SAIL_OPT_INT(T, skips, .def = 10, .min = 1, .max = 1e9, .unit = "steps",
                 .help = "bad ones in a row after which the run goes back to the last healthy checkpoint and passes over the data since"),
    SAIL_OPT_INT(T, rollbacks, .def = 2, .min = 0, .max = 1e9, .help = "stop instead after going back so often, or where there is no checkpoint"),
    SAIL_OPT_F64(T, chosen_fall, .def = 0.5, .min = 0, .max = 1e9, .unit = "nats a token",
                 .help = "warn when the data's chosen responses have become so much less likely without a rise; 0: never"),
    SAIL_OPT_F64(T, length_drift, .def = 2, .min = 1, .max = 1e9,
                 .help = "warn when the policy writes so many times as long, or as short, as at first; 1: never"),
    SAIL_OPT_INT(T, equal, .def = 25, .min = 0, .max = 1e9, .unit = "steps",
                 .help = "warn when a reward model's vectors (preference general) have been next to equal for so many, which they do not leave; 0: never"),
    {0},
};
#undef T

const sail__section sail__sections[] = {
    {"model", sail__model_table, offsetof(sail__stage, model), "which weights, where they run, what is trained"},
    {"data", sail__data_table, offsetof(sail__stage, data), "prompts and pairs"},
    {"rollout", sail__rollout_table, offsetof(sail__stage, rollout), "how the policy writes responses"},
    {"method", sail__method_table, offsetof(sail__stage, method), "objective, preference model, routes, judge"},
    {"train", sail__train_table, offsetof(sail__stage, train), "steps, batch, optimiser"},
    {"eval", sail__eval_table, offsetof(sail__stage, eval), "what is measured on held-out data"},
    {"generate", sail__generate_table, offsetof(sail__stage, generate), "stage generate: which prompts are answered"},
    {"tables", sail__tables_table, offsetof(sail__stage, tables), "stage tables: what is told of the stages before"},
    {"checkpoint", sail__checkpoint_table, offsetof(sail__stage, checkpoint), "when to save"},
    {"guard", sail__guard_table, offsetof(sail__stage, guard), "what is done about steps that go wrong"},
    {0},
};

const char *const sail__stage_names[] = {"sft", "align", "reward", "eval", "generate", "tables", "report", NULL};
static const char *const other_keys[] = {"name", "title", "seed", "runs", "stage", "plugins", "on", "extends", "source", NULL};

typedef struct schedules {
    int64_t step;
    sail__call_schedule call;
    void *user;
} schedules;

static double value_at(void *user, const sail_node *n, sail_err *err)
{
    const schedules *s = user;
    if (n->kind == SAIL_NODE_FUNCTION) {
        if (!s->call) {
            sail_fail(err, SAIL_E_RECIPE, "a function can be a schedule in a Lua recipe only");
            return 0;
        }
        return s->call(s->user, n->function, s->step, err);
    }
    return sail__schedule_value(n, s->step, err);
}

typedef struct parser {
    sail_ctx *ctx;
    sail_arena *arena;
    schedules *schedules;
    sail_problems *problems;
    bool ok;
} parser;

/* A plugin slot; unset, the table's default name (NULL: none). */
static void slot(parser *p, sail_kind kind, const sail_node *node, const char *def, const char *path, sail_slot *out)
{
    memset(out, 0, sizeof *out);
    if (!node && def)
        node = sail__node_string(p->arena, def, "default");
    if (!node || node->kind == SAIL_NODE_NULL || node->kind == SAIL_NODE_FUNCTION)
        return; /* a function is resolved by lua/ before this, into a registered plugin's name */
    if (!sail__slot_parse(p->ctx, p->arena, kind, node, path, value_at, p->schedules, out, p->problems))
        p->ok = false;
}

static bool known_key(const char *key)
{
    for (const sail__section *s = sail__sections; s->name; s++)
        if (sail__name_equal(s->name, key))
            return true;
    for (const char *const *o = other_keys; *o; o++)
        if (sail__name_equal(*o, key))
            return true;
    return false;
}

static void unknown_keys(parser *p, const sail_node *node)
{
    const char *names[32];
    size_t n = 0;
    for (const sail__section *s = sail__sections; s->name; s++)
        names[n++] = s->name;
    for (const char *const *o = other_keys; *o; o++)
        names[n++] = *o;
    for (size_t i = 0; i < node->list.n; i++) {
        if (known_key(node->list.keys[i]))
            continue;
        const char *near = sail__nearest(node->list.keys[i], names, n);
        sail__problem(p->problems, node->list.items[i], node->list.keys[i], "no such section%s%s%s", near ? "; did you mean `" : "",
                      near ? near : "", near ? "`?" : "");
        p->ok = false;
    }
}

/* A route's options, with what its name says of them. */
static bool route(parser *p, const char *name, const sail_node *given, route_section *out)
{
    static const struct {
        const char *name;
        int writer, labeller;
        double coef;
    } known[] = {{"ddp", SAIL_BY_DATA, SAIL_BY_POLICY, 0.2}, {"dpp", SAIL_BY_POLICY, SAIL_BY_POLICY, 0.2}, {"dpr", SAIL_BY_POLICY, SAIL_BY_JUDGE, 0.3}};
    enum { WRITER, LABELLER, WEIGHT, COEF, ROWS };
    sail_opt table[ROWS + 1];
    memcpy(table, sail__route_table, sizeof table);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (sail__name_equal(name, known[i].name)) {
            table[WRITER].flags = table[LABELLER].flags = 0;
            table[WRITER].def = known[i].writer;
            table[LABELLER].def = known[i].labeller;
            table[COEF].def = known[i].coef;
        }
    const sail_node *map = given;
    if (given->kind != SAIL_NODE_MAP || sail__schedule_is(given)) { /* dpp: 0.3 is short for its weight */
        sail_node *m = sail__node_new(p->arena, SAIL_NODE_MAP, given->origin, given->line, given->column);
        map = m && sail__node_set(p->arena, m, "weight", (sail_node *)given) ? m : NULL;
    }
    const char *path = sail__arena_printf(p->arena, "method.routes.%s", name);
    return map && path && sail__opt_parse(table, map, path, NULL, value_at, p->schedules, out, p->problems);
}

/* method.routes: what the weights leave is offline, and comes first. */
static bool routes(parser *p, const sail_node *n, sail__stage *s)
{
    double sum = 0;
    if (n->kind != SAIL_NODE_MAP) {
        sail__problem(p->problems, n, "method.routes", "must be a map such as {dpp: {weight: 0.3, coef: 0.2}}");
        return false;
    }
    s->n_routes = 1;
    for (size_t i = 0; i < n->list.n; i++) {
        const char *name = n->list.keys[i];
        const sail_node *given = n->list.items[i];
        route_section r = {0};
        if (given->kind == SAIL_NODE_NULL) /* taken back from what was extended */
            continue;
        if (sail__name_equal(name, "offline")) {
            sail__problem(p->problems, given, "method.routes.offline", "is what the other weights leave: give theirs only");
            return false;
        }
        if (s->n_routes == SAIL_MAX_ROUTES) {
            sail__problem(p->problems, given, "method.routes", "has more than %d routes", SAIL_MAX_ROUTES - 1);
            return false;
        }
        if (!route(p, name, given, &r))
            return false;
        if (r.writer == SAIL_BY_POLICY && r.labeller == SAIL_BY_DATA) {
            sail__problem(p->problems, given, sail__arena_printf(p->arena, "method.routes.%s", name),
                          "the data has no label for what the policy writes: labeller: policy, or judge");
            return false;
        }
        s->routes[s->n_routes++] = (sail_route){name, r.weight, r.writer, r.labeller, r.coef};
        sum += r.weight;
    }
    if (sum > 1 + 1e-9) {
        sail__problem(p->problems, n, "method.routes", "the weights sum to %.9g; together they are at most 1, and what they leave is offline", sum);
        return false;
    }
    s->routes[0] = (sail_route){"offline", sum > 1 ? 0 : 1 - sum, SAIL_BY_DATA, SAIL_BY_DATA, 0};
    return true;
}

static bool takes(const sail_opt *rows, const char *name)
{
    for (; rows && rows->name; rows++)
        if (sail__name_equal(rows->name, name))
            return true;
    return false;
}

/* model.threads is short for model.backend.threads, where the backend has that option and does not say it itself. */
static const sail_node *with_threads(parser *p, const sail__model_section *m, const sail_slot *backend)
{
    const sail_node *n = m->backend;
    bool map = n && n->kind == SAIL_NODE_MAP;
    if (!p->ok || m->threads == 0 || !backend->loaded || !takes(backend->loaded->plugin.opts, "threads") || (map && sail__node_get(n, "threads")))
        return NULL;
    sail_node *out = map ? sail__node_copy(p->arena, n) : sail__node_new(p->arena, SAIL_NODE_MAP, "model.threads", 0, 0);
    sail_node *threads = sail__node_new(p->arena, SAIL_NODE_INT, "model.threads", 0, 0);
    if (!out || !threads || (!map && !sail__node_set(p->arena, out, "kind", sail__node_string(p->arena, backend->loaded->plugin.name, "model.threads"))))
        return NULL;
    threads->integer = m->threads;
    return sail__node_set(p->arena, out, "threads", threads) ? out : NULL;
}

/* Where the policy's implicit reward is compared the preference model must be one of single numbers. */
static void one_number(parser *p, const sail__stage *s)
{
    if (s->kind != SAIL__ALIGN || !s->preference.loaded)
        return;
    const sail_preference_model m = sail__stage_preference(s);
    const int width = sail_preference_width(&m);
    if (width == 1)
        return;
    sail__problem(p->problems, s->method.preference, "method.preference",
                  "%s compares vectors of %d numbers, and the implicit reward is one number: choose bradley_terry, thurstone, plackett_luce, …; "
                  "%s is for reward models with a head of %d and for judges", m.name, width, m.name, width);
    p->ok = false;
}

static double weight_at(parser *p, const sail_node *list, size_t i)
{
    const char *path = sail__arena_printf(p->arena, "method.loss_weights[%zu]", i);
    const sail_node *n = list->list.items[i];
    sail_err err = {0};
    double w = 1;
    if (n->kind == SAIL_NODE_MAP || n->kind == SAIL_NODE_FUNCTION)
        w = value_at(p->schedules, n, &err);
    else
        (void)!sail__node_as_double(n, path ? path : "", &w, &err);
    if (err.code == SAIL_OK && !isfinite(w))
        (void)!sail_fail(&err, SAIL_E_OPTION, "must be a finite number");
    if (err.code != SAIL_OK) {
        sail__problem_of(p->problems, n, path ? path : "", &err);
        p->ok = false;
    }
    return w;
}

/* One objective or a list of them, weighted; and what the recipe changes about any. */
static void objectives(parser *p, sail__stage *s, const char *usual)
{
    const sail_node *n = s->method.objective, *weights = s->method.loss_weights;
    const bool list = n && n->kind == SAIL_NODE_LIST;
    const size_t count = list ? n->list.n : 1;
    sail_slot *slots = sail__arena_array(p->arena, count + 1, sizeof *slots);
    sail__objective_part *parts = sail__arena_array(p->arena, count + 1, sizeof *parts);
    const sail__modifiers m = {.divergence = s->method.f_divergence_type, .f_alpha = s->method.f_alpha_divergence_coef,
                               .length = s->method.ld_alpha != 1, .ld_alpha = s->method.ld_alpha, .weighting = s->method.use_weighting};
    s->modifiers = m;
    if (m.divergence != SAIL__ALPHA_DIVERGENCE && m.f_alpha != F_ALPHA_USUAL) {
        sail__problem(p->problems, sail__node_get(sail__node_get(s->node, "method"), "f_alpha_divergence_coef"), "method.f_alpha_divergence_coef",
                      "is for f_divergence_type: alpha_divergence, and that is %s: set the one, or leave the other out", sail__divergences[m.divergence]);
        p->ok = false;
    }
    if (!slots || !parts || count == 0) {
        if (slots && parts)
            sail__problem(p->problems, n, "method.objective", "is an empty list: name at least one objective");
        p->ok = false;
        return;
    }
    if (weights && (weights->kind != SAIL_NODE_LIST || weights->list.n != count)) {
        sail__problem(p->problems, weights, "method.loss_weights", "must be a list of %zu number%s, one for each objective", count, count == 1 ? "" : "s");
        p->ok = false;
        return;
    }
    const bool ok = p->ok;
    bool some = !weights;
    for (size_t i = 0; i < count; i++) {
        const char *path = list ? sail__arena_printf(p->arena, "method.objective[%zu]", i) : "method.objective";
        slot(p, SAIL_KIND_OBJECTIVE, list ? n->list.items[i] : n, usual, path ? path : "method.objective", &slots[i]);
        parts[i] = (sail__objective_part){&slots[i], weights ? weight_at(p, weights, i) : 1};
        some = some || parts[i].weight != 0 || weights->list.items[i]->kind == SAIL_NODE_MAP ||
               weights->list.items[i]->kind == SAIL_NODE_FUNCTION;
        if (!slots[i].loaded) {
            p->ok = false;
            return;
        }
    }
    if (!some) {
        sail__problem(p->problems, weights, "method.loss_weights", "are all 0: nothing would be learned");
        p->ok = false;
    }
    s->given_objective = s->objective = slots[0];
    if ((count > 1 || weights || m.divergence || m.length || m.weighting) && (p->ok || !ok) &&
        !sail__combine(p->arena, parts, count, &m, "method.objective", n, &s->objective, p->problems))
        p->ok = false;
}

static void share(parser *p, const sail__data_section *d)
{
    sail__data_options ignored;
    sail_err err;
    if (sail__data_share(d->share, &ignored, &err) == SAIL_OK)
        return;
    sail__problem(p->problems, d->share, "data.share", "%s", err.message);
    p->ok = false;
}

static void slots(parser *p, sail__stage *s)
{
    slot(p, SAIL_KIND_BACKEND, s->model.backend, "cpu", "model.backend", &s->backend);
    const sail_node *backend = with_threads(p, &s->model, &s->backend);
    if (backend)
        slot(p, SAIL_KIND_BACKEND, backend, "cpu", "model.backend", &s->backend);
    if (s->kind == SAIL__REPORT || s->kind == SAIL__TABLES)
        return;
    share(p, &s->data);
    slot(p, SAIL_KIND_DATASET, s->data.reader, s->kind == SAIL__SFT ? "sft" : s->kind == SAIL__GENERATE && s->generate.prompts ? "prompts" : "preference", "data.reader", &s->reader);
    slot(p, SAIL_KIND_JUDGE, s->eval.judge, NULL, "eval.judge", &s->eval_judge);
    slot(p, SAIL_KIND_PREFERENCE, s->method.preference, "bradley_terry", "method.preference", &s->preference);
    if (!sail__stage_trains(s->kind))
        return;
    slot(p, SAIL_KIND_OPTIMIZER, s->train.optimizer, "adamw", "train.optimizer", &s->optimizer);
    const char *usual = s->kind == SAIL__SFT ? "sft" : s->kind == SAIL__REWARD ? "reward" : "sail";
    one_number(p, s);
    objectives(p, s, usual);
    if (s->kind != SAIL__ALIGN)
        return;
    if (s->method.routes && s->method.routes->kind != SAIL_NODE_NULL && !routes(p, s->method.routes, s))
        p->ok = false;
    slot(p, SAIL_KIND_STRATEGY, s->method.strategy, NULL, "method.strategy", &s->strategy);
    const sail_strategy *strategy = s->strategy.loaded ? s->strategy.loaded->ops : NULL;
    if (strategy && strategy->routes && s->n_routes) {
        sail__problem(p->problems, s->method.routes, "method.routes", "strategy %s has routes of its own: give one or the other",
                      s->strategy.loaded->plugin.name);
        p->ok = false;
    }
    slot(p, SAIL_KIND_JUDGE, s->method.judge, NULL, "method.judge", &s->judge);
}

static void adapter(parser *p, sail__stage *s)
{
    const sail_node *n = s->model.adapter;
    s->has_adapter = n && n->kind != SAIL_NODE_NULL;
    if (!s->has_adapter)
        return;
    static const char *const ignore[] = {"kind", NULL};
    const sail_node *kind = n->kind == SAIL_NODE_MAP ? sail__node_get(n, "kind") : n;
    if (!kind || kind->kind != SAIL_NODE_STRING || strcmp(kind->string.data, "lora") != 0) {
        sail__problem(p->problems, n, "model.adapter.kind", "must be `lora`");
        p->ok = false;
        return;
    }
    if (!sail__opt_parse(sail__adapter_table, n->kind == SAIL_NODE_MAP ? n : NULL, "model.adapter", ignore, value_at, p->schedules,
                         &s->adapter, p->problems))
        p->ok = false;
}

bool sail__init_parse(const sail_node *init, sail__init_section *o, sail_problems *problems)
{
    if (!sail__opt_parse(init_table, init, "model.init", NULL, NULL, NULL, o, problems))
        return false;
    if (o->width % o->heads == 0 && (o->width / o->heads) % 2 == 0 && (!o->kv_heads || o->heads % o->kv_heads == 0))
        return true;
    sail__problem(problems, init, "model.init", "width %lld must divide into %lld heads of even size, and kv_heads must divide heads",
                  (long long)o->width, (long long)o->heads);
    return false;
}

bool sail__stage_parse(sail_ctx *ctx, sail_arena *a, sail__stage_kind kind, const sail_node *node, int64_t step,
                       sail__call_schedule call, void *user, sail__stage *out, sail_problems *problems)
{
    schedules sch = {step, call, user};
    parser p = {ctx, a, &sch, problems, true};
    memset(out, 0, sizeof *out);
    out->kind = kind;
    out->node = node;
    out->name = sail__stage_names[kind];
    if (node->kind != SAIL_NODE_MAP) {
        sail__problem(problems, node, "", "a stage must be a map of sections");
        return false;
    }
    unknown_keys(&p, node);
    for (const sail__section *s = sail__sections; s->name; s++) {
        const sail_node *n = sail__node_get(node, s->name);
        if (n && n->kind != SAIL_NODE_MAP && n->kind != SAIL_NODE_NULL) {
            sail__problem(problems, n, s->name, "must be a map");
            p.ok = false;
            n = NULL;
        }
        if (!sail__opt_parse(s->options, n && n->kind == SAIL_NODE_MAP ? n : NULL, s->name, NULL, value_at, &sch,
                             (char *)out + s->offset, problems))
            p.ok = false;
    }
    sail_err err = {0};
    int64_t seed = 0;
    const sail_node *seed_node = sail__node_get(node, "seed");
    if (seed_node && sail__node_as_int(seed_node, "seed", &seed, &err) != SAIL_OK) {
        sail__problem_of(problems, seed_node, "seed", &err);
        p.ok = false;
    }
    out->seed = (uint64_t)seed;
    adapter(&p, out);
    sail__init_section ignored;
    if (out->model.init && out->model.init->kind == SAIL_NODE_MAP && !sail__init_parse(out->model.init, &ignored, problems))
        p.ok = false;
    slots(&p, out);
    return p.ok && !sail__problems_oom(problems) && !sail__arena_oom(a);
}

static bool scheduled(const sail_node *n)
{
    if (!n)
        return false;
    if (n->kind == SAIL_NODE_FUNCTION)
        return true;
    if (n->kind != SAIL_NODE_MAP && n->kind != SAIL_NODE_LIST)
        return false;
    if (n->kind == SAIL_NODE_MAP && sail__schedule_is(n))
        return true;
    for (size_t i = 0; i < n->list.n; i++)
        if (scheduled(n->list.items[i]))
            return true;
    return false;
}

bool sail__stage_is_scheduled(const sail__stage *s) { return scheduled(s->node); }
