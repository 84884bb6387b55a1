/* store.c - the run store on SQLite. The only file that includes sqlite3.h. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { SCHEMA_VERSION = 1, APPLICATION_ID = 0x5341494c /* "SAIL" */ };

static const char schema[] =
    "CREATE TABLE info(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    /* id is the order in which stages began */
    "CREATE TABLE stages(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE metrics(stage TEXT NOT NULL, name TEXT NOT NULL, step INTEGER NOT NULL, value REAL, time REAL NOT NULL,"
    " PRIMARY KEY(stage, name, step)) WITHOUT ROWID;"
    "CREATE TABLE samples(id INTEGER PRIMARY KEY, stage TEXT NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL,"
    " idx INTEGER NOT NULL, route TEXT NOT NULL, prompt_ids BLOB, prompt TEXT, outcome INTEGER NOT NULL, time REAL NOT NULL,"
    " UNIQUE(stage, step, kind, idx));"
    "CREATE TABLE responses(sample INTEGER NOT NULL REFERENCES samples(id) ON DELETE CASCADE, slot INTEGER NOT NULL,"
    " writer TEXT NOT NULL, ids BLOB, text TEXT, logps BLOB, score REAL, PRIMARY KEY(sample, slot)) WITHOUT ROWID;"
    "CREATE TABLE verdicts(key TEXT PRIMARY KEY, outcome INTEGER NOT NULL, scores TEXT NOT NULL, provenance TEXT NOT NULL,"
    " seconds REAL, time REAL NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE events(id INTEGER PRIMARY KEY, stage TEXT NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL,"
    " message TEXT NOT NULL, time REAL NOT NULL);";

/* Statements that are prepared once. */
#define QUERIES(Q)                                                                                                     \
    Q(SET_INFO, "INSERT OR REPLACE INTO info VALUES(?1, ?2)")                                                          \
    Q(GET_INFO, "SELECT value FROM info WHERE key = ?1")                                                               \
    Q(INFOS, "SELECT key, value FROM info ORDER BY key")                                                               \
    Q(ADD_STAGE, "INSERT OR IGNORE INTO stages(name) VALUES(?1)")                                                      \
    Q(ADD_METRIC, "INSERT OR REPLACE INTO metrics VALUES(?1, ?2, ?3, ?4, ?5)")                                         \
    Q(DROP_SAMPLE, "DELETE FROM samples WHERE stage = ?1 AND step = ?2 AND kind = ?3 AND idx = ?4")                    \
    Q(ADD_SAMPLE, "INSERT INTO samples(stage, step, kind, idx, route, prompt_ids, prompt, outcome, time)"              \
                  " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")                                                       \
    Q(ADD_RESPONSE, "INSERT INTO responses VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")                                        \
    Q(ADD_VERDICT, "INSERT OR IGNORE INTO verdicts VALUES(?1, ?2, ?3, ?4, ?5, ?6)")                                    \
    Q(ADD_EVENT, "INSERT INTO events(stage, step, kind, message, time) VALUES(?1, ?2, ?3, ?4, ?5)")                    \
    Q(METRICS, "SELECT m.stage, m.name, m.step, m.value, m.time FROM metrics m JOIN stages s ON s.name = m.stage"      \
               " WHERE (?1 IS NULL OR m.stage = ?1) AND (?2 IS NULL OR m.name = ?2) ORDER BY s.id, m.name, m.step")    \
    Q(SAMPLES, "SELECT p.id, p.stage, p.step, p.kind, p.idx, p.route, p.prompt_ids, p.prompt, p.outcome, p.time"       \
               " FROM samples p JOIN stages s ON s.name = p.stage"                                                     \
               " WHERE (?1 IS NULL OR p.stage = ?1) AND (?2 IS NULL OR p.kind = ?2) AND p.step >= ?3 AND p.step <= ?4" \
               " ORDER BY s.id, p.step, p.kind, p.idx LIMIT ?5")                                                       \
    Q(RESPONSES, "SELECT writer, ids, text, logps, score FROM responses WHERE sample = ?1 ORDER BY slot")              \
    Q(EVENTS, "SELECT stage, step, kind, message, time FROM events ORDER BY id")                                       \
    Q(VERDICTS, "SELECT key, outcome, scores, provenance, seconds FROM verdicts WHERE ?1 IS NULL OR key = ?1"          \
                " ORDER BY key")                                                                                       \
    Q(CUT_METRICS, "DELETE FROM metrics WHERE stage = ?1 AND step > ?2")                                               \
    Q(CUT_SAMPLES, "DELETE FROM samples WHERE stage = ?1 AND step > ?2")                                               \
    Q(CUT_EVENTS, "DELETE FROM events WHERE stage = ?1 AND step > ?2")                                                 \
    Q(LATER, "SELECT name FROM stages WHERE id > (SELECT id FROM stages WHERE name = ?1)")                             \
    Q(DROP_STAGE, "DELETE FROM stages WHERE name = ?1")

