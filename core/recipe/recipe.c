/* recipe.c - from a tree to stages: split, merge, parse, and tell all problems at once. */
#include "recipe_internal.h"

#include "../align/routes.h"
#include "../align/schedule.h"

#include <stdlib.h>
#include <string.h>

static bool good_name(const char *s)
{
    if (!*s || *s == '.' || *s == '-' || strlen(s) > 200)
        return false;
    return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")] == '\0';
}

static const char *text_of(const sail_node *map, const char *key, sail_problems *problems)
{
    const sail_node *n = sail__node_get(map, key);
    if (!n || n->kind == SAIL_NODE_NULL)
        return NULL;
    if (n->kind == SAIL_NODE_STRING && n->string.len > 0 && strlen(n->string.data) == n->string.len)
        return n->string.data;
    sail__problem(problems, n, key, "must be text that is not empty");
    return NULL;
}

static const char *name_of(const sail_node *map, sail_problems *problems)
{
    const char *name = text_of(map, "name", problems);
    if (name && !good_name(name)) {
        sail__problem(problems, sail__node_get(map, "name"), "name",
                      "`%s` cannot be a directory's name here: letters, digits, `.`, `-` and `_`, and a letter or digit first "
                      "(`title` is free text)",
                      name);
        return NULL;
    }
    return name;
}

