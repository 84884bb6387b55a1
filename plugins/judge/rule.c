/* rule.c - a judge by a rule that can be read: lengths, or how often a pattern occurs.
 * Rules   : longer, shorter   the length in tokens, end token included
 *           target_length     the length nearer to `target` tokens
 *           more, fewer       matches of `pattern` (POSIX extended regular expression; newlines are ordinary
 * characters)
 *           weights           the sum of the weights of those patterns of `file` that occur; a line of it is a weight and a
 *                             pattern, # begins a comment
 * Equal measures are a tie among two responses; among more, the lower slot goes first. Scores are the
 * measures, signed so that larger is better. */
#include <errno.h>
#include <math.h>
#include <regex.h>
#include <sail/judge.h>
#include <sail/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGER, SHORTER, TARGET_LENGTH, MORE, FEWER, WEIGHTS };
struct rule {
    int rule;
    const char *pattern;
    bool ignore_case;
    double target;
    const char *file;
};

typedef struct weighted {
    double weight;
    regex_t re;
} weighted;
typedef struct patterns { /* one without a weight for `more` and `fewer` */
    weighted *items;
    size_t n;
} patterns;

static const char *const rules[] = {"longer", "shorter", "target_length", "more", "fewer", "weights", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_CHOICE(struct rule, rule, .choices = rules, .def = LONGER, .help = "what makes a response better"),
    SAIL_OPT_STR(struct rule, pattern, .help = "extended regular expression that `more` and `fewer` count"),
    SAIL_OPT_BOOL(struct rule, ignore_case, .def = 0, .help = "the pattern takes upper and lower case as the same"),
    SAIL_OPT_F64(struct rule, target, .def = 64, .min = 1, .max = 1e9, .flags = SAIL_OPT_SCHEDULABLE, .unit = "tokens",
                 .help = "length that `target_length` prefers"),
    SAIL_OPT_STR(struct rule, file, .flags = SAIL_OPT_PATH, .help = "weights and patterns of `weights`, one of each a line"),
    {0},
};

static void close_rule(const void *self, void *state)
{
    patterns *p = state;
    for (size_t i = 0; p && i < p->n; i++)
        regfree(&p->items[i].re);
    if (p)
        free(p->items);
    free(p);
}

/* where: of the pattern, for messages. */
static sail_code add(patterns *p, double weight, const char *pattern, bool ignore_case, const char *where, sail_err *err)
{
    weighted *items = realloc(p->items, (p->n + 1) * sizeof *items);
    if (!items)
        return sail_fail(err, SAIL_E_NOMEM, "judge rule: no memory");
    p->items = items;
    items[p->n].weight = weight;
    int code = regcomp(&items[p->n].re, pattern, REG_EXTENDED | (ignore_case ? REG_ICASE : 0));
    if (code) {
        char text[256];
        regerror(code, &items[p->n].re, text, sizeof text);
        return sail_fail(err, SAIL_E_OPTION, "%s: the pattern '%s' is no regular expression: %s", where, pattern, text);
    }
    p->n++;
    return SAIL_OK;
}

static sail_code read_weights(const struct rule *o, patterns *p, sail_err *err)
{
    char line[1024];
    int number = 0;
    sail_code code = SAIL_OK;
    FILE *f = o->file && *o->file ? fopen(o->file, "r") : NULL;
    if (!f)
        return o->file && *o->file ? sail_fail(err, SAIL_E_OPTION, "judge rule: cannot open %s: %s", o->file, strerror(errno))
                                   : sail_fail(err, SAIL_E_OPTION, "judge rule: `weights` needs a file of weights and patterns");
    while (code == SAIL_OK && fgets(line, sizeof line, f)) {
        size_t n = strcspn(line, "\r\n");
        number++;
        if (!line[n] && !feof(f)) {
            code = sail_fail(err, SAIL_E_FORMAT, "%s:%d: the line is longer than %zu bytes", o->file, number, sizeof line - 2);
            break;
        }
        line[n] = '\0';
        if (line[0] == '#' || line[strspn(line, " \t")] == '\0')
            continue;
        char *end;
        double weight = strtod(line, &end);
        size_t space = strspn(end, " \t");
        char where[1100];
        snprintf(where, sizeof where, "%s:%d", o->file, number);
        if (end == line || !isfinite(weight) || !space || !end[space])
            code = sail_fail(err, SAIL_E_FORMAT, "%s: a line must be a weight, a space and a pattern", where);
        else
            code = add(p, weight, end + space, o->ignore_case, where, err);
    }
    if (code == SAIL_OK && p->n == 0)
        code = sail_fail(err, SAIL_E_FORMAT, "%s has no weight", o->file);
    fclose(f);
    return code;
}

static sail_code open_rule(const void *self, sail_ctx *ctx, void **state, sail_err *err)
{
    const struct rule *o = self;
    *state = NULL;
    bool counts = o->rule == MORE || o->rule == FEWER;
    if (o->file && *o->file && o->rule != WEIGHTS)
        return sail_fail(err, SAIL_E_OPTION, "judge rule: `file` is for the rule `weights`, not for `%s`", rules[o->rule]);
    if (o->pattern && *o->pattern && !counts)
        return sail_fail(err, SAIL_E_OPTION, "judge rule: `pattern` is for the rules `more` and `fewer`, not for `%s`", rules[o->rule]);
    if (!counts && o->rule != WEIGHTS)
        return SAIL_OK;
    if (counts && (!o->pattern || !*o->pattern))
        return sail_fail(err, SAIL_E_OPTION, "judge rule: `%s` needs a pattern to count", rules[o->rule]);
    patterns *p = calloc(1, sizeof *p);
    if (!p)
        return sail_fail(err, SAIL_E_NOMEM, "judge rule: no memory");
    sail_code code = o->rule == WEIGHTS ? read_weights(o, p, err) : add(p, 1, o->pattern, o->ignore_case, "judge rule", err);
    if (code == SAIL_OK)
        *state = p;
    else
        close_rule(self, p);
    return code;
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

static double measure(const struct rule *o, const patterns *p, const sail_judge_item *item, int k)
{
    double tokens = (double)item->tokens[k];
    switch (o->rule) {
    case LONGER:
        return tokens;
    case SHORTER:
        return -tokens;
    case TARGET_LENGTH:
        return -fabs(tokens - o->target);
    case WEIGHTS: {
        double sum = 0;
        for (size_t i = 0; i < p->n; i++)
            sum += regexec(&p->items[i].re, item->response[k], 0, NULL, 0) == 0 ? p->items[i].weight : 0;
        return sum;
    }
    case MORE:
        return count(&p->items[0].re, item->response[k]);
    default:
        return -count(&p->items[0].re, item->response[k]);
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
SAIL_PLUGIN(SAIL_KIND_JUDGE, rule, "lengths, how often a pattern occurs, or weighted patterns", "", struct rule, opts, &ops,
            SAIL_CAP_PAIRS)
