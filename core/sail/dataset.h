/* dataset.h - readers of data files: a parsed record becomes a row.
 *
 * Floor: io. A plugin of kind SAIL_KIND_DATASET whose ops point to a sail_dataset. The host opens, unpacks and parses
 * files (JSONL or a JSON array, plain, .gz, .zst or .xz), counts what is dropped and names file and line in every message; the
 * reader says what the fields mean. Threads: row may be called from several threads at once, with different rows.
 * Ownership: values live until row returns; what is put into the row is copied by the host. */
#ifndef SAIL_DATASET_H
#define SAIL_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the record ---- */
typedef struct sail_json sail_json; /* a JSON value; NULL stands for "not there" everywhere below */

typedef enum sail_json_kind {
    SAIL_JSON_ABSENT, /* NULL, or JSON's null */
    SAIL_JSON_BOOL,
    SAIL_JSON_NUMBER,
    SAIL_JSON_STRING,
    SAIL_JSON_LIST,
    SAIL_JSON_MAP,
} sail_json_kind;

sail_json_kind sail_json_kind_of(const sail_json *v);
const sail_json *sail_json_get(const sail_json *map, const char *key);  /* NULL: no map, or no such key */
const sail_json *sail_json_at(const sail_json *list, size_t i);         /* NULL: no list, or beyond its end */
size_t sail_json_size(const sail_json *v);                               /* of a list or map; else 0 */
const char *sail_json_string(const sail_json *v, size_t *len);           /* NULL: no string; may hold NULs */
double sail_json_number(const sail_json *v, double otherwise);           /* true is 1, false 0 */

/* ---- the row ---- */
typedef struct sail_row sail_row;

/* What a row is made of. A part is text, or messages, or token ids: one of the three. */
typedef enum sail_part {
    SAIL_PART_PROMPT,
    SAIL_PART_CHOSEN,     /* or the completion of an sft row */
    SAIL_PART_REJECTED,
    SAIL_PART_COUNT
} sail_part;

sail_code sail_row_text(sail_row *row, sail_part part, const char *text, size_t len, sail_err *err);
/* Text between two strings that end with NUL, such as the marks of a transcript's roles. Since ABI 1.1. */
sail_code sail_row_text_between(sail_row *row, sail_part part, const char *before, const char *text, size_t len,
                                const char *after, sail_err *err);
sail_code sail_row_message(sail_row *row, sail_part part, const char *role, const char *content, size_t len,
                           sail_err *err); /* appends; roles: system, user, assistant, tool */
void sail_row_scores(sail_row *row, double chosen, double rejected);
/* The row's one response is desirable, or is not. */
void sail_row_desirable(sail_row *row, bool desirable);
/* The part of a benchmark that the row belongs to (RewardBench's `subset`): accuracies are told for each. Since ABI 1.1. */
sail_code sail_row_subset(sail_row *row, const char *name, size_t len, sail_err *err);
/* A part from a value: a string, or a list of messages ({role, content}). `field` names it in messages. */
sail_code sail_row_value(sail_row *row, sail_part part, const sail_json *v, const char *field, sail_err *err);
/* A record's conversation: its `messages`, or `conversations` as ShareGPT writes them; NULL: neither. And who says a message of it,
 * in our words (user, assistant, system, tool); NULL: it does not say. */
const sail_json *sail_json_conversation(const sail_json *record);
const char *sail_json_role(const sail_json *message);
/* The first n messages of the record's conversation (SIZE_MAX: all), behind its `system` where it has one. */
sail_code sail_row_conversation(sail_row *row, sail_part part, const sail_json *record, size_t n, sail_err *err);
/* Ids from a list of numbers. */
sail_code sail_row_id_list(sail_row *row, sail_part part, const sail_json *v, const char *field, sail_err *err);
/* Chosen and rejected are whole conversations: the messages they begin with in common become the prompt, the rest stays.
 * Drops the row where there is no such beginning, or nothing behind it. */
sail_code sail_row_common_prompt(sail_row *row, sail_err *err);
/* A prompt of text becomes one message of the user, where responses are messages. */
sail_code sail_row_prompt_message(sail_row *row, sail_err *err);
/* A further row of the same record, with the prompt that `row` has now (a record that ranks several responses is several
 * pairs). It is the host's, like `row`; NULL where memory is lacking. */
sail_row *sail_row_another(sail_row *row, sail_err *err);
/* One of several responses to the row's prompt, called for each of them, in any order: put it in as SAIL_PART_CHOSEN of the row that
 * comes back, which is the host's. The larger `worth` the better; equal ones share a place. is_score: worth is a score of the data's,
 * kept as such; else only its order counts. The host makes pairs or a ranking of them, as the recipe says (data.pairing). NULL where
 * worth is not finite, there are too many, or memory is lacking: err says which. Since ABI 1.1. */
sail_row *sail_row_response(sail_row *row, double worth, bool is_score, sail_err *err);
/* The same of a list of responses (each as for sail_row_value, or a list of token ids) and a list of as many numbers: scores, the largest
 * the best, or places, the smallest the best. `field` and `worth_field` name them in messages. Since ABI 1.1. */
sail_code sail_row_responses(sail_row *row, const sail_json *responses, const char *field, const sail_json *worth, const char *worth_field,
                             bool scores, sail_err *err);
/* The row cannot be used: it is counted under `reason` (a short text, the same for all such rows) and left out. Return
 * SAIL_OK after it. What is wrong in form (a missing field, a wrong type) is an error instead: SAIL_E_PARSE. */
void sail_row_drop(sail_row *row, const char *reason);

typedef struct sail_dataset {
    uint32_t size;
    /* One record, always a map, into one row. Parts a row must have: a prompt; chosen and rejected of a preference pair, or in their
     * place responses by sail_row_response; chosen alone of an sft row, with sail_row_desirable of one that is labelled by itself; neither of a prompt. Empty responses are dropped by the host. */
    sail_code (*row)(const void *self, const sail_json *record, sail_row *row, sail_err *err);
} sail_dataset;

#ifdef __cplusplus
}
#endif
#endif
