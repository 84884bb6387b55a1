/* server.c - a chat completions server that misbehaves on command, for tests of judges over HTTP.
 *
 * usage: judge_server PORT_FILE STATS_FILE [SETTING=VALUE …]
 * It listens on a free port of the loopback (port=N: on that one), writes its number to PORT_FILE, and on SIGTERM what it saw to
 * STATS_FILE. Texts say what the right verdict is: the first two "quality=N" of the user's message are the scores of what is shown
 * first and second (without them, a hash of the texts is), "pair=N" names the pair, and both come back in the reply.
 * Faults, in requests of a thousand, drawn by `seed` and the request's number:
 *   timeout (no answer at all), limit (429 with Retry-After), error (500), html (not JSON), schema (JSON of another form), drip (a byte
 *   every 50 ms), reset (the connection breaks in the middle of the body), huge (a body without end), twice (the answer is sent two
 *   times), late (the answer comes after `late_ms`), mute (a reply without scores), torn (finish_reason "length" in the middle of a
 *   score), liar (two different scores), high (a score out of bounds)
 * Others: delay_ms (before every answer), retry_after (seconds or text, of 429), bias (added to what is shown first), status (every
 *   answer has it), echo=1 (the Authorization header is repeated in every reply and error).
 * With JUDGE_SERVER_KEY in the environment another key is a 401. */
#include <jansson.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../serve.h"

enum { TIMEOUT, LIMIT, ERROR, HTML, SCHEMA, DRIP, RESET, HUGE_BODY, TWICE, LATE, MUTE, TORN, LIAR, HIGH, FAULTS, NONE = FAULTS };
static const char *const names[FAULTS] = {"timeout", "limit", "error", "html", "schema", "drip", "reset", "huge", "twice", "late", "mute", "torn", "liar", "high"};

typedef struct settings {
    int share[FAULTS];
    unsigned long seed;
    int port, delay_ms, late_ms, bias, status, echo;
    const char *retry_after, *key;
} settings;

typedef struct server {
    settings set;
    atomic_long requests, answers, open, most_open, saw[FAULTS + 1], early;
    _Atomic double quiet_until; /* a well-behaved client sends nothing before */
} server;

static int fault_of(const settings *s, long request)
{
    int at = (int)(serve_mix(s->seed * 1000003ul + (unsigned long)request) % 1000);
    for (int f = 0; f < FAULTS; f++)
        if ((at -= s->share[f]) < 0)
            return f;
    return NONE;
}

/* ---- the reply ---- */

static const char *user_text(json_t *root)
{
    json_t *messages = json_object_get(root, "messages");
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *text = json_string_value(json_object_get(last, "content"));
    return text ? text : "";
}

/* Of the next response: what it says, or (no "quality=" in it) what its text amounts to. */
static int quality(const char **text)
{
    const char *at = strstr(*text, "quality="), *from = strstr(*text, "<reply"), *to = from ? strstr(from, "</reply>") : NULL;
    if (at) {
        *text = at + 8;
        return atoi(at + 8);
    }
    unsigned long h = 0;
    for (from = to ? strchr(from, '>') : NULL; from && from < to; from++)
        h = serve_mix(h + (unsigned char)*from);
    *text = to ? to : *text;
    return 1 + (int)(h % 10);
}

static void reply_text(const server *s, const char *text, int fault, const char *auth, char *out, size_t size)
{
    const char *at = text, *pair = strstr(text, "pair=");
    const char *one = strstr(text, "quality=");
    int single = !strstr(text, "[[score1, score2]]") && !(one && strstr(one + 1, "quality="));
    int a = quality(&at) + s->set.bias, b = single ? 0 : quality(&at), id = pair ? atoi(pair + 5) : -1;
    a = a > 10 ? 10 : a;
    const char *echo = s->set.echo ? auth : "";
    if (fault == MUTE)
        snprintf(out, size, "pair=%d I would rather not say. %s", id, echo);
    else if (fault == TORN)
        snprintf(out, size, single ? "pair=%d Overall Score: 1" : "pair=%d [[1, 1", id);
    else if (fault == LIAR)
        snprintf(out, size, single ? "pair=%d Overall Score: 1 Overall Score: 2" : "pair=%d [[1, 2]] or rather [[2, 1]]", id);
    else if (fault == HIGH)
        snprintf(out, size, single ? "pair=%d Overall Score: 11" : "pair=%d [[11, 2]]", id);
    else if (single)
        snprintf(out, size, "pair=%d %s Overall Score: %d", id, echo, a);
    else
        snprintf(out, size, "pair=%d %s shown %d and %d. [[%d, %d]]", id, echo, a, b, a, b);
}

static char *completion(const server *s, const char *body, int fault, const char *auth)
{
    json_t *root = json_loads(body, 0, NULL);
    char content[2048];
    reply_text(s, user_text(root), fault, auth, content, sizeof content);
    const char *model = json_string_value(json_object_get(root, "model"));
    json_t *out = json_pack("{s:s, s:s, s:[{s:i, s:{s:s, s:s}, s:s}], s:{s:i, s:i}}", "object", "chat.completion", "model", model ? model : "",
                            "choices", "index", 0, "message", "role", "assistant", "content", content, "finish_reason",
                            fault == TORN ? "length" : "stop", "usage", "prompt_tokens", (int)strlen(body) / 4, "completion_tokens", 20);
    char *text = out ? json_dumps(out, JSON_COMPACT) : NULL;
    json_decref(out);
    json_decref(root);
    return text ? text : strdup("{}");
}

