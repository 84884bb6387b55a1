/* test_trajectories.c - ten optimiser steps of whole objectives against golden/method/trajectories: losses, norms, rewards and
 * log-probabilities of every step, weights after the last. Each run is made twice: its step in one piece (or as the file says), and
 * cut into micro-batches of one pair. Runs whose objective is no plugin here are named and left out.
 *
 * Limits are those of golden/method/README.md for float32; a sum or norm of a tensor's weights gets the limit of its entries times
 * the root of their number. SAIL's loss has a term c (F - b) (logp_0 + logp_1), in which F and b nearly cancel while the sum is
 * some hundred nats: what the limit of log-probabilities, 1e-6, makes of c (|F| + |b|) |logp_0 + logp_1| is added to the loss's. Losses near 0
 * get 1e-6, of the 2e-5 that margins may be off; others half of what they might be. */
#include "../lesson.h"

#include "align/schedule.h"

static const char prefix[] = "base_model.model.";

static const struct {
    const char *name;
    int writer, labeller;
} routes[] = {
    {"offline", SAIL_BY_DATA, SAIL_BY_DATA},
    {"DDP", SAIL_BY_DATA, SAIL_BY_POLICY},
    {"DPP", SAIL_BY_POLICY, SAIL_BY_POLICY},
    {"DPR", SAIL_BY_POLICY, SAIL_BY_JUDGE},
};

static int32_t *list_ids(sail_arena *a, const sail_node *list)
{
    int32_t *ids = sail__arena_array(a, list->list.n + 1, sizeof *ids);
    for (size_t i = 0; i < list->list.n; i++)
        ids[i] = (int32_t)list->list.items[i]->integer;
    return ids;
}

/* Every pair of data.json as a group. */
static sail__group *all_pairs(sail_arena *a, const sail_node *data, int64_t *n)
{
    static const char *const sides[] = {"chosen", "rejected"};
    const sail_node *pairs = sail__node_get(data, "pairs"), *cut;
    *n = (int64_t)pairs->list.n;
    sail__group *out = sail__arena_array(a, (size_t)*n, sizeof *out);
    int32_t end = (int32_t)test_number(sail__node_get(data, "eos"));
    for (int64_t i = 0; i < *n; i++) {
        const sail_node *p = pairs->list.items[i];
        out[i] = (sail__group){.prompt = list_ids(a, sail__node_get(p, "prompt")), .n_prompt = (int64_t)sail__node_get(p, "prompt")->list.n,
                               .row = i, .prompt_id = i, .k = 2, .route = routes[0].name};
        cut = sail__node_get(p, "truncated");
        for (int k = 0; k < 2; k++) {
            const sail_node *ids = sail__node_get(p, sides[k]);
            sail__response *y = &out[i].r[k];
            *y = (sail__response){.ids = list_ids(a, ids), .n = (int64_t)ids->list.n, .id = 2 * i + k, .score = NAN};
            assert_true((y->ids[y->n - 1] == end) == !cut->list.items[k]->boolean);
        }
    }
    return out;
}

/* The plugin for a run. */
static const char *objective_of(rig *r, const sail_node *run, sail_node **options)
{
    static const char *const keys[] = {"labels", "baseline", "estimator", "scope"};
    const sail_node *sail = sail__node_get(run, "sail"), *losses = sail__node_get(run, "loss_type"), *given = sail__node_get(run, "options");
    *options = sail__node_new(r->arena, SAIL_NODE_MAP, "test", 0, 0);
    if (sail) {
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (sail__node_get(sail, keys[i]))
                sail__node_set(r->arena, *options, keys[i], sail__node_get(sail, keys[i]));
        return "sail";
    }
    if (given)
        *options = sail__node_copy(r->arena, given);
    return test_string(losses->list.items[0]);
}

