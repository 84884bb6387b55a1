/* preference.c - preference pairs: prompt, chosen, rejected.
 *
 * Each is a string or a list of messages. The prompt may be left out where chosen and rejected are whole conversations:
 * what they have in common at their beginning is the prompt then. It may be messages or ShareGPT's conversations, too. Or
 * ready token ids: prompt_ids, chosen_ids, rejected_ids. score_chosen, score_rejected and subset (of a benchmark, as RewardBench
 * has it) are kept. */
#include <math.h>
#include <string.h>

#include <sail/dataset.h>

struct preference {
    const char *prompt, *chosen, *rejected;
};

static const sail_opt opts[] = {
    SAIL_OPT_STR(struct preference, prompt, .def_str = "prompt", .help = "field that holds the prompt"),
    SAIL_OPT_STR(struct preference, chosen, .def_str = "chosen", .help = "field that holds the chosen response"),
    SAIL_OPT_STR(struct preference, rejected, .def_str = "rejected", .help = "field that holds the rejected response"),
    {0},
};

static sail_code ready_ids(const sail_json *record, sail_row *row, sail_err *err)
{
    sail_code code = sail_row_id_list(row, SAIL_PART_PROMPT, sail_json_get(record, "prompt_ids"), "prompt_ids", err);
    if (code == SAIL_OK)
        code = sail_row_id_list(row, SAIL_PART_CHOSEN, sail_json_get(record, "chosen_ids"), "chosen_ids", err);
    if (code == SAIL_OK)
        code = sail_row_id_list(row, SAIL_PART_REJECTED, sail_json_get(record, "rejected_ids"), "rejected_ids", err);
    return code;
}

/* Does the list begin with someone else than the assistant: is it a whole conversation? */
static int conversation(const sail_json *v)
{
    const char *role = sail_json_role(sail_json_at(v, 0));
    return role && strcmp(role, "assistant") != 0;
}

static int has(const sail_json *record, const char *field)
{
    return sail_json_kind_of(sail_json_get(record, field)) != SAIL_JSON_ABSENT;
}

/* A record that another reader takes. */
static const char *reader_of(const sail_json *record)
{
    return has(record, "responses")                               ? "ranked"
           : has(record, "completion") && has(record, "label")    ? "unpaired"
           : has(record, "completion") || has(record, "messages") ? "sft"
                                                                  : NULL;
}

static sail_code read_row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    const struct preference *o = self;
    sail_row_scores(row, sail_json_number(sail_json_get(record, "score_chosen"), NAN),
                    sail_json_number(sail_json_get(record, "score_rejected"), NAN));
    size_t len;
    const char *subset = sail_json_string(sail_json_get(record, "subset"), &len);
    if (subset && sail_row_subset(row, subset, len, err) != SAIL_OK)
        return SAIL_E_NOMEM;
    if (sail_json_kind_of(sail_json_get(record, "prompt_ids")) != SAIL_JSON_ABSENT)
        return ready_ids(record, row, err);
    const sail_json *prompt = sail_json_get(record, o->prompt), *chosen = sail_json_get(record, o->chosen),
                    *rejected = sail_json_get(record, o->rejected);
    if (!has(record, o->chosen) && !has(record, o->rejected) && reader_of(record))
        return sail_fail(err, SAIL_E_PARSE, "'%s' is missing; the reader `%s` takes records like this one", o->chosen,
                         reader_of(record));
    sail_code code = sail_row_value(row, SAIL_PART_CHOSEN, chosen, o->chosen, err);
    if (code == SAIL_OK)
        code = sail_row_value(row, SAIL_PART_REJECTED, rejected, o->rejected, err);
    if (code != SAIL_OK)
        return code;
    int messages = sail_json_kind_of(chosen) != SAIL_JSON_STRING && sail_json_kind_of(rejected) != SAIL_JSON_STRING;
    if (messages && conversation(chosen) && conversation(rejected))
        return sail_row_common_prompt(row, err);
    if (sail_json_kind_of(prompt) == SAIL_JSON_ABSENT && sail_json_conversation(record))
        return sail_row_conversation(row, SAIL_PART_PROMPT, record, SIZE_MAX, err);
    code = sail_row_value(row, SAIL_PART_PROMPT, prompt, o->prompt, err);
    return code == SAIL_OK && messages ? sail_row_prompt_message(row, err) : code;
}

static const sail_dataset ops = {.size = sizeof ops, .row = read_row};
SAIL_PLUGIN(SAIL_KIND_DATASET, preference, "preference pairs: prompt, chosen, rejected", "", struct preference, opts, &ops, 0)
