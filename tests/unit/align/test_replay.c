/* test_replay.c - the replay buffer as bytes: what was kept comes back, and nothing that could not have been kept. */
#include "../../plugin.h"

#include "align/replay.h"

static const sail_plan plan = {.size = sizeof plan, .responses = 3, .pool = 1, .replay = 0.5, .keep = 8, .age = 10};

/* A buffer with one prompt: a pair out of three responses, the third beside it. */
static sail_buf kept(sail_arena *a, int32_t outcome, double weight)
{
    static const int32_t prompt[] = {5, 6}, ids[] = {7, 8, 2};
    static const float logp[] = {-1, -2, -3};
    sail__group g = {.prompt = prompt, .n_prompt = 2, .row = 3, .k = 3, .compared = 2, .route = "dpr", .writer = SAIL_BY_POLICY,
                     .labeller = SAIL_BY_JUDGE, .outcome = outcome, .weight = weight};
    for (int k = 0; k < 3; k++)
        g.r[k] = (sail__response){.ids = ids, .n = 3, .old_logp = logp, .drawn = logp, .id = 100 + k, .score = k};
    const sail__step step = {.step = 4, .arena = a, .groups = &g, .n = 1};
    sail__replay b = {0};
    sail_err err = {0};
    sail_buf out = {0};
    assert_int_equal(sail__replay_put(&b, &step, &plan, &err), SAIL_OK);
    assert_int_equal(b.n, 1);
    sail__replay_write(&b, &out);
    sail__replay_free(&b);
    assert_false(out.oom);
    return out;
}

static sail_code read_back(const sail_buf *bytes, size_t size, int64_t rows, sail__group *g)
{
    sail__replay b = {0};
    sail_err err = {0};
    const sail__group at = {.route = "dpr", .writer = SAIL_BY_POLICY, .labeller = SAIL_BY_JUDGE};
    const sail_code code = sail__replay_read(&b, bytes->data, size, rows, 10, "replay.bin", &err);
    if (code == SAIL_OK)
        assert_int_equal(sail__replay_groups(&b, 0, &at, 5, g), 1);
    else if (!strstr(err.message, "replay.bin is not a replay buffer of this data and model"))
        fail_msg("%s", err.message);
    sail__replay_free(&b);
    return code;
}

static void what_was_kept_comes_back(void **state)
{
    sail_arena *a = sail__arena_new();
    for (int32_t outcome = SAIL_ABSTAIN; outcome <= SAIL_TIE; outcome++) {
        sail_buf b = kept(a, outcome, 0.25);
        sail__group g;
        assert_int_equal(read_back(&b, b.len, 4, &g), SAIL_OK);
        assert_true(g.k == 3 && g.compared == 2 && g.outcome == outcome && g.weight == 0.25);
        sail__buf_free(&b);
    }
    sail__arena_free(a);
}

static void bytes_that_were_not_kept_are_refused(void **state)
{
    sail_arena *a = sail__arena_new();
    sail__group g;
    static const struct {
        int32_t outcome;
        double weight;
    } wrong[] = {{3, 1}, {-2, 1}, {1 << 30, 1}, {0, -1}, {0, 1.5}, {0, (double)NAN}, {0, (double)INFINITY}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sail_buf b = kept(a, wrong[i].outcome, wrong[i].weight);
        assert_int_equal(read_back(&b, b.len, 4, &g), SAIL_E_FORMAT);
        sail__buf_free(&b);
    }
    sail_buf b = kept(a, 0, 1);
    assert_int_equal(read_back(&b, b.len, 3, &g), SAIL_E_FORMAT); /* of a row that there is not */
    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(read_back(&b, n, 4, &g), SAIL_E_FORMAT);
    sail__buf_free(&b);
    sail__arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_kept_comes_back),
        cmocka_unit_test(bytes_that_were_not_kept_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