/* Several losses, weighted, in the place of the first. */
static void combine(lesson *l, const sail_node *run)
{
    const sail_node *losses = sail__node_get(run, "loss_type"), *weights = sail__node_get(run, "loss_weights");
    const size_t n = losses ? losses->list.n : 1;
    const sail__modifiers none = {.ld_alpha = 1};
    sail_slot *slots = sail__arena_array(l->rig->arena, n, sizeof *slots), combined;
    sail__objective_part *parts = sail__arena_array(l->rig->arena, n, sizeof *parts);
    sail_problems problems = {.arena = l->rig->arena};
    if (n == 1)
        return;
    for (size_t i = 0; i < n; i++) {
        slots[i] = i ? rig_slot(l->rig, SAIL_KIND_OBJECTIVE, test_string(losses->list.items[i]), NULL) : l->stage.objective;
        parts[i] = (sail__objective_part){&slots[i], test_number(weights->list.items[i])};
    }
    if (!sail__combine(l->rig->arena, parts, n, &none, "method.objective", NULL, &combined, &problems))
        fail_msg("%s", problems.items[0].message);
    l->stage.objective = combined;
}

static void route_of(sail__group *g, const sail_node *sail, const char *name)
{
    size_t i = 0;
    while (i < 4 && strcmp(routes[i].name, name) != 0)
        i++;
    assert_true(i < 4);
    g->route = routes[i].name;
    g->writer = routes[i].writer;
    g->labeller = routes[i].labeller;
    g->coef = test_number(sail__node_get(sail__node_get(sail, "coefficient"), name));
}

static void relative(rig *r, const char *quantity, const char *where, double got, double want, double limit)
{
    rig_judge(r, quantity, where, fabs(got - want), limit * fabs(want));
}

/* Mean of c (|F| + |b|) |logp_0 + logp_1| over the pairs that the policy wrote. */
static double cancelling(const lesson *l, const sail_node *row)
{
    const sail_node *f = sail__node_get(row, "F"), *b = sail__node_get(row, "baseline");
    double sum = 0;
    for (int64_t i = 0; f && i < l->step.n; i++) {
        const sail__group *g = &l->step.groups[i];
        double logp = lesson_sum(g->r[0].logp, g->r[0].n) + lesson_sum(g->r[1].logp, g->r[1].n);
        if (g->writer == SAIL_BY_POLICY)
            sum += g->coef * (fabs(test_number(f->list.items[i])) + fabs(test_number(b->list.items[i]))) * fabs(logp);
    }
    return sum / (double)l->step.n;
}

/* Means over the step of what the two slots got. */
static void compare_step(lesson *l, const sail_node *row, const sail__update *u, const char *where)
{
    static const char *const sides[] = {"chosen", "rejected"};
    rig *r = l->rig;
    double reward[2] = {0}, n = (double)l->step.n;
    char key[64];
    for (int k = 0; k < 2; k++) {
        double logp = 0;
        for (int64_t i = 0; i < l->step.n; i++) {
            const sail__response *y = &l->step.groups[i].r[k];
            logp += lesson_sum(y->logp, y->n) / n;
            reward[k] += l->stage.method.beta * (lesson_sum(y->logp, y->n) - lesson_sum(y->ref, y->n)) / n;
        }
        snprintf(key, sizeof key, "logps/%s", sides[k]);
        relative(r, "log-probabilities (rel.)", where, logp, test_number(sail__node_get(row, key)), 1e-6);
        snprintf(key, sizeof key, "rewards/%s", sides[k]);
        rig_judge(r, "rewards", where, fabs(reward[k] - test_number(sail__node_get(row, key))), 2e-5);
        if (!sail__node_get(row, "route")) /* there the slots are as they were labelled */
            rig_judge(r, "rewards as reported", where, fabs(sail__metrics_get(&l->metrics, key) - test_number(sail__node_get(row, key))), 2e-5);
    }
    rig_judge(r, "margins", where, fabs(reward[0] - reward[1] - test_number(sail__node_get(row, "rewards/margins"))), 2e-5);
    double loss = test_number(sail__node_get(row, "loss"));
    rig_judge(r, "loss (relative)", where, fabs(l->loss - loss), 5e-6 * fabs(loss) + 1e-6 + 1e-6 * cancelling(l, row));
    relative(r, "gradient norm (relative)", where, u->norm, test_number(sail__node_get(row, "grad_norm")), 2e-5);
    relative(r, "clip (relative)", where, u->clip, test_number(sail__node_get(row, "clip")), 2e-5);
}

