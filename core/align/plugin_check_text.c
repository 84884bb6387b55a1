/* plugin_check_text.c - checks of judges and of readers of data files: what they do with texts and records. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../io/data.h"
#include "judging.h"
#include "plugin_check.h"

/* ---- judges ---- */

enum { ITEMS = 8 };

typedef struct items {
    sail_judge_item item[ITEMS];
    const char *response[ITEMS][SAIL_MAX_RESPONSES];
    int64_t tokens[ITEMS][SAIL_MAX_RESPONSES];
    sail_verdict verdict[ITEMS], turned[ITEMS];
} items;

/* Pairs of every sort that a run can meet, and groups of three; with `turned` in the opposite order. */
static void make_items(items *x, bool turned)
{
    static const char *const texts[ITEMS][3] = {
        {"Yes, of course. Here is how.", "No."},
        {"Take two, and see me in the morning!", "I would rather not say."},
        {"a", "a longer answer, with more words in it"},
        {"the same", "the same"},
        {"", "an empty one lost to this, or won"},
        {"\xc3\xa9t\xc3\xa9 \xe5\xa4\x8f\xe5\xa4\xa9 \xf0\x9f\x8c\x9e", "line one\nline two\n\n- a list\n"},
        {"one", "one two", "one two three"},
        {"same", "same", "other"},
    };
    for (int i = 0; i < ITEMS; i++) {
        int k = texts[i][2] ? 3 : 2;
        for (int j = 0; j < k; j++) {
            x->response[i][j] = texts[i][turned ? k - 1 - j : j];
            x->tokens[i][j] = 1 + (int64_t)strlen(x->response[i][j]) / 3; /* an end token, and about a token in three bytes */
        }
        x->item[i] = (sail_judge_item){.prompt = "What should I do?", .conversation = "User: What should I do?", .k = k,
                                       .response = x->response[i], .tokens = x->tokens[i], .id = (uint64_t)i + 1};
    }
}

static bool outcome_exists(int32_t outcome, int k)
{
    int order[SAIL_MAX_RESPONSES];
    return outcome == SAIL_ABSTAIN || (k == 2 && outcome == SAIL_TIE) || sail_outcome_ranking(outcome, k, k, order);
}

static bool label(sail__checking *c, void *state, items *x, sail_verdict *out)
{
    sail_err err = {0};
    memset(out, 0, ITEMS * sizeof *out);
    for (int i = 0; i < ITEMS; i++)
        out[i].outcome = INT32_MIN; /* what is not written is seen */
    sail_code code = sail__judge_call(c->plugin, c->arena, c->self, state, x->item, ITEMS, out, &err);
    if (code != SAIL_OK)
        return sail__checked(c, "label", false, err.message[0] ? "%s" : "an error that says nothing%s", err.message);
    for (int i = 0; i < ITEMS; i++) {
        if (!outcome_exists(out[i].outcome, x->item[i].k))
            return sail__checked(c, "label", false, "item %d of %d: outcome %d does not exist for %d responses%s", i + 1, ITEMS,
                                 (int)out[i].outcome, x->item[i].k, out[i].outcome == INT32_MIN ? " (not written)" : "");
        if (!(out[i].seconds >= 0))
            return sail__checked(c, "label", false, "item %d of %d: took %g seconds", i + 1, ITEMS, out[i].seconds);
    }
    return true;
}

/* Does a pair's verdict turn when its responses do? Told, not asked for: real judges have a bias for one place. */
static void swap_consistency(sail__checking *c, const items *x)
{
    int pairs = 0, same = 0, abstained = 0;
    for (int i = 0; i < ITEMS; i++) {
        if (x->item[i].k != 2)
            continue;
        int a = x->verdict[i].outcome, b = x->turned[i].outcome;
        pairs++;
        abstained += a == SAIL_ABSTAIN || b == SAIL_ABSTAIN;
        same += a == b ? a == SAIL_TIE || a == SAIL_ABSTAIN : a == 1 - b;
    }
    sail__checked(c, "swap", true, "%d of %d verdicts turn with their responses, %d abstained", same, pairs, abstained);
}

