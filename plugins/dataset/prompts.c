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
                    *messages = sail_json_get(record, "messages");
    if (sail_json_kind_of(ids) != SAIL_JSON_ABSENT)
        return sail_row_id_list(row, SAIL_PART_PROMPT, ids, "prompt_ids", err);
    if (sail_json_kind_of(prompt) != SAIL_JSON_ABSENT || sail_json_kind_of(messages) == SAIL_JSON_ABSENT)
        return sail_row_value(row, SAIL_PART_PROMPT, prompt, o->prompt, err);
    const sail_json *last = sail_json_at(messages, sail_json_size(messages) - 1);
    const char *role = sail_json_string(sail_json_get(last, "role"), NULL);
    if (role && strcmp(role, "user") != 0)
        sail_row_drop(row, "messages do not end with the user");
    return sail_row_value(row, SAIL_PART_PROMPT, messages, "messages", err);
}

static const sail_dataset ops = {.size = sizeof ops, .row = read_row};
SAIL_PLUGIN(SAIL_KIND_DATASET, prompts, "prompts: prompt, or messages that end with the user", "", struct prompts, opts,
            &ops, 0)