static const char *entry_name(const char *name) { return strncmp(name, prefix, sizeof prefix - 1) == 0 ? name + sizeof prefix - 1 : name; }

static void compare_weights(rig *r, const sail_node *all, const char *where)
{
    assert_int_equal(all->list.n, sail__model_flat(r->model)->n_entries);
    for (size_t i = 0; i < all->list.n; i++) {
        const sail_node *want = all->list.items[i], *first = sail__node_get(want, "first");
        int entry = lesson_entry(r, entry_name(all->list.keys[i]));
        size_t n;
        if (entry < 0)
            fail_msg("nothing is trained under the name %s", all->list.keys[i]);
        float *w = lesson_values(r, entry, SAIL__FLAT_WEIGHT, &n);
        for (size_t k = 0; k < first->list.n; k++)
            rig_judge(r, "final weights", where, fabs(w[k] - test_number(first->list.items[k])), 5e-5);
        rig_judge(r, "final sums", where, fabs(lesson_sum(w, (int64_t)n) - test_number(sail__node_get(want, "sum"))), 5e-5 * sqrt((double)n));
        rig_judge(r, "final norms", where, fabs(lesson_norm(w, n) - test_number(sail__node_get(want, "norm"))), 5e-5 * sqrt((double)n));
    }
}

static void compare_first_gradient(rig *r, const char *name)
{
    const char *file = sail__arena_printf(r->arena, "method/trajectories/%s_gradient_step1_f64.safetensors", name);
    golden_file f;
    if (!golden_path(file))
        return;
    golden_open(&f, file);
    for (size_t i = 0; i < f.header->list.n; i++) {
        const char *tensor = f.header->list.keys[i];
        size_t n, count;
        if (!strcmp(tensor, "__metadata__"))
            continue;
        int entry = lesson_entry(r, entry_name(tensor));
        assert_true(entry >= 0);
        float *g = lesson_values(r, entry, SAIL__FLAT_GRADIENT, &n);
        double *want = golden_doubles(&f, tensor, &count), largest = 0;
        assert_int_equal(n, count);
        for (size_t k = 0; k < n; k++)
            largest = fmax(largest, fabs(want[k]));
        rig_floats(r, "first gradient", tensor, g, want, n, 5e-5 * largest);
    }
    golden_close(&f);
}

/* The reference of a whole fine-tuning is the model before its first step. */
static void keep_reference(lesson *l, sail__group *pairs, int64_t n)
{
    sail_err err = {0};
    sail__micro *m;
    int64_t parts;
    l->step.groups = pairs;
    l->step.n = n;
    assert_int_equal(sail__passes_plan(&l->step, 0, l->stage.train.max_tokens, &m, &parts, &err), SAIL_OK);
    for (int64_t i = 0; i < parts; i++)
        if (sail__passes_reference(&l->learner.passes, &l->step, &m[i], &err) != SAIL_OK)
            fail_msg("%s", err.message);
}