enum query {
#define Q(name, sql) Q_##name,
    QUERIES(Q)
#undef Q
        Q_COUNT
};
static const char *const query_sql[] = {
#define Q(name, sql) sql,
    QUERIES(Q)
#undef Q
};

struct sail__store {
    sqlite3 *db;
    char *path;
    int lock; /* file descriptor of the writer's lock; -1: none */
    sqlite3_stmt *queries[Q_COUNT];
};

/* ---- errors, statements, transactions ---- */

static sail_code fail(sail__store *s, const char *doing, sail_err *err)
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

static sail_code run_sql(sail__store *s, const char *sql, const char *doing, sail_err *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? SAIL_OK : fail(s, doing, err);
}

/* The statement, ready for new bindings; NULL: err is filled. */
static sqlite3_stmt *query(sail__store *s, enum query q, const char *doing, sail_err *err)
{
    if (!s->queries[q] &&
        sqlite3_prepare_v3(s->db, query_sql[q], -1, SQLITE_PREPARE_PERSISTENT, &s->queries[q], NULL) != SQLITE_OK) {
        fail(s, doing, err);
        return NULL;
    }
    sqlite3_reset(s->queries[q]);
    sqlite3_clear_bindings(s->queries[q]);
    return s->queries[q];
}

/* Bindings borrow: every statement is stepped before its arguments go away. A failed bind shows in the step. */
static void bind_text(sqlite3_stmt *q, int at, const char *text)
{
    if (text)
        sqlite3_bind_text(q, at, text, -1, SQLITE_STATIC);
}

static void bind_blob(sqlite3_stmt *q, int at, const void *data, size_t bytes)
{
    if (data)
        sqlite3_bind_blob64(q, at, bytes ? data : "", bytes, SQLITE_STATIC);
}

static void bind_number(sqlite3_stmt *q, int at, double v) /* NaN is NULL */
{
    if (!isnan(v))
        sqlite3_bind_double(q, at, v);
}

static sail_code step_done(sail__store *s, sqlite3_stmt *q, const char *doing, sail_err *err)
{
    int rc = sqlite3_step(q);
    sail_code code = rc == SQLITE_DONE ? SAIL_OK : fail(s, doing, err);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    return code;
}

static sail_code begin(sail__store *s, const char *doing, sail_err *err)
{
    if (s->lock < 0)
        return sail_fail(err, SAIL_E_STATE, "%s: %s: the store was opened for reading", s->path, doing);
    return run_sql(s, "BEGIN IMMEDIATE", doing, err);
}

