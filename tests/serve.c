/* serve.c - see serve.h. */
#include "serve.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

double serve_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void serve_nap(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

unsigned long serve_mix(unsigned long x)
{
    x += 0x9e3779b97f4a7c15ul;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ul;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebul;
    return x ^ (x >> 31);
}

int serve_send(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, data, n, MSG_NOSIGNAL);
        if (k <= 0)
            return 0;
        data += k;
        n -= (size_t)k;
    }
    return 1;
}

/* Headers and body of a request, NUL-terminated; NULL: the client left. */
char *serve_read(int fd, char **body)
{
    size_t cap = 1 << 16, n = 0, need = 0;
    char *text = malloc(cap + 1);
    *body = NULL;
    while (text) {
        if (n == cap && !(text = realloc(text, (cap *= 2) + 1)))
            break;
        ssize_t k = recv(fd, text + n, cap - n, 0);
        if (k <= 0)
            break;
        n += (size_t)k;
        text[n] = 0;
        char *end = strstr(text, "\r\n\r\n");
        if (end && !need) {
            char *length = strcasestr(text, "content-length:");
            need = (size_t)(end + 4 - text) + (length && length < end ? strtoul(length + 15, NULL, 10) : 0);
        }
        if (need && n >= need) {
            *body = strstr(text, "\r\n\r\n") + 4;
            return text;
        }
    }
    free(text);
    return NULL;
}

void serve_bearer(const char *request, const char *body, char *token, size_t size)
{
    const char *header = strcasestr(request, "authorization: bearer ");
    if (header && header < body)
        snprintf(token, size, "%.*s", (int)strcspn(header + 22, "\r\n"), header + 22);
}

void serve_respond(int fd, int status, const char *more, const char *body, size_t n)
{
    char head[512];
    int k = snprintf(head, sizeof head,
                     "HTTP/1.1 %d Status\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n", status, n,
                     more);
    if (serve_send(fd, head, (size_t)k))
        serve_send(fd, body, n);
}

void serve_break(int fd)
{
    struct linger hard = {1, 0};
    serve_nap(0.01); /* what was sent arrives */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

/* ---- connections ---- */

typedef struct guest {
    const serve_spec *s;
    int fd;
} guest;

static void *receive(void *user)
{
    guest *g = user;
    g->s->visit(g->s->user, g->fd);
    close(g->fd);
    free(g);
    return NULL;
}

typedef struct door {
    const serve_spec *s;
    int listener;
} door;

static void *accept_all(void *user)
{
    const door *d = user;
    for (int fd; (fd = accept(d->listener, NULL, NULL)) >= 0;) {
        guest *g = malloc(sizeof *g);
        pthread_t thread;
        if (!g)
            break;
        *g = (guest){d->s, fd};
        if (pthread_create(&thread, NULL, receive, g) == 0)
            pthread_detach(thread);
    }
    return NULL;
}

/* ---- starting, stopping ---- */

/* Whole or not at all: who waits for the file reads it at once. */
static FILE *begin_file(const char *path, char part[1024])
{
    snprintf(part, 1024, "%s.part", path);
    return fopen(part, "w");
}

static int end_file(FILE *f, const char *path, const char *part)
{
    return fclose(f) == 0 && rename(part, path) == 0;
}

int serve(const serve_spec *spec)
{
    static door d; /* as long as its threads */
    static serve_spec s;
    s = *spec;
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigaddset(&end, SIGINT);
    pthread_sigmask(SIG_BLOCK, &end, NULL);
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)s.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    d = (door){&s, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    setsockopt(d.listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(d.listener, (struct sockaddr *)&at, sizeof at) || listen(d.listener, 256) ||
        getsockname(d.listener, (struct sockaddr *)&at, &size)) {
        perror("serve");
        return 1;
    }
    pthread_t thread;
    char part[1024];
    if (pthread_create(&thread, NULL, accept_all, &d))
        return 1;
    FILE *f = begin_file(s.port_file, part);
    if (!f || fprintf(f, "%d\n", ntohs(at.sin_port)) < 0 || !end_file(f, s.port_file, part))
        return 1;
    int signal_number;
    sigwait(&end, &signal_number);
    if (!(f = begin_file(s.stats_file, part)))
        return 1;
    s.tell(s.user, f);
    return end_file(f, s.stats_file, part) ? 0 : 1;
}
