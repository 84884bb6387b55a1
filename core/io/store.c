/* store.c - what a run writes into its store, and what it takes back. */
#include "store_db.h"

#include <stdio.h>
#include <string.h>

static sail_code add_stage(sail__store *s, const char *stage, const char *doing, sail_err *err)
{
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_ADD_STAGE, doing, err);
    if (!q)
        return err->code;
    sail__bind_text(q, 1, stage);
    return sail__db_done(s, q, doing, err);
}

sail_code sail__store_set_info(sail__store *s, const char *key, const char *value, sail_err *err)
{
    static const char doing[] = "writing the run's facts";
    SAIL_TRY(sail__db_begin(s, doing, err));
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_SET_INFO, doing, err);
    if (q) {
        sail__bind_text(q, 1, key);
        sail__bind_text(q, 2, value);
    }
    return sail__db_end(s, q ? sail__db_done(s, q, doing, err) : err->code, doing, err);
}

sail_code sail__store_add_metrics(sail__store *s, const char *stage, int64_t step, const char *const *names,
                                  const double *values, size_t n, sail_err *err)
{
    static const char doing[] = "adding metrics";
    double now = sail__wall_time();
    SAIL_TRY(sail__db_begin(s, doing, err));
    sail_code code = add_stage(s, stage, doing, err);
    for (size_t i = 0; i < n && code == SAIL_OK; i++) {
        sqlite3_stmt *q = sail__db_query(s, SAIL__Q_ADD_METRIC, doing, err);
        if (!q) {
            code = err->code;
            break;
        }
        sail__bind_text(q, 1, stage);
        sail__bind_text(q, 2, names[i]);
        sqlite3_bind_int64(q, 3, step);
        sail__bind_number(q, 4, values[i]);
        sqlite3_bind_double(q, 5, now);
        code = sail__db_done(s, q, doing, err);
    }
    return sail__db_end(s, code, doing, err);
}

sail_code sail__store_add_event(sail__store *s, const char *stage, int64_t step, const char *kind, const char *message,
                                sail_err *err)
{
    static const char doing[] = "adding an event";
    SAIL_TRY(sail__db_begin(s, doing, err));
    sail_code code = add_stage(s, stage, doing, err);
    sqlite3_stmt *q = code == SAIL_OK ? sail__db_query(s, SAIL__Q_ADD_EVENT, doing, err) : NULL;
    if (q) {
        sail__bind_text(q, 1, stage);
        sqlite3_bind_int64(q, 2, step);
        sail__bind_text(q, 3, kind);
        sail__bind_text(q, 4, message);
        sqlite3_bind_double(q, 5, sail__wall_time());
        code = sail__db_done(s, q, doing, err);
    }
    return sail__db_end(s, q ? code : err->code, doing, err);
}

/* ---- samples ---- */

static sail_code add_response(sail__store *s, int64_t sample, int slot, const sail__sample_response *r,
                              const char *doing, sail_err *err)
{
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_ADD_RESPONSE, doing, err);
    if (!q)
        return err->code;
    sqlite3_bind_int64(q, 1, sample);
    sqlite3_bind_int(q, 2, slot);
    sail__bind_text(q, 3, r->writer ? r->writer : "");
    sail__bind_blob(q, 4, r->ids, r->n * sizeof *r->ids);
    sail__bind_text(q, 5, r->text);
    sail__bind_blob(q, 6, r->logps, r->n * sizeof *r->logps);
    sail__bind_number(q, 7, r->score);
    sail__bind_blob(q, 8, r->ref, r->n * sizeof *r->ref);
    sail__bind_blob(q, 9, r->ends, r->n * sizeof *r->ends);
    return sail__db_done(s, q, doing, err);
}

