/* serve.h - a server on the loopback that speaks as much HTTP as a test needs: what those of judges and of the hub
 * share.
 *
 * Each visit (one connection, one request) has a thread of its own. */
#ifndef TESTS_SERVE_H
#define TESTS_SERVE_H

#include <stddef.h>
#include <stdio.h>

typedef struct serve_spec {
    const char *port_file, *stats_file; /* where the port's number goes when it listens; what was seen, on SIGTERM */
    int port;                           /* 0: a free one */
    void (*visit)(void *user, int fd);  /* fd is closed after it */
    void (*tell)(void *user, FILE *out);
    void *user; /* lives as long as the process */
} serve_spec;
int serve(const serve_spec *s); /* until SIGTERM; the exit status */

/* Headers and body of a request, NUL-terminated, for free(); NULL: the client left. */
char *serve_read(int fd, char **body);
/* The token of its Authorization; without one, what is in token stays. */
void serve_bearer(const char *request, const char *body, char *token, size_t size);
int serve_send(int fd, const char *data, size_t n); /* 0: the client left */
/* A whole reply of JSON; more: further headers, each with its \r\n. */
void serve_respond(int fd, int status, const char *more, const char *body, size_t n);
void serve_break(int fd); /* the connection is reset when it is closed */

double serve_now(void);
void serve_nap(double seconds);
unsigned long serve_mix(unsigned long x); /* a hash, for draws */

#endif