static void one_run(rig *r, const sail_node *run, const sail_node *data, bool in_pieces)
{
    const sail_node *h = sail__node_get(run, "hyper"), *rows = sail__node_get(run, "float64"), *sail = sail__node_get(run, "sail");
    sail_node *options;
    const char *name = test_string(sail__node_get(run, "name")), *objective = objective_of(r, run, &options);
    int64_t n, total = (int64_t)test_number(sail__node_get(h, "steps")), batch = (int64_t)test_number(sail__node_get(h, "batch"));
    sail_optimizer_plan plan;
    lesson l;
    const sail_node *lora = sail__node_get(run, "lora"), *accumulate = sail__node_get(run, "accumulate");
    bool adapter = lora && lora->boolean;
    const char *where = sail__arena_printf(r->arena, "%s%s", name, in_pieces ? " in pieces" : "");
    sail_node *o = test_map(r->arena, "kind", "\"adamw\"", NULL);
    sail__node_set(r->arena, o, "weight_decay", sail__node_get(h, "weight_decay"));
    lesson_plan(r, o, &plan);
    rig_load(r, &(rig_spec){.path = sail__path_join(r->arena, golden_dir(), "method/model"),
                            .adapter = adapter ? sail__path_join(r->arena, golden_dir(), "method/trajectories/lora_initial") : NULL,
                            .train = adapter ? SAIL__TRAIN_ADAPTER : SAIL__TRAIN_ALL, .optimizer = &plan});
    lesson_begin(&l, r, objective, options, test_number(sail__node_get(h, "beta")));
    combine(&l, run);
    l.stage.train.micro_batch = in_pieces ? 1 : accumulate ? batch / (int64_t)test_number(accumulate) : 0;
    sail__group *pairs = all_pairs(l.step.arena, data, &n);
    if (!adapter)
        keep_reference(&l, pairs, n);
    sail__lr_schedule schedule = {.kind = SAIL__LR_LINEAR, .warmup = test_number(sail__node_get(h, "warmup"))};
    l.step.groups = sail__arena_array(l.step.arena, (size_t)batch, sizeof *l.step.groups);
    l.step.n = batch;
    assert_int_equal(rows->list.n, total);
    for (int64_t s = 0; s < total; s++) {
        const sail_node *row = rows->list.items[s], *index = sail__node_get(row, "pairs");
        assert_int_equal(index->list.n, batch);
        l.step.step = s;
        for (int64_t i = 0; i < batch; i++) {
            sail__group *g = &l.step.groups[i];
            *g = pairs[index->list.items[i]->integer];
            if (sail) {
                route_of(g, sail, test_string(sail__node_get(row, "route")->list.items[i]));
                g->outcome = (int32_t)test_number(sail__node_get(row, "outcome")->list.items[i]);
            }
        }
        double rate = test_number(sail__node_get(h, "lr")) * sail__lr_factor(&schedule, s, total);
        relative(r, "learning rate (relative)", where, rate, test_number(sail__node_get(row, "learning_rate")), 1e-12);
        lesson_gradients(&l);
        if (s == 0 && !in_pieces)
            compare_first_gradient(r, name);
        sail__update u = lesson_update(&l, rate, test_number(sail__node_get(h, "max_grad_norm")), s + 1);
        compare_step(&l, row, &u, sail__arena_printf(r->arena, "%s step %lld", where, (long long)s + 1));
    }
    compare_weights(r, sail__node_get(run, "parameters_float64_after_last_step"), where);
    lesson_end(&l);
}

static void runs(void **state)
{
    rig r;
    golden_file data, run;
    char **names;
    size_t n, seen = 0;
    sail_err err = {0};
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    golden_json(&data, "method/trajectories/data.json");
    assert_int_equal(sail__list_dir(r.arena, sail__path_join(r.arena, golden_dir(), "method/trajectories"), &names, &n, &err), SAIL_OK);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(names[i]);
        if (len < 5 || strcmp(names[i] + len - 5, ".json") != 0)
            continue;
        golden_json(&run, sail__arena_printf(r.arena, "method/trajectories/%s", names[i]));
        if (sail__node_get(run.header, "hyper")) {
            one_run(&r, run.header, data.header, false);
            one_run(&r, run.header, data.header, true);
            seen++;
        }
        golden_close(&run);
    }
    assert_true(seen > 0);
    golden_close(&data);
    rig_report(&r, "trajectories");
    rig_close(&r);
}

/* ---- logprobs.json: the untrained model, log sum p^2 with it ---- */

