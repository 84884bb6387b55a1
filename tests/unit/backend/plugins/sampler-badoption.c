/* sampler-badoption.c - an option beyond the end of its option struct. */
#include "common.h"

struct small {
    double heat;
};

static const sail_opt opts[] = {
    {.name = "heat", .type = SAIL_OPT_TYPE_F64, .offset = sizeof(struct small)},
    {0},
};

static int answer(void)
{
    return 1;
}

static const struct test_ops ops = {.size = sizeof ops, .answer = answer};
SAIL_PLUGIN(SAIL_KIND_SAMPLER, badoption, "", "", struct small, opts, &ops, 0)
