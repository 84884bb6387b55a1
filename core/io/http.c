/* http.c - see http.h; on libcurl's multi interface. The only file that includes curl.h. */
#include "http.h"

#ifdef SAIL_HAVE_CURL
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FUNCTIONS(F)                                                                                                                  \
    F(curl_easy_init) F(curl_easy_cleanup) F(curl_easy_setopt) F(curl_easy_getinfo) F(curl_easy_strerror) F(curl_slist_append)          \
    F(curl_slist_free_all) F(curl_multi_init) F(curl_multi_cleanup) F(curl_multi_add_handle) F(curl_multi_remove_handle)                \
    F(curl_multi_perform) F(curl_multi_poll) F(curl_multi_info_read) F(curl_multi_strerror)

typedef struct curl_api {
#define F(name) __typeof__(&name) name;
    FUNCTIONS(F)
#undef F
} curl_api;

typedef struct transfer {
    struct transfer *next;
    sail__http *client;
    uint64_t id;
    CURL *easy;
    struct curl_slist *headers;
    char *sent;
    sail_buf body;
    size_t most;
    bool large;    /* the reply was more than `most` */
    bool unplaced; /* it is a part, and does not say which */
    bool (*take)(void *user, uint64_t at, const void *data, size_t n);
    void *user;
    uint64_t at; /* place of the next byte for `take` */
    char retry_after[64], content_range[128], link[2048], error[CURL_ERROR_SIZE];
} transfer;

struct sail__http {
    curl_api api;
    CURLM *multi;
    transfer *active, *told; /* told: whose reply the caller reads */
};

static sail_code load(curl_api *api, sail_err *err)
{
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.so"};
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library)
        return sail_fail(err, SAIL_E_NOTFOUND, "HTTP needs libcurl, which is not here: install libcurl4 (Debian, Ubuntu) or libcurl (Fedora)");
#define F(name)                                                                                                                       \
    *(void **)&api->name = dlsym(library, #name);                                                                                     \
    if (!api->name)                                                                                                                   \
        return sail_fail(err, SAIL_E_NOTFOUND, "HTTP: this libcurl has no %s: version 7.66 or newer is needed", #name);
    FUNCTIONS(F)
#undef F
    return SAIL_OK;
}

sail_code sail__http_open(sail__http **out, sail_err *err)
{
    *out = NULL;
    sail__http *h = sail__calloc(1, sizeof *h);
    sail_code code = h ? load(&h->api, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK && !(h->multi = h->api.curl_multi_init()))
        code = sail_fail(err, SAIL_E_NOMEM, "HTTP: no memory for libcurl");
    if (code == SAIL_OK)
        *out = h;
    else
        sail__free(h);
    return code;
}

static void free_transfer(sail__http *h, transfer *t)
{
    if (!t)
        return;
    if (t->easy) {
        h->api.curl_multi_remove_handle(h->multi, t->easy); /* no harm where it was never added */
        h->api.curl_easy_cleanup(t->easy);
    }
    h->api.curl_slist_free_all(t->headers);
    sail__buf_free(&t->body);
    sail__free(t->sent);
    sail__free(t);
}

void sail__http_close(sail__http *h)
{
    if (!h)
        return;
    while (h->active) {
        transfer *t = h->active;
        h->active = t->next;
        free_transfer(h, t);
    }
    free_transfer(h, h->told);
    h->api.curl_multi_cleanup(h->multi);
    sail__free(h);
}

/* Where a part begins that was asked for; false: it does not say. */
static bool part_begins(const transfer *t, uint64_t *at)
{
    char *end;
    if (strncasecmp(t->content_range, "bytes ", 6) != 0 || t->content_range[6] < '0' || t->content_range[6] > '9')
        return false;
    *at = strtoull(t->content_range + 6, &end, 10);
    return *end == '-';
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    transfer *t = user;
    long status = 0;
    t->client->api.curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (t->take && (status == 200 || status == 206)) {
        if (status == 206 && t->at == 0 && !part_begins(t, &t->at)) {
            t->unplaced = true;
            return 0;
        }
        bool taken = t->take(t->user, t->at, data, n * size);
        t->at += n * size;
        return taken ? n * size : 0;
    }
    if (n * size > t->most - t->body.len) {
        t->large = true;
        return 0;
    }
    sail__buf_add(&t->body, data, n * size);
    return t->body.oom ? 0 : n * size;
}

/* The value of the header `name` into out, where this is it and it fits. */
static void keep_header(const char *data, size_t len, const char *name, char *out, size_t size)
{
    size_t from = strlen(name), to = len;
    if (len <= from || strncasecmp(data, name, from) != 0)
        return;
    while (from < to && (data[from] == ' ' || data[from] == '\t'))
        from++;
    while (to > from && (unsigned char)data[to - 1] <= ' ')
        to--;
    if (to - from < size) {
        memcpy(out, data + from, to - from);
        out[to - from] = 0;
    }
}

static size_t on_header(char *data, size_t size, size_t n, void *user)
{
    transfer *t = user;
    size_t len = n * size;
    if (len > 7 && !strncmp(data, "HTTP/1.", 7)) /* what comes first; a new one begins with nothing */
        t->client->api.curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, 1L);
    if (len > 5 && !strncmp(data, "HTTP/", 5))
        t->retry_after[0] = t->content_range[0] = t->link[0] = 0;
    keep_header(data, len, "retry-after:", t->retry_after, sizeof t->retry_after);
    keep_header(data, len, "content-range:", t->content_range, sizeof t->content_range);
    keep_header(data, len, "link:", t->link, sizeof t->link);
    return len;
}

