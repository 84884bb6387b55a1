/* cmd_plugins.c - sail plugins: what can be plugged in, and the options of one. */
#include <string.h>

#include "backend/registry.h"
#include "cli.h"
#include "sail/check.h"

struct plugins {
    const char *check;
};
static const sail_opt table[] = {
    SAIL_OPT_STR(struct plugins, check, .flags = SAIL_OPT_PATH, .help = "check this plugin file against what its kind must hold"),
    {0},
};

/* ---- all of them ---- */

static sail_code list(sail__cli *c, sail_err *err)
{
    sail_found *found = NULL;
    size_t n = 0;
    SAIL_TRY(sail__plugins_list(c->ctx, c->arena, &found, &n, err));
    if (c->json) {
        sail_node *items = sail__cli_list(c);
        for (size_t i = 0; items && i < n; i++) {
            sail_node *row = sail__cli_map(c);
            bool kind_known = found[i].kind < SAIL_KIND_COUNT;
            sail__cli_put_string(c, row, "kind", kind_known ? sail__kind_name(found[i].kind) : NULL);
            sail__cli_put_string(c, row, "name", found[i].name);
            sail__cli_put_string(c, row, "doc", found[i].doc);
            sail__cli_put_string(c, row, "source", found[i].source);
            sail__cli_put_string(c, row, "path", found[i].path);
            sail__cli_put_string(c, row, "problem", found[i].problem);
            if (row)
                sail__node_append(c->arena, items, row);
        }
        return sail__cli_print_json(c, items, err);
    }
    for (int kind = 0; kind < SAIL_KIND_COUNT; kind++) {
        bool first = true;
        for (size_t i = 0; i < n; i++) {
            if ((int)found[i].kind != kind || found[i].problem)
                continue;
            if (first)
                sail__cli_line(c, "%s%s%s", sail__tone_code(c, SAIL__BOLD), sail__kind_name((sail_kind)kind), sail__tone_code(c, SAIL__PLAIN));
            first = false;
            sail__cli_line(c, "  %s%-20s%s %s%s%s%s", sail__tone_code(c, SAIL__CYAN), found[i].name, sail__tone_code(c, SAIL__PLAIN),
                           found[i].doc ? found[i].doc : "", found[i].source && *found[i].source ? " (" : "",
                           found[i].source ? found[i].source : "", found[i].source && *found[i].source ? ")" : "");
            if (c->verbose)
                sail__cli_line(c, "  %-20s %s", "", found[i].path);
        }
    }
    for (size_t i = 0; i < n; i++)
        if (found[i].problem)
            sail_log(c->ctx, SAIL_LOG_WARN, "%s", found[i].problem); /* begins with the path */
    return SAIL_OK;
}

/* ---- one ---- */

static const char *type_name(const sail_opt *o)
{
    static const char *const names[] = {"bool", "int", "float", "string", "choice", "node"};
    return (unsigned)o->type < 6 ? names[o->type] : "unknown";
}

static sail_node *option_node(sail__cli *c, const sail_opt *o, const sail_node *defaults)
{
    sail_node *row = sail__cli_map(c);
    sail__cli_put_string(c, row, "name", o->name);
    sail__cli_put_string(c, row, "type", type_name(o));
    sail__cli_put(c, row, "default", sail__node_get(defaults, o->name));
    if (o->min != o->max && (o->type == SAIL_OPT_TYPE_INT || o->type == SAIL_OPT_TYPE_F64)) {
        sail__cli_put_number(c, row, "min", o->min);
        sail__cli_put_number(c, row, "max", o->max);
    }
    sail_node *choices = o->choices ? sail__cli_list(c) : NULL;
    for (size_t i = 0; choices && o->choices[i]; i++)
        sail__node_append(c->arena, choices, sail__node_string(c->arena, o->choices[i], "sail"));
    sail__cli_put(c, row, "choices", choices);
    sail__cli_put_string(c, row, "unit", o->unit);
    sail__cli_put_bool(c, row, "required", o->flags & SAIL_OPT_REQUIRED);
    sail__cli_put_bool(c, row, "schedulable", o->flags & SAIL_OPT_SCHEDULABLE);
    sail__cli_put_string(c, row, "help", o->help);
    return row;
}

