/* import.c - see import.h: reading, going through the keys, writing. */
#include "import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/hub.h"
#include "recipe/recipe.h"

const char *const sail__import_stage_names[] = {"dpo", "kto", "cpo", "orpo", "sft", "reward", NULL};

/* ---- values of the source ---- */

/* YAML in the wild has numbers in quotes, and 1e-6 as other readers' strings. */
static const sail_node *unquoted(sail__import *x, const sail_node *n)
{
    sail_node *plain;
    sail_err ignored = {0};
    if (n->kind != SAIL_NODE_STRING || !n->string.len ||
        sail__yaml_parse(x->c->arena, n->string.data, n->string.len, n->origin, &plain, &ignored) != SAIL_OK ||
        (plain->kind != SAIL_NODE_INT && plain->kind != SAIL_NODE_FLOAT))
        return n;
    plain->line = n->line;
    return plain;
}

const sail_node *sail__import_get(sail__import *x, const char *key)
{
    const sail_node *n = sail__node_get(x->source, key);
    for (size_t i = 0; n && i < x->source->list.n; i++)
        x->asked[i] = x->asked[i] || x->source->list.items[i] == n;
    return n && n->kind != SAIL_NODE_NULL ? unquoted(x, n) : NULL;
}

bool sail__import_off(const sail_node *n)
{
    static const char *const nothing[] = {"", "none", "None", "no", "false", "False", "null"};
    if (!n || n->kind == SAIL_NODE_NULL || (n->kind == SAIL_NODE_BOOL && !n->boolean) || (n->kind == SAIL_NODE_INT && n->integer == 0) ||
        (n->kind == SAIL_NODE_FLOAT && n->number == 0))
        return true;
    if (n->kind == SAIL_NODE_LIST || n->kind == SAIL_NODE_MAP)
        return n->list.n == 0;
    return n->kind == SAIL_NODE_STRING && sail__among(n->string.data, nothing, sizeof nothing / sizeof *nothing);
}

static void wrong(sail__import *x, const char *key, const sail_err *err)
{
    char before[128]; /* FILE:LINE: KEY what */
    snprintf(before, sizeof before, ": %s ", key);
    const char *at = strstr(err->message, before);
    sail__problem(&x->problems, sail__node_get(x->source, key), key, "%s", at ? at + strlen(before) : err->message);
}

double sail__import_number(sail__import *x, const char *key, double without)
{
    sail_err err = {0};
    const sail_node *n = sail__import_get(x, key);
    double v = without;
    if (n && sail__node_as_double(n, key, &v, &err) != SAIL_OK)
        wrong(x, key, &err);
    return v;
}

bool sail__import_flag(sail__import *x, const char *key, bool without)
{
    sail_err err = {0};
    const sail_node *n = sail__import_get(x, key);
    bool v = without;
    if (n && sail__node_as_bool(n, key, &v, &err) != SAIL_OK)
        wrong(x, key, &err);
    return v;
}

const char *sail__import_text(sail__import *x, const char *key, const char *without)
{
    sail_err err = {0};
    const sail_node *n = sail__import_get(x, key);
    const char *v = without;
    if (n && sail__node_as_string(n, key, &v, &err) != SAIL_OK)
        wrong(x, key, &err);
    return v;
}

void sail__import_bad(sail__import *x, const char *key, const char *text, const char *const *names, size_t n)
{
    const sail_node *at = sail__node_get(x->source, key);
    const char *near = sail__nearest(text, names, n);
    sail_buf all = {0};
    for (size_t i = 0; i < n; i++)
        sail__buf_printf(&all, "%s%s", i ? ", " : "", names[i]);
    sail__problem(&x->problems, at, key, "is '%s', which is none of %s%s%s%s", text, all.data ? all.data : "", near ? "; did you mean '" : "",
                  near ? near : "", near ? "'?" : "");
    sail__buf_free(&all);
}

