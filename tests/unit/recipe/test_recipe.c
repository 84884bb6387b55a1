/* test_recipe.c - recipes: problems told at once, extends, overrides, stages, paths, printing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "align/routes.h"
#include "recipe/recipe.h"

typedef struct world {
    char dir[64];
    sail_ctx *ctx;
    sail_arena *arena;
    sail_problems problems;
    sail_err err;
} world;

/* Stand-ins for readers: no data is read here. */
static const uint32_t no_ops[16] = {sizeof no_ops};
#define READER(name_)                                                                                                  \
    {                                                                                                                  \
        .size = sizeof(sail_plugin), .abi_major = SAIL_ABI_MAJOR, .abi_minor = SAIL_ABI_MINOR,                         \
        .kind = SAIL_KIND_DATASET, .name = name_, .doc = "", .source = "", .ops = no_ops                               \
    }
static const sail_plugin readers[] = {READER("preference"), READER("sft"), READER("hh_rlhf")};

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    snprintf(w->dir, sizeof w->dir, "/tmp/sail-recipe-XXXXXX");
    if (!mkdtemp(w->dir))
        return -1;
    w->ctx = sail_ctx_new();
    w->arena = sail__arena_new();
    w->problems.arena = w->arena;
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (sail__plugins_add(w->ctx, &readers[i], "(test)", &w->err) != SAIL_OK)
            return -1;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    sail_err err = {0};
    sail__remove_tree(w->dir, &err);
    sail_ctx_free(w->ctx);
    sail__arena_free(w->arena);
    free(w);
    return 0;
}

static const char *put(world *w, const char *name, const char *text)
{
    const char *path = sail__arena_printf(w->arena, "%s/%s", w->dir, name);
    sail_err err = {0};
    assert_int_equal(sail__make_dirs(sail__path_dir(w->arena, path), &err), SAIL_OK);
    assert_int_equal(sail__file_write(path, text, strlen(text), &err), SAIL_OK);
    return path;
}

/* Load w->dir/name with key=value strings that end with NULL. */
static sail__recipe *load(world *w, const char *name, const char *const *overrides)
{
    size_t n = 0;
    while (overrides && overrides[n])
        n++;
    sail__recipe *r = NULL;
    w->problems.n = 0;
    w->err = (sail_err){0};
    sail__recipe_load(w->ctx, sail__arena_printf(w->arena, "%s/%s", w->dir, name), overrides, n, &w->problems, &r, &w->err);
    return r;
}

static sail__recipe *good(world *w, const char *name, const char *const *overrides)
{
    sail__recipe *r = load(w, name, overrides);
    for (size_t i = 0; i < w->problems.n; i++)
        print_message("%s: %s: %s\n", w->problems.items[i].where, w->problems.items[i].path, w->problems.items[i].message);
    if (!r)
        fail_msg("%s", w->err.message);
    return r;
}

/* Problem i ends with FILE:LINE in `where`, has this path and this part in its message. */
static void problem(const world *w, size_t i, const char *where, const char *path, const char *part)
{
    assert_true(i < w->problems.n);
    const sail_problem *p = &w->problems.items[i];
    size_t n = strlen(p->where), m = strlen(where);
    if (n < m || strcmp(p->where + n - m, where) || strcmp(p->path, path) || !strstr(p->message, part))
        fail_msg("problem %zu is %s: %s: %s\nwanted %s: %s: %s", i, p->where, p->path, p->message, where, path, part);
}

#define BASE                                                                                                           \
    "model: {path: m, backend: ref}\n"                                                                                 \
    "data: {train: d.jsonl}\n"                                                                                         \
    "train: {steps: 5}\n"

static void all_problems_are_told_at_once(void **state)
{
    world *w = *state;
    put(w, "a.yaml", "model: {path: m, backend: ref, dtpe: f32}\n"
                     "data:\n"
                     "  train: d.jsonl\n"
                     "  max_prompt: many\n"
                     "method:\n"
                     "  beta: -1\n"
                     "  preference: bradley_tery\n"
                     "train: {steps: 5, batch: 0, decay: sometimes}\n"
                     "trian: {}\n");
    assert_null(load(w, "a.yaml", NULL));
    assert_int_equal(w->err.code, SAIL_E_RECIPE);
    assert_int_equal(w->problems.n, 7);
    problem(w, 0, "a.yaml:1", "model.dtpe", "dtype");
    problem(w, 1, "a.yaml:4", "data.max_prompt", "");
    problem(w, 2, "a.yaml:6", "method.beta", "");
    problem(w, 3, "a.yaml:7", "method.preference", "bradley_terry");
    problem(w, 4, "a.yaml:8", "train.batch", "");
    problem(w, 5, "a.yaml:8", "train.decay", "");
    problem(w, 6, "a.yaml:9", "trian", "train");
    assert_non_null(strstr(w->err.message, "a.yaml:1: model.dtpe"));
}

