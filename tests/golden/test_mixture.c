/* test_mixture.c - the geometric mixture that Nash-MD plays against: a token's distribution against the formula, and a generator of it against
 * those of its two models. */
#include "../rig.h"

#include "nn/generate.h"
#include "nn/mixture.h"
#include "sail/rng.h"

enum { VOCAB = 12 };

static const sail_filter_params plain = {.temperature = 1, .top_p = 1, .typical = 1, .penalty = 1};

static double draw(uint64_t what, uint64_t i) { return sail_rng_uniform(3, SAIL_RNG_USER, what, i, 0); }

/* The share of the unit interval that goes to each token is its probability: found by bisection of u, so that nothing is sampled. */
static void distribution(const float *const z[2], double softcap, double w, const sail_filter_params *f, double *share)
{
    double p[VOCAB], from = 0;
    int32_t order[VOCAB], id;
    float logp, drawn;
    sail_err err = {0};
    memset(share, 0, VOCAB * sizeof *share);
    while (from < 1 - 1e-12) {
        const double at = from + 1e-13;
        if (sail__mixture_draw(z, VOCAB, softcap, w, f, at, p, order, &id, &logp, &drawn, &err))
            fail_msg("%s", err.message);
        const int32_t here = id;
        double low = at, high = 1;
        for (int i = 0; i < 60; i++) { /* the last u that still gives this token */
            const double mid = (low + high) / 2;
            if (sail__mixture_draw(z, VOCAB, softcap, w, f, mid, p, order, &id, &logp, &drawn, &err))
                fail_msg("%s", err.message);
            *(id == here ? &low : &high) = mid;
        }
        share[here] += high - from;
        assert_true(fabs(exp(drawn) - p[id]) < 1e-6);
        from = high;
    }
}

static void softmax(const float *z, double softcap, double *p)
{
    double total = 0;
    for (int v = 0; v < VOCAB; v++)
        total += p[v] = exp(softcap > 0 ? softcap * tanh(z[v] / softcap) : z[v]);
    for (int v = 0; v < VOCAB; v++)
        p[v] /= total;
}

static void a_token_has_the_mixture_s_distribution(void **state)
{
    static const double weights[] = {0, 0.125, 0.5, 1}, caps[] = {0, 2};
    float z[2][VOCAB];
    const float *const both[2] = {z[0], z[1]};
    double worst = 0;
    for (int v = 0; v < VOCAB; v++)
        for (int i = 0; i < 2; i++)
            z[i][v] = (float)(6 * draw((uint64_t)i, (uint64_t)v) - 3);
    for (size_t c = 0; c < 2; c++)
        for (size_t k = 0; k < sizeof weights / sizeof *weights; k++) {
            double p[VOCAB], q[VOCAB], want[VOCAB], got[VOCAB], total = 0;
            softmax(z[0], caps[c], p);
            softmax(z[1], caps[c], q);
            for (int v = 0; v < VOCAB; v++)
                total += want[v] = pow(p[v], 1 - weights[k]) * pow(q[v], weights[k]);
            distribution(both, caps[c], weights[k], &plain, got);
            for (int v = 0; v < VOCAB; v++)
                worst = fmax(worst, fabs(got[v] - want[v] / total));
        }
    print_message("largest difference of a probability: %.2g\n", worst);
    assert_true(worst < 1e-10);
    /* what one model gives no chance is not drawn, unless it has no weight */
    double got[VOCAB];
    z[1][4] = -INFINITY;
    distribution(both, 0, 0.125, &plain, got);
    assert_true(got[4] == 0);
    distribution(both, 0, 0, &plain, got);
    assert_true(got[4] > 0);
    z[0][2] = NAN;
    double scratch[VOCAB];
    int32_t order[VOCAB], id;
    float logp, drawn;
    sail_err err = {0};
    assert_int_equal(sail__mixture_draw(both, VOCAB, 0, 0.5, &plain, 0.5, scratch, order, &id, &logp, &drawn, &err), SAIL_E_NUMERIC);
}

/* ---- a generator ---- */

