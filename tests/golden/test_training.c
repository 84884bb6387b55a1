/* test_training.c - optimiser steps against golden/models/training and golden/method/trajectories: five steps of each recorded
 * optimiser on all parameters, adapters with their gradients, merges and steps, ten-step runs of whole objectives. Options, shapes and
 * counts come from the files. */
#include "../lesson.h"

#include "align/schedule.h"

static double number_or(const sail_node *map, const char *key, double otherwise)
{
    const sail_node *n = sail__node_get(map, key);
    return n && n->kind != SAIL_NODE_NULL ? test_number(n) : otherwise;
}

static bool decays_all(const sail_node *options)
{
    const sail_node *n = sail__node_get(options, "decay");
    return n && !strcmp(test_string(n), "all");
}

static const char *models(const rig *r, const char *relative)
{
    return sail__path_join(r->arena, sail__path_join(r->arena, golden_dir(), "models"), relative);
}

/* ---- training/full ---- */

static void final_weights(rig *r, const golden_file *f, const char *run, float *const *before)
{
    const sail__flat *flat = sail__model_flat(r->model);
    for (int i = 0; i < flat->n_entries; i++) {
        char name[320], at[320];
        size_t n, count;
        float *w = lesson_values(r, i, SAIL__FLAT_WEIGHT, &n);
        snprintf(at, sizeof at, "%s %s", run, flat->entries[i].name);
        snprintf(name, sizeof name, "%s.norm.%s", run, flat->entries[i].name);
        double want = golden_scalar(f, name), change = 0;
        rig_judge(r, "full: final norm (relative)", at, fabs(lesson_norm(w, n) - want), 3e-6 * want);
        for (size_t k = 0; k < n; k++)
            change += ((double)w[k] - before[i][k]) * ((double)w[k] - before[i][k]);
        snprintf(name, sizeof name, "%s.change_norm.%s", run, flat->entries[i].name);
        want = golden_scalar(f, name);
        rig_judge(r, "full: change (relative)", at, fabs(sqrt(change) - want), 2e-4 * want);
        snprintf(name, sizeof name, "%s.index.%s", run, flat->entries[i].name);
        int64_t *index = golden_ints(f, name, &count);
        snprintf(name, sizeof name, "%s.value.%s", run, flat->entries[i].name);
        double *value = golden_doubles(f, name, NULL);
        for (size_t k = 0; k < count; k++)
            rig_judge(r, "full: final entries", at, fabs(w[index[k]] - value[k]), 5e-6);
    }
}

/* The losses and norms of `steps` updates; loss has one more. */
static void steps(lesson *l, const golden_file *f, const char *run, const char *quantity_loss, const char *quantity_norm, double rate,
                  double max_norm)
{
    char name[320], at[320];
    size_t n_loss, n;
    snprintf(name, sizeof name, "%s.loss", run);
    double *loss = golden_doubles(f, name, &n_loss);
    snprintf(name, sizeof name, "%s.grad_norm", run);
    double *norm = golden_doubles(f, name, &n);
    assert_int_equal(n_loss, n + 1);
    for (size_t s = 0; s < n_loss; s++) {
        lesson_gradients(l);
        snprintf(at, sizeof at, "%s step %zu", run, s);
        rig_judge(l->rig, quantity_loss, at, fabs(l->loss - loss[s]), 5e-6);
        if (s == n)
            break;
        sail__update u = lesson_update(l, rate, max_norm, (int64_t)s + 1);
        rig_judge(l->rig, quantity_norm, at, fabs(u.norm - norm[s]), 1e-5 * norm[s] + 1e-6); /* small ones of pairs long since told apart */
        l->step.step++;
    }
}