static bool set_up(const curl_api *api, transfer *t, const sail__http_request *r)
{
    CURL *e = t->easy;
    bool ok = true;
#define SET(option, value) ok = ok && api->curl_easy_setopt(e, option, value) == CURLE_OK
    SET(CURLOPT_URL, r->url);
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    SET(CURLOPT_HTTPHEADER, t->headers);
    SET(CURLOPT_USERAGENT, "sail");
    SET(CURLOPT_NOSIGNAL, 1L);
    if (r->timeout > 0)
        SET(CURLOPT_TIMEOUT_MS, (long)(r->timeout * 1e3) + 1);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)((r->timeout > 0 && r->timeout < 30 ? r->timeout : 30) * 1e3) + 1);
    if (r->stall > 0) {
        SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
        SET(CURLOPT_LOW_SPEED_TIME, (long)r->stall);
    }
    if (r->take)
        SET(CURLOPT_BUFFERSIZE, 256L << 10);
    if (r->from > 0) {
        char range[32];
        snprintf(range, sizeof range, "%llu-", (unsigned long long)r->from);
        SET(CURLOPT_RANGE, range);
    }
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_ERRORBUFFER, t->error);
    SET(CURLOPT_PRIVATE, t);
    if (r->body) {
        SET(CURLOPT_POSTFIELDS, t->sent);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->size);
    }
#undef SET
    return ok;
}

sail_code sail__http_start(sail__http *h, const sail__http_request *r, sail_err *err)
{
    const curl_api *api = &h->api;
    transfer *t = sail__calloc(1, sizeof *t);
    if (!t)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    t->client = h;
    t->id = r->id;
    t->most = r->most;
    t->take = r->take;
    t->user = r->user;
    t->easy = api->curl_easy_init();
    t->sent = sail__malloc(r->size + 1);
    bool ok = t->easy && t->sent;
    if (ok && r->body)
        memcpy(t->sent, r->body, r->size);
    for (size_t i = 0; ok && i <= r->n_headers; i++) { /* the last: no waiting for "100 Continue" */
        struct curl_slist *more = api->curl_slist_append(t->headers, i < r->n_headers ? r->headers[i] : "Expect:");
        ok = more != NULL;
        t->headers = ok ? more : t->headers;
    }
    if (!ok || !set_up(api, t, r)) {
        free_transfer(h, t);
        return ok ? sail_fail(err, SAIL_E_ARG, "HTTP: libcurl does not take %s", r->url) : sail_fail(err, SAIL_E_NOMEM, "HTTP: out of memory");
    }
    CURLMcode code = api->curl_multi_add_handle(h->multi, t->easy);
    if (code != CURLM_OK) {
        free_transfer(h, t);
        return sail_fail(err, SAIL_E_IO, "HTTP: %s", api->curl_multi_strerror(code));
    }
    t->next = h->active;
    h->active = t;
    return SAIL_OK;
}

