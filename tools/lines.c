/* lines.c - see lines.h. */
#include "lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* Wait for bytes; *signal: one came instead. */
static sail_code more(sail__lines *in, bool *signal, sail_err *err)
{
    struct pollfd p[2] = {{.fd = in->fd, .events = POLLIN}, {.fd = in->signals, .events = POLLIN}};
    char bytes[4096];
    uint64_t n;
    *signal = false;
    if (poll(p, 2, -1) < 0)
        return errno == EINTR ? SAIL_OK : sail_fail(err, SAIL_E_IO, "standard input: %s", strerror(errno));
    if (p[1].revents & POLLIN) {
        *signal = read(in->signals, &n, sizeof n) == (ssize_t)sizeof n;
        return SAIL_OK;
    }
    const ssize_t got = read(in->fd, bytes, sizeof bytes);
    if (got < 0 && errno != EINTR && errno != EAGAIN)
        return sail_fail(err, SAIL_E_IO, "standard input: %s", strerror(errno));
    in->ended = got == 0;
    if (got > 0)
        sail__buf_add(&in->data, bytes, (size_t)got);
    return in->data.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
}

/* One line of the input, with its newline where it has one; *len 0: the end. */
static sail_code physical(sail__lines *in, const char **text, size_t *len, bool *signal, sail_err *err)
{
    *signal = false;
    if (in->used) {
        memmove(in->data.data, in->data.data + in->used, in->data.len - in->used);
        in->data.len -= in->used;
        in->used = 0;
    }
    for (;;) {
        const char *stop = in->data.len ? memchr(in->data.data, '\n', in->data.len) : NULL;
        if (stop || in->ended) {
            *text = in->data.data;
            *len = in->used = stop ? (size_t)(stop - in->data.data) + 1 : in->data.len;
            in->line += *len > 0;
            return SAIL_OK;
        }
        SAIL_TRY(more(in, signal, err));
        if (*signal) {
            in->data.len = 0;
            return SAIL_OK;
        }
    }
}

sail_code sail__lines_next(sail__lines *in, const char **text, size_t *len, sail__lines_result *got, sail_err *err)
{
    in->joined.len = 0;
    for (;;) {
        const char *line;
        size_t n;
        bool signal;
        SAIL_TRY(physical(in, &line, &n, &signal, err));
        if (signal || (n == 0 && in->joined.len == 0)) {
            *got = signal ? SAIL__LINES_SIGNAL : SAIL__LINES_END;
            return SAIL_OK;
        }
        const bool whole = n > 0 && line[n - 1] == '\n';
        n -= whole;
        n -= n > 0 && line[n - 1] == '\r';
        const bool on = whole && n > 0 && line[n - 1] == '\\';
        if (n - on > 0)
            sail__buf_add(&in->joined, line, n - on);
        if (on)
            sail__buf_add(&in->joined, "\n", 1);
        if (on)
            continue;
        sail__buf_add(&in->joined, "", 1);
        if (in->joined.oom)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        *text = in->joined.data;
        *len = in->joined.len - 1;
        *got = SAIL__LINES_LINE;
        return SAIL_OK;
    }
}

void sail__lines_free(sail__lines *in)
{
    sail__buf_free(&in->data);
    sail__buf_free(&in->joined);
}
