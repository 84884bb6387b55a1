/* judge_scorer.c - see judge_scorer.h. */
#include "judge_scorer.h"

#include <math.h>
#include <string.h>

#include "../sail/rng.h"

#include "calibration.h"
#include "judging.h"

typedef struct state {
    const char *name;
    sail__scorer *scorer;
    sail_preference_model preference; /* compares vectors, or is drawn from; ops NULL: not needed */
    int64_t max_tokens;
    double margin;
    bool drawn;
    uint64_t seed;
    const char *about;
    sail_arena *arena;
} state;

void sail__scorer_judge_close(const void *self, void *p)
{
    state *s = p;
    if (!s)
        return;
    sail__scorer_close(s->scorer);
    sail__arena_free(s->arena);
    sail__free(s);
}

const char *sail__scorer_judge_about(const void *self, void *p) { return ((const state *)p)->about; }

/* ---- opening ---- */

static const char origin[] = "judge";

/* The model of preferences that compares vectors, with the head's dimension, or that outcomes are drawn from. */
static sail_code preference(const sail__scorer_judge *how, sail_ctx *ctx, state *s, sail_err *err)
{
    const char *name = how->preference ? how->preference : s->scorer->preference;
    sail_problems problems = {.arena = s->arena};
    sail_slot slot;
    if (s->scorer->labels == 1 && !how->drawn)
        return SAIL_OK;
    if (!name)
        return sail_fail(err, SAIL_E_RECIPE, "%s gives %d numbers for a response, and does not say how they are compared: a judge needs one number, or "
                         "`preference: general` where the head was fitted with it", how->spec.path, s->scorer->labels);
    sail_node *node = sail__node_new(s->arena, SAIL_NODE_MAP, origin, 0, 0), *n = sail__node_new(s->arena, SAIL_NODE_INT, origin, 0, 0);
    if (n)
        n->integer = s->scorer->labels;
    if (!node || !n || !sail__node_set(s->arena, node, "kind", sail__node_string(s->arena, name, origin)) ||
        (sail__name_equal(name, "general") && !sail__node_set(s->arena, node, "dimension", n)))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!sail__slot_parse(ctx, s->arena, SAIL_KIND_PREFERENCE, node, "judge.preference", NULL, NULL, &slot, &problems))
        return sail__problems_fail(&problems, SAIL_E_RECIPE, err);
    s->preference = (sail_preference_model){slot.loaded->ops, slot.options, slot.loaded->plugin.name};
    return sail__scorer_compared_by(s->scorer, &s->preference, err);
}

static sail_code backend_slot(const sail__scorer_judge *how, sail_ctx *ctx, sail_arena *a, sail_slot *out, sail_err *err)
{
    sail_problems problems = {.arena = a};
    sail_node *node = sail__node_new(a, SAIL_NODE_MAP, origin, 0, 0), *threads = sail__node_new(a, SAIL_NODE_INT, origin, 0, 0);
    if (!node || !threads)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    threads->integer = how->threads;
    if (!sail__node_set(a, node, "kind", sail__node_string(a, how->backend, origin)) || (how->threads > 0 && !sail__node_set(a, node, "threads", threads)))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    return sail__slot_parse(ctx, a, SAIL_KIND_BACKEND, node, "judge.backend", NULL, NULL, out, &problems) ? SAIL_OK : sail__problems_fail(&problems, SAIL_E_RECIPE, err);
}

static sail_code describe(const sail__scorer_judge *how, const sail__scorer_spec *spec, state *s, sail_err *err)
{
    SAIL_TRY(sail__scorer_about(s->scorer, spec, s->arena, &s->about, err));
    if (s->preference.ops)
        s->about = sail__arena_printf(s->arena, "%s, %s by %s", s->about, how->drawn ? "drawn" : "compared", s->preference.name);
    if (s->about && how->drawn)
        s->about = sail__arena_printf(s->arena, "%s, seed %lld", s->about, (long long)how->seed);
    if (s->about)
        s->about = sail__arena_printf(s->arena, "%s, margin %g", s->about, how->margin);
    return s->about ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

static sail_code open_state(sail_ctx *ctx, const sail__scorer_judge *how, state *s, sail_err *err)
{
    sail_slot backend;
    sail__scorer_spec spec = how->spec;
    s->name = how->name;
    s->max_tokens = how->max_tokens;
    s->margin = how->margin;
    s->drawn = how->drawn;
    s->seed = how->seed;
    s->arena = sail__arena_new();
    if (!s->arena)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(backend_slot(how, ctx, s->arena, &backend, err));
    spec.backend = &backend;
    SAIL_TRY(sail__scorer_open(ctx, &spec, &s->scorer, err));
    SAIL_TRY(preference(how, ctx, s, err));
    return describe(how, &spec, s, err);
}

sail_code sail__scorer_judge_open(sail_ctx *ctx, const sail__scorer_judge *how, void **out, sail_err *err)
{
    state *s = sail__calloc(1, sizeof *s);
    sail_code code = s ? open_state(ctx, how, s, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code != SAIL_OK) {
        sail__scorer_judge_close(NULL, s);
        return sail_fail_in(err, "judge %s", how->name);
    }
    *out = s;
    return SAIL_OK;
}

/* ---- judging ---- */

/* A conversation or text with its responses. */
static sail_code add(sail__scorer *s, const sail_judge_item *item, sail_err *err)
{
    sail__part prompt = {0}, responses[SAIL_MAX_RESPONSES] = {{0}};
    sail__message *m = sail__calloc(item->n_messages + 1, sizeof *m);
    if (!m)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < item->n_messages; i++)
        m[i] = (sail__message){item->messages[i].role, item->messages[i].content, strlen(item->messages[i].content)};
    if (item->text)
        prompt = (sail__part){.text = item->text, .len = strlen(item->text)};
    else
        prompt = (sail__part){.messages = m, .n_messages = item->n_messages};
    for (int j = 0; j < item->k; j++)
        responses[j] = (sail__part){.text = item->response[j], .len = strlen(item->response[j])};
    sail_code code = sail__scorer_add(s, &prompt, responses, item->k, err);
    sail__free(m);
    return code;
}

