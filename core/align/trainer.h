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
#include "guards.h"
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
    sail__guards guards;
    int64_t steps;
    char *checkpoints; /* directory */
    char data_hash[33]; /* of all encoded rows */
    sail__profile profile;
    char told[SAIL_MAX_ROUTES + 2][64]; /* what was warned about: once is enough */
    int n_told;
    bool ready;         /* opened, loaded, reference cached: there is something to save */
} sail__trainer;

static inline bool sail__trainer_at_end(const sail__trainer *t) { return t->state.step >= t->steps || t->state.stopped; }

/* state.c: everything a resumed stage needs, to and from a checkpoint. */
sail_code sail__trainer_save(sail__trainer *t, sail_err *err);
sail_code sail__trainer_load(sail__trainer *t, bool *found, sail_err *err);
/* Back to the checkpoint of an earlier step, in the middle of a run. Those after it are removed. */
sail_code sail__trainer_return(sail__trainer *t, int64_t step, sail_err *err);

/* ---- watch.c: the guards at work ---- */
typedef enum sail__cause {
    SAIL__FINE,
    SAIL__EMPTY, /* nothing to learn from */
    SAIL__BAD_LOSS, SAIL__BAD_DERIVATIVE, SAIL__BAD_GRADIENT, /* not finite */
    SAIL__BAD_NUMBER, /* … somewhere before: `message` says where */
    SAIL__SPIKE,
    SAIL__TOO_FAR /* from the reference; of the causes the one whose steps are learned from */
} sail__cause;
typedef struct sail__watched { /* of one step (in its arena), or of the evaluation after it */
    sail__cause cause;
    char message[256];
    double loss, norm;
    bool evaluation;
    double kl;        /* of the evaluation, nats a token */
    const char *rows; /* where the step's rows stand in the data */
    sail__guard_orders orders;
} sail__watched;

/* Why a step must not be learned from, by what is known before the update. */
sail__cause sail__watch_before(const sail__trainer *t, const sail__stage *live, const sail__step *s, double loss, bool numeric);
/* SAIL_E_NUMERIC, of a step before its update or of an evaluation, is noted in w and no error any more. */
sail_code sail__watch_caught(sail_code code, sail__watched *w, sail_err *err);
/* After it (w: cause, loss and norm are set; state.step counts the step): what the guards say of it, told and among the metrics:
 *   sail/guard_bad      bad steps in a row
 *   sail/guard_coef     what the routes' coefficients are multiplied by; where there are any
 *   sail/guard_loss     deviations of the loss off its running mean
 *   sail/guard_kl       running mean of log pi/ref of what the policy wrote, nats a token
 *   sail/guard_fall     how far the data's chosen responses fell without a rise, nats a token
 *   sail/guard_length   length of what the policy writes by that of its first steps */
sail_code sail__watch_after(sail__trainer *t, const sail__stage *live, const sail__step *s, sail__watched *w, sail__metrics *m, sail_err *err);
/* The same of an evaluation: it makes the run go back, or stop, at once. */
sail_code sail__watch_evaluation(sail__trainer *t, const sail__stage *live, const sail__metrics *m, sail__watched *w, sail_err *err);
/* What they order: the end, with a diagnosis; back to the last healthy checkpoint and on with other data. */
sail_code sail__watch_stop(const sail__trainer *t, const sail__watched *w, sail_err *err);
sail_code sail__watch_go_back(sail__trainer *t, const sail__watched *w, sail_err *err);

#endif
