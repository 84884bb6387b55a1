/* test_gradients.c - the gradient of every objective under every preference model, through a tiny transformer: what the objective's tape and
 * the model's backward pass give together, against central differences of the loss over the adapter's weights.
 *
 * Differences are taken along two directions of unit length: the gradient, and the gradient on a half of its entries; the derivative along
 * each is its norm. Two steps are extrapolated. What objectives hold still (sail_detach) is held still here as well; baselines are left out.
 * Losses are sums of float32 log-probabilities: rounding leaves a few 1e-4 of a derivative. */
#include "../lesson.h"

#include "align/tape_internal.h"
#include "sail/rng.h"

enum { GROUPS = 4, PROMPT = 4, SHORTEST = 2, LONGEST = 6, SEED = 5 };
static const double LIMIT = 1e-3, CHANGE = 0.015; /* of a derivative; how far the loss is moved */

static double draw(int64_t i, uint64_t what) { return sail_rng_uniform(SEED, SAIL_RNG_USER, (uint64_t)i, what, 0); }

/* ---- the step: groups on every route ---- */

static int32_t *random_ids(lesson *l, int64_t n, uint64_t what)
{
    const int32_t vocab = sail__weights_config(l->rig->weights)->vocab;
    int32_t *ids = sail__arena_array(l->step.arena, (size_t)n, sizeof *ids);
    for (int64_t i = 0; i < n; i++)
        ids[i] = 3 + (int32_t)(draw(i, what) * (vocab - 3));
    return ids;
}

static void make_step(lesson *l, int k, int outcomes, bool single)
{
    static const sail_route routes[GROUPS] = {{"offline", 0.25, SAIL_BY_DATA, SAIL_BY_DATA, 0},
                                              {"ddp", 0.25, SAIL_BY_DATA, SAIL_BY_POLICY, 0.2},
                                              {"dpp", 0.25, SAIL_BY_POLICY, SAIL_BY_POLICY, 0.3},
                                              {"dpr", 0.25, SAIL_BY_POLICY, SAIL_BY_JUDGE, 0.4}};
    l->step.n = GROUPS;
    l->step.groups = sail__arena_array(l->step.arena, GROUPS, sizeof *l->step.groups);
    for (int i = 0; i < GROUPS; i++) {
        const sail_route *r = &routes[single ? 0 : i];
        sail__group *g = &l->step.groups[i];
        *g = (sail__group){.prompt = random_ids(l, PROMPT, 100 + (uint64_t)i), .n_prompt = PROMPT, .row = i, .prompt_id = i, .k = k, .route = r->name,
                           .writer = r->writer, .labeller = r->labeller, .coef = r->coefficient};
        g->outcome = single ? 0 : (i + 1) % outcomes; /* ties among them where the model has any */
        g->desirable = single ? 1 + i % 2 : 0;
        for (int s = 0; s < k; s++) {
            const int64_t n = SHORTEST + (int64_t)(draw(8 * i + s, 1) * (LONGEST - SHORTEST + 1));
            g->r[s] = (sail__response){.ids = random_ids(l, n, 200 + (uint64_t)(8 * i + s)), .n = n, .id = 8 * i + s, .score = NAN};
        }
    }
}

/* ---- moving the adapter ---- */

typedef struct place {
    int n;
    size_t count[256];
    float *at[256], *along[2][256];
    double slope[2]; /* norm of each direction before it was made of length 1 */
} place;

static void put(rig *r, int entry, const float *x)
{
    sail_err err = {0};
    const sail_tensor t = sail__flat_view(sail__model_flat(r->model), entry, SAIL__FLAT_WEIGHT, 0);
    if (sail__tensor_put(r->rt, &t, x, &err) != SAIL_OK)
        fail_msg("%s", err.message);
}

static void move(rig *r, const place *p, int direction, double by)
{
    for (int i = 0; i < p->n; i++) {
        float *x = sail__malloc(p->count[i] * sizeof *x);
        for (size_t k = 0; k < p->count[i]; k++)
            x[k] = p->at[i][k] + (float)(by * p->along[direction][i][k]);
        put(r, i, x);
        sail__free(x);
    }
}

