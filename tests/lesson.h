/* lesson.h - for tests: optimiser steps on recorded pairs through the learner. Header only. */
#ifndef SAIL_TEST_LESSON_H
#define SAIL_TEST_LESSON_H

#include "rig.h"

#include "align/learner.h"

typedef struct lesson {
    rig *rig;
    sail__stage stage;
    sail__learner learner;
    sail__step step;
    sail__metrics metrics; /* of the last step */
    double loss;
} lesson;

/* The plan of an optimiser from a recorded map of options; keys that are the run's own business are left out. */
RIG_UNUSED static void lesson_plan(rig *r, const sail_node *options, sail_optimizer_plan *plan)
{
    static const char *const not_its[] = {"kind", "lr", "decay", "max_grad_norm", "steps"};
    sail_node *map = sail__node_copy(r->arena, options);
    const char *kind = test_string(sail__node_get(options, "kind"));
    for (size_t i = 0; i < sizeof not_its / sizeof *not_its; i++)
        sail__node_unset(map, not_its[i]);
    sail_slot slot = rig_slot(r, SAIL_KIND_OPTIMIZER, kind, map);
    *plan = (sail_optimizer_plan){0};
    ((const sail_optimizer *)slot.loaded->ops)->plan(slot.options, plan);
}

/* The rig's model, opened for training, learns from `objective`. */
RIG_UNUSED static void lesson_begin(lesson *l, rig *r, const char *objective, const sail_node *options, double beta)
{
    sail_err err = {0};
    *l = (lesson){.rig = r};
    l->stage.objective = rig_slot(r, SAIL_KIND_OBJECTIVE, objective, options);
    l->stage.preference = rig_slot(r, SAIL_KIND_PREFERENCE, "bradley_terry", NULL);
    l->stage.method.beta = beta;
    l->stage.train.max_tokens = 1 << 20;
    l->step.arena = sail__arena_new();
    l->step.outcomes_given = true;
    l->metrics.arena = l->step.arena;
    if (sail__learner_init(&l->learner, r->model, l->stage.objective.loaded->plugin.caps, &err) != SAIL_OK)
        fail_msg("%s", err.message);
}

RIG_UNUSED static void lesson_end(lesson *l)
{
    sail__learner_free(&l->learner);
    sail__free(l->metrics.items);
    sail__arena_free(l->step.arena);
}

