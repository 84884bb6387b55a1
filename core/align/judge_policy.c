/* judge_policy.c - a policy as judge: it prefers the response with the larger implicit reward, beta times log pi/pi_0.
 * Source : the reward-policy equivalence, arXiv 2305.18290, eq. 5; arXiv 2406.15567, 4.
 *
 * The policy is a frozen one, with the reference that it was trained from: an earlier stage's, or a model and adapter on the disk. What the
 * policy that is being trained prefers itself is no judge but a route that it labels (labeller: policy), on its own tokens. */
#include <string.h>

#include "judges.h"

#include "judge_scorer.h"

struct policy {
    const char *path, *adapter, *reference, *tokenizer, *backend, *template_name, *system, *preference;
    double beta, margin;
    int dtype, labels;
    int64_t threads, max_tokens, seed;
};
enum { LARGER, DRAWN };

#define T struct policy
static const char *const dtypes[] = {"f32", "bf16", NULL}, *const labels[] = {"larger", "drawn", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_STR(T, path, .flags = SAIL_OPT_REQUIRED | SAIL_OPT_PATH,
                 .help = "frozen language model, or \"@STAGE\" of an earlier stage, with the reference that it was trained from. (What the policy in "
                         "training prefers itself is no judge but a route's labeller: policy, as in ddp and dpp)"),
    SAIL_OPT_STR(T, adapter, .flags = SAIL_OPT_PATH, .help = "PEFT adapter on it"),
    SAIL_OPT_STR(T, reference, .flags = SAIL_OPT_PATH, .help = "what implicit rewards are measured from: a model of the same shape, an adapter on the same "
                                                               "model, or \"@STAGE\"; unset: the model without its adapter, or what \"@STAGE\" began with"),
    SAIL_OPT_STR(T, tokenizer, .flags = SAIL_OPT_PATH, .help = "tokenizer.json or its directory; unset: the model's own"),
    SAIL_OPT_STR(T, backend, .def_str = "cpu", .help = "where it runs"),
    SAIL_OPT_CHOICE(T, dtype, .def = SAIL__BF16, .choices = dtypes, .help = "of its weights"),
    SAIL_OPT_INT(T, threads, .min = 0, .max = 1024, .help = "0: one a core"),
    {.name = "template", .type = SAIL_OPT_TYPE_STR, .offset = offsetof(T, template_name), .help = "form that messages are given in, a chat template by name; unset: the model's own"},
    SAIL_OPT_STR(T, system, .help = "system message; unset: the template's own"),
    SAIL_OPT_INT(T, max_tokens, .def = 4096, .min = 16, .max = 1e9, .unit = "tokens", .help = "scored in one pass"),
    SAIL_OPT_F64(T, beta, .def = 0.1, .min = 1e-6, .max = 1e3, .help = "of the implicit reward, 1/nat: as it was trained with"),
    SAIL_OPT_F64(T, margin, .min = 0, .max = 1e9, .unit = "nats", .help = "rewards no further apart are a tie, where the larger one is preferred"),
    SAIL_OPT_CHOICE(T, labels, .choices = labels, .help = "the larger reward is preferred, or the outcome is drawn from the preference model's probabilities"),
    SAIL_OPT_STR(T, preference, .def_str = "bradley_terry", .help = "preference model that outcomes are drawn from"),
    SAIL_OPT_INT(T, seed, .min = 0, .max = 9007199254740992, .help = "of outcomes drawn"),
    {0},
};
#undef T

static sail_code open_policy(const void *self, sail_ctx *ctx, void **out, sail_err *err)
{
    const struct policy *o = self;
    const sail__scorer_judge how = {.name = "policy",
                                    .spec = {.path = o->path, .adapter = o->adapter, .tokenizer = o->tokenizer, .template_name = o->template_name, .system = o->system,
                                             .dtype = o->dtype, .policy = true, .reference = o->reference, .beta = o->beta},
                                    .backend = o->backend, .threads = o->threads, .max_tokens = o->max_tokens, .margin = o->margin,
                                    .preference = o->preference, .drawn = o->labels == DRAWN, .seed = (uint64_t)o->seed};
    if (o->reference && !o->adapter && strcmp(o->path, o->reference) == 0)
        return sail_fail(err, SAIL_E_RECIPE, "judge policy: path and reference are both %s: every implicit reward would be 0; name the model that it was "
                         "trained from", o->path);
    return sail__scorer_judge_open(ctx, &how, out, err);
}

static const sail_judge ops = {.size = sizeof ops, .open = open_policy, .close = sail__scorer_judge_close, .label = sail__scorer_judge_label, .about = sail__scorer_judge_about};

sail_code sail__judge_policy_install(sail_ctx *ctx, sail_err *err)
{
    static const sail_plugin p = {sizeof p, SAIL_ABI_MAJOR, SAIL_ABI_MINOR, SAIL_KIND_JUDGE, SAIL_CAP_PAIRS, "policy",
                                  "a frozen policy prefers what has the larger implicit reward", "arXiv:2406.15567", opts, (uint32_t)sizeof(sail_opt),
                                  (uint32_t)sizeof(struct policy), &ops};
    return sail__plugins_add(ctx, &p, "(built in)", err);
}
