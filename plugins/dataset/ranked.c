/* ranked.c - several responses to a prompt, with places or scores: prompt, responses[], and ranking[] or scores[].
 *
 * ranking[i] is the place of responses[i], the smallest is the best; scores[i] its score, the largest is the best. Responses that
 * share a place make no pair. A record becomes one pair or several. */
#include <math.h>

#include <sail/dataset.h>

enum pairs { BEST_WORST, NEIGHBOURS, ALL };
static const char *const pair_names[] = {"best_worst", "neighbours", "all", NULL};
struct ranked {
    const char *prompt, *responses, *ranking, *scores;
    int pairs;
};

static const sail_opt opts[] = {
    SAIL_OPT_STR(struct ranked, prompt, .def_str = "prompt", .help = "field that holds the prompt"),
    SAIL_OPT_STR(struct ranked, responses, .def_str = "responses", .help = "field that holds the list of responses"),
    SAIL_OPT_STR(struct ranked, ranking, .def_str = "ranking",
                 .help = "field that holds the place of each, the smallest the best"),
    SAIL_OPT_STR(struct ranked, scores, .def_str = "scores", .help = "or its score, the largest the best"),
    SAIL_OPT_CHOICE(struct ranked, pairs, .choices = pair_names,
                    .help = "the best against the worst; each against the next; or all"),
    {0},
};

enum { MOST = 64 };
typedef struct list {
    const sail_json *responses;
    double value[MOST]; /* larger is better */
    int order[MOST];    /* best first */
    int n, scored;      /* scored: value is a score */
} list;

static sail_code read_values(const struct ranked *o, const sail_json *record, list *l, sail_err *err)
{
    const sail_json *scores = sail_json_get(record, o->scores), *ranking = sail_json_get(record, o->ranking);
    l->scored = sail_json_kind_of(scores) == SAIL_JSON_LIST;
    const sail_json *v = l->scored ? scores : ranking;
    const char *name = l->scored ? o->scores : o->ranking;
    if (sail_json_kind_of(v) != SAIL_JSON_LIST)
        return sail_fail(err, SAIL_E_PARSE, "'%s' or '%s' must be a list of numbers, one a response", o->ranking, o->scores);
    if (sail_json_size(v) != (size_t)l->n)
        return sail_fail(err, SAIL_E_PARSE, "'%s' has %zu numbers for %d responses", name, sail_json_size(v), l->n);
    for (int i = 0; i < l->n; i++) {
        double x = sail_json_number(sail_json_at(v, (size_t)i), NAN);
        if (!isfinite(x))
            return sail_fail(err, SAIL_E_PARSE, "'%s': item %d must be a number", name, i + 1);
        l->value[i] = l->scored ? x : -x;
        int at = i;
        for (; at > 0 && l->value[l->order[at - 1]] < l->value[i]; at--)
            l->order[at] = l->order[at - 1];
        l->order[at] = i;
    }
    return SAIL_OK;
}

static sail_code pair(const struct ranked *o, const list *l, int better, int worse, sail_row *row, sail_err *err)
{
    sail_code code = sail_row_value(row, SAIL_PART_CHOSEN, sail_json_at(l->responses, (size_t)better), o->responses, err);
    if (code == SAIL_OK)
        code = sail_row_value(row, SAIL_PART_REJECTED, sail_json_at(l->responses, (size_t)worse), o->responses, err);
    if (l->scored)
        sail_row_scores(row, l->value[better], l->value[worse]);
    return code;
}

static sail_code read_row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    const struct ranked *o = self;
    list l = {.responses = sail_json_get(record, o->responses)};
    size_t n = sail_json_size(l.responses);
    if (sail_json_kind_of(l.responses) != SAIL_JSON_LIST || n < 2 || n > MOST)
        return sail_fail(err, SAIL_E_PARSE, "'%s' must be a list of 2 to %d responses", o->responses, MOST);
    l.n = (int)n;
    sail_code code = read_values(o, record, &l, err);
    if (code == SAIL_OK)
        code = sail_row_value(row, SAIL_PART_PROMPT, sail_json_get(record, o->prompt), o->prompt, err);
    if (code == SAIL_OK && sail_json_kind_of(sail_json_at(l.responses, 0)) != SAIL_JSON_STRING)
        code = sail_row_prompt_message(row, err);
    int used = 0;
    for (int i = 0; i < l.n && code == SAIL_OK; i++)
        for (int j = i + 1; j < l.n && code == SAIL_OK; j++) {
            int better = l.order[i], worse = l.order[j];
            if (l.value[better] == l.value[worse] || (o->pairs == BEST_WORST && (i > 0 || j < l.n - 1)) ||
                (o->pairs == NEIGHBOURS && j > i + 1))
                continue;
            sail_row *to = used++ ? sail_row_another(row, err) : row;
            code = to ? pair(o, &l, better, worse, to, err) : err->code;
        }
    if (code == SAIL_OK && !used)
        sail_row_drop(row, "all responses have the same place");
    return code;
}

static const sail_dataset ops = {.size = sizeof ops, .row = read_row};
SAIL_PLUGIN(SAIL_KIND_DATASET, ranked, "several responses with places or scores", "", struct ranked, opts, &ops, 0)
