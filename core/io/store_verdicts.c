/* store_verdicts.c - what judges said: verdicts, raw replies, questions to a person. All of it is on the disk before a call
 * returns: it may have cost money, or somebody's patience. */
#include "store_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIE = 2 }; /* as preference.h numbers outcomes */

/* One transaction that is flushed. */
static sail_code begin(sail__store *s, const char *doing, sail_err *err)
{
    SAIL_TRY(sail__db_run(s, "PRAGMA synchronous=FULL", doing, err));
    return sail__db_begin(s, doing, err);
}

static sail_code end(sail__store *s, sail_code code, const char *doing, sail_err *err)
{
    code = sail__db_end(s, code, doing, err);
    sqlite3_exec(s->db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
    return code;
}

static const char *text(const char *t) { return t ? t : ""; }

/* ---- verdicts ---- */

static sail_code add_verdict(sail__store *s, const sail__verdict_row *r, double now, const char *doing, sail_err *err)
{
    char scores[8 * 26 + 1] = "";
    size_t used = 0;
    for (int i = 0; i < r->k && i < 8; i++)
        used += (size_t)snprintf(scores + used, sizeof scores - used, "%s%.17g", i ? "," : "", r->score[i]);
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_ADD_VERDICT, doing, err);
    if (!q)
        return err->code;
    sail__bind_text(q, 1, r->key);
    sqlite3_bind_int(q, 2, r->outcome);
    sail__bind_text(q, 3, scores);
    sail__bind_text(q, 4, text(r->provenance));
    sail__bind_number(q, 5, r->seconds);
    sqlite3_bind_double(q, 6, now);
    sail__bind_text(q, 7, text(r->version));
    sail__bind_text(q, 8, text(r->order));
    sail__bind_text(q, 9, text(r->reply));
    sqlite3_bind_int64(q, 10, r->prompt_tokens);
    sqlite3_bind_int64(q, 11, r->reply_tokens);
    sqlite3_bind_int64(q, 12, r->requests);
    return sail__db_done(s, q, doing, err);
}

sail_code sail__store_add_verdicts(sail__store *s, const sail__verdict_row *rows, size_t n, sail_err *err)
{
    static const char doing[] = "adding verdicts";
    double now = sail__wall_time();
    SAIL_TRY(begin(s, doing, err));
    sail_code code = SAIL_OK;
    for (size_t i = 0; i < n && code == SAIL_OK; i++)
        code = add_verdict(s, &rows[i], now, doing, err);
    return end(s, code, doing, err);
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
    v->provenance = sail__column_text(a, q, 3);
    v->seconds = sail__column_number(q, 4);
    v->time = sail__column_number(q, 5);
    v->version = sail__column_text(a, q, 6);
    v->order = sail__column_text(a, q, 7);
    v->reply = sail__column_text(a, q, 8);
    v->prompt_tokens = sqlite3_column_int64(q, 9);
    v->reply_tokens = sqlite3_column_int64(q, 10);
    v->requests = sqlite3_column_int64(q, 11);
    return v->provenance && v->version && v->order && v->reply;
}

sail_code sail__store_verdicts(sail__store *s, sail_arena *a, const char *key, sail__verdict_row **out, size_t *n,
                               sail_err *err)
{
    static const char doing[] = "reading verdicts";
    *out = NULL, *n = 0;
    sqlite3_stmt *q = sail__db_query(s, s->version < 2 ? SAIL__Q_VERDICTS_1 : key ? SAIL__Q_VERDICT : SAIL__Q_VERDICTS, doing, err);
    if (!q)
        return err->code;
    sail__bind_text(q, 1, key);
    return sail__db_rows(s, a, q, sizeof **out, verdict_row, doing, out, n, err);
}

/* ---- texts by key ---- */

sail_code sail__store_remember(sail__store *s, const char *key, const char *value, sail_err *err)
{
    static const char doing[] = "keeping a judge's reply";
    SAIL_TRY(begin(s, doing, err));
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_REMEMBER, doing, err);
    if (q) {
        sail__bind_text(q, 1, key);
        sail__bind_text(q, 2, value);
        sqlite3_bind_double(q, 3, sail__wall_time());
    }
    return end(s, q ? sail__db_done(s, q, doing, err) : err->code, doing, err);
}

