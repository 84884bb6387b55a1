/* data_stream.c - files to JSON values, one at a time: a line each (JSONL), or the items of one list. Memory holds one
 * record. */
#include <string.h>

#include "data_impl.h"

/* Parsed, a record takes up to twenty times its text: this keeps the worst of them below 256 MB. */
enum { CHUNK = 1 << 18, MOST_RECORD = 8 << 20 };

struct sail__records {
    char *path;
    sail__unpack *file;
    unsigned char *chunk;
    size_t n, at; /* in the chunk */
    bool end;
    enum { UNKNOWN, LINES, LIST, DONE } form;
    bool later; /* a list's first item is behind us: a comma must come */
    int64_t line;
    sail_buf record;
    json_t *value;
};

sail_code sail__records_open(const char *path, sail__records **out, sail_err *err)
{
    *out = NULL;
    sail__records *r = sail__calloc(1, sizeof *r);
    if (!r || !(r->path = sail__strdup(path)) || !(r->chunk = sail__malloc(CHUNK))) {
        sail__records_close(r);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    r->line = 1;
    sail_code code = sail__unpack_open(path, &r->file, err);
    if (code)
        sail__records_close(r);
    else
        *out = r;
    return code;
}

void sail__records_close(sail__records *r)
{
    if (!r)
        return;
    sail__unpack_close(r->file);
    json_decref(r->value);
    sail__buf_free(&r->record);
    sail__free(r->chunk);
    sail__free(r->path);
    sail__free(r);
}

static sail_code fill(sail__records *r, sail_err *err)
{
    if (r->end || r->at < r->n)
        return SAIL_OK;
    if (sail__unpack_read(r->file, r->chunk, CHUNK, &r->n, err) != SAIL_OK)
        return sail_fail_in(err, "beyond line %lld", (long long)r->line);
    r->at = 0;
    r->end = r->n == 0;
    return SAIL_OK;
}

/* The next byte without taking it; -1 at the end. */
static sail_code peek(sail__records *r, int *c, sail_err *err)
{
    SAIL_TRY(fill(r, err));
    *c = r->at < r->n ? r->chunk[r->at] : -1;
    return SAIL_OK;
}

static void take(sail__records *r)
{
    r->line += r->chunk[r->at++] == '\n';
}

static sail_code skip_space(sail__records *r, int *c, sail_err *err)
{
    for (;;) {
        SAIL_TRY(peek(r, c, err));
        if (*c != ' ' && *c != '\t' && *c != '\r' && *c != '\n')
            return SAIL_OK;
        take(r);
    }
}

static sail_code detect(sail__records *r, sail_err *err)
{
    SAIL_TRY(fill(r, err));
    static const struct {
        const char *magic, *name;
    } packed[] = {{"BZh", "bzip2"},
                  {"PK\x03\x04", "zip"},
                  {"PAR1", "Parquet"}};
    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++)
        if (r->n >= strlen(packed[i].magic) && memcmp(r->chunk, packed[i].magic, strlen(packed[i].magic)) == 0)
            return sail_fail(err, SAIL_E_FORMAT,
                             "%s: is a %s file; rows are read from JSONL or a JSON list, plain, .gz, .zst or .xz", r->path,
                             packed[i].name);
    if (r->n >= 3 && memcmp(r->chunk, "\xEF\xBB\xBF", 3) == 0)
        r->at = 3;
    int c;
    SAIL_TRY(skip_space(r, &c, err));
    r->form = c == '[' ? LIST : LINES;
    if (c == '[')
        take(r);
    return SAIL_OK;
}

static sail_code append(sail__records *r, size_t from, size_t to, sail_err *err)
{
    sail__buf_add(&r->record, r->chunk + from, to - from);
    if (r->record.oom)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (r->record.len > MOST_RECORD)
        return sail_fail(err, SAIL_E_LIMIT, "%s:%lld: a record of more than %d MiB", r->path, (long long)r->line,
                         MOST_RECORD >> 20);
    return SAIL_OK;
}

