/* run.c - a run on disk, and its stages in order. */
#include "run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../align/compare.h"
#include "../align/responses.h"
#include "../io/report.h"
#include "recipe_internal.h"

char *sail__run_dir(const sail__recipe *r) { return sail__path_join(r->arena, r->runs ? r->runs : "runs", r->name); }

/* ---- models of earlier stages ---- */

static const sail__stage *stage_named(const sail__recipe *r, const char *name)
{
    for (size_t i = 0; i < r->n_stages; i++)
        if (sail__name_equal(r->stages[i].name, name))
            return &r->stages[i];
    return NULL;
}

sail_code sail__run_resolve(const sail__recipe *r, const char *run_dir, sail__model_section *m, sail_arena *a, sail_err *err)
{
    bool continued = false; /* a later stage's adapter began with this one's and holds all of it */
    for (int depth = 0; m->path && m->path[0] == '@'; depth++) {
        const sail__stage *s = stage_named(r, m->path + 1);
        if (!s || depth > 64)
            return sail_fail(err, SAIL_E_RECIPE, "model.path: the recipe has no stage `%s`", m->path + 1);
        char *out = sail__path_join(a, sail__path_join(a, run_dir, s->name), "output");
        if (!sail__is_dir(out))
            return sail_fail(err, SAIL_E_STATE, "model.path: stage `%s` has no output yet (%s)", s->name, out);
        if (!sail__file_exists(sail__path_join(a, out, "adapter_config.json"))) {
            m->path = out;
            if (!m->tokenizer && s->model.tokenizer)
                m->tokenizer = s->model.tokenizer;
            continue;
        }
        if (m->adapter_path && !continued)
            return sail_fail(err, SAIL_E_RECIPE, "model.adapter_path: stage `%s` gives an adapter already", s->name);
        m->adapter_path = continued ? m->adapter_path : out;
        continued = true;
        m->path = s->model.path;
    }
    return SAIL_OK;
}

/* What of an earlier stage a judge's option names; NULL: nothing. */
static const char *named_stage(const sail_node *judge, const char *option)
{
    const sail_node *at = judge && judge->kind == SAIL_NODE_MAP ? sail__node_get(judge, option) : NULL;
    return at && at->kind == SAIL_NODE_STRING && at->string.data[0] == '@' ? at->string.data : NULL;
}

