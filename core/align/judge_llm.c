/* judge_llm.c - a language model over HTTP as judge. Both orders of a pair are asked (what stands first is liked too well);
 * where they disagree it is a tie. A reply that cannot be read is asked for again a few times, then the judge abstains. */
#include "judge_llm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../io/hash.h"
#include "../sail/plugin.h"
#include "../sail/rng.h"
#include "judges.h"
#include "judging.h"

#define T sail__llm
static const char *const orders[] = {"both", "random", NULL};
static const char *const token_fields[] = {"max_tokens", "max_completion_tokens", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_STR(T, base_url, .flags = SAIL_OPT_REQUIRED, .help = "of an OpenAI-compatible server, such as http://localhost:8080/v1"),
    SAIL_OPT_STR(T, model, .flags = SAIL_OPT_REQUIRED, .help = "as the server calls it"),
    {.name = "template", .type = SAIL_OPT_TYPE_CHOICE, .offset = offsetof(T, template_name), .choices = sail__judge_prompt_names,
     .help = "what it is asked: compare for helpfulness or harmlessness, or rate each response on its own"},
    SAIL_OPT_STR(T, template_file, .flags = SAIL_OPT_PATH, .help = "a template of your own: text with {conversation} or {prompt}, and {response_1} "
                                                                   "and {response_2} or {response}; a line === ends the system message"),
    SAIL_OPT_STR(T, key_env, .help = "environment variable that holds the key"),
    SAIL_OPT_STR(T, key_file, .flags = SAIL_OPT_PATH, .help = "file that holds the key, readable by its owner alone (mode 0600)"),
    SAIL_OPT_STR(T, key_header, .def_str = "Authorization", .help = "header that carries the key; Authorization: as a bearer's token"),
    SAIL_OPT_CHOICE(T, orders, .choices = orders, .help = "of a pair: both asked, a tie where they disagree; or one, drawn by the pair"),
    SAIL_OPT_F64(T, lowest, .def = 1, .min = 0, .max = 1e6, .help = "worst score"),
    SAIL_OPT_F64(T, highest, .def = 10, .min = 0, .max = 1e6, .help = "best score"),
    SAIL_OPT_F64(T, margin, .min = 0, .max = 1e6, .help = "scores no further apart are a tie"),
    SAIL_OPT_F64(T, temperature, .min = 0, .max = 10, .help = "of the judge's replies"),
    SAIL_OPT_INT(T, max_tokens, .def = 1024, .min = 1, .max = 1e6, .unit = "tokens", .help = "of a reply"),
    SAIL_OPT_CHOICE(T, token_field, .choices = token_fields, .help = "what the server calls that bound"),
    SAIL_OPT_INT(T, seed, .def = -1, .min = -1, .max = 1e15, .help = "sent with each request; -1: not sent"),
    SAIL_OPT_NODE(T, extra, .help = "map of further members of the request, such as {response_format: …, logprobs: true}"),
    SAIL_OPT_INT(T, parallel, .def = 8, .min = 1, .max = 1024, .help = "requests under way at once"),
    SAIL_OPT_INT(T, requests_per_minute, .min = 0, .max = 1e9, .help = "0: no limit of ours"),
    SAIL_OPT_INT(T, tokens_per_minute, .min = 0, .max = 1e12, .unit = "tokens", .help = "prompt and reply together; 0: no limit of ours"),
    SAIL_OPT_F64(T, timeout, .def = 120, .min = 0.01, .max = 86400, .unit = "seconds", .help = "of one request"),
    SAIL_OPT_F64(T, deadline, .def = 600, .min = 0.01, .max = 864000, .unit = "seconds", .help = "of one question, with all its repetitions"),
    SAIL_OPT_INT(T, retries, .def = 5, .min = 0, .max = 1000, .help = "repetitions where the server fails"),
    SAIL_OPT_INT(T, tries, .def = 3, .min = 1, .max = 100, .help = "how often it is asked in all where the reply cannot be read"),
    SAIL_OPT_F64(T, backoff, .def = 1, .min = 0, .max = 3600, .unit = "seconds", .help = "before the first repetition; doubled each time, less a random share"),
    SAIL_OPT_F64(T, longest_wait, .def = 60, .min = 0, .max = 86400, .unit = "seconds", .help = "between repetitions, unless the server asks for more"),
    SAIL_OPT_INT(T, give_up, .def = 50, .min = 1, .max = 1e9, .help = "failures in a row after which the run saves and stops"),
    SAIL_OPT_INT(T, budget_requests, .min = 0, .max = 1e12, .help = "of one `sail run` or `sail resume`; then it saves and stops; 0: none"),
    SAIL_OPT_F64(T, budget_cost, .min = 0, .max = 1e12, .help = "likewise, in the unit of the prices; needs them"),
    SAIL_OPT_F64(T, price_prompt, .min = 0, .max = 1e9, .help = "of a million tokens of prompt"),
    SAIL_OPT_F64(T, price_reply, .min = 0, .max = 1e9, .help = "of a million tokens of reply"),
    {0},
};
#undef T

