/* data_source.c - records to rows through a reader plugin: what cannot be used is counted by reason. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data_impl.h"

struct sail__source {
    const sail__data_options *o;
    const sail_dataset *reader;
    size_t file;
    sail__records *records;
    sail_arena *row_arena; /* of the record being read; emptied for each */
    int64_t n_in_file;     /* records */
    sail_row first;        /* its rows: this one and those behind it */
    sail_row *at;          /* the next to come out */
    int64_t copies, copy;
    char fault[512];
    sail__drops drops;
    int64_t n_records, n_rows;
    uint64_t met; /* which of o->fields some record had, a bit each */
    uint64_t own; /* … some record had under the reader's own name, and not under the given one */
    bool looked;  /* the first records were looked at for slips */
};
enum { FIRST = 100 }; /* records after which a slip is told */

bool sail__held_out(uint64_t prompt_hash, double share)
{
    return (double)(prompt_hash >> 11) * 0x1p-53 < share;
}

/* By another hash than what is held out, so that every part has the same share of its prompts held out. */
static bool in_share(const sail__data_options *o, uint64_t prompt_hash)
{
    double place = (double)(sail__hash64(&prompt_hash, sizeof prompt_hash, 29) >> 11) * 0x1p-53;
    return o->to <= 0 || (place >= o->from && place < o->to);
}

