/* judge_reward.c - a reward model as judge, with its own tokenizer and form of prompts.
 *
 * Each prompt and its K responses are one tree: the prompt is computed once. The score is read at the last token. */
#include "judge_reward.h"

#include <math.h>
#include <string.h>

#include "calibration.h"
#include "judging.h"
#include "scoring.h"

struct reward {
    const char *path, *adapter, *tokenizer, *backend, *template_name, *preference;
    int dtype;
    int64_t threads, max_tokens;
    double margin;
};

#define T struct reward
static const char *const dtypes[] = {"f32", "bf16", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_STR(T, path, .flags = SAIL_OPT_REQUIRED | SAIL_OPT_PATH, .help = "directory of a model with a score head, or \"@STAGE\" of a stage `reward`"),
    SAIL_OPT_STR(T, adapter, .flags = SAIL_OPT_PATH, .help = "PEFT adapter on it that holds the head"),
    SAIL_OPT_STR(T, tokenizer, .flags = SAIL_OPT_PATH, .help = "tokenizer.json or its directory; unset: the model's own"),
    SAIL_OPT_STR(T, backend, .def_str = "cpu", .help = "where it runs"),
    SAIL_OPT_CHOICE(T, dtype, .def = SAIL__BF16, .choices = dtypes, .help = "of its weights"),
    SAIL_OPT_INT(T, threads, .min = 0, .max = 1024, .help = "0: one a core"),
    {.name = "template", .type = SAIL_OPT_TYPE_STR, .offset = offsetof(T, template_name), .help = "form that prompts are given in, a chat template by name; unset: the model's own"},
    SAIL_OPT_INT(T, max_tokens, .def = 4096, .min = 16, .max = 1e9, .unit = "tokens", .help = "scored in one pass"),
    SAIL_OPT_F64(T, margin, .min = 0, .max = 1e9, .help = "scores no further apart are a tie; of vectors, log-odds"),
    SAIL_OPT_STR(T, preference, .help = "of a head of vectors: the preference model that compares them; unset: the one it was fitted with"),
    {0},
};
#undef T

typedef struct state {
    sail__scorer *scorer;
    sail_preference_model vectors; /* ops NULL: one number is the score */
    sail_arena *arena;
} state;

static void close_reward(const void *self, void *p)
{
    state *s = p;
    if (!s)
        return;
    sail__scorer_close(s->scorer);
    sail__arena_free(s->arena);
    sail__free(s);
}

/* What compares vectors: a model of preferences that has the head's dimension. */
static sail_code vectors(const struct reward *o, sail_ctx *ctx, state *s, sail_err *err)
{
    static const char origin[] = "judge reward";
    const char *name = o->preference ? o->preference : s->scorer->preference;
    sail_problems problems = {.arena = s->arena};
    sail_slot slot;
    if (s->scorer->labels == 1)
        return SAIL_OK;
    if (!name)
        return sail_fail(err, SAIL_E_RECIPE, "%s gives %d numbers for a response, and does not say how they are compared: a judge needs one number, or "
                         "`preference: general` where the head was fitted with it", o->path, s->scorer->labels);
    sail_node *node = sail__node_new(s->arena, SAIL_NODE_MAP, origin, 0, 0), *n = sail__node_new(s->arena, SAIL_NODE_INT, origin, 0, 0);
    if (n)
        n->integer = s->scorer->labels;
    if (!node || !n || !sail__node_set(s->arena, node, "kind", sail__node_string(s->arena, name, origin)) ||
        (sail__name_equal(name, "general") && !sail__node_set(s->arena, node, "dimension", n)))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!sail__slot_parse(ctx, s->arena, SAIL_KIND_PREFERENCE, node, "judge.preference", NULL, NULL, &slot, &problems))
        return sail__problems_fail(&problems, SAIL_E_RECIPE, err);
    s->vectors = (sail_preference_model){slot.loaded->ops, slot.options, slot.loaded->plugin.name};
    return sail__scorer_compared_by(s->scorer, &s->vectors, err);
}

