/* store_read.c - what the run store holds, read into the caller's arena. */
#include "store_db.h"

#include <stdio.h>
#include <string.h>

sail_code sail__store_get_info(sail__store *s, sail_arena *a, const char *key, const char **value, sail_err *err)
{
    static const char doing[] = "reading the run's facts";
    *value = NULL;
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_GET_INFO, doing, err);
    if (!q)
        return err->code;
    sail__bind_text(q, 1, key);
    int rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        *value = sail__column_text(a, q, 0);
    sail_code code = rc == SQLITE_ROW || rc == SQLITE_DONE ? SAIL_OK : sail__db_fail(s, doing, err);
    sqlite3_reset(q);
    return code;
}

typedef struct info_row {
    const char *key, *value;
} info_row;

static bool read_info(sail_arena *a, sqlite3_stmt *q, void *row)
{
    info_row *r = row;
    *r = (info_row){sail__column_text(a, q, 0), sail__column_text(a, q, 1)};
    return r->key && r->value;
}

sail_code sail__store_infos(sail__store *s, sail_arena *a, const char ***keys, const char ***values, size_t *n,
                            sail_err *err)
{
    static const char doing[] = "reading the run's facts";
    info_row *rows = NULL;
    *n = 0;
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_INFOS, doing, err);
    if (!q)
        return err->code;
    SAIL_TRY(sail__db_rows(s, a, q, sizeof *rows, read_info, doing, &rows, n, err));
    *keys = sail__arena_array(a, *n + 1, sizeof **keys);
    *values = sail__arena_array(a, *n + 1, sizeof **values);
    if (!*keys || !*values)
        return sail_fail(err, SAIL_E_NOMEM, "%s: %s: out of memory", s->path, doing);
    for (size_t i = 0; i < *n; i++)
        (*keys)[i] = rows[i].key, (*values)[i] = rows[i].value;
    return SAIL_OK;
}

static bool metric_row(sail_arena *a, sqlite3_stmt *q, void *row)
{
    sail__metric_row *m = row;
    *m = (sail__metric_row){sail__column_text(a, q, 0), sail__column_text(a, q, 1), sqlite3_column_int64(q, 2),
                            sail__column_number(q, 3), sqlite3_column_double(q, 4)};
    return m->stage && m->name;
}

sail_code sail__store_metrics(sail__store *s, sail_arena *a, const char *stage, const char *name,
                              sail__metric_row **out, size_t *n, sail_err *err)
{
    static const char doing[] = "reading metrics";
    *out = NULL, *n = 0;
    sqlite3_stmt *q = sail__db_query(s, stage && name ? SAIL__Q_SERIES : SAIL__Q_METRICS, doing, err);
    if (!q)
        return err->code;
    sail__bind_text(q, 1, stage);
    sail__bind_text(q, 2, name);
    return sail__db_rows(s, a, q, sizeof **out, metric_row, doing, out, n, err);
}

static bool event_row(sail_arena *a, sqlite3_stmt *q, void *row)
{
    sail__event_row *e = row;
    *e = (sail__event_row){sail__column_text(a, q, 0), sail__column_text(a, q, 2), sail__column_text(a, q, 3),
                           sqlite3_column_int64(q, 1), sqlite3_column_double(q, 4)};
    return e->stage && e->kind && e->message;
}

sail_code sail__store_events(sail__store *s, sail_arena *a, sail__event_row **out, size_t *n, sail_err *err)
{
    static const char doing[] = "reading events";
    *out = NULL, *n = 0;
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_EVENTS, doing, err);
    return q ? sail__db_rows(s, a, q, sizeof **out, event_row, doing, out, n, err) : err->code;
}

static bool response_row(sail_arena *a, sqlite3_stmt *q, void *row)
{
    sail__sample_response *r = row;
    size_t n_logps = 0, n_ref = 0, n_ends = 0;
    r->writer = sail__column_text(a, q, 0);
    r->ids = sail__column_blob(a, q, 1, sizeof *r->ids, &r->n);
    r->text = sail__column_text(a, q, 2);
    r->logps = sail__column_blob(a, q, 3, sizeof *r->logps, &n_logps);
    if (n_logps != r->n)
        r->logps = NULL;
    r->score = sail__column_number(q, 4);
    r->ref = sail__column_blob(a, q, 5, sizeof *r->ref, &n_ref);
    if (n_ref != r->n)
        r->ref = NULL;
    r->ends = sail__column_blob(a, q, 6, sizeof *r->ends, &n_ends);
    if (n_ends != r->n)
        r->ends = NULL;
    return r->writer != NULL;
}

typedef struct sample_row {
    sail__sample sample;
    int64_t id;
} sample_row;

static bool read_sample(sail_arena *a, sqlite3_stmt *q, void *row)
{
    sample_row *r = row;
    memset(r, 0, sizeof *r);
    r->id = sqlite3_column_int64(q, 0);
    r->sample.stage = sail__column_text(a, q, 1);
    r->sample.step = sqlite3_column_int64(q, 2);
    r->sample.kind = sail__column_text(a, q, 3);
    r->sample.index = sqlite3_column_int64(q, 4);
    r->sample.route = sail__column_text(a, q, 5);
    r->sample.prompt_ids = sail__column_blob(a, q, 6, sizeof(int32_t), &r->sample.n_prompt);
    r->sample.prompt = sail__column_text(a, q, 7);
    r->sample.outcome = sqlite3_column_int(q, 8);
    r->sample.time = sqlite3_column_double(q, 9);
    return r->sample.stage && r->sample.kind && r->sample.route;
}

sail_code sail__store_samples(sail__store *s, sail_arena *a, const char *stage, const char *kind, int64_t from,
                              int64_t to, size_t most, sail__sample **out, size_t *n, sail_err *err)
{
    static const char doing[] = "reading samples";
    *out = NULL, *n = 0;
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_SAMPLES, doing, err);
    if (!q)
        return err->code;
    sail__bind_text(q, 1, stage);
    sail__bind_text(q, 2, kind);
    sqlite3_bind_int64(q, 3, from);
    sqlite3_bind_int64(q, 4, to);
    sqlite3_bind_int64(q, 5, most ? (int64_t)most : -1);
    sample_row *rows = NULL;
    size_t count = 0;
    SAIL_TRY(sail__db_rows(s, a, q, sizeof *rows, read_sample, doing, &rows, &count, err));
    sail__sample *samples = sail__arena_array(a, count ? count : 1, sizeof *samples);
    if (!samples)
        return sail_fail(err, SAIL_E_NOMEM, "%s: %s: out of memory", s->path, doing);
    for (size_t i = 0; i < count; i++) {
        samples[i] = rows[i].sample;
        if (!(q = sail__db_query(s, s->version < 3 ? SAIL__Q_RESPONSES_2 : SAIL__Q_RESPONSES, doing, err)))
            return err->code;
        sqlite3_bind_int64(q, 1, rows[i].id);
        size_t k = 0;
        sail__sample_response *responses = NULL;
        SAIL_TRY(sail__db_rows(s, a, q, sizeof *responses, response_row, doing, &responses, &k, err));
        samples[i].responses = responses;
        samples[i].k = (int)k;
    }
    *out = samples;
    *n = count;
    return SAIL_OK;
}
