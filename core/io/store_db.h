/* store_db.h - the run store from within: statements, transactions and rows on SQLite.
 *
 * Floor: io, and only store*.c. Threads, ownership: store.h. `doing`: what errors say was being done. */
#ifndef SAIL_STORE_DB_H
#define SAIL_STORE_DB_H

#include <sqlite3.h>

#include "store.h"

typedef enum sail__query {
#define Q(name, sql) SAIL__Q_##name,
#include "store_queries.def"
#undef Q
    SAIL__Q_COUNT
} sail__query;

struct sail__store {
    sqlite3 *db;
    char *path;
    int lock; /* file descriptor of the writer's lock; -1: none */
    int64_t version; /* of the schema; below the newest only where the store is read */
    sqlite3_stmt *queries[SAIL__Q_COUNT];
};

/* err says what SQLite's last error was, with the system's reason where there is one. */
sail_code sail__db_fail(sail__store *s, const char *doing, sail_err *err);
sail_code sail__db_run(sail__store *s, const char *sql, const char *doing, sail_err *err);
/* The statement, ready for new bindings; NULL: err is filled. */
sqlite3_stmt *sail__db_query(sail__store *s, sail__query q, const char *doing, sail_err *err);
/* Step a statement that gives no rows, and let go of its bindings. */
sail_code sail__db_done(sail__store *s, sqlite3_stmt *q, const char *doing, sail_err *err);
/* One transaction. end commits when code is SAIL_OK, else rolls back; returns code, or the commit's error. */
sail_code sail__db_begin(sail__store *s, const char *doing, sail_err *err);
sail_code sail__db_end(sail__store *s, sail_code code, const char *doing, sail_err *err);

/* Bindings borrow: every statement is stepped before its arguments go away. A failed bind shows in the step. */
void sail__bind_text(sqlite3_stmt *q, int at, const char *text);                /* NULL stays NULL */
void sail__bind_blob(sqlite3_stmt *q, int at, const void *data, size_t bytes); /* NULL stays NULL */
void sail__bind_number(sqlite3_stmt *q, int at, double v);                      /* NaN is NULL */

/* Columns, copied into the arena; NULL: no value, or no memory. blob: *n values of `size` bytes. */
const char *sail__column_text(sail_arena *a, sqlite3_stmt *q, int at);
double sail__column_number(sqlite3_stmt *q, int at); /* NULL is NaN */
void *sail__column_blob(sail_arena *a, sqlite3_stmt *q, int at, size_t size, size_t *n);

/* All rows of q: one() fills `row` of `size` bytes (false: no memory); *(void **)out is the array in the arena. */
sail_code sail__db_rows(sail__store *s, sail_arena *a, sqlite3_stmt *q, size_t size,
                        bool (*one)(sail_arena *a, sqlite3_stmt *q, void *row), const char *doing, void *out, size_t *n,
                        sail_err *err);

#endif