static void tell(sail__http *h, transfer *t, CURLcode result, sail__http_reply *out)
{
    long status = 0;
    h->api.curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    *out = (sail__http_reply){.id = t->id, .retry_after = t->retry_after, .link = t->link, .location = "", .problem = ""};
    h->api.curl_easy_getinfo(t->easy, CURLINFO_TOTAL_TIME, &out->seconds);
    if (result == CURLE_OK) {
        char *to = NULL;
        if (h->api.curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &to) == CURLE_OK && to)
            out->location = to;
        out->status = status;
        out->body = t->body.data ? t->body.data : "";
        out->size = t->body.len;
    } else if (t->large) {
        snprintf(t->error, sizeof t->error, "the reply is larger than %zu bytes", t->most);
    } else if (t->unplaced) {
        snprintf(t->error, sizeof t->error, "a part of a file came without saying which (Content-Range)");
    } else if (!t->error[0]) {
        snprintf(t->error, sizeof t->error, "%s", h->api.curl_easy_strerror(result));
    }
    if (result != CURLE_OK)
        out->problem = t->error;
    if (!out->body)
        out->body = "";
}

static transfer *finished(sail__http *h, sail__http_reply *out)
{
    CURLMsg *m;
    int left;
    while ((m = h->api.curl_multi_info_read(h->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode result = m->data.result;
        char *private = NULL;
        h->api.curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        transfer *t = (transfer *)(void *)private;
        for (transfer **at = &h->active; *at; at = &(*at)->next)
            if (*at == t) {
                *at = t->next;
                break;
            }
        h->api.curl_multi_remove_handle(h->multi, t->easy);
        tell(h, t, result, out);
        return t;
    }
    return NULL;
}

sail_code sail__http_wait(sail__http *h, double seconds, sail__http_reply *out, bool *got, sail_err *err)
{
    int running;
    double end = sail__now() + seconds;
    free_transfer(h, h->told);
    h->told = NULL;
    *got = false;
    for (bool again = true; again;) {
        CURLMcode code = h->api.curl_multi_perform(h->multi, &running);
        if (code != CURLM_OK)
            return sail_fail(err, SAIL_E_IO, "HTTP: %s", h->api.curl_multi_strerror(code));
        if ((h->told = finished(h, out))) {
            *got = true;
            return SAIL_OK;
        }
        double left = end - sail__now();
        again = left > 0;
        if (again && (code = h->api.curl_multi_poll(h->multi, NULL, 0, (int)(left * 1e3) + 1, NULL)) != CURLM_OK)
            return sail_fail(err, SAIL_E_IO, "HTTP: %s", h->api.curl_multi_strerror(code));
    }
    return SAIL_OK;
}

#else /* without libcurl's headers */

sail_code sail__http_open(sail__http **out, sail_err *err)
{
    *out = NULL;
    return sail_fail(err, SAIL_E_STATE, "this sail was built without HTTP: build it again where libcurl4-openssl-dev is installed");
}
void sail__http_close(sail__http *h) {}
sail_code sail__http_start(sail__http *h, const sail__http_request *r, sail_err *err) { return sail_fail(err, SAIL_E_STATE, "no HTTP"); }
sail_code sail__http_wait(sail__http *h, double seconds, sail__http_reply *out, bool *got, sail_err *err)
{
    return sail_fail(err, SAIL_E_STATE, "no HTTP");
}

#endif
