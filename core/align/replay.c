/* replay.c - see replay.h. */
#include "replay.h"

#include <math.h>
#include <string.h>

#include "judging.h"

enum { VERSION = 1, MOST_NAME = 63 };

typedef struct kept_response {
    int64_t id, n, writer;
    double score;
    int32_t *ids;
    float *drawn, *logp, *ref; /* NULL: not known (ref without a reference, logp of what the reference wrote) */
} kept_response;

typedef struct kept_group {
    int32_t k, compared, outcome;
    int8_t slot[SAIL_MAX_RESPONSES]; /* of the entry's responses */
    double weight;
} kept_group;

struct sail__replay_entry {
    int64_t step, row;
    char route[MOST_NAME + 1];
    int32_t writer, labeller, k, n_groups;
    kept_response r[SAIL_MAX_RESPONSES];
    kept_group groups[SAIL__REPLAY_GROUPS];
};

static void free_entry(sail__replay_entry *e)
{
    for (int k = 0; e && k < SAIL_MAX_RESPONSES; k++) {
        sail__free(e->r[k].ids);
        sail__free(e->r[k].drawn);
        sail__free(e->r[k].logp);
        sail__free(e->r[k].ref);
    }
    sail__free(e);
}

void sail__replay_free(sail__replay *b)
{
    for (size_t i = 0; i < b->n; i++)
        free_entry(b->entries[i]);
    sail__free(b->entries);
    memset(b, 0, sizeof *b);
}

static void leave(sail__replay *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free_entry(b->entries[i]);
    memmove(b->entries, b->entries + n, (b->n - n) * sizeof *b->entries);
    b->n -= n;
}

void sail__replay_age(sail__replay *b, int64_t step, const sail_plan *plan)
{
    size_t n = b->n > (uint64_t)plan->keep ? b->n - (size_t)plan->keep : 0;
    while (n < b->n && step - b->entries[n]->step > plan->age)
        n++;
    if (n)
        leave(b, n);
}

static bool copy(void **to, const void *from, int64_t n, size_t size)
{
    if (!from)
        return true;
    *to = sail__malloc((size_t)n * size);
    if (*to)
        memcpy(*to, from, (size_t)n * size);
    return *to != NULL;
}

/* The slot of a response in the entry, made when it is new; -1: no memory or no room. */
static int slot_of(sail__replay_entry *e, const sail__response *r)
{
    for (int k = 0; k < e->k; k++)
        if (e->r[k].id == r->id)
            return k;
    if (e->k == SAIL_MAX_RESPONSES)
        return -1;
    kept_response *q = &e->r[e->k];
    q->id = r->id;
    q->n = r->n;
    q->writer = r->writer;
    q->score = r->score;
    if (!copy((void **)&q->ids, r->ids, r->n, sizeof *q->ids) || !copy((void **)&q->drawn, r->drawn, r->n, sizeof *q->drawn) ||
        !copy((void **)&q->logp, r->old_logp, r->n, sizeof *q->logp) || !copy((void **)&q->ref, r->ref, r->n, sizeof *q->ref))
        return -1;
    return e->k++;
}

static bool add_group(sail__replay_entry *e, const sail__group *g)
{
    if (e->n_groups == SAIL__REPLAY_GROUPS)
        return false;
    kept_group *q = &e->groups[e->n_groups++];
    *q = (kept_group){.k = g->k, .compared = g->compared, .outcome = g->outcome, .weight = g->weight};
    for (int k = 0; k < g->k; k++) {
        const int slot = slot_of(e, &g->r[k]);
        if (slot < 0)
            return false;
        q->slot[k] = (int8_t)slot;
    }
    return true;
}

