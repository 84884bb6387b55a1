/* server.c - a hub as Hugging Face's, which misbehaves on command, for tests of `sail pull`.
 *
 * usage: hub_server PORT_FILE STATS_FILE DIR [SETTING=VALUE …]
 * It listens on a free port of the loopback, writes its number to PORT_FILE, and on SIGTERM what it saw to STATS_FILE.
 * DIR has {models,datasets}/OWNER/NAME/ with revision.json and tree.json, which are sent as they are (so lies are
 * written there), and files/PATH. Asked for are
 *   /api/KIND/OWNER/NAME/revision/REV           revision.json
 *   /api/KIND/OWNER/NAME/tree/REV               tree.json; with page=N in pages, each with a Link to the next
 *   [/datasets]/OWNER/NAME/resolve/REV/PATH     files/PATH
 * Settings: cdn (1: files are redirected to /cdn/ of this server; other: of a host of another name; down: to where
 * nobody listens), loop=1 (to themselves), ranges=0 (whole files alone), rate (bytes a second), retry_after (of 429),
 * echo=1 (a refusal repeats the token). Faults of the first `times` (default: all) files that are asked for: status
 * (instead of the file), cut (so many bytes, then the end), reset (likewise, and the connection breaks), stall
 * (likewise, and nothing more comes), html=1 (a page instead), more (so many bytes too many), shift (a part that begins
 * elsewhere than asked). api_status, api_html: of lists. With HUB_SERVER_KEY in the environment another token is a 401.
 */
#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../serve.h"

typedef struct settings {
    int page, loop, ranges, rate, echo, times, status, cut, reset, stall, html, more, shift, api_status, api_html;
    const char *cdn, *retry_after, *key;
} settings;

typedef struct server {
    settings set;
    const char *dir;
    atomic_long requests, lists, files, parts, leaks, faults, early;
    atomic_llong bytes;         /* of files */
    _Atomic double quiet_until; /* a well-behaved client sends nothing before */
} server;

typedef struct request {
    server *s;
    int fd;
    char path[2048], query[512], auth[256], host[256];
    long long from; /* of a Range; -1: none */
} request;

static char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *data = NULL;
    long size = -1;
    if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0 &&
        (data = malloc((size_t)size + 1)))
        *n = fread(data, 1, (size_t)size, f), data[*n] = 0;
    if (f)
        fclose(f);
    return data;
}

static void complain(const request *q, int status, const char *more)
{
    char body[512];
    int n = snprintf(body, sizeof body, "{\"error\":\"no %d for %s\"}", status, q->s->set.echo ? q->auth : "you");
    serve_respond(q->fd, status, more, body, (size_t)n);
}

/* ---- lists ---- */

/* The entries [from, from + page) of the list, and where the rest is. */
static void one_page(const request *q, const char *text, size_t page)
{
    json_t *all = json_loads(text, 0, NULL), *some = json_array();
    const char *after = strstr(q->query, "cursor=");
    size_t from = after ? strtoul(after + 7, NULL, 10) : 0;
    char link[2560] = "";
    for (size_t i = from; i < from + page && i < json_array_size(all); i++)
        json_array_append(some, json_array_get(all, i));
    if (from + page < json_array_size(all))
        snprintf(link, sizeof link, "Link: <http://%s%s?recursive=1&cursor=%zu>; rel=\"next\"\r\n", q->host, q->path,
                 from + page);
    char *body = json_dumps(some, 0);
    serve_respond(q->fd, 200, link, body, strlen(body));
    free(body);
    json_decref(some);
    json_decref(all);
}

static void list(const request *q, char *what)
{
    server *s = q->s;
    char path[4096], *kind = strtok_r(what, "/", &what), *owner = strtok_r(NULL, "/", &what),
                     *name = strtok_r(NULL, "/", &what), *which = strtok_r(NULL, "/", &what);
    size_t n;
    s->lists++;
    if (s->set.api_html) {
        serve_respond(q->fd, 200, "", "<html>Log in</html>", 19);
        return;
    }
    if (s->set.api_status) {
        complain(q, s->set.api_status, "");
        return;
    }
    snprintf(path, sizeof path, "%s/%s/%s/%s/%s.json", s->dir, kind, owner ? owner : "", name ? name : "",
             which ? which : "");
    char *text = read_file(path, &n);
    if (!text)
        complain(q, s->set.key ? 404 : 401, ""); /* as the hub says it to strangers */
    else if (!strcmp(which, "tree") && s->set.page)
        one_page(q, text, (size_t)s->set.page);
    else
        serve_respond(q->fd, 200, "", text, n);
    free(text);
}

