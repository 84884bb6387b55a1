/* hub_remote.c - see hub_remote.h. */
#include "hub_remote.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/node.h"
#include "../sail/rng.h"
#include "http.h"
#include "hub_page.h"
#include "pace.h"

enum { MOST_LIST = 64 << 20, MOST_WORDS = 1 << 16, PAGES = 1000, REDIRECTS = 10, LONGEST_PAUSE = 600 };
static const double BACKOFF = 0.5, LONGEST_WAIT = 30, LIST_TIMEOUT = 60;

struct sail__hub_remote {
    sail_ctx *ctx;
    sail_arena *arena;
    sail__http *http;
    const char *endpoint; /* no slash at its end */
    const char *token;    /* NULL: none */
    const char *header;   /* that carries it */
    double patience;
    int tries;
    uint64_t draws;
};

/* ---- opening ---- */

/* "https://host:port" of an address: how much of it. */
static size_t origin_length(const char *url)
{
    const char *host = strstr(url, "://");
    return host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?#") : 0;
}

static sail_code set_endpoint(sail__hub_remote *r, sail_err *err)
{
    const char *e = getenv("HF_ENDPOINT");
    e = e && *e ? e : "https://huggingface.co";
    size_t n = strlen(e), scheme = strncmp(e, "https://", 8) == 0 ? 8 : strncmp(e, "http://", 7) == 0 ? 7 : 0;
    if (!scheme || origin_length(e) == scheme || strpbrk(e, "?# \t\r\n@"))
        return sail_fail(err, SAIL_E_USAGE, "HF_ENDPOINT=%s is no address of a hub: such as https://huggingface.co", e);
    while (n > 0 && e[n - 1] == '/')
        n--;
    r->endpoint = sail__arena_strndup(r->arena, e, n);
    return r->endpoint ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static sail_code set_token(sail__hub_remote *r, sail_err *err)
{
    const char *token = getenv("HF_TOKEN"), *from = "HF_TOKEN", *path = getenv("HF_TOKEN_PATH"), *home;
    if (!token || !*token) {
        char *data;
        size_t size;
        if (!path || !*path) {
            SAIL_TRY(sail__hub_home(r->arena, &home, err));
            path = "token";
        } else {
            home = "";
        }
        from = path = sail__path_join(r->arena, home, path);
        if (!path)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        if (!sail__file_exists(path))
            return SAIL_OK;
        SAIL_TRY(sail__file_read(path, 4096, &data, &size, err));
        token = sail__arena_strdup(r->arena, data);
        sail__free(data);
        if (!token)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    token += strspn(token, " \t\r\n");
    size_t n = strcspn(token, " \t\r\n");
    if (token[n + strspn(token + n, " \t\r\n")])
        return sail_fail(err, SAIL_E_USAGE, "%s holds more than a token: one word is wanted", from);
    if (n == 0)
        return SAIL_OK;
    r->token = sail__arena_strndup(r->arena, token, n);
    r->header = sail__arena_printf(r->arena, "Authorization: Bearer %.*s", (int)n, token);
    if (strncmp(r->endpoint, "http://", 7) == 0 && !sail__http_here(r->endpoint + 7, origin_length(r->endpoint) - 7))
        return sail_fail(
            err, SAIL_E_USAGE,
            "the token of %s would go to HF_ENDPOINT=%s unencrypted: name it with https://, or unset the token", from,
            r->endpoint);
    return r->token && r->header ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static bool offline(void)
{
    static const char *const yes[] = {"1", "ON", "YES", "TRUE"};
    const char *value = getenv("HF_HUB_OFFLINE");
    for (size_t i = 0; value && i < sizeof yes / sizeof *yes; i++)
        if (strcasecmp(value, yes[i]) == 0)
            return true;
    return false;
}

sail_code sail__hub_remote_open(sail_ctx *ctx, sail_arena *a, double patience, int tries, sail__hub_remote **out,
                                sail_err *err)
{
    *out = NULL;
    if (offline())
        return sail_fail(err, SAIL_E_STATE,
                         "HF_HUB_OFFLINE is set, so nothing is fetched: unset it to go to the network");
    sail__hub_remote *r = sail__arena_alloc(a, sizeof *r);
    if (!r)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    r->ctx = ctx;
    r->arena = a;
    r->patience = patience;
    r->tries = tries;
    SAIL_TRY(set_endpoint(r, err));
    SAIL_TRY(set_token(r, err));
    SAIL_TRY(sail__http_open(&r->http, err));
    *out = r;
    return SAIL_OK;
}

void sail__hub_remote_close(sail__hub_remote *r)
{
    if (r)
        sail__http_close(r->http);
}

/* ---- one request ---- */

typedef struct asking {
    sail__hub_remote *r;
    const sail__hub_name *name;
    const char *path;     /* of a file; NULL: a list is asked for */
    sail__hub_sink *sink; /* NULL: the reply is kept */
    sail_err err;         /* of the sink */
} asking;

static bool take(void *user, uint64_t at, const void *data, size_t n)
{
    asking *q = user;
    return q->sink->take(q->sink, at, data, n, &q->err) == SAIL_OK;
}

static sail_code once(asking *q, const char *url, sail__http_reply *reply, sail_err *err)
{
    sail__hub_remote *r = q->r;
    const size_t own = origin_length(r->endpoint);
    const bool home = origin_length(url) == own && strncmp(url, r->endpoint, own) == 0;
    sail__http_request request = {.url = url,
                                  .headers = &r->header,
                                  .n_headers = home && r->header ? 1 : 0,
                                  .timeout = q->sink ? 0 : LIST_TIMEOUT,
                                  .stall = r->patience,
                                  .most = q->sink ? MOST_WORDS : MOST_LIST,
                                  .take = q->sink ? take : NULL,
                                  .user = q,
                                  .from = q->sink ? q->sink->at : 0};
    SAIL_TRY(sail__http_start(r->http, &request, err));
    for (bool got = false; !got;) {
        if (sail_cancelled(r->ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped while %s was fetched", q->path ? q->path : "a list of files");
        SAIL_TRY(sail__http_wait(r->http, 0.25, reply, &got, err));
    }
    return SAIL_OK;
}

/* Redirects are followed here, so that what is sent to whom is decided here. */
static sail_code follow(asking *q, const char *url, sail__http_reply *reply, sail_err *err)
{
    for (int i = 0; i <= REDIRECTS; i++) {
        SAIL_TRY(once(q, url, reply, err));
        if (reply->status < 300 || reply->status >= 400)
            return SAIL_OK;
        const char *to = reply->location;
        if (strncmp(to, "http://", 7) != 0 && strncmp(to, "https://", 8) != 0)
            return sail_fail(err, SAIL_E_IO, "%s: status %ld, which leads nowhere", q->r->endpoint, reply->status);
        if (strncmp(url, "https://", 8) == 0 && strncmp(to, "http://", 7) == 0)
            return sail_fail(err, SAIL_E_IO, "%s redirects to an unencrypted address, which is refused",
                             q->r->endpoint);
        url = sail__arena_strdup(q->r->arena, to);
        if (!url)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    return sail_fail(err, SAIL_E_IO, "%s: more than %d redirects", q->r->endpoint, REDIRECTS);
}

static sail_code pause_for(sail__hub_remote *r, double seconds, sail_err *err)
{
    for (double end = sail__now() + seconds, left; (left = end - sail__now()) > 0;) {
        sail__http_reply none;
        bool got;
        if (sail_cancelled(r->ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped while the hub was waited for");
        SAIL_TRY(sail__http_wait(r->http, fmin(left, 0.25), &none, &got, err));
    }
    return SAIL_OK;
}

/* What a reply that is final says, with what can be done. */
static sail_code refused(asking *q, const sail__http_reply *reply, sail_err *err)
{
    sail__hub_remote *r = q->r;
    const char *what = sail__hub_text(r->arena, q->name), *file = q->path ? q->path : "";
    const char *words =
        sail__http_without(r->token, sail__http_complaint(reply->body, reply->size, r->arena), r->arena);
    char advice[256] = "";
    if (reply->status == 401 && r->token)
        snprintf(advice, sizeof advice, ": the token is not taken, or may not see it");
    else if (reply->status == 401) /* what the hub says of what does not exist, too */
        snprintf(advice, sizeof advice,
                 ": it does not exist, or is private, or its terms must be accepted: then set HF_TOKEN");
    else if (reply->status == 403)
        snprintf(advice, sizeof advice, ": accept its terms on its page at %s%s", r->endpoint,
                 r->token ? ", with the account of the token" : ", then set HF_TOKEN");
    else if (reply->status == 404)
        snprintf(advice, sizeof advice, ": there is no such %s", q->path ? "file" : "repository or revision");
    else if (reply->status == 416)
        snprintf(advice, sizeof advice, ": the server has fewer bytes than the hub records");
    return sail_fail(err,
                     reply->status == 401 || reply->status == 403 || reply->status == 404 ? SAIL_E_NOTFOUND : SAIL_E_IO,
                     "%s%s%s at %s: status %ld%s%s%s%s", what ? what : q->name->repo, *file ? "/" : "", file,
                     r->endpoint, reply->status, *words ? " (" : "", words, *words ? ")" : "", advice);
}

static bool passes(long status)
{
    return status == 0 || status == 408 || status == 429 || status >= 500;
}

/* Until there is an answer, or the sink is full; *reply is that of the last request. */
static sail_code ask(asking *q, const char *url, sail__http_reply *reply, sail_err *err)
{
    sail__hub_remote *r = q->r;
    uint64_t before = q->sink ? q->sink->at : 0;
    for (int attempt = 1;; attempt++) {
        char why[300];
        SAIL_TRY(follow(q, url, reply, err));
        if (q->err.code != SAIL_OK) {
            *err = q->err;
            return err->code;
        }
        if (!passes(reply->status) && reply->status != 200 && reply->status != 206)
            return refused(q, reply, err);
        if (!passes(reply->status) && (!q->sink || q->sink->at == q->sink->size))
            return SAIL_OK;
        if (reply->status == 0)
            snprintf(why, sizeof why, "%s", reply->problem);
        else if (passes(reply->status))
            snprintf(why, sizeof why, "status %ld", reply->status);
        else
            snprintf(why, sizeof why, "it ends after %llu of %llu bytes", (unsigned long long)q->sink->at,
                     (unsigned long long)q->sink->size);
        if (q->sink && q->sink->at > before) { /* a connection that brings something each time is no reason to give up */
            before = q->sink->at;
            attempt = 1;
        }
        double asked = reply->retry_after[0] ? sail__retry_after(reply->retry_after, sail__wall_time()) : 0;
        asked = isnan(asked) ? 0 : asked;
        if (attempt >= r->tries || asked > LONGEST_PAUSE)
            return sail_fail(
                err, SAIL_E_IO, "%s%s%s: %s, %d time%s in a row%s; what has come is kept: run it again to go on",
                r->endpoint, q->path ? ": " : "", q->path ? q->path : "", why, attempt, attempt == 1 ? "" : "s",
                asked > LONGEST_PAUSE ? ", and it asks to be left alone for long" : "");
        double wait =
            fmax(asked,
                 sail__pace_backoff(attempt, BACKOFF, LONGEST_WAIT,
                                    sail_rng_uniform((uint64_t)(sail__now() * 1e6), SAIL_RNG_USER, r->draws++, 0, 0)));
        sail_log(r->ctx, SAIL_LOG_INFO, "%s: %s; again in %.1f s", q->path ? q->path : r->endpoint, why, wait);
        SAIL_TRY(pause_for(r, wait, err));
    }
}

/* ---- addresses ---- */

static void escape(sail_buf *b, const char *text, bool slash)
{
    for (; *text; text++)
        if ((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || (*text >= '0' && *text <= '9') ||
            strchr("-._~", *text) || (slash && *text == '/'))
            sail__buf_add(b, text, 1);
        else
            sail__buf_printf(b, "%%%02X", (unsigned char)*text);
}

static const char *finish(sail__hub_remote *r, sail_buf *b, sail_err *err)
{
    const char *url = b->oom ? NULL : sail__arena_strdup(r->arena, b->data);
    sail__buf_free(b);
    if (!url)
        sail_fail(err, SAIL_E_NOMEM, "out of memory");
    return url;
}

static const char *api_url(sail__hub_remote *r, const sail__hub_name *n, const char *what, const char *revision,
                           const char *query, sail_err *err)
{
    sail_buf b = {0};
    sail__buf_printf(&b, "%s/api/%s/%s/%s/", r->endpoint, n->dataset ? "datasets" : "models", n->repo, what);
    escape(&b, revision, false);
    sail__buf_str(&b, query);
    return finish(r, &b, err);
}

/* ---- lists ---- */

static sail_code json_of(asking *q, const char *url, sail__http_reply *reply, sail_node **out, sail_err *err)
{
    sail_err told;
    SAIL_TRY(ask(q, url, reply, err));
    if (sail__json_parse(q->r->arena, reply->body, reply->size, "the reply", 1, out, &told) == SAIL_OK)
        return SAIL_OK;
    return told.code == SAIL_E_NOMEM ? sail_fail(err, SAIL_E_NOMEM, "out of memory")
                                     : sail__hub_strange(q->r->endpoint, told.message, err);
}

static sail_code all_pages(asking *q, const char *url, sail__hub_file **files, size_t *n, size_t *cap, sail_err *err)
{
    sail__hub_remote *r = q->r;
    for (int page = 0; url; page++) {
        sail__http_reply reply;
        sail_node *list;
        if (page == PAGES)
            return sail__hub_strange(r->endpoint, "its list of files has no end", err);
        SAIL_TRY(json_of(q, url, &reply, &list, err));
        url = sail__hub_next_page(r->arena, reply.link);
        SAIL_TRY(sail__hub_page(r->endpoint, list, files, n, cap, err));
    }
    return SAIL_OK;
}

sail_code sail__hub_remote_list(sail__hub_remote *r, const sail__hub_name *n, const char **commit,
                                sail__hub_file **files, size_t *n_files, sail_err *err)
{
    asking q = {.r = r, .name = n};
    sail__http_reply reply;
    sail_node *root;
    sail__hub_file *items = NULL;
    size_t cap = 0;
    *n_files = 0;
    const char *url = api_url(r, n, "revision", n->revision, "", err);
    if (!url)
        return err->code;
    SAIL_TRY(json_of(&q, url, &reply, &root, err));
    SAIL_TRY(sail__hub_page_commit(r->endpoint, root, commit, err));
    if (!(url = api_url(r, n, "tree", *commit, "?recursive=1", err)))
        return err->code;
    sail_code code = all_pages(&q, url, &items, n_files, &cap, err);
    *files = code == SAIL_OK ? sail__arena_array(r->arena, *n_files + 1, sizeof **files) : NULL;
    if (*files && *n_files)
        memcpy(*files, items, *n_files * sizeof **files);
    sail__free(items);
    return code != SAIL_OK || *files ? code : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

/* ---- files ---- */

sail_code sail__hub_remote_get(sail__hub_remote *r, const sail__hub_name *n, const char *commit, const char *path,
                               sail__hub_sink *sink, sail_err *err)
{
    asking q = {.r = r, .name = n, .path = path, .sink = sink};
    sail__http_reply reply;
    sail_buf b = {0};
    sail__buf_printf(&b, "%s/%s%s/resolve/%s/", r->endpoint, n->dataset ? "datasets/" : "", n->repo, commit);
    escape(&b, path, true);
    const char *url = finish(r, &b, err);
    return url ? ask(&q, url, &reply, err) : err->code;
}
