/* plugin_check.c - sail_plugin_check: loading, what must hold for every plugin, and the way to the checks of its kind. */
#include "plugin_check.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../backend/load.h"
#include "../sail/dataset.h"
#include "../sail/judge.h"
#include "../sail/optimizer.h"
#include "../sail/strategy.h"

/* ---- for every kind ---- */

static void check_description(sail__checking *c)
{
    const sail_plugin *p = c->plugin;
    bool good = isalpha((unsigned char)p->name[0]);
    for (const char *s = p->name; *s; s++)
        good &= isalnum((unsigned char)*s) || *s == '_' || *s == '-';
    sail__checked(c, "name", good, good ? "%s, of kind %s" : "\"%s\" (%s): letters, digits and _ are wanted, a letter first",
                  p->name, sail__kind_name((sail_kind)p->kind));
    bool doc = strlen(p->doc) >= 8;
    sail__checked(c, "doc", doc, doc ? "%s" : "\"%s\" does not say what the plugin is; one sentence is wanted", p->doc);
}

static bool is_number(const sail_opt *o)
{
    return o->type == SAIL_OPT_TYPE_INT || o->type == SAIL_OPT_TYPE_F64;
}

static void check_option(sail__checking *c, const sail_opt *o)
{
    if (!o->help || strlen(o->help) < 3)
        sail__checked(c, "options", false, "%s has no help; one sentence is wanted", o->name);
    if (is_number(o) && o->min > o->max)
        sail__checked(c, "options", false, "%s: the range %g to %g is empty", o->name, o->min, o->max);
    if (is_number(o) && o->min != o->max && !(o->flags & SAIL_OPT_REQUIRED) && !(o->def >= o->min && o->def <= o->max))
        sail__checked(c, "options", false, "%s: the default %g lies outside %g to %g", o->name, o->def, o->min, o->max);
    int choices = 0;
    while (o->choices && o->choices[choices])
        choices++;
    if (o->type == SAIL_OPT_TYPE_CHOICE && !(o->def >= 0 && o->def < choices))
        sail__checked(c, "options", false, "%s: the default is choice %g of %d", o->name, o->def, choices);
}

/* "name=value" texts to a map. */
static sail_node *given_options(sail__checking *c, const char *const *options, size_t n)
{
    sail_node *map = sail__node_new(c->arena, SAIL_NODE_MAP, "option", 0, 0);
    for (size_t i = 0; map && i < n; i++) {
        const char *eq = strchr(options[i], '=');
        char *key = sail__arena_strndup(c->arena, options[i], eq ? (size_t)(eq - options[i]) : strlen(options[i]));
        sail_node *value = NULL;
        sail_err ignored;
        if (!eq || sail__json_parse(c->arena, eq + 1, strlen(eq + 1), "option", 0, &value, &ignored) != SAIL_OK)
            value = sail__node_string(c->arena, eq ? eq + 1 : "true", "option");
        if (!key || !value || !sail__node_set(c->arena, map, key, value))
            return NULL;
    }
    return map;
}

/* The option struct from what is given; and that what it holds, written as a recipe and read again, is the same. */
static sail_code check_options(sail__checking *c, const char *const *options, size_t n)
{
    const sail_plugin *p = c->plugin;
    sail_problems problems = {.arena = c->arena};
    sail_node *map = given_options(c, options, n);
    if (!map)
        return sail_fail(c->err, SAIL_E_NOMEM, "no memory for options");
    c->self = p->self;
    if (!p->opts) {
        sail__checked(c, "options", n == 0, n ? "%s is given, but there are none" : "none", n ? options[0] : "");
        return SAIL_OK;
    }
    int before = c->failed, rows = 0;
    for (const sail_opt *o = p->opts; o->name; o++, rows++)
        check_option(c, o);
    void *values = sail__arena_alloc(c->arena, p->opts_size), *again = sail__arena_alloc(c->arena, p->opts_size);
    if (!values || !again)
        return sail_fail(c->err, SAIL_E_NOMEM, "no memory for options");
    if (!sail__opt_parse(p->opts, map, p->name, NULL, NULL, NULL, values, &problems)) {
        sail_err err = {0};
        if (sail__problems_fail(&problems, SAIL_E_OPTION, &err) == SAIL_E_NOMEM)
            return sail_fail(c->err, SAIL_E_NOMEM, "no memory for options");
        sail__checked(c, "options", false, "%s", err.message);
        return SAIL_OK;
    }
    c->self = values;
    sail_node *written = sail__opt_to_node(c->arena, p->opts, values);
    bool same = written && sail__opt_parse(p->opts, written, p->name, NULL, NULL, NULL, again, &problems);
    sail_node *reread = same ? sail__opt_to_node(c->arena, p->opts, again) : NULL;
    same = reread && sail__node_equal(written, reread);
    if (c->failed == before || !same)
        sail__checked(c, "options", same, same ? "%d, with defaults in their range" : "their values change when they are written "
                      "and read again (%d options)", rows);
    return SAIL_OK;
}

/* ---- by kind ---- */

