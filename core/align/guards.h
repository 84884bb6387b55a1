/* guards.h - what keeps a run from learning itself to pieces: which steps go wrong, and what is done about it.
 *
 * Floor: align. Threads: any. Pure functions of a state, which is in checkpoints, and of what a step showed; no memory.
 *
 * A step goes wrong when its numbers are not finite or its loss is a spike (it is skipped then), or when what the policy writes has gone
 * further from the reference than guard.max_kl (it is learned from: that may bring it back). What is done, in order: bad steps that keep
 * coming halve the coefficients of the routes' extra terms, which grow back; too many in a row take the run back to its last healthy
 * checkpoint and beyond the data that led there; after too many of those it stops. Alarms do nothing but say so, once. */
#ifndef SAIL_GUARDS_H
#define SAIL_GUARDS_H

#include "config.h"

typedef struct sail__running { /* mean and variance of what was taken in */
    double mean, var;
    int64_t n;
} sail__running;

typedef struct sail__trend { /* means over windows of steps */
    double sum; /* of the window that is open */
    int64_t n;
    int64_t windows;
    double first, last; /* windows' means */
    double top;         /* the last one that was not below the one before it */
    int64_t falls;      /* windows since */
} sail__trend;

typedef struct sail__guards {
    struct { /* of the weights as they are: taken back with them */
        sail__running loss; /* of steps learned from */
        sail__running kl;   /* log pi/ref of what the policy wrote, nats a token */
        sail__trend chosen; /* log pi/ref of the data's chosen responses, nats a token; log pi where there is no reference */
        sail__trend length; /* of what the policy wrote, tokens */
        struct {
            double most;   /* by how much a pair's vectors differed at the most */
            int64_t equal; /* steps in a row in which they were next to equal */
        } vectors;         /* of a reward model whose head gives such */
    } seen;
    struct { /* of the run: stays */
        int64_t bad;     /* bad steps in a row */
        int64_t strikes; /* … since guard.recover good ones in a row */
        int64_t good;    /* good steps in a row */
        int64_t empty;   /* steps in a row without anything to learn from */
        int64_t skipped; /* steps in all */
        int64_t rollbacks;
        int64_t healthy;   /* step of the checkpoint to go back to; -1: none */
        int64_t candidate; /* … of a newer one that will be it when enough good steps have followed; -1: none */
        int64_t alarms;    /* SAIL__ALARM_… given */
        double coef;       /* what the routes' coefficients are multiplied by: 1, 1/2, 1/4 … */
    } ladder;
} sail__guards;
enum { SAIL__ALARM_CHOSEN = 1, SAIL__ALARM_LENGTH = 2, SAIL__ALARM_EQUAL = 4 };

/* What a step showed; NAN: nothing of it in this step. */
typedef struct sail__guard_look {
    bool skipped; /* its numbers were bad: it was not learned from */
    bool empty;   /* there was nothing to learn from */
    bool extra;   /* some route has a coefficient that can be halved */
    double loss, kl, chosen, length;
    double apart, lead; /* of a head of vectors: how much those of a pair differ, as a share of their size; mean |log-odds| of the pairs */
} sail__guard_look;

typedef struct sail__guard_orders {
    bool too_far; /* the step is bad because of guard.max_kl */
    bool halved, grown; /* done to ladder.coef */
    bool roll_back, stop;
    int64_t alarms; /* new ones */
} sail__guard_orders;

void sail__guards_init(sail__guards *g);

/* How many deviations off the running mean a loss is; NAN: too few are known, or it is not finite. */
double sail__guards_deviations(const sail__guards *g, double loss);
bool sail__guards_spike(const sail__guards *g, const sail__guard_section *o, double loss);

/* After a step, `step` steps are done now. */
sail__guard_orders sail__guards_judge(sail__guards *g, const sail__guard_section *o, int64_t step, const sail__guard_look *look);

/* After an evaluation: whether it failed for its numbers, and KL as above. It says more than a step, and is rarer: the run goes back, or
 * stops, at once. */
sail__guard_orders sail__guards_judge_evaluation(sail__guards *g, const sail__guard_section *o, bool failed, bool extra, double kl);

/* Before a checkpoint is written that was due at this step (not one for a signal: where a run was interrupted must not matter). */
void sail__guards_due(sail__guards *g, int64_t step);

/* The run has gone back: what was seen is as it was then, the ladder goes on. */
void sail__guards_back(sail__guards *g, const sail__guards *then);

/* What the alarms are about; NAN before the first window. How far the chosen fell without a rise, nats a token; length now by that of the
 * first window. */
double sail__guards_fall(const sail__guards *g);
double sail__guards_drift(const sail__guards *g);

#endif
