/* cmd_check.c - sail check: everything that is wrong with a recipe, at once. */
#include <string.h>

#include "align/check.h"
#include "align/routes.h"
#include "cli.h"
#include "recipe/recipe.h"

struct check {
    bool print, gradients;
};
#define T struct check
static const sail_opt options[] = {
    SAIL_OPT_BOOL(T, print, .help = "print the resolved recipe, with the origin of every value"),
    SAIL_OPT_BOOL(T, gradients, .help = "compare the derivatives of objectives and preference models with central differences"),
    {0},
};
#undef T

/* ---- derivatives ---- */

static void told(sail__cli *c, const sail__stage *s, const char *what, const char *name, const sail__check *k, sail_problems *p)
{
    if (!k->ok)
        sail__problem(p, s->node, sail__arena_printf(c->arena, "%s.method.%s", s->name, what), "%s: %s", name, k->message);
    else if (!c->json)
        sail__cli_line(c, "%s: %s %s: %lld derivatives agree with differences to %.1e%s", s->name, what, name, (long long)k->compared,
                       k->largest, k->kinks ? " (besides kinks)" : "");
}

static sail_code gradients_of(sail__cli *c, const sail__stage *s, sail_problems *p, sail_err *err)
{
    enum { SEED = 1 };
    sail_preference_model m = sail__stage_preference(s);
    sail__objective o = {s->objective.loaded->ops, s->objective.options, s->objective.loaded->plugin.name};
    sail_route routes[SAIL_MAX_ROUTES];
    int n;
    SAIL_TRY(sail__routes_of(s, 0, routes, &n, err));
    sail__check k;
    for (int i = 2; i <= 3; i++) {
        if (m.ops->outcomes(m.self, i) <= 0)
            continue;
        SAIL_TRY(sail__preference_check(&m, i, SEED, &k, err));
        told(c, s, "preference", m.name, &k, p);
    }
    const sail__checked_method method = {.preference = m, .routes = routes, .n_routes = n, .beta = s->method.beta,
                                         .max_margin = s->method.max_margin, .modifiers = s->modifiers,
                                         .responses = s->rollout.responses > 2 ? (int)s->rollout.responses : 0,
                                         .rival = sail__rival_writer(s->rollout.rival)};
    SAIL_TRY(sail__objective_check(&o, s->objective.loaded->plugin.caps, &method, SEED, &k, err));
    told(c, s, "objective", o.name, &k, p);
    return SAIL_OK;
}

static void gradients(sail__cli *c, const sail__recipe *r, sail_problems *p)
{
    for (size_t i = 0; i < r->n_stages; i++) {
        const sail__stage *s = &r->stages[i];
        sail_err err = {0};
        if (sail__stage_has_pairs(s->kind) && gradients_of(c, s, p, &err) != SAIL_OK)
            sail__problem_of(p, s->node, sail__arena_printf(c->arena, "%s.method", s->name), &err);
    }
}

/* ---- telling ---- */

static sail_code tell(sail__cli *c, const sail__recipe *r, const sail_problems *p, sail_err *err)
{
    if (c->json) {
        sail_node *out = sail__cli_map(c), *list = sail__cli_list(c), *stages = sail__cli_list(c);
        for (size_t i = 0; list && i < p->n; i++) {
            sail_node *row = sail__cli_map(c);
            sail__cli_put_string(c, row, "where", p->items[i].where);
            sail__cli_put_string(c, row, "path", p->items[i].path);
            sail__cli_put_string(c, row, "message", p->items[i].message);
            if (row)
                sail__node_append(c->arena, list, row);
        }
        for (size_t i = 0; r && stages && i < r->n_stages; i++)
            sail__node_append(c->arena, stages, sail__node_string(c->arena, r->stages[i].name, "sail"));
        sail__cli_put_bool(c, out, "ok", !p->n);
        sail__cli_put(c, out, "problems", list);
        sail__cli_put(c, out, "stages", stages);
        SAIL_TRY(sail__cli_print_json(c, out, err));
        *err = (sail_err){.code = p->n ? SAIL_E_RECIPE : SAIL_OK};
        return err->code;
    }
    if (p->n) {
        /* the first is the error; the others follow it */
        sail_buf b = {0};
        for (size_t i = 0; i < p->n; i++)
            sail__buf_printf(&b, "%s%s%s%s%s%s", i ? "\n" : "", p->items[i].where, *p->items[i].where ? ": " : "", p->items[i].path,
                             *p->items[i].path ? ": " : "", p->items[i].message);
        sail__cli_clear(c);
        fprintf(stderr, "%s\n", b.data ? b.data : "out of memory");
        sail__buf_free(&b);
        return sail_fail(err, SAIL_E_RECIPE, "%zu problem%s", p->n, p->n == 1 ? "" : "s");
    }
    return SAIL_OK;
}

