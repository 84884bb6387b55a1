/* judge_replay.c - verdicts from a file: what people, or another judge, said of the same responses before.
 *
 * A record has the prompt (`prompt`, or `conversation` as sail shows it), the responses (`responses`, or `response_1` and
 * `response_2`) and a verdict: `winner` (1, 2, "tie", or null: none), `ranking` (numbers of the responses, best first) or `scores`;
 * or `chosen` and `rejected`. Responses are found in any order. White space around texts does not count. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../io/data.h"
#include "../io/hash.h"
#include "../sail/judge.h"
#include "../sail/plugin.h"
#include "judges.h"
#include "judging.h"

struct replay {
    const char *file;
    int missing;
};
enum { MISSING_ERROR, MISSING_ABSTAIN };

static const char *const missing[] = {"error", "abstain", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_STR(struct replay, file, .flags = SAIL_OPT_REQUIRED | SAIL_OPT_PATH, .help = "JSONL of prompts, responses and verdicts"),
    SAIL_OPT_CHOICE(struct replay, missing, .choices = missing, .help = "a pair that the file does not have is an error, or an abstention"),
    {0},
};

/* Place p holds the response that is p-th in byte order; place[p].rank: 0 the best, equal: no preference; -1: no verdict. */
typedef struct known {
    char key[33];
    int8_t rank[SAIL_MAX_RESPONSES];
    int64_t line;
} known;

typedef struct state {
    const char *file;
    known *items;
    size_t n, cap;
} state;

typedef struct piece {
    const char *text;
    size_t len;
    int slot;
} piece;

static piece trimmed(const char *text, size_t len, int slot)
{
    while (len > 0 && (unsigned char)text[len - 1] <= ' ')
        len--;
    while (len > 0 && (unsigned char)*text <= ' ')
        text++, len--;
    return (piece){text, len, slot};
}

static int by_bytes(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    int c = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    return c ? c : x->len != y->len ? (x->len > y->len) - (x->len < y->len) : x->slot - y->slot;
}

/* Sorts the responses; the key is that of prompt and set of responses. */
static void key_of(piece prompt, piece *r, int k, char key[33])
{
    sail__hasher h;
    qsort(r, (size_t)k, sizeof *r, by_bytes);
    sail__hasher_begin(&h);
    sail__hasher_bytes(&h, prompt.text, prompt.len);
    for (int i = 0; i < k; i++)
        sail__hasher_bytes(&h, r[i].text, r[i].len);
    sail__hasher_hex(&h, key);
}

static int by_key(const void *a, const void *b)
{
    const known *x = a, *y = b;
    int c = strcmp(x->key, y->key);
    return c ? c : (x->line > y->line) - (x->line < y->line);
}

/* ---- reading ---- */

static sail_code wrong(const state *s, int64_t line, const char *what, sail_err *err)
{
    return sail_fail(err, SAIL_E_PARSE, "%s:%lld: %s", s->file, (long long)line, what);
}

static int responses_of(const sail_json *v, piece *out)
{
    static const char *const names[2][2] = {{"response_1", "response_2"}, {"chosen", "rejected"}};
    const sail_json *list = sail_json_get(v, "responses");
    size_t len;
    for (size_t i = 0; i < sail_json_size(list); i++) {
        const char *text = sail_json_string(sail_json_at(list, i), &len);
        if (!text || i == SAIL_MAX_RESPONSES)
            return 0;
        out[i] = trimmed(text, len, (int)i);
    }
    for (int form = 0; !list && form < 2; form++) {
        const char *text[2];
        size_t n[2];
        for (int k = 0; k < 2; k++)
            text[k] = sail_json_string(sail_json_get(v, names[form][k]), &n[k]);
        if (!text[0] || !text[1])
            continue;
        for (int k = 0; k < 2; k++)
            out[k] = trimmed(text[k], n[k], k);
        return 2;
    }
    return (int)sail_json_size(list);
}