/* Of vectors: a response's score is the mean probability that it wins over each of the others. lead: log-odds of the first of two. */
static sail_code compare(const state *s, const float *given, int k, double *scores, double *lead, sail_err *err)
{
    const int width = s->scorer->labels;
    for (int i = 0; i < k; i++)
        scores[i] = 0;
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) {
            double both[2 * SAIL_MAX_WIDTH], p;
            for (int d = 0; d < width; d++) {
                both[d] = given[i * width + d];
                both[width + d] = given[j * width + d];
            }
            if (i == j)
                continue;
            SAIL_TRY(sail__win_probability(&s->preference, both, &p, err));
            scores[i] += p / (k - 1);
            if (i == 0 && j == 1)
                *lead = log(p / (1 - p));
        }
    return SAIL_OK;
}

/* An outcome of the scores' probabilities: a function of the seed, of what stands before the responses, and of them, in this order. */
static sail_code draw(const state *s, const sail_judge_item *item, sail_verdict *v, sail_err *err)
{
    uint64_t h = sail__hash64(item->conversation, strlen(item->conversation), 0);
    for (int j = 0; j < item->k; j++)
        h = sail__hash64(item->response[j], strlen(item->response[j]), h + 1);
    return sail_preference_draw(&s->preference, item->k, v->score, sail_rng_uniform(s->seed, SAIL_RNG_VERDICT, h, 0, 0), &v->outcome, err);
}

/* Scores of items [first, end), whose trees wait. */
static sail_code score(const state *s, const sail_judge_item *items, int64_t first, int64_t end, sail_verdict *out, sail_err *err)
{
    const int width = s->scorer->labels;
    int64_t row = 0;
    float *scores = sail__malloc((size_t)(sail__scorer_responses(s->scorer) * width) * sizeof *scores + 1);
    if (!scores)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    double start = sail__now();
    sail_code code = sail__scorer_run(s->scorer, scores, err);
    double each = (sail__now() - start) / (double)(end - first);
    for (int64_t i = first; code == SAIL_OK && i < end; i++) {
        out[i] = sail__no_verdict();
        double lead = INFINITY;
        if (width > 1)
            code = compare(s, scores + row * width, items[i].k, out[i].score, &lead, err);
        for (int j = 0; j < items[i].k && width == 1; j++)
            out[i].score[j] = scores[row + j];
        row += items[i].k;
        out[i].seconds = each;
        out[i].outcome = sail__outcome_of_scores(out[i].score, items[i].k, width > 1 ? 0 : s->margin);
        if (items[i].k == 2 && fabs(lead) <= s->margin)
            out[i].outcome = SAIL_TIE;
        if (code == SAIL_OK && s->drawn && out[i].outcome != SAIL_ABSTAIN)
            code = draw(s, &items[i], &out[i], err);
    }
    sail__free(scores);
    return code;
}

static sail_code label(state *s, const sail_judge_item *items, int64_t n, sail_verdict *out, sail_err *err)
{
    int64_t first = 0;
    sail__scorer_forget(s->scorer); /* of a call that failed */
    for (int64_t i = 0; i < n; i++) {
        SAIL_TRY(add(s->scorer, &items[i], err));
        if (sail__scorer_tokens(s->scorer) >= s->max_tokens || i + 1 == n) {
            SAIL_TRY(score(s, items, first, i + 1, out, err));
            first = i + 1;
        }
    }
    return SAIL_OK;
}

sail_code sail__scorer_judge_label(const void *self, void *p, const sail_judge_item *items, int64_t n, sail_verdict *out, sail_err *err)
{
    state *s = p;
    return label(s, items, n, out, err) == SAIL_OK ? SAIL_OK : sail_fail_in(err, "judge %s", s->name);
}