static void good(sail__cli *c, const sail__recipe *r)
{
    sail_buf b = {0};
    for (size_t i = 0; i < r->n_stages; i++)
        sail__buf_printf(&b, "%s%s", i ? ", " : "", r->stages[i].name);
    sail__cli_line(c, "%s%s is right%s: %zu stage%s (%s)", sail__tone_code(c, SAIL__GREEN), c->args[0], sail__tone_code(c, SAIL__PLAIN), r->n_stages,
                   r->n_stages == 1 ? "" : "s", b.data ? b.data : "");
    sail__buf_free(&b);
    for (size_t i = 0; i < r->absent.n; i++)
        sail__cli_line(c, "to be fetched: %s", r->absent.items[i].message);
}

static sail_code checked(sail__cli *c, const sail__recipe *r, sail_problems *problems, sail_err *err)
{
    const struct check *o = c->options;
    sail__recipe_missing(r, problems);
    if (o->gradients)
        gradients(c, r, problems);
    if (o->print && !c->json) {
        sail_buf b = {0};
        sail__recipe_print(r, true, &b);
        sail_code code = b.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__cli_output(c, NULL, b.data, b.len, err);
        sail__buf_free(&b);
        SAIL_TRY(code);
    }
    if (sail__problems_oom(problems)) /* the list says nothing then */
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(tell(c, r, problems, err));
    if (!o->print && !c->json)
        good(c, r);
    return SAIL_OK;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    sail_problems problems = {.arena = c->arena};
    sail__recipe *r = NULL;
    sail_code code = sail__recipe_plan(c->ctx, c->args[0], c->args + 1, c->n_args - 1, &problems, &r, err);
    if (code == SAIL_E_NOMEM)
        return code;
    if (code != SAIL_OK && !problems.n)
        sail__problem(&problems, NULL, "", "%s", err->message);
    if (code != SAIL_OK) {
        sail_code status = code == SAIL_E_RECIPE || code == SAIL_E_PARSE ? SAIL_OK : code;
        code = tell(c, NULL, &problems, err);
        return status ? err->code = status : code;
    }
    code = checked(c, r, &problems, err);
    sail__recipe_free(r);
    return code;
}

static const sail__example examples[] = {
    {"sail check mine.yaml train.steps=100", "before a long run"},
    {"sail check mine.yaml --print", "every value, and where it comes from"},
    {"sail check mine.lua --gradients", "is the objective's derivative what its values say?"},
    {0},
};
const sail__command sail__cmd_check = {
    .name = "check", .args = "RECIPE [key=value …]", .summary = "say everything that is wrong with a recipe, at once",
    .doc = "Each problem is one line: file and line, key, what is wrong and what would be right. Files that the recipe names must be there; models and data of the hub (hf:OWNER/NAME) that are not are listed. "
           "The exit status is 2 when there is any problem.",
    .min_args = 1, .max_args = -1, .flags = SAIL__CLI_JSON, .options = options, .options_size = sizeof(struct check), .examples = examples,
    .run = run,
};