/* ---- opening ---- */

static sail_code key_from_file(const char *path, char **out, sail_err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        return sail_fail(err, SAIL_E_OPTION, "judge llm: key_file %s: %s", path, strerror(e));
    }
    char text[4096];
    ssize_t n = -1;
    sail_code code = SAIL_OK;
    if (!S_ISREG(st.st_mode))
        code = sail_fail(err, SAIL_E_OPTION, "judge llm: key_file %s is no file", path);
    else if (st.st_mode & 077)
        code = sail_fail(err, SAIL_E_OPTION, "judge llm: key_file %s may be read by others (mode %04o): chmod 600 %s", path, st.st_mode & 07777u, path);
    else if ((n = read(fd, text, sizeof text)) < 0)
        code = sail_fail(err, SAIL_E_IO, "judge llm: key_file %s: %s", path, strerror(errno));
    else if (n == sizeof text)
        code = sail_fail(err, SAIL_E_OPTION, "judge llm: key_file %s is longer than any key: one word is expected", path);
    close(fd);
    if (code == SAIL_OK) {
        text[n] = 0;
        *out = sail__strdup(text);
    }
    explicit_bzero(text, sizeof text);
    if (code != SAIL_OK)
        return code;
    return *out ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static sail_code read_key(const sail__llm *o, sail__llm_state *s, sail_err *err)
{
    bool env = o->key_env && *o->key_env, file = o->key_file && *o->key_file;
    if (env && file)
        return sail_fail(err, SAIL_E_OPTION, "judge llm: give either key_env or key_file");
    if (!env && !file)
        return SAIL_OK;
    const char *value = env ? getenv(o->key_env) : NULL;
    if (env && (!value || !*value))
        return sail_fail(err, SAIL_E_OPTION, "judge llm: the environment variable %s, which key_env names, is not set", o->key_env);
    if (env && !(s->key = sail__strdup(value)))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (file)
        SAIL_TRY(key_from_file(o->key_file, &s->key, err));
    size_t n = strlen(s->key);
    while (n > 0 && (unsigned char)s->key[n - 1] <= ' ')
        s->key[--n] = 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s->key[i] <= ' ' || s->key[i] == 127)
            n = 0;
    return n >= 4 ? SAIL_OK : sail_fail(err, SAIL_E_OPTION, "judge llm: %s %s holds no key: one word is expected", env ? "key_env" : "key_file",
                                        env ? o->key_env : o->key_file);
}

