/* store.h - the run store: one SQLite file (run.db, WAL) with everything a run says about itself.
 *
 * Floor: io. Threads: a store belongs to one thread. One process writes a run (a lock file says so); any number may read it
 * meanwhile. Ownership: what is read is copied into the caller's arena; what is written is borrowed during the call.
 * Every error names the file and what was being done. Steps are counted from 0; -1: before the first.
 *
 * Rows of a stage beyond a checkpoint are taken back on resume with sail__store_cut. Verdicts are never taken back: they are
 * kept by what was judged, not by when. */
#ifndef SAIL_STORE_H
#define SAIL_STORE_H

#include "../base/base.h"

typedef struct sail__store sail__store;

typedef enum sail__store_mode {
    SAIL__STORE_CREATE, /* SAIL_E_EXISTS where there is one */
    SAIL__STORE_WRITE,  /* of a run that exists; SAIL_E_STATE when another process writes it */
    SAIL__STORE_READ,
} sail__store_mode;

/* path: of the file, RUN/run.db. A store of a newer sail is refused (SAIL_E_FORMAT, says both versions). */
sail_code sail__store_open(const char *path, sail__store_mode mode, sail__store **out, sail_err *err);
void sail__store_close(sail__store *s); /* NULL is fine */

/* The run's facts: recipe, versions, seed, title … A key is replaced. get: *value in the arena, NULL if unset. */
sail_code sail__store_set_info(sail__store *s, const char *key, const char *value, sail_err *err);
sail_code sail__store_get_info(sail__store *s, sail_arena *a, const char *key, const char **value, sail_err *err);
/* All of them, ordered by key. */
sail_code sail__store_infos(sail__store *s, sail_arena *a, const char ***keys, const char ***values, size_t *n, sail_err *err);

/* ---- metrics ---- */
/* All of one step in one transaction; a name that the step has already is replaced. NaN and infinities are kept. Metrics
 * named time/… and memory/… do not enter the hash. */
sail_code sail__store_add_metrics(sail__store *s, const char *stage, int64_t step, const char *const *names,
                                  const double *values, size_t n, sail_err *err);
typedef struct sail__metric_row {
    const char *stage, *name;
    int64_t step;
    double value, time; /* time: seconds since the epoch */
} sail__metric_row;
/* Ordered by stage (as they began), name, step. stage, name: NULL for all. */
sail_code sail__store_metrics(sail__store *s, sail_arena *a, const char *stage, const char *name, sail__metric_row **out,
                              size_t *n, sail_err *err);

/* ---- samples: a prompt with its responses, tokens and labels ---- */
typedef struct sail__sample_response {
    const int32_t *ids; /* [n] tokens, the end token included where there is one */
    size_t n;
    const char *text;   /* UTF-8; NULL: none */
    const float *logps; /* [n] nats, under the model; NULL: none */
    const char *writer; /* "policy", "reference", "data" … */
    double score;       /* judge's or implicit; NaN: none */
    const float *ref;     /* [n] nats, under the reference; NULL: none */
    const uint32_t *ends; /* [n] where each token's text ends in `text`, bytes; NULL: unknown */
} sail__sample_response;
typedef struct sail__sample {
    const char *stage;
    int64_t step, index; /* index: within the step, from 0; a sample with the same stage, step, kind, index is replaced */
    const char *kind;    /* "train", "eval", "generate" */
    const char *route;   /* "" where there is none */
    const int32_t *prompt_ids;
    size_t n_prompt;
    const char *prompt; /* text */
    int32_t outcome;    /* preference.h; -1: none */
    int k;
    const sail__sample_response *responses; /* [k] */
    double time;                            /* read only */
} sail__sample;
sail_code sail__store_add_samples(sail__store *s, const sail__sample *samples, size_t n, sail_err *err);
/* Ordered by stage, step, kind, index. kind: NULL for all; from/to: steps, inclusive; most: 0 for no limit. */
sail_code sail__store_samples(sail__store *s, sail_arena *a, const char *stage, const char *kind, int64_t from, int64_t to,
                              size_t most, sail__sample **out, size_t *n, sail_err *err);

