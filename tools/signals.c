/* signals.c - SIGINT or SIGTERM once asks the context to cancel, twice ends the process at once; but SIGINT only interrupts a command
 * that talks.
 *
 * The signals are blocked everywhere and one thread waits for them: no handler, nothing global. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cli_impl.h"

struct sail__signals {
    sail_ctx *ctx;
    pthread_t thread;
    sigset_t set, old;
    atomic_int came;
    atomic_bool stop;
    atomic_int interrupts; /* an eventfd, or -1: SIGINT cancels */
};

static void tell(sail__signals *s)
{
    const uint64_t one = 1;
    const int to = atomic_load(&s->interrupts);
    if (to >= 0 && write(to, &one, sizeof one) < 0)
        sail_log(s->ctx, SAIL_LOG_WARN, "an interrupt was lost: so many wait already");
}

static void *wait_for_signals(void *arg)
{
    sail__signals *s = arg;
    int number;
    while (sigwait(&s->set, &number) == 0) {
        if (atomic_load(&s->stop))
            break;
        if (number == SIGUSR2)
            continue; /* somebody else's */
        if (number == SIGINT && atomic_load(&s->interrupts) >= 0) {
            tell(s);
            continue;
        }
        if (atomic_exchange(&s->came, number) != 0)
            _exit(128 + number);
        sail_log(s->ctx, SAIL_LOG_WARN, "stopping after this step (%s); again to stop at once",
                 number == SIGINT ? "interrupted" : "SIGTERM");
        sail_cancel(s->ctx);
        tell(s);
    }
    return NULL;
}

sail__signals *sail__signals_start(sail_ctx *ctx)
{
    sail__signals *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->ctx = ctx;
    atomic_init(&s->interrupts, -1);
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
    int came = atomic_load(&s->came), interrupts = atomic_load(&s->interrupts);
    if (interrupts >= 0)
        close(interrupts);
    free(s);
    return came;
}

int sail__cli_interrupts(sail__cli *c)
{
    if (!c->signals)
        return -1;
    const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    atomic_store(&c->signals->interrupts, fd);
    return fd;
}
