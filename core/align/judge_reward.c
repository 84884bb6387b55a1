/* judge_reward.c - a reward model as judge, with its own tokenizer and form of prompts: see scoring.h. */
#include "judge_reward.h"

#include "judge_scorer.h"

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

static sail_code open_reward(const void *self, sail_ctx *ctx, void **out, sail_err *err)
{
    const struct reward *o = self;
    const sail__scorer_judge how = {.name = "reward",
                                    .spec = {.path = o->path, .adapter = o->adapter, .tokenizer = o->tokenizer, .template_name = o->template_name, .dtype = o->dtype},
                                    .backend = o->backend, .threads = o->threads, .max_tokens = o->max_tokens, .margin = o->margin,
                                    .preference = o->preference};
    return sail__scorer_judge_open(ctx, &how, out, err);
}

static const sail_judge ops = {.size = sizeof ops, .open = open_reward, .close = sail__scorer_judge_close, .label = sail__scorer_judge_label, .about = sail__scorer_judge_about};

sail_code sail__judge_reward_install(sail_ctx *ctx, sail_err *err)
{
    static const sail_plugin p = {sizeof p, SAIL_ABI_MAJOR, SAIL_ABI_MINOR, SAIL_KIND_JUDGE, SAIL_CAP_PAIRS, "reward",
                                  "a model with a score head prefers what it scores higher", "", opts, (uint32_t)sizeof(sail_opt),
                                  (uint32_t)sizeof(struct reward), &ops};
    return sail__plugins_add(ctx, &p, "(built in)", err);
}
