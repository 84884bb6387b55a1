/* test_pool.c - every task runs once, whatever the number of threads; nothing hangs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "sail/pool.h"

struct job {
    unsigned char *runs; /* not atomic: two threads on one task would be a race that TSan sees */
    int threads;
    atomic_int bad_thread, inits;
    size_t spin;
};

static void count(void *arg, size_t task, int thread)
{
    struct job *j = arg;
    j->runs[task]++;
    if (thread < 0 || thread >= j->threads)
        atomic_fetch_add(&j->bad_thread, 1);
    for (volatile size_t i = 0; i < j->spin * (task % 7); i++)
        ;
}

static void init(void *arg, int thread)
{
    struct job *j = arg;
    atomic_fetch_or(&j->inits, 1 << thread);
}

static void every_task_runs_once(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 7, 64, 1000};
    for (int threads = 1; threads <= 5; threads++) {
        struct job j = {.threads = threads, .runs = calloc(1000, 1)};
        sail_pool *p = sail_pool_new(threads, init, &j);
        assert_non_null(p);
        assert_int_equal(sail_pool_threads(p), threads);
        for (int round = 0; round < 300; round++) {
            size_t n = sizes[round % 7];
            j.spin = (size_t)(round % 3) * 20;
            memset(j.runs, 0, 1000);
            sail_pool_run(p, n, count, &j);
            for (size_t i = 0; i < 1000; i++)
                assert_int_equal(j.runs[i], i < n);
        }
        assert_int_equal(j.bad_thread, 0);
        sail_pool_free(p);
        assert_int_equal(j.inits, (1 << threads) - 1); /* on every thread */
        free(j.runs);
    }
}

struct meeting {
    atomic_int here;
    bool met;
};

static void meet(void *arg, size_t task, int thread)
{
    struct meeting *m = arg;
    (void)task;
    (void)thread;
    atomic_fetch_add(&m->here, 1);
    double until = sail__now() + 10;
    while (atomic_load(&m->here) < 2 && sail__now() < until)
        ;
    if (task == 0)
        m->met = atomic_load(&m->here) == 2;
}

static void workers_that_fell_asleep_wake_up(void **state)
{
    (void)state;
    struct job j = {.threads = 3, .runs = calloc(50, 1), .spin = 2000};
    sail_pool *p = sail_pool_new(3, NULL, NULL);
    for (int round = 1; round <= 20; round++) {
        usleep(3000); /* far longer than the spinning */
        sail_pool_run(p, 50, count, &j);
        for (size_t i = 0; i < 50; i++)
            assert_int_equal(j.runs[i], round);
    }
    struct meeting m = {0};
    usleep(3000);
    sail_pool_run(p, 2, meet, &m); /* the caller could do all of the above alone, but not this */
    assert_true(m.met);
    sail_pool_free(p);
    free(j.runs);
}

static void two_threads_really_work_at_once(void **state)
{
    (void)state;
    struct meeting m = {0};
    sail_pool *p = sail_pool_new(2, NULL, NULL);
    sail_pool_run(p, 2, meet, &m);
    assert_true(m.met);
    sail_pool_free(p);
}

static void slow_worker_is_waited_for(void **state)
{
    (void)state;
    /* task 1 outlasts the caller's spinning, so that it must sleep and be woken */
    struct job j = {.threads = 2, .runs = calloc(6, 1), .spin = 3000000};
    sail_pool *p = sail_pool_new(2, NULL, NULL);
    for (int round = 0; round < 5; round++)
        sail_pool_run(p, 6, count, &j);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(j.runs[i], 5);
    sail_pool_free(p);
    free(j.runs);
}

static void zero_threads_means_the_cores_there_are(void **state)
{
    (void)state;
    sail_pool *p = sail_pool_new(0, NULL, NULL);
    assert_non_null(p);
    assert_in_range(sail_pool_threads(p), 1, sysconf(_SC_NPROCESSORS_CONF));
    sail_pool_free(p);
    assert_null(sail_pool_new(-1, NULL, NULL));
    sail_pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(workers_that_fell_asleep_wake_up),
        cmocka_unit_test(two_threads_really_work_at_once),
        cmocka_unit_test(slow_worker_is_waited_for),
        cmocka_unit_test(zero_threads_means_the_cores_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