/* The text of the next line that is not blank; *some false at the end. */
static sail_code next_line(sail__records *r, bool *some, int64_t *line, sail_err *err)
{
    int c;
    SAIL_TRY(skip_space(r, &c, err));
    *some = c >= 0;
    *line = r->line;
    while (c >= 0) {
        unsigned char *end = memchr(r->chunk + r->at, '\n', r->n - r->at);
        size_t to = end ? (size_t)(end - r->chunk) : r->n;
        SAIL_TRY(append(r, r->at, to, err));
        r->at = to;
        if (end)
            break; /* the newline is taken by the next call */
        SAIL_TRY(peek(r, &c, err));
    }
    return SAIL_OK;
}

static sail_code bad_list(const sail__records *r, const char *what, sail_err *err)
{
    return sail_fail(err, SAIL_E_PARSE, "%s:%lld: %s", r->path, (long long)r->line, what);
}

/* The text of the list's next item: up to a comma or bracket outside strings and inner brackets. */
static sail_code next_item(sail__records *r, bool *some, int64_t *line, sail_err *err)
{
    int c;
    *some = false;
    SAIL_TRY(skip_space(r, &c, err));
    if (c == ']') {
        take(r);
        r->form = DONE;
        SAIL_TRY(skip_space(r, &c, err));
        return c < 0 ? SAIL_OK : bad_list(r, "text after the end of the list of rows", err);
    }
    if (c >= 0 && r->later) {
        if (c != ',')
            return bad_list(r, "a comma is missing between two rows", err);
        take(r);
        SAIL_TRY(skip_space(r, &c, err));
        if (c == ']' || c == ',')
            return bad_list(r, "a row is missing after a comma", err);
    }
    r->later = true;
    *line = r->line;
    bool string = false, escape = false;
    int depth = 0;
    while (c >= 0) {
        size_t from = r->at;
        bool stop = false;
        for (; r->at < r->n && !stop; take(r)) {
            c = r->chunk[r->at];
            if (string) {
                string = escape || c != '"';
                escape = !escape && c == '\\';
            } else if (c == '"') {
                string = true;
            } else if (c == '{' || c == '[') {
                depth++;
            } else if (c == '}' || c == ']' || c == ',') {
                if (depth == 0) {
                    stop = true;
                    break;
                }
                depth -= c != ',';
            }
        }
        SAIL_TRY(append(r, from, r->at, err));
        if (stop) {
            *some = true;
            return SAIL_OK;
        }
        SAIL_TRY(peek(r, &c, err));
    }
    return bad_list(r, "the file ends inside the list of rows", err);
}

sail_code sail__records_next(sail__records *r, const json_t **v, int64_t *line, bool *skippable, sail_err *err)
{
    *v = NULL;
    *skippable = false;
    json_decref(r->value);
    r->value = NULL;
    r->record.len = 0;
    if (r->form == UNKNOWN)
        SAIL_TRY(detect(r, err));
    bool some = false;
    if (r->form == LINES)
        SAIL_TRY(next_line(r, &some, line, err));
    else if (r->form == LIST)
        SAIL_TRY(next_item(r, &some, line, err));
    if (!some)
        return SAIL_OK;
    json_error_t e;
    bool lacked;
    r->value = sail__json_load(r->record.data ? r->record.data : "", r->record.len,
                               JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &lacked, &e);
    if (lacked)
        return sail_fail(err, SAIL_E_NOMEM, "%s:%lld: no memory for its values", r->path, (long long)*line);
    *skippable = true;
    if (!r->value)
        return sail_fail(err, SAIL_E_PARSE, "%s:%lld:%d: not valid JSON: %s", r->path, (long long)*line + e.line - 1,
                         e.column, e.text);
    *v = r->value;
    return SAIL_OK;
}

/* ---- the same for others ---- */

sail_code sail__json_stream_open(const char *path, sail__json_stream **out, sail_err *err)
{
    return sail__records_open(path, (sail__records **)out, err);
}

sail_code sail__json_stream_next(sail__json_stream *s, const sail_json **v, int64_t *line, sail_err *err)
{
    bool skippable;
    return sail__records_next((sail__records *)s, (const json_t **)v, line, &skippable, err);
}

void sail__json_stream_close(sail__json_stream *s)
{
    sail__records_close((sail__records *)s);
}