static void what_a_stage_needs_is_asked_for(void **state)
{
    world *w = *state;
    put(w, "a.yaml", "model: {backend: ref}\n");
    assert_null(load(w, "a.yaml", NULL));
    assert_int_equal(w->problems.n, 3);
    problem(w, 0, "a.yaml:1", "data.train", "is missing");
    problem(w, 1, "a.yaml:1", "model.path", "is missing");
    problem(w, 2, "a.yaml:1", "train.steps", "is missing");
    put(w, "b.yaml", BASE "method: {routes: {dpr: {weight: 0.3}}}\n");
    assert_null(load(w, "b.yaml", NULL));
    problem(w, 0, "b.yaml:4", "method.judge", "the route `dpr` asks a judge");
    sail__recipe_free(good(w, "b.yaml", (const char *[]){"method.judge=rule", NULL}));
    put(w, "c.yaml", BASE "on: {step: 3}\n");
    assert_null(load(w, "c.yaml", NULL));
    problem(w, 0, "c.yaml:4", "on", "need a recipe in Lua");
}

static void extends_merges_deeply(void **state)
{
    world *w = *state;
    put(w, "sub/base.yaml", "extends: root.yaml\nmethod: {beta: 0.2, routes: {dpp: {weight: 0.3, coef: 0.2}}}\n"
                            "train: {optimizer: {kind: adamw, weight_decay: 0.1}}\ndata: {stop: [a, b]}\n");
    put(w, "sub/root.yaml", BASE "title: root\n");
    put(w, "a.yaml", "extends: sub/base.yaml\nmethod: {routes: {dpp: {weight: 0.1}, ddp: {weight: 0.5}}}\n"
                     "train: {optimizer: {kind: sgd}}\ndata: {stop: [c]}\n");
    sail__recipe *r = good(w, "a.yaml", NULL);
    assert_string_equal(r->name, "a");
    assert_string_equal(r->title, "root");
    assert_true(r->stages[0].method.beta == 0.2);
    assert_true(sail__node_find(r->root, "method.routes.dpp.weight")->number == 0.1);
    assert_true(sail__node_find(r->root, "method.routes.dpp.coef")->number == 0.2);
    assert_int_equal(sail__node_find(r->root, "data.stop")->list.n, 1);
    assert_null(sail__node_find(r->root, "train.optimizer.weight_decay")); /* another optimiser: not its option */
    /* written in sub/: relative to sub/ */
    const char *want = sail__arena_printf(w->arena, "%s/sub/m", w->dir);
    assert_string_equal(r->stages[0].model.path, want);
    sail__recipe_free(r);

    put(w, "b.yaml", "extends: a.yaml\nmethod: {routes: null}\ntrain: {optimizer: {lr_mult: 2}}\n");
    assert_null(load(w, "b.yaml", NULL));
    problem(w, 0, "b.yaml:3", "train.optimizer.lr_mult", "no such option");
    put(w, "c.yaml", "extends: b.yaml\ntrain: {optimizer: adamw}\n");
    r = good(w, "c.yaml", NULL);
    assert_null(sail__node_find(r->root, "method.routes"));
    assert_null(r->stages[0].strategy.loaded);
    sail__recipe_free(r);
}