sail_code sail__source_open(const sail__data_options *o, sail__source **out, sail_err *err)
{
    *out = NULL;
    if (!o->reader || !o->reader->loaded)
        return sail_fail(err, SAIL_E_ARG, "data without a reader");
    const sail_dataset *reader = o->reader->loaded->ops;
    if (o->reader->loaded->plugin.kind != SAIL_KIND_DATASET || !reader || !reader->row)
        return sail_fail(err, SAIL_E_PLUGIN, "plugin '%s' is no reader of data: its ops have no function 'row'",
                         o->reader->loaded->plugin.name);
    sail__source *s = sail__calloc(1, sizeof *s);
    if (!s || !(s->row_arena = sail__arena_new()) || !(s->drops.arena = sail__arena_new())) {
        sail__source_close(s);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    s->o = o;
    s->reader = reader;
    *out = s;
    return SAIL_OK;
}

void sail__source_close(sail__source *s)
{
    if (!s)
        return;
    sail__records_close(s->records);
    sail__arena_free(s->row_arena);
    sail__arena_free(s->drops.arena);
    sail__free(s);
}

const sail__drops *sail__source_drops(const sail__source *s)
{
    return &s->drops;
}
const char *sail__source_fault(const sail__source *s)
{
    return *s->fault ? s->fault : NULL;
}
int64_t sail__source_records(const sail__source *s)
{
    return s->n_records;
}

/* What the host asks of every row; a row that fails is dropped, or is an error in form. */
static sail_code check(sail_row *row, sail_err *err)
{
    const sail__part *prompt = &row->part[SAIL_PART_PROMPT], *chosen = &row->part[SAIL_PART_CHOSEN],
                     *rejected = &row->part[SAIL_PART_REJECTED];
    const size_t n = sail__row_parts(row);
    if (!sail__part_present(prompt))
        return sail_fail(err, SAIL_E_PARSE, "the reader gave no prompt");
    bool pair = sail__part_present(rejected);
    if (pair && !sail__part_present(chosen))
        return sail_fail(err, SAIL_E_PARSE, "the reader gave a rejected response without a chosen one");
    if (sail__part_empty(prompt))
        sail_row_drop(row, "empty prompt");
    for (size_t i = 1; i < n; i++) {
        const sail__part *response = sail__row_part(row, i);
        if (sail__part_present(response) && sail__part_empty(response))
            sail_row_drop(row, "empty response");
        for (size_t k = 1; pair && k < i; k++)
            if (sail__part_equal(sail__row_part(row, k), response))
                sail_row_drop(row, sail__equal_responses(n - 1));
    }
    return SAIL_OK;
}

static sail_code read_row(sail__source *s, const json_t *v, sail_row *row, sail_err *err)
{
    json_t *mapped = NULL;
    if (!json_is_object(v))
        return sail_fail(err, SAIL_E_PARSE, "a row must be a JSON object");
    if (s->o->fields)
        SAIL_TRY(sail__data_map_fields(s->o->fields, v, &mapped, &s->met, err));
    sail_code code = s->reader->row(s->o->reader->options, (const sail_json *)(mapped ? mapped : v), row, err);
    json_decref(mapped);
    for (size_t i = 0; s->o->fields && i < s->o->fields->list.n && i < 64; i++)
        if (!(s->met >> i & 1) && json_object_get(v, s->o->fields->list.keys[i]))
            s->own |= 1ull << i;
    if (!code && row->responses && !row->dropped)
        code = sail__row_pair(row, s->o->pairing, err);
    for (sail_row *r = row; r && !code; r = r->next)
        if (!r->dropped)
            code = check(r, err);
    return !code && sail__arena_oom(row->arena) ? sail_fail(err, SAIL_E_NOMEM, "no memory for a row") : code;
}

sail_row *sail_row_another(sail_row *row, sail_err *err)
{
    sail_row *more = sail__arena_alloc(row->arena, sizeof *more);
    if (!more) {
        sail_fail(err, SAIL_E_NOMEM, "out of memory");
        return NULL;
    }
    *more = (sail_row){.arena = row->arena, .score = {NAN, NAN}, .line = row->line, .file = row->file};
    more->part[SAIL_PART_PROMPT] = row->part[SAIL_PART_PROMPT];
    row->part[SAIL_PART_PROMPT].cap_messages = more->part[SAIL_PART_PROMPT].cap_messages = 0;
    while (row->next)
        row = row->next;
    row->next = more;
    return more;
}

/* A name that no record had is a slip of the pen, and the reader took something else instead. That is told at the end, where it may have been a
 * field that few records have; after the first records, where they have the field under the reader's own name. */
static sail_code check_met(const sail__source *s, bool end, sail_err *err)
{
    const sail_node *f = s->o->fields;
    for (size_t i = 0; f && s->n_records && !*s->fault && i < f->list.n && i < 64; i++) {
        const sail_node *from = f->list.items[i];
        if (!(s->met >> i & 1) && (end || (s->own >> i & 1)))
            return sail_fail(err, SAIL_E_RECIPE, "data.fields: no record of %s%s%s has `%s`, which was to be read as `%s`",
                             end ? "" : "the beginning of ", s->o->paths[0], s->o->n_paths > 1 ? ", …" : "",
                             (from->kind == SAIL_NODE_LIST ? from->list.items[0] : from)->string.data, f->list.keys[i]);
    }
    return SAIL_OK;
}

/* A field of another name that is not there either is the likeliest reason. */
static void add_lacking(const sail__source *s, const json_t *v, sail_code code, sail_err *err)
{
    sail_buf b = {0};
    if (!s->o->fields || code != SAIL_E_PARSE || !json_is_object(v))
        return;
    sail__data_fields_lacking(s->o->fields, v, &b);
    char said[sizeof err->message];
    snprintf(said, sizeof said, "%s", err->message);
    if (b.len && !b.oom)
        (void)!sail_fail(err, code, "%s: %s", said, b.data);
    sail__buf_free(&b);
}

/* The next record into s->first; *end where there is none. A record that cannot be used leaves no row. */
static sail_code next_record(sail__source *s, bool *end, sail_err *err)
{
    *end = s->file == s->o->n_paths;
    if (*end)
        return SAIL_OK;
    const char *path = s->o->paths[s->file];
    if (!s->records)
        SAIL_TRY(sail__records_open(path, &s->records, err));
    const json_t *v;
    int64_t line = 0;
    bool skippable;
    sail_code code = sail__records_next(s->records, &v, &line, &skippable, err);
    if (code && !(skippable && s->o->on_bad_row == SAIL__BAD_ROW_SKIP))
        return code;
    if (!code && !v) {
        sail__records_close(s->records);
        s->records = NULL;
        s->file++;
        s->n_in_file = 0;
        return SAIL_OK;
    }
    s->copies = s->o->weights ? sail__data_copies(s->o->weights[s->file], s->file, s->n_in_file++) : 1;
    if (s->copies == 0 && !code)
        return SAIL_OK;
    sail__arena_reset(s->row_arena);
    s->first = (sail_row){.arena = s->row_arena, .score = {NAN, NAN}, .line = line, .file = path};
    if (!code && (code = read_row(s, v, &s->first, err))) {
        add_lacking(s, v, code, err);
        sail_fail_in(err, "%s:%lld", path, (long long)line);
        if (code == SAIL_E_NOMEM || s->o->on_bad_row != SAIL__BAD_ROW_SKIP)
            return code;
    }
    if (code && !*s->fault)
        snprintf(s->fault, sizeof s->fault, "%s", err->message);
    for (sail_row *r = &s->first; r; r = code ? NULL : r->next) {
        s->n_records++;
        if (code || r->dropped)
            SAIL_TRY(sail__drops_add(&s->drops, code ? "malformed" : r->dropped, path, line, err));
    }
    if (s->n_records >= FIRST && !s->looked) {
        s->looked = true;
        SAIL_TRY(check_met(s, false, err));
    }
    s->at = code ? NULL : &s->first;
    s->copy = 0;
    return SAIL_OK;
}

sail_code sail__source_next(sail__source *s, sail_arena *a, sail_row **out, sail_err *err)
{
    *out = NULL;
    bool end = false;
    while (!end && (s->o->max_rows <= 0 || s->n_rows < s->o->max_rows)) {
        sail_row *row = s->at;
        if (!row) {
            SAIL_TRY(next_record(s, &end, err));
            continue;
        }
        s->at = row->next ? row->next : ++s->copy < s->copies ? &s->first : NULL;
        if (row->dropped)
            continue;
        sail__row_hash(row);
        if (!in_share(s->o, row->prompt_hash))
            continue;
        if (s->o->split != SAIL__SPLIT_ALL &&
            sail__held_out(row->prompt_hash, s->o->held_out) != (s->o->split == SAIL__SPLIT_HELD_OUT))
            continue;
        s->n_rows++;
        return sail__row_copy(a, row, out, err);
    }
    return end ? check_met(s, true, err) : SAIL_OK;
}
