/* sft.c - demonstrations: messages (or ShareGPT's conversations, with system) of which the last is the assistant's and is trained
 * on, or prompt and completion, or ready ids in prompt_ids and completion_ids. */
#include <string.h>

#include <sail/dataset.h>

struct sft {
    const char *prompt, *completion;
};

static const sail_opt opts[] = {
    SAIL_OPT_STR(struct sft, prompt, .def_str = "prompt", .help = "field that holds the prompt; where it is absent, messages"),
    SAIL_OPT_STR(struct sft, completion, .def_str = "completion", .help = "field that holds the completion"),
    {0},
};

static sail_code from_messages(const sail_json *record, sail_row *row, sail_err *err)
{
    const sail_json *messages = sail_json_conversation(record);
    size_t n = sail_json_kind_of(messages) == SAIL_JSON_LIST ? sail_json_size(messages) : 0;
    const char *role = n ? sail_json_role(sail_json_at(messages, n - 1)) : NULL;
    sail_code code = sail_row_conversation(row, SAIL_PART_PROMPT, record, n > 1 ? n - 1 : SIZE_MAX, err);
    if (code != SAIL_OK)
        return code;
    if (n < 2 || !role || strcmp(role, "assistant") != 0) {
        sail_row_drop(row, "messages do not end with the assistant");
        return SAIL_OK;
    }
    return sail_row_value(row, SAIL_PART_CHOSEN, sail_json_at(messages, n - 1), "messages", err);
}

static sail_code read_row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    const struct sft *o = self;
    const sail_json *ids = sail_json_get(record, "prompt_ids"), *prompt = sail_json_get(record, o->prompt),
                    *completion = sail_json_get(record, o->completion);
    sail_code code;
    if (sail_json_kind_of(ids) != SAIL_JSON_ABSENT) {
        code = sail_row_id_list(row, SAIL_PART_PROMPT, ids, "prompt_ids", err);
        ids = sail_json_get(record, "completion_ids");
        return code == SAIL_OK ? sail_row_id_list(row, SAIL_PART_CHOSEN, ids, "completion_ids", err) : code;
    }
    if (sail_json_kind_of(prompt) == SAIL_JSON_ABSENT && sail_json_conversation(record))
        return from_messages(record, row, err);
    code = sail_row_value(row, SAIL_PART_PROMPT, prompt, o->prompt, err);
    if (code == SAIL_OK)
        code = sail_row_value(row, SAIL_PART_CHOSEN, completion, o->completion, err);
    if (code == SAIL_OK && sail_json_kind_of(completion) != SAIL_JSON_STRING)
        code = sail_row_prompt_message(row, err);
    return code;
}

static const sail_dataset ops = {.size = sizeof ops, .row = read_row};
SAIL_PLUGIN(SAIL_KIND_DATASET, sft, "demonstrations: messages, or prompt and completion", "", struct sft, opts, &ops, 0)