static void full(void **state)
{
    rig r;
    golden_file options, data, f;
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    const sail_node *o = sail__node_get(golden_json(&options, "models/training/options.json"), "full"), *runs = sail__node_get(o, "runs");
    golden_open(&f, "models/training/full.safetensors");
    golden_open(&data, sail__arena_printf(r.arena, "models/%s", test_string(sail__node_get(o, "data"))));
    for (size_t i = 0; i < runs->list.n; i++) {
        const sail_node *run = runs->list.items[i];
        sail_optimizer_plan plan;
        lesson l;
        lesson_plan(&r, run, &plan);
        rig_load(&r, &(rig_spec){.path = models(&r, test_string(sail__node_get(o, "model"))), .train = SAIL__TRAIN_ALL, .optimizer = &plan,
                                 .decay_all = decays_all(run)});
        lesson_begin(&l, &r, "dpo", NULL, test_number(sail__node_get(o, "beta")));
        lesson_pairs(&l, &data);
        lesson_reference(&l, &data);
        int n = sail__model_flat(r.model)->n_entries;
        float **before = sail__arena_array(r.arena, (size_t)n, sizeof *before);
        for (int k = 0; k < n; k++)
            before[k] = lesson_values(&r, k, SAIL__FLAT_WEIGHT, &(size_t){0});
        steps(&l, &f, runs->list.keys[i], "full: loss", "full: gradient norm (relative)", test_number(sail__node_get(run, "lr")),
              number_or(run, "max_grad_norm", 0));
        final_weights(&r, &f, runs->list.keys[i], before);
        lesson_end(&l);
    }
    golden_close(&f);
    golden_close(&data);
    golden_close(&options);
    rig_report(&r, "full fine-tuning");
    rig_close(&r);
}

/* ---- training/lora* ---- */

static void adapter_gradients(rig *r, const golden_file *f, const char *adapter)
{
    static const char prefix[] = "grad.base_model.model.";
    double total = 0;
    int seen = 0;
    for (size_t i = 0; i < f->header->list.n; i++) {
        const char *name = f->header->list.keys[i];
        size_t n, count;
        if (strncmp(name, prefix, sizeof prefix - 1) != 0)
            continue;
        int entry = lesson_entry(r, name + sizeof prefix - 1);
        if (entry < 0)
            fail_msg("%s: nothing is trained under the name %s", adapter, name);
        float *g = lesson_values(r, entry, SAIL__FLAT_GRADIENT, &n);
        double *want = golden_doubles(f, name, &count), largest = 0;
        assert_int_equal(n, count);
        for (size_t k = 0; k < n; k++)
            largest = fmax(largest, fabs(want[k]));
        rig_floats(r, "adapter: gradients", name + 5, g, want, n, 1e-4 * largest);
        total += lesson_norm(g, n) * lesson_norm(g, n);
        seen++;
    }
    assert_int_equal(seen, sail__model_flat(r->model)->n_entries);
    rig_judge(r, "adapter: gradient norm (rel.)", adapter, fabs(sqrt(total) - golden_scalar(f, "grad_norm")), 2e-5 * golden_scalar(f, "grad_norm"));
}