static sail_code show_json(sail__cli *c, const sail_loaded *l, sail_node *items, sail_err *err)
{
    const sail_plugin *p = &l->plugin;
    sail_node *row = sail__cli_map(c), *options = sail__cli_list(c), *defaults = NULL;
    sail__cli_put_string(c, row, "kind", sail__kind_name((sail_kind)p->kind));
    sail__cli_put_string(c, row, "name", p->name);
    sail__cli_put_string(c, row, "doc", p->doc);
    sail__cli_put_string(c, row, "source", p->source);
    sail__cli_put_string(c, row, "path", l->path);
    sail__cli_put_int(c, row, "capabilities", p->caps);
    if (p->opts) {
        sail_problems ignored = {.arena = c->arena};
        void *values = sail__arena_alloc(c->arena, p->opts_size);
        if (!values)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        sail__opt_parse(p->opts, NULL, "", NULL, NULL, NULL, values, &ignored);
        defaults = sail__opt_to_node(c->arena, p->opts, values);
    }
    for (const sail_opt *o = p->opts; o && o->name && options && defaults; o++) {
        sail_node *n = option_node(c, o, defaults);
        if (n)
            sail__node_append(c->arena, options, n);
    }
    sail__cli_put(c, row, "options", options);
    if (row)
        sail__node_append(c->arena, items, row);
    return SAIL_OK;
}

/* What the capabilities say, in words. */
static void words(sail__cli *c, uint32_t caps, const char *title, bool modifiers)
{
    static const struct {
        uint32_t cap;
        const char *text;
        bool modifier;
    } rows[] = {{SAIL_CAP_PAIRS, "pairs", false},
                {SAIL_CAP_UNPAIRED, "single responses", false},
                {SAIL_CAP_REFERENCE, "reference log-probabilities", false},
                {SAIL_CAP_ENTROPY, "token entropies", false},
                {SAIL_CAP_LSS, "log sum p^2 per token", false},
                {SAIL_CAP_STEP, "the whole step", false},
                {SAIL_CAP_ONLINE, "responses of the policy", false},
                {SAIL_CAP_PROMPT, "prompt log-probabilities", false},
                {SAIL_CAP_SCORES, "scores of a reward model", false},
                {SAIL_CAP_MISMATCHED, "other prompts' responses", false},
                {SAIL_CAP_TAKES_DIVERGENCE, "f_divergence_type", true},
                {SAIL_CAP_TAKES_LENGTH, "ld_alpha", true},
                {SAIL_CAP_TAKES_WEIGHTS, "use_weighting", true}};
    sail_buf b = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if ((caps & rows[i].cap) && rows[i].modifier == modifiers)
            sail__buf_printf(&b, "%s%s", b.len ? ", " : "", rows[i].text);
    if (b.len)
        sail__cli_line(c, "%s: %s", title, b.data);
    sail__buf_free(&b);
}

static void show(sail__cli *c, const sail_loaded *l)
{
    const sail_plugin *p = &l->plugin;
    const char *bold = sail__tone_code(c, SAIL__BOLD), *off = sail__tone_code(c, SAIL__PLAIN);
    sail__cli_line(c, "%s%s%s (%s): %s", bold, p->name, off, sail__kind_name((sail_kind)p->kind), p->doc ? p->doc : "");
    if (p->source && *p->source)
        sail__cli_line(c, "source: %s", p->source);
    words(c, p->caps, "works on", false);
    words(c, p->caps, "takes", true); /* of the method's modifiers */
    sail__cli_line(c, "file: %s", l->path);
    sail_buf b = {0};
    if (p->opts && p->opts->name)
        sail__opt_describe(&b, p->opts, "  ");
    while (b.len && b.data[b.len - 1] == '\n')
        b.data[--b.len] = '\0';
    sail__cli_line(c, b.len ? "options:\n%s" : "no options%s", b.len ? b.data : "");
    sail__buf_free(&b);
}

