/* test_models.c - models of every family that runs here, against golden/models/families and golden/models/reward: logits,
 * log-probabilities, entropies, greedy continuations; a preference batch with its loss and gradients. Both spellings of
 * config.json.
 *
 * Limits of float32 are those of golden/models/README.md. bfloat16 has its own: weights and inputs of products carry 8 bits,
 * so logits of these models (some units large) move by tenths, on ref with its exact sums as much as on cpu; the limits are about
 * twice the largest deviation measured. */
#include "../lesson.h"

#include "nn/generate.h"
#include "nn/long_rope.h"

static const char *const required[] = {"llama", "mistral", "qwen2"}; /* model types that must run */

typedef struct limits {
    double logits, logprob, entropy, greedy_logprob, greedy_gap;
    lesson_limits dpo; /* reward, margin, loss: at beta 0.1 */
    double norm, gradient; /* relative; of the largest entry */
} limits;
static const limits limits_f32 = {1e-4, 5e-5, 5e-5, 1e-4, 2e-4, {5e-5, 1e-4, 1e-5, 2e-5, 5e-6}, 1e-5, 5e-5};
static const limits limits_bf16 = {0.55, 0.35, 0.2, 0.3, 1, {0.3, 0.45, 0.045, 0.06, 2e-2}, 0.1, 0.25};

static const limits *limits_of(const rig *r) { return r->variant.dtype == SAIL_BF16 ? &limits_bf16 : &limits_f32; }

static void compare_scores(rig *r, const char *where, const golden_file *f)
{
    const limits *l = limits_of(r);
    sail_err err = {0};
    size_t n_rows, width, vocab = (size_t)sail__weights_config(r->weights)->vocab;
    int64_t *lengths = golden_ints(f, "lengths", &n_rows);
    int32_t *ids = rig_ids(r, f, "input_ids", &width);
    width /= n_rows;
    for (size_t i = 0; i < n_rows; i++) {
        char name[64], at[128];
        size_t n = (size_t)lengths[i], count;
        float *logits = sail__arena_array(r->arena, n * vocab, sizeof *logits);
        float *logp = sail__arena_array(r->arena, n, sizeof *logp), *entropy = sail__arena_array(r->arena, n, sizeof *entropy);
        snprintf(at, sizeof at, "%s row %zu", where, i);
        if (rig_score(r, SAIL__POLICY, ids + i * width, n, logits, logp, entropy, NULL, &err) != SAIL_OK)
            fail_msg("%s: %s", where, err.message);
        snprintf(name, sizeof name, "logits.%zu", i);
        double *want = golden_doubles(f, name, &count);
        assert_int_equal(count, n * vocab);
        rig_floats(r, "logits", at, logits, want, count, l->logits);
        snprintf(name, sizeof name, "logprob.%zu", i);
        want = golden_doubles(f, name, &count);
        assert_int_equal(count, n - 1);
        rig_floats(r, "log-probability", at, logp, want, count, l->logprob);
        snprintf(name, sizeof name, "entropy.%zu", i);
        want = golden_doubles(f, name, &count);
        rig_floats(r, "entropy", at, entropy, want, count, l->entropy);
    }
}