static void compare_response(rig *r, const sail__group *g, int k, const sail_node *want, const char *where)
{
    static const char *const keys[] = {"logp", "entropy", "log_sum_sq_probs"};
    static const char *const quantities[] = {"log-probability", "entropy", "log sum p^2"};
    const sail__response *y = &g->r[k];
    sail_err err = {0};
    sail__forest f = {0};
    int prompt;
    float *got[3];
    for (int i = 0; i < 3; i++)
        got[i] = sail__arena_array(r->arena, (size_t)y->n, sizeof **got);
    assert_int_equal(sail__forest_add(&f, -1, g->prompt, g->n_prompt, SAIL__HEAD_NONE, 0, &prompt, &err), SAIL_OK);
    assert_int_equal(sail__forest_add(&f, prompt, y->ids, y->n, SAIL__HEAD_EACH, 0, NULL, &err), SAIL_OK);
    if (sail__model_logprobs(r->model, SAIL__POLICY, &f, false, got[0], got[1], got[2], &err) != SAIL_OK)
        fail_msg("%s", err.message);
    sail__forest_free(&f);
    for (int i = 0; i < 3; i++) {
        double *values = sail__arena_array(r->arena, (size_t)y->n, sizeof *values);
        assert_int_equal(test_flatten(sail__node_get(want, keys[i]), values, (size_t)y->n), y->n);
        rig_floats(r, quantities[i], where, got[i], values, (size_t)y->n, 1e-5);
    }
}

static void untrained(void **state)
{
    rig r;
    golden_file data, f;
    int64_t n;
    sail_err err = {0};
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    rig_load(&r, &(rig_spec){.path = sail__path_join(r.arena, golden_dir(), "method/model")});
    sail__group *pairs = all_pairs(r.arena, golden_json(&data, "method/trajectories/data.json"), &n);
    golden_json(&f, "method/trajectories/logprobs.json");
    const sail_node *recorded = sail__node_get(f.header, "pairs"), *last = sail__node_get(f.header, "logits_pair0_last3");
    assert_true((int64_t)recorded->list.n <= n);
    for (size_t i = 0; i < recorded->list.n; i++) {
        const char *where = sail__arena_printf(r.arena, "pair %zu", i);
        compare_response(&r, &pairs[i], 0, sail__node_get(recorded->list.items[i], "chosen"), where);
        compare_response(&r, &pairs[i], 1, sail__node_get(recorded->list.items[i], "rejected"), where);
    }
    size_t vocab = (size_t)sail__weights_config(r.weights)->vocab, length = (size_t)(pairs[0].n_prompt + pairs[0].r[0].n);
    int32_t *ids = sail__arena_array(r.arena, length, sizeof *ids);
    memcpy(ids, pairs[0].prompt, (size_t)pairs[0].n_prompt * sizeof *ids);
    memcpy(ids + pairs[0].n_prompt, pairs[0].r[0].ids, (size_t)pairs[0].r[0].n * sizeof *ids);
    float *logits = sail__arena_array(r.arena, length * vocab, sizeof *logits);
    double *want = sail__arena_array(r.arena, last->list.n * vocab, sizeof *want);
    if (rig_score(&r, SAIL__POLICY, ids, length, logits, NULL, NULL, NULL, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_int_equal(test_flatten(last, want, last->list.n * vocab), last->list.n * vocab);
    rig_floats(&r, "logits", "pair 0", logits + (length - last->list.n) * vocab, want, last->list.n * vocab, 1e-5);
    golden_close(&f);
    golden_close(&data);
    rig_report(&r, "untrained model");
    rig_close(&r);
}

#define VARIANT(test, i, label) {#test " on " label, test, NULL, NULL, (void *)(intptr_t)(i)}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VARIANT(runs, 0, "ref"),      VARIANT(runs, 1, "ref, strict"),      VARIANT(runs, 2, "cpu f32"),
        VARIANT(untrained, 0, "ref"), VARIANT(untrained, 1, "ref, strict"), VARIANT(untrained, 2, "cpu f32"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
