/* summarize_from_feedback.c - openai/summarize_from_feedback, comparisons: info {post, title, subreddit} or {article}, two
 * summaries, and `choice`, the better of them. The prompt is text, as the authors have it; responses begin with a space.
 * Source: arXiv 2009.01325. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sail/dataset.h>

typedef struct text {
    char *data;
    size_t n;
} text;

static int add(text *t, const char *s, size_t n)
{
    char *more = realloc(t->data, t->n + n + 1);
    if (!more)
        return 0;
    memcpy(more + t->n, s, n);
    t->data = more;
    t->n += n;
    return 1;
}

static int add_field(text *t, const char *before, const sail_json *v, const char *after)
{
    size_t n;
    const char *s = sail_json_string(v, &n);
    return !s || (add(t, before, strlen(before)) && add(t, s, n) && add(t, after, strlen(after)));
}

static sail_code prompt(const sail_json *info, sail_row *row, sail_err *err)
{
    const sail_json *post = sail_json_get(info, "post"), *article = sail_json_get(info, "article");
    text t = {NULL, 0};
    if (!sail_json_string(post, NULL) && !sail_json_string(article, NULL))
        return sail_fail(err, SAIL_E_PARSE, "'info' must have a post or an article, a string");
    int ok = sail_json_string(post, NULL)
                 ? add_field(&t, "SUBREDDIT: r/", sail_json_get(info, "subreddit"), "\n") &&
                       add_field(&t, "TITLE: ", sail_json_get(info, "title"), "\n") && add_field(&t, "POST: ", post, "\n")
                 : add_field(&t, "TITLE: ", sail_json_get(info, "title"), "\n") && add_field(&t, "ARTICLE: ", article, "\n");
    ok = ok && add(&t, "TL;DR:", 6);
    sail_code code = ok ? sail_row_text(row, SAIL_PART_PROMPT, t.data, t.n, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    free(t.data);
    return code;
}

static sail_code response(const sail_json *summary, sail_part part, sail_row *row, sail_err *err)
{
    size_t n;
    const char *s = sail_json_string(sail_json_get(summary, "text"), &n);
    text t = {NULL, 0};
    if (!s)
        return sail_fail(err, SAIL_E_PARSE, "'summaries': a summary has no text");
    int space = n > 0 && s[0] != ' ';
    sail_code code = (!space || add(&t, " ", 1)) && add(&t, s, n) ? sail_row_text(row, part, t.data, t.n, err)
                                                                  : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    free(t.data);
    return code;
}

static sail_code read_row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    (void)self;
    const sail_json *summaries = sail_json_get(record, "summaries");
    double choice = sail_json_number(sail_json_get(record, "choice"), -1);
    if (sail_json_kind_of(summaries) != SAIL_JSON_LIST || sail_json_size(summaries) != 2)
        return sail_fail(err, SAIL_E_PARSE, "'summaries' must be a list of two; these are the comparisons, not the axis ratings");
    if (choice != 0 && choice != 1)
        return sail_fail(err, SAIL_E_PARSE, "'choice' must be 0 or 1");
    size_t best = choice == 1;
    sail_code code = prompt(sail_json_get(record, "info"), row, err);
    if (code == SAIL_OK)
        code = response(sail_json_at(summaries, best), SAIL_PART_CHOSEN, row, err);
    return code == SAIL_OK ? response(sail_json_at(summaries, !best), SAIL_PART_REJECTED, row, err) : code;
}

static const sail_dataset ops = {.size = sizeof ops, .row = read_row};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_DATASET, summarize_from_feedback, "summarize_from_feedback's comparisons: the chosen summary",
                       "arXiv:2009.01325", &ops, 0)