/* Give a judge an option, where it has none or `over` is set; *node: the stage with what judges were given so far. NULL: nothing to give. */
static sail_code give(const sail__recipe *r, const sail__stage *s, sail_node **node, const char *judge, const char *option, const char *text, bool over,
                      sail_err *err)
{
    const char *key = sail__arena_printf(r->arena, "%s.%s", judge, option);
    *node = *node ? *node : sail__node_copy(r->arena, s->node);
    if (!text || (key && *node && !over && sail__node_find(*node, key)))
        return SAIL_OK;
    sail_node *value = key && *node ? sail__node_string(r->arena, text, judge) : NULL;
    return value ? sail__node_put(r->arena, *node, key, value, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

/* A policy that a stage made reads as it did in the stage, and is measured from what the stage began with (of an adapter on nothing else: the
 * model without it). */
static sail_code as_in_stage(const sail__recipe *r, const char *dir, const sail__stage *s, sail_node **node, const char *judge, const char *stage,
                             bool adapter, sail_err *err)
{
    const sail__stage *from = stage_named(r, stage);
    sail__model_section m = from ? from->model : (sail__model_section){0};
    SAIL_TRY(give(r, s, node, judge, "template", m.template_name, false, err));
    SAIL_TRY(give(r, s, node, judge, "system", m.system, false, err));
    SAIL_TRY(sail__run_resolve(r, dir, &m, r->arena, err));
    return give(r, s, node, judge, "reference", adapter ? m.adapter_path : m.path, false, err);
}

/* A judge that is the model of an earlier stage: `path: "@reward"` becomes where it is, with the adapter, the tokenizer and the reference that
 * go with it. */
static sail_code judge_paths(const sail__recipe *r, const char *dir, sail__stage *s, sail_err *err)
{
    static const char *const judges[] = {"method.judge", "eval.judge"};
    sail_node *node = NULL;
    for (int i = 0; i < 2; i++) {
        const sail_slot *slot = i ? &s->eval_judge : &s->judge;
        const sail_node *judge = sail__node_find(s->node, judges[i]);
        const char *path = named_stage(judge, "path"), *reference = named_stage(judge, "reference");
        sail__model_section m = {.path = path}, from = {.path = reference};
        if (sail__run_resolve(r, dir, &m, r->arena, err) != SAIL_OK || sail__run_resolve(r, dir, &from, r->arena, err) != SAIL_OK)
            return sail_fail_in(err, "%s", judges[i]);
        if (path) {
            SAIL_TRY(give(r, s, &node, judges[i], "path", m.path, true, err));
            SAIL_TRY(give(r, s, &node, judges[i], "adapter", m.adapter_path, false, err));
            SAIL_TRY(give(r, s, &node, judges[i], "tokenizer", m.tokenizer, false, err));
        }
        if (reference)
            SAIL_TRY(give(r, s, &node, judges[i], "reference", from.adapter_path ? from.adapter_path : from.path, true, err));
        if (path && slot->loaded && sail__name_equal(slot->loaded->plugin.name, "policy"))
            SAIL_TRY(as_in_stage(r, dir, s, &node, judges[i], path + 1, m.adapter_path != NULL, err));
    }
    if (!node)
        return SAIL_OK;
    sail_problems problems = {.arena = r->arena};
    const char *name = s->name;
    if (!sail__stage_parse(r->ctx, r->arena, s->kind, node, 0, r->hooks.call_schedule, r->hooks.user, s, &problems))
        return sail__problems_fail(&problems, SAIL_E_RECIPE, err);
    s->name = name;
    return SAIL_OK;
}

/* ---- the directory ---- */

static sail_code write_text(const char *path, const sail_buf *b, sail_err *err)
{
    return b->oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory writing %s", path) : sail__file_write(path, b->data ? b->data : "", b->len, err);
}

static bool is_lua(const char *path)
{
    size_t n = path ? strlen(path) : 0;
    return n > 4 && strcmp(path + n - 4, ".lua") == 0;
}

static sail_code file_hash(const char *path, char hex[33], sail_err *err)
{
    char *data;
    size_t size;
    SAIL_TRY(sail__file_read(path, 64u << 20, &data, &size, err));
    sail__hash_hex(data, size, hex);
    sail__free(data);
    return SAIL_OK;
}

static sail_code keep_source(const sail__recipe *r, const char *dir, sail__store *store, sail_err *err)
{
    char *data, hex[33];
    size_t size;
    SAIL_TRY(sail__file_read(r->path, 64u << 20, &data, &size, err));
    sail__hash_hex(data, size, hex);
    sail_code code = sail__file_write(sail__path_join(r->arena, dir, is_lua(r->path) ? "recipe.lua" : "recipe.yaml"), data, size, err);
    sail__free(data);
    SAIL_TRY(code);
    char *full = realpath(r->path, NULL);
    code = sail__store_set_info(store, "recipe", full ? full : r->path, err);
    free(full);
    SAIL_TRY(code);
    return sail__store_set_info(store, "recipe_hash", hex, err);
}

/* What a resumed run must know: the resolved recipe, and how it was given. */
static sail_code describe(const sail__run_options *o, const char *dir, sail__store *store, sail_err *err)
{
    const sail__recipe *r = o->recipe;
    sail_arena *a = r->arena;
    sail_buf text = {0};
    sail__recipe_print(r, true, &text);
    sail_code code = write_text(sail__path_join(a, dir, "recipe.resolved.yaml"), &text, err);
    sail__buf_free(&text);
    SAIL_TRY(code);
    char cwd[4096];
    if (!getcwd(cwd, sizeof cwd))
        return sail_fail(err, SAIL_E_IO, "cannot tell the working directory: %s", strerror(errno));
    SAIL_TRY(sail__store_set_info(store, "name", r->name, err));
    if (r->title)
        SAIL_TRY(sail__store_set_info(store, "title", r->title, err));
    char now[40];
    const time_t t = (time_t)sail__wall_time();
    struct tm utc;
    if (gmtime_r(&t, &utc) && strftime(now, sizeof now, "%Y-%m-%d %H:%M UTC", &utc))
        SAIL_TRY(sail__store_set_info(store, "began", now, err));
    SAIL_TRY(sail__store_set_info(store, "version", SAIL_VERSION, err));
    sail_node *list = sail__node_new(a, SAIL_NODE_LIST, "run", 0, 0);
    for (size_t i = 0; list && i < o->n_overrides; i++)
        sail__node_append(a, list, sail__node_string(a, o->overrides[i], "command line"));
    if (list)
        sail__node_to_json(&text, list);
    code = sail__store_set_info(store, "overrides", text.data ? text.data : "[]", err);
    sail__buf_free(&text);
    SAIL_TRY(code);
    if (r->path)
        SAIL_TRY(keep_source(r, dir, store, err));
    return sail__store_set_info(store, "directory", cwd, err); /* last: a run without it was stopped before it began */
}

/* Does any text in the node name something in the directory? */
static const char *names_inside(const sail_node *n, const char *dir)
{
    if (n && n->kind == SAIL_NODE_STRING) {
        const size_t len = strlen(dir);
        char *full = realpath(n->string.data, NULL);
        const bool inside = full && !strncmp(full, dir, len) && (full[len] == '/' || !full[len]);
        free(full);
        return inside ? n->string.data : NULL;
    }
    const char *found = NULL;
    for (size_t i = 0; n && (n->kind == SAIL_NODE_MAP || n->kind == SAIL_NODE_LIST) && i < n->list.n && !found; i++)
        found = names_inside(n->list.items[i], dir);
    return found;
}

/* What a run is made from does not go with the run that it replaces. */
static sail_code keep_inputs(const sail__recipe *r, const char *dir, sail_err *err)
{
    char *full = realpath(dir, NULL);
    sail_code code = SAIL_OK;
    for (size_t i = 0; full && i < r->n_stages && !code; i++) {
        const sail__stage *s = &r->stages[i];
        const char *const texts[] = {s->model.path, s->model.adapter_path, s->model.tokenizer};
        const sail_node *const nodes[] = {s->data.train, s->data.eval,   s->method.judge,
                                          s->eval.judge, s->eval.models, s->generate.prompts};
        const char *found = NULL;
        for (size_t k = 0; k < sizeof texts / sizeof *texts && !found; k++) {
            const sail_node text = {.kind = SAIL_NODE_STRING, .string.data = texts[k]};
            found = texts[k] ? names_inside(&text, full) : NULL;
        }
        for (size_t k = 0; k < sizeof nodes / sizeof *nodes && !found; k++)
            found = names_inside(nodes[k], full);
        if (found)
            code = sail_fail(err, SAIL_E_EXISTS,
                             "stage %s reads %s, which --force would remove with %s: choose another name=", s->name,
                             found, dir);
    }
    free(full);
    return code;
}

/* Remove a run that nobody writes. It is renamed first: killed half way, nothing remains under a run's name that is no run. */
static sail_code remove_run(sail_arena *a, const char *dir, const char *db, sail_err *err)
{
    sail__store *old = NULL;
    sail_err ignored;
    if (sail__file_exists(db)) {
        if (sail__store_open(db, SAIL__STORE_WRITE, &old, &ignored) == SAIL_E_STATE) /* whatever else is wrong with it: it is to go */
            return sail_fail(err, SAIL_E_STATE, "%s is not removed: %s", dir, ignored.message);
        sail__store_close(old);
    }
    const char *parent = sail__path_dir(a, dir), *base = sail__path_base(dir);
    const char *gone = parent ? sail__arena_printf(a, "%s/.removed-%s", parent, base) : NULL;
    if (!gone)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(sail__remove_tree(gone, err));
    if (!sail__is_dir(dir))
        return SAIL_OK;
    if (rename(dir, gone) != 0)
        return sail_fail(err, SAIL_E_IO, "cannot remove %s: %s", dir, strerror(errno));
    return sail__remove_tree(gone, err);
}

static sail_code open_run(const sail__run_options *o, const char *dir, sail__store **store, sail_err *err)
{
    const sail__recipe *r = o->recipe;
    char *db = sail__path_join(r->arena, dir, "run.db");
    if (!db)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    bool there = sail__file_exists(db);
    if (o->resume && !there)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s is no run: it has no run.db", dir);
    if (o->resume)
        return sail__store_open(db, SAIL__STORE_WRITE, store, err);
    bool taken = sail__file_exists(dir) || sail__is_dir(dir);
    if (taken && !o->force)
        return sail_fail(err, SAIL_E_EXISTS, "%s exists: go on with `sail resume %s`, choose another name=, or begin anew with --force", dir, dir);
    if (taken && !there) {
        char **names;
        size_t n;
        SAIL_TRY(sail__list_dir(r->arena, dir, &names, &n, err));
        bool half_made = true; /* killed before run.db was there */
        for (size_t i = 0; i < n; i++)
            half_made = half_made && !strncmp(names[i], "run.db", 6);
        if (!half_made)
            return sail_fail(err, SAIL_E_EXISTS, "%s is no run of sail (it has no run.db): it is not removed", dir);
    }
    sail__recipe_missing(r, o->missing); /* told before the first stage, and before a run that is there is lost */
    if (o->missing->n || sail__problems_oom(o->missing))
        return sail__problems_fail(o->missing, SAIL_E_NOTFOUND, err);
    if (taken) {
        SAIL_TRY(keep_inputs(r, dir, err));
        SAIL_TRY(remove_run(r->arena, dir, db, err));
    }
    SAIL_TRY(sail__make_dirs(dir, err));
    SAIL_TRY(sail__store_open(db, SAIL__STORE_CREATE, store, err));
    return describe(o, dir, *store, err);
}

/* ---- stages ---- */

static sail_code report_stage(const sail__recipe *r, const char *dir, sail_err *err)
{
    const char *runs[] = {dir};
    sail__report_options o = {.format = SAIL__REPORT_HTML, .title = r->title};
    sail_buf page = {0};
    sail_code code = sail__report(runs, 1, &o, &page, err);
    if (code == SAIL_OK)
        code = write_text(sail__path_join(r->arena, dir, "report.html"), &page, err);
    sail__buf_free(&page);
    return code;
}

/* ---- stage eval: models by name, compared ---- */

static sail_code contender(const sail__recipe *r, const char *dir, const sail__stage *s, const char *name, const sail_node *paths,
                           sail__contender *out, sail_err *err)
{
    bool many = paths->kind == SAIL_NODE_LIST;
    size_t n = many ? paths->list.n : 1;
    *out = (sail__contender){.name = name, .n = n, .models = sail__arena_array(r->arena, n + 1, sizeof *out->models)};
    if (!out->models)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (n == 0)
        return sail_fail(err, SAIL_E_RECIPE, "eval.models.%s is an empty list", name);
    for (size_t i = 0; i < n; i++) {
        out->models[i] = s->model;
        out->models[i].adapter_path = NULL;
        out->models[i].adapter = out->models[i].init = NULL;
        const sail_node *path = many ? paths->list.items[i] : paths;
        if (path->kind != SAIL_NODE_NULL) /* null: the stage's own */
            SAIL_TRY(sail__node_as_string(path, name, &out->models[i].path, err));
        SAIL_TRY(sail__run_resolve(r, dir, &out->models[i], r->arena, err));
    }
    return SAIL_OK;
}

/* Marks them, and puts them first, in the order of eval.against: so tables have them. */
static sail_code baselines(const sail__stage *s, sail__contender *c, size_t n, sail_err *err)
{
    const sail_node *node = s->eval.against;
    size_t count = !node ? 0 : node->kind == SAIL_NODE_LIST ? node->list.n : 1, first = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name;
        size_t k = 0;
        SAIL_TRY(sail__node_as_string(node->kind == SAIL_NODE_LIST ? node->list.items[i] : node, "eval.against", &name, err));
        while (k < n && !sail__name_equal(c[k].name, name))
            k++;
        if (k == n)
            return sail_fail(err, SAIL_E_RECIPE, "eval.against: `%s` is not among eval.models", name);
        sail__contender one = c[k];
        if (one.baseline)
            continue;
        one.baseline = true;
        memmove(&c[first + 1], &c[first], (k - first) * sizeof *c);
        c[first++] = one;
    }
    c[0].baseline = c[0].baseline || count == 0;
    return SAIL_OK;
}

/* For reports: which stages are seeds of which method. */
static sail_code tell_models(const sail__recipe *r, const sail__stage *s, const sail_node *models, const sail__contender *c, sail__store *store,
                             sail_err *err)
{
    sail_buf b = {0};
    for (size_t i = 0; i < models->list.n; i++) {
        const sail_node *x = sail__node_get(models, c[i].name);
        bool many = x->kind == SAIL_NODE_LIST;
        sail__buf_str(&b, i ? ", {\"name\": " : "[{\"name\": ");
        sail__json_quote(&b, c[i].name, strlen(c[i].name));
        sail__buf_printf(&b, ", \"baseline\": %s, \"stages\": [", c[i].baseline ? "true" : "false");
        for (size_t k = 0, n = 0; k < (many ? x->list.n : 1); k++) {
            const sail_node *at = many ? x->list.items[k] : x;
            const char *path = at->kind == SAIL_NODE_STRING ? at->string.data : "";
            const sail__stage *from = path[0] == '@' ? stage_named(r, path + 1) : NULL;
            if (!from)
                continue;
            sail__buf_str(&b, n++ ? ", " : "");
            sail__json_quote(&b, from->name, strlen(from->name));
        }
        sail__buf_str(&b, "]}");
    }
    sail__buf_str(&b, "]");
    const char *key = sail__arena_printf(r->arena, "comparison/%s", s->name);
    sail_code code = key && !b.oom ? sail__store_set_info(store, key, b.data, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail__buf_free(&b);
    return code;
}

sail_code sail__stage_output(sail_arena *a, const char *at, const sail__stage_file *files, size_t n, sail_err *err)
{
    char *part = sail__path_join(a, at, "output.part"), *output = sail__path_join(a, at, "output");
    if (!part || !output)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(sail__remove_tree(part, err));
    SAIL_TRY(sail__make_dirs(part, err));
    for (size_t i = 0; i < n; i++)
        SAIL_TRY(write_text(sail__path_join(a, part, files[i].name), files[i].text, err));
    return rename(part, output) == 0 ? SAIL_OK : sail_fail(err, SAIL_E_IO, "%s: %s", output, strerror(errno));
}

/* The output is a file, there as soon as all figures are in the store. */
static sail_code eval_output(const char *at, const sail__metrics *m, sail_err *err)
{
    sail_buf b = {0};
    for (size_t i = 0; i < m->n; i++)
        sail__buf_printf(&b, "%s\n \"%s\": %.17g", i ? "," : "{", m->items[i].name, sail__metric_value(&m->items[i]));
    sail__buf_str(&b, m->n ? "\n}\n" : "{}\n");
    const sail__stage_file file = {"results.json", &b};
    sail_code code = sail__stage_output(m->arena, at, &file, 1, err);
    sail__buf_free(&b);
    return code;
}

static sail_code eval_stage(const sail__run_options *o, const char *dir, const char *at, const sail__stage *s, sail__store *store,
                            sail_err *err)
{
    const sail__recipe *r = o->recipe;
    const sail_node *models = s->eval.models;
    if (!models || models->kind != SAIL_NODE_MAP || models->list.n == 0)
        return sail_fail(err, SAIL_E_RECIPE, "eval.models must be a map of names and models, such as {sft: \"@sft\", dpo: [\"@dpo-1\", \"@dpo-2\"]}");
    sail__contender *c = sail__arena_array(r->arena, models->list.n, sizeof *c);
    if (!c)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < models->list.n; i++)
        SAIL_TRY(contender(r, dir, s, models->list.keys[i], models->list.items[i], &c[i], err));
    SAIL_TRY(baselines(s, c, models->list.n, err));
    SAIL_TRY(tell_models(r, s, models, c, store, err));
    sail__metrics m = {.arena = r->arena};
    sail_code code = sail__compare_models(o->ctx, s, c, models->list.n, store, &m, err);
    if (code == SAIL_OK)
        code = eval_output(at, &m, err);
    if (code == SAIL_OK && o->on_step)
        o->on_step(o->user, 0, 0, &m);
    sail__free(m.items);
    return code;
}

static sail_code run_stage(const sail__run_options *o, const char *dir, const sail__stage *stage, sail__store *store, sail_err *err)
{
    const sail__recipe *r = o->recipe;
    sail__stage s = *stage;
    char *at = sail__path_join(r->arena, dir, s.name);
    if (!at)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (s.kind == SAIL__REPORT)
        return report_stage(r, dir, err);
    SAIL_TRY(sail__make_dirs(at, err));
    if (s.kind == SAIL__TABLES)
        return sail__tables_stage(r, &s, at, store, err);
    SAIL_TRY(judge_paths(r, dir, &s, err));
    if (s.kind == SAIL__EVAL)
        return eval_stage(o, dir, at, &s, store, err);
    SAIL_TRY(sail__run_resolve(r, dir, &s.model, r->arena, err));
    if (sail__stage_trains(s.kind)) {
        sail__train_options t = {.ctx = o->ctx, .stage = &s, .dir = at, .store = store, .hooks = &r->hooks, .on_step = o->on_step, .user = o->user,
                                 .on_profile = o->on_profile};
        return sail__train(&t, err);
    }
    return sail__respond(o->ctx, &s, at, store, err);
}

static bool stage_done(const sail__recipe *r, const char *dir, const sail__stage *s)
{
    return s->kind != SAIL__REPORT && sail__is_dir(sail__path_join(r->arena, sail__path_join(r->arena, dir, s->name), "output"));
}

sail_code sail__run(const sail__run_options *o, bool *finished, sail_err *err)
{
    const sail__recipe *r = o->recipe;
    char *dir = sail__run_dir(r);
    sail__store *store = NULL;
    bool worked = false;
    sail_code code = dir ? open_run(o, dir, &store, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; code == SAIL_OK && i < r->n_stages; i++) {
        const sail__stage *s = &r->stages[i];
        bool done = stage_done(r, dir, s) || (s->kind == SAIL__REPORT && !worked && o->resume);
        if (o->on_stage)
            o->on_stage(o->user, s, i, r->n_stages, done);
        if (done)
            continue;
        worked = true;
        code = run_stage(o, dir, s, store, err);
        if (code != SAIL_OK && code != SAIL_E_CANCEL) {
            sail_err ignored;
            sail__store_add_event(store, s->name, -1, code == SAIL_E_WAIT ? "wait" : "error", err->message, &ignored);
            sail_fail_in(err, "stage %s", s->name);
        }
    }
    sail__store_close(store);
    if (finished)
        *finished = !worked && code == SAIL_OK;
    return code;
}

/* ---- resume ---- */

static sail_code overrides_of(sail_arena *a, const char *json, const char *const **out, size_t *n, sail_err *err)
{
    sail_node *list;
    SAIL_TRY(sail__json_parse(a, json, strlen(json), "run.db", 0, &list, err));
    const char **s = sail__arena_array(a, list->list.n + 1, sizeof *s);
    if (!s)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < list->list.n; i++)
        SAIL_TRY(sail__node_as_string(list->list.items[i], "overrides", &s[i], err));
    *out = s;
    *n = list->list.n;
    return SAIL_OK;
}