static void shake(rig *r)
{
    const sail__flat *f = sail__model_flat(r->model);
    for (int i = 0; i < f->n_entries; i++) {
        sail_err err = {0};
        const sail_tensor t = sail__flat_view(f, i, SAIL__FLAT_WEIGHT, 0);
        const size_t n = (size_t)(t.rows * t.cols);
        float *x = sail__malloc(n * sizeof *x);
        for (size_t k = 0; k < n; k++)
            x[k] = (float)(0.3 * sail_rng_normal(5, SAIL_RNG_USER, 7, (uint64_t)i, k));
        assert_int_equal(sail__tensor_put(r->rt, &t, x, &err), SAIL_OK);
        sail__free(x);
    }
}

static sail__gen_response *respond(rig *r, sail__generator *g, double mixture, size_t *n)
{
    enum { PROMPTS = 6 };
    static const int32_t prompts[PROMPTS][4] = {{5, 6, 7, 8}, {9, 10, 11, 12}, {13, 14, 15, 16}, {30, 31, 32, 33}, {50, 51, 52, 53}, {90, 80, 70, 60}};
    sail__gen_request req[PROMPTS];
    sail__gen_response *out;
    sail_err err = {0};
    for (int i = 0; i < PROMPTS; i++)
        req[i] = (sail__gen_request){.prompt = prompts[i], .n_prompt = 4 - i % 2, .children = 1 + i % 3, .max_new = 12, .key = (uint64_t)i, .sampling = plain,
                                     .ignore_end = true, .mixture = mixture};
    if (sail__generate(g, 11, req, PROMPTS, NULL, 0, NULL, NULL, r->arena, &out, n, &err))
        fail_msg("%s", err.message);
    return out;
}

static size_t equal(const sail__gen_response *a, const sail__gen_response *b, size_t n, double *worst)
{
    size_t same = 0;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(a[i].n, b[i].n);
        const bool all = !memcmp(a[i].ids, b[i].ids, (size_t)a[i].n * sizeof *a[i].ids);
        same += all;
        for (int64_t j = 0; all && worst && j < a[i].n; j++)
            *worst = fmax(*worst, fmax(fabs(a[i].logp[j] - b[i].logp[j]), fabs(a[i].drawn[j] - b[i].drawn[j])));
    }
    return same;
}

static void a_generator_of_weight_0_and_1_is_either_model(void **state)
{
    rig r;
    sail_err err = {0};
    sail__generator *policy = NULL, *reference = NULL, *mixture = NULL;
    size_t n;
    double worst = 0;
    GOLDEN_OR_SKIP();
    rig_open(&r, (int)(intptr_t)*state);
    sail_slot sgd = rig_slot(&r, SAIL_KIND_OPTIMIZER, "sgd", NULL);
    sail_optimizer_plan plan = {0};
    ((const sail_optimizer *)sgd.loaded->ops)->plan(sgd.options, &plan);
    rig_load(&r, &(rig_spec){.path = sail__path_join(r.arena, golden_dir(), "method/model"),
                             .adapter = sail__path_join(r.arena, golden_dir(), "method/trajectories/lora_initial"), .train = SAIL__TRAIN_ADAPTER,
                             .optimizer = &plan});
    shake(&r);
    if (sail__generator_new(r.model, SAIL__POLICY, 3, &policy, &err) || sail__generator_new(r.model, SAIL__REFERENCE, 3, &reference, &err) ||
        sail__generator_new_mixture(r.model, 3, &mixture, &err))
        fail_msg("%s", err.message);
    const sail__gen_response *p = respond(&r, policy, 0, &n), *q = respond(&r, reference, 0, &n), *zero = respond(&r, mixture, 0, &n),
                             *one = respond(&r, mixture, 1, &n), *half = respond(&r, mixture, 0.5, &n), *again = respond(&r, mixture, 0.5, &n);
    assert_int_equal(equal(zero, p, n, &worst), n);
    assert_true(worst < 1e-4);
    assert_int_equal(equal(one, q, n, NULL), n); /* log p is the policy's there */
    assert_int_equal(equal(half, again, n, &(double){0}), n);
    assert_true(equal(p, q, n, NULL) < n && equal(half, p, n, NULL) < n && equal(half, q, n, NULL) < n);
    sail__generator_free(policy);
    sail__generator_free(reference);
    sail__generator_free(mixture);
    rig_close(&r);
}

#define VARIANT(test, i, label) {#test " on " label, test, NULL, NULL, (void *)(intptr_t)(i)}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_has_the_mixture_s_distribution),
        VARIANT(a_generator_of_weight_0_and_1_is_either_model, 0, "ref"),
        VARIANT(a_generator_of_weight_0_and_1_is_either_model, 2, "cpu f32"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