/* All rows at once, so that prompts and decoding steps of several sequences share their passes. */
static void compare_greedy(rig *r, const char *where, const golden_file *f)
{
    const limits *l = limits_of(r);
    sail_err err = {0};
    sail__generator *g;
    sail__gen_response *out = NULL;
    sail__gen_request requests[16];
    size_t n_rows, width, n_out = 0;
    int64_t *lengths = golden_ints(f, "lengths", &n_rows);
    int32_t *ids = rig_ids(r, f, "input_ids", &width);
    width /= n_rows;
    assert_true(n_rows <= 16);
    for (size_t i = 0; i < n_rows; i++) {
        char name[64];
        snprintf(name, sizeof name, "greedy.%zu", i);
        requests[i] = (sail__gen_request){.prompt = ids + i * width, .n_prompt = lengths[i], .children = 1, .key = i, .ignore_end = true,
                                          .max_new = (int64_t)golden_get(f, name).n,
                                          .sampling = {.top_p = 1, .typical = 1, .penalty = 1}};
    }
    if (sail__generator_new(r->model, SAIL__POLICY, 4, &g, &err) != SAIL_OK ||
        sail__generate(g, 1, requests, n_rows, NULL, 0, NULL, NULL, r->arena, &out, &n_out, &err) != SAIL_OK)
        fail_msg("%s: %s", where, err.message);
    assert_int_equal(n_out, n_rows);
    for (size_t i = 0; i < n_rows; i++) {
        char name[64], at[128];
        size_t n, agreed = 0;
        snprintf(name, sizeof name, "greedy.%zu", i);
        int64_t *want = golden_ints(f, name, &n);
        snprintf(name, sizeof name, "greedy_gap.%zu", i);
        double *gap = golden_doubles(f, name, NULL);
        snprintf(name, sizeof name, "greedy_logprob.%zu", i);
        double *logp = golden_doubles(f, name, NULL);
        assert_int_equal(out[i].n, n);
        while (agreed < n && out[i].ids[agreed] == want[agreed])
            agreed++;
        /* beyond a step that the precision cannot decide the two go different ways */
        if (agreed < n && gap[agreed] > l->greedy_gap)
            rig_judge(r, "greedy ids", where, gap[agreed], 0);
        rig_judge(r, "greedy ids", where, 0, 1);
        snprintf(at, sizeof at, "%s row %zu", where, i);
        rig_floats(r, "greedy log-probability", at, out[i].logp, logp, agreed, l->greedy_logprob);
    }
    sail__generator_free(g);
}

/* A gradient in the order of the family's files. */
static float *in_file_order(rig *r, const char *name, float *g, size_t n)
{
    size_t n_params;
    const sail__model_config *c = sail__weights_config(r->weights);
    const sail__param *p = sail__weights_params(r->weights, &n_params);
    while (n_params && strcmp(p->name, name) != 0) {
        p++;
        n_params--;
    }
    assert_true(n_params > 0);
    if (!sail__param_reordered(c, p->role))
        return g;
    float *out = sail__arena_array(r->arena, n, sizeof *out);
    const size_t cols = p->vector ? 1 : (size_t)p->cols;
    for (size_t i = 0; i < n; i++)
        out[(size_t)sail__param_file_row(c, p->role, (int64_t)(i / cols)) * cols + i % cols] = g[i];
    return out;
}

/* Tokens that are fed back on the device: what is drawn does not depend on how many are, nor where the end is found; one download for
 * so many. */
