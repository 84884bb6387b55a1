/* test_reward.c - score heads against the recorded rewards: at the last token, and at every position. */
#include "../golden.h"

#include <math.h>

#include "align/session.h"

static void run(const char *backend)
{
    GOLDEN_OR_SKIP();
    sail_err err = {0};
    sail_ctx *ctx = sail_ctx_new();
    sail_arena *a = sail__arena_new();
    sail_problems problems = {.arena = a};
    sail_slot slot;
    sail__model_section m = {.path = sail__path_join(a, golden_dir(), "models/reward"), .dtype = SAIL__F32};
    assert_true(sail__slot_parse(ctx, a, SAIL_KIND_BACKEND, sail__node_string(a, backend, "test"), "backend", NULL, NULL, &slot, &problems));
    sail__session_spec spec = {.model = &m, .backend = &slot};
    sail__session *s;
    if (sail__session_open(ctx, &spec, &s, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    golden_file g;
    golden_open(&g, "models/reward/expected.safetensors");
    golden_tensor ids = golden_get(&g, "input_ids"), lengths = golden_get(&g, "lengths");
    double *id = golden_doubles(&g, "input_ids", NULL), *len = golden_doubles(&g, "lengths", NULL), *want = golden_doubles(&g, "rewards", NULL);
    double worst = 0;
    for (int every = 0; every < 2; every++) {
        sail__forest f = {0};
        for (int64_t i = 0; i < (int64_t)lengths.n; i++) {
            int32_t row[4096];
            for (int64_t t = 0; t < (int64_t)len[i]; t++)
                row[t] = (int32_t)id[i * ids.shape[1] + t];
            assert_int_equal(sail__forest_add(&f, -1, row, (int64_t)len[i], every ? SAIL__HEAD_NEXT : SAIL__HEAD_LAST, 0, NULL, &err), SAIL_OK);
        }
        float *got = test_calloc((size_t)f.n_rows, sizeof *got);
        if (sail__model_scores(s->model, &f, got, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        int64_t at = 0;
        for (int64_t i = 0; i < (int64_t)lengths.n; i++) {
            char name[64];
            snprintf(name, sizeof name, "score_every_position.%d", (int)i);
            double *each = every ? golden_doubles(&g, name, NULL) : want + i;
            for (int64_t t = 0; t < (every ? (int64_t)len[i] : 1); t++)
                worst = fmax(worst, fabs(each[t] - got[at++]));
        }
        assert_int_equal(at, f.n_rows);
        test_free(got);
        sail__forest_free(&f);
    }
    print_message("%s: largest deviation of a reward %.3g (limit 5e-5)\n", backend, worst);
    assert_true(worst <= 5e-5);
    golden_close(&g);
    sail__session_close(s);
    sail__arena_free(a);
    sail_ctx_free(ctx);
}

static void rewards_match_on_ref(void **state) { run("ref"); }
static void rewards_match_on_cpu(void **state) { run("cpu"); }

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rewards_match_on_ref), cmocka_unit_test(rewards_match_on_cpu)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