/* ---- files ---- */

static void paced(server *s, int fd, const char *data, size_t n)
{
    const size_t piece = s->set.rate ? (size_t)s->set.rate / 20 + 1 : n;
    for (size_t at = 0; at < n;) {
        size_t k = n - at < piece ? n - at : piece;
        if (!serve_send(fd, data + at, k))
            return;
        s->bytes += (long long)k;
        at += k;
        if (s->set.rate)
            serve_nap(0.05);
    }
}

static void send_file(const request *q, const char *data, size_t size)
{
    server *s = q->s;
    const settings *set = &s->set;
    char head[512], more[128], nothing[64];
    bool faulty = set->times < 0 || s->faults < set->times;
    const bool any = set->status || set->cut || set->reset || set->stall || set->html || set->more || set->shift;
    size_t from = q->from > 0 && set->ranges ? (size_t)q->from : 0;
    faulty = faulty && any;
    s->faults += faulty;
    if (faulty && set->status) {
        snprintf(more, sizeof more, "Retry-After: %s\r\n", set->retry_after);
        complain(q, set->status, set->status == 429 ? more : "");
        s->quiet_until = set->status == 429 ? serve_now() + strtod(set->retry_after, NULL) : 0;
        return;
    }
    if (faulty && set->html) {
        serve_respond(q->fd, 200, "", "<html>Log in</html>", 19);
        return;
    }
    if (from > 0 && from >= size) {
        complain(q, 416, "");
        return;
    }
    from += faulty && from > 0 ? (size_t)set->shift : 0;
    size_t n = size - from, extra = faulty ? (size_t)set->more : 0,
           limit = faulty ? (size_t)(set->cut + set->reset + set->stall) : 0;
    if (from > 0)
        snprintf(head, sizeof head,
                 "HTTP/1.1 206 Part\r\nContent-Length: %zu\r\nContent-Range: bytes %zu-%zu/%zu\r\n\r\n", n + extra,
                 from, size - 1, size);
    else
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n + extra);
    s->parts += from > 0;
    if (!serve_send(q->fd, head, strlen(head)))
        return;
    paced(s, q->fd, data + from, limit && limit < n ? limit : n);
    for (size_t i = 0; i < extra; i++)
        serve_send(q->fd, "!", 1);
    if (faulty && set->reset)
        serve_break(q->fd);
    while (faulty && set->stall && recv(q->fd, nothing, sizeof nothing, 0) > 0)
        ;
}

/* "/OWNER/NAME/resolve/REV/PATH" of a kind, or where the redirect leads: "/cdn" and the same. */
static void file(const request *q, const char *path, bool cdn)
{
    server *s = q->s;
    const char *kind = !strncmp(path, "/datasets/", 10) ? "datasets" : "models", *rest = path + (*kind == 'd' ? 9 : 0),
               *resolve = strstr(rest, "/resolve/");
    char name[4096], more[4096], port[16] = "";
    size_t n;
    const char *inside = resolve ? strchr(resolve + 9, '/') : NULL;
    if (!inside) {
        complain(q, 404, "");
        return;
    }
    if ((s->set.cdn && !cdn) || s->set.loop) {
        const char *colon = strchr(q->host, ':');
        snprintf(port, sizeof port, "%s", colon ? colon : "");
        const bool other = s->set.cdn && !strcmp(s->set.cdn, "other"), down = s->set.cdn && !strcmp(s->set.cdn, "down");
        if (other || down)
            snprintf(more, sizeof more, "Location: http://%s%s/cdn%s\r\n", other ? "localhost" : "127.0.0.1",
                     other ? port : ":1", path);
        else
            snprintf(more, sizeof more, "Location: %s%s\r\n", s->set.loop ? "" : "/cdn", path);
        serve_respond(q->fd, 302, more, "Found", 5);
        return;
    }
    s->files++;
    s->leaks += cdn && s->set.cdn && !strcmp(s->set.cdn, "other") && q->auth[0];
    snprintf(name, sizeof name, "%s/%s%.*s/files%s", s->dir, kind, (int)(resolve - rest), rest, inside);
    char *data = read_file(name, &n);
    if (data)
        send_file(q, data, n);
    else
        complain(q, 404, "");
    free(data);
}