/* Away from the start, where B = 0 and every log-ratio is 0. */
static void shake(rig *r)
{
    const sail__flat *f = sail__model_flat(r->model);
    for (int i = 0; i < f->n_entries; i++) {
        size_t n;
        float *x = lesson_values(r, i, SAIL__FLAT_WEIGHT, &n);
        for (size_t k = 0; k < n; k++)
            x[k] += (float)(0.05 * sail_rng_normal(SEED, SAIL_RNG_USER, 7, (uint64_t)i, k));
        put(r, i, x);
    }
}

static void directions(rig *r, place *p)
{
    double square[2] = {0};
    p->n = sail__model_flat(r->model)->n_entries;
    assert_in_range(p->n, 1, 256);
    for (int i = 0; i < p->n; i++) {
        p->at[i] = lesson_values(r, i, SAIL__FLAT_WEIGHT, &p->count[i]);
        for (int d = 0; d < 2; d++) {
            p->along[d][i] = lesson_values(r, i, SAIL__FLAT_GRADIENT, &p->count[i]);
            for (size_t k = 0; k < p->count[i]; k++) {
                if (d == 1 && draw((int64_t)k, 300 + (uint64_t)i) < 0.5)
                    p->along[d][i][k] = 0;
                square[d] += (double)p->along[d][i][k] * p->along[d][i][k];
            }
        }
    }
    for (int d = 0; d < 2; d++) {
        p->slope[d] = sqrt(square[d]);
        for (int i = 0; i < p->n && p->slope[d] > 0; i++)
            for (size_t k = 0; k < p->count[i]; k++)
                p->along[d][i][k] = (float)(p->along[d][i][k] / p->slope[d]);
    }
}

/* ---- the comparison ---- */