sail_code sail__replay_put(sail__replay *b, const sail__step *step, const sail_plan *plan, sail_err *err)
{
    if (plan->keep == 0)
        return SAIL_OK;
    for (int64_t i = 0; i < step->n; i++) {
        const sail__group *g = &step->groups[i];
        if (g->writer != SAIL_BY_POLICY || g->replayed)
            continue;
        sail__replay_entry *e = sail__calloc(1, sizeof *e);
        bool ok = e != NULL;
        if (e) {
            e->step = step->step;
            e->row = g->row;
            e->writer = g->writer;
            e->labeller = g->labeller;
            strncpy(e->route, g->route, MOST_NAME);
            ok = add_group(e, g);
            for (; ok && g->shared && i + 1 < step->n && step->groups[i + 1].shared == g->shared; i++)
                ok = add_group(e, &step->groups[i + 1]);
        }
        if (ok)
            ok = sail__grow(&b->entries, &b->cap, b->n + 1, sizeof *b->entries, err) == SAIL_OK;
        if (!ok) {
            free_entry(e);
            return sail_fail(err, SAIL_E_NOMEM, "out of memory for the replay buffer");
        }
        b->entries[b->n++] = e;
    }
    sail__replay_age(b, step->step, plan);
    return SAIL_OK;
}

static bool eligible(const sail__replay_entry *e, const sail_route *route)
{
    return e->writer == route->writer && e->labeller == route->labeller && strncmp(e->route, route->name, MOST_NAME) == 0;
}

int64_t sail__replay_pick(const sail__replay *b, const sail_route *route, uint64_t seed, int64_t step, int64_t index, uint8_t *used)
{
    uint64_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        n += !used[i] && eligible(b->entries[i], route);
    if (n == 0)
        return -1;
    uint64_t left = sail_rng_below(seed, SAIL_RNG_CHOICE, (uint64_t)step, (uint64_t)index, (1ull << 32) + 1, n);
    for (size_t i = 0; i < b->n; i++)
        if (!used[i] && eligible(b->entries[i], route) && left-- == 0) {
            used[i] = 1;
            return (int64_t)i;
        }
    return -1;
}

int64_t sail__replay_row(const sail__replay *b, int64_t entry) { return b->entries[entry]->row; }

int sail__replay_groups(const sail__replay *b, int64_t entry, const sail__group *at, int64_t step, sail__group *out)
{
    const sail__replay_entry *e = b->entries[entry];
    for (int i = 0; i < e->n_groups; i++) {
        const kept_group *q = &e->groups[i];
        sail__group *g = &out[i];
        *g = *at;
        g->row = e->row;
        g->k = q->k;
        g->compared = q->compared;
        g->outcome = q->outcome;
        g->weight = q->weight;
        g->shared = e->n_groups > 1 ? at->prompt_id + 1 : 0;
        g->labelled = e->labeller == SAIL_BY_JUDGE;
        g->replayed = true;
        g->age = step - e->step;
        g->ref_known = true;
        for (int k = 0; k < q->k; k++) {
            const kept_response *r = &e->r[q->slot[k]];
            g->r[k] = (sail__response){.ids = r->ids, .n = r->n, .old_logp = r->logp, .drawn = r->drawn, .ref = r->ref, .id = r->id, .score = r->score,
                                        .writer = (int)r->writer};
            g->ref_known = g->ref_known && r->ref;
        }
    }
    return e->n_groups;
}

/* ---- as bytes: little-endian, fields in order ---- */

static void put(sail_buf *b, const void *x, size_t n) { sail__buf_add(b, x, n); }
#define PUT(b, x) put(b, &(x), sizeof(x))

void sail__replay_write(const sail__replay *b, sail_buf *out)
{
    const int64_t head[2] = {VERSION, (int64_t)b->n};
    PUT(out, head);
    for (size_t i = 0; i < b->n; i++) {
        const sail__replay_entry *e = b->entries[i];
        PUT(out, e->step);
        PUT(out, e->row);
        PUT(out, e->route);
        PUT(out, e->writer);
        PUT(out, e->labeller);
        PUT(out, e->k);
        PUT(out, e->n_groups);
        for (int k = 0; k < e->k; k++) {
            const kept_response *r = &e->r[k];
            const float *const arrays[] = {r->drawn, r->logp, r->ref};
            int64_t has = 0;
            for (int j = 0; j < 3; j++)
                has |= arrays[j] ? 1 << j : 0;
            PUT(out, r->id);
            PUT(out, r->n);
            PUT(out, r->writer);
            PUT(out, r->score);
            PUT(out, has);
            put(out, r->ids, (size_t)r->n * sizeof *r->ids);
            for (int j = 0; j < 3; j++)
                if (arrays[j])
                    put(out, arrays[j], (size_t)r->n * sizeof *arrays[j]);
        }
        for (int g = 0; g < e->n_groups; g++) {
            const kept_group *q = &e->groups[g];
            PUT(out, q->k);
            PUT(out, q->compared);
            PUT(out, q->outcome);
            PUT(out, q->slot);
            PUT(out, q->weight);
        }
    }
}

