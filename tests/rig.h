/* rig.h - for tests against recorded models: a backend, a model on it, and tallies of deviations.
 *
 * Header only. A tally is kept for each quantity: the largest deviation as a share of its limit, where it was, and how many
 * were beyond it. rig_report prints them all and fails the test where there were any. */
#ifndef SAIL_TEST_RIG_H
#define SAIL_TEST_RIG_H

#include "golden.h"

#include <math.h>
#include <unistd.h>

#include "io/peft.h"
#include "io/weights.h"
#include "nn/model.h"
#include "plugin.h"

#define RIG_UNUSED __attribute__((unused))

/* ---- tallies ---- */

enum { RIG_TALLIES = 64 };
typedef struct rig_tally {
    const char *name; /* static */
    char where[160];
    double worst, limit, deviation; /* share of the limit; the limit and the deviation there */
    size_t n, bad;
} rig_tally;

typedef struct rig_variant {
    const char *name, *backend;
    bool strict;
    sail_dtype dtype;
} rig_variant;

static const rig_variant rig_variants[] = {
    {"ref f32", "ref", false, SAIL_F32},
    {"ref f32, strict", "ref", true, SAIL_F32},
    {"cpu f32", "cpu", false, SAIL_F32},
    {"cpu bf16", "cpu", false, SAIL_BF16},
    {"ref bf16", "ref", false, SAIL_BF16},
    {"opencl f32", "opencl", false, SAIL_F32},
};

typedef struct rig {
    rig_variant variant;
    sail_ctx *ctx;
    sail_arena *arena;
    sail_slot slot;
    sail_runtime *rt;
    rig_tally tallies[RIG_TALLIES];
    int n_tallies;
    /* the model that is open */
    sail_arena *model_arena;
    sail__weights *weights;
    sail__peft peft;
    sail__model *model;
} rig;

/* A deviation of `d` against a limit; both in the quantity's own measure. Returns whether it is within. */
RIG_UNUSED static bool rig_judge(rig *r, const char *quantity, const char *where, double d, double limit)
{
    int i = 0;
    while (i < r->n_tallies && strcmp(r->tallies[i].name, quantity) != 0)
        i++;
    assert_true(i < RIG_TALLIES);
    rig_tally *t = &r->tallies[i];
    if (i == r->n_tallies) {
        *t = (rig_tally){.name = quantity, .worst = -1};
        r->n_tallies++;
    }
    double share = d == 0 ? 0 : d / limit;
    t->n++;
    if (!(share <= t->worst)) {
        t->worst = isnan(share) ? INFINITY : share;
        t->limit = limit;
        t->deviation = d;
        snprintf(t->where, sizeof t->where, "%s", where);
    }
    if (!(share <= 1) && t->bad++ < 3)
        print_error("%s: %s of %s is %.3g off, the limit is %.3g\n", r->variant.name, quantity, where, d, limit);
    return share <= 1;
}

/* Absolute deviations of n numbers. */
RIG_UNUSED static void rig_floats(rig *r, const char *quantity, const char *where, const float *got, const double *want, size_t n, double limit)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - want[i]);
        if (!(d <= most))
            most = d;
    }
    rig_judge(r, quantity, where, most, limit);
}

RIG_UNUSED static void rig_report(rig *r, const char *title)
{
    size_t bad = 0;
    print_message("%s, %s: largest deviation of each quantity as a share of its limit\n", title, r->variant.name);
    for (int i = 0; i < r->n_tallies; i++) {
        const rig_tally *t = &r->tallies[i];
        print_message("    %-26s %7.3f   %.2e of %.1e   %zu compared   (%s)\n", t->name, t->worst, t->deviation, t->limit, t->n, t->where);
        bad += t->bad;
    }
    r->n_tallies = 0;
    if (bad)
        fail_msg("%zu numbers are beyond their limit", bad);
}

/* ---- backends ---- */

RIG_UNUSED static bool rig_has_backend(const char *name)
{
    char path[4096];
    const char *build = getenv("SAIL_BUILD");
    snprintf(path, sizeof path, "%s/backends/%s/%s.so", build ? build : "build", name, name);
    return sail__file_exists(path);
}

RIG_UNUSED static void rig_quiet(void *user, sail_log_level level, const char *message)
{
    if (level <= SAIL_LOG_ERROR)
        print_error("%s\n", message);
}

RIG_UNUSED static sail_slot rig_slot(rig *r, sail_kind kind, const char *name, const sail_node *options)
{
    sail_slot slot;
    sail_problems problems = {.arena = r->arena};
    sail_node *map = options ? sail__node_copy(r->arena, options) : sail__node_new(r->arena, SAIL_NODE_MAP, "test", 0, 0);
    sail__node_set(r->arena, map, "kind", sail__node_string(r->arena, name, "test"));
    if (!sail__slot_parse(r->ctx, r->arena, kind, map, sail__kind_name(kind), NULL, NULL, &slot, &problems))
        fail_msg("%s: %s", problems.items[0].path, problems.items[0].message);
    return slot;
}

/* Skips the test where the backend is not built, or has no device. */
RIG_UNUSED static void rig_open(rig *r, int variant)
{
    sail_err err = {0};
    memset(r, 0, sizeof *r);
    r->variant = rig_variants[variant];
    if (!rig_has_backend(r->variant.backend)) {
        print_message("skipped: the %s backend is not built\n", r->variant.backend);
        skip();
    }
    r->ctx = sail_ctx_new();
    r->arena = sail__arena_new();
    assert_non_null(r->ctx);
    assert_non_null(r->arena);
    sail_ctx_set_log(r->ctx, SAIL_LOG_WARN, rig_quiet, NULL);
    r->slot = rig_slot(r, SAIL_KIND_BACKEND, r->variant.backend, r->variant.strict ? test_map(r->arena, "strict", "true", NULL) : NULL);
    if (sail__runtime_open(r->ctx, &r->slot, NULL, &r->rt, &err) == SAIL_OK)
        return;
    if (strcmp(r->variant.backend, "opencl") != 0 || err.code != SAIL_E_NOTFOUND)
        fail_msg("%s", err.message);
    print_message("skipped: %s\n", err.message);
    sail__arena_free(r->arena);
    sail_ctx_free(r->ctx);
    skip();
}

