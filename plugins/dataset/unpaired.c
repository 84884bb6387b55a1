/* unpaired.c - single responses, each desirable or not: prompt, completion, label (KTO).
 *
 * Prompt and completion are strings or lists of messages; the label is true or false, or 1 or 0. Or ready token ids: prompt_ids and
 * completion_ids. */
#include <math.h>

#include <sail/dataset.h>

struct unpaired {
    const char *prompt, *completion, *label;
};

static const sail_opt opts[] = {
    SAIL_OPT_STR(struct unpaired, prompt, .def_str = "prompt", .help = "field that holds the prompt"),
    SAIL_OPT_STR(struct unpaired, completion, .def_str = "completion", .help = "field that holds the response"),
    SAIL_OPT_STR(struct unpaired, label, .def_str = "label", .help = "field that says whether the response is desirable"),
    {0},
};

static sail_code label(const struct unpaired *o, const sail_json *record, sail_row *row, sail_err *err)
{
    const sail_json *v = sail_json_get(record, o->label);
    const double x = sail_json_number(v, NAN);
    if (x != 0 && x != 1)
        return sail_fail(err, SAIL_E_PARSE, "'%s' %s true or false (or 1 or 0): whether the response is desirable", o->label,
                         sail_json_kind_of(v) == SAIL_JSON_ABSENT ? "is missing: it must be" : "must be");
    sail_row_desirable(row, x == 1);
    return SAIL_OK;
}

static sail_code read_row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    const struct unpaired *o = self;
    const sail_json *ids = sail_json_get(record, "prompt_ids"), *completion = sail_json_get(record, o->completion);
    sail_code code = label(o, record, row, err);
    if (code != SAIL_OK)
        return code;
    if (sail_json_kind_of(ids) != SAIL_JSON_ABSENT) {
        code = sail_row_id_list(row, SAIL_PART_PROMPT, ids, "prompt_ids", err);
        ids = sail_json_get(record, "completion_ids");
        return code == SAIL_OK ? sail_row_id_list(row, SAIL_PART_CHOSEN, ids, "completion_ids", err) : code;
    }
    code = sail_row_value(row, SAIL_PART_PROMPT, sail_json_get(record, o->prompt), o->prompt, err);
    if (code == SAIL_OK)
        code = sail_row_value(row, SAIL_PART_CHOSEN, completion, o->completion, err);
    if (code == SAIL_OK && sail_json_kind_of(completion) != SAIL_JSON_STRING)
        code = sail_row_prompt_message(row, err);
    return code;
}

static const sail_dataset ops = {.size = sizeof ops, .row = read_row};
SAIL_PLUGIN(SAIL_KIND_DATASET, unpaired, "single responses with a label: prompt, completion, label", "", struct unpaired, opts, &ops, 0)
