/* probe.c - a plugin is tried in a child process first, so that one that crashes, hangs or ends the process does not
 * take the host with it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define PATIENCE 2.0 /* seconds */

enum { FIELD = 1024 };

/* What the child tells: a whole one of these, or it failed. */
struct answer {
    int code;
    char message[FIELD], doc[FIELD], source[FIELD];
};

static void close_others(int keep)
{
#ifdef SYS_close_range
    if ((keep <= 3 || syscall(SYS_close_range, 3, keep - 1, 0) == 0) && syscall(SYS_close_range, keep + 1, ~0U, 0) == 0)
        return;
#endif
    long most = sysconf(_SC_OPEN_MAX);
    for (int fd = 3; fd < (most > 0 && most < 65536 ? most : 65536); fd++)
        if (fd != keep)
            close(fd);
}

/* In the child. Everything that belongs to the host is let go first: an exit() in the plugin flushes the host's streams,
 * which must not reach a file. */
static void child(int out, const char *path, sail_kind kind, const char *name) __attribute__((noreturn));
static void child(int out, const char *path, sail_kind kind, const char *name)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM, SIGPIPE};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        dup2(null, fd);
    close_others(out);

    struct answer a = {0};
    sail_err err = {0};
    sail_loaded loaded = {0};
    sail_arena *arena = sail__arena_new();
    a.code = arena ? (int)sail__plugin_open(arena, path, kind, name, &loaded, &err)
                   : (int)sail_fail(&err, SAIL_E_NOMEM, "%s: no memory to try it", path);
    snprintf(a.message, sizeof a.message, "%s", err.message);
    if (a.code == SAIL_OK) {
        snprintf(a.doc, sizeof a.doc, "%s", loaded.plugin.doc);
        snprintf(a.source, sizeof a.source, "%s", loaded.plugin.source);
    }
    for (size_t done = 0; done < sizeof a;) {
        ssize_t n = write(out, (char *)&a + done, sizeof a - done);
        if (n <= 0 && errno != EINTR)
            _exit(1);
        done += n > 0 ? (size_t)n : 0;
    }
    _exit(0);
}

/* Reads until the answer is whole, the pipe ends or patience does. Returns the bytes read; *late: patience ended. */
static size_t listen_to(int in, struct answer *a, bool *late)
{
    size_t have = 0;
    double until = sail__now() + PATIENCE;
    *late = false;
    while (have < sizeof *a) {
        double left = until - sail__now();
        struct pollfd p = {.fd = in, .events = POLLIN};
        int ready = left > 0 ? poll(&p, 1, (int)(left * 1000) + 1) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0) {
            *late = true;
            break;
        }
        ssize_t n = read(in, (char *)a + have, sizeof *a - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    return have;
}

sail_code sail__plugin_probe(sail_arena *arena, const char *path, sail_kind kind, const char *name, const char **doc,
                             const char **source, sail_err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return sail_fail(err, SAIL_E_IO, "%s: cannot be tried in a child process: %s", path, strerror(errno));
    pid_t pid = fork();
    if (pid < 0) {
        int number = errno;
        close(ends[0]);
        close(ends[1]);
        return sail_fail(err, SAIL_E_IO, "%s: cannot be tried in a child process: %s", path, strerror(number));
    }
    if (pid == 0)
        child(ends[1], path, kind, name);
    close(ends[1]);
    struct answer a = {0};
    bool late;
    bool whole = listen_to(ends[0], &a, &late) == sizeof a;
    close(ends[0]);
    if (late)
        kill(pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (late)
        return sail_fail(err, SAIL_E_PLUGIN, "%s: did not answer within %.0f s when it was asked to describe itself", path,
                         PATIENCE);
    if (!whole && WIFSIGNALED(status))
        return sail_fail(err, SAIL_E_PLUGIN, "%s: crashed when it was asked to describe itself (%s)", path,
                         strsignal(WTERMSIG(status)));
    if (!whole)
        return sail_fail(err, SAIL_E_PLUGIN, "%s: ended the process when it was asked to describe itself (exit status %d)", path,
                         WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    a.message[FIELD - 1] = a.doc[FIELD - 1] = a.source[FIELD - 1] = '\0';
    if (a.code != SAIL_OK)
        return sail_fail(err, a.code > 0 && a.code < SAIL_E_COUNT ? (sail_code)a.code : SAIL_E_PLUGIN, "%s", a.message);
    if (doc && !(*doc = sail__arena_strdup(arena, a.doc)))
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for its description", path);
    if (source && !(*source = sail__arena_strdup(arena, a.source)))
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for its description", path);
    return SAIL_OK;
}