static sail_code add_sample(sail__store *s, const sail__sample *p, double now, const char *doing, sail_err *err)
{
    SAIL_TRY(add_stage(s, p->stage, doing, err));
    sqlite3_stmt *drop = sail__db_query(s, SAIL__Q_DROP_SAMPLE, doing, err),
                 *add = sail__db_query(s, SAIL__Q_ADD_SAMPLE, doing, err);
    if (!drop || !add)
        return err->code;
    sqlite3_stmt *both[] = {drop, add};
    for (int i = 0; i < 2; i++) {
        sail__bind_text(both[i], 1, p->stage);
        sqlite3_bind_int64(both[i], 2, p->step);
        sail__bind_text(both[i], 3, p->kind);
        sqlite3_bind_int64(both[i], 4, p->index);
    }
    sail__bind_text(add, 5, p->route ? p->route : "");
    sail__bind_blob(add, 6, p->prompt_ids, p->n_prompt * sizeof *p->prompt_ids);
    sail__bind_text(add, 7, p->prompt);
    sqlite3_bind_int(add, 8, p->outcome);
    sqlite3_bind_double(add, 9, now);
    SAIL_TRY(sail__db_done(s, drop, doing, err));
    SAIL_TRY(sail__db_done(s, add, doing, err));
    int64_t id = sqlite3_last_insert_rowid(s->db);
    for (int k = 0; k < p->k; k++)
        SAIL_TRY(add_response(s, id, k, &p->responses[k], doing, err));
    return SAIL_OK;
}

sail_code sail__store_add_samples(sail__store *s, const sail__sample *samples, size_t n, sail_err *err)
{
    static const char doing[] = "adding samples";
    double now = sail__wall_time();
    SAIL_TRY(sail__db_begin(s, doing, err));
    sail_code code = SAIL_OK;
    for (size_t i = 0; i < n && code == SAIL_OK; i++)
        code = add_sample(s, &samples[i], now, doing, err);
    return sail__db_end(s, code, doing, err);
}

/* ---- resume ---- */

static sail_code cut_one(sail__store *s, sail__query which, const char *stage, int64_t step, const char *doing,
                         sail_err *err)
{
    sqlite3_stmt *q = sail__db_query(s, which, doing, err);
    if (!q)
        return err->code;
    sail__bind_text(q, 1, stage);
    if (sqlite3_bind_parameter_count(q) > 1)
        sqlite3_bind_int64(q, 2, step);
    return sail__db_done(s, q, doing, err);
}

static sail_code cut_stage(sail__store *s, const char *stage, int64_t step, const char *doing, sail_err *err)
{
    SAIL_TRY(cut_one(s, SAIL__Q_CUT_METRICS, stage, step, doing, err));
    SAIL_TRY(cut_one(s, SAIL__Q_CUT_SAMPLES, stage, step, doing, err));
    return cut_one(s, SAIL__Q_CUT_EVENTS, stage, step, doing, err);
}

static bool later_row(sail_arena *a, sqlite3_stmt *q, void *row)
{
    const char *name = sail__column_text(a, q, 0);
    memcpy(row, &name, sizeof name);
    return name != NULL;
}

static sail_code cut_all(sail__store *s, sail_arena *a, const char *stage, int64_t step, const char *doing,
                         sail_err *err)
{
    const char **later = NULL;
    size_t n = 0;
    SAIL_TRY(cut_stage(s, stage, step, doing, err));
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_LATER, doing, err);
    if (!q)
        return err->code;
    sail__bind_text(q, 1, stage);
    SAIL_TRY(sail__db_rows(s, a, q, sizeof *later, later_row, doing, &later, &n, err));
    for (size_t i = 0; i < n; i++) {
        SAIL_TRY(cut_stage(s, later[i], INT64_MIN, doing, err));
        SAIL_TRY(cut_one(s, SAIL__Q_DROP_STAGE, later[i], 0, doing, err));
    }
    return SAIL_OK;
}

sail_code sail__store_cut(sail__store *s, const char *stage, int64_t step, sail_err *err)
{
    static const char doing[] = "taking back rows beyond the checkpoint";
    sail_arena *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "%s: %s: out of memory", s->path, doing);
    sail_code code = sail__db_begin(s, doing, err);
    if (code == SAIL_OK)
        code = sail__db_end(s, cut_all(s, a, stage, step, doing, err), doing, err);
    sail__arena_free(a);
    return code;
}

sail_code sail__store_sync(sail__store *s, sail_err *err)
{
    /* In WAL mode a commit under FULL flushes the log, and with it every commit before. */
    SAIL_TRY(sail__db_run(s, "PRAGMA synchronous=FULL", "flushing", err));
    char now[32];
    snprintf(now, sizeof now, "%.3f", sail__wall_time());
    sail_code code = sail__store_set_info(s, "synced", now, err);
    sqlite3_exec(s->db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
    return code;
}