/* Commit what went well, roll back the rest. */
static sail_code end(sail__store *s, sail_code code, const char *doing, sail_err *err)
{
    if (code == SAIL_OK)
        code = run_sql(s, "COMMIT", doing, err);
    if (code != SAIL_OK && !sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

static sail_code add_stage(sail__store *s, const char *stage, const char *doing, sail_err *err)
{
    sqlite3_stmt *q = query(s, Q_ADD_STAGE, doing, err);
    if (!q)
        return err->code;
    bind_text(q, 1, stage);
    return step_done(s, q, doing, err);
}

/* ---- open and close ---- */

static sail_code take_lock(sail__store *s, sail_err *err)
{
    char *path = sqlite3_mprintf("%s.lock", s->path);
    if (!path)
        return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", s->path);
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    sail_code code = SAIL_OK;
    if (s->lock < 0)
        code = sail_fail(err, SAIL_E_IO, "%s: %s", path, strerror(errno));
    else if (flock(s->lock, LOCK_EX | LOCK_NB) != 0)
        code = sail_fail(err, SAIL_E_STATE, "%s: another process is writing this run; wait for it or stop it", s->path);
    if (code != SAIL_OK && s->lock >= 0) {
        close(s->lock);
        s->lock = -1; /* as the mark of a store that this process does not own */
    }
    sqlite3_free(path);
    return code;
}

static sail_code pragma_int(sail__store *s, const char *sql, int64_t *out, sail_err *err)
{
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) != SQLITE_OK)
        return fail(s, "opening", err);
    sail_code code = SAIL_OK;
    if (sqlite3_step(q) == SQLITE_ROW)
        *out = sqlite3_column_int64(q, 0);
    else
        code = fail(s, "opening", err);
    sqlite3_finalize(q);
    return code;
}

static sail_code check_version(sail__store *s, sail_err *err)
{
    int64_t id = 0, version = 0;
    SAIL_TRY(pragma_int(s, "PRAGMA application_id", &id, err));
    SAIL_TRY(pragma_int(s, "PRAGMA user_version", &version, err));
    if (id != APPLICATION_ID)
        return sail_fail(err, SAIL_E_FORMAT, "%s: a SQLite file, but not a run store of sail", s->path);
    if (version > SCHEMA_VERSION)
        return sail_fail(err, SAIL_E_FORMAT, "%s: written by a newer sail (store version %lld; this one reads up to %d)", s->path,
                         (long long)version, SCHEMA_VERSION);
    return version >= 1 ? SAIL_OK : sail_fail(err, SAIL_E_FORMAT, "%s: store version %lld is not valid", s->path, (long long)version);
}

static sail_code open_database(sail__store *s, int flags, const char *name, sail_err *err)
{
    if (sqlite3_open_v2(name, &s->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return fail(s, "opening", err);
    sqlite3_busy_timeout(s->db, 10000);
    return run_sql(s, "PRAGMA foreign_keys=ON; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;", "opening", err);
}

static sail_code make_schema(sail__store *s, sail_err *err)
{
    char pragmas[96];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID, SCHEMA_VERSION);
    SAIL_TRY(run_sql(s, "PRAGMA journal_mode=WAL", "creating", err));
    SAIL_TRY(begin(s, "creating", err));
    sail_code code = run_sql(s, schema, "creating", err);
    if (code == SAIL_OK)
        code = run_sql(s, pragmas, "creating", err);
    return end(s, code, "creating", err);
}

/* Made whole under another name, then renamed: a process killed meanwhile leaves no store that nobody can open. */
static sail_code create(sail__store *s, sail_err *err)
{
    static const char *const left[] = {"", "-journal", "-wal", "-shm"};
    char *part = sqlite3_mprintf("%s.part", s->path);
    sail_code code = part ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", s->path);
    for (size_t i = 0; part && i < sizeof left / sizeof left[0]; i++) {
        char *path = sqlite3_mprintf("%s%s", part, left[i]);
        if (path)
            unlink(path);
        sqlite3_free(path);
    }
    if (code == SAIL_OK)
        code = open_database(s, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, part, err);
    if (code == SAIL_OK)
        code = make_schema(s, err);
    /* the WAL does not follow when the file is renamed: all of it must be in the file */
    if (code == SAIL_OK && sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) != SQLITE_OK)
        code = fail(s, "creating", err);
    sqlite3_close_v2(s->db);
    s->db = NULL;
    if (code == SAIL_OK && rename(part, s->path) != 0)
        code = sail_fail(err, SAIL_E_IO, "%s: creating: %s", s->path, strerror(errno));
    if (code != SAIL_OK && part)
        unlink(part);
    sqlite3_free(part);
    return code == SAIL_OK ? open_database(s, SQLITE_OPEN_READWRITE, s->path, err) : code;
}