/* rank[slot]; NULL, or what is wrong. */
static const char *verdict_of(const sail_json *v, int k, int rank[SAIL_MAX_RESPONSES])
{
    const sail_json *winner = sail_json_get(v, "winner"), *ranking = sail_json_get(v, "ranking"), *scores = sail_json_get(v, "scores");
    const char *text = sail_json_string(winner, NULL);
    for (int i = 0; i < k; i++)
        rank[i] = -1;
    if (sail_json_kind_of(ranking) == SAIL_JSON_LIST) {
        for (size_t i = 0; i < sail_json_size(ranking); i++) {
            double slot = sail_json_number(sail_json_at(ranking, i), 0);
            if (sail_json_size(ranking) != (size_t)k || !(slot >= 1 && slot <= k) || slot != floor(slot) || rank[(int)slot - 1] >= 0)
                return "ranking must hold each response's number once, from 1, the best first";
            rank[(int)slot - 1] = (int)i;
        }
        return NULL;
    }
    if (sail_json_kind_of(scores) == SAIL_JSON_LIST) {
        for (int i = 0; i < k; i++) {
            double s = sail_json_number(sail_json_at(scores, (size_t)i), NAN);
            if (sail_json_size(scores) != (size_t)k || isnan(s))
                return "scores must be a list of numbers, one for each response";
            rank[i] = 0;
            for (int j = 0; j < k; j++)
                rank[i] += sail_json_number(sail_json_at(scores, (size_t)j), NAN) > s;
        }
        return NULL;
    }
    double w = sail_json_kind_of(winner) == SAIL_JSON_NUMBER ? sail_json_number(winner, 0) : 0;
    if (!winner && sail_json_get(v, "chosen"))
        w = 1;
    else if (!winner)
        return "there is no verdict: winner (1, 2, \"tie\", or null where there was none), ranking or scores";
    if (text && !strcmp(text, "tie"))
        memset(rank, 0, sizeof *rank * (size_t)k);
    else if (w >= 1 && w <= k && w == floor(w) && k == 2)
        rank[(int)w - 1] = 0, rank[2 - (int)w] = 1;
    else if (sail_json_kind_of(winner) != SAIL_JSON_ABSENT)
        return k == 2 ? "winner must be 1, 2, \"tie\" or null" : "winner is for two responses: of more, give ranking or scores";
    return NULL;
}

static sail_code add(state *s, const sail_json *v, int64_t line, sail_err *err)
{
    size_t len;
    piece r[SAIL_MAX_RESPONSES];
    int rank[SAIL_MAX_RESPONSES], k = responses_of(v, r);
    const char *prompt = sail_json_string(sail_json_get(v, "conversation"), &len);
    prompt = prompt ? prompt : sail_json_string(sail_json_get(v, "prompt"), &len);
    if (!prompt)
        return wrong(s, line, "there is no prompt (or conversation) of text", err);
    if (k < 2)
        return wrong(s, line, "there are no responses: a list of 2 to 8 texts in `responses`, or `response_1` and `response_2`", err);
    const char *problem = verdict_of(v, k, rank);
    if (problem)
        return wrong(s, line, problem, err);
    SAIL_TRY(sail__grow(&s->items, &s->cap, s->n + 1, sizeof *s->items, err));
    known *x = &s->items[s->n++];
    memset(x, 0, sizeof *x);
    key_of(trimmed(prompt, len, 0), r, k, x->key);
    for (int i = 0; i < k; i++)
        x->rank[i] = (int8_t)rank[r[i].slot];
    x->line = line;
    return SAIL_OK;
}