RIG_UNUSED static void rig_close_model(rig *r)
{
    sail__model_free(r->model);
    sail__weights_close(r->weights);
    sail__arena_free(r->model_arena);
    r->model = NULL;
    r->weights = NULL;
    r->model_arena = NULL;
}

RIG_UNUSED static void rig_close(rig *r)
{
    rig_close_model(r);
    sail__runtime_close(r->rt);
    sail__arena_free(r->arena);
    sail_ctx_free(r->ctx);
}

/* ---- models ---- */

typedef struct rig_spec {
    const char *path;    /* absolute */
    const char *adapter; /* PEFT directory; NULL: none */
    sail__train_kind train;
    const sail_optimizer_plan *optimizer;
    bool decay_all;
    int grad_want;
    bool as_stored; /* frozen matrices stay quantised */
} rig_spec;

RIG_UNUSED static sail_code rig_try(rig *r, const rig_spec *s, sail_err *err)
{
    sail__adapter adapter = {0};
    rig_close_model(r);
    r->model_arena = sail__arena_new();
    SAIL_TRY(sail__weights_open(r->ctx, s->path, &r->weights, err));
    if (s->adapter) {
        SAIL_TRY(sail__peft_read(r->model_arena, s->adapter, &r->peft, err));
        sail__adapter_layer *l = sail__arena_array(r->model_arena, r->peft.n_modules + 1, sizeof *l);
        sail__adapter_saved *v = sail__arena_array(r->model_arena, r->peft.n_saved + 1, sizeof *v);
        for (size_t i = 0; i < r->peft.n_modules; i++)
            l[i] = (sail__adapter_layer){r->peft.modules[i].module, r->peft.modules[i].rank, r->peft.modules[i].scale,
                                         r->peft.modules[i].a, r->peft.modules[i].b};
        for (size_t i = 0; i < r->peft.n_saved; i++)
            v[i] = (sail__adapter_saved){r->peft.saved[i].name, r->peft.saved[i].data};
        adapter = (sail__adapter){l, r->peft.n_modules, v, r->peft.n_saved, 0};
    }
    sail__model_spec m = {.config = sail__weights_config(r->weights), .source = sail__weights_source(r->weights),
                          .dtype = r->variant.dtype, .train = s->train, .adapter = s->adapter ? &adapter : NULL,
                          .optimizer = s->optimizer, .decay_all = s->decay_all, .grad_want = s->grad_want,
                          .as_stored = s->as_stored};
    return sail__model_new(r->rt, &m, &r->model, err);
}

RIG_UNUSED static void rig_load(rig *r, const rig_spec *s)
{
    sail_err err = {0};
    if (rig_try(r, s, &err) != SAIL_OK)
        fail_msg("%s: %s", s->path, err.message);
}

/* ids as int32, in the rig's arena. */
RIG_UNUSED static int32_t *rig_ids(rig *r, const golden_file *f, const char *name, size_t *n)
{
    int64_t *wide = golden_ints(f, name, n);
    int32_t *ids = sail__arena_array(r->arena, *n + 1, sizeof *ids);
    for (size_t i = 0; i < *n; i++)
        ids[i] = (int32_t)wide[i];
    return ids;
}

/* Everything that a pass says about one sequence; NULL: not wanted. logits [n][vocab]; logp, entropy, lss [n] at every position
 * (logp of the last one means nothing). */
RIG_UNUSED static sail_code rig_score(rig *r, sail__role_kind role, const int32_t *ids, size_t n, float *logits, float *logp, float *entropy,
                                      float *lss, sail_err *err)
{
    sail__forest f = {0};
    sail_code code = sail__forest_add(&f, -1, ids, (int64_t)n, SAIL__HEAD_NEXT, 0, NULL, err);
    if (code == SAIL_OK && logits)
        code = sail__model_logits(r->model, role, &f, logits, err);
    if (code == SAIL_OK && logp)
        code = sail__model_logprobs(r->model, role, &f, false, logp, entropy, lss, err);
    sail__forest_free(&f);
    return code;
}

/* "config.json" or another one in its place: a directory of links to the files of `model`. Removed with rig_unlink. */
RIG_UNUSED static const char *rig_with_config(rig *r, const char *model, const char *config)
{
    char **names;
    size_t n;
    sail_err err = {0};
    char *dir = sail__arena_strdup(r->arena, "/tmp/sail-golden-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(sail__list_dir(r->arena, model, &names, &n, &err), SAIL_OK);
    for (size_t i = 0; i < n; i++) {
        bool is_config = strncmp(names[i], "config.", 7) == 0;
        if (is_config && strcmp(names[i], config) != 0)
            continue;
        char *from = realpath(sail__path_join(r->arena, model, names[i]), NULL);
        assert_non_null(from);
        assert_int_equal(symlink(from, sail__path_join(r->arena, dir, is_config ? "config.json" : names[i])), 0);
        free(from);
    }
    return dir;
}

RIG_UNUSED static void rig_unlink(const char *dir)
{
    sail_err err = {0};
    assert_int_equal(sail__remove_tree(dir, &err), SAIL_OK);
}

#endif
