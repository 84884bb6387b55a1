/* stream.h - where the pairs of a step come from: data, routes, rollouts, judges.
 *
 * Floor: align. Threads: one. The stream is a function of (recipe, seed, step, weights) and its state: the position in the data, the
 * replay buffer and what is remembered of prompts, all of it in checkpoints. */
#ifndef SAIL_STREAM_H
#define SAIL_STREAM_H

#include "../io/store.h"
#include "choose.h"
#include "judging.h"
#include "passes.h"
#include "replay.h"
#include "session.h"
#include "step.h"

/* Reference log-probabilities of data rows, computed once before training (full fine-tuning without a second copy). */
typedef struct sail__ref_cache {
    float *values;   /* chosen then rejected of each row, row after row; NULL: no cache */
    int64_t *first;  /* [rows + 1] */
} sail__ref_cache;

/* What is remembered of each row, for strategies that choose prompts. */
typedef struct sail__memory {
    int32_t visits;
    float margin; /* sail_prompt.margin */
} sail__memory;

typedef struct sail__stream {
    sail__session *session;
    sail__passes *passes; /* the trainer's, for the reference of what is chosen from; may be NULL where nothing is */
    sail__replay replay;
    sail__memory *memory; /* [train.n]; NULL: the strategy chooses no prompts */
    sail_arena *arena;
    sail__rows train, held_out;
    sail__ref_cache train_ref, held_ref;
    double backoff; /* extra coefficients are multiplied by it; 1 at first; a recipe's hooks change it */
    double coef;    /* … and by this, which the guards change */
    int64_t position; /* prompts taken so far */
    uint32_t *order;  /* of the current pass */
    int64_t order_pass;
    bool shuffle;
    uint64_t seed;
    sail__generator *generator; /* made when first needed */
    sail__generator *rival;     /* … of the reference or the mixture, where one writes a response of each group */
    int rival_kind;             /* sail__rival of it */
    int generator_batch;
    sail__store *store; /* samples; may be NULL */
    sail__judging judging;
    int64_t asked, answered; /* groups of responses that a judge was to label, in this process; those of them that it did */
    sail__gen_counters rollout; /* of the last step */
    sail__traffic rollout_traffic;
} sail__stream;

/* Read, split and encode the stage's data. */
sail_code sail__stream_open(sail__session *s, const sail__stage *stage, sail__store *store, sail__stream *out, sail_err *err);
/* To the log: how many rows were left out, and why. */
void sail__stream_tell_drops(const sail__stream *st, const sail__stage *stage);
void sail__stream_close(sail__stream *st);

/* The groups of step->step, into step (its arena, seed, step set): routes drawn, responses written, judge labels given. `live`
 * is the stage as it is at this step. */
sail_code sail__stream_next(sail__stream *st, const sail__stage *live, sail__step *step, sail_err *err);

/* After the step has been learned from: what is remembered of it, and the replay buffer. */
sail_code sail__stream_learned(sail__stream *st, const sail__stage *live, const sail__step *step, sail_err *err);

/* Room for the reference's log-probabilities of all rows; filled by the trainer or from a checkpoint. */
sail_code sail__stream_cache_new(const sail__rows *rows, sail__ref_cache *out, sail_err *err);
/* Give a group of data responses its cached reference; nothing where there is no cache. */
void sail__stream_cached(const sail__ref_cache *c, int64_t row, sail__group *g);

/* Write responses to the prompts of rows [first, first + n_rows), into the arena; texts decoded. A response is a function of seed, key,
 * row and child, whatever else is written. */
typedef struct sail__writing {
    int k; /* to each prompt */
    int64_t max_new; /* the model's positions bound it, too */
    sail_filter_params sampling;
    double penalty_alpha; /* above 0: contrastive search among sampling.top_k tokens */
    const sail_node *stop; /* data.stop */
    uint64_t key;
} sail__writing;
typedef struct sail__written {
    int64_t row;
    int child;
    const int32_t *ids;
    const float *logp;
    int64_t n;
    const char *text;
    sail__finish finish;
} sail__written;
/* For samples: see sail__token_ends; NULL where they are unknown. */
const uint32_t *sail__sample_ends(const sail__tokenizer *t, const int32_t *ids, size_t n, const char *text, sail_arena *a);
sail_code sail__stream_write(sail__stream *st, sail__role_kind role, const sail__rows *rows, int64_t first, int64_t n_rows,
                             const sail__writing *how, sail_arena *a, sail__written **out, size_t *n, sail_err *err);

#endif
