/* judge_prompt.h - what a language model is asked as a judge, and what its reply says.
 *
 * Floor: align. Pure functions. A template is text with placeholders: {conversation} or {prompt} (the last user turn),
 * {response_1} and {response_2} (a pair, the reply has [[score1, score2]]) or {response} (one response is rated, the reply has
 * "Overall Score: n"), {lowest} and {highest} (the bounds of a score). A line of nothing but === parts the system message, before
 * it, from the user's. */
#ifndef SAIL_JUDGE_PROMPT_H
#define SAIL_JUDGE_PROMPT_H

#include "../base/base.h"
#include "../sail/judge.h"

extern const char *const sail__judge_prompt_names[]; /* of the built-in ones; NULL-terminated */

typedef struct sail__judge_prompt {
    const char *name; /* or the file's path */
    const char *system; /* NULL: none */
    const char *user;
    bool pair;
    double lowest, highest;
    char hash[33]; /* of all of it */
} sail__judge_prompt;

/* A built-in one by its index, or a file's (path not NULL). The text lives in the arena. */
sail_code sail__judge_prompt_open(sail_arena *a, int builtin, const char *path, double lowest, double highest, sail__judge_prompt *out,
                                  sail_err *err);

/* Append `text` (system or user) with an item's texts in it. Responses: the first and second shown, or the one rated and NULL. What is
 * put in is not looked at again. */
void sail__judge_prompt_fill(const sail__judge_prompt *p, const char *text, const sail_judge_item *item, const char *first,
                             const char *second, sail_buf *out);

/* The scores of a reply: two of a pair, one of a rating. False where it does not say them plainly, once, within the bounds: *why tells. */
bool sail__judge_prompt_read(const sail__judge_prompt *p, const char *reply, double score[2], const char **why);

#endif