typedef struct reader {
    const unsigned char *at;
    size_t left;
    bool oom;
} reader;

static bool get(reader *r, void *to, size_t n)
{
    if (n > r->left)
        return false;
    memcpy(to, r->at, n);
    r->at += n;
    r->left -= n;
    return true;
}
#define GET(r, x) get(r, &(x), sizeof(x))

static bool get_array(reader *r, void **to, int64_t n, size_t size)
{
    if ((uint64_t)n > r->left / size)
        return false;
    *to = sail__malloc((size_t)n * size);
    r->oom = !*to;
    return *to && get(r, *to, (size_t)n * size);
}

static bool get_response(reader *r, kept_response *q, int32_t vocab)
{
    float **const arrays[] = {&q->drawn, &q->logp, &q->ref};
    int64_t has;
    if (!GET(r, q->id) || !GET(r, q->n) || !GET(r, q->writer) || !GET(r, q->score) || !GET(r, has) || q->n < 1 || q->id < 0 ||
        !get_array(r, (void **)&q->ids, q->n, sizeof *q->ids))
        return false;
    for (int i = 0; i < 3; i++)
        if ((has >> i & 1) && !get_array(r, (void **)arrays[i], q->n, sizeof **arrays[i]))
            return false;
    for (int64_t i = 0; i < q->n; i++)
        if (q->ids[i] < 0 || q->ids[i] >= vocab)
            return false;
    return true;
}

static bool get_entry(reader *r, sail__replay_entry *e, int64_t rows, int32_t vocab)
{
    if (!GET(r, e->step) || !GET(r, e->row) || !GET(r, e->route) || !GET(r, e->writer) || !GET(r, e->labeller) || !GET(r, e->k) ||
        !GET(r, e->n_groups) || e->row < 0 || e->row >= rows || e->k < 2 || e->k > SAIL_MAX_RESPONSES || e->n_groups < 1 ||
        e->n_groups > SAIL__REPLAY_GROUPS || e->route[MOST_NAME])
        return false;
    for (int k = 0; k < e->k; k++)
        if (!get_response(r, &e->r[k], vocab))
            return false;
    for (int g = 0; g < e->n_groups; g++) {
        kept_group *q = &e->groups[g];
        if (!GET(r, q->k) || !GET(r, q->compared) || !GET(r, q->outcome) || !GET(r, q->slot) || !GET(r, q->weight) || q->k < 2 ||
            q->k > SAIL_MAX_RESPONSES || q->compared < 0 || q->compared > q->k || q->compared == 1)
            return false;
        if (q->outcome < SAIL_ABSTAIN || q->outcome >= sail__judge_outcomes(q->compared ? q->compared : q->k) || !(q->weight >= 0 && q->weight <= 1))
            return false;
        for (int k = 0; k < q->k; k++)
            if (q->slot[k] < 0 || q->slot[k] >= e->k)
                return false;
    }
    return true;
}

sail_code sail__replay_read(sail__replay *b, const void *data, size_t size, int64_t rows, int32_t vocab, const char *path, sail_err *err)
{
    reader r = {data, size};
    int64_t head[2];
    bool ok = GET(&r, head) && head[0] == VERSION && head[1] >= 0;
    for (int64_t i = 0; ok && i < head[1]; i++) {
        sail__replay_entry *e = sail__calloc(1, sizeof *e);
        if (!e || sail__grow(&b->entries, &b->cap, b->n + 1, sizeof *b->entries, err) != SAIL_OK) {
            sail__free(e);
            return sail_fail(err, SAIL_E_NOMEM, "out of memory for the replay buffer");
        }
        b->entries[b->n++] = e;
        ok = get_entry(&r, e, rows, vocab);
    }
    if (r.oom)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for the replay buffer");
    return ok && r.left == 0 ? SAIL_OK : sail_fail(err, SAIL_E_FORMAT, "%s is not a replay buffer of this data and model, at byte %zu", path, size - r.left);
}