/* A WAL file in a directory that cannot be written has no index to share: read it as it lies. */
static sail_code open_immutable(sail__store *s, sail_err *err)
{
    sqlite3_close_v2(s->db);
    s->db = NULL;
    sail_buf name = {0};
    sail__buf_str(&name, "file:");
    for (const char *c = s->path; *c; c++)
        sail__buf_printf(&name, strchr("?#%", *c) ? "%%%02x" : "%c", (unsigned char)*c);
    sail__buf_str(&name, "?immutable=1");
    sail_code code = name.oom ? sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", s->path)
                              : open_database(s, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, name.data, err);
    sail__buf_free(&name);
    return code != SAIL_OK ? code : check_version(s, err);
}

static sail_code open_existing(sail__store *s, sail__store_mode mode, sail_err *err)
{
    int flags = mode == SAIL__STORE_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    SAIL_TRY(open_database(s, flags, s->path, err));
    sail_code code = check_version(s, err);
    int rc = sqlite3_errcode(s->db) & 0xff;
    if (code != SAIL_OK && mode == SAIL__STORE_READ && (rc == SQLITE_CANTOPEN || rc == SQLITE_READONLY))
        return open_immutable(s, err);
    return code;
}

sail_code sail__store_open(const char *path, sail__store_mode mode, sail__store **out, sail_err *err)
{
    *out = NULL;
    bool there = sail__file_exists(path);
    if (mode == SAIL__STORE_CREATE && there)
        return sail_fail(err, SAIL_E_EXISTS, "%s: exists already", path);
    if (mode != SAIL__STORE_CREATE && !there)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s: no such file; a run's directory holds one", path);
    sail__store *s = sail__calloc(1, sizeof *s);
    if (!s || !(s->path = sail__strdup(path))) {
        sail__free(s);
        return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", path);
    }
    s->lock = -1;
    sail_code code = mode == SAIL__STORE_READ ? SAIL_OK : take_lock(s, err);
    bool mine = false; /* under the lock: another process may have made one since */
    if (code == SAIL_OK && mode == SAIL__STORE_CREATE && sail__file_exists(path)) {
        code = sail_fail(err, SAIL_E_EXISTS, "%s: exists already", path);
    } else if (code == SAIL_OK && mode == SAIL__STORE_CREATE) {
        mine = true;
        code = create(s, err);
    } else if (code == SAIL_OK) {
        code = open_existing(s, mode, err);
    }
    if (code != SAIL_OK) {
        if (mine)
            unlink(path); /* half made */
        sail__store_close(s);
        return code;
    }
    *out = s;
    return SAIL_OK;
}

void sail__store_close(sail__store *s)
{
    if (!s)
        return;
    for (int i = 0; i < Q_COUNT; i++)
        sqlite3_finalize(s->queries[i]);
    sqlite3_close_v2(s->db);
    if (s->lock >= 0)
        close(s->lock);
    sail__free(s->path);
    sail__free(s);
}

/* ---- info, metrics, events ---- */

sail_code sail__store_set_info(sail__store *s, const char *key, const char *value, sail_err *err)
{
    static const char doing[] = "writing the run's facts";
    SAIL_TRY(begin(s, doing, err));
    sqlite3_stmt *q = query(s, Q_SET_INFO, doing, err);
    if (q) {
        bind_text(q, 1, key);
        bind_text(q, 2, value);
    }
    return end(s, q ? step_done(s, q, doing, err) : err->code, doing, err);
}

static const char *column_text(sail_arena *a, sqlite3_stmt *q, int at)
{
    const void *text = sqlite3_column_text(q, at);
    return text ? sail__arena_strndup(a, text, (size_t)sqlite3_column_bytes(q, at)) : NULL;
}

static double column_number(sqlite3_stmt *q, int at)
{
    return sqlite3_column_type(q, at) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(q, at);
}

static void *column_blob(sail_arena *a, sqlite3_stmt *q, int at, size_t size, size_t *n)
{
    const void *data = sqlite3_column_blob(q, at);
    *n = (size_t)sqlite3_column_bytes(q, at) / size;
    return data ? sail__arena_strndup(a, data, *n * size) : NULL;
}

