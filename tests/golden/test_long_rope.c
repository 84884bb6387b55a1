/* test_long_rope.c - a model whose rotary factors depend on the whole sequence's length: sequences on both sides of the limit in one
 * batch, and responses that cross it, against each sequence by itself. */
#include "../lesson.h"

#include "nn/generate.h"
#include "nn/long_rope.h"

enum { PROMPT = 30, WITHIN = 10, BEYOND = 20, NEW = 12 };

static int32_t id_of(int i) { return (int32_t)((i * 37 + 11) % 250); }

static void open_model(rig *r, int variant)
{
    rig_open(r, variant);
    rig_load(r, &(rig_spec){.path = sail__path_join(r->arena, golden_dir(), "models/families/phi3_longrope")});
    assert_int_equal(sail__short_length(sail__weights_config(r->weights)), 44);
}

/* log p of the last n of these ids, alone. */
static void alone(rig *r, const int32_t *ids, size_t n_ids, size_t n, float *out)
{
    sail_err err = {0};
    float *logp = sail__arena_array(r->arena, n_ids, sizeof *logp);
    if (rig_score(r, SAIL__POLICY, ids, n_ids, NULL, logp, NULL, NULL, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    memcpy(out, logp + n_ids - 1 - n, n * sizeof *out);
}

/* Children within, beyond and again within the limit below one prompt. */
static void children_on_both_sides_of_the_limit(void **state)
{
    static const size_t lengths[] = {WITHIN, BEYOND, WITHIN - 3};
    rig r;
    sail_err err = {0};
    sail__forest f = {0};
    float got[3 * BEYOND], want[3 * BEYOND];
    int32_t ids[PROMPT + BEYOND];
    size_t n = 0;
    int prompt, answers[] = {100, 200, 300};
    GOLDEN_OR_SKIP();
    open_model(&r, (int)(intptr_t)*state);
    for (int i = 0; i < PROMPT; i++)
        ids[i] = id_of(i);
    assert_int_equal(sail__forest_add(&f, -1, ids, PROMPT, SAIL__HEAD_NONE, 0, &prompt, &err), SAIL_OK);
    for (int c = 0; c < 3; c++) {
        for (size_t i = 0; i < lengths[c]; i++)
            ids[PROMPT + i] = id_of(answers[c] + (int)i);
        assert_int_equal(sail__forest_add(&f, prompt, ids + PROMPT, (int64_t)lengths[c], SAIL__HEAD_EACH, 0, NULL, &err), SAIL_OK);
        alone(&r, ids, PROMPT + lengths[c], lengths[c], want + n);
        n += lengths[c];
    }
    if (sail__model_logprobs(r.model, SAIL__POLICY, &f, false, got, NULL, NULL, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    double apart = 0;
    for (size_t i = 0; i < n; i++) {
        rig_judge(&r, "log-probability", "children", fabs((double)got[i] - (double)want[i]), 2e-5);
        apart = fmax(apart, fabs((double)got[i] - (double)got[0]));
    }
    assert_true(apart > 1e-2); /* they are not all the same */
    sail__forest_free(&f);
    rig_report(&r, "long rope");
    rig_close(&r);
}

/* Add the gradient of the sum of the log-probabilities of these answers below one prompt, all in one batch. */
static void add_gradient(rig *r, const int *answers, const size_t *lengths, int n_answers)
{
    sail_err err = {0};
    sail__forest f = {0};
    float logp[3 * BEYOND], one[3 * BEYOND];
    int32_t ids[PROMPT + BEYOND];
    int prompt;
    for (int i = 0; i < PROMPT; i++)
        ids[i] = id_of(i);
    for (int i = 0; i < 3 * BEYOND; i++)
        one[i] = 1;
    sail_code code = sail__forest_add(&f, -1, ids, PROMPT, SAIL__HEAD_NONE, 0, &prompt, &err);
    for (int c = 0; c < n_answers && code == SAIL_OK; c++) {
        for (size_t i = 0; i < lengths[c]; i++)
            ids[PROMPT + i] = id_of(answers[c] + (int)i);
        code = sail__forest_add(&f, prompt, ids + PROMPT, (int64_t)lengths[c], SAIL__HEAD_EACH, 0, NULL, &err);
    }
    if (code == SAIL_OK)
        code = sail__model_logprobs(r->model, SAIL__POLICY, &f, true, logp, NULL, NULL, &err);
    if (code == SAIL_OK)
        code = sail__model_backward(r->model, &f, one, NULL, NULL, &err);
    if (code != SAIL_OK)
        fail_msg("%s", err.message);
    sail__forest_free(&f);
}

/* One batch of answers on both sides gives the sum of the gradients of each by itself. */
static void gradients_of_both_sides_add_up(void **state)
{
    static const int answers[] = {100, 200, 300};
    static const size_t lengths[] = {WITHIN, BEYOND, WITHIN - 3};
    rig r;
    sail_err err = {0};
    sail_optimizer_plan plan;
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    lesson_plan(&r, test_map(r.arena, "kind", "\"sgd\"", NULL), &plan);
    rig_load(&r, &(rig_spec){.path = sail__path_join(r.arena, golden_dir(), "models/families/phi3_longrope"), .train = SAIL__TRAIN_ALL,
                             .optimizer = &plan});
    sail__flat *flat = sail__model_flat(r.model);
    assert_int_equal(sail__flat_zero_gradients(flat, &err), SAIL_OK);
    add_gradient(&r, answers, lengths, 3);
    size_t n;
    float **together = sail__arena_array(r.arena, (size_t)flat->n_entries, sizeof *together);
    for (int i = 0; i < flat->n_entries; i++)
        together[i] = lesson_values(&r, i, SAIL__FLAT_GRADIENT, &n);
    assert_int_equal(sail__flat_zero_gradients(flat, &err), SAIL_OK);
    for (int c = 0; c < 3; c++)
        add_gradient(&r, &answers[c], &lengths[c], 1);
    for (int i = 0; i < flat->n_entries; i++) {
        const float *apart = lesson_values(&r, i, SAIL__FLAT_GRADIENT, &n);
        double largest = 0;
        for (size_t k = 0; k < n; k++)
            largest = fmax(largest, fabs((double)apart[k]));
        assert_true(largest > 0);
        for (size_t k = 0; k < n; k++)
            rig_judge(&r, "gradient", flat->entries[i].name, fabs((double)together[i][k] - (double)apart[k]), 5e-5 * largest);
    }
    rig_report(&r, "long rope");
    rig_close(&r);
}

/* Greedy ids of a prompt, each from the whole sequence so far, by itself. */
static void expected_ids(rig *r, const int32_t *prompt, size_t n_prompt, int32_t *out)
{
    sail_err err = {0};
    const size_t vocab = (size_t)sail__weights_config(r->weights)->vocab;
    int32_t ids[PROMPT + BEYOND + NEW];
    float *logits = sail__arena_array(r->arena, (n_prompt + NEW) * vocab, sizeof *logits);
    memcpy(ids, prompt, n_prompt * sizeof *ids);
    for (size_t k = 0; k < NEW; k++) {
        size_t n = n_prompt + k, best = 0;
        if (rig_score(r, SAIL__POLICY, ids, n, logits, NULL, NULL, NULL, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        const float *z = logits + (n - 1) * vocab;
        for (size_t v = 1; v < vocab; v++)
            best = z[v] > z[best] ? v : best;
        out[k] = ids[n] = (int32_t)best;
    }
}

/* Prompts from which a response crosses the limit at once, later, or not; the second child of one is late. */
static void responses_that_cross_the_limit(void **state)
{
    static const int64_t lengths[] = {40, 44, 34, 20, 46};
    enum { N = 5 };
    rig r;
    sail_err err = {0};
    sail__generator *g;
    sail__gen_response *out;
    sail__gen_request requests[N];
    int32_t prompts[N][PROMPT + BEYOND], want[NEW];
    size_t n_out;
    GOLDEN_OR_SKIP();
    open_model(&r, (int)(intptr_t)*state);
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < lengths[i]; k++)
            prompts[i][k] = id_of(50 * i + k);
        requests[i] = (sail__gen_request){.prompt = prompts[i], .n_prompt = lengths[i], .children = i == 0 ? 5 : 1, .key = (uint64_t)i,
                                          .max_new = NEW, .ignore_end = true, .sampling = {.top_p = 1, .typical = 1, .penalty = 1}};
    }
    assert_int_equal(sail__generator_new(r.model, SAIL__POLICY, 3, &g, &err), SAIL_OK);
    for (int ahead = 1; ahead <= 4; ahead += 3) {
        sail__generator_ahead(g, ahead);
        if (sail__generate(g, 1, requests, N, NULL, 0, NULL, NULL, r.arena, &out, &n_out, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        assert_int_equal(n_out, N + 4);
        for (size_t i = 0; i < n_out; i++) {
            expected_ids(&r, prompts[out[i].request], (size_t)lengths[out[i].request], want);
            assert_int_equal(out[i].n, NEW);
            assert_memory_equal(out[i].ids, want, sizeof want);
        }
    }
    sail__generator_free(g);
    rig_close(&r);
}

#define VARIANT(test, i, label) {#test " on " label, test, NULL, NULL, (void *)(intptr_t)(i)}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VARIANT(children_on_both_sides_of_the_limit, 0, "ref"), VARIANT(children_on_both_sides_of_the_limit, 2, "cpu f32"),
        VARIANT(gradients_of_both_sides_add_up, 0, "ref"), VARIANT(gradients_of_both_sides_add_up, 2, "cpu f32"),
        VARIANT(responses_that_cross_the_limit, 0, "ref"), VARIANT(responses_that_cross_the_limit, 2, "cpu f32"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