static sail_code read_all(state *s, sail_err *err)
{
    sail__json_stream *in;
    const sail_json *v;
    int64_t line;
    SAIL_TRY(sail__json_stream_open(s->file, &in, err));
    sail_code code = sail__json_stream_next(in, &v, &line, err);
    for (; code == SAIL_OK && v; code = sail__json_stream_next(in, &v, &line, err)) {
        code = sail_json_kind_of(v) == SAIL_JSON_MAP ? add(s, v, line, err) : wrong(s, line, "a record must be a map", err);
        if (code != SAIL_OK)
            break;
    }
    sail__json_stream_close(in);
    SAIL_TRY(code);
    if (s->n == 0)
        return sail_fail(err, SAIL_E_FORMAT, "%s has no verdict", s->file);
    qsort(s->items, s->n, sizeof *s->items, by_key);
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        known *last = kept ? &s->items[kept - 1] : NULL;
        if (!last || strcmp(last->key, s->items[i].key) != 0)
            s->items[kept++] = s->items[i];
        else if (last->rank[0] < 0 || s->items[i].rank[0] < 0) /* one of them says nothing */
            *last = last->rank[0] < 0 ? s->items[i] : *last;
        else if (memcmp(last->rank, s->items[i].rank, sizeof last->rank) != 0)
            return sail_fail(err, SAIL_E_FORMAT, "%s: lines %lld and %lld have different verdicts on the same responses: keep one", s->file,
                             (long long)last->line, (long long)s->items[i].line);
    }
    s->n = kept;
    return SAIL_OK;
}

static void close_replay(const void *self, void *p)
{
    state *s = p;
    if (s)
        sail__free(s->items);
    sail__free(s);
}

static sail_code open_replay(const void *self, sail_ctx *ctx, void **out, sail_err *err)
{
    const struct replay *o = self;
    state *s = sail__calloc(1, sizeof *s);
    if (!s)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    s->file = o->file;
    sail_code code = s->file && *s->file ? read_all(s, err) : sail_fail(err, SAIL_E_OPTION, "judge replay needs a file of verdicts");
    if (code != SAIL_OK) {
        close_replay(self, s);
        return sail_fail_in(err, "judge replay");
    }
    *out = s;
    return SAIL_OK;
}

/* ---- verdicts ---- */

static const known *find(const state *s, const char *prompt, piece *r, int k)
{
    known key;
    key_of(trimmed(prompt, strlen(prompt), 0), r, k, key.key);
    key.line = 0;
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (strcmp(s->items[mid].key, key.key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->n && !strcmp(s->items[low].key, key.key) ? &s->items[low] : NULL;
}

static sail_code label(const void *self, void *p, const sail_judge_item *items, int64_t n, sail_verdict *out, sail_err *err)
{
    const struct replay *o = self;
    const state *s = p;
    for (int64_t i = 0; i < n; i++) {
        piece r[SAIL_MAX_RESPONSES];
        const int k = items[i].k;
        double worth[SAIL_MAX_RESPONSES] = {0};
        for (int j = 0; j < k; j++)
            r[j] = trimmed(items[i].response[j], strlen(items[i].response[j]), j);
        out[i] = sail__no_verdict();
        const known *x = find(s, items[i].conversation, r, k);
        x = x ? x : find(s, items[i].prompt, r, k);
        if (!x && o->missing == MISSING_ERROR)
            return sail_fail(err, SAIL_E_NOTFOUND, "judge replay: %s has no verdict on the responses to \"%.60s%s\" (it has %zu others); `missing: "
                             "abstain` goes on without", s->file, items[i].prompt, strlen(items[i].prompt) > 60 ? "…" : "", s->n);
        if (!x || x->rank[0] < 0)
            continue;
        for (int j = 0; j < k; j++)
            worth[r[j].slot] = -x->rank[j];
        bool same = k == 2 && r[0].len == r[1].len && !memcmp(r[0].text, r[1].text, r[0].len);
        out[i].outcome = same ? SAIL_TIE : sail__outcome_of_scores(worth, k, 0);
    }
    return SAIL_OK;
}

static const sail_judge ops = {.size = sizeof ops, .open = open_replay, .close = close_replay, .label = label};

sail_code sail__judge_replay_install(sail_ctx *ctx, sail_err *err)
{
    static const sail_plugin p = {sizeof p, SAIL_ABI_MAJOR, SAIL_ABI_MINOR, SAIL_KIND_JUDGE, SAIL_CAP_PAIRS, "replay",
                                  "verdicts from a file", "", opts, (uint32_t)sizeof(sail_opt), (uint32_t)sizeof(struct replay), &ops};
    return sail__plugins_add(ctx, &p, "(built in)", err);
}