static void extends_in_a_circle_is_refused(void **state)
{
    world *w = *state;
    put(w, "a.yaml", "extends: b.yaml\n");
    put(w, "b.yaml", "extends: sub/../a.yaml\n");
    put(w, "sub/x", "");
    assert_null(load(w, "a.yaml", NULL));
    assert_non_null(strstr(w->err.message, "extends itself"));
    put(w, "c.yaml", "\nextends: none.yaml\n");
    assert_null(load(w, "c.yaml", NULL));
    assert_non_null(strstr(w->err.message, "c.yaml:2: extends"));
    assert_non_null(strstr(w->err.message, "none.yaml"));
    assert_null(load(w, "none.yaml", NULL));
    assert_int_equal(sail_code_status(w->err.code), 2);
    put(w, "d.yaml", "- 1\n");
    assert_null(load(w, "d.yaml", NULL));
    assert_non_null(strstr(w->err.message, "must be a map"));
    put(w, "e.txt", "");
    assert_null(load(w, "e.txt", NULL));
    assert_non_null(strstr(w->err.message, ".yaml, .yml or .lua"));
    assert_int_equal(w->problems.n, 1);
    sail__recipe_set_library(w->ctx, sail__arena_printf(w->arena, "%s/lib", w->dir));
    put(w, "lib/own.yaml", BASE);
    put(w, "f.yaml", "extends: own.yaml\n");
    sail__recipe_free(good(w, "f.yaml", NULL));
}

static void the_command_line_wins(void **state)
{
    world *w = *state;
    put(w, "b.yaml", BASE "method: {objective: sail}\n");
    const char *const more[] = {"train.steps=7",      "method.beta=1e-2",     "method.routes={dpp: {weight: 0.3}}",
                                "name=2024",          "data.train=[x, y/z]",  "train.optimizer.weight_decay=0.5",
                                "model.dtype=f32",    "method.objective.labels=expected", "title=a b", NULL};
    sail__recipe *r = good(w, "b.yaml", more);
    char here[1024];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(r->stages[0].train.steps, 7);
    assert_true(r->stages[0].method.beta == 1e-2);
    assert_string_equal(r->name, "2024");
    assert_string_equal(r->title, "a b");
    assert_int_equal(r->stages[0].model.dtype, SAIL__F32);
    assert_string_equal(sail__node_find(r->root, "data.train[1]")->string.data, sail__arena_printf(w->arena, "%s/y/z", here));
    assert_string_equal(sail__node_find(r->root, "method.objective.kind")->string.data, "sail");
    assert_true(sail__stage_is_scheduled(&r->stages[0]) == false);
    sail__recipe_free(r);

    static const struct {
        const char *text, *path, *part;
    } bad[] = {
        {"train.stpes=7", "train.stpes", "steps"}, {"steps", "steps", "key=value"},          {"=3", "=3", "key=value"},
        {"method.beta=*x", "method.beta", "quotes"}, {"train.steps.x=1", "train.steps.x", ""}, {"nothing=1", "nothing", "section"},
        {"name=../x", "name", "directory"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(load(w, "b.yaml", (const char *[]){bad[i].text, NULL}));
        assert_int_equal(w->problems.n, 1);
        problem(w, 0, "command line", bad[i].path, bad[i].part);
    }
}

static void stages_share_and_override(void **state)
{
    world *w = *state;
    put(w, "a.yaml", "model: {backend: ref, dtype: f32, path: \"@sft\"}\n"
                     "train: {batch: 3, steps: 1}\n"
                     "seed: 9\n"
                     "stages:\n"
                     "  - {stage: sft, model: {path: m}, data: {train: s.jsonl}}\n"
                     "  - {data: {train: d.jsonl}, train: {batch: 4}}\n"
                     "  - {name: second, stage: align, data: {train: d.jsonl}}\n"
                     "  - {stage: align, data: {train: d.jsonl}, seed: 10}\n"
                     "  - {stage: report}\n");
    sail__recipe *r = good(w, "a.yaml", NULL);
    assert_int_equal(r->n_stages, 5);
    static const char *const names[] = {"sft", "align", "second", "align-2", "report"};
    static const int batches[] = {3, 4, 3, 3, 3};
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(r->stages[i].name, names[i]);
        assert_int_equal(r->stages[i].train.batch, batches[i]);
        assert_int_equal(r->stages[i].seed, i == 3 ? 10 : 9);
    }
    assert_int_equal(r->stages[0].kind, SAIL__SFT);
    assert_string_equal(r->stages[0].reader.loaded ? r->stages[0].reader.loaded->plugin.name : "", "sft");
    assert_string_equal(r->stages[1].objective.loaded->plugin.name, "sail");
    sail__recipe_free(r);
    r = good(w, "a.yaml", (const char *[]){"align.train.steps=3", "train.batch=8", "second.seed=1", NULL});
    assert_int_equal(r->stages[1].train.steps, 3);
    assert_int_equal(r->stages[2].train.steps, 1);
    assert_int_equal(r->stages[1].train.batch, 8);
    assert_int_equal(r->stages[2].seed, 1);
    assert_string_equal(r->stages[1].model.path, "@sft");
    sail__recipe_free(r);
    put(w, "e.yaml", BASE "stages: [{stage: sft}, {model: {path: \"@stf\"}}, {model: {path: null}}]\n");
    assert_null(load(w, "e.yaml", NULL));
    assert_int_equal(w->problems.n, 2);
    problem(w, 0, "e.yaml:4", "model.path", "is missing");
    problem(w, 1, "e.yaml:4", "model.path", "no stage `stf` before");
    /* A mistake in what all share is told once. */
    assert_null(load(w, "a.yaml", (const char *[]){"train.bach=8", NULL}));
    assert_int_equal(w->problems.n, 1);
    put(w, "b.yaml", BASE "stages: [{stage: alin}, {name: x}]\n");
    assert_null(load(w, "b.yaml", NULL));
    problem(w, 0, "b.yaml:4", "stage", "align");
    put(w, "c.yaml", BASE "stages: [{name: x}, {name: x}]\n");
    assert_null(load(w, "c.yaml", NULL));
    problem(w, 0, "c.yaml:4", "name", "two stages");
    put(w, "d.yaml", BASE "stages: []\n");
    assert_null(load(w, "d.yaml", NULL));
    problem(w, 0, "d.yaml:4", "stages", "list of maps");
}

