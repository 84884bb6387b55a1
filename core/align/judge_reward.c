/* judge_reward.c - a reward model as judge, with its own tokenizer and form of prompts.
 *
 * Each prompt and its K responses are one tree: the prompt is computed once. The score is read at the last token. */
#include "judge_reward.h"

#include <math.h>
#include <string.h>

#include "scoring.h"

struct reward {
    const char *path, *adapter, *tokenizer, *backend, *template_name;
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
    SAIL_OPT_F64(T, margin, .min = 0, .max = 1e9, .help = "scores no further apart are a tie"),
    {0},
};
#undef T

static void close_reward(const void *self, void *p) { sail__scorer_close(p); }

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
    sail__scorer *s = NULL;
    sail_slot backend;
    sail_arena *a = sail__arena_new();
    sail_code code = a ? backend_slot(o, ctx, a, &backend, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK) {
        sail__scorer_spec spec = {.path = o->path, .adapter = o->adapter, .tokenizer = o->tokenizer, .template_name = o->template_name, .backend = &backend,
                                  .dtype = o->dtype};
        code = sail__scorer_open(ctx, &spec, &s, err);
    }
    sail__arena_free(a);
    if (code == SAIL_OK && s->labels != 1)
        code = sail_fail(err, SAIL_E_RECIPE, "%s gives %d numbers for a response: a judge needs one", o->path, s->labels);
    if (code != SAIL_OK) {
        sail__scorer_close(s);
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

/* Scores of items [first, end), whose trees wait. */
static sail_code score(sail__scorer *s, const struct reward *o, const sail_judge_item *items, int64_t first, int64_t end, sail_verdict *out, sail_err *err)
{
    int64_t row = 0;
    float *scores = sail__malloc((size_t)sail__scorer_responses(s) * sizeof *scores + 1);
    if (!scores)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    double start = sail__now();
    sail_code code = sail__scorer_run(s, scores, err);
    double each = (sail__now() - start) / (double)(end - first);
    for (int64_t i = first; code == SAIL_OK && i < end; i++) {
        for (int j = 0; j < SAIL_MAX_RESPONSES; j++)
            out[i].score[j] = NAN;
        for (int j = 0; j < items[i].k; j++)
            out[i].score[j] = scores[row++];
        out[i].seconds = each;
        outcome(o, items[i].k, &out[i]);
    }
    sail__free(scores);
    return code;
}

static sail_code label(const void *self, void *p, const sail_judge_item *items, int64_t n, sail_verdict *out, sail_err *err)
{
    const struct reward *o = self;
    int64_t first = 0;
    sail__forest_reset(&((sail__scorer *)p)->forest); /* of a call that failed */
    for (int64_t i = 0; i < n; i++) {
        SAIL_TRY(add(p, &items[i], err));
        if (sail__scorer_tokens(p) >= o->max_tokens || i + 1 == n) {
            SAIL_TRY(score(p, o, items, first, i + 1, out, err));
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