static void decoding_ahead(rig *r, const char *where, const golden_file *f)
{
    enum { NEW = 11 };
    sail_err err = {0};
    sail__gen_request requests[3];
    sail__gen_response *first = NULL, *out;
    size_t n_rows, width, n_out = 0;
    int64_t *lengths = golden_ints(f, "lengths", &n_rows);
    int32_t *ids = rig_ids(r, f, "input_ids", &width), end = -1;
    width /= n_rows;
    for (size_t i = 0; i < 3; i++) /* four children of one prompt where three fit, one of another, a short one */
        requests[i] = (sail__gen_request){.prompt = ids + i % n_rows * width, .n_prompt = lengths[i % n_rows], .children = i ? 1 : 4, .key = i,
                                          .max_new = i < 2 ? NEW : 3, .sampling = {.temperature = 1, .top_p = 1, .typical = 1, .penalty = 1}};
    for (int way = 0; way < 8; way++) {
        const int ahead = (const int[]){1, 2, 4, 16}[way / 2], ends = way % 2;
        sail_counters before, after;
        sail__gen_counters count;
        sail__generator *g;
        assert_int_equal(sail__generator_new(r->model, SAIL__POLICY, 3, &g, &err), SAIL_OK);
        sail__generator_ahead(g, ahead);
        r->rt->backend->counters(r->rt->device, &before);
        if (sail__generate(g, 5, requests, 3, &end, ends, NULL, NULL, r->arena, &out, &n_out, &err) != SAIL_OK)
            fail_msg("%s: %s", where, err.message);
        r->rt->backend->counters(r->rt->device, &after);
        sail__generator_counters(g, &count);
        sail__generator_free(g);
        assert_int_equal(n_out, 6);
        if (!first) {
            first = out;
            end = out[0].ids[NEW / 2]; /* so that some end early */
        }
        int64_t tokens = 0, ended = 0;
        for (size_t k = 0; k < n_out; k++) {
            int64_t n = 0;
            while (n < first[k].n && !(ends && n > 0 && first[k].ids[n - 1] == end))
                n++;
            assert_int_equal(out[k].n, n);
            assert_int_equal(out[k].finish, ends && first[k].ids[n - 1] == end ? SAIL__FINISH_STOP : SAIL__FINISH_LENGTH);
            assert_memory_equal(out[k].ids, first[k].ids, (size_t)n * sizeof *out->ids);
            for (int64_t t = 0; t < n; t++) { /* what else is in a pass may change the last bits */
                const double limit = r->variant.dtype == SAIL_BF16 ? 0.05 : 1e-4;
                rig_judge(r, "decoding ahead", where, fabs((double)out[k].logp[t] - (double)first[k].logp[t]), limit);
                rig_judge(r, "decoding ahead", where, fabs((double)out[k].drawn[t] - (double)first[k].drawn[t]), limit);
            }
            tokens += n;
            ended += out[k].finish == SAIL__FINISH_STOP;
        }
        assert_int_equal(count.new_tokens, tokens);
        assert_true(ends ? ended > 0 : ended == 0);
        const uint64_t downloads = after.downloads - before.downloads;
        assert_int_equal(after.uploads - before.uploads, count.steps);
        if (ahead == 1)
            assert_int_equal(downloads, count.steps);
        else
            assert_true(downloads < (uint64_t)count.steps && downloads * (uint64_t)ahead >= (uint64_t)count.steps);
    }
}

/* The likeliest token behind ids[n] after the penalty, by plain loops; *gap: by how much. */
static int32_t punished_best(rig *r, const int32_t *ids, size_t n, double penalty, double *gap)
{
    sail_err err = {0};
    const size_t vocab = (size_t)sail__weights_config(r->weights)->vocab;
    float *logits = sail__arena_array(r->arena, n * vocab, sizeof *logits);
    assert_int_equal(rig_score(r, SAIL__POLICY, ids, n, logits, NULL, NULL, NULL, &err), SAIL_OK);
    const float *last = logits + (n - 1) * vocab;
    double first = -INFINITY, second = -INFINITY;
    int32_t best = -1;
    for (size_t v = 0; v < vocab; v++) {
        bool met = false;
        for (size_t i = 0; i < n; i++)
            met |= ids[i] == (int32_t)v;
        const double z = !met ? last[v] : last[v] < 0 ? last[v] * penalty : last[v] / penalty;
        second = fmax(second, fmin(z, first));
        if (z > first) {
            first = z;
            best = (int32_t)v;
        }
    }
    *gap = first - second;
    return best;
}

static bool turns_long(const rig *r, int64_t n)
{
    const int64_t most = sail__short_length(sail__weights_config(r->weights));
    return most > 0 && n > most;
}

static void write_one(sail__generator *g, rig *r, const sail__gen_request *q, const char *where, sail__gen_response **out)
{
    sail_err err = {0};
    size_t n;
    if (sail__generate(g, 3, q, 1, NULL, 0, NULL, NULL, r->arena, out, &n, &err) != SAIL_OK)
        fail_msg("%s: %s", where, err.message);
    assert_int_equal(n, 1);
}

/* A conversation whose cache is kept: each turn computes what is new, and writes what one without a memory writes, with a repetition
 * penalty and without. */
