/* ctx.h - what a context is made of; only floors that hang something off it include this.
 *
 * Floor: base. Threads: log and progress take their locks; slots belong to the owner of the context. */
#ifndef SAIL_BASE_CTX_H
#define SAIL_BASE_CTX_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "../sail/log.h"

enum { SAIL_CTX_MOST_SLOTS = 8 };

struct sail_ctx {
    pthread_mutex_t log_lock, progress_lock;
    sail_log_level level;
    sail_log_sink log;
    void *log_user;
    sail_progress_sink progress;
    void *progress_user;
    atomic_bool cancelled; /* lock-free, so that a signal handler may set it */
    struct {
        void *p;
        void (*destroy)(void *p);
    } slots[SAIL_CTX_MOST_SLOTS];
};

#endif
