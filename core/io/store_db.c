/* store_db.c - statements, transactions and rows of the run store. */
#include "store_db.h"

#include <math.h>
#include <string.h>

static const char *const query_sql[] = {
#define Q(name, sql) sql,
#include "store_queries.def"
#undef Q
};

sail_code sail__db_fail(sail__store *s, const char *doing, sail_err *err)
{
    static const struct {
        int sqlite;
        sail_code code;
    } map[] = {{SQLITE_NOMEM, SAIL_E_NOMEM},   {SQLITE_NOTADB, SAIL_E_FORMAT}, {SQLITE_CORRUPT, SAIL_E_FORMAT},
               {SQLITE_BUSY, SAIL_E_STATE},    {SQLITE_LOCKED, SAIL_E_STATE},  {SQLITE_SCHEMA, SAIL_E_FORMAT},
               {SQLITE_READONLY, SAIL_E_IO},   {SQLITE_TOOBIG, SAIL_E_LIMIT},  {SQLITE_ERROR, SAIL_E_FORMAT}};
    int code = s->db ? sqlite3_errcode(s->db) & 0xff : SQLITE_NOMEM;
    sail_code out = SAIL_E_IO;
    for (size_t i = 0; i < sizeof map / sizeof map[0]; i++)
        if (map[i].sqlite == code)
            out = map[i].code;
    int os = s->db ? sqlite3_system_errno(s->db) : 0;
    bool system = os && (code == SQLITE_IOERR || code == SQLITE_CANTOPEN || code == SQLITE_FULL);
    return sail_fail(err, out, "%s: %s: %s%s%s", s->path, doing, s->db ? sqlite3_errmsg(s->db) : "out of memory",
                     system ? ": " : "", system ? strerror(os) : "");
}

sail_code sail__db_run(sail__store *s, const char *sql, const char *doing, sail_err *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? SAIL_OK : sail__db_fail(s, doing, err);
}

sqlite3_stmt *sail__db_query(sail__store *s, sail__query q, const char *doing, sail_err *err)
{
    if (!s->queries[q] &&
        sqlite3_prepare_v3(s->db, query_sql[q], -1, SQLITE_PREPARE_PERSISTENT, &s->queries[q], NULL) != SQLITE_OK) {
        sail__db_fail(s, doing, err);
        return NULL;
    }
    sqlite3_reset(s->queries[q]);
    sqlite3_clear_bindings(s->queries[q]);
    return s->queries[q];
}

sail_code sail__db_done(sail__store *s, sqlite3_stmt *q, const char *doing, sail_err *err)
{
    int rc = sqlite3_step(q);
    sail_code code = rc == SQLITE_DONE ? SAIL_OK : sail__db_fail(s, doing, err);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    return code;
}

sail_code sail__db_begin(sail__store *s, const char *doing, sail_err *err)
{
    if (s->lock < 0)
        return sail_fail(err, SAIL_E_STATE, "%s: %s: the store was opened for reading", s->path, doing);
    return sail__db_run(s, "BEGIN IMMEDIATE", doing, err);
}

sail_code sail__db_end(sail__store *s, sail_code code, const char *doing, sail_err *err)
{
    if (code == SAIL_OK)
        code = sail__db_run(s, "COMMIT", doing, err);
    if (code != SAIL_OK && !sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

void sail__bind_text(sqlite3_stmt *q, int at, const char *text)
{
    if (text)
        sqlite3_bind_text(q, at, text, -1, SQLITE_STATIC);
}

void sail__bind_blob(sqlite3_stmt *q, int at, const void *data, size_t bytes)
{
    if (data)
        sqlite3_bind_blob64(q, at, bytes ? data : "", bytes, SQLITE_STATIC);
}

void sail__bind_number(sqlite3_stmt *q, int at, double v)
{
    if (!isnan(v))
        sqlite3_bind_double(q, at, v);
}

const char *sail__column_text(sail_arena *a, sqlite3_stmt *q, int at)
{
    const void *text = sqlite3_column_text(q, at);
    return text ? sail__arena_strndup(a, text, (size_t)sqlite3_column_bytes(q, at)) : NULL;
}

double sail__column_number(sqlite3_stmt *q, int at)
{
    return sqlite3_column_type(q, at) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(q, at);
}

void *sail__column_blob(sail_arena *a, sqlite3_stmt *q, int at, size_t size, size_t *n)
{
    const void *data = sqlite3_column_blob(q, at);
    *n = (size_t)sqlite3_column_bytes(q, at) / size;
    return data ? sail__arena_strndup(a, data, *n * size) : NULL;
}

sail_code sail__db_rows(sail__store *s, sail_arena *a, sqlite3_stmt *q, size_t size,
                        bool (*one)(sail_arena *a, sqlite3_stmt *q, void *row), const char *doing, void *out, size_t *n,
                        sail_err *err)
{
    char *rows = NULL;
    size_t cap = 0, count = 0;
    int rc;
    sail_code code = SAIL_OK;
    while (code == SAIL_OK && (rc = sqlite3_step(q)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW)
            code = sail__db_fail(s, doing, err);
        else if ((code = sail__grow(&rows, &cap, count + 1, size, err)) == SAIL_OK && !one(a, q, rows + size * count++))
            code = sail_fail(err, SAIL_E_NOMEM, "%s: %s: out of memory", s->path, doing);
    }
    sqlite3_reset(q);
    void *copy = NULL;
    if (code == SAIL_OK && count && !(copy = sail__arena_array(a, count, size)))
        code = sail_fail(err, SAIL_E_NOMEM, "%s: %s: out of memory", s->path, doing);
    if (copy)
        memcpy(copy, rows, count * size);
    sail__free(rows);
    memcpy(out, &copy, sizeof copy);
    *n = code == SAIL_OK ? count : 0;
    return code;
}
