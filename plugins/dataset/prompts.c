/* prompts.c - prompts without responses: prompt (a string or messages), or messages that end with the user, or ready
 * ids in prompt_ids. */
#include <string.h>

#include <sail/dataset.h>

struct prompts {
    const char *prompt;
};

static const sail_opt opts[] = {
    SAIL_OPT_STR(struct prompts, prompt, .def_str = "prompt",
                 .help = "field that holds the prompt; where it is absent, messages"),
    {0},
};

static sail_code read_row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    const struct prompts *o = self;
    const sail_json *ids = sail_json_get(record, "prompt_ids"), *prompt = sail_json_get(record, o->prompt),
                    *messages = sail_json_conversation(record);
    if (sail_json_kind_of(ids) != SAIL_JSON_ABSENT)
        return sail_row_id_list(row, SAIL_PART_PROMPT, ids, "prompt_ids", err);
    if (sail_json_kind_of(prompt) != SAIL_JSON_ABSENT || !messages)
        return sail_row_value(row, SAIL_PART_PROMPT, prompt, o->prompt, err);
    size_t n = sail_json_kind_of(messages) == SAIL_JSON_LIST ? sail_json_size(messages) : 0;
    const char *role = n ? sail_json_role(sail_json_at(messages, n - 1)) : NULL;
    if (role && strcmp(role, "user") != 0)
        sail_row_drop(row, "messages do not end with the user");
    return sail_row_conversation(row, SAIL_PART_PROMPT, record, SIZE_MAX, err);
}

static const sail_dataset ops = {.size = sizeof ops, .row = read_row};
SAIL_PLUGIN(SAIL_KIND_DATASET, prompts, "prompts: prompt, or messages that end with the user", "", struct prompts, opts, &ops, 0)