sail_code sail__store_get_info(sail__store *s, sail_arena *a, const char *key, const char **value, sail_err *err)
{
    static const char doing[] = "reading the run's facts";
    *value = NULL;
    sqlite3_stmt *q = query(s, Q_GET_INFO, doing, err);
    if (!q)
        return err->code;
    bind_text(q, 1, key);
    int rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        *value = column_text(a, q, 0);
    sail_code code = rc == SQLITE_ROW || rc == SQLITE_DONE ? SAIL_OK : fail(s, doing, err);
    sqlite3_reset(q);
    return code;
}

sail_code sail__store_add_metrics(sail__store *s, const char *stage, int64_t step, const char *const *names,
                                  const double *values, size_t n, sail_err *err)
{
    static const char doing[] = "adding metrics";
    double now = sail__wall_time();
    SAIL_TRY(begin(s, doing, err));
    sail_code code = add_stage(s, stage, doing, err);
    for (size_t i = 0; i < n && code == SAIL_OK; i++) {
        sqlite3_stmt *q = query(s, Q_ADD_METRIC, doing, err);
        if (!q) {
            code = err->code;
            break;
        }
        bind_text(q, 1, stage);
        bind_text(q, 2, names[i]);
        sqlite3_bind_int64(q, 3, step);
        bind_number(q, 4, values[i]);
        sqlite3_bind_double(q, 5, now);
        code = step_done(s, q, doing, err);
    }
    return end(s, code, doing, err);
}

