/* data_record.c - records and rows as plain values: what a reader in Lua is given, and what it gives back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data_impl.h"

sail_code sail__record_to_node(const sail_json *v, sail_arena *a, sail_node **out, sail_err *err)
{
    char *text = json_dumps((const json_t *)v, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_code code = sail__json_parse(a, text, strlen(text), "record", 0, out, err);
    free(text); /* jansson's */
    return code;
}

static const char *const members[] = {"prompt",     "messages",   "chosen",       "rejected",     "completion",     "label",
                                      "prompt_ids", "chosen_ids", "rejected_ids", "score_chosen", "score_rejected", "drop",
                                      "responses",  "scores",     "ranking"};

static sail_code check_members(const json_t *v, sail_err *err)
{
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)v, key, item)
    {
        if (sail__among(key, members, sizeof members / sizeof *members))
            continue;
        const char *near = sail__nearest(key, members, sizeof members / sizeof *members);
        return sail_fail(
            err, SAIL_E_PARSE,
            "a row has no member '%.60s'%s%s%s; it has prompt or messages, and chosen and rejected, completion with label, or "
            "responses with scores or ranking", key,
            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return SAIL_OK;
}

static sail_code fill(sail_row *row, const json_t *v, sail_err *err)
{
    const sail_json *r = (const sail_json *)v, *label = sail_json_get(r, "label");
    const char *drop = sail_json_string(sail_json_get(r, "drop"), NULL);
    static const struct {
        const char *name, *ids;
        sail_part part;
    } parts[] = {{"prompt", "prompt_ids", SAIL_PART_PROMPT},
                 {"messages", NULL, SAIL_PART_PROMPT},
                 {"chosen", "chosen_ids", SAIL_PART_CHOSEN},
                 {"completion", NULL, SAIL_PART_CHOSEN},
                 {"rejected", "rejected_ids", SAIL_PART_REJECTED}};
    if (drop) {
        sail_row_drop(row, *drop ? drop : "left out by the reader");
        return SAIL_OK;
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (sail_json_kind_of(sail_json_get(r, parts[i].name)) != SAIL_JSON_ABSENT)
            SAIL_TRY(sail_row_value(row, parts[i].part, sail_json_get(r, parts[i].name), parts[i].name, err));
        if (parts[i].ids && sail_json_kind_of(sail_json_get(r, parts[i].ids)) != SAIL_JSON_ABSENT)
            SAIL_TRY(sail_row_id_list(row, parts[i].part, sail_json_get(r, parts[i].ids), parts[i].ids, err));
    }
    const sail_json *responses = sail_json_get(r, "responses"), *scores = sail_json_get(r, "scores");
    const bool scored = sail_json_kind_of(scores) != SAIL_JSON_ABSENT;
    if (sail_json_kind_of(responses) != SAIL_JSON_ABSENT)
        SAIL_TRY(sail_row_responses(row, responses, "responses", scored ? scores : sail_json_get(r, "ranking"), scored ? "scores" : "ranking", scored, err));
    if (row->responses ? row->responses->part[SAIL_PART_CHOSEN].messages : row->part[SAIL_PART_CHOSEN].messages)
        SAIL_TRY(sail_row_prompt_message(row, err));
    if (sail_json_kind_of(label) == SAIL_JSON_BOOL)
        sail_row_desirable(row, sail_json_number(label, 0) != 0);
    sail_row_scores(row, sail_json_number(sail_json_get(r, "score_chosen"), NAN),
                    sail_json_number(sail_json_get(r, "score_rejected"), NAN));
    return SAIL_OK;
}

sail_code sail__row_from_node(sail_row *row, const sail_node *n, sail_err *err)
{
    sail_buf text = {0};
    sail__node_to_json(&text, n);
    json_error_t e;
    bool lacked = text.oom;
    json_t *v = text.oom ? NULL : sail__json_load(text.data, text.len, JSON_ALLOW_NUL, &lacked, &e);
    sail__buf_free(&text);
    if (!v)
        return lacked ? sail_fail(err, SAIL_E_NOMEM, "out of memory")
                      : sail_fail(err, SAIL_E_PARSE, "a row cannot be used: %s", e.text);
    sail_code code = check_members(v, err);
    if (code == SAIL_OK)
        code = fill(row, v, err);
    json_decref(v);
    return code;
}