static sail_code load_again(sail_ctx *ctx, sail_arena *a, sail__store *store, const char *dir, sail_problems *problems, sail__recipe **out,
                            sail_err *err)
{
    const char *path, *hash, *cwd, *json, *const *overrides = NULL;
    char now[33];
    size_t n = 0;
    SAIL_TRY(sail__store_get_info(store, a, "recipe", &path, err));
    SAIL_TRY(sail__store_get_info(store, a, "recipe_hash", &hash, err));
    SAIL_TRY(sail__store_get_info(store, a, "directory", &cwd, err));
    SAIL_TRY(sail__store_get_info(store, a, "overrides", &json, err));
    char *full = realpath(dir, NULL);
    char *run = full ? sail__arena_strdup(a, full) : NULL;
    free(full);
    if (!cwd)
        return sail_fail(err, SAIL_E_STATE, "%s: the run was stopped before it began; begin anew with `sail run --force`", dir);
    if (!run)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    /* relative paths of the recipe are relative to where the run was begun */
    if (chdir(cwd) != 0)
        return sail_fail(err, SAIL_E_IO, "cannot go to %s, where the run was begun: %s", cwd, strerror(errno));
    if (!is_lua(path)) {
        SAIL_TRY(sail__recipe_load(ctx, sail__path_join(a, run, "recipe.resolved.yaml"), NULL, 0, problems, out, err));
    } else {
        SAIL_TRY(file_hash(path, now, err));
        if (!hash || strcmp(now, hash) != 0)
            return sail_fail(err, SAIL_E_STATE, "%s has changed since the run was begun; its source then is in %s/recipe.lua", path, run);
        SAIL_TRY(overrides_of(a, json ? json : "[]", &overrides, &n, err));
        SAIL_TRY(sail__recipe_load(ctx, path, overrides, n, problems, out, err));
    }
    /* the run is where it is now, whatever it was called */
    (*out)->runs = sail__path_dir((*out)->arena, run);
    (*out)->name = sail__arena_strdup((*out)->arena, sail__path_base(run));
    return (*out)->runs && (*out)->name ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

sail_code sail__run_recipe(sail_ctx *ctx, const char *dir, sail_problems *problems, sail__recipe **out, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    sail__store *store = NULL;
    *out = NULL;
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    char *db = sail__path_join(a, dir, "run.db");
    sail_code code = !db ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__file_exists(db) ? sail__store_open(db, SAIL__STORE_READ, &store, err)
                                           : sail_fail(err, SAIL_E_NOTFOUND, "%s is no run: it has no run.db", dir);
    if (code == SAIL_OK)
        code = load_again(ctx, a, store, dir, problems, out, err);
    sail__store_close(store);
    sail__arena_free(a);
    return code;
}
