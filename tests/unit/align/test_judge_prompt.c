/* test_judge_prompt.c - what a language model is asked as judge, and what its replies are taken to say: plainly, or not at all. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "align/judge_prompt.h"

static sail__judge_prompt named(sail_arena *a, int which)
{
    sail__judge_prompt p;
    sail_err err;
    if (sail__judge_prompt_open(a, which, NULL, 1, 10, &p, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    return p;
}

static void replies_are_read_plainly_or_not_at_all(void **state)
{
    static const struct {
        int pair;
        const char *reply;
        double s[2]; /* first -1: not to be read */
    } rows[] = {
        {1, "The second is better.\n[[3, 8]]", {3, 8}},
        {1, "[[10, 1]]", {10, 1}}, /* not 1 and 1 */
        {1, "[[ 7.5 ,\t2 ]] and so on", {7.5, 2}},
        {1, "[[3, 8]] … as I said: [[3, 8]]", {3, 8}},
        {1, "[[[3, 8]]]", {3, 8}},
        {1, "[[3, 8]] or [[8, 3]]", {-1}},
        {1, "[[3, 8", {-1}},
        {1, "[3, 8]", {-1}},
        {1, "[[3; 8]]", {-1}},
        {1, "[[3]]", {-1}},
        {1, "[[3, 8, 2]]", {-1}},
        {1, "[[score1, score2]]", {-1}},
        {1, "[[0, 8]]", {-1}},
        {1, "[[3, 11]]", {-1}},
        {1, "[[-3, 8]]", {-1}},
        {1, "[[1e1, 8]]", {-1}},
        {1, "[[99999999999999999999, 8]]", {-1}},
        {1, "3 and 8", {-1}},
        {1, "", {-1}},
        {0, "Fine.\nOverall Score: 7", {7}},
        {0, "Overall Score: 10", {10}},
        {0, "**Overall Score:** 7.5.", {7.5}},
        {0, "**Overall Score**: 7", {7}},
        {0, "Overall Score: [7]", {7}},
        {0, "Overall Score: 7/10", {7}},
        {0, "Overall Score: 7 / 10.", {7}},
        {0, "Overall Score: 7/5", {-1}},
        {0, "Overall Score: 70%", {-1}},
        {0, "Overall Score: 7th", {-1}},
        {0, "Overall Score: seven", {-1}},
        {0, "Overall Score: 11", {-1}},
        {0, "Overall Score: 100", {-1}},
        {0, "Overall Score: 6 … Overall Score: 7", {-1}},
        {0, "overall score 7", {-1}},
        {0, "[[3, 8]]", {-1}},
    };
    sail_arena *a = sail__arena_new();
    sail__judge_prompt pair = named(a, 0), rating = named(a, 2);
    assert_true(pair.pair && !rating.pair);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double s[2] = {NAN, NAN};
        const char *why = NULL;
        bool read = sail__judge_prompt_read(rows[i].pair ? &pair : &rating, rows[i].reply, s, &why);
        if (read != (rows[i].s[0] >= 0) || (read && (s[0] != rows[i].s[0] || (rows[i].pair && s[1] != rows[i].s[1]))))
            fail_msg("%s: %s %g %g", rows[i].reply, read ? "read as" : why, s[0], s[1]);
        assert_true(read || strlen(why) > 5);
    }
    sail__arena_free(a);
}

static void what_is_put_in_is_not_looked_at_again(void **state)
{
    sail_arena *a = sail__arena_new();
    const char *texts[] = {"{response_2} {conversation}", "{lowest}"};
    int64_t tokens[] = {1, 1};
    sail_judge_item x = {.prompt = "{response_1}", .conversation = "user: {response}", .k = 2, .response = texts, .tokens = tokens};
    sail__judge_prompt p = {.lowest = 1, .highest = 5, .pair = true};
    sail_buf b = {0};
    sail__judge_prompt_fill(&p, "{conversation}|{prompt}|{response_1}|{response_2}|{lowest}-{highest}|{}|{\"a\": {1}}|{ response_1 }", &x, texts[0],
                            texts[1], &b);
    assert_string_equal(b.data, "user: {response}|{response_1}|{response_2} {conversation}|{lowest}|1-5|{}|{\"a\": {1}}|{ response_1 }");
    sail__buf_free(&b);
    sail__arena_free(a);
}

static void our_templates_say_the_form_and_the_bounds(void **state)
{
    sail_arena *a = sail__arena_new();
    char hashes[4][33];
    const char *texts[] = {"first", "second"};
    int64_t tokens[] = {1, 1};
    sail_judge_item x = {.prompt = "why?", .conversation = "user: why?", .k = 2, .response = texts, .tokens = tokens};
    for (int i = 0; sail__judge_prompt_names[i]; i++) {
        sail__judge_prompt p = named(a, i);
        sail_buf b = {0};
        memcpy(hashes[i], p.hash, sizeof p.hash);
        sail__judge_prompt_fill(&p, p.user, &x, "the one", p.pair ? "the other" : NULL, &b);
        assert_non_null(p.system);
        assert_non_null(strstr(b.data, "user: why?"));
        assert_non_null(strstr(b.data, "the one"));
        assert_int_equal(strstr(b.data, "the other") != NULL, p.pair);
        assert_non_null(strstr(b.data, p.pair ? "[[score1, score2]]" : "Overall Score: n"));
        assert_non_null(strstr(b.data, "from 1 (worst) to 10 (best)"));
        assert_null(strchr(b.data, '{'));
        double s[2];
        const char *why;
        assert_false(sail__judge_prompt_read(&p, b.data, s, &why)); /* a reply that repeats the question says nothing */
        sail__buf_free(&b);
    }
    assert_string_not_equal(hashes[0], hashes[1]);
    sail__judge_prompt p;
    sail_err err;
    assert_int_equal(sail__judge_prompt_open(a, 0, NULL, 1, 5, &p, &err), SAIL_OK);
    assert_string_not_equal(hashes[0], p.hash); /* other bounds, another question */
    sail__arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_read_plainly_or_not_at_all),
        cmocka_unit_test(what_is_put_in_is_not_looked_at_again),
        cmocka_unit_test(our_templates_say_the_form_and_the_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