#define FUNCTION(type, member) {#member, offsetof(type, member)}
static const struct kind {
    sail_code (*check)(sail__checking *c);
    struct {
        const char *name;
        size_t offset;
    } needs[8];
} kinds[SAIL_KIND_COUNT] = {
    [SAIL_KIND_OBJECTIVE] = {sail__check_objective, {FUNCTION(sail_objective, loss)}},
    [SAIL_KIND_PREFERENCE] = {sail__check_preference, {FUNCTION(sail_preference, outcomes), FUNCTION(sail_preference, logprob)}},
    [SAIL_KIND_STRATEGY] = {.check = sail__check_strategy},
    [SAIL_KIND_JUDGE] = {sail__check_judge, {{0}}} /* label or ask: see there */,
    [SAIL_KIND_DATASET] = {sail__check_dataset, {FUNCTION(sail_dataset, row)}},
    [SAIL_KIND_OPTIMIZER] = {sail__check_optimizer, {FUNCTION(sail_optimizer, plan)}},
    [SAIL_KIND_BACKEND] = {sail__check_backend, {FUNCTION(sail_backend, devices), FUNCTION(sail_backend, open),
                                                 FUNCTION(sail_backend, alloc), FUNCTION(sail_backend, upload),
                                                 FUNCTION(sail_backend, download), FUNCTION(sail_backend, supports),
                                                 FUNCTION(sail_backend, run), FUNCTION(sail_backend, sync)}},
};

static bool check_functions(sail__checking *c, const struct kind *k)
{
    int n = 0;
    for (; n < (int)(sizeof k->needs / sizeof *k->needs) && k->needs[n].name; n++) {
        void *function;
        memcpy(&function, (const char *)c->ops + k->needs[n].offset, sizeof function);
        if (!function)
            return sail__checked(c, "functions", false, "%s is missing", k->needs[n].name);
    }
    return sail__checked(c, "functions", true, "%d of %d that must be there", n, n);
}

/* What the file says by its name: KIND-NAME.so or NAME.so (then the kind may be any). */
static sail_code by_file(sail__checking *c, const char *path, sail_kind *kind, const char **name)
{
    const char *base = sail__path_base(path), *dash = strchr(base, '-'), *dot = strrchr(base, '.');
    *kind = SAIL_KIND_COUNT;
    if (!dot || strcmp(dot, ".so") != 0)
        return sail_fail(c->err, SAIL_E_PLUGIN, "%s: a plugin's file is called NAME.so or KIND-NAME.so", path);
    char *head = dash ? sail__arena_strndup(c->arena, base, (size_t)(dash - base)) : NULL;
    if (head && sail__kind_parse(head, kind))
        base = dash + 1;
    *name = sail__arena_strndup(c->arena, base, (size_t)(dot - base));
    return *name ? SAIL_OK : sail_fail(c->err, SAIL_E_NOMEM, "no memory for a name");
}

static sail_code run(sail__checking *c, const char *path, const char *const *options, size_t n)
{
    sail_kind kind;
    const char *name;
    sail_loaded loaded;
    /* dlopen takes a name without a slash for one to be looked for */
    const char *file = strchr(path, '/') ? path : sail__path_join(c->arena, ".", path);
    SAIL_TRY(by_file(c, path, &kind, &name));
    if (!file)
        return sail_fail(c->err, SAIL_E_NOMEM, "no memory for a name");
    if (!sail__file_exists(file))
        return sail_fail(c->err, SAIL_E_NOTFOUND, "%s: there is no such file", path);
    if (sail__plugin_probe(c->arena, file, kind, name, NULL, NULL, c->err) != SAIL_OK ||
        sail__plugin_open(c->arena, file, kind, name, &loaded, c->err) != SAIL_OK) {
        sail__checked(c, "loads", false, "%s", c->err->message);
        return c->err->code;
    }
    c->plugin = &loaded.plugin;
    c->ops = loaded.ops;
    sail__checked(c, "loads", true, "built for interface %u.%u, this is %d.%d", loaded.plugin.abi_major, loaded.plugin.abi_minor,
                  SAIL_ABI_MAJOR, SAIL_ABI_MINOR);
    check_description(c);
    SAIL_TRY(check_options(c, options, n));
    const struct kind *k = &kinds[loaded.plugin.kind];
    if (!k->check) {
        sail__checked(c, "kind", true, "plugins of kind %s have no checks of their own", sail__kind_name((sail_kind)loaded.plugin.kind));
        return SAIL_OK;
    }
    return check_functions(c, k) && !c->failed ? k->check(c) : SAIL_OK;
}

sail_code sail_plugin_check(sail_ctx *ctx, const char *path, const char *const *options, size_t n, sail_check_report report,
                            void *user, sail_err *err)
{
    sail__checking c = {.ctx = ctx, .arena = sail__arena_new(), .report = report, .user = user, .err = err};
    sail_code code = c.arena ? run(&c, path, options, n) : sail_fail(err, SAIL_E_NOMEM, "no memory to check %s", path);
    if (code == SAIL_OK && c.failed)
        code = sail_fail(err, SAIL_E_PLUGIN, "%s: %d of %d checks do not hold; the first: %s", path, c.failed, c.done, c.first);
    sail__arena_free(c.arena);
    return code;
}