sail_code sail__check_judge(sail__checking *c)
{
    const sail_judge *ops = c->ops;
    sail_err err = {0};
    void *state = NULL;
    items *x = sail__arena_alloc(c->arena, sizeof *x);
    if (!x)
        return sail_fail(c->err, SAIL_E_NOMEM, "no memory for responses");
    if (!ops->label && !ops->ask) {
        sail__checked(c, "functions", false, "label is missing (or ask, for judges that take their time)");
        return SAIL_OK;
    }
    if (ops->open && ops->open(c->self, c->ctx, &state, &err) != SAIL_OK) {
        sail__checked(c, "open", false, err.message[0] ? "%s" : "an error that says nothing%s", err.message);
        return SAIL_OK;
    }
    make_items(x, false);
    if (label(c, state, x, x->verdict)) {
        make_items(x, true);
        if (label(c, state, x, x->turned)) {
            sail__checked(c, "label", true, "%d items of 2 and 3 responses, both ways round", ITEMS);
            swap_consistency(c, x);
        }
    }
    if (ops->close)
        ops->close(c->self, state);
    return SAIL_OK;
}

/* ---- readers of data files ---- */

/* Fields that readers look for; the plugin's own options are taken to name more (a reader lets its fields be named). */
static const char *const usual[] = {"prompt", "chosen", "rejected", "messages", "prompt_ids", "chosen_ids", "rejected_ids",
                                    "completion", "response", "text", NULL};

static size_t fields_of(const sail__checking *c, const char **out, size_t most)
{
    size_t n = 0;
    for (; usual[n] && n < most; n++)
        out[n] = usual[n];
    for (const sail_opt *o = c->plugin->opts; o && o->name && n < most; o++) {
        const char *value = NULL;
        if (o->type == SAIL_OPT_TYPE_STR)
            memcpy(&value, (const char *)c->self + o->offset, sizeof value);
        bool there = !value || !*value;
        for (size_t i = 0; i < n && !there; i++)
            there = strcmp(out[i], value) == 0;
        if (!there)
            out[n++] = value;
    }
    return n;
}

static void member(sail_buf *b, const char *field, const char *value, const char *before)
{
    sail__buf_str(b, before);
    sail__json_quote(b, field, strlen(field));
    sail__buf_printf(b, ": %s", value);
}

/* A record a line: every field with each form of value, alone and all together, and records as data sets have them. */
static void make_records(const char *const *fields, size_t n, sail_buf *b)
{
    static const char *const values[] = {
        "null", "true", "1.5", "\"\"", "\"a text\"", "\"a text with \\u0000 and \\u00e9\"", "[]", "{}", "[1, 2, 3]", "[-1, 1e300]",
        "[\"a\", 2, null]", "[{}]", "[{\"role\": \"user\"}]", "[{\"role\": 3, \"content\": []}]",
        "[{\"role\": \"user\", \"content\": \"q\"}]", "[{\"from\": \"human\", \"value\": \"q\"}]",
        "[{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"a\"}]",
        "\"\\n\\nHuman: q\\n\\nAssistant: a\""};
    sail__buf_str(b, "{}\n");
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
        for (size_t i = 0; i < n; i++) {
            member(b, fields[i], values[v], "{");
            sail__buf_str(b, "}\n");
        }
        for (size_t i = 0; i < n; i++)
            member(b, fields[i], values[v], i ? ", " : "{");
        sail__buf_str(b, "}\n");
    }
    for (size_t skip = 0; skip < n; skip++) { /* each field another text, one field missing */
        char text[32];
        for (size_t i = 0, first = 1; i < n; i++) {
            snprintf(text, sizeof text, "\"text %zu\"", i);
            if (i != skip && (i < 3 || strcmp(fields[i] + strlen(fields[i]) - 3 * (strlen(fields[i]) > 3), "ids") != 0)) {
                member(b, fields[i], text, first ? "{" : ", ");
                first = 0;
            }
        }
        sail__buf_str(b, "}\n");
    }
    sail__buf_str(b, "{\"prompt_ids\": [1, 2], \"chosen_ids\": [3, 4], \"rejected_ids\": [5]}\n"
                     "{\"chosen\": \"\\n\\nHuman: q\\n\\nAssistant: a\", \"rejected\": \"\\n\\nHuman: q\\n\\nAssistant: b\"}\n"
                     "{\"prompt\": \"q\", \"completion\": \"a\"}\n"
                     "{\"prompt\": \"q\", \"completion\": \"a\", \"label\": true}\n"
                     "{\"prompt\": \"q\", \"responses\": [\"a\", \"b\"], \"scores\": [1, 2]}\n"
                     "{\"prompt\": \"q\", \"responses\": [\"a\", \"b\", \"c\"], \"ranking\": [2, 1, 3]}\n"
                     "{\"prompt\": \"q\", \"response_0\": \"a\", \"response_1\": \"b\", \"better_response_id\": 0, \"safer_response_id\": 1, "
                     "\"is_response_0_safe\": true, \"is_response_1_safe\": false}\n"
                     "{\"instruction\": \"q\", \"completions\": [{\"response\": \"a\", \"overall_score\": 1}, {\"response\": \"b\", "
                     "\"overall_score\": 4}, {\"response\": \"c\", \"overall_score\": 2}, {\"response\": \"d\", \"overall_score\": 3}]}\n"
                     "{\"question\": {\"full_text\": \"q\"}, \"answer_0\": \"a\", \"answer_1\": \"b\", \"score_0\": 0, \"score_1\": 1}\n"
                     "{\"info\": {\"post\": \"q\"}, \"summaries\": [{\"text\": \"a\"}, {\"text\": \"b\"}], \"choice\": 0}\n");
}