static void conversation(rig *r, const char *where, const golden_file *f)
{
    enum { TURNS = 7, NEW = 9 };
    sail_err err = {0};
    sail__generator *kept, *plain;
    size_t width;
    const int32_t *ids = rig_ids(r, f, "input_ids", &width);
    int32_t talk[TURNS * (NEW + 12)];
    int64_t n = 0, known = 0, held = 0, changed = 0; /* tokens of the talk; that the cache can use; that it holds */
    assert_int_equal(sail__generator_new(r->model, SAIL__POLICY, 1, &kept, &err), SAIL_OK);
    assert_int_equal(sail__generator_new(r->model, SAIL__POLICY, 4, &plain, &err), SAIL_OK);
    sail__generator_keep(kept);
    for (int turn = 0; turn < TURNS; turn++) {
        sail__gen_response *a, *b;
        sail__gen_counters before, after;
        if (turn == 4) { /* taken back, and said otherwise */
            n -= 2 * NEW;
            known = n - 1;
            talk[n - 1] = (talk[n - 1] + 1) % 100 + 3;
        }
        for (int i = 0; i < 3 + turn; i++)
            talk[n++] = ids[((size_t)turn * 5 + (size_t)i) % width];
        sail__gen_request q = {.prompt = talk, .n_prompt = n, .children = 1, .max_new = NEW, .key = (uint64_t)turn, .ignore_end = true,
                               .sampling = {.temperature = turn % 3 == 1, .top_p = 1, .typical = 1, .penalty = turn % 2 ? 1 : 1.5}};
        sail__generator_counters(kept, &before);
        write_one(kept, r, &q, where, &a);
        sail__generator_counters(kept, &after);
        if (turns_long(r, n) != turns_long(r, held)) /* keys of the other form */
            known = 0;
        const int64_t again = turns_long(r, n + NEW - 1) && !turns_long(r, n) ? sail__short_length(sail__weights_config(r->weights)) + 1 : 0;
        assert_int_equal(after.prompt_tokens - before.prompt_tokens, n - known + again);
        write_one(plain, r, &q, where, &b);
        assert_int_equal(a->n, NEW);
        const double limit = r->variant.dtype == SAIL_BF16 ? 0.12 : 1e-4;
        for (int64_t t = 0; t < NEW; t++) {
            double gap, free_gap;
            const int32_t best = punished_best(r, talk, (size_t)n, q.sampling.penalty, &gap);
            if (q.sampling.temperature == 0 && gap > limits_of(r)->greedy_gap)
                assert_int_equal(a->ids[t], best);
            changed += best != punished_best(r, talk, (size_t)n, 1, &free_gap);
            if (a->ids[t] != b->ids[t]) { /* only where the precision cannot decide */
                assert_true(r->variant.dtype == SAIL_BF16);
                memcpy(talk + n, a->ids + t, (size_t)(NEW - t) * sizeof *talk);
                n += NEW - t;
                break;
            }
            rig_judge(r, "kept cache", where, fabs((double)a->logp[t] - (double)b->logp[t]), limit);
            rig_judge(r, "kept cache, drawn", where, fabs((double)a->drawn[t] - (double)b->drawn[t]), limit);
            talk[n++] = a->ids[t];
        }
        known = held = n - 1;
    }
    assert_true(changed > 0);
    sail__generator_free(kept);
    sail__generator_free(plain);
}

