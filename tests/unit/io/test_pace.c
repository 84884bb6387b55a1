/* test_pace.c - limits a minute, waits and what Retry-After says, on a clock of the test's own. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "io/pace.h"

/* Sends whenever it may, for `seconds`; times[] of what went. */
static int drive(sail__pace *p, double seconds, int64_t tokens, double *times, int most)
{
    sail_err err;
    uint64_t id;
    int n = 0;
    for (double now = 0; now < seconds && n < most;) {
        double wait = sail__pace_wait(p, now, tokens);
        if (wait > 0) {
            now += wait;
            continue;
        }
        assert_int_equal(sail__pace_sent(p, now, tokens, &id, &err), SAIL_OK);
        times[n++] = now;
        now += 0.01;
    }
    return n;
}

static void no_minute_has_more_requests_than_the_limit(void **state)
{
    static double t[1000];
    sail__pace p = {.requests = 7};
    int n = drive(&p, 600, 100, t, 1000);
    assert_in_range(n, 69, 71);
    for (int i = 7; i < n; i++)
        assert_true(t[i] - t[i - 7] >= 60 - 1e-9);
    sail__pace_free(&p);
}

static void no_minute_has_more_tokens_than_the_limit(void **state)
{
    static double t[1000];
    sail__pace p = {.tokens = 1000};
    int n = drive(&p, 300, 300, t, 1000); /* three a minute */
    assert_in_range(n, 14, 16);
    for (int i = 3; i < n; i++)
        assert_true(t[i] - t[i - 3] >= 60 - 1e-9);
    sail__pace_free(&p);
    p = (sail__pace){.tokens = 1000};
    assert_true(sail__pace_wait(&p, 0, 5000) == 0); /* larger than the limit: alone */
    uint64_t id;
    sail_err err;
    assert_int_equal(sail__pace_sent(&p, 0, 5000, &id, &err), SAIL_OK);
    assert_true(sail__pace_wait(&p, 10, 1) == 50);
    sail__pace_correct(&p, id, 900); /* it was less than thought */
    assert_true(sail__pace_wait(&p, 10, 100) == 0);
    assert_true(sail__pace_wait(&p, 10, 101) == 50);
    sail__pace_free(&p);
}

static void a_pause_holds_everything_back(void **state)
{
    sail__pace p = {0};
    sail__pace_pause(&p, 12);
    sail__pace_pause(&p, 5); /* never shortened */
    assert_true(sail__pace_wait(&p, 4, 1) == 8);
    assert_true(sail__pace_wait(&p, 12, 1) == 0);
}

static void waits_double_up_to_the_longest_and_scatter(void **state)
{
    for (int k = 1; k < 100; k++) {
        double whole = fmin(60, 0.5 * pow(2, k - 1));
        assert_true(fabs(sail__pace_backoff(k, 0.5, 60, 1) - whole) < 1e-12);
        assert_true(fabs(sail__pace_backoff(k, 0.5, 60, 0) - whole / 2) < 1e-12);
    }
}

static void retry_after_is_seconds_or_a_date(void **state)
{
    assert_true(sail__retry_after("120", 0) == 120);
    assert_true(sail__retry_after(" 1.5 ", 0) == 1.5);
    assert_true(sail__retry_after("0", 0) == 0);
    assert_true(sail__retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 1445412480 - 30) == 30);
    assert_true(sail__retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 1445412480 + 30) == 0);
    static const char *const wrong[] = {"", "-5", "soon", "12 minutes", "1e999", "Wed, 21 Oct 2015 07:28:00 CET"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_true(isnan(sail__retry_after(wrong[i], 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_minute_has_more_requests_than_the_limit), cmocka_unit_test(no_minute_has_more_tokens_than_the_limit),
        cmocka_unit_test(a_pause_holds_everything_back),              cmocka_unit_test(waits_double_up_to_the_longest_and_scatter),
        cmocka_unit_test(retry_after_is_seconds_or_a_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
