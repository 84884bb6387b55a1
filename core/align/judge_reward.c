/* judge_reward.c - a reward model as judge, with its own tokenizer and chat template.
 *
 * Each conversation and its K responses are one tree: what their renderings share is computed once. The score is read at the
 * last token. */
#include "judge_reward.h"

#include <math.h>
#include <string.h>

#include "session.h"

struct reward {
    const char *path, *backend, *template_name;
    int dtype;
    int64_t threads, max_tokens;
    double margin;
};

#define T struct reward
static const char *const dtypes[] = {"f32", "bf16", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_STR(T, path, .flags = SAIL_OPT_REQUIRED | SAIL_OPT_PATH, .help = "directory of a …ForSequenceClassification model"),
    SAIL_OPT_STR(T, backend, .def_str = "cpu", .help = "where it runs"),
    SAIL_OPT_CHOICE(T, dtype, .def = SAIL__BF16, .choices = dtypes, .help = "of its weights"),
    SAIL_OPT_INT(T, threads, .min = 0, .max = 1024, .help = "0: one a core"),
    {.name = "template", .type = SAIL_OPT_TYPE_STR, .offset = offsetof(T, template_name), .help = "chat template by name; unset: the model's own"},
    SAIL_OPT_INT(T, max_tokens, .def = 4096, .min = 16, .max = 1e9, .unit = "tokens", .help = "scored in one pass"),
    SAIL_OPT_F64(T, margin, .min = 0, .max = 1e9, .help = "scores no further apart are a tie"),
    {0},
};
#undef T

typedef struct state {
    sail__session *session;
    sail__token_scratch *scratch;
    sail__forest forest;
} state;

static void close_reward(const void *self, void *p)
{
    state *s = p;
    if (!s)
        return;
    sail__forest_free(&s->forest);
    sail__token_scratch_free(s->scratch);
    sail__session_close(s->session);
    sail__free(s);
}

static sail_code open_session(const struct reward *o, sail_ctx *ctx, state *s, sail_err *err)
{
    sail__model_section m = {.path = o->path, .dtype = o->dtype, .template_name = o->template_name};
    sail_arena *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_problems problems = {.arena = a};
    sail_slot backend;
    sail_node *node = sail__node_new(a, SAIL_NODE_MAP, "judge reward", 0, 0), *threads = sail__node_new(a, SAIL_NODE_INT, "judge reward", 0, 0);
    sail_code code = node && threads ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK) {
        sail__node_set(a, node, "kind", sail__node_string(a, o->backend, "judge reward"));
        threads->integer = o->threads;
        if (o->threads > 0)
            sail__node_set(a, node, "threads", threads);
        if (!sail__slot_parse(ctx, a, SAIL_KIND_BACKEND, node, "judge.backend", NULL, NULL, &backend, &problems))
            code = sail__problems_fail(&problems, SAIL_E_RECIPE, err);
    }
    if (code == SAIL_OK) {
        sail__session_spec spec = {.model = &m, .backend = &backend, .need_tokenizer = true};
        code = sail__session_open(ctx, &spec, &s->session, err);
    }
    if (code == SAIL_OK && s->session->config->labels < 1)
        code = sail_fail(err, SAIL_E_RECIPE, "%s is a language model without a score head: a …ForSequenceClassification model is needed", o->path);
    sail__arena_free(a);
    return code;
}

static sail_code open_reward(const void *self, sail_ctx *ctx, void **out, sail_err *err)
{
    state *s = sail__calloc(1, sizeof *s);
    if (!s)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_code code = open_session(self, ctx, s, err);
    if (code == SAIL_OK) {
        s->scratch = sail__token_scratch_new(s->session->tokenizer);
        code = s->scratch ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    if (code != SAIL_OK) {
        close_reward(self, s);
        return sail_fail_in(err, "judge reward");
    }
    *out = s;
    return SAIL_OK;
}

/* A conversation with one response, as the reward model reads it. */
static sail_code encode(state *s, const sail_judge_item *item, int k, sail__ids *out, sail_err *err)
{
    sail__message *m = sail__calloc(item->n_messages + 1, sizeof *m);
    sail_buf text = {0};
    sail__spans plain = {0};
    if (!m)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < item->n_messages; i++)
        m[i] = (sail__message){item->messages[i].role, item->messages[i].content, strlen(item->messages[i].content)};
    m[item->n_messages] = (sail__message){"assistant", item->response[k], strlen(item->response[k])};
    sail_code code = sail__template_render(s->session->chat, m, item->n_messages + 1, false, &text, &plain, err);
    if (code == SAIL_OK)
        code = sail__encode_spans(s->session->tokenizer, s->scratch, text.data ? text.data : "", text.len, SAIL__PARSE_SPECIAL, plain.items,
                                  plain.n, out, err);
    if (code == SAIL_OK && out->n == 0)
        code = sail_fail(err, SAIL_E_ARG, "judge reward: an empty conversation");
    sail__buf_free(&text);
    sail__free(plain.items);
    sail__free(m);
    return code;
}

