/* hooks.h - what a recipe may have run at certain moments.
 *
 * Floor: align. Threads: the training thread. */
#ifndef SAIL_HOOKS_H
#define SAIL_HOOKS_H

#include "config.h"

/* What a recipe in Lua may supply at run time; filled by lua/, all may be NULL. Errors carry the traceback and the recipe's
 * path. `step` is from 0. Hooks see and may change what their comment says and nothing else. */
typedef struct sail__hook_step {
    int64_t step, steps;
    const char *const *names; /* metrics of the step */
    const double *values;
    size_t n;
    double backoff; /* out: multiply the extra coefficients from now on by this (1: unchanged) */
    bool stop;      /* out: end the stage after this step */
} sail__hook_step;
struct sail__store;
typedef struct sail__hooks {
    void *user;
    sail_code (*on_step)(void *user, sail__hook_step *s, sail_err *err);
    sail_code (*on_checkpoint)(void *user, int64_t step, const char *path, sail_err *err);
    /* one response that the policy wrote; hooks observe, they change nothing */
    sail_code (*on_rollout)(void *user, int64_t step, const char *prompt, const char *response, sail_err *err);
    /* s.state: plain data kept in checkpoints, as JSON */
    sail_code (*state_save)(void *user, sail_buf *json, sail_err *err);
    sail_code (*state_load)(void *user, const char *json, size_t n, sail_err *err);
    sail__call_schedule call_schedule;
    /* a function of the stage `tables`, told of the run through its store: its tables as JSON (io/tables.h), not checked */
    sail_code (*make_tables)(void *user, int64_t function, struct sail__store *store, sail_buf *json, sail_err *err);
} sail__hooks;

#endif