static char *printed(const sail__recipe *r, bool origin)
{
    sail_buf b = {0};
    sail__recipe_print(r, origin, &b);
    assert_false(b.oom);
    return b.data;
}

static void printing_goes_round(void **state)
{
    world *w = *state;
    put(w, "two.yaml", "model: {path: m, backend: ref}\ndata: {train: d.jsonl}\ntrain: {steps: 5, lr: 1e-7}\nname: n.1-x_\n"
                       "stages: [{stage: sft}, {name: b, train: {optimizer: {kind: sgd, momentum: 0.5}}}]\n");
    put(w, "three.yaml", BASE "title: \"a: b\"\nseed: 4\nmethod: {routes: {dpp: {weight: {kind: ramp, from: 0, to: 0.3, steps: 9}}}}\n"
                              "rollout: {temperature: 0.7}\n");
    static const char *const names[] = {"two.yaml", "three.yaml"};
    for (int i = 0; i < 2; i++) {
        sail__recipe *r = good(w, names[i], NULL);
        char *first = printed(r, false);
        put(w, "elsewhere/again.yaml", first);
        sail__recipe *again = good(w, "elsewhere/again.yaml", NULL);
        char *second = printed(again, false);
        assert_string_equal(first, second);
        assert_string_equal(r->name, again->name);
        assert_int_equal(r->n_stages, again->n_stages);
        for (size_t s = 0; s < r->n_stages; s++) {
            assert_string_equal(r->stages[s].name, again->stages[s].name);
            assert_string_equal(r->stages[s].model.path, again->stages[s].model.path);
            assert_true(r->stages[s].train.lr == again->stages[s].train.lr);
            assert_string_equal(r->stages[s].reader.loaded->plugin.name, again->stages[s].reader.loaded->plugin.name);
        }
        assert_int_equal(sail__stage_is_scheduled(&r->stages[0]), sail__stage_is_scheduled(&again->stages[0]));
        char *origin = printed(r, true);
        assert_non_null(strstr(origin, sail__arena_printf(w->arena, "%s/%s:1", w->dir, names[i])));
        assert_non_null(strstr(origin, "default"));
        assert_non_null(strstr(first, "max_grad_norm"));
        sail__free(first);
        sail__free(second);
        sail__free(origin);
        sail__recipe_free(r);
        sail__recipe_free(again);
    }
}

