/* replay.h - responses of earlier steps, kept to be learned from again, as a strategy plans it.
 *
 * Floor: align. Threads: one. Ownership: a buffer owns copies of what was put in. It is state of the run: a checkpoint holds it, and what
 * comes out is a function of its contents, the seed and the step. An entry is a prompt with all that was written to it in one step,
 * the distribution it was drawn from, the reference's log-probabilities, and the judge's labels; labels of the policy are drawn anew. */
#ifndef SAIL_REPLAY_H
#define SAIL_REPLAY_H

#include "../sail/strategy.h"
#include "step.h"

typedef struct sail__replay_entry sail__replay_entry;
typedef struct sail__replay {
    sail__replay_entry **entries; /* oldest first */
    size_t n, cap;
} sail__replay;

void sail__replay_free(sail__replay *b);

/* Forget what is older than plan->age steps at `step`, or has no room. */
void sail__replay_age(sail__replay *b, int64_t step, const sail_plan *plan);

/* Take in the groups of a step (learned from, r[].ref filled) that its policy wrote. */
sail_code sail__replay_put(sail__replay *b, const sail__step *step, const sail_plan *plan, sail_err *err);

/* Which entry takes the place of prompt number `index`, of those on this route that `used` [b->n] does not mark; marks it. -1: none. */
int64_t sail__replay_pick(const sail__replay *b, const sail_route *route, uint64_t seed, int64_t step, int64_t index, uint8_t *used);

/* The groups of an entry, in the place of `at` (its prompt_id, route, coefficient; prompt and row are the entry's), into out[]; ids borrow
 * from the buffer, until the next put or age. Returns their number, SAIL__REPLAY_GROUPS at most. */
enum { SAIL__REPLAY_GROUPS = SAIL_MAX_RESPONSES * (SAIL_MAX_RESPONSES - 1) / 2 };
int64_t sail__replay_row(const sail__replay *b, int64_t entry);
int sail__replay_groups(const sail__replay *b, int64_t entry, const sail__group *at, int64_t step, sail__group *out);

/* As bytes and back; reading checks every bound (rows below `rows`, ids below vocab). */
void sail__replay_write(const sail__replay *b, sail_buf *out);
sail_code sail__replay_read(sail__replay *b, const void *data, size_t size, int64_t rows, int32_t vocab, const char *path, sail_err *err);

#endif
