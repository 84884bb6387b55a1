/* pace.h - how fast a service may be asked: requests and tokens a minute, pauses it asks for, waits between tries.
 *
 * Floor: io. Threads: one. Pure arithmetic on times that the caller gives (monotonic seconds), so that tests need no clock. */
#ifndef SAIL_PACE_H
#define SAIL_PACE_H

#include "../base/base.h"

typedef struct sail__pace_event {
    double time;
    int64_t tokens;
} sail__pace_event;

typedef struct sail__pace { /* {.requests, .tokens} begins one; free with sail__pace_free */
    int64_t requests, tokens; /* at most so many in any 60 seconds; 0: no limit */
    double paused_until;
    sail__pace_event *events; /* of the last minute, oldest first, from `first` on */
    size_t first, n, cap;
    uint64_t dropped; /* events before events[0], ever: what ids are counted from */
} sail__pace;

void sail__pace_free(sail__pace *p);
/* Seconds until a request of about `tokens` may go; 0: now. A request larger than the limit goes when nothing else is within the
 * minute. */
double sail__pace_wait(sail__pace *p, double now, int64_t tokens);
/* It goes. The id is for putting the number of tokens right when it is known. */
sail_code sail__pace_sent(sail__pace *p, double now, int64_t tokens, uint64_t *id, sail_err *err);
void sail__pace_correct(sail__pace *p, uint64_t id, int64_t tokens);
/* Nothing goes before `until`. */
void sail__pace_pause(sail__pace *p, double until);

/* The wait before try number `attempt` (from 1: the first repetition): base 2^(attempt - 1), at most `most`, of which a random share
 * between a half and all (u in (0, 1)) is taken, so that many who failed together do not come again together. */
double sail__pace_backoff(int attempt, double base, double most, double u);

/* Retry-After: seconds, or a date as HTTP writes it (wall: the time now since the epoch). NAN where it is neither; never negative. */
double sail__retry_after(const char *value, double wall);

#endif
