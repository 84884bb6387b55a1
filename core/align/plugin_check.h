/* plugin_check.h - what the checks of the kinds of plugins share.
 *
 * Floor: align; private to plugin_check*.c. */
#ifndef SAIL_PLUGIN_CHECK_H
#define SAIL_PLUGIN_CHECK_H

#include "../backend/registry.h"
#include "../sail/check.h"

typedef struct sail__checking {
    sail_ctx *ctx;
    sail_arena *arena;
    const sail_plugin *plugin;
    const void *ops, *self;
    sail_check_report report;
    void *user;
    int done, failed;
    char first[256]; /* what did not hold first */
    sail_err *err;
} sail__checking;

/* Tell one check; detail is a format. Returns holds. */
bool sail__checked(sail__checking *c, const char *what, bool holds, const char *detail, ...) SAIL_PRINTF(4, 5);

/* The checks of one kind. An error is one of ours (no memory), not the plugin's. */
sail_code sail__check_objective(sail__checking *c);
sail_code sail__check_preference(sail__checking *c);
sail_code sail__check_strategy(sail__checking *c);
sail_code sail__check_judge(sail__checking *c);
sail_code sail__check_dataset(sail__checking *c);
sail_code sail__check_optimizer(sail__checking *c);
sail_code sail__check_backend(sail__checking *c);

#endif