/* Letters of the file's name that a directory may have, without its end. */
static const char *name_of_file(sail_arena *a, const char *path)
{
    char *s = sail__arena_strdup(a, path ? sail__path_base(path) : "run");
    if (!s)
        return "run";
    char *dot = strrchr(s, '.');
    if (dot && dot != s)
        *dot = '\0';
    for (char *c = s; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", *c))
            *c = '_';
    return good_name(s) ? s : "run";
}

/* ---- building ---- */

typedef struct builder {
    sail__recipe *r;
    sail_problems *problems;
    sail__override *overrides;
    size_t n_overrides;
    bool plan;  /* what is absent is no problem */
    bool *used; /* [n_overrides]: of the whole recipe, or of one stage */
    sail_err *err;
} builder;

static sail_code no_memory(builder *b) { return sail_fail(b->err, SAIL_E_NOMEM, "out of memory for the recipe"); }

/* Keys that are not given to every stage. */
static bool is_root_key(const char *key)
{
    if (!strcmp(key, "stage"))
        return true;
    for (const char *const *k = sail__recipe_root_keys; *k; k++)
        if (!strcmp(*k, key))
            return true;
    return false;
}

/* train.optimizer.beta1=… : `optimizer: adamw` in its way becomes {kind: adamw}, and where nothing is said the default is
 * meant. */
static bool open_slot(sail_arena *a, sail_node *section, const sail_opt *row)
{
    sail_node *value = sail__node_get(section, row->name);
    if (!value && row->def_str)
        value = sail__node_string(a, row->def_str, "default");
    if (!value || value->kind != SAIL_NODE_STRING)
        return true;
    sail_node *map = sail__node_new(a, SAIL_NODE_MAP, value->origin, value->line, value->column);
    return map && sail__node_set(a, map, "kind", value) && sail__node_set(a, section, row->name, map);
}

static bool open_slots(sail_arena *a, sail_node *node, const char *key)
{
    for (const sail__section *s = sail__sections; s->name; s++) {
        size_t n = strlen(s->name);
        if (strncmp(key, s->name, n) != 0 || key[n] != '.')
            continue;
        for (const sail_opt *o = s->options; o->name; o++) {
            size_t m = strlen(o->name);
            const char *rest = key + n + 1;
            if (!sail__recipe_has_kind(o) || strncmp(rest, o->name, m) != 0 || rest[m] != '.')
                continue;
            sail_node *section = sail__node_get(node, s->name);
            if (!section) {
                section = sail__node_new(a, SAIL_NODE_MAP, SAIL__COMMAND_LINE, 0, 0);
                if (!section || !sail__node_set(a, node, s->name, section))
                    return false;
            }
            if (section->kind == SAIL_NODE_MAP && !open_slot(a, section, o))
                return false;
        }
    }
    return true;
}

static sail_code put(builder *b, sail_node *node, const char *key, const sail_node *value)
{
    sail_err err = {0};
    sail_node *copy = sail__node_copy(b->r->arena, value);
    if (!copy || !open_slots(b->r->arena, node, key))
        return no_memory(b);
    if (sail__node_put(b->r->arena, node, key, copy, &err) == SAIL_E_NOMEM)
        return no_memory(b);
    if (err.code != SAIL_OK)
        sail__problem_of(b->problems, value, key, &err);
    return SAIL_OK;
}

/* Values of the command line that hold for all stages; or, given a stage's name, those whose key begins with it. */
static sail_code apply(builder *b, sail_node *node, const char *stage)
{
    size_t n = stage ? strlen(stage) : 0;
    for (size_t i = 0; i < b->n_overrides; i++) {
        const char *key = b->overrides[i].key;
        if (stage) {
            if (strncmp(key, stage, n) != 0 || key[n] != '.')
                continue;
            key += n + 1;
        } else if (b->used[i]) {
            continue;
        }
        SAIL_TRY(put(b, node, key, b->overrides[i].value));
    }
    return SAIL_OK;
}

static bool is_section(const char *name)
{
    for (const sail__section *s = sail__sections; s->name; s++)
        if (sail__name_equal(s->name, name))
            return true;
    return false;
}

static bool stage_kind(builder *b, const sail_node *map, sail__stage_kind *out)
{
    const sail_node *n = sail__node_get(map, "stage");
    *out = SAIL__ALIGN;
    if (!n || n->kind == SAIL_NODE_NULL)
        return true;
    for (int k = 0; n->kind == SAIL_NODE_STRING && k < SAIL__STAGE_COUNT; k++)
        if (sail__name_equal(n->string.data, sail__stage_names[k])) {
            *out = (sail__stage_kind)k;
            return true;
        }
    const char *near = n->kind == SAIL_NODE_STRING ? sail__nearest(n->string.data, sail__stage_names, SAIL__STAGE_COUNT) : NULL;
    sail__problem(b->problems, n, "stage", "must be one of sft, align, reward, eval, generate, tables, report%s%s%s",
                  near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    return false;
}

static bool name_taken(const sail__recipe *r, size_t before, const char *name)
{
    for (size_t i = 0; i < before; i++)
        if (sail__name_equal(r->stages[i].name, name))
            return true;
    return false;
}

static const char *stage_name(builder *b, size_t i, const sail_node *own, sail__stage_kind kind)
{
    const char *name = own ? name_of(own, b->problems) : NULL;
    if (name && name_taken(b->r, i, name)) {
        sail__problem(b->problems, sail__node_get(own, "name"), "name", "two stages are called `%s`", name);
        return name;
    }
    const char *base = sail__stage_names[kind];
    for (int k = 2; !name; k++) {
        if (!name_taken(b->r, i, base))
            return base;
        base = sail__arena_printf(b->r->arena, "%s-%d", sail__stage_names[kind], k);
        if (!base)
            return sail__stage_names[kind];
    }
    return name;
}

/* The map of a stage: the recipe's common keys, the stage's own over them, the command line's over both. */
static sail_code stage_node(builder *b, const sail_node *own, const char *name, sail_node **out)
{
    sail_arena *a = b->r->arena;
    sail_node *node = sail__node_copy(a, b->r->root);
    if (!node)
        return no_memory(b);
    for (const char *const *k = sail__recipe_root_keys; *k; k++)
        sail__node_unset(node, *k);
    if (own) {
        if (!sail__recipe_merge(a, node, own))
            return no_memory(b);
        sail__node_unset(node, "name");
        SAIL_TRY(apply(b, node, NULL));
        node->origin = own->origin;
        node->line = own->line;
    }
    SAIL_TRY(is_section(name) ? SAIL_OK : apply(b, node, name));
    if (!sail__recipe_paths(b->r->ctx, a, node, b->problems, &b->r->absent))
        return no_memory(b);
    *out = node;
    return SAIL_OK;
}

/* Which of the key=value begin with a stage's name: they are for that stage alone. */
static void mark_stage_keys(builder *b, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < b->n_overrides && !is_section(name); i++)
        if (!strncmp(b->overrides[i].key, name, n) && b->overrides[i].key[n] == '.')
            b->used[i] = true;
}

/* ---- what a stage cannot do without ---- */

static bool unset(const sail_node *n) { return !n || n->kind == SAIL_NODE_NULL; }

static void check_judge(builder *b, const sail__stage *s)
{
    sail_route routes[SAIL_MAX_ROUTES];
    sail_err ignored;
    int n = 0;
    if (s->judge.loaded || s->kind != SAIL__ALIGN || sail__routes_of(s, 0, routes, &n, &ignored) != SAIL_OK)
        return; /* wrong routes are told when they are used */
    for (int i = 0; i < n; i++)
        if (routes[i].labeller == SAIL_BY_JUDGE && routes[i].probability > 0) {
            const sail_node *at = s->method.routes ? s->method.routes : s->method.strategy ? s->method.strategy : s->node;
            sail__problem(b->problems, at, "method.judge",
                          "is missing: the route `%s` asks a judge for its labels; such as {kind: rule, …}", routes[i].name);
            return;
        }
}

/* A judge may be the model that an earlier stage makes: a reward model's, or for the judge `policy` a language model's. (Not loaded: the stage
 * has no use for one.) */
static void check_judge_model(builder *b, size_t i, const char *key, const sail_slot *slot, const char *option)
{
    const sail_node *judge = sail__node_find(b->r->stages[i].node, key), *path = judge && judge->kind == SAIL_NODE_MAP ? sail__node_get(judge, option) : NULL;
    if (!slot->loaded || !path || path->kind != SAIL_NODE_STRING || path->string.data[0] != '@')
        return;
    const bool policy = sail__name_equal(slot->loaded->plugin.name, "policy");
    for (size_t k = 0; k < i; k++)
        if (sail__name_equal(b->r->stages[k].name, path->string.data + 1)) {
            const sail__stage_kind made = b->r->stages[k].kind;
            if (policy && made != SAIL__SFT && made != SAIL__ALIGN)
                sail__problem(b->problems, path, key, "stage `%s` makes no language model: the %s of the judge policy is the output of `stage: sft` or "
                              "`stage: align`", path->string.data + 1, option);
            else if (!policy && made != SAIL__REWARD)
                sail__problem(b->problems, path, key, "stage `%s` makes no reward model: the path of this judge is the output of a `stage: reward` (a "
                              "language model is for the judge `policy`)", path->string.data + 1);
            return;
        }
    sail__problem(b->problems, path, key, "%s: there is no stage `%s` before this one", option, path->string.data + 1);
}

/* Objectives read log-probabilities, or scores; those in Lua what they find. */
static void check_objective(builder *b, const sail__stage *s)
{
    if (!s->objective.loaded) /* told already, or there was no memory for it */
        return;
    const sail_plugin *o = &s->objective.loaded->plugin;
    const sail_node *at = s->method.objective ? s->method.objective : s->node;
    bool scores = (o->caps & SAIL_CAP_SCORES) != 0;
    if (s->kind == SAIL__REWARD && !scores && !o->self)
        sail__problem(b->problems, at, "method.objective", "`%s` works on a language model's log-probabilities; a reward model is fitted with "
                      "`reward` (the default) or a function of the scores", o->name);
    else if (s->kind == SAIL__ALIGN && scores)
        sail__problem(b->problems, at, "method.objective", "`%s` works on the scores of a reward model: it is for `stage: reward`", o->name);
    if (s->kind != SAIL__REWARD)
        return;
    if (!unset(s->method.routes) || !unset(s->method.strategy) || !unset(s->method.judge))
        sail__problem(b->problems, s->node, "method", "a reward model is fitted to the data's labels: leave routes, strategy and judge out");
    if (s->eval.generate > 0)
        sail__problem(b->problems, s->node, "eval.generate", "a reward model writes nothing: leave it out, or set it to 0");
}

/* A strategy that does nothing but choose, or keep, what the policy writes wants a route on which it writes. */
static void check_strategy(builder *b, const sail__stage *s)
{
    sail_route routes[SAIL_MAX_ROUTES];
    sail_err ignored;
    int n = 0;
    const sail_strategy *ops = s->strategy.loaded ? s->strategy.loaded->ops : NULL;
    if (!ops || ops->routes || ops->prompts || !(s->strategy.loaded->plugin.caps & SAIL_CAP_ONLINE) || sail__routes_of(s, 0, routes, &n, &ignored) != SAIL_OK)
        return;
    for (int i = 0; i < n; i++)
        if (routes[i].writer == SAIL_BY_POLICY) /* its weight may be a schedule that begins at 0 */
            return;
    sail__problem(b->problems, s->method.strategy, "method.strategy", "%s chooses among what the policy writes, and it writes on no route: method.routes such "
                  "as {dpp: 0.3} or {dpr: 0.3}, or leave the strategy out", s->strategy.loaded->plugin.name);
}

/* What the policy writes becomes one ranking, unless pairs are made of it, or a strategy chooses. */
static void check_responses(builder *b, const sail__stage *s)
{
    sail_route routes[SAIL_MAX_ROUTES];
    sail_err ignored;
    int n = 0;
    const sail_preference *model = s->preference.loaded ? s->preference.loaded->ops : NULL;
    const int k = (int)s->rollout.responses;
    if (s->kind == SAIL__ALIGN && s->rollout.rival != SAIL__RIVAL_POLICY && (s->strategy.loaded || s->rollout.pairing == SAIL__PAIR_BEST_WORST))
        sail__problem(b->problems, s->node, "rollout.rival", "with a rival that writes there is nothing to choose from: leave method.strategy out, and "
                      "rollout.pairing: ranking or all");
    if (s->kind == SAIL__ALIGN && s->rollout.pairing != SAIL__PAIR_RANKING && k == 2 && !s->strategy.loaded)
        sail__problem(b->problems, sail__node_find(s->node, "rollout.pairing"), "rollout.pairing", "two responses are one pair: rollout.responses: 3 "
                      "to %d, or leave pairing out", SAIL_MAX_RESPONSES);
    if (s->kind != SAIL__ALIGN || s->rollout.pairing != SAIL__PAIR_RANKING || s->strategy.loaded || !model ||
        model->outcomes(s->preference.options, k) > 0 || sail__routes_of(s, 0, routes, &n, &ignored) != SAIL_OK)
        return;
    for (int i = 0; i < n; i++)
        if (routes[i].writer == SAIL_BY_POLICY) {
            const sail_node *at = sail__node_find(s->node, "rollout.responses");
            sail__problem(b->problems, at ? at : s->node, "rollout.responses",
                          "preference model %s does not rank %d responses: rollout.pairing: all or best_worst, or a model that does, such as "
                          "plackett_luce", s->preference.loaded->plugin.name, k);
            return;
        }
}

/* The model is a path, "@STAGE" for what an earlier stage wrote, or made from nothing. */
static void check_model(builder *b, size_t i)
{
    const sail__stage *s = &b->r->stages[i];
    const sail_node *at = sail__node_find(s->node, "model.path");
    if (!s->model.path && unset(s->model.init))
        sail__problem(b->problems, s->node, "model.path",
                      "is missing: a Hugging Face directory or a GGUF file%s (on the command line: model.path=…)",
                      i ? ", or \"@STAGE\" for the model of an earlier stage" : "");
    else if (s->model.path && *s->model.path == '@' && !name_taken(b->r, i, s->model.path + 1))
        sail__problem(b->problems, at ? at : s->node, "model.path", "there is no stage `%s` before this one", s->model.path + 1);
}

/* A comparison has its models under eval.models. */
static void check_models(builder *b, size_t i)
{
    const sail_node *m = b->r->stages[i].eval.models;
    if (unset(m) || m->kind != SAIL_NODE_MAP || m->list.n == 0) {
        sail__problem(b->problems, unset(m) ? b->r->stages[i].node : m, "eval.models",
                      "must be a map of names and models, such as {sft: \"@sft\", dpo: [\"@dpo-1\", \"@dpo-2\"]}");
        return;
    }
    for (size_t k = 0; k < m->list.n; k++) {
        const sail_node *x = m->list.items[k];
        size_t n = x->kind == SAIL_NODE_LIST ? x->list.n : 1;
        for (size_t j = 0; j < n; j++) {
            const sail_node *at = x->kind == SAIL_NODE_LIST ? x->list.items[j] : x;
            if (at->kind == SAIL_NODE_NULL && b->r->stages[i].model.path)
                continue;
            if (at->kind == SAIL_NODE_NULL)
                sail__problem(b->problems, at, "eval.models", "`%s` is null, which stands for model.path, and that is not set", m->list.keys[k]);
            else if (at->kind != SAIL_NODE_STRING)
                sail__problem(b->problems, at, "eval.models", "`%s` must be a path, \"@STAGE\", null for model.path, or a list of them",
                              m->list.keys[k]);
            else if (at->string.data[0] == '@' && !name_taken(b->r, i, at->string.data + 1))
                sail__problem(b->problems, at, "eval.models", "there is no stage `%s` before this one", at->string.data + 1);
        }
    }
}

static void check_tables(builder *b, const sail__stage *s)
{
    const sail_node *make = s->tables.make;
    const bool list = make && make->kind == SAIL_NODE_LIST;
    bool ok = make && (!list || make->list.n > 0);
    for (size_t i = 0; ok && i < (list ? make->list.n : 1); i++)
        ok = (list ? make->list.items[i] : make)->kind == SAIL_NODE_FUNCTION;
    if (!ok)
        sail__problem(b->problems, make ? make : s->node, "tables.make", "must be a function from the run to tables, or a list of such functions: "
                                                                         "it needs a recipe in Lua (sail help lua)");
}

static void check_schedule(builder *b, const sail__stage *s)
{
    sail__lr_schedule ignored;
    sail_err err = {0};
    if (!unset(s->train.schedule) && sail__lr_parse(s->train.schedule, &ignored, &err) != SAIL_OK)
        sail__problem_of(b->problems, s->train.schedule, "train.schedule", &err);
}

static void check_stage(builder *b, size_t i)
{
    const sail__stage *s = &b->r->stages[i];
    if (s->kind == SAIL__REPORT)
        return;
    if (s->kind == SAIL__TABLES) {
        check_tables(b, s);
        return;
    }
    check_judge_model(b, i, "method.judge", &s->judge, "path");
    check_judge_model(b, i, "method.judge", &s->judge, "reference");
    check_judge_model(b, i, "eval.judge", &s->eval_judge, "path");
    check_judge_model(b, i, "eval.judge", &s->eval_judge, "reference");
    if (s->kind == SAIL__EVAL)
        check_models(b, i);
    else
        check_model(b, i);
    if (s->kind == SAIL__GENERATE && unset(s->generate.prompts) && unset(s->data.eval) && unset(s->data.train))
        sail__problem(b->problems, s->node, "generate.prompts", "is missing: a file of prompts, or a list of files");
    if (!sail__stage_trains(s->kind))
        return;
    check_objective(b, s);
    if (unset(s->data.train))
        sail__problem(b->problems, s->node, "data.train", "is missing: a file or a list of files (on the command line: "
                                                           "data.train=…)");
    if (s->train.steps == 0 && !(s->train.epochs > 0))
        sail__problem(b->problems, s->node, "train.steps", "is missing: give train.steps, or train.epochs");
    check_schedule(b, s);
    check_judge(b, s);
    check_strategy(b, s);
    check_responses(b, s);
}

/* ---- the whole ---- */

static sail_code stages(builder *b)
{
    sail__recipe *r = b->r;
    const sail_node *list = sail__node_get(r->root, "stages");
    if (list && list->kind == SAIL_NODE_NULL)
        list = NULL;
    if (list && (list->kind != SAIL_NODE_LIST || list->list.n == 0)) {
        sail__problem(b->problems, list, "stages", "must be a list of maps such as {stage: sft, …}");
        return SAIL_OK;
    }
    r->n_stages = list ? list->list.n : 1;
    r->stages = sail__arena_array(r->arena, r->n_stages, sizeof *r->stages);
    sail__stage_kind *kinds = sail__arena_array(r->arena, r->n_stages, sizeof *kinds);
    if (!r->stages || !kinds)
        return no_memory(b);
    for (size_t i = 0; i < r->n_stages; i++) {
        const sail_node *own = list ? list->list.items[i] : NULL;
        if (own && own->kind != SAIL_NODE_MAP) {
            sail__problem(b->problems, own, "stages", "each stage must be a map such as {stage: sft, …}");
            return SAIL_OK;
        }
        if (!stage_kind(b, own && sail__node_get(own, "stage") ? own : r->root, &kinds[i]))
            return SAIL_OK;
        r->stages[i].name = stage_name(b, i, own, kinds[i]);
        mark_stage_keys(b, r->stages[i].name);
    }
    SAIL_TRY(apply(b, r->root, NULL));
    for (size_t i = 0; i < r->n_stages; i++) {
        const char *name = r->stages[i].name;
        sail_node *node = NULL;
        SAIL_TRY(stage_node(b, list ? list->list.items[i] : NULL, name, &node));
        size_t before = b->problems->n;
        sail__stage_parse(r->ctx, r->arena, kinds[i], node, 0, r->hooks.call_schedule, r->hooks.user, &r->stages[i],
                          b->problems);
        r->stages[i].name = name;
        if (b->problems->n == before)
            check_stage(b, i);
    }
    return SAIL_OK;
}

static sail_code plugin_paths(builder *b)
{
    sail__recipe *r = b->r;
    sail_node *list = sail__node_get(r->root, "plugins");
    if (!list || list->kind == SAIL_NODE_NULL)
        return SAIL_OK;
    size_t n = list->kind == SAIL_NODE_LIST ? list->list.n : 1;
    for (size_t i = 0; i < n; i++) {
        sail_node *dir = list->kind == SAIL_NODE_LIST ? list->list.items[i] : list;
        if (dir->kind != SAIL_NODE_STRING) {
            sail__problem(b->problems, dir, "plugins", "must be a directory, or a list of directories");
            continue;
        }
        const char *path = sail__recipe_path(r->arena, dir);
        if (!path)
            return no_memory(b);
        dir->string.data = path;
        dir->string.len = strlen(path);
        sail_err err = {0};
        if (sail__plugins_add_path(r->ctx, path, &err) != SAIL_OK)
            sail__problem_of(b->problems, dir, "plugins", &err);
    }
    return SAIL_OK;
}

/* Where a run is to be, what is absent is a problem, which outlives the recipe. */
static void add_absent(builder *b, const sail_problem *absent)
{
    const size_t at = b->problems->n;
    const char *where = sail__arena_strdup(b->problems->arena, absent->where);
    sail__problem(b->problems, NULL, absent->path, "%s", absent->message);
    if (b->problems->n > at && where)
        b->problems->items[at].where = where;
}

static sail_code finish(builder *b)
{
    sail__recipe *r = b->r;
    b->used = sail__arena_array(r->arena, b->n_overrides + 1, sizeof *b->used);
    if (!b->used)
        return no_memory(b);
    /* `stages`, `name` and the like first: what the stages are called decides what a key means. */
    for (size_t i = 0; i < b->n_overrides; i++)
        if (is_root_key(b->overrides[i].key)) {
            SAIL_TRY(put(b, r->root, b->overrides[i].key, b->overrides[i].value));
            b->used[i] = true;
        }
    const sail_node *on = sail__node_get(r->root, "on");
    if (on && on->kind != SAIL_NODE_NULL)
        sail__problem(b->problems, on, "on", "hooks are functions: they need a recipe in Lua (sail help lua)");
    SAIL_TRY(plugin_paths(b));
    const char *name = name_of(r->root, b->problems);
    r->name = name ? name : name_of_file(r->arena, r->path);
    r->title = text_of(r->root, "title", b->problems);
    if (!r->title)
        r->title = r->name;
    const sail_node *runs = sail__node_get(r->root, "runs");
    r->runs = text_of(r->root, "runs", b->problems) ? sail__recipe_path(r->arena, runs) : "runs";
    if (!r->runs)
        return no_memory(b);
    SAIL_TRY(stages(b));
    if (!sail__recipe_paths(r->ctx, r->arena, r->root, NULL, NULL)) /* told of the stages, which may have others in its place */
        return no_memory(b);
    for (size_t i = 0; !b->plan && i < r->absent.n; i++)
        add_absent(b, &r->absent.items[i]);
    if (sail__problems_oom(b->problems) || sail__problems_oom(&r->absent) || sail__arena_oom(r->arena))
        return no_memory(b); /* what was found then says nothing about the recipe */
    sail__problems_sort(b->problems);
    return b->problems->n ? sail__problems_fail(b->problems, SAIL_E_RECIPE, b->err) : SAIL_OK;
}

static sail__recipe *recipe_new(sail_ctx *ctx)
{
    sail_arena *a = sail__arena_new();
    sail__recipe *r = a ? sail__arena_alloc(a, sizeof *r) : NULL;
    if (!r) {
        sail__arena_free(a);
        return NULL;
    }
    r->arena = a;
    r->absent.arena = a;
    r->ctx = ctx;
    return r;
}

static sail_code end(builder *b, sail_code c, sail__recipe **out)
{
    if (c == SAIL_OK)
        *out = b->r;
    else
        sail__recipe_free(b->r);
    return c;
}

static sail_code load(sail_ctx *ctx, const char *path, const char *const *overrides, size_t n_overrides, bool plan,
                      sail_problems *problems, sail__recipe **out, sail_err *err)
{
    *out = NULL;
    builder b = {.r = recipe_new(ctx), .problems = problems, .plan = plan, .err = err};
    if (!b.r || !(b.r->path = sail__arena_strdup(b.r->arena, path))) {
        sail__recipe_free(b.r);
        return no_memory(&b);
    }
    sail_code c = sail__recipe_read(ctx, b.r->arena, path, &b.r->root, &b.r->hooks, problems, err);
    if (c != SAIL_OK)
        return end(&b, c, out);
    b.overrides = sail__overrides_parse(b.r->arena, overrides, n_overrides, &b.n_overrides, problems);
    return end(&b, b.overrides ? finish(&b) : no_memory(&b), out);
}

sail_code sail__recipe_load(sail_ctx *ctx, const char *path, const char *const *overrides, size_t n_overrides,
                            sail_problems *problems, sail__recipe **out, sail_err *err)
{
    return load(ctx, path, overrides, n_overrides, false, problems, out, err);
}

sail_code sail__recipe_plan(sail_ctx *ctx, const char *path, const char *const *overrides, size_t n_overrides,
                            sail_problems *problems, sail__recipe **out, sail_err *err)
{
    return load(ctx, path, overrides, n_overrides, true, problems, out, err);
}

/* Nodes point to the names of their files; a recipe owns its own copies. */
static bool own_origins(sail_arena *a, sail_node *n, const char **last, const char **copy)
{
    if (n->origin != *last) {
        *last = n->origin;
        *copy = sail__arena_strdup(a, n->origin);
    }
    if (!*copy)
        return false;
    n->origin = *copy;
    for (size_t i = 0; (n->kind == SAIL_NODE_MAP || n->kind == SAIL_NODE_LIST) && i < n->list.n; i++)
        if (!own_origins(a, n->list.items[i], last, copy))
            return false;
    return true;
}

sail_code sail__recipe_from_node(sail_ctx *ctx, const sail_node *root, sail_problems *problems, sail__recipe **out,
                                 sail_err *err)
{
    *out = NULL;
    builder b = {.r = recipe_new(ctx), .problems = problems, .err = err};
    const char *last = NULL, *copy = NULL;
    if (!b.r)
        return no_memory(&b);
    if (root->kind != SAIL_NODE_MAP)
        return end(&b, sail_fail(err, SAIL_E_RECIPE, "%s: a recipe must be a map of sections", root->origin), out);
    b.r->root = sail__node_copy(b.r->arena, root);
    if (!b.r->root || !own_origins(b.r->arena, b.r->root, &last, &copy))
        return end(&b, no_memory(&b), out);
    return end(&b, finish(&b), out);
}

void sail__recipe_free(sail__recipe *r)
{
    if (r)
        sail__arena_free(r->arena);
}