static sail_code one(sail__cli *c, const char *wanted, sail_err *err)
{
    const char *slash = strchr(wanted, '/'), *name = slash ? slash + 1 : wanted;
    sail_found *found = NULL;
    size_t n = 0, hits = 0;
    SAIL_TRY(sail__plugins_list(c->ctx, c->arena, &found, &n, err));
    sail_node *items = sail__cli_list(c);
    const char **names = sail__arena_array(c->arena, n + 1, sizeof *names);
    if (!items || !names)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        names[i] = found[i].name ? found[i].name : "";
        bool kind_fits = !slash || (found[i].kind < SAIL_KIND_COUNT && strlen(sail__kind_name(found[i].kind)) == (size_t)(slash - wanted) &&
                                    !strncmp(sail__kind_name(found[i].kind), wanted, (size_t)(slash - wanted)));
        if (!kind_fits || !found[i].name || !sail__name_equal(found[i].name, name))
            continue;
        if (found[i].problem)
            return sail_fail(err, SAIL_E_PLUGIN, "%s", found[i].problem);
        const sail_loaded *loaded = NULL;
        SAIL_TRY(sail__plugin_get(c->ctx, found[i].kind, found[i].name, &loaded, err));
        if (c->json)
            SAIL_TRY(show_json(c, loaded, items, err));
        else
            show(c, loaded);
        hits++;
    }
    if (hits)
        return c->json ? sail__cli_print_json(c, items, err) : SAIL_OK;
    const char *near = sail__nearest(name, names, n);
    return near ? sail_fail(err, SAIL_E_NOTFOUND, "there is no plugin `%s`; did you mean `%s`?", wanted, near)
                : sail_fail(err, SAIL_E_NOTFOUND, "there is no plugin `%s`; `sail plugins` lists them", wanted);
}

/* ---- checks of a file ---- */

typedef struct checks {
    sail__cli *c;
    sail_node *items;
} checks;

static void told(void *user, const char *what, bool holds, const char *detail)
{
    checks *x = user;
    sail__cli *c = x->c;
    if (!c->json) {
        sail__cli_line(c, "%s%-5s%s %-12s %s", sail__tone_code(c, holds ? SAIL__GREEN : SAIL__RED), holds ? "ok" : "FAILS",
                       sail__tone_code(c, SAIL__PLAIN), what, detail);
        return;
    }
    sail_node *row = sail__cli_map(c);
    sail__cli_put_string(c, row, "check", what);
    sail__cli_put_bool(c, row, "holds", holds);
    sail__cli_put_string(c, row, "detail", detail);
    if (row && x->items)
        sail__node_append(c->arena, x->items, row);
}

static sail_code check(sail__cli *c, const char *path, sail_err *err)
{
    sail_err ignored;
    checks x = {c, c->json ? sail__cli_list(c) : NULL};
    sail_code code = sail_plugin_check(c->ctx, path, c->args, (size_t)c->n_args, told, &x, err);
    if (c->json && x.items)
        (void)sail__cli_print_json(c, x.items, code == SAIL_OK ? err : &ignored);
    return code;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    const struct plugins *o = c->options;
    if (o->check)
        return check(c, o->check, err);
    if (c->n_args > 1)
        return sail_fail(err, SAIL_E_USAGE, "one plugin at a time, not also `%s`", c->args[1]);
    return c->n_args ? one(c, c->args[0], err) : list(c, err);
}

static const sail__example examples[] = {
    {"sail plugins", "everything that a recipe can name"},
    {"sail plugins dpo", "one plugin: what it does and its options"},
    {"sail plugins judge/rule --json", "by kind, for a script"},
    {"sail plugins --check ./mine.so target=2", "what a plugin of its kind must hold, with these options"},
    {0},
};
const sail__command sail__cmd_plugins = {
    .name = "plugins", .args = "[NAME|KIND/NAME|OPTION=VALUE...]", .summary = "list plugins, show one with its options, or check a file", .max_args = 64,
    .doc = "Files that cannot be used (wrong ABI, missing symbol, a crash while loading) are named with their fault; each unknown file "
           "is tried in a process of its own.",
    .flags = SAIL__CLI_JSON, .options = table, .options_size = sizeof(struct plugins), .examples = examples, .run = run,
};