int sail__import_choice(sail__import *x, const char *key, const char *without, const char *const *names, int n)
{
    const char *text = sail__import_text(x, key, without);
    for (int i = 0; i < n; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    sail__import_bad(x, key, text, names, (size_t)n);
    return -1;
}

/* ---- the recipe ---- */

static const char *their_default(const sail__import *x) { return x->from == SAIL__FROM_TRL ? "TRL's default" : "LLaMA-Factory's default"; }

static sail_node *node_at(sail__import *x, const sail_node *at, sail_node_kind kind)
{
    return sail__node_new(x->c->arena, kind, at ? at->origin : their_default(x), at ? at->line : 0, 0);
}

void sail__import_put(sail__import *x, const char *to, const sail_node *value)
{
    sail_err err = {0};
    sail_node *copy = value ? sail__node_copy(x->c->arena, value) : NULL;
    if (!copy || sail__node_put(x->c->arena, x->recipe, to, copy, &err) != SAIL_OK)
        x->problems.oom = true;
}

sail_node *sail__import_string(sail__import *x, const sail_node *at, const char *text)
{
    sail_node *n = text ? node_at(x, at, SAIL_NODE_STRING) : NULL;
    if (n) {
        n->string.data = text;
        n->string.len = strlen(text);
    }
    return n;
}

void sail__import_put_text(sail__import *x, const sail_node *at, const char *to, const char *text)
{
    sail__import_put(x, to, sail__import_string(x, at, text));
}

void sail__import_put_number(sail__import *x, const sail_node *at, const char *to, double value)
{
    const bool whole = fabs(value) < 1e15 && value == (double)(int64_t)value; /* not nan, either */
    sail_node *n = node_at(x, at, whole ? SAIL_NODE_INT : SAIL_NODE_FLOAT);
    if (n && whole)
        n->integer = (int64_t)value;
    else if (n)
        n->number = value;
    sail__import_put(x, to, n);
}

/* For a comment and a message: a key or name may hold what ends a line. */
static const char *one_line(sail__import *x, const char *text)
{
    char *copy = sail__arena_strdup(x->c->arena, text);
    for (char *c = copy; c && *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    return copy;
}

static void note(sail__import *x, const char *key, bool doubt, const char *made)
{
    const sail_node *at = *key ? sail__node_get(x->source, key) : NULL;
    const char *text = one_line(x, made);
    key = one_line(x, key);
    for (size_t i = 0; text && i < x->n_notes; i++)
        if (strcmp(x->notes[i].text, text) == 0) {
            const char *keys = key ? sail__arena_printf(x->c->arena, "%s, %s", x->notes[i].keys, key) : NULL;
            x->notes[i].keys = keys ? keys : x->notes[i].keys;
            return;
        }
    if (x->n_notes == x->cap_notes) {
        const size_t cap = 2 * x->cap_notes + 32;
        sail__import_note *more = sail__arena_array(x->c->arena, cap, sizeof *more);
        if (more && x->n_notes)
            memcpy(more, x->notes, x->n_notes * sizeof *more);
        x->notes = more ? more : x->notes;
        x->cap_notes = more ? cap : x->cap_notes;
    }
    if (!text || !key || x->n_notes == x->cap_notes)
        x->problems.oom = true;
    else
        x->notes[x->n_notes++] = (sail__import_note){key, at ? at->line : 0, text, doubt};
}

void sail__import_say(sail__import *x, const char *key, const char *fmt, ...)
{
    va_list ap;
    char text[1024];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    note(x, key, false, text);
}

/* ---- which program, which of its trainers ---- */

static bool has(const sail__import *x, const char *key) { return sail__node_get(x->source, key) != NULL; }

static void choose_program(sail__import *x)
{
    static const char *const marks[] = {"finetuning_type", "cutoff_len", "pref_loss", "pref_beta", "dataset_dir", "lora_target", "lora_rank", "stage", "template"};
    x->from = SAIL__FROM_TRL;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (has(x, marks[i]))
            x->from = SAIL__FROM_FACTORY;
}

static bool stage_of(const char *word, sail__import_stage *out)
{
    for (int i = 0; i < SAIL__IMPORT_STAGES; i++)
        if (strcmp(word, sail__import_stage_names[i]) == 0) {
            *out = (sail__import_stage)i;
            return true;
        }
    return false;
}

/* LLaMA-Factory says it: `stage`. */
static sail_code their_stage(sail__import *x, sail_err *err)
{
    static const char *const names[] = {"dpo", "kto", "sft", "rm", "pt"};
    static const sail__import_stage stages[] = {SAIL__IMPORT_DPO, SAIL__IMPORT_KTO, SAIL__IMPORT_SFT, SAIL__IMPORT_REWARD, SAIL__IMPORT_SFT};
    enum { NAMES = sizeof names / sizeof *names, PRETRAINING = NAMES - 1 };
    const sail_node *said = sail__node_get(x->source, "stage");
    if (said && said->kind == SAIL_NODE_STRING && strcmp(said->string.data, "ppo") == 0)
        return sail_fail(err, SAIL_E_OPTION, "%s: PPO is not here: for learning from what the model writes under a reward model see recipes/sail-dpr.yaml "
                         "and recipes/variants/rloo.lua", sail__node_where(x->c->arena, said));
    const int i = sail__import_choice(x, "stage", "sft", names, NAMES);
    if (i >= 0)
        x->stage = stages[i];
    if (i == PRETRAINING)
        sail__import_say(x, "stage", "pretraining on plain text is written as sft: rows need a `completion`, and a `prompt` of at least a token");
    return SAIL_OK;
}

/* TRL says it on the command line alone, as a command; the keys of a trainer's own tell. */
static sail_code guess_stage(sail__import *x, sail_err *err)
{
    static const struct {
        const char *key;
        sail__import_stage stage;
    } marks[] = {{"desirable_weight", SAIL__IMPORT_KTO}, {"undesirable_weight", SAIL__IMPORT_KTO}, {"cpo_alpha", SAIL__IMPORT_CPO},
                 {"simpo_gamma", SAIL__IMPORT_CPO}, {"center_rewards_coefficient", SAIL__IMPORT_REWARD}, {"loss_type", SAIL__IMPORT_DPO},
                 {"beta", SAIL__IMPORT_DPO}, {"precompute_ref_log_probs", SAIL__IMPORT_DPO}, {"packing", SAIL__IMPORT_SFT},
                 {"assistant_only_loss", SAIL__IMPORT_SFT}, {"completion_only_loss", SAIL__IMPORT_SFT}, {"dataset_text_field", SAIL__IMPORT_SFT}};
    static const char *const online[] = {"num_generations", "reward_funcs", "num_iterations", "reward_model_path", "judge"};
    for (size_t i = 0; i < sizeof online / sizeof *online; i++)
        if (has(x, online[i]))
            return sail_fail(err, SAIL_E_OPTION, "%s: `%s` belongs to a trainer of its own responses (GRPO, RLOO, online DPO, …), which has no one counterpart: "
                             "take the recipe of that name in recipes/variants", sail__node_where(x->c->arena, sail__node_get(x->source, online[i])), online[i]);
    x->stage = SAIL__IMPORT_DPO;
    const char *by = NULL;
    for (size_t i = 0; i < sizeof marks / sizeof *marks && !by; i++)
        if (has(x, marks[i].key)) {
            x->stage = marks[i].stage;
            by = marks[i].key;
        }
    const char *name = sail__import_stage_names[x->stage];
    if (by)
        sail__import_say(x, "", "taken for `trl %s`, since there is `%s`; --trainer says another", name, by);
    else
        sail__import_say(x, "", "nothing tells which trainer this is for: `trl %s` is assumed; --trainer says another", name);
    return SAIL_OK;
}

static sail_code choose_stage(sail__import *x, const char *stage, sail_err *err)
{
    if (stage && !stage_of(stage, &x->stage)) {
        const char *near = sail__nearest(stage, sail__import_stage_names, SAIL__IMPORT_STAGES);
        return sail_fail(err, SAIL_E_USAGE, "--trainer is '%s', which is none of dpo, kto, cpo, orpo, sft, reward%s%s%s", stage, near ? "; did you mean '" : "",
                         near ? near : "", near ? "'?" : "");
    }
    if (stage)
        return SAIL_OK;
    return x->from == SAIL__FROM_FACTORY ? their_stage(x, err) : guess_stage(x, err);
}

/* ---- key by key ---- */

static const sail__import_row *row_of(const sail__import *x, const char *key)
{
    for (const sail__import_row *r = sail__import_rows; r->key; r++)
        if (r->from & x->from && strcmp(r->key, key) == 0)
            return r;
    return NULL;
}

static void unknown(sail__import *x, const char *key)
{
    const char *names[512];
    size_t n = 0;
    for (const sail__import_row *r = sail__import_rows; r->key && n < 512; r++)
        if (r->from & x->from)
            names[n++] = r->key;
    const char *near = sail__nearest(key, names, n);
    char text[256] = "not known, and left out: `sail help recipe` lists what a recipe can say";
    if (near)
        snprintf(text, sizeof text, "not known, and left out; did you mean `%s`?", near);
    note(x, key, true, text);
}

static void go_through(sail__import *x)
{
    for (size_t i = 0; i < x->source->list.n; i++) {
        const char *key = x->source->list.keys[i];
        const sail__import_row *r = row_of(x, key);
        const sail_node *value = r && r->how == SAIL__IMPORT_PART ? NULL : sail__import_get(x, key);
        if (!r)
            unknown(x, key);
        else if (r->how == SAIL__IMPORT_COPY && value)
            sail__import_put(x, r->to, value);
        else if (r->how == SAIL__IMPORT_NOTE && !sail__import_off(value))
            sail__import_say(x, key, "%s", r->text);
    }
}

/* What another trainer reads, or this one with other values beside it. */
static void not_asked(sail__import *x)
{
    for (size_t i = 0; i < x->source->list.n; i++)
        if (!x->asked[i] && !sail__import_off(x->source->list.items[i]))
            sail__import_say(x, x->source->list.keys[i], "means nothing to this trainer with the other values here, and is left out");
}

static void put_defaults(sail__import *x)
{
    for (const sail__import_default *d = sail__import_defaults; d->to; d++) {
        sail_node *v = NULL;
        sail_err err = {0};
        if (!(d->from & x->from) || !(d->stages & 1u << x->stage))
            continue;
        if (sail__yaml_parse(x->c->arena, d->value, strlen(d->value), their_default(x), &v, &err) == SAIL_OK)
            v->line = 0;
        sail__import_put(x, d->to, v);
    }
}

/* As recipes are written. */
static void sort(sail_node *recipe)
{
    static const char *const order[] = {"name", "title", "seed", "stage", "model", "data", "method", "train", "eval", "checkpoint"};
    size_t next = 0;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        for (size_t k = next; k < recipe->list.n; k++)
            if (strcmp(recipe->list.keys[k], order[i]) == 0) {
                const char *key = recipe->list.keys[k];
                sail_node *item = recipe->list.items[k];
                recipe->list.keys[k] = recipe->list.keys[next];
                recipe->list.items[k] = recipe->list.items[next];
                recipe->list.keys[next] = key;
                recipe->list.items[next++] = item;
            }
}

/* What a recipe may hold is for the recipe's own reader to say; a value's line is still that of the source. Model and data may be named
 * where the recipe is run, and fetched before. */
static void check(sail__import *x)
{
    static const char *const named[] = {"model.path", "data.train"};
    sail__recipe *r = NULL;
    sail_err ignored = {0};
    sail_node *whole = sail__node_copy(x->c->arena, x->recipe);
    for (size_t i = 0; whole && i < sizeof named / sizeof *named; i++) {
        const sail_node *given = sail__node_find(x->recipe, named[i]);
        if (given && (given->kind != SAIL_NODE_STRING || !sail__hub_is_name(given->string.data)))
            continue;
        if (!given)
            sail__import_say(x, "", "%s is not said: name it in the recipe, or as %s=… on the command line", named[i], named[i]);
        if (sail__node_put(x->c->arena, whole, named[i], sail__node_string(x->c->arena, "later", x->path), &ignored) != SAIL_OK)
            x->problems.oom = true;
    }
    if (!whole)
        x->problems.oom = true;
    else if (sail__recipe_from_node(x->c->ctx, whole, &x->problems, &r, &ignored) == SAIL_OK)
        sail__recipe_free(r);
}

sail_code sail__import_read(sail__import *x, const char *path, const char *stage, sail_err *err)
{
    sail_node *source;
    x->path = path;
    x->problems.arena = x->c->arena;
    SAIL_TRY(sail__yaml_read(x->c->arena, path, &source, err));
    if (source->kind != SAIL_NODE_MAP)
        return sail_fail(err, SAIL_E_PARSE, "%s: must be a map of arguments, such as {model_name_or_path: …, learning_rate: …}", path);
    if (sail__node_get(source, "method") || sail__node_get(source, "stages"))
        return sail_fail(err, SAIL_E_PARSE, "%s: is a recipe already: `sail check %s`", path, path);
    x->source = source;
    x->recipe = sail__node_new(x->c->arena, SAIL_NODE_MAP, path, 0, 0);
    x->asked = sail__arena_array(x->c->arena, source->list.n + 1, sizeof *x->asked);
    if (!x->recipe || !x->asked)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    choose_program(x);
    SAIL_TRY(choose_stage(x, stage, err));
    put_defaults(x);
    go_through(x);
    SAIL_TRY(sail__import_parts(x, err));
    not_asked(x);
    sort(x->recipe);
    if (!x->problems.n)
        check(x);
    return x->problems.n || sail__problems_oom(&x->problems) ? sail__problems_fail(&x->problems, SAIL_E_OPTION, err) : SAIL_OK;
}

void sail__import_write(sail__import *x, sail_buf *out)
{
    const char *name = one_line(x, sail__path_base(x->path));
    sail__buf_printf(out, "# From %s (%s, %s), by `sail recipes import`.\n", name ? name : "",
                     x->from == SAIL__FROM_TRL ? "TRL" : "LLaMA-Factory", sail__import_stage_names[x->stage]);
    if (x->n_notes)
        sail__buf_str(out, "#\n# What has no counterpart, or another than might be thought:\n");
    for (size_t i = 0; i < x->n_notes; i++) {
        const sail__import_note *n = &x->notes[i];
        sail__buf_printf(out, "#   %s%s%s\n", n->keys, *n->keys ? ": " : "", n->text);
    }
    sail__node_to_yaml(out, x->recipe, 0, true);
}