typedef struct tally {
    int records, rows, drops, errors;
} tally;

/* One record. The row must be what the host can use. */
static bool try_record(sail__checking *c, const sail_json *record, int64_t line, tally *n)
{
    const sail_dataset *ops = c->ops;
    sail_err err = {0};
    sail_row row = {.arena = sail__arena_new(), .score = {NAN, NAN}, .line = line, .file = "check"};
    if (!row.arena)
        return true;
    sail_code code = ops->row(c->self, record, &row, &err);
    bool good = true;
    if (code == SAIL_OK && row.responses && !row.dropped)
        code = sail__row_pair(&row, SAIL__DATA_BEST_WORST, &err);
    n->records++;
    if (code != SAIL_OK) {
        n->errors++;
        if (!err.message[0] || err.code != code)
            good = sail__checked(c, "row", false, "record %lld: error code %d without a message (use sail_fail)", (long long)line,
                                 (int)code);
    } else if (row.dropped) {
        n->drops++;
        if (!*row.dropped)
            good = sail__checked(c, "row", false, "record %lld: dropped without a reason", (long long)line);
    } else if (sail__part_present(&row.part[SAIL_PART_PROMPT])) {
        n->rows++;
        if (sail__part_present(&row.part[SAIL_PART_REJECTED]) && !sail__part_present(&row.part[SAIL_PART_CHOSEN]))
            good = sail__checked(c, "row", false, "record %lld: a rejected response without a chosen one", (long long)line);
    } else {
        good = sail__checked(c, "row", false, "record %lld: neither a prompt, nor a reason to drop it, nor an error",
                             (long long)line);
    }
    sail__arena_free(row.arena);
    return good;
}

static sail_code try_records(sail__checking *c, const char *path, tally *n)
{
    sail__json_stream *s;
    const sail_json *v = NULL;
    int64_t line = 0;
    SAIL_TRY(sail__json_stream_open(path, &s, c->err));
    sail_code code;
    bool good = true;
    while (good && (code = sail__json_stream_next(s, &v, &line, c->err)) == SAIL_OK && v)
        good = try_record(c, v, line, n);
    sail__json_stream_close(s);
    if (good && code == SAIL_OK)
        sail__checked(c, "row", n->rows > 0, n->rows ? "%d records: %d rows, %d dropped, %d errors"
                      : "none of %d records gives a row (%d rows, %d dropped, %d errors); options that name fields help",
                      n->records, n->rows, n->drops, n->errors);
    return good ? code : SAIL_OK;
}

sail_code sail__check_dataset(sail__checking *c)
{
    const char *fields[64];
    char path[64];
    sail_buf text = {0};
    tally n = {0};
    size_t count = fields_of(c, fields, sizeof fields / sizeof *fields);
    make_records(fields, count, &text);
    int fd = text.oom ? -1 : memfd_create("records", MFD_CLOEXEC);
    sail_code code = SAIL_OK;
    if (fd < 0 || write(fd, text.data, text.len) != (ssize_t)text.len)
        code = sail_fail(c->err, SAIL_E_IO, "records to try the reader with cannot be kept in memory");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (code == SAIL_OK)
        code = try_records(c, path, &n);
    if (fd >= 0)
        close(fd);
    sail__buf_free(&text);
    return code;
}