/* Under a sanitizer: what is told of a refused recipe is not the recipe's, which is gone. */
static void what_is_not_in_the_cache_is_a_problem_where_it_is_named(void **state)
{
    world *w = *state;
    setenv("HF_HUB_CACHE", w->dir, 1);
    put(w, "a.yaml", "model: {path: hf:no/one, backend: ref}\n"
                     "data: {train: hf:datasets/no/data/x.jsonl}\n"
                     "train: {steps: 5}\n");
    assert_null(load(w, "a.yaml", NULL));
    unsetenv("HF_HUB_CACHE");
    assert_int_equal(w->problems.n, 2);
    problem(w, 0, "a.yaml:1", "model.path", "hf:no/one is not in the cache");
    problem(w, 1, "a.yaml:2", "data.train", "hf:datasets/no/data/x.jsonl is not in the cache");
}

static void a_tree_can_be_a_recipe(void **state)
{
    world *w = *state;
    sail_arena *a = sail__arena_new();
    sail_node *n = NULL;
    char *text = strdup(BASE "name: tree\n");
    assert_int_equal(sail__yaml_parse(a, text, strlen(text), "(made)", &n, &w->err), SAIL_OK);
    sail__recipe *r = NULL;
    assert_int_equal(sail__recipe_from_node(w->ctx, n, &w->problems, &r, &w->err), SAIL_OK);
    sail__arena_free(a); /* the recipe owns its own copy */
    free(text);
    assert_string_equal(r->name, "tree");
    assert_null(r->path);
    assert_string_equal(sail__node_find(r->root, "model.backend")->origin, "(made)");
    sail__recipe_free(r);
}

static void recipes_that_come_with_sail_load(void **state)
{
    world *w = *state;
    static const char *const names[] = {"dpo", "sail-ddp", "sail-dpp", "sail-dpr", "sail-mix"};
    const char *root = getenv("SAIL_ROOT");
    assert_non_null(root);
    static const char *const given[] = {"model.path=m", "data.train=d.jsonl", "model.backend=ref"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sail__recipe *r = NULL;
        w->problems.n = 0;
        if (sail__recipe_load(w->ctx, sail__arena_printf(w->arena, "%s/recipes/%s.yaml", root, names[i]), given, 3, &w->problems,
                              &r, &w->err) != SAIL_OK)
            fail_msg("%s", w->err.message);
        assert_string_equal(r->name, names[i]);
        assert_true(r->stages[0].has_adapter);
        sail_route routes[SAIL_MAX_ROUTES];
        double total = 0;
        int n;
        assert_int_equal(sail__routes_of(&r->stages[0], 0, routes, &n, &w->err), SAIL_OK);
        for (int k = n - 1; k >= 0; k--)
            total += routes[k].probability;
        assert_true(total > 1 - 1e-9 && total < 1 + 1e-9);
        sail__recipe_free(r);
    }
}

static int64_t threads_of(world *w, const char *model)
{
    put(w, "t.yaml", sail__arena_printf(w->arena, "model: {path: m, %s}\ndata: {train: d.jsonl}\ntrain: {steps: 5}\n", model));
    sail__recipe *r = good(w, "t.yaml", NULL);
    const sail_slot *b = &r->stages[0].backend;
    const sail_node *n = sail__node_get(sail__opt_to_node(w->arena, b->loaded->plugin.opts, b->options), "threads");
    int64_t threads = n ? n->integer : -1;
    sail__recipe_free(r);
    return threads;
}

static void threads_of_the_model_are_the_backends(void **state)
{
    world *w = *state;
    assert_int_equal(threads_of(w, "threads: 3"), 3);
    assert_int_equal(threads_of(w, "threads: 3, backend: cpu"), 3);
    assert_int_equal(threads_of(w, "threads: 3, backend: {kind: cpu}"), 3);
    assert_int_equal(threads_of(w, "threads: 3, backend: {kind: cpu, threads: 2}"), 2);
    assert_int_equal(threads_of(w, "backend: cpu"), 0);
    sail__recipe_free(good(w, (put(w, "r.yaml", "model: {path: m, threads: 3, backend: ref}\ndata: {train: d.jsonl}\ntrain: {steps: 5}\n"), "r.yaml"), NULL));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_problems_are_told_at_once), TEST(what_a_stage_needs_is_asked_for), TEST(extends_merges_deeply),
        TEST(extends_in_a_circle_is_refused), TEST(the_command_line_wins),          TEST(stages_share_and_override),
        TEST(printing_goes_round),            TEST(a_tree_can_be_a_recipe),         TEST(recipes_that_come_with_sail_load),
        TEST(threads_of_the_model_are_the_backends),
        TEST(what_is_not_in_the_cache_is_a_problem_where_it_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