static sail_code set_url(const sail__llm *o, sail__llm_state *s, sail_err *err)
{
    const char *u = o->base_url;
    size_t n = strlen(u), scheme = !strncmp(u, "https://", 8) ? 8 : !strncmp(u, "http://", 7) ? 7 : 0, host = scheme ? strcspn(u + scheme, "/?#") : 0;
    static const char tail[] = "/chat/completions";
    if (host == 0)
        return sail_fail(err, SAIL_E_OPTION, "judge llm: base_url %s is no address: such as https://api.example.com/v1 or http://localhost:8080/v1", u);
    if (memchr(u + scheme, '@', host))
        return sail_fail(err, SAIL_E_OPTION, "judge llm: base_url holds a user name or password, which would be written to logs: use key_env or key_file");
    if (strpbrk(u, "?# \t\r\n"))
        return sail_fail(err, SAIL_E_OPTION, "judge llm: base_url %s must end before any ? or #", u);
    while (n > 0 && u[n - 1] == '/')
        n--;
    bool whole = n > sizeof tail - 1 && !strncmp(u + n - (sizeof tail - 1), tail, sizeof tail - 1);
    s->url = sail__arena_printf(s->arena, "%.*s%s", (int)n, u, whole ? "" : tail);
    if (s->key && scheme == 7 && !sail__http_here(u + scheme, host))
        sail_log(s->ctx, SAIL_LOG_WARN, "judge llm: the key goes to %.*s unencrypted (http, not https)", (int)host, u + scheme);
    return s->url ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static sail_code set_headers(const sail__llm *o, sail__llm_state *s, sail_err *err)
{
    for (const char *c = o->key_header; *c; c++)
        if (*c <= ' ' || *c == ':' || *c == 127)
            return sail_fail(err, SAIL_E_OPTION, "judge llm: key_header must be a header's name, such as Authorization or api-key");
    s->headers[s->n_headers++] = "Content-Type: application/json";
    if (s->key)
        s->headers[s->n_headers++] = sail__arena_printf(s->arena, "%s: %s%s", o->key_header, strcasecmp(o->key_header, "Authorization") ? "" : "Bearer ",
                                                        s->key);
    return s->headers[s->n_headers - 1] ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static sail_code describe(const sail__llm *o, sail__llm_state *s, sail_err *err)
{
    sail_buf b = {0};
    sail__buf_printf(&b, "%s at %s, template %s %s, %s orders, temperature %g, %lld tokens, seed %lld, margin %g", o->model, o->base_url, s->prompt.name,
                     s->prompt.hash, orders[o->orders], o->temperature, (long long)o->max_tokens, (long long)o->seed, o->margin);
    if (o->extra) {
        sail__buf_str(&b, ", ");
        sail__node_to_json(&b, o->extra);
    }
    s->about = b.oom ? NULL : sail__arena_strdup(s->arena, b.data);
    sail__buf_free(&b);
    return s->about ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static sail_code check_options(const sail__llm *o, sail_err *err)
{
    const sail_node *stream = o->extra ? sail__node_get(o->extra, "stream") : NULL;
    if (!o->base_url || !*o->base_url || !o->model || !*o->model)
        return sail_fail(err, SAIL_E_OPTION, "judge llm needs base_url and model, such as {kind: llm, base_url: \"http://localhost:8080/v1\", model: NAME}");
    if (o->extra && o->extra->kind != SAIL_NODE_MAP)
        return sail_fail(err, SAIL_E_OPTION, "judge llm: extra must be a map");
    for (int i = 0; o->extra && i < 2; i++)
        if (sail__node_get(o->extra, i ? "messages" : "model"))
            return sail_fail(err, SAIL_E_OPTION, "judge llm: extra.%s",
                             i ? "messages: what is asked is `template` or `template_file`"
                               : "model: name it as `model`");
    if (stream && !(stream->kind == SAIL_NODE_BOOL && !stream->boolean))
        return sail_fail(err, SAIL_E_OPTION, "judge llm: extra.stream: replies are read whole");
    if (o->budget_cost > 0 && !(o->price_prompt > 0 || o->price_reply > 0))
        return sail_fail(err, SAIL_E_OPTION, "judge llm: budget_cost needs price_prompt and price_reply, of a million tokens");
    return SAIL_OK;
}

static void close_llm(const void *self, void *state)
{
    sail__llm_state *s = state;
    if (!s)
        return;
    sail__http_close(s->http);
    sail__pace_free(&s->pace);
    if (s->key) {
        if (s->n_headers > 1 && s->headers[1]) /* in the arena; ours to wipe */
            explicit_bzero((char *)s->headers[1], strlen(s->headers[1]));
        explicit_bzero(s->key, strlen(s->key));
    }
    sail__free(s->key);
    sail__arena_free(s->arena);
    sail__free(s);
}

static sail_code open_llm(const void *self, sail_ctx *ctx, void **out, sail_err *err)
{
    const sail__llm *o = self;
    sail__llm_state *s = sail__calloc(1, sizeof *s);
    if (!s || !(s->arena = sail__arena_new())) {
        sail__free(s);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    s->ctx = ctx;
    s->pace = (sail__pace){.requests = o->requests_per_minute, .tokens = o->tokens_per_minute};
    const char *file = o->template_file && *o->template_file ? o->template_file : NULL;
    sail_code code = check_options(o, err);
    if (code == SAIL_OK)
        code = read_key(o, s, err);
    if (code == SAIL_OK)
        code = set_url(o, s, err);
    if (code == SAIL_OK)
        code = set_headers(o, s, err);
    if (code == SAIL_OK)
        code = sail__judge_prompt_open(s->arena, o->template_name, file, o->lowest, o->highest, &s->prompt, err);
    if (code == SAIL_OK)
        code = describe(o, s, err);
    if (code == SAIL_OK)
        code = sail__http_open(&s->http, err); /* here, so that what is missing is told as early as a judge is opened */
    if (code == SAIL_OK)
        *out = s;
    else
        close_llm(self, s);
    return code;
}

static const char *about(const void *self, void *state) { return ((sail__llm_state *)state)->about; }

/* ---- verdicts ---- */

typedef struct part { /* an asking that an item needs: one order of a pair, or one response rated */
    int64_t asking, next; /* next: the place of the next item that waits for the same; -1: none */
} part;

typedef struct bench {
    sail__llm_job job;
    const sail_judge_item *items;
    int64_t n;
    part *parts;    /* [n][SAIL_MAX_RESPONSES] */
    int *n_parts, *left;
    int64_t *slots; /* hash table over askings by key; -1: empty */
    size_t n_slots;
    int64_t abstained, unread;
    char why[240];
} bench;

/* first[i]: which response part i showed first. */
static void compare(const bench *b, int64_t i, const int *first, sail_verdict *v)
{
    int32_t outcome[2] = {SAIL_ABSTAIN, SAIL_ABSTAIN};
    int n = b->n_parts[i];
    v->score[0] = v->score[1] = 0;
    for (int p = 0; p < n; p++) {
        const sail__asking *q = &b->job.askings[b->parts[i * SAIL_MAX_RESPONSES + p].asking];
        double s[2] = {q->score[first[p]], q->score[1 - first[p]]};
        outcome[p] = sail__outcome_of_scores(s, 2, b->job.o->margin);
        v->score[0] += s[0] / n;
        v->score[1] += s[1] / n;
    }
    v->outcome = n == 1 || outcome[0] == outcome[1] ? outcome[0] : SAIL_TIE;
}

static void rank(const bench *b, int64_t i, sail_verdict *v)
{
    const int k = b->items[i].k;
    for (int j = 0; j < k; j++)
        v->score[j] = b->job.askings[b->parts[i * SAIL_MAX_RESPONSES + j].asking].score[0];
    v->outcome = sail__outcome_of_scores(v->score, k, b->job.o->margin);
}

/* In which order a pair is shown where only one order is asked: as it is, or drawn by what it is. */
static int drawn_order(const sail_judge_item *x)
{
    uint64_t h = sail__hash64(x->response[0], strlen(x->response[0]), x->id);
    return sail_rng_uniform(h, SAIL_RNG_USER, sail__hash64(x->response[1], strlen(x->response[1]), 0), 0, 0) < 0.5;
}

static int orders_of(const bench *b, int64_t i, int first[2])
{
    bool one = b->job.host->as_shown || b->job.o->orders == SAIL__LLM_RANDOM;
    first[0] = !b->job.host->as_shown && one ? drawn_order(&b->items[i]) : 0;
    first[1] = 1;
    return one ? 1 : 2;
}

static sail_code hand_over(bench *b, int64_t i, sail_err *err)
{
    const sail_judge_host *h = b->job.host;
    sail_verdict v = sail__no_verdict();
    sail_judge_note note = {.size = sizeof note};
    sail_buf replies = {0};
    int first[2];
    for (int p = 0; p < b->n_parts[i]; p++) {
        const sail__asking *q = &b->job.askings[b->parts[i * SAIL_MAX_RESPONSES + p].asking];
        if (q->state != SAIL__ASK_DONE) {
            b->abstained++;
            b->unread += q->unread_last;
            memcpy(b->why, q->why, sizeof b->why);
            sail__buf_free(&replies);
            return h->verdict(h, i, &v, NULL, err);
        }
        v.seconds += q->seconds;
        note.version = q->version;
        note.prompt_tokens += q->prompt_tokens > 0 ? q->prompt_tokens : 0;
        note.reply_tokens += q->reply_tokens > 0 ? q->reply_tokens : 0;
        note.requests += q->requests;
        sail__buf_printf(&replies, "%s%s", p ? "\n\n===\n\n" : "", q->reply);
    }
    if (b->job.s->prompt.pair) {
        int n = orders_of(b, i, first);
        note.order = n == 2 ? "both" : first[0] ? "second first" : "as shown";
        compare(b, i, first, &v);
    } else {
        note.order = "each alone";
        rank(b, i, &v);
    }
    note.reply = replies.data;
    sail_code code = replies.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : h->verdict(h, i, &v, &note, err);
    sail__buf_free(&replies);
    return code;
}

static sail_code on_finished(void *user, sail__asking *q, sail_err *err)
{
    bench *b = user;
    for (int64_t at = q->waiting; at >= 0; at = b->parts[at].next)
        if (--b->left[at / SAIL_MAX_RESPONSES] == 0)
            SAIL_TRY(hand_over(b, at / SAIL_MAX_RESPONSES, err));
    return SAIL_OK;
}

/* The asking for a prompt: one that is there, recalled from the run, or a new one. */
static sail_code asking_for(bench *b, const sail_judge_item *item, const char *r1, const char *r2, int64_t *out, sail_err *err)
{
    sail__llm_job *j = &b->job;
    const sail__judge_prompt *p = &j->s->prompt;
    sail_buf system = {0}, user = {0};
    if (p->system)
        sail__judge_prompt_fill(p, p->system, item, r1, r2, &system);
    sail__judge_prompt_fill(p, p->user, item, r1, r2, &user);
    sail__asking q = {.waiting = -1, .system = p->system ? sail__arena_strdup(j->arena, system.data ? system.data : "") : NULL,
                      .user = sail__arena_strdup(j->arena, user.data ? user.data : "")};
    bool oom = system.oom || user.oom || !q.user || (p->system && !q.system);
    sail__buf_free(&system);
    sail__buf_free(&user);
    if (oom)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail__hasher h;
    sail__hasher_begin(&h);
    sail__hasher_text(&h, "llm");
    sail__hasher_text(&h, j->s->about);
    sail__hasher_text(&h, q.system);
    sail__hasher_text(&h, q.user);
    sail__hasher_hex(&h, q.key);
    size_t at = (size_t)sail__hash64(q.key, 32, 0) & (b->n_slots - 1);
    for (; b->slots[at] >= 0; at = (at + 1) & (b->n_slots - 1))
        if (!strcmp(j->askings[b->slots[at]].key, q.key)) {
            *out = b->slots[at];
            return SAIL_OK;
        }
    const char *kept = j->host->recall(j->host, q.key);
    if (kept && sail__llm_unpack(kept, j->arena, &q))
        q.state = SAIL__ASK_DONE;
    *out = b->slots[at] = j->n;
    j->askings[j->n++] = q;
    return SAIL_OK;
}

static sail_code add_item(bench *b, int64_t i, sail_err *err)
{
    const sail_judge_item *x = &b->items[i];
    bool pair = b->job.s->prompt.pair;
    int first[2] = {0}, n = pair ? orders_of(b, i, first) : x->k;
    if (pair && x->k != 2)
        return sail_fail(err, SAIL_E_RECIPE, "judge llm: template %s compares two responses, not %d: use `template: rating`, or rollout.responses: 2",
                         b->job.s->prompt.name, x->k);
    b->n_parts[i] = b->left[i] = n;
    for (int p = 0; p < n; p++) {
        int64_t asking = 0, at = i * SAIL_MAX_RESPONSES + p;
        const char *r1 = x->response[pair ? first[p] : p], *r2 = pair ? x->response[1 - first[p]] : NULL;
        SAIL_TRY(asking_for(b, x, r1, r2, &asking, err));
        sail__asking *q = &b->job.askings[asking];
        b->parts[at].asking = asking;
        b->parts[at].next = q->waiting;
        q->waiting = at;
        b->left[i] -= q->state == SAIL__ASK_DONE;
    }
    return SAIL_OK;
}

static sail_code run(bench *b, sail_err *err)
{
    sail_arena *a = b->job.arena;
    size_t most = (size_t)b->n * (b->job.s->prompt.pair ? 2 : SAIL_MAX_RESPONSES);
    for (b->n_slots = 64; b->n_slots < 2 * most; b->n_slots *= 2)
        ;
    b->parts = sail__arena_array(a, (size_t)b->n * SAIL_MAX_RESPONSES, sizeof *b->parts);
    b->n_parts = sail__arena_array(a, (size_t)b->n, sizeof *b->n_parts);
    b->left = sail__arena_array(a, (size_t)b->n, sizeof *b->left);
    b->slots = sail__arena_array(a, b->n_slots, sizeof *b->slots);
    b->job.askings = sail__arena_array(a, most, sizeof *b->job.askings);
    if (!b->parts || !b->n_parts || !b->left || !b->slots || !b->job.askings)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %lld pairs", (long long)b->n);
    for (size_t i = 0; i < b->n_slots; i++)
        b->slots[i] = -1;
    for (int64_t i = 0; i < b->n; i++)
        SAIL_TRY(add_item(b, i, err));
    for (int64_t i = 0; i < b->n; i++)
        if (b->left[i] == 0)
            SAIL_TRY(hand_over(b, i, err));
    return sail__llm_converse(&b->job, err);
}

static sail_code ask(const void *self, void *state, const sail_judge_item *items, int64_t n, const sail_judge_host *host, sail_err *err)
{
    sail__llm_state *s = state;
    bench b = {.items = items, .n = n};
    b.job = (sail__llm_job){.o = self, .s = s, .host = host, .arena = sail__arena_new(), .finished = on_finished, .user = &b};
    sail_code code = b.job.arena ? run(&b, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (b.abstained > 0)
        sail_log(s->ctx, SAIL_LOG_WARN, "judge llm: abstained on %lld of %lld (%lld: the reply could not be read); the last: %s",
                 (long long)b.abstained, (long long)n, (long long)b.unread, b.why);
    if (b.job.arena)
        sail__arena_free(b.job.arena);
    return code;
}

static const sail_judge ops = {.size = sizeof ops, .open = open_llm, .close = close_llm, .ask = ask, .about = about};

sail_code sail__judge_llm_install(sail_ctx *ctx, sail_err *err)
{
    static const sail_plugin p = {sizeof p, SAIL_ABI_MAJOR, SAIL_ABI_MINOR, SAIL_KIND_JUDGE, SAIL_CAP_PAIRS, "llm",
                                  "a language model behind an OpenAI-compatible HTTP interface", "", opts, (uint32_t)sizeof(sail_opt),
                                  (uint32_t)sizeof(sail__llm), &ops};
    return sail__plugins_add(ctx, &p, "(built in)", err);
}
