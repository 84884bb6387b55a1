/* http.h - HTTP requests, many at a time.
 *
 * Floor: io. libcurl is found when a client is opened, not before: sail starts without it, and says what is missing. Threads: a
 * client belongs to one thread. Redirects are not followed, certificates are checked, only http and https are spoken; a
 * connection of HTTP/1 serves one request, so that what a server sends too late or twice is never taken for an answer to another
 * request. Headers may hold secrets: nothing of them is logged or put into messages. */
#ifndef SAIL_HTTP_H
#define SAIL_HTTP_H

#include "../base/base.h"

typedef struct sail__http sail__http;

typedef struct sail__http_request { /* copied */
    uint64_t id;
    const char *url;
    const char *const *headers; /* "Name: value" */
    size_t n_headers;
    const char *body; /* POST; NULL: GET */
    size_t size;
    double timeout; /* seconds for all of it; 0: as long as bytes come */
    double stall;   /* whole seconds without a byte after which it ends; 0: as long as `timeout` says */
    size_t most;    /* bytes of a reply that are accepted into memory */
    /* Who takes the bytes of a reply of status 200 or 206 as they come, instead of memory: at is the first one's place in what the url
     * names. False ends it. NULL: nobody. */
    bool (*take)(void *user, uint64_t at, const void *data, size_t n);
    void *user;
    uint64_t from; /* the first byte wanted (Range); the server may begin at 0 all the same */
} sail__http_request;

typedef struct sail__http_reply {
    uint64_t id;
    long status;      /* 0: there is no whole reply, problem says why */
    const char *body; /* NUL-terminated; valid until the next call of wait or close */
    size_t size;
    const char *retry_after; /* the header's value, or "" */
    const char *location;    /* of a redirect: where to, whole; or "" */
    const char *link;        /* the header's value, or "" */
    double seconds;          /* it took */
    const char *problem;
} sail__http_reply;

/* SAIL_E_NOTFOUND where libcurl is missing; SAIL_E_STATE where sail was built without it. */
sail_code sail__http_open(sail__http **out, sail_err *err);
void sail__http_close(sail__http *h); /* ends what is under way; NULL is fine */

sail_code sail__http_start(sail__http *h, const sail__http_request *r, sail_err *err);
/* The next reply that is complete, or *got = false after at most `seconds` (or a signal). A request that failed is a reply too. */
sail_code sail__http_wait(sail__http *h, double seconds, sail__http_reply *out, bool *got, sail_err *err);

/* ---- addresses, and what is said (http_text.c) ---- */
bool sail__http_here(const char *host, size_t n); /* whether a host (and port) of an address is this machine */
/* What a reply that refuses says, for a message: its JSON's error or message, or its beginning; one line. */
const char *sail__http_complaint(const char *body, size_t size, sail_arena *a);
/* The text with "[key]" in the place of the secret (NULL: none). */
const char *sail__http_without(const char *secret, const char *text, sail_arena *a);

#endif
