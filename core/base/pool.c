/* pool.c - a thread pool: tasks claimed by an atomic counter, bounded spinning, then sleep on a futex.
 *
 * One run is described by `fn`, `arg`, `n`; a run begins when `round` goes up. Workers that see it claim tasks until
 * none is left and then leave, counted by `working`; the caller claims too and waits for the workers to leave. A worker
 * that sleeps through a whole short run does no harm: it is not waited for unless it has entered. For that, one word
 * (`gate`) holds both the number of workers inside and whether the run is open. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../sail/pool.h"
#include "base.h"

enum {
    SPINS = 2000,   /* pauses: some tens of microseconds */
    MOST = 1024,    /* threads */
    LINE = 64,      /* bytes of a cache line */
    OPEN = 1 << 30, /* in gate: a run is in progress, workers may enter */
};

struct worker {
    struct sail_pool *pool;
    pthread_t id;
    int thread;
};

struct sail_pool {
    int threads; /* the caller's included */
    void (*init)(void *arg, int thread);
    void *init_arg;
    struct worker *workers;
    int started;

    void (*fn)(void *arg, size_t task, int thread);
    void *arg;
    size_t n;

    _Alignas(LINE) atomic_size_t next; /* task to claim */
    _Alignas(LINE) atomic_uint round;  /* goes up with each run; workers sleep on it */
    atomic_int sleepers;
    atomic_bool stop;
    _Alignas(LINE) atomic_uint gate; /* OPEN | workers inside; the caller sleeps on it */
    atomic_bool caller_sleeps;
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void sleep_while(atomic_uint *word, unsigned value)
{
    /* returns at once when the word has changed; waking for no reason is allowed */
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(atomic_uint *word, int most)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, most, NULL, NULL, 0);
}

static void work(sail_pool *p, int thread)
{
    size_t n = p->n;
    for (;;) {
        size_t task = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (task >= n)
            return;
        p->fn(p->arg, task, thread);
    }
}

/* Waits until the round is no longer `seen`. */
static unsigned next_round(sail_pool *p, unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        unsigned now = atomic_load_explicit(&p->round, memory_order_acquire);
        if (now != seen)
            return now;
        relax();
    }
    atomic_fetch_add(&p->sleepers, 1);
    unsigned now;
    while ((now = atomic_load(&p->round)) == seen)
        sleep_while(&p->round, seen);
    atomic_fetch_sub(&p->sleepers, 1);
    return now;
}

static bool enter(sail_pool *p)
{
    unsigned g = atomic_load_explicit(&p->gate, memory_order_relaxed);
    while (g & OPEN)
        if (atomic_compare_exchange_weak_explicit(&p->gate, &g, g + 1, memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

static void leave(sail_pool *p)
{
    if (atomic_fetch_sub(&p->gate, 1) == 1 && atomic_load(&p->caller_sleeps)) /* closed, and the last one out */
        wake(&p->gate, 1);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    sail_pool *p = w->pool;
    if (p->init)
        p->init(p->init_arg, w->thread);
    unsigned seen = 0;
    for (;;) {
        seen = next_round(p, seen);
        if (atomic_load(&p->stop))
            return NULL;
        if (enter(p)) {
            work(p, w->thread);
            leave(p);
        }
    }
}

static int available_cores(void)
{
    int n = 0;
    for (int cpus = 1024; cpus <= 1 << 16 && n == 0; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        if (!set)
            break;
        size_t size = CPU_ALLOC_SIZE((size_t)cpus);
        if (sched_getaffinity(0, size, set) == 0)
            n = CPU_COUNT_S(size, set);
        CPU_FREE(set);
    }
    return n > 0 ? n : 1;
}

sail_pool *sail_pool_new(int threads, void (*init)(void *arg, int thread), void *arg)
{
    if (threads < 0)
        return NULL;
    if (threads == 0)
        threads = available_cores();
    if (threads > MOST)
        threads = MOST;
    void *memory = NULL;
    if (posix_memalign(&memory, LINE, sizeof(sail_pool)) != 0)
        return NULL;
    sail_pool *p = memory;
    *p = (sail_pool){.threads = threads, .init = init, .init_arg = arg};
    if (!(p->workers = sail__calloc((size_t)threads, sizeof *p->workers))) {
        free(p);
        return NULL;
    }
    for (int i = 1; i < threads; i++) {
        struct worker *w = &p->workers[p->started];
        *w = (struct worker){.pool = p, .thread = i};
        if (pthread_create(&w->id, NULL, worker_main, w) != 0) {
            sail_pool_free(p);
            return NULL;
        }
        p->started++;
    }
    if (init)
        init(arg, 0);
    return p;
}

void sail_pool_free(sail_pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, true);
    atomic_fetch_add(&p->round, 1);
    wake(&p->round, MOST);
    for (int i = 0; i < p->started; i++)
        pthread_join(p->workers[i].id, NULL);
    sail__free(p->workers);
    free(p);
}

int sail_pool_threads(const sail_pool *p)
{
    return p->threads;
}

void sail_pool_run(sail_pool *p, size_t n, void (*fn)(void *arg, size_t task, int thread), void *arg)
{
    if (n <= 1 || p->started == 0) {
        for (size_t i = 0; i < n; i++)
            fn(arg, i, 0);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    p->n = n;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->gate, OPEN, memory_order_release);
    atomic_fetch_add(&p->round, 1);
    if (atomic_load(&p->sleepers) > 0)
        wake(&p->round, n - 1 < MOST ? (int)(n - 1) : MOST);
    work(p, 0);

    /* All tasks are claimed. Close the gate: who is not inside has nothing to do; wait for who is. */
    unsigned inside = atomic_fetch_and(&p->gate, ~(unsigned)OPEN) & ~(unsigned)OPEN;
    for (int i = 0; inside && i < SPINS; i++) {
        relax();
        inside = atomic_load_explicit(&p->gate, memory_order_acquire);
    }
    if (!inside)
        return;
    atomic_store(&p->caller_sleeps, true);
    while ((inside = atomic_load(&p->gate)) != 0)
        sleep_while(&p->gate, inside);
    atomic_store(&p->caller_sleeps, false);
}