/* Read all rows of q: one(user, q, row) fills *row of `size` bytes in an array that ends in the arena. */
static sail_code read_rows(sail__store *s, sail_arena *a, sqlite3_stmt *q, size_t size, bool (*one)(sail_arena *a, sqlite3_stmt *q, void *row),
                           const char *doing, void *out, size_t *n, sail_err *err)
{
    char *rows = NULL;
    size_t cap = 0, count = 0;
    int rc;
    sail_code code = SAIL_OK;
    while (code == SAIL_OK && (rc = sqlite3_step(q)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW)
            code = fail(s, doing, err);
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

typedef struct info_row {
    const char *key, *value;
} info_row;

static bool read_info(sail_arena *a, sqlite3_stmt *q, void *row)
{
    info_row *r = row;
    *r = (info_row){column_text(a, q, 0), column_text(a, q, 1)};
    return r->key && r->value;
}

sail_code sail__store_infos(sail__store *s, sail_arena *a, const char ***keys, const char ***values, size_t *n, sail_err *err)
{
    static const char doing[] = "reading the run's facts";
    info_row *rows = NULL;
    *n = 0;
    sqlite3_stmt *q = query(s, Q_INFOS, doing, err);
    if (!q)
        return err->code;
    SAIL_TRY(read_rows(s, a, q, sizeof *rows, read_info, doing, &rows, n, err));
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
    *m = (sail__metric_row){column_text(a, q, 0), column_text(a, q, 1), sqlite3_column_int64(q, 2), column_number(q, 3),
                            sqlite3_column_double(q, 4)};
    return m->stage && m->name;
}

sail_code sail__store_metrics(sail__store *s, sail_arena *a, const char *stage, const char *name, sail__metric_row **out,
                              size_t *n, sail_err *err)
{
    static const char doing[] = "reading metrics";
    *out = NULL, *n = 0;
    sqlite3_stmt *q = query(s, Q_METRICS, doing, err);
    if (!q)
        return err->code;
    bind_text(q, 1, stage);
    bind_text(q, 2, name);
    return read_rows(s, a, q, sizeof **out, metric_row, doing, out, n, err);
}

sail_code sail__store_add_event(sail__store *s, const char *stage, int64_t step, const char *kind, const char *message,
                                sail_err *err)
{
    static const char doing[] = "adding an event";
    SAIL_TRY(begin(s, doing, err));
    sail_code code = add_stage(s, stage, doing, err);
    sqlite3_stmt *q = code == SAIL_OK ? query(s, Q_ADD_EVENT, doing, err) : NULL;
    if (q) {
        bind_text(q, 1, stage);
        sqlite3_bind_int64(q, 2, step);
        bind_text(q, 3, kind);
        bind_text(q, 4, message);
        sqlite3_bind_double(q, 5, sail__wall_time());
        code = step_done(s, q, doing, err);
    }
    return end(s, q ? code : err->code, doing, err);
}

static bool event_row(sail_arena *a, sqlite3_stmt *q, void *row)
{
    sail__event_row *e = row;
    *e = (sail__event_row){column_text(a, q, 0), column_text(a, q, 2), column_text(a, q, 3), sqlite3_column_int64(q, 1),
                           sqlite3_column_double(q, 4)};
    return e->stage && e->kind && e->message;
}

sail_code sail__store_events(sail__store *s, sail_arena *a, sail__event_row **out, size_t *n, sail_err *err)
{
    static const char doing[] = "reading events";
    *out = NULL, *n = 0;
    sqlite3_stmt *q = query(s, Q_EVENTS, doing, err);
    return q ? read_rows(s, a, q, sizeof **out, event_row, doing, out, n, err) : err->code;
}

/* ---- samples ---- */

static sail_code add_response(sail__store *s, int64_t sample, int slot, const sail__sample_response *r, const char *doing,
                              sail_err *err)
{
    sqlite3_stmt *q = query(s, Q_ADD_RESPONSE, doing, err);
    if (!q)
        return err->code;
    sqlite3_bind_int64(q, 1, sample);
    sqlite3_bind_int(q, 2, slot);
    bind_text(q, 3, r->writer ? r->writer : "");
    bind_blob(q, 4, r->ids, r->n * sizeof *r->ids);
    bind_text(q, 5, r->text);
    bind_blob(q, 6, r->logps, r->n * sizeof *r->logps);
    bind_number(q, 7, r->score);
    return step_done(s, q, doing, err);
}

static sail_code add_sample(sail__store *s, const sail__sample *p, double now, const char *doing, sail_err *err)
{
    SAIL_TRY(add_stage(s, p->stage, doing, err));
    sqlite3_stmt *drop = query(s, Q_DROP_SAMPLE, doing, err), *add = query(s, Q_ADD_SAMPLE, doing, err);
    if (!drop || !add)
        return err->code;
    sqlite3_stmt *both[] = {drop, add};
    for (int i = 0; i < 2; i++) {
        bind_text(both[i], 1, p->stage);
        sqlite3_bind_int64(both[i], 2, p->step);
        bind_text(both[i], 3, p->kind);
        sqlite3_bind_int64(both[i], 4, p->index);
    }
    bind_text(add, 5, p->route ? p->route : "");
    bind_blob(add, 6, p->prompt_ids, p->n_prompt * sizeof *p->prompt_ids);
    bind_text(add, 7, p->prompt);
    sqlite3_bind_int(add, 8, p->outcome);
    sqlite3_bind_double(add, 9, now);
    SAIL_TRY(step_done(s, drop, doing, err));
    SAIL_TRY(step_done(s, add, doing, err));
    int64_t id = sqlite3_last_insert_rowid(s->db);
    for (int k = 0; k < p->k; k++)
        SAIL_TRY(add_response(s, id, k, &p->responses[k], doing, err));
    return SAIL_OK;
}

sail_code sail__store_add_samples(sail__store *s, const sail__sample *samples, size_t n, sail_err *err)
{
    static const char doing[] = "adding samples";
    double now = sail__wall_time();
    SAIL_TRY(begin(s, doing, err));
    sail_code code = SAIL_OK;
    for (size_t i = 0; i < n && code == SAIL_OK; i++)
        code = add_sample(s, &samples[i], now, doing, err);
    return end(s, code, doing, err);
}

static bool response_row(sail_arena *a, sqlite3_stmt *q, void *row)
{
    sail__sample_response *r = row;
    size_t n_logps = 0;
    r->writer = column_text(a, q, 0);
    r->ids = column_blob(a, q, 1, sizeof *r->ids, &r->n);
    r->text = column_text(a, q, 2);
    r->logps = column_blob(a, q, 3, sizeof *r->logps, &n_logps);
    if (n_logps != r->n)
        r->logps = NULL;
    r->score = column_number(q, 4);
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
    r->sample.stage = column_text(a, q, 1);
    r->sample.step = sqlite3_column_int64(q, 2);
    r->sample.kind = column_text(a, q, 3);
    r->sample.index = sqlite3_column_int64(q, 4);
    r->sample.route = column_text(a, q, 5);
    r->sample.prompt_ids = column_blob(a, q, 6, sizeof(int32_t), &r->sample.n_prompt);
    r->sample.prompt = column_text(a, q, 7);
    r->sample.outcome = sqlite3_column_int(q, 8);
    r->sample.time = sqlite3_column_double(q, 9);
    return r->sample.stage && r->sample.kind && r->sample.route;
}

sail_code sail__store_samples(sail__store *s, sail_arena *a, const char *stage, const char *kind, int64_t from, int64_t to,
                              size_t most, sail__sample **out, size_t *n, sail_err *err)
{
    static const char doing[] = "reading samples";
    *out = NULL, *n = 0;
    sqlite3_stmt *q = query(s, Q_SAMPLES, doing, err);
    if (!q)
        return err->code;
    bind_text(q, 1, stage);
    bind_text(q, 2, kind);
    sqlite3_bind_int64(q, 3, from);
    sqlite3_bind_int64(q, 4, to);
    sqlite3_bind_int64(q, 5, most ? (int64_t)most : -1);
    sample_row *rows = NULL;
    size_t count = 0;
    SAIL_TRY(read_rows(s, a, q, sizeof *rows, read_sample, doing, &rows, &count, err));
    sail__sample *samples = sail__arena_array(a, count ? count : 1, sizeof *samples);
    if (!samples)
        return sail_fail(err, SAIL_E_NOMEM, "%s: %s: out of memory", s->path, doing);
    for (size_t i = 0; i < count; i++) {
        samples[i] = rows[i].sample;
        if (!(q = query(s, Q_RESPONSES, doing, err)))
            return err->code;
        sqlite3_bind_int64(q, 1, rows[i].id);
        size_t k = 0;
        sail__sample_response *responses = NULL;
        SAIL_TRY(read_rows(s, a, q, sizeof *responses, response_row, doing, &responses, &k, err));
        samples[i].responses = responses;
        samples[i].k = (int)k;
    }
    *out = samples;
    *n = count;
    return SAIL_OK;
}

/* ---- verdicts ---- */

static sail_code add_verdict(sail__store *s, const sail__verdict_row *r, double now, const char *doing, sail_err *err)
{
    char scores[8 * 26 + 1] = "";
    size_t used = 0;
    for (int i = 0; i < r->k && i < 8; i++)
        used += (size_t)snprintf(scores + used, sizeof scores - used, "%s%.17g", i ? "," : "", r->score[i]);
    sqlite3_stmt *q = query(s, Q_ADD_VERDICT, doing, err);
    if (!q)
        return err->code;
    bind_text(q, 1, r->key);
    sqlite3_bind_int(q, 2, r->outcome);
    bind_text(q, 3, scores);
    bind_text(q, 4, r->provenance ? r->provenance : "");
    bind_number(q, 5, r->seconds);
    sqlite3_bind_double(q, 6, now);
    return step_done(s, q, doing, err);
}

sail_code sail__store_add_verdicts(sail__store *s, const sail__verdict_row *rows, size_t n, sail_err *err)
{
    static const char doing[] = "adding verdicts";
    double now = sail__wall_time();
    SAIL_TRY(run_sql(s, "PRAGMA synchronous=FULL", doing, err));
    sail_code code = begin(s, doing, err);
    if (code == SAIL_OK) {
        for (size_t i = 0; i < n && code == SAIL_OK; i++)
            code = add_verdict(s, &rows[i], now, doing, err);
        code = end(s, code, doing, err);
    }
    sqlite3_exec(s->db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
    return code;
}

static bool verdict_row(sail_arena *a, sqlite3_stmt *q, void *row)
{
    sail__verdict_row *v = row;
    memset(v, 0, sizeof *v);
    const char *key = (const char *)sqlite3_column_text(q, 0), *scores = (const char *)sqlite3_column_text(q, 2);
    snprintf(v->key, sizeof v->key, "%s", key ? key : "");
    v->outcome = sqlite3_column_int(q, 1);
    for (char *at = NULL; scores && *scores && v->k < 8; scores = *at == ',' ? at + 1 : at) {
        v->score[v->k] = strtod(scores, &at);
        if (at == scores)
            break;
        v->k++;
    }
    v->provenance = column_text(a, q, 3);
    v->seconds = column_number(q, 4);
    return v->provenance != NULL;
}

sail_code sail__store_verdicts(sail__store *s, sail_arena *a, const char *key, sail__verdict_row **out, size_t *n,
                               sail_err *err)
{
    static const char doing[] = "reading verdicts";
    *out = NULL, *n = 0;
    sqlite3_stmt *q = query(s, Q_VERDICTS, doing, err);
    if (!q)
        return err->code;
    bind_text(q, 1, key);
    return read_rows(s, a, q, sizeof **out, verdict_row, doing, out, n, err);
}

sail_code sail__store_get_verdict(sail__store *s, sail_arena *a, const char *key, bool *found, sail__verdict_row *out,
                                  sail_err *err)
{
    sail__verdict_row *rows = NULL;
    size_t n = 0;
    memset(out, 0, sizeof *out);
    *found = false;
    SAIL_TRY(sail__store_verdicts(s, a, key, &rows, &n, err));
    if (n) {
        *found = true;
        *out = rows[0];
    }
    return SAIL_OK;
}

/* ---- resume ---- */

static sail_code cut_one(sail__store *s, enum query which, const char *stage, int64_t step, const char *doing, sail_err *err)
{
    sqlite3_stmt *q = query(s, which, doing, err);
    if (!q)
        return err->code;
    bind_text(q, 1, stage);
    if (sqlite3_bind_parameter_count(q) > 1)
        sqlite3_bind_int64(q, 2, step);
    return step_done(s, q, doing, err);
}

static sail_code cut_stage(sail__store *s, const char *stage, int64_t step, const char *doing, sail_err *err)
{
    SAIL_TRY(cut_one(s, Q_CUT_METRICS, stage, step, doing, err));
    SAIL_TRY(cut_one(s, Q_CUT_SAMPLES, stage, step, doing, err));
    return cut_one(s, Q_CUT_EVENTS, stage, step, doing, err);
}

static bool later_row(sail_arena *a, sqlite3_stmt *q, void *row)
{
    const char *name = column_text(a, q, 0);
    memcpy(row, &name, sizeof name);
    return name != NULL;
}

static sail_code cut_all(sail__store *s, sail_arena *a, const char *stage, int64_t step, const char *doing, sail_err *err)
{
    const char **later = NULL;
    size_t n = 0;
    SAIL_TRY(cut_stage(s, stage, step, doing, err));
    sqlite3_stmt *q = query(s, Q_LATER, doing, err);
    if (!q)
        return err->code;
    bind_text(q, 1, stage);
    SAIL_TRY(read_rows(s, a, q, sizeof *later, later_row, doing, &later, &n, err));
    for (size_t i = 0; i < n; i++) {
        SAIL_TRY(cut_stage(s, later[i], INT64_MIN, doing, err));
        SAIL_TRY(cut_one(s, Q_DROP_STAGE, later[i], 0, doing, err));
    }
    return SAIL_OK;
}

sail_code sail__store_cut(sail__store *s, const char *stage, int64_t step, sail_err *err)
{
    static const char doing[] = "taking back rows beyond the checkpoint";
    sail_arena *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "%s: %s: out of memory", s->path, doing);
    sail_code code = begin(s, doing, err);
    if (code == SAIL_OK)
        code = end(s, cut_all(s, a, stage, step, doing, err), doing, err);
    sail__arena_free(a);
    return code;
}

sail_code sail__store_sync(sail__store *s, sail_err *err)
{
    /* In WAL mode a commit under FULL flushes the log, and with it every commit before. */
    SAIL_TRY(run_sql(s, "PRAGMA synchronous=FULL", "flushing", err));
    char now[32];
    snprintf(now, sizeof now, "%.3f", sail__wall_time());
    sail_code code = sail__store_set_info(s, "synced", now, err);
    sqlite3_exec(s->db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
    return code;
}