static double loss_at(lesson *l, const place *p, int direction, double by, sail__frozen *frozen)
{
    sail_err err = {0};
    double loss;
    move(l->rig, p, direction, by);
    for (int64_t i = 0; i < l->step.n; i++)
        l->step.groups[i].ref_known = true;
    frozen->replay = true;
    frozen->next = 0;
    l->metrics.n = 0;
    if (sail__learner_evaluate(&l->learner, &l->stage, &l->step, &l->metrics, &loss, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_false(frozen->failed);
    return loss;
}

static void differences(lesson *l, const char *what)
{
    place p = {0};
    sail__frozen frozen = {0};
    l->learner.tape->frozen = &frozen;
    lesson_gradients(l);
    directions(l->rig, &p);
    for (int d = 0; d < 2; d++) {
        assert_true(p.slope[d] > 1e-6);
        double by = CHANGE / p.slope[d], v[4];
        by = by > 0.2 ? 0.2 : by;
        for (int k = 0; k < 4; k++)
            v[k] = loss_at(l, &p, d, (k % 2 ? -1 : 1) * (k < 2 ? by : by / 2), &frozen);
        const double wide = (v[0] - v[1]) / (2 * by), narrow = (v[2] - v[3]) / by, slope = (4 * narrow - wide) / 3;
        rig_judge(l->rig, "derivative along the gradient (relative)", what, fabs(slope / p.slope[d] - 1),
                  strcmp(l->rig->variant.backend, "cpu") ? LIMIT : 4 * LIMIT);
    }
    move(l->rig, &p, 0, 0);
    l->learner.tape->frozen = NULL;
    sail__free(frozen.values);
}

/* A stage as the recipe's method would make it: objective(s), modifiers, preference model. */
static void method(lesson *l, rig *r, const char *objective, const char *options, const char *more, const char *preference, const sail__modifiers *m)
{
    sail_node *map = NULL;
    sail_err err = {0};
    if (options && sail__json_parse(r->arena, options, strlen(options), "test", 0, &map, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    sail_slot *slots = sail__arena_array(r->arena, 2, sizeof *slots), combined;
    slots[0] = rig_slot(r, SAIL_KIND_OBJECTIVE, objective, map);
    if (more)
        slots[1] = rig_slot(r, SAIL_KIND_OBJECTIVE, more, NULL);
    const sail__objective_part parts[2] = {{&slots[0], 1}, {&slots[1], 0.5}};
    sail_problems problems = {.arena = r->arena};
    if (!sail__combine(r->arena, parts, more ? 2 : 1, m, "method.objective", NULL, &combined, &problems))
        fail_msg("%s", problems.items[0].message);
    sail_loaded *copy = sail__arena_alloc(r->arena, sizeof *copy);
    sail_objective *ops = sail__arena_alloc(r->arena, SAIL_OPS_ROOM);
    *ops = *(const sail_objective *)combined.loaded->ops;
    ops->prepare = NULL; /* what it gives is no part of the derivative, and would move */
    *copy = *combined.loaded;
    copy->ops = ops;
    const double beta = 0.3;
    lesson_begin(l, r, objective, map, beta);
    sail__learner_free(&l->learner);
    l->stage.objective = (sail_slot){.loaded = copy, .options = combined.options};
    l->stage.modifiers = *m;
    l->stage.preference = rig_slot(r, SAIL_KIND_PREFERENCE, preference, NULL);
    if (sail__learner_init(&l->learner, r->model, copy->plugin.caps, &err) != SAIL_OK)
        fail_msg("%s", err.message);
}

static void one(rig *r, const char *objective, const char *options, const char *more, const char *preference, const sail__modifiers *m, int k,
                const char *label)
{
    lesson l;
    method(&l, r, objective, options, more, preference, m);
    const sail_preference *ops = l.stage.preference.loaded->ops;
    make_step(&l, k, k > 1 ? ops->outcomes(l.stage.preference.options, k) : 1, k == 1);
    differences(&l, label);
    lesson_end(&l);
}

typedef struct row {
    const char *objective, *options;
    bool groups; /* takes more than two responses */
} row;
static const row rows[] = {{"aot", NULL, false},
                           {"aot_unpaired", NULL, false},
                           {"apo_down", NULL, false},
                           {"apo_zero", NULL, false},
                           {"bco_pair", NULL, false},
                           {"cdpo", NULL, true},
                           {"cpo", NULL, false},
                           {"discopop", "{\"discopop_tau\": 0.5}", false},
                           {"dpo", NULL, true},
                           {"exo_pair", "{\"label_smoothing\": 0.1}", false},
                           {"hinge", NULL, false},
                           {"ipo", NULL, false},
                           {"kto", NULL, false},
                           {"nca_pair", NULL, false},
                           {"orpo", NULL, false},
                           {"robust", "{\"label_smoothing\": 0.1}", false},
                           {"sail", "{\"baseline\": \"none\"}", true},
                           {"sail", "{\"baseline\": \"none\", \"labels\": \"expected\"}", true},
                           {"sft", NULL, true},
                           {"sigmoid", NULL, true},
                           {"sigmoid_norm", NULL, false},
                           {"simpo", NULL, false},
                           {"sppo_hard", NULL, false}};
static const char *const preferences[] = {"bradley_terry", "thurstone", "plackett_luce", "rao_kupper", "davidson", "noisy_bradley_terry"};

static void load(rig *r)
{
    sail_optimizer_plan plan;
    lesson_plan(r, test_map(r->arena, "kind", "\"sgd\"", NULL), &plan);
    rig_load(r, &(rig_spec){.path = sail__path_join(r->arena, golden_dir(), "method/model"),
                            .adapter = sail__path_join(r->arena, golden_dir(), "method/trajectories/lora_initial"),
                            .train = SAIL__TRAIN_ADAPTER, .optimizer = &plan, .grad_want = SAIL_WANT_ENTROPY | SAIL_WANT_LSS});
    shake(r);
}

/* No plugin is forgotten: each file is in the table, or needs what is not here. */
static bool listed(const char *file)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t n = strlen(rows[i].objective);
        if (!strncmp(file, rows[i].objective, n) && !strcmp(file + n, ".so"))
            return true;
    }
    return !strcmp(file, "reward.so"); /* of score heads: tests of reward models */
}

static void every_objective_under_every_preference_model(void **state)
{
    rig r;
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    load(&r);
    char **names;
    size_t n;
    sail_err err = {0};
    assert_int_equal(sail__list_dir(r.arena, sail__arena_printf(r.arena, "%s/plugins/objective", getenv("SAIL_BUILD") ? getenv("SAIL_BUILD") : "build"),
                                    &names, &n, &err), SAIL_OK);
    for (size_t i = 0; i < n; i++)
        if (strlen(names[i]) > 3 && !strcmp(names[i] + strlen(names[i]) - 3, ".so") && !listed(names[i]))
            fail_msg("objective %s is not among those whose gradient is tested", names[i]);
    const sail__modifiers none = {.ld_alpha = 1};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t p = 0; p < sizeof preferences / sizeof *preferences; p++) {
            const int k = rows[i].groups && !strcmp(preferences[p], "plackett_luce") ? 3 : 2;
            one(&r, rows[i].objective, rows[i].options, NULL, preferences[p], &none, k,
                sail__arena_printf(r.arena, "%s, %s, %d responses", rows[i].objective, preferences[p], k));
        }
    one(&r, "kto", NULL, NULL, "bradley_terry", &none, 1, "kto, single responses");
    rig_report(&r, "every objective under every preference model");
    rig_close(&r);
}

static void every_modifier(void **state)
{
    rig r;
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    load(&r);
    for (int f = 0; sail__divergences[f]; f++) {
        static const char *const takes[] = {"sigmoid", "ipo", "exo_pair", "sail"};
        const sail__modifiers m = {.divergence = f, .f_alpha = 0.5, .ld_alpha = 1};
        for (size_t i = 0; i < sizeof takes / sizeof *takes; i++)
            one(&r, takes[i], !strcmp(takes[i], "sail") ? "{\"baseline\": \"none\"}" : NULL, NULL, "thurstone", &m, 2,
                sail__arena_printf(r.arena, "%s, %s", takes[i], sail__divergences[f]));
    }
    const sail__modifiers length = {.length = true, .ld_alpha = 0.5}, weighting = {.ld_alpha = 1, .weighting = true},
                          all = {.divergence = SAIL__JS_DIVERGENCE, .length = true, .ld_alpha = 0.25, .weighting = true}, none = {.ld_alpha = 1};
    one(&r, "apo_zero", NULL, NULL, "bradley_terry", &length, 2, "apo_zero, ld_alpha");
    one(&r, "sail", "{\"baseline\": \"none\"}", NULL, "bradley_terry", &length, 2, "sail, ld_alpha");
    one(&r, "dpo", NULL, NULL, "davidson", &weighting, 2, "dpo, use_weighting");
    one(&r, "sigmoid", NULL, "sft", "bradley_terry", &none, 2, "sigmoid and sft");
    one(&r, "sigmoid", NULL, "sft", "bradley_terry", &weighting, 2, "sigmoid and sft, use_weighting");
    one(&r, "hinge", NULL, "sigmoid_norm", "bradley_terry", &all, 2, "hinge and sigmoid_norm, everything");
    rig_report(&r, "every modifier");
    rig_close(&r);
}

/* KTO's divergence is of the next other prompt's response, after this prompt: its log-probabilities against a pass of that sequence alone. */
static void another_prompts_response_is_scored_after_this_prompt(void **state)
{
    rig r;
    lesson l;
    sail_err err = {0};
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    load(&r);
    const sail__modifiers none = {.ld_alpha = 1};
    method(&l, &r, "kto", NULL, NULL, "bradley_terry", &none);
    make_step(&l, 1, 1, true);
    l.step.groups[1].prompt = l.step.groups[0].prompt; /* the same prompt twice: its own responses do not serve it */
    lesson_gradients(&l);
    for (int i = 0; i < GROUPS; i++) {
        const sail__group *g = &l.step.groups[i];
        const int other = i == 0 ? 2 : (i + 1) % GROUPS;
        assert_ptr_equal(g->mismatched, &l.step.groups[other].r[0]);
        for (int role = 0; role < 2; role++) {
            float alone[LONGEST];
            sail__forest f = {0};
            int parent;
            if (sail__forest_add(&f, -1, g->prompt, g->n_prompt, SAIL__HEAD_NONE, 0, &parent, &err) ||
                sail__forest_add(&f, parent, g->mismatched->ids, g->mismatched->n, SAIL__HEAD_EACH, 1, NULL, &err) ||
                sail__model_logprobs(r.model, role ? SAIL__REFERENCE : SAIL__POLICY, &f, false, alone, NULL, NULL, &err))
                fail_msg("%s", err.message);
            for (int64_t t = 0; t < g->mismatched->n; t++)
                rig_judge(&r, "log-probability", role ? "reference" : "policy", fabs(alone[t] - (role ? g->beside.ref : g->beside.logp)[t]), 2e-5);
            sail__forest_free(&f);
        }
    }
    lesson_end(&l);
    rig_report(&r, "other prompts' responses");
    rig_close(&r);
}

#define VARIANT(test, i, label) {#test " on " label, test, NULL, NULL, (void *)(intptr_t)(i)}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VARIANT(every_objective_under_every_preference_model, 0, "ref"),
        VARIANT(another_prompts_response_is_scored_after_this_prompt, 0, "ref"),
        VARIANT(every_modifier, 0, "ref"),
        VARIANT(every_modifier, 2, "cpu f32"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
