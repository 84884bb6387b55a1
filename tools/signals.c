/* signals.c - SIGINT or SIGTERM once asks the context to cancel, twice ends the process at once.
 *
 * The signals are blocked everywhere and one thread waits for them: no handler, nothing global. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli_impl.h"

struct sail__signals {
    sail_ctx *ctx;
    pthread_t thread;
    sigset_t set, old;
    atomic_int came;
    atomic_bool stop;
};

static void *wait_for_signals(void *arg)
{
    sail__signals *s = arg;
    int number;
    while (sigwait(&s->set, &number) == 0) {
        if (atomic_load(&s->stop))
            break;
        if (number == SIGUSR2)
            continue; /* somebody else's */
        if (atomic_exchange(&s->came, number) != 0)
            _exit(128 + number);
        sail_log(s->ctx, SAIL_LOG_WARN, "stopping after this step (%s); again to stop at once",
                 number == SIGINT ? "interrupted" : "SIGTERM");
        sail_cancel(s->ctx);
    }
    return NULL;
}

sail__signals *sail__signals_start(sail_ctx *ctx)
{
    sail__signals *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->ctx = ctx;
    sigemptyset(&s->set);
    sigaddset(&s->set, SIGINT);
    sigaddset(&s->set, SIGTERM);
    sigaddset(&s->set, SIGUSR2); /* wakes the thread at the end */
    if (pthread_sigmask(SIG_BLOCK, &s->set, &s->old) == 0) {
        if (pthread_create(&s->thread, NULL, wait_for_signals, s) == 0)
            return s;
        pthread_sigmask(SIG_SETMASK, &s->old, NULL); /* nobody would hear them */
    }
    free(s);
    return NULL;
}

int sail__signals_stop(sail__signals *s)
{
    if (!s)
        return 0;
    atomic_store(&s->stop, true);
    pthread_kill(s->thread, SIGUSR2);
    pthread_join(s->thread, NULL);
    pthread_sigmask(SIG_SETMASK, &s->old, NULL);
    int came = atomic_load(&s->came);
    free(s);
    return came;
}