RIG_UNUSED static void lesson_gradients(lesson *l)
{
    sail_err err = {0};
    bool numeric;
    l->metrics.n = 0;
    if (sail__learner_gradients(&l->learner, &l->stage, &l->step, &l->metrics, &l->loss, &numeric, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_false(numeric);
}

RIG_UNUSED static sail__update lesson_update(lesson *l, double rate, double max_norm, int64_t number)
{
    sail_err err = {0};
    sail__update u = {.rate = rate, .max_norm = max_norm, .loss = l->loss, .multiplier = 1, .step = number};
    if (sail__flat_update(sail__model_flat(l->rig->model), &u, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_false(u.skipped);
    return u;
}

/* The pairs of a dpo.safetensors: prompt.i, chosen.i, rejected.i. */
RIG_UNUSED static void lesson_pairs(lesson *l, const golden_file *f)
{
    static const char *const sides[] = {"chosen", "rejected"};
    char name[64];
    while (snprintf(name, sizeof name, "prompt.%lld", (long long)l->step.n), golden_has(f, name))
        l->step.n++;
    assert_true(l->step.n > 0);
    l->step.groups = sail__arena_array(l->step.arena, (size_t)l->step.n, sizeof *l->step.groups);
    for (int64_t i = 0; i < l->step.n; i++) {
        sail__group *g = &l->step.groups[i];
        size_t n;
        snprintf(name, sizeof name, "prompt.%lld", (long long)i);
        *g = (sail__group){.row = i, .prompt_id = i, .k = 2, .route = "offline"};
        g->prompt = rig_ids(l->rig, f, name, &n);
        g->n_prompt = (int64_t)n;
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "%s.%lld", sides[k], (long long)i);
            g->r[k] = (sail__response){.ids = rig_ids(l->rig, f, name, &n), .id = 2 * i + k, .score = NAN};
            g->r[k].n = (int64_t)n;
        }
    }
}

/* Reference sums of whole responses, as recorded: on the first token, the others 0. */
RIG_UNUSED static void lesson_reference(lesson *l, const golden_file *f)
{
    static const char *const names[] = {"ref_logps_chosen", "ref_logps_rejected"};
    for (int k = 0; k < 2; k++) {
        double *sums = golden_doubles(f, names[k], NULL);
        for (int64_t i = 0; i < l->step.n; i++) {
            sail__response *y = &l->step.groups[i].r[k];
            y->ref = sail__arena_array(l->step.arena, (size_t)y->n, sizeof *y->ref);
            y->ref[0] = (float)sums[i];
            l->step.groups[i].ref_known = true;
        }
    }
}

RIG_UNUSED static double lesson_sum(const float *x, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += x[i];
    return s;
}

/* Entry `name` of the flat space, or -1. */
RIG_UNUSED static int lesson_entry(rig *r, const char *name)
{
    const sail__flat *f = sail__model_flat(r->model);
    for (int i = 0; i < f->n_entries; i++)
        if (strcmp(f->entries[i].name, name) == 0)
            return i;
    return -1;
}

/* Weight or gradient of an entry, in the rig's arena. */
RIG_UNUSED static float *lesson_values(rig *r, int entry, enum sail__flat_part part, size_t *n)
{
    sail_err err = {0};
    const sail__flat *f = sail__model_flat(r->model);
    sail_tensor t = sail__flat_view(f, entry, part, 0);
    *n = (size_t)(t.rows * t.cols);
    float *out = sail__arena_array(r->arena, *n, sizeof *out);
    assert_non_null(out);
    if (sail__tensor_get_f32(r->rt, &t, out, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    return out;
}

RIG_UNUSED static double lesson_norm(const float *x, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += (double)x[i] * x[i];
    return sqrt(s);
}

/* What is recorded for a batch, in dpo.safetensors and an adapter's expected.safetensors alike: sums, rewards, margins, loss. The
 * limits are absolute, in the order of `names`. */
typedef struct lesson_limits {
    double token, sum, reward, margin, loss;
} lesson_limits;
RIG_UNUSED static void lesson_compare(lesson *l, const golden_file *f, const char *where, const lesson_limits *limits)
{
    static const char *const sides[] = {"chosen", "rejected"};
    double reward[2][64];
    char name[64], at[128];
    assert_true(l->step.n <= 64);
    for (int k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "logps_%s", sides[k]);
        double *sums = golden_doubles(f, name, NULL);
        snprintf(name, sizeof name, "rewards_%s", sides[k]);
        double *rewards = golden_doubles(f, name, NULL), mean = 0;
        for (int64_t i = 0; i < l->step.n; i++) {
            const sail__response *y = &l->step.groups[i].r[k];
            size_t n;
            snprintf(at, sizeof at, "%s %s.%lld", where, sides[k], (long long)i);
            snprintf(name, sizeof name, "token_logps_%s.%lld", sides[k], (long long)i);
            if (golden_has(f, name)) {
                double *tokens = golden_doubles(f, name, &n);
                assert_int_equal(n, y->n);
                rig_floats(l->rig, "dpo token log-probability", at, y->logp, tokens, n, limits->token);
            }
            rig_judge(l->rig, "dpo log-probability", at, fabs(lesson_sum(y->logp, y->n) - sums[i]), limits->sum);
            reward[k][i] = l->stage.method.beta * (lesson_sum(y->logp, y->n) - lesson_sum(y->ref, y->n));
            rig_judge(l->rig, "dpo reward", at, fabs(reward[k][i] - rewards[i]), limits->reward);
            mean += rewards[i] / (double)l->step.n;
        }
        snprintf(name, sizeof name, "rewards/%s", sides[k]);
        rig_judge(l->rig, "dpo reward", name, fabs(sail__metrics_get(&l->metrics, name) - mean), limits->reward);
    }
    double *margins = golden_doubles(f, "margins", NULL);
    for (int64_t i = 0; i < l->step.n; i++)
        rig_judge(l->rig, "dpo margin", where, fabs(reward[0][i] - reward[1][i] - margins[i]), limits->margin);
    rig_judge(l->rig, "dpo loss", where, fabs(l->loss - golden_scalar(f, "loss")), limits->loss);
}

#endif