/* ---- verdicts, by content ---- */
/* 32 hex digits of the hash over judge, template, prompt and the responses in order (lengths are hashed too). */
void sail__verdict_key(const char *judge, const char *template_text, const char *prompt, const char *const *responses, int k,
                       char key[33]);
typedef struct sail__verdict_row {
    char key[33];
    int32_t outcome;
    int k;
    double score[8];        /* SAIL_MAX_RESPONSES; NaN: none */
    const char *provenance; /* judge's name and what it says about itself; NULL as "" */
    double seconds;         /* the judge took */
    const char *version, *order, *reply; /* as in sail_judge_note; NULL as "" */
    int64_t prompt_tokens, reply_tokens, requests;
    double time; /* read only: when it was written, seconds since the epoch */
} sail__verdict_row;
/* Written and flushed to the disk before this returns: use a verdict only after it. A key that is there stays as it is. */
sail_code sail__store_add_verdicts(sail__store *s, const sail__verdict_row *rows, size_t n, sail_err *err);
/* All of them (or that of `key`) ordered by key. */
sail_code sail__store_verdicts(sail__store *s, sail_arena *a, const char *key, sail__verdict_row **out, size_t *n,
                               sail_err *err);

/* Texts that judges keep by a key of theirs, such as raw replies: flushed like verdicts, never replaced. *text: NULL: none. */
sail_code sail__store_remember(sail__store *s, const char *key, const char *text, sail_err *err);
sail_code sail__store_recall(sail__store *s, sail_arena *a, const char *key, const char **text, sail_err *err);

/* ---- questions: items left to a person, and the answers ---- */
enum { SAIL__QUESTION_OPEN = -2 }; /* answer: an outcome as in preference.h, SAIL_ABSTAIN for a skipped one, or this */
typedef struct sail__question {
    char key[33]; /* as of the verdict */
    const char *judge, *conversation; /* who is asked; what stands before the responses */
    const char *const *responses;     /* [2], in the item's order */
    int first;                        /* which of them is shown first */
    int32_t answer;
    double seconds; /* the answer took */
    int64_t id;     /* read only: the order in which they were asked */
} sail__question;
/* One that is there already stays, with its answer. */
sail_code sail__store_add_question(sail__store *s, const sail__question *q, sail_err *err);
/* An outcome becomes a verdict of the same key too; an open or skipped question has none. Flushed. */
sail_code sail__store_answer(sail__store *s, const sail__question *q, int32_t answer, double seconds, sail_err *err);
/* All (or that of `key`), in the order they were asked. */
sail_code sail__store_questions(sail__store *s, sail_arena *a, const char *key, sail__question **out, size_t *n, sail_err *err);

/* ---- events ---- */
/* kind: "start", "resume", "checkpoint", "guard", "warning", "end" … */
sail_code sail__store_add_event(sail__store *s, const char *stage, int64_t step, const char *kind, const char *message,
                                sail_err *err);
typedef struct sail__event_row {
    const char *stage, *kind, *message;
    int64_t step;
    double time;
} sail__event_row;
sail_code sail__store_events(sail__store *s, sail_arena *a, sail__event_row **out, size_t *n, sail_err *err);

/* ---- resume ---- */
/* Take back metrics, samples and events of `stage` after `step`, and everything of the stages that began after it. */
sail_code sail__store_cut(sail__store *s, const char *stage, int64_t step, sail_err *err);
/* Flush to the disk all that was added (before a checkpoint is committed). */
sail_code sail__store_sync(sail__store *s, sail_err *err);
/* Hash of metrics, samples and verdicts, in order, without times and events: equal for a run that was interrupted and
 * resumed and one that was not. */
sail_code sail__store_hash(sail__store *s, char hex[33], sail_err *err);

#endif
