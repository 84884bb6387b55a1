/* ranked.c - several responses to a prompt, with places or scores: prompt, responses[], and ranking[] or scores[].
 *
 * ranking[i] is the place of responses[i], the smallest is the best; scores[i] its score, the largest is the best. What is made of them,
 * pairs or a ranking, data.pairing says. Or ready token ids: prompt_ids, responses_ids. */
#include <sail/dataset.h>

struct ranked {
    const char *prompt, *responses, *ranking, *scores;
};

static const sail_opt opts[] = {
    SAIL_OPT_STR(struct ranked, prompt, .def_str = "prompt", .help = "field that holds the prompt"),
    SAIL_OPT_STR(struct ranked, responses, .def_str = "responses", .help = "field that holds the list of responses"),
    SAIL_OPT_STR(struct ranked, ranking, .def_str = "ranking",
                 .help = "field that holds the place of each, the smallest the best"),
    SAIL_OPT_STR(struct ranked, scores, .def_str = "scores", .help = "or its score, the largest the best"),
    {0},
};

static sail_code read_row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    const struct ranked *o = self;
    const sail_json *ids = sail_json_get(record, "prompt_ids"), *scores = sail_json_get(record, o->scores);
    const bool ready = sail_json_kind_of(ids) != SAIL_JSON_ABSENT, scored = sail_json_kind_of(scores) != SAIL_JSON_ABSENT;
    const char *field = ready ? "responses_ids" : o->responses;
    const sail_json *responses = sail_json_get(record, field), *worth = scored ? scores : sail_json_get(record, o->ranking);
    if (sail_json_kind_of(worth) == SAIL_JSON_ABSENT)
        return sail_fail(err, SAIL_E_PARSE, "'%s' or '%s' is missing: a list of numbers, one a response", o->ranking, o->scores);
    sail_code code = ready ? sail_row_id_list(row, SAIL_PART_PROMPT, ids, "prompt_ids", err)
                           : sail_row_value(row, SAIL_PART_PROMPT, sail_json_get(record, o->prompt), o->prompt, err);
    if (code == SAIL_OK && !ready && sail_json_kind_of(sail_json_at(responses, 0)) != SAIL_JSON_STRING)
        code = sail_row_prompt_message(row, err);
    return code == SAIL_OK ? sail_row_responses(row, responses, field, worth, scored ? o->scores : o->ranking, scored, err) : code;
}

static const sail_dataset ops = {.size = sizeof ops, .row = read_row};
SAIL_PLUGIN(SAIL_KIND_DATASET, ranked, "several responses with places or scores", "", struct ranked, opts, &ops, 0)