sail_code sail__store_recall(sail__store *s, sail_arena *a, const char *key, const char **value, sail_err *err)
{
    static const char doing[] = "looking for a judge's reply";
    *value = NULL;
    if (s->version < 2)
        return SAIL_OK;
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_RECALL, doing, err);
    if (!q)
        return err->code;
    sail__bind_text(q, 1, key);
    int rc = sqlite3_step(q);
    sail_code code = rc == SQLITE_ROW || rc == SQLITE_DONE ? SAIL_OK : sail__db_fail(s, doing, err);
    if (rc == SQLITE_ROW && !(*value = sail__column_text(a, q, 0)))
        code = sail_fail(err, SAIL_E_NOMEM, "%s: %s: out of memory", s->path, doing);
    sqlite3_reset(q);
    return code;
}

/* ---- questions ---- */

sail_code sail__store_add_question(sail__store *s, const sail__question *x, sail_err *err)
{
    static const char doing[] = "adding a question";
    SAIL_TRY(begin(s, doing, err));
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_ADD_QUESTION, doing, err);
    if (q) {
        sail__bind_text(q, 1, x->key);
        sail__bind_text(q, 2, text(x->judge));
        sail__bind_text(q, 3, text(x->conversation));
        sail__bind_text(q, 4, text(x->responses[0]));
        sail__bind_text(q, 5, text(x->responses[1]));
        sqlite3_bind_int(q, 6, x->first);
        sqlite3_bind_double(q, 7, sail__wall_time());
    }
    return end(s, q ? sail__db_done(s, q, doing, err) : err->code, doing, err);
}

static sail_code answer(sail__store *s, const sail__question *x, int32_t outcome, double seconds, const char *doing, sail_err *err)
{
    double now = sail__wall_time();
    sqlite3_stmt *q = sail__db_query(s, SAIL__Q_ANSWER, doing, err), *drop = sail__db_query(s, SAIL__Q_DROP_VERDICT, doing, err);
    if (!q || !drop)
        return err->code;
    sail__bind_text(q, 1, x->key);
    sqlite3_bind_int(q, 2, outcome);
    sqlite3_bind_double(q, 3, seconds);
    sqlite3_bind_double(q, 4, now);
    SAIL_TRY(sail__db_done(s, q, doing, err));
    sail__bind_text(drop, 1, x->key); /* an answer may be taken back */
    SAIL_TRY(sail__db_done(s, drop, doing, err));
    if (outcome < 0)
        return SAIL_OK;
    sail__verdict_row v = {.outcome = outcome, .provenance = x->judge, .seconds = seconds,
                           .order = x->first ? "second first" : "as shown", .reply = outcome == TIE ? "tie" : outcome == x->first ? "1" : "2"};
    memcpy(v.key, x->key, sizeof v.key);
    return add_verdict(s, &v, now, doing, err);
}

sail_code sail__store_answer(sail__store *s, const sail__question *q, int32_t outcome, double seconds, sail_err *err)
{
    static const char doing[] = "keeping an answer";
    SAIL_TRY(begin(s, doing, err));
    return end(s, answer(s, q, outcome, seconds, doing, err), doing, err);
}

static bool question_row(sail_arena *a, sqlite3_stmt *q, void *row)
{
    sail__question *x = row;
    const char **responses = sail__arena_array(a, 2, sizeof *responses), *key = (const char *)sqlite3_column_text(q, 1);
    memset(x, 0, sizeof *x);
    x->id = sqlite3_column_int64(q, 0);
    snprintf(x->key, sizeof x->key, "%s", key ? key : "");
    x->judge = sail__column_text(a, q, 2);
    x->conversation = sail__column_text(a, q, 3);
    for (int k = 0; responses && k < 2; k++)
        responses[k] = sail__column_text(a, q, 4 + k);
    x->responses = responses;
    x->first = sqlite3_column_int(q, 6);
    x->answer = sqlite3_column_int(q, 7);
    x->seconds = sqlite3_column_double(q, 8);
    return x->judge && x->conversation && responses && responses[0] && responses[1];
}

sail_code sail__store_questions(sail__store *s, sail_arena *a, const char *key, sail__question **out, size_t *n, sail_err *err)
{
    static const char doing[] = "reading questions";
    *out = NULL, *n = 0;
    if (s->version < 2)
        return SAIL_OK;
    sqlite3_stmt *q = sail__db_query(s, key ? SAIL__Q_QUESTION : SAIL__Q_QUESTIONS, doing, err);
    if (!q)
        return err->code;
    sail__bind_text(q, 1, key);
    return sail__db_rows(s, a, q, sizeof **out, question_row, doing, out, n, err);
}