static void compare_gradients(rig *r, const char *where, const golden_file *f)
{
    const limits *l = limits_of(r);
    const sail__flat *flat = sail__model_flat(r->model);
    double total = 0;
    size_t norms = 0;
    for (int i = 0; i < flat->n_entries; i++) {
        char name[256], at[256];
        size_t n, count;
        float *g = lesson_values(r, i, SAIL__FLAT_GRADIENT, &n);
        double norm = lesson_norm(g, n), largest = 0;
        g = in_file_order(r, flat->entries[i].name, g, n);
        total += norm * norm;
        snprintf(name, sizeof name, "grad_norm.%s", flat->entries[i].name);
        snprintf(at, sizeof at, "%s %s", where, flat->entries[i].name);
        double want_norm = golden_scalar(f, name);
        rig_judge(r, "gradient norm (relative)", at, fabs(norm - want_norm), l->norm * want_norm);
        snprintf(name, sizeof name, "grad_index.%s", flat->entries[i].name);
        int64_t *index = golden_ints(f, name, &count);
        snprintf(name, sizeof name, "grad_value.%s", flat->entries[i].name);
        double *value = golden_doubles(f, name, NULL);
        for (size_t k = 0; k < count; k++)
            largest = fmax(largest, fabs(value[k]));
        for (size_t k = 0; k < count; k++)
            rig_judge(r, "gradient entries", at, fabs(g[index[k]] - value[k]), l->gradient * largest);
        snprintf(name, sizeof name, "grad.%s", flat->entries[i].name);
        if (golden_has(f, name)) {
            double *whole = golden_doubles(f, name, &count);
            assert_int_equal(count, n);
            rig_floats(r, "whole gradients", at, g, whole, n, l->gradient * largest);
        }
    }
    for (size_t i = 0; i < f->header->list.n; i++)
        norms += strncmp(f->header->list.keys[i], "grad_norm.", 10) == 0;
    assert_int_equal(norms, flat->n_entries); /* a tied matrix once */
    rig_judge(r, "whole gradient's norm", where, fabs(sqrt(total) - golden_scalar(f, "grad_norm")), l->norm * golden_scalar(f, "grad_norm"));
}

static void compare_batch(rig *r, const char *where, const char *path, const char *recorded)
{
    golden_file f;
    lesson l;
    sail_optimizer_plan plan;
    golden_open(&f, recorded);
    lesson_plan(r, test_map(r->arena, "kind", "\"sgd\"", NULL), &plan);
    rig_load(r, &(rig_spec){.path = path, .train = SAIL__TRAIN_ALL, .optimizer = &plan});
    lesson_limits allowed = limits_of(r)->dpo;
    const double beta = golden_scalar(&f, "beta");
    allowed.reward *= beta / 0.1, allowed.margin *= beta / 0.1, allowed.loss *= beta / 0.1;
    lesson_begin(&l, r, "dpo", NULL, beta);
    lesson_pairs(&l, &f);
    lesson_reference(&l, &f);
    lesson_gradients(&l);
    lesson_compare(&l, &f, where, &allowed);
    compare_gradients(r, where, &f);
    lesson_end(&l);
    golden_close(&f);
}

/* False, with a line printed, where this version does not run the family. */
static bool runs(rig *r, const char *family, const char *path)
{
    sail_err err = {0};
    float logits[4096];
    assert_true(rig_try(r, &(rig_spec){.path = path}, &err) == SAIL_OK || err.message[0]);
    const sail__model_config *c = r->weights ? sail__weights_config(r->weights) : NULL;
    if (err.code == SAIL_OK && (size_t)c->vocab <= sizeof logits / sizeof *logits)
        rig_score(r, SAIL__POLICY, (int32_t[]){0}, 1, logits, NULL, NULL, NULL, &err);
    if (err.code == SAIL_OK)
        return true;
    bool must = !c;
    for (size_t i = 0; c && i < sizeof required / sizeof *required; i++)
        must |= strcmp(required[i], c->model_type) == 0;
    if (must || !strstr(err.message, "this version does not run"))
        fail_msg("%s: %s", family, err.message);
    print_message("    not run: %s\n", err.message);
    return false;
}

/* Kernels of a driver for processors take long: of the families those that differ most (biases, norms, windows, soft caps, both forms of
 * rotary factors). */
static bool wanted(const rig *r, const char *family)
{
    static const char *const few[] = {"gemma2", "gemma3_text", "gpt_neox", "llama", "phi3_longrope", "qwen2"};
    bool listed = false;
    for (size_t i = 0; i < sizeof few / sizeof *few; i++)
        listed = listed || strcmp(few[i], family) == 0;
    return listed || strcmp(r->variant.backend, "opencl") != 0;
}