static sail_code backend_slot(const struct reward *o, sail_ctx *ctx, sail_arena *a, sail_slot *out, sail_err *err)
{
    static const char origin[] = "judge reward";
    sail_problems problems = {.arena = a};
    sail_node *node = sail__node_new(a, SAIL_NODE_MAP, origin, 0, 0), *threads = sail__node_new(a, SAIL_NODE_INT, origin, 0, 0);
    if (!node || !threads)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    threads->integer = o->threads;
    if (!sail__node_set(a, node, "kind", sail__node_string(a, o->backend, origin)) || (o->threads > 0 && !sail__node_set(a, node, "threads", threads)))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    return sail__slot_parse(ctx, a, SAIL_KIND_BACKEND, node, "judge.backend", NULL, NULL, out, &problems) ? SAIL_OK : sail__problems_fail(&problems, SAIL_E_RECIPE, err);
}

static sail_code open_reward(const void *self, sail_ctx *ctx, void **out, sail_err *err)
{
    const struct reward *o = self;
    state *s = sail__calloc(1, sizeof *s);
    sail_slot backend;
    if (!s)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    s->arena = sail__arena_new();
    sail_code code = s->arena ? backend_slot(o, ctx, s->arena, &backend, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK) {
        sail__scorer_spec spec = {.path = o->path, .adapter = o->adapter, .tokenizer = o->tokenizer, .template_name = o->template_name, .backend = &backend,
                                  .dtype = o->dtype};
        code = sail__scorer_open(ctx, &spec, &s->scorer, err);
    }
    if (code == SAIL_OK)
        code = vectors(o, ctx, s, err);
    if (code != SAIL_OK) {
        close_reward(self, s);
        return sail_fail_in(err, "judge reward");
    }
    *out = s;
    return SAIL_OK;
}

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
    return code == SAIL_OK ? code : sail_fail_in(err, "judge reward");
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
            SAIL_TRY(sail__win_probability(&s->vectors, both, &p, err));
            scores[i] += p / (k - 1);
            if (i == 0 && j == 1)
                *lead = log(p / (1 - p));
        }
    return SAIL_OK;
}

/* Scores of items [first, end), whose trees wait. */
static sail_code score(const state *s, const struct reward *o, const sail_judge_item *items, int64_t first, int64_t end, sail_verdict *out, sail_err *err)
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
        if (s->vectors.ops)
            code = compare(s, scores + row * width, items[i].k, out[i].score, &lead, err);
        for (int j = 0; j < items[i].k && !s->vectors.ops; j++)
            out[i].score[j] = scores[row + j];
        row += items[i].k;
        out[i].seconds = each;
        out[i].outcome = sail__outcome_of_scores(out[i].score, items[i].k, s->vectors.ops ? 0 : o->margin);
        if (items[i].k == 2 && fabs(lead) <= o->margin)
            out[i].outcome = SAIL_TIE;
    }
    sail__free(scores);
    return code;
}

static sail_code label(const void *self, void *p, const sail_judge_item *items, int64_t n, sail_verdict *out, sail_err *err)
{
    const struct reward *o = self;
    state *s = p;
    int64_t first = 0;
    sail__forest_reset(&s->scorer->forest); /* of a call that failed */
    for (int64_t i = 0; i < n; i++) {
        SAIL_TRY(add(s->scorer, &items[i], err));
        if (sail__scorer_tokens(s->scorer) >= o->max_tokens || i + 1 == n) {
            SAIL_TRY(score(s, o, items, first, i + 1, out, err));
            first = i + 1;
        }
    }
    return SAIL_OK;
}

static const sail_judge ops = {.size = sizeof ops, .open = open_reward, .close = close_reward, .label = label};

sail_code sail__judge_reward_install(sail_ctx *ctx, sail_err *err)
{
    static const sail_plugin p = {sizeof p, SAIL_ABI_MAJOR, SAIL_ABI_MINOR, SAIL_KIND_JUDGE, SAIL_CAP_PAIRS, "reward",
                                  "a model with a score head prefers what it scores higher", "", opts, (uint32_t)sizeof(sail_opt),
                                  (uint32_t)sizeof(struct reward), &ops};
    return sail__plugins_add(ctx, &p, "(built in)", err);
}