static void complain(const server *s, int fd, int status, const char *more, const char *auth)
{
    char body[1024];
    int n = snprintf(body, sizeof body, "{\"error\": {\"message\": \"no %d for %s\", \"code\": %d}}", status, s->set.echo ? auth : "you", status);
    serve_respond(fd, status, more, body, (size_t)n);
}

static void misbehave(server *s, int fd, int fault, const char *body, const char *auth)
{
    char more[128] = "", block[4096];
    char *text = completion(s, body, fault, auth);
    size_t n = strlen(text);
    switch (fault) {
    case TIMEOUT:
        while (recv(fd, block, sizeof block, 0) > 0)
            ;
        break;
    case LIMIT: {
        snprintf(more, sizeof more, "Retry-After: %s\r\n", s->set.retry_after);
        double wait = strtod(s->set.retry_after, NULL);
        complain(s, fd, 429, more, auth);
        s->quiet_until = serve_now() + wait;
        break;
    }
    case ERROR:
        complain(s, fd, 500, "", auth);
        break;
    case HTML:
        serve_respond(fd, 200, "", "<html>Bad gateway</html>", 24);
        break;
    case SCHEMA:
        serve_respond(fd, 200, "", "{\"choices\": [{\"text\": \"[[1, 2]]\"}]}", 34);
        break;
    case DRIP:
        snprintf(block, sizeof block, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
        for (size_t i = 0, ok = (size_t)serve_send(fd, block, strlen(block)); ok && i < n; i++, serve_nap(0.05))
            ok = (size_t)serve_send(fd, text + i, 1);
        break;
    case RESET:
        snprintf(block, sizeof block, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
        serve_send(fd, block, strlen(block));
        serve_send(fd, text, n / 2);
        serve_break(fd);
        break;
    case HUGE_BODY:
        memset(block, ' ', sizeof block);
        serve_send(fd, "HTTP/1.1 200 OK\r\n\r\n", 19);
        while (serve_send(fd, block, sizeof block))
            ;
        break;
    case TWICE:
        serve_respond(fd, 200, "", text, n);
        serve_respond(fd, 200, "", text, n);
        break;
    case LATE:
        serve_nap(s->set.late_ms / 1e3);
        serve_respond(fd, 200, "", text, n);
        break;
    default:
        serve_respond(fd, 200, "", text, n);
        s->answers++;
    }
    free(text);
}

static void visit(void *user, int fd)
{
    server *s = user;
    long open = ++s->open, most = s->most_open;
    while (open > most && !atomic_compare_exchange_weak(&s->most_open, &most, open))
        ;
    char *body, *text = serve_read(fd, &body), auth[256] = "no key";
    if (text) {
        long request = s->requests++;
        s->early += serve_now() < s->quiet_until - 0.05;
        serve_bearer(text, body, auth, sizeof auth);
        int fault = fault_of(&s->set, request);
        s->saw[fault]++;
        serve_nap(s->set.delay_ms / 1e3);
        if (s->set.key && strcmp(s->set.key, auth))
            complain(s, fd, 401, "", auth);
        else if (s->set.status)
            complain(s, fd, s->set.status, "Location: http://127.0.0.1:1/elsewhere\r\n", auth);
        else
            misbehave(s, fd, fault, body, auth);
        free(text);
    }
    s->open--;
}

/* ---- starting, stopping ---- */

static int setting(settings *s, const char *text)
{
    const char *value = strchr(text, '=');
    size_t n = value ? (size_t)(value++ - text) : 0;
    static const struct {
        const char *name;
        size_t at;
    } numbers[] = {{"port", offsetof(settings, port)}, {"delay_ms", offsetof(settings, delay_ms)}, {"late_ms", offsetof(settings, late_ms)},
                   {"bias", offsetof(settings, bias)}, {"status", offsetof(settings, status)}, {"echo", offsetof(settings, echo)}};
    for (int f = 0; n && f < FAULTS; f++)
        if (strlen(names[f]) == n && !strncmp(names[f], text, n))
            return s->share[f] = atoi(value), 1;
    for (size_t i = 0; n && i < sizeof numbers / sizeof *numbers; i++)
        if (strlen(numbers[i].name) == n && !strncmp(numbers[i].name, text, n))
            return memcpy((char *)s + numbers[i].at, &(int){atoi(value)}, sizeof(int)), 1;
    if (n == 4 && !strncmp(text, "seed", 4))
        return s->seed = strtoul(value, NULL, 10), 1;
    if (n == 11 && !strncmp(text, "retry_after", 11))
        return s->retry_after = value, 1;
    return 0;
}

static void tell(void *user, FILE *out)
{
    server *s = user;
    fprintf(out, "requests %ld\nanswers %ld\nearly %ld\nmost_open %ld\n", (long)s->requests, (long)s->answers, (long)s->early, (long)s->most_open);
    for (int f = 0; f < FAULTS; f++)
        fprintf(out, "%s %ld\n", names[f], (long)s->saw[f]);
}

int main(int argc, char **argv)
{
    static server s; /* as long as its threads */
    s.set = (settings){.retry_after = "1", .late_ms = 3000, .seed = 1, .key = getenv("JUDGE_SERVER_KEY")};
    for (int i = 3; i < argc; i++)
        if (!setting(&s.set, argv[i])) {
            fprintf(stderr, "%s: what is %s?\n", argv[0], argv[i]);
            return 2;
        }
    if (argc >= 3)
        return serve(&(serve_spec){argv[1], argv[2], s.set.port, visit, tell, &s});
    fprintf(stderr, "usage: judge_server PORT_FILE STATS_FILE [SETTING=VALUE …]\n");
    return 2;
}