static void unescape(char *text)
{
    char *to = text;
    for (const char *c = text; *c; c++)
        if (*c == '%' && c[1] && c[2]) {
            *to++ = (char)strtol((char[]){c[1], c[2], 0}, NULL, 16);
            c += 2;
        } else {
            *to++ = *c;
        }
    *to = 0;
}

static void visit(void *user, int fd)
{
    server *s = user;
    char *body, *text = serve_read(fd, &body);
    request q = {.s = s, .fd = fd, .from = -1};
    if (!text)
        return;
    s->requests++;
    s->early += serve_now() < s->quiet_until - 0.05;
    serve_bearer(text, body, q.auth, sizeof q.auth);
    const char *range = strcasestr(text, "\r\nrange: bytes="), *host = strcasestr(text, "\r\nhost: ");
    q.from = range ? atoll(range + 15) : -1;
    snprintf(q.host, sizeof q.host, "%.*s", host ? (int)strcspn(host + 8, "\r\n") : 0, host ? host + 8 : "");
    sscanf(text, "GET %2047[^ ?]?%511[^ ]", q.path, q.query);
    free(text);
    char path[2048];
    snprintf(path, sizeof path, "%s", q.path);
    unescape(path);
    const bool cdn = !strncmp(path, "/cdn/", 5);
    if (s->set.key && !cdn && strcmp(s->set.key, q.auth))
        complain(&q, 401, "");
    else if (!strncmp(path, "/api/", 5))
        list(&q, path + 5);
    else
        file(&q, path + (cdn ? 4 : 0), cdn);
}

/* ---- starting ---- */

static int setting(settings *s, const char *text)
{
    static const struct {
        const char *name;
        size_t at;
    } numbers[] = {{"page", offsetof(settings, page)},        {"loop", offsetof(settings, loop)},
                   {"ranges", offsetof(settings, ranges)},    {"rate", offsetof(settings, rate)},
                   {"echo", offsetof(settings, echo)},        {"times", offsetof(settings, times)},
                   {"status", offsetof(settings, status)},    {"cut", offsetof(settings, cut)},
                   {"reset", offsetof(settings, reset)},      {"stall", offsetof(settings, stall)},
                   {"html", offsetof(settings, html)},        {"more", offsetof(settings, more)},
                   {"shift", offsetof(settings, shift)},      {"api_status", offsetof(settings, api_status)},
                   {"api_html", offsetof(settings, api_html)}},
      texts[] = {{"cdn", offsetof(settings, cdn)}, {"retry_after", offsetof(settings, retry_after)}};
    const char *value = strchr(text, '=');
    size_t n = value ? (size_t)(value++ - text) : 0;
    for (size_t i = 0; n && i < sizeof numbers / sizeof *numbers; i++)
        if (strlen(numbers[i].name) == n && !strncmp(numbers[i].name, text, n))
            return memcpy((char *)s + numbers[i].at, &(int){atoi(value)}, sizeof(int)), 1;
    for (size_t i = 0; n && i < sizeof texts / sizeof *texts; i++)
        if (strlen(texts[i].name) == n && !strncmp(texts[i].name, text, n))
            return memcpy((char *)s + texts[i].at, &value, sizeof value), 1;
    return 0;
}

static void tell(void *user, FILE *out)
{
    server *s = user;
    fprintf(out, "requests %ld\nlists %ld\nfiles %ld\nparts %ld\nleaks %ld\nfaults %ld\nearly %ld\nbytes %lld\n",
            (long)s->requests, (long)s->lists, (long)s->files, (long)s->parts, (long)s->leaks, (long)s->faults,
            (long)s->early, (long long)s->bytes);
}

int main(int argc, char **argv)
{
    static server s; /* as long as its threads */
    s.set = (settings){.ranges = 1, .times = -1, .retry_after = "1", .key = getenv("HUB_SERVER_KEY")};
    for (int i = 4; i < argc; i++)
        if (!setting(&s.set, argv[i])) {
            fprintf(stderr, "%s: what is %s?\n", argv[0], argv[i]);
            return 2;
        }
    if (argc < 4) {
        fprintf(stderr, "usage: hub_server PORT_FILE STATS_FILE DIR [SETTING=VALUE …]\n");
        return 2;
    }
    s.dir = argv[3];
    return serve(&(serve_spec){.port_file = argv[1], .stats_file = argv[2], .visit = visit, .tell = tell, .user = &s});
}