static void families(void **state)
{
    rig r;
    char **names;
    size_t n, ran = 0;
    sail_err err = {0};
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    const char *dir = sail__path_join(r.arena, golden_dir(), "models/families");
    assert_int_equal(sail__list_dir(r.arena, dir, &names, &n, &err), SAIL_OK);
    for (size_t i = 0; i < n; i++) {
        const char *path = sail__path_join(r.arena, dir, names[i]);
        if (!wanted(&r, names[i]) || !runs(&r, names[i], path))
            continue;
        golden_file f;
        ran++;
        golden_open(&f, sail__arena_printf(r.arena, "models/families/%s/expected.safetensors", names[i]));
        compare_scores(&r, names[i], &f);
        compare_greedy(&r, names[i], &f);
        decoding_ahead(&r, names[i], &f);
        conversation(&r, names[i], &f);
        const char *old = rig_with_config(&r, path, "config.old.json");
        rig_load(&r, &(rig_spec){.path = old});
        compare_scores(&r, sail__arena_printf(r.arena, "%s, old config,", names[i]), &f);
        golden_close(&f);
        rig_unlink(old);
        compare_batch(&r, names[i], path, sail__arena_printf(r.arena, "models/families/%s/dpo.safetensors", names[i]));
    }
    print_message("%zu of %zu families\n", ran, n);
    assert_true(ran > 0);
    rig_report(&r, "families");
    rig_close(&r);
}

static void reward_model(void **state)
{
    rig r;
    golden_file f;
    sail_err err = {0};
    size_t n_rows, width, labels;
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    rig_load(&r, &(rig_spec){.path = sail__path_join(r.arena, golden_dir(), "models/reward")});
    labels = (size_t)sail__weights_config(r.weights)->labels;
    assert_int_equal(labels, 1);
    golden_open(&f, "models/reward/expected.safetensors");
    double limit = r.variant.dtype == SAIL_BF16 ? 0.15 : 5e-5;
    int64_t *lengths = golden_ints(&f, "lengths", &n_rows);
    int32_t *ids = rig_ids(&r, &f, "input_ids", &width);
    width /= n_rows;
    double *rewards = golden_doubles(&f, "rewards", NULL);
    for (size_t i = 0; i < n_rows; i++) {
        char name[64], at[64];
        size_t n;
        sail__forest forest = {0};
        snprintf(name, sizeof name, "score_every_position.%zu", i);
        snprintf(at, sizeof at, "row %zu", i);
        double *want = golden_doubles(&f, name, &n);
        assert_int_equal(n, lengths[i]);
        float *scores = sail__arena_array(r.arena, n, sizeof *scores);
        assert_int_equal(sail__forest_add(&forest, -1, ids + i * width, lengths[i], SAIL__HEAD_NEXT, 0, NULL, &err), SAIL_OK);
        if (sail__model_scores(r.model, &forest, false, scores, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        rig_floats(&r, "score", at, scores, want, n, limit);
        rig_judge(&r, "reward", at, fabs(scores[n - 1] - rewards[i]), limit);
        sail__forest_free(&forest);
    }
    golden_close(&f);
    rig_report(&r, "reward model");
    rig_close(&r);
}

#define VARIANT(test, i, label) {#test " on " label, test, NULL, NULL, (void *)(intptr_t)(i)}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        VARIANT(families, 0, "ref"),     VARIANT(families, 1, "ref, strict"),     VARIANT(families, 2, "cpu f32"),
        VARIANT(families, 3, "cpu bf16"), VARIANT(families, 4, "ref bf16"), VARIANT(reward_model, 0, "ref"),        VARIANT(reward_model, 1, "ref, strict"),
        VARIANT(reward_model, 2, "cpu f32"), VARIANT(reward_model, 3, "cpu bf16"),
    };
    const struct CMUnitTest opencl[] = {VARIANT(families, 5, "opencl"), VARIANT(reward_model, 5, "opencl")};
    if (argc > 1 && strcmp(argv[1], "opencl") == 0) /* a test of its own: a driver compiles kernels for minutes */
        return cmocka_run_group_tests(opencl, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