static void adapter_merged(rig *r, const golden_file *f, const char *adapter)
{
    static const char prefix[] = "merged.";
    sail_err err = {0};
    for (size_t i = 0; i < f->header->list.n; i++) {
        const char *name = f->header->list.keys[i];
        size_t n;
        if (strncmp(name, prefix, sizeof prefix - 1) != 0)
            continue;
        double *want = golden_doubles(f, name, &n);
        float *got = sail__arena_array(r->arena, n, sizeof *got);
        if (sail__model_read(r->model, SAIL__POLICY, name + sizeof prefix - 1, true, 0, golden_get(f, name).shape[0], got, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        rig_floats(r, "adapter: merged", sail__arena_printf(r->arena, "%s %s", adapter, name), got, want, n, 1e-6);
    }
}

static void adapter_logits(rig *r, const golden_file *f, const char *adapter, const char *family)
{
    golden_file base;
    size_t n_rows, width, count;
    sail_err err = {0};
    golden_open(&base, sail__arena_printf(r->arena, "models/%s/expected.safetensors", family));
    int64_t *lengths = golden_ints(&base, "lengths", &n_rows);
    int32_t *ids = rig_ids(r, &base, "input_ids", &width);
    double *want = golden_doubles(f, "logits_on", &count);
    float *logits = sail__arena_array(r->arena, count, sizeof *logits);
    assert_int_equal(count, (size_t)lengths[0] * (size_t)sail__weights_config(r->weights)->vocab);
    if (rig_score(r, SAIL__POLICY, ids, (size_t)lengths[0], logits, NULL, NULL, NULL, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    rig_floats(r, "adapter: logits", adapter, logits, want, count, 2e-4);
    golden_close(&base);
}

static void one_adapter(rig *r, const char *adapter, const sail_node *all, const golden_file *data)
{
    static const lesson_limits limits = {5e-5, 1e-4, 1e-5, 2e-5, 5e-6};
    static const char *const names[] = {"ref_logps_chosen", "ref_logps_rejected"};
    const sail_node *o = sail__node_get(all, "lora"), *base = sail__node_get(all, "full");
    const char *family = test_string(sail__node_get(base, "model"));
    golden_file f;
    sail_optimizer_plan plan;
    lesson l;
    golden_open(&f, sail__arena_printf(r->arena, "models/training/%s/expected.safetensors", adapter));
    lesson_plan(r, o, &plan);
    rig_load(r, &(rig_spec){.path = models(r, family), .adapter = models(r, sail__arena_printf(r->arena, "training/%s", adapter)),
                            .train = SAIL__TRAIN_ADAPTER, .optimizer = &plan, .decay_all = decays_all(o)});
    adapter_logits(r, &f, adapter, family);
    adapter_merged(r, &f, adapter);
    lesson_begin(&l, r, "dpo", NULL, test_number(sail__node_get(base, "beta")));
    lesson_pairs(&l, data);
    lesson_gradients(&l); /* the reference: the adapter off, in the same step */
    for (int k = 0; k < 2; k++) {
        double *want = golden_doubles(&f, names[k], NULL);
        for (int64_t i = 0; i < l.step.n; i++)
            rig_judge(r, "adapter: off, the reference", adapter, fabs(lesson_sum(l.step.groups[i].r[k].ref, l.step.groups[i].r[k].n) - want[i]),
                      limits.sum);
    }
    lesson_compare(&l, &f, adapter, &limits);
    adapter_gradients(r, &f, adapter);
    steps(&l, &f, "adamw", "adapter: loss", "adapter: steps' norm (rel.)", test_number(sail__node_get(o, "lr")), number_or(o, "max_grad_norm", 0));
    lesson_end(&l);
    golden_close(&f);
}

static void adapters(void **state)
{
    rig r;
    golden_file options, data;
    char **names;
    size_t n, seen = 0;
    sail_err err = {0};
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    const sail_node *all = golden_json(&options, "models/training/options.json");
    golden_open(&data, sail__arena_printf(r.arena, "models/%s", test_string(sail__node_get(sail__node_get(all, "full"), "data"))));
    assert_int_equal(sail__list_dir(r.arena, models(&r, "training"), &names, &n, &err), SAIL_OK);
    for (size_t i = 0; i < n; i++)
        if (sail__file_exists(models(&r, sail__arena_printf(r.arena, "training/%s/adapter_config.json", names[i])))) {
            one_adapter(&r, names[i], all, &data);
            seen++;
        }
    assert_true(seen > 0);
    golden_close(&data);
    golden_close(&options);
    rig_report(&r, "adapters");
    rig_close(&r);
}

#define VARIANT(test, i, label) {#test " on " label, test, NULL, NULL, (void *)(intptr_t)(i)}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VARIANT(full, 0, "ref"),     VARIANT(full, 1, "ref, strict"),     VARIANT(full, 2, "cpu f32"),
        VARIANT(adapters, 0, "ref"), VARIANT(adapters, 1, "ref, strict"), VARIANT(adapters, 2, "cpu f32"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
