/* rule.c - a judge by a rule that can be read: lengths, or how often a pattern occurs.
 * Rules   : longer, shorter   the length in tokens, end token included
 *           target_length     the length nearer to `target` tokens
 *           more, fewer       matches of `pattern` (POSIX extended regular expression; newlines are ordinary
 * characters) Equal measures are a tie among two responses; among more, the lower slot goes first. Scores are the
 * measures, signed so that larger is better. */
#include <math.h>
#include <regex.h>
#include <sail/judge.h>
#include <sail/plugin.h>
#include <stdlib.h>

enum { LONGER, SHORTER, TARGET_LENGTH, MORE, FEWER };
struct rule {
    int rule;
    const char *pattern;
    bool ignore_case;
    double target;
};

static const char *const rules[] = {"longer", "shorter", "target_length", "more", "fewer", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_CHOICE(struct rule, rule, .choices = rules, .def = LONGER, .help = "what makes a response better"),
    SAIL_OPT_STR(struct rule, pattern, .help = "extended regular expression that `more` and `fewer` count"),
    SAIL_OPT_BOOL(struct rule, ignore_case, .def = 0, .help = "the pattern takes upper and lower case as the same"),
    SAIL_OPT_F64(struct rule, target, .def = 64, .min = 1, .max = 1e9, .flags = SAIL_OPT_SCHEDULABLE, .unit = "tokens",
                 .help = "length that `target_length` prefers"),
    {0},
};

static sail_code open_rule(const void *self, sail_ctx *ctx, void **state, sail_err *err)
{
    const struct rule *o = self;
    *state = NULL;
    if (o->rule != MORE && o->rule != FEWER)
        return SAIL_OK;
    if (!o->pattern || !*o->pattern)
        return sail_fail(err, SAIL_E_OPTION, "judge rule: `%s` needs a pattern to count", rules[o->rule]);
    regex_t *re = malloc(sizeof *re);
    if (!re)
        return sail_fail(err, SAIL_E_NOMEM, "judge rule: no memory");
    int code = regcomp(re, o->pattern, REG_EXTENDED | (o->ignore_case ? REG_ICASE : 0));
    if (code) {
        char text[256];
        regerror(code, re, text, sizeof text);
        free(re);
        return sail_fail(err, SAIL_E_OPTION, "judge rule: the pattern '%s' is no regular expression: %s", o->pattern,
                         text);
    }
    *state = re;
    return SAIL_OK;
}

static void close_rule(const void *self, void *state)
{
    if (state)
        regfree(state);
    free(state);
}

static double count(const regex_t *re, const char *text)
{
    double n = 0;
    regmatch_t m;
    for (int flags = 0; *text && regexec(re, text, 1, &m, flags) == 0; flags = REG_NOTBOL) {
        n += m.rm_eo > m.rm_so; /* an empty match is none */
        text += m.rm_eo > 0 ? m.rm_eo : 1;
    }
    return n;
}

static double measure(const struct rule *o, const regex_t *re, const sail_judge_item *item, int k)
{
    double tokens = (double)item->tokens[k];
    switch (o->rule) {
    case LONGER:
        return tokens;
    case SHORTER:
        return -tokens;
    case TARGET_LENGTH:
        return -fabs(tokens - o->target);
    case MORE:
        return count(re, item->response[k]);
    default:
        return -count(re, item->response[k]);
    }
}

static sail_code label(const void *self, void *state, const sail_judge_item *items, int64_t n, sail_verdict *out,
                       sail_err *err)
{
    for (int64_t i = 0; i < n; i++) {
        int k = items[i].k, order[SAIL_MAX_RESPONSES];
        for (int j = 0; j < k; j++) {
            int at = j;
            out[i].score[j] = measure(self, state, &items[i], j);
            for (; at > 0 && out[i].score[order[at - 1]] < out[i].score[j]; at--)
                order[at] = order[at - 1];
            order[at] = j;
        }
        bool tie = k == 2 && out[i].score[0] == out[i].score[1];
        out[i].outcome = tie ? SAIL_TIE : sail_outcome_of_ranking(order, k, k);
        out[i].seconds = 0;
    }
    return SAIL_OK;
}

static const sail_judge ops = {.size = sizeof ops, .open = open_rule, .close = close_rule, .label = label};
SAIL_PLUGIN(SAIL_KIND_JUDGE, rule, "lengths, or how often a pattern occurs", "", struct rule, opts, &ops,
            SAIL_CAP_PAIRS)
