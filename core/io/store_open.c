/* store_open.c - making and opening a run store: schema, version, the writer's lock. */
#include "store_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { SCHEMA_VERSION = 3, APPLICATION_ID = 0x5341494c /* "SAIL" */ };

static const char schema[] =
    "CREATE TABLE info(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    /* id is the order in which stages began */
    "CREATE TABLE stages(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE metrics(stage TEXT NOT NULL, name TEXT NOT NULL, step INTEGER NOT NULL, value REAL,"
    " time REAL NOT NULL, PRIMARY KEY(stage, name, step)) WITHOUT ROWID;"
    "CREATE TABLE samples(id INTEGER PRIMARY KEY, stage TEXT NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL,"
    " idx INTEGER NOT NULL, route TEXT NOT NULL, prompt_ids BLOB, prompt TEXT, outcome INTEGER NOT NULL,"
    " time REAL NOT NULL, UNIQUE(stage, step, kind, idx));"
    "CREATE TABLE responses(sample INTEGER NOT NULL REFERENCES samples(id) ON DELETE CASCADE, slot INTEGER NOT NULL,"
    " writer TEXT NOT NULL, ids BLOB, text TEXT, logps BLOB, score REAL, PRIMARY KEY(sample, slot)) WITHOUT ROWID;"
    "CREATE TABLE verdicts(key TEXT PRIMARY KEY, outcome INTEGER NOT NULL, scores TEXT NOT NULL,"
    " provenance TEXT NOT NULL, seconds REAL, time REAL NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE events(id INTEGER PRIMARY KEY, stage TEXT NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL,"
    " message TEXT NOT NULL, time REAL NOT NULL);";

/* What version 2 has more. */
static const char schema_2[] =
    "ALTER TABLE verdicts ADD COLUMN version TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE verdicts ADD COLUMN ord TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE verdicts ADD COLUMN reply TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE verdicts ADD COLUMN prompt_tokens INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE verdicts ADD COLUMN reply_tokens INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE verdicts ADD COLUMN requests INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE replies(key TEXT PRIMARY KEY, text TEXT NOT NULL, time REAL NOT NULL) WITHOUT ROWID;"
    /* id is the order in which they were asked */
    "CREATE TABLE questions(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, judge TEXT NOT NULL, conversation TEXT NOT NULL,"
    " response_1 TEXT NOT NULL, response_2 TEXT NOT NULL, first INTEGER NOT NULL, answer INTEGER NOT NULL, seconds REAL NOT NULL,"
    " time REAL NOT NULL);";

/* What version 3 has more. */
static const char schema_3[] =
    "ALTER TABLE responses ADD COLUMN ref BLOB;"
    "ALTER TABLE responses ADD COLUMN ends BLOB;";

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
        return sail__db_fail(s, "opening", err);
    sail_code code = SAIL_OK;
    if (sqlite3_step(q) == SQLITE_ROW)
        *out = sqlite3_column_int64(q, 0);
    else
        code = sail__db_fail(s, "opening", err);
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
        return sail_fail(err, SAIL_E_FORMAT,
                         "%s: written by a newer sail (store version %lld; this one reads up to %d)", s->path,
                         (long long)version, SCHEMA_VERSION);
    s->version = version;
    return version >= 1
               ? SAIL_OK
               : sail_fail(err, SAIL_E_FORMAT, "%s: store version %lld is not valid", s->path, (long long)version);
}

static sail_code open_database(sail__store *s, int flags, const char *name, sail_err *err)
{
    if (sqlite3_open_v2(name, &s->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return sail__db_fail(s, "opening", err);
    sqlite3_busy_timeout(s->db, 10000);
    return sail__db_run(s, "PRAGMA foreign_keys=ON; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;", "opening",
                        err);
}

static sail_code make_schema(sail__store *s, sail_err *err)
{
    char pragmas[96];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID,
             SCHEMA_VERSION);
    SAIL_TRY(sail__db_run(s, "PRAGMA journal_mode=WAL", "creating", err));
    SAIL_TRY(sail__db_begin(s, "creating", err));
    sail_code code = sail__db_run(s, schema, "creating", err);
    if (code == SAIL_OK)
        code = sail__db_run(s, schema_2, "creating", err);
    if (code == SAIL_OK)
        code = sail__db_run(s, schema_3, "creating", err);
    if (code == SAIL_OK)
        code = sail__db_run(s, pragmas, "creating", err);
    return sail__db_end(s, code, "creating", err);
}

/* A run of an older sail goes on with what this one has. */
static sail_code renew(sail__store *s, sail_err *err)
{
    static const char doing[] = "bringing the store up to date";
    char version[40];
    snprintf(version, sizeof version, "PRAGMA user_version=%d", SCHEMA_VERSION);
    SAIL_TRY(sail__db_begin(s, doing, err));
    sail_code code = s->version < 2 ? sail__db_run(s, schema_2, doing, err) : SAIL_OK;
    if (code == SAIL_OK)
        code = sail__db_run(s, schema_3, doing, err);
    if (code == SAIL_OK)
        code = sail__db_run(s, version, doing, err);
    SAIL_TRY(sail__db_end(s, code, doing, err));
    s->version = SCHEMA_VERSION;
    return SAIL_OK;
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
        code = sail__db_fail(s, "creating", err);
    sqlite3_close_v2(s->db);
    s->db = NULL;
    if (code == SAIL_OK && rename(part, s->path) != 0)
        code = sail_fail(err, SAIL_E_IO, "%s: creating: %s", s->path, strerror(errno));
    if (code != SAIL_OK && part)
        unlink(part);
    sqlite3_free(part);
    s->version = SCHEMA_VERSION;
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
    return code == SAIL_OK && mode == SAIL__STORE_WRITE && s->version < SCHEMA_VERSION ? renew(s, err) : code;
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
    for (int i = 0; i < SAIL__Q_COUNT; i++)
        sqlite3_finalize(s->queries[i]);
    sqlite3_close_v2(s->db);
    if (s->lock >= 0)
        close(s->lock);
    sail__free(s->path);
    sail__free(s);
}
