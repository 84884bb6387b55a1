/* trainer.h - a stage that learns: sft and align. It puts the parts in order and nothing else.
 *
 * Floor: align. Threads: the one that calls. A stage's directory holds checkpoints/ (see io/checkpoint.h) and, when it is
 * done, output/ (a PEFT adapter or a Hugging Face model). A stage that was interrupted and resumed ends with the same bits as one
 * that was not. */
#ifndef SAIL_TRAINER_H
#define SAIL_TRAINER_H

#include "../io/checkpoint.h"
#include "../io/tfevents.h"
#include "evaluate.h"
#include "hooks.h"

typedef struct sail__train_options {
    sail_ctx *ctx;
    const sail__stage *stage; /* as parsed at step 0 */
    const char *dir;          /* of the stage; exists */
    sail__store *store;
    const sail__hooks *hooks; /* may be NULL */
    /* Told after every step: for a line or a progress bar. May be NULL. */
    void (*on_step)(void *user, int64_t step, int64_t steps, const sail__metrics *m);
    void *user;
    /* Set: the steps' kernels are measured (which makes them wait for each other), dir/profile.json is written at the end, and this is
     * told of it. */
    void (*on_profile)(void *user, const sail__profile *p);
} sail__train_options;

/* Go on from the newest checkpoint in dir/checkpoints, or begin; end with dir/output. Stopped by sail_cancel: a checkpoint is
 * written and SAIL_E_CANCEL returned. Any other error leaves the last checkpoint whole. */
sail_code sail__train(const sail__train_options *o, sail_err *err);

/* The loop's own state, all of it in checkpoints. */
typedef struct sail__train_state {
    int64_t step;     /* steps done */
    int64_t updates;  /* of them not skipped */
    int64_t skips;    /* skipped in a row */
    int64_t skipped;  /* in all */
    double loss_mean, loss_var; /* running, over accepted steps */
    int64_t loss_n;
    double best;      /* best evaluation so far; NAN: none */
    int64_t best_step;
    int64_t evaluated; /* the last step with an evaluation; -1: none */
    bool stopped;      /* a hook ended the stage before its last step */
} sail__train_state;

typedef struct sail__trainer {
    sail__train_options o;
    sail_arena *arena;
    sail__session *session;
    sail__stream stream;
    sail__learner learner;
    sail__evaluator evaluator;
    sail__tfevents *events;
    sail__train_state state;
    int64_t steps;
    char *checkpoints; /* directory */
    char data_hash[33]; /* of all encoded rows */
    sail__profile profile;
    char told[SAIL_MAX_ROUTES + 2][64]; /* what was warned about: once is enough */
    int n_told;
    bool ready;         /* opened, loaded, reference cached: there is something to save */
} sail__trainer;

/* state.c: everything a resumed stage needs, to and from a checkpoint. */
sail_code sail__trainer_save(sail__trainer *t, sail_err *err);
sail_code sail__trainer_load(sail__trainer *t, bool *found, sail_err *err);

#endif