/* One tree: the common beginning, then each rest. Every rest keeps at least one token, to be read at its end. */
static sail_code add_tree(state *s, const sail__ids *ids, int k, sail_err *err)
{
    size_t common = ids[0].n;
    for (int j = 0; j < k; j++) {
        size_t c = 0;
        while (c < common && c < ids[j].n && ids[j].items[c] == ids[0].items[c])
            c++;
        common = c < common ? c : common;
        if (common >= ids[j].n)
            common = ids[j].n - 1;
    }
    int parent = -1;
    if (common > 0)
        SAIL_TRY(sail__forest_add(&s->forest, -1, ids[0].items, (int64_t)common, SAIL__HEAD_NONE, 0, &parent, err));
    for (int j = 0; j < k; j++)
        SAIL_TRY(sail__forest_add(&s->forest, parent, ids[j].items + common, (int64_t)(ids[j].n - common), SAIL__HEAD_LAST, 0, NULL, err));
    return SAIL_OK;
}

static void outcome(const struct reward *o, int k, sail_verdict *v)
{
    int order[SAIL_MAX_RESPONSES];
    for (int j = 0; j < k; j++) {
        int at = j;
        for (; at > 0 && v->score[order[at - 1]] < v->score[j]; at--)
            order[at] = order[at - 1];
        order[at] = j;
    }
    bool finite = true;
    for (int j = 0; j < k; j++)
        finite = finite && isfinite(v->score[j]);
    v->outcome = !finite                                                     ? SAIL_ABSTAIN
                 : k == 2 && fabs(v->score[0] - v->score[1]) <= o->margin ? SAIL_TIE
                                                                             : sail_outcome_of_ranking(order, k, k);
}

/* Scores of items [first, end), whose trees are in the forest. */
static sail_code score(state *s, const struct reward *o, const sail_judge_item *items, int64_t first, int64_t end, sail_verdict *out, sail_err *err)
{
    int64_t labels = s->session->config->labels, row = 0;
    float *scores = sail__malloc((size_t)(s->forest.n_rows * labels) * sizeof *scores + 1);
    if (!scores)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    double start = sail__now();
    sail_code code = sail__model_scores(s->session->model, &s->forest, false, scores, err);
    double each = (sail__now() - start) / (double)(end - first);
    for (int64_t i = first; code == SAIL_OK && i < end; i++) {
        for (int j = 0; j < SAIL_MAX_RESPONSES; j++)
            out[i].score[j] = NAN;
        for (int j = 0; j < items[i].k; j++)
            out[i].score[j] = scores[labels * row++];
        out[i].seconds = each;
        outcome(o, items[i].k, &out[i]);
    }
    sail__free(scores);
    sail__forest_reset(&s->forest);
    return code;
}

static sail_code label(const void *self, void *p, const sail_judge_item *items, int64_t n, sail_verdict *out, sail_err *err)
{
    const struct reward *o = self;
    state *s = p;
    int64_t first = 0;
    sail__forest_reset(&s->forest);
    for (int64_t i = 0; i < n; i++) {
        sail__ids ids[SAIL_MAX_RESPONSES] = {{0}};
        sail_code code = SAIL_OK;
        for (int j = 0; j < items[i].k && code == SAIL_OK; j++)
            code = encode(s, &items[i], j, &ids[j], err);
        if (code == SAIL_OK)
            code = add_tree(s, ids, items[i].k, err);
        for (int j = 0; j < items[i].k; j++)
            sail__ids_free(&ids[j]);
        SAIL_TRY(code);
        if (s->forest.n_tokens >= o->max_tokens || i + 1 == n) {
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
