/* pool.h - a thread pool with bounded spinning, for backends.
 *
 * Floor: base. A pool belongs to the backend that made it. Work is cut into tasks whose bounds do not depend on the
 * number of threads, so that results do not either; which thread runs a task is not defined. Threads: one sail_pool_run of a pool
 * at a time. */
#ifndef SAIL_POOL_H
#define SAIL_POOL_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sail_pool sail_pool;

/* threads >= 1, the caller's own among them; 0: one per available core (affinity mask). NULL: cannot be made.
 * `init` (may be NULL) runs once on every thread, the caller's included. */
sail_pool *sail_pool_new(int threads, void (*init)(void *arg, int thread), void *arg);
void sail_pool_free(sail_pool *p);
int sail_pool_threads(const sail_pool *p);

/* Run fn(arg, task, thread) for every task in [0, n); returns when all are done. `thread` < sail_pool_threads is for
 * scratch memory. Not to be called from inside a task. A waiting thread spins for some microseconds, then sleeps. */
void sail_pool_run(sail_pool *p, size_t n, void (*fn)(void *arg, size_t task, int thread), void *arg);

#ifdef __cplusplus
}
#endif
#endif
